"""Every CUDA kernel, found by itself, with the types of its arguments and what its code may hold.

A kernel that is not in the table fails a test that names it: see test_ptx.py.
"""

import ast
import functools
import gc
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from numba import boolean, float32, float64, int64, types

import emdref.kernels
import sinkhorn_table
from emdref.kernels.cuda import arguments, chain, tree

FOLDER = Path(emdref.kernels.__file__).parent / "cuda"
PACKAGE = "emdref.kernels.cuda"


class Entry(NamedTuple):
    """What is known of a kernel."""

    types: Callable  # of its arguments, from the rows' dtype
    exact: bool = True  # results are those of the CPU, bit for bit: nothing may be contracted
    double: bool = False  # float64 is part of the design even for rows of float32
    local: int = 0  # bytes of arrays that a thread has for itself
    dtypes: tuple = (float32, float64)


def modules():
    """Names of the modules below emdref.kernels.cuda."""
    return sorted(x.name for x in pkgutil.iter_modules([str(FOLDER)]))


def compiled_kernels():
    """All kernels that exist once the modules are imported, wherever they are kept."""
    from numba.cuda.dispatcher import CUDADispatcher

    imported = [importlib.import_module(f"{PACKAGE}.{name}").__name__ for name in modules()]
    gc.unfreeze()  # conftest.py has frozen what was there, which Python does not list then
    alike = (x for x in gc.get_objects() if issubclass(type(x), CUDADispatcher))  # not isinstance: proxies may be dead
    every = (x for x in alike if not x.targetoptions.get("device"))
    return [x for x in every if x.py_func.__module__ in imported]


def signatures():
    """{"module.name": all types of arguments that the table has for it}."""
    found = {}
    for name, entry in KERNELS.items():
        found.setdefault(kernel_of(name), set()).update(entry.types(x) for x in entry.dtypes)
    return found


def kernel_of(name):
    """An entry's kernel: what stands before a comma."""
    return name.partition(",")[0]


@functools.cache
def kernels():
    """{"module.name": kernel} of all that a module holds by a name of its own."""
    found = {}
    own = {id(x): x.py_func.__module__ for x in compiled_kernels()}
    for name in modules():
        module = importlib.import_module(f"{PACKAGE}.{name}")
        found |= {
            f"{name}.{key}": value for key, value in vars(module).items() if own.get(id(value)) == module.__name__
        }
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


# --- types of arguments -----------------------------------------------------------------------------------------------

INT, INTS, BOOLS = int64, types.Array(int64, 1, "C"), types.Array(boolean, 1, "C")
BOUNDS = types.UniTuple(float64, 4)
LAUNCH = types.NamedUniTuple(int64, 5, arguments.Launch)


def flat(real):
    """A flat array."""
    return types.Array(real, 1, "C")


def block(real):
    """Scratch of kernels with a thread a row."""
    return types.Array(real, 3, "C")


def sides(real):
    """Rows p and q."""
    return flat(real), INT, flat(real), INT


def given(real):
    """Rows p and q as one argument."""
    return types.Tuple(sides(real))


def numbers(number):
    return types.NamedTuple([*[number] * 4, boolean, INT, BOUNDS], arguments.Numbers)


def gaps(number):
    return types.NamedTuple([INT, INT, INT, flat(number), INT], chain.Gaps)


def room(number):
    return types.NamedTuple([INT, INT, *[flat(number)] * 6], chain.Room)


def shape(number):
    return types.NamedTuple([INTS, *[flat(number)] * 3, *[INTS] * 6], tree.Shape)


# --- chains and trees -------------------------------------------------------------------------------------------------


def _chain(number):
    """Types of the five launches; `number` is what they compute in, from the rows' dtype."""
    return {
        "carries": lambda r: (given(r), gaps(number(r)), room(number(r))),
        "scan": lambda r: (INT, INT, flat(number(r)), INT),
        "segments": lambda r: (given(r), flat(r), gaps(number(r)), numbers(number(r)), boolean, room(number(r))),
        "rows": lambda r: (
            *(types.Tuple((flat(r), BOOLS, BOOLS)), boolean, gaps(number(r)), INT, numbers(number(r))),
            room(number(r)),
        ),
        "gradient": lambda r: (flat(r), gaps(number(r)), numbers(number(r)), room(number(r))),
    }


def _tree(number):
    return lambda r: (
        *(LAUNCH, given(r), types.Tuple((flat(r), flat(r), flat(r), BOOLS, BOOLS)), INTS, shape(number(r))),
        *(numbers(number(r)), flat(number(r))),
    )


def _chain_near(r):
    return LAUNCH, given(r), types.Tuple((flat(r), flat(r), BOOLS)), gaps(r), numbers(r)


def _of_directions(arguments):
    """Products with the Hessian at rho = 2: rows of float64, results in the dtype asked for."""
    return lambda r: tuple(given(float64) if x == given(r) else x for x in arguments(r))


def own(real):
    """Plain arithmetic is that of the rows' dtype."""
    return real


def double(real):
    """Two limbs are float64."""
    return float64


KERNELS = {
    "chain_near.chain_near": Entry(_chain_near, exact=False),
    **{f"chain.{name}_plain": Entry(kinds, exact=False) for name, kinds in _chain(own).items()},
    **{f"chain.{name}_two_limbs": Entry(kinds, double=True) for name, kinds in _chain(double).items()},
    "chain.segments_two_limbs, of directions": Entry(
        _of_directions(_chain(double)["segments"]), double=True, dtypes=(float32,)
    ),
    "tree.tree_two_limbs, of directions": Entry(_of_directions(_tree(double)), double=True, dtypes=(float32,)),
    "tree.tree_two_limbs_far, of directions": Entry(_of_directions(_tree(double)), double=True, dtypes=(float32,)),
    "tree.tree_native": Entry(_tree(own), exact=False),
    "tree.tree_native_far": Entry(_tree(own), exact=False),
    "tree.tree_two_limbs": Entry(_tree(double), double=True),
    "tree.tree_two_limbs_far": Entry(_tree(double), double=True),
}

# --- a thread a row ---------------------------------------------------------------------------------------------------


def _power(number):
    """The space, the power, how, and scratch."""
    return lambda r: (
        *(types.Tuple((INTS, flat(number(r)), INTS)), types.Tuple((number(r), boolean, INT)), block(number(r))),
    )


def _into(*results):
    return types.Tuple(results)


KERNELS |= {
    "rows.emd_two_limbs": Entry(
        lambda r: (INT, INT, given(r), _into(flat(r), flat(r), BOOLS), *_power(double)(r)), double=True
    ),
    "rows.flow_native": Entry(
        lambda r: (INT, INT, given(r), flat(r), INTS, INTS, boolean, INTS, block(r)), exact=False
    ),
    "rows.flow_two_limbs": Entry(
        lambda r: (
            *(INT, INT, given(r), _into(flat(r), BOOLS), types.Tuple((INTS, flat(float64), INTS)), boolean, INTS),
            block(float64),
        ),
        double=True,
    ),
    "rows.hvp_native": Entry(
        lambda r: (INT, INT, given(r), types.Tuple((flat(r), INT)), _into(flat(r), INTS), *_power(own)(r)), exact=False
    ),
    "rows.hvp_two_limbs": Entry(
        lambda r: (
            *(INT, INT, given(r), types.Tuple((flat(r), INT)), _into(flat(r), BOOLS, INTS), *_power(double)(r)),
        ),
        double=True,
    ),
    "rows.border_native": Entry(lambda r: (INT, INT, given(r), _into(INTS, flat(r)), *_power(own)(r)), exact=False),
    "rows.border_two_limbs": Entry(
        lambda r: (INT, INT, given(r), _into(BOOLS, INTS, flat(float64)), *_power(double)(r)), double=True
    ),
    "rows.lines_native": Entry(
        lambda r: (INT, INT, INT, flat(r), INTS, flat(r), INTS, INTS, types.Array(int64, 2, "C"), block(r)),
        exact=False,
    ),
    "rows.lines_two_limbs": Entry(
        lambda r: (
            *(INT, INT, INT, flat(r), BOOLS, BOOLS, INTS, flat(float64), INTS, INTS, types.Array(int64, 2, "C")),
            block(float64),
        ),
        double=True,
    ),
    "rows.shares": Entry(lambda r: (flat(r), INT, INT, flat(r), flat(r)), exact=False),
    "rows.project": Entry(lambda r: (flat(r), INT, flat(r), flat(r)), exact=False),
    "rows.centre": Entry(lambda r: (flat(r), INT, INT, flat(r)), exact=False),
    "rows.centre, for two limbs": Entry(lambda r: (flat(r), INT, INT, flat(float64)), double=True),
    "rows.look": Entry(lambda r: (*sides(r), INT, r, BOOLS)),
    "rows.any_set": Entry(lambda r: (INT, BOOLS, BOOLS, INTS), dtypes=(int64,)),
}

# --- moving and looking -----------------------------------------------------------------------------------------------

KERNELS |= {
    "copies.fill": Entry(lambda r: (flat(r), r), dtypes=(float32, float64, int64, boolean)),
    "copies.raise_to": Entry(lambda r: (flat(r), r), exact=False),
    "copies.raise_to, compensated": Entry(lambda r: (flat(r), float64), double=True),
    "copies.gather": Entry(lambda r: (flat(r), INT, INTS, flat(r))),
    "copies.scatter": Entry(lambda r: (flat(r), INT, INTS, flat(r))),
    "copies.take": Entry(lambda r: (flat(r), INT, INT, INTS, flat(r))),
    "copies.put": Entry(lambda r: (flat(r), INT, INTS, flat(r))),
    "copies.survey": Entry(lambda r: (flat(r), INT, INTS)),
    "copies.count_from": Entry(lambda r: (flat(r), r, INTS)),
}

# --- Sinkhorn ---------------------------------------------------------------------------------------------------------

KERNELS |= {
    name: Entry(types, exact=name in sinkhorn_table.EXACT, double=name in sinkhorn_table.DOUBLE)
    for name, types in sinkhorn_table.ARGUMENTS.items()
}
KERNELS["target._probe"] = Entry(lambda r: (flat(r),), dtypes=(float64,))
KERNELS["balance.convert"] = KERNELS["balance.convert"]._replace(dtypes=(float32, float64, int64))
