"""What a Sinkhorn implementation computes, told from its answers: which plan of the alternation, and what is read of it.

Every loop that alternates v = q / (K^T u) and u = p / (K v) passes through one sequence of plans, half a step each.
How it starts (with v or with u), how many half steps it does and which lam it has settle the plan; a constant factor of
u_0 or of K does not.  What is left is how value and gradient are read off.  Candidates are computed in float64
logarithms, where nothing under- or overflows, on pairs without empty bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.entropic.gibbs import Log, over_bins
from emdref.entropic.iteration import plan_for
from emdref.spaces.space import Metric

Floats = NDArray[np.float64]
First = Literal["v", "u"]
COST, OBJECTIVE = "<T, M>", "<T, M> + <T, log T> / lam"
KINDS = (
    COST,
    OBJECTIVE,
    "<T, M> + <T, log T - 1> / lam",
    "<T, M> + <T, log T + 1> / lam",
    "<T, M> + KL(T | p q^T) / lam",
    "(<p, log u> + <q, log v>) / lam",
    "(<p, log u> + <q, log v> - |T|) / lam",
    "(<p, log u/p> + <q, log v/q>) / lam",
)
BASES = ("log u", "log u/p", "log v", "log v/q")
DEBIASED = "debiased "
_DENSE = 128  # bins up to which a matrix is multiplied by: any space has one, and no kernel need be compiled
_ALIKE = 8.0  # candidates off by up to this times the least are not told apart
_STILL = 2.0**-51
_EVERY = 1200  # half steps up to which each is looked at


class Setting(NamedTuple):
    """A sequence of plans: what is updated first, and what lam is multiplied by."""

    first: First
    lam_factor: float = 1.0
    lam_name: str = ""


@dataclass(frozen=True)
class State:
    """Where half a step led: arrays (N, rows), and numbers a row."""

    half_steps: int
    log_u: Floats
    log_v: Floats
    row_mass: Floats
    column_mass: Floats
    cost: Floats


@dataclass(frozen=True)
class Pairs:
    """Histograms, (rows, N) each, in float64 as they are."""

    p: Floats
    q: Floats

    @cached_property
    def logs(self) -> tuple[Floats, Floats]:
        with np.errstate(divide="ignore"):
            log_p, log_q = (np.array(np.log(x.T), order="C") for x in (self.p, self.q))
        return log_p, log_q

    def joined(self) -> Pairs:
        """These, each p against itself, and each q."""
        return Pairs(np.concatenate([self.p, self.p, self.q]), np.concatenate([self.q, self.p, self.q]))


def states(
    where: Metric, lam: float, pairs: Pairs, first: First, wanted: Sequence[int], drops: bool = False
) -> Iterator[State]:
    """The plans after these numbers of half steps, ascending; K = exp(-lam M), and what stands first is 1.

    With `drops`, bins where it should have no mass are left out from the beginning.
    """
    plan = plan_for(where, "dense" if where.n_bins <= _DENSE else "auto", "log", np.float64, lam, 0)
    log_p, log_q = pairs.logs
    u, v = (np.where(drops & np.isneginf(x), -np.inf, 0.0) for x in (log_p, log_q))
    with np.errstate(all="ignore"):
        ktu, kv = plan.transposed(u), plan.times(v)
        stops, still = set(wanted), 0
        for h in range(1, max(wanted) + 1):
            if still < 2 and (h % 2 == 1) == (first == "v"):
                old, v = v, Log.divide(log_q, ktu)
                kv, still = plan.times(v), still + 1 if _same(old, v) else 0
            elif still < 2:
                old, u = u, Log.divide(log_p, kv)
                ktu, still = plan.transposed(u), still + 1 if _same(old, u) else 0
            if h in stops:
                yield State(h, u, v, np.exp(u + kv), np.exp(v + ktu), plan.cost(u, v))


def _same(old: Floats, new: Floats) -> bool:
    """Whether rounding alone moves these logarithms."""
    there = np.isfinite(new) & np.isfinite(old)
    largest = np.abs(new, where=there, out=np.ones_like(new)).max(initial=1.0)
    return bool(np.abs(np.where(there, new - old, np.where(old == new, 0, np.inf))).max(initial=0) <= _STILL * largest)


def values(state: State, pairs: Pairs, lam: float) -> dict[str, tuple[Floats, Floats]]:
    """Of each kind the values, and the size of the terms whose sum they are, a number a row."""
    (log_p, log_q), (p, q) = pairs.logs, (pairs.p.T, pairs.q.T)
    u, v, rows, columns = state.log_u, state.log_v, state.row_mass, state.column_mass
    terms, mass = _sum(rows, u) + _sum(columns, v), over_bins(rows)
    of_p, of_q = _sum(p, log_p), _sum(q, log_q)
    potentials = _sum(p, u) + _sum(q, v)
    found = (
        state.cost * lam,
        terms,
        terms - mass,
        terms + mass,
        terms - _sum(rows, log_p) - _sum(columns, log_q),
        potentials,
        potentials - mass,
        potentials - of_p - of_q,
    )
    size = state.cost * lam + _sum(rows, np.abs(u)) + _sum(columns, np.abs(v)) + mass
    sizes = {COST: state.cost * lam}
    return {kind: (x / lam, sizes.get(kind, size) / lam) for kind, x in zip(KINDS, found, strict=True)}


def bases(state: State, pairs: Pairs) -> dict[str, Floats]:
    """What a gradient may be made of, (N, rows)."""
    log_p, log_q = pairs.logs
    with np.errstate(invalid="ignore"):
        found = state.log_u, state.log_u - log_p, state.log_v, state.log_v - log_q
    return dict(zip(BASES, found, strict=True))


def _sum(mass: Floats, log: Floats) -> Floats:
    """sum of mass * log over bins, 0 where there is no mass."""
    with np.errstate(invalid="ignore"):
        return over_bins(np.where(mass == 0, 0.0, mass * log))


# --- fits -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """`factor` times a kind of value (or a base of gradients) after so many half steps, by pair."""

    setting: Setting
    what: str
    factor: float
    half_steps: NDArray[np.int64]  # a number a pair; all the same where a cap ended the loop
    misfit: float
    alike: frozenset[tuple[First, str, int]]  # what else fits as well, if one number of half steps fits all pairs

    @property
    def stops(self) -> bool:
        """Whether the loop ended at different half steps."""
        return len(set(self.half_steps.tolist())) > 1


@dataclass
class Table:
    """Candidates of one setting, by half step and pair, (H, B) each, and how far the answers are from them."""

    setting: Setting
    steps: list[int] = field(default_factory=list)
    values: dict[str, list[Floats]] = field(default_factory=dict)
    sizes: dict[str, list[Floats]] = field(default_factory=dict)
    slopes: dict[str, list[Floats]] = field(default_factory=dict)
    apart: dict[str, list[Floats]] = field(default_factory=dict)  # from a gradient with factor 1
    bent: dict[str, list[Floats]] = field(default_factory=dict)  # with the factor that fits best


@dataclass
class Search:
    """Answers on some pairs, and the candidates for them."""

    where: Metric
    lam: float
    max_iter: int
    pairs: Pairs
    value: Floats | None  # (B,)
    grad: Floats | None  # (B, N)
    dtype: Any

    def floor(self, dtype: Any = None) -> float:
        """Relative error of one half step: N products summed in a good order, exponents of up to lam max(M)."""
        n, reach = self.where.n_bins, self.lam * self.where.diameter
        return float(np.finfo(dtype or self.dtype).eps) * (4 + 4 * math.sqrt(n) + reach)

    def bound(self, dtype: Any = None) -> float:
        """What plain arithmetic keeps to: an error each half step, of either sign; the alternation enlarges none.

        Arithmetic of another dtype than was asked for is told from another formula only where it is near.
        """
        if dtype not in (None, self.dtype):
            return _ALIKE * self.floor(dtype)
        return min(4 * self.floor() * math.sqrt(2 * self.max_iter + 2), 0.01)

    @property
    def _steps(self) -> list[int]:
        """Half steps to look at: all, or those about the cap and every tenth iteration."""
        last = 2 * self.max_iter + 8
        near = range(max(1, last - 16), last + 1)
        some = range(1, min(last, _EVERY) + 1), (h + k for h in range(20, last, 20) for k in (0, 1, 2, 3)), near
        twice = range(4 * self.max_iter - 2, 4 * self.max_iter + 5) if self.max_iter <= 10 * _EVERY else ()
        return sorted({h for part in (*some, twice) for h in part if h >= 1})

    def table(self, setting: Setting, debiased: bool = False) -> Table:
        """All candidates of a setting."""
        table, lam = Table(setting), self.lam * setting.lam_factor
        pairs, count = (self.pairs.joined() if debiased else self.pairs), len(self.pairs.p)
        for state in states(self.where, lam, pairs, setting.first, self._steps):
            table.steps.append(state.half_steps)
            for kind, (x, size) in values(state, pairs, lam).items():
                if debiased:
                    kind, x, size = DEBIASED + kind, _debiased(x, count), size[:count]
                table.values.setdefault(kind, []).append(x)
                table.sizes.setdefault(kind, []).append(size)
            if self.grad is not None:
                for name, base in bases(state, pairs).items():
                    if debiased:
                        name, base = DEBIASED + name, base[:, :count] - base[:, count : 2 * count]
                    self._compare(table, name, base, self.grad.T * lam)
        return table

    def _compare(self, table: Table, name: str, base: Floats, grad: Floats) -> None:
        """A gradient beside a base, each up to a constant."""
        a, b = grad - grad.mean(axis=0), base - base.mean(axis=0)
        size = np.maximum(np.abs(base).max(axis=0), 1.0)
        with np.errstate(all="ignore"):
            slope = np.where((square := over_bins(b * b)) > 0, over_bins(a * b) / square, 1.0)
            bent = np.abs(a - slope * b).max(axis=0) / (np.abs(slope) * size)
        table.slopes.setdefault(name, []).append(slope)
        table.apart.setdefault(name, []).append(np.abs(a - b).max(axis=0) / size)
        table.bent.setdefault(name, []).append(np.where(np.isfinite(bent), bent, np.inf))

    def best_value(self, tables: Sequence[Table], free: bool, dtype: Any = None) -> Fit | None:
        """The values nearest to what was answered, times a common factor if `free`."""
        assert self.value is not None
        entries = []
        for table in tables:
            for kind, rows in table.values.items():
                x, size = np.array(rows), np.array(table.sizes[kind])
                factor = np.ones(len(x))
                if free:
                    with np.errstate(all="ignore"):
                        factor = np.median(self.value / x, axis=1)
                    factor = np.where(np.isfinite(factor) & (factor != 0), factor, 1.0)
                off = np.abs(self.value / factor[:, None] - x) / np.maximum(size, np.finfo(float).tiny)
                entries.append((table, kind, factor, off))
        return self._best(entries, dtype)

    def best_gradient(self, tables: Sequence[Table], free: bool, dtype: Any = None) -> Fit | None:
        """The same for gradients, each up to a constant."""
        entries = []
        for table in tables:
            for name in table.slopes:
                if not free:
                    entries.append((table, name, np.ones(len(table.steps)), np.array(table.apart[name])))
                    continue
                slope, off = np.array(table.slopes[name]), np.array(table.bent[name])
                middle = np.median(slope, axis=1)
                with np.errstate(all="ignore"):
                    spread = np.abs(slope / middle[:, None] - 1)
                entries.append((table, name, middle, np.where(np.isfinite(spread), np.maximum(off, spread), np.inf)))
        return self._best(entries, dtype)

    def _best(self, entries: list[tuple[Table, str, Floats, Floats]], dtype: Any) -> Fit | None:
        """The candidate off by least; of those that are off by about as much, the one that was asked for."""
        if not entries:
            return None
        best = min(float(off.max(axis=1).min()) for *_, off in entries)
        limit = max(_ALIKE * best, self.floor())
        near = [
            (table, kind, factor[i], table.steps[i], float(off[i].max()))
            for table, kind, factor, off in entries
            for i in np.flatnonzero(off.max(axis=1) <= limit)
        ]
        alike = frozenset((table.setting.first, kind, h) for table, kind, _, h, _ in near)
        order = {kind: k for k, kind in enumerate(dict.fromkeys(kind for _, kind, *_ in entries))}

        def rank(one: tuple[Table, str, float, int, float]) -> tuple[Any, ...]:
            table, kind, _, h, _ = one
            asked = self.max_iter
            return (table.setting.first != "v", h // 2 != asked, order[kind], abs(h - 2 * asked - 1), h)

        table, kind, factor, h, off = min(near, key=rank)
        fit = Fit(table.setting, kind, float(factor), np.full(len(self.pairs.p), h), off, alike)
        if off <= self.bound(dtype):
            return fit
        floor = self.floor(dtype)
        stopped = [f for f in self._stopped(entries) if f.misfit <= _ALIKE * floor]
        return min(stopped, key=lambda f: max(f.misfit, floor), default=fit)

    def _stopped(self, entries: list[tuple[Table, str, Floats, Floats]]) -> Iterator[Fit]:
        """The candidates for a loop that ends when it likes, factor 1."""
        for table, kind, factor, off in entries:
            if not (factor == 1).all():
                continue
            steps, least = np.array(table.steps), off.min(axis=0)
            first = np.argmax(off <= np.maximum(_ALIKE * least, self.floor()), axis=0)
            yield Fit(table.setting, kind, 1.0, steps[first], float(least.max()), frozenset())


def _debiased(x: Floats, count: int) -> Floats:
    """Of values for (p, q), (p, p) and (q, q)."""
    return x[:count] - (x[count : 2 * count] + x[2 * count :]) / 2


@dataclass(frozen=True)
class Found:
    """What fits the answers, and how the best that does not differs."""

    value: Fit | None
    gradient: Fit | None
    closest: Fit | None  # where the values (without any, the gradients) fit nothing
    float32: bool = False  # it fits as float32 arithmetic would


def identify(search: Search) -> Found:
    """Look for what was asked first, then for other factors, another lam, and a divergence without bias."""
    families = _Families(search)
    grades = [search.dtype] if search.dtype == np.float32 else [search.dtype, np.float32]
    closest: Fit | None = None
    main = search.best_value if search.value is not None else search.best_gradient
    for dtype in grades:
        for tables, free in families:
            fit = main(tables(), free, dtype)
            if fit and fit.misfit <= search.bound(dtype):
                value = fit if search.value is not None else None
                gradient = _gradient(search, families, fit, dtype) if search.grad is not None else None
                return Found(value, gradient, None, dtype != search.dtype)
            if fit and fit.factor == 1 and (closest is None or fit.misfit < closest.misfit):
                closest = fit
    gradient = None
    if search.value is not None and search.grad is not None:
        alone = identify(Search(search.where, search.lam, search.max_iter, search.pairs, None, search.grad, search.dtype))
        gradient = alone.gradient
    return Found(None, gradient, closest)


class _Families:
    """Candidates by how far they are from what was asked, each made when it is looked at first."""

    def __init__(self, search: Search) -> None:
        self._search, self._made = search, dict[Any, list[Table]]()

    def __iter__(self) -> Iterator[tuple[Callable[[], list[Table]], bool]]:
        yield self.plain, False
        yield self.plain, True
        yield self.other_lam, False
        yield self.other_lam, True
        yield self.unbiased, False
        yield self.unbiased, True

    def plain(self) -> list[Table]:
        """lam as it was asked for."""
        return self._kept("plain", [Setting("v"), Setting("u")], False)

    def other_lam(self) -> list[Table]:
        """lam in another convention."""
        known = lam_factors(self._search.where, self._search.lam)
        return self._kept("lam", [Setting(f, x, name) for name, x in known.items() for f in ("v", "u")], False)

    def unbiased(self) -> list[Table]:
        """Less half of p against itself and of q against itself."""
        return self._kept("unbiased", [Setting("v"), Setting("u")], True)

    def _kept(self, name: str, settings: list[Setting], debiased: bool) -> list[Table]:
        if name not in self._made:
            self._made[name] = [self._search.table(setting, debiased) for setting in settings]
        return self._made[name]


def lam_factors(where: Metric, lam: float) -> dict[str, float]:
    """By how much another convention's lam is another one."""
    costs = where.distance_matrix() if where.n_bins <= 4 * _DENSE else np.array([where.diameter])
    known = {"1/lam for lam": lam**-2, "N lam": where.n_bins, "lam/N": 1 / where.n_bins, "2 lam": 2.0, "lam/2": 0.5}
    largest, mean, median, deviation = costs.max(), costs.mean(), np.median(costs), costs.std()
    named = {"max(M)": largest, "mean(M)": mean, "median(M)": median, "std(M)": deviation}
    known |= {f"lam/{name}": 1 / x for name, x in named.items() if x > 0}
    unlike: dict[str, float] = {}
    for name, x in known.items():
        if x > 0 and np.isfinite(x) and all(abs(x / y - 1) > 1e-6 for y in (1.0, *unlike.values())):
            unlike[name] = float(x)
    return unlike


def _gradient(search: Search, families: _Families, fit: Fit, dtype: Any) -> Fit | None:
    """What the gradients are, the same plans as the values' first."""
    for tables, free in ((families.plain, False), *families):
        kept = [t for t in tables() if t.setting.lam_factor == fit.setting.lam_factor]
        found = search.best_gradient(kept, free, dtype)
        if found and found.misfit <= search.bound(dtype):
            return found
    return None
