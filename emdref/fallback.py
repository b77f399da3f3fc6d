"""How many rows two limbs could not settle: they are done again exactly, see `emdref.closed_form.exact_rows`."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Count:
    """What `counting` counts.

    Attributes
    ----------
    rows : int
        How many rows compensated calls have worked on.
    exact : int
        How many of them were done again exactly.
    """

    rows: int = 0
    exact: int = 0


_count: contextvars.ContextVar[Count | None] = contextvars.ContextVar("emdref_fallback_count", default=None)


@contextlib.contextmanager
def counting() -> Iterator[Count]:
    """Count the rows of compensated calls, and those that were done again exactly.

    It is a context, and counts the calls that the caller's own thread makes within it.

    Returns
    -------
    context manager of a Count
        Its ``rows`` and ``exact`` grow while the context lasts.

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
