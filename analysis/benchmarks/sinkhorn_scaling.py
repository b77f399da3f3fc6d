"""Time and memory of a Sinkhorn iteration against the size of the space: the O(V) kernel and the dense matrix.

Chains of N bins and random binary trees with N leaves (2N - 1 nodes), softmax pairs with logits of spread 2, lambda
such that lambda max(M) = 20, one thread.  Seconds an iteration and pair are the slope between two iteration counts of
one call, each the lesser of two measurements (calls over 3 s: of one).  Memory is by how much the process grows at most
during the call, in a process of its own (the space and the pairs are there before).  Batches of 4 pairs show the
growth, batches of 64 the ratio to the matrix.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from scipy import stats

from analysis.engine import style
from analysis.engine.cells import Cell, grid
from analysis.engine.claims import FINDING, Claim, Margin, Missing
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
BATCH, CAP = 512, 100  # the paper's minibatch and iterations (Sec. 5)
OFF = np.log(5) / np.log(1000)  # from 1, the power by which a factor of 5 over three decades shows
SOURCE = "Found here, not in the paper"
CAPTIONS = {
    "": "Seconds of one iteration of Sinkhorn for each pair, and memory of the call for each pair, against the size of "
    "the space, by sums along the space (chain, tree) and by the dense matrix, in numbers and in logarithms. Lines "
    "along the thin grey one are linear in size; the matrix is quadratic, and stops at 10,000 bins."
}
LOOKS = {
    ("chain", "space linear"): (style.BLUE, "o-"),
    ("tree", "space linear"): (style.SKY, "s-"),
    ("chain", "space log"): (style.GREEN, "o--"),
    ("tree", "space log"): (style.BLACK, "s-."),
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
    return [*_linear(table), *([_memory(table)] if measured else []), _ratio(table), _impractical(table)]


def _slope(rows: pd.DataFrame, x: str, groups: list[str]) -> tuple[float, float, float]:
    """Of log seconds over log x, one for all groups, each with a level of its own: with Student's 95% interval."""
    logs = np.log(rows[[x, "seconds"]])
    logs -= logs.groupby([rows[name] for name in groups]).transform("mean")
    left = len(rows) - rows.groupby(groups).ngroups - 1
    if left < 1:
        return (np.nan,) * 3
    square = (logs[x] ** 2).sum()
    slope = (logs[x] * logs.seconds).sum() / square
    error = np.sqrt(((logs.seconds - slope * logs[x]) ** 2).sum() / left / square)
    half = stats.t.ppf(0.975, left) * error
    return slope, slope - half, slope + half


def _linear(table: pd.DataFrame) -> list[Claim]:
    each = _each(table, "seconds")
    listed = "; ".join(f"{name} {', '.join(f'{1e9 * x:.0f}' for x in some)}" for name, some in each.items())
    sizes = next(iter(each.values())).index
    own = table[(table.kernel == "space") & (table.rows == NARROW) & (table.dtype == "float64")]
    found = np.array([_slope(some, "nodes", ["space"]) for _, some in own.groupby(["space", "domain"])])
    dense = _slope(table[table.kernel == "dense"], "bins", ["dtype"])
    return [
        Claim(
            SOURCE, "an iteration takes time linear in V: over three decades, a node's stays within a factor of 5",
            "slope of log t over log V, Student's interval over the sizes of a space and domain; all four are asked",
            Margin(found[:, 1].min(), found[:, 2].max(), 1 - OFF, 1 + OFF, "power of V"),
            f"nanoseconds an iteration, pair and node, float64, from {sizes[0]:,} to {sizes[-1]:,} nodes: {listed}; "
            f"powers {', '.join(f'{x:.2f}' for x in found[:, 0])} (the largest leave the caches)", (), FINDING,
        ),
        Claim(
            SOURCE, "an iteration by the matrix takes time that grows as N squared",
            "slope of log t over log N, the same in float32 and float64, Student's interval over three sizes",
            Margin(dense[1], dense[2], 1.6, 2.4, "power of N"), f"power {dense[0]:.2f}", (), FINDING,
        ),
    ]  # fmt: skip


def _memory(table: pd.DataFrame) -> Claim:
    each = _each(table, "bytes")
    listed = "; ".join(f"{name} {', '.join(f'{x:.0f}' for x in some)}" for name, some in each.items())
    spread = max(some.max() / some.min() for some in each.values())
    return Claim(
        SOURCE, "memory is linear in V, no matrix is formed: that of a node and pair stays within a factor of 1.5",
        "the largest over the least of all sizes, of the worst space and domain; pages are counted once, without "
        "quartiles", Margin(spread, spread, most=1.5, kind="threshold"),
        f"bytes a pair and node (a float64 has 8): {listed}", (), FINDING,
    )  # fmt: skip


def _ratio(table: pd.DataFrame) -> Claim:
    found = {}
    for n, dtype, way in itertools.product(BESIDE, DTYPES, ("linear", "log")):
        rows = table[(table.bins == n) & (table.dtype == dtype) & (table.rows == WIDE)]
        dense = rows[rows.kernel == "dense"].seconds
        own = rows[(rows.kernel == "space") & (rows.domain == way)].seconds
        if len(dense) and len(own):
            found[f"N = {n}, {dtype}, {way}"] = float(own.iloc[0] / dense.iloc[0])
    return Claim(
        SOURCE, "an iteration by the tree is cheaper than one by the matrix, in logarithms too",
        "seconds by the tree over seconds by the matrix, 64 pairs, one thread; the range over sizes, dtypes and "
        "domains, of which each is the lesser of two measurements",
        Margin(min(found.values()), max(found.values()), most=1.0, kind="threshold"),
        ", ".join(f"{ratio:.2g} ({name})" for name, ratio in found.items()), (), FINDING,
    )  # fmt: skip


def _impractical(table: pd.DataFrame) -> Claim:
    """The paper calls 74 s a minibatch not practical; what as large a space as was tried takes."""
    largest = table.bins[table.kernel == "dense"].max()
    rows = table[(table.kernel == "dense") & (table.bins == largest)]
    took = dict(zip(rows.dtype, rows.seconds * BATCH * CAP, strict=True))
    told = ", ".join(f"{seconds:.0f} s in {dtype}" for dtype, seconds in took.items())
    evidence = Margin(min(took.values()), max(took.values()), least=74.0, unit="s", kind="threshold")
    asked = "the 74 s that it calls not practical for 1000 bins"
    return Claim(
        "arXiv 1611.07573, Sec. 5.1", "SD is not practical for large output spaces, especially in float64",
        f"seconds of {CAP} iterations of {BATCH} pairs by the matrix on one thread at N = {max(BESIDE):,}, against "
        f"{asked}; the range of float32 and float64",
        evidence if largest == max(BESIDE) else Missing(f"the largest matrix here has {largest} bins"),
        f"from the time of an iteration and pair: {told}",
    )  # fmt: skip


# --- the figure -------------------------------------------------------------------------------------------------------


def draw(table: pd.DataFrame):
    """Time and memory against size, float64."""
    fig, axes = style.figure(5.2, 2, 1, sharex=True)
    rows = table[table.dtype == "float64"]
    for (space, way), (colour, line) in LOOKS.items():
        dense = way.startswith("dense")
        some = rows[(_way(rows) == way) & (rows.space == space) & (rows.rows == (WIDE if dense else NARROW))]
        some = some.sort_values("bins")
        size, label = (some.bins, "matrix, linear") if dense else (some.nodes, f"{space}, {way.split()[1]}")
        axes[0].plot(size, some.seconds, line, color=colour, markersize=4, label=label)
        axes[1].plot(size, some["bytes"] / some.rows, line, color=colour, markersize=4)
    for axis, level in zip(axes, (1.5e-9, 20.0), strict=True):
        size = np.array([1e3, rows.nodes.max()])
        axis.plot(size, level * size, color=style.GREY, linewidth=0.7, label="slope 1")
        style.log_axis(axis, "x")
        style.log_axis(axis, "y")
    axes[0].set(ylabel="time / (iteration · pair) (s)", title="Sinkhorn's iteration, float64, one thread")
    axes[1].set(ylabel="memory of the call / pair (bytes)", xlabel="nodes V (matrix: bins N)")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=2.8)
    return fig
