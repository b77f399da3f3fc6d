"""The report of a device, without one: arithmetic, targets, steps, and what it reads from other programs."""

import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

import emdref
from analysis import __main__ as command
from analysis.engine import script as scripts
from analysis.engine.claims import FAILS, HOLDS, PAPER, UNDECIDED, UNMEASURED, judge
from analysis.engine.script import Options
from analysis.figures import table1_timing
from analysis.timing import own_process, table1

pytest.importorskip("numba.cuda", reason="the report's modules need Numba's CUDA target, if no device")

from analysis.benchmarks import gpu
from analysis.gpu import bits, checks, device_targets, steps, timing
from analysis.gpu.device_targets import DENSE, EMD, NOT_YET, SINKHORN
from analysis.gpu.steps import Step

pytestmark = pytest.mark.usefixtures("drawn_once")

DEVICE = "Some GPU"


# --- arithmetic -------------------------------------------------------------------------------------------------------


def test_bytes_that_must_move():
    assert timing.emd_work(2, 1000, 1374).traffic(2, 1000, 4) == 3 * 2 * 1000 * 4 + 2 * 4  # p, q, gradient; values
    assert timing.hvp_work(2, 1000, 1374).arrays == 4
    assert timing.sinkhorn_work(1, 10, 19, 7).operations == 7 * (2 * 5 * 19 + 2 * 10)
    assert timing.dense_work(1, 10, 19, 7).operations == 7 * (2 * 2 * 10**2 + 2 * 10)


def test_fractions_are_of_the_copy_in_the_same_process():
    row = {"rows": 512, "bins": 1000, "dtype": "float32"}
    work = timing.Work(3, 6e6)
    traffic = work.traffic(512, 1000, 4)
    found = timing._rates(row, np.array([1e-6, 2e-6, 4e-6]), work, {"bytes_per_s": traffic / 1e-6})
    np.testing.assert_allclose([found["fraction_low"], found["fraction"], found["fraction_high"]], [0.375, 0.5, 0.75])
    assert found["seconds"] == 2e-6 and found["repeats"] == 3
    np.testing.assert_allclose(found["gb_per_s"], traffic / 2e-6 / 1e9)
    np.testing.assert_allclose(found["flops_per_s"], 3e12)


def test_ratios_take_the_wider_quartiles():
    dense = {"seconds": 8.0, "seconds_low": 6.0, "seconds_high": 9.0}
    row = timing.beside({"seconds": 2.0, "seconds_low": 1.0, "seconds_high": 3.0}, dense)
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == (4.0, 2.0, 9.0)
    assert "ratio" not in timing.beside({"seconds": 2.0}, {"note": "failed"})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_differences_in_bits(dtype):
    x = np.array([[0.0, 1.0, -2.0], [np.inf, 5e-40, 1.0]], dtype)
    assert bits.difference(x, x.copy()) == (6, 0, 0.0, 0.0, 0)
    nan = np.where(x == 1, np.nan, x)
    assert bits.difference(nan, nan.copy()).differ == 0
    assert bits.difference(x, nan).max_ulp == np.inf
    across = np.array([np.finfo(dtype).smallest_subnormal, 0.0], dtype)
    assert bits.difference(across, -across).differ == 2  # -0 has other bits than 0
    further = x.copy()
    for _ in range(3):
        further[0, 1] = np.nextafter(further[0, 1], dtype(9))
    found = bits.difference(x, further)
    assert (found.differ, found.max_ulp, found.max_ulp_row) == (1, 3.0, 1.5)  # an ulp of 1 is half of one of 2
    with pytest.raises(TypeError, match="on the device"):
        bits.difference(x, x[:1])


def test_a_row_names_the_worst_family_and_judges_ordinary_ones_apart():
    cpu = np.ones((3, 2))
    gpu_ = cpu.copy()
    gpu_[2, 0] += 8 * np.finfo(float).eps
    row = bits.told(cpu, gpu_, ["softmax", "peaked", "peaked"])
    assert (row["differ"], row["worst"], row["ordinary_ulp_row"]) == (1, "peaked", 0.0)


@pytest.mark.filterwarnings("ignore:.*beyond the range:RuntimeWarning")
@pytest.mark.parametrize("name", ["chain", "tree"])
def test_every_function_is_asked_for_on_every_family(name):
    space = bits.space(name, 12)
    assert space.n_bins == 12
    p, q, families = bits.graded(12, "float32", 1)
    found = [(what, np.asarray(call(p, q))) for what, call in bits.functions(space, "native", p, (2,), bits.GAUGES)]
    assert [what["method"] for what, _ in found] == ["flow", "value", *["gradient"] * 4, "HVP", "HVP"]
    assert all(len(x) == len(families) and x.dtype == np.float32 for _, x in found)


# --- targets ----------------------------------------------------------------------------------------------------------


def report(share=0.7, ratio=12.0, differ=0, **facts):
    """A table in which every target is met, but for the changes."""
    rows = [{"part": "device", "name": name, "note": value} for name, value in ({"device": DEVICE} | facts).items()]
    common = {"part": "time", "dtype": "float32", "bins": 1000, "seconds": 1.0, "seconds_low": 1.0, "seconds_high": 1.0}
    common |= {"operations": 2e6, "traffic": 1e6, "flops_per_s": 2e6}
    rows += [{"part": "step", "name": device_targets.compared(*place)} for place in gpu.PLACES]
    for space in device_targets.NAMES.values():
        for accuracy in ("native", "compensated"):
            spread = {"fraction": share, "fraction_low": 0.9 * share, "fraction_high": 1.1 * share}
            rows.append(common | {"space": space, "rows": 65_536, "method": f"{EMD}, {accuracy}"} | spread)
        for dtype in gpu.DTYPES:
            own = {"part": "bits", "space": space, "dtype": dtype, "accuracy": "compensated", "entries": 10}
            own |= {"alone_differ": 0, "max_ulp": 0, "ordinary_ulp_row": 0}
            rows.append(own | {"method": "gradient", "rho": 2, "gauge": "raw", "differ": differ})
            rows.append(own | {"method": "flow", "differ": 0})
            rows.append(own | {"method": "value", "rho": 2.5, "differ": 3})  # by pow: counted nowhere
    spread = {"ratio": ratio, "ratio_low": ratio, "ratio_high": ratio}
    rows.append(common | {"space": "WordNet tree", "rows": 512, "method": SINKHORN} | spread)
    rows.append(common | {"space": "WordNet tree", "rows": 512, "method": DENSE, "name": "cuBLAS by X"})
    rows.append({"part": "ceiling", "dtype": "float32", "method": "copy", "bytes_per_s": 1e12})
    own = {"part": "table1", "dtype": "float32"}
    rows.append(own | {"method": table1.SD, "iterations": 100, "seconds": 0.01, "low": 0.009, "high": 0.012})
    rows.append(own | {"method": table1.EMD_NATIVE, "iterations": 0, "seconds": 0.002, "low": 0.0018, "high": 0.00225})
    rows.append({"part": "step", "name": "tests", "passed": 5, "failed": 0, "method": "5 passed", "seconds": 9.0})
    return pd.DataFrame(rows).reindex(columns=gpu.COLUMNS)


def test_targets_that_are_met():
    table = device_targets.goals(report())
    assert list(table.holds) == [HOLDS] * len(table) and len(table) == 7
    assert {claim.verdict for claim in judge(gpu.claims(report()))} == {HOLDS}
    assert gpu.failures(report()) == []
    said = gpu.told(report())
    assert said["device"] == DEVICE
    assert {target["result"] for target in said["targets"]} == {"met"}
    assert said["steps"]["tests"] == "5 passed" and said["steps"]["bits, tree, float64"] == "done"


def test_targets_that_are_missed():
    table = device_targets.goals(report(share=0.5, ratio=3.0, differ=2)).set_index(["what", "dtype"])
    chain = table.xs(f"GPU: {EMD}, chain, 65536 × 1000, native")
    tree = table.xs(f"GPU: {EMD}, WordNet tree, 65536 × 1000, native")
    assert (list(chain.holds), list(tree.holds)) == ([FAILS], [HOLDS])
    assert list(table.xs(f"GPU: {device_targets.SAME}").found) == [4.0, 4.0]
    assert "GPU: Sinkhorn, space kernel, WordNet tree, 512 × 1000, 100 iterations" in table[table.holds == FAILS].index
    assert set(device_targets.goals(report(share=0.6)).holds) == {HOLDS, UNDECIDED}  # quartiles from 0.54 to 0.66
    assert gpu.failures(report(differ=2)) == [
        "compensated results differ from the CPU's in bits, in 4 rows of the table"
    ]


def test_a_dense_loop_by_another_product_is_no_target():
    table = report()
    table.loc[table.method == DENSE, "name"] = "emdref's own product"
    found = device_targets.goals(table)
    assert set(found.holds[found.against == "dense loop, cuBLAS"]) == {"not measured"}


def test_bits_of_which_some_could_not_be_compared_are_not_claimed():
    table = report()
    table.loc[(table.part == "bits") & (table.method == "flow"), "differ"] = np.nan
    found = device_targets.goals(table)
    assert set(found.holds[found.unit == "entries"]) == {"not measured"}
    table = report()
    table.loc[table["name"] == "bits, tree, float64", "note"] = "not finished: stopped after 170 s"
    found = device_targets.goals(table)
    assert list(found.holds[found.unit == "entries"]) == [HOLDS, "not measured"]


def test_without_a_report_nothing_is_claimed():
    table = device_targets.unmeasured()
    assert len(table) == 7 and set(table.holds) == {NOT_YET}
    assert table.found.isna().all()


@pytest.mark.parametrize("text", ["", "\0", "a,b\n1,2\n", "part,name,note\ntime,,\n", "part,name,note\ndevice,device,"])
def test_what_is_no_report_is_none(text, tmp_path):
    path = tmp_path / "gpu.csv"
    assert device_targets.measured(path) is None
    path.write_text(text)
    assert device_targets.measured(path) is None


def test_what_was_simulated_is_no_report(tmp_path):
    path = tmp_path / "gpu.csv"
    report(device="simulated by Numba: nothing was measured").to_csv(path, index=False)
    assert device_targets.measured(path) is None
    report().to_csv(path, index=False)
    assert device_targets.measured(path).attrs["device"] == DEVICE


# --- Table 1 ----------------------------------------------------------------------------------------------------------


def own_rows():
    seconds = {table1.SD: 2.0, table1.SD_SPACE: 0.2, table1.EMD_NATIVE: 0.001, table1.EMD_COMPENSATED: 0.004}
    common = {"source": "emdref", "place": "CPU", "hardware": "a CPU", "thread_count": 1, "disagreement": 0.1}
    rows = [
        {"method": entry.method, "iterations": entry.cap, "dtype": dtype, "threads": threads}
        | {name: x * seconds[entry.method] for name, x in (("seconds", 1), ("low", 0.9), ("high", 1.1))}
        for threads in ("1", "all")
        for dtype in gpu.DTYPES
        for entry in table1.ENTRIES
    ]
    return pd.DataFrame([common | row for row in rows])


def test_the_papers_numbers_stand_in_the_table():
    table = table1_timing.join(own_rows(), Options())
    paper = table[table.source == "paper"].set_index(["method", "iterations", "place"]).seconds
    assert paper[table1.SD, 1000, "CPU"] == 74.5 and paper[table1.SD, 1000, "GPU"] == 0.865
    assert paper[table1.EMD_NATIVE, 0, "CPU"] == 0.126 and len(paper) == 8


def test_a_device_that_was_not_measured_is_told_in_every_cell(tmp_path):
    table = table1_timing.join(own_rows(), Options(out=tmp_path))
    there = table[(table.source == "emdref") & (table.place == "GPU")]
    assert len(there) == 2 * len(table1.ENTRIES)
    assert set(there.note) == {NOT_YET} and there.seconds.isna().all() and there.hardware.isna().all()
    cpu, device, slower, thousand = judge(table1_timing.claims(table))
    assert {claim.about for claim in (cpu, device, slower, thousand)} == {PAPER}
    assert cpu.verdict == HOLDS and "2000 (native float32 1 thread)" in cpu.found and "500 (compensated" in cpu.found
    np.testing.assert_allclose([cpu.numbers["low"], cpu.numbers["high"]], [500 * 0.9 / 1.1, 500 * 1.1 / 0.9])
    assert (device.verdict, device.why) == (UNMEASURED, NOT_YET)


def test_what_was_not_measured_has_no_bar(tmp_path):
    table = table1_timing.join(own_rows(), Options(out=tmp_path))
    first, second = table1_timing.draw(table).axes
    words = [text.get_text() for text in first.texts]
    assert len(words) == 4 * 6 and len(second.texts) == 4 * 4  # lines, and columns of which there are numbers
    assert words[:3] == ["942 ms", "15.1 ms", "2 s"] and "74.5 s" in words
    report().to_csv(tmp_path / "gpu.csv", index=False)
    first, second = table1_timing.draw(table1_timing.join(own_rows(), Options(out=tmp_path))).axes
    assert (len(first.texts), len(second.texts)) == (4 * 6 + 2, 4 * 4)


@pytest.mark.parametrize(("seconds", "verdict"), [(0.16, HOLDS), (0.12, UNDECIDED), (0.09, FAILS)])
def test_the_papers_ratio_is_judged_with_its_quartiles(seconds, verdict):
    """Of 100 iterations over EMD², at least 60, with quartiles that are off by a tenth."""
    rows = own_rows()
    of_sd = rows.method == table1.SD
    rows.loc[of_sd, ["seconds", "low", "high"]] *= seconds  # 2 s a line, over 0.004 of the slowest EMD²
    cpu, _, slower, _ = judge(table1_timing.claims(table1_timing.join(rows, Options())))
    assert cpu.verdict == verdict and slower.verdict == HOLDS


def thousand(each, once):
    """What is said of 1000 iterations, for seconds an iteration by 10 and 100, and of the one run."""
    rows = own_rows()
    for cap, took in ((10, 10 * each), (100, 100 * each), (1000, once)):
        at = (rows.method == table1.SD) & (rows.iterations == cap)
        rows.loc[at, ["seconds", "low", "high"]] = (
            [took, took, took] if cap == 1000 else [took, 0.99 * took, 1.01 * took]
        )
    return judge(table1_timing.claims(table1_timing.join(rows, Options())))[3]


def test_a_single_run_has_the_interval_of_shorter_ones():
    found = thousand(0.02, 20.0)
    assert found.verdict == HOLDS and found.numbers["least"] == 7.51
    low, high = (10 * 0.02 * a + 11 * 0.02 * (100 * b - 10 * a) for a, b in ((1.01, 0.99), (0.99, 1.01)))
    assert low < 19.8 and found.numbers["low"] == pytest.approx(0.99 * 0.2 + 11 * (0.99 * 2 - 1.01 * 0.2))
    assert high > 20.2 and found.numbers["high"] == pytest.approx(1.01 * 0.2 + 11 * (1.01 * 2 - 0.99 * 0.2))
    assert thousand(0.0076, 7.6).verdict == UNDECIDED
    assert thousand(0.02, 7.0).verdict == UNDECIDED  # the run alone is below what the others say
    assert thousand(0.001, 1.0).verdict == FAILS
    assert "1000 iterations were not run" in judge(table1_timing.claims(toy_rows()))[3].why


def toy_rows():
    rows = own_rows()
    return table1_timing.join(rows[rows.iterations <= 10], Options())


def test_the_devices_rows_come_from_its_report_and_are_joined_once(tmp_path):
    report().to_csv(tmp_path / "gpu.csv", index=False)
    options = Options(out=tmp_path)
    table = table1_timing.join(own_rows(), options)
    pd.testing.assert_frame_equal(table, table1_timing.join(table, options))
    there = table[(table.place == "GPU") & (table.source == "emdref")]
    assert set(there.hardware) == {DEVICE}
    assert list(there.seconds.dropna()) == [0.01, 0.002]
    assert set(there.note[there.seconds.isna()]) == {"not measured by the report"}
    claim = judge(table1_timing.claims(table))[1]
    assert claim.verdict == HOLDS and "here 5 (native float32); 4 to 6.67 times as fast" in claim.found


def test_a_report_of_a_device_refreshes_table_1(tmp_path):
    table1_timing.join(own_rows(), Options(out=tmp_path)).to_csv(tmp_path / "table1_timing.csv", index=False)
    (tmp_path / "table1_timing.json").write_text('{"processor": "a CPU"}')
    report().to_csv(tmp_path / "gpu.csv", index=False)
    scripts._refresh("table1_timing", Options(out=tmp_path))
    table = pd.read_csv(tmp_path / "table1_timing.csv")
    assert table.seconds[(table.place == "GPU") & (table.source == "emdref")].notna().sum() == 2
    assert json.loads((tmp_path / "table1_timing.json").read_text())["processor"] == "a CPU"
    assert (tmp_path / "table1_timing.svg").exists()


@pytest.mark.parametrize("entry", [table1.Entry(table1.SD, 10), table1.Entry(table1.EMD_COMPENSATED)])
def test_lines_of_table_1_compute_what_they_say(entry):
    tree, rng = emdref.wordnet_tree(), np.random.default_rng(0)
    p, q = (x / x.sum(axis=1, keepdims=True) for x in rng.random((2, 2, 1000)))
    right = table1.Right(entry, tree, p, q)
    value = table1.value_of(entry.call(tree, "float64")(p, q))
    assert right.disagreement(value) < 0.5
    assert right.disagreement(value * (1 + 1e-9)) > 1
    assert right.disagreement(value * np.nan) == np.inf


# --- steps ------------------------------------------------------------------------------------------------------------


def python(name, code, seconds=60.0, **more):
    return Step(name, [sys.executable, "-c", code], seconds, own_process.row_of, **more)


GOOD = 'print(\'hello\'); print(\'row: {"part": "x", "n": 1}\')'


def ran(groups, budget=60.0):
    said = []
    rows = list(steps.run(groups, budget, said.append))
    return rows, {row["name"]: row.get("note", "") for row in rows if row["part"] == "step"}


def test_a_step_that_fails_stops_no_other():
    broken = python("broken", 'import os; print(\'row: {"part": "x", "n": 2}\', flush=True); os.abort()')
    wrong = python("wrong", "raise ValueError('this way')")
    absent = Step("absent", ["/no/such/program"], 5.0, own_process.row_of)
    rows, notes = ran([[wrong, python("good", GOOD)], [broken], [absent], [python("later", GOOD)]])
    assert notes["wrong"] == "failed with status 1: ValueError: this way"
    assert notes["broken"].startswith("failed with status -6")
    assert notes["absent"].startswith("failed: FileNotFoundError")
    assert notes["good"] == notes["later"] == ""
    assert sorted(row["n"] for row in rows if row["part"] == "x") == [1, 1, 2]  # what came before the end is kept


def test_a_row_that_cannot_be_read_fails_its_step_alone():
    rows, notes = ran([[python("garbled", "print('row: {')")], [python("good", GOOD)]])
    assert notes["garbled"].startswith("failed: JSONDecodeError")
    assert notes["good"] == "" and len(rows) == 3


def test_a_step_that_hangs_is_stopped_with_all_it_has_started(monkeypatch):
    hangs = 'import subprocess, sys; print(\'row: {"part": "x"}\', flush=True); '
    hangs += "subprocess.run([sys.executable, '-c', 'import time; time.sleep(99)'])"
    start = time.monotonic()
    monkeypatch.setattr(steps, "LEAST", 0.5)
    _, notes = ran([[python("hangs", hangs, 2.0)]])
    assert notes["hangs"].startswith("not finished: stopped after 2 s, 1 rows are kept")
    assert time.monotonic() - start < 30
    assert gpu._bad(notes["hangs"])


def test_what_there_is_no_time_for_is_not_run():
    _, notes = ran([[python("good", GOOD)]], budget=steps.LEAST - 1)
    assert notes == {"good": steps.OUT_OF_TIME}
    assert gpu._bad(notes["good"])


def test_what_is_not_installed_is_told_and_no_failure():
    _, notes = ran([[python("checker", GOOD, missing="it is not installed")]])
    assert notes == {"checker": "not run: it is not installed"}
    assert not gpu._bad(notes["checker"])


def test_all_steps_end_within_eight_minutes_and_timings_run_alone():
    assert gpu.BUDGET <= 460
    every = gpu.groups(Options())
    assert sum(max((step.seconds for step in group), default=0) for group in every) < 2 * gpu.BUDGET
    timed = [group for group in every if any(step.name.startswith(("time", "Table")) for step in group)]
    assert len(timed) == 8 and all(len(group) == 1 for group in timed)


def test_rows_of_a_process_of_its_own_come_one_by_one():
    command_ = own_process.command("tests.analysis.two_rows:two_rows", n=3)
    done = subprocess.run(command_, capture_output=True, text=True, check=True)
    assert [own_process.row_of(line) for line in done.stdout.splitlines()] == [None, {"n": 3}, {"n": 4.5}]


# --- other programs' words --------------------------------------------------------------------------------------------

PYTEST = """\
============================= test session starts ==============================
collecting ... collected 5 items / 1 error

tests/test_gpu_emd.py::test_chain[float32] PASSED                        [ 20%]
tests/test_gpu_emd.py::test_chain[a - b] FAILED                          [ 40%]
tests/test_devices.py::test_kinds SKIPPED (CuPy is not installed)        [ 60%]
tests/test_devices.py::test_more PASSED                                  [ 80%]
=========================== short test summary info ============================
FAILED tests/test_gpu_emd.py::test_chain[a - b] - AssertionError: 3 bits
ERROR tests/test_gpu_sinkhorn.py - ModuleNotFoundError: No module named 'ot'
============== 1 failed, 2 passed, 1 skipped, 1 error in 12.34s ================
"""


def parsed(text, parse):
    return [row for row in map(parse, text.splitlines(keepends=True)) if row]


def test_outcomes_of_tests_are_counted_as_they_come():
    rows = parsed(PYTEST, checks.Outcomes().parse)
    assert [row["method"] for row in rows if row["part"] == "test"] == ["passed", "failed", "skipped", "passed"]
    reasons = {row["name"]: row["note"] for row in rows if row["part"] == "reason"}
    assert reasons["tests/test_gpu_sinkhorn.py"] == "failed: ModuleNotFoundError: No module named 'ot'"
    assert "failed: AssertionError: 3 bits" in reasons.values()
    row = checks.summary(1, rows)
    assert (row["passed"], row["failed"], row["skipped"], row["error"]) == (2, 1, 1, 1)
    assert row["note"] == "failed: 2 passed, 1 failed, 1 error, 1 skipped"


def test_outcomes_of_tests_run_side_by_side_are_read_too():
    text = "[gw1] [ 50%] PASSED tests/a.py::b[1 x] \n[gw0] [100%] FAILED tests/a.py::c\nFAILED tests/a.py::c - no\n"
    rows = parsed(text, checks.Outcomes().parse)
    assert [(row["name"], row.get("method")) for row in rows] == [
        ("tests/a.py::b[1 x]", "passed"), ("tests/a.py::c", "failed"), ("tests/a.py::c", None)
    ]  # fmt: skip


def test_only_passed_tests_are_a_success():
    passed, skipped = ({"part": "test", "method": name} for name in ("passed", "skipped"))
    assert "note" not in checks.summary(0, [passed, skipped])
    assert checks.summary(0, [skipped])["note"] == "failed: 1 skipped"
    assert checks.summary(5, [])["note"] == "failed: no test ran"
    assert checks.summary(3, [passed])["note"] == "failed: 1 passed, status 3"


MEMCHECK = """\
========= COMPUTE-SANITIZER
checked: chain, float32
========= Invalid __global__ write of size 4 bytes
=========     at kernel+0x50
checked: tree, float32
========= ERROR SUMMARY: 2 errors
"""


def test_verdicts_of_checkers():
    rows = parsed(MEMCHECK, checks.report)
    assert [row["part"] for row in rows] == ["checked", "checker", "checked", "checker"]
    assert checks.verdict(9, rows) == {
        "differ": 2,
        "method": "2 errors in 2 calls",
        "note": "failed: 2 errors in 2 calls",
    }
    clean = parsed(MEMCHECK.replace("2 errors", "0 errors").replace("Invalid", "valid"), checks.report)
    assert checks.verdict(0, clean) == {"differ": 0, "method": "0 errors in 2 calls"}
    races = parsed("checked: x\n========= RACECHECK SUMMARY: 3 hazards displayed (3 errors, 0 warnings)", checks.report)
    assert checks.verdict(0, races)["note"] == "failed: 3 errors in 1 calls"


@pytest.mark.parametrize(
    "output", ["", "========= Error: Device not supported\n", "========= ERROR SUMMARY: 0 errors\n"]
)
def test_a_checker_that_checked_nothing_gives_no_verdict(output):
    note = checks.verdict(0, parsed(output, checks.report))["note"]
    assert note.startswith("no verdict: ")
    assert gpu._bad(note)


# --- the script -------------------------------------------------------------------------------------------------------


def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu, "absent", lambda options: "there is no GPU")
    out = tmp_path / "figures"
    assert command.main(["gpu", "--out", str(out)]) == 0
    assert "gpu: nothing is measured: there is no GPU\n" in capsys.readouterr().out
    assert command.main(["gpu", "--redraw", "--out", str(out)]) == 0
    assert "no device has been measured" in capsys.readouterr().out
    assert not out.exists()


def test_a_report_is_written_as_it_comes_and_its_failures_are_the_exit_status(tmp_path, capsys, monkeypatch):
    seen = []
    whole = report(share=0.5).astype(object)
    failed = {"part": "step", "name": "memcheck", "note": "failed: 2 errors"}

    def measure(options):
        yield whole[:5]
        seen.append(pd.read_csv(options.out / "gpu.csv"))
        seen.append(json.loads((options.out / "gpu.json").read_text()))
        yield pd.concat([whole, pd.DataFrame([failed])]).reindex(columns=gpu.COLUMNS)

    monkeypatch.setattr(gpu, "absent", lambda options: "")
    monkeypatch.setattr(gpu, "measure", measure)
    assert command.main(["gpu", "--out", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "analysis: gpu: memcheck: failed: 2 errors" in captured.err
    assert len(seen[0]) == 5 and seen[1]["unfinished"] is True
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert record["device"] == DEVICE and "unfinished" not in record
    assert record["failures"] == ["memcheck: failed: 2 errors"]
    assert {"met", "missed"} == {target["result"] for target in record["targets"]}
    assert {path.name for path in tmp_path.glob("gpu*")} == {
        "gpu.csv", "gpu.json", "gpu_targets.csv", "gpu_targets.html", "gpu_roofline.svg", "gpu_roofline.png",
    }  # fmt: skip


def test_a_report_in_which_everything_failed_is_drawn_too(tmp_path, monkeypatch):
    rows = [{"part": "step", "name": "device", "note": "failed with status 1: no"}]
    monkeypatch.setattr(gpu, "absent", lambda options: "")
    monkeypatch.setattr(gpu, "measure", lambda options: iter([pd.DataFrame(rows).reindex(columns=gpu.COLUMNS)]))
    assert command.main(["gpu", "--out", str(tmp_path)]) == 1
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert {target["result"] for target in record["targets"]} == {"not measured"}
    assert record["failures"] == ["device: failed with status 1: no"]


def test_what_is_wrong_is_a_failure():
    table = report()
    table.loc[len(table)] = {"part": "sinkhorn", "value_relative": 1e-3, "tolerance": 1e-5, "status_differ": 2}
    table.loc[len(table)] = {"part": "bits", "accuracy": "native", "ordinary_ulp_row": 1e6, "alone_differ": 1}
    table.loc[len(table)] = {"part": "bits", "accuracy": "compensated", "method": "HVP", "rho": 2, "max_ulp_row": 99.0}
    table.loc[len(table)] = {"part": "time", "method": "x", "note": "failed: OutOfMemory: 5 bytes"}
    found = gpu.failures(table)
    assert len(found) == 6
    assert "1 rows of time failed, the first x: failed: OutOfMemory: 5 bytes" in found
