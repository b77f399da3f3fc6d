/**
 * Where a space's bars, nodes and edges stand in a picture.  p's heaps rise from one side of the ground, q's holes sink
 * on the other; on a chain and a circle the flow runs between them, a tree hangs below.
 *
 * A bar stands at (x, y), turned clockwise by `angle` degrees from upright, `wide` at its foot, `tip` at its far end, and at most `long`.
 * @typedef {{x: number, y: number, angle: number, wide: number, tip: number, long: number}} Place
 * @typedef {{width: number, height: number, heaps: Place[], holes: Place[], nodes: {x: number, y: number}[],
 *   paths: ((from: number, to: number) => object)[], names: object[], stems: object[], radius: number,
 *   numbers: boolean, masses: boolean}} Layout
 */

const SIDE = 10; // left and right of all
const HEAD = 18; // above the highest bar, for its number
const RIM = 24; // round a ring, for names

/** The layout of any space for a width in pixels. */
export function layoutOf(space, width) {
  if (space.kind === "circle") return ringLayout(space, width);
  return space.kind === "chain" ? rowLayout(space, width) : treeLayout(space, width);
}

function rowLayout(space, width) {
  const n = space.bins;
  const long = width < 500 ? 112 : 218;
  const middle = n > 30 ? 20 : 30; // half of the band between heaps and holes
  const column = (width - 2 * SIDE) / n;
  const wide = Math.min(column * (n > 30 ? 0.86 : 0.8), 64);
  const ground = HEAD + long + middle;
  const at = (k) => SIDE + (k + 0.5) * column;
  const radius = n > 30 ? 1.6 : Math.min(11, column * 0.29);
  const nodes = Array.from({ length: n }, (_, k) => ({ x: at(k), y: ground }));
  const room = n > 30 ? 0 : radius + 2;
  return {
    width, height: 2 * (HEAD + long + middle), nodes, radius, numbers: n <= 20 && column > 30, masses: wide >= 19,
    heaps: nodes.map(({ x }) => ({ x, y: ground - middle, angle: 0, wide, tip: wide, long })),
    holes: nodes.map(({ x }) => ({ x, y: ground + middle, angle: 180, wide, tip: wide, long })),
    paths: space.edges.map(({ tail, head }) => straight(nodes[tail], nodes[head], room, false)),
    names: n > 30 ? everyTenth(space, nodes) : namesInside(space, nodes, radius), stems: [],
  };
}

function everyTenth(space, nodes) {
  return nodes.flatMap(({ x, y }, k) => (k % 10 ? [] : [{ x, y: y + 11, text: space.labels[k].slice(0, 6), size: 9.5 }]));
}

function namesInside(space, nodes, radius) {
  if (radius < 6) return [];
  const size = radius < 9 ? 9 : 11;
  return nodes.map(({ x, y }, k) => ({ x, y, text: space.labels[k], size }));
}

function ringLayout(space, width) {
  const n = space.bins;
  const size = Math.min(width, 540);
  const small = size < 420;
  const band = n > 30 ? 10 : small ? (n <= 12 ? 18 : 13) : 22; // half of the ring between heaps and holes
  const outer = size / 2 - RIM;
  const inner = small ? 20 : 60; // free in the middle
  const long = (outer - inner) / 2 - band; // of heaps and holes alike
  const r = inner + long + band;
  const centre = { x: width / 2, y: size / 2 };
  const turn = (k) => (2 * Math.PI * k) / n;
  const on = (angle, radius) => ({ x: centre.x + radius * Math.sin(angle), y: centre.y - radius * Math.cos(angle) });
  const chord = (radius) => 2 * radius * Math.sin(Math.PI / Math.max(n, 3));
  const nodes = Array.from({ length: n }, (_, k) => on(turn(k), r));
  const within = chord(r) > 26 && nodes.every((_, k) => space.labels[k].length < 3); // names fit into the nodes
  const radius = n > 30 ? 1.6 : within ? Math.min(11, chord(r) * 0.24) : 3.5;
  const gap = n > 30 ? 0 : (radius + 2) / r;
  const bars = (from, to, angle) => nodes.map((_, k) => {
    const [wide, tip] = [chord(from), chord(to)].map((c) => Math.min(c * 0.86, 46));
    return { ...on(turn(k), from), angle: (360 * k) / n + angle, wide, tip: Math.min(tip, wide), long };
  });
  const every = Math.ceil(30 / chord(outer));
  const outside = nodes.map((_, k) => ({ ...on(turn(k), outer + RIM / 2), text: space.labels[k].slice(0, 5), size: 10.5 }));
  return {
    width, height: size, nodes, radius, numbers: chord(r) > 44, masses: !small && n <= 16,
    heaps: bars(r + band, outer, 0),
    holes: bars(r - band, inner, 180),
    paths: space.edges.map((_, i) => bent(on, r, turn(i) + gap, turn(i + 1) - gap)),
    names: within ? namesInside(space, nodes, radius) : outside.filter((_, k) => k % every === 0), stems: [],
  };
}

function treeLayout(space, width) {
  const n = space.bins;
  const small = width < 500;
  const long = small ? 88 : 138;
  const band = 13; // half of the band of names
  const [order, depth, deepest] = treeShape(space);
  const column = (width - 2 * SIDE) / n;
  const wide = Math.min(column * 0.72, 70);
  const ground = HEAD + long + band;
  const top = ground + band + long + 26; // of the tree
  const rise = Math.min(64, (small ? 150 : 170) / Math.max(deepest, 1));
  const nodes = placedNodes(space, order, depth, (slot) => SIDE + (slot + 0.5) * column, (level) => top + level * rise);
  const slots = order.map(({ x }) => x);
  const at = space.binNode.map((v) => SIDE + (slots[v] + 0.5) * column);
  const radius = 5;
  return {
    width, height: top + deepest * rise + 26, nodes, radius, numbers: true, masses: wide >= 19,
    heaps: at.map((x) => ({ x, y: ground - band, angle: 0, wide, tip: wide, long })),
    holes: at.map((x) => ({ x, y: ground + band, angle: 180, wide, tip: wide, long })),
    paths: space.edges.map(({ tail, head }) => straight(nodes[tail], nodes[head], radius + 2, true)),
    names: treeNames(space, at, nodes, ground, column),
    stems: space.binNode.map((v, k) => ({ x: at[k], y1: ground + band + long, to: nodes[v] })),
  };
}

/** By node: its slot in a row of bins (a bin's own, else the middle of what is below), its height above the leaves. */
function treeShape(space) {
  const below = Array.from({ length: space.nodes }, () => []);
  space.edges.forEach(({ tail, head }) => below[head].push(tail));
  const isBin = new Set(space.binNode);
  const first = firstBins(space); // children stand as their bins do
  below.forEach((children) => children.sort((a, b) => first[a] - first[b]));
  const shape = Array(space.nodes).fill(null);
  let next = 0;
  const visit = (v) => {
    const inner = below[v].length > 0;
    const own = isBin.has(v) && inner ? next++ : null; // a bin inside the tree stands left of what is below it
    below[v].forEach(visit);
    const middles = below[v].map((c) => shape[c].middle);
    const middle = inner ? middles.reduce((a, b) => a + b, 0) / middles.length : next;
    const height = inner ? 1 + Math.max(...below[v].map((c) => shape[c].height)) : 0;
    shape[v] = { x: own ?? middle, middle, height };
    if (!inner && isBin.has(v)) next++;
  };
  visit(space.root);
  const heights = shape.map(({ height }) => height);
  return [shape, heights, Math.max(...heights)];
}

/** By node: the least number of a bin at it or below. */
function firstBins(space) {
  const first = Array(space.nodes).fill(Infinity);
  space.binNode.forEach((v, k) => { first[v] = k; });
  for (const e of space.upwards) {
    const { tail, head } = space.edges[e];
    first[head] = Math.min(first[head], first[tail]);
  }
  return first;
}

function placedNodes(space, shape, heights, across, down) {
  return shape.map(({ middle }, v) => ({ x: across(middle), y: down(heights[v]) }));
}

function treeNames(space, at, nodes, ground, column) {
  const isBin = new Set(space.binNode);
  const room = Math.max(3, Math.floor(column / 6.4));
  const cut = (text) => (text.length > room ? `${text.slice(0, room - 1)}…` : text);
  const bins = at.map((x, k) => ({ x, y: ground, text: cut(space.labels[space.binNode[k]]), size: 12 }));
  const inner = nodes.flatMap(({ x, y }, v) =>
    isBin.has(v) || /^\d+$/.test(space.labels[v]) ? [] : [{ x, y: y + 15, text: space.labels[v], size: 11 }]);
  return [...bins, ...inner];
}

/**
 * A straight edge that keeps `gap` from its nodes: `along(s)` is the point at the part s of it, `number(wide)` is where
 * the number of an arrow of some width has room: above it in a row, in a tree below it or, where it is upright, on its
 * right.
 */
function straight(a, b, gap, inTree) {
  const length = Math.hypot(b.x - a.x, b.y - a.y) || 1;
  const [ux, uy] = [(b.x - a.x) / length, (b.y - a.y) / length];
  const free = Math.max(length - 2 * gap, 1);
  const along = (s) => ({ x: a.x + ux * (gap + s * free), y: a.y + uy * (gap + s * free), ux, uy });
  const up = ux > 0 ? 1 : -1; // (uy, -ux) times it points up
  const side = !inTree ? up : Math.abs(ux) < 0.05 ? Math.sign(uy) : -up;
  const number = (wide) => {
    const { x, y } = along(inTree ? 0.42 : 0.5);
    const beside = wide / 2 + 5 + 4 * Math.abs(ux) + 11 * Math.abs(uy); // numbers are wider than high
    const away = inTree || free > 30 ? beside : Math.max(beside, 16); // above the nodes where there is no room between
    return { x: x + side * uy * away, y: y - side * ux * away };
  };
  return { length: free, along, line: (s, t) => `M${xy(along(s))}L${xy(along(t))}`, number };
}

/** An edge along a ring. */
function bent(on, r, start, end) {
  const angle = (s) => start + s * (end - start);
  const along = (s) => ({ ...on(angle(s), r), ux: Math.cos(angle(s)), uy: Math.sin(angle(s)) });
  const line = (s, t) => `M${xy(along(s))}A${r} ${r} 0 0 ${t > s ? 1 : 0} ${xy(along(t))}`;
  return { length: Math.max(r * (end - start), 1), along, line, number: () => on(angle(0.5), r + 13) };
}

function xy({ x, y }) {
  return `${x.toFixed(1)} ${y.toFixed(1)}`;
}
