"""Sweeps that are interrupted, killed, shared, or sent to a cluster end in the same table."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import __main__ as command
from analysis.engine import cells
from analysis.engine.cells import Cell
from analysis.engine.run_cells import fill
from analysis.engine.script import Options
from analysis.engine.store import Store
from analysis.engine.workers import Threads
from analysis.inputs.histogram_pairs import KINDS
from analysis.studies.sweep import DTYPES as SCRIPT_DTYPES
from emdref.entropic.variants import VARIANTS

pytestmark = pytest.mark.usefixtures("drawn_once")

ROOT = Path(__file__).parents[2]
GRID = ["sweep", "--chain", "30", "--lam", "0.3,3,30", "--cap", "3,9", "--dtype", "float64,float32", "--pairs", "2"]
SLOW = ["sweep", "--lam", "1,2,3,5,8,13", "--cap", "600", "--pairs", "8", "--jobs", "2"]  # WordNet, log domain


class Silent:
    """A progress bar that remembers what was advanced."""

    def __init__(self):
        self.cells = []

    def advance(self, cell, seconds=0.0):
        self.cells.append(cell)


def calls(monkeypatch, function):
    """Let `function(parameters)` stand for what a cell computes; the parameters it was called with."""
    seen = []

    def compute(name, parameters, code):
        seen.append(parameters)
        return json.dumps(function(parameters))

    monkeypatch.setattr(cells, "compute", compute)
    return seen


def work(count):
    return [Cell("analysis.figures.slides:spikes", {"n": n}, weight=float(n)) for n in range(count)]


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "analysis", *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, check=False
    )


def test_only_what_is_missing_is_computed_and_the_dearest_first(tmp_path, monkeypatch):
    seen = calls(monkeypatch, lambda parameters: [parameters])
    store = Store(tmp_path / "s")
    for upto, expected in ((2, [1, 0]), (5, [4, 3, 2])):
        workers = Threads(1)
        assert fill(work(upto), store, workers, Silent()) == []
        workers.close()
        assert [parameters["n"] for parameters in seen] == expected
        seen.clear()
    assert [store.get(cell) for cell in work(5)] == [json.dumps([{"n": n}]) for n in range(5)]
    store.close()


def test_a_cell_that_fails_stops_no_other(tmp_path, monkeypatch, capsys):
    def function(parameters):
        if parameters["n"] == 2:
            raise ZeroDivisionError("two")
        return []

    calls(monkeypatch, function)
    store, workers = Store(tmp_path / "s"), Threads(2)
    failed = fill(work(6), store, workers, Silent())
    workers.close()
    assert [outcome.cell.parameters["n"] for outcome in failed] == [2]
    assert [store.get(cell) is None for cell in work(6)] == [False, False, True, False, False, False]
    assert "ZeroDivisionError: two" in capsys.readouterr().err
    store.close()


def test_an_error_of_many_cells_is_shown_once(tmp_path, monkeypatch, capsys):
    def function(parameters):
        raise ZeroDivisionError(f"modulo {parameters['n'] % 2}")

    calls(monkeypatch, function)
    store, workers = Store(tmp_path / "s"), Threads(2)
    assert len(fill(work(6), store, workers, Silent())) == 6
    workers.close()
    store.close()
    assert capsys.readouterr().err.count("Traceback") == 2


def test_a_script_with_a_failed_cell_is_not_drawn_and_the_status_says_so(tmp_path, monkeypatch, capsys):
    from analysis.figures import slides

    bad = Cell("analysis.figures.slides:gradients", {"seed": "x"})
    monkeypatch.setattr(slides, "cells", lambda options: [Cell("analysis.figures.slides:spikes"), bad])
    assert command.main(["slides", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "slides: 1 of 2 cells failed, the first analysis.figures.slides:gradients" in error
    assert "the same command tries the rest again" in error
    assert not (tmp_path / "slides.csv").exists()


def test_a_timing_runs_with_nothing_beside_it(tmp_path, monkeypatch):
    running, most = set(), {}

    def function(parameters):
        running.add(parameters["n"])
        time.sleep(0.02)
        most[parameters["n"]] = len(running)
        running.discard(parameters["n"])
        return []

    calls(monkeypatch, function)
    todo = [Cell(c.function, c.parameters, 1.0, alone=c.parameters["n"] % 2 == 0) for c in work(8)]
    store, workers = Store(tmp_path / "s"), Threads(4)
    fill(todo, store, workers, Silent())
    workers.close()
    store.close()
    assert [most[n] for n in (0, 2, 4, 6)] == [1, 1, 1, 1]
    assert max(most.values()) > 1


def test_every_bit_of_a_float_survives_the_store():
    function = "analysis.figures.slides:gradients"
    rows = json.loads(cells.compute(function, {"seed": 3}, cells.code(function)))
    from analysis.figures import slides

    assert rows == [{k: getattr(v, "item", lambda v=v: v)() for k, v in row.items()} for row in slides.gradients(3)]


def test_a_worker_with_other_code_is_refused():
    with pytest.raises(RuntimeError, match="give both the same clone and the same environment"):
        cells.compute("analysis.figures.slides:spikes", {}, "0" * 64)


def test_code_version_covers_library_tables_and_own_script_only():
    names = {str(path.relative_to(ROOT)) for path in cells._shared_files()}
    assert {
        "emdref/kernels/entropic/products.py",
        "emdref/spaces/data/wordnet.tsv",
        "analysis/data/real_labels.csv",
    } <= names
    assert {
        "analysis/inputs/histogram_pairs.py",
        "analysis/sinkhorn/stability.py",
        "emdref/spaces/files/tables.py",
    } <= names
    assert "analysis/engine/style.py" not in names
    assert not any(
        name.startswith(("analysis/figures/", "analysis/studies/", "analysis/benchmarks/")) for name in names
    )
    assert cells.code("analysis.figures.slides:spikes") != cells.code("analysis.studies.accuracy:compute")


def test_run_again_takes_everything_from_the_store(tmp_path, capsys):
    for _ in range(2):
        assert command.main([*GRID, "--out", str(tmp_path)]) == 0
    first, second = (line for line in capsys.readouterr().err.splitlines() if "cells, " in line)
    assert first.startswith("6 cells, 0 of them in")
    assert second.startswith("6 cells, 6 of them in")


def test_another_store_file_can_be_named_and_a_foreign_one_is_left_alone(tmp_path, capsys):
    foreign = tmp_path / "photo.jpg"
    foreign.write_bytes(b"\xff\xd8\xff")
    assert command.main([*GRID, "--out", str(tmp_path), "--store", str(foreign)]) == 1
    assert "is not a store of sweeps" in capsys.readouterr().err
    assert foreign.read_bytes() == b"\xff\xd8\xff"
    assert command.main([*GRID, "--out", str(tmp_path), "--store", str(tmp_path / "mine")]) == 0
    assert (tmp_path / "mine").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource")
def test_a_folder_without_room_for_the_figure_is_named_and_keeps_no_halves(tmp_path, capsys):
    import resource

    assert command.main([*GRID, "--out", str(tmp_path)]) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    room = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, room[1]))
    try:
        assert command.main([*GRID, "--redraw", "--out", str(tmp_path)]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, room)
    error = capsys.readouterr().err
    assert f"analysis: --out {tmp_path}: sweep cannot be written there (File too large); what is computed" in error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_parquet_holds_the_table_of_the_csv(tmp_path):
    assert command.main([*GRID, "--out", str(tmp_path), "--parquet"]) == 0
    csv = pd.read_csv(tmp_path / "sweep.csv", keep_default_na=False, na_values=[""])
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "sweep.parquet"), csv)
    assert len(csv) == 3 * 2 * 2 * 2


@pytest.mark.parametrize(
    ("package", "arguments"), [("pyarrow", ["--parquet"]), ("distributed", ["--scheduler", "tcp://127.0.0.1:1"])]
)
def test_a_missing_extra_is_named_before_anything_runs(package, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    assert command.main([*GRID, "--out", str(tmp_path), *arguments]) == 1
    error = capsys.readouterr().err
    assert "needs the extra" in error
    assert "pip install --editable" in error
    assert not list(tmp_path.glob("sweep.csv"))


def test_an_interrupt_that_nothing_may_swallow(tmp_path):
    program = (
        "import sys, os, signal\nfrom analysis import __main__ as command\n"
        "def swallow(names, arguments):\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGINT)\n        signal.getsignal(signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n        raise ValueError('as extension modules do')\n"
        f"command._run, sys.argv = swallow, ['analysis', 'sweep', '--out', {str(tmp_path)!r}]\ncommand.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 130
    assert "interrupted; what is finished is kept in" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow(instead="test_run_again_takes_everything_from_the_store")
def test_interrupt_stops_within_a_second_and_the_same_command_goes_on(tmp_path):
    whole = run(*SLOW, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "analysis", *SLOW, "--out", str(out)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    until_stored(out / "sweep.sqlite", 1, process)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert time.monotonic() - begun < 1.0
    assert process.returncode == 130
    assert f"what is finished is kept in {out}/sweep.sqlite, the same command goes on from there" in error.decode()
    resumed = run(*SLOW, "--out", out)
    assert "6 cells, 0 of them" not in resumed.stderr
    assert (out / "sweep.csv").read_bytes() == (tmp_path / "whole" / "sweep.csv").read_bytes()


def until_stored(path, count, process):
    """Wait until the store holds so many cells."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if path.exists():
            import sqlite3

            connection = sqlite3.connect(path, timeout=10)
            (found,) = connection.execute("SELECT count(*) FROM cells").fetchone()
            connection.close()
            if found >= count:
                return
        time.sleep(0.02)
    raise AssertionError(f"the sweep stored no {count} cells: {process.communicate()}")


@pytest.mark.slow(instead="test_run_again_takes_everything_from_the_store")
def test_two_processes_share_a_store(tmp_path):
    assert command.main([*GRID, "--out", str(tmp_path / "alone")]) == 0
    shared = [sys.executable, "-m", "analysis", *GRID, "--store", str(tmp_path / "store")]
    both = [
        subprocess.Popen(
            [*shared, "--out", str(tmp_path / name)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=ROOT
        )
        for name in "ab"
    ]
    for process in both:
        error = process.communicate(timeout=120)[1]
        assert process.returncode == 0, error
    tables = [(tmp_path / name / "sweep.csv").read_bytes() for name in ("alone", "a", "b")]
    assert tables[0] == tables[1] == tables[2]


@pytest.mark.slow(instead="test_run_again_takes_everything_from_the_store")  # .ci/run kills a sweep 20 times
@pytest.mark.parametrize("kills", [1, 15])
def test_killed_at_any_moment_nothing_finished_is_lost(kills):
    loop = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "analysis" / "kill_loop.py"), "--kills", str(kills)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert loop.returncode == 0, loop.stderr
    assert loop.stdout.startswith(f"{kills} kills in ")


def test_undefined_combinations_are_left_out_aloud(tmp_path, capsys):
    grid = ["sweep", "--chain", "9", "--lam", "1", "--cap", "2", "--dtype", "float32,tf32", "--kernel", "dense,space"]
    assert command.main([*grid, "--domain", "linear", "--out", str(tmp_path)]) == 0
    assert "dtype tf32 with kernel space in the linear domain is not defined and left out" in capsys.readouterr().err
    table = pd.read_csv(tmp_path / "sweep.csv")
    assert set(zip(table.dtype, table.kernel, strict=True)) == {
        ("float32", "dense"),
        ("float32", "space"),
        ("tf32", "dense"),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variant", "best"], "--variant 'best' is not one of paper, frogner"),
        (["--target", "ReaL", "--chain", "9"], "--target ReaL needs a tree whose leaves are the 1000 ILSVRC classes"),
        (["--tree", "missing.nwk"], "missing.nwk"),
        (["--chain", "9", "--dtype", "tf32,float16"], "every combination asked for is undefined"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused(arguments, message, tmp_path, capsys):
    assert command.main(["sweep", *arguments, "--out", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--lam", "1,x"],
        ["--lam", "1,"],
        ["--lam", "0"],
        ["--cap", "0"],
        ["--dtype", "float128"],
        ["--seed", "-1"],
        ["--chain", "1"],
        ["--scheduler", ""],
    ],
)
def test_a_bad_axis_stops_before_anything_runs(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["sweep", *arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert arguments[0] in error
    assert "could not convert" not in error


def test_a_tree_file_is_swept_under_its_own_name(tmp_path, monkeypatch):
    (tmp_path / "pets.nwk").write_text("((cat:1,dog:2):1,fish:3);")
    monkeypatch.chdir(tmp_path)
    grid = ["sweep", "--lam", "1,10", "--cap", "50", "--pairs", "3"]
    assert command.main([*grid, "--tree", "pets.nwk"]) == 0
    table = pd.read_csv(tmp_path / "figures-sweep-pets" / "sweep.csv")
    assert len(table) == 6
    assert np.isfinite(table.sd_over_emd).all()
    assert set(table.space) == {"pets.nwk"}


@pytest.mark.parametrize("newick", ["(a:1);", "(a:0,b:0);"])
def test_a_tree_without_distances_is_refused(newick, tmp_path, capsys):
    (tmp_path / "t.nwk").write_text(newick)
    assert command.main(["sweep", "--tree", str(tmp_path / "t.nwk"), "--out", str(tmp_path / "out")]) == 1
    assert re.search(r"--tree .*t\.nwk: all distances between its [12] bins are 0", capsys.readouterr().err)


def test_a_changed_tree_file_is_another_sweep(tmp_path):
    from analysis.sinkhorn import stability

    path = tmp_path / "t.nwk"
    path.write_text("(a:1,b:2);")
    before = stability.named(Options(tree=path))
    path.write_text("(a:1,b:3);")
    assert stability.named(Options(tree=path)) != before
    with pytest.raises(RuntimeError, match="holds another tree"):
        stability.space(before)


def test_help_names_every_value(capsys):
    with pytest.raises(SystemExit):
        command.main(["sweep", "--help"])
    text = capsys.readouterr().out
    for word in (*VARIANTS, *SCRIPT_DTYPES, *KINDS, "dense:", "space:", "linear:", "log:"):
        assert word in text


def test_a_value_named_twice_is_swept_once(tmp_path):
    grid = ["sweep", "--chain", "9", "--lam", "1,1.0", "--cap", "2,2", "--pairs", "2", "--out", str(tmp_path)]
    assert command.main(grid) == 0
    assert len(pd.read_csv(tmp_path / "sweep.csv")) == 2


def test_a_space_beyond_memory_is_said_in_a_line(tmp_path, capsys):
    assert command.main(["sweep", "--chain", "99999999999999", "--out", str(tmp_path)]) == 1
    assert "analysis: not enough memory" in capsys.readouterr().err


def test_a_toy_sweep_is_small(tmp_path):
    grid = ["sweep", "--toy", "--chain", "9", "--lam", "1", "--cap", "50,5000", "--pairs", "3,200"]
    assert command.main([*grid, "--out", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "sweep.csv")
    assert set(table.cap) == {30}
    assert len(table) == 3


def test_seeds_are_an_axis(tmp_path):
    assert command.main([*GRID, "--seed", "0,1", "--out", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "sweep.csv")
    ratios = [table[table.seed == seed].sd_over_emd.to_numpy() for seed in (0, 1)]
    assert len(ratios[0]) == len(ratios[1]) > 0
    assert (ratios[0] != ratios[1]).all()


def test_environment_of_the_tests_is_one_thread_for_blas():
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
