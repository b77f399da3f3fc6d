"""arXiv Fig. 6: a breathing signal's spectrum predicted from chest excursions, under all losses (simulated cohort).

16 temporal filters of width 11, tanh, a fully connected layer, squared; Adam with half a cosine.  Measured are the EMD
of the predicted spectrum from the nasal one, the paper's own, and the distance between their largest peaks.  Subjects
are split, never clips.  The recordings of the paper are private: the cohort is simulated
(analysis/experiments/breathing/cohort.py) unless --records names others.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.engine.cells import Cell, Rows
from analysis.engine.claims import Claim
from analysis.engine.script import Options
from analysis.experiments.breathing import claims as breathing
from analysis.experiments.breathing import cohort_sheet, experiment, panels, report
from analysis.experiments.breathing.plans import FIGURE6
from analysis.experiments.training.torch_extra import absent as absent

DTYPES = ("float32",)
PNG = True
KINDS = report.KINDS
CAPTIONS = panels.FIGURE6 | cohort_sheet.CAPTION
check, told = report.check, report.told


def cells(options: Options) -> list[Cell]:
    """Each loss at every rate."""
    return FIGURE6.cells(options)


def then(table: pd.DataFrame, options: Options) -> list[Cell]:
    """Each loss at its rates, with more seeds."""
    return FIGURE6.then(options, table)


def run(**parameters: Any) -> Rows:
    """One network trained."""
    return experiment.trained(f"{__name__}:run", **parameters)


def claims(table: pd.DataFrame) -> list[Claim]:
    """Of the experiment's section, its figure, the introduction and the abstract."""
    return breathing.figure6(table)


def draw(table: pd.DataFrame) -> Any:
    """The paper's panel; all losses by both measures; and clips, where they are simulated."""
    return panels.figure6(table) | ({"_clips": cohort_sheet.sheet()} if report.simulated(table) else {})
