"""Figure 7: simulated features, files of real ones, what is measured, chosen, tested, claimed; a small run of all."""

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
from analysis.engine.script import Options  # noqa: E402
from analysis.experiments.hierarchy import brownian, claims, experiment, openml, plants, species, statistics  # noqa: E402
from analysis.experiments.hierarchy.outcomes import Outcomes  # noqa: E402
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


def leaves(each=16, features=3):
    """Features that name their sample, so that it can be found again."""
    y = np.repeat(np.arange(5), each)
    return np.arange(len(y) * features, dtype=np.float32).reshape(-1, features), y


def test_parts_of_a_file_are_disjoint_and_nested():
    x, y = leaves()
    x = np.column_stack([np.arange(len(y)), x]).astype(np.float32)
    places = {k: _places(x, y, k) for k in plants.SHOTS}
    for k, (training, choosing, testing) in places.items():
        assert len({*training, *choosing, *testing}) == 5 * (k + 4)
        for some, count in ((training, k), (choosing, 1), (testing, 3)):
            assert_array_equal(np.bincount(y[some], minlength=5), count)
        assert set(testing) == set(places[1][2])
        assert set(training) >= set(places[1][0])
    assert set(_places(x, y, 4, 1)[2]) != set(places[4][2])


def _places(x, y, k, seed=0):
    """Which samples lie in each part: standardising is undone by the ranks of the first feature."""
    parts = plants.split(x, y, k, seed)
    values = np.concatenate([part.x[:, 0] for part in parts])
    slope, offset = _line(x, y, k, seed)
    found = np.rint((values - offset) / slope).astype(int)
    return np.split(found, np.cumsum([len(part.y) for part in parts])[:-1])


def _line(x, y, k, seed):
    """The map that standardises, from the numbers themselves: training features have mean 0 and deviation 1."""
    rng = np.random.default_rng([seed, 16])
    rows = np.concatenate([rng.permutation(np.flatnonzero(y == c))[: 4 + k][4:] for c in range(5)])
    return 1 / x[rows, 0].std(), -x[rows, 0].mean() / x[rows, 0].std()


def test_features_are_standardised_by_the_training_samples_alone():
    x, y = leaves()
    x[:, 1] = 7  # never varies
    parts = plants.split(x, y, 8, 0)
    assert_allclose(parts.training.x.mean(axis=0), 0, atol=1e-5)
    assert_allclose(parts.training.x.std(axis=0), [1, 0, 1], atol=1e-5)
    assert_array_equal(parts.testing.x[:, 1], 0)
    assert abs(parts.testing.x[:, 0].mean()) > 1e-3


def test_shots_are_those_that_leave_enough_to_choose_and_test():
    assert plants.shots(leaves(16)[1]) == [1, 2, 4, 8, 12]
    assert plants.shots(leaves(9)[1]) == [1, 2, 4]
    assert plants.shots(leaves(5)[1]) == [1]


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
    assert_allclose(found["holistic"], np.mean(each), rtol=1e-12)
    assert_allclose(found["severity"], np.mean(wrong), rtol=1e-12)
    assert found["top1"] == np.mean(answers == classes)


def test_outcomes_of_no_wrong_answer_and_of_no_numbers():
    outcomes, classes = Outcomes(tree()), torch.arange(5)
    right = outcomes(100 * torch.eye(5), classes)
    assert right["top1"] == 1 and right["holistic"] == pytest.approx(0, abs=1e-6) and np.isnan(right["severity"])
    assert all(np.isnan(value) for value in outcomes(torch.full((5, 5), torch.nan), classes).values())


# --- rates, intervals, tests


def runs(top1, loss="CE", size=4, rate=0.1, part="simulated", stage="search", optimizer="SGD", **changes):
    """Rows of one run for each entry of `top1`: untrained, on the way, at the end."""
    rows = []
    for seed, end in enumerate(top1):
        values = {"top1": end, "choosing": end, "holistic": 10 - 5 * end, "severity": 4 - end} | changes
        about = {"part": part, "data": "", "stage": stage, "size": size, "loss": loss}
        about |= {"optimizer": optimizer, "rate": rate, "seed": seed}
        nothing = {"top1": 0.001, "choosing": 0.0, "holistic": 13.0, "severity": 13.0}
        rows.append(about | {"step": 0, "epoch": 0.0, "status": "ok"} | nothing)
        if np.isnan(end):
            rows.append(about | {"step": 7, "status": "diverged"})
            continue
        rows += [about | {"step": s, "epoch": s / 10, "status": "ok"} | values for s in (10, 20)]
    return rows


def test_the_setting_is_that_of_the_best_end_on_the_samples_kept_for_choosing():
    table = pd.DataFrame(
        runs([0.5, 0.6], rate=0.1, choosing=0.3)
        + runs([0.1, 0.2], rate=0.2, choosing=0.4)
        + runs([0.9, np.nan], rate=0.4, choosing=0.7)  # counts 0.35
        + runs([0.99] * 3, rate=0.8, choosing=0.99, stage="chosen")  # is no part of the search
        + runs([0.15, 0.15], size=20, rate=0.2, optimizer="Adam")
        + runs([0.3, 0.3], size=100, rate=0.1, optimizer="Adam")
        + runs([0.2, 0.2], size=100, rate=0.1)
        + runs([0.2, 0.2], size=20, rate=0.1)
        + runs([0.1, 0.1], size=20, rate=0.2)
        + runs([np.nan, np.nan], loss="SD", rate=0.1)
        + runs([np.nan, np.nan], loss="SD", rate=0.2)
    )
    best = {(4, "CE"): ("SGD", 0.2), (20, "CE"): ("SGD", 0.1), (100, "CE"): ("Adam", 0.1), (4, "SD"): ("SGD", 0.1)}
    assert statistics.best(table) == {("simulated", *key): setting for key, setting in best.items()}
    assert set(statistics.chosen(table).query("size == 100").optimizer) == {"Adam"}
    assert set(statistics.chosen(table).query("loss == 'CE' and size == 4").rate) == {0.2}


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


def table_of(base=0.6, gain=0.01, holistic=2.0, alone=0.004, part="simulated", seeds=10, sizes=(4, 20, 100)):
    rng = np.random.default_rng(3)
    rows = []
    for size in sizes:
        noise = rng.normal(0, 1e-3, seeds)
        options = {"part": part, "size": size}
        rows += runs(base + noise, "CE", **options)
        rows += runs(base + 4 * gain / size + noise + rng.normal(0, 1e-3, seeds), "EMD2+CE", **options)
        rows += runs(base / 2 + noise, "EMD2", holistic=holistic, **options)
        rows += runs(base + noise + rng.normal(0, 1e-3, seeds), "SD+CE", **options)
    for loss in ("EMD", "SD"):
        rows += runs([alone] * seeds, loss, part=part, size=sizes[0])
        rows += runs([0.5] * seeds, loss, part=part, size=sizes[0], optimizer="Adam", choosing=0.0)
    return pd.DataFrame(rows)


def verdicts(table):
    return {claim.claimed.split(" (")[0][:40]: claim.holds for claim in claims.claims(table)}


COMBINED = "with few samples EMD²+CE has a higher to"
HOLISTIC = "EMD² has a far smaller holistic error th"
SHRINKS = "the advantage of EMD² is more apparent w"
CONVERGE = "EMD and SD alone do not converge using S"


def test_claims_that_hold():
    found = verdicts(table_of())
    assert found[COMBINED] and found[HOLISTIC] and found[SHRINKS] and found[CONVERGE]
    assert found["with few samples the top-1 accuracy of E"] is False


def test_claims_that_do_not_hold():
    found = verdicts(table_of(gain=-0.01, holistic=9.0, alone=0.4))
    assert not any(found[name] for name in (COMBINED, HOLISTIC, SHRINKS, CONVERGE))


def test_a_difference_that_may_be_none_does_not_hold_and_says_so():
    table = table_of(gain=1e-5)
    claim = claims.claims(table)[0]
    assert claim.holds is False
    assert "which includes 0" in claim.found


def test_diverged_seeds_are_told_and_no_win():
    table = table_of()
    lost = (table.loss == "EMD2+CE") & (table["size"] == 4) & (table.seed == 3) & (table.step == 20)
    table.loc[lost, ["status", "top1", "choosing", "holistic", "severity"]] = ["diverged", *[np.nan] * 4]
    claim = claims.claims(table)[0]
    assert claim.holds is False and "1 seeds diverged" in claim.found
    line = statistics.summary(table).query("loss == 'EMD2+CE' and size == 4 and measure == 'top1'").iloc[0]
    assert (line.seeds, line.diverged) == (9, 1)


def test_without_data_the_second_part_is_not_measured_and_says_how():
    missing = [claim for claim in claims.claims(table_of()) if claim.holds is None]
    assert len(missing) == 1 and "--data FILE" in missing[0].found and "--data openml" in missing[0].found
    both = pd.concat([table_of(), table_of(part="data", sizes=(1, 2))])
    sheets = {claim.sheet for claim in claims.claims(both)}
    assert sheets == {"", "_data"} and all(claim.holds is not None for claim in claims.claims(both))


def test_what_is_simulated_says_so_in_every_claim():
    assert all("simulated features" in claim.claimed for claim in claims.claims(table_of()) if claim.holds is not None)


def test_each_loss_is_searched_equally():
    plan = experiment.Plan()
    cells = experiment.search("module:run", plan, None, 0)
    count = pd.DataFrame([cell.parameters for cell in cells]).groupby(["size", "loss"]).size()
    assert set(count) == {len(plan.settings) * plan.searching}
    assert {loss for size, loss in count.index if size == 4} == {*experiment.TOGETHER, *experiment.ALONE}
    best = {(experiment.SIMULATED, size, loss): ("SGD", 0.2) for size, loss in count.index}
    more = pd.DataFrame([cell.parameters for cell in experiment.more("module:run", plan, None, 0, best)])
    assert set(more.groupby(["size", "loss"]).seed.nunique()) == {plan.seeds - plan.searching}
    assert not set(more.seed) & {cell.parameters["seed"] for cell in cells}
    assert plan.seeds >= 10


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
    before = {
        cell.key() for cell in experiment.search("analysis.figures.figure7_hierarchy:run", experiment.TOY, path, 0)
    }
    write(path, X=leaves(6)[0] + 1)
    after = {
        cell.key() for cell in experiment.search("analysis.figures.figure7_hierarchy:run", experiment.TOY, path, 0)
    }
    simulated = {
        cell.key() for cell in experiment.search("analysis.figures.figure7_hierarchy:run", experiment.TOY, None, 0)
    }
    assert before & after == simulated


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
        f"figure7_hierarchy{end}" for end in (".svg", "_data.svg", "_table.svg", ".csv", "_statistics.csv", ".json")
    } <= {path.name for path in folder.iterdir()}
    table = pd.read_csv(folder / "figure7_hierarchy.csv")
    assert set(table.part) == {"simulated", "data"}
    assert set(table.loss) == {*experiment.TOGETHER, *experiment.ALONE}
    assert set(table[table.part == "data"].data) == {"leaves.npz"}
    assert table[table.status == "ok"].holistic.notna().all()


def test_no_file_of_the_figure_names_the_folder_of_the_data(toy):
    _, folder = toy
    for path in folder.glob("figure7_hierarchy*"):
        assert str(folder.parent).encode() not in path.read_bytes(), path.name


def test_simulated_is_written_into_the_figure(toy):
    _, folder = toy
    text = (folder / "figure7_hierarchy.json").read_text(encoding="utf-8")
    assert text.count("(simulated features)") == text.count("(real data)") > 5
