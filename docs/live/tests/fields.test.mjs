/** Both fields: exact values of floats, arithmetic against numbers that are exact, and rounding to the nearest. */

import assert from "node:assert/strict";
import test from "node:test";

import { floats } from "../src/floats.js";
import { rationals } from "../src/rational.js";
import { fromHex, random, same } from "./support.mjs";

const ODD = [0, 1, -1, 0.1, 1 / 3, 2 ** -1074, 3 * 2 ** -1074, 2 ** -1022, 2 ** -1022 - 2 ** -1074, Number.MAX_VALUE, 2 ** 53 + 2, -5e-324];

test("a float has its exact value and comes back", () => {
  for (const x of ODD) assert.equal(rationals.toNumber(rationals.of(x)), x);
  assert.deepEqual(rationals.of(0.75).n * 4n, rationals.of(0.75).d * 3n);
  assert.ok(same(rationals.of(2 ** -1074), { n: 1n, d: 1n << 1074n }));
  for (const x of [NaN, Infinity]) assert.throws(() => rationals.of(x), RangeError);
});

test("hexadecimal floats are read without rounding", () => {
  const known = { "0x1.8000000000000p-1": 0.75, "0x0.0p+0": 0, "0x0.0000000000001p-1022": 2 ** -1074, "-0x1.fffffffffffffp+1023": -Number.MAX_VALUE, "0x1.0p-1022": 2 ** -1022 };
  for (const [text, x] of Object.entries(known)) assert.equal(fromHex(text), x);
});

test("numbers of 26 bits: both fields agree, for no operation rounds", () => {
  const next = random(1);
  const draw = () => Math.round((next() - 0.5) * 2 ** 26) / 2 ** 20;
  for (let k = 0; k < 500; k++) {
    const [a, b] = [draw(), draw()];
    for (const name of ["add", "sub", "mul"]) {
      assert.equal(rationals.toNumber(rationals[name](rationals.of(a), rationals.of(b))), floats[name](a, b));
    }
    for (const name of ["neg", "abs"]) assert.equal(rationals.toNumber(rationals[name](rationals.of(a))), floats[name](a));
    assert.equal(rationals.sign(rationals.of(a)), floats.sign(a));
  }
});

test("a quotient or a product of any floats is rounded as the processor rounds it", () => {
  const next = random(2);
  const draw = () => (next() - 0.5) * 2 ** Math.floor(2000 * (next() - 0.5));
  for (let k = 0; k < 4000; k++) {
    const [a, b] = [draw(), draw()];
    for (const name of ["add", "sub", "mul", "div"]) {
      assert.equal(rationals.toNumber(rationals[name](rationals.of(a), rationals.of(b))), floats[name](a, b) + 0, `${a} ${name} ${b}`);
    }
  }
});

test("halves of a last place go to the even neighbour, subnormal numbers too", () => {
  const half = 2 ** -1074;
  for (const [n, d, x] of [
    [(1n << 53n) + 1n, 1n, 2 ** 53], [(1n << 53n) + 3n, 1n, 2 ** 53 + 4], [(1n << 54n) + 2n, 1n, 2 ** 54],
    [1n, 1n << 1075n, 0], [3n, 1n << 1075n, 2 * half], [3n, 1n << 1076n, half], [1n << 1024n, 1n, Infinity],
    [(1n << 1024n) - (1n << 970n), 1n, Infinity], [(1n << 1024n) - (1n << 970n) - 1n, 1n, Number.MAX_VALUE],
  ]) {
    assert.equal(rationals.toNumber({ n, d }), x);
    assert.equal(rationals.toNumber({ n: -n, d }), 0 - x);
  }
});

test("text is read, and what is no rational is refused", () => {
  assert.ok(same(rationals.parse("-6/8"), { n: -3n, d: 4n }));
  assert.equal(floats.parse("-6/8"), -0.75);
  for (const text of ["", "1/0", "1.5", "1/-2", "x"]) assert.throws(() => rationals.parse(text), RangeError);
  assert.throws(() => rationals.div(rationals.of(1), rationals.zero), RangeError);
});
