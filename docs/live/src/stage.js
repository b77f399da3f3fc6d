/** The picture to play with: bars that are dragged, painted or moved by keys, and the flow on the edges. */

import { layoutOf } from "./layout.js";
import { axisTop, holdBars, totalOf } from "./masses.js";
import { brief, escaped, massText, spokenBin } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const PAINT = 20; // with more bins than this, a drag across sets every bar on its way
const LEAST = 0.0005; // the least mass whose number is written, of the total
const WIDEST = 13; // pixels, the widest arrow
const SIDES = [["p", "heaps", "heap"], ["q", "holes", "hole"]];

function svgNode(name, attributes = {}) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

/**
 * A stage in `host` that calls `changed(side, masses)` as bars move.
 * @param {HTMLElement} host
 * @param {(side: "p" | "q", masses: number[], bin: number) => void} changed
 */
export function makeStage(host, changed) {
  const stage = { host, changed, space: null, layout: null, masses: { p: [], q: [] }, top: 1, bars: { p: [], q: [] }, hold: null };
  stage.svg = svgNode("svg", { class: "picture", role: "group", "aria-label": "Bars of p and q" });
  stage.back = svgNode("g", { "aria-hidden": "true" });
  stage.barsLayer = svgNode("g");
  stage.front = svgNode("g", { "aria-hidden": "true", class: "front" });
  stage.names = svgNode("g", { "aria-hidden": "true", class: "front" });
  stage.numbers = svgNode("g", { "aria-hidden": "true", class: "front" });
  stage.svg.append(stage.back, stage.barsLayer, stage.front, stage.names, stage.numbers);
  host.replaceChildren(stage.svg);
  stage.svg.addEventListener("pointerdown", (event) => press(stage, event));
  stage.svg.addEventListener("pointermove", (event) => move(stage, event));
  for (const end of ["pointerup", "pointercancel"]) stage.svg.addEventListener(end, (event) => release(stage, event));
  return stage;
}

/** Shows a pair of histograms and the flow between them. */
export function showStage(stage, space, p, q, phi) {
  const width = Math.max(Math.floor(stage.host.clientWidth), 280);
  const fresh = space !== stage.space;
  stage.masses = { p, q };
  if (stage.hold && stage.masses[stage.hold.side] !== stage.hold.told) letGo(stage); // others have changed it meanwhile
  stage.total = Math.max(totalOf(p), totalOf(q));
  if (fresh || width !== stage.layout.width) {
    stage.space = space;
    stage.layout = layoutOf(space, width);
    build(stage, fresh);
  }
  if (!stage.hold?.pointer) stage.top = axisTop([...p, ...q], stage.total);
  stage.svg.dataset.top = stage.top;
  for (const [side, where] of SIDES) stage.bars[side].forEach((bar, k) => placeBar(stage, bar, side, where, k));
  stage.front.innerHTML = flowMarkup(stage, phi);
  stage.numbers.innerHTML = numbersOnBars(stage);
}

function build(stage, fresh) {
  const { layout, space } = stage;
  stage.svg.setAttribute("viewBox", `0 0 ${layout.width} ${layout.height}`);
  stage.svg.setAttribute("width", layout.width);
  stage.svg.setAttribute("height", layout.height);
  stage.back.innerHTML = backMarkup(stage);
  if (!fresh) return;
  stage.barsLayer.replaceChildren();
  for (const [side, , word] of SIDES) {
    const group = svgNode("g", { role: "group", "aria-label": side === "p" ? "p, the heaps" : "q, the holes" });
    stage.bars[side] = Array.from({ length: space.bins }, (_, k) => newBar(stage, side, word, k));
    group.append(...stage.bars[side].map(({ node }) => node));
    stage.barsLayer.append(group);
  }
}

function newBar(stage, side, word, k) {
  const node = svgNode("g", {
    class: `bar ${side}`, role: "slider", tabindex: "0", "aria-orientation": "vertical", "data-side": side, "data-bin": k,
    "aria-label": `${side}, ${word} at ${spokenBin(stage.space, k)}`,
  });
  const [track, fill, grip] = ["track", "fill", "grip"].map((name) => svgNode(name === "grip" ? "rect" : "path", { class: name }));
  node.append(track, fill, grip);
  node.addEventListener("keydown", (event) => key(stage, side, k, event));
  node.addEventListener("blur", () => { if (!stage.hold?.pointer) stage.hold = null; });
  for (const [event, here] of [["focus", true], ["pointerenter", true], ["blur", false], ["pointerleave", false]]) {
    node.addEventListener(event, () => {
      stage.pointed = here ? [side, k].join() : "";
      stage.numbers.innerHTML = numbersOnBars(stage);
    });
  }
  return { node, track, fill, grip };
}

function placeBar(stage, { node, track, fill, grip }, side, where, k) {
  const { x, y, angle, wide, tip, long } = stage.layout[where][k];
  const mass = stage.masses[side][k];
  const high = Math.min(mass / stage.top, 1) * long;
  node.setAttribute("transform", `translate(${x.toFixed(2)} ${y.toFixed(2)}) rotate(${angle})`);
  node.setAttribute("aria-valuemin", "0");
  node.setAttribute("aria-valuemax", plain(totalOf(stage.masses[side])));
  node.setAttribute("aria-valuenow", plain(mass));
  node.dataset.mass = mass;
  node.setAttribute("aria-valuetext", brief(mass));
  track.setAttribute("d", barPath(wide, tip, long, long));
  fill.setAttribute("d", barPath(wide, tip, long, high));
  const gripWide = Math.min(tip * 0.5, 18);
  const outside = high < 10;
  grip.classList.toggle("outside", outside);
  grip.setAttribute("x", -gripWide / 2);
  grip.setAttribute("width", gripWide);
  grip.setAttribute("height", tip < 12 || stage.space.bins > PAINT ? 0 : 3);
  grip.setAttribute("rx", 1.5);
  grip.setAttribute("y", outside ? -high - 7 : 4 - high);
}

/** A number without a power of ten, which ARIA does not know. */
function plain(x) {
  return /e/.test(String(x)) ? x.toFixed(20) : String(x);
}

/** A bar of some height with round corners at its end, of which `tip` is the width at the height `long`. */
function barPath(wide, tip, long, high) {
  const half = (h) => (wide + (tip - wide) * (h / long)) / 2;
  const round = Math.min(4, tip / 4, high);
  const [foot, low, top] = [half(0), half(high - round), half(high)].map((x) => x.toFixed(2));
  const [h, l] = [high, high - round].map((x) => (-x).toFixed(2));
  const inner = (half(high) - round).toFixed(2);
  return `M-${foot} 0L-${low} ${l}Q-${top} ${h} -${inner} ${h}L${inner} ${h}Q${top} ${h} ${low} ${l}L${foot} 0Z`;
}

function backMarkup(stage) {
  const { layout, space } = stage;
  const paths = layout.paths.map(({ line }) => `<path class="edge" d="${line(0, 1)}"/>`);
  const stems = layout.stems.map(({ x, y1, to }) => `<path class="stem" d="M${x} ${y1}L${x} ${to.y}L${to.x} ${to.y}"/>`);
  const isBin = new Set(space.binNode);
  const nodes = layout.nodes.map(({ x, y }, v) =>
    `<circle class="node${isBin.has(v) ? "" : " inner"}" cx="${x}" cy="${y}" r="${layout.radius}"/>`);
  const names = layout.names.map(({ x, y, text, size }) =>
    `<text class="name" x="${x}" y="${y}" font-size="${size}" dy="0.35em">${escaped(text)}</text>`);
  stage.names.innerHTML = names.join("");
  return [...stems, ...paths, ...nodes].join("");
}

function flowMarkup({ layout, space, total }, phi) {
  if (!phi) return "";
  const most = Math.max(...phi.map(Math.abs), total / 4);
  const wide = phi.map((f, e) => Math.min(1.2 + (WIDEST - 1.2) * (Math.abs(f) / most), layout.paths[e].length * 0.6));
  const arrows = phi.map((f, e) => (f === 0 ? "" : arrowMarkup(layout.paths[e], f > 0, wide[e], endsRun(space, phi, e))));
  const written = (f) => layout.numbers && Math.abs(f) >= LEAST * total;
  const numbers = phi.map((f, e) => (written(f) ? numberMarkup(layout.paths[e].number(wide[e]), f) : ""));
  return arrows.join("") + numbers.join("");
}

/** Where edges are short, only the last arrow of a run in one direction has a head. */
function endsRun(space, phi, e) {
  const next = phi[(e + (phi[e] > 0 ? 1 : phi.length - 1)) % phi.length];
  return space.kind === "tree" || space.bins <= 30 || Math.sign(next) !== Math.sign(phi[e]);
}

function arrowMarkup({ length, along, line }, forward, wide, pointed) {
  const head = pointed ? Math.min(Math.max(wide * 0.95, 5), length * 0.62) : 0;
  const tip = along(forward ? 1 : 0);
  const neck = forward ? 1 - head / length : head / length;
  const base = along(neck);
  const half = Math.max(wide * 0.95, 4.2);
  const shaft = `<path class="flow" d="${line(forward ? 0 : 1, neck)}" stroke-width="${wide.toFixed(1)}"/>`;
  if (!pointed) return shaft;
  const [nx, ny] = [-base.uy * half, base.ux * half];
  const point = (x, y) => `${x.toFixed(1)},${y.toFixed(1)}`;
  return `${shaft}<polygon class="flow-head" points="${point(tip.x, tip.y)} ${point(base.x + nx, base.y + ny)} ${point(base.x - nx, base.y - ny)}"/>`;
}

function numberMarkup({ x, y }, f) {
  return `<text class="flow-number" x="${x.toFixed(1)}" y="${y.toFixed(1)}" dy="0.35em">${massText(Math.abs(f))}</text>`;
}

function numbersOnBars(stage) {
  const active = stage.hold ? [stage.hold.side, stage.hold.bin].join() : stage.pointed;
  return SIDES.map(([side, where]) => stage.masses[side].map((mass, k) => {
    if ([side, k].join() !== active && (!stage.layout.masses || mass < LEAST * stage.total)) return "";
    const { x, y, angle, long } = stage.layout[where][k];
    const high = Math.min(mass / stage.top, 1) * long;
    const a = (angle * Math.PI) / 180;
    const out = high + (high < 10 ? 16 : 9) + 7 * Math.abs(Math.sin(a)); // numbers are wider than high
    return `<text class="mass ${side}" x="${(x + out * Math.sin(a)).toFixed(1)}" y="${(y - out * Math.cos(a)).toFixed(1)}" dy="0.35em">${massText(mass)}</text>`;
  }).join("")).join("") + hint(stage);
}

/** Above the highest heap, until a bar was moved. */
function hint({ moved, layout, masses, top }) {
  const most = masses.p.indexOf(Math.max(...masses.p));
  const { x, y, angle, long } = layout.heaps[most];
  const a = (angle * Math.PI) / 180;
  const out = Math.min(masses.p[most] / top, 1) * long + 24;
  return moved ? "" : `<text class="hint" x="${(x + out * Math.sin(a)).toFixed(1)}" y="${(y - out * Math.cos(a)).toFixed(1)}" dy="0.35em">↕ drag</text>`;
}

/** The mass that a point stands for on a bar. */
function massAt(stage, where, k, point) {
  const { x, y, angle, long } = stage.layout[where][k];
  const a = (angle * Math.PI) / 180;
  const high = (point.x - x) * Math.sin(a) - (point.y - y) * Math.cos(a);
  const part = Math.min(Math.max(high / long, 0), 1) * stage.top;
  const step = stage.top / 200;
  return Number((Math.round(part / step) * step).toPrecision(6));
}

function pointOf(stage, event) {
  const box = stage.svg.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

function press(stage, event) {
  const target = event.target.closest?.(".bar");
  if (!target || event.button > 0 || stage.hold?.pointer) return;
  event.preventDefault();
  target.focus({ preventScroll: true });
  try {
    stage.svg.setPointerCapture(event.pointerId);
  } catch { /* a pointer that has gone already: the drag ends with the next event */ }
  const side = target.dataset.side;
  hold(stage, side, event.pointerId + 1);
  stage.svg.classList.add("dragging");
  drag(stage, Number(target.dataset.bin), pointOf(stage, event));
}

/** From now on the other bars give way in proportion to what they have now. */
function hold(stage, side, pointer, bin = null) {
  const masses = stage.masses[side];
  stage.hold = { side, pointer, bin, base: masses, told: masses, total: totalOf(masses), held: new Map() };
}

function letGo(stage) {
  stage.hold = null;
  stage.svg.classList.remove("dragging");
}

function move(stage, event) {
  if (stage.hold?.pointer !== event.pointerId + 1) return;
  const point = pointOf(stage, event);
  const painting = stage.space.bins > PAINT;
  const to = painting ? nearestBin(stage, point) : stage.hold.bin;
  const [from, start] = [stage.hold.bin, stage.hold.point];
  if (painting && Math.abs(to - from) > 1) { // the bars that a quick move jumped over
    for (let k = from + Math.sign(to - from); k !== to; k += Math.sign(to - from)) {
      const s = (k - from) / (to - from);
      put(stage, k, { x: stage.layout.heaps[k].x, y: start.y + s * (point.y - start.y) });
    }
  }
  drag(stage, to, point);
}

function drag(stage, bin, point) {
  stage.hold.bin = bin;
  stage.hold.point = point;
  put(stage, bin, point);
  tell(stage, bin);
}

function put(stage, bin, point) {
  const { held, side } = stage.hold;
  held.set(bin, massAt(stage, side === "p" ? "heaps" : "holes", bin, point));
}

function tell(stage, bin) {
  stage.moved = true;
  const { side, base, held, total } = stage.hold;
  stage.hold.told = holdBars(base, held, total);
  stage.changed(side, stage.hold.told, bin);
}

function nearestBin(stage, point) {
  const places = stage.layout[stage.hold.side === "p" ? "heaps" : "holes"];
  const away = places.map(({ x, y, angle, long }) => {
    const a = (angle * Math.PI) / 180;
    const [across, along] = [(point.x - x) * Math.cos(a) + (point.y - y) * Math.sin(a), (point.x - x) * Math.sin(a) - (point.y - y) * Math.cos(a)];
    return Math.hypot(across, along - Math.min(Math.max(along, 0), long));
  });
  return away.indexOf(Math.min(...away));
}

function release(stage, event) {
  if (stage.hold?.pointer !== event.pointerId + 1) return;
  const { side, bin } = stage.hold;
  letGo(stage);
  stage.changed(side, stage.masses[side], bin); // the axis may change now
}

function key(stage, side, k, event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const total = totalOf(stage.masses[side]);
  const now = stage.masses[side][k];
  const step = (event.shiftKey ? 0.1 : 0.01) * total;
  const wanted = {
    ArrowUp: now + step, ArrowRight: now + step, ArrowDown: now - step, ArrowLeft: now - step,
    PageUp: now + 0.1 * total, PageDown: now - 0.1 * total, Home: 0, End: total,
  }[event.key];
  if (wanted === undefined) return;
  event.preventDefault();
  if (stage.hold?.pointer) return;
  if (stage.hold?.side !== side || stage.hold.bin !== k) hold(stage, side, 0, k);
  stage.hold.held.set(k, Number(wanted.toPrecision(9)));
  tell(stage, k);
}
