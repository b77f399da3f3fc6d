"""Flows in Kulisch's long accumulators: fixed-point numbers as wide as a row needs, to which adding is exact.

A digit has 31 bits and stands in an int64 with its sign, so that a sum of numbers is a sum digit by digit, and what
carries is seen to once, where a flow is rounded to two limbs.  Nodes are taken in the order of
emdref.kernels.trees.heavy_paths, which needs an accumulator for every light edge between a node and the root: few,
however large the tree.

Normalised, a flow is the sum of p_k |q| - q_k |p| below, over |p| |q|: integers again.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from emdref.kernels.arithmetic.digits import (
    BITS,
    FAR,
    as_limbs,
    compare,
    cut,
    length,
    needed,
    power_of_two,
    span,
    top,
    totals,
)
from emdref.kernels.arithmetic.floats import div2, mul2
from emdref.kernels.compile.jit import loop, row
from emdref.kernels.rows.native import clear

_MASK = (1 << BITS) - 1
_RELATIVE = 2.0**-96  # what two limbs of an exact number, or of a quotient of two, may be wrong by
_LEAST = 2.0**-900  # below which a low limb may be lost
_SMALLEST = 5e-324
_NORMAL = 900  # exponents of scales with which no limb leaves the normal range


class Order(NamedTuple):
    """A space in the order of emdref.kernels.trees.heavy_paths."""

    up: Any  # (V,) place of the parent
    level: Any  # (V,) light edges to the root
    column: Any  # (V,) of a place's bin, -1 for none
    position: Any  # (V,) of a place's node in RootedTree


@row
def _increase(x, y):
    for i in range(len(x)):
        x[i] += y[i]


@row
def _add(mass, low, sign, x):
    """x += sign * mass / 2**low."""
    if mass > 0.0:
        place, a, b, c = cut(mass, low)
        x[place] += sign * a
        x[place + 1] += sign * b
        x[place + 2] += sign * c


@row
def _add_times(digit, y, place, sign, x):
    """x += sign * digit * y * 2**(BITS * place), for digits y >= 0."""
    if digit == 0:
        return
    carry = 0
    for i in range(len(y)):
        carry += digit * y[i]
        x[place + i] += sign * (carry & _MASK)
        carry >>= BITS
    x[place + len(y)] += sign * carry


@row
def _add_product(mass, low, y, sign, x):
    """x += sign * mass / 2**low * y."""
    if mass > 0.0:
        place, a, b, c = cut(mass, low)
        _add_times(a, y, place, sign, x)
        _add_times(b, y, place + 1, sign, x)
        _add_times(c, y, place + 2, sign, x)


@row
def _carried(x, y):
    """y = the digits of |x|; its sign."""
    carry = 0
    for i in range(len(x)):
        carry += x[i]
        y[i] = carry & _MASK
        carry >>= BITS
    if carry >= 0:
        return 1
    carry = 1
    for i in range(len(x)):
        carry += _MASK ^ y[i]
        y[i] = carry & _MASK
        carry >>= BITS
    return -1


@row
def _put(v, h, l, e, flow):
    """Limbs and a bound of their error at v; a number too small for a float keeps its sign."""
    if -_NORMAL < e < _NORMAL - BITS:
        scale = power_of_two(e)  # several times as fast as ldexp
        flow[0, v], flow[1, v], flow[2, v] = h * scale, l * scale, _RELATIVE * abs(h * scale)
        return
    e = int(e)  # plain Python's ldexp refuses NumPy's integers
    a, b, err = math.ldexp(h, e), math.ldexp(l, e), 0.0
    if abs(a) < _LEAST:
        a, err = math.copysign(max(abs(a), _SMALLEST), h), 4.0 * _SMALLEST
    flow[0, v], flow[1, v], flow[2, v] = a, b, err + _RELATIVE * abs(a)


@row
def _flow(p, q, low, factors, unit, order, sums, y, weight, flow):
    """phi of one pair from its integers, see `flows`: times the factors, if there are any, and over the unit."""
    up, level, column, position = order
    stretched = len(factors) > 0
    for u in range(len(up) - 1, 0, -1):
        s = sums[level[u]]
        if u + 1 == len(up) or up[u + 1] != u:  # a leaf opens a new sum
            clear(s)
        k = column[u]
        if k >= 0 and stretched:
            _add_product(p[k], low, factors[1], 1, s)
            _add_product(q[k], low, factors[0], -1, s)
        elif k >= 0:
            _add(p[k], low, 1, s)
            _add(q[k], low, -1, s)
        v = position[u]
        flow[0, v], flow[1, v], flow[2, v] = 0.0, 0.0, 0.0
        if weight[v] != 0.0:
            sign = _carried(s, y[0])
            if top(y, 0) >= 0:
                h, l, e = as_limbs(y, 0)
                if unit[0] != 1.0 or unit[1] != 0.0:
                    h, l = div2(h, l, unit[0], unit[1])
                _put(v, sign * h, sign * l, e + unit[2], flow)
        if level[up[u]] < level[u]:  # the largest child's sum is its parent's already
            _increase(sums[level[up[u]]], s)
    flow[0, 0], flow[1, 0], flow[2, 0] = 0.0, 0.0, 0.0


@loop
def flows(p, q, flow, order, weight, normalize):
    """phi of each pair, of the floats as given: flow[i] has two limbs and a bound of their error for each node.

    Flows are 0 on edges of weight 0; every sign is right.
    """
    levels = 0
    for v in range(len(order.level)):
        levels = max(levels, order.level[v] + 1)
    for i in range(len(p)):
        low, high = span(q[i], *span(p[i], FAR, -FAR))
        bits = high - low + length(len(p[i])) + 1
        size = needed(bits) + 3  # three digits at a time are written
        factors, unit = np.empty((0, size), np.int32), (1.0, 0.0, low)
        if normalize:
            both = totals(p[i], q[i], low, high)
            h, l, e = as_limbs(both, 0)
            unit = (h, l, -e)
            if compare(both, 0, 1) != 0:
                factors = both
                bh, bl, d = as_limbs(both, 1)
                h, l = mul2(h, l, bh, bl)
                unit, size = (h, l, -e - d), 2 * size + 3
        sums, y = np.empty((levels, size), np.int64), np.empty((1, size), np.int64)
        _flow(p[i], q[i], low, factors, unit, order, sums, y, weight, flow[i])
