"""One row's flows and slopes in plain arithmetic of the input's dtype, for second derivatives and for the flow itself.

Nodes stand in topological order: ``parent[v] < v`` and node 0 is the root.  A chain is the path rooted at its last bin.
"""

from emdref.kernels.arithmetic.edges import slope
from emdref.kernels.compile.jit import row


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
    """r[v], the raw derivative for mass at node v; Eqs. (11) and (15)."""
    one = phi.dtype.type(1)
    r[0] = phi.dtype.type(0)
    for v in range(1, len(phi)):
        r[v] = r[parent[v]]
        if cost[v] > 0:  # else a slope that overflows would count, as 0 * inf
            r[v] += cost[v] * slope(phi[v], rho, one)


@row
def total(x):
    """Sum of a row, left to right."""
    s = x.dtype.type(0)
    for k in range(len(x)):
        s += x[k]
    return s
