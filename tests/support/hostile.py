"""Pairs of rows that are hard to sum: wide ranges, exact cancellation amid lost bits, totals far apart, extremes.

Imports nothing of emdref, so that tests of compiled and of plain kernels share it.
"""

import numpy as np


def wide(rng, n, dtype):
    """Full significands at any exponents down to a depth drawn for the row, some entries 0."""
    depth = rng.choice([1, 8, 20, 40, 60, 120])
    return tuple(rng.random(n) * 2.0 ** -rng.uniform(0, depth, n) * (rng.random(n) < 0.8) for _ in "pq")


def rounded(rng, n, dtype):
    """The same with short significands: two limbs hold more of those."""
    depth = rng.choice([1, 8, 20, 40, 60, 120])
    return tuple(rng.integers(0, 4, n) * 2.0 ** -rng.integers(0, depth + 1, n) for _ in "pq")


def moved(rng, n, dtype):
    """q is p with blocks of a drawn length permuted, so that flows between blocks are exactly 0."""
    p, _ = wide(rng, n, dtype)
    p, q, length = p.astype(dtype).astype(float), np.empty(n), int(rng.choice([2, 3, 7, 40]))
    for at in range(0, n, length):
        q[at : at + length] = rng.permutation(p[at : at + length])
    return p, q


def barely(rng, n, dtype):
    """As moved, but for one entry that is one unit in the last place off."""
    p, q = (x.astype(dtype) for x in moved(rng, n, dtype))
    k = rng.integers(n)
    q[k] = np.nextafter(q[k], dtype(np.inf))
    return p, q


def terms(rng, n, dtype):
    """1, 2**-60 and 2**-120 and their like, wherever they fall: what two limbs lose is all that counts."""
    p = rng.permutation(np.resize([1, 2.0**-60, 2.0**-120, 0, 0, 2.0**-30, 2.0**-90], n))
    return p, rng.permutation(p)


def apart(rng, n, dtype):
    """Totals that differ by many powers of two."""
    p, q = wide(rng, n, dtype)
    return p, q * 2.0 ** -rng.integers(1, 100)


def tiny(rng, n, dtype):
    """Subnormal entries."""
    unit = float(np.finfo(dtype).smallest_subnormal)
    return tuple(rng.integers(0, 2 ** rng.integers(1, 22), n) * unit for _ in "pq")


def near_the_top(rng, n, dtype):
    """Totals just below the largest number."""
    top = float(np.finfo(dtype).max) / (4 * n)
    p, q = wide(rng, n, dtype)
    return p * top, q * top


def one_hot(rng, n, dtype):
    p, q = np.zeros(n), np.zeros(n)
    p[rng.integers(n)] = q[rng.integers(n)] = rng.choice([1.0, 0.1, 3.0])
    return p, q


def far(rng, n, dtype):
    """Any numbers of the whole range, in one row."""
    least, most = (-140, 100) if dtype == np.float32 else (-1070, 900)
    return tuple(2.0 ** rng.uniform(least, most, n) * (rng.random(n) < 0.7) for _ in "pq")


FAMILIES = {f.__name__: f for f in (wide, rounded, moved, barely, terms, apart, tiny, near_the_top, one_hot, far)}


def pair(rng, family, n, dtype):
    """p and q in dtype, neither of them empty."""
    with np.errstate(under="ignore"):
        p, q = (x.astype(dtype) for x in FAMILIES[family](rng, n, dtype))
    for x in (p, q):
        if not x.any():
            x[rng.integers(n)] = 1
    return p, q


def batch(rng, family, n, dtype, rows):
    """So many pairs as rows."""
    return tuple(map(np.stack, zip(*(pair(rng, family, n, dtype) for _ in range(rows)), strict=True)))


# --- spaces -----------------------------------------------------------------------------------------------------------


def costs(rng, size):
    """Costs of short or full significands, from 1e-300 to 1e300 at the worst, some of them 0."""
    decades = rng.choice([0, 1, 30, 119, 300])
    cost = 10.0 ** rng.uniform(-decades, decades, size) if decades else rng.integers(1, 4, size).astype(float)
    return cost * (rng.random(size) < rng.choice([1, 0.8]))


def tree(rng, size):
    """(parent, cost, bins): deep or wide; bins anywhere, on inner nodes and the root too, or on the leaves alone."""
    reach = rng.choice([1, 2, 10, size])
    parent = np.array([-1] + [rng.integers(max(0, v - reach), v) for v in range(1, size)])
    if rng.random() < 0.5:
        return parent, costs(rng, size), None
    return parent, costs(rng, size), rng.permutation(size)[: rng.integers(1, size + 1)]
