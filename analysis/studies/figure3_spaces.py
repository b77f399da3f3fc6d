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
from analysis.engine.claims import Claim
from analysis.engine.reproduction import Rounding, exact, relative, sums
from analysis.engine.script import Options, must
from analysis.inputs.histogram_pairs import softmax
from analysis.sinkhorn.gradient_shapes import ARCCOS, angle
from emdref.entropic.iteration import FAILED

DTYPES = ("float32",)
SIZES = (10, 30, 100, 300, 1000)
LAMBDAS = np.logspace(-2, 2, 13)
CAP, PAIRS = 100, 16


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


def _best(table: pd.DataFrame) -> pd.DataFrame:
    """Least median errors over lambda, a row a space; a failed row counts as infinitely wrong."""
    bad = table.status.isin(FAILED)
    errors = table.assign(
        value_error=(table.sd_over_emd - 1).abs().mask(bad, np.inf), angle=table.angle_deg.mask(bad, 180.0)
    )
    medians = errors.groupby(["space", "n_bins", "ratio", "lam"], sort=False)[["value_error", "angle"]].median()
    return medians.groupby(["space", "n_bins", "ratio"], sort=False).min().reset_index()


def check(table: pd.DataFrame) -> None:
    """At the best lambda every space gives a finite answer."""
    must(np.isfinite(_best(table).value_error).all(), "a space has no usable lambda at all")


def claims(table: pd.DataFrame) -> list[Claim]:
    """The last paragraph of Sec. 2.3."""
    best = _best(table).set_index(["space", "n_bins"])
    sizes = sorted({n for _, n in best.index})
    source = "arXiv 1611.07573, Sec. 2.3"

    def listed(name: str, column: str, form: str) -> str:
        return ", ".join(f"{best[column][name, n]:{form}} at N = {n}" for n in sizes)

    worst = {name: [best.angle[name, n] for n in sizes] for name in ("star", "chain")}
    return [
        Claim(
            source,
            "SD works best when the ratio of the largest to the smallest distance is small",
            f"least median error of the value, star (ratio 1): {listed('star', 'value_error', '.1e')}; "
            f"chain (ratio N - 1): {listed('chain', 'value_error', '.1e')}",
            all(best.value_error["star", n] < best.value_error["chain", n] for n in sizes),
        ),
        Claim(
            source,
            "SD works best when the output space is small",
            f"least median angle of the gradient, chain: {listed('chain', 'angle', '.1f')} degrees; "
            f"star: {listed('star', 'angle', '.1f')} degrees",
            all(angles[0] < angles[-1] for angles in worst.values()),
        ),
    ]


def draw(table: pd.DataFrame):
    """Errors of value and gradient against N, each at its own best lambda."""
    fig, (left, right) = style.figure(2.3, 1, 2, sharex=True)
    best = _best(table)
    looks = {"star": (style.BLUE, "o-"), "chain": (style.ORANGE, "s-"), "WordNet": (style.GREEN, "^")}
    for axis, column, label in ((left, "value_error", "|SD / EMD − 1|"), (right, "angle", "angle to ∇EMD (°)")):
        for name, (colour, line) in looks.items():
            rows = best[best.space == name]
            axis.plot(rows.n_bins, rows[column], line, color=colour, markersize=4, label=name)
        axis.set(xscale="log", xlabel="bins N", ylabel=label)
    left.set_yscale("log")
    right.set_ylim(bottom=0)
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
