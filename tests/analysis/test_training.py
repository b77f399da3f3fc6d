"""Training: runs that stop and go on, processes that end with their command, rates, intervals and words."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.engine.script import Options
from analysis.experiments.breathing import report
from analysis.experiments.breathing.experiment import LOSSES, best, chosen, parts
from analysis.experiments.breathing.spectra import Clips
from analysis.experiments.training import torch_extra
from analysis.figures import figure6_breathing, icml_figure1

torch = pytest.importorskip("torch", reason="torch is not installed: the extra torch, pip install '.[torch]'")

from analysis.engine.cells import Cell  # noqa: E402
from analysis.experiments.breathing import experiment, networks  # noqa: E402
from analysis.experiments.training import checkpoints, loop, processes  # noqa: E402
from emdref.kernels.compile.jit import cache_folder  # noqa: E402

RUN = "analysis.figures.figure6_breathing:run"
SOURCE = {"subjects": 5, "each": 32, "seed": 0}
PARAMETERS = {"network": "perceptron", "loss": "MSE", "rate": 1e-3, "seed": 0, "epochs": 4, "source": SOURCE}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Checkpoints of one test alone; the variable is for other processes, this one has read it."""
    monkeypatch.setenv("EMDREF_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(checkpoints, "cache_folder", cache_folder.__wrapped__)
    return tmp_path / "runs"


def task(steps=12, rate=1e-2, samples=20, batch=5):
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(3))
    inputs = torch.arange(4.0 * samples).reshape(samples, 4).sin()
    return loop.Task(
        model, torch.optim.Adam(model.parameters(), lr=rate), inputs, inputs[:, :3].cos(),
        lambda p, q: (p - q).square().sum(), lambda net: {"total": float(net(inputs).sum())},
        batch, steps, {0, 5, steps}, 7,
    )  # fmt: skip


def checkpoint(**parameters):
    return checkpoints.Checkpoint(Cell(RUN, parameters))


class Killed(BaseException):
    pass


def stopped(after, monkeypatch, **changes):
    """A run that is stopped while it saves for the n-th time, having saved at every step."""
    monkeypatch.setattr(loop, "EVERY", -1.0)
    saved, save = [], checkpoints.Checkpoint.save

    def saving(self, state):
        save(self, state)
        saved.append(state["step"])
        if len(saved) == after:
            raise Killed

    with monkeypatch.context() as context:
        context.setattr(checkpoints.Checkpoint, "save", saving)
        with pytest.raises(Killed):
            loop.train(task(**changes), checkpoint(a=1), "")
    return saved[-1]


@pytest.mark.parametrize("after", [1, 3, 6, 12])
def test_a_run_goes_on_bit_for_bit(after, monkeypatch, cache):
    whole, resumed = task(), task()
    rows = loop.train(whole, checkpoint(a=2), "")
    step = stopped(after, monkeypatch)
    begun = []
    batches = loop.Task.batches
    monkeypatch.setattr(loop.Task, "batches", lambda self, at: begun.append(at) or batches(self, at))
    assert loop.train(resumed, checkpoint(a=1), "") == rows
    assert begun[0] == step == after - 1
    for one, other in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert list(cache.iterdir()) == []


def test_an_epoch_takes_every_sample_once_in_another_order():
    work = task()
    epochs = [torch.cat([work.batches(4 * epoch + k) for k in range(4)]).tolist() for epoch in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(20))] * 2
    assert epochs[0] != epochs[1]
    assert [row["epoch"] for row in loop.train(work, checkpoint(), "")] == [0, 1.25, 3]


@pytest.mark.parametrize("content", [b"", b"nothing", "flipped", "other"])
def test_a_damaged_or_foreign_checkpoint_is_as_good_as_none(content, monkeypatch, cache):
    rows = loop.train(task(), checkpoint(a=2), "")
    stopped(6, monkeypatch)
    (path,) = cache.iterdir()
    if content == "flipped":
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
    if content == "other":
        path = path.rename(checkpoint(a=5).path)
        assert checkpoint(a=5).load() is None
        return
    path.write_bytes(content)
    assert checkpoint(a=1).load() is None
    assert loop.train(task(), checkpoint(a=1), "") == rows


def test_without_a_cache_folder_nothing_is_saved(monkeypatch, cache):
    monkeypatch.setenv("EMDREF_CACHE_DIR", "off")
    monkeypatch.setattr(loop, "EVERY", -1.0)
    assert len(loop.train(task(), checkpoint(), "")) == 3
    assert checkpoint().load() is None
    assert not cache.exists()


def test_what_cannot_be_saved_and_what_is_old(monkeypatch, cache):
    cache.write_text("a file where the folder should be")
    checkpoint().save({"step": 1})
    assert checkpoint().load() is None
    cache.unlink()
    checkpoint(a=1).save({"step": 1})
    os.utime(checkpoint(a=1).path, (1, 1))
    checkpoint(a=2).save({"step": 2})
    assert [path.stem for path in cache.iterdir()] == [checkpoint(a=2).key]
    assert checkpoint(a=2).load() == {"step": 2}


def test_a_run_that_diverges_says_so_in_its_last_row():
    rows = loop.train(task(rate=1e30), checkpoint(), "")
    assert rows[0]["status"] == "ok"
    assert rows[-1]["status"] == "diverged"
    assert rows[-1]["step"] < 12
    work = task()
    work.measure = lambda net: {"nothing": net[0].weight.data.fill_(torch.nan).numel()}
    assert [row["status"] for row in loop.train(work, checkpoint(), "")] == ["ok", "diverged"]


def test_a_run_of_the_experiment_repeats_its_bits_and_names_its_device():
    rows = experiment.train(RUN, PARAMETERS)
    assert rows == experiment.train(RUN, PARAMETERS)
    assert rows[-1]["status"] == "ok"
    assert rows[-1]["choosing"] > 0
    assert not any("choosing" in row for row in rows[:-1])
    assert {(row["device"], row["data"], row["subjects"]) for row in rows} == {(torch_extra.device(), "simulated", 1)}


# --- processes --------------------------------------------------------------------------------------------------------


def greet(name):
    print("to standard output")
    return {"greeting": name, "pid": os.getpid()}


def saving_often(parameters):
    loop.EVERY = 0.1
    return experiment.train(RUN, parameters)


def fail(how):
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError("no such thing")


def test_a_process_lives_on_is_replaced_when_it_dies_and_tells_its_errors(importable):
    first = processes.apart(greet, name="ä")
    assert first["greeting"] == "ä"
    with pytest.raises(RuntimeError, match="ValueError: no such thing") as caught:
        processes.apart(fail, how="raise")
    assert "in fail" in str(caught.value.__cause__)
    assert processes.apart(greet, name="b") == {"greeting": "b", "pid": first["pid"]}
    with pytest.raises(RuntimeError, match=r"fail: its process was killed by SIGKILL, as .* memory runs out"):
        processes.apart(fail, how="die")
    assert processes.apart(greet, name="c")["pid"] != first["pid"]
    processes._own.process.close()
    del processes._own.process


COMMAND = "import json, sys, test_training as t\n"
COMMAND += "print(json.dumps(t.processes.apart(t.saving_often, parameters=json.loads(sys.argv[1]))))"


def command(parameters):
    return subprocess.Popen([sys.executable, "-c", COMMAND, json.dumps(parameters)], stdout=subprocess.PIPE, text=True)


@pytest.fixture
def importable(monkeypatch):
    """This module, by the processes."""
    here = Path(__file__)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (here.parent, here.parents[2]))))


def children(pid):
    return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in Linux's /proc")
def test_a_command_that_is_killed_takes_its_process_along_and_goes_on_later(cache, importable):
    parameters = PARAMETERS | {"epochs": 1000}
    process = command(parameters)
    until(lambda: cache.exists() and list(cache.glob("*.pt")))
    (child,) = children(process.pid)
    process.kill()
    process.communicate()
    until(lambda: not Path(f"/proc/{child}").exists() or "Z (zombie)" in Path(f"/proc/{child}/status").read_text())
    reached = checkpoints.Checkpoint(Cell(RUN, parameters)).load()
    assert reached["step"] > 0
    resumed, _ = command(parameters).communicate()
    assert list(cache.glob("*.pt")) == []
    assert json.loads(resumed) == experiment.train(RUN, parameters)


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(monkeypatch):
    monkeypatch.setattr(networks, "CHAIN", networks.emdref.Chain(3))


def handed_gradient(loss, p, q):
    p = torch.tensor([p], requires_grad=True)
    (gradient,) = torch.autograd.grad(networks.LOSSES[loss](p, torch.tensor([q])), p)
    return gradient[0].numpy()


def test_gradients_are_the_papers_handed_on_as_they_are(three):
    """N = 3, p / |p| = (1/2, 1/4, 1/4), q = (0, 0, 1): phi = (1/2, 3/4), raw gradient (2, 1, 0)."""
    p, q = [2.0, 1.0, 1.0], [0.0, 0.0, 1.0]
    kwargs = {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(handed_gradient("EMD zero-sum", p, q), [1, 0, -1], **kwargs)
    # Eq. (4): the raw gradient less its mean under p / |p|, 1.25
    np.testing.assert_allclose(handed_gradient("EMD normalized", p, q), [0.75, -0.25, -1.25], **kwargs)
    # EMD^2: 2 phi, raw gradient (2.5, 1.5, 0)
    np.testing.assert_allclose(handed_gradient("EMD2", p, q), np.array([2.5, 1.5, 0]) - 4 / 3, **kwargs)
    squares = 2 * np.array([2.0, 1.0, 0.0])
    mixed = 0.9 * np.array([1.0, 0, -1]) + 0.1 * squares
    np.testing.assert_allclose(handed_gradient("EMD zero-sum + MSE", p, q), mixed, **kwargs)
    tensors = torch.tensor([p], requires_grad=True)
    networks.cumulative(tensors, torch.tensor([q])).backward()
    np.testing.assert_allclose(tensors.grad[0], [1, 0, -1], **kwargs)


def test_sums_of_gradients(three):
    p, q = torch.tensor([[2.0, 1.0, 1.0]] * 2), torch.tensor([[0.0, 0.0, 1.0]] * 2)
    sums = {loss: networks.gradient_sums(loss, p, q) for loss in LOSSES}
    assert sums["EMD zero-sum"]["gradient_sum_rms"] < 1e-6
    assert sums["EMD2"]["gradient_sum_rms"] < 1e-6
    assert sums["EMD normalized"]["gradient_sum"] == pytest.approx(-0.75)
    assert sums["MSE"]["gradient_sum"] == pytest.approx(2 * 3)


# --- tables -----------------------------------------------------------------------------------------------------------


def rows(loss, rate, seed, errors, choosing=1.0, total=1.0, sums=0.0, status="ok"):
    """Measurements at the ends of half epochs."""
    found = [
        {"part": "training", "data": "simulated", "device": "cpu", "subjects": 15, "loss": loss, "rate": rate,
         "seed": seed, "step": step, "epoch": step / 2, "status": "ok", "error": error, "total": total,
         "gradient_sum": (-1) ** step * sums, "gradient_sum_rms": sums, "constant": 2.0, "chest": 0.9}
        for step, error in enumerate(errors)
    ]  # fmt: skip
    if status == "ok":
        found[-1]["choosing"] = choosing
    else:
        found.append({key: found[-1][key] for key in list(found[-1])[:8]} | {"step": 9, "epoch": 4.5, "status": status})
    return found


def table(final, early=None, sums=0.0, lost=()):
    """Three seeds at rate 0.1, one of them searched at 1.0 too; `final` and `early` by loss."""
    found = []
    for loss in LOSSES:
        end, begin = final.get(loss, 1.0), (early or {}).get(loss, 3.0)
        for seed, shift in enumerate((-0.01, 0.0, 0.01)):
            status = "diverged" if (loss, seed) in lost else "ok"
            own = 0.0 if "zero-sum" in loss and "MSE" not in loss else sums
            found += rows(loss, 0.1, seed, [8.0, begin + shift, begin, end + shift], sums=own, status=status)
        found += rows(loss, 1.0, 0, [8.0, 9.0, 9.0, 0.1], choosing=5.0)
    timing = [("KL", "torch", 2e-4), ("EMD as in the paper", "torch", 1e-4), ("EMD", "torch", 4e-4)]
    timing += [("KL", "NumPy", 2e-5), ("EMD", "NumPy", 1e-5)]
    for loss, way, at in timing:
        found.append({"part": "timing", "loss": loss, "way": way, "seconds": at, "low": 0.9 * at, "high": 1.1 * at})
    return pd.DataFrame(found)


def test_the_rate_is_chosen_by_the_seeds_that_were_searched_and_never_a_diverged_one():
    found = rows("MSE", 0.1, 0, [3.0, 2.0], choosing=2.0) + rows("MSE", 1.0, 0, [3.0, 1.0], choosing=3.0)
    found += rows("MSE", 0.1, 1, [3.0, 2.0], choosing=90.0)  # a repetition, after the search
    found += rows("KL", 0.1, 0, [3.0, 2.0], choosing=9.0) + rows("KL", 1.0, 0, [3.0, 0.1], status="diverged")
    frame = pd.DataFrame(found)
    assert best(frame).to_dict() == {"MSE": 0.1, "KL": 0.1}
    again = rows("MSE", 1.0, 1, [3.0, 2.0], choosing=0.0)  # two rates of a loss are repeated where the search had two
    assert best(pd.concat([frame, pd.DataFrame(again)])).to_dict() == {"MSE": 0.1, "KL": 0.1}
    assert set(chosen(frame).rate) == {0.1}
    assert "1 of 5 runs diverged (KL at 1: 1)" in report.diverged(frame)


def test_further_cells_are_the_seeds_that_the_search_has_not_run():
    options = Options(seed=4)
    searched = experiment.search(RUN, "filters", options, {"other": 1.0})
    axes = [(c.parameters["loss"], c.parameters["rate"], c.parameters["seed"]) for c in searched]
    assert len(set(axes)) == len(LOSSES) * len(experiment.RATES["filters"]) * experiment.SEARCHED
    begin = {"MSE": 3e-4}  # of the others the rate 0.01 is quickest
    found = []
    for loss, rate, seed in axes:
        errors = [2.0, 1 + abs(rate - begin.get(loss, 1e-2)), 1.0]
        found += rows(loss, rate, seed, errors, choosing=abs(rate - 3e-4))
    frame = pd.DataFrame(found)
    more = experiment.further(RUN, "filters", options, {"other": 1.0}, frame)
    rates = {loss: {c.parameters["rate"] for c in more if c.parameters["loss"] == loss} for loss in LOSSES}
    assert rates == {loss: {3e-4, begin.get(loss, 1e-2)} for loss in LOSSES}
    assert sorted({c.parameters["seed"] for c in more}) == list(range(6, 14))
    assert len(more) == len({c.key() for c in more}) == (2 * len(LOSSES) - 1) * 8
    assert not {c.key() for c in more} & {c.key() for c in searched}


def test_recordings_are_told_apart_by_their_fingerprint(monkeypatch, tmp_path):
    from analysis.experiments.breathing import records

    checked = []
    monkeypatch.setattr(records, "check", lambda *args, say: checked.append(args))
    monkeypatch.setattr(records, "fingerprint", lambda folder: f"print of {folder.name}")
    options = Options(records=tmp_path, chest="belt")
    cell = experiment.search(RUN, "filters", options, {"other": 1.0})[0]
    source = {"records": str(tmp_path), "chest": "belt", "nose": "", "fingerprint": f"print of {tmp_path.name}"}
    assert cell.parameters["source"] == source
    json.dumps(cell.parameters)
    assert checked == [(tmp_path, "belt", "")]


def test_recordings_that_cannot_be_used_are_refused_before_any_cell(tmp_path):
    with pytest.raises(RuntimeError, match="no WFDB header"):
        experiment.search(RUN, "filters", Options(records=tmp_path), {"other": 1.0})


@pytest.mark.parametrize(("subjects", "sizes"), [(75, (50, 10, 15)), (5, (3, 1, 1)), (3, (1, 1, 1))])
def test_subjects_are_split_and_never_their_clips(subjects, sizes):
    clips = Clips(np.zeros((2 * subjects, 1)), np.zeros((2 * subjects, 1)), np.repeat(np.arange(subjects), 2))
    found = [set(part.subject) for part in parts(clips, 5)]
    assert tuple(map(len, found)) == sizes
    assert set.union(*found) == set(range(subjects))
    assert sum(map(len, found)) == subjects


def test_two_subjects_are_too_few():
    with pytest.raises(RuntimeError, match="2 subjects"):
        parts(Clips(np.zeros((2, 1)), np.zeros((2, 1)), np.arange(2)), 0)


def test_intervals_are_students():
    values = np.random.default_rng(1).normal(1.0, 0.3, 10)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    mean, half = map(float, report.interval(values).split(" ± "))
    assert (mean - half, mean + half) == pytest.approx((low, high), abs=0.011)
    for shift in np.linspace(-2.0, 0.5, 21):
        ours, other = pd.Series(values + shift), pd.Series(np.ones(10))
        _, high = stats.ttest_rel(ours, other).confidence_interval(0.95)
        found = report.less(ours, other)
        assert found.less == (high < 0)
        assert ("includes 0" in found.words) == (stats.ttest_rel(ours, other).pvalue > 0.05)


def test_what_diverged_is_not_compared():
    found = report.less(pd.Series([1.0, np.inf]), pd.Series([2.0, 2.0]))
    assert found == ("not comparable, diverged in 1 of 2 pairs", False)
    assert report.interval([1.0, np.inf, np.inf]) == "diverged in 2 of 3 runs"


def verdicts(script, frame):
    script.check(frame)
    return [claim.holds for claim in script.claims(frame)]


def test_claims_of_figure_6():
    good = {"EMD2": 0.5, "SD": 0.8, "MSE": 1.2}
    fast = {"EMD2": 0.9, "SD": 1.1, "MSE": 4.0}
    assert verdicts(figure6_breathing, table(good, fast)) == [True] * 8
    slow = {"EMD2": 4.0, "SD": 4.0, "MSE": 1.3}
    assert verdicts(figure6_breathing, table({"EMD2": 1.2, "SD": 1.1, "MSE": 0.5}, slow)) == [False] * 7 + [True]
    assert verdicts(figure6_breathing, table({"MSE": 2.5}))[-1] is False
    same = figure6_breathing.claims(table({}))
    assert not any(claim.holds for claim in same[:6])
    assert all("simulated cohort" in claim.found for claim in same)
    assert all("includes 0" in claim.found for claim in same[:6])


def test_claims_of_icml_and_of_diverged_runs():
    ours = {"EMD zero-sum": 0.5, "EMD zero-sum + MSE": 0.5}
    good = icml_figure1.claims(table(ours, ours, sums=7.0))
    assert [claim.holds for claim in good] == [True] * 6 + [False, True]
    worse = {"EMD zero-sum": 1.5, "EMD zero-sum + MSE": 1.5}
    bad = icml_figure1.claims(table(worse, {"EMD zero-sum": 4.0, "EMD zero-sum + MSE": 4.0}))
    assert [claim.holds for claim in bad] == [False] * 7 + [True]
    lost = icml_figure1.claims(table(ours, ours, lost=[("MSE", 1)]))
    assert "MSE diverged in 1 of 3 runs" in lost[2].found
    assert lost[2].holds is False
    assert "1 of 36 runs diverged" in lost[6].found


def test_pictures_say_that_the_cohort_is_simulated_and_what_was_searched():
    from analysis.engine import style

    frame = table({}, sums=3.0, lost=[("KL", 2)])
    with style.context():
        figure = icml_figure1.draw(frame)
    words = figure._supxlabel.get_text().replace("\n", " ")
    assert words.startswith("Simulated cohort; 15 unseen subjects tested")
    assert "the grid: MSE" in words
    assert "1 of 36 runs diverged (KL at 0.1: 1)" in words
    assert [axis.get_title(loc="left")[-11:] for axis in figure.axes] == [*["(simulated)"] * 5, ""]
    frame.loc[frame.part == "training", "data"] = "records slpdb"
    assert report.origin(frame) == "records slpdb"
    told = icml_figure1.told(frame)
    assert told["rates"] == dict.fromkeys(LOSSES, 0.1)
    assert told["trained_on"] == ["cpu"]
