/** What becomes of a histogram as its bars are held: the total stays, the others keep their proportions. */

import assert from "node:assert/strict";
import test from "node:test";

import { axisTop, holdBars, totalOf } from "../src/masses.js";

const held = (...pairs) => new Map(pairs);

test("the others give way in proportion", () => {
  assert.deepEqual(holdBars([0.2, 0.4, 0.2, 0.2], held([1, 0.7]), 1), [0.1, 0.7, 0.1, 0.1]);
  assert.deepEqual(holdBars([0.2, 0.4, 0.4], held([0, 0]), 1), [0, 0.5, 0.5]);
});

test("what the others lack they get evenly", () => {
  assert.deepEqual(holdBars([1, 0, 0], held([0, 0.5]), 1), [0.5, 0.25, 0.25]);
});

test("a bar gets at most all, and no less than nothing; who want more than there is share it", () => {
  assert.deepEqual(holdBars([0.5, 0.5, 0], held([0, 0.5], [2, 1.5]), 1), [0.25, 0, 0.75]);
  assert.deepEqual(holdBars([0.5, 0.5], held([0, 7]), 1), [1, 0]);
  assert.deepEqual(holdBars([0.5, 0.5], held([0, -1]), 1), [0, 1]);
});

test("one bin keeps all, and bars that are all held share what is left", () => {
  assert.deepEqual(holdBars([2], held([0, 1]), 2), [2]);
  assert.deepEqual(holdBars([0.5, 0.5], held([0, 0.1], [1, 0.3]), 1), [0.25, 0.75]);
});

test("random drags keep the total within rounding, every mass at least 0, and the proportions", () => {
  let seed = 1;
  const next = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  for (let round = 0; round < 500; round++) {
    const n = 2 + Math.floor(60 * next());
    const total = [1, 2, 0.3, 1e-12, 1e-300, 8e7][round % 6];
    const raw = Array.from({ length: n }, () => (next() < 0.3 ? 0 : next() ** 6));
    const sum = totalOf(raw) || 1;
    const masses = totalOf(raw) ? raw.map((x) => (x / sum) * total) : raw.map(() => total / n);
    const bin = Math.floor(n * next());
    const wanted = total * next();
    const found = holdBars(masses, held([bin, wanted]), total);
    assert.ok(Math.abs(totalOf(found) - total) <= 4 * n * 2 ** -52 * total, `${totalOf(found)} for ${total}`);
    assert.ok(found.every((x) => x >= 0));
    const rest = total - masses[bin];
    if (rest > 1e-3 * total) {
      const share = (total - wanted) / rest;
      found.forEach((x, k) => k === bin || assert.ok(Math.abs(x - share * masses[k]) <= 1e-5 * total));
      assert.ok(Math.abs(found[bin] - wanted) <= 1e-14 * total);
    }
  }
});

test("the axis ends above the highest bar, and at the total", () => {
  assert.equal(axisTop([0.3, 0.7], 1), 1);
  assert.equal(axisTop([1, 0], 1), 1);
  for (const most of [0.01, 0.1, 0.29, 0.5]) assert.ok(axisTop([most, 0], 1) >= 1.15 * most);
  assert.equal(axisTop([0.2, 0], 2), 2 * axisTop([0.1, 0], 1));
});
