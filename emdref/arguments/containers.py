"""Arrays in the containers of others: NumPy's masks, SciPy's sparse entries, tables and labels of pandas.

Neither SciPy nor pandas is imported here: whoever has such an array has done so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import naming
from emdref.arguments.messages import shown, type_name, written
from emdref.kernels.compile.threads import alone

SORT = 200  # nanoseconds that an entry takes to sort by two keys, about
_NUMBERS = frozenset({float, int})  # a list of these holds no other containers
Coordinates = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]


def plain(x: Any, name: str) -> Any:
    """What NumPy reads as it is: nothing masked, sparse entries as an array."""
    refuse_masked(x, name)
    if not is_sparse(x):
        if _holds_others(x) and any(map(is_sparse, x)):
            raise TypeError(f"{name} is a list of sparse rows: give scipy.sparse.vstack({name})")
        return _numbers(x) if is_frame(x) else x
    coordinates(x, name)
    return x.toarray()


def row(x: Any, name: str) -> Any:
    """What NumPy reads as it is, where a sparse matrix of one row stands for that row."""
    array = plain(x, name)
    return array[0] if is_sparse(x) and array.ndim == 2 and len(array) == 1 else array


# --- masks ------------------------------------------------------------------------------------------------------------


def refuse_masked(x: Any, name: str) -> None:
    """Refuse masked entries, also within lists."""
    if _is_masked(x):
        raise TypeError(f"{name} has masked entries, for which no number stands: fill them, or leave them out")


def _is_masked(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return _holds_others(x) and any(map(_is_masked, x))
    return isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x)


def _holds_others(x: Any) -> bool:
    """True for a list of more than numbers."""
    return isinstance(x, (list, tuple)) and not _NUMBERS.issuperset(map(type, x))


# --- tables -----------------------------------------------------------------------------------------------------------


def is_frame(x: Any) -> bool:
    """True for a DataFrame of pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(x, pandas.DataFrame)


def _numbers(frame: Any) -> Any:
    """Numbers of pandas' own types, which NumPy takes for objects, in NumPy's; what is NA becomes NaN."""
    types = [getattr(dtype, "numpy_dtype", dtype) for dtype in frame.dtypes]  # NumPy's for pandas' Int64 and others
    if types == list(frame.dtypes) or not all(getattr(t, "kind", "O") in "iuf" for t in types):
        return frame
    common = np.result_type(*(getattr(t, "subtype", t) for t in types))
    if frame.isna().to_numpy().any():
        return frame.to_numpy(np.result_type(common, np.float32), na_value=np.nan)
    return frame.to_numpy(common)


# --- sparse matrices --------------------------------------------------------------------------------------------------


def is_sparse(x: Any) -> bool:
    """True for a scipy.sparse matrix or array."""
    module = sys.modules.get("scipy.sparse")
    return module is not None and module.issparse(x)


def coordinates(x: Any, name: str) -> Coordinates:
    """Row, column and value of each entry of a sparse matrix, or a sparse row; no place holds two."""
    if len(x.shape) > 2:
        raise ValueError(
            f"{name} has shape {written(x.shape)}: sparse histograms are one row, or the rows of a 2-D matrix"
        )
    entries = x.tocoo()
    row, column, data = entries.row.astype(np.int64), entries.col.astype(np.int64), entries.data
    if len(column) and not (column.min() >= 0 and column.max() < x.shape[-1]):
        raise ValueError(f"{name} has an entry in column {column.max()}, which its shape {x.shape} does not have")
    order = alone(np.lexsort, (column, row), work=SORT * len(row))
    again = np.flatnonzero((np.diff(row[order]) == 0) & (np.diff(column[order]) == 0))
    if len(again):  # their sum would be rounded before anything is computed
        a, b = order[again[0]], order[again[0] + 1]
        place = f"{row[a]}, {column[a]}" if len(x.shape) == 2 else f"{column[a]}"
        raise ValueError(
            f"{name}[{place}] is there twice, as {data[a]} and {data[b]}: call {name}.sum_duplicates() first"
        )
    return row, column, data


# --- labels -----------------------------------------------------------------------------------------------------------


def check_labels(given: dict[str, Any], where: Any = None) -> None:
    """Refuse labels of pandas that are not the names of the bins in their order; nothing is put in order silently.

    `where` is a space, which names its bins, or a matrix; if it names none, the first of the arguments that does.
    A default RangeIndex is positional.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return
    found = [x for name, y in given.items() if type(y) is not np.ndarray for x in _labels(pandas, y, name)]
    if not found:
        return
    if hasattr(where, "bin_labels"):
        names, of = where.bin_labels.tolist(), "space.bin_labels"
    else:
        (place, names, what), *found = [*_names(pandas, where), *found]
        of = f"{place}.{what}"
    for place, labels, what in found:
        if not _equal(labels, names):
            raise ValueError(_difference(place, what, labels, names, of, cuts=hasattr(where, "labels")))


def check_row_labels(x: Any, weights: Any) -> None:
    """Refuse weights of pandas whose labels are not those of the rows that they weigh, in their order."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not (isinstance(x, pandas.DataFrame) and isinstance(weights, pandas.Series)):
        return
    names, labels = (names_of(y.index) for y in (x, weights))
    if names is not None and labels is not None and not _equal(labels, names):
        raise ValueError(_difference("weights", "index", labels, names, "P.index", cuts=False))


def check_matrix_labels(x: Any, name: str) -> None:
    """Refuse a matrix of pandas whose rows are not labelled as its columns are."""
    if not is_frame(x):
        return
    columns, index = names_of(x.columns), names_of(x.index)
    if columns is not None and index is not None and not _equal(columns, index):
        raise ValueError(f"{name}'s index is not its columns: give {name}.loc[names, names] with one order of names")


def _names(pandas: Any, cost: Any) -> list[tuple[str, list[Any], str]]:
    """What a matrix calls the bins: its columns, or its index if they only count."""
    named = [*_labels(pandas, cost, "cost")]
    index = names_of(cost.index) if is_frame(cost) else None
    return named or ([] if index is None else [("cost", index, "index")])


def _labels(pandas: Any, x: Any, name: str) -> Iterator[tuple[str, list[Any], str]]:
    """Place, labels and the attribute that holds them, of all that has labels in what was given."""
    if isinstance(x, (list, tuple)):
        for k, part in enumerate(x if _holds_others(x) else ()):
            yield from _labels(pandas, part, f"{name}[{k}]")
        return
    what = "columns" if isinstance(x, pandas.DataFrame) else "index" if isinstance(x, pandas.Series) else ""
    labels = names_of(getattr(x, what)) if what else None
    if labels is not None:
        yield name, labels, what


def names_of(index: Any) -> list[Any] | None:
    """Labels of an axis in pandas as a list, None for those that only count."""
    counts = isinstance(index, sys.modules["pandas"].RangeIndex) and index.start == 0 and index.step == 1
    return None if counts else index.tolist()


def _equal(labels: Any, names: Any) -> bool:
    try:
        return bool(labels is names or labels == names)
    except (TypeError, ValueError):  # a label that compares with nothing, such as pandas.NA
        return False


def _difference(name: str, what: str, labels: Sequence[Any], names: Sequence[Any], of: str, cuts: bool) -> str:
    """What is wrong with labels, and what to do; `cuts` says that nodes have names, so that a part can be cut out."""
    known, own = set(names), set(labels)
    missing, strange = [x for x in names if x not in own], [x for x in labels if x not in known]
    reading = naming.other_type(strange, names, f"{name}.{what}")
    if reading:
        theirs, ours = (f"{type_name(x)}, such as {shown(x, 15)}" for x in (strange[0], names[0]))
        return f"the labels of {name}.{what} are not {of}: they are {theirs}, and those are {ours}; give {reading}"
    at = next((k for k, both in enumerate(zip(labels, names, strict=False)) if not _equal(*both)), None)
    if missing or strange:
        faults = [f"{_few(missing)} missing"] * bool(missing) + [f"{_few(strange)} unknown"] * bool(strange)
        fault = ", ".join(faults)
    elif len(labels) == len(names) and at is not None:
        fault = f"{_few(labels[at : at + 1])} stands where {_few(names[at : at + 1])} belongs"
    else:
        fault = f"there are {len(labels)} for {len(names)}"
    way_out = f"{name}.to_numpy() if it has their order"
    if len(known) == len(names):  # else each of the bins of one name would get its mass
        columns = "columns=" if what == "columns" else ""
        way_out = f"{name}.reindex({columns}names, fill_value=0) with names = {of}, or {way_out}"
        if len(own) < len(labels):
            way_out = f"sums of what has one label, then {way_out}"
        elif cuts and missing and not strange:
            way_out += f", or space.restrict({name}.{what})"
    return f"the labels of {name}.{what} are not {of}: {fault}; give {way_out}"


def _few(labels: Sequence[Any]) -> str:
    """The first of some labels."""
    return ", ".join(shown(x, 15) for x in labels[:2]) + (f" and {len(labels) - 2} more" if len(labels) > 2 else "")
