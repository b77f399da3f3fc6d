"""How a table compares with the committed one, when files are written, and the estimate of the time left."""

import importlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import __main__ as command
from analysis import catalogue
from analysis.catalogue import NAMES
from analysis.engine import provenance, reproduction
from analysis.engine.cells import Cell
from analysis.engine.reproduction import EXACT, TIMING, Rounding, compare
from analysis.engine.run_cells import Progress
from analysis.engine.workers import Threads

pytestmark = pytest.mark.usefixtures("one_sheet")
ROOT = Path(__file__).parents[2]
COMMITTED = [name for name in NAMES if (ROOT / "figures" / f"{name}.csv").exists()]
KINDS = {
    "name": EXACT,
    "value": Rounding(lambda table: np.where(table.name == "wild", np.inf, 1e-6), "sums"),
    "seconds": TIMING,
}
OLD = pd.DataFrame({"name": ["a", "b", "wild"], "value": [1.0, np.nan, 3.0], "seconds": [1.0, 2.0, 3.0]})


def changed(**columns):
    return OLD.assign(**columns)


@pytest.mark.parametrize(
    ("new", "moved", "timed", "words"),
    [
        (OLD, False, False, "identical to the committed table"),
        (changed(seconds=[1.0, 2.0, 4.0]), False, True, "identical to the committed table, timings apart"),
        (changed(value=[1.0000005, np.nan, 3.0]), False, False, "5e-07 in value (row 0: 1.0000005, was 1), within"),
        (changed(value=[1.01, np.nan, 3.0]), True, False, "0.01 in value (row 0: 1.01, was 1), BEYOND"),
        (changed(value=[1.0, 2.0, 3.0]), True, False, "inf in value (row 1: 2, was nan), BEYOND"),
        (changed(value=[1.0, np.nan, 77.0]), False, False, "74 in value (row 2: 77, was 3), within"),
        (changed(name=["a", "c", "wild"]), True, False, "name, which is exact, differs in 1 of 3 rows, first in row 1"),
        (OLD.iloc[:2], True, False, "2 rows, the committed table has 3"),
        (OLD.drop(columns="seconds"), True, False, "other columns than the committed table: seconds"),
    ],
)
def test_a_table_beside_another(new, moved, timed, words):
    found = compare(new.reset_index(drop=True), OLD, KINDS)
    assert (found.moved, found.timed) == (moved, timed)
    assert words in found.words


def test_rows_that_were_not_computed_are_counted():
    new = OLD.iloc[[2, 0]].reset_index(drop=True)
    found = compare(new, OLD, KINDS, key=["name"])
    assert found == ("identical to the committed table (1 rows of it were not computed)", False, False)
    noted = OLD.assign(note=[np.nan, "not installed", np.nan], value=[1.0, np.nan, 3.0])
    found = compare(noted, OLD.assign(note=np.nan, value=[1.0, 2.0, 3.0]), KINDS | {"note": EXACT}, key=["name"])
    assert not found.moved
    assert "(1 rows of it were not computed)" in found.words


def test_the_bound_of_sums_is_that_of_sums():
    rng = np.random.default_rng(5)
    for n in (10, 1000, 100_000):
        x = rng.random(n).astype(np.float32)
        orders = [float(np.add.accumulate(x[rng.permutation(n)])[-1]) for _ in range(20)]
        exact = float(x.astype(float).sum())
        assert np.ptp(orders) / exact < reproduction.sums(n, 1, "float32")
        assert reproduction.sums(n, 1, "float32") < 1e-6 * n  # and no blank cheque: the worst case is n eps


def test_trained_networks_may_differ_as_their_seeds_do():
    table = pd.DataFrame({"loss": ["a"] * 3 + ["b"], "error": [1.0, 2.0, 3.0, 9.0]})
    bound = reproduction.like_another_seed(["error"], ["loss"])["error"].bound(table)
    np.testing.assert_allclose(bound, [6, 6, 6, 6])


@pytest.mark.parametrize("name", COMMITTED)
def test_every_column_of_a_committed_table_is_declared(name):
    script = importlib.import_module(catalogue.module(name))
    table = pd.read_csv(ROOT / "figures" / f"{name}.csv", keep_default_na=False, na_values=[""])
    assert set(table) == set(script.KINDS)
    key = list(getattr(script, "KEY", ()))
    assert not key or not table.duplicated(key).any()
    for column, kind in script.KINDS.items():
        if isinstance(kind, Rounding):
            bound = np.broadcast_to(np.asarray(kind.bound(table), float), len(table))
            assert not (bound < 0).any(), column
    assert compare(table, table, script.KINDS, key) == ("identical to the committed table", False, False)


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_figures_were_made_by_the_scripts_as_they_are(name):
    record = json.loads((ROOT / "figures" / f"{name}.json").read_text(encoding="utf-8"))
    assert record["code"] == provenance.digest(name), f"draw it again: python -m analysis {name} --redraw"


def test_the_digest_follows_what_a_script_imports(monkeypatch, tmp_path):
    folder, engine = tmp_path / "analysis" / "figures", tmp_path / "analysis" / "engine"
    folder.mkdir(parents=True)
    engine.mkdir()
    (folder / "mine.py").write_text("from analysis.engine import style\nfrom analysis.engine.script import must\n")
    for name in ("style", "script", "other"):
        (engine / f"{name}.py").write_text("")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)

    def digest():
        provenance.digest.cache_clear()
        return provenance.digest("mine")

    before = digest()
    for name, same in (("other", True), ("script", True), ("style", False)):
        (engine / f"{name}.py").write_text("# changed")
        assert (digest() == before) == same
    provenance.digest.cache_clear()


def contents(folder):
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
        if "sqlite" not in path.name
    }


@pytest.mark.parametrize("name", ["figure1_ellyvan", "slides"])
def test_a_script_leaves_data_picture_and_record_and_repeats(name, tmp_path, capsys):
    for folder in ("one", "two"):
        assert command.main(["--toy", name, "--out", str(tmp_path / folder)]) == 0
    for suffix in ("csv", "svg", "json"):
        first, second = ((tmp_path / folder / f"{name}.{suffix}").read_bytes() for folder in ("one", "two"))
        assert first == second
    record = json.loads((tmp_path / "one" / f"{name}.json").read_text())
    assert record["seed"] == 0
    assert record["toy"] is True
    assert record["claims"]
    assert re.search(r"^.* hold$", capsys.readouterr().out, re.MULTILINE)
    assert not [f for f in os.listdir(tmp_path / "one") if f.startswith(".")]


def test_a_run_that_changes_nothing_leaves_the_files(tmp_path, capsys):
    run = ["slides", "--out", str(tmp_path)]
    assert command.main(run) == 0
    assert "slides: identical to the committed table; files are written: some were not there" in capsys.readouterr().out
    first = contents(tmp_path)
    assert command.main(run) == 0
    assert "\nslides: identical to the committed table\n" in capsys.readouterr().out
    assert contents(tmp_path) == first


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda table: table.assign(amount=table.amount + 0.5), "BEYOND what rounding explains"),
        (None, "files are written: the script changed"),
    ],
)
def test_files_are_written_where_the_table_moved_or_the_script_changed(edit, words, tmp_path, capsys):
    run = ["slides", "--out", str(tmp_path)]
    assert command.main(run) == 0
    right = contents(tmp_path)
    csv, described = tmp_path / "slides.csv", tmp_path / "slides.json"
    table, record = pd.read_csv(csv), json.loads(described.read_text())
    if edit:
        edit(table).to_csv(csv, index=False, float_format="%.9g")
    else:
        described.write_text(json.dumps(record | {"code": "0"}))
    wrong = contents(tmp_path)
    checked = command.main([*run, "--check"])
    assert checked == (1 if edit else 0)
    assert contents(tmp_path) == wrong  # --check writes nothing
    capsys.readouterr()
    assert command.main(run) == 0
    assert words in capsys.readouterr().out
    assert {name: content for name, (content, _) in contents(tmp_path).items()} == {
        name: content for name, (content, _) in right.items()
    }


def test_checking_makes_no_folder_and_takes_nothing_from_a_store(tmp_path, capsys):
    assert command.main(["slides", "--check", "--out", str(tmp_path / "new")]) == 0
    told = capsys.readouterr()
    assert "slides: identical to the committed table" in told.out
    assert "2 cells, 0 of them in" in told.err
    assert not (tmp_path / "new").exists()


def test_timings_are_written_when_they_are_accepted(tmp_path, capsys, monkeypatch):
    from analysis.figures import slides

    monkeypatch.setitem(slides.KINDS, "amount", TIMING)
    run = ["slides", "--out", str(tmp_path)]
    assert command.main(run) == 0
    csv = tmp_path / "slides.csv"
    right = csv.read_bytes()
    table = pd.read_csv(csv)
    table.assign(amount=table.amount * 2).to_csv(csv, index=False, float_format="%.9g")
    old = contents(tmp_path)
    assert command.main(run) == 0
    assert "identical to the committed table, timings apart; --accept writes them" in capsys.readouterr().out
    assert contents(tmp_path) == old
    assert command.main([*run, "--accept"]) == 0
    assert csv.read_bytes() == right


def test_a_quick_table_1_keeps_the_rows_that_take_minutes(tmp_path):
    from analysis.engine.script import Options
    from analysis.figures import table1_timing

    committed = pd.read_csv(ROOT / "figures" / "table1_timing.csv", keep_default_na=False, na_values=[""])
    committed.to_csv(tmp_path / "table1_timing.csv", index=False)
    quick = Options(out=tmp_path, quick=True)
    measured = committed[(committed.iterations < 1000) & (committed.source == "emdref")]
    joined = table1_timing.join(measured, quick)
    assert joined.equals(table1_timing.join(committed, Options(out=tmp_path)))
    assert joined[list(table1_timing.KEY)].astype(str).equals(committed[list(table1_timing.KEY)].astype(str))
    dear = sum(cell.weight for cell in table1_timing.cells(Options()))
    assert sum(cell.weight for cell in table1_timing.cells(quick)) < dear / 2


def finished(progress, cells, factor, slowest=1.0):
    for number, cell in enumerate(cells):
        progress.advance(cell, cell.weight * (slowest if number == 0 else factor))


def test_the_estimate_is_a_time_or_nothing_and_learns():
    workers = Threads(2)
    cells = [Cell("analysis.figures.slides:spikes", {"n": n}, weight=2.0) for n in range(50)] + [
        Cell("analysis.figures.slides:gradients", {"n": n}, 1.0, True) for n in range(20)
    ]
    progress = Progress(cells, workers)
    assert progress.seconds_left() == 0  # nothing is known
    finished(progress, cells[:1], 1.0, slowest=20.0)  # it compiled for 40 seconds
    assert 60 < progress.seconds_left() < 360  # of some 69: minutes, not days
    finished(progress, cells[1:40], 1.0)
    assert 25 < progress.seconds_left() < 45  # 20 / 2 + 20
    finished(progress, cells[40:50], 1.0)
    finished(progress, cells[50:60], 3.0)
    assert 15 < progress.seconds_left() < 35  # ten of one second, which take three
    finished(progress, cells[60:], 1.0)
    assert progress.seconds_left() == 0
    progress.close()
    workers.close()


def test_what_another_process_finished_teaches_nothing():
    workers = Threads(1)
    cells = [Cell("analysis.figures.slides:spikes", {"n": n}, weight=1.0) for n in range(4)]
    progress = Progress(cells, workers)
    progress.advance(cells[0])
    assert progress.seconds_left() == 0
    progress.close()
    workers.close()
