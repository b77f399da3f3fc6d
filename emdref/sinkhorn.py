"""The Sinkhorn distance as the papers and the deep-learning frameworks compute it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from emdref import inputs, plans
from emdref.inputs import Batch
from emdref.spaces import Space

Kernel = Literal["auto", "dense", "space"]
Domain = Literal["linear", "log"]
Status = Literal["nan", "overflow", "underflow", "converged", "iteration_limit"]
FAILED = ("nan", "overflow", "underflow")
_LOSS = 1e-3  # marginal error, relative to the total, above which lost entries of K count as a failure


@dataclass(frozen=True)
class Variant:
    """What distinguishes one published form of Algorithm 1 from another."""

    shift: int  # K = exp(-lam M - shift)
    start: Literal["ones", "count", "inverse"]  # u_0 = 1, N or 1/N in every bin
    drops_empty: bool  # bins with p = 0 leave the problem before the first iteration
    refreshes_v: bool  # v is taken from the last u (else from the u before it)
    value: Literal["cost", "objective"]  # <T, M>, or <T, M> + <T, log T> / lam
    centred: bool  # the gradient's mean over the bins with p > 0 is removed


VARIANTS = {
    "paper": Variant(1, "ones", False, True, "cost", False),
    "frogner": Variant(1, "ones", False, True, "cost", True),
    "cuturi": Variant(0, "count", True, True, "cost", False),
    "caffe": Variant(1, "ones", False, False, "objective", True),
    "mocha": Variant(0, "inverse", False, True, "cost", False),
}


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
        ``converged``, ``iteration_limit``.
    converged
        Whether status is ``converged``.
    checkpoints
        The results after fewer iterations of the same run, by iteration; that of the last iteration shares its arrays
        with the result itself.
    grad_unrolled
        None in this version.
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
    checkpoints: dict[int, SinkhornResult]
    grad_unrolled: None = None


def sinkhorn(
    p: ArrayLike,
    q: ArrayLike,
    space_or_cost: Space | ArrayLike,
    lam: float,
    *,
    max_iter: int = 100,
    tol: float | Literal["auto"] = 0.0,
    variant: str = "paper",
    kernel: Kernel = "auto",
    domain: Domain = "linear",
    init: tuple[ArrayLike, ArrayLike] | None = None,
    checkpoints: Sequence[int] | None = None,
    unrolled: bool = False,
    dtype: DTypeLike | None = None,
    device: Literal["cpu"] | None = None,
) -> SinkhornResult:
    """Sinkhorn distance and gradient by Algorithm 1 of arXiv 1611.07573, in the variants that frameworks run.

    Alternates v = q / (K^T u) and u = p / (K v) with K = exp(-lam M - 1), so that the plan T = diag(u) K diag(v)
    minimises <T, M> + <T, log T> / lam over plans with marginals p and q (Eq. 3, the sign of its entropy put
    right).

    Parameters
    ----------
    p, q : (..., N) arrays, both float32 or both float64 (integers below 2**53 count as float64)
        Histograms of equal total, up to rounding in the dtype given; leading axes are broadcast together.
    space_or_cost : Chain, Tree or (N, N) array
        A cost matrix must be finite, >= 0, symmetric and zero on the diagonal.
    lam : float > 0
        Inverse strength of the entropy, in units of 1 / cost.
    max_iter : int >= 1
        Iterations at most (exactly, with ``tol=0``).
    tol : float >= 0 or "auto"
        Stop a row when its marginal error is at most this.  ``"auto"``: 4 eps (sqrt(N) + lam max(M) in the log domain)
        times the row's total.  ``0`` never stops and never reports convergence.
    variant : {"paper", "frogner", "cuturi", "caffe", "mocha"}
        ``paper``
            Algorithm 1: K = exp(-lam M - 1), u_0 = 1, v refreshed after the last u, value <T, M>, gradient log u / lam.
            The paper uses lam = 3 and 100 iterations.
        ``frogner``
            The same with the gradient's mean removed (Frogner et al. 2015; lam = 50 and 10 iterations are typical).
        ``cuturi``
            Cuturi 2013: K = exp(-lam M), bins with p = 0 dropped, u_0 = the number of bins kept.
        ``caffe``
            v from before the last u, value = objective, centred gradient: the layer of Caffe's pull request 3817 with
            its option ``shift_gradient`` (the paper quotes 100 iterations; a published default of lam is not known).
        ``mocha``
            Mocha.jl: K = exp(-lam M), u_0 = 1 / N, not centred (50 iterations unless told otherwise, lam to be given).
    kernel : {"auto", "dense", "space"}
        ``dense``: the N x N matrix in `dtype` and a BLAS product, as the frameworks do.  ``space``: O(V) sums along the
        tree or chain, componentwise accurate.  ``auto``: ``space`` if a space is given.
    domain : {"linear", "log"}
        ``log`` keeps logarithms: no scaling and no product under- or overflows.
    init : (log_u, log_v), optional, each (..., N) or (N,)
        Start from u = exp(log_u) instead of the variant's; log_v follows from it and is only checked.
    checkpoints : sequence of int, optional
        Iterations of this one run at which results are kept as well.
    unrolled : bool
        Derivatives of the truncated iteration; not in this version.
    dtype : float32 or float64, optional
        Convert p and q to it, once their totals are compared; by default their own.
    device : None or "cpu"

    Returns
    -------
    SinkhornResult

    Raises
    ------
    TypeError, ValueError
        As `emdref.emd`, and for lam <= 0 or beyond the dtype, max_iter < 1, a bad cost matrix, checkpoints beyond
        max_iter, an unknown option.
    NotImplementedError
        ``unrolled=True``.

    Warns
    -----
    RuntimeWarning
        Once a call: how many rows failed, how, which was the first, and what to do; or did not reach `tol`.

    Examples
    --------
    >>> import emdref
    >>> r = emdref.sinkhorn([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(3), lam=20.0)
    >>> round(float(r.value), 6), r.status
    (1.0, 'iteration_limit')
    """
    inputs.device(device, p, q, space_or_cost)
    switches = _variant(variant)
    inputs.option(kernel, "kernel", Kernel)
    inputs.option(domain, "domain", Domain)
    if unrolled is not False:
        raise NotImplementedError("unrolled=True: derivatives of the truncated iteration are not in this version")
    max_iter = inputs.count(max_iter, "max_iter")
    stops = _stops(checkpoints, max_iter)
    where = space_or_cost if isinstance(space_or_cost, Space) else _matrix(space_or_cost)
    rows = _rows(p, q, where, dtype)
    lam = _lambda(lam, rows.p.dtype)
    results = iterate(rows, where, lam, switches, kernel, domain, tol, init, max_iter, stops)
    result = results[max_iter]
    _report(result, rows.shape, tol)
    return replace(result, checkpoints={k: results[k] for k in stops})


def iterate(
    rows: Batch,
    where: Any,
    lam: Any,
    switches: Variant,
    kernel: str,
    domain: str,
    tol: Any,
    init: Any,
    max_iter: int,
    stops: tuple[int, ...] = (),
) -> dict[int, SinkhornResult]:
    """Results of checked rows after `max_iter` iterations and after each of `stops`, by iteration."""
    plan = _plan(where, kernel, domain, rows.p.dtype.type, lam, switches.shift)
    with np.errstate(all="ignore"):
        run = _Run(rows, plan, switches, lam, _tolerance(tol, rows, plan, float(lam), where))
        run.start(_initial(init, rows, switches))
        return run.go(max_iter, stops)


def _variant(name: object) -> Variant:
    if not isinstance(name, str) or name not in VARIANTS:
        raise ValueError(f"variant={name!r} is not one of {', '.join(VARIANTS)}")
    return VARIANTS[name]


def _stops(checkpoints: Any, max_iter: int) -> tuple[int, ...]:
    if checkpoints is None:
        return ()
    if np.ndim(checkpoints) != 1:
        raise TypeError(f"checkpoints={checkpoints!r} must be a sequence of integers")
    stops = tuple(sorted({inputs.count(k, "checkpoints") for k in checkpoints}))
    if stops and stops[-1] > max_iter:
        raise ValueError(f"checkpoints holds {stops[-1]}, beyond max_iter = {max_iter}")
    return stops


def _rows(p: Any, q: Any, where: Any, dtype: Any) -> Batch:
    coarsest = None
    if dtype is not None:
        target = inputs.float_dtype(dtype).newbyteorder("=")
        p, q = inputs.histogram(p, "p"), inputs.histogram(q, "q")
        coarsest = min(p.dtype, q.dtype, target, key=lambda d: d.itemsize)  # totals are compared in its precision
        p, q = inputs.converted(p, "p", target), inputs.converted(q, "q", target)
    rows = inputs.batch(p, q, where.n_bins if isinstance(where, Space) else len(where))
    inputs.check_masses(rows, "normalise them yourself", coarsest)
    return rows


def _lambda(lam: Any, dtype: Any) -> Any:
    """lam as a scalar of the dtype."""
    number = inputs.positive(lam, "lam")
    with np.errstate(over="ignore", under="ignore"):
        scalar = dtype.type(number)
    if not 0 < scalar < np.inf:
        raise ValueError(f"lam = {number} is beyond {dtype}")
    return scalar


def _matrix(cost: Any) -> NDArray[Any]:
    """A checked cost matrix in float64."""
    try:
        m = np.asarray(cost)
    except ValueError as error:
        raise ValueError(f"cost is not a rectangular array of numbers ({error})") from None
    if m.dtype.kind not in "iuf" or m.dtype == np.float16 or m.dtype.itemsize > 8:
        raise TypeError(f"cost must be a Chain, a Tree or a float32, float64 or integer matrix, not {m.dtype}")
    if m.ndim != 2 or m.shape[0] != m.shape[1] or len(m) == 0:
        raise ValueError(f"cost has shape {m.shape}, expected (N, N)")
    if inputs.rounds_in_float64(m):
        raise ValueError("cost holds an integer of 2**53 or more, which float64 would round; give floats")
    slack = 8 * np.finfo(m.dtype if m.dtype.kind == "f" else np.float64).eps
    m = m.astype(np.float64)
    for bad, rule in (
        (~(np.isfinite(m) & (m >= 0)), "must be finite and >= 0"),
        (np.diag(np.diag(m) != 0), "lies on the diagonal and must be 0"),
        (np.abs(m - m.T) > slack * np.maximum(m, m.T), "differs from its mirror image: cost must be symmetric"),
    ):
        if bad.any():
            i, j = np.argwhere(bad)[0]
            raise ValueError(f"cost[{i}, {j}] = {m[i, j]} {rule}")
    return m


def _largest(where: Any) -> float:
    """The largest distance of a space or a matrix."""
    return where.diameter if isinstance(where, Space) else float(where.max())


def _plan(where: Any, kernel: str, domain: str, dtype: Any, lam: Any, shift: int) -> plans.Plan:
    is_space = isinstance(where, Space)
    if kernel == "space" and not is_space:
        raise ValueError('kernel="space" needs a Chain or a Tree; a cost matrix has kernel="dense" only')
    largest = _largest(where)
    if largest > np.finfo(dtype).max:
        raise ValueError(
            f"space_or_cost: the largest distance, {largest}, is beyond {np.dtype(dtype)}; scale the costs down"
        )
    with np.errstate(all="ignore"):
        if is_space and kernel != "dense":
            return (plans.SpaceLog if domain == "log" else plans.SpaceLinear)(where, dtype, lam, shift)
        cost = (where.distance_matrix() if is_space else where).astype(dtype)
        return (plans.DenseLog if domain == "log" else plans.DenseLinear)(cost, lam, shift)


def _tolerance(tol: Any, rows: Batch, plan: plans.Plan, lam: float, where: Any) -> NDArray[Any] | None:
    """What each row's marginal error must reach, None for tol=0."""
    if isinstance(tol, str) and tol == "auto":
        growth = np.sqrt(rows.p.shape[1]) + (lam * _largest(where) if plan.domain is plans.Log else 0.0)
        return 4.0 * np.finfo(rows.p.dtype).eps * growth * rows.p.sum(axis=1)
    if np.ndim(tol) != 0 or isinstance(tol, (bool, str)) or not isinstance(tol, (int, float, np.number)):
        raise TypeError(f'tol={tol!r} must be a number >= 0 or "auto"')
    if not 0 <= float(tol) < np.inf:
        raise ValueError(f"tol = {tol} must be finite and >= 0")
    return np.full(len(rows.p), float(tol), rows.p.dtype) if tol else None


def _initial(init: Any, rows: Batch, switches: Variant) -> NDArray[Any]:
    """log u_0, (rows, N)."""
    shape, dtype = rows.p.shape, rows.p.dtype
    if init is None:
        kept = (rows.p > 0).sum(axis=1, keepdims=True) if switches.drops_empty else np.full((shape[0], 1), shape[1])
        size = {"ones": np.ones_like(kept), "count": kept, "inverse": 1.0 / kept}[switches.start]
        log_u = np.broadcast_to(np.log(size.astype(dtype)), shape)
    else:
        log_u = _given(init, rows)
    return np.where(rows.p == 0, dtype.type(-np.inf), log_u) if switches.drops_empty else log_u


def _given(init: Any, rows: Batch) -> NDArray[Any]:
    """The caller's log u_0."""
    if not isinstance(init, (tuple, list)) or len(init) != 2:
        raise ValueError("init must be a pair (log_u, log_v)")
    one = rows.p.shape[1:]
    for x, name in zip(init, ("log_u", "log_v"), strict=True):
        x = np.asarray(x)
        if x.dtype.kind not in "iuf":
            raise TypeError(f"init's {name} must hold real numbers, not {x.dtype}")
        if np.isnan(x).any() or (x == np.inf).any():
            raise ValueError(f"init's {name} must be finite or -inf")
        if x.shape not in (rows.shape + one, one):
            raise ValueError(f"init's {name} has shape {x.shape}, expected {rows.shape + one}")
    return np.broadcast_to(np.asarray(init[0], rows.p.dtype), rows.shape + one).reshape(rows.p.shape)


class _Run:
    """The iteration, in arrays of shape (N, rows): the same for every variant, kernel, domain and dtype."""

    def __init__(self, rows: Batch, plan: plans.Plan, switches: Variant, lam: Any, tol: NDArray[Any] | None) -> None:
        self.rows, self.plan, self.domain = rows, plan, plan.domain
        self.switches, self.lam, self.tol = switches, lam, tol
        self.p, self.q = (np.ascontiguousarray(self.domain.enter(x.T)) for x in (rows.p, rows.q))
        size = len(rows.p)
        self.active = np.arange(size)  # rows still iterating
        self.n_iter = np.zeros(size, int)
        self.vanished = np.zeros(size, bool)  # a denominator was 0
        self.reached = np.zeros(size, bool)

    def start(self, log_u: NDArray[Any]) -> None:
        self.u = np.ascontiguousarray(self.domain.from_log(log_u.T))
        self.v = np.zeros_like(self.u)
        self.ktu = self.plan.transposed(self.u)

    def go(self, max_iter: int, stops: tuple[int, ...]) -> dict[int, SinkhornResult]:
        results, wanted = {}, (*stops, max_iter)
        for it in range(1, max_iter + 1):
            self._step(it)
            settled = len(self.active) == 0
            if settled or it in wanted:
                present = self._evaluate()
                results |= {k: present for k in wanted if k == it or (settled and k > it)}
            if settled:
                break
        return results

    def _step(self, it: int) -> None:
        """One iteration of the rows that still run."""
        every = len(self.active) == len(self.rows.p)
        a = slice(None) if every else self.active
        v = self.domain.divide(self.q[:, a], self.ktu[:, a])
        kv = self.plan.times(v)
        u = self.domain.divide(self.p[:, a], kv)
        gone = self.domain.vanished(kv) & (self.rows.p[a].T > 0)
        gone |= self.domain.vanished(self.ktu[:, a]) & (self.rows.q[a].T > 0)
        self.vanished[a] |= gone.any(axis=0)
        ktu = self.plan.transposed(u)
        self.n_iter[a] = it
        if every:
            self.u, self.v, self.ktu = u, v, ktu
        else:
            self.u[:, a], self.v[:, a], self.ktu[:, a] = u, v, ktu
        if self.tol is not None:  # rows are exact after u; the columns' defect bounds what is left after v as well
            defect = np.abs(self.domain.mass(v, ktu) - self.rows.q[a].T).sum(axis=0)
            done = defect <= self.tol[a]
            self.reached[self.active[done]] = True
            self.active = self.active[~done]

    def _evaluate(self) -> SinkhornResult:
        """Everything that is known of the present u (and v)."""
        plan, domain, p, q = self.plan, self.domain, self.rows.p, self.rows.q
        u, v = self.u, domain.divide(self.q, self.ktu) if self.switches.refreshes_v else self.v
        row_mass, column_mass = domain.mass(u, plan.times(v)).T, domain.mass(v, self.ktu).T
        error = np.maximum(np.abs(row_mass - p).sum(axis=1), np.abs(column_mass - q).sum(axis=1))
        log_u, log_v = (np.array(domain.to_log(x).T, order="C") for x in (u, v))  # copies: u is updated in place
        cost = plan.cost(u, v)
        entropy = (
            _weighted(row_mass, log_u) + _weighted(column_mass, log_v) - self.switches.shift * row_mass.sum(axis=1)
        )
        objective = entropy / self.lam
        value = cost if self.switches.value == "cost" else objective
        grad = log_u / self.lam
        status = self._status(cost + objective, np.where(p > 0, grad, 0), np.where(q > 0, log_v, 0), error)
        if self.switches.centred:
            grad = grad - np.mean(grad, axis=1, where=p > 0, keepdims=True)
        give = self.rows.as_rows
        return SinkhornResult(
            value=give(value.copy()),
            objective=give(objective),
            grad=give(grad),
            log_u=give(log_u),
            log_v=give(log_v),
            n_iter=give(self.n_iter.copy()),
            marginal_error=give(error),
            status=str(status[0]) if self.rows.shape == () else give(status),
            converged=give(status == "converged"),
            checkpoints={},
        )

    def _status(self, values: Any, grad: Any, log_v: Any, error: Any) -> NDArray[Any]:
        """From cost and objective, gradient and log v where there is mass, and marginal errors."""
        numbers = np.concatenate([values[:, None], grad, log_v], axis=1)
        lost = self.plan.lost & ~(error <= _LOSS * self.rows.p.sum(axis=1))
        tests: dict[Status, Any] = {
            "nan": np.isnan(numbers).any(axis=1),
            "overflow": (numbers == np.inf).any(axis=1) | (values == -np.inf),
            "underflow": self.vanished | (numbers == -np.inf).any(axis=1) | lost,
            "converged": self.reached | (error <= self.tol if self.tol is not None else False),
        }
        return np.select(list(tests.values()), list(tests), "iteration_limit")


def _weighted(mass: NDArray[Any], log: NDArray[Any]) -> NDArray[Any]:
    """sum of mass * log over bins, 0 * -inf counting as 0."""
    return np.where(mass == 0, mass.dtype.type(0), mass * log).sum(axis=1)


def _report(result: SinkhornResult, shape: tuple[int, ...], tol: Any) -> None:
    """One warning for whatever went wrong."""
    status, error = (np.ravel(x) for x in (result.status, result.marginal_error))
    failed = np.flatnonzero(np.isin(status, FAILED))
    slow = np.flatnonzero((status == "iteration_limit") & bool(tol))
    if len(failed):
        first = inputs.row_name(failed[0], shape, " ")
        text = (
            f"{len(failed)} of {len(status)} rows failed, the first {first}with status '{status[failed[0]]}': do not "
        )
        text += 'trust their values, use domain="log", float64 or a smaller lam'
    elif len(slow):
        first = inputs.row_name(slow[0], shape, " ")
        text = f"{len(slow)} of {len(status)} rows did not reach tol={tol!r} in max_iter iterations, the first {first}"
        text += f"with marginal error {error[slow[0]]:.3g}: raise max_iter or tol"
    else:
        return
    warnings.warn(text, RuntimeWarning, stacklevel=3)
