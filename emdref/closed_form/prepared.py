"""Small calls by the straight way: rows that lie as the space's kernel wants them go to it, and its results stand.

A `Prepared` has ready what such a call needs but the rows.  What the kernel finds doubtful or leaves open is nobody's
result: the caller goes the general way, `emdref.closed_form.escalation`, from the start, which says what is wrong,
warns and settles.  So it is with all that is not recognised here.  Results are the general way's, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref import fallback
from emdref.arguments import casts, gauges, validation
from emdref.arguments.validation import Batch
from emdref.closed_form import batches, escalation
from emdref.kernels.compile import jit, threads
from emdref.spaces.space import Kept, Kernel

_DTYPES = np.dtype(np.float32), np.dtype(np.float64)
_BOOL = np.dtype(bool)
_USUAL = 0x101  # NumPy's bits of arrays that are C-contiguous and aligned
_array, _empty = np.ndarray, np.empty
_REALS = frozenset({int, float, np.float64})  # types of rho; True, which equals 1, is none
_NUMBERS = frozenset({int, float})
_MOST_KEPT = 64  # for one space: somebody who goes through many rho keeps the last of them
_MOST_NODES = 2**20  # for one space likewise, as a kernel may have arrays of its own for all nodes
_kept: Kept[dict[Any, Prepared | None]] = Kept()


class Prepared:
    """A space's kernel with its options, for rows of one dtype."""

    __slots__ = ("_calls", "_counts", "_how", "_kernel", "_met", "dtype", "line", "most", "nothing")

    def __init__(self, kernel: Kernel, line: int, dtype: np.dtype[Any], how: tuple[Any, ...], counts: bool) -> None:
        self._kernel, self._how, self._counts = kernel, how, counts
        self._calls: list[Any] = [None, None]  # for one row, and for more
        self._met = [False, False]
        self.dtype, self.line, self.nothing = dtype, (line,), np.empty(0, dtype)
        self.most = threads.most_alone(kernel.work)

    def _compiled(self, rows: int) -> Any:
        """The loop, from the second call on without what looks at types: to find that takes as long as ten calls."""
        kernel = self._kernel.for_rows(rows)
        if not self._met[rows > 1]:
            self._met[rows > 1] = True
            return _frozen(kernel.loop), kernel.shape
        row, flags = casts.frozen(self.nothing), np.empty(0, _BOOL)
        arguments = 0, 0, (row, 0, row, 0), (self.nothing, self.nothing, flags, flags), kernel.shape, self._how
        call = jit.straight(kernel.loop, arguments) or _frozen(kernel.loop)
        self._calls[rows > 1] = call, kernel.shape
        return call, kernel.shape

    def lies(self, x: NDArray[Any]) -> bool:
        """Whether an array is a row, or rows, of the dtype, one entry behind the other."""
        usual = x.dtype is self.dtype and x.flags.num & _USUAL == _USUAL
        return usual and (x.shape == self.line or (x.ndim == 2 and x.shape[1:] == self.line))

    def fits(self, out: Any, shape: tuple[int, ...]) -> bool:
        """Whether results of that shape can go to an array of the caller's."""
        return type(out) is _array and out.dtype is self.dtype and out.shape == shape and out.flags.writeable

    def fill(self, p: NDArray[Any], q: NDArray[Any], value: NDArray[Any] | None, grad: NDArray[Any] | None) -> bool:
        """Fill what is not None, dealt out if rows are many; False: nothing is said, neither of results nor of rows.

        All are C-contiguous and of `dtype`: p, q and grad (rows, N), value (rows,).
        """
        bins = self.line[0]
        value = np.empty(len(p), self.dtype) if value is None else value
        flat = self.nothing if grad is None else grad.reshape(-1)
        return self.settles((p.reshape(-1), bins, q.reshape(-1), bins), value, flat)

    def settles(self, given: tuple[Any, ...], value: NDArray[Any], grad: NDArray[Any]) -> bool:
        """`fill` for what a kernel is given, see `emdref.spaces.space.Kernel`; grad is empty if nobody wants it."""
        threads.check_limit()
        rows = len(value)
        doubt, unsafe = _empty(rows, _BOOL), _empty(rows, _BOOL)
        call, shape = self._calls[rows > 1] or self._compiled(rows)
        results = value, grad, doubt, unsafe
        if rows <= self.most:
            call(0, rows, given, results, shape, self._how)
        else:
            threads.over_columns(call, rows, (given, results, shape, self._how), work=self._kernel.work)
        if 1 in doubt.tobytes():
            return False
        if self._counts:  # natively there is nothing to settle
            if 1 in unsafe.tobytes():
                return False
            fallback.count(rows, 0)
        return True


def _frozen(loop: Any) -> Any:
    """A loop that is not Numba's, or takes read-only rows alone."""

    def call(first: int, last: int, given: Any, *others: Any) -> None:
        p, p_step, q, q_step = given
        loop(first, last, (casts.frozen(p), p_step, casts.frozen(q), q_step), *others)

    return call


def find(space: Any, dtype: np.dtype[Any], rho: Any, mass: Any, accuracy: Any, gauge: Any = None) -> Prepared | None:
    """What is prepared for these options, made at the first call; None where there is only the general way.

    `gauge` is that of the gradient, None if only values are wanted.
    """
    if type(rho) not in _REALS or not type(mass) is type(accuracy) is str:
        return None
    key = rho, mass, accuracy, gauge, dtype
    try:
        of_space = _kept.of(space, dict)
        return of_space[key]
    except KeyError:
        pass
    except TypeError:  # what is no key, and no space
        return None
    try:
        found = _prepare(space, dtype, rho, mass, accuracy, gauge)
    except Exception:  # the general way says it, in its turn
        return None
    if len(of_space) >= min(_MOST_KEPT, _MOST_NODES // space.n_nodes + 1):
        of_space.clear()
    of_space[key] = found
    return found


def _prepare(space: Any, dtype: Any, rho: Any, mass: Any, accuracy: Any, gauge: Any) -> Prepared | None:
    """None where there is no kernel, or not for this; an error for what no call takes."""
    batches.check_options(space, mass, accuracy)
    code, rho = None if gauge is None else gauges.code(gauge), validation.exponent(rho)
    if not any(dtype is known for known in _DTYPES):
        raise TypeError("a dtype that is but equal to NumPy's")
    if mass == "normalize" or code == gauges.NORMALIZED:
        return None
    tolerance = validation.mass_tolerance(dtype, space.n_bins) if mass == "raise" else np.inf
    how = escalation.options(space, dtype, rho, accuracy, code, escalation.is_long(space), tolerance)
    kernel = space.kernel(rho, dtype, accuracy, False)
    if kernel is None or threads.most_alone(kernel.work) == 0:
        return None
    return Prepared(kernel, space.n_bins, dtype, how, accuracy == "compensated")


def value(p: Any, q: Any, space: Any, rho: Any, mass: Any, accuracy: Any, out: Any = None) -> Any:
    """The values of arrays that lie as usual, in `out` if there is one; None: take the general way."""
    both = _at_once(p, q, space, rho, mass, accuracy, None, out)
    return None if both is None else both[0]


def value_and_grad(
    p: Any, q: Any, space: Any, rho: Any, mass: Any, accuracy: Any, gauge: Any, out: Any = None
) -> tuple[Any, Any] | None:
    """Both likewise; `out` is the gradient's."""
    return _at_once(p, q, space, rho, mass, accuracy, gauge, out) if type(gauge) is str else None


def checked(p: Any, q: Any, space: Any, mass: Any, accuracy: Any, v: Any = None, gauge: int | None = None) -> Batch:
    """`batches.checked`, where the kernel for values looks at arrays that lie as usual."""
    rows = _looked_at(p, q, space, mass, accuracy, v, gauge)
    return batches.checked(p, q, space, mass, accuracy, v, gauge) if rows is None else rows


def _looked_at(p: Any, q: Any, space: Any, mass: Any, accuracy: Any, v: Any, gauge: int | None) -> Batch | None:
    if type(p) is not _array or type(q) is not _array or type(mass) is not str or type(accuracy) is not str:
        return None
    shares = mass == "normalize"
    if accuracy != "compensated" and (accuracy != "native" or shares or gauge == gauges.NORMALIZED):
        return None
    one, shape = find(space, p.dtype, 1, "ignore" if shares else mass, "native"), p.shape
    if one is None or not one.lies(p) or not one.lies(q) or q.shape != shape:
        return None
    if v is not None and not (type(v) is _array and one.lies(v) and v.shape == shape and np.isfinite(v).all()):
        return None
    bins = one.line[0]
    rows = shape[0] if len(shape) == 2 else 1
    given = p.reshape(-1), bins, q.reshape(-1), bins
    if not (0 < rows <= one.most and one.settles(given, _empty(rows, one.dtype), one.nothing)):
        return None
    if len(shape) == 1:
        p, q, v = p[None], q[None], None if v is None else v[None]
    return Batch(casts.frozen(p), casts.frozen(q), shape[:-1], None if v is None else casts.frozen(v))


def _at_once(
    p: Any, q: Any, space: Any, rho: Any, mass: Any, accuracy: Any, gauge: str | None, out: Any
) -> tuple[Any, Any] | None:
    if type(p) is not _array or p.dtype.kind != "f":
        p = _floats(p)
    if type(q) is not _array or q.dtype.kind != "f":
        q = _floats(q)
    if p is None or q is None:
        return None
    dtype, shape = p.dtype, p.shape
    one = find(space, dtype, rho, mass, accuracy, gauge)
    if one is None or not (dtype is one.dtype is q.dtype):
        return None
    if p.flags.num & _USUAL != _USUAL or q.flags.num & _USUAL != _USUAL:
        return None
    line = one.line
    if shape == line and q.shape == line:  # one pair
        if out is not None and not one.fits(out, line if gauge else ()):
            return None
        value, grad = _empty(1, dtype), one.nothing if gauge is None else _empty(shape, dtype)
        if not one.settles((p, 0, q, 0), value, grad):
            return None
        return (value[0], grad) if out is None else _put(out, value[0], grad, gauge)
    steps = [0 if x.shape == line else line[0] for x in (p, q)]
    shape = shape if steps[0] else q.shape
    if len(shape) != 2 or shape[1:] != line or (all(steps) and shape != q.shape):
        return None
    rows = shape[0]
    if not 0 < rows <= one.most:
        return None
    if out is not None and not one.fits(out, shape if gauge else (rows,)):
        return None
    value, grad = _empty(rows, dtype), _empty((0, 0) if gauge is None else shape, dtype)
    if not one.settles((p.reshape(-1), steps[0], q.reshape(-1), steps[1]), value, grad.reshape(-1)):
        return None
    return (value, grad) if out is None else _put(out, value, grad, gauge)


def _put(out: NDArray[Any], value: Any, grad: Any, gauge: str | None) -> tuple[Any, Any]:
    """Value and gradient, of which `out` takes the latter's place if there is a gauge; it may be p's or q's memory."""
    out[...] = value if gauge is None else grad
    return (out, grad) if gauge is None else (value, out)


def _floats(x: Any) -> NDArray[Any] | None:
    """An array of a list of numbers, and of integers below 2**53, or below it by their type, in float64."""
    if type(x) is list or type(x) is tuple:
        if not _NUMBERS.issuperset(map(type, x)):
            return None
        x = np.asarray(x)
    if type(x) is not _array or x.dtype.kind not in "iuf":
        return None
    if x.dtype.kind == "f":
        return x
    wide = x.dtype.itemsize == 8 and x.max(initial=0) >= 2**53  # what is negative the kernel doubts
    return None if wide else x.astype(np.float64)
