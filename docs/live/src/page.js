/** The page: its state, what is computed from it, and where it is shown. */

import { decode, encode } from "./address.js";
import { answers } from "./answers.js";
import { gradientChart, heatMap, planChart, traceChart } from "./charts.js";
import { compareGradients, lookedAt, traceOf } from "./comparison.js";
import { GAUGES } from "./emd.js";
import { totalOf } from "./masses.js";
import { PRESETS, STARTS } from "./presets.js";
import { pythonOf } from "./python.js";
import { sinkhornOnMatrix } from "./sinkhorn.js";
import { distances, spaceOf } from "./spaces.js";
import { makeStage, showStage } from "./stage.js";
import { binsTable, edgesTable, planTable, traceTable } from "./tables.js";
import { brief, dataMarkup, spokenBin, statusWords } from "./words.js";

const GAUGE_WORDS = {
  zero_sum: ["zero sum", "The entries add up to 0: a step along it moves earth and makes none. This is the papers' choice."],
  raw: ["raw", "Each bin is changed alone. The entries depend on where the root is, by one constant."],
  scaled: ["scaled", "The zero-sum gradient times the number of bins, as the ICML paper prints it."],
  normalized: ["normalized", "The derivative if p is first divided by its total."],
};
const GAUGE_LIST = GAUGES.map((key) => ({ key, name: GAUGE_WORDS[key][0] }));
const CAPS = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000];
const LAMS = [-1, 0, 1, 2].flatMap((power) => [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8].map((x) => Number((x * 10 ** power).toPrecision(2)))).concat(1000);
const HEAVY = 3e6; // multiplications of Sinkhorn beyond which it waits until the hand rests
const REST = 160; // ms
const EXAMPLES = [...STARTS, ...PRESETS];
const TOLERANCE = 1e-9; // of the totals, what rounding may leave
const $ = (id) => document.getElementById(id);

let state = null;
let space = null;
let cost = null; // its matrix of distances
let spaceKey = "";
let waiting = 0; // timers: of Sinkhorn, of the address, of the spoken sentence
let addressing = 0;
let speaking = 0;
let drawing = 0;
let exact = null; // the latest answers
const stage = makeStage($("stage"), barMoved);

/** Takes a state, and shows it at the next frame. */
function take(next, spoken = "") {
  state = next;
  const key = JSON.stringify(next.space);
  if (key !== spaceKey) {
    spaceKey = key;
    space = spaceOf(next.space);
    cost = distances(space);
  }
  drawing ||= requestAnimationFrame(() => {
    drawing = 0;
    showAll();
  });
  clearTimeout(addressing);
  addressing = setTimeout(() => history.replaceState(null, "", encode(state)), 200); // browsers limit how often
  if (spoken) say(spoken);
}

function barMoved(side, masses, bin) {
  if (stage.space !== space) return; // a bar of the space before, in the frame in which another is chosen
  take({ ...state, [side]: masses }, `${side} at ${spokenBin(space, bin)} is ${brief(masses[bin])}.`);
}

/** Shows another example; Back returns to what was there. */
function startWith(next) {
  clearTimeout(addressing);
  history.replaceState(null, "", encode(state));
  history.pushState(null, "", encode(next));
  $("message").textContent = "";
  take(next, "Another example.");
}

function readAddress() {
  const { state: next, message } = decode(location.hash, STARTS[0].state);
  take(next, message);
  $("message").textContent = message;
}

/** Says, when the hand rests, what has become of the numbers. */
function say(first) {
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    const words = exact ? `EMD is ${brief(exact.values[1])}, EMD squared ${brief(exact.values[2])}.` : "The totals differ, so there is no distance.";
    $("spoken").textContent = `${first} ${words} ${$("status").textContent ? `Sinkhorn: ${$("status").textContent}.` : ""}`;
  }, 700);
}

function showAll() {
  const { p, q } = state;
  const [totalP, totalQ] = [totalOf(p), totalOf(q)];
  const equal = Math.abs(totalP - totalQ) <= TOLERANCE * Math.max(totalP, totalQ);
  exact = equal ? answers(space, p, q) : null;
  document.body.classList.toggle("differs", !equal);
  showChoices();
  showStage(stage, space, p, q, exact && exact.flows[space.kind === "circle" ? Math.min(state.rho, 2) : 1]);
  showReadings(totalP, totalQ, equal);
  if (exact) {
    showGradients();
    showPlan();
    $("edges-table").innerHTML = edgesTable(space, exact.flows[1], exact.flows[2]);
  }
  clearTimeout(waiting);
  const work = space.bins ** 2 * state.cap;
  document.body.toggleAttribute("data-waiting", exact !== null && work > HEAVY);
  if (exact && work > HEAVY) waiting = setTimeout(showSinkhorn, REST);
  else if (exact) showSinkhorn();
}

function showChoices() {
  for (const chip of document.querySelectorAll("[data-start]")) {
    chip.setAttribute("aria-pressed", String(chip.dataset.start === startOf(state)));
  }
  for (const radio of document.querySelectorAll("[name=gauge]")) radio.checked = radio.value === state.gauge;
  for (const radio of document.querySelectorAll("[name=rho]")) radio.checked = Number(radio.value) === state.rho;
  $("gauge-words").textContent = GAUGE_WORDS[state.gauge][1];
  $("rhos").hidden = space.kind !== "circle";
  const { text, source } = EXAMPLES.find(({ id }) => id === startOf(state)) ?? { text: "A pair from the address.", source: "" };
  $("about").textContent = text;
  $("source").textContent = source;
}

let started = null; // {parts, id}: the example that was last seen as it is

/** Which example or beginning is on the stage, however its bars were moved since; "" for another space. */
function startOf({ space: parts, p, q }) {
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const exactly = EXAMPLES.find(({ state: begin }) => same(begin.space, parts) && same(begin.p, p) && same(begin.q, q));
  if (exactly) started = { parts, id: exactly.id };
  return started && same(started.parts, parts) ? started.id : "";
}

function showReadings(totalP, totalQ, equal) {
  $("emd").innerHTML = equal ? dataMarkup(exact.values[1], 4) : "–";
  $("reading-lam").textContent = `λ = ${brief(state.lam)}, cap ${state.cap}${state.float32 ? ", float32" : ""}`;
  $("emd2").innerHTML = equal ? dataMarkup(exact.values[2], 4) : "–";
  $("totals").innerHTML = `<span class="p">p holds ${dataMarkup(totalP)}</span>, <span class="q">q holds ${dataMarkup(totalQ)}</span>. `
    + "When you change a bar, the others of its colour give way in proportion, and the total stays.";
  $("unequal").hidden = equal;
  $("unequal-words").textContent = equal ? "" : "The totals differ, so heaps and holes do not match, and there is no distance. Nothing is rescaled unless you say so.";
  if (!equal) $("reading-sinkhorn").textContent = "–";
  $("python").textContent = pythonOf(state);
}

const widths = new Map(); // of what charts stand in, by id: asked for when the window changes, for it takes long

function widthOf(id) {
  if (!widths.get(id)) widths.set(id, $(id).clientWidth);
  return Math.max(Math.floor(widths.get(id)), 140);
}

function showGradients() {
  for (const rho of [1, 2]) {
    const name = rho === 1 ? "EMD" : "EMD²";
    const series = [{ numbers: exact.gradients[state.gauge][rho], look: "grad" }];
    $(`gradient${rho}`).innerHTML = gradientChart(space, series, widthOf("gradient1"), `Gradient of ${name} by bin, ${GAUGE_WORDS[state.gauge][0]}; the table of bins has its numbers`);
  }
}

function showPlan() {
  const dust = TOLERANCE * totalOf(state.p); // what rounding of the masses leaves; the table has it
  const seen = exact.plan.filter(({ mass }) => mass > dust);
  const moved = seen.filter(({ from, to }) => from !== to);
  const stays = totalOf(seen.filter(({ from, to }) => from === to).map(({ mass }) => mass));
  $("plan").innerHTML = planChart(space, seen, widthOf("plan"), "An optimal plan as arrows; the table of the plan has its numbers");
  const arrows = moved.length === 1 ? "1 arrow moves" : `${moved.length} arrows move`;
  $("plan-words").innerHTML = `${arrows} ${dataMarkup(totalOf(moved.map(({ mass }) => mass)))} of earth. ${dataMarkup(stays)} stays where it is.`;
  $("plan-table").innerHTML = planTable(space, exact.plan, cost);
}

function showSinkhorn() {
  const { p, q, lam, cap, float32, gauge } = state;
  document.body.removeAttribute("data-waiting");
  const options = { lam, cap, checkpoints: lookedAt(cap) };
  const run = sinkhornOnMatrix(cost, p, q, { ...options, float32 });
  const trace = traceOf(run);
  const { ours, theirs, degrees } = compareGradients(exact.gradients.raw[1], run.gradient, p);
  const [look, status, words] = statusWords(run, exact.values[1], degrees, cap, totalOf(p));
  $("lam").value = nearest(LAMS, lam);
  $("lam").setAttribute("aria-valuetext", `lambda ${brief(lam)}`);
  $("lam-shown").textContent = brief(lam);
  $("cap").value = nearest(CAPS, cap);
  $("cap").setAttribute("aria-valuetext", cap === 1 ? "1 round" : `${cap} rounds`);
  $("cap-shown").textContent = cap.toLocaleString("en").replace(",", " ");
  $("float32").checked = float32;
  $("verdict").dataset.look = look;
  $("verdict").dataset.status = run.status;
  $("status").textContent = status;
  $("status-words").textContent = words;
  $("sinkhorn-value").innerHTML = dataMarkup(run.value, 4);
  $("reading-sinkhorn").innerHTML = `${dataMarkup(run.value, 4)}<span class="mark" data-look="${look}" title="${status}"></span>`;
  $("sinkhorn-exact").innerHTML = dataMarkup(exact.values[1], 4);
  $("ratio").innerHTML = exact.values[1] > 0 ? dataMarkup(run.value / exact.values[1], 4) : "–";
  $("angle").innerHTML = degrees === null ? "none" : `${dataMarkup(degrees, 3)}°`;
  $("marginal").innerHTML = dataMarkup(run.marginalError);
  const beside = float32 && space.bins ** 2 * cap < HEAVY / 4 ? traceOf(sinkhornOnMatrix(cost, p, q, options)) : [];
  $("trace").innerHTML = traceChart(trace, beside, exact.values[1], widthOf("trace"), `Sinkhorn's value round by round beside the exact ${brief(exact.values[1])}`);
  const series = [{ numbers: ours, look: "grad" }, { numbers: theirs, look: "sink" }];
  $("sinkhorn-gradient").innerHTML = gradientChart(space, series, widthOf("sinkhorn-gradient"), "The zero-sum gradients of EMD and of Sinkhorn by bin", 210);
  $("infinite").textContent = p.some((mass) => mass === 0) ? "Where p is 0, Sinkhorn's gradient is −∞." : "";
  showHeatMaps(run.plan);
  $("bins-table").innerHTML = binsTable(space, p, q, exact.gradients, GAUGE_LIST, run.gradient);
  $("trace-table").innerHTML = traceTable(trace);
}

/** The place of the number in a list that is nearest in ratio. */
function nearest(list, x) {
  const away = list.map((y) => Math.abs(Math.log(y / x)));
  return away.indexOf(Math.min(...away));
}

function showHeatMaps(smeared) {
  const matrix = Array.from({ length: space.bins }, () => Array(space.bins).fill(0));
  for (const { from, to, mass } of exact.plan) if (from !== null && to !== null) matrix[from][to] += mass;
  const most = Math.max(...matrix.flat());
  $("heat-exact").innerHTML = heatMap(space, matrix, most, "exact", widthOf("heat-exact"), "The exact plan, heaps by holes");
  $("heat-sinkhorn").innerHTML = heatMap(space, smeared, most, "smeared", widthOf("heat-sinkhorn"), "Sinkhorn's plan, heaps by holes");
}

function makeChips() {
  const chip = ({ id, title }) => `<button type="button" class="chip" data-start="${id}" aria-pressed="false">${title}</button>`;
  $("spaces").innerHTML = STARTS.map(chip).join("");
  $("presets").innerHTML = PRESETS.map(chip).join("");
  for (const button of document.querySelectorAll("[data-start]")) {
    const begin = EXAMPLES.find(({ id }) => id === button.dataset.start).state;
    button.addEventListener("click", () => startWith({ ...begin, gauge: state.gauge }));
  }
  const radio = (name, value, title) => `<label class="chip"><input type="radio" name="${name}" value="${value}"> ${title}</label>`;
  $("gauges").innerHTML = GAUGE_LIST.map(({ key, name }) => radio("gauge", key, name)).join("");
  $("gauges").addEventListener("change", ({ target }) => take({ ...state, gauge: target.value }));
  $("rhos").addEventListener("change", ({ target }) => take({ ...state, rho: Number(target.value) }));
}

function makeControls() {
  $("lam").addEventListener("input", ({ target }) => {
    const lam = LAMS[Number(target.value)];
    take({ ...state, lam }, `Lambda is ${brief(lam)}.`);
  });
  $("cap").addEventListener("input", ({ target }) => {
    const cap = CAPS[Number(target.value)];
    take({ ...state, cap }, `The cap is ${cap}.`);
  });
  $("float32").addEventListener("change", ({ target }) => {
    take({ ...state, float32: target.checked }, target.checked ? "float32." : "float64.");
  });
  $("swap").addEventListener("click", () => take({ ...state, p: state.q, q: state.p }, "p and q have changed places."));
  $("equalise").addEventListener("click", () => {
    const unit = (masses) => masses.map((mass) => mass / totalOf(masses));
    take({ ...state, p: unit(state.p), q: unit(state.q) }, "p and q hold 1 each now.");
  });
  $("copy").addEventListener("click", copyLink);
}

async function copyLink() {
  clearTimeout(addressing);
  history.replaceState(null, "", encode(state));
  try {
    await navigator.clipboard.writeText(location.href);
    $("copied").textContent = "The link is in the clipboard.";
  } catch { // a browser that does not let this page write there
    $("copied").textContent = "This browser does not let the page copy: take the link from the address bar.";
  }
}

makeChips();
makeControls();
$("home").hidden = !location.protocol.startsWith("http"); // the file may lie anywhere, on a site the others are beside it
readAddress();
addEventListener("popstate", readAddress);
new ResizeObserver(() => {
  widths.clear();
  take(state);
}).observe($("stage"));
