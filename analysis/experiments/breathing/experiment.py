"""Both papers' breathing experiment: one network under all losses, rates, seeds; what a script's table consists of.

*Budget.*  Every loss is tried at every rate with the same few seeds.  Two rates of each are then trained with more
seeds: the one whose error at the end is least on subjects that are neither trained on nor tested, and the quickest, for
what is said of speed: a rate that ends well may begin slowly.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.engine.cells import Cell, Rows, grid
from analysis.experiments.breathing import cohort, spectra
from analysis.experiments.breathing.spectra import Clips
from analysis.experiments.training.processes import apart

if TYPE_CHECKING:  # not for the processes that train: Matplotlib
    from analysis.engine.script import Options

LOSSES = (
    "MSE", "KL", "EMD normalized", "EMD zero-sum", "EMD normalized + MSE", "EMD zero-sum + MSE", "EMD2", "EMD2 layer",
    "SD",
)  # fmt: skip
RATES = {  # of Adam; the same search for every loss of a network
    "perceptron": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "filters": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
}
SEARCHED, SEEDS = 2, 10  # seeds of the search, and at the rate found
BATCH = 64
TESTED, CHOOSING = 15 / 75, 10 / 75  # of the subjects: the papers' split; those kept back to choose the rate
FULL, TOY = {"subjects": 75, "each": 200}, {"subjects": 20, "each": 24}
EPOCHS, TOY_EPOCHS = {"perceptron": 20, "filters": 5}, 6
SIMULATED = "simulated"
GRADIENTS = 500  # clips whose gradients are summed


# --- cells ------------------------------------------------------------------------------------------------------------


def search(run: str, network: str, options: Options, weights: dict[str, float]) -> list[Cell]:
    """A run for each loss, rate and seed of the search."""
    rates = RATES[network][4:6] if options.toy else RATES[network]
    seeds = range(options.seed, options.seed + (1 if options.toy else SEARCHED))
    every = grid(loss=LOSSES, rate=rates, seed=seeds)
    return [_cell(run, network, options, weights, **each) for each in every]


def further(run: str, network: str, options: Options, weights: dict[str, float], table: pd.DataFrame) -> list[Cell]:
    """The other seeds, each loss at the rates that the search has found."""
    done, seeds = training(table).seed.nunique(), 2 if options.toy else SEEDS
    seeds = range(options.seed + done, options.seed + seeds)
    found = [(loss, float(rates[loss])) for loss in LOSSES for rates in (best(table), quickest(table))]
    every = [{"loss": loss, "rate": rate, "seed": seed} for loss, rate in dict.fromkeys(found) for seed in seeds]
    return [_cell(run, network, options, weights, **each) for each in every]


def _cell(run: str, network: str, options: Options, weights: dict[str, float], **axes: Any) -> Cell:
    epochs = TOY_EPOCHS if options.toy else EPOCHS[network]
    parameters = {"network": network, **axes, "epochs": epochs, "source": _source(options)}
    return Cell(run, parameters, weight=0.3 if options.toy else weights.get(axes["loss"], weights["other"]))


def _source(options: Options) -> dict[str, Any]:
    """Where the clips come from; the fingerprint tells other recordings in the same folder."""
    if options.records is None:
        return {**(TOY if options.toy else FULL), "seed": options.seed}
    return {
        "records": str(options.records.resolve()),
        "chest": options.chest,
        "nose": options.nose,
        "fingerprint": _fingerprint(options.records, options.chest, options.nose),
    }


@lru_cache
def _fingerprint(folder: Path, chest: str, nose: str) -> str:
    """Of recordings that can be used, by their headers: those that cannot are refused before anything is trained."""
    from analysis.experiments.breathing import records

    records.check(folder, chest, nose, say=lambda line: None)  # the processes that read them say what is left out
    return records.fingerprint(folder)


def training(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that are not timings."""
    return table[table.part == "training"]


def best(table: pd.DataFrame) -> pd.Series:
    """Of each loss the rate whose error at the end is least on the subjects kept for choosing, over all seeds searched.

    A rate at which a run diverged is not chosen while there is another.
    """
    last = searched(table).groupby(["loss", "rate", "seed"]).last()
    error = last.choosing.where(last.status == "ok", np.inf)
    return error.groupby(["loss", "rate"]).mean().unstack().idxmin(axis=1)


def quickest(table: pd.DataFrame) -> pd.Series:
    """Of each loss the rate whose mean error over the first epoch's measurements is least, over all seeds searched.

    On the subjects tested, on whom alone it is measured on the way: the same small advantage for every loss.
    """
    first = searched(table).query("0 < epoch <= 1")
    error = first.error.where(first.status == "ok", np.inf)
    return error.groupby([first.loss, first.rate]).mean().unstack().idxmin(axis=1)


def searched(table: pd.DataFrame) -> pd.DataFrame:
    """The runs of the seeds with which every loss was tried at every rate."""
    runs = training(table)
    rates = runs.groupby(["seed", "loss"]).rate.nunique().unstack(fill_value=0).min(axis=1)
    return runs[runs.seed.isin(rates.index[rates == rates.max()])]


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Of each loss the runs at the rate that is best at the end."""
    runs = training(table)
    return runs[runs.rate == runs.loss.map(best(runs))]


def fastest(table: pd.DataFrame) -> pd.DataFrame:
    """Of each loss the runs at its quickest rate."""
    runs = training(table)
    return runs[runs.rate == runs.loss.map(quickest(runs))]


# --- one run ----------------------------------------------------------------------------------------------------------


def trained(run: str, **parameters: Any) -> Rows:
    """The rows of one cell, computed in a process of its own."""
    return apart(train, run=run, parameters=parameters)


def data(source: dict[str, Any]) -> Clips:
    """The same clips for all runs: the simulated cohort, or recordings."""
    return _data(*source.items())


@lru_cache(maxsize=1)
def _data(*source: tuple[str, Any]) -> Clips:
    where = dict(source)
    if "records" not in where:
        return cohort.cohort(where["subjects"], where["each"], where["seed"])
    from analysis.experiments.breathing import records

    channels = {role: where[role] for role in ("chest", "nose") if where[role]}
    return records.read(Path(where["records"]), **channels)


def parts(clips: Clips, seed: int) -> tuple[Clips, Clips, Clips]:
    """Clips to train on, to choose the rate by, to test on, by subjects: none is split, and each part has one at least.

    Tested are a fifth of the subjects, as in the papers; 10 of 75 choose.

    >>> import numpy as np
    >>> clips = Clips(np.zeros((10, 600)), np.zeros((10, 30)), np.repeat(np.arange(5), 2))
    >>> [len(set(part.subject)) for part in parts(clips, 0)]
    [3, 1, 1]
    """
    subjects = np.unique(clips.subject)
    if len(subjects) < 3:
        raise RuntimeError(
            f"{len(subjects)} subjects cannot be split into training, choosing and testing: 3 are needed"
        )
    subjects = np.random.default_rng([seed, 60_15]).permutation(subjects)
    tested, choosing = (max(int(share * len(subjects) + 1e-9), 1) for share in (TESTED, CHOOSING))
    return tuple(clips.of(some) for some in np.split(subjects, [-tested - choosing, -tested]))


def measured(steps: int) -> list[int]:
    """Steps of measurements, dense at first: the papers see losses part within the first epoch."""
    return sorted({0, steps} | {int(x) for x in np.geomspace(1, steps, 22)})


def train(run: str, parameters: dict[str, Any]) -> Rows:
    """The rows of one run: what it is, and at each measurement the error, the output's total and the gradient's sum.

    The last row has the error on the subjects that choose the rate.
    """
    import torch

    from analysis.experiments.breathing import networks
    from analysis.experiments.training.checkpoints import Checkpoint
    from analysis.experiments.training.loop import Task
    from analysis.experiments.training.loop import train as loop
    from analysis.experiments.training.torch_extra import device

    loss, rate, seed = (parameters[name] for name in ("loss", "rate", "seed"))
    training, choosing, testing = parts(data(parameters["source"]), seed)
    where, batch = device(), min(BATCH, len(training.chest))
    torch.manual_seed(seed)
    model = getattr(networks, parameters["network"])().to(where)
    steps = parameters["epochs"] * (len(training.chest) // batch)
    held = [_on(where, part) for part in (choosing, testing)]
    task = Task(
        model,
        torch.optim.Adam(model.parameters(), lr=rate),
        *_on(where, training),
        networks.LOSSES[loss],
        lambda network: _measure(network, loss, *held[1]),
        batch,
        steps,
        set(measured(steps)),
        seed,
    )
    rows = loop(task, Checkpoint(Cell(run, parameters)), f"{loss}, rate {rate:g}, seed {seed}")
    if rows[-1]["status"] == "ok":
        rows[-1]["choosing"] = error(model, *held[0])
    folder = parameters["source"].get("records")
    name = f"records {Path(folder).name}" if folder else SIMULATED
    common = {"part": "training", "data": name, "device": where, "subjects": len(set(testing.subject))}
    return [{**common, "loss": loss, "rate": rate, "seed": seed, **row, **_guesses(training, testing)} for row in rows]


def _on(where: str, clips: Clips) -> tuple[Any, Any]:
    import torch

    return torch.tensor(clips.chest, device=where), torch.tensor(clips.psd, device=where)


def _measure(model: Any, loss: str, x: Any, q: Any) -> dict[str, float]:
    from analysis.experiments.breathing import networks

    p = outputs(model, x)
    few = slice(None, None, max(len(p) // GRADIENTS, 1))
    total = float(p.sum(dim=1).median())
    return {"error": _distance(p, q), "total": total, **networks.gradient_sums(loss, p[few], q[few])}


def outputs(model: Any, x: Any) -> Any:
    """Of all clips, a few at a time: what they need in between stays in the processor's cache."""
    import torch

    with torch.no_grad():
        return torch.cat([model(part) for part in x.split(4 * BATCH)])


def error(model: Any, x: Any, q: Any) -> float:
    """Mean distance between the largest peaks, breaths per minute."""
    return _distance(outputs(model, x), q)


def _distance(p: Any, q: Any) -> float:
    return float(np.abs(spectra.peak(p.cpu().numpy()) - spectra.peak(q.cpu().numpy())).mean())


def _guesses(training: Clips, testing: Clips) -> dict[str, float]:
    """The errors without learning: of the training subjects' median rate as a guess, and of the chest's own peak."""
    rates = spectra.peak(testing.psd)
    own = spectra.peak(spectra.spectrum(testing.chest))
    constant = np.median(spectra.peak(training.psd))
    return {"constant": float(np.abs(rates - constant).mean()), "chest": float(np.abs(rates - own).mean())}
