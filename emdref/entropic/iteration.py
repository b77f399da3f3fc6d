"""Sinkhorn's iteration on checked rows: the same loop for every variant, kernel, domain and dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import validation
from emdref.arguments.messages import shown
from emdref.arguments.validation import Batch
from emdref.entropic import formats, gibbs, inputs
from emdref.entropic.failures import FAILED, Watch
from emdref.entropic.relaxation import Relaxation
from emdref.entropic.unrolled import Tape, Unrolled
from emdref.entropic.variants import Variant
from emdref.kernels.entropic.alternation import Marks, State
from emdref.spaces.space import Metric, rooted

Status = Literal["nan", "overflow", "underflow", "unresolved", "converged", "iteration_limit"]
IDENTIFIES = 1e-3  # marginal error, relative to the total, beyond which nothing is said to have converged
RESOLVES = 2.0**-6  # eps (max|log u| + max|log v|) beyond which rounding of logarithms moves masses by percents


@dataclass(frozen=True, eq=False)
class SinkhornResult:
    """Outcome of `sinkhorn`: a scalar (grad, log_u, log_v: a vector) for one pair, else with the batch's leading axes.

    Attributes
    ----------
    value
        <T, M>, the transport cost of the plan reached (the objective for variant ``caffe``).
    objective
        <T, M> + <T, log T> / lam, what the iteration minimises.
    grad
        log u / lam per bin, centred or not as the variant says: the gradient of `objective` at convergence, not of
        <T, M>.  -inf where p = 0 (and where u underflowed, which `status` tells).
    log_u, log_v
        Logarithms of the scalings; -inf where p or q is 0.
    n_iter
        Iterations done.
    marginal_error
        The larger l1 defect of the plan's two marginals.
    status
        The first that holds of: ``nan`` and ``overflow`` (in value, objective, u or v), ``underflow`` (a mass was
        divided by 0, u or v is 0 where mass is, or K lost entries to 0 and marginal_error exceeds 1e-3 of the total),
        ``unresolved``, ``converged``, ``iteration_limit``.

        ``unresolved`` is the log domain's.  An entry of T is exp(log u - lam M + log v); rounding these logarithms
        changes it, relatively, by up to 5/2 eps (max|log u| + max|log v|).  The status says that this exceeds 4%: from
        lam max(M) of about 1e5 on in float32, of 7e13 in float64.  Value, objective and marginal_error may be off by as
        much, and marginal_error does not show it, since it is rounded alike.
    converged
        Whether status is ``converged``.
    failed_at
        For a row whose status is ``nan``, ``overflow`` or ``underflow``, the first iteration, counted from 1, that
        divided a mass by 0 or gave a u or v that is 0 (where mass is), infinite or NaN; -1 if none did and only what is
        computed after the last iteration failed: v refreshed, the value or gradient beyond the dtype, or K's lost
        entries missing.  0 for every other row, including those that a scaling of 0 has left again.
    failed_bin
        The first bin where that happened, v's before u's as they are computed; for ``failed_at = -1`` the first bin of
        a refreshed v that is so.  -1 if there is none.
    lost_entries
        The share of K's N x N entries that are 0 as the products take them, a float for the whole batch; 0.0 in the log
        domain.  The space kernel never forms K and counts the farthest pair only: 2 / N^2, a lower bound, if that is
        lost.
    checkpoints
        The results after fewer iterations of the same run, by iteration; that of the last iteration shares its arrays
        with the result itself.
    grad_unrolled
        With ``unrolled=True``, the exact partial derivatives of `value` and of `objective` after `n_iter` iterations
        with respect to p (an `Unrolled`: two fields of those names, each in the shape of `grad`), q, K and u_0 held,
        never centred; see the notes of `sinkhorn`.  Else None.
    """

    value: Any
    objective: Any
    grad: Any
    log_u: Any
    log_v: Any
    n_iter: Any
    marginal_error: Any
    status: Any
    converged: Any
    failed_at: Any
    failed_bin: Any
    lost_entries: float
    checkpoints: dict[int, SinkhornResult]
    grad_unrolled: Unrolled | None = None


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
) -> dict[int, SinkhornResult]:
    """Results of checked rows after `max_iter` iterations and after each of `stops`, by iteration."""
    dtype = form or rows.p.dtype.type
    plan = plan_for(where, kernel, domain, dtype, lam, switches.shift)
    with np.errstate(all="ignore"):
        wanted = tolerance(tol, where, rows.p.shape[1], float(lam), domain, dtype)
        run = _Run(rows, plan, switches, lam, wanted.of(rows.p.sum(axis=1), rows.p.dtype, rows.shape), unrolled)
        run.start(_initial(init, rows, switches))
        return run.go(max_iter, stops)


def plan_for(where: Metric, kernel: str, domain: str, dtype: Any, lam: Any, shift: int) -> gibbs.Plan:
    """The way to multiply by K that is asked for, in a dtype or a Format."""
    by_space = takes_space(where, kernel)
    check_costs(where, dtype)
    with np.errstate(all="ignore"):
        if by_space:
            return (gibbs.SpaceLog if domain == "log" else gibbs.SpaceLinear)(where, dtype, lam, shift)
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


def unresolved(log_u: Any, log_v: Any, p: Any, q: Any) -> NDArray[Any]:
    """Rows whose masses the rounding of their logarithms moves by percents, from arrays (rows, N)."""
    reach = sum(np.abs(np.where(mass > 0, log, 0)).max(axis=1) for log, mass in ((log_u, p), (log_v, q)))
    return reach * np.finfo(log_u.dtype).eps > RESOLVES


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


def first_scalings(switches: Variant, kept: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """log u_0 of rows that keep so many bins."""
    size = {"ones": np.ones_like(kept), "count": kept, "inverse": 1.0 / kept}[switches.start]
    return np.log(size.astype(dtype))


def ranked(nan: Any, overflow: Any, underflow: Any, unresolved: Any, converged: Any) -> NDArray[Any]:
    """The first status that holds, by row."""
    tests: dict[Status, Any] = {
        "nan": nan,
        "overflow": overflow,
        "underflow": underflow,
        "unresolved": unresolved,
        "converged": converged,
    }
    return np.select(list(tests.values()), list(tests), "iteration_limit")


def lost_too_much(lost: float, error: NDArray[Any], totals: NDArray[Any]) -> Any:
    """Rows whose marginals miss what K has lost."""
    return (lost > 0) & ~(error <= IDENTIFIES * totals)


class Run:
    """A run in blocks of iterations: `_block` does some, `_settled` and `_evaluate` tell where they led."""

    def go(self, max_iter: int, stops: tuple[int, ...]) -> dict[int, SinkhornResult]:
        """Results after `max_iter` iterations and after each of `stops`, by iteration."""
        results: dict[int, SinkhornResult] = {}
        wanted, it = (*stops, max_iter), 0
        while it < max_iter:
            it = self._block(it, min(k for k in wanted if k > it))
            settled = self._settled()
            if settled or it in wanted:
                present = self._evaluate()
                results |= {k: present for k in wanted if k == it or (settled and k > it)}
            if settled:
                break
        return results

    def _block(self, done: int, until: int) -> int:
        """The iterations after `done`, up to `until` at most; up to which."""
        raise NotImplementedError

    def _settled(self) -> bool:
        """Whether no row goes on."""
        raise NotImplementedError

    def _evaluate(self) -> SinkhornResult:
        """Everything that is known of the present u (and v)."""
        raise NotImplementedError


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
        if self._by_blocks:
            assert isinstance(self.plan, gibbs.SpaceLinear)
            exact = self.plan.exact(self.ktu)
            self.state = State(self.p, self.q, self.u, self.v, self.ktu, exact)
            self.marks = Marks(self.n_iter, self.reached, self.watch.vanished, self.watch.at, self.watch.bin)

    def _settled(self) -> bool:
        return len(self.active) == 0

    @property
    def _by_blocks(self) -> bool:
        """Whether many iterations are done in one call."""
        if self.tape is not None and self.domain is gibbs.Log:
            return False  # walked backwards by products that give logarithms: rounded in the run as they are there
        return self.relaxation is None and isinstance(self.plan, gibbs.SpaceLinear)

    def _block(self, done: int, until: int) -> int:
        if not self._by_blocks:
            self._step(done + 1)
            return done + 1
        assert isinstance(self.plan, gibbs.SpaceLinear)
        until = min(until, done + self.plan.at_once)
        if self.tape is not None:
            until = min(until, self.tape.next(done))
        active = self.active
        tol = np.empty(0, self.u.dtype) if self.tol is None else self.tol
        self.plan.alternate(active, self.state, self.marks, tol, done, until)
        if self.tape is not None:
            there = active[self.n_iter[active] == until]
            self.tape.record(until, there, self.v[:, there])
        self.active = active[~self.reached[active]]
        return until

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
