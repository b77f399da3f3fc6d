"""Both papers' breathing experiment: one network under all losses, rates, seeds; what a script's table consists of."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from analysis.breathing import cohort, spectra
from analysis.breathing.spectra import Array, Clips
from analysis.cells import Cell, Rows, grid
from analysis.training.processes import apart

LOSSES = (
    "MSE", "KL", "EMD normalized", "EMD zero-sum", "EMD normalized + MSE", "EMD zero-sum + MSE", "EMD2", "EMD2 layer",
    "SD",
)  # fmt: skip
RATES = (1e-4, 3e-4, 1e-3, 3e-3)  # of Adam; the same search for every loss
BATCH = 64
CHOOSING = 10  # of the subjects trained on: they choose the rate, and are not trained on


def cells(run: str, network: str, toy: bool, seed: int, records: str, seconds: dict[str, float]) -> list[Cell]:
    """A run for each loss, learning rate and seed."""
    size = {"subjects": 10, "each": 12, "epochs": 4} if toy else {"subjects": 75, "each": 200, "epochs": 20}
    seeds = range(seed, seed + (2 if toy else 5))
    rates = RATES[2:] if toy else RATES
    return [
        Cell(
            f"{run}",
            {"network": network, "loss": loss, "rate": rate, "seed": each, "records": records, **size},
            weight=0.1 if toy else seconds.get(loss, 8.0),
        )
        for loss, rate, each in (tuple(x.values()) for x in grid(loss=LOSSES, rate=rates, seed=seeds))
    ]


def trained(run: str, **parameters: Any) -> Rows:
    """The rows of one cell, computed in a process of its own."""
    return apart(_trained, run=run, parameters=parameters)


@lru_cache(maxsize=1)
def data(subjects: int, each: int, records: str) -> Clips:
    """The same clips for all runs: the simulated cohort, or recordings."""
    return cohort.cohort(subjects, each, 0)


def parts(clips: Clips, seed: int) -> tuple[Clips, Clips, Clips]:
    """Clips to train on, to choose by, to test on: a fifth of the subjects is tested, as in the papers; none is split."""
    subjects = np.random.default_rng([seed, 60_15]).permutation(np.unique(clips.subject))
    tested = max(len(subjects) // 5, 1)
    choosing = max(CHOOSING * len(subjects) // 75, 1)
    return tuple(clips.of(some) for some in np.split(subjects, [-tested - choosing, -tested]))


def measured(steps: int) -> list[int]:
    """Steps of measurements, dense at first: the papers see losses part within the first epoch."""
    return sorted({0, steps} | {int(x) for x in np.geomspace(1, steps, 22)})


def _trained(run: str, parameters: dict[str, Any]) -> Rows:
    import torch

    from analysis.breathing import networks
    from analysis.training.checkpoints import Checkpoint
    from analysis.training.loop import Task, train

    network, loss, rate, seed = (parameters[name] for name in ("network", "loss", "rate", "seed"))
    clips = data(parameters["subjects"], parameters["each"], parameters["records"])
    training, choosing, testing = parts(clips, seed)
    torch.manual_seed(seed)
    model = getattr(networks, network)()
    steps = parameters["epochs"] * (len(training.chest) // BATCH)

    def measure(model: Any) -> dict[str, float]:
        p = model(torch.tensor(testing.chest))
        chosen = model(torch.tensor(choosing.chest)).numpy()
        return {
            "error": _error(p.numpy(), testing.psd),
            "choosing": _error(chosen, choosing.psd),
            "total": float(p.sum(dim=1).median()),
            **networks.gradient_sums(loss, p, torch.tensor(testing.psd)),
        }

    task = Task(
        model,
        torch.optim.Adam(model.parameters(), lr=rate),
        torch.tensor(training.chest),
        torch.tensor(training.psd),
        networks.LOSSES[loss],
        measure,
        BATCH,
        steps,
        set(measured(steps)),
        seed,
    )
    rows = train(task, Checkpoint(Cell(run, parameters)), f"{loss}, rate {rate:g}, seed {seed}")
    return [{"loss": loss, "rate": rate, "seed": seed, **row} for row in rows]


def _error(p: Array, q: Array) -> float:
    """Mean distance between the largest peaks, breaths per minute."""
    return float(np.abs(spectra.peak(p) - spectra.peak(q)).mean())


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Of each loss the runs at the rate whose error at the end is least on the subjects kept for choosing."""
    runs = table.groupby(["loss", "rate", "seed"])
    last = runs.last()
    last.loc[last.status != "ok", "choosing"] = np.inf
    best = last.choosing.groupby(["loss", "rate"]).mean().unstack().idxmin(axis=1)
    return table[table.rate == table.loss.map(best)]
