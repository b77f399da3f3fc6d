"""arXiv Fig. 6: a breathing signal's spectrum predicted from chest excursions, under all losses (simulated cohort).

16 temporal filters of width 11, tanh, a fully connected layer, squared; Adam.  The error is the distance between the
largest peaks of the predicted spectrum and the nasal one.  Subjects are split, never clips.  The recordings of the
paper are private: the cohort is simulated (analysis/breathing/cohort.py) unless --records names others.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis import style
from analysis.breathing import experiment, report
from analysis.cells import Cell, Rows
from analysis.script import Claim, Options, must
from analysis.training.extra import absent as absent

DTYPES = ("float32",)
SECONDS = {"SD": 40.0}


def cells(options: Options) -> list[Cell]:
    """Runs."""
    return experiment.cells(f"{__name__}:run", "filters", options.toy, options.seed, "", SECONDS)


def run(**parameters: Any) -> Rows:
    """One network trained."""
    return experiment.trained(f"{__name__}:run", **parameters)


def check(table: pd.DataFrame) -> None:
    """Every loss was tried at every rate, and training helps somewhere."""
    must(set(table.loss) == set(experiment.LOSSES), "a loss is missing")
    begun = table[table.step == 0].error.mean()
    must(report.final(table).min() < begun, "no loss gets better than the untrained network")


def claims(table: pd.DataFrame) -> list[Claim]:
    """Of Sec. 5.2."""
    early, final = report.early(table), report.final(table)
    found, verdicts = [], []
    for loss in ("EMD2", "SD"):
        difference, verdict = report.less(early[loss], early["MSE"])
        found.append(
            f"{report.words(loss)} {report.interval(early[loss])}, MSE {report.interval(early['MSE'])}: difference {difference}"
        )
        verdicts.append(verdict)
    difference, verdict = report.less(final["EMD2"], final["SD"])
    against, better = report.less(final["EMD2"], final["MSE"])
    return [
        Claim(
            "arXiv 1611.07573, Fig. 6",
            "EMD² and SD learn significantly faster than MSE",
            "mean error over the first epoch, breaths per minute: " + "; ".join(found),
            all(verdicts),
        ),
        Claim(
            "arXiv 1611.07573, Fig. 6",
            "over a longer period EMD² achieves better accuracy than SD",
            f"error at the end: EMD² {report.interval(final['EMD2'])}, SD {report.interval(final['SD'])}: "
            f"difference {difference}",
            verdict,
        ),
        Claim(
            "arXiv 1611.07573, Sec. 6",
            "EMD² reduces the error",
            f"at the end: EMD² {report.interval(final['EMD2'])}, MSE {report.interval(final['MSE'])}: difference {against}",
            better,
        ),
    ]


def draw(table: pd.DataFrame) -> Any:
    """The error against the step, and the output's total."""
    fig, (left, right) = style.figure(style.PAGE, 3.0, 1, 2)
    report.curves(left, table, "error")
    left.set(ylabel="distance of the largest peaks\n(breaths per minute), simulated", yscale="log")
    style.letter(left, "a", "error on 15 unseen subjects (simulated)")
    report.curves(right, table, "total")
    right.set(ylabel="total of the output (target 1)", yscale="log")
    style.letter(right, "b", "what happens to the mass")
    right.legend(fontsize=5.5)
    return fig
