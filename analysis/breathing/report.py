"""What both breathing figures have in common: numbers, words and panels from the table of runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from analysis import style
from analysis.breathing.experiment import LOSSES, RATES, chosen

LINES = {
    "MSE": (style.ORANGE, "-"),
    "KL": (style.PURPLE, "-"),
    "EMD normalized": (style.SKY, "-"),
    "EMD normalized + MSE": (style.SKY, "--"),
    "EMD zero-sum": (style.BLUE, "-"),
    "EMD zero-sum + MSE": (style.BLUE, "--"),
    "EMD2": (style.RED, "-"),
    "EMD2 layer": (style.RED, ":"),
    "SD": (style.GREEN, "-"),
}


def words(loss: str) -> str:
    """As a legend says it."""
    return loss.replace("EMD2", "EMD²").replace(" + MSE", " + 0.1 MSE").replace(" layer", ", through the layer")


def early(table: pd.DataFrame) -> pd.Series:
    """Mean error over the first epoch, by loss and seed: how fast a loss converges, on a logarithmic clock."""
    return chosen(table).query("0 < epoch <= 1").groupby(["loss", "seed"]).error.mean()


def final(table: pd.DataFrame) -> pd.Series:
    """Error at the last measurement, by loss and seed; inf where the run diverged."""
    last = chosen(table).groupby(["loss", "seed"]).last()
    return last.error.where(last.status == "ok", np.inf)


def interval(values: Any) -> str:
    """Mean and 95% confidence interval over seeds."""
    values = np.asarray(values, float)
    if not np.isfinite(values).all():
        return f"diverged in {(~np.isfinite(values)).sum()} of {len(values)} runs"
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.2f} ± {half:.2f}"


def less(one: pd.Series, other: pd.Series) -> tuple[str, bool]:
    """Whether one is less than the other, in pairs of equal seeds: the difference's interval, and the verdict."""
    difference = (one - other).to_numpy()
    if not np.isfinite(difference).all():
        return "not comparable", bool(np.nanmean(one) < np.nanmean(other))
    return interval(difference), bool(difference.mean() < 0)


def curves(axis: Any, table: pd.DataFrame, column: str) -> None:
    """Mean over seeds against the step, at each loss' own rate, and its standard error."""
    runs = chosen(table)
    runs = runs[(runs.status == "ok") & (runs.step > 0)]
    for loss in LOSSES:
        rows = runs[runs.loss == loss].groupby("step")[column].agg(["mean", "sem"])
        colour, line = LINES[loss]
        axis.plot(rows.index, rows["mean"], line, color=colour, label=words(loss))
        axis.fill_between(
            rows.index, rows["mean"] - rows["sem"], rows["mean"] + rows["sem"], color=colour, alpha=0.15, lw=0
        )
    axis.set_xscale("log")
    axis.set_xlabel("step of the optimizer (64 clips each)")


def search(table: pd.DataFrame) -> str:
    """The same for every loss."""
    best = chosen(table).groupby("loss").rate.first()
    rates = ", ".join(f"{words(loss)} {best[loss]:g}" for loss in LOSSES if loss in best)
    return f"Adam's rate from {', '.join(f'{r:g}' for r in RATES)}, the same search for each loss: {rates}"
