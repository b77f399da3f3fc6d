"""Every CUDA kernel, found by itself, with the types of its arguments and what its code may hold.

A kernel that is not in the table fails a test that names it: see test_ptx.py.
"""

import ast
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from numba import types

import emdref.kernels

FOLDER = Path(emdref.kernels.__file__).parent / "cuda"
PACKAGE = "emdref.kernels.cuda"


class Entry(NamedTuple):
    """What is known of a kernel."""

    types: Callable  # of its arguments, from the rows' dtype
    exact: bool = True  # results are those of the CPU, bit for bit: nothing may be contracted
    double: bool = False  # float64 is part of the design even for rows of float32
    local: int = 0  # bytes of arrays that a thread has for itself
    dtypes: tuple = ("float32", "float64")


def array(kind):
    """A flat array as kernels get them."""
    return types.Array(kind, 1, "C")


def modules():
    """Names of the modules below emdref.kernels.cuda."""
    return sorted(x.name for x in pkgutil.iter_modules([str(FOLDER)]))


def kernels():
    """{"module.name": kernel} of all that stand at the top of a module."""
    from numba.cuda.dispatcher import CUDADispatcher

    found = {}
    for name in modules():
        module = importlib.import_module(f"{PACKAGE}.{name}")
        for key, value in vars(module).items():
            own = isinstance(value, CUDADispatcher) and value.py_func.__module__ == module.__name__
            if own and not value.targetoptions.get("device"):
                found[f"{name}.{key}"] = value
    return found


def hidden(source):
    """Lines on which `kernel` is used otherwise than as the decorator of a function at the top of a module."""
    tree = ast.parse(source)
    plain = {d for f in tree.body if isinstance(f, ast.FunctionDef) for d in f.decorator_list}
    names = (x for x in ast.walk(tree) if isinstance(x, ast.Name) and x.id == "kernel" and isinstance(x.ctx, ast.Load))
    return sorted(x.lineno for x in names if x not in plain)


KERNELS: dict[str, Entry] = {}
