/** The keys of a page's own actions. Python says which of them a page offers. */
import type { Actions, Shortcut } from "./actions.ts";
import type { Model } from "./model.ts";

export type Offered = ReadonlySet<Shortcut>;

export function readOffered(model: Model): Offered {
  const given = model.get("shortcuts");
  return new Set(Array.isArray(given) ? (given as Shortcut[]) : []);
}

const WITH_ALT: Readonly<Record<string, Shortcut>> = { ArrowLeft: "back", ArrowRight: "forward" };
const PLAIN: Readonly<Record<string, Shortcut>> = {
  ArrowRight: "next",
  ArrowLeft: "previous",
  ArrowUp: "layer_up",
  ArrowDown: "layer_down",
  r: "random",
  b: "bookmark",
};
const HELD: Offered = new Set<Shortcut>(["next", "previous", "layer_up", "layer_down"]);

/** Whether keys without Alt are actions of the page. */
export function hasPlainKeys(offered: Offered): boolean {
  return Object.values(PLAIN).some((kind) => offered.has(kind));
}

/** What has arrow keys of its own: nodes and tokens in a row or a map, rows, sliders, choices. */
const HAS_ARROWS =
  "[data-ne-node],[data-ne-token],.ne-rows,input:not([type=button],[type=checkbox]),video,audio," +
  "[role=slider],[role=radio],[role=tab],[role=option],[role=listbox],[role=menuitem],[role=spinbutton]";

/** Whether a key, pressed outside of fields, is an action of the page; then it is sent. */
export function sendKey(event: KeyboardEvent, root: HTMLElement, actions: Actions, offered: Offered): boolean {
  const kind = (event.altKey ? WITH_ALT : PLAIN)[event.key];
  if (kind === undefined || event.shiftKey || !offered.has(kind)) return false;
  if (!event.altKey && event.key.startsWith("Arrow") && hasArrows(event.target as HTMLElement, root, event.key)) return false;
  // A key that is held asks for the next one when the last one has arrived, and not twice for anything else.
  if (!event.repeat || (HELD.has(kind) && !actions.isWaiting)) actions.send(kind);
  return true;
}

function hasArrows(target: HTMLElement, root: HTMLElement, key: string): boolean {
  if (target.closest(HAS_ARROWS)) return true;
  if (target === root) return false;
  const isUpright = key === "ArrowUp" || key === "ArrowDown";
  const [inside, shown] = isUpright ? [target.scrollHeight, target.clientHeight] : [target.scrollWidth, target.clientWidth];
  const overflow = getComputedStyle(target)[isUpright ? "overflowY" : "overflowX"];
  return inside > shown && (overflow === "auto" || overflow === "scroll"); // browsers let the keyboard scroll it
}
