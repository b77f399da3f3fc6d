/** Every answer of docs/reference, by emd.js in rationals; by the same functions in numbers, within what they round. */

import assert from "node:assert/strict";
import test from "node:test";

import { flow, gradient, normalized, value, GAUGES, RHOS } from "../src/emd.js";
import { floats } from "../src/floats.js";
import { rationals } from "../src/rational.js";
import { EPS, GRADES, assertSame, fromHex, reference, same, spaceOfCase } from "./support.mjs";

const COUNTS = { easy: 42, ordinary: 32, hard: 24, hostile: 23 };

/** All answers about a case in a field, by name. */
function answersIn(field, found) {
  const { space, at } = spaceOfCase(found);
  const [p, q] = [found.p, found.q].map((x) => x.map(fromHex).map(field.of));
  const ones = [normalized(field, p), normalized(field, q)];
  const byNode = (phi) => found.parent.map((_, v) => (at.includes(v) ? phi[at.indexOf(v)] : field.zero));
  const all = {
    flow: byNode(flow(field, space, p, q)),
    flow_normalized: byNode(flow(field, space, ...ones)),
    value: RHOS.map((rho) => value(field, space, p, q, rho)),
    value_normalized: RHOS.map((rho) => value(field, space, ...ones, rho)),
  };
  for (const gauge of GAUGES) for (const rho of RHOS) all[`gradient_${gauge}_${rho}`] = gradient(field, space, p, q, rho, gauge);
  return all;
}

for (const grade of GRADES) {
  test(`rationals: every answer of ${grade}.json`, () => {
    const cases = reference(grade);
    assert.equal(cases.length, COUNTS[grade]);
    for (const found of cases) {
      const all = answersIn(rationals, found);
      assert.deepEqual(Object.keys(all).sort(), Object.keys(found.answers).sort());
      for (const [name, x] of Object.entries(all)) assertSame(x, found.answers[name], `${found.name}: ${name}`);
    }
  });
}

test("numbers: easy.json, whose numbers all fit, is answered with the nearest numbers", () => {
  for (const found of reference("easy")) {
    for (const [name, x] of Object.entries(answersIn(floats, found))) {
      if (name.includes("normalized")) continue; // quotients by the totals: see the next test
      assert.deepEqual(x, found.answers[name].map((text) => rationals.toNumber(rationals.parse(text))), `${found.name}: ${name}`);
    }
  }
});

/**
 * What rounding can do in float64, u = eps/2 an operation, to first order, doubled for the rest.  A flow is a sum of at
 * most N differences, and each mass may have been divided by a total of N: its error is at most f = (2N + 3) u (|p| +
 * |q|).  A power then errs by what f does to it and rho u of itself, a product by u, a sum of V by V u; where |phi| <= f
 * the sign may be wrong, by 2 M_e.  A gauge takes a mean of N entries and divides by totals.
 */
function bounds(found) {
  const { space, at } = spaceOfCase(found);
  const costs = space.edges.map(({ cost }) => cost);
  const u = EPS.float64 / 2;
  const n = space.bins;
  const size = { "": 1, _normalized: 1 };
  const totals = [found.p, found.q].map((x) => x.map(fromHex).reduce((a, b) => a + b));
  size[""] = totals[0] + totals[1];
  size._normalized = 2;
  const all = {};
  const exact = (name) => found.answers[name].map((text) => Math.abs(rationals.toNumber(rationals.parse(text))));
  for (const kind of ["", "_normalized"]) {
    const off = 2 * (2 * n + 3) * u * size[kind];
    const phi = at.map((v) => exact(`flow${kind}`)[v]);
    const sum = (f) => costs.reduce((s, cost, e) => s + cost * f(phi[e] + off, phi[e]), 0);
    const ops = 2 * (space.nodes + 8) * u;
    all[`flow${kind}`] = () => off;
    all[`value${kind}`] = (k) => sum((f) => (k + 1) * f ** k * off + ops * f ** (k + 1));
    for (const rho of RHOS) {
      const slope = rho === 1
        ? sum((f, g) => (g <= off ? 2 : 0) + ops)
        : sum((f) => rho * ((rho - 1) * f ** (rho - 2) * off + ops * f ** (rho - 1)));
      const most = sum((f) => rho * f ** (rho - 1)); // of |r|
      const centred = 2 * slope + 4 * (n + 3) * u * most;
      if (kind === "") {
        all[`gradient_raw_${rho}`] = () => slope;
        all[`gradient_zero_sum_${rho}`] = () => centred;
        all[`gradient_scaled_${rho}`] = () => n * centred;
      } else all[`gradient_normalized_${rho}`] = () => centred / totals[0];
    }
  }
  return all;
}

test("numbers: easy.json and ordinary.json within the bounds of rounding", () => {
  let compared = 0;
  for (const found of [...reference("easy"), ...reference("ordinary")]) {
    const bound = bounds(found);
    for (const [name, numbers] of Object.entries(answersIn(floats, found))) {
      numbers.forEach((x, k) => {
        const off = rationals.toNumber(rationals.abs(rationals.sub(rationals.of(x), rationals.parse(found.answers[name][k]))));
        assert.ok(off <= bound[name](k), `${found.name}: ${name}[${k}] is off by ${off}, more than ${bound[name](k)}`);
        compared++;
      });
    }
  }
  assert.equal(compared, 8032);
});

test("what is not offered is refused by name", () => {
  const { space } = spaceOfCase(reference("easy")[0]);
  const p = Array(space.bins).fill(1);
  assert.throws(() => value(floats, space, p, p, 4), /rho = 4/);
  assert.throws(() => gradient(floats, space, p, p, 1, "centred"), /"centred" is no gauge/);
  assert.throws(() => gradient(floats, space, p.map(() => 0), p, 1, "normalized"), /zeros/);
});

test("same tells rationals apart", () => {
  assert.ok(same({ n: 2n, d: 4n }, { n: 1n, d: 2n }) && !same({ n: 2n, d: 4n }, { n: 2n, d: 3n }));
});
