/** What the tests share: the reference data, exact comparison, and the spaces that its cases are on. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { rationals } from "../src/rational.js";
import { chain, tree } from "../src/spaces.js";

const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));

export const GRADES = ["easy", "ordinary", "hard", "hostile"];
export const EPS = { float32: 2 ** -23, float64: 2 ** -52 };

/** The cases of a grade of docs/reference. */
export const reference = (grade) => read(`../../reference/${grade}.json`);

/** What analysis/sources/live.py writes. */
export const emdref = () => read("emdref.json");

/** The float that C99's hexadecimal notation stands for, exactly: at most 53 bits times a power of two. */
export function fromHex(text) {
  const [, sign, whole, digits, power] = /^(-?)0x(\w)(?:\.(\w*))?p([+-]\d+)$/.exec(text);
  const exponent = Number(power) - 4 * (digits ?? "").length;
  const size = parseInt(whole + (digits ?? ""), 16);
  return (sign ? -1 : 1) * size * 2 ** Math.ceil(exponent / 2) * 2 ** Math.floor(exponent / 2);
}

/** A case's space and, by edge, where its flow stands in the answers, which go by node. */
export function spaceOfCase(found) {
  const cost = found.cost.map(fromHex);
  const space = found.space === "chain" ? chain(cost.slice(0, -1)) : tree(found.parent, cost, { bins: found.bins });
  return { space, at: space.edges.map(({ tail }) => tail) };
}

/** Equal as rationals, none of which need be in lowest terms. */
export function same(a, b) {
  return a.n * b.d === b.n * a.d;
}

/** That rationals are those that are written; `name` says which case it is. */
export function assertSame(found, texts, name) {
  assert.equal(found.length, texts.length, name);
  found.forEach((x, k) => assert.ok(same(x, rationals.parse(texts[k])), `${name}[${k}] should be ${texts[k].slice(0, 60)}`));
}

/** A generator of numbers from 0 to 1 that repeats: mulberry32. */
export function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
