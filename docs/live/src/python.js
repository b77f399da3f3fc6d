/** The state of the page as a few lines for emdref. */

/** Python that prints what the page shows. */
export function pythonOf({ space, p, q, lam, cap, float32 }) {
  const list = (numbers) => `[${runsOf(numbers)}]`;
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

/** Numbers with commas; many equal ones in a row as *[x] * k. */
function runsOf(numbers) {
  const parts = [];
  for (let k = 0; k < numbers.length; ) {
    let end = k + 1;
    while (end < numbers.length && numbers[end] === numbers[k]) end++;
    parts.push(end - k > 4 ? `*[${numbers[k]}] * ${end - k}` : Array(end - k).fill(numbers[k]).join(", "));
    k = end;
  }
  return parts.join(", ");
}
