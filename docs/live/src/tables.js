/** Every number of the page as tables, which say what the pictures show. */

import { binName, dataMarkup, escaped } from "./words.js";

function tableOf(caption, heads, rows) {
  const head = heads.map((text) => `<th scope="col">${text}</th>`).join("");
  const body = rows.map(([first, ...cells]) => `<tr><th scope="row">${first}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`);
  return `<caption>${caption}</caption><thead><tr>${head}</tr></thead><tbody>${body.join("")}</tbody>`;
}

/** p, q, every gradient and Sinkhorn's, by bin. */
export function binsTable(space, p, q, gradients, gauges, sinkhornGradient) {
  const heads = ["Bin", "p", "q", ...gauges.flatMap(({ name }) => [`EMD, ${name}`, `EMD², ${name}`]), "Sinkhorn"];
  const rows = space.binNode.map((_, k) => {
    const cells = gauges.flatMap(({ key }) => [gradients[key][1][k], gradients[key][2][k]]);
    return [escaped(binName(space, k)), ...[p[k], q[k], ...cells, sinkhornGradient[k]].map((x) => dataMarkup(x, 5))];
  });
  return tableOf("Masses of p and q, and the gradients with respect to p", heads, rows);
}

/** Cost and flow by edge; on a circle the flow of EMD² is another. */
export function edgesTable(space, phi1, phi2) {
  const round = space.kind === "circle";
  const heads = ["Edge", "cost", round ? "flow of EMD" : "flow", ...(round ? ["flow of EMD²"] : [])];
  const rows = space.edges.map(({ name, cost }, e) =>
    [escaped(name), dataMarkup(cost, 5), dataMarkup(phi1[e], 5), ...(round ? [dataMarkup(phi2[e], 5)] : [])]);
  return tableOf("A positive flow goes the way the edge is named, a negative one goes back", heads, rows);
}

/** What goes where. */
export function planTable(space, entries, distances) {
  const rows = entries.map(({ from, to, mass }) => {
    const way = from === null || to === null ? null : distances[from][to];
    return [escaped(binName(space, from)), escaped(binName(space, to)), dataMarkup(mass, 5), way === null ? "–" : dataMarkup(way, 5)];
  });
  return tableOf("An optimal plan of EMD", ["From", "to", "mass", "distance"], rows);
}

/** Sinkhorn's value after some numbers of rounds. */
export function traceTable(points) {
  const rows = points.map(({ rounds, value, marginalError, status }) =>
    [dataMarkup(rounds), dataMarkup(value, 6), dataMarkup(marginalError), status.replace("_", " ")]);
  return tableOf("Sinkhorn's value after some rounds", ["Rounds", "value", "marginal error", "status"], rows);
}
