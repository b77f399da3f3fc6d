"""Pairs of histograms on the 1000 ILSVRC classes: softmax predictions against three kinds of targets."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.script import Options, random

LABELS = Path(__file__).parent / "data" / "real_labels.csv"
SIGMAS = (1.0, 2.0, 4.0)  # spread of the logits, the inverse of the softmax's temperature


class Pairs(NamedTuple):
    """Predictions p, targets q, and what each target is."""

    p: NDArray[np.float64]  # (pairs, N)
    q: NDArray[np.float64]
    target: list[str]


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Along the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def pairs(options: Options, n_bins: int, softmaxes: int, others: int) -> Pairs:
    """`softmaxes` pairs at each temperature, `others` ReaL label sets and as many one-hot labels.

    Predictions against labels have logits of spread 2.  A ReaL target shares its mass equally among the labels that
    human raters gave one ILSVRC validation image; sets are drawn as often as images carry them.
    """
    rng = random(options)
    p = [softmax(sigma * rng.normal(size=(softmaxes, n_bins))) for sigma in SIGMAS]
    q = [softmax(sigma * rng.normal(size=(softmaxes, n_bins))) for sigma in SIGMAS]
    target = [f"softmax {sigma:g}" for sigma in SIGMAS for _ in range(softmaxes)]
    p.append(softmax(2.0 * rng.normal(size=(2 * others, n_bins))))
    q.append(_real(rng, others, n_bins))
    q.append(np.eye(n_bins)[rng.choice(n_bins, others, replace=False)])
    target += ["ReaL"] * others + ["one-hot"] * others
    return Pairs(np.concatenate(p), np.concatenate(q), target)


def _real(rng: np.random.Generator, size: int, n_bins: int) -> NDArray[np.float64]:
    table = pd.read_csv(LABELS)
    q = np.zeros((size, n_bins))
    for row, at in enumerate(rng.choice(len(table), size, p=table.images / table.images.sum())):
        labels = [int(k) for k in table.labels[at].split()]
        q[row, labels] = 1 / len(labels)
    return q
