"""The targets for a GPU beside what its report says, and how other tables read that report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.timing.measuring import Spread
from analysis.timing.speed_targets import COLUMNS, FASTER, SHARE, SIDES, Goal

NOT_YET = "not yet measured on a device"
SIMULATED = "simulated"  # begins the name of what is no device
DTYPES = ("float32", "float64")
COPY, DENSE = "device-to-device copy", "dense loop"
BANDWIDTH = (("chain", 0.6), ("WordNet tree", 0.4))
NAMES = {"chain": "chain", "tree": "WordNet tree"}
SAME = "entries of compensated value, flow and gradient, rho = 1 to 4, whose bits differ from the CPU's"
EMD, SINKHORN = "EMD² value and gradient", "Sinkhorn, space kernel"
COPIED = "median and quartiles of the share of a copy's bandwidth in the same process"
BITS = "every entry, bit by bit"


def measured(path: Path) -> pd.DataFrame | None:
    """The report of a device, None if there is none; `attrs` has the device's name."""
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
        device = fact(table, "device")
    except (OSError, ValueError, AttributeError, KeyError):
        return None
    if not device or device.startswith(SIMULATED):
        return None
    table.attrs["device"] = device
    return table


def fact(table: pd.DataFrame, name: str) -> str:
    """What the report tells of its device under that name."""
    found = table.note[(table.part == "device") & (table["name"] == name)].dropna()
    return str(found.iloc[0]) if len(found) else ""


def goals(table: pd.DataFrame) -> pd.DataFrame:
    """A row a target and dtype, as in figures/speed_targets.csv; what a step failed to measure is told."""
    rows = pd.DataFrame([goal.row() for goal in each(table)]).rename(columns={"middle": "found"})
    return rows.assign(group="GPU")[list(COLUMNS)]


def unmeasured() -> pd.DataFrame:
    """The same targets where no device was at hand."""
    return goals(pd.DataFrame({"part": []})).assign(holds=NOT_YET)


def each(table: pd.DataFrame) -> Iterator[Goal]:
    """Every target, as it was measured."""
    yield from _bandwidth(table)
    yield from _sinkhorn(table)
    yield from _bits(table)


def _bandwidth(table: pd.DataFrame) -> Iterator[Goal]:
    for space, bound in BANDWIDTH:
        for accuracy in ("native", "compensated"):
            rows = _timed(table, space=space, rows=65_536, method=f"{EMD}, {accuracy}", dtype="float32")
            what = f"GPU: {EMD}, {space}, 65536 × 1000, {accuracy}"
            yield Goal(what, COPY, bound, SHARE, "float32", _spread(rows, "fraction"), COPIED)


def _sinkhorn(table: pd.DataFrame) -> Iterator[Goal]:
    rows = _timed(table, space="WordNet tree", rows=512, method=SINKHORN, dtype="float32")
    what = "GPU: Sinkhorn, space kernel, WordNet tree, 512 × 1000, 100 iterations"
    dense = _timed(table, space="WordNet tree", rows=512, method=DENSE, dtype="float32")
    ours = dense["name"].str.startswith("cuBLAS") if len(dense) else dense.index.notna()
    found = _spread(rows if ours.any() else rows[:0], "ratio")
    yield Goal(what, "dense loop, cuBLAS", 10.0, FASTER, "float32", found, SIDES)


def _bits(table: pd.DataFrame) -> Iterator[Goal]:
    for dtype in DTYPES:
        count = np.nan
        if "differ" in table:
            rows = table[(table.part == "bits") & (table.accuracy == "compensated") & (table.dtype == dtype)]
            rows = rows[(rows.method != "HVP") & (rows.rho.isna() | rows.rho.isin([1, 2, 3, 4]))]
            complete = not rows.differ.isna().any() and set(NAMES.values()) <= set(rows.space) and _ended(table, dtype)
            count = float(rows.differ.sum()) if complete else np.nan
        yield Goal(f"GPU: {SAME}", "the same call on the CPU", 0.0, "entries", dtype, Spread(count, count, count), BITS)


def _ended(table: pd.DataFrame, dtype: str) -> bool:
    """Whether every comparison of that dtype was made."""
    done = set(table["name"][(table.part == "step") & table.note.isna()])
    return {compared(space, dtype) for space in NAMES} <= done


def compared(space: str, dtype: str) -> str:
    """The step that compares the CPU's bits with the device's."""
    return f"bits, {space}, {dtype}"


def _timed(table: pd.DataFrame, **place: Any) -> pd.DataFrame:
    rows = table[table.part == "time"]
    for column, value in place.items():
        rows = rows[rows[column] == value] if column in rows else rows[:0]
    return rows


def _spread(rows: pd.DataFrame, column: str) -> Spread:
    """Median and quartiles of a quantity of the one row; nothing if it is not there."""
    names = (column, f"{column}_low", f"{column}_high")
    if len(rows) != 1 or any(name not in rows or rows[name].isna().any() for name in names):
        return Spread(np.nan, np.nan, np.nan)
    return Spread(*(float(rows[name].iloc[0]) for name in names))
