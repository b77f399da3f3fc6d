"""Value and gradient on a short chain in plain arithmetic: a block of threads works on a few rows in shared memory.

Threads with the same `lane` share a row and deal its segments among themselves; rows are read and written by threads
side by side.
"""

from emdref.kernels.arithmetic.lanes import peek, poke
from emdref.kernels.compile.jit import inline, row
from emdref.kernels.cuda import first_look, plain
from emdref.kernels.cuda.chain import walks
from emdref.kernels.cuda.target import cuda, kernel

_total, _onward, _backward, _joined, _seen, _beyond, _add_edge = walks(plain)


@inline
def _put(t, at, a, b, record):
    poke(t, at, a - b)
    return first_look.note(record, a, b)


@row
def _enter(given, bins, launch, block, t, aux):
    """p - q of all bins, and each thread's record of what it read."""
    p, p_step, q, q_step = given
    mates, step = launch.mates, launch.stride
    team, mate, teams = cuda.threadIdx.x // mates, cuda.threadIdx.x % mates, cuda.blockDim.x // mates
    for lane in range(team, launch.lanes, teams):
        i = min(block + lane, launch.rows - 1)
        record, at, bt = first_look.blank(p.dtype.type(0)), i * p_step, i * q_step
        k = mate
        while k + 3 * mates < bins:  # eight numbers under way at a time
            a, b, c, d = first_look.four(p, at + k, mates)
            e, f, g, h = first_look.four(q, bt + k, mates)
            record = _put(t, k * step + lane, a, e, record)
            record = _put(t, (k + mates) * step + lane, b, f, record)
            record = _put(t, (k + 2 * mates) * step + lane, c, g, record)
            record = _put(t, (k + 3 * mates) * step + lane, d, h, record)
            k += 4 * mates
        while k < bins:
            record = _put(t, k * step + lane, peek(p, at + k), peek(q, bt + k), record)
            k += mates
        first_look.put(aux, mate * first_look.SIZE * step + lane, step, record)


@row
def _flows(gaps, first, last, lane, step, phi, rho, share, sums, t):
    """Entries from first to last become flows, Eq. (6); the sums over the edges after them, and of their slopes."""
    slopes = plain.null(phi)
    for k in range(first, last):
        phi += peek(t, k * step + lane)
        poke(t, k * step + lane, phi)
        sums = _add_edge(k, phi, gaps, rho, share, sums)
        slopes = _beyond(k, phi, gaps, rho, slopes)
    return sums, slopes


@row
def _leave(grad, factor, bins, launch, block, t):
    """The gradient at the bins."""
    mates, step = launch.mates, launch.stride
    team, mate, teams = cuda.threadIdx.x // mates, cuda.threadIdx.x % mates, cuda.blockDim.x // mates
    for lane in range(team, min(launch.lanes, launch.rows - block), teams):
        for k in range(mate, bins, mates):
            poke(grad, (block + lane) * bins + k, plain.gradient(peek(t, k * step + lane), factor))


@kernel
def chain_near(launch, given, results, gaps, numbers):
    """Value, and gradient unless it is empty; which rows to look at.

    `given` is (p, p_step, q, q_step), `results` (value, grad, doubt).
    """
    value, grad, doubt = results
    rho, share, factor, half, _, _, bounds = numbers
    lanes, step, bins = launch.lanes, launch.stride, gaps.bins
    lane, group, groups = cuda.threadIdx.x % lanes, cuda.threadIdx.x // lanes, cuda.blockDim.x // lanes
    block = launch.first + cuda.blockIdx.x * lanes
    t = cuda.shared.array(0, given[0].dtype)
    zero = given[0].dtype.type(0)
    aux = t[bins * step :]
    carry = aux[gaps.segments * plain.SIZE * step :]
    _enter(given, bins, launch, block, t, aux)
    cuda.syncthreads()
    record, sums = first_look.blank(zero), plain.begin(zero)
    if group == 0:
        record = _seen(aux, launch.mates, lane, step, record)
    cuda.syncthreads()
    for s in range(group, gaps.segments, groups):
        first = s * gaps.length
        size = min(gaps.length, bins - first)
        poke(carry, s * step + lane, _total(t, first * step + lane, step, size))
    cuda.syncthreads()
    if group == 0:
        _onward(carry, gaps.segments, lane, step)
    cuda.syncthreads()
    for s in range(group, gaps.segments, groups):
        first, phi = s * gaps.length, peek(carry, s * step + lane)
        last = min(first + gaps.length, bins)
        part, slopes = _flows(gaps, first, last, lane, step, phi, rho, share, sums, t)
        plain.store_sums(aux, s * plain.SIZE * step + lane, step, part)
        poke(carry, s * step + lane, slopes)
    cuda.syncthreads()
    if group == 0:
        sums = _joined(aux, gaps.segments, lane, step, sums)
        _backward(carry, gaps.segments, lane, step, plain.minus(plain.mean(sums, share)))
        if block + lane < launch.rows:
            _, within = plain.judge(sums, zero, bounds, factor)
            value[block + lane] = plain.value(sums)
            doubt[block + lane] = not within or first_look.fails(record, half)
    cuda.syncthreads()
    if len(grad) > 0:
        for s in range(group, gaps.segments, groups):
            r = peek(carry, s * step + lane)
            for k in range(min((s + 1) * gaps.length, bins) - 1, s * gaps.length - 1, -1):
                r = _beyond(k, peek(t, k * step + lane), gaps, rho, r)
                poke(t, k * step + lane, r)
        cuda.syncthreads()
        _leave(grad, factor, bins, launch, block, t)
