"""What `sinkhorn` and `certify_sinkhorn` accept, checked before anything is computed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import containers, validation
from emdref.arguments.casts import contiguous, frozen
from emdref.arguments.messages import written
from emdref.arguments.validation import Batch
from emdref.entropic.formats import Format
from emdref.spaces.matrix import Matrix
from emdref.spaces.space import Metric, Space

_FORMATS = ', or with kernel="dense" bfloat16, float16 or tf32'


def rows(p: Any, q: Any, where: Metric, dtype: Any) -> Batch:
    """p and q in `dtype`, which may be a Format, for a space or a matrix."""
    coarsest = None
    if isinstance(dtype, Format):
        return _rounded(p, q, where, dtype)
    if dtype is not None:
        target = validation.float_dtype(dtype, _FORMATS).newbyteorder("=")
        p, q = validation.histogram(p, "p"), validation.histogram(q, "q")
        coarsest = min(p.dtype, q.dtype, target, key=lambda d: d.itemsize)  # totals are compared in its precision
        p, q = validation.converted(p, "p", target), validation.converted(q, "q", target)
    checked = validation.batch(p, q, where.n_bins)
    validation.check_masses(checked, "normalise them yourself", coarsest)
    return checked


def unseen(p: Any, q: Any, where: Metric) -> Batch:
    """The same in their own dtype, if nobody has looked at their entries yet."""
    checked, _ = validation.unseen_batch(p, q, where.n_bins)
    return checked._replace(p=frozen(contiguous(checked.p)), q=frozen(contiguous(checked.q)))


def _rounded(p: Any, q: Any, where: Metric, form: Format) -> Batch:
    """p and q rounded to a format; what was given is checked, totals in the coarser of its two precisions."""
    given = {name: validation.histogram(x, name) for name, x in (("p", p), ("q", q))}
    coarsest = min((x.dtype for x in given.values()), key=lambda d: d.itemsize)
    wide = {name: x.astype(np.float64) for name, x in given.items()}
    checked = validation.batch(wide["p"], wide["q"], where.n_bins)
    validation.check_masses(checked, "normalise them yourself", coarsest)
    full = (*checked.shape, where.n_bins)
    low = {name: validation.rows_of(_stored(x, name, form), full) for name, x in given.items()}
    return checked._replace(p=low["p"], q=low["q"])


def _stored(x: NDArray[Any], name: str, form: Format) -> NDArray[np.float32]:
    """A histogram as a format holds it: finite, and not without mass."""
    with np.errstate(over="ignore", under="ignore"):
        low = form.stored(x.astype(np.float32))
    validation.check_range(x, low, name, form.dtype)
    validation.check_some_mass(low, name, f" in {form.dtype}, which rounds its entries to 0: scale p and q up")
    return low


def emulable(form: Format, where: Metric, kernel: str, domain: str, unrolled: bool) -> None:
    """Refuse a format where frameworks have no product that it stands for."""
    name = f'dtype="{form.dtype}"'
    if domain != "linear":
        raise ValueError(f'{name} is emulated with domain="linear" only: use that, or float32 or float64')
    if kernel == "space" or (kernel == "auto" and where.rooted is not None):
        raise ValueError(
            f'{name} emulates dense products and kernel="{kernel}" would take the space\'s sums: '
            'give kernel="dense", or float32 or float64'
        )
    if unrolled:
        raise ValueError(f"{name} has no derivatives, since rounding has none: unrolled=True needs float32 or float64")


def strength(lam: Any, dtype: Any) -> Any:
    """lam as a scalar of the dtype."""
    number = validation.positive(lam, "lam")
    with np.errstate(over="ignore", under="ignore"):
        scalar = dtype.type(number)
    if not 0 < scalar < np.inf:
        raise ValueError(f"lam = {number} is beyond {dtype}")
    return scalar


def metric(space_or_cost: Any) -> Metric:
    """What was given as a space: a cost matrix, checked, is one without edges."""
    return space_or_cost if isinstance(space_or_cost, Space) else Matrix(matrix(space_or_cost))


def matrix(cost: Any) -> NDArray[Any]:
    """A checked cost matrix in float64, symmetric: of two entries that rounding alone tells apart the larger."""
    if containers.is_sparse(cost):
        raise TypeError("cost is sparse: give cost.toarray(), if what it leaves out costs 0")
    containers.check_matrix_labels(cost, "cost")
    m = validation.read(cost, "cost")
    if m.dtype.kind not in "iuf" or m.dtype == np.float16 or m.dtype.itemsize > 8:
        raise TypeError(f"cost must be a Space or a float32, float64 or integer matrix, not {written(m.dtype)}")
    if m.ndim != 2 or m.shape[0] != m.shape[1] or len(m) == 0:
        raise ValueError(f"cost has shape {written(m.shape)}, expected (N, N)")
    if validation.rounds_in_float64(m):
        raise ValueError("cost holds an integer of 2**53 or more, which float64 would round; give floats")
    slack = _slack(m.dtype, len(m))
    m = m.astype(np.float64)
    finite = np.isfinite(m)
    noise = math.sqrt(slack) * m.max(initial=0, where=finite)
    for bad, rule, way_out in (
        (~finite, "must be finite and >= 0", ""),
        (
            np.diag(np.diag(m) != 0),
            "lies on the diagonal and must be 0",
            "set it to 0, as np.fill_diagonal(cost, 0) does",
        ),
        (m < 0, "must be finite and >= 0", "give np.maximum(cost, 0)"),
    ):
        if bad.any():
            i, j = np.argwhere(bad)[0]
            note = f"; rounding explains that much: {way_out}" if abs(m[i, j]) <= noise else ""
            raise ValueError(f"cost[{i}, {j}] = {m[i, j]} {rule}{note}")
    return m if np.array_equal(m, m.T) else _symmetric(m, slack)


def _slack(dtype: np.dtype[Any], n_bins: int) -> float:
    """How far rounding alone can bring the squares of two distances apart, relative to the largest: 16 eps sqrt(N).

    |x|^2 + |y|^2 - 2 x y is off by a few eps of |x|^2, which among points about the origin is at most the largest
    square, and its root d by that / 2d: so squares tell.  sqrt(N) is for lengths of paths, sums of up to N costs.
    """
    return 16.0 * float(np.finfo(dtype).eps) * math.sqrt(n_bins) if dtype.kind == "f" else 0.0


def _symmetric(m: NDArray[np.float64], slack: float) -> NDArray[np.float64]:
    """The larger of each two entries, which does not depend on their order, if they are no further apart."""
    most = m.max()
    scaled = m / most
    apart = np.abs(scaled - scaled.T) * (scaled + scaled.T)
    i, j = np.unravel_index(np.argmax(apart), m.shape)
    if apart[i, j] > slack:
        explained = slack / (scaled[i, j] + scaled[j, i]) * most
        raise ValueError(
            f"cost[{i}, {j}] = {m[i, j]} differs from its mirror image cost[{j}, {i}] = {m[j, i]} by "
            f"{abs(m[i, j] - m[j, i]):.3g}, where rounding explains {explained:.2g}: cost must be symmetric; "
            "if either will do, give np.maximum(cost, cost.T) or (cost + cost.T) / 2"
        )
    return np.maximum(m, m.T)


def potentials(init: Any, lead: tuple[int, ...], n_bins: int, dtype: Any) -> NDArray[Any]:
    """The caller's log u_0, (rows, N)."""
    arrays = [(validation.read(x, f"init's {name}"), name) for x, name in both_potentials(init)]
    for x, name in arrays:
        check_potential(x.dtype, x.shape, name, lead, n_bins)
        if np.isnan(x).any() or (x == np.inf).any():
            refuse_potential(name)
    full = (*lead, n_bins)
    return np.broadcast_to(arrays[0][0].astype(dtype, copy=False), full).reshape(math.prod(lead), n_bins)


def both_potentials(init: Any) -> tuple[tuple[Any, str], tuple[Any, str]]:
    """The two arrays of `init`, and what errors call them."""
    if not isinstance(init, (tuple, list)) or len(init) != 2:
        raise ValueError("init must be a pair (log_u, log_v)")
    return (init[0], "log_u"), (init[1], "log_v")


def check_potential(
    dtype: np.dtype[Any], shape: tuple[int, ...], name: str, lead: tuple[int, ...], n_bins: int
) -> None:
    """Refuse what holds no real numbers, or not an entry a bin."""
    if dtype.kind not in "iuf":
        raise TypeError(f"init's {name} must hold real numbers, not {written(dtype)}")
    if shape not in ((*lead, n_bins), (n_bins,)):
        raise ValueError(f"init's {name} has shape {written(shape)}, expected {written((*lead, n_bins))}")


def refuse_potential(name: str) -> None:
    """Say that there is NaN or inf."""
    raise ValueError(f"init's {name} must be finite or -inf")


def iterations(checkpoints: Any, max_iter: int) -> tuple[int, ...]:
    if checkpoints is None:
        return ()
    stops = tuple(sorted({validation.count(k, "checkpoints") for k in validation.iterable(checkpoints, "checkpoints")}))
    if stops and stops[-1] > max_iter:
        raise ValueError(f"checkpoints holds {written(stops[-1])}, beyond max_iter = {max_iter}")
    return stops
