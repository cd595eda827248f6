/** What is shown of a table: the order, the filter, the chosen row. Nothing here touches the page. */
import { isNumeric, matcher, nodeOf, readSort, readTable, sorted, type Sort, type Table } from "./table.ts";

export class RowsState {
  table: Table = readTable(undefined);
  sort: Sort | undefined;
  /** The rows that are shown, in order: their places in the table. */
  shown: number[] = [];
  /** The chosen row's place among the shown rows; -1 if it is not shown. */
  place = -1;
  private order: number[] = [];
  private filter = "";
  private chosen = -1; // its place in the table

  /** The name of the chosen row's node; "" for none. */
  get node(): string {
    return nodeOf(this.table, this.chosen);
  }

  takeTable(given: unknown): void {
    this.table = readTable(given);
    this.chosen = -1;
  }

  takeSort(given: unknown): void {
    this.sort = readSort(given, this.table);
    this.order = sorted(this.table, this.sort);
    this.select();
  }

  takeFilter(text: string): void {
    this.filter = text;
    this.select();
  }

  /** Chooses the row of a node. Of several rows with its name, the chosen one remains, or it is the first. */
  takeNode(name: string): void {
    if (this.chosen < 0 || this.node !== name) {
      this.chosen = name ? (this.order.find((row) => nodeOf(this.table, row) === name) ?? -1) : -1;
    }
    this.place = this.shown.indexOf(this.chosen);
  }

  /** Chooses the shown row at a place, or the nearest one. */
  choose(place: number): void {
    this.place = Math.max(0, Math.min(this.shown.length - 1, place));
    this.chosen = this.shown[this.place] ?? -1;
    if (this.chosen < 0) this.place = -1;
  }

  /** The order after a click on a heading: numbers from the largest, texts from the first; the reverse; the table's. */
  nextSort(column: number): Sort | Record<string, never> {
    const { name, kind } = this.table.columns[column]!;
    const first = isNumeric(kind);
    if (this.sort?.column !== name) return { column: name, descending: first };
    return this.sort.descending === first ? { column: name, descending: !first } : {};
  }

  private select(): void {
    this.shown = this.filter.trim() ? this.order.filter(matcher(this.table, this.filter)) : this.order;
    this.place = this.shown.indexOf(this.chosen);
  }
}
