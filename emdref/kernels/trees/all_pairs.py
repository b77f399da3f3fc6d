"""All pairs of rows: subtree sums of each row once, then differences of sums, many pairs side by side.

Nodes are taken in the order of emdref.kernels.trees.heavy_paths from last to first, `CHUNK` at a time; of each chunk
the sums of two blocks of rows are kept, one column a row, so that the loops over pairs are loops over contiguous
columns.

Compensated, two limbs hold a row's sum at a node; powers of two bring all sums below 1.  For rho = 1 and 2 a sum times
M**(1/rho) is cut into slices on fixed grids, chosen so that the differences of the leading slices, their products and
sums over a chunk are all exact: no error-free transformation is left in the innermost loop.  `slack` bounds what is
lost at worst, and `certain` gives a value only where the rounding cannot depend on it.
"""

import math

import numpy as np

from emdref.kernels.arithmetic.edges import power, power2
from emdref.kernels.arithmetic.floats import add2, div2, mul2, quick_two_sum, two_prod, two_sum
from emdref.kernels.compile.jit import loop, row

CHUNK = 256
PLAIN, FIRST, SECOND, THIRD, FOURTH = 0, 1, 2, 3, 4  # float64 arithmetic; slices for rho = 1, 2; two limbs for 3, 4
_GRID_22 = 1.5 * 2.0**30  # adding and subtracting these rounds |x| <= 1 to multiples of 2**-22 and of 2**-44
_GRID_44 = 1.5 * 2.0**8
_U2 = 2.0**-106
_LEAST, _MOST = 2.0**-900, 2.0**900  # scaled values below the first may have lost terms to underflow
_SMALL = -960  # results below this power of two are left to others: they may be rounded twice


@row
def _gather(v, stop, x, i, k, scale, column, masses):
    """Scaled masses of rows i to i + k at the nodes from v down to stop: row by row, since so they lie in memory."""
    for r in range(k):
        for u in range(v, stop, -1):
            if column[u] >= 0:
                masses[v - u, r] = x[i + r, column[u]] * scale[i + r]


@row
def _complete(v, masses, up, column, h, l):
    """Sums of node v: its children have been added, its own bin has not."""
    if v + 1 == len(up) or up[v + 1] != v:  # a leaf opens a new running sum
        h[:] = 0.0
        l[:] = 0.0
    if column[v] >= 0:
        for r in range(len(h)):
            h[r], e = two_sum(h[r], masses[r])
            l[r] += e


@row
def _add_sums(ah, al, h, l):
    for r in range(len(h)):
        h[r], e = two_sum(h[r], ah[r])
        l[r] += e + al[r]


@row
def _plain(h, l, f, a):
    for r in range(len(h)):
        a[r] = (h[r] + l[r]) * f[r]


@row
def _cut_1(h, l, fh, fl, wh, wl, loss, a, b, bound):
    """Two slices, multiples of 2**-44 and the rest; `bound` collects the row's part of the loss."""
    for r in range(len(h)):
        x, y = mul2(*mul2(h[r], l[r], fh[r], fl[r]), wh, wl)
        bound[r] += loss * x
        a[r] = (x + _GRID_44) - _GRID_44
        b[r] = (x - a[r]) + y


@row
def _cut_2(h, l, fh, fl, wh, wl, loss, a, b, c, bound):
    """Three slices: multiples of 2**-22, of 2**-44, the rest."""
    for r in range(len(h)):
        x, y = mul2(*mul2(h[r], l[r], fh[r], fl[r]), wh, wl)
        bound[r] += loss * (x * x)
        a[r] = (x + _GRID_22) - _GRID_22
        x -= a[r]
        b[r] = (x + _GRID_44) - _GRID_44
        c[r] = (x - b[r]) + y


@row
def _cut_none(h, l, fh, fl, w, rho, loss, a, b, bound):
    """No slices: the two limbs."""
    for r in range(len(h)):
        a[r], b[r] = mul2(h[r], l[r], fh[r], fl[r])
        bound[r] += loss * (w * power(a[r], rho))


@row
def _cut(kind, c, h, l, fh, fl, wh, wl, loss, rho, slices, bound):
    """The slices of one node, as the c-th of a chunk."""
    k = len(h)
    if kind == PLAIN:
        _plain(h, l, fh, slices[0, c, :k])
    elif kind == FIRST:
        _cut_1(h, l, fh, fl, wh, wl, loss, slices[0, c, :k], slices[1, c, :k], bound)
    elif kind == SECOND:
        _cut_2(h, l, fh, fl, wh, wl, loss, slices[0, c, :k], slices[1, c, :k], slices[2, c, :k], bound)
    else:
        _cut_none(h, l, fh, fl, wh, rho, loss, slices[0, c, :k], slices[1, c, :k], bound)


@row
def _fill(v, stop, rows, i, k, tree, how, room, shared):
    """Slices of rows i to i + k at the nodes from v down to stop on which anything costs; returns their number.

    `rows` is (x, f), `how` (rho, kind, ...), `room` (h, l, slices, bound) and `shared` (masses, chosen).
    """
    x, f = rows
    up, level, column, weight, loss, _ = tree
    rho, kind, _, _ = how
    h, l, slices, bound = room
    masses, chosen = shared
    _gather(v, stop, x, i, k, f[0], column, masses)
    size = 0
    for u in range(v, stop, -1):
        s = level[u]
        _complete(u, masses[v - u, :k], up, column, h[s, :k], l[s, :k])
        wh, wl = weight[0, u], weight[1, u]
        if wh > 0.0:
            _cut(
                kind,
                size,
                h[s, :k],
                l[s, :k],
                f[1, i : i + k],
                f[2, i : i + k],
                wh,
                wl,
                loss[u],
                rho,
                slices,
                bound[:k],
            )
            chosen[0, size], chosen[1, size] = wh, wl
            size += 1
        if level[up[u]] < s:  # the largest child's sums are its parent's already
            _add_sums(h[s, :k], l[s, :k], h[s - 1, :k], l[s - 1, :k])
    return size


@row
def _meet_plain(x, a, w, rho, value):
    for j in range(len(value)):
        value[j] += w * power(x - a[j], rho)


@row
def _meet_1(x, y, a, b, top, low):
    """|D| of differences D = d + e in two slices."""
    for j in range(len(top)):
        d, e = x - a[j], y - b[j]
        s = math.copysign(1.0, d + e)
        top[j] += s * d
        low[j] += s * e


@row
def _meet_2(x, y, z, a, b, c, top, mid, low):
    """D**2 of differences in three slices: d**2, d e, and half of what is left but for the square of the last."""
    for j in range(len(top)):
        d, e, g = x - a[j], y - b[j], z - c[j]
        top[j] += d * d
        mid[j] += d * e
        low[j] += 0.5 * (e * e) + g * (d + e)


@row
def _meet_3(x, y, a, b, wh, wl, h, l):
    for j in range(len(h)):
        d, e = add2(x, y, -a[j], -b[j])
        s = math.copysign(1.0, d)
        ph, pl = power2(d, e, 3.0)
        h[j], l[j] = add2(h[j], l[j], *mul2(s * ph, s * pl, wh, wl))


@row
def _meet_4(x, y, a, b, wh, wl, h, l):
    for j in range(len(h)):
        d, e = add2(x, y, -a[j], -b[j])
        ph, pl = power2(d, e, 4.0)
        h[j], l[j] = add2(h[j], l[j], *mul2(ph, pl, wh, wl))


@row
def _fold_plain(top, h):
    for j in range(len(h)):
        h[j] += top[j]


@row
def _fold_1(top, low, h, l):
    for j in range(len(h)):
        h[j], l[j] = add2(h[j], l[j], top[j], low[j])


@row
def _fold_2(top, mid, low, h, l):
    for j in range(len(h)):
        sh, sl = two_sum(top[j], mid[j] + mid[j])
        h[j], l[j] = add2(h[j], l[j], sh, sl + (low[j] + low[j]))


@row
def _meet(kind, i, j, k, size, a, b, chosen, rho, partial, h, l):
    """Add what a chunk contributes to the pairs of row i of one block with the rows j to k of the other."""
    top, mid, low = partial[0, j:k], partial[1, j:k], partial[2, j:k]
    top[:] = 0.0
    mid[:] = 0.0
    low[:] = 0.0
    for c in range(size):
        if kind == PLAIN:
            _meet_plain(a[0, c, i], b[0, c, j:k], chosen[0, c], rho, top)
        elif kind == FIRST:
            _meet_1(a[0, c, i], a[1, c, i], b[0, c, j:k], b[1, c, j:k], top, low)
        elif kind == SECOND:
            x, y, z = a[0, c, i], a[1, c, i], a[2, c, i]
            _meet_2(x, y, z, b[0, c, j:k], b[1, c, j:k], b[2, c, j:k], top, mid, low)
        elif kind == THIRD:
            _meet_3(a[0, c, i], a[1, c, i], b[0, c, j:k], b[1, c, j:k], chosen[0, c], chosen[1, c], h, l)
        else:
            _meet_4(a[0, c, i], a[1, c, i], b[0, c, j:k], b[1, c, j:k], chosen[0, c], chosen[1, c], h, l)
    if kind == PLAIN:
        _fold_plain(top, h)
    elif kind == FIRST:
        _fold_1(top, low, h, l)
    elif kind == SECOND:
        _fold_2(top, mid, low, h, l)


@row
def certain(h, l, margin, exponent):
    """The float64 nearest to x 2**exponent for any x within `margin` of h + l, NaN if that is not the same for all."""
    if not (_LEAST < h < _MOST) or math.frexp(h)[1] + exponent < _SMALL:
        return math.nan
    if h + (l - margin) != h or h + (l + margin) != h:
        return math.nan
    return math.ldexp(h, exponent)


@row
def slack(kind, chunks, nodes):
    """What the loops above lose of a value at most: an absolute part, and one relative to the value."""
    absolute = 0.0
    if kind == FIRST:  # 256 sums below 2**-36, each rounded to 53 bits
        absolute = chunks * 2.0**-79
    elif kind == SECOND:  # 256 sums below 2**-34, five roundings each, and the squares of the last slices
        absolute = chunks * 2.0**-75
    return absolute, (16.0 * nodes + 1024.0) * _U2


@row
def _put(kind, h, l, own, other, absolute, relative, exponent, out):
    for j in range(len(h)):
        value = h[j]
        if kind != PLAIN:
            value = certain(h[j], l[j], absolute + relative * h[j] + (own + other[j]), exponent)
        out[j] = value


@row
def _task(task, top, out, left, right, tree, how, ours, theirs, shared, met):
    """The pairs of rows i0 to i1 on the left with rows j0 to j1 on the right; `met` is (h, l, partial)."""
    i0, i1, j0, j1 = task
    rho, kind, exponent, mirror = how
    _, _, a, a_bound = ours
    _, _, b, b_bound = theirs
    h, l, partial = met
    chosen = shared[1]
    h[:] = 0.0
    l[:] = 0.0
    a_bound[:] = 0.0
    b_bound[:] = 0.0
    last = len(tree[0]) - 1
    own = mirror and i0 == j0
    if own:
        b, b_bound = a, a_bound
    for v in range(last, 0, -CHUNK):
        stop = max(0, v - CHUNK)
        size = _fill(v, stop, left, i0, i1 - i0, tree, how, ours, shared)
        if not own:
            _fill(v, stop, right, j0, j1 - j0, tree, how, theirs, shared)
        for i in range(i1 - i0):
            j = max(0, i0 + i + 1 - j0) if mirror else 0
            k = max(j, j1 - j0)
            _meet(kind, i, j, k, size, a, b, chosen, rho, partial, h[i, j:k], l[i, j:k])
    absolute, relative = slack(kind, (last + CHUNK - 1) // CHUNK, tree[5])
    for i in range(i1 - i0):
        j = max(0, i0 + i + 1 - j0) if mirror else 0
        k = max(j, j1 - j0)
        line = out[i0 + i - top, j0 + j : j0 + k]
        _put(kind, h[i, j:k], l[i, j:k], a_bound[i], b_bound[j:k], absolute, relative, exponent, line)


@row
def _room(levels, side):
    """Scratch of a block of rows: running sums by level, in two limbs, slices, and a bound of their error."""
    return np.empty((levels, side)), np.empty((levels, side)), np.empty((3, CHUNK, side)), np.empty(side)


@loop
def all_pairs(tasks, top, out, left, right, tree, how, side):
    """out[i - top, j] for each task (first i, last i, first j, last j); NaN where two limbs leave the rounding open.

    `left` and `right` are rows, and for each a power of two, which multiplies its masses, and the limbs of a factor,
    which multiplies its sums.  `how` is (rho, kind, exponent, mirror); with `mirror`, both are the same rows, and pairs
    with j <= i are left out.
    """
    levels = tree[1].max() + 1
    ours, theirs = _room(levels, side), _room(levels, side)
    shared = np.empty((CHUNK, side)), np.empty((2, CHUNK))
    met = np.empty((side, side)), np.empty((side, side)), np.empty((3, side))
    for t in range(len(tasks)):
        task = (tasks[t, 0], tasks[t, 1], tasks[t, 2], tasks[t, 3])
        _task(task, top, out, left, right, tree, how, ours, theirs, shared, met)


@loop
def totals(x, scale, h, l):
    """Sum of each row times a power of two, in two limbs."""
    for i in range(len(x)):
        h[i], l[i] = 0.0, 0.0
        for k in range(x.shape[1]):
            h[i], e = two_sum(h[i], x[i, k] * scale[i])
            l[i] += e
        h[i], l[i] = quick_two_sum(h[i], l[i])


@loop
def reciprocals(h, l, rh, rl):
    """1 / (h + l)."""
    for i in range(len(h)):
        rh[i], rl[i] = div2(1.0, 0.0, h[i], l[i])


@loop
def roots(x, y):
    """Square roots y of two-limb numbers x: the rounded root and the rest, by one step of Newton's."""
    for i in range(x.shape[1]):
        y[0, i], y[1, i] = math.sqrt(x[0, i]), 0.0
        if y[0, i] > 0.0:
            p, e = two_prod(y[0, i], y[0, i])
            rest = ((x[0, i] - p) - e) + x[1, i]
            y[0, i], y[1, i] = quick_two_sum(y[0, i], rest / (y[0, i] + y[0, i]))
