"""Independent truth in plain Python: definitions written out edge by edge, slow on purpose.  Imports nothing of emdref.

A tree is (parent, cost, bins) with -1 at the root.  A chain is handled by its own prefix sums.
"""

from fractions import Fraction


def below(parent, bins):
    """For each node the set of bin indices at or below it, found by walking up from every bin."""
    sets = [set() for _ in parent]
    for k, node in enumerate(bins):
        while node != -1:
            sets[node].add(k)
            node = int(parent[node])
    return sets


def tree_edges(parent, cost, bins):
    """(cost, bins below) of every edge, the node's own number as key; the root has none."""
    sets = below(parent, bins)
    return {v: (Fraction(float(cost[v])), sets[v]) for v in range(len(parent)) if parent[v] != -1}


def chain_edges(gaps):
    """The same for a chain rooted at its last bin: below gap i lie bins 0..i."""
    return {i: (Fraction(float(g)), set(range(i + 1))) for i, g in enumerate(gaps)}


def fractions(x):
    return [Fraction(float(v)) for v in x]


def normalized(x):
    total = sum(x)
    return [v / total for v in x]


def flow(p, q, edges):
    """Eqs. (6) and (14)."""
    return {e: sum((p[k] - q[k] for k in under), Fraction(0)) for e, (_, under) in edges.items()}


def emd(p, q, edges, rho):
    """Eqs. (5), (10), (13), integer rho."""
    phi = flow(p, q, edges)
    return sum((cost * abs(phi[e]) ** rho for e, (cost, _) in edges.items()), Fraction(0))


def sign(x):
    return (x > 0) - (x < 0)


def raw_grad(p, q, edges, rho):
    """Partial derivatives: each edge adds to every bin below it."""
    phi = flow(p, q, edges)
    r = [Fraction(0)] * len(p)
    for e, (cost, under) in edges.items():
        for k in under:
            r[k] += rho * cost * sign(phi[e]) * abs(phi[e]) ** (rho - 1)
    return r


def grad(p, q, edges, rho, gauge):
    if gauge == "normalized":
        mass = sum(p)
        p, q = normalized(p), normalized(q)
    r = raw_grad(p, q, edges, rho)
    n = len(r)
    if gauge == "raw":
        return r
    if gauge == "normalized":
        mean = sum(a * b for a, b in zip(p, r, strict=True))
        return [(x - mean) / mass for x in r]
    mean = sum(r) / n
    return [(x - mean) * (n if gauge == "scaled" else 1) for x in r]
