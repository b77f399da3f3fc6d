"""Arrays on their way to kernels and back: read-only views, other dtypes."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from emdref.kernels.compile.threads import alone

_Entry = TypeVar("_Entry", bound=np.generic)


def frozen(x: NDArray[_Entry]) -> NDArray[_Entry]:
    """A view that cannot be written to: kernels are compiled for such rows alone, not for writable ones as well."""
    view = x.view()
    view.flags.writeable = False
    return view


def contiguous(x: NDArray[Any]) -> NDArray[Any]:
    """Rows one behind the other."""
    return alone(np.ascontiguousarray, x, work=2 * x.nbytes)


def widened(x: NDArray[Any]) -> NDArray[np.float64]:
    """Rows in float64, which holds them exactly."""
    wide = x if x.dtype == np.float64 else _cast(x, np.float64)
    return frozen(wide) if wide.flags.writeable else wide


def narrowed(x: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Results, or costs, in the caller's dtype; inf beyond its range."""
    if x.dtype == dtype:
        return x
    with np.errstate(over="ignore", under="ignore"):
        return _cast(x, dtype)


def _cast(x: NDArray[Any], dtype: Any) -> NDArray[Any]:
    return alone(x.astype, dtype, copy=False, work=2 * x.nbytes)
