"""What figures are computed from: choices and reductions on tables small enough to work out by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import emdref
from analysis.benchmarks import sinkhorn_scaling
from analysis.engine import style
from analysis.engine.claims import FAILS, HOLDS, UNDECIDED, judge
from analysis.engine.script import FIGURES, Options
from analysis.figures import figure3_stability
from analysis.sinkhorn import stability, stability_tables
from analysis.studies import figure3_rescue, sinkhorn_limits
from analysis.timing import own_process, sinkhorn_growth

KEY = {"cap": 10, "dtype": "float64", "kernel": "space", "domain": "log", "variant": "paper", "gradient": "potential"}


def rows(lams, ratios, **changes):
    return [
        KEY | {"lam": lam, "pair": pair, "target": "softmax 1", "sd_over_emd": ratio, "angle_deg": 4.0,
               "status": "iteration_limit", "failed_at": 0} | changes
        for lam in lams
        for pair, ratio in enumerate(ratios)
    ]  # fmt: skip


def test_a_failed_row_is_infinitely_wrong_in_the_map():
    table = pd.DataFrame(rows([1.0], [1.001] * 9 + [1.5]) + rows([2.0], [1.001] * 10))
    table.loc[3, "status"] = "underflow"
    reduced = sinkhorn_limits.reduce(table).set_index("lam")
    assert reduced.failed.tolist() == [0.1, 0.0]
    assert np.isinf(reduced.value_most[1.0])
    np.testing.assert_allclose(reduced.value_half, 0.001)
    np.testing.assert_allclose(reduced.value_most[2.0], 0.001)


def test_usable_lambdas_are_those_within_the_limit():
    lams = [1.0, 2.0, 4.0]
    table = pd.DataFrame(rows(lams[:1], [1.2] * 10) + rows(lams[1:], [1.004] * 10))
    table.loc[table.lam == 4.0, "angle_deg"] = 6.0
    reduced = sinkhorn_limits.reduce(table)
    way = ("float64", "space", "log")
    assert sinkhorn_limits.usable(reduced, "value", way, 10) == [2.0, 4.0]
    assert sinkhorn_limits.usable(reduced, "angle", way, 10) == [1.0, 2.0]
    (answer,) = sinkhorn_limits.answers(reduced).to_dict("records")
    ends = [(answer[f"{key}_from"], answer[f"{key}_to"]) for key in ("value_most", "angle_most", "both_most")]
    assert ends == [(2.0, 4.0), (1.0, 2.0), (2.0, 2.0)]
    assert [sinkhorn_limits._range(*pair) for pair in ends] == ["2 – 4", "1 – 2", "2"]
    assert sinkhorn_limits._range(np.nan, np.nan) == "none"
    drawn = sinkhorn_limits._table(sinkhorn_limits.answers(reduced)).axes[0].tables[0].get_celld()
    assert [drawn[1, column].get_text().get_text() for column in (0, 1, 2, 3, 5)] == [*way, "10", "2 – 4"]


def test_alive_stops_where_half_the_rows_are_no_numbers():
    table = pd.DataFrame(rows([1.0, 2.0, 4.0], [1.0] * 4))
    table.loc[(table.lam == 2.0) & (table.pair < 2), "status"] = "nan"
    assert stability_tables.alive(table) == 4.0  # half of them are
    table.loc[(table.lam == 2.0) & (table.pair < 3), "status"] = "nan"
    assert stability_tables.alive(table) == 1.0
    table.status = "overflow"
    assert stability_tables.alive(table) == 0.0


def test_truncation_needs_nine_tenths_converged():
    settled = {"cap": 10_000, "variant": "overrelaxed", "status": "converged"}
    table = pd.DataFrame(
        rows([1.0, 2.0], [0.5] * 10) + rows([1.0], [1.0] * 10, **settled) + rows([2.0], [1.0] * 8, **settled)
    )
    error = figure3_rescue.truncation(table, "softmax", 10)
    assert error.to_dict() == {1.0: 0.5}


def test_rounding_is_against_the_log_domain_at_the_same_cap():
    linear = {"dtype": "float32", "kernel": "dense", "domain": "linear"}
    table = pd.DataFrame(rows([1.0], [0.5] * 3) + rows([1.0], [0.5, 0.51, 0.52], **linear))
    np.testing.assert_allclose(figure3_rescue.rounding(table, tuple(linear.values())), [0.02])


@pytest.mark.parametrize("name", ["chain", "tree"])
def test_spaces_of_the_scaling_have_the_bins_they_say(name):
    space = sinkhorn_growth.space_of(name, 50, np.random.default_rng(0))
    assert space.n_bins == 50
    assert space.n_nodes == {"chain": 50, "tree": 99}[name]


def test_cost_of_each_node_is_that_of_one_batch_size_in_float64():
    sizes = np.array([1e3, 1e4])
    table = pd.DataFrame({"nodes": sizes, "seconds": 3e-9 * sizes, "bytes": 80.0 * 4 * sizes})
    table = table.assign(space="chain", kernel="space", domain="log", dtype="float64", rows=4)
    other = table.assign(dtype="float32", seconds=1.0)
    table = pd.concat([other, table, table.assign(rows=64, seconds=1.0)])
    np.testing.assert_allclose(sinkhorn_scaling._each(table, "seconds")["chain, log"], 3e-9)
    np.testing.assert_allclose(sinkhorn_scaling._each(table, "bytes")["chain, log"], 80)


def test_a_power_has_students_interval():
    nodes = np.array([1e3, 1e4, 1e5, 1e6])
    table = pd.DataFrame({"nodes": nodes, "seconds": nodes * [1.0, 1.3, 0.9, 1.1], "space": "chain"})
    line = stats.linregress(np.log(table.nodes), np.log(table.seconds))
    half = stats.t.ppf(0.975, 2) * line.stderr
    found = sinkhorn_scaling._slope(table, "nodes", ["space"])
    np.testing.assert_allclose(found, [line.slope, line.slope - half, line.slope + half])
    both = pd.concat([table, table.assign(space="tree", seconds=7 * table.seconds)], ignore_index=True)
    twice = sinkhorn_scaling._slope(both, "nodes", ["space"])
    np.testing.assert_allclose(twice[0], line.slope)  # levels differ, the power does not
    np.testing.assert_allclose(
        (twice[2] - twice[0]) / stats.t.ppf(0.975, 5), half / stats.t.ppf(0.975, 2) * np.sqrt(0.4)
    )
    assert np.isnan(sinkhorn_scaling._slope(table[:2], "nodes", ["space"])).all()


def scaled(way, **factors):
    """What is claimed of the committed measurements, some of which are changed by factors where `way` says."""
    table = pd.read_csv(FIGURES / "sinkhorn_scaling.csv")
    for name, factor in factors.items():
        table[name] = table[name].where(~way(table), table[name] * factor)
    return [claim.verdict for claim in judge(sinkhorn_scaling.claims(table))]


def test_a_matrix_in_disguise_is_found():
    assert scaled(lambda rows: rows.kernel == "dense", seconds=1.0) == [HOLDS] * 5
    large = scaled(lambda rows: (rows.kernel == "space") & (rows.nodes > 5e5), seconds=1000.0, bytes=1000.0)
    assert large == [UNDECIDED, HOLDS, FAILS, HOLDS, HOLDS]  # two powers at once, no line
    every = scaled(lambda rows: rows.kernel == "space", seconds=pd.read_csv(FIGURES / "sinkhorn_scaling.csv").nodes)
    assert every == [FAILS, HOLDS, HOLDS, FAILS, HOLDS]
    quick = scaled(lambda rows: (rows.kernel == "dense") & (rows.bins == 10_000), seconds=0.15)
    assert quick == [HOLDS, UNDECIDED, HOLDS, HOLDS, UNDECIDED]  # 46 to 99 s
    assert scaled(lambda rows: rows.kernel == "dense", seconds=1e-3)[3:] == [FAILS, FAILS]


def test_a_measurement_in_its_own_process():
    row = own_process.call(
        "analysis.timing.sinkhorn_growth:measure",
        space="chain", n=30_000, kernel="space", domain="linear", dtype="float32", rows=8, seed=0,
    )  # fmt: skip
    assert row["nodes"] == 30_000
    assert row["seconds"] > 0
    array = 8 * 30_000 * 4
    assert row["bytes"] is None or 3 * array < row["bytes"] < 60 * array  # and no matrix, which were 3750 arrays


def test_an_error_in_a_process_of_its_own_is_told():
    with pytest.raises(RuntimeError, match=r"failed in its own process: .*no_such_name"):
        own_process.call("analysis.sinkhorn.gradient_shapes:no_such_name")


def test_lambdas_follow_the_diameter():
    chain = emdref.Chain(53)
    want = np.array(stability.lambdas(emdref.wordnet_tree(), False)) / 2
    np.testing.assert_allclose(stability.lambdas(chain, False), want, rtol=1e-5)


def test_dense_cells_are_left_out_where_the_matrix_is_too_large():
    cells = sinkhorn_limits.cells(Options(chain=stability.DENSE_BINS + 1, toy=True))
    kernels = {cell.parameters["kernel"] for cell in cells}
    assert kernels == {"space"}


def test_real_labels_find_their_class_in_a_tree_of_another_order(tmp_path):
    names = emdref.wordnet_tree().bin_labels[::-1]
    path = tmp_path / "star.txt"
    path.write_text("".join(f"root {name}\n" for name in names))
    assert stability.classes(stability.named(Options(tree=path))) == tuple(range(999, -1, -1))
    path.write_text("".join(f"root {name}\n" for name in names[:-1]) + "root n99999999\n")
    assert stability.classes(stability.named(Options(tree=path))) is None
    assert stability.classes("chain:1000") is None
    assert stability.classes("wordnet") == tuple(range(1000))


def test_the_three_scripts_share_their_cells():
    every, limits, panels = (
        {cell.key() for cell in script.cells(Options())}
        for script in (figure3_rescue, sinkhorn_limits, figure3_stability)
    )
    assert panels < limits < every


@pytest.mark.parametrize(("space", "kernel"), [({}, "dense"), ({"chain": stability.DENSE_BINS + 1}, "space")])
def test_the_four_panels_need_the_frameworks_way_and_the_reference(space, kernel):
    cells = figure3_stability.cells(Options(**space))
    ways = {tuple(cell.parameters[k] for k in ("dtype", "kernel", "domain")) for cell in cells}
    assert ways == {("float64", kernel, "linear"), ("float32", kernel, "linear"), ("float64", "space", "log")}
    assert {max(cell.parameters["caps"]) for cell in cells} == {1000, 10_000}


def test_words_stay_within_the_page():
    with style.context():
        picture, _ = style.figure(style.COLUMN, 1.0, 1, 1)
        page = picture.figure
        page.caption(
            [
                "Wide words: " + "MMMM WWWW mmmm " * 3,
                "the quick brown fox jumps over the lazy dog, 0.123 (float32). " * 8,
            ]
        )
        page.draw_without_rendering()
        (text,) = page.words.texts
        box = text.get_window_extent()
    assert box.x1 <= page.bbox.x1
    assert box.y0 >= page.bbox.y0
