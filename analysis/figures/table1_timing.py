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

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.engine import style
from analysis.engine.cells import Cell, grid
from analysis.engine.claims import Claim
from analysis.engine.machine import processor
from analysis.engine.reproduction import exact, timing
from analysis.engine.script import Options, must
from analysis.gpu.device_targets import NOT_YET, measured
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


def seconds(table: pd.DataFrame, entry: Entry, place: str, dtype: str, threads: str = "") -> float:
    """Of that line here; NaN where it is not measured."""
    rows = table[(table.source == HERE) & (table.place == place) & (table.method == entry.method)]
    rows = rows[(rows.iterations == entry.cap) & (rows.dtype == dtype)]
    if threads:
        rows = rows[rows.threads.astype(str) == threads]
    return float(rows.seconds.iloc[0]) if len(rows) else np.nan


def claims(table: pd.DataFrame) -> list[Claim]:
    """The two ratios that the paper draws from its table."""
    return [_claim(table, place) for place in (CPU, GPU)]


def _claim(table: pd.DataFrame, place: str) -> Claim:
    bound, cap = CLAIMED[place], _cap(table)
    claimed = f"on a {place}, EMD² is {bound:g} times as fast as 100 iterations of SD"
    ways = [(ONE, "1 thread"), (ALL, "all threads")] if place == CPU else [("", "")]
    found = {
        f"{method.removeprefix('EMD², ')} {dtype} {told}".strip(): _ratio(table, method, place, dtype, threads)
        for method in (EMD_NATIVE, EMD_COMPENSATED)
        for dtype in DTYPES
        for threads, told in ways
    }
    there = {name: ratio for name, ratio in found.items() if not np.isnan(ratio)}
    if not there:
        return Claim(SOURCE, claimed, _why(table, place), None)
    text = "; ".join(f"{float(f'{ratio:.3g}'):g} ({name})" for name, ratio in there.items())
    least = f", with {cap} iterations" * (cap != 100)
    return Claim(SOURCE, claimed, f"{text}{least}", all(ratio >= bound for ratio in there.values()))


def _cap(table: pd.DataFrame) -> int:
    """The 100 iterations that the claims speak of, or the most there are (toy)."""
    own = table[(table.source == HERE) & (table.method == SD) & table.seconds.notna()]
    return min(100, int(own.iterations.max())) if len(own) else 100


def _ratio(table: pd.DataFrame, method: str, place: str, dtype: str, threads: str) -> float:
    dense = seconds(table, Entry(SD, _cap(table)), place, dtype, threads)
    return dense / seconds(table, Entry(method), place, dtype, threads)


def _why(table: pd.DataFrame, place: str) -> str:
    rows = table[(table.source == HERE) & (table.place == place)]
    return str(rows.note.dropna().iloc[0]) if rows.note.notna().any() else "not measured"


# --- the table --------------------------------------------------------------------------------------------------------


def draw(table: pd.DataFrame):
    """The paper's columns and ours."""
    fig, axis = style.figure(0.21 * (len(ENTRIES) + 4), 1, 1)
    axis.set_axis_off()
    titles, columns = _columns(table)
    lines = [[_name(entry), *(_cell(table, entry, *column) for column in columns)] for entry in ENTRIES]
    text = axis.table(
        lines, colLabels=["", *titles], loc="upper center", cellLoc="center", colWidths=[0.17] + [0.093] * len(titles)
    )
    text.auto_set_font_size(False)
    text.set_fontsize(6.5)
    text.scale(1, 1.15)
    for (i, j), box in text.get_celld().items():
        box.set(linewidth=0.3, edgecolor=style.GREY)
        if i == 0:
            box.set_height(2.6 * box.get_height())
            box.set_text_props(fontweight="bold", fontsize=5.8, linespacing=1.25)
        elif box.get_text().get_text() == NOT_YET.replace(" on", "\non"):
            box.set_text_props(fontsize=4.2, color=style.GREY)
        if j == 0 and i:
            box.set_text_props(ha="left")
            box.PAD = 0.04
    machines = " and ".join(table[table.source == HERE].hardware.dropna().unique())
    title = f"Time of value and gradient, batch 512, WordNet tree (1000 bins); here: {machines}"
    axis.set_title(title, fontsize=8)
    return fig


def _columns(table: pd.DataFrame) -> tuple[list[str], list[tuple[str, str, str, str]]]:
    own = _cpu(table)
    count = int(pd.to_numeric(own[own.threads.astype(str) == ALL].thread_count).max())
    told = {ONE: "1 thread", ALL: f"{count} thread{'s' * (count > 1)}"}
    titles = [f"paper, {place}\n{HARDWARE[place].split(' at ')[0]}" for place in (CPU, GPU)]
    columns = [(PAPER, place, "", "") for place in (CPU, GPU)]
    for threads in (ONE, ALL):
        titles += [f"here, CPU\n{told[threads]}\n{dtype}" for dtype in DTYPES]
        columns += [(HERE, CPU, dtype, threads) for dtype in DTYPES]
    titles += [f"here, GPU\n{dtype}" for dtype in DTYPES]
    return titles, columns + [(HERE, GPU, dtype, "") for dtype in DTYPES]


def _name(entry: Entry) -> str:
    return f"{entry.method.replace(' kernel', '')}, {entry.cap}" if entry.cap else entry.method


def _cell(table: pd.DataFrame, entry: Entry, source: str, place: str, dtype: str, threads: str) -> str:
    rows = table[(table.source == source) & (table.place == place) & (table.method == entry.method)]
    rows = rows[rows.iterations == entry.cap]
    for column, value in (("dtype", dtype), ("threads", threads)):
        rows = rows[rows[column].astype(str) == value] if value else rows
    if rows.empty:
        return "–"
    row = rows.iloc[0]
    return duration(row.seconds) if row.seconds > 0 else str(row.note).replace(" on", "\non")


def duration(seconds: float) -> str:
    """Three digits with their unit.

    >>> duration(74.5), duration(0.0889), duration(2.5e-5)
    ('74.5 s', '88.9 ms', '25 µs')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
