"""What a space must offer, and what every space is given for it.

`Metric` is all that Sinkhorn needs: bins, and a distance between each two.  `Space` adds edges along which mass flows.
A space of one's own is a subclass of `Space` that says which edges there are; docs/howto/space.md shows one.  All
else has an answer that is right for any space: exact rationals, certificates, values and gradients row by row.  What
makes a space fast, or is not defined for every space, is optional, and absent unless a space says otherwise: a compiled
`kernel`, and `rooted`, the view of a rooted tree on which second derivatives, plans, sums along edges and GPUs rely.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import weakref
from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cached_property, partial
from math import lcm
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from emdref.arguments import naming, validation
from emdref.arguments.casts import frozen
from emdref.arguments.messages import shown, type_name

if TYPE_CHECKING:
    from emdref.spaces.rooted import RootedTree

SHORT = 16  # nodes up to which a space is written out as code
_Kept = TypeVar("_Kept")
Number = Any  # an integer, a Fraction, a Decimal: exact arithmetic never asks which


class Edges(NamedTuple):
    r"""The edges of a space, in the order of `emdref.flow`.

    .. math:: \mathrm{EMD}^\rho(p, q) = \sum_e \text{cost}_e \, |\phi_e|^\rho

    A positive flow goes from tail to head.  Nodes are numbered from 0.  An edge from a node to itself stands for no
    edge: it fills a place in the flow.

    Attributes
    ----------
    tail, head : (E,) int64 arrays
        The node that each edge leaves, and the node that it leads to.
    cost : (E,) float64 array
        What a unit of mass pays on it, finite and >= 0.
    """

    tail: NDArray[np.int64]
    head: NDArray[np.int64]
    cost: NDArray[np.float64]


class Kernel(NamedTuple):
    r"""A compiled loop over rows, which makes a space of your own fast: what `Space.kernel` returns.

    .. math:: \text{value} = \sum_e M_e \, |\phi_e|^\rho, \qquad
       \text{grad} = \text{factor} \cdot (r - \operatorname{mean} r)

    are what it computes for each row, with r the raw derivative of `emdref.emd_grad`.  It is called as
    ``loop(first, last, rows, results, shape, how)``, with these arguments:

    rows
        ``(p, step, q, step)``: entry k of row i is ``p[i * step + k]``, both float32 or both float64.
    results
        ``(value, grad, doubt, unsafe)``, to be filled for rows first to last.  grad is flat, and empty if nobody wants
        it.  ``doubt`` tells rows whose input must be looked at, or whose results are beyond the dtype; ``unsafe`` those
        whose rounding is not settled, which others then compute.
    shape
        What the loop takes of the space: arrays and numbers.
    how
        ``(rho, share, factor, limit, closely, tolerance)``.  The gradient is ``factor (r - mean r)``, or ``factor r``
        if share is 0; else share is 1/N in plain arithmetic, N in two limbs.  ``limit`` is the dtype's largest number.
        ``closely`` asks to add up what flows lose, which settles more rows and takes longer.  Totals may differ by
        ``tolerance``, relatively, and are not looked at if it is negative.

    Attributes
    ----------
    loop : callable
        The loop, compiled.
    shape : tuple
        Its argument of that name.
    work : float
        How many nanoseconds a row takes, about.
    single : Kernel or None
        Another that gives the same bits, faster if there is one row.
    """

    loop: Callable[..., None]
    shape: tuple[Any, ...]
    work: float  # nanoseconds that a row takes, about
    single: Kernel | None = None  # another that gives the same bits, faster if there is one row

    def for_rows(self, rows: int) -> Kernel:
        """The kernel for so many rows."""
        return self if self.single is None or rows > 1 else self.single


class Metric(ABC):
    """Bins, and the distance between each two."""

    rooted: RootedTree | None = None
    has_edges = False

    @property
    def kind(self) -> str:
        """How a message calls spaces of this type."""
        return type_name(self)

    @property
    @abstractmethod
    def n_bins(self) -> int:
        """Number of bins N, the length of a histogram."""

    @abstractmethod
    def distance_matrix(self, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """Distances M between all pairs of bins, (N, N), symmetric, in the units of the costs."""

    @cached_property
    def diameter(self) -> float:
        """The largest distance between two bins."""
        return float(self.distance_matrix().max())

    def distances_from(self, index: int) -> NDArray[np.float64]:
        """Distances from one bin to all bins, (N,)."""
        return self.distance_matrix()[index]

    def exact_distances(self) -> list[list[Any]]:
        """The matrix in floats or Fractions: sums of costs, nothing rounded."""
        return self.distance_matrix().tolist()

    @property
    def size(self) -> int:
        """How many numbers a sum over the space has, about: its nodes, or its bins."""
        return self.n_bins


class _Complete(ABCMeta):
    """A space is looked at once, as soon as it is made."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        missing = sorted(getattr(cls, "__abstractmethods__", ()))
        if missing:
            raise TypeError(
                f"{cls.__name__} is not a space yet, it lacks {', '.join(missing)}: define that as "
                "docs/howto/space.md shows"
            )
        space = super().__call__(*args, **kwargs)
        space.check()
        return space


class Space(Metric, metaclass=_Complete):
    r"""What all spaces have in common, and what a space of your own derives from.

    .. math:: \mathrm{EMD}^\rho(p, q) = \min_\phi \sum_e M_e \, |\phi_e|^\rho

    Bins are at nodes.  Nodes are joined by edges along which mass flows, each unit at the edge's cost M_e.  The least
    is taken over all flows phi that take p to q.  Where no edges close a circle there is only one.

    A subclass must define `n_bins` and `edges`, and must not change after it is made.  If its edges close a circle it
    must define `exact_flow`, `exact_slopes` and `exact_ranges` as well, for then they do not follow from the masses
    alone.  All else may be left as it is; docs/howto/space.md shows a space in a dozen lines.

    Examples
    --------
    >>> import numpy as np, emdref
    >>> class Pair(emdref.Space):
    ...     n_bins = 2
    ...     edges = emdref.Edges(np.array([0]), np.array([1]), np.array([3.0]))
    >>> emdref.emd([1.0, 0.0], [0.5, 0.5], Pair())
    np.float64(1.5)
    """

    has_edges = True

    # --- what a space must say, and what it may -----------------------------------------------------------------------

    @property
    @abstractmethod
    def edges(self) -> Edges:
        """All edges, in the order of `emdref.flow`."""

    @property
    def bin_nodes(self) -> NDArray[np.int64]:
        """The node of each bin; by default nodes 0 to N-1."""
        return np.arange(self.n_bins)

    @property
    def root(self) -> int:
        """The node where potentials are 0 and where what totals differ by stays; by default the last bin's."""
        return int(self.bin_nodes[-1])

    @property
    def bin_labels(self) -> NDArray[Any]:
        """Names of the bins, which labels of pandas must be; by default their numbers."""
        return frozen(np.arange(self.n_bins))

    def edge_name(self, edge: int) -> str:
        """How a message calls an edge, by its place in the flow."""
        return f"edge {edge}"

    def as_code(self) -> str | None:
        """Python that makes the space again, None if that would be long."""
        return None

    def is_rational(self, rho: float) -> bool:
        """Whether `exact_flow` is exact: a flow may be irrational, if it depends on rho."""
        return True

    def exact_flow(self, net: Sequence[Number], cost: Sequence[Number], rho: float) -> list[Number]:
        """The flow of least ``sum cost |flow|^rho``, an entry an edge, for what each bin sends out; in exact numbers.

        `cost` are the edges' costs in a unit of the caller's.  By default every edge carries what lies beyond it.
        """
        if self._walk.closes:
            raise TypeError(f"{self!r}: its edges close a circle, so that it must define exact_flow")
        flow = [0] * len(cost)
        for (edge, _, _, sign), mass in zip(self._walk.steps, self.sums_beyond(net), strict=True):
            flow[edge] = sign * mass
        return flow

    def sums_beyond(self, net: Sequence[Number]) -> list[Number]:
        """Sums of bins, as seen from the root, beyond each step of a walk over the edges."""
        beyond = [0] * self._walk.nodes
        for node, mass in zip(self.bin_nodes.tolist(), net, strict=True):
            beyond[node] = mass
        for _, above, node, _ in reversed(self._walk.steps):
            beyond[above] += beyond[node]
        return [beyond[node] for _, _, node, _ in self._walk.steps]

    def exact_slopes(self, flow: Sequence[Number], cost: Sequence[Number], rho: Number) -> list[Number]:
        """cost times the derivative of ``|flow|^rho``, an entry an edge: 0 at kinks, the least of the subgradients."""
        zero = 0 * rho
        return [
            rho * c * abs(f) ** (rho - 1) * (1 if f > 0 else -1) if c and f else zero
            for c, f in zip(cost, flow, strict=True)
        ]

    def exact_ranges(self, flow: Sequence[Number], cost: Sequence[Number]) -> tuple[list[Number], list[Number]]:
        """For rho = 1, by bin, the least and the largest potential that some subgradient has."""
        ends = []
        for end in (-1, 1):
            steps = [
                c * ((f > 0) - (f < 0) or end * sign) for f, c, sign in zip(flow, cost, self._upwards, strict=True)
            ]
            ends.append(self.exact_potentials(steps))
        return ends[0], ends[1]

    def exact_potentials(self, steps: Sequence[Number]) -> list[Number]:
        """By bin, numbers that differ by `steps` along the edges, tail less head, and are 0 at the root."""
        nodes = self.exact_node_potentials(steps)
        return [nodes[v] for v in self.bin_nodes.tolist()]

    def exact_node_potentials(self, steps: Sequence[Number]) -> list[Number]:
        """Numbers by node that differ by `steps` along the edges, tail less head, and are 0 at the root."""
        potential = [0] * self._walk.nodes
        for edge, above, node, sign in self._walk.steps:
            potential[node] = potential[above] + sign * steps[edge]
        return potential

    def kernel(self, rho: float, dtype: np.dtype[Any], accuracy: str, shares: bool) -> Kernel | None:
        """A compiled loop for that exponent, dtype of the rows, and accuracy (see `emdref.emd`); None if there is none.

        `shares` says that rows hold shares, whose totals are equal by construction.  Without a kernel rows are computed
        one by one from the flow's definition: natively in the rows' dtype, compensated in rationals.
        """
        return None

    def flow_kernel(self, rho: float, dtype: np.dtype[Any], accuracy: str, shares: bool) -> Kernel | None:
        """A compiled loop for flows, whose results are (flow, unsafe); None if there is none."""
        return None

    def with_costs(self, cost: Any) -> Space:
        """The same bins and edges at other costs, an entry an edge in the order of `emdref.flow`, finite and >= 0."""
        raise TypeError(f"{shown(self)} cannot take other costs: define with_costs, as chains, trees and circles do")

    def misreadings(self) -> Iterator[tuple[str, Space]]:
        """Spaces that usual mistakes make of this one, with the words for it: what `emdref.check` looks for."""
        return iter(())

    # --- what follows -------------------------------------------------------------------------------------------------

    @property
    def n_nodes(self) -> int:
        """Number of nodes V."""
        return self._walk.nodes

    @property
    def has_cycles(self) -> bool:
        """Whether edges close a circle, so that flows do not follow from the masses alone."""
        return self.rooted is None and self._walk.closes

    @property
    def size(self) -> int:
        """Its nodes."""
        return self.n_nodes

    @property
    def digest(self) -> str:
        """SHA-256 of all that says what the space is."""
        edges = self.edges
        said = hashlib.sha256(repr((type(self).__name__, self.n_bins, self.root)).encode())
        for part in (*edges, self.bin_nodes):
            said.update(np.ascontiguousarray(part).tobytes())
        return said.hexdigest()

    def distance_matrix(self, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        r"""Distances M between all pairs of bins: the least sums of costs on a way from one to the other.

        .. math:: M_{ij} = \min_{\text{ways } i \to j} \; \sum_{e \text{ on the way}} M_e

        On a tree there is one way, and on a chain this is Eq. (4) of arXiv 1611.07573.

        Parameters
        ----------
        dtype : float32 or float64
            Of the result.

        Returns
        -------
        (N, N) array of `dtype`
            Symmetric, in the units of the costs.  Sums are formed in float64 or exactly.

        Raises
        ------
        TypeError, ValueError
            Another dtype; a distance beyond float32.

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
        return self._all_distances().astype(dtype, copy=False)

    def align(self, names: Iterable[Hashable]) -> NDArray[np.int64]:
        """Where in `names` each bin's name is, so that columns of a table can be put in the order of the bins.

        Parameters
        ----------
        names : N hashables
            The name of every bin once, in any order: a list, an array, or labels of pandas such as ``table.columns``.

        Returns
        -------
        (N,) int64 array
            ``table.to_numpy()[:, space.align(table.columns)]`` has the columns in the order of the bins.

        Raises
        ------
        TypeError
            No sequence of hashables.
        ValueError
            Names that are unknown, missing, twice or of another type than the bins' (1 and "1"): the first ten of each,
            and how many; bins without names, or two of one name.

        Examples
        --------
        >>> import emdref
        >>> emdref.Tree.from_newick("((a:1,b:2):0.5,c:3);").align(["c", "a", "b"])
        array([1, 2, 0])
        """
        cut = "cut the space with restrict(names), or " if hasattr(self, "restrict") else ""
        places = self._find(names, "sum or drop what is given twice", f"{cut}add columns of zeros")
        order = np.empty(self.n_bins, np.int64)
        order[places] = np.arange(self.n_bins)
        return order

    def _find(self, names: Any, twice: str = "give each name once", missing: str = "") -> list[int]:
        """The bin of each name; `missing` says what to do about bins without one, else there may be some."""
        bins, nodes = self._names()
        among = naming.Sought("bin", str, twice, missing, nodes)
        return naming.find(naming.listed(names, "names"), bins, "names", among)

    def _names(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """Names of the bins, and of all nodes."""
        if type(self).bin_labels is Space.bin_labels:
            raise ValueError(f"{shown(self)} names no bins: define bin_labels, as docs/howto/space.md says")
        return naming.listed(self.bin_labels, "bin_labels"), ()

    def _all_distances(self) -> NDArray[np.float64]:
        """The matrix in float64; kept, as ways over edges are slow to find."""
        return self._distances

    @cached_property
    def _distances(self) -> NDArray[np.float64]:
        return frozen(np.array(self.exact_distances(), np.float64).reshape(self.n_bins, self.n_bins))

    def exact_distances(self) -> list[list[Any]]:
        """Dijkstra's algorithm from each bin, in integers."""
        ratios = [c.as_integer_ratio() for c in self.edges.cost.tolist()]
        unit = lcm(*{d for _, d in ratios}) if ratios else 1
        beside: list[list[tuple[int, int]]] = [[] for _ in range(self.n_nodes)]
        for a, b, (n, d) in zip(self.edges.tail.tolist(), self.edges.head.tolist(), ratios, strict=True):
            beside[a].append((b, n * (unit // d)))
            beside[b].append((a, n * (unit // d)))
        bins = np.asarray(self.bin_nodes).tolist()
        return [[Fraction(far[v], unit) for v in bins] for far in (_dijkstra(beside, v) for v in bins)]

    def check(self) -> None:
        """Refuse edges that cannot be; called once, when a space has been made."""
        tail, head, cost = self.edges
        bad = np.flatnonzero(~(np.isfinite(cost) & (np.asarray(cost) >= 0)))
        if len(bad):
            raise ValueError(
                f"{type_name(self)}: the cost of {self.edge_name(int(bad[0]))} is {cost[bad[0]]}, not >= 0"
            )
        if not len(tail) == len(head) == len(cost):
            raise ValueError(
                f"{type_name(self)}: edges hold {len(tail)} tails, {len(head)} heads and {len(cost)} costs"
            )
        if len(self.bin_nodes) != self.n_bins or len(set(np.asarray(self.bin_nodes).tolist())) != self.n_bins:
            raise ValueError(f"{type_name(self)}: bin_nodes must name {self.n_bins} different nodes, one a bin")
        if self._walk.closes and type(self).exact_flow is Space.exact_flow:
            raise TypeError(f"{type_name(self)}: its edges close a circle, so that it must define exact_flow")
        if self.rooted is not None and not np.array_equal(self.rooted.cost[self.rooted.flow_places], cost):
            raise ValueError(f"{type_name(self)}: rooted must have the edges' costs at flow_places, in their order")

    @cached_property
    def _walk(self) -> _Walk:
        """A way over the edges, from the root on, to every node."""
        tail, head = self.edges.tail.tolist(), self.edges.head.tolist()
        nodes = max([*tail, *head, *np.asarray(self.bin_nodes).tolist()]) + 1
        beside: list[list[tuple[int, int, int]]] = [[] for _ in range(nodes)]
        for edge, (a, b) in enumerate(zip(tail, head, strict=True)):
            if a != b:
                beside[a].append((edge, b, -1))
                beside[b].append((edge, a, 1))
        steps: list[tuple[int, int, int, int]] = []
        seen, reached = {self.root}, [self.root]
        for above in reached:  # grows as it is walked
            for edge, node, sign in beside[above]:
                if node not in seen:
                    seen.add(node)
                    reached.append(node)
                    steps.append((edge, above, node, sign))
        if len(reached) < nodes:
            lost = next(v for v in range(nodes) if v not in seen)
            raise ValueError(f"{type_name(self)}: no edges lead from node {lost} to the root, node {self.root}")
        return _Walk(nodes, steps, sum(map(len, beside)) // 2 > len(steps))

    @cached_property
    def _upwards(self) -> list[int]:
        """Of each edge: 1 if it points to the root, -1 if away from it, 0 if it stands for none."""
        sign = [0] * len(self.edges.cost)
        for edge, _, _, towards in self._walk.steps:
            sign[edge] = towards
        return sign

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n_bins} bins)"


class _Walk(NamedTuple):
    """Every node but the root: the edge to it, the node before, itself, and 1 if that edge points back, else -1."""

    nodes: int
    steps: list[tuple[int, int, int, int]]
    closes: bool  # whether some edge is not on the way


def _dijkstra(beside: list[list[tuple[int, int]]], start: int) -> dict[int, int]:
    """The least sums of costs from a node to every other."""
    least, waiting = {}, [(0, start)]
    while waiting:
        far, node = heapq.heappop(waiting)
        if node not in least:
            least[node] = far
            for other, cost in beside[node]:
                if other not in least:
                    heapq.heappush(waiting, (far + cost, other))
    return least


class Immutable:
    """No attribute can be set but by `_set`, while an object is made; two of equal content are equal."""

    def _content(self) -> tuple[NDArray[Any] | None, ...]:
        """What makes two objects of one type equal."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, Immutable)
        return all(itertools.starmap(_equal, zip(self._content(), other._content(), strict=True)))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        numbers = [
            x + 0 for x in self._content() if x is not None and x.dtype != object
        ]  # -0.0, equal to 0.0, becomes it
        return hash((type(self), *(x.tobytes() for x in numbers)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {shown(name)} cannot be set; make a new one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {shown(name)} cannot be deleted")

    def _set(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


def _equal(a: NDArray[Any] | None, b: NDArray[Any] | None) -> bool:
    if a is None or b is None:
        return a is b
    if a.dtype != object:
        return np.array_equal(a, b)
    try:
        return bool(a.tolist() == b.tolist())
    except (TypeError, ValueError):  # a label that compares with nothing, such as pandas.NA
        return False


class Kept(Generic[_Kept]):
    """Something for each of some objects, as long as that lives.

    It is for that very one: spaces that are equal may hold their costs in arrays of other lengths.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[weakref.ref[Any], _Kept]] = {}

    def of(self, owner: Any, make: Callable[[], _Kept]) -> _Kept:
        """What is kept for an object, made if there is nothing yet."""
        number = id(owner)
        found = self._kept.get(number)
        if found is None or found[0]() is not owner:
            found = self._kept[number] = weakref.ref(owner, partial(self._forget, number)), make()
        return found[1]

    def known(self, owner: Any) -> _Kept | None:
        """What is kept for an object, None if there is nothing."""
        found = self._kept.get(id(owner))
        return found[1] if found is not None and found[0]() is owner else None

    def _forget(self, number: int, dead: weakref.ref[Any]) -> None:
        if number in self._kept and self._kept[number][0] is dead:
            del self._kept[number]


# --- what functions ask of a space ------------------------------------------------------------------------------------


def check_space(space: Any) -> None:
    """Refuse what is no space."""
    if not isinstance(space, Space):
        given = "type" if isinstance(space, type) else type_name(space)
        raise TypeError(f"space must be a Space, such as a Chain or a Tree, not {given}")


def rooted(space: Metric, function: str, what: str, instead: str) -> RootedTree:
    """The view of a rooted tree, or the one refusal: `function` needs `what`, and `instead` works."""
    if space.rooted is None:
        raise TypeError(
            f"{function} needs {what}, which {space.kind} does not offer, but spaces that are rooted trees do: "
            f"{instead}"
        )
    return space.rooted


def as_rooted(space: Metric) -> RootedTree:
    """The view of a rooted tree, where it is known that there is one."""
    assert space.rooted is not None
    return space.rooted
