/** The field of JavaScript's numbers, float64: fast, each result rounded.  See rational.js for the exact one. */

/**
 * A field: what emd.js computes with.  `of` takes a number of either kind, `sign` gives -1, 0 or 1.
 * @template T
 * @typedef {object} Field
 * @property {T} zero
 * @property {(x: number | T) => T} of
 * @property {(a: T, b: T) => T} add
 * @property {(a: T, b: T) => T} sub
 * @property {(a: T, b: T) => T} mul
 * @property {(a: T, b: T) => T} div
 * @property {(a: T) => T} neg
 * @property {(a: T) => T} abs
 * @property {(a: T) => number} sign
 * @property {(a: T) => number} toNumber
 * @property {(text: string) => T} parse  "n" or "n/d"
 */

/** @type {Field<number>} */
export const floats = {
  zero: 0,
  of: Number,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  neg: (a) => 0 - a, // no -0
  abs: Math.abs,
  sign: Math.sign,
  toNumber: (a) => a,
  parse: (text) => {
    const [n, d = "1"] = text.split("/");
    return Number(n) / Number(d);
  },
};
