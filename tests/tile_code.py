"""The machine code of the tile kernels, with and without their first look at the rows, for tests to search in.

The first look sums rows of float32 in float64, by design; what is to be proven of the rest is proven of kernels that
are compiled from the same files with a first look that does nothing.
"""

import functools
import importlib.util
import types

import numba
import numpy as np
from numba import boolean, float64, int64

import emdref.kernels
from emdref.kernels import jit


def _blind():
    stub = types.ModuleType("blind")
    stub.COLUMNS = emdref.kernels.glance.COLUMNS
    stub.clear = jit.row(lambda sums: None)
    stub.look = jit.row(lambda p, at, q, bt, n, w, sums, closer: None)
    stub.doubtful = jit.row(lambda sums, w, tolerance: False)
    stub.new_sums = jit.row(lambda x: np.zeros((6, 8)))
    return stub


@functools.cache
def kernels(name, blind):
    """A module of tile kernels; if blind, a copy of it without the first look."""
    if not blind:
        return getattr(emdref.kernels, name)
    spec = importlib.util.find_spec(f"emdref.kernels.{name}")
    module, glance = importlib.util.module_from_spec(spec), emdref.kernels.glance
    emdref.kernels.glance = _blind()
    try:
        spec.loader.exec_module(module)
    finally:
        emdref.kernels.glance = glance
    module.look = jit.row(
        lambda p, p_at, p_step, q, q_at, q_step, rows, first, last, sums, closer: None,
    )
    return module


def compiled(function, signature):
    """(LLVM code, assembly), compiled afresh: what comes from the disk cache cannot be inspected."""
    dispatcher = numba.njit(**jit._OPTIONS)(getattr(function, "py_func", function))
    dispatcher.compile(signature)
    only = dispatcher.signatures[0]
    return dispatcher.inspect_llvm(only), dispatcher.inspect_asm(only)


def _given(real):
    return numba.types.Array(real, 1, "C", readonly=True)


def _signature(name, real):
    two_limbs = name.endswith("2")
    rows, numbers = _given(real), float64 if two_limbs else real
    batch = int64, int64, rows, int64, rows, int64, real[::1], real[::1], boolean[::1]
    costs, places = _given(numbers), _given(int64)
    tree = places, costs, costs, *[costs] * two_limbs, places, places, places
    shape = (int64, costs, int64) if "chain" in name else tree
    if two_limbs:
        return *batch, boolean[::1], *shape, *[float64] * 5, boolean, float64
    return *batch, *shape, *[real] * 3, float64


@functools.cache
def tile_code(name, real, blind=False):
    """(LLVM code, assembly) of emd_chain, emd_tree, emd_chain2 or emd_tree2 for rows of that type."""
    module = kernels("tiles2" if name.endswith("2") else "tiles", blind)
    return compiled(getattr(module, name), _signature(name, real))
