"""Exact integers >= 0 of any length: digits of 31 bits in int32, the lowest first.

A float is an integer times a power of two; what takes more than the 106 bits of two limbs, or must not lose its last
bit in a difference, is added, compared and subtracted here.  The caller owns the digits and gives enough of them.
Floats are taken apart and put together by their bits, several times as fast as by frexp and ldexp.
"""

import math

import numpy as np

from emdref.kernels.floats import add2, scale2
from emdref.kernels.jit import row

BITS = 31
_BASE = 2**BITS
_MASK = _BASE - 1
_WINDOW = 2 * BITS  # leading bits that `nearest` looks at; an int64 holds them
_STORED = 52  # bits of a float64's significand; those of its exponent stand above
_HIDDEN = 1 << _STORED
_BIAS = 1023
_LIMBS = 5  # leading digits that fill two limbs, even if the first of them has one bit


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
def _power(e):
    """2**e as a float."""
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
def clear(x):
    """x = 0."""
    for i in range(len(x)):
        x[i] = 0


@row
def top(x):
    """The place of the highest digit that is not 0; -1 if all are."""
    i = len(x) - 1
    while i >= 0 and x[i] == 0:
        i -= 1
    return i


@row
def bit_length(x):
    """The number of bits of x > 0."""
    t = top(x)
    return t * BITS + length(x[t])


@row
def _add_digit_times(digit, place, factor, out):
    """out += digit * factor * 2**(BITS * place)."""
    carry, i = 0, 0
    while i < len(factor) or carry > 0:
        t = np.int64(out[place + i]) + carry
        if i < len(factor):
            t += np.int64(factor[i]) * digit
        out[place + i] = t & _MASK
        carry = t >> BITS
        i += 1


@row
def add_multiple(x, low, factor, out):
    """out += x / 2**low * factor, for a multiple x >= 0 of 2**low and a factor without leading zeros."""
    if x == 0.0:
        return
    m, e = as_integer(x)
    if e < low:  # only zeros lie below
        m, e = m >> (low - e), low
    place, shift = (e - low) // BITS, (e - low) % BITS
    digit, m = (m & (_MASK >> shift)) << shift, m >> (BITS - shift)
    while digit > 0 or m > 0:
        if digit > 0:
            _add_digit_times(digit, place, factor, out)
        place += 1
        digit, m = m & _MASK, m >> BITS


@row
def compare(x, y):
    """The sign of x - y."""
    for i in range(len(x) - 1, -1, -1):
        if x[i] != y[i]:
            return 1 if x[i] > y[i] else -1
    return 0


@row
def subtract(x, y, out):
    """out = x - y for x >= y; out may be one of them."""
    borrow = 0
    for i in range(len(x)):
        t = np.int64(x[i]) - y[i] - borrow
        borrow = 1 if t < 0 else 0
        out[i] = t + _BASE * borrow


@row
def _digit(x, i):
    """Digit i, 0 below the lowest."""
    return np.int64(x[i]) if i >= 0 else np.int64(0)


@row
def nearest(x, bits, unit):
    """x * 2**unit rounded to `bits` significant bits, ties to even, which float64 must hold."""
    t = top(x)
    if t < 0:
        return 0.0
    head, third = length(x[t]), _digit(x, t - 2)  # the third digit fills up the window
    window = (_digit(x, t) << BITS | _digit(x, t - 1)) << (BITS - head) | third >> head
    sticky = third & ((1 << head) - 1) > 0
    for i in range(t - 2):
        sticky = sticky or x[i] > 0
    drop = _WINDOW - bits
    half = np.int64(1) << (drop - 1)
    rest, kept = window & (2 * half - 1), window >> drop
    if rest > half or (rest == half and (sticky or kept & 1 > 0)):
        kept += 1
    e = (t - 2) * BITS + head + drop + unit
    return kept * _power(e // 2) * _power(e - e // 2)  # in two steps, the first within the normal range


@row
def as_limbs(x):
    """x as (h, l, e) = (h + l) 2**e, within 2**-100."""
    t, h, l = top(x), 0.0, 0.0
    for i in range(t, max(t - _LIMBS, -1), -1):
        h, l = add2(h, l, math.ldexp(float(x[i]), (i - t) * BITS), 0.0)
    e = math.frexp(h)[1]
    h, l = scale2(h, l, -e)
    return h, l, t * BITS + e
