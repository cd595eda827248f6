/** The view of `NodeRows`: its state, and how it is drawn. What a user does is in `node_rows_keys.ts`. */
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core";
import { html, render } from "lit-html";
import { repeat } from "lit-html/directives/repeat.js";
import { Actions, type Action } from "./actions.ts";
import { columnWidths, type Widths } from "./columns.ts";
import { type Model, onChange } from "./model.ts";
import { HEAD_HEIGHT, ROW_HEIGHT, STYLE } from "./node_rows_style.ts";
import { counted } from "./numbers.ts";
import { headCell, rowTemplate } from "./row_templates.ts";
import { matcher, nodeOf, readSort, readTable, sorted, type Sort, type Table } from "./table.ts";

const OVERSCAN = 8; // rows beyond both edges
const CHOICE_DELAY = 120; // milliseconds; a key that is held down chooses many rows

let views = 0;

export class NodeRowsView {
  /** The chosen row's place among the shown rows; -1 if it is not shown. */
  place = -1;
  /** The places of the table's rows that are shown, in order. */
  shown: number[] = [];
  table: Table = readTable(undefined);
  readonly root: HTMLElement;
  readonly stop: () => void;

  private sort: Sort | undefined;
  private filter = "";
  private chosen = -1; // the chosen row's place in the table
  private order: number[] = [];
  private widths: Widths = columnWidths(this.table);
  private headStop = 0; // the heading that Tab reaches
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly id = `ne-rows-${++views}`;
  private readonly actions: Actions;
  private readonly virtualizer: Virtualizer<HTMLElement, HTMLElement>;

  constructor(private readonly model: Model, element: HTMLElement) {
    this.root = document.createElement("section");
    // MathJax (2; 3 and 4) leaves elements with these classes alone.
    this.root.className = "ne-rows tex2jax_ignore mathjax_ignore";
    element.append(this.root);
    this.virtualizer = new Virtualizer<HTMLElement, HTMLElement>(this.options(() => null));
    this.takeTable();
    this.draw(); // the element that scrolls is there from now on
    this.virtualizer.setOptions(this.options(() => this.grid));
    const unmount = this.virtualizer._didMount();
    this.virtualizer._willUpdate();
    this.actions = new Actions(model, (notice) => {
      this.part(".ne-rows-busy").textContent = notice;
    });
    const ends = [
      onChange(model, "table", () => this.update(() => this.takeTable())),
      onChange(model, "sort", () => this.update(() => this.takeSort())),
      onChange(model, "chosen", () => this.update(() => this.takeChosen())),
      onChange(model, "note", () => this.draw()),
      unmount,
      () => this.actions.stop(),
      () => clearTimeout(this.timer),
      () => this.root.remove(),
    ];
    this.stop = () => ends.forEach((end) => end());
  }

  get grid(): HTMLElement {
    return this.part(".ne-rows-grid");
  }

  part<Found extends HTMLElement = HTMLElement>(selector: string): Found {
    return this.root.querySelector<Found>(selector)!;
  }

  /** Chooses a shown row. Python hears of it when no other one follows. */
  choose(place: number): void {
    if (!this.shown.length) return;
    this.place = Math.max(0, Math.min(this.shown.length - 1, place));
    this.chosen = this.shown[this.place]!;
    this.scrollTo(this.place);
    this.draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tellChoice(), CHOICE_DELAY);
  }

  /** Sends an action on the chosen row. */
  act(kind: Action): void {
    const node = this.place < 0 ? "" : nodeOf(this.table, this.chosen);
    if (!node) return;
    this.tellChoice();
    this.actions.send(kind, node);
  }

  filterBy(text: string): void {
    this.update(() => {
      this.filter = text;
      this.select();
      this.grid.scrollTop = 0;
    });
  }

  /** Sorts by a column: numbers from the largest, texts from the first; then the reverse; then as the table is. */
  sortBy(number: number): void {
    const column = this.table.columns[number];
    if (!column) return;
    this.headStop = number;
    const first = column.kind === "number" || column.kind === "effect";
    const now = this.sort?.column === column.name ? this.sort.descending : undefined;
    const next = now === undefined ? { column: column.name, descending: first } : { column: column.name, descending: !first };
    this.model.set("sort", now === !first ? {} : next);
    this.model.save_changes();
  }

  /** Makes a heading the one that Tab reaches. */
  focusHead(number: number): void {
    this.headStop = Math.max(0, Math.min(this.table.columns.length - 1, number));
    this.draw();
    this.part(`[data-column="${this.headStop}"]`).focus();
  }

  private options(getScrollElement: () => HTMLElement | null) {
    return {
      count: this.shown.length,
      getScrollElement,
      estimateSize: () => ROW_HEIGHT,
      scrollMargin: HEAD_HEIGHT,
      overscan: OVERSCAN,
      observeElementRect,
      observeElementOffset,
      scrollToFn: elementScroll,
      onChange: () => this.draw(),
    };
  }

  private update(change: () => void): void {
    change();
    this.virtualizer.setOptions(this.options(() => this.grid));
    this.virtualizer.measure(); // draws
  }

  private takeTable(): void {
    this.table = readTable(this.model.get("table"));
    this.widths = columnWidths(this.table);
    this.headStop = Math.min(this.headStop, Math.max(0, this.table.columns.length - 1));
    this.chosen = -1;
    this.takeSort();
    this.takeChosen();
  }

  private takeSort(): void {
    this.sort = readSort(this.model.get("sort"), this.table);
    this.order = sorted(this.table, this.sort);
    this.select();
    if (this.root.childElementCount) this.grid.scrollTop = 0;
  }

  private takeChosen(): void {
    const name = String(this.model.get("chosen") ?? "");
    if (this.chosen >= 0 && nodeOf(this.table, this.chosen) === name) return;
    this.chosen = name ? (this.order.find((row) => nodeOf(this.table, row) === name) ?? -1) : -1;
    this.place = this.shown.indexOf(this.chosen);
    if (this.place >= 0 && this.root.childElementCount) this.scrollTo(this.place);
  }

  private select(): void {
    this.shown = this.filter.trim() ? this.order.filter(matcher(this.table, this.filter)) : this.order;
    this.place = this.shown.indexOf(this.chosen);
  }

  private scrollTo(place: number): void {
    const { grid } = this;
    const room = grid.clientHeight - HEAD_HEIGHT - ROW_HEIGHT;
    const top = place * ROW_HEIGHT;
    grid.scrollTop = Math.max(Math.min(grid.scrollTop, top), top - Math.max(0, room));
  }

  private tellChoice(): void {
    clearTimeout(this.timer);
    const name = nodeOf(this.table, this.chosen);
    if (name === this.model.get("chosen")) return;
    this.model.set("chosen", name);
    this.model.save_changes();
  }

  private rowId(row: number): string {
    return `${this.id}-${row}`;
  }

  private draw(): void {
    const { table, shown } = this;
    const all = table.rows.length;
    const count = shown.length === all ? counted(all) : `${counted(shown.length)} of ${counted(all)}`;
    const places = [...this.virtualizer.getVirtualIndexes()];
    // The chosen row stays on the page, so that it can be referred to and its buttons keep the focus.
    if (this.place >= 0 && !places.includes(this.place)) places.push(this.place);
    render(
      html`<style>${STYLE}</style>
        <div class="ne-rows-bar">
          <input class="ne-rows-filter" type="search" placeholder="Filter (/)" spellcheck="false" autocomplete="off"
            aria-label="Filter rows by words in names and tokens" aria-controls=${this.id} />
          <span class="ne-rows-count" role="status">${count} ${all === 1 ? "row" : "rows"}</span>
          <span class="ne-rows-note">${String(this.model.get("note") ?? "")}</span>
        </div>
        <div class="ne-rows-grid" role="grid" tabindex="0" id=${this.id} aria-label="Nodes"
          aria-rowcount=${shown.length + 1} aria-colcount=${table.columns.length + 1}
          aria-activedescendant=${this.place < 0 ? "" : this.rowId(this.chosen)}
          style="--ne-columns:${this.widths.template}">
          <div role="rowgroup" class="ne-rows-head" style="min-width:${this.widths.total}">
            <div role="row" class="ne-rows-row" aria-rowindex="1" style="grid-template-columns:var(--ne-columns)">${
              table.columns.map((column, number) => headCell(column, number, this.sort, number === this.headStop))
            }</div>
          </div>
          <div role="rowgroup" class="ne-rows-body"
            style="height:${shown.length * ROW_HEIGHT}px;min-width:${this.widths.total}">${
              repeat(places, (place) => shown[place], (place) => this.row(place))
            }</div>
        </div>
        <div class="ne-rows-empty" ?hidden=${shown.length > 0}>${all ? "No row has all these words." : "No rows."}</div>
        <div class="ne-rows-busy" role="status"></div>`,
      this.root,
    );
  }

  private row(place: number) {
    const row = this.shown[place]!;
    return rowTemplate({
      table: this.table,
      row,
      place,
      top: place * ROW_HEIGHT,
      id: this.rowId(row),
      isChosen: place === this.place,
      node: nodeOf(this.table, row),
    });
  }
}
