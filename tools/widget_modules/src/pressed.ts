/** Buttons that stay pressed say so to screen readers; the front end shows it by a class alone. */
const TOGGLES = ".widget-toggle-button";

/** Returns what ends it. */
export function sayPressed(root: HTMLElement): () => void {
  const say = () => {
    for (const button of root.querySelectorAll(TOGGLES)) {
      const pressed = String(button.classList.contains("mod-active"));
      if (button.getAttribute("aria-pressed") !== pressed) button.setAttribute("aria-pressed", pressed);
    }
  };
  const observer = new MutationObserver((changes) => {
    if (changes.some(({ target }) => !(target as Element).closest(".ne-rows"))) say(); // rows come and go by scrolling
  });
  observer.observe(root, { attributes: true, attributeFilter: ["class"], childList: true, subtree: true });
  say();
  return () => {
    observer.disconnect();
    for (const button of root.querySelectorAll(TOGGLES)) button.removeAttribute("aria-pressed");
  };
}
