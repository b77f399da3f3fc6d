"""What arXiv 1611.07573 says of the losses on a tree, and the evidence of the runs for each sentence.

Every claim has one primary contrast, written down here before the runs.  Simulated: few samples are 4 a class, all are
20.  Real: few are every number of samples at once, as the mean over them, in pairs of equal seeds; all are the most.
Each measure is judged at the settings that it chose.  A width is 128 hidden units unless it is said.

Doubts are computed.  *Edge*: a rate chosen is the first or last of its optimizer's.  *Moving*: training top-1 changes
by more than `MOVES` over the last tenth of the epochs, or the measure by more than `DOUBLED` in runs of twice the
epochs; the second says more, since a rate that falls to 0 along a cosine is below a fortieth of itself in the last
tenth, and halts what would move on.  *Underfit*: of two losses whose top-1 is compared one names `UNDERFIT` fewer of
its training samples; a network that cannot fit says nothing of the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis.engine.claims import FINDING, PAPER, TARGET, Claim, Difference, Evidence, Margin, Missing, NonConvergence
from analysis.engine.intervals import interval
from analysis.experiments.hierarchy import calibration, statistics
from analysis.experiments.hierarchy.perceptron import SGD, WIDTH
from analysis.experiments.hierarchy.plan import DATA, DIGITS, DRAWN, SIMULATED, STEADY_STAGE

ARXIV = "arXiv 1611.07573"
TEXT, FIGURE, ABSTRACT, FIRST = (f"{ARXIV}, {place}" for place in ("Sec. 5.3", "Fig. 7", "abstract", "Sec. 1"))
MOVES, DOUBLED, DOUBLED_ERROR, UNDERFIT = 0.01, 0.01, 0.03, 0.10  # of all samples; of an error a share of itself
LITTLE = 1.0  # points of top-1: what counts as little advantage
LARGE = 10.0  # per cent of the next best loss' error: what counts as a large gap
AGAIN, BACK = 0.05, 0.9  # of a fall: what counts as growing again, and as back at the original value
DEARER = 1.25  # times EMD's seconds: what counts as the same cost
HALF = 0.5  # of CE's top-1: what counts as converged
WIDER = 512  # hidden units: the widest with enough seeds
POWERS = {"emd": "ρ = 1", "emd2": "ρ = 2"}
PARTS = {SIMULATED: "simulated features", DATA: "real leaves", DIGITS: "real digits"}
SHEETS = {SIMULATED: "", DATA: "_data", DIGITS: "_data"}
ABSENT = {
    DATA: "no file of real data: give plants100.npz or one like it with --data FILE, or --data openml to fetch it",
    DIGITS: "scikit-learn, whose digits these are, is not installed: python3 -m pip install scikit-learn",
}


def words(loss: str) -> str:
    """As a legend says it."""
    return loss.replace("EMD2", "EMD²")


def claims(table: pd.DataFrame) -> list[Claim]:
    """Of all parts; what is missing, where a part is not there."""
    runs = statistics.runs(table)
    found = [cost(table), noise(Part(runs, SIMULATED))]
    for part, kind in PARTS.items():
        if (runs.part == part).any():
            found += Part(runs, part).claims()
        else:
            found.append(Claim(FIGURE, f"the same on other data ({kind})", "as above", Missing(ABSENT[part])))
    return found


def cost(table: pd.DataFrame) -> Claim:
    """EMD2's seconds over EMD's, round by round."""
    rounds = table[table.part == statistics.COST].pivot_table(index="seed", columns="loss", values="seconds")
    shown = f"medians {1e3 * rounds.EMD2.median():.2f} and {1e3 * rounds.EMD.median():.2f} ms"
    ratio = interval(np.log(rounds.EMD2 / rounds.EMD))  # its geometric mean, which is that of EMD over EMD2 turned over
    return Claim(
        ABSTRACT,
        "the relaxed EMD² has a computational complexity equivalent to EMD's (Fig. 7's losses)",
        "seconds of EMD² over EMD's, value and gradient of 512 x 1000 logits, in rounds of both",
        Margin(float(np.exp(ratio.low)), float(np.exp(ratio.high)), most=DEARER, unit="times", kind="non-inferiority"),
        shown,
    )


def noise(part: Part) -> Claim:
    """What was calibrated before."""
    low, high = (100 * bound for bound in calibration.WITHIN)
    top1 = part.end("CE", "top1", part.few)
    return Claim(
        "Figure 7's calibration",
        "the simulated features are so hard that CE's top-1 with few samples is 20 to 30%",
        "top-1 of CE, fewest samples, mean over seeds",
        Margin.of(top1, factor=100, least=low, most=high, unit="%", kind="threshold"),
        about=TARGET,
    )


@dataclass(frozen=True)
class Part:
    """The runs of one part."""

    table: pd.DataFrame
    part: str

    @cached_property
    def own(self) -> pd.DataFrame:
        return self.table[self.table.part == self.part]

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers of samples of each class."""
        return sorted(int(size) for size in self.own["size"].unique())

    @property
    def few(self) -> list[int]:
        """Those that a claim on few samples is judged with."""
        return self.sizes[:1] if self.part == SIMULATED else self.sizes

    @property
    def fewest(self) -> list[int]:
        """Where all losses are tried."""
        return self.sizes[:1]

    @property
    def all(self) -> list[int]:
        """The most samples."""
        return self.sizes[-1:]

    def claims(self) -> list[Claim]:
        """One for each sentence that these runs can speak of."""
        both = [claim for measure in POWERS for claim in self.holistic(measure)]
        return [
            *(self.combined(), self.alone(), self.low(), self.best(), self.little(), self.apparent()),
            *both,
            self.power(),
            *(self.lesser(), self.fastest(), self.slow(), self.faster()),
            *(self.stuck("EMD"), self.stuck("SD"), self.stuck("SD+CE 1:1"), self.needs_term(), self.needs_small_rate()),
        ]

    # --- top-1

    def combined(self) -> Claim:
        contrast = f"top-1 of EMD²+CE less CE's, {self.told(self.few)}"
        return self.difference(
            TEXT, "with few samples EMD²+CE has a higher top-1 than CE", contrast, {"EMD2+CE": "CE"}, "top1", self.few
        )

    def alone(self) -> Claim:
        wide = WIDER if (self.own.width == WIDER).any() else WIDTH
        contrast = f"top-1 of EMD² less CE's, {self.told(self.few)}, {wide} hidden units"
        claimed = "with few samples EMD² alone ends with a higher top-1 than CE"
        others = sorted({int(width) for width in self.own.width.unique()} - {wide})
        ends = [[100 * np.nanmean(self.end(x, "top1", self.few, width)) for x in ("EMD2", "CE")] for width in others]
        more = ", ".join(f"{width} units {a:.1f} and {b:.1f}%" for width, (a, b) in zip(others, ends, strict=True))
        return self.difference(TEXT, claimed, contrast, {"EMD2": "CE"}, "top1", self.few, width=wide, more=more)

    def low(self) -> Claim:
        contrast = f"top-1 of EMD² less CE's, {self.told(self.all)}"
        claimed = "with all data EMD² alone does not reach a high top-1"
        return self.difference(FIGURE, claimed, contrast, {"EMD2": "CE"}, "top1", self.all, side=-1)

    def best(self) -> Claim:
        contrast = f"top-1 of EMD²+CE less that of each other loss, {self.told(self.all)}"
        others = [("EMD2+CE", loss) for loss in DRAWN if loss != "EMD2+CE"]
        return self.difference(
            FIGURE, "with all data EMD²+CE has the best top-1", contrast, others, "top1", self.all, underfit=False
        )

    def little(self) -> Claim:
        pairs = self.gap("EMD2+CE", "CE", "top1", self.all)
        return self.claim(
            TEXT,
            "with all data EMD² brings little advantage",
            f"top-1 of EMD²+CE less CE's, {self.told(self.all)}, within {LITTLE:g} point",
            Margin.of(pairs, factor=100, least=-LITTLE, most=LITTLE, unit="points"),
            self.both(("EMD2+CE", "CE"), "top1", self.all),
            self.doubts(("EMD2+CE", "CE"), "top1", self.all),
        )

    def apparent(self) -> Claim:
        gains = [self.gap("EMD2+CE", "CE", "top1", sizes) for sizes in (self.fewest, self.all)]
        doubts = [self.doubts(("EMD2+CE", "CE"), "top1", sizes) for sizes in (self.fewest, self.all)]
        return self.claim(
            FIGURE,
            "the advantage of EMD² is more apparent with few samples than with all",
            f"top-1 of EMD²+CE less CE's, {self.told(self.fewest)} less {self.told(self.all)}",
            Difference({"few − all": _less(*gains)}, 1, "points", 100, self.seconds(("EMD2+CE", "CE"), self.sizes)),
            f"{100 * np.mean(gains[0]):+.2f} points with few, {100 * np.mean(gains[1]):+.2f} with all",
            list(dict.fromkeys(doubts[0] + doubts[1])),
        )

    # --- holistic

    def holistic(self, measure: str) -> list[Claim]:
        power = POWERS[measure]
        at = f"mean EMD^ρ, {power}, {self.told(self.few)}"
        others = [("EMD2", loss) for loss in DRAWN if loss != "EMD2"]
        shown = self.both(DRAWN, measure, self.few)
        found = [
            self.difference(
                FIGURE, f"EMD² has a smaller holistic error than all others, {power}", f"EMD² less each other: {at}",
                others, measure, self.few, side=-1,
            ),
            self.claim(
                FIGURE,
                f"the holistic error of EMD² is smaller by a large gap, {power}",
                f"EMD² below the least of the others of the seed, in % of that, at least {LARGE:g}: {at}",
                Margin.of(self.below_others(measure), least=LARGE, unit="%", kind="threshold"),
                shown,
                self.doubts(DRAWN, measure, self.few),
            ),
            self.difference(
                TEXT, f"EMD²+CE brings the output space in, by the holistic error, {power}", f"EMD²+CE less CE: {at}",
                {"EMD2+CE": "CE"}, measure, self.few, side=-1,
            ),
        ]  # fmt: skip
        return [*found, self.grows(measure), self.back(measure)]

    def below_others(self, measure: str) -> Any:
        """By how much EMD2's error is below the least of the others', seed by seed, in per cent of that."""
        least = np.min([self.end(loss, measure, self.few) for loss in DRAWN if loss != "EMD2"], axis=0)
        return 100 * (1 - self.end("EMD2", measure, self.few) / least)

    def grows(self, measure: str) -> Claim:
        return self.lost_again(
            measure,
            f"with few samples CE overfits: its holistic error falls and then grows again, {POWERS[measure]}",
            AGAIN,
        )

    def back(self, measure: str) -> Claim:
        return self.lost_again(
            measure,
            f"with few samples CE overfits: its holistic error grows back to its original value, {POWERS[measure]}",
            BACK,
        )

    def lost_again(self, measure: str, claimed: str, least: float) -> Claim:
        """Of the fall of CE's error, at the paper's rate, which stays what it is."""
        start, lowest, end = self.course(measure)
        return self.claim(
            TEXT,
            claimed,
            f"of the fall of CE's error, to its least by the choosing samples, the share that is lost again, at least "
            f"{least:g}, {self.told(self.few)}, SGD at the paper's 0.05 throughout",
            Margin.of((end - lowest) / (start - lowest), least=least, kind="threshold"),
            f"{np.mean(start):.2f} untrained, {np.mean(lowest):.2f} at its least, {np.mean(end):.2f} at the end; "
            + self.shown_course(measure),
        )

    def course(self, measure: str) -> tuple[Any, Any, Any]:
        """CE's error untrained, at its least by the choosing samples, at the end; by seed, means over sizes."""
        found = []
        for size in self.few:
            runs = _of(self.own[self.own.stage == STEADY_STAGE], "CE", size, WIDTH)
            curves = runs.pivot(index="seed", columns="step", values=measure)
            least = runs.groupby("step")[f"choosing_{measure}"].mean().idxmin()
            found.append([curves[step].to_numpy() for step in (curves.columns[0], least, curves.columns[-1])])
        start, lowest, end = np.mean(found, axis=0)
        return start, lowest, end

    def shown_course(self, measure: str) -> str:
        """At which falling rate most of the fall is lost again, of those searched that come near the best top-1."""
        tried = self.own[(self.own.stage == statistics.SEARCHED) & (self.own.status == "ok")]
        curves = _of(tried, "CE", self.few[0], WIDTH).groupby([*statistics.SETTING, "step"])[[measure, "top1"]].mean()
        ends = curves.top1.groupby(level=[0, 1]).transform("last")
        near = curves[measure][ends >= HALF * ends.max()].groupby(level=[0, 1])
        fall = near.first() - near.min()
        lost = ((near.last() - near.min()) / fall)[fall > 0]
        name, rate = lost.idxmax()
        return f"of rates that fall, most is lost again at {name} {rate:g}, {lost.max():.0%}"

    def power(self) -> Claim:
        """Which one the paper's words on Fig. 7 (c) fit."""
        ratio = {m: 100 * self.end("EMD2", m, self.few) / self.end("CE", m, self.few) for m in POWERS}
        back = {}
        for measure in POWERS:
            start, lowest, end = self.course(measure)
            back[measure] = 100 * (end - lowest) / (start - lowest)
        pairs = {"EMD² over CE, ρ = 1 less ρ = 2": ratio["emd"] - ratio["emd2"]}
        shown = ", ".join(
            f"{POWERS[m]}: EMD² {np.mean(ratio[m]):.0f}% of CE, back {np.mean(back[m]):.0f}%" for m in POWERS
        )
        return self.claim(
            "Figure 7, both powers",
            "the paper's words on panel (c), EMD² the smallest, are nearer to an error with ρ = 2 than with ρ = 1",
            "EMD²'s error over CE's with ρ = 1 less that with ρ = 2; beside it what CE loses again of its fall",
            Difference(pairs, 1, "%"),
            shown,
            about=FINDING,
        )

    # --- speed

    def lesser(self) -> Claim:
        pairs = [("SD+CE", "CE"), ("EMD2+CE", "SD+CE")]
        contrast = f"top-1 of SD+CE less CE's, and of EMD²+CE less SD+CE's, {self.told(self.few)}"
        claimed = "SD+CE does the same as EMD²+CE to a lesser extent"
        return self.difference(TEXT, claimed, contrast, pairs, "top1", self.few)

    def fastest(self) -> Claim:
        others = [loss for loss in DRAWN if loss != "CE"]
        pairs = {f"CE − {words(loss)}": self.gap("CE", loss, statistics.WAY, self.few) for loss in others}
        return self.claim(
            TEXT,
            "CE converges the fastest in top-1",
            f"top-1 in the mean over the measurements, dense at first, CE less each other, {self.told(self.few)}",
            Difference(pairs, 1, "points", 100, self.seconds(DRAWN, self.few)),
            ", ".join(f"{words(loss)} {np.nanmean(self.end(loss, statistics.WAY, self.few)):.1%}" for loss in DRAWN),
            self._at_edge(DRAWN, statistics.WAY, self.few, WIDTH),
        )

    def slow(self) -> Claim:
        pairs = {"EMD² − CE": self.gap("EMD2", "CE", statistics.WAY, self.few)}
        return self.claim(
            TEXT,
            "EMD² is slow in top-1",
            f"top-1 in the mean over the measurements, dense at first, EMD² less CE, {self.told(self.few)}",
            Difference(pairs, -1, "points", 100, self.seconds(("EMD2", "CE"), self.few)),
            doubts=self._at_edge(("EMD2", "CE"), statistics.WAY, self.few, WIDTH),
        )

    def faster(self) -> Claim:
        own = [self.curve(loss, "emd", "emd", self.fewest[0]).mean(axis=1) for loss in ("EMD2", "EMD")]
        pairs = {"EMD² − EMD": _less(*own)}
        return self.claim(
            ABSTRACT,
            "the relaxed EMD² converges faster than EMD",
            f"EMD of the prediction, the loss of EMD itself, mean over the measurements, {self.told(self.fewest)}",
            Difference(pairs, -1, "edges", 1, self.seconds(("EMD2", "EMD"), self.fewest)),
            self.both(("EMD2", "EMD"), "emd", self.fewest) + " at the end",
            self.doubts(("EMD2", "EMD"), "emd", self.fewest),
        )

    # --- what does not converge

    def stuck(self, loss: str) -> Claim:
        asked = "1:1 SD+CE does not converge" if "+" in loss else f"{loss} alone does not converge"
        tried = self.tried(loss)
        tried = tried[tried.optimizer == SGD]
        return self.converges(TEXT, f"{asked} using SGD", tried, loss)

    def needs_term(self) -> Claim:
        return self.converges(
            FIRST, "SD needs the Kullback-Leibler term to converge: alone it does not", self.tried("SD"), "SD"
        )

    def needs_small_rate(self) -> Claim:
        own = self.tried("CE")
        rate = float(own[own.optimizer == SGD].set_index("rate").top1.idxmax())
        tried = self.tried("SD+CE")
        tried = tried[(tried.optimizer == SGD) & (tried.rate >= rate)]
        claimed = "SD with that term needs an exceedingly small rate: at CE's best and above it does not converge"
        return self.converges(FIRST, claimed, tried, "SD+CE")

    def converges(self, source: str, claimed: str, tried: pd.DataFrame, loss: str) -> Claim:
        size = self.fewest[0]
        limit = HALF * float(np.nanmean(self.end("CE", "top1", [size])))
        best = tried.loc[tried.top1.idxmax()] if tried.top1.notna().any() else None
        score = 0.0 if best is None else float(best.top1)
        at = (
            "every run diverged"
            if best is None
            else f"{words(loss)} {score:.1%} at best, {best.optimizer} {best.rate:g}"
        )
        rates = ", ".join(
            f"{len(some)} rates of {name} from {some.rate.min():g} to {some.rate.max():g}"
            for name, some in tried.groupby("optimizer", sort=False)
        )
        budget = f"{rates}, {self.own.epochs.min()} epochs; converged is {HALF:.0%} of CE's top-1, {limit:.1%}"
        contrast = f"best top-1 at the end over all rates tried, {self.told([size])}, against half of CE's"
        return self.claim(source, claimed, contrast, NonConvergence(score, limit, budget), at)

    def tried(self, loss: str) -> pd.DataFrame:
        """Top-1 at the end of every setting of the search with the fewest samples, means over its seeds."""
        rows = self.own[(self.own.stage == statistics.SEARCHED) & (self.own.loss == loss)]
        rows = rows[(rows["size"] == self.fewest[0]) & (rows.width == WIDTH)]
        return statistics.last(rows).groupby(["optimizer", "rate"], sort=False).top1.mean().reset_index()

    # --- what claims are made of

    def difference(
        self, source: str, claimed: str, contrast: str, pairs: Any, measure: str, sizes: list[int], *,
        side: int = 1, width: int = WIDTH, underfit: bool = True, more: str = "",
    ) -> Claim:  # fmt: skip
        """At the ends of the runs."""
        pairs = list(pairs.items() if isinstance(pairs, dict) else pairs)
        losses = list(dict.fromkeys(loss for pair in pairs for loss in pair))
        unit, factor = ("points", 100.0) if measure == "top1" else ("edges", 1.0)
        gaps = {f"{words(a)} − {words(b)}": self.gap(a, b, measure, sizes, width) for a, b in pairs}
        evidence = Difference(gaps, side, unit, factor, self.seconds(losses, sizes, width))
        doubts = self.doubts(losses, measure, sizes, width, underfit=underfit)
        found = "; ".join(filter(None, [self.both(losses, measure, sizes, width), more]))
        return self.claim(source, claimed, contrast, evidence, found, doubts)

    def claim(
        self, source: str, claimed: str, contrast: str, evidence: Evidence, found: str = "",
        doubts: Sequence[str] = (), about: str = PAPER,
    ) -> Claim:  # fmt: skip
        named = f"{claimed} ({PARTS[self.part]})"
        return Claim(source, named, contrast, evidence, found, tuple(doubts), about, SHEETS[self.part])

    def rows(self, loss: str, measure: str, size: int, width: int = WIDTH) -> pd.DataFrame:
        """All measurements of a loss in the setting chosen by a measure."""
        return _of(self._once(statistics.chosen, measure), loss, size, width)

    def _ended(self, loss: str, measure: str, size: int, width: int) -> pd.DataFrame:
        """The last of them, by seed."""
        return _of(self._once(_ended, measure), loss, size, width).set_index("seed").sort_index()

    def _once(self, function: Callable[[pd.DataFrame, str, statistics.Best], Any], measure: str) -> Any:
        key = function.__name__, measure
        if key not in self._kept:
            self._kept[key] = function(self.own, measure, self._best)
        return self._kept[key]

    @cached_property
    def _kept(self) -> dict[tuple[str, str], Any]:
        return {}

    @cached_property
    def _best(self) -> statistics.Best:
        return statistics.best(self.own)

    @cached_property
    def _edges(self) -> dict[tuple[str, int, int, str, str], str]:
        return statistics.edges(self.own, self._best)

    def ends(self, loss: str, measure: str, size: int, width: int = WIDTH) -> pd.Series:
        """Of every seed; NaN where the run diverged."""
        return self._ended(loss, measure, size, width)[measure]

    def end(self, loss: str, measure: str, sizes: list[int], width: int = WIDTH) -> Any:
        """Of every seed, means over sizes."""
        return sum(self.ends(loss, measure, size, width) for size in sizes).to_numpy() / len(sizes)

    def gap(self, one: str, other: str, measure: str, sizes: list[int], width: int = WIDTH) -> pd.Series:
        """One less the other in pairs of equal seeds, means over sizes, by seed."""
        return sum(_less(*(self.ends(x, measure, size, width) for x in (one, other))) for size in sizes) / len(sizes)

    def curve(self, loss: str, judged: str, measure: str, size: int) -> pd.DataFrame:
        """A measure of every seed at every step, in the setting chosen by `judged`."""
        return self.rows(loss, judged, size).pivot(index="seed", columns="step", values=measure)

    def seconds(self, losses: Sequence[str], sizes: list[int], width: int = WIDTH) -> float:
        """That one more seed takes."""
        rows = self.own[self.own.loss.isin(losses) & self.own["size"].isin(sizes) & (self.own.width == width)]
        return float(rows[rows.stage != statistics.LONGER].groupby(["loss", "size"]).seconds.mean().sum())

    def told(self, sizes: list[int]) -> str:
        return f"{' to '.join(str(size) for size in dict.fromkeys((sizes[0], sizes[-1])))} a class"

    def both(self, losses: Sequence[str], measure: str, sizes: list[int], width: int = WIDTH) -> str:
        """Means in words; of top-1 also that of the training samples."""
        return ", ".join(f"{words(loss)} {self._mean(loss, measure, sizes, width)}" for loss in losses)

    def _mean(self, loss: str, measure: str, sizes: list[int], width: int) -> str:
        found = np.nanmean(self.end(loss, measure, sizes, width))
        if measure != "top1":
            return f"{found:.2f}"
        return f"{found:.1%} (training {self.fitted(loss, sizes, width):.0%})"

    def fitted(self, loss: str, sizes: list[int], width: int = WIDTH) -> float:
        """Top-1 on training samples at the end."""
        ends = [self._ended(loss, "top1", size, width).training_top1.mean() for size in sizes]
        return float(np.mean(ends))

    def doubts(
        self, losses: Sequence[str], measure: str, sizes: list[int], width: int = WIDTH, *, underfit: bool = True
    ) -> list[str]:
        """Why a difference of these losses may say nothing."""
        return [
            *self._at_edge(losses, measure, sizes, width),
            *self._moving(losses, measure, sizes, width),
            *(self._unfit(losses, sizes, width) if underfit and measure == "top1" else []),
        ]

    def _at_edge(self, losses: Sequence[str], measure: str, sizes: list[int], width: int) -> list[str]:
        edges = self._edges
        found = [
            f"{words(loss)} {edges[key]}" + f" at {size}" * (len(sizes) > 1)
            for loss in losses
            for size in sizes
            if (key := (self.part, width, size, loss, measure)) in edges
        ]
        return [f"a rate chosen stands at the grid's edge: {_some(found)}"] if found else []

    def _moving(self, losses: Sequence[str], measure: str, sizes: list[int], width: int) -> list[str]:
        moves = self._once(statistics.moves, measure)
        found = []
        for loss in losses:
            for size in sizes:
                tenth, doubled = moves.loc[(self.part, width, size, loss)]
                end = np.nanmean(self.end(loss, measure, [size], width))
                limit = DOUBLED if measure == "top1" else DOUBLED_ERROR * end
                if abs(tenth) > MOVES:
                    found.append(f"{words(loss)} by {100 * tenth:+.1f} points of training top-1 in the last tenth")
                elif abs(doubled) > limit:
                    shown = f"{100 * doubled:+.1f} points" if measure == "top1" else f"{doubled:+.2f} edges"
                    found.append(f"{words(loss)} by {shown} in twice the epochs")
        return [f"a curve still moves: {_some(found)}"] if found else []

    def _unfit(self, losses: Sequence[str], sizes: list[int], width: int) -> list[str]:
        fits = {loss: self.fitted(loss, sizes, width) for loss in losses}
        worst, best = min(fits, key=lambda loss: fits[loss]), max(fits.values())
        if best - fits[worst] <= UNDERFIT:
            return []
        return [f"{words(worst)} underfits: training top-1 {fits[worst]:.0%}, others up to {best:.0%}"]


def _of(rows: pd.DataFrame, loss: str, size: int, width: int) -> pd.DataFrame:
    return rows[(rows.loss == loss) & (rows["size"] == size) & (rows.width == width)]


def _ended(table: pd.DataFrame, measure: str, settings: statistics.Best) -> pd.DataFrame:
    return statistics.last(statistics.chosen(table, measure, settings))


def _less(one: pd.Series, other: pd.Series) -> pd.Series:
    """One less the other for seeds that both have."""
    seeds = one.index.intersection(other.index)
    return one[seeds] - other[seeds]


def _some(found: list[str], most: int = 3) -> str:
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
