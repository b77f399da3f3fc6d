"""Samples to train on, to choose the learning rate by, and to test on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Samples(NamedTuple):
    """Features (n, D) float32 and classes (n,)."""

    x: NDArray[Any]
    y: NDArray[Any]


class Parts(NamedTuple):
    """No sample is in two of them."""

    training: Samples
    choosing: Samples
    testing: Samples

    def standardised(self) -> Parts:
        """Each feature less its mean over the training samples, over its standard deviation there."""
        mean, deviation = self.training.x.mean(axis=0), self.training.x.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1)  # a feature that never varies stays 0
        return Parts(*(Samples(((x - mean) / scale).astype(np.float32), y) for x, y in self))
