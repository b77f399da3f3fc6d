"""How figure 7 looks: curves over epochs, differences from CE, training and widths, real data against samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.engine import style
from analysis.engine.intervals import interval
from analysis.experiments.hierarchy import statistics
from analysis.experiments.hierarchy.claims import words
from analysis.experiments.hierarchy.perceptron import WIDTH
from analysis.experiments.hierarchy.plan import DATA, DIGITS, DRAWN, SIMULATED, WIDTHS

LINES = {  # colour, dashes, marker
    "CE": (style.ORANGE, (), "o"),
    "EMD2": (style.RED, (5, 1), "s"),
    "EMD2+CE": (style.BLUE, (3, 1, 1, 1), "^"),
    "SD+CE": (style.GREEN, (1, 1), "D"),
    "0.1 EMD2+CE": (style.SKY, (), "<"),
    "10 EMD2+CE": (style.PURPLE, (), ">"),
    "SD+CE 1:1": (style.GREY, (), "P"),
    "EMD": (style.BLACK, (4, 1, 1, 1), "v"),
    "SD": (style.BLACK, (1, 1), "x"),
}
NAMES = {
    "top1": "top-1 accuracy",
    "emd": "holistic error (edges)",
    "emd2": "holistic error (edges)",
    "training_top1": "training top-1",
    "training_loss": "training loss over its start",
}
KINDS = {SIMULATED: "simulated", DATA: "leaves", DIGITS: "digits"}
FEWEST = 3  # seeds with an interval that is drawn
SCALE = {"top1": 100.0}
UNITS = {"top1": "points", "emd": "edges", "emd2": "edges"}
TITLES = {"top1": "top-1", "emd": "holistic error, ρ = 1", "emd2": "holistic error, ρ = 2"}


def curves(
    axis: Any, table: pd.DataFrame, measure: str, shown: str, size: int, losses: Any = DRAWN, part: str = SIMULATED
) -> None:
    """Mean over seeds and its interval against the epoch, in the settings chosen by `measure`."""
    rows = statistics.chosen(table[table.part == part], measure)
    rows = rows[(rows["size"] == size) & (rows.width == WIDTH) & (rows.status == "ok")]
    for loss in losses:
        runs = rows[rows.loss == loss]
        if not len(runs):
            continue
        by_epoch = _shared(runs, shown).groupby("epoch")[shown]
        bands = [interval(values) for _, values in by_epoch]
        colour, dashes, _ = LINES[loss]
        at = np.array(list(by_epoch.groups))
        axis.plot(
            at, [band.mean for band in bands], color=colour, dashes=dashes or (None, None), label=words(loss), lw=1.2
        )
        if runs.seed.nunique() >= FEWEST:
            axis.fill_between(at, [b.low for b in bands], [b.high for b in bands], color=colour, alpha=0.15, lw=0)
    axis.set_xscale("symlog", linthresh=1.0, linscale=0.4)
    axis.set_xticks([0, 1, 3, 10, 30, 60], ["0", "1", "3", "10", "30", "60"])
    axis.minorticks_off()
    axis.set_xlim(0, max(1.0, rows.epoch.max()))
    axis.set(xlabel="epoch", ylabel=NAMES[shown])
    _percent(axis, shown)
    if not shown.startswith("emd"):  # errors differ by less than they are
        axis.set_ylim(bottom=0)


def _shared(runs: pd.DataFrame, shown: str) -> pd.DataFrame:
    """A loss over its value untrained: those of different losses have no common scale."""
    if shown != "training_loss":
        return runs
    first = runs.sort_values("step").groupby(statistics.RUN)[shown].transform("first")
    return runs.assign(training_loss=runs[shown] / first)


def differences(axis: Any, summary: pd.DataFrame, part: str, measure: str, sizes: list[int], losses: list[str]) -> None:
    """Less CE's in pairs of equal seeds, with intervals, a row for each loss; filled where there are few samples."""
    found = summary[(summary.part == part) & (summary.measure == measure) & (summary.width == WIDTH)]
    factor = SCALE.get(measure, 1.0)
    for place, loss in enumerate(losses):
        for shift, size in zip(_shifts(len(sizes)), sizes, strict=True):
            row = found[(found.loss == loss) & (found["size"] == size)]
            if not len(row) or not np.isfinite(row.minus_CE_low.iloc[0]):
                continue
            mean, low, high = (factor * row[f"minus_CE{end}"].iloc[0] for end in ("", "_low", "_high"))
            colour, _, marker = LINES[loss]
            filled = {"mfc": colour if size == sizes[0] else "white", "color": colour}
            axis.errorbar(mean, place + shift, xerr=[[mean - low], [high - mean]], fmt=marker, ms=3.5, lw=1.0, **filled)
    axis.axvline(0, color=style.BLACK, lw=0.7)
    axis.set_yticks(range(len(losses)), [words(loss) for loss in losses])
    axis.set_ylim(len(losses) - 0.5, -0.5)
    axis.set(xlabel=f"less CE ({UNITS[measure]})")


def _shifts(count: int) -> list[float]:
    return list(np.linspace(-0.17, 0.17, count)) if count > 1 else [0.0]


def widths(axis: Any, summary: pd.DataFrame, size: int) -> None:
    """Top-1 against the hidden units: of test samples in full, of training samples in a thin line."""
    found = summary[(summary.part == SIMULATED) & (summary["size"] == size) & (summary.measure == "top1")]
    for loss in WIDTHS:
        rows = found[found.loss == loss].sort_values("width")
        colour, dashes, marker = LINES[loss]
        bars = np.where(rows.seeds >= FEWEST, [rows["mean"] - rows.low, rows.high - rows["mean"]], 0.0)
        line = axis.errorbar(rows.width, rows["mean"], np.nan_to_num(bars), color=colour, marker=marker, ms=3.5, lw=1.2)
        line[0].set_dashes(dashes or (None, None))
        axis.plot(rows.width, rows.training_top1, color=colour, marker=marker, ms=3, mfc="white", lw=0.6)
    style.log_axis(axis, "x")
    axis.set_xticks(sorted(found.width.unique()), [str(width) for width in sorted(found.width.unique())])
    axis.minorticks_off()
    axis.set(xlabel="hidden units", ylabel="top-1 (open: training)")
    _percent(axis, "top1")
    axis.set_ylim(0, 1.05)


def growth(axis: Any, summary: pd.DataFrame, part: str, measure: str) -> None:
    """The end of training against the number of samples of each class."""
    _by_size(axis, summary[(summary.part == part) & (summary.measure == measure)], ("mean", "low", "high"), DRAWN, 1.0)
    axis.set(ylabel=NAMES[measure])
    _percent(axis, measure)


def gaps(axis: Any, summary: pd.DataFrame, part: str, measure: str) -> None:
    """Differences from CE against the number of samples of each class."""
    found = summary[(summary.part == part) & (summary.measure == measure)]
    ends = ("minus_CE", "minus_CE_low", "minus_CE_high")
    _by_size(axis, found, ends, [loss for loss in DRAWN if loss != "CE"], SCALE.get(measure, 1.0))
    axis.axhline(0, color=style.BLACK, lw=0.7)
    axis.set(ylabel=f"{TITLES[measure].removeprefix('holistic ')}\nless CE ({UNITS[measure]})")


def _by_size(axis: Any, found: pd.DataFrame, ends: tuple[str, str, str], losses: Any, factor: float) -> None:
    sizes = sorted(found["size"].unique())
    for shift, loss in zip(np.linspace(-0.15, 0.15, len(losses)), losses, strict=True):
        rows = found[found.loss == loss].sort_values("size")
        mean, low, high = (factor * rows[name].to_numpy() for name in ends)
        colour, dashes, marker = LINES[loss]
        at = [sizes.index(size) + shift for size in rows["size"]]
        bars = axis.errorbar(
            at, mean, [mean - low, high - mean], color=colour, marker=marker, ms=3, lw=1.0, label=words(loss)
        )
        bars[0].set_dashes(dashes or (None, None))
    axis.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axis.set(xlabel="samples of each class")


def _percent(axis: Any, measure: str) -> None:
    if measure.endswith("top1"):
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
