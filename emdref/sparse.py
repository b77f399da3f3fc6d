"""Histograms in SciPy's sparse matrices and arrays: EMD by the bins that hold mass, not by the size of the space.

A pair's bins and their lowest common ancestors are the only nodes at which flows meet; see emdref.kernels.induced.  A
space is prepared for that once, in O(V), and keeps what was prepared.  scipy.sparse is never imported here: whoever has
such a matrix has done so.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref import inputs, pairs
from emdref.inputs import Accuracy, Batch, Mass
from emdref.kernels import allpairs, induced
from emdref.kernels.threads import over_rows
from emdref.spaces import Space

_BYTES = 2**24  # of rows that are made dense at once
_RANGE = 200  # totals and distances beyond 2**200, or below 2**-200, are computed densely, where pairs are scaled
_WORK = 32  # elements of a dense row that a bin of a sparse one takes as long as, for the number of threads


class Rows(NamedTuple):
    """Rows as in a CSR matrix, without zeros and ascending by place in the space's outline."""

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

    def totals(self) -> NDArray[np.float64]:
        """Of each row, inf beyond float64."""
        with np.errstate(over="ignore"):
            return np.add.reduceat(self.mass, self.start[:-1], dtype=np.float64) if len(self) else np.empty(0)

    def dense(self, index: NDArray[np.int64], space: Space) -> NDArray[Any]:
        """Rows of these indices as an array."""
        bins = np.empty(space.n_nodes, np.int64)
        bins[space._outline.place] = np.arange(space.n_bins)
        out = np.zeros((len(index), space.n_bins), self.dtype)
        for line, i in zip(out, index.tolist(), strict=True):
            at = slice(self.start[i], self.start[i + 1])
            line[bins[self.place[at]]] = self.mass[at]
        return inputs.frozen(out)


def is_sparse(x: Any) -> bool:
    """True for a scipy.sparse matrix or array."""
    module = sys.modules.get("scipy.sparse")
    return module is not None and module.issparse(x)


def dense(x: Any, name: str) -> Any:
    """A sparse matrix as an array, anything else as it is."""
    if not is_sparse(x):
        return x
    _entries(x, name)
    return x.toarray()


def emd(
    p: Any, q: Any, space: Space, rho: float, mass: str, accuracy: str, device: Any, densely: Callable[..., Any]
) -> Any:
    """`emdref.emd` where p, q or both are sparse; `densely` computes a Batch of dense rows."""
    inputs.device(device, p, q)
    sides = checked({"p": p, "q": q}, space, mass, accuracy)
    rho = inputs.exponent(rho)
    lead = inputs.leading_axes(sides, space.n_bins, "the space's")
    x, y = sides.values()
    i, j = (np.ascontiguousarray(np.broadcast_to(np.arange(len(s)), lead).reshape(-1)) for s in (x, y))
    if mass == "raise":
        _check_masses(x, y, i, j, lead, space.n_bins)
    value = computed(prepared(x, mass), prepared(y, mass), i, j, space, rho, mass, accuracy, densely)
    pairs.warn_beyond(Batch(x.mass, y.mass, lead), stacklevel=4, value=value)
    return value.reshape(lead)[()]


# --- input ------------------------------------------------------------------------------------------------------------


def checked(given: dict[str, Any], space: Any, mass: str, accuracy: str) -> dict[str, Rows]:
    """Valid rows of each argument, or an error that names it, the row and the bin."""
    inputs.option(mass, "mass", Mass)
    inputs.option(accuracy, "accuracy", Accuracy)
    if not isinstance(space, Space):
        raise TypeError(f"space must be a Chain or a Tree, not {type(space).__name__}")
    return {name: _rows(x, name, space) for name, x in given.items()}


def _rows(x: Any, name: str, space: Space) -> Rows:
    row, column, data, shape = _entries(x, name)
    if shape[-1] != space.n_bins:
        raise ValueError(f"{name} has shape {shape}, its last axis must be the space's {space.n_bins} bins")
    bad = np.flatnonzero(~((data >= 0) & (data < np.inf)))
    if len(bad):
        k = bad[0]
        advice = "a histogram holds no negative mass" if data[k] < 0 else "a histogram holds finite mass"
        raise ValueError(f"{name}[{_index(row[k], column[k], shape)}] = {data[k]}: {advice}")
    some = data > 0
    count = np.bincount(row[some], minlength=math.prod(shape[:-1]))
    if not count.all():
        raise ValueError(f"{name}[{_index(int(np.argmin(count)), ':', shape)}] is all zeros: some mass is needed")
    place = space._outline.place[column[some]]
    order = np.lexsort((place, row[some]))
    start = np.concatenate([[0], np.cumsum(count)])
    return Rows(*map(inputs.frozen, (start, place[order], data[some][order])), shape)


def _index(row: Any, column: Any, shape: tuple[int, ...]) -> str:
    return f"{row}, {column}" if len(shape) == 2 else f"{column}"


def _entries(x: Any, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any], tuple[int, ...]]:
    """Row, column and value of each entry that is there; no place holds two."""
    if not is_sparse(x):
        array = inputs.histogram(x, name)
        if array.ndim not in (1, 2):
            raise ValueError(f"{name} has shape {array.shape}: beside sparse rows, give (N,) or (rows, N)")
        row, column = np.nonzero(np.atleast_2d(array))
        return row, column, np.atleast_2d(array)[row, column], array.shape
    if len(x.shape) != 2:
        raise ValueError(f"{name} has shape {x.shape}: sparse histograms are the rows of a 2-D matrix")
    entries = x.tocoo()
    row, column, data = entries.row.astype(np.int64), entries.col.astype(np.int64), inputs.histogram(entries.data, name)
    if len(column) and not (0 <= column.min() and column.max() < x.shape[1]):
        raise ValueError(f"{name} has an entry in column {column.max()}, which its shape {x.shape} does not have")
    _check_single(row, column, data, name)
    return row, column, data, x.shape


def _check_single(row: Any, column: Any, data: Any, name: str) -> None:
    """Refuse two entries in one place: their sum would be rounded before anything is computed."""
    order = np.lexsort((column, row))
    again = np.flatnonzero((np.diff(row[order]) == 0) & (np.diff(column[order]) == 0))
    if len(again):
        a, b = order[again[0]], order[again[0] + 1]
        raise ValueError(
            f"{name}[{row[a]}, {column[a]}] is there twice, as {data[a]} and {data[b]}: call {name}.sum_duplicates() first"
        )


def apart(a: float, b: float, tolerance: float, names: tuple[str, str], note: str = "") -> None:
    """Raise if two totals differ by more than rounding explains."""
    if not abs(a - b) <= tolerance * max(a, b):
        raise ValueError(
            f"{names[0]} has total {a:.17g} and {names[1]} {b:.17g}, {a - b:+.3g} apart "
            f"(rounding explains {tolerance * max(a, b):.2g}); {note}{pairs.WAY_OUT}"
        )


def _check_masses(x: Rows, y: Rows, i: Any, j: Any, lead: tuple[int, ...], n_bins: int) -> None:
    a, b = x.totals()[i], y.totals()[j]
    tolerance, note = inputs.mass_tolerance(x.dtype, n_bins), ""
    if np.isinf(a).any() or np.isinf(b).any():
        a, b = (s._replace(mass=np.ldexp(s.mass, -64)).totals()[k] for s, k in ((x, i), (y, j)))
        note = "these are 2**-64 of totals, which overflow; "
    off = np.flatnonzero(~(np.abs(a - b) <= tolerance * np.maximum(a, b)))
    if len(off):
        k = off[0]
        apart(a[k], b[k], tolerance, (f"{inputs.row_name(k, lead, ': ')}p", "q"), note)


# --- values -----------------------------------------------------------------------------------------------------------


class Side(NamedTuple):
    """Rows, and for each a power of two that multiplies its masses and the limbs of a factor: 1, or 1 / its total."""

    rows: Rows
    factors: "NDArray[np.float64]"
    in_range: bool


def prepared(rows: Rows, mass: str) -> Side:
    """Rows with their factors."""
    exponent = np.frexp(rows.totals())[1]
    factors = np.ones((3, len(rows)))
    factors[2] = 0.0
    in_range = bool(np.isfinite(rows.totals()).all() and (np.abs(exponent) < _RANGE).all())
    if mass == "normalize" and in_range:
        factors[0] = np.ldexp(1.0, -exponent)
        h, l = np.empty(len(rows)), np.empty(len(rows))
        induced.totals(rows.start, rows.mass, factors[0], h, l)
        allpairs.reciprocals(h, l, factors[1], factors[2])
    return Side(rows, inputs.frozen(factors), in_range)


def computed(
    x: Side, y: Side, i: Any, j: Any, space: Space, rho: float, mass: str, accuracy: str, densely: Callable[..., Any]
) -> NDArray[Any]:
    """EMD^rho of the rows i of x and j of y."""
    depth_h, depth_l, lost = space._depths
    value = np.full(len(i), np.nan)
    if x.in_range and y.in_range and 2.0**-_RANGE < space._least_cost and depth_h.max() < 2.0**_RANGE:
        outline = space._outline
        tree = (outline.up, outline.head, depth_h, depth_l, lost)
        sides = [(*s.rows[:3], s.factors) for s in (x, y)]
        work = _WORK * math.ceil((len(x.rows.mass) + len(y.rows.mass)) / max(1, len(x.rows)))
        shared = (*sides, tree, rho, mass == "normalize", accuracy == "compensated")
        over_rows(induced.emd_sparse, (value, i, j), shared, work=work)
    open_ = np.flatnonzero(np.isnan(value))
    value = pairs.narrowed(value, x.rows.dtype)
    step = max(1, _BYTES // (16 * space.n_bins))
    for k in (open_[a : a + step] for a in range(0, len(open_), step)):
        batch = Batch(x.rows.dense(i[k], space), y.rows.dense(j[k], space), (len(k),))
        value[k], _ = densely(batch, space, rho, mass, accuracy, None)
    return value
