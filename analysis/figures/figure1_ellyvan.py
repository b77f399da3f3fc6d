"""Figure 1: the Ellyvan tree, the flow on its branches and the gradients of EMD and EMD^2.

Two pairs of leaves hang at unit cost from two nodes that one unit edge joins.  A network sees a hybrid of elephant and
van (f), the label allows both middle leaves (y).  The gradients are printed in the paper to one decimal and must come
out as printed.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import numpy as np
import pandas as pd

import emdref
from analysis.engine import style
from analysis.engine.cells import Cell, Rows
from analysis.engine.claims import Claim, Exact
from analysis.engine.reproduction import exact
from analysis.engine.script import Options, must

DTYPES = ("float64",)
KINDS = exact(
    "node", "name", "parent", "cost", "phi", "f", "y", "grad_emd", "grad_emd2", "printed_grad_emd", "printed_grad_emd2"
)
PRINTED = {"grad_emd": (1.5, -0.5, -1.5, 0.5), "grad_emd2": (0.5, -0.1, -0.7, 0.3)}
SECTION = "arXiv 1611.07573, Sec. 3.2"
STEP = 1e-3  # of mass, less than any flow of the example
CAPTIONS = {
    "": "The tree of the Ellyvan example with the mass that flows along each branch, the masses of prediction and "
    "label at the leaves, and the gradients of EMD and EMD². Both gradients are as printed in the paper: those of EMD "
    "are multiples of a quarter, those of EMD² grow with the flow."
}
NAMES = ("animals", "vehicles", "lion", "elephant", "van", "car")  # ours: the paper shows pictures
PLACES = ((0.5, 1.0), (2.5, 1.0), (0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (3.0, 0.0))
SIDES = {1: (0, 5, "center"), 2: (-6, 2, "right"), 3: (6, 2, "left"), 4: (-6, 2, "right"), 5: (6, 2, "left")}


def cells(options: Options) -> list[Cell]:
    """One cell: there is nothing to vary."""
    return [Cell(f"{__name__}:compute")]


def compute() -> Rows:
    """One row a node."""
    tree = emdref.Tree([-1, 0, 0, 0, 1, 1])
    f, y = np.array([0.2, 0.4, 0.2, 0.2]), np.array([0.0, 0.5, 0.5, 0.0])
    phi = emdref.flow(f, y, tree)
    columns = {
        "f": f,
        "y": y,
        "grad_emd": emdref.emd_grad(f, y, tree),
        "grad_emd2": emdref.emd_grad(f, y, tree, rho=2),
        **{f"printed_{name}": values for name, values in PRINTED.items()},
    }
    rows = []
    for node in range(tree.n_nodes):
        row = {
            "node": node,
            "name": NAMES[node],
            "parent": tree.parent[node],
            "cost": tree.cost[node],
            "phi": phi[node],
        }
        at = np.flatnonzero(tree.bins == node)
        rows.append(row | {name: values[at[0]] if len(at) else np.nan for name, values in columns.items()})
    return rows


def check(table: pd.DataFrame) -> None:
    """The printed gradients, and conservation of dirt."""
    leaves = table.dropna(subset="f")
    for name in PRINTED:
        must(np.allclose(leaves[name], leaves[f"printed_{name}"], rtol=0, atol=1e-12), f"{name} is not as printed")
        must(abs(leaves[name].sum()) < 1e-12, f"{name} does not sum to 0")


def claims(table: pd.DataFrame) -> list[Claim]:
    """The two printed rows, and what Sec. 3.2 says of these gradients and their derivatives."""
    leaves = table.dropna(subset="f")
    f, y, tree = leaves.f.to_numpy(), leaves.y.to_numpy(), _tree(table)
    printed = [
        Claim(
            "arXiv 1611.07573, Fig. 1",
            f"∇{label} = {PRINTED[name]}",
            "the zero-sum gradient with respect to f, to one decimal",
            Exact(bool(np.allclose(leaves[name], PRINTED[name], atol=1e-9))),
            f"({', '.join(f'{x:.3g}' for x in leaves[name])})",
        )
        for name, label in (("grad_emd", "EMD"), ("grad_emd2", "EMD²"))
    ]
    return [*printed, _fractions(f, y, tree), _hessians(f, y, tree), _dirt(f, y, tree)]


def _tree(table: pd.DataFrame) -> emdref.Tree:
    return emdref.Tree(table.parent, table.cost)


def _slopes(f: np.ndarray, y: np.ndarray, tree: emdref.Tree, rho: int) -> list[Fraction]:
    """The gradient as rationals."""
    return emdref.exact.grad(f, y, tree, rho)


def _fractions(f: np.ndarray, y: np.ndarray, tree: emdref.Tree) -> Claim:
    one, two = (_slopes(f, y, tree, rho) for rho in (1, 2))
    return Claim(
        SECTION,
        "where costs are natural numbers, the terms of ∇EMD are integer fractions of N, those of ∇EMD² are real valued",
        "N times each term as a rational: an integer for EMD, not for EMD²",
        Exact(all((len(f) * x).denominator == 1 for x in one) and any((len(f) * x).denominator > 1 for x in two)),
        f"N ∇EMD = ({', '.join(str(len(f) * x) for x in one)}), N ∇EMD² = "
        f"({', '.join(f'{float(len(f) * x):.3g}' for x in two)})",
    )


def _hessians(f: np.ndarray, y: np.ndarray, tree: emdref.Tree) -> Claim:
    moved = [f + STEP * (a - b) for a, b in permutations(np.eye(len(f)), 2)]
    constant = all(_slopes(g / g.sum(), y, tree, 1) == _slopes(f, y, tree, 1) for g in moved)
    hess = emdref.emd_hess(f, y, tree, rho=2)
    return Claim(
        SECTION,
        "the Hessian of EMD is zero except where the sign of a flow changes, that of EMD² is not zero",
        f"∇EMD after {STEP:g} of mass has moved between any two leaves, as rationals; the largest entry of EMD²'s "
        "Hessian",
        Exact(constant and bool(abs(hess).max() > 0)),
        f"∇EMD {'stays the same' if constant else 'changes'} in all {len(moved)} moves; the Hessian of EMD² has "
        f"entries from {hess.min():.3g} to {hess.max():.3g}",
    )


def _dirt(f: np.ndarray, y: np.ndarray, tree: emdref.Tree) -> Claim:
    totals = {label: sum(_slopes(f, y, tree, rho)) for rho, label in ((1, "EMD"), (2, "EMD²"))}
    return Claim(
        SECTION,
        "both gradients conserve dirt",
        "the sum of the terms as rationals",
        Exact(not any(totals.values())),
        ", ".join(f"{total} for {label}" for label, total in totals.items()),
    )


def draw(table: pd.DataFrame):
    """The tree with its flow above; below its leaves their mass, and both gradients."""
    heights = {"height_ratios": [1.5, 1, 1]}
    fig, (tree, mass, slopes) = style.figure(4.8, 3, 1, gridspec_kw=heights, sharex=True)
    _draw_tree(tree, table)
    leaves = table.dropna(subset="f")
    _bars(mass, leaves, {"f": ("prediction f", style.SKY), "y": ("label y", style.GREY)})
    _bars(slopes, leaves, {"grad_emd": ("∇EMD", style.BLUE), "grad_emd2": ("∇EMD²", style.ORANGE)})
    mass.set(ylabel="mass", ylim=(0, 0.62))
    slopes.set(ylabel="gradient (cost)", ylim=(-2, 2))
    slopes.axhline(0, color=style.BLACK, linewidth=0.6)
    slopes.set_xticks(np.arange(4), leaves["name"])
    return fig


def _bars(axis, leaves: pd.DataFrame, series: dict[str, tuple[str, str]]) -> None:
    """Two bars a leaf, with their numbers."""
    for i, (name, (label, colour)) in enumerate(series.items()):
        bars = axis.bar(np.arange(4) + 0.36 * (i - 0.5), leaves[name], 0.34, color=colour, label=label)
        axis.bar_label(bars, fmt="%.1f", fontsize=6.5, padding=1)
    axis.grid(axis="x", visible=False)
    axis.legend(ncols=2, loc="lower right", bbox_to_anchor=(1.0, 0.97), columnspacing=1.0, handlelength=1.0)


def _draw_tree(axis, table: pd.DataFrame) -> None:
    """Nodes with their names, branches as wide as the mass that flows along them."""
    for row in table.itertuples():
        x, y = PLACES[row.node]
        if row.parent >= 0:
            end, start = PLACES[row.parent], (x, y)
            if row.phi < 0:
                start, end = end, start
            arrow = {"arrowstyle": "-|>", "linewidth": 10 * abs(row.phi), "color": style.ORANGE}
            arrow |= {"shrinkA": 7, "shrinkB": 7, "mutation_scale": 8 + 12 * abs(row.phi)}
            axis.annotate("", end, start, arrowprops=arrow)
            middle = (0.5 * (start[0] + end[0]), 0.5 * (start[1] + end[1]))
            dx, dy, side = SIDES[row.node]
            axis.annotate(f"{abs(row.phi):.1f}", middle, (dx, dy), textcoords="offset points", ha=side, fontsize=7)
        axis.plot(x, y, "o", color="white", markeredgecolor=style.BLACK, markersize=7, zorder=3)
        place = {"xytext": (0, 7), "va": "bottom"} if row.node < 2 else {"xytext": (0, -7), "va": "top"}
        axis.annotate(row.name, (x, y), textcoords="offset points", ha="center", fontsize=7, **place)
    axis.set_ylim(-0.35, 1.35)
    axis.set_axis_off()
    axis.set_title("mass that flows along each branch", loc="left")
