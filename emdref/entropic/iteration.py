"""Sinkhorn's iteration on checked rows: the same loop for every variant, kernel, domain and dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import validation
from emdref.arguments.messages import shown
from emdref.arguments.validation import Batch
from emdref.entropic import formats, gibbs, inputs
from emdref.entropic.failures import FAILED, Watch
from emdref.entropic.relaxation import Relaxation
from emdref.entropic.results import (
    IDENTIFIES,
    Run,
    SinkhornResult,
    first_scalings,
    lost_too_much,
    ranked,
    unresolved,
)
from emdref.entropic.tiles import TileRun
from emdref.entropic.unrolled import Tape, Unrolled
from emdref.entropic.variants import Variant
from emdref.spaces.space import Metric, rooted


def iterate(
    rows: Batch,
    where: Metric,
    lam: Any,
    switches: Variant,
    kernel: str,
    domain: str,
    tol: Any,
    init: Any,
    max_iter: int,
    stops: tuple[int, ...] = (),
    unrolled: bool = False,
    form: formats.Format | None = None,
    check: Callable[[], object] | None = None,
) -> dict[int, SinkhornResult]:
    """Results of checked rows after `max_iter` iterations and after each of `stops`, by iteration.

    Rows that `looks_itself` need not be checked: `check` does if a first look is in doubt.
    """
    dtype = form or rows.p.dtype.type
    plan = plan_for(where, kernel, domain, dtype, lam, switches.shift)
    with np.errstate(all="ignore"):
        wanted = tolerance(tol, where, rows.p.shape[1], float(lam), domain, dtype)
        by_tiles = _by_tiles(switches, unrolled)
        totals = rows.p.sum(axis=1) if wanted.number or plan.lost or not by_tiles else None
        tol = None if totals is None else wanted.of(totals, rows.p.dtype, rows.shape)
        if by_tiles and isinstance(plan, gibbs.SpaceLinear):
            alike = init is None and not switches.drops_empty
            log_u = None if alike else _initial(init, rows, switches)
            return TileRun(rows, totals, plan, switches, lam, tol, log_u, max_iter, check).go(max_iter, stops)
        run = _Run(rows, plan, switches, lam, tol, unrolled)
        run.start(_initial(init, rows, switches))
        return run.go(max_iter, stops)


def looks_itself(where: Metric, switches: Variant, kernel: str, unrolled: bool, dtype: Any) -> bool:
    """Whether rows in their own dtype are looked at while they are worked on."""
    return dtype is None and kernel != "dense" and where.rooted is not None and _by_tiles(switches, unrolled)


def _by_tiles(switches: Variant, unrolled: bool) -> bool:
    """Whether nobody asks for what stands between two iterations."""
    return switches.relaxation <= 1 and not unrolled


def plan_for(where: Metric, kernel: str, domain: str, dtype: Any, lam: Any, shift: int) -> gibbs.Plan:
    """The way to multiply by K that is asked for, in a dtype or a Format."""
    by_space = takes_space(where, kernel)
    check_costs(where, dtype)
    with np.errstate(all="ignore"):
        if by_space:
            return gibbs.on_space(where, domain, dtype, lam, shift)
        cost = where.distance_matrix()
        if isinstance(dtype, formats.Format):
            return gibbs.DenseRounded(cost.astype(np.float32), lam, shift, dtype)
        cost = cost.astype(dtype)
        return (gibbs.DenseLog if domain == "log" else gibbs.DenseLinear)(cost, lam, shift)


def takes_space(where: Metric, kernel: str) -> bool:
    """Whether products go by the space's structure, and not by a matrix."""
    if kernel == "space":
        rooted(where, 'kernel="space"', "sums along edges", 'kernel="dense" works')
    return where.rooted is not None and kernel != "dense"


def check_costs(where: Metric, dtype: Any) -> None:
    """Refuse distances that a dtype or a Format does not hold."""
    largest, limits = where.diameter, formats.limits(dtype)
    if largest > limits.max:
        raise ValueError(
            f"space_or_cost: the largest distance, {largest}, is beyond {limits.dtype}; scale the costs down"
        )


class Tolerance(NamedTuple):
    """What each row's marginal error must reach."""

    number: float  # 0 if nothing ends a run
    relative: bool  # to the row's total

    def of(self, totals: NDArray[Any], dtype: Any, shape: tuple[int, ...]) -> NDArray[Any] | None:
        """The tolerance of each row, None for none; refused where any plan would meet it."""
        if self.relative:
            return self.number * totals
        if (self.number >= totals).any():
            i = int(np.argmin(totals))
            whose = validation.row_name(i, shape, "'s ") or "the "
            raise ValueError(
                f"tol = {self.number:.3g} is not below {whose}total, "
                f'{totals[i]:.3g}, so that any plan would do: give tol="auto", or a small part of the total'
            )
        return np.full(len(totals), self.number, dtype) if self.number else None


def tolerance(tol: Any, where: Metric, n_bins: int, lam: float, domain: str, dtype: Any) -> Tolerance:
    """From what the caller gave."""
    if isinstance(tol, str) and tol == "auto":
        growth = float(np.sqrt(n_bins) + (lam * where.diameter if domain == "log" else 0.0))
        eps = float(formats.limits(dtype).eps)
        return Tolerance(min(4.0 * eps * growth, max(IDENTIFIES, 2.0 * eps)), True)
    if isinstance(tol, bool) or not isinstance(tol, (int, float, np.number)):
        raise TypeError(f'tol={shown(tol)} must be a number >= 0 or "auto"')
    return Tolerance(validation.weight(tol, "tol"), False)


def _initial(init: Any, rows: Batch, switches: Variant) -> NDArray[Any]:
    """log u_0, (rows, N)."""
    shape, dtype = rows.p.shape, rows.p.dtype
    if init is None:
        kept = (rows.p > 0).sum(axis=1) if switches.drops_empty else np.full(shape[0], shape[1])
        log_u = np.broadcast_to(first_scalings(switches, kept, dtype)[:, None], shape)
    else:
        log_u = inputs.potentials(init, rows.shape, shape[1], dtype)
    return np.where(rows.p == 0, dtype.type(-np.inf), log_u) if switches.drops_empty else log_u


class _Run(Run):
    """The iteration, in arrays of shape (N, rows): the same for every variant, kernel, domain and dtype."""

    def __init__(
        self, rows: Batch, plan: gibbs.Plan, switches: Variant, lam: Any, tol: NDArray[Any] | None, unrolled: bool
    ) -> None:
        self.rows, self.plan, self.domain = rows, plan, plan.domain
        self.switches, self.lam, self.tol = switches, lam, tol
        self.p, self.q = (np.array(self.domain.enter(x.T), order="C") for x in (rows.p, rows.q))
        size = len(rows.p)
        self.active = np.arange(size)  # rows still iterating
        self.n_iter = np.zeros(size, int)
        self.watch = Watch(self.domain, rows.p.T, rows.q.T)
        self.reached = np.zeros(size, bool)
        self.relaxation = Relaxation(size, switches.relaxation) if switches.relaxation > 1 else None
        self.tape = self._tape() if unrolled else None

    def start(self, log_u: NDArray[Any]) -> None:
        self.u = np.array(self.domain.from_log(log_u.T), order="C")
        self.v = np.zeros_like(self.u)
        self.ktu = self.plan.transposed(self.u)

    def _settled(self) -> bool:
        return len(self.active) == 0

    def _block(self, done: int, until: int) -> int:
        self._step(done + 1)
        return done + 1

    def _step(self, it: int) -> None:
        """One iteration of the rows that still run."""
        every = len(self.active) == len(self.rows.p)
        a = slice(None) if every else self.active
        v = self._relaxed(self.v, self.domain.divide(self.q[:, a], self.ktu[:, a]), a)
        kv = self.plan.times(v)
        u = self._relaxed(self.u, self.domain.divide(self.p[:, a], kv), a)
        self.watch.look(it, self.active, v, self.ktu[:, a], u, kv)
        ktu = self.plan.transposed(u)
        self.n_iter[a] = it
        if self.tape is not None:
            self.tape.record(it, self.active, v)
        if every:
            self.u, self.v, self.ktu = u, v, ktu
        else:
            self.u[:, a], self.v[:, a], self.ktu[:, a] = u, v, ktu
        if self.tol is not None or self.relaxation is not None:
            self._settle(it, a, (u, kv), (v, ktu))

    def _settle(self, it: int, a: Any, rows: tuple[Any, Any], columns: tuple[Any, Any]) -> None:
        """Retire rows whose plan reaches the tolerance; the others' exponents follow their defects."""
        defect = self._defect(self.domain.mass(*columns), self.rows.q[a].T)
        tol = -1.0 if self.tol is None else self.tol[a]
        done = defect <= tol  # rows are exact after a plain u, and refreshing v moves no more mass than this
        if self.relaxation is not None:
            defect = defect + self._defect(self.domain.mass(*rows), self.rows.p[a].T)
            done &= (self.relaxation.excess[a] == 0) | (defect <= tol)
            self.relaxation.watch(self.active, it, defect)
        self.reached[self.active[done]] = True
        self.active = self.active[~done]

    def _relaxed(self, old: NDArray[Any], new: NDArray[Any], a: Any) -> NDArray[Any]:
        """Beyond the plain update `new`, as far as each row's exponent says."""
        return new if self.relaxation is None else self.domain.relax(old[:, a], new, self.relaxation.excess[a])

    def _evaluate(self) -> SinkhornResult:
        plan, domain, p, q = self.plan, self.domain, self.rows.p, self.rows.q
        store = domain.store
        u, v = self.u, domain.divide(self.q, self.ktu) if self.switches.refreshes_v else self.v
        row_mass, column_mass = domain.mass(u, plan.times(v)), domain.mass(v, self.ktu)
        error = np.maximum(self._defect(row_mass, p.T), self._defect(column_mass, q.T))
        row_mass, column_mass = (np.array(x.T, order="C") for x in (row_mass, column_mass))
        log_u, log_v = (np.array(domain.to_log(x).T, order="C") for x in (u, v))  # copies: u is updated in place
        cost = plan.cost(u, v)
        entropy = store(_weighted(row_mass, log_u, store) + _weighted(column_mass, log_v, store))
        objective = store(store(entropy - self.switches.shift * store(row_mass.sum(axis=1))) / self.lam)
        value = cost if self.switches.value == "cost" else objective
        grad = store(log_u / self.lam)
        status = self._status(cost + objective, log_u, grad, log_v, error)
        if self.switches.centred:
            grad = store(grad - store(np.mean(grad, axis=1, where=p > 0, keepdims=True)))
        failed_at, failed_bin = self.watch.outcome(np.isin(status, FAILED), v)
        give, on_host = self.rows.as_rows, self.rows.on_host
        return SinkhornResult(
            value=give(value.copy()),
            objective=give(objective),
            grad=give(grad),
            log_u=give(log_u),
            log_v=give(log_v),
            n_iter=on_host(self.n_iter.copy()),
            marginal_error=give(error),
            status=str(status[0]) if self.rows.shape == () else on_host(status),
            converged=on_host(status == "converged"),
            failed_at=on_host(failed_at),
            failed_bin=on_host(failed_bin),
            lost_entries=plan.lost,
            checkpoints={},
            grad_unrolled=self._unrolled(),
        )

    def _tape(self) -> Tape:
        share = (self.rows.q / self.rows.q.sum(axis=1, keepdims=True)).T
        return Tape(self.plan, self.p, self.q, share, self.lam, self.switches)

    def _unrolled(self) -> Unrolled | None:
        if self.tape is None:
            return None
        return Unrolled(*map(self.rows.as_rows, self.tape.derivatives(self.u, self.v, self.ktu, self.n_iter)))

    def _defect(self, mass: NDArray[Any], given: NDArray[Any]) -> NDArray[Any]:
        """l1 distance of a marginal from what was given, both (N, rows)."""
        store = self.domain.store
        return store(gibbs.over_bins(np.abs(store(mass - given))))

    def _status(self, values: Any, log_u: Any, grad: Any, log_v: Any, error: Any) -> NDArray[Any]:
        """From cost and objective, u, gradient and v where there is mass, and marginal errors."""
        p, q = self.rows.p, self.rows.q
        numbers = np.concatenate([values[:, None], np.where(p > 0, grad, 0), np.where(q > 0, log_v, 0)], axis=1)
        lost = lost_too_much(self.plan.lost, error, self.rows.p.sum(axis=1))
        return ranked(
            np.isnan(numbers).any(axis=1),
            (numbers == np.inf).any(axis=1) | (values == -np.inf),
            self.watch.vanished | (numbers == -np.inf).any(axis=1) | lost,
            unresolved(log_u, log_v, p, q) if self.domain is gibbs.Log else False,
            self.reached | (error <= self.tol if self.tol is not None else False),
        )


def _weighted(mass: NDArray[Any], log: NDArray[Any], store: Any) -> NDArray[Any]:
    """sum of mass * log over bins, 0 * -inf counting as 0."""
    return store(np.where(mass == 0, mass.dtype.type(0), store(mass * log)).sum(axis=1))
