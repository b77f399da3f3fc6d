"""Contests between implementations: nobody is timed before agreeing, and all are timed in turn in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import emdref

LEAST = 5e-4  # seconds: shorter calls are repeated until one measurement takes so long
ROUNDS = (7, 41)  # at least so many, since a busy machine takes a processor away for milliseconds
SLOW, FEWER = 2.0, 3  # seconds of a round beyond which so few are enough
Stopwatch = Callable[[], float]  # one measurement, in seconds a call


class Truth:
    """What is right at some rows of a batch, and how far rounding may carry an answer from it.

    The answer is that of emdref's compensated kernels on the same floats, in float64.  A flow summed naively in V steps
    errs by about eps sqrt(V) times the numbers summed: the flows themselves if p - q is formed first, the masses (1) if
    p and q are summed apart.  With c = 8, the tolerances are, with d = c eps sqrt(V) times that size,

    ``value``  d sum_e rho M_e |phi_e|^(rho-1) + c eps sqrt(V) value
    ``gradient``  rho (rho - 1) d diameter + c eps sqrt(V) max|r| (for rho = 2; in gauge zero_sum).
    """

    FACTOR = 8.0

    def __init__(self, p: Any, q: Any, space: emdref.Chain | emdref.Tree, rho: int, at: NDArray[np.int64]) -> None:
        self.at, self.rho, self.diameter = at, rho, space.diameter
        self.eps = float(np.finfo(p.dtype).eps) * np.sqrt(space.n_nodes)
        p, q = (x[at].astype(np.float64) for x in (p, q))
        self.value, self.grad = emdref.emd_value_and_grad(p, q, space, rho, mass="ignore")
        self.phi = np.abs(emdref.flow(p, q, space, mass="ignore"))
        cost = space.gaps if isinstance(space, emdref.Chain) else space.cost
        self.slope = rho * (self.phi ** (rho - 1)) @ cost
        self.largest = np.abs(emdref.emd_grad(p, q, space, rho, gauge="raw", mass="ignore")).max(axis=1)

    def tolerances(self, first: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of the value and the gradient, row by row."""
        unit = self.FACTOR * self.eps
        flow = unit * (self.phi.max(axis=1, initial=0.0) if first else np.ones(len(self.phi)))
        grad = self.rho * (self.rho - 1) * flow * self.diameter + unit * self.largest
        return flow * self.slope + unit * self.value, grad

    def tolerance(self, first: bool) -> float:
        """The value's, relative to the value, at the worst of the rows."""
        return float(np.max(self.tolerances(first)[0] / np.maximum(self.value, np.finfo(float).tiny)))

    def disagreement(self, value: Any, grad: Any | None, first: bool, part: Any = slice(None)) -> float:
        """The largest error over its tolerance at some of the rows: above 1 they disagree; NaN counts as infinite."""
        for_value, for_grad = (x[part] for x in self.tolerances(first))
        errors = [over(np.asarray(value, float) - self.value[part], for_value)]
        if grad is not None:
            grad = np.asarray(grad, float)
            errors.append(over(grad - grad.mean(axis=1, keepdims=True) - self.grad[part], for_grad[:, None]))
        return max(errors)


def over(error: NDArray[np.float64], tolerance: NDArray[np.float64]) -> float:
    """The largest error over its tolerance: above 1 they disagree; NaN counts as infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(error == 0, 0.0, np.abs(error) / tolerance)
    return float(np.nan_to_num(ratio, nan=np.inf).max(initial=0.0))


class Spread(NamedTuple):
    """Median and quartiles."""

    middle: float
    low: float
    high: float


def spread(samples: Any) -> Spread:
    """Of some measurements.

    >>> spread([3.0, 1.0, 2.0, 5.0, 4.0])
    Spread(middle=3.0, low=2.0, high=4.0)
    """
    low, middle, high = np.percentile(samples, [25, 50, 75]).tolist()
    return Spread(middle, low, high)


def spent(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def worked(call: Callable[[], Any]) -> float:
    """Seconds of the processor for one call, whatever else the machine does."""
    start = time.process_time()
    call()
    return time.process_time() - start


def stopwatch(call: Callable[[], Any]) -> Stopwatch:
    """Measures that call, repeated if it is short; the first one is not counted."""
    usual = min(spent(call) for _ in range(3))  # the first of them fills caches
    count = int(np.clip(np.ceil(LEAST / max(usual, 1e-9)), 1, 10_000))

    def measure() -> float:
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) / count

    return measure


def race(
    stopwatches: Mapping[str, Stopwatch], seconds: float, rounds: tuple[int, int] = ROUNDS
) -> dict[str, NDArray[np.float64]]:
    """Measurements of each, taken in turn (A B C A B C ...) so that a drift of the machine hits all alike."""
    start = time.perf_counter()
    found = {name: [measure()] for name, measure in stopwatches.items()}
    first = time.perf_counter() - start
    least = min(rounds[0], FEWER) if first > SLOW else rounds[0]
    count = int(np.clip(seconds / max(first, 1e-9), least, rounds[1]))
    for _ in range(count - 1):
        for name, measure in stopwatches.items():
            found[name].append(measure())
    return {name: np.array(samples) for name, samples in found.items()}
