"""Sums over the edges of a row in plain arithmetic of its dtype: the value, the mean of the slopes r, r itself."""

from emdref.kernels.arithmetic.edges import power, slope
from emdref.kernels.compile.jit import inline


@inline
def begin(zero):
    """Value, mean of r, sum of |slopes|."""
    return zero, zero, zero


@inline
def terms(phi, cost, weight, rho, one):
    """What an edge adds to each of the sums; its weight is the cost times the share of bins below."""
    s = slope(phi, rho, one)
    return cost * power(phi, rho), weight * s, cost * abs(s)


@inline
def add_edge(sums, phi, cost, weight, rho, one):
    """Add an edge."""
    return join(sums, terms(phi, cost, weight, rho, one))


@inline
def join(sums, other):
    """The sums over two blocks of edges."""
    return sums[0] + other[0], sums[1] + other[1], sums[2] + other[2]


@inline
def beyond(r, phi, cost, rho, one):
    """r beyond an edge; one that costs nothing does not count, though its slope may have overflowed."""
    return r + cost * slope(phi, rho, one) if cost > 0 else r
