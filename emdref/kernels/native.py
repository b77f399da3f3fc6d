"""One row of exact EMD in plain arithmetic of the input's dtype: what a framework's kernel computes.

Nodes stand in topological order: ``parent[v] < v`` and node 0 is the root.  A chain is the path rooted at its last bin.
"""

from emdref.kernels.edges import power, slope
from emdref.kernels.jit import row


@row
def clear(x):
    """x = 0."""
    for v in range(len(x)):
        x[v] = x.dtype.type(0)


@row
def lift(parent, t):
    """Sums at or below each node, in place."""
    for v in range(len(t) - 1, 0, -1):
        t[parent[v]] += t[v]


@row
def flow(p, q, parent, bin_node, phi):
    """phi[v] = mass of p - q at or below node v; Eqs. (6) and (14)."""
    clear(phi)
    for k in range(len(p)):
        phi[bin_node[k]] = p[k] - q[k]
    lift(parent, phi)


@row
def descend(phi, cost, parent, rho, r):
    """Value, Eqs. (10) and (13), and r[v], the raw derivative for mass at node v, Eqs. (11) and (15)."""
    one = phi.dtype.type(1)
    value = phi.dtype.type(0)
    r[0] = value
    for v in range(1, len(phi)):
        r[v] = r[parent[v]]
        if cost[v] > 0:  # else a power that overflows would count, as 0 * inf
            value += cost[v] * power(phi[v], rho)
            r[v] += cost[v] * slope(phi[v], rho, one)
    return value


@row
def total(x):
    """Sum of a row, left to right."""
    s = x.dtype.type(0)
    for k in range(len(x)):
        s += x[k]
    return s


@row
def gather(r, bin_node, offset, factor, grad):
    """grad[k] = (r at bin k - offset) * factor: every gauge is of this form, see emdref.gauges."""
    for k in range(len(grad)):
        grad[k] = (r[bin_node[k]] - offset) * factor


@row
def mean_at_bins(r, bin_node, n):
    """Mean of r over the n bins; n comes in r's dtype."""
    s = r.dtype.type(0)
    for k in range(len(bin_node)):
        s += r[bin_node[k]]
    return s / n


@row
def mean_under(p, r, bin_node, mass):
    """<p, r> / mass."""
    s = r.dtype.type(0)
    for k in range(len(bin_node)):
        s += p[k] * r[bin_node[k]]
    return s / mass
