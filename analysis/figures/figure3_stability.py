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

import numpy as np
import pandas as pd

from analysis.engine import style
from analysis.engine.cells import Cell
from analysis.engine.claims import Claim, Exact
from analysis.engine.script import Options, must
from analysis.sinkhorn import stability
from analysis.sinkhorn.stability import SHOWN
from analysis.sinkhorn.stability_tables import (
    bands,
    curve,
    last_sound,
    last_while,
    onehot_spread,
    reference,
    select,
    short,
    softmax,
    sound,
    span,
    whereabouts,
)
from emdref.entropic.iteration import FAILED

DTYPES = ("float32", "float64")
PNG = True
KINDS = stability.KINDS
COLOURS = {10: style.ORANGE, 100: style.SKY, 1000: style.BLUE}
NEAR, USABLE, CLOSE = 0.01, 0.05, 0.001  # relative: to the reference; to EMD, for use; to EMD, where it has arrived
CITED = (3.0, 10.0)  # the paper's own lambda (Sec. 5), and the one cited most (Fig. 3)
END = {"color": style.RED, "markersize": 5, "markeredgewidth": 1.5, "zorder": 5}  # of a line whose rows became NaN


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
    """Fig. 3 and Sec. 2.3, each counted pair by pair: what holds for every pair needs no interval."""
    makers = (_needs_iterations, _float32_first, _unusable, _cap_or_lambda, _approaches_emd)
    return [make(softmax(table)) for make in makers]


def _needed(table: pd.DataFrame) -> pd.DataFrame:
    """By pair and lambda: the fewest iterations tried after which SD is near the reference; inf if none are enough."""
    key = ["pair", "lam"]
    goal = reference(table).set_index(key).sd_over_emd
    runs = sound(_dense(table, dtype="float64")).set_index(key)
    near = runs[(runs.sd_over_emd / goal.reindex(runs.index) - 1).abs() <= NEAR]
    return near.groupby(level=key).cap.min().astype(float).reindex(goal.index, fill_value=np.inf).unstack()


def _needs_iterations(table: pd.DataFrame) -> Claim:
    needed = _needed(table).to_numpy()
    last = {cap: (_needed(table) <= cap).T.apply(last_while) for cap in _caps(table)}
    found = ", ".join(f"{cap} iterations up to lambda = {span(lams)}" for cap, lams in last.items())
    return Claim(
        stability.FIGURE,
        "larger values of lambda require a larger amount of iterations to converge",
        "the fewest of the caps whose SD is within 1% of the reference, from each lambda to the next, in every pair",
        Exact(bool((needed[:, 1:] >= needed[:, :-1]).all() and (needed[:, -1] > needed[:, 0]).all())),
        f"Enough in {len(needed)} pairs, float64, are {found}",
        doubts=short(table),
    )


def _float32_first(table: pd.DataFrame) -> Claim:
    last = {
        (dtype, cap): last_sound(_dense(table, dtype=dtype, cap=cap))
        for cap in _caps(table)
        for dtype in ("float32", "float64")
    }
    found = ", ".join(f"{span(lams)} in {dtype} with {cap}" for (dtype, cap), lams in last.items())
    return Claim(
        stability.FIGURE,
        "float32 has a reduced dynamic range compared to float64, which degenerates for large lambda",
        "the largest lambda before underflow, float32 against float64 with as many iterations, in every pair",
        Exact(all(bool((last["float32", cap] < last["float64", cap]).all()) for cap in _caps(table))),
        f"No underflow up to lambda = {found} iterations",
    )


def _usable(table: pd.DataFrame, **key) -> pd.Series:
    """By pair: whether its row is sound and SD within 5% of EMD."""
    rows = _dense(table, **key).set_index("pair")
    return ~rows.status.isin(FAILED) & ((rows.sd_over_emd - 1).abs() <= USABLE)


def _unusable(table: pd.DataFrame) -> Claim:
    large = [lam for lam in table.lam.unique() if lam > 0.99 * _nearest(table, CITED[1])]
    caps = [cap for cap in _caps(table) if cap <= 100]
    good = {
        (t, c, lam): _usable(table, dtype=t, cap=c, lam=lam)
        for t in ("float32", "float64")
        for c in caps
        for lam in large
    }
    some = max(int(x.sum()) for (dtype, *_), x in good.items() if dtype == "float32")
    double = good["float64", caps[-1], large[0]]
    return Claim(
        stability.SECTION,
        "where float32 is common and the iteration number is 10 or 100, larger values of lambda are unusable",
        "pairs without underflow and with SD within 5% of EMD, float32, lambda = 10 and above",
        Exact(some == 0),
        f"In float32 {some or 'none'} of {len(double)} pairs at any lambda from {large[0]:.3g} on; in float64 at "
        f"lambda = {large[0]:.3g} {int(double.sum())} of them with {caps[-1]} iterations",
    )


def _nearest(table: pd.DataFrame, wanted: float) -> float:
    return min(table.lam.unique(), key=lambda lam: abs(lam - wanted))


def _cap_or_lambda(table: pd.DataFrame) -> Claim:
    caps, lams = _caps(table), [_nearest(table, lam) for lam in (1.0, CITED[1])]
    rows = {
        (cap, lam): _dense(table, dtype="float64", cap=cap, lam=lam).set_index("pair") for cap in caps for lam in lams
    }
    error = {
        (cap, lam): (row.sd_over_emd / reference(table[table.lam == lam]).set_index("pair").sd_over_emd - 1).abs()
        for (cap, lam), row in rows.items()
    }
    found = "; ".join(
        f"at lambda = {lam:.3g}: " + ", ".join(f"{100 * error[cap, lam].median():.2g}% ({cap})" for cap in caps)
        for lam in lams
    )
    return Claim(
        stability.SECTION,
        "the iteration limit trades accuracy for speed, the more so the larger lambda",
        "|SD / reference - 1| of each cap at lambda = 10 against lambda = 1, and of each cap against the next, in "
        "every pair",
        Exact(
            all(bool((error[cap, lams[1]] >= error[cap, lams[0]]).all()) for cap in caps)
            and all(bool((error[a, lams[1]] > error[b, lams[1]]).all()) for a, b in pairwise(caps))
        ),
        f"Median errors by iterations {found}",
        doubts=short(table),
    )


def _approaches_emd(table: pd.DataFrame) -> Claim:
    rows = reference(table)
    error = (rows.sd_over_emd - 1).abs().groupby([rows.pair, rows.lam]).first().unstack()
    middle = error.median()
    last = middle.index[middle <= CLOSE][0] if (middle <= CLOSE).any() else middle.index[-1]
    until = error.loc[:, :last].to_numpy()
    ratios = rows.groupby("lam").sd_over_emd.median()
    steps = ", ".join(f"{ratios[lam]:.4f} at {lam:.3g}" for lam in middle.index[::4])
    return Claim(
        stability.FIGURE,
        "larger values of lambda approximate the EMD better (the gray reference line)",
        "|SD / EMD - 1| of the reference from each lambda to the next until its median is 0.1%, in every pair",
        Exact(until.shape[1] > 1 and bool((until[:, 1:] < until[:, :-1]).all())),
        f"Up to lambda = {last:.3g}: median ratios {steps}; {_unfinished(rows)}",
        doubts=short(table),
    )


def _unfinished(rows: pd.DataFrame) -> str:
    """How many rows of the reference have not converged at the largest lambda."""
    end = rows[rows.lam == rows.lam.max()]
    count = int((end.status != "converged").sum())
    return f"at {end.lam.iloc[0]:.3g}, {count} of {len(end)} pairs have not converged after {end.cap.max()} iterations"


def captions(table: pd.DataFrame) -> dict[str, str]:
    """Two sentences."""
    pairs = softmax(table).pair.nunique()
    return {
        "": f"The Sinkhorn distance {whereabouts(table)}, by the iteration of Sinkhorn and Knopp as Cuturi (2013) "
        "uses it and with the gradient of Frogner and others (2015), over the exact EMD, and the angle between both "
        f"gradients: medians of {pairs} softmax pairs, with bands from the 10th to the 90th percentile. The larger "
        "lambda, the more iterations it takes and the sooner numbers underflow, in float32 before lambda = 10, the "
        "value cited most."
    }


def draw(table: pd.DataFrame):
    """The paper's four panels: ratios above, angles below; float64 on the left, float32 on the right."""
    table = softmax(table)
    fig, axes = style.figure(4.0, 2, 2, sharex=True, sharey="row")
    for row, column in zip(axes, ("sd_over_emd", "angle_deg"), strict=True):
        for axis, dtype in zip(row, ("float64", "float32"), strict=True):
            _panel(axis, table, column, dtype)
    for axis, text, dtype in zip(axes.flat, "abcd", 2 * ("float64", "float32"), strict=True):
        style.letter(axis, text, dtype)
    style.log_axis(axes[0, 0], "x")
    style.log_axis(axes[0, 0], "y")
    axes[0, 0].set(ylabel="SD / EMD", ylim=(0.1, 6), xlim=_limits(table))
    axes[0, 0].set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
    axes[0, 0].minorticks_off()
    axes[1, 0].set(ylabel="angle to ∇EMD (°)", ylim=(0, 105))
    for axis in axes[0]:
        axis.axhline(1, color=style.BLACK, linewidth=0.5)
        _mark_cited(axis)
    for axis in axes[1]:
        axis.set_xlabel("λ (1 / cost)")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    return table.lam.min() / 1.15, table.lam.max() * 1.15


def _panel(axis, table: pd.DataFrame, column: str, dtype: str) -> None:
    """One dtype: a line a cap, as far as half of the rows are numbers, and the reference."""
    for lam in CITED:
        axis.axvline(lam, color=style.BLACK, linewidth=0.5, linestyle=":")
    for cap in _caps(table):
        rows = bands(_dense(table, dtype=dtype, cap=cap), column)
        curve(axis, rows, color=COLOURS[cap], label=f"{cap} iterations")
        if len(rows) and rows.index[-1] < table.lam.max():
            axis.plot(rows.index[-1], rows[0.5].iloc[-1], "x", **END)
    rows = reference(table)
    label = f"{rows.cap.max()} iterations, log domain"
    curve(axis, bands(rows, column), band=False, color=style.GREY, linestyle="--", label=label)
    axis.plot([], [], "x", label="underflow: then mostly NaN", **END)


def _mark_cited(axis) -> None:
    """Name the two lambdas that the paper names: its own, and the one cited most."""
    for lam, side in zip(CITED, ("right", "left"), strict=True):
        at, shift = (lam, 0.97), (-2 if side == "right" else 2, 0)
        axis.annotate(
            f"λ = {lam:g}" if side == "right" else f"{lam:g}",
            at, shift, xycoords=axis.get_xaxis_transform(), textcoords="offset points", ha=side, va="top", fontsize=6.5,
        )  # fmt: skip
