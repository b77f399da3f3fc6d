/** Where histograms live: chains, circles and trees, as nodes and edges along which mass flows at a cost. */

import { floats } from "./floats.js";

/**
 * @typedef {{tail: number, head: number, cost: number, name: string}} Edge  a positive flow goes from tail to head
 *
 * A space has nodes, some of which are bins, and edges.  Its edges in the order `upwards` lead from the leaves to the
 * root and make a tree; a circle has one more, `closing`, from the last bin to the first.
 * @typedef {object} Space
 * @property {"chain" | "circle" | "tree"} kind
 * @property {number} bins  how many, N
 * @property {number} nodes  how many, V
 * @property {number[]} binNode  the node of each bin
 * @property {string[]} labels  the name of each node
 * @property {Edge[]} edges  chain: edge i from bin i to i + 1; circle: one more, back to bin 0; tree: from each node but
 *   the root to its parent, in the order of the nodes
 * @property {number} root  the node where the difference of two totals stays: the last bin of a chain and of a circle
 * @property {number[]} upwards  edges by number, each after those below it
 * @property {number} closing  the number of the edge that closes a circle, else -1
 * @property {number[] | null} parent  of each node of a tree, -1 at the root
 */

/**
 * N bins in a row.
 * @param {number | number[]} size  N, for gaps of cost 1, or the N - 1 gaps
 * @param {{labels?: string[]}} [options]
 * @returns {Space}
 */
export function chain(size, { labels } = {}) {
  const gaps = typeof size === "number" ? Array(size - 1).fill(1) : [...size];
  return gapped("chain", gaps.length + 1, gaps, labels);
}

/**
 * N bins on a ring, the last one beside the first.
 * @param {number | number[]} size  N, for gaps of cost 1, or the N gaps, the last from bin N - 1 back to bin 0
 * @param {{labels?: string[]}} [options]
 * @returns {Space}
 */
export function circle(size, { labels } = {}) {
  const gaps = typeof size === "number" ? Array(size).fill(1) : [...size];
  return gapped("circle", gaps.length, gaps, labels);
}

/** What chains and circles have in common. */
function gapped(kind, n, gaps, labels = Array.from({ length: n }, (_, k) => String(k))) {
  const all = Array.from({ length: n }, (_, k) => k);
  const edges = gaps.map((cost, i) => {
    const head = (i + 1) % n;
    return { tail: i, head, cost, name: `${labels[i]} to ${labels[head]}` };
  });
  return {
    kind, bins: n, nodes: n, binNode: all, labels: [...labels], edges, root: n - 1,
    upwards: all.slice(0, n - 1), closing: kind === "circle" ? n - 1 : -1, parent: null,
  };
}

/**
 * A rooted tree.
 * @param {number[]} parent  of each node, -1 at the one root
 * @param {number[]} [cost]  of the edge from each node to its parent; 1 by default, the root's is ignored
 * @param {{bins?: number[], labels?: string[]}} [options]  the node of each bin, by default the leaves in the order of
 *   the nodes; the name of each node
 * @returns {Space}
 */
export function tree(parent, cost = parent.map(() => 1), { bins, labels } = {}) {
  const root = parent.indexOf(-1);
  const nodes = parent.map((_, v) => v);
  const below = nodes.map(() => /** @type {number[]} */ ([]));
  for (const v of nodes) if (v !== root) below[parent[v]].push(v);
  const order = []; // from the root down, the last child first
  for (const stack = [root]; stack.length; ) {
    const v = /** @type {number} */ (stack.pop());
    order.push(v);
    stack.push(...below[v]);
  }
  const names = labels ? [...labels] : nodes.map(String);
  const inner = nodes.filter((v) => v !== root);
  const number = new Map(inner.map((v, e) => [v, e]));
  const binNode = bins ? [...bins] : nodes.filter((v) => below[v].length === 0);
  return {
    kind: "tree", bins: binNode.length, nodes: nodes.length, binNode, labels: names, root,
    edges: inner.map((v) => ({ tail: v, head: parent[v], cost: cost[v], name: `${names[v]} to ${names[parent[v]]}` })),
    upwards: order.slice(1).reverse().map((v) => /** @type {number} */ (number.get(v))), closing: -1, parent: [...parent],
  };
}

/**
 * Distances between all nodes in a field: the cost of the path, on a circle of the cheaper of the two ways.
 * @template T
 * @param {import("./floats.js").Field<T>} field
 * @param {Space} space
 * @returns {T[][]}
 */
export function nodeDistances(field, space) {
  const beside = Array.from({ length: space.nodes }, () => /** @type {[number, T][]} */ ([]));
  for (const e of space.upwards) {
    const { tail, head, cost } = space.edges[e];
    beside[tail].push([head, field.of(cost)]);
    beside[head].push([tail, field.of(cost)]);
  }
  const matrix = beside.map((_, start) => {
    const row = Array(space.nodes).fill(null);
    row[start] = field.zero;
    for (const stack = [start]; stack.length; ) {
      const v = /** @type {number} */ (stack.pop());
      for (const [w, cost] of beside[v]) {
        if (row[w] === null) {
          row[w] = field.add(row[v], cost);
          stack.push(w);
        }
      }
    }
    return row;
  });
  return space.closing < 0 ? matrix : matrix.map((row, i) => row.map((there, j) => shorter(field, there, backwards(field, space, i, j))));
}

/** The way between two bins of a circle over its closing edge. */
function backwards(field, space, i, j) {
  const n = space.bins;
  let sum = field.zero;
  for (let k = Math.max(i, j); k < n + Math.min(i, j); k++) sum = field.add(sum, field.of(space.edges[k % n].cost));
  return sum;
}

function shorter(field, a, b) {
  return field.sign(field.sub(a, b)) <= 0 ? a : b;
}

/**
 * The matrix M of distances between bins, N x N.
 * @param {Space} space
 * @returns {number[][]}
 */
export function distances(space) {
  const all = nodeDistances(floats, space);
  return space.binNode.map((v) => space.binNode.map((w) => all[v][w]));
}

/**
 * The distance between bins i and j.
 * @param {Space} space
 * @param {number} i
 * @param {number} j
 * @returns {number}
 */
export function distance(space, i, j) {
  return nodeDistances(floats, space)[space.binNode[i]][space.binNode[j]];
}

/**
 * What the address holds of a space: gaps or the parts of a tree, and a name for each node if it is not its number.
 * @typedef {{kind: "chain" | "circle", gaps: number[], labels?: string[]}} GappedParts
 * @typedef {{kind: "tree", parent: number[], cost: number[], bins: number[], labels?: string[]}} TreeParts
 */

/**
 * The space made of these parts.
 * @param {GappedParts | TreeParts} parts
 * @returns {Space}
 */
export function spaceOf(parts) {
  if (parts.kind === "tree") return tree(parts.parent, parts.cost, parts);
  return (parts.kind === "circle" ? circle : chain)(parts.gaps, parts);
}
