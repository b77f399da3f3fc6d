"""Time of EMD, EMD^2 with its gradient and Sinkhorn beside other people's code, one thread, and the targets for it.

Each problem is timed in one process, all implementations in turn on the same inputs, after each has agreed with emdref
within a tolerance that follows from eps and the size; medians and quartiles of the measurements, and of the ratios
within a turn.  Gradients of emdref are centred (gauge zero_sum) and its inputs are checked, as users call it; the
others' are not.  The limit is what NumPy takes to subtract arrays of that size into an array that is there (for values
alone: to read both in a dot product).  Peers that are not installed or disagree are rows that say so; those
that are slow are timed on a part of the batch, and their rows say so.  Start-up is that of whole processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from analysis.benchmarks import speed_growth
from analysis.engine import style
from analysis.engine.cells import Cell
from analysis.engine.machine import processor
from analysis.engine.reproduction import exact, timing
from analysis.engine.script import Claim, Options, must
from analysis.peers import wrappers
from analysis.peers.emd_batches import BOTH, PEERS, VALUE
from analysis.timing import emd_speed, sinkhorn_speed, startup
from analysis.timing.emd_speed import COMPENSATED, NATIVE
from analysis.timing.speed_targets import SHEET, SOURCE, claims_of, goals, margins

DTYPES = ("float32", "float64")
PNG = True
KEY = ("part", "space", "bins", "nodes", "rows", "dtype", "task", "implementation", "depth")
KINDS = exact(*KEY, "kind", "traffic", "tolerance") | timing(
    "version", "disagreement", "timed_rows", "seconds", "low", "high", "repeats", "gb_per_s", "ratio", "ratio_low",
    "ratio_high", "note", "bytes", "peak",
)  # fmt: skip
BATCH, BINS = 16, 1000  # of the sweeps over the other
BY_SIZE = [[bins, BATCH] for bins in (10, 100, 1000, 10_000, 100_000, 1_000_000)]
BY_BATCH = [[BINS, rows] for rows in (1, 512, 8192, 65_536)]
SHEETS = {
    (VALUE, "float64"): [*BY_SIZE, *BY_BATCH[:-1]],
    (BOTH, "float32"): [*BY_SIZE, *BY_BATCH],
    (BOTH, "float64"): [*BY_SIZE[1:4], *BY_BATCH[1:3]],
}
TOY = {"chain": [[10, BATCH], [BINS, 64]], "tree": [[BINS, 64]]}
LIMITS = {BOTH: "np.subtract, out=", VALUE: "np.vdot"}  # the memory's bandwidth
LOOKS = {
    NATIVE: (style.BLUE, "o-"),
    COMPENSATED: (style.SKY, "s-"),
    "NumPy cumsum": (style.GREEN, "^-"),
    "PyTorch cumsum": (style.RED, "v-"),
    "dense incidence, BLAS": (style.ORANGE, "D-"),
    "scipy.sparse incidence": (style.GREEN, "P-"),
    "PyTorch sparse incidence": (style.RED, "X-"),
    "scipy.stats.wasserstein_distance": (style.PURPLE, "<--"),
    "POT emd2_1d": (style.BLACK, ">--"),
    "POT wasserstein_1d": (style.BLACK, "x:"),
    "OTT univariate": (style.GREY, "*--"),
    "POT emd2": (style.BLACK, "p-."),
    "scikit-bio weighted_unifrac": (style.PURPLE, "h--"),
    **dict.fromkeys(LIMITS.values(), (style.GREY, "-")),
}


def cells(options: Options) -> list[Cell]:
    """A process a sheet; the growth's are those of `speed_growth`."""
    return [*_contests(options), *_sinkhorn(options), _startup(options), *speed_growth.sizes(options)]


def _contests(options: Options) -> Iterator[Cell]:
    for kind, (task, dtype) in ((kind, sheet) for kind in TOY for sheet in SHEETS):
        if options.toy and (task, dtype) != (BOTH, "float64"):
            continue
        sizes = TOY[kind] if options.toy else SHEETS[task, dtype]
        seconds = 0.1 if options.toy else 0.5
        own = {"kind": kind, "sizes": sizes, "dtype": dtype, "task": task, "seconds": seconds, "seed": options.seed}
        yield Cell(emd_speed.FUNCTION, own, sum(2 + bins * rows / 5e6 for bins, rows in sizes), alone=True)


def _sinkhorn(options: Options) -> Iterator[Cell]:
    sheets = [(sinkhorn_speed.ITERATION, [512], dtype) for dtype in DTYPES] + [(sinkhorn_speed.SOLVE, [16], "float64")]
    if options.toy:
        sheets = [(sinkhorn_speed.ITERATION, [8], "float64")]
    for task, rows, dtype in sheets:
        own = {"task": task, "rows": rows, "dtype": dtype, "seconds": 1.0, "seed": options.seed}
        yield Cell(sinkhorn_speed.FUNCTION, own, 15.0, alone=True)


def _startup(options: Options) -> Cell:
    own = {"repeats": 1, "cold": 0} if options.toy else {"repeats": 5, "cold": 2}
    return Cell(startup.FUNCTION, own, 8.0 * sum(own.values()), alone=True)


def record() -> dict[str, Any]:
    """The processor, how threads were limited, and the peers that are installed."""
    packages = sorted({peer.package for peer in (*PEERS, *sinkhorn_speed.solvers())} | {"jax", "threadpoolctl"})
    found = {
        package: wrappers.version_of(package) or "not installed" for package in packages if package != emd_speed.OWN
    }
    return {"processor": processor(), "threads": emd_speed.threads_told(), "peers": found}


def check(table: pd.DataFrame) -> None:
    """Nobody was timed who disagrees, and emdref agrees with itself."""
    timed = table[(table.part == "contest") & table.seconds.notna()]
    must((timed.seconds > 0).all(), "a time is not positive: the machine was too busy to measure")
    must(not (timed.disagreement > 1).any(), "an implementation that disagrees was timed")
    own = table[
        (table.kind == emd_speed.OWN) & (table.part == "contest") & ~table.implementation.str.contains("unchecked")
    ]
    must(not own.note.fillna("").str.contains("disagrees|failed").any(), "a kernel of emdref disagrees or fails")


def tables(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The targets as a table of their own."""
    return {"_targets": goals(table)}


def claims(table: pd.DataFrame) -> list[Claim]:
    """Every target beside what was found; and who was not there."""
    return [*claims_of(goals(table)), *_absent(table)]


def _absent(table: pd.DataFrame) -> list[Claim]:
    notes = table[table.kind == "peer"].groupby("implementation").note.first().dropna()
    gone = notes[notes.str.contains("not installed|disagrees|failed")]
    if gone.empty:
        return []
    listed = "; ".join(f"{name}: {note}" for name, note in gone.items())
    return [Claim(SOURCE, "every peer is timed", listed, False, SHEET)]


# --- figures ----------------------------------------------------------------------------------------------------------


def draw(table: pd.DataFrame):
    """Time over that of the native kernel against size and batch, a sheet for either task; and the targets."""
    kinds = {"": (BOTH, "float32"), "_value": (VALUE, "float64")}
    sheets = {end: _sheet(table, *kinds[end]) for end in kinds if _part(table, *kinds[end]).size or not end}
    return sheets | {SHEET: _margins(goals(table))}


def _part(table: pd.DataFrame, task: str, dtype: str) -> pd.DataFrame:
    return table[(table.task == task) & (table.dtype == dtype) & table.ratio.notna()]


def _sheet(table: pd.DataFrame, task: str, dtype: str):
    fig, axes = style.figure(style.PAGE, 5.0, 2, 2, sharex="col", sharey="row")
    part = _part(table, task, dtype)
    if part.empty:  # toy
        part = _part(table, task, "float64")
    handles: dict[str, Any] = {}
    for row, space in zip(axes, ("chain", "tree"), strict=True):
        for axis, (column, fixed, value) in zip(row, (("bins", "rows", BATCH), ("rows", "bins", BINS)), strict=True):
            shown = (part.kind != "limit") | (part.implementation == LIMITS[task])
            _curves(axis, part[shown & (part.space == space) & (part[fixed] == value)], column)
            axis.set(xscale="log", yscale="log")
            axis.yaxis.set_major_formatter("{x:g}")
            axis.set_title(f"{space}, " + (f"batch {value}" if fixed == "rows" else f"{value} bins"), loc="left")
            handles |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
        row[0].set_ylabel("time / time of emdref native")
    axes[1, 0].set_xlabel("bins N")
    axes[1, 1].set_xlabel("batch (rows)")
    fig.suptitle(f"{task.replace('^2', '²')}, {part.dtype.iloc[0] if len(part) else dtype}, one thread", fontsize=8)
    fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=6)
    return fig


def _curves(axis: Any, part: pd.DataFrame, column: str) -> None:
    for name, (colour, line) in LOOKS.items():
        rows = part[part.implementation == name].sort_values(column)
        if rows.empty:
            continue
        label, width = (f"limit: {name}", 2.5) if name in LIMITS.values() else (name, 1.1)
        axis.plot(rows[column], rows.ratio, line, color=colour, markersize=3.5, linewidth=width, label=label)
        axis.vlines(rows[column], rows.ratio_low, rows.ratio_high, color=colour, linewidth=0.7)


def _margins(table: pd.DataFrame):
    """How far each target is met or missed."""
    fig, axis = style.figure(style.PAGE, 3.9, 1, 1)
    fig.figure.get_layout_engine().set(w_pad=0.12)  # small letters are wider in print than the layout thinks
    names = table.what + "\n" + ("beside " + table.against).where(table.against != "-", "") + ", " + table.target
    names = names.str.replace("\n, ", "\n").str.replace("EMD² value and gradient", "EMD²") + " " + table.unit
    places = {name: -i for i, name in enumerate(dict.fromkeys(names))}
    found = margins(table)
    for dtype, colour, marker, shift in (("float32", style.ORANGE, "s", 0.15), ("float64", style.BLUE, "o", -0.15)):
        shown = (table["dtype"] == dtype) | ((table["dtype"] == "") & (dtype == "float64"))
        y = np.array([places[name] for name in names[shown]]) + shift
        axis.plot(found.found[shown], y, marker, color=colour, markersize=3.5, label=dtype)
        axis.hlines(y, found.low[shown], found.high[shown], color=colour, linewidth=0.7)
    axis.axvline(1, color=style.BLACK, linewidth=0.8)
    axis.set(xscale="log", xlabel="times better than the target (left of 1: missed)")
    axis.set_yticks(list(places.values()), list(places), fontsize=4.5)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.legend(loc="lower right", fontsize=6)
    return fig
