"""How many iterations Sinkhorn needs to converge, plain, overrelaxed, and with lambda doubled step by step.

Softmax pairs of three temperatures on the WordNet tree, float64, log domain, until the larger marginal error is below
1e-6 of the total, or 20000 iterations.  Overrelaxed is the variant of that name of `emdref.sinkhorn` (Thibault et al.
2021; the exponent after Lehmann et al. 2022, for each row by itself); doubling starts at lambda max(M) <= 5 and takes
each stage's potentials to the next (Schmitzer 2019).  An iteration costs the same two products in all of them.
"""

from __future__ import annotations

import pandas as pd

import emdref
from analysis.engine import style
from analysis.engine.cells import Cell, Rows, grid
from analysis.engine.claims import Claim
from analysis.engine.reproduction import Rounding, exact, sums
from analysis.engine.script import Options, must
from analysis.inputs.histogram_pairs import Group, pairs
from analysis.sinkhorn import iteration_counts

DTYPES = ("float64",)
LAMBDAS = (1.0, 3.0, 10.0, 30.0, 100.0)
SIGMAS = (1.0, 2.0, 4.0)
CAP, TOY_CAP = 20_000, 1000
KINDS = {
    **exact("method", "lam", "space", "pair", "sigma", "iterations"),
    "marginal_error": Rounding(
        lambda table: sums(1000, 2 * table.iterations), "each iteration rounds two sums over the 1000 bins; absolute"
    ),
    **exact("status"),
}
LOOKS = {
    "plain": (style.ORANGE, "o-"),
    "plain doubling": (style.RED, "v:"),
    "overrelaxed": (style.BLUE, "s-"),
    "overrelaxed doubling": (style.SKY, "^:"),
}


def cells(options: Options) -> list[Cell]:
    """A cell a lambda, temperature and method."""
    few = options.toy
    axes = grid(
        lam=LAMBDAS[:2] if few else LAMBDAS, sigma=SIGMAS[:1] if few else SIGMAS, method=iteration_counts.METHODS
    )
    rest = {"count": 1 if few else 2, "cap": TOY_CAP if few else CAP, "seed": options.seed}
    return [Cell(f"{__name__}:compute", one | rest, _seconds(one["lam"], one["method"])) for one in axes]


def _seconds(lam: float, method: str) -> float:
    return 0.1 + min(lam, 30) / 10 * (1.0 if method.startswith("plain") else 0.15)


def compute(lam: float, sigma: float, method: str, count: int, cap: int, seed: int) -> Rows:
    """One row a pair."""
    tree = emdref.wordnet_tree()
    batch = pairs(seed, tree.n_bins, [Group("softmax", sigma, count)])
    rows = iteration_counts.iterations(tree, "WordNet", batch.p, batch.q, [lam], methods=[method], max_iter=cap)
    return [{name: (row | {"sigma": sigma})[name] for name in KINDS} for row in rows]  # seconds do not repeat


def _medians(table: pd.DataFrame) -> pd.DataFrame:
    """Iterations by lambda and method; a pair that did not converge counts with the cap."""
    return table.groupby(["lam", "method"]).iterations.median().unstack()


def check(table: pd.DataFrame) -> None:
    """A row that says it converged did."""
    settled = table[table.status == "converged"]
    must((settled.marginal_error <= 1e-6 * (1 + 1e-9)).all(), "a converged row has a larger marginal error")


def claims(table: pd.DataFrame) -> list[Claim]:
    """What the accelerations gain."""
    medians = _medians(table)
    gain = medians["plain"] / medians["overrelaxed"]
    settled = (table.status == "converged").groupby([table.method, table.lam]).mean()
    slow = [f"{lam:g}" for lam in medians.index if settled["plain", lam] < 1]
    capped = f" (plain did not always converge at lambda = {', '.join(slow)})" if slow else ""
    doubling = (medians["plain"] / medians["plain doubling"]).round(2)
    return [
        Claim(
            "Thibault, Chizat, Dossal and Papadakis 2021",
            "overrelaxation speeds Sinkhorn up",
            "plain over overrelaxed iterations, medians: "
            + ", ".join(f"{factor:.1f} at lambda = {lam:g}" for lam, factor in gain.items()) + capped,
            bool((gain > 1.5).all()),
        ),
        Claim(
            "Schmitzer 2019",
            "doubling lambda with warm starts saves iterations",
            "plain over doubling: " + ", ".join(f"{factor:g} at lambda = {lam:g}" for lam, factor in doubling.items()),
            bool((doubling > 1.2).any()),
        ),
    ]  # fmt: skip


def draw(table: pd.DataFrame):
    """Medians against lambda; open markers where some pair was stopped by the cap."""
    fig, axis = style.figure(2.6, 1, 1)
    medians = _medians(table)
    settled = (table.status == "converged").groupby([table.method, table.lam]).all()
    for method, (colour, line) in LOOKS.items():
        axis.plot(medians.index, medians[method], line, color=colour, markersize=4, label=method)
        open_at = [lam for lam in medians.index if not settled[method, lam]]
        axis.plot(open_at, medians[method][open_at], line[0], color=colour, markerfacecolor="white", markersize=4)
    axis.set(xscale="log", yscale="log", xlabel="λ (1 / hop)", ylabel="iterations to convergence")
    axis.plot([], [], "o", color=style.GREY, markerfacecolor="white", markersize=4, label="stopped by the cap")
    axis.legend()
    return fig
