"""Figure 3: how iteration cap, float32 and lambda decide whether the Sinkhorn distance is near EMD on the WordNet tree.

Algorithm 1 (variant `paper`) on the 1374-node WordNet tree, 1000 classes, for 64 pairs: softmax pairs of three
temperatures, ReaL human label sets, one-hot labels.  Dense products in float64 and float32 as the frameworks run them,
capped at 10, 100 and 1000 iterations; the reference has 10000 iterations in float64 by the O(V) kernel in the log
domain (a row stops earlier once its marginals agree to 1e-10).  Shown are the ratio of <T, M> to the exact EMD and the
angle between log u / lambda, its mean removed, and the exact zero-sum gradient: medians and the band from the 10th to
the 90th percentile over the rows that returned a number (as a framework would use it, whatever their status), as far as
half of them did.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import pandas as pd

import emdref
from analysis import style
from analysis.script import Cell, Claim, Options, must
from analysis.shapes import angle
from analysis.targets import SIGMAS, Pairs, pairs
from emdref.iteration import FAILED

DTYPES = ("float32", "float64")
PNG = True
LAMBDAS = np.logspace(-1, 2, 10)
CAPS, REFERENCE = (10, 100, 1000), 10_000
TOY_CAPS, TOY_REFERENCE = (10, 30), 100
SETTLED = 1e-10  # marginal error at which the reference has nothing left to do
COLOURS = {10: style.ORANGE, 100: style.SKY, 1000: style.BLUE}
SOFTMAX = tuple(f"softmax {sigma:g}" for sigma in SIGMAS)


def cells(options: Options) -> list[Cell]:
    """Three cells a lambda: dense float64, dense float32, reference."""
    lambdas = LAMBDAS[[0, 3, 6, 9]] if options.toy else LAMBDAS
    scale = 0.02 if options.toy else 1.0
    work = []
    for lam in lambdas:
        work.append(Cell(lambda lam=lam: _dense(options, lam, "float64"), 11 * scale))
        work.append(Cell(lambda lam=lam: _dense(options, lam, "float32"), 5.5 * scale))
        work.append(Cell(lambda lam=lam: _reference(options, lam), min(1 + 5 * lam, 25) * scale))
    return work


@lru_cache(maxsize=1)
def _setting(options: Options) -> tuple[emdref.Tree, Pairs, np.ndarray, np.ndarray]:
    """Tree, pairs, exact values and gradients."""
    tree = emdref.wordnet_tree()
    batch = pairs(options, tree.n_bins, *((2, 2) if options.toy else (8, 20)))
    value, grad = emdref.emd_value_and_grad(batch.p, batch.q, tree)
    return tree, batch, value, grad


def _dense(options: Options, lam: float, dtype: str) -> list[dict]:
    tree, batch, *_ = _setting(options)
    caps = TOY_CAPS if options.toy else CAPS
    result = emdref.sinkhorn(
        batch.p, batch.q, tree, lam, max_iter=caps[-1], checkpoints=caps, kernel="dense", dtype=dtype
    )
    return [
        row
        for cap in caps
        for row in _rows(
            options, result.checkpoints[cap], lam=lam, cap=cap, dtype=dtype, kernel="dense", domain="linear"
        )
    ]


def _reference(options: Options, lam: float) -> list[dict]:
    tree, batch, *_ = _setting(options)
    cap = TOY_REFERENCE if options.toy else REFERENCE
    result = emdref.sinkhorn(batch.p, batch.q, tree, lam, max_iter=cap, tol=SETTLED, kernel="space", domain="log")
    return _rows(options, result, lam=lam, cap=cap, dtype="float64", kernel="space", domain="log")


def _rows(options: Options, result: emdref.SinkhornResult, **key) -> list[dict]:
    _, batch, value, grad = _setting(options)
    own = result.grad.astype(np.float64)
    with np.errstate(invalid="ignore"):
        ratio = result.value.astype(np.float64) / value
        degrees = angle(own - own.mean(axis=1, keepdims=True), grad)
    return [
        key
        | {
            "target": batch.target[i],
            "pair": i,
            "sd_over_emd": ratio[i],
            "angle_deg": degrees[i],
            "status": result.status[i],
        }
        for i in range(len(ratio))
    ]


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that returned a number, be it a wrong one."""
    return table[~table.status.isin(("nan", "overflow"))]


def _select(table: pd.DataFrame, targets: tuple[str, ...] = SOFTMAX, **key) -> pd.DataFrame:
    mask = table.target.isin(targets)
    for name, value in key.items():
        mask &= table[name] == value
    return table[mask]


def _bands(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Quantiles by lambda over the rows that are a number, up to the last lambda at which at least half are."""
    bands = _numbers(table).groupby("lam")[column].quantile([0.1, 0.5, 0.9]).unstack()
    return bands.loc[: _alive(table)]


def _reference_rows(table: pd.DataFrame, targets: tuple[str, ...] = SOFTMAX) -> pd.DataFrame:
    return _select(table, targets, domain="log")


def _alive(table: pd.DataFrame) -> float:
    """The largest lambda up to which at least half of the rows returned a number."""
    share = _numbers(table).groupby("lam").size() / table.groupby("lam").size()
    share = share.fillna(0.0)  # a lambda at which no row did
    return float(share.index[(share >= 0.5).cumprod().astype(bool)].max())


def check(table: pd.DataFrame) -> None:
    """What holds at any size: nothing fails in the log domain, and Sinkhorn exceeds EMD once its marginals agree."""
    reference = table[table.domain == "log"]
    must(not reference.status.isin(FAILED).any(), "a row of the log-domain reference failed")
    settled = reference[reference.status == "converged"]
    must((settled.sd_over_emd > 1 - 1e-8).all(), "a converged plan costs less than the optimal one")
    must((_onehot_spread(table) < 1e-6).all(), "with a one-hot target the plan is forced, and yet the cap matters")


def _onehot_spread(table: pd.DataFrame) -> pd.Series:
    """How far the caps' ratios are apart for each pair with a one-hot target, in float64."""
    onehot = _numbers(_select(table, ("one-hot",), dtype="float64", kernel="dense"))
    return onehot.groupby(["lam", "pair"]).sd_over_emd.agg(np.ptp)


def _caps(table: pd.DataFrame) -> list[int]:
    return [int(cap) for cap in sorted(table[table.kernel == "dense"].cap.unique())]


def claims(table: pd.DataFrame) -> list[Claim]:
    """Sec. 2.3 and the caption."""
    return [make(table) for make in (_needs_iterations, _float32_first, _unusable, _approaches_emd, _onehot)]


SOURCE = "arXiv 1611.07573, Sec. 2.3 and Fig. 3"


def _median_ratios(table: pd.DataFrame) -> dict[int, pd.Series]:
    """By cap: the median ratio against lambda, dense float64."""
    return {c: _bands(_select(table, dtype="float64", cap=c, kernel="dense"), "sd_over_emd")[0.5] for c in _caps(table)}


def _limit(table: pd.DataFrame) -> pd.Series:
    return _bands(_reference_rows(table), "sd_over_emd")[0.5]


def _needs_iterations(table: pd.DataFrame) -> Claim:
    limit = _limit(table)
    near = {
        cap: max((lam for lam in ratio.index if abs(ratio[lam] / limit[lam] - 1) <= 0.01), default=0.0)
        for cap, ratio in _median_ratios(table).items()
    }
    return Claim(
        SOURCE,
        "larger lambda needs more iterations",
        "largest lambda at which the median ratio is within 1% of the reference: "
        + ", ".join(f"{lam:.3g} with {cap} iterations" for cap, lam in near.items()),
        all(near[a] < near[b] for a, b in pairwise(_caps(table))),
    )


def _float32_first(table: pd.DataFrame) -> Claim:
    last = {(d, c): _alive(_select(table, dtype=d, cap=c, kernel="dense")) for d in DTYPES for c in _caps(table)}
    return Claim(
        SOURCE,
        "float32 degenerates at large lambda, before float64 does",
        "largest lambda up to which half of the softmax rows return a number: "
        + ", ".join(f"{lam:.3g} ({d}, {c})" for (d, c), lam in last.items()),
        all(last["float32", c] < last["float64", c] for c in _caps(table)),
    )


def _unusable(table: pd.DataFrame) -> Claim:
    typical = min(table.lam.unique(), key=lambda lam: abs(lam - 10))
    rows = _numbers(_select(table, dtype="float64", kernel="dense", lam=typical)).groupby("cap")
    found = rows[["sd_over_emd", "angle_deg"]].median()
    return Claim(
        SOURCE,
        "with 10 or 100 iterations large lambda is unusable (lambda = 10 is the most cited)",
        f"at lambda = {typical:.3g}, float64: "
        + ", ".join(f"{cap} iterations SD/EMD = {r:.2f}, gradient {a:.0f}° off" for cap, r, a in found.itertuples()),
        bool((abs(found.sd_over_emd[found.index <= 100] - 1) > 0.05).all()),
    )


def _approaches_emd(table: pd.DataFrame) -> Claim:
    limit = _limit(table)
    shown = limit.iloc[:: max(1, len(limit) // 3)]
    return Claim(
        SOURCE,
        "the converged distance approaches EMD as lambda grows",
        "median ratio of the reference: " + ", ".join(f"{ratio:.4f} at {lam:.3g}" for lam, ratio in shown.items()),
        bool(abs(limit.iloc[-1] - 1) < abs(limit.iloc[0] - 1)),
    )


def _onehot(table: pd.DataFrame) -> Claim:
    spread = _onehot_spread(table).max()
    return Claim(
        "found here",
        "(not in the paper) with a one-hot target the cap does not matter: the plan is forced after one iteration",
        f"the caps' ratios differ by at most {spread:.1g} in float64",
        bool(spread < 1e-6),
    )


def draw(table: pd.DataFrame):
    """Ratios above, angles below; caps, dtypes, targets from left to right."""
    fig, axes = style.figure(style.PAGE, 4.3, 2, 3, sharex=True, sharey="row")
    caps = _caps(table)
    for row, column in enumerate(("sd_over_emd", "angle_deg")):
        _draw_caps(axes[row, 0], table, column, caps)
        _draw_dtypes(axes[row, 1], table, column, caps)
        _draw_targets(axes[row, 2], table, column, caps[-2])
        for axis, letter in zip(axes[row], ("ab", "cd")[row] + "ef"[row], strict=True):
            axis.text(0.03, 0.97, f"({letter})", transform=axis.transAxes, va="top", fontweight="bold")
    axes[0, 0].set(xscale="log", yscale="log", ylabel="SD / EMD", ylim=(0.1, 6))
    axes[0, 0].set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
    axes[0, 0].minorticks_off()
    axes[1, 0].set(ylabel="angle to the gradient of EMD (°)", ylim=(0, 105))
    for axis, title in zip(
        axes[0], ("iteration cap, float64", "float32 against float64", f"targets, cap {caps[-2]}, float64"), strict=True
    ):
        axis.set_title(title)
        axis.axhline(1, color=style.BLACK, linewidth=0.5)
    for axis in axes[1]:
        axis.set_xlabel("λ (1 / hop)")
    handles = [h for axis in axes[0] for h in axis.get_legend_handles_labels()[0]]
    labels = [t for axis in axes[0] for t in axis.get_legend_handles_labels()[1]]
    unique = dict(zip(labels, handles, strict=True))
    fig.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=4)
    return fig


def _curve(axis, bands: pd.DataFrame, band: bool = True, **kwargs) -> None:
    axis.plot(bands.index, bands[0.5], **kwargs)
    if band:
        axis.fill_between(bands.index, bands[0.1], bands[0.9], color=kwargs["color"], alpha=0.15, linewidth=0)


def _reference_curve(axis, table: pd.DataFrame, column: str, targets: tuple[str, ...] = SOFTMAX) -> None:
    bands = _bands(_reference_rows(table, targets), column)
    cap = int(table[table.domain == "log"].cap.iloc[0])
    _curve(axis, bands, band=False, color=style.GREY, linestyle="--", label=f"{cap} iterations, float64, log domain")


def _draw_caps(axis, table: pd.DataFrame, column: str, caps: list[int]) -> None:
    for cap in caps:
        bands = _bands(_select(table, dtype="float64", cap=cap, kernel="dense"), column)
        _curve(axis, bands, color=COLOURS.get(cap, style.BLUE), label=f"{cap} iterations, float64")
    _reference_curve(axis, table, column)


def _draw_dtypes(axis, table: pd.DataFrame, column: str, caps: list[int]) -> None:
    for cap in caps:
        colour = COLOURS.get(cap, style.BLUE)
        double = _bands(_select(table, dtype="float64", cap=cap, kernel="dense"), column)
        _curve(axis, double, band=False, color=colour, linewidth=0.7)
        single = _bands(_select(table, dtype="float32", cap=cap, kernel="dense"), column)
        _curve(axis, single, color=colour, linestyle=":", linewidth=2.2, label=f"{cap} iterations, float32")
        if len(single) and single.index[-1] < table.lam.max():
            axis.plot(
                single.index[-1], single[0.5].iloc[-1], "x", color=style.RED, markersize=7, markeredgewidth=2, zorder=5
            )
    axis.plot([], [], "x", color=style.RED, markersize=6, markeredgewidth=2, label="beyond: mostly NaN in float32")
    _reference_curve(axis, table, column)


def _draw_targets(axis, table: pd.DataFrame, column: str, cap: int) -> None:
    for targets, colour, marker in (
        (SOFTMAX, style.SKY, "o"),
        (("ReaL",), style.GREEN, "s"),
        (("one-hot",), style.PURPLE, "^"),
    ):
        bands = _bands(_select(table, targets, dtype="float64", cap=cap, kernel="dense"), column)
        name = "softmax pairs" if targets == SOFTMAX else f"{targets[0]} targets"
        _curve(axis, bands, color=colour, marker=marker, markersize=3, label=name)
