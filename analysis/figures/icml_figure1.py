"""ICML 2016 Fig. 1: a breathing signal's spectrum predicted by a perceptron, under all losses (simulated cohort).

Two layers, squared; Adam.  The error is the distance between the largest peaks of the predicted spectrum and the nasal
one; beside it the gradient's sum over bins.  Subjects are split, never clips.  The recordings of the paper are
private: the cohort is simulated (analysis/experiments/breathing/cohort.py) unless --records names others.  EMD and KL
are timed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.engine.cells import Cell, Rows
from analysis.engine.claims import Claim
from analysis.engine.reproduction import exact, timing
from analysis.engine.script import Options
from analysis.experiments.breathing import experiment, loss_times, report
from analysis.experiments.training.torch_extra import absent as absent

DTYPES = ("float32",)
PNG = True
KINDS = report.KINDS | exact("batch", "bins", "way") | timing("repeats", "seconds", "low", "high")
NETWORK = "perceptron"
SECONDS = {"SD": 16.0, "other": 8.0}
FIGURE, SECTION = "ICML 2016, Fig. 1", "ICML 2016, Sec. 3"
OURS, OTHERS = "EMD zero-sum", ("EMD normalized", "MSE", "KL")
MIXED = " + MSE"  # Sec. 2.3: "our loss as the weighted combination"
WAYS = ("torch", "NumPy")
check, told = report.check, report.told


def cells(options: Options) -> list[Cell]:
    """Each loss at every rate, and the timing."""
    seconds = 0.5 if options.toy else 20.0
    timing = Cell(f"{__name__}:timed", {"seconds": seconds, "seed": options.seed}, weight=seconds + 5, alone=True)
    return [*experiment.search(f"{__name__}:run", NETWORK, options, SECONDS), timing]


def then(table: pd.DataFrame, options: Options) -> list[Cell]:
    """Each loss at its rate, with more seeds."""
    return experiment.further(f"{__name__}:run", NETWORK, options, SECONDS, table)


def run(**parameters: Any) -> Rows:
    """One network trained."""
    return experiment.trained(f"{__name__}:run", **parameters)


def timed(**parameters: Any) -> Rows:
    """Value and gradient for one batch."""
    return loss_times.compute(**parameters)


def claims(table: pd.DataFrame) -> list[Claim]:
    """Of the figure, and of the text."""
    faster, better = "gEMD_L1 converges faster than gEMD, MSE and KL", "gEMD_L1 gives a better estimate of the rate"
    mixed = "the losses being mixtures with 0.1 MSE"
    pairs = [(OURS, OTHERS, ""), (OURS + MIXED, (OTHERS[0] + MIXED, *OTHERS[1:]), f", {mixed}")]
    return [
        *(report.compared(table, FIGURE, faster + how, "early", *pair) for *pair, how in pairs),
        *(report.compared(table, SECTION, better + how, "final", *pair) for *pair, how in pairs),
        _sums(table),
        _unsuitable(table),
        _mass(table),
        _speed(table),
    ]


def _sums(table: pd.DataFrame) -> Claim:
    sums = experiment.chosen(table).groupby("loss").gradient_sum_rms
    most, middle = sums.max(), sums.median()
    spread = experiment.chosen(table).groupby("loss").gradient_sum.std()
    others = ", ".join(f"{report.words(loss)} {middle[loss]:.2g} and {spread[loss]:.2g}" for loss in OTHERS)
    rounding = 30 * 30 * np.finfo(np.float32).eps  # 30 bins, entries up to 30
    return report.claim(
        table,
        FIGURE,
        "the sum of the gradient gEMD_L1 is 0, while it fluctuates for gEMD",
        f"root mean square over clips at most {most[OURS]:.1g} for {report.words(OURS)}; its median, and the deviation "
        f"of the mean sum from measurement to measurement, for {others}",
        bool(most[OURS] < rounding and min(middle[OTHERS[0]], spread[OTHERS[0]]) > 1000 * rounding),
    )


def _unsuitable(table: pd.DataFrame) -> Claim:
    error = report.final(table)
    found = report.less(error[OURS], error[OTHERS[0]])
    return report.claim(
        table,
        "ICML 2016, Sec. 2.2",
        "gEMD, whose sum is not 0, is unsuitable for use",
        f"error at the end, breaths per minute: gEMD {report.interval(error[OTHERS[0]])}, gEMD_L1 "
        f"{report.interval(error[OURS])}, difference of gEMD_L1 {found.words}; with squared outputs gEMD is at a right "
        "angle to the output and leaves its total alone to first order, the projection does not",
        found.less,
    )


def _mass(table: pd.DataFrame) -> Claim:
    last = report.runs(table).last()
    away = np.log10(last.total).abs().where(last.status == "ok", np.inf)
    found = report.less(away[OURS + MIXED], away[OURS])
    totals = last.total.groupby("loss").median()
    text = ", ".join(f"{report.words(loss)} {totals[loss]:.3g}" for loss in (OURS, OURS + MIXED))
    return report.claim(
        table,
        "ICML 2016, Sec. 2.3",
        "magnitudes run away under EMD alone, which 0.1 MSE prevents",
        f"the output's median total at the end (target 1): {text}; decimal orders of magnitude away from 1, "
        f"difference {found.words}; {report.diverged(table)}",
        found.less,
    )


def _speed(table: pd.DataFrame) -> Claim:
    """The paper's way of computing it beside KL, and emdref's beside both."""
    rows = table[table.part == "timing"].set_index(["loss", "way"])
    names = {way: ", ".join(_micro(loss, row) for loss, row in rows.xs(way, level="way").iterrows()) for way in WAYS}
    return Claim(
        "ICML 2016, Sec. 2.3",
        "EMD is faster than KL forward and backward, for N = 30 (there on a GPU, here on a CPU)",
        f"on one thread, value and gradient of a batch of 64, float32, microseconds, median and "
        f"quartiles: in torch {names['torch']}; between NumPy arrays {names['NumPy']}; EMD as in the paper is "
        "cumulative sums of tensors, the others are emdref's",
        bool(rows.high["EMD as in the paper", "torch"] < rows.low["KL", "torch"]),
    )


def _micro(loss: str, row: pd.Series) -> str:
    seconds, low, high = (1e6 * row[name] for name in ("seconds", "low", "high"))
    return f"{report.words(loss)} {seconds:.0f} ({low:.0f} – {high:.0f})"


def draw(table: pd.DataFrame) -> Any:
    """Errors, gradients' sums, the output's total."""
    return report.panels(table, "two-layer perceptron (ICML 2016, Fig. 1)")
