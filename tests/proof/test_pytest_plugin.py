"""The pytest plugin: one test a case, messages that explain, options and marks, and nothing imported before it is used.

Runs are in this process, in a folder of their own, where this project's settings do not reach.
"""

import configparser
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import emdref
from emdref.proof import exact_case

pytest_plugins = ["pytester"]
ROOT = Path(emdref.__file__).parents[1]

MINE = """
import numpy as np, pytest, emdref

def mine(p, q):
    return np.abs(np.cumsum(p) - np.cumsum(q)).sum()
"""


@pytest.fixture
def run(pytester):
    """A file of tests, run with options; its outcome."""

    def run(text, *options):
        pytester.makepyfile(MINE + text)
        return pytester.runpytest_inprocess("-p", "emdref_pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *options)

    return run


def test_a_case_a_test_over_all_grades(run):
    outcome = run("def test_mine(emd_case):\n    emd_case.check_value(mine(emd_case.p, emd_case.q))", "-v")
    counts = outcome.parseoutcomes()
    assert counts["passed"] + counts["failed"] == 4 * len(emdref.casebook.FAMILIES)
    outcome.stdout.fnmatch_lines(["*test_mine?chain-easy-integers-3? PASSED*"])
    outcome.stdout.fnmatch_lines(["*test_mine?chain-hard-one_ulp-0? FAILED*"])
    outcome.stdout.re_match_lines(
        [
            r"E +AssertionError: chain-hard-one_ulp-0: the value is 1\..*, exactly .* ulp off, up to 21.9 pass",
            r"E +rho = 1 on Chain\(20 bins\)",
            r"E +p, q = emdref.casebook.pair\(.one_ulp., 20, .float64., seed=0\)",
        ]
    )
    assert "exact_case.py" not in outcome.stdout.str()  # the traceback ends in the user's test


def test_the_page_shows_tests_that_run(pytester):
    """As docs/howto/check.md has them, but for the size of the tree."""
    page = (ROOT / "docs" / "howto" / "check.md").read_text("utf-8")
    code = re.search(r"```python\n([^`]*from my_project import [^`]*)```", page)[1]
    pytester.makepyfile(
        my_project="from emdref import Chain, exact\nfrom emdref.exact.rounding import rounded\n"
        "my_emd = lambda p, q: rounded(exact.emd(p, q, Chain(20)), p.dtype)\n"
        "my_grad = lambda p, q: [float(x) for x in exact.grad(p, q, Chain(6), 2, gauge='zero_sum')]\n",
        test_shown=code.replace("emdref.wordnet_tree()", "emdref.Chain(6)"),
    )
    options = "-p", "emdref_pytest", "-p", "no:cacheprovider", "-p", "no:xdist"
    counts = pytester.runpytest_inprocess(*options).parseoutcomes()
    said = int(re.search(r"(\d+) of them on a chain of 20 bins", code)[1])
    marked = sum(emdref.casebook.FAMILIES[name].grade in ("easy", "ordinary") for name in emdref.casebook.FAMILIES)
    assert counts == {"passed": said + 4 * marked}


def test_options_and_marks(run):
    text = """
@pytest.mark.emd_cases(grade=("easy", "ordinary"), space=emdref.Chain(6), rho=2, dtype="float32")
def test_marked(emd_case):
    assert emd_case.p.dtype == emd_case.value.dtype == np.float32 and emd_case.space.n_bins == 6
    emd_case.check_value(emdref.emd(emd_case.p, emd_case.q, emd_case.space, emd_case.rho, mass="ignore"), ulp=1)

def test_gradient(emd_case):
    emd_case.p -= 0  # a copy of its own
    emd_case.check_grad(emdref.emd_grad(emd_case.p, emd_case.q, emd_case.space, mass="ignore"), ulp=8)

def test_none():
    pass
"""
    outcome = run(text, "--emd-grades", "easy", "--emd-spaces", "tree, chain", "-v", "-W", "error", "--strict-markers")
    outcome.assert_outcomes(passed=8 + 2 * 8 + 1)
    outcome.stdout.fnmatch_lines(["*test_gradient?tree-easy-integers-0? PASSED*"])


@pytest.mark.parametrize(
    ("mark", "options", "message"),
    [
        ("grade='hardest'", (), "grade='hardest' is not one of easy, ordinary, hard, hostile"),
        ("space='ring'", (), "space='ring' is not one of chain, tree, wordnet: give a Space"),
        ("rho=0.5", (), "rho"),
        ("'easy'", (), "give its arguments by name"),
        ("cases='easy'", (), "unexpected keyword argument 'cases'"),
        ("", ("--emd-grades", "simple"), "grade='simple' is not one of"),
        ("family='soft'", (), "family='soft' is not one of integers"),
        ("grade=3", (), "grade=3 must be one grade or several"),
        ("grade='easy', family='one_ulp'", (), "no case of family 'one_ulp' is of grade 'easy'"),
    ],
)
def test_what_is_refused(run, mark, options, message):
    outcome = run(f"@pytest.mark.emd_cases({mark})\ndef test_mine(emd_case):\n    pass", *options)
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR or outcome.parseoutcomes().get("errors")
    assert message in outcome.stdout.str() + outcome.stderr.str()


# --- the cases themselves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_answers_are_exact_and_checks_are_sharp(dtype):
    for case in exact_case.cases(("ordinary", "hostile"), "tree", 2, dtype):
        exact = emdref.exact.emd(case.p, case.q, case.space, 2)
        assert case.exact_value == exact
        assert case.exact_grad("raw") == list(emdref.exact.grad(case.p, case.q, case.space, 2, gauge="raw"))
        case.check_value(case.value, ulp=0.5)
        case.check_grad(case.grad("scaled"), "scaled", ulp=0.5)
        up = np.nextafter(case.value, dtype(np.inf))
        with pytest.raises(AssertionError, match=r"ulp off, up to 0.1 pass"):
            case.check_value(np.nextafter(up, dtype(np.inf)), ulp=0.1)
        if case.grade == "hostile":  # whose gradients may be below the dtype's range
            continue
        wrong = case.grad()
        wrong[-1] += np.abs(wrong).max()
        with pytest.raises(AssertionError, match=r"at bin 9, exactly"):
            case.check_grad(wrong)


def test_answers_that_are_none():
    assert not list(exact_case.cases("easy", family="softmax"))
    assert {c.family for c in exact_case.cases(family=["softmax", "spread"])} == {"softmax", "spread"}
    (case,) = (c for c in exact_case.cases("easy", family="integers") if c.seed == 1)
    for wrong in (np.nan, np.inf, np.float64(-1)):
        with pytest.raises(AssertionError, match="the value is"):
            case.check_value(wrong)
    with pytest.raises(AssertionError, match=r"the value has shape \(20,\)"):
        case.check_value(case.p)
    with pytest.raises(AssertionError, match="the gradient has 19 entries, expected 20"):
        case.check_grad(case.p[1:])
    with pytest.raises(AssertionError, match="is nan at bin 2"):
        case.check_grad(np.where(np.arange(20) == 2, np.nan, case.grad()))
    with pytest.raises(TypeError, match="it returned str"):
        case.check_value("3")
    assert isinstance(case.exact_value, Fraction) and case.fresh().p is not case.p


# --- cost -------------------------------------------------------------------------------------------------------------


def test_the_entry_point_imports_nothing_of_the_library():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    name, _, module = config["options.entry_points"]["pytest11"].strip().partition(" = ")
    assert name == module and module in config["options"]["py_modules"].split()
    code = f"import pytest, sys; import {module}; print(*(m for m in ('emdref', 'numpy', 'numba') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
