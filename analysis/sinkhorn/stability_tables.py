"""Reading a table of `analysis.sinkhorn.stability`: which rows, and their medians and bands against lambda."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.sinkhorn.stability import LATE, POTENTIAL
from emdref.entropic.iteration import FAILED

BAND = (0.1, 0.5, 0.9)


def softmax(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of softmax pairs."""
    return table[table.target.str.startswith("softmax")]


def select(table: pd.DataFrame, gradient: str = POTENTIAL, variant: str = "paper", **key: Any) -> pd.DataFrame:
    """Rows that agree with the key; of one kind of gradient and one variant."""
    mask = (table.gradient == gradient) & (table.variant == variant)
    for name, value in key.items():
        mask &= table[name] == value
    return table[mask]


def reference(table: pd.DataFrame) -> pd.DataFrame:
    """The plain rows after most iterations, in float64 and the log domain."""
    rows = select(table, dtype="float64", kernel="space", domain="log")
    return rows[rows.cap == rows.groupby("lam").cap.transform("max")]


def short(table: pd.DataFrame) -> list[str]:
    """What speaks against the reference: that it has fewer iterations than the paper's."""
    most = int(reference(table).cap.max())
    return [f"the reference has {most} iterations, not {LATE[-1]}"] * (most < LATE[-1])


def limit(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that overrelaxation brought to convergence."""
    return select(table, variant="overrelaxed", status="converged")


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that returned a number, be it a wrong one."""
    return table[~table.status.isin(("nan", "overflow"))]


def sound(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose status is no failure."""
    return table[~table.status.isin(FAILED)]


def onehot_spread(table: pd.DataFrame) -> pd.Series:
    """How far the caps' ratios are apart for each pair with a one-hot target, in float64."""
    rows = sound(select(table, target="one-hot", dtype="float64", domain="linear"))
    return rows.groupby(["kernel", "lam", "pair"]).sd_over_emd.agg(np.ptp)


def alive(table: pd.DataFrame) -> float:
    """The largest lambda up to which at least half of the rows returned a number; 0 if there is none."""
    share = (numbers(table).groupby("lam").size() / table.groupby("lam").size()).fillna(0.0)
    return last_while(share >= 0.5)


def last_while(good: pd.Series) -> float:
    """The largest lambda up to which `good`, by increasing lambda, holds without a gap; 0 if it never does."""
    kept = good.index[good.cumprod().astype(bool)]
    return float(kept.max()) if len(kept) else 0.0


def last_sound(table: pd.DataFrame) -> pd.Series:
    """By pair: the largest lambda up to which its status is no failure; 0 if there is none."""
    good = table.assign(good=~table.status.isin(FAILED)).pivot(index="lam", columns="pair", values="good")
    return good.apply(last_while)


def span(values: pd.Series) -> str:
    """The least and the most of the pairs.

    >>> span(pd.Series([3.16228, 10.0])), span(pd.Series([2.0, 2.0]))
    ('3.16 to 10', '2')
    """
    ends = f"{values.min():.3g}", f"{values.max():.3g}"
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def whereabouts(table: pd.DataFrame) -> str:
    """The space, for captions: ReaL labels are those of the WordNet tree's classes."""
    return "on the WordNet tree" if table.target.eq("ReaL").any() else "on the space asked for"


def bands(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Quantiles by lambda over the rows that are a number, up to the last lambda at which at least half are."""
    found = numbers(table).groupby("lam")[column].quantile(list(BAND)).unstack().reindex(columns=BAND)
    return found.loc[: alive(table)]


def curve(axis: Any, quantiles: pd.DataFrame, band: bool = True, **look: Any) -> None:
    """The median as a line, from the 10th to the 90th percentile as a band."""
    if len(quantiles) == 0:
        axis.plot([], [], **look)
        return
    axis.plot(quantiles.index, quantiles[0.5], **look)
    if band:
        axis.fill_between(quantiles.index, quantiles[0.1], quantiles[0.9], color=look["color"], alpha=0.15, linewidth=0)
