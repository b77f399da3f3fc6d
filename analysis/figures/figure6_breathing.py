"""arXiv Fig. 6: a breathing signal's spectrum predicted from chest excursions, under all losses (simulated cohort).

16 temporal filters of width 11, tanh, a fully connected layer, squared; Adam.  The error is the distance between the
largest peaks of the predicted spectrum and the nasal one.  Subjects are split, never clips.  The recordings of the
paper are private: the cohort is simulated (analysis/experiments/breathing/cohort.py) unless --records names others.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.engine.cells import Cell, Rows
from analysis.engine.claims import Claim
from analysis.engine.script import Options
from analysis.experiments.breathing import cohort_sheet, experiment, report
from analysis.experiments.training.torch_extra import absent as absent

DTYPES = ("float32",)
PNG = True
KINDS = report.KINDS
NETWORK = "filters"
SECONDS = {"SD": 20.0, "other": 10.0}
SOURCE = "arXiv 1611.07573, Sec. 5.2"
FIGURE = "arXiv 1611.07573, Fig. 6"
check, told = report.check, report.told


def cells(options: Options) -> list[Cell]:
    """Each loss at every rate."""
    return experiment.search(f"{__name__}:run", NETWORK, options, SECONDS)


def then(table: pd.DataFrame, options: Options) -> list[Cell]:
    """Each loss at its rate, with more seeds."""
    return experiment.further(f"{__name__}:run", NETWORK, options, SECONDS, table)


def run(**parameters: Any) -> Rows:
    """One network trained."""
    return experiment.trained(f"{__name__}:run", **parameters)


def claims(table: pd.DataFrame) -> list[Claim]:
    """Of the experiment's section, its figure and the conclusions."""
    pairs = [
        (FIGURE, "EMD² learns significantly faster than MSE", "early", "EMD2", ("MSE",)),
        (FIGURE, "SD learns significantly faster than MSE", "early", "SD", ("MSE",)),
        (FIGURE, "over a longer period EMD² achieves better accuracy than SD", "final", "EMD2", ("SD",)),
        (SOURCE, "EMD² outperforms MSE", "final", "EMD2", ("MSE",)),
        (SOURCE, "SD outperforms MSE", "final", "SD", ("MSE",)),
        ("arXiv 1611.07573, Sec. 1", "EMD converges faster than SD and MSE", "early", "EMD2", ("SD", "MSE")),
    ]
    return [*(report.compared(table, *pair) for pair in pairs), _at_once(table), _all(table)]


def _at_once(table: pd.DataFrame) -> Claim:
    epochs = report.converged(table)
    found = [report.less(epochs[loss], 0 * epochs[loss] + 1) for loss in ("EMD2", "SD")]
    text = ", ".join(f"{report.words(loss)} {report.interval(epochs[loss])}" for loss in ("EMD2", "SD", "MSE"))
    return report.claim(
        table,
        SOURCE,
        "EMD² and SD converge in a fraction of the first epoch",
        f"epochs until 90% of the way from the untrained error to the last are gone: {text}",
        all(x.less for x in found),
    )


def _all(table: pd.DataFrame) -> Claim:
    """Convergence means more than what needs no network."""
    losses = ("MSE", "EMD2", "SD")
    error, runs = report.final(table), report.runs(table)
    constant, chest = runs.constant.first(), runs.chest.first()
    found = [report.less(error[loss], constant[loss]) for loss in losses]
    text = ", ".join(f"{report.words(loss)} {report.interval(error[loss])}" for loss in losses)
    return report.claim(
        table,
        SOURCE,
        "the model converges with all criteria",
        f"error at the end, breaths per minute: {text}; always guessing the median rate "
        f"{report.interval(constant['MSE'])}, the chest's own peak without a network {report.interval(chest['MSE'])}; "
        f"{report.diverged(table)}",
        all(x.less for x in found),
    )


def draw(table: pd.DataFrame) -> Any:
    """Errors, gradients' sums, the output's total; and clips, where they are simulated."""
    main = report.panels(table, "16 temporal filters of width 11 (arXiv 1611.07573, Fig. 6)")
    return {"": main} | ({"_clips": cohort_sheet.sheet()} if report.simulated(table) else {})
