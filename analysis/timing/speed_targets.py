"""The targets for emdref's speed, each beside what a table of measurements says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.engine.claims import Claim
from analysis.peers.emd_batches import BOTH
from analysis.timing import sinkhorn_calls, small_calls, startup, torch_losses
from analysis.timing.emd_speed import COMPENSATED, FRESH, NATIVE, OWN
from analysis.timing.measuring import Spread
from analysis.timing.torch_losses import BACKWARD, FORWARD

SOURCE, SHEET = "Target", "_targets"  # of the claims
SMALL, LOSSES, SINKHORN, LARGE, REST = (
    "small calls", "losses for PyTorch", "Sinkhorn", "large batches", "growth and start-up",
)  # fmt: skip
PICTURES = {SMALL: "_targets_calls", LOSSES: "_targets_calls", SINKHORN: "_targets_sinkhorn"}  # others: SHEET
COLUMNS = ("group", "what", "against", "dtype", "target", "found", "low", "high", "unit", "holds")
CHAIN = {"space": "chain", "bins": 1000, "rows": 8192}
TREE = {"space": "tree", "bins": 1000, "rows": 512}
FASTER, SLOWER = "times as fast", "times the time"
SHARE = "of the bandwidth"
ITERATIONS = "iterations"
GIGABYTE = 1e9
DTYPES = ("float32", "float64")


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
    parts = {
        SMALL: (_small,),
        LOSSES: (_losses, _compiled),
        SINKHORN: (_sinkhorn, _fixed),
        LARGE: (_products, _bandwidth, _compensation, _checks, _single),
        REST: (_growth, _startup),
    }
    found = [goal.row() | {"group": group} for group in parts for part in parts[group] for goal in part(table)]
    return pd.DataFrame(found).rename(columns={"middle": "found"})[list(COLUMNS)]


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
    for dtype in DTYPES:
        yield dtype, _each("ratio", rows[rows.dtype == dtype])


class Duel(NamedTuple):
    """A target for a call beside a rival's in the same turns, one bound a dtype."""

    what: str
    task: str
    rival: str
    bounds: dict[str, float]
    place: dict[str, Any] | None = None
    unit: str = SLOWER

    def goals(self, table: pd.DataFrame) -> Iterator[Goal]:
        """For each dtype that has a bound."""
        for dtype, found in _ratios(table, self.place or {}, self.rival, self.task):
            if dtype in self.bounds:
                found = found if self.unit == FASTER else _inverse(found)
                yield Goal(self.what, self.rival, self.bounds[dtype], self.unit, dtype, found)


def _small(table: pd.DataFrame) -> Iterator[Goal]:
    pair = f"emd, one pair of {small_calls.BINS} bins"
    place = {"rows": small_calls.ROWS, "bins": small_calls.BINS}
    for duel in (
        Duel(pair, small_calls.PAIR, small_calls.LINE, {"float64": 1.5}),
        Duel(pair, small_calls.PAIR, small_calls.SCIPY, {"float64": 0.3}),
        Duel(f"{pair}, lists", small_calls.LISTS, small_calls.LINE, {"float64": 4.0}),
        Duel(f"{pair}, integers", small_calls.INTEGERS, small_calls.LINE, {"float64": 4.0}),
        Duel("emd_value_and_grad, ρ = 2, 16 × 10", small_calls.BOTH, small_calls.NUMPY, {"float64": 0.75}, place),
    ):
        yield from duel.goals(table)


def _losses(table: pd.DataFrame) -> Iterator[Goal]:
    for shape in (torch_losses.SMALL, torch_losses.LARGE):
        place = {"space": "chain", **dict(zip(("rows", "bins"), shape, strict=True))}
        for accuracy, bound in (("compensated", 1.0), ("native", 0.8)):
            for way in (FORWARD, BACKWARD):
                what = f"EMDLoss, ρ = 2, chain, {shape[0]} × {shape[1]}, {accuracy}, {way}"
                bounds = dict.fromkeys(DTYPES, bound if way == BACKWARD and shape == torch_losses.SMALL else 1.0)
                task = torch_losses.task_of(torch_losses.EMD, way, accuracy)
                yield from Duel(what, task, torch_losses.CUMSUM, bounds, place).goals(table)
    task = torch_losses.task_of(torch_losses.EMD, BACKWARD, "native")
    what = f"EMDLoss, ρ = 2, WordNet tree, 128 × 1000, native, {BACKWARD}"
    yield from Duel(what, task, torch_losses.INCIDENCE, {"float32": 0.1}, {"space": "tree"}).goals(table)
    for kind, shape in (("chain", torch_losses.SMALL), ("tree", torch_losses.LARGE)):
        place = {"space": kind, **dict(zip(("rows", "bins"), shape, strict=True))}
        name = "WordNet tree" if kind == "tree" else kind
        for way in (FORWARD, BACKWARD):
            what = f"SinkhornLoss, {torch_losses.CAP} iterations, {name}, {shape[0]} × {shape[1]}, {way}"
            task = torch_losses.task_of(torch_losses.SINKHORN, way)
            yield from Duel(what, task, torch_losses.LOOP, {"float32": 1.0}, place).goals(table)


def _compiled(table: pd.DataFrame) -> Iterator[Goal]:
    for accuracy in torch_losses.ACCURACIES[::-1]:
        for way in (FORWARD, BACKWARD):
            task = torch_losses.task_of(torch_losses.COMPILED, way, accuracy)
            what = f"EMDLoss by torch.compile, ρ = 2, chain, 64 × 30, {accuracy}, {way}"
            yield from Duel(what, task, torch_losses.EMPTY, {"float32": 1.2}).goals(table)


def _sinkhorn(table: pd.DataFrame) -> Iterator[Goal]:
    cap, beside = sinkhorn_calls.CAP, sinkhorn_calls.DENSE
    for rows, name, bounds in (
        (512, "512 rows", {"float32": 10.0, "float64": 12.0}),
        (1, "one pair", dict.fromkeys(DTYPES, 3.0)),
    ):
        what = f"sinkhorn, whole call, {cap} iterations, WordNet tree, {name}"
        yield from Duel(what, sinkhorn_calls.task_of(cap), beside, bounds, {"rows": rows}, FASTER).goals(table)


def _fixed(table: pd.DataFrame) -> Iterator[Goal]:
    rows = table[(table.part == sinkhorn_calls.FIXED) & (table.rows == 512)]
    rows = rows[rows.implementation == f"{OWN}, {sinkhorn_calls.FIXED}"]
    what, beside = "sinkhorn, besides its iterations, WordNet tree, 512 rows", f"{sinkhorn_calls.ITERATION} of it"
    for domain in ("linear", "log"):
        for read, bound in ((sinkhorn_calls.SOME, 4.0), (sinkhorn_calls.ALL, 6.0)):
            some = rows[rows.task == sinkhorn_calls.rest_of(domain, read=read)]
            for dtype in DTYPES:
                found = _each("ratio", some[some.dtype == dtype])
                yield Goal(f"{what}, {domain} domain, {read}", beside, bound, ITERATIONS, dtype, found)
    others = [sinkhorn_calls.rest_of("linear", variant) for variant in sinkhorn_calls.OTHERS]
    for task, name in ((others[:-1], "the dearest of the other variants"), (others[-1:], sinkhorn_calls.STOPPING)):
        some = rows[rows.task.isin(task) & (rows.dtype == "float64")]
        yield Goal(f"{what}, {name}", beside, 4.0, ITERATIONS, "float64", _dearest(some.ratio, some))


def _dearest(found: pd.Series, rows: pd.DataFrame) -> Spread:
    """The ratio of the row where it is largest."""
    return _each("ratio", rows[found == found.max()][:1])


def _single(table: pd.DataFrame) -> Iterator[Goal]:
    beside = f"batch of {small_calls.ROWS}"
    for accuracy in ("native", "compensated"):
        rows = table[(table.task == f"{small_calls.SINGLE}, {accuracy}") & (table.implementation == beside)]
        for dtype in DTYPES:
            some = rows[rows.dtype == dtype]
            what = f"EMD² value and gradient, one pair, a node, {accuracy}, dearest of all shapes"
            yield Goal(what, beside, 3.0, SLOWER, dtype, _inverse(_dearest(1 / some.ratio, some)))


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
        (startup.BOTH, "import and first call, machine code cached", "a bare cached kernel", 0.35),
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
    sheet = PICTURES.get(rows.group.iloc[0], SHEET)
    return Claim(SOURCE, f"{what}{beside}: {target} {unit}", found, bool((rows.holds == "yes").all()), sheet)


def _spread(row: Any) -> str:
    if np.isnan(row.found):
        return "not measured"
    around = f" ({row.low:.3g} to {row.high:.3g})" if row.low < row.high else ""
    return f"{row.found:.3g}{around}"
