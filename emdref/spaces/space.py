"""The spaces that histograms live on: chains and trees, validated once and immutable from then on."""

import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from emdref.arguments import validation
from emdref.arguments.messages import shown, type_name, written
from emdref.kernels.compile.threads import alone
from emdref.kernels.trees import heavy_paths as outlines
from emdref.kernels.trees import metric

_WALK = 20  # nanoseconds a node, about, that a walk over all of them takes


class Layout(NamedTuple):
    """A space as the kernels see it: nodes in breadth-first order from the root, siblings side by side."""

    parent: NDArray[np.int64]  # position of the parent, smaller than the node's own; 0 at the root
    cost: NDArray[np.float64]  # cost of the edge to the parent; 0 at the root
    bin_node: NDArray[np.int64]  # position of each bin's node
    order: NDArray[np.int64]  # the caller's number of the node at each position


class Outline(NamedTuple):
    """A space in depth-first order, the child with the largest subtree last; see emdref.kernels.trees.heavy_paths."""

    up: NDArray[np.int64]  # place of the parent, smaller than the node's own; 0 at the root
    cost: NDArray[np.float64]  # cost of the edge to the parent; 0 at the root
    place: NDArray[np.int64]  # of each bin's node
    level: NDArray[np.int64]  # light edges between a node and the root
    path: NDArray[np.int64]  # (V, 2): the topmost node of a node's path of largest children, and that node's parent
    order: NDArray[np.int64]  # the position in Layout of the node at each place


class Space:
    """What chains and trees have in common: bins, nodes and distances between bins."""

    _layout: Any  # a Layout

    @property
    def n_bins(self) -> int:
        """Number of bins N, the length of a histogram."""
        return len(self._layout.bin_node)

    @property
    def n_nodes(self) -> int:
        """Number of nodes V."""
        return len(self._layout.parent)

    @cached_property
    def diameter(self) -> float:
        """The largest distance between two bins."""
        bins = self._layout.bin_node
        far = bins[np.argmax(self._distances_from(bins[0])[bins])]
        return float(self._distances_from(far)[bins].max())

    def distance_matrix(self, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """Distances M between all pairs of bins, Eq. (4).

        Returns
        -------
        (N, N) array of `dtype`, symmetric, in the units of the costs; sums are formed in float64.

        Examples
        --------
        >>> import emdref
        >>> emdref.Chain(3).distance_matrix()
        array([[0., 1., 2.],
               [1., 0., 1.],
               [2., 1., 0.]])
        """
        if validation.float_dtype(dtype) == np.float32 and self.diameter > np.finfo(np.float32).max:
            raise ValueError(f"the largest distance, {self.diameter}, is beyond float32")
        bins = self._layout.bin_node
        matrix = np.empty((self.n_bins, self.n_bins))
        work = self.n_bins * (2 * self.n_nodes + 20 * self.n_bins)
        alone(metric.distances_between, bins, self._layout.parent, self._layout.cost, matrix, work=work)
        return matrix.astype(dtype, copy=False)

    @cached_property
    def _bins_below(self) -> NDArray[np.int64]:
        """Number of bins at or below the node at each position."""
        count = np.empty(self.n_nodes, np.int64)
        alone(metric.bins_below, self._layout.bin_node, self._layout.parent, count, work=_WALK * self.n_nodes)
        return count

    @cached_property
    def _cost_range(self) -> "tuple[float, float]":
        """The smallest and the largest cost > 0; 1 if there is none."""
        costs = self._edge_costs()
        costs = costs[costs > 0]
        return (float(costs.min()), float(costs.max())) if len(costs) else (1.0, 1.0)

    @cached_property
    def _empty(self) -> NDArray[np.int64]:
        """Positions of the nodes without a bin."""
        empty = np.ones(self.n_nodes, bool)
        empty[self._layout.bin_node] = False
        return _frozen(np.flatnonzero(empty))

    @cached_property
    def _inner(self) -> NDArray[np.int64]:
        """Positions of the nodes with children, the root first; the root alone if there is no edge."""
        inner = np.zeros(self.n_nodes, bool)
        inner[self._layout.parent] = True
        return _frozen(np.flatnonzero(inner))

    @cached_property
    def _exempt(self) -> NDArray[np.float64]:
        """inf at the positions of leaves, whose flow is one subtraction, 0 elsewhere."""
        exempt = np.full(self.n_nodes, np.inf)
        exempt[self._inner] = 0.0
        return _frozen(exempt)

    @cached_property
    def _outline(self) -> Outline:
        """The depth-first order, made when first needed."""
        parent, size = self._layout.parent, self.n_nodes
        label, level, head = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
        alone(outlines.depth_first, parent, label, level, head, work=_WALK * size)
        order = np.empty(size, np.int64)
        order[label] = np.arange(size)
        place = label[self._layout.bin_node]
        up = label[parent[order]]
        top = label[head[order]]
        path = np.stack([top, up[top]], axis=1)
        outline = Outline(up, self._layout.cost[order], place, level[order], path, order)
        return Outline(*map(_frozen, outline))

    @cached_property
    def _column(self) -> NDArray[np.int64]:
        """The bin at each place of the outline, -1 for none."""
        column = np.full(self.n_nodes, -1)
        column[self._outline.place] = np.arange(self.n_bins)
        return _frozen(column)

    @cached_property
    def _depths(self) -> "tuple[NDArray[np.float64], float]":
        """The limbs of the distance from the root by place in the outline, and a bound on their error."""
        depth = np.empty((self.n_nodes, 2))
        lost = alone(outlines.depths, self._outline.up, self._outline.cost, depth, work=_WALK * self.n_nodes)
        return _frozen(depth), lost

    def _edges_between(self, least: int, most: int) -> NDArray[np.bool_]:
        """By position, which edges have from `least` to `most` bins below."""
        return (self._bins_below >= least) & (self._bins_below <= most)

    def _cost_between(self, least: int, most: int) -> NDArray[np.float64]:
        """Costs by position, 0 on all other edges."""
        return _frozen(np.where(self._edges_between(least, most), self._layout.cost, 0.0))

    def _edge_costs(self) -> NDArray[np.float64]:
        """Every cost that some edge has, in any order."""
        return self._layout.cost

    def _edge_name(self, edge: int) -> str:
        """How a message calls the edge that `emdref.flow` gives at that index."""
        raise NotImplementedError

    def _distances_from(self, position: int) -> NDArray[np.float64]:
        out = np.empty(self.n_nodes)
        alone(metric.distances, position, self._layout.parent, self._layout.cost, out, work=_WALK * self.n_nodes)
        return out

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {shown(name)} cannot be set; make a new one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {shown(name)} cannot be deleted")

    def _set(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


def check_space(space: Any) -> None:
    """Refuse what is no space."""
    if not isinstance(space, Space):
        raise TypeError(f"space must be a Chain or a Tree, not {type_name(space)}")


class _Words(NamedTuple):
    """How messages about a tree speak."""

    subject: str  # of "has 2 roots"
    node: "Callable[[int], str]"  # what the caller calls a node
    to_be_root: str  # what one node must do


def _by_number(labels: "Sequence[Hashable] | None") -> _Words:
    """Nodes by their numbers, with their labels where they have some."""
    return _Words(
        "parent has",
        lambda v: f"{v} ({shown(labels[v], 40)})" if labels and v < len(labels) else f"{v}",
        "have parent -1 or its own index",
    )


class Chain(Space):
    """N bins in a row (Sec. 3 of arXiv 1611.07573); exactly one of the three arguments is given.

    Parameters
    ----------
    n : int
        Number of bins, unit gaps.
    gaps : (N-1,) array-like
        Costs between consecutive bins, finite and >= 0.
    positions : (N,) array-like
        Coordinates of the bins, ascending; the gaps are their differences, rounded to float64.

    Attributes
    ----------
    gaps : (N-1,) float64, read-only
    bin_labels : (N,) array, read-only
        Names of the bins, which labels of pandas must be: the positions if they were given, else 0 to N-1.
    n_bins, n_nodes : int
        Both N.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, the entry and its value.

    Examples
    --------
    >>> import emdref
    >>> emdref.Chain(positions=[0, 1, 4]).gaps
    array([1., 3.])
    """

    gaps: NDArray[np.float64]
    _positions: "NDArray[np.float64] | None"

    def __init__(
        self, n: "int | None" = None, *, gaps: "ArrayLike | None" = None, positions: "ArrayLike | None" = None
    ) -> None:
        if (n is not None) + (gaps is not None) + (positions is not None) != 1:
            raise ValueError("Chain needs exactly one of n, gaps and positions")
        if n is not None:
            gaps = np.broadcast_to(1.0, validation.count(n, "n") - 1)  # one number, however many gaps
        elif gaps is not None:
            gaps = _frozen(_costs(gaps, "gaps"))
        else:
            positions = _frozen(_floats(positions, "positions"))
            gaps = _frozen(_gaps_of(positions))
        self._set(gaps=gaps, _positions=positions)

    @property
    def n_bins(self) -> int:
        """Number of bins N, the length of a histogram."""
        return len(self.gaps) + 1

    n_nodes = n_bins

    @property
    def bin_labels(self) -> NDArray[Any]:
        """Names of the bins: their positions if these were given, else their numbers."""
        return _frozen(np.arange(self.n_bins)) if self._positions is None else self._positions

    @cached_property
    def _layout(self) -> Layout:
        """The chain as a path from its last bin; made when first needed, for a long chain can do without."""
        return alone(_path, self.gaps, work=_WALK * self.n_bins)

    def _edge_costs(self) -> NDArray[np.float64]:
        return self.gaps[:1] if self.gaps.strides == (0,) else self.gaps

    def _edge_name(self, edge: int) -> str:
        return f"gap {edge} (after bin {edge})"

    def to_tree(self) -> "Tree":
        """The same space as a Tree: a path rooted at the last bin, node k being bin k."""
        parent = np.append(np.arange(1, self.n_bins), -1)
        return Tree(parent, np.append(self.gaps, 0.0), bins=np.arange(self.n_bins), labels=self.bin_labels.tolist())

    def __reduce__(self) -> tuple:
        if self._positions is not None:
            return _chain_from_positions, (np.array(self._positions),)
        if self.gaps.strides == (0,):
            return Chain, (self.n_bins,)
        return _chain_from_gaps, (np.array(self.gaps),)

    def __repr__(self) -> str:
        return f"Chain({self.n_bins} bins)"


def _path(gaps: NDArray[np.float64]) -> Layout:
    backwards = np.arange(len(gaps) + 1)[::-1]
    layout = Layout(
        parent=np.maximum(np.arange(len(gaps) + 1) - 1, 0),
        cost=np.concatenate([[0.0], gaps[::-1]]),
        bin_node=backwards,
        order=backwards,
    )
    return Layout(*map(_frozen, layout))


class Tree(Space):
    """A rooted tree with a bin at some of its nodes (Sec. 4 of arXiv 1611.07573).

    Parameters
    ----------
    parent : (V,) array-like of integers
        Parent of each node, in any order; the one root has -1 or its own index.
    cost : (V,) array-like, optional
        Cost M of the edge from each node to its parent, finite and >= 0; 1 by default.  The root's entry is ignored.
    bins : (N,) array-like of integers, optional
        Node of each bin, each node at most once; by default the leaves in ascending order.  An internal node stands
        for a leaf linked to it at no cost.
    labels : sequence of V hashables, optional
        Names of the nodes; their numbers by default.

    Attributes
    ----------
    parent, cost, bins, labels, bin_labels : arrays, read-only
        In the caller's own node order; the root has parent -1 and cost 0.
    n_bins, n_nodes : int
        N and V.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, the node and the value: cycles, no root or several, a parent out of range, a negative or
        non-finite cost, a bin out of range or given twice.

    Examples
    --------
    >>> import emdref
    >>> emdref.Tree([-1, 0, 0, 1, 1]).bins
    array([2, 3, 4])
    """

    parent: NDArray[np.int64]
    cost: NDArray[np.float64]
    bins: NDArray[np.int64]
    labels: NDArray[np.object_]

    def __init__(
        self,
        parent: ArrayLike,
        cost: "ArrayLike | None" = None,
        bins: "ArrayLike | None" = None,
        labels: "Sequence[Hashable] | None" = None,
    ) -> None:
        labels = None if labels is None else list(validation.iterable(labels, "labels"))
        self._build(parent, cost, bins, labels, _by_number(labels))

    def _build(self, parent: Any, cost: Any, bins: Any, labels: Any, words: "_Words") -> None:
        parents, root = _parents(parent, words)
        costs = _edge_costs(cost, parents, root, words)
        order, position = _breadth_first(parents, root, words)
        nodes = _bin_nodes(bins, parents, words)
        layout = Layout(
            parent=np.concatenate([[0], position[parents[order[1:]]]]),
            cost=costs[order],
            bin_node=position[nodes],
            order=order,
        )
        self._set(
            parent=_frozen(parents),
            cost=_frozen(costs),
            bins=_frozen(nodes),
            labels=_frozen(_labels(labels, len(parents))),
            _layout=Layout(*map(_frozen, layout)),
        )

    def _edge_name(self, edge: int) -> str:
        label = self.labels[edge]
        unnamed = isinstance(label, int) and label == edge
        return f"the edge above node {edge}" + ("" if unnamed else f" ({shown(label)})")

    @property
    def bin_labels(self) -> NDArray[np.object_]:
        """Labels of the bins' nodes, in the order of the bins."""
        return _frozen(self.labels[self.bins])

    @classmethod
    def from_edges(cls, edges: Iterable[tuple]) -> "Tree":
        """Tree of (child, parent, cost) triples, or (child, parent) pairs of cost 1; ids are any hashables.

        Nodes are numbered as they first appear, the ids become the labels, the leaves the bins.

        Examples
        --------
        >>> import emdref
        >>> tree = emdref.Tree.from_edges([("cat", "animal", 1.0), ("dog", "animal", 2.0)])
        >>> list(tree.bin_labels), tree.distance_matrix()[0, 1]
        (['cat', 'dog'], np.float64(3.0))
        """
        number: dict[Hashable, int] = {}
        above: dict[int, tuple[int, Any]] = {}
        for at, edge in enumerate(validation.iterable(edges, "edges")):
            if not isinstance(edge, (tuple, list, np.ndarray)) or len(edge) not in (2, 3):
                raise ValueError(f"edges[{at}] = {shown(edge)} is not a (child, parent, cost) triple")
            for k in (0, 1):
                _check_hashable(edge[k], f"edges[{at}][{k}]")
            child = number.setdefault(edge[0], len(number))
            parent = number.setdefault(edge[1], len(number))
            if child in above:
                raise ValueError(
                    f"edges[{at}]: node {shown(edge[0])} has a second parent {shown(edge[1])}; a tree's node has one"
                )
            above[child] = (parent, edge[2] if len(edge) == 3 else 1.0)
        if not number:
            raise ValueError("edges is empty: give at least one (child, parent, cost) triple")
        entries = [above.get(v, (-1, 0.0)) for v in range(len(number))]
        return cls._named("edges have", [p for p, _ in entries], [c for _, c in entries], list(number))

    @classmethod
    def _named(cls, subject: str, parent: "list[int]", cost: "list[Any]", ids: "list[Hashable]") -> "Tree":
        """Tree of numbered nodes whose ids are the labels; messages know nodes by their ids alone."""
        for x, c in zip(ids, cost, strict=True):
            _check_number(c, f"cost[{shown(x)}]")
        tree = cls.__new__(cls)
        tree._build(parent, cost, None, ids, _Words(subject, lambda v: shown(ids[v]), "have no parent"))
        return tree

    @classmethod
    def from_networkx(cls, graph: Any, root: Hashable, weight: str = "cost") -> "Tree":
        """Tree of a networkx graph, directed or not, hung from `root`.

        `weight` names the edge attribute that holds the cost; if no edge has it every cost is 1, if only some have it
        that is an error.  Nodes are numbered as in ``graph.nodes``, their names become the labels.
        """
        for x, name in ((root, "root"), (weight, "weight")):
            _check_hashable(x, name)
        if not hasattr(graph, "nodes"):
            raise TypeError(f"graph must be a networkx graph, not {type_name(graph)}")
        number = {node: v for v, node in enumerate(graph.nodes)}
        if root not in number:
            raise ValueError(f"root={shown(root)} is not a node of the graph")
        if graph.is_multigraph():
            raise ValueError("graph is a multigraph: a tree has one edge between two nodes")
        if graph.number_of_edges() != len(number) - 1:
            raise ValueError(
                f"graph has {len(number)} nodes and {graph.number_of_edges()} edges: a tree has one edge fewer than "
                "nodes"
            )
        missing = [(a, b) for a, b, data in graph.edges(data=True) if weight not in data]
        if missing and len(missing) < graph.number_of_edges():
            raise ValueError(
                f"edge {shown(missing[0])} has no attribute {shown(weight)} and others do: give all edges one or none"
            )
        undirected = graph.to_undirected(as_view=True) if graph.is_directed() else graph
        parent, cost = [-2] * len(number), [0.0] * len(number)
        parent[number[root]] = -1
        queue = [root]
        for node in queue:
            for other, data in undirected.adj[node].items():
                if parent[number[other]] == -2:
                    parent[number[other]] = number[node]
                    cost[number[other]] = data.get(weight, 1.0)
                    queue.append(other)
        if len(queue) < len(number):
            lost = next(node for node, v in number.items() if parent[v] == -2)
            raise ValueError(f"node {shown(lost)} cannot be reached from root={shown(root)}: the graph is no tree")
        return cls._named("graph has", parent, cost, list(number))

    @classmethod
    def from_newick(cls, source: "str | os.PathLike[str]") -> "Tree":
        """Tree of Newick text (a str) or of a Newick file (a path; UTF-8, may be compressed by gzip).

        Bins are the tips in the order they stand in the text, labels the names as written (quotes removed, underscores
        kept).  Branch lengths are the costs; if no branch has one every cost is 1, if only some lack one those cost 0,
        as UniFrac's implementations count them, and a UserWarning says how many.  A length at the root is ignored.
        So is a byte-order mark at the start.

        Raises
        ------
        ValueError
            Text that is not Newick, naming the character and what to do; a str that names an existing file; a file that
            is not UTF-8.
        OSError
            A file that cannot be read.

        Examples
        --------
        >>> import emdref
        >>> tree = emdref.Tree.from_newick("((a:1,b:2):0.5,c:3);")
        >>> list(tree.bin_labels), tree.distance_matrix()[0, 2]
        (['a', 'b', 'c'], np.float64(4.5))
        """
        from emdref.spaces import newick

        parent, cost, labels, tips = newick.parse(newick.read(source), not isinstance(source, str))
        return cls(parent, cost, bins=tips, labels=labels)

    def __reduce__(self) -> tuple:
        return Tree, (np.array(self.parent), np.array(self.cost), np.array(self.bins), list(self.labels))

    def __repr__(self) -> str:
        return f"Tree({self.n_bins} bins, {self.n_nodes} nodes)"


def _chain_from_gaps(gaps: NDArray[np.float64]) -> Chain:
    return Chain(gaps=gaps)


def _chain_from_positions(positions: NDArray[np.float64]) -> Chain:
    return Chain(positions=positions)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array


def _floats(values: Any, name: str) -> NDArray[np.float64]:
    array = validation.read(values, name)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold real numbers that float64 can hold, not {written(array.dtype)}")
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, not of shape {written(array.shape)}")
    if validation.rounds_in_float64(array):
        raise ValueError(f"{name} holds an integer beyond 2**53, which float64 would round; give floats")
    return array.astype(np.float64)


def _check_hashable(value: Any, name: str) -> None:
    try:
        hash(value)
    except TypeError:
        raise TypeError(f"{name} = {shown(value)} is not hashable: give text, a number or a tuple of them") from None


def _check_number(value: Any, name: str) -> None:
    """Refuse what, among numbers, would make an array of something else; arrays without axes are looked at later."""
    number = isinstance(value, (float, int, np.floating, np.integer)) and not isinstance(value, bool)
    if not number and (isinstance(value, np.generic) or getattr(value, "shape", None) != ()):
        raise TypeError(f"{name} = {shown(value)}: a cost must be a real number")
    if isinstance(value, (int, np.integer)) and abs(value) >= 2**53:
        raise ValueError(f"{name} = {written(value)} is an integer of 2**53 or more, which float64 would round")


def _costs(values: Any, name: str, node: "Callable[[int], str]" = str) -> NDArray[np.float64]:
    costs = _floats(values, name)
    bad = np.flatnonzero(~(np.isfinite(costs) & (costs >= 0)))
    if len(bad):
        raise ValueError(f"{name}[{node(int(bad[0]))}] = {costs[bad[0]]}: a cost must be finite and >= 0")
    return costs + 0.0  # -0.0 becomes 0.0


def _gaps_of(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(positions) == 0:
        raise ValueError("positions is empty: a space has at least one bin")
    bad = np.flatnonzero(~np.isfinite(positions))
    if len(bad):
        raise ValueError(f"positions[{bad[0]}] = {positions[bad[0]]} is not finite")
    with np.errstate(over="ignore"):
        gaps = np.diff(positions)
    down = np.flatnonzero(gaps < 0)
    if len(down):
        k = down[0]
        raise ValueError(
            f"positions[{k + 1}] = {positions[k + 1]} comes after {positions[k]}: "
            "sort the positions (and the bins with them)"
        )
    return _costs(gaps, "gap between positions")


def _integers(values: Any, name: str) -> NDArray[np.int64]:
    array = validation.read(values, name)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, not of shape {written(array.shape)}")
    if array.size == 0:
        raise ValueError(f"{name} is empty: a space has at least one node and one bin")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, not {written(array.dtype)}")
    if array.dtype == np.uint64 and array.max() >= 2**63:
        raise ValueError(f"{name}[{array.argmax()}] = {array.max()} is out of range")
    return array.astype(np.int64)


def _parents(values: Any, words: _Words) -> tuple[NDArray[np.int64], int]:
    parent = _integers(values, "parent")
    size = len(parent)
    outside = np.flatnonzero((parent < -1) | (parent >= size))
    if len(outside):
        v = outside[0]
        raise ValueError(f"parent[{v}] = {parent[v]} is out of range: nodes are 0 to {size - 1}, the root has -1")
    roots = np.flatnonzero((parent == -1) | (parent == np.arange(size)))
    if len(roots) == 0:
        node = words.node(_in_cycle(parent, 0))
        raise ValueError(
            f"{words.subject} no root: one node must {words.to_be_root}, and from node {node} parents lead back to it"
        )
    if len(roots) > 1:
        first, second = map(words.node, roots[:2].tolist())
        note = ", and one that is its own parent counts" if (parent[roots] >= 0).any() else ""
        raise ValueError(
            f"{words.subject} {len(roots)} roots (nodes {first} and {second}): exactly one is allowed{note}"
        )
    parent[roots[0]] = -1
    return parent, int(roots[0])


def _edge_costs(cost: Any, parent: NDArray[np.int64], root: int, words: _Words) -> NDArray[np.float64]:
    if cost is None:
        costs = np.ones(len(parent))
    else:
        costs = _floats(cost, "cost")
        if len(costs) != len(parent):
            raise ValueError(
                f"cost has {len(costs)} entries for {len(parent)} nodes: give one for each (the root's is ignored)"
            )
    costs[root] = 0.0
    return _costs(costs, "cost", words.node)


def _breadth_first(parent: NDArray[np.int64], root: int, words: _Words) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The nodes in breadth-first order, children in ascending order, and each node's position in it."""
    size = len(parent)
    by_parent = np.argsort(parent, kind="stable")[1:].tolist()  # without the root, whose parent is -1
    start = np.searchsorted(np.sort(parent)[1:], np.arange(size + 1)).tolist()
    order = [root]
    for v in order:  # grows as it is walked
        order.extend(by_parent[start[v] : start[v + 1]])
    position = np.full(size, -1)
    position[order] = np.arange(len(order))
    if len(order) < size:
        stray = _in_cycle(parent, int(np.flatnonzero(position < 0)[0]))
        raise ValueError(
            f"{words.subject} a cycle through node {words.node(stray)}: it never reaches the root {words.node(root)}"
        )
    return np.array(order), position


def _in_cycle(parent: NDArray[np.int64], node: int) -> int:
    """A node of the cycle into which the parents lead from a node that no root is above."""
    for _ in range(len(parent)):
        node = int(parent[node])
    return node


def _bin_nodes(bins: Any, parent: NDArray[np.int64], words: _Words) -> NDArray[np.int64]:
    if bins is None:
        leaf = np.ones(len(parent), bool)
        leaf[parent[parent >= 0]] = False
        return np.flatnonzero(leaf)
    nodes = _integers(bins, "bins")
    outside = np.flatnonzero((nodes < 0) | (nodes >= len(parent)))
    if len(outside):
        k = outside[0]
        raise ValueError(f"bins[{k}] = {nodes[k]} is out of range: nodes are 0 to {len(parent) - 1}")
    values, counts = np.unique(nodes, return_counts=True)
    if counts.max() > 1:
        twice = values[counts > 1][0]
        where = np.flatnonzero(nodes == twice)
        node = words.node(int(twice))
        raise ValueError(f"bins[{where[0]}] and bins[{where[1]}] are both node {node}: a node holds at most one bin")
    return nodes


def _labels(labels: Any, size: int) -> NDArray[np.object_]:
    names = range(size) if labels is None else labels
    if len(names) != size:
        raise ValueError(f"labels has {len(names)} entries for {size} nodes")
    try:
        set(names)
    except TypeError:
        for v, x in enumerate(names):
            _check_hashable(x, f"labels[{v}]")
        raise
    return np.fromiter(names, object, size)
