"""Exact EMD of a tile, as many rows as there are lanes, in plain arithmetic of their dtype: as a framework computes it.

Going up, or along the chain, each edge adds to the value and to the mean of the raw derivative r over the bins, which
is the sum over edges of M_e slope(phi_e) times the share of bins below e.  Going down, r starts from minus that mean.
"""

import math

from emdref.kernels.arithmetic.lanes import difference, fill, into_columns, load, scratch, store, width
from emdref.kernels.compile.jit import inline, loop, row
from emdref.kernels.tiles import inspection
from emdref.kernels.tiles.plain_sums import add_edge, begin, beyond


@row
def look(tile, first, last, sums, closer):
    """Look at columns first to last of a tile: rows of p and q from p_at and q_at on, p_step and q_step apart."""
    p, p_at, p_step, q, q_at, q_step, rows = tile
    for w in range(rows):
        a, b = p_at + w * p_step + first, q_at + w * q_step + first
        inspection.look(p, a, q, b, last - first, w, sums, closer)


@row
def _deliver(i, rows, sums, block, looks, results, how):
    """Write the values of a tile's rows, and which to look at again: for the input's sake or for an overflow."""
    factor = how[2]
    store(block, 0, sums[0])
    store(block, 1, sums[2] * (factor + factor))  # more than any entry of the gradient
    n = width(block)
    for w in range(rows):
        deliver_row(i + w, block[w], block[n + w], looks, w, results, how)


@row
def deliver_row(i, number, steepest, looks, w, results, how):
    """Write a row's value, and whether to look at it again; no entry of its gradient is larger than `steepest`."""
    value, _, doubt, _ = results
    tolerance = how[5]
    value[i] = number
    finite = number < math.inf and steepest < math.inf
    doubt[i] = not finite or (tolerance >= 0.0 and inspection.doubtful(looks, w, tolerance))


# --- chains -----------------------------------------------------------------------------------------------------------


@row
def _forward(tile, first, last, shape, share, rho, phi, sums, block, t):
    """phi after each of the bins from first to last, Eq. (6), into t, and the edges after them added to the sums."""
    p, p_at, p_step, q, q_at, q_step, rows = tile
    bins, gaps, gap_step = shape
    edges = bins - 1
    n, one, zero = width(p), gaps.dtype.type(1), gaps.dtype.type(0)
    for k in range(first, last, n):
        size = min(n, last - k)
        difference(p, p_at + k, p_step, q, q_at + k, q_step, rows, size, block)
        for j in range(size):
            phi = phi + load(block, j)
            store(t, k - first + j, phi)
            cost = gaps[(k + j) * gap_step] if k + j < edges else zero
            if cost > 0:  # else a power that overflows would count, as 0 * inf
                sums = add_edge(sums, phi, cost, gaps.dtype.type(k + j + 1) * share * cost, rho, one)
    return phi, sums


@row
def _backward(t, first, last, shape, rho, factor, r, rows, block, grad, at):
    """Gradient of the bins from last to first, from r after them."""
    bins, gaps, gap_step = shape
    edges = bins - 1
    n, one = width(t), gaps.dtype.type(1)
    k = first + (last - 1 - first) // n * n
    while k >= first:
        size = min(n, last - k)
        for j in range(size - 1, -1, -1):
            cost = gaps[(k + j) * gap_step] if k + j < edges else one - one
            r = beyond(r, load(t, k - first + j), cost, rho, one)
            store(block, j, r * factor)
        into_columns(block, grad, at + k, bins, rows, size)
        k -= n
    return r


@loop
def emd_chain(first, last, given, results, shape, how):
    """Value, and gradient unless grad is empty, of rows first to last; see `emdref.spaces.space.Kernel`.

    `shape` is (bins, gaps, step): gap number k is entry k times the step.
    """
    p, p_step, q, q_step = given
    grad, bins = results[1], shape[0]
    rho, share, factor, _, _, tolerance = how
    n = width(p)
    zero = fill(p.dtype.type(0))
    looks, block = inspection.new_sums(p), scratch(n, p.dtype)
    t = scratch(min(bins, inspection.COLUMNS), p.dtype)
    marks = scratch(bins // inspection.COLUMNS + 1, p.dtype)  # phi before each block of columns
    for i in range(first, last, n):
        rows = min(n, last - i)
        tile = p, i * p_step, p_step, q, i * q_step, q_step, rows
        inspection.clear(looks)
        phi, sums = zero, begin(zero)
        for start in range(0, bins, inspection.COLUMNS):
            end = min(start + inspection.COLUMNS, bins)
            store(marks, start // inspection.COLUMNS, phi)
            phi, sums = _forward(tile, start, end, shape, share, rho, phi, sums, block, t)
            if tolerance >= 0.0:  # now that the rows are in the cache
                look(tile, start, end, looks, False)
        _deliver(i, rows, sums, block, looks, results, how)
        if len(grad) == 0:
            continue
        r = zero - sums[1] if share > 0 else zero
        start = (bins - 1) // inspection.COLUMNS * inspection.COLUMNS
        end = bins
        while start >= 0:
            if end < bins:  # else t holds them still
                phi = load(marks, start // inspection.COLUMNS)
                _forward(tile, start, end, shape, share, rho, phi, sums, block, t)
            r = _backward(t, start, end, shape, rho, factor, r, rows, block, grad, i * bins)
            end = start
            start -= inspection.COLUMNS


# --- trees ------------------------------------------------------------------------------------------------------------


@row
def _scatter(tile, first, last, bin_node, block, t):
    """p - q of the bins from first to last at their nodes."""
    p, p_at, p_step, q, q_at, q_step, rows = tile
    n = width(p)
    for k in range(first, last, n):
        size = min(n, last - k)
        difference(p, p_at + k, p_step, q, q_at + k, q_step, rows, size, block)
        for j in range(size):
            store(t, bin_node[k + j], load(block, j))


@row
def _up(parent, cost, weight, rho, zero, t):
    """Flows in place, Eq. (14); returns the value, Eq. (13), the mean of r, Eq. (15), and the sum of |slopes|."""
    sums, one = begin(zero), cost.dtype.type(1)
    for v in range(len(parent) - 1, 0, -1):
        phi = load(t, v)
        store(t, parent[v], load(t, parent[v]) + phi)
        if cost[v] > 0:
            sums = add_edge(sums, phi, cost[v], weight[v], rho, one)
    return sums


@inline
def _below(v, parent, cost, rho, t, r):
    """r at a node from r at its parent."""
    return beyond(load(r, parent[v]), load(t, v), cost[v], rho, cost.dtype.type(1))


@row
def _down(parent, inner, cost, rho, t, r):
    """r at the nodes that have children, the root's being given."""
    for i in range(1, len(inner)):
        store(r, inner[i], _below(inner[i], parent, cost, rho, t, r))


@row
def _gather(parent, cost, rho, factor, bin_node, t, r, rows, block, grad, at):
    """Gradient at the bins; a bin at the root has the root's r."""
    n, bins = width(t), len(bin_node)
    for k in range(0, bins, n):
        size = min(n, bins - k)
        for j in range(size):
            store(block, j, factor * _below(bin_node[k + j], parent, cost, rho, t, r))
        into_columns(block, grad, at + k, bins, rows, size)


@loop
def emd_tree(first, last, given, results, shape, how):
    """Value and gradient of rows on a tree; see `emdref.spaces.space.Kernel`.

    `shape` is (parent, cost, weight, bin_node, empty, inner): weight is the cost times the share of bins below, `empty`
    are the nodes without a bin, `inner` those with children, the root first.
    """
    p, p_step, q, q_step = given
    parent, cost, weight, bin_node, empty, inner = shape
    rho, share, factor, _, _, tolerance = how
    grad, n, bins = results[1], width(p), len(bin_node)
    zero = fill(p.dtype.type(0))
    looks, block = inspection.new_sums(p), scratch(n, p.dtype)
    t = scratch(len(parent), p.dtype)
    r = scratch(len(parent) if len(grad) > 0 else 0, p.dtype)
    for i in range(first, last, n):
        rows = min(n, last - i)
        tile = p, i * p_step, p_step, q, i * q_step, q_step, rows
        inspection.clear(looks)
        for k in range(len(empty)):
            store(t, empty[k], zero)
        for start in range(0, bins, inspection.COLUMNS):
            end = min(start + inspection.COLUMNS, bins)
            _scatter(tile, start, end, bin_node, block, t)
            if tolerance >= 0.0:  # now that the rows are in the cache
                look(tile, start, end, looks, False)
        sums = _up(parent, cost, weight, rho, zero, t)
        _deliver(i, rows, sums, block, looks, results, how)
        if len(grad) > 0:
            store(r, 0, zero - sums[1] if share > 0 else zero)
            _down(parent, inner, cost, rho, t, r)
            _gather(parent, cost, rho, factor, bin_node, t, r, rows, block, grad, i * bins)
