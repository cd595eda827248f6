/** The list of shortcuts: a small dialog. */
import { html, render } from "lit-html";

const SHORTCUTS: readonly (readonly [keys: string, does: string])[] = [
  ["Ctrl Enter", "ask, in the fields of the question"],
  ["Alt ←", "back"],
  ["Alt →", "forward"],
  ["/", "filter the rows"],
  ["?", "this list"],
  ["↑ ↓ ← →", "move between rows, tokens and cells of a map"],
  ["Enter", "open the node, or filter by the token"],
  ["a", "ablate the chosen row's node"],
  ["t", "trace it"],
  ["v", "verify it"],
];

export function showShortcuts(root: HTMLElement): void {
  if (root.querySelector("dialog.ne-shortcuts")) return;
  const dialog = document.createElement("dialog");
  dialog.className = "ne-shortcuts";
  dialog.setAttribute("aria-label", "Keyboard shortcuts");
  render(
    html`<h2>Keyboard shortcuts</h2>
      <dl>${SHORTCUTS.map(
        ([keys, does]) => html`<dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${does}</dd>`,
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
