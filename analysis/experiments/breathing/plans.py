"""How much is run: rates, seeds, lengths; and which rates a table of runs chooses.

*Budget.*  Every loss is tried at every rate with the same few seeds, in full and, with more seeds, for one epoch.  More
seeds are then trained, in full at the rates that end best and for one epoch at those that begin best, since a rate that
ends well may begin slowly; by either measure, on subjects that are neither trained on nor tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.engine.cells import Cell

if TYPE_CHECKING:  # not for the processes that train: Matplotlib
    from analysis.engine.script import Options

MEASURES = ("emd", "error")


@dataclass(frozen=True)
class Plan:
    """The search, the same for all losses, and the seeds at what it finds."""

    run: str  # module:function
    network: str
    losses: Mapping[str, int]  # and how many seeds each is given at its rates
    rates: tuple[float, ...]  # of Adam
    subjects: int
    each: int = 200  # clips of a subject
    epochs: int = 20
    searched: int = 1  # seeds of the search in full
    begun: int = 3  # seeds of the search for one epoch
    short: int = 10  # seeds of one epoch at the quickest rates
    common: float = 0.0  # a rate at which all losses get their seeds; 0: none
    wider: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # rates of a loss that stood at the edge
    seconds: Mapping[str, float] = field(default_factory=dict)  # of an epoch, by loss

    def toy(self) -> Plan:
        """Seconds on a laptop."""
        return replace(
            self, losses=dict.fromkeys(self.losses, 2), rates=self.rates[4:6], wider={}, subjects=20, each=24, epochs=6,
            searched=1, begun=1, short=2,
        )  # fmt: skip

    def of(self, options: Options) -> Plan:
        """For these options."""
        return self.toy() if options.toy else self

    def cells(self, options: Options) -> list[Cell]:
        """Of the search."""
        own = self.of(options)
        seeds = [(seed, own.epochs) for seed in range(own.searched)]
        seeds += [(seed, 1) for seed in range(own.searched, own.begun)]
        pairs = [(loss, rate) for loss in own.losses for rate in (*own.rates, *own.wider.get(loss, ()))]
        return [
            own._cell(options, loss=loss, rate=rate, seed=seed, until=until)
            for seed, until in seeds
            for loss, rate in pairs
        ]

    def then(self, options: Options, table: pd.DataFrame) -> list[Cell]:
        """The other seeds, at the rates that the search has found."""
        own, runs = self.of(options), training(table)
        ends, begins = ({m: choose(runs, m) for m in MEASURES} for choose in (best, quickest))
        found: list[tuple[str, float, int, int]] = []
        for loss, seeds in own.losses.items():
            rates = {float(ends[m][loss]) for m in MEASURES} | ({own.common} if own.common in own.rates else set())
            found += [(loss, rate, seed, own.epochs) for rate in sorted(rates) for seed in range(own.searched, seeds)]
            rates = {float(begins[m][loss]) for m in MEASURES}
            found += [(loss, rate, seed, 1) for rate in sorted(rates) for seed in range(own.begun, own.short)]
        whole = {each[:3] for each in found if each[3] > 1}
        axes = ("loss", "rate", "seed", "until")
        wanted = [each for each in found if each[3] > 1 or each[:3] not in whole]
        return [own._cell(options, **dict(zip(axes, each, strict=True))) for each in wanted]

    def _cell(self, options: Options, **axes: Any) -> Cell:
        axes["seed"] += options.seed
        parameters = {"network": self.network, **axes, "epochs": self.epochs, "source": self._source(options)}
        weight = axes["until"] * self.seconds.get(axes["loss"], 0.3) + 0.5
        return Cell(self.run, parameters, weight=0.3 if options.toy else weight)

    def _source(self, options: Options) -> dict[str, Any]:
        """Where the clips come from; the fingerprint tells other recordings in the same folder."""
        if options.records is None:
            return {"subjects": self.subjects, "each": self.each, "seed": options.seed}
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


# --- what a table chooses ---------------------------------------------------------------------------------------------


def training(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that are not timings."""
    return table[table.part == "training"]


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """The runs that were meant to go to the end."""
    runs = training(table)
    return runs[runs.until == runs.until.max()]


def searched(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of the seeds with which every loss was tried at every rate."""
    rates = runs.groupby(["seed", "loss"]).rate.nunique().unstack(fill_value=0).min(axis=1)
    return runs[runs.seed.isin(rates.index[rates == rates.max()])]


def best(table: pd.DataFrame, measure: str) -> pd.Series:
    """Of each loss the rate whose error at the end is least on the subjects kept for choosing, over all seeds searched.

    A rate at which a run diverged is not chosen while there is another.
    """
    last = searched(complete(table)).groupby(["loss", "rate", "seed"]).last()
    found = last[f"choosing_{measure}"].where(last.status == "ok", np.inf)
    return found.groupby(["loss", "rate"]).mean().unstack().idxmin(axis=1)


def quickest(table: pd.DataFrame, measure: str) -> pd.Series:
    """Of each loss the rate whose mean error over the first epoch is least on the subjects kept for choosing."""
    found = searched(beginnings(table)).groupby(["loss", "rate", "seed"]).pipe(_early, f"choosing_{measure}")
    return found.groupby(["loss", "rate"]).mean().unstack().idxmin(axis=1)


def beginnings(table: pd.DataFrame) -> pd.DataFrame:
    """The first epoch of all runs, each once."""
    runs = training(table)
    first = runs[(runs.epoch > 0) & (runs.epoch <= 1)]
    return first.drop_duplicates(["loss", "rate", "seed", "step"])


def early(table: pd.DataFrame, measure: str) -> pd.Series:
    """Mean error over the measurements of the first epoch, even on a logarithmic clock, by loss, rate and seed."""
    return beginnings(table).groupby(["loss", "rate", "seed"]).pipe(_early, measure)


def _early(runs: Any, column: str) -> pd.Series:
    return runs[column].mean().where(runs.status.agg(lambda status: bool((status == "ok").all())), np.inf)


def chosen(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Of each loss the runs at the rate that ends best."""
    runs = complete(table)
    return runs[runs.rate == runs.loss.map(best(table, measure))]


def fastest(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Of each loss the first epoch at its quickest rate."""
    runs = beginnings(table)
    return runs[runs.rate == runs.loss.map(quickest(table, measure))]


# --- both figures -----------------------------------------------------------------------------------------------------

# Sized for an hour each on one core: the search in full has one seed instead of two, and losses of which neither paper
# says anything here have three or five seeds instead of ten.  More is another number below, and what is done is kept.

_SD = {"SD": 1.1, "SD centred": 1.1, "EMD normalized": 1.0}
FIGURE6 = Plan(
    "analysis.figures.figure6_breathing:run",
    "filters",
    {"MSE": 10, "SD": 10, "SD centred": 10, "EMD2": 10, "EMD zero-sum": 10, "KL": 3, "EMD normalized": 3},
    rates=(1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
    wider={
        "SD": (3e-6, 1e-6), "SD centred": (3e-1, 1.0), "EMD2": (3e-1, 1.0, 3.0, 10.0), "EMD zero-sum": (3e-1, 1.0),
        "EMD normalized": (3e-1, 1.0, 3.0, 10.0),
    },
    subjects=75,
    seconds=dict.fromkeys(("MSE", "EMD2", "EMD zero-sum", "KL"), 0.9) | _SD,
)  # fmt: skip
ICML = Plan(
    "analysis.figures.icml_figure1:run",
    "perceptron",
    {
        "MSE": 10, "KL": 10, "EMD normalized": 10, "EMD scaled": 10, "EMD normalized + MSE": 10,
        "EMD scaled + MSE": 10, "EMD zero-sum": 5, "EMD2": 5, "SD": 5, "SD centred": 5,
    },
    rates=(1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
    wider=dict.fromkeys(("EMD scaled", "EMD normalized", "EMD zero-sum", "SD"), (3e-1, 1.0, 3.0)),
    subjects=81,
    common=1e-3,  # Adam's own, in its paper and in torch
    seconds={"SD": 0.3, "SD centred": 0.3, "EMD normalized": 0.25, "EMD normalized + MSE": 0.25},
)  # fmt: skip
