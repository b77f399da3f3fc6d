"""Table 1 of arXiv 1611.07573: what one minibatch of 512 on the WordNet tree costs, in the paper and here.

Each cell is a process of its own with so many threads for emdref and BLAS alike.  Before anything is timed, values must
agree with the compensated kernel's, or with those of Sinkhorn's space kernel in float64.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import emdref
from analysis.engine.cells import Rows
from analysis.engine.machine import processor
from analysis.timing import own_process
from analysis.timing.emd_speed import histograms
from analysis.timing.measuring import race, spent, spread, stopwatch

FUNCTION = f"{__name__}:compute"
BATCH, LAMBDA = 512, 3.0  # the paper's minibatch and its default of lambda (Sec. 5)
CAPS = (10, 100, 1000)
SD, SD_SPACE = "SD, dense K", "SD, space kernel"
EMD_NATIVE, EMD_COMPENSATED = "EMD², native", "EMD², compensated"
METHODS = (SD, SD_SPACE, EMD_NATIVE, EMD_COMPENSATED)
PAPER, HERE = "paper", "emdref"
CPU, GPU = "CPU", "GPU"
ONE, ALL = "1", "all"  # threads
_FEW = 4  # rows that must agree
_BLAS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")


class Entry(NamedTuple):
    """A line of the table: a method, and the cap of its iterations (0: none)."""

    method: str
    cap: int = 0

    def call(self, tree: emdref.Tree, dtype: str, enter: Callable[[Any], Any] = lambda x: x) -> Callable[..., Any]:
        """Value and gradient of p, q; dense SD has M beforehand, where `enter` puts it."""
        if self.cap:
            kernel, space = ("dense", enter(tree.distance_matrix(dtype))) if self.method == SD else ("space", tree)
            return lambda p, q: emdref.sinkhorn(p, q, space, LAMBDA, max_iter=self.cap, kernel=kernel)
        accuracy = self.method.split()[1]
        return lambda p, q: emdref.emd_value_and_grad(p, q, tree, 2, accuracy=accuracy)

    def from_tree(self, tree: emdref.Tree) -> Callable[..., Any]:
        """Dense SD that forms M in each call."""
        return lambda p, q: emdref.sinkhorn(p, q, tree, LAMBDA, max_iter=self.cap, kernel="dense")


ENTRIES = (
    *(Entry(method, cap) for method in (SD, SD_SPACE) for cap in CAPS),
    Entry(EMD_NATIVE),
    Entry(EMD_COMPENSATED),
)
SLOW = CAPS[-1]  # iterations that take a minute and more
_PRINTED = {Entry(SD, 10): (0.942, 0.0151), Entry(SD, 100): (7.51, 0.0889), Entry(SD, 1000): (74.5, 0.865),
            Entry(EMD_NATIVE): (0.126, 0.025)}  # fmt: skip
HARDWARE = {CPU: "i5-6600K at 3.5 GHz", GPU: "GTX 1080"}


def printed() -> Rows:
    """The paper's numbers: Torch 7, CUDA 8.0; threads and the CPU's dtype are not told."""
    return [
        {"source": PAPER, "method": entry.method, "iterations": entry.cap, "place": place, "seconds": seconds,
         "hardware": HARDWARE[place], "dtype": "float32" if place == GPU else "not told", "threads": "not told"}
        for entry, both in _PRINTED.items() for place, seconds in zip((CPU, GPU), both, strict=True)
    ]  # fmt: skip


def compute(threads: str, **parameters: Any) -> Rows:
    """Rows of one dtype and number of threads, measured in a process of its own."""
    from emdref.kernels.compile.threads import processors

    count = 1 if threads == ONE else processors()
    environment = dict.fromkeys((*_BLAS, "EMDREF_NUM_THREADS"), str(count))
    return own_process.call(f"{__name__}:measure", environment, threads=threads, count=count, **parameters)


def measure(threads: str, count: int, dtype: str, batch: int, entries: list[list[Any]], seed: int) -> Rows:
    """A row an entry."""
    tree, rng = emdref.wordnet_tree(), np.random.default_rng(seed)
    p, q = (histograms(rng, batch, tree.n_bins, dtype) for _ in "pq")
    common = {
        "source": HERE, "place": CPU, "hardware": processor(), "dtype": dtype, "rows": batch,
        "threads": threads, "thread_count": count,
    }  # fmt: skip
    with _blas(count):
        return [common | _row(Entry(*entry), tree, p, q) for entry in entries]


@contextlib.contextmanager
def _blas(count: int):
    """So many threads in BLAS: the environment has set them, this makes sure where threadpoolctl is installed."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError):
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(count))
        yield


def _row(entry: Entry, tree: emdref.Tree, p: Any, q: Any) -> dict[str, Any]:
    call, truth = entry.call(tree, p.dtype.name), Right(entry, tree, p[:_FEW], q[:_FEW])
    first = truth.disagreement(value_of(call(p[:_FEW], q[:_FEW])))  # compiles, too
    row = {"method": entry.method, "iterations": entry.cap, "disagreement": first}
    if not first <= 1:
        return row | {"note": f"disagrees: {first:.3g} times the tolerance away, not timed"}
    if entry.cap * (entry.method == SD) >= 100:  # seconds; of the thousand iterations, a minute, once
        samples = [spent(lambda: call(p, q)) for _ in range(3 if entry.cap == 100 else 1)]
    else:
        samples = race({"": stopwatch(lambda: call(p, q))}, 0.5, (3, 15))[""]
    told = dict(zip(("seconds", "low", "high"), spread(samples), strict=True))
    return row | told | {"repeats": len(samples)}


def value_of(answer: Any) -> Any:
    """The values of what an entry's call returns."""
    return answer[0] if isinstance(answer, tuple) else answer.value


class Right:
    """Values in float64 and how far rounding may carry others: 8 eps sqrt(V), and lambda max(M) more where K is exp."""

    def __init__(self, entry: Entry, tree: emdref.Tree, p: Any, q: Any) -> None:
        p64, q64 = (x / x.sum(axis=1, keepdims=True) for x in (p.astype(np.float64), q.astype(np.float64)))
        growth = np.sqrt(tree.n_nodes) + (LAMBDA * tree.diameter if entry.cap else 0.0)
        self.relative = 8 * float(np.finfo(p.dtype).eps) * growth
        if entry.cap:
            self.value = emdref.sinkhorn(p64, q64, tree, LAMBDA, max_iter=entry.cap, kernel="space").value
        else:
            self.value = emdref.emd(p64, q64, tree, 2, mass="ignore")

    def disagreement(self, value: Any) -> float:
        """The largest error over the tolerance; NaN counts as infinite."""
        error = np.abs(np.asarray(value, np.float64) - self.value) / (self.relative * self.value)
        return float(np.nan_to_num(error, nan=np.inf).max())
