"""How many iterations Sinkhorn needs to converge, plain, overrelaxed, and with lambda doubled step by step.

Softmax pairs of three temperatures on the WordNet tree, float64, log domain, until the larger marginal error is below
1e-6 of the total, or 20000 iterations.  Overrelaxed is the variant of that name of `emdref.sinkhorn` (Thibault et al.
2021; the exponent after Lehmann et al. 2022, for each row by itself); doubling starts at lambda max(M) <= 5 and takes
each stage's potentials to the next (Schmitzer 2019).  An iteration costs the same two products in all of them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import emdref
from analysis.engine import style
from analysis.engine.cells import Cell, Rows, grid
from analysis.engine.claims import Claim, Difference, Exact
from analysis.engine.reproduction import Rounding, exact, sums
from analysis.engine.script import Options, must
from analysis.inputs.histogram_pairs import Group, pairs
from analysis.sinkhorn import iteration_counts

DTYPES = ("float64",)
LAMBDAS = (1.0, 3.0, 10.0, 30.0, 100.0)
SIGMAS = (1.0, 2.0, 4.0)
CAP, TOY_CAP = 20_000, 1000
SECONDS = 7.0  # of a core, that one more pair takes by plain iterations with and without doubling, at all lambdas
KINDS = {
    **exact("method", "lam", "space", "pair", "sigma", "iterations"),
    "marginal_error": Rounding(
        lambda table: sums(1000, 2 * table.iterations), "each iteration rounds two sums over the 1000 bins; absolute"
    ),
    **exact("status"),
}
LOOKS = {  # wide and pale below narrow and dark: plain with and without doubling coincide
    "plain": {"color": style.ORANGE, "linewidth": 4, "alpha": 0.5, "marker": "o", "markersize": 5},
    "plain doubling": {"color": style.RED, "linestyle": ":", "marker": "v", "markersize": 4},
    "overrelaxed": {"color": style.SKY, "linewidth": 4, "alpha": 0.5, "marker": "s", "markersize": 5},
    "overrelaxed doubling": {"color": style.BLUE, "linestyle": ":", "marker": "^", "markersize": 4},
}
RUN = ["lam", "sigma", "pair"]
CAPTIONS = {
    "": "Iterations until Sinkhorn's marginals agree to 1e-6 on the WordNet tree, plain (the iteration of Sinkhorn and "
    "Knopp, as Cuturi uses it) and overrelaxed (Thibault and others, 2021), each with and without lambda doubled step "
    "by step (Schmitzer 2019), medians of six pairs. Overrelaxation takes fewer iterations in every run, doubling in "
    "some."
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


def _spent(table: pd.DataFrame) -> pd.DataFrame:
    """Iterations by run (lambda, temperature, pair) and method."""
    return table.pivot(index=RUN, columns="method", values="iterations")


def _stopped(table: pd.DataFrame) -> pd.DataFrame:
    """Likewise: whether it was stopped by the cap."""
    return table.assign(stopped=table.status != "converged").pivot(index=RUN, columns="method", values="stopped")


def claims(table: pd.DataFrame) -> list[Claim]:
    """What the accelerations gain."""
    return [_overrelaxed(table), _doubling(table)]


def _overrelaxed(table: pd.DataFrame) -> Claim:
    spent, stopped = _spent(table), _stopped(table)
    gain = spent["plain"] / spent["overrelaxed"]
    medians = ", ".join(f"{x:.1f} at {lam:g}" for lam, x in gain.groupby("lam").median().items())
    return Claim(
        "Thibault et al. 2021, abstract",
        "overrelaxing the projections allows for faster convergence, by an order of magnitude in certain regimes",
        "iterations until the marginals agree to 1e-6, plain over overrelaxed: above 1 in every run, above 10 in some",
        Exact(bool((gain > 1).all() and (gain > 10).any() and not stopped["overrelaxed"].any())),
        f"{gain.min():.1f} to {gain.max():.0f} in {len(gain)} runs, medians by lambda {medians}; "
        f"{int(stopped['plain'].sum())} plain runs stopped at the cap and gain at least as much",
    )


def _doubling(table: pd.DataFrame) -> Claim:
    spent, stopped = _spent(table), _stopped(table)
    both = ~(stopped["plain"] | stopped["plain doubling"])
    saved = np.log2(spent["plain"] / spent["plain doubling"])[both]
    pairs = saved.groupby(["sigma", "pair"]).mean()  # runs of a pair are no repetitions
    lost = int((~both).sum())
    return Claim(
        "Schmitzer 2019, abstract",
        "epsilon scaling, here lambda doubled step by step with warm starts, takes fewer iterations",
        "log2 of plain iterations over those with doubling, mean over the lambdas at which both converged, by pair",
        Difference({"plain / doubling": pairs.to_numpy()}, side=1, unit="powers of 2", seconds=SECONDS, each="pairs"),
        f"{2 ** -saved.max():.2f} to {2 ** -saved.min():.2f} times the iterations in {len(saved)} runs",
        doubts=[f"{lost} of {len(both)} runs stopped at {spent.max(axis=None)} iterations"] * bool(lost),
    )


def draw(table: pd.DataFrame):
    """Medians against lambda; open markers where some pair was stopped by the cap."""
    fig, axis = style.figure(2.9, 1, 1)
    medians = _medians(table)
    settled = (table.status == "converged").groupby([table.method, table.lam]).all()
    for method, look in LOOKS.items():
        axis.plot(medians.index, medians[method], label=method, **look)
        open_at = [lam for lam in medians.index if not settled[method, lam]]
        axis.plot(
            open_at,
            medians[method][open_at],
            look["marker"],
            color=look["color"],
            markerfacecolor="white",
            markersize=5,
        )
    style.log_axis(axis, "x")
    style.log_axis(axis, "y")
    axis.set(xlabel="λ (1 / hop)", ylabel="iterations to convergence")
    axis.set_xticks(medians.index, [f"{lam:g}" for lam in medians.index])
    axis.minorticks_off()
    axis.plot([], [], "o", color=style.GREY, markerfacecolor="white", markersize=5, label="some stopped by the cap")
    fig.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig
