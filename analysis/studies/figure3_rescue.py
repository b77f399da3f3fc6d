"""Beside Figure 3: what rescues Sinkhorn, what hides its failure, what it converges to, and what makes it worse.

The pairs and lambdas of `figure3_stability`, run in all ways: dense products in float64, float32, TF32, bfloat16 and
float16, the O(V) kernel in both domains, and overrelaxed, which finds what the iteration tends to.  It asks what the
log domain and the O(V) kernel rescue, where one-hot targets make the cap irrelevant, what formats below float32 do, and
what the cap and the wrong derivative each cost the gradient.  --tree FILE and --chain N repeat it on another space, at
the same lambda max(M).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from analysis.engine import style
from analysis.engine.cells import Cell
from analysis.engine.claims import FINDING, Claim, Exact
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
    reference,
    select,
    short,
    softmax,
    sound,
    whereabouts,
)
from emdref.entropic.iteration import FAILED

DTYPES = ("float32", "float64", *LOW)
PNG = True
KINDS = stability.KINDS
CAP = 100
FAR = 101.0  # lambda up to which the paper looks
SETTLED = 0.5  # lambda at which 100 iterations are enough
TIE = 1e-9  # the table keeps nine digits
WAYS = {  # dtype, kernel, domain: looks under which lines that coincide are told apart
    ("float32", "dense", "linear"): {"color": style.ORANGE, "linewidth": 4, "alpha": 0.35},
    ("float32", "space", "linear"): {"color": style.ORANGE, "linestyle": "--"},
    ("float32", "space", "log"): {"color": style.ORANGE, "marker": "o", "linewidth": 0.6, "markevery": (0, 2)},
    ("float64", "dense", "linear"): {"color": style.BLUE, "linewidth": 4, "alpha": 0.35},
    ("float64", "space", "linear"): {"color": style.BLUE, "linestyle": "--"},
    ("float64", "space", "log"): {"color": style.BLUE, "marker": "x", "linewidth": 0.6, "markevery": (1, 2)},
}
FORMATS = {  # likewise
    "float64": {"color": style.BLACK},
    "float32": {"color": style.ORANGE, "linewidth": 5, "alpha": 0.4},
    "tf32": {"color": style.GREEN, "linestyle": "--"},
    "bfloat16": {"color": style.PURPLE, "linewidth": 0.5, "marker": "o", "markersize": 3},
    "float16": {"color": style.RED, "linestyle": ":", "linewidth": 2},
}
TARGETS = {
    "softmax": {"color": style.SKY, "marker": "o"},
    "ReaL": {"color": style.GREEN, "marker": "s"},
    "one-hot": {"color": style.PURPLE, "marker": "^"},
}
GRADIENTS = {
    "potential": ("log u / λ", {"color": style.BLUE}),
    "value": ("∂⟨T, M⟩/∂p", {"color": style.ORANGE, "linewidth": 3, "alpha": 0.5}),
    "objective": ("∂objective/∂p", {"color": style.RED, "linestyle": ":", "linewidth": 1.6}),
}
FLOOR = 1e-9  # of a logarithmic axis: where 0 is drawn


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


def _beside(table: pd.DataFrame, way: tuple[str, str, str]) -> pd.DataFrame:
    """By lambda and pair: SD / EMD of the sound rows, and of float64 in the log domain at the same cap."""
    key = ["lam", "pair"]
    rows = sound(_way(table, way, cap=_cap(table))).set_index(key).sd_over_emd
    exact = _way(table, ("float64", "space", "log"), cap=_cap(table)).set_index(key).sd_over_emd
    return pd.DataFrame({"found": rows, "exact": exact.reindex(rows.index)})


def rounding(table: pd.DataFrame, way: tuple[str, str, str]) -> pd.Series:
    """By lambda: the median of |SD / SD(float64, log domain) - 1| at the same cap, over sound rows."""
    rows = _beside(table, way)
    return (rows.found / rows.exact - 1).abs().groupby("lam").median()


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
    made = [_approaches_emd(table), _gray_line(table), _subgradient(table), _rounding(table)]
    made += [_log_domain(table), _onehot(table)]
    if table.dtype.isin(LOW).any():
        made.append(_formats(table))
    return [*made, _gradients(table)]


def _finding(claimed: str, contrast: str, held: object, found: str, sheet: str = "") -> Claim:
    return Claim(stability.OWN, claimed, contrast, Exact(bool(held)), found, about=FINDING, sheet=sheet)


def _by_pair(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column by pair and lambda."""
    return rows.pivot(index="pair", columns="lam", values=column)


def _approaches_emd(table: pd.DataFrame) -> Claim:
    error = (_by_pair(softmax(limit(table)), "sd_over_emd") - 1).abs()
    steps = [(error[b] - error[a]).dropna() for a, b in pairwise(error.columns)]
    falls = bool(steps) and all(bool((step <= TIE).all()) for step in steps)
    shown = error.median().iloc[:: max(1, error.shape[1] // 3)]
    listed = ", ".join(f"{value:.1e} at {lam:.3g}" for lam, value in shown.items()) or "no row converged"
    return Claim(
        stability.SECTION,
        "larger values of lambda approximate the Earth Mover's Distance better",
        "|SD / EMD - 1| of the converged distance from each lambda to the next, in every pair that converged at both",
        Exact(falls),
        f"Median error at convergence: {listed}",
    )


def _gray_line(table: pd.DataFrame) -> Claim:
    rows, settled = softmax(reference(table)), softmax(limit(table))
    ratio = _by_pair(rows, "sd_over_emd") / _by_pair(settled, "sd_over_emd").reindex(columns=rows.lam.unique()) - 1
    turn = _by_pair(rows, "angle_deg") - _by_pair(settled, "angle_deg").reindex(columns=rows.lam.unique())
    shown = [lam for lam in ratio.columns if lam <= FAR and ratio[lam].notna().any()]
    worst = {lam: (ratio[lam].abs().max(), turn[lam].abs().max()) for lam in shown}
    good = pd.Series({lam: value <= 0.01 and angle <= 1 for lam, (value, angle) in worst.items()}, dtype=bool)
    value, angle = worst[shown[-1]] if shown else (np.nan, np.nan)
    return Claim(
        stability.FIGURE,
        "10000 iterations in float64 are a reference for the distance and its gradient (the gray line)",
        "its SD within 1% and its angle within 1 degree of the converged ones up to lambda = 100, in every pair",
        Exact(len(good) > 0 and bool(good.all())),
        f"It is up to lambda = {last_while(good):.3g}; at {shown[-1] if shown else 0:.3g} it is up to "
        f"{100 * value:.1f}% and {angle:.0f}° off, for it has not converged",
        doubts=short(table),
    )


def _angles(table: pd.DataFrame, wanted: float, cap: int) -> pd.DataFrame:
    """By pair, at the lambda next to that: angles of each kind of gradient, and at convergence, to the EMD's."""
    lam = min(table.lam.unique(), key=lambda lam: abs(np.log(lam / wanted)))
    rows = softmax(table[(table.lam == lam) & (table.dtype == "float64") & (table.domain == "log")])
    angles = {kind: select(rows, kind, cap=cap).set_index("pair").angle_deg for kind in GRADIENTS}
    found = pd.DataFrame(angles | {"converged": limit(rows).set_index("pair").angle_deg}).dropna()
    return found.rename_axis(index=f"{lam:.3g}")


def _unrolled_cap(table: pd.DataFrame) -> int:
    return int(table[table.gradient == "value"].cap.max())


def _subgradient(table: pd.DataFrame) -> Claim:
    cap = _unrolled_cap(table)
    rows = _angles(table, SETTLED, cap)
    middle = rows.median()
    held = len(rows) > 0 and bool((rows.potential - rows.objective).abs().max() < 0.1)
    settled = len(rows) > 0 and bool((rows.potential - rows.converged).abs().max() < 0.1)
    return Claim(
        "arXiv 1611.07573, Sec. 2.2",
        "the Sinkhorn-Knopp algorithm produces a subgradient of SD, log u / lambda, without extra cost",
        f"angles to the EMD's gradient of log u / lambda and of the exact derivative of Eq. 3's objective, cap {cap}, "
        f"at lambda = {SETTLED}, where both have converged, in every pair",
        Exact(held),
        f"At lambda = {rows.index.name} log u / lambda {middle.potential:.1f}°, the objective {middle.objective:.1f}°; "
        f"but the derivative of <T, M>, which Algorithm 1 returns, {middle['value']:.1f}° (medians)",
        doubts=["the capped run has not converged at any such lambda"] * (not settled),
        sheet="_gradients",
    )


def _rounding(table: pd.DataFrame) -> Claim:
    ways = [way for way in WAYS if way[0] == "float32" and len(_way(table, way, cap=_cap(table)))]
    worst = {way: float(_beside(table, way).eval("abs(found - exact)").max()) for way in ways}
    listed = ", ".join(f"{error:.0e} {' '.join(way[1:])}" for way, error in worst.items())
    return Claim(
        stability.SECTION,
        "the multiply-accumulate operations of the Sinkhorn algorithm are prone to numerical inaccuracies in float32",
        "whether float32's SD is more than 1% of EMD from float64's at the same cap, in any row without underflow",
        Exact(max(worst.values()) > 0.01),
        f"Largest difference over EMD at cap {_cap(table)}: {listed}; what breaks float32 is underflow",
    )


def _log_domain(table: pd.DataFrame) -> Claim:
    cap = _cap(table)
    last = {way: _last_sound(_way(table, way, cap=cap)) for way in WAYS if len(_way(table, way, cap=cap))}
    return _finding(
        "the log domain rescues every row, in float32 too; the O(V) kernel alone rescues none",
        "the largest lambda up to which 99% of the rows are sound, by dtype, kernel and domain",
        all(lam == table.lam.max() for way, lam in last.items() if way[2] == "log"),
        f"At cap {cap}: " + ", ".join(f"{lam:.3g} ({' '.join(way)})" for way, lam in last.items()),
    )


def _onehot(table: pd.DataFrame) -> Claim:
    spread, cap = onehot_spread(table).max(), min(table.cap)
    soft = truncation(table, "softmax", cap).max()
    return _finding(
        "with a one-hot target the cap does not matter: the plan is forced after one iteration",
        "how far SD / EMD of the caps are apart, in any pair with a one-hot target",
        spread < 1e-6 < soft,
        f"At most {spread:.1g} apart with one-hot targets; with softmax targets {cap} iterations are up to "
        f"{100 * soft:.0f}% (median) from convergence",
        sheet="_targets",
    )


def _formats(table: pd.DataFrame) -> Claim:
    cap = _cap(table)
    rows = {d: softmax(select(table, dtype=d, kernel="dense", cap=cap)) for d in FORMATS}
    last = {d: (alive(r), _last_sound(r)) for d, r in rows.items()}
    return _finding(
        "range decides, not precision: TF32 and bfloat16, with float32's exponents, fail where float32 does, float16 "
        "long before",
        "the largest lambda up to which half of the softmax rows are numbers, by format",
        last["tf32"] == last["bfloat16"] == last["float32"] > last["float16"],
        "Numbers, and 99% sound rows, up to lambda = "
        + ", ".join(f"{a:.3g} and {s:.3g} in {d}" for d, (a, s) in last.items()),
        sheet="_formats",
    )


def _gradients(table: pd.DataFrame) -> Claim:
    cap = _unrolled_cap(table)
    rows = _angles(table, 10.0, cap)
    held = len(rows) > 0 and bool((rows["value"] > rows.potential).all() and (rows.potential > rows.converged).all())
    middle = rows.median()
    return _finding(
        "where the cap bites, the exact derivative of a capped run points further from the EMD's gradient than "
        "log u / lambda, which is the derivative of neither number",
        f"angles to the EMD's gradient at lambda = 10, cap {cap}, in every pair",
        held,
        f"Medians at lambda = {rows.index.name}: log u / lambda {middle.potential:.0f}° (converged "
        f"{middle.converged:.0f}°), the derivative of <T, M> {middle['value']:.0f}°, of the objective "
        f"{middle.objective:.0f}°",
        sheet="_gradients",
    )


def captions(table: pd.DataFrame) -> dict[str, str]:
    """Two sentences a sheet."""
    cap, where = _cap(table), whereabouts(table)
    return {
        "": f"The share of rows without underflow, overflow or NaN {where} after {cap} iterations, by dtype, product "
        "and domain, and how far the SD of sound float32 rows is from that of float64 (medians). The log domain "
        "rescues every row, the O(V) product by itself none.",
        "_targets": f"How far SD {where} is from convergence after 10 and 100 iterations, by kind of target: softmax, "
        "human label sets (ReaL) and one-hot, medians over pairs. With a one-hot target one iteration is enough, and "
        "so few iterations look better than they are.",
        "_gradients": f"The angle between the EMD's gradient {where} and three gradients of a capped run: log u / λ, "
        "and the exact derivatives of <T, M> and of the objective, medians of softmax pairs. Where the cap bites the "
        "exact derivatives point elsewhere, and log u / λ is the derivative of neither.",
        "_formats": f"SD over EMD {where}, and the angle between their gradients, after {cap} iterations with dense "
        "products in five number formats, medians of softmax pairs. TF32 and bfloat16 end where float32 does, for they "
        "have its exponents.",
    }


def draw(table: pd.DataFrame):
    """Failures and their rescue; then targets, gradients and, where there is a matrix, formats, a sheet each."""
    sheets = {"": _draw_ways(table), "_targets": _draw_targets(table), "_gradients": _draw_gradients(table)}
    return sheets | ({"_formats": _draw_formats(table)} if table.dtype.isin(LOW).any() else {})


def _two(table: pd.DataFrame, titles: tuple[str, str], **how):
    """Two panels with lambda along them."""
    fig, axes = style.figure(2.7, 1, 2, **how)
    for axis, letter, title in zip(axes, "ab", titles, strict=True):
        style.letter(axis, letter, title)
        style.log_axis(axis, "x")
        axis.set(xlim=(table.lam.min() / 1.2, table.lam.max() * 1.2), xlabel="λ (1 / cost)")
    return fig, axes


def _draw_ways(table: pd.DataFrame):
    fig, (left, right) = _two(table, (f"sound rows, cap {_cap(table)}", "their rounding"))
    for way, look in WAYS.items():
        rows = _way(table, way, cap=_cap(table))
        if len(rows):
            share = _sound(rows)
            left.plot(share.index, 100 * share, markersize=4, label=" ".join(way), **look)
            if way[0] == "float32":
                error = rounding(table, way)
                right.plot(error.index, error, markersize=4, **look)
    left.set(ylabel="sound rows (%)", ylim=(-4, 104))
    style.log_axis(right, "y")
    right.set(ylabel="|SD / SD(float64) − 1|", ylim=(1e-7, 1e-3))
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def _draw_targets(table: pd.DataFrame):
    caps = [cap for cap in (10, 100) if cap <= _cap(table)]
    fig, axes = _two(table, ("cap 10", "cap 100"), sharey=True)
    for axis, cap in zip(axes, caps, strict=False):
        for kind, look in TARGETS.items():
            error = truncation(table, kind, cap)
            axis.plot(error.index, error.clip(FLOOR), markersize=3, label=kind, **look)
    style.log_axis(axes[0], "y")
    axes[0].set(ylabel="|SD / SD converged − 1|", ylim=(FLOOR / 3, 10))
    axes[0].set_yticks([FLOOR, 1e-6, 1e-3, 1], ["0", *map(style.power, (1e-6, 1e-3, 1.0))])
    axes[0].minorticks_off()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def _draw_gradients(table: pd.DataFrame):
    rows = softmax(table[(table.dtype == "float64") & (table.domain == "log")])
    fig, axes = _two(table, ("cap 10", "cap 100"), sharey=True)
    for axis, cap in zip(axes, (10, 100), strict=True):
        for kind, (name, look) in GRADIENTS.items():
            curve(axis, bands(select(rows, kind, cap=cap), "angle_deg"), band=False, label=name, **look)
        settled = bands(limit(rows), "angle_deg")
        curve(axis, settled, band=False, color=style.GREY, linestyle="--", label="log u / λ, converged")
    axes[0].set(ylabel="angle to ∇EMD (°)", ylim=(0, 105))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def _draw_formats(table: pd.DataFrame):
    fig, axes = _two(table, (f"value, cap {_cap(table)}", "gradient"))
    for dtype, look in FORMATS.items():
        rows = softmax(select(table, dtype=dtype, kernel="dense", cap=_cap(table)))
        for axis, column in zip(axes, ("sd_over_emd", "angle_deg"), strict=True):
            found = bands(rows, column) if len(rows) else pd.DataFrame()
            curve(axis, found, band=False, label=dtype, **look)
            if len(found) and found.index[-1] < rows.lam.max():
                axis.plot(found.index[-1], found[0.5].iloc[-1], "x", color=look["color"], markersize=6, clip_on=False)
    left, right = axes
    for axis in axes:
        axis.set_xlim(right=1.2 * alive(softmax(select(table, dtype="float64", kernel="dense", cap=_cap(table)))))
    left.axhline(1, color=style.BLACK, linewidth=0.5)
    left.plot([], [], "x", color=style.GREY, label="then mostly NaN")
    style.log_axis(left, "y")
    left.set(ylabel="SD / EMD", ylim=(0.1, 6))
    left.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
    left.minorticks_off()
    right.set(ylabel="angle to ∇EMD (°)", ylim=(0, 105))
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
