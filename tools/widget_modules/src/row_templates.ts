/** The HTML of heads and rows. All text is set as text nodes and attributes, never as HTML. */
import { html, nothing, type TemplateResult } from "lit-html";
import type { Action } from "./actions.ts";
import { background, textColour } from "./numbers.ts";
import { type Column, isNumeric, nodeColumn, shown, type Sort, type Table, type Value } from "./table.ts";

export const ACTIONS: readonly { kind: Action; label: string; key: string }[] = [
  { kind: "open", label: "Open", key: "Enter" },
  { kind: "ablate", label: "Ablate", key: "a" },
  { kind: "trace", label: "Trace", key: "t" },
  { kind: "verify", label: "Verify", key: "v" },
];

export function headCell(column: Column, number: number, sort: Sort | undefined, isStop: boolean): TemplateResult {
  const order = sort?.column === column.name ? (sort.descending ? "descending" : "ascending") : "none";
  const arrow = { descending: " ▼", ascending: " ▲", none: "" }[order];
  return html`<div
    role="columnheader"
    class="ne-rows-cell ${isNumeric(column.kind) ? "ne-right" : ""}"
    aria-colindex=${number + 1}
    aria-sort=${order}
  ><button type="button" class="ne-rows-sort" data-column=${number} tabindex=${isStop ? 0 : -1} title=${
    column.about ? `${column.label}: ${column.about}. Click to sort` : `Sort by ${column.label}`
  }>${column.label}<span aria-hidden="true">${arrow}</span></button></div>`;
}

interface RowState {
  table: Table;
  row: number; // its place in the table
  place: number; // its place among the shown rows
  top: number; // pixels
  id: string;
  isChosen: boolean;
  hasActions: boolean;
  node: string;
}

export function rowTemplate({ table, row, place, top, id, isChosen, hasActions, node }: RowState): TemplateResult {
  const opening = node ? nodeColumn(table) : -1;
  const values = table.rows[row] ?? [];
  return html`<div
    role="row"
    id=${id}
    class="ne-rows-row"
    data-place=${place}
    aria-rowindex=${place + 2}
    aria-selected=${isChosen ? "true" : "false"}
    style="transform:translateY(${top}px);grid-template-columns:var(--ne-columns)"
  >${table.columns.map((column, number) => cell(table, column, values[number], number, number === opening))}${
    hasActions ? actionButtons(node, "gridcell", table.columns.length + 1) : nothing
  }</div>`;
}

function cell(table: Table, column: Column, value: Value | undefined, number: number, opens: boolean): TemplateResult {
  const text = shown(value, column.kind);
  const isRight = isNumeric(column.kind);
  return html`<div
    role="gridcell"
    class="ne-rows-cell ${isRight ? "ne-right" : ""}"
    aria-colindex=${number + 1}
    title=${isRight ? nothing : text}
  >${opens ? html`<span class="ne-rows-open" data-action="open">${text}</span>` : coloured(table, column, value, text)}</div>`;
}

function coloured(table: Table, column: Column, value: Value | undefined, text: string): unknown {
  if (column.kind !== "effect" || typeof value !== "number") return text;
  const [light, dark] = [table.palette, table.dark_palette].map((palette) =>
    background(value, table.limit[column.name] ?? 0, palette),
  );
  const style = [...declared("light", light), ...declared("dark", dark ?? light)].join(";") || nothing;
  return html`<span class="ne-rows-value" style=${style}>${text}</span>`;
}

/** The colours of an effect in a theme, as the style sheet reads them. */
function declared(theme: "light" | "dark", colour: string | undefined): string[] {
  return colour === undefined ? [] : [`--ne-${theme}:${colour}`, `--ne-${theme}-text:${textColour(colour)}`];
}

/** What can be done with a node, as buttons. */
export function actionButtons(node: string, role: "gridcell" | "group", column?: number): TemplateResult {
  return html`<div
    role=${role}
    class="ne-rows-actions"
    aria-colindex=${column ?? nothing}
    aria-label=${role === "group" ? `Actions on ${node}` : nothing}
  >${ACTIONS.map(
    ({ kind, label, key }) =>
      html`<button
        type="button"
        class="ne-rows-act"
        data-action=${kind}
        title="${label} ${node} (${key})"
        aria-label="${label} ${node}"
        aria-keyshortcuts=${key}
      >${label}</button>`,
  )}</div>`;
}
