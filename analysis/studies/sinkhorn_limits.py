"""Which lambda and cap may I use?  Errors of Sinkhorn's value and gradient over lambda, cap, dtype and domain.

From the sweep of `figure3_stability`: a cell of the map is a lambda and an iteration cap, its colour the error that 90%
of the softmax pairs (three temperatures) stay below: |SD / EMD - 1|, and the angle between log u / lambda, its mean
removed, and the exact zero-sum gradient. A row that failed counts as infinitely wrong. A dot marks where the error is
within 1% or 5 degrees. sinkhorn_limits_table.csv and .html list the usable lambdas. --tree FILE and --chain
N ask for another space, at the same lambda max(M).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm

from analysis.engine import style
from analysis.engine.cells import Cell
from analysis.engine.claims import FINDING, Claim, Exact
from analysis.engine.reproduction import Rounding, exact
from analysis.engine.script import Options, must
from analysis.sinkhorn import stability
from analysis.sinkhorn.stability import LOW
from analysis.sinkhorn.stability_tables import select
from emdref.entropic.iteration import FAILED

DTYPES = ("float32", "float64", *LOW)
PNG = True
KEY = ["dtype", "kernel", "domain", "kind", "cap", "lam"]
SHARE = 0.9  # of the pairs that must be within the limits
WITHIN = {"value": 0.01, "angle": 5.0}  # relative to EMD; degrees
MAPS = (
    ("float32", "dense", "linear"),
    ("float64", "dense", "linear"),
    ("float32", "space", "log"),
    ("float64", "space", "log"),
)
NOTHING = "no two caps that were tried allow any lambda"
SHEETS = {"": "value", "_angle": "angle"}
LOOKS = {  # colours, their label, what a dot says
    "value": (LogNorm(1e-3, 1), "|SD / EMD − 1|", "within 1%"),
    "angle": (LogNorm(1, 90), "angle to ∇EMD (°)", "within 5°"),
}
ENDS = {"from": min, "to": max}
ASKED = (10, 100, 300, 1000, 10_000)
SOURCE = stability.SECTION


def _relative(table: pd.DataFrame) -> pd.Series:
    """Of |SD / EMD - 1|: SD is rounded, not the difference."""
    return stability.rounding(table) * (1 + table.value_most)


_WHY = "as in figure3_rescue; a quantile moves as far as its rows"
KINDS = {
    **exact("dtype", "kernel", "domain", "kind", "cap", "lam", "failed"),
    **dict.fromkeys(("value_half", "value_most"), Rounding(_relative, _WHY)),
    **dict.fromkeys(("angle_half", "angle_most"), Rounding(stability.KINDS["angle_deg"].bound, _WHY)),
}


def cells(options: Options) -> list[Cell]:
    """The sweep that it shares with `figure3_stability`."""
    return stability.sweep(stability.named(options), options)


def reduce(table: pd.DataFrame) -> pd.DataFrame:
    """Errors that half and 90% of the pairs stay below, by kind of target."""
    failed = table.status.isin(FAILED)
    rows = select(table).assign(
        kind=table.target.str.split().str[0],
        value=(table.sd_over_emd - 1).abs().mask(failed | table.sd_over_emd.isna(), np.inf),
        angle=table.angle_deg.mask(failed | table.angle_deg.isna(), np.inf),
        failed=failed,
    )
    groups = rows.groupby(KEY, sort=False)
    columns = {"failed": groups.failed.mean()}
    for name in WITHIN:
        for share, tag in ((0.5, "half"), (SHARE, "most")):
            columns[f"{name}_{tag}"] = groups[name].quantile(share, interpolation="higher")
    return pd.DataFrame(columns).reset_index()


def usable(table: pd.DataFrame, name: str, way: tuple[str, str, str], cap: int, share: str = "most") -> list[float]:
    """The lambdas at which 90% (share "half": half) of the softmax pairs are within the limit of that name."""
    rows = _softmax(table, way)
    rows = rows[rows.cap == cap]
    return sorted(rows.lam[rows[f"{name}_{share}"] <= WITHIN[name]])


def _softmax(table: pd.DataFrame, way: tuple[str, str, str]) -> pd.DataFrame:
    """The rows of softmax pairs that were run in that way."""
    mask = table.kind == "softmax"
    for name, value in zip(KEY, way, strict=False):
        mask &= table[name] == value
    return table[mask]


def ways(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(dtype, kernel, domain) in the table's order."""
    return list(table[KEY[:3]].drop_duplicates().itertuples(index=False, name=None))


def answers(table: pd.DataFrame) -> pd.DataFrame:
    """A row a way and cap: the ranges of usable lambda."""
    caps = [cap for cap in ASKED if cap in set(table.cap)]
    rows = []
    for way in ways(table):
        have = set(_softmax(table, way).cap)
        rows += [_answer(table, way, cap) for cap in caps if cap in have]
    return pd.DataFrame(rows)


def _answer(table: pd.DataFrame, way: tuple[str, str, str], cap: int) -> dict:
    found = {f"{name}_{share}": usable(table, name, way, cap, share) for name in WITHIN for share in ("half", "most")}
    found["both_most"] = sorted(set(found["value_most"]) & set(found["angle_most"]))
    ends = {f"{key}_{end}": pick(good, default=np.nan) for key, good in found.items() for end, pick in ENDS.items()}
    return dict(zip(KEY[:3], way, strict=True)) | {"cap": cap} | ends


def tables(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The answers, for reading by machine."""
    return {"_table": answers(table)}


def check(table: pd.DataFrame) -> None:
    """More iterations never cost a row its log-domain number; something is usable at all."""
    must((table[table.domain == "log"].failed == 0).all(), "a row of the log domain failed")
    must((table.filter(like="_most").to_numpy() >= table.filter(like="_half").to_numpy()).all(), "quantiles disorder")


def claims(table: pd.DataFrame) -> list[Claim]:
    """What may be used: of the pairs at hand, which need no interval, 90% are asked."""
    return [_needs_iterations(table), _float32(table), _typical(table), _window(table)]


def _last(table: pd.DataFrame, way: tuple[str, str, str]) -> dict[int, float]:
    """By cap, where there is one: the largest lambda at which 90% of the softmax pairs are within 1%."""
    have = set(_softmax(table, way).cap)
    last = {cap: max(usable(table, "value", way, cap), default=0.0) for cap in ASKED if cap in have}
    return {cap: lam for cap, lam in last.items() if lam}


def _said(last: dict[int, float]) -> str:
    return ", ".join(f"{lam:.3g} with {cap}" for cap, lam in last.items()) or "none"


def _needs_iterations(table: pd.DataFrame) -> Claim:
    last = {way: _last(table, way) for way in ways(table) if way[0] == "float64"}
    growing = [found for found in last.values() if len(found) > 1]
    return Claim(
        SOURCE,
        "lower values of lambda imply better convergence behavior, larger ones need more iterations",
        "the largest lambda at which 90% of the softmax pairs are within 1% of EMD, from each cap to the next, float64",
        Exact(bool(growing) and all(a < b for found in growing for a, b in pairwise(found.values()))),
        "; ".join(f"{' '.join(way[1:])} {_said(found)}" for way, found in last.items()) + " iterations",
        doubts=[NOTHING] * (not growing),
    )


def _float32(table: pd.DataFrame) -> Claim:
    kernels = [kernel for kernel in ("dense", "space") if (table.kernel == kernel).any()]
    last = {
        (dtype, kernel): _last(table, (dtype, kernel, "linear"))
        for kernel in kernels
        for dtype in ("float32", "float64")
    }
    both = [
        (last["float32", kernel].get(cap, 0.0), lam)
        for kernel in kernels
        for cap, lam in last["float64", kernel].items()
    ]
    return Claim(
        SOURCE,
        "using float32 affects the results, especially for large lambda, where more iterations are required",
        "the largest lambda at which 90% of the softmax pairs are within 1% of EMD, float32 against float64: never "
        "larger, smaller at the largest cap",
        Exact(bool(both) and all(single <= double for single, double in both) and both[-1][0] < both[-1][1]),
        "; ".join(f"{' '.join(key)} {_said(found)}" for key, found in last.items()) + " iterations",
        doubts=[NOTHING] * (not both),
    )


def _typical(table: pd.DataFrame) -> Claim:
    lam = min(table.lam.unique(), key=lambda lam: abs(lam - 10))
    rows = table[(table.kind == "softmax") & (table.lam == lam) & (table.domain == "linear")]
    rows = rows[rows.kernel == rows.kernel.min()]  # dense, where there is a matrix
    at = rows[rows.cap == min(100, rows.cap.max())]
    parts = ", ".join(
        f"{r.dtype} {'fails' if np.isinf(r.value_most) else f'{100 * r.value_most:.0f}% and {r.angle_most:.0f}°'}"
        for r in at.itertuples()
    )
    return Claim(
        SOURCE,
        "lambda = 10 with 100 iterations, both the most cited, is unusable",
        "errors that 90% of the softmax pairs stay below: over 1% in value or 5° in angle, in every format",
        Exact(bool(((at.value_most > WITHIN["value"]) | (at.angle_most > WITHIN["angle"])).all())),
        f"At lambda = {lam:.3g}, cap {at.cap.max()}: {parts}",
    )


def _window(table: pd.DataFrame) -> Claim:
    first = {}
    for way in ways(table):
        caps = sorted(set(_softmax(table, way).cap))
        good = [cap for cap in caps if {*usable(table, "value", way, cap)} & {*usable(table, "angle", way, cap)}]
        first[way] = good[0] if good else np.inf
    found = "; ".join(f"{cap} iterations ({' '.join(way)})" for way, cap in first.items() if np.isfinite(cap))
    return Claim(
        stability.OWN,
        "1% in value and 5 degrees in angle together need more than 1000 iterations, and the log domain",
        "the smallest cap at which 90% of the softmax pairs are within both at some lambda",
        Exact(all(cap > 1000 and way[2] == "log" for way, cap in first.items() if np.isfinite(cap))),
        f"{found or 'No cap'}; none of those tried in any other way",
        about=FINDING,
        sheet="_angle",
    )


def captions(table: pd.DataFrame) -> dict[str, str]:
    """Two sentences a sheet."""
    count = "each lambda and cap tried in the sweep of Figure 3"
    return {
        "": f"The error in value that 90% of the softmax pairs stay below, |SD / EMD - 1|, at {count}: Sinkhorn's "
        "iteration as Cuturi (2013) uses it, by dtype, product and domain. Dots mark what is within 1%, crosses where "
        "more than a tenth of the pairs failed.",
        "_angle": f"The angle to the EMD's gradient that 90% of the softmax pairs stay below, at {count}, of log u / "
        "lambda with its mean removed (Frogner and others, 2015). Dots mark what is within 5 degrees, crosses where "
        "more than a tenth of the pairs failed.",
    }


def draw(table: pd.DataFrame):
    """A map of the errors in value, and one of the angles."""
    return {suffix: _maps(table, name) for suffix, name in SHEETS.items()}


def _maps(table: pd.DataFrame, name: str):
    shown = [way for way in MAPS if way in ways(table)] or ways(table)[:4]
    rows = -(-len(shown) // 2)
    fig, axes = style.figure(1.1 + 1.5 * rows, rows, min(len(shown), 2), sharex=True, sharey=True, squeeze=False)
    norm, label, mark = LOOKS[name]
    for axis, way in zip(axes.flat, shown, strict=False):
        mesh = _map(axis, table, name, way, norm)
        axis.set_title(" ".join(way), loc="left", fontsize=6.5)
    bar = fig.colorbar(mesh, ax=axes, label=label, extend="both", pad=0.02, aspect=40)
    style.plain_ticks(bar.ax, "y")
    bar.ax.minorticks_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("iterations")
    for axis in axes[-1]:
        axis.set_xlabel("λ (1 / cost)")
    for which in "xy":
        style.log_axis(axes[0, 0], which)
    axes[0, 0].minorticks_off()
    for marker, colour, text in ((".", style.RED, mark), ("x", style.GREY, "over 10% failed")):
        axes[0, 0].plot([], [], marker, color=colour, markersize=4, label=text)
    axes[0, 0].plot([], [], "s", color="white", markeredgecolor=style.GREY, markersize=4, label="not tried")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, handletextpad=0.2)
    return fig


def _map(axis, table: pd.DataFrame, name: str, way: tuple[str, str, str], norm: LogNorm):
    error = _softmax(table, way).pivot(index="cap", columns="lam", values=f"{name}_most")
    axis.set_facecolor("white")
    axis.grid(visible=False)
    mesh = axis.pcolormesh(
        _edges(error.columns), _edges(error.index), np.ma.masked_invalid(error), norm=norm, cmap="cividis_r"
    )
    for (i, j), value in np.ndenumerate(error.to_numpy()):
        if value <= WITHIN[name]:
            axis.plot(error.columns[j], error.index[i], ".", color=style.RED, markersize=3)
        elif np.isinf(value):
            axis.plot(error.columns[j], error.index[i], "x", color=style.GREY, markersize=2, markeredgewidth=0.5)
    return mesh


def _edges(values) -> np.ndarray:
    """Borders between neighbours on a logarithmic axis."""
    logs = np.log(np.asarray(values, float))
    inner = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - inner[0]], inner, [2 * logs[-1] - inner[-1]]]))
