"""Errors in ulp of each function, dtype, accuracy and family beside SciPy, POT, scikit-bio and plain NumPy.

All compute on the same graded pairs (`emdref.casebook`): a chain of 200 bins and the WordNet tree.  Errors of values
and flows are in ulp of the exact rational, those of gradients (gauge zero_sum) in ulp of the largest |r|; the largest,
the root mean square, and the seed of the worst case are kept.  A missing peer is a row that says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.patches import Patch

import emdref
from analysis.engine import reproduction, style
from analysis.engine.cells import Cell, Rows, grid
from analysis.engine.claims import TARGET, Claim, Exact
from analysis.engine.reproduction import CONFIDENCE, NOT_INSTALLED, Rounding
from analysis.engine.script import Options, must
from analysis.peers import wrappers
from emdref import casebook, exact
from emdref.exact.rounding import error

DTYPES = ("float32", "float64")
PNG = False
KEY = ["function", "space", "dtype", "implementation", "family"]
SEEDS = {"chain": 16, "WordNet": 6}
OWN = ("compensated", "native")
_LOOKS = {
    "compensated": (style.BLUE, "o"),
    "native": (style.SKY, "s"),
    "NumPy, p - q first": (style.GREEN, "^"),
    "NumPy, sums apart": (style.ORANGE, "v"),
    "SciPy": (style.RED, "x"),
    "POT": (style.PURPLE, "+"),
    "scikit-bio": (style.BLACK, "d"),
}
CAPTIONS = {
    "": "Largest error of the EMD's value in units in the last place (ulp), by family of graded pairs, on a chain of "
    "200 bins and on the WordNet tree, for emdref and for other programs on the same pairs. Errors of 0.01 ulp and "
    "less, and of a million and more or without a number, stand at the grey edges; the dashed line is the 1 ulp that "
    "emdref promises."
}
_SHOWN, _EDGE = (1e-2, 1e6), "#E6E6E6"  # ulp in the picture; what is beyond stands at an edge of that colour


def _another_draw(table: pd.DataFrame) -> pd.Series:
    """Errors in ulp: what is promised; of others, as far as one draw of a worst case may lie from another."""
    promised = np.where(table.function.str.startswith("gradient"), 8.0, 1.0)
    return (CONFIDENCE * table.rms_ulp).where(table.implementation != "compensated", promised)


_WHY = "the pairs come from exp, whose last bits are the libm's: the worst of a few seeds is another draw"
COLUMNS = (
    "space", "dtype", "family", "cases", "function", "implementation", "max_ulp", "rms_ulp", "wrong_signs",
    "worst_seed", "note",
)  # fmt: skip
KINDS = {
    **reproduction.exact("space", "dtype", "family", "cases", "function", "implementation", "note"),
    **dict.fromkeys(("max_ulp", "rms_ulp"), Rounding(_another_draw, _WHY)),
    "wrong_signs": Rounding(lambda table: np.where(table.implementation == "compensated", 0.0, np.inf), _WHY),
    "worst_seed": Rounding(lambda table: np.full(len(table), np.inf), _WHY),
}


def cells(options: Options) -> list[Cell]:
    """One cell a space, dtype and family."""
    return [
        Cell(f"{__name__}:compute", parameters | {"seeds": 1 if options.toy else SEEDS[parameters["space"]]}, 0.5)
        for parameters in grid(space=tuple(SEEDS), dtype=DTYPES, family=casebook.FAMILIES)
    ]


def reduce(table: pd.DataFrame) -> pd.DataFrame:
    """The same columns whatever is installed."""
    return table.reindex(columns=COLUMNS)


def compute(space: str, dtype: str, family: str, seeds: int) -> Rows:
    """One row a function and implementation."""
    where = emdref.Chain(200) if space == "chain" else emdref.wordnet_tree()
    return _rows(space, where, np.dtype(dtype).type, family, seeds)


def _rows(name: str, space: emdref.Chain | emdref.Tree, dtype: Any, family: str, seeds: int) -> Rows:
    errors: dict[tuple[str, str], list[float]] = {}
    signs: dict[tuple[str, str], int] = {}
    pairs = [casebook.pair(family, space.n_bins, dtype, seed) for seed in range(seeds)]
    for p, q in pairs:
        for function, right, unit, answers in _functions(p, q, space, family):
            for implementation, got in answers:
                key = (function, implementation)
                errors.setdefault(key, []).append(_error(got, right, unit, dtype))
                signs[key] = signs.get(key, 0) + (_wrong_signs(got, right) if function == "flow" else 0)
    common = {"space": name, "dtype": np.dtype(dtype).name, "family": family, "cases": seeds}
    rows = [common | _summary(*key, found, signs[key]) for key, found in errors.items()]
    missing = [peer for peer, functions in _peers(space).items() if not functions]
    return rows + [common | {"function": "value", "implementation": peer, "note": NOT_INSTALLED} for peer in missing]


def _summary(function: str, implementation: str, found: list[float], wrong: int) -> dict:
    return {
        "function": function,
        "implementation": implementation,
        "max_ulp": max(found),
        "rms_ulp": math.sqrt(sum(min(x, 1e150) ** 2 for x in found) / len(found)),
        "wrong_signs": wrong,
        "worst_seed": int(np.argmax(found)),
    }


def _functions(p: Any, q: Any, space: Any, family: str) -> Iterator[tuple[str, list[Fraction], Fraction | None, list]]:
    """(function, exact numbers, unit of the error if not each number's own, answers of all implementations)."""

    def own(name: str, *args: Any, **options: Any) -> list[tuple[str, Any]]:
        call = partial(getattr(emdref, name), p, q, space, *args, mass="ignore", **options)
        return [(accuracy, call(accuracy=accuracy)) for accuracy in OWN]

    with np.errstate(all="ignore"):
        others = [(peer, f(p, q)) for peer, f in _peers(space).items() if f]
        yield "value", [exact.emd(p, q, space)], None, own("emd") + others
        yield "flow", exact.flow(p, q, space), None, own("flow")
        for rho in (1, 2) if family != "near_overflow" else (1,):  # its squares leave the range
            right, raw = (exact.grad(p, q, space, rho, gauge=gauge) for gauge in ("zero_sum", "raw"))
            yield f"gradient rho={rho}", right, max(map(abs, raw)), own("emd_grad", rho)
        if family != "near_overflow":
            yield "value rho=2", [exact.emd(p, q, space, 2)], None, own("emd", 2)


def _error(got: Any, right: list[Fraction], unit: Fraction | None, dtype: Any) -> float:
    """The largest error; inf where a number is missing."""
    return max(error(x, y, dtype, unit) for x, y in zip(np.atleast_1d(got).tolist(), right, strict=True))


def _wrong_signs(got: Any, right: list[Fraction]) -> int:
    return sum((x > 0) - (x < 0) != (y > 0) - (y < 0) for x, y in zip(got.tolist(), right, strict=True))


# --- peers ------------------------------------------------------------------------------------------------------------


def _peers(space: Any) -> dict[str, Callable | None]:
    """Other programs' value on this space; None for one that is not installed."""
    if isinstance(space, emdref.Chain):
        return {
            "NumPy, p - q first": wrappers.cumsum_of_difference,
            "NumPy, sums apart": wrappers.difference_of_cumsums,
            "SciPy": _scipy,
            "POT": _installed(_pot),
        }
    return {"scikit-bio": _installed(_skbio, space)}


def _installed(make: Callable, *args: Any) -> Callable | None:
    try:
        return make(*args)
    except ImportError:
        return None


def _scipy(p: Any, q: Any) -> float:
    """Times the total: SciPy normalises; its float64 result is taken as it is."""
    return wrappers.scipy_distance(np.arange(len(p)))(p, q) * p.sum(dtype=np.float64)


def _pot() -> Callable:
    import ot  # noqa: F401  # now, not at the first pair

    def emd2_1d(p: Any, q: Any) -> float:
        bins = np.arange(len(p), dtype=p.dtype)
        return wrappers.refusal_is_nan(wrappers.pot("emd2_1d", bins, metric="euclidean"))(p, q)

    return emd2_1d


def _skbio(tree: emdref.Tree) -> Callable:
    """Weighted UniFrac of counts: whole numbers, since it cuts fractions off."""
    distance = wrappers.unifrac(tree.to_newick(), [str(v) for v in tree.bins], validate=False)
    return lambda p, q: distance(*wrappers.as_counts(p, q)) * p.sum(dtype=np.float64)


# --- what is found ----------------------------------------------------------------------------------------------------


def _own(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.implementation == "compensated"]


def check(table: pd.DataFrame) -> None:
    """What emdref promises."""
    own = _own(table)
    must((own.wrong_signs == 0).all(), "a compensated result has a wrong sign")
    exactly = own[~own.function.str.startswith("gradient")]
    must((exactly.max_ulp <= 1).all(), "a compensated value or flow is off by more than 1 ulp")
    must((own.max_ulp <= 8).all(), "a compensated gradient is off by more than 8 ulp of the largest |r|")


def claims(table: pd.DataFrame) -> list[Claim]:
    """The contract, and what other programs reach on the same pairs."""
    own = _own(table)
    exactly, grads = (own[own.function.str.startswith("gradient") == g].max_ulp.max() for g in (False, True))
    wrong = int(own.wrong_signs.sum())
    ordinary = table[(table.family == "softmax") & (table.function == "value") & table.max_ulp.notna()]
    others = ordinary[~ordinary.implementation.isin(OWN)]
    listed = ", ".join(f"{r.implementation} {r.max_ulp:.2g} ({r.dtype}, {r.space})" for r in others.itertuples())
    judged = {
        "compensated values and flows are within 1 ulp": (
            exactly <= 1, f"at most {exactly:.3f} ulp; others' values on ordinary softmax pairs: {listed}"
        ),
        "compensated gradients are within 8 ulp of max|r|": (grads <= 8, f"at most {grads:.2f} ulp"),
        "compensated flows have the right sign, 0 included": (wrong == 0, f"{wrong} wrong signs"),
    }  # fmt: skip
    contrast = "the worst of all families, seeds, spaces and dtypes, beside exact rationals"
    return [
        Claim("emdref's contract", claimed, contrast, Exact(bool(held)), found, (), TARGET)
        for claimed, (held, found) in judged.items()
    ]


def draw(table: pd.DataFrame):
    """Largest error of the value per family; beyond either end of the axis it stands at the edge, which says so."""
    fig, axes = style.figure(5.6, 2, 2, sharex=True, sharey=True)
    families = list(casebook.FAMILIES)[::-1]
    for row, dtype in zip(axes, DTYPES, strict=True):
        for axis, space in zip(row, SEEDS, strict=True):
            part = table[(table.space == space) & (table.dtype == dtype) & (table.function == "value")]
            part = part[part.max_ulp.notna()]
            there = [name for name in _LOOKS if (part.implementation == name).any()]
            for name, shift in zip(there, np.linspace(0.3, -0.3, len(there)), strict=True):
                (colour, marker), rows = _LOOKS[name], part[part.implementation == name]
                places = np.array([families.index(f) for f in rows.family], float) + shift
                axis.plot(rows.max_ulp.clip(*_SHOWN), places, marker, color=colour, markersize=3, label=name)
            axis.axvline(1, color=style.GREY, linewidth=0.8, linestyle="--")
            _clipped(axis)
            axis.set(yticks=range(len(families)), yticklabels=[f.replace("_", " ") for f in families])
            axis.set_title(f"{space}, {dtype}", loc="left")
    for axis in axes[1]:
        axis.set_xlabel("largest error (ulp)")
    fig.suptitle("Errors of the value", fontsize=8)
    handles = {}
    for axis in axes[0]:
        handles |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    handles["clipped, at the axis' ends"] = Patch(color=_EDGE)
    fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    return fig


def _clipped(axis: Any) -> None:
    """A log axis whose grey ends hold what lies beyond them."""
    low, high = _SHOWN
    axis.set(xscale="log", xlim=(low / 3, high * 3))
    axis.axvspan(low / 3, low * 2, color=_EDGE, linewidth=0)
    axis.axvspan(high / 2, high * 3, color=_EDGE, linewidth=0)
    axis.set_xticks([low, 1, 1e3, high], ["≤0.01", "1", "1000", "≥10⁶"], fontsize=7)
    axis.set_xticks([], minor=True)
