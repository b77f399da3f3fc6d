"""Exact EMD of a tile in two limbs for rho in {1, 2, 3, 4}: emdref.kernels.rows.two_limbs, as many rows as there are
lanes.

Nothing is scaled.  A row that emdref.kernels.tiles.two_limb_sums calls unsafe is done again by
emdref.kernels.rows.two_limbs, which looks closer; nearly all rows are settled here.
"""

import numpy as np

from emdref.kernels.arithmetic.floats import two_sum
from emdref.kernels.arithmetic.lanes import AHEAD, columns_of, fill, into_columns, load, peek, scratch, store
from emdref.kernels.compile.jit import inline, loop, row
from emdref.kernels.tiles import inspection, two_limb_sums
from emdref.kernels.tiles.plain import look

_LANES = 8


@inline
def _most_lost(looks, w, digits, entries):
    return two_limb_sums.most_lost(max(looks[0, w], looks[2, w]), looks[5, w], digits, entries)


@row
def _deliver(i, rows, sums, lost, costs, nodes, out, looks, digits, results, how):
    """Write the values of a tile's rows, which to do again, and which to look at again: see `tiles.plain`."""
    store(out, 0, sums[0] + sums[1])
    store(out, 1, sums[4])
    store(out, 2, sums[5])
    store(out, 3, sums[6])
    store(out, 4, lost)
    for w in range(rows):
        own = out[w], out[8 + w], out[16 + w], out[24 + w], out[32 + w]
        deliver_row(i + w, own, costs, nodes, looks, w, digits, results, how)


@row
def deliver_row(i, own, costs, nodes, looks, w, digits, results, how):
    """... of one row: `own` are its value, its sum of |slope|, the smallest and the largest |phi|, and what is lost."""
    value, _, doubt, unsafe = results
    rho, _, factor, limit, closely, tolerance = how
    number, total, least, most, lost = own
    value[i] = number
    lost = 1.01 * lost if closely else _most_lost(looks, w, digits, float(nodes))
    unsafe[i] = two_limb_sums.unsafe(number, lost, total, least, most, rho, costs, float(nodes))
    within = number <= limit and 2.0 * factor * total <= limit
    doubt[i] = not within or (tolerance >= 0.0 and inspection.doubtful(looks, w, tolerance))


@inline
def _load_pair(p, p_at, p_step, q, q_at, q_step, rows, size, a, b):
    """Columns of p and of q in float64."""
    columns_of(p, p_at, p_step, rows, size, a)
    columns_of(q, q_at, q_step, rows, size, b)


# --- chains -----------------------------------------------------------------------------------------------------------


@row
def _forward(tile, first, last, closely, flow, a, b, t):
    """Normal phi after each of the bins from first to last, Eq. (6), into t; `flow` is phi before them and its loss."""
    p, p_at, p_step, q, q_at, q_step, rows = tile
    h, l, lost = flow
    for k in range(first, last, _LANES):
        size = min(_LANES, last - k)
        _load_pair(p, p_at + k, p_step, q, q_at + k, q_step, rows, size, a, b)
        for j in range(size):
            h, l, lost = two_limb_sums.lifted(h, l, lost, *two_sum(load(a, j), -load(b, j)), closely)
            xh, xl = two_sum(h, l)
            store(t, 2 * (k - first + j), xh)
            store(t, 2 * (k - first + j) + 1, xl)
    return h, l, lost


@row
def _edges(t, first, last, shape, rho, zero):
    """Sums over the edges after the bins from first to last."""
    _, gaps, gap_step, _ = shape
    sums = two_limb_sums.begin(zero)
    for k in range(first, last):
        cost, v = peek(gaps, k * gap_step), 2 * (k - first)
        if cost > 0.0:
            sums = two_limb_sums.add_edge(sums, load(t, v), load(t, v + 1), cost, float(k + 1), rho, 0.0)
    return sums


@row
def _slopes(t, first, last, shape, rho, zero):
    """The sum of the slopes of the edges after the bins from first to last."""
    _, gaps, gap_step, _ = shape
    h, l = zero, zero
    for k in range(first, last):
        v = 2 * (k - first)
        h, l = two_limb_sums.beyond(h, l, load(t, v), load(t, v + 1), peek(gaps, k * gap_step), rho)
    return h, l


@row
def _backward(t, first, last, shape, rho, factor, r, rows, block, grad, at):
    """Gradient of the bins from last to first, from r after them."""
    bins, gaps, gap_step, _ = shape
    edges = bins - 1
    rh, rl = r
    k = first + (last - 1 - first) // _LANES * _LANES
    while k >= first:
        size = min(_LANES, last - k)
        for j in range(size - 1, -1, -1):
            cost = peek(gaps, (k + j) * gap_step) if k + j < edges else 0.0
            v = 2 * (k - first + j)
            rh, rl = two_limb_sums.beyond(rh, rl, load(t, v), load(t, v + 1), cost, rho)
            store(block, j, two_limb_sums.gradient(rh, rl, factor))
        into_columns(block, grad, at + k, bins, rows, size, -AHEAD)
        k -= _LANES


@row
def chain_memory(p, bins):
    """Scratch of chain_tile."""
    a, b = scratch(_LANES, np.float64), scratch(_LANES, np.float64)
    t = scratch(2 * min(bins, inspection.COLUMNS), np.float64)
    marks = scratch(2 * (bins // inspection.COLUMNS + 1), np.float64)  # phi before each block of columns
    return inspection.new_sums(p), a, b, t, marks


@row
def chain_tile(i, rows, memory, given, results, shape, how):
    """Rows from i on."""
    p, p_step, q, q_step = given
    bins, _, _, costs = shape
    rho, share, factor, _, closely, _ = how
    grad, edges = results[1], bins - 1
    looks, a, b, t, marks = memory
    zero = fill(np.float64(0.0))
    digits = 53 if p.itemsize == 8 else 24
    tile = p, i * p_step, p_step, q, i * q_step, q_step, rows
    inspection.clear(looks)
    flow, sums = (zero, zero, zero), two_limb_sums.begin(zero)
    for start in range(0, bins, inspection.COLUMNS):
        end, mark = min(start + inspection.COLUMNS, bins), 2 * (start // inspection.COLUMNS)
        store(marks, mark, flow[0])
        store(marks, mark + 1, flow[1])
        flow = _forward(tile, start, end, closely, flow, a, b, t)
        sums = two_limb_sums.join(sums, _edges(t, start, min(end, edges), shape, rho, zero))
        look(tile, start, end, looks, True)
    _deliver(i, rows, sums, flow[2], costs, 2 * bins, a, looks, digits, results, how)
    if len(grad) == 0:
        return
    oh, ol = two_limb_sums.mean(sums, share)
    r = zero - oh, zero - ol
    start, end = (bins - 1) // inspection.COLUMNS * inspection.COLUMNS, bins
    while start >= 0:
        if end < bins:  # else t holds them still
            mark = 2 * (start // inspection.COLUMNS)
            flow = load(marks, mark), load(marks, mark + 1), zero
            _forward(tile, start, end, closely, flow, a, b, t)
        _backward(t, start, end, shape, rho, factor, r, rows, a, grad, i * bins)
        if start > 0:
            r = two_limb_sums.more(*r, *_slopes(t, start, min(end, edges), shape, rho, zero))
        end = start
        start -= inspection.COLUMNS


@loop
def emd_chain2(first, last, given, results, shape, how):
    """emdref.kernels.tiles.plain.emd_chain in two limbs; its `shape` has the sum of the gaps for a fourth."""
    memory = chain_memory(given[0], shape[0])
    for i in range(first, last, _LANES):
        chain_tile(i, min(_LANES, last - i), memory, given, results, shape, how)


# --- trees ------------------------------------------------------------------------------------------------------------


@row
def _scatter(tile, first, last, bin_node, a, b, t):
    """p - q of the bins from first to last at their nodes."""
    p, p_at, p_step, q, q_at, q_step, rows = tile
    for k in range(first, last, _LANES):
        size = min(_LANES, last - k)
        _load_pair(p, p_at + k, p_step, q, q_at + k, q_step, rows, size, a, b)
        for j in range(size):
            h, l = two_sum(load(a, j), -load(b, j))
            v = 2 * peek(bin_node, k + j)
            store(t, v, h)
            store(t, v + 1, l)


@row
def _up(parent, cost, below, exempt, rho, closely, zero, t):
    """Normal flows in place, Eq. (14); returns their loss and the sums over edges."""
    lost, sums = zero, two_limb_sums.begin(zero)
    for first in range((len(parent) - 1) // two_limb_sums.EDGES * two_limb_sums.EDGES, -1, -two_limb_sums.EDGES):
        block = two_limb_sums.begin(zero)
        for v in range(min(first + two_limb_sums.EDGES, len(parent)) - 1, max(first, 1) - 1, -1):
            u, c = 2 * peek(parent, v), peek(cost, v)
            h, l = load(t, 2 * v), load(t, 2 * v + 1)
            uh, ul, lost = two_limb_sums.lifted(load(t, u), load(t, u + 1), lost, h, l, closely)
            store(t, u, uh)
            store(t, u + 1, ul)
            if c > 0.0:
                h, l = two_sum(h, l)
                store(t, 2 * v, h)
                store(t, 2 * v + 1, l)
                block = two_limb_sums.add_edge(block, h, l, c, peek(below, v), rho, peek(exempt, v))
        sums = two_limb_sums.join(sums, block)
    return lost, sums


@inline
def _below(v, parent, cost, rho, t, r):
    """r at a node from r at its parent."""
    u = 2 * peek(parent, v)
    return two_limb_sums.beyond(load(r, u), load(r, u + 1), load(t, 2 * v), load(t, 2 * v + 1), peek(cost, v), rho)


@row
def _down(parent, inner, cost, rho, t, r):
    """r at the nodes that have children, the root's being given."""
    for i in range(1, len(inner)):
        v = peek(inner, i)
        rh, rl = _below(v, parent, cost, rho, t, r)
        store(r, 2 * v, rh)
        store(r, 2 * v + 1, rl)


@row
def _gather(parent, cost, rho, factor, bin_node, t, r, rows, block, grad, at):
    """Gradient at the bins; a bin at the root has the root's r."""
    bins = len(bin_node)
    for k in range(0, bins, _LANES):
        size = min(_LANES, bins - k)
        for j in range(size):
            rh, rl = _below(peek(bin_node, k + j), parent, cost, rho, t, r)
            store(block, j, two_limb_sums.gradient(rh, rl, factor))
        into_columns(block, grad, at + k, bins, rows, size, AHEAD)


@row
def tree_memory(p, nodes, grad):
    """Scratch of tree_tile."""
    a, b = scratch(_LANES, np.float64), scratch(_LANES, np.float64)
    t = scratch(2 * nodes, np.float64)
    return inspection.new_sums(p), a, b, t, scratch(2 * nodes if len(grad) > 0 else 0, np.float64)


@row
def tree_tile(i, rows, memory, given, results, shape, how):
    """Rows from i on."""
    p, p_step, q, q_step = given
    parent, cost, below, exempt, bin_node, empty, inner, costs = shape
    rho, share, factor, _, closely, _ = how
    grad, bins = results[1], len(bin_node)
    looks, a, b, t, r = memory
    zero = fill(np.float64(0.0))
    digits = 53 if p.itemsize == 8 else 24
    tile = p, i * p_step, p_step, q, i * q_step, q_step, rows
    inspection.clear(looks)
    for k in range(len(empty)):
        store(t, 2 * empty[k], zero)
        store(t, 2 * empty[k] + 1, zero)
    for start in range(0, bins, inspection.COLUMNS):
        end = min(start + inspection.COLUMNS, bins)
        _scatter(tile, start, end, bin_node, a, b, t)
        look(tile, start, end, looks, True)
    lost, sums = _up(parent, cost, below, exempt, rho, closely, zero, t)
    _deliver(i, rows, sums, lost, costs, bins + len(parent), a, looks, digits, results, how)
    if len(grad) > 0:
        oh, ol = two_limb_sums.mean(sums, share)
        store(r, 0, zero - oh)
        store(r, 1, zero - ol)
        _down(parent, inner, cost, rho, t, r)
        _gather(parent, cost, rho, factor, bin_node, t, r, rows, a, grad, i * bins)


@loop
def emd_tree2(first, last, given, results, shape, how):
    """emdref.kernels.tiles.plain.emd_tree in two limbs.

    `shape` is (parent, cost, below, exempt, bin_node, empty, inner, costs): `below` counts bins, `exempt` is inf for
    leaves and else 0, `costs` is the sum of all costs.
    """
    memory = tree_memory(given[0], len(shape[0]), results[1])
    for i in range(first, last, _LANES):
        tree_tile(i, min(_LANES, last - i), memory, given, results, shape, how)
