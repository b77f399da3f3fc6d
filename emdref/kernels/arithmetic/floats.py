"""Error-free transformations and two-limb arithmetic on float64 (Dekker 1971, Knuth 1969, Bailey's double-double).

A two-limb number is an unevaluated sum ``h + l``; ``normal`` means ``h`` is the float64 nearest to it.  Every function
returns a normal pair and errs by less than 2**-100 relative, if no product falls below the normal range.
"""

import math

import numpy as np

from emdref.kernels.arithmetic.lanes import product, product_error
from emdref.kernels.compile.jit import inline, row


@row
def limbs(n):
    """Scratch memory for n two-limb numbers: high limbs, low limbs."""
    return np.empty((2, n))


@row
def copy(target, source):
    """target = source, entry by entry: to assign arrays would compile Numba's check of their shapes, for seconds."""
    for k in range(len(target)):
        target[k] = source[k]


@inline
def two_sum(a, b):
    """s + e == a + b exactly, s the rounded sum."""
    s = a + b
    z = s - a
    return s, (a - (s - z)) + (b - z)


@inline
def quick_two_sum(a, b):
    """two_sum for |a| >= |b| or a == 0."""
    s = a + b
    return s, b - (s - a)


@inline
def two_prod(a, b):
    """p + e == a * b exactly, p the rounded product, barring under- and overflow."""
    p = product(a, b)
    return p, product_error(a, b, p)


@inline
def times2(ah, al, bh, bl):
    """(ah + al) * (bh + bl), not quite normal: the low limb may be a few ulp of the high one."""
    p, e = two_prod(ah, bh)
    return p, e + (product(ah, bl) + product(al, bh))


@inline
def add2(ah, al, bh, bl):
    """(ah + al) + (bh + bl)."""
    s, e = two_sum(ah, bh)
    t, f = two_sum(al, bl)
    s, e = quick_two_sum(s, e + t)
    return quick_two_sum(s, e + f)


@inline
def mul2(ah, al, bh, bl):
    """(ah + al) * (bh + bl)."""
    return quick_two_sum(*times2(ah, al, bh, bl))


@row
def div2(ah, al, bh, bl):
    """(ah + al) / (bh + bl): three quotient digits of long division."""
    q1 = ah / bh
    ph, pl = mul2(bh, bl, q1, 0.0)
    rh, rl = add2(ah, al, -ph, -pl)
    q2 = rh / bh
    ph, pl = mul2(bh, bl, q2, 0.0)
    rh, rl = add2(rh, rl, -ph, -pl)
    q1, q2 = quick_two_sum(q1, q2)
    return add2(q1, q2, rh / bh, 0.0)


@row
def scale2(h, l, exponent):
    """(h + l) * 2**exponent."""
    return math.ldexp(h, exponent), math.ldexp(l, exponent)
