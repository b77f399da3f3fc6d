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

from analysis.engine.claims import FAILS, FINDING, HOLDS, PAPER, UNDECIDED, UNMEASURED, judge
from analysis.engine.script import Options
from analysis.experiments.breathing import loss_times, plans, report
from analysis.experiments.breathing.experiment import errors, measured, parts
from analysis.experiments.breathing.plans import FIGURE6, ICML, best, chosen, quickest
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
PARAMETERS = {"network": "perceptron", "loss": "MSE", "rate": 1e-3, "seed": 0, "epochs": 4, "until": 4}
PARAMETERS |= {"source": SOURCE}


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
    assert all(row[f"{part}{measure}"] >= 0 for row in rows for part in ("", "choosing_") for measure in plans.MEASURES)
    assert rows[-1]["train_emd"] < rows[0]["train_emd"]
    assert {(row["device"], row["data"], row["subjects"]) for row in rows} == {(torch_extra.device(), "simulated", 1)}
    begun = experiment.train(RUN, PARAMETERS | {"until": 1})  # the same bits, and no more
    assert [row | {"until": 4} for row in begun] == rows[: len(begun)]
    assert 1 < len(begun) < len(rows)


def test_the_rate_falls_like_a_cosine_also_after_a_stop(monkeypatch):
    monkeypatch.setattr(loop, "EVERY", -1.0)

    def adam():
        work = task()
        work.optimizer = torch.optim.Adam(work.model.parameters(), lr=0.5, fused=True)
        work.rate = loop.cosine(0.5, work.steps)
        return work

    whole, rates = adam(), []
    step = whole.optimizer.step
    whole.optimizer.step = lambda: rates.append(whole.optimizer.param_groups[0]["lr"]) or step()
    loop.train(whole, checkpoint(a=2), "")
    np.testing.assert_allclose(rates, 0.25 * (1 + np.cos(np.pi * np.arange(12) / 12)), rtol=1e-12)
    with monkeypatch.context() as context:
        context.setattr(loop, "_update", lambda work, at, go=loop._update: at < 5 and go(work, at))
        context.setattr(checkpoints.Checkpoint, "remove", lambda self: None)
        loop.train(adam(), checkpoint(a=1), "")
    resumed = adam()
    loop.train(resumed, checkpoint(a=1), "")
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_measurements_are_dense_at_first_and_reach_the_end():
    steps = measured(156, 20)
    assert steps[:3] == [0, 1, 2]
    assert [step / 156 for step in steps[steps.index(156) :]] == [1, 2, 3, 5, 8, 12, 16, 20]
    assert measured(1, 1) == [0, 1]


def test_both_measures_beside_counting_by_hand():
    p, q = np.zeros((2, 2, 30))
    p[0, [3, 9]], q[0, 5] = (3.0, 1.0), 1.0  # three quarters go 2 bins, a quarter 4
    q[1, 29] = 2.0  # p is nothing: it counts as even
    found = errors(p, q)
    assert found["error"] == pytest.approx((2 + 29) / 2)
    assert found["emd"] == pytest.approx((2.5 + 14.5) / 2)
    assert found["emd2"] == pytest.approx((2 * 0.75**2 + 4 * 0.25**2 + sum((k / 30) ** 2 for k in range(1, 30))) / 2)


# --- networks ---------------------------------------------------------------------------------------------------------


def test_filters_are_a_convolution_with_tanh():
    torch.manual_seed(1)
    model, x = networks.filters().double(), torch.randn(7, 600, dtype=torch.float64)
    upper = torch.randn(7, 30, dtype=torch.float64)
    layer = model[0]
    maps = layer.filters(x[:, None]).tanh().transpose(1, 2).flatten(1)
    expected = layer.full(maps).square()
    assert expected.shape == (7, 30)
    found = model(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    parameters = list(model.parameters())
    assert sum(each.numel() for each in parameters) == 16 * 11 + 16 + 30 * 16 * 590 + 30
    gradients = (torch.autograd.grad((upper * output).sum(), parameters) for output in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


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
    parameters = PARAMETERS | {"epochs": 1000, "until": 1000}
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
    np.testing.assert_allclose(handed_gradient("EMD scaled", p, q), [3, 0, -3], **kwargs)
    squares = 2 * np.array([2.0, 1.0, 0.0])
    mixed = 0.9 * np.array([3.0, 0, -3]) + 0.1 * squares
    np.testing.assert_allclose(handed_gradient("EMD scaled + MSE", p, q), mixed, **kwargs)
    tensors = torch.tensor([p], requires_grad=True)
    networks.cumulative(tensors, torch.tensor([q])).backward()
    np.testing.assert_allclose(tensors.grad[0], [1, 0, -1], **kwargs)


def test_centred_sd_is_the_other_without_its_mean(three):
    p, q = [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]
    raw, centred = (handed_gradient(loss, p, q) for loss in ("SD", "SD centred"))
    assert abs(raw.mean()) > 0.01
    np.testing.assert_allclose(centred, raw - raw.mean(), atol=1e-5)


def test_sums_of_gradients(three):
    p, q = torch.tensor([[2.0, 1.0, 1.0]] * 2), torch.tensor([[0.0, 0.0, 1.0]] * 2)
    sums = {loss: networks.gradient_sums(function, p, q) for loss, function in networks.LOSSES.items()}
    for loss in ("EMD zero-sum", "EMD scaled", "EMD2", "SD centred"):
        assert sums[loss]["gradient_sum_rms"] < 1e-5
    assert sums["EMD normalized"]["gradient_sum"] == pytest.approx(-0.75)
    assert sums["MSE"]["gradient_sum"] == pytest.approx(2 * 3)


# --- tables -----------------------------------------------------------------------------------------------------------


def rows(loss, rate, seed, errors, choosing=None, total=1.0, sums=0.0, status="ok", until=2):
    """Measurements at the ends of half epochs; both measures alike."""
    shown = errors if choosing is None else choosing
    found = [
        {"part": "training", "data": "simulated", "device": "cpu", "subjects": 15, "loss": loss, "rate": rate,
         "seed": seed, "until": until, "step": step, "epoch": step / 2, "status": "ok", "total": total,
         "gradient_sum": (-1) ** step * sums, "gradient_sum_rms": sums}
        | {f"{part}{measure}": value for measure in plans.MEASURES
           for part, value in (("", error), ("choosing_", chosen), ("train_", error), ("constant_", 2.0),
                               ("chest_", 0.9))}
        for step, (error, chosen) in enumerate(zip(errors, shown, strict=True))
    ]  # fmt: skip
    if status != "ok":
        found.append({key: found[-1][key] for key in list(found[-1])[:8]} | {"step": 9, "epoch": 1.5, "status": status})
    return found


def table(plan, final, early=None, sums=0.0, lost=(), best=0.001, totals=None):
    """Three seeds at the rate `best`, one of them searched at others too; `final` and `early` by loss."""
    found = []
    for loss in plan.losses:
        end, begin = final.get(loss, 1.0), (early or {}).get(loss, 3.0)
        for seed, shift in enumerate((-0.01, 0.0, 0.02)):
            own = 0.0 if loss == "EMD scaled" else sums
            status = "diverged" if (loss, seed) in lost else "ok"
            errors = [8.0, begin + shift, begin, end + shift / 2, end + shift]
            found += rows(loss, best, seed, errors, sums=own, status=status, total=(totals or {}).get(loss, 1.0))
        for rate in {1e-4, 1e-3, 1e-2} - {best}:
            found += rows(loss, rate, 0, [8.0, 9.0, 9.0, 9.0, 0.1], [8.0, 9.0, 9.0, 9.0, 9.0])
    times = [("KL", "torch", 2e-4), ("EMD as in the paper", "torch", 1e-4), ("EMD2", "torch", 4e-4)]
    times += [("KL", "NumPy", 2e-5), ("EMD", "NumPy", 1e-5)]
    for loss, way, at in times:
        found.append({"part": "timing", "loss": loss, "way": way, "seconds": at, "ratio_low": 1.5, "ratio_high": 2.5})
    return pd.DataFrame(found)


def test_rates_are_chosen_on_subjects_kept_back_and_never_a_diverged_one():
    """Rate 1 is better on those tested."""
    found = rows("MSE", 0.1, 0, [3.0, 2.0], [3.0, 2.0]) + rows("MSE", 1.0, 0, [3.0, 1.0], [3.0, 4.0])
    found += rows("MSE", 0.1, 1, [3.0, 2.0], [3.0, 90.0])  # a repetition, after the search
    found += rows("KL", 0.1, 0, [3.0, 2.0], [3.0, 9.0]) + rows("KL", 1.0, 0, [3.0, 0.1], [3.0, 0.1], status="diverged")
    frame = pd.DataFrame(found)
    for measure in plans.MEASURES:
        assert best(frame, measure).to_dict() == {"MSE": 0.1, "KL": 0.1}
        assert quickest(frame, measure).to_dict() == {"MSE": 0.1, "KL": 1.0}  # it had begun well
        assert set(chosen(frame, measure).rate) == {0.1}
    again = rows("MSE", 1.0, 1, [3.0, 2.0], [3.0, 0.0])  # two rates of a loss are repeated where the search had two
    assert best(pd.concat([frame, pd.DataFrame(again)]), "emd").to_dict() == {"MSE": 0.1, "KL": 0.1}
    assert "1 of 5 runs diverged (KL at 1: 1)" in report.diverged(frame)


def test_each_measure_chooses_its_own_rate():
    frame = pd.DataFrame(rows("MSE", 0.1, 0, [3.0, 2.0]) + rows("MSE", 1.0, 0, [3.0, 1.0]))
    frame["choosing_error"] = -frame.choosing_emd
    assert best(frame, "emd")["MSE"] == 1.0
    assert best(frame, "error")["MSE"] == 0.1


def test_further_cells_are_the_seeds_that_the_search_has_not_run():
    options = Options(seed=4)
    searched = FIGURE6.cells(options)
    cells = [cell.parameters for cell in searched]
    tried = 9 * len(FIGURE6.losses) + sum(map(len, FIGURE6.wider.values()))
    assert len({cell.key() for cell in searched}) == len(cells) == tried * FIGURE6.begun
    begin = {"MSE": 3e-4}  # of the others the rate 0.01 is quickest
    found = []
    for each in cells:
        loss, rate, seed, until = (each[name] for name in ("loss", "rate", "seed", "until"))
        errors = [2.0, 1 + abs(rate - begin.get(loss, 1e-2)), 1.0, 1.0, abs(rate - 3e-4)]
        found += rows(loss, rate, seed, errors[: 2 * until + 1] if until == 1 else errors, until=until)
    more = FIGURE6.then(options, pd.DataFrame(found))
    assert len(more) == len({cell.key() for cell in more})
    assert not {cell.key() for cell in more} & {cell.key() for cell in searched}
    for loss, seeds in FIGURE6.losses.items():
        own = [cell.parameters for cell in more if cell.parameters["loss"] == loss]
        whole = {(each["rate"], each["seed"]) for each in own if each["until"] == 20}
        assert whole == {(3e-4, seed) for seed in range(5, 4 + seeds)}
        first = {(each["rate"], each["seed"]) for each in own if each["until"] == 1}
        quick = begin.get(loss, 1e-2)
        assert first == {(quick, seed) for seed in range(7, 14)} - whole


def test_one_rate_for_all_has_its_seeds_too():
    frame = table(ICML, {}, best=1e-2)
    plan = plans.replace(ICML, epochs=2, rates=(1e-4, 1e-3, 1e-2))
    common = [cell.parameters for cell in plan.then(Options(), frame) if cell.parameters["rate"] == plan.common]
    assert {each["loss"] for each in common} == set(ICML.losses)
    assert len(common) == sum(seeds - 1 for seeds in ICML.losses.values())


def test_recordings_are_told_apart_by_their_fingerprint(monkeypatch, tmp_path):
    from analysis.experiments.breathing import records

    checked = []
    monkeypatch.setattr(records, "check", lambda *args, say: checked.append(args))
    monkeypatch.setattr(records, "fingerprint", lambda folder: f"print of {folder.name}")
    cell = FIGURE6.cells(Options(records=tmp_path, chest="belt"))[0]
    source = {"records": str(tmp_path), "chest": "belt", "nose": "", "fingerprint": f"print of {tmp_path.name}"}
    assert cell.parameters["source"] == source
    json.dumps(cell.parameters)
    assert checked == [(tmp_path, "belt", "")]


def test_recordings_that_cannot_be_used_are_refused_before_any_cell(tmp_path):
    with pytest.raises(RuntimeError, match="no WFDB header"):
        FIGURE6.cells(Options(records=tmp_path))


@pytest.mark.parametrize(
    ("subjects", "sizes"), [(75, (50, 10, 15)), (81, (55, 10, 16)), (5, (3, 1, 1)), (3, (1, 1, 1))]
)
def test_subjects_are_split_and_never_their_clips(subjects, sizes):
    clips = Clips(np.zeros((2 * subjects, 1)), np.zeros((2 * subjects, 1)), np.repeat(np.arange(subjects), 2))
    found = [set(part.subject) for part in parts(clips, 5)]
    assert tuple(map(len, found)) == sizes
    assert set.union(*found) == set(range(subjects))
    assert sum(map(len, found)) == subjects


def test_two_subjects_are_too_few():
    with pytest.raises(RuntimeError, match="2 subjects"):
        parts(Clips(np.zeros((2, 1)), np.zeros((2, 1)), np.arange(2)), 0)


def test_the_interval_of_a_median_has_its_chance():
    """Of 40 the 14th smallest and largest: fewer than 14 lie below the middle in 1.9% of all samples."""
    low, middle, high = loss_times.median(np.random.default_rng(0).permutation(np.arange(1.0, 41.0)))
    assert (low, middle, high) == (14.0, 20.5, 27.0)


def verdicts(script, frame, about=PAPER):
    script.check(frame)
    found = judge(script.claims(frame))
    assert all(max(map(len, (claim.claimed, claim.found, claim.contrast))) <= 400 for claim in found)
    return [claim.verdict for claim in found if claim.about == about]


def test_claims_of_figure_6():
    good = {"EMD2": 0.5, "SD centred": 0.7, "SD": 0.8, "MSE": 1.2, "EMD zero-sum": 0.6}
    fast = {"EMD2": 0.9, "SD centred": 1.0, "SD": 1.1, "MSE": 4.0, "EMD zero-sum": 1.0}
    assert verdicts(figure6_breathing, table(FIGURE6, good, fast)) == [HOLDS] * 10 + [FAILS]
    assert verdicts(figure6_breathing, table(FIGURE6, good, fast), FINDING) == [HOLDS] * 13
    slow = {"EMD2": 4.5, "SD": 4.0, "MSE": 1.3}
    bad = table(FIGURE6, {"EMD2": 1.4, "SD": 1.1, "MSE": 0.5, "EMD zero-sum": 0.4}, slow)
    assert verdicts(figure6_breathing, bad) == [FAILS] * 9 + [HOLDS, FAILS]
    hopeless = table(FIGURE6, dict.fromkeys(FIGURE6.losses, 2.5)).replace({0.1: 3.0})
    assert verdicts(figure6_breathing, hopeless)[-2:] == [FAILS, HOLDS]
    assert verdicts(figure6_breathing, table(FIGURE6, {}))[:8] == [UNDECIDED] * 8


def test_a_choice_at_the_edge_or_a_curve_that_moves_decides_nothing():
    good = {"EMD2": 0.5, "SD centred": 0.7, "SD": 0.8, "MSE": 1.2, "EMD zero-sum": 0.6}
    fast = {"EMD2": 0.9, "SD centred": 1.0, "SD": 1.1, "MSE": 4.0, "EMD zero-sum": 1.0}
    frame = table(FIGURE6, good, fast)
    edge = frame[(frame.rate != 1e-2) | (frame.loss != "MSE")]
    with pytest.raises(AssertionError, match="one rate"):
        figure6_breathing.check(frame[(frame.rate == 1e-3) | (frame.loss != "MSE")])
    found = [claim for claim in judge(figure6_breathing.claims(edge)) if claim.about == PAPER]
    assert [claim.verdict for claim in found[:6]] == [UNDECIDED, UNDECIDED, HOLDS, UNDECIDED, UNDECIDED, UNDECIDED]
    assert found[0].why == "rates at the edge of those tried: MSE 0.001"
    moving = frame.copy()
    moving.loc[(moving.loss == "SD") & (moving.epoch == 1.5), "train_emd"] += 0.35
    found = judge(figure6_breathing.claims(moving))
    assert [claim.verdict for claim in found[:5]] == [HOLDS, HOLDS, UNDECIDED, HOLDS, HOLDS]
    assert found[2].why == "training curves that still move in the last fifth: SD by 0.35"


def test_claims_of_icml():
    names = ("EMD scaled", "EMD scaled + MSE")
    totals = {"EMD scaled": 50.0}
    frame = table(ICML, dict.fromkeys(names, 0.5), dict.fromkeys([*names, "EMD zero-sum"], 0.5), 7.0, totals=totals)
    assert verdicts(icml_figure1, frame) == [HOLDS] * 6 + [FAILS, HOLDS, HOLDS, UNMEASURED]
    assert verdicts(icml_figure1, frame, FINDING) == [HOLDS] * 7 + [FAILS]
    worse = table(ICML, dict.fromkeys(names, 1.5), dict.fromkeys(names, 4.0), totals=dict.fromkeys(names, 3.0))
    assert verdicts(icml_figure1, worse) == [FAILS] * 7 + [HOLDS, FAILS, UNMEASURED]
    assert verdicts(icml_figure1, worse, FINDING) == [HOLDS] + [FAILS] * 6 + [HOLDS]


@pytest.mark.parametrize(("lost", "at_the_end"), [("MSE", HOLDS), ("EMD scaled + MSE", UNDECIDED)])
def test_a_win_is_one_where_the_rival_diverged_and_not_where_the_winner_did(lost, at_the_end):
    found = icml_figure1.claims(table(ICML, {"EMD scaled + MSE": 0.5}, {"EMD scaled + MSE": 0.5}, lost=[(lost, 1)]))
    assert [claim.verdict for claim in judge(found)][:5] == [HOLDS] * 4 + [
        at_the_end
    ]  # all was well in the first epoch
    assert "diverged in 1 of 3 runs" in found[4].found


def test_pictures_and_the_record_say_that_the_cohort_is_simulated():
    from analysis.engine import style

    for script, plan in ((figure6_breathing, FIGURE6), (icml_figure1, ICML)):
        frame = table(plan, {}, sums=3.0, lost=[("KL", 2)])
        with style.context():
            sheets = script.draw(frame)
        assert set(sheets) <= set(script.CAPTIONS)
        assert all("simulated" in figure.get_suptitle() for figure in sheets.values())
    frame.loc[frame.part == "training", "data"] = "records slpdb"
    assert report.origin(frame) == "records slpdb"
    told = icml_figure1.told(frame)
    assert told["rates"]["emd"] == dict.fromkeys(ICML.losses, 0.001)
    assert told["trained_on"] == ["cpu"]
    assert told["diverged"] == "1 of 50 runs diverged (KL at 0.001: 1)"
