"""Exact EMD of one row, where a tile would be nearly empty: a lane a bin or a node, instead of a lane a row.

What each edge adds to the sums is computed for as many edges as there are lanes.  The sums themselves run edge by edge,
in the order of emdref.kernels.tiles.plain and emdref.kernels.tiles.two_limbs, whose bits come out.  Slopes are kept for
the way back.
"""

import numpy as np

from emdref.kernels.arithmetic.edges import slope
from emdref.kernels.arithmetic.floats import two_sum
from emdref.kernels.arithmetic.lanes import load, load_row, peek, poke, scratch, store, store_row, width
from emdref.kernels.compile.jit import inline, loop, row
from emdref.kernels.tiles import inspection, plain, plain_sums, two_limb_sums, two_limbs

_LANES = 8


@inline
def _lanes_for(entries, n):
    """How many vectors hold so many entries."""
    return (entries + n - 1) // n


@inline
def _some(x, at, size, block, v):
    """Entries of x from `at` on as lanes, 0 after the first `size` of them; also left in lanes number v of block."""
    n = width(block)
    for j in range(n):
        block[v * n + j] = x[at + j] if j < size else block.dtype.type(0)
    return load(block, v)


@inline
def _entries(x, at, size, block, v):
    """The same for an array of the block's dtype, where most vectors are whole."""
    if size < width(block):
        return _some(x, at, size, block, v)
    lanes = load_row(x, at)
    store(block, v, lanes)
    return lanes


@inline
def _gaps(gaps, step, k, edges, block, v):
    """Costs of the edges after bins number k and following, 0 where there is none."""
    n = width(block)
    if step == 1:
        return _entries(gaps, k, min(n, edges - k), block, v)
    for j in range(n):
        block[v * n + j] = gaps[0] if k + j < edges else block.dtype.type(0)
    return load(block, v)


@inline
def _counts(k, block, v):
    """How many bins there are up to each of those from number k on."""
    n = width(block)
    for j in range(n):
        block[v * n + j] = block.dtype.type(k + j + 1)
    return load(block, v)


# --- plain arithmetic -------------------------------------------------------------------------------------------------


@inline
def _terms(x, cost, weight, rho, one, block, steps, v):
    """Leave what edges add to the sums in the block's lanes 0 to 2, and their slopes times costs in `steps`."""
    added = plain_sums.terms(x, cost, weight, rho, one)
    store(block, 0, added[0])
    store(block, 1, added[1])
    store(block, 2, added[2])
    store(steps, v, cost * slope(x, rho, one))


@row
def _forward(p, at, q, bt, first, last, shape, share, rho, phi, sums, block, steps):
    """phi after the bins from first to last, Eq. (6), and the edges after them added to the sums."""
    bins, gaps, gap_step = shape
    n, one = width(p), gaps.dtype.type(1)
    for k in range(first, last, n):
        size = min(n, last - k)
        store(block, 0, _entries(p, at + k, size, block, 0) - _entries(q, bt + k, size, block, 1))
        for j in range(n):
            phi = phi + block[j]
            block[j] = phi
        cost = _gaps(gaps, gap_step, k, bins - 1, block, 3)
        _terms(load(block, 0), cost, _counts(k, block, 1) * share * cost, rho, one, block, steps, k // n)
        for j in range(n):
            if block[3 * n + j] > 0:  # else a power that overflows would count, as 0 * inf
                sums = plain_sums.join(sums, (block[j], block[n + j], block[2 * n + j]))
            else:
                steps[k + j] = one - one
    return phi, sums


@row
def _backward(steps, bins, factor, r, block, grad, at):
    """Gradient of the bins, the last one first, from r after them."""
    n = width(steps)
    k = (bins - 1) // n * n
    while k >= 0:
        for j in range(n - 1, -1, -1):
            r = r + steps[k + j]
            block[j] = r
        _deliver(load(block, 0) * factor, block, grad, at + k, bins - k)
        k -= n


@inline
def _deliver(lanes, block, grad, at, size):
    """Write as many lanes as there are entries."""
    n = width(block)
    if size >= n:
        store_row(grad, at, lanes)
        return
    store(block, 0, lanes)
    for j in range(size):
        grad[at + j] = block[j]


@loop
def emd_chain(first, last, given, results, shape, how):
    """emdref.kernels.tiles.plain.emd_chain, row by row."""
    p, p_step, q, q_step = given
    grad, bins, n = results[1], shape[0], width(p)
    rho, share, factor, _, _, tolerance = how
    zero = p.dtype.type(0)
    looks, block, steps = inspection.new_sums(p), scratch(4, p.dtype), scratch(_lanes_for(bins, n), p.dtype)
    for i in range(first, last):
        at, bt = i * p_step, i * q_step
        inspection.clear(looks)
        phi, sums = zero, plain_sums.begin(zero)
        for start in range(0, bins, inspection.COLUMNS):
            end = min(start + inspection.COLUMNS, bins)
            phi, sums = _forward(p, at, q, bt, start, end, shape, share, rho, phi, sums, block, steps)
            if tolerance >= 0.0:
                inspection.look(p, at + start, q, bt + start, end - start, 0, looks, False)
        plain.deliver_row(i, sums[0], sums[2] * (factor + factor), looks, 0, results, how)
        if len(grad) > 0:
            _backward(steps, bins, factor, zero - sums[1] if share > 0 else zero, block, grad, i * bins)


@row
def _up(parent, cost, weight, rho, zero, t, block, steps):
    """emdref.kernels.tiles.plain._up, a lane a node."""
    sums, one, n = plain_sums.begin(zero), cost.dtype.type(1), width(t)
    k = (len(parent) - 1) // n * n
    while k >= 0:
        size = min(n, len(parent) - k)
        for v in range(k + size - 1, max(k, 1) - 1, -1):
            u = parent[v]
            poke(t, u, peek(t, u) + t[v])
        c, w = _entries(cost, k, size, block, 3), _entries(weight, k, size, block, 1)
        _terms(load(t, k // n), c, w, rho, one, block, steps, k // n)
        for j in range(size - 1, -1, -1):
            if block[3 * n + j] > 0:
                sums = plain_sums.join(sums, (block[j], block[n + j], block[2 * n + j]))
            else:
                steps[k + j] = zero
        k -= n
    return sums


@loop
def emd_tree(first, last, given, results, shape, how):
    """emdref.kernels.tiles.plain.emd_tree, row by row."""
    p, p_step, q, q_step = given
    parent, cost, weight, bin_node, empty, _ = shape
    rho, share, factor, _, _, tolerance = how
    grad, bins, nodes = results[1], len(bin_node), len(parent)
    zero = p.dtype.type(0)
    size = _lanes_for(nodes, width(p))
    looks, block, steps, t = inspection.new_sums(p), scratch(4, p.dtype), scratch(size, p.dtype), scratch(size, p.dtype)
    for v in range(nodes, len(t)):
        t[v] = zero
    for i in range(first, last):
        at, bt = i * p_step, i * q_step
        inspection.clear(looks)
        for k in range(len(empty)):
            t[empty[k]] = zero
        for start in range(0, bins, inspection.COLUMNS):
            end = min(start + inspection.COLUMNS, bins)
            for k in range(start, end):
                poke(t, bin_node[k], p[at + k] - q[bt + k])
            if tolerance >= 0.0:
                inspection.look(p, at + start, q, bt + start, end - start, 0, looks, False)
        sums = _up(parent, cost, weight, rho, zero, t, block, steps)
        plain.deliver_row(i, sums[0], sums[2] * (factor + factor), looks, 0, results, how)
        if len(grad) > 0:
            t[0] = zero - sums[1] if share > 0 else zero  # from here on r
            for v in range(1, nodes):
                t[v] = peek(t, parent[v]) + steps[v]
            for k in range(bins):
                grad[i * bins + k] = factor * peek(t, bin_node[k])


# --- two limbs --------------------------------------------------------------------------------------------------------


@inline
def _terms2(h, l, cost, below, rho, block, slopes, v):
    """Leave the terms of edges in the block's lanes 0 to 3, |phi|'s high limbs in 4, and slopes in `slopes`."""
    th, tl, mh, ml, sh, sl = two_limb_sums.terms(h, l, cost, below, rho)
    store(block, 0, th)
    store(block, 1, tl)
    store(block, 2, mh)
    store(block, 3, ml)
    store(block, 4, h)
    store(slopes, 2 * v, sh)
    store(slopes, 2 * v + 1, sl)


@inline
def _add(sums, block, j, slopes, at, exempt):
    """Add edge number j of those whose terms are in the block."""
    n = _LANES
    sh, sl = slopes[at + j], slopes[at + n + j]
    added = block[j], block[n + j], block[2 * n + j], block[3 * n + j], sh, sl
    return two_limb_sums.add_terms(sums, added, block[4 * n + j], exempt)


@row
def _forward2(p, at, q, bt, first, last, shape, how, flow, block, slopes):
    """The flow after the bins from first to last, and the sums over the edges after them."""
    bins, gaps, gap_step, _ = shape
    rho, _, _, _, closely, _ = how
    h, l, lost = flow
    n, sums = _LANES, two_limb_sums.begin(0.0)
    for k in range(first, last, n):
        size = min(n, last - k)
        dh, dl = two_sum(_some(p, at + k, size, block, 0), -_some(q, bt + k, size, block, 1))
        store(block, 0, dh)
        store(block, 1, dl)
        for j in range(size):
            h, l, lost = two_limb_sums.lifted(h, l, lost, block[j], block[n + j], closely)
            block[j], block[n + j] = h, l
        xh, xl = two_sum(load(block, 0), load(block, 1))
        cost = _gaps(gaps, gap_step, k, bins - 1, block, 5)
        _terms2(xh, xl, cost, _counts(k, block, 2), rho, block, slopes, k // n)
        for j in range(n):
            if block[5 * n + j] > 0.0:
                sums = _add(sums, block, j, slopes, 2 * k, 0.0)
            else:
                slopes[2 * k + j], slopes[2 * k + n + j] = 0.0, 0.0
    return (h, l, lost), sums


@row
def _backward2(slopes, first, last, factor, r, block, grad, at):
    """Gradient of the bins from last to first, from r after them."""
    rh, rl = r
    n = _LANES
    k = first + (last - 1 - first) // n * n
    while k >= first:
        for j in range(n - 1, -1, -1):
            rh, rl = two_limb_sums.more(rh, rl, slopes[2 * k + j], slopes[2 * k + n + j])
            block[j], block[n + j] = rh, rl
        store(block, 0, two_limb_sums.gradient(load(block, 0), load(block, 1), factor))
        for j in range(min(n, last - k)):
            grad[at + k + j] = block[j]
        k -= n


@row
def _slopes(slopes, first, last):
    """The sum of the slopes of the edges after the bins from first to last."""
    h, l = 0.0, 0.0
    for k in range(first, last):
        v = k // _LANES * _LANES
        h, l = two_limb_sums.more(h, l, slopes[v + k], slopes[v + k + _LANES])
    return h, l


@loop
def emd_chain2(first, last, given, results, shape, how):
    """emdref.kernels.tiles.two_limbs.emd_chain2, row by row."""
    p, p_step, q, q_step = given
    bins, _, _, costs = shape
    grad, edges = results[1], bins - 1
    digits = 53 if p.itemsize == 8 else 24
    looks, block = inspection.new_sums(p), scratch(6, np.float64)
    slopes = scratch(2 * _lanes_for(bins, _LANES), np.float64)
    for i in range(first, last):
        at, bt = i * p_step, i * q_step
        inspection.clear(looks)
        flow, sums = (0.0, 0.0, 0.0), two_limb_sums.begin(0.0)
        for start in range(0, bins, inspection.COLUMNS):
            end = min(start + inspection.COLUMNS, bins)
            flow, more = _forward2(p, at, q, bt, start, end, shape, how, flow, block, slopes)
            sums = two_limb_sums.join(sums, more)
            inspection.look(p, at + start, q, bt + start, end - start, 0, looks, True)
        own = sums[0] + sums[1], sums[4], sums[5], sums[6], flow[2]
        two_limbs.deliver_row(i, own, costs, 2 * bins, looks, 0, digits, results, how)
        if len(grad) == 0:
            continue
        oh, ol = two_limb_sums.mean(sums, how[1])
        r = 0.0 - oh, 0.0 - ol
        start, end = edges // inspection.COLUMNS * inspection.COLUMNS, bins
        while start >= 0:
            _backward2(slopes, start, end, how[2], r, block, grad, i * bins)
            if start > 0:
                r = two_limb_sums.more(*r, *_slopes(slopes, start, min(end, edges)))
            end = start
            start -= inspection.COLUMNS


@row
def _up2(parent, cost, below, exempt, rho, closely, t, block, slopes):
    """emdref.kernels.tiles.two_limbs._up, a lane a node."""
    n, lost, sums = _LANES, 0.0, two_limb_sums.begin(0.0)
    for first in range((len(parent) - 1) // two_limb_sums.EDGES * two_limb_sums.EDGES, -1, -two_limb_sums.EDGES):
        edges = two_limb_sums.begin(0.0)
        last = min(first + two_limb_sums.EDGES, len(parent))
        k = first + (last - 1 - first) // n * n
        while k >= first:
            size = min(n, last - k)
            for v in range(k + size - 1, max(k, 1) - 1, -1):
                u, w = 2 * parent[v], 2 * v
                uh, ul, lost = two_limb_sums.lifted(peek(t, u), peek(t, u + 1), lost, t[w], t[w + 1], closely)
                poke(t, u, uh)
                poke(t, u + 1, ul)
            for j in range(n):
                block[j], block[n + j] = t[2 * (k + j)], t[2 * (k + j) + 1]
            h, l = two_sum(load(block, 0), load(block, 1))
            c, b = _entries(cost, k, size, block, 5), _entries(below, k, size, block, 2)
            _terms2(h, l, c, b, rho, block, slopes, k // n)
            for j in range(size - 1, -1, -1):
                if block[5 * n + j] > 0.0:
                    edges = _add(edges, block, j, slopes, 2 * k, exempt[k + j])
                else:
                    slopes[2 * k + j], slopes[2 * k + n + j] = 0.0, 0.0
            k -= n
        sums = two_limb_sums.join(sums, edges)
    return lost, sums


@row
def _down2(parent, slopes, r, t):
    """r at all nodes, into t."""
    t[0], t[1] = r
    for v in range(1, len(parent)):
        u, at = 2 * parent[v], v // _LANES * _LANES + v
        t[2 * v], t[2 * v + 1] = two_limb_sums.more(peek(t, u), peek(t, u + 1), slopes[at], slopes[at + _LANES])


@loop
def emd_tree2(first, last, given, results, shape, how):
    """emdref.kernels.tiles.two_limbs.emd_tree2, row by row."""
    p, p_step, q, q_step = given
    parent, cost, below, exempt, bin_node, empty, _, costs = shape
    rho, share, factor, _, closely, _ = how
    grad, bins, nodes = results[1], len(bin_node), len(parent)
    digits = 53 if p.itemsize == 8 else 24
    size = 2 * _lanes_for(nodes, _LANES)
    looks, block = inspection.new_sums(p), scratch(6, np.float64)
    slopes, t = scratch(size, np.float64), scratch(size, np.float64)
    for v in range(2 * nodes, len(t)):
        t[v] = 0.0
    for i in range(first, last):
        at, bt = i * p_step, i * q_step
        inspection.clear(looks)
        for k in range(len(empty)):
            t[2 * empty[k]], t[2 * empty[k] + 1] = 0.0, 0.0
        for start in range(0, bins, inspection.COLUMNS):
            end = min(start + inspection.COLUMNS, bins)
            for k in range(start, end):
                v = 2 * bin_node[k]
                t[v], t[v + 1] = two_sum(float(p[at + k]), -float(q[bt + k]))
            inspection.look(p, at + start, q, bt + start, end - start, 0, looks, True)
        lost, sums = _up2(parent, cost, below, exempt, rho, closely, t, block, slopes)
        own = sums[0] + sums[1], sums[4], sums[5], sums[6], lost
        two_limbs.deliver_row(i, own, costs, bins + nodes, looks, 0, digits, results, how)
        if len(grad) > 0:
            oh, ol = two_limb_sums.mean(sums, share)
            _down2(parent, slopes, (0.0 - oh, 0.0 - ol), t)
            for k in range(bins):
                v = 2 * bin_node[k]
                grad[i * bins + k] = two_limb_sums.gradient(peek(t, v), peek(t, v + 1), factor)
