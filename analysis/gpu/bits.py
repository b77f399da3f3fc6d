"""The CPU's answers beside the device's, number by number, on graded rows.

Compensated results should have the same bits; native ones and Sinkhorn's differ by rounding, in ulp of each number and
of its row's largest.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import emdref
from analysis.gpu import device
from analysis.gpu.device_targets import NAMES
from emdref import casebook

GAUGES = ("zero_sum", "raw", "scaled", "normalized")
RHO = (1, 2, 3, 4, 2.5)  # the last by pow, whose last digits are each target's own
RAISES = ("near_overflow",)  # Python's ldexp does, where a device's gives inf
ORDINARY = "softmax"  # family by which native results are judged
Row = dict[str, Any]


class Difference(NamedTuple):
    """How two arrays of one shape and dtype differ, rows along the last axis."""

    entries: int
    differ: int  # entries of other bits; two NaN are alike
    max_ulp: float  # floats between the two, at most; inf where one alone is NaN
    max_ulp_row: float  # in ulp of the largest of the row
    worst: int  # row of the latter


def difference(a: Any, b: Any) -> Difference:
    """Of two arrays.

    >>> x = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> difference(x, np.nextafter(x, [[1, 2], [3, 9]]))
    Difference(entries=4, differ=1, max_ulp=1.0, max_ulp_row=1.0, worst=1)
    """
    a, b = (np.atleast_1d(np.asarray(x)) for x in (a, b))
    if a.shape != b.shape or a.dtype != b.dtype:
        raise TypeError(f"{a.shape} {a.dtype} on the CPU, {b.shape} {b.dtype} on the device")
    a, b = (x.reshape(-1, x.shape[-1] if x.ndim > 1 else 1) for x in (a, b))
    if a.size == 0:
        return Difference(0, 0, 0.0, 0.0, -1)
    gone = np.isnan(a) | np.isnan(b)
    ulp = np.where(gone, np.where(np.isnan(a) & np.isnan(b), 0.0, np.inf), _between(a, b))
    row = np.where(gone, ulp, _in_rows(a, b)).max(axis=1)
    return Difference(a.size, int((ulp > 0).sum()), float(ulp.max()), float(row.max()), int(row.argmax()))


def _between(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """How many floats further."""
    kind, top = (np.uint32, 2**31) if a.dtype.itemsize == 4 else (np.uint64, 2**63)
    a, b = (np.where(x >= top, ~x, x + kind(top)) for x in (np.ascontiguousarray(x).view(kind) for x in (a, b)))
    return (np.maximum(a, b) - np.minimum(a, b)).astype(np.float64)


def _in_rows(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        largest = np.where(np.isfinite(a), np.abs(a), 0).max(axis=1, keepdims=True)
        error = np.abs(np.subtract(a, b, dtype=np.float64)) / np.spacing(largest).astype(np.float64)
        return np.where(a == b, 0.0, np.nan_to_num(error, nan=np.inf))


def graded(
    n: int, dtype: str, seeds: int, left_out: Sequence[str] = ()
) -> tuple[NDArray[Any], NDArray[Any], list[str]]:
    """Rows p and q of every family of the casebook, some of each, more ordinary ones, and the family of each row."""
    cases = [(family, seed) for family in casebook.FAMILIES if family not in left_out for seed in range(seeds)]
    cases += [(ORDINARY, seeds + seed) for seed in range(32 * (seeds - 1))]
    names = [family for family, _ in cases]
    pairs = [casebook.pair(family, n, np.dtype(dtype).type, seed) for family, seed in cases]
    p, q = (np.stack(x) for x in zip(*pairs, strict=True))
    return p, q, names


def emd(name: str, dtype: str, seeds: int, size: int, every: bool = True) -> Iterator[Row]:
    """Every function of EMD, or few, on one space of `size` bins (0: 1000, the WordNet tree)."""
    warnings.simplefilter("ignore", RuntimeWarning)  # results beyond the dtype, on purpose
    where = space(name, size)
    p, q, families = graded(where.n_bins, dtype, seeds, RAISES if device.SIMULATED else ())
    there = device.put(p, q)
    common = {"part": "bits", "space": NAMES[name], "bins": where.n_bins, "dtype": dtype, "rows": len(p)}
    for accuracy in ("compensated", "native"):
        for what, call in functions(where, accuracy, p, RHO if every else RHO[1:2], GAUGES if every else GAUGES[:1]):
            yield common | {"accuracy": accuracy} | what | _tried(call, (p, q), there, families)


def space(name: str, size: int) -> Any:
    """A chain, or a binary tree, of so many bins; 0: 1000, the WordNet tree."""
    if name == "chain":
        return emdref.Chain(size or 1000)
    if not size:
        return emdref.wordnet_tree()
    return emdref.Tree((np.arange(2 * size - 1) - 1) // 2)


def functions(
    where: Any, accuracy: str, p: NDArray[Any], exponents: Sequence[float], gauges: Sequence[str]
) -> Iterator[tuple[Row, Callable[..., Any]]]:
    """What is compared, as a function of p, q and options, and how the row names it."""
    own: dict[str, Any] = {"accuracy": accuracy, "mass": "ignore"}
    yield {"method": "flow"}, lambda p, q, **more: emdref.flow(p, q, where, **own, **more)
    for rho in exponents:
        yield {"method": "value", "rho": rho}, lambda p, q, r=rho, **more: emdref.emd(p, q, where, r, **own, **more)
        for gauge in gauges:
            named = {"method": "gradient", "rho": rho, "gauge": gauge}
            yield named, lambda p, q, r=rho, g=gauge, **more: emdref.emd_grad(p, q, where, r, gauge=g, **own, **more)
    v = np.random.default_rng(5).standard_normal(p.shape[1]).astype(p.dtype)
    for rho in (2, 3):
        yield (
            {"method": "HVP", "rho": rho},
            lambda p, q, r=rho, **more: emdref.emd_hvp(p, q, where, _beside(v, p), r, **own, **more),
        )


def _beside(v: NDArray[Any], p: Any) -> Any:
    """v where p is."""
    return v if isinstance(p, np.ndarray) else device.put(v)[0]


def _tried(call: Callable[..., Any], here: Any, there: Any, families: list[str]) -> Row:
    try:
        cpu = call(*here)
        gpu = device.get(call(*there))
        lone = device.get(call(*(x[:1] for x in here), device="cuda"))  # the first row alone, from the host and back
        return told(np.asarray(cpu), gpu, families) | {"alone_differ": difference(gpu[:1], lone).differ}
    except Exception as error:  # of the library or of the driver: a row that says so
        return {"note": failure(error)}


def told(cpu: NDArray[Any], gpu: NDArray[Any], families: list[str]) -> Row:
    """The row's numbers: of all rows, and of the ordinary ones."""
    found = difference(cpu, gpu)
    ordinary = np.array([family == ORDINARY for family in families])
    row = found._asdict() | {"worst": families[found.worst] if found.differ else "", "note": None}
    return row | {"ordinary_ulp_row": difference(cpu[ordinary], gpu[ordinary]).max_ulp_row}


def failure(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return f"failed: {type(error).__name__}: {text[:300]}"


# --- long rows --------------------------------------------------------------------------------------------------------


def long(bins: int, dtype: str) -> Iterator[Row]:
    """One long row, which a device cuts into pieces."""
    where = emdref.Chain(bins)
    rng = np.random.default_rng(3)
    p = rng.standard_exponential((1, bins)).astype(dtype)
    q = np.roll(p, bins // 3, axis=1)
    there = device.put(p, q)
    common = {"part": "bits", "space": "long chain", "bins": bins, "dtype": dtype, "rows": 1}
    for accuracy in ("compensated", "native"):
        for rho in (1, 2):
            own = {"accuracy": accuracy, "mass": "ignore"}
            call = lambda p, q, r=rho, own=own, **more: emdref.emd_grad(p, q, where, r, **own, **more)  # noqa: E731
            named = {"method": "gradient", "rho": rho, "gauge": "zero_sum", "accuracy": accuracy}
            yield common | named | _tried(call, (p, q), there, [ORDINARY])


# --- arrays of others -------------------------------------------------------------------------------------------------


def arrays(bins: int) -> Iterator[Row]:
    """Every kind of device array in gives the same kind out, with the bits of NumPy's in and out."""
    where = emdref.Chain(bins)
    p, q, _ = graded(bins, "float32", 1)
    right = emdref.emd_grad(p, q, where, 2, mass="ignore", device="cuda")
    for kind, enter in _kinds():
        row = {"part": "arrays", "method": "gradient", "bins": bins, "dtype": "float32", "name": kind}
        try:
            there = [enter()(x) for x in (p, q)]
            got = emdref.emd_grad(*there, where, 2, mass="ignore")
            same = type(got) is type(there[0])
            yield row | difference(right, device.get(got))._asdict() | {
                "note": None if same else f"failed: {type(there[0]).__name__} in, {type(got).__name__} out"
            }  # fmt: skip
        except ImportError as error:
            yield row | {"note": f"not installed ({error})"}
        except Exception as error:
            yield row | {"note": failure(error)}


def _kinds() -> Iterator[tuple[str, Callable[[], Callable[[Any], Any]]]]:
    def cupy() -> Callable[[Any], Any]:
        import cupy

        return cupy.asarray

    def torch() -> Callable[[Any], Any]:
        import torch

        return lambda x: torch.from_numpy(x).cuda()

    yield "Numba", lambda: lambda x: device.put(x)[0]
    yield "CuPy", cupy
    yield "PyTorch", torch


def others(bins: int) -> Iterator[Row]:
    """What is checked besides: long rows, and arrays of other libraries."""
    yield from arrays(min(bins, 200))
    for dtype in ("float32", "float64"):
        yield from long(bins, dtype)


# --- Sinkhorn ---------------------------------------------------------------------------------------------------------


def sinkhorn(dtype: str, rows: int, bins: int, cap: int, every: bool = True) -> Iterator[Row]:
    """Value and gradient after `cap` iterations, kernels, domains, variants and lambdas (bins 0: the WordNet tree)."""
    warnings.simplefilter("ignore", RuntimeWarning)
    where = space("tree", bins)
    rng = np.random.default_rng(7)
    pairs = [casebook.softmax(rng, where.n_bins, np.dtype(dtype).type) for _ in range(rows)]
    p, q = (np.stack(x) for x in zip(*pairs, strict=True))
    common = {"part": "sinkhorn", "bins": where.n_bins, "dtype": dtype, "rows": rows, "iterations": cap}
    for kernel, domain, variant, lam in _ways() if every else [*_ways()][-3:]:
        how = {"kernel": kernel, "domain": domain, "variant": variant, "max_iter": cap}
        row = common | {"method": f"{kernel}, {domain}, {variant}", "lam": lam}
        try:
            yield row | _both(p, q, where, lam, how)
        except Exception as error:
            yield row | {"note": failure(error)}


def _ways() -> Iterator[tuple[str, str, str, float]]:
    for variant in ("paper", "frogner", "cuturi", "caffe", "mocha"):
        yield "space", "linear", variant, 3.0
    for lam in (0.3, 3.0, 30.0):
        yield "space", "log", "paper", lam
        yield "dense", "linear", "paper", lam
        yield "space", "linear", "paper", lam


def _both(p: Any, q: Any, where: Any, lam: float, how: Row) -> Row:
    cpu = emdref.sinkhorn(p, q, where, lam, **how)
    gpu = emdref.sinkhorn(*device.put(p, q), where, lam, **how)
    value, grad = (device.get(x) for x in (gpu.value, gpu.grad))
    alike = np.asarray(cpu.status) == np.asarray(device.get(gpu.status))
    fine = np.isin(cpu.status, ("converged", "iteration_limit")) & alike
    eps = float(np.finfo(p.dtype).eps)
    found = difference(cpu.grad[fine], grad[fine])
    relative = np.abs(value[fine] / cpu.value[fine] - 1).max(initial=0.0)
    return found._asdict() | {
        "value_relative": float(relative), "tolerance": 32 * eps * (np.sqrt(where.n_nodes) + lam * where.diameter),
        "status_differ": int((~alike).sum()), "failed_rows": int(len(p) - fine.sum()), "worst": None,
    }  # fmt: skip
