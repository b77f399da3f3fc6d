"""Batches given to the tile kernels: rows as they lie in memory, and what the kernels need to know of a space."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref.arguments.validation import Batch, frozen
from emdref.closed_form import batches
from emdref.kernels.compile.threads import lasts, over_columns
from emdref.kernels.tiles import plain, two_limbs
from emdref.spaces.space import Chain, Space

Array = NDArray[Any]
_SMALLEST, _LARGEST = (
    2.0**-400,
    2.0**400,
)  # costs with which no product of emdref.kernels.tiles.two_limbs leaves the range

_WORK = {
    plain.emd_chain: 1,
    plain.emd_tree: 1,
    two_limbs.emd_chain2: 3,
    two_limbs.emd_tree2: 3,
}  # a node, in nanoseconds
_LONG = 2**12  # bins and nodes; the bound grows with their square


def native(
    rows: Batch, space: Space, normalize: bool, rho: float, centred: bool, factor: float, tolerance: float,
    value: Array, grad: Array,
) -> NDArray[np.bool_]:  # fmt: skip
    """Fill value and gradient (unless it is empty) in the rows' dtype; returns which rows to look at again.

    The gradient is factor (r - mean r), or factor r if it is not centred; `normalize` says that all totals are equal.
    """
    real, bins = rows.p.dtype.type, space.n_bins
    doubt = np.empty(len(rows.p), bool)
    numbers = batches.native_exponent(rho, rows.p.dtype), real(centred / bins), real(factor), tolerance
    results = *_flat(rows.p), *_flat(rows.q), value, grad.reshape(-1), doubt
    if isinstance(space, Chain):
        cost, step = gaps(space)
        _deal(plain.emd_chain, rows, space, *results, bins, frozen(batches.narrowed(cost, real)), step, *numbers)
    else:
        layout, cost = space._layout, costs(space, normalize)
        weight, cost = batches.narrowed(cost * (space._bins_below / bins), real), batches.narrowed(cost, real)
        shape = layout.parent, frozen(cost), frozen(weight), layout.bin_node, space._empty, space._inner
        _deal(plain.emd_tree, rows, space, *results, *shape, *numbers)
    return doubt


def compensated(
    rows: Batch, space: Space, closely: bool, rho: float, centred: bool, factor: float, tolerance: float,
    value: Array, grad: Array,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:  # fmt: skip
    """The same in two limbs, see `fits`; returns which rows to look at again, and which were not settled.

    More rows are if the kernel adds up `closely` what their flows lose, which takes longer.
    """
    bins = space.n_bins
    doubt, unsafe = np.empty(len(rows.p), bool), np.empty(len(rows.p), bool)
    results = *_flat(rows.p), *_flat(rows.q), value, grad.reshape(-1), doubt, unsafe
    limit = float(np.finfo(rows.p.dtype).max)
    numbers = rho, float(centred * bins), float(factor), total(space), limit, closely, tolerance
    if isinstance(space, Chain):
        _deal(two_limbs.emd_chain2, rows, space, *results, bins, *gaps(space), *numbers)
    else:
        layout, below = space._layout, frozen(space._bins_below.astype(np.float64))
        shape = layout.parent, layout.cost, below, space._exempt, layout.bin_node, space._empty, space._inner
        _deal(two_limbs.emd_tree2, rows, space, *results, *shape, *numbers)
    return doubt, unsafe


def fits(space: Space, rho: float) -> bool:
    """Whether the tile kernel in two limbs can be used."""
    least, most = space._cost_range
    return rho in (1, 2, 3, 4) and least >= _SMALLEST and most <= _LARGEST


def is_long(space: Space) -> bool:
    """Whether what flows lose must be added up from the start, since a bound of it would be too wide."""
    return space.n_bins + space.n_nodes > _LONG


def lingers(space: Space, rows: int) -> bool:
    """Whether a kernel may go on writing results after an interrupt."""
    return lasts(max(_WORK.values()) * space.n_nodes, rows)


def costs(space: Space, normalize: bool) -> Array:
    """Costs by position; nothing flows on an edge above all bins if totals are equal by construction."""
    return space._cost_between(0, space.n_bins - 1) if normalize else space._layout.cost


def total(space: Space) -> float:
    """The sum of all costs."""
    some = space._edge_costs()
    return float(some.sum()) * ((space.n_nodes - 1) / len(some) if isinstance(space, Chain) and len(some) else 1.0)


def _deal(kernel: Any, rows: Batch, space: Space, *args: Any) -> None:
    over_columns(kernel, len(rows.p), args, work=_WORK[kernel] * space.n_nodes)


def gaps(chain: Chain) -> tuple[Array, int]:
    """Gaps as the kernels read them, entry number k times a step: all the same, or one each."""
    if chain.n_bins == 1:
        return frozen(np.zeros(1)), 0
    return (frozen(chain.gaps[:1].copy()), 0) if chain.gaps.strides == (0,) else (chain.gaps, 1)


def _flat(x: Array) -> tuple[Array, int]:
    """Rows one behind the other, and how many entries apart they start: 0 for a row that stands for all."""
    if x.flags.c_contiguous:
        return frozen(x.reshape(-1)), x.shape[1]
    step = x.strides[0] // x.itemsize
    size = (len(x) - 1) * step + x.shape[1]
    return frozen(np.lib.stride_tricks.as_strided(x, (size,), (x.itemsize,))), step
