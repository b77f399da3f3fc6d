"""Arrays that results go into: new ones, or the caller's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import containers, libraries
from emdref.arguments.messages import type_name, written
from emdref.arguments.validation import Batch

Array = NDArray[Any]


class Target:
    """Where one result of a batch goes, an entry or a line of entries a row; `apart` keeps a kernel out of `out`."""

    def __init__(
        self, rows: Batch, given: tuple[Array, ...], out: Any, name: str, *line: int, apart: bool = False
    ) -> None:
        shape, dtype = (*rows.shape, *line), rows.p.dtype
        self._own, self._batch = out, rows
        if out is not None:
            out = libraries.memory(out, name, rows.home)
            check(out, name, shape, dtype)
        self.out: Array | None = out
        direct = not apart and out is not None and out.flags.c_contiguous and out.flags.aligned
        direct = direct and not _overlaps(out, rows, given)
        full = (len(rows.p), *line)
        self.rows: Array = np.asarray(out).reshape(full) if direct else np.empty(full, dtype)

    def given(self) -> Any:
        """The result in the caller's shape, or the caller's own array, filled."""
        if self.out is None:
            return self._batch.as_rows(self.rows)
        if not np.may_share_memory(self.rows, self.out):
            self.out[...] = self.rows.reshape(self.out.shape)
        return self._own


def filled(out: Any, result: Any, home: libraries.Home | None = None) -> Any:
    """A result that exists in the caller's kind, or the caller's own array with it."""
    if out is None:
        return libraries.taken(result, home)
    place = libraries.memory(out, "out", home)
    check(place, "out", np.shape(result), result.dtype)
    place[...] = result
    return out


def both(out: Any) -> tuple[Any, Any]:
    """The two entries of an `out` for value and gradient, None for None."""
    if out is None:
        return None, None
    if not isinstance(out, tuple) or len(out) != 2:
        raise TypeError("out must be a pair (value, gradient) of arrays, either of which may be None")
    return out


def check_apart(first: Target, second: Target) -> None:
    """Refuse the caller's own arrays for two results where they share memory."""
    if first.out is not None and second.out is not None and np.shares_memory(first.out, second.out):
        refuse_shared()


def refuse_shared() -> None:
    """Two results cannot go to one place."""
    raise ValueError("out[0] and out[1] share memory: give each result an array of its own")


def check(out: Any, name: str, shape: tuple[int, ...], dtype: Any) -> None:
    """Refuse what no result of that shape and dtype can go to."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, not {type_name(out)}, or one of the inputs' kind")
    containers.refuse_masked(out, name)
    check_fit(name, out.dtype, out.shape, out.flags.writeable, shape, dtype)


def check_fit(
    name: str, out_dtype: Any, out_shape: tuple[int, ...], writeable: bool, shape: tuple[int, ...], dtype: Any
) -> None:
    """Refuse an array of a dtype and shape that a result does not have, or that cannot be written to."""
    if out_dtype != dtype:
        raise TypeError(f"{name} has dtype {written(out_dtype)}, the result {dtype}: results are not cast")
    if out_shape != shape:
        raise ValueError(f"{name} has shape {written(out_shape)}, the result {written(shape)}")
    if not writeable:
        raise ValueError(f"{name} is read-only: give an array that can be written to")


def _overlaps(out: Array, rows: Batch, given: tuple[Array, ...]) -> bool:
    """True where writing results would change what is yet to be read, or to be looked at again."""
    return any(np.may_share_memory(out, x) for x in (rows.p, rows.q, *given))
