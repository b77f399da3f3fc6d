"""Whether a table came out as it is committed: every column of it is exact, or rounding, or a timing.

A script declares its columns in ``KINDS``. Exact columns must be the same. Those of rounding may differ by what another
BLAS, another libm or another vector width explains, and their bound says how much that is. Timings are of the machine
and the moment; they are not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

EXACT: Literal["exact"] = "exact"
TIMING: Literal["timing"] = "timing"
PRINTED = 1e-8  # tables keep nine digits: a number may move by a unit of the ninth
UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "tf32": 2.0**-11, "bfloat16": 2.0**-8, "float16": 2.0**-11}
CONFIDENCE = 6.0  # times the standard deviation: exceeded in 2 exp(-18) of all sums, one of 30 million
NOT_INSTALLED = "not installed"  # the note of a row that could not be computed
FEW_ULP = 16  # roundings that exp, log, a quotient and a power may add to a sum's


@dataclass(frozen=True)
class Rounding:
    """A column that another machine may round otherwise."""

    bound: Callable[[pd.DataFrame], Any]  # of each row, absolute; infinite where nothing can be promised
    why: str  # where the bound comes from


Kind = Literal["exact", "timing"] | Rounding
Kinds = Mapping[str, Kind]


class Comparison(NamedTuple):
    """What became of a table."""

    words: str
    moved: bool = False  # an exact or rounding column is another
    timed: bool = False  # nothing moved, and the timings are new


def exact(*names: str) -> dict[str, Kind]:
    """Columns that must be the same."""
    return dict.fromkeys(names, EXACT)


def timing(*names: str) -> dict[str, Kind]:
    """Columns of the machine and the moment."""
    return dict.fromkeys(names, TIMING)


def sums(terms: int, repeated: Any = 1, dtype: Any = "float64") -> Any:
    """By how much two orders of summation may part, relative: `repeated` sums of so many terms, one after the other.

    A sum of n positive terms is off by at most lambda sqrt(n) u but for 2 exp(-lambda^2 / 2) of all sums (Higham and
    Mary 2019, SIAM J. Sci. Comput. 41, Theorem 2.4); the errors of steps that follow one another add as their squares
    do, and two machines each have theirs.
    """
    unit = dtype.map(UNIT).astype(float) if isinstance(dtype, pd.Series) else UNIT[dtype]
    return 2 * CONFIDENCE * unit * np.sqrt((terms + FEW_ULP) * repeated)


def relative(column: str, bound: Callable[[pd.DataFrame], Any], why: str) -> dict[str, Kind]:
    """A column whose bound is a fraction of its value."""
    return {column: Rounding(lambda table: table[column].abs() * bound(table), why)}


def like_another_seed(columns: Sequence[str], key: Sequence[str]) -> dict[str, Kind]:
    """Columns of trained networks: a last bit that differs leads a run as far apart as another seed does.

    The bound is 6 times the standard deviation over the runs that agree in `key`; where there are not two of them, 6
    times the largest of the column's.
    """

    def bound_of(name: str) -> Callable[[pd.DataFrame], Any]:
        def bound(table: pd.DataFrame) -> Any:
            spread = table.groupby(list(key), dropna=False)[name].transform("std")
            return CONFIDENCE * spread.fillna(spread.max())

        return bound

    return {name: Rounding(bound_of(name), "runs of other seeds are as far apart") for name in columns}


def compare(new: pd.DataFrame, old: pd.DataFrame, kinds: Kinds, key: Sequence[str] = ()) -> Comparison:
    """The new table beside the old one, row by row; with a key, the rows that both have."""
    if set(new) ^ set(old):
        names = ", ".join(sorted(set(new) ^ set(old)))
        return Comparison(f"other columns than the committed table: {names}", moved=True)
    left_out = 0
    if key:
        new, old, left_out = _matched(new, old, list(key))
    if len(new) != len(old):
        return Comparison(f"{len(new)} rows, the committed table has {len(old)}", moved=True)
    found = [_difference(new, old, name, kind) for name, kind in kinds.items() if kind != TIMING]
    worst = max(found, key=lambda difference: difference.excess, default=None)
    timed = any(not _same(new[name], old[name]).all() for name, kind in kinds.items() if kind == TIMING)
    aside = f" ({left_out} rows of it were not computed)" if left_out else ""
    if worst is None or worst.excess == 0:
        words = "identical to the committed table" + (", timings apart" if timed else "")
    else:
        words = f"not identical to the committed table: {worst.words}"
    return Comparison(words + aside, moved=worst is not None and worst.excess > 1, timed=timed)


class _Difference(NamedTuple):
    """The largest in a column: over its bound, and in words."""

    excess: float
    words: str


def _matched(new: pd.DataFrame, old: pd.DataFrame, key: list[str]) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Both in the new one's order, without the old one's rows that the new one has not or could not compute."""
    rows = len(old)
    if "note" in new:
        new = new[new.note != NOT_INSTALLED].reset_index(drop=True)
    labels = [pd.MultiIndex.from_frame(table[key].astype(object).fillna("").astype(str)) for table in (new, old)]
    there = labels[1].get_indexer(labels[0])
    if (there < 0).any():
        return new, old, 0
    return new, old.iloc[there].reset_index(drop=True), rows - len(new)


def _same(new: pd.Series, old: pd.Series) -> np.ndarray:
    a, b = new.to_numpy(object), old.to_numpy(object)
    return (a == b) | (pd.isna(new).to_numpy() & pd.isna(old).to_numpy())


def _difference(new: pd.DataFrame, old: pd.DataFrame, name: str, kind: Kind) -> _Difference:
    differ = ~_same(new[name], old[name])
    if not differ.any():
        return _Difference(0.0, "")
    if not isinstance(kind, Rounding):
        at = int(np.argmax(differ))
        text = f"{name}, which is exact, differs in {differ.sum()} of {len(old)} rows, first in row {at}: "
        return _Difference(np.inf, f"{text}{new[name].iloc[at]!s:.40} now, {old[name].iloc[at]!s:.40} committed")
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (table[name].to_numpy(float) for table in (new, old))
        bound = np.broadcast_to(np.asarray(kind.bound(old), float), a.shape)
        bound = np.nan_to_num(bound, nan=0.0, posinf=np.inf) + PRINTED * np.nan_to_num(abs(b))
        size = np.where(differ, np.nan_to_num(abs(a - b), nan=np.inf), 0.0)
        excess = np.where(np.isinf(bound) | (size == 0), np.where(size > 0, np.finfo(float).tiny, 0.0), size / bound)
    at = int(np.argmax(excess))
    verdict = "within" if excess[at] <= 1 else "BEYOND"
    text = f"the largest difference is {size[at]:.2g} in {name} (row {at}: {a[at]:.9g}, was {b[at]:.9g})"
    return _Difference(float(excess[at]), f"{text}, {verdict} what rounding explains, {bound[at]:.2g}: {kind.why}")
