"""Small calls by the straight way: rows that lie as the space's kernel wants them go to it, and its results stand.

A `Prepared` has ready what such a call needs but the rows.  What the kernel finds doubtful or leaves open is nobody's
result: the caller goes the general way, `emdref.closed_form.escalation`, from the start, which says what is wrong, warns
and settles.  So it is with all that is not recognised here.  Results are the general way's, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref import fallback
from emdref.arguments import gauges, validation
from emdref.closed_form import batches, escalation
from emdref.kernels.compile import threads
from emdref.spaces.space import Kept, Kernel, Space

_DTYPES = np.dtype(np.float32), np.dtype(np.float64)
_BOOL = np.dtype(bool)
_REALS = frozenset({int, float, np.float64})  # types of rho; True, which equals 1, is none
_MOST_KEPT = 64  # for one space: somebody who goes through many rho keeps the last of them
_kept: Kept[dict[Any, Prepared | None]] = Kept()


class Prepared:
    """A space's kernel with its options, for rows of one dtype."""

    __slots__ = ("_counts", "_how", "_loop", "_shape", "dtype", "line", "most", "nothing")

    def __init__(self, kernel: Kernel, line: int, dtype: np.dtype[Any], how: tuple[Any, ...], counts: bool) -> None:
        self._loop, self._shape, self._how, self._counts = kernel.loop, kernel.shape, how, counts
        self.dtype, self.line, self.nothing = dtype, (line,), np.empty(0, dtype)
        self.most = threads.most_alone(kernel.work)

    def fill(self, p: NDArray[Any], q: NDArray[Any], value: NDArray[Any] | None, grad: NDArray[Any] | None) -> bool:
        """Fill what is not None for at most `most` rows; False: nothing is said, neither of results nor of rows.

        All are C-contiguous and of `dtype`: p, q and grad (rows, N), value (rows,).
        """
        bins = self.line[0]
        value = np.empty(len(p), self.dtype) if value is None else value
        flat = self.nothing if grad is None else grad.reshape(-1)
        return self.settles(p.reshape(-1), bins, q.reshape(-1), bins, value, flat)

    def settles(
        self, p: NDArray[Any], p_step: int, q: NDArray[Any], q_step: int, value: NDArray[Any], grad: NDArray[Any]
    ) -> bool:
        """`fill` for flat arrays, of rows that begin so many entries apart; grad is empty if nobody wants it."""
        threads.check_limit()
        rows = len(value)
        doubt = np.empty(rows, _BOOL)
        unsafe = np.empty(rows, _BOOL) if self._counts else doubt
        p, q = p.view(), q.view()
        p.setflags(False)
        q.setflags(False)
        self._loop(0, rows, (p, p_step, q, q_step), (value, grad, doubt, unsafe), self._shape, self._how)
        if 1 in doubt.tobytes() or (self._counts and 1 in unsafe.tobytes()):
            return False
        if self._counts:
            fallback.count(rows, 0)
        return True


def find(space: Any, dtype: np.dtype[Any], rho: Any, mass: Any, accuracy: Any, gauge: Any = None) -> Prepared | None:
    """What is prepared for these options, made at the first call; None where there is only the general way.

    `gauge` is that of the gradient, None if only values are wanted.
    """
    if type(rho) not in _REALS or not type(mass) is type(accuracy) is str:
        return None
    try:
        of_space = _kept.of(space, dict)
        key = rho, mass, accuracy, gauge, dtype
        found = of_space[key]
    except KeyError:
        found = _prepare(space, dtype, rho, mass, accuracy, gauge)
        if isinstance(space, Space):
            if len(of_space) >= _MOST_KEPT:
                of_space.clear()
            of_space[key] = found
    except TypeError:  # options that are no keys, and no space
        return None
    return found if found is not None and found.dtype is dtype else None


def _prepare(space: Any, dtype: Any, rho: Any, mass: Any, accuracy: Any, gauge: Any) -> Prepared | None:
    if mass == "normalize" or gauge == "normalized" or not any(dtype is known for known in _DTYPES):
        return None
    try:
        batches.check_options(space, mass, accuracy)
        code = None if gauge is None else gauges.code(gauge)
        rho = validation.exponent(rho)
        tolerance = validation.mass_tolerance(dtype, space.n_bins) if mass == "raise" else np.inf
        how = escalation.options(space, dtype, rho, accuracy, code, escalation.is_long(space), tolerance)
    except (TypeError, ValueError):
        return None
    kernel = space.kernel(rho, dtype, accuracy, False)
    return None if kernel is None else Prepared(kernel, space.n_bins, dtype, how, accuracy == "compensated")


def value(p: Any, q: Any, space: Any, rho: Any, mass: Any, accuracy: Any) -> Any:
    """The values of arrays that lie as usual; None: take the general way."""
    both = _at_once(p, q, space, rho, mass, accuracy, None)
    return None if both is None else both[0]


def value_and_grad(
    p: Any, q: Any, space: Any, rho: Any, mass: Any, accuracy: Any, gauge: Any
) -> tuple[Any, Any] | None:
    """Both likewise."""
    return _at_once(p, q, space, rho, mass, accuracy, gauge) if type(gauge) is str else None


def _at_once(
    p: Any, q: Any, space: Any, rho: Any, mass: Any, accuracy: Any, gauge: str | None
) -> tuple[Any, Any] | None:
    if type(p) is not np.ndarray or type(q) is not np.ndarray or p.dtype is not q.dtype:
        return None
    one = find(space, p.dtype, rho, mass, accuracy, gauge)
    if one is None or not (p.flags.c_contiguous and q.flags.c_contiguous and p.flags.aligned and q.flags.aligned):
        return None
    shape, line = p.shape, one.line
    p_step = q_step = line[0]
    if shape != q.shape:
        if q.shape == line:
            q_step = 0
        elif shape == line:
            p_step, shape = 0, q.shape
        else:
            return None
    lead = shape[:-1]
    if shape[len(lead) :] != line or len(lead) > 1:
        return None
    rows = lead[0] if lead else 1
    if not 0 < rows <= one.most:
        return None
    value = np.empty(rows, one.dtype)
    grad = None if gauge is None else np.empty(shape, one.dtype)
    flat = one.nothing if grad is None else grad.reshape(-1)
    if not one.settles(p.reshape(-1), p_step, q.reshape(-1), q_step, value, flat):
        return None
    return value if lead else value[0], grad
