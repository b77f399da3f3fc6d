/** Where one may begin, the papers' examples and two of our own, as states of the page. */

/** Masses at some bins of n, 0 elsewhere. */
function spikes(n, masses) {
  return Array.from({ length: n }, (_, k) => masses[k] ?? 0);
}

/** A bump of unit mass; `period` on a ring. */
function bump(n, centre, width, period = Infinity) {
  const apart = (k) => Math.min(Math.abs(k - centre), period - Math.abs(k - centre));
  return unit(Array.from({ length: n }, (_, k) => Math.exp(-0.5 * (apart(k) / width) ** 2)));
}

function unit(x) {
  const total = x.reduce((sum, m) => sum + m, 0);
  return x.map((m) => m / total);
}

/** A state on a space; EMD, lambda = 3 and 100 iterations as in the paper, float64 unless told. */
function example(space, p, q, rest = {}) {
  const usual = { rho: 1, gauge: "zero_sum", lam: 3, cap: 100, float32: false };
  return { space, p, q, ...usual, ...rest };
}

const unitChain = (n) => ({ kind: "chain", gaps: Array(n - 1).fill(1) });

function shifted(places) {
  return {
    id: `spikes-${places}`,
    title: `Spikes ${places} bins apart`,
    text: `Two spikes ${places} bins apart: EMD is ${places}. The mean squared error is the same for 5, 25 and 50.`,
    source: "The slides' shifted spikes",
    state: example(unitChain(61), spikes(61, { 5: 1 }), spikes(61, { [5 + places]: 1 })),
  };
}

const FIGURE5 = spikes(50, { 8: 0.2, 17: 0.15, 29: 0.3, 36: 0.2, 43: 0.15 }).map((x) => 0.98 * x + 0.02 / 50);

/**
 * @typedef {{id: string, title: string, text: string, source: string, state: import("./address.js").State}} Example
 *
 * A space of each kind; the first is what the page shows without an address.
 * @type {Example[]}
 */
export const STARTS = [
  {
    id: "chain",
    title: "A chain",
    text: "Ten bins in a row, as a histogram has them. Earth passes through all bins on its way.",
    source: "",
    state: example(
      unitChain(10),
      [0.05, 0.15, 0.3, 0.25, 0.15, 0.1, 0, 0, 0, 0],
      [0, 0, 0, 0.05, 0.1, 0.1, 0.15, 0.3, 0.2, 0.1],
    ),
  },
  {
    id: "circle",
    title: "A circle",
    text: "Twelve bins on a ring, as months, hues or compass points are. Earth takes the shorter way round.",
    source: "",
    state: example(
      { kind: "circle", gaps: Array(12).fill(1) },
      [0.3, 0.2, 0.05, 0, 0, 0, 0, 0, 0, 0.05, 0.15, 0.25],
      [0, 0.05, 0.1, 0.2, 0.25, 0.2, 0.1, 0.05, 0.05, 0, 0, 0],
    ),
  },
  {
    id: "tree",
    title: "A tree",
    text: "Five kinds of food in a hierarchy. Earth climbs to what two kinds have in common, and down again.",
    source: "",
    state: example(
      {
        kind: "tree", parent: [-1, 0, 0, 1, 1, 1, 2, 2], cost: [0, 1, 1, 1, 1, 1, 1, 1], bins: [3, 4, 5, 6, 7],
        labels: ["food", "fruit", "bread", "apple", "pear", "plum", "rye", "wheat"],
      },
      [0.4, 0.2, 0.1, 0.2, 0.1],
      [0.1, 0.1, 0.2, 0.2, 0.4],
    ),
  },
];

/** @type {Example[]} */
export const PRESETS = [
  {
    id: "ellyvan",
    title: "Ellyvan",
    text: "A network sees a hybrid of elephant and van; the label allows both. Mass moves within the animals, within the "
      + "vehicles, and from one to the other.",
    source: "arXiv 1611.07573, Fig. 1",
    state: example(
      {
        kind: "tree", parent: [-1, 0, 0, 0, 1, 1], cost: [0, 1, 1, 1, 1, 1], bins: [2, 3, 4, 5],
        labels: ["animals", "vehicles", "lion", "elephant", "van", "car"],
      },
      [0.2, 0.4, 0.2, 0.2],
      [0, 0.5, 0.5, 0],
    ),
  },
  shifted(5),
  shifted(25),
  shifted(50),
  {
    id: "figure-5",
    title: "Figure 5's pair",
    text: "A smooth prediction and a spiky label. EMD and EMD² push everywhere; Sinkhorn's gradient comes near EMD's as "
      + "lambda grows.",
    source: "arXiv 1611.07573, Fig. 5",
    state: example(unitChain(50), bump(50, 24, 7), unit(FIGURE5), { lam: 1 }),
  },
  {
    id: "hours",
    title: "Hours of a day",
    text: "A peak at 23 o'clock and one at 3: on a circle mass takes the short way over midnight.",
    source: "Rabin, Delon and Gousseau 2009, which the paper cites",
    state: example(
      { kind: "circle", gaps: Array(24).fill(1), labels: Array.from({ length: 24 }, (_, k) => `${k} h`) },
      bump(24, 23, 1.5, 24),
      bump(24, 3, 2, 24),
    ),
  },
  {
    id: "underflow",
    title: "float32 runs out",
    text: "Two narrow bumps at lambda = 8: float32 loses entries of K, and Sinkhorn divides by 0. In float64 it is right; "
      + "at lambda = 16 float32 gives NaN.",
    source: "arXiv 1611.07573, Sec. 2.3, on float32",
    state: example(unitChain(12), bump(12, 2, 0.4), bump(12, 9, 0.4), { lam: 8, float32: true }),
  },
];
