"""Plain numbers of the inputs' dtype, for the traversals of chains and trees; the same names as in `two_limbs`.

A row's numbers stand `step` apart in flat scratch arrays, a flow in PARTS of them, sums over edges in SIZE.
"""

import math

from emdref.kernels.arithmetic.lanes import peek, poke
from emdref.kernels.compile.jit import inline
from emdref.kernels.tiles import plain_sums

PARTS, SIZE = 1, 3
join = plain_sums.join


@inline
def load(x, at, step):
    """A flow from scratch."""
    return peek(x, at)


@inline
def store(x, at, step, a):
    """Write one."""
    poke(x, at, a)


@inline
def enter(p, q):
    """p - q of one bin."""
    return p - q


@inline
def null(a):
    """No flow, like a flow."""
    return type(a)(0)


@inline
def plus(a, b, lost, closely):
    """The sum of two flows, and what all sums lost."""
    return a + b, lost


@inline
def settled(a):
    """A flow as other operations want it."""
    return a


@inline
def number(a):
    """A settled flow as one number."""
    return a


@inline
def begin(a):
    """The sums over no edge."""
    return plain_sums.begin(type(a)(0))


@inline
def add_edge(reached, phi, cost, weight, rho, exempt):
    """The sums with one edge more."""
    return plain_sums.add_edge(reached, phi, cost, weight, rho, type(phi)(1))


@inline
def load_sums(x, at, step):
    """Sums over edges from scratch."""
    return peek(x, at), peek(x, at + step), peek(x, at + 2 * step)


@inline
def store_sums(x, at, step, reached):
    """Write them."""
    for i in range(3):
        poke(x, at + i * step, reached[i])


@inline
def mean(reached, share):
    """The mean of r; 0 if its share is 0."""
    return reached[1] if share > 0 else type(share)(0)


@inline
def minus(a):
    """-a."""
    return type(a)(0) - a


@inline
def more(r, s):
    """The sum of slopes."""
    return r + s


@inline
def slope(r, phi, cost, rho):
    """r beyond an edge."""
    return plain_sums.beyond(r, phi, cost, rho, type(phi)(1))


@inline
def gradient(r, factor):
    """r times a factor."""
    return r * factor


@inline
def value(reached):
    """The EMD."""
    return reached[0]


@inline
def most_lost(record, lost, closely, digits, entries):
    """Bound of what a row's flows have lost."""
    return lost


@inline
def judge(reached, lost, bounds, factor):
    """Whether a row must be done again, and whether its results are within the dtype's range."""
    top = type(factor)(math.inf)
    return False, reached[0] < top and reached[2] * (factor + factor) < top


@inline
def weight(below, share, cost):
    """What an edge with so many bins below counts in the mean of r."""
    return type(cost)(below) * share * cost
