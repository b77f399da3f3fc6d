"""How many rows two limbs could not settle: they are done again exactly, see `emdref.closed_form.exact_rows`."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass
class Count:
    """How many rows compensated calls have worked on, and how many of them were done again exactly."""

    rows: int = 0
    exact: int = 0


_count: contextvars.ContextVar[Count | None] = contextvars.ContextVar("emdref_fallback_count", default=None)


@contextlib.contextmanager
def counting() -> Iterator[Count]:
    """Count the rows of compensated calls made within this context by the caller's own thread.

    Examples
    --------
    >>> import emdref
    >>> with emdref.fallback.counting() as count:
    ...     value = emdref.emd([1, 2.0**-60, 2.0**-120, 0, 0, 0], [0, 0, 0, 1, 2.0**-60, 2.0**-120], emdref.Chain(6))
    >>> count
    Count(rows=1, exact=1)
    """
    count = Count()
    token = _count.set(count)
    try:
        yield count
    finally:
        _count.reset(token)


def counted(unsafe: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The numbers of rows whose flows must be added up exactly, counted if anybody counts."""
    again = np.flatnonzero(unsafe)
    count = _count.get()
    if count is not None:
        count.rows += len(unsafe)
        count.exact += len(again)
    return again
