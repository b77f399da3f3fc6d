/**
 * The state of the page in its address, so that a finding can be sent to somebody: each number as the shortest decimal
 * that gives it back.  Whatever stands in an address is checked; what is wrong is said, and the default is shown.
 */

import { GAUGES, RHOS } from "./emd.js";

/**
 * @typedef {object} State
 * @property {import("./spaces.js").GappedParts | import("./spaces.js").TreeParts} space
 * @property {number[]} p  N masses >= 0, not all 0
 * @property {number[]} q
 * @property {number} rho  1, 2 or 3, on a circle 1 or 2
 * @property {string} gauge  one of GAUGES
 * @property {number} lam
 * @property {number} cap  iterations of Sinkhorn
 * @property {boolean} float32
 */

/** The largest state that the page takes. */
export const LIMITS = { bins: 128, nodes: 256, mass: 1e6, cost: 1e6, lam: 1e6, cap: 10000, label: 40, address: 20000 };

const VERSION = "1";
const KINDS = ["chain", "circle", "tree"];
const KEYS = ["v", "space", "gaps", "parent", "cost", "bins", "labels", "p", "q", "rho", "gauge", "lam", "cap", "float32"];
const NUMBER = /^\d+(\.\d+)?(e[+-]?\d+)?$/;

/** A reason not to take an address. */
class Refusal extends Error {}

/**
 * The state as an address' hash, "#v=1&space=chain&...".  In lists, "x*k" stands for k times x.
 * @param {State} state
 * @returns {string}
 */
export function encode(state) {
  const { space } = state;
  const fields = { v: VERSION, space: space.kind };
  for (const key of ["gaps", "parent", "cost", "bins"]) if (space[key]) fields[key] = listed(space[key]);
  if (space.labels) fields.labels = space.labels.map(encodeURIComponent).join(",");
  fields.p = listed(state.p);
  fields.q = listed(state.q);
  for (const key of ["rho", "gauge", "lam", "cap"]) fields[key] = String(state[key]);
  fields.float32 = state.float32 ? "1" : "0";
  return `#${Object.entries(fields).map(([key, text]) => `${key}=${text}`).join("&")}`;
}

/**
 * The state that an address' hash holds, or `fallback` and a sentence that says why.
 * @param {string} hash  with or without its #; empty for none
 * @param {State} fallback
 * @returns {{state: State, message: string}}  no message if nothing is wrong
 */
export function decode(hash, fallback) {
  try {
    const text = String(hash).replace(/^#/, "");
    return { state: text === "" ? fallback : stateOf(fieldsOf(text)), message: "" };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { state: fallback, message: `The address could not be read: ${error.message}. The default is shown.` };
  }
}

/** @returns {never} */
function refuse(message) {
  throw new Refusal(message);
}

/** What somebody else wrote, as it may stand in a message. */
function quoted(text) {
  return `"${text.length > 30 ? `${text.slice(0, 30)}…` : text}"`;
}

/** The texts of an address by key. */
function fieldsOf(text) {
  if (text.length > LIMITS.address) refuse(`it is longer than ${LIMITS.address} characters`);
  const fields = new Map();
  for (const part of text.split("&")) {
    const at = part.indexOf("=");
    const key = at < 0 ? part : part.slice(0, at);
    if (!KEYS.includes(key)) refuse(`${quoted(key)} is nothing that this page knows`);
    if (at < 0 || fields.has(key)) refuse(`${key} must stand in it once, with a value`);
    fields.set(key, part.slice(at + 1));
  }
  if (fields.get("v") !== VERSION) refuse(`v=${VERSION} must say which form it has; another version of the page may know it`);
  return fields;
}

/** @returns {State} */
function stateOf(fields) {
  const get = (key) => fields.get(key) ?? refuse(`${key} is missing`);
  const space = partsOf(get, fields);
  const n = space.kind === "tree" ? space.bins.length : space.gaps.length + (space.kind === "chain" ? 1 : 0);
  if (n < 1 || n > LIMITS.bins) refuse(`it has ${n} bins, and the page takes 1 to ${LIMITS.bins}`);
  const [p, q] = ["p", "q"].map((key) => {
    const masses = list(key, get(key), LIMITS.mass);
    if (masses.length !== n) refuse(`${key} has ${masses.length} masses for ${n} bins`);
    if (!masses.some((x) => x > 0)) refuse(`${key} has no mass`);
    return masses;
  });
  const rho = number("rho", get("rho"), 3);
  if (!RHOS.includes(rho) || (rho === 3 && space.kind === "circle")) {
    refuse(`rho is ${quoted(get("rho"))}, and must be 1, 2 or 3, on a circle 1 or 2`);
  }
  const lam = number("lam", get("lam"), LIMITS.lam);
  if (lam < 1 / LIMITS.lam) refuse(`lam is ${lam}, and must be ${1 / LIMITS.lam} or more`);
  const cap = whole("cap", number("cap", get("cap"), LIMITS.cap));
  if (cap < 1) refuse("cap is 0, and must be 1 or more");
  const float32 = oneOf("float32", get("float32"), ["0", "1"]) === "1";
  return { space, p, q, rho, gauge: oneOf("gauge", get("gauge"), GAUGES), lam, cap, float32 };
}

/**
 * The parts of the space.
 * @returns {State["space"]}
 */
function partsOf(get, fields) {
  const kind = oneOf("space", get("space"), KINDS);
  const mine = kind === "tree" ? ["parent", "cost", "bins"] : ["gaps"];
  for (const key of ["gaps", "parent", "cost", "bins"]) {
    if (fields.has(key) && !mine.includes(key)) refuse(`${key} is no part of a ${kind}`);
  }
  /** @type {State["space"]} */
  const parts = kind === "tree" ? treeParts(get) : { kind, gaps: list("gaps", get("gaps"), LIMITS.cost) };
  if (fields.has("labels")) {
    const nodes = parts.kind === "tree" ? parts.parent.length : parts.gaps.length + (kind === "chain" ? 1 : 0);
    const labels = fields.get("labels").split(",").map((label) => decoded("labels", label));
    if (labels.length !== nodes) refuse(`labels has ${labels.length} names for ${nodes} nodes`);
    const long = labels.find((label) => label.length > LIMITS.label);
    if (long !== undefined) refuse(`the label ${quoted(long)} is longer than ${LIMITS.label} characters`);
    parts.labels = labels;
  }
  return parts;
}

/** @returns {import("./spaces.js").TreeParts} */
function treeParts(get) {
  const parent = list("parent", get("parent"), LIMITS.nodes).map((v) => whole("parent", v));
  const nodes = parent.length;
  if (nodes > LIMITS.nodes) refuse(`it has ${nodes} nodes, and the page takes ${LIMITS.nodes} at most`);
  if (parent.filter((v) => v === -1).length !== 1) refuse("parent must name one root, -1, and no more");
  if (parent.some((v) => v >= nodes)) refuse(`parent names a node beyond the ${nodes} that there are`);
  parent.forEach((_, start) => {
    let v = start;
    for (let steps = 0; v !== -1; v = parent[v]) if (steps++ > nodes) refuse(`the parents of node ${start} go round in a circle`);
  });
  const cost = list("cost", get("cost"), LIMITS.cost);
  if (cost.length !== nodes) refuse(`cost has ${cost.length} entries for ${nodes} nodes`);
  const bins = list("bins", get("bins"), nodes - 1).map((v) => whole("bins", v));
  if (new Set(bins).size !== bins.length) refuse("bins names a node twice");
  return { kind: "tree", parent, cost, bins };
}

/** Numbers with commas between them; of equal ones in a row the first and how many. */
function listed(numbers) {
  return runs(numbers).map(([x, count]) => (count > 1 ? `${x}*${count}` : String(x))).join(",");
}

/**
 * A list as [number, how many equal ones follow each other], again and again.
 * @param {number[]} numbers
 * @returns {[number, number][]}
 */
export function runs(numbers) {
  const found = [];
  for (const x of numbers) {
    if (found.length && found.at(-1)[0] === x) found.at(-1)[1]++;
    else found.push([x, 1]);
  }
  return found;
}

/**
 * Numbers from 0 to `most`.
 * @returns {number[]}
 */
function list(key, text, most) {
  if (text === "") return [];
  /** @type {number[]} */
  const numbers = [];
  for (const part of decoded(key, text).split(",")) {
    const [x, count = "1", ...rest] = part.split("*");
    if (rest.length || !/^[1-9]\d{0,2}$/.test(count)) refuse(`${key} has the entry ${quoted(part)}, which is no number`);
    const value = number(key, x, most);
    for (let k = Number(count); k > 0; k--) numbers.push(value);
    if (numbers.length > LIMITS.nodes) refuse(`${key} has more than ${LIMITS.nodes} entries`);
  }
  return numbers;
}

/** A number from 0 to `most`; -1 for the parent of a root. */
function number(key, text, most) {
  if (key === "parent" && text === "-1") return -1;
  if (!NUMBER.test(text)) refuse(`${key} has the entry ${quoted(text)}, which is no number from 0 on`);
  const value = Number(text);
  if (value > most) refuse(`${key} has the entry ${quoted(text)}, which is more than ${most}`);
  return value;
}

function whole(key, value) {
  return Number.isInteger(value) ? value : refuse(`${key} has the entry ${value}, which is no whole number`);
}

function oneOf(key, text, choices) {
  return choices.includes(text) ? text : refuse(`${key} is ${quoted(text)}, and must be one of ${choices.join(", ")}`);
}

/**
 * @param {string} key
 * @param {string} text
 * @returns {string}
 */
function decoded(key, text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return refuse(`${key} has a % that is no character`);
  }
}
