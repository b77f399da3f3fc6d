"""arXiv Fig. 7: cross entropy, EMD, EMD^2, the Sinkhorn distance and their sums on classes of a tree, from few samples.

Part (i), simulated: the 1000 classes of WordNet's tree, features by Brownian motion along its edges
(analysis/experiments/hierarchy/brownian.py), 4 samples of each class (the paper's 4%), 20 and 100 (all).  Part
(ii), real: the classes of --data FILE, learned from 1 to 12 samples of each; --data openml fetches the features of a
hundred plant species, into the folder of results.  Without --data part (ii) is left out.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.engine import style
from analysis.engine.cells import Cell, Rows
from analysis.engine.claims import Claim
from analysis.engine.reproduction import exact, like_another_seed
from analysis.engine.script import Options, must
from analysis.experiments.hierarchy import claims as said
from analysis.experiments.hierarchy import experiment, openml, panels, statistics
from analysis.experiments.hierarchy.experiment import DATA, SIMULATED
from analysis.experiments.training.torch_extra import absent as absent

DTYPES = ("float32",)
PNG = True
_RUN = ("part", "data", "stage", "size", "loss", "optimizer", "rate")
KINDS = {
    **exact(*_RUN, "seed", "step", "epoch", "status"),
    **like_another_seed(("choosing", "top1", "holistic", "severity"), (*_RUN, "step")),
}
CHANCE = 3  # times as many right answers as guessing gives, which something must have learned


def cells(options: Options) -> list[Cell]:
    """The search: each loss in each setting."""
    return experiment.search(f"{__name__}:run", _plan(options), _data(options), options.seed)


def then(table: pd.DataFrame, options: Options) -> list[Cell]:
    """More seeds in the settings chosen."""
    best = statistics.best(table)
    return experiment.more(f"{__name__}:run", _plan(options), _data(options), options.seed, best)


def run(**parameters: Any) -> Rows:
    """One network trained."""
    return experiment.trained(f"{__name__}:run", **parameters)


def _plan(options: Options) -> experiment.Plan:
    return experiment.TOY if options.toy else experiment.Plan()


def _data(options: Options) -> Any:
    return openml.fetch(options.out) if str(options.data) == openml.NAME else options.data


def check(table: pd.DataFrame) -> None:
    """Every loss was tried in as many settings with as many seeds, and training helps."""
    tried = table[table.stage == "search"].drop_duplicates(statistics.RUN)
    must(tried.groupby(["part", "size", "loss"]).size().nunique() == 1, "a loss was searched more than another")
    for part, rows in table.groupby("part"):
        begun = rows[rows.step == 0].top1.mean()
        must(rows.top1.max() > CHANCE * begun, f"{part}: no loss gets better than the untrained network")


def claims(table: pd.DataFrame) -> list[Claim]:
    """Of Sec. 5.3."""
    return said.claims(table)


def tables(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Means, intervals and paired tests."""
    return {"_statistics": statistics.summary(table)}


def draw(table: pd.DataFrame) -> Any:
    """A sheet for each part, and the table."""
    summary = statistics.summary(table)
    parts = {"": SIMULATED} | ({"_data": DATA} if (table.part == DATA).any() else {})
    return {end: _sheet(table, summary, part) for end, part in parts.items()} | {"_table": panels.sheet(summary)}


def _sheet(table: pd.DataFrame, summary: pd.DataFrame, part: str) -> Any:
    sizes = said.Part(table, part).sizes()
    fig, axes = style.figure(4.9, 2, 3)
    for axis, letter, measure in zip(axes[0], "abc", statistics.MEASURES, strict=True):
        panels.curves(axis, table, part, sizes[0], measure)
        style.letter(axis, letter, f"{sizes[0]} a class, {panels.kind(part)}")
    for axis, letter, measure in zip(axes[1], "def", statistics.MEASURES, strict=True):
        panels.growth(axis, summary, part, measure)
        style.letter(axis, letter, f"end of training, {panels.kind(part)}")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    fig.suptitle(f"{_title(table, part)}\n{panels.searched(table[table.part == part])}", fontsize=6.5)
    return fig


def _title(table: pd.DataFrame, part: str) -> str:
    rows = table[table.part == part]
    if part == SIMULATED:
        what = "SIMULATED: 1000 classes of WordNet's tree, features by Brownian motion along its edges"
    else:
        what = f"Real data: {rows.data.iloc[0]}"
    return f"{what}; {rows.step.max()} steps for every number of samples."
