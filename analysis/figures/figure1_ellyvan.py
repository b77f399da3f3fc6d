"""Figure 1: the Ellyvan tree, the flow on its branches and the gradients of EMD and EMD^2.

Two pairs of leaves hang at unit cost from two nodes that one unit edge joins.  A network sees a hybrid of elephant and
van (f), the label allows both middle leaves (y).  The gradients are printed in the paper to one decimal and must come
out as printed.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import emdref
from analysis.engine import style
from analysis.engine.cells import Cell, Rows
from analysis.engine.claims import Claim
from analysis.engine.reproduction import exact
from analysis.engine.script import Options, must

DTYPES = ("float64",)
KINDS = exact(
    "node", "name", "parent", "cost", "phi", "f", "y", "grad_emd", "grad_emd2", "printed_grad_emd", "printed_grad_emd2"
)
PRINTED = {"grad_emd": (1.5, -0.5, -1.5, 0.5), "grad_emd2": (0.5, -0.1, -0.7, 0.3)}
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
    """The two printed rows."""
    leaves = table.dropna(subset="f")
    return [
        Claim(
            "arXiv 1611.07573, Fig. 1",
            f"grad {label} = {PRINTED[name]}",
            f"({', '.join(f'{x:.3g}' for x in leaves[name])})",
            bool(np.allclose(leaves[name], PRINTED[name], atol=1e-9)),
        )
        for name, label in (("grad_emd", "EMD"), ("grad_emd2", "EMD^2"))
    ]


def draw(table: pd.DataFrame):
    """The tree with its flow above, the leaves' numbers below."""
    fig, (top, low) = style.figure(3.6, 2, gridspec_kw={"height_ratios": [1.1, 1]}, sharex=True)
    _draw_tree(top, table)
    leaves = table.dropna(subset="f")
    series = (
        ("f", "prediction f", style.SKY),
        ("y", "label y", style.GREY),
        ("grad_emd", "∇EMD", style.BLUE),
        ("grad_emd2", "∇EMD²", style.RED),
    )
    for i, (name, label, colour) in enumerate(series):
        bars = low.bar(np.arange(4) + 0.2 * (i - 1.5), leaves[name], 0.19, color=colour, label=label)
        low.bar_label(bars, fmt="%.1f", fontsize=5.5, padding=1)
    low.axhline(0, color=style.BLACK, linewidth=0.6)
    low.set_xticks(np.arange(4), leaves["name"])
    low.set_ylabel("mass; gradient (cost)")
    low.set_ylim(-2, 2)
    low.grid(axis="x", visible=False)
    low.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), columnspacing=0.9, handlelength=1.0)
    return fig


def _draw_tree(axes, table: pd.DataFrame) -> None:
    for row in table.itertuples():
        x, y = PLACES[row.node]
        if row.parent >= 0:
            end, start = PLACES[row.parent], (x, y)
            if row.phi < 0:
                start, end = end, start
            arrow = {"arrowstyle": "-|>", "linewidth": 10 * abs(row.phi), "color": style.ORANGE}
            arrow |= {"shrinkA": 9, "shrinkB": 9, "mutation_scale": 8 + 12 * abs(row.phi)}
            axes.annotate("", end, start, arrowprops=arrow)
            middle = (0.5 * (start[0] + end[0]), 0.5 * (start[1] + end[1]))
            dx, dy, side = SIDES[row.node]
            axes.annotate(f"{abs(row.phi):.1f}", middle, (dx, dy), textcoords="offset points", ha=side, fontsize=7)
        axes.plot(x, y, "o", color="white", markeredgecolor=style.BLACK, markersize=7, zorder=3)
        if row.node < 2:
            axes.annotate(row.name, (x, y), (0, 8), textcoords="offset points", ha="center")
    axes.set_ylim(-0.3, 1.4)
    axes.set_axis_off()
    axes.set_title("flow |φ| along the branches (mass)")
