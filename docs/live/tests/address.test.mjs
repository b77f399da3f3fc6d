/** The state in the address: it comes back as it was, and nothing that stands in an address can break the page. */

import assert from "node:assert/strict";
import test from "node:test";

import { LIMITS, decode, encode } from "../src/address.js";
import { answers } from "../src/answers.js";
import { GAUGES } from "../src/emd.js";
import { PRESETS } from "../src/presets.js";
import { sinkhorn } from "../src/sinkhorn.js";
import { spaceOf } from "../src/spaces.js";
import { random } from "./support.mjs";

const FALLBACK = PRESETS[0].state;

/** A state of any kind that the page takes, numbers of all sizes. */
function anyState(next) {
  const pick = (list) => list[Math.floor(next() * list.length)];
  const amount = () => pick([0, 1, next(), next() * 2 ** -Math.floor(1074 * next()), Math.floor(1e6 * next()), 1e-7, 5e-324, 0.1 + 0.2]);
  const many = (n) => Array.from({ length: n }, amount);
  const kind = pick(["chain", "circle", "tree"]);
  const size = 1 + Math.floor(next() * pick([3, 20, 127]));
  const space = { kind };
  let n = size;
  if (kind === "tree") {
    const order = Array.from({ length: size }, (_, v) => v).sort(() => next() - 0.5);
    space.parent = Array(size);
    order.forEach((v, k) => { space.parent[v] = k === 0 ? -1 : order[Math.floor(next() * k)]; });
    space.cost = many(size);
    space.bins = order.filter(() => next() < 0.7);
    if (!space.bins.length) space.bins = [0];
    n = space.bins.length;
  } else space.gaps = many(kind === "chain" ? size - 1 : size);
  if (next() < 0.5) space.labels = Array.from({ length: size }, () => pick(["a", "", "a,b", "50 %", "&v=1#", "ä ☃ 🐘", "=", "<b>", "*2", "+"]));
  const histogram = () => many(n).map((x, k) => (k === 0 && x === 0 ? 1 : x));
  return {
    space, p: histogram(), q: histogram(), rho: kind === "circle" ? pick([1, 2]) : pick([1, 2, 3]), gauge: pick(GAUGES),
    lam: pick([0.5, 3, 50, 1e-6, 1e6, 0.1 + 0.2]), cap: pick([1, 10, 10000]), float32: next() < 0.5,
  };
}

test("random states and all presets come back, bit by bit", () => {
  const next = random(11);
  const states = [...PRESETS.map(({ state }) => state), ...Array.from({ length: 400 }, () => anyState(next))];
  for (const state of states) {
    const hash = encode(state);
    if (hash.length > LIMITS.address) continue;
    assert.match(hash, /^#[\x21-\x7e]+$/); // what a browser and a mail leave alone
    const found = decode(hash, null);
    assert.equal(found.message, "", hash);
    assert.deepEqual(found.state, state);
    if (!state.space.labels) assert.deepEqual(decode(hash.replaceAll("*", "%2A").replaceAll(",", "%2C"), null).state, state); // as some mailers write it
  }
});

test("an example, which must not change: it may stand in somebody's mail", () => {
  const hash = "#v=1&space=tree&parent=-1,0*3,1*2&cost=0,1*5&bins=2,3,4,5&labels=animals,vehicles,lion,elephant,van,car"
    + "&p=0.2,0.4,0.2*2&q=0,0.5*2,0&rho=1&gauge=zero_sum&lam=3&cap=100&float32=0";
  assert.equal(encode(PRESETS[0].state), hash);
  assert.deepEqual(decode(hash, null), { state: PRESETS[0].state, message: "" });
});

test("no address is no mistake", () => {
  for (const hash of ["", "#"]) assert.deepEqual(decode(hash, FALLBACK), { state: FALLBACK, message: "" });
});

const CHAIN = "v=1&space=chain&gaps=1,1&p=1,0,0&q=0,0,1&rho=1&gauge=raw&lam=3&cap=100&float32=0";
const TREE = CHAIN.replace("space=chain&gaps=1,1", "space=tree&parent=-1,0,0,0&cost=0,1,1,1&bins=1,2,3");

test("what is wrong is said by name", () => {
  for (const whole of [CHAIN, TREE]) assert.equal(decode(whole, FALLBACK).message, "");
  const swap = (text, from, to) => {
    assert.ok(text.includes(from), from);
    return text.replace(from, to);
  };
  const wrong = [
    [swap(CHAIN, "v=1&", ""), /v=1 must say/], [swap(CHAIN, "v=1", "v=2"), /another version/],
    [`${CHAIN}&x=1`, /"x" is nothing/], [`${CHAIN}&`, /"" is nothing/], [`${CHAIN}&rho=1`, /rho must stand in it once/],
    [swap(CHAIN, "rho=1", "rho"), /rho must stand in it once, with a value/], [swap(CHAIN, "&p=1,0,0", ""), /p is missing/],
    [swap(CHAIN, "space=chain", "space=torus"), /space is "torus"/], [swap(CHAIN, "p=1,0,0", "p=1,0"), /p has 2 masses for 3 bins/],
    [swap(CHAIN, "p=1,0,0", "p=0,0,0"), /p has no mass/], [swap(CHAIN, "p=1,0,0", "p=-1,0,1"), /"-1", which is no number/],
    [swap(CHAIN, "p=1,0,0", "p=1,NaN,1"), /"NaN"/], [swap(CHAIN, "p=1,0,0", "p=1,Infinity,1"), /"Infinity"/],
    [swap(CHAIN, "p=1,0,0", "p=1,1e999,1"), /more than 1000000/], [swap(CHAIN, "p=1,0,0", "p=1,0x10,1"), /"0x10"/],
    [swap(CHAIN, "p=1,0,0", "p=1,,1"), /""/], [swap(CHAIN, "p=1,0,0", "p=1*999999999"), /no number/],
    [swap(CHAIN, "p=1,0,0", "p=1*2*2"), /no number/], [swap(CHAIN, "gaps=1,1", "gaps=1*256"), /it has 257 bins/],
    [swap(CHAIN, "gaps=1,1", "gaps=1*200,1*200"), /more than 256 entries/], [swap(CHAIN, "rho=1", "rho=1.5"), /rho is "1.5"/],
    [swap(swap(swap(CHAIN, "chain", "circle"), "gaps=1,1", "gaps=1,1,1"), "rho=1", "rho=3"), /on a circle 1 or 2/],
    [swap(CHAIN, "gauge=raw", "gauge=__proto__"), /gauge is "__proto__"/], [swap(CHAIN, "lam=3", "lam=0"), /lam is 0/],
    [swap(CHAIN, "cap=100", "cap=0"), /cap is 0/], [swap(CHAIN, "cap=100", "cap=1.5"), /no whole number/],
    [swap(CHAIN, "cap=100", "cap=1e9"), /more than 10000/], [swap(CHAIN, "float32=0", "float32=yes"), /float32 is "yes"/],
    [`${CHAIN}&show=all`, /"show" is nothing/], [swap(CHAIN, "p=1,0,0", "p=%"), /% that is no character/],
    [`${CHAIN}&labels=a,b`, /labels has 2 names for 3 nodes/], [`${CHAIN}&labels=a,b,%E0%A4%A`, /% that is no character/],
    [`${CHAIN}&labels=a,b,${"c".repeat(41)}`, /longer than 40/], [`${CHAIN}&parent=-1`, /parent is no part of a chain/],
    [swap(TREE, "parent=-1,0,0,0", "parent=-1,0,0"), /cost has 4 entries for 3 nodes/],
    [swap(TREE, "parent=-1,0,0,0", "parent=-1,2,1,0"), /go round in a circle/],
    [swap(TREE, "parent=-1,0,0,0", "parent=-1,1,0,0"), /go round in a circle/],
    [swap(TREE, "parent=-1,0,0,0", "parent=-1,-1,0,0"), /one root/], [swap(TREE, "parent=-1,0,0,0", "parent=0,0,0,0"), /one root/],
    [swap(TREE, "parent=-1,0,0,0", "parent=-1,0,0,4"), /beyond the 4/], [swap(TREE, "parent=-1,0,0,0", "parent=-1,0,0,0.5"), /no whole/],
    [swap(TREE, "bins=1,2,3", "bins=1,2,4"), /more than 3/], [swap(TREE, "bins=1,2,3", "bins=1,2,2"), /twice/],
    [swap(TREE, "bins=1,2,3", "bins="), /0 bins/], [`${CHAIN}${"&".repeat(LIMITS.address)}`, /longer than/],
  ];
  for (const [hash, reason] of wrong) {
    const { state, message } = decode(`#${hash}`, FALLBACK);
    assert.equal(state, FALLBACK, hash);
    assert.match(message, reason, hash);
    assert.match(message, /^The address could not be read: .*\. The default is shown\.$/);
    assert.ok(message.length < 300, message);
  }
});

test("hostile strings, cut and mangled addresses: never an exception, and what is taken can be computed", () => {
  const next = random(13);
  const strange = ["<script>alert(1)</script>", "%00", "\0", "\ud800", "constructor=1", "v=1&__proto__=1", "=".repeat(500), "&".repeat(500), "💥", "undefined", "null"];
  const letters = "0123456789.,*e-+=&#%abcxv \u00e4";
  const whole = [CHAIN, TREE, ...PRESETS.map(({ state }) => encode(state))];
  let taken = 0;
  for (let k = 0; k < 4000; k++) {
    let text = k < strange.length ? strange[k] : whole[k % whole.length];
    for (let cuts = k < strange.length ? 0 : 1 + Math.floor(3 * next()); cuts > 0; cuts--) {
      const at = Math.floor(next() * text.length);
      const put = next() < 0.7 ? letters[Math.floor(next() * letters.length)] : "";
      text = text.slice(0, at) + put + text.slice(at + Math.floor(next() * 3));
    }
    const { state, message } = decode(text, FALLBACK);
    assert.equal(message === "", state !== FALLBACK || text.replace("#", "") === "");
    if (message) {
      assert.ok(message.length < 300);
      continue;
    }
    const space = spaceOf(state.space);
    if (k % 20 === 0) {
      answers(space, state.p, state.q);
      sinkhorn(space, state.p, state.q, { ...state, cap: 2 });
    }
    taken++;
  }
  assert.ok(taken > 100);
});
