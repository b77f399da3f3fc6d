"""Sinkhorn's iteration on a tree, v = q / (K u) and u = p / (K v), and what is asked of the plan, a tile of rows at a
time.

What a product gives a leaf is divided and sent up the tree again at once, so that half an iteration reads and writes
each bin once, and a tile stays in the processor's cache from the caller's rows to the results.  Rows retire one by one
when their columns' defect reaches a tolerance; a retired row's lane goes on, but nothing more is taken from it.
"""

from typing import Any, NamedTuple

import numpy as np

from emdref.kernels.arithmetic import lanes
from emdref.kernels.arithmetic.floats import two_sum
from emdref.kernels.arithmetic.lanes import (
    AHEAD,
    choose,
    columns_of,
    fill,
    greater,
    into_columns,
    least,
    lesser,
    number,
    scratch,
    width,
)
from emdref.kernels.arithmetic.semirings import LINEAR, SCALED
from emdref.kernels.compile.jit import inline, loop, row
from emdref.kernels.entropic import products
from emdref.kernels.rows.first_look import fails


class State(NamedTuple):
    """Where all rows stand on a GPU."""

    p: Any
    q: Any
    u: Any
    v: Any
    ktu: Any  # K u
    exact: Any  # K u as the semiring's elements


class Given(NamedTuple):
    """What a run starts from; rows are flat, one behind the other."""

    p: Any
    q: Any
    first: Any  # u_0 if it is the same in every bin, (1, parts), else (0, parts)
    tol: Any  # by row, or empty
    weighs: Any  # whether p and q are log u and log v, of which the plan's masses are to be weights


class Scalings(NamedTuple):
    """Where all rows stand, as the semiring's elements: planes of rows, flat, one behind the other."""

    u: Any
    v: Any
    ktu: Any  # K u; empty if nobody goes on from here


class Marks(NamedTuple):
    """What is remembered of each row."""

    holds: Any  # whether it reached its tolerance; whether a mass was divided by 0
    iterations: Any  # done; the first that gave a u or v that is 0 where there is mass, infinite or NaN, or 0
    bin: Any  # and the first bin, v's before u's


class Tree(NamedTuple):
    """The space for a run."""

    twigs: Any
    edges: Any
    place: Any  # where each bin stands in the order of the twigs
    sums: Any  # how sums over bins are taken, see `_sums`


class How(NamedTuple):
    """What a run is to do."""

    done: Any  # iterations
    until: Any
    refreshes: Any  # whether v is taken from the last u
    evaluates: Any  # whether results are asked for
    limit: Any  # how far totals may differ, relative to the larger


class Tile(NamedTuple):
    """Memory for a tile: elements by bin, x and v with room for sums at inner nodes; then what `room` says."""

    q: Any
    p: Any
    x: Any  # u or v in turn
    y: Any  # K u
    first: Any  # K u_0
    v: Any
    s: Any  # by inner node
    r: Any
    gu: Any  # by child of one node
    gv: Any
    d: Any  # a number by bin
    block: Any  # a square of rows and columns
    few: Any  # numbers by lane: what is wrong, defects, results


def fault(ring):
    """What is wrong with a quotient, over a semiring."""
    vanished, sound = ring.vanished, ring.sound

    @inline
    def severity(p, d, z, like):
        """0 for a sound z = p / d or no mass p, 2 where a mass is divided by 0, else 1, in the dtype of `like`."""
        zero, one, two = number(0.0, like), number(1.0, like), number(2.0, like)
        return choose(vanished(p) | sound(z), zero, choose(vanished(d), two, one))

    return severity


linear_fault, log_fault = fault(LINEAR), fault(SCALED)


class Halves(NamedTuple):
    """What `_halves` compiles."""

    begin: Any
    advance: Any


def _halves(ring, through, severity):
    """Compile half an iteration, over one semiring; `through` are its traversals."""
    load, store, factor, plus, times, over = ring.load, ring.store, ring.factor, ring.plus, ring.times, ring.over

    @row
    def begin(x, p, d, tree, s, bad):
        """x = p / d, and s what `inward` makes of it; what is wrong with it, if that is worse than `bad`."""
        for j in range(len(tree.order)):
            mass, denominator = load(p, j), load(d, j)
            z = over(mass, denominator)
            bad = greater(bad, severity(mass, denominator, z, x))
            store(x, j, z)
        through.inward(x, tree, s)
        return bad

    @row
    def advance(x, p, tree, s, r, bad):
        """x = p / (k0 K x), and s what `inward` makes of it."""
        leaves, k0, zero = len(tree.leaf_parent), factor(tree.k0, 0), ring.spread(ring.null(number(0.0, x)))
        through.turn(tree, s, r)
        for v in range(len(tree.parent)):
            store(s, v, zero)
        for j in range(len(tree.own)):
            mass, denominator = load(p, leaves + j), times(k0, load(r, tree.own[j]))
            z = over(mass, denominator)
            bad = greater(bad, severity(mass, denominator, z, x))
            store(x, leaves + j, z)
            store(s, tree.own[j], z)
        for v in range(len(tree.parent)):
            here, there = load(s, v), load(r, v)
            for j in range(tree.first[v], tree.first[v + 1]):
                mass, denominator = load(p, j), through.reach(tree, j, k0, load(x, j), there)
                z = over(mass, denominator)
                bad = greater(bad, severity(mass, denominator, z, x))
                store(x, j, z)
                here = plus(here, times(factor(tree.leaf_a, j), z))
            store(s, v, here)
        return bad

    return Halves(begin, advance)


def _notes(ring):
    """Compile what remembers failures, over one semiring."""

    @row
    def earliest(x, p, order, i):
        """The first bin of lane i that is not sound in spite of its mass."""
        least = len(order)
        for j in range(len(order)):
            at = ring.parts * j * width(x) + i
            if not ring.vanished(ring.take(p, at, width(p))) and not ring.sound(ring.take(x, at, width(x))):
                least = min(least, order[j])
        return least

    @row
    def note(it, start, live, bad, x, p, order, marks):
        """Remember the rows that `bad` names."""
        for i in range(len(live)):
            if live[i] and bad[i] > 0:
                c = start + i
                marks.holds[1, c] |= bad[i] > 1
                if marks.iterations[1, c] == 0:
                    marks.iterations[1, c], marks.bin[c] = it, earliest(x, p, order, i)

    return note


def _sums(ring):
    """Compile sums over bins: defects and results."""
    load, times, plain = ring.load, ring.times, ring.plain

    @row
    def defects(v, ktu, q, bins):
        """l1 distance of each column marginal from q."""
        d = fill(number(0.0, q))
        for j in range(bins):
            d = d + abs(plain(times(load(v, j), load(ktu, j))) - plain(load(q, j)))
        return d

    return defects


@row
def summed(d, parts):
    """Sums as NumPy's of contiguous numbers: of up to 128 in eight, and of those in pairs.

    `parts` are first and last bin of each, and how many sums before it to add it to.  What is summed is lost.
    """
    top = 0
    for k in range(len(parts)):
        start, stop = parts[k, 0], parts[k, 1]
        here = fill(number(0.0, d))
        at = start
        if stop - start >= 8:
            a, b, c, e = lanes.load(d, at), lanes.load(d, at + 1), lanes.load(d, at + 2), lanes.load(d, at + 3)
            f, g, h, i = lanes.load(d, at + 4), lanes.load(d, at + 5), lanes.load(d, at + 6), lanes.load(d, at + 7)
            at += 8
            while at + 8 <= stop:
                a, b, c = a + lanes.load(d, at), b + lanes.load(d, at + 1), c + lanes.load(d, at + 2)
                e, f, g = e + lanes.load(d, at + 3), f + lanes.load(d, at + 4), g + lanes.load(d, at + 5)
                h, i = h + lanes.load(d, at + 6), i + lanes.load(d, at + 7)
                at += 8
            here = ((a + b) + (c + e)) + ((f + g) + (h + i))
        while at < stop:
            here = here + lanes.load(d, at)
            at += 1
        for _ in range(parts[k, 2]):
            top -= 1
            here = lanes.load(d, top) + here
        lanes.store(d, top, here)  # over bins that are summed
        top += 1
    return lanes.load(d, 0)


@row
def gather(x, at, rows, place, parts, part, block, t):
    """Rows of x from `at` on become vectors by bin, number `part` of so many an element; their sums and least entries.

    A sum errs by a few units in the last place for each of a square's columns: far less than half of what
    `validation.mass_tolerance` allows for all bins.
    """
    bins, n = len(place), width(block)
    zero = fill(number(0.0, x))
    total, rest, low = zero, zero, zero
    for k in range(0, bins, n):
        size = min(n, bins - k)
        columns_of(x, at + k, bins, rows, size, block)
        some = zero
        for j in range(size):
            column = lanes.load(block, j)
            lanes.store(t, parts * place[k + j] + part, column)
            some, low = some + column, lesser(low, column)
        total, lost = two_sum(total, some)
        rest = rest + lost
    return total + rest, low


@row
def scatter(t, x, at, rows, place, parts, part, block):
    """And back."""
    bins, n = len(place), width(block)
    for k in range(0, bins, n):
        size = min(n, bins - k)
        for j in range(size):
            lanes.store(block, j, lanes.load(t, parts * place[k + j] + part))
        into_columns(block, x, at + k, bins, rows, size, AHEAD)


@row
def scatter_some(t, x, at, chosen, place, parts, part):
    """Of the chosen lanes alone."""
    bins, n = len(place), width(t)
    for i in range(len(chosen)):
        if chosen[i]:
            for k in range(bins):
                x[at + i * bins + k] = t[(parts * place[k] + part) * n + i]


def _transfers(ring):
    """Compile the ways into a tile and out of it, over one semiring."""

    @row
    def fetch(x, start, rows, place, block, t):
        """A tile of plain rows from number `start` on; what `gather` says of them."""
        total, low = gather(x, start * len(place), rows, place, ring.parts, 0, block, t)
        for j in range(len(place)):
            ring.store(t, j, ring.taken(lanes.load(t, ring.parts * j)))
        return total, low

    @row
    def resume(x, start, rows, place, block, t):
        """A tile of elements from planes of rows."""
        for part in range(ring.parts):
            gather(x, part * (len(x) // ring.parts) + start * len(place), rows, place, ring.parts, part, block, t)

    @row
    def deposit(t, x, start, rows, place, chosen, block):
        """Back into planes of rows, of all lanes or of the chosen ones."""
        for part in range(ring.parts):
            at = part * (len(x) // ring.parts) + start * len(place)
            if len(chosen) > 0:
                scatter_some(t, x, at, chosen, place, ring.parts, part)
            else:
                scatter(t, x, at, rows, place, ring.parts, part, block)

    return fetch, resume, deposit


@row
def retire(it, until, start, live, chosen, d, tol, marks):
    """Choose the living lanes that reach their tolerance, all of them after `until`; how many there are."""
    count = 0
    for i in range(len(live)):
        c = start + i
        within = live[i] and len(tol) > 0 and d[i] <= tol[c]
        chosen[i] = live[i] and (within or it == until)
        if chosen[i]:
            live[i], marks.holds[0, c], marks.iterations[0, c] = False, within, it
            count += 1
    return count


linear_halves, log_halves = _halves(LINEAR, products.linear, linear_fault), _halves(SCALED, products.scaled, log_fault)


def _iteration(ring, through, halves):
    """Compile the iterations from those parts, over one semiring."""
    note, defects = _notes(ring), _sums(ring)

    @row
    def iterate(start, marks, tol, done, until, tree, tile, live, chosen):
        """Iterations after `done` to the next that rows end with, see `retire`; up to which, and with how many."""
        x, settles, n = tile.x, len(tol) > 0, width(tile.x)
        for half in range(2 * done, 2 * until):
            it, side = half // 2 + 1, half % 2
            given, last = (tile.p if side else tile.q), settles or it == until
            bad = fill(number(0.0, x))
            if side == 0 and (half == 2 * done or settles):
                bad = halves.begin(x, given, tile.y, tree, tile.s, bad)
            else:
                bad = halves.advance(x, given, tree, tile.s, tile.r, bad)
            if least(-bad) < 0:
                lanes.store(tile.few, 0, bad)
                note(it, start, live, tile.few, x, given, tree.order, marks)
            if side == 0 and last:
                for j in range(len(tree.order)):
                    ring.store(tile.v, j, ring.load(x, j))
            elif last:
                through.turn(tree, tile.s, tile.r)
                through.outward(x, tile.y, tree, tile.r)
                if settles:
                    lanes.store(tile.few, 1, defects(tile.v, tile.y, tile.q, len(tree.order)))
                count = retire(it, until, start, live, chosen, tile.few[n:], tol, marks)
                if count > 0:
                    return it, count
        return until, 0

    return iterate


def _evaluation(ring, through, transport):
    """Compile what is asked of a plan, over one semiring."""
    load, store, times, plain = ring.load, ring.store, ring.times, ring.plain

    @row
    def product(x, tile, tree):
        """y = k0 K x."""
        through.inward(x, tree, tile.s)
        through.turn(tree, tile.s, tile.r)
        through.outward(x, tile.y, tree, tile.r)

    @inline
    def judged(mass, x, unsound, reach):
        """A scaling where there is mass or not: what is wrong, and how large its logarithm."""
        zero, one = number(0.0, unsound), number(1.0, unsound)
        empty = ring.vanished(mass)
        unsound = choose(empty | ring.sound(x), unsound, one)
        return unsound, greater(reach, choose(empty, zero, ring.reach(x)))

    @row
    def columns(tile, tree, refreshes):
        """v refreshed; defects of the columns, what is wrong with v, and how large its logarithm."""
        unsound, reach = fill(number(0.0, tile.d)), fill(number(0.0, tile.d))
        for j in range(len(tree.order)):
            mass, ktu = load(tile.q, j), load(tile.y, j)
            v = ring.over(mass, ktu) if refreshes else load(tile.v, j)
            unsound, reach = judged(mass, v, unsound, reach)
            store(tile.v, j, v)
            lanes.store(tile.d, tree.order[j], abs(plain(times(v, ktu)) - plain(mass)))
        return unsound, reach

    @row
    def rows(tile, tree, unsound):
        """Defects of the rows, and the same of u; y becomes K v."""
        reach = fill(number(0.0, tile.d))
        product(tile.v, tile, tree)
        for j in range(len(tree.order)):
            mass, u = load(tile.p, j), load(tile.x, j)
            unsound, reach = judged(mass, u, unsound, reach)
            lanes.store(tile.d, tree.order[j], abs(plain(times(u, load(tile.y, j))) - plain(mass)))
        return unsound, reach

    @row
    def evaluate(tile, space, refreshes):
        """Cost, error, what is wrong and the reach into the tile's few numbers; v into v."""
        tree = space.twigs
        unsound, reach = columns(tile, tree, refreshes)
        by_column = summed(tile.d, space.sums)
        unsound, reach_u = rows(tile, tree, unsound)
        by_row = summed(tile.d, space.sums)
        lanes.store(
            tile.few, 1, choose(by_row > by_column, by_row, choose(by_column >= by_row, by_column, by_row + by_column))
        )
        lanes.store(tile.few, 2, unsound)
        lanes.store(tile.few, 3, reach + reach_u)
        cost = transport(tile.x, tile.v, tree, space.edges, tile.s, tile.r, tile.gu, tile.gv)
        lanes.store(tile.few, 0, cost)

    @row
    def weighted(x, y, bins, order, logs, d):
        """Masses x y times logarithms, by bin; 0 * -inf counts as 0."""
        zero = number(0.0, d)
        for j in range(bins):
            k = order[j]
            mass = plain(times(load(x, j), load(y, j)))
            lanes.store(d, k, choose(mass == zero, zero, mass * lanes.load(logs, j)))

    @row
    def weigh(tile, space):
        """Sums of row masses times log u, of column masses times log v, and of row masses."""
        tree, bins = space.twigs, len(space.place)
        product(tile.x, tile, tree)
        weighted(tile.v, tile.y, bins, tree.order, tile.q, tile.d)
        lanes.store(tile.few, 1, summed(tile.d, space.sums))
        product(tile.v, tile, tree)
        weighted(tile.x, tile.y, bins, tree.order, tile.p, tile.d)
        lanes.store(tile.few, 0, summed(tile.d, space.sums))
        for j in range(bins):
            lanes.store(tile.d, tree.order[j], plain(times(load(tile.x, j), load(tile.y, j))))
        lanes.store(tile.few, 2, summed(tile.d, space.sums))

    return product, evaluate, weigh


@row
def look(few, limit, results, start, rows):
    """Totals of p, and whether a row does not pass, see emdref.kernels.rows.first_look."""
    n = width(few)
    for i in range(rows):
        bad = fails(few[i], few[n + i], few[2 * n + i], number(0.5 * limit, few))
        results[4, start + i], results[5, start + i] = few[i], number(1.0 if bad else 0.0, few)


@row
def hand_over(few, count, results, start, rows):
    """The tile's first few numbers to its rows' results."""
    n = width(few)
    for i in range(rows):
        for k in range(count):
            results[k, start + i] = few[k * n + i]


def _run(ring, through, halves, transport):
    """Compile all that is done with a tile, over one semiring."""
    fetch, resume, deposit = _transfers(ring)
    iterate = _iteration(ring, through, halves)
    product, evaluate, weigh = _evaluation(ring, through, transport)

    @row
    def first(tile, given, space):
        """K u_0 into its place, if all rows have one u_0."""
        if len(given.first) > 0:
            u = ring.spread(ring.factor(given.first, 0))
            for j in range(len(space.place)):
                ring.store(tile.x, j, u)
            product(tile.x, tile, space.twigs)
            for j in range(len(space.place)):
                ring.store(tile.first, j, ring.load(tile.y, j))

    @row
    def again(tile, where, start, rows, space, how):
        """u, v and K u as they were kept."""
        resume(where.u, start, rows, space.place, tile.block, tile.x)
        if not how.refreshes:
            resume(where.v, start, rows, space.place, tile.block, tile.v)
        if how.done > 0 and len(where.ktu) > 0:
            resume(where.ktu, start, rows, space.place, tile.block, tile.y)
        else:
            product(tile.x, tile, space.twigs)

    @row
    def keep(tile, where, start, rows, space, chosen, how):
        """What the chosen lanes have reached, all of them if none is named."""
        deposit(tile.x, where.u, start, rows, space.place, chosen, tile.block)
        if len(where.ktu) > 0:
            deposit(tile.y, where.ktu, start, rows, space.place, chosen, tile.block)
        if not how.refreshes:
            deposit(tile.v, where.v, start, rows, space.place, chosen, tile.block)

    @row
    def alternate(tile, given, where, marks, start, live, chosen, space, how):
        """The rows' iterations, and what they have reached kept; whether the tile does not hold it for all rows."""
        rows, it, gone = len(live), how.done, 0
        for i in range(rows):
            live[i] = not marks.holds[0, start + i]
            gone += 0 if live[i] else 1
        apart = False  # all rows' lanes are as they were kept
        while it < how.until and gone < rows:
            it, count = iterate(start, marks, given.tol, it, how.until, space.twigs, tile, live, chosen)
            apart = count < rows
            keep(tile, where, start, rows, space, chosen if apart else chosen[:0], how)
            gone += count
        return apart

    @row
    def run(start, rows, given, where, marks, results, tile, live, chosen, space, how):
        """A tile from its rows to their results."""
        if given.weighs:
            gather(given.p, start * len(space.place), rows, space.place, 1, 0, tile.block, tile.p)
            gather(given.q, start * len(space.place), rows, space.place, 1, 0, tile.block, tile.q)
            resume(where.u, start, rows, space.place, tile.block, tile.x)
            resume(where.v, start, rows, space.place, tile.block, tile.v)
            weigh(tile, space)
            hand_over(tile.few, 3, results, start, rows)
            return
        p_total, p_low = fetch(given.p, start, rows, space.place, tile.block, tile.p)
        q_total, q_low = fetch(given.q, start, rows, space.place, tile.block, tile.q)
        lanes.store(tile.few, 0, p_total)
        lanes.store(tile.few, 1, q_total)
        lanes.store(tile.few, 2, lesser(p_low, q_low))
        look(tile.few, how.limit, results, start, rows)
        if how.done > 0 or len(given.first) == 0:
            again(tile, where, start, rows, space, how)
        else:
            for j in range(len(space.place)):
                ring.store(tile.y, j, ring.load(tile.first, j))
        apart = alternate(tile, given, where, marks, start, live, chosen, space, how)
        if how.evaluates:
            if apart:
                again(tile, where, start, rows, space, how)
            evaluate(tile, space, how.refreshes)
            if how.refreshes:
                deposit(tile.v, where.v, start, rows, space.place, chosen[:0], tile.block)
            hand_over(tile.few, 4, results, start, rows)

    return first, run


_linear_first, _linear_run = _run(LINEAR, products.linear, linear_halves, products.linear_transport)
_log_first, _log_run = _run(SCALED, products.scaled, log_halves, products.log_transport)


@row
def room(parts, space, like):
    """Memory for a tile."""
    x, v, s, r, gu, gv = products.edge_room(parts, space.twigs, space.edges, like)
    q, p, y, first = products.bin_room(parts, space.twigs, like)
    d, block, few = scratch(len(space.place), like.dtype), scratch(width(like), like.dtype), scratch(4, like.dtype)
    return Tile(q, p, x, y, first, v, s, r, gu, gv, d, block, few)


@loop
def linear_alternation(first, last, given, where, marks, results, space, how):
    """Rows first to last from iteration `done` to `until`, or to their tolerances if there are any; see `How`."""
    tile = room(1, space, where.u)
    _linear_first(tile, given, space)
    n = width(where.u)
    for start in range(first, last, n):
        rows = min(n, last - start)
        live, chosen = np.empty(rows, np.bool_), np.empty(rows, np.bool_)
        _linear_run(start, rows, given, where, marks, results, tile, live, chosen, space, how)


@loop
def log_alternation(first, last, given, where, marks, results, space, how):
    """As `linear_alternation`, with u, v and K u scaled."""
    tile = room(2, space, where.u)
    _log_first(tile, given, space)
    n = width(where.u)
    for start in range(first, last, n):
        rows = min(n, last - start)
        live, chosen = np.empty(rows, np.bool_), np.empty(rows, np.bool_)
        _log_run(start, rows, given, where, marks, results, tile, live, chosen, space, how)
