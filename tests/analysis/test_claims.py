"""The rule that turns evidence into verdicts, beside SciPy's tests and arithmetic by hand."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from analysis import __main__ as command
from analysis.catalogue import NAMES
from analysis.engine import claims, style
from analysis.engine.cells import ROOT
from analysis.engine.claims import (
    FAILS,
    FINDING,
    HOLDS,
    TARGET,
    UNDECIDED,
    UNMEASURED,
    Claim,
    Difference,
    Exact,
    Margin,
    Missing,
    NonConvergence,
    judge,
)
from analysis.engine.script import Result


def claim(evidence, **more):
    return Claim("a paper, Fig. 1", "it is so", "one thing", evidence, **more)


def one(evidence, **more):
    return judge([claim(evidence, **more)])[0]


CLEAR = [0.5, 0.6, 0.55, 0.52, 0.58]
NOISE = [0.5, -0.6, 0.1, -0.2, 0.3]


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (Exact(True), HOLDS),
        (Exact(False), FAILS),
        (Missing("no GPU"), UNMEASURED),
        (Difference({"a": CLEAR}, 1), HOLDS),
        (Difference({"a": CLEAR}, -1), FAILS),
        (Difference({"a": NOISE}, 1), UNDECIDED),
        (Difference({"a": [0.5]}, 1), UNDECIDED),  # an end point without an interval
        (Difference({"a": []}, 1), UNDECIDED),
        (Difference({"a": [*CLEAR, np.nan]}, 1), UNDECIDED),  # a seed was lost
        (Difference({"a": [*CLEAR, np.inf]}, 1), HOLDS),  # what it is compared with diverged
        (Difference({"a": [*CLEAR, -np.inf]}, 1), UNDECIDED),
        (Difference({"a": [*CLEAR, np.inf]}, -1), FAILS),
        (Difference({"a": [*CLEAR, -np.inf]}, -1), UNDECIDED),
        (Difference({"a": CLEAR, "b": [*CLEAR, -np.inf]}, 1), UNDECIDED),
        (Difference({"a": [*CLEAR, np.nan], "b": [-x for x in CLEAR]}, 1), FAILS),  # one is on the wrong side
        (Difference({"a": [0.0, 0.0, 0.0]}, 1), UNDECIDED),
        (Difference({"a": [1.0, 1.0, 1.0]}, 1), HOLDS),
        (Difference({"a": CLEAR, "b": NOISE}, 1), UNDECIDED),  # each must be on the side
        (Difference({"a": CLEAR, "b": [-x for x in CLEAR]}, 1), FAILS),
        (Margin(2.0, 3.0, least=1.5), HOLDS),
        (Margin(2.0, 3.0, least=3.5), FAILS),
        (Margin(2.0, 3.0, least=2.5), UNDECIDED),
        (Margin(-0.2, 0.3, least=-1, most=1), HOLDS),
        (Margin(-0.2, 1.3, least=-1, most=1), UNDECIDED),
        (Margin(1.2, 1.3, least=-1, most=1), FAILS),
        (Margin(np.nan, np.nan, least=0), UNDECIDED),
        (Margin.of([1.0, np.nan, 1.2], least=0), UNDECIDED),
        (NonConvergence(0.1, 0.5, "12 rates"), HOLDS),
        (NonConvergence(0.5, 0.5, "12 rates"), FAILS),
    ],
)
def test_verdicts(evidence, verdict):
    found = one(evidence)
    assert found.verdict == verdict
    assert bool(found.why) == (verdict in (UNDECIDED, UNMEASURED))


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (Difference({"a": CLEAR}, 1), UNDECIDED),
        (Difference({"a": CLEAR}, -1), UNDECIDED),
        (Margin(2.0, 3.0, least=1.5), UNDECIDED),
        (NonConvergence(0.1, 0.5, "12 rates"), UNDECIDED),
        (NonConvergence(0.9, 0.5, "12 rates"), FAILS),  # a counterexample stands
        (Missing("no GPU"), UNMEASURED),
    ],
)
def test_a_doubt_leaves_it_undecided(evidence, verdict):
    found = one(evidence, doubts=("the rate stands at the grid's edge", "the curve still moves"))
    assert found.verdict == verdict
    if verdict == UNDECIDED:
        assert found.why.startswith("the rate stands at the grid's edge; the curve still moves")


def test_p_values_and_intervals_are_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 1, 12), rng.normal(0, 1, 12)
    evidence = Difference({"a − b": a - b}, 1)
    assert evidence.p() == pytest.approx(stats.ttest_rel(a, b).pvalue)
    found = one(evidence)
    low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.numbers["low"], found.numbers["high"]) == (pytest.approx(low), pytest.approx(high))
    scaled = one(Difference({"a − b": a - b}, 1, factor=100, unit="points"))
    assert scaled.numbers["mean"] == pytest.approx(100 * (a - b).mean())
    assert "points" in scaled.found


def test_an_interval_excludes_zero_exactly_where_the_corrected_p_is_below_the_level():
    rng = np.random.default_rng(1)
    some = [Difference({"a": rng.normal(shift, 1, 9)}, 1) for shift in np.linspace(0, 3, 13)]
    found = judge([claim(evidence) for evidence in some])
    assert {x.verdict for x in found} == {HOLDS, UNDECIDED}
    for each in found:
        excluded = each.numbers["low"] > 0 or each.numbers["high"] < 0
        assert excluded == (each.numbers["p_holm"] < 0.05) == (each.verdict == HOLDS)
    least = sorted(x.numbers["p"] for x in found)
    assert min(x.numbers["p_holm"] for x in found) == pytest.approx(13 * least[0])
    second = sorted(x.numbers["p_holm"] for x in found)[1]
    assert second == pytest.approx(max(13 * least[0], 12 * least[1]))


def test_a_difference_alone_may_hold_and_among_others_not():
    pairs = [0.4, 0.1, 0.35, 0.2, 0.15]
    assert one(Difference({"a": pairs}, 1)).verdict == HOLDS
    assert (
        judge([claim(Difference({"a": pairs}, 1))] + 9 * [claim(Difference({"b": NOISE}, 1))])[0].verdict == UNDECIDED
    )
    alone = judge([claim(Difference({"a": pairs}, 1))] + 9 * [claim(Difference({"b": NOISE}, 1), about=FINDING)])
    assert alone[0].verdict == HOLDS  # our own findings are no claims of the paper


def test_the_text_says_what_could_have_been_seen_and_how_many_seeds_would_decide():
    rng = np.random.default_rng(2)
    spread = rng.standard_normal(10)
    spread = (spread - spread.mean()) / spread.std(ddof=1)
    found = one(Difference({"a": 0.3 + spread}, 1, seconds=360.0))
    assert found.verdict == UNDECIDED
    seen, seeds, hours = re.search(
        r"10 seeds could have shown ([\d.]+), (\d+) would decide .*\(([\d.]+) h", found.why
    ).groups()
    quantiles = stats.t.ppf([0.975, 0.8], 9).sum()
    assert float(seen) == pytest.approx(quantiles / np.sqrt(10), rel=0.05)
    assert int(seeds) == pytest.approx(((1.96 + 0.84) / 0.3) ** 2, rel=0.1)
    assert float(hours) == pytest.approx(int(seeds) * 0.1, rel=0.06)
    assert "more than 10,000" in one(Difference({"a": 1e-4 + spread}, 1)).why


def test_as_many_seeds_as_it_says_show_the_difference_in_four_of_five_experiments():
    rng = np.random.default_rng(3)
    pilot = rng.standard_normal(10)
    pilot = 0.5 + (pilot - pilot.mean()) / pilot.std(ddof=1)
    seeds = int(re.search(r"(\d+) would decide", one(Difference({"a": pilot}, 1)).why).group(1))
    p = stats.ttest_1samp(rng.normal(0.5, 1, (2000, seeds)), 0, axis=1).pvalue
    assert 0.75 < (p < 0.05).mean() < 0.87


def test_the_end_of_a_run_is_a_line_for_each_source(capsys, tmp_path):
    said = judge(
        [claim(Exact(held)) for held in (True, True, False)]
        + [claim(Missing("no GPU")), Claim("arXiv 1611.07573, Fig. 7", "", "", Exact(True))]
        + [claim(Exact(True), about=TARGET), claim(Exact(False), about=FINDING)]
    )
    command._print_claims({"slides": Result(said, "")}, False, tmp_path)
    lines = capsys.readouterr().out.split("\n")
    assert "a paper, Fig. 1: 2 hold, 1 does not, 1 not measured" in lines
    assert "arXiv Fig. 7: 1 holds" in lines
    assert "Our own targets: 1 holds" in lines
    assert "Our own findings: 1 does not" in lines
    assert any(str(tmp_path / "slides.json") in line and "--claims" in line for line in lines)
    command._print_claims({"slides": Result(said, "")}, True, tmp_path)
    whole = capsys.readouterr().out
    assert whole.count("claimed: it is so") == 6
    assert "not measured: no GPU" in whole


@pytest.mark.parametrize("name", [n for n in NAMES if (ROOT / "figures" / f"{n}.json").exists()])
def test_committed_records_have_verdicts_and_captions_of_two_sentences(name):
    record = json.loads((ROOT / "figures" / f"{name}.json").read_text(encoding="utf-8"))
    for each in record["claims"]:
        assert each["verdict"] in claims.VERDICTS
        assert each["kind"] and each["contrast"], each["claimed"]
        assert len(each["claimed"]) <= 400
        assert bool(each["why"]) == (each["verdict"] in (UNDECIDED, UNMEASURED))
    sheets = {path.stem.removeprefix(name) for path in (ROOT / "figures").glob(f"{name}*.svg")}
    longer = {other for other in NAMES if other != name and other.startswith(name)}
    own = {end for end in sheets if not any((name + end).startswith(other) for other in longer)}
    assert own == set(record["captions"])
    for caption in record["captions"].values():
        plain = re.sub(r"\b(Figs?|Secs?|Eqs?|Alg|al|vs|No|e\.g|i\.e)\.", "", caption)
        assert len(re.findall(r"[.!?](?:\s|$)", plain)) == 2, caption


def test_small_letters_and_wide_pictures_are_refused(tmp_path):
    with style.context():
        picture, axis = style.figure(1.0)
        axis.set_title("small", fontsize=5.9)
        with pytest.raises(AssertionError, match="'small' has letters below 6 points"):
            style.save(picture, tmp_path / "small", png=False)
        axis.set_title("$10^3$", fontsize=8)
        with pytest.raises(AssertionError, match="below 6 points"):
            style.save(picture, tmp_path / "raised", png=False)
        picture, _ = style.figure(1.0)
        picture.set_size_inches(7, 1)
        with pytest.raises(AssertionError, match="7 in wide"):
            style.save(picture, tmp_path / "wide", png=False)
    assert not list(tmp_path.iterdir())
