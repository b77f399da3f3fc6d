"""The one module that imports Numba's CUDA target, and what all kernels need of a device.

With ``NUMBA_ENABLE_CUDASIM=1`` (and ``NUMBA_DISABLE_JIT=1``, since the formulas are then plain Python) kernels run in
Numba's simulator: for their logic alone.
"""

from __future__ import annotations

import functools
import threading
import warnings
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import cuda

kernel = cuda.jit
SIMULATED = bool(numba.config.ENABLE_CUDASIM)
_PLAIN_SHARED = 48 * 1024  # bytes of shared memory that a block gets without asking
_MANY = 128  # blocks, below which Numba warns


class Limits(NamedTuple):
    """What a device offers."""

    shared: int  # bytes of shared memory a block can have
    processors: int  # multiprocessors
    threads: int  # threads a block


class Reserved(NamedTuple):
    """Whether more shared memory than usual could be had, and if not, why."""

    granted: bool
    reason: str


@functools.cache
def trouble() -> str:
    """Why no GPU can be used, in words that say what to do, or "" if one can."""
    if SIMULATED:
        return ""
    try:
        count = len(cuda.gpus)
    except Exception as error:  # whatever is wrong with a driver, of any version of it
        lines = [line.strip(" :.") for line in str(error).splitlines()]
        causes = [line for line in lines if line and not line.startswith("Error at driver init")]
        cause = causes[0] if causes else type(error).__name__
        return f"the NVIDIA driver cannot be used ({cause}): install one, or leave device=None"
    return "" if count else "no NVIDIA GPU was found: leave device=None"


@functools.cache
def limits(device: int = 0) -> Limits:
    """Those of the current device, whose number is given so that each is asked once."""
    if SIMULATED:
        return Limits(_PLAIN_SHARED, 2, 1024)
    gpu = cuda.get_current_device()
    asked = int(getattr(gpu, "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN", _PLAIN_SHARED))
    return Limits(asked if opted_in().granted else _PLAIN_SHARED, int(gpu.MULTIPROCESSOR_COUNT), 1024)


@functools.cache
def opted_in() -> Reserved:
    """Whether blocks may have more shared memory than 48 KiB here: tried, since Numba has no way to ask for it."""
    try:
        _reserve(_probe, _PLAIN_SHARED + 1024, (cuda.to_device(np.zeros(1)),))
    except Exception as error:  # of any version of Numba or of the driver's bindings
        return Reserved(False, f"{type(error).__name__}: {error}")
    return Reserved(True, "")


@kernel
def _probe(x):
    t = cuda.shared.array(0, x.dtype)
    t[0] = x[0]
    x[0] = t[0]


def launch(function: Any, blocks: int, threads: int, stream: Any, shared: int, *args: Any) -> None:
    """Start a kernel with so many blocks of so many threads and bytes of shared memory."""
    if blocks == 0:
        return
    if shared > _PLAIN_SHARED and not SIMULATED:
        _reserve(function, shared, args)
    _configured(function, blocks, threads, stream, shared)(*args)


_lock = threading.Lock()


def _configured(function: Any, blocks: int, threads: int, stream: Any, shared: int) -> Any:
    """The kernel with its launch; Numba warns of few blocks, which a small batch cannot help."""
    if blocks >= _MANY or SIMULATED:
        return function[blocks, threads, stream, shared]
    with _lock, warnings.catch_warnings():  # which is for one thread at a time
        warnings.filterwarnings("ignore", "Grid size .* under-utilization")
        return function[blocks, threads, stream, shared]


_reserved: dict[tuple[int, int], int] = {}


def _reserve(function: Any, shared: int, args: tuple[Any, ...]) -> None:
    """Allow a kernel that much dynamic shared memory, which Numba itself does not."""
    from cuda.bindings import driver

    compiled = function.compile(tuple(function.typeof_pyval(x) for x in args))
    device = cuda.get_current_device().id
    key = id(compiled), int(device)
    if _reserved.get(key, 0) >= shared:
        return
    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    handle = compiled._codelibrary.get_cufunc().handle
    if isinstance(handle, driver.CUkernel):
        (status,) = driver.cuKernelSetAttribute(attribute, shared, handle, device)
    else:
        (status,) = driver.cuFuncSetAttribute(driver.CUfunction(int(handle)), attribute, shared)
    if int(status) != 0:
        raise RuntimeError(f"the driver refuses {shared} bytes of shared memory for a kernel ({status})")
    _reserved[key] = shared
