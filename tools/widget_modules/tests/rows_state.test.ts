import assert from "node:assert/strict";
import { test } from "node:test";
import { columnWidths } from "../src/columns.ts";
import { RowsState } from "../src/rows_state.ts";

const TABLE = {
  columns: [
    { name: "name", label: "name", kind: "name" },
    { name: "token", label: "token", kind: "token" },
    { name: "total_effect", label: "total effect", kind: "effect" },
  ],
  rows: [
    ["L10H1@5", "·cat", 0.5],
    ["L2H3@51", "·dog", -2],
    ["L2H3@5", "·Cat", null],
    ["L2H3@5", "A", 0.5],
  ],
  palette: [],
  dark_palette: [],
  limit: {},
};

function state(): RowsState {
  const made = new RowsState();
  made.takeTable(TABLE);
  made.takeSort({});
  return made;
}

test("rows are sorted by value, stable, those without a value last", () => {
  const made = state();
  const by = (column: string, descending: boolean) => {
    made.takeSort({ column, descending });
    return made.shown;
  };
  assert.deepEqual(by("total_effect", true), [0, 3, 1, 2]);
  assert.deepEqual(by("total_effect", false), [1, 0, 3, 2]);
  assert.deepEqual(by("name", false), [2, 3, 1, 0]);
  assert.deepEqual(by("there is none", true), [0, 1, 2, 3]);
  assert.equal(made.sort, undefined);
});

test("a heading gives three orders in turn", () => {
  const made = state();
  for (const [column, first] of [[2, true], [0, false]] as const) {
    made.takeSort({});
    for (const descending of [first, !first, undefined]) {
      const next = made.nextSort(column);
      assert.equal("descending" in next ? next.descending : undefined, descending);
      made.takeSort(next);
    }
  }
});

test("words are looked for in names and tokens, and numbers in names are whole", () => {
  const made = state();
  const found = (text: string) => {
    made.takeFilter(text);
    return made.shown;
  };
  assert.deepEqual(found("cat"), [0, 2]);
  assert.deepEqual(found("L2 CAT"), [2]);
  assert.deepEqual(found("@5"), [0, 2, 3]);
  assert.deepEqual(found("l1"), []);
  assert.deepEqual(found("  "), [0, 1, 2, 3]);
});

test("the chosen row keeps its place in the table, not in the order", () => {
  const made = state();
  made.choose(1);
  assert.equal(made.node, "L2H3@51");
  made.takeSort({ column: "total_effect", descending: false });
  assert.equal(made.place, 0);
  made.takeFilter("cat");
  assert.equal(made.place, -1);
  made.takeFilter("");
  assert.equal(made.place, 0);
});

test("of rows with the same name the chosen one remains", () => {
  const made = state();
  made.choose(3);
  made.takeNode("L2H3@5");
  assert.equal(made.place, 3);
  made.takeNode("L10H1@5");
  made.takeNode("L2H3@5");
  assert.equal(made.place, 2);
  made.takeNode("");
  assert.equal(made.place, -1);
});

test("choices beyond the ends are the ends; without rows there is none", () => {
  const made = state();
  made.choose(-5);
  assert.equal(made.place, 0);
  made.choose(Infinity);
  assert.equal(made.place, 3);
  made.takeTable({});
  made.takeSort({});
  made.choose(0);
  assert.deepEqual([made.place, made.node], [-1, ""]);
});

test("what is no table is an empty one", () => {
  for (const given of [undefined, null, {}, { columns: [] }]) {
    const made = new RowsState();
    made.takeTable(given);
    made.takeSort(given);
    assert.deepEqual(made.shown, []);
  }
});

test("long texts do not widen a column without end", () => {
  const long = { ...TABLE, rows: [["L0H0@0", "x".repeat(500), 0]] };
  const made = new RowsState();
  made.takeTable(long);
  const widths = columnWidths(made.table).template.split(" ").map(parseFloat);
  assert.ok(widths[1]! <= 24 && widths[0]! >= 7);
});
