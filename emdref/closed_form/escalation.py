"""Value and gradient of rows: by the tile kernels if they can, more carefully where they say so, exactly where nothing
else will do."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref import fallback
from emdref.arguments import gauges, validation
from emdref.arguments.validation import Batch
from emdref.closed_form import batches, exact_rows, tiled
from emdref.kernels.compile.threads import over_rows
from emdref.kernels.rows import loops
from emdref.spaces.space import Space

SEEN = -1.0  # a tolerance that says that the rows are valid
_BLOCK = 2**20  # entries of p that are normalised at a time
_CAREFUL = 150  # nanoseconds a node takes that is looked at more closely


class Wanted(NamedTuple):
    """Rows, and what to compute of them."""

    rows: Batch
    space: Space
    rho: float
    mass: str
    accuracy: str
    tolerance: float  # of totals, for the kernel's first look; negative if the rows have been looked at
    verify: "Callable[[], None]"  # what to do if that finds something


def value_and_grad(
    rows: Batch, space: Space, rho: float, mass: str, accuracy: str, gauge: int
) -> "tuple[NDArray[Any], NDArray[Any]]":
    """Both for valid rows, in the rows' dtype, without a warning."""
    value, grad = np.empty(len(rows.p), rows.p.dtype), np.empty(rows.p.shape, rows.p.dtype)
    fill(Wanted(rows, space, rho, mass, accuracy, SEEN, lambda: None), value, grad, gauge)
    return value, grad


def values(rows: Batch, space: Space, rho: float, mass: str, accuracy: str) -> NDArray[Any]:
    """The values alone."""
    value = np.empty(len(rows.p), rows.p.dtype)
    fill(Wanted(rows, space, rho, mass, accuracy, SEEN, lambda: None), value, None, None)
    return value


def fill(wanted: Wanted, value: "NDArray[Any] | None", grad: "NDArray[Any] | None", gauge: "int | None") -> bool:
    """Fill what is not None; True where a result may be beyond the dtype."""
    kernel = _native if wanted.accuracy == "native" else _compensated
    apart = value is not None and gauge == gauges.NORMALIZED and wanted.mass != "normalize"
    beyond = kernel(wanted, None if apart else value, grad, gauge)
    return kernel(wanted, value, None, None) or beyond if apart else beyond


def _normalizes(wanted: Wanted, gauge: "int | None") -> bool:
    return wanted.mass == "normalize" or gauge == gauges.NORMALIZED


def _options(wanted: Wanted, value, grad, gauge):
    """What the tile kernels are told of any gauge but ``normalized``, of which they give r."""
    rows, bins = wanted.rows, wanted.space.n_bins
    value = np.empty(len(rows.p), rows.p.dtype) if value is None else value
    grad = np.empty((0, bins), rows.p.dtype) if grad is None else grad
    centred = gauge in (gauges.ZERO_SUM, gauges.SCALED)
    return wanted.rho, centred, bins if gauge == gauges.SCALED else 1, wanted.tolerance, value, grad


def _native(wanted: Wanted, value, grad, gauge) -> bool:
    if _normalizes(wanted, gauge):
        return _native_normalized(wanted, value, grad, gauge)
    doubt = tiled.native(wanted.rows, wanted.space, False, *_options(wanted, value, grad, gauge))
    if not doubt.any():
        return False
    wanted.verify()
    return True


def _native_normalized(wanted: Wanted, value, grad, gauge) -> bool:
    """The same for rows divided by their totals, a block of rows at a time."""
    rows, space = wanted.rows, wanted.space
    for at in _blocks(rows):
        p, q = rows.p[at], rows.q[at]
        mass = p.sum(axis=1, keepdims=True)
        shares = Batch(validation.frozen(p / mass), validation.frozen(q / q.sum(axis=1, keepdims=True)), (len(p),))
        number, line = (None if x is None else x[at] for x in (value, grad))
        tiled.native(shares, space, True, *_options(wanted._replace(rows=shares), number, line, gauge))
        if gauge == gauges.NORMALIZED:
            with np.errstate(all="ignore"):  # what is beyond the range is said once, of the result
                line[:] = (line - (shares.p * line).sum(axis=1, keepdims=True)) / mass
    return True


def _blocks(rows: Batch) -> "Iterator[slice]":
    size = max(1, _BLOCK // rows.p.shape[1])
    return (slice(at, at + size) for at in range(0, len(rows.p), size))


def _compensated(wanted: Wanted, value, grad, gauge) -> bool:
    rows, space, normalize = wanted.rows, wanted.space, _normalizes(wanted, gauge)
    unsafe, looked = np.ones(len(rows.p), bool), False
    if normalize or not tiled.fits(space, wanted.rho):
        wanted.verify()
    else:
        closely = tiled.is_long(space)
        doubt, unsafe = tiled.compensated(rows, space, closely, *_options(wanted, value, grad, gauge))
        looked = bool(doubt.any())
        if looked:
            wanted.verify()
        if not closely and unsafe.any():
            unsafe[unsafe] = _closely(wanted, np.flatnonzero(unsafe), value, grad, gauge)
    again = np.flatnonzero(unsafe)
    if len(again):
        unsafe[again] = careful(wanted, again, normalize, value, grad, gauge)
    open_ = fallback.counted(unsafe)
    if len(open_):
        unsafe[open_] = careful(wanted, open_, normalize, value, grad, gauge, exactly=True)
    for i in np.flatnonzero(unsafe).tolist():
        p, q = batches.widened(rows.p[i]), batches.widened(rows.q[i])
        number, line = exact_rows.emd(p, q, space, wanted.rho, normalize, gauges.name(gauge))
        _put(value, i, np.float64(number))
        _put(grad, i, np.array(line))
    return looked or len(again) > 0


def _closely(wanted: Wanted, again, value, grad, gauge) -> NDArray[np.bool_]:
    """Rows by number, by the same kernel at its closest; returns which of them are still unsafe."""
    some = _rows(wanted.rows, again)
    numbers = None if value is None else np.empty(len(again), value.dtype)
    lines = None if grad is None else np.empty(some.p.shape, grad.dtype)
    options = _options(wanted._replace(rows=some), numbers, lines, gauge)
    _, unsafe = tiled.compensated(some, wanted.space, True, *options)
    _put(value, again, numbers)
    _put(grad, again, lines)
    return unsafe


def _rows(rows: Batch, numbers: Any, dtype: Any = None) -> Batch:
    """Some of the rows, one behind the other."""
    p, q = (validation.frozen(np.ascontiguousarray(x[numbers], dtype)) for x in (rows.p, rows.q))
    return Batch(p, q, (len(p),))


def careful(wanted: Wanted, again, normalize, value, grad, gauge, exactly=False) -> NDArray[np.bool_]:
    """Rows by number, by the kernel that looks closer, from exact flows if asked; returns which are still unsafe."""
    step = max(1, _BLOCK // wanted.space.n_nodes)
    blocks = (again[at : at + step] for at in range(0, len(again), step))
    return np.concatenate([_careful(wanted, block, normalize, value, grad, gauge, exactly) for block in blocks])


def _careful(wanted: Wanted, again, normalize, value, grad, gauge, exactly) -> NDArray[np.bool_]:
    space = wanted.space
    p, q, *_ = _rows(wanted.rows, again, np.float64)
    layout, cost = space._layout, tiled.costs(space, normalize)
    flows = exact_rows.flows(p, q, space, cost, normalize) if exactly else np.empty((len(p), 0, 0))
    numbers, unsafe = np.zeros(len(p)), np.zeros(len(p), bool)
    lines = np.zeros(p.shape if grad is not None else (0, space.n_bins))
    shared = (layout.parent, cost, layout.bin_node, wanted.rho, loops.GIVEN if exactly else int(normalize), gauge or 0)
    over_rows(loops.emd_twolimb, (p, q, numbers, lines, unsafe, flows), shared, work=_CAREFUL * space.n_nodes)
    _put(value, again, numbers)
    if grad is not None:
        _put(grad, again, lines)
        unsafe |= exact_rows.beyond(grad[again])
    return unsafe


def _put(result: "NDArray[Any] | None", at: Any, numbers: Any) -> None:
    """Write results in the caller's dtype."""
    if result is not None:
        result[at] = batches.narrowed(numbers, result.dtype)
