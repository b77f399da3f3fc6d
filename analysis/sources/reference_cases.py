"""The inputs of the graded reference data: spaces, pairs of histograms, and which of them make a grade.

Made of integers and hashes alone, without a random generator or the C library's functions, so that every machine makes
the same floats.
"""

from fractions import Fraction
from hashlib import shake_256
from typing import NamedTuple

import numpy as np

F32, F64 = np.float32, np.float64
BOTH = (F32, F64)


# --- numbers told by a name -------------------------------------------------------------------------------------------


def drawn(name, count, below):
    """`count` integers from 0 to below - 1."""
    digests = (shake_256(f"{name} {i}".encode()).digest(16) for i in range(count))
    return [int.from_bytes(x, "big") % below for x in digests]


def shuffled(name, items):
    """The items in the order of their hashes."""
    items = list(items)
    keys = drawn(name, len(items), 2**128)
    return [items[i] for i in sorted(range(len(items)), key=keys.__getitem__)]


def rounded(numbers, dtype):
    """Rationals as floats of the dtype, to nearest by way of float64."""
    return [float(dtype(x.numerator / x.denominator)) for x in numbers]


# --- spaces -----------------------------------------------------------------------------------------------------------


class Space(NamedTuple):
    """A rooted tree; a chain's nodes are its bins, its root the last of them.  The phrase ends a sentence."""

    kind: str
    parent: list
    cost: list
    bins: list
    phrase: str


def sixteenths(name, size):
    """Costs up to 4 that stay exact in any sum or product of easy numbers."""
    return [(1 + x) / 16 for x in drawn(f"costs of {name}", size, 64)]


def chain(phrase, gaps):
    n = len(gaps) + 1
    return Space("chain", [*range(1, n), -1], [*gaps, 0.0], list(range(n)), f"on a chain of {phrase}")


def tree(phrase, parent, cost=None, bins=None):
    """A tree with costs of its own, by default, and a bin at each leaf, in ascending order."""
    cost = cost or sixteenths(phrase, len(parent))
    cost = [0.0 if u < 0 else m for u, m in zip(parent, cost, strict=True)]
    leaves = [v for v in range(len(parent)) if v not in parent]
    return Space("tree", parent, cost, bins or leaves, f"on {phrase}")


def renumbered(space):
    """The same tree with node numbers that tell nothing about its shape, and a root that is not node 0."""
    size = len(space.parent)
    number = shuffled(space.phrase, range(size))
    if number[space.parent.index(-1)] == 0:
        number = number[1:] + number[:1]
    old = sorted(range(size), key=number.__getitem__)
    parent = [-1 if space.parent[v] < 0 else number[space.parent[v]] for v in old]
    return space._replace(parent=parent, cost=[space.cost[v] for v in old], bins=[number[v] for v in space.bins])


def random_parents(name, size):
    """Each node hangs from an earlier one."""
    return [-1, *(x % v for v, x in enumerate(drawn(f"parents of {name}", size - 1, 2**60), 1))]


def far_costs(size, octaves):
    """2**octaves, 1 and 2**-octaves in turn."""
    return [2.0 ** (octaves * (1 - v % 3)) for v in range(size)]


def random_tree(phrase, size):
    return renumbered(tree(phrase, random_parents(phrase, size)))


def inner_bins(phrase):
    """Bins at five nodes and at the root; leaves without a bin are left bare."""
    bins = shuffled(phrase, [0, *shuffled(f"{phrase}, bins", range(1, 11))[:5]])
    return renumbered(tree(phrase, random_parents(phrase, 11), bins=bins))


def zero_edges(phrase):
    parent = random_parents(phrase, 13)
    cost = [m * (v % 2) for v, m in enumerate(sixteenths(phrase, 13))]
    return renumbered(tree(phrase, parent, cost))


CATERPILLAR = [-1] + [v - 1 if v % 2 else v - 2 for v in range(1, 13)]
GROUPS = [-1, *3 * [0], *(1 + k // 3 for k in range(9))]
LINKS = [-1, 0, 1, 1, 2, 3, 4, 4, 5, 8]
MIDDLE = [-1, 0, 0, 1, 1, 2, 2]
PATH_BINS = [8, 2, 10, 0, 6, 4]


def spaces():
    """All of them by name."""
    unit = [1.0] * 23
    tenths = rounded([Fraction(k, 10) for k in (1, 7, 3, 9, 2)], F32)
    return {
        "one_bin": chain("one bin, which has no gap", []),
        "two_bins": chain("two bins", [0.75]),
        "unit": chain("unit gaps", unit[:5]),
        "unit12": chain("twelve bins and unit gaps", unit[:11]),
        "unit24": chain("24 bins and unit gaps", unit),
        "uneven": chain("uneven gaps", sixteenths("uneven", 7)),
        "tenths": chain("gaps that are no short binary fractions", tenths),
        "zero_gap": chain("gaps of which one costs 0", [1.0, 0.0, 2.5, 0.5, 0.125]),
        "far32": chain("gaps that are 2^120 apart", far_costs(5, 60)),
        "far64": chain("gaps that are 2^600 apart", far_costs(5, 300)),
        "small": chain("gaps of 2^-40", [2.0**-40] * 5),
        "ellyvan": tree("the tree of Fig. 1 of arXiv 1611.07573, rooted at a pair", [-1, 0, 0, 0, 1, 1], unit[:6]),
        "middle": tree(
            "the tree of Fig. 1 of arXiv 1611.07573, rooted amid its inner edge", MIDDLE, [0.0, 0.5, 0.5, *unit[:4]]
        ),
        "star": tree("a star", [-1] + 6 * [0]),
        "path": tree("a path with a bin at every second node, in shuffled order", [*range(-1, 10)], bins=PATH_BINS),
        "deep": tree("a path that hangs from its first node", [*range(-1, 7)], bins=[7, 6, 5, 4, 3, 2, 1]),
        "caterpillar": tree("a caterpillar", CATERPILLAR),
        "groups": tree("a tree of three groups of three leaves", GROUPS),
        "unary": tree("a tree with unary nodes, one of them above all bins", LINKS),
        "random": random_tree("a random tree with shuffled node numbers", 16),
        "random40": random_tree("a random tree of 40 nodes with shuffled numbers", 40),
        "inner": inner_bins("a tree with bins on inner nodes and on the root"),
        "zero_edges": zero_edges("a tree with edges of cost 0"),
        "far_tree": tree("a star whose costs are 2^600 apart", [-1] + 6 * [0], far_costs(7, 300)),
    }


# --- histograms: p and q of n bins; the docstring, which opens the case's "why", says what is hard about them ---------


def significands(name, n, dtype):
    """Integers with as many digits as the dtype has."""
    top = 2 ** np.finfo(dtype).nmant
    return [top + x for x in drawn(name, n, top)]


def octaves(name, n, dtype, most):
    """Full significands times powers of two from 1 down to 2**-most."""
    down = drawn(f"{name} octaves", n, most + 1)
    size = np.finfo(dtype).nmant
    return [Fraction(x, 2 ** (size + k)) for x, k in zip(significands(name, n, dtype), down, strict=True)]


def normalized(numbers, dtype):
    """As a softmax leaves them: each divided by the total and rounded."""
    total = sum(numbers)
    return rounded([x / total for x in numbers], dtype)


def moved(p, order):
    return p, [p[k] for k in order]


def turned(n):
    """Each three bins in turn; in the opposite order, differences would cancel without rounding."""
    return [k for a in range(0, n, 3) for k in [*range(a + 1, min(a + 3, n)), a]]


def parts(d):
    """What is positive, and what is negative; no -0.0, which max(-x, 0.0) would leave."""
    return [max(0.0, x) for x in d], [max(0.0, -x) for x in d]


def sixty_fourths(name, n, dtype):
    """Short binary fractions, which floats add and multiply without rounding."""
    p = [x / 64 for x in drawn(name, n, 16)]
    return moved([p[0] + 0.25, *p[1:]], shuffled(name, range(n)))


def local(name, n, dtype):
    """Short fractions that move within threes of bins: where nothing flows EMD has a kink, s = 0."""
    p = [(1 + x) / 64 for x in drawn(name, n, 16)]
    return moved(p, turned(n))


def equal(name, n, dtype):
    """p = q: every flow and every gradient is 0."""
    p = [(1 + x) / 64 for x in drawn(name, n, 16)]
    return p, p


def more_mass(name, n, dtype):
    """Totals that differ by a factor: the difference rests at the root."""
    p = [(1 + x) / 64 for x in drawn(name, n, 16)]
    return p, [2 * x for x in reversed(p)]


def tenths(name, n, dtype):
    """The paper's f and y, f rounded to the dtype, so that 0.4 - 0.5 is not exactly -0.1."""
    return rounded([Fraction(k, 10) for k in (2, 4, 2, 2)], dtype), [0.0, 0.5, 0.5, 0.0]


def whole(name, n, dtype):
    """Ten times the paper's f and y, in integers."""
    return [2.0, 4.0, 2.0, 2.0], [0.0, 5.0, 5.0, 0.0]


def softmax(name, n, dtype):
    """Two histograms as a softmax gives them, whose totals are 1 but for rounding."""
    return normalized(octaves(f"{name} p", n, dtype, 5), dtype), normalized(octaves(f"{name} q", n, dtype, 5), dtype)


def one_hot(name, n, dtype):
    """A softmax against a one-hot target."""
    hot = drawn(f"{name} hot", 1, n)[0]
    return normalized(octaves(name, n, dtype, 5), dtype), [float(k == hot) for k in range(n)]


def counts(name, n, dtype):
    """Integer counts, many of them 0, of different totals."""
    return [[1.0, *map(float, drawn(f"{name} {x}", n - 1, 4))] for x in "pq"]


def blocks(name, n, dtype):
    """q is p, each three bins moved on in turn: flows between threes are exactly 0, where floats leave noise."""
    return moved(normalized(octaves(name, n, dtype, 8), dtype), turned(n))


def one_ulp(name, n, dtype):
    """q is p with every bin one ulp up or down: flows of a few ulps, which a difference of sums loses."""
    p = normalized(octaves(name, n, dtype, 2), dtype)
    return p, [float(np.nextafter(dtype(x), dtype(k % 2))) for k, x in enumerate(p)]


def peaked(name, n, dtype):
    """Masses over 30 octaves, q the same in another order."""
    return moved(normalized(octaves(name, n, dtype, 30), dtype), shuffled(name, range(n)))


def shared(name, n, dtype):
    """A large mass in the first bin of both: the difference of two cumulative sums loses the rest."""
    p, q = softmax(name, n, dtype)
    large = 2.0 ** np.finfo(dtype).nmant
    return [large, *p[1:]], [large, *q[1:]]


def much_more(name, n, dtype):
    """Two histograms of full significands, q with about a thousand times the mass of p."""
    p, q = softmax(name, n, dtype)
    return p, [1000 * x if dtype is F64 else float(F32(1000) * F32(x)) for x in q]


def needles(name, n, dtype):
    """(1, 2^-60, 2^-120) and its negative, shuffled: flows are exact zeros or tiny beside what has passed."""
    d = shuffled(name, [*(s * 2.0**-k for s in (1, -1) for k in (0, 60, 120)), *[0.0] * (n - 6)])
    return parts(d)


def staircase(name, n, dtype):
    """(1, 2^-60, 2^-120, -1, -2^-60, ...): two float64 limbs lose the last flow's sign."""
    d = ([1.0, 2.0**-60, 2.0**-120, -1.0, -(2.0**-60)] + [0.0] * n)[:n]
    return parts(d)


def subnormal(name, n, dtype):
    """Subnormal masses, whose powers are below the dtype's range."""
    unit = float(np.finfo(dtype).smallest_subnormal)
    p = [x * unit for x in [1, *drawn(name, n - 1, 16)]]
    return moved(p, shuffled(name, range(n)))


def near_overflow(name, n, dtype):
    """Totals near the end of the dtype's range, whose powers are beyond it."""
    p = [x * float(np.finfo(dtype).max / 2) for x in normalized(octaves(name, n, dtype, 5), dtype)]
    return moved(rounded(map(Fraction, p), dtype), shuffled(name, range(n)))


def spread(name, n, dtype):
    """Powers of two from 1 down to 2^-1000 (float32: 2^-140), q the same in another order."""
    lowest = 1000 if dtype is F64 else 140
    return moved([2.0 ** -(lowest * k // (n - 1)) for k in range(n)], shuffled(name, range(n)))


# --- grades -----------------------------------------------------------------------------------------------------------

# (histograms, spaces, dtypes)
GRADES = {
    "easy": [
        (sixty_fourths, "two_bins unit uneven zero_gap star path caterpillar random unary inner zero_edges", BOTH),
        (more_mass, "one_bin unit ellyvan inner", BOTH),
        (local, "unit groups", BOTH),
        (equal, "uneven random", BOTH),
        (whole, "ellyvan middle", BOTH),
    ],
    "ordinary": [
        (softmax, "unit uneven star caterpillar random zero_edges", BOTH),
        (one_hot, "unit12 zero_gap tenths path inner unary", BOTH),
        (counts, "unit24 random40", BOTH),
        (tenths, "ellyvan middle", BOTH),
    ],
    "hard": [
        (blocks, "unit12 unit24 groups", BOTH),
        (one_ulp, "unit caterpillar", BOTH),
        (peaked, "uneven path random40", BOTH),
        (shared, "unit inner", BOTH),
        (much_more, "zero_gap unary", BOTH),
    ],
    "hostile": [
        (needles, "unit unit24 random", BOTH),
        (staircase, "unit deep", BOTH),
        (subnormal, "unit star", BOTH),
        (near_overflow, "small", BOTH),
        (spread, "unit path", BOTH),
        (one_hot, "far32", (F32,)),
        (one_hot, "far64 far_tree", (F64,)),
    ],
}
