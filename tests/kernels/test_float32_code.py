"""float32 arithmetic stays float32: proven in the compiled code, since without the JIT a promotion does not show."""

import re

import pytest
import tile_code
from numba import boolean, float32, float64, int64, types
from tile_code import needs_jit

from emdref.kernels.rows import loops

DOUBLE = re.compile(r"= (\w+ )*f(add|sub|mul|div|neg) (\w+ )*(double|<\d+ x double>)|call double @(llvm\.)?pow\b")


def compiled(function, signature):
    return tile_code.compiled(function, signature)[0]


def flow_signature(real):
    rows = real[:, ::1]
    return rows, rows, rows, int64[::1], int64[::1], boolean


def shared(real):
    """The tree, and how."""
    return types.Tuple((int64[::1], real[::1], int64[::1])), types.Tuple((real, boolean, int64))


def hess_signature(real):
    rows = real[:, ::1]
    return rows, rows, real[:, :, ::1], int64[::1], *shared(real)


def hvp_signature(real):
    rows = real[:, ::1]
    return rows, rows, rows, rows, int64[::1], *shared(real)


@needs_jit
@pytest.mark.parametrize(
    ("kernel", "signature"),
    [
        (loops.flow_native, flow_signature),
        (loops.hess_native, hess_signature),
        (loops.hvp_native, hvp_signature),
    ],
)
def test_native_float32_kernels_hold_no_float64_arithmetic(kernel, signature):
    code = compiled(kernel, signature(float32))
    assert re.search(r"fadd (?:float|<\d+ x float>)", code)
    assert not DOUBLE.findall(code)


@needs_jit
@pytest.mark.parametrize("kernel", ["emd_chain", "emd_tree"])
def test_float32_tiles_hold_no_float64_arithmetic(kernel):
    """But for the first look, which is to see more than float32 could, and holds all that there is."""
    assert not DOUBLE.findall(tile_code.tile_code(kernel, float32, blind=True)[0])
    assert "fadd <16 x float>" in tile_code.tile_code(kernel, float32, blind=True)[0]
    assert DOUBLE.search(tile_code.tile_code(kernel, float32)[0])


@needs_jit
def test_the_same_search_finds_float64_arithmetic():
    assert DOUBLE.search(compiled(loops.flow_native, flow_signature(float64)))


@needs_jit
@pytest.mark.parametrize("promoting", [lambda x: 0.5 * x[0], lambda x: x[0] / x.size, lambda x: max(x[0], 0) - x[1]])
def test_the_same_search_finds_the_usual_accidents(promoting):
    assert DOUBLE.search(compiled(promoting, (float32[::1],)))
