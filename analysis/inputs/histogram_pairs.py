"""Pairs of histograms: softmax predictions against three kinds of targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LABELS = Path(__file__).parents[1] / "data" / "real_labels.csv"
KINDS = ("softmax", "ReaL", "one-hot")
CLASSES = range(1000)  # of ILSVRC, in the order of the ReaL table and of `emdref.wordnet_tree`


class Group(NamedTuple):
    """`count` pairs of one kind whose predictions are softmaxes of normal logits with spread `sigma`."""

    kind: str
    sigma: float  # the inverse of the softmax's temperature
    count: int

    def name(self) -> str:
        """For tables: a softmax target has its prediction's spread."""
        return f"{self.kind} {self.sigma:g}" if self.kind == "softmax" else self.kind


class Pairs(NamedTuple):
    """Predictions p, targets q, and the group of each."""

    p: NDArray[np.float64]  # (pairs, N)
    q: NDArray[np.float64]
    group: list[Group]


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Along the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def pairs(seed: int, n_bins: int, groups: Sequence[Group], classes: Sequence[int] | None = None) -> Pairs:
    """The pairs of all groups, each group by random numbers of its own, so that it does not depend on the others.

    A ReaL target shares its mass equally among the labels that human raters gave one ILSVRC validation image; sets are
    drawn as often as images carry them.  `classes` holds the bin of each of the 1000 classes, for ReaL targets alone.
    """
    made = [_pairs(seed, n_bins, Group(*group), classes) for group in groups]
    p, q = (np.concatenate(x) for x in zip(*made, strict=True))
    return Pairs(p, q, [Group(*group) for group in groups for _ in range(group[2])])


def _pairs(
    seed: int, n_bins: int, group: Group, classes: Sequence[int] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng([seed, KINDS.index(group.kind), round(1000 * group.sigma)])
    size = (group.count, n_bins)
    p = softmax(group.sigma * rng.normal(size=size))
    if group.kind == "softmax":
        return p, softmax(group.sigma * rng.normal(size=size))
    if group.kind == "one-hot":
        q = np.zeros(size)
        q[np.arange(group.count), rng.choice(n_bins, group.count, replace=group.count > n_bins)] = 1
        return p, q
    return p, _real(rng, *size, classes)


def _real(rng: np.random.Generator, size: int, n_bins: int, classes: Sequence[int] | None) -> NDArray[np.float64]:
    if classes is None:
        raise ValueError("ReaL targets need a space whose bins are the 1000 ILSVRC classes, labelled by wnid")
    table = pd.read_csv(LABELS)
    q = np.zeros((size, n_bins))
    for row, at in enumerate(rng.choice(len(table), size, p=table.images / table.images.sum())):
        labels = [classes[int(k)] for k in table.labels[at].split()]
        q[row, labels] = 1 / len(labels)
    return q
