const SUPPRESSED = "data-lm-suppress-shortcuts";

/**
 * JupyterLab takes no keys inside the element ("a" would insert a cell), apart from those with Ctrl or Cmd, as Save.
 * Returns what undoes it.
 */
export function keepKeys(element: Element): () => void {
  const choose = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey) element.removeAttribute(SUPPRESSED);
    else element.setAttribute(SUPPRESSED, "true");
  };
  element.setAttribute(SUPPRESSED, "true");
  window.addEventListener("keydown", choose, true); // before the document, where JupyterLab listens
  return () => {
    window.removeEventListener("keydown", choose, true);
    element.removeAttribute(SUPPRESSED);
  };
}
