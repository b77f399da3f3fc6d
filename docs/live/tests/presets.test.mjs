/** The presets are what their texts say: printed gradients and distances, Figure 5's pair, float32 running out. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { answers } from "../src/answers.js";
import { PRESETS } from "../src/presets.js";
import { sinkhorn } from "../src/sinkhorn.js";
import { chain, spaceOf } from "../src/spaces.js";
import { EPS } from "./support.mjs";

/** A preset's text and state, the space made. */
function preset(name) {
  const { text, state } = PRESETS.find(({ id }) => id === name);
  return { ...state, text, space: spaceOf(state.space) };
}

test("Ellyvan has the gradients that Fig. 1 prints", () => {
  const { p, q, space } = preset("ellyvan");
  const printed = { 1: [1.5, -0.5, -1.5, 0.5], 2: [0.5, -0.1, -0.7, 0.3] };
  for (const rho of [1, 2]) {
    const gradient = answers(space, p, q).gradients.zero_sum[rho];
    gradient.forEach((x, k) => assert.ok(Math.abs(x - printed[rho][k]) <= 4 * EPS.float64, `${gradient}`));
  }
  assert.deepEqual(space.binNode.map((v) => space.labels[v]), ["lion", "elephant", "van", "car"]);
});

test("spikes are 5, 25 and 50 apart", () => {
  for (const far of [5, 25, 50]) {
    const { p, q, space } = preset(`spikes-${far}`);
    assert.equal(answers(space, p, q).values[1], far);
  }
});

test("Figure 5's pair is that of figures/figure5_gradients.csv", () => {
  const [head, ...rows] = readFileSync(new URL("../../../figures/figure5_gradients.csv", import.meta.url), "utf8").trim().split("\n").map((row) => row.split(","));
  const column = (name) => rows.filter((row) => row[head.indexOf("loss")] === "MSE").map((row) => Number(row[head.indexOf(name)]));
  const { p, q } = preset("figure-5");
  for (const [name, x] of [["p", p], ["q", q]]) {
    const known = column(name);
    assert.equal(x.length, known.length);
    const off = 0.5e-8 + (x.length + 8) * EPS.float64; // nine digits; a sum of all bins, exp and a quotient on either side
    x.forEach((mass, k) => assert.ok(Math.abs(mass / known[k] - 1) <= off, `${name}[${k}] is ${mass}, should be ${known[k]}`));
  }
});

test("hours: the way over midnight is shorter than that through the day", () => {
  const { p, q, space } = preset("hours");
  const around = answers(space, p, q).values[1];
  assert.ok(around > 3.5 && around < 4.5 && answers(chain(24), p, q).values[1] > 2 * around);
});

test("float32 runs out as the text says, and float64 does not", () => {
  const { p, q, space, lam, cap, text } = preset("underflow");
  const status = (options) => sinkhorn(space, p, q, { cap, ...options }).status;
  assert.match(text, /lambda = 8.*lambda = 16/s);
  assert.equal(lam, 8);
  assert.deepEqual([true, false].map((float32) => status({ lam, float32 })), ["underflow", "iteration_limit"]);
  assert.deepEqual([true, false].map((float32) => status({ lam: 16, float32 })), ["nan", "iteration_limit"]);
  assert.equal(status({ lam: 5, float32: true }), "iteration_limit");
});
