/**
 * The Earth Mover's Distance on a space, its gradient and an optimal plan, in any field: numbers or exact rationals.
 * Equations are those of arXiv 1611.07573, and, where it says so, of the ICML 2016 paper it continues.
 */

import { nodeDistances } from "./spaces.js";

/** The gauges of a gradient; see `gradient`. */
export const GAUGES = ["zero_sum", "raw", "scaled", "normalized"];

/** The powers of EMD^rho that are offered; on a circle 3 is not: its flow is no rational number. */
export const RHOS = [1, 2, 3];

/**
 * phi_e, an entry an edge: the mass of p - q in the bins below it, Eqs. 6 and 14.  On a circle less the constant c with
 * which the value is least; see `turn`.
 * @template T
 * @param {import("./floats.js").Field<T>} field
 * @param {import("./spaces.js").Space} space
 * @param {(number | T)[]} p
 * @param {(number | T)[]} q
 * @param {number} [rho]  matters on a circle alone
 * @returns {T[]}
 */
export function flow(field, space, p, q, rho = 1) {
  checkRho(space, rho);
  const below = Array(space.nodes).fill(field.zero);
  space.binNode.forEach((v, k) => {
    below[v] = field.sub(field.of(p[k]), field.of(q[k])); // subtract first, then sum
  });
  const phi = Array(space.edges.length).fill(field.zero); // 0 on an edge that closes a circle
  for (const e of space.upwards) {
    const { tail, head } = space.edges[e];
    phi[e] = below[tail];
    below[head] = field.add(below[head], below[tail]);
  }
  if (space.closing < 0) return phi;
  const c = turn(field, space, phi, rho);
  return phi.map((f) => field.sub(f, c));
}

/**
 * EMD^rho = sum_e M_e |phi_e|^rho; Eqs. 5, 10, 13.
 * @template T
 * @param {import("./floats.js").Field<T>} field
 * @param {import("./spaces.js").Space} space
 * @param {(number | T)[]} p
 * @param {(number | T)[]} q
 * @param {number} rho
 * @returns {T}
 */
export function value(field, space, p, q, rho) {
  const phi = flow(field, space, p, q, rho);
  return space.edges.reduce(
    (sum, { cost }, e) => field.add(sum, field.mul(field.of(cost), power(field, field.abs(phi[e]), rho))),
    field.zero,
  );
}

/**
 * The gradient of EMD^rho with respect to p.  With r_k = rho sum_e M_e sgn(phi_e) |phi_e|^(rho-1) over the edges e from
 * bin k to the root, and N bins:
 *
 * - "raw": r.
 * - "zero_sum": r - mean(r), which conserves dirt; Eqs. 9, 11, 15.
 * - "scaled": N (r - mean(r)); Eq. 6 of the ICML paper.
 * - "normalized": (r - <p, r>/|p|) / |p| with r at p/|p| and q/|q|, the derivative of EMD(p/|p|, q/|q|); Eq. 4 of the
 *   ICML paper.
 * @template T
 * @param {import("./floats.js").Field<T>} field
 * @param {import("./spaces.js").Space} space
 * @param {(number | T)[]} p
 * @param {(number | T)[]} q
 * @param {number} rho
 * @param {string} gauge
 * @returns {T[]}
 */
export function gradient(field, space, p, q, rho, gauge) {
  if (!GAUGES.includes(gauge)) throw new RangeError(`"${gauge}" is no gauge: give ${GAUGES.join(", ")}`);
  if (gauge === "normalized") {
    const r = raw(field, space, normalized(field, p), normalized(field, q), rho);
    const mass = total(field, p);
    const mean = total(field, r.map((x, k) => field.mul(field.of(p[k]), x)));
    return r.map((x) => field.div(field.sub(field.mul(mass, x), mean), field.mul(mass, mass)));
  }
  const r = raw(field, space, p, q, rho);
  if (gauge === "raw") return r;
  const n = field.of(space.bins);
  const sum = total(field, r);
  const scaled = r.map((x) => field.sub(field.mul(n, x), sum));
  return gauge === "scaled" ? scaled : scaled.map((x) => field.div(x, n));
}

/** r, the derivative along one bin's mass alone: sums of rho M_e s_e |phi_e|^(rho-1) from each bin up to the root. */
function raw(field, space, p, q, rho) {
  const phi = flow(field, space, p, q, rho);
  const steps = slopes(field, space, phi, rho);
  const potential = Array(space.nodes).fill(field.zero);
  for (const e of [...space.upwards].reverse()) {
    const { tail, head } = space.edges[e];
    potential[tail] = field.add(potential[head], steps[e]);
  }
  return space.binNode.map((v) => potential[v]);
}

/**
 * rho M_e s_e |phi_e|^(rho-1) by edge, s_e the sign of phi_e and 0 where nothing flows.  On a circle at rho = 1 the
 * edges without flow share one slope t with which sum_e M_e s_e = 0 round the ring.
 */
function slopes(field, space, phi, rho) {
  const steps = space.edges.map(({ cost }, e) => {
    const sign = field.sign(phi[e]);
    if (sign === 0) return field.zero;
    const size = field.mul(field.mul(field.of(rho), field.of(cost)), power(field, field.abs(phi[e]), rho - 1));
    return sign > 0 ? size : field.neg(size);
  });
  if (space.closing < 0 || rho > 1) return steps;
  const free = (_, e) => field.sign(phi[e]) === 0;
  const rest = total(field, space.edges.filter(free).map(({ cost }) => cost));
  if (field.sign(rest) === 0) return steps;
  const t = field.div(field.neg(total(field, steps)), rest);
  return steps.map((step, e) => (free(step, e) ? field.mul(t, field.of(space.edges[e].cost)) : step));
}

/**
 * c on a circle: the weighted mean of phi for rho = 2; for rho = 1 the midpoint of the interval of weighted medians
 * (Rabin, Delon and Gousseau 2009).  0 if nothing costs anything.
 */
function turn(field, space, phi, rho) {
  const weights = space.edges.map(({ cost }) => field.of(cost));
  const sum = total(field, weights);
  if (field.sign(sum) === 0) return field.zero;
  if (rho === 2) return field.div(total(field, phi.map((f, e) => field.mul(weights[e], f))), sum);
  const [low, high] = medians(field, phi, weights);
  return field.div(field.add(phi[low], phi[high]), field.of(2));
}

/** The edges with the least and the largest weighted median of phi. */
function medians(field, phi, weights) {
  const order = phi.map((_, e) => e).filter((e) => field.sign(weights[e]) > 0);
  order.sort((a, b) => field.sign(field.sub(phi[a], phi[b])));
  const sum = total(field, weights);
  let twice = field.zero; // 2 times the weight so far
  for (let k = 0; k < order.length; k++) {
    twice = field.add(twice, field.add(weights[order[k]], weights[order[k]]));
    const beyond = field.sign(field.sub(twice, sum));
    if (beyond > 0) return [order[k], order[k]];
    if (beyond === 0) return [order[k], order[k + 1]];
  }
  return [order.at(-1), order.at(-1)]; // where rounding left less than the sum
}

/**
 * An optimal plan for rho = 1: which mass goes where.  From the leaves up, each node matches what is left of supply and
 * demand below it, the oldest first: on a chain that is the monotone plan.  A circle is cut at the
 * edge with the least flow: its phi is a weighted median, the end of their interval nearest to c.  `null` for a bin stands for the root, where the difference of two totals stays.  At most 2N
 * entries, 2N - 1 if the totals are equal; the sum of mass times distance is `value` at rho = 1, see `planCost`.
 * @template T
 * @param {import("./floats.js").Field<T>} field
 * @param {import("./spaces.js").Space} space
 * @param {(number | T)[]} p
 * @param {(number | T)[]} q
 * @returns {{from: number | null, to: number | null, mass: T}[]}
 */
export function plan(field, space, p, q) {
  const entries = [];
  const waiting = Array.from({ length: space.nodes }, () => []); // by node: masses that look for a partner, > 0 supply
  const bring = (v, bin, mass) => {
    const queue = waiting[v];
    let sign = field.sign(mass);
    while (sign !== 0 && queue.length && field.sign(queue[0].mass) === -sign) {
      const [first, size] = [field.abs(queue[0].mass), field.abs(mass)];
      const matched = field.sign(field.sub(first, size)) <= 0 ? first : size;
      entries.push({ from: sign > 0 ? bin : queue[0].bin, to: sign > 0 ? queue[0].bin : bin, mass: matched });
      const done = sign > 0 ? matched : field.neg(matched);
      mass = field.sub(mass, done);
      queue[0].mass = field.add(queue[0].mass, done);
      if (field.sign(queue[0].mass) === 0) queue.shift();
      sign = field.sign(mass);
    }
    if (sign !== 0) queue.push({ bin, mass });
  };
  const bins = Array.from({ length: space.nodes }, () => /** @type {number[]} */ ([]));
  space.binNode.forEach((v, k) => bins[v].push(k));
  const visit = (v) => {
    for (const k of bins[v]) {
      bring(v, k, field.of(p[k]));
      bring(v, k, field.neg(field.of(q[k])));
    }
    if (v === space.root) bring(v, null, field.sub(total(field, q), total(field, p)));
  };
  const { edges, top } = opened(field, space, p, q);
  for (const e of edges) {
    const { tail, head } = space.edges[e];
    visit(tail);
    for (const { bin, mass } of waiting[tail]) bring(head, bin, mass);
  }
  visit(top); // in rationals nothing waits there now; in numbers, what rounding leaves
  return entries;
}

/** The edges of a space without a circle, from the leaves up, and the node where they end. */
function opened(field, space, p, q) {
  if (space.closing < 0) return { edges: space.upwards, top: space.root };
  const n = space.bins;
  const phi = flow(field, space, p, q).map((f) => field.abs(f));
  const top = phi.reduce((best, f, e) => (field.sign(field.sub(f, phi[best])) < 0 ? e : best), 0); // bin before the cut
  return { edges: Array.from({ length: n - 1 }, (_, k) => (top + 1 + k) % n), top };
}

/**
 * The sum of mass times distance over the entries of a plan.
 * @template T
 * @param {import("./floats.js").Field<T>} field
 * @param {import("./spaces.js").Space} space
 * @param {{from: number | null, to: number | null, mass: T}[]} entries
 * @returns {T}
 */
export function planCost(field, space, entries) {
  const matrix = nodeDistances(field, space);
  const node = (bin) => (bin === null ? space.root : space.binNode[bin]);
  return total(field, entries.map(({ from, to, mass }) => field.mul(mass, matrix[node(from)][node(to)])));
}

/** x/|x|, of total 1. */
export function normalized(field, x) {
  const mass = total(field, x);
  if (field.sign(mass) === 0) throw new RangeError("a histogram of zeros cannot be normalised");
  return x.map((m) => field.div(field.of(m), mass));
}

function total(field, x) {
  return x.reduce((sum, m) => field.add(sum, field.of(m)), field.zero);
}

/** x^n for n = 0, 1, 2, 3. */
function power(field, x, n) {
  return n === 0 ? field.of(1) : n === 1 ? x : field.mul(x, power(field, x, n - 1));
}

function checkRho(space, rho) {
  if (!RHOS.includes(rho)) throw new RangeError(`rho = ${rho} is not offered: give ${RHOS.join(", ")}`);
  if (rho === 3 && space.closing >= 0) {
    throw new RangeError("rho = 3 is not offered on a circle, where its flow is no rational number: give 1 or 2");
  }
}
