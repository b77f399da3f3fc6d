/** Circles against emdref's exact rationals, in rationals and in numbers. */

import assert from "node:assert/strict";
import test from "node:test";

import { flow, gradient, value, GAUGES } from "../src/emd.js";
import { floats } from "../src/floats.js";
import { rationals } from "../src/rational.js";
import { circle } from "../src/spaces.js";
import { assertSame, emdref, random, same } from "./support.mjs";

const CASES = emdref().circles;

function answersIn(field, { gaps, p, q }) {
  const space = circle(gaps);
  const all = {};
  for (const rho of [1, 2]) {
    all[`flow_${rho}`] = flow(field, space, p, q, rho);
    all[`value_${rho}`] = [value(field, space, p, q, rho)];
    for (const gauge of GAUGES) all[`gradient_${gauge}_${rho}`] = gradient(field, space, p, q, rho, gauge);
  }
  return all;
}

test("rationals: every answer of emdref on circles, ties and gaps of 0 included", () => {
  assert.equal(CASES.length, 56);
  for (const found of CASES) {
    const all = answersIn(rationals, found);
    assert.deepEqual(Object.keys(all).sort(), Object.keys(found.answers).sort());
    for (const [name, x] of Object.entries(all)) assertSame(x, found.answers[name], `${found.name}: ${name}`);
  }
});

test("the cases have medians that are intervals, flows that are 0 and unequal totals", () => {
  const zero = (found) => found.answers.flow_1.includes("0") && found.gaps.length > 2;
  const interval = (found) => found.gaps.length > 2 && !found.answers.flow_1.includes("0");
  const unequal = (found) => found.p.reduce((a, b) => a + b) !== found.q.reduce((a, b) => a + b);
  for (const what of [zero, interval, unequal]) assert.ok(CASES.filter(what).length >= 5, what.toString());
});

test("numbers: where masses and gaps are short binary fractions, flow and value at rho = 1 are exact", () => {
  const short = CASES.filter(({ name }) => /^(sixty_fourths|local|equal|more_mass|counts)/.test(name));
  assert.equal(short.length, 40);
  for (const found of short) {
    const all = answersIn(floats, found);
    for (const name of ["flow_1", "value_1"]) {
      all[name].forEach((x, k) => assert.ok(same(rationals.of(x), rationals.parse(found.answers[name][k])), `${found.name}: ${name}`));
    }
  }
});

test("rationals: turned and mirrored circles have turned and mirrored flows", () => {
  const next = random(5);
  for (let round = 0; round < 50; round++) {
    const n = 2 + Math.floor(next() * 7);
    const draw = () => Array.from({ length: n }, () => Math.floor(next() * 4));
    const [gaps, p, q] = [draw(), draw(), draw()];
    q[0] += p.reduce((a, b) => a + b, 0) + 40 - q.reduce((a, b) => a + b, 0);
    p[0] += 40; // equal totals, so that no bin is the root
    gaps[0] += 1; // where all gaps are 0, c is 0
    const by = 1 + Math.floor(next() * (n - 1));
    const turned = (x) => x.map((_, k) => x[(k + by) % n]);
    for (const rho of [1, 2]) {
      const phi = flow(rationals, circle(gaps), p, q, rho);
      const other = flow(rationals, circle(turned(gaps)), turned(p), turned(q), rho);
      turned(phi).forEach((f, e) => assert.ok(same(f, other[e])));
      const back = [...p].reverse();
      const mirror = flow(rationals, circle([...gaps.slice(0, n - 1).reverse(), gaps[n - 1]]), back, [...q].reverse(), rho);
      [...phi.slice(0, n - 1).reverse(), phi[n - 1]].forEach((f, e) => assert.ok(same(rationals.neg(f), mirror[e])));
    }
  }
});

test("rho = 3 is refused in one sentence", () => {
  assert.throws(() => flow(floats, circle(3), [1, 0, 0], [0, 1, 0], 3), /circle.*1 or 2/);
});
