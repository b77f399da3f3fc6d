"""A space as a rooted tree, in the orders in which kernels walk it; each part is made when it is first needed."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.kernels.compile.threads import alone
from emdref.kernels.trees import metric

Places = NDArray[np.int64]
Costs = NDArray[np.float64]
MANY = 256  # nodes from which on one row has a loop of its own
_WALK = 20  # nanoseconds a node, about, that a walk over all of them takes
_SMALLEST, _LARGEST = (
    2.0**-400,
    2.0**400,
)  # costs with which no product of emdref.kernels.tiles.two_limbs leaves the range


class HeavyPaths(NamedTuple):
    """Nodes in depth-first order, the child with the largest subtree last; see emdref.kernels.trees.heavy_paths."""

    up: Places  # place of the parent, smaller than the node's own; 0 at the root
    cost: Costs  # cost of the edge to the parent; 0 at the root
    place: Places  # of each bin's node
    level: Places  # light edges between a node and the root
    path: Places  # (V, 2): the topmost node of a node's path of largest children, and that node's parent
    order: Places  # the position in RootedTree of the node at each place


class RootedTree:
    """Nodes in breadth-first order from the root, siblings side by side.

    Attributes
    ----------
    parent : (V,) positions of the parents, smaller than the nodes' own; 0 at the root
    cost : (V,) costs of the edges to the parents; 0 at the root
    bin_node : (N,) position of each bin's node
    order : (V,) the caller's number of the node at each position
    gaps : (N-1,) costs between bins, if the space is a row of bins from the first to the root; else None
    """

    def __init__(self, parent: Places, cost: Costs, bin_node: Places, order: Places, gaps: Costs | None = None) -> None:
        self.parent, self.cost, self.bin_node, self.order = map(read_only, (parent, cost, bin_node, order))
        self.gaps = gaps
        self._between: dict[tuple[int, int], Costs] = {}

    @property
    def n_bins(self) -> int:
        """Number of bins N."""
        return len(self.bin_node)

    @property
    def n_nodes(self) -> int:
        """Number of nodes V."""
        return len(self.parent)

    @cached_property
    def flow_places(self) -> Places:
        """The position of the node below each edge, in the order of `emdref.flow`; of a row of bins not the root's."""
        position = np.empty(self.n_nodes, np.int64)
        position[self.order] = np.arange(self.n_nodes)
        return read_only(position if self.gaps is None else position[:-1])

    @cached_property
    def bins_below(self) -> Places:
        """Number of bins at or below the node at each position."""
        count = np.empty(self.n_nodes, np.int64)
        alone(metric.bins_below, self.bin_node, self.parent, count, work=_WALK * self.n_nodes)
        return count

    @cached_property
    def cost_range(self) -> tuple[float, float]:
        """The smallest and the largest cost > 0; 1 if there is none."""
        return positive_range(self.cost)

    @cached_property
    def total_cost(self) -> float:
        """The sum of all costs."""
        return float((self.cost if self.gaps is None else self.gaps).sum())

    @cached_property
    def empty(self) -> Places:
        """Positions of the nodes without a bin."""
        empty = np.ones(self.n_nodes, bool)
        empty[self.bin_node] = False
        return read_only(np.flatnonzero(empty))

    @cached_property
    def inner(self) -> Places:
        """Positions of the nodes with children, the root first; the root alone if there is no edge."""
        inner = np.zeros(self.n_nodes, bool)
        inner[self.parent] = True
        return read_only(np.flatnonzero(inner))

    @cached_property
    def depth(self) -> int:
        """The number of edges from the root to the farthest node."""
        edges, above = np.minimum(np.arange(self.n_nodes), 1), self.parent
        while above.any():  # each node knows so many of its ancestors, then twice as many
            edges, above = edges + edges[above], above[above]
        return int(edges.max())

    @cached_property
    def last_digit(self) -> float:
        """A power of two of which all costs are multiples."""
        return last_digit(self.cost)

    @cached_property
    def exempt(self) -> Costs:
        """inf at the positions of leaves, whose flow is one subtraction, 0 elsewhere."""
        exempt = np.full(self.n_nodes, np.inf)
        exempt[self.inner] = 0.0
        return read_only(exempt)

    @cached_property
    def heavy_paths(self) -> HeavyPaths:
        """The depth-first order."""
        from emdref.kernels.trees import heavy_paths  # here, as in `depths`, because few need it

        parent, size = self.parent, self.n_nodes
        label, level, head = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
        alone(heavy_paths.depth_first, parent, label, level, head, work=_WALK * size)
        order = np.empty(size, np.int64)
        order[label] = np.arange(size)
        place = label[self.bin_node]
        up = label[parent[order]]
        top = label[head[order]]
        path = np.stack([top, up[top]], axis=1)
        paths = HeavyPaths(up, self.cost[order], place, level[order], path, order)
        return HeavyPaths(*map(read_only, paths))

    @cached_property
    def column(self) -> Places:
        """The bin at each place of the depth-first order, -1 for none."""
        column = np.full(self.n_nodes, -1)
        column[self.heavy_paths.place] = np.arange(self.n_bins)
        return read_only(column)

    @cached_property
    def depths(self) -> tuple[Costs, float]:
        """The limbs of the distance from the root by place in the depth-first order, and a bound on their error."""
        from emdref.kernels.trees import heavy_paths

        depth = np.empty((self.n_nodes, 2))
        paths = self.heavy_paths
        lost = alone(heavy_paths.depths, paths.up, paths.cost, depth, work=_WALK * self.n_nodes)
        return read_only(depth), lost

    def edges_between(self, least: int, most: int) -> NDArray[np.bool_]:
        """By position, which edges have from `least` to `most` bins below."""
        return (self.bins_below >= least) & (self.bins_below <= most)

    def cost_between(self, least: int, most: int) -> Costs:
        """Costs by position, 0 on all other edges."""
        between = self._between.get((least, most))
        if between is None:
            between = read_only(np.where(self.edges_between(least, most), self.cost, 0.0))
            self._between[least, most] = between  # of the few pairs that somebody asks for
        return between

    @cached_property
    def crossed(self) -> tuple[Costs, Costs]:
        """By position, 1 for the edges on which anything flows, else 0: for any rows, and for shares, see below."""
        ones = self.edges_between(0, self.n_bins), self.edges_between(0, self.n_bins - 1)
        return read_only(ones[0].astype(np.float64)), read_only(ones[1].astype(np.float64))

    def crossed_cost(self, shares: bool) -> Costs:
        """Costs by position; nothing flows on an edge above all bins if totals are equal by construction."""
        return self.cost_between(0, self.n_bins - 1) if shares else self.cost

    def distances(self) -> Costs:
        """(N, N) between bins."""
        matrix = np.empty((self.n_bins, self.n_bins))
        work = self.n_bins * (2 * self.n_nodes + 20 * self.n_bins)
        alone(metric.distances_between, self.bin_node, self.parent, self.cost, matrix, work=work)
        return matrix

    def distances_from(self, position: int) -> Costs:
        """From the node at a position to all nodes, by position."""
        out = np.empty(self.n_nodes)
        alone(metric.distances, position, self.parent, self.cost, out, work=_WALK * self.n_nodes)
        return out


def tree_distances(space: Any) -> Costs:
    """Distances between all pairs of bins."""
    matrix: Costs = space.rooted.distances()
    return matrix


def tree_diameter(space: Any) -> float:
    """The largest distance between two bins: from any bin the farthest, and from that one the farthest."""
    bins = space.rooted.bin_node
    far = bins[np.argmax(space.rooted.distances_from(bins[0])[bins])]
    return float(space.rooted.distances_from(far)[bins].max())


def tree_distances_from(space: Any, index: int) -> Costs:
    """Distances from one bin to all bins, (N,)."""
    bins = space.rooted.bin_node
    return space.rooted.distances_from(bins[index])[bins]


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """An array that nobody may write to, one entry behind the other."""
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array


def repeated(gaps: Costs) -> tuple[Costs, int]:
    """Gaps as the kernels read them, entry number k times a step: all the same, or one each."""
    if not len(gaps):
        return read_only(np.zeros(1)), 0
    return (read_only(gaps[:1].copy()), 0) if gaps.strides == (0,) else (gaps, 1)


def positive_range(costs: Costs) -> tuple[float, float]:
    """The smallest and the largest cost > 0; 1 if there is none."""
    costs = costs[costs > 0]
    return (float(costs.min()), float(costs.max())) if len(costs) else (1.0, 1.0)


def last_digit(cost: Costs) -> float:
    """A power of two of which all costs are multiples, 1 at most."""
    fraction, exponent = np.frexp(cost[cost > 0])
    digits = np.ldexp(fraction, 53).astype(np.int64)
    return float(np.ldexp((digits & -digits).astype(np.float64), exponent - 53).min(initial=1.0))


def fits_two_limbs(rho: float, least: float, most: float) -> bool:
    """Whether tile kernels in two limbs can be used, for costs > 0 from the least to the largest."""
    return rho in (1, 2, 3, 4) and least >= _SMALLEST and most <= _LARGEST
