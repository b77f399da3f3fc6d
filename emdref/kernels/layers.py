"""Normalising layers and losses other than EMD, a row at a time in two limbs.

Each layer maps x to p(x) with sum(p) = 1 and has a Jacobian of one form, dp_j/dx_k = (delta_jk - p_j) f_k, so that a
layer is its p and its f: 1 / |x| for l1, p for softmax, 2 x / sum(x**2) for square.
"""

import math

import numpy as np

from emdref.kernels.floats import add2, div2, mul2, quick_two_sum, scale2, two_prod, two_sum
from emdref.kernels.hessian2 import dot, scaled
from emdref.kernels.jit import loop, row
from emdref.kernels.twolimb import mass2

L1, SOFTMAX, SQUARE = 0, 1, 2


@row
def _l1(x, p, f):
    mh, ml, _, exponent = mass2(x)
    uh, ul = div2(1.0, 0.0, mh, ml)
    for k in range(x.shape[0]):
        p[0, k], p[1, k] = div2(math.ldexp(x[k], -exponent), 0.0, mh, ml)
        f[0, k], f[1, k] = uh, ul
    return -exponent


@row
def _softmax(x, p, f):
    top = x[0]
    for k in range(x.shape[0]):
        top = max(top, x[k])
    sh, sl = 0.0, 0.0
    for k in range(x.shape[0]):
        h, l = two_sum(x[k], -top)
        y = math.exp(h) if h > -math.inf else 0.0
        p[0, k], p[1, k] = quick_two_sum(y, y * l if y > 0.0 else 0.0)
        sh, sl = add2(sh, sl, p[0, k], p[1, k])
    for k in range(x.shape[0]):
        p[0, k], p[1, k] = div2(p[0, k], p[1, k], sh, sl)
        f[0, k], f[1, k] = p[0, k], p[1, k]
    return 0


@row
def _square(x, p, f):
    exponent = scaled(x, f)
    sh, sl = 0.0, 0.0
    for k in range(x.shape[0]):
        p[0, k], p[1, k] = two_prod(f[0, k], f[0, k])
        sh, sl = add2(sh, sl, p[0, k], p[1, k])
    for k in range(x.shape[0]):
        p[0, k], p[1, k] = div2(p[0, k], p[1, k], sh, sl)
        f[0, k], f[1, k] = div2(f[0, k] + f[0, k], 0.0, sh, sl)
    return -exponent


@row
def _layer(kind, x, p, f):
    """Fill p and f; f is to be multiplied by 2 to the power that is returned."""
    if kind == L1:
        return _l1(x, p, f)
    if kind == SOFTMAX:
        return _softmax(x, p, f)
    return _square(x, p, f)


@loop
def forward(x, out, kind):
    """p(x) of each row."""
    p, f = np.empty((2, x.shape[1])), np.empty((2, x.shape[1]))
    for i in range(x.shape[0]):
        _layer(kind, x[i], p, f)
        out[i] = p[0]


@loop
def backward(x, g, out, kind):
    """Vector-Jacobian product of each row: out_k = sum_j g_j dp_j/dx_k = (g_k - <p, g>) f_k."""
    n = x.shape[1]
    p, f, y = np.empty((2, n)), np.empty((2, n)), np.empty((2, n))
    for i in range(x.shape[0]):
        exponent = _layer(kind, x[i], p, f) + scaled(g[i], y)
        mh, ml = dot(p, y)
        for k in range(n):
            h, l = mul2(*add2(y[0, k], y[1, k], -mh, -ml), f[0, k], f[1, k])
            out[i, k] = math.ldexp(h, exponent)


@row
def _mse(p, q, grad):
    n, top = p.shape[0], 0.0
    for k in range(n):
        top = max(top, abs(p[k] - q[k]))
    exponent = math.frexp(top)[1]
    sh, sl = 0.0, 0.0
    for k in range(n):
        dh, dl = scale2(*two_sum(p[k], -q[k]), -exponent)
        sh, sl = add2(sh, sl, *mul2(dh, dl, dh, dl))
        grad[k] = math.ldexp(div2(dh + dh, dl + dl, float(n), 0.0)[0], exponent)
    return math.ldexp(div2(sh, sl, float(n), 0.0)[0], 2 * exponent)


@loop
def mse(p, q, value, grad):
    """Mean over the bins of (p - q)**2, and its gradient."""
    for i in range(p.shape[0]):
        value[i] = _mse(p[i], q[i], grad[i])


@row
def _log_ratio(a, b):
    """log(a / b) for a, b > 0, with a small relative error also where they are nearly equal."""
    r = a / b
    if 0.5 < r < 2.0:
        return math.log1p((a - b) / b)
    if 1e-300 < r < 1e300:
        return math.log(r)
    return math.log(a) - math.log(b)


@row
def _divergence(p, q, against_itself, grad):
    top = 0.0
    for k in range(q.shape[0]):
        top = max(top, q[k])
    exponent = math.frexp(top)[1]
    if -900 < exponent < 900:
        exponent = 0  # no sum leaves the range, and no subnormal loses a bit
    sh, sl, infinite = 0.0, 0.0, False
    for k in range(q.shape[0]):
        grad[k] = 0.0
        if q[k] == 0.0:
            continue
        grad[k] = -math.inf
        if p[k] == 0.0:
            infinite = True
            continue
        grad[k] = -(q[k] / p[k])
        log = _log_ratio(q[k], p[k]) if against_itself else -math.log(p[k])
        sh, sl = add2(sh, sl, math.ldexp(q[k], -exponent) * log, 0.0)
    return math.inf if infinite else math.ldexp(sh, exponent)


@loop
def divergence(p, q, value, grad, against_itself):
    """sum q log(q / p), or sum -q log p, and the gradient -q / p; 0 log 0 = 0, and p = 0 < q gives inf."""
    for i in range(p.shape[0]):
        value[i] = _divergence(p[i], q[i], against_itself, grad[i])
