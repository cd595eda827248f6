/** Marks that can be reached by the keyboard: each group is one Tab stop, also in HTML that appears later. */
import { groupOf, MARK, marksIn, selectorOf } from "./marks.ts";

export class TabStops {
  readonly stop: () => void;
  private readonly added = new WeakMap<Element, string[]>(); // the attributes that are ours
  private lost: string | undefined; // what finds the mark that had the focus when its page was written anew
  private focused: HTMLElement | undefined;

  constructor(private readonly root: HTMLElement) {
    this.adopt();
    const observer = new MutationObserver((changes) => {
      if (changes.some(({ target }) => !(target as Element).closest(".ne-rows"))) this.adopt();
    });
    observer.observe(root, { childList: true, subtree: true });
    const focus = (event: FocusEvent) => this.focus(event.target as HTMLElement);
    const forget = () => {
      this.lost = undefined;
    };
    document.addEventListener("focusin", focus);
    document.addEventListener("pointerdown", forget);
    this.stop = () => {
      observer.disconnect();
      document.removeEventListener("focusin", focus);
      document.removeEventListener("pointerdown", forget);
      for (const element of [root, ...root.querySelectorAll("*")]) {
        this.added.get(element)?.forEach((name) => element.removeAttribute(name));
      }
    };
  }

  private adopt(): void {
    const groups = new Map<Element, HTMLElement[]>();
    for (const mark of marksIn(this.root)) {
      const group = groupOf(mark);
      const marks = groups.get(group);
      if (marks) marks.push(mark);
      else groups.set(group, [mark]);
    }
    for (const [group, marks] of groups) this.adoptGroup(group, marks);
    this.findFocusAgain();
  }

  private adoptGroup(group: Element, marks: HTMLElement[]): void {
    const isTable = group.matches("table[data-ne-grid]");
    if (group.hasAttribute("data-ne-grid")) this.add(group, "role", isTable ? "grid" : "group");
    const stop = marks.find((mark) => mark.tabIndex === 0 && mark.hasAttribute("tabindex")) ?? marks[0];
    for (const mark of marks) {
      this.add(mark, "tabindex", mark === stop ? "0" : "-1");
      if (!(isTable && mark.matches("td,th"))) this.add(mark, "role", "button"); // a cell of a grid is a gridcell
      if (!mark.textContent?.trim() && !mark.getAttribute("alt")) {
        this.add(mark, "aria-label", mark.title || (mark.dataset.neNode ?? `token ${mark.dataset.neToken}`));
      }
    }
  }

  private add(element: Element, name: string, value: string): void {
    if (element.hasAttribute(name)) return;
    element.setAttribute(name, value);
    this.added.set(element, [...(this.added.get(element) ?? []), name]);
  }

  private focus(target: HTMLElement): void {
    const mark = (this.root.contains(target) && target.closest<HTMLElement>(MARK)) || undefined;
    this.focused = mark;
    this.lost = undefined;
    if (!mark || !this.added.has(mark)) return;
    for (const other of marksIn(groupOf(mark))) other.tabIndex = other === mark ? 0 : -1;
  }

  private findFocusAgain(): void {
    if (this.focused && !this.focused.isConnected) {
      this.lost = selectorOf(this.focused);
      this.focused = undefined;
    }
    const lost = this.lost;
    const hasFocus = [document.body, this.root].includes(document.activeElement as HTMLElement);
    if (lost === undefined || !hasFocus) return;
    const again = this.root.querySelector<HTMLElement>(lost);
    (again ?? this.root).focus({ preventScroll: true }); // the keys of the page still work
    if (!again) this.lost = lost; // it may be written later
  }
}
