"""A line a release: which it replaces, which it keeps, and when a ratio is worse than before; the machine it names."""

import itertools
import platform
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.engine import machine
from analysis.engine.claims import FAILS, HOLDS, UNDECIDED, UNMEASURED, judge
from analysis.timing import speed_history
from analysis.timing.speed_history import ENDS, KEYS

ROOT = Path(__file__).parents[2]


def line(version="2", processor="A", scale=1.0, **changes):
    """A line whose ratios are all `scale`, within a hundredth, but for the changes."""
    place = {"version": version, "date": "2026-01-01", "processor": processor, "cores": 2, "vectors": "AVX2"}
    found = {key.name: changes.get(key.name, scale) for key in KEYS}
    ends = itertools.product(found.items(), zip(ENDS, (1.0, 0.99, 1.01), strict=True))
    return place | {name + end: value * factor for (name, value), (end, factor) in ends}


def history(*lines):
    """As it is read from its file."""
    found = None
    for each in lines:
        found = speed_history.updated(found, each)
    return found


def test_a_line_takes_the_place_of_its_version_on_its_machine_alone():
    lines = [line("1"), line("1", "B"), line("2"), line("1", scale=3.0)]
    found = history(*lines)
    assert found.version.tolist() == ["1", "1", "2"]
    assert found.processor.tolist() == ["A", "B", "A"]
    assert found.small_call.tolist() == [3.0, 1.0, 1.0]
    assert list(found.columns) == list(speed_history.COLUMNS)


def test_a_history_on_disk_is_the_same_again(tmp_path):
    found = history(line("0.2.0"), line("0.3.0", startup=np.nan))
    found.to_csv(tmp_path / "history.csv", index=False)
    again = pd.read_csv(tmp_path / "history.csv", keep_default_na=False, na_values=[""])
    pd.testing.assert_frame_equal(speed_history.updated(again, line("0.3.0", startup=np.nan)), found)
    older = again.drop(columns=["startup", "startup_low", "startup_high"])  # written before there was that ratio
    assert speed_history.updated(older, line("0.4.0")).startup.isna().tolist() == [True, True, False]


def told(*lines):
    return judge(speed_history.claims(history(*lines), lines[-1]))


def test_what_is_slower_than_before_is_named():
    (claim,) = told(line("1"), line("2", small_call=1.2, tree_f64=0.8, sinkhorn_f64=1.3, chain_f64=0.5))
    assert claim.verdict == FAILS
    assert claim.found.startswith("slower: small_call 1.2 (was 1), tree_f64 0.8 (was 1); 1.23 to 1.28 times as slow")
    assert "slower than in 1 on this machine" in claim.claimed


@pytest.mark.parametrize(
    "now",
    [line("2"), line("2", scale=1.05), line("2", scale=0.95), line("2", small_call=np.nan), line("2", tree_f64=1.5)],
)
def test_what_is_within_the_noise_or_better_is_not(now):
    (claim,) = told(line("1"), now)
    assert claim.verdict == HOLDS
    assert f"of {len(KEYS) - np.isnan(now['small_call'])} ratios is at most 1.0" in claim.found


def test_wide_quartiles_leave_it_undecided():
    wide = line("2", small_call=1.2) | {"small_call_low": 1.0}
    (claim,) = told(line("1"), wide)
    assert claim.verdict == UNDECIDED
    assert claim.found.startswith("slower, or noise: small_call 1.2 (was 1)")


def test_what_was_never_measured_twice_is_not_compared():
    empty = line("1") | dict.fromkeys(speed_history.COLUMNS[len(speed_history.BESIDE) :], np.nan)
    (claim,) = told(empty, line("2"))
    assert claim.verdict == UNMEASURED


def test_another_machine_and_a_first_release_have_nothing_before_them():
    assert told(line("1", "B"), line("2", scale=2.0)) == []
    assert told(line("1")) == []
    (claim,) = told(line("1"), line("2", "B"), line("3", scale=2.0), line("3", "B"))
    assert "slower than in 2 on" in claim.claimed and claim.verdict == HOLDS
    (claim,) = told(line("1", scale=0.5), line("2"), line("3"))  # what was lost before is an older release's
    assert "slower than in 2 on" in claim.claimed and claim.verdict == HOLDS


def test_a_line_is_what_the_targets_say():
    names = [dict(zip(("what", "against", "dtype"), key[1:4], strict=True)) for key in KEYS]
    targets = pd.DataFrame(names).assign(found=np.arange(len(KEYS)), low=-1.0, high=100.0)
    record = {"emdref": "2", "date": "2026-01-01", "processor": "A", "cores": 2, "vectors": "AVX2"}
    found = speed_history.line(targets.replace({"dtype": {"": np.nan}}), record)
    assert [found[key.name] for key in KEYS] == list(range(len(KEYS)))
    assert (found["startup_low"], found["startup_high"]) == (-1.0, 100.0)
    assert [found[name] for name in speed_history.BESIDE] == ["2", "2026-01-01", "A", 2, "AVX2"]


def test_the_committed_history_ends_with_the_committed_figures():
    read = {"keep_default_na": False, "na_values": [""]}
    lines, targets = (pd.read_csv(ROOT / "figures" / f"speed_{name}.csv", **read) for name in ("history", "targets"))
    record = pd.read_json(ROOT / "figures" / "speed.json", typ="series")
    place = {name: record[name] for name in speed_history.PLACE}
    found = speed_history.line(targets, {"emdref": record["emdref"], "date": record["date"]} | place)
    same = lines[(lines.version == found["version"]) & (lines.processor == found["processor"])]
    for key in KEYS:
        np.testing.assert_allclose(same[key.name], found[key.name], rtol=1e-7)


# --- the machine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "bits"),
    [
        ("vaddpd (%rdi,%rcx,8), %zmm0, %zmm1", 512),
        ("vmovupd (%rsi), %ymm0\nvaddsd %xmm0, %xmm1, %xmm1", 256),
        ("addpd %xmm0, %xmm1", 128),
        ("ldr q0, [x0]\nfadd v0.2d, v0.2d, v1.2d", 128),
        ("fadd d0, d0, d1", 0),
    ],
)
def test_the_widest_registers_in_machine_code(code, bits):
    assert machine.width(code) == bits


X86 = {"generic": "SSE2", "sandybridge": "AVX", "haswell": "AVX2", "skylake-avx512": "AVX-512"}


@pytest.mark.parametrize(
    ("name", "found"), (X86 if platform.machine() in ("x86_64", "AMD64") else {"generic": "NEON"}).items()
)
def test_the_instructions_of_processors(name, found):
    assert machine.instructions(name, "") == found


def test_what_this_machine_compiles_for():
    found = machine.vectors()
    assert found.processor and found.bits in (128, 256, 512)
    assert found.name in ("AVX-512", "AVX2", "AVX", "SSE2", "NEON")
    assert str(found) == f"{found.name}, loops by {found.bits} bits"
    assert machine.cores() >= 1 and machine.blas()
