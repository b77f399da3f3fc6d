/**
 * Sinkhorn against emdref's dense kernel in both precisions, and against docs/reference/sinkhorn.json's 30 digits.
 *
 * How far two right programs may be apart.  Both round the same way up to -lam M - 1, M being sums of short fractions
 * (or at most the last bit of M, which moves K by eps lam max M); exp may differ by 2 eps, a sum of N products in
 * another order by N eps, a quotient by eps.  So one half step, v = q / (K^T u) or u = p / (K v), adds at most
 * eps (N + 4 + lam max M) to the difference of log u or log v, and passes on what there was: sums of positive terms with
 * relative errors of at most d have one of at most d.  After `cap` iterations and the last v that is
 *
 *     d = (2 cap + 3) eps (N + 4 + lam max M).
 *
 * An entry of T has 3 d at most, and so has <T, M>, a sum of positive terms; lam times the objective is sum_i T_i. log u_i
 * + sum_j T_.j log v_j - |T|.  All this holds as long as nothing is subnormal, which `sound` sees to.
 */

import assert from "node:assert/strict";
import test from "node:test";
import { readFileSync } from "node:fs";

import { rationals } from "../src/rational.js";
import { sinkhorn, sinkhornLog, sinkhornOnMatrix } from "../src/sinkhorn.js";
import { chain, distances, spaceOf } from "../src/spaces.js";
import { value } from "../src/emd.js";
import { EPS, emdref, fromHex, random } from "./support.mjs";

const DATA = emdref().sinkhorn;
const NORMAL = { float32: 126 * Math.LN2, float64: 1022 * Math.LN2 }; // exp(-x) is subnormal for larger x
const largest = (cost) => Math.max(...cost.flat());
const plus = (x) => x.reduce((a, b) => a + b, 0);

/** Whether K, u, v, K^T u and K v of a run are all normal numbers. */
function sound(result, p, q, most, dtype) {
  const logs = [[p, result.logU], [q, result.logV]].flatMap(([mass, log]) =>
    mass.flatMap((x, k) => (x > 0 ? [log[k], Math.log(x) - log[k]] : [])));
  return Math.max(most + 1, ...logs.map(Math.abs)) < NORMAL[dtype];
}

/** Compares a run with numbers that are at most `d` apart in log u and log v; says how many it compared. */
function compare(result, expected, p, q, lam, d, eps, name) {
  const near = (a, b, off, what) => assert.ok(Math.abs(a - b) <= off, `${name}: ${what} is ${a}, should be ${b} within ${off}`);
  const rows = result.plan.map(plus);
  const columns = q.map((_, j) => plus(result.plan.map((row) => row[j])));
  const terms = plus(rows.map((x, k) => (x > 0 ? x * Math.abs(result.logU[k]) : 0))) + plus(columns.map((x, k) => (x > 0 ? x * Math.abs(result.logV[k]) : 0)));
  near(result.value, expected.value, 3 * d * expected.value, "value");
  near(result.objective, expected.objective, (4 * d * (terms + 2 * plus(rows))) / lam, "objective");
  result.gradient.forEach((g, k) => {
    if (p[k] === 0) assert.equal(g, -Infinity);
    else near(g, Number(expected.grad[k]), (d + 2 * eps * Math.abs(result.logU[k])) / lam, `gradient[${k}]`);
  });
  if ("marginalError" in expected) near(result.marginalError, expected.marginalError, 4 * d * plus(rows), "marginal error");
}

test("emdref's dense kernel: values, gradients, marginal errors and statuses, in float64 and float32", () => {
  const seen = { compared: 0, failed: 0, edge: 0, statuses: new Set() };
  for (const found of DATA.cases) {
    const space = spaceOf(DATA.spaces[found.space]);
    const { p, q } = DATA.pairs[found.space][found.pair];
    const { lam, dtype } = found;
    const most = lam * largest(distances(space));
    DATA.caps.forEach((cap, i) => {
      const name = `${found.space}, ${found.pair}, lam ${lam}, cap ${cap}, ${dtype}`;
      const result = sinkhorn(space, p, q, { lam, cap, float32: dtype === "float32" });
      assert.equal(result.history.length, cap);
      if (found.edge[i]) seen.edge++;
      else assert.deepEqual([result.status, result.failedAt], [found.status[i], found.failed_at[i]], name);
      seen.statuses.add(result.status);
      if (found.status[i] !== "iteration_limit") seen.failed++;
      else if (sound(result, p, q, most, dtype)) {
        const d = (2 * cap + 3) * EPS[dtype] * (p.length + 4 + most);
        const expected = { value: found.value[i], objective: found.objective[i], grad: found.grad[i], marginalError: found.marginal_error[i] };
        compare(result, expected, p, q, lam, d, EPS[dtype], name);
        seen.compared++;
      }
    });
  }
  assert.ok(seen.compared >= 200 && seen.failed >= 40 && seen.edge <= 20, JSON.stringify(seen));
  for (const status of ["nan", "underflow", "iteration_limit"]) assert.ok(seen.statuses.has(status), status);
});

test("docs/reference/sinkhorn.json: the paper's variant, to what rounding allows", () => {
  const { cases } = JSON.parse(readFileSync(new URL("../../reference/sinkhorn.json", import.meta.url), "utf8"));
  let compared = 0;
  for (const found of cases) {
    const [p, q] = [found.p, found.q].map((x) => x.map(fromHex));
    const cost = found.cost.map((row) => row.map(fromHex));
    const [lam, cap] = [fromHex(found.lam), found.max_iter];
    for (const dtype of found.dtypes) {
      const result = sinkhornOnMatrix(cost, p, q, { lam, cap, float32: dtype === "float32" });
      const name = `${found.name}, ${dtype}`;
      if (found.linear_fails.includes(dtype)) {
        assert.notEqual(result.status, "iteration_limit", name);
        continue;
      }
      if (!sound(result, p, q, lam * largest(cost), dtype)) continue;
      assert.equal(result.status, "iteration_limit", name);
      const { cost: value, objective, gradient: grad } = found.answers.paper;
      const d = (2 * cap + 3) * EPS[dtype] * (p.length + 4 + lam * largest(cost));
      compare(result, { value: Number(value), objective: Number(objective), grad }, p, q, lam, d, EPS[dtype], name);
      compared++;
    }
  }
  assert.ok(compared >= 24, `${compared}`);
});

test("every number of a float32 run is a float32 number, and another than float64's", () => {
  const { p, q } = DATA.pairs.chain.spread;
  const space = spaceOf(DATA.spaces.chain);
  const [low, high] = [true, false].map((float32) => sinkhorn(space, p, q, { lam: 0.7, cap: 20, float32 }));
  const numbers = [low.value, low.objective, low.marginalError, ...low.gradient, ...low.logU, ...low.logV, ...low.plan.flat(), ...low.history];
  for (const x of numbers) assert.equal(x, Math.fround(x));
  assert.notEqual(low.value, high.value);
});

test("float32: one iteration by hand, each operation rounded", () => {
  const { fround } = Math;
  const n = 33;
  const next = random(17);
  const cost = Array.from({ length: n }, () => Array(n).fill(0));
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) cost[i][j] = cost[j][i] = fround(next());
  const p = Array.from({ length: n }, () => fround(next()));
  const q = [1, ...Array(n - 1).fill(2 ** -26)]; // small masses are lost one at a time, where their sum would not be
  const k = cost.map((row) => row.map((x) => fround(Math.exp(fround(fround(-fround(0.7) * x) - 1)))));
  const times = (x) => k.map((row) => row.reduce((s, a, j) => fround(s + fround(a * x[j])), 0));
  const divide = (x, d) => x.map((a, i) => fround(a / d[i]));
  const v = divide(q, times(Array(n).fill(1)));
  const u = divide(p, times(v));
  const result = sinkhornOnMatrix(cost, p, q, { lam: 0.7, cap: 1, float32: true });
  assert.deepEqual(result.logU, u.map((x) => fround(Math.log(x))));
  const columns = times(u).map((x, j) => Math.abs(fround(fround(x * v[j]) - q[j])));
  assert.deepEqual(result.history, [columns.reduce((a, b) => fround(a + b))]);
  const again = divide(q, times(u));
  assert.deepEqual(result.plan[5], again.map((x, j) => fround(fround(u[5] * k[5][j]) * x)));
});

test("statuses by hand: an empty bin that nothing reaches, a scaling that is 0, an objective beyond the range", () => {
  const pair = [[0, 1], [1, 0]];
  const far = [[0, 200], [200, 0]];
  const status = (cost, p, q, options) => sinkhornOnMatrix(cost, p, q, { lam: 1, cap: 5, ...options }).status;
  assert.equal(status(far, [1, 0], [1, 0], { float32: true }), "iteration_limit");
  assert.equal(status(pair, [8, 2 ** -149], [4, 4], { float32: true }), "underflow");
  assert.equal(status(pair, [0.5, 0.5], [0.5, 0.5], { lam: 1e-309 }), "overflow");
});

test("checkpoints of one run are what runs with these caps give", () => {
  const space = chain(8);
  const [p, q] = [[3, 1, 0, 0, 2, 0, 1, 1], [0, 2, 0, 3, 0, 0, 1, 2]].map((x) => x.map((y) => y / 8));
  for (const [lam, float32] of [[2, false], [2, true], [16, true]]) {
    const run = sinkhorn(space, p, q, { lam, cap: 30, float32, checkpoints: [1, 7, 30] });
    assert.deepEqual(run.checkpoints.map(({ rounds }) => rounds), [1, 7]);
    for (const each of run.checkpoints) assert.deepEqual(each, sinkhorn(space, p, q, { lam, cap: each.rounds, float32 }));
  }
});

test("the plan has the marginals that marginalError says, and the cost that value says", () => {
  const { p, q } = DATA.pairs.tree.empty;
  const space = spaceOf(DATA.spaces.tree);
  const matrix = distances(space);
  const result = sinkhorn(space, p, q, { lam: 3, cap: 5 });
  const rows = result.plan.map(plus);
  const off = plus(rows.map((x, k) => Math.abs(x - p[k])));
  assert.ok(off > 1e-6 && Math.abs(off - result.marginalError) < 1e-14);
  const cost = plus(result.plan.flatMap((row, i) => row.map((x, j) => x * matrix[i][j])));
  assert.ok(Math.abs(cost - result.value) < 1e-14 * 20 * cost);
});

test("logarithms: the same run without under- or overflow, and EMD as lam grows", () => {
  for (const kind of ["chain", "circle", "tree"]) {
    const space = spaceOf(DATA.spaces[kind]);
    for (const { p, q } of Object.values(DATA.pairs[kind])) {
      const lam = 2;
      const [a, b] = [sinkhorn(space, p, q, { lam, cap: 30 }), sinkhornLog(space, p, q, { lam, cap: 30 })];
      const most = lam * largest(distances(space));
      const d = 63 * EPS.float64 * (p.length + 4 + 4 * most + 40); // logarithms of up to 4 most + 40 are rounded, too
      compare(a, { value: b.value, objective: b.objective, grad: b.gradient, marginalError: b.marginalError }, p, q, lam, d, EPS.float64, kind);
      const emd = rationals.toNumber(value(rationals, space, p, q, 1));
      const far = sinkhornLog(space, p, q, { lam: 400, cap: 20000, tol: 1e-12 });
      assert.ok(Number.isFinite(far.objective));
      // entropy of a plan is between 0 and 2 log N: the converged cost is above EMD by at most 2 log N / lam
      if (far.marginalError < 1e-10) assert.ok(far.value > emd - 1e-8 && far.value < emd + (2 * Math.log(p.length)) / 400);
    }
  }
});
