"""Pairs of histograms as rows on a GPU: where they are, or copied there, and the checks of their dtypes and shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import validation
from emdref.arguments.validation import Batch
from emdref.closed_form import batches
from emdref.kernels.cuda import copies, memory
from emdref.kernels.cuda.memory import Memory

Array = NDArray[Any]
_FLOAT64 = np.dtype(np.float64)


class DeviceBatch(NamedTuple):
    """Rows on a GPU that nobody has looked at; entry k of row i of p is `p[i * p_step + k]`."""

    p: Any  # 1-D Numba device arrays, C-contiguous, float32 or float64
    q: Any
    v: Any  # None without a direction
    p_step: int  # 0 for a row that stands for all
    q_step: int
    v_step: int
    shape: tuple[int, ...]  # the leading axes, broadcast together
    n_bins: int
    dtype: np.dtype[Any]
    readers: dict[str, Callable[[], Array]]  # each argument as it was given, on the host
    native_totals: bool

    @property
    def rows(self) -> int:
        """Number of pairs."""
        return math.prod(self.shape)

    def host(self) -> Batch:
        """The rows on the host, looked at by nobody either."""
        return self._as_rows({name: read() for name, read in self.readers.items()})

    def _as_rows(self, arrays: dict[str, Array]) -> Batch:
        full = (*self.shape, self.n_bins)
        rows = {name: validation.rows_of(x, full) for name, x in arrays.items()}
        return Batch(rows["p"], rows["q"], self.shape, rows.get("v"))

    def verify(self, mass: str, way_out: str = batches.WAY_OUT, dtype: Any = None) -> Batch:
        """Look at all rows on the host and raise what the CPU raises of them, if anything; `dtype` as in
        `inputs.check_masses`."""
        arrays = {name: read() for name, read in self.readers.items()}
        for name, x in arrays.items():
            (validation.check_finite if name == "v" else validation.check_histograms)(x, name)
        rows = self._as_rows(arrays)
        if mass == "raise":
            validation.check_masses(rows, way_out, dtype)
        if self.native_totals:
            validation.check_totals(rows)
        return rows


def made(
    call: Any, given: dict[str, Any], n_bins: int, *, native_totals: bool = False, of: str = "the space's"
) -> DeviceBatch:
    """Rows of p, q and maybe v; `native_totals` says that they are divided by their totals in their own dtype."""
    sides = {name: _side(call, x, name) for name, x in given.items()}
    validation.same_dtype(sides, given)
    lead = validation.leading_axes(sides, n_bins, of)
    rows = {name: in_rows(call, side, (*lead, n_bins), name) for name, side in sides.items()}
    (p, p_step), (q, q_step), (v, v_step) = rows["p"], rows["q"], rows.get("v", (None, 0))
    readers = {name: _reader(call, given[name], name, side) for name, side in sides.items()}
    return DeviceBatch(p, q, v, p_step, q_step, v_step, lead, n_bins, sides["p"].dtype, readers, native_totals)


def _side(call: Any, x: Any, name: str) -> Memory:
    """An argument in float32 or float64 on the device, lying as it likes."""
    side = call.memories.get(name)
    if side is None:
        return _moved(call, validation.histogram(x, name), name)
    if side.dtype.kind in "iu":
        return _widened(call, side, name)
    validation.check_float(side.dtype, name)
    if not side.dtype.isnative:
        raise TypeError(f"{name} has dtype {side.dtype} of foreign byte order: give it in the machine's own")
    return side


def _moved(call: Any, x: Array, name: str) -> Memory:
    """A host array on the device; what it repeats is moved once."""
    core = x[tuple(slice(0, 1) if s == 0 and n > 1 else slice(None) for n, s in zip(x.shape, x.strides, strict=True))]
    return memory.packed(call.to_device(core, f"a copy of {name}"), core.shape).broadcast(x.shape)


def _widened(call: Any, side: Memory, name: str) -> Memory:
    """Integers in float64, which must hold them."""
    out = _gathered(call, side, _FLOAT64, name)
    if side.dtype.itemsize == 8:
        found = call.full(1, 0, np.int64)
        call.each(copies.count_from, side.size, out, 2.0**53, found)
        if call.to_host(found)[0]:
            validation.refuse_wide(name)
    return memory.packed(out, side.shape)


def _gathered(call: Any, side: Memory, dtype: np.dtype[Any], name: str) -> Any:
    """Entries in C order, copied on the device."""
    out = call.empty(side.size, dtype, f"a copy of {name}")
    start, axes = side.axes
    call.each(copies.gather, side.size, side.flat(), start, call.to_device(axes), out)
    return out


def in_rows(call: Any, side: Memory, shape: tuple[int, ...], name: str) -> tuple[Any, int]:
    """Rows of the last axis in place if they lie at equal distances, else copied; and that distance."""
    full, rows = side.broadcast(shape), math.prod(shape[:-1])
    step = full.row_step()
    if step is None:
        return _gathered(call, full, full.dtype, name), shape[-1]
    return full.flat(step * (rows - 1) + shape[-1] if rows else 0), step


def _reader(call: Any, x: Any, name: str, side: Memory) -> Callable[[], Array]:
    """How to get an argument in its own shape to the host; nothing is copied before somebody asks."""
    if name not in call.memories:
        return lambda: validation.histogram(x, name)

    def read() -> Array:
        flat = side.flat() if side.contiguous else _gathered(call, side, side.dtype, name)
        return call.to_host(flat).reshape(side.shape)

    return read
