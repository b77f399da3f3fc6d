"""EMD of pairs of sparse rows on the subtree that their bins span, whatever the size and depth of the tree.

The bins of both rows, sorted by their places in the order of emdref.kernels.trees.heavy_paths, are the tips; the lowest
common ancestors of neighbours in that order are the only other nodes at which flows can meet.  Along the run of edges
between two such nodes the flow is the same, so that the sum of its costs suffices: a difference of distances from the
root. Flows, costs and values have two limbs; `certain` gives a value only where what these may lose cannot be seen.
"""

import math

import numpy as np

from emdref.kernels.arithmetic.edges import power, power2
from emdref.kernels.arithmetic.floats import add2, mul2, quick_two_sum, two_sum
from emdref.kernels.compile.jit import loop, row
from emdref.kernels.trees.all_pairs import PLAIN, certain, slack
from emdref.kernels.trees.heavy_paths import meeting

_U2 = 2.0**-106


@row
def _merge(xp, xm, yp, ym, fx, fy, place, h, l, mass):
    """Tips of a pair: places, p - q in two limbs, p + q; returns their number, and whether the rows are the same."""
    i, j, n, same = 0, 0, 0, True
    while i < len(xp) or j < len(yp):
        a, b = i < len(xp), j < len(yp)
        if a and b and xp[i] != yp[j]:
            a, b = xp[i] < yp[j], yp[j] < xp[i]
        p, q = 0.0, 0.0
        if a:
            place[n], p = xp[i], np.float64(xm[i])
            i += 1
        if b:
            place[n], q = yp[j], np.float64(ym[j])
            j += 1
        same = same and p == q
        ph, pl = mul2(p * fx[0], 0.0, fx[1], fx[2])
        qh, ql = mul2(q * fy[0], 0.0, fy[1], fy[2])
        h[n], l[n] = add2(ph, pl, -qh, -ql)
        mass[n] = ph + qh
        n += 1
    return n, same


@row
def run_cost(v, u, depth):
    """Sum of the costs from node v up to its ancestor u."""
    return add2(depth[v, 0], depth[v, 1], -depth[u, 0], -depth[u, 1])


@row
def _pay(top, u, stack, h, l, mass, depth, rho, sums):
    """Carry the flow at the top of the stack up to node u: value, what errors of flows and of costs may change."""
    ch, cl = run_cost(stack[top], u, depth)
    s = math.copysign(1.0, h[top])
    if h[top] != 0.0:
        ph, pl = power2(s * h[top], s * l[top], rho)
        sums[0], sums[1] = add2(sums[0], sums[1], *mul2(ph, pl, ch, cl))
        sums[3] += ph
    sums[2] += ch * power(mass[top], rho)


@row
def _close(w, top, stack, h, l, mass, depth, rho, sums):
    """Finish all that lies below node w, an ancestor of the top; returns the new top, which is w."""
    while top > 0 and stack[top - 1] >= w:
        u = top - 1
        _pay(top, stack[u], stack, h, l, mass, depth, rho, sums)
        h[u], l[u] = add2(h[u], l[u], h[top], l[top])
        mass[u] += mass[top]
        top = u
    if stack[top] != w:
        _pay(top, w, stack, h, l, mass, depth, rho, sums)
        stack[top] = w
    return top


@row
def _walk(n, normalize, place, h, l, mass, path, depth, rho, sums):
    """Value and error terms of n tips; the stack of open nodes overwrites the tips already taken."""
    sums[:] = 0.0
    top = 0
    for t in range(1, n):
        w = meeting(place[top], place[t], path)
        top = _close(w, top, place, h, l, mass, depth, rho, sums)
        top += 1
        place[top], h[top], l[top], mass[top] = place[t], h[t], l[t], mass[t]
    root = place[0] if normalize else 0  # normalised, nothing flows above the last meeting
    _close(min(root, place[top]), top, place, h, l, mass, depth, rho, sums)


@row
def _settled(n, nodes, normalize, depth_err, rho, sums):
    """The value if its rounding is certain, else NaN; for the bounds see `slack`, and `_lost` in emdref.pairwise."""
    loss = (64.0 if normalize else 8.0) * rho * (6.0 * n + 16.0) ** 2 * _U2
    margin = slack(PLAIN, 0, nodes)[1] * sums[0] + loss * sums[2] + 4.0 * depth_err * sums[3]
    return certain(sums[0], sums[1], margin, 0)


@row
def _longest(start, rows):
    size = 0
    for i in rows:
        size = max(size, start[i + 1] - start[i])
    return size


@loop
def emd_sparse(out, i, j, x, y, tree, rho, normalize, proven):
    """out[k] for row i[k] of x and row j[k] of y; NaN, if it must be proven, where two limbs leave the rounding open.

    A side is (start, place, mass, factors) as in a CSR matrix with ascending places; for factors see
    emdref.kernels.trees.all_pairs.
    """
    path, depth, depth_err = tree
    size = _longest(x[0], i) + _longest(y[0], j)
    place = np.empty(size, np.int64)
    h, l, mass, sums = np.empty(size), np.empty(size), np.empty(size), np.empty(4)
    for k in range(len(i)):
        a, b = slice(x[0][i[k]], x[0][i[k] + 1]), slice(y[0][j[k]], y[0][j[k] + 1])
        fx, fy = x[3][:, i[k]], y[3][:, j[k]]
        n, same = _merge(x[1][a], x[2][a], y[1][b], y[2][b], fx, fy, place, h, l, mass)
        if same:
            out[k] = 0.0
            continue
        _walk(n, normalize, place, h, l, mass, path, depth, rho, sums)
        out[k] = _settled(n, len(path), normalize, depth_err, rho, sums) if proven else sums[0]


@loop
def totals(start, mass, scale, h, l):
    """Sum of each row times a power of two, in two limbs."""
    for i in range(len(start) - 1):
        h[i], l[i] = 0.0, 0.0
        for k in range(start[i], start[i + 1]):
            h[i], e = two_sum(h[i], mass[k] * scale[i])
            l[i] += e
        h[i], l[i] = quick_two_sum(h[i], l[i])


@loop
def meetings(u, v, path, out):
    """Lowest common ancestors of pairs of nodes."""
    for k in range(len(out)):
        out[k] = meeting(u[k], v[k], path)


@loop
def run_costs(v, u, depth, out):
    """Limbs of the cost of the way up from v[k] to its ancestor u[k]."""
    for k in range(len(v)):
        out[0, k], out[1, k] = run_cost(v[k], u[k], depth)
