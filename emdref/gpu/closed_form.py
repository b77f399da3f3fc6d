"""Value, gradient, flow and second derivatives of rows on a GPU: what emdref.closed_form.escalation and its likes do on
the CPU.

Rows that a kernel leaves open are done again by the CPU; input that it doubts is looked at by the CPU, which says what
is wrong with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref import fallback
from emdref.arguments import casts, gauges, validation
from emdref.arguments.validation import Batch
from emdref.closed_form import batches, escalation, second_derivatives
from emdref.closed_form.flows import flows
from emdref.gpu import layout
from emdref.gpu.layout import TUNING
from emdref.kernels.cuda import chain, chain_near, copies, first_look, plain, rows, tree
from emdref.kernels.cuda.arguments import Launch, Numbers
from emdref.spaces.rooted import fits_two_limbs
from emdref.spaces.space import Space, as_rooted

Array = NDArray[Any]
_TREES = {
    "native": (tree.tree_native, tree.tree_native_far),
    "compensated": (tree.tree_two_limbs, tree.tree_two_limbs_far),
}
_CHAINS = {
    "native": (
        chain.carries_plain, chain.scan_plain, chain.segments_plain, chain.rows_plain, chain.gradient_plain,
    ),
    "compensated": (
        chain.carries_two_limbs, chain.scan_two_limbs, chain.segments_two_limbs, chain.rows_two_limbs,
        chain.gradient_two_limbs,
    ),
}  # fmt: skip


class Sides(NamedTuple):
    """Rows on the device, one behind the other or one for all."""

    p: Any
    p_step: int
    q: Any
    q_step: int
    rows: int
    dtype: Any


class Job(NamedTuple):
    """Rows, and what to compute of them."""

    call: Any
    batch: Any
    space: Space
    rho: float
    mass: str
    accuracy: str

    @property
    def sides(self) -> Sides:
        b = self.batch
        return Sides(b.p, b.p_step, b.q, b.q_step, b.rows, b.dtype)

    @property
    def tolerance(self) -> float:
        """Of totals."""
        return validation.mass_tolerance(self.batch.dtype, self.space.n_bins) if self.mass == "raise" else math.inf

    @property
    def gaps(self) -> Array | None:
        """Those between bins if these stand in a row, for which there are kernels of their own."""
        return as_rooted(self.space).gaps

    def normalizes(self, gauge: int | None) -> bool:
        return self.mass == "normalize" or gauge == gauges.NORMALIZED


# --- value and gradient -----------------------------------------------------------------------------------------------


def value_and_grad(
    call: Any, batch: Any, space: Space, rho: float, mass: str, accuracy: str, gauge: int | None, value_wanted: bool
) -> tuple[Any, Any]:
    """Results of the value, if wanted, and of the gradient, if there is a gauge."""
    job = Job(call, batch, space, rho, mass, accuracy)
    value = call.result(batch, "value") if value_wanted else None
    grad = None if gauge is None else call.result(batch, "gradient", batch.n_bins)
    apart = value is not None and gauge == gauges.NORMALIZED and mass != "normalize"
    beyond = _fill(job, None if apart else value, grad, gauge)
    if apart:
        beyond = _fill(job, value, None, None) or beyond
    for result in (value, grad):
        if result is not None:
            result.may_be_beyond = beyond
    return value, grad


def _fill(job: Job, value: Any, grad: Any, gauge: int | None) -> bool:
    """Fill what is not None; True where a result may be beyond the dtype."""
    if job.batch.rows == 0:
        return False
    normalize = job.normalizes(gauge)
    if normalize:
        _check(job)
    if job.accuracy == "native":
        return (_native_normalized if normalize else _native)(job, value, grad, gauge)
    return _compensated(job, value, grad, gauge, normalize)


def _fits(job: Job) -> bool:
    """Whether kernels in two limbs can be used, that scale nothing."""
    return fits_two_limbs(job.rho, *as_rooted(job.space).cost_range)


def _check(job: Job) -> None:
    """Refuse bad rows, as the CPU does."""
    call, sides, n = job.call, job.sides, job.space.n_bins
    doubt, threads = call.empty(sides.rows, np.bool_), TUNING.threads // 2
    half = sides.dtype.type(0.5 * job.tolerance)
    shared = threads * first_look.SIZE * sides.dtype.itemsize
    call.launch(rows.look, sides.rows, threads, shared, *_places(sides), n, half, doubt)
    if _any(job, doubt, doubt)[0]:
        job.batch.verify(job.mass)


def _places(sides: Sides) -> tuple[Any, ...]:
    return sides.p, sides.p_step, sides.q, sides.q_step


def _any(job: Job, doubt: Any, unsafe: Any) -> tuple[bool, bool]:
    """Whether any row is doubtful, and any unsafe."""
    found = job.call.full(2, 0, np.int64)
    job.call.each(rows.any_set, job.batch.rows, job.batch.rows, doubt, unsafe, found)
    first, second = job.call.to_host(found)
    return bool(first), bool(second)


def _native(job: Job, value: Any, grad: Any, gauge: int | None) -> bool:
    doubt, _ = _kernels(job, job.sides, job.tolerance, value, grad, gauge, False)
    if not _any(job, doubt, doubt)[0]:
        return False
    job.batch.verify(job.mass)
    return True


def _native_normalized(job: Job, value: Any, grad: Any, gauge: int | None) -> bool:
    """Plain arithmetic on rows divided by their totals."""
    call, sides, n = job.call, job.sides, job.space.n_bins
    threads = TUNING.threads // 2
    shared = threads * sides.dtype.itemsize
    parts = []
    for x, step in ((sides.p, sides.p_step), (sides.q, sides.q_step)):
        share, mass = call.empty(sides.rows * n, sides.dtype), call.empty(sides.rows, sides.dtype)
        call.launch(rows.shares, sides.rows, threads, shared, x, step, n, share, mass)
        parts.append((share, mass))
    (p, mass), (q, _) = parts
    _kernels(job, Sides(p, n, q, n, sides.rows, sides.dtype), -1.0, value, grad, gauge, True)
    if gauge == gauges.NORMALIZED:
        call.launch(rows.project, sides.rows, threads, shared, p, n, mass, grad.flat)
    return True


def _compensated(job: Job, value: Any, grad: Any, gauge: int | None, normalize: bool) -> bool:
    if normalize or not _fits(job):
        if not normalize:
            _check(job)
        unsafe, looked = _careful(job, value, grad, gauge, normalize), True
        redo = _any(job, unsafe, unsafe)[0]
    else:
        doubt, unsafe = _kernels(job, job.sides, job.tolerance, value, grad, gauge, False)
        looked, redo = _any(job, doubt, unsafe)
        if looked:
            job.batch.verify(job.mass)
    numbers = np.flatnonzero(job.call.to_host(unsafe)) if redo else np.empty(0, np.int64)
    fallback.count(job.batch.rows - len(numbers), 0)  # those that were settled here count as well
    if len(numbers):
        _again(job, numbers, value, grad, gauge)
    return looked or len(numbers) > 0


def _host_rows(job: Job, numbers: Array) -> Batch:
    call, batch, n = job.call, job.batch, job.space.n_bins
    p = call.gather_rows(batch.p, batch.p_step, n, numbers)
    q = call.gather_rows(batch.q, batch.q_step, n, numbers)
    v = None if batch.v is None else casts.frozen(call.gather_rows(batch.v, batch.v_step, n, numbers))
    return Batch(casts.frozen(p), casts.frozen(q), (len(numbers),), v)


def _again(job: Job, numbers: Array, value: Any, grad: Any, gauge: int | None) -> None:
    """Rows by number, by the CPU."""
    some, dtype = _host_rows(job, numbers), job.batch.dtype
    wanted = escalation.Wanted(some, job.space, job.rho, job.mass, job.accuracy, escalation.SEEN, lambda: None)
    one = None if value is None else np.empty(len(numbers), dtype)
    line = None if grad is None else np.empty(some.p.shape, dtype)
    escalation.fill(wanted, one, line, gauge)
    for result, computed in ((value, one), (grad, line)):
        if result is not None:
            job.call.scatter_rows(result, numbers, computed)


def _careful(job: Job, value: Any, grad: Any, gauge: int | None, normalize: bool) -> Any:
    """All rows by the kernel that looks closer; returns which of them must be done again."""
    call, space, sides = job.call, job.space, job.sides
    parent, bin_node = layout.nodes(call, space)
    cost = call.constant(space, f"costs {normalize}", lambda: as_rooted(space).crossed_cost(normalize))
    unsafe, value, grad = call.empty(sides.rows, np.bool_), _flat(job, value, sides.rows), _flat(job, grad, 0)
    for first, last, t in _chunks(job, 10, np.float64):
        threads = min(TUNING.threads, 128)
        call.launch(
            rows.emd_two_limbs, -(-(last - first) // threads), threads, 0, first, last, _places(sides),
            (value, grad, unsafe), (parent, cost, bin_node), (job.rho, normalize, gauge or 0), t,
        )  # fmt: skip
    return unsafe


def _flat(job: Job, result: Any, size: int) -> Any:
    """A result's memory, or some for one that nobody wants."""
    return job.call.empty(size, job.batch.dtype) if result is None else result.flat


def _chunks(job: Job, arrays: int, dtype: Any) -> Iterator[tuple[int, int, Any]]:
    """(first, last, scratch) for as many rows at a time as scratch may hold."""
    width = max(job.space.n_nodes, job.space.n_bins)
    size = min(job.batch.rows, max(1, TUNING.scratch // (arrays * width * np.dtype(dtype).itemsize)))
    t = job.call.empty(arrays * width * size, dtype).reshape(arrays, width, size)
    for first in range(0, job.batch.rows, size):
        yield first, min(first + size, job.batch.rows), t


# --- chains and trees -------------------------------------------------------------------------------------------------


def _numbers(job: Job, dtype: Any, tolerance: float, gauge: int | None, squared: bool) -> Numbers:
    n, native = job.space.n_bins, job.accuracy == "native"
    real = dtype.type if native else float
    rho = batches.native_exponent(job.rho, dtype) if native else job.rho
    centred = gauge in (gauges.ZERO_SUM, gauges.SCALED)
    share = real(centred / n if native else centred * n)
    factor = real((n if gauge == gauges.SCALED else 1) ** (2 if squared else 1))
    edges = float(n + job.space.n_nodes)
    limit = float(np.finfo(dtype).max)
    bounds = (job.rho, as_rooted(job.space).total_cost, edges, limit)
    digits = 53 if dtype.itemsize == 8 else 24
    return Numbers(rho, share, factor, real(0.5 * tolerance), squared or escalation.is_long(job.space), digits, bounds)


def _kernels(
    job: Job, sides: Sides, tolerance: float, value: Any, grad: Any, gauge: int | None, normalize: bool,
    flows: Any = None, squared: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Run the space's kernels; returns which rows to look at again, and which were not settled.

    `squared` is for second derivatives: rows of any sign, a gauge's factor twice.
    """
    call = job.call
    numbers = _numbers(job, sides.dtype, tolerance, gauge, squared)
    doubt, unsafe = call.empty(sides.rows, np.bool_), call.empty(sides.rows, np.bool_)
    value, grad = _flat(job, value, sides.rows), _flat(job, grad, 0)
    flows = call.empty(0, sides.dtype) if flows is None else flows.flat
    results = value, grad, flows, doubt, unsafe
    if job.gaps is None:
        _tree(job, sides, numbers, normalize, results)
    else:
        _chain(job, sides, numbers, job.gaps, results)
    return doubt, unsafe


def _tree(job: Job, sides: Sides, numbers: Numbers, normalize: bool, results: tuple[Any, ...]) -> None:
    call, space, arith = job.call, job.space, layout.arithmetic(job.accuracy)
    shape = layout.tree_shape(call, space, sides.dtype, job.accuracy, normalize)
    real = sides.dtype if job.accuracy == "native" else np.dtype(np.float64)
    extra = layout.tree_extra(space.n_nodes, arith)
    cut = layout.cut(call, sides.rows, space.n_nodes * arith.PARTS, extra, real.itemsize, arith.PARTS * TUNING.threads)
    place = layout.places(call, space) if len(results[2]) else call.empty(0, np.int64)
    near, far = _TREES[job.accuracy]
    blocks = -(-sides.rows // cut.lanes)
    at_once = max(1, min(blocks, TUNING.scratch // (cut.scratch * real.itemsize))) if cut.scratch else blocks
    scratch = call.empty(max(1, cut.scratch * at_once), real)
    for first in range(0, sides.rows, at_once * cut.lanes):
        launch = Launch(first, sides.rows, cut.lanes, cut.stride, min(TUNING.mates, cut.threads))
        some = min(at_once, -(-(sides.rows - first) // cut.lanes))
        room = scratch[: some * cut.scratch] if cut.scratch else scratch
        call.launch(
            far if cut.scratch else near, some, cut.threads, cut.shared, launch, _places(sides), results, place,
            shape, numbers, room,
        )  # fmt: skip


def _chain(job: Job, sides: Sides, numbers: Numbers, gaps: Array, results: tuple[Any, ...]) -> None:
    value, grad, flows, doubt, _ = results
    call = job.call
    shape = layout.gaps(call, job.space, gaps, sides.dtype, job.accuracy)
    if job.accuracy == "native" and not len(flows):
        size = sides.dtype.itemsize
        cut = layout.cut(
            call, sides.rows, shape.bins, shape.segments * (plain.SIZE + plain.PARTS), size, TUNING.threads
        )
        if cut.shared:
            launch = Launch(0, sides.rows, cut.lanes, cut.stride, min(TUNING.mates, cut.threads))
            call.launch(
                chain_near.chain_near, -(-sides.rows // cut.lanes), cut.threads, cut.shared, launch, _places(sides),
                (value, grad, doubt), shape, numbers,
            )  # fmt: skip
            return
    for room in _rooms(job, sides, shape):
        _chain_part(job, sides, shape, numbers, room, results)


def _rooms(job: Job, sides: Sides, shape: chain.Gaps) -> Iterator[chain.Room]:
    """Scratch for as many rows at a time as it may hold."""
    call, arith = job.call, layout.arithmetic(job.accuracy)
    real = sides.dtype if job.accuracy == "native" else np.dtype(np.float64)
    parts, sums = arith.PARTS * shape.segments, arith.SIZE * shape.segments
    sizes = parts, parts * shape.length, sums, parts, first_look.SIZE * shape.segments, shape.segments
    at_once = max(1, min(sides.rows, TUNING.scratch // (sum(sizes) * real.itemsize)))
    scratch = [call.empty(size * at_once, real) for size in sizes]
    for first in range(0, sides.rows, at_once):
        yield chain.Room(min(at_once, sides.rows - first), first, *scratch)


def _chain_part(
    job: Job, sides: Sides, shape: chain.Gaps, numbers: Numbers, room: chain.Room, results: tuple[Any, ...]
) -> None:
    """The steps of some rows."""
    call, arith = job.call, layout.arithmetic(job.accuracy)
    carries, scan, segments, settle, gradient = _CHAINS[job.accuracy]
    itemsize, threads = room.sums.dtype.itemsize, min(TUNING.threads, 128)
    value, grad, flows, doubt, unsafe = results
    items = -(-room.rows * shape.segments // threads)
    long = shape.segments > 64
    lanes, members = (1, TUNING.members) if long else (min(TUNING.threads, 64), 1)
    if shape.segments > 1:
        call.launch(carries, items, threads, 0, _places(sides), shape, room)
        shared = lanes * members * arith.PARTS * itemsize
        call.launch(scan, -(-room.rows // lanes), lanes * members, shared, shape.segments, lanes, room.carry, room.rows)
    chained = bool(len(grad)) and shape.segments > 1
    call.launch(segments, items, threads, 0, _places(sides), flows, shape, numbers, chained, room)
    if job.accuracy == "compensated":
        lanes, members = (1 if long else lanes), 1  # one by one, as on the CPU
    shared = lanes * members * (arith.SIZE + arith.PARTS + first_look.SIZE + 1) * itemsize
    call.launch(
        settle, -(-room.rows // lanes), lanes * members, shared, (value, doubt, unsafe), len(flows) > 0, shape, lanes,
        numbers, room,
    )  # fmt: skip
    if len(grad):
        call.launch(gradient, items, threads, 0, grad, shape, numbers, room)


# --- flow -------------------------------------------------------------------------------------------------------------


def flow(call: Any, batch: Any, space: Space, mass: str, accuracy: str) -> Any:
    """The result of `emdref.flow`."""
    job = Job(call, batch, space, 1.0, mass, accuracy)
    result = call.result(batch, "flow", len(as_rooted(space).flow_places))
    if result.size == 0:
        job.batch.verify(mass)
        return result
    if mass == "normalize":
        _check(job)
        unsafe = _flow_by_rows(job, result)
    else:
        doubt, unsafe = _kernels(job, job.sides, job.tolerance, None, None, None, False, result)
        if _any(job, doubt, unsafe)[0]:
            batch.verify(mass)
    if accuracy == "compensated" and _any(job, unsafe, unsafe)[0]:
        _flow_again(job, np.flatnonzero(call.to_host(unsafe)), result)
    return result


def cost_grad(call: Any, batch: Any, space: Space, rho: float, mass: str, accuracy: str) -> Any:
    """The result of `emdref.emd_cost_grad`: powers of flows in their own place, compensated in float64."""
    exponent = batches.native_exponent(rho, batch.dtype) if accuracy == "native" else np.float64(rho)
    result = flow(call, batch, space, mass, accuracy)
    if result.size:
        call.each(copies.raise_to, result.size, result.flat, exponent)
    return result


def _flow_by_rows(job: Job, result: Any) -> Any:
    call, space, sides = job.call, job.space, job.sides
    parent, bin_node = layout.nodes(call, space)
    place, threads = layout.places(call, space), min(TUNING.threads, 128)
    unsafe = call.full(sides.rows, False, np.bool_)
    weight = call.constant(
        space, "crossed", lambda: as_rooted(space).edges_between(0, space.n_bins - 1).astype(np.float64)
    )
    native = job.accuracy == "native"
    for first, last, t in _chunks(job, 3 if native else 5, sides.dtype if native else np.float64):
        blocks = -(-(last - first) // threads)
        head = blocks, threads, 0, first, last, _places(sides)
        if native:
            call.launch(rows.flow_native, *head, result.flat, parent, bin_node, True, place, t)
        else:
            nodes = parent, weight, bin_node
            call.launch(rows.flow_two_limbs, *head, (result.flat, unsafe), nodes, True, place, t)
    return unsafe


def _flow_again(job: Job, numbers: Array, result: Any) -> None:
    some = _host_rows(job, numbers)
    mass = "normalize" if job.mass == "normalize" else "ignore"
    job.call.scatter_rows(result, numbers, flows(some, job.space, 1.0, mass, "compensated"))


# --- second derivatives -----------------------------------------------------------------------------------------------


def hvp(call: Any, batch: Any, space: Space, rho: float, mass: str, accuracy: str, gauge: int) -> Any:
    """The result of `emdref.emd_hvp`."""
    job = Job(call, batch, space, rho, mass, accuracy)
    result = call.result(batch, "product", space.n_bins)
    if batch.rows:
        _check(job)
        _check_direction(job)
        alike = rho == 2 and gauge != gauges.NORMALIZED and (accuracy == "native" or _fits(job))
        _products_of_2(job, gauge, result) if alike else _second(job, gauge, result, _products)
    return result


def hess(call: Any, batch: Any, space: Space, rho: float, mass: str, accuracy: str, gauge: int) -> Any:
    """The result of `emdref.emd_hess`."""
    job = Job(call, batch, space, rho, mass, accuracy)
    result = call.result(batch, "Hessian", space.n_bins, space.n_bins)
    if batch.rows:
        _check(job)
        _second(job, gauge, result, _matrices)
    return result


def _products_of_2(job: Job, gauge: int, result: Any) -> None:
    """For rho = 2, whose Hessian does not depend on p and q: the gradient where p - q is v, or v less its mean."""
    call, batch, n = job.call, job.batch, job.space.n_bins
    dtype = batch.dtype if job.accuracy == "native" else np.dtype(np.float64)
    v, step, threads = batch.v, batch.v_step, TUNING.threads // 2
    if gauge != gauges.RAW:
        v, step = call.empty(batch.rows * n, dtype), n
        call.launch(rows.centre, batch.rows, threads, 2 * threads * dtype.itemsize, batch.v, batch.v_step, n, v)
    sides = Sides(v, step, call.full(n, 0, v.dtype), 0, batch.rows, batch.dtype)
    _, unsafe = _kernels(job, sides, -1.0, None, result, gauge, gauge != gauges.RAW, squared=True)
    if job.accuracy == "compensated":
        open_rows = call.to_host(unsafe)
        fallback.count(int(batch.rows - open_rows.sum()), 0)
        if open_rows.any():
            _second_again(job, np.flatnonzero(open_rows), gauge, result)


def _check_direction(job: Job) -> None:
    call, batch = job.call, job.batch
    found = call.to_device(np.array([0, 0, np.iinfo(np.int64).max]))
    size = (batch.rows - 1) * batch.v_step + batch.n_bins
    call.each(copies.survey, size, batch.v, size, found)
    if call.to_host(found)[0]:
        batch.verify(job.mass)


def _second(job: Job, gauge: int, result: Any, compute: Any) -> None:
    """Run one of two kernels, and let the CPU do, or refuse, what it cannot."""
    call, space, n = job.call, job.space, job.batch.rows
    native, dtype = job.accuracy == "native", job.batch.dtype
    cost, rho = second_derivatives.relevant_cost(as_rooted(space), gauge), job.rho
    if native:
        cost, rho = casts.narrowed(cost, dtype), batches.native_exponent(rho, dtype, curvature=True)
    cost = call.constant(space, f"relevant costs {cost.dtype} {gauge == gauges.RAW}", lambda: cost)
    infinite, unsafe, beyond = call.full(n, 0, np.int64), *(call.full(n, False, np.bool_) for _ in range(2))
    parent, bin_node = layout.nodes(call, space)
    shared = (parent, cost, bin_node), (rho, job.normalizes(gauge), gauge)
    compute(job, result, infinite, unsafe, beyond, shared)
    open_rows = (call.to_host(infinite) > 0) | call.to_host(unsafe) | call.to_host(beyond)
    fallback.count(0 if native else int(n - open_rows.sum()), 0)
    if open_rows.any():
        _second_again(job, np.flatnonzero(open_rows), gauge, result)


def _second_again(job: Job, numbers: Array, gauge: int, result: Any) -> None:
    """Rows by number, by the CPU, which refuses those of infinite curvature by their number in the batch."""
    some = _host_rows(job, numbers)._replace(shape=job.batch.shape)
    computed = second_derivatives.second(some, job.space, job.rho, job.mass, job.accuracy, gauge, numbers)
    job.call.scatter_rows(result, numbers, computed.reshape(len(numbers), -1))


def _products(job: Job, result: Any, infinite: Any, unsafe: Any, beyond: Any, shared: tuple[Any, ...]) -> None:
    call, sides, threads = job.call, job.sides, min(TUNING.threads, 128)
    native = job.accuracy == "native"
    for first, last, t in _chunks(job, 8 if native else 21, sides.dtype if native else np.float64):
        head = first, last, _places(sides), (job.batch.v, job.batch.v_step)
        blocks = -(-(last - first) // threads)
        if native:
            call.launch(rows.hvp_native, blocks, threads, 0, *head, (result.flat, infinite), *shared, t)
        else:
            call.launch(rows.hvp_two_limbs, blocks, threads, 0, *head, (result.flat, unsafe, infinite), *shared, t)


def _matrices(job: Job, result: Any, infinite: Any, unsafe: Any, beyond: Any, shared: tuple[Any, ...]) -> None:
    call, sides, threads, n = job.call, job.sides, min(TUNING.threads, 128), job.space.n_bins
    native = job.accuracy == "native"
    real = sides.dtype if native else np.dtype(np.float64)
    parent, _, bin_node = shared[0]
    workers = min(job.batch.rows * n, 64 * threads)
    above = call.empty(job.space.n_nodes * workers, np.int64).reshape(job.space.n_nodes, workers)
    for first, last, t in _chunks(job, 7 if native else 17, real):
        size, blocks = last - first, -(-(last - first) // threads)
        factors = call.empty((2 if native else 5) * size, real)
        head = first, last, _places(sides)
        if native:
            call.launch(rows.border_native, blocks, threads, 0, *head, (infinite, factors), *shared, t)
            tail: tuple[Any, ...] = result.flat, infinite, factors, parent, bin_node, above, t
            call.launch(rows.lines_native, -(-workers // threads), threads, 0, first, last, size, *tail)
        else:
            call.launch(rows.border_two_limbs, blocks, threads, 0, *head, (unsafe, infinite, factors), *shared, t)
            tail = result.flat, unsafe, beyond, infinite, factors, parent, bin_node, above, t
            call.launch(rows.lines_two_limbs, -(-workers // threads), threads, 0, first, last, size, *tail)
