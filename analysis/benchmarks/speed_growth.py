"""Time and memory of EMD^2 with its gradient against nodes, depth and batch, each measurement in a process of its own.

Chains, paths, stars, balanced binary trees and copies of the WordNet tree under one root; float64, one thread.  Times
are medians of the calls; memory is by how much the process grows at most during the call, and the most that the process
held (with Python, the space and the batch).  A chain of 10^8 bins is computed in float32, a single pair.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.engine import style
from analysis.engine.cells import Cell, grid
from analysis.engine.claims import Claim
from analysis.engine.reproduction import exact, timing
from analysis.engine.script import Options, must
from analysis.timing import emd_growth
from analysis.timing.speed_targets import SOURCE, growth_rows, powers

DTYPES = ("float32", "float64")
KEY = ("part", "space", "nodes", "rows", "dtype", "task", "implementation", "bins", "depth")
KINDS = exact(*KEY, "kind") | timing("seconds", "low", "high", "repeats", "bytes", "peak")
ROWS, NODES = 16, 10_000
SIZES = (1000, 10_000, 100_000, 1_000_000)
BATCHES = (1, 4, 64, 256, 1024)
LONG = 100_000_000  # bins of the chain that streams
OWN = ("native", "compensated")
WAYS = [[emd_growth.BOTH, accuracy] for accuracy in OWN]
LOOKS = dict(
    zip(
        emd_growth.SPACES,
        ((style.BLUE, "o"), (style.SKY, "s"), (style.ORANGE, "^"), (style.GREEN, "D"), (style.PURPLE, "v")),
        strict=True,
    )
)


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
    found = powers(rows)
    each = {key: some.each * 1e9 for key, some in rows.groupby(["space", "implementation"])}
    listed = "; ".join(f"{space}, {_way(name)} {_numbers(some)}" for (space, name), some in each.items())
    return Claim(
        SOURCE, "time is linear in the nodes V, whatever the depth",
        f"nanoseconds a node and pair from {rows.nodes.min():,} to {rows.nodes.max():,} nodes: {listed}; the time "
        f"grows with powers {found.min():.2f} to {found.max():.2f} of V (the largest leave the caches)",
        bool(found.max() <= 1.15),
    )  # fmt: skip


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
    return [
        Claim(
            SOURCE, f"a tree of {largest.nodes.max():,} nodes with batch {ROWS} takes less than 2 GB",
            f"the process held at most {largest.peak.max() / 1e9:.2f} GB at {largest.nodes.max():,} nodes; the call's "
            f"own bytes a node and pair (a float64 has 8): {listed}", bool(largest.peak.max() < 2e9),
        )
    ]  # fmt: skip


def _batch(table: pd.DataFrame) -> list[Claim]:
    rows = batches(table)
    if rows["rows"].nunique() < 2:
        return []
    parts, spread = [], 1.0
    for (space, name), some in rows.groupby(["space", "implementation"]):
        each = 1e9 * some.seconds / some.rows / some.nodes
        parts.append(f"{space}, {_way(name)} {_numbers(each)}")
        large = each[some.rows >= 16]
        spread = max(spread, large.max() / large.min())
    return [
        Claim(
            SOURCE, "time is linear in the batch",
            f"nanoseconds a node and pair for batches of {', '.join(map(str, sorted(rows['rows'].unique())))}: "
            f"{'; '.join(parts)}", bool(spread < 2),
        )
    ]  # fmt: skip


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
    done = rows.dropna(subset=["seconds"])
    own = done.bytes.fillna(0) / LONG - np.where(done.task.str.contains("gradient"), 4, 0)
    return [
        Claim(
            SOURCE, "a chain of 10^8 bins streams: beyond its result, the call holds less than a byte a bin",
            "; ".join(parts), bool(len(done) == len(rows) and (own < 1).all()),
        )
    ]  # fmt: skip


def draw(table: pd.DataFrame):
    """Nanoseconds and bytes a node and pair: flat where growth is linear."""
    fig, axes = style.figure(4.6, 2, 2, sharey="row")
    by_size, by_batch = growth_rows(table), batches(table)
    for column, (rows, x) in enumerate(((by_size, "nodes"), (by_batch, "rows"))):
        for (space, name), some in rows.groupby(["space", "implementation"]):
            colour, marker = LOOKS[space]
            line = {"color": colour, "marker": marker, "markersize": 3.5, "linestyle": _line(name)}
            unit = some.rows * some.nodes
            axes[0, column].plot(some[x], 1e9 * some.seconds / unit, label=f"{space}, {_way(name)}", **line)
            axes[1, column].plot(some[x], some.bytes / unit, **line)
    for axis in axes.flat:
        axis.set(xscale="log")
    axes[0, 0].set_yscale("log")
    axes[0, 0].yaxis.set_major_formatter("{x:g}")
    axes[1, 0].set_ylim(0, None)
    axes[0, 0].set_ylabel("time / (node · pair) (ns)")
    axes[1, 0].set_ylabel("memory of the call\n/ (node · pair) (bytes)")
    axes[1, 0].set_xlabel("nodes V")
    axes[1, 1].set_xlabel("batch (pairs)")
    axes[0, 0].set_title(f"batch {ROWS}", loc="left")
    axes[0, 1].set_title(f"about {NODES:,} nodes", loc="left")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=6)
    return fig


def _line(name: str) -> str:
    return "-" if name.endswith("native") else "--"
