"""Time and memory of EMD^2 with its gradient against nodes, depth and batch, each measurement in a process of its own.

Chains, paths, stars, balanced binary trees and copies of the WordNet tree under one root; float64, one thread.  Times
are medians of the calls; memory is by how much the process grows at most during the call, and the most that the process
held (with Python, the space and the batch).  A chain of 10^8 bins is computed in float32, a single pair.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator

from analysis.engine import style
from analysis.engine.cells import Cell, grid
from analysis.engine.claims import Claim, Margin, Missing
from analysis.engine.reproduction import exact, timing
from analysis.engine.script import Options, must
from analysis.timing import emd_growth
from analysis.timing.speed_targets import GIGABYTE, growth_rows, our_claim, powers, worst_power

DTYPES = ("float32", "float64")
KEY = ("part", "space", "nodes", "rows", "dtype", "task", "implementation", "bins", "depth")
KINDS = exact(*KEY, "kind") | timing("seconds", "low", "high", "repeats", "bytes", "peak")
ROWS, NODES = 16, 10_000
SIZES = (1000, 10_000, 100_000, 1_000_000)
BATCHES = (1, 4, 64, 256, 1024)
LONG = 100_000_000  # bins of the chain that streams
OWN = ("native", "compensated")
WAYS = [[emd_growth.BOTH, accuracy] for accuracy in OWN]
BATCHED = "_batch"  # the sheet
LOOKS = {
    "chain": (style.BLUE, "o", "-"),
    "path": (style.BLACK, "s", (0, (1, 1))),
    "star": (style.ORANGE, "^", (0, (5, 2))),
    "balanced": (style.GREEN, "D", (0, (4, 1, 1, 1))),
    "WordNet": (style.RED, "v", (0, (8, 2))),
}
CAPTIONS = {
    "": "Time and memory of EMD² and its gradient for each node and pair against the number of nodes, batch 16, "
    "float64, one thread; lines are flat where growth is linear. Bars go from quartile to quartile, and the memory is "
    "what the process grows by during the call.",
    BATCHED: "Time and memory of EMD² and its gradient for each node and pair against the batch, about 10,000 nodes, "
    "float64, one thread; lines are flat where growth is linear. Small batches pay for the call itself and for lanes "
    "that stand empty.",
}


def cells(options: Options) -> list[Cell]:
    """Against nodes, against the batch, and the long chain."""
    return sizes(options) + ([] if options.toy else [*_batches(options), _long(options)])


def sizes(options: Options) -> list[Cell]:
    """Over nodes, batch 16."""
    nodes, spaces = (SIZES[:2], emd_growth.SPACES[-1:]) if options.toy else (SIZES, emd_growth.SPACES)
    return [_cell(options, **one) for one in grid(space=spaces, nodes=nodes, rows=[ROWS])]


def _batches(options: Options) -> list[Cell]:
    return [_cell(options, **one) for one in grid(space=("chain", "WordNet"), nodes=[NODES], rows=BATCHES)]


def _long(options: Options) -> Cell:
    ways = [[emd_growth.VALUE, OWN[0]], [emd_growth.BOTH, OWN[0]]]
    return _cell(options, space="chain", nodes=LONG, rows=1, dtype="float32", ways=ways)


def _cell(options: Options, nodes: int, rows: int, dtype: str = "float64", ways: Any = WAYS, **own: Any) -> Cell:
    own |= {"nodes": nodes, "rows": rows, "dtype": dtype, "ways": ways, "seed": options.seed}
    return Cell(emd_growth.FUNCTION, own, 2 + nodes * rows / 5e6, alone=True)


def check(table: pd.DataFrame) -> None:
    """Every measurement is one."""
    must((table.seconds.dropna() > 0).all(), "a time is not positive")


def claims(table: pd.DataFrame) -> list[Claim]:
    """Linear in nodes and batch, within 2 GB, and a chain of 10^8 bins."""
    rows = growth_rows(table)
    return [_linear(rows), *_memory(rows), *_batch(table), *_streams(table)]


def _linear(rows: pd.DataFrame) -> Claim:
    found, worst = powers(rows), worst_power(rows)
    each = {key: some.each * 1e9 for key, some in rows.groupby(["space", "implementation"])}
    listed = "; ".join(f"{space}, {_way(name)} {_numbers(some)}" for (space, name), some in each.items())
    return our_claim(
        "time is linear in the nodes V, whatever the depth: it grows with a power of at most 1.15",
        "slope of log t over log V, of the worst shape and accuracy; from quartiles of the times",
        Margin(worst.low, worst.high, most=1.15, unit="power of V", kind="threshold"),
        f"nanoseconds a node and pair from {rows.nodes.min():,} to {rows.nodes.max():,} nodes: {listed}; powers "
        f"{found.middle.min():.2f} to {found.middle.max():.2f} (the largest leave the caches)",
        "",
    )


def _way(name: str) -> str:
    return name.split()[-1]


def _numbers(values: Any) -> str:
    return ", ".join(f"{float(f'{x:.2g}'):g}" for x in values)


def _memory(rows: pd.DataFrame) -> list[Claim]:
    rows = rows[rows.bytes.notna()]
    if rows.empty:
        return []
    largest = rows[rows.nodes >= 0.9 * rows.nodes.max()]
    each = largest.bytes / largest.nodes / largest.rows
    listed = ", ".join(
        f"{row.space}, {_way(row.implementation)} {x:.0f}" for row, x in zip(largest.itertuples(), each, strict=True)
    )
    most = largest.peak.max() / GIGABYTE
    return [
        our_claim(
            f"a tree of {largest.nodes.max():,} nodes with batch {ROWS} takes less than 2 GB",
            "the largest of all processes; each counts pages once, which has no quartiles",
            Margin(most, most, most=2.0, unit="GB", kind="threshold"),
            f"the call's own bytes a node and pair at {largest.nodes.max():,} nodes (a float64 has 8): {listed}",
            "",
        )
    ]


def _batch(table: pd.DataFrame) -> list[Claim]:
    rows = batches(table)
    if rows["rows"].nunique() < 2:
        return []
    parts, ends = [], []
    for (space, name), some in rows.groupby(["space", "implementation"]):
        each = some[["seconds", "low", "high"]].div(some.rows * some.nodes, axis=0)
        parts.append(f"{space}, {_way(name)} {_numbers(1e9 * each.seconds)}")
        each = each[some.rows >= ROWS]
        most, least = each.loc[each.seconds.idxmax()], each.loc[each.seconds.idxmin()]
        ends.append((most.low / least.high, most.high / least.low))
    return [
        our_claim(
            f"time is linear in the batch: from {ROWS} pairs on, that of a pair differs by less than a factor of 2",
            "dearest batch over cheapest, of the worst space and accuracy; from lower quartile over upper to upper "
            "over lower",
            Margin(*np.max(ends, axis=0).tolist(), most=2.0, kind="threshold"),
            f"nanoseconds a node and pair for batches of {', '.join(map(str, sorted(rows['rows'].unique())))}: "
            f"{'; '.join(parts)}",
            BATCHED,
        )
    ]


def batches(table: pd.DataFrame) -> pd.DataFrame:
    """Measurements of one size over many batches."""
    near = (table.nodes > 0.8 * NODES) & (table.nodes < 1.2 * NODES) & table.space.isin(["chain", "WordNet"])
    return table[near & table.seconds.notna() & (table.dtype == "float64")].sort_values("rows")


def _streams(table: pd.DataFrame) -> list[Claim]:
    rows = table[table.nodes == LONG]
    if rows.empty:
        return []
    parts = []
    for row in rows.itertuples():
        if np.isnan(row.seconds):
            parts.append(f"{row.task}: {row.note}")
        else:
            parts.append(
                f"{row.task} {row.seconds:.2f} s ({1e9 * row.seconds / LONG:.2g} ns a bin; p and q alone have 8 "
                f"bytes a bin), the call's own memory {row.bytes / LONG:.1f} bytes a bin, the process at most "
                f"{row.peak / 1e9:.1f} GB"
            )
    claimed = "a chain of 10⁸ bins streams: beyond its result, the call holds less than a byte a bin"
    contrast = "the larger of the two calls; pages are counted once, which has no quartiles"
    own = rows.bytes / LONG - np.where(rows.task.str.contains("gradient"), 4, 0)
    gone = rows.seconds.isna() | own.isna()
    evidence = Missing(str(parts[int(np.argmax(gone))])) if gone.any() else _bytes(own.max())
    return [our_claim(claimed, contrast, evidence, "; ".join(parts), "")]


def _bytes(own: float) -> Margin:
    return Margin(own, own, most=1.0, unit="bytes a bin", kind="threshold")


# --- the figure -------------------------------------------------------------------------------------------------------


def draw(table: pd.DataFrame):
    """Nanoseconds and bytes a node and pair: flat where growth is linear; against nodes, and against the batch."""
    by_size, by_batch = growth_rows(table), batches(table)
    sheets = {"": _sheet(by_size, "nodes", "nodes V", f"EMD² and its gradient, batch {ROWS}")}
    if by_batch["rows"].nunique() > 1:
        sheets[BATCHED] = _sheet(by_batch, "rows", "batch (pairs)", f"EMD² and its gradient, about {NODES:,} nodes")
    return sheets


def _sheet(rows: pd.DataFrame, x: str, label: str, title: str):
    fig, axes = style.figure(4.6, 2, 2, sharex=True, sharey="row")
    for column, accuracy in enumerate(OWN):
        for space, (colour, marker, line) in LOOKS.items():
            some = rows[(rows.space == space) & rows.implementation.str.endswith(accuracy)].sort_values(x)
            if some.empty:
                continue
            looks = {"color": colour, "marker": marker, "markersize": 4, "linestyle": line, "label": space}
            unit = some.rows * some.nodes
            axes[0, column].plot(some[x], 1e9 * some.seconds / unit, **looks)
            axes[0, column].vlines(some[x], 1e9 * some.low / unit, 1e9 * some.high / unit, color=colour, linewidth=0.7)
            axes[1, column].plot(some[x], some.bytes / unit, **looks)
        axes[0, column].set_title(accuracy, loc="left")
        axes[1, column].set_xlabel(label)
        style.log_axis(axes[1, column], "x")
    words = ("time / (node · pair) (ns)", "memory of the call\n/ (node · pair) (bytes)")
    for axis, told in zip(axes[:, 0], words, strict=True):
        if axis.dataLim.ymax > 0:  # a call so small that its memory is not seen has no logarithm
            style.log_axis(axis, "y")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_ylabel(told)
    fig.suptitle(title)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=3.5)
    return fig
