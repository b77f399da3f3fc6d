"""What kernels are launched with, in the simulator: the types that the compiler would see of their arguments."""

import contextlib
import importlib
from unittest import mock

import numba
from numba import types

import kernel_table


def type_of(x):
    """Numba's type of an argument, device arrays being like the host's."""
    if hasattr(x, "_ary"):  # the simulator's device array
        layout = "C" if x._ary.flags.c_contiguous else "A"
        return types.Array(numba.from_dtype(x._ary.dtype), x._ary.ndim, layout)
    if not isinstance(x, tuple):
        return numba.typeof(x)
    parts = [type_of(y) for y in x]
    if not hasattr(x, "_fields"):
        return types.Tuple.from_types(parts)
    alike = len(set(parts)) == 1
    return types.NamedUniTuple(parts[0], len(x), type(x)) if alike else types.NamedTuple(parts, type(x))


def names():
    """{id of a kernel: "module.name"}."""
    found = {}
    for name in kernel_table.modules():
        module = importlib.import_module(f"{kernel_table.PACKAGE}.{name}")
        found |= {id(value): f"{name}.{key}" for key, value in vars(module).items() if hasattr(value, "fn")}
    return found


@contextlib.contextmanager
def recorded(module):
    """{"module.name": set of types} of all launches by this module's `launch`."""
    seen, original, known = {}, module.launch, names()

    def launch(function, blocks, threads, stream, shared, *args):
        if blocks:
            seen.setdefault(known[id(function)], set()).add(tuple(map(type_of, args)))
        original(function, blocks, threads, stream, shared, *args)

    with mock.patch.object(module, "launch", launch):
        yield seen
