"""Products with K = exp(-lam M) on a tree in O(V) per histogram, without the matrix.

With a = exp(-lam w) for the edge above a node: sums up the tree, S[v] = x_v + sum over children of a_c S[c], then down,
R[root] = S[root] and R[v] = (1 - a_v^2) S[v] + a_v R[parent].  R at a bin's node is (K x) there.  No term is negative,
so nothing cancels.  The same lines serve the linear domain (plain numbers) and the log domain (scaled ones), see
`emdref.kernels.arithmetic.semirings`.

Tiles of as many rows as a vector has lanes are worked on together, each row by itself, so that the batch around a row
does not matter; a tile's memory is one vector a node and number, little enough for the processor's second cache.  Lanes
beyond the last row repeat it.  Nodes stand in breadth-first order: ``parent[v] < v`` and siblings side by side.
"""

from typing import Any, NamedTuple

from emdref.kernels.arithmetic.lanes import number, scratch, store, width
from emdref.kernels.arithmetic.semirings import LINEAR, SCALED
from emdref.kernels.compile.jit import inline, loop, row


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
    first: Any  # the leaves of inner node v are those from first[v] to first[v + 1]
    below: Any  # and the inner nodes below it those from below[v] to below[v + 1]


class Edges(NamedTuple):
    """All edges of the tree of a `Twigs`, for costs; the root has none, whatever stands in its place."""

    a: Any
    cost: Any
    above: Any  # number of the inner node above
    element: Any  # number of a leaf's bin in the order of `Twigs`, or that of an inner node after all bins
    start: Any  # the children of inner node v are the nodes from start[v] to start[v + 1]
    own: Any  # number of an inner node's bin, -1 for none
    most: Any  # children of a node


class Traversals(NamedTuple):
    """What `traversals` compiles: ways through a tree."""

    inward: Any
    turn: Any
    reach: Any
    outward: Any


def traversals(ring):
    """A tile of rows on its way through a tree, over a semiring."""
    load, store, factor, plus, times = ring.load, ring.store, ring.factor, ring.plus, ring.times

    @row
    def inward(x, tree, s):
        """s = what an inner node has of its own bin and of its leaves; x in the order of `Twigs`."""
        leaves, zero = len(tree.leaf_parent), ring.spread(ring.null(number(0.0, x)))
        for v in range(len(tree.parent)):
            store(s, v, zero)
        for j in range(len(tree.own)):
            store(s, tree.own[j], load(x, leaves + j))
        for v in range(len(tree.parent)):
            here = load(s, v)
            for j in range(tree.first[v], tree.first[v + 1]):
                here = plus(here, times(factor(tree.leaf_a, j), load(x, j)))
            store(s, v, here)

    @row
    def turn(tree, s, r):
        """r = R of the inner nodes, from what `inward` left in s."""
        for v in range(len(tree.parent) - 1, -1, -1):
            here = load(s, v)
            for c in range(tree.below[v + 1] - 1, tree.below[v] - 1, -1):
                here = plus(here, times(factor(tree.a, c), load(s, c)))
            store(s, v, here)
        store(r, 0, load(s, 0))
        for v in range(len(tree.parent)):
            here = load(r, v)
            for c in range(tree.below[v], tree.below[v + 1]):
                store(r, c, plus(times(factor(tree.b, c), load(s, c)), times(factor(tree.a, c), here)))

    @inline
    def reach(tree, j, k0, x, r):
        """k0 K x at leaf j, from x there and r of the node above."""
        return times(k0, plus(times(factor(tree.leaf_b, j), x), times(factor(tree.leaf_a, j), r)))

    @row
    def outward(x, y, tree, r):
        """y = k0 K x; y may be x."""
        leaves, k0 = len(tree.leaf_parent), factor(tree.k0, 0)
        for v in range(len(tree.parent)):
            for j in range(tree.first[v], tree.first[v + 1]):
                store(y, j, reach(tree, j, k0, load(x, j), load(r, v)))
        for j in range(len(tree.own)):
            store(y, leaves + j, times(k0, load(r, tree.own[j])))

    return Traversals(inward, turn, reach, outward)


linear, scaled = traversals(LINEAR), traversals(SCALED)


def exchange(ring):
    """How much of a plan crosses an edge, over a semiring."""
    plus, times, plain = ring.plus, ring.times, ring.plain

    @inline
    def crosses(k, su, ov, sv, ou):
        """k (su ov + sv ou), k first, so that no product exceeds the mass by more than entries of T do."""
        return plain(plus(times(times(k, su), ov), times(times(k, sv), ou)))

    return crosses


def _transfers(ring):
    """Compile the ways of a tile between scratch memory and the caller's (N, rows)."""

    @row
    def enter(x, k, start, s, v):
        """Elements number v from bin k of the tile's rows."""
        last = x.shape[1] - 1
        for i in range(width(s)):
            ring.give(s, ring.parts * v * width(s) + i, width(s), ring.entered(x[k, min(start + i, last)]))

    @row
    def leave(y, k, start, stop, s, v):
        for i in range(min(width(s), stop - start)):
            y[k, start + i] = ring.left(ring.take(s, ring.parts * v * width(s) + i, width(s)))

    return enter, leave


def _products(ring, through, enter, leave):
    """Compile the product with K over one semiring."""

    @row
    def product(x, y, start, stop, tree, t, s, r):
        """y = k0 K x for a tile of rows."""
        for j in range(len(tree.order)):
            enter(x, tree.order[j], start, t, j)
        through.inward(t, tree, s)
        through.turn(tree, s, r)
        through.outward(t, t, tree, r)
        for j in range(len(tree.order)):
            leave(y, tree.order[j], start, stop, t, j)

    return product


def _moments(ring, enter, leave):
    """Compile the product with K o M over one semiring."""
    load, store, factor, plus, times = ring.load, ring.store, ring.factor, ring.plus, ring.times

    @inline
    def increase(x, v, a, y):
        store(x, v, plus(load(x, v), times(a, y)))

    @row
    def beside(s, a, parent, o):
        """o[c] = sum of a s over c's siblings, by prefix and suffix sums."""
        zero = ring.spread(ring.null(number(0.0, s)))
        store(o, 0, zero)
        run = zero
        for c in range(1, len(parent)):
            run = zero if c == 1 or parent[c] != parent[c - 1] else plus(run, times(factor(a, c - 1), load(s, c - 1)))
            store(o, c, run)
        for c in range(len(parent) - 1, 0, -1):
            last = c == len(parent) - 1 or parent[c + 1] != parent[c]
            run = zero if last else plus(run, times(factor(a, c + 1), load(s, c + 1)))
            store(o, c, plus(load(o, c), run))

    @row
    def lift(s, a, w, parent, below, above):
        """below[v] = sum over the bins below v of distance K x, and above[v] the same seen from v's parent, over a."""
        for v in range(len(parent) - 1, 0, -1):
            store(above, v, plus(load(below, v), times(factor(w, v), load(s, v))))
            increase(below, parent[v], factor(a, v), load(above, v))

    @row
    def moments(x, y, start, stop, k0, a, w, parent, bin_node, t):
        """y = (k0 K o M) x: sums of distance K x below each node, and outside of it as far as it is from the node."""
        size = len(t) // 6
        own, s, o, below = t[:size], t[size : 2 * size], t[2 * size : 3 * size], t[3 * size : 4 * size]
        above, far, zero = t[4 * size : 5 * size], t[5 * size :], ring.spread(ring.null(number(0.0, t)))
        for v in range(len(parent)):
            store(own, v, zero)
            store(below, v, zero)
        for k in range(len(bin_node)):
            enter(x, k, start, own, bin_node[k])
        for v in range(len(parent)):
            store(s, v, load(own, v))
        for v in range(len(parent) - 1, 0, -1):
            increase(s, parent[v], factor(a, v), load(s, v))
        beside(s, a, parent, o)
        lift(s, a, w, parent, below, above)
        beside(above, a, parent, far)
        for c in range(1, len(parent)):
            u = parent[c]
            store(o, c, plus(load(o, c), load(own, u)))
            increase(o, c, factor(a, u), load(o, u))
            increase(far, c, factor(w, c), load(o, c))
            increase(far, c, factor(a, u), load(far, u))
        for k in range(len(bin_node)):
            v = bin_node[k]
            at = plus(load(below, v), times(factor(a, v), load(far, v)))
            store(below, v, times(factor(k0, 0), at))
            leave(y, k, start, stop, below, v)

    return moments


def transports(ring, crosses):
    """Compile <T, M> over one semiring."""
    load, store, factor, plus, times = ring.load, ring.store, ring.factor, ring.plus, ring.times

    @row
    def sums(x, y, tree, edges):
        """x and y with sums of all that is below inner nodes after the bins."""
        bins, zero = len(tree.order), ring.spread(ring.null(number(0.0, x)))
        for v in range(len(tree.parent) - 1, -1, -1):
            of_x, of_y, own = zero, zero, edges.own[v]
            if own >= 0:
                of_x, of_y = load(x, own), load(y, own)
            for c in range(edges.start[v + 1] - 1, edges.start[v] - 1, -1):
                a, k = factor(edges.a, c), edges.element[c]
                of_x, of_y = plus(of_x, times(a, load(x, k))), plus(of_y, times(a, load(y, k)))
            store(x, bins + v, of_x)
            store(y, bins + v, of_y)

    @row
    def outside(v, x, y, tree, edges, ox, oy, gx, gy):
        """gx, gy = sums at inner node v over all bins that are not below one child; ox, oy of those that are inner."""
        bins, start, stop, own = len(tree.order), edges.start[v], edges.start[v + 1], edges.own[v]
        zero, up = ring.spread(ring.null(number(0.0, x))), factor(tree.a, v)
        above_x, above_y, own_x, own_y = times(up, load(ox, v)), times(up, load(oy, v)), zero, zero
        if own >= 0:
            own_x, own_y = load(x, own), load(y, own)
        of_x, of_y = zero, zero
        for c in range(start, stop):
            a, k = factor(edges.a, c), edges.element[c]
            store(gx, c - start, of_x)
            store(gy, c - start, of_y)
            of_x, of_y = plus(of_x, times(a, load(x, k))), plus(of_y, times(a, load(y, k)))
        of_x, of_y = zero, zero
        for c in range(stop - 1, start - 1, -1):
            a, k = factor(edges.a, c), edges.element[c]
            there_x = plus(plus(plus(load(gx, c - start), of_x), own_x), above_x)
            there_y = plus(plus(plus(load(gy, c - start), of_y), own_y), above_y)
            store(gx, c - start, there_x)
            store(gy, c - start, there_y)
            if k >= bins:
                store(ox, k - bins, there_x)
                store(oy, k - bins, there_y)
            of_x, of_y = plus(of_x, times(a, load(x, k))), plus(of_y, times(a, load(y, k)))

    @row
    def transport(u, v, tree, edges, ou, ov, gu, gv):
        """<T, M> of the plan T = diag(u) k0 K diag(v): cost times the mass that crosses an edge either way."""
        zero = ring.spread(ring.null(number(0.0, u)))
        sums(u, v, tree, edges)
        store(ou, 0, zero)
        store(ov, 0, zero)
        value = ring.plain(zero)
        for w in range(len(tree.parent)):
            outside(w, u, v, tree, edges, ou, ov, gu, gv)
            start = edges.start[w]
            for c in range(start, edges.start[w + 1]):
                k, e = times(factor(tree.k0, 0), factor(edges.a, c)), edges.element[c]
                over = crosses(k, load(u, e), load(gv, c - start), load(v, e), load(gu, c - start))
                value = value + edges.cost[c] * over
        return value

    return transport


linear_exchange, log_exchange = exchange(LINEAR), exchange(SCALED)
linear_transport, log_transport = transports(LINEAR, linear_exchange), transports(SCALED, log_exchange)
_linear_enter, _linear_leave = _transfers(LINEAR)
_log_enter, _log_leave = _transfers(SCALED)
_linear_product = _products(LINEAR, linear, _linear_enter, _linear_leave)
_log_product = _products(SCALED, scaled, _log_enter, _log_leave)
_linear_moments = _moments(LINEAR, _linear_enter, _linear_leave)
_log_moments = _moments(SCALED, _log_enter, _log_leave)


@row
def room(parts, tree, like):
    """Memory for a tile: bins, and two things by inner node."""
    n, inner = parts * len(tree.order), parts * len(tree.parent)
    return scratch(n, like.dtype), scratch(inner, like.dtype), scratch(inner, like.dtype)


@row
def bin_room(parts, tree, like):
    """Four things by bin."""
    n = parts * len(tree.order)
    return scratch(n, like.dtype), scratch(n, like.dtype), scratch(n, like.dtype), scratch(n, like.dtype)


@row
def edge_room(parts, tree, edges, like):
    """Memory of `transport`: two things by bin and inner node, two by inner node, two by child of one node."""
    n, inner = parts * (len(tree.order) + len(tree.parent)), parts * len(tree.parent)
    most = parts * edges.most
    u, v, ou, ov = (
        scratch(n, like.dtype),
        scratch(n, like.dtype),
        scratch(inner, like.dtype),
        scratch(inner, like.dtype),
    )
    return u, v, ou, ov, scratch(most, like.dtype), scratch(most, like.dtype)


@loop
def linear_product(first, last, x, y, tree):
    """y[:, first:last] = k0 K x[:, first:last]."""
    t, s, r = room(1, tree, x)
    for start in range(first, last, width(x)):
        _linear_product(x, y, start, last, tree, t, s, r)


@loop
def log_product(first, last, x, y, tree):
    """y[:, first:last] = k0 K x[:, first:last] with x and y logarithms, and factors scaled."""
    t, s, r = room(2, tree, x)
    for start in range(first, last, width(x)):
        _log_product(x, y, start, last, tree, t, s, r)


@loop
def linear_moments(first, last, x, y, k0, a, w, parent, bin_node):
    """y[:, first:last] = (k0 K o M) x[:, first:last], see `moments`; factors are (nodes, parts)."""
    t = scratch(6 * len(parent), x.dtype)
    for start in range(first, last, width(x)):
        _linear_moments(x, y, start, last, k0, a, w, parent, bin_node, t)


@loop
def log_moments(first, last, x, y, k0, a, w, parent, bin_node):
    """y[:, first:last] = (k0 K o M) x[:, first:last] with x and y logarithms; factors and edge costs w are scaled."""
    t = scratch(12 * len(parent), x.dtype)
    for start in range(first, last, width(x)):
        _log_moments(x, y, start, last, k0, a, w, parent, bin_node, t)


@loop
def linear_cost(first, last, u, v, value, tree, edges):
    """value[first:last] = <T, M>, see `transport`."""
    a, b, ou, ov, gu, gv = edge_room(1, tree, edges, u)
    one = scratch(1, u.dtype)
    for start in range(first, last, width(u)):
        for j in range(len(tree.order)):
            _linear_enter(u, tree.order[j], start, a, j)
            _linear_enter(v, tree.order[j], start, b, j)
        store(one, 0, linear_transport(a, b, tree, edges, ou, ov, gu, gv))
        for i in range(min(width(u), last - start)):
            value[start + i] = one[i]


@loop
def log_cost(first, last, u, v, value, tree, edges):
    """value[first:last] = <T, M>, see `transport`, with u and v logarithms, and factors scaled."""
    a, b, ou, ov, gu, gv = edge_room(2, tree, edges, u)
    one = scratch(1, u.dtype)
    for start in range(first, last, width(u)):
        for j in range(len(tree.order)):
            _log_enter(u, tree.order[j], start, a, j)
            _log_enter(v, tree.order[j], start, b, j)
        store(one, 0, log_transport(a, b, tree, edges, ou, ov, gu, gv))
        for i in range(min(width(u), last - start)):
            value[start + i] = one[i]


@loop
def log_factors(x, y):
    """y, (len(x), 2), from logarithms."""
    for k in range(len(x)):
        y[k, 0], y[k, 1] = SCALED.entered(x[k])
