"""The machine code of the tile kernels, with and without their first look at the rows, for tests to search in.

What has been compiled is kept beside the kernels' compiled code, for as long as sources, compiler and processor stay.

The first look sums rows of float32 in float64, by design; what is to be proven of the rest is proven of kernels that
are compiled from the same files with a first look that does nothing.
"""

import functools
import hashlib
import importlib.util
import json
import os
import types
from pathlib import Path

import llvmlite
import numba
import numpy as np
import pytest
from numba import boolean, float64, int64
from numba.core.registry import cpu_target

import emdref.kernels
from emdref.kernels.compile import jit

needs_jit = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled with NUMBA_DISABLE_JIT")


def _blind():
    stub = types.ModuleType("blind")
    stub.COLUMNS = emdref.kernels.tiles.inspection.COLUMNS
    stub.clear = jit.row(lambda sums: None)
    stub.look = jit.row(lambda p, at, q, bt, n, w, sums, closer: None)
    stub.doubtful = jit.row(lambda sums, w, tolerance: False)
    stub.new_sums = jit.row(lambda x: np.zeros((6, 8)))
    return stub


@functools.cache
def kernels(name, blind):
    """A module of tile kernels; if blind, a copy of it without the first look."""
    if not blind:
        return importlib.import_module(f"emdref.kernels.{name}")
    spec = importlib.util.find_spec(f"emdref.kernels.{name}")
    module, glance = importlib.util.module_from_spec(spec), emdref.kernels.tiles.inspection
    emdref.kernels.tiles.inspection = _blind()
    try:
        spec.loader.exec_module(module)
    finally:
        emdref.kernels.tiles.inspection = glance
    module.look = jit.row(lambda tile, first, last, sums, closer: None)
    return module


def compiled(function, signature, variant=""):
    """(LLVM code, assembly), compiled afresh: what comes from Numba's disk cache cannot be inspected."""
    function = getattr(function, "py_func", function)
    if not function.__module__.startswith("emdref.") or jit.cache_folder() is None:
        return _afresh(function, signature)
    name = repr((function.__module__, function.__qualname__, signature, variant))
    path = jit.cache_folder() / f"inspected-{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    if kept.get("made of") != _stamp():
        kept = {"made of": _stamp(), "name": name, "code": _afresh(function, signature)}
        own = path.with_suffix(f".{os.getpid()}")  # of this process, until it is complete
        own.write_text(json.dumps(kept))
        own.replace(path)
    return kept["code"]


@functools.cache
def _sources():
    """Of all kernels."""
    return [path.read_bytes() for path in sorted(Path(emdref.kernels.__file__).parent.rglob("*.py"))]


@functools.cache
def _stamp():
    """Of all that makes the code what it is."""
    settings = sorted(x for x in os.environ.items() if x[0].startswith("NUMBA_"))
    tools = numba.__version__, llvmlite.__version__, cpu_target.target_context.codegen().magic_tuple(), settings
    return hashlib.sha256(repr((_sources(), Path(__file__).read_bytes(), tools)).encode()).hexdigest()


def _afresh(function, signature):
    dispatcher = numba.njit(**jit._OPTIONS)(function)
    dispatcher.compile(signature)
    only = dispatcher.signatures[0]
    return dispatcher.inspect_llvm(only), dispatcher.inspect_asm(only)


def _given(real):
    return numba.types.Array(real, 1, "C", readonly=True)


def _signature(name, real):
    plain = name[-1] not in "12"
    rows, numbers = _given(real), real if plain else float64
    given, results = (rows, int64, rows, int64), (real[::1], real[::1], boolean[::1], boolean[::1])
    costs, places = _given(numbers), _given(int64)
    tree = places, costs, costs, *[costs] * (not plain), places, places, places
    shape = *((int64, costs, int64) if "chain" in name else tree), numbers
    if name.endswith("1"):
        shape = numba.types.Tuple.from_types(shape), *[float64] * (1 if "chain" in name else 2)
    how = numbers, numbers, numbers, float64, boolean, float64
    return int64, int64, *map(numba.types.Tuple.from_types, (given, results, shape, how))


@functools.cache
def tile_code(name, real, blind=False):
    """(LLVM code, assembly) of emd_chain, emd_tree, emd_chain2, emd_tree1 and so on for rows of that type."""
    module = kernels({"1": "tiles.one_limb", "2": "tiles.two_limbs"}.get(name[-1], "tiles.plain"), blind)
    return compiled(getattr(module, name), _signature(name, real), "blind" if blind else "")
