"""Table 1 of the paper: time of SD with 10, 100 and 1000 iterations and of EMD^2, batch 512, on a CPU and on a GPU.

Value and gradient of a minibatch of 512 on the WordNet tree (1000 bins), lambda = 3, as users call it: Sinkhorn as
frameworks run it, by a dense product (BLAS), M in memory beforehand; Sinkhorn by the space kernel, which needs no
matrix; and EMD^2, native and compensated.  The paper's numbers stand beside, with its hardware; it does not say on how
many threads, nor which dtype the CPU had.  On the CPU each is timed on one thread and on all, after its values agreed:
medians, but for 1000 dense iterations, which are run once.  ``python -m analysis`` without a name leaves the lines of
1000 iterations as they are.  The GPU's columns hold what `gpu` has measured on a device (gpu.csv beside), or say that
no device was at hand.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.engine import style
from analysis.engine.cells import Cell, grid
from analysis.engine.claims import Claim, Margin, Missing
from analysis.engine.machine import processor
from analysis.engine.reproduction import exact, timing
from analysis.engine.script import Options, must
from analysis.gpu.device_targets import NOT_YET, measured
from analysis.timing.measuring import Spread
from analysis.timing.table1 import (
    ALL,
    BATCH,
    CAPS,
    CPU,
    EMD_COMPENSATED,
    EMD_NATIVE,
    ENTRIES,
    FUNCTION,
    GPU,
    HARDWARE,
    HERE,
    ONE,
    PAPER,
    SD,
    SD_SPACE,
    SLOW,
    Entry,
    printed,
)

DTYPES = ("float32", "float64")
PNG = True
COLUMNS = (
    "source", "method", "iterations", "place", "hardware", "dtype", "threads", "thread_count", "rows", "seconds", "low",
    "high", "repeats", "disagreement", "note",
)  # fmt: skip
KEY = ("source", "method", "iterations", "place", "dtype", "threads")
KINDS = timing(*COLUMNS) | exact(*KEY)
SOURCE = "arXiv 1611.07573, Table 1"
CLAIMED = {CPU: 60.0, GPU: 3.5}  # EMD^2 over SD-100
LINES = {
    "(a) the paper's lines": [*(Entry(SD, cap) for cap in CAPS), Entry(EMD_NATIVE)],
    "(b) not in the paper": [*(Entry(SD_SPACE, cap) for cap in CAPS), Entry(EMD_COMPENSATED)],
}
BARS = {  # source, place, dtype, threads; colour, hatch
    "paper, CPU": ((PAPER, CPU, "", ""), (style.BLACK, "")),
    "paper, GPU": ((PAPER, GPU, "", ""), (style.GREY, "")),
    "here, float32, 1 thread": ((HERE, CPU, "float32", ONE), (style.ORANGE, "")),
    "here, float32, all threads": ((HERE, CPU, "float32", ALL), (style.ORANGE, "////")),
    "here, float64, 1 thread": ((HERE, CPU, "float64", ONE), (style.BLUE, "")),
    "here, float64, all threads": ((HERE, CPU, "float64", ALL), (style.BLUE, "////")),
    "here, GPU, float32": ((HERE, GPU, "float32", ""), (style.GREEN, "")),
    "here, GPU, float64": ((HERE, GPU, "float64", ""), (style.GREEN, "////")),
}


def captions(table: pd.DataFrame) -> dict[str, str]:
    """With the machines' names."""
    own = _cpu(table)
    count = int(pd.to_numeric(own[own.threads.astype(str) == ALL].thread_count).max())
    machines = " and ".join(table[table.source == HERE].hardware.dropna().unique())
    return {
        "": "Time of value and gradient, a minibatch of 512 on the WordNet tree, with 10, 100 and 1000 iterations of "
        f"SD and with EMD²: the paper's ({HARDWARE[CPU]} and {HARDWARE[GPU]}) beside those measured here ({machines}, "
        f"all threads: {count}). Times are medians on a log scale, of 1000 dense iterations a single run; SD by sums "
        "needs no matrix, and the paper does not say with how many threads and in which dtype its CPU computed."
    }


def cells(options: Options) -> list[Cell]:
    """A process a dtype and number of threads, and another for 1000 iterations, of which the dense take a minute."""
    batch = 8 if options.toy else BATCH
    quick = [entry for entry in ENTRIES if entry.cap <= (CAPS[0] if options.toy else CAPS[-2])]
    slow = [entry for entry in ENTRIES if entry.cap == SLOW]
    parts = [quick] if options.quick or options.toy else [quick, slow]
    return [
        Cell(
            FUNCTION, own | {"batch": batch, "entries": part, "seed": options.seed}, _seconds(part, batch, **own), True
        )
        for part in parts
        for own in grid(threads=(ONE, ALL), dtype=DTYPES)
    ]


def _seconds(entries: list[Entry], batch: int, threads: str, dtype: str) -> float:
    iterations = sum(3 * entry.cap if entry.cap < SLOW else entry.cap for entry in entries if entry.method == SD)
    return 4.0 + iterations * batch * (1.1e-4 if dtype == "float64" else 6e-5) * (1.0 if threads == ONE else 0.6)


def join(table: pd.DataFrame, options: Options) -> pd.DataFrame:
    """With the paper's rows and those of the device, where a report of one is there."""
    own = _cpu(table)
    if options.quick and not options.toy:
        own = pd.concat([own, _earlier(options.out / "table1_timing.csv")], ignore_index=True)
    order = {(entry.method, entry.cap): number for number, entry in enumerate(ENTRIES)}
    place = [order[method, cap] for method, cap in zip(own.method, own.iterations, strict=True)]
    own = own.assign(place_=place, many=own.threads.astype(str) == ALL).sort_values(["many", "dtype", "place_"])
    rows = pd.concat([pd.DataFrame(printed()), own, _device_rows(options)], ignore_index=True)
    return rows.reindex(columns=COLUMNS)


def _cpu(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table.source == HERE) & (table.place == CPU)]


def _earlier(path: Path) -> pd.DataFrame:
    """The rows of 1000 iterations, which a quick run leaves out, from a table that is there."""
    if not path.exists():
        return pd.DataFrame()
    own = _cpu(pd.read_csv(path, keep_default_na=False, na_values=[""]))
    return own[own.iterations == SLOW]


def _device_rows(options: Options) -> pd.DataFrame:
    report = measured(options.out / "gpu.csv")
    rows = [_device_row(report, entry, dtype) for entry in ENTRIES for dtype in DTYPES]
    return pd.DataFrame([{"source": HERE, "place": GPU, "dtype": dtype} | row for row, dtype in rows])


def _device_row(report: pd.DataFrame | None, entry: Entry, dtype: str) -> tuple[dict[str, Any], str]:
    row: dict[str, Any] = {"method": entry.method, "iterations": entry.cap, "note": NOT_YET}
    if report is None:
        return row, dtype
    found = report[(report.part == "table1") & (report.method == entry.method) & (report.iterations == entry.cap)]
    found = found[found.dtype == dtype]
    row |= {"hardware": report.attrs["device"], "note": "not measured by the report"}
    if len(found):
        kept = ("rows", "seconds", "low", "high", "repeats", "disagreement", "note")
        row |= {name: found[name].iloc[0] for name in kept if name in found}
    return row, dtype


def record() -> dict[str, Any]:
    """The processor and how threads are set."""
    return {
        "processor": processor(),
        "threads": "1 and all: EMDREF_NUM_THREADS, OPENBLAS_NUM_THREADS and its like in a process of its own, and "
        "threadpoolctl where it is installed",
    }


def check(table: pd.DataFrame) -> None:
    """Every method agrees, and is timed on the CPU."""
    own = _cpu(table)
    must(len(own) > 0, "nothing was measured on the CPU")
    must(not own.note.fillna("").str.contains("disagrees").any(), "a method disagrees with float64")
    must((own.seconds > 0).all(), "a time is not positive: the machine was too busy to measure")


def claims(table: pd.DataFrame) -> list[Claim]:
    """What the paper draws from its table."""
    return [_faster(table, CPU), _faster(table, GPU), _slower(table), _impractical(table)]


def _row(table: pd.DataFrame, entry: Entry, source: str, place: str, dtype: str, threads: str) -> pd.DataFrame:
    """Of that line and column; dtype and threads may be left open."""
    rows = table[(table.source == source) & (table.place == place) & (table.method == entry.method)]
    rows = rows[rows.iterations == entry.cap]
    for column, value in (("dtype", dtype), ("threads", threads)):
        rows = rows[rows[column].astype(str) == value] if value else rows
    return rows[rows.seconds > 0][:1]


def _took(table: pd.DataFrame, entry: Entry, place: str, dtype: str, threads: str = "") -> Spread:
    """Median and quartiles of that line here; NaN where it is not measured."""
    rows = _row(table, entry, HERE, place, dtype, threads)
    return Spread(*(float(rows[name].iloc[0]) if len(rows) else np.nan for name in ("seconds", "low", "high")))


def _ratios(table: pd.DataFrame, cap: int, place: str) -> dict[str, Spread]:
    """Seconds of so many dense iterations over those of EMD², for each way in which both were measured."""
    ways = [(ONE, " 1 thread"), (ALL, " all threads")] if place == CPU else [("", "")]
    found = {}
    for method, dtype, (threads, told) in itertools.product((EMD_NATIVE, EMD_COMPENSATED), DTYPES, ways):
        dense = _took(table, Entry(SD, cap), place, dtype, threads)
        ours = _took(table, Entry(method), place, dtype, threads)
        ratio = Spread(dense.middle / ours.middle, dense.low / ours.high, dense.high / ours.low)
        if not np.isnan(ratio.middle):
            found[f"{method.removeprefix('EMD², ')} {dtype}{told}"] = ratio
    return found


def _claim(table: pd.DataFrame, source: str, claimed: str, cap: int, place: str, bound: float) -> Claim:
    """That so many dense iterations take at least `bound` times as long as EMD², in whichever way."""
    ratios = _ratios(table, cap, place)
    contrast = (
        f"seconds of {cap} dense iterations of SD over those of EMD², value and gradient of a minibatch on a {place}; "
        "the least over accuracies, dtypes and threads, from lower quartile over upper to upper over lower"
    )
    told = ", ".join(f"{float(f'{ratio.middle:.3g}'):g} ({name})" for name, ratio in ratios.items())
    papers = {where: _PAPERS[Entry(SD, cap), where] / _PAPERS[Entry(EMD_NATIVE), where] for where in (CPU, GPU)}
    printed_ = " and ".join(f"{ratio:.3g} on its {where}" for where, ratio in papers.items())
    found = "; ".join(filter(None, [f"the paper's own times give {printed_}", told and f"here {told}"]))
    if not ratios:
        return Claim(source, claimed, contrast, Missing(_why(table, place)), found)
    low, high = (min(ratio[end] for ratio in ratios.values()) for end in (1, 2))
    evidence = Margin(low, high, least=bound, unit="times as fast", kind="threshold")
    return Claim(source, claimed, contrast, evidence, found)


_PAPERS = {(Entry(row["method"], row["iterations"]), row["place"]): row["seconds"] for row in printed()}


def _faster(table: pd.DataFrame, place: str) -> Claim:
    bound, cap = CLAIMED[place], _cap(table)
    claimed = f"on a {place}, EMD² is {bound:g} times as fast as 100 iterations of SD"
    return _claim(table, SOURCE, claimed, cap, place, bound)


def _slower(table: pd.DataFrame) -> Claim:
    claimed = "being an iterative procedure, SD is significantly slower than EMD²"
    return _claim(table, "arXiv 1611.07573, Sec. 5.1", claimed, CAPS[0], CPU, 1.0)


def _impractical(table: pd.DataFrame) -> Claim:
    """74 s a minibatch are not practical, the paper says, and 7.51 s are not called so."""
    bound, printed_ = _PAPERS[Entry(SD, 100), CPU], _PAPERS[Entry(SD, SLOW), CPU]
    claimed = f"SD in float64 with {SLOW} iterations is not practical: a minibatch takes 74 s"
    contrast = (
        f"seconds of {SLOW} dense iterations in float64 on a CPU, beyond the {bound:g} s of the paper's 100; the "
        "faster of 1 thread and all, from the one run to what 10 and 100 iterations say with their quartiles"
    )
    found = {threads: _thousand(table, threads) for threads in (ONE, ALL)}
    there = {threads: some for threads, some in found.items() if not np.isnan(some.middle)}
    if not there:
        return Claim(SOURCE, claimed, contrast, Missing(f"{SLOW} iterations were not run"))
    sums = {threads: _took(table, Entry(SD_SPACE, SLOW), CPU, DTYPES[1], threads).middle for threads in there}
    each = [
        f"{duration(some.middle)} on {threads} thread{'s' * (threads == ALL)} ({duration(sums[threads])} by sums along "
        "the tree)"
        for threads, some in there.items()
    ]
    low, high = (min(some[end] for some in there.values()) for end in (1, 2))
    evidence = Margin(low, high, least=bound, unit="s", kind="threshold")
    return Claim(SOURCE, claimed, contrast, evidence, f"the paper: {printed_:g} s; here {', '.join(each)}")


def _thousand(table: pd.DataFrame, threads: str) -> Spread:
    """The one run, and how far it may be off: 10 and 100 iterations have quartiles, from which 1000 follow."""
    few, some, many = (_took(table, Entry(SD, cap), CPU, DTYPES[1], threads) for cap in CAPS)
    factor = (CAPS[2] - CAPS[0]) / (CAPS[1] - CAPS[0])
    ends = [few[i] + factor * (some[i] - few[-i]) for i in (1, 2)]
    return Spread(many.middle, min(many.low, *ends), max(many.high, *ends))


def _cap(table: pd.DataFrame) -> int:
    """The 100 iterations that the claims speak of, or the most there are (toy)."""
    own = table[(table.source == HERE) & (table.method == SD) & table.seconds.notna()]
    return min(100, int(own.iterations.max())) if len(own) else 100


def _why(table: pd.DataFrame, place: str) -> str:
    rows = table[(table.source == HERE) & (table.place == place)]
    return str(rows.note.dropna().iloc[0]) if rows.note.notna().any() else "not measured"


# --- the figure -------------------------------------------------------------------------------------------------------


def draw(table: pd.DataFrame):
    """The paper's lines and columns beside ours, then what the paper has not."""
    bars = {title: _bars(table, entries) for title, entries in LINES.items()}
    rooms = [sum(len(some) + 1 for some in each.values()) for each in bars.values()]
    fig, axes = style.figure(0.9 + min(0.1 * sum(rooms), 5.6), len(bars), 1, sharex=True, height_ratios=rooms)
    handles: dict[str, Any] = {}
    for axis, (title, each) in zip(axes, bars.items(), strict=True):
        handles |= _panel(axis, each)
        axis.set_title(title, loc="left")
    shortest = min(min(some.values()) for each in bars.values() for some in each.values())
    axes[-1].set(xlim=(10 ** np.floor(np.log10(shortest / 2)), 1e3), xlabel="time of value and gradient, batch 512 (s)")
    order = [label for label in BARS if label in handles]
    fig.suptitle("WordNet tree, 1,000 bins")
    fig.legend([handles[label] for label in order], order, loc="outside lower center", ncols=2, handlelength=1.0)
    return fig


def _bars(table: pd.DataFrame, entries: list[Entry]) -> dict[str, dict[str, float]]:
    """Seconds by line and column, where there are any."""
    found = {}
    for entry in entries:
        rows = {label: _row(table, entry, *column) for label, (column, _) in BARS.items()}
        found[_name(entry)] = {label: float(row.seconds.iloc[0]) for label, row in rows.items() if len(row)}
    return {name: some for name, some in found.items() if some}


def _panel(axis: Any, bars: dict[str, dict[str, float]]) -> dict[str, Any]:
    place, ticks, handles = 0.0, [], {}
    for some in bars.values():
        ticks.append(place + (len(some) - 1) / 2)
        for label, took in some.items():
            colour, hatch = BARS[label][1]
            handles[label] = axis.barh(place, took, 0.85, color=colour, hatch=hatch, edgecolor="white")
            beside = {"xytext": (2, 0), "textcoords": "offset points", "va": "center", "fontsize": style.SMALLEST}
            axis.annotate(duration(took), (took, place), **beside)
            place += 1
        place += 1
    style.log_axis(axis, "x")
    axis.set(ylim=(place - 1.2, -0.8), yticks=ticks, yticklabels=list(bars))
    axis.tick_params(axis="y", length=0)
    axis.grid(False, axis="y")
    return handles


def _name(entry: Entry) -> str:
    names = {SD: "SD", SD_SPACE: "SD by sums"}
    return f"{names[entry.method]}, {entry.cap}" if entry.cap else entry.method.replace(", ", ",\n")


def duration(seconds: float) -> str:
    """Three digits with their unit.

    >>> duration(74.5), duration(0.0889), duration(2.5e-5)
    ('74.5 s', '88.9 ms', '25 µs')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
