"""Time and memory of a Sinkhorn iteration against the size of the space: the O(V) kernel and the dense matrix.

Chains of N bins and random binary trees with N leaves (2N - 1 nodes), softmax pairs with logits of spread 2, lambda
such that lambda max(M) = 20, one thread.  Seconds an iteration and pair are the slope between two iteration counts of
one call, each the least of three measurements.  Memory is by how much the process's peak grows during the call, in a
process of its own (the space and the pairs are there before).  64 pairs up to 10,000 bins, 4 above.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

import emdref
from analysis import fresh, style
from analysis.cells import Cell, Rows, grid
from analysis.script import Claim, Options, must
from analysis.targets import softmax

DTYPES = ("float32", "float64")
BINS = {"chain": (1000, 10_000, 100_000, 1_000_000), "tree": (1000, 10_000, 100_000, 500_000)}
DENSE_BINS = (300, 1000, 3000, 10_000)
TOY_BINS = {"chain": (1000, 10_000), "tree": (1000, 10_000)}
WIDE, REPEATS = 10_000, 3
LOOKS = {
    ("chain", "space linear"): (style.BLUE, "o-"),
    ("tree", "space linear"): (style.SKY, "s-"),
    ("chain", "space log"): (style.GREEN, "o--"),
    ("tree", "space log"): (style.BLACK, "s--"),
    ("chain", "dense linear"): (style.ORANGE, "^:"),
}


def cells(options: Options) -> list[Cell]:
    """A process a cell, one after the other."""
    bins = TOY_BINS if options.toy else BINS
    dense = (300, 1000) if options.toy else DENSE_BINS
    sizes = [{"space": name, "n": n} for name in bins for n in bins[name]]
    dtypes = DTYPES[1:] if options.toy else DTYPES
    work = [size | way for size in sizes for way in grid(kernel=["space"], domain=["linear", "log"], dtype=dtypes)]
    work += grid(space=["chain"], n=dense, kernel=["dense"], domain=["linear"], dtype=dtypes)
    return [Cell(f"{__name__}:compute", one | {"seed": options.seed}, 2 + one["n"] / 2e5, alone=True) for one in work]


def compute(**parameters) -> Rows:
    """One row, measured in a process of its own."""
    return [fresh.call(f"{__name__}:measure", **parameters)]


def measure(space: str, n: int, kernel: str, domain: str, dtype: str, seed: int) -> dict:
    """Seconds an iteration and pair, and bytes, of this process."""
    from emdref.kernels import threads

    rng = np.random.default_rng(seed)
    where = _space(space, n, rng)
    rows = 64 if n <= WIDE else 4
    p, q = (softmax(2.0 * rng.normal(size=(rows, n))).astype(dtype) for _ in "pq")
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    how = {"kernel": kernel, "domain": domain}
    with threads.at_most(1):
        emdref.sinkhorn(p[:1, :2] * 0 + 0.5, p[:1, :2] * 0 + 0.5, emdref.Chain(2), 1.0, max_iter=1, **how)  # compiles
        before = fresh.peak_bytes()
        seconds = _slope(lambda steps: emdref.sinkhorn(p, q, where, 20 / where.diameter, max_iter=steps, **how))
    return {
        "space": space, "bins": n, "nodes": where.n_nodes, "kernel": kernel, "domain": domain, "dtype": dtype,
        "rows": rows, "seconds": seconds / rows, "bytes": fresh.peak_bytes() - before,
    }  # fmt: skip


def _slope(run) -> float:
    """Seconds by which one more iteration lengthens a call, from calls long enough for the clock."""
    start = time.perf_counter()
    run(1)
    steps = int(np.clip(0.3 / (time.perf_counter() - start), 2, 100))
    spent: dict[int, list[float]] = {1: [], 1 + steps: []}
    for count in [*spent] * REPEATS:
        start = time.perf_counter()
        run(count)
        spent[count].append(time.perf_counter() - start)
    return (min(spent[1 + steps]) - min(spent[1])) / steps


def _space(name: str, n: int, rng: np.random.Generator) -> emdref.Chain | emdref.Tree:
    """A chain, or a binary tree grown by splitting random leaves, with costs between 1 and 2."""
    if name == "chain":
        return emdref.Chain(gaps=1 + rng.random(n - 1))
    parent, leaves = np.full(2 * n - 1, -1), [0]
    for node in range(1, 2 * n - 1, 2):
        at = int(rng.integers(len(leaves)))
        parent[node : node + 2] = leaves[at]
        leaves[at] = node
        leaves.append(node + 1)
    return emdref.Tree(parent, 1 + rng.random(2 * n - 1))


def _way(table: pd.DataFrame) -> pd.Series:
    return table.kernel + " " + table.domain


def _growth(table: pd.DataFrame, way: str, column: str) -> dict[str, float]:
    """By space: the exponent of the size with which the column grows over the three largest sizes, float64."""
    rows = table[(_way(table) == way) & (table.dtype == "float64")]
    exponents = {}
    for space, some in rows.groupby("space"):
        last = some.sort_values("nodes").tail(3)
        exponents[space] = float(np.polyfit(np.log(last.nodes), np.log(np.maximum(last[column], 1e-12)), 1)[0])
    return exponents


def check(table: pd.DataFrame) -> None:
    """Every measurement is one."""
    must((table.seconds > 0).all(), "a time is not positive: the machine was too busy to measure")
    must((table["bytes"] >= 0).all(), "a peak shrank")


def claims(table: pd.DataFrame) -> list[Claim]:
    """Linear growth, and what that means beside the matrix."""
    return [_linear(table), _memory(table), _ratio(table)]


def _linear(table: pd.DataFrame) -> Claim:
    found = {way: _growth(table, way, "seconds") for way in ("space linear", "space log", "dense linear")}
    listed = "; ".join(f"{way}: " + ", ".join(f"{s} {e:.2f}" for s, e in by.items()) for way, by in found.items())
    space = [e for way in ("space linear", "space log") for e in found[way].values()]
    return Claim(
        "found here, not in the paper", "an iteration takes time linear in V, the matrix N squared",
        f"exponents of growth over the largest sizes, float64: {listed} (caches make the small sizes cheaper)",
        max(space) < 1.35,
    )  # fmt: skip


def _memory(table: pd.DataFrame) -> Claim:
    rows = table[(table.kernel == "space") & (table.dtype == "float64")]
    largest = rows[rows.nodes >= 0.9 * rows.nodes.max()]
    each = (largest["bytes"] / largest.nodes / largest.rows).max()
    growth = max(e for way in ("space linear", "space log") for e in _growth(table, way, "bytes").values())
    return Claim(
        "found here, not in the paper", "memory is linear in V, no matrix is formed",
        f"at most {each:.0f} bytes a node and pair at {rows.nodes.max():,} nodes, growing with exponent {growth:.2f}",
        growth < 1.35,
    )  # fmt: skip


def _ratio(table: pd.DataFrame) -> Claim:
    parts, holds = [], True
    for n in (1000, 10_000):
        for dtype in DTYPES:
            rows = table[(table.bins == n) & (table.dtype == dtype)]
            dense = rows[rows.kernel == "dense"].seconds
            for way in ("linear", "log"):
                own = rows[(rows.kernel == "space") & (rows.domain == way) & (rows.space == "tree")].seconds
                if len(dense) and len(own):
                    ratio = float(own.iloc[0] / dense.iloc[0])
                    parts.append(f"{ratio:.2g} (N = {n}, {dtype}, {way})")
                    holds &= ratio < 1 or way == "log"
    return Claim(
        "found here, not in the paper", "an iteration by the tree is cheaper than one by the matrix",
        f"seconds by the tree over seconds by the matrix, 64 pairs, one thread: {', '.join(parts)}", bool(holds),
    )  # fmt: skip


def draw(table: pd.DataFrame):
    """Time and memory against size, float64."""
    fig, (left, right) = style.figure(style.PAGE, 2.9, 1, 2, sharex=True)
    rows = table[table.dtype == "float64"]
    for (space, way), (colour, line) in LOOKS.items():
        some = rows[(_way(rows) == way) & (rows.space == space)].sort_values("nodes")
        label = "matrix, linear" if way.startswith("dense") else f"{space}, {way.split()[1]}"
        left.plot(some.nodes, some.seconds, line, color=colour, markersize=3.5, label=label)
        per = some["bytes"] / some.rows
        right.plot(some.nodes, per.where(per > 0), line, color=colour, markersize=3.5)
    for axis, slope_at in ((left, rows.seconds.min()), (right, 100.0 * rows.nodes.min())):
        size = np.array([rows.nodes.min(), rows.nodes.max()])
        axis.plot(size, slope_at * size / size[0], color=style.GREY, linewidth=0.7, label="slope 1")
        axis.set(xscale="log", yscale="log", xlabel="nodes V (matrix: bins N)")
    left.set(ylabel="time / (iteration · pair) (s)")
    right.set(ylabel="memory of the call / pair (bytes)")
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=6, columnspacing=1.0)
    return fig
