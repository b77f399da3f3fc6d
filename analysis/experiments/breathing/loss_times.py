"""How long value and gradient of a loss take for one batch of spectra: EMD beside KL, in one process and in turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

import emdref
from analysis.engine.cells import Rows
from analysis.experiments.breathing.spectra import BINS
from analysis.experiments.training.processes import ONE
from analysis.timing import own_process
from analysis.timing.measuring import race, spread, stopwatch

ROWS = 64


def compute(seconds: float, seed: int) -> Rows:
    """`measure` in a process of its own."""
    return own_process.call(f"{__name__}:measure", ONE, seconds=seconds, seed=seed)


def measure(seconds: float, seed: int) -> Rows:
    """A row for each loss and way: the median and the quartiles of seconds for value and gradient of a batch, float32.

    Beside them the median of what KL takes for each second of it, turn by turn, and its 95% interval.

    *torch*: forward and backward of an output that needs its gradient, by the functions that the networks train with,
    and by EMD as the paper describes it, cumulative sums of tensors.
    *NumPy*: arrays in, arrays out; KL as three NumPy expressions, EMD as `emdref.emd_value_and_grad` of
    accuracy ``native``.
    """
    import torch

    from emdref.kernels.compile import threads

    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    p, q = (rng.dirichlet(np.ones(BINS), ROWS).astype(np.float32) for _ in "pq")
    with threads.at_most(1):
        times = race({name: stopwatch(call) for name, call in {**_torch(p, q), **_numpy(p, q)}.items()}, seconds)
    common = {"part": "timing", "batch": ROWS, "bins": BINS}
    rows = []
    for name, found in times.items():
        loss, way = name.split(", ")
        row = {"loss": loss, "way": way, "repeats": len(found)}
        row |= dict(zip(("seconds", "low", "high"), spread(found), strict=True))
        ratio = median(times[f"KL, {way}"] / found)
        rows.append(common | row | dict(zip(("ratio_low", "ratio", "ratio_high"), ratio, strict=True)))
    return rows


def median(values: Any) -> tuple[float, float, float]:
    """It and its 95% interval, whatever the distribution: the k-th smallest and largest, k by the binomial one.

    >>> median(np.arange(1.0, 12.0))
    (2.0, 6.0, 10.0)
    """
    values = np.sort(values)
    k = int(max(stats.binom.ppf(0.025, len(values), 0.5), 1))
    return float(values[k - 1]), float(np.median(values)), float(values[-k])


def _torch(p: Any, q: Any) -> dict[str, Callable[[], Any]]:
    import torch

    from analysis.experiments.breathing.networks import LOSSES, cumulative

    output, target = torch.tensor(p, requires_grad=True), torch.tensor(q)
    losses = {
        "KL": LOSSES["KL"],
        "EMD as in the paper": cumulative,
        "EMD": LOSSES["EMD zero-sum"],
        "EMD2": LOSSES["EMD2"],
    }

    def both(loss: Any) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(loss(output, target), output)

    return {f"{name}, torch": both(loss) for name, loss in losses.items()}


def _numpy(p: Any, q: Any) -> dict[str, Callable[[], Any]]:
    chain = emdref.Chain(BINS)
    calls: dict[str, Callable[[], Any]] = {"KL, NumPy": lambda: kl(p, q)}
    for rho, name in ((1, "EMD"), (2, "EMD2")):
        calls[f"{name}, NumPy"] = lambda rho=rho: emdref.emd_value_and_grad(p, q, chain, rho, accuracy="native")
    return calls


def kl(p: Any, q: Any) -> tuple[Any, Any]:
    """Of q from p / |p|, and its gradient at p; all entries positive.

    >>> value, gradient = kl(np.array([[0.5, 0.5]]), np.array([[0.5, 0.5]]))
    >>> float(value[0]), gradient.tolist()
    (0.0, [[0.0, 0.0]])
    """
    total = p.sum(axis=1, keepdims=True)
    return (q * np.log(q * total / p)).sum(axis=1), 1 / total - q / p
