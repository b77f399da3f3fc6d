"""What arXiv 1611.07573, Sec. 5.3 and Fig. 7, says of the losses, beside what the runs say.

Differences are in pairs of equal seeds, with 95% intervals that are not corrected for their number; a claim holds where
the whole interval is on its side.  Few samples are the fewest of a part.  A loss converges if at some rate of the
search its right answers at the end are half of those of CE or more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.engine.claims import Claim
from analysis.engine.intervals import Interval, against
from analysis.experiments.hierarchy import statistics
from analysis.experiments.hierarchy.experiment import ADAM, ALONE, DATA, SGD, SIMULATED, TOGETHER

SOURCE = "arXiv 1611.07573, Sec. 5.3 and Fig. 7"
HALF = 0.5
SHEETS = {SIMULATED: "", DATA: "_data"}
UNIT = {"top1": " points", "holistic": " edges", "severity": " edges"}
LEFT_OUT = (
    "left out: give plants100.npz or a file like it with --data FILE, or --data openml to fetch the hundred plants"
)


def words(loss: str) -> str:
    """As a legend says it."""
    return loss.replace("EMD2", "EMD²")


def claims(table: pd.DataFrame) -> list[Claim]:
    """Of both parts; what the second needs, if it is not there."""
    found = [claim for part in (SIMULATED, DATA) if (table.part == part).any() for claim in Part(table, part).claims()]
    if not (table.part == DATA).any():
        found.append(
            Claim(SOURCE, "the same on real data, 100 plant species from 1 to 12 samples of each", LEFT_OUT, None)
        )
    return found


@dataclass(frozen=True)
class Part:
    """The runs of one part."""

    table: pd.DataFrame
    part: str

    @cached_property
    def chosen(self) -> pd.DataFrame:
        """The runs in the chosen settings."""
        return statistics.chosen(self.table[self.table.part == self.part])

    @cached_property
    def ends(self) -> pd.DataFrame:
        """Their last rows."""
        return statistics.last(self.chosen)

    def sizes(self) -> list[int]:
        """Numbers of samples of each class."""
        return sorted(int(size) for size in self.table[self.table.part == self.part]["size"].unique())

    def claims(self) -> list[Claim]:
        """One for each sentence that these runs can speak of."""
        few, many = self.sizes()[0], self.sizes()[-1]
        found = [self.combined(few), self.alone(few), self.holistic(few), self.informed(few), self.sinkhorn(few)]
        return [*found, self.fastest(few), self.overfits(few), self.shrinks(few, many), self.converge(few)]

    def combined(self, few: int) -> Claim:
        """EMD2+CE against CE."""
        shown = "; ".join(f"{size} a class: {self.both('EMD2+CE', 'CE', 'top1', size)}" for size in self.sizes())
        claimed = "with few samples EMD²+CE has a higher top-1 accuracy than CE"
        return self._claim(claimed, f"top-1, {shown}", self.gap("EMD2+CE", "CE", "top1", few).above())

    def alone(self, few: int) -> Claim:
        """EMD2 against CE."""
        claimed = "with few samples the top-1 accuracy of EMD² alone ends up higher than that of CE"
        sgd = ", ".join(f"{words(loss)} {self.tried(SGD, few)[loss].max():.1%}" for loss in ("EMD2", "CE"))
        return self._claim(
            claimed,
            f"top-1, {few} a class: {self.both('EMD2', 'CE', 'top1', few)}; with SGD, at the best rate tried, {sgd}",
            self.gap("EMD2", "CE", "top1", few).above(),
        )

    def holistic(self, few: int) -> Claim:
        """EMD2 against the others."""
        others = [loss for loss in TOGETHER if loss != "EMD2"]
        shown = ", ".join(f"{words(x)} {self.one(x, 'holistic', few)}" for x in ("EMD2", *others))
        gaps = {other: self.gap("EMD2", other, "holistic", few) for other in others}
        apart = ", ".join(f"{words(other)} {_told(gap, 'holistic')}" for other, gap in gaps.items())
        return self._claim(
            "EMD² has a far smaller holistic error than all others",
            f"{few} a class: {shown}; EMD² less the others: {apart}",
            all(gap.below() for gap in gaps.values()),
        )

    def informed(self, few: int) -> Claim:
        """EMD2+CE against CE."""
        return self._claim(
            "in EMD²+CE, EMD² brings in the output space, through the holistic error",
            f"{few} a class: {self.both('EMD2+CE', 'CE', 'holistic', few)}; mistake severity, "
            f"{self.both('EMD2+CE', 'CE', 'severity', few)}",
            self.gap("EMD2+CE", "CE", "holistic", few).below(),
        )

    def sinkhorn(self, few: int) -> Claim:
        """EMD2+CE against SD+CE."""
        return self._claim(
            "SD+CE does the same to a lesser extent",
            f"top-1, {few} a class: {self.both('EMD2+CE', 'SD+CE', 'top1', few)}",
            self.gap("EMD2+CE", "SD+CE", "top1", few).above(),
        )

    def fastest(self, few: int) -> Claim:
        """Top-1 on the way."""
        ce, emd2 = self.way("CE", few), self.way("EMD2", few)
        difference = against(ce, emd2, self.lost("CE", "EMD2", few))
        return self._claim(
            "CE converges fast in top-1 accuracy, EMD² slowly",
            f"top-1 averaged over the measurements (dense at first), {few} a class: CE {ce.mean():.1%}, "
            f"EMD² {emd2.mean():.1%}, difference {_told(difference, 'top1')}",
            difference.above(),
        )

    def overfits(self, few: int) -> Claim:
        """The holistic error of CE falls and rises again to where it was."""
        runs = self.runs("CE", few).pivot(index="seed", columns="step", values="holistic")
        means = runs.mean()
        lowest = means.idxmin()
        start, end = runs.iloc[:, 0], runs.iloc[:, -1]
        rise, back = (against(end, other, self.lost("CE", "CE", few)) for other in (runs[lowest], start))
        return self._claim(
            "with few samples CE overfits: its holistic error falls, then grows back to its original value",
            f"{few} a class: {means.iloc[0]:.2f} untrained, {means[lowest]:.2f} at best (step {lowest}), "
            f"{means.iloc[-1]:.2f} at the end: {_told(rise, 'holistic')} since its best, "
            f"{_told(back, 'holistic')} against untrained",
            rise.above() and not back.below(),
        )

    def shrinks(self, few: int, many: int) -> Claim:
        """There is an advantage with few samples, and it is larger than with many."""
        gains = [self.end("EMD2+CE", "top1", size) - self.end("CE", "top1", size) for size in (few, many)]
        lost = sum(self.lost("EMD2+CE", "CE", size) for size in (few, many))
        difference = against(*gains, lost)
        return self._claim(
            "the advantage of EMD² is more apparent with few samples than with all",
            f"top-1 of EMD²+CE over CE: {100 * gains[0].mean():+.2f} points at {few} a class, "
            f"{100 * gains[1].mean():+.2f} at {many}, difference {_told(difference, 'top1')}",
            difference.above() and self.gap("EMD2+CE", "CE", "top1", few).above(),
        )

    def converge(self, few: int) -> Claim:
        """At every rate of the search."""
        limit = HALF * self.mean("CE", "top1", few)
        scores = {name: self.tried(name, few) for name in (SGD, ADAM)}
        told = {
            name: ", ".join(f"{loss} {found[loss].max():.1%} at {found[loss].idxmax():g}" for loss in ALONE)
            for name, found in scores.items()
        }
        return self._claim(
            "EMD and SD alone do not converge using SGD",
            f"converging is half of the top-1 of CE, {limit:.1%}, at some of {scores[SGD]['SD'].size} rates; {few} a "
            f"class, best with SGD: {told[SGD]}; with Adam: {told[ADAM]}",
            bool(max(scores[SGD][loss].max() for loss in ALONE) < limit),
        )

    def tried(self, optimizer: str, size: int) -> pd.Series:
        """Mean top-1 at the end over the seeds of the search, by loss and rate."""
        rows = self.table[(self.table.stage == "search") & (self.table.optimizer == optimizer)]
        ends = statistics.last(rows[(rows.part == self.part) & (rows["size"] == size)])
        return ends.top1.fillna(statistics.FAILED).groupby([ends.loss, ends.rate]).mean()

    def runs(self, loss: str, size: int) -> pd.DataFrame:
        """In the chosen setting."""
        rows = self.chosen
        return rows[(rows.part == self.part) & (rows["size"] == size) & (rows.loss == loss)]

    def way(self, loss: str, size: int) -> pd.Series:
        """Top-1 averaged over a run's measurements, by seed."""
        return self.runs(loss, size).groupby("seed").top1.mean()

    def end(self, loss: str, measure: str, size: int) -> pd.Series:
        """At the last step, by seed."""
        rows = self.ends[(self.ends["size"] == size) & (self.ends.loss == loss)]
        return rows.set_index("seed")[measure].sort_index()

    def lost(self, one: str, other: str, size: int) -> int:
        """Seeds for which either diverged."""
        return int((self.end(one, "top1", size) + self.end(other, "top1", size)).isna().sum())

    def gap(self, one: str, other: str, measure: str, size: int) -> Interval:
        """One less the other at the end."""
        pair = (self.end(loss, measure, size) for loss in (one, other))
        return against(*pair, self.lost(one, other, size))

    def mean(self, loss: str, measure: str, size: int) -> float:
        """Over seeds; inf if none is left, so that it is no one's least."""
        found = self.end(loss, measure, size).mean()
        return float(found) if np.isfinite(found) else np.inf

    def one(self, loss: str, measure: str, size: int) -> str:
        """A mean in words."""
        found = self.end(loss, measure, size).mean()
        return "diverged" if np.isnan(found) else f"{found:.1%}" if measure == "top1" else f"{found:.2f}"

    def both(self, one: str, other: str, measure: str, size: int) -> str:
        """Two means and their difference."""
        told = ", ".join(f"{words(loss)} {self.one(loss, measure, size)}" for loss in (one, other))
        return f"{told}, difference {_told(self.gap(one, other, measure, size), measure)}"

    def _claim(self, claimed: str, found: str, holds: bool) -> Claim:
        kind = "simulated features" if self.part == SIMULATED else "real data"
        return Claim(SOURCE, f"{claimed} ({kind})", found, bool(holds), SHEETS[self.part])


def _told(difference: Interval, measure: str) -> str:
    """Mean and interval, and what is the matter with it."""
    if np.isnan(difference.low):
        return "not comparable" + f" ({difference.lost} diverged)" * bool(difference.lost)
    factor = 100 if measure == "top1" else 1
    low, mean, high = (round(factor * x, 2) + 0.0 for x in (difference.low, difference.mean, difference.high))
    text = f"{mean:+.2f} ({low:+.2f} to {high:+.2f}){UNIT[measure]}"
    text += ", which includes 0" * difference.open()
    return text + f", {difference.lost} seeds diverged" * bool(difference.lost)
