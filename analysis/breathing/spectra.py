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
    """Power at each bin's rate of signals (..., SAMPLES), by a Hann window, as a histogram of total 1."""
    level = signal - signal.mean(axis=-1, keepdims=True)
    power = np.abs(np.fft.rfft(level * get_window("hann", SAMPLES), axis=-1)) ** 2
    power = power[..., FIRST : FIRST + BINS]
    return power / power.sum(axis=-1, keepdims=True)


def clips(chest: Array, nose: Array, subject: Array) -> Clips:
    """From both signals, (clips, SAMPLES)."""
    level = chest - chest.mean(axis=-1, keepdims=True)
    chest = level / level.std(axis=-1, keepdims=True)
    return Clips(chest.astype(np.float32), spectrum(nose).astype(np.float32), subject)


def peak(psd: Array) -> Array:
    """The breathing rate, in breaths per minute, at which a spectrum is largest."""
    return FIRST + psd.argmax(axis=-1)
