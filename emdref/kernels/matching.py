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

from emdref.kernels import digits
from emdref.kernels.floats import div2, mul2
from emdref.kernels.jit import loop, row

_NOBODY = -1


class Queues(NamedTuple):
    """Bins with mass to match, a queue at each node, all of one sign, the oldest in front."""

    first: NDArray[np.integer]  # (V,) bin, or nobody
    last: NDArray[np.integer]  # (V,)
    after: NDArray[np.integer]  # (N,) who stands behind each bin
    sign: NDArray[np.int8]  # (N,) 1 for supply, -1 for demand, 0 once nothing is left
    left: NDArray[np.int32]  # (N, digits) how much is


class Entries(NamedTuple):
    """The plan as it grows."""

    row: NDArray[np.integer]
    col: NDArray[np.integer]
    mass: NDArray[np.float64]


class Unit(NamedTuple):
    """What integers count: 2**exponent / (h + l); their floats have so many bits, where h + l is 1."""

    bits: int
    exponent: int
    h: float
    l: float
    divides: bool


@row
def _amount(x, unit):
    """The integer x as a float."""
    if not unit.divides:
        return digits.nearest(x, unit.bits, unit.exponent)
    h, l, e = digits.as_limbs(x)
    return math.ldexp(div2(h, l, unit.h, unit.l)[0], e + unit.exponent)


@row
def _record(source, target, x, unit, entries, count):
    """Add x > 0 from source to target; a quotient may be below the range of floats, and is no entry then."""
    mass = _amount(x, unit)
    if mass == 0.0:
        return count
    entries.row[count] = source
    entries.col[count] = target
    entries.mass[count] = mass
    return count + 1


@row
def _match(a, b, queues, unit, entries, count):
    """Send what two bins of opposite sign have in common; one of them at least has nothing left then."""
    sign, left = queues.sign, queues.left
    order = digits.compare(left[a], left[b])
    less, more = (a, b) if order < 0 else (b, a)
    source, target = (a, b) if sign[a] > 0 else (b, a)
    count = _record(source, target, left[less], unit, entries, count)
    digits.subtract(left[more], left[less], left[more])
    sign[less] = 0
    if order == 0:
        sign[more] = 0
    return count


@row
def _arrive(v, first, last, queues, unit, entries, count):
    """Match the queue first ... last with the one at node v as long as their signs differ; the rest stays at v."""
    here, after, sign = queues.first, queues.after, queues.sign
    while first != _NOBODY and here[v] != _NOBODY and sign[first] != sign[here[v]]:
        a = here[v]
        count = _match(a, first, queues, unit, entries, count)
        if sign[a] == 0:
            here[v] = after[a]
        if sign[first] == 0:
            first = after[first]
    if first != _NOBODY:
        if here[v] == _NOBODY:
            here[v] = first
        else:
            after[queues.last[v]] = first
        queues.last[v] = last
    return count


@row
def _stay(p, q, low, p_factor, q_factor, scratch, queues, unit, entries):
    """What need not move, min(p, q) of each bin, and the difference as what is left."""
    count, x, y = 0, scratch[0], scratch[1]
    for k in range(len(p)):
        digits.clear(x)
        digits.clear(y)
        digits.add_multiple(p[k], low, p_factor, x)
        digits.add_multiple(q[k], low, q_factor, y)
        sign = digits.compare(x, y)
        less, more = (x, y) if sign < 0 else (y, x)
        if digits.top(less) >= 0:
            count = _record(k, k, less, unit, entries, count)
        digits.subtract(more, less, queues.left[k])
        queues.sign[k] = sign
    return count


@row
def _climb(parent, bin_at, queues, unit, entries, count):
    """From the last node to the root: a node's own bin comes after what came from below, then all goes up."""
    for v in range(len(parent) - 1, -1, -1):
        k = bin_at[v]
        if k != _NOBODY and queues.sign[k] != 0:
            count = _arrive(v, k, k, queues, unit, entries, count)
        if v > 0 and queues.first[v] != _NOBODY:
            count = _arrive(parent[v], queues.first[v], queues.last[v], queues, unit, entries, count)
    return count


@row
def _total(x, low, size):
    """The sum of x in units of 2**low, without leading zeros."""
    one, total = np.ones(1, np.int32), np.zeros(size, np.int32)
    for k in range(len(x)):
        digits.add_multiple(x[k], low, one, total)
    return total[: digits.top(total) + 1]


@row
def _factors(p, q, low, high, normalize):
    """What p and q are multiplied by to have equal totals if asked, and what those are divided by: (h + l) 2**e."""
    p_factor, q_factor = np.ones(1, np.int32), np.ones(1, np.int32)
    h, l, e = 1.0, 0.0, -low
    if normalize:
        size = digits.needed(high - low + math.frexp(float(len(p)))[1])
        p_total, q_total = _total(p, low, size), _total(q, low, size)
        if len(p_total) != len(q_total) or digits.compare(p_total, q_total) != 0:
            p_factor, q_factor = q_total, p_total
        h, l, e = digits.as_limbs(p_total)
        ah, al, d = digits.as_limbs(p_factor)
        h, l = mul2(h, l, ah, al)
        e += d
    return p_factor, q_factor, h, l, e


@loop
def plan(p, q, parent, bin_node, normalize, bits, row, col, mass):
    """Write the plan's entries, of so many significant bits, into row, col and mass; returns how many they are."""
    n, nodes, index = len(p), len(parent), row.dtype
    low, high = digits.span(q, *digits.span(p, 2000, -2000))
    p_factor, q_factor, h, l, e = _factors(p, q, low, high, normalize)
    unit = Unit(bits, -e, h, l, normalize)
    size = digits.needed(high - low + max(digits.bit_length(p_factor), digits.bit_length(q_factor)))
    after, sign = np.full(n, _NOBODY, index), np.empty(n, np.int8)
    first, last = np.full(nodes, _NOBODY, index), np.empty(nodes, index)
    queues = Queues(first, last, after, sign, np.empty((n, size), np.int32))
    entries = Entries(row, col, mass)
    scratch = np.empty((2, size), np.int32)
    count = _stay(p, q, low, p_factor, q_factor, scratch, queues, unit, entries)
    bin_at = np.full(nodes, _NOBODY, index)
    for k in range(n):
        bin_at[bin_node[k]] = k
    return _climb(parent, bin_at, queues, unit, entries, count)
