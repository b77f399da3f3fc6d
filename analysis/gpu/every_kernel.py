"""Every kernel once on small rows, for CUDA's checkers to watch: ``python -m analysis.gpu.every_kernel``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import emdref
from analysis.gpu import bits
from emdref import casebook


def calls(bins: int = 33, long: int = 5000) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names and calls."""
    spaces = {"chain": emdref.Chain(bins), "tree": bits.space("tree", bins), "long chain": emdref.Chain(long)}
    for name, space in spaces.items():
        for dtype in (np.float32, np.float64):
            p, q = (
                np.stack(x)
                for x in zip(*(casebook.pair("softmax", space.n_bins, dtype, s) for s in (0, 1)), strict=True)
            )
            yield from _emd(f"{name}, {p.dtype}", space, p, q)
            if name == "tree":
                yield from _sinkhorn(f"{name}, {p.dtype}", space, p, q)


def _emd(name: str, space: Any, p: Any, q: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    for accuracy in ("native", "compensated"):
        own = {"accuracy": accuracy, "mass": "ignore", "device": "cuda"}
        for rho in (1, 2):
            yield f"{name}, {accuracy}, rho={rho}", lambda r=rho, o=own: emdref.emd_value_and_grad(p, q, space, r, **o)
        yield f"{name}, {accuracy}, flow", lambda o=own: emdref.flow(p, q, space, **o)
        yield f"{name}, {accuracy}, HVP", lambda o=own: emdref.emd_hvp(p, q, space, p, 3, **o)


def _sinkhorn(name: str, space: Any, p: Any, q: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    for kernel, domain in (("space", "linear"), ("space", "log"), ("dense", "linear")):
        how = {"kernel": kernel, "domain": domain, "max_iter": 3, "device": "cuda"}
        yield f"Sinkhorn, {name}, {kernel}, {domain}", lambda h=how: emdref.sinkhorn(p, q, space, 2.0, **h)


def main() -> int:
    """Make every call and say so; the number of those that failed."""
    warnings.simplefilter("ignore")
    failed = 0
    for name, call in calls():
        try:
            call()
            print(f"checked: {name}", flush=True)
        except Exception as error:  # the others are to be checked too
            failed += 1
            print(f"not checked: {name}: {bits.failure(error)}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    raise SystemExit(main())
