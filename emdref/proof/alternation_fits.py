"""What a Sinkhorn implementation computes, told from its answers: which plan of the alternation, what is read of it.

Every loop that alternates v = q / (K^T u) and u = p / (K v) passes through one sequence of plans, half a step each.
How it starts (with v or with u), how many half steps it does and which lam it has settle the plan; a constant factor of
u_0 or of K does not.  What is left is how value and gradient are read off.  Candidates are computed in float64
logarithms, where nothing under- or overflows, on pairs without empty bins.  Callers switch NumPy's warnings off: -inf
stands for 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.entropic.gibbs import DenseLog, Log, Plan
from emdref.entropic.iteration import plan_for
from emdref.spaces.space import Metric

Floats = NDArray[np.float64]
First = Literal["v", "u"]
COST, OBJECTIVE, CONCAVE = "<T, M>", "<T, M> + <T, log T> / lam", "<T, M> - <T, log T> / lam"
KINDS = (
    COST,
    OBJECTIVE,
    "<T, M> + <T, log T - 1> / lam",
    "<T, M> + <T, log T + 1> / lam",
    "<T, M> + KL(T | p q^T) / lam",
    "(<p, log u> + <q, log v>) / lam",
    "(<p, log u> + <q, log v> - |T|) / lam",
    "(<p, log u/p> + <q, log v/q>) / lam",
    "(<p, log u> + <q, log v>) / lam with K = exp(-lam M - 1)",
    CONCAVE,  # Eq. (3) of the paper as printed
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
    plan = _plan(where, lam)
    log_p, log_q = pairs.logs
    u, v = (np.where(drops & np.isneginf(x), -np.inf, 0.0) for x in (log_p, log_q))
    ktu, kv = plan.transposed(u), plan.times(v)
    stops, still, state = set(wanted), 0, None
    little = _STILL * (1 + lam * where.diameter)
    for h in range(1, max(wanted) + 1):
        if still < 2 and (h % 2 == 1) == (first == "v"):
            old, v = v, Log.divide(log_q, ktu)
            kv, still = plan.times(v), still + 1 if _moved(old, v) <= little else 0
        elif still < 2:
            old, u = u, Log.divide(log_p, kv)
            ktu, still = plan.transposed(u), still + 1 if _moved(old, u) <= little else 0
        if h in stops and (still < 2 or state is None):
            state = State(h, u, v, np.exp(u + kv), np.exp(v + ktu), plan.cost(u, v))
        if h in stops and state is not None:
            yield state if state.half_steps == h else replace(state, half_steps=h)


def _plan(where: Metric, lam: float) -> Plan:
    """Products in float64 logarithms."""
    if where.n_bins <= (_DENSE if where.rooted is not None else 4 * _DENSE):
        return _Small(where.distance_matrix(), lam, 0)
    return plan_for(where, "auto", "log", np.float64, lam, 0)


class _Small(DenseLog):
    """A matrix so small that all rows are multiplied at once."""

    @staticmethod
    def _product(log_k: Floats, x: Floats) -> Floats:
        y = log_k[:, :, None] + x
        largest = y.max(axis=1)
        y -= np.where(np.isneginf(largest), 0, largest)[:, None]
        return np.log(np.exp(y, out=y).sum(axis=1)) + largest

    def times(self, v: Floats) -> Floats:
        return self._product(self.log_k, v)

    def transposed(self, u: Floats) -> Floats:
        return self._product(self.log_k.T, u)

    def moments(self, v: Floats) -> Floats:
        return self._product(self.log_km, v)


def _moved(old: Floats, new: Floats) -> float:
    """By how much these logarithms changed."""
    return float(np.fmax.reduce(np.abs(new - old), axis=None))


def values(state: State, pairs: Pairs, lam: float) -> tuple[Floats, Floats]:
    """The values of all KINDS, (kinds, rows), and the size of the terms whose sums they are, likewise."""
    (log_p, log_q), (p, q) = pairs.logs, (pairs.p.T, pairs.q.T)
    u, v, rows, columns = state.log_u, state.log_v, state.row_mass, state.column_mass
    of_u, of_v, cost, mass = _sum(rows, u), _sum(columns, v), state.cost * lam, rows.sum(axis=0)
    terms, potentials = of_u + of_v, _sum(p, u) + _sum(q, v)
    entropies = _sum(rows, log_p) + _sum(columns, log_q)
    of_pairs = _sum(p, log_p) + _sum(q, log_q)
    size = cost + np.abs(of_u) + np.abs(of_v) + mass
    found = (
        cost,
        terms,
        terms - mass,
        terms + mass,
        terms - entropies,
        potentials,
        potentials - mass,
        potentials - of_pairs,
        potentials + p.sum(axis=0),
        2 * cost - terms,
    )
    return np.array(found) / lam, np.array([cost, *[size] * (len(found) - 1)]) / lam


def bases(state: State, pairs: Pairs) -> Floats:
    """What a gradient may be made of, all BASES, (4, N, rows)."""
    log_p, log_q = pairs.logs
    return np.array([state.log_u, state.log_u - log_p, state.log_v, state.log_v - log_q])


def _sum(mass: Floats, log: Floats) -> Floats:
    """sum of mass * log over bins, 0 where there is no mass."""
    return np.einsum("nb,nb->b", mass, np.where(mass == 0, 0.0, log))


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
    """Candidates of one setting, by half step, and how far the answers are from them."""

    setting: Setting
    prefix: str = ""
    steps: list[int] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)  # (kinds, B) each
    sizes: list[Floats] = field(default_factory=list)
    slopes: list[Floats] = field(default_factory=list)  # (bases, B) each: the factor that fits a gradient best
    apart: list[Floats] = field(default_factory=list)  # what is left with factor 1
    bent: list[Floats] = field(default_factory=list)  # what is left with that factor

    def repeat(self) -> None:
        """The same once more: nothing moved."""
        for rows in (self.values, self.sizes, self.slopes, self.apart, self.bent):
            if rows:
                rows.append(rows[-1])


Entry = tuple[Table, str, Floats, Floats]  # a kind of one table, a factor (H,), misfits (H, B)


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
        table, lam = Table(setting, DEBIASED if debiased else ""), self.lam * setting.lam_factor
        pairs, count = (self.pairs.joined() if debiased else self.pairs), len(self.pairs.p)
        before = None
        for state in states(self.where, lam, pairs, setting.first, self._steps):
            table.steps.append(state.half_steps)
            if before is not None and state.log_u is before.log_u and state.log_v is before.log_v:
                table.repeat()
                continue
            before = state
            x, size = values(state, pairs, lam)
            table.values.append(_debiased(x, count) if debiased else x)
            table.sizes.append(size[:, :count])
            if self.grad is not None:
                base = bases(state, pairs)
                base = base[..., :count] - base[..., count : 2 * count] if debiased else base
                self._compare(table, base, self.grad.T * lam)
        return table

    def _compare(self, table: Table, base: Floats, grad: Floats) -> None:
        """A gradient (N, B) beside bases (4, N, B), each up to a constant."""
        a, b = grad - grad.mean(axis=0), base - base.mean(axis=1, keepdims=True)
        size = np.maximum(np.abs(base).max(axis=1), 1.0)
        square = (b * b).sum(axis=1)
        slope = np.where(square > 0, (a * b).sum(axis=1) / square, 1.0)
        bent = np.abs(a - slope[:, None] * b).max(axis=1) / (np.abs(slope) * size)
        table.slopes.append(slope)
        table.apart.append(np.abs(a - b).max(axis=1) / size)
        table.bent.append(np.where(np.isfinite(bent), bent, np.inf))

    def best_value(self, tables: Sequence[Table], free: bool, dtype: Any = None) -> Fit | None:
        """The values nearest to what was answered, times a common factor if `free`."""
        assert self.value is not None
        entries, fixed = [], []
        for table in tables:
            for kind, x, size in zip(KINDS, *map(_by_kind, (table.values, table.sizes)), strict=True):
                size = np.maximum(size, np.finfo(float).tiny)
                factor = _common(np.median(self.value / x, axis=1)) if free else np.ones(len(x))
                entries.append((table, kind, factor, np.abs(self.value / factor[:, None] - x) / size))
                scale = table.setting.lam_factor if free else 1.0  # a lam that scaled costs bring scales them
                fixed.append((table, kind, np.full(len(x), scale), np.abs(self.value / scale - x) / size))
        return self._best(entries, fixed, dtype)

    def best_gradient(self, tables: Sequence[Table], free: bool, dtype: Any = None) -> Fit | None:
        """The same for gradients, each up to a constant."""
        entries, fixed = [], []
        for table in tables:
            columns = zip(BASES, *map(_by_kind, (table.slopes, table.apart, table.bent)), strict=True)
            for name, slope, apart, bent in columns:
                if not free:
                    entries.append((table, name, np.ones(len(apart)), apart))
                    fixed.append(entries[-1])
                    continue
                scale = table.setting.lam_factor  # as for values
                fixed.append((table, name, np.full(len(apart), scale), np.maximum(bent, np.abs(slope / scale - 1))))
                factor = _common(np.median(slope, axis=1))
                spread = np.abs(slope / factor[:, None] - 1)
                off = np.where(np.isfinite(spread), np.maximum(bent, spread), np.inf)
                entries.append((table, name, factor, off))
        return self._best(entries, fixed, dtype)

    def _best(self, entries: list[Entry], fixed: list[Entry], dtype: Any) -> Fit | None:
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
        alike = frozenset((table.setting.first, table.prefix + kind, h) for table, kind, _, h, _ in near)
        order = {kind: k for k, kind in enumerate((*KINDS, *BASES))}

        def rank(one: tuple[Table, str, float, int, float]) -> tuple[Any, ...]:
            table, kind, _, h, _ = one
            asked = self.max_iter
            return (table.setting.first != "v", h // 2 != asked, order[kind], abs(h - 2 * asked - 1), h)

        table, kind, factor, h, off = min(near, key=rank)
        fit = Fit(table.setting, table.prefix + kind, float(factor), np.full(len(self.pairs.p), h), off, alike)
        if off <= self.bound(dtype) or dtype not in (None, self.dtype):
            return fit
        floor = self.floor(dtype)
        stopped = [f for f in self._stopped(fixed) if f.misfit <= _ALIKE * floor]
        return min(stopped, key=lambda f: max(f.misfit, floor), default=fit)

    def _stopped(self, entries: list[Entry]) -> Iterator[Fit]:
        """The candidates for a loop that ends when it likes."""
        for table, kind, factor, off in entries:
            steps, least = np.array(table.steps), off.min(axis=0)
            first = np.argmax(off <= np.maximum(_ALIKE * least, self.floor()), axis=0)
            yield Fit(
                table.setting, table.prefix + kind, float(factor[0]), steps[first], float(least.max()), frozenset()
            )


def _debiased(x: Floats, count: int) -> Floats:
    """Of values for (p, q), (p, p) and (q, q)."""
    return x[:, :count] - (x[:, count : 2 * count] + x[:, 2 * count :]) / 2


def _by_kind(rows: list[Floats]) -> Floats:
    """(kinds, H, B)."""
    return np.array(rows).swapaxes(0, 1)


def _common(factor: Floats) -> Floats:
    """Factors, 1 where there is none; what differs from 1 by rounding is 1."""
    return np.where(np.isfinite(factor) & (factor != 0) & (np.abs(factor - 1) > 1e-6), factor, 1.0)


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
                return Found(value, gradient, None, dtype != search.dtype and _narrow(search, gradient))
            if fit and fit.factor == 1 and (closest is None or fit.misfit < closest.misfit):
                closest = fit
    gradient = None
    if search.value is not None and search.grad is not None:
        alone = identify(
            Search(search.where, search.lam, search.max_iter, search.pairs, None, search.grad, search.dtype)
        )
        gradient = alone.gradient
    return Found(None, gradient, closest)


def _narrow(search: Search, gradient: Fit | None) -> bool:
    """Whether what is near a candidate can be so of float32: not if gradients of the same loop are right to float64."""
    if search.value is None or gradient is None:
        return True
    return gradient.misfit > search.bound() or bool((search.value == search.value.astype(np.float32)).all())


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
