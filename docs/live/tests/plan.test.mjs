/** Plans: marginals, cost and number of entries, in rationals; the distances they are paid by; answers.js. */

import assert from "node:assert/strict";
import test from "node:test";

import { answers } from "../src/answers.js";
import { flow, gradient, plan, planCost, value } from "../src/emd.js";
import { rationals } from "../src/rational.js";
import { chain, circle, distance, distances, tree } from "../src/spaces.js";
import { GRADES, emdref, fromHex, random, reference, same, spaceOfCase } from "./support.mjs";

/** Every pair of the reference data, circles included: [name, space, p, q]. */
const PAIRS = [
  ...GRADES.flatMap((grade) => reference(grade).map((x) => [x.name, spaceOfCase(x).space, x.p.map(fromHex), x.q.map(fromHex)])),
  ...emdref().circles.map((x) => [x.name, circle(x.gaps), x.p, x.q]),
];

function sums(entries, key, n) {
  const total = Array(n).fill(rationals.zero);
  for (const entry of entries) if (entry[key] !== null) total[entry[key]] = rationals.add(total[entry[key]], entry.mass);
  return total;
}

test("marginals are p and q, the cost is the value at rho = 1, entries are few and positive", () => {
  assert.equal(PAIRS.length, 121 + 56);
  for (const [name, space, p, q] of PAIRS) {
    const entries = plan(rationals, space, p, q);
    sums(entries, "from", space.bins).forEach((x, k) => assert.ok(same(x, rationals.of(p[k])), `${name}: row ${k}`));
    sums(entries, "to", space.bins).forEach((x, k) => assert.ok(same(x, rationals.of(q[k])), `${name}: column ${k}`));
    assert.ok(same(planCost(rationals, space, entries), value(rationals, space, p, q, 1)), `${name}: cost`);
    assert.ok(entries.every(({ mass }) => rationals.sign(mass) > 0), name);
    const [a, b] = [p, q].map((x) => x.reduce((s, m) => rationals.add(s, rationals.of(m)), rationals.zero));
    assert.ok(entries.length <= 2 * space.bins - (same(a, b) ? 1 : 0), `${name}: ${entries.length} entries`);
    assert.equal(entries.some(({ from, to }) => from === null || to === null), !same(a, b), name);
  }
});

test("on a chain the plan is monotone", () => {
  for (const [name, space, p, q] of PAIRS.filter((x) => x[1].kind === "chain")) {
    const entries = plan(rationals, space, p, q).filter(({ from, to }) => from !== null && to !== null);
    entries.sort((a, b) => a.from - b.from || a.to - b.to);
    for (let k = 1; k < entries.length; k++) assert.ok(entries[k - 1].to <= entries[k].to, name);
  }
});

test("an example by hand: the oldest demand first, from the leaves up", () => {
  const entries = plan(rationals, tree([-1, 0, 0, 0, 1, 1]), [1, 0, 0, 0], [0, 0.25, 0.5, 0.25]);
  const shown = entries.map(({ from, to, mass }) => [from, to, rationals.toNumber(mass)]);
  assert.deepEqual(shown, [[0, 2, 0.5], [0, 3, 0.25], [0, 1, 0.25]]);
});

test("distances: chain, circle, tree", () => {
  assert.deepEqual(distances(chain([1, 2])), [[0, 1, 3], [1, 0, 2], [3, 2, 0]]);
  assert.deepEqual(distances(circle([1, 2, 4])), [[0, 1, 3], [1, 0, 2], [3, 2, 0]]);
  assert.deepEqual(distances(circle([1, 2, 0.5])), [[0, 1, 0.5], [1, 0, 1.5], [0.5, 1.5, 0]]);
  assert.deepEqual(distances(circle(2)), [[0, 1], [1, 0]]);
  assert.deepEqual(distances(circle(1)), [[0]]);
  assert.equal(distance(tree([-1, 0, 0, 0, 1, 1]), 0, 3), 3);
  assert.equal(distance(tree([1, -1, 1], [2, 9, 4], { bins: [0, 1, 2] }), 0, 2), 6);
});

test("the plan costs what linear programming would: no plan of two random ones is cheaper", () => {
  const next = random(7);
  const space = circle([3, 1, 2, 2]);
  const matrix = distances(space);
  for (let round = 0; round < 200; round++) {
    // any plan's cost is at least the EMD of its marginals
    const some = Array.from({ length: 4 }, () => Array.from({ length: 4 }, () => Math.floor(4 * next())));
    const p = some.map((row) => row.reduce((a, b) => a + b, 0));
    const q = some.map((_, j) => some.reduce((a, row) => a + row[j], 0));
    const cost = some.reduce((a, row, i) => a + row.reduce((s, x, j) => s + x * matrix[i][j], 0), 0);
    assert.ok(rationals.toNumber(planCost(rationals, space, plan(rationals, space, p, q))) <= cost);
  }
});

test("answers.js rounds the exact answers once", () => {
  const next = random(3);
  for (const space of [chain(60), circle(24), tree([-1, 0, 0, 0, 1, 1])]) {
    const [p, q] = [0, 0].map(() => Array.from({ length: space.bins }, next));
    const found = answers(space, p, q);
    assert.deepEqual(found.flows[2], flow(rationals, space, p, q, 2).map(rationals.toNumber));
    assert.equal(found.values[2], rationals.toNumber(value(rationals, space, p, q, 2)));
    assert.deepEqual(found.gradients.normalized[2], gradient(rationals, space, p, q, 2, "normalized").map(rationals.toNumber));
    assert.deepEqual(found.plan.map(({ mass }) => mass), plan(rationals, space, p, q).map(({ mass }) => rationals.toNumber(mass)));
  }
});
