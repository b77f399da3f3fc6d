"""The command line and what a script leaves behind, at toy size."""

import importlib
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from analysis import __main__ as command
from analysis.catalogue import GROUPS, NAMES, ON_ANY_SPACE, SWEEP
from analysis.experiments.training import torch_extra
from analysis.inputs import histogram_pairs
from analysis.inputs.histogram_pairs import Group
from analysis.sinkhorn import gradient_shapes
from analysis.timing import (
    duels,
    emd_growth,
    emd_speed,
    measuring,
    own_process,
    sinkhorn_calls,
    sinkhorn_growth,
    sinkhorn_speed,
    startup,
    table1,
)
from emdref import casebook

pytestmark = pytest.mark.usefixtures("drawn_once")


def test_list_names_every_script_with_a_line(capsys):
    assert command.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(" ")] == list(NAMES)
    assert [line.split(":")[0] for line in lines if not line.startswith(" ")] == list(GROUPS)
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize("asked", [["figure2"], ["slides", "figure2"], ["--toy", "figure2", "slides"]])
def test_unknown_name_lists_the_names_by_group(asked, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(asked)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "there is no 'figure2'" in error
    assert all(f"{group}: {', '.join(names)}" in error for group, names in GROUPS.items())


def test_names_and_groups_and_all():
    parsed = {text: command._parsed(text.split())[0] for text in ("", "all", "papers slides --toy", "--out gpu slides")}
    assert parsed == {
        "": [],
        "all": ["all"],
        "papers slides --toy": ["papers", "slides"],
        "--out gpu slides": ["slides"],
    }
    assert command._names(["all"]) == list(NAMES)
    assert command._names(["slides", "papers"]) == ["slides", *(name for name in GROUPS["papers"] if name != "slides")]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["sweep", "slides"], "sweep takes a grid of its own: name it alone"),
        (
            ["slides", "figure3_rescue", "--chain", "9"],
            "--chain is an option of figure3_stability, figure3_rescue, sinkhorn_limits, sweep alone",
        ),
        (["--tree", "pets.nwk"], "--tree is an option of figure3_stability, figure3_rescue"),
        (["slides", "--lam", "1"], "unrecognized arguments: --lam"),
        (["slides", "--check", "--accept"], "not allowed with argument"),
    ],
)
def test_options_are_those_that_everything_asked_for_takes(asked, message, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(asked)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("one_sheet")
def test_several_names_in_one_run(tmp_path):
    assert command.main(["slides", "figure1_ellyvan", "--out", str(tmp_path)]) == 0
    assert {path.stem for path in tmp_path.glob("*.csv")} == {"slides", "figure1_ellyvan"}


@pytest.mark.parametrize("name", [*NAMES, SWEEP])
def test_help_of_a_script_is_its_docstring(name, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main([name, "--help"])
    assert stop.value.code == 0
    assert "--toy" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--jobs", "0"], ["--jobs", "two"], ["--seed", "-1"], ["slides", "--seed", "x"]])
def test_bad_options_stop_before_anything_runs(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2
    assert arguments[-2] in capsys.readouterr().err


def test_unwritable_folder_is_refused_before_anything_runs(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert command.main(["slides", "--out", str(tmp_path / "file" / "figures")]) == 1
    assert "figures cannot be written there" in capsys.readouterr().err


def test_redraw_without_data_says_so(tmp_path, capsys):
    assert command.main(["slides", "--redraw", "--out", str(tmp_path)]) == 1
    assert "slides.csv does not exist: run without --redraw first" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "\0"])
def test_redraw_of_a_foreign_table_says_so(content, tmp_path, capsys):
    (tmp_path / "slides.csv").write_text(content)
    assert command.main(["slides", "--redraw", "--out", str(tmp_path)]) == 1
    assert "slides.csv is not a table of this script" in capsys.readouterr().err


def here(function, environment=None, /, **parameters):
    """In this process, where the compiled kernels are, what has a process of its own otherwise."""
    module, name = function.split(":")
    return getattr(importlib.import_module(module), name)(**parameters)


def first_of(stopwatches, *how_long):
    """Of a contest the first round."""
    return {name: np.array([measure()]) for name, measure in stopwatches.items()}


def once(run):
    """Of growth one call."""
    seconds = measuring.spent(run)
    return {"seconds": seconds, "low": seconds, "high": seconds, "repeats": 1, "bytes": 0, "peak": 0}


@pytest.fixture(params=["quickly", pytest.param("as it is", marks=pytest.mark.slow)])
def options(request, monkeypatch):
    """Options for a script, by its name: none, or a small space where it takes one, and no times that mean anything."""
    if request.param == "as it is":
        return lambda name: []
    monkeypatch.setattr(own_process, "call", here)
    monkeypatch.setattr(sinkhorn_growth, "_slope", lambda run: sinkhorn_growth._spent(run, 2))
    monkeypatch.setattr(sinkhorn_speed, "_slope", lambda run, *args: lambda: measuring.spent(lambda: run(2, *args)))
    monkeypatch.setattr(startup, "_run", lambda *program: None)
    monkeypatch.setattr(emd_growth, "_measured", once)
    monkeypatch.setattr(casebook, "FAMILIES", dict(list(casebook.FAMILIES.items())[::4]))  # test_accuracy meets all
    for module in (duels, emd_speed, sinkhorn_calls, sinkhorn_speed, startup, table1):
        monkeypatch.setattr(module, "race", first_of)
        if hasattr(module, "stopwatch"):
            monkeypatch.setattr(module, "stopwatch", lambda call: lambda: measuring.spent(call))
    return lambda name: ["--chain", "40"] if name in ON_ANY_SPACE else []


@pytest.mark.parametrize("name", NAMES)
def test_every_script_runs_at_toy_size(name, options, tmp_path, tmp_path_factory, capsys):
    store = tmp_path_factory.getbasetemp() / "toys.sqlite"  # scripts share cells
    status = command.main(["--toy", name, *options(name), "--store", str(store), "--out", str(tmp_path)])
    said = capsys.readouterr()
    if "needs the extra" in said.err:
        pytest.skip(said.err)
    assert status == 0
    if f"{name}: nothing is " not in said.out:  # measured, for want of a GPU
        assert {x.suffix for x in tmp_path.glob(f"{name}.*")} >= {".csv", ".json", ".svg"}


def test_a_script_whose_claim_breaks_does_not_draw(tmp_path, capsys):
    assert command.main(["figure1_ellyvan", "--out", str(tmp_path)]) == 0
    (tmp_path / "figure1_ellyvan.svg").unlink()
    path = tmp_path / "figure1_ellyvan.csv"
    table = pd.read_csv(path)
    table.loc[table.f.notna(), "grad_emd"] += 0.1
    table.to_csv(path, index=False)
    assert command.main(["figure1_ellyvan", "--redraw", "--out", str(tmp_path)]) == 1
    assert "figure1_ellyvan: a check failed, nothing is written: grad_emd is not as printed" in capsys.readouterr().err
    assert not (tmp_path / "figure1_ellyvan.svg").exists()


@pytest.mark.usefixtures("one_sheet")
def test_a_figure_whose_check_fails_stops_no_other(tmp_path, capsys, monkeypatch):
    from analysis.figures import figure1_ellyvan

    def fails(table):
        raise AssertionError("it is not so")

    monkeypatch.setattr(figure1_ellyvan, "check", fails)
    assert command.main(["figure1_ellyvan", "slides", "--out", str(tmp_path)]) == 1
    assert "figure1_ellyvan: a check failed, nothing is written: it is not so" in capsys.readouterr().err
    assert not (tmp_path / "figure1_ellyvan.svg").exists()
    assert (tmp_path / "slides.svg").exists()


@pytest.mark.usefixtures("one_sheet")
def test_drawing_again_keeps_how_the_table_was_made_and_words_the_claims_anew(tmp_path):
    assert command.main(["slides", "--seed", "3", "--out", str(tmp_path)]) == 0
    path = tmp_path / "slides.json"
    first = json.loads(path.read_text())
    path.write_text(json.dumps(first | {"claims": []}))
    assert command.main(["slides", "--redraw", "--out", str(tmp_path)]) == 0
    assert json.loads(path.read_text()) == first


def test_interrupt_ends_with_a_message(tmp_path, capsys, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    from analysis.figures import slides

    monkeypatch.setattr(slides, "spikes", interrupted)
    assert command.main(["slides", "--out", str(tmp_path)]) == 130
    assert f"interrupted; what is finished is kept in {tmp_path}/sweep.sqlite" in capsys.readouterr().err


def test_blas_is_told_to_use_one_thread():
    code = "import os, analysis; print(os.environ['OPENBLAS_NUM_THREADS'])"
    clean = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean, check=True)
    assert run.stdout.strip() == "1"


PAIRS = [Group("softmax", 1.0, 2), Group("softmax", 4.0, 2), Group("ReaL", 2.0, 3), Group("one-hot", 2.0, 3)]


def test_pairs_are_histograms_and_repeat():
    first, again = (histogram_pairs.pairs(3, 1000, PAIRS, histogram_pairs.CLASSES) for _ in range(2))
    np.testing.assert_array_equal(first.p, again.p)
    np.testing.assert_array_equal(first.q, again.q)
    names = [group.name() for group in first.group]
    assert names == ["softmax 1"] * 2 + ["softmax 4"] * 2 + ["ReaL"] * 3 + ["one-hot"] * 3
    np.testing.assert_allclose(first.p.sum(1), 1)
    np.testing.assert_allclose(first.q.sum(1), 1)
    assert ((first.q[4:7] > 0).sum(1) >= 2).all()
    assert ((first.q[7:] > 0).sum(1) == 1).all()
    assert first.p[2:4].max() > first.p[:2].max()


def test_a_group_of_pairs_does_not_depend_on_the_others():
    whole, part = (
        histogram_pairs.pairs(3, 1000, PAIRS, histogram_pairs.CLASSES),
        histogram_pairs.pairs(3, 1000, PAIRS[2:3], histogram_pairs.CLASSES),
    )
    np.testing.assert_array_equal(whole.p[4:7], part.p)
    np.testing.assert_array_equal(whole.q[4:7], part.q)


def test_real_targets_need_the_thousand_classes():
    with pytest.raises(ValueError, match="bins are the 1000 ILSVRC classes, labelled by wnid"):
        histogram_pairs.pairs(0, 9, PAIRS[2:3])


def test_shapes():
    assert gradient_shapes.roughness(np.arange(5.0)) == 1
    assert gradient_shapes.roughness(np.array([0.0, 1, 0, 1, 0])) == 4
    assert gradient_shapes.reach(np.array([1.0, 0, 0, 0.5])) == 0.5
    np.testing.assert_allclose(gradient_shapes.angle(np.array([1.0, 0]), np.array([[1.0, 1], [-2, 0]])), [45, 180])
    step = 1e-6 * np.eye(4)[2]
    p, q = np.array([0.1, 0.2, 0.3, 0.4]), np.full(4, 0.25)
    slope = (gradient_shapes.mse(p + step, q) - gradient_shapes.mse(p - step, q)) / 2e-6
    np.testing.assert_allclose(gradient_shapes.grad_mse(p, q)[2], slope, rtol=1e-8)


def test_failed_rows_are_infinitely_wrong_in_the_choice_of_lambda():
    from analysis.studies import figure3_spaces

    key = {"space": "chain", "n_bins": 10, "ratio": 9.0, "pair": 0}
    good = key | {"lam": 1.0, "sd_over_emd": 1.2, "angle_deg": 30.0, "status": "iteration_limit"}
    bad = key | {"lam": 2.0, "sd_over_emd": 1.0, "angle_deg": 1.0, "status": "underflow"}
    best = figure3_spaces._best(pd.DataFrame([good, bad]))
    np.testing.assert_allclose(best[["value_error", "angle"]], [[0.2, 30.0]])


@pytest.mark.usefixtures("one_sheet")
def test_what_lacks_torch_says_so_in_one_line_and_the_rest_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch_extra, "find_spec", lambda name: None)
    monkeypatch.setitem(command.GROUPS, "papers", (*GROUPS["training"], "slides"))
    assert command.main(["--toy", "--out", str(tmp_path)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "pip install" in line]
    assert line.startswith("icml_figure1, figure6_breathing, figure7_hierarchy: nothing is computed: ")
    assert line.endswith("python3 -m pip install --editable '.[torch]'")
    assert {path.name for path in tmp_path.glob("*.csv")} == {"slides.csv"}
    assert command.main(["--redraw", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("nothing is drawn") == 3


def test_what_is_named_and_lacks_its_extra_is_an_error_before_anything_is_computed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch_extra, "find_spec", lambda name: None)
    assert command.main(["slides", "figure7_hierarchy", "--toy", "--out", str(tmp_path / "new")]) == 1
    assert capsys.readouterr().err.endswith("python3 -m pip install --editable '.[torch]'\n")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("package", ["jinja2", "pandas", "matplotlib"])
def test_figures_without_their_extra_are_one_sentence(package, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == package else name)
    assert command.main(["slides", "--out", str(tmp_path / "new")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"analysis: {package} cannot be imported")
    assert line.endswith("python3 -m pip install --editable '.[analysis]'")
    assert not (tmp_path / "new").exists()
    assert command.main(["--list"]) == 0
