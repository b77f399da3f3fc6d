"""Exact integers >= 0 of any length: rows of digits of 31 bits in int32, the lowest first.

A float is an integer times a power of two; what takes more than the 106 bits of two limbs, or must not lose its last
bit in a difference, is added, compared and subtracted here.  The caller owns the digits and gives enough of them.
Floats are taken apart and put together by their bits, several times as fast as by frexp and ldexp; and a number is
named by its table and row, since a view of a row would cost more than most of what is done with it.
"""

import numpy as np

from emdref.kernels.arithmetic.floats import quick_two_sum, two_sum
from emdref.kernels.compile.jit import row

BITS = 31
_BASE = 2**BITS
_MASK = _BASE - 1
_WINDOW = 2 * BITS  # leading bits that `nearest` looks at; an int64 holds them
_STORED = 52  # bits of a float64's significand; those of its exponent stand above
_HIDDEN = 1 << _STORED
_BIAS = 1023
_DIGIT = 2.0**-BITS
FAR = 2000  # beyond the exponents of floats


@row
def as_integer(x):
    """x >= 0 as (m, e) = m 2**e with an integer m below 2**53."""
    bits = np.float64(x).view(np.int64)
    e, m = bits >> _STORED, bits & (_HIDDEN - 1)
    if e > 0:
        return m | _HIDDEN, e - _BIAS - _STORED
    return m, e + 1 - _BIAS - _STORED  # subnormal


@row
def length(m):
    """The number of bits of an integer from 1 to 2**53."""
    return (np.float64(m).view(np.int64) >> _STORED) - _BIAS + 1


@row
def power_of_two(e):
    """2**e as a float, for e from -1022 to 1023."""
    return np.int64((e + _BIAS) << _STORED).view(np.float64)


@row
def span(x, low, high):
    """The exponents (low, high) given, widened until all of x are multiples of 2**low below 2**high."""
    for k in range(len(x)):
        if x[k] > 0.0:
            m, e = as_integer(x[k])
            low = min(low, e + length(m & -m) - 1)
            high = max(high, e + length(m))
    return low, high


@row
def needed(bits):
    """How many digits hold integers below 2**bits."""
    return (bits + BITS - 1) // BITS


@row
def clear(x, k):
    """Row k = 0."""
    for i in range(x.shape[1]):
        x[k, i] = 0


@row
def copy(x, j, k):
    """Row j = row k."""
    for i in range(x.shape[1]):
        x[j, i] = x[k, i]


@row
def top(x, k):
    """The place of the highest digit of row k that is not 0; -1 if all are."""
    for i in range(x.shape[1] - 1, -1, -1):
        if x[k, i] != 0:
            return i
    return -1


@row
def bit_length(x, k):
    """The number of bits of row k > 0."""
    t = top(x, k)
    return t * BITS + length(x[k, t])


@row
def _add_digit_times(digit, place, y, j, size, x, k):
    """Row k of x += digit * (row j of y, which has so many digits) * 2**(BITS * place)."""
    carry = 0
    for i in range(x.shape[1] - place):
        if i < size:
            carry += np.int64(y[j, i]) * digit
        elif carry == 0:
            return
        carry += x[k, place + i]
        x[k, place + i] = carry & _MASK
        carry >>= BITS


@row
def cut(mass, low):
    """mass / 2**low as (place, a, b, c): digits from that place on, for a multiple mass > 0 of 2**low."""
    m, e = as_integer(mass)
    if e < low:  # only zeros lie below
        m, e = m >> (low - e), low
    place, shift = (e - low) // BITS, (e - low) % BITS
    rest = m >> (BITS - shift)
    return place, (m & (_MASK >> shift)) << shift, rest & _MASK, rest >> BITS


@row
def add_multiple(mass, low, y, j, x, k):
    """Row k of x += mass / 2**low * (row j of y), for a multiple mass >= 0 of 2**low."""
    if mass == 0.0:
        return
    size = top(y, j) + 1
    place, a, b, c = cut(mass, low)
    for i, digit in ((place, a), (place + 1, b), (place + 2, c)):
        if digit > 0:
            _add_digit_times(digit, i, y, j, size, x, k)


@row
def totals(p, q, low, high):
    """The sums of p and q, multiples of 2**low below 2**high, in units of 2**low, as rows 0 and 1."""
    bits = high - low + length(len(p))
    one, sums = np.ones((1, 1), np.int32), np.zeros((2, needed(bits)), np.int32)
    for k in range(len(p)):
        add_multiple(p[k], low, one, 0, sums, 0)
        add_multiple(q[k], low, one, 0, sums, 1)
    return sums


@row
def compare(x, j, k):
    """The sign of row j less row k."""
    for i in range(x.shape[1] - 1, -1, -1):
        if x[j, i] != x[k, i]:
            return 1 if x[j, i] > x[k, i] else -1
    return 0


@row
def subtract(x, j, k):
    """Row j -= row k, which is not larger."""
    borrow = 0
    for i in range(x.shape[1]):
        t = np.int64(x[j, i]) - x[k, i] - borrow
        borrow = 1 if t < 0 else 0
        x[j, i] = t + _BASE * borrow


@row
def _digit(x, k, i):
    """Digit i of row k, 0 below the lowest."""
    return np.int64(x[k, i]) if i >= 0 else np.int64(0)


@row
def nearest(x, k, bits, unit):
    """Row k > 0 times 2**unit rounded to `bits` significant bits, ties to even, which float64 must hold."""
    t = top(x, k)
    head, third = length(x[k, t]), _digit(x, k, t - 2)  # the third digit fills up the window
    window = (_digit(x, k, t) << BITS | _digit(x, k, t - 1)) << (BITS - head) | third >> head
    sticky = third & ((1 << head) - 1) > 0
    for i in range(t - 2):
        sticky = sticky or x[k, i] > 0
    drop = _WINDOW - bits
    half = np.int64(1) << (drop - 1)
    rest, kept = window & (2 * half - 1), window >> drop
    if rest > half or (rest == half and (sticky or kept & 1 > 0)):
        kept += 1
    e = (t - 2) * BITS + head + drop + unit
    return kept * power_of_two(e // 2) * power_of_two(e - e // 2)  # in two steps, the first within the normal range


@row
def as_limbs(x, k):
    """Row k > 0 as (h, l, e) = (h + l) 2**e with h from 1 to 2**BITS, within 2**-100."""
    t = top(x, k)
    h, l = quick_two_sum(np.float64(x[k, t]), _digit(x, k, t - 1) * _DIGIT)
    l, rest = two_sum(l, _digit(x, k, t - 2) * _DIGIT**2)
    h, l = quick_two_sum(h, l)
    rest += _digit(x, k, t - 3) * _DIGIT**3 + _digit(x, k, t - 4) * _DIGIT**4
    h, l = quick_two_sum(h, l + rest)
    return h, l, t * BITS
