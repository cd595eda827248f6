/** Messages of a user's actions to Python, and the notice while one of them waits. */
import { type Model, onChange } from "./model.ts";

export const BUSY = "The kernel is busy. Your choice is taken when the cell ends.";
const PATIENCE = 700; // milliseconds; a kernel that is free answers in less than 100

export type Shortcut =
  | "ask"
  | "back"
  | "forward"
  | "next"
  | "previous"
  | "layer_up"
  | "layer_down"
  | "random"
  | "bookmark";
export type Action = "open" | "ablate" | "trace" | "verify" | "token" | Shortcut;

let highest = 0; // of all views of a widget: a number is used once, also after the page was loaded anew

export class Actions {
  readonly stop: () => void;
  private sent = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** @param tell is called with the notice to show; "" when it is over. */
  constructor(
    private readonly model: Model,
    private readonly tell: (notice: string) => void,
  ) {
    const end = onChange(model, "taken", () => this.look());
    this.stop = () => {
      end();
      clearTimeout(this.timer);
    };
  }

  send(kind: Action, node = ""): void {
    highest = this.sent = Math.max(highest, this.taken) + 1;
    this.model.send(node ? { kind, node, number: this.sent } : { kind, number: this.sent });
    this.timer ??= setTimeout(() => this.tell(BUSY), PATIENCE);
  }

  /** Whether Python has not taken the last action yet. */
  get isWaiting(): boolean {
    return this.taken < this.sent;
  }

  private get taken(): number {
    return Number(this.model.get("taken")) || 0;
  }

  private look(): void {
    if (this.isWaiting) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.tell("");
  }
}

