"""Independent truth in plain Python: definitions written out edge by edge, slow on purpose.  Imports nothing of emdref.

A tree is (parent, cost, bins) with -1 at the root.  A chain is handled by its own prefix sums.
"""

import math
import operator
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from fractions import Fraction

_DIGITS = Context(prec=80, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
_NOTHING = Decimal("1e-400")  # far below any float


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
    return [v if isinstance(v, Fraction) else Fraction(float(v)) for v in x]


def normalized(x):
    total = sum(x)
    return [v / total for v in x]


def flow(p, q, edges):
    """Eqs. (6) and (14)."""
    (d,), unit = whole([[a - b for a, b in zip(p, q, strict=True)]])
    return {e: Fraction(sum(d[k] for k in under), unit) for e, (_, under) in edges.items()}


def emd(p, q, edges, rho):
    """Eqs. (5), (10), (13), integer rho."""
    phi = flow(p, q, edges)
    return sum((cost * abs(phi[e]) ** rho for e, (cost, _) in edges.items()), Fraction(0))


def sign(x):
    return (x > 0) - (x < 0)


def raw_grad(p, q, edges, rho):
    """Partial derivatives: each edge adds to every bin below it."""
    phi = flow(p, q, edges)
    return _added([rho * cost * sign(phi[e]) * abs(phi[e]) ** (rho - 1) for e, (cost, _) in edges.items()], edges, p)


def _added(slopes, edges, p):
    """Each edge's slope to every bin below it."""
    (slopes,), unit = whole([slopes])
    r = [0] * len(p)
    for slope, (_, under) in zip(slopes, edges.values(), strict=True):
        for k in under:
            r[k] += slope
    return [Fraction(x, unit) for x in r]


def gauged(r, p, gauge):
    """Raw derivatives r in another gauge; for ``normalized`` they are those at p/|p| and p is the one given."""
    n, mass = len(r), sum(p)
    mean = sum(a * b for a, b in zip(p, r, strict=True)) / mass if gauge == "normalized" else sum(r) / n
    offset, factor = {"raw": (0, 1), "zero_sum": (mean, 1), "scaled": (mean, n), "normalized": (mean, 1 / mass)}[gauge]
    return [(x - offset) * factor for x in r]


def power(x, rho):
    """x**rho for a Fraction x >= 0 and a real rho, to 75 digits; what no float can hold counts as 0."""
    if x == 0 or rho == 0:
        return Fraction(rho == 0)
    y = _DIGITS.power(_DIGITS.divide(Decimal(x.numerator), Decimal(x.denominator)), Decimal(float(rho)))
    return Fraction(y) if y > _NOTHING else Fraction(0)


def emd_real(p, q, edges, rho):
    """Eqs. (10) and (13) for a real rho, to 75 digits."""
    phi = flow(p, q, edges)
    return sum((cost * power(abs(phi[e]), rho) for e, (cost, _) in edges.items()), Fraction(0))


def raw_grad_real(p, q, edges, rho):
    """Eqs. (11) and (15) for a real rho, to 75 digits."""
    phi, exponent = flow(p, q, edges), Fraction(float(rho))
    slopes = [exponent * c * sign(phi[e]) * power(abs(phi[e]), float(rho) - 1) for e, (c, _) in edges.items()]
    return _added(slopes, edges, p)


def slope_along(f, x, d, step):
    """Derivative of f at x along d by the five-point rule: exact if f is a polynomial of degree <= 4 on the points."""
    at = [f([a + i * step * b for a, b in zip(x, d, strict=True)]) for i in (-2, -1, 1, 2)]
    return (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step)


def raw_hess(p, q, edges, rho):
    """Before Eq. (12), any real rho (to 75 digits): each edge adds to all pairs of bins below it."""
    phi = flow(p, q, edges)
    bends, integer = {}, rho == int(rho)
    for e, (cost, under) in edges.items():
        if phi[e] == 0 and 1 < rho < 2 and cost > 0 and under:
            raise ZeroDivisionError(f"edge {e}")
        x = abs(phi[e])
        if rho == 1 or (x == 0 and rho != 2):
            continue
        exponent = Fraction(float(rho))
        bends[e] = exponent * (exponent - 1) * cost * (x ** int(rho - 2) if integer else power(x, float(rho) - 2))
    (amounts,), unit = whole([list(bends.values())])
    h = [[0] * len(p) for _ in p]
    for e, amount in zip(bends, amounts, strict=True):
        under = edges[e][1]
        for j in under:
            for k in under:
                h[j][k] += amount
    return [[Fraction(x, unit) for x in line] for line in h]


def product(a, b):
    (a, one), (b, other) = whole(a), whole(b)
    columns = list(zip(*b, strict=True))
    return [[Fraction(sum(map(operator.mul, row, column)), one * other) for column in columns] for row in a]


def whole(matrix):
    """A matrix of rationals as whole numbers and the number to divide them by: sums of fractions are slow."""
    unit = math.lcm(*(x.denominator for row in matrix for x in row))
    return [[x.numerator * (unit // x.denominator) for x in row] for row in matrix], unit


def gauged_hess(h, r, p, gauge):
    """A raw Hessian in another gauge, by matrices; for ``normalized`` h and r are those at p/|p| and p is given."""
    n, mass = len(p), sum(p)
    if gauge == "raw":
        return h
    w = [x / mass for x in p] if gauge == "normalized" else [Fraction(1, n)] * n
    j = [[(i == k) - w[i] for k in range(n)] for i in range(n)]
    inner = product(product([list(column) for column in zip(*j, strict=True)], h), j)
    if gauge == "normalized":
        g = [x - sum(a * b for a, b in zip(w, r, strict=True)) for x in r]
        return [[(inner[i][k] - g[i] - g[k]) / mass**2 for k in range(n)] for i in range(n)]
    return [[x * (n**2 if gauge == "scaled" else 1) for x in row] for row in inner]


def distance(i, j, edges):
    """Eq. (4): the edges that have one of two bins below."""
    return sum((cost for cost, under in edges.values() if (i in under) != (j in under)), Fraction(0))


def depth(i, edges):
    """From a bin to the root."""
    return sum((cost for cost, under in edges.values() if i in under), Fraction(0))


def plan(p, q, parent, bins):
    """({(i, j): mass}, {bin: what is left unmatched, signed}): what can stay stays; then bottom up, from the front."""
    entries = {(k, k): min(a, b) for k, (a, b) in enumerate(zip(p, q, strict=True)) if min(a, b)}
    levels, below_node = [[v for v, u in enumerate(parent) if u == -1]], children(parent)
    while levels[-1]:
        levels.append([v for u in levels[-1] for v in below_node[u]])
    waiting = {v: [] for v in range(len(parent))}
    for k, v in enumerate(bins):
        waiting[v] = [(k, p[k] - q[k])] if p[k] != q[k] else []
    for v in [v for level in levels[1:] for v in level][::-1]:
        waiting[parent[v]] = _meet(waiting[v], waiting[parent[v]], entries)
    return entries, dict(waiting[levels[0][0]])


def children(parent):
    below = {v: [] for v in range(len(parent))}
    for v, u in enumerate(parent):
        if u != -1:
            below[u].append(v)
    return below


def _meet(coming, here, entries):
    """Match (bin, signed mass) pairs of two lists, each of one sign, from the front; what is left of both."""
    while coming and here and sign(coming[0][1]) != sign(here[0][1]):
        (i, a), (j, b) = coming.pop(0), here.pop(0)
        x = min(abs(a), abs(b))
        entries[(i, j) if a > 0 else (j, i)] = x
        if abs(a) > x:
            coming.insert(0, (i, a - sign(a) * x))
        if abs(b) > x:
            here.insert(0, (j, b - sign(b) * x))
    return coming + here


# --- rings ------------------------------------------------------------------------------------------------------------


def ring(p, q, gaps, rho):
    """(value, flows, raw gradient) on a ring for rho = 1 or 2, by trying: gap i follows bin i, the last closes it.

    At rho = 1 the least values over all flows of an edge are looked for, at rho = 2 the vertex of a parabola.
    """
    gaps, phi, below = fractions(gaps), [], Fraction(0)
    for a, b in zip(p, q, strict=True):
        below += a - b
        phi.append(below)
    phi[-1] = Fraction(0)

    def value(c):
        return sum((m * abs(f - c) ** rho for f, m in zip(phi, gaps, strict=True)), Fraction(0))

    if not any(gaps):
        c = Fraction(0)
    elif rho == 1:
        at = {f: value(f) for f, m in zip(phi, gaps, strict=True) if m}
        least = [f for f in at if at[f] == min(at.values())]
        c = (min(least) + max(least)) / 2
    else:
        before, here, after = (value(Fraction(x)) for x in (-1, 0, 1))
        c = (before - after) / (2 * (before + after - 2 * here))
    flows = [f - c for f in phi]
    slopes = [rho * m * sign(f) * abs(f) ** (rho - 1) for f, m in zip(flows, gaps, strict=True)]
    tied = sum(m for f, m in zip(flows, gaps, strict=True) if not f)
    if rho == 1 and tied:
        shared = -sum(slopes) / tied
        slopes = [s if f else shared * m for s, f, m in zip(slopes, flows, gaps, strict=True)]
    r = [sum(slopes[k:-1], Fraction(0)) for k in range(len(phi))]
    return value(c), flows, r
