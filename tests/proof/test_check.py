"""`emdref.check` on implementations with known mistakes: each is found, named, and shown by a snippet that runs."""

import contextlib
import io
import itertools
import math
import types
from fractions import Fraction

import numpy as np
import pytest

import cases
import emdref
from emdref import casebook
from emdref.proof import calling

CHAIN = emdref.Chain(20)
UNEVEN = emdref.Chain(gaps=[0.5, 2.0, 1.0, 0.25, 3.0, 1.5, 0.75])
TREE = cases.space("random_tree")
SPACES = {"chain": CHAIN, "uneven": UNEVEN, "tree": TREE}
FAIR = ("easy", "ordinary")


def library(name, space, rho=1, **options):
    return lambda p, q: getattr(emdref, name)(p, q, space, rho, mass="ignore", **options)


def phi(p, q):
    return np.cumsum(p - q)[:-1]


# --- right implementations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("rho", [1, 2, 3, 1.5])
@pytest.mark.parametrize("name", SPACES)
def test_emdref_passes_its_own_check(name, rho, dtype):
    space = SPACES[name]
    report = emdref.check(library("emd_value_and_grad", space, rho), space, rho=rho, dtype=dtype, tol=8)
    assert report.passed, str(report)
    assert report.gauge == "zero_sum"
    assert (report.factor, report.value_factor, report.wrong_signs) == (1, 1, 0)
    assert report.worst_ulp <= 1 or rho == 1.5
    assert report.subtracts_first is not False
    assert report.forgets_last_bin is False
    assert report.rho_applied == ("inside" if rho != 1 else "")


@pytest.mark.parametrize("gauge", cases.GAUGES)
@pytest.mark.parametrize("name", SPACES)
def test_each_gauge_is_recognised(name, gauge):
    space = SPACES[name]
    for asked in (gauge, None):
        report = emdref.check(library("emd_grad", space, gauge=gauge), space, gauge=asked, cases=FAIR)
        assert (report.gauge, report.factor) == (gauge, 1)
        assert report.passed, str(report)
        assert report.formula is None
    other = emdref.check(library("emd_grad", space, gauge=gauge), space, gauge="raw", cases=FAIR)
    assert other.passed == (gauge == "raw")


def test_plain_arithmetic_passes_fair_cases_and_fails_hostile_ones():
    def plain(p, q):
        slopes = np.append(np.sign(phi(p, q)), 0)
        r = np.cumsum(slopes[::-1])[::-1]
        return abs(phi(p, q)).sum(), r - r.mean()

    fair = emdref.check(plain, CHAIN, cases=FAIR)
    assert fair.passed, str(fair)
    report = emdref.check(plain, CHAIN)
    assert not report.passed
    assert report.wrong_signs > 0
    assert report.grades["easy"]["passed"]
    assert report.grades["ordinary"]["passed"]
    assert not report.grades["hostile"]["passed"]


def test_one_bin():
    report = emdref.check(lambda p, q: 0.0, emdref.Chain(1))
    assert report.passed, str(report)
    assert report.forgets_last_bin is None or report.forgets_last_bin is False


# --- mistakes of the value --------------------------------------------------------------------------------------------


VALUES = {
    "last gap forgotten": (lambda p, q: abs(phi(p, q)[:-1]).sum(), 1, "sum of M |phi| without the last gap", 1),
    "first gap forgotten": (lambda p, q: abs(phi(p, q)[1:]).sum(), 1, "sum of M |phi| without the first gap", 1),
    "mean over bins": (lambda p, q: abs(np.cumsum(p - q)).mean(), 1, "sum of M |phi|", 1 / 20),
    "half": (lambda p, q: abs(phi(p, q)).sum() / 2, 1, "sum of M |phi|", 0.5),
    "square of the sum": (lambda p, q: abs(phi(p, q)).sum() ** 2, 2, "(sum of M |phi|)^2", 1),
    "root of the sum of squares": (lambda p, q: (phi(p, q) ** 2).sum() ** 0.5, 2, "(sum of M |phi|^2)^(1/2)", 1),
    "rho forgotten": (lambda p, q: abs(phi(p, q)).sum(), 2, "sum of M |phi|", 1),
    "rho 2 for rho 1": (lambda p, q: (phi(p, q) ** 2).sum(), 1, "sum of M |phi|^2", 1),
    "squares for cubes": (lambda p, q: (phi(p, q) ** 2).sum(), 3, "sum of M |phi|^2", 1),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_a_value_really_is(name):
    function, rho, formula, factor = VALUES[name]
    report = emdref.check(function, CHAIN, rho=rho)
    assert report.formula == formula
    assert report.value_factor == pytest.approx(factor)
    assert not report.passed
    assert report.worst_ulp > report.tol
    assert report.forgets_last_bin == (name == "last gap forgotten")


@pytest.mark.parametrize(("name", "root"), list(zip(SPACES, itertools.cycle([False, True]))))
def test_wasserstein_distances_are_told_from_powers_of_flows(name, root):
    """W_2^2 by a solver of its own, on the few bins of the probes."""
    space, ot = SPACES[name], pytest.importorskip("ot")
    squared = space.distance_matrix() ** 2

    def w2(p, q):
        with np.errstate(all="ignore"):
            return ot.emd2(p / p.sum(), q / q.sum(), squared) ** (0.5 if root else 1)

    report = emdref.check(w2, space, rho=2, cases="easy")
    assert (report.formula, report.rho_applied) == ("W_2" if root else "W_2^2", "distances")
    assert not report.passed


def test_costs_that_are_ignored():
    report = emdref.check(lambda p, q: abs(phi(p, q)).sum(), UNEVEN)
    assert report.formula == "sum of M |phi| with all costs 1"
    assert not report.passed


def test_a_bin_that_a_tree_leaves_out():
    def without(k):
        keep = np.arange(TREE.n_bins) != k
        return lambda p, q: emdref.emd(p * keep, q * keep, TREE, mass="ignore") if (p * keep).any() else 0.0

    last = emdref.check(without(TREE.n_bins - 1), TREE, cases=FAIR)
    assert (last.formula, last.forgets_last_bin) == ("sum of M |phi| without the last bin", True)
    first = emdref.check(without(0), TREE, cases=FAIR)
    assert (first.formula, first.forgets_last_bin) == ("sum of M |phi| without the first bin", False)


def test_another_loss_altogether():
    report = emdref.check(lambda p, q: ((p - q) ** 2).sum(), CHAIN)
    assert report.formula is None
    assert not report.passed
    assert "no formula" in str(report)


# --- mistakes of the gradient -----------------------------------------------------------------------------------------


def from_first_bin(p, q):
    r = emdref.emd_grad(p, q, CHAIN, gauge="raw", mass="ignore")
    return r - r[0]


def shifted(p, q):
    return emdref.emd_grad(p, q, CHAIN, mass="ignore") + 0.25


GRADIENTS = {
    "sign flipped": (lambda p, q: -emdref.emd_grad(p, q, CHAIN, mass="ignore"), 1, "zero_sum", -1),
    "mean over bins": (lambda p, q: emdref.emd_grad(p, q, CHAIN, mass="ignore") / 20, 1, "zero_sum", 1 / 20),
    "rho forgotten": (lambda p, q: emdref.emd_grad(p, q, CHAIN, 2, mass="ignore") / 2, 2, "zero_sum", 0.5),
    "another root": (from_first_bin, 1, "raw, rooted at the first bin", 1),
    "another constant": (shifted, 1, "of another constant", 1),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_what_a_gradient_really_is(name):
    function, rho, gauge, factor = GRADIENTS[name]
    report = emdref.check(function, CHAIN, rho=rho)
    assert report.gauge == gauge
    assert report.factor == pytest.approx(factor)
    assert not report.passed
    assert (report.wrong_signs > 0) == (factor < 0)


def test_the_gradient_of_another_power():
    report = emdref.check(lambda p, q: (emdref.emd(p, q, TREE, 2), emdref.emd_grad(p, q, TREE, 1)), TREE, rho=2)
    assert report.findings["value"].ok is True
    assert report.findings["gradient"].ok is False
    assert "that of sum of M |phi|, zero_sum" in report.findings["gradient"].text
    outside = emdref.check(
        lambda p, q: 2 * emdref.emd(p, q, TREE, mass="ignore") * emdref.emd_grad(p, q, TREE, mass="ignore"), TREE, rho=2
    )
    assert "(sum of M |phi|)^2" in outside.findings["gradient"].text


def test_a_gradient_that_is_none():
    report = emdref.check(lambda p, q: p * q, CHAIN)
    assert (report.gauge, report.factor) == (None, None)
    assert not report.passed


def test_one_wrong_sign_is_counted():
    """At the last gap alone, and only where its flow is positive."""

    def wrong(p, q):
        slopes = np.sign(emdref.flow(p, q, CHAIN, mass="ignore"))
        slopes[-1] = -abs(slopes[-1])
        return np.append(np.cumsum(slopes[::-1])[::-1], 0)

    report = emdref.check(wrong, CHAIN, cases="softmax")
    expected = sum(
        emdref.flow(*casebook.pair("softmax", 20, "float64", seed), CHAIN, mass="ignore")[-1] > 0 for seed in range(4)
    )
    assert report.wrong_signs == expected > 0


def test_lost_zeros_are_told_from_wrong_directions():
    """Another subgradient where phi = 0."""

    def other(p, q):
        slopes = np.where(emdref.flow(p, q, CHAIN, mass="ignore") >= 0, 1.0, -1.0)
        return np.append(np.cumsum(slopes[::-1])[::-1], 0)

    report = emdref.check(other, CHAIN, cases="integers")
    assert report.wrong_signs == report.lost_zeros > 0


# --- arithmetic -------------------------------------------------------------------------------------------------------


def apart(p, q):
    return abs(np.cumsum(p) - np.cumsum(q)).sum()


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("n", [3, 4, 20, 1000])
def test_sums_taken_apart(n, dtype):
    report = emdref.check(apart, emdref.Chain(n), dtype=dtype)
    assert report.subtracts_first is False
    together = emdref.check(lambda p, q: abs(np.cumsum(p - q)).sum(), emdref.Chain(n), dtype=dtype, cases="easy")
    assert together.subtracts_first is True
    assert together.forgets_last_bin is False


def test_sums_taken_apart_on_a_tree_and_in_a_gradient():
    def gradient(p, q):
        slopes = np.append(np.sign((np.cumsum(p) - np.cumsum(q))[:-1]), 0)
        return np.cumsum(slopes[::-1])[::-1]

    assert emdref.check(gradient, CHAIN, cases="easy").subtracts_first is False

    def on_a_tree(p, q):
        sums = np.zeros((2, TREE.n_nodes))
        sums[:, TREE.bins] = p, q
        below = [[v for v in range(TREE.n_nodes) if e in path(v)] for e in range(TREE.n_nodes)]
        flows = [sums[0, b].sum() - sums[1, b].sum() for b in below]
        return sum(c * abs(f) for c, f in zip(TREE.cost, flows, strict=True))

    def path(v):
        return (v, *path(TREE.parent[v])) if v >= 0 else ()

    assert emdref.check(on_a_tree, TREE, cases="easy").subtracts_first is False


def test_a_star_adds_nothing_up():
    star = cases.space("star")
    report = emdref.check(lambda p, q: (star.cost[star.bins] * abs(p - q)).sum(), star)
    assert report.subtracts_first is None
    assert report.passed, str(report)


def test_silent_normalisation():
    def silent(p, q):
        return emdref.emd(p, q, CHAIN, mass="normalize")

    report = emdref.check(silent, CHAIN, cases="softmax")
    assert report.unnormalised == "normalised"
    assert report.findings["totals of 3"].ok is False
    gradient = emdref.check(library("emd_grad", CHAIN, gauge="raw"), CHAIN, cases="softmax")
    assert gradient.unnormalised == "as given"


def test_a_function_that_refuses_other_totals():
    def strict(p, q):
        if abs(p.sum() - 1) > 1e-6:
            raise ValueError("not a distribution")
        return emdref.emd(p, q, CHAIN, mass="ignore")

    report = emdref.check(strict, CHAIN, cases="ordinary")
    assert report.unnormalised == "fails: ValueError: not a distribution"
    assert report.passed


def test_float32_that_fails_or_is_inaccurate():
    def only_double(p, q):
        if p.dtype != np.float64:
            raise TypeError("expected double")
        return emdref.emd(p, q, CHAIN, mass="ignore")

    report = emdref.check(only_double, CHAIN, cases="ordinary")
    assert report.findings["float32"] == (False, "fails: TypeError: expected double")
    assert not report.passed

    def coarse(p, q):
        value = emdref.emd(p, q, CHAIN, mass="ignore")
        return value if p.dtype == np.float64 else np.float32(np.float16(value))

    assert emdref.check(coarse, CHAIN, cases="ordinary").findings["float32"].ok is False


def test_arguments_that_are_changed():
    def in_place(p, q):
        p -= q
        return abs(np.cumsum(p)).sum()

    report = emdref.check(in_place, CHAIN, cases="easy")
    assert report.findings["input"].ok is False
    assert report.worst_ulp < 8


def test_nan_at_equality():
    def norm(p, q):
        return (phi(p, q) ** 2).sum() / abs(phi(p, q)).sum()

    assert emdref.check(norm, CHAIN).findings["p = q"] == (False, "NaN or inf")


def test_a_failing_case_loses_no_other():
    def picky(p, q):
        if (p == 0).sum() > 4:
            raise ArithmeticError("too many zeros")
        return emdref.emd(p, q, CHAIN, mass="ignore")

    report = emdref.check(picky, CHAIN)
    assert report.worst.problem == "ArithmeticError: too many zeros"
    assert report.worst_ulp == math.inf
    assert 0 < sum(row["failures"] for row in report.grades.values()) < len(report.results)


# --- errors are what they are said to be ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_errors_in_ulp_against_rationals(dtype):
    """Another program counts: |got - exact| in units of the last place of the exact value."""
    report = emdref.check(lambda p, q: np.abs(np.cumsum(p - q)).sum() * dtype(1.25), UNEVEN, dtype=dtype)
    for result in report.results:
        p, q = result.case.p, result.case.q
        exact = cases.exact_emd(p, q, UNEVEN, 1)
        if result.case.family != "near_overflow":
            got = Fraction(float(np.abs(np.cumsum(p - q)).sum() * dtype(1.25)))
            expected = float(abs(got - exact) / cases.ulp(exact, dtype))
            assert result.value_ulp == pytest.approx(expected, rel=1e-12)


def test_snippets_run_and_show_the_error():
    for space in (CHAIN, emdref.Chain(100), emdref.Tree([-1, 0, 0, 1, 1], [0, 1, 2, 3, 4.5])):
        report = emdref.check(lambda p, q: (0.5, p), space)
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            exec(report.snippet, {"function": lambda p, q: (0.5, p), "space": space})  # as its reader would run it
        assert [line.split(":")[0] for line in shown.getvalue().splitlines() if ":" in line] == [
            "yours",
            "value",
            "gradient",
        ]
        assert report.snippet.replace("\n", "\n    ") in str(report)


def test_cases_make_the_same_arrays_again():
    report = emdref.check(lambda p, q: 0.0, CHAIN)
    for result in report.results:
        names = {"np": np, "emdref": emdref}
        exec(result.case.code(), names)
        np.testing.assert_array_equal(names["p"], result.case.p)
        np.testing.assert_array_equal(names["q"], result.case.q)


def test_own_pairs():
    p, q = np.array([0.5, 0.5, *[0] * 18]), np.array([*[0] * 18, 0.5, 0.5])
    report = emdref.check(library("emd", CHAIN), CHAIN, cases=[(p, q), "easy"])
    assert report.grades["own"]["cases"] == 1
    assert report.results[0].case.p is not p
    assert report.passed


# --- families ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("family", casebook.FAMILIES)
def test_totals_of_a_pair_are_equal_exactly(family, dtype):
    for n in (1, 2, 3, 5, 6, 7, 33, 200):
        for seed in range(3):
            p, q = casebook.pair(family, n, dtype, seed)
            assert p.dtype == q.dtype == dtype
            assert sum(map(Fraction, p.tolist())) == sum(map(Fraction, q.tolist()))
            assert not (np.signbit(p) | np.signbit(q)).any()


def test_families_are_what_they_say():
    p, q = casebook.pair("one_hot", 50)
    assert (q > 0.5).sum() == 1
    assert (q > 1e-15).sum() == 1
    p, q = casebook.pair("one_ulp", 50)
    assert 40 <= (p != q).sum() <= 50
    assert set(abs(p - q) / np.spacing(np.maximum(p, q))) <= {0, 0.5, 1}
    p, q = casebook.pair("block_permuted", 51)
    assert emdref.certify(p, q, emdref.Chain(51)).at_kink[2::3].all()
    assert (np.cumsum(p - q)[2:-1:3] != 0).any()
    p, q = casebook.pair("peaked", 50)
    assert p.max() > 0.4 > 1e-8 > p.min()
    assert casebook.pair("subnormals", 50, "float32")[0].max() <= 3 * np.finfo(np.float32).smallest_subnormal


def test_lognormal_has_the_spread_it_says():
    logs = np.log(casebook.lognormal(np.random.default_rng(0), 20_000, 2.0))
    assert abs(logs.mean()) < 0.05
    assert abs(logs.std() - 2) < 0.04


# --- conventions ------------------------------------------------------------------------------------------------------


def test_batches_of_one():
    def batch(p, q):
        assert p.ndim == 2
        return abs(np.cumsum(p - q, axis=1)).sum(axis=1)

    report = emdref.check(batch, CHAIN, cases="easy")
    assert report.called_with == "numpy arrays of shape (1, N)"
    assert report.passed
    gradient = emdref.check(lambda p, q: library("emd_grad", CHAIN)(p[:, :], q[:, :]), CHAIN, cases="easy")
    assert gradient.passed


class Recorded:
    """As much of a torch tensor as `check` relies on: a leaf that can record, and values that know their gradient."""

    def __init__(self, array, grad=None):
        self.array, self.grad, self.requires_grad = np.asarray(array), grad, grad is not None
        self.dtype, self.shape = self.array.dtype, self.array.shape

    def requires_grad_(self, flag):
        self.requires_grad = flag

    def detach(self):
        return self

    def cpu(self):
        return self

    def numel(self):
        return self.array.size

    def reshape(self, shape):
        return Recorded(self.array.reshape(shape), self.grad)

    def __array__(self, dtype=None, copy=None):
        return self.array


@pytest.fixture
def torch(monkeypatch):
    """A stand-in for the interface of torch: the real one is in the extra [peers], see tests/losses/test_torch.py."""
    autograd = types.SimpleNamespace(grad=lambda value, p, allow_unused: (value.grad,))
    module = types.SimpleNamespace(from_numpy=Recorded, autograd=autograd)
    monkeypatch.setitem(calling.sys.modules, "torch", module)


def test_values_that_record_are_differentiated(torch):
    def loss(p, q):
        value, grad = emdref.emd_value_and_grad(p.array, q.array, CHAIN, mass="ignore")
        return Recorded(value, grad if p.requires_grad else None)

    report = emdref.check(loss, CHAIN, cases=FAIR)
    assert report.called_with == "torch arrays of shape (N,), differentiated by autograd"
    assert report.gauge == "zero_sum"
    assert report.passed


def test_a_framework_that_cannot_record(torch):
    def loss(p, q):
        if p.requires_grad:
            raise RuntimeError("cannot call numpy() on a tensor that requires grad")
        return emdref.emd(p.array, q.array, CHAIN, mass="ignore")

    report = emdref.check(loss, CHAIN, cases=FAIR, framework="torch")
    assert report.called_with == "torch arrays of shape (N,)"
    assert report.passed


def test_jax_in_single_precision_is_refused(monkeypatch):
    numpy = types.SimpleNamespace(asarray=lambda x: x.astype(np.float32))
    monkeypatch.setitem(calling.sys.modules, "jax", types.SimpleNamespace(numpy=numpy))
    with pytest.raises(TypeError, match=r"JAX turned float64 into float32: set .jax_enable_x64"):
        emdref.check(lambda p, q: 0.0, CHAIN, framework="jax")
    assert emdref.check(lambda p, q: 0.0 * p.sum(), CHAIN, framework="jax", dtype="float32", cases="easy").results


def test_cupy_arrays_come_back_by_get(monkeypatch):
    class OnDevice:
        def __init__(self, x):
            self.x, self.__cuda_array_interface__ = x, None

        def get(self):
            return self.x

    monkeypatch.setitem(calling.sys.modules, "cupy", types.SimpleNamespace(asarray=OnDevice))
    loss = lambda p, q: OnDevice(np.float64(emdref.emd(p.x, q.x, CHAIN, mass="ignore")))  # noqa: E731
    assert emdref.check(loss, CHAIN, cases="easy").passed


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((3, CHAIN), {}, TypeError, "function must be callable, not int"),
        ((apart, 20), {}, TypeError, "space must be a Space, such as a Chain or a Tree, not int"),
        ((apart, CHAIN), {"rho": 0.5}, ValueError, "rho = 0.5 must be finite and >= 1"),
        ((apart, CHAIN), {"rho": 1001}, ValueError, "rho = 1001.0 must be from 1 to 1000"),
        ((apart, CHAIN), {"gauge": "sum"}, ValueError, "gauge='sum' is not one of"),
        ((apart, CHAIN), {"dtype": "float16"}, TypeError, "must be float32 or float64"),
        ((apart, CHAIN), {"tol": -1}, ValueError, "tol = -1.0 must be finite and >= 0"),
        ((apart, CHAIN), {"cases": "hardest"}, ValueError, "cases names 'hardest', which is neither of easy, ordinary"),
        ((apart, CHAIN), {"cases": []}, ValueError, "cases is empty"),
        ((apart, CHAIN), {"cases": [1]}, TypeError, r"cases\[0\] must be the name of a grade or family, or a pair"),
        ((apart, CHAIN), {"cases": [([1.0], [1.0])]}, ValueError, r"p has shape \(1,\)"),
        ((apart, CHAIN), {"cases": [(np.ones((2, 20)), np.ones(20))]}, ValueError, r"cases\[0\] is a batch"),
        ((apart, CHAIN), {"framework": "theano"}, ValueError, "framework='theano' is not one of"),
        ((apart, CHAIN), {"framework": "cupy"}, ValueError, "framework='cupy' is not imported"),
        (
            (lambda p: p, CHAIN),
            {},
            TypeError,
            "gave no answer for an ordinary pair, whatever it was called with:\n  numpy",
        ),
        ((lambda p, q: "far", CHAIN), {}, TypeError, "it returned str of <U3: give a value, a gradient"),
        ((lambda p, q: (1, 2, 3), CHAIN), {}, TypeError, "a tuple of 3"),
        ((lambda p, q: p.ravel()[:3], CHAIN), {}, TypeError, r"an array of shape \(3,\), neither one value nor"),
        (
            (lambda p, q: (1.0, p.ravel()[:3]), CHAIN),
            {},
            TypeError,
            r"its gradient has shape \(3,\), expected one entry",
        ),
    ],
)
def test_bad_input(arguments, options, error, message):
    with pytest.raises(error, match=message):
        emdref.check(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("normal", 3), ValueError, "family='normal' is not one of integers"),
        (("softmax", 0), ValueError, "n = 0 must be >= 1"),
        (("softmax", 3, "int8"), TypeError, "must be float32 or float64"),
        (("softmax", 3, "float64", -1), ValueError, "seed=-1 must be an integer >= 0"),
    ],
)
def test_bad_families(arguments, error, message):
    with pytest.raises(error, match=message):
        casebook.pair(*arguments)


# --- the page of findings ---------------------------------------------------------------------------------------------


def test_the_committed_page_has_a_row_for_every_candidate(tmp_path):
    from analysis.sources import third_party

    root = third_party.Path(third_party.__file__).parents[2]
    page = (root / "docs/understand/third_party.md").read_text(encoding="utf-8")
    candidates = [*third_party.candidates(), *third_party.sinkhorn_candidates()]
    rows = [line for line in page.splitlines() if line.startswith("| ") and "| implementation |" not in line]
    assert [line.split(" | ")[0].strip("| ") for line in rows] == [candidate[0] for candidate in candidates]
    assert {line.count(" | ") for line in rows} == {len(third_party.COLUMNS) - 1}
    assert len(third_party.COLUMNS) == len(third_party.SINKHORN_COLUMNS)
    assert not any("not installed" in line for line in rows)


def test_a_missing_peer_is_a_row_that_says_so():
    from analysis.sources import third_party

    def missing():
        raise ImportError

    assert "not installed" in third_party.row("`x.y`", "x", 1, CHAIN, missing)
    assert "not installed" in third_party.sinkhorn_row("`x.y`", "x", 10, missing)
    assert "| 10 | no | 2 |" in third_party.sinkhorn_row(*next(third_party.sinkhorn_candidates()))
    scipy = next(third_party.candidates())
    assert "normalised silently" in third_party.row(*scipy)
