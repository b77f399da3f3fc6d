"""A sweep of your own: Sinkhorn against the exact EMD over any grid of lambda, caps, dtypes, kernels and targets.

Every combination of the axes is run (all caps of one combination in one run), on the WordNet tree, a chain, a ring or a
tree file.  sweep.csv has a row a combination and pair: SD / EMD, the angle between log u / lambda (its mean removed)
and the exact zero-sum gradient, the status, and the iteration in which a row failed.  Drawn are medians over the rows
that returned a number, for at most twelve curves.  --toy takes the smallest cap, 30 at most, and the fewest pairs.
"""

from __future__ import annotations

import sys

import pandas as pd

from analysis.engine import style
from analysis.engine.cells import Cell, Rows, grid
from analysis.engine.claims import Claim, Exact
from analysis.engine.reproduction import exact
from analysis.engine.script import Options, must
from analysis.sinkhorn import stability
from analysis.sinkhorn.stability_tables import numbers
from emdref.entropic.iteration import FAILED
from emdref.entropic.variants import VARIANTS

DTYPES = ("float64", "float32", *stability.LOW)
KINDS = stability.KINDS | exact("space", "seed", "sigma")
CURVE = ["dtype", "kernel", "domain", "variant", "target", "cap"]
FUNCTION = f"{__name__}:compute"
TOY_CAP = 30
CURVES = 12  # that can be told apart
LOWEST = 0.05  # ratio that is drawn: below, SD runs down to 0
CAPTIONS = {
    "": "The Sinkhorn distance over the exact EMD, and the angle between their gradients, against lambda, for the "
    "grid that was asked for. Lines are medians over the rows that returned a number, be it a wrong one."
}


def cells(options: Options) -> list[Cell]:
    """One cell a combination."""
    axes = dict(options.axes)
    unknown = [name for name in axes["variant"] if name not in VARIANTS]
    if unknown:
        raise RuntimeError(f"--variant {unknown[0]!r} is not one of {', '.join(VARIANTS)}")
    name = stability.named(options)
    where = stability.space(name)
    if where.rooted is None and "space" in axes["kernel"]:
        raise RuntimeError("--kernel space needs sums along edges, which a ring does not offer: give --kernel dense")
    if "ReaL" in axes["target"] and stability.classes(name) is None:
        raise RuntimeError("--target ReaL needs a tree whose leaves are the 1000 ILSVRC classes, labelled by wnid")
    caps = sorted(set(axes.pop("cap")))
    if options.toy:
        caps, axes["pairs"] = [min(caps[0], TOY_CAP)], [min(axes["pairs"])]
    combinations = [dict(space_name=name, caps=caps, **values) for values in grid(**axes)]
    made = [_cell(where, values) for values in combinations if _defined(values)]
    if not made:
        raise RuntimeError("every combination asked for is undefined")
    return made


def _defined(values: dict) -> bool:
    """Formats below float32 are those of dense products; say what is left out."""
    if values["dtype"] in stability.LOW and (values["kernel"], values["domain"]) != ("dense", "linear"):
        kind = f"dtype {values['dtype']} with kernel {values['kernel']} in the {values['domain']} domain"
        print(f"analysis: {kind} is not defined and left out (lam = {values['lam']:g})", file=sys.stderr)
        return False
    return True


def _cell(where, values: dict) -> Cell:
    """The cost of a cell is that of the measurement inside it."""
    group = [[values["target"], values["sigma"], values["pairs"]]]
    dear = stability.cell(where, groups=group, **{k: values[k] for k in ("lam", "caps", "dtype", "kernel", "domain")})
    return Cell(FUNCTION, values, dear.weight)


def compute(space_name: str, target: str, sigma: float, pairs: int, variant: str, seed: int, **how) -> Rows:
    """Rows of `stability.measure`, with the axes that it does not name."""
    rows = stability.measure(space_name, [[target, sigma, pairs]], seed, variant=variant, **how)
    space = space_name.rpartition("/")[2]
    return [
        {"space": space, "variant": variant, "seed": seed, "sigma": sigma} | row | {"target": target} for row in rows
    ]


def check(table: pd.DataFrame) -> None:
    """Whatever was asked for, there is an answer in every row."""
    must(table.status.notna().all(), "a row has no status")


def claims(table: pd.DataFrame) -> list[Claim]:
    """Where the linear domain failed, if it did."""
    linear = table[table.domain == "linear"]
    failed = linear.status.isin(FAILED)
    if not failed.any():
        return []
    share = failed.groupby(linear.lam).mean()
    groups = failed.groupby([linear.dtype, linear.kernel]).mean()
    return [
        Claim(
            stability.SECTION,
            "in the linear domain larger values of lambda are unusable",
            "the share of the rows that fail, from each lambda to the next",
            Exact(share.is_monotonic_increasing),
            f"{', '.join(f'{100 * x:.1f}% ({chr(32).join(key)})' for key, x in groups.items())} of the rows fail, from "
            f"{share.iloc[0]:.0%} at lambda = {share.index[0]:.3g} to {share.iloc[-1]:.0%} at {share.index[-1]:.3g}",
            doubts=["there is only one lambda: give --lam two or more"] * (len(share) == 1),
        )
    ]


def draw(table: pd.DataFrame):
    """Medians of both errors against lambda."""
    curves = list(numbers(table).groupby([name for name in CURVE if table[name].nunique() > 1] or ["dtype"]))
    fig, (top, low) = style.figure(5.0, 2, 1, sharex=True)
    for number, (key, rows) in enumerate(curves[:CURVES]):
        medians = rows.groupby("lam")[["sd_over_emd", "angle_deg"]].median()
        line = {"color": style.CYCLE[number % 6], "linestyle": ("-", ":")[number // 6], "markersize": 3}
        line["marker"] = "ox"[number // 6]
        top.plot(medians.index, medians.sd_over_emd, label=", ".join(map(str, key)), **line)
        low.plot(medians.index, medians.angle_deg, **line)
    top.axhline(1, color=style.BLACK, linewidth=0.5)
    style.log_axis(top, "x")
    style.log_axis(top, "y")
    top.set(ylabel="SD / EMD", ylim=(max(top.dataLim.y0 / 1.5, LOWEST), 1.5 * top.dataLim.y1))
    low.set(xlabel="λ (1 / cost)", ylabel="angle to ∇EMD (°)", ylim=(0, 105))
    if len(curves) > CURVES:
        top.set_title(f"the first {CURVES} of {len(curves)} curves", loc="left")
    handles, labels = top.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=1 if max(map(len, labels), default=0) > 24 else 2)
    return fig
