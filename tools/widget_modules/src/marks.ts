/** Elements that stand for a node or a token, and the groups in which arrow keys move between them. */
export const MARK = "[data-ne-node],[data-ne-token]";
const GROUP = "[data-ne-grid],table,.ne-text,.ne-token-strip";

export function marksIn(element: Element): HTMLElement[] {
  return [...element.querySelectorAll<HTMLElement>(MARK)];
}

/** A map, a table or a strip: one stop of the Tab key. */
export function groupOf(mark: Element): Element {
  return mark.closest(GROUP) ?? mark.parentElement ?? mark;
}

/** What finds a mark again after its page was written anew. */
export function selectorOf(mark: HTMLElement): string {
  const { neNode, neToken } = mark.dataset;
  return neNode !== undefined ? `[data-ne-node="${CSS.escape(neNode)}"]` : `[data-ne-token="${CSS.escape(neToken ?? "")}"]`;
}

/** The mark that a key leads to from another one; undefined for other keys, and where there is none. */
export function neighbour(mark: HTMLElement, key: string): HTMLElement | undefined {
  const marks = marksIn(groupOf(mark));
  const at = marks.indexOf(mark);
  const box = mark.getBoundingClientRect();
  const others = () => marks.map((each) => ({ each, box: each.getBoundingClientRect() })).filter(({ box }) => box.width > 0);
  const inLine = () => others().filter((other) => other.box.top < box.bottom - 1 && other.box.bottom > box.top + 1);
  switch (key) {
    case "ArrowRight":
      return marks[at + 1];
    case "ArrowLeft":
      return marks[at - 1];
    case "Home":
      return inLine()[0]?.each;
    case "End":
      return inLine().at(-1)?.each;
    case "ArrowDown":
      return nearest(box, others().filter((other) => other.box.top >= box.bottom - 1), (other) => other.top - box.bottom);
    case "ArrowUp":
      return nearest(box, others().filter((other) => other.box.bottom <= box.top + 1), (other) => box.top - other.bottom);
    default:
      return undefined;
  }
}

interface Placed {
  each: HTMLElement;
  box: DOMRect;
}

/** In the nearest line, the mark whose middle is nearest to that of `box`. */
function nearest(box: DOMRect, placed: Placed[], distance: (other: DOMRect) => number): HTMLElement | undefined {
  const line = Math.min(...placed.map((other) => distance(other.box)));
  const aside = (other: Placed) => Math.abs(other.box.left + other.box.right - box.left - box.right);
  const inLine = placed.filter((other) => distance(other.box) < line + box.height / 2);
  return inLine.sort((one, other) => aside(one) - aside(other))[0]?.each;
}
