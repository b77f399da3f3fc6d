"""Lanes: as many rows of a batch as one vector of 64 bytes holds, worked on at once by the formulas of one row.

A formula of + - * / abs and the functions below takes scalars as well as lanes, so that it stands in one place.
Scratch arrays are flat: lanes number v of an array are its entries from v times `width` on.

What stands here is what each operation means; compiled code has the machine's own instructions for it, see
emdref.kernels.arithmetic.simd.
"""

import numpy as np

from emdref.kernels.compile.jit import inline, is_disabled, row

AHEAD = 64  # entries of a row of results that are fetched before they are written
_SPLIT = 134217729.0  # 2**27 + 1: halves a 53-bit significand (Veltkamp)


def primitive(function):
    """What a function means in plain Python becomes the compiled operation of the same name."""
    if is_disabled():
        return function
    from emdref.kernels.arithmetic import simd  # here, because plain Python knows no compiler

    return getattr(simd, function.__name__)


@inline
def width(x):
    """Lanes of x's dtype in a vector."""
    return 64 // x.itemsize


@row
def scratch(lanes, dtype):
    """Memory for that many lanes, beginning at a multiple of 64 bytes: no access straddles two cache lines."""
    itemsize = np.empty(1, dtype).itemsize
    count = 64 // itemsize
    x = np.empty((lanes + 1) * count, dtype)
    start = -(x.ctypes.data // itemsize) % count
    return x[start : start + lanes * count]


@primitive
def fill(value):
    """The same number, of a NumPy dtype, in all lanes."""
    return np.full(64 // value.itemsize, value)


@primitive
def load(x, v):
    """Lanes number v of scratch x."""
    n = 64 // x.itemsize
    return x[v * n : (v + 1) * n].copy()


@primitive
def store(x, v, lanes):
    """Write lanes number v of scratch x."""
    n = 64 // x.itemsize
    x[v * n : (v + 1) * n] = lanes


@primitive
def load_row(x, at):
    """Consecutive entries of x from `at` on, one a lane."""
    return x[at : at + 64 // x.itemsize].copy()


@primitive
def peek(x, at):
    """x[at] of a 1-D array whose entries stand side by side; `at` never counts from the end, which saves a look."""
    return x[at]


@primitive
def poke(x, at, value):
    """x[at] = value of such an array."""
    x[at] = value


@primitive
def choose(holds, yes, no):
    """One of two numbers, by what a comparison says: lane by lane, without a branch."""
    return np.where(holds, yes, no)[()]


@primitive
def number(value, like):
    """A float in the dtype of a number, of lanes or of an array, never in lanes."""
    return like.dtype.type(value)


@primitive
def lesser(a, b):
    """The smaller of two numbers; a NaN may get lost."""
    return np.where(a < b, a, b)


@primitive
def greater(a, b):
    """The larger of two numbers; a NaN may get lost."""
    return np.where(a > b, a, b)


@primitive
def if_positive(x, other):
    """x where x > 0, else the other."""
    return np.where(x > 0, x, other)


@primitive
def sgn(x):
    """1 with the sign of x, and 0 where x is 0."""
    return np.where(x == 0, x, np.copysign(np.ones_like(x), x))[()]


@primitive
def product(a, b):
    """a b, rounded by itself: a compiler for GPUs would else fuse it with a sum that it goes into."""
    return a * b


@primitive
def product_error(a, b, p):
    """a b - p exactly, where p is the rounded float64 product (Dekker 1971), barring under- and overflow."""
    c, d = _SPLIT * a, _SPLIT * b
    a_high, b_high = c - (c - a), d - (d - b)
    a_low, b_low = a - a_high, b - b_high
    return ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


@primitive
def rounds_apart(x, d):
    """How far apart the float32 next to x + d and to x - d are, for lanes of float64: 0 where they are the same one."""
    with np.errstate(all="ignore"):
        return (np.float32(x + d) - np.float32(x - d)).astype(np.float64)


@primitive
def total(x):
    """Sum of all lanes, by halves."""
    while len(x) > 1:
        x = x[: len(x) // 2] + x[len(x) // 2 :]
    return x[0]


@primitive
def least(x):
    """The smallest of all lanes; a NaN may get lost."""
    return x.min()


@primitive
def turn_difference(p, at, p_step, q, bt, q_step, last, out):
    """Lanes j of out become column j of p - q in out's dtype, a row a lane: a square block of rows that start p_step,
    q_step apart.

    Rows after the one number `last` do not exist; their lanes get that one's entries.
    """
    n = 64 // out.itemsize
    for w in range(n):
        a, b = at + min(w, last) * p_step, bt + min(w, last) * q_step
        out[w : n * n : n] = p[a : a + n].astype(out.dtype) - q[b : b + n]


@primitive
def turn(x, at, step, last, out):
    """Lanes j of out become column j of x in out's dtype."""
    n = 64 // out.itemsize
    for w in range(n):
        a = at + min(w, last) * step
        out[w : n * n : n] = x[a : a + n]


@primitive
def turn_back(block, x, at, step, last, ahead):
    """Column j of x becomes lanes j of a block, in x's dtype; lanes of rows that do not exist hold what `last` gets.

    Columns so many entries ahead are fetched, for they will be written soon.
    """
    n = 64 // block.itemsize
    for w in range(last + 1):
        x[at + w * step : at + w * step + n] = block[w : n * n : n]


@inline
def difference(p, at, p_step, q, bt, q_step, rows, columns, out):
    """turn_difference for as few rows and columns as there are."""
    n = width(out)
    if columns == n:
        turn_difference(p, at, p_step, q, bt, q_step, rows - 1, out)
        return
    for w in range(n):
        a, b = at + min(w, rows - 1) * p_step, bt + min(w, rows - 1) * q_step
        for j in range(columns):
            out[j * n + w] = out.dtype.type(p[a + j]) - out.dtype.type(q[b + j])


@inline
def columns_of(x, at, step, rows, columns, out):
    """Columns of a tile turned into rows, see `turn`."""
    n = width(out)
    if columns == n:
        turn(x, at, step, rows - 1, out)
        return
    for w in range(n):
        a = at + min(w, rows - 1) * step
        for j in range(columns):
            out[j * n + w] = x[a + j]


@inline
def into_columns(block, x, at, step, rows, columns, ahead):
    """Rows of a tile turned back into columns, see `turn_back`."""
    n = width(block)
    if columns == n:
        turn_back(block, x, at, step, rows - 1, ahead)
        return
    for w in range(rows):
        for j in range(columns):
            x[at + w * step + j] = block[j * n + w]
