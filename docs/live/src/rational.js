/** The field of rationals over BigInt: no result is rounded. */

/**
 * n/d with d > 0, not in lowest terms: to look for common factors would take longer than to carry them.
 * @typedef {{n: bigint, d: bigint}} Rational
 */

const bits = new DataView(new ArrayBuffer(8));

/** @type {import("./floats.js").Field<Rational>} */
export const rationals = {
  zero: { n: 0n, d: 1n },
  of: (x) => (typeof x === "number" ? rationalOf(x) : x),
  add: (a, b) => rationalSum(a, b.n, b.d),
  sub: (a, b) => rationalSum(a, -b.n, b.d),
  mul: (a, b) => ({ n: a.n * b.n, d: a.d * b.d }),
  div: (a, b) => {
    if (b.n === 0n) throw new RangeError("division by 0");
    return b.n > 0n ? { n: a.n * b.d, d: a.d * b.n } : { n: -a.n * b.d, d: -a.d * b.n };
  },
  neg: (a) => ({ n: -a.n, d: a.d }),
  abs: (a) => (a.n < 0n ? { n: -a.n, d: a.d } : a),
  sign: (a) => (a.n > 0n ? 1 : a.n < 0n ? -1 : 0),
  toNumber: nearestNumber,
  parse: (text) => {
    const found = /^(-?\d+)(?:\/(\d*[1-9]\d*))?$/.exec(text);
    if (!found) throw new RangeError(`"${text.slice(0, 40)}" is no rational: write n or n/d`);
    return { n: BigInt(found[1]), d: BigInt(found[2] ?? 1) };
  },
};

/** The number's own value, every bit of it: a whole number times a power of two. */
function rationalOf(x) {
  if (!Number.isFinite(x)) throw new RangeError(`${x} is no rational`);
  bits.setFloat64(0, x);
  const high = bits.getUint32(0);
  const exponent = (high >>> 20) & 0x7ff;
  const size = (BigInt((high & 0xfffff) | (exponent ? 0x100000 : 0)) << 32n) | BigInt(bits.getUint32(4));
  const power = (exponent || 1) - 1075; // of the last bit
  const n = high >>> 31 ? -size : size;
  return power < 0 ? { n, d: 1n << BigInt(-power) } : { n: n << BigInt(power), d: 1n };
}

/**
 * a + n/d; where one denominator divides the other, as powers of two do, it is the common one.
 * @param {Rational} a
 * @param {bigint} n
 * @param {bigint} d
 * @returns {Rational}
 */
function rationalSum(a, n, d) {
  if (a.d === d) return { n: a.n + n, d };
  if (a.d > d) {
    if (a.d % d === 0n) return { n: a.n + n * (a.d / d), d: a.d };
  } else if (d % a.d === 0n) return { n: a.n * (d / a.d) + n, d };
  return { n: a.n * d + n * a.d, d: a.d * d };
}

/**
 * How many binary digits n > 0 has.
 * @param {bigint} n
 */
function bitLength(n) {
  const text = n.toString(16);
  return 4 * (text.length - 1) + (32 - Math.clz32(parseInt(text[0], 16)));
}

/**
 * The number nearest to n/d, ties to even: a quotient of 54 or 55 bits, fewer if it is subnormal, and what is left.
 * @param {Rational} x
 */
function nearestNumber({ n, d }) {
  if (n === 0n) return 0;
  const size = n < 0n ? -n : n;
  const lowest = Math.max(bitLength(size) - bitLength(d) - 54, -1074); // power of two of the quotient's last bit
  const [a, b] = lowest < 0 ? [size << BigInt(-lowest), d] : [size, d << BigInt(lowest)];
  let whole = a / b;
  const rest = 2n * (a - whole * b);
  const spare = Math.max(bitLength(whole || 1n) - 53, 0); // 0, 1 or 2 digits more than a number holds
  if (spare) {
    const unit = 1n << BigInt(spare);
    const cut = whole & (unit - 1n);
    const half = unit >> 1n;
    whole -= cut;
    if (cut > half || (cut === half && (rest > 0n || (whole / unit) & 1n))) whole += unit;
  } else if (rest > b || (rest === b && whole & 1n)) whole += 1n;
  return (n < 0n ? -1 : 1) * scaledByTwo(Number(whole), lowest) + 0; // no -0
}

/** x 2^power in two steps, of which at most the last leaves the range of numbers: x has 53 bits and is not rounded. */
function scaledByTwo(x, power) {
  return power < -1000 ? x * 2 ** -1000 * 2 ** (power + 1000) : power > 900 ? x * 2 ** 900 * 2 ** (power - 900) : x * 2 ** power;
}
