"""Time and memory of a Sinkhorn iteration against the size of the space: the O(V) kernel and the dense matrix.

Chains of N bins and random binary trees with N leaves (2N - 1 nodes), softmax pairs with logits of spread 2, lambda
such that lambda max(M) = 20, one thread.  Seconds an iteration and pair are the slope between two iteration counts of
one call, each the lesser of two measurements (calls over 3 s: of one).  Memory is by how much the process grows at most
during the call, in a process of its own (the space and the pairs are there before).  Batches of 4 pairs show the
growth, batches of 64 the ratio to the matrix.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.engine import style
from analysis.engine.cells import Cell, grid
from analysis.engine.claims import Claim
from analysis.engine.reproduction import exact, timing
from analysis.engine.script import Options, must
from analysis.timing import sinkhorn_growth

DTYPES = ("float32", "float64")
KEY = ("space", "bins", "nodes", "kernel", "domain", "dtype", "rows")
KINDS = exact(*KEY) | timing("seconds", "bytes")
BINS = {"chain": (1000, 10_000, 100_000, 1_000_000), "tree": (500, 5000, 50_000, 500_000)}
TOY_BINS = {"chain": (1000, 10_000), "tree": (500, 5000)}
BESIDE = (1000, 10_000)  # bins at which the tree stands beside the matrix
NARROW, WIDE = 4, 64  # pairs
SOURCE = "Found here, not in the paper"
LOOKS = {
    ("chain", "space linear"): (style.BLUE, "o-"),
    ("tree", "space linear"): (style.SKY, "s-"),
    ("chain", "space log"): (style.GREEN, "o--"),
    ("tree", "space log"): (style.BLACK, "s--"),
    ("tree", "dense linear"): (style.ORANGE, "^:"),
}


def cells(options: Options) -> list[Cell]:
    """A process a cell, one after the other."""
    bins, beside = (TOY_BINS, BESIDE[:1]) if options.toy else (BINS, BESIDE)
    both = {"kernel": ["space"], "domain": ["linear", "log"]}
    work = [one for name in bins for one in grid(space=[name], n=bins[name], **both, dtype=DTYPES[1:], rows=[NARROW])]
    work += grid(space=["tree"], n=beside, **both, dtype=DTYPES, rows=[WIDE])
    work += grid(space=["tree"], n=(300, *beside), kernel=["dense"], domain=["linear"], dtype=DTYPES, rows=[WIDE])
    return [Cell(sinkhorn_growth.FUNCTION, one | {"seed": options.seed}, _seconds(**one), alone=True) for one in work]


def _seconds(n: int, kernel: str, **_) -> float:
    return 3 + (n / 5e4 if kernel == "space" else n / 1e3)


def _way(table: pd.DataFrame) -> pd.Series:
    return table.kernel + " " + table.domain


def _each(table: pd.DataFrame, column: str) -> dict[str, pd.Series]:
    """The column per node and pair against nodes, float64 and one batch size, by space and domain."""
    rows = table[(table.kernel == "space") & (table.rows == NARROW) & (table.dtype == "float64")]
    rows = rows.assign(each=rows[column] / rows.nodes / (rows.rows if column == "bytes" else 1))
    groups = rows.sort_values("nodes").groupby(["space", "domain"])
    return {f"{space}, {domain}": some.set_index("nodes").each for (space, domain), some in groups}


def check(table: pd.DataFrame) -> None:
    """Every measurement is one."""
    must((table.seconds > 0).all(), "a time is not positive: the machine was too busy to measure")


def claims(table: pd.DataFrame) -> list[Claim]:
    """Linear growth, and what that means beside the matrix."""
    measured = table["bytes"].notna().all()
    return [_linear(table), *([_memory(table)] if measured else []), _ratio(table)]


def _linear(table: pd.DataFrame) -> Claim:
    each = _each(table, "seconds")
    listed = "; ".join(f"{name} {', '.join(f'{1e9 * x:.0f}' for x in some)}" for name, some in each.items())
    sizes = next(iter(each.values())).index
    spread = max(some.max() / some.min() for some in each.values())
    dense = table[(table.kernel == "dense") & (table.dtype == "float64")].sort_values("bins")
    power = np.log(dense.seconds.iloc[-1] / dense.seconds.iloc[-2]) / np.log(dense.bins.iloc[-1] / dense.bins.iloc[-2])
    return Claim(
        SOURCE, "an iteration takes time linear in V, one by the matrix N squared",
        f"nanoseconds an iteration, pair and node, float64, from {sizes[0]:,} to {sizes[-1]:,} nodes: {listed}: within "
        f"a factor of {spread:.1f} over {np.log10(sizes[-1] / sizes[0]):.0f} decades (the largest leave the caches); "
        f"the matrix's time grows with exponent {power:.2f}", bool(spread < 5 and 1.6 < power < 2.4),
    )  # fmt: skip


def _memory(table: pd.DataFrame) -> Claim:
    each = _each(table, "bytes")
    listed = "; ".join(f"{name} {', '.join(f'{x:.0f}' for x in some)}" for name, some in each.items())
    return Claim(
        SOURCE, "memory is linear in V, no matrix is formed",
        f"bytes a pair and node (a float64 has 8): {listed}", bool(max(s.max() / s.min() for s in each.values()) < 1.5),
    )  # fmt: skip


def _ratio(table: pd.DataFrame) -> Claim:
    parts, holds = [], True
    for n in BESIDE:
        for dtype in DTYPES:
            rows = table[(table.bins == n) & (table.dtype == dtype) & (table.rows == WIDE)]
            dense = rows[rows.kernel == "dense"].seconds
            for way in ("linear", "log"):
                own = rows[(rows.kernel == "space") & (rows.domain == way)].seconds
                if len(dense) and len(own):
                    ratio = float(own.iloc[0] / dense.iloc[0])
                    parts.append(f"{ratio:.2g} (N = {n}, {dtype}, {way})")
                    holds &= ratio < 1 or way == "log"
    return Claim(
        SOURCE, "an iteration by the tree is cheaper than one by the matrix",
        f"seconds by the tree over seconds by the matrix, 64 pairs, one thread: {', '.join(parts)}", bool(holds),
    )  # fmt: skip


def draw(table: pd.DataFrame):
    """Time and memory against size, float64."""
    fig, (left, right) = style.figure(2.9, 1, 2, sharex=True)
    rows = table[table.dtype == "float64"]
    for (space, way), (colour, line) in LOOKS.items():
        dense = way.startswith("dense")
        some = rows[(_way(rows) == way) & (rows.space == space) & (rows.rows == (WIDE if dense else NARROW))]
        some = some.sort_values("bins")
        size, label = (some.bins, "matrix, linear") if dense else (some.nodes, f"{space}, {way.split()[1]}")
        left.plot(size, some.seconds, line, color=colour, markersize=3.5, label=label)
        right.plot(size, some["bytes"] / some.rows, line, color=colour, markersize=3.5)
    for axis, level in ((left, 1.5e-9), (right, 20.0)):
        size = np.array([1e3, rows.nodes.max()])
        axis.plot(size, level * size, color=style.GREY, linewidth=0.7, label="slope 1")
        axis.set(xscale="log", yscale="log", xlabel="nodes V (matrix: bins N)")
    left.set(ylabel="time / (iteration · pair) (s)")
    right.set(ylabel="memory of the call / pair (bytes)")
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=6, columnspacing=1.0)
    return fig
