"""Entries of arrays on a device one by one, moved, looked at or raised to a power; any launch will do."""

import math

from emdref.kernels.arithmetic.edges import power
from emdref.kernels.compile.jit import row
from emdref.kernels.cuda.target import cuda, kernel

COUNT, NANS, FIRST = 0, 1, 2  # places in what `survey` finds


@kernel
def fill(out, value):
    """The same number everywhere."""
    for i in range(cuda.grid(1), out.shape[0], cuda.gridsize(1)):
        out[i] = value


@kernel
def raise_to(x, rho):
    """|x|**rho in the place of each x, in the arithmetic of rho's dtype."""
    for i in range(cuda.grid(1), x.shape[0], cuda.gridsize(1)):
        x[i] = power(type(rho)(x[i]), rho)


@row
def _place(i, start, axes):
    """Where a strided array has the entry that is number i in C order."""
    n = axes.shape[0] // 2
    left, at = i, start
    for k in range(n - 1, -1, -1):
        at += (left % axes[k]) * axes[n + k]
        left //= axes[k]
    return at


@kernel
def gather(source, start, axes, out):
    """Entries of a strided array in C order; axes are all sizes, then all strides, and start is where the first is."""
    for i in range(cuda.grid(1), out.shape[0], cuda.gridsize(1)):
        out[i] = source[_place(i, start, axes)]


@kernel
def scatter(source, start, axes, out):
    """The way back: the entries of `source` to where a strided array has them."""
    for i in range(cuda.grid(1), source.shape[0], cuda.gridsize(1)):
        out[_place(i, start, axes)] = source[i]


@kernel
def take(source, step, line, numbers, out):
    """Rows of these numbers, which start `step` entries apart and have `line`, one behind the other."""
    for i in range(cuda.grid(1), out.shape[0], cuda.gridsize(1)):
        out[i] = source[numbers[i // line] * step + i % line]


@kernel
def put(source, line, numbers, out):
    """Rows to the places that these numbers have in an array of rows."""
    for i in range(cuda.grid(1), source.shape[0], cuda.gridsize(1)):
        out[numbers[i // line] * line + i % line] = source[i]


@kernel
def survey(x, line, found):
    """How many entries are not finite, how many of them are NaN, and the first row of `line` entries with one."""
    for i in range(cuda.grid(1), x.shape[0], cuda.gridsize(1)):
        if not math.isfinite(x[i]):
            cuda.atomic.add(found, COUNT, 1)
            if math.isnan(x[i]):
                cuda.atomic.add(found, NANS, 1)
            cuda.atomic.min(found, FIRST, i // line)


@kernel
def count_from(x, least, found):
    """How many entries have that magnitude or more."""
    for i in range(cuda.grid(1), x.shape[0], cuda.gridsize(1)):
        if abs(x[i]) >= least:
            cuda.atomic.add(found, COUNT, 1)
