"""The ways of emdref.entropic.gibbs to multiply by Sinkhorn's kernel, on a GPU: by the space's structure, or by a
matrix."""

from __future__ import annotations

import functools
import importlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from emdref.entropic import iteration
from emdref.entropic.gibbs import SpaceLinear
from emdref.gpu.call import Call
from emdref.kernels.cuda import balance, branches, copies, dense, entropic, memory
from emdref.kernels.cuda.target import SIMULATED, limits
from emdref.kernels.entropic.alternation import State
from emdref.spaces.space import Kept, Space, as_rooted

_LANES = 4  # rows a block has at most: 512 rows are then enough to occupy 128 multiprocessors
_THREADS = 4 if SIMULATED else 512  # that a block has at most: their registers are what a multiprocessor has
_SIDE = 2 if SIMULATED else 16  # of a tile of a dense product
_SCRATCH = 2**31  # bytes of scratch memory for trees beyond shared memory, about
_KEPT = 8  # strengths of a space, or so, whose factors stay on a device
_PATIENCE = 16  # iterations between two looks at whether any row goes on


class Deal(NamedTuple):
    """How rows are dealt to blocks."""

    lanes: int  # rows a block
    threads: int
    blocks: int
    shared: int  # bytes, 0 if a block's memory is a part of scratch
    scratch: int  # elements, 0 if a block's memory is shared memory


def deal(rows: int, size: int, itemsize: int, bins: int, call: Call) -> Deal:
    """For rows that need `size` elements of memory each."""
    device, lanes = limits(call.number), 1
    while lanes < _LANES and rows > lanes * device.processors:
        lanes *= 2
    while lanes > 1 and size * lanes * itemsize > device.shared:
        lanes //= 2
    here = size * lanes * itemsize <= device.shared
    lanes = lanes if here else 1
    groups, useful = -(-rows // lanes), -(-lanes * bins // 32) * 32
    threads = min(_THREADS, useful)
    if here:
        return Deal(lanes, threads, min(groups, 2**20), size * lanes * itemsize, 0)
    blocks = max(1, min(groups, 2 * device.processors, _SCRATCH // (size * itemsize)))
    return Deal(lanes, threads, blocks, 0, blocks * size)


_recent: Kept[OrderedDict[Any, Any]] = Kept()
_lock = threading.RLock()


def recent(call: Call, space: Space, key: Any, make: Callable[[], Any]) -> Any:
    """What was made for a space and a key, arrays on this GPU among it: the last few of each space are kept."""
    key = key, call.number
    with _lock:
        kept = _recent.of(space, OrderedDict)
        if key not in kept:
            kept[key] = make()
            call.synchronize()  # another stream may read it next
        kept.move_to_end(key)
        while len(kept) > _KEPT:
            kept.popitem(last=False)
        return kept[key]


class DevicePlan(Protocol):
    """The plan T = diag(u) K diag(v), never formed; vectors are flat, (rows, N)."""

    lost: float  # the share of K's entries that are 0
    parts: int  # floats an element of `State.exact` has, 0 if there are none

    def times(self, v: Any, out: Any) -> None:
        """K v."""

    def transposed(self, u: Any, out: Any) -> None:
        """K^T u."""

    def cost(self, u: Any, v: Any, out: Any) -> None:
        """<T, M>, an entry a row."""

    def alternate(self, state: State, marks: Any, tol: Any, done: int, until: int) -> int:
        """Iterations after `done` up to `until`, or to one after which no row goes on; up to which.

        `tol` is None if nothing ends a row.
        """


class SpacePlan:
    """Sums up and down the tree, see emdref.kernels.cuda.entropic."""

    def __init__(self, call: Call, where: Space, dtype: Any, lam: Any, domain: str, shift: int, rows: int) -> None:
        self._call, self._space, self._rows, self._dtype = call, where, rows, np.dtype(dtype)
        self._kernels = entropic.LOG_KERNELS if domain == "log" else entropic.LINEAR_KERNELS
        key = "sums", float(lam), domain, shift, self._dtype.name
        made = recent(call, where, key, lambda: _factors(call, where, dtype, lam, domain, shift))
        self.lost, self.parts, self._inner, self._factors, self._all_factors, self._edges = made
        tree = as_rooted(where)
        self._all = tree.parent, _NO_LEAVES, tree.bin_node, np.arange(where.n_bins)

    def times(self, v: Any, out: Any) -> None:
        size = self.parts * (self._space.n_bins + 2 * len(self._inner[0]))
        self._launch("product", self._inner, self._factors, size, v, v, out)

    transposed = times  # K is symmetric

    def cost(self, u: Any, v: Any, out: Any) -> None:
        size = self.parts * 5 * self._space.n_nodes + entropic.CHUNKS
        self._launch("cost", self._all, self._all_factors, size, v, self._edges, u, v, out)

    def alternate(self, state: State, marks: Any, tol: Any, done: int, until: int) -> int:
        size = self.parts * (5 * self._space.n_bins + 2 * len(self._inner[0])) + entropic.CHUNKS
        self._launch(
            "alternate", self._inner, self._factors, size, state.u, state, marks, *_settling(state, tol), done, until
        )
        return until

    def _launch(
        self, name: str, tree: tuple[Any, Any, Any, Any], factors: Any, size: int, like: Any, *args: Any
    ) -> None:
        """Start a kernel; any array will do in the place of scratch memory that is not used."""
        call, bins = self._call, self._space.n_bins
        how = deal(self._rows, size, self._dtype.itemsize, bins, call)
        kind = "all" if tree is self._all else "inner"
        index = call.constant(
            self._space, f"Sinkhorn, {kind} nodes by {how.lanes}", lambda: branches.packed(*tree, how.lanes)
        )
        packed = branches.Packed(index, factors, *branches.counts(tree[0], tree[1], bins))
        scratch = call.empty(how.scratch, self._dtype) if how.scratch else like
        kernel = getattr(self._kernels[how.shared > 0], name)
        call.launch(kernel, how.blocks, how.threads, how.shared, packed, how.lanes, self._rows, scratch, *args)


_NO_LEAVES = np.empty(0, np.int64)


def _factors(call: Call, where: Space, dtype: Any, lam: Any, domain: str, shift: int) -> tuple[Any, ...]:
    """What a SpacePlan keeps: lost entries, floats an element, the tree without leaves, and arrays on the device."""
    plan = iteration.plan_for(where, "space", domain, dtype, lam, shift)
    assert isinstance(plan, SpaceLinear)
    t = plan.twigs
    inner = call.to_device(branches.factored(t.k0, t.a, t.b, t.leaf_a, t.leaf_b))
    every = call.to_device(branches.factored(plan.k0, plan.a, plan.a))
    tree = t.parent, t.leaf_parent, t.own, t.order
    return plan.lost, plan.k0.shape[1], tree, inner, every, call.to_device(plan.edge)


class DensePlan:
    """The N x N matrix in `dtype`: cuBLAS where CuPy is installed, else tiles; those too in the log domain."""

    parts = 0

    def __init__(self, call: Call, where: Any, dtype: Any, lam: Any, domain: str, shift: int, rows: int) -> None:
        self._call, self._rows, self._bins, self._dtype = call, rows, where.n_bins, np.dtype(dtype)
        self._log = domain == "log"
        self._balance = balance.LOG_KERNELS if self._log else balance.LINEAR_KERNELS
        key = "matrix", float(lam), domain, shift, self._dtype.name
        self.lost, self._k, self._km = recent(call, where, key, lambda: self._matrices(where, lam, shift))

    def _matrices(self, where: Any, lam: Any, shift: int) -> tuple[float, Any, Any]:
        """The share of K's entries that are 0, K and K o M, or their logarithms."""
        call, count, dtype = self._call, self._bins**2, self._dtype
        lost, k, km = call.full(1, 0, np.int64), *(call.empty(count, dtype, "the kernel matrix") for _ in range(2))
        scalars = (call.to_device(np.array([x], dtype)) for x in (lam, shift))
        matrix = dense.log_matrix if self._log else dense.linear_matrix
        call.each(matrix, count, self._costs(where), *scalars, k, km, lost)
        return float(call.to_host(lost)[0]) / count, k, km

    def _costs(self, where: Any) -> Any:
        def make() -> Any:
            return where.distance_matrix().astype(self._dtype)

        return self._call.constant(where, f"distances in {self._dtype}", make)

    def times(self, v: Any, out: Any) -> None:
        self._multiply(self._k, False, v, out)

    def transposed(self, u: Any, out: Any) -> None:
        self._multiply(self._k, True, u, out)

    def cost(self, u: Any, v: Any, out: Any) -> None:
        moments = self._call.empty(self._rows * self._bins, self._dtype)
        self._multiply(self._km, False, v, moments)
        by_rows(self._call, self._balance.weigh, self._rows, self._dtype, 1, u, moments, self._bins, self._rows, out)

    def _multiply(self, matrix: Any, transposed: bool, x: Any, out: Any) -> None:
        call, bins = self._call, self._bins
        if cupy() and not self._log and self._rows:
            with cupy().cuda.Device(call.number), _cupy_stream(call):
                k, given, made = (_in_cupy(call, a, bins) for a in (matrix, x, out))
                cupy().matmul(given, k if transposed else k.T, out=made)
            return
        kernel = dense.log_product if self._log else dense.linear_product
        blocks = min(-(-self._rows // _SIDE) * -(-bins // _SIDE), 2**20)
        steps, shared = ((1, bins) if transposed else (bins, 1)), _SIDE * (2 * _SIDE + 1) * self._dtype.itemsize
        call.launch(kernel, blocks, _SIDE**2, shared, matrix, *steps, x, out, bins, self._rows, _SIDE)

    def alternate(self, state: State, marks: Any, tol: Any, done: int, until: int) -> int:
        call, rows, bins = self._call, self._rows, self._bins
        kv = call.empty(rows * bins, self._dtype)
        for it in range(done + 1, until + 1):
            half = 2 * (it - 1)
            call.each(self._balance.divide, rows * bins, state.q, state.ktu, state.v, bins, rows, marks, half)
            self.times(state.v, kv)
            call.each(self._balance.divide, rows * bins, state.p, kv, state.u, bins, rows, marks, half + 1)
            self.transposed(state.u, state.ktu)
            if tol is not None:
                settled = state.v, state.ktu, state.exact, bins, rows, tol, marks, it
                by_rows(call, self._balance.settle, rows, self._dtype, 1, *settled)
                if it % _PATIENCE == 0 and call.to_host(marks)[entropic.REACHED * rows :][:rows].all():
                    return it
        if tol is None:
            call.each(copies.fill, rows, marks[:rows], until)
        return until


def _settling(state: State, tol: Any) -> tuple[Any, int]:
    """An array for the kernel in any case, and whether it is one of tolerances."""
    return (state.u, 0) if tol is None else (tol, 1)


def by_rows(call: Call, kernel: Any, rows: int, dtype: Any, sums: int, *args: Any) -> None:
    """Start a kernel of emdref.kernels.cuda.balance in which each block takes some rows."""
    threads = 4 if SIMULATED else entropic.CHUNKS
    call.launch(kernel, min(rows, 2**20), threads, sums * entropic.CHUNKS * np.dtype(dtype).itemsize, *args)


@functools.cache
def cupy() -> Any:
    """CuPy if it is installed and works, else None."""
    if SIMULATED:
        return None
    try:
        module = importlib.import_module("cupy")
        module.matmul  # noqa: B018 - a namespace of that name that is not the library
    except Exception:  # whatever a half-installed library raises
        return None
    return module


def _in_cupy(call: Call, array: Any, bins: int) -> Any:
    """Rows as CuPy's, in place; by their address, since CuPy waits for a stream before it takes a foreign array."""
    pointer = memory.described(array, "the rows").pointer
    there = cupy().cuda.UnownedMemory(pointer, array.nbytes, array, call.number)
    return cupy().ndarray((array.size // bins, bins), array.dtype, cupy().cuda.MemoryPointer(there, 0))


def _cupy_stream(call: Call) -> Any:
    if not call.stream:
        return cupy().cuda.Stream.null
    return cupy().cuda.ExternalStream(int(call.stream))
