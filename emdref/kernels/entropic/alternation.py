"""Sinkhorn's iteration on a tree, v = q / (K u) and u = p / (K v), a tile of rows for many iterations at a time.

What a product gives a leaf is divided and sent up the tree again at once, so that an iteration reads and writes each
bin twice, and a tile stays in the processor's cache.  Rows retire one by one when their columns' defect reaches a
tolerance; a retired row's lane goes on, but nothing more is taken from it.
"""

from typing import Any, NamedTuple

import numpy as np

from emdref.kernels.arithmetic.semirings import LINEAR, SCALED
from emdref.kernels.compile.jit import loop, row
from emdref.kernels.entropic import products


class State(NamedTuple):
    """Where all rows stand, (N, rows)."""

    p: Any
    q: Any
    u: Any
    v: Any
    ktu: Any  # K u
    exact: Any  # K u as the semiring's elements, (N, parts * rows)


class Marks(NamedTuple):
    """What is remembered of each row."""

    n_iter: Any
    reached: Any  # the tolerance
    vanished: Any  # a mass was divided by 0
    at: Any  # the first iteration that gave a u or v that is 0 where there is mass, infinite or NaN, or 0
    bin: Any  # and the first bin, v's before u's


def fault(ring):
    """What is wrong with a quotient, over a semiring."""
    vanished, sound = ring.vanished, ring.sound

    @row
    def severity(p, d, z, like):
        """0 for a sound z = p / d or no mass p, 2 where a mass is divided by 0, else 1, in the dtype of `like`."""
        number = type(like)
        return number(0) if vanished(p) | sound(z) else (number(2) if vanished(d) else number(1))

    return severity


linear_fault, log_fault = fault(LINEAR), fault(SCALED)


class Halves(NamedTuple):
    """What `_halves` compiles."""

    begin: Any
    advance: Any


def _halves(ring, go, through, severity):
    """Compile half an iteration, over one semiring; `go` are its columns, `through` its traversals."""
    load, store, factor, plus, times = ring.load, ring.store, ring.factor, ring.plus, ring.times

    @row
    def quotient(p, d, bad, i):
        """p / d; bad is left at what is wrong with it, if that is worse."""
        z = ring.over(p, d)
        worse = severity(p, d, z, bad[i])
        bad[i] = worse if worse > bad[i] else bad[i]
        return z

    @row
    def divide(x, p, bad):
        """x = p / x."""
        n = ring.lanes(x)
        for i in range(n):
            store(x, i, n, quotient(load(p, i, n), load(x, i, n), bad, i))

    @row
    def relay(x, p, k0, b, a, r, s, bad):
        """x = p / (k0 (b x + a r)) at a leaf, and s + a x above it."""
        n = ring.lanes(x)
        for i in range(n):
            d = times(k0, plus(times(b, load(x, i, n)), times(a, load(r, i, n))))
            z = quotient(load(p, i, n), d, bad, i)
            store(x, i, n, z)
            store(s, i, n, plus(load(s, i, n), times(a, z)))

    @row
    def begin(x, p, d, tree, s, bad):
        """x = p / d, and s what `inward` makes of it."""
        for j in range(len(x)):
            go.copy(x[j], d[j])
            divide(x[j], p[j], bad)
        through.inward(x, tree, s)

    @row
    def advance(x, p, tree, s, r, bad):
        """x = p / (k0 K x), and s what `inward` makes of it."""
        leaves, k0 = len(tree.leaf_parent), factor(tree.k0, 0)
        through.turn(tree, s, r)
        for v in range(len(s)):
            go.clear(s[v])
        for j in range(len(tree.own)):
            go.scale(x[leaves + j], k0, r[tree.own[j]])
            divide(x[leaves + j], p[leaves + j], bad)
            go.copy(s[tree.own[j]], x[leaves + j])
        for j in range(leaves):
            u = tree.leaf_parent[j]
            relay(x[j], p[j], k0, factor(tree.leaf_b, j), factor(tree.leaf_a, j), r[u], s[u], bad)

    return Halves(begin, advance)


def _notes(ring):
    """Compile what remembers failures, over one semiring."""
    load = ring.load

    @row
    def earliest(x, p, order, i, n):
        """The first bin of lane i that is not sound in spite of its mass."""
        least = len(order)
        for j in range(len(order)):
            if not ring.vanished(load(p[j], i, n)) and not ring.sound(load(x[j], i, n)):
                least = min(least, order[j])
        return least

    @row
    def note(it, columns, live, bad, x, p, order, marks):
        """Remember the rows that `bad` names, and clear it."""
        n = len(columns)
        for i in range(n):
            if live[i] and bad[i] > 0:
                c = columns[i]
                marks.vanished[c] |= bad[i] > 1
                if marks.at[c] == 0:
                    marks.at[c], marks.bin[c] = it, earliest(x, p, order, i, n)
            bad[i] = 0

    return note


def _defects(ring):
    """Compile how far columns are from q, over one semiring."""
    load, times = ring.load, ring.times

    @row
    def defects(v, ktu, q, d):
        """l1 distance of each column marginal from q."""
        for i in range(len(d)):
            d[i] = 0
        for j in range(len(q)):
            differ(v[j], ktu[j], q[j], d)

    @row
    def differ(v, ktu, q, d):
        n = len(d)
        for i in range(n):
            d[i] += abs(ring.plain(times(load(v, i, n), load(ktu, i, n))) - ring.plain(load(q, i, n)))

    return defects


def _transfers(ring):
    """Compile the ways into a tile and out of it, over one semiring."""
    load, store = ring.load, ring.store

    @row
    def fetch(columns, state, order, t, flags, live, fresh):
        """Fill a tile; `fresh` before the first iteration."""
        n, every, q, p, y = len(columns), state.u.shape[1], t[0], t[1], t[3]
        for i in range(n):
            flags[i], live[i] = 0, True
        for j in range(len(order)):
            k = order[j]
            for i in range(n):
                c = columns[i]
                store(q[j], i, n, ring.entered(state.q[k, c]))
                store(p[j], i, n, ring.entered(state.p[k, c]))
                store(y[j], i, n, ring.entered(state.ktu[k, c]) if fresh else load(state.exact[k], c, every))

    @row
    def deposit(columns, chosen, state, order, t):
        """What the chosen lanes have reached."""
        n, every, u, y, v = len(columns), state.u.shape[1], t[2], t[3], t[4]
        for j in range(len(order)):
            k = order[j]
            for i in range(n):
                if chosen[i]:
                    c, ktu = columns[i], load(y[j], i, n)
                    state.u[k, c], state.v[k, c] = ring.left(load(u[j], i, n)), ring.left(load(v[j], i, n))
                    state.ktu[k, c] = ring.left(ktu)
                    store(state.exact[k], c, every, ktu)

    return fetch, deposit


@row
def retire(it, until, columns, live, chosen, d, tol, marks):
    """Choose the living lanes that reach their tolerance, all of them after `until`; whether there are any."""
    some = False
    for i in range(len(columns)):
        c = columns[i]
        within = len(tol) > 0 and d[i] <= tol[c]
        chosen[i] = live[i] and (within or it == until)
        if chosen[i]:
            live[i], marks.reached[c], marks.n_iter[c], some = False, within, it, True
    return some


def _iteration(go, through, halves, note, defects):
    """Compile the iterations from those parts, over one semiring."""

    @row
    def iterate(columns, marks, tol, done, until, tree, t, g, d, flags, live, chosen):
        """Iterations after `done` to the next that rows end with, see `retire`; up to which."""
        x, y, v, s, r, settles = t[2], t[3], t[4], g[0], g[1], len(tol) > 0
        for half in range(2 * done, 2 * until):
            it, side = half // 2 + 1, half % 2
            given, last = t[side], settles or it == until
            if side == 0 and (half == 2 * done or settles):
                halves.begin(x, given, y, tree, s, flags)
            else:
                halves.advance(x, given, tree, s, r, flags)
            note(it, columns, live, flags, x, given, tree.order, marks)
            if side == 0 and last:
                for j in range(len(v)):
                    go.copy(v[j], x[j])
            elif last:
                through.turn(tree, s, r)
                through.outward(x, y, tree, r)
                if settles:
                    defects(v, y, t[0], d)
                if retire(it, until, columns, live, chosen, d, tol, marks):
                    return it
        return until

    return iterate


def _alternation(ring, go, through, severity):
    """Compile fetch, iterate and deposit for one semiring."""
    fetch, deposit = _transfers(ring)
    halves = _halves(ring, go, through, severity)
    return fetch, _iteration(go, through, halves, _notes(ring), _defects(ring)), deposit


_linear = LINEAR, products.linear_columns, products.linear, linear_fault
_log = SCALED, products.scaled_columns, products.scaled, log_fault
_linear_fetch, _linear_iterate, _linear_deposit = _alternation(*_linear)
_log_fetch, _log_iterate, _log_deposit = _alternation(*_log)


@row
def room(lanes, parts, tree, like):
    """Memory for a tile: q, p, v and u in turn, K u and v by bin; sums by inner node; two things by lane twice."""
    t = np.empty((5, len(tree.order), parts * lanes), like.dtype)
    g = np.empty((2, len(tree.parent), parts * lanes), like.dtype)
    return t, g, np.empty((2, lanes), like.dtype), np.empty((2, lanes), np.bool_)


@loop
def linear_alternation(first, last, rows, state, marks, tol, done, until, tree):
    """The rows of these indices from iteration `done` to `until`, or to their tolerances if there are any."""
    lanes = products.width(last - first)
    t, g, d, chosen = room(lanes, 1, tree, state.u)
    for start in range(first, last, lanes):
        if last - start < lanes:
            t, g, d, chosen = room(last - start, 1, tree, state.u)
        columns = rows[start : start + d.shape[1]]
        _linear_fetch(columns, state, tree.order, t, d[1], chosen[1], done == 0)
        it = done
        while it < until and chosen[1].any():
            it = _linear_iterate(columns, marks, tol, it, until, tree, t, g, d[0], d[1], chosen[1], chosen[0])
            _linear_deposit(columns, chosen[0], state, tree.order, t)


@loop
def log_alternation(first, last, rows, state, marks, tol, done, until, tree):
    """As `linear_alternation`, with u, v and K u logarithms, and factors scaled."""
    lanes = products.width(last - first)
    t, g, d, chosen = room(lanes, 2, tree, state.u)
    for start in range(first, last, lanes):
        if last - start < lanes:
            t, g, d, chosen = room(last - start, 2, tree, state.u)
        columns = rows[start : start + d.shape[1]]
        _log_fetch(columns, state, tree.order, t, d[1], chosen[1], done == 0)
        it = done
        while it < until and chosen[1].any():
            it = _log_iterate(columns, marks, tol, it, until, tree, t, g, d[0], d[1], chosen[1], chosen[0])
            _log_deposit(columns, chosen[0], state, tree.order, t)
