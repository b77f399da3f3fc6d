"""One network under all losses, learning rates, numbers of samples and seeds: what figure 7's table consists of.

Part ``simulated``: the 1000 classes of WordNet's tree with features by Brownian motion.  Part ``data``: the classes of
a file.  Part ``digits``: scikit-learn's.  First each loss is tried with the same optimizers, at the same rates, with
the same seeds; then come more seeds in the settings that were best, by each measure that is judged, on samples neither
trained on nor tested; and, in those best by top-1, runs of twice the epochs, which show whether the end is one.

Every run of a part takes the same number of epochs, however many samples there are, and its rate falls to 0 along half
a cosine; but for long runs of CE at the paper's own rate, which hardly fell there and does not here: whether its error
grows again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from analysis.engine.cells import Cell, Rows, grid
from analysis.experiments.hierarchy import brownian, digits, perceptron, plants
from analysis.experiments.hierarchy.plan import DATA, DIGITS, SIMULATED, STEADY, STEADY_STAGE, Plan, Search
from analysis.experiments.hierarchy.samples import Parts, most, split
from analysis.experiments.training.processes import apart
from emdref import Tree, wordnet_tree

Best = Mapping[tuple[str, int, int, str], Mapping[str, tuple[str, float]]]  # part, width, size, loss: by measure
RUN = f"{__name__}:trained"
TRAINING = 2000  # samples trained on whose answers are counted, spread over all
STEP = {SIMULATED: (1000, 9e-3), DATA: (100, 8e-4), DIGITS: (10, 6e-4)}  # classes, and seconds of a step at width 128
DEARER = {"SD": 2.0, "SD+CE": 2.0, "SD+CE 1:1": 2.0}


def search(plan: Plan, data: Path | None, seed: int) -> list[Cell]:
    """Each loss in each setting."""
    return [
        _cell(some, source, "search", loss, **point)
        for some in plan.searches
        for source in sources(some, data)
        for loss in some.losses
        for point in grid(setting=some.settings, seed=range(seed, seed + some.searching))
    ]


def more(plan: Plan, data: Path | None, seed: int, best: Best) -> list[Cell]:
    """The other seeds in the best settings of a part, a width, a size, a loss; then longer runs."""
    found = []
    for some in plan.searches:
        seeds = range(seed + some.searching, seed + some.seeds)
        for source in sources(some, data):
            for loss in some.losses:
                chosen = best[some.part, some.width, source["size"], loss]
                settings = dict.fromkeys(chosen[measure] for measure in some.measures)
                found += [_cell(some, source, "chosen", loss, s, each) for s in settings for each in seeds]
    return found + longer(plan, data, seed, best) + steady(plan, data, seed)


def longer(plan: Plan, data: Path | None, seed: int, best: Best) -> list[Cell]:
    """Runs of more epochs in the settings best by top-1, of each search's fewest samples."""
    found = []
    for some in plan.searches:
        for source in sources(some, data)[:1]:
            for loss in some.losses:
                setting = best[some.part, some.width, source["size"], loss]["top1"]
                seeds = range(seed, seed + some.again)
                found += [_cell(some, source, "longer", loss, setting, each, plan.longer) for each in seeds]
    return found


def steady(plan: Plan, data: Path | None, seed: int) -> list[Cell]:
    """Long runs of CE at the paper's rate, which stays what it is."""
    return [
        _cell(some, source, STEADY_STAGE, "CE", STEADY, each, plan.lasting)
        for some in plan.searches
        for source in sources(some, data)
        for each in range(seed, seed + some.steady)
    ]


def sources(some: Search, data: Path | None) -> list[dict[str, Any]]:
    """What is trained on, as parameters of cells: a part, a number of samples of each class, a file and its digest."""
    found = {"part": some.part, "file": "", "digest": ""}
    sizes = some.sizes
    if some.part == DATA:
        if data is None:
            return []
        found |= {"file": str(data.absolute()), "digest": plants.digest(data)}
        sizes = tuple(size for size in sizes if size <= most(_file(data)[1], some.testing))
    if some.part == DIGITS and not digits.installed():
        return []
    return [found | {"size": size} for size in sizes]


def trained(**parameters: Any) -> Rows:
    """The rows of one cell, computed in a process of its own."""
    return apart(_trained, parameters=parameters)


def parts(parameters: dict[str, Any]) -> tuple[Tree, Parts]:
    """The tree and the samples of a run."""
    size, seed, choosing, testing = (parameters[name] for name in ("size", "seed", "choosing", "testing"))
    if parameters["part"] == SIMULATED:
        tree = _wordnet()
        return tree, brownian.parts(tree, size, choosing, testing, seed)
    x, y, tree = digits.load() if parameters["part"] == DIGITS else _file(Path(parameters["file"]))
    return tree, split(x, y, size, choosing, testing, seed)


_wordnet = lru_cache(wordnet_tree)  # and with it its distances
_file = lru_cache(maxsize=1)(plants.load)


def _cell(
    some: Search, source: dict[str, Any], stage: str, loss: str, setting: tuple[str, float], seed: int,
    longer: int = 1,
) -> Cell:  # fmt: skip
    epochs = some.epochs * longer
    parameters = {"loss": loss, "seed": seed, "epochs": epochs, "batch": some.batch, "width": some.width}
    parameters |= dict(zip(("optimizer", "rate"), setting, strict=True))
    kept = {"choosing": some.choosing, "testing": some.testing, "stage": stage}
    classes, step = STEP[some.part]
    steps = epochs * max(classes * source["size"] // some.batch, 1)
    weight = steps * step * DEARER.get(loss, 1.0) * max(1.0, some.width / 160)
    return Cell(RUN, source | parameters | kept, weight=weight)


def _trained(parameters: dict[str, Any]) -> Rows:
    import torch

    from analysis.experiments.hierarchy.losses import losses
    from analysis.experiments.hierarchy.outcomes import Outcomes, share
    from analysis.experiments.training.checkpoints import Checkpoint
    from analysis.experiments.training.loop import Task, cosine, train
    from analysis.experiments.training.torch_extra import device

    loss, rate, seed, width = (parameters[name] for name in ("loss", "rate", "seed", "width"))
    tree, samples = parts(parameters)
    where = device()
    training, choosing, testing = ((torch.tensor(x, device=where), torch.tensor(y, device=where)) for x, y in samples)
    torch.manual_seed(seed)
    model = perceptron.network(samples.training.x.shape[1], tree.n_bins, width).to(where)
    outcomes, trained_with = Outcomes(tree), losses(tree)[loss]
    some = torch.tensor(perceptron.some(len(training[1]), TRAINING), device=where)
    x, (right, chosen_right, tested_right) = zip((training[0][some], training[1][some]), choosing, testing, strict=True)
    every, counts = torch.cat(x), [len(each) for each in x]

    def measure(model: Any) -> dict[str, float]:
        own, chosen, tested = model(every).split(counts)
        finite = bool(torch.isfinite(own).all())
        found = {"training_loss": float(trained_with(own, right)) if finite else np.nan}
        found |= {"training_top1": share(own, right)} | outcomes(tested, tested_right)
        return found | {f"choosing_{name}": value for name, value in outcomes(chosen, chosen_right).items()}

    batch = min(parameters["batch"], len(training[1]))
    steps = parameters["epochs"] * (len(training[1]) // batch)
    optimizer = perceptron.optimizer(parameters["optimizer"], rate, model)
    at = set(perceptron.measured(steps))
    way = None if parameters["stage"] == STEADY_STAGE else cosine(rate, steps)
    task = Task(model, optimizer, *training, trained_with, measure, batch, steps, at, seed, way)
    title = f"{parameters['part']} {parameters['size']}, {loss}, {parameters['optimizer']} {rate:g}, seed {seed}"
    start = time.perf_counter()
    rows = train(task, Checkpoint(Cell(RUN, parameters)), title)
    rows[-1]["seconds"] = time.perf_counter() - start  # since it was last taken up
    about = {"part": parameters["part"], "data": Path(parameters["file"]).name, "stage": parameters["stage"]}
    about |= {name: parameters[name] for name in ("width", "size", "epochs")} | {"answers": len(choosing[1])}
    about |= {"loss": loss, "optimizer": parameters["optimizer"], "rate": rate, "seed": seed}
    return [about | row | {"status": _status(row)} for row in rows]


def _status(row: dict[str, Any]) -> str:
    """As the loop says, and diverged where the outputs were no numbers."""
    return row["status"] if np.isfinite(row.get("emd", np.inf)) else "diverged"
