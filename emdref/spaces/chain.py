"""Bins in a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emdref.arguments import validation
from emdref.arguments.casts import frozen, narrowed
from emdref.kernels.compile.threads import alone
from emdref.kernels.tiles import one_limb, plain, single, two_limbs
from emdref.spaces import reading
from emdref.spaces.gapped import Gapped
from emdref.spaces.rooted import (
    MANY,
    RootedTree,
    fits_two_limbs,
    last_digit,
    read_only,
    tree_diameter,
    tree_distances,
    tree_distances_from,
)
from emdref.spaces.space import Edges, Kernel, Number, Space
from emdref.spaces.tree import Tree


class Chain(Gapped):
    r"""Bins in a row: a histogram over ages, hours, grades or frequencies.

    .. math:: \mathrm{EMD}^\rho(p, q) = \sum_{i=1}^{N-1} M_i \, |\phi_i|^\rho, \qquad
       \phi_i = \sum_{k=1}^{i} (p_k - q_k)

    M_i is the gap after bin i, and phi_i the mass of p - q in the first i bins: Section 3, Eqs. (5), (6) and (10), of
    arXiv 1611.07573.  Exactly one of the three arguments is given.

    Parameters
    ----------
    n : int
        Number of bins; every gap is 1.
    gaps : (N-1,) array-like
        Costs between consecutive bins, finite and >= 0.
    positions : (N,) array-like
        Coordinates of the bins, ascending; the gaps are their differences, rounded to float64.

    Attributes
    ----------
    gaps : (N-1,) float64, read-only
        Costs between consecutive bins.
    bin_labels : (N,) array, read-only
        Names of the bins, which labels of pandas must be: the positions if they were given, else 0 to N-1.
    n_bins, n_nodes : int
        Both N.
    diameter : float
        The largest distance between two bins.
    edges : Edges
        All edges, in the order of `emdref.flow`.

    Raises
    ------
    TypeError, ValueError
        None or several of the arguments; a gap that is negative or not finite; positions that do not ascend.  The
        message names the argument, the entry and its value.

    Examples
    --------
    >>> import emdref
    >>> emdref.Chain(positions=[0, 1, 4]).gaps
    array([1., 3.])
    """

    def __init__(
        self, n: int | None = None, *, gaps: ArrayLike | None = None, positions: ArrayLike | None = None
    ) -> None:
        if (n is not None) + (gaps is not None) + (positions is not None) != 1:
            raise ValueError("Chain needs exactly one of n, gaps and positions")
        if n is not None:
            gaps = np.broadcast_to(1.0, validation.count(n, "n") - 1)  # one number, however many gaps
        elif gaps is not None:
            gaps = read_only(reading.checked_costs(gaps, "gaps"))
        else:
            positions = read_only(reading.floats(positions, "positions"))
            gaps = read_only(reading.gaps_of(positions))
        self._set(gaps=gaps, _positions=positions)

    @property
    def n_bins(self) -> int:
        """Number of bins N, the length of a histogram."""
        return len(self.gaps) + 1

    @property
    def edges(self) -> Edges:
        """From each bin to the next: N-1 edges, each with its gap for a cost."""
        return Edges(np.arange(self.n_bins - 1), np.arange(1, self.n_bins), self.gaps)

    @cached_property
    def rooted(self) -> RootedTree:  # type: ignore[override]  # a space is immutable, so that nobody sets it
        """A path from the last bin; made when first needed, for a long chain can do without."""
        return alone(_path, self.gaps, work=20 * self.n_bins)

    def exact_flow(self, net: Sequence[Number], cost: Sequence[Number], rho: float) -> list[Number]:
        """Prefix sums, Eq. (6) of arXiv 1611.07573."""
        return list(accumulate(net))[:-1]

    def kernel(self, rho: float, dtype: np.dtype[Any], accuracy: str, shares: bool) -> Kernel | None:
        """Tiles of rows, see emdref.kernels.tiles."""
        (cost, step), work, long = self.repeated_gaps, self.n_bins, self.n_bins >= MANY
        if accuracy == "native":
            native = self.n_bins, frozen(narrowed(cost, dtype)), step
            row = Kernel(single.emd_chain, native, work) if long else None
            total = narrowed(np.float64(self.total_cost), dtype)
            return Kernel(plain.emd_chain, (*native, total), work, row)
        if shares or not fits_two_limbs(rho, *self.cost_range):
            return None
        exact = self.n_bins, cost, step, self.total_cost
        row = Kernel(single.emd_chain2, exact, 3 * work) if long else None
        if dtype == np.float32:
            return Kernel(one_limb.emd_chain1, (exact, last_digit(cost)), 3 * work, row)
        return Kernel(two_limbs.emd_chain2, exact, 3 * work, row)

    @cached_property
    def total_cost(self) -> float:
        """The sum of all gaps."""
        return float(self.gaps.sum())

    diameter = cached_property(tree_diameter)
    distances_from = tree_distances_from
    _all_distances = tree_distances

    def misreadings(self) -> Iterator[tuple[str, Space]]:
        """Sums that stop early or start late, and gaps that nobody looks at."""
        if self.n_bins > 1:
            yield "without the last gap", Chain(gaps=np.append(self.gaps[:-1], 0))
            yield "without the first gap", Chain(gaps=np.append(0, self.gaps[1:]))
            yield "with all costs 1", Chain(self.n_bins)

    def to_tree(self) -> Tree:
        """The same space as a Tree: a path rooted at the last bin, node k being bin k."""
        parent = np.append(np.arange(1, self.n_bins), -1)
        return Tree(parent, np.append(self.gaps, 0.0), bins=np.arange(self.n_bins), labels=self.bin_labels.tolist())

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Chain, **self._arguments()), ()


def _path(gaps: NDArray[np.float64]) -> RootedTree:
    backwards = np.arange(len(gaps) + 1)[::-1]
    parent = np.maximum(np.arange(len(gaps) + 1) - 1, 0)
    return RootedTree(parent, np.concatenate([[0.0], gaps[::-1]]), backwards, backwards, gaps)
