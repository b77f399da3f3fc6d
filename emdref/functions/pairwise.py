"""EMD between all pairs of rows, in blocks: the subtree sums of a row are formed once a block, not once a pair."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emdref.arguments import casts, containers, devices, libraries, validation
from emdref.arguments.messages import written
from emdref.arguments.validation import Accuracy, Batch, Mass
from emdref.closed_form import sparse_emd, sparse_rows
from emdref.closed_form.escalation import values
from emdref.closed_form.sparse_emd import Side
from emdref.closed_form.sparse_rows import Rows
from emdref.kernels.compile.threads import over_rows, thread_count
from emdref.kernels.trees import all_pairs, heavy_paths, metric
from emdref.kernels.trees import spanned as spans
from emdref.spaces.space import Space, as_rooted, check_space

_SIDE = 256  # rows of a block at most: its sums and values take 4 MB of scratch memory a thread
_BAND = 2**20  # pairs that are computed before they are put into the result
_BYTES = 2**22  # of rows that are gathered to be computed pair by pair
_RANGE = 900  # totals beyond 2**900, or below 2**-900: each pair needs a scale of its own
_DENSE = 2**26  # bytes of sparse rows that are made dense at once, on the bins that they span
_PAIR_NODE = {
    all_pairs.PLAIN: 0.4,
    all_pairs.FIRST: 0.6,
    all_pairs.SECOND: 1.0,
    all_pairs.THIRD: 6.0,
    all_pairs.FOURTH: 6.0,
}
_ROW_NODE, _PAIR_TIP = 20.0, sparse_emd.TIP  # nanoseconds a node of a pair, of a row, and a tip of a sparse pair take
_U2 = 2.0**-106


class _Rows(NamedTuple):
    """Valid rows of X and Y; `mirror` if Y is X."""

    x: NDArray[Any]
    y: NDArray[Any]
    mirror: bool
    home: libraries.Home | None = None


def _count(out: NDArray[Any], mirror: bool) -> int:
    """How many pairs are computed."""
    return len(out) * (len(out) - 1) // 2 if mirror else out.size


def pairwise(
    X: ArrayLike,
    space: Space,
    *refused: Any,
    Y: ArrayLike | None = None,
    rho: float = 1,
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
    progress: bool = False,
) -> Any:
    r"""Earth Mover's Distance between all rows of X and all rows of Y, or among the rows of X.

    .. math:: D_{ij} = \mathrm{EMD}^\rho(X_i, Y_j) = \sum_e M_e \, |P_{ie} - Q_{je}|^\rho

    P_ie and Q_je are the masses of row i of X and of row j of Y below edge e: Eqs. (10) and (13) of arXiv 1611.07573.
    The sums of a row are shared by all pairs of a block, so that a pair costs one pass over the edges, with many pairs
    side by side.  For rho = 1 and p and q normalised, this is what ecologists call weighted unnormalised UniFrac.

    Parameters
    ----------
    X : (n, N) array or scipy.sparse matrix, float32 or float64 (integers below 2**53 count as float64)
        Histograms, a row each, >= 0.
    space : Space
        Where the bins are, as in `emd`.
    Y : (m, N) array or sparse matrix of X's dtype, optional
        Without it, X is compared with itself: pairs i < j are computed and mirrored, and the diagonal is exactly 0, as
        nothing flows between equal histograms.
    rho : float
        Finite and >= 1.  Other than 1, 2, 3 and 4, compensated, each pair goes through `emd` by itself.
    mass : {"raise", "normalize", "ignore"}
        As in `emd`; ``raise`` compares every total with every other.
    accuracy : {"compensated", "native"}
        ``compensated``: entry i, j is the float that ``emd(X[i], Y[j], space, rho)`` returns, bit for bit (i < j if X
        is compared with itself).  Sums and differences are taken in two limbs; the few pairs whose rounding these leave
        open go through `emd`.  ``native``: plain float64 arithmetic whatever the dtype.  Sums are rounded before they
        are subtracted, and the result is rounded to the dtype.  `emd` in ``native`` does something else: it subtracts
        first and sums in the inputs' dtype.  Here errors are a few float64 eps of the *masses* below an edge, also
        where the flow is much smaller.
    progress : bool
        Show a progress bar.

    Returns
    -------
    (n, m) array of X's dtype and kind, on the host
        (n, n) and symmetric without Y.

    Raises
    ------
    TypeError, ValueError
        As `emd`: the message names the argument, the row or the two rows, the bin and the amount.

    Warns
    -----
    RuntimeWarning
        Once, if an entry is beyond the dtype's range (it is inf then).

    Notes
    -----
    Beyond the result and the checks of the input, it takes about 6 MB of scratch memory a thread and 8 MB for results,
    whatever the number of rows, and ``O(V)`` for the space.  Blocks are dealt to threads; no entry depends on their
    number.

    If X or Y is sparse, a block of rows is computed on the subtree that its bins span, or pair by pair as in `emd`,
    whichever is estimated to be less work; that takes up to 64 MB, unless a row has more than 8000 bins.  For a rho
    other than 1, 2, 3 and 4, entries then may differ from those of dense rows by an ulp or two.

    Examples
    --------
    >>> import emdref
    >>> emdref.pairwise([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], emdref.Chain(3))
    array([[0. , 0.5, 2. ],
           [0.5, 0. , 1.5],
           [2. , 1.5, 0. ]])
    """
    if refused:
        raise TypeError(
            "pairwise takes X and space by position alone: give Y=... for other rows, rho=... for an exponent"
        )
    return of_all_pairs(X, space, Y, rho=rho, mass=mass, accuracy=accuracy, progress=progress)


def of_all_pairs(
    X: Any, space: Any, Y: Any = None, *, rho: float, mass: Mass, accuracy: Accuracy, progress: bool
) -> Any:
    """What `pairwise` returns; whoever called the caller is warned."""
    rho = validation.exponent(rho)
    progress = validation.switch(progress, "progress")
    if (containers.is_sparse(X) or containers.is_sparse(Y)) and getattr(space, "rooted", None) is not None:
        return _of_sparse(X, Y, space, rho, mass, accuracy, progress)
    rows = _checked(X, Y, space, mass, accuracy)
    out = _unknown(rows.x, rows.y, rows.x.dtype)
    if rows.mirror:
        np.fill_diagonal(out, 0.0)
    with _bar(_count(out, rows.mirror) if progress else 0) as done:
        _in_blocks(rows, out, space, rho, mass, accuracy, done)
        if accuracy == "compensated" or space.rooted is None:
            _one_by_one(rows, out, space, rho, mass, accuracy, done)
    _warn(out)
    return libraries.taken(out, rows.home)


def _unknown(x: Any, y: Any, dtype: Any) -> NDArray[Any]:
    """NaN for each pair of rows, line by line, for a large array takes seconds at once."""
    out = np.empty((len(x), len(y)), dtype)
    for line in out:
        line.fill(np.nan)
    return out


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Any]:
    """Yields what to call with the number of pairs done since the last call."""
    if not total:
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="pair", unit_scale=True) as bar:
        yield bar.update


# --- input ------------------------------------------------------------------------------------------------------------


def _checked(X: Any, Y: Any, space: Any, mass: str, accuracy: str) -> _Rows:
    devices.stay(None, X=X, Y=Y)
    validation.option(mass, "mass", Mass)
    validation.option(accuracy, "accuracy", Accuracy)
    check_space(space)
    given = {"X": X} if Y is None else {"X": X, "Y": Y}
    containers.check_labels(given, space)
    arrays = {name: validation.histogram(x, name) for name, x in given.items()}
    home = libraries.home(given)
    validation.same_dtype(arrays, given)
    for name, x in arrays.items():
        if x.ndim != 2 or x.shape[1] != space.n_bins:
            raise ValueError(
                f"{name} has shape {written(x.shape)}, it must be (rows, {space.n_bins}): the space's bins"
            )
    for name, x in arrays.items():
        validation.check_histograms(x, name)
    if mass == "raise":
        _check_masses(arrays)
    if mass == "normalize" and accuracy == "native":
        for name, x in arrays.items():
            _check_totals(x, name)
    x, *y = (validation.rows_of(x, x.shape) for x in arrays.values())
    return _Rows(x, y[0] if y else x, not y, home)


def _totals(x: NDArray[Any], exponent: int = 0) -> NDArray[np.float64]:
    """Sums of rows times 2**exponent, a block of rows at a time."""
    sums, step = np.empty(len(x)), max(1, _BYTES // (8 * x.shape[1]))
    for i in range(0, len(x), step):
        block = x[i : i + step]
        with np.errstate(over="ignore", under="ignore"):
            sums[i : i + step] = (np.ldexp(block, exponent) if exponent else block).sum(axis=1, dtype=np.float64)
    return sums


def _check_masses(arrays: dict[str, Any], sums: Callable[..., NDArray[np.float64]] = _totals) -> None:
    """Raise where any two totals differ by more than rounding explains: then the extreme ones do."""
    first, *_, last = [*arrays, *arrays]
    totals, note = {name: sums(x) for name, x in arrays.items()}, ""
    if any(np.isinf(s).any() for s in totals.values()):
        totals, note = (
            {name: sums(x, -64) for name, x in arrays.items()},
            "these are 2**-64 of totals, which overflow; ",
        )
    if not all(map(len, totals.values())):
        return
    tolerance = validation.mass_tolerance(arrays[first].dtype, arrays[first].shape[1])
    for pick, other in ((np.argmax, np.argmin), (np.argmin, np.argmax)):
        i, j = int(pick(totals[first])), int(other(totals[last]))
        sparse_emd.apart(totals[first][i], totals[last][j], tolerance, (f"{first}[{i}]", f"{last}[{j}]"), note)


def _check_totals(x: NDArray[Any], name: str) -> None:
    beyond = np.isinf(_totals(x))
    if beyond.any():
        raise ValueError(f'the total of {name}[{np.argmax(beyond)}] is beyond float64: use accuracy="compensated"')


# --- blocks -----------------------------------------------------------------------------------------------------------


def _in_blocks(rows: _Rows, out: Any, space: Space, rho: float, mass: str, accuracy: str, done: Any) -> None:
    """Fill in what the block kernels can settle; NaN stays in the other entries."""
    normalize = mass == "normalize"
    if space.rooted is None:
        return
    kind = _kind(rho, accuracy)
    frame = _frame(space, normalize)
    if not frame.cost.any() or not _count(out, rows.mirror):
        out[:] = 0.0
        return
    if kind is None:
        return
    scales = _scales(rows, normalize, kind)
    if scales is not None:
        _deal(rows, out, frame, scales, rho, kind, done)


def _deal(rows: _Rows, out: Any, frame: _Frame, scales: Any, rho: float, kind: int, done: Any = None) -> None:
    """Deal blocks of pairs to threads."""
    fx, fy, shift = scales
    tree, top = _tree(frame, rho, kind)
    exponent = 0 if kind == all_pairs.PLAIN else top + int(rho) * shift
    n, m = len(rows.x), len(rows.y)
    side = _side(n, m, len(frame.up))
    tasks, height = _tasks(n, m, rows.mirror, side), side * max(1, _BAND // (side * m))
    shared = (rows.x, fx), (rows.y, fy), tree, (rho, kind, exponent, rows.mirror), side
    for top in range(0, n, height):
        band = np.zeros((min(height, n - top), m))  # what no task fills is cast as well
        group = tasks[(tasks[:, 0] >= top) & (tasks[:, 0] < top + height)]
        work = _PAIR_NODE[kind] * len(frame.up) * side * side
        over_rows(all_pairs.all_pairs, (group,), (top, band, *shared), work=work)
        for task in group.tolist():
            _place(band, top, out, task, rows.mirror)
            if done:
                done(_pairs_of(task, rows.mirror))


def _place(band: NDArray[np.float64], top: int, out: NDArray[Any], task: list[int], mirror: bool) -> None:
    """Results of a task in the caller's dtype, and with `mirror` in both places."""
    i0, i1, j0, j1 = task
    block = casts.narrowed(band[i0 - top : i1 - top, j0:j1], out.dtype)
    if not mirror:
        out[i0:i1, j0:j1] = block
    elif i0 < j0:
        out[i0:i1, j0:j1], out[j0:j1, i0:i1] = block, block.T
    else:
        i, j = np.triu_indices(i1 - i0, 1)
        out[i0 + i, i0 + j] = out[i0 + j, i0 + i] = block[i, j]


def _kind(rho: float, accuracy: str) -> int | None:
    """Which loops compute it, None if none do."""
    if accuracy == "native":
        return all_pairs.PLAIN
    kinds: dict[float, int] = {1: all_pairs.FIRST, 2: all_pairs.SECOND, 3: all_pairs.THIRD, 4: all_pairs.FOURTH}
    return kinds.get(rho)


def _scales(rows: _Rows, normalize: bool, kind: int) -> tuple[Any, Any, int] | None:
    """For each row of X and of Y a power of two for its masses and a factor for its sums, which then are at most 1;
    and the exponent by which the results must be scaled back.  None if the range of the totals is too wide."""
    both = [rows.x] if rows.mirror else [rows.x, rows.y]
    factors = [np.ones((3, len(x))) for x in both]
    for f in factors:
        f[2] = 0.0
    shift = 0
    if kind != all_pairs.PLAIN:
        exponents = [np.frexp(_totals(x))[1] for x in both]
        if not all(
            np.isfinite(_totals(x)).all() and (abs(e) < _RANGE).all() for x, e in zip(both, exponents, strict=True)
        ):
            return None
        shift = 0 if normalize else max(int(e.max()) for e in exponents)
        for f, e in zip(factors, exponents, strict=True):
            f[0] = np.ldexp(1.0, -e if normalize else -shift)
    if normalize:
        for x, f in zip(both, factors, strict=True):
            _normalizers(x, f)
    frozen = list(map(casts.frozen, factors))
    return frozen[0], frozen[-1], shift


def _normalizers(x: NDArray[Any], f: NDArray[np.float64]) -> None:
    """Rows 1 and 2 of f: the limbs of 1 over each row's total."""
    h, l = np.empty(len(x)), np.empty(len(x))
    over_rows(all_pairs.totals, (x, f[0], h, l), work=5 * x.shape[1])
    all_pairs.reciprocals(h, l, f[1], f[2])


class _Frame(NamedTuple):
    """A space, or the part of it that some bins span, in the order of emdref.kernels.trees.heavy_paths."""

    up: NDArray[np.int64]
    level: NDArray[np.int64]
    column: NDArray[np.int64]  # of a node's bin in the rows, -1 for none
    cost: NDArray[np.float64]  # (2, V): limbs; 0 where nothing flows
    lost: NDArray[np.float64]  # what two limbs may lose of a sum of masses at or below a node, relative to it
    nodes: int  # of the space


def _frame(space: Space, normalize: bool) -> _Frame:
    """The whole space."""
    tree = as_rooted(space)
    paths = tree.heavy_paths
    cost = tree.cost_between(1, space.n_bins - normalize)[paths.order]
    lost = _lost(tree.parent, tree.bins_below, normalize)[paths.order]
    return _Frame(paths.up, paths.level, tree.column, np.stack([cost, np.zeros_like(cost)]), lost, space.n_nodes)


def _lost(parent: NDArray[np.int64], bins_below: NDArray[np.int64], normalize: bool) -> NDArray[Any]:
    """What two limbs may lose of a sum of masses at or below a node, here and in `emd`, relative to it.

    Each of n additions rounds a low limb of at most n 2**-53: 2 n**2 2**-106 here and, with twice the additions,
    4 n**2 2**-106 there.  Normalising, a total's error comes into every sum.
    """
    if normalize:
        return np.full(len(parent), 64.0 * _U2 * (bins_below[0] + len(parent) + 16.0) ** 2)
    below = np.empty(len(parent), np.int64)
    metric.bins_below(casts.frozen(np.arange(len(parent))), casts.frozen(parent), below)
    return 8.0 * _U2 * (bins_below + below + 16.0) ** 2


def _tree(frame: _Frame, rho: float, kind: int) -> tuple[tuple[Any, ...], int]:
    """What the kernels take of a frame: costs in units of a power of two, or their roots; and that power's exponent."""
    top = 0 if kind == all_pairs.PLAIN else math.frexp(frame.cost.max())[1]
    cost = weight = np.ldexp(frame.cost, -top)
    if kind == all_pairs.SECOND:
        weight = np.empty_like(cost)
        all_pairs.roots(cost, weight)
    loss = np.ones(len(frame.up)) if kind == all_pairs.PLAIN else rho * 2.0 ** (rho - 1) * frame.lost
    return (frame.up, frame.level, *map(casts.frozen, (frame.column, weight, loss)), frame.nodes), top


def _side(n: int, m: int, nodes: int) -> int:
    """Rows of a block: many share more work, few give every thread its part."""
    count = thread_count(max(n, m), n * m * nodes)
    return max(1, min(_SIDE, math.ceil(max(n, m) / math.isqrt(4 * count + 1)) if count > 1 else max(n, m)))


def _tasks(n: int, m: int, mirror: bool, side: int) -> NDArray[np.int64]:
    """Pairs of blocks, (first i, last i, first j, last j) each."""
    i, j = np.meshgrid(np.arange(0, n, side), np.arange(0, m, side), indexing="ij")
    wanted = (i <= j) | (not mirror)
    i, j = i[wanted], j[wanted]
    return np.stack([i, np.minimum(i + side, n), j, np.minimum(j + side, m)], axis=1)


def _pairs_of(task: list[int], mirror: bool) -> int:
    i0, i1, j0, j1 = task
    size = i1 - i0
    return size * (size - 1) // 2 if mirror and i0 == j0 else size * (j1 - j0)


# --- pair by pair -----------------------------------------------------------------------------------------------------


def _one_by_one(rows: _Rows, out: Any, space: Space, rho: float, mass: str, accuracy: str, done: Any) -> None:
    """Entries that are NaN, as `emd` computes them."""
    step = max(1, _BYTES // (16 * space.n_bins))
    for i, j in _open(rows, out, step):
        p, q = rows.x[i], rows.y[j]
        value = np.zeros(len(i), out.dtype)
        differ = (p != q).any(axis=1)
        if differ.any():
            batch = Batch(casts.frozen(p[differ]), casts.frozen(q[differ]), (int(differ.sum()),))
            value[differ] = values(batch, space, rho, mass, accuracy)
        out[i, j] = value
        if rows.mirror:
            out[j, i] = value
        if done and (space.rooted is None or _kind(rho, accuracy) is None):
            done(len(i))


def _open(rows: _Rows, out: NDArray[Any], step: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Indices of entries that are NaN (above the diagonal, with `mirror`), up to `step` at a time."""
    found: list[tuple[int, int]] = []
    for i in range(len(out)):
        start = (i + 1) * rows.mirror
        found += [(i, j) for j in (np.flatnonzero(np.isnan(out[i, start:])) + start).tolist()]
        while len(found) >= step or (found and i == len(out) - 1):
            block, found = np.array(found[:step]), found[step:]
            yield block[:, 0], block[:, 1]


# --- sparse rows ------------------------------------------------------------------------------------------------------


def _of_sparse(X: Any, Y: Any, space: Any, rho: float, mass: str, accuracy: str, progress: bool) -> NDArray[Any]:
    raw = {"X": X} if Y is None else {"X": X, "Y": Y}
    given = sparse_rows.checked(raw, space, mass, accuracy)
    validation.same_dtype(given, raw)
    for name, rows in given.items():
        if rows.ndim != 2:
            raise ValueError(
                f"{name} has shape {written(rows.shape)}, it must be (rows, {space.n_bins}): the space's bins"
            )
    if mass == "raise":
        _check_masses(given, Rows.totals)
    sides = [sparse_emd.prepared(rows, mass) for rows in given.values()]
    x, y, mirror = sides[0], sides[-1], Y is None
    out = _unknown(x.rows, y.rows, x.rows.dtype)
    with _bar(_count(out, mirror) if progress else 0) as done:
        for i0, i1, j0, j1 in _tasks(len(x.rows), len(y.rows), mirror, _sparse_side(x.rows, y.rows)).tolist():
            _block(x, y, out, (i0, i1, j0, j1), mirror, space, rho, mass, accuracy)
            if done:
                done(_pairs_of([i0, i1, j0, j1], mirror))
    if mirror:
        np.fill_diagonal(out, 0.0)
    _warn(out, stacklevel=5)
    return out


def _sparse_side(*sides: Rows) -> int:
    """Rows of a block, such that they take at most _DENSE bytes on the bins that they span if they share none."""
    most = max((len(rows.mass) / len(rows) for rows in sides if len(rows)), default=1.0)
    return max(16, min(_SIDE, int(math.sqrt(_DENSE / (32.0 * most)))))


def _block(
    x: Side, y: Side, out: Any, task: Any, mirror: bool, space: Space, rho: float, mass: str, accuracy: str
) -> None:
    """One block of pairs: on the subtree that all its rows span, or pair by pair, whichever is less work."""
    i0, i1, j0, j1 = task
    own = mirror and i0 == j0
    block = out[i0:i1, j0:j1]
    kind = _kind(rho, accuracy)
    if (
        kind is not None
        and x.in_range
        and y.in_range
        and sparse_emd.in_range(space)
        and as_rooted(space).depths[1] == 0.0
    ):
        _on_span(x, y, block, task, own, space, rho, mass == "normalize", kind)
    i, j = np.nonzero(np.isnan(block))
    i, j = (i[i < j], j[i < j]) if own else (i, j)
    if len(i):
        block[i, j] = sparse_emd.computed(x, y, i + i0, j + j0, space, rho, mass, accuracy, values)
    if own:
        block[j, i] = block[i, j]
    elif mirror:
        out[j0:j1, i0:i1] = block.T


def _on_span(
    x: Side, y: Side, block: Any, task: Any, own: bool, space: Space, rho: float, normalize: bool, kind: int
) -> None:
    """The pairs of a block on the subtree that its bins span, if that is less work than each pair's own subtree."""
    i0, i1, j0, j1 = task
    a, b = x.rows.between(i0, i1), y.rows.between(j0, j1)
    places = np.unique(a.place if own else np.concatenate([a.place, b.place]))
    tips = len(a.mass) / len(a) + len(b.mass) / len(b)
    if 2 * len(places) * (_PAIR_NODE[kind] + _ROW_NODE * (1 / len(a) + 1 / len(b))) > _PAIR_TIP * tips:
        return
    frame = _span(space, places, normalize)
    if not frame.cost.any():
        return
    left = a.on(places)
    rows = _Rows(left, left if own else b.on(places), own)
    shift = 0
    fx, fy = x.factors[:, i0:i1].copy(), y.factors[:, j0:j1].copy()
    if kind != all_pairs.PLAIN and not normalize:
        shift = int(np.frexp(max(a.totals().max(), b.totals().max()))[1])
        fx[0] = fy[0] = np.ldexp(1.0, -shift)
    _deal(rows, block, frame, (casts.frozen(fx), casts.frozen(fy), shift), rho, kind)


def _span(space: Space, places: NDArray[np.int64], normalize: bool) -> _Frame:
    """The root, bins at these places in depth-first order, all lowest common ancestors, and the costs between."""
    path, depth = as_rooted(space).heavy_paths.path, as_rooted(space).depths[0]
    between = np.empty(len(places) - 1, np.int64)
    spans.meetings(places[:-1], places[1:], path, between)
    nodes = np.unique(np.concatenate([[0], places, between]))
    above = np.zeros(len(nodes), np.int64)
    spans.meetings(nodes[:-1], nodes[1:], path, above[1:])  # neighbours meet in the latter's parent
    parent = casts.frozen(np.searchsorted(nodes, above))
    cost = np.empty((2, len(nodes)))
    spans.run_costs(nodes, above, depth, cost)
    column = np.full(len(nodes), -1)
    at = casts.frozen(np.searchsorted(nodes, places))
    column[at] = np.arange(len(places))
    label, level, head = (np.empty(len(nodes), np.int64) for _ in range(3))
    heavy_paths.depth_first(parent, label, level, head)
    order = np.argsort(label)
    bins_below = np.empty(len(nodes), np.int64)
    metric.bins_below(at, parent, bins_below)
    lost = _lost(parent, bins_below, normalize)
    return _Frame(
        casts.frozen(label[parent[order]]),
        casts.frozen(level[order]),
        column[order],
        np.ascontiguousarray(cost[:, order]),
        lost[order],
        space.n_nodes,
    )


def _warn(out: NDArray[Any], stacklevel: int = 4) -> None:
    """Say once, at the caller of `pairwise`, that entries are beyond the dtype's range."""
    for i, line in enumerate(out):
        good = np.isfinite(line)
        if not good.all():
            warnings.warn(
                f"entries of the result are beyond the range of {out.dtype}, the first {line[np.argmin(good)]} at "
                f"[{i}, {np.argmin(good)}]; scale the costs or the masses down",
                RuntimeWarning,
                stacklevel=stacklevel,
            )
            return
