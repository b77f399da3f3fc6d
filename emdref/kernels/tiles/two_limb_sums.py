"""Sums over the edges of a row in two limbs for rho in {1, 2, 3, 4}: the value, the mean of the slopes r, r itself.

What two limbs of a flow cannot hold is bounded from a row's largest total and smallest entry, which for most rows gives
0, or else added up.  A row in which it could matter, or which leaves a wide range, is unsafe.

Sums of slopes and of the value are kept as a high limb, exact but for what goes into the low one, and plain low limbs.
They are formed in one order whatever the machine, so that all come to the same bits: edges one by one within a block of
`EDGES` nodes or `inspection.COLUMNS` bins, then blocks one by one.
"""

import math

from emdref.kernels.arithmetic.edges import edge2, power
from emdref.kernels.arithmetic.floats import times2, two_prod, two_sum
from emdref.kernels.arithmetic.lanes import greater, lesser, product
from emdref.kernels.compile.jit import inline, row

EDGES = 64  # nodes of a tree whose edges are summed before they are added to the rest
_RELATIVE = 2.0**-57  # what errors of phi may change, relative to the value or to max |r|
_LEAST, _MOST = 2.0**-900, 2.0**900  # value and slopes between them: nothing under- or overflowed on the way


@inline
def more(h, l, xh, xl):
    """h + l plus xh + xl: what the high limb loses goes into the low one."""
    h, e = two_sum(h, xh)
    return h, l + (xl + e)


@inline
def lifted(h, l, lost, xh, xl, closely):
    """A flow h + l plus xh + xl; what the low limb loses is added up if asked."""
    if not closely:
        h, l = more(h, l, xh, xl)
        return h, l, lost
    h, e = two_sum(h, xh)
    l, a = two_sum(l, xl)
    l, b = two_sum(l, e)
    return h, l, lost + (abs(a) + abs(b))


@inline
def begin(zero):
    """Sums over edges: value, mean of r times N, sum of |slope|, smallest |phi| that may err, largest."""
    return zero, zero, zero, zero, zero, zero + math.inf, zero


@inline
def terms(h, l, cost, below, rho):
    """Limbs of what the edge of a normal flow h + l, with that many bins below, adds to value and mean; its slope's."""
    th, tl, sh, sl = edge2(h, l, cost, rho)
    mh, ml = two_prod(below, sh)
    return th, tl, mh, ml + product(below, sl), sh, sl


@inline
def add_terms(sums, added, h, exempt):
    """Add an edge by its `terms`; `exempt` is inf if its flow is exact anyhow."""
    value_h, value_l, mean_h, mean_l, total, least, most = sums
    th, tl, mh, ml, sh, _ = added
    value_h, value_l = more(value_h, value_l, th, tl)
    mean_h, mean_l = more(mean_h, mean_l, mh, ml)
    return value_h, value_l, mean_h, mean_l, total + abs(sh), lesser(least, abs(h) + exempt), greater(most, abs(h))


@inline
def add_edge(sums, h, l, cost, below, rho, exempt):
    """Add an edge."""
    return add_terms(sums, terms(h, l, cost, below, rho), h, exempt)


@inline
def join(sums, other):
    """The sums over two blocks of edges."""
    value_h, value_l, mean_h, mean_l, total, least, most = other
    value_h, value_l = more(sums[0], sums[1], value_h, value_l)
    mean_h, mean_l = more(sums[2], sums[3], mean_h, mean_l)
    return value_h, value_l, mean_h, mean_l, sums[4] + total, lesser(sums[5], least), greater(sums[6], most)


@inline
def mean(sums, share):
    """The mean of r, or 0 if share, which is N or 0, is 0."""
    h, l = sums[2], sums[3]
    if share == 0.0:
        return h - h, l - l
    q = h / share
    p, e = two_prod(q, share)
    return q, ((h - p) - e + l) / share


@inline
def beyond(rh, rl, h, l, cost, rho):
    """r beyond an edge."""
    if cost == 0.0:
        return rh, rl
    _, _, sh, sl = edge2(h, l, cost, rho)
    return more(rh, rl, sh, sl)


@inline
def gradient(rh, rl, factor):
    if factor != 1.0:
        rh, rl = times2(rh, rl, factor, factor - factor)
    return rh + rl


@row
def most_lost(total, low, digits, entries):
    """Bound of what the low limbs of a row's flows can have lost, from its larger total and smallest entry > 0.

    All entries are multiples of the last digit of the smallest one > 0.  A flow is at most the larger total, T, so the
    low limb is at most `entries` 2**-53 T; while that has no more than 53 digits nothing is lost, and else each of two
    sums an entry and a node loses 2**-53 of it.
    """
    limb = entries * total * 2.0**-52
    return 0.0 if limb < low * 2.0 ** (53 - digits) else 4.0 * entries * limb * 2.0**-53


@row
def unsafe(value, lost, total, least, most, rho, costs, edges):
    """True where the flows' errors or the range could be seen in a row's value or gradient."""
    if lost > 0.0:
        steepest = total / edges  # some |r| is at least half of it
        bend = rho * (rho - 1.0) * power(most, max(rho - 2.0, 0.0)) * costs  # how r can change
        if not (least > 2.0 * lost and 2.0 * lost * total <= _RELATIVE * value and lost * bend <= _RELATIVE * steepest):
            return True
    if most == 0.0 and value == 0.0:
        return False
    return not (_LEAST < value < _MOST and _LEAST < total < _MOST)
