"""A device's arrays, clock and facts, as the report needs them."""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.kernels.cuda.target import SIMULATED, cuda, limits

PACKAGES = ("numpy", "numba", "numba-cuda", "llvmlite", "cuda-bindings", "cupy-cuda13x", "cupy-cuda12x", "torch")
_L2 = 2**26  # bytes, where the driver does not tell
_MOST_SETS = 256


def facts() -> Iterator[tuple[str, str]]:
    """Names and values of what the report's numbers depend on; what cannot be had is told as unknown."""
    yield "device", name()
    gpu = cuda.get_current_device()
    yield "compute capability", _tried(lambda: ".".join(map(str, gpu.compute_capability)))
    yield "multiprocessors", _tried(lambda: str(limits().processors))
    yield "shared memory of a block", _tried(lambda: f"{limits().shared} bytes")
    yield "L2 cache", f"{l2_bytes()} bytes"
    yield "memory", _tried(lambda: f"{cuda.current_context().get_memory_info().total} bytes")
    yield "driver", _driver()
    yield "CUDA of the driver", _tried(lambda: _dotted(cuda.cudadrv.driver.driver.get_version()))
    yield "CUDA run time", _tried(lambda: _dotted(cuda.runtime.get_version()))
    yield "date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, "not installed"


def name() -> str:
    """The device's own name."""
    if SIMULATED:
        return "simulated by Numba: nothing was measured"
    found = cuda.get_current_device().name
    return found.decode() if isinstance(found, bytes) else str(found)


def l2_bytes() -> int:
    """The size of its L2 cache."""
    return 2**12 if SIMULATED else int(getattr(cuda.get_current_device(), "L2_CACHE_SIZE", 0) or _L2)


def _driver() -> str:
    if shutil.which("nvidia-smi") is None:
        return "unknown: no nvidia-smi"
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return _tried(lambda: subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.split()[0])


def _tried(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except Exception as error:  # of whatever version of whatever package: a fact less is no failure
        return f"unknown ({type(error).__name__})"


def _dotted(number: Any) -> str:
    return ".".join(map(str, number)) if isinstance(number, tuple) else str(number)


def put(*arrays: NDArray[Any]) -> tuple[Any, ...]:
    """Copies on the device."""
    return tuple(cuda.to_device(np.ascontiguousarray(x)) for x in arrays)


def get(x: Any) -> NDArray[Any]:
    """A copy on the host of any kind of device array; a host array or a scalar as an array."""
    for method in ("copy_to_host", "get"):
        if hasattr(x, method):
            return np.asarray(getattr(x, method)())
    return np.asarray(x.cpu() if hasattr(x, "cpu") else x)


def set_count(size: int) -> int:
    """So many sets of inputs of that many bytes that one has left the cache before its turn comes again."""
    return int(np.clip(math.ceil(2 * l2_bytes() / max(size, 1)) + 1, 2, _MOST_SETS))


class Effort(NamedTuple):
    """How long a thing is timed."""

    seconds: float = 1.0  # about
    repeats: tuple[int, int] = (7, 200)
    span: float = 5e-4  # seconds between two events: shorter calls are repeated


def times(call: Callable[..., Any], sets: Sequence[tuple[Any, ...]], effort: Effort) -> NDArray[np.float64]:
    """Seconds a call on the default stream, the sets in turn: by events, after two rounds that are not counted."""
    for args in (*sets[:2], *sets[:2])[: 1 if SIMULATED else 4]:
        call(*args)
    cuda.synchronize()
    start = time.perf_counter()
    few = sets[: 1 if SIMULATED else 3]
    for args in few:
        call(*args)
    cuda.synchronize()
    each = max((time.perf_counter() - start) / len(few), 1e-7)
    inner = int(np.clip(effort.span / each, 1, 50))
    count = int(np.clip(effort.seconds / (each * inner), *effort.repeats))
    turns = [[sets[(i * inner + j) % len(sets)] for j in range(inner)] for i in range(count)]
    return np.array([_between(call, turn) for turn in turns]) / inner


def _between(call: Callable[..., Any], turn: list[tuple[Any, ...]]) -> float:
    """Seconds from the first call's start to the last one's end on the device."""
    if SIMULATED:
        start = time.perf_counter()
        for args in turn:
            call(*args)
        return time.perf_counter() - start
    begin, end = cuda.event(), cuda.event()
    begin.record()
    for args in turn:
        call(*args)
    end.record()
    end.synchronize()
    return float(cuda.event_elapsed_time(begin, end)) / 1e3


def host_times(call: Callable[[], Any], effort: Effort) -> NDArray[np.float64]:
    """Seconds a call by the host's clock, the device idle before and after."""
    call()
    found: list[float] = []
    while len(found) < effort.repeats[0] or (sum(found) < effort.seconds and len(found) < effort.repeats[1]):
        cuda.synchronize()
        start = time.perf_counter()
        call()
        cuda.synchronize()
        found.append(time.perf_counter() - start)
    return np.array(found)


def copy(size: int, effort: Effort) -> NDArray[np.float64]:
    """Bytes a second, read and written, of copies on the device from one half of so many bytes to the other."""
    source, target = (cuda.device_array(size // 8, np.float32) for _ in "ab")
    source.copy_to_device(np.random.default_rng(0).standard_normal(size // 8, np.float32))
    found = times(lambda a, b: b.copy_to_device(a), [(source, target), (target, source)], effort)
    return 2 * source.nbytes / found
