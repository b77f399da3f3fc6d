"""ICML 2016 Fig. 1: a breathing signal's spectrum predicted by a perceptron, under all losses (simulated cohort).

Two layers, squared; Adam with half a cosine.  Measured are the distance between the largest peaks of the predicted
spectrum and the nasal one, the paper's own, and their EMD; beside them the gradient's sum over bins.  Subjects are
split, never clips.  The recordings of the paper are private: the cohort is simulated
(analysis/experiments/breathing/cohort.py) unless --records names others.  EMD and KL are timed.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.engine.cells import Cell, Rows
from analysis.engine.claims import Claim
from analysis.engine.reproduction import exact, timing
from analysis.engine.script import Options
from analysis.experiments.breathing import claims as breathing
from analysis.experiments.breathing import experiment, loss_times, panels, report
from analysis.experiments.breathing.plans import ICML
from analysis.experiments.training.torch_extra import absent as absent

DTYPES = ("float32",)
PNG = True
KINDS = report.KINDS | exact("batch", "bins", "way")
KINDS |= timing("repeats", "seconds", "low", "high", "ratio", "ratio_low", "ratio_high")
CAPTIONS = panels.ICML
check, told = report.check, report.told


def cells(options: Options) -> list[Cell]:
    """Each loss at every rate, and the timing."""
    seconds = 0.5 if options.toy else 20.0
    timing = Cell(f"{__name__}:timed", {"seconds": seconds, "seed": options.seed}, weight=seconds + 5, alone=True)
    return [*ICML.cells(options), timing]


def then(table: pd.DataFrame, options: Options) -> list[Cell]:
    """Each loss at its rates, with more seeds."""
    return ICML.then(options, table)


def run(**parameters: Any) -> Rows:
    """One network trained."""
    return experiment.trained(f"{__name__}:run", **parameters)


def timed(**parameters: Any) -> Rows:
    """Value and gradient for one batch."""
    return loss_times.compute(**parameters)


def claims(table: pd.DataFrame) -> list[Claim]:
    """Of the figure, and of the text."""
    return breathing.icml(table)


def draw(table: pd.DataFrame) -> Any:
    """The paper's two panels; and what they leave open."""
    return panels.icml(table)
