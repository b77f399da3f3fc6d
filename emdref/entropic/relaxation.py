"""How far Sinkhorn's iteration is overrelaxed: an exponent w for each row, from the rate at which its defect falls.

u <- u^(1-w) (p / (K v))^w, and v likewise, is successive overrelaxation of the two marginals (Thibault, Chizat, Dossal
and Papadakis 2021, arXiv 1711.01851).  Near the optimum, where the plain iteration's defect falls by eta a step, w =
2 / (1 + sqrt(1 - eta)) is best and gives the rate w - 1 (Lehmann, von Renesse, Sambale and Uschmajew 2022, doi
10.1007/s11590-021-01830-0).  Young's relation (r + w - 1)^2 = r eta w^2 gives eta from the rate r seen with a smaller
w, so that w is found while the iteration runs, without a product more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 1.98  # rounding is amplified by 1 / (2 - w)
_SPAN = 10  # iterations over which a rate is observed at least


class Relaxation:
    """The exponents, and what was seen of each row since its exponent was set."""

    def __init__(self, rows: int, largest: float) -> None:
        self.largest = largest
        self.w = np.ones(rows)
        self.excess = np.zeros(rows)  # w - 1, or 0 while a row rests
        self.resting = np.zeros(rows, bool)
        self.rest = np.full(rows, _SPAN)  # how long the next one lasts
        self.since, self.until = np.zeros(rows, int), np.ones(rows, int)
        self.defect = np.full(rows, np.inf)

    def watch(self, rows: NDArray[Any], it: int, defect: NDArray[Any]) -> None:
        """Set the exponents anew of those `rows` whose span ends with iteration `it`."""
        ends = it == self.until[rows]
        if not ends.any():
            return
        a, now = rows[ends], defect[ends].astype(np.float64)
        rate = (now / self.defect[a]) ** (1 / (it - self.since[a]))
        rested = self.resting[a]
        measured = ~rested & (rate < 1)
        self.w[a] = np.where(measured, self._exponent(self.w[a], rate), self.w[a])
        # a defect that does not fall may be rounding that w amplifies: plain steps take it away, if there are enough
        self.resting[a] = ~rested & ~measured
        self.excess[a] = np.where(self.resting[a], 0, self.w[a] - 1)
        span = np.where(self.resting[a], self.rest[a], np.maximum(_SPAN, 3 / (2 - self.w[a])))
        self.rest[a] = np.select([self.resting[a], measured], [2 * self.rest[a], _SPAN], self.rest[a])
        self.since[a], self.until[a] = it, it + np.ceil(span)
        self.defect[a] = np.where(rested, self.defect[a], now)  # plain steps lower it for a while only

    def _exponent(self, w: NDArray[Any], rate: NDArray[Any]) -> NDArray[Any]:
        """Up by Young's relation, 2 - w halved at most; down, 2 - w by half more, where w itself limits the rate."""
        eta = np.minimum(1, (rate + w - 1) ** 2 / (rate * w**2))
        raised = np.minimum(2 / (1 + np.sqrt(1 - eta)), np.minimum(1 + w / 2, self.largest))
        return np.where(rate > w - 1, raised, np.maximum(1, 1.5 * w - 1))
