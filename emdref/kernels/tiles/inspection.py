"""A first look at rows while they are in the cache: what may be wrong with them is looked at again, slowly.

A row passes if every entry is a number >= 0, if both totals are > 0, and if the totals agree within half the tolerance;
the sums here err by less than the other half, so that no row that emdref.arguments.validation would refuse can pass.
"""

import math

import numpy as np

from emdref.kernels.arithmetic.floats import two_sum
from emdref.kernels.arithmetic.lanes import fill, if_positive, least, lesser, load_row, total, width
from emdref.kernels.compile.jit import row
from emdref.kernels.rows.first_look import fails

COLUMNS = 1024  # used, and then looked at, at a time


@row
def clear(sums):
    """Start with new rows.

    For each lane, sums holds two limbs of p's total, two of q's, the smallest entry, and the smallest one > 0.
    """
    for w in range(sums.shape[1]):
        for i in range(5):
            sums[i, w] = 0.0
        sums[5, w] = math.inf


@row
def _add(sums, i, w, x):
    sums[i, w], e = two_sum(sums[i, w], x)
    sums[i + 1, w] += e


@row
def _lower(low, x):
    return x if 0.0 < x < low else low


@row
def _look_closer(p, at, q, bt, n, w, sums):
    """The smallest entry > 0."""
    size = width(p)
    inf = fill(p.dtype.type(math.inf))
    low = inf
    whole = n - n % size
    for k in range(0, whole, size):
        a, b = if_positive(load_row(p, at + k), inf), if_positive(load_row(q, bt + k), inf)
        low = lesser(low, lesser(a, b))
    bottom = min(sums[5, w], float(least(low)))
    for k in range(whole, n):
        bottom = _lower(_lower(bottom, float(p[at + k])), float(q[bt + k]))
    sums[5, w] = bottom


@row
def look(p, at, q, bt, n, w, sums, closer):
    """Add n entries of p from `at` on and of q from `bt` on to lane w's sums; the smallest one > 0 only if asked."""
    size = width(p)
    zero, inf = fill(p.dtype.type(0)), fill(p.dtype.type(math.inf))
    p_even, p_odd, q_even, q_odd, low, low_odd = zero, zero, zero, zero, inf, inf
    whole = n - n % (2 * size)
    for k in range(0, whole, 2 * size):
        a, b = load_row(p, at + k), load_row(q, bt + k)
        c, d = load_row(p, at + k + size), load_row(q, bt + k + size)
        p_even, q_even, low = p_even + a, q_even + b, lesser(low, lesser(a, b))
        p_odd, q_odd, low_odd = p_odd + c, q_odd + d, lesser(low_odd, lesser(c, d))
    p_total, q_total = float(total(p_even + p_odd)), float(total(q_even + q_odd))
    bottom = float(least(lesser(low, low_odd)))
    for k in range(whole, n):
        x, y = float(p[at + k]), float(q[bt + k])
        p_total, q_total, bottom = p_total + x, q_total + y, min(bottom, x, y)
    _add(sums, 0, w, p_total)
    _add(sums, 2, w, q_total)
    sums[4, w] = min(sums[4, w], bottom)
    if closer:
        if bottom > 0.0:
            sums[5, w] = min(sums[5, w], bottom)
        else:
            _look_closer(p, at, q, bt, n, w, sums)


@row
def doubtful(sums, w, tolerance):
    """True where lane w's row does not pass."""
    return fails(sums[0, w] + sums[1, w], sums[2, w] + sums[3, w], sums[4, w], 0.5 * tolerance)


@row
def new_sums(x):
    """Scratch for `clear`, `look` and `doubtful`."""
    return np.zeros((6, width(x)))
