"""Value, gradient and flow on a chain: its bins are cut into segments, a thread each.

Sums of segments give each segment's first flow, sums over its edges the value and the mean of r, sums of its slopes
the r that it starts from on the way back.  In two limbs segments are the CPU's blocks of `inspection.COLUMNS` bins and
are added up one by one as there; flows that come from several segments have the CPU's bits where nothing is lost, and
where something may be the row is called unsafe.

A batch of short chains stays in shared memory from the first to the last step (`chain_near`); else each step is a
launch, in which neighbouring threads have neighbouring rows, or segments of one row.
"""

from typing import Any, NamedTuple

from emdref.kernels.arithmetic.lanes import peek, poke
from emdref.kernels.compile.jit import row
from emdref.kernels.cuda import first_look, plain, two_limbs
from emdref.kernels.cuda.target import cuda, kernel
from emdref.kernels.tiles import inspection

SEGMENT = 32  # bins, in plain arithmetic; in two limbs inspection.COLUMNS
COLUMNS = inspection.COLUMNS


class Gaps(NamedTuple):
    """A chain: gap number k is entry k times the step."""

    bins: int
    segments: int
    length: int  # bins a segment
    cost: Any
    step: int


class Room(NamedTuple):
    """Scratch of the steps, entries of a batch's rows side by side: of segment s and row i number s rows + i."""

    rows: int
    first: int  # row
    carry: Any  # flow before each segment
    flows: Any  # by bin of a segment
    sums: Any  # over each segment's edges
    slopes: Any  # of each segment, then r after it
    records: Any  # of what was read
    lost: Any


def walks(arith):
    """Compile what walks along a chain in one arithmetic."""

    @row
    def total(x, at, step, size):
        """The sum of so many entries of scratch, `step` apart."""
        phi, lost = arith.null(x.dtype.type(0)), x.dtype.type(0)
        for j in range(size):
            phi, lost = arith.plus(phi, arith.load(x, at + j * arith.PARTS * step, step), lost, False)
        return phi

    @row
    def onward(x, count, at, step):
        """Each of so many flows becomes the sum of those before it."""
        phi, lost = arith.null(x.dtype.type(0)), x.dtype.type(0)
        for s in range(count):
            here = arith.load(x, at + s * arith.PARTS * step, step)
            arith.store(x, at + s * arith.PARTS * step, step, phi)
            phi, lost = arith.plus(phi, here, lost, False)

    @row
    def backward(x, count, at, step, r):
        """Each of so many sums of slopes becomes r after it, which is given for the last."""
        for s in range(count - 1, -1, -1):
            here = arith.load(x, at + s * arith.PARTS * step, step)
            arith.store(x, at + s * arith.PARTS * step, step, r)
            r = arith.more(r, here)

    @row
    def joined(x, count, at, step, sums):
        """The sums over so many segments."""
        for s in range(count):
            sums = arith.join(sums, arith.load_sums(x, at + s * arith.SIZE * step, step))
        return sums

    @row
    def seen(x, count, at, step, record):
        """So many records as one."""
        for s in range(count):
            record = first_look.merge(record, first_look.get(x, at + s * first_look.SIZE * step, step))
        return record

    @row
    def beyond(k, phi, gaps, rho, r):
        """r before the edge after bin k, from r after it."""
        return arith.slope(r, phi, peek(gaps.cost, k * gaps.step), rho) if k < gaps.bins - 1 else r

    @row
    def add_edge(k, phi, gaps, rho, share, sums):
        """Add the edge after bin k."""
        if k < gaps.bins - 1:
            cost = peek(gaps.cost, k * gaps.step)
            if cost > 0:
                sums = arith.add_edge(sums, phi, cost, arith.weight(k + 1, share, cost), rho, 0.0)
        return sums

    return total, onward, backward, joined, seen, beyond, add_edge


def _carrying(arith, total, onward):
    """Compile the launches that find the flow before each segment, in one arithmetic."""

    @kernel
    def carries(given, gaps, room):
        """Sums of all segments but the last."""
        p, p_step, q, q_step = given
        item = cuda.grid(1)
        s, i = item // room.rows, item % room.rows
        if s < gaps.segments - 1:
            at, bt = (room.first + i) * p_step, (room.first + i) * q_step
            phi, lost = arith.null(room.carry.dtype.type(0)), room.carry.dtype.type(0)
            for k in range(s * gaps.length, (s + 1) * gaps.length):
                phi, lost = arith.plus(phi, arith.enter(peek(p, at + k), peek(q, bt + k)), lost, False)
            arith.store(room.carry, s * arith.PARTS * room.rows + i, room.rows, phi)

    @kernel
    def scan(count, lanes, x, rows):
        """`onward` for each row, cut into as many runs as there are threads a row."""
        lane, member, members = cuda.threadIdx.x % lanes, cuda.threadIdx.x // lanes, cuda.blockDim.x // lanes
        i = cuda.blockIdx.x * lanes + lane
        run = (count + members - 1) // members
        first, last = min(member * run, count), min((member + 1) * run, count)
        t = cuda.shared.array(0, x.dtype)
        at = first * arith.PARTS * rows + i
        if i < rows:
            arith.store(t, member * arith.PARTS * lanes + lane, lanes, total(x, at, rows, last - first))
        cuda.syncthreads()
        if member == 0:
            onward(t, members, lane, lanes)
        cuda.syncthreads()
        if i < rows:
            phi, lost = arith.load(t, member * arith.PARTS * lanes + lane, lanes), x.dtype.type(0)
            for s in range(first, last):
                here = arith.load(x, s * arith.PARTS * rows + i, rows)
                arith.store(x, s * arith.PARTS * rows + i, rows, phi)
                phi, lost = arith.plus(phi, here, lost, False)

    return carries, scan


def _flowing(arith, beyond, add_edge):
    """Compile the launch that walks along segments, in one arithmetic."""

    @kernel
    def segments(given, flows, gaps, numbers, slopes_too, room):
        """Flows of each segment, Eq. (6), the sums over its edges, and the sum of their slopes if asked."""
        p, p_step, q, q_step = given
        rho, share, _, _, closely, _, _ = numbers
        item = cuda.grid(1)
        s, i, rows = item // room.rows, item % room.rows, room.rows
        if s < gaps.segments:
            at, bt = (room.first + i) * p_step, (room.first + i) * q_step
            zero = room.flows.dtype.type(0)
            record, lost = first_look.blank(p.dtype.type(0)), zero
            phi = arith.null(zero)
            if s > 0:
                phi = arith.load(room.carry, s * arith.PARTS * rows + i, rows)
            sums, slopes = arith.begin(arith.null(phi)), arith.null(phi)
            first, items = s * gaps.length, gaps.segments * rows
            last = min(first + gaps.length, gaps.bins)
            next_a, next_b = peek(p, at + first), peek(q, bt + first)
            for k in range(first, last):
                a, b = next_a, next_b
                if k + 1 < last:  # under way while this bin is worked on
                    next_a, next_b = peek(p, at + k + 1), peek(q, bt + k + 1)
                record = first_look.note(record, a, b)
                phi, lost = arith.plus(phi, arith.enter(a, b), lost, closely)
                x = arith.settled(phi)
                arith.store(room.flows, (k - first) * arith.PARTS * items + item, items, x)
                sums = add_edge(k, x, gaps, rho, share, sums)
                if slopes_too:
                    slopes = beyond(k, x, gaps, rho, slopes)
                if k < gaps.bins - 1 and len(flows) > 0:
                    poke(flows, (room.first + i) * (gaps.bins - 1) + k, arith.number(x))
            arith.store_sums(room.sums, s * arith.SIZE * rows + i, rows, sums)
            arith.store(room.slopes, s * arith.PARTS * rows + i, rows, slopes)
            first_look.put(room.records, s * first_look.SIZE * rows + i, rows, record)
            poke(room.lost, s * rows + i, lost)

    return segments


def _settling(arith, joined, seen, backward):
    """Compile the launch that settles rows, in one arithmetic."""

    @row
    def gather(room, i, first, last, t, at, lanes):
        """What a run of segments comes to, into shared memory: sums over edges, of slopes, records, what was lost."""
        zero = room.sums.dtype.type(0)
        begin = arith.null(zero)
        record, sums = first_look.blank(zero), arith.begin(begin)
        sums = joined(room.sums, last - first, first * arith.SIZE * room.rows + i, room.rows, sums)
        arith.store_sums(t, at, lanes, sums)
        slopes, lost = begin, zero
        for s in range(last - 1, first - 1, -1):
            slopes = arith.more(slopes, arith.load(room.slopes, s * arith.PARTS * room.rows + i, room.rows))
            lost += peek(room.lost, s * room.rows + i)
        arith.store(t, at + arith.SIZE * lanes, lanes, slopes)
        rest = at + (arith.SIZE + arith.PARTS) * lanes
        record = seen(room.records, last - first, first * first_look.SIZE * room.rows + i, room.rows, record)
        first_look.put(t, rest, lanes, record)
        poke(t, rest + first_look.SIZE * lanes, lost)

    @row
    def settle(results, flows_only, gaps, lanes, numbers, to, members, t):
        """A row's results from those of its runs, and in place of each run's slopes r after it."""
        value, doubt, unsafe = results
        _, share, factor, half, closely, digits, bounds = numbers
        lane, size, zero = cuda.threadIdx.x % lanes, arith.SIZE + arith.PARTS + first_look.SIZE + 1, t.dtype.type(0)
        record, sums, lost = first_look.blank(zero), arith.begin(arith.null(zero)), zero
        for m in range(members):
            at = m * size * lanes + lane
            sums = arith.join(sums, arith.load_sums(t, at, lanes))
            at += (arith.SIZE + arith.PARTS) * lanes
            record = first_look.merge(record, first_look.get(t, at, lanes))
            lost += peek(t, at + first_look.SIZE * lanes)
        most = arith.most_lost(record, lost, closely, digits, float(2 * gaps.bins))
        again, within = arith.judge(sums, most, bounds, factor)
        value[to] = arith.value(sums)
        inexact = most > type(most)(0) and (flows_only or gaps.segments > 1)
        unsafe[to] = inexact or (again and not flows_only)
        doubt[to] = not within or first_look.fails(record, half)
        r = arith.minus(arith.mean(sums, share))
        for m in range(members - 1, -1, -1):
            at = (m * size + arith.SIZE) * lanes + lane
            here = arith.load(t, at, lanes)
            arith.store(t, at, lanes, r)
            r = arith.more(r, here)

    @kernel
    def rows(results, flows_only, gaps, lanes, numbers, room):
        """Values, which rows to look at or to do again, and r after each segment; as `scan` cuts rows into runs.

        `results` is (value, doubt, unsafe).
        """
        lane, member, members = cuda.threadIdx.x % lanes, cuda.threadIdx.x // lanes, cuda.blockDim.x // lanes
        count, i = gaps.segments, cuda.blockIdx.x * lanes + lane
        run = (count + members - 1) // members
        first, last = min(member * run, count), min((member + 1) * run, count)
        t = cuda.shared.array(0, room.sums.dtype)
        size = arith.SIZE + arith.PARTS + first_look.SIZE + 1
        at = member * size * lanes + lane
        if i < room.rows:
            gather(room, i, first, last, t, at, lanes)
        cuda.syncthreads()
        if member == 0 and i < room.rows:
            settle(results, flows_only, gaps, lanes, numbers, room.first + i, members, t)
        cuda.syncthreads()
        if i < room.rows:
            r = arith.load(t, at + arith.SIZE * lanes, lanes)
            backward(room.slopes, last - first, first * arith.PARTS * room.rows + i, room.rows, r)

    return rows


def _returning(arith, beyond):
    """Compile the launch that walks back along segments, in one arithmetic."""

    @kernel
    def gradient(grad, gaps, numbers, room):
        """The gradient of each segment's bins, from r after it."""
        item = cuda.grid(1)
        s, i, rows = item // room.rows, item % room.rows, room.rows
        if s < gaps.segments:
            first, items = s * gaps.length, gaps.segments * rows
            r = arith.load(room.slopes, s * arith.PARTS * rows + i, rows)
            for k in range(min(first + gaps.length, gaps.bins) - 1, first - 1, -1):
                phi = arith.load(room.flows, (k - first) * arith.PARTS * items + item, items)
                r = beyond(k, phi, gaps, numbers.rho, r)
                poke(grad, (room.first + i) * gaps.bins + k, arith.gradient(r, numbers.factor))

    return gradient


def _steps(arith):
    """Compile the launches for one arithmetic."""
    total, onward, backward, joined, seen, beyond, add_edge = walks(arith)
    segments, rows = _flowing(arith, beyond, add_edge), _settling(arith, joined, seen, backward)
    return *_carrying(arith, total, onward), segments, rows, _returning(arith, beyond)


carries_plain, scan_plain, segments_plain, rows_plain, gradient_plain = _steps(plain)
carries_two_limbs, scan_two_limbs, segments_two_limbs, rows_two_limbs, gradient_two_limbs = _steps(two_limbs)
