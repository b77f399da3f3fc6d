"""Histograms in SciPy's sparse matrices and arrays: their entries, checked.

scipy.sparse is never imported here: whoever has such a matrix has done so.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import casts, containers, libraries, validation
from emdref.arguments.messages import written
from emdref.arguments.validation import Accuracy, Mass
from emdref.kernels.compile.threads import alone
from emdref.spaces.space import Space, as_rooted, check_space


class Rows(NamedTuple):
    """Rows as in a CSR matrix, without zeros and ascending by place in the space's depth-first order."""

    start: NDArray[np.int64]
    place: NDArray[np.int64]
    mass: NDArray[Any]
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the masses."""
        return self.mass.dtype

    @property
    def ndim(self) -> int:
        """1 or 2, as given."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.start) - 1

    def totals(self, exponent: int = 0) -> NDArray[np.float64]:
        """Of each row, times 2**exponent; inf beyond float64."""
        if not len(self):
            return np.empty(0)
        with np.errstate(over="ignore", under="ignore"):
            return np.add.reduceat(np.ldexp(self.mass, exponent), self.start[:-1], dtype=np.float64)

    def between(self, first: int, last: int) -> Rows:
        """Some of the rows."""
        a, b = self.start[first], self.start[last]
        return Rows(self.start[first : last + 1] - a, self.place[a:b], self.mass[a:b], (last - first, *self.shape[1:]))

    def on(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """As an array with a column for each of some ascending places, which must include those of the rows."""
        out = np.zeros((len(self), len(places)), self.dtype)
        row = np.repeat(np.arange(len(self)), np.diff(self.start))
        out[row, np.searchsorted(places, self.place)] = self.mass
        return casts.frozen(out)

    def dense(self, index: NDArray[np.int64], space: Space) -> NDArray[Any]:
        """Rows of these indices as an array."""
        bins = np.empty(space.n_nodes, np.int64)
        bins[as_rooted(space).heavy_paths.place] = np.arange(space.n_bins)
        out = np.zeros((len(index), space.n_bins), self.dtype)
        for line, i in zip(out, index.tolist(), strict=True):
            at = slice(self.start[i], self.start[i + 1])
            line[bins[self.place[at]]] = self.mass[at]
        return casts.frozen(out)


def refuse(x: Any, name: str) -> None:
    """Say that a GPU takes no sparse matrix."""
    if containers.is_sparse(x):
        raise TypeError(f"{name} is sparse, which no GPU kernel takes: give {name}.toarray(), or leave device=None")


def checked(given: dict[str, Any], space: Any, mass: str, accuracy: str) -> dict[str, Rows]:
    """Valid rows of each argument, or an error that names it, the row and the bin."""
    validation.option(mass, "mass", Mass)
    validation.option(accuracy, "accuracy", Accuracy)
    check_space(space)
    containers.check_labels(given, space)
    libraries.home(given)  # NumPy's, for one of them is sparse
    return {name: _rows(x, name, space) for name, x in given.items()}


def _rows(x: Any, name: str, space: Space) -> Rows:
    row, column, data, shape = _entries(x, name)
    if shape[-1] != space.n_bins:
        raise ValueError(f"{name} has shape {written(shape)}, its last axis must be the space's {space.n_bins} bins")
    bad = np.flatnonzero(~((data >= 0) & (data < np.inf)))
    if len(bad):
        k = bad[0]
        advice = "a histogram holds no negative mass" if data[k] < 0 else "a histogram holds finite mass"
        raise ValueError(f"{name}[{_index(row[k], column[k], shape)}] = {data[k]}: {advice}")
    some = data > 0
    count = np.bincount(row[some], minlength=math.prod(shape[:-1]))
    if not count.all():
        raise ValueError(f"{name}[{_index(int(np.argmin(count)), ':', shape)}] is all zeros: some mass is needed")
    place = as_rooted(space).heavy_paths.place[column[some]]
    order = alone(np.lexsort, (place, row[some]), work=containers.SORT * len(place))
    start = np.concatenate([[0], np.cumsum(count)])
    return Rows(casts.frozen(start), casts.frozen(place[order]), casts.frozen(data[some][order]), shape)


def _index(row: Any, column: Any, shape: tuple[int, ...]) -> str:
    return f"{row}, {column}" if len(shape) == 2 else f"{column}"


def _entries(x: Any, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any], tuple[int, ...]]:
    """Row, column and value of each entry that is there; no place holds two."""
    if not containers.is_sparse(x):
        array = validation.histogram(x, name)
        if array.ndim not in (1, 2):
            raise ValueError(f"{name} has shape {written(array.shape)}: beside sparse rows, give (N,) or (rows, N)")
        row, column = np.nonzero(np.atleast_2d(array))
        return row, column, np.atleast_2d(array)[row, column], array.shape
    row, column, data = containers.coordinates(x, name)
    return row, column, validation.histogram(data, name), x.shape
