"""What both breathing figures have in common: numbers, words and panels from the table of runs."""

from __future__ import annotations

import textwrap
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator

from analysis.engine import intervals, style
from analysis.engine.claims import Claim
from analysis.engine.reproduction import exact, like_another_seed
from analysis.engine.script import must
from analysis.experiments.breathing.experiment import (
    LOSSES,
    SIMULATED,
    best,
    chosen,
    fastest,
    quickest,
    searched,
    training,
)

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
PURE = ("MSE", "KL", "EMD normalized", "EMD zero-sum", "EMD2", "SD")
_RUN = ("part", "data", "device", "subjects", "loss", "rate")
KINDS = exact(*_RUN, "seed", "step", "epoch", "status") | like_another_seed(
    ("error", "total", "gradient_sum", "gradient_sum_rms", "constant", "chest", "choosing"), (*_RUN, "step")
)
SETTLED = 0.1  # of the way from the untrained error to the last: what is left to go when a run counts as converged


def words(loss: str) -> str:
    """As a legend says it."""
    loss = loss.replace("EMD2", "EMD²").replace(" layer", ", through the division")
    return loss.replace(" normalized", ", normalized").replace(" zero-sum", ", zero-sum").replace(" + MSE", ", 0.1 MSE")


def origin(table: pd.DataFrame) -> str:
    """What the clips are, for every title and caption: "simulated", or the name of the records' folder."""
    return "simulated cohort" if simulated(table) else training(table).data.iloc[0]


def simulated(table: pd.DataFrame) -> bool:
    """Whether no recordings were given."""
    return training(table).data.iloc[0] == SIMULATED


# --- numbers ----------------------------------------------------------------------------------------------------------


def runs(table: pd.DataFrame) -> Any:
    """The chosen runs, by loss and seed."""
    return chosen(table).groupby(["loss", "seed"])


def early(table: pd.DataFrame) -> pd.Series:
    """Mean error over the measurements of the first epoch, even on a logarithmic clock; inf if it diverged.

    Each loss at its quickest rate, by loss and seed.
    """
    first = fastest(table).query("0 < epoch <= 1").groupby(["loss", "seed"])
    return first.error.mean().where(~first.status.agg(_diverged), np.inf)


def final(table: pd.DataFrame) -> pd.Series:
    """Error at the last measurement, by loss and seed; inf where the run diverged."""
    last = runs(table).last()
    return last.error.where(last.status == "ok", np.inf)


def converged(table: pd.DataFrame) -> pd.Series:
    """Epochs until 90% of the way from the untrained error to the last one are gone; inf where the run diverged."""
    return runs(table).apply(_converged, include_groups=False)


def _converged(run: pd.DataFrame) -> float:
    if _diverged(run.status):
        return np.inf
    begin, end = run.error.iloc[0], run.error.iloc[-1]
    return float(run.epoch[run.error <= end + SETTLED * max(begin - end, 0)].iloc[0])


def _diverged(status: pd.Series) -> bool:
    return bool((status != "ok").any())


def interval(values: Any) -> str:
    """Mean and 95% confidence interval over seeds, by Student's t; of the runs that diverged, how many.

    >>> interval([1.0, 2.0, 3.0])
    '2.00 ± 2.48'
    """
    values = np.asarray(values, float)
    lost = int((~np.isfinite(values)).sum())
    if lost:
        return f"diverged in {lost} of {len(values)} runs"
    return f"{values.mean():.2f} ± {intervals.interval(values).half():.2f}"


class Difference(NamedTuple):
    """In pairs of equal seeds."""

    words: str
    less: bool  # its 95% interval lies below 0


def less(one: pd.Series, other: pd.Series) -> Difference:
    """One minus the other: its mean, its interval, and whether that is below 0."""
    difference = (one - other).to_numpy(float)
    lost = int((~np.isfinite(difference)).sum())
    if lost:
        return Difference(f"not comparable, diverged in {lost} of {len(difference)} pairs", False)
    found = intervals.interval(difference)
    doubt = ", an interval that includes 0" * found.open()
    return Difference(f"{found.mean:+.2f} ± {found.half():.2f}{doubt}", found.below())


def contest(values: pd.Series, ours: str, others: tuple[str, ...]) -> tuple[str, bool]:
    """One loss against others: everybody's numbers, the differences, and whether ours is less than each."""
    found = [(loss, less(values[ours], values[loss])) for loss in others]
    parts = [f"{words(loss)} {interval(values[loss])} (difference {x.words})" for loss, x in found]
    return f"{words(ours)} {interval(values[ours])}; against " + "; ".join(parts), all(x.less for _, x in found)


# --- words ------------------------------------------------------------------------------------------------------------


def claim(table: pd.DataFrame, source: str, claimed: str, found: str, holds: bool | None) -> Claim:
    """That says what the clips are."""
    return Claim(source, claimed, f"{origin(table)}, {found}", holds)


def compared(table: pd.DataFrame, source: str, claimed: str, what: str, ours: str, others: tuple[str, ...]) -> Claim:
    """Of one loss that is to be better than others; `what` is ``early`` or ``final``."""
    text = {"early": "mean error over the first epoch", "final": "error at the end"}[what]
    found, holds = contest({"early": early, "final": final}[what](table), ours, others)
    if what == "early":
        rates = quickest(table)
        found += "; rates, the quickest: " + ", ".join(f"{words(loss)} {rates[loss]:g}" for loss in (ours, *others))
    return claim(table, source, claimed, f"{text}, breaths per minute: {found}", holds)


def check(table: pd.DataFrame) -> None:
    """Every loss was tried at every rate with the same seeds, and training helps somewhere."""
    every, tried = training(table), searched(table)
    must(set(every.loss) == set(LOSSES), "a loss is missing")
    must(
        tried.groupby("loss").apply(_runs, include_groups=False).nunique() == 1, "a loss was searched more than another"
    )
    must(final(table).min() < every[every.step == 0].error.mean(), "no loss gets better than the untrained network")


def _runs(rows: pd.DataFrame) -> int:
    return len(rows[["rate", "seed"]].drop_duplicates())


def told(table: pd.DataFrame) -> dict[str, Any]:
    """For the record."""
    every = training(table)
    return {
        "clips": origin(table),
        "trained_on": sorted(every.device.unique()),
        "search": search(table),
        "diverged": diverged(table),
        "rates": {loss: float(rate) for loss, rate in best(table).items()},
    }


def search(table: pd.DataFrame) -> str:
    """The budget, the same for every loss, and what it has found."""
    every, rates = training(table), best(table)
    grid = sorted(every.rate.unique())
    counts = every.groupby(["loss", "rate"]).seed.nunique()
    edge = [words(loss) for loss in LOSSES if rates[loss] in (grid[0], grid[-1])]
    return (
        "Adam's rate is chosen for each loss from "
        f"{', '.join(f'{rate:g}' for rate in grid)}, with {_seeds(counts.min())} "
        f"at each, on subjects that are neither trained on nor tested; {_seeds(counts.max())} are run at it: "
        + ", ".join(f"{words(loss)} {rates[loss]:g}" for loss in LOSSES)
        + f" (at the edge of the grid: {'; '.join(edge)})" * bool(edge)
        + "; as many at the rate with the least error over the first epoch, for panel b and what is said of speed"
    )


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count > 1 else ''}"


def diverged(table: pd.DataFrame) -> str:
    """How many runs, and which."""
    last = training(table).groupby(["loss", "rate", "seed"]).status.last()
    lost = last[last != "ok"].groupby(["loss", "rate"]).size()
    named = "; ".join(f"{words(loss)} at {rate:g}: {count}" for (loss, rate), count in lost.items())
    return f"{lost.sum()} of {len(last)} runs diverged" + (f" ({named})" if named else "")


def note(table: pd.DataFrame) -> str:
    """Under the panels."""
    subjects = int(training(table).subjects.iloc[0])
    return (
        f"{_sentence(origin(table))}; {subjects} unseen subject{'s' if subjects > 1 else ''} tested. "
        "Lines: mean over seeds, bands: 95% interval; intervals in the text: 95% each, by Student's t, differences in "
        "pairs of equal seeds. "
        f"{search(table)}. {_sentence(diverged(table))}. "
        "KL is of the output with 0.01 more in each bin, without which it trains worse."
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


# --- panels -----------------------------------------------------------------------------------------------------------


def panels(table: pd.DataFrame, network: str) -> Any:
    """Errors of the papers' losses and of their mixtures, the gradient's sum, and the output's total."""
    fig, axes = style.figure(4.8, 2, 3, sharex=True)
    (end, quick, mixed), (sums, totals, legend) = axes
    _errors(end, table, chosen(table), PURE)
    _errors(quick, table, fastest(table), PURE)
    _errors(mixed, table, chosen(table), tuple(loss for loss in LOSSES if loss not in PURE))
    end.set_ylabel("distance of the largest peaks\n(breaths per minute)")
    for axis in (quick, mixed):
        axis.sharey(end)
    _sums(sums, chosen(table))
    curves(totals, chosen(table), "total", LOSSES, band=False)
    totals.axhline(1, color=style.BLACK, lw=0.6, ls="--")
    totals.set(ylabel="output's total (target 1)", yscale="log")
    titles = ("error", "quickest rates", "other losses", "gradient", "mass")
    for axis, text, title in zip(axes.flat, "abcde", titles, strict=False):
        style.letter(axis, text, f"{title} ({origin(table).split()[0]})")
    for axis in (mixed, sums, totals):
        axis.set_xlabel("step (64 clips each)")
        axis.tick_params(labelbottom=True)
    legend.axis("off")
    legend.legend(handles=_handles(), loc="center", fontsize=6.5)
    fig.suptitle(f"{network}: {origin(table)}", fontsize=8)
    fig.supxlabel(textwrap.fill(note(table), 165), fontsize=5.5, ha="left", x=0.01)
    return fig


def _sums(axis: Any, some: pd.DataFrame) -> None:
    curves(axis, some, "gradient_sum", LOSSES, band=False)
    axis.set_yscale("symlog", linthresh=0.1)
    axis.set_ylabel("sum of the gradient\nover bins")
    axis.annotate("EMD, zero-sum, and EMD²", (1, 0), (0, 2), textcoords="offset points", fontsize=5.5)


def _handles() -> list[Any]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], color=LINES[x][0], ls=LINES[x][1], label=words(x)) for x in LOSSES]


def _errors(axis: Any, table: pd.DataFrame, some: pd.DataFrame, losses: tuple[str, ...]) -> None:
    curves(axis, some, "error", losses)
    without = training(table)[["constant", "chest"]].mean()
    for name, text, x in (("constant", "always the median rate", 0.42), ("chest", "the chest's own peak", 0.01)):
        axis.axhline(without[name], color=style.GREY, lw=0.8, ls="--")
        axis.annotate(text, (x, without[name]), (0, 2), ("axes fraction", "data"), "offset points", fontsize=5.5,
                      color=style.GREY)  # fmt: skip
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 4)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("")


def curves(axis: Any, some: pd.DataFrame, column: str, losses: tuple[str, ...], band: bool = True) -> None:
    """Mean over seeds against the step, of the runs of each loss among these, and its 95% interval."""
    alive = some.query("status == 'ok' and step > 0")
    for loss in losses:
        steps = {step: intervals.interval(values) for step, values in alive[alive.loss == loss].groupby("step")[column]}
        colour, line = LINES[loss]
        at, means = list(steps), [found.mean for found in steps.values()]
        axis.plot(at, means, line, color=colour)
        if band:
            low = [max(found.low, found.mean / 10) for found in steps.values()]  # on a logarithmic axis
            axis.fill_between(at, low, [found.high for found in steps.values()], color=colour, alpha=0.15, lw=0)
    axis.set_xscale("log")
