"""What both breathing figures have in common: numbers and words from the table of runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.engine import intervals
from analysis.engine.reproduction import exact, like_another_seed
from analysis.engine.script import must
from analysis.experiments.breathing.experiment import SIMULATED
from analysis.experiments.breathing.plans import MEASURES, best, chosen, complete, quickest, searched, training

_RUN = ("part", "data", "device", "subjects", "loss", "rate", "until")
_NUMBERS = (
    "error", "emd", "emd2", "total", "gradient_sum", "gradient_sum_rms", "choosing_error", "choosing_emd",
    "train_error", "train_emd", "train_loss", "constant_error", "constant_emd", "chest_error", "chest_emd",
)  # fmt: skip
KINDS = exact(*_RUN, "seed", "step", "epoch", "status") | like_another_seed(_NUMBERS, (*_RUN, "step"))
UNIT = "breaths per minute"  # of both measures, as a bin is one wide
SETTLED = 0.1  # of the way from the untrained error to the last: what is left to go when a run counts as converged


def words(loss: str) -> str:
    """As a legend says it."""
    names = {
        "EMD normalized": "gEMD",
        "EMD scaled": "gEMD_L1",
        "EMD zero-sum": "EMD",
        "EMD2": "EMD²",
        "SD centred": "SD, centred",
        "EMD normalized + MSE": "gEMD, 0.1 MSE",
        "EMD scaled + MSE": "gEMD_L1, 0.1 MSE",
    }
    return names.get(loss, loss)


def origin(table: pd.DataFrame) -> str:
    """What the clips are: "simulated cohort", or the name of the records' folder."""
    return "simulated cohort" if simulated(table) else training(table).data.iloc[0]


def simulated(table: pd.DataFrame) -> bool:
    """Whether no recordings were given."""
    return training(table).data.iloc[0] == SIMULATED


# --- numbers ----------------------------------------------------------------------------------------------------------


def last(runs: pd.DataFrame, column: str) -> pd.Series:
    """At the last measurement, by loss and seed; NaN where the run diverged."""
    ends = runs.groupby(["loss", "seed"]).last()
    return ends[column].where(ends.status == "ok")


def converged(runs: pd.DataFrame, measure: str) -> pd.Series:
    """Epochs until 90% of the way from the untrained error to the last one are gone; NaN where the run diverged."""
    return runs.groupby(["loss", "seed"]).apply(_converged, measure, include_groups=False)


def _converged(run: pd.DataFrame, measure: str) -> float:
    error = run[measure]
    if (run.status != "ok").any():
        return np.nan
    begin, end = error.iloc[0], error.iloc[-1]
    return float(run.epoch[error <= end + SETTLED * max(begin - end, 0)].iloc[0])


def mean(values: Any) -> str:
    """Mean and 95% confidence interval over seeds, by Student's t; of the runs that diverged, how many.

    >>> mean([1.0, 2.0, 3.0])
    '2.00 ± 2.48'
    """
    values = np.asarray(values, float)
    lost = int((~np.isfinite(values)).sum())
    if lost:
        return f"diverged in {lost} of {len(values)} runs"
    return f"{values.mean():.2f} ± {intervals.interval(values).half():.2f}"


# --- the record -------------------------------------------------------------------------------------------------------


def check(table: pd.DataFrame) -> None:
    """Every loss was tried at every rate with the same seeds, and training helps somewhere."""
    runs = complete(table)
    tried = searched(runs).groupby("loss").rate.nunique()
    must(set(tried.index) == set(runs.loss), "a loss is missing")
    must(tried.min() > 1, "a loss was tried at one rate alone")
    for measure in MEASURES:
        start = runs[runs.step == 0][measure].mean()
        must(last(chosen(table, measure), measure).min() < start, "no loss gets better than the untrained network")


def told(table: pd.DataFrame) -> dict[str, Any]:
    """For the record."""
    every, tried = training(table), searched(complete(table)).groupby("loss").rate
    return {
        "clips": origin(table),
        "trained_on": sorted(every.device.unique()),
        "epochs": int(every.until.max()),
        "tried": {loss: sorted(rates.unique()) for loss, rates in tried},
        "rates": {measure: best(table, measure).to_dict() for measure in MEASURES},
        "quickest": {measure: quickest(table, measure).to_dict() for measure in MEASURES},
        "seeds": {measure: chosen(table, measure).groupby("loss").seed.nunique().to_dict() for measure in MEASURES},
        "diverged": diverged(table),
    }


def diverged(table: pd.DataFrame) -> str:
    """How many runs, and which."""
    ends = training(table).groupby(["loss", "rate", "seed", "until"]).status.last()
    lost = ends[ends != "ok"].groupby(["loss", "rate"]).size()
    named = "; ".join(f"{words(loss)} at {rate:g}: {count}" for (loss, rate), count in lost.items())
    return f"{lost.sum()} of {len(ends)} runs diverged" + (f" ({named})" if named else "")
