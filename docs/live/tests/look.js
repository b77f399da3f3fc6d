// What page_test.py asks the page in the browser.

const all = (query) => [...document.querySelectorAll(query)];

/** Foot and far end of a bar's track in the window's pixels; the picture is brought into the window. */
function barEnds(side, bin) {
  const track = document.querySelector(`.bar[data-side=${side}][data-bin="${bin}"] .track`);
  track.ownerSVGElement.scrollIntoView({ block: "center" });
  const turned = track.getScreenCTM();
  const [foot, end] = [0, track.getBBox().y].map((y) => new DOMPoint(0, y).matrixTransform(turned));
  return [foot.x, foot.y, end.x, end.y];
}

/** The numbers of a table, a row a row, as their full texts. */
function numbersOf(id) {
  const full = (cell) => cell.querySelector("data")?.getAttribute("value") ?? "NaN";
  return [...document.getElementById(id).tBodies[0].rows].map((row) => [...row.cells].map(full));
}

/** What a screen reader is told, and what is smaller than a finger needs. */
function namesAndRoles() {
  const sliders = all("[role=slider]").map((bar) => [
    bar.getAttribute("aria-label"), bar.tabIndex,
    ...["now", "min", "max"].map((key) => Number(bar.getAttribute(`aria-value${key}`))), bar.getAttribute("aria-valuetext"),
  ]);
  const ids = all("[id]").map(({ id }) => id);
  const named = (node) => node.textContent.trim() || node.ariaLabel || node.labels?.length;
  const targets = all("button, summary, label.chip, input[type=range], .switch, .bar .track").filter((node) => node.getClientRects().length);
  const boxes = targets.map((node) => [node.className.baseVal ?? node.className, node.getBoundingClientRect()]);
  return {
    sliders,
    twice: ids.filter((id, k) => ids.indexOf(id) !== k),
    headings: all("h1, h2, h3").map(({ tagName }) => tagName),
    landmarks: ["main", "nav", "header", "footer"].map((name) => all(name).length),
    labelled: all("[aria-labelledby]").every((node) => document.getElementById(node.getAttribute("aria-labelledby"))),
    nameless: all("button, input, summary, svg[role]").filter((node) => !named(node)).length,
    tables: all("table").every((table) => table.caption && table.querySelector("th[scope=col]") && table.querySelector("th[scope=row]")),
    small: boxes.filter(([, { width, height }]) => width < 24 || height < 24).map(([name, { width, height }]) => `${name} ${width} x ${height}`),
    spoken: document.getElementById("spoken").getAttribute("aria-live"),
    language: document.documentElement.lang,
  };
}

/** The luminance of a colour written rgb(...), by WCAG 2. */
function luminance(colour) {
  const parts = colour.match(/[\d.]+/g).slice(0, 3).map((x) => x / 255);
  const [r, g, b] = parts.map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrastOf(a, b) {
  const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (light + 0.05) / (dark + 0.05);
}

/** The colour behind a node. */
function behind(node) {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (!colour.endsWith(", 0)")) return colour;
  }
  return "rgb(255, 255, 255)";
}

/** Texts and bars whose contrast is less than WCAG AA asks for. */
function faintOnes() {
  const own = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  const texts = all("body *").filter((node) => own(node) && node.getClientRects().length && !node.closest("script, style, noscript"));
  const faint = texts.filter((node) => {
    const style = getComputedStyle(node);
    const colour = node instanceof SVGElement ? style.fill : style.color;
    return contrastOf(colour, behind(node)) < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5);
  });
  const bars = ["p", "q"].filter((side) => {
    const bar = document.querySelector(`.bar.${side}`);
    const [fill, track] = [".fill", ".track"].map((part) => getComputedStyle(bar.querySelector(part)).fill);
    return Math.min(contrastOf(fill, track), contrastOf(fill, behind(bar))) < 3;
  });
  return [...faint.map((node) => `${node.tagName} ${node.textContent.slice(0, 30)}`), ...bars];
}
