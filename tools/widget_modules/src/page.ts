/** The module of `PageModule`: it acts on the page around its element, and shows nothing there. */
import { Actions } from "./actions.ts";
import { keepKeys } from "./jupyter_keys.ts";
import type { Model, RenderContext } from "./model.ts";
import { listenToPage } from "./page_events.ts";
import { STYLE } from "./page_style.ts";
import { sayPressed } from "./pressed.ts";
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
  const actions = new Actions(model, (text) => {
    notice.textContent = text;
  });
  const stops = new TabStops(root);
  const ends = [listenToPage(root, actions), keepKeys(root), () => stops.stop(), sayPressed(root), () => actions.stop()];
  root.classList.add("ne-module"); // last: what is replaced goes only if all of this works
  return () => {
    root.classList.remove("ne-module");
    ends.forEach((end) => end());
    root.querySelector("dialog.ne-shortcuts")?.remove();
    style.remove();
    notice.remove();
  };
}

export default { render };
