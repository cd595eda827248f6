/** A table from Python, and which of its rows are shown in which order. */
import { formatted, whole } from "./numbers.ts";

export type Kind = "name" | "token" | "number" | "effect";
export type Value = string | number | boolean | null;

export interface Column {
  name: string;
  label: string;
  kind: Kind;
  about?: string; // in words
}

export interface Table {
  columns: Column[];
  rows: Value[][];
  palette: string[];
  dark_palette: string[]; // of dark pages
  limit: Record<string, number>;
}

export interface Sort {
  column: string;
  descending: boolean;
}

export function readTable(given: unknown): Table {
  const { columns, rows, palette, dark_palette, limit } = (given ?? {}) as Partial<Table>;
  return {
    columns: columns ?? [],
    rows: rows ?? [],
    palette: palette ?? [],
    dark_palette: dark_palette ?? [],
    limit: limit ?? {},
  };
}

/** The order that is asked for; undefined for the order of the table. */
export function readSort(given: unknown, table: Table): Sort | undefined {
  const { column, descending } = (given ?? {}) as Partial<Sort>;
  const isThere = table.columns.some(({ name }) => name === column);
  return column !== undefined && isThere ? { column, descending: descending === true } : undefined;
}

export function isNumeric(kind: Kind): boolean {
  return kind === "number" || kind === "effect";
}

/** The number of the column that names a row's node; -1 without one. */
export function nodeColumn(table: Table): number {
  const named = table.columns.findIndex(({ name }) => name === "name");
  return named >= 0 ? named : table.columns.findIndex(({ kind }) => kind === "name");
}

export function nodeOf(table: Table, row: number): string {
  return String(table.rows[row]?.[nodeColumn(table)] ?? "");
}

/** A value as one reads it; "" for none. */
export function shown(value: Value | undefined, kind: Kind): string {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  return kind === "effect" ? formatted(value, true) : whole(value);
}

const TEXTS = new Intl.Collator("en", { numeric: true }); // L2H3 before L10H1

/** The numbers of all rows in the order that is asked for. Rows without a value come last; equal ones keep their order. */
export function sorted(table: Table, sort: Sort | undefined): number[] {
  const order = table.rows.map((_, row) => row);
  const column = table.columns.findIndex(({ name }) => name === sort?.column);
  if (sort === undefined || column < 0) return order;
  const sign = sort.descending ? -1 : 1;
  const values = table.rows.map((row) => row[column] ?? null);
  return order.sort((one, other) => {
    const [left, right] = [values[one] ?? null, values[other] ?? null];
    if (left === null || right === null) return Number(left === null) - Number(right === null);
    if (typeof left === "number" && typeof right === "number") return sign * (left - right);
    return sign * TEXTS.compare(String(left), String(right));
  });
}

/**
 * Which rows have every word of a text in their names and tokens, upper and lower case being the same.
 * A number at the end of a word is a whole one in names: L2 finds L2H3 but not L23H3, @5 not @51.
 */
export function matcher(table: Table, text: string): (row: number) => boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const names = table.columns.flatMap(({ kind }, column) => (kind === "name" ? [column] : []));
  const tokens = table.columns.flatMap(({ kind }, column) => (kind === "token" ? [column] : []));
  const lower = (row: number, column: number) => String(table.rows[row]?.[column] ?? "").toLowerCase();
  return (row) =>
    words.every(
      (word) =>
        tokens.some((column) => lower(row, column).includes(word)) ||
        names.some((column) => hasWord(lower(row, column), word)),
    );
}

function hasWord(name: string, word: string): boolean {
  const isDigit = (text: string | undefined) => text !== undefined && text >= "0" && text <= "9";
  for (let at = name.indexOf(word); at >= 0; at = name.indexOf(word, at + 1)) {
    if (!(isDigit(word.at(-1)) && isDigit(name[at + word.length]))) return true;
  }
  return false;
}
