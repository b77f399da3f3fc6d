"""Pictures of both breathing figures: the papers' own view first, the rest on a second sheet."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from analysis.engine import intervals, style
from analysis.experiments.breathing import plans
from analysis.experiments.breathing.plans import chosen, complete, fastest, training
from analysis.experiments.breathing.report import simulated, words

LINES = {
    "MSE": (style.ORANGE, "-"),
    "KL": (style.PURPLE, "-"),
    "EMD normalized": (style.SKY, "-"),
    "EMD normalized + MSE": (style.SKY, "-"),
    "EMD scaled": (style.BLUE, "-"),
    "EMD scaled + MSE": (style.BLUE, "-"),
    "EMD zero-sum": (style.BLACK, "-"),
    "EMD2": (style.RED, "-"),
    "SD": (style.GREEN, "-"),
    "SD centred": (style.GREEN, "--"),
}
PRINTED = ("MSE", "SD", "EMD2")
PURE = ("EMD scaled", "EMD normalized", "MSE", "KL")
MIXED = ("EMD scaled + MSE", "EMD normalized + MSE", "MSE", "KL")
EMD, PEAKS = "EMD of the spectrum\n(breaths per minute)", "distance of the peaks\n(breaths per minute)"
FIGURE6 = {
    "": "The EMD between predicted and nasal spectra of subjects that no network has seen, each loss at the rate that "
    "ends best: lines are means over seeds, bands their 95% intervals. Dashed lines need no network: the mean spectrum "
    "as a constant guess, and the chest's own spectrum.",
    "_losses": "All losses by both measures, in full, over the first epoch at the rates that begin best, and on clips "
    "trained on. EMD is the zero-sum gradient, gEMD the one whose sum is not 0; SD hands its arbitrary constant on to "
    "the network, SD centred does not.",
}
ICML = {
    "": "Left the distance between the largest peaks of predicted and nasal spectra, EMD being mixed with 0.1 MSE as "
    "in the paper and each loss at the rate that ends best; right the sum over bins of the gradient of EMD alone. "
    "Lines are means over seeds, bands their 95% intervals, and dashed lines need no network.",
    "_more": "The distance of the peaks without MSE at the rates that end and begin best, without and with 0.1 MSE at "
    "one rate for all, Adam's 0.001, the output's total, and the EMD of the spectrum. The gradient of gEMD_L1 is 30 "
    "times that of the arXiv paper's EMD, and the target's total is 1.",
}


def figure6(table: pd.DataFrame) -> dict[str, Any]:
    """The paper's panel, and all losses."""
    fig, axis = style.figure(2.5)
    _epochs(axis, chosen(table, "emd"), "emd", PRINTED)
    _without(axis, table, "emd")
    axis.set(xlabel="epochs", ylabel=EMD)
    fig.legend(handles=_handles(PRINTED), loc="outside lower center", ncols=3)
    fig.suptitle(f"Fig. 6: breathing spectra, 16 filters ({_short(table)})")
    return {"": fig, "_losses": _losses(table)}


def _losses(table: pd.DataFrame) -> Any:
    losses = tuple(loss for loss in LINES if loss in set(training(table).loss))
    fig, axes = style.figure(6.0, 3, 2)
    for row, measure, label in ((0, "emd", EMD), (1, "error", PEAKS)):
        _epochs(axes[row, 0], chosen(table, measure), measure, losses, band=False)
        _epochs(axes[row, 1], fastest(table, measure), measure, losses, band=False)
        _without(axes[row, 0], table, measure, named=False)
        axes[row, 0].set_ylabel(label)
    _epochs(axes[2, 0], chosen(table, "emd"), "train_emd", losses, band=False)
    _epochs(axes[2, 1], chosen(table, "error"), "train_error", losses, band=False)
    axes[2, 0].set_ylabel("on clips trained on\n(breaths per minute)")
    titles = ("best at the end", "quickest", "best at the end", "quickest", "trained on, EMD", "trained on, peaks")
    for axis, text, title in zip(axes.flat, "abcdef", titles, strict=True):
        style.letter(axis, text, title)
        axis.set_xlabel("epochs")
    fig.legend(handles=_handles(losses), loc="outside lower center", ncols=4, columnspacing=1.2)
    fig.suptitle(f"All losses, 16 filters ({_short(table)})")
    return fig


def icml(table: pd.DataFrame) -> dict[str, Any]:
    """The paper's two panels, and what they leave open."""
    fig, (left, right) = style.figure(2.5, 1, 2)
    _epochs(left, chosen(table, "error"), "error", MIXED)
    _without(left, table, "error", named=False)
    left.set_ylabel(PEAKS)
    _gradients(right, table)
    for axis, text, title in ((left, "a", "validation error"), (right, "b", "sum of gradient")):
        style.letter(axis, text, title)
        axis.set_xlabel("epochs")
    fig.legend(handles=_handles(PURE), loc="outside lower center", ncols=4, columnspacing=1.2)
    fig.suptitle(f"Fig. 1: breathing rate, perceptron ({_short(table)})")
    return {"": fig, "_more": _more(table)}


def _gradients(axis: Any, table: pd.DataFrame) -> None:
    some = chosen(table, "error")
    _curves(axis, some, "gradient_sum", ("EMD normalized", "EMD scaled"), band=True)
    axis.set_ylabel("sum over bins (mean of clips)")


def _more(table: pd.DataFrame) -> Any:
    fig, axes = style.figure(6.0, 3, 2)
    common = complete(table)[complete(table).rate == plans.ICML.common]
    panels = [
        ("no MSE", chosen(table, "error"), "error", PURE, PEAKS),
        ("no MSE, quickest", fastest(table, "error"), "error", PURE, ""),
        ("no MSE, one rate", common, "error", PURE, PEAKS),
        ("0.1 MSE, one rate", common, "error", MIXED, ""),
        ("output's total", chosen(table, "error"), "total", PURE, "total (target 1)"),
        ("0.1 MSE, EMD", chosen(table, "emd"), "emd", MIXED, ""),
    ]
    for axis, text, (title, some, column, losses, label) in zip(axes.flat, "abcdef", panels, strict=True):
        _epochs(axis, some, column, losses, band=False)
        style.letter(axis, text, title)
        axis.set(xlabel="epochs", ylabel=label)
    mixed = MIXED[:2]
    _curves(axes[2, 0], chosen(table, "error"), "total", mixed, band=False, line="--")
    _ticks(axes[2, 0])
    handles = [*_handles(PURE), Line2D([], [], color=style.BLACK, ls="--", label="with 0.1 MSE (e)")]
    fig.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=1.2)
    fig.suptitle(f"What Fig. 1 leaves open, perceptron ({_short(table)})")
    return fig


def _short(table: pd.DataFrame) -> str:
    return "simulated" if simulated(table) else training(table).data.iloc[0]


def _handles(losses: tuple[str, ...]) -> list[Any]:
    return [Line2D([], [], color=LINES[x][0], ls=LINES[x][1], label=words(x)) for x in losses]


def _without(axis: Any, table: pd.DataFrame, measure: str, named: bool = True) -> None:
    """What needs no network."""
    for name, text, x, side in (
        ("constant", "constant guess", 0.99, "right"),
        ("chest", "the chest's own", 0.01, "left"),
    ):
        value = training(table)[f"{name}_{measure}"].mean()
        axis.axhline(value, color=style.GREY, lw=0.8, ls="--")
        if named:
            place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": side}
            axis.annotate(text, (x, value), (0, 2), color=style.GREY, **place)
    _ticks(axis)


def _epochs(axis: Any, some: pd.DataFrame, column: str, losses: tuple[str, ...], band: bool = True) -> None:
    """Curves on two logarithmic axes; means are always seen, a band may leave them."""
    _curves(axis, some, column, losses, band)
    style.log_axis(axis, "y")
    _ticks(axis)


def _ticks(axis: Any) -> None:
    """Around all lines, with enough labels."""
    seen = [y for line in axis.lines for y in line.get_ydata() if y > 0]
    low, high = 0.9 * min(seen), 1.1 * max(seen)
    axis.set_ylim(low, high)
    axis.yaxis.set_minor_locator(NullLocator())
    base = 2 if high / low < 100 else 10
    ticks = [float(base) ** k for k in range(-20, 20) if low <= float(base) ** k <= high]
    axis.set_yticks(ticks[:: max(len(ticks) // 6, 1)])


def _curves(
    axis: Any, some: pd.DataFrame, column: str, losses: tuple[str, ...], band: bool = True, line: str = ""
) -> None:
    """Mean over seeds against the epoch, of the runs of each loss among these, and its 95% interval."""
    alive = some.query("status == 'ok' and step > 0")
    for loss in losses:
        by_epoch = alive[alive.loss == loss].groupby("epoch")[column]
        found = {epoch: intervals.interval(values) for epoch, values in by_epoch}
        means = [each.mean for each in found.values()]
        axis.plot(list(found), means, line or LINES[loss][1], color=LINES[loss][0])
        if band:
            low, high = [each.low for each in found.values()], [each.high for each in found.values()]
            axis.fill_between(list(found), low, high, color=LINES[loss][0], alpha=0.15, lw=0)
    style.log_axis(axis, "x")
