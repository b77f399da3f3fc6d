"""Device memory that somebody owns: where it is, how its entries lie, and flat views of it without a copy."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from emdref.kernels.cuda.target import SIMULATED, cuda


class Memory(NamedTuple):
    """An array on a device, whoever made it."""

    owner: Any
    pointer: int  # address of its entry number 0 on all axes
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in bytes
    dtype: np.dtype[Any]
    stream: int | None = None  # that it comes with
    writeable: bool = True

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def span(self) -> tuple[int, int]:
        """The first address that it has an entry at, and the first behind all."""
        if not self.size:
            return self.pointer, self.pointer
        reach = [(n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)]
        return self.pointer + sum(min(r, 0) for r in reach), (
            self.pointer + sum(max(r, 0) for r in reach) + self.dtype.itemsize
        )

    def overlaps(self, other: Memory) -> bool:
        """Whether the two may share an entry."""
        (a, b), (c, d) = self.span, other.span
        return a < d and c < b

    def broadcast(self, shape: tuple[int, ...]) -> Memory:
        """The same entries with more axes in front, and axes of size 1 repeated."""
        more = len(shape) - self.ndim
        old = zip(self.shape, self.strides, shape[more:], strict=True)
        strides = [0 if size != wanted else stride for size, stride, wanted in old]
        return self._replace(shape=shape, strides=(*[0] * more, *strides))

    def row_step(self) -> int | None:
        """Entries from row to row of the last axis if all are equally far apart, front to back; else None."""
        size = self.dtype.itemsize
        if self.shape[-1] > 1 and self.strides[-1] != size:
            return None
        step, count = None, 1
        for n, stride in zip(self.shape[-2::-1], self.strides[-2::-1], strict=True):
            if n == 1:
                continue
            step = stride if step is None else step
            if stride != step * count or stride < 0 or stride % size:
                return None
            count *= n
        return (step or 0) // size

    @property
    def contiguous(self) -> bool:
        """Whether entries lie in C order without gaps."""
        wanted = _c_strides(self.shape, self.dtype.itemsize)
        return not self.size or all(n == 1 or s == w for n, s, w in zip(self.shape, self.strides, wanted, strict=True))

    def flat(self, count: int | None = None) -> Any:
        """So many entries from the lowest address on, all by default, as a 1-D Numba device array without a copy."""
        low, high = self.span
        return view(self.owner, low, (high - low) // self.dtype.itemsize if count is None else count, self.dtype)

    @property
    def axes(self) -> tuple[int, np.ndarray[Any, Any]]:
        """Where entry 0 stands in `flat()`, and sizes and strides in entries, for emdref.kernels.cuda.copies."""
        size = self.dtype.itemsize
        numbers = (*self.shape, *(s // size for s in self.strides))
        return (self.pointer - self.span[0]) // size, np.array(numbers, np.int64)


class _Described:
    """What the CUDA array interface asks for; keeps the memory's owner alive."""

    def __init__(self, owner: Any, pointer: int, count: int, dtype: np.dtype[Any]) -> None:
        self._owner = owner
        data = (pointer if count else 0, False)
        self.__cuda_array_interface__ = {
            "shape": (count,), "strides": None, "typestr": dtype.str, "data": data, "version": 3,
        }  # fmt: skip


def view(owner: Any, pointer: int, count: int, dtype: np.dtype[Any]) -> Any:
    """`count` entries from an address on as a 1-D Numba device array."""
    if SIMULATED:
        return _simulated_view(owner, pointer, count, dtype)
    return cuda.as_cuda_array(_Described(owner, pointer, count, dtype), sync=False)


def _simulated_view(owner: Any, pointer: int, count: int, dtype: np.dtype[Any]) -> Any:
    """An array at an address in the simulator, where addresses are the host's."""
    described = _Described(owner, pointer, count, dtype)
    described.__array_interface__ = described.__cuda_array_interface__
    array = np.asarray(described) if count else np.empty(0, dtype)
    return type(cuda.device_array(1))(array)


def described(x: Any, name: str) -> Memory:
    """The memory of a device array, by its CUDA array interface."""
    if SIMULATED and hasattr(x, "_ary"):
        return _simulated(x)
    given = x.__cuda_array_interface__
    if not isinstance(given, dict):
        raise TypeError(f"{name} has {type(given).__name__} as its __cuda_array_interface__, which is a dict")
    if given.get("mask") is not None:
        raise TypeError(f"{name} has masked entries, which no histogram has: fill them, or leave their bins out")
    dtype, shape = np.dtype(given["typestr"]), tuple(map(int, given["shape"]))
    pointer, read_only = given["data"]
    strides = tuple(map(int, given.get("strides") or _c_strides(shape, dtype.itemsize)))
    if any(s % dtype.itemsize for s in strides):
        raise ValueError(f"{name} has strides {strides}, no multiples of its {dtype.itemsize} bytes an entry: copy it")
    return Memory(x, int(pointer or 0), shape, strides, dtype, given.get("stream"), not read_only)


def packed(flat: Any, shape: tuple[int, ...]) -> Memory:
    """A 1-D device array as one of another shape in C order."""
    whole = described(flat, "a copy")
    return whole._replace(shape=shape, strides=_c_strides(shape, whole.dtype.itemsize))


def _simulated(x: Any) -> Memory:
    array = x._ary
    address = array.__array_interface__["data"][0]
    return Memory(x, address, array.shape, array.strides, array.dtype, None, array.flags.writeable)


def _c_strides(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    strides = []
    for n in shape[::-1]:
        strides.append(size)
        size *= n
    return tuple(strides[::-1])
