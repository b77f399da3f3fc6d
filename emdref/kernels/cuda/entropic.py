"""Sinkhorn's space kernel on a GPU: products and costs of a tree, and all iterations of a block's rows in one launch.

A block holds a few rows and goes through the tree level by level, waiting for its threads once a level.  What it works
on lies in shared memory, or, where a tree is too large for that, in a part of `scratch`, by the same code.  Blocks take
group after group of rows until there are none.

The tree, its formulas and the order of every sum but those of defects and costs are those of
`emdref.kernels.entropic.products` and `emdref.kernels.entropic.alternation`: in the linear domain u and v come out bit
by bit as on the CPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from emdref.kernels.arithmetic.lanes import peek
from emdref.kernels.arithmetic.lanes import product as rounded
from emdref.kernels.arithmetic.semirings import LINEAR, SCALED
from emdref.kernels.compile.jit import row
from emdref.kernels.cuda.branches import Crew, steps, tree_of
from emdref.kernels.cuda.target import SIMULATED, cuda, kernel
from emdref.kernels.entropic import alternation, products

CHUNKS = 64  # parts of a sum over bins or nodes, added up one by one: the same for any number of threads
N_ITER, REACHED, FIRST, VANISHED = range(4)  # what is remembered of each row, in `marks`: int64, a line of rows each
_AMPLE = {} if SIMULATED else {"max_registers": 128}  # so that a block can have 512 threads


class Kernels(NamedTuple):
    """What `_launched` compiles."""

    product: Any
    alternate: Any
    cost: Any


@row
def crew(lanes):
    t = cuda.threadIdx.x
    return Crew(t % lanes, t // lanes, lanes, cuda.blockDim.x // lanes)


@row
def gathered(me, part):
    """The sum of a lane's CHUNKS parts, in part[lane] as well."""
    cuda.syncthreads()
    if me.group == 0:
        total, c = part[me.lane], 1
        while c < CHUNKS:
            total += part[c * me.lanes + me.lane]
            c += 1
        part[me.lane] = total
    cuda.syncthreads()
    return part[me.lane]


@row
def report(marks, rows, row, key, divided):
    """Remember the first thing that went wrong in a row, and whether a mass was ever divided by 0."""
    cuda.atomic.min(marks, FIRST * rows + row, key)
    if divided:
        marks[VANISHED * rows + row] = 1


@row
def start(scratch):
    """Where a block's part of scratch memory begins."""
    return cuda.blockIdx.x * (len(scratch) // cuda.gridDim.x)


def _passes(rise, sink):
    """A block's way up a tree and down again, a level at a time."""

    @row
    def up(tree, me, s):
        level = tree.levels - 2  # the last level has no children
        while level >= 0:
            rise(tree, me, level, s)
            cuda.syncthreads()
            level -= 1

    @row
    def turn(tree, me, s, r):
        """r = R of the inner nodes, from what `gather` left in s."""
        up(tree, me, s)
        level = 0
        while level < tree.levels:
            sink(tree, me, level, s, r)
            cuda.syncthreads()
            level += 1

    return up, turn


def _product(ring, go, turn):
    """Compile the product with K over one semiring."""
    store, gather, reach, parts, entered, left = go.store, go.gather, go.reach, ring.parts, ring.entered, ring.left

    @row
    def product(tree, me, row, live, x, y, t):
        """A row of y = k0 K x."""
        width, inner = parts * tree.bins * me.lanes, parts * tree.nodes * me.lanes
        z, s, r = t, t[width:], t[width + inner :]
        plane, at, j = tree.bins * me.lanes, row * tree.bins, me.group
        while j < tree.bins:
            store(z, j * me.lanes + me.lane, plane, entered(peek(x, at + peek(tree.order, j))))
            j += me.groups
        cuda.syncthreads()
        gather(tree, me, z, s)
        cuda.syncthreads()
        turn(tree, me, s, r)
        j = me.group
        while j < tree.bins and live:
            y[at + peek(tree.order, j)] = left(reach(tree, me, j, z, r))
            j += me.groups

    return product


def _transfers(ring, go):
    """Compile the ways into a block's memory and out of it, over one semiring."""
    load, store, parts, entered, left = go.load, go.store, ring.parts, ring.entered, ring.left

    @row
    def exact(tree, row, j):
        """Where the row's elements of K u have bin j."""
        return row * parts * tree.bins + peek(tree.order, j)

    @row
    def fetch(tree, me, row, state, y, p, q, fresh):
        """Fill a block's memory; `fresh` before the first iteration."""
        plane, j = tree.bins * me.lanes, me.group
        while j < tree.bins:
            i, k = j * me.lanes + me.lane, row * tree.bins + peek(tree.order, j)
            store(p, i, plane, entered(peek(state.p, k)))
            store(q, i, plane, entered(peek(state.q, k)))
            store(
                y, i, plane, entered(peek(state.ktu, k)) if fresh else load(state.exact, exact(tree, row, j), tree.bins)
            )
            j += me.groups

    @row
    def deposit(tree, me, row, u, v, y, state):
        """What a row has reached."""
        j, plane = me.group, tree.bins * me.lanes
        while j < tree.bins:
            i, k = j * me.lanes + me.lane, row * tree.bins + peek(tree.order, j)
            ktu = load(y, i, plane)
            state.u[k], state.v[k], state.ktu[k] = left(load(u, i, plane)), left(load(v, i, plane)), left(ktu)
            store(state.exact, exact(tree, row, j), tree.bins, ktu)
            j += me.groups

    return fetch, deposit


def _divisions(ring, go, severity):
    """Compile x = given / (K u), with K u at hand or made bin by bin, over one semiring."""
    load, store, reach, over = go.load, go.store, go.reach, ring.over

    @row
    def divide(tree, me, row, live, half, given, d, j, x, marks, rows):
        """x = given / d at bin j."""
        i, plane = j * me.lanes + me.lane, tree.bins * me.lanes
        p = load(given, i, plane)
        z = over(p, d)
        store(x, i, plane, z)
        worse = severity(p, d, z, tree.factors.dtype.type(0))
        if worse > 0 and live:
            report(marks, rows, row, half * tree.bins + peek(tree.order, j), worse > 1)

    @row
    def begin(tree, me, row, live, half, given, y, x, marks, rows):
        """x = given / y."""
        j, plane = me.group, tree.bins * me.lanes
        while j < tree.bins:
            d = load(y, j * me.lanes + me.lane, plane)
            divide(tree, me, row, live, half, given, d, j, x, marks, rows)
            j += me.groups

    @row
    def advance(tree, me, row, live, half, given, r, x, marks, rows):
        """x = given / (k0 K x), of which r is known."""
        j = me.group
        while j < tree.bins:
            divide(tree, me, row, live, half, given, reach(tree, me, j, x, r), j, x, marks, rows)
            j += me.groups

    return begin, advance


def _moves(go):
    """Compile copies, and the last step of a product, over one semiring."""
    load, store, reach = go.load, go.store, go.reach

    @row
    def keep(tree, me, x, v):
        j, plane = me.group, tree.bins * me.lanes
        while j < tree.bins:
            i = j * me.lanes + me.lane
            store(v, i, plane, load(x, i, plane))
            j += me.groups

    @row
    def outward(tree, me, x, r, y):
        """y = k0 K x."""
        j, plane = me.group, tree.bins * me.lanes
        while j < tree.bins:
            store(y, j * me.lanes + me.lane, plane, reach(tree, me, j, x, r))
            j += me.groups

    return keep, outward


def _defect(ring, go):
    """Compile how far a row is from q, over one semiring."""
    load, plain, times = go.load, ring.plain, ring.times

    @row
    def defect(tree, me, v, y, q, part):
        """l1 distance of a row's column marginal from q."""
        plane, c = tree.bins * me.lanes, me.group
        while c < CHUNKS:
            total, j = type(tree.factors.dtype.type(0))(0), c
            while j < tree.bins:
                i = j * me.lanes + me.lane
                total += abs(plain(times(load(v, i, plane), load(y, i, plane))) - plain(load(q, i, plane)))
                j += CHUNKS
            part[c * me.lanes + me.lane] = total
            c += me.groups
        return gathered(me, part)

    return defect


def _alternation(ring, go, turn, severity):
    """Compile the iterations over one semiring."""
    gather, parts = go.gather, ring.parts
    fetch, deposit = _transfers(ring, go)
    begin, advance = _divisions(ring, go, severity)
    keep, outward = _moves(go)
    defect = _defect(ring, go)

    @row
    def iterate(tree, me, row, rows, live, state, marks, tol, settles, done, until, t):
        """The iterations of a block's rows after `done`, to their tolerances if there are any, up to `until`."""
        width, inner = parts * tree.bins * me.lanes, parts * tree.nodes * me.lanes
        x, p, q, y, v = t, t[width:], t[2 * width :], t[3 * width :], t[4 * width :]
        s, r, part = t[5 * width :], t[5 * width + inner :], t[5 * width + 2 * inner :]
        fetch(tree, me, row, state, y, p, q, done == 0)
        half = 2 * done
        while half < 2 * until:
            it, side = half // 2 + 1, half % 2
            given, last = q if side == 0 else p, settles or it == until
            if side == 0 and (half == 2 * done or settles):
                begin(tree, me, row, live, half, given, y, x, marks, rows)
            else:
                turn(tree, me, s, r)
                advance(tree, me, row, live, half, given, r, x, marks, rows)
            if side == 0 and last:
                keep(tree, me, x, v)
            cuda.syncthreads()
            gather(tree, me, x, s)
            cuda.syncthreads()
            if side == 1 and last:
                turn(tree, me, s, r)
                outward(tree, me, x, r, y)
                cuda.syncthreads()
                within = settles and defect(tree, me, v, y, q, part) <= tol[row]
                if live and (within or it == until):
                    live = False
                    deposit(tree, me, row, x, v, y, state)
                    if me.group == 0:
                        marks[N_ITER * rows + row] = it
                        marks[REACHED * rows + row] = 1 if within else 0
                if cuda.syncthreads_or(1 if live else 0) == 0:
                    half = 2 * until
            half += 1

    return iterate


def _transport(ring, go, up, crosses):
    """Compile costs over one semiring."""
    load, store, factor, beside, spread, parts = go.load, go.store, go.factor, go.beside, go.spread, ring.parts
    entered, times, null = ring.entered, ring.times, ring.null

    @row
    def sides(tree, me, row, x, own, s, o):
        """s = sums of x below each node, o = of what is not below it, at its parent."""
        v, plane = me.group, tree.nodes * me.lanes
        while v < tree.nodes:
            k = peek(tree.own, v) // me.lanes
            here = null(tree.factors.dtype.type(0))
            if k >= 0:
                here = entered(peek(x, row * tree.bins + k))
            store(own, v * me.lanes + me.lane, plane, here)
            store(s, v * me.lanes + me.lane, plane, here)
            v += me.groups
        cuda.syncthreads()
        up(tree, me, s)
        beside(tree, me, s, o)
        cuda.syncthreads()
        level = 1
        while level < tree.levels:
            spread(tree, me, level, own, o)
            cuda.syncthreads()
            level += 1

    @row
    def transport(tree, me, row, live, u, v, cost, value, t):
        """<T, M> of a row: costs times the mass that crosses an edge either way."""
        inner = parts * tree.nodes * me.lanes
        own, su, ou, sv, ov, part = t, t[inner:], t[2 * inner :], t[3 * inner :], t[4 * inner :], t[5 * inner :]
        sides(tree, me, row, u, own, su, ou)
        sides(tree, me, row, v, own, sv, ov)
        plane, c = tree.nodes * me.lanes, me.group
        while c < CHUNKS:
            total, w = type(cost[0])(0), c
            while w < tree.nodes:
                if w > 0:
                    i, k = w * me.lanes + me.lane, times(factor(tree, 0), factor(tree, 1 + w))
                    there = crosses(k, load(su, i, plane), load(ov, i, plane), load(sv, i, plane), load(ou, i, plane))
                    total += rounded(cost[w], there)
                w += CHUNKS
            part[c * me.lanes + me.lane] = total
            c += me.groups
        total = gathered(me, part)
        if live and me.group == 0:
            value[row] = total

    return transport


def _launched(ring, go, severity, crosses, here):
    """Compile what is launched; a block's memory is shared memory if `here`, else a part of scratch."""
    up, turn = _passes(go.rise, go.sink)
    multiply = _product(ring, go, turn)
    iterate = _alternation(ring, go, turn, severity)
    transport = _transport(ring, go, up, crosses)

    @kernel(**_AMPLE)
    def product(packed, lanes, rows, scratch, x, y):
        """y = k0 K x, (rows, N)."""
        tree, me = tree_of(packed), crew(lanes)
        t = cuda.shared.array(0, scratch.dtype) if here else scratch[start(scratch) :]
        first = cuda.blockIdx.x * lanes
        while first < rows:
            row = first + me.lane
            multiply(tree, me, min(row, rows - 1), row < rows, x, y, t)
            cuda.syncthreads()
            first += cuda.gridDim.x * lanes

    @kernel(**_AMPLE)
    def alternate(packed, lanes, rows, scratch, state, marks, tol, settles, done, until):
        """Iterations of the rows that have not reached their tolerances, see `iterate`."""
        tree, me = tree_of(packed), crew(lanes)
        t = cuda.shared.array(0, scratch.dtype) if here else scratch[start(scratch) :]
        first = cuda.blockIdx.x * lanes
        while first < rows:
            row = min(first + me.lane, rows - 1)
            live = first + me.lane < rows and marks[REACHED * rows + row] == 0
            if cuda.syncthreads_or(1 if live else 0):
                iterate(tree, me, row, rows, live, state, marks, tol, settles > 0, done, until, t)
            cuda.syncthreads()
            first += cuda.gridDim.x * lanes

    @kernel(**_AMPLE)
    def cost(packed, lanes, rows, scratch, w, u, v, value):
        """value = <T, M>, an entry a row."""
        tree, me = tree_of(packed), crew(lanes)
        t = cuda.shared.array(0, scratch.dtype) if here else scratch[start(scratch) :]
        first = cuda.blockIdx.x * lanes
        while first < rows:
            row = first + me.lane
            transport(tree, me, min(row, rows - 1), row < rows, u, v, w, value, t)
            cuda.syncthreads()
            first += cuda.gridDim.x * lanes

    return Kernels(product, alternate, cost)


def _compiled(ring, severity, crosses, here):
    return _launched(ring, steps(ring), severity, crosses, here)


_linear = LINEAR, alternation.linear_fault, products.linear_exchange
_log = SCALED, alternation.log_fault, products.log_exchange
linear_product, linear_alternate, linear_cost = _near = _compiled(*_linear, True)
linear_product_far, linear_alternate_far, linear_cost_far = _far = _compiled(*_linear, False)
LINEAR_KERNELS = {True: _near, False: _far}  # by whether a block's memory is shared memory
log_product, log_alternate, log_cost = _near = _compiled(*_log, True)
log_product_far, log_alternate_far, log_cost_far = _far = _compiled(*_log, False)
LOG_KERNELS = {True: _near, False: _far}
