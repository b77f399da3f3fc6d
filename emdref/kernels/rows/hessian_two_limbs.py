"""One row of second derivatives in two limbs; emdref.kernels.rows.hessian does the same in plain arithmetic.

Arrays are (2, size): high limbs, low limbs.  Second derivatives come in units of u**(rho-2) 2**m, with u and 2**m as in
emdref.kernels.rows.two_limbs, so that no product leaves the range of float64.
"""

import math

from emdref.kernels.arithmetic import lanes
from emdref.kernels.arithmetic.edges import bend2
from emdref.kernels.arithmetic.floats import add2, div2, mul2, scale2
from emdref.kernels.compile.jit import row
from emdref.kernels.rows import two_limbs
from emdref.kernels.rows.hessian import meet

_TINY = two_limbs._TINY
_RELATIVE = two_limbs._RELATIVE


@row
def units(h, l, cost, rho):
    """As two_limbs.units; for rho = 2, where flows do not matter, every cost counts and u is given as 1 (the power of
    two that two_limbs rounds it up to is 2)."""
    if rho != 2.0:
        return two_limbs.units(h, l, cost)
    dearest = 0.0
    for v in range(1, len(cost)):
        dearest = max(dearest, cost[v])
    return (1.0 if dearest > 0 else 0.0), 0.0, math.frexp(dearest)[1]


@row
def _beyond_two_limbs(x, rho):
    """What a second derivative may be off by where its flow, or else its cost, is less than _TINY units: x**(rho-2) is
    at most 1 for rho >= 2, but for a rho close to 2 hardly less, whatever x is."""
    if rho < 2.0 or (x < _TINY and not two_limbs.is_small_integer(rho)):
        return math.inf
    return _TINY * rho * rho


@row
def bends(h, l, err, cost, rho, uh, ul, m, c):
    """Fill c with rho (rho-1) M_e |phi_e|**(rho-2); returns the largest relative error that err makes of one (inf if
    one is too small for two limbs), and a bound on what all of them can change in a sum."""
    worst, total = 0.0, 0.0
    shift = math.frexp(uh)[1]
    c[0, 0], c[1, 0] = 0.0, 0.0
    for v in range(1, len(cost)):
        c[0, v], c[1, v] = 0.0, 0.0
        if cost[v] == 0.0 or rho == 1.0 or (rho != 2.0 and h[v] == 0.0):
            continue
        w = math.ldexp(cost[v], -m)
        xh, xl = 1.0, 0.0
        if rho != 2.0:
            xh, xl = two_limbs.in_units(abs(h[v]), math.copysign(1.0, h[v]) * l[v], shift, uh, ul, rho)
        if w < _TINY or xh < _TINY:
            worst = math.inf
            total += _beyond_two_limbs(xh, rho)
        if xh > 0.0:
            c[0, v], c[1, v] = mul2(*bend2(xh, xl, rho), w, 0.0)
        if c[0, v] < _TINY:
            worst = math.inf
            total += lanes.product(_TINY * rho, rho)
        if rho != 2.0 and err[v] > 0:
            relative = lanes.product(abs(rho - 2.0), err[v] / abs(h[v]))
            relative = lanes.product(relative, math.exp(2.0 * relative))
            worst = max(worst, relative)
            total += lanes.product(c[0, v], relative)
    return worst, total


@row
def weights(p, gauge_is_normalized, mh, ml, mass_exp, w):
    """w = p / |p| or 1 / N, what a gauge takes means with."""
    n = w.shape[1]
    uh, ul = div2(1.0, 0.0, float(n), 0.0)
    for k in range(n):
        if gauge_is_normalized:
            uh, ul = div2(math.ldexp(p[k], -mass_exp), 0.0, mh, ml)
        w[0, k], w[1, k] = uh, ul


@row
def centred_slope(rh, rl, bin_node, w, unit_h, unit_l, exponent, g):
    """g = (raw gradient - <w, raw gradient>) (unit_h + unit_l) 2**exponent."""
    for k in range(g.shape[1]):
        g[0, k], g[1, k] = rh[bin_node[k]], rl[bin_node[k]]
    mh, ml = two_limbs.dot(w, g)
    for k in range(g.shape[1]):
        h, l = mul2(*add2(g[0, k], g[1, k], -mh, -ml), unit_h, unit_l)
        g[0, k], g[1, k] = scale2(h, l, exponent)


@row
def apply(c, x, parent, bin_node, t, y):
    """y = H x; t is scratch for the nodes."""
    for v in range(t.shape[1]):
        t[0, v], t[1, v] = 0.0, 0.0
    for k in range(x.shape[1]):
        t[0, bin_node[k]], t[1, bin_node[k]] = x[0, k], x[1, k]
    for v in range(t.shape[1] - 1, 0, -1):
        u = parent[v]
        t[0, u], t[1, u] = add2(t[0, u], t[1, u], t[0, v], t[1, v])
    t[0, 0], t[1, 0] = 0.0, 0.0
    for v in range(1, t.shape[1]):
        u = parent[v]
        t[0, v], t[1, v] = add2(t[0, u], t[1, u], *mul2(c[0, v], c[1, v], t[0, v], t[1, v]))
    for k in range(y.shape[1]):
        y[0, k], y[1, k] = t[0, bin_node[k]], t[1, bin_node[k]]


@row
def product(c, w, g, x, parent, bin_node, t, y):
    """y = (J^T H J - g 1^T - 1 g^T) x with J = I - w 1^T; w = 0 and g = 0 in gauge raw.  x is used up."""
    sh, sl = 0.0, 0.0
    for k in range(x.shape[1]):
        sh, sl = add2(sh, sl, x[0, k], x[1, k])
    gh, gl = two_limbs.dot(g, x)
    for k in range(x.shape[1]):
        h, l = mul2(w[0, k], w[1, k], -sh, -sl)
        x[0, k], x[1, k] = add2(x[0, k], x[1, k], h, l)
    apply(c, x, parent, bin_node, t, y)
    gh, gl = add2(gh, gl, *two_limbs.dot(w, y))
    for k in range(y.shape[1]):
        h, l = add2(gh, gl, *mul2(g[0, k], g[1, k], sh, sl))
        y[0, k], y[1, k] = add2(y[0, k], y[1, k], -h, -l)


@row
def border(c, w, g, parent, bin_node, t, o):
    """o = H w + g and the corner w^T H w, so that the matrix is H - o 1^T - 1 o^T + corner 1 1^T; c becomes its own
    sums along the way down, where H has its entries: at the lowest node above both bins."""
    apply(c, w, parent, bin_node, t, o)
    kh, kl = two_limbs.dot(w, o)
    for k in range(o.shape[1]):
        o[0, k], o[1, k] = add2(o[0, k], o[1, k], g[0, k], g[1, k])
    for v in range(1, c.shape[1]):
        c[0, v], c[1, v] = add2(c[0, v], c[1, v], c[0, parent[v]], c[1, parent[v]])
    return kh, kl


@row
def line(j, sums, o, kh, kl, parent, bin_node, fh, fl, exponent, above, out):
    """Row j of the matrix, from what `border` left; above is scratch for the nodes."""
    meet(bin_node[j], parent, above)
    for k in range(len(out)):
        v = above[bin_node[k]]
        h, l = add2(o[0, j], o[1, j], o[0, k], o[1, k])
        h, l = add2(sums[0, v], sums[1, v], -h, -l)
        h, l = mul2(*add2(h, l, kh, kl), fh, fl)
        out[k] = math.ldexp(h, exponent)


@row
def trustworthy(c, g, parent, bin_node, worst, total, relative, reach):
    """True where neither the flow's errors nor underflow can be seen: in each entry of the raw matrix if `relative`,
    else in proportion to its largest; reach is scratch for the nodes."""
    top = 0.0
    reach[0] = 0.0
    for v in range(1, len(reach)):
        reach[v] = reach[parent[v]] + c[0, v]
        if not reach[v] < math.inf:
            return False
    for k in range(len(bin_node)):
        top = max(top, max(reach[bin_node[k]], abs(g[0, k])))
    if top == 0.0:
        return worst == 0.0
    return _TINY <= top < math.inf and total <= top * _RELATIVE and not (relative and worst > _RELATIVE)
