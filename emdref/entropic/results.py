"""What `sinkhorn` returns, how it is told what became of a row, and a run as blocks of iterations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from emdref.entropic.unrolled import Unrolled
from emdref.entropic.variants import Variant

Status = Literal["nan", "overflow", "underflow", "unresolved", "converged", "iteration_limit"]
IDENTIFIES = 1e-3  # marginal error, relative to the total, beyond which nothing is said to have converged
RESOLVES = 2.0**-6  # eps (max|log u| + max|log v|) beyond which rounding of logarithms moves masses by percents


@dataclass(frozen=True, eq=False)
class SinkhornResult:
    r"""What `sinkhorn` returns: value, gradient, scalings, and what became of each row.

    .. math:: \text{value} = \langle T, M \rangle, \qquad \text{grad} = \frac{1}{\lambda} \log u

    .. math:: \text{objective} = \langle T, M \rangle + \frac{1}{\lambda} \langle T, \log T \rangle

    For one pair each attribute is a scalar (`grad`, `log_u` and `log_v`: a vector).  For a batch it has the batch's
    leading axes.

    On a space, `objective`, `grad`, `log_u` and `log_v` are made when they are first read, and then kept; what was
    given to `sinkhorn` may change in between.

    Attributes
    ----------
    value : float or array
        ``<T, M>``, the transport cost of the plan reached (the objective for variant ``caffe``).
    objective : float or array
        ``<T, M> + <T, log T> / lam``, what the iteration minimises.
    grad : (..., N) array
        ``log u / lam`` per bin, centred or not as the variant says.  It is the gradient of `objective` at convergence,
        not of ``<T, M>``.  -inf where p = 0 (and where u underflowed, which `status` tells).
    log_u, log_v : (..., N) arrays
        Logarithms of the scalings; -inf where p or q is 0.
    n_iter : int or array
        Iterations done.
    marginal_error : float or array
        The larger l1 defect of the plan's two marginals.
    status : str or array of str
        The first that holds of these:

        - ``nan`` and ``overflow``: in value, objective, u or v.
        - ``underflow``: a mass was divided by 0, or u or v is 0 where mass is, or K lost entries to 0 and
          `marginal_error` exceeds 1e-3 of the total.
        - ``unresolved``: in the log domain, rounding moves masses by percents (see Notes).
        - ``converged``: `marginal_error` is at most `tol`.
        - ``iteration_limit``: none of these.
    converged : bool or array
        Whether status is ``converged``.
    failed_at : int or array
        For a row whose status is ``nan``, ``overflow`` or ``underflow``: the first iteration, counted from 1, that
        divided a mass by 0 or gave a u or v that is 0 (where mass is), infinite or NaN.  It is -1 if none did and only
        what is computed after the last iteration failed: v refreshed, the value or gradient beyond the dtype, or K's
        lost entries missing.  It is 0 for every other row, including those that a scaling of 0 has left again.
    failed_bin : int or array
        The first bin where that happened, v's before u's as they are computed.  For ``failed_at = -1`` it is the first
        bin of a refreshed v that is so.  -1 if there is none.
    lost_entries : float
        The share of K's N x N entries that are 0 as the products take them, one number for the whole batch; 0.0 in the
        log domain.  The space kernel never forms K and counts the farthest pair only: ``2 / N^2``, a lower bound, if
        that is lost.
    checkpoints : dict of SinkhornResult
        The results after fewer iterations of the same run, by iteration.  That of the last iteration shares its arrays
        with the result itself.
    grad_unrolled : Unrolled or None
        With ``unrolled=True``, the exact partial derivatives of `value` and of `objective` after `n_iter` iterations
        with respect to p: two fields of those names, each in the shape of `grad`.  q, K and u_0 are held, and nothing
        is centred; see the notes of `sinkhorn`.  Else None.

    Notes
    -----
    *Unresolved.* An entry of T is ``exp(log u - lam M + log v)``.  Rounding these logarithms changes it, relatively, by
    up to ``5/2 eps (max|log u| + max|log v|)``.  The status says that this exceeds 4%: from ``lam max(M)`` of about 1e5
    on in float32, of 7e13 in float64.  Value, objective and `marginal_error` may be off by as much.  `marginal_error`
    does not show it, since it is rounded alike.
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

    @classmethod
    def later(cls, made: Callable[[str], Any], **known: Any) -> SinkhornResult:
        """A result of which some fields are made when they are first read, by `made` from their names."""
        result = object.__new__(cls)
        vars(result).update(known, grad_unrolled=None, _made=made)
        return result

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            made = vars(self).get("_made")
            if made is None or name not in self.__dataclass_fields__:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return vars(self).setdefault(name, made(name))

    def __getstate__(self) -> dict[str, Any]:
        """All fields, for copies and pickles."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def with_checkpoints(result: SinkhornResult, checkpoints: dict[int, SinkhornResult]) -> SinkhornResult:
    """The same result, whatever of it has been made, with others of its run."""
    other = object.__new__(SinkhornResult)
    vars(other).update(vars(result), checkpoints=checkpoints)
    return other


def unresolved(log_u: Any, log_v: Any, p: Any, q: Any) -> NDArray[Any]:
    """Rows whose masses the rounding of their logarithms moves by percents, from arrays (rows, N)."""
    reach = sum(np.abs(np.where(mass > 0, log, 0)).max(axis=1) for log, mass in ((log_u, p), (log_v, q)))
    return reach * np.finfo(log_u.dtype).eps > RESOLVES


def first_scalings(switches: Variant, kept: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """log u_0 of rows that keep so many bins."""
    size = {"ones": np.ones_like(kept), "count": kept, "inverse": 1.0 / kept}[switches.start]
    return np.log(size.astype(dtype))


def ranked(nan: Any, overflow: Any, underflow: Any, unresolved: Any, converged: Any) -> NDArray[Any]:
    """The first status that holds, by row."""
    status = np.full(np.shape(converged), "iteration_limit")
    tests: tuple[tuple[Status, Any], ...] = (  # what comes later counts for more
        ("converged", converged),
        ("unresolved", unresolved),
        ("underflow", underflow),
        ("overflow", overflow),
        ("nan", nan),
    )
    for name, holds in tests:
        status[holds] = name
    return status


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
