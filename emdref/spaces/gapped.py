"""What spaces have in common whose bins stand one after the other, with a gap between two of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref.arguments.casts import frozen
from emdref.spaces.rooted import read_only
from emdref.spaces.space import SHORT, Immutable, Space


class Gapped(Immutable, Space):
    """Bins in order, and the costs of going from one to the next."""

    gaps: NDArray[np.float64]
    _positions: NDArray[np.float64] | None

    @property
    def bin_labels(self) -> NDArray[Any]:
        """Names of the bins: their positions if these were given, else their numbers."""
        return read_only(np.arange(self.n_bins)) if self._positions is None else self._positions

    @property
    def repeated_gaps(self) -> tuple[NDArray[np.float64], int]:
        """Gaps as the kernels read them, entry number k times a step: all the same, or one each."""
        if not len(self.gaps):
            return frozen(np.zeros(1)), 0
        return (frozen(self.gaps[:1].copy()), 0) if self.gaps.strides == (0,) else (self.gaps, 1)

    def edge_name(self, edge: int) -> str:
        """By the gap and the bin before it."""
        return f"gap {edge} (after bin {edge})"

    def as_code(self) -> str | None:
        """By the number of bins where gaps are 1, else by the gaps if they are few."""
        name = f"emdref.{type(self).__name__}"
        if (self.gaps == 1).all():
            return f"{name}({self.n_bins})"
        return f"{name}(gaps={self.gaps.tolist()})" if self.n_bins <= SHORT else None

    def check(self) -> None:
        """Nothing is left to be looked at: whoever makes one has done so."""
