"""Slides: support vector machines with the kernel exp(-d/t), d the EMD or the Sinkhorn distance (after Cuturi 2013).

Scikit-learn's 8 x 8 digits, each divided by its sum, are histograms over 64 pixels.  The distances d are

- the EMD between pixels on their grid, Euclidean and divided by their median as Cuturi does, by POT's network simplex;
- the Sinkhorn distance on the same grid by Cuturi's Algorithm 1 (the variant ``cuturi`` of `emdref.sinkhorn`, ⟨T, M⟩
  after 20 iterations, whether converged or not), for several λ; 0 from an image to itself, and for each pair computed
  once, since it depends on their order until it converges;
- EMDs in closed form: on a tree whose rows of pixels are chains that one column joins, and on a quadtree;
- Euclidean squared, which makes the Gaussian kernel, and squared Hellinger, χ² and total variation.

Images are drawn into sets that have none in common, the seeds of the claims: all is paired by set.  In each, four
folds are tested in turn on a machine trained on the other three, and t, C and λ are those with the least error in a
threefold validation inside the training images.  A kernel exp(-d/t) need not be positive definite: where the least
eigenvalue of the training images' is below 0, as much is added to the diagonal, as Cuturi did.  EMD on a tree is an L1
distance of flows, for which the kernel is always positive definite.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

import emdref
from analysis.engine import style
from analysis.engine.cells import Cell, Rows
from analysis.engine.claims import FINDING, Claim, Difference, Exact, Margin
from analysis.engine.intervals import interval
from analysis.engine.reproduction import Rounding, exact, like_another_seed, sums
from analysis.engine.script import Options, must

PNG = True
DTYPES = ("float64",)
SIDE, CLASSES, FOLDS = 8, 10, 4  # pixels beside one another, digits, parts of a set
SETS, EACH = 10, 16  # sets of images, images of each digit in a set
TOY_SETS, TOY_EACH = 2, 4
LAMBDAS, TOY_LAMBDAS = (3.0, 9.0, 27.0, 81.0, 243.0), (9.0, 27.0)  # times the median distance of pixels
CITED = 9.0  # the λ that was best in most of Cuturi's folds
ITERATIONS = 20
WIDTHS, TOY_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0), (1.0,)  # t over the training images' median distance
PENALTIES, TOY_PENALTIES = (1.0, 100.0), (100.0,)  # C
GRID, SD, ROWS, QUADTREE = "EMD", "SD", "EMD, rows", "EMD, quadtree"
CLASSIC = ("Gaussian", "Hellinger", "chi-squared", "total variation")
MARGIN = 2.0  # points of error that count as no worse
SECONDS = 6.0  # of one core for one more set
_CHANCE = "another last bit may choose another t, C or side of a boundary, and sets are as far apart"
KINDS = {
    **exact("set", "fold", "train", "distance", "lam"),
    **dict.fromkeys(("t", "C"), Rounding(lambda table: np.full(len(table), np.inf), _CHANCE)),
    **like_another_seed(["inner", "error"], ["distance", "lam"]),
    "least": Rounding(lambda table: _rounding(table.train), "entries of the kernel and its eigenvalues are rounded"),
    "marginal_error": Rounding(lambda table: sums(SIDE**2, 2 * ITERATIONS), "each iteration rounds two sums; absolute"),
}
CAPTIONS = {
    "": "Above, test errors of support vector machines with the kernel exp(−d/t) on scikit-learn's digits, the "
    "Sinkhorn distance's λ chosen inside the training images: a small dot is a set of images, a large one the mean "
    "over sets with its 95% interval. Below, errors of the Sinkhorn distance against λ, beside the EMD on the same "
    "grid of pixels.",
}
PLACE = "slides"


def absent(options: Options) -> str:
    """What is not installed."""
    there = all(find_spec(package) for package in ("sklearn", "ot"))
    return "" if there else "it needs the extra: python3 -m pip install --editable '.[peers]'"


def record() -> dict[str, Any]:
    """Whose images, machines and network simplex these are."""
    return {"peers": {package: version(package) for package in ("scikit-learn", "POT")}}


def cells(options: Options) -> list[Cell]:
    """A cell a set of images."""
    count, each = (TOY_SETS, TOY_EACH) if options.toy else (SETS, EACH)
    grids = (TOY_LAMBDAS, TOY_WIDTHS, TOY_PENALTIES) if options.toy else (LAMBDAS, WIDTHS, PENALTIES)
    how = dict(zip(("lambdas", "widths", "penalties"), map(list, grids), strict=True))
    how |= {"each": each, "seed": options.seed}
    return [
        Cell(f"{__name__}:compute", {"number": number} | how, SECONDS * (each / EACH) ** 2) for number in range(count)
    ]


def compute(
    number: int, each: int, lambdas: list[float], widths: list[float], penalties: list[float], seed: int
) -> Rows:
    """One row a distance and fold."""
    images, digits, folds = images_of(number, each, seed)
    rows = []
    for (distance, lam), (d, marginal_error) in distances(images, lambdas):
        for fold in range(FOLDS):
            row = {"set": number, "fold": fold, "train": int((folds != fold).sum()), "distance": distance, "lam": lam}
            row |= tested(d, digits, folds, fold, widths, penalties)
            rows.append(row | {"marginal_error": marginal_error})
    return rows


def images_of(number: int, each: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Histograms, digits and folds of one of the sets, which have no image in common."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(np.flatnonzero(digits == digit)) for digit in range(CLASSES)]
    chosen = np.stack([some[number * each : (number + 1) * each] for some in shuffled], axis=1)
    folds = np.repeat(np.arange(each) % FOLDS, CLASSES)
    pixels, digits = pixels[chosen.ravel()], digits[chosen.ravel()]
    return pixels / pixels.sum(axis=1, keepdims=True), digits, folds


def distances(images: np.ndarray, lambdas: list[float]) -> Iterator[tuple[tuple[str, float], tuple[np.ndarray, float]]]:
    """By name and λ, the distances between all images, and the largest marginal error."""
    one, other = np.triu_indices(len(images), 1)
    cost = grid()
    yield (GRID, np.nan), (_square(by_network_simplex(images[one], images[other], cost), len(images)), np.nan)
    for lam in lambdas:
        found = emdref.sinkhorn(images[one], images[other], cost, lam, max_iter=ITERATIONS, variant="cuturi")
        yield (SD, lam), (_square(found.value, len(images)), float(found.marginal_error.max()))
    for name, tree in ((ROWS, rows_of_pixels()), (QUADTREE, quadtree())):
        yield (name, np.nan), (emdref.pairwise(images, tree), np.nan)
    p, q = images[one], images[other]
    total = p + q
    values = (
        ((p - q) ** 2).sum(1),
        ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(1),
        np.divide((p - q) ** 2, total, out=np.zeros_like(total), where=total > 0).sum(1),
        abs(p - q).sum(1),
    )
    for name, value in zip(CLASSIC, values, strict=True):
        yield (name, np.nan), (_square(value, len(images)), np.nan)


def _square(values: np.ndarray, n: int) -> np.ndarray:
    """The symmetric matrix of those above its diagonal, which is 0."""
    matrix = np.zeros((n, n))
    matrix[np.triu_indices(n, 1)] = values
    return matrix + matrix.T


def grid() -> np.ndarray:
    """Euclidean distances of pixels over their median."""
    places = np.stack(np.divmod(np.arange(SIDE**2), SIDE), axis=1).astype(float)
    apart = np.sqrt(((places[:, None] - places[None]) ** 2).sum(-1))
    return apart / np.median(apart)


def rows_of_pixels() -> emdref.Tree:
    """Rows are chains of unit gaps, joined by such a chain along one column in the middle."""
    row, column = np.divmod(np.arange(SIDE**2), SIDE)
    middle = SIDE // 2
    across, along = np.sign(middle - column), SIDE * np.sign(middle - row)  # one step towards the middle
    parent = np.arange(SIDE**2) + np.where(column == middle, along, across)
    return emdref.Tree(parent, np.ones(SIDE**2), bins=np.arange(SIDE**2))


def quadtree() -> emdref.Tree:
    """Squares of 1, 2, 4 and 8 pixels; an edge costs half the side of the square above it."""
    parent, cost, first = [], [], 0
    side = SIDE
    while side > 1:
        row, column = np.divmod(np.arange(side**2), side)
        first += side**2
        parent += (first + row // 2 * (side // 2) + column // 2).tolist()
        cost += [SIDE / side] * side**2
        side //= 2
    return emdref.Tree([*parent, -1], [*cost, 0.0], bins=np.arange(SIDE**2))


def by_network_simplex(p: np.ndarray, q: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """The EMD of each pair by POT, over the pixels that have mass."""
    import ot

    values = np.empty(len(p))
    for pair, (a, b) in enumerate(zip(p, q, strict=True)):
        i, j = np.flatnonzero(a), np.flatnonzero(b)
        values[pair] = ot.emd2(a[i], b[j], cost[np.ix_(i, j)])
    return values


def tested(
    d: np.ndarray, digits: np.ndarray, folds: np.ndarray, fold: int, widths: list[float], penalties: list[float]
) -> dict[str, float]:
    """The error on one fold by the t and C that are best among the other folds, the first of those that are equal."""
    train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
    median = np.median(d[np.ix_(train, train)][np.triu_indices(len(train), 1)])
    best: dict[str, float] = {"inner": np.inf}
    least = np.inf
    for width in widths:
        kernel = np.exp(d / (-width * median))
        smallest = float(np.linalg.eigvalsh(kernel[np.ix_(train, train)])[0])
        least = min(least, smallest)
        kernel[np.diag_indices_from(kernel)] += max(0.0, -smallest)
        for penalty in penalties:
            inside = [(train[folds[train] != part], train[folds[train] == part]) for part in set(folds[train])]
            inner = float(np.mean([_error(kernel, digits, *split, penalty) for split in inside]))
            if inner < best["inner"]:
                best = {"t": width, "C": penalty, "inner": inner}
                best["error"] = _error(kernel, digits, train, test, penalty)
    return best | {"least": least}


def _error(kernel: np.ndarray, digits: np.ndarray, train: np.ndarray, test: np.ndarray, penalty: float) -> float:
    from sklearn import config_context
    from sklearn.svm import SVC

    with config_context(assume_finite=True, skip_parameter_validation=True):
        machine = SVC(kernel="precomputed", C=penalty).fit(kernel[np.ix_(train, train)], digits[train])
        return float((machine.predict(kernel[np.ix_(test, train)]) != digits[test]).mean())


def _rounding(images: pd.Series) -> pd.Series:
    """By how much rounding may move an eigenvalue: n entries in a row by a few units, and n roundings of the solver.

    The kernel's entries are at most 1, its norm at most n.
    """
    return 8 * images**2 * np.finfo(float).eps


def errors(table: pd.DataFrame) -> pd.DataFrame:
    """In percent by set and distance; SD is that of the λ with the least inner error, the smallest of those equal."""
    sd = table[table.distance == SD].sort_values("lam", kind="stable")
    chosen = sd.loc[sd.groupby(["set", "fold"]).inner.idxmin()]
    some = pd.concat([table[table.distance != SD], chosen])
    return 100 * some.groupby(["set", "distance"]).error.mean().unstack()


def by_lambda(table: pd.DataFrame, column: str = "error") -> pd.DataFrame:
    """The Sinkhorn distance's errors in percent, by set and λ."""
    return 100 * table[table.distance == SD].groupby(["set", "lam"])[column].mean().unstack()


def check(table: pd.DataFrame) -> None:
    """Errors are shares; the kernels that must be positive definite are."""
    must(table.error.between(0, 1).all() and table.inner.between(0, 1).all(), "an error is no share of the images")
    must(_definite(table), "a kernel exp(-EMD/t) on a tree is not positive definite")


def _definite(table: pd.DataFrame) -> bool:
    trees = table[table.distance.isin([ROWS, QUADTREE])]
    return bool((trees.least > -_rounding(trees.train)).all())


def claims(table: pd.DataFrame) -> list[Claim]:
    """SD beside EMD and the others; which kernels are positive definite; closed forms beside the linear program."""
    error, lams = errors(table), by_lambda(table)
    inner = by_lambda(table, "inner").mean()
    best = float(inner.idxmin())
    edge = [f"the λ with the least inner error, {best:g}, stands at the edge of the grid"]
    edge *= best in (inner.index[0], inner.index[-1])
    sd = table[table.distance == SD]
    off = sd.groupby("lam").marginal_error.max()
    means = ", ".join(f"{name} {value:.1f}" for name, value in error.mean().sort_values().items())
    least = table.groupby("distance").least.min()
    return [
        Claim(
            PLACE,
            "(Cuturi 2013) Sinkhorn is better than EMD",
            "test error of SD, λ chosen inside, less that of EMD with the same distances of pixels",
            Difference({"SD − EMD": error[SD] - error[GRID]}, side=-1, unit="points", seconds=SECONDS),
            f"{table.train.max()} images to train; mean errors in %: {means}",
            edge,
        ),
        Claim(
            PLACE,
            "(Cuturi 2013) Sinkhorn has the least error of all distances",
            "test error of SD, λ chosen inside, less that of each of the four classic distances",
            Difference({f"SD − {x}": error[SD] - error[x] for x in CLASSIC}, side=-1, unit="points", seconds=SECONDS),
            "",
            edge,
        ),
        Claim(
            PLACE,
            f"the λ that Cuturi found best, {CITED:g}, is better than EMD here",
            f"test error of SD at λ = {CITED:g} less that of EMD with the same distances of pixels",
            Difference(
                {f"SD({CITED:g}) − EMD": lams[CITED] - error[GRID]}, side=-1, unit="points", seconds=SECONDS
            ),
            f"inside the training images λ = {best:g} is best, whose marginals are off by up to {off[best]:.2g} after "
            f"{ITERATIONS} iterations, {off[CITED]:.2g} at λ = {CITED:g}",
            about=FINDING,
        ),
        Claim(
            PLACE,
            "EMD in closed form on rows of pixels is no worse than EMD on their grid by a linear program",
            f"test error of the first less that of the second, at most {MARGIN:g} points",
            Margin.of(error[ROWS] - error[GRID], most=MARGIN, unit="points", kind="non-inferiority"),
            about=FINDING,
        ),
        Claim(
            PLACE,
            "exp(−EMD/t) is positive definite on trees, where EMD is an L1 distance of flows",
            "the least eigenvalue of all kernels of training images",
            Exact(_definite(table)),
            ", ".join(f"{name} {value:.2g}" for name, value in least.items()),
            about=FINDING,
        ),
    ]  # fmt: skip


def draw(table: pd.DataFrame):
    """Errors by distance; those of SD by λ."""
    fig, (top, low) = style.figure(4.3, 2, gridspec_kw={"height_ratios": [1.35, 1]})
    error = errors(table)
    names = {GRID: "EMD, grid", SD: "SD, grid", "chi-squared": "χ²"}
    order = [SD, GRID, ROWS, QUADTREE, *CLASSIC][::-1]
    colours = dict.fromkeys(order, style.GREY) | {SD: style.ORANGE}
    colours |= dict.fromkeys((GRID, ROWS, QUADTREE), style.BLUE)
    for y, name in enumerate(order):
        found = interval(error[name])
        top.plot(error[name], np.full(len(error), y - 0.22), ".", color=colours[name], markersize=3, alpha=0.6)
        top.errorbar(found.mean, y + 0.12, xerr=found.half(), fmt="o", color=colours[name], markersize=4, capsize=2)
    top.set_yticks(range(len(order)), [names.get(name, name) for name in order])
    top.grid(axis="y", visible=False)
    top.set(xlabel="test error (%)", xlim=(0, None))
    style.letter(top, "a", "by distance")
    lams = by_lambda(table)
    found = [interval(lams[lam]) for lam in lams]
    low.errorbar(lams.columns, [x.mean for x in found], yerr=[x.half() for x in found], fmt="o-", color=style.ORANGE,
                 markersize=4, capsize=2, label=f"SD, {ITERATIONS} iterations")  # fmt: skip
    emd = interval(error[GRID])
    low.axhline(emd.mean, color=style.BLUE, linestyle="--", label="EMD")
    low.axhspan(emd.mean - emd.half(), emd.mean + emd.half(), color=style.BLUE, alpha=0.15, linewidth=0)
    style.log_axis(low, "x")
    low.set_xticks(list(lams.columns), [f"{lam:g}" for lam in lams.columns])
    low.minorticks_off()
    low.set(xlabel="λ × median distance of pixels", ylabel="test error (%)", ylim=(0, None))
    low.legend(loc="lower left")
    style.letter(low, "b", "Sinkhorn's λ")
    return fig
