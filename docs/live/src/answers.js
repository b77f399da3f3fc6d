/** What the page shows of EMD: computed in rationals from the numbers as they are, and rounded once, at the end. */

import { flow, gradient, plan, value } from "./emd.js";
import { rationals } from "./rational.js";

/**
 * Each number is the one nearest to the exact answer, every sign of a flow is right: what `emdref.emd`, `flow` and
 * `emd_grad` promise to within 1 ulp.
 * @param {import("./spaces.js").Space} space
 * @param {number[]} p
 * @param {number[]} q
 * @param {number} rho
 * @param {string} gauge
 * @returns {{flow: number[], value: number, gradient: number[], plan: {from: number | null, to: number | null, mass: number}[]}}
 *   `plan` is optimal for rho = 1
 */
export function answers(space, p, q, rho, gauge) {
  const [exactP, exactQ] = [p.map(rationals.of), q.map(rationals.of)];
  return {
    flow: flow(rationals, space, exactP, exactQ, rho).map(rationals.toNumber),
    value: rationals.toNumber(value(rationals, space, exactP, exactQ, rho)),
    gradient: gradient(rationals, space, exactP, exactQ, rho, gauge).map(rationals.toNumber),
    plan: plan(rationals, space, exactP, exactQ).map((entry) => ({ ...entry, mass: rationals.toNumber(entry.mass) })),
  };
}
