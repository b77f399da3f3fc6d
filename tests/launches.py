"""What kernels are launched with, in the simulator: the types that the compiler would see of their arguments."""

import contextlib
from unittest import mock

import numba
from numba import types


def type_of(x):
    """Numba's type of an argument, device arrays being like the host's."""
    if hasattr(x, "_ary"):  # the simulator's device array
        return types.Array(numba.from_dtype(x._ary.dtype), x._ary.ndim, "C" if x._ary.flags.c_contiguous else "A")
    if isinstance(x, tuple):
        parts = [type_of(y) for y in x]
        if hasattr(x, "_fields"):
            alike = len(set(parts)) == 1
            return types.NamedUniTuple(parts[0], len(x), type(x)) if alike else types.NamedTuple(parts, type(x))
        return types.Tuple.from_types(parts)
    return numba.typeof(x)


@contextlib.contextmanager
def recorded(*modules):
    """{(module, name of the function): set of types} of all launches by these modules' `launch`."""
    seen = {}

    def launch(function, blocks, threads, stream, shared, *args):
        if blocks:
            key = function.fn.__module__, function.fn.__qualname__
            seen.setdefault(key, set()).add(tuple(map(type_of, args)))
        original(function, blocks, threads, stream, shared, *args)

    original = modules[0].launch
    with contextlib.ExitStack() as stack:
        for module in modules:
            stack.enter_context(mock.patch.object(module, "launch", launch))
        yield seen
