"""`emdref.sinkhorn` on a GPU: input moved or taken as it lies, and the CPU's iterations, statuses and results."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import validation
from emdref.arguments.devices import Place
from emdref.entropic import failures, inputs, iteration, results
from emdref.entropic.iteration import Tolerance
from emdref.entropic.results import Run, SinkhornResult
from emdref.entropic.variants import Variant
from emdref.gpu import histograms
from emdref.gpu.call import Call
from emdref.gpu.gibbs import DensePlan, DevicePlan, SpacePlan, by_rows
from emdref.gpu.histograms import DeviceBatch
from emdref.kernels.cuda import balance, entropic
from emdref.kernels.entropic.alternation import State

_BLOCK = 2**31  # bins and iterations in one launch: so that it lasts about a second at most


def iterate(
    place: Place,
    given: tuple[Any, Any],
    where: Any,
    dtype: Any,
    lam: Any,
    switches: Variant,
    kernel: str,
    domain: str,
    tol: Any,
    init: Any,
    max_iter: int,
    stops: tuple[int, ...],
) -> tuple[dict[int, SinkhornResult], tuple[int, ...], NDArray[Any]]:
    """As `emdref.entropic.iteration.iterate`, from p and q as given; the leading axes and the last errors too."""
    p, q = given
    log_u, log_v = init if isinstance(init, (tuple, list)) and len(init) == 2 else (None, None)
    with Call(place, p=p, q=q, log_u=log_u, log_v=log_v) as call:
        rows = _rows(call, p, q, where, dtype)
        strength = inputs.strength(lam, rows.dtype)
        by_space = iteration.takes_space(where, kernel)
        iteration.check_costs(where, rows.dtype.type)
        wanted = iteration.tolerance(tol, where, rows.n_bins, float(strength), domain, rows.dtype)
        with np.errstate(all="ignore"):
            make = SpacePlan if by_space else DensePlan
            plan = make(call, where, rows.dtype.type, strength, domain, switches.shift, rows.rows)
            reach = np.finfo(rows.dtype).eps * float(strength) * where.diameter
            blurs = domain == "log" and (init is not None or reach > results.RESOLVES / 16)
            run = _DeviceRun(call, rows, plan, switches, strength, domain, wanted, blurs)
            run.start(init)
            return run.go(max_iter, stops), rows.shape, run.error


# --- input ------------------------------------------------------------------------------------------------------------


def _rows(call: Call, p: Any, q: Any, where: Any, dtype: Any) -> DeviceBatch:
    """p and q in `dtype`, one row behind the other, checked as `entropic.inputs.rows` does."""
    if call.place.framework == "numpy":
        batch = inputs.rows(p, q, where, dtype)
        on_device = (call.to_device(x, f"a copy of {name}") for x, name in ((batch.p, "p"), (batch.q, "q")))
        n = batch.p.shape[1]
        return DeviceBatch(next(on_device), next(on_device), None, n, n, 0, batch.shape, n, batch.p.dtype, {}, False)
    given = call.batch(p, q, where.n_bins)
    target = given.dtype if dtype is None else validation.float_dtype(dtype).newbyteorder("=")
    coarsest = min(given.dtype, target, key=lambda d: d.itemsize)
    rows = given._replace(dtype=target, p_step=given.n_bins, q_step=given.n_bins)
    rows = rows._replace(
        p=_packed(call, given.p, given.p_step, rows, given), q=_packed(call, given.q, given.q_step, rows, given)
    )
    if _suspicious(call, rows, validation.mass_tolerance(coarsest, rows.n_bins)):
        inputs.rows(given.readers["p"](), given.readers["q"](), where, dtype)
    return rows


def _packed(call: Call, flat: Any, step: int, rows: DeviceBatch, given: DeviceBatch) -> Any:
    """Rows one behind the other in the batch's dtype, in place if they are."""
    if rows.dtype == given.dtype and (step == rows.n_bins or rows.rows == 1):
        return flat
    out = call.empty(rows.rows * rows.n_bins, rows.dtype, "a copy of the rows")
    call.each(balance.convert, rows.rows * rows.n_bins, flat, step, rows.n_bins, out)
    return out


def _suspicious(call: Call, rows: DeviceBatch, slack: float) -> bool:
    """Whether a row may have to be refused, which whoever looks at it on the host then knows."""
    found = call.full(1, 0, np.int64)
    limits = call.to_device(np.array([slack / 2, np.finfo(rows.dtype).max]))
    by_rows(
        call, balance.look, rows.rows, np.float64, 2,
        rows.p, rows.p_step, rows.q, rows.q_step, rows.n_bins, rows.rows, limits, found,
    )  # fmt: skip
    return bool(call.to_host(found)[0])


# --- the run ----------------------------------------------------------------------------------------------------------


class _DeviceRun(Run):
    """The iteration in flat arrays on a GPU, (rows, N)."""

    def __init__(
        self,
        call: Call,
        rows: DeviceBatch,
        plan: DevicePlan,
        switches: Variant,
        lam: Any,
        domain: str,
        wanted: Tolerance,
        blurs: bool,
    ) -> None:
        self.blurs = blurs  # whether rounding of logarithms may move masses visibly
        self.call, self.rows, self.plan, self.switches, self.lam = call, rows, plan, switches, lam
        self.domain = domain
        self.kernels = balance.LOG_KERNELS if domain == "log" else balance.LINEAR_KERNELS
        self.size, self.entries = rows.rows, rows.rows * rows.n_bins
        self.longest = max(1, _BLOCK // max(1, self.entries))
        self.notes = call.empty(2 * balance.LINES * self.size, np.int64)
        self.marks, self.seen = self._lines(0), self._lines(1)
        self._clean(self.marks, entropic.FIRST)
        one = self._entered_on_host(results.first_scalings(switches, np.array([rows.n_bins]), rows.dtype), domain)
        numbers = call.to_device(np.array([switches.shift, lam, one[0]], rows.dtype))
        self.shift, self.strength, self.one = numbers[0:1], numbers[1:2], numbers[2:3]
        self.totals = self._totals() if wanted.number > 0 or plan.lost > 0 else np.ones(self.size)
        self.tol = wanted.of(self.totals, rows.dtype, rows.shape)

    def start(self, init: Any) -> None:
        """u_0 and K u_0."""
        rows, log = self.rows, self.domain == "log"
        p, q = (self._entered(x) if log else x for x in (rows.p, rows.q))
        u, v, ktu = (self.call.empty(self.entries, rows.dtype) for _ in range(3))
        given, row_step, bin_step, by_log = self._first(init)
        drops = int(self.switches.drops_empty)
        self._each(self.kernels.start, given, row_step, bin_step, by_log, rows.p, rows.n_bins, drops, u)
        self.plan.transposed(u, ktu)
        exact = self._exact(ktu)
        self.state = State(p, q, u, v, ktu, exact)
        self.on_device = None if self.tol is None else self.call.to_device(self.tol.astype(rows.dtype))

    def _exact(self, ktu: Any) -> Any:
        """Where K u goes as the kernels' elements; the dense kernels have plain q there, for defects."""
        if self.plan.parts == 0:
            return self.rows.q
        return ktu if self.plan.parts == 1 else self.call.empty(self.plan.parts * self.entries, self.rows.dtype)

    def _first(self, init: Any) -> tuple[Any, int, int, int]:
        """u_0 or its logarithm, entries from row to row and from bin to bin, and whether it is the logarithm."""
        rows = self.rows
        if init is None and not self.switches.drops_empty:
            return self.one, 0, 0, 0
        if init is None:
            log_u = results.first_scalings(self.switches, self._kept(), rows.dtype)
            return self.call.to_device(self._entered_on_host(log_u, self.domain)), 1, 0, 0
        inputs.both_potentials(init)
        if "log_u" in self.call.memories:
            return self._potentials(), rows.n_bins, 1, 1
        log_u = inputs.potentials(init, rows.shape, rows.n_bins, rows.dtype)
        return self.call.to_device(self._entered_on_host(log_u, self.domain)), rows.n_bins, 1, 0

    def _potentials(self) -> Any:
        """log u_0 from arrays on the device."""
        rows, found = self.rows, {}
        for name in ("log_u", "log_v"):
            there = self.call.memories[name]
            inputs.check_potential(there.dtype, there.shape, name, rows.shape, rows.n_bins)
            flat, step = histograms.in_rows(self.call, there, (*rows.shape, rows.n_bins), f"init's {name}")
            found[name] = self.call.empty(self.entries, rows.dtype, f"init's {name}")
            self._each(balance.convert, flat, step, rows.n_bins, found[name])
            bad = self.call.full(1, 0, np.int64)
            self._each(balance.refused, found[name], bad)
            if self.call.to_host(bad)[0]:
                inputs.refuse_potential(name)
        return found["log_u"]

    def _kept(self) -> NDArray[Any]:
        count = self.call.empty(self.size, np.int64)
        self.call.each(balance.kept, self.size, self.rows.p, self.rows.n_bins, self.size, count)
        return self.call.to_host(count)

    def _totals(self) -> NDArray[Any]:
        out = self.call.empty(self.size, self.rows.dtype)
        self._by_rows(balance.totals, 1, self.rows.p, self.rows.n_bins, self.size, out)
        return self.call.to_host(out)

    def _entered(self, x: Any) -> Any:
        out = self.call.empty(self.entries, self.rows.dtype)
        self._each(balance.logarithms, x, out)
        return out

    def _lines(self, which: int) -> Any:
        """The run's marks, or what is seen of its results."""
        count = balance.LINES * self.size
        return self.notes[which * count : (which + 1) * count]

    def _clean(self, lines: Any, places: int) -> None:
        self.call.each(balance.clean, balance.LINES * self.size, lines, places * self.size, self.size)

    @staticmethod
    def _entered_on_host(log_u: NDArray[Any], domain: str) -> NDArray[Any]:
        return log_u if domain == "log" else np.exp(log_u)

    def _each(self, kernel: Any, *args: Any) -> None:
        self.call.each(kernel, self.entries, *args)

    def _by_rows(self, kernel: Any, sums: int, *args: Any) -> None:
        by_rows(self.call, kernel, self.size, self.rows.dtype, sums, *args)

    # --- iterations ---------------------------------------------------------------------------------------------------

    def _block(self, done: int, until: int) -> int:
        until = min(until, done + self.longest)
        return self.plan.alternate(self.state, self.marks, self.on_device, done, until)

    def _settled(self) -> bool:
        return self.size == 0 or (self.tol is not None and bool(self._line(entropic.REACHED).all()))

    def _line(self, which: int) -> NDArray[Any]:
        return self.call.to_host(self.marks).reshape(balance.LINES, self.size)[which]

    # --- results ------------------------------------------------------------------------------------------------------

    def _evaluate(self) -> SinkhornResult:
        call, rows, s, switches = self.call, self.rows, self.state, self.switches
        v = s.v
        if switches.refreshes_v:
            v = call.empty(self.entries, rows.dtype)
            self._each(self.kernels.divide, s.q, s.ktu, v, rows.n_bins, self.size, self.marks, -1)
        kv, cost = call.empty(self.entries, rows.dtype), call.empty(self.size, rows.dtype)
        self.plan.times(v, kv)
        self.plan.cost(s.u, v, cost)
        out = {name: call.result(rows, name) for name in ("value", "objective", "marginal_error")}
        out |= {name: call.result(rows, name, rows.n_bins) for name in ("grad", "log_u", "log_v")}
        out["n_iter"] = call.result(rows._replace(dtype=np.dtype(np.int64)), "n_iter")
        self._clean(self.seen, balance.LATE)
        given = s.u, v, s.ktu, kv, cost, rows.p, rows.q
        results = tuple(out[x].flat for x in ("value", "objective", "grad", "log_u", "log_v", "marginal_error"))
        how = self.shift, self.strength, int(switches.value == "objective"), int(switches.centred)
        self._by_rows(
            self.kernels.evaluate, balance.PARTS,
            given, results, rows.n_bins, self.size, how, out["n_iter"].flat, self.marks, self.seen,
        )  # fmt: skip
        return self._judged(out)

    def _judged(self, out: dict[str, Any]) -> SinkhornResult:
        """What the results say of each row."""
        marks, seen = self.call.to_host(self.notes).reshape(2, balance.LINES, self.size)
        _, reached, first, vanished = marks
        asked = self.tol is not None or self.plan.lost > 0
        self.error = error = self.call.to_host(out["marginal_error"]) if asked else np.zeros(self.size)
        lost = results.lost_too_much(self.plan.lost, error, self.totals)
        status = results.ranked(
            seen[balance.NAN] > 0,
            seen[balance.OVER] > 0,
            (vanished > 0) | (seen[balance.UNDER] > 0) | lost,
            self._unresolved(out),
            (reached > 0) | (error <= self.tol if self.tol is not None else False),
        )
        half, place = np.divmod(first, self.rows.n_bins)
        at = np.where(first < balance.NEVER, half // 2 + 1, 0)
        late = np.where(seen[balance.LATE] < balance.NEVER, seen[balance.LATE], -1)
        failed_at, failed_bin = failures.outcome(np.isin(status, failures.FAILED), at, place, late)
        give = self._as_rows
        return SinkhornResult(
            **{name: x.given() for name, x in out.items()},
            status=str(status[0]) if self.rows.shape == () else give(status),
            converged=give(status == "converged"),
            failed_at=give(failed_at),
            failed_bin=give(failed_bin),
            lost_entries=self.plan.lost,
            checkpoints={},
        )

    def _unresolved(self, out: dict[str, Any]) -> Any:
        """See `emdref.entropic.results.unresolved`."""
        if not self.blurs:
            return False
        arrays = (out["log_u"].flat, out["log_v"].flat, self.rows.p, self.rows.q)
        return results.unresolved(*(self.call.to_host(x).reshape(self.size, -1) for x in arrays))

    def _as_rows(self, array: NDArray[Any]) -> Any:
        return array.reshape(self.rows.shape)[()]
