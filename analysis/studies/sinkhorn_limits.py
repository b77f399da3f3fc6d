"""Which lambda and cap may I use?  Errors of Sinkhorn's value and gradient over lambda, cap, dtype and domain.

From the sweep of `figure3_stability`: a cell of the map is a lambda and an iteration cap, its colour the error that 90%
of the softmax pairs (three temperatures) stay below: |SD / EMD - 1|, and the angle between log u / lambda, its mean
removed, and the exact zero-sum gradient. A row that failed counts as infinitely wrong. A dot marks where the error is
within 1% or 5 degrees. The second sheet and sinkhorn_limits_table.csv list the usable lambdas. --tree FILE and --chain
N ask for another space, at the same lambda max(M).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogLocator

from analysis.engine import style
from analysis.engine.cells import Cell
from analysis.engine.claims import Claim
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
ENDS = {"from": min, "to": max}
ASKED = (10, 100, 300, 1000, 10_000)
SOURCE = "arXiv 1611.07573, Sec. 2.3"


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
    """What may be used."""
    return [_needs_iterations(table), _window(table), _typical(table)]


def _needs_iterations(table: pd.DataFrame) -> Claim:
    caps = [cap for cap in ASKED if cap in set(table.cap)]
    last = {way: [max(usable(table, "value", way, cap), default=0.0) for cap in caps] for way in ways(table)}
    parts = [
        f"{' '.join(way)}: "
        + (", ".join(f"{lam:.3g} (cap {cap})" for cap, lam in zip(caps, found, strict=True) if lam) or "none")
        for way, found in last.items()
    ]
    tried = {way: [lam for lam in found if lam] for way, found in last.items()}
    growing = all(found == sorted(found) for found in tried.values())
    kernels = {kernel for _, kernel, domain in last if domain == "linear"}
    pairs = [(last["float32", kernel, "linear"], last["float64", kernel, "linear"]) for kernel in sorted(kernels)]
    return Claim(
        SOURCE,
        "larger lambda needs more iterations, and float32 allows less than float64",
        f"largest lambda with 1% error in value for 90% of the softmax pairs: {'; '.join(parts)}",
        growing and all(a <= b for single, double in pairs for a, b in zip(single, double, strict=True))
        and any(single != double for single, double in pairs),
    )  # fmt: skip


def _window(table: pd.DataFrame) -> Claim:
    parts = []
    for way in ways(table):
        caps = [
            c
            for c in sorted(set(table.cap))
            if set(usable(table, "value", way, c)) & set(usable(table, "angle", way, c))
        ]
        parts.append(f"{' '.join(way)}: " + (f"{caps[0]} iterations" if caps else "none of those tried"))
    return Claim(
        "Found here, not in the paper",
        "1% in value and 5 degrees in angle together need a cap far above 100",
        f"smallest cap that allows both at some lambda: {'; '.join(parts)}",
        all(part.split(": ")[1] not in ("10 iterations", "50 iterations", "100 iterations") for part in parts),
    )


def _typical(table: pd.DataFrame) -> Claim:
    lam = min(table.lam.unique(), key=lambda lam: abs(lam - 10))
    rows = table[
        (table.kind == "softmax") & (table.lam == lam) & (table.domain == "linear") & (table.kernel == "dense")
    ]
    rows = rows if len(rows) else table[(table.kind == "softmax") & (table.lam == lam) & (table.domain == "linear")]
    at = rows[rows.cap == min(100, rows.cap.max())]
    parts = ", ".join(
        f"{r.dtype}: {'fails' if np.isinf(r.value_most) else f'{100 * r.value_most:.0f}% and {r.angle_most:.0f}°'}"
        for r in at.itertuples()
    )
    return Claim(
        SOURCE,
        "lambda = 10 with 100 iterations, the most cited setting, is unusable",
        f"errors that 90% of the pairs stay below at lambda = {lam:.3g}, cap {at.cap.max()}: {parts}",
        bool(((at.value_most > WITHIN["value"]) | (at.angle_most > WITHIN["angle"])).all()),
    )


def draw(table: pd.DataFrame):
    """The maps, and the table."""
    return {"": _maps(table), "_table": _table(answers(table))}


def _maps(table: pd.DataFrame):
    shown = [way for way in MAPS if way in ways(table)] or ways(table)[:4]
    fig, axes = style.figure(3.9, 2, len(shown), sharex=True, sharey=True, squeeze=False)
    norms = {"value": LogNorm(1e-3, 1), "angle": LogNorm(1, 90)}
    labels = {"value": "|SD / EMD − 1|", "angle": "angle to ∇EMD (°)"}
    for row, name in zip(axes, WITHIN, strict=True):
        for axis, way in zip(row, shown, strict=True):
            mesh = _map(axis, table, name, way, norms[name])
        fig.colorbar(mesh, ax=row, label=labels[name], extend="both", pad=0.01)
    for axis, way in zip(axes[0], shown, strict=True):
        axis.set_title(" ".join(way))
    for axis in axes[:, 0]:
        axis.set_ylabel("iterations")
    for axis in axes[1]:
        axis.set_xlabel("λ (1 / cost)")
    axes[0, 0].set(xscale="log", yscale="log")
    axes[0, 0].xaxis.set_major_locator(LogLocator(numticks=9))
    for mark, colour, text in (
        (".", style.RED, "within 1% or 5° for 90% of the softmax pairs"),
        ("x", style.GREY, "more than 10% failed (white: not tried)"),
    ):
        axes[0, 0].plot([], [], mark, color=colour, markersize=4, label=text)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def _map(axis, table: pd.DataFrame, name: str, way: tuple[str, str, str], norm: LogNorm):
    error = _softmax(table, way).pivot(index="cap", columns="lam", values=f"{name}_most")
    axis.set_facecolor("white")
    axis.grid(visible=False)
    mesh = axis.pcolormesh(
        _edges(error.columns), _edges(error.index), np.ma.masked_invalid(error), norm=norm, cmap="cividis_r"
    )
    failed = np.isinf(error.to_numpy())
    for (i, j), value in np.ndenumerate(error.to_numpy()):
        if value <= WITHIN[name]:
            axis.plot(error.columns[j], error.index[i], ".", color=style.RED, markersize=4)
        elif failed[i, j]:
            axis.plot(error.columns[j], error.index[i], "x", color=style.GREY, markersize=2.5, markeredgewidth=0.6)
    return mesh


def _edges(values) -> np.ndarray:
    """Borders between neighbours on a logarithmic axis."""
    logs = np.log(np.asarray(values, float))
    inner = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - inner[0]], inner, [2 * logs[-1] - inner[-1]]]))


def _table(rows: pd.DataFrame):
    fig, axis = style.figure(0.16 * (len(rows) + 3), 1, 1)
    axis.set_axis_off()
    columns = [name.removesuffix("_from") for name in rows if name.endswith("_from")]
    cells = [
        [*(row[key] for key in KEY[:3]), row["cap"], *(_range(row[f"{c}_from"], row[f"{c}_to"]) for c in columns)]
        for row in rows.to_dict("records")
    ]
    titles = [*KEY[:3], "cap", "1%, half", "1%, 90%", "5°, half", "5°, 90%", "both, 90%"]
    text = axis.table(cells, colLabels=titles, loc="upper center", cellLoc="center")
    text.auto_set_font_size(False)
    text.set_fontsize(7)
    text.scale(1, 0.85)
    for (i, _), box in text.get_celld().items():
        box.set(linewidth=0.3, edgecolor=style.GREY)
        if i == 0:
            box.set_text_props(fontweight="bold")
    axis.set_title("λ at which half or 90% of the softmax pairs are within 1% in value, 5° in angle", fontsize=8)
    return fig


def _range(first: float, last: float) -> str:
    if np.isnan(first):
        return "none"
    return f"{first:.3g}" if first == last else f"{first:.3g} – {last:.3g}"
