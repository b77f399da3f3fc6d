"""Products with K = exp(-lam M) on a tree in O(V) per histogram, without the matrix.

With a = exp(-lam w) for the edge above a node: sums up the tree, S[v] = x_v + sum over children of a_c S[c], then down,
R[root] = S[root] and R[v] = (1 - a_v^2) S[v] + a_v R[parent].  R at a bin's node is (K x) there.  No term is negative,
so nothing cancels.  The same lines serve the linear domain (plain numbers) and the log domain (scaled ones), see
`emdref.kernels.arithmetic.semirings`.

The caller's arrays hold bins first, histograms last: (N, rows).  Tiles of up to `_LANES` rows are worked on together,
rows innermost, each row by itself, so that the batch around a row does not matter.  Nodes stand in breadth-first
order: ``parent[v] < v`` and siblings side by side.
"""

from typing import Any, NamedTuple

import numpy as np

from emdref.kernels.arithmetic.semirings import LINEAR, SCALED
from emdref.kernels.compile.jit import loop, row

_LANES = 64  # enough that the loop over them outweighs what surrounds it
_TILE = 32  # rows of moments and costs, which keep five or six arrays of all nodes


class Twigs(NamedTuple):
    """A tree for products: leaves apart from inner nodes, since all that a leaf knows is its own bin.

    Factors are (nodes, parts).  Bins are worked on in the order `order`: those at leaves, by node, then those at
    inner nodes `own`.  Nodes without a bin or a child are inner, with no mass.
    """

    k0: Any
    a: Any  # of the edges above inner nodes
    b: Any  # 1 - a^2
    parent: Any
    leaf_a: Any
    leaf_b: Any
    leaf_parent: Any
    own: Any
    order: Any


class Columns(NamedTuple):
    """What `columns` compiles: operations on the rows of one node."""

    clear: Any
    copy: Any
    add: Any
    increase: Any
    blend: Any
    reach: Any
    scale: Any
    enter: Any
    leave: Any


class Traversals(NamedTuple):
    """What `traversals` compiles: ways through a tree."""

    up: Any
    inward: Any
    turn: Any
    outward: Any


def columns(ring):
    """What is done to a node's rows, side by side, over a semiring."""
    load, store, null, plus, times = ring.load, ring.store, ring.null, ring.plus, ring.times

    @row
    def clear(target):
        n = ring.lanes(target)
        for i in range(n):
            store(target, i, n, null(target[i]))

    @row
    def copy(target, source):
        n = ring.lanes(target)
        for i in range(n):
            store(target, i, n, load(source, i, n))

    @row
    def add(target, source):
        n = ring.lanes(target)
        for i in range(n):
            store(target, i, n, plus(load(target, i, n), load(source, i, n)))

    @row
    def increase(target, a, source):  # target + a source
        n = ring.lanes(target)
        for i in range(n):
            store(target, i, n, plus(load(target, i, n), times(a, load(source, i, n))))

    @row
    def blend(target, b, s, a, r):  # b s + a r
        n = ring.lanes(target)
        for i in range(n):
            store(target, i, n, plus(times(b, load(s, i, n)), times(a, load(r, i, n))))

    @row
    def reach(target, k0, b, s, a, r):  # k0 (b s + a r)
        n = ring.lanes(target)
        for i in range(n):
            store(target, i, n, times(k0, plus(times(b, load(s, i, n)), times(a, load(r, i, n)))))

    @row
    def scale(target, k0, source):
        n = ring.lanes(target)
        for i in range(n):
            store(target, i, n, times(k0, load(source, i, n)))

    @row
    def enter(target, source):
        n = ring.lanes(target)
        for i in range(n):
            store(target, i, n, ring.entered(source[i]))

    @row
    def leave(target, source):
        n = len(target)
        for i in range(n):
            target[i] = ring.left(load(source, i, n))

    return Columns(clear, copy, add, increase, blend, reach, scale, enter, leave)


def traversals(ring, go):
    """A tile of rows on its way through a tree, over a semiring; `go` are its columns."""
    factor, clear, copy, increase, blend = ring.factor, go.clear, go.copy, go.increase, go.blend
    reach, scale = go.reach, go.scale

    @row
    def up(a, parent, s):
        for v in range(len(s) - 1, 0, -1):
            increase(s[parent[v]], factor(a, v), s[v])

    @row
    def inward(x, tree, s):
        """s = what an inner node has of its own bin and of its leaves; x in the order of `Twigs`."""
        leaves = len(tree.leaf_parent)
        for v in range(len(s)):
            clear(s[v])
        for j in range(len(tree.own)):
            copy(s[tree.own[j]], x[leaves + j])
        for j in range(leaves):
            increase(s[tree.leaf_parent[j]], factor(tree.leaf_a, j), x[j])

    @row
    def turn(tree, s, r):
        """r = R of the inner nodes, from what `inward` left in s."""
        up(tree.a, tree.parent, s)
        copy(r[0], s[0])
        for v in range(1, len(s)):
            blend(r[v], factor(tree.b, v), s[v], factor(tree.a, v), r[tree.parent[v]])

    @row
    def outward(x, y, tree, r):
        """y = k0 K x; y may be x."""
        leaves, k0 = len(tree.leaf_parent), factor(tree.k0, 0)
        for j in range(leaves):
            reach(y[j], k0, factor(tree.leaf_b, j), x[j], factor(tree.leaf_a, j), r[tree.leaf_parent[j]])
        for j in range(len(tree.own)):
            scale(y[leaves + j], k0, r[tree.own[j]])

    return Traversals(up, inward, turn, outward)


@row
def width(rows):
    """Lanes of a tile: as many in one as in another, and in eights if there is more than one."""
    tiles = (rows + _LANES - 1) // _LANES
    return max(rows, 1) if tiles <= 1 else ((rows + tiles - 1) // tiles + 7) // 8 * 8


linear_columns, scaled_columns = columns(LINEAR), columns(SCALED)
linear, scaled = traversals(LINEAR, linear_columns), traversals(SCALED, scaled_columns)


def exchange(ring):
    """How much of a plan crosses an edge, over a semiring."""
    plus, times, plain = ring.plus, ring.times, ring.plain

    @row
    def crosses(k, su, ov, sv, ou):
        """k (su ov + sv ou), k first, so that no product exceeds the mass by more than entries of T do."""
        return plain(plus(times(times(k, su), ov), times(times(k, sv), ou)))

    return crosses


def _products(ring, go, through):
    """Compile the product with K over one semiring."""

    @row
    def product(x, y, start, tree, t):
        """y = k0 K x for a tile of rows."""
        bins, nodes, stop = len(tree.order), len(tree.parent), start + ring.lanes(t[0])
        z, s, r = t[:bins], t[bins : bins + nodes], t[bins + nodes :]
        for j in range(bins):
            go.enter(z[j], x[tree.order[j], start:stop])
        through.inward(z, tree, s)
        through.turn(tree, s, r)
        through.outward(z, z, tree, r)
        for j in range(bins):
            go.leave(y[tree.order[j], start:stop], z[j])

    return product


class Surroundings(NamedTuple):
    """What `_surroundings` compiles."""

    scatter: Any
    beside: Any
    outside: Any


def _surroundings(ring, go):
    """Compile sums of what is not below a node."""
    factor = ring.factor

    @row
    def scatter(x, start, bin_node, s):
        for v in range(len(s)):
            go.clear(s[v])
        for k in range(len(bin_node)):
            go.enter(s[bin_node[k]], x[k, start : start + ring.lanes(s[0])])

    @row
    def beside(s, a, parent, o):
        """o[c] = sum of a s over c's siblings, by prefix and suffix sums."""
        nodes = len(s)
        go.clear(o[0])
        for c in range(1, nodes):
            if c == 1 or parent[c] != parent[c - 1]:
                go.clear(o[c])
            else:
                go.copy(o[c], o[c - 1])
                go.increase(o[c], factor(a, c - 1), s[c - 1])
        run = np.empty(s.shape[1], s.dtype)
        for c in range(nodes - 1, 0, -1):
            if c == nodes - 1 or parent[c + 1] != parent[c]:
                go.clear(run)
            else:
                go.increase(run, factor(a, c + 1), s[c + 1])
            go.add(o[c], run)

    @row
    def outside(own, s, a, parent, o):
        """o[c] = sum at c's parent over all bins that are not below c."""
        beside(s, a, parent, o)
        for c in range(1, len(s)):
            u = parent[c]
            go.add(o[c], own[u])
            go.increase(o[c], factor(a, u), o[u])

    return Surroundings(scatter, beside, outside)


def _moments(ring, go, through, around):
    """Compile the product with K o M over one semiring."""
    factor = ring.factor

    @row
    def lift(s, a, w, parent, below, above):
        """below[v] = sum over the bins below v of distance K x, and above[v] the same seen from v's parent, over a."""
        for v in range(len(s)):
            go.clear(below[v])
        for v in range(len(s) - 1, 0, -1):
            go.copy(above[v], below[v])
            go.increase(above[v], factor(w, v), s[v])
            go.increase(below[parent[v]], factor(a, v), above[v])

    @row
    def moments(x, y, start, k0, a, w, parent, bin_node, t):
        """y = (k0 K o M) x: sums of distance K x below each node, and outside of it as far as it is from the node."""
        own, s, o, below, above, far = t[0], t[1], t[2], t[3], t[4], t[5]
        around.scatter(x, start, bin_node, own)
        around.scatter(x, start, bin_node, s)
        through.up(a, parent, s)
        around.outside(own, s, a, parent, o)
        lift(s, a, w, parent, below, above)
        around.beside(above, a, parent, far)
        for c in range(1, len(s)):
            go.increase(far[c], factor(w, c), o[c])
            go.increase(far[c], factor(a, parent[c]), far[parent[c]])
        for k in range(len(bin_node)):
            v = bin_node[k]
            go.increase(below[v], factor(a, v), far[v])
            go.scale(below[v], factor(k0, 0), below[v])
            go.leave(y[k, start : start + ring.lanes(s[0])], below[v])

    return moments


def _transport(ring, go, through, around, crosses):
    """Compile <T, M> over one semiring."""
    load, factor, times = ring.load, ring.factor, ring.times

    @row
    def crossing(value, cost, k, su, ov, sv, ou):
        """value + cost times what crosses an edge."""
        n = len(value)
        for i in range(n):
            value[i] += cost * crosses(k, load(su, i, n), load(ov, i, n), load(sv, i, n), load(ou, i, n))

    @row
    def transport(u, v, value, start, k0, a, cost, parent, bin_node, t):
        """value = <T, M> of the plan T = diag(u) k0 K diag(v): cost times the mass that crosses an edge either way."""
        own, su, sv, ou, ov = t[0], t[1], t[2], t[3], t[4]
        for x, s, o in ((u, su, ou), (v, sv, ov)):
            around.scatter(x, start, bin_node, own)
            around.scatter(x, start, bin_node, s)
            through.up(a, parent, s)
            around.outside(own, s, a, parent, o)
        here = value[start : start + ring.lanes(su[0])]
        for i in range(len(here)):
            here[i] = 0
        for c in range(1, len(su)):
            crossing(here, cost[c], times(factor(k0, 0), factor(a, c)), su[c], ov[c], sv[c], ou[c])

    return transport


linear_exchange, log_exchange = exchange(LINEAR), exchange(SCALED)
_linear_around, _log_around = _surroundings(LINEAR, linear_columns), _surroundings(SCALED, scaled_columns)
_linear_product = _products(LINEAR, linear_columns, linear)
_log_product = _products(SCALED, scaled_columns, scaled)
_linear_moments = _moments(LINEAR, linear_columns, linear, _linear_around)
_log_moments = _moments(SCALED, scaled_columns, scaled, _log_around)
_linear_transport = _transport(LINEAR, linear_columns, linear, _linear_around, linear_exchange)
_log_transport = _transport(SCALED, scaled_columns, scaled, _log_around, log_exchange)


@loop
def linear_product(first, last, x, y, tree):
    """y[:, first:last] = k0 K x[:, first:last]."""
    lanes = width(last - first)
    size = len(tree.order) + 2 * len(tree.parent)
    t = np.empty((size, lanes), x.dtype)
    for start in range(first, last, lanes):
        if last - start < lanes:
            t = np.empty((size, last - start), x.dtype)
        _linear_product(x, y, start, tree, t)


@loop
def log_product(first, last, x, y, tree):
    """y[:, first:last] = k0 K x[:, first:last] with x and y logarithms, and factors scaled."""
    lanes = width(last - first)
    size = len(tree.order) + 2 * len(tree.parent)
    t = np.empty((size, 2 * lanes), x.dtype)
    for start in range(first, last, lanes):
        if last - start < lanes:
            t = np.empty((size, 2 * (last - start)), x.dtype)
        _log_product(x, y, start, tree, t)


@loop
def linear_moments(first, last, x, y, k0, a, w, parent, bin_node):
    """y[:, first:last] = (k0 K o M) x[:, first:last], see `moments`; factors are (nodes, parts)."""
    for start in range(first, last, _TILE):
        t = np.empty((6, len(parent), min(_TILE, last - start)), x.dtype)
        _linear_moments(x, y, start, k0, a, w, parent, bin_node, t)


@loop
def log_moments(first, last, x, y, k0, a, w, parent, bin_node):
    """y[:, first:last] = (k0 K o M) x[:, first:last] with x and y logarithms; factors and edge costs w are scaled."""
    for start in range(first, last, _TILE):
        t = np.empty((6, len(parent), 2 * min(_TILE, last - start)), x.dtype)
        _log_moments(x, y, start, k0, a, w, parent, bin_node, t)


@loop
def linear_cost(first, last, u, v, value, k0, a, cost, parent, bin_node):
    """value[first:last] = <T, M>, see `transport`."""
    for start in range(first, last, _TILE):
        t = np.empty((5, len(parent), min(_TILE, last - start)), u.dtype)
        _linear_transport(u, v, value, start, k0, a, cost, parent, bin_node, t)


@loop
def log_cost(first, last, u, v, value, k0, a, cost, parent, bin_node):
    """value[first:last] = <T, M>, see `transport`, with u and v logarithms, and factors scaled."""
    for start in range(first, last, _TILE):
        t = np.empty((5, len(parent), 2 * min(_TILE, last - start)), u.dtype)
        _log_transport(u, v, value, start, k0, a, cost, parent, bin_node, t)


@loop
def log_factors(x, y):
    """y, (len(x), 2), from logarithms."""
    for k in range(len(x)):
        SCALED.store(y[k], 0, 1, SCALED.entered(x[k]))
