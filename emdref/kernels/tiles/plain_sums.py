"""Sums over the edges of a row in plain arithmetic of its dtype: the value, the mean of the slopes r, r itself."""

from emdref.kernels.arithmetic.edges import power, slope
from emdref.kernels.compile.jit import inline


@inline
def begin(zero):
    """Value, mean of r, sum of |slopes|."""
    return zero, zero, zero


@inline
def add_edge(sums, phi, cost, weight, rho, one):
    """Add an edge; its weight is the cost times the share of bins below."""
    value, mean, total = sums
    s = slope(phi, rho, one)
    return value + cost * power(phi, rho), mean + weight * s, total + cost * abs(s)


@inline
def join(sums, other):
    """The sums over two blocks of edges."""
    return sums[0] + other[0], sums[1] + other[1], sums[2] + other[2]


@inline
def beyond(r, phi, cost, rho, one):
    """r beyond an edge; one that costs nothing does not count, though its slope may have overflowed."""
    return r + cost * slope(phi, rho, one) if cost > 0 else r
