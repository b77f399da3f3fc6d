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


def most(y: NDArray[Any], testing: int) -> int:
    """So many samples to train on has every class besides those that test and one to choose by."""
    return int(np.bincount(y).min()) - testing - 1


def split(x: NDArray[Any], y: NDArray[Any], size: int, choosing: int, testing: int, seed: int) -> Parts:
    """`size` of each class to train on, `testing` to test on, up to `choosing` of the others to choose by.

    Those tested are the same for every seed, so that a choice over several splits rests on no sample that tests; those
    trained on are nested in the size.
    """
    tested, rest = [], []
    for each in range(y.max() + 1):
        places = np.random.default_rng([each, 16]).permutation(np.flatnonzero(y == each))
        tested.append(places[:testing])
        rest.append(np.random.default_rng([seed, each, 17]).permutation(places[testing:]))
    left = min(choosing, min(map(len, rest)) - size)
    places = ([some[:size] for some in rest], [some[len(some) - left :] for some in rest], tested)
    return Parts(*(Samples(x[np.concatenate(some)], y[np.concatenate(some)]) for some in places)).standardised()
