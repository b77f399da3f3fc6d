"""Figure 7: simulated features, files of real ones, what is measured, chosen, tested, claimed; a small run of all."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import emdref
import oracles

torch = pytest.importorskip("torch", reason="torch is not installed: needs the extra torch")

from analysis.engine import intervals  # noqa: E402
from analysis.engine.claims import judge  # noqa: E402
from analysis.engine.script import Options  # noqa: E402
from analysis.experiments.hierarchy import (  # noqa: E402
    brownian,
    calibration,
    claims,
    costs,
    digits,
    experiment,
    openml,
    perceptron,
    plan,
    plants,
    samples,
    species,
    statistics,
)
from analysis.experiments.hierarchy.losses import losses  # noqa: E402
from analysis.experiments.hierarchy.outcomes import Outcomes  # noqa: E402
from analysis.experiments.training.loop import cosine  # noqa: E402
from analysis.figures import figure7_hierarchy  # noqa: E402

ROOT = Path(__file__).parents[2]
PARENT = [-1, 0, 0, 1, 1, 2, 2, 2]
COST = [0.0, 1.0, 2.0, 0.5, 1.5, 1.0, 3.0, 0.25]


def tree(cost=None):
    return emdref.Tree(PARENT, cost)


def distances(cost=None):
    edges = oracles.tree_edges(PARENT, cost or [0, *[1] * 7], [3, 4, 5, 6, 7])
    return np.array([[float(oracles.distance(i, j, edges)) for j in range(5)] for i in range(5)])


def test_means_are_as_far_apart_as_their_classes():
    """|mu_i - mu_j|^2 / d is chi-square with D degrees: over 400 trees its mean deviates by sqrt(2 / 400 D)."""
    trees = 400
    rng = np.random.default_rng(0)
    mu = np.array([brownian.means(tree(COST), rng) for _ in range(trees)])
    found = ((mu[:, :, None] - mu[:, None]) ** 2).sum(axis=-1).mean(axis=0)
    expected = brownian.DIMENSIONS * distances(COST)
    assert_array_equal(np.diag(found), 0)
    off = ~np.eye(5, dtype=bool)
    assert abs(found[off] / expected[off] - 1).max() < 4.5 * np.sqrt(2 / (trees * brownian.DIMENSIONS))


def test_simulated_samples_repeat_by_seed_and_tests_are_those_of_every_size():
    one, again, larger, other = (
        brownian.parts(tree(), *some) for some in ((2, 1, 3, 7), (2, 1, 3, 7), (9, 1, 3, 7), (2, 1, 3, 8))
    )
    for mine, same in zip(one, again, strict=True):
        assert_array_equal(mine.x, same.x)
    assert_array_equal(one.testing.x, larger.testing.x)
    assert_array_equal(one.choosing.x, larger.choosing.x)
    assert not np.isin(one.testing.x, other.testing.x).any()
    assert [len(part.y) for part in larger] == [45, 5, 15]
    assert one.training.x.dtype == np.float32
    assert_array_equal(np.bincount(larger.testing.y), 3)


def test_noise_is_as_documented():
    """Of samples around their mean, over the means' own size."""
    rng = np.random.default_rng(0)
    centres = brownian.means(tree(), rng)
    x, y = brownian.samples(centres, 400, rng)
    scale = np.sqrt(np.mean(centres**2))
    assert_allclose((x * scale - centres[y]).std(), brownian.NOISE, rtol=4 / np.sqrt(2 * x.size))


def test_the_noise_is_calibrated_where_no_other_loss_can_be_seen():
    """Neither the module nor what it imports, directly or not, names another loss; and it is what is used."""
    seen, todo = set(), ["analysis.experiments.hierarchy.calibration"]
    while todo:
        name = todo.pop()
        path = ROOT / f"{name.replace('.', '/')}.py"
        if name in seen or not path.exists():
            continue
        seen.add(name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                todo += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                todo += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    assert {"analysis.experiments.training.loop", "analysis.experiments.hierarchy.brownian"} <= seen
    hidden = {"losses", "outcomes", "experiment", "plan", "claims", "statistics", "costs"}
    assert not seen & {f"analysis.experiments.hierarchy.{name}" for name in hidden}
    assert not any(name.startswith("emdref.torch") for name in seen)
    assert min(calibration.NOISES) < brownian.NOISE < max(calibration.NOISES)
    assert not set(calibration.SEEDS) & set(range(plan.HOUR.searches[0].seeds))


def test_calibration_trains_with_cross_entropy():
    """A network that learns a few classes far apart at no noise is right about all."""
    assert calibration.top1(tree(COST), 0.01, ("Adam", 0.03), 0, epochs=40) == 1


def leaves(each=16, features=3):
    """Features that name their sample, so that it can be found again."""
    y = np.repeat(np.arange(5), each)
    return np.arange(len(y) * features, dtype=np.float32).reshape(-1, features), y


def test_parts_of_real_data_are_disjoint_nested_and_tested_by_the_same():
    """A feature that names its sample, made again from what it was standardised by."""
    y = np.repeat(np.arange(5), 16)
    x = np.arange(80, dtype=np.float32)[:, None]
    found = {}
    for size in plan.SHOTS:
        for seed in (0, 1):
            parts = samples.split(x, y, size, 12, 3, seed)
            first = np.concatenate([part.x[:, 0] for part in parts])
            mean, deviation = _undone(first, size, seed)
            where = np.rint(first * deviation + mean).astype(int)
            found[size, seed] = np.split(where, np.cumsum([len(part.y) for part in parts])[:-1])
            for places, part in zip(found[size, seed], parts, strict=True):
                assert_array_equal(y[places], part.y)
    for (size, seed), (training, choosing, testing) in found.items():
        assert len({*training, *choosing, *testing}) == 5 * (size + (13 - size if size > 1 else 12) + 3)
        assert_array_equal(np.bincount(y[training]), size)
        assert set(testing) == set(found[1, 0][2])  # of every seed and size
        assert set(training) >= set(found[1, seed][0])
    assert set(found[4, 0][0]) != set(found[4, 1][0])


def _undone(first, size, seed):
    """Mean and deviation of the training samples, from the split's own definition."""
    rest = []
    for each in range(5):
        own = np.random.default_rng([each, 16]).permutation(np.arange(16 * each, 16 * each + 16))[3:]
        rest.append(np.random.default_rng([seed, each, 17]).permutation(own)[:size])
    training = np.concatenate(rest).astype(np.float32)
    return training.mean(), training.std()


def test_features_are_standardised_by_the_training_samples_alone():
    x, y = leaves()
    x[:, 1] = 7  # never varies
    parts = samples.split(x, y, 8, 4, 3, 0)
    assert_allclose(parts.training.x.mean(axis=0), 0, atol=1e-5)
    assert_allclose(parts.training.x.std(axis=0), [1, 0, 1], atol=1e-5)
    assert_array_equal(parts.testing.x[:, 1], 0)
    assert abs(parts.testing.x[:, 0].mean()) > 1e-3


def test_there_must_be_samples_to_choose_and_to_test():
    assert [samples.most(leaves(each)[1], 3) for each in (16, 9, 5)] == [12, 5, 1]
    some = next(search for search in plan.HOUR.searches if search.part == plan.DATA)
    assert [source["size"] for source in experiment.sources(some, None)] == []


def test_digits_stand_in_a_tree_of_their_loops():
    distance = digits.tree().distance_matrix()
    assert (distance[0, 6], distance[0, 8], distance[0, 1], distance[1, 2], distance[2, 3]) == (2, 4, 6, 4, 2)
    if digits.installed():
        x, y, space = digits.load()
        assert x.dtype == np.float32 and x.shape == (len(y), 64) and set(y) == set(range(10)) and space.n_bins == 10


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_the_rate_falls_along_half_a_cosine_step_by_step(name):
    assert_allclose(
        [cosine(0.8, 4)(k) for k in range(5)], [0.8 * np.cos(np.pi * k / 8) ** 2 for k in range(5)], atol=1e-15
    )
    model = perceptron.network(3, 2, 4)
    optimizer = perceptron.optimizer(name, 0.5, model)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5]
    assert perceptron.measured(420)[-2:] == [378, 420] and perceptron.measured(420)[0] == 0


def test_variants_of_sd_hand_one_gradient_to_what_stands_before_a_softmax():
    """They differ by a constant in each row, which the softmax's derivative takes to 0 but for roundings."""
    from emdref.torch import sinkhorn_loss

    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    found = []
    for variant in ("paper", "frogner"):
        x = logits.clone().requires_grad_()
        sinkhorn_loss(x, torch.arange(6) % 5, tree(), 3.0, tol=1e-5, variant=variant).backward()
        found.append(x.grad)
    scale = 30 * float(tree().diameter) * np.finfo(np.float32).eps
    assert_allclose(found[0], found[1], rtol=0, atol=scale)
    assert abs(found[0]).max() > 0.01


def test_mixtures_are_the_sums_they_are_named_after():
    every = losses(tree(COST))
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([0, 1, 2, 4])
    value = {name: float(loss(logits, classes)) for name, loss in every.items()}
    for name, (emd2, sd, ce) in {
        "EMD2+CE": (1, 0, 1), "0.1 EMD2+CE": (0.1, 0, 1), "10 EMD2+CE": (10, 0, 1), "SD+CE": (0, 1, 3),
        "SD+CE 1:1": (0, 1, 1),
    }.items():  # fmt: skip
        assert_allclose(value[name], emd2 * value["EMD2"] + sd * value["SD"] + ce * value["CE"], rtol=1e-5)
    assert set(every) == {*plan.DRAWN, *plan.MIXED, *plan.STUCK}


@pytest.mark.parametrize("cost", [None, COST])
def test_outcomes_are_those_of_the_definitions(cost):
    rng = np.random.default_rng(1)
    logits, classes = 3 * rng.standard_normal((40, 5)), rng.integers(0, 5, 40)
    found = Outcomes(tree(cost))(torch.tensor(logits), torch.tensor(classes))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    edges = oracles.tree_edges(PARENT, cost or [0, *[1] * 7], [3, 4, 5, 6, 7])
    each = [
        float(oracles.emd(oracles.fractions(a), oracles.fractions(np.eye(5)[c]), edges, 1))
        for a, c in zip(p, classes, strict=True)
    ]
    answers = logits.argmax(axis=1)
    wrong = [distances(cost)[a, c] for a, c in zip(answers, classes, strict=True) if a != c]
    squares = [
        float(oracles.emd(oracles.fractions(a), oracles.fractions(np.eye(5)[c]), edges, 2))
        for a, c in zip(p, classes, strict=True)
    ]
    assert_allclose([found["emd"], found["emd2"]], [np.mean(each), np.mean(squares)], rtol=1e-12)
    assert_allclose(found["severity"], np.mean(wrong), rtol=1e-12)
    assert found["top1"] == np.mean(answers == classes)


def test_outcomes_of_no_wrong_answer_and_of_no_numbers():
    outcomes, classes = Outcomes(tree()), torch.arange(5)
    right = outcomes(100 * torch.eye(5), classes)
    assert right["top1"] == 1 and right["emd"] == pytest.approx(0, abs=1e-6) and np.isnan(right["severity"])
    assert all(np.isnan(value) for value in outcomes(torch.full((5, 5), torch.nan), classes).values())


# --- rates, intervals, tests

TRUTH = {"top1": 0.5, "emd": 6.0, "emd2": 3.0, "severity": 5.0}


def runs(top1, loss="CE", size=4, rate=0.1, part="simulated", stage="search", optimizer="SGD", width=128, **changes):
    """Rows of one run for each entry of `top1`: untrained, on the way, late, at the end."""
    rows = []
    epochs = {"longer": 120, plan.STEADY_STAGE: 240}.get(stage, 60)
    for seed, end in enumerate(top1):
        values = {"top1": end, "emd": 10 - 5 * end, "emd2": 5 - 3 * end, "severity": 4 - end, "training_top1": 1.0}
        values |= {"training_loss": 0.1} | changes
        values |= {f"choosing_{name}": changes.get(f"choosing_{name}", values[name]) for name in TRUTH}
        about = {"part": part, "data": "", "stage": stage, "size": size, "loss": loss, "width": width, "epochs": epochs}
        about |= {"optimizer": optimizer, "rate": rate, "seed": seed, "answers": 2000}
        nothing = {
            "top1": 0.001,
            "emd": 13.0,
            "emd2": 6.5,
            "severity": 13.0,
            "training_top1": 0.0,
            "training_loss": 1.0,
        }
        nothing |= {f"choosing_{name}": nothing[name] for name in TRUTH}
        rows.append(about | {"step": 0, "epoch": 0.0, "status": "ok"} | nothing)
        if np.isnan(end):
            rows.append(about | {"step": 7, "status": "diverged"})
            continue
        way = {"top1": 0.8 * end, "emd": values["emd"] - 1, "emd2": values["emd2"] - 1}
        way |= {"choosing_emd": way["emd"], "choosing_emd2": way["emd2"]}
        rows.append(about | {"step": 10, "epoch": 6.0, "status": "ok"} | values | way)
        rows += [
            about | {"step": step, "epoch": 0.6 * epochs * step / 60, "status": "ok"} | values for step in (90, 100)
        ]
        rows[-1] |= {"epoch": float(epochs), "seconds": 3.0}
    return rows


def test_each_measure_chooses_its_setting_by_the_end_on_the_samples_kept_for_it():
    table = pd.DataFrame(
        runs([0.5, 0.6], rate=0.1, choosing_top1=0.3, choosing_emd=2.0)
        + runs([0.1, 0.2], rate=0.2, choosing_top1=0.4, choosing_emd=3.0)
        + runs([0.9, np.nan], rate=0.4, choosing_top1=0.7, choosing_emd=0.1)  # worse than any: a run was lost
        + runs([0.99] * 3, rate=0.8, choosing_top1=0.99, stage="chosen")  # is no part of the search
        + runs([0.15, 0.15], size=20, rate=0.2, optimizer="Adam", severity=np.nan)  # no wrong answer
        + runs([0.2, 0.2], size=20, rate=0.1)
        + runs([np.nan, np.nan], loss="SD", rate=0.1)
        + runs([np.nan, np.nan], loss="SD", rate=0.2)
    )
    best = statistics.best(table)
    few = best["simulated", 128, 4, "CE"]
    assert (few["top1"], few["emd"]) == (("SGD", 0.2), ("SGD", 0.1))
    assert best["simulated", 128, 20, "CE"] == {
        "top1": ("SGD", 0.1), "emd": ("SGD", 0.1), "emd2": ("SGD", 0.1), "severity": ("Adam", 0.2),
        "way": ("SGD", 0.1),
    }  # fmt: skip
    assert best["simulated", 128, 4, "SD"]["top1"] == ("SGD", 0.1)
    assert set(statistics.chosen(table, "top1").query("loss == 'CE' and size == 4").rate) == {0.2}
    assert set(statistics.chosen(table, "emd").query("loss == 'CE' and size == 4").rate) == {0.1}


def test_what_is_said_of_speed_is_chosen_by_the_way_and_ties_by_what_is_inside():
    slow, quick = runs([0.3], rate=0.1), runs([0.29], rate=0.2)
    for row in slow[1:-1]:
        row["choosing_top1"] = 0.0
    best = statistics.best(pd.DataFrame(slow + quick))["simulated", 128, 4, "CE"]
    assert (best["top1"], best["way"]) == (("SGD", 0.1), ("SGD", 0.2))
    same = [row for rate in (0.1, 0.2, 0.4) for row in runs([0.3], rate=rate)]
    assert statistics.best(pd.DataFrame(same))["simulated", 128, 4, "CE"]["top1"] == ("SGD", 0.2)


def test_a_choice_at_the_end_of_its_optimizers_rates_is_an_edge():
    table = pd.DataFrame(
        [row for rate, top1 in ((0.1, 0.2), (0.2, 0.3), (0.4, 0.25)) for row in runs([top1], rate=rate)]
        + runs([0.1], rate=0.01, optimizer="Adam")
        + [row for rate, top1 in ((0.1, 0.2), (0.2, 0.3)) for row in runs([top1], "EMD2", rate=rate)]
    )
    edges = statistics.edges(table)
    assert ("simulated", 128, 4, "CE", "top1") not in edges
    assert edges["simulated", 128, 4, "EMD2", "top1"] == "SGD 0.2"


def test_longer_runs_and_the_last_tenth_say_how_far_a_curve_moves():
    table = runs([0.5, 0.6]) + runs([0.53], stage="longer")
    table = pd.DataFrame(table)
    table.loc[(table.step == 90) & (table.stage == "search"), "training_top1"] = 0.9
    found = statistics.moves(table, "top1").loc[("simulated", 128, 4, "CE")]
    assert_allclose([found.tenth, found.doubled], [0.1, 0.03])
    assert len(statistics.chosen(table, "top1")) == 8


def test_intervals_and_tests_are_those_of_scipy():
    rng = np.random.default_rng(2)
    one, other = rng.normal(0.6, 0.01, 10), rng.normal(0.59, 0.01, 10)
    table = pd.DataFrame(runs(one, "EMD2+CE") + runs(other, "CE"))
    line = statistics.summary(table).set_index(["loss", "measure"]).loc["EMD2+CE", "top1"]
    paired = stats.ttest_rel(one, other)
    assert_allclose(line.p, paired.pvalue)
    assert_allclose([line.minus_CE_low, line.minus_CE_high], paired.confidence_interval(0.95))
    assert_allclose([line.low, line.high], stats.ttest_1samp(one, 0).confidence_interval(0.95))
    assert (line.seeds, line.diverged) == (10, 0)


def test_holm_is_that_of_its_definition():
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.5])
    order = np.argsort(p)[:4]
    expected, worst = np.full(5, np.nan), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (4 - rank) * p[place]))
        expected[place] = worst
    assert_allclose(intervals.holm(p), expected)


def test_intervals_of_few_and_of_equal_numbers():
    assert np.isnan(intervals.interval([0.5]).low) and intervals.interval([0.5]).open()
    assert np.isnan(intervals.interval([]).mean)
    assert intervals.interval([2.0, 2.0, np.nan]).above()
    assert intervals.chance([1.0, 1.0]) == 0 and intervals.chance([0.0, 0.0]) == 1 and np.isnan(intervals.chance([1.0]))
    assert not intervals.interval([2.0, 2.1], lost=1).above()


# --- claims


def table_of(
    base=0.25, gain=0.02, emd2=1.0, alone=0.004, part="simulated", seeds=10, sizes=(4, 20), fits=1.0, edge=False
):
    """Runs in which EMD2+CE is better by `gain` with the fewest, and not at all with the most."""
    rng = np.random.default_rng(3)
    rows = []
    for size in sizes:
        noise = rng.normal(0, 1e-3, seeds)
        about = {"part": part, "size": size}
        few = size == sizes[0]
        for loss, ends, changes in (
            ("CE", base + noise, {}),
            ("EMD2+CE", base + gain * few + noise + rng.normal(0, 1e-3, seeds), {}),
            ("EMD2", base - 0.02 + noise + rng.normal(0, 1e-3, seeds), {"emd2": emd2, "training_top1": fits}),
            ("SD+CE", base + noise + rng.normal(0, 1e-3, seeds), {}),
        ):
            inner = 0.2 if edge and loss == "EMD2" else 0.1
            rows += runs(ends, loss, rate=inner, **about, **changes)
            for rate in {0.05, 0.1, 0.2} - {inner}:
                rows += runs(ends[:1] - 0.1, loss, rate=rate, **about, **changes | {"choosing_emd2": 99.0})
    for size in sizes:
        rows += runs(base + noise, part=part, size=size, rate=0.05, stage=plan.STEADY_STAGE)
    for loss in plan.STUCK:
        for rate in (0.05, 0.1, 0.2):
            rows += runs([alone] * seeds, loss, part=part, size=sizes[0], rate=rate)
        rows += runs([0.5] * seeds, loss, part=part, size=sizes[0], optimizer="Adam", choosing_top1=0.0)
    for loss, seconds in (("EMD", 2.0), ("EMD2", 1.9)):
        about = {"part": costs.COST, "loss": loss, "size": 512, "status": "ok"}
        rows += [about | {"seed": k, "seconds": seconds * (1 + k / 100)} for k in range(5)]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def usual():
    """What is said of runs as the paper has them."""
    return judge(claims.claims(table_of()))


def verdicts(table):
    """Of the simulated part and of what is about no part, by the beginnings of the sentences."""
    return simulated(judge(claims.claims(table)))


def simulated(found):
    return {judged.claimed.split(" (")[0]: judged for judged in found if "real" not in judged.claimed}


COMBINED = "with few samples EMD²+CE has a higher top-1 than CE"
ALONE = "with few samples EMD² alone ends with a higher top-1 than CE"
SMALLEST = "EMD² has a smaller holistic error than all others, ρ = "
GAP = "the holistic error of EMD² is smaller by a large gap, ρ = "
APPARENT = "the advantage of EMD² is more apparent with few samples than with all"
LITTLE = "with all data EMD² brings little advantage"
STUCK = "SD alone does not converge using SGD"
GROWS = "with few samples CE overfits: its holistic error falls and then grows again, ρ = 1"
BACK = "with few samples CE overfits: its holistic error grows back to its original value, ρ = 1"


def test_claims_that_hold_and_that_do_not(usual):
    found = simulated(usual)
    holding = {
        COMBINED,
        APPARENT,
        LITTLE,
        STUCK,
        GROWS,
        SMALLEST + "2",
        GAP + "2",
        "EMD alone does not converge using SGD",
    }
    assert {name for name in holding if found[name].verdict != "holds"} == set()
    assert {found[name].verdict for name in (ALONE, SMALLEST + "1", BACK)} == {"does not hold"}
    assert found["the relaxed EMD² has a computational complexity equivalent to EMD's"].verdict == "holds"
    assert found["SD needs the Kullback-Leibler term to converge: alone it does not"].verdict == "does not hold"  # Adam
    found = verdicts(table_of(gain=-0.02, emd2=9.0, alone=0.4))
    assert {found[name].verdict for name in (COMBINED, APPARENT, STUCK, SMALLEST + "2", GAP + "2")} == {"does not hold"}
    assert all(len(judged.found) <= 400 and judged.contrast for judged in found.values())


def test_a_difference_that_may_be_none_is_undecided_and_says_what_would_decide():
    found = verdicts(table_of(gain=1e-4))[COMBINED]
    assert found.verdict == "undecided" and "the interval includes 0" in found.why and "hours of one core" in found.why


def test_what_underfits_moves_or_stands_at_an_edge_is_undecided_and_says_so():
    found = verdicts(table_of(fits=0.6))
    assert (
        found[ALONE].verdict == "undecided"
        and "EMD² underfits: training top-1 60%, others up to 100%" in found[ALONE].why
    )
    assert found[COMBINED].verdict == "holds" and found[SMALLEST + "2"].verdict == "holds"
    found = verdicts(table_of(edge=True))
    assert "a rate chosen stands at the grid's edge: EMD² SGD 0.2" in found[ALONE].why
    table = table_of()
    late = (table.step == 90) & (table.loss == "CE") & (table["size"] == 4)
    table.loc[late, "training_top1"] = 0.98
    assert "a curve still moves: CE by +2.0 points of training top-1 in the last tenth" in verdicts(table)[COMBINED].why
    longer = pd.DataFrame(runs([0.5], stage="longer"))
    assert "in twice the epochs" in verdicts(pd.concat([table_of(), longer]))[COMBINED].why


def test_wider_networks_answer_for_what_underfits():
    wide = []
    for loss, end, spread in (("CE", 0.25, 1e-3), ("EMD2", 0.3, 2e-3)):
        for rate in (0.05, 0.1, 0.2):
            ends = end + spread * np.linspace(-1, 1, 6) - (rate != 0.1)
            wide += runs(ends, loss, width=512, rate=rate)
    found = verdicts(pd.concat([table_of(fits=0.6), pd.DataFrame(wide)]))[ALONE]
    assert found.verdict == "holds" and "512 hidden units" in found.contrast


def test_diverged_seeds_are_told_and_no_win():
    table = table_of()
    run = (table.loss == "EMD2+CE") & (table["size"] == 4) & (table.seed == 3) & (table.rate == 0.1)
    table.loc[run, "stage"] = "chosen"  # in the search it would not have been chosen
    table.loc[run & (table.step == 100), ["status", *TRUTH]] = ["diverged", *[np.nan] * 4]
    claim = verdicts(table)[COMBINED]
    assert claim.verdict == "undecided" and "1 run was lost" in claim.why
    line = (
        statistics.summary(statistics.runs(table))
        .query("loss == 'EMD2+CE' and size == 4 and measure == 'top1'")
        .iloc[0]
    )
    assert (line.seeds, line.diverged) == (9, 1)


def test_without_data_the_other_parts_are_not_measured_and_say_how(usual):
    missing = [claim for claim in usual if claim.verdict == "not measured"]
    assert len(missing) == 2 and "--data FILE" in missing[0].why and "--data openml" in missing[0].why
    assert "scikit-learn" in missing[1].why


def test_on_real_data_few_samples_are_all_sizes_at_once():
    """A gain at one size and a loss as large at the other is none."""
    table = pd.concat([table_of(), table_of(part="data", sizes=(1, 2))])
    worse = (table.part == "data") & (table.loss == "EMD2+CE") & (table["size"] == 2) & (table.step > 0)
    found = {judged.claimed: judged for judged in judge(claims.claims(table))}
    assert {claim.sheet for claim in found.values()} == {"", "_data"}
    assert [claim.verdict for claim in found.values()].count("not measured") == 1
    before = found[f"{COMBINED} (real leaves)"]
    assert before.verdict == "holds" and before.numbers["mean"] == pytest.approx(1.0, abs=0.1)
    table.loc[worse, "top1"] -= 0.02
    assert {j.claimed: j for j in judge(claims.claims(table))}[f"{COMBINED} (real leaves)"].verdict == "undecided"


def test_what_is_simulated_says_so_in_every_claim_of_it(usual):
    found = [claim for claim in usual if claim.verdict != "not measured"]
    assert all("simulated features" in claim.claimed or "complexity" in claim.claimed for claim in found)
    places = {claim.source for claim in found if claim.about == "paper"}
    assert places == {f"arXiv 1611.07573, {place}" for place in ("Sec. 5.3", "Fig. 7", "abstract", "Sec. 1")}


def test_each_loss_of_a_search_is_tried_equally_and_for_as_many_epochs():
    cells = pd.DataFrame([cell.parameters for cell in experiment.search(plan.HOUR, None, 0)])
    few = cells[(cells.part == "simulated") & (cells["size"] == 4) & (cells.width == 128)]
    assert set(few.groupby(["loss", "seed"]).size()) == {len(plan.WIDE)}
    assert {*few.loss} == {*plan.DRAWN, *plan.MIXED, *plan.STUCK}
    assert few[few.loss.isin(plan.DRAWN)].groupby("loss").size().nunique() == 1
    assert cells.groupby("part").epochs.nunique().eq(1).all() and cells.epochs.min() >= 50
    assert {rate for name, rate in plan.WIDE if name == "SGD"} >= {0.01, 10.0}
    one = dict.fromkeys(plan.EVERY, ("SGD", 0.1)) | {"emd": ("Adam", 0.01)}
    best = dict.fromkeys(zip(cells.part, cells.width, cells["size"], cells.loss, strict=True), one)
    more = pd.DataFrame([cell.parameters for cell in experiment.more(plan.HOUR, None, 0, best)])
    chosen = more[
        (more.stage == "chosen")
        & (more["size"] == 4)
        & (more.width == 128)
        & (more.loss == "CE")
        & (more.part == "simulated")
    ]
    assert set(chosen.groupby(["optimizer", "rate"]).seed.nunique()) == {
        plan.HOUR.searches[0].seeds - plan.HOUR.searches[0].searching
    }
    assert set(zip(chosen.optimizer, chosen.rate, strict=True)) == {("SGD", 0.1), ("Adam", 0.01)}
    assert set(more[more.stage == "longer"].epochs) == {2 * cells.epochs.max()}
    drawn = [search for search in plan.HOUR.searches if set(search.losses) & set(plan.DRAWN) and search.width < 1024]
    assert all(search.seeds >= 5 for search in drawn)
    assert {size for search in plan.NIGHT.searches for size in search.sizes} >= {4, 20, 100}


def test_measurements_that_nobody_looks_at_are_left_out(usual):
    """What is said is the same; of runs in no chosen setting the end alone is kept, but of CE with the fewest."""
    table = table_of()
    kept = statistics.reduced(table)
    assert judge(claims.claims(kept)) == usual
    aside = kept[(kept.loss == "SD+CE") & (kept.rate != 0.1)]
    assert set(aside.step) == {100} and len(kept) < len(table)


def test_costs_are_measured_side_by_side():
    rows = costs.rounds_of(rounds=2, calls=1, batch=4, seed=0)
    assert [row["loss"] for row in rows] == ["EMD2", "EMD", "EMD", "EMD2"] and all(row["seconds"] > 0 for row in rows)


# --- files


def write(path, **changes):
    x, y = leaves(6)
    arrays = {"X": x, "y": y + 3, "parent": np.array(PARENT)} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_a_file_is_read(tmp_path):
    x, y, space = plants.load(write(tmp_path / "leaves.npz"))
    assert x.shape == (30, 3) and x.dtype == np.float32
    assert_array_equal(y, np.repeat(np.arange(5), 6))
    assert_array_equal(space.distance_matrix(), distances())


BAD = {
    "X of shape (30,)": {"X": np.zeros(30)},
    "X of shape (0, 3)": {"X": np.zeros((0, 3))},
    "X of shape (30, 3) and dtype <U1": {"X": np.full((30, 3), "a")},
    "1 of its entries are not finite": {"X": np.where(np.arange(90).reshape(30, 3) == 4, np.nan, 1.0)},
    "y of shape (29,)": {"y": np.zeros(29, int)},
    "y of shape (30,) and dtype float64": {"y": np.full(30, 3.0)},
    "y[0] = 1 is none of the 5 leaves": {"y": np.repeat([1, 4, 5, 6, 7], 6)},
    "y[0] = -1 is none": {"y": np.repeat([-1, 4, 5, 6, 7], 6)},
    "leaf 7 has 0 samples": {"y": np.repeat([3, 4, 5, 6, 6], 6)},
    "parent of shape (8, 1)": {"parent": np.array(PARENT)[:, None]},
    "it is no tree": {"parent": np.array([1, 0, 0])},
    "it has no array parent": {"parent": None},
    "array X cannot be read (it holds Python objects": {"X": np.full((30, 3), None)},
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_file_is_refused_in_one_line_that_names_it(tmp_path, message):
    path = write(tmp_path / "leaves.npz", **BAD[message])
    with pytest.raises(RuntimeError) as caught:
        plants.load(path)
    text = str(caught.value)
    assert message in text and "leaves.npz" in text and "\n" not in text


def test_what_is_no_archive_is_refused(tmp_path):
    text, array, cut = (tmp_path / name for name in ("a.npz", "b.npz", "c.npz"))
    text.write_text("X,y\n1,2\n")
    with array.open("wb") as file:
        np.save(file, np.arange(3))
    cut.write_bytes(write(tmp_path / "whole.npz").read_bytes()[:-40])
    for path in (text, array, cut):
        with pytest.raises(RuntimeError, match=rf"{path.name}: .*is no .npz as wanted"):
            plants.load(path)
    for path in (tmp_path / "none.npz", tmp_path):
        for function in (plants.load, plants.digest):
            with pytest.raises(RuntimeError, match="cannot be read"):
                function(path)


def test_a_damaged_array_is_refused(tmp_path):
    path = write(tmp_path / "leaves.npz")
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match="array X cannot be read"):
        plants.load(path)


def test_runs_on_another_file_are_other_cells(tmp_path):
    path = write(tmp_path / "leaves.npz")
    before = {cell.key() for cell in experiment.search(plan.TOY, path, 0)}
    write(path, X=leaves(6)[0] + 1)
    experiment._file.cache_clear()
    after = {cell.key() for cell in experiment.search(plan.TOY, path, 0)}
    without = {cell.key() for cell in experiment.search(plan.TOY, None, 0)}
    assert before & after == without and before - without


# --- OpenML


def arff(classes, features=2, name="margin", start=0):
    values = [[start + 10 * k + f for f in range(features)] for k in range(len(classes))]
    head = [f"@RELATION {name}", *(f"@ATTRIBUTE V{f} REAL" for f in range(features))]
    head.append("@ATTRIBUTE Class {" + ",".join(dict.fromkeys(classes)) + "}")
    return "\n".join([*head, "@DATA", *(",".join([*map(str, v), c]) for v, c in zip(values, classes, strict=True)), ""])


def test_arff_files_are_parsed_by_number_and_by_name():
    x, y = openml.parse(arff(["1", "100", "33"]), "margin")
    assert_array_equal(x, [[0, 1], [10, 11], [20, 21]])
    assert_array_equal(y, [0, 99, 32])
    _, named = openml.parse(arff(["'Acer Campestre'", "Zelkova_Serrata"]), "margin")
    assert_array_equal(named, [0, 99])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>sorry</html>", "margin is no ARFF file"),
        (arff(["0"]), "class '0' that is none of the 100 species"),
        (arff(["Rosa Canina"]), "class 'Rosa Canina'"),
        (arff(["1"]).replace("0,1,1", "?,1,1"), "1 missing features"),
        (arff(["1"], features=0), "numbers and a class at the end"),
    ],
)
def test_what_is_no_such_arff_file_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        openml.parse(text, "margin")


def _files(last=3):
    classes = [str(k + 1) for k in range(100) for _ in range(3)]
    return [
        openml.parse(arff(some), "x")
        for some in (classes, classes, classes[:2] + classes[3:] if last == 2 else classes)
    ]


def test_files_are_put_together_species_by_species():
    x, y = openml.together(_files())
    assert x.shape == (300, 6) and x.dtype == np.float32
    assert_array_equal(y, np.repeat(np.arange(100), 3))
    assert_array_equal(x[:, :2], x[:, 4:])
    short, _ = openml.together(_files(last=2))
    assert_array_equal(short[:3, 4], [0, 10, 10])  # its last row again
    files = _files()
    with pytest.raises(ValueError, match="Zelkova Serrata has 3, 3, 1 rows"):
        openml.together([*files[:2], (files[2][0][:-2], files[2][1][:-2])])


def test_the_fetched_file_is_one_that_can_be_read(tmp_path, monkeypatch):
    classes = [str(k + 1) for k in range(100) for _ in range(5)]
    sent = arff(classes).encode()
    digest = openml.hashlib.md5(sent).hexdigest()

    def answer(address):
        number = address.rsplit("/", 1)[1]
        name = {str(v): k for k, v in openml.SETS.items()}.get(number)
        about = (
            f'{{"data_set_description": {{"name": "{name}", "url": "https://site/file", "md5_checksum": "{digest}"}}}}'
        )
        return sent if number == "file" else about.encode()

    monkeypatch.setattr(openml, "_get", answer)
    path = openml.fetch(tmp_path)
    x, y, space = plants.load(path)
    assert x.shape == (500, 6) and space.n_bins == 100 and space.diameter == 6
    assert_array_equal(y, np.repeat(np.arange(100), 5))
    monkeypatch.setattr(openml, "_get", None)
    assert openml.fetch(tmp_path) == path  # is there


def test_a_fetch_that_fails_says_so_in_one_line(tmp_path, monkeypatch):
    def unreachable(address):
        raise openml.URLError("no route to host")

    monkeypatch.setattr(openml, "_get", unreachable)
    with pytest.raises(RuntimeError, match=r"--data openml: .*no route to host.*--data FILE"):
        figure7_hierarchy.cells(Options(out=tmp_path, data=Path("openml"), toy=True))
    monkeypatch.setattr(openml, "_get", lambda address: b'{"data_set_description": {"name": "iris"}}')
    with pytest.raises(RuntimeError, match="data set 1491 is iris, not one-hundred-plants-margin"):
        openml.fetch(tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_species_has_a_family():
    parent, names = species.parents()
    assert len(species.SPECIES) == 100 and list(species.SPECIES) == sorted(species.SPECIES)
    assert {name.split()[0] for name in species.SPECIES} == set(species.FAMILY)
    oak = names.index("Quercus Rubra")
    assert [names[k] for k in (parent[oak], parent[parent[oak]])] == ["Quercus", "Fagaceae"]


# --- all of it


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(4)
    y = np.repeat(np.arange(5), 6)
    data = write(folder / "leaves.npz", X=(y[:, None] == np.arange(5)) + 0.3 * rng.standard_normal((30, 5)))
    command = [
        sys.executable,
        "-m",
        "analysis",
        "figure7_hierarchy",
        "--toy",
        "--data",
        data,
        "--out",
        folder / "figures",
    ]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done, folder / "figures"


def test_a_small_run_of_all(toy):
    done, folder = toy
    assert done.returncode == 0, done.stderr
    assert {
        f"figure7_hierarchy{end}"
        for end in (
            ".svg",
            "_data.svg",
            "_differences.svg",
            "_training.svg",
            ".csv",
            "_statistics.csv",
            "_statistics.html",
            ".json",
        )
    } <= {path.name for path in folder.iterdir()}
    table = pd.read_csv(folder / "figure7_hierarchy.csv")
    assert set(table.part) == {"simulated", "data", costs.COST} | {"digits"} & {"digits" * digits.installed()}
    assert set(table.loss) == {*plan.DRAWN, *plan.MIXED, *plan.STUCK}
    assert set(table[table.part == "data"].data) == {"leaves.npz"}
    ends = statistics.last(statistics.runs(table))
    assert ends[ends.status == "ok"][[*statistics.MEASURES[:3], *statistics.OF_TRAINING]].notna().all(axis=None)
    assert set(ends[ends.stage == "longer"].epochs) == {2, 4} and ends.seconds.notna().all()


def test_no_file_of_the_figure_names_the_folder_of_the_data(toy):
    _, folder = toy
    for path in folder.glob("figure7_hierarchy*"):
        assert str(folder.parent).encode() not in path.read_bytes(), path.name


def test_simulated_is_written_into_the_figure_and_its_record(toy):
    _, folder = toy
    record = json.loads((folder / "figure7_hierarchy.json").read_text(encoding="utf-8"))
    for kind in ("(simulated features)", "(real leaves)"):
        assert sum(kind in claim["claimed"] for claim in record["claims"]) > 20
    captions = record["captions"]
    assert all(captions[end].startswith("Simulated") for end in ("", "_differences", "_training"))
    assert captions["_data"].startswith("Real data")
    assert all(text.count(". ") == 1 and text.endswith(".") for text in captions.values())
