"""Where the rows of Sinkhorn's iteration failed: denominators of 0, scalings that are 0, infinite or NaN."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import validation

FAILED = ("nan", "overflow", "underflow")


class Watch:
    """Looks at each iteration of arrays of shape (N, rows) and remembers what first went wrong in each row."""

    def __init__(self, domain: Any, p: NDArray[Any], q: NDArray[Any]) -> None:
        self.domain = domain
        self.p, self.q = (np.ascontiguousarray(x > 0) for x in (p, q))  # where a row has mass
        rows = p.shape[1]
        self.vanished = np.zeros(rows, bool)  # a mass was divided by 0
        self.at, self.bin = np.zeros(rows, int), np.full(rows, -1)

    def look(self, it: int, rows: NDArray[Any], v: Any, ktu: Any, u: Any, kv: Any) -> None:
        """Iteration `it`, v = q / ktu and then u = p / kv, of the rows of these indices."""
        every = len(rows) == len(self.at)
        p, q = (x if every else x[:, rows] for x in (self.p, self.q))
        suspect = np.flatnonzero((self._unsound(v, q) | self._unsound(u, p)) & ~self.vanished[rows])
        if len(suspect):
            self._record(it, rows[suspect], *(x[:, suspect] for x in (p, q, v, ktu, u, kv)))

    def outcome(self, failed: NDArray[Any], v: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Iteration and bin in which each row failed, of the rows whose status names a failure; v as evaluated."""
        late = self._first(v, self.q) if failed.any() else self.bin
        return outcome(failed, self.at, self.bin, late)

    def _record(self, it: int, rows: Any, p: Any, q: Any, v: Any, ktu: Any, u: Any, kv: Any) -> None:
        zero = self.domain.vanished
        self.vanished[rows] |= (zero(kv) & p).any(axis=0) | (zero(ktu) & q).any(axis=0)
        fresh = self.at[rows] == 0
        by_v, by_u = self._first(v, q), self._first(u, p)
        self.at[rows[fresh]] = it
        self.bin[rows[fresh]] = np.where(by_v >= 0, by_v, by_u)[fresh]

    def _unsound(self, x: NDArray[Any], mass: NDArray[Any]) -> NDArray[Any]:
        """Rows in which x is not above 0 and finite wherever there is mass (where there is none it is 0)."""
        return (self.domain.vanished(x) == mass).any(axis=0) | ~(x.max(axis=0) < np.inf)

    def _first(self, x: NDArray[Any], mass: NDArray[Any]) -> NDArray[Any]:
        """The first bin of each row in which x is 0, infinite or NaN in spite of its mass, -1 for none."""
        bad = mass & (self.domain.vanished(x) | ~(x < np.inf))
        return np.where(bad.any(axis=0), bad.argmax(axis=0), -1)


def outcome(
    failed: NDArray[Any], at: NDArray[Any], bins: NDArray[Any], late: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Iteration and bin in which rows failed, from what was seen in iterations (`at` is 0 if nothing was) and later."""
    seen = at > 0
    return np.where(failed, np.where(seen, at, -1), 0), np.where(failed, np.where(seen, bins, late), -1)


def described(status: Any, at: Any, bins: Any, shape: tuple[int, ...]) -> str:
    """How many rows failed, how, and where the first of them did; "" if none did."""
    failed = np.flatnonzero(np.isin(status, FAILED))
    if not len(failed):
        return ""
    i = failed[0]
    count = Counter(status[failed].tolist())
    kinds = ", ".join(f"{count[kind]} {kind}" for kind in FAILED if count[kind])
    return (
        f"{len(failed)} of {len(status)} rows failed{f' ({kinds})' if len(failed) > 1 else ''}, the first "
        f"{validation.row_name(i, shape, ' ')}with status '{status[i]}' "
        f"{f'in iteration {at[i]}' if at[i] > 0 else 'after the last iteration'}"
        f"{f' at bin {bins[i]}' if bins[i] >= 0 else ''}"
    )
