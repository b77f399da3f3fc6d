"""A cost matrix as a space: distances between bins, and no edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from emdref.spaces.space import Metric


class Matrix(Metric):
    """Distances as they were given, checked by `emdref.entropic.inputs`; the dense way is all that it offers."""

    def __init__(self, cost: NDArray[np.float64]) -> None:
        self.cost = cost

    @property
    def kind(self) -> str:
        """How a message calls it, who was given an array."""
        return "a cost matrix"

    @property
    def n_bins(self) -> int:
        """Number of bins N, the length of a histogram."""
        return len(self.cost)

    def distance_matrix(self, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """The matrix."""
        return self.cost.astype(dtype, copy=False)
