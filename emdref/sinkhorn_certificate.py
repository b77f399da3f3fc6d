"""A proven interval around the optimum that Sinkhorn's iteration seeks; no solver and no rounding is trusted.

Potentials come from the float64 iteration or from the caller and are only numbers: whatever they are, weak duality
makes them a lower bound and rounding their plan to the marginals an upper one.  Both are evaluated in Decimals whose
error is bounded (see `emdref.decimal_kernels`), and rounded outward.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emdref import exact, formulas, inputs, newton
from emdref.decimal_kernels import ZERO, Kernel, Numbers, kernel
from emdref.inputs import Batch
from emdref.rounding import down, up
from emdref.sinkhorn import FAILED, VARIANTS, SinkhornResult, _given, _lambda, _largest, _matrix, _plan, _rows, iterate
from emdref.spaces import Space

_DIGITS = 60  # and as many more as lam max(M), the potentials and the number of nodes have
_SHRINK = Decimal("1e-25")  # by which scalings stay below what the marginals allow, so that defects are > 0
_MARGIN = Decimal("1e-28")  # see _Estimate
_REACH = 1e15  # logarithms beyond this would need exponents near the end of a Decimal's range
_LINEAR = 300.0  # lam max(M) up to which plain float64 does not underflow
_SMOOTH = 10.0  # lam max(M) from which lam is doubled
_LOOSE = 1e-6  # marginal error, relative to the total, at which it is
_PLAIN = 100  # iterations after which Newton's method takes over
_FINE = 1e-14  # relative marginal error that it aims at in the end
_NOTES = ("n_iter", "solver_status")  # how the potentials were found, which proves nothing


@dataclass(frozen=True, eq=False)
class SinkhornCertificate:
    """What `certify_sinkhorn` proves about OPT = min of <T, M> + <T, log T> / lam; unpacks as ``lower, upper``.

    Attributes
    ----------
    lower, upper : float
        lower <= OPT <= upper, rounded outward: the better of `dual_value`, `primal_value` and the bounds that need no
        potentials (see `certify_sinkhorn`).
    status : {"proven", "overflow"}
        ``proven``: both are finite.  ``overflow``: OPT may be beyond float64, and a bound is infinite.
    dual_value, primal_value : float
        Lower bound by the potentials, upper bound by the feasible plan made of them; -inf and inf if there are none.
    transport_cost : (float, float)
        Bounds of <F, M> for that plan F; (0, inf) if there is none.
    emd : Fraction or None
        Exact EMD(p, q), the limit of OPT for large lam; None for a cost matrix.
    entropy_bound : float
        min(H(p), H(q)) / lam, rounded up; for a total m, m times that of p/m and q/m.
    marginal_error : float
        l1 defect of the plan's columns before it was made feasible (its rows have none), rounded up; inf without one.
    potentials : (log_u, log_v) or None
        float64 logarithms of the scalings, -inf where p or q is 0.  None: none were given or the solver failed.
    q_scale : Fraction
        |p| / |q|, exactly: where totals differ by rounding no plan has both marginals, and q * q_scale is used.
    n_iter : int
    solver_status : str
        Pairs of products done and the status of `emdref.sinkhorn`, or ``given``: a note, no part of the proof.
    p, q, space, lam
        What was asked.
    """

    lower: float
    upper: float
    status: Literal["proven", "overflow"]
    dual_value: float
    primal_value: float
    transport_cost: tuple[float, float]
    emd: Fraction | None
    entropy_bound: float
    marginal_error: float
    potentials: tuple[NDArray[np.float64], NDArray[np.float64]] | None = field(repr=False)
    q_scale: Fraction
    n_iter: int
    solver_status: str
    p: NDArray[Any] = field(repr=False)
    q: NDArray[Any] = field(repr=False)
    space: Any = field(repr=False)
    lam: float

    def __iter__(self) -> Iterator[float]:
        return iter((self.lower, self.upper))

    @property
    def gap(self) -> float:
        """upper - lower, rounded up."""
        return up(Fraction(self.upper) - Fraction(self.lower)) if self.status == "proven" else math.inf

    def verify(self) -> bool:
        """Whether all of it follows from p, q, space, lam and the potentials; `n_iter` and `solver_status` do not.

        Examples
        --------
        >>> import dataclasses, emdref
        >>> c = emdref.certify_sinkhorn([0.5, 0.5, 0], [0, 0.5, 0.5], emdref.Chain(3), 2.0)
        >>> c.verify(), dataclasses.replace(c, lower=c.lower + 1e-9).verify()
        (True, False)
        """
        try:
            again = certify_sinkhorn(self.p, self.q, self.space, self.lam, max_iter=0, init=self.potentials)
        except (TypeError, ValueError, RuntimeError):
            return False
        proven = [f.name for f in fields(self) if f.name not in _NOTES]
        return all(_same(getattr(self, name), getattr(again, name)) for name in proven)


def certify_sinkhorn(
    p: ArrayLike,
    q: ArrayLike,
    space: Space | ArrayLike,
    lam: float,
    *,
    max_iter: int = 20_000,
    init: tuple[ArrayLike, ArrayLike] | None = None,
) -> SinkhornCertificate:
    """Lower and upper bound of OPT = min of <T, M> + <T, log T> / lam over plans T with marginals p and q (Eq. 3).

    OPT is what `SinkhornResult.objective` tends to.  How potentials were found does not matter, and an iteration that
    has not converged only makes the interval wider.

    Parameters
    ----------
    p, q : (N,) arrays, float32 or float64 (integers below 2**53 count as float64)
        One pair of histograms of equal total, up to rounding in the coarser dtype; see `SinkhornCertificate.q_scale`.
    space : Chain, Tree or (N, N) array
        With a space M is the exact sum of its costs, and time and memory are O(N + V).  A cost matrix, checked as in
        `emdref.sinkhorn`, takes O(N^2) Decimals: seconds for N = 300, a minute and 0.5 GB for N = 1000.
    lam : float > 0
        Inverse strength of the entropy, in units of 1 / cost.
    max_iter : int >= 0
        Products with K and its transpose at most, in pairs: Sinkhorn's iterations, and Newton's method by conjugate
        gradients where they are slow; unless `init` is given lam starts small and is doubled on the way.  It ends as
        ``tol="auto"`` does.  Raise it for a large lam on a large space (1000 bins at lam max(M) = 3e5 took 43 000 and
        20 s); lower it for a large matrix.  0 certifies the potentials of `init` (without it: what is known without).
    init : (log_u, log_v), optional, each (N,)
        Potentials to start from, of T = diag(u) exp(-lam M - 1) diag(v); bins without mass do not count.  As in
        `emdref.sinkhorn` u starts the iteration; with ``max_iter=0`` v is certified, with the u that suits it best, so
        that a constant added to log_v does not matter.

    Returns
    -------
    SinkhornCertificate

    Raises
    ------
    TypeError, ValueError
        As `emdref.sinkhorn`; for a batch; for init with -inf where there is mass.
    RuntimeError
        If what is proven contradicts the theory, which would be a bug in emdref.

    Notes
    -----
    Let m be the total, T_ij = u_i v_j exp(-lam M_ij - 1), and H(p) = sum p log(m / p).

    *Dual.*  t log t - t c >= -exp(c - 1) for t >= 0, with equality at t = exp(c - 1).  For a plan F with marginals p
    and q and c_ij = log u_i + log v_j - lam M_ij, summing gives lam (<F, M> + <F, log F> / lam) >= sum p log u +
    sum q log v - sum T: the bound, for any u and v.  Empty bins have F = 0 and drop out.  Given v,
    u = p / (K v) is best.

    *Primal.*  Let v' = min(v, q / (K^T u)) (1 - 1e-25): A = diag(u) K diag(v') has marginals below p and q, and with
    what they lack, e and f of total s, F = A + B, B = e f^T / s, is feasible (Altschuler, Weed and Rigollet 2017).  By
    convexity F log F <= A log(A / (1 - s/m)) + B log(B / (s/m)).  Sums telescope, no plan is formed: lam <A, M> +
    <A, log A> = sum (A 1) log u + sum (A^T 1) log v' - |A|, <B, log B> = sum e log e + sum f log f - s log s, and on a
    space <B, M> = sum over edges of cost (e below f above + e above f below) / s.

    *Without potentials.*  <T, M> >= EMD and H(T) <= H(p) + H(q) bound OPT from below; EMD's own plan P, since H(P) >=
    max(H(p), H(q)), and the plan p q^T / m from above.  For a space the interval is thus never wider than
    min(H(p), H(q)) / lam.  For a cost matrix EMD is not known, and 0 stands for it below.

    *Checked on the way*, on a space: F is feasible, so 0 <= <F, M> - EMD.  With L(F) for its objective, OPT <= L(P) and
    L(F) - OPT <= primal_value - lower give <F, M> - EMD <= (H(F) - H(P)) / lam + primal_value - lower, at most
    `entropy_bound` + primal_value - lower, since H(F) <= H(p) + H(q) and H(P) >= max(H(p), H(q)).  At convergence the
    gap vanishes and 0 <= <T, M> - EMD <= min(H(p), H(q)) / lam is left.

    *Rounding.*  Decimals have 60 digits more than lam max(M), the potentials and V have, so that relative errors are
    below 1e-55, those of e and f below 1e-29, and the sums that make up a bound, term by term, below 1e-28.

    Examples
    --------
    >>> import emdref
    >>> c = emdref.certify_sinkhorn([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(3), lam=20.0)
    >>> lower, upper = c
    >>> c.status, round(lower, 6), upper - lower < 1e-12
    ('proven', 0.930685, True)
    """
    rows, where, lam = _checked(p, q, space, lam)
    max_iter = inputs.count(max_iter, "max_iter", 0)
    _check_init(init, rows)
    log_v, n_iter, solver_status = _potentials(rows, where, lam, max_iter, init)
    certificate = SinkhornCertificate(
        **_prove(rows, where, lam, log_v),
        n_iter=n_iter,
        solver_status=solver_status,
        p=_copy(p),
        q=_copy(q),
        space=space if isinstance(space, Space) else _copy(space),
        lam=float(lam),
    )
    _contradicted(certificate)
    return certificate


def _checked(p: Any, q: Any, space: Any, lam: Any) -> tuple[Batch, Any, Any]:
    inputs.device(None, p, q, space)
    where = space if isinstance(space, Space) else _matrix(space)
    rows = _rows(p, q, where, np.float64)
    if rows.shape != ():
        raise ValueError(f"p and q have leading axes {rows.shape}: one pair at a time is certified, give one row")
    if _largest(where) == math.inf:
        raise ValueError("space: the largest distance is beyond float64; scale the costs down")
    return rows, where, _lambda(lam, rows.p.dtype)


def _check_init(init: Any, rows: Batch) -> None:
    if init is None:
        return
    _given(init, rows)
    for name, log, x, mass in (("log_u", init[0], "p", rows.p[0]), ("log_v", init[1], "q", rows.q[0])):
        bad = np.flatnonzero((np.asarray(log, np.float64) == -np.inf) & (mass > 0))
        if len(bad):
            k = bad[0]
            raise ValueError(f"init's {name}[{k}] = -inf where {x}[{k}] = {mass[k]}: it must be finite where mass is")


def _copy(x: Any) -> NDArray[Any]:
    array = np.array(x)
    array.setflags(write=False)
    return array


# --- potentials, which prove nothing by themselves --------------------------------------------------------------------


def _potentials(rows: Batch, where: Any, lam: Any, max_iter: int, init: Any) -> tuple[Any, int, str]:
    """log v or None, iterations, and how they ended."""
    if max_iter == 0:
        return None if init is None else np.asarray(init[1], np.float64), 0, "given"
    reach = float(lam) * _largest(where)
    if reach > _REACH:
        return None, 0, "overflow"
    for domain in ("linear", "log") if reach <= _LINEAR else ("log",):
        result, spent = _doubling(_unit(rows), where, lam, domain, init, max_iter)
        if result.status not in FAILED:
            break
    lost = result.status in FAILED or not np.isfinite(result.log_v[rows.q[0] > 0]).all()
    return None if lost else result.log_v, spent, result.status


def _doubling(rows: Batch, where: Any, lam: Any, domain: str, init: Any, max_iter: int) -> tuple[SinkhornResult, int]:
    """Potentials with lam doubled up to its value, unless they start from `init`, and the iterations spent."""
    doublings = math.ceil(math.log2(max(1.0, float(lam) * _largest(where) / _SMOOTH))) if init is None else 0
    spent = 0
    for k in range(doublings, -1, -1):
        cap = (max_iter - spent) // (2 * k) if k else max_iter - spent
        if cap:
            result, n = _stage(rows, where, np.ldexp(lam, -k), domain, init, cap, k == 0)
            spent += n
            if result.status in FAILED:
                break
            init = 2 * result.log_u, 2 * result.log_v
    return result, spent


def _stage(
    rows: Batch, where: Any, lam: Any, domain: str, init: Any, cap: int, last: bool
) -> tuple[SinkhornResult, int]:
    """Sinkhorn's iteration, Newton's method if that was too slow, then the iteration again."""
    total, variant = rows.p.sum(), VARIANTS["paper"]
    tol = "auto" if last else _LOOSE * total
    plain = cap if cap <= 2 * _PLAIN else _PLAIN
    result = iterate(rows, where, lam, variant, "auto", domain, tol, init, plain)[plain]
    spent = int(result.n_iter)
    if result.status != "iteration_limit" or plain == cap:
        return result, spent
    plan = _plan(where, "auto", "log", np.float64, lam, variant.shift)
    with np.errstate(all="ignore"):
        goal = (_FINE if last else _LOOSE) * total
        log_u, log_v, n = newton.improve(plan, rows.p[0], rows.q[0], result.log_v, goal, cap - spent - _PLAIN)
    spent += n
    rest = max(1, min(cap - spent, _PLAIN))
    result = iterate(rows, where, lam, variant, "auto", domain, tol, (log_u, log_v), rest)[rest]
    return result, spent + int(result.n_iter)


def _unit(rows: Batch) -> Batch:
    """The pair times a power of two that brings it near 1: log v changes by a constant, sums stay within the range."""
    scale = -int(np.frexp(rows.p.max())[1])
    return rows._replace(p=np.ldexp(rows.p, scale), q=np.ldexp(rows.q, scale))


# --- the proof --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Estimate:
    """A number known to within _MARGIN * size; size adds up what relative errors of its terms are multiplied by."""

    value: Decimal
    size: Decimal

    @classmethod
    def logs(cls, masses: Iterable[Decimal], logs: Iterable[Decimal]) -> _Estimate:
        """Sum of masses times logarithms; a relative error d of a number moves its logarithm by d."""
        terms = [(m, x) for m, x in zip(masses, logs, strict=True) if m]
        return cls(sum((m * x for m, x in terms), ZERO), sum((m * (1 + abs(x)) for m, x in terms), ZERO))

    @classmethod
    def of(cls, number: Decimal) -> _Estimate:
        """A number itself, or a sum of numbers >= 0."""
        return cls(number, abs(number))

    def __add__(self, other: _Estimate) -> _Estimate:
        return _Estimate(self.value + other.value, self.size + other.size)

    def __sub__(self, other: _Estimate) -> _Estimate:
        return _Estimate(self.value - other.value, self.size + other.size)

    def __truediv__(self, x: Decimal) -> _Estimate:
        return _Estimate(self.value / x, self.size / x)

    @property
    def lower(self) -> float:
        return down(self.value - _MARGIN * self.size)

    @property
    def upper(self) -> float:
        return up(self.value + _MARGIN * self.size)


@dataclass(frozen=True)
class _Pair:
    """p and the scaled q in Decimals, with equal totals."""

    p: list[Decimal]
    q: list[Decimal]
    total: Decimal
    emd: Fraction | None
    q_scale: Fraction

    @classmethod
    def of(cls, p: list[float], q: list[float], where: Any) -> _Pair:
        (a, unit_p), (b, unit_q) = formulas.integers(p), formulas.integers(q)
        total, scale = sum(a) * unit_p, sum(a) * unit_p / (sum(b) * unit_q)
        scaled = [Fraction(x) * scale for x in q]
        return cls(
            p=[formulas.as_decimal(Fraction(x)) for x in p],
            q=[formulas.as_decimal(x) for x in scaled],
            total=formulas.as_decimal(total),
            emd=exact.emd(p, scaled, where) if isinstance(where, Space) else None,
            q_scale=scale,
        )


def _prove(rows: Batch, where: Any, lam: Any, log_v: Any) -> dict[str, Any]:
    """Fields of the certificate that follow from the question and log v."""
    p, q = rows.p[0].tolist(), rows.q[0].tolist()
    reach = float(lam) * _largest(where)
    if log_v is not None:
        log_v = np.where(rows.q[0] > 0, log_v, -np.inf)
        reach += np.abs(log_v[rows.q[0] > 0]).max()
    usable = log_v is not None and reach <= _REACH
    size = 12 * (where.n_nodes if isinstance(where, Space) else len(where)) + 100 + int(min(reach, _REACH))
    with localcontext(Context(prec=_DIGITS + len(str(size)), Emax=MAX_EMAX, Emin=MIN_EMIN)):
        strength = Decimal(float(lam))
        pair = _Pair.of(p, q, where)
        factors = kernel(where, strength if usable else ZERO)
        known = _without_potentials(pair, factors, strength)
        found = _with_potentials(pair, factors, strength, log_v) if usable else _NOTHING
    lower, upper = max(known["lower"], found["dual_value"]), min(known.pop("upper"), found["primal_value"])
    status = "proven" if math.isfinite(lower) and math.isfinite(upper) else "overflow"
    return known | found | {
        "lower": lower, "upper": upper, "status": status, "emd": pair.emd, "q_scale": pair.q_scale
    }  # fmt: skip


_NOTHING = {
    "dual_value": -math.inf,
    "primal_value": math.inf,
    "transport_cost": (0.0, math.inf),
    "marginal_error": math.inf,
    "potentials": None,
}


def _without_potentials(pair: _Pair, factors: Kernel, lam: Decimal) -> dict[str, Any]:
    """Bounds by EMD and entropies alone; K is not used."""
    emd = _Estimate.of(ZERO if pair.emd is None else formulas.as_decimal(pair.emd))
    m = _mass_log_mass([pair.total])
    h_p, h_q = _entropy(pair.p, pair.total), _entropy(pair.q, pair.total)
    spread = _Estimate.of(factors.product_cost(pair.p, pair.q) / pair.total)
    upper = min((spread + (m - h_p - h_q) / lam).upper, math.inf)
    if pair.emd is not None:
        upper = min(upper, *((emd + (m - h) / lam).upper for h in (h_p, h_q)))
    return {
        "lower": (emd + (m - h_p - h_q) / lam).lower,
        "upper": upper,
        "entropy_bound": min((h_p / lam).upper, (h_q / lam).upper),
    }


def _with_potentials(pair: _Pair, factors: Kernel, lam: Decimal, log_v: NDArray[np.float64]) -> dict[str, Any]:
    """Bounds by the dual value and by the plan rounded to the marginals."""
    logs = [Decimal(x) if b else ZERO for x, b in zip(log_v.tolist(), pair.q, strict=True)]
    v = [x.exp() if b else ZERO for x, b in zip(logs, pair.q, strict=True)]
    u = [a / s if a else ZERO for a, s in zip(pair.p, factors.times(v), strict=True)]
    log_u, ktu = _logs(u), factors.transposed(u)
    columns = [x * s for x, s in zip(v, ktu, strict=True)]
    dual = _Estimate.logs(pair.p, log_u) + _Estimate.logs(pair.q, logs) - _Estimate.of(_total(columns))
    defect = _total(abs(c - b) for c, b in zip(columns, pair.q, strict=True))
    primal, cost = _feasible(pair, factors, lam, u, log_u, v, ktu)
    return {
        "dual_value": (dual / lam).lower,
        "primal_value": primal.upper,
        "transport_cost": (cost.lower, cost.upper),
        "marginal_error": _Estimate(defect, pair.total).upper,
        "potentials": (_floats(log_u, pair.p), _floats(logs, pair.q)),
    }


def _feasible(
    pair: _Pair, factors: Kernel, lam: Decimal, u: Numbers, log_u: Numbers, v: Numbers, ktu: Numbers
) -> tuple[_Estimate, _Estimate]:
    """Objective (at most) and transport cost of the plan rounded to the marginals."""
    v = [min(x, b / s) * (1 - _SHRINK) if b else ZERO for x, b, s in zip(v, pair.q, ktu, strict=True)]
    rows = [x * s for x, s in zip(u, factors.times(v), strict=True)]
    columns = [x * s for x, s in zip(v, ktu, strict=True)]
    e = [a - r for a, r in zip(pair.p, rows, strict=True)]
    f = [b - c for b, c in zip(pair.q, columns, strict=True)]
    inside, left = _total(rows), _total(e)
    cost_b = _Estimate.of(factors.product_cost(e, f) / left)
    a = _Estimate.logs(rows, log_u) + _Estimate.logs(columns, _logs(v)) - _Estimate.of(inside)
    b = _mass_log_mass(e) + _mass_log_mass(f) - _mass_log_mass([left])
    mixing = _entropy([inside, left], pair.total)
    return (a + b + mixing) / lam + cost_b, _Estimate.of(factors.cost(u, v)) + cost_b


def _mass_log_mass(x: Numbers) -> _Estimate:
    return _Estimate.logs(x, _logs(x))


def _entropy(x: Numbers, total: Decimal) -> _Estimate:
    """Sum of x log(total / x); 0 exactly if one bin has all."""
    shares = [a for a in x if a]
    if len(shares) == 1:
        return _Estimate(ZERO, ZERO)
    return _Estimate.logs(shares, [(total / a).ln() for a in shares])


def _logs(x: Numbers) -> list[Decimal]:
    """Natural logarithms, 0 in place of -inf."""
    return [a.ln() if a else ZERO for a in x]


def _total(x: Iterable[Decimal]) -> Decimal:
    return sum(x, ZERO)


def _floats(logs: Numbers, masses: Numbers) -> NDArray[np.float64]:
    array = np.array([float(x) if m else -math.inf for x, m in zip(logs, masses, strict=True)])
    array.setflags(write=False)
    return array


def _same(a: Any, b: Any) -> bool:
    """Equality of two fields, arrays included."""
    if isinstance(b, tuple):
        return isinstance(a, tuple) and len(a) == len(b) and all(map(_same, a, b))
    return bool(np.array_equal(a, b))


def _contradicted(c: SinkhornCertificate) -> None:
    """Raise if bounds cross, or if the transport cost of the feasible plan is not where the theory has it."""
    if not c.lower <= c.upper:
        raise RuntimeError(f"the lower bound {c.lower} exceeds the upper bound {c.upper}: a bug in emdref")
    low, high = c.transport_cost
    if c.emd is None or not all(map(math.isfinite, (high, c.entropy_bound, c.primal_value, c.lower))):
        return
    most = Fraction(c.entropy_bound) + Fraction(c.primal_value) - Fraction(c.lower)
    if not (c.emd <= Fraction(high) and Fraction(low) - c.emd <= most):
        raise RuntimeError(
            f"the feasible plan costs {low} to {high}, but EMD is {float(c.emd)} and at most {float(most)} less: "
            "a bug in emdref"
        )


# --- floats on the safe side ------------------------------------------------------------------------------------------
