"""Beside Figure 3: what rescues Sinkhorn, what hides its failure, what it converges to, and what makes it worse.

The pairs and lambdas of `figure3_stability`, run in all ways: dense products in float64, float32, TF32, bfloat16 and
float16, the O(V) kernel in both domains, and overrelaxed, which finds what the iteration tends to.  It asks what the
log domain and the O(V) kernel rescue, where one-hot targets make the cap irrelevant, what formats below float32 do, and
what the cap and the wrong derivative each cost the gradient.  --tree FILE and --chain N repeat it on another space, at
the same lambda max(M).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.engine import style
from analysis.engine.cells import Cell
from analysis.engine.claims import Claim
from analysis.engine.script import Options, must
from analysis.sinkhorn import stability
from analysis.sinkhorn.stability import LOW, SHOWN
from analysis.sinkhorn.stability_tables import (
    alive,
    bands,
    curve,
    last_while,
    limit,
    onehot_spread,
    select,
    softmax,
    sound,
)
from emdref.entropic.iteration import FAILED

DTYPES = ("float32", "float64", *LOW)
PNG = True
KINDS = stability.KINDS
CAP = 100
WAYS = {  # dtype, kernel, domain: colour, line
    ("float32", "dense", "linear"): (style.ORANGE, "-"),
    ("float64", "dense", "linear"): (style.BLUE, "-"),
    ("float32", "space", "linear"): (style.ORANGE, "--"),
    ("float64", "space", "linear"): (style.BLUE, "--"),
    ("float32", "space", "log"): (style.RED, ":"),
    ("float64", "space", "log"): (style.BLACK, ":"),
}
FORMATS = {
    "float64": (style.BLACK, "-"),
    "float32": (style.ORANGE, "-"),
    "tf32": (style.GREEN, "--"),
    "bfloat16": (style.PURPLE, "-."),
    "float16": (style.RED, ":"),
}
TARGETS = {"softmax": (style.SKY, "o"), "ReaL": (style.GREEN, "s"), "one-hot": (style.PURPLE, "^")}
GRADIENTS = {"potential": "log u / λ", "value": "∂⟨T,M⟩/∂p", "objective": "∂objective/∂p"}


def cells(options: Options) -> list[Cell]:
    """The whole sweep, which `sinkhorn_limits` shares, and the derivatives of capped runs."""
    name = stability.named(options)  # once: a tree file is read for it
    return stability.sweep(name, options) + stability.derivatives(name, options)


def reduce(table: pd.DataFrame) -> pd.DataFrame:
    """The caps that are shown, and the limit."""
    return table[table.cap.isin(SHOWN) | (table.variant != "paper")]


def check(table: pd.DataFrame) -> None:
    """Nothing fails in the log domain, and a forced plan does not depend on the cap."""
    must(not table[table.domain == "log"].status.isin(FAILED).any(), "a row in the log domain failed")
    must((onehot_spread(table) < 1e-6).all(), "with a one-hot target the plan is forced, and yet the cap matters")


def _cap(table: pd.DataFrame) -> int:
    """The cap that is looked at, or the last below it."""
    caps = table.cap[table.cap <= CAP]
    return int(min(caps.max(), table[table.domain == "linear"].cap.max()))


def _way(table: pd.DataFrame, way: tuple[str, str, str], **key) -> pd.DataFrame:
    return select(table, dtype=way[0], kernel=way[1], domain=way[2], **key)


def _sound(table: pd.DataFrame) -> pd.Series:
    """By lambda: the share of rows whose status is no failure."""
    return (~table.status.isin(FAILED)).groupby(table.lam).mean()


def _last_sound(table: pd.DataFrame) -> float:
    """The largest lambda up to which at least 99% of the rows are sound."""
    return last_while(_sound(table) >= 0.99)


def rounding(table: pd.DataFrame, way: tuple[str, str, str]) -> pd.Series:
    """By lambda: the median of |SD / SD(float64, log domain) - 1| at the same cap, over sound rows."""
    key = ["lam", "pair"]
    exact = _way(table, ("float64", "space", "log"), cap=_cap(table)).set_index(key).sd_over_emd
    rows = sound(_way(table, way, cap=_cap(table))).set_index(key).sd_over_emd
    return (rows / exact.reindex(rows.index) - 1).abs().groupby("lam").median()


def truncation(table: pd.DataFrame, kind: str, cap: int) -> pd.Series:
    """By lambda: the median of |SD / SD converged - 1| for targets of a kind, where at least 90% of them converged."""
    key = ["lam", "pair"]
    rows = table[table.target.str.startswith(kind)]
    settled = limit(rows).set_index(key).sd_over_emd
    capped = _way(rows, ("float64", "space", "log"), cap=cap).set_index(key).sd_over_emd
    error = (capped / settled.reindex(capped.index) - 1).abs()
    return error.groupby("lam").median()[error.notna().groupby("lam").mean() >= 0.9]


def claims(table: pd.DataFrame) -> list[Claim]:
    """What the iteration tends to, which the paper says, and what was found beside it."""
    made = [_approaches_emd(table), _log_domain(table), _space_kernel(table), _onehot(table)]
    if table.dtype.isin(LOW).any():
        made.append(_formats(table))
    return [*made, _gradients(table)]


def _claim(claimed: str, found: str, holds: object) -> Claim:
    return Claim("Found here, not in the paper", claimed, found, bool(holds))


def _approaches_emd(table: pd.DataFrame) -> Claim:
    ratios = bands(softmax(limit(table)), "sd_over_emd")[0.5]
    shown = ratios.iloc[:: max(1, len(ratios) // 3)]
    listed = ", ".join(f"{ratio:.6f} at {lam:.3g}" for lam, ratio in shown.items()) or "no row converged"
    return Claim(
        stability.SOURCE,
        "the converged distance approaches EMD as lambda grows",
        f"median ratio at convergence: {listed}",
        len(ratios) > 1 and bool(abs(ratios.iloc[-1] - 1) < abs(ratios.iloc[0] - 1)),
    )


def _log_domain(table: pd.DataFrame) -> Claim:
    cap = _cap(table)
    last = {way: _last_sound(_way(table, way, cap=cap)) for way in WAYS if len(_way(table, way, cap=cap))}
    return _claim(
        "the log domain rescues every row, in float32 too",
        f"largest lambda up to which 99% of the rows are sound at cap {cap}: "
        + ", ".join(f"{lam:.3g} ({' '.join(way)})" for way, lam in last.items()),
        all(lam == table.lam.max() for way, lam in last.items() if way[2] == "log"),
    )


def _space_kernel(table: pd.DataFrame) -> Claim:
    error = {way: rounding(table, way) for way in WAYS if way[0] == "float32" and len(_way(table, way))}
    shown = ", ".join(f"{e.max():.1g} ({' '.join(way)}, up to lambda {e.index.max():.3g})" for way, e in error.items())
    return _claim(
        "where float32 does not fail it is not far off: rounding is no problem, underflow is",
        f"largest median error of SD against float64 at the same cap, over sound rows: {shown}",
        max(e.max() for e in error.values()) < 1e-2,
    )


def _onehot(table: pd.DataFrame) -> Claim:
    spread, cap = onehot_spread(table).max(), min(table.cap)
    soft = truncation(table, "softmax", cap).max()
    return _claim(
        "with a one-hot target the cap does not matter: the plan is forced after one iteration",
        f"over the caps shown SD / EMD varies by at most {spread:.1g} with one-hot targets; with softmax targets {cap} "
        f"iterations are up to {100 * soft:.0f}% (median) from convergence",
        spread < 1e-6 < soft,
    )


def _formats(table: pd.DataFrame) -> Claim:
    cap = _cap(table)
    rows = {d: softmax(select(table, dtype=d, kernel="dense", cap=cap)) for d in FORMATS}
    last = {d: (alive(r), _last_sound(r)) for d, r in rows.items()}
    return _claim(
        "range decides, not precision: TF32 and bfloat16, with float32's exponents, fail where float32 does, float16 "
        "long before",
        "largest lambda up to which half of the softmax rows are numbers, and up to which 99% are sound: "
        + ", ".join(f"{d} {a:.3g} and {s:.3g}" for d, (a, s) in last.items()),
        last["tf32"] == last["bfloat16"] == last["float32"] > last["float16"],
    )


def _gradients(table: pd.DataFrame) -> Claim:
    cap, parts, holds = int(table[table.gradient == "value"].cap.max()), [], []
    for wanted in (1.0, 10.0):
        lam = min(table.lam.unique(), key=lambda lam: abs(np.log(lam / wanted)))
        rows = softmax(table[(table.lam == lam) & (table.dtype == "float64") & (table.domain == "log")])
        angle = {kind: select(rows, kind, cap=cap).angle_deg.median() for kind in GRADIENTS}
        angle["converged"] = limit(rows).angle_deg.median()
        holds.append(angle["value"] > angle["potential"] > angle["converged"])
        parts.append(
            f"at lambda = {lam:.3g} log u / lambda {angle['potential']:.0f}° (converged {angle['converged']:.0f}°), "
            f"exact derivative of <T,M> {angle['value']:.0f}°, of the objective {angle['objective']:.0f}°"
        )
    return _claim(
        "where the cap bites, the exact derivative of a capped run points further from the EMD's gradient than "
        "log u / lambda, which is the derivative of neither number",
        f"median angles to the gradient of EMD, cap {cap}: {'; '.join(parts)}",
        holds[-1],
    )


def draw(table: pd.DataFrame):
    """Failures and their rescue, targets, formats, gradients."""
    fig, axes = style.figure(5.6, 2, 3)
    _draw_sound(axes[0, 0], table)
    _draw_rounding(axes[1, 0], table)
    _draw_targets(axes[0, 1], table)
    _draw_gradients(axes[1, 1], table)
    _draw_formats(axes[:, 2], table)
    for axis, letter in zip(axes.T.flat, "abcdef", strict=True):
        style.letter(axis, letter, axis.get_title())
        axis.set_title("")
    for axis in axes.flat:
        axis.set(xscale="log", xlim=(table.lam.min() / 1.2, table.lam.max() * 1.2), xlabel="λ (1 / cost)")
    return fig


def _draw_sound(axis, table: pd.DataFrame) -> None:
    for way, (colour, line) in WAYS.items():
        sound = _sound(_way(table, way, cap=_cap(table)))
        if len(sound):
            axis.plot(sound.index, 100 * sound, line, color=colour, label=" ".join(way))
    axis.set(title=f"what fails, cap {_cap(table)}", ylabel="sound rows (%)", ylim=(-3, 103))
    style.below(axis, 2)


def _draw_rounding(axis, table: pd.DataFrame) -> None:
    for way, (colour, line) in WAYS.items():
        error = rounding(table, way)
        if way[0] == "float32" and len(error):
            axis.plot(error.index, error, line, color=colour, label=" ".join(way))
    axis.set(title="float32 where it is sound", yscale="log", ylabel="|SD / SD(float64) − 1|", ylim=(1e-8, 1e-2))
    style.below(axis, 2)


def _draw_targets(axis, table: pd.DataFrame) -> None:
    caps = [cap for cap in (10, 100) if cap <= _cap(table)]
    for kind, (colour, marker) in TARGETS.items():
        for cap, line in zip(caps, ("-", "--"), strict=False):
            error = truncation(table, kind, cap)
            look = {"marker": marker, "markersize": 3, "color": colour, "label": f"{kind}, cap {cap}"}
            if len(error):
                axis.plot(error.index, error.clip(1e-9), line, **look)
    axis.set(title="targets, float64", yscale="log", ylabel="|SD / SD converged − 1|", ylim=(5e-10, 10))
    axis.text(0.35, 0.06, "0 is drawn at 1e−9", transform=axis.transAxes, fontsize=5.5)
    style.below(axis, 2)


def _draw_gradients(axis, table: pd.DataFrame) -> None:
    rows = softmax(table[(table.dtype == "float64") & (table.domain == "log")])
    for cap, colour in ((10, style.ORANGE), (100, style.SKY)):
        for (kind, name), line in zip(GRADIENTS.items(), ("-", "--", ":"), strict=True):
            found = select(rows, kind, cap=cap)
            curve(axis, bands(found, "angle_deg"), band=False, color=colour, linestyle=line, label=f"{name}, cap {cap}")
    curve(
        axis, bands(limit(rows), "angle_deg"), band=False, color=style.GREY, linewidth=0.8, label="log u / λ, converged"
    )
    axis.set(title="gradients of a capped run", ylabel="angle to ∇EMD (°)", ylim=(0, 105))
    style.below(axis, 2)


def _draw_formats(axes, table: pd.DataFrame) -> None:
    for dtype, (colour, line) in FORMATS.items():
        rows = softmax(select(table, dtype=dtype, kernel="dense", cap=_cap(table)))
        if len(rows):
            for axis, column in zip(axes, ("sd_over_emd", "angle_deg"), strict=True):
                found = bands(rows, column)
                curve(axis, found, band=False, color=colour, linestyle=line, label=dtype)
                if len(found) and found.index[-1] < rows.lam.max():
                    axis.plot(
                        found.index[-1], found[0.5].iloc[-1], "x", color=colour, markersize=6, markeredgewidth=1.5
                    )
    top, low = axes
    top.axhline(1, color=style.BLACK, linewidth=0.5)
    top.set(title=f"formats, cap {_cap(table)}", yscale="log", ylabel="SD / EMD", ylim=(0.1, 6))
    top.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
    top.minorticks_off()
    for axis in axes:
        axis.plot([], [], "x", color=style.GREY, label="then mostly NaN")
        if not (table.kernel == "dense").any():
            axis.text(0.5, 0.6, "no matrix: too many bins", transform=axis.transAxes, ha="center")
    low.set(title="their gradients", ylabel="angle to ∇EMD (°)", ylim=(0, 105))
    for axis in axes:
        style.below(axis, 3)
