"""Value and gradient of rows in compensated arithmetic, and what they are in native arithmetic.

Most rows are settled by one kernel, in two limbs (of float32 rows in one) and many rows side by side, whose errors are
bounded beforehand.  What that bound leaves open is looked at more closely, in up to four stages: the same kernel adds
up what flows lose; another looks at single rows, scaled to the middle of the range; the same works from flows that are
exact; and rationals settle the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref import fallback
from emdref.arguments import casts, gauges
from emdref.arguments.validation import Batch
from emdref.closed_form import batches, exact_rows, generic
from emdref.kernels.compile.threads import lasts, over_columns, over_rows
from emdref.spaces.space import Kernel, Space, as_rooted

Array = NDArray[Any]
Numbers = NDArray[np.int64]  # of rows in a batch

SEEN = -1.0  # a tolerance that says that the rows are valid
_BLOCK = 2**20  # entries of p that are normalised, or looked at closely, at a time
_CAREFUL = 150  # nanoseconds a node takes that is looked at more closely
_LONG = 2**12  # bins and nodes beyond which a bound of what flows lose is too wide: it grows with their square


class Wanted(NamedTuple):
    """Rows, and what to compute of them."""

    rows: Batch
    space: Space
    rho: float
    mass: str
    accuracy: str
    tolerance: float  # of totals, for the kernel's first look; negative if the rows have been looked at
    verify: Callable[[], None]  # what to do if that finds something


class _Work(NamedTuple):
    """What is wanted, and where it goes, None for what nobody wants; `shares`: rows are divided by their totals."""

    wanted: Wanted
    value: Array | None
    grad: Array | None
    gauge: int | None
    shares: bool

    @property
    def n_rows(self) -> int:
        return len(self.wanted.rows.p)

    def of(self, rows: Batch, value: Array | None, grad: Array | None) -> _Work:
        """This work on other rows."""
        return self._replace(wanted=self.wanted._replace(rows=rows), value=value, grad=grad)


def value_and_grad(
    rows: Batch, space: Space, rho: float, mass: str, accuracy: str, gauge: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both for valid rows, in the rows' dtype, without a warning."""
    value, grad = np.empty(len(rows.p), rows.p.dtype), np.empty(rows.p.shape, rows.p.dtype)
    fill(Wanted(rows, space, rho, mass, accuracy, SEEN, lambda: None), value, grad, gauge)
    return value, grad


def values(rows: Batch, space: Space, rho: float, mass: str, accuracy: str) -> Array:
    """The values alone."""
    value = np.empty(len(rows.p), rows.p.dtype)
    fill(Wanted(rows, space, rho, mass, accuracy, SEEN, lambda: None), value, None, None)
    return value


def fill(wanted: Wanted, value: Array | None, grad: Array | None, gauge: int | None) -> bool:
    """Fill what is not None; True where a result may be beyond the dtype."""
    compute = _native if wanted.accuracy == "native" else _compensated
    if value is not None and gauge == gauges.NORMALIZED and wanted.mass != "normalize":  # of other rows than the value
        beyond = compute(_Work(wanted, None, grad, gauge, True))
        return compute(_Work(wanted, value, None, None, False)) or beyond
    shares = wanted.mass == "normalize" or gauge == gauges.NORMALIZED
    return compute(_Work(wanted, value, grad, gauge, shares))


def lingers(space: Space, rows: int) -> bool:
    """Whether a kernel may go on writing results after an interrupt."""
    return lasts(3 * space.n_nodes, rows)


def is_long(space: Space) -> bool:
    """Whether what flows lose must be added up from the start, since a bound of it would be too wide."""
    return space.n_bins + space.n_nodes > _LONG


# --- native -----------------------------------------------------------------------------------------------------------


def _native(work: _Work) -> bool:
    if work.shares:
        return _native_shares(work)
    doubt, _ = _by_kernel(work, _kernel(work), False)
    if not doubt.any():
        return False
    work.wanted.verify()
    return True


def _native_shares(work: _Work) -> bool:
    """Rows divided by their totals, a block of rows at a time."""
    rows, kernel = work.wanted.rows, _kernel(work)
    for at in _blocks(work):
        p, q = rows.p[at], rows.q[at]
        mass = p.sum(axis=1, keepdims=True)
        shares = Batch(casts.frozen(p / mass), casts.frozen(q / q.sum(axis=1, keepdims=True)), (len(p),))
        number, line = (None if x is None else x[at] for x in (work.value, work.grad))
        _by_kernel(work.of(shares, number, line), kernel, False)
        if work.gauge == gauges.NORMALIZED:
            assert line is not None
            with np.errstate(all="ignore"):  # what is beyond the range is said once, of the result
                line[:] = (line - (shares.p * line).sum(axis=1, keepdims=True)) / mass
    return True


def _blocks(work: _Work) -> Iterator[slice]:
    size = max(1, _BLOCK // work.wanted.space.n_bins)
    return (slice(at, at + size) for at in range(0, work.n_rows, size))


# --- compensated ------------------------------------------------------------------------------------------------------


def _compensated(work: _Work) -> bool:
    """All rows, each by the first stage that settles it; True if any was looked at twice."""
    left, doubted = _at_once(work)
    left = again = _closely(work, left)
    left = _carefully(work, left)
    fallback.count(work.n_rows, len(left))
    left = _from_exact_flows(work, left)
    exact_rows.fill(work.wanted, work.value, work.grad, work.gauge, work.shares, left)
    return doubted or len(again) > 0


def _at_once(work: _Work) -> tuple[Numbers, bool]:
    """All rows by the space's kernel: those that it leaves open, and whether input was looked at for its sake."""
    kernel = _kernel(work)
    if kernel is None:
        work.wanted.verify()
        return np.arange(work.n_rows), False
    if work.gauge == gauges.NORMALIZED:
        return _projected(work), True
    doubt, unsafe = _by_kernel(work, kernel, is_long(work.wanted.space))
    doubted = bool(doubt.any())
    if doubted:
        work.wanted.verify()
    return np.flatnonzero(unsafe), doubted


def _projected(work: _Work) -> Numbers:
    """Gauge ``normalized``: r of shares in float64, taken back through the division of p by its total."""
    from emdref.kernels.rows import layers  # here, because few need it

    p, q = batches.as_float64(work.wanted.rows)
    r, made = np.empty(p.shape), np.empty(p.shape)
    raw = work.of(Batch(p, q, (len(p),)), work.value, r)._replace(gauge=gauges.RAW)
    value = None if work.value is None else np.empty(len(p))
    _, unsafe = _by_kernel(raw._replace(value=value), _kernel(raw), True)
    over_rows(layers.backward, (p, casts.frozen(r), made), (layers.L1,), work=120 * p.shape[1])
    exact_rows.put(work.value, slice(None), value)
    exact_rows.put(work.grad, slice(None), made)
    return np.flatnonzero(unsafe | exact_rows.beyond(made))


def _closely(work: _Work, left: Numbers) -> Numbers:
    """Rows by the space's kernel once more, which now adds up what flows lose, unless it has done so."""
    kernel = _kernel(work) if len(left) and work.wanted.space.rooted is not None else None
    if kernel is None or is_long(work.wanted.space):
        return left
    some = _rows(work.wanted.rows, left)
    value = None if work.value is None else np.empty(len(left), work.value.dtype)
    grad = None if work.grad is None else np.empty(some.p.shape, work.grad.dtype)
    _, unsafe = _by_kernel(work.of(some, value, grad), kernel, True)
    exact_rows.put(work.value, left, value)
    exact_rows.put(work.grad, left, grad)
    return left[unsafe]


def _carefully(work: _Work, left: Numbers, exactly: bool = False) -> Numbers:
    """Row by row on a rooted tree, scaled to the middle of the range, and from exact flows if asked."""
    tree = work.wanted.space.rooted if len(left) else None
    if tree is None:
        return left
    step = max(1, _BLOCK // tree.n_nodes)
    blocks = (left[at : at + step] for at in range(0, len(left), step))
    unsafe = np.concatenate([_block_carefully(work, block, exactly) for block in blocks])
    return left[unsafe]


def _from_exact_flows(work: _Work, left: Numbers) -> Numbers:
    """Row by row from flows in long accumulators, which lose nothing."""
    return _carefully(work, left, exactly=True)


def _block_carefully(work: _Work, some: Numbers, exactly: bool) -> NDArray[np.bool_]:
    """Which rows are still unsafe."""
    from emdref.kernels.rows import loops  # here, because few rows need it

    tree, shares = as_rooted(work.wanted.space), work.shares
    p, q, *_ = _rows(work.wanted.rows, some, np.float64)
    cost = tree.crossed_cost(shares)
    flows = exact_rows.flows(p, q, tree, cost, shares) if exactly else np.empty((len(p), 0, 0))
    value, unsafe = np.zeros(len(p)), np.zeros(len(p), bool)
    grad = np.zeros(p.shape if work.grad is not None else (0, tree.n_bins))
    given = loops.GIVEN if exactly else int(shares)
    shared = (tree.parent, cost, tree.bin_node), (work.wanted.rho, given, work.gauge or gauges.RAW)
    over_rows(loops.emd_twolimb, (p, q, value, grad, unsafe, flows), shared, work=_CAREFUL * tree.n_nodes)
    exact_rows.put(work.value, some, value)
    if work.grad is not None:
        exact_rows.put(work.grad, some, grad)
        unsafe |= exact_rows.beyond(work.grad[some])
    return unsafe


# --- kernels ----------------------------------------------------------------------------------------------------------


def _kernel(work: _Work) -> Kernel | None:
    wanted = work.wanted
    return wanted.space.kernel(wanted.rho, wanted.rows.p.dtype, wanted.accuracy, work.shares)


def _by_kernel(work: _Work, kernel: Kernel | None, closely: bool) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Fill value and gradient; which rows to look at again, and which are not settled.

    Of gauge ``normalized`` the gradient is r; where nothing is wanted, the kernels get room for it all the same.
    """
    wanted, rows, bins = work.wanted, work.wanted.rows, work.wanted.space.n_bins
    dtype = rows.p.dtype
    value = np.empty(work.n_rows, dtype) if work.value is None else work.value
    grad = np.empty((0, bins), dtype) if work.grad is None else work.grad
    doubt, unsafe = np.empty(work.n_rows, bool), np.empty(work.n_rows, bool)
    how = options(wanted.space, dtype, wanted.rho, wanted.accuracy, work.gauge, closely, wanted.tolerance)
    if kernel is None:
        generic.natively(rows, wanted.space, how, value, work.grad)
        doubt[:] = True  # nobody has looked at the rows
        return doubt, unsafe
    given, results = (*batches.flat(rows.p), *batches.flat(rows.q)), (value, grad.reshape(-1), doubt, unsafe)
    kernel = kernel.for_rows(work.n_rows)
    over_columns(kernel.loop, work.n_rows, (given, results, kernel.shape, how), work=kernel.work)
    return doubt, unsafe


def options(
    space: Space, dtype: np.dtype[Any], rho: float, accuracy: str, gauge: int | None, closely: bool, tolerance: float
) -> tuple[Any, ...]:
    """The last argument of a kernel's loop, `how`."""
    native, bins = accuracy == "native", space.n_bins
    real = dtype.type if native else float
    centred = gauge in (gauges.ZERO_SUM, gauges.SCALED)
    share = real(centred / bins if native else centred * bins)
    factor = real(bins if gauge == gauges.SCALED else 1)
    exponent = batches.native_exponent(rho, dtype) if native else rho
    return exponent, share, factor, float(np.finfo(dtype).max), closely, tolerance


def _rows(rows: Batch, numbers: Any, dtype: Any = None) -> Batch:
    """Some of the rows, one behind the other."""
    p, q = (casts.frozen(np.ascontiguousarray(x[numbers], dtype)) for x in (rows.p, rows.q))
    return Batch(p, q, (len(p),))
