"""arXiv Fig. 7: cross entropy, EMD, EMD^2, the Sinkhorn distance and their sums on classes of a tree, from few samples.

Simulated: the 1000 classes of WordNet's tree, features by Brownian motion along its edges
(analysis/experiments/hierarchy/brownian.py), 4 samples of each class (the paper's 4%) and 20.  Real: the classes of
--data FILE, learned from 1 to 12 samples of each; --data openml fetches the features of a hundred plant species, into
the folder of results; without --data they are left out.  And scikit-learn's digits, where that is installed, with a
tree of their shapes.  How much is computed is analysis/experiments/hierarchy/plan.py.
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import pandas as pd

from analysis.engine import style
from analysis.engine.cells import Cell
from analysis.engine.claims import Claim
from analysis.engine.reproduction import exact, like_another_seed, timing
from analysis.engine.script import Options, must
from analysis.experiments.hierarchy import brownian, costs, experiment, openml, panels, plan, statistics
from analysis.experiments.hierarchy import claims as said
from analysis.experiments.hierarchy.plan import DATA, DIGITS, DRAWN, SIMULATED
from analysis.experiments.training.torch_extra import absent as absent

DTYPES = ("float32",)
PNG = True
_RUN = ("part", "data", "stage", "width", "size", "epochs", "loss", "optimizer", "rate")
_JUDGED = (*statistics.MEASURES, statistics.WAY)
_MEASURED = [*_JUDGED, *statistics.OF_TRAINING, *(f"choosing_{name}" for name in _JUDGED)]
KINDS = {
    **exact(*_RUN, "answers", "seed", "step", "epoch", "status"),
    **timing("seconds"),
    **like_another_seed(_MEASURED, (*_RUN, "step")),
}
CHANCE = 3  # times as many right answers as guessing gives, which something must have learned


def cells(options: Options) -> list[Cell]:
    """The search: each loss in each setting; and what a loss costs."""
    return experiment.search(_plan(options), _data(options), options.seed) + costs.cells(options.toy, options.seed)


def then(table: pd.DataFrame, options: Options) -> list[Cell]:
    """More seeds in the settings chosen, and longer runs."""
    return experiment.more(_plan(options), _data(options), options.seed, statistics.best(statistics.runs(table)))


def reduce(table: pd.DataFrame) -> pd.DataFrame:
    """Without measurements that nobody looks at."""
    return statistics.reduced(table)


def _plan(options: Options) -> plan.Plan:
    return plan.TOY if options.toy else plan.PLAN


def _data(options: Options) -> Any:
    return openml.fetch(options.out) if str(options.data) == openml.NAME else options.data


def check(table: pd.DataFrame) -> None:
    """Training helps, and of a size every loss drawn was tried in as many settings with as many seeds."""
    runs = statistics.runs(table)
    tried = runs[(runs.stage == statistics.SEARCHED) & runs.loss.isin(DRAWN)].drop_duplicates(statistics.RUN)
    counts = tried.groupby([*statistics.GROUP]).size().groupby(level=[0, 1, 2]).nunique()
    must((counts == 1).all(), "a loss was searched more than another")
    for part, rows in runs.groupby("part"):
        begun = rows[rows.step == 0].top1.mean()
        must(rows.top1.max() > CHANCE * begun, f"{part}: no loss gets better than the untrained network")


def claims(table: pd.DataFrame) -> list[Claim]:
    """Of Sec. 5.3, Fig. 7, the abstract and the introduction."""
    return said.claims(table)


def tables(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Means, intervals and paired tests."""
    return {"_statistics": statistics.summary(statistics.runs(table))}


def record() -> dict[str, Any]:
    """What else the runs depend on."""
    names = [name for name in ("torch", "scikit-learn") if find_spec({"scikit-learn": "sklearn"}.get(name, name))]
    return {"frameworks": {name: version(name) for name in names}, "noise": brownian.NOISE}


def told(table: pd.DataFrame) -> dict[str, Any]:
    """How much was computed."""
    seconds = table[table.part != statistics.COST].groupby("part", sort=False).seconds.agg(["count", "sum"])
    each = {part: {"runs": int(row["count"]), "seconds": round(row["sum"])} for part, row in seconds.iterrows()}
    return {"trained": each}


def captions(table: pd.DataFrame) -> dict[str, str]:
    """Of each sheet."""
    runs = statistics.runs(table)
    simulated = said.Part(runs, SIMULATED)
    few, many = simulated.sizes[0], simulated.sizes[-1]
    seeds = {size: simulated.end("CE", "top1", [size]).size for size in (few, many)}
    found = {
        "": f"Simulated features of WordNet's 1000 classes: top-1 on test samples with {many} samples a class (a) "
        f"and with {few} (b), and the holistic error with {few}, by both powers of the EMD (c). Each line is the mean "
        f"of {seeds[few]} seeds ({seeds[many]} in a) with its 95% interval, at the rate that was best by the measure "
        "drawn on samples neither trained on nor tested.",
        "_differences": "Simulated: how far each loss ends from CE in pairs of equal seeds, with 95% intervals, in "
        f"top-1 (a) and in the holistic error of both powers (b, c); filled marks are {few} samples a class, open ones "
        f"{many}. To the right is better in (a), to the left in (b) and (c).",
        "_training": "Simulated: top-1 on samples trained on with many samples (a) and with few (b), and the training "
        "loss over its start with few (c), at the rates best in top-1; (d) is top-1 against the network's width, in "
        "thin lines on training samples. Rates fall to 0 along half a cosine, the same number of epochs for all.",
    }
    real = [part for part in (DATA, DIGITS) if (runs.part == part).any()]
    if real:
        searched = runs[runs.part.isin(real) & (runs.stage == statistics.SEARCHED)]
        answers = [some.answers.min() * some.seed.nunique() for _, some in searched.groupby("part", sort=False)]
        about = {DATA: "leaves in the tree of their species", DIGITS: "digits in a tree of their closed loops and bows"}
        found["_data"] = (
            f"Real data, {' and '.join(about[part] for part in real)}: top-1, and what each loss ends with less CE in "
            "pairs of equal seeds with 95% intervals, against the samples of each class. Rates are chosen by "
            f"cross-validation over {searched.seed.nunique()} splits, {' and '.join(f'{x:.0f}' for x in answers)} "
            "answers or more, none of them of a sample that tests."
        )
    return found


def draw(table: pd.DataFrame) -> Any:
    """The paper's panels, differences, training, and real data."""
    runs = statistics.runs(table)
    summary = statistics.summary(runs)
    sheets = {"": _papers(runs), "_differences": _differences(summary), "_training": _training(runs, summary)}
    real = [part for part in (DATA, DIGITS) if (runs.part == part).any()]
    return sheets | ({"_data": _real(summary, real)} if real else {})


def _papers(runs: pd.DataFrame) -> Any:
    few, many = _ends(runs)
    fig, axes = style.figure(4.4, 2, 2)
    panels.curves(axes[0, 0], runs, "top1", "top1", many)
    panels.curves(axes[0, 1], runs, "top1", "top1", few)
    for axis, measure in zip(axes[1], ("emd2", "emd"), strict=True):
        panels.curves(axis, runs, measure, measure, few)
    titles = (f"{many} a class", f"{few} a class", f"{few} a class, ρ = 2", f"{few} a class, ρ = 1")
    for axis, letter, title in zip(axes.flat, "abcc", titles, strict=True):
        style.letter(axis, letter, title)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, handlelength=2.6)
    fig.suptitle("Simulated: 1000 classes of WordNet's tree")
    return fig


def _differences(summary: pd.DataFrame) -> Any:
    few, many = _ends(summary)
    losses = [loss for loss in panels.LINES if loss in set(summary.loss) - {"CE", *plan.STUCK}]
    fig, axes = style.figure(4.8, 3, 1)
    for axis, letter, measure in zip(axes, "abc", panels.UNITS, strict=True):
        panels.differences(axis, summary, SIMULATED, measure, [few, many], losses)
        sizes = f"{few} a class" + f" (filled), {many} (open)" * (measure == "top1")
        style.letter(axis, letter, f"{panels.TITLES[measure]}, {sizes}")
    fig.suptitle("Simulated: the end of training, less CE")
    return fig


def _training(runs: pd.DataFrame, summary: pd.DataFrame) -> Any:
    few, many = _ends(runs)
    fig, axes = style.figure(4.4, 2, 2)
    for axis, size in zip(axes[0], (many, few), strict=True):
        panels.curves(axis, runs, "top1", "training_top1", size, panels.LINES)
    panels.curves(axes[1, 0], runs, "top1", "training_loss", few, panels.LINES)
    panels.widths(axes[1, 1], summary, few)
    titles = (f"{many} a class", f"{few} a class", f"{few} a class", f"{few} a class")
    for axis, letter, title in zip(axes.flat, "abcd", titles, strict=True):
        style.letter(axis, letter, title)
    fig.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=2.6)
    fig.suptitle("Simulated: training, and wider networks")
    return fig


def _real(summary: pd.DataFrame, real: list[str]) -> Any:
    fig, axes = style.figure(6.0, 4, len(real), squeeze=False, sharex="col")
    for column, part in enumerate(real):
        panels.growth(axes[0, column], summary, part, "top1")
        for axis, measure in zip(axes[1:, column], panels.UNITS, strict=True):
            panels.gaps(axis, summary, part, measure)
        axes[0, column].set_title(f"({'ab'[column]}) {panels.KINDS[part]}", loc="left")
        for axis in axes[:-1, column]:
            axis.set_xlabel("")
        for axis in axes[:, column] if column else ():
            axis.set_ylabel("")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, handlelength=2.6)
    fig.suptitle("Real data")
    return fig


def _ends(rows: pd.DataFrame) -> tuple[int, int]:
    """The fewest simulated samples and the most."""
    sizes = rows[rows.part == SIMULATED]["size"]
    return int(sizes.min()), int(sizes.max())
