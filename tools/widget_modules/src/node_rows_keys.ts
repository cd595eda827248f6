/** What a user does with the rows: by the pointer, and by keys. */
import type { Action } from "./actions.ts";
import { HEAD_HEIGHT, ROW_HEIGHT } from "./node_rows_style.ts";
import type { NodeRowsView } from "./node_rows_view.ts";
import { ACTIONS } from "./row_templates.ts";

export function listen(view: NodeRowsView): void {
  const field = view.part<HTMLInputElement>(".ne-rows-filter");
  field.addEventListener("input", () => view.filterBy(field.value));
  view.root.addEventListener("click", (event) => clicked(view, event));
  view.root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isTaken = event.target === field ? keyInField(view, field, event.key) : key(view, event);
    if (!isTaken) return;
    event.preventDefault();
    event.stopPropagation();
  });
}

function place(event: Event): number {
  const row = (event.target as Element).closest<HTMLElement>("[data-place]");
  return row ? Number(row.dataset.place) : -1;
}

function clicked(view: NodeRowsView, event: MouseEvent): void {
  const target = event.target as Element;
  const head = target.closest<HTMLElement>("[data-column]");
  if (head) view.sortBy(Number(head.dataset.column));
  const row = place(event);
  if (row >= 0 && row !== view.state.place) view.choose(row);
  const action = target.closest<HTMLElement>("[data-action]");
  const isSelecting = getSelection()?.isCollapsed === false; // somebody marks text to copy it
  if (event.detail < 2) { // a double click acts once
    if (action) view.act(action.dataset.action as Action);
    else if (row >= 0 && !isSelecting) view.act("open");
  }
  if (row >= 0 || action) view.grid.focus({ preventScroll: true });
}

function keyInField(view: NodeRowsView, field: HTMLInputElement, name: string): boolean {
  if (name === "Escape" && field.value) {
    field.value = "";
    view.filterBy("");
  } else if (name === "ArrowDown" || name === "Enter") {
    view.grid.focus();
    if (view.state.place < 0) view.choose(0);
  } else {
    return false;
  }
  return true;
}

function key(view: NodeRowsView, event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  if (event.key === "/") {
    view.part<HTMLInputElement>(".ne-rows-filter").select();
    view.part(".ne-rows-filter").focus();
    return true;
  }
  if (target.dataset.column !== undefined) return keyInHead(view, Number(target.dataset.column), event.key);
  const isButton = target.tagName === "BUTTON";
  if (isButton && (event.key === "Enter" || event.key === " ")) return false; // it is clicked
  return moved(view, event.key) || acted(view, event);
}

function keyInHead(view: NodeRowsView, column: number, name: string): boolean {
  const steps: Record<string, number> = { ArrowLeft: column - 1, ArrowRight: column + 1, Home: 0, End: Infinity };
  const next = steps[name];
  if (next !== undefined) view.focusHead(next);
  else if (name === "ArrowDown") view.grid.focus();
  else return false;
  return true;
}

function moved(view: NodeRowsView, name: string): boolean {
  const page = Math.max(1, Math.floor((view.grid.clientHeight - HEAD_HEIGHT) / ROW_HEIGHT) - 1);
  const places: Record<string, number> = {
    ArrowDown: view.state.place + 1,
    ArrowUp: view.state.place - 1,
    PageDown: view.state.place + page,
    PageUp: view.state.place - page,
    Home: 0,
    End: Infinity,
  };
  const next = places[name];
  if (next === undefined) return false;
  view.choose(next);
  view.grid.focus({ preventScroll: true });
  return true;
}

function acted(view: NodeRowsView, event: KeyboardEvent): boolean {
  const action = ACTIONS.find(({ key }) => key.toLowerCase() === event.key.toLowerCase());
  if (!action || event.repeat) return false;
  if (view.state.place < 0) {
    view.hint("Choose a row first: with ↑ and ↓, or by a click.");
    return true;
  }
  view.act(action.kind);
  return true;
}
