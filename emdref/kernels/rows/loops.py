"""Loops over rows: these map row formulas onto a batch and own the scratch memory, nothing else.

Each row is computed by itself, so that a result depends neither on the batch around it nor on the number of threads
that `threads` deals the rows to.

What goes through many hands does so in tuples: `tree` is (parent, cost, bin_node), `how` (rho, normalize, gauge), a
settled `flow` its limbs and the bound of their error by node (h, l, err), and `r` its limbs by node (rh, rl).
"""

import math

import numpy as np

from emdref.kernels.arithmetic.edges import power
from emdref.kernels.arithmetic.floats import copy, div2, limbs, mul2
from emdref.kernels.compile.jit import loop, row
from emdref.kernels.rows import gauges, hessian, hessian_two_limbs, native, two_limbs

GIVEN = 2  # instead of whether to normalise: h, l and err are what emdref.kernels.trees.kulisch makes of a pair
_RAW, _SCALED, _NORMALIZED = gauges.RAW, gauges.SCALED, gauges.NORMALIZED


@row
def _native_masses(p, q, normalize, a, b):
    """Copy a row into a and b, each divided by its total if asked; returns p's total (1 if not asked)."""
    mass, other = p.dtype.type(1), p.dtype.type(1)
    if normalize:
        mass, other = native.total(p), native.total(q)
    for k in range(len(p)):
        a[k] = p[k] / mass
        b[k] = q[k] / other
    return mass


@row
def _factor(gauge, n, mass, one):
    """What a gauge multiplies every differentiation with; see emdref.arguments.gauges."""
    if gauge == _SCALED:
        return n
    if gauge == _NORMALIZED:
        return one / mass
    return one


@row
def _factor2(gauge, n, mh, ml, mass_exp):
    """What a gauge multiplies every differentiation with, as (limbs, exponent)."""
    if gauge == _SCALED:
        return n, 0.0, 0
    if gauge == _NORMALIZED:
        h, l = div2(1.0, 0.0, mh, ml)
        return h, l, -mass_exp
    return 1.0, 0.0, 0


@row
def native_flow(p, q, parent, bin_node, normalize, a, b, phi):
    """phi of one pair in its own dtype; a and b are scratch for the bins."""
    _native_masses(p, q, normalize, a, b)
    native.flow(a, b, parent, bin_node, phi)


@loop
def flow_native(p, q, phi, parent, bin_node, normalize):
    """phi of each pair of rows in the rows' own dtype, nodes in the kernels' order."""
    a, b = np.empty(p.shape[1], p.dtype), np.empty(p.shape[1], p.dtype)
    for i in range(len(p)):
        native_flow(p[i], q[i], parent, bin_node, normalize, a, b, phi[i])


@loop
def raise_flows(phi, rho):
    """|phi|**rho in the place of each phi, in the arithmetic of its dtype."""
    for i in range(len(phi)):
        for e in range(phi.shape[1]):
            phi[i, e] = power(phi[i, e], rho)


@row
def _finish(p, tree, how, flow, r, value, grad):
    """Value, into an array of one entry, and gradient from a settled flow; False if two limbs were not enough."""
    parent, cost, bin_node = tree
    rho, _, gauge = how
    h, l, err = flow
    rh, rl = r
    uh, ul, m = two_limbs.units(h, l, cost)
    if uh == 0.0:  # nothing flows where it costs
        value[0] = 0.0
        for k in range(len(grad)):
            grad[k] = 0.0
        return True
    if not two_limbs.power_in_range(uh, rho, rho):  # nor then is u**(rho - 1), which lies between 1 and u**rho
        return False
    value_h, value_l, value_err, r_err = two_limbs.descend(h, l, err, cost, parent, rho, uh, ul, m, rh, rl)
    fh, fl, e = two_limbs.unit_power(uh, ul, rho, rho)
    value[0] = math.ldexp(mul2(value_h, value_l, fh, fl)[0], e + m)
    if len(grad) > 0:
        _finish_gradient(p, uh, ul, m, bin_node, rho, gauge, rh, rl, grad)
    return two_limbs.trustworthy(value_h, value_err, rh, r_err)


@row
def _finish_gradient(p, uh, ul, m, bin_node, rho, gauge, rh, rl, grad):
    fh, fl, e = two_limbs.unit_power(uh, ul, rho, rho - 1.0)
    oh, ol, mh, ml, mass_exp = 0.0, 0.0, 1.0, 0.0, 0
    if gauge == _NORMALIZED:
        mh, ml, _, mass_exp = two_limbs.mass2(p)
        oh, ol = two_limbs.mean_under(p, mh, ml, mass_exp, rh, rl, bin_node)
    elif gauge != _RAW:
        oh, ol = two_limbs.mean_at_bins(rh, rl, bin_node)
    gh, gl, more = _factor2(gauge, float(len(p)), mh, ml, mass_exp)
    fh, fl = mul2(fh, fl, gh, gl)
    two_limbs.gather(rh, rl, bin_node, oh, ol, fh, fl, e + more + m, grad)


@row
def _settled_flow(p, q, weight, parent, bin_node, normalize, h, l, err):
    if normalize == GIVEN:
        return True
    if normalize:
        two_limbs.flow_normalized(p, q, parent, bin_node, h, l, err)
    else:
        two_limbs.flow(p, q, parent, bin_node, h, l, err)
    return two_limbs.settle(h, l, err, weight)


@row
def _give(normalize, flows, i, flow):
    """Row i of flows that are given."""
    h, l, err = flow
    if normalize == GIVEN:
        copy(h, flows[i, 0])
        copy(l, flows[i, 1])
        copy(err, flows[i, 2])


@row
def twolimb_flow(p, q, weight, parent, bin_node, normalize, h, l, err):
    """phi of one pair in h, l and err; False if it must be done again exactly."""
    safe = _settled_flow(p, q, weight, parent, bin_node, normalize, h, l, err)
    return safe and two_limbs.rounds_alone(h, err)


@loop
def flow_twolimb(p, q, phi, unsafe, parent, weight, bin_node, normalize):
    """phi of each pair, 0 on edges of weight 0, and whether it must be done again exactly."""
    h = np.empty(len(parent))
    l = np.empty(len(parent))
    err = np.empty(len(parent))
    for i in range(len(p)):
        unsafe[i] = not twolimb_flow(p[i], q[i], weight, parent, bin_node, normalize, h, l, err)
        copy(phi[i], h)


@row
def _scratch(nodes):
    """A flow, and r."""
    return (np.empty(nodes), np.empty(nodes), np.empty(nodes)), (np.empty(nodes), np.empty(nodes))


@row
def twolimb_emd(p, q, tree, how, flow, r, value, grad):
    """Value and gradient of one pair, none if grad is empty; False if they must be done again exactly."""
    parent, cost, bin_node = tree
    h, l, err = flow
    if not _settled_flow(p, q, cost, parent, bin_node, how[1], h, l, err):
        return False
    return _finish(p, tree, how, flow, r, value, grad)


@loop
def emd_twolimb(p, q, value, grad, unsafe, flows, tree, how):
    """Value and gradient (none if grad has no rows) of each pair, and whether they must be done again exactly.

    `flows` has no rows unless they are GIVEN.
    """
    flow, r = _scratch(len(tree[0]))
    for i in range(len(p)):
        line = grad[min(i, len(grad) - 1)] if len(grad) > 0 else r[0][:0]
        _give(how[1], flows, i, flow)
        unsafe[i] = not twolimb_emd(p[i], q[i], tree, how, flow, r, value[i : i + 1], line)


@row
def _native_scratch(p, nodes):
    """What `_native_second` works on: shares a and b by bin; flows, r and bends c by node; weights w and g by bin."""
    bins, dtype = p.shape[1], p.dtype
    a, b, w, g = np.empty(bins, dtype), np.empty(bins, dtype), np.empty(bins, dtype), np.empty(bins, dtype)
    return a, b, np.empty(nodes, dtype), np.empty(nodes, dtype), np.empty(nodes, dtype), w, g


@row
def _native_second(p, q, tree, how, scratch):
    """Fill c, w and g for emdref.kernels.rows.hessian; returns a factor, and an edge of infinite curvature or 0."""
    parent, cost, bin_node = tree
    rho, normalize, gauge = how
    a, b, phi, r, c, w, g = scratch
    n, one = p.dtype.type(len(p)), p.dtype.type(1)
    mass = _native_masses(p, q, normalize, a, b)
    native.flow(a, b, parent, bin_node, phi)
    native.clear(w)
    native.clear(g)
    if gauge != _RAW:
        for k in range(len(w)):
            w[k] = a[k] if gauge == _NORMALIZED else one / n
    if gauge == _NORMALIZED:
        hessian.centred_slope(phi, cost, parent, bin_node, rho, w, r, g)
    edge = hessian.infinite_edge(phi, cost, rho)
    if edge == 0:
        hessian.bends(phi, cost, rho, one, c)
    return _factor(gauge, n, mass, one), edge


@row
def native_hvp(p, q, v, tree, how, scratch, out):
    """Hessian times v of one pair; returns an edge where the curvature is infinite, or 0."""
    factor, edge = _native_second(p, q, tree, how, scratch)
    if edge == 0:
        parent, _, bin_node = tree
        a, _, phi, _, c, w, g = scratch
        hessian.product(c, w, g, v, parent, bin_node, factor, phi, a, out)
    return edge


@loop
def hvp_native(p, q, v, out, infinite, tree, how):
    """Hessian times v of each pair in the rows' own dtype, or the edge where the curvature is infinite."""
    scratch = _native_scratch(p, len(tree[0]))
    for i in range(len(p)):
        infinite[i] = native_hvp(p[i], q[i], v[i], tree, how, scratch, out[i])


@row
def native_border(p, q, tree, how, scratch):
    """What a pair's Hessian is made of, in c and a; an edge of infinite curvature or 0, the corner, the factor."""
    factor, edge = _native_second(p, q, tree, how, scratch)
    parent, _, bin_node = tree
    a, _, phi, _, c, w, g = scratch
    return edge, hessian.border(c, w, g, parent, bin_node, phi, a) if edge == 0 else factor, factor


@loop
def hess_native(p, q, out, infinite, tree, how):
    """Hessian of each pair in the rows' own dtype, or the edge where the curvature is infinite."""
    parent, _, bin_node = tree
    scratch, above = _native_scratch(p, len(parent)), np.empty(len(parent), np.int64)
    a, c = scratch[0], scratch[4]
    for i in range(len(p)):
        infinite[i], corner, factor = native_border(p[i], q[i], tree, how, scratch)
        if infinite[i] == 0:
            for j in range(p.shape[1]):
                hessian.line(j, c, a, corner, parent, bin_node, factor, above, out[i, j])


@row
def _second(p, q, tree, how, relative, flow, r, bent):
    """Fill `bent`, c, w and g for emdref.kernels.rows.hessian_two_limbs; returns (safe, edge of infinite curvature or
    0, factor's limbs and exponent)."""
    parent, cost, bin_node = tree
    rho, normalize, gauge = how
    h, l, err = flow
    rh, rl = r
    c, w, g = bent
    for k in range(w.shape[1]):
        w[0, k], w[1, k], g[0, k], g[1, k] = 0.0, 0.0, 0.0, 0.0
    if rho != 2.0 or gauge == _NORMALIZED:
        if not _settled_flow(p, q, cost, parent, bin_node, normalize, h, l, err):
            return False, 0, 0.0, 0.0, 0
        edge = hessian.infinite_edge(h, cost, rho)
        if edge > 0:
            return True, edge, 0.0, 0.0, 0
    uh, ul, m = hessian_two_limbs.units(h, l, cost, rho)
    power = 0.0 if rho == 1.0 else rho - 2.0  # at rho = 1 there is no curvature: units of the gradient
    if uh > 0.0 and not two_limbs.power_in_range(uh, rho, power):
        return False, 0, 0.0, 0.0, 0
    worst, total = hessian_two_limbs.bends(h, l, err, cost, rho, uh, ul, m, c)
    mh, ml, mass_exp = 1.0, 0.0, 0
    if gauge == _NORMALIZED:
        mh, ml, _, mass_exp = two_limbs.mass2(p)
    if gauge != _RAW:
        hessian_two_limbs.weights(p, gauge == _NORMALIZED, mh, ml, mass_exp, w)
    if gauge == _NORMALIZED and uh > 0.0:
        _, _, _, r_err = two_limbs.descend(h, l, err, cost, parent, rho, uh, ul, m, rh, rl)
        gh, gl, shift = two_limbs.unit_power(uh, ul, rho, rho - 1.0 - power)
        hessian_two_limbs.centred_slope(rh, rl, bin_node, w, gh, gl, shift, g)
        total += math.ldexp(r_err * gh, shift)
    fh, fl, e = 1.0, 0.0, 0
    if uh > 0.0:
        fh, fl, e = two_limbs.unit_power(uh, ul, rho, power)
    gh, gl, more = _factor2(gauge, float(len(p)), mh, ml, mass_exp)
    fh, fl = mul2(*mul2(fh, fl, gh, gl), gh, gl)
    safe = hessian_two_limbs.trustworthy(c, g, parent, bin_node, worst, total, relative, rh)
    return safe, 0, fh, fl, e + m + 2 * more


@row
def twolimb_hvp(p, q, v, tree, how, flow, r, bent, rest, out):
    """Hessian times v of one pair; whether that may be trusted, and an edge where the curvature is infinite, or 0.

    `rest` is more scratch: limbs by node and, twice, by bin.
    """
    safe, edge, fh, fl, e = _second(p, q, tree, how, False, flow, r, bent)
    if safe and edge == 0:
        parent, _, bin_node = tree
        c, w, g = bent
        t, x, y = rest
        e += two_limbs.scaled(v, x)
        hessian_two_limbs.product(c, w, g, x, parent, bin_node, t, y)
        for k in range(len(out)):
            out[k] = math.ldexp(mul2(y[0, k], y[1, k], fh, fl)[0], e)
    return safe, edge


@loop
def hvp_twolimb(p, q, v, out, unsafe, infinite, flows, tree, how):
    """Hessian times v of each pair; whether it must be done again exactly; the edge where the curvature is infinite."""
    nodes, bins = len(tree[0]), p.shape[1]
    flow, r = _scratch(nodes)
    bent, rest = (limbs(nodes), limbs(bins), limbs(bins)), (limbs(nodes), limbs(bins), limbs(bins))
    for i in range(len(p)):
        _give(how[1], flows, i, flow)
        safe, infinite[i] = twolimb_hvp(p[i], q[i], v[i], tree, how, flow, r, bent, rest, out[i])
        unsafe[i] = not safe


@row
def twolimb_border(p, q, tree, how, flow, r, bent, t, o):
    """What a pair's Hessian is made of, in `bent` and o; whether it may be trusted, an edge of infinite curvature or
    0, the limbs of the corner and of the factor, and its exponent."""
    safe, edge, fh, fl, e = _second(p, q, tree, how, how[2] == _RAW, flow, r, bent)
    kh, kl = 0.0, 0.0
    if safe and edge == 0:
        parent, _, bin_node = tree
        c, w, g = bent
        kh, kl = hessian_two_limbs.border(c, w, g, parent, bin_node, t, o)
    return safe, edge, (kh, kl), (fh, fl), e


@loop
def hess_twolimb(p, q, out, unsafe, infinite, flows, tree, how):
    """Hessian of each pair; whether it must be done again exactly; the edge where the curvature is infinite."""
    parent, _, bin_node = tree
    nodes, bins = len(parent), p.shape[1]
    flow, r = _scratch(nodes)
    bent, t, o, above = (limbs(nodes), limbs(bins), limbs(bins)), limbs(nodes), limbs(bins), np.empty(nodes, np.int64)
    for i in range(len(p)):
        _give(how[1], flows, i, flow)
        safe, infinite[i], corner, factor, e = twolimb_border(p[i], q[i], tree, how, flow, r, bent, t, o)
        unsafe[i] = not safe
        if safe and infinite[i] == 0:
            for j in range(bins):
                hessian_two_limbs.line(j, bent[0], o, *corner, parent, bin_node, *factor, e, above, out[i, j])
