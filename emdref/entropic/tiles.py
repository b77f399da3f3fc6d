"""Sinkhorn's iteration on a space, a tile of rows at a time from the caller's rows to the results."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref.arguments.casts import frozen
from emdref.arguments.validation import Batch, mass_tolerance
from emdref.entropic import failures, gibbs
from emdref.entropic.results import RESOLVES, Run, SinkhornResult, first_scalings, lost_too_much, ranked, unresolved
from emdref.entropic.variants import Variant
from emdref.kernels.entropic.alternation import Given, How, Marks, Scalings

_LARGEST_LOG = 750.0  # no logarithm of a float64 is larger


class TileRun(Run):
    """Many iterations in a call, and what is asked of the plan in the same pass; u_0 from `log_u`, if rows differ."""

    def __init__(
        self,
        rows: Batch,
        totals: NDArray[Any] | None,
        plan: gibbs.SpaceLinear,
        switches: Variant,
        lam: Any,
        tol: NDArray[Any] | None,
        log_u: NDArray[Any] | None,
        max_iter: int,
        check: Callable[[], object] | None,
    ) -> None:
        self.rows, self.totals, self.plan, self.switches, self.lam, self.tol = rows, totals, plan, switches, lam, tol
        self.max_iter, self.size, self.dtype, self.check = max_iter, len(rows.p), rows.p.dtype, check
        self.limit = mass_tolerance(self.dtype, rows.p.shape[1])
        none, size = _nothing(self.dtype), self.size
        self.marks = Marks(np.zeros((2, size), bool), np.zeros((2, size), int), np.full(size, -1))
        self.results = np.empty((6, size), self.dtype)
        u, v = self._planes()
        if log_u is None:
            first = self._first()
        else:
            first = self._elements(none)
            u[:] = self._elements(log_u.reshape(-1)).T.reshape(-1)
        limits = none if tol is None else tol
        self.given = Given(_flat(rows.p), _flat(rows.q), first, limits, False)
        self.where = Scalings(u, v, none)
        self.done, self.known = 0, -1  # iterations done, and up to which results are known

    def _first(self) -> NDArray[Any]:
        """u_0, one number for all bins of all rows, as the plan's elements."""
        start, bins = self.switches.start, np.array([self.rows.p.shape[1]])
        if start not in self.plan.starts:
            self.plan.starts[start] = self._elements(first_scalings(self.switches, bins, self.dtype))
        return self.plan.starts[start]

    def _elements(self, log: NDArray[Any]) -> NDArray[Any]:
        return self.plan.elements(self.plan.domain.from_log(log))

    def _planes(self) -> NDArray[Any]:
        """Memory for u and v: one piece, since systems give what is large in larger pages."""
        return _room((2, self.plan.parts * self.rows.p.size), self.dtype)

    def _settled(self) -> bool:
        return self.size == 0 or (self.tol is not None and bool(self.marks.holds[0].all()))

    def _block(self, done: int, until: int) -> int:
        last = min(until, done + self.plan.at_once)
        self._run(last, last == until)
        return last

    def _run(self, until: int, evaluates: bool) -> None:
        u, v, ktu = self.where
        if self.known >= 0:  # in results that were given away
            u, v = self._planes()
            u[:], v[:] = self.where.u, self.where.v
        if len(ktu) == 0 and (self.tol is not None or until < self.max_iter):
            ktu = _room((len(u),), self.dtype)
        self.where = Scalings(u, v, ktu)
        how = How(self.done, until, self.switches.refreshes_v, evaluates, self.limit)
        self.plan.alternate(self.size, self.given, self.where, self.marks, self.results, how=how)
        if self.check and self.results[5].any():
            self.check()
        self.check = None
        self.done, self.known = until, until if evaluates else -1

    def _evaluate(self) -> SinkhornResult:
        if self.known != self.done:
            self._run(self.done, True)
        seen, rows = self.results.copy(), self.rows
        late = _Late(rows, self.plan, self.switches, self.lam, self.where.u, self.where.v)
        sound, resolved = self._bounds(seen)
        ended = self.tol is not None or self.plan.lost or self.marks.holds.any()  # by more than the cap
        if sound and resolved and not ended:
            size = self.size
            status, failed_at, failed_bin = np.full(size, "iteration_limit"), np.zeros(size, int), np.full(size, -1)
        else:
            status, failed_at, failed_bin = self._told(seen, late, sound, resolved)
        cost, error = seen[:2]
        give, on_host = rows.as_rows, rows.on_host
        return SinkhornResult.later(
            late.made,
            **({"value": give(cost)} if self.switches.value == "cost" else {}),
            n_iter=on_host(self.marks.iterations[0].copy()),
            marginal_error=give(error),
            status=str(status[0]) if rows.shape == () else on_host(status),
            converged=on_host(status == "converged"),
            failed_at=on_host(failed_at),
            failed_bin=on_host(failed_bin),
            lost_entries=self.plan.lost,
            checkpoints={},
        )

    def _told(
        self, seen: NDArray[Any], late: _Late, sound: bool, resolved: bool
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """The status of each row, and iteration and bin in which it failed."""
        cost, error, _, _, total, _ = seen
        p, q, none, reached = self.rows.p, self.rows.q, np.zeros(self.size, bool), self.marks.holds[0]
        lost = lost_too_much(self.plan.lost, error, total if self.totals is None else self.totals)
        nan, over, under = (none, none, none) if sound else late.faults(cost, p, q)
        under = under | self.marks.holds[1] | lost
        blurred = none if resolved else late.unresolved(p, q)
        status = ranked(nan, over, under, blurred, reached | (error <= self.tol if self.tol is not None else False))
        failed = nan | over | under
        first = late.first_fault(q) if failed.any() else self.marks.bin
        return status, *failures.outcome(failed, self.marks.iterations[1], self.marks.bin, first)

    def _bounds(self, seen: NDArray[Any]) -> tuple[bool, bool]:
        """Whether no row can be nan, overflow, or underflow for u's or v's sake; and whether none is unresolved.

        Where nothing is unsound, |log u| and |log v| are at most `reach` where there is mass, or what the dtype allows
        a plain number; the plan's masses sum to the totals and the error at most.  What is computed from these does
        not exceed (2 reach + 1) (total + error + 1) / lam by more than rounding.  Where that is far within the dtype,
        for the largest of all rows' numbers, no logarithm needs to be looked at.
        """
        if self.size == 0:
            return True, True
        cost, error, unsound, reach, total, _ = seen.max(axis=1).tolist()
        most, reach = float(np.finfo(self.dtype).max) / 64, max(reach, _LARGEST_LOG)
        bound = (2 * reach + 1) * (total + error + 1)
        sound = unsound == 0 and cost <= most and bound <= most * min(1.0, float(self.lam))
        return sound, self.plan.domain is not gibbs.Log or (
            sound and reach * float(np.finfo(self.dtype).eps) <= RESOLVES
        )


@cache
def _nothing(dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.empty(0, dtype)


_PAGE = 2**21  # bytes of a large page


def _room(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Memory to be written to, in large pages if it fills one: small ones take longer to come by than to fill."""
    size = math.prod(shape) * dtype.itemsize
    if size < _PAGE:
        return np.empty(shape, dtype)
    whole = np.empty(size + _PAGE, np.uint8)  # for which NumPy asks Linux for them
    start = -whole.ctypes.data % _PAGE
    return whole[start : start + size].view(dtype).reshape(shape)


def _flat(x: NDArray[Any]) -> NDArray[Any]:
    """Rows one behind the other, as the kernels are compiled for them."""
    return frozen(x.reshape(-1))


class _Late:
    """What is made of u and v when it is read, once."""

    def __init__(
        self, rows: Batch, plan: gibbs.SpaceLinear, switches: Variant, lam: Any, u: NDArray[Any], v: NDArray[Any]
    ) -> None:
        self.plan, self.switches, self.lam, self.u, self.v = plan, switches, lam, u, v
        self.rows = rows._replace(p=u[:0], q=u[:0])  # the caller's own may change, and need not be kept
        self.shape = rows.p.shape
        self.mass = rows.p > 0 if switches.centred else None
        self.names = {"objective", "grad", "log_u", "log_v"} | ({"value"} if switches.value != "cost" else set())
        self.given: dict[str, Any] = {}  # to the caller
        self.kept: dict[str, NDArray[Any]] = {}  # for others that are made of it
        self.lock = Lock()

    def made(self, name: str) -> Any:
        """A field of the result."""
        with self.lock, np.errstate(all="ignore"):
            if name not in self.given:
                self.given[name] = self.rows.as_rows(self._new(name))
                if self.names <= self.given.keys():
                    self.kept.clear()
                    del self.u, self.v
            return self.given[name]

    def _new(self, name: str) -> NDArray[Any]:
        """An array of the caller's own."""
        if name == "grad":
            return self._grad()
        if name in ("value", "objective"):
            return self._objective().copy()
        if self.names <= {"log_u", "log_v", *self.given}:  # nothing else is made of it any more
            return self.kept.pop(name) if name in self.kept else self._of(name)
        return self._log(name).copy() if name in self.kept else self._of(name)

    def _of(self, name: str) -> NDArray[Any]:
        planes, out = self.u if name == "log_u" else self.v, _room(self.shape, self.u.dtype)
        self.plan.logarithms(planes.reshape(self.plan.parts, *out.shape), out)
        return out

    def _log(self, name: str) -> NDArray[Any]:
        """The same once."""
        if name not in self.kept:
            self.kept[name] = self._of(name)
        return self.kept[name]

    def _grad(self) -> NDArray[Any]:
        kept = self.kept.get("log_u")
        grad = self._of("log_u") if kept is None else _room(self.shape, self.u.dtype)
        np.divide(grad if kept is None else kept, self.lam, out=grad)
        if self.mass is not None:
            grad -= np.mean(grad, axis=1, where=True if self.mass.all() else self.mass, keepdims=True)
        return grad

    def _objective(self) -> NDArray[Any]:
        if "objective" not in self.kept:
            log_u, log_v, none = _flat(self._log("log_u")), _flat(self._log("log_v")), np.empty(0, self.u.dtype)
            size, sums = self.shape[0], np.empty((6, self.shape[0]), self.u.dtype)
            marks = Marks(np.zeros((2, size), bool), np.zeros((2, size), int), np.full(size, -1))
            given = Given(log_u, log_v, self.plan.elements(none), none, True)
            how = How(0, 0, False, True, 0.0)
            self.plan.alternate(size, given, Scalings(self.u, self.v, none), marks, sums, how=how)
            of_u, of_v, mass = sums[:3]
            self.kept["objective"] = (of_u + of_v - self.switches.shift * mass) / self.lam
        return self.kept["objective"]

    def faults(self, cost: NDArray[Any], p: NDArray[Any], q: NDArray[Any]) -> tuple[Any, Any, Any]:
        """Where cost and objective, u's logarithms over lam and v's are NaN, infinite, or lost to 0."""
        with self.lock:
            values = cost + self._objective()
            grad, log_v = np.where(p > 0, self._log("log_u") / self.lam, 0), np.where(q > 0, self._log("log_v"), 0)
        numbers = np.concatenate([values[:, None], grad, log_v], axis=1)
        over = (numbers == np.inf).any(axis=1) | (values == -np.inf)
        return np.isnan(numbers).any(axis=1), over, (numbers == -np.inf).any(axis=1)

    def unresolved(self, p: NDArray[Any], q: NDArray[Any]) -> NDArray[Any]:
        """See `SinkhornResult.status`."""
        return unresolved(self._log("log_u"), self._log("log_v"), p, q)

    def first_fault(self, q: NDArray[Any]) -> NDArray[Any]:
        """The first bin of each row whose v is 0, infinite or NaN in spite of its mass, -1 for none."""
        bad = (q > 0) & ~np.isfinite(self._log("log_v"))
        return np.where(bad.any(axis=1), bad.argmax(axis=1), -1)
