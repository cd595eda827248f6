/** Clicks and keys anywhere on a page. */
import type { Actions } from "./actions.ts";
import { asks } from "./jupyter_keys.ts";
import { MARK, neighbour } from "./marks.ts";
import { type Offered, sendKey } from "./page_keys.ts";
import { FILTER, showShortcuts } from "./shortcuts.ts";

const OF_ITS_OWN = "a,button,input,select,textarea,summary,label,dialog"; // what does something else when it is clicked

/** Returns what ends it. */
export function listenToPage(root: HTMLElement, actions: Actions, offered: Offered): () => void {
  const click = (event: MouseEvent) => {
    const mark = event.detail < 2 ? markAt(event) : null; // a double click acts once
    if (mark && !event.defaultPrevented && !isSelecting(mark)) choose(actions, mark);
  };
  const keydown = (event: KeyboardEvent) => {
    if (event.defaultPrevented || !(onMark(event, actions) || onPage(event, root, actions, offered))) return;
    event.preventDefault();
    event.stopPropagation();
  };
  const asked = (event: KeyboardEvent) => {
    if (!offered.has("ask") || !asks(event)) return;
    if (!event.repeat) actions.send("ask");
    event.preventDefault();
    event.stopPropagation();
  };
  root.addEventListener("click", click);
  root.addEventListener("keydown", keydown);
  root.addEventListener("keydown", asked, true); // before the fields, which let no key out
  return () => {
    root.removeEventListener("click", click);
    root.removeEventListener("keydown", keydown);
    root.removeEventListener("keydown", asked, true);
  };
}

function markAt(event: Event): HTMLElement | null {
  const target = event.target as Element;
  const mark = target.closest<HTMLElement>(MARK);
  const other = target.closest(OF_ITS_OWN);
  return mark && other && other !== mark && mark.contains(other) ? null : mark;
}

/** Whether somebody marks text to copy it. */
function isSelecting(mark: Element): boolean {
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && selection.containsNode(mark, true);
}

function choose(actions: Actions, mark: HTMLElement): void {
  const { neNode, neToken } = mark.dataset;
  if (neNode) actions.send("open", neNode);
  else if (neToken) actions.send("token", neToken);
}

function onMark(event: KeyboardEvent, actions: Actions): boolean {
  const mark = event.target as HTMLElement;
  if (!mark.matches(MARK) || event.ctrlKey || event.metaKey || event.altKey) return false;
  if (event.key === "Enter" || event.key === " ") {
    if (!event.repeat) choose(actions, mark);
    return true;
  }
  const next = neighbour(mark, event.key);
  next?.focus();
  return next !== undefined;
}

function onPage(event: KeyboardEvent, root: HTMLElement, actions: Actions, offered: Offered): boolean {
  const target = event.target as HTMLElement;
  if (event.ctrlKey || event.metaKey || isField(target) || target.closest("dialog")) return false;
  if (sendKey(event, root, actions, offered)) return true;
  if (event.altKey) return false;
  if (event.key === "?") {
    showShortcuts(root, offered);
    return true;
  }
  if (event.key !== "/") return false;
  const fields = [...root.querySelectorAll<HTMLInputElement>(FILTER)];
  const field = fields.find((each) => each.offsetParent !== null); // the first that is visible
  field?.focus();
  field?.select();
  return field !== undefined;
}

/** Whether keys are text there. */
function isField(element: HTMLElement): boolean {
  if (element.isContentEditable || element.matches("textarea,select")) return true;
  return element.matches("input:not([type=button],[type=checkbox],[type=radio],[type=range])");
}
