"""What emdref/py.typed promises: annotations of all that is public.  mypy itself is a part of .ci/run."""

import inspect
from pathlib import Path

import pytest

import emdref

FOLDER = Path(emdref.__file__).parent
MODULES = [emdref, emdref.losses, emdref.normalize, emdref.casebook, emdref.exact]


def _public(module):
    names = getattr(module, "__all__", None) or [x for x in vars(module) if not x.startswith("_")]
    return {name: x for name in names if _is_own(x := getattr(module, name))}


def _is_own(x):
    """A function, class or callable object of emdref's; annotations that have a name have no signature."""
    return callable(x) and getattr(x, "__module__", "").partition(".")[0] == "emdref"


def _is_written(function):
    """In emdref, not made by dataclasses."""
    return Path(inspect.unwrap(function).__code__.co_filename).is_relative_to(FOLDER)


def _functions(name, x):
    """What is called: a function, or the methods of a class or of an object."""
    if inspect.isfunction(x):
        yield name, x
        return
    for kind in (x if inspect.isclass(x) else type(x)).__mro__:
        if kind.__module__.partition(".")[0] == "emdref":
            for attribute, y in vars(kind).items():
                y = getattr(y, "fget", None) or getattr(y, "func", None) or getattr(y, "__func__", y)
                if inspect.isfunction(y) and _is_written(y):
                    yield f"{name}.{attribute}", y


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_function_is_annotated(module):
    called = {name: y for part, x in _public(module).items() for name, y in _functions(part, x)}
    assert called
    lacking = {}
    for name, function in called.items():
        signature = inspect.signature(function)
        parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
        bare = [p.name for p in parameters if p.annotation is p.empty]
        bare += ["return"] if signature.return_annotation is signature.empty else []
        if bare:
            lacking[name] = bare
    assert not lacking


def test_functions_are_found_where_users_find_them():
    assert {"emd", "check", "Chain.__init__", "Chain.n_bins", "Tree.from_edges", "Space.edges"} <= {
        name for part, x in _public(emdref).items() for name, _ in _functions(part, x)
    }
    assert "softmax.vjp" in {name for part, x in _public(emdref.normalize).items() for name, _ in _functions(part, x)}
