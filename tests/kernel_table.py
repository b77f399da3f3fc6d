"""Every CUDA kernel, found by itself, with the types of its arguments and what its code may hold.

A kernel that is not in the table fails a test that names it: see test_ptx.py.
"""

import ast
import gc
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


def compiled_kernels():
    """All kernels that exist once the modules are imported, wherever they are kept."""
    from numba.cuda.dispatcher import CUDADispatcher

    imported = [importlib.import_module(f"{PACKAGE}.{name}").__name__ for name in modules()]
    every = (x for x in gc.get_objects() if isinstance(x, CUDADispatcher) and not x.targetoptions.get("device"))
    return [x for x in every if x.py_func.__module__ in imported]


def kernels():
    """{"module.name": kernel} of all that a module holds by a name of its own."""
    found = {}
    for name in modules():
        module = importlib.import_module(f"{PACKAGE}.{name}")
        own = {id(x) for x in compiled_kernels() if x.py_func.__module__ == module.__name__}
        found |= {f"{name}.{key}": value for key, value in vars(module).items() if id(value) in own}
    return found


def kernel_lines(source):
    """{line: name} of the functions that a module makes kernels of; a kernel made in another way is an error."""
    tree, found, decorators = ast.parse(source), {}, set()
    for function in (x for x in ast.walk(tree) if isinstance(x, ast.FunctionDef)):
        for decorator in function.decorator_list:
            if "kernel" in {x.id for x in ast.walk(decorator) if isinstance(x, ast.Name)}:
                decorators |= set(ast.walk(decorator))
                found[function.decorator_list[0].lineno] = function.name
    for x in ast.walk(tree):
        if isinstance(x, ast.Name) and x.id == "kernel" and isinstance(x.ctx, ast.Load) and x not in decorators:
            raise AssertionError(f"line {x.lineno}: a kernel is made without a decorator, where no test finds it")
    return found


KERNELS: dict[str, Entry] = {}
