"""Clips and their power spectral densities on a chain of breathing rates."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import get_window

RATE = 10  # samples a second
SECONDS = 60
SAMPLES = RATE * SECONDS
FIRST, BINS = 4, 30  # bins stand for 4, 5, ... 33 breaths per minute, the resolution of one minute
NOTHING = 1e-20  # of a signal's power: what rounding leaves

Array = NDArray[Any]


class Clips(NamedTuple):
    """One-minute clips of several subjects."""

    chest: Array  # (clips, SAMPLES) float32, mean 0 and standard deviation 1 each
    psd: Array  # (clips, BINS) float32, of the nasal signal, total 1
    subject: Array  # (clips,) int

    def of(self, subjects: Array) -> Clips:
        """The clips of some subjects."""
        wanted = np.isin(self.subject, subjects)
        return Clips(*(part[wanted] for part in self))


def spectrum(signal: Array) -> Array:
    """Power at each bin's rate of signals (..., SAMPLES) in any unit, by a Hann window, as a histogram of total 1.

    Raises
    ------
    ValueError
        If a signal is flat or not finite, or has no power from 4 to 33 breaths per minute.

    >>> breaths = np.sin(2 * np.pi * 15 * np.linspace(0, 1, SAMPLES, endpoint=False))
    >>> spectrum(breaths)[14 - FIRST : 17 - FIRST].round(3).tolist()
    [0.167, 0.667, 0.167]
    """
    level = standard(signal) * get_window("hann", SAMPLES)
    whole = np.abs(np.fft.rfft(level, axis=-1)) ** 2
    power = whole[..., FIRST : FIRST + BINS]
    total = power.sum(axis=-1, keepdims=True)
    _must(total[..., 0] > NOTHING * whole.sum(axis=-1), "has no power from 4 to 33 breaths per minute")
    return power / total


def standard(signal: Array) -> Array:
    """Signals (..., SAMPLES) with mean 0 and standard deviation 1 each; ValueError if one is flat or not finite."""
    _must(np.isfinite(signal).all(axis=-1), "is not finite")
    spread = np.ptp(signal, axis=-1, keepdims=True)
    _must(spread[..., 0] > 0, "is flat")
    level = (signal - signal.mean(axis=-1, keepdims=True)) / spread  # neither overflows nor underflows when squared
    return level / level.std(axis=-1, keepdims=True)


def clips(chest: Array, nose: Array, subject: Array) -> Clips:
    """From both signals, (clips, SAMPLES), in any units; ValueError as of `spectrum`."""
    return Clips(standard(chest).astype(np.float32), spectrum(nose).astype(np.float32), subject)


def _must(held: Array, words: str) -> None:
    """Of each clip."""
    if not held.all():
        raise ValueError(f"clip {np.argmin(held.ravel())} {words}: leave it out")


def peak(psd: Array) -> Array:
    """The breathing rate, in breaths per minute, at which a spectrum is largest."""
    return FIRST + psd.argmax(axis=-1)
