"""Loops over a tile's rows work on several at a time: proven in the compiled code."""

import re

import numba
import numpy as np
import pytest
from tile_code import compiled, needs_jit

import emdref
from emdref.entropic import gibbs
from emdref.kernels.arithmetic import lanes
from emdref.kernels.compile import jit
from emdref.kernels.entropic import alternation


def code_of(kernel, *args):
    """LLVM code after optimisation."""
    return compiled(kernel, tuple(map(numba.typeof, args)))[0]


def packed(operation, real, code):
    """How often an operation acts on a vector of numbers."""
    return len(re.findall(rf"{operation} (?:\w+ )*<\d+ x {real}>", code))


REALS = {np.float64: ("double", "float"), np.float32: ("float", "double")}


@needs_jit
@pytest.mark.parametrize(  # quickly each way and each dtype once: compiling takes seconds
    ("way", "dtype"),
    [
        (gibbs.SpaceLinear, np.float64),
        pytest.param(gibbs.SpaceLog, np.float32),
        pytest.param(gibbs.SpaceLinear, np.float32, marks=pytest.mark.slow),
        pytest.param(gibbs.SpaceLog, np.float64, marks=pytest.mark.slow),
    ],
)
def test_iterations_are_vectorised_in_their_dtype(way, dtype):
    real, other = REALS[dtype]
    with np.errstate(divide="ignore"):  # the root's edge
        plan = way(emdref.Tree([-1, 0, 0, 1, 1, 2]), dtype, dtype(1), 1)
    advance = (alternation.log_halves if plan.parts == 2 else alternation.linear_halves).advance

    def half(x, p, tree, s, r):
        lanes.store(x, 0, advance(x, p, tree, s, r, lanes.fill(lanes.number(0.0, x))))

    scratch = np.empty(64 * plan.parts, dtype)
    code = code_of(jit.row(half), scratch, scratch, plan.twigs, scratch, scratch)
    assert packed("fdiv", real, code) >= 2  # inside and at leaves
    assert packed("fmul", real, code) >= 10
    assert packed("fadd", real, code) >= 5
    assert not re.search(rf"= f(?:add|sub|mul|div) (?:\w+ )*(?:<\d+ x )?{other}\b", code)


@needs_jit
def test_the_same_search_sees_a_loop_that_is_not():
    def running(x):
        for i in range(1, len(x)):
            x[i] = x[i] * x[i - 1] + x[i]

    assert packed("fmul", "double", code_of(jit.row(running), np.ones(9))) == 0
