"""Normalising layers and losses other than EMD, a row at a time in two limbs.

Each layer maps x to p(x) with sum(p) = 1 and has a Jacobian of one form, dp_j/dx_k = (delta_jk - p_j) f_k, so that a
layer is its p and its f: 1 / |x| for l1, p for softmax, 2 x / sum(x**2) for square.
"""

import math

import numpy as np

from emdref.kernels.arithmetic.floats import add2, copy, div2, limbs, mul2, quick_two_sum, scale2, two_prod, two_sum
from emdref.kernels.compile.jit import loop, row
from emdref.kernels.rows.two_limbs import dot, mass2, scaled, top_exponent

L1, SOFTMAX, SQUARE = 0, 1, 2
_LOG2 = math.log(2.0)


@row
def _l1(x, p, f, exponent):
    mh, ml, _, top = mass2(x)
    uh, ul = div2(1.0, 0.0, mh, ml)
    for k in range(len(x)):
        m, e = math.frexp(x[k])
        p[0, k], p[1, k] = scale2(*div2(m, 0.0, mh, ml), e - top)
        f[0, k], f[1, k], exponent[k] = uh, ul, -top


@row
def _exponential(h, l):
    """exp(h + l) for h <= 0 as (limbs, exponent), h in [0.25, 1]; as a square where exp itself would be subnormal."""
    if h > -700.0:
        m, e = math.frexp(math.exp(h))
        y = m
    elif h > -1500.0:
        m, e = math.frexp(math.exp(0.5 * h))
        y, e = m * m, e + e
    else:
        return 0.0, 0.0, 0
    y, z = quick_two_sum(y, y * l)
    return y, z, e


@row
def _softmax(x, p, f, exponent):
    top = x[0]
    for k in range(len(x)):
        top = max(top, x[k])
    sh, sl = 0.0, 0.0
    for k in range(len(x)):
        h, l = two_sum(x[k], -top)
        f[0, k], f[1, k], exponent[k] = _exponential(h, l)
        sh, sl = add2(sh, sl, *scale2(f[0, k], f[1, k], int(exponent[k])))
    for k in range(len(x)):
        f[0, k], f[1, k] = div2(f[0, k], f[1, k], sh, sl)
        p[0, k], p[1, k] = scale2(f[0, k], f[1, k], int(exponent[k]))


@row
def _square(x, p, f, exponent):
    top = top_exponent(x)
    sh, sl = 0.0, 0.0
    for k in range(len(x)):
        m, e = math.frexp(x[k])
        sh, sl = add2(sh, sl, *scale2(*two_prod(m, m), 2 * (e - top)))
    for k in range(len(x)):
        m, e = math.frexp(x[k])
        p[0, k], p[1, k] = scale2(*div2(*two_prod(m, m), sh, sl), 2 * (e - top))
        f[0, k], f[1, k] = div2(m + m, 0.0, sh, sl)
        exponent[k] = e - 2 * top


@row
def _layer(kind, x, p, f, exponent):
    """Fill p and f; f is to be multiplied by 2 to the power of its exponent."""
    if kind == L1:
        _l1(x, p, f, exponent)
    elif kind == SOFTMAX:
        _softmax(x, p, f, exponent)
    else:
        _square(x, p, f, exponent)


@loop
def forward(x, out, kind):
    """p(x) of each row."""
    n = x.shape[1]
    p, f, exponent = limbs(n), limbs(n), np.empty(n, np.int64)
    for i in range(len(x)):
        _layer(kind, x[i], p, f, exponent)
        copy(out[i], p[0])


@loop
def backward(x, g, out, kind):
    """Vector-Jacobian product of each row: out_k = sum_j g_j dp_j/dx_k = (g_k - <p, g>) f_k."""
    n = x.shape[1]
    p, f, exponent, y = limbs(n), limbs(n), np.empty(n, np.int64), limbs(n)
    for i in range(len(x)):
        _layer(kind, x[i], p, f, exponent)
        size = scaled(g[i], y)
        mh, ml = dot(p, y)
        for k in range(n):
            h, l = mul2(*add2(y[0, k], y[1, k], -mh, -ml), f[0, k], f[1, k])
            out[i, k] = math.ldexp(h, int(exponent[k]) + size)  # plain Python's ldexp refuses NumPy's integers


@row
def _mse(p, q, grad):
    n, top = len(p), 0.0
    for k in range(n):
        top = max(top, abs(p[k] - q[k]))
    size = math.frexp(top)[1]
    sh, sl = 0.0, 0.0
    for k in range(n):
        dh, dl = two_sum(p[k], -q[k])
        e = math.frexp(dh)[1]
        dh, dl = scale2(dh, dl, -e)
        sh, sl = add2(sh, sl, *scale2(*mul2(dh, dl, dh, dl), 2 * (e - size)))
        grad[k] = math.ldexp(div2(dh + dh, dl + dl, float(n), 0.0)[0], e)
    return math.ldexp(div2(sh, sl, float(n), 0.0)[0], 2 * size)


@loop
def mse(p, q, value, grad):
    """Mean over the bins of (p - q)**2, and its gradient."""
    for i in range(len(p)):
        value[i] = _mse(p[i], q[i], grad[i])


@row
def _log(h, l, e):
    """log((h + l) 2**e), with a small relative error also near 1."""
    rh, rl = scale2(h, l, e)
    if 0.5 < rh < 2.0:
        h, l = add2(rh, rl, -1.0, 0.0)
        return math.log1p(h)
    return math.log(h) + e * _LOG2


@row
def _weighted_sum(q, log):
    """sum q log as (limbs, exponent), by exponents of its largest term, so that no term leaves the range."""
    top, some = 0, False
    for k in range(len(q)):
        if q[k] > 0.0 and log[k] != 0.0:
            size = math.frexp(q[k])[1] + math.frexp(log[k])[1]
            top, some = (max(top, size) if some else size), True
    sh, sl = 0.0, 0.0
    for k in range(len(q)):
        m, e = math.frexp(q[k])
        n, d = math.frexp(log[k])
        sh, sl = add2(sh, sl, math.ldexp(m * n, e + d - top), 0.0)
    return sh, sl, top


@row
def _quotient(a, b, h, l, exponent):
    """a / b (h + l) 2**exponent for b > 0, as (limbs, exponent)."""
    m, e = math.frexp(a)
    n, d = math.frexp(b)
    h, l = mul2(*div2(m, 0.0, n, 0.0), h, l)
    return h, l, e - d + exponent


@row
def _divergence(p, q, against_itself, normalize, grad):
    ph, pl, pe, qh, ql, qe = 1.0, 0.0, 0, 1.0, 0.0, 0
    if normalize:
        ph, pl, _, pe = mass2(p)
        qh, ql, _, qe = mass2(q)
    rh, rl = div2(ph, pl, qh, ql)
    infinite = False
    for k in range(len(q)):
        grad[k] = 0.0
        if q[k] > 0.0 and p[k] == 0.0:
            infinite = True
        elif q[k] > 0.0 and against_itself:
            grad[k] = _log(*_quotient(q[k], p[k], rh, rl, pe - qe))
        elif q[k] > 0.0:
            grad[k] = _log(*_quotient(1.0, p[k], ph, pl, pe))
    sh, sl, size = _weighted_sum(q, grad)
    for k in range(len(q)):
        if q[k] > 0.0 and p[k] > 0.0:
            h, _, e = _quotient(q[k], p[k], rh, rl, pe - qe)
            grad[k] = -math.ldexp(h, e)
        elif q[k] > 0.0:
            grad[k] = -math.inf
    return math.inf if infinite else math.ldexp(div2(sh, sl, qh, ql)[0], size - qe)


@loop
def divergence(p, q, value, grad, against_itself, normalize):
    """sum q log(q / p), or sum -q log p, of the rows or of each over its total, and the gradient -q / p.

    0 log 0 = 0, and p = 0 < q gives inf.
    """
    for i in range(len(p)):
        value[i] = _divergence(p[i], q[i], against_itself, normalize, grad[i])
