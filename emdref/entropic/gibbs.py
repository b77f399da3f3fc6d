"""Ways to multiply by Sinkhorn's kernel K = exp(-lam M - shift): dense, rounded, or by the space; linear or log domain.

Each offers the same few operations on arrays of shape (N, rows), so that the iteration in `emdref.entropic.iteration`
is written once.  In the log domain every vector stands for its logarithm and -inf for zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from emdref.entropic.formats import Format
from emdref.kernels.arithmetic.semirings import LOG_HIGH, LOG_LOW
from emdref.kernels.compile.threads import alone, over_columns, repeats
from emdref.kernels.entropic import alternation, products
from emdref.spaces.rooted import RootedTree
from emdref.spaces.space import Metric, as_rooted

Array = NDArray[Any]
Product = Callable[[Array], Array]
_EXP, _MULTIPLY = 5, 0.1  # nanoseconds that exp takes, and a multiplication in a product of matrices, about


class Linear:
    """Plain numbers."""

    @staticmethod
    def store(x: Array) -> Array:
        """x as an array of it is stored."""
        return x

    @staticmethod
    def enter(x: Array) -> Array:
        return x

    @staticmethod
    def from_log(x: Array) -> Array:
        return np.exp(x)

    @staticmethod
    def to_log(x: Array) -> Array:
        return np.log(x)

    @staticmethod
    def divide(x: Array, d: Array) -> Array:
        """x / d, and 0 where x is 0 whatever d is."""
        y = x / d
        empty = x == 0
        if empty.any():
            y[empty] = 0
        return y

    @staticmethod
    def relax(old: Array, new: Array, excess: Array) -> Array:
        """new * (new / old)^excess, held back as `_beyond` says, an excess a row."""
        return new * np.exp(_beyond(np.log(new / old), excess))

    @staticmethod
    def mass(x: Array, y: Array) -> Array:
        """x * y as plain numbers."""
        return x * y

    @staticmethod
    def vanished(d: Array) -> Array:
        return d == 0

    @staticmethod
    def ratio(x: Array, d: Array) -> Array:
        """x / d as plain numbers."""
        return x / d

    @staticmethod
    def averages(product: Product, weight: Array, x: Array, total: Array) -> Array:
        """product(weight x) / total, x being plain numbers of either sign, (N, ..., rows); 0 weights ignore their x."""
        weight, total = _spread(weight, x), _spread(total, x)
        weighted, empty = weight * x, weight == 0
        if empty.any():
            weighted = np.where(empty, 0, weighted)
        return _columns(product, weighted) / total


class Rounded(Linear):
    """Plain numbers, each result of which is rounded to a format."""

    # an object stands where Linear, the class, does: with methods where that has functions
    def __init__(self, form: Format) -> None:
        self.store = form.stored  # type: ignore[method-assign]

    def from_log(self, x: Array) -> Array:  # type: ignore[override]
        return self.store(np.exp(x))

    def to_log(self, x: Array) -> Array:  # type: ignore[override]
        return self.store(np.log(x))

    def divide(self, x: Array, d: Array) -> Array:  # type: ignore[override]
        return self.store(Linear.divide(x, d))

    def relax(self, old: Array, new: Array, excess: Array) -> Array:  # type: ignore[override]
        return self.store(Linear.relax(old, new, excess))

    def mass(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        return self.store(x * y)


class Log:
    """Logarithms of the numbers."""

    store = Linear.store

    @staticmethod
    def enter(x: Array) -> Array:
        return np.log(x)

    @staticmethod
    def from_log(x: Array) -> Array:
        return x

    @staticmethod
    def to_log(x: Array) -> Array:
        return x

    @staticmethod
    def divide(x: Array, d: Array) -> Array:
        y = x - d
        y[x == -np.inf] = -np.inf
        return y

    @staticmethod
    def relax(old: Array, new: Array, excess: Array) -> Array:
        return new + _beyond(new - old, excess)

    @staticmethod
    def mass(x: Array, y: Array) -> Array:
        return np.exp(x + y)

    @staticmethod
    def vanished(d: Array) -> Array:
        return d == -np.inf

    @staticmethod
    def ratio(x: Array, d: Array) -> Array:
        return np.exp(x - d)

    @staticmethod
    def averages(product: Product, weight: Array, x: Array, total: Array) -> Array:
        """Averages for logarithms of weight and total: positive and negative parts apart."""
        parts = np.log(np.stack([np.maximum(x, 0), np.maximum(-x, 0)], axis=1))
        weight, total = _spread(weight, parts), _spread(total, parts)
        parts = np.where(weight == -np.inf, weight, weight + parts)
        plus, minus = np.moveaxis(np.exp(_columns(product, parts) - total), 1, 0)
        return plus - minus


def _spread(x: Array, like: Array) -> Array:
    """(N, rows) to be broadcast with (N, ..., rows)."""
    return x.reshape(len(x), *(1,) * (like.ndim - 2), x.shape[-1])


def _columns(product: Product, x: Array) -> Array:
    """The product with every vector of (N, ..., rows)."""
    return product(x.reshape(len(x), math.prod(x.shape[1:]))).reshape(x.shape)


def over_bins(x: Array) -> Array:
    """Sums over the first axis, each in an order that the number of rows has no part in."""
    return np.ascontiguousarray(np.moveaxis(x, 0, -1)).sum(axis=-1)


def _beyond(d: Array, excess: Array) -> Array:
    """min(excess * d, log(1 + d)), by which a logarithm goes on after its plain step d.

    A step by d + y changes a bin's share of the dual value by p (d + y + exp(-d) - exp(y)).  That is never negative for
    y between 0 and log(1 + d), nor for y between d and 0.
    """
    y = np.minimum(excess.astype(d.dtype) * d, np.log1p(np.maximum(d, 0)))
    y[~np.isfinite(d)] = 0  # no mass, or lost to 0: the plain step alone
    return y


class Plan(Protocol):
    """The plan T = diag(u) K diag(v), never formed."""

    lost: float  # the share of K's entries that are 0

    @property
    def domain(self) -> type[Linear] | type[Log] | Rounded:
        """How numbers stand in vectors."""

    def times(self, v: Array) -> Array:
        """K v."""

    def transposed(self, u: Array) -> Array:
        """K^T u."""

    def moments(self, v: Array) -> Array:
        """(K o M) v."""

    def moments_transposed(self, u: Array) -> Array:
        """(K o M)^T u."""

    def cost(self, u: Array, v: Array) -> Array:
        """<T, M>, an entry a row."""


class DenseLinear:
    """The N x N matrix in `dtype` and a BLAS product: what the frameworks run.

    BLAS may sum differently for another batch size or processor, so that rows repeat to rounding only.
    """

    domain: type[Linear] | Rounded = Linear

    def __init__(self, cost: Array, lam: Any, shift: int) -> None:
        self.k = _exp(-lam * cost - cost.dtype.type(shift))
        self.km = self.k * cost
        self.lost = float(np.mean(self.k == 0))

    def times(self, v: Array) -> Array:
        return _product(self.k, v)

    def transposed(self, u: Array) -> Array:
        return _product(self.k.T, u)

    def moments(self, v: Array) -> Array:
        return _product(self.km, v)

    def moments_transposed(self, u: Array) -> Array:
        return _product(self.km.T, u)

    def cost(self, u: Array, v: Array) -> Array:
        return (u * self.moments(v)).sum(axis=0)


def _exp(x: Array) -> Array:
    return alone(np.exp, x, work=_EXP * x.size)


def _product(k: Array, x: Array) -> Array:
    return alone(np.matmul, k, x, work=_MULTIPLY * k.size * x.shape[1])


class DenseRounded(DenseLinear):
    """The N x N matrix on tensor cores: operands and results rounded to a format, sums in float32.

    K is evaluated in float32 and rounded once, as for a matrix made beforehand.
    """

    def __init__(self, cost: Array, lam: Any, shift: int, form: Format) -> None:
        self.domain, self.form = Rounded(form), form
        cost = form.stored(cost)
        k = form.stored(_exp(-lam * cost - cost.dtype.type(shift)))
        self.k, self.km = form.rounded(k), form.rounded(form.stored(k * cost))
        self.lost = float(np.mean(self.k == 0))

    def times(self, v: Array) -> Array:
        return self.form.stored(super().times(self.form.rounded(v)))

    def transposed(self, u: Array) -> Array:
        return self.form.stored(super().transposed(self.form.rounded(u)))

    def cost(self, u: Array, v: Array) -> Array:
        parts = self.form.stored(super().moments(self.form.rounded(v)))
        return self.form.stored(self.form.stored(u * parts).sum(axis=0))


class DenseLog:
    """The N x N matrix in the log domain: N^2 exponentials a product and a row."""

    domain = Log
    lost = 0.0

    def __init__(self, cost: Array, lam: Any, shift: int) -> None:
        self.log_k = -lam * cost - cost.dtype.type(shift)
        self.log_km = self.log_k + np.log(cost)

    def times(self, v: Array) -> Array:
        return _log_product(self.log_k, v)

    def transposed(self, u: Array) -> Array:
        return _log_product(self.log_k.T, u)

    def moments(self, v: Array) -> Array:
        return _log_product(self.log_km, v)

    def moments_transposed(self, u: Array) -> Array:
        return _log_product(self.log_km.T, u)

    def cost(self, u: Array, v: Array) -> Array:
        return np.exp(u + self.moments(v)).sum(axis=0)


def _log_product(log_k: Array, x: Array) -> Array:
    from scipy.special import logsumexp  # here, because SciPy takes long to import and few need it

    out, work = np.empty_like(x), 4 * _EXP * log_k.size
    for i, column in enumerate(x.T):
        out[:, i] = alone(logsumexp, log_k + column, 1, work=work)
    return out


class SpaceLinear:
    """Sums up and down the tree (a chain is a path): O(V) a product and a row, see emdref.kernels.entropic.products."""

    domain: type[Linear] | type[Log] = Linear
    parts = 1  # floats that the kernels have for a number
    _product, _cost = staticmethod(products.linear_product), staticmethod(products.linear_cost)
    _moments, _alternation = staticmethod(products.linear_moments), staticmethod(alternation.linear_alternation)
    _work = 1  # nanoseconds of an iteration, a node and a row, if there are some rows

    def __init__(self, space: Metric, dtype: Any, lam: Any, shift: int) -> None:
        tree = as_rooted(space)
        self.shape = (tree.parent, tree.bin_node)
        self.edge = tree.cost.astype(dtype)
        log_a = -lam * self.edge
        log_a[0] = -np.inf  # the root has no edge
        b = self.domain.enter(-np.expm1(log_a + log_a))  # 1 - a^2
        k0 = self.domain.from_log(np.array([-shift], dtype))
        self.k0, self.a, b, self.w = map(
            self.elements, (k0, self.domain.from_log(log_a), b, self.domain.enter(self.edge))
        )
        self.tree = outline(tree).of(self.k0, self.a, b, self.edge)
        self.twigs = self.tree.twigs
        farthest = self.domain is Linear and np.exp(dtype(-float(lam) * space.diameter - shift)) == 0
        self.lost = 2.0 / space.n_bins**2 if farthest else 0.0  # at least that pair, there and back
        self.starts: dict[str, Array] = {}  # u_0 by its name in variants, for who starts there

    @staticmethod
    def elements(x: Array) -> Array:
        """x as the kernels take factors, (nodes, parts)."""
        return x[:, None]

    @staticmethod
    def logarithms(x: Array, out: Array) -> None:
        """Of elements in planes, (parts, rows, N)."""
        np.log(x[0], out=out)

    def times(self, v: Array) -> Array:
        return self._mapped(self._product, v, self.twigs)

    def moments(self, v: Array) -> Array:
        return self._mapped(self._moments, v, self.k0, self.a, self.w, *self.shape)

    transposed, moments_transposed = times, moments  # K and M are symmetric

    def cost(self, u: Array, v: Array) -> Array:
        value = np.empty(u.shape[1], u.dtype)
        u, v = np.ascontiguousarray(u), np.ascontiguousarray(v)
        self._deal(self._cost, u.shape[1], u, v, value, self.twigs, self.tree.edges)
        return value

    @property
    def at_once(self) -> int:
        """Iterations that one call does."""
        return repeats(self._work * len(self.edge))

    def alternate(self, rows: int, *args: Any, how: alternation.How) -> None:
        """Iterations and what is asked of the plan, see emdref.kernels.entropic.alternation."""
        self._deal(self._alternation, rows, *args, self.tree, how, iterations=how.until - how.done + 3)

    def _mapped(self, kernel: Any, x: Array, *factors: Any) -> Array:
        x = np.ascontiguousarray(x)
        out = np.empty_like(x)
        self._deal(kernel, x.shape[1], x, out, *factors)
        return out

    def _deal(self, kernel: Any, rows: int, *args: Any, iterations: int = 1) -> None:
        over_columns(kernel, rows, args, work=self._work * len(self.edge) * iterations)


class SpaceLog(SpaceLinear):
    """Sums up and down the tree in the log domain: nothing under- or overflows, for any lam."""

    domain = Log
    parts = 2
    _product, _cost = staticmethod(products.log_product), staticmethod(products.log_cost)
    _moments, _alternation = staticmethod(products.log_moments), staticmethod(alternation.log_alternation)
    _work = 5

    @staticmethod
    def elements(x: Array) -> Array:
        out = np.empty((len(x), 2), x.dtype)
        products.log_factors(x, out)
        return out

    @staticmethod
    def logarithms(x: Array, out: Array) -> None:
        for row, m, e in zip(out, *x, strict=True):  # so that temporaries stay in the cache
            m, e = m.astype(np.float64, copy=False), e.astype(np.float64, copy=False)
            row[:] = e * LOG_HIGH + (np.log(m) + e * LOG_LOW)


class Outline(NamedTuple):
    """A tree for products and costs, but for its factors; see `Twigs` and `Edges`."""

    inner: Array  # by node
    leaf: Array  # the leaves' nodes
    above: Array  # by inner node, the number of the one above
    own: Array
    order: Array
    first: Array
    below: Array
    edges: tuple[Array, Array, Array, Array, int]
    place: Array
    sums: Array

    def of(self, k0: Array, a: Array, b: Array, cost: Array) -> alternation.Tree:
        """With the factors a and b = 1 - a^2 and the costs of the edges above all nodes."""
        edges = self.edges
        leaf, inner, leaf_parent = self.leaf, self.inner, edges[0][self.leaf]
        twigs = products.Twigs(
            k0,
            a[inner],
            b[inner],
            self.above,
            a[leaf],
            b[leaf],
            leaf_parent,
            self.own,
            self.order,
            self.first,
            self.below,
        )
        return alternation.Tree(twigs, products.Edges(a, cost, *edges), self.place, self.sums)


_outlines: WeakKeyDictionary[RootedTree, Outline] = WeakKeyDictionary()
_plans: WeakKeyDictionary[RootedTree, dict[Any, SpaceLinear]] = WeakKeyDictionary()
_RECENT = 4  # plans that are kept for a space: who trains asks for the same again and again


def on_space(space: Metric, domain: str, dtype: Any, lam: Any, shift: int) -> SpaceLinear:
    """A plan that lives along a space's edges."""
    known = _plans.setdefault(as_rooted(space), {})
    kind, key = SpaceLog if domain == "log" else SpaceLinear, (domain, dtype, float(lam), shift)
    if key not in known:
        for old in list(known)[: 1 - _RECENT]:
            known.pop(old, None)
        known[key] = kind(space, dtype, lam, shift)
    return known.get(key) or kind(space, dtype, lam, shift)  # unless another thread's four have come since


def outline(tree: RootedTree) -> Outline:
    """That of a space, made once."""
    known = _outlines.get(tree)
    if known is None:
        known = _outlines[tree] = _outline(tree.parent, tree.bin_node)
    return known


def _outline(parent: Array, bin_node: Array) -> Outline:
    inner = np.zeros(len(parent), bool)
    inner[parent[1:]] = True
    tip = ~inner[bin_node] & (bin_node > 0)  # by bin: at a leaf that is not the root
    leaf = bin_node[tip]
    inner = np.ones(len(parent), bool)
    inner[leaf] = False
    number = np.cumsum(inner) - 1  # of inner nodes
    order = np.lexsort((bin_node, ~tip))
    leaf, at_inner = np.split(bin_node[order], [len(leaf)])
    nodes, bins = int(inner.sum()), len(bin_node)
    above = number[np.maximum(parent, 0)]  # the root's own is not read
    element = number + bins
    element[leaf] = np.arange(len(leaf))
    own = np.full(nodes, -1)
    own[number[at_inner]] = np.arange(len(leaf), bins)
    start = 1 + np.searchsorted(above[1:], np.arange(nodes + 1))
    first = np.searchsorted(above[leaf], np.arange(nodes + 1))
    below = 1 + np.searchsorted(above[inner][1:], np.arange(nodes + 1))
    place = np.empty(bins, np.int64)
    place[order] = np.arange(bins)
    edges = above, element, start, own, int(np.diff(start).max(initial=1))
    return Outline(inner, leaf, above[inner], number[at_inner], order, first, below, edges, place, _in_pairs(bins))


def _in_pairs(count: int) -> Array:
    """How NumPy sums so many contiguous numbers: first and last of each part, and how many sums before it to add."""

    def halved(first: int, size: int) -> list[list[int]]:
        if size <= 128:
            return [[first, first + size, 0]]
        half = size // 2 - size // 2 % 8
        parts = halved(first, half) + halved(first + half, size - half)
        parts[-1][2] += 1
        return parts

    return np.array(halved(0, count), np.int64)
