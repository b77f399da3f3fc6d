/** What the page shows of EMD: computed in rationals from the numbers as they are, and rounded once, at the end. */

import { flow, gradient, GAUGES, plan, value } from "./emd.js";
import { rationals } from "./rational.js";

/**
 * Each number is the one nearest to the exact answer, every sign of a flow is right: what `emdref.emd`, `flow` and
 * `emd_grad` promise to within 1 ulp.
 * @param {import("./spaces.js").Space} space
 * @param {number[]} p
 * @param {number[]} q
 * @returns {{values: Record<number, number>, flows: Record<number, number[]>, gradients: Record<string, Record<number, number[]>>,
 *   plan: {from: number | null, to: number | null, mass: number}[]}}  by rho, 1 and 2, and by gauge; the plan is optimal
 *   for rho = 1
 */
export function answers(space, p, q) {
  const [exactP, exactQ] = [p.map(rationals.of), q.map(rationals.of)];
  const rounded = (numbers) => numbers.map(rationals.toNumber);
  const byRho = (f) => ({ 1: f(1), 2: f(2) });
  return {
    values: byRho((rho) => rationals.toNumber(value(rationals, space, exactP, exactQ, rho))),
    flows: byRho((rho) => rounded(flow(rationals, space, exactP, exactQ, rho))),
    gradients: Object.fromEntries(GAUGES.map((gauge) =>
      [gauge, byRho((rho) => rounded(gradient(rationals, space, exactP, exactQ, rho, gauge)))])),
    plan: plan(rationals, space, exactP, exactQ).map((entry) => ({ ...entry, mass: rationals.toNumber(entry.mass) })),
  };
}
