"""What the papers say of the breathing experiment: each sentence with its kind and its one contrast.

They were written down before any of the runs was looked at.  arXiv 1611.07573, Sec. 5.2, says that "EMD also serves as
the evaluation metric": its claims are judged by the EMD of the spectra.  ICML 2016, Fig. 1, draws the distance of the
largest peaks: its claims are judged by that.  The other measure is a finding.  Of speed speak the measurements of the
first epoch at the rate that begins best, of accuracy the end at the rate that ends best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analysis.engine.claims import FINDING, PAPER, Claim, Difference, Exact, Margin, Missing, NonConvergence
from analysis.experiments.breathing import plans, report
from analysis.experiments.breathing.report import UNIT, words

ARXIV, ICML = "arXiv 1611.07573", "ICML 2016"
EARLY = "mean over the first epoch's measurements, evenly spaced in its logarithm, at the rate that begins best"
COMMON = f"mean over the first epoch's measurements, Adam's rate being {plans.ICML.common:g} for all"
END = "at the end, at the rate that ends best"
NAMES = {"emd": "EMD of the spectrum", "error": "distance of the peaks"}
MIXED = " + MSE"
RIVALS = ("EMD normalized", "MSE", "KL")
FACTOR = np.log10(2)  # by which a magnitude may be off
ALIKE = 0.1  # breaths per minute that are no difference: a tenth of the bins' width
ENTRY = 30 * 29  # no entry of a gradient of ICML 2016, Eqs. 4 and 6, for 30 bins is larger


@dataclass(frozen=True)
class Runs:
    """A table, asked for the numbers of a contrast."""

    table: pd.DataFrame
    plan: plans.Plan
    known: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def values(self, measure: str, when: str) -> pd.Series:
        """By loss and seed; NaN where the run diverged."""
        return self._once(self._values, measure, when)

    def rates(self, measure: str, when: str) -> pd.Series:
        """Of each loss."""
        return self._once(self._rates, measure, when)

    def chosen(self, measure: str) -> pd.DataFrame:
        """The runs that end best."""
        return self._once(lambda measure: plans.chosen(self.table, measure), measure)

    def _once(self, function: Callable[..., Any], *arguments: str) -> Any:
        key = (function.__name__, *arguments)
        if key not in self.known:
            self.known[key] = function(*arguments)
        return self.known[key]

    def _tried(self) -> pd.DataFrame:
        return plans.searched(plans.complete(self.table)).groupby("loss").rate.agg(["min", "max"])

    def _values(self, measure: str, when: str) -> pd.Series:
        if when == END:
            return report.last(self.chosen(measure), measure)
        found = plans.early(self.table, measure).replace(np.inf, np.nan).reset_index()
        wanted = found.rate == (self.plan.common if when == COMMON else found.loss.map(self.rates(measure, EARLY)))
        return found[wanted].set_index(["loss", "seed"])[measure]

    def _rates(self, measure: str, when: str) -> pd.Series:
        return (plans.best if when == END else plans.quickest)(self.table, measure)

    def pairs(self, measure: str, when: str, ours: str, others: Sequence[str]) -> dict[str, list[float]]:
        """Ours less each other, seed by seed; a run that diverged has an infinite error."""
        values = self.values(measure, when).fillna(np.inf)
        less = {f"{words(ours)} − {words(loss)}": values[ours] - values[loss] for loss in others}
        shared = [values[loss].index for loss in (ours, *others)]
        seeds = sorted(set.intersection(*map(set, shared)))
        return {name: found[seeds].tolist() for name, found in less.items()}

    def edge(self, losses: Sequence[str], measure: str, when: str) -> list[str]:
        """Choices with no rate tried beyond them."""
        if when == COMMON:
            return []
        rates, tried = self.rates(measure, when), self._once(self._tried)
        found = [f"{words(loss)} {rates[loss]:g}" for loss in losses if rates[loss] in tuple(tried.loc[loss])]
        return [f"rates at the edge of those tried: {', '.join(found)}"] * bool(found)

    def moving(self, losses: Sequence[str], measure: str, pairs: dict[str, list[float]]) -> list[str]:
        """Losses whose error on clips trained on still changes, over the last fifth, by more than what is judged."""
        runs, found = self.chosen(measure), []
        judged = min(abs(np.mean([x for x in values if np.isfinite(x)])) for values in pairs.values())
        for loss in losses:
            mean = runs[runs.loss == loss].groupby("epoch")[f"train_{measure}"].mean()
            late = abs(mean[mean.index <= 0.8 * mean.index.max()].iloc[-1] - mean.iloc[-1])
            if late > judged:
                found.append(f"{words(loss)} by {late:.2g}")
        return [f"training curves that still move in the last fifth: {', '.join(found)}"] * bool(found)

    def less(
        self,
        source: str,
        claimed: str,
        when: str,
        measure: str,
        ours: str,
        others: Sequence[str],
        about: str = PAPER,
    ) -> Claim:
        """One loss's error is below others'."""
        pairs, losses = self.pairs(measure, when, ours, others), (ours, *others)
        values, rates = self.values(measure, when), self.rates(measure, when)
        doubts = self.edge(losses, measure, when)
        if when == END:
            doubts += self.moving(losses, measure, pairs)
        at = {loss: self.plan.common if when == COMMON else rates[loss] for loss in losses}
        epochs = self.plan.epochs if when == END else 1
        return Claim(
            source,
            claimed,
            f"{NAMES[measure]}, {when}, {words(ours)} less {' and less '.join(words(loss) for loss in others)}",
            Difference(
                pairs, -1, UNIT,
                seconds=epochs * sum(self.plan.seconds.get(loss, 0.2) for loss in losses),
            ),
            ", ".join(f"{words(loss)} {report.mean(values[loss])} at {at[loss]:g}" for loss in losses),
            doubts,
            about,
        )  # fmt: skip

    def guess(self, measure: str) -> pd.Series:
        """Errors without a network, by seed."""
        return plans.training(self.table).groupby("seed")[f"constant_{measure}"].first()

    def skill(self, loss: str, measure: str, least: float = 0.0) -> float:
        """The best share, over rates from `least` on, by which the mean error at the end is below a constant guess."""
        runs = plans.complete(self.table)
        ends = runs[(runs.loss == loss) & (runs.rate >= least)].groupby(["rate", "seed"]).last()
        share = 1 - (ends[measure] / ends[f"constant_{measure}"]).where(ends.status == "ok")
        return float(share.groupby("rate").mean().max())


# --- arXiv 1611.07573, Fig. 6 and Sec. 5.2 ----------------------------------------------------------------------------


def figure6(table: pd.DataFrame) -> list[Claim]:
    """The papers' claims by the EMD of the spectrum; the rest are findings."""
    runs = Runs(table, plans.FIGURE6)
    figure, section, first = (f"{ARXIV}, {place}" for place in ("Fig. 6", "Sec. 5.2", "Sec. 1"))
    papers = [
        (figure, "EMD² learns significantly faster than MSE", EARLY, "EMD2", ["MSE"]),
        (figure, "SD learns significantly faster than MSE", EARLY, "SD", ["MSE"]),
        (figure, "over a longer period EMD² achieves better accuracy than SD", END, "EMD2", ["SD"]),
        (section, "EMD² outperforms MSE", END, "EMD2", ["MSE"]),
        (section, "SD outperforms MSE", END, "SD", ["MSE"]),
        (first, "on this task EMD converges faster than SD and MSE", EARLY, "EMD2", ["SD", "MSE"]),
        (first, "on this task EMD achieves better accuracy than SD and MSE", END, "EMD2", ["SD", "MSE"]),
        (f"{ARXIV}, abstract", "EMD² converges faster than EMD", EARLY, "EMD2", ["EMD zero-sum"]),
    ]
    centred = [
        (figure, "SD without its constant learns faster than MSE", EARLY, "SD centred", ["MSE"]),
        (figure, "over a longer period EMD² is better than SD without its constant", END, "EMD2", ["SD centred"]),
        (section, "SD without its constant outperforms MSE", END, "SD centred", ["MSE"]),
        (section, "the constant of SD's gradient costs accuracy", END, "SD centred", ["SD"]),
        (f"{ARXIV}, abstract", "EMD² ends better than EMD", END, "EMD2", ["EMD zero-sum"]),
    ]
    by_peaks = [(source, f"{claimed}, by the peaks", *rest) for source, claimed, *rest in papers]
    return [
        *(runs.less(source, claimed, when, "emd", ours, others) for source, claimed, when, ours, others in papers),
        _at_once(runs, section),
        _all(runs, section),
        _tiny(runs, first),
        *(runs.less(s, claimed, when, "emd", ours, others, FINDING) for s, claimed, when, ours, others in centred),
        *(runs.less(s, claimed, when, "error", ours, others, FINDING) for s, claimed, when, ours, others in by_peaks),
    ]


def _at_once(runs: Runs, source: str) -> Claim:
    epochs = report.converged(runs.chosen("emd"), "emd")
    slower = max(("EMD2", "SD"), key=lambda loss: epochs[loss].mean())
    return Claim(
        source,
        "EMD² and SD converge in a fraction of the first epoch",
        "epochs until 90% of the way from the untrained EMD of the spectrum to the last is gone, the slower of the two",
        Margin.of(epochs[slower], most=1.0, unit=f"epochs ({words(slower)})", kind="threshold"),
        ", ".join(f"{words(loss)} {report.mean(epochs[loss])}" for loss in ("EMD2", "SD", "MSE")),
        runs.edge(("EMD2", "SD"), "emd", END) + _lost(epochs, ("EMD2", "SD")),
    )


def _lost(values: pd.Series, losses: Sequence[str]) -> list[str]:
    """Losses of which a run diverged."""
    lost = {loss: int(values[loss].isna().sum()) for loss in losses}
    return [f"{words(loss)} diverged in {count} of {len(values[loss])} runs" for loss, count in lost.items() if count]


def _all(runs: Runs, source: str) -> Claim:
    """Convergence means more than what needs no network."""
    losses, ends, guess = ("MSE", "EMD2", "SD"), runs.values("emd", END), runs.guess("emd")
    pairs = {words(loss): (ends[loss] - guess[ends[loss].index]).tolist() for loss in losses}
    return Claim(
        source,
        "the model converges with all criteria",
        f"{NAMES['emd']}, {END}, less that of the mean spectrum of all clips trained on as a constant guess",
        Difference(pairs, -1, UNIT),
        ", ".join(f"{words(loss)} {report.mean(ends[loss])}" for loss in losses)
        + f"; the guess {report.mean(guess)}; {report.diverged(runs.table)}"[:200],
        runs.edge(losses, "emd", END),
    )


def _tiny(runs: Runs, source: str) -> Claim:
    """Of Frogner et al., on another task: what this one can say."""
    default = plans.ICML.common
    every = plans.complete(runs.table)
    tried = every[(every.loss == "SD") & (every.rate >= default)].rate.unique()
    best = runs.rates("emd", END)["SD"]
    return Claim(
        source,
        "SD needs KL beside it and an exceedingly small rate to converge",
        f"the best share, over rates from Adam's own {default:g} on and SD alone, by which the EMD of the spectrum is "
        "below a constant guess's; converged if it is",
        NonConvergence(
            runs.skill("SD", "emd", default), 0.0, f"{len(tried)} rates of Adam, {runs.plan.epochs} epochs each"
        ),
        f"share {runs.skill('SD', 'emd', default):.2f} (centred {runs.skill('SD centred', 'emd', default):.2f}); "
        f"SD alone ends best at {best:g}",
    )


# --- ICML 2016, Fig. 1 ------------------------------------------------------------------------------------------------


def icml(table: pd.DataFrame) -> list[Claim]:
    """The papers' claims by the peaks, gEMD and gEMD_L1 being mixtures with 0.1 MSE as in Sec. 2.3."""
    runs = Runs(table, plans.ICML)
    figure, third = f"{ICML}, Fig. 1", f"{ICML}, Sec. 3"
    ours, rivals = "EMD scaled", list(RIVALS)
    mixed, mixtures = ours + MIXED, [rivals[0] + MIXED, *rivals[1:]]
    faster, better = "gEMD_L1 converges faster than", "gEMD_L1 gives a better estimate of the rate"
    every = f"{faster} gEMD, MSE and KL"
    findings = [
        (figure, f"{every}, without MSE in the mixture", EARLY, "error", ours, rivals),
        (figure, f"{every}, without MSE and at one rate for all", COMMON, "error", ours, rivals),
        (figure, f"{every}, by the EMD of the spectrum", EARLY, "emd", mixed, mixtures),
        (third, f"{better}, without MSE in the mixture", END, "error", ours, rivals),
        (third, "gEMD_L1 ends with the least EMD of the spectrum", END, "emd", mixed, mixtures),
        (f"{ICML}, Sec. 2.2", "gEMD ends better than gEMD_L1", END, "error", rivals[0], [ours]),
    ]
    return [
        *(
            runs.less(figure, f"{faster} {name}", EARLY, "error", mixed, [loss])
            for name, loss in zip(("gEMD", "MSE", "KL"), mixtures, strict=True)
        ),
        runs.less(figure, f"{every}, at one rate for all", COMMON, "error", mixed, mixtures),
        runs.less(third, better, END, "error", mixed, mixtures),
        _sums(runs, figure),
        _unsuitable(runs),
        *_magnitudes(runs),
        *_speed(table),
        _thirty(runs, figure),
        *(runs.less(*finding, FINDING) for finding in findings),  # type: ignore[arg-type, misc]
    ]


def _sums(runs: Runs, source: str) -> Claim:
    every = plans.complete(runs.table).query("status == 'ok'").groupby("loss")
    most, middle = every.gradient_sum_rms.max(), every.gradient_sum_rms.median()
    spread = every.gradient_sum.std()
    rounding = 30 * ENTRY * np.finfo(np.float32).eps
    return Claim(
        source,
        "the sum of the gradient gEMD_L1 is 0, while it fluctuates for gEMD",
        "root mean square over clips of the gradient's sum over 30 bins: gEMD_L1's largest against what rounding of 30 "
        "entries of at most 870 leaves, gEMD's median and its change from measurement to measurement against 100 times "
        "that",
        Exact(bool(most["EMD scaled"] <= rounding < min(middle["EMD normalized"], spread["EMD normalized"]) / 100)),
        f"gEMD_L1 at most {most['EMD scaled']:.2g}, rounding {rounding:.2g}; medians and changes: "
        + ", ".join(f"{words(loss)} {middle[loss]:.2g} and {spread[loss]:.2g}" for loss in RIVALS),
    )


def _unsuitable(runs: Runs) -> Claim:
    skill = {loss: runs.skill(loss, "error") for loss in ("EMD normalized", "EMD scaled")}
    return Claim(
        f"{ICML}, Sec. 2.2",
        "gEMD, whose sum is not 0, is unsuitable for use",
        "the best share, over all rates, by which gEMD's distance of the peaks at the end is below a constant guess's; "
        "usable if it is",
        NonConvergence(
            skill["EMD normalized"], 0.0, f"{len(runs.plan.rates)} rates of Adam, {runs.plan.epochs} epochs each"
        ),
        ", ".join(f"{words(loss)} {share:.2f}" for loss, share in skill.items())
        + "; with squared outputs gEMD is at a right angle to the output and leaves its total alone to first order",
    )


def _magnitudes(runs: Runs) -> list[Claim]:
    source, ends = f"{ICML}, Sec. 2.3", runs.chosen("error")
    away = {loss: np.log10(report.last(ends, "total")[loss]).abs() for loss in ("EMD scaled", "EMD scaled" + MIXED)}
    totals = ", ".join(f"{words(loss)} {report.last(ends, 'total')[loss].median():.3g}" for loss in (*away, "MSE"))
    contrast = "decimal orders of magnitude between the output's median total at the end and 1, the target's"
    found = f"median totals: {totals}"
    alone, with_mse = away.values()
    return [
        Claim(
            source,
            "under EMD alone the magnitudes of output and target part",
            f"{contrast}: by a factor of 2 at least",
            Margin.of(alone, least=FACTOR, unit="orders", kind="threshold"),
            found,
        ),
        Claim(
            source,
            "the combination with 0.1 MSE addresses this",
            f"{contrast}: by a factor of 2 at most",
            Margin.of(with_mse, most=FACTOR, unit="orders", kind="threshold"),
            found,
        ),
    ]


def _speed(table: pd.DataFrame) -> list[Claim]:
    """The paper's way of computing it beside KL, and emdref's beside both."""
    source, rows = f"{ICML}, Sec. 2.3", table[table.part == "timing"].set_index(["loss", "way"])
    claimed = "EMD is faster than KL forward and backward, for N = 30, on a"
    contrast = "what KL takes for a second of EMD, by cumulative sums in torch, batch of 64, turn by turn: above 1"
    row = rows.loc["EMD as in the paper", "torch"]
    names = [
        f"{way}: " + ", ".join(f"{report.words(loss)} {1e6 * each.seconds:.0f}" for loss, each in some.iterrows())
        for way, some in ((way, rows.xs(way, level="way")) for way in ("torch", "NumPy"))
    ]
    return [
        Claim(source, f"{claimed} GPU", contrast, Missing("there is no GPU here")),
        Claim(
            source,
            f"{claimed} CPU",
            contrast,
            Margin(row.ratio_low, row.ratio_high, least=1.0, unit="times", kind="threshold"),
            f"one thread, float32, microseconds: {'; '.join(names)}",
            about=FINDING,
        ),
    ]


def _thirty(runs: Runs, source: str) -> Claim:
    """Adam divides by the gradient's size."""
    found = runs.pairs("error", COMMON, "EMD scaled", ["EMD zero-sum"])
    (pairs,) = found.values()
    return Claim(
        source,
        "the factor of 30 in Eq. 6 changes nothing by itself under Adam",
        f"{NAMES['error']}, {COMMON}, gEMD_L1 less the same gradient divided by 30",
        Margin.of(pairs, least=-ALIKE, most=ALIKE, unit=UNIT, kind="equivalence"),
        about=FINDING,
    )
