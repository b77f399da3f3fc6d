"""A line a release and machine: the ratios by which a loss of speed is seen."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.engine.claims import Claim, Margin, Missing
from analysis.timing import sinkhorn_calls, small_calls, torch_losses
from analysis.timing.emd_speed import FRESH, NATIVE
from analysis.timing.measuring import Spread
from analysis.timing.speed_targets import SHEET, our_claim

SOURCE = "our target from release to release"
SLOWER = 1.1  # times as slow: by so much may runs of the same code differ, beyond the quartiles within a run
CONTRAST = "the worst ratio, now over before; from the lower quartile over the upper to the upper over the lower"
PLACE = ("processor", "cores", "vectors")  # one machine
BESIDE = ("version", "date", *PLACE)
ENDS = ("", "_low", "_high")  # median and quartiles


class Key(NamedTuple):
    """A column, and the target whose ratio it keeps; `more`: the larger the better."""

    name: str
    what: str
    against: str
    dtype: str = "float64"
    more: bool = False


_LOSS = "EMDLoss, ρ = 2, {}, forward and backward"
_BOTH, _CALL = "EMD² value and gradient, {}", "sinkhorn, whole call, 10 iterations, WordNet tree, {}"
_BESIDES = "sinkhorn, besides its iterations, WordNet tree, 512 rows, linear domain, value and gradient read"
_TREE, _CHAIN = _BOTH.format("WordNet tree, 512 × 1000, native"), _BOTH.format("chain, 8192 × 1000, native")
_DENSE, _F32 = "dense incidence, BLAS", "float32"
KEYS = (
    Key("small_call", "emd, one pair of 10 bins", small_calls.LINE),
    Key("small_value_and_grad", "emd_value_and_grad, ρ = 2, 16 × 10", small_calls.NUMPY),
    Key("torch_compensated", _LOSS.format("chain, 64 × 30, compensated"), torch_losses.CUMSUM, _F32),
    Key("torch_native", _LOSS.format("chain, 64 × 30, native"), torch_losses.CUMSUM, _F32),
    Key("torch_tree", _LOSS.format("WordNet tree, 128 × 1000, native"), torch_losses.INCIDENCE, _F32),
    Key("tree_f64", _TREE, _DENSE, more=True),
    Key("tree_f32", _TREE, _DENSE, _F32, more=True),
    Key("chain_f64", _CHAIN, FRESH),
    Key("chain_f32", _CHAIN, FRESH, _F32),
    Key("compensated_f64", _BOTH.format("chain, 8192 × 1000, compensated"), NATIVE),
    Key("compensated_f32", _BOTH.format("chain, 8192 × 1000, compensated"), NATIVE, _F32),
    Key("one_pair", _BOTH.format("one pair, a node, native, dearest of all shapes"), "batch of 16"),
    Key("sinkhorn_f64", _CALL.format("512 rows"), sinkhorn_calls.DENSE, more=True),
    Key("sinkhorn_f32", _CALL.format("512 rows"), sinkhorn_calls.DENSE, _F32, more=True),
    Key("sinkhorn_pair", _CALL.format("one pair"), sinkhorn_calls.DENSE, more=True),
    Key("sinkhorn_besides", _BESIDES, "one iteration of it"),
    Key("startup", "import and first call, machine code cached", "a bare cached kernel", ""),
    Key("startup_cold", "import and first call, nothing cached, whole process", "-", ""),
)
COLUMNS = (*BESIDE, *(key.name + end for key in KEYS for end in ENDS))


def line(targets: pd.DataFrame, record: dict[str, Any]) -> dict[str, Any]:
    """A release's line: what was found for each key, from the table of targets and the record of its run."""
    found: dict[str, Any] = {"version": record.get("emdref")} | {name: record.get(name) for name in BESIDE[1:]}
    at = targets.fillna({"dtype": ""}).set_index(["what", "against", "dtype"])[["found", "low", "high"]]
    for key in KEYS:
        found |= dict(zip((key.name + end for end in ENDS), at.loc[key.what, key.against, key.dtype], strict=True))
    return found


def updated(old: pd.DataFrame | None, new: dict[str, Any]) -> pd.DataFrame:
    """The history with that line, which takes the place of the one of the same version and machine."""
    lines = [] if old is None else old.reindex(columns=list(COLUMNS)).to_dict("records")
    same = [all(str(one[name]) == str(new[name]) for name in ("version", *PLACE)) for one in lines]
    if any(same):
        lines[same.index(True)] = new
    else:
        lines.append(new)
    return pd.DataFrame(lines, columns=list(COLUMNS))


def claims(history: pd.DataFrame, new: dict[str, Any]) -> list[Claim]:
    """Where a line's version is slower than the one before it on the same machine, if one was measured there."""
    here = history[np.logical_and.reduce([history[name].astype(str) == str(new[name]) for name in PLACE])]
    at = here.version.astype(str).tolist().index(str(new["version"]))
    if at == 0:
        return []
    before, now = here.iloc[at - 1], here.iloc[at]
    slowdowns = {key.name: slowdown(key, before, now) for key in KEYS}
    found = {name: some for name, some in slowdowns.items() if not np.isnan(some.middle)}
    claimed = f"nothing is slower than in {before.version} on this machine"
    if not found:
        return [our_claim(claimed, CONTRAST, Missing("no ratio was measured in both"), "", SHEET, SOURCE)]
    low, high = (max(some[end] for some in found.values()) for end in (1, 2))
    evidence = Margin(low, high, most=SLOWER, unit="times as slow", kind="threshold")
    listed = _listed(found, before, now) or f"each of {len(found)} ratios is at most {high:.3g} times the earlier one"
    return [our_claim(claimed, CONTRAST, evidence, listed, SHEET, SOURCE)]


def _listed(found: dict[str, Spread], before: Any, now: Any) -> str:
    """What is slower, and what may be."""
    kinds = {"slower": [n for n, some in found.items() if some.low > SLOWER]}
    kinds["slower, or noise"] = [n for n, some in found.items() if some.low <= SLOWER < some.high]
    told = {kind: ", ".join(f"{n} {now[n]:.3g} (was {before[n]:.3g})" for n in names) for kind, names in kinds.items()}
    return "; ".join(f"{kind}: {names}" for kind, names in told.items() if names)


def slowdown(key: Key, before: Any, now: Any) -> Spread:
    """How many times as slow it is now: of medians, and from quartile to opposite quartile.

    >>> old, new = ({"x": x, "x_low": 0.98 * x, "x_high": 1.02 * x} for x in (1.0, 1.2))
    >>> [round(x, 3) for x in slowdown(Key("x", "a time", "another"), old, new)]
    [1.2, 1.153, 1.249]
    >>> [round(x, 3) for x in slowdown(Key("x", "how fast", "another", more=True), old, new)]
    [0.833, 0.801, 0.867]
    """
    (a, a_low, a_high), (b, b_low, b_high) = ([one[key.name + end] for end in ENDS] for one in (before, now))
    return Spread(a / b, a_low / b_high, a_high / b_low) if key.more else Spread(b / a, b_low / a_high, b_high / a_low)
