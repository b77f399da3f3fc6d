"""Whole calls as users make them, each beside what they would write instead, on the same inputs in one process.

Nobody is timed before agreeing; all are timed in turn, on one thread; ratios are to the first, which is emdref's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from analysis.engine.cells import Rows
from analysis.timing.emd_speed import FAILURES, Entry, entry, failure, one_thread, told
from analysis.timing.measuring import over, race, stopwatch

PART = "call"  # of the table
Judge = Callable[[tuple[Any, ...]], float]  # the largest error of an answer over its tolerance


class Call(NamedTuple):
    """What is timed, and how the numbers of its answer are read, outside of the timing."""

    call: Callable[[], Any]
    read: Callable[[Any], tuple[Any, ...]] = lambda answer: answer if isinstance(answer, tuple) else (answer,)
    timed: Callable[[], Any] | None = None  # a part of the work, where all of it would take long
    share: float = 1.0  # which part
    note: str = ""
    rows: int = 0  # pairs that it takes, if not those of the duel


class Entrant(NamedTuple):
    """Who takes part; `make` raises ImportError where the package is missing."""

    name: str
    package: str
    make: Callable[[], Call]


def duel(common: dict[str, Any], entrants: Sequence[Entrant], judge: Judge, seconds: float) -> Rows:
    """A row for each: times of those that agree, a note for the others."""
    common = {"part": PART} | common
    with one_thread():
        entries = [_admit(common, entrant, judge) for entrant in entrants]
    with one_thread():  # now that every package is loaded
        times = race({row["implementation"]: watch for row, watch in entries if watch}, seconds)
    return [told(row, times, row["rows"], entrants[0].name) for row, _ in entries]


def _admit(common: dict[str, Any], entrant: Entrant, judge: Judge) -> Entry:
    row = entry(common, entrant)
    try:
        call = entrant.make()
        row["disagreement"] = judge(call.read(call.call()))
    except FAILURES as error:
        return row | {"note": failure(error)}, None
    if not row["disagreement"] <= 1:
        return row | {"note": f"disagrees: {row['disagreement']:.3g} times the tolerance away, not timed"}, None
    watch = stopwatch(call.timed or call.call)
    noted = {"note": call.note} if call.note else {}
    return row | {"timed_rows": call.rows or row["rows"]} | noted, lambda: watch() / call.share


def near(right: tuple[Any, ...], allowed: tuple[Any, ...]) -> Judge:
    """Whether each part of an answer is within so much of what is right."""

    def judge(found: tuple[Any, ...]) -> float:
        pairs = zip(found, right, allowed, strict=True)
        return max(over(np.asarray(x, float) - y, np.asarray(bound, float)) for x, y, bound in pairs)

    return judge
