"""Figure 4: a chain, bin by bin: mass passes through all bins between, and each step takes away one node and one edge.

Two histograms of six bins whose gaps are not all alike.  From the first bin on, what a bin has too much goes to the
next one, what it lacks comes from there: phi of Eq. 6.  That is done by hand here and put beside `emdref.flow`; beside
`emdref.plan`, of whose mass each edge carries what goes over it; and beside the distances of Eq. 4, written down as a
recursion.  All numbers are sums of powers of two, so that every sum is exact.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import emdref
from analysis.engine import style
from analysis.engine.cells import Cell, Rows
from analysis.engine.claims import Claim, Exact
from analysis.engine.reproduction import exact
from analysis.engine.script import Options, must

PNG = True
DTYPES = ("float64",)
P = np.array([5, 1, 2, 4, 1, 3]) / 16
Q = np.array([1, 3, 6, 1, 3, 2]) / 16
PLACES = (0.0, 1.0, 2.0, 4.0, 5.0, 6.0)
KINDS = exact("kind", "step", "bin", "to", "left", "gap", "phi", "right", "back", "mass", "distance", "recursion")
CAPTIONS = {
    "": "On a chain mass passes through all bins between: from the first bin on, a surplus (blue) goes to the next "
    "bin and a lack (red) is filled from there, as the arrows say, in sixteenths of the mass. Each step takes away "
    "one node and one edge, and after the last one nothing is left.",
}
PLACE, SECTION = "arXiv 1611.07573, Fig. 4", "arXiv 1611.07573, Sec. 3"


def cells(options: Options) -> list[Cell]:
    """One cell: there is nothing to vary."""
    return [Cell(f"{__name__}:compute")]


def compute() -> Rows:
    """What is left after each step, a row a bin; the edges; the pairs of bins."""
    chain = emdref.Chain(positions=PLACES)
    flow, plan, distance = emdref.flow(P, Q, chain), emdref.plan(P, Q, chain).toarray(), chain.distance_matrix()
    left, recursion, bins = P - Q, recursive(chain.gaps), range(len(P))
    rows: Rows = [{"kind": "left", "step": 0, "bin": k, "left": left[k]} for k in bins]
    for step in range(1, len(P)):
        left = eliminated(left, step - 1)
        rows += [{"kind": "left", "step": step, "bin": k, "left": left[k]} for k in bins]
    for e in range(len(P) - 1):  # between bins e and e + 1
        over = {"right": plan[: e + 1, e + 1 :].sum(), "back": plan[e + 1 :, : e + 1].sum()}
        rows.append({"kind": "edge", "bin": e, "gap": chain.gaps[e], "phi": flow[e], **over})
    for i, j in np.ndindex(plan.shape):
        both = {"distance": distance[i, j], "recursion": recursion[i, j]}
        rows.append({"kind": "pair", "bin": i, "to": j, "mass": plan[i, j], **both})
    return [dict.fromkeys(KINDS, np.nan) | row for row in rows]


def eliminated(left: np.ndarray, node: int) -> np.ndarray:
    """One step: what is left at that node goes over its edge to the next one."""
    after = left.copy()
    after[node], after[node + 1] = 0.0, left[node + 1] + left[node]
    return after


def recursive(gaps: np.ndarray) -> np.ndarray:
    """The distances by Eq. 4, M[i, j] = M[i - 1, j] + d[i - 1, i] below the diagonal."""
    n = len(gaps) + 1
    distance = np.zeros((n, n))
    for j in range(n):
        for i in range(j + 1, n):
            distance[i, j] = distance[j, i] = distance[i - 1, j] + gaps[i - 1]
    return distance


def _left(table: pd.DataFrame) -> np.ndarray:
    """By step and bin."""
    return table[table.kind == "left"].pivot(index="step", columns="bin", values="left").to_numpy()


def _edges(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.kind == "edge"]


def _pairs(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.kind == "pair"]


def check(table: pd.DataFrame) -> None:
    """No mass is made or lost, and the plan leads from p to q."""
    plan = _pairs(table).pivot(index="bin", columns="to", values="mass").to_numpy()
    must((_left(table).sum(1) == 0).all(), "a step makes or loses mass")
    must((plan >= 0).all() and (plan.sum(1) == P).all() and (plan.sum(0) == Q).all(), "the plan's sums are not p and q")


def claims(table: pd.DataFrame) -> list[Claim]:
    """Fig. 4, and Eqs. 4 to 6."""
    left, edges, pairs = _left(table), _edges(table), _pairs(table)
    pushed = np.diag(left)[:-1]  # by step k from bin k
    by_plan, by_flow = float((pairs.mass * pairs.distance).sum()), float((edges.gap * edges.phi.abs()).sum())
    numbers = ", ".join(f"{16 * x:+g}" for x in edges.phi)
    return [
        Claim(
            PLACE,
            "in chains dirt must travel through all intermediate bins in its path",
            "of each edge: the plan's mass between bins on its two sides, and |phi|",
            Exact(
                bool(
                    (edges.right - edges.back == edges.phi).all() and (edges[["right", "back"]].min(axis=1) == 0).all()
                )
            ),
            f"the plan carries {numbers} sixteenths over the edges, phi each time, and over none both ways",
        ),
        Claim(
            PLACE,
            "computing the EMD only requires to eliminate one node and edge at each step",
            "what each step moves, and emdref.flow",
            Exact(bool((pushed == edges.phi).all() and (left[-1] == 0).all())),
            f"{len(edges)} steps move {numbers} sixteenths, which is phi, and nothing is left",
        ),
        Claim(
            SECTION,
            "Eq. 4: the distance of bins follows from those of neighbours, one after the other",
            "the recursion and the chain's distance matrix, all pairs",
            Exact(bool((pairs.recursion == pairs.distance).all())),
            f"{len(pairs)} pairs, gaps {', '.join(f'{x:g}' for x in edges.gap)}",
        ),
        Claim(
            SECTION,
            "Eq. 5: the EMD is the sum of |phi| times the distance of neighbours",
            "that sum and the plan's cost",
            Exact(by_flow == by_plan),
            f"{by_flow:g} and {by_plan:g}",
        ),
        Claim(
            SECTION,
            "when we arrive at the last bin all dirt has been leveled (phi_N = 0)",
            "what is left at the last bin after the last step",
            Exact(left[-1, -1] == 0),
            f"{left[-1, -1]:g}: the last bin has no edge (ICML Eq. 1 sums over it nevertheless)",
        ),
    ]


def draw(table: pd.DataFrame):
    """Both histograms, and a line of nodes and edges for each step."""
    fig, (top, low) = style.figure(4.6, 2, gridspec_kw={"height_ratios": [1, 4.2]}, sharex=True)
    places = np.array(PLACES)
    top.bar(places - 0.17, P, 0.32, color=style.SKY, label="p, what there is")
    top.bar(places + 0.17, Q, 0.32, color=style.GREY, label="q, where it shall be")
    top.set(ylabel="mass", ylim=(0, 0.42))
    top.tick_params(labelbottom=False)
    top.grid(axis="x", visible=False)
    top.legend(loc="upper center", bbox_to_anchor=(0.5, 1.3), ncols=2)
    left, phi = _left(table), _edges(table).phi.to_numpy()
    for step, row in enumerate(left):
        _draw_step(low, places, step, row, phi)
    low.set(xlabel="place of the bin", ylim=(-len(left) + 0.45, 0.62), yticks=-np.arange(len(left)))
    low.set_yticklabels(["start", *(f"after step {k}" for k in range(1, len(left)))])
    low.set_xticks(places)
    low.grid(visible=False)
    low.spines["left"].set_visible(False)
    low.tick_params(left=False)
    return fig


def _draw_step(axes, places: np.ndarray, step: int, left: np.ndarray, phi: np.ndarray) -> None:
    """The nodes that remain, what each has too much or lacks, and what goes on from the first of them."""
    base = -float(step)
    axes.plot(places[: step + 1], [base] * (step + 1), ":", color=style.GREY, linewidth=0.8, zorder=1)
    axes.plot(places[step:], [base] * (len(places) - step), color=style.BLACK, linewidth=0.8, zorder=1)
    colours = [style.BLUE if x > 0 else style.RED for x in left]
    axes.bar(places, 1.35 * left, 0.3, bottom=base, color=colours, zorder=2)
    for k, x in enumerate(places):
        gone = k < step
        axes.plot(x, base, "o", markersize=3.5, color="white" if gone else style.BLACK, zorder=3,
                  markeredgecolor=style.GREY if gone else style.BLACK)  # fmt: skip
    if step < len(phi):
        start, end = places[step], places[step + 1]
        if phi[step] < 0:
            start, end = end, start
        height = base + 0.2
        arrow = {"arrowstyle": "-|>", "linewidth": 1.2, "color": style.GREEN, "shrinkA": 6, "shrinkB": 6}
        axes.annotate("", (end, height), (start, height), arrowprops=arrow, zorder=4)
        middle = 0.5 * (start + end)
        axes.text(middle, height + 0.05, f"{16 * abs(phi[step]):g}", ha="center", va="bottom", fontsize=6.5)
