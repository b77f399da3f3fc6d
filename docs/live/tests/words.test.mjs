/** Numbers and findings in words, and the lines of Python. */

import assert from "node:assert/strict";
import test from "node:test";

import { pythonOf } from "../src/python.js";
import { PRESETS } from "../src/presets.js";
import { brief, dataMarkup, escaped, massText, statusWords } from "../src/words.js";

test("numbers are short, and whole in the markup", () => {
  const known = [[0, "0"], [0.9, "0.9"], [-1.5, "−1.5"], [1234.5, "1230"], [3.21e-9, "3.21 × 10⁻⁹"], [-2e7, "−2 × 10⁷"]];
  for (const [x, text] of known) assert.equal(brief(x), text);
  assert.deepEqual([NaN, Infinity, -Infinity, null].map((x) => brief(x)), ["no number", "∞", "−∞", "–"]);
  assert.equal(dataMarkup(1 / 3), `<data value="${1 / 3}">0.333</data>`);
  assert.deepEqual([0, 0.5, 0.25, 0.036, 1, 12.3, 1e-7].map(massText), ["0", "0.5", "0.25", "0.036", "1", "12", "1 × 10⁻⁷"]);
});

test("names from an address are text, whatever they hold", () => {
  assert.equal(escaped('<b title="x">&\''), "&#60;b title=&#34;x&#34;&#62;&#38;&#39;");
});

test("what is said of a run is what went wrong first", () => {
  const said = (run, exact = 1, degrees = 0) =>
    statusWords({ value: exact, marginalError: 0, status: "iteration_limit", failedAt: 0, ...run }, exact, degrees, 100, 1).slice(0, 2);
  assert.deepEqual(said({}), ["good", "Close"]);
  assert.deepEqual(said({}, 1, 20), ["warn", "Close in value alone"]);
  assert.deepEqual(said({}, 1, null), ["good", "Close"]);
  assert.deepEqual(said({ value: 1.2 }), ["warn", "Settled, but smeared"]);
  assert.deepEqual(said({ value: 0.2, marginalError: 0.3 }), ["warn", "Stopped too early"]);
  assert.deepEqual(said({ value: 0.4 }, 0), ["warn", "Settled, but smeared"]);
  for (const [status, words] of [["nan", "Broken"], ["overflow", "Overflow"], ["underflow", "Underflow"]]) {
    assert.deepEqual(said({ status, value: NaN, marginalError: NaN, failedAt: 3 }), ["bad", words]);
  }
});

test("the lines of Python hold every digit, and many equal numbers shortly", () => {
  const { state } = PRESETS.find(({ id }) => id === "spikes-5");
  const lines = pythonOf(state).split("\n");
  assert.equal(lines[1], "p = [*[0] * 5, 1, *[0] * 55]");
  assert.equal(lines[3], "space = emdref.Chain(gaps=[*[1] * 60])");
  const digits = { ...state, p: [1 / 3, 2 / 3], q: [0.1 + 0.2, 0.7], space: { kind: "circle", gaps: [1, 0.5] } };
  assert.ok(pythonOf(digits).includes(`p = [${1 / 3}, ${2 / 3}]`) && pythonOf(digits).includes("emdref.Circle(gaps=[1, 0.5])"));
});
