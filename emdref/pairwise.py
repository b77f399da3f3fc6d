"""EMD between all pairs of rows, in blocks: the subtree sums of a row are formed once a block, not once a pair."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emdref import inputs, pairs
from emdref.emd import _evaluate
from emdref.inputs import Accuracy, Batch, Mass
from emdref.kernels import allpairs, metric
from emdref.kernels.threads import over_rows, processors
from emdref.spaces import Space

_SIDE = 256  # rows of a block at most: its sums and values take 4 MB of scratch memory a thread
_BYTES = 2**22  # of rows that are gathered to be computed pair by pair
_RANGE = 900  # totals beyond 2**900, or below 2**-900: each pair needs a scale of its own
_U2 = 2.0**-106


class _Rows(NamedTuple):
    """Valid rows of X and Y; `mirror` if Y is X."""

    x: NDArray[Any]
    y: NDArray[Any]
    mirror: bool

    def count(self) -> int:
        """How many pairs are computed."""
        n = len(self.x)
        return n * (n - 1) // 2 if self.mirror else n * len(self.y)


def pairwise(
    X: ArrayLike,
    space: Space,
    Y: ArrayLike | None = None,
    rho: float = 1,
    *,
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
    progress: bool = False,
) -> NDArray[Any]:
    """Earth Mover's Distance between all rows of X and all rows of Y, or among the rows of X.

    The subtree sums P_i[v] of a row are shared by all pairs of a block, so that a pair costs one pass over
    sum_v M_v |P_i[v] - P_j[v]|^rho, Eqs. (10) and (13) of arXiv 1611.07573, with many pairs side by side.  For rho = 1
    and p and q normalised, this is what ecologists call weighted unnormalised UniFrac.

    Parameters
    ----------
    X : (n, N) array, float32 or float64 (integers below 2**53 count as float64)
        Histograms, a row each, >= 0.
    space : Chain or Tree
    Y : (m, N) array of X's dtype, optional
        Without it, X is compared with itself: pairs i < j are computed and mirrored, and the diagonal is exactly 0, as
        nothing flows between equal histograms.
    rho : float
        Finite and >= 1.  Other than 1, 2, 3 and 4, compensated, each pair goes through `emd` by itself.
    mass : {"raise", "normalize", "ignore"}
        As in `emd`; ``raise`` compares every total with every other.
    accuracy : {"compensated", "native"}
        ``compensated``: entry i, j is the float that ``emd(X[i], Y[j], space, rho)`` returns, bit for bit (i < j if X is
        compared with itself).  Sums and differences are taken in two limbs; the few pairs whose rounding these leave
        open go through `emd`.  ``native``: plain float64 arithmetic whatever the dtype, sums rounded before they are
        subtracted, the result rounded to the dtype.  That is not what `emd` does in ``native``, which subtracts first
        and sums in the inputs' dtype: here errors are a few float64 eps of the *masses* below an edge, also where the
        flow is much smaller.
    progress : bool
        Show a progress bar.

    Returns
    -------
    (n, m) array of X's dtype; (n, n) and symmetric without Y.

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
    Beyond the result and the checks of the input, about 4 MB of scratch memory a thread, whatever the number of rows
    and of nodes.  Blocks are dealt to threads; no entry depends on their number.

    Examples
    --------
    >>> import emdref
    >>> emdref.pairwise([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], emdref.Chain(3))
    array([[0. , 0.5, 2. ],
           [0.5, 0. , 1.5],
           [2. , 1.5, 0. ]])
    """
    rho = inputs.exponent(rho)
    progress = inputs.switch(progress, "progress")
    rows = _checked(X, Y, space, mass, accuracy)
    out = np.full((len(rows.x), len(rows.y)), np.nan, rows.x.dtype)
    if rows.mirror:
        np.fill_diagonal(out, 0.0)
    with _bar(rows.count() if progress else 0) as done:
        _in_blocks(rows, out, space, rho, mass, accuracy, done)
        if accuracy == "compensated":
            _one_by_one(rows, out, space, rho, mass, done)
    _warn(out)
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
    inputs.device(None, X, Y)
    inputs.option(mass, "mass", Mass)
    inputs.option(accuracy, "accuracy", Accuracy)
    if not isinstance(space, Space):
        raise TypeError(f"space must be a Chain or a Tree, not {type(space).__name__}")
    given = {"X": X} if Y is None else {"X": X, "Y": Y}
    arrays = {name: inputs.histogram(x, name) for name, x in given.items()}
    for name, x in arrays.items():
        if x.dtype != arrays["X"].dtype:
            way_out = f"give both the same dtype, e.g. {name}.astype(X.dtype)"
            raise TypeError(f"X is {arrays['X'].dtype} and {name} is {x.dtype}: {way_out}")
        if x.ndim != 2 or x.shape[1] != space.n_bins:
            raise ValueError(f"{name} has shape {x.shape}, it must be (rows, {space.n_bins}): the space's bins")
    for name, x in arrays.items():
        inputs.check_histograms(x, name)
    if mass == "raise":
        _check_masses(arrays)
    if mass == "normalize" and accuracy == "native":
        for name, x in arrays.items():
            _check_totals(x, name)
    x, *y = (inputs.rows_of(x, x.shape) for x in arrays.values())
    return _Rows(x, y[0] if y else x, not y)


def _totals(x: NDArray[Any], exponent: int = 0) -> NDArray[np.float64]:
    """Sums of rows times 2**exponent, a block of rows at a time."""
    sums, step = np.empty(len(x)), max(1, _BYTES // (8 * x.shape[1]))
    for i in range(0, len(x), step):
        block = x[i : i + step]
        with np.errstate(over="ignore", under="ignore"):
            sums[i : i + step] = (np.ldexp(block, exponent) if exponent else block).sum(axis=1, dtype=np.float64)
    return sums


def _check_masses(arrays: dict[str, NDArray[Any]]) -> None:
    """Raise where any two totals differ by more than rounding explains: then the extreme ones do."""
    names = list(arrays)
    sums = {name: _totals(x) for name, x in arrays.items()}
    note = ""
    if any(np.isinf(s).any() for s in sums.values()):
        sums = {name: _totals(x, -64) for name, x in arrays.items()}
        note = "these are 2**-64 of totals that overflow; "
    if not all(map(len, sums.values())):
        return
    first, last = names[0], names[-1]
    tolerance = inputs.mass_tolerance(arrays[first].dtype, arrays[first].shape[1])
    for pick, other in ((np.argmax, np.argmin), (np.argmin, np.argmax)):
        i, j = int(pick(sums[first])), int(other(sums[last]))
        a, b = sums[first][i], sums[last][j]
        if not abs(a - b) <= tolerance * max(a, b):
            raise ValueError(
                f"{first}[{i}] has total {a:.17g} and {last}[{j}] {b:.17g}, {a - b:+.3g} apart "
                f"(rounding explains {tolerance * max(a, b):.2g}); {note}{pairs.WAY_OUT}"
            )


def _check_totals(x: NDArray[Any], name: str) -> None:
    beyond = np.isinf(_totals(x))
    if beyond.any():
        raise ValueError(f'the total of {name}[{np.argmax(beyond)}] is beyond float64: use accuracy="compensated"')


# --- blocks -----------------------------------------------------------------------------------------------------------


def _in_blocks(rows: _Rows, out: Any, space: Space, rho: float, mass: str, accuracy: str, done: Any) -> None:
    """Fill in what the block kernels can settle; NaN stays in the other entries."""
    normalize = mass == "normalize"
    kind = _kind(rho, accuracy)
    cost = space._cost_between(1, space.n_bins - normalize)[space._outline.order]
    if not cost.any() or not rows.count():
        out[:] = 0.0
        return
    scales = _scales(rows, normalize, kind) if kind is not None else None
    if scales is None:
        return
    fx, fy, shift = scales
    top = 0 if kind == allpairs.PLAIN else math.frexp(cost.max())[1]
    tree = _tree(space, np.ldexp(cost, -top), rho, kind, normalize)
    exponent = 0 if kind == allpairs.PLAIN else top + int(rho) * shift
    side, tasks = _tasks(rows)
    shared = (out, rows.x, rows.y, fx, fy, tree, rho, kind, exponent, rows.mirror, side)
    for group in np.array_split(tasks, min(len(tasks), 100)) if done else [tasks]:
        over_rows(allpairs.all_pairs, (group,), shared, work=space.n_nodes * side * side)
        if done:
            done(sum(_pairs_of(task, rows.mirror) for task in group.tolist()))


def _kind(rho: float, accuracy: str) -> int | None:
    """Which loops compute it, None if none do."""
    if accuracy == "native":
        return allpairs.PLAIN
    return {1: allpairs.FIRST, 2: allpairs.SECOND, 3: allpairs.THIRD, 4: allpairs.FOURTH}.get(rho)


def _scales(rows: _Rows, normalize: bool, kind: int) -> tuple[Any, Any, int] | None:
    """For each row of X and of Y a power of two for its masses and a factor for its sums, which then are at most 1;
    and the exponent by which the results must be scaled back.  None if the range of the totals is too wide."""
    both = [rows.x] if rows.mirror else [rows.x, rows.y]
    factors = [np.ones((3, len(x))) for x in both]
    for f in factors:
        f[2] = 0.0
    shift = 0
    if kind != allpairs.PLAIN:
        exponents = [np.frexp(_totals(x))[1] for x in both]
        if not all(np.isfinite(_totals(x)).all() and (abs(e) < _RANGE).all() for x, e in zip(both, exponents, strict=True)):
            return None
        shift = 0 if normalize else max(int(e.max()) for e in exponents)
        for f, e in zip(factors, exponents, strict=True):
            f[0] = np.ldexp(1.0, -e if normalize else -shift)
    if normalize:
        for x, f in zip(both, factors, strict=True):
            _normalizers(x, f)
    frozen = list(map(inputs.frozen, factors))
    return frozen[0], frozen[-1], shift


def _normalizers(x: NDArray[Any], f: NDArray[np.float64]) -> None:
    """Rows 1 and 2 of f: the limbs of 1 over each row's total."""
    h, l = np.empty(len(x)), np.empty(len(x))
    over_rows(allpairs.totals, (x, f[0], h, l), work=x.shape[1])
    allpairs.reciprocals(h, l, f[1], f[2])


def _tree(space: Space, cost: NDArray[np.float64], rho: float, kind: int, normalize: bool) -> tuple[Any, ...]:
    """The space as the kernels see it: parents, levels, columns of bins, costs or their roots, what may be lost."""
    outline = space._outline
    column = np.full(space.n_nodes, -1)
    column[outline.place] = np.arange(space.n_bins)
    weight = np.stack([cost, np.zeros_like(cost)])
    if kind == allpairs.SECOND:
        allpairs.roots(cost, weight[0], weight[1])
    loss = rho * 2.0 ** (rho - 1) * _lost(space, normalize)[outline.order] if kind != allpairs.PLAIN else cost
    return (outline.up, outline.level, *map(inputs.frozen, (column, weight, loss)))


def _lost(space: Space, normalize: bool) -> NDArray[np.float64]:
    """By position, what two limbs may lose of a sum of masses at or below a node, here and in `emd`, relative to it.

    Each of n additions rounds a low limb of at most n 2**-53: 2 n**2 2**-106 here and, with twice the additions,
    4 n**2 2**-106 there.  Normalising, a total's error comes into every sum.
    """
    if normalize:
        return np.full(space.n_nodes, 64.0 * _U2 * (space.n_bins + space.n_nodes + 16.0) ** 2)
    below = np.empty(space.n_nodes, np.int64)
    metric.bins_below(np.arange(space.n_nodes), space._layout.parent, below)
    return 8.0 * _U2 * (space._bins_below + below + 16.0) ** 2


def _tasks(rows: _Rows) -> tuple[int, NDArray[np.int64]]:
    """Pairs of blocks, (first i, last i, first j, last j) each, and the side of a block.

    Large blocks share more work, small ones give every thread its part.
    """
    n, m = len(rows.x), len(rows.y)
    side = min(_SIDE, math.ceil(max(n, m) / math.isqrt(4 * processors() + 1)))
    i, j = np.meshgrid(np.arange(0, n, side), np.arange(0, m, side), indexing="ij")
    wanted = (i <= j) | (not rows.mirror)
    i, j = i[wanted], j[wanted]
    return side, np.stack([i, np.minimum(i + side, n), j, np.minimum(j + side, m)], axis=1)


def _pairs_of(task: list[int], mirror: bool) -> int:
    i0, i1, j0, j1 = task
    size = i1 - i0
    return size * (size - 1) // 2 if mirror and i0 == j0 else size * (j1 - j0)


# --- pair by pair -----------------------------------------------------------------------------------------------------


def _one_by_one(rows: _Rows, out: Any, space: Space, rho: float, mass: str, done: Any) -> None:
    """Entries that are NaN, as `emd` computes them."""
    step = max(1, _BYTES // (16 * space.n_bins))
    for i, j in _open(rows, out, step):
        p, q = rows.x[i], rows.y[j]
        value = np.zeros(len(i), out.dtype)
        differ = (p != q).any(axis=1)
        if differ.any():
            batch = Batch(inputs.frozen(p[differ]), inputs.frozen(q[differ]), (int(differ.sum()),))
            value[differ], _ = _evaluate(batch, space, rho, mass, "compensated", None)
        out[i, j] = value
        if rows.mirror:
            out[j, i] = value
        if done and _kind(rho, "compensated") is None:
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


def _warn(out: NDArray[Any]) -> None:
    """Say once, at the caller of `pairwise`, that entries are beyond the dtype's range."""
    for i, line in enumerate(out):
        good = np.isfinite(line)
        if not good.all():
            warnings.warn(
                f"entries of the result are beyond the range of {out.dtype}, the first {line[np.argmin(good)]} at "
                f"[{i}, {np.argmin(good)}]; scale the costs or the masses down",
                RuntimeWarning,
                stacklevel=3,
            )
            return
