"""Products with K = exp(-lam M) on a tree in O(V) per histogram, without the matrix.

With a = exp(-lam w) for the edge above a node: sums up the tree, S[v] = x_v + sum over children of a_c S[c], then down,
R[root] = S[root] and R[v] = (1 - a_v^2) S[v] + a_v R[parent].  R at a bin's node is (K x) there.  No term is negative,
so nothing cancels.  The same lines serve the linear domain (+, *) and the log domain (logaddexp, +).

Arrays hold bins first, histograms last: (N, rows).  Tiles of `_TILE` rows are worked on together, rows innermost, each
row by itself, so that the batch around a row does not matter.  Nodes stand in breadth-first order: ``parent[v] < v``
and siblings side by side.
"""

import math

import numpy as np

from emdref.kernels.jit import loop, row

_TILE = 32
_FAR = -45.0  # exp(-45) = 3e-20: a smaller term of logaddexp leaves no trace in float64


@row
def add(x, y):
    return x + y


@row
def multiply(x, y):
    return x * y


@row
def itself(x):
    return x


@row
def exp(x):
    return math.exp(x)


@row
def logaddexp(x, y):
    """log(exp(x) + exp(y)) in the arithmetic of x's dtype."""
    if x < y:
        x, y = y, x
    d = y - x
    if y == -math.inf or d < _FAR:
        return x
    return x + math.log1p(math.exp(d))


def _recursions(plus, times, plain):
    """Compile the traversals for one semiring; `plain` turns its elements into numbers."""

    @row
    def increase(target, a, source):  # target + a source
        for i in range(len(target)):
            target[i] = plus(target[i], times(a, source[i]))

    @row
    def blend(target, b, a, source):  # b target + a source
        for i in range(len(target)):
            target[i] = plus(times(b, target[i]), times(a, source[i]))

    @row
    def scatter(x, start, zero, bin_node, s):
        for v in range(len(s)):
            for i in range(s.shape[1]):
                s[v, i] = zero
        for k in range(len(bin_node)):
            for i in range(s.shape[1]):
                s[bin_node[k], i] = x[k, start + i]

    @row
    def up(a, parent, s):
        for v in range(len(s) - 1, 0, -1):
            increase(s[parent[v]], a[v], s[v])

    @row
    def down(a, b, parent, s):
        for v in range(1, len(s)):
            blend(s[v], b[v], a[v], s[parent[v]])

    @row
    def product(x, y, start, zero, k0, a, b, parent, bin_node, s):
        """y = k0 K x for the tile of rows from `start` that fits s."""
        scatter(x, start, zero, bin_node, s)
        up(a, parent, s)
        down(a, b, parent, s)
        for k in range(len(bin_node)):
            for i in range(s.shape[1]):
                y[k, start + i] = times(k0, s[bin_node[k], i])

    @row
    def beside(s, zero, a, parent, o):
        """o[c] = sum of a s over c's siblings, by prefix and suffix sums."""
        nodes, width = s.shape
        for i in range(width):
            o[0, i] = zero
        for c in range(1, nodes):
            first = c == 1 or parent[c] != parent[c - 1]
            for i in range(width):
                o[c, i] = zero if first else plus(o[c - 1, i], times(a[c - 1], s[c - 1, i]))
        run = np.empty(width, s.dtype)
        for c in range(nodes - 1, 0, -1):
            if c == nodes - 1 or parent[c + 1] != parent[c]:
                run[:] = zero
            else:
                increase(run, a[c + 1], s[c + 1])
            for i in range(width):
                o[c, i] = plus(o[c, i], run[i])

    @row
    def outside(own, s, zero, a, parent, o):
        """o[c] = sum at c's parent over all bins that are not below c."""
        beside(s, zero, a, parent, o)
        for c in range(1, len(s)):
            u = parent[c]
            for i in range(s.shape[1]):
                o[c, i] = plus(plus(own[u, i], o[c, i]), times(a[u], o[u, i]))

    @row
    def lift(s, zero, a, w, parent, below, above):
        """below[v] = sum over the bins below v of distance K x, and above[v] the same seen from v's parent, over a."""
        for v in range(len(s)):
            for i in range(s.shape[1]):
                below[v, i] = zero
        for v in range(len(s) - 1, 0, -1):
            for i in range(s.shape[1]):
                above[v, i] = plus(below[v, i], times(w[v], s[v, i]))
            increase(below[parent[v]], a[v], above[v])

    @row
    def moments(x, y, start, zero, k0, a, w, parent, bin_node, t):
        """y = (k0 K o M) x: sums of distance K x below each node, and outside of it as far as it is from the node."""
        own, s, o, below, above, far = t[0], t[1], t[2], t[3], t[4], t[5]
        scatter(x, start, zero, bin_node, own)
        scatter(x, start, zero, bin_node, s)
        up(a, parent, s)
        outside(own, s, zero, a, parent, o)
        lift(s, zero, a, w, parent, below, above)
        beside(above, zero, a, parent, far)
        for c in range(1, len(s)):
            u = parent[c]
            for i in range(s.shape[1]):
                far[c, i] = plus(plus(times(w[c], o[c, i]), far[c, i]), times(a[u], far[u, i]))
        for k in range(len(bin_node)):
            v = bin_node[k]
            for i in range(s.shape[1]):
                y[k, start + i] = times(k0, plus(below[v, i], times(a[v], far[v, i])))

    @row
    def transport(u, v, value, start, zero, k0, a, cost, parent, bin_node, t):
        """value = <T, M> of the plan T = diag(u) k0 K diag(v): cost times the mass that crosses an edge either way."""
        own, su, sv, ou, ov = t[0], t[1], t[2], t[3], t[4]
        for x, s, o in ((u, su, ou), (v, sv, ov)):
            scatter(x, start, zero, bin_node, own)
            scatter(x, start, zero, bin_node, s)
            up(a, parent, s)
            outside(own, s, zero, a, parent, o)
        for i in range(su.shape[1]):
            value[start + i] = 0
            for c in range(1, len(su)):
                k = times(k0, a[c])  # first, so that no product exceeds the mass by more than the plan's entries do
                there, back = times(times(k, su[c, i]), ov[c, i]), times(times(k, sv[c, i]), ou[c, i])
                value[start + i] += cost[c] * plain(plus(there, back))

    return product, moments, transport


_linear_product, _linear_moments, _linear_transport = _recursions(add, multiply, itself)
_log_product, _log_moments, _log_transport = _recursions(logaddexp, add, exp)


@loop
def linear_product(first, last, x, y, zero, k0, a, b, parent, bin_node):
    """y[:, first:last] = k0 K x[:, first:last]."""
    for start in range(first, last, _TILE):
        s = np.empty((len(parent), min(_TILE, last - start)), x.dtype)
        _linear_product(x, y, start, zero, k0, a, b, parent, bin_node, s)


@loop
def log_product(first, last, x, y, zero, k0, a, b, parent, bin_node):
    """The same with every argument and result a logarithm."""
    for start in range(first, last, _TILE):
        s = np.empty((len(parent), min(_TILE, last - start)), x.dtype)
        _log_product(x, y, start, zero, k0, a, b, parent, bin_node, s)


@loop
def linear_moments(first, last, x, y, zero, k0, a, w, parent, bin_node):
    """y[:, first:last] = (k0 K o M) x[:, first:last], see `moments`."""
    for start in range(first, last, _TILE):
        t = np.empty((6, len(parent), min(_TILE, last - start)), x.dtype)
        _linear_moments(x, y, start, zero, k0, a, w, parent, bin_node, t)


@loop
def log_moments(first, last, x, y, zero, k0, a, w, parent, bin_node):
    """The same with every argument and result a logarithm, edge costs w included."""
    for start in range(first, last, _TILE):
        t = np.empty((6, len(parent), min(_TILE, last - start)), x.dtype)
        _log_moments(x, y, start, zero, k0, a, w, parent, bin_node, t)


@loop
def linear_cost(first, last, u, v, value, zero, k0, a, cost, parent, bin_node):
    """value[first:last] = <T, M>, see `transport`."""
    for start in range(first, last, _TILE):
        t = np.empty((5, len(parent), min(_TILE, last - start)), u.dtype)
        _linear_transport(u, v, value, start, zero, k0, a, cost, parent, bin_node, t)


@loop
def log_cost(first, last, u, v, value, zero, k0, a, cost, parent, bin_node):
    """The same with u, v, k0 and a logarithms."""
    for start in range(first, last, _TILE):
        t = np.empty((5, len(parent), min(_TILE, last - start)), u.dtype)
        _log_transport(u, v, value, start, zero, k0, a, cost, parent, bin_node, t)
