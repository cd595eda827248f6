/** The view of `NodeRows`: it draws the state, and changes it. What a user does is in `node_rows_keys.ts`. */
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core";
import { render } from "lit-html";
import { Actions, type Action } from "./actions.ts";
import { columnWidths, type Widths } from "./columns.ts";
import { type Model, onChange } from "./model.ts";
import { ACTIONS_WIDTH, HEAD_HEIGHT, ROW_HEIGHT } from "./node_rows_style.ts";
import { rowsTemplate } from "./node_rows_template.ts";
import { RowsState } from "./rows_state.ts";

const OVERSCAN = 8; // rows beyond both edges
const CHOICE_DELAY = 120; // milliseconds; a key that is held down chooses many rows

let views = 0;

export class NodeRowsView {
  readonly state = new RowsState();
  readonly root = document.createElement("section");
  readonly stop: () => void;

  private widths: Widths = columnWidths(this.state.table);
  private headStop = 0; // the heading that Tab reaches
  private hinted = "";
  private isNarrow = false;
  private isLaidOut = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly id = `ne-rows-${++views}`;
  private readonly actions: Actions;
  private readonly virtualizer: Virtualizer<HTMLElement, HTMLElement>;

  constructor(private readonly model: Model, element: HTMLElement) {
    // MathJax (2; 3 and 4) leaves elements with these classes alone.
    this.root.className = "ne-rows tex2jax_ignore mathjax_ignore";
    element.append(this.root);
    this.virtualizer = new Virtualizer<HTMLElement, HTMLElement>(this.options());
    this.draw(); // the element that scrolls is there from now on
    this.takeTable();
    const unmount = this.virtualizer._didMount();
    this.virtualizer._willUpdate();
    const resized = new ResizeObserver(() => this.fit());
    resized.observe(this.grid);
    this.actions = new Actions(model, (notice) => {
      this.notice.textContent = notice;
    });
    const ends = [
      onChange(model, "table", () => this.takeTable()),
      onChange(model, "sort", () => this.takeSort()),
      onChange(model, "chosen", () => this.takeChosen()),
      onChange(model, "note", () => this.draw()),
      unmount,
      () => resized.disconnect(),
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
    this.endHint();
    this.state.choose(place);
    this.showChosen();
    this.draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tellChoice(), CHOICE_DELAY);
  }

  /** Sends an action on the chosen row. */
  act(kind: Action): void {
    if (this.state.place < 0 || !this.state.node) return;
    this.tellChoice();
    this.actions.send(kind, this.state.node);
  }

  /** Shows a hint beneath the rows, until a row is chosen or the table is another one. */
  hint(text: string): void {
    if (this.notice.textContent === "") this.hinted = this.notice.textContent = text;
  }

  filterBy(text: string): void {
    this.state.takeFilter(text);
    this.redraw();
  }

  sortBy(column: number): void {
    this.headStop = column;
    this.model.set("sort", this.state.nextSort(column)); // `takeSort` follows
    this.model.save_changes();
  }

  /** Moves to a heading, which becomes the one that Tab reaches. */
  focusHead(column: number): void {
    this.headStop = Math.max(0, Math.min(this.state.table.columns.length - 1, column));
    this.draw();
    this.part(`[data-column="${this.headStop}"]`).focus();
  }

  private options() {
    return {
      count: this.state.shown.length,
      getScrollElement: () => this.root.querySelector<HTMLElement>(".ne-rows-grid"),
      estimateSize: () => ROW_HEIGHT,
      scrollMargin: HEAD_HEIGHT,
      overscan: OVERSCAN,
      observeElementRect,
      observeElementOffset,
      scrollToFn: elementScroll,
      onChange: () => this.draw(),
    };
  }

  private get notice(): HTMLElement {
    return this.part(".ne-rows-busy");
  }

  private endHint(): void {
    if (this.notice.textContent === this.hinted) this.notice.textContent = "";
  }

  private takeTable(): void {
    this.endHint();
    this.state.takeTable(this.model.get("table"));
    this.widths = columnWidths(this.state.table);
    this.headStop = Math.min(this.headStop, Math.max(0, this.state.table.columns.length - 1));
    this.takeSort();
    this.takeChosen();
    this.fit();
  }

  private takeSort(): void {
    this.state.takeSort(this.model.get("sort"));
    this.redraw();
  }

  private takeChosen(): void {
    const before = this.state.place;
    this.state.takeNode(String(this.model.get("chosen") ?? ""));
    if (this.state.place !== before) this.showChosen();
    this.draw();
  }

  /** Draws other rows, from the first. */
  private redraw(): void {
    this.virtualizer.setOptions(this.options());
    this.scrollTo(0);
    this.virtualizer.measure(); // draws
  }

  /** Scrolls no more than it takes to show the chosen row. */
  private showChosen(): void {
    if (this.state.place < 0) return;
    const { scrollTop, clientHeight } = this.grid;
    const top = this.state.place * ROW_HEIGHT;
    const room = Math.max(0, clientHeight - HEAD_HEIGHT - ROW_HEIGHT);
    this.scrollTo(Math.max(Math.min(scrollTop, top), top - room));
  }

  private scrollTo(top: number): void {
    this.grid.scrollTop = top;
    this.virtualizer.scrollOffset = this.grid.scrollTop; // now: its event comes a frame later
  }

  /** Finds out whether the rows have room for buttons; shows the chosen row as soon as there is room for rows. */
  private fit(): void {
    if (!this.isLaidOut && this.grid.clientHeight > 0) {
      this.isLaidOut = true;
      this.showChosen();
    }
    const heads = [...this.root.querySelectorAll<HTMLElement>("[role=columnheader]")];
    const room = this.grid.clientWidth - heads.reduce((sum, head) => sum + head.offsetWidth, 0);
    this.isNarrow = room < ACTIONS_WIDTH;
    this.draw();
  }

  private tellChoice(): void {
    clearTimeout(this.timer);
    if (this.state.node === this.model.get("chosen")) return;
    this.model.set("chosen", this.state.node);
    this.model.save_changes();
  }

  private draw(): void {
    const { state, widths, headStop, isNarrow, id } = this;
    const places = [...this.virtualizer.getVirtualIndexes()];
    // The chosen row stays on the page, so that it can be referred to and its buttons keep the focus.
    if (state.place >= 0 && !places.includes(state.place)) places.push(state.place);
    const note = String(this.model.get("note") ?? "");
    render(rowsTemplate({ id, state, places, widths, headStop, isNarrow, note }), this.root);
  }
}
