"""Figure 2: the general case, in which mass moves from and to all bins directly, and what that costs.

Two histograms of eight bins on a chain of unit gaps, and an optimal plan between them from `emdref.plan`, beside all 64
pairs of bins that it may use (Eqs. 1 and 2).  The general problem has an unknown for each pair, N² of them, and is
solved as a linear program (SciPy's HiGHS); on a chain or a tree the flow over N − 1 edges is enough.  Both are timed on
the same histograms, by the processor's clock, and must agree.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import linprog

import emdref
from analysis.engine import style
from analysis.engine.cells import Cell, Rows
from analysis.engine.claims import FINDING, Claim, Exact, Margin
from analysis.engine.reproduction import Rounding, exact, timing
from analysis.engine.script import Options, must
from analysis.timing.measuring import LEAST, worked

PNG = True
DTYPES = ("float64",)
P = np.array([1, 3, 6, 8, 6, 4, 3, 1]) / 32  # sums of these are exact
Q = np.array([6, 2, 1, 3, 2, 6, 5, 7]) / 32
SIZES, TOY_SIZES, PAIRS = (8, 16, 32, 64, 128), (8, 16), 5
DEAR = 10.0  # times as long: expensive
SETTLED = 1e-6  # relative, for the solver's tolerances are 1e-7
KINDS = {
    **exact("kind", "bins", "pair", "from", "to", "mass", "distance", "entries", "emd"),
    "program": Rounding(lambda table: SETTLED * table.emd, "the solver of linear programs stops at a tolerance"),
    **timing("seconds_program", "seconds_emd"),
}
CAPTIONS = {
    "": "A plan moves mass from any bin of p (above) to any bin of q (below): grey lines are all 64 pairs, blue ones "
    "are those that the optimal plan uses, as wide as the mass they carry. As a linear program over N² pairs this "
    "takes ever longer than the closed form over the N − 1 edges of a chain, which gives the same value.",
}
PLACE = "arXiv 1611.07573, Fig. 2"


def cells(options: Options) -> list[Cell]:
    """The plan; then a cell a number of bins, timed alone."""
    timed = [
        Cell(f"{__name__}:times", {"bins": n, "seed": options.seed}, 0.1 + n**2 / 4e3, alone=True)
        for n in (TOY_SIZES if options.toy else SIZES)
    ]
    return [Cell(f"{__name__}:pairs"), *timed]


def pairs() -> Rows:
    """One row a pair of bins."""
    chain = emdref.Chain(len(P))
    plan, distance = emdref.plan(P, Q, chain).toarray(), chain.distance_matrix()
    return [
        {"kind": "plan", "bins": len(P), "from": i, "to": j, "mass": plan[i, j], "distance": distance[i, j]}
        for i, j in np.ndindex(plan.shape)
    ]


def times(bins: int, seed: int) -> Rows:
    """One row a pair of histograms: whole numbers, the second one the first in another order."""
    chain, rng = emdref.Chain(bins), np.random.default_rng([seed, bins])
    distance, rows = chain.distance_matrix(), []
    for pair in range(PAIRS):
        p = rng.integers(0, 64, bins).astype(float)
        q = rng.permutation(p)
        ways = {"program": lambda p=p, q=q: program(p, q, distance), "emd": lambda p=p, q=q: emdref.emd(p, q, chain)}
        row = {"kind": "time", "bins": bins, "pair": pair, "entries": emdref.plan(p, q, chain).nnz}
        row |= {name: call() for name, call in ways.items()}
        rows.append(row | {f"seconds_{name}": _least(call) for name, call in ways.items()})
    return rows


def _least(call: Callable[[], float]) -> float:
    """Seconds of the processor for a call, the least of three: whatever else a machine does adds to them."""
    count = int(np.clip(LEAST / max(worked(call), 1e-9), 1, 1000))
    return min(worked(lambda: [call() for _ in range(count)]) / count for _ in range(3))


def program(p: np.ndarray, q: np.ndarray, cost: np.ndarray) -> float:
    """Eq. 1: the least of sum(T * cost) over all plans T >= 0 with the row sums p and the column sums q."""
    n = len(p)
    one, all_of = sparse.identity(n, format="csr"), np.ones((1, n))
    sums = sparse.vstack([sparse.kron(one, all_of), sparse.kron(all_of, one)], format="csr")
    return float(linprog(cost.ravel(), A_eq=sums, b_eq=np.concatenate([p, q]), method="highs").fun)


def _plan(table: pd.DataFrame, column: str = "mass") -> np.ndarray:
    return table[table.kind == "plan"].pivot(index="from", columns="to", values=column).to_numpy()


def _times(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.kind == "time"]


def check(table: pd.DataFrame) -> None:
    """The plan is one of those that Eq. 2 allows; both ways to solve the problem agree."""
    plan, timed = _plan(table), _times(table)
    must((plan >= 0).all(), "a mass of the plan is negative")
    must((plan.sum(1) == P).all() and (plan.sum(0) == Q).all(), "the plan's sums are not p and q")
    must(np.allclose(timed.program, timed.emd, rtol=SETTLED, atol=0), "the linear program's optimum is not the EMD")


def claims(table: pd.DataFrame) -> list[Claim]:
    """Direct moves, their number and their price."""
    plan, timed = _plan(table), _times(table)
    moved = plan - np.diag(np.diag(plan))
    cost, least = float((plan * _plan(table, "distance")).sum()), program(P, Q, _plan(table, "distance"))
    largest = timed[timed.bins == timed.bins.max()]
    far = int((abs(np.subtract.outer(range(len(P)), range(len(P))))[moved > 0] > 1).sum())
    return [
        Claim(
            PLACE,
            "in the general case dirt can be moved from and to all bins directly",
            "the plan's entries between bins that are no neighbours, and its cost beside the linear program's optimum",
            Exact(far > 0 and abs(cost - least) <= SETTLED * cost),
            f"{far} of {(moved > 0).sum()} moves pass over other bins; their cost, {cost:g}, is the least",
        ),
        Claim(
            PLACE,
            "computing the amount of dirt that goes through each path is computationally expensive",
            f"processor time of the linear program over that of emdref.emd, most bins timed: at least {DEAR:g}",
            Margin.of(
                largest.seconds_program / largest.seconds_emd, least=DEAR, unit="times as long", kind="threshold"
            ),
            f"{largest.bins.iloc[0]} bins, {len(largest)} pairs of histograms, SciPy's HiGHS beside the closed form",
        ),
        Claim(
            PLACE,
            "an optimal plan needs at most 2N − 1 of the N² pairs, a chain N − 1 edges",
            "the entries of every plan that was timed",
            Exact(bool((timed.entries <= 2 * timed.bins - 1).all())),
            f"at most {largest.entries.max():.0f} of {largest.bins.iloc[0] ** 2} pairs",
            about=FINDING,
        ),
    ]


def draw(table: pd.DataFrame):
    """All pairs, and those used; seconds against bins."""
    fig, (top, low) = style.figure(4.3, 2, gridspec_kw={"height_ratios": [1.5, 1]})
    _draw_plan(top, _plan(table))
    style.letter(top, "a", "all pairs of bins, and the plan")
    timed = _times(table)
    for name, colour, label in (
        ("seconds_program", style.ORANGE, "linear program, N² pairs"),
        ("seconds_emd", style.BLUE, "closed form, N − 1 edges"),
    ):
        low.plot(timed.bins, 1e3 * timed[name], ".", color=colour, markersize=4)
        middle = 1e3 * timed.groupby("bins")[name].median()
        low.plot(middle.index, middle, color=colour, label=label)
    style.log_axis(low, "x")
    style.log_axis(low, "y")
    low.set_xticks(sorted(timed.bins.unique()), [f"{n}" for n in sorted(timed.bins.unique())])
    low.minorticks_off()
    low.set(xlabel="bins N", ylabel="processor time (ms)")
    low.legend(loc="center", bbox_to_anchor=(0.5, 0.4))
    style.letter(low, "b", "time for one pair of histograms")
    return fig


def _draw_plan(axes, plan: np.ndarray) -> None:
    n, gap = len(plan), 1.0
    for i, j in np.ndindex(plan.shape):
        axes.plot([i, j], [gap, 0], color=style.GREY, linewidth=0.4, alpha=0.5, zorder=1)
        if plan[i, j] > 0:
            axes.plot([i, j], [gap, 0], color=style.BLUE, linewidth=28 * plan[i, j], alpha=0.85, zorder=2)
    for row, mass, side in ((gap, plan.sum(1), 1), (0.0, plan.sum(0), -1)):
        axes.bar(
            range(n), side * 2.4 * mass, 0.5, bottom=row + 0.07 * side, color=style.SKY if side > 0 else style.GREY
        )
        axes.plot(range(n), [row] * n, "o", color="white", markeredgecolor=style.BLACK, markersize=5, zorder=3)
    axes.text(-0.75, gap + 0.1, "p", ha="right", fontsize=8)
    axes.text(-0.75, -0.1, "q", ha="right", va="top", fontsize=8)
    axes.set_axis_off()
    axes.set_xlim(-1, n - 0.5)
