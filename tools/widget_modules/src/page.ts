/** The module of `PageModule`: it acts on the page around its element, and shows nothing there. */
import { Actions } from "./actions.ts";
import { keepKeys } from "./jupyter_keys.ts";
import type { Model, RenderContext } from "./model.ts";
import { listenToPage } from "./page_events.ts";
import { STYLE } from "./page_style.ts";
import { sayPressed } from "./pressed.ts";
import { hasPlainKeys, type Offered, readOffered } from "./page_keys.ts";
import { showShortcuts } from "./shortcuts.ts";
import { TabStops } from "./tab_stops.ts";
import { whenOnPage } from "./viewer_root.ts";

function render({ model, el }: RenderContext): () => void {
  el.style.display = "none";
  return whenOnPage(el, (root) => quicken(root, model));
}

function quicken(root: HTMLElement, model: Model): () => void {
  const style = document.createElement("style");
  style.textContent = STYLE;
  const notice = document.createElement("div");
  notice.className = "ne-busy";
  notice.setAttribute("role", "status"); // there before its text, so that the text is read out
  root.append(style, notice);
  const offered = readOffered(model);
  const keys = keysButton(root, offered);
  root.prepend(keys);
  const unset = setAttributes(root, {
    role: "region",
    "aria-label": String(model.get("label") ?? ""),
    ...(hasPlainKeys(offered) ? { tabindex: "-1" } : {}), // a click on its texts makes its keys work
  });
  const actions = new Actions(model, (text) => {
    notice.textContent = text;
  });
  const stops = new TabStops(root);
  const ends = [listenToPage(root, actions, offered), keepKeys(root), () => stops.stop(), sayPressed(root), () => actions.stop()];
  root.classList.add("ne-module"); // last: what is replaced goes only if all of this works
  return () => {
    root.classList.remove("ne-module");
    ends.forEach((end) => end());
    root.querySelector("dialog.ne-shortcuts")?.remove();
    style.remove();
    notice.remove();
    keys.remove();
    unset();
  };
}

/** Returns what takes them away again. */
function setAttributes(element: HTMLElement, attributes: Record<string, string>): () => void {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return () => Object.keys(attributes).forEach((name) => element.removeAttribute(name));
}

/** What tells of the shortcuts to those who have not read of them. */
function keysButton(root: HTMLElement, offered: Offered): HTMLButtonElement {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "ne-keys";
  button.textContent = "Keys (?)";
  button.title = "All keyboard shortcuts";
  button.addEventListener("click", () => showShortcuts(root, offered));
  return button;
}

export default { render };
