"""One row of exact EMD in two limbs, with a proven bound on what two limbs cannot hold.

Sums run through TwoSum into two float64 limbs; whatever falls off the second limb is added, as an absolute value, to
``err``.  After ``settle``, ``h[v] + l[v]`` differs from the exact phi by less than ``1.01 err[v]`` (1.01 covers the
rounding of err itself), so a sign is certain where ``|h| > 2 err``.  A row in which any sign is not certain, or in
which the errors could move the value or the gradient by 2**-56, or which leaves the range of float64 on the way, is
reported as unsafe: the caller does it again in exact integers.

Nodes stand in topological order: ``parent[v] < v`` and node 0 is the root.
"""

import math

from emdref.kernels.arithmetic.edges import edge2, power2
from emdref.kernels.arithmetic.floats import add2, div2, mul2, scale2, two_prod, two_sum
from emdref.kernels.arithmetic.lanes import product
from emdref.kernels.compile.jit import row

_RELATIVE = 2.0**-56  # what errors of phi may change, relative to the value or to max |r|
_TINY = 2.0**-900  # a scaled value below this may have lost terms to underflow
_LARGEST_POWER = 2.0**53
_RATIO_ERROR = 2.0**-98  # of a product by a two-limb ratio, generously


@row
def _accumulate(v, x, h, l, err):
    """Add x to node v: two limbs are kept, the third is bounded."""
    h[v], e = two_sum(h[v], x)
    l[v], lost = two_sum(l[v], e)
    err[v] += abs(lost)


@row
def _lift(parent, h, l, err):
    """Children into parents, from the last node to the first."""
    for v in range(len(h) - 1, 0, -1):
        u = parent[v]
        _accumulate(u, h[v], h, l, err)
        l[u], lost = two_sum(l[u], l[v])
        err[u] += err[v] + abs(lost)


@row
def _clear(h, l, err):
    for v in range(len(h)):
        h[v] = 0.0
        l[v] = 0.0
        err[v] = 0.0


@row
def flow(p, q, parent, bin_node, h, l, err):
    """phi = sum of p - q at or below each node, Eqs. (6) and (14), of the floats as given."""
    _clear(h, l, err)
    for k in range(len(p)):
        _accumulate(bin_node[k], p[k], h, l, err)
        _accumulate(bin_node[k], -q[k], h, l, err)
    _lift(parent, h, l, err)


@row
def top_exponent(x):
    """The exponent e of the largest |x| < 2**e; 0 if all are 0."""
    top = 0.0
    for k in range(len(x)):
        top = max(top, abs(x[k]))
    return math.frexp(top)[1]


@row
def mass2(x):
    """(h, l, err, exponent): the row's total is (h + l) * 2**exponent within err, h in [0.5, 1)."""
    shift = top_exponent(x)
    h, l, err = 0.0, 0.0, 0.0
    for k in range(len(x)):
        y = math.ldexp(x[k], -shift)
        if math.ldexp(y, shift) != x[k]:
            err += 1e-323  # scaling reached below the subnormal range
        h, e = two_sum(h, y)
        l, lost = two_sum(l, e)
        err += abs(lost)
    h, l = two_sum(h, l)
    more = math.frexp(h)[1]
    h, l = scale2(h, l, -more)
    return h, l, err, shift + more


@row
def _same(p, q):
    for k in range(len(p)):
        if p[k] != q[k]:
            return False
    return True


@row
def flow_normalized(p, q, parent, bin_node, h, l, err):
    """phi of p/|p| and q/|q|: q is stretched to p's total, then all is divided by it.

    Where both totals are the same number times a power of two the stretch is exactly 1 and nothing is lost.
    """
    if _same(p, q):
        _clear(h, l, err)
        return
    ph, pl, p_err, p_exp = mass2(p)
    qh, ql, q_err, q_exp = mass2(q)
    th, tl = div2(ph, pl, qh, ql)
    loss = 0.0
    if p_err > 0 or q_err > 0 or ph != qh or pl != ql:
        loss = _RATIO_ERROR + 4.0 * (p_err + q_err)
    _clear(h, l, err)
    for k in range(len(p)):
        v = bin_node[k]
        x = math.ldexp(p[k], -p_exp)
        y = math.ldexp(q[k], -q_exp)
        if math.ldexp(x, p_exp) != p[k] or math.ldexp(y, q_exp) != q[k]:
            err[v] += 2e-323  # as in mass2, for both
        a, b = mul2(th, tl, y, 0.0)
        _accumulate(v, x, h, l, err)
        _accumulate(v, -a, h, l, err)
        _accumulate(v, -b, h, l, err)
        if loss > 0 and y > 0:
            err[v] += product(loss, y) + (2e-323 if a < _TINY else 0.0)  # the product's error may be below the range
    _lift(parent, h, l, err)
    for v in range(1, len(h)):
        a, b = two_sum(h[v], l[v])
        h[v], l[v] = div2(a, b, ph, pl)
        err[v] = err[v] / ph + product(loss, abs(h[v]))


@row
def settle(h, l, err, weight):
    """Make every pair normal; True where every sign is certain and every number finite.

    Edges of weight 0 count for nothing: their flow becomes 0.
    """
    safe = True
    for v in range(1, len(h)):
        if weight[v] == 0.0:
            h[v], l[v], err[v] = 0.0, 0.0, 0.0
        h[v], l[v] = two_sum(h[v], l[v])
        if not abs(h[v]) < math.inf or (err[v] > 0 and not abs(h[v]) > 2.0 * err[v]):
            safe = False
    return safe


@row
def rounds_alone(h, err):
    """True where every phi is the rounding of h + l, whatever the errors: 1 ulp for the flow itself."""
    for v in range(1, len(h)):
        if err[v] > abs(h[v]) * _RELATIVE:
            return False
    return True


@row
def units(h, l, cost):
    """The limbs of max |phi|, and the exponent of max cost, over the edges where both are > 0; (0, 0, 0) if none is."""
    top, dearest = 0, 0.0
    for v in range(1, len(h)):
        if cost[v] > 0 and h[v] != 0.0:
            dearest = max(dearest, cost[v])
            if top == 0 or abs(h[v]) > abs(h[top]):
                top = v
    if top == 0:
        return 0.0, 0.0, 0
    sign = math.copysign(1.0, h[top])
    return sign * h[top], sign * l[top], math.frexp(dearest)[1]


@row
def is_small_integer(rho):
    """True where |phi|**rho is computed by multiplications alone."""
    return rho == 1.0 or rho == 2.0 or rho == 3.0 or rho == 4.0


@row
def unit_power(uh, ul, rho, exponent):
    """u**exponent as (h, l, e) = (h + l) 2**e, for the unit that `descend` divides flows by."""
    if is_small_integer(rho):
        return 1.0, 0.0, math.frexp(uh)[1] * int(exponent)
    h, l = power2(uh, ul, exponent)
    e = math.frexp(h)[1]
    h, l = scale2(h, l, -e)
    return h, l, e


@row
def power_in_range(uh, rho, exponent):
    """True where `unit_power` stays in the range of float64, and rho where power2 is correct."""
    return is_small_integer(rho) or (_TINY < uh**exponent < math.inf and rho < _LARGEST_POWER)


@row
def in_units(xh, xl, shift, uh, ul, rho):
    """(xh + xl) / u, where u is 2**shift if rho is a small integer and uh + ul if not."""
    if is_small_integer(rho):
        return scale2(xh, xl, -shift)
    e, d = math.frexp(xh)[1], math.frexp(uh)[1]  # both near 1, so that no product leaves the normal range
    h, l = div2(*scale2(xh, xl, -e), *scale2(uh, ul, -d))
    return scale2(h, l, e - d)


@row
def _edge(xh, xl, w, rho):
    """Limbs of w x**rho and of w rho x**(rho-1), for x > 0, which scaling may have made 0."""
    if rho == 1.0:
        th, tl = two_prod(w, xh)
        return th, tl + product(w, xl), w, 0.0
    if is_small_integer(rho):
        return edge2(xh, xl, w, rho)
    sh, sl = mul2(*power2(xh, xl, rho - 1.0), *two_prod(w, rho))
    th, tl = mul2(*power2(xh, xl, rho), w, 0.0)
    return th, tl, sh, sl


@row
def descend(h, l, err, cost, parent, rho, uh, ul, m, rh, rl):
    """Value and raw derivative of settled flows; Eqs. (10), (11), (13) and (15).

    Flows come out in units of u (rounded up to a power of two if rho is a small integer) and costs in units of 2**m, so
    that no product leaves the range of float64.  Returns the value's limbs, and bounds on what err can change in the
    value and in any r.
    """
    value_h, value_l, value_err, r_err = 0.0, 0.0, 0.0, 0.0
    rh[0], rl[0] = 0.0, 0.0
    shift = math.frexp(uh)[1]
    for v in range(1, len(h)):
        rh[v], rl[v] = rh[parent[v]], rl[parent[v]]
        if h[v] == 0.0 or cost[v] == 0.0:
            continue
        sign = math.copysign(1.0, h[v])
        xh, xl = in_units(sign * h[v], sign * l[v], shift, uh, ul, rho)
        if xh < _TINY and not is_small_integer(rho):  # nothing, but for its slope if rho is near 1
            most = product(rho, _TINY ** (rho - 1.0))
            value_err, r_err = value_err + product(most, _TINY), r_err + most
            continue
        th, tl, sh, sl = _edge(xh, xl, math.ldexp(cost[v], -m), rho)
        value_h, value_l = add2(value_h, value_l, th, tl)
        rh[v], rl[v] = add2(rh[v], rl[v], product(sign, sh), product(sign, sl))
        if err[v] > 0:
            relative = product(rho, err[v] / abs(h[v]))
            relative = product(
                relative, math.exp(2.0 * relative)
            )  # (1 + x)**rho - 1 and its kin, x the error relative to phi
            value_err += product(th, relative)
            r_err += product(sh, relative) if rho != 1.0 else 0.0
    return value_h, value_l, value_err, r_err


@row
def trustworthy(value, value_err, r, r_err):
    """True where neither the flow's errors nor underflow can be seen in the result of a row in which mass flows."""
    top = 0.0
    for v in range(len(r)):
        top = max(top, abs(r[v]))
    return value >= _TINY and value_err <= value * _RELATIVE and r_err <= top * _RELATIVE  # False for NaN


@row
def mean_at_bins(rh, rl, bin_node):
    """Mean of r over the bins."""
    h, l = 0.0, 0.0
    for k in range(len(bin_node)):
        h, l = add2(h, l, rh[bin_node[k]], rl[bin_node[k]])
    return div2(h, l, float(len(bin_node)), 0.0)


@row
def mean_under(p, mass_h, mass_l, mass_exp, rh, rl, bin_node):
    """<p, r> / |p|."""
    h, l = 0.0, 0.0
    for k in range(len(bin_node)):
        h, l = add2(h, l, *mul2(rh[bin_node[k]], rl[bin_node[k]], math.ldexp(p[k], -mass_exp), 0.0))
    return div2(h, l, mass_h, mass_l)


@row
def gather(rh, rl, bin_node, offset_h, offset_l, factor_h, factor_l, exponent, grad):
    """grad[k] = (r at bin k - offset) * factor * 2**exponent, rounded once; see emdref.arguments.gauges."""
    for k in range(len(grad)):
        v = bin_node[k]
        h, l = mul2(*add2(rh[v], rl[v], -offset_h, -offset_l), factor_h, factor_l)
        grad[k] = math.ldexp(h, exponent)


@row
def dot(a, b):
    """<a, b> of (2, size) arrays: high limbs, low limbs."""
    h, l = 0.0, 0.0
    for k in range(a.shape[1]):
        h, l = add2(h, l, *mul2(a[0, k], a[1, k], b[0, k], b[1, k]))
    return h, l


@row
def scaled(v, x):
    """x = v 2**-e with |x| <= 1; returns e."""
    e = top_exponent(v)
    for k in range(len(v)):
        x[0, k], x[1, k] = math.ldexp(v[k], -e), 0.0
    return e
