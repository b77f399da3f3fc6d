"""A first look at a row by the threads that read it: emdref.kernels.tiles.inspection, a part of the row a thread.

A record holds two limbs of p's total, two of q's, the smallest entry, and the smallest one > 0, all in one dtype.
"""

import math

from emdref.kernels.arithmetic.floats import two_sum
from emdref.kernels.arithmetic.lanes import peek, poke, product
from emdref.kernels.compile.jit import inline
from emdref.kernels.tiles import inspection, two_limb_sums

SIZE = 6


@inline
def blank(zero):
    """Nothing seen."""
    inf = type(zero)(math.inf)
    return zero, zero, zero, zero, inf, inf


@inline
def _add(h, l, x):
    h, e = two_sum(h, x)
    return h, l + e


@inline
def _lower(low, x):
    """The smaller one; a NaN stays."""
    return low if low <= x else x


@inline
def _lower_positive(low, x):
    return x if type(x)(0) < x < low else low


@inline
def note(record, a, b):
    """One bin's two entries seen."""
    ph, pl, qh, ql, least, low = record
    ph, pl = _add(ph, pl, a)
    qh, ql = _add(qh, ql, b)
    return ph, pl, qh, ql, _lower(_lower(least, a), b), _lower_positive(_lower_positive(low, a), b)


@inline
def merge(record, other):
    """Two threads' records as one."""
    ph, pl, qh, ql, least, low = record
    ph, pl = _add(ph, pl + other[1], other[0])
    qh, ql = _add(qh, ql + other[3], other[2])
    return ph, pl, qh, ql, _lower(least, other[4]), _lower_positive(low, other[5])


@inline
def put(x, at, step, record):
    """Write a record."""
    for i in range(SIZE):
        poke(x, at + i * step, record[i])


@inline
def four(x, at, step):
    """Four numbers that stand `step` apart, under way together."""
    return peek(x, at), peek(x, at + step), peek(x, at + 2 * step), peek(x, at + 3 * step)


@inline
def get(x, at, step):
    """Read one."""
    a, b, c, d = four(x, at, step)
    return a, b, c, d, peek(x, at + 4 * step), peek(x, at + 5 * step)


@inline
def fails(record, half):
    """True where the row must be looked at again; half the tolerance is negative where the entries are known."""
    if half < type(half)(0):
        return False
    return inspection.fails(record[0] + record[1], record[2] + record[3], record[4], half)


@inline
def most_lost(record, lost, closely, digits, entries):
    """Bound of what a row's flows have lost: what was added up, or else one beforehand, a little wider than the CPU's,
    whose sums come in another order."""
    if closely:
        return product(1.02, lost)
    total = max(float(record[0]) + float(record[1]), float(record[2]) + float(record[3]))
    return two_limb_sums.most_lost(1.001 * total, float(record[5]), digits, entries)
