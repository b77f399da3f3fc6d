"""Matrix products on a device by whoever is installed: CuPy's or PyTorch's cuBLAS, in plain float32 and float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.gpu import device


class Library(NamedTuple):
    """Someone whose arrays multiply by cuBLAS."""

    name: str
    enter: Callable[[NDArray[Any]], Any]


def library() -> Library | None:
    """The first of CuPy and PyTorch that works here."""
    for make in (_cupy, _torch):
        try:
            found = make()
            found.enter(np.ones((2, 2), np.float32)) @ found.enter(np.ones((2, 2), np.float32))
            return found
        except Exception:  # not installed, or not for this driver
            continue
    return None


def _cupy() -> Library:
    import cupy

    return Library(f"CuPy {cupy.__version__}", cupy.asarray)


def _torch() -> Library:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    return Library(f"PyTorch {torch.__version__}", lambda x: torch.from_numpy(x).cuda())


def rate(of: Library, n: int, dtype: str, effort: device.Effort) -> NDArray[np.float64]:
    """Operations a second of n x n x n products of random numbers."""
    rng = np.random.default_rng(0)
    sets = [tuple(of.enter(rng.random((n, n)).astype(dtype)) for _ in "ab") for _ in range(2)]
    return 2.0 * n**3 / device.times(lambda a, b: a @ b, sets, effort)


def loop(of: Library, kernel: NDArray[Any], weighted: NDArray[Any], cap: int) -> Callable[..., Any]:
    """Algorithm 1 for rows p and q there, two products an iteration: <T, M> and u."""
    k, km = of.enter(kernel), of.enter(weighted)

    def run(p: Any, q: Any) -> tuple[Any, Any]:
        u = p * 0 + 1
        for _ in range(cap):
            v = q / (u @ k)
            u = p / (v @ k)
        v = q / (u @ k)
        return (u * (v @ km)).sum(1), u

    return run
