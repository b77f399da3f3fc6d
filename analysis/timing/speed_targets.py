"""The targets for emdref's speed, each beside what a table of measurements says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.engine.claims import TARGET, Claim, Evidence, Exact, Margin, Missing, judge
from analysis.peers.emd_batches import BOTH
from analysis.timing import sinkhorn_calls, small_calls, startup, torch_losses
from analysis.timing.emd_speed import COMPENSATED, FRESH, NATIVE, OWN
from analysis.timing.measuring import Spread
from analysis.timing.torch_losses import BACKWARD, FORWARD

SOURCE, SHEET = "our target of speed", "_targets"  # of the claims
SMALL, LOSSES, SINKHORN, LARGE, REST = (
    "small calls", "losses for PyTorch", "Sinkhorn", "large batches", "growth and start-up",
)  # fmt: skip
COLUMNS = ("group", "what", "against", "dtype", "target", "found", "low", "high", "unit", "holds")
CHAIN = {"space": "chain", "bins": 1000, "rows": 8192}
TREE = {"space": "tree", "bins": 1000, "rows": 512}
FASTER, SLOWER = "times as fast", "times the time"
SHARE = "of the bandwidth"
ITERATIONS = "iterations"
GIGABYTE = 1e9
DTYPES = ("float32", "float64")
TURNS = "median and quartiles of the ratios of times within a turn"
SIDES = "ratio of medians; from the lower quartile over the upper to the upper over the lower"
DIFFERENCES = "median and quartiles of the differences within a turn"
LEAST = "; of several dtypes the least favourable counts"


class Goal(NamedTuple):
    """What is found must be at least (`FASTER`, `SHARE`) or at most `bound`."""

    what: str
    against: str
    bound: float
    unit: str
    dtype: str
    found: Spread
    contrast: str = TURNS  # what the interval is
    worst: Spread | None = None  # the interval, where low and high of `found` are no quartiles but a range of shapes

    def least(self) -> bool:
        """Whether more is better."""
        return self.unit in (FASTER, SHARE)

    def target(self) -> str:
        """The bound in words."""
        return f"{'at least' if self.least() else 'at most'} {self.bound:g}"

    def interval(self) -> Spread:
        """What is judged."""
        return self.worst or self.found

    def row(self) -> dict[str, Any]:
        """A row of figures/speed_targets.csv."""
        return {
            "what": self.what, "against": self.against, "dtype": self.dtype,
            "target": self.target(), **self.found._asdict(), "unit": self.unit,
            "holds": judge([_claim([self])])[0].verdict,
        }  # fmt: skip


def goals(table: pd.DataFrame) -> pd.DataFrame:
    """A row a target and dtype; found, low and high are median and quartiles."""
    found = [goal.row() | {"group": group} for group, goal in grouped(table)]
    return pd.DataFrame(found).rename(columns={"middle": "found"})[list(COLUMNS)]


def grouped(table: pd.DataFrame) -> Iterator[tuple[str, Goal]]:
    """Each target under its group."""
    parts = {
        SMALL: (_small,),
        LOSSES: (_losses, _compiled),
        SINKHORN: (_sinkhorn, _fixed),
        LARGE: (_products, _bandwidth, _compensation, _checks, _single),
        REST: (_growth, _startup),
    }
    return ((group, goal) for group in parts for part in parts[group] for goal in part(table))


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
                yield Goal(what, "unchecked", 1.1, SLOWER, dtype, _over(found, without[dtype]), SIDES)


def growth_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Measurements of one batch size over many sizes of a space, by `space` and `implementation`."""
    rows = table[(table.part == "growth") & (table.rows == 16) & table.seconds.notna()]
    return rows.assign(each=rows.seconds / rows.nodes / rows.rows).sort_values("nodes")


def powers(rows: pd.DataFrame) -> pd.DataFrame:
    """With which power of V the time grows (`middle`), by space and implementation; `low` and `high` from quartiles.

    The slope of log t over log V is a weighted sum of the log t. Its ends have the lower quartiles of the times that
    weigh more than 0 and the upper ones of the others, and the other way round.
    """

    def slope(some: pd.DataFrame) -> Spread:
        x = np.log(some.nodes) - np.log(some.nodes).mean()
        weights, of = x / (x**2).sum(), np.log(some[["seconds", "low", "high"]])
        below, above = of.low.where(weights > 0, of.high), of.high.where(weights > 0, of.low)
        return Spread(*(float((weights * of_.to_numpy()).sum(skipna=False)) for of_ in (of.seconds, below, above)))

    groups = {key: some for key, some in rows.groupby(["space", "implementation"]) if len(some) > 1}
    index = pd.MultiIndex.from_tuples(groups, names=["space", "implementation"]) if groups else None
    return pd.DataFrame(
        [slope(some) for some in groups.values()], index=index, columns=list(Spread._fields), dtype=float
    )


def worst_power(rows: pd.DataFrame) -> Spread:
    """The largest of `powers`, in the interval of a maximum."""
    return Spread(*powers(rows).max(skipna=False))


def _growth(table: pd.DataFrame) -> Iterator[Goal]:
    rows = growth_rows(table)
    found = powers(rows).middle
    what = "time of EMD² value and gradient, batch 16, V = 10³ to 10⁶ nodes, worst of all shapes"
    contrast = "slope of log t over log V, of the worst shape; from quartiles of the times"
    yield Goal(what, "-", 1.1, "power of V", "float64", _range(found), contrast, worst_power(rows))
    peaks = rows[rows.nodes >= 900_000].peak / GIGABYTE
    what = "memory of the whole process, 10⁶ nodes, batch 16, worst of all shapes"
    contrast = "the largest of all processes; each counts pages once, which has no quartiles"
    yield Goal(what, "-", 2.0, "GB", "float64", _range(peaks), contrast, Spread(*[peaks.max()] * 3))


def _range(values: pd.Series) -> Spread:
    """The largest, and the range, of what is the better the smaller."""
    return Spread(values.max(), values.min(), values.max())


def _startup(table: pd.DataFrame) -> Iterator[Goal]:
    rows = table[table.part == "start-up"].assign(seconds_low=table.low, seconds_high=table.high)
    wanted: tuple[tuple[str, str, str, float], ...] = (
        (startup.BOTH, "import and first call, machine code cached", "a bare cached kernel", 0.35),
        (startup.COLD, "import and first call, nothing cached, whole process", "-", 10.0),
    )
    for task, what, against, bound in wanted:
        unit = "s" if against == "-" else "s more"
        contrast = "median and quartiles of whole processes" if against == "-" else DIFFERENCES
        yield Goal(what, against, bound, unit, "", _each("seconds", rows[rows.task == task]), contrast)


# --- in words ---------------------------------------------------------------------------------------------------------


def claims_of(found: Iterable[Goal], sheet: str = SHEET) -> list[Claim]:
    """One claim a target, all dtypes with the same bound together."""

    def key(goal: Goal) -> tuple:
        return goal.what, goal.against, goal.bound, goal.unit

    together: dict[tuple, list[Goal]] = {}
    for goal in found:
        together.setdefault(key(goal), []).append(goal)
    return [_claim(some, sheet) for some in together.values()]


def _claim(some: list[Goal], sheet: str = SHEET) -> Claim:
    first = some[0]
    beside = "" if first.against == "-" else f", beside {first.against}"
    target = first.target()
    found = ", ".join(f"{_spread(goal.found)} {goal.dtype}".strip() for goal in some)
    alone = f" in {first.dtype}" * (len(some) == 1 and bool(first.dtype))
    claimed = f"{first.what}{beside}: {target} {first.unit}{alone}"
    return our_claim(claimed, first.contrast + LEAST * (len(some) > 1), _evidence(some), found, sheet)


def our_claim(claimed: str, contrast: str, evidence: Evidence, found: str, sheet: str, source: str = SOURCE) -> Claim:
    """A claim of our own, which says what would decide where quartiles lie on both sides of its bound."""
    doubts = []
    if isinstance(evidence, Margin) and any(evidence.low < x < evidence.high for x in (evidence.least, evidence.most)):
        seen = f"{evidence.high - evidence.low:.2g} {evidence.unit}".strip()
        doubts.append(f"less than {seen} from the target cannot be seen: a machine that does nothing else shows less")
    return Claim(source, claimed, contrast, evidence, found, doubts, TARGET, sheet)


def _evidence(some: list[Goal]) -> Evidence:
    """The least favourable of them; one that is not measured leaves all of them open."""
    first, gone = some[0], [goal for goal in some if np.isnan(goal.found.middle)]
    if gone:
        return Missing(f"it was not timed in {' and '.join(goal.dtype for goal in gone)}".removesuffix(" in "))
    if first.bound == 0:  # a count
        return Exact(all(goal.found.middle == 0 for goal in some))
    ends = [goal.interval()[1:] for goal in some]
    if first.least():
        low, high = np.min(ends, axis=0).tolist()
        return Margin(low, high, least=first.bound, unit=first.unit, kind="threshold")
    low, high = np.max(ends, axis=0).tolist()
    return Margin(low, high, most=first.bound, unit=first.unit, kind="threshold")


def _spread(found: Spread) -> str:
    if np.isnan(found.middle):
        return "not measured"
    around = f" ({found.low:.3g} to {found.high:.3g})" if found.low < found.high else ""
    return f"{found.middle:.3g}{around}"
