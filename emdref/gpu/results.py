"""Results on a GPU: new arrays of the caller's framework, or the caller's own."""

from __future__ import annotations

import math
from typing import Any

from emdref.arguments import devices, libraries, results
from emdref.arguments.messages import cut, type_name
from emdref.kernels.cuda import copies, memory
from emdref.kernels.cuda.memory import Memory


class Result:
    """One result of a batch on the device: kernels write `flat`, rows one behind the other.

    `may_be_beyond` is set to False by who knows that all entries are finite, which saves a look at them.
    """

    def __init__(self, call: Any, batch: Any, what: str, line: tuple[int, ...]) -> None:
        self.line, self.shape, self.dtype = line, (*batch.shape, *line), batch.dtype
        self.may_be_beyond = True
        self._call = call
        out, name = call.outs.get(what, (None, ""))
        self._out = out
        target = None if out is None else _target(call, out, name, self.shape, self.dtype)
        direct = target is not None and target.contiguous and not _overlaps(call, target)
        self._later = None if direct else target
        self._own = out if direct else call.new(self.shape, self.dtype, f"the {what}")
        self.flat = (memory.described(self._own, "the result") if target is None or not direct else target).flat()

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    def given(self) -> Any:
        """What the caller gets: an array of its framework in its shape, or its own array, filled."""
        if self._call.place.framework == "numpy":
            host = self._call.to_host(self.flat).reshape(self.shape)
            return results.filled(self._out, host[()], self._call.home if self.dtype.kind == "f" else None)
        if self._later is not None:
            start, axes = self._later.axes
            where = self._call.to_device(axes)
            self._call.each(copies.scatter, self.size, self.flat, start, where, self._later.flat())
        return self._own if self._out is None else self._out


def check_apart(outs: dict[str, tuple[Any, str]]) -> None:
    """Refuse two results in one place."""
    there = [memory.described(x, name) for x, name in outs.values() if devices.framework(x, name)]
    if len(there) == 2 and there[0].overlaps(there[1]):
        results.refuse_shared()


def _target(call: Any, out: Any, name: str, shape: tuple[int, ...], dtype: Any) -> Memory | None:
    """Where the caller's array is; None for one on the host."""
    if call.place.framework == "numpy":
        results.check(libraries.memory(out, name, call.home), name, shape, dtype)
        return None
    place, kind = devices.place_of(out, name), devices.kind(call.place.framework)
    if place is None or place.framework != call.place.framework:
        raise TypeError(f"{name} must be {kind} on the inputs' GPU, not {cut(type(out).__module__)}.{type_name(out)}")
    if place.number not in (None, call.number):
        raise ValueError(f"{name} must be {kind} on the inputs' GPU {call.number}, and lies on GPU {place.number}")
    there = memory.described(out, name)
    results.check_fit(name, there.dtype, there.shape, there.writeable, shape, dtype)
    return there


def _overlaps(call: Any, target: Memory) -> bool:
    """True where writing results would change what is yet to be read, or to be looked at again."""
    return any(target.overlaps(x) for x in call.memories.values())
