"""Figure 3: how iteration cap, float32 and lambda decide whether the Sinkhorn distance is near EMD on the WordNet tree.

Algorithm 1 (variant `paper`) on the 1374-node WordNet tree, 1000 classes, for 64 pairs: softmax pairs of three
temperatures, ReaL human label sets, one-hot labels.  Dense products in float64 and float32 as the frameworks run them,
capped at 10, 100 and 1000 iterations; the reference has 10000 iterations in float64 by the O(V) kernel in the log
domain (a row stops earlier once its marginals agree to 1e-10).  Shown
are the ratio of <T, M> to the exact EMD and the angle between log u / lambda, its mean removed, and the exact zero-sum
gradient: medians and the band from the 10th to the 90th percentile over the rows that returned a number (as a framework
would use it, whatever their status), as far as half of them did.  `figure3_rescue` has what else was tried.  --tree
FILE and --chain N ask for another space, at the same lambda max(M).
"""

from __future__ import annotations

from itertools import pairwise

import pandas as pd

from analysis.engine import style
from analysis.engine.cells import Cell
from analysis.engine.claims import Claim
from analysis.engine.script import Options, must
from analysis.sinkhorn import stability
from analysis.sinkhorn.stability import SHOWN, SOURCE
from analysis.sinkhorn.stability_tables import (
    alive,
    bands,
    curve,
    last_while,
    numbers,
    onehot_spread,
    reference,
    select,
    softmax,
)
from emdref.entropic.iteration import FAILED

DTYPES = ("float32", "float64")
PNG = True
KINDS = stability.KINDS
COLOURS = {10: style.ORANGE, 100: style.SKY, 1000: style.BLUE}


def cells(options: Options) -> list[Cell]:
    """Of the sweep that `figure3_rescue` and `sinkhorn_limits` run, what the four panels show."""
    return stability.panels(stability.named(options), options)


def reduce(table: pd.DataFrame) -> pd.DataFrame:
    """The caps that are shown."""
    return table[table.cap.isin(SHOWN)]


def _dense(table: pd.DataFrame, **key) -> pd.DataFrame:
    """The framework's way: the matrix where there is one, else the space, in the linear domain."""
    rows = select(table, kernel="dense", domain="linear", **key)
    return rows if (table.kernel == "dense").any() else select(table, kernel="space", domain="linear", **key)


def _caps(table: pd.DataFrame) -> list[int]:
    return [int(cap) for cap in sorted(_dense(table, dtype="float64").cap.unique())]


def check(table: pd.DataFrame) -> None:
    """What holds at any size: nothing fails in the log domain, and Sinkhorn exceeds EMD once its marginals agree."""
    log = table[table.domain == "log"]
    must(not log.status.isin(FAILED).any(), "a row in the log domain failed")
    settled = log[log.status == "converged"]
    must((settled.sd_over_emd > 1 - 1e-8).all(), "a converged plan costs less than the optimal one")
    must((onehot_spread(table) < 1e-6).all(), "with a one-hot target the plan is forced, and yet the cap matters")


def claims(table: pd.DataFrame) -> list[Claim]:
    """Sec. 2.3 and the caption."""
    return [make(table) for make in (_needs_iterations, _float32_first, _unusable)]


def _needs_iterations(table: pd.DataFrame) -> Claim:
    goal = bands(softmax(reference(table)), "sd_over_emd")[0.5]
    near = {
        cap: _within(bands(softmax(_dense(table, dtype="float64", cap=cap)), "sd_over_emd")[0.5], goal)
        for cap in _caps(table)
    }
    return Claim(
        SOURCE,
        "larger lambda needs more iterations",
        "largest lambda up to which the median ratio is within 1% of the reference: "
        + ", ".join(f"{lam:.3g} with {cap} iterations" for cap, lam in near.items()),
        all(near[a] < near[b] for a, b in pairwise(_caps(table))),
    )


def _within(ratio: pd.Series, goal: pd.Series) -> float:
    """The largest lambda up to which the ratio is within 1% of the goal."""
    return last_while(abs(ratio / goal[ratio.index] - 1) <= 0.01)


def _float32_first(table: pd.DataFrame) -> Claim:
    last = {
        (dtype, cap): alive(softmax(_dense(table, dtype=dtype, cap=cap)))
        for dtype in ("float32", "float64")
        for cap in _caps(table)
    }
    return Claim(
        SOURCE,
        "float32 degenerates at large lambda, before float64 does",
        "largest lambda up to which half of the softmax rows return a number: "
        + ", ".join(f"{lam:.3g} ({dtype}, {cap})" for (dtype, cap), lam in last.items()),
        all(last["float32", cap] < last["float64", cap] for cap in _caps(table)),
    )


def _unusable(table: pd.DataFrame) -> Claim:
    typical = min(table.lam.unique(), key=lambda lam: abs(lam - 10))
    rows = numbers(softmax(_dense(table, dtype="float64", lam=typical))).groupby("cap")
    found = rows[["sd_over_emd", "angle_deg"]].median()
    return Claim(
        SOURCE,
        "with 10 or 100 iterations large lambda is unusable (lambda = 10 is the most cited)",
        f"at lambda = {typical:.3g}, float64: "
        + ", ".join(f"{cap} iterations SD/EMD = {r:.2f}, gradient {a:.0f}° off" for cap, r, a in found.itertuples()),
        bool((abs(found.sd_over_emd[found.index <= 100] - 1) > 0.05).all()),
    )


def draw(table: pd.DataFrame):
    """The paper's four panels: ratios above, angles below; caps on the left, dtypes on the right."""
    table = softmax(table)
    fig, axes = style.figure(4.6, 2, 2, sharex=True, sharey="row")
    caps = _caps(table)
    for row, column in enumerate(("sd_over_emd", "angle_deg")):
        _draw_caps(axes[row, 0], table, column, caps)
        _draw_dtypes(axes[row, 1], table, column, caps)
        for axis, letter in zip(axes[row], ("ab", "cd")[row], strict=True):
            axis.text(0.03, 0.97, f"({letter})", transform=axis.transAxes, va="top", fontweight="bold")
    axes[0, 0].set(xscale="log", yscale="log", ylabel="SD / EMD", ylim=(0.1, 6))
    axes[0, 0].set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
    axes[0, 0].minorticks_off()
    axes[1, 0].set(ylabel="angle to ∇EMD (°)", ylim=(0, 105))
    for axis, title in zip(axes[0], ("iteration cap, float64", "float32 against float64"), strict=True):
        axis.set_title(title)
        axis.axhline(1, color=style.BLACK, linewidth=0.5)
    for axis in axes[1]:
        axis.set_xlabel("λ (1 / cost)")
    handles = [h for axis in axes[0] for h in axis.get_legend_handles_labels()[0]]
    labels = [t for axis in axes[0] for t in axis.get_legend_handles_labels()[1]]
    unique = dict(zip(labels, handles, strict=True))
    fig.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=3)
    return fig


def _reference_curve(axis, table: pd.DataFrame, column: str) -> None:
    rows = reference(table)
    label = f"{rows.cap.max()} iterations, float64, log domain"
    curve(axis, bands(rows, column), band=False, color=style.GREY, linestyle="--", label=label)


def _draw_caps(axis, table: pd.DataFrame, column: str, caps: list[int]) -> None:
    for cap in caps:
        rows = bands(_dense(table, dtype="float64", cap=cap), column)
        curve(axis, rows, color=COLOURS[cap], label=f"{cap} iterations, float64")
    _reference_curve(axis, table, column)


def _draw_dtypes(axis, table: pd.DataFrame, column: str, caps: list[int]) -> None:
    for cap in caps:
        double = bands(_dense(table, dtype="float64", cap=cap), column)
        curve(axis, double, band=False, color=COLOURS[cap], linewidth=0.7)
        single = bands(_dense(table, dtype="float32", cap=cap), column)
        curve(axis, single, color=COLOURS[cap], linestyle=":", linewidth=2.2, label=f"{cap} iterations, float32")
        if len(single) and single.index[-1] < table.lam.max():
            _cross(axis, single.index[-1], single[0.5].iloc[-1])
    _cross(axis, [], [], label="beyond: mostly NaN in float32")
    _reference_curve(axis, table, column)


def _cross(axis, x, y, **look) -> None:
    axis.plot(x, y, "x", color=style.RED, markersize=7, markeredgewidth=2, zorder=5, **look)
