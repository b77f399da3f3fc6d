"""Exact EMD on a circle, a row at a time: the flow phi - c, c being where sum M |phi - c|^rho is least.

phi is the mass of p - q in the bins up to each edge; the last edge, which closes the circle, has phi = 0.  For rho = 1
c is the midpoint of the interval of weighted medians of phi, found by selection; for rho = 2 the weighted mean; else
Newton's method, kept within a bracket.  The derivative is the chain's with phi - c for phi, for at the least c the
value does not change with c; at rho = 1 edges without flow share one slope, such that slopes sum to 0 round the circle.

In two limbs phi and c are normal pairs, with a bound on what phi has lost; rows in which that could be seen are unsafe.
"""

import math

import numpy as np

from emdref.kernels.arithmetic.edges import edge2, power, power2, slope
from emdref.kernels.arithmetic.floats import add2, div2, mul2, two_prod, two_sum
from emdref.kernels.arithmetic.lanes import product
from emdref.kernels.compile.jit import loop, row
from emdref.kernels.tiles.inspection import fails
from emdref.kernels.tiles.two_limb_sums import gradient, lifted, more, most_lost

_U2 = 2.0**-100  # what two-limb arithmetic loses, relative, and more
_U4 = 2.0**-104  # the same of a sum of n numbers, n^2 times, or n times if there are
_MANY = 4096
_RELATIVE = 2.0**-57  # what errors of the flow may change, relative to the value or to max |r|
_LEAST, _MOST = 2.0**-900, 2.0**900  # value and slopes between them: nothing under- or overflowed on the way
_FEW = 200  # numbers that are selected from at once
_SAMPLE = 96  # of more, on which a bracket of the median is based
_STEPS = 200  # of Newton's method, at most
_UNIT = 500  # a total is multiplied by two to that power at most
_NEAREST = 2.0**-700  # what c lies beyond a phi, at least: with less, powers just above 1 leave the range


# --- selection --------------------------------------------------------------------------------------------------------


@row
def _less(ah, al, bh, bl):
    """a < b for normal pairs."""
    return ah < bh or (ah == bh and al < bl)


@row
def _swap(h, l, w, i, j):
    h[i], h[j] = h[j], h[i]
    l[i], l[j] = l[j], l[i]
    w[i], w[j] = w[j], w[i]


@row
def _middle(h, l, i, j, k):
    """The index of the middle one of three pairs."""
    if _less(h[j], l[j], h[i], l[i]):
        i, j = j, i
    if _less(h[k], l[k], h[j], l[j]):
        j = i if _less(h[k], l[k], h[i], l[i]) else k
    return j


@row
def _reaches(sh, sl, th, tl, slack):
    """1 if 2 s > t, 0 if they are equal, -1 if less; 2 if sums that may be off by the slack cannot tell."""
    ah, al = two_sum(2.0 * sh, 2.0 * sl)
    bh, bl = two_sum(th, tl)
    if slack > 0.0:
        dh, dl = add2(ah, al, -bh, -bl)
        if abs(dh + dl) <= slack:
            return 2
    return -1 if _less(ah, al, bh, bl) else 1 if _less(bh, bl, ah, al) else 0


@row
def _select(h, l, w, count, sh, sl, th, tl, slack):
    """The least pair with half of the weight t at or below it, s being below all pairs; and what `_reaches` says of it.

    The pairs are put into another order.  Where pivots lie is drawn, lest some order of the pairs take count^2 steps.
    """
    first, last, draw = 0, count, 1
    while True:
        draw = draw * 16807 % 2147483647
        at, width = draw % (last - first), last - first
        m = _middle(h, l, first + at, first + (at + width // 3) % width, first + (at + 2 * width // 3) % width)
        ph, pl = h[m], l[m]
        i, j, k = first, first, last  # below the pivot up to i, equal up to j, above from k on
        bh, bl, eh, el = sh, sl, 0.0, 0.0
        while j < k:
            if _less(h[j], l[j], ph, pl):
                bh, bl = more(bh, bl, np.float64(w[j]), 0.0)
                _swap(h, l, w, i, j)
                i += 1
                j += 1
            elif _less(ph, pl, h[j], l[j]):
                k -= 1
                _swap(h, l, w, j, k)
            else:
                eh, el = more(eh, el, np.float64(w[j]), 0.0)
                j += 1
        below = _reaches(bh, bl, th, tl, slack)
        if below == 2:
            return ph, pl, 2
        if below >= 0 and i > first:
            last = i
            continue
        eh, el = more(bh, bl, eh, el)
        here = _reaches(eh, el, th, tl, slack)
        if here >= 0 or j == last:
            return ph, pl, here
        first, sh, sl = j, eh, el


@row
def _bracket(h, n, sample):
    """Two numbers between which most probably lies the median."""
    for i in range(_SAMPLE):
        x = h[(2 * i + 1) * n // (2 * _SAMPLE)]
        j = i
        while j > 0 and sample[j - 1] > x:
            sample[j] = sample[j - 1]
            j -= 1
        sample[j] = x
    return sample[_SAMPLE // 2 - 12], sample[_SAMPLE // 2 + 12]


@row
def _between(h, l, gaps, step, lo, hi, bh, bl, bw):
    """Copy the pairs from lo to hi that have weight; how many they are, and the weight of those below."""
    n, count, sh, sl = len(h), 0, 0.0, 0.0
    if step == 0:  # then it is a number of bins
        below = 0
        for k in range(n):
            x = h[k]
            bh[count], bl[count], bw[count] = x, l[k], gaps[0]
            count += lo <= x <= hi
            below += x < lo
        return count, *two_prod(np.float64(gaps[0]), np.float64(below))
    for k in range(n):
        x, weight = h[k], gaps[k * step]
        bh[count], bl[count], bw[count] = x, l[k], weight
        count += lo <= x <= hi and weight > 0
        sh, sl = more(sh, sl, np.float64(weight) if x < lo else 0.0, 0.0)
    return count, sh, sl


@row
def _median(h, l, gaps, step, total, slack, buffers, sample):
    """The ends of the interval of weighted medians, (a, b) in two limbs each, and whether they can be trusted."""
    bh, bl, bw = buffers
    th, tl = total
    n = len(h)
    found, count, sh, sl = False, 0, 0.0, 0.0
    if n > _FEW:
        lo, hi = _bracket(h, n, sample)
        count, sh, sl = _between(h, l, gaps, step, lo, hi, bh, bl, bw)
        found = count > 0 and _reaches(sh, sl, th, tl, slack) == -1
    ah, al, here = h[0], l[0], -1
    if found:
        ah, al, here = _select(bh, bl, bw, count, sh, sl, th, tl, slack)
    if here < 0:  # not within the bracket
        count, sh, sl = _between(h, l, gaps, step, -math.inf, math.inf, bh, bl, bw)
        ah, al, here = _select(bh, bl, bw, count, 0.0, 0.0, th, tl, slack)
    if here != 0:
        return ah, al, ah, al, here == 1
    ch, cl = h[0] + math.inf, l[0]
    for k in range(n):  # the next one with weight
        if gaps[k * step] > 0 and _less(ah, al, h[k], l[k]) and _less(h[k], l[k], ch, cl):
            ch, cl = h[k], l[k]
    return ah, al, ch, cl, ch < math.inf


# --- two limbs --------------------------------------------------------------------------------------------------------


@row
def _lift(p, at, q, bt, h, l, shares):
    """phi of a row, Eq. (6), 0 on the edge that closes the circle; what low limbs lose, and a look at the input."""
    n = len(h)
    p_total, q_total, least, low = 0.0, 0.0, 0.0, math.inf
    xh, xl = 0.0, 0.0
    for k in range(n):
        x, y = np.float64(p[at + k]), np.float64(q[bt + k])
        p_total, q_total, least = p_total + x, q_total + y, min(least, x, y)
        low = min(low, x if x > 0.0 else math.inf, y if y > 0.0 else math.inf)
        xh, xl = more(xh, xl, *two_sum(x, -y))
        h[k], l[k] = two_sum(xh, xl)
    lost = most_lost(max(p_total, q_total), low, 53 if p.itemsize == 8 else 24, 2.0 * n)
    if shares:
        lost = _lift_shares(p, at, q, bt, h, l)
    elif lost > 0.0:
        lost = _lift_closely(p, at, q, bt, h, l)
    h[n - 1], l[n - 1] = 0.0, 0.0
    return lost, p_total, q_total, least


@row
def _lift_closely(p, at, q, bt, h, l):
    """phi of a row, and what its low limbs lose, added up instead of bounded."""
    xh, xl, lost = 0.0, 0.0, 0.0
    for k in range(len(h) - 1):
        dh, dl = two_sum(np.float64(p[at + k]), -np.float64(q[bt + k]))
        xh, xl, lost = lifted(xh, xl, lost, dh, dl, True)
        h[k], l[k] = two_sum(xh, xl)
    return lost


@row
def _lift_shares(p, at, q, bt, h, l):
    """phi of rows divided by their totals."""
    p_unit, ph, pl = _reciprocal(p, at, len(h))
    q_unit, qh, ql = _reciprocal(q, bt, len(h))
    xh, xl, lost, same = 0.0, 0.0, 0.0, True
    for k in range(len(h) - 1):
        same = same and p[at + k] == q[bt + k]
        ah, al = mul2(ph, pl, p_unit * np.float64(p[at + k]), 0.0)
        bh, bl = mul2(qh, ql, q_unit * np.float64(q[bt + k]), 0.0)
        dh, dl = add2(ah, al, -bh, -bl)
        xh, xl, lost = lifted(xh, xl, lost, dh, dl, True)
        h[k], l[k] = two_sum(xh, xl)
    same = same and p[at + len(h) - 1] == q[bt + len(h) - 1]
    return 0.0 if same else lost + 4.0 * _U2  # of sums of shares, which are at most 1


@row
def _reciprocal(p, at, n):
    """A power of two that takes a row to the middle of the range, and 1 over its total then, in two limbs."""
    h, l = 0.0, 0.0
    for k in range(n):
        h, l = add2(h, l, np.float64(p[at + k]), 0.0)
    if not h < math.inf:  # nor is the row then settled
        return 1.0, h, l
    unit = math.ldexp(1.0, min(max(-math.frexp(h)[1], -_UNIT), _UNIT))
    return unit, *div2(1.0, 0.0, unit * h, unit * l)


@row
def _total(gaps, step, n):
    """The sum of the gaps in two limbs, and what it may have lost."""
    h, l, lost = 0.0, 0.0, 0.0
    for k in range(n):
        h, l, lost = lifted(h, l, lost, gaps[k * step], 0.0, True)
    h, l = two_sum(h, l)
    return h, l, lost


@row
def _mean(h, l, gaps, step, total):
    """The weighted mean of phi in two limbs."""
    sh, sl = 0.0, 0.0
    for k in range(len(h)):
        xh, xl = two_prod(gaps[k * step], h[k])
        xl += product(gaps[k * step], l[k])
        if len(h) <= _MANY:
            sh, sl = more(sh, sl, xh, xl)
        else:
            sh, sl = add2(sh, sl, *two_sum(xh, xl))
    return div2(*two_sum(sh, sl), *total)


@row
def _slip(n, rho):
    """What c, or a difference from it, may err, relative to the largest phi; sums of n numbers lose most."""
    if rho == 1.0:
        return _U2
    newton = 0.0 if rho == 2.0 else 256.0
    return (newton + n * n) * _U4 if n <= _MANY else 4.0 * n * _U4


@row
def _ends(h, gaps, step):
    """The least and the largest phi of an edge that costs something."""
    low, high = math.inf, -math.inf
    for k in range(len(h)):
        if gaps[k * step] > 0:
            low, high = min(low, h[k]), max(high, h[k])
    return low, high


@row
def _pull(h, l, gaps, step, rho, nh, nl, t, scale):
    """sum M |d|^(rho-1) over d > 0, and over d < 0, for d = (phi - n - t) / scale; and sums M |d|^(rho-2)."""
    above, below, steep_above, steep_below, unit = 0.0, 0.0, 0.0, 0.0, 1.0 / scale  # a power of two
    for k in range(len(h)):
        d = (((h[k] - nh) + (l[k] - nl)) - t) * unit
        x = abs(d)
        if gaps[k * step] > 0 and x > 0.0:
            if rho == 3.0 or rho == 4.0:
                steep = gaps[k * step] * (x if rho == 3.0 else x * x)
                pull = steep * x
            else:
                pull = gaps[k * step] * x ** (rho - 1.0)
                steep = pull / x
            if d > 0.0:
                above += pull
                steep_above += steep
            else:
                below += pull
                steep_below += steep
    return above, below, steep_above, steep_below


@row
def _pull2(h, l, gaps, step, rho, nh, nl, th, tl, scale):
    """The difference of the first two in two limbs, and the sum of the others; all times rho."""
    gh, gl, steep = 0.0, 0.0, 0.0
    for k in range(len(h)):
        cost = np.float64(gaps[k * step])
        if cost > 0.0:
            dh, dl = add2(np.float64(h[k]), np.float64(l[k]), -nh, -nl)
            dh, dl = add2(dh, dl, -th, -tl)
            if dh != 0.0:
                _, _, sh, sl = _edge(dh / scale, dl / scale, cost, rho)
                gh, gl = more(gh, gl, sh, sl)
                steep += abs(sh / (dh / scale))
    return gh, gl, steep


@row
def _minimiser(h, l, gaps, step, rho, c):
    """c as the sum of two pairs, and whether it can be trusted, for a rho other than 1 and 2; from a first guess."""
    low, high = _ends(h, gaps, step)
    if not 1.0 / _MOST < high - low < _MOST:
        return low, 0.0, 0.0, 0.0, low == high and _is_one(h, l, gaps, step)
    scale = math.ldexp(1.0, math.frexp(high - low)[1])
    if rho < 2.0:
        nh, nl, t, sure = _near(h, l, gaps, step, rho, scale)
        return nh, nl, t, 0.0, sure
    c = _approach(h, l, gaps, step, rho, min(max(c, low), high), low, high, scale)
    return _refined(h, l, gaps, step, rho, c, scale)


@row
def _is_one(h, l, gaps, step):
    """Whether low limbs too are the same on all edges that cost something."""
    low, high = _ends(l, gaps, step)
    return low == high


@row
def _change(h, l, gaps, step, rho, nh, nl, t, scale):
    """A step of Newton's method for c = n + t and rho > 2, and on which side of t c lies.

    For a large rho sums of powers are flat and then steep, but their roots of order rho - 1 are nearly straight.
    """
    above, below, steep_above, steep_below = _pull(h, l, gaps, step, rho, nh, nl, t, scale)
    root = 1.0 / (rho - 1.0)
    a, b = above**root, below**root
    slope_above = a / above * steep_above if above > 0.0 else 0.0
    slope_below = b / below * steep_below if below > 0.0 else 0.0
    side = 1.0 if above > below else -1.0 if above < below else 0.0
    return (a - b) / (slope_above + slope_below) * scale, side


@row
def _approach(h, l, gaps, step, rho, c, low, high, scale):
    """c for rho > 2 within a bracket, roughly."""
    for _ in range(_STEPS):
        change, side = _change(h, l, gaps, step, rho, 0.0, 0.0, c, scale)
        if side > 0.0:
            low = max(low, c)
        elif side < 0.0:
            high = min(high, c)
        else:
            break
        after = c + change
        if not low < after < high:
            after = 0.5 * (low + high)
        done = abs(after - c) < 2.0**-30 * scale or not low < after < high
        c = after
        if done:
            break
    return c


@row
def _refined(h, l, gaps, step, rho, c, scale):
    """c for rho > 2 as a phi and what c lies beyond it: little, if that edge has most of the weight."""
    m = -1
    for k in range(len(h)):
        if gaps[k * step] > 0 and (m < 0 or abs(h[k] - c) < abs(h[m] - c)):
            m = k
    nh, nl = np.float64(h[m]), np.float64(l[m])
    t = (c - nh) - nl
    for _ in range(_STEPS):
        change, side = _change(h, l, gaps, step, rho, nh, nl, t, scale)
        t += change
        if side == 0.0 or abs(change) <= 2.0**-30 * abs(t):
            break
    th, tl, change = t, 0.0, math.inf
    for _ in range(4):
        gh, gl, steep = _pull2(h, l, gaps, step, rho, nh, nl, th, tl, scale)
        if gh + gl == 0.0:
            change = 0.0
            break
        change = (gh + gl) / ((rho - 1.0) * steep) * scale
        th, tl = add2(th, tl, change, 0.0)
        if abs(change) < 2.0**-98 * abs(th):
            break
    return nh, nl, th, tl, abs(change) <= (2.0**-50 if rho == 3.0 or rho == 4.0 else 2.0**-45) * abs(th)


@row
def _near(h, l, gaps, step, rho, scale):
    """c for 1 < rho < 2, where slopes are steep beside each phi: a phi, what c lies beyond it, and whether that can be
    trusted.  With u = t^(rho-1) for what lies beyond, the equation is nearly straight in u."""
    nh, nl, reach = _neighbour(h, l, gaps, step, rho, scale)
    if reach == 0.0:
        return nh, nl, 0.0, True
    sign, low, high, r = 1.0 if reach > 0.0 else -1.0, 0.0, abs(reach), rho - 1.0
    t, precise = 0.5 * high, 0
    for _ in range(_STEPS):
        if not t > _NEAREST * scale:
            break
        if precise:
            gh, gl, steep = _pull2(h, l, gaps, step, rho, nh, nl, sign * t, 0.0, scale)
            g = gh + gl
        else:
            above, below, steep_above, steep_below = _pull(h, l, gaps, step, rho, nh, nl, sign * t, scale)
            g, steep = above - below, steep_above + steep_below
        g *= sign
        if g > 0.0:
            low = max(low, t)
        elif g < 0.0:
            high = min(high, t)
        after = t * max(1.0 + g / (steep * (t / scale)), 0.0) ** (1.0 / r)
        if precise:  # from here on it only moves by rounding
            t, precise = after, precise + 1
        elif abs(after - t) <= 2.0**-30 * r * t:
            t, precise = after, 1
        elif low < after < high:
            t = after
        else:
            t = (0.5 * (low**r + high**r)) ** (1.0 / r)
            if not low < t < high:
                precise = 1
        if precise == 3:
            return nh, nl, sign * t, t > _NEAREST * scale
    return nh, nl, sign * t, False


@row
def _neighbour(h, l, gaps, step, rho, scale):
    """The phi next to c, and how far off c may be, signed: half of the way to the phi on its other side."""
    low, high, a, b = -math.inf, math.inf, -1, -1
    while True:
        count = 0
        for k in range(len(h)):
            count += gaps[k * step] > 0 and low < h[k] < high
        if count == 0:
            break
        m, left = -1, count // 2
        while left >= 0:
            m += 1
            left -= gaps[m * step] > 0 and low < h[m] < high
        nh, nl = np.float64(h[m]), np.float64(l[m])
        above, below, _, _ = _pull(h, l, gaps, step, rho, nh, nl, 0.0, scale)
        if above == below:
            return nh, nl, 0.0
        if above > below:
            low, a = h[m], m
        else:
            high, b = h[m], m
    if a < 0 or b < 0:  # rounding alone says so
        return nh, nl, 0.0
    reach = 0.5 * (np.float64(h[b]) - np.float64(h[a]) + (np.float64(l[b]) - np.float64(l[a])))
    nh, nl = np.float64(h[a]), np.float64(l[a])
    above, below, _, _ = _pull(h, l, gaps, step, rho, nh, nl, reach, scale)
    if above > below:
        return np.float64(h[b]), np.float64(l[b]), -reach
    return nh, nl, reach


@row
def _wobble(h, gaps, step, rho, t, lost):
    """What slopes may err for a rho other than 1 and 2, at most, by what flows lost and what two limbs lose of them.

    t is what c lies beyond a phi, from which flows are counted: if that phi is the only one, it has lost nothing.
    """
    wobble, own, count = 0.0, 0.0, 0
    for k in range(len(h)):
        cost, x = gaps[k * step], abs(h[k])
        if cost > 0.0:
            err = _U2 * (abs(h[k] + t) + abs(t))
            if h[k] == -t:
                own += cost
                count += 1
            else:
                err += 2.0 * lost
            if x > 0.0:
                wobble += cost * err * x ** (rho - 2.0)
    if count > 1 and t != 0.0:
        wobble += 2.0 * lost * own * abs(t) ** (rho - 2.0)
    return rho * max(rho - 1.0, 1.0) * wobble if t != 0.0 or count < 2 or rho > 2.0 or lost == 0.0 else math.inf


@row
def _offset(h, l, gaps, step, rho, total, slack, buffers, sample):
    """c, whether it is a phi of an edge, and whether it can be trusted; for 1 < rho < 2, phi and c are less a phi."""
    if total[0] == 0.0:
        return 0.0, 0.0, False, True
    if rho == 1.0:
        ah, al, bh, bl, sure = _median(h, l, gaps, step, total, slack, buffers, sample)
        if ah == bh and al == bl:
            return ah, al, True, sure
        ch, cl = add2(ah, al, bh, bl)
        return 0.5 * ch, 0.5 * cl, False, sure
    ch, cl = _mean(h, l, gaps, step, total)
    if rho == 2.0:
        return ch, cl, False, True
    nh, nl, ch, cl, sure = _minimiser(h, l, gaps, step, rho, ch)
    if nh != 0.0:
        for k in range(len(h)):
            h[k], l[k] = add2(h[k], l[k], -nh, -nl)
    return ch, cl, False, sure


@row
def _edge(h, l, cost, rho):
    """Limbs of cost |phi|^rho and of cost times its derivative."""
    if rho == 1.0 and cost == 1.0:
        return (h, l, 1.0, 0.0) if h > 0.0 else (-h, -l, -1.0, 0.0)
    if rho == 1.0 or rho == 2.0 or rho == 3.0 or rho == 4.0:
        return edge2(h, l, cost, rho)
    if h == 0.0:
        return 0.0, 0.0, 0.0, 0.0
    sign = 1.0 if h > 0.0 else -1.0
    ph, pl = mul2(*power2(sign * h, sign * l, rho - 1.0), cost, 0.0)
    th, tl = mul2(ph, pl, sign * h, sign * l)
    sh, sl = mul2(ph, pl, sign * rho, 0.0)
    return th, tl, sh, sl


@row
def _times(count, h, l):
    """A number of bins times a slope."""
    if h == 1.0 or h == -1.0:
        return count * h, 0.0
    ph, pl = two_prod(count, h)
    return ph, pl + product(count, l)


@row
def _sums(h, l, ch, cl, gaps, step, rho, centred):
    """phi - c in place, and sums over the edges: value, slopes, slopes times the bins before, |slopes|, the weight of
    edges without flow; the largest |phi|, the least flow that is not 0, and how many are."""
    vh, vl, sh, sl, mh, ml, total, wh, wl = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    most, least, zeros, n = abs(ch), math.inf, 0, len(h)
    for k in range(n):
        cost = gaps[k * step]
        most = max(most, abs(h[k]))
        xh, xl = add2(h[k], l[k], -ch, -cl)
        h[k], l[k] = xh, xl
        if cost > 0.0:
            if xh == 0.0:
                zeros += 1
                wh, wl = more(wh, wl, cost, 0.0)
            else:
                least = min(least, abs(xh))
                ah, al, bh, bl = _edge(xh, xl, cost, rho)
                vh, vl = more(vh, vl, ah, al)
                sh, sl = more(sh, sl, bh, bl)
                total += abs(bh)
                if centred and k < n - 1:
                    ah, al = _times(k + 1.0, bh, bl)
                    mh, ml = more(mh, ml, ah, al)
    return (vh, vl), (sh, sl), (mh, ml), (wh, wl), total, most, least, zeros


@row
def _shared(slopes, weight):
    """The slope that edges without flow share at rho = 1, such that all sum to 0."""
    wh, wl = two_sum(*weight)
    if wh == 0.0:
        return 0.0, 0.0
    sh, sl = two_sum(*slopes)
    return div2(-sh, -sl, wh, wl)


@row
def _slope(h, l, cost, rho, shared):
    """Limbs of cost times the slope of an edge."""
    if cost == 0.0:
        return 0.0, 0.0
    if rho == 1.0 and h == 0.0:
        return mul2(*shared, cost, 0.0)
    _, _, sh, sl = _edge(h, l, cost, rho)
    return sh, sl


@row
def _tied(h, gaps, step, shared):
    """Slopes of edges without flow times the bins before them, summed."""
    mh, ml, n = 0.0, 0.0, len(h)
    for k in range(n - 1):
        cost = gaps[k * step]
        if cost > 0.0 and h[k] == 0.0:
            sh, sl = mul2(*shared, cost, 0.0)
            ch, cl = two_prod(k + 1.0, sh)
            mh, ml = more(mh, ml, ch, cl + product(k + 1.0, sl))
    return mh, ml


@row
def _write(h, l, gaps, step, rho, shared, mean, factor, grad, at):
    """The gradient from the last bin, which has minus the mean, to the first."""
    n = len(h)
    rh, rl = -mean[0], -mean[1]
    grad[at + n - 1] = gradient(rh, rl, factor)
    for k in range(n - 2, -1, -1):
        rh, rl = more(rh, rl, *_slope(h[k], l[k], gaps[k * step], rho, shared))
        grad[at + k] = gradient(rh, rl, factor)


@row
def _unsettled(value, lost, err, least, ties, total, rho, wobble, n):
    """True where errors of the flow, or the range, could be seen.

    `err` is what flows may err, `wobble` what that makes of slopes; `ties` says that a flow is 0 though none must be.
    """
    if rho == 1.0 and (not least > 2.0 * err or (lost > 0.0 and ties)):
        return True
    if value == 0.0:
        return lost > 0.0 or least < math.inf
    if not (err * total <= _RELATIVE * value and wobble <= _RELATIVE * total / n):
        return True
    return not (_LEAST < value < _MOST and _LEAST < total < _MOST)


@loop
def emd_circle2(first, last, given, results, shape, how):
    """Value, and gradient unless grad is empty, of rows first to last in two limbs; see `emdref.spaces.space.Kernel`.

    `shape` is (bins, gaps, step, shares): gap number k is entry k times the step; rows are divided by their totals if
    `shares` says so.
    """
    p, p_step, q, q_step = given
    value, grad, doubt, unsafe = results
    n, gaps, step, shares = shape
    rho, share, factor, limit, _, tolerance = how
    h, l, sample = np.empty(n), np.empty(n), np.empty(_SAMPLE)
    buffers = np.empty(n + 1), np.empty(n + 1), np.empty(n + 1)
    th, tl, slack = _total(gaps, step, n)
    centred = len(grad) > 0 and share > 0.0
    for i in range(first, last):
        lost, p_total, q_total, least_mass = _lift(p, i * p_step, q, i * q_step, h, l, shares)
        ch, cl, is_phi, sure = _offset(h, l, gaps, step, rho, (th, tl), 4.0 * slack, buffers, sample)
        sums = _sums(h, l, ch, cl, gaps, step, rho, centred)
        (vh, vl), slopes, mean, weight, total, most, least, zeros = sums
        value[i] = vh + vl
        ties = zeros > 1 or (zeros == 1 and not is_phi)
        err = 2.0 * lost + _slip(n, rho) * most
        wobble = 0.0 if rho == 1.0 else 2.0 * th * err if rho == 2.0 else _wobble(h, gaps, step, rho, ch, lost)
        unsafe[i] = not sure or _unsettled(vh + vl, lost, err, least, ties, total, rho, wobble, n)
        within = vh + vl <= limit and 2.0 * factor * total <= limit
        doubt[i] = not within or (tolerance >= 0.0 and fails(p_total, q_total, least_mass, 0.5 * tolerance))
        if len(grad) > 0:
            shared = _shared(slopes, weight) if rho == 1.0 else (0.0, 0.0)
            mh, ml = more(*mean, *_tied(h, gaps, step, shared)) if rho == 1.0 else mean
            mh, ml = div2(*two_sum(mh, ml), share, 0.0) if centred else (0.0, 0.0)
            _write(h, l, gaps, step, rho, shared, (mh, ml), factor, grad, i * n)


@loop
def flow_circle2(first, last, given, results, shape, how):
    """phi - c of rows first to last, and which rows have an entry that may be off by more than an ulp."""
    p, p_step, q, q_step = given
    flow, unsafe = results
    n, gaps, step, shares = shape
    h, l, sample = np.empty(n), np.empty(n), np.empty(_SAMPLE)
    buffers = np.empty(n + 1), np.empty(n + 1), np.empty(n + 1)
    th, tl, slack = _total(gaps, step, n)
    for i in range(first, last):
        lost, _, _, _ = _lift(p, i * p_step, q, i * q_step, h, l, shares)
        ch, cl, is_phi, sure = _offset(h, l, gaps, step, how[0], (th, tl), 4.0 * slack, buffers, sample)
        most, zeros, least = abs(ch), 0, math.inf
        for k in range(n):
            most = max(most, abs(h[k]))
            xh, xl = add2(h[k], l[k], -ch, -cl)
            flow[i, k] = xh + xl
            zeros += xh == 0.0
            least = min(least, abs(xh) if xh != 0.0 else math.inf)
        exact = lost == 0.0 and (is_phi or th == 0.0 or most == 0.0)  # then c is a phi, and a difference of 0 is one
        err = 2.0 * lost + _slip(n, how[0]) * most
        settled = err <= _RELATIVE * least and (zeros == 0 or exact)
        unsafe[i] = not (sure and settled)


# --- plain arithmetic -------------------------------------------------------------------------------------------------


@loop
def emd_circle(first, last, given, results, shape, how):
    """Value and gradient of rows in plain arithmetic of their dtype; `shape` is (bins, gaps, step)."""
    p, p_step, q, q_step = given
    value, grad, doubt, _ = results
    n, gaps, step = shape
    rho, share, factor, _, _, tolerance = how
    zero, one = gaps.dtype.type(0), gaps.dtype.type(1)
    h, l, sample = np.empty(n, gaps.dtype), np.zeros(n, gaps.dtype), np.empty(_SAMPLE, gaps.dtype)
    buffers = np.empty(n + 1, gaps.dtype), np.empty(n + 1, gaps.dtype), np.empty(n + 1, gaps.dtype)
    costs = _plain_total(gaps, step, n)
    for i in range(first, last):
        at, bt = i * p_step, i * q_step
        phi, p_total, q_total, least = zero, 0.0, 0.0, 0.0
        for k in range(n):
            phi = phi + (p[at + k] - q[bt + k])
            h[k] = phi
            x, y = np.float64(p[at + k]), np.float64(q[bt + k])
            p_total, q_total, least = p_total + x, q_total + y, min(least, x, y)
        h[n - 1] = zero
        c = gaps.dtype.type(_plain_offset(h, l, gaps, step, np.float64(rho), costs, buffers, sample))
        total, slopes, tied, size = zero, zero, zero, zero
        for k in range(n):
            cost = gaps[k * step]
            h[k] = h[k] - c
            if cost > 0:
                total += cost * power(h[k], rho)
                s = cost * slope(h[k], rho, one)
                slopes += s
                size += abs(s)
                if h[k] == 0:
                    tied += cost
        value[i] = total
        finite = total < math.inf and size * (factor + factor) < math.inf
        doubt[i] = not finite or (tolerance >= 0.0 and fails(p_total, q_total, least, 0.5 * tolerance))
        if len(grad) > 0:
            shared = -slopes / tied if rho == 1 and tied > 0 else zero
            _plain_gradient(h, gaps, step, rho, one, shared, share, factor, grad, i * n)


@loop
def flow_circle(first, last, given, results, shape, how):
    """phi - c of rows first to last in plain arithmetic of their dtype; `shape` is (bins, gaps, step)."""
    p, p_step, q, q_step = given
    flow, unsafe = results
    n, gaps, step = shape
    h, l, sample = np.empty(n, gaps.dtype), np.zeros(n, gaps.dtype), np.empty(_SAMPLE, gaps.dtype)
    buffers = np.empty(n + 1, gaps.dtype), np.empty(n + 1, gaps.dtype), np.empty(n + 1, gaps.dtype)
    costs = _plain_total(gaps, step, n)
    for i in range(first, last):
        phi = gaps.dtype.type(0)
        for k in range(n - 1):
            phi = phi + (p[i * p_step + k] - q[i * q_step + k])
            h[k] = phi
        h[n - 1] = gaps.dtype.type(0)
        c = gaps.dtype.type(_plain_offset(h, l, gaps, step, np.float64(how[0]), costs, buffers, sample))
        for k in range(n):
            flow[i, k] = h[k] - c
        unsafe[i] = False


@row
def _plain_total(gaps, step, n):
    """The sum of the gaps in plain arithmetic of float64."""
    costs = 0.0
    for k in range(n):
        costs += np.float64(gaps[k * step])
    return costs


@row
def _plain_offset(h, l, gaps, step, rho, costs, buffers, sample):
    """c for phi in plain arithmetic."""
    if costs == 0.0:
        return 0.0
    if rho == 1.0:
        ah, _, bh, _, _ = _median(h, l, gaps, step, (costs, 0.0), 0.0, buffers, sample)
        return np.float64(ah) if ah == bh else 0.5 * (np.float64(ah) + np.float64(bh))
    c = 0.0
    for k in range(len(h)):
        c += np.float64(gaps[k * step]) * np.float64(h[k])
    c /= costs
    if rho != 2.0:
        near, _, beyond, _, _ = _minimiser(h, l, gaps, step, rho, c)
        return near + beyond
    return c


@row
def _plain_gradient(h, gaps, step, rho, one, shared, share, factor, grad, at):
    """From the last bin to the first, less the mean if share, which is 1/N or 0, says so."""
    n, zero = len(h), one - one
    r, mean = zero, zero
    grad[at + n - 1] = zero
    for k in range(n - 2, -1, -1):
        cost = gaps[k * step]
        if cost > 0:
            r += cost * (shared if rho == 1 and h[k] == 0 else slope(h[k], rho, one))
        grad[at + k] = r
        mean += r * share
    for k in range(n):
        grad[at + k] = (grad[at + k] - mean) * factor
