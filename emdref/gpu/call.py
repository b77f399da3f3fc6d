"""One call on a GPU: the caller's own stream, memory from the caller's own framework, and arrays on their way.

This module imports Numba's CUDA target: nothing imports it before emdref.arguments.devices has found a GPU to use.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import devices, libraries
from emdref.arguments.devices import Place
from emdref.gpu import frameworks, histograms
from emdref.gpu.histograms import DeviceBatch
from emdref.gpu.results import Result
from emdref.kernels.cuda import copies, memory
from emdref.kernels.cuda.target import SIMULATED, cuda, launch, limits
from emdref.spaces.space import Kept

Array = NDArray[Any]
_THREADS = 4 if SIMULATED else 256  # a block's; the simulator has a thread of Python for each
_BLOCKS = 1 if SIMULATED else 16  # at most, a multiprocessor

_constants: Kept[dict[tuple[str, int], Any]] = Kept()
_lock = threading.RLock()


class Call:
    """One call of a public function on a GPU; a context within which that GPU is the current one.

    `stream` is what kernels are launched on, `number` the GPU's.  Results and scratch memory come from the framework
    whose arrays were given, so that its allocator serves them in the order of that stream.

    Parameters
    ----------
    place : Place
        What `devices.find` gave.
    **given
        The call's arrays by name, those on the host and None as well.
    """

    def __init__(self, place: Place, **given: Any) -> None:
        self.place, self._given = place, given
        self.home = libraries.home(given) if place.framework == "numpy" else None  # of arrays moved there and back
        self.outs: dict[str, tuple[Any, str]] = {}  # the caller's own arrays for results, and what errors call them

    def __enter__(self) -> Call:
        number = self.place.number
        self._context: Any = contextlib.nullcontext() if number is None or SIMULATED else cuda.gpus[number]
        self._context.__enter__()
        try:
            self.number = _current() if number is None else number
            self._framework = frameworks.BY_NAME[self.place.framework](self.number)
            self.memories = {k: memory.described(x, k) for k, x in self._given.items() if devices.framework(x, k)}
            self._join_streams()
        except BaseException:
            self._context.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    @property
    def stream(self) -> Any:
        """The caller's stream: a Numba stream, or 0 for the default one."""
        return self._framework.stream

    def _join_streams(self) -> None:
        """What other streams write must be there before this call's reads it."""
        pointers = [m.stream for m in self.memories.values() if m.stream]
        for pointer in pointers:
            self._framework.follow(pointer)
        own = int(self.stream) or 1  # 0 and 1 are both the default stream
        for pointer in {p for p in pointers if p != own}:
            cuda.external_stream(pointer).synchronize()

    def synchronize(self) -> None:
        """Wait until what was launched is done."""
        (self.stream or cuda.default_stream()).synchronize()

    # --- kernels and memory -------------------------------------------------------------------------------------------

    def launch(self, kernel: Any, blocks: int, threads: int, shared: int, *args: Any) -> None:
        """Start a kernel on the call's stream with so many blocks, threads a block and bytes of shared memory."""
        launch(kernel, blocks, threads, self.stream, shared, *args)

    def each(self, kernel: Any, count: int, *args: Any) -> None:
        """Start a kernel that any launch will do for, in which each thread takes some of `count` entries."""
        blocks = min(-(-count // _THREADS), _BLOCKS * limits(self.number).processors)
        self.launch(kernel, blocks, _THREADS, 0, *args)

    def new(self, shape: tuple[int, ...], dtype: Any, what: str = "the result") -> Any:
        """An array of the caller's framework; errors say what it was for."""
        dtype = np.dtype(dtype)
        with self._memory_for(what, math.prod(shape) * dtype.itemsize):
            return self._framework.empty(shape, dtype)

    def empty(self, count: int, dtype: Any, what: str = "scratch memory") -> Any:
        """Scratch memory: a 1-D Numba device array."""
        dtype = np.dtype(dtype)
        whole = self.new((int(count) * dtype.itemsize,), np.uint8, what)
        return memory.view(whole, memory.described(whole, what).pointer, int(count), dtype)

    def full(self, count: int, value: Any, dtype: Any, what: str = "scratch memory") -> Any:
        """New memory, filled with a number."""
        array = self.empty(count, dtype, what)
        self.each(copies.fill, int(count), array, np.dtype(dtype).type(value))
        return array

    def to_device(self, array: Array, what: str = "a copy of the input") -> Any:
        """A host array's entries in C order as a 1-D Numba device array."""
        flat = np.ascontiguousarray(array).reshape(-1)
        with self._memory_for(what, flat.nbytes):
            return cuda.to_device(flat, stream=self.stream)

    def to_host(self, array: Any) -> Array:
        """The entries of a 1-D Numba device array, or of a Result, once what was launched before is done."""
        host = _flat(array).copy_to_host(stream=self.stream)
        self.synchronize()
        return host

    @contextlib.contextmanager
    def _memory_for(self, what: str, size: int) -> Any:
        """Say how much memory was asked for, and how much there is, if there is not enough."""
        try:
            yield
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            free, total = cuda.current_context().get_memory_info()
            raise RuntimeError(
                f"GPU {self.number} is out of memory: {what} needs {_in_words(size)}, and {_in_words(free)} of "
                f"{_in_words(total)} are free; give fewer rows of p at a time"
            ) from error

    def constant(self, space: Any, name: str, make: Callable[[], Any]) -> Any:
        """A space's array, or tuple of arrays, on this GPU: moved there once, and kept as long as the space lives.

        `make` gives a NumPy array or a tuple of some; what comes back is a 1-D Numba device array for each.
        """
        key = name, self.number
        with _lock:
            kept = _constants.of(space, dict)
            if key not in kept:
                made = make()
                several = isinstance(made, (tuple, list))
                arrays = [self.to_device(x, f"the space's {name}") for x in (made if several else (made,))]
                self.synchronize()  # another stream may read them next
                kept[key] = tuple(arrays) if several else arrays[0]
            return kept[key]

    # --- rows ---------------------------------------------------------------------------------------------------------

    def batch(self, p: Any, q: Any, n_bins: int, v: Any = None, **options: Any) -> DeviceBatch:
        """Pairs (and a direction for each) as rows on the device; see `histograms.made`."""
        return histograms.made(self, {"p": p, "q": q} if v is None else {"p": p, "q": q, "v": v}, n_bins, **options)

    def result(self, batch: DeviceBatch, what: str, *line: int) -> Result:
        """Memory for an entry, or a line of entries, a row of a "value", "gradient", "flow", "Hessian" or "product".

        It is new, or the caller's own `out` where that can be written to at once.
        """
        return Result(self, batch, what, line)

    def gather_rows(self, array: Any, step: int, n_bins: int, numbers: Any) -> Array:
        """Rows of these numbers on the host, (k, N); `step` is how many entries apart rows start."""
        index = np.asarray(numbers, np.int64)
        out = self.empty(len(index) * n_bins, array.dtype, "rows for the CPU")
        self.each(copies.take, len(index) * n_bins, _flat(array), step, n_bins, self.to_device(index), out)
        return self.to_host(out).reshape(len(index), n_bins)

    def scatter_rows(self, array: Any, numbers: Any, rows: Array) -> None:
        """Rows from the host to their numbers in a Result, or in a 1-D device array of rows."""
        flat = _flat(array)
        index, rows = np.asarray(numbers, np.int64), np.asarray(rows, flat.dtype)
        if rows.size:
            source = self.to_device(rows, "rows of the CPU")
            self.each(copies.put, rows.size, source, rows.size // len(index), self.to_device(index), flat)

    def beyond(self, result: Result) -> tuple[int, int, int]:
        """How many entries of a result are not finite, how many of these are NaN, and the first row with one."""
        found = self.to_device(np.array([0, 0, np.iinfo(np.int64).max]))
        self.each(copies.survey, result.size, result.flat, math.prod(result.line), found)
        count, nans, first = map(int, self.to_host(found))
        return count, nans, first


def _flat(array: Any) -> Any:
    return array.flat if isinstance(array, Result) else array


def _current() -> int:
    return 0 if SIMULATED else int(cuda.get_current_device().id)


def _is_out_of_memory(error: Exception) -> bool:
    text = f"{type(error).__name__} {error}".lower().replace("_", " ")
    return isinstance(error, MemoryError) or "out of memory" in text or "outofmemory" in text


def _in_words(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
