"""What is said of emdref's numbers, and the one rule that turns evidence into a verdict.

A claim is a sentence of a paper, a target of our own or a finding of our own.  Before anything is run it has a kind and
one primary contrast.  Its evidence is of one of five kinds, and the rule is the same for every claim of every script:

``Difference``
    One quantity less another, in pairs of equal seeds.  The two-sided p of the paired t test is corrected by Holm over
    all differences of the figure that are about the same (the papers' claims, our targets, our findings).  Where it is
    below 0.05, so that the corrected interval excludes 0, the claim holds or does not hold by its sign; else it is
    undecided.  Of several contrasts that must all be on one side, the least favourable one counts.
``Margin``
    An interval that must lie within bounds: equivalence, non-inferiority, a ratio that must reach a target.  Wholly
    within, the claim holds; wholly outside, it does not; else it is undecided.
``NonConvergence``
    The best score of a search, a threshold that counts as converged, and the search's budget.  The claim that nothing
    converges holds below the threshold; a score that reaches it is a counterexample.
``Exact``
    Numbers without chance: the claim holds or it does not.
``Missing``
    Why it is not measured.

*Doubts* make a verdict undecided, with one exception: a counterexample stands.  A choice at the edge of a grid, a
training curve that still moves, runs that were lost (unless that speaks for the verdict) and end points without an
interval are doubts.  The reason of an undecided claim says which, what difference could have been seen, and how many
seeds would decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import stats

from analysis.engine.intervals import chance, holm, interval

HOLDS, FAILS, UNDECIDED, UNMEASURED = "holds", "does not hold", "undecided", "not measured"
VERDICTS = (HOLDS, FAILS, UNDECIDED, UNMEASURED)
PAPER, TARGET, FINDING = "paper", "target", "finding"  # whose claim it is
LEVEL, POWER = 0.05, 0.8
MANY = 10_000  # seeds, more than anybody runs


@dataclass(frozen=True)
class Difference:
    """Pairs of equal seeds, by contrast: each must be above 0 (`side` 1) or below (`side` -1).

    A run that diverged makes its pair infinite, with the sign of what is on its side: one of the better loss's rivals
    takes nothing from what the other pairs say.  NaN is a pair of which nothing is known.
    """

    pairs: Mapping[str, Sequence[float]]
    side: int
    unit: str = ""
    factor: float = 1.0  # for words: 100 where the numbers are shares and the unit is points
    seconds: float = 0.0  # that one more seed takes, for all of a contrast's runs
    each: str = "seeds"  # what is paired, for words: pairs of histograms where those are drawn
    kind: ClassVar[str] = "difference"

    def least(self) -> tuple[str, np.ndarray]:
        """The least favourable contrast and its finite pairs."""
        clean = {name: _finite(values) for name, values in self.pairs.items()}
        return min(clean.items(), key=lambda item: _t(item[1]) * self.side)

    def p(self) -> float:
        """Two-sided, of the least favourable contrast; times their number where it lies on the wrong side."""
        pairs = self.least()[1]
        wrong = len(pairs) > 0 and pairs.mean() * self.side < 0
        return min(1.0, chance(pairs) * (len(self.pairs) if wrong else 1))

    def lost(self, side: int) -> int:
        """Pairs without a number that do not speak for this side: of all contrasts, or against it of the least."""
        counted = self.pairs.values() if side == self.side else [self.pairs[self.least()[0]]]
        every = np.concatenate([np.asarray(values, float) for values in counted])
        return int((~np.isfinite(every) & (every != side * np.inf)).sum())


@dataclass(frozen=True)
class Margin:
    """An interval, and the bounds within which it must lie."""

    low: float
    high: float
    least: float = -np.inf
    most: float = np.inf
    unit: str = ""
    kind: str = "equivalence"  # or "non-inferiority", "threshold"

    @classmethod
    def of(cls, pairs: Any, factor: float = 1.0, **rest: Any) -> Margin:
        """The 95% interval of a mean over seeds; NaN, which no bounds contain, if a seed was lost.

        >>> Margin.of([1.0, 2.0, 3.0], most=5.0)
        Margin(low=-0.484..., high=4.484..., least=-inf, most=5.0, unit='', kind='equivalence')
        """
        values = np.asarray(pairs, float)
        found = interval(values)
        lost = bool((~np.isfinite(values)).any())
        low, high = (np.nan if lost else factor * x for x in (found.low, found.high))
        return cls(low, high, **rest)


@dataclass(frozen=True)
class NonConvergence:
    """The best score of a search in `budget`, and the score that counts as converged."""

    best: float
    threshold: float
    budget: str  # "12 rates of SGD, 60 epochs each"
    kind: ClassVar[str] = "non-convergence"


@dataclass(frozen=True)
class Exact:
    """What was compared without chance."""

    held: bool
    kind: ClassVar[str] = "exact"


@dataclass(frozen=True)
class Missing:
    """Why there is no evidence yet."""

    why: str
    kind: ClassVar[str] = "not measured"


Evidence = Difference | Margin | NonConvergence | Exact | Missing


@dataclass(frozen=True)
class Claim:
    """A sentence, and what was found."""

    source: str  # "arXiv 1611.07573, Fig. 7": a paper and one place in it
    claimed: str
    contrast: str  # the primary one, stated before the runs
    evidence: Evidence
    found: str = ""  # the numbers in words; the rule adds those of a difference or a margin
    doubts: Sequence[str] = ()
    about: str = PAPER
    sheet: str = ""  # the figure it stands under, by the end of that figure's name


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict: what is printed and written into the record."""

    source: str
    claimed: str
    kind: str
    contrast: str
    found: str
    verdict: str
    why: str  # of a verdict that is undecided or not measured, else ""
    about: str
    sheet: str
    numbers: dict[str, float]  # of a difference or a margin


def judge(claims: Sequence[Claim]) -> list[Judged]:
    """The rule, for all claims of a figure.

    >>> seeds = Difference({"EMD² − CE": [0.02, 0.03, 0.025, 0.028]}, side=1, unit="points", factor=100)
    >>> better = Claim("a paper", "EMD² is better", "top-1 at the end", seeds)
    >>> judged = judge([better, Claim("a paper", "1 + 1 = 2", "", Exact(True))])
    >>> [claim.verdict for claim in judged]
    ['holds', 'holds']
    >>> judged[0].found
    'EMD² − CE +2.58 (+1.88 to +3.27) points, 4 seeds, p = 0.0013'
    """
    families = {about: [c for c in claims if c.about == about] for about in (PAPER, TARGET, FINDING)}
    corrected = {id(claim): level for family in families.values() for claim, level in _corrected(family)}
    return [_judged(claim, *corrected.get(id(claim), (np.nan, LEVEL))) for claim in claims]


def tally(claims: Sequence[Judged]) -> str:
    """How many there are of each verdict.

    >>> tally(judge([Claim("a paper", "1 = 1", "", Exact(True)), Claim("a paper", "1 = 2", "", Exact(False))]))
    '1 holds, 1 does not'
    """
    counts = [(verdict, sum(claim.verdict == verdict for claim in claims)) for verdict in VERDICTS]
    return ", ".join(f"{count} {WORDS[verdict][count > 1]}" for verdict, count in counts if count)


WORDS = {
    HOLDS: ("holds", "hold"),
    FAILS: ("does not", "do not"),
    UNDECIDED: ("undecided", "undecided"),
    UNMEASURED: ("not measured", "not measured"),
}


def _corrected(family: Sequence[Claim]) -> list[tuple[Claim, tuple[float, float]]]:
    """Of the differences among them: p with Holm's correction, and the level at which its interval is drawn.

    Holm tests the i-th smallest of m values at 0.05 / (m - i) and stops at the first that is not below; all later ones
    have the level of that one. So an interval excludes 0 where the corrected p is below 0.05, and only there.
    """
    some = [claim for claim in family if isinstance(claim.evidence, Difference)]
    p = np.array([claim.evidence.p() for claim in some])  # type: ignore[union-attr]
    adjusted, levels = holm(p), np.full(len(p), np.nan)
    tested = int(np.isfinite(p).sum())
    for rank, at in enumerate(np.argsort(p, kind="stable")[:tested]):
        levels[at] = LEVEL / (tested - min(rank, int((adjusted < LEVEL).sum())))
    return [(claim, (p_holm, level)) for claim, p_holm, level in zip(some, adjusted, levels, strict=True)]


def _judged(claim: Claim, p_holm: float, level: float) -> Judged:
    evidence = claim.evidence
    if isinstance(evidence, Difference):
        verdict, why, words, numbers = _difference(evidence, p_holm, level)
    elif isinstance(evidence, Margin):
        verdict, why, words, numbers = _margin(evidence)
    elif isinstance(evidence, NonConvergence):
        verdict = FAILS if evidence.best >= evidence.threshold else HOLDS
        why, words, numbers = "", evidence.budget, {"best": evidence.best, "threshold": evidence.threshold}
    elif isinstance(evidence, Exact):
        verdict, why, words, numbers = (HOLDS if evidence.held else FAILS), "", "", {}
    else:
        verdict, why, words, numbers = UNMEASURED, evidence.why, "", {}
    counterexample = isinstance(evidence, NonConvergence) and verdict == FAILS
    if claim.doubts and verdict != UNMEASURED and not counterexample:
        verdict, why = UNDECIDED, "; ".join([*claim.doubts, *filter(None, [why])])
    found = "; ".join(filter(None, [claim.found, words]))
    return Judged(
        claim.source, claim.claimed, evidence.kind, claim.contrast, found, verdict, why, claim.about, claim.sheet,
        {name: float(value) for name, value in numbers.items()},
    )  # fmt: skip


def _difference(found: Difference, p_holm: float, level: float) -> tuple[str, str, str, dict[str, float]]:
    name, pairs = found.least()
    n = len(pairs)
    if n < 2:
        have = "s have" if n != 1 else " has"
        why = f"{n} pair{have} no interval: run 2 {found.each} or more"
        return UNDECIDED, why, f"{name}: {n} {found.each}, no interval", {"n": n}
    side = -1 if pairs.mean() * found.side < 0 else 1
    level = level / len(found.pairs) if side < 0 else level
    around = interval(pairs, level=1 - level)
    low, high, mid = (found.factor * x for x in (around.low, around.high, around.mean))
    unit = f" {found.unit}" if found.unit else ""
    words = f"{name} {mid:+.3g} ({low:+.3g} to {high:+.3g}){unit}, {n} {found.each}, p = {p_holm:.2g}"
    lost = found.lost(found.side * side)
    numbers = {"mean": mid, "low": low, "high": high, "p": found.p(), "p_holm": p_holm, "n": n, "lost": lost}
    doubts = [f"{lost} run{'s were' if lost > 1 else ' was'} lost"] * bool(lost)
    verdict = UNDECIDED if lost or not p_holm < LEVEL else HOLDS if side > 0 else FAILS
    if not p_holm < LEVEL:
        power = float(stats.t.ppf(POWER, n - 1) * pairs.std(ddof=1)) / np.sqrt(n)
        seen = found.factor * (around.half() + power)
        doubts.append(
            f"the interval includes 0: {n} {found.each} could have shown {seen:.2g}{unit}, {_needed(found, level)}"
        )
    return verdict, "; ".join(doubts), words, numbers


def _needed(found: Difference, level: float) -> str:
    """How many seeds would show a difference as large as the one observed, in 80% of all experiments."""
    pairs = found.least()[1]
    mean, spread = abs(float(pairs.mean())), float(pairs.std(ddof=1))
    n = len(pairs)
    while n <= MANY and not _shown(n, mean, spread, level):
        n += max(n // 50, 1)
    if n > MANY:
        return f"more than {MANY:,} would be needed for one as small as this"
    hours = n * found.seconds / 3600
    return f"{n} would decide if it is as large as it seems" + f" ({hours:.2g} hours of one core)" * (hours > 0)


def _shown(n: int, mean: float, spread: float, level: float) -> bool:
    return bool((stats.t.ppf(1 - level / 2, n - 1) + stats.t.ppf(POWER, n - 1)) * spread <= mean * np.sqrt(n))


def _margin(found: Margin) -> tuple[str, str, str, dict[str, float]]:
    low, high, least, most = found.low, found.high, found.least, found.most
    bounds = {"at least": least, "at most": most}
    asked = " and ".join(f"{words} {bound:.3g}" for words, bound in bounds.items() if np.isfinite(bound))
    unit = f" {found.unit}" if found.unit else ""
    words = f"{low:.3g} to {high:.3g}{unit}, asked: {asked}"
    numbers = {"low": low, "high": high} | {k: v for k, v in (("least", least), ("most", most)) if np.isfinite(v)}
    if not np.isfinite([low, high]).all():
        return UNDECIDED, "there is no interval", words, numbers
    if least <= low and high <= most:
        return HOLDS, "", words, numbers
    if high < least or most < low:
        return FAILS, "", words, numbers
    return UNDECIDED, f"the interval reaches over the margin ({asked})", words, numbers


def _finite(values: Any) -> np.ndarray:
    values = np.asarray(values, float)
    return values[np.isfinite(values)]


def _t(pairs: np.ndarray) -> float:
    """Of a contrast: its mean over its standard error."""
    if len(pairs) < 2:
        return float(pairs.sum())
    mean, error = float(pairs.mean()), float(pairs.std(ddof=1)) / np.sqrt(len(pairs))
    return mean / error if error > 0 else mean and np.copysign(np.inf, mean)


def record(claims: Sequence[Judged]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(claim) for claim in claims]
