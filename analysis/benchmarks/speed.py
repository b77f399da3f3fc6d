"""Time of calls, EMD, losses and Sinkhorn, beside what users would write and other people's code, and its targets.

Each problem is timed in one process, all implementations in turn on the same inputs, after each has agreed with emdref
within a tolerance that follows from eps and the size; medians and quartiles of the measurements, and of the ratios
within a turn.  Gradients of emdref are centred (gauge zero_sum) and its inputs are checked, as users call it; the
others' are not.  The limit is what NumPy takes to subtract arrays of that size into an array that is there (for values
alone: to read both in a dot product).  Peers that are not installed or disagree are rows that say so; those
that are slow are timed on a part of the batch, and their rows say so.  Start-up is that of whole processes.

Small calls, PyTorch's losses and whole calls of Sinkhorn are timed as users make them, beside NumPy, PyTorch and dense
iterations by hand.  PyTorch's rows need PyTorch in the same environment, and a C++ compiler for what is compiled.
figures/speed_history.csv has a line a release and machine.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator
from typing import Any

import pandas as pd

from analysis.benchmarks import speed_growth
from analysis.engine import machine, style
from analysis.engine.cells import Cell
from analysis.engine.claims import Claim, Exact, Missing
from analysis.engine.reproduction import exact, timing
from analysis.engine.script import Options, must
from analysis.peers import wrappers
from analysis.peers.emd_batches import BOTH, PEERS, VALUE
from analysis.timing import (
    duels,
    emd_speed,
    sinkhorn_calls,
    sinkhorn_speed,
    small_calls,
    speed_history,
    startup,
    torch_losses,
)
from analysis.timing.emd_speed import COMPENSATED, NATIVE
from analysis.timing.speed_targets import SHEET, claims_of, goals, grouped, our_claim

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
SHORT = {
    "scipy.stats.wasserstein_distance": "SciPy wasserstein_distance",
    "scikit-bio weighted_unifrac": "scikit-bio, UniFrac",
    "dense incidence, BLAS": "dense incidence",
}
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


CAPTIONS = {
    "": "Time of EMD² and its gradient over that of emdref's native kernel, against bins and batch, in float32 on one "
    "thread; below 1 somebody is faster than emdref. The thick grey line is the memory's limit, NumPy's subtraction of "
    "two arrays of that size.",
    "_value": "Time of the EMD's value over that of emdref's native kernel, against bins and batch, in float64 on one "
    "thread; below 1 somebody is faster than emdref. The thick grey line is the memory's limit, NumPy's dot product of "
    "two arrays of that size.",
}


def cells(options: Options) -> list[Cell]:
    """A process a sheet; the growth's are those of `speed_growth`."""
    work = (_contests, _calls, _losses, _sinkhorn, _whole, _rest)
    return [*(cell for part in work for cell in part(options)), _startup(options), *speed_growth.sizes(options)]


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


def _calls(options: Options) -> Iterator[Cell]:
    own = {"seconds": 0.02 if options.toy else 1.0, "seed": options.seed}
    yield Cell(small_calls.FUNCTION, own, 6.0, alone=True)
    shapes, dtypes = (["chain"], DTYPES[1:]) if options.toy else (list(small_calls.SHAPES), DTYPES)
    for kind, dtype in itertools.product(shapes, dtypes):
        yield Cell(small_calls.ALONE, own | {"shapes": [kind], "dtypes": [dtype]}, 4.0, alone=True)


def _losses(options: Options) -> Iterator[Cell]:
    sheets: list[tuple[str, str, tuple[str, ...]]] = [(torch_losses.EMD, "chain", DTYPES)]
    if not options.toy:
        sheets += [(name, "tree", DTYPES[:1]) for name in (torch_losses.EMD, torch_losses.SINKHORN)]
        sheets += [(name, "chain", DTYPES[:1]) for name in (torch_losses.SINKHORN, torch_losses.COMPILED)]
    for name, kind, dtypes in sheets:
        for dtype in dtypes[:1] if options.toy else dtypes:
            own = {"names": [name], "kinds": [kind], "dtypes": [dtype]}
            own |= {"seconds": 0.02 if options.toy else 1.0, "seed": options.seed}
            yield Cell(torch_losses.FUNCTION, own, 20.0, alone=True)


def _whole(options: Options) -> Iterator[Cell]:
    sheets = itertools.product(DTYPES, ([1, 16], [512]), ([10, 100], [1000]))
    for dtype, rows, caps in [("float64", [1], [10])] if options.toy else sheets:
        own = {"rows": rows, "caps": caps, "dtype": dtype, "seconds": 1.0, "seed": options.seed}
        yield Cell(sinkhorn_calls.FUNCTION, own, 8.0, alone=True)


def _rest(options: Options) -> Iterator[Cell]:
    """What a call of Sinkhorn costs besides its iterations."""
    paper, every, both = (
        [sinkhorn_calls.PAPER],
        list(sinkhorn_calls.READS),
        (DTYPES, ("linear", "log"), ([1, 16], [512])),
    )
    sheets = [(dtype, domain, rows, paper, every) for dtype, domain, rows in itertools.product(*both)]
    sheets.append(("float64", "linear", [512], list(sinkhorn_calls.OTHERS), every[:1]))
    if options.toy:
        sheets = [("float64", "linear", [1], paper, every[:1])]
    for dtype, domain, rows, variants, reads in sheets:
        own = {"rows": rows, "domain": domain, "dtype": dtype, "variants": variants, "reads": reads}
        own |= {"seconds": 0.0 if options.toy else 2.0, "seed": options.seed}
        yield Cell(sinkhorn_calls.REST, own, 10.0, alone=True)


def _startup(options: Options) -> Cell:
    own = {"repeats": 1, "cold": 0} if options.toy else {"repeats": 5, "cold": 2}
    return Cell(startup.FUNCTION, own, 8.0 * sum(own.values()), alone=True)


def record() -> dict[str, Any]:
    """The day, the machine and what code is compiled for, how threads were limited, and the peers installed."""
    packages = sorted({peer.package for peer in (*PEERS, *sinkhorn_speed.solvers())} | {"jax", "threadpoolctl"})
    found = {
        package: wrappers.version_of(package) or "not installed" for package in packages if package != emd_speed.OWN
    }
    compiled = machine.vectors()
    return {
        "date": datetime.date.today().isoformat(),
        "processor": machine.processor(), "cores": machine.cores(), "vectors": str(compiled),
        "compiled_for": compiled.processor, "blas": machine.blas(),
        "threads": emd_speed.threads_told(), "peers": found,
    }  # fmt: skip


def history(table: pd.DataFrame, record: dict[str, Any], old: pd.DataFrame | None) -> tuple[pd.DataFrame, list[Claim]]:
    """figures/speed_history.csv with this run's line, and whether a release is slower than the one before."""
    line = speed_history.line(goals(table), record)
    lines = speed_history.updated(old, line)
    return lines, speed_history.claims(lines, line)


def check(table: pd.DataFrame) -> None:
    """Nobody was timed who disagrees, and emdref agrees with itself."""
    contests = table.part.isin(["contest", duels.PART])
    timed = table[contests & table.seconds.notna()]
    must((timed.seconds > 0).all(), "a time is not positive: the machine was too busy to measure")
    must(not (timed.disagreement > 1).any(), "an implementation that disagrees was timed")
    own = table[(table.kind == emd_speed.OWN) & contests]
    must(not _notes(own).str.contains("disagrees|failed").any(), "a kernel of emdref disagrees or fails")


def tables(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The targets as a table of their own."""
    return {"_targets": goals(table)}


def claims(table: pd.DataFrame) -> list[Claim]:
    """Every target beside what was found; and who was not there."""
    return [*claims_of(goal for _, goal in grouped(table)), _everybody(table)]


def _notes(table: pd.DataFrame) -> pd.Series:
    """What rows say of themselves, nothing where nobody has anything to say."""
    return table.get("note", pd.Series(index=table.index, dtype=object)).fillna("").astype(str)


def _everybody(table: pd.DataFrame) -> Claim:
    peers = table[table.kind == "peer"]
    notes = _notes(peers).groupby(peers.implementation).first()
    gone, wrong = (notes[notes.str.contains(words)] for words in ("not installed", "disagrees|failed"))
    told = "; ".join(f"{name}: {note}" for name, note in [*wrong.items(), *gone.items()])
    evidence = Missing(told[:300]) if len(gone) and wrong.empty else Exact(wrong.empty)
    found = told or f"{len(notes)} implementations of others"
    contrast = "notes of all rows of others: who is not installed, disagrees or fails"
    return our_claim("every peer is installed, agrees and is timed", contrast, evidence, found, SHEET)


# --- figures ----------------------------------------------------------------------------------------------------------


def draw(table: pd.DataFrame):
    """Time over that of the native kernel against size and batch, a sheet for either task."""
    kinds = {"": (BOTH, "float32"), "_value": (VALUE, "float64")}
    return {end: _sheet(table, *kinds[end]) for end in kinds if _part(table, *kinds[end]).size or not end}


def _part(table: pd.DataFrame, task: str, dtype: str) -> pd.DataFrame:
    return table[(table.task == task) & (table.dtype == dtype) & table.ratio.notna()]


def _sheet(table: pd.DataFrame, task: str, dtype: str):
    fig, axes = style.figure(5.6, 2, 2, sharex="col", sharey=True)
    part = _part(table, task, dtype)
    if part.empty:  # toy
        part = _part(table, task, "float64")
    handles: dict[str, Any] = {}
    for row, space in zip(axes, ("chain", "tree"), strict=True):
        for axis, (column, fixed, value) in zip(row, (("bins", "rows", BATCH), ("rows", "bins", BINS)), strict=True):
            shown = (part.kind != "limit") | (part.implementation == LIMITS[task])
            _curves(axis, part[shown & (part.space == space) & (part[fixed] == value)], column)
            style.log_axis(axis, "x")
            style.log_axis(axis, "y")
            axis.set_title(f"{space}, " + (f"batch {value}" if fixed == "rows" else f"{value:,} bins"), loc="left")
            handles |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
        row[0].set_ylabel("time / time of emdref native\n(below 1: faster than emdref)")
    axes[1, 0].set_xlabel("bins N")
    axes[1, 1].set_xlabel("batch (rows)")
    fig.suptitle(f"{task.replace('^2', '²')}, {part.dtype.iloc[0] if len(part) else dtype}, one thread")
    fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, handlelength=2.4, columnspacing=1)
    return fig


def _curves(axis: Any, part: pd.DataFrame, column: str) -> None:
    for name, (colour, line) in LOOKS.items():
        rows = part[part.implementation == name].sort_values(column)
        if rows.empty:
            continue
        label, width = (f"limit: {name}", 2.5) if name in LIMITS.values() else (SHORT.get(name, name), 1.1)
        axis.plot(rows[column], rows.ratio, line, color=colour, markersize=3, linewidth=width, label=label)
        axis.vlines(rows[column], rows.ratio_low, rows.ratio_high, color=colour, linewidth=0.7)
