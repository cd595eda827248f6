/** How wide a table's columns are. All rows share the widths, whichever of them are on the page. */
import { type Column, isNumeric, shown, type Table } from "./table.ts";

const MOST_CHARACTERS = 20; // longer texts are cut, and shown by the pointer
const SAMPLE = 2000; // rows whose lengths are looked at

export interface Widths {
  template: string; // of CSS grid
  total: string; // the least width of a row
}

export function columnWidths(table: Table): Widths {
  const characters = table.columns.map((column, number) => width(table, column, number));
  const sum = characters.reduce((total, each) => total + each, 0);
  return {
    template: [...characters.map((each) => `${each}ch`), "minmax(0,1fr)"].join(" "),
    total: `${sum}ch`,
  };
}

function width(table: Table, column: Column, number: number): number {
  let longest = Math.ceil(0.8 * (column.label.length + 2)); // with the arrow of the order; headings are small
  const step = Math.max(1, Math.floor(table.rows.length / SAMPLE));
  for (let row = 0; row < table.rows.length; row += step) {
    longest = Math.max(longest, shown(table.rows[row]?.[number], column.kind).length + (isNumeric(column.kind) ? 1 : 0));
  }
  return Math.min(longest, MOST_CHARACTERS) + (number === 0 ? 4 : 2); // with the margin of the first one
}
