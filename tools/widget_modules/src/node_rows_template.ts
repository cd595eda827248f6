/** The HTML of the whole view. */
import { html, nothing, type TemplateResult } from "lit-html";
import type { Widths } from "./columns.ts";
import { ROW_HEIGHT, STYLE } from "./node_rows_style.ts";
import { counted } from "./numbers.ts";
import { actionButtons, headCell, rowTemplate } from "./row_templates.ts";
import type { RowsState } from "./rows_state.ts";
import { nodeOf } from "./table.ts";

interface Drawn {
  id: string; // of the grid
  state: RowsState;
  places: number[]; // the shown rows that are drawn
  widths: Widths;
  headStop: number;
  isNarrow: boolean;
  note: string;
}

export function rowsTemplate({ id, state, places, widths, headStop, isNarrow, note }: Drawn): TemplateResult {
  const { table, shown } = state;
  const all = table.rows.length;
  const count = shown.length === all ? counted(all) : `${counted(shown.length)} of ${counted(all)}`;
  const chosen = state.place >= 0 ? state.node : "";
  const rowId = (place: number) => `${id}-${shown[place]}`;
  const row = (place: number) =>
    rowTemplate({
      table,
      row: shown[place]!,
      place,
      top: place * ROW_HEIGHT,
      id: rowId(place),
      isChosen: place === state.place,
      hasActions: place === state.place && chosen !== "" && !isNarrow,
      node: nodeOf(table, shown[place]!),
    });
  // Scrolled rows take the elements of those before them: making them anew took most of a frame. The chosen row has
  // its own, so that a button of it keeps the focus.
  return html`<style>${STYLE}</style>
    <div class="ne-rows-bar">
      <input class="ne-rows-filter" type="search" placeholder="Filter these rows (/)" spellcheck="false" autocomplete="off"
        aria-label="Filter rows by words in names and tokens" aria-controls=${id} />
      <span class="ne-rows-count" role="status">${count} ${all === 1 ? "row" : "rows"}</span>
      ${chosen && isNarrow ? actionButtons(chosen, "group") : nothing}
      <span class="ne-rows-note">${note}</span>
    </div>
    <div class="ne-rows-grid" role="grid" tabindex="0" id=${id} aria-label="Nodes"
      aria-rowcount=${shown.length + 1} aria-colcount=${table.columns.length + 1}
      aria-activedescendant=${state.place < 0 ? nothing : rowId(state.place)}
      style="--ne-columns:${widths.template}">
      <div role="rowgroup" class="ne-rows-head" style="min-width:${widths.total}">
        <div role="row" class="ne-rows-row" aria-rowindex="1" style="grid-template-columns:var(--ne-columns)">${
          table.columns.map((column, number) => headCell(column, number, state.sort, number === headStop))
        }</div>
      </div>
      <div role="rowgroup" class="ne-rows-body"
        style="height:${shown.length * ROW_HEIGHT}px;min-width:${widths.total}">${
          places.filter((place) => state.place < 0 || place < state.place).map(row)
        }${places.includes(state.place) ? row(state.place) : nothing}${
          places.filter((place) => state.place >= 0 && place > state.place).map(row)
        }</div>
    </div>
    <div class="ne-rows-empty" ?hidden=${shown.length > 0}>${all ? "No row has all these words." : "No rows."}</div>
    <div class="ne-rows-busy" role="status"></div>`;
}
