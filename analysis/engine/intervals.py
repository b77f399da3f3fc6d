"""Means over seeds with their confidence intervals, and losses compared in pairs of equal seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its confidence interval; `lost` of the seeds diverged and are not in it."""

    n: int
    mean: float
    low: float
    high: float
    lost: int = 0

    def half(self) -> float:
        """Of the interval's width; inf where one value is all there is."""
        return self.high - self.mean if np.isfinite(self.high) else np.inf

    def above(self) -> bool:
        """The whole interval is above 0, and no run was lost."""
        return not self.lost and self.low > 0

    def open(self) -> bool:
        """0 is in it, or there is none."""
        return not (self.low > 0 or self.high < 0)


def interval(values: Any, lost: int = 0, level: float = LEVEL) -> Interval:
    """Student's, of the values that are numbers.

    >>> interval([1.0, 2.0, 3.0])
    Interval(n=3, mean=2.0, low=-0.484..., high=4.484..., lost=0)
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    n = len(values)
    if n < 2:
        return Interval(n, values.mean() if n else np.nan, np.nan, np.nan, lost)
    half = stats.t.ppf((1 + level) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
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
