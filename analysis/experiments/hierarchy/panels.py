"""How figure 7 looks: curves over epochs, outcomes against the number of samples, the table."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd

from analysis.engine import style
from analysis.engine.intervals import interval
from analysis.experiments.hierarchy import statistics
from analysis.experiments.hierarchy.claims import words
from analysis.experiments.hierarchy.experiment import DATA, SIMULATED, TOGETHER

LINES = {
    "CE": (style.ORANGE, "-", "o"),
    "EMD2": (style.RED, "-", "s"),
    "EMD2+CE": (style.BLUE, "-", "^"),
    "SD+CE": (style.GREEN, "--", "D"),
    "EMD": (style.PURPLE, ":", "v"),
    "SD": (style.BLACK, ":", "x"),
}
NAMES = {
    "top1": "top-1 accuracy",
    "holistic": "holistic error (edges)",
    "severity": "mistake severity (edges)",
}
SMALL = 5.5  # points
WIDE = 145  # letters in a line over the panels


def kind(part: str) -> str:
    """In each panel's title: what the features are."""
    return "simulated" if part == SIMULATED else "real data"


def curves(axis: Any, table: pd.DataFrame, part: str, size: int, measure: str) -> None:
    """Mean over seeds and its interval, in each loss' own setting, against the epoch."""
    rows = statistics.chosen(table)
    rows = rows[(rows.part == part) & (rows["size"] == size) & (rows.status == "ok")]
    for loss, (colour, line, _) in LINES.items():
        runs = rows[rows.loss == loss].groupby("epoch")[measure]
        if not len(runs):
            continue
        bands = [interval(values) for _, values in runs]
        at = np.array(list(runs.groups))
        axis.plot(at, [band.mean for band in bands], line, color=colour, label=words(loss))
        axis.fill_between(at, [b.low for b in bands], [b.high for b in bands], color=colour, alpha=0.2, lw=0)
    axis.set_xscale("symlog", linthresh=_first(rows))
    axis.set_xticks([x for x in (0, 1, 10, 100, 1000) if x <= rows.epoch.max()])
    axis.set(xlabel="epoch", ylabel=NAMES[measure])
    _plain(axis, measure)


def growth(axis: Any, summary: pd.DataFrame, part: str, measure: str) -> None:
    """The end of training against the number of samples of each class."""
    found = summary[(summary.part == part) & (summary.measure == measure)]
    for loss in TOGETHER:
        rows = found[found.loss == loss].sort_values("size")
        colour, line, marker = LINES[loss]
        bars = [rows["mean"] - rows.low, rows.high - rows["mean"]]
        axis.errorbar(rows["size"], rows["mean"], bars, fmt=line, color=colour, marker=marker, ms=3, label=words(loss))
    axis.set_xscale("log")
    sizes = sorted(found["size"].unique())
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.minorticks_off()
    axis.set(xlabel="samples of each class", ylabel=NAMES[measure])
    _plain(axis, measure)


def searched(table: pd.DataFrame) -> str:
    """The search in words; it is the same for every loss."""
    tried = table[table.stage == "search"]
    seeds, rates = tried.seed.nunique(), tried.groupby("optimizer", sort=False).rate.unique().map(sorted)
    grid = ", ".join(f"{name} at {', '.join(f'{rate:g}' for rate in found)}" for name, found in rates.items())
    edge = [
        f"{words(loss)} at {size} ({name} {rate:g})"
        for (_, size, loss), (name, rate) in statistics.best(table).items()
        if rate in (rates[name][0], rates[name][-1])
    ]
    text = (
        f"The same search for each loss and number of samples: {grid}, {seeds} seed{'s' * (seeds > 1)} each, "
        f"by top-1 accuracy on samples neither trained on nor tested; then {table.seed.nunique()} seeds with the best. "
        f"Best at the end of a grid: {', '.join(edge) if edge else 'none'}."
    )
    return "\n".join(textwrap.wrap(text, WIDE))


def sheet(summary: pd.DataFrame) -> Any:
    """Means and differences from CE, line by line."""
    lines = [
        _cells(*key, rows.set_index("measure")) for key, rows in summary.groupby(["part", "size", "loss"], sort=False)
    ]
    fig, axis = style.figure(0.13 * (len(lines) + 3), 1, 1)
    axis.axis("off")
    heads = ["part", "samples", "loss", "optimizer"]
    for name in ("top-1, %", "holistic, edges", "severity, edges"):
        heads += [name, "minus CE"]
    drawn = axis.table(
        lines, colLabels=heads, loc="upper center", cellLoc="right", edges="horizontal", colWidths=WIDTHS
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(SMALL)
    for cell in drawn.get_celld().values():
        cell.set_linewidth(0.2)
        cell.set_height(1 / (len(lines) + 2))
    fig.suptitle(
        "Means over seeds ± half of the 95% interval, and the difference from CE in pairs of equal seeds; * p < 0.05 "
        "in a paired t test,\n** also with Holm's correction for all comparisons of the part. Part (i) is simulated; "
        + ("(ii) is real data." if (summary.part == DATA).any() else "(ii) is left out."),
        fontsize=SMALL + 0.5,
    )
    return fig


WIDTHS = (0.04, 0.06, 0.07, 0.08, 0.115, 0.135, 0.115, 0.135, 0.115, 0.135)


def _cells(part: str, size: int, loss: str, rows: pd.DataFrame) -> list[str]:
    first = rows.iloc[0]
    cells = [f"({'i' * (1 + (part == DATA))})", str(size), words(loss), f"{first.optimizer} {first.rate:g}"]
    for measure in statistics.MEASURES:
        row, factor = rows.loc[measure], 100 if measure == "top1" else 1
        half, apart = row.high - row["mean"], row.minus_CE_high - row.minus_CE
        lost = f" [{row.diverged:.0f} lost]" if row.diverged else ""
        cells.append(f"{factor * row['mean']:.2f} ± {factor * half:.2f}{lost}")
        mark = " **" if row.p_holm < 0.05 else " *" if row.p < 0.05 else ""
        cells.append("" if np.isnan(apart) else f"{factor * row.minus_CE:+.2f} ± {factor * apart:.2f}{mark}")
    return cells


def _plain(axis: Any, measure: str) -> None:
    if measure == "top1":
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_ylim(bottom=0)


def _first(rows: pd.DataFrame) -> float:
    """The first epoch measured after 0, where the logarithmic scale begins."""
    later = rows.epoch[rows.epoch > 0]
    return float(later.min()) if len(later) else 1.0
