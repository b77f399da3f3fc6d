"""Histograms to draw, the MSE they are compared under, and two numbers that describe a gradient's shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ARCCOS = float(np.degrees(np.sqrt(2 * 64 * 2.0**-53)))  # degrees that `angle` may be off: near 1 a cosine keeps half


def gaussian(n: int, centre: float, width: float) -> Array:
    """A bump of unit mass on n bins."""
    bump = np.exp(-0.5 * ((np.arange(n) - centre) / width) ** 2)
    return bump / bump.sum()


def mse(p: Array, q: Array) -> float:
    """Mean squared error."""
    return float(np.mean((p - q) ** 2))


def grad_mse(p: Array, q: Array) -> Array:
    """Its gradient with respect to p."""
    return 2 * (p - q) / p.size


def roughness(g: Array) -> float:
    """Total variation over range: 1 for a monotone gradient, 2 for one bump, more for each further wiggle."""
    return float(np.abs(np.diff(g)).sum() / np.ptp(g))


def reach(g: Array) -> float:
    """Share of bins whose entry is over 1% of the largest."""
    return float((np.abs(g) > 0.01 * np.abs(g).max()).mean())


def angle(a: Array, b: Array) -> Array:
    """Angle in degrees between gradients along the last axis, arccos of the cosine similarity."""
    cosine = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
