"""A proven interval around the optimum that Sinkhorn's iteration seeks; no solver and no rounding is trusted.

Potentials come from the float64 iteration or from the caller and are only numbers: whatever they are, weak duality
makes them a lower bound and rounding their plan to the marginals an upper one.  Both are evaluated in Decimals whose
error is bounded (see `emdref.proof.decimal_gibbs`), and rounded outward.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emdref.arguments import containers, devices, libraries, validation
from emdref.arguments.messages import written
from emdref.arguments.validation import Batch
from emdref.entropic import inputs
from emdref.exact.rounding import up
from emdref.proof import entropic_bounds, potentials
from emdref.spaces.space import Space

_NOTES = ("n_iter", "solver_status")  # how the potentials were found, which proves nothing


@dataclass(frozen=True, eq=False)
class SinkhornCertificate:
    r"""What `certify_sinkhorn` returns: proven bounds of the entropic optimum.

    .. math:: \text{lower} \; \le \; \min_T \; \langle T, M \rangle + \frac{1}{\lambda} \langle T, \log T \rangle
       \; \le \; \text{upper}

    It unpacks as ``lower, upper``.

    Attributes
    ----------
    lower, upper : float
        Bounds of the optimum, rounded outward: the better of `dual_value`, `primal_value` and the bounds that need no
        potentials (see `certify_sinkhorn`).
    status : {"proven", "overflow"}
        ``proven``: both are finite.  ``overflow``: OPT may be beyond float64, and a bound is infinite.
    dual_value, primal_value : float
        Lower bound by the potentials, upper bound by the feasible plan made of them; -inf and inf if there are none.
    transport_cost : (float, float)
        Bounds of ``<F, M>`` for that plan F; (0, inf) if there is none.
    emd : Fraction or None
        Exact EMD(p, q), the limit of the optimum for large lam; None for a cost matrix.
    entropy_bound : float
        ``min(H(p), H(q)) / lam``, rounded up; for a total m, m times that of p/m and q/m.
    marginal_error : float
        l1 defect of the plan's columns before it was made feasible (its rows have none), rounded up; inf without one.
    potentials : (log_u, log_v) or None
        float64 logarithms of the scalings, -inf where p or q is 0.  None: none were given or the solver failed.
    q_scale : Fraction
        ``|p| / |q|``, exactly.  Where totals differ by rounding no plan has both marginals; then ``q * q_scale`` is
        used.
    n_iter : int
        Pairs of products done: a note, no part of the proof.
    solver_status : str
        The status of `emdref.sinkhorn`, or ``given``: a note as well.
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
        """Whether all of it follows from p, q, space, lam and the potentials.

        `n_iter` and `solver_status` do not, and are not looked at.

        Returns
        -------
        bool
            False as well where a field has been changed.

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
    r"""Proven lower and upper bound of the optimum that Sinkhorn's iteration seeks.

    .. math:: \mathrm{OPT} = \min_{T \ge 0} \; \langle T, M \rangle + \frac{1}{\lambda} \langle T, \log T \rangle

    over plans T whose rows sum to p and whose columns sum to q.  This is Eq. 3 of arXiv 1611.07573, the sign of its
    entropy put right, and what ``SinkhornResult.objective`` tends to.  How potentials were found does not matter, and
    an iteration that has not converged only makes the interval wider.

    Parameters
    ----------
    p, q : (N,) arrays, float32 or float64 (integers below 2**53 count as float64)
        One pair of histograms of equal total, up to rounding in the coarser dtype; see ``q_scale`` of
        `SinkhornCertificate`.
    space : Space or (N, N) array
        With a space M is the exact sum of its costs, and time and memory are ``O(N + V)``.  A cost matrix, checked as
        in `emdref.sinkhorn`, takes ``O(N^2)`` Decimals: seconds for N = 300, a minute and 0.5 GB for N = 1000.
    lam : float > 0
        Inverse strength of the entropy, in units of 1 / cost.
    max_iter : int >= 0
        Products with K and its transpose at most, in pairs: Sinkhorn's iterations, and Newton's method by conjugate
        gradients where they are slow; unless `init` is given lam starts small and is doubled on the way.  It ends as
        ``tol="auto"`` does.  Raise it for a large lam on a large space (1000 bins at lam max(M) = 3e5 took 43 000 and
        20 s); lower it for a large matrix.  0 certifies the potentials of `init` (without it: what is known without).
    init : (log_u, log_v), optional, each (N,)
        Potentials to start from, of ``T = diag(u) exp(-lam M - 1) diag(v)``; bins without mass do not count.  As in
        `emdref.sinkhorn` u starts the iteration.  With ``max_iter=0`` v is certified, with the u that suits it best, so
        that a constant added to log_v does not matter.

    Returns
    -------
    SinkhornCertificate
        It unpacks as ``lower, upper``; its ``verify()`` checks the proof.

    Raises
    ------
    TypeError, ValueError
        As `emdref.sinkhorn`; for a batch; for init with -inf where there is mass.
    RuntimeError
        If what is proven contradicts the theory, which would be a bug in emdref.

    Notes
    -----
    Let m be the total, ``T_ij = u_i v_j exp(-lam M_ij - 1)``, and ``H(p) = sum p log(m / p)``.

    *Dual.*  ``t log t - t c >= -exp(c - 1)`` for t >= 0, with equality at ``t = exp(c - 1)``.  For a plan F with
    marginals p and q and ``c_ij = log u_i + log v_j - lam M_ij``, summing gives the bound, for any u and v:

    .. math:: \lambda \langle F, M \rangle + \langle F, \log F \rangle \ge \sum p \log u + \sum q \log v - \sum T

    Empty bins have F = 0 and drop out.  Given v, ``u = p / (K v)`` is best.

    *Primal.*  Let ``v' = min(v, q / (K^T u)) (1 - 1e-25)``.  Then ``A = diag(u) K diag(v')`` has marginals below p and
    q.  With what they lack, e and f of total s, ``F = A + B``, ``B = e f^T / s``, is feasible (Altschuler, Weed and
    Rigollet 2017).  By convexity ``F log F <= A log(A / (1 - s/m)) + B log(B / (s/m))``.  Sums telescope, and no plan
    is formed:

    .. math:: \lambda \langle A, M \rangle + \langle A, \log A \rangle
       = \sum (A 1) \log u + \sum (A^T 1) \log v' - |A|

    .. math:: \langle B, \log B \rangle = \sum e \log e + \sum f \log f - s \log s

    On a space ``<B, M>`` is a sum over edges: their cost times ``(e below f above + e above f below) / s``.

    *Without potentials.*  ``<T, M> >= EMD`` and ``H(T) <= H(p) + H(q)`` bound OPT from below.  From above it is bounded
    by EMD's own plan P, since ``H(P) >= max(H(p), H(q))``, and by the plan ``p q^T / m``.  For a space the interval is
    thus never wider than ``min(H(p), H(q)) / lam``.  For a cost matrix EMD is not known, and 0 stands for it below.

    *Checked on the way*, on a space: F is feasible, so ``0 <= <F, M> - EMD``.  Let ``L(F)`` be its objective.  Then
    ``OPT <= L(P)`` and ``L(F) - OPT <= primal_value - lower`` give
    ``<F, M> - EMD <= (H(F) - H(P)) / lam + primal_value - lower``.  That is at most
    ``entropy_bound + primal_value - lower``, since ``H(F) <= H(p) + H(q)`` and ``H(P) >= max(H(p), H(q))``.  At
    convergence the gap vanishes, and ``0 <= <T, M> - EMD <= min(H(p), H(q)) / lam`` is left.

    *Rounding.*  Decimals have 60 digits more than ``lam max(M)``, the potentials and V have, so that relative errors
    are below 1e-55, those of e and f below 1e-29, and the sums that make up a bound, term by term, below 1e-28.

    Examples
    --------
    >>> import emdref
    >>> c = emdref.certify_sinkhorn([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(3), lam=20.0)
    >>> lower, upper = c
    >>> c.status, round(lower, 6), upper - lower < 1e-12
    ('proven', 0.930685, True)
    """
    p, q = containers.row(p, "p"), containers.row(q, "q")
    rows, where, lam = _checked(p, q, space, lam, init)
    max_iter = validation.count(max_iter, "max_iter", 0)
    init = _potentials(init, rows)
    log_v, n_iter, solver_status = potentials.find(rows, where, lam, max_iter, init)
    certificate = SinkhornCertificate(
        **entropic_bounds.prove(rows, where, lam, log_v),
        n_iter=n_iter,
        solver_status=solver_status,
        p=_copy(p, "p"),
        q=_copy(q, "q"),
        space=space if where is space else _copy(space, "space"),
        lam=float(lam),
    )
    _contradicted(certificate)
    return certificate


def _checked(p: Any, q: Any, space: Any, lam: Any, init: Any) -> tuple[Batch, Any, Any]:
    devices.stay(None, p=p, q=q, space=space)
    libraries.home({"p": p, "q": q})
    containers.check_labels({"p": p, "q": q, "init": init}, space)
    where = inputs.metric(space)
    rows = inputs.rows(p, q, where, np.float64)
    if rows.shape != ():
        raise ValueError(
            f"p and q have leading axes {written(rows.shape)}: one pair at a time is certified, give one row"
        )
    if where.diameter == math.inf:
        raise ValueError("space: the largest distance is beyond float64; scale the costs down")
    return rows, where, inputs.strength(lam, rows.p.dtype)


def _potentials(init: Any, rows: Batch) -> Any:
    """The caller's potentials in float64, finite where there is mass."""
    if init is None:
        return None
    inputs.potentials(init, rows.shape, rows.p.shape[1], rows.p.dtype)
    logs = tuple(validation.read(x, name).astype(np.float64) for x, name in inputs.both_potentials(init))
    for name, log, x, mass in (("log_u", logs[0], "p", rows.p[0]), ("log_v", logs[1], "q", rows.q[0])):
        bad = np.flatnonzero((log == -np.inf) & (mass > 0))
        if len(bad):
            k = bad[0]
            raise ValueError(f"init's {name}[{k}] = -inf where {x}[{k}] = {mass[k]}: it must be finite where mass is")
    return logs


def _copy(x: Any, name: str) -> NDArray[Any]:
    array = np.array(validation.read(x, name))
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
