/**
 * The Sinkhorn distance by Algorithm 1 of arXiv 1611.07573 on the N x N matrix, as frameworks run it: emdref's variant
 * "paper" with kernel="dense".  In float64 or in float32, where each product and each sum is rounded by `Math.fround`,
 * exp and log once from the float64 result.  Also in logarithms, which neither under- nor overflow.
 */

import { distances } from "./spaces.js";

const SHIFT = 1; // K = exp(-lam M - 1)
const IDENTIFIES = 1e-3; // marginal error, of the total, beyond which what K has lost is missed

/**
 * @typedef {object} SinkhornResult
 * @property {number} value  <T, M>, the cost of the plan
 * @property {number} objective  <T, M> + <T, log T> / lam: Eq. 3, the sign of its entropy put right
 * @property {number[]} gradient  log u / lam, -Infinity where p = 0
 * @property {number[]} logU
 * @property {number[]} logV
 * @property {number[][]} plan  T = diag(u) K diag(v)
 * @property {number} marginalError  the larger l1 defect of the plan's two marginals
 * @property {"nan" | "overflow" | "underflow" | "iteration_limit"} status  the first that holds: as emdref says for tol=0
 * @property {number[]} history  after each iteration, how far the plan's columns are from q before v is refreshed (l1)
 * @property {number} failedAt  if it failed, the first iteration that gave a u or v that is 0 (where mass is), infinite
 *   or NaN, -1 if only what is computed after the last iteration failed; else 0
 * @property {number} rounds  how many iterations led to it
 * @property {SinkhornResult[]} checkpoints  what this run gave after the numbers of iterations that were asked for
 */

/**
 * Algorithm 1: u = 1; `cap` times v = q / (K^T u), u = p / (K v); v once more.
 * @param {import("./spaces.js").Space} space
 * @param {number[]} p
 * @param {number[]} q
 * @param {{lam: number, cap: number, float32?: boolean}} options
 * @returns {SinkhornResult}
 */
export function sinkhorn(space, p, q, options) {
  return sinkhornOnMatrix(distances(space), p, q, options);
}

/**
 * The same for any symmetric matrix of costs.
 * @param {number[][]} cost
 * @param {number[]} givenP
 * @param {number[]} givenQ
 * @param {{lam: number, cap: number, float32?: boolean, checkpoints?: number[]}} options
 * @returns {SinkhornResult}
 */
export function sinkhornOnMatrix(cost, givenP, givenQ, { lam, cap, float32 = false, checkpoints = [] }) {
  const n = givenP.length;
  const round = float32 ? Math.fround : (x) => x;
  const Numbers = float32 ? Float32Array : Float64Array;
  const product = float32 ? product32 : product64;
  const vector = (f) => {
    const x = new Numbers(n);
    for (let k = 0; k < n; k++) x[k] = f(k); // stored, hence rounded
    return x;
  };
  const sum = (x) => x.reduce((s, a) => round(s + a), 0);
  const strength = round(lam);
  const [p, q] = [vector((k) => givenP[k]), vector((k) => givenQ[k])];
  const m = new Numbers(cost.flat());
  const kernel = m.map((x) => Math.exp(round(round(-strength * x) - SHIFT)));
  const moved = kernel.map((x, k) => m[k] * x); // K o M
  const lost = kernel.includes(0);
  const divided = (x, d) => vector((k) => (x[k] === 0 ? 0 : x[k] / d[k])); // 0 where there is no mass
  const unsound = (x, mass) => x.some((a, k) => (a === 0) === mass[k] > 0 || !(a < Infinity));

  let u = new Numbers(n).fill(1);
  let ktu = product(kernel, u); // K is symmetric
  const history = [];
  const kept = [];
  let seenAt = 0;
  for (let it = 1; it <= cap; it++) {
    const v = divided(q, ktu);
    const kv = product(kernel, v);
    u = divided(p, kv);
    if (!seenAt && (unsound(v, q) || unsound(u, p))) seenAt = it;
    ktu = product(kernel, u);
    history.push(defect(v, ktu, q));
    if (it < cap && checkpoints.includes(it)) kept.push(outcome(it));
  }
  return { ...outcome(cap), checkpoints: kept };

  /** What u, as it is now, gives: v once more, then the plan and all that is read off it. */
  function outcome(rounds) {
    const v = divided(q, ktu);
    const kv = product(kernel, v);
    const marginalError = Math.max(defect(u, kv, p), defect(v, ktu, q)); // NaN if either is
    const moments = product(moved, v);
    const value = sum(vector((i) => u[i] * moments[i]));
    const [rows, columns] = [vector((k) => u[k] * kv[k]), vector((k) => v[k] * ktu[k])];
    const [logU, logV] = [u.map(Math.log), v.map(Math.log)];
    const weighted = (mass, log) => sum(vector((k) => (mass[k] === 0 ? 0 : mass[k] * log[k])));
    // log T = log u - lam M - 1 + log v: lam times the objective is sum_i T_i. log u_i + sum_j T_.j log v_j - |T|
    const entropy = round(weighted(rows, logU) + weighted(columns, logV));
    const objective = round(round(entropy - SHIFT * sum(rows)) / strength);
    const gradient = logU.map((x) => x / strength);
    const lostTooMuch = lost && !(marginalError <= round(IDENTIFIES * sum(p)));
    const status = statusOf(round(value + objective), gradient, p, logV, q, lostTooMuch);
    return {
      value,
      objective,
      gradient: [...gradient],
      logU: [...logU],
      logV: [...logV],
      plan: cost.map((_, i) => [...vector((j) => round(u[i] * kernel[i * n + j]) * v[j])]),
      marginalError,
      status,
      history: [...history],
      rounds,
      checkpoints: [],
      failedAt: status === "iteration_limit" ? 0 : seenAt || -1,
    };
  }

  /** The l1 distance of x * y from the mass that should be there. */
  function defect(x, y, mass) {
    return sum(vector((k) => Math.abs(round(round(x[k] * y[k]) - mass[k]))));
  }
}

/**
 * The first that holds, from the sum of the two values, the gradient where p > 0 and log v where q > 0.  A mass that was
 * divided by 0, which emdref calls underflow if no number tells of it, always ends as NaN here: infinity times 0.
 */
function statusOf(values, gradient, p, logV, q, underflow) {
  const numbers = [values, ...gradient.filter((_, k) => p[k] > 0), ...logV.filter((_, k) => q[k] > 0)];
  if (numbers.some(Number.isNaN)) return "nan";
  if (numbers.includes(Infinity) || values === -Infinity) return "overflow";
  return underflow || numbers.includes(-Infinity) ? "underflow" : "iteration_limit";
}

/** A x, row by row from the left, in float64. */
function product64(a, x) {
  const n = x.length;
  const out = new Float64Array(n);
  for (let i = 0, at = 0; i < n; i++) {
    let s = 0;
    for (let j = 0; j < n; j++, at++) s += a[at] * x[j];
    out[i] = s;
  }
  return out;
}

/** The same in float32, each product and each sum rounded. */
function product32(a, x) {
  const n = x.length;
  const out = new Float32Array(n);
  for (let i = 0, at = 0; i < n; i++) {
    let s = 0;
    for (let j = 0; j < n; j++, at++) s = Math.fround(s + Math.fround(a[at] * x[j]));
    out[i] = s;
  }
  return out;
}

/**
 * Algorithm 1 in logarithms, in float64: what the others should give.  It stops where the columns' defect is below tol.
 * @param {import("./spaces.js").Space} space
 * @param {number[]} p
 * @param {number[]} q
 * @param {{lam: number, cap: number, tol?: number}} options
 * @returns {{value: number, objective: number, gradient: number[], marginalError: number, iterations: number}}
 */
export function sinkhornLog(space, p, q, { lam, cap, tol = 0 }) {
  const cost = distances(space);
  const n = p.length;
  const logK = cost.map((row) => row.map((x) => -lam * x - SHIFT));
  const [logP, logQ] = [p.map(Math.log), q.map(Math.log)];
  const less = (x, d) => x.map((a, k) => (a === -Infinity ? a : a - d[k]));
  const transported = (x, y) => x.map((a, k) => Math.exp(a + y[k]));
  const defect = (found, mass) => found.reduce((s, a, k) => s + Math.abs(a - mass[k]), 0);
  let u = Array(n).fill(0);
  let ktu = logProduct(logK, u);
  let iterations = 0;
  while (iterations < cap) {
    const v = less(logQ, ktu);
    u = less(logP, logProduct(logK, v));
    ktu = logProduct(logK, u);
    iterations++;
    if (defect(transported(v, ktu), q) <= tol) break;
  }
  const v = less(logQ, ktu);
  const rows = transported(u, logProduct(logK, v));
  let value = 0;
  cost.forEach((row, i) => row.forEach((x, j) => { value += x && x * Math.exp(u[i] + logK[i][j] + v[j]); }));
  const weighted = (mass, log) => mass.reduce((s, x, k) => s + (x === 0 ? 0 : x * log[k]), 0);
  const columns = transported(v, ktu);
  const entropy = weighted(rows, u) + weighted(columns, v) - SHIFT * rows.reduce((s, x) => s + x, 0);
  const marginalError = Math.max(defect(rows, p), defect(columns, q));
  return { value, objective: entropy / lam, gradient: u.map((x) => x / lam), marginalError, iterations };
}

/** log(K exp(x)), row by row. */
function logProduct(logK, x) {
  return logK.map((row) => {
    let most = -Infinity;
    for (let j = 0; j < x.length; j++) most = Math.max(most, row[j] + x[j]);
    if (most === -Infinity) return most;
    let s = 0;
    for (let j = 0; j < x.length; j++) s += Math.exp(row[j] + x[j] - most);
    return most + Math.log(s);
  });
}
