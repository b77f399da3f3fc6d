"""What the table of runs says: settings chosen, means over seeds with intervals, losses compared in pairs of seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.engine.intervals import chance, holm, interval

MEASURES = ("top1", "holistic", "severity")
SETTING = ["optimizer", "rate"]
RUN = ["part", "size", "loss", *SETTING, "seed"]
FAILED = 0.0  # what a run that diverged counts as where settings are chosen


def last(table: pd.DataFrame) -> pd.DataFrame:
    """Each run's last row; what it measured is NaN if the run diverged."""
    rows = table.groupby(RUN, as_index=False, sort=False).tail(1).copy()
    rows.loc[rows.status != "ok", [*MEASURES, "choosing"]] = np.nan
    return rows


def best(table: pd.DataFrame) -> dict[tuple[str, int, str], tuple[str, float]]:
    """For each part, size and loss the optimizer and rate with the most right answers on the samples that choose."""
    found = last(table[table.stage == "search"])
    score = found.choosing.fillna(FAILED).groupby([found[name] for name in RUN[:-1]], sort=False).mean()
    return {key: tuple(scores.idxmax()[3:]) for key, scores in score.groupby(level=[0, 1, 2], sort=False)}


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of all runs, also those of the search, in their chosen settings."""
    settings = best(table)
    rows = zip(*(table[name] for name in RUN[:-1]), strict=True)
    return table[[settings[row[:3]] == row[3:] for row in rows]]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """For each part, size, loss and measure: mean and interval, difference from CE, p and p with Holm's correction.

    The correction is over all comparisons of a part.
    """
    ends = last(chosen(table))
    rows = []
    for (part, size, loss), runs in ends.groupby(["part", "size", "loss"], sort=False):
        base = ends[(ends.part == part) & (ends["size"] == size) & (ends.loss == "CE")].set_index("seed")
        rows += [_line(part, size, loss, measure, runs.set_index("seed"), base) for measure in MEASURES]
    found = pd.DataFrame(rows)
    found["p_holm"] = np.nan
    for _, some in found.groupby("part"):
        found.loc[some.index, "p_holm"] = holm(some.p)
    return found


def _line(part: str, size: int, loss: str, measure: str, runs: pd.DataFrame, base: pd.DataFrame) -> dict[str, Any]:
    lost = int((runs.status != "ok").sum())
    own = interval(runs[measure], lost)
    line = {"part": part, "size": size, "loss": loss, **runs[SETTING].iloc[0], "measure": measure, "seeds": own.n}
    line |= {"diverged": lost, "mean": own.mean, "low": own.low, "high": own.high}
    if loss == "CE":
        return line | dict.fromkeys(("minus_CE", "minus_CE_low", "minus_CE_high", "p"), np.nan)
    apart = runs[measure] - base[measure]
    pairs = interval(apart)
    return line | {"minus_CE": pairs.mean, "minus_CE_low": pairs.low, "minus_CE_high": pairs.high, "p": chance(apart)}
