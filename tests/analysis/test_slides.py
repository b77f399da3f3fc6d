"""Plans and machines of the scripts that draw them: hand numbers, linear programs, tables that must not pass."""

import numpy as np
import pandas as pd
import pytest

import emdref
from analysis.engine.claims import FAILS, HOLDS, UNMEASURED, judge
from analysis.figures import figure2_flows, figure4_chain, slides_plans
from analysis.studies import slides_svm


def verdicts(script, table):
    script.check(table)
    return [claim.verdict for claim in judge(script.claims(table))]


def test_the_linear_program_is_the_emd_of_any_cost():
    p, q = np.array([0.5, 0.25, 0.25]), np.array([0.0, 0.5, 0.5])
    cost = np.array([[0.0, 3, 1], [3, 0, 5], [1, 5, 0]])  # no chain's: 0 is near to 2, and neither to 1
    assert figure2_flows.program(p, q, cost) == pytest.approx(0.25 * 3 + 0.25 * 1)


@pytest.fixture(scope="module")
def flows():
    return pd.DataFrame(figure2_flows.pairs() + figure2_flows.times(8, 0))


def test_the_plan_of_figure_2_is_an_optimum_between_all_bins(flows):
    assert verdicts(figure2_flows, flows)[::2] == [HOLDS, HOLDS]  # the second is of times
    direct = flows.copy()
    direct.loc[direct["from"] != direct["to"], "distance"] *= -1  # then more could be moved at a profit
    assert verdicts(figure2_flows, direct)[0] == FAILS


def test_figure_2_refuses_a_plan_with_other_sums(flows):
    flows = flows.copy()
    flows.loc[0, "mass"] += 1 / 32
    with pytest.raises(AssertionError, match="sums are not p and q"):
        figure2_flows.check(flows)


def test_a_linear_program_that_is_no_dearer_does_not_hold(flows):
    assert verdicts(figure2_flows, flows.assign(seconds_program=flows.seconds_emd))[1] == FAILS


def test_a_step_takes_away_a_node_and_an_edge():
    left = np.array([0.25, -0.5, 0.0, 0.25])
    for node, after in enumerate([[0, -0.25, 0, 0.25], [0, 0, -0.25, 0.25], [0, 0, 0, 0]]):
        left = figure4_chain.eliminated(left, node)
        assert left.tolist() == after


def test_the_recursion_is_the_distance_of_places():
    places = np.array([0.0, 0.5, 2.0, 7.0])
    np.testing.assert_array_equal(figure4_chain.recursive(np.diff(places)), abs(places[:, None] - places))


def test_the_chain_holds_and_its_claims_can_fail():
    table = pd.DataFrame(figure4_chain.compute())
    assert verdicts(figure4_chain, table) == [HOLDS] * 5
    edges = table.phi.notna()
    assert table.phi[edges].tolist() == [4 / 16, 2 / 16, -2 / 16, 1 / 16, -1 / 16]  # by hand
    crossed = table.copy()
    crossed.loc[edges, ["right", "back"]] += 1  # mass over an edge both ways
    longer = table.assign(phi=2 * table.phi, recursion=table.recursion + 1)
    assert verdicts(figure4_chain, crossed) == [FAILS, HOLDS, HOLDS, HOLDS, HOLDS]
    assert verdicts(figure4_chain, longer) == [FAILS, FAILS, FAILS, FAILS, HOLDS]


def test_mass_on_its_way_is_split_between_two_bins():
    start, end, mass = np.array([0, 10]), np.array([3, 10]), np.array([0.5, 0.25])
    half = slides_plans.on_its_way(start, end, mass, 0.5)
    assert {k: x for k, x in enumerate(half) if x} == {1: 0.25, 2: 0.25, 10: 0.25}
    assert slides_plans.on_its_way(start, end, mass, 1.0)[3] == 0.5


@pytest.fixture(scope="module")
def plans():
    return pd.DataFrame(slides_plans.frames() + slides_plans.words())


def test_words_are_matched_as_a_linear_program_does(plans):
    assert verdicts(slides_plans, plans) == [HOLDS, HOLDS, UNMEASURED, HOLDS]
    assert slides_plans._costs(plans)["good"] == 0.25 * 2 + 0.25 * 2 + 0.25 * 4 + 0.125 * 11 + 0.125 * 9  # by hand
    whole = emdref.wordnet_tree()
    for answer, student in slides_plans.STUDENTS.items():
        rows, columns = (
            np.searchsorted(whole.bin_labels, slides_plans.wnids([*x])) for x in (slides_plans.MODEL, student)
        )
        cost = whole.distance_matrix()[np.ix_(rows, columns)]
        p, q = (np.array([*said.values()]) / sum(said.values()) for said in (slides_plans.MODEL, student))
        square = np.zeros((6, 6))
        square[:4] = cost
        optimum = figure2_flows.program(np.append(p, [0, 0]), q, square)
        assert slides_plans._costs(plans)[answer] == pytest.approx(optimum)


def test_interpolations_that_are_none_do_not_hold(plans):
    assert verdicts(slides_plans, plans.assign(moved=plans.mixed))[0] == FAILS
    ahead = plans.copy()
    ahead.loc[ahead.t == 0.25, "mixed"] = ahead.mixed[ahead.t == 1].to_numpy()
    assert verdicts(slides_plans, ahead)[1] == FAILS
    with pytest.raises(AssertionError, match="makes or loses mass"):
        slides_plans.check(plans.assign(moved=2 * plans.moved))


def test_trees_of_pixels():
    row, column = np.divmod(np.arange(64), 8)
    along = abs(column - 4)[:, None] + abs(column - 4) + abs(row[:, None] - row)
    inside = np.where(row[:, None] == row, abs(column[:, None] - column), along)
    np.testing.assert_array_equal(slides_svm.rows_of_pixels().distance_matrix(), inside)
    by_level = sum(  # up to the square that both are in, and down
        2.0 ** (level + 1) * ((row[:, None] >> level != row >> level) | (column[:, None] >> level != column >> level))
        for level in range(3)
    )
    np.testing.assert_array_equal(slides_svm.quadtree().distance_matrix(), by_level)


def test_the_network_simplex_finds_the_optimum_of_the_linear_program():
    rng = np.random.default_rng(3)
    p, q = rng.dirichlet(np.full(64, 0.3), (2, 2))
    p[0, :30] = 0
    p /= p.sum(1, keepdims=True)
    want = [figure2_flows.program(*pair, slides_svm.grid()) for pair in zip(p, q, strict=True)]
    np.testing.assert_allclose(slides_svm.by_network_simplex(p, q, slides_svm.grid()), want, rtol=1e-6)


def test_sets_of_images_have_none_in_common_and_folds_are_balanced():
    sets = [slides_svm.images_of(number, 16, 5) for number in (0, 1, slides_svm.SETS - 1)]
    images = np.concatenate([images for images, _, _ in sets])
    assert len(np.unique(images, axis=0)) > 0.999 * len(images)  # two of the digits may be drawn alike
    for _, digits, folds in sets:
        counts = pd.crosstab(digits, folds).to_numpy()
        assert counts.shape == (10, 4)
        assert (counts == 4).all()


def test_nothing_is_chosen_by_what_is_tested():
    images, digits, folds = slides_svm.images_of(0, 8, 1)
    d = ((images[:, None] - images) ** 2).sum(-1)
    other = np.where(folds == 0, (digits + 1) % 10, digits)
    far = d.copy()
    far[np.ix_(folds == 0, folds == 0)] *= 100
    first, again, moved = (
        slides_svm.tested(*x, folds, 0, [0.5, 2.0], [1.0, 100.0]) for x in ((d, digits), (d, other), (far, digits))
    )
    assert first == moved
    assert first["error"] < 0.5 < again["error"]
    assert {k: x for k, x in first.items() if k != "error"} == {k: x for k, x in again.items() if k != "error"}


def test_an_indefinite_kernel_is_seen_and_mended(monkeypatch):
    images, digits, folds = slides_svm.images_of(0, 4, 1)
    d = ((images[:, None] - images) ** 2).sum(-1)
    d -= 1.5 * np.median(d) * (np.arange(40)[:, None] // 2 == np.arange(40) // 2)  # nearer to one another than to self
    np.fill_diagonal(d, 0)
    seen = []
    monkeypatch.setattr(slides_svm, "_error", lambda kernel, *rest: seen.append(kernel) or 0.5)
    assert slides_svm.tested(d, digits, folds, 0, [1.0], [1.0])["least"] < -1
    train = np.flatnonzero(folds != 0)
    assert abs(np.linalg.eigvalsh(seen[0][np.ix_(train, train)])[0]) < 1e-12


def machines(**changes):
    rows = [
        {"set": n, "fold": f, "train": 30, "distance": name, "lam": lam, "t": 1.0, "C": 1.0, "inner": inner,
         "error": error + 0.001 * n, "least": 0.1, "marginal_error": 0.1}
        for n in range(4)
        for f in range(2)
        for name, lam, inner, error in [
            ("SD", 9.0, 0.3, 0.1), ("SD", 27.0, 0.2 + 0.01 * n, 0.2 + 0.01 * n), ("SD", 81.0, 0.4, 0.0),
            *((name, np.nan, 0.3, 0.4) for name in ("EMD", "EMD, rows", "EMD, quadtree", *slides_svm.CLASSIC)),
        ]
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**changes)


def test_lambda_is_chosen_by_the_error_inside():
    table = machines()
    np.testing.assert_allclose(slides_svm.errors(table)["SD"], [20, 21.1, 22.2, 23.3])  # the least outside were 0
    assert verdicts(slides_svm, table) == [HOLDS] * 5
    others = table.error.where(table.distance != "Gaussian", 0.1)
    assert verdicts(slides_svm, table.assign(error=others))[1] == FAILS  # one better distance is enough


def test_a_lambda_at_the_edge_decides_nothing():
    table = machines()
    claims = judge(slides_svm.claims(table[table.lam != 81]))
    assert [claim.verdict for claim in claims[:2]] == ["undecided"] * 2
    assert "27, stands at the edge of the grid" in claims[0].why


def test_a_kernel_on_a_tree_that_is_not_definite_is_an_error():
    table = machines()
    table.loc[table.distance == "SD", "least"] = -0.5  # may be
    slides_svm.check(table)
    table.loc[table.distance == "EMD, quadtree", "least"] = -1e-9
    with pytest.raises(AssertionError, match="not positive definite"):
        slides_svm.check(table)
