"""A simulated cohort: chest excursion and nasal airflow of sleepers, linked by physiology, unlinked by what breaks it.

The papers' recordings were never published.  This model is ours, and has what they describe: rates that drift, noise
that depends on the patient's activity, apnoea of different degrees.  It is simulated, and fitted to no recording.

*Breathing.*  The rate is the subject's own, plus a drift over the night, together within 9 to 24 breaths per minute,
and one over seconds (Ornstein-Uhlenbeck processes); its integral is the phase.  Volume follows a skewed cosine of it
(expiration takes longer), with a depth that drifts too; airflow is its derivative.

*Sensors.*  The belt sees volume times effort.  The thermistor sees the airflow that is left, saturated, delayed and
through a first-order filter.  Both have noise and baseline drift.  Units are of the belt at common depth.

*Apnoea.*  In central events effort ends, and airflow with it.  In obstructive ones effort goes on and grows, the belt
even inverted in some (paradoxical breathing), while next to no air flows.  Mixed ones begin as the first and end as the
second.  All end in a few deep breaths.

*What breaks the link.*  Movement adds bursts of coloured noise to the belt, with a little in the nose; speech gives
both an irregular rhythm of its own.

*Where the numbers come from.*  That adults at rest take 12 to 20 breaths per minute is textbook knowledge.  An apnoea
lasts 10 s at least, with a drop of airflow by 90% or more; it is obstructive if effort goes on, central if there is
none, mixed if it begins without and effort returns (Berry et al., Rules for scoring respiratory events in sleep,
J. Clin. Sleep Med. 8, 597, 2012).  Mild, moderate and severe are 5 to 15, 15 to 30 and more than 30 events an hour
(American Academy of Sleep Medicine Task Force, Sleep 22, 667, 1999): `DEGREES` has one number for none and for each.
All other numbers are chosen to be plausible, and so that the chest's own largest peak is off by 0.9 breaths per minute
in the mean, where a constant guess is off by 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from analysis.experiments.breathing.spectra import RATE, SAMPLES, Clips, clips

Array = NDArray[Any]
SLOWEST, FASTEST = 9, 24  # breaths per minute, but for what changes over seconds
DEGREES = ((0.02, 0.3), (0.1, 0.3), (0.3, 0.2), (0.6, 0.2))  # of apnoea: events a minute, share of the subjects
KINDS = (("obstructive", 0.6), ("central", 0.2), ("mixed", 0.2))


class Subject(NamedTuple):
    """What one sleeper's clips have in common."""

    rate: float  # breaths per minute
    spread: float  # of the rate within a clip, breaths per minute
    events: float  # apnoeas a minute
    kinds: Sequence[float]  # shares of KINDS among them
    movement: float  # share of clips with it
    speech: float  # likewise
    skew: float  # of the volume's curve, as phase
    delay: float  # of the thermistor, seconds
    lag: float  # its time constant, seconds
    noise: float  # of the belt, standard deviation
    nose_noise: float  # of the thermistor


def cohort(subjects: int, each: int, seed: int) -> Clips:
    """`each` clips of as many subjects; those of a subject depend on the seed, its number and `each` alone."""
    rngs = [np.random.default_rng([seed, number]) for number in range(subjects)]
    nights = [night(subject(rng), each, rng) for rng in rngs]
    chest, nose = (np.concatenate(part) for part in zip(*nights, strict=True))
    return clips(chest, nose, np.repeat(np.arange(subjects), each))


def example(seed: int) -> tuple[Array, Array, Array, tuple[str, ...]]:
    """Three clips of one subject for a figure: seconds, chest and nose (3, SAMPLES), and what each clip shows.

    Of ten clips each, those with the longest apnoea and the most movement.
    """
    rng = np.random.default_rng(seed)
    calm = subject(rng)._replace(events=0, movement=0, speech=0)
    ten = [night(calm._replace(**what), 10, rng) for what in ({}, {"events": 1, "kinds": (1, 0, 0)}, {"movement": 1})]
    shown = (0, ten[1][1].std(axis=1).argmin(), ten[2][0].std(axis=1).argmax())
    chest, nose = (
        np.stack([signals[k] for signals, k in zip(part, shown, strict=True)]) for part in zip(*ten, strict=True)
    )
    return np.arange(SAMPLES) / RATE, chest, nose, ("calm", "obstructive apnoea", "movement")


def subject(rng: np.random.Generator) -> Subject:
    """One sleeper."""
    events, shares = zip(*DEGREES, strict=True)
    return Subject(
        rate=float(np.clip(rng.normal(15, 2.5), SLOWEST, FASTEST)),
        spread=rng.uniform(0.4, 1.5),
        events=rng.choice(events, p=shares),
        kinds=[share for _, share in KINDS],
        movement=rng.uniform(0.05, 0.25),
        speech=rng.uniform(0.0, 0.06),
        skew=rng.uniform(0.1, 0.35),
        delay=rng.uniform(0.1, 0.5),
        lag=rng.uniform(0.3, 1.0),
        noise=rng.uniform(0.05, 0.3),
        nose_noise=rng.uniform(0.015, 0.06),
    )


def night(subject: Subject, each: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Chest and nose of one subject, (each, SAMPLES)."""
    rate = subject.rate + wander(rng, each, 1, sd=1.2, memory=20)[:, 0, None]  # from clip to clip
    rate = np.clip(rate, SLOWEST, FASTEST) + wander(rng, SAMPLES, each, sd=subject.spread, memory=15 * RATE).T
    depth = np.exp(wander(rng, SAMPLES, each, sd=0.25, memory=20 * RATE).T)
    effort, flow = _apnoeas(subject, each, rng)
    phase = 2 * np.pi * (rng.random((each, 1)) + np.cumsum(np.maximum(rate, 4) / 60 / RATE, axis=1))
    talking = rng.random(each) < subject.speech
    phase[talking] += np.cumsum(wander(rng, SAMPLES, talking.sum(), sd=0.35, memory=2 * RATE).T, axis=1)
    volume = depth * _curve(phase, subject.skew)
    chest = effort * volume + subject.noise * rng.standard_normal(volume.shape)
    nose = _thermistor(flow * np.gradient(volume, 1 / RATE, axis=1), subject)
    nose += subject.nose_noise * rng.standard_normal(volume.shape)
    for signal, sd in ((chest, 0.5), (nose, 0.1)):
        signal += wander(rng, SAMPLES, each, sd=sd, memory=30 * RATE).T  # baseline drift
    _move(chest, nose, subject.movement, rng)
    return chest, nose


def wander(rng: np.random.Generator, length: int, many: int, sd: float, memory: float) -> Array:
    """Ornstein-Uhlenbeck processes, (length, many): standard deviation, and memory in steps."""
    keep = np.exp(-1 / memory)
    steps = rng.standard_normal((length, many)) * np.sqrt(1 - keep**2)
    steps[0] = rng.standard_normal(many)  # stationary from the start
    return sd * lfilter([1], [1, -keep], steps, axis=0)


def _curve(phase: Array, skew: float) -> Array:
    """Volume over a breath: expiration takes longer than inspiration."""
    return -np.cos(phase + skew * np.sin(phase))


def _thermistor(airflow: Array, subject: Subject) -> Array:
    """Saturated airflow, delayed and through a first-order filter."""
    delay = round(subject.delay * RATE)
    shape = np.tanh(airflow / 1.5)
    late = np.concatenate([np.repeat(shape[:, :1], delay, axis=1), shape[:, : SAMPLES - delay]], axis=1)
    keep = np.exp(-1 / (subject.lag * RATE))
    return lfilter([1 - keep], [1, -keep], late, axis=1)


def _apnoeas(subject: Subject, each: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Effort at the belt, and the share of the airflow that gets through, (each, SAMPLES)."""
    effort, flow = np.ones((2, each, SAMPLES))
    names = [name for name, _ in KINDS]
    for clip in np.flatnonzero(rng.random(each) < subject.events):
        kind, length = rng.choice(names, p=subject.kinds), round(rng.uniform(10, 40) * RATE)
        start = rng.integers(-length // 2, SAMPLES - length // 2)
        apnoea(effort[clip], flow[clip], kind, start, start + length, rng)
    return effort, flow


def apnoea(effort: Array, flow: Array, kind: str, start: int, stop: int, rng: np.random.Generator) -> None:
    """One event of a clip, which may begin before it and end after it, and the deep breaths that follow."""
    turn = {"central": stop, "obstructive": start, "mixed": (start + stop) // 2}[kind]  # from no effort to vain effort
    time = np.arange(SAMPLES)
    during, vain = (start <= time) & (time < stop), (turn <= time) & (time < stop)
    flow[during] = rng.uniform(0, 0.1)
    effort[during] = rng.uniform(0, 0.1)
    effort[vain] = np.interp(time[vain], [turn, stop], [0.4, 1.2]) * rng.choice([1, -1], p=[0.7, 0.3])  # paradoxical
    after = (stop <= time) & (time < stop + 12 * RATE)
    deep = rng.uniform(1.3, 2.0)
    effort[after] *= deep
    flow[after] *= deep


def _move(chest: Array, nose: Array, share: float, rng: np.random.Generator) -> None:
    """Bursts of coloured noise, most of them at the belt."""
    moving = np.flatnonzero(rng.random(len(chest)) < share)
    bursts = wander(rng, SAMPLES, len(moving), sd=1.0, memory=0.7 * RATE).T
    for clip, burst in zip(moving, bursts, strict=True):
        length = round(rng.uniform(5, 45) * RATE)
        start = rng.integers(0, SAMPLES - length)
        window = slice(start, start + length)
        chest[clip, window] += rng.uniform(2, 8) * burst[window]
        nose[clip, window] += rng.uniform(0, 0.4) * burst[window]
