"""What the table of runs says: settings chosen, means over seeds with intervals, losses compared in pairs of seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

MEASURES = ("top1", "holistic", "severity")
SETTING = ["optimizer", "rate"]
RUN = ["part", "size", "loss", *SETTING, "seed"]
LEVEL = 0.95
FAILED = 0.0  # what a run that diverged counts as where settings are chosen


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its confidence interval; `lost` of the seeds diverged and are not in it."""

    n: int
    mean: float
    low: float
    high: float
    lost: int = 0

    def above(self) -> bool:
        """The whole interval is above 0, and no run was lost."""
        return not self.lost and self.low > 0

    def below(self) -> bool:
        """The whole interval is below 0, and no run was lost."""
        return not self.lost and self.high < 0

    def open(self) -> bool:
        """0 is in it, or there is none."""
        return not (self.low > 0 or self.high < 0)


def interval(values: Any, lost: int = 0) -> Interval:
    """Student's, of the values that are numbers.

    >>> interval([1.0, 2.0, 3.0])
    Interval(n=3, mean=2.0, low=-0.484..., high=4.484..., lost=0)
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    n = len(values)
    if n < 2:
        return Interval(n, values.mean() if n else np.nan, np.nan, np.nan, lost)
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    mean = float(values.mean())
    return Interval(n, mean, float(mean - half), float(mean + half), lost)


def chance(differences: Any) -> float:
    """p of the paired t test, two-sided: how likely so large a mean difference is where there is none."""
    differences = np.asarray(differences, float)
    differences = differences[np.isfinite(differences)]
    if len(differences) < 2:
        return np.nan
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    if error == 0:
        return float(differences[0] == 0)
    return float(2 * stats.t.sf(abs(differences.mean()) / error, len(differences) - 1))


def holm(chances: Any) -> np.ndarray:
    """Holm's correction of p values that are tested together; NaN are none of them.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    chances = np.asarray(chances, float)
    corrected = np.full(len(chances), np.nan)
    order = np.argsort(chances)[: np.isfinite(chances).sum()]
    steps = chances[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


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


def against(one: pd.Series, other: pd.Series, lost: int = 0) -> Interval:
    """One less the other, in pairs of equal seeds."""
    return interval((one - other).to_numpy(), lost)


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
