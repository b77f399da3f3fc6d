"""Arrays that results go into: new ones, or the caller's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref.inputs import Batch

Array = NDArray[Any]


class Target:
    """Where one result of a batch goes, an entry or a line of entries a row."""

    def __init__(self, rows: Batch, given: tuple[Array, ...], out: Any, name: str, *line: int) -> None:
        shape, dtype = (*rows.shape, *line), rows.p.dtype
        if out is not None:
            _check(out, name, shape, dtype)
        self._out, self._batch = out, rows
        direct = out is not None and out.flags.c_contiguous and out.flags.aligned and not _overlaps(out, rows, given)
        full = (len(rows.p), *line)
        self.rows: Array = np.asarray(out).reshape(full) if direct else np.empty(full, dtype)

    def given(self) -> Any:
        """The result in the caller's shape, or the caller's own array, filled."""
        if self._out is None:
            return self._batch.as_rows(self.rows)
        if not np.may_share_memory(self.rows, self._out):
            self._out[...] = self.rows.reshape(self._out.shape)
        return self._out


def filled(out: Any, result: Any) -> Any:
    """A result that exists, or the caller's own array with it."""
    if out is None:
        return result
    _check(out, "out", np.shape(result), result.dtype)
    out[...] = result
    return out


def both(out: Any) -> tuple[Any, Any]:
    """The two entries of an `out` for value and gradient, None for None."""
    if out is None:
        return None, None
    if not isinstance(out, tuple) or len(out) != 2:
        raise TypeError("out must be a pair (value, gradient) of arrays, either of which may be None")
    arrays = [x for x in out if isinstance(x, np.ndarray)]
    if len(arrays) == 2 and np.shares_memory(*arrays):
        raise ValueError("out[0] and out[1] share memory: give each result an array of its own")
    return out


def _check(out: Any, name: str, shape: tuple[int, ...], dtype: Any) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, not {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"{name} has dtype {out.dtype}, the result {dtype}: results are not cast")
    if out.shape != shape:
        raise ValueError(f"{name} has shape {out.shape}, the result {shape}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only: give an array that can be written to")


def _overlaps(out: Array, rows: Batch, given: tuple[Array, ...]) -> bool:
    """True where writing results would change what is yet to be read, or to be looked at again."""
    return any(np.may_share_memory(out, x) for x in (rows.p, rows.q, *given))
