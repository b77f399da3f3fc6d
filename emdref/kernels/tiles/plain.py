"""Exact EMD of a tile, as many rows as there are lanes, in plain arithmetic of their dtype: as a framework computes it.

Going up, or along the chain, each edge adds to the value and to the mean of the raw derivative r over the bins, which
is the sum over edges of M_e slope(phi_e) times the share of bins below e.  Going down, r starts from minus that mean.
"""

import math

from emdref.kernels.arithmetic.lanes import (
    AHEAD,
    difference,
    fill,
    into_columns,
    load,
    peek,
    poke,
    scratch,
    store,
    width,
)
from emdref.kernels.compile.jit import inline, loop, row
from emdref.kernels.tiles import inspection
from emdref.kernels.tiles.plain_sums import add_edge, beyond


@row
def look(tile, first, last, sums, closer):
    """Look at columns first to last of a tile: rows of p and q from p_at and q_at on, p_step and q_step apart."""
    p, p_at, p_step, q, q_at, q_step, rows = tile
    for w in range(rows):
        a, b = p_at + w * p_step + first, q_at + w * q_step + first
        inspection.look(p, a, q, b, last - first, w, sums, closer)


@row
def _deliver(i, rows, sums, costs, block, looks, results, how):
    """Write the values of a tile's rows, and which to look at again: for the input's sake or for an overflow.

    Slopes are at most rho times all costs and the value, for |phi|**(rho - 1) <= 1 + |phi|**rho.
    """
    rho, _, factor, _, _, _ = how
    store(block, 0, sums[0])
    store(block, 1, (sums[0] + costs) * (rho * (factor + factor)))  # more than any entry of the gradient
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


@inline
def _add_edge(sums, phi, cost, weight, rho):
    """Add an edge to the value and the mean of r."""
    value, mean, _ = add_edge((*sums, sums[1]), phi, cost, weight, rho, type(cost)(1))
    return value, mean


# --- chains -----------------------------------------------------------------------------------------------------------


@row
def prepare(first, last, shape, share, costs, weights):
    """Costs of the edges after the bins from first to last, 0 after the last of all, and costs times shares below."""
    bins, gaps, gap_step, _ = shape
    for k in range(first, last):
        cost = peek(gaps, k * gap_step) if k < bins - 1 else gaps.dtype.type(0)
        poke(costs, k - first, cost)
        poke(weights, k - first, gaps.dtype.type(k + 1) * share * cost)


@inline
def _along(size, at, costs, weights, rho, phi, sums, block, t):
    """phi after each of so many bins into t, and their edges, number `at` and those after it, added to the sums."""
    for j in range(size):
        phi = phi + load(block, j)
        store(t, at + j, phi)
        cost = peek(costs, at + j)
        if cost > 0:  # else a power that overflows would count, as 0 * inf
            sums = _add_edge(sums, phi, cost, peek(weights, at + j), rho)
    return phi, sums


@row
def _forward(tile, first, last, costs, weights, rho, phi, sums, block, t):
    """phi after each of the bins from first to last, Eq. (6), into t, and the edges after them added to the sums."""
    p, p_at, p_step, q, q_at, q_step, rows = tile
    n = width(p)
    for k in range(first, last, n):
        size = min(n, last - k)
        difference(p, p_at + k, p_step, q, q_at + k, q_step, rows, size, block)
        if rho == 2:  # compiled apart
            phi, sums = _along(size, k - first, costs, weights, costs.dtype.type(2), phi, sums, block, t)
        else:
            phi, sums = _along(size, k - first, costs, weights, rho, phi, sums, block, t)
    return phi, sums


@inline
def _back(size, at, costs, rho, factor, r, block, t):
    """Gradient of so many bins into the block, from r after them."""
    for j in range(size - 1, -1, -1):
        r = beyond(r, load(t, at + j), peek(costs, at + j), rho, costs.dtype.type(1))
        store(block, j, r * factor)
    return r


@row
def _backward(t, first, last, costs, rho, factor, r, rows, block, grad, at, bins):
    """Gradient of the bins from last to first, from r after them."""
    n = width(t)
    k = first + (last - 1 - first) // n * n
    while k >= first:
        size = min(n, last - k)
        if rho == 2:
            r = _back(size, k - first, costs, costs.dtype.type(2), factor, r, block, t)
        else:
            r = _back(size, k - first, costs, rho, factor, r, block, t)
        into_columns(block, grad, at + k, bins, rows, size, -AHEAD)
        k -= n
    return r


@loop
def emd_chain(first, last, given, results, shape, how):
    """Value, and gradient unless grad is empty, of rows first to last; see `emdref.spaces.space.Kernel`.

    `shape` is (bins, gaps, step, total): gap number k is entry k times the step.
    """
    p, p_step, q, q_step = given
    grad, bins, total = results[1], shape[0], shape[3]
    rho, share, factor, _, _, tolerance = how
    n = width(p)
    zero = fill(p.dtype.type(0))
    looks, block = inspection.new_sums(p), scratch(n, p.dtype)
    columns = min(bins, inspection.COLUMNS)
    t = scratch(columns, p.dtype)
    costs, weights = scratch(columns // n + 1, p.dtype), scratch(columns // n + 1, p.dtype)
    marks = scratch(bins // inspection.COLUMNS + 1, p.dtype)  # phi before each block of columns
    prepared = -1
    for i in range(first, last, n):
        rows = min(n, last - i)
        tile = p, i * p_step, p_step, q, i * q_step, q_step, rows
        inspection.clear(looks)
        phi, sums = zero, (zero, zero)
        for start in range(0, bins, inspection.COLUMNS):
            end = min(start + inspection.COLUMNS, bins)
            store(marks, start // inspection.COLUMNS, phi)
            if start != prepared:
                prepare(start, end, shape, share, costs, weights)
                prepared = start
            phi, sums = _forward(tile, start, end, costs, weights, rho, phi, sums, block, t)
            if tolerance >= 0.0:  # now that the rows are in the cache
                look(tile, start, end, looks, False)
        _deliver(i, rows, sums, total, block, looks, results, how)
        if len(grad) == 0:
            continue
        r = zero - sums[1] if share > 0 else zero
        start = (bins - 1) // inspection.COLUMNS * inspection.COLUMNS
        end = bins
        while start >= 0:
            if end < bins:  # else t holds them still
                phi = load(marks, start // inspection.COLUMNS)
                prepare(start, end, shape, share, costs, weights)
                prepared = start
                _forward(tile, start, end, costs, weights, rho, phi, sums, block, t)
            r = _backward(t, start, end, costs, rho, factor, r, rows, block, grad, i * bins, bins)
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
            store(t, peek(bin_node, k + j), load(block, j))


@inline
def _up(parent, cost, weight, rho, zero, t):
    """Flows in place, Eq. (14); returns the value, Eq. (13), and the mean of r, Eq. (15)."""
    sums = zero, zero
    for v in range(len(parent) - 1, 0, -1):
        phi, u, c = load(t, v), peek(parent, v), peek(cost, v)
        store(t, u, load(t, u) + phi)
        if c > 0:
            sums = _add_edge(sums, phi, c, peek(weight, v), rho)
    return sums


@inline
def _below(v, parent, cost, rho, t, r):
    """r at a node from r at its parent."""
    return beyond(load(r, peek(parent, v)), load(t, v), peek(cost, v), rho, cost.dtype.type(1))


@inline
def _down(parent, inner, cost, rho, t, r):
    """r at the nodes that have children, the root's being given."""
    for i in range(1, len(inner)):
        store(r, peek(inner, i), _below(peek(inner, i), parent, cost, rho, t, r))


@inline
def _gather(parent, cost, rho, factor, bin_node, t, r, rows, block, grad, at):
    """Gradient at the bins; a bin at the root has the root's r."""
    n, bins = width(t), len(bin_node)
    for k in range(0, bins, n):
        size = min(n, bins - k)
        for j in range(size):
            store(block, j, factor * _below(peek(bin_node, k + j), parent, cost, rho, t, r))
        into_columns(block, grad, at + k, bins, rows, size, AHEAD)


@loop
def emd_tree(first, last, given, results, shape, how):
    """Value and gradient of rows on a tree; see `emdref.spaces.space.Kernel`.

    `shape` is (parent, cost, weight, bin_node, empty, inner, total): weight is the cost times the share of bins below,
    `empty` are the nodes without a bin, `inner` those with children, the root first.
    """
    p, p_step, q, q_step = given
    parent, cost, weight, bin_node, empty, inner, total = shape
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
        if rho == 2:  # compiled apart
            sums = _up(parent, cost, weight, cost.dtype.type(2), zero, t)
        else:
            sums = _up(parent, cost, weight, rho, zero, t)
        _deliver(i, rows, sums, total, block, looks, results, how)
        if len(grad) > 0:
            store(r, 0, zero - sums[1] if share > 0 else zero)
            if rho == 2:
                _down(parent, inner, cost, cost.dtype.type(2), t, r)
                _gather(parent, cost, cost.dtype.type(2), factor, bin_node, t, r, rows, block, grad, i * bins)
            else:
                _down(parent, inner, cost, rho, t, r)
                _gather(parent, cost, rho, factor, bin_node, t, r, rows, block, grad, i * bins)
