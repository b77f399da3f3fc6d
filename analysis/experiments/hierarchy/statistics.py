"""What the table of runs says: settings chosen by each measure, means over seeds, losses compared in pairs of seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.engine.intervals import chance, holm, interval
from analysis.experiments.hierarchy.plan import SIMULATED, STEADY_STAGE

MEASURES = ("top1", "emd", "emd2", "severity")
WAY = "way"  # top-1 over the measurements of a run, dense at first: what is said of speed is judged and chosen by it
LARGER = ("top1", WAY)  # is better; of the others less is
OF_TRAINING = ("training_top1", "training_loss")
GROUP = ["part", "width", "size", "loss"]
SETTING = ["optimizer", "rate"]
RUN = [*GROUP, *SETTING, "epochs", "seed"]
TIE = 1e-9  # between scores: the same answers, summed up in another order
SEARCHED, LONGER, COST = "search", "longer", "cost"


def runs(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of networks trained; the others are timings."""
    return table[table.part != COST].astype({"width": int, "epochs": int})


def reduced(table: pd.DataFrame) -> pd.DataFrame:
    """Without the measurements on the way that nobody looks at: of runs in no chosen setting, and of most real ones.

    What is kept: every run's end, with its way to it; in chosen settings also the last but one; and all measurements
    of CE, of simulated and of the fewest samples there, of CE's search with the fewest, and of steady rates.
    """
    full = ways(runs(table))
    settings = best(full)
    rows = zip(*(full[name] for name in (*GROUP, *SETTING)), strict=True)
    chosen_by_any = np.array([row[4:] in settings[row[:4]].values() for row in rows])
    each = full.groupby(RUN, sort=False)
    rank = each.cumcount(ascending=False)
    fewest = full["size"] == full.groupby("part")["size"].transform("min")
    drawn = (full.part == SIMULATED) | fewest | (full.loss == "CE")
    wanted = chosen_by_any & drawn | (full.loss == "CE") & fewest | (full.stage == STEADY_STAGE)
    kept = full[(rank == 0) | chosen_by_any & (rank == 1) | wanted]
    return pd.concat([kept, table[table.part == COST]], ignore_index=True)


def ways(table: pd.DataFrame) -> pd.DataFrame:
    """With the way of each run, unless it is there."""
    if WAY in table:
        return table
    each = table.groupby(RUN, sort=False)
    return table.assign(**{WAY: each.top1.transform("mean"), f"choosing_{WAY}": each.choosing_top1.transform("mean")})


def last(table: pd.DataFrame) -> pd.DataFrame:
    """Each run's last row, and its way to it; what it measured is NaN if the run diverged."""
    rows = ways(table).groupby(RUN, as_index=False, sort=False).tail(1).copy()
    choosing = [f"choosing_{measure}" for measure in (*MEASURES, WAY)]
    rows.loc[rows.status != "ok", [*MEASURES, WAY, *OF_TRAINING, *choosing]] = np.nan
    return rows


Best = dict[tuple[str, int, int, str], dict[str, tuple[str, float]]]


def best(table: pd.DataFrame) -> Best:
    """For each part, width, size and loss, by each measure, the optimizer and rate best on the samples that choose.

    A run that diverged counts as worse than any; where no answer is wrong none is severe.  Of equally good ones that
    counts which is farthest from the ends of its optimizer's rates.
    """
    ends = last(table[table.stage == SEARCHED])
    found: Best = {}
    for measure in (*MEASURES, WAY):
        score = _score(ends, measure).groupby([ends[name] for name in (*GROUP, *SETTING)], sort=False).mean()
        for key, scores in score.groupby(level=[0, 1, 2, 3], sort=False):
            found.setdefault(key, {})[measure] = _innermost(scores.droplevel([0, 1, 2, 3]))
    return found


def _innermost(scores: pd.Series) -> tuple[str, float]:
    """Of the settings that score best."""
    rates = {name: sorted(rate for other, rate in scores.index if other == name) for name, _ in scores.index}

    def inside(setting: tuple[str, float]) -> int:
        place = rates[setting[0]].index(setting[1])
        return min(place, len(rates[setting[0]]) - 1 - place)

    return max(scores.index[scores >= scores.max() - TIE], key=inside)


def _score(ends: pd.DataFrame, measure: str) -> pd.Series:
    """The more, the better; finite, so that a mean over seeds is one."""
    values = ends[f"choosing_{measure}"]
    values = values if measure in LARGER else -values
    if measure == "severity":
        values = values.mask(values.isna() & (ends.status == "ok"), 0.0)
    return values.fillna(-1e9)


def chosen(table: pd.DataFrame, measure: str, settings: Best | None = None) -> pd.DataFrame:
    """The rows of all runs, also those of the search, in the settings chosen by a measure, but long ones."""
    settings = settings or best(table)
    rows = zip(*(table[name] for name in (*GROUP, *SETTING)), strict=True)
    return table[
        np.array([settings[row[:4]][measure] == row[4:] for row in rows]) & ~table.stage.isin((LONGER, STEADY_STAGE))
    ]


def edges(table: pd.DataFrame, settings: Best | None = None) -> dict[tuple[str, int, int, str, str], str]:
    """Of part, width, size, loss and measure: the setting chosen, where its rate is the grid's first or last."""
    tried = table[table.stage == SEARCHED].groupby([*GROUP, "optimizer"]).rate.agg(["min", "max"])
    return {
        (*key, measure): f"{name} {rate:g}"
        for key, each in (settings or best(table)).items()
        for measure, (name, rate) in each.items()
        if rate in tuple(tried.loc[(*key, name)]) and tried.loc[(*key, name)].nunique() > 1
    }


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """For each part, width, size, loss and measure: mean, interval, difference from CE, p and p with Holm's correction.

    Each measure at the setting that it chose; the correction is over all comparisons of a part.
    """
    rows, settings = [], best(table)
    for measure in MEASURES:
        ends = last(chosen(table, measure, settings))
        for key, runs in ends.groupby(GROUP, sort=False):
            same = (ends.part == key[0]) & (ends.width == key[1]) & (ends["size"] == key[2])
            base = ends[same & (ends.loss == "CE")].set_index("seed")
            rows.append(dict(zip(GROUP, key, strict=True)) | _line(measure, runs.set_index("seed"), base))
    found = pd.DataFrame(rows)
    found["p_holm"] = np.nan
    for _, some in found.groupby("part"):
        found.loc[some.index, "p_holm"] = holm(some.p)
    order = {name: rank for rank, name in enumerate(dict.fromkeys(table.part))}
    losses = {name: rank for rank, name in enumerate(dict.fromkeys(table.loss))}
    ranks = {"part": order, "loss": losses, "measure": {name: rank for rank, name in enumerate(MEASURES)}}
    columns = [*GROUP, "measure"]
    return found.sort_values(columns, key=lambda x: x.map(ranks[x.name]) if x.name in ranks else x, ignore_index=True)


def _line(measure: str, runs: pd.DataFrame, base: pd.DataFrame) -> dict[str, Any]:
    lost = int((runs.status != "ok").sum())
    own = interval(runs[measure], lost)
    line = dict(runs[SETTING].iloc[0]) | {"measure": measure, "seeds": own.n, "diverged": lost}
    line |= {"mean": own.mean, "low": own.low, "high": own.high, "training_top1": runs.training_top1.mean()}
    if not len(base) or (runs.loss == "CE").all():
        return line | dict.fromkeys(("minus_CE", "minus_CE_low", "minus_CE_high", "p"), np.nan)
    apart = runs[measure] - base[measure]
    pairs = interval(apart)
    return line | {"minus_CE": pairs.mean, "minus_CE_low": pairs.low, "minus_CE_high": pairs.high, "p": chance(apart)}


def moves(table: pd.DataFrame, measure: str, settings: Best | None = None) -> pd.DataFrame:
    """How far runs in the settings chosen by a measure still move, means over seeds, by part, width, size and loss.

    ``tenth``: training top-1 over the last tenth of the epochs.  ``doubled``: the measure at the end of runs of twice
    the epochs, less that of the same seeds' runs; NaN where there are none.
    """
    runs = chosen(table, measure, settings)
    ends = last(runs)
    late = runs[(runs.epoch < runs.epochs) & (runs.status == "ok")].groupby(RUN, sort=False).tail(1)
    tenth = ends.set_index(RUN).training_top1 - late.set_index(RUN).training_top1
    longer = last(table[table.stage == LONGER]).set_index([*GROUP, *SETTING, "seed"])[measure]
    same = ends.set_index([*GROUP, *SETTING, "seed"])[measure]
    doubled = longer - same.reindex(longer.index)
    return pd.DataFrame(
        {name: some.groupby(level=GROUP).mean() for name, some in (("tenth", tenth), ("doubled", doubled))}
    )
