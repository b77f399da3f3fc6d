"""Arrays of other libraries on the host: those of torch, of JAX, and of anybody else who speaks DLPack.

NumPy looks at their memory, and results go back as arrays of theirs.  No such library is imported here: whoever has one
of its arrays has done so.
"""

from __future__ import annotations

import sys
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.arguments.messages import cut, type_name, written

_NUMPYS = frozenset({np.ndarray, list, tuple, float, int, type(None)})  # types whose results are NumPy's
_OF_NOBODY = (list, tuple, range, Number, type(None))  # what goes with the arrays of any library


class Home(NamedTuple):
    """Where results go."""

    library: Any  # a module
    device: Any  # one of the library's, None if it has none

    def take(self, result: Any) -> Any:
        """A NumPy array or scalar as an array of the library's, in place if the library does that."""
        array = np.asarray(result)
        taken = self.library.from_dlpack(array)
        if self.device is not None and taken.device != self.device:
            import array_api_compat

            taken = array_api_compat.to_device(taken, self.device)
        dtype = written(getattr(taken, "dtype", array.dtype))
        if not dtype.endswith(array.dtype.name):
            raise TypeError(
                f"the result is {array.dtype}, of which {self.library.__name__} makes {dtype}: give float32, or let it "
                "hold float64 (in JAX by jax_enable_x64)"
            )
        return taken


def home(given: dict[str, Any]) -> Home | None:
    """Where the results of a call go, None for NumPy; an error for arguments by name that are of two libraries."""
    for x in given.values():
        if type(x) not in _NUMPYS:
            return _common(given)
    return None


def taken(result: Any, to: Home | None) -> Any:
    """A result as the caller gets it."""
    return result if to is None else to.take(result)


def as_numpy(x: Any, name: str) -> NDArray[Any]:
    """What NumPy makes of an array, of a list and so on: of those that speak DLPack a view."""
    speaks_dlpack = _speaks_dlpack(x)
    try:
        if speaks_dlpack and _is_torchs(x):
            return x.numpy(force=True)  # resolves what `numpy()` refuses: a bit that says that signs are to be changed
        return np.from_dlpack(x) if speaks_dlpack and not hasattr(x, "__array__") else np.asarray(x)
    except Exception as error:  # of whoever made the array
        if isinstance(error, ValueError) and not speaks_dlpack:
            raise
        traced = ", or within torch.func the losses of emdref.torch" if speaks_dlpack and _is_torchs(x) else ""
        raise TypeError(
            f"{name} ({_described(x)}) cannot be read ({_first_line(error)}): give a dense array of float32 or float64"
            f"{traced}"
        ) from error


def memory(out: Any, name: str, to: Home | None) -> Any:
    """The memory of the caller's own array for a result as a NumPy array, if it is of the inputs' library."""
    if to is None or not _speaks_dlpack(out) or _library(out) is not to.library:
        return out
    try:
        return out.numpy() if _is_torchs(out) else np.from_dlpack(out)
    except Exception as error:
        raise TypeError(
            f"{name} ({_described(out)}) cannot be written to ({_first_line(error)}): give a dense array on the host"
        ) from error


def _common(given: dict[str, Any]) -> Home | None:
    homes = {name: _home(x) for name, x in given.items() if not isinstance(x, _OF_NOBODY)}
    first = next((name for name, there in homes.items() if there), None)
    if first is None:
        return None
    there = homes[first]
    assert there is not None
    of = there.library.__name__
    for name, other in homes.items():
        if other is None or other.library is not there.library:
            whose = other.library.__name__ if other else type(given[name]).__module__.partition(".")[0]
            raise TypeError(
                f"{first} is an array of {of} and {name} of {whose} ({type_name(given[name])}): give both as one kind, "
                f"e.g. {of}.{_converted(given[name], name)}"
            )
        if other.device != there.device:
            places = f"{first} lies on {written(there.device)} and {name} on {written(other.device)}"
            raise TypeError(f"{places}: give both on one device")
    return there


def _home(x: Any) -> Home | None:
    library = _library(x) if _speaks_dlpack(x) else None
    return None if library is None else Home(library, getattr(x, "device", None))


def _library(x: Any) -> Any:
    """Whose array this is, None if nothing is known that makes arrays of that kind."""
    import array_api_compat  # here, because few need it

    try:
        library = array_api_compat.array_namespace(x, use_compat=False)
    except TypeError:
        library = sys.modules.get(type(x).__module__.partition(".")[0])
    return library if hasattr(library, "from_dlpack") else None


def _speaks_dlpack(x: Any) -> bool:
    return hasattr(type(x), "__dlpack__") and not isinstance(x, np.ndarray)


def _is_torchs(x: Any) -> bool:
    import array_api_compat

    return bool(array_api_compat.is_torch_array(x))


def _converted(x: Any, name: str) -> str:
    """How an array of another library is given instead, but for whose function does that."""
    if _speaks_dlpack(x):
        return f"from_dlpack({name})"
    dense = next((f".{way}()" for way in ("toarray", "to_numpy") if hasattr(x, way)), "")
    return f"asarray({name}{dense})"


def _described(x: Any) -> str:
    return f"{type_name(x)}, {written(x.dtype, 40)}" if hasattr(x, "dtype") else type_name(x)


def _first_line(error: Exception) -> str:
    return cut((str(error).strip().splitlines() or [type(error).__name__])[0], 120)
