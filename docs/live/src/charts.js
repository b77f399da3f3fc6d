/** The small pictures: gradients, plans, heat maps, and a value round by round.  All are markup of one SVG. */

import { binName, brief, escaped, massText } from "./words.js";

function framed(width, height, label, inside) {
  return `<svg class="picture" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(label)}">${inside}</svg>`;
}

const fixed = (x) => x.toFixed(1);

/**
 * A bar a bin, up where positive.  `series` are lists of numbers with a class each; the bars of a bin stand side by side.
 */
export function gradientChart(space, series, width, label, height = 128) {
  const [left, right, head, foot] = [38, 6, 12, 18];
  const finite = series.flatMap(({ numbers }) => numbers.filter(Number.isFinite));
  const high = Math.max(...finite, 0);
  const low = Math.min(...finite, 0);
  const range = high - low || 1;
  const y = (x) => head + ((high - x) / range) * (height - head - foot);
  const column = (width - left - right) / space.bins;
  const wide = (column * (space.bins > 30 ? 0.9 : 0.7)) / series.length;
  const bars = series.flatMap(({ numbers, look }, s) => numbers.map((x, k) => {
    const at = left + (k + 0.5) * column + (s - series.length / 2) * wide;
    if (!Number.isFinite(x)) return Number.isNaN(x) ? "" : endless(at + wide / 2, x > 0 ? head : height - foot, x, look, column);
    const [top, bottom] = [Math.min(y(x), y(0)), Math.max(y(x), y(0))];
    return `<rect class="${look}" x="${fixed(at)}" y="${fixed(top)}" width="${fixed(Math.max(wide - 1, 0.8))}" height="${fixed(Math.max(bottom - top, 0.6))}" rx="1"/>`;
  }));
  const ticks = [...new Set([high, 0, low])].filter((x) => x === 0 || Math.abs(y(x) - y(0)) > 11);
  const axis = ticks.map((x) => `<text class="tick" x="${left - 6}" y="${fixed(y(x))}" dy="0.35em" style="text-anchor:end">${brief(x, 2)}</text>`);
  const zero = `<path class="axis" d="M${left} ${fixed(y(0))}H${width - right}"/>`;
  return framed(width, height, label, bars.join("") + zero + axis.join("") + binTicks(space, (k) => left + (k + 0.5) * column, column, height - 4));
}

/** A mark for an entry that is infinite. */
function endless(x, y, value, look, column) {
  return column < 12 ? "" : `<text class="tick ${look}" x="${fixed(x)}" y="${fixed(y)}" dy="-0.2em">${value > 0 ? "∞" : "−∞"}</text>`;
}

/** The names of bins in a row, cut to the room they have; of narrow columns only every second, third, ... */
function binTicks(space, at, column, y, look = "tick", [least, letter] = [26, 6.2]) {
  const every = Math.ceil(least / column);
  const room = Math.max(2, Math.floor((column * every) / letter));
  return space.binNode.map((_, k) => {
    if (k % every) return "";
    const name = binName(space, k);
    const text = name.length > room ? `${name.slice(0, room - 1)}…` : name;
    return `<text class="${look}" x="${fixed(at(k))}" y="${y}">${escaped(text)}</text>`;
  }).join("");
}

/** An arrow for each entry of a plan: on a circle across it, else from a row of heaps to a row of holes. */
export function planChart(space, entries, width, label) {
  if (space.kind === "circle") return planOnRing(space, entries, width, label);
  const height = width < 420 ? 240 : 372;
  const column = (width - 8) / space.bins;
  const at = (k) => 4 + (k + 0.5) * column;
  const moved = entries.filter(({ from, to }) => from !== null && to !== null);
  const sums = (which) => moved.reduce((all, entry) => all.set(entry[which], (all.get(entry[which]) ?? 0) + entry.mass), new Map());
  const [given, taken] = [sums("from"), sums("to")];
  const scale = Math.min((column * 0.84) / Math.max(...given.values(), ...taken.values(), 1e-300), width * 0.3);
  const [top, bottom] = [34, height - 34];
  const offsets = (order, which, sum) => {
    const used = new Map();
    return new Map(order.map((entry) => {
      const before = used.get(entry[which]) ?? 0;
      used.set(entry[which], before + entry.mass);
      return [entry, at(entry[which]) + (before + entry.mass / 2 - sum.get(entry[which]) / 2) * scale];
    }));
  };
  const starts = offsets([...moved].sort((a, b) => a.to - b.to), "from", given);
  const ends = offsets([...moved].sort((a, b) => a.from - b.from), "to", taken);
  const arrows = moved.map((entry) => ribbon(starts.get(entry), top, ends.get(entry), bottom, entry.mass * scale, entry.from === entry.to));
  const blocks = (sum, y, side) => [...sum].map(([k, mass]) =>
    `<rect class="block ${side}" x="${fixed(at(k) - (mass * scale) / 2)}" y="${y}" width="${fixed(Math.max(mass * scale, 0.8))}" height="8" rx="1"/>`);
  const numbers = moved.length > 8 ? [] : moved.map((entry, k) => {
    const s = 0.34 + 0.16 * (k % 3); // at different heights, for arrows cross
    const part = s * s * (3 - 2 * s);
    return entry.mass * scale < 0.05 ? "" : `<text class="plan-number" x="${fixed(starts.get(entry) + part * (ends.get(entry) - starts.get(entry)))}" y="${fixed(top + s * (bottom - top))}" dy="0.35em">${massText(entry.mass)}</text>`;
  });
  const names = [["p", 12], ["q", height - 4]].map(([side, y]) => binTicks(space, at, column, y, `tick ${side}`, [22, 6.4]));
  return framed(width, height, label, arrows.join("") + blocks(given, top - 10, "p").join("") + blocks(taken, bottom + 2, "q").join("") + numbers.join("") + names.join(""));
}

/** A band of constant width from (x1, y1) down to a point at (x2, y2). */
function ribbon(x1, y1, x2, y2, wide, stays) {
  const half = Math.max(wide, 1) / 2;
  const tip = Math.min(12, Math.max(6, half));
  const neck = y2 - tip;
  const bend = (y1 + neck) / 2;
  const wing = Math.max(half, 4);
  const path = `M${fixed(x1 - half)} ${y1}C${fixed(x1 - half)} ${fixed(bend)} ${fixed(x2 - half)} ${fixed(bend)} ${fixed(x2 - half)} ${fixed(neck)}`
    + `L${fixed(x2 - wing)} ${fixed(neck)}L${fixed(x2)} ${y2}L${fixed(x2 + wing)} ${fixed(neck)}L${fixed(x2 + half)} ${fixed(neck)}`
    + `C${fixed(x2 + half)} ${fixed(bend)} ${fixed(x1 + half)} ${fixed(bend)} ${fixed(x1 + half)} ${y1}Z`;
  return `<path class="ribbon${stays ? " stays" : ""}" d="${path}"/>`;
}

function planOnRing(space, entries, width, label) {
  const size = Math.min(width, 380);
  const [cx, cy, r] = [width / 2, size / 2, size / 2 - 26];
  const on = (k, radius) => {
    const a = (2 * Math.PI * k) / space.bins;
    return { x: cx + radius * Math.sin(a), y: cy - radius * Math.cos(a) };
  };
  const most = Math.max(...entries.map(({ mass }) => mass), 1e-300);
  const parts = entries.filter(({ from, to }) => from !== null && to !== null).map(({ from, to, mass }) => {
    const wide = 1 + 11 * (mass / most);
    if (from === to) return `<circle class="ribbon stays" cx="${fixed(on(from, r - 9).x)}" cy="${fixed(on(from, r - 9).y)}" r="${fixed(wide / 2 + 1)}"/>`;
    return chordMarkup(on(from, r - 5), on(to, r - 5), on((from + to) / 2 + (Math.abs(from - to) > space.bins / 2 ? space.bins / 2 : 0), r * 0.45), wide);
  });
  const ticks = space.binNode.map((_, k) => {
    const { x, y } = on(k, r + 13);
    return space.bins > 26 && k % 5 ? "" : `<text class="tick" x="${fixed(x)}" y="${fixed(y)}" dy="0.35em">${escaped(binName(space, k).slice(0, 5))}</text>`;
  });
  return framed(width, size, label, `<circle class="edge" cx="${fixed(cx)}" cy="${fixed(cy)}" r="${fixed(r)}"/>` + parts.join("") + ticks.join(""));
}

function chordMarkup(a, b, control, wide) {
  const [dx, dy] = [b.x - control.x, b.y - control.y];
  const length = Math.hypot(dx, dy) || 1;
  const [ux, uy] = [dx / length, dy / length];
  const head = Math.max(7, wide * 0.9);
  const half = Math.max(4.5, wide * 0.85);
  const neck = { x: b.x - ux * head, y: b.y - uy * head };
  const corners = [b, { x: neck.x - uy * half, y: neck.y + ux * half }, { x: neck.x + uy * half, y: neck.y - ux * half }];
  return `<path class="chord" d="M${fixed(a.x)} ${fixed(a.y)}Q${fixed(control.x)} ${fixed(control.y)} ${fixed(neck.x)} ${fixed(neck.y)}" stroke-width="${fixed(wide)}"/>`
    + `<polygon class="ribbon" points="${corners.map(({ x, y }) => `${fixed(x)},${fixed(y)}`).join(" ")}"/>`;
}

/** A plan as a square of cells, a row a heap, a column a hole; the fuller, the darker. */
export function heatMap(space, matrix, most, look, width, label) {
  const size = Math.min(width, 300);
  const edge = 20;
  const cell = (size - edge) / space.bins;
  const left = (width - size) / 2;
  const cells = matrix.flatMap((row, i) => row.map((mass, j) => {
    const part = Math.min(mass / most, 1);
    if (!(part > 1e-4)) return "";
    return `<rect x="${fixed(left + edge + j * cell)}" y="${fixed(edge + i * cell)}" width="${fixed(cell)}" height="${fixed(cell)}" fill-opacity="${Math.sqrt(part).toFixed(3)}"/>`;
  }));
  const nothing = matrix.flat().some(Number.isNaN) ? `<text class="nothing" x="${fixed(left + edge + (size - edge) / 2)}" y="${fixed(edge + (size - edge) / 2)}">no numbers</text>` : "";
  const frame = `<rect class="frame" x="${left + edge}" y="${edge}" width="${fixed(size - edge)}" height="${fixed(size - edge)}"/>`;
  const words = `<text class="tick p" x="${left + 10}" y="${fixed(edge + (size - edge) / 2)}" transform="rotate(-90 ${left + 10} ${fixed(edge + (size - edge) / 2)})">from p</text>`
    + `<text class="tick q" x="${fixed(left + edge + (size - edge) / 2)}" y="13">to q</text>`;
  return framed(width, size + 2, label, `${frame}<g class="cells ${look}">${cells.join("")}</g>${nothing}${words}`);
}

/** Sinkhorn's value after 1, 2, ... rounds on a logarithmic axis, with those of `others` and the exact value as lines. */
export function traceChart(points, others, exact, width, label) {
  const [height, left, right, head, foot] = [210, 40, 12, 14, 32];
  const good = points.filter(({ value }) => Number.isFinite(value));
  const largest = Math.max(...good.map(({ value }) => value), 0);
  const high = Math.max(1.3 * exact, Math.min(1.1 * largest, exact > 0 ? 4 * exact : Infinity)) || 1;
  const last = Math.max(points.at(-1)?.rounds ?? 1, 2);
  const x = (rounds) => left + (Math.log(rounds) / Math.log(last)) * (width - left - right);
  const y = (value) => head + (1 - Math.min(Math.max(value / high, 0), 1)) * (height - head - foot);
  const dots = good.map(({ rounds, value }) => `<circle cx="${fixed(x(rounds))}" cy="${fixed(y(value))}" r="2.6"/>`);
  const lineOf = (some) => some.map(({ rounds, value }, k) => `${k ? "L" : "M"}${fixed(x(rounds))} ${fixed(y(value))}`).join("");
  const line = lineOf(good);
  const sound = others.filter(({ value, status }) => Number.isFinite(value) && status === "iteration_limit");
  const other = sound.length === 0 ? "" : `<path class="other-trace" d="${lineOf(sound)}"/><text class="tick" x="${fixed(x(sound.at(-1).rounds))}" y="${fixed(y(sound.at(-1).value) + 13)}" style="text-anchor:end">in float64</text>`;
  const crosses = points.filter(({ value, status }) => !Number.isFinite(value) || status !== "iteration_limit").map(({ rounds, value }) => {
    const at = `${fixed(x(rounds))} ${fixed(Number.isFinite(value) ? y(value) : y(0))}`;
    return `<path class="cross" d="M${at}m-5 -5l10 10m0 -10l-10 10"/>`;
  });
  const marks = [1, 10, 100, 1000, 10000].filter((r) => r <= last);
  if (last < 10) marks.push(last);
  const axis = marks.map((r) => `<path class="grid" d="M${fixed(x(r))} ${head}V${height - foot}"/><text class="tick" x="${fixed(x(r))}" y="${height - 17}">${r === 10000 ? "10 000" : r}</text>`).join("")
    + `<text class="tick" x="${fixed((left + width - right) / 2)}" y="${height - 2}">rounds</text>`
    + [0, high].map((v) => `<text class="tick" x="${left - 6}" y="${fixed(y(v))}" dy="0.35em" style="text-anchor:end">${brief(v, 2)}</text>`).join("");
  const level = `<path class="exact-line" d="M${left} ${fixed(y(exact))}H${width - right}"/><text class="tick exact-word" x="${width - right}" y="${fixed(y(exact) - 5)}" style="text-anchor:end">exact ${brief(exact)}</text>`;
  return framed(width, height, label, `${axis}<path class="axis" d="M${left} ${fixed(y(0))}H${width - right}"/>${level}${other}<path class="trace" d="${line}"/><g class="dots">${dots.join("")}</g>${crosses.join("")}`);
}
