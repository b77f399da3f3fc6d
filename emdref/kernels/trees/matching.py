"""An optimal transport plan for rho = 1: from the leaves up, each node matches what is left of supply and demand.

What node v matches comes from different children, or from its own bin, so that it travels through v; and what v sends
on is of one sign, phi_v in all.  The plan therefore costs sum_v M_v |phi_v|, the EMD.  Masses are exact integers (see
`digits`): each entry of the plan is rounded once, on its way out, and nothing else is.

Nodes stand in breadth-first order: ``parent[v] < v`` and node 0 is the root.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.kernels.arithmetic import digits
from emdref.kernels.arithmetic.floats import div2, mul2
from emdref.kernels.compile.jit import loop, row

_NOBODY = -1


class Queues(NamedTuple):
    """Bins with mass to match, a queue at each node, all of one sign, the remotest in front."""

    first: NDArray[np.integer]  # (V,) bin, or nobody
    last: NDArray[np.integer]  # (V,)
    after: NDArray[np.integer]  # (N,) who stands behind each bin
    sign: NDArray[np.int8]  # (N,) 1 for supply, -1 for demand, 0 once nothing is left
    left: NDArray[np.int32]  # (N + 1, digits) how much is; the last row is scratch


class Entries(NamedTuple):
    """The plan as it grows."""

    row: NDArray[np.integer]
    col: NDArray[np.integer]
    mass: NDArray[np.float64]


class Unit(NamedTuple):
    """What integers count: 2**exponent in floats of so many bits, divided by h + l unless h is 0."""

    bits: int
    exponent: int
    h: float
    l: float


@row
def _amount(x, k, unit):
    """Row k of x as a float."""
    if unit.h == 0.0:
        return digits.nearest(x, k, unit.bits, unit.exponent)
    h, l, e = digits.as_limbs(x, k)
    return math.ldexp(div2(h, l, unit.h, unit.l)[0], e + unit.exponent)


@row
def _record(source, target, mass, entries, count):
    """Add an entry."""
    entries.row[count] = source
    entries.col[count] = target
    entries.mass[count] = mass
    return count + 1


@row
def _settle(a, b, sign, left):
    """Take from both bins what the lesser has; returns that one, whose digits are left for the record."""
    order = digits.compare(left, a, b)
    less, more = (a, b) if order < 0 else (b, a)
    digits.subtract(left, more, less)
    sign[less] = 0
    if order == 0:
        sign[more] = 0
    return less


@row
def _climb(parent, queues, unit, entries, count):
    """From the last node to the root: each queue meets the one at the parent, and what is left of it goes in front."""
    first, last, after, sign, left = queues
    for v in range(len(parent) - 1, 0, -1):
        u, a = parent[v], first[v]
        while a != _NOBODY and first[u] != _NOBODY and sign[a] != sign[first[u]]:
            b = first[u]
            source, target = (a, b) if sign[a] == 1 else (b, a)
            less = _settle(a, b, sign, left)
            count = _record(source, target, _amount(left, less, unit), entries, count)
            if sign[a] == 0:
                a = after[a]
            if sign[b] == 0:
                first[u] = after[b]
        if a != _NOBODY:
            if first[u] == _NOBODY:
                last[u] = last[v]
            else:
                after[last[v]] = first[u]
            first[u] = a
    return count


@row
def _stay(p, q, low, factors, bin_node, queues, unit, entries):
    """What need not move, min(p, q) of each bin, and a queue of one for the difference."""
    count, left, scratch = 0, queues.left, len(p)
    for k in range(len(p)):
        digits.clear(left, k)
        digits.clear(left, scratch)
        digits.add_multiple(p[k], low, factors, 0, left, k)
        digits.add_multiple(q[k], low, factors, 1, left, scratch)
        sign = digits.compare(left, k, scratch)
        less, more = (k, scratch) if sign < 0 else (scratch, k)
        if digits.top(left, less) >= 0:
            count = _record(k, k, _amount(left, less, unit), entries, count)
        digits.subtract(left, more, less)
        if more == scratch:
            digits.copy(left, k, scratch)
        queues.sign[k] = sign
        if sign != 0:
            queues.first[bin_node[k]] = queues.last[bin_node[k]] = k
    return count


@row
def _factors(p, q, low, high, normalize):
    """What p (row 0) and q (row 1) are multiplied by to have equal totals, if asked; how many bits that takes; and what
    they are divided by, (h + l) 2**e, or 2**e alone if h is 0."""
    factors = np.ones((2, 1), np.int32)
    if not normalize:
        return factors, high - low, 0.0, 0.0, -low
    totals = digits.totals(p, q, low, high)
    h, l, e = digits.as_limbs(totals, 0)
    if digits.compare(totals, 0, 1) == 0:
        return factors, high - low, h, l, e
    ah, al, d = digits.as_limbs(totals, 1)
    h, l = mul2(h, l, ah, al)
    bits = digits.bit_length(totals, 0) + digits.bit_length(totals, 1)
    return totals[::-1].copy(), bits, h, l, e + d


@loop
def plan(p, q, parent, bin_node, normalize, bits, row, col, mass):
    """Write the plan's entries, of so many significant bits, into row, col and mass; returns how many they are."""
    n, nodes = len(p), len(parent)
    low, high = digits.span(q, *digits.span(p, digits.FAR, -digits.FAR))
    factors, most, h, l, e = _factors(p, q, low, high, normalize)
    after, sign = np.full(n, _NOBODY), np.empty(n, np.int8)
    first, last = np.full(nodes, _NOBODY), np.empty(nodes, np.int64)
    queues = Queues(first, last, after, sign, np.empty((n + 1, digits.needed(most)), np.int32))
    unit, entries = Unit(bits, -e, h, l), Entries(row, col, mass)
    count = _stay(p, q, low, factors, bin_node, queues, unit, entries)
    return _climb(parent, queues, unit, entries, count)
