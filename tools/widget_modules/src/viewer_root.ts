const ROOT = ".ne-attribution-viewer,.ne-viewer";

/**
 * Calls `found` with the page that contains an element, as soon as the element is on it.
 * Returns what ends the search, or undoes what `found` did.
 */
export function whenOnPage(element: Element, found: (root: HTMLElement) => () => void): () => void {
  let undo: (() => void) | undefined;
  let frame = 0;
  const look = () => {
    if (!element.isConnected) {
      frame = requestAnimationFrame(look); // the front end attaches a view after it has rendered it
      return;
    }
    const root = element.closest<HTMLElement>(ROOT);
    if (root) undo = found(root);
  };
  look();
  return () => {
    cancelAnimationFrame(frame);
    undo?.();
  };
}
