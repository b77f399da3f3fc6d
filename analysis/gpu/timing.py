"""How fast a device computes what the library offers, beside the copy bandwidth and cuBLAS of the same process.

Times are those of the public functions on device arrays, by events, the inputs in turn from sets that the L2 cache
cannot hold.  `traffic` is what must be read and written at least, `operations` what the definition takes in plain
arithmetic; neither counts what a kernel does besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import emdref
from analysis.gpu import bits, device, matrix_products
from analysis.gpu.device import Effort
from analysis.gpu.device_targets import DENSE, EMD, NAMES, SINKHORN
from analysis.timing import table1
from analysis.timing.emd_speed import histograms
from analysis.timing.measuring import spread

LAMBDA = 3.0
SINKHORN_LOG, SINKHORN_DENSE, HVP = "Sinkhorn, space kernel, log domain", "Sinkhorn, dense kernel", "HVP, rho = 3"
COPY, RATE = "copy on the device", "matrix product"
WORDNET = 1000  # bins of its tree
_FEW = 8  # rows of the first set whose values are compared
Row = dict[str, Any]


class Work(NamedTuple):
    """Arrays of the batch's size that must be read or written, and operations, of one call."""

    arrays: int
    operations: float

    def traffic(self, rows: int, bins: int, itemsize: int) -> int:
        """Bytes, the values (one a row) included."""
        return (self.arrays * rows * bins + rows) * itemsize


def emd_work(rows: int, bins: int, nodes: int) -> Work:
    """EMD^2, value and gradient: reads p and q, writes the gradient.

    A node: one addition up, M phi, its square and their sum, twice it, one addition down; a bin: p - q, the mean's sum
    and difference.

    >>> emd_work(1, 1000, 1374)
    Work(arrays=3, operations=11244)
    """
    return Work(3, rows * (6 * nodes + 3 * bins))


def hvp_work(rows: int, bins: int, nodes: int) -> Work:
    """HVP at rho = 3: reads p, q and v, writes the product."""
    return Work(4, rows * (7 * nodes + 5 * bins))


def sinkhorn_work(rows: int, bins: int, nodes: int, cap: int) -> Work:
    """Space kernel: p, q, gradient and both potentials; two products of five operations a node, two divisions a bin."""
    return Work(5, float(rows) * cap * (10 * nodes + 2 * bins))


def dense_work(rows: int, bins: int, nodes: int, cap: int) -> Work:
    """Two products by the matrix an iteration, two divisions a bin."""
    return Work(5, float(rows) * cap * (4 * bins * bins + 2 * bins))


def emd(space: str, dtype: str, sizes: list[list[int]], effort: list[float], gemm: int) -> Iterator[Row]:
    """EMD^2 and HVP on one space; sizes are (bins, rows), effort seconds a call and most repeats."""
    work = Effort(effort[0], (5, int(effort[1])))
    copied, *limits = _limits(dtype, gemm, work)
    yield from (copied, *limits)
    for bins, rows in sizes:
        yield from _emd(space, dtype, bins, rows, work, copied)


def _limits(dtype: str, gemm: int, effort: Effort) -> Iterator[Row]:
    """The ceilings, measured in this process."""
    common = {"part": "ceiling", "dtype": dtype}
    size = 2**30 if gemm > 64 else 2**12
    yield common | {"method": COPY, "traffic": size // 2} | _told(device.copy(size, effort), "bytes_per_s")
    library = matrix_products.library()
    if library is None:
        yield common | {"method": RATE, "note": "neither CuPy nor PyTorch is installed: cuBLAS was not measured"}
        return
    yield (
        common
        | {"method": RATE, "name": library.name, "bins": gemm}
        | _told(matrix_products.rate(library, gemm, dtype, effort), "flops_per_s")
    )


def _told(samples: NDArray[np.float64], name: str) -> Row:
    middle, low, high = spread(samples)
    return {name: middle, f"{name}_low": low, f"{name}_high": high, "repeats": len(samples)}


def _emd(space: str, dtype: str, bins: int, rows: int, effort: Effort, copied: Row) -> Iterator[Row]:
    where = bits.space(space, bins if space == "chain" or bins != WORDNET else 0)
    common = {"part": "time", "space": NAMES[space], "bins": bins, "nodes": where.n_nodes, "rows": rows, "dtype": dtype}
    first, *others = _sets(rows, bins, dtype)
    sets = [device.put(*one) for one in (first, *others)]
    for accuracy in ("native", "compensated"):
        named = common | {"method": f"{EMD}, {accuracy}", "accuracy": accuracy, "rho": 2}
        call = _value_and_grad(where, accuracy)
        yield named | _guarded(lambda n=named, c=call: _timed(n, c, sets, first, effort, copied, emd_work))
        if rows > 1:
            yield named | {"part": "host"} | _guarded(lambda c=call: _from_host(c, first, effort))
    if rows > 1:
        named = common | {"method": HVP, "accuracy": "compensated", "rho": 3}
        call, v = _hvp(where, sets[0][0], first[0])
        yield named | _guarded(
            lambda: _timed(named, call, [(*s, v[0]) for s in sets], (*first, v[1]), effort, copied, hvp_work)
        )


def _sets(rows: int, bins: int, dtype: str) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Rotating inputs; one is drawn, the others have its bins moved on, which costs less."""
    rng = np.random.default_rng([rows, bins])
    p, q = (histograms(rng, rows, bins, dtype) for _ in "pq")
    for i in range(device.set_count(p.nbytes + q.nbytes)):
        yield (p, q) if i == 0 else (np.roll(p, 7 * i, axis=1), np.roll(q, 11 * i, axis=1))


def _value_and_grad(where: Any, accuracy: str) -> Callable[..., Any]:
    return lambda p, q, **more: emdref.emd_value_and_grad(p, q, where, 2, accuracy=accuracy, **more)


def _hvp(where: Any, there: Any, here: NDArray[Any]) -> tuple[Callable[..., Any], tuple[Any, Any]]:
    """The product, and v on the device and here."""
    v = np.random.default_rng(11).standard_normal(here.shape).astype(here.dtype)
    return lambda p, q, v: emdref.emd_hvp(p, q, where, v, 3), (*device.put(v), v)


def _guarded(measure: Callable[[], Row]) -> Row:
    """Its row, or what went wrong."""
    try:
        return measure()
    except Exception as error:  # of the library or of the driver: the other rows go on
        return {"note": bits.failure(error)}


def _timed(row: Row, call: Any, sets: list[Any], first: Any, effort: Effort, copied: Row, work: Any) -> Row:
    """Agree with the CPU on the first rows, then time: rates, and the share of the copy's bandwidth."""
    found = _agreement(call(*sets[0]), call(*(x[:_FEW] for x in first)), row["nodes"])
    if not found["disagreement"] <= 1:
        return found | {"note": f"failed: disagrees, {found['disagreement']:.3g} times the tolerance away, not timed"}
    task = work(row["rows"], row["bins"], row["nodes"])
    return found | _rates(row, device.times(call, sets, effort), task, copied)


def _agreement(there: Any, here: Any, nodes: int) -> Row:
    """The largest difference over 32 eps sqrt(V) of its row's largest number."""
    pairs = zip(*(x if isinstance(x, tuple) else (x,) for x in (there, here)), strict=True)
    error = 0.0
    for a, b in pairs:
        a, b = device.get(a)[:_FEW], np.asarray(b)
        if not np.isfinite(a).all():
            return {"disagreement": np.inf}
        size = np.abs(b).max(axis=-1, keepdims=True) if b.ndim > 1 else np.abs(b)
        error = max(error, float((np.abs(a - b) / (32 * np.finfo(b.dtype).eps * np.sqrt(nodes) * size)).max()))
    return {"disagreement": error}


def _rates(row: Row, samples: NDArray[np.float64], work: Work, copied: Row) -> Row:
    traffic = work.traffic(row["rows"], row["bins"], np.dtype(row["dtype"]).itemsize)
    found = _told(samples, "seconds") | {"traffic": traffic, "operations": float(work.operations)}
    found |= _told(traffic / samples / copied["bytes_per_s"], "fraction")
    return found | {"gb_per_s": traffic / found["seconds"] / 1e9, "flops_per_s": work.operations / found["seconds"]}


def _from_host(call: Any, arrays: Any, effort: Effort) -> Row:
    """NumPy in, NumPy out, both transfers included."""
    return _told(device.host_times(lambda: call(*arrays, device="cuda"), effort), "seconds")


# --- Sinkhorn ---------------------------------------------------------------------------------------------------------


class Match(NamedTuple):
    """Inputs, and what is right: values of the first rows, by the space kernel on the CPU."""

    where: Any
    sets: list[Any]  # on the host
    right: NDArray[Any]
    effort: Effort
    copied: Row
    row: Row


def sinkhorn(dtype: str, rows: int, bins: int, cap: int, effort: list[float], gemm: int) -> Iterator[Row]:
    """The space kernel in both domains, and our dense one, beside the dense loop (bins 0: the WordNet tree)."""
    work = Effort(effort[0], (5, int(effort[1])))
    copied, *limits = _limits(dtype, gemm, work)
    yield from (copied, *limits)
    where = bits.space("tree", bins)
    common = {
        "part": "time", "space": NAMES["tree"], "bins": where.n_bins, "nodes": where.n_nodes, "rows": rows,
        "dtype": dtype, "iterations": cap,
    }  # fmt: skip
    sets = list(_sets(rows, where.n_bins, dtype))
    right = emdref.sinkhorn(*(x[:_FEW] for x in sets[0]), where, LAMBDA, max_iter=cap).value
    match = Match(where, sets, right, work, copied, common)
    dense = common | {"method": DENSE} | _guarded(lambda: _dense_loop(match))
    yield dense
    there = [device.put(*one) for one in sets]
    for method, task in ((SINKHORN, sinkhorn_work), (SINKHORN_LOG, sinkhorn_work), (SINKHORN_DENSE, dense_work)):
        row = common | {"method": method}
        found = _guarded(lambda m=method, t=task: _solved(match, there, _solver(m, match, there[0]), t))
        yield row | beside(found, dense)


def _dense_loop(match: Match) -> Row:
    """Two products an iteration by cuBLAS, K there before; if nobody is there who has it, our own product."""
    library, row = matrix_products.library(), match.row
    if library is None:
        call = _solver(SINKHORN_DENSE, match, device.put(*match.sets[0]))
        told = {"name": "emdref's own product: neither CuPy nor PyTorch is installed"}
        return told | _solved(match, [device.put(*one) for one in match.sets], call, dense_work)
    cost = match.where.distance_matrix()
    kernel = np.exp(-LAMBDA * cost - 1)
    loop = matrix_products.loop(library, *(x.astype(row["dtype"]) for x in (kernel, kernel * cost)), row["iterations"])
    sets = [tuple(map(library.enter, one)) for one in match.sets]
    return {"name": f"cuBLAS by {library.name}"} | _solved(match, sets, loop, dense_work)


def _solver(method: str, match: Match, pair: Any) -> Callable[..., Any]:
    cap = match.row["iterations"]
    if method == SINKHORN_DENSE:
        return _first_that_works(table1.Entry(table1.SD, cap), match.where, pair)[0]
    domain = "log" if method == SINKHORN_LOG else "linear"
    return lambda p, q: emdref.sinkhorn(p, q, match.where, LAMBDA, max_iter=cap, kernel="space", domain=domain)


def _solved(match: Match, sets: Any, call: Any, work: Any) -> Row:
    """Agree, then time; the tolerance is 32 eps (sqrt(V) + lambda max(M)) of the value."""
    row, where, dtype = match.row, match.where, match.row["dtype"]
    tolerance = 32 * float(np.finfo(dtype).eps) * (np.sqrt(where.n_nodes) + LAMBDA * where.diameter)
    error = np.abs(device.get(table1.value_of(call(*sets[0])))[:_FEW] / match.right - 1) / tolerance
    found = {"disagreement": float(np.nan_to_num(error, nan=np.inf).max())}
    if not found["disagreement"] <= 1:
        return found | {"note": f"failed: disagrees, {found['disagreement']:.3g} times the tolerance away, not timed"}
    task = work(row["rows"], row["bins"], row["nodes"], row["iterations"])
    return found | _rates(row, device.times(call, sets, match.effort), task, match.copied)


def beside(row: Row, dense: Row) -> Row:
    """The row with how many times as fast as the dense loop it is; quartiles against quartiles, the wider way."""
    if "seconds" not in dense or "seconds" not in row:
        return row
    return row | {
        "ratio": dense["seconds"] / row["seconds"],
        "ratio_low": dense["seconds_low"] / row["seconds_high"],
        "ratio_high": dense["seconds_high"] / row["seconds_low"],
    }


# --- Table 1 ----------------------------------------------------------------------------------------------------------


def table_1(dtype: str, rows: int, longest: int, effort: list[float]) -> Iterator[Row]:
    """The lines of Table 1 on the device, by the same calls as on the CPU."""
    work = Effort(effort[0], (3, int(effort[1])))
    tree = emdref.wordnet_tree()
    first, *others = _sets(rows, tree.n_bins, dtype)
    sets = [device.put(*one) for one in (first, *others)]
    few = [x[:_FEW] for x in first]
    for entry in table1.ENTRIES:
        row = {"part": "table1", "method": entry.method, "iterations": entry.cap, "dtype": dtype, "rows": rows}
        if entry.cap <= longest:
            yield row | _guarded(lambda e=entry: _line(e, tree, sets, table1.Right(e, tree, *few), work))


def _line(entry: table1.Entry, tree: Any, sets: list[Any], right: table1.Right, effort: Effort) -> Row:
    call, told = _first_that_works(entry, tree, sets[0])
    found = right.disagreement(device.get(table1.value_of(call(*sets[0])))[:_FEW])
    if not found <= 1:
        return {"disagreement": found, "note": f"failed: disagrees, {found:.3g} times the tolerance away, not timed"}
    row = _told(device.times(call, sets, effort), "seconds")
    return row | {"disagreement": found, "name": told, "low": row["seconds_low"], "high": row["seconds_high"]}


def _first_that_works(entry: table1.Entry, tree: Any, pair: Any) -> tuple[Callable[..., Any], str]:
    """M formed beforehand, on the host or on the device, whichever way the library takes it; which one."""
    dtype = pair[0].dtype.name
    ways = {"M on the host": lambda x: x, "M on the device": lambda x: device.put(x)[0]}
    if entry.method == table1.SD:
        for told, enter in ways.items():
            call = entry.call(tree, dtype, enter)
            try:
                call(*pair)
                return call, told
            except (TypeError, RuntimeError, ValueError):  # it takes no such mixture
                continue
        return entry.from_tree(tree), "M formed in each call"
    return entry.call(tree, dtype), ""
