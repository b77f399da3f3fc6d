/** The state of the page as a few lines for emdref. */

import { runs } from "./address.js";

/** Python that prints what the page shows. */
export function pythonOf({ space, p, q, lam, cap, float32 }) {
  const part = ([x, count]) => (count > 4 ? `*[${x}] * ${count}` : Array(count).fill(x).join(", "));
  const list = (numbers) => `[${runs(numbers).map(part).join(", ")}]`;
  const made = {
    chain: () => `emdref.Chain(gaps=${list(space.gaps)})`,
    circle: () => `emdref.Circle(gaps=${list(space.gaps)})`,
    tree: () => `emdref.Tree(${list(space.parent)}, ${list(space.cost)}, ${list(space.bins)})`,
  }[space.kind]();
  return [
    "import emdref",
    `p = ${list(p)}`,
    `q = ${list(q)}`,
    `space = ${made}`,
    "print(emdref.emd(p, q, space), emdref.emd(p, q, space, rho=2))",
    "print(emdref.emd_grad(p, q, space))",
    `run = emdref.sinkhorn(p, q, space, lam=${lam}, max_iter=${cap}, kernel="dense"${float32 ? ', dtype="float32"' : ""})`,
    "print(run.value, run.status)",
  ].join("\n");
}
