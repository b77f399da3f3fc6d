"""What is known of Sinkhorn's plans from their scalings, a block a row: sums over bins, divisions, first failures.

A sum over bins has CHUNKS parts, each added up by one thread, then added up in order: the same for any launch.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from emdref.kernels.arithmetic.lanes import product
from emdref.kernels.compile.jit import row
from emdref.kernels.cuda.entropic import CHUNKS, FIRST, N_ITER, REACHED, VANISHED
from emdref.kernels.cuda.target import cuda, kernel
from emdref.kernels.entropic import alternation, domains

NAN, OVER, UNDER, LATE = range(4)  # what is seen in a row's results: int64, a line of rows each
LINES = 4  # of either kind: marks of a run, and these
NEVER = 2**63 - 1  # where something is first, if it is nowhere
PARTS = 7  # sums in a row's results
_ROW, _COLUMN, _BY_U, _BY_V, _MASS, _SLOPE, _COUNT = range(PARTS)


class Kernels(NamedTuple):
    """What `_kernels` compiles over one domain."""

    start: Any
    divide: Any
    settle: Any
    weigh: Any
    evaluate: Any


@row
def added(part, sums):
    """Each sum from its parts, in the place of its first."""
    cuda.syncthreads()
    k = cuda.threadIdx.x
    while k < sums:
        total, c = part[k * CHUNKS], 1
        while c < CHUNKS:
            total += part[k * CHUNKS + c]
            c += 1
        part[k * CHUNKS] = total
        k += cuda.blockDim.x
    cuda.syncthreads()


def over_bins(term):
    """The sum of term(x, i) over a row's bins, known to every thread; x is a tuple of the arrays of all rows."""

    @row
    def total(x, row, bins, part):
        c = cuda.threadIdx.x
        while c < CHUNKS:
            partial, j = part.dtype.type(0), c
            while j < bins:
                partial += term(x, row * bins + j)
                j += CHUNKS
            part[c] = partial
            c += cuda.blockDim.x
        added(part, 1)
        return part[0]

    return total


@row
def note(seen, rows, row, x):
    """Remember a result that is no finite number."""
    if math.isnan(x):
        seen[NAN * rows + row] = 1
    elif math.isinf(x):
        seen[(OVER if x > type(x)(0) else UNDER) * rows + row] = 1


@kernel
def look(p, p_step, q, q_step, bins, rows, slack, found):
    """Count rows that are no histograms of one total, or perhaps not; whoever finds one looks again on the host."""
    part = cuda.shared.array(0, slack.dtype)
    row = cuda.blockIdx.x
    while row < rows:
        c, bad = cuda.threadIdx.x, False
        while c < CHUNKS:
            left, right, j = slack[0] - slack[0], slack[0] - slack[0], c
            while j < bins:
                a, b = p[row * p_step + j], q[row * q_step + j]
                bad = bad or not (a >= type(a)(0) and b >= type(b)(0))
                left += a
                right += b
                j += CHUNKS
            part[c], part[CHUNKS + c] = left, right
            c += cuda.blockDim.x
        added(part, 2)
        a, b = part[0], part[CHUNKS]
        bad = bad or not (a > 0 and b > 0 and abs(a - b) <= slack[0] * max(a, b) and max(a, b) < slack[1])
        if bad:
            cuda.atomic.add(found, 0, 1)
        cuda.syncthreads()
        row += cuda.gridDim.x


@kernel
def clean(notes, start, rows):
    """Nothing seen yet: 0 in all lines but the one from `start` on, of places."""
    for i in range(cuda.grid(1), notes.shape[0], cuda.gridsize(1)):
        notes[i] = NEVER if start <= i < start + rows else 0


@kernel
def convert(source, step, bins, out):
    """Rows one behind the other, in the dtype of `out`."""
    for i in range(cuda.grid(1), out.shape[0], cuda.gridsize(1)):
        out[i] = source[i // bins * step + i % bins]


@kernel
def refused(log_u, found):
    """Count entries that are NaN or inf."""
    for i in range(cuda.grid(1), log_u.shape[0], cuda.gridsize(1)):
        if not log_u[i] < type(log_u[i])(math.inf):
            cuda.atomic.add(found, 0, 1)


@row
def _entry(x, i):
    return x[0][i]


_mass_of = over_bins(_entry)


@kernel
def totals(p, bins, rows, out):
    """Each row's total."""
    part = cuda.shared.array(0, p.dtype)
    row = cuda.blockIdx.x
    while row < rows:
        total = _mass_of((p,), row, bins, part)
        if cuda.threadIdx.x == 0:
            out[row] = total
        cuda.syncthreads()
        row += cuda.gridDim.x


@kernel
def kept(p, bins, rows, count):
    """How many bins of each row have mass."""
    for i in range(cuda.grid(1), rows, cuda.gridsize(1)):
        n = 0
        for j in range(bins):
            if p[i * bins + j] > type(p[i])(0):
                n += 1
        count[i] = n


_log = domains.LOG.enter


@kernel
def logarithms(p, out):
    """What the log domain works on."""
    for i in range(cuda.grid(1), out.shape[0], cuda.gridsize(1)):
        out[i] = _log(p[i])


def _starting(domain):
    """Compile the first scaling, over one domain."""
    into, from_log = domain.enter, domain.from_log

    @kernel
    def start(given, row_step, bin_step, by_log, p, bins, drops, u):
        """u as given, or from its logarithm, without the bins that have no mass if `drops`."""
        for i in range(cuda.grid(1), u.shape[0], cuda.gridsize(1)):
            x = given[i // bins * row_step + i % bins * bin_step]
            if by_log:
                x = from_log(x)
            u[i] = into(p[i]) if drops and p[i] == type(x)(0) else x

    return start


def _dividing(domain, severity):
    """Compile half an iteration, over one domain."""
    over = domain.divide

    @kernel
    def divide(given, d, x, bins, rows, marks, half):
        """x = given / d in rows that have not reached their tolerances; failures are recorded from half 0 on."""
        for i in range(cuda.grid(1), x.shape[0], cuda.gridsize(1)):
            row = i // bins
            if half < 0 or marks[REACHED * rows + row] == 0:
                z = over(given[i], d[i])
                x[i] = z
                if half >= 0:
                    worse = severity(given[i], d[i], z, x[i])
                    if worse > type(worse)(0):
                        cuda.atomic.min(marks, FIRST * rows + row, half * bins + i % bins)
                    if worse > type(worse)(1):
                        marks[VANISHED * rows + row] = 1

    return divide


def _totals(domain):
    """Compile sums over a row's bins, over one domain."""
    mass = domain.mass

    @row
    def miss(x, i):
        v, ktu, q = x
        return abs(mass(v[i], ktu[i]) - q[i])

    @row
    def moved(x, i):
        u, moments = x
        return mass(u[i], moments[i])

    defect, transport = over_bins(miss), over_bins(moved)

    @kernel
    def settle(v, ktu, q, bins, rows, tol, marks, it):
        """Retire the rows whose columns' defect has reached the tolerance."""
        part = cuda.shared.array(0, q.dtype)
        row = cuda.blockIdx.x
        while row < rows:
            found = defect((v, ktu, q), row, bins, part)
            if cuda.threadIdx.x == 0 and marks[REACHED * rows + row] == 0:
                marks[N_ITER * rows + row] = it
                if found <= tol[row]:
                    marks[REACHED * rows + row] = 1
            cuda.syncthreads()
            row += cuda.gridDim.x

    @kernel
    def weigh(u, moments, bins, rows, cost):
        """cost = sum of u (K o M) v, an entry a row."""
        part = cuda.shared.array(0, u.dtype)
        row = cuda.blockIdx.x
        while row < rows:
            found = transport((u, moments), row, bins, part)
            if cuda.threadIdx.x == 0:
                cost[row] = found
            cuda.syncthreads()
            row += cuda.gridDim.x

    return settle, weigh


@row
def summed(part, cost, shift, lam, by_objective, value, objective, error, seen, rows, row):
    """A row's results from its sums."""
    a, b = part[_ROW * CHUNKS], part[_COLUMN * CHUNKS]
    error[row] = a if a > b or a != a else b
    entropy = part[_BY_U * CHUNKS] + part[_BY_V * CHUNKS]
    present = (entropy - product(shift, part[_MASS * CHUNKS])) / lam
    objective[row] = present
    value[row] = present if by_objective else cost[row]
    note(seen, rows, row, cost[row] + present)
    if cost[row] + present == type(present)(-math.inf):
        seen[OVER * rows + row] = 1


def _sums(domain):
    """Compile what a bin adds to its row's sums, and what is noted of it, over one domain."""
    to_log, mass, sound = domain.to_log, domain.mass, domain.sound

    @row
    def tally(u, v, ktu, kv, p, q, i, lam, log_u, log_v, part, c):
        """What one bin adds to the sums of its row."""
        of_row, of_column, x, y = mass(u[i], kv[i]), mass(v[i], ktu[i]), to_log(u[i]), to_log(v[i])
        log_u[i], log_v[i] = x, y
        none = type(x)(0)
        part[_ROW * CHUNKS + c] += abs(of_row - p[i])
        part[_COLUMN * CHUNKS + c] += abs(of_column - q[i])
        if of_row != none:
            part[_BY_U * CHUNKS + c] += product(of_row, x)
        if of_column != none:
            part[_BY_V * CHUNKS + c] += product(of_column, y)
        part[_MASS * CHUNKS + c] += of_row
        if p[i] > none:
            part[_SLOPE * CHUNKS + c] += x / lam
            part[_COUNT * CHUNKS + c] += type(x)(1)

    @row
    def watch(p, q, x, v, y, seen, rows, row, j):
        """Remember what is no finite number where there is mass, and the first bin of v that is not sound."""
        none = type(p)(0)
        if p > none:
            note(seen, rows, row, x)
        if q > none:
            note(seen, rows, row, y)
            if not sound(v):
                cuda.atomic.min(seen, LATE * rows + row, j)

    return tally, watch


def _evaluation(tally, watch):
    """Compile results from sums over bins."""

    @kernel
    def evaluate(given, results, bins, rows, how, n_iter, marks, seen):
        """Everything that is known of u and v.

        `given` is (u, v, K^T u, K v, <T, M>, p, q), `results` (value, objective, grad, log_u, log_v, error), and `how`
        (shift, lam, by_objective, centred), the first two in arrays of one number.
        """
        u, v, ktu, kv, cost, p, q = given
        value, objective, grad, log_u, log_v, error = results
        shift, lam, by_objective, centred = how
        part = cuda.shared.array(0, u.dtype)
        row = cuda.blockIdx.x
        while row < rows:
            c = cuda.threadIdx.x
            while c < CHUNKS:
                for k in range(PARTS):
                    part[k * CHUNKS + c] = type(u[0])(0)
                j = c
                while j < bins:
                    i = row * bins + j
                    tally(u, v, ktu, kv, p, q, i, lam[0], log_u, log_v, part, c)
                    watch(p[i], q[i], log_u[i] / lam[0], v[i], log_v[i], seen, rows, row, j)
                    j += CHUNKS
                c += cuda.blockDim.x
            added(part, PARTS)
            if cuda.threadIdx.x == 0:
                n_iter[row] = marks[N_ITER * rows + row]
                summed(part, cost, shift[0], lam[0], by_objective, value, objective, error, seen, rows, row)
            mean = part[_SLOPE * CHUNKS] / part[_COUNT * CHUNKS]
            c = cuda.threadIdx.x
            while c < CHUNKS:
                j = c
                while j < bins:
                    i = row * bins + j
                    slope = log_u[i] / lam[0]
                    grad[i] = slope - mean if centred else slope
                    j += CHUNKS
                c += cuda.blockDim.x
            cuda.syncthreads()
            row += cuda.gridDim.x

    return evaluate


def _kernels(domain, severity):
    """Compile everything over one domain."""
    divide, evaluate = _dividing(domain, severity), _evaluation(*_sums(domain))
    return Kernels(_starting(domain), divide, *_totals(domain), evaluate)


LINEAR_KERNELS = _kernels(domains.LINEAR, alternation.fault(domains.LINEAR))
LOG_KERNELS = _kernels(domains.LOG, alternation.fault(domains.LOG))
linear_start, linear_divide, linear_settle, linear_weigh, linear_evaluate = LINEAR_KERNELS
log_start, log_divide, log_settle, log_weigh, log_evaluate = LOG_KERNELS
