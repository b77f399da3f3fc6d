"""How many rows two limbs could not settle: they are done again exactly, see `emdref.closed_form.exact_rows`."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass


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
    counted = Count()
    token = _count.set(counted)
    try:
        yield counted
    finally:
        _count.reset(token)


def count(rows: int, exact: int) -> None:
    """Add to the count of whoever counts: rows worked on, and how many of them are done again exactly."""
    counted = _count.get()
    if counted is not None:
        counted.rows += rows
        counted.exact += exact
