"""Tiles are computed in the widest registers that the machine has: proven in the compiled code."""

import functools
import itertools
import platform
import re

import numba
import pytest
from numba import float32, float64
from tile_code import compiled, tile_code

KERNELS = [
    *itertools.product(("emd_chain", "emd_tree"), (float32, float64)),
    *itertools.product(("emd_chain1", "emd_tree1"), (float32,)),
    *itertools.product(("emd_chain2", "emd_tree2"), (float64,)),
]
FEW = [("emd_chain", float32), ("emd_tree2", float64)]
PACKED = re.compile(r"\bv(add|mul)p[sd]\s[^\n]*%[yz]mm")
SCALAR = re.compile(r"\bv(add|mul)s[sd]\s")
each_kernel = pytest.mark.parametrize(("kernel", "real"), KERNELS, ids=str)
pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled with NUMBA_DISABLE_JIT")


@functools.cache
def one_product():
    """The assembly of one product and one sum."""
    return compiled(lambda x, y: x[0] * y + x[1], (float64[::1], float64))[1]


@pytest.fixture
def avx():
    """For tests of code that was compiled for AVX: by what Numba makes, since it may be told of another processor."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("the names of instructions are those of x86-64")
    if re.search(r"\bmulsd\s", one_product()):
        pytest.skip("Numba compiles for a processor without AVX")


def lanes(kernel, real):
    """What a vector of 64 bytes is called; limbs are float64 whatever the rows are."""
    return "<16 x float>" if real is float32 and kernel[-1] not in "12" else "<8 x double>"


def loops(assembly):
    """The text of each loop: from a label to a jump back to it."""
    places = {m.group(1): m.start() for m in re.finditer(r"^(\.L\w+):", assembly, re.M)}
    for jump in re.finditer(r"^\s+j\w+\s+(\.L\w+)", assembly, re.M):
        start = places.get(jump.group(1), jump.start())
        if start < jump.start():
            yield assembly[start : jump.start()]


@each_kernel
def test_arithmetic_is_packed(kernel, real):
    code = tile_code(kernel, real, blind=True)[0]
    for operation in ("fadd", "fsub", "fmul"):
        assert f"{operation} {lanes(kernel, real)}" in code


@pytest.mark.usefixtures("avx")
@each_kernel
def test_loops_over_edges_use_wide_registers(kernel, real):
    """There is no loop of scalar products beside them."""
    hot = [loop for loop in loops(tile_code(kernel, real, blind=True)[1]) if len(PACKED.findall(loop)) > 10]
    assert hot
    assert all(len(PACKED.findall(loop)) > 3 * len(SCALAR.findall(loop)) for loop in hot)


@pytest.mark.usefixtures("avx")
@pytest.mark.parametrize(  # compiled once more for this: quickly two of them
    "tiles",
    [
        pytest.param((kernel, real), marks=() if (kernel, real) in FEW else pytest.mark.slow, id=f"{kernel}-{real}")
        for kernel, real in KERNELS
    ],
)
def test_the_first_look_adds_up_in_wide_registers_as_well(tiles):
    blind, seeing = (tile_code(*tiles, blind)[1] for blind in (True, False))
    assert len(PACKED.findall(seeing)) > len(PACKED.findall(blind))


@pytest.mark.usefixtures("avx")
def test_the_search_tells_wide_registers_from_scalars():
    assert SCALAR.search(one_product()) and not PACKED.search(one_product())
