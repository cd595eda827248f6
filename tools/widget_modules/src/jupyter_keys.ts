/** Whether a key asks the question in whose fields it is pressed. */
export function asks(event: KeyboardEvent): boolean {
  const isInField = event.target instanceof Element && event.target.closest(".ne-ask") !== null;
  return event.key === "Enter" && (event.ctrlKey || event.metaKey) && isInField;
}

const SUPPRESSED = "data-lm-suppress-shortcuts";

/**
 * JupyterLab, and Jupyter's older notebook, take no keys inside the element ("a" would insert a cell), apart from those
 * with Ctrl or Cmd, as Save; but Ctrl+Enter in the fields of a question asks, and does not run the cell. Returns what
 * undoes it.
 */
export function keepKeys(element: HTMLElement): () => void {
  const choose = (event: KeyboardEvent) => {
    if ((event.ctrlKey || event.metaKey) && !asks(event)) element.removeAttribute(SUPPRESSED);
    else element.setAttribute(SUPPRESSED, "true");
  };
  const keep = (event: KeyboardEvent) => {
    const isInside = element.parentElement?.closest(`[${SUPPRESSED}]`); // the page around it has shortcuts of its own
    const isPlain = !(event.ctrlKey || event.metaKey) && (event.key.length === 1 || event.key === "Enter");
    if (isPlain && !isInside) event.stopPropagation(); // the older notebook listens where events end
  };
  element.setAttribute(SUPPRESSED, "true");
  element.addEventListener("keydown", keep);
  window.addEventListener("keydown", choose, true); // before the document, where JupyterLab listens
  return () => {
    window.removeEventListener("keydown", choose, true);
    element.removeEventListener("keydown", keep);
    element.removeAttribute(SUPPRESSED);
  };
}
