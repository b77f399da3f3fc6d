"""Exact EMD of one row, where a tile would be nearly empty: a lane a bin or a node, instead of a lane a row.

Three loops take turns over blocks of bins or nodes: flows are summed one by one, what each edge adds to the sums is
computed for as many edges as there are lanes, and the sums run edge by edge, in the order of
emdref.kernels.tiles.plain and emdref.kernels.tiles.two_limbs, whose bits come out.  Apart they are much faster than
together, for a vector that is loaded just after its entries were stored waits for all stores before it.  Slopes are
kept for the way back.
"""

import numpy as np

from emdref.kernels.arithmetic.edges import slope
from emdref.kernels.arithmetic.floats import two_sum
from emdref.kernels.arithmetic.lanes import load, load_row, peek, poke, scratch, store, width
from emdref.kernels.compile.jit import inline, loop, row
from emdref.kernels.tiles import inspection, plain, plain_sums, two_limb_sums, two_limbs

_LANES = 8
_BLOCK = 256  # bins at a time: all that is kept of them stays in the first-level cache
_FAR = 2**13  # bins of which slopes are kept


@inline
def _vectors(entries, n):
    """How many vectors hold so many entries."""
    return (entries + n - 1) // n


@row
def _copy(x, first, last, block):
    """Entries of x from first to last as the first ones of a block."""
    for k in range(first, last):
        block[k - first] = x[k]


@row
def _edges_of(shape, first, last, costs, counts):
    """Costs of the edges after the bins from first to last, 0 where there is none, and how many bins are up to them."""
    bins, gaps, gap_step = shape
    zero = gaps.dtype.type(0)
    if gap_step == 0:
        for j in range(last - first):
            costs[j] = gaps[0]
    else:
        for k in range(first, min(last, bins - 1)):
            costs[k - first] = gaps[k]
    if last == bins:
        costs[bins - 1 - first] = zero
    for j in range(last - first):
        counts[j] = gaps.dtype.type(first + j + 1)


@row
def _keep(slopes, costs, size, out, at):
    """Slopes times costs of a block's edges for the way back; one that costs nothing has none, whatever flows."""
    for j in range(size):
        out[at + j] = slopes[j] if costs[j] > 0 else out.dtype.type(0)


# --- plain arithmetic -------------------------------------------------------------------------------------------------


@inline
def _terms(x, cost, weight, rho, one, v, terms, steps, at):
    """What edges add to the sums, into three arrays, and their slopes times costs."""
    values, means, totals = terms
    value, mean, total = plain_sums.terms(x, cost, weight, rho, one)
    store(values, v, value)
    store(means, v, mean)
    store(totals, v, total)
    store(steps, at, cost * slope(x, rho, one))


@row
def _prepare(first, last, shape, share, rho, block):
    """What the edges after the bins from first to last add to the sums, from the flows in the block."""
    t, costs, terms = block
    n, one = width(t), t.dtype.type(1)
    _edges_of(shape, first, last, costs, terms[0])
    for v in range(_vectors(last - first, n)):
        cost = load(costs, v)
        _terms(load(t, v), cost, load(terms[0], v) * share * cost, rho, one, v, terms, t, v)


@row
def _forward(p, at, q, bt, size, ahead, phi, sums, block):
    """Add the edges of a block of that size, and go on to phi after as many bins as there are `ahead`, Eq. (6): neither
    sum waits for the other."""
    t, costs, terms = block
    for j in range(max(ahead, size)):
        if j < size and costs[j] > 0:  # else a power that overflows would count, as 0 * inf
            sums = plain_sums.join(sums, (terms[0][j], terms[1][j], terms[2][j]))
        if j < ahead:
            phi = phi + (p[at + j] - q[bt + j])
            t[j] = phi
    return phi, sums


@inline
def _block(dtype, n):
    """Scratch for a block: flows and then slopes, or weights; costs; and what edges add to three sums."""
    size = _BLOCK // n
    terms = scratch(size, dtype), scratch(size, dtype), scratch(size, dtype)
    return scratch(size, dtype), scratch(size, dtype), terms


@loop
def emd_chain(first, last, given, results, shape, how):
    """emdref.kernels.tiles.plain.emd_chain, row by row; the gradient's own memory holds the slopes."""
    p, p_step, q, q_step = given
    grad, bins, n = results[1], shape[0], width(p)
    rho, share, factor, _, _, tolerance = how
    zero = p.dtype.type(0)
    looks, block = inspection.new_sums(p), _block(p.dtype, n)
    for i in range(first, last):
        at, bt = i * p_step, i * q_step
        inspection.clear(looks)
        sums = plain_sums.begin(zero)
        phi, sums = _forward(p, at, q, bt, 0, min(_BLOCK, bins), zero, sums, block)
        for start in range(0, bins, _BLOCK):
            end = min(start + _BLOCK, bins)
            _prepare(start, end, shape, share, rho, block)
            if len(grad) > 0:
                _keep(block[0], block[1], end - start, grad, i * bins + start)
            ahead = min(_BLOCK, bins - end)
            phi, sums = _forward(p, at + end, q, bt + end, end - start, ahead, phi, sums, block)
        _look(p, at, q, bt, bins, looks, tolerance >= 0.0, False)
        plain.deliver_row(i, sums[0], sums[2] * (factor + factor), looks, 0, results, how)
        if len(grad) > 0:
            r = zero - sums[1] if share > 0 else zero
            for k in range((i + 1) * bins - 1, i * bins - 1, -1):
                r = r + grad[k]
                grad[k] = r * factor


@row
def _look(p, at, q, bt, bins, looks, wanted, closer):
    for start in range(0, bins if wanted else 0, inspection.COLUMNS):
        size = min(inspection.COLUMNS, bins - start)
        inspection.look(p, at + start, q, bt + start, size, 0, looks, closer)


@row
def _up(shape, rho, zero, t, block, steps):
    """emdref.kernels.tiles.plain._up, a lane a node."""
    parent, cost, weight = shape
    weights, costs, terms = block
    sums, one, n = plain_sums.begin(zero), cost.dtype.type(1), width(t)
    at, flow = 0, t[0]
    for v in range(len(parent) - 1, 0, -1):  # siblings stand side by side
        u = parent[v]
        if u != at:
            poke(t, at, flow)
            at, flow = u, peek(t, u)
        flow = flow + t[v]
    poke(t, at, flow)
    first = (len(parent) - 1) // _BLOCK * _BLOCK
    while first >= 0:
        size = min(_BLOCK, len(parent) - first)
        for v in range(size // n):
            k, place = first + v * n, first // n + v
            _terms(load(t, place), load_row(cost, k), load_row(weight, k), rho, one, v, terms, steps, place)
        if size % n > 0:
            v, place = size // n, (first + size) // n
            _copy(cost, place * n, len(parent), costs)
            _copy(weight, place * n, len(parent), weights)
            _terms(load(t, place), load(costs, 0), load(weights, 0), rho, one, v, terms, steps, place)
        for j in range(size - 1, -1, -1):
            if cost[first + j] > 0:
                sums = plain_sums.join(sums, (terms[0][j], terms[1][j], terms[2][j]))
            else:
                steps[first + j] = zero
        first -= _BLOCK
    return sums


@loop
def emd_tree(first, last, given, results, shape, how):
    """emdref.kernels.tiles.plain.emd_tree, row by row."""
    p, p_step, q, q_step = given
    parent, cost, weight, bin_node, empty, _ = shape
    rho, share, factor, _, _, tolerance = how
    grad, bins, nodes, n = results[1], len(bin_node), len(parent), width(p)
    zero = p.dtype.type(0)
    looks, block = inspection.new_sums(p), _block(p.dtype, n)
    steps, t = scratch(_vectors(nodes, n), p.dtype), scratch(_vectors(nodes, n), p.dtype)
    for i in range(first, last):
        at, bt = i * p_step, i * q_step
        inspection.clear(looks)
        for k in range(len(empty)):
            poke(t, empty[k], zero)
        for k in range(bins):
            poke(t, bin_node[k], p[at + k] - q[bt + k])
        _look(p, at, q, bt, bins, looks, tolerance >= 0.0, False)
        sums = _up((parent, cost, weight), rho, zero, t, block, steps)
        plain.deliver_row(i, sums[0], sums[2] * (factor + factor), looks, 0, results, how)
        if len(grad) > 0:
            t[0] = zero - sums[1] if share > 0 else zero  # from here on r
            for v in range(1, nodes):
                t[v] = peek(t, parent[v]) + steps[v]
            for k in range(bins):
                grad[i * bins + k] = factor * peek(t, bin_node[k])


# --- two limbs --------------------------------------------------------------------------------------------------------


@inline
def _terms2(h, l, cost, below, rho, v, terms, slopes, at):
    """Limbs of what edges add to the value and the mean, and the flow's high limbs, into five arrays; their slopes."""
    value_h, value_l, mean_h, mean_l, sh, sl = two_limb_sums.terms(h, l, cost, below, rho)
    store(terms[0], v, value_h)
    store(terms[1], v, value_l)
    store(terms[2], v, mean_h)
    store(terms[3], v, mean_l)
    store(terms[4], v, h)
    store(slopes[0], at, sh)
    store(slopes[1], at, sl)


@inline
def _add(sums, terms, j, slopes, k, exempt):
    """Add edge number j of a block, number k of those whose slopes these are."""
    added = terms[0][j], terms[1][j], terms[2][j], terms[3][j], slopes[0][k], slopes[1][k]
    return two_limb_sums.add_terms(sums, added, terms[4][j], exempt)


@row
def _flows2(p, at, q, bt, first, last, shape, how, flow, block):
    """The flow after the bins from first to last, and what the edges after them add to the sums."""
    slopes, costs, terms = block
    rho, _, _, _, closely, _ = how
    h, l, lost = flow
    counts = terms[2]
    _edges_of(shape, first, last, costs, counts)
    for k in range(first, last):
        h, l, lost = two_limb_sums.lifted(h, l, lost, *two_sum(float(p[at + k]), -float(q[bt + k])), closely)
        terms[0][k - first], terms[1][k - first] = h, l
    for v in range(_vectors(last - first, _LANES)):
        xh, xl = two_sum(load(terms[0], v), load(terms[1], v))
        _terms2(xh, xl, load(costs, v), load(counts, v), rho, v, terms, slopes, v)
    return h, l, lost


@row
def _sum2(size, sums, block):
    """Add the edges of a block of that size."""
    slopes, costs, terms = block
    for j in range(size):
        if costs[j] > 0.0:
            sums = _add(sums, terms, j, slopes, j, 0.0)
    return sums


@row
def _backward2(slopes, first, last, factor, r, grad, at):
    """Gradient of the bins from last to first, from r after them."""
    rh, rl = r
    for k in range(last - 1, first - 1, -1):
        rh, rl = two_limb_sums.more(rh, rl, slopes[0][k], slopes[1][k])
        grad[at + k] = two_limb_sums.gradient(rh, rl, factor)


@row
def _slopes(slopes, first, last):
    """The sum of the slopes of the edges after the bins from first to last."""
    h, l = 0.0, 0.0
    for k in range(first, last):
        h, l = two_limb_sums.more(h, l, slopes[0][k], slopes[1][k])
    return h, l


@inline
def _limbs(entries):
    """Scratch for so many numbers in two limbs."""
    size = _vectors(entries, _LANES)
    return scratch(size, np.float64), scratch(size, np.float64)


@inline
def _block2():
    """Scratch for a block: slopes, costs, and what edges add to the sums."""
    size, real = _BLOCK // _LANES, np.float64
    terms = scratch(size, real), scratch(size, real), scratch(size, real), scratch(size, real), scratch(size, real)
    return _limbs(_BLOCK), scratch(size, real), terms


@inline
def _keep2(block, size, slopes, at):
    """`_keep` for both limbs."""
    _keep(block[0][0], block[1], size, slopes[0], at)
    _keep(block[0][1], block[1], size, slopes[1], at)


@loop
def emd_chain2(first, last, given, results, shape, how):
    """emdref.kernels.tiles.two_limbs.emd_chain2, row by row; on a long way slopes are computed once more."""
    p, p_step, q, q_step = given
    bins, gaps, gap_step, costs = shape
    grad, edges = results[1], bins - 1
    digits = 53 if p.itemsize == 8 else 24
    looks, block, chain = inspection.new_sums(p), _block2(), (bins, gaps, gap_step)
    slopes, marks = _limbs(min(bins, _FAR)), _limbs(bins // _FAR + 1)  # flows before each part of the way
    for i in range(first, last):
        at, bt = i * p_step, i * q_step
        inspection.clear(looks)
        flow, sums = (0.0, 0.0, 0.0), two_limb_sums.begin(0.0)
        for start in range(0, bins, inspection.COLUMNS):
            more = two_limb_sums.begin(0.0)
            if start % _FAR == 0:
                marks[0][start // _FAR], marks[1][start // _FAR], _ = flow
            for k in range(start, min(start + inspection.COLUMNS, bins), _BLOCK):
                size = min(_BLOCK, bins - k)
                flow = _flows2(p, at, q, bt, k, k + size, chain, how, flow, block)
                more = _sum2(size, more, block)
                _keep2(block, size, slopes, k % _FAR)
            sums = two_limb_sums.join(sums, more)
        _look(p, at, q, bt, bins, looks, True, True)
        own = sums[0] + sums[1], sums[4], sums[5], sums[6], flow[2]
        two_limbs.deliver_row(i, own, costs, 2 * bins, looks, 0, digits, results, how)
        if len(grad) == 0:
            continue
        oh, ol = two_limb_sums.mean(sums, how[1])
        r = 0.0 - oh, 0.0 - ol
        start, end = edges // inspection.COLUMNS * inspection.COLUMNS, bins
        while start >= 0:
            part = start // _FAR * _FAR
            if end % _FAR == 0 and end < bins:  # else the slopes of this part are there
                flow = marks[0][part // _FAR], marks[1][part // _FAR], 0.0
                for k in range(part, end, _BLOCK):
                    flow = _flows2(p, at, q, bt, k, k + _BLOCK, chain, how, flow, block)
                    _keep2(block, _BLOCK, slopes, k - part)
            _backward2(slopes, start - part, end - part, how[2], r, grad, i * bins + part)
            if start > 0:
                r = two_limb_sums.more(*r, *_slopes(slopes, start - part, min(end, edges) - part))
            end = start
            start -= inspection.COLUMNS


@row
def _up2(shape, rho, closely, t, block, slopes):
    """emdref.kernels.tiles.two_limbs._up, a lane a node."""
    parent, cost, below, exempt = shape
    (counts, _), costs, terms = block
    lost, sums, (high, low) = 0.0, two_limb_sums.begin(0.0), t
    at, h, l = 0, high[0], low[0]
    for v in range(len(parent) - 1, 0, -1):  # siblings stand side by side
        u = parent[v]
        if u != at:
            poke(high, at, h)
            poke(low, at, l)
            at, h, l = u, peek(high, u), peek(low, u)
        h, l, lost = two_limb_sums.lifted(h, l, lost, high[v], low[v], closely)
    poke(high, at, h)
    poke(low, at, l)
    first = (len(parent) - 1) // two_limb_sums.EDGES * two_limb_sums.EDGES
    while first >= 0:
        edges, size = two_limb_sums.begin(0.0), min(two_limb_sums.EDGES, len(parent) - first)
        for v in range(size // _LANES):
            k, place = first + v * _LANES, first // _LANES + v
            h, l = two_sum(load(high, place), load(low, place))
            _terms2(h, l, load_row(cost, k), load_row(below, k), rho, v, terms, slopes, place)
        if size % _LANES > 0:
            v, place = size // _LANES, (first + size) // _LANES
            _copy(cost, place * _LANES, len(parent), costs)
            _copy(below, place * _LANES, len(parent), counts)
            h, l = two_sum(load(high, place), load(low, place))
            _terms2(h, l, load(costs, 0), load(counts, 0), rho, v, terms, slopes, place)
        for j in range(size - 1, -1, -1):
            if cost[first + j] > 0.0:
                edges = _add(edges, terms, j, slopes, first + j, exempt[first + j])
            else:
                slopes[0][first + j], slopes[1][first + j] = 0.0, 0.0
        sums = two_limb_sums.join(sums, edges)
        first -= two_limb_sums.EDGES
    return lost, sums


@row
def _down2(parent, slopes, oh, ol, t):
    """r at all nodes, into t, from minus r at the root."""
    high, low = t
    high[0], low[0] = 0.0 - oh, 0.0 - ol
    for v in range(1, len(parent)):
        u = parent[v]
        high[v], low[v] = two_limb_sums.more(peek(high, u), peek(low, u), slopes[0][v], slopes[1][v])


@loop
def emd_tree2(first, last, given, results, shape, how):
    """emdref.kernels.tiles.two_limbs.emd_tree2, row by row."""
    p, p_step, q, q_step = given
    parent, cost, below, exempt, bin_node, empty, _, costs = shape
    rho, share, factor, _, closely, _ = how
    grad, bins, nodes = results[1], len(bin_node), len(parent)
    digits = 53 if p.itemsize == 8 else 24
    looks, block = inspection.new_sums(p), _block2()
    slopes, t = _limbs(nodes), _limbs(nodes)
    high, low = t
    for i in range(first, last):
        at, bt = i * p_step, i * q_step
        inspection.clear(looks)
        for k in range(len(empty)):
            poke(high, empty[k], 0.0)
            poke(low, empty[k], 0.0)
        for k in range(bins):
            h, l = two_sum(float(p[at + k]), -float(q[bt + k]))
            poke(high, bin_node[k], h)
            poke(low, bin_node[k], l)
        _look(p, at, q, bt, bins, looks, True, True)
        lost, sums = _up2((parent, cost, below, exempt), rho, closely, t, block, slopes)
        own = sums[0] + sums[1], sums[4], sums[5], sums[6], lost
        two_limbs.deliver_row(i, own, costs, bins + nodes, looks, 0, digits, results, how)
        if len(grad) > 0:
            oh, ol = two_limb_sums.mean(sums, share)
            _down2(parent, slopes, oh, ol, t)
            for k in range(bins):
                v = bin_node[k]
                grad[i * bins + k] = two_limb_sums.gradient(peek(high, v), peek(low, v), factor)
