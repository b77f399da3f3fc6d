"""The targets for emdref's speed, each beside what a table of measurements says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.engine.script import Claim
from analysis.peers.emd_batches import BOTH
from analysis.timing import startup
from analysis.timing.emd_speed import COMPENSATED, FRESH, NATIVE
from analysis.timing.measuring import Spread
from analysis.timing.sinkhorn_speed import ITERATION

SOURCE, SHEET = "Target", "_targets"  # of the claims
COLUMNS = ("what", "against", "dtype", "target", "found", "low", "high", "unit", "holds")
CHAIN = {"space": "chain", "bins": 1000, "rows": 8192}
TREE = {"space": "tree", "bins": 1000, "rows": 512}
FASTER, SLOWER = "times as fast", "times the time"
SHARE = "of the bandwidth"
GIGABYTE = 1e9


class Goal(NamedTuple):
    """What is found must be at least (`FASTER`, `SHARE`) or at most `bound`."""

    what: str
    against: str
    bound: float
    unit: str
    dtype: str
    found: Spread

    def row(self) -> dict[str, Any]:
        """A row of figures/speed_targets.csv."""
        found = self.found.middle
        least = self.unit in (FASTER, SHARE)
        met = found >= self.bound if least else found <= self.bound
        return {
            "what": self.what, "against": self.against, "dtype": self.dtype,
            "target": f"{'at least' if least else 'at most'} {self.bound:g}",
            **self.found._asdict(), "unit": self.unit,
            "holds": "not measured" if np.isnan(found) else "yes" if met else "no",
        }  # fmt: skip


def goals(table: pd.DataFrame) -> pd.DataFrame:
    """A row a target and dtype; found, low and high are median and quartiles."""
    parts = (_products, _bandwidth, _compensation, _checks, _sinkhorn, _growth, _startup)
    rows = pd.DataFrame([goal.row() for part in parts for goal in part(table)]).rename(columns={"middle": "found"})
    return rows[list(COLUMNS)]


def _each(column: str, rows: pd.DataFrame, names: tuple[str, str, str] = ("", "_low", "_high")) -> Spread:
    """That quantity of the one row; nothing if it is not there."""
    if len(rows) != 1 or rows[column].isna().any():
        return Spread(np.nan, np.nan, np.nan)
    return Spread(*(float(rows[column + end].iloc[0]) for end in names))


def _inverse(x: Spread) -> Spread:
    return Spread(1 / x.middle, 1 / x.high, 1 / x.low)


def _over(a: Spread, b: Spread) -> Spread:
    return Spread(a.middle / b.middle, a.low / b.high, a.high / b.low)


def _ratios(table: pd.DataFrame, place: dict[str, Any], name: str, task: str = BOTH) -> Iterator[tuple[str, Spread]]:
    """Time over that of the native kernel, by dtype."""
    rows = table[(table.task == task) & (table.implementation == name)]
    for column, value in place.items():
        rows = rows[rows[column] == value]
    for dtype in ("float32", "float64"):
        yield dtype, _each("ratio", rows[rows.dtype == dtype])


def _products(table: pd.DataFrame) -> Iterator[Goal]:
    what = "EMD² value and gradient, WordNet tree, 512 × 1000, native"
    for against, bound in (("dense incidence, BLAS", 40.0), ("scipy.sparse incidence", 8.0)):
        for dtype, found in _ratios(table, TREE, against):
            yield Goal(what, against, bound, FASTER, dtype, found)


def _bandwidth(table: pd.DataFrame) -> Iterator[Goal]:
    for dtype, found in _ratios(table, CHAIN, FRESH):
        what = "EMD² value and gradient, chain, 8192 × 1000, native"
        yield Goal(what, FRESH, 1.5, SLOWER, dtype, _inverse(found))


def _compensation(table: pd.DataFrame) -> Iterator[Goal]:
    for name, place in (("chain, 8192 × 1000", CHAIN), ("WordNet tree, 512 × 1000", TREE)):
        for dtype, found in _ratios(table, place, COMPENSATED):
            yield Goal(f"EMD² value and gradient, {name}, compensated", NATIVE, 2.0, SLOWER, dtype, found)


def _checks(table: pd.DataFrame) -> Iterator[Goal]:
    for name, place in (("chain, 8192 × 1000", CHAIN), ("WordNet tree, 512 × 1000", TREE)):
        for own in (NATIVE, COMPENSATED):
            without = dict(_ratios(table, place, f"{own}, unchecked"))
            for dtype, found in _ratios(table, place, own):
                what = f"EMD² value and gradient, {name}, {own.split()[1]}, inputs checked"
                yield Goal(what, "unchecked", 1.1, SLOWER, dtype, _over(found, without[dtype]))


def _sinkhorn(table: pd.DataFrame) -> Iterator[Goal]:
    what, against = "Sinkhorn iteration, WordNet tree, batch 512, space kernel", "dense product, BLAS"
    bounds = {"float32": 15.0, "float64": 25.0}
    for dtype, found in _ratios(table, TREE, against, ITERATION):
        yield Goal(what, against, bounds[dtype], FASTER, dtype, found)


def growth_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Measurements of one batch size over many sizes of a space, by `space` and `implementation`."""
    rows = table[(table.part == "growth") & (table.rows == 16) & table.seconds.notna()]
    return rows.assign(each=rows.seconds / rows.nodes / rows.rows).sort_values("nodes")


def powers(rows: pd.DataFrame) -> pd.Series:
    """With which power of V the time grows, by space and implementation."""

    def slope(some: pd.DataFrame) -> float:
        return float(np.polyfit(np.log(some.nodes), np.log(some.seconds), 1)[0]) if len(some) > 1 else np.nan

    groups = rows.groupby(["space", "implementation"])
    return pd.Series({key: slope(some) for key, some in groups}, dtype=float)


def _growth(table: pd.DataFrame) -> Iterator[Goal]:
    rows = growth_rows(table)
    found = powers(rows).dropna()
    limits = (found.max(), found.min(), found.max()) if len(found) else (np.nan,) * 3
    what = "time of EMD² value and gradient, batch 16, V = 10³ to 10⁶ nodes, worst of all shapes"
    yield Goal(what, "-", 1.1, "power of V", "float64", Spread(*limits))
    peaks = rows[rows.nodes >= 900_000].peak / GIGABYTE
    limits = (peaks.max(), peaks.min(), peaks.max()) if len(peaks) else (np.nan,) * 3
    what = "memory of the whole process, 10⁶ nodes, batch 16, worst of all shapes"
    yield Goal(what, "-", 2.0, "GB", "float64", Spread(*limits))


def _startup(table: pd.DataFrame) -> Iterator[Goal]:
    rows = table[table.part == "start-up"].assign(seconds_low=table.low, seconds_high=table.high)
    wanted: tuple[tuple[str, str, str, float], ...] = (
        (startup.IMPORT, "import emdref", "import of NumPy and Numba", 0.6),
        (startup.WARM, "first call, machine code cached", "first call of a bare cached kernel", 0.3),
        (startup.COLD, "import and first call, nothing cached, whole process", "-", 10.0),
    )
    for task, what, against, bound in wanted:
        unit = "s" if against == "-" else "s more"
        yield Goal(what, against, bound, unit, "", _each("seconds", rows[rows.task == task]))


# --- in words ---------------------------------------------------------------------------------------------------------


def margins(table: pd.DataFrame) -> pd.DataFrame:
    """How many times better than its target each is (`found`, `low`, `high`), at most 100 times."""
    bound = table.target.str.split().str[-1].astype(float)
    least = table.target.str.startswith("at least")
    ends = {name: table[name].clip(lower=bound / 100) for name in ("found", "low", "high")}
    better = {name: (end / bound).where(least, bound / end) for name, end in ends.items()}
    return pd.DataFrame(better).clip(upper=100)


def claims_of(table: pd.DataFrame) -> list[Claim]:
    """One claim a target that was measured, all dtypes together."""
    table = table[table.holds != "not measured"]
    return [_claim(*key, rows) for key, rows in table.groupby(["what", "against", "unit"], sort=False)]


def _claim(what: str, against: str, unit: str, rows: pd.DataFrame) -> Claim:
    beside = "" if against == "-" else f", beside {against}"
    target = " / ".join(dict.fromkeys(rows.target))
    found = ", ".join(f"{_spread(row)} {row.dtype}".strip() for row in rows.itertuples())
    return Claim(SOURCE, f"{what}{beside}: {target} {unit}", found, bool((rows.holds == "yes").all()), SHEET)


def _spread(row: Any) -> str:
    if np.isnan(row.found):
        return "not measured"
    around = f" ({row.low:.3g} to {row.high:.3g})" if row.low < row.high else ""
    return f"{row.found:.3g}{around}"
