/** What anywidget gives a module: the widget's traits, and messages to Python. */
export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(content: unknown): void;
  on(event: string, callback: () => void): void;
  off(event: string, callback: () => void): void;
}

export interface RenderContext {
  model: Model;
  el: HTMLElement;
}

/** Calls `callback` when a trait changes. Returns what ends it. */
export function onChange(model: Model, trait: string, callback: () => void): () => void {
  const event = `change:${trait}`;
  model.on(event, callback);
  return () => model.off(event, callback);
}
