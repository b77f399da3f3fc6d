/** Numbers and names as people read them. */

const OBLIQUE = 10; // degrees
const SMALL = 1e-9; // a distance that rounding may leave
const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A number in few digits: 0.9, −1.5, 3.2 × 10⁻⁹. */
export function brief(x, digits = 3) {
  if (x === null || x === undefined) return "–";
  if (Number.isNaN(x)) return "no number";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) return withPower(x, digits);
  return minus(String(Number(x.toPrecision(digits))));
}

function withPower(x, digits) {
  const [front, power] = x.toExponential(digits - 1).split("e");
  const raised = [...power.replace("+", "")].map((c) => (c === "-" ? "⁻" : SUPERSCRIPTS[c])).join("");
  return `${minus(String(Number(front)))} × 10${raised}`;
}

function minus(text) {
  return text.replace("-", "−");
}

/** A mass on a bar: at most two digits behind the point, three where it is small. */
export function massText(x) {
  if (x === 0) return "0";
  if (x >= 10 || x < 0.0005) return brief(x, 2);
  return x.toFixed(x < 0.0995 ? 3 : 2).replace(/0+$/, "").replace(/\.$/, "");
}

/** Text that came from an address, safe inside markup. */
export function escaped(text) {
  return String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** A number inside markup: short to read, whole in `value` for programs. */
export function dataMarkup(x, digits) {
  return `<data value="${x}">${brief(x, digits)}</data>`;
}

/** The name of a bin. */
export function binName(space, bin) {
  return bin === null ? "the root" : space.labels[space.binNode[bin]];
}

/** "bin 3" for numbers, else the name: "lion". */
export function spokenBin(space, bin) {
  const name = binName(space, bin);
  return /^\d+$/.test(name) ? `bin ${name}` : name;
}

/** What a status of Sinkhorn's iteration means for the number beside it. */
export function statusWords(run, exact, degrees, cap, total) {
  const share = run.marginalError / total;
  const off = brief(share, 2);
  const rounds = cap === 1 ? "1 round" : `${cap} rounds`;
  const gap = exact > 0 ? run.value / exact - 1 : run.value > SMALL ? Infinity : 0;
  switch (run.status) {
    case "nan":
      return ["bad", "Broken", `A division of 0 by 0 has left no number at all${run.failedAt > 0 ? `, from round ${run.failedAt} on` : ""}.`];
    case "overflow":
      return ["bad", "Overflow", "The factors grew beyond the largest number of this precision. The result is worthless."];
    case "underflow":
      return ["bad", "Underflow",
        share > 0.001
          ? `exp(−λ·distance − 1) is 0 for distant bins, so that earth cannot get there. ${off} of the earth is misplaced.`
          : "exp(−λ·distance − 1) is 0 for distant bins. The value still looks right, but the gradient is infinite."];
    default:
  }
  if (share > 0.01) {
    return ["warn", "Stopped too early", `After ${rounds}, ${off} of the earth is misplaced. A higher cap or a smaller λ helps.`];
  }
  if (Math.abs(gap) > 0.02) {
    if (exact === 0) return ["warn", "Settled, but smeared", `p and q are equal, and ${brief(run.value)} apart all the same. A larger λ comes closer.`];
    const words = gap > 0 ? `${brief(100 * gap, 2)}% above` : `${brief(-100 * gap, 2)}% below`;
    return ["warn", "Settled, but smeared", `The iteration has settled, but its value is ${words} the exact one. A larger λ comes closer.`];
  }
  if (degrees > OBLIQUE) {
    return ["warn", "Close in value alone", `The value is near the exact one, but the gradient points ${brief(degrees, 2)}° away from the exact one.`];
  }
  return ["good", "Close", "The iteration has settled near the exact value."];
}
