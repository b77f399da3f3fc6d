"""Report of a GPU: its tests, the CPU's bits beside its own, times against bandwidth and cuBLAS, checkers; 8 minutes.

Needs an NVIDIA GPU and numba-cuda, and uses CuPy or PyTorch (for cuBLAS), pytest and compute-sanitizer where they are
installed; rows say where they are not.  Without a GPU it says so and writes nothing.  Each step is a process of its own
within its share of the time; one that fails or is too slow is a row that says so, and rows are written as they come.
Times are by CUDA events after warm-up, medians and quartiles, inputs rotating through more than the L2 cache holds; the
roofline's ceilings are the copy bandwidth and the cuBLAS rate of the same process.  --toy with NUMBA_ENABLE_CUDASIM=1
and NUMBA_DISABLE_JIT=1 tries the script in Numba's simulator, where nothing can be measured.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from analysis.engine import style
from analysis.engine.claims import FAILS, HOLDS, Claim, Exact
from analysis.engine.reproduction import timing
from analysis.engine.script import Options, must
from analysis.gpu import checks, device_targets, steps
from analysis.gpu.device_targets import DENSE, EMD, SINKHORN
from analysis.gpu.steps import Step
from analysis.timing import own_process
from analysis.timing.speed_targets import SHEET, claims_of, our_claim

DTYPES = ("float32", "float64")
PNG = True
REFRESHED = ("table1_timing",)
BUDGET = 450.0  # seconds for all steps, of the eight minutes
COLUMNS = (
    "part", "name", "method", "space", "bins", "nodes", "rows", "iterations", "dtype", "accuracy", "rho", "gauge",
    "lam", "seconds", "seconds_low", "seconds_high", "low", "high", "repeats", "traffic", "operations", "gb_per_s",
    "flops_per_s", "flops_per_s_low", "flops_per_s_high", "bytes_per_s", "bytes_per_s_low", "bytes_per_s_high",
    "fraction", "fraction_low", "fraction_high", "ratio", "ratio_low", "ratio_high", "disagreement", "entries",
    "differ", "alone_differ", "max_ulp", "max_ulp_row", "ordinary_ulp_row", "worst", "value_relative", "tolerance",
    "status_differ", "failed_rows", *checks.COUNTS, "note",
)  # fmt: skip
ROOFLINE = "_roofline"  # the picture
KINDS = timing(*COLUMNS)  # of the device
CAPTIONS = {
    ROOFLINE: "Operations a second against operations per byte that must be moved, each kernel of emdref a mark whose "
    "size grows with the batch, bars from quartile to quartile. The grey roof is what a copy and a product by cuBLAS "
    "reach in the same process."
}
PLACES = [(space, dtype) for space in device_targets.NAMES for dtype in DTYPES]
LARGE, MIDDLE, SINGLE, LONG = [1000, 65_536], [1000, 512], [1000, 1], [10_000_000, 1]
PRODUCT_ULP = 16  # of a row's largest number
ORDINARY_ULP = 512  # of a native row's largest number: more than 8 sqrt(V), to which roundings may add up


def absent(options: Options) -> str:
    """Why nothing can be measured here, or ""."""
    try:
        from emdref.kernels.cuda import target
    except ImportError as error:
        return f"numba.cuda cannot be imported ({error}): pip install 'emdref[cuda]'"
    if not target.SIMULATED:
        return target.trouble()
    if not options.toy:
        return "Numba's simulator measures nothing: --toy tries the script in it"
    if options.out.resolve().name == "figures":
        return f"what is simulated is not written into {options.out}: give another --out"
    return "" if os.environ.get("NUMBA_DISABLE_JIT") == "1" else "the simulator needs NUMBA_DISABLE_JIT=1"


def measure(options: Options) -> Iterator[pd.DataFrame]:
    """All rows so far, whenever a step has ended, and every few rows."""
    rows: list[dict[str, Any]] = []
    for row in steps.run(groups(options), BUDGET, lambda text: print(f"gpu: {text}", file=sys.stderr, flush=True)):
        if row["part"] != "step" and len(rows) % 25:
            rows.append(row)
            continue
        rows.append(row)
        yield pd.DataFrame(rows).reindex(columns=COLUMNS)


def groups(options: Options) -> list[list[Step]]:
    """The steps: first what the device is, then what judges, side by side, then what is timed, one by one."""
    simulated = _simulated()
    toy = options.toy
    compared = {"seeds": 1 if toy else 2, "size": 12 if toy else 0, "every": not toy}
    solved = {"rows": 2 if toy else 64, "bins": 6 if toy else 0, "cap": 2 if toy else 50, "every": not toy}
    judging = [_rows(device_targets.compared(n, d), f"{bits}:emd", 170, name=n, dtype=d, **compared) for n, d in PLACES]
    judging += [_rows(f"Sinkhorn, {d}", f"{bits}:sinkhorn", 120, dtype=d, **solved) for d in DTYPES]
    judging.append(_rows("bits, others", f"{bits}:others", 120, bins=40 if toy else 1_000_000))
    judging += checks.sanitizers(150.0, simulated)
    tests = [] if options.toy else [checks.tests(220.0)]
    facts = [_rows("device", "analysis.gpu.facts:rows", 40)]
    return [facts, tests + judging, *([step] for step in _timings(options.toy))]


bits, timing = "analysis.gpu.bits", "analysis.gpu.timing"


def _timings(toy: bool) -> Iterator[Step]:
    effort, gemm = ([0.01, 2], 16) if toy else ([0.4, 100], 4096)
    shared = {"effort": effort, "gemm": gemm}
    for dtype in DTYPES:
        for space in device_targets.NAMES:
            sizes = [[4, 2]] if toy else [LARGE, MIDDLE, SINGLE] + [LONG] * (space == "chain")
            yield _rows(f"time, {space}, {dtype}", f"{timing}:emd", 60, space=space, dtype=dtype, sizes=sizes, **shared)
        size = {"rows": 1, "bins": 3, "cap": 1} if toy else {"rows": 512, "bins": 0, "cap": 100}
        yield _rows(f"time, Sinkhorn, {dtype}", f"{timing}:sinkhorn", 60, dtype=dtype, **size, **shared)
        if not toy:
            own = {"dtype": dtype, "rows": 512, "longest": 1000, "effort": effort}
            yield _rows(f"Table 1, {dtype}", f"{timing}:table_1", 60, **own)


def _rows(name: str, function: str, seconds: float, /, **parameters: Any) -> Step:
    return Step(name, own_process.command(function, **parameters), seconds, own_process.row_of)


def _simulated() -> bool:
    from emdref.kernels.cuda.target import SIMULATED as simulated

    return simulated


# --- what the table says ----------------------------------------------------------------------------------------------


def check(table: pd.DataFrame) -> None:
    """It is a report; what failed in it is told, and stops no figure."""
    must({"part", "name", "method", "note"} <= set(table), "not a table of this script")


def failures(table: pd.DataFrame) -> list[str]:
    """Steps that failed or did not end, rows that say so, and numbers that are not what they must be."""
    found = [f"{row.name_}: {row.note}" for row in _named(table, "step") if _bad(row.note)]
    for part in ("bits", "arrays", "sinkhorn", "time", "host", "table1", "reason"):
        rows = [row for row in _named(table, part) if _bad(row.note)]
        if rows:
            found.append(f"{len(rows)} rows of {part} failed, the first {_what(rows[0])}: {rows[0].note}")
    return found + _wrong(table)


def _bad(note: Any) -> bool:
    return isinstance(note, str) and note.startswith(("failed", "not finished", "not run: out of time", "no verdict"))


def _named(table: pd.DataFrame, part: str) -> list[Any]:
    rows = table[table.part == part].reindex(columns=COLUMNS).rename(columns={"name": "name_"})
    return list(rows.itertuples(index=False))


def _what(row: Any) -> str:
    parts = (row.name_, row.method, row.space, row.dtype, row.accuracy, row.rho, row.gauge)
    return " ".join(str(x) for x in parts if isinstance(x, str) or not np.isnan(x))


def _wrong(table: pd.DataFrame) -> list[str]:
    """Bits and ulp that should not be."""
    rows = table.reindex(columns=COLUMNS)
    right = rows[(rows.part == "bits") & (rows.accuracy == "compensated") & ~_powers(rows)]
    exact, products = right[right.method != "HVP"], right[right.method == "HVP"]
    native = rows[(rows.part == "bits") & (rows.accuracy == "native")]
    solved = rows[rows.part == "sinkhorn"]
    judged = {
        "compensated results differ from the CPU's in bits": exact[exact.differ > 0],
        f"products with the Hessian differ by more than {PRODUCT_ULP} ulp": products[
            products.max_ulp_row > PRODUCT_ULP
        ],
        "a row alone has other bits than in its batch": rows[rows.alone_differ > 0],
        f"native results of ordinary rows differ by more than {ORDINARY_ULP} ulp": native[
            native.ordinary_ulp_row > ORDINARY_ULP
        ],
        "device arrays of another kind have other bits": rows[(rows.part == "arrays") & (rows.differ > 0)],
        "Sinkhorn's values differ by more than rounding": solved[solved.value_relative > solved.tolerance],
        "Sinkhorn's status differs": solved[solved.status_differ > 0],
    }
    return [f"{what}, in {len(bad)} rows of the table" for what, bad in judged.items() if len(bad)]


def _powers(rows: pd.DataFrame) -> pd.Series:
    """Rows whose last digits are pow's."""
    return rows.rho.notna() & ~rows.rho.isin([1, 2, 3, 4])


def tables(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The targets as a table of their own."""
    return {SHEET: device_targets.goals(table)}


def told(table: pd.DataFrame) -> dict[str, Any]:
    """The device, its packages, and each target met or missed."""
    facts = dict(table[table.part == "device"][["name", "note"]].itertuples(index=False, name=None))
    rows = device_targets.goals(table).astype(object)
    targets = [
        {"what": row.what, "beside": row.against, "dtype": row.dtype, "target": f"{row.target} {row.unit}",
         "found": None if pd.isna(row.found) else row.found,
         "result": {HOLDS: "met", FAILS: "missed"}.get(row.holds, row.holds)}
        for row in rows.itertuples()
    ]  # fmt: skip
    ended = {row.name_: _first(row.note, row.method, "done") for row in _named(table, "step")}
    device = facts.pop("device", "unknown")
    return {"device": device, "about": facts, "targets": targets, "steps": ended, "failures": failures(table)}


def _first(*texts: Any) -> str:
    """The first that is a text: empty places of a table are NaN."""
    return next(text for text in texts if isinstance(text, str))


def claims(table: pd.DataFrame) -> list[Claim]:
    """Every target beside what was found, under the roofline."""
    device = device_targets.fact(table, "device") or "unknown"
    wrong = failures(table)
    said, contrast = "; ".join(wrong)[:1200] if wrong else "all did", "each step and each check of the report"
    claimed = f"on {device}, every check passes and every step ends in time"
    passes = our_claim(claimed, contrast, Exact(not wrong), said, ROOFLINE)
    return [passes, *claims_of(device_targets.each(table), ROOFLINE)]


# --- the roofline -----------------------------------------------------------------------------------------------------

_LOOKS = {
    f"{EMD}, native": (style.BLUE, "o"),
    f"{EMD}, compensated": (style.SKY, "s"),
    "HVP, rho = 3": (style.PURPLE, "^"),
    SINKHORN: (style.ORANGE, "D"),
    f"{SINKHORN}, log domain": (style.RED, "v"),
    "Sinkhorn, dense kernel": (style.GREEN, "P"),
    DENSE: (style.BLACK, "X"),
}


def draw(table: pd.DataFrame):
    """Operations a second against operations a byte, and the two ceilings, a panel a dtype."""
    rows = table.reindex(columns=COLUMNS)
    fig, axes = style.figure(5.6, 2, 1, sharex=True)
    handles: dict[str, Any] = {}
    for axis, dtype in zip(axes, DTYPES, strict=True):
        own = rows[rows.dtype == dtype]
        timed = own[(own.part == "time") & own.seconds.notna()]
        ceiling = own[own.part == "ceiling"]
        _points(axis, timed)
        _ceilings(axis, ceiling, timed)
        axis.set_title(dtype, loc="left")
        style.log_axis(axis, "x")
        style.log_axis(axis, "y")
        axis.set_ylabel("operations a second")
        handles |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    axes[-1].set_xlabel("operations a byte that must be moved")
    fig.suptitle(f"Roofline of {device_targets.fact(table, 'device') or 'an unknown device'}")
    if handles:
        fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    return {ROOFLINE: fig}


def _points(axis: Any, timed: pd.DataFrame) -> None:
    for name, (colour, marker) in _LOOKS.items():
        rows = timed[timed.method == name]
        if rows.empty:
            continue
        size = np.where(rows.rows >= 65_536, 6.0, np.where(rows.rows > 1, 4.0, 2.5))
        x, y = rows.operations / rows.traffic, rows.flops_per_s
        axis.scatter(
            x, y, size**2, color=colour, marker=marker, label=name.replace(" value and gradient", ""), linewidth=0
        )
        axis.vlines(
            x, rows.operations / rows.seconds_high, rows.operations / rows.seconds_low, color=colour, linewidth=0.7
        )


def _ceilings(axis: Any, ceiling: pd.DataFrame, timed: pd.DataFrame) -> None:
    """Bandwidth of the copies, slanted, and the rate of the products, where they were measured."""
    speeds = ceiling.bytes_per_s.dropna()
    if speeds.empty:
        return
    bandwidth, rates = float(speeds.median()), ceiling.flops_per_s.dropna()
    intensity = (timed.operations / timed.traffic).dropna()
    last = 2 * max([10.0, *intensity.tolist()])
    top = float(rates.median()) if len(rates) else bandwidth * last
    ridge = top / bandwidth
    x = np.array([0.3, min(ridge, last), last])
    axis.plot(x, np.minimum(x * bandwidth, top), color=style.GREY, linewidth=1.0, zorder=0)
    small = {"fontsize": style.SMALLEST, "color": style.GREY}
    axis.annotate(f"copy: {bandwidth / 1e12:.3g} TB/s", (0.6, 0.5 * bandwidth), va="top", **small)
    if len(rates):
        axis.annotate(f"cuBLAS: {top / 1e12:.3g} TFLOP/s", (last, top), ha="right", va="bottom", **small)
