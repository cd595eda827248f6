import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Actions, BUSY } from "../src/actions.ts";
import type { Model } from "../src/model.ts";

class Kernel implements Model {
  taken = 0;
  sent: { number: number }[] = [];
  listeners: (() => void)[] = [];
  get = () => this.taken;
  set = () => {};
  save_changes = () => {};
  send = (content: unknown) => void this.sent.push(content as { number: number });
  on = (_: string, callback: () => void) => void this.listeners.push(callback);
  off = () => void (this.listeners = []);
  take(number: number): void {
    this.taken = number;
    this.listeners.forEach((callback) => callback());
  }
}

test("the notice comes when an action waits, and goes when the last one is taken", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const kernel = new Kernel();
  const told: string[] = [];
  const actions = new Actions(kernel, (notice) => told.push(notice));
  actions.send("open", "L1H2");
  actions.send("back");
  const [first, second] = kernel.sent.map(({ number }) => number) as [number, number];
  assert.deepEqual(kernel.sent, [
    { kind: "open", node: "L1H2", number: first },
    { kind: "back", number: second },
  ]);
  assert.ok(second > first);
  mock.timers.tick(699);
  assert.deepEqual(told, []);
  kernel.take(first);
  mock.timers.tick(1);
  assert.deepEqual(told, [BUSY]);
  kernel.take(second);
  assert.deepEqual(told, [BUSY, ""]);
  mock.timers.tick(5000);
  assert.deepEqual(told, [BUSY, ""]);
  mock.timers.reset();
});

test("numbers go on from what was taken, also for a second view", () => {
  const kernel = new Kernel();
  kernel.taken = 1000;
  const one = new Actions(kernel, () => {});
  const other = new Actions(kernel, () => {});
  one.send("back");
  other.send("back");
  one.send("back");
  assert.deepEqual(kernel.sent.map(({ number }) => number), [1001, 1002, 1003]);
  one.stop();
  other.stop();
});

test("nothing is said after the end", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const kernel = new Kernel();
  const told: string[] = [];
  const actions = new Actions(kernel, (notice) => told.push(notice));
  actions.send("forward");
  actions.stop();
  mock.timers.tick(5000);
  assert.deepEqual([told, kernel.listeners], [[], []]);
  mock.timers.reset();
});
