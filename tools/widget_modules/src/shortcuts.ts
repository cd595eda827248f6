/** The list of shortcuts: a small dialog. */
import { html, render } from "lit-html";
import type { Shortcut } from "./actions.ts";
import { MARK } from "./marks.ts";
import type { Offered } from "./page_keys.ts";

/** Fields that filter rows. */
export const FILTER = ".ne-rows-filter, .ne-filter input, input.ne-filter";
const ROWS = ".ne-rows";

interface Line {
  keys: string;
  does: string;
  kind?: Shortcut; // the page offers it
  needs?: string; // there is such an element
}

const LINES: readonly Line[] = [
  { keys: "→", does: "the next one", kind: "next" },
  { keys: "←", does: "the previous one", kind: "previous" },
  { keys: "↑", does: "a layer up", kind: "layer_up" },
  { keys: "↓", does: "a layer down", kind: "layer_down" },
  { keys: "r", does: "one at random", kind: "random" },
  { keys: "b", does: "bookmark", kind: "bookmark" },
  { keys: "Ctrl Enter", does: "ask, in the fields of the question", kind: "ask" },
  { keys: "Alt ←", does: "back", kind: "back" },
  { keys: "Alt →", does: "forward", kind: "forward" },
  { keys: "/", does: "filter the rows", needs: FILTER },
  { keys: "?", does: "this list" },
  { keys: "↑ ↓ ← →", does: "move between rows, tokens and cells of a map", needs: `${MARK},${ROWS}` },
  { keys: "Enter", does: "open the node", needs: `[data-ne-node],${ROWS}` },
  { keys: "Enter", does: "filter by the token", needs: "[data-ne-token]" },
  { keys: "a", does: "ablate the chosen row's node", needs: ROWS },
  { keys: "t", does: "trace it", needs: ROWS },
  { keys: "v", does: "verify it", needs: ROWS },
];

export function showShortcuts(root: HTMLElement, offered: Offered): void {
  if (root.querySelector("dialog.ne-shortcuts")) return;
  const dialog = document.createElement("dialog");
  dialog.className = "ne-shortcuts";
  dialog.setAttribute("aria-label", "Keyboard shortcuts");
  const lines = LINES.filter(
    ({ kind, needs }) => (!kind || offered.has(kind)) && (!needs || root.querySelector(needs) !== null),
  );
  render(
    html`<h2>Keyboard shortcuts</h2>
      <dl>${lines.map(
        ({ keys, does }) => html`<dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${does}</dd>`,
      )}</dl>
      <button type="button" @click=${() => dialog.close()}>Close</button>`,
    dialog,
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside its content
  });
  dialog.addEventListener("close", () => dialog.remove());
  root.append(dialog);
  dialog.showModal();
}
