"""Two limbs, for the traversals of chains and trees; the same names as in `plain`."""

from emdref.kernels.arithmetic.floats import two_sum
from emdref.kernels.arithmetic.lanes import peek, poke
from emdref.kernels.compile.jit import inline
from emdref.kernels.cuda.first_look import four
from emdref.kernels.cuda.first_look import most_lost as most_lost
from emdref.kernels.tiles import two_limb_sums

PARTS, SIZE = 2, 7
join, mean = two_limb_sums.join, two_limb_sums.mean


@inline
def load(x, at, step):
    """A flow from scratch."""
    return peek(x, at), peek(x, at + step)


@inline
def store(x, at, step, a):
    """Write one."""
    poke(x, at, a[0])
    poke(x, at + step, a[1])


@inline
def enter(p, q):
    """p - q of one bin."""
    return two_sum(float(p), -float(q))


@inline
def null(a):
    """No flow, like a flow."""
    return 0.0, 0.0


@inline
def plus(a, b, lost, closely):
    """The sum of two flows, and what all sums lost."""
    h, l, lost = two_limb_sums.lifted(a[0], a[1], lost, b[0], b[1], closely)
    return (h, l), lost


@inline
def settled(a):
    """A flow as other operations want it."""
    return two_sum(a[0], a[1])


@inline
def number(a):
    """A settled flow as one number."""
    return a[0]


@inline
def begin(a):
    """The sums over no edge."""
    return two_limb_sums.begin(0.0)


@inline
def add_edge(reached, phi, cost, weight, rho, exempt):
    """The sums with one edge more."""
    return two_limb_sums.add_edge(reached, phi[0], phi[1], cost, weight, rho, exempt)


@inline
def load_sums(x, at, step):
    """Sums over edges from scratch."""
    a, b, c, d = four(x, at, step)
    at += 4 * step
    return a, b, c, d, peek(x, at), peek(x, at + step), peek(x, at + 2 * step)


@inline
def store_sums(x, at, step, reached):
    """Write them."""
    for i in range(7):
        poke(x, at + i * step, reached[i])


@inline
def minus(a):
    """-a."""
    return 0.0 - a[0], 0.0 - a[1]


@inline
def more(r, s):
    """The sum of slopes."""
    return two_limb_sums.more(r[0], r[1], s[0], s[1])


@inline
def slope(r, phi, cost, rho):
    """r beyond an edge."""
    return two_limb_sums.beyond(r[0], r[1], phi[0], phi[1], cost, rho)


@inline
def gradient(r, factor):
    """r times a factor."""
    return two_limb_sums.gradient(r[0], r[1], factor)


@inline
def value(reached):
    """The EMD."""
    return reached[0] + reached[1]


@inline
def judge(reached, lost, bounds, factor):
    """Whether a row must be done again, and whether its results are within the dtype's range."""
    rho, costs, edges, limit = bounds
    emd = value(reached)
    unsafe = two_limb_sums.unsafe(emd, lost, reached[4], reached[5], reached[6], rho, costs, edges)
    return unsafe, emd <= limit and 2.0 * factor * reached[4] <= limit


@inline
def weight(below, share, cost):
    """What an edge with so many bins below counts in the mean of r."""
    return float(below)
