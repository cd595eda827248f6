import assert from "node:assert/strict";
import { test } from "node:test";
import { background, counted, formatted, textColour, whole } from "../src/numbers.ts";

test("numbers are written as Python's format_value writes them", () => {
  // tests/widgets/test_module_widgets.py holds the same pairs against format_value
  const pairs: [number, string][] = [
    [0, "0"],
    [-0, "0"],
    [1, "1"],
    [-0.123456, "−0.1235"],
    [0.0001, "0.0001"],
    [0.00001234, "1.234e−05"],
    [-123456, "−1.235e+05"],
    [9999.6, "1e+04"],
    [1234.4, "1234"],
    [99.999, "100"],
    [Infinity, "∞"],
    [-Infinity, "−∞"],
    [NaN, "not a number"],
  ];
  for (const [value, text] of pairs) assert.equal(formatted(value), text);
});

test("effects show their sign, and whole numbers all their digits", () => {
  assert.deepEqual([formatted(2, true), formatted(-2, true), formatted(0, true)], ["+2", "−2", "0"]);
  assert.deepEqual([whole(123456), whole(-3), whole(0.5)], ["123456", "−3", "0.5"]);
  assert.equal(counted(10000), "10,000");
});

test("colours are those of the palette, and nothing else", () => {
  const palette = ["#000011", "#000022", "#ffffff", "#000033", "#000044"];
  assert.deepEqual([-9, -1, -0.5, 0, 0.5, 2].map((value) => background(value, 1, palette)), [
    "#000011",
    "#000011",
    "#000022",
    "#ffffff",
    "#000033",
    "#000044",
  ]);
  assert.equal(background(1, 0, palette), undefined);
  assert.equal(background(1, 1, []), undefined);
  assert.equal(background(1, 1, ["red", "red", "red;x:url(y)"]), undefined);
});

test("text on a colour has the larger contrast", () => {
  assert.deepEqual(["#ffffff", "#cb6800", "#0000ff", "#000000"].map(textColour), [
    "#000000",
    "#000000",
    "#ffffff",
    "#ffffff",
  ]);
});
