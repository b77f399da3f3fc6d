"""The frameworks whose arrays are taken and given back: their streams and their allocators.

None is imported: whoever has such an array has done so.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from emdref.kernels.cuda.target import cuda


class Numba:
    """Numba's device arrays, and those of anybody else who speaks the CUDA array interface."""

    def __init__(self, number: int | None) -> None:
        self.stream: Any = 0

    def follow(self, pointer: int | None) -> None:
        """Use the stream that an array comes with, the first of several."""
        if pointer and not self.stream:
            self.stream = cuda.external_stream(pointer)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """An array of the framework."""
        return cuda.device_array(shape, dtype, stream=self.stream)


class _Foreign:
    """A framework that has a current stream: arrays' own do not matter."""

    stream: Any = 0

    def _use(self, pointer: int) -> None:
        self.stream = cuda.external_stream(pointer) if pointer else 0

    def follow(self, pointer: int | None) -> None:
        """Nothing to do."""


class CuPy(_Foreign):
    """CuPy's arrays, memory pools and current stream."""

    def __init__(self, number: int | None) -> None:
        self._cupy = sys.modules["cupy"]
        self._number = number
        with self._cupy.cuda.Device(number):
            self._use(int(self._cupy.cuda.get_current_stream().ptr))

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """An array of the framework."""
        with self._cupy.cuda.Device(self._number):
            return self._cupy.empty(shape, dtype)


class Torch(_Foreign):
    """torch's tensors, caching allocator and current stream."""

    def __init__(self, number: int | None) -> None:
        self._torch = sys.modules["torch"]
        self._device = self._torch.device("cuda", number)
        self._use(int(self._torch.cuda.current_stream(self._device).cuda_stream))

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """An array of the framework."""
        return self._torch.empty(shape, dtype=getattr(self._torch, dtype.name), device=self._device)


BY_NAME: dict[str, type[Numba] | type[CuPy] | type[Torch]] = {
    "numpy": Numba,
    "numba": Numba,
    "cupy": CuPy,
    "torch": Torch,
}
