"""Exact EMD of a tile of float32 rows for rho in {1, 2, 3, 4}: the results of emdref.kernels.tiles.two_limbs, bit for
bit, from one limb of float64.

Entries of a float32 row are multiples of the last digit of its smallest entry > 0, and so are its flows, sums of
entries.  While there are fewer than 2**53 of these digits in the row's total, one float64 holds every flow exactly, and
so every sign is right.  What is summed over edges rounds, but the errors are bounded; a result x that errs by d at most
is settled if x - d and x + d round to the same float32.  A tile in which a row is not settled is done in two limbs.

Errors are counted in units of u = 2**-53.  Of an edge we sum x = M_e sgn(phi) |phi|**(rho - 1), which takes rho - 1
products; rho and the factor of the gauge are multiplied in at the end.  No product leaves float64's range, since costs
are between 2**-400 and 2**400 (see `fits_two_limbs`) and flows between 2**-149 and 2**129.  Edges are summed by blocks
of 8 columns or 16 nodes, whose sums add up in two limbs where they go into the gradient.
"""

import numpy as np

from emdref.kernels.arithmetic.floats import two_prod, two_sum
from emdref.kernels.arithmetic.lanes import (
    AHEAD,
    difference,
    fill,
    greater,
    into_columns,
    load,
    peek,
    poke,
    rounds_apart,
    scratch,
    sgn,
    store,
)
from emdref.kernels.compile.jit import inline, loop, row
from emdref.kernels.tiles import inspection, two_limb_sums, two_limbs
from emdref.kernels.tiles.plain import look

_LANES = 8
_NODES = 16  # of a tree, whose edges are summed before they are added to the rest
_UNIT = 2.0**-53
_SHORT = 2.0**48  # times its last digit a number has float64 to spare, also for a factor


@row
def _holds(looks, rows):
    """Whether one limb holds every flow: the last digit of `low` is at least 2**-24 of it, which leaves a factor 2.

    A number that is none fails.
    """
    for w in range(rows):
        if not max(looks[0, w], looks[2, w]) <= looks[5, w] * 2.0**28:
            return False
    return True


@row
def _digit(looks, w, rho, unit):
    """All slopes, before rho is multiplied in, are multiples of a number that is at least this.

    All costs are multiples of `unit`.
    """
    for _ in range(int(rho) - 1):
        unit = unit * (looks[5, w] * 2.0**-24)
    return unit


@inline
def _slope(phi, cost, rho):
    """M |phi|**(rho - 1) with the sign of phi: within (rho - 1) u, relatively."""
    if rho == 1.0:
        return cost * sgn(phi)
    x = cost * phi
    if rho > 2.0:
        x = x * abs(phi)
    if rho > 3.0:
        x = x * abs(phi)
    return x


@inline
def _edge(phi, cost, below, rho):
    """Of an edge, what goes into the value, the mean of the slopes times N, and the slope."""
    x = _slope(phi, cost, rho)
    return x * phi, below * x, x


@row
def _deliver(i, rows, number, steepest, nodes, unit, out, looks, results, how):
    """Write values, unless one is not settled: False.

    All terms are >= 0 and err by rho u, their sums by 15 u within blocks and u more for each block; what two limbs
    would give is rounded once.  None of this happens to a value that is short enough.  `steepest` is more than any
    entry of the gradient.
    """
    value, _, doubt, unsafe = results
    rho, _, factor, limit, _, tolerance = how
    error = number * ((nodes + 24.0) * _UNIT)
    store(out, 0, number)
    store(out, 1, steepest * (rho * factor))
    store(out, 2, rounds_apart(number, error))
    for w in range(rows):
        if not (out[2 * _LANES + w] == 0.0 or out[w] <= _SHORT * _digit(looks, w, rho + 1.0, unit)):
            return False
        value[i + w] = out[w]
        unsafe[i + w] = False
        within = out[w] <= limit and out[_LANES + w] <= limit
        doubt[i + w] = not within or (tolerance >= 0.0 and inspection.doubtful(looks, w, tolerance))
    return True


@row
def _unless_exact(error, sums, scale, rows, unit, out, looks, how):
    """The bound of errors; 0 for rows in which no digit is lost: if N times r, at most `scale`, is short enough, and
    the mean of r a float64."""
    rho, share, _, _, _, _ = how
    store(out, 0, error)
    store(out, 1, sums)
    store(out, 2, scale)
    for w in range(rows):
        mean = out[_LANES + w]
        p, e = two_prod(mean / share, share)
        if p == mean and e == 0.0 and out[2 * _LANES + w] <= _SHORT * _digit(looks, w, rho, unit):
            out[w] = 0.0
    return load(out, 0)


@row
def _all_settled(apart, rows, out):
    """Whether no entry of any row's gradient is near a place where rounding changes."""
    store(out, 0, apart)
    for w in range(rows):
        if out[w] != 0.0:  # nor what is no number
            return False
    return True


# --- chains -----------------------------------------------------------------------------------------------------------


@row
def _prepare(first, last, shape, costs, below):
    """Costs of the edges after the bins from first to last, 0 after the last of all, and how many bins are below."""
    bins, gaps, gap_step, _ = shape
    for k in range(first, last):
        poke(costs, k - first, peek(gaps, k * gap_step) if k < bins - 1 else 0.0)
        poke(below, k - first, float(k + 1))


@inline
def _along(size, at, costs, below, rho, phi, block, t):
    """phi after each of so many bins into t; sums over their edges, number `at` and those after it."""
    value, mean, total = phi - phi, phi - phi, phi - phi
    for j in range(size):
        phi = phi + load(block, j)
        store(t, at + j, phi)
        cost = peek(costs, at + j)
        if cost > 0.0:
            term, weighed, slope = _edge(phi, cost, peek(below, at + j), rho)
            value, mean, total = value + term, mean + weighed, total + abs(slope)
    return phi, value, mean, total


@row
def _forward(tile, first, last, costs, below, rho, phi, sums, block, t):
    """phi after each of the bins from first to last, Eq. (6), into t, and the edges after them added to the sums.

    These are the value, two limbs of the mean, and the sum of |slopes|.
    """
    p, p_at, p_step, q, q_at, q_step, rows = tile
    value, h, l, total = sums
    for k in range(first, last, _LANES):
        size = min(_LANES, last - k)
        difference(p, p_at + k, p_step, q, q_at + k, q_step, rows, size, block)
        if rho == 2.0:  # compiled apart
            phi, some, mean, steep = _along(size, k - first, costs, below, 2.0, phi, block, t)
        else:
            phi, some, mean, steep = _along(size, k - first, costs, below, rho, phi, block, t)
        h, e = two_sum(h, mean)
        value, l, total = value + some, l + e, total + steep
    return phi, (value, h, l, total)


@inline
def _back(size, at, costs, rho, factor, above, apart, error, block, t):
    """Gradient of so many bins into the block; sums of their slopes, and how far apart entries may be rounded."""
    below = above - above
    for j in range(size - 1, -1, -1):
        cost = peek(costs, at + j)
        if cost > 0.0:
            below = below + _slope(load(t, at + j), cost, rho)
        g = factor * (above + below)
        apart = apart + rounds_apart(g, error)
        store(block, j, g)
    return below, apart


@row
def _backward(t, first, last, costs, rho, factor, r, error, rows, block, grad, at, bins):
    """Gradient of the bins from last to first, from two limbs of r after them, and how far apart it may be rounded."""
    h, l, apart = r
    k = first + (last - 1 - first) // _LANES * _LANES
    while k >= first:
        size = min(_LANES, last - k)
        if rho == 2.0:
            below, apart = _back(size, k - first, costs, 2.0, factor, h + l, apart, error, block, t)
        else:
            below, apart = _back(size, k - first, costs, rho, factor, h + l, apart, error, block, t)
        h, e = two_sum(h, below)
        l = l + e
        into_columns(block, grad, at + k, bins, rows, size, -AHEAD)
        k -= _LANES
    return h, l, apart


@row
def chain_memory(p, bins):
    """Scratch of chain_tile: that of two limbs, and costs and numbers of bins below of a block of columns."""
    lanes = min(bins, inspection.COLUMNS) // _LANES + 1
    return two_limbs.chain_memory(p, bins), scratch(lanes, np.float64), scratch(lanes, np.float64)


@row
def chain_tile(i, rows, memory, given, results, shape, unit, how):
    """Rows from i on; False if one of them is not settled.

    Slopes err by (rho - 1) u of themselves, sums of 8 by 7 u.  With S for the sum of |slopes|, that is 6 + rho u S in r
    and 7 + rho in the mean; another u S each goes into rounding r at a block's end, with the slopes in it, times the
    factor, and to what two limbs would give.  No entry of r less its mean is more than S.
    """
    p, p_step, q, q_step = given
    bins, grad = shape[0], results[1]
    rho, share, factor, _, _, _ = how
    (looks, block, _, t, marks), costs, below = memory
    tile = p, i * p_step, p_step, q, i * q_step, q_step, rows
    zero = fill(np.float64(0.0))
    inspection.clear(looks)
    phi, sums = zero, (zero, zero, zero, zero)
    for start in range(0, bins, inspection.COLUMNS):
        end = min(start + inspection.COLUMNS, bins)
        look(tile, start, end, looks, True)
        if not _holds(looks, rows):
            return False
        store(marks, start // inspection.COLUMNS, phi)
        if bins > inspection.COLUMNS:  # else they are prepared already
            _prepare(start, end, shape, costs, below)
        phi, sums = _forward(tile, start, end, costs, below, rho, phi, sums, block, t)
    total = sums[3]
    if not _deliver(i, rows, sums[0], total + total, float(bins), unit, block, looks, results, how):
        return False
    if len(grad) == 0:
        return True
    h, l = two_limb_sums.mean((zero, zero, sums[1], sums[2]), share)
    r = zero - h, zero - l, zero
    error = total * (rho * factor * (24.0 + 2.0 * rho) * _UNIT)
    error = _unless_exact(error, sums[1], total * share, rows, unit, block, looks, how)
    start, end = (bins - 1) // inspection.COLUMNS * inspection.COLUMNS, bins
    while start >= 0:
        if end < bins:  # else t holds them still
            phi = load(marks, start // inspection.COLUMNS)
            _prepare(start, end, shape, costs, below)
            _forward(tile, start, end, costs, below, rho, phi, (zero, zero, zero, zero), block, t)
        r = _backward(t, start, end, costs, rho, rho * factor, r, error, rows, block, grad, i * bins, bins)
        end = start
        start -= inspection.COLUMNS
    return _all_settled(r[2], rows, block)


@loop
def emd_chain1(first, last, given, results, shape, how):
    """emdref.kernels.tiles.two_limbs.emd_chain2 of float32 rows; exact zeros of raw gradients are left to that.

    `shape` is that one's, and a power of two of which all gaps are multiples.
    """
    chain, unit = shape
    memory = chain_memory(given[0], chain[0])
    _prepare(0, min(chain[0], inspection.COLUMNS), chain, memory[1], memory[2])
    for i in range(first, last, _LANES):
        rows = min(_LANES, last - i)
        easy = how[1] > 0.0 or len(results[1]) == 0
        if not (easy and chain_tile(i, rows, memory, given, results, chain, unit, how)):
            two_limbs.chain_tile(i, rows, memory[0], given, results, chain, how)


# --- trees ------------------------------------------------------------------------------------------------------------


@row
def _scatter(tile, first, last, bin_node, block, t):
    """p - q of the bins from first to last at their nodes."""
    p, p_at, p_step, q, q_at, q_step, rows = tile
    for k in range(first, last, _LANES):
        size = min(_LANES, last - k)
        difference(p, p_at + k, p_step, q, q_at + k, q_step, rows, size, block)
        for j in range(size):
            store(t, peek(bin_node, k + j), load(block, j))


@inline
def _up(parent, cost, bins_below, rho, zero, t):
    """Flows in place, Eq. (14); returns the value, two limbs of the mean times N, the same of |slopes|, the largest."""
    value, h, l, total, steepest = zero, zero, zero, zero, zero
    for first in range((len(parent) - 1) // _NODES * _NODES, -1, -_NODES):
        some, mean, steep = zero, zero, zero
        for v in range(min(first + _NODES, len(parent)) - 1, max(first, 1) - 1, -1):
            phi, u, c = load(t, v), peek(parent, v), peek(cost, v)
            store(t, u, load(t, u) + phi)
            if c > 0.0:
                term, weighed, slope = _edge(phi, c, peek(bins_below, v), rho)
                some, mean, steep = some + term, mean + weighed, steep + abs(weighed)
                steepest = greater(steepest, abs(slope))
        h, e = two_sum(h, mean)
        value, l, total = value + some, l + e, total + steep
    return value, h, l, total, steepest


@inline
def _below(v, parent, cost, rho, t, r):
    """r at a node from r at its parent."""
    above, c = load(r, peek(parent, v)), peek(cost, v)
    return above + _slope(load(t, v), c, rho) if c > 0.0 else above


@inline
def _down(parent, inner, cost, rho, t, r):
    """r at the nodes that have children, the root's being given; returns the largest |r|."""
    most = abs(load(r, 0))
    for i in range(1, len(inner)):
        x = _below(peek(inner, i), parent, cost, rho, t, r)
        store(r, peek(inner, i), x)
        most = greater(most, abs(x))
    return most


@inline
def _gather(parent, cost, rho, factor, bin_node, t, r, error, rows, block, grad, at):
    """Gradient at the bins, and how far apart it may be rounded; a bin at the root has the root's r."""
    bins, apart = len(bin_node), error - error
    for k in range(0, bins, _LANES):
        size = min(_LANES, bins - k)
        for j in range(size):
            g = factor * _below(peek(bin_node, k + j), parent, cost, rho, t, r)
            apart = apart + rounds_apart(g, error)
            store(block, j, g)
        into_columns(block, grad, at + k, bins, rows, size, AHEAD)
    return apart


@row
def tree_tile(i, rows, memory, given, results, shape, depth, unit, how):
    """Rows from i on; False if one of them is not settled.

    Slopes err by (rho - 1) u of themselves, products with the number of bins by u, sums of 16 by 15 u: in the mean
    15 + rho u A, with A for the mean of sums of |slopes| up to the root, and another u A at the root.  Each of `depth`
    steps down adds u G, with G for the largest |r| among nodes with children, and what its slope errs by, which is the
    difference of two r: 2 (rho - 1) u G.  The last edge's slope is X at most, and what comes from it is rounded three
    times: with it, times the factor, and to what two limbs would give.
    """
    p, p_step, q, q_step = given
    parent, cost, bins_below, _, bin_node, empty, inner, _ = shape
    rho, share, factor, _, _, _ = how
    grad, bins = results[1], len(bin_node)
    looks, block, _, t, r = memory
    tile = p, i * p_step, p_step, q, i * q_step, q_step, rows
    zero = fill(np.float64(0.0))
    inspection.clear(looks)
    for k in range(len(empty)):
        store(t, empty[k], zero)
    for start in range(0, bins, inspection.COLUMNS):
        end = min(start + inspection.COLUMNS, bins)
        look(tile, start, end, looks, True)
        if not _holds(looks, rows):
            return False
        _scatter(tile, start, end, bin_node, block, t)
    if rho == 2.0:  # compiled apart
        value, mean, low, total, steepest = _up(parent, cost, bins_below, 2.0, zero, t)
    else:
        value, mean, low, total, steepest = _up(parent, cost, bins_below, rho, zero, t)
    scale = steepest * (2.0 * depth)
    if not _deliver(i, rows, value, scale, float(len(parent)), unit, block, looks, results, how):
        return False
    if len(grad) == 0:
        return True
    h, l = two_limb_sums.mean((zero, zero, mean, low), share)
    store(r, 0, zero - h)
    most = _down(parent, inner, cost, rho, t, r)
    error = total * ((18.0 + rho) / share) + most * (2.0 * rho * depth + 4.0) + steepest * (rho + 4.0)
    error = error * (rho * factor * _UNIT)
    error = _unless_exact(error, mean, scale * share, rows, unit, block, looks, how)
    if rho == 2.0:
        apart = _gather(parent, cost, 2.0, rho * factor, bin_node, t, r, error, rows, block, grad, i * bins)
    else:
        apart = _gather(parent, cost, rho, rho * factor, bin_node, t, r, error, rows, block, grad, i * bins)
    return _all_settled(apart, rows, block)


@loop
def emd_tree1(first, last, given, results, shape, how):
    """emdref.kernels.tiles.two_limbs.emd_tree2 of float32 rows; exact zeros of raw gradients are left to that.

    `shape` is that one's, the number of edges from the root to the node that is farthest from it, and a power of two of
    which all costs are multiples.
    """
    tree, depth, unit = shape
    memory = two_limbs.tree_memory(given[0], len(tree[0]), results[1])
    for i in range(first, last, _LANES):
        rows = min(_LANES, last - i)
        easy = how[1] > 0.0 or len(results[1]) == 0
        if not (easy and tree_tile(i, rows, memory, given, results, tree, depth, unit, how)):
            two_limbs.tree_tile(i, rows, memory, given, results, tree, how)
