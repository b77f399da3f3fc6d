"""EMD of sparse rows by the bins that hold mass, not by the size of the space.

A pair's bins and their lowest common ancestors are the only nodes at which flows meet; see
emdref.kernels.trees.spanned.  A space is prepared for that once, in O(V), and keeps what was prepared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import casts, validation
from emdref.arguments.validation import Batch
from emdref.closed_form import batches, sparse_rows
from emdref.closed_form.sparse_rows import Rows
from emdref.kernels.compile.threads import over_rows
from emdref.kernels.trees import all_pairs, spanned
from emdref.spaces.space import Space, as_rooted

_BYTES = 2**24  # of rows that are made dense at once
_RANGE = 200  # totals and distances beyond 2**200, or below 2**-200, are computed densely, where pairs are scaled
TIP = 300  # nanoseconds that a bin with mass takes, about


def emd(p: Any, q: Any, space: Space, rho: float, mass: str, accuracy: str, densely: Callable[..., Any]) -> Any:
    """`emdref.emd` where p, q or both are sparse; `densely` computes a Batch of dense rows."""
    sides = sparse_rows.checked({"p": p, "q": q}, space, mass, accuracy)
    rho = validation.exponent(rho)
    validation.same_dtype(sides, {"p": p, "q": q})
    lead = validation.leading_axes(sides, space.n_bins, "the space's")
    x, y = sides.values()
    i, j = (
        np.ascontiguousarray(np.broadcast_to(np.arange(len(s)).reshape(s.shape[:-1]), lead).reshape(-1)) for s in (x, y)
    )
    if mass == "raise":
        _check_masses(x, y, i, j, lead, space.n_bins)
    value = computed(prepared(x, mass), prepared(y, mass), i, j, space, rho, mass, accuracy, densely)
    batches.warn_beyond(Batch(x.mass, y.mass, lead), stacklevel=4, value=value)
    return value.reshape(lead)[()]


def apart(a: float, b: float, tolerance: float, names: tuple[str, str], note: str = "") -> None:
    """Raise if two totals differ by more than rounding explains."""
    if not abs(a - b) <= tolerance * max(a, b):
        raise ValueError(
            f"{names[0]} has total {a:.17g} and {names[1]} {b:.17g}, {a - b:+.3g} apart "
            f"(rounding explains {tolerance * max(a, b):.2g}); {note}{batches.WAY_OUT}"
        )


def _check_masses(x: Rows, y: Rows, i: Any, j: Any, lead: tuple[int, ...], n_bins: int) -> None:
    a, b = x.totals()[i], y.totals()[j]
    tolerance, note = validation.mass_tolerance(x.dtype, n_bins), ""
    if np.isinf(a).any() or np.isinf(b).any():
        a, b = x.totals(-64)[i], y.totals(-64)[j]
        note = "these are 2**-64 of totals, which overflow; "
    off = np.flatnonzero(~(np.abs(a - b) <= tolerance * np.maximum(a, b)))
    if len(off):
        k = off[0]
        apart(a[k], b[k], tolerance, (f"{validation.row_name(k, lead, ': ')}p", "q"), note)


# --- values -----------------------------------------------------------------------------------------------------------


class Side(NamedTuple):
    """Rows, and for each a power of two that multiplies its masses and the limbs of a factor: 1, or 1 / its total."""

    rows: Rows
    factors: NDArray[np.float64]
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
        spanned.totals(rows.start, rows.mass, factors[0], h, l)
        all_pairs.reciprocals(h, l, factors[1], factors[2])
    return Side(rows, casts.frozen(factors), in_range)


def in_range(space: Space) -> bool:
    """True where costs, and sums of them, are far from the ends of float64's range."""
    tree = as_rooted(space)
    return bool(tree.cost_range[0] > 2.0**-_RANGE and tree.depths[0][:, 0].max() < 2.0**_RANGE)


def computed(
    x: Side, y: Side, i: Any, j: Any, space: Space, rho: float, mass: str, accuracy: str, densely: Callable[..., Any]
) -> NDArray[Any]:
    """EMD^rho of the rows i of x and j of y."""
    depth, lost = as_rooted(space).depths
    value = np.full(len(i), np.nan)
    if x.in_range and y.in_range and in_range(space):
        tree = (as_rooted(space).heavy_paths.path, depth, lost)
        sides = [(*s.rows[:3], s.factors) for s in (x, y)]
        work = TIP * sum(math.ceil(len(s.rows.mass) / max(1, len(s.rows))) for s in (x, y))
        shared = (*sides, tree, rho, mass == "normalize", accuracy == "compensated")
        over_rows(spanned.emd_sparse, (value, *map(casts.frozen, (i, j))), shared, work=work)
    open_ = np.flatnonzero(np.isnan(value))
    value = casts.narrowed(value, x.rows.dtype)
    step = max(1, _BYTES // (16 * space.n_bins))
    for k in (open_[a : a + step] for a in range(0, len(open_), step)):
        batch = Batch(x.rows.dense(i[k], space), y.rows.dense(j[k], space), (len(k),))
        value[k] = densely(batch, space, rho, mass, accuracy)
    return value
