"""Beside Figure 3: the paper's remark that SD works best on few bins and for a small ratio of the distances.

Dense float32, 100 iterations, softmax pairs of logits with spread 2, on stars (all distances equal), chains (the
largest distance is N - 1 times the smallest) and the WordNet tree (13 times).  For each space lambda is chosen as well
as it can be, for the value and for the gradient: shown are the least median errors over a grid from 0.01 to 100 per
smallest distance, where a row that failed counts as infinitely wrong.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import emdref
from analysis.engine import style
from analysis.engine.cells import Cell, Rows
from analysis.engine.claims import Claim, Difference, Exact, Missing
from analysis.engine.reproduction import Rounding, exact, relative, sums
from analysis.engine.script import Options, must
from analysis.inputs.histogram_pairs import softmax
from analysis.sinkhorn.gradient_shapes import ARCCOS, angle
from emdref.entropic.iteration import FAILED

DTYPES = ("float32",)
SIZES = (10, 30, 100, 300, 1000)
LAMBDAS = np.logspace(-2, 2, 13)
CAP, PAIRS = 100, 16
SECONDS = 1.0  # of a core, that one more pair takes in all spaces
SECTION, HIERARCHY = "arXiv 1611.07573, Sec. 2.3", "arXiv 1611.07573, Sec. 5.3"
SPACE = ["space", "n_bins", "ratio"]
ERRORS = {  # column: in words, whether its logarithm is compared, the unit of differences
    "value_error": ("error of the value", True, "powers of 10"),
    "angle": ("angle of the gradient", False, "degrees"),
}
CAPTIONS = {
    "": "Least errors of the Sinkhorn distance's value and gradient (Cuturi's iteration, 100 times in float32) "
    "against the number of bins, on stars, chains and the WordNet tree, each at its own best lambda: medians of 16 "
    "pairs, and from the 10th to the 90th percentile. On chains, whose distances differ the more the longer they are, "
    "the value suffers; on stars it hardly does."
}


def _rounding(table: pd.DataFrame) -> float:
    return sums(max(SIZES), 2 * (CAP + 1), "float32")


KINDS = {
    **exact("space", "n_bins", "ratio", "lam", "pair", "status"),
    **relative("sd_over_emd", _rounding, "each iteration rounds two sums over all bins"),
    "angle_deg": Rounding(
        lambda table: np.degrees(_rounding(table) / table.lam) + ARCCOS,
        "so is log u / lambda, of an edge's size or more",
    ),
}


def cells(options: Options) -> list[Cell]:
    """One cell a space."""
    sizes = SIZES[:3] if options.toy else SIZES
    spaces = [{"name": name, "n": n} for name in ("star", "chain") for n in sizes]
    spaces += [] if options.toy else [{"name": "WordNet", "n": 1000}]
    return [Cell(f"{__name__}:compute", space | {"seed": options.seed}, space["n"] / 200) for space in spaces]


def _space(name: str, n: int) -> emdref.Chain | emdref.Tree:
    if name == "star":
        return emdref.Tree([-1] + [0] * n, np.full(n + 1, 0.5))
    return emdref.Chain(n) if name == "chain" else emdref.wordnet_tree()


def compute(name: str, n: int, seed: int) -> Rows:
    """One row a pair and lambda."""
    space, rng = _space(name, n), np.random.default_rng([seed, n])
    p, q = (softmax(2.0 * rng.normal(size=(PAIRS, space.n_bins))) for _ in "pq")
    value, grad = emdref.emd_value_and_grad(p, q, space)
    distances = space.distance_matrix()
    smallest = distances[distances > 0].min()
    rows = []
    for lam in LAMBDAS:
        result = emdref.sinkhorn(p, q, space, lam / smallest, max_iter=CAP, kernel="dense", dtype=np.float32)
        own = result.grad.astype(float)
        with np.errstate(invalid="ignore"):
            degrees = angle(own - own.mean(axis=1, keepdims=True), grad)
        key = {"space": name, "n_bins": space.n_bins, "ratio": space.diameter / smallest, "lam": lam}
        for i in range(PAIRS):
            ratio = float(result.value[i]) / value[i]
            rows.append(key | {"pair": i, "sd_over_emd": ratio, "angle_deg": degrees[i], "status": result.status[i]})
    return rows


def _errors(table: pd.DataFrame) -> pd.DataFrame:
    """With both errors; a failed row counts as infinitely wrong."""
    bad = table.status.isin(FAILED)
    return table.assign(
        value_error=(table.sd_over_emd - 1).abs().mask(bad, np.inf), angle=table.angle_deg.mask(bad, 180.0)
    )


def _best(table: pd.DataFrame) -> pd.DataFrame:
    """Least median errors over lambda, a row a space."""
    medians = _errors(table).groupby([*SPACE, "lam"], sort=False)[list(ERRORS)].median()
    return medians.groupby(SPACE, sort=False).min().reset_index()


def _at_best(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """That error of each pair (rows) of each space (columns: name, bins) at the lambda with the least median."""
    errors = _errors(table)
    medians = errors.groupby(["space", "n_bins", "lam"])[column].median()
    best = medians.groupby(["space", "n_bins"]).idxmin()
    chosen = errors.set_index(["space", "n_bins", "lam"]).loc[list(best)]
    return chosen.reset_index().pivot(index="pair", columns=["space", "n_bins"], values=column)


def check(table: pd.DataFrame) -> None:
    """At the best lambda every space gives a finite answer."""
    must(np.isfinite(_best(table).value_error).all(), "a space has no usable lambda at all")


def claims(table: pd.DataFrame) -> list[Claim]:
    """The last paragraph of Sec. 2.3, for the value and for the gradient; what the tree is like."""
    made = [make(table, column) for make in (_small_ratio, _small_space) for column in ERRORS]
    return [*made, _hierarchy(), _unit_edges()]


def _small_ratio(table: pd.DataFrame, column: str) -> Claim:
    what, logged, unit = ERRORS[column]
    errors = _at_best(table, column)
    errors = np.log10(errors) if logged else errors
    sizes = sorted(set(errors["star"].columns) & set(errors["chain"].columns))
    pairs = {f"N = {n}: chain − star": (errors["chain", n] - errors["star", n]).to_numpy() for n in sizes}
    return Claim(
        SECTION,
        f"SD works best where the ratio of the largest to the smallest distance is small ({what})",
        f"{what} on a chain (ratio N - 1) less that on a star (ratio 1), the same pairs, each at its best lambda, at "
        "every N",
        Difference(pairs, side=1, unit=unit, seconds=SECONDS, each="pairs"),
        _listed(table, column),
    )


def _small_space(table: pd.DataFrame, column: str) -> Claim:
    what, logged, unit = ERRORS[column]
    errors = _at_best(table, column)
    errors = np.log10(errors) if logged else errors
    slopes = {name: _slopes(errors[name]) for name in ("star", "chain")}
    return Claim(
        SECTION,
        f"SD works best where the size of the output space is small ({what})",
        f"the slope of the {what} against log10 N over all sizes, each at its best lambda, on stars and on chains",
        Difference(slopes, side=1, unit=f"{unit} for ten times N", seconds=SECONDS, each="pairs"),
        _listed(table, column),
    )


def _slopes(errors: pd.DataFrame) -> np.ndarray:
    """Of each row, the i-th pair of every size, against log10 N: rows have no random number in common."""
    x = np.log10(errors.columns.to_numpy(float))
    x = x - x.mean()
    return (errors.to_numpy() * x).sum(axis=1) / (x * x).sum()


def _listed(table: pd.DataFrame, column: str) -> str:
    best = _best(table).set_index("space")
    return "Least medians: " + "; ".join(
        f"{name} " + ", ".join(f"{x:.2g}" for x in best.loc[[name], column])
        + " at N = " + ", ".join(str(n) for n in best.loc[[name], "n_bins"])
        for name in ("star", "chain")
    )  # fmt: skip


def _hierarchy() -> Claim:
    tree = emdref.wordnet_tree()
    distances = tree.distance_matrix()
    found = tree.n_bins, tree.n_nodes, distances.max(), distances[distances > 0].min()
    return Claim(
        HIERARCHY,
        "the output space has 1000 leaves, 1374 nodes, a maximum distance of 26 and a minimum distance of 2",
        "leaves, nodes, and the largest and smallest distance between two leaves of the packaged tree",
        Exact(found == (1000, 1374, 26, 2)),
        f"{found[0]}, {found[1]}, {found[2]:g} and {found[3]:g}; the tree was built to meet these numbers, for the "
        "paper gives no recipe, and an edge costs the WordNet links that it stands for",
    )


def _unit_edges() -> Claim:
    distances = emdref.wordnet_tree(cost="unit").distance_matrix()
    return Claim(
        HIERARCHY,
        "all edge costs are set to 1",
        "the same numbers with every edge of the authors' tree at 1",
        Missing(
            f"the authors' tree is not published; ours has a maximum distance of {distances.max():g}, not 26, if every "
            "edge costs 1"
        ),
    )


def draw(table: pd.DataFrame):
    """Errors of value and gradient against N, each at its own best lambda."""
    fig, (left, right) = style.figure(2.5, 1, 2, sharex=True)
    looks = {"star": (style.BLUE, "o-", 0.94), "chain": (style.ORANGE, "s-", 1.06), "WordNet": (style.GREEN, "^", 0.94)}
    labels = ("|SD / EMD − 1|", "angle to ∇EMD (°)")
    for axis, column, label, letter, title in zip(
        (left, right), ERRORS, labels, "ab", ("value", "gradient"), strict=True
    ):
        errors = _at_best(table, column)
        for name, (colour, line, aside) in looks.items():
            if name in errors:
                low, middle, high = (errors[name].quantile(x) for x in (0.1, 0.5, 0.9))
                at = middle.index * aside
                axis.plot(at, middle, line, color=colour, markersize=4, label=name)
                axis.vlines(at, low, high, color=colour, linewidth=0.8, alpha=0.6)
        style.log_axis(axis, "x")
        axis.set(xlabel="bins N", ylabel=label, xlim=(7, 1400))
        style.letter(axis, letter, title)
    style.log_axis(left, "y")
    right.set_ylim(bottom=0)
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
