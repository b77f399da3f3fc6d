"""One row of second derivatives in plain arithmetic of the input's dtype; see emdref.arguments.gauges for the formula.

With c_e = rho (rho-1) M_e |phi_e|**(rho-2), the raw Hessian is H = sum_e c_e a_e a_e^T, a_e the indicator of the bins
below e (before Eq. (12) of arXiv 1611.07573).  H x is sums below each edge, times c, summed on the way down.
"""

from emdref.kernels.arithmetic.edges import bend, is_infinite
from emdref.kernels.compile.jit import row
from emdref.kernels.rows import native


@row
def infinite_edge(phi, cost, rho):
    """An edge where the second derivative is infinite, or 0 (the root) if there is none."""
    for v in range(1, len(phi)):
        if cost[v] > 0 and is_infinite(phi[v], rho):
            return v
    return 0


@row
def bends(phi, cost, rho, one, c):
    """Fill c for a row without an infinite edge."""
    c[0] = one - one
    for v in range(1, len(phi)):
        c[v] = cost[v] * bend(phi[v], rho, one) if cost[v] > 0 else c[0]


@row
def apply(c, x, parent, bin_node, t, y):
    """y = H x; t is scratch for the nodes."""
    native.clear(t)
    for k in range(len(x)):
        t[bin_node[k]] = x[k]
    native.lift(parent, t)
    t[0] = c[0]
    for v in range(1, len(t)):
        t[v] = t[parent[v]] + c[v] * t[v]
    for k in range(len(y)):
        y[k] = t[bin_node[k]]


@row
def dot(a, b):
    """<a, b>."""
    s = a.dtype.type(0)
    for k in range(len(a)):
        s += a[k] * b[k]
    return s


@row
def centred_slope(phi, cost, parent, bin_node, rho, w, r, g):
    """g = raw gradient - <w, raw gradient>; r is scratch for the nodes."""
    native.descend(phi, cost, parent, rho, r)
    for k in range(len(g)):
        g[k] = r[bin_node[k]]
    mean = dot(w, g)
    for k in range(len(g)):
        g[k] -= mean


@row
def product(c, w, g, v, parent, bin_node, factor, t, x, out):
    """out = factor**2 (J^T H J - g 1^T - 1 g^T) v with J = I - w 1^T; w = 0 and g = 0 in gauge raw."""
    s = native.total(v)
    for k in range(len(x)):
        x[k] = v[k] - w[k] * s
    apply(c, x, parent, bin_node, t, out)
    shared = dot(w, out) + dot(g, v)
    for k in range(len(out)):
        out[k] = (out[k] - shared - g[k] * s) * factor * factor


@row
def border(c, w, g, parent, bin_node, t, o):
    """o = H w + g and the corner w^T H w, so that the matrix is H - o 1^T - 1 o^T + corner 1 1^T; c becomes its own
    sums along the way down, where H has its entries: at the lowest node above both bins."""
    apply(c, w, parent, bin_node, t, o)
    corner = dot(w, o)
    for k in range(len(o)):
        o[k] += g[k]
    for v in range(1, len(c)):
        c[v] += c[parent[v]]
    return corner


@row
def meet(node, parent, above):
    """above[v] = the lowest node that is above both v and `node`, or one of them."""
    native.clear(above)
    v = node
    while v > 0:
        above[v] = v
        v = parent[v]
    for v in range(1, len(above)):
        if above[v] == 0:
            above[v] = above[parent[v]]


@row
def line(j, sums, o, corner, parent, bin_node, factor, above, out):
    """Row j of the matrix, from what `border` left; above is scratch for the nodes."""
    meet(bin_node[j], parent, above)
    for k in range(len(out)):
        out[k] = (sums[above[bin_node[k]]] - (o[j] + o[k]) + corner) * factor * factor
