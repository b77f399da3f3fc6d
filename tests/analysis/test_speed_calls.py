"""Whole calls beside others': who is wrong or missing is not timed, and what a call costs besides its iterations."""

import numpy as np
import pandas as pd
import pytest

import emdref
from analysis.benchmarks import speed as script
from analysis.engine.script import Options
from analysis.timing import duels, measuring, sinkhorn_calls, small_calls, torch_losses
from analysis.timing.duels import Call, Entrant, duel, near

TREE = emdref.wordnet_tree()
COMMON = {"space": "chain", "bins": 3, "nodes": 3, "rows": 4, "dtype": "float64", "task": "sum"}


def entrant(name, value, package="numpy", **more):
    return Entrant(name, package, lambda: Call(lambda: value, **more))


def fought(*rivals):
    judge = near((np.array([1.0, 2.0]),), (0.1,))
    return duel(COMMON, [entrant("emdref", np.array([1.0, 2.05]), "emdref"), *rivals], judge, 0.0)


def test_who_agrees_is_timed_beside_the_first():
    own, other = fought(entrant("other", np.array([1.0, 1.91])))
    assert (own["kind"], own["ratio"], own["part"]) == ("emdref", 1.0, "call")
    assert other["kind"] == "peer" and other["ratio"] > 0 and other["repeats"] >= 5
    np.testing.assert_allclose([own["disagreement"], other["disagreement"]], [0.5, 0.9])


@pytest.mark.parametrize("wrong", [[1.0, 2.2], [np.nan, 2.0]])
def test_who_disagrees_is_not_timed(wrong):
    _, other = fought(entrant("other", np.array(wrong)))
    assert other["note"].startswith("disagrees") and "seconds" not in other


def gone():
    raise ImportError("No module named 'torch'")


def test_who_is_missing_is_a_row():
    _, other = fought(Entrant("other", "nobody", gone))
    assert other["note"].startswith("not installed") and "No module named 'torch'" in other["note"]


def test_a_part_of_the_work_counts_for_all_of_it(monkeypatch):
    monkeypatch.setattr(duels, "stopwatch", lambda call: lambda: call())
    half = Call(lambda: (np.array([1.0, 2.0]),), timed=lambda: 3.0, share=0.5, note="timed on half of it")
    wide = Call(lambda: (np.array([1.0, 2.0]),), timed=lambda: 8.0, rows=16)
    judge = near((np.array([1.0, 2.0]),), (0.1,))
    rows = duel(COMMON, [Entrant(name, "numpy", lambda c=c: c) for name, c in (("a", half), ("b", wide))], judge, 0.0)
    assert [row["seconds"] for row in rows] == [6.0, 2.0]  # sixteen rows take 8 s, four of them 2
    assert [row.get("note") for row in rows] == ["timed on half of it", None]
    assert rows[1]["ratio"] == pytest.approx(1 / 3)


def once(monkeypatch):
    monkeypatch.setattr(duels, "stopwatch", lambda call: lambda: measuring.spent(call))


def test_everybody_agrees_on_small_calls(monkeypatch):
    once(monkeypatch)
    table = pd.DataFrame(small_calls.measure(0.0, 1))
    assert (table.disagreement < 0.5).all() and table.seconds.notna().all()
    assert table.groupby("task", sort=False).size().tolist() == [3, 2, 2, 2, 2, 2, 2]


def test_the_dense_iterations_and_the_whole_call_agree(monkeypatch):
    once(monkeypatch)
    table = pd.DataFrame(sinkhorn_calls.measure([1, 5], [10], "float64", 0.0, 1))
    assert (table.disagreement < 0.5).all() and table.seconds.notna().all()
    p, q = sinkhorn_calls._pairs(TREE, 2, "float64", 0)
    fewer = sinkhorn_calls.dense(TREE, p, q, 9)
    assert sinkhorn_calls._judge(TREE, p, q, 10)(fewer.read(fewer.call())) > 100
    monkeypatch.setattr(sinkhorn_calls, "LONG", 0.0)  # every iteration takes too long
    call = sinkhorn_calls.dense(TREE, p, q, 40)
    assert (call.share, call.note) == (0.25, "timed on 10 of the iterations")


def test_what_a_call_costs_besides_its_iterations(monkeypatch):
    """With a clock that knows: 2 ms an iteration, and 14 ms besides."""
    monkeypatch.setattr(sinkhorn_calls, "spent", lambda call: call())
    own, fixed = sinkhorn_calls._rest(COMMON, lambda cap: 0.014 + 0.002 * cap, 0.0)
    np.testing.assert_allclose([own["seconds"], own["ratio"]], [0.002, 1.0])
    np.testing.assert_allclose([fixed["seconds"], fixed["ratio"]], [0.014, 7.0])
    assert (own["implementation"], fixed["implementation"]) == ("emdref, one iteration", "emdref, fixed cost")


def test_the_losses_by_hand_agree_or_say_that_torch_is_missing(monkeypatch):
    once(monkeypatch)
    rows = torch_losses.measure([torch_losses.EMD], ["chain"], ["float32"], 0.0, 1)
    assert len(rows) == 16
    for row in rows:
        assert row["disagreement"] < 0.5 if "seconds" in row else row["note"].startswith("not installed")


@pytest.mark.parametrize(("scale", "shift"), [(1 + 1e-3, 0.0), (1.0, 1e-4)])
def test_a_loss_that_is_wrong_is_found(scale, shift):
    batch = torch_losses.batch_of("chain", torch_losses.SMALL, "float32", 1)
    p, q = batch.histograms()
    value, grad = emdref.emd_value_and_grad(p, q / q.sum(1, keepdims=True), batch.space, 2)
    judge, logits = torch_losses._emd_judge(batch), p * (grad - (p * grad).sum(1, keepdims=True)) / len(p)
    assert judge((value.mean(), logits)) < 0.1
    assert judge((value.mean(),)) < 0.1
    assert judge((scale * value.mean() + shift, logits)) > 1
    assert judge((value.mean(), scale * logits + shift)) > 1


def test_every_row_of_a_real_run_has_its_own_key():
    cells = script.cells(Options())
    assert len({cell.key() for cell in cells}) == len(cells)
    assert all(cell.alone for cell in cells)
