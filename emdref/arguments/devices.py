"""Where a call computes: on the CPU, or on the GPU that its arrays lie on or that is asked for.

No framework is imported here: its arrays are known by what their types say.  Nor is CUDA before it is needed.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from emdref.arguments import messages
from emdref.arguments.messages import cut, shown

Device = Literal["cpu", "cuda"]

_HOST = (np.ndarray, np.generic, list, tuple, float, int)
_PLAIN = frozenset({*_HOST, type(None)})
_KINDS = {"cupy": "a CuPy array", "torch": "a torch tensor", "numba": "a device array"}
_TO_HOST = {"cupy": "{0}.get()", "torch": "{0}.cpu()", "numba": "{0}.copy_to_host()"}
_TO_GPU = {
    "cupy": "cupy.asarray({0})",
    "torch": "torch.as_tensor({0}, device={1}.device)",
    "numba": "numba.cuda.to_device({0})",
}


class Place(NamedTuple):
    """A GPU, and whose arrays come and go."""

    framework: str  # "numpy" (moved there and back), "cupy", "torch" or "numba"
    number: int | None = None  # of the GPU; None for the current one


class _Found(NamedTuple):
    name: str
    framework: str
    number: int | None

    def __str__(self) -> str:
        return f"{self.name} is {_KINDS[self.framework]} on a GPU"


def find(device: object, **arrays: object) -> Place | None:
    """The GPU that a call uses, None for the CPU, or an error that names the argument that stands in the way.

    Arguments that are None do not count.
    """
    check(device)
    if device is None and _PLAIN.issuperset(map(type, arrays.values())):
        return None
    given = {name: x for name, x in arrays.items() if x is not None}
    there = [x for x in (_found(x, name) for name, x in given.items() if not isinstance(x, _HOST)) if x]
    if not there:
        return _usable(Place("numpy"), f"device={shown(device)}") if device == "cuda" else None
    if device == "cpu":
        raise RuntimeError(f"device='cpu', but {there[0]}: leave device=None, or give {_on_host(there[0])}")
    _check_together(there, given)
    return _usable(Place(*there[0][1:]), f"{there[0]}, which cannot be used here")


def check(device: object) -> None:
    """Refuse what is no device."""
    if not (device is None or (isinstance(device, str) and device in get_args(Device))):
        raise ValueError(f"device={shown(device)} is not one of None, 'cpu', 'cuda'")


def stay(device: object, **arrays: object) -> None:
    """Refuse what asks for a GPU, in a function that computes on the CPU alone."""
    check(device)
    if device == "cuda":
        raise RuntimeError(f"device={device!r}: this computes on the CPU alone; leave device=None")
    for name, x in arrays.items():
        on_host(x, name)


def on_host(x: Any, name: str) -> None:
    """Refuse an array on a GPU where the CPU computes."""
    found = None if isinstance(x, _HOST) else _found(x, name)
    if found:
        raise RuntimeError(f"{found} and this computes on the CPU alone: give {_on_host(found)}")


def framework(x: Any, name: str) -> str | None:
    """Whose array on a GPU this is; None for anything on the host."""
    place = place_of(x, name)
    return place.framework if place else None


def place_of(x: Any, name: str) -> Place | None:
    """The GPU that an array lies on, and whose it is; None for anything on the host."""
    found = None if x is None or isinstance(x, _HOST) else _found(x, name)
    return Place(*found[1:]) if found else None


def kind(framework: str) -> str:
    """How a message calls an array of a framework."""
    return _KINDS[framework]


def _found(x: Any, name: str) -> _Found | None:
    roots = {t.__module__.partition(".")[0] for t in type(x).__mro__}
    if "torch" in roots and hasattr(x, "requires_grad"):
        _check_no_graph(x, name)
        if not x.is_cuda and x.device.type != "cpu":
            numbers = "a tensor that holds numbers" if x.device.type == "meta" else f"{name}.cpu()"
            _refuse(f"a torch tensor on the device {x.device.type!r}", name, numbers)
        return _Found(name, "torch", x.device.index) if x.is_cuda else None
    if roots & {"jax", "jaxlib"}:
        _check_jax(x, name)
        return None
    if "cupy" in roots and hasattr(type(x), "__cuda_array_interface__"):
        return _Found(name, "cupy", x.device.id)
    if getattr(type(x), "__cuda_ndarray__", False):  # Numba's own, the simulator's too
        context = getattr(getattr(x, "gpu_data", None), "context", None)
        return _Found(name, "numba", None if context is None else int(context.device.id))
    try:
        return _Found(name, "numba", None) if hasattr(x, "__cuda_array_interface__") else None
    except Exception as error:  # of whoever made the array
        raise TypeError(
            f"{name} ({messages.type_name(x)}) has no array interface to a GPU: {cut(str(error), 120)}"
        ) from error


def _check_no_graph(x: Any, name: str) -> None:
    if x.requires_grad:
        raise RuntimeError(
            f"{name} requires grad and nothing here is recorded for autograd: use the losses of emdref.torch, or give "
            f"{name}.detach(), and what emd_grad returns to {name}.backward"
        )


def _check_jax(x: Any, name: str) -> None:
    """Refuse what JAX traces, and what does not lie on one CPU."""
    if any(t.__name__ == "Tracer" for t in type(x).__mro__):
        raise TypeError(
            f"{name} is traced by JAX, within jit, grad or vmap, and has no numbers yet: use emdref.jax.emd_loss, or "
            "give arrays outside of these"
        )
    try:
        there = list(x.devices())
    except Exception as error:  # of JAX, for an array that is deleted
        raise RuntimeError(f"{name} lies nowhere: {cut(str(error), 120)}") from error
    if len(there) > 1 or there[0].platform != "cpu":
        places = cut(", ".join(sorted(map(str, there))))
        _refuse(f"a JAX array on {places}", name, f"jax.device_put({name}, jax.devices('cpu')[0])")


def _refuse(what: str, name: str, way_out: str) -> None:
    raise RuntimeError(f"{name} is {what}, where nothing here computes: give {way_out}")


def _check_together(there: list[_Found], given: dict[str, object]) -> None:
    """Refuse arrays that are not all of one framework on one GPU."""
    first = there[0]
    for name in [x for x in given if x not in {y.name for y in there}]:
        dense = f"{name}.toarray()" if hasattr(given[name], "toarray") else name
        moved = _TO_GPU[first.framework].format(dense, first.name)
        raise RuntimeError(f"{first} and {name} is on the host: give {moved}, or {_on_host(first)}")
    for x in there[1:]:
        if x.framework != first.framework:
            moved = _TO_GPU[first.framework].format(x.name, first.name)
            raise RuntimeError(f"{first} and {x.name} is {_KINDS[x.framework]}: give both as one kind, e.g. {moved}")
        if x.number != first.number and None not in (x.number, first.number):
            numbers = f"{first.name} lies on GPU {first.number} and {x.name} on GPU {x.number}"
            raise RuntimeError(f"{numbers}: give both on one")


def _on_host(x: _Found) -> str:
    return _TO_HOST[x.framework].format(x.name)


def _usable(place: Place, because: str) -> Place:
    try:
        from emdref.kernels.cuda.target import trouble
    except Exception as error:  # whatever a missing or half-installed package raises
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = f'Numba\'s CUDA target cannot be imported ({first}): pip install "emdref[cuda]", or leave device=None'
    else:
        reason = trouble()
    if reason:
        raise RuntimeError(f"{because}: {reason}{' and give arrays on the host' if place.framework != 'numpy' else ''}")
    return place
