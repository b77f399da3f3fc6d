"""How much of figure 7 is computed: what is trained on, with which losses, in which settings, with how many seeds.

All of it goes into the cells' parameters, so that a larger plan keeps what a smaller one has computed.  `HOUR` is what
two cores do in an hour, `NIGHT` what the paper's figure asks for: ten seeds of everything, a hundred samples a class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from analysis.experiments.hierarchy.perceptron import ADAM, BATCH, EPOCHS, SGD, WIDTH

SIMULATED, DATA, DIGITS = "simulated", "data", "digits"
DRAWN = ("CE", "EMD2", "EMD2+CE", "SD+CE")  # by the paper
MIXED = ("0.1 EMD2+CE", "10 EMD2+CE")
STUCK = ("SD+CE 1:1", "EMD", "SD")  # said not to converge
WIDTHS = ("CE", "EMD2", "EMD2+CE")  # losses tried with wider networks
EVERY = ("top1", "emd", "emd2", "way", "severity")  # measures: each chooses a setting of its own
Settings = tuple[tuple[str, float], ...]
SGD_RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
ADAM_RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
LOWER = ((ADAM, 0.0001),)  # where a network has more samples or is wider, the best rates are lower
BEYOND = ((SGD, 0.003), (ADAM, 0.1), (ADAM, 0.3))  # of real data, where one or two samples a class ask for more
WIDE: Settings = (*((SGD, rate) for rate in SGD_RATES), *((ADAM, rate) for rate in ADAM_RATES))
INNER: Settings = (*((SGD, rate) for rate in SGD_RATES[:5]), *((ADAM, rate) for rate in ADAM_RATES[:5]))
SHOTS = (1, 2, 4, 8, 12)  # of real classes
STEADY, STEADY_STAGE = (SGD, 0.05), "steady"  # arXiv 1611.07573, Sec. 5.3: decay of 1e-5, next to none


@dataclass(frozen=True)
class Search:
    """Losses with the same settings tried, the same seeds, the same measures to choose by."""

    part: str
    sizes: tuple[int, ...]  # samples of each class; of a file those that it has
    losses: tuple[str, ...]
    settings: Settings = WIDE
    measures: tuple[str, ...] = EVERY
    searching: int = 1  # seeds in every setting
    seeds: int = 10  # in all, in the settings chosen
    width: int = WIDTH
    batch: int = BATCH
    epochs: int = EPOCHS
    choosing: int = 2  # samples of each class, at most
    testing: int = 4
    again: int = 1  # seeds of longer runs, with the fewest samples
    steady: int = 0  # seeds of CE at the paper's rate, which does not fall


@dataclass(frozen=True)
class Plan:
    """All searches; runs of `longer` times the epochs, in the settings best by top-1, show whether curves are flat."""

    searches: tuple[Search, ...]
    longer: int = 2
    lasting: int = 4  # times the epochs of runs whose rate does not fall: whether the holistic error comes back


_REAL = Search(
    DATA,
    SHOTS,
    DRAWN,
    settings=BEYOND + INNER,
    measures=EVERY[:4],
    searching=3,
    batch=32,
    choosing=12,
    testing=3,
    steady=10,
)
_DIGITS = replace(_REAL, part=DIGITS, settings=(BEYOND[0], *WIDE, BEYOND[2]), choosing=20, testing=50)
_FEW = Search(SIMULATED, (4,), DRAWN, searching=2, seeds=8, again=2, steady=8)
_ASIDE = replace(_FEW, measures=EVERY[:3], searching=1, seeds=5, again=1, steady=0)
_MANY = Search(SIMULATED, (20,), WIDTHS, LOWER + INNER[1:], EVERY[:1], seeds=5)
_WIDER = Search(SIMULATED, (4,), WIDTHS, LOWER + INNER[5:], EVERY[:1])
HOUR = Plan(
    (
        _FEW,
        replace(_ASIDE, losses=(*MIXED, "EMD")),
        replace(_ASIDE, losses=("SD+CE 1:1", "SD"), measures=EVERY[:1], seeds=2),
        _MANY,
        replace(_MANY, losses=("SD+CE",), again=0),
        replace(_WIDER, width=512, seeds=6),
        replace(_WIDER, width=1024, settings=LOWER + INNER[5:9], seeds=2, again=0),
        _REAL,
        replace(_REAL, sizes=SHOTS[:1], losses=STUCK, settings=WIDE, seeds=5, steady=0),
        _DIGITS,
        replace(_DIGITS, sizes=SHOTS[:1], losses=STUCK, seeds=5, steady=0),
    )
)
NIGHT = Plan(
    (
        replace(_FEW, losses=DRAWN + MIXED + STUCK, seeds=10, steady=10),
        replace(_FEW, sizes=(20, 100), seeds=10, steady=0),
        *(replace(_WIDER, settings=WIDE, measures=EVERY, width=width) for width in (512, 1024)),
        *(replace(some, losses=DRAWN + MIXED + STUCK, settings=WIDE) for some in (_REAL, _DIGITS)),
    )
)
_TINY = Search(
    SIMULATED, (1, 2), DRAWN, ((SGD, 0.2), (ADAM, 0.01)), seeds=2, batch=250, epochs=1, choosing=1, testing=1, steady=1
)
_ONCE = replace(_TINY, sizes=(1,), settings=_TINY.settings[:1], seeds=1, again=0, steady=0)
_SOME = replace(_TINY, settings=_TINY.settings[:1], epochs=2, testing=3)
TOY = Plan(
    (
        _TINY,
        replace(_ONCE, losses=MIXED + STUCK),
        replace(_ONCE, losses=WIDTHS, width=16),
        replace(_SOME, part=DATA),
        replace(_ONCE, part=DATA, losses=STUCK, epochs=2, testing=3),
        replace(_SOME, part=DIGITS),
        replace(_ONCE, part=DIGITS, losses=STUCK, epochs=2, testing=3),
    )
)
PLAN = HOUR
