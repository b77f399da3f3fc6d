"""Products with Sinkhorn's dense kernel matrix on a GPU, in tiles: where there is no cuBLAS, and in the log domain.

A thread adds up one entry of the product, over all bins in their order, so that a row's result depends on no other row
and on no launch.  What it multiplies comes through shared memory, a tile of the matrix and one of the rows at a time.
"""

from __future__ import annotations

import math

from emdref.kernels.arithmetic.lanes import product
from emdref.kernels.compile.jit import row
from emdref.kernels.cuda.target import cuda, kernel


@row
def first(like):
    return type(like)(0), type(like)(0)


@row
def more(state, k, x):
    return state[0], state[1] + k * x


@row
def total(state):
    return state[1]


@row
def first_log(like):
    return type(like)(-math.inf), type(like)(0)


@row
def more_log(state, k, x):
    """The largest logarithm so far, and the sum over it."""
    largest, over, y = state[0], state[1], k + x
    one = type(y)(1)
    if y == type(y)(-math.inf):
        return largest, over
    if y == largest:
        return largest, over + one
    if y > largest:
        return y, product(over, type(y)(math.exp(largest - y))) + one
    return largest, over + type(y)(math.exp(y - largest))


@row
def total_log(state):
    largest, over = state
    if over == type(over)(0):
        return largest
    return largest + type(over)(math.log(over))


def _product(begin, add, end):
    """Compile the product over plain numbers or logarithms."""

    @kernel
    def multiply(k, row_step, column_step, x, y, bins, rows, side):
        """y = K x, (rows, N); entry i, j of K stands at i row_step + j column_step, blocks have side * side threads."""
        tile = cuda.shared.array(0, x.dtype)
        a, b = cuda.threadIdx.x % side, cuda.threadIdx.x // side
        middle, across, place = side * side, (bins + side - 1) // side, cuda.blockIdx.x  # the matrix's rows are padded
        while place < across * ((rows + side - 1) // side):
            i, row = place % across * side, place // across * side
            state, start = begin(x[0]), 0
            while start < bins:
                inside = start + a < bins
                far, own = (row + b) * bins + start + a, (i + b) * row_step + (start + a) * column_step
                tile[b * side + a] = x[far] if inside and row + b < rows else type(x[0])(0)
                tile[middle + b * (side + 1) + a] = k[own] if inside and i + b < bins else type(x[0])(0)
                cuda.syncthreads()
                j, stop = 0, min(side, bins - start)
                while j < stop:
                    state = add(state, tile[middle + a * (side + 1) + j], tile[b * side + j])
                    j += 1
                cuda.syncthreads()
                start += side
            if i + a < bins and row + b < rows:
                y[(row + b) * bins + i + a] = end(state)
            place += cuda.gridDim.x

    return multiply


linear_product = _product(first, more, total)
log_product = _product(first_log, more_log, total_log)


@kernel
def linear_matrix(cost, lam, shift, k, moments, lost):
    """K = exp(-lam M - shift) and K o M, and how many entries of K are 0; `lam` and `shift` hold one number each."""
    for i in range(cuda.grid(1), k.shape[0], cuda.gridsize(1)):
        x = type(cost[i])(math.exp(-product(lam[0], cost[i]) - shift[0]))
        k[i], moments[i] = x, x * cost[i]
        if x == type(x)(0):
            cuda.atomic.add(lost, 0, 1)


@kernel
def log_matrix(cost, lam, shift, k, moments, lost):
    """K and K o M as logarithms, which lose nothing."""
    for i in range(cuda.grid(1), k.shape[0], cuda.gridsize(1)):
        c = cost[i]
        x = -product(lam[0], c) - shift[0]
        k[i], moments[i] = x, x + type(c)(math.log(c)) if c > type(c)(0) else type(c)(-math.inf)
