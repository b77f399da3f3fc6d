"""`emdref.check_sinkhorn` on published loops written out in NumPy, and on the same with seeded faults."""

import contextlib
import io
import math

import numpy as np
import pytest

import emdref
import sinkhorn_oracle
from emdref.proof import alternation_fits as fits

N, LAM, CAP = 10, 2.0, 8
CHAIN = emdref.Chain(gaps=[1.0, 0.5, 2.0, 1.0, 0.25, 1.5, 1.0, 0.75, 1.25])
M = CHAIN.distance_matrix()


def check(function, lam=LAM, max_iter=CAP, space=CHAIN, **options):
    return emdref.check_sinkhorn(function, space, lam, max_iter, **options)


# --- published loops, each from its source ----------------------------------------------------------------------------


def algorithm_1(p, q, lam=LAM, cap=CAP):
    """Algorithm 1 of arXiv 1611.07573."""
    K, u = np.exp(-lam * M.astype(p.dtype) - 1), np.ones(N, p.dtype)
    for _ in range(cap):
        v = q / (K.T @ u)
        u = p / (K @ v)
    v = q / (K.T @ u)
    return (u * ((K * M) @ v)).sum(), np.log(u) / lam


def frogner(p, q):
    """Frogner et al. 2015: what Algorithm 1 gives, the gradient centred over the bins that have one."""
    value, grad = algorithm_1(p, q)
    return value, grad - grad[p > 0].mean()


def cuturi(p, q):
    """Cuturi 2013 as its MATLAB code reads: rows with p = 0 go, x = 1/u is iterated from ones / their number."""
    kept = p > 0
    a, K = p[kept], np.exp(-LAM * M[kept])
    x = np.ones(len(a)) / len(a)
    for _ in range(CAP):
        x = (K @ (q / (K.T @ (1 / x)))) / a
    u = 1 / x
    grad = np.full(N, -np.inf)
    grad[kept] = np.log(u) / LAM
    return (u * ((K * M[kept]) @ (q / (K.T @ u)))).sum(), grad


def caffe(p, q):
    """WassersteinLossLayer of BVLC/caffe pull request 3817 with shift_gradient, for one example (errata.md, 6)."""
    K, a = np.exp(-LAM * M - 1), np.ones(N)
    for _ in range(CAP):
        b = q / (K.T @ a)
        a = p / (K @ b)
    plan = a[:, None] * K * b
    grad = np.log(a) / LAM
    there = plan > 0
    return (plan * M).sum() + (plan[there] * np.log(plan[there])).sum() / LAM, grad - grad[p > 0].mean()


def mocha(p, q):
    """Mocha.jl's src/layers/wasserstein-loss.jl, for one example: one line an iteration."""
    K, u = np.exp(-LAM * M), np.ones(N) / N
    for _ in range(CAP):
        u = p / (K @ (q / (u @ K)))
    return (u * ((K * M) @ (q / (K.T @ u)))).sum(), np.log(u) / LAM


LOOPS = {"paper": algorithm_1, "frogner": frogner, "cuturi": cuturi, "caffe": caffe, "mocha": mocha}


@pytest.mark.parametrize("name", LOOPS)
def test_published_loops_are_recognised(name):
    report = check(LOOPS[name])
    assert report.passed, str(report)
    assert (report.variant, report.n_iter, report.told_apart, report.first) == (name, CAP, True, "v")
    assert report.refreshes_v == (name != "caffe") and report.drops_empty == (name == "cuturi")
    assert report.centred == (name in ("frogner", "caffe"))
    assert report.start == {"paper": "ones", "cuturi": "count", "mocha": "inverse"}.get(name)
    assert (report.factor, report.value_factor, report.lam_found, report.precision) == (1, 1, LAM, "float64")
    assert report.worst_error < 1e-13
    other = check(LOOPS[name], variant="paper", cases="easy")
    assert other.passed == (name == "paper")


@pytest.mark.parametrize("name", LOOPS)
def test_the_library_is_recognised_in_float32_and_by_a_matrix(name):
    def mine(p, q):
        r = emdref.sinkhorn(p, q, M, LAM, max_iter=CAP, variant=name)
        return r.value, r.grad

    report = check(mine, space=M, dtype="float32")
    assert report.passed, str(report)
    assert (report.variant, report.n_iter, report.dtype) == (name, CAP, "float32")
    assert "a cost matrix of 10 bins" in str(report)
    # the same loop in the same dtype: the same bits, but for what is constant in log u
    assert max(r.value_alike for r in report.results) < 4 * np.finfo("f4").eps


@pytest.mark.parametrize("name", LOOPS)
def test_errors_are_against_the_oracle(name):
    """Another program, in extended precision, counts the same error of the value."""

    def coarse(p, q):
        value, grad = LOOPS[name](p, q)
        return value * (1 + 2.0**-30), grad

    report = check(coarse, tol=1.0, cases=("mild", "zeros_in_q"))
    for result in report.results:
        p, q = result.case.p, result.case.q
        right = sinkhorn_oracle.sinkhorn(name, p, q, M, LAM, CAP)
        off = abs(coarse(p, q)[0] - right["value"])
        size = right["cost"]
        if name == "caffe":  # the objective is a difference of these, for K = exp(-lam M) and a total of 1
            logs = p[p > 0] @ right["log_u"][p > 0], q[q > 0] @ (right["log_v"][q > 0] - 1)
            size += (sum(map(abs, logs)) + 1) / LAM
        assert result.value == pytest.approx(float(off / size), rel=0.2 if name == "caffe" else 1e-4)
    assert report.worst_ulp == report.worst_error / 2.0**-52


# --- seeded faults ----------------------------------------------------------------------------------------------------


def looped(first="v", cap=CAP, refresh=True, lam=LAM, shift=1, start=1.0, value="cost", kind=None):
    """Algorithm 1 with its switches open."""

    def function(p, q):
        dtype = kind or p.dtype
        p, q = p.astype(dtype), q.astype(dtype)
        K = np.exp(-lam * M - shift).astype(dtype)
        u = v = np.full(N, start, dtype)
        for i in range(2 * cap + refresh):
            if (i % 2 == 0) == (first == "v"):
                v = q / (K.T @ u)
            else:
                u = p / (K @ v)
        plan = u[:, None] * K * v
        found = (plan * M).sum()
        if value == "objective":
            found += (plan * np.log(np.where(plan > 0, plan, 1))).sum() / lam
        return found, np.log(u) / lam

    return function


@pytest.mark.parametrize("cap", [CAP - 1, CAP + 1])
def test_a_cap_that_is_off_by_one(cap):
    report = check(looped(cap=cap))
    assert (report.n_iter, report.told_apart, report.variant) == (cap, True, "paper")
    assert report.findings["iterations"] == (False, f"{cap}, not {CAP}") and not report.passed


@pytest.mark.parametrize("refresh", [False, True])
@pytest.mark.parametrize("first", ["u", "v"])
def test_what_is_updated_first_and_last(first, refresh):
    report = check(looped(first, refresh=refresh))
    assert (report.first, report.refreshes_v, report.n_iter) == (first, refresh, CAP)
    assert report.variants == (("paper",) if (first, refresh) == ("v", True) else ())
    assert report.passed, str(report)  # a right loop, though no published one
    if not report.variants:
        assert "none of paper, frogner" in report.findings["variant"].text


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("start", [1.0, 1 / N, float(N)])
def test_start_and_shift_of_a_loop_that_starts_with_u(start, shift):
    report = check(looped("u", start=start, shift=shift), cases="mild")
    assert (report.start, report.shift) == ({1.0: "ones", 1 / N: "inverse", N: "count"}[start], shift)


LAMS = {"1/lam for lam": 1 / 3, "N lam": 3.0 * N, "2 lam": 6.0, "lam/max(M)": 3 / M.max(), "lam/mean(M)": 3 / M.mean()}


@pytest.mark.parametrize("name", LAMS)
def test_a_lam_of_another_convention(name):
    report = check(looped(lam=LAMS[name]), lam=3.0, cases="mild")
    assert report.lam_found == pytest.approx(LAMS[name]) and name in report.findings["lam"].text
    assert not report.passed and report.n_iter == CAP and report.value_factor == 1


def test_scaled_costs():
    """As OTT's scale_cost="mean" has it: the value is in other units as well."""
    mean, inner = M.mean(), looped(lam=3.0 / M.mean())
    report = check(lambda p, q: inner(p, q)[0] / mean, lam=3.0, cases="mild")
    assert "lam/mean(M)" in report.findings["lam"].text
    assert report.value_factor == pytest.approx(1 / mean) and report.n_iter == CAP


def test_float32_inside():
    report = check(looped(kind=np.float32), cases=("mild", "softmax"))
    assert (report.variant, report.n_iter, report.precision) == ("paper", CAP, "float32")
    assert report.findings["precision"].ok is False and not report.passed
    assert 1e-9 < report.worst_error < 1e-5


FACTORS = {
    "value over a batch": (lambda v, g: (v / 16, g), "value", "0.0625 times <T, M>"),
    "value a mean over the plan": (lambda v, g: (v / N**2, g), "value", "0.01 (1/N^2) times <T, M>"),
    "value times N": (lambda v, g: (N * v, g), "value", "10 (N) times <T, M>"),
    "gradient without 1/lam": (lambda v, g: (v, LAM * g), "gradient", "2 (lam) times log u, over lam"),
    "sign flipped": (lambda v, g: (v, -g), "gradient", "-1 times log u, over lam"),
}


@pytest.mark.parametrize("name", FACTORS)
def test_factors(name):
    change, what, text = FACTORS[name]
    report = check(lambda p, q: change(*algorithm_1(p, q)), cases="mild")
    assert report.findings[what] == (False, text) and not report.passed and report.variants == ()


def test_centring_that_is_missing_or_meets_empty_bins():
    report = check(lambda p, q: (caffe(p, q)[0], algorithm_1(p, q)[1]), cases="mild", variant="caffe")
    assert report.centred is False and report.variant is None and not report.passed
    assert "nearest caffe, but for its constant" in report.findings["variant"].text

    def centred(p, q):
        grad = algorithm_1(p, q)[1]
        return algorithm_1(p, q)[0], grad - grad.mean()

    report = check(centred)
    assert report.variant == "frogner" and report.findings["empty bins of p"].ok is False
    assert {r.case.family for r in report.results if r.problem} >= {"zeros_in_p", "apart", "opposite_ends"}


def test_dropped_empty_bins_are_told_from_kept_ones():
    kept, dropped = check(mocha, cases="zeros_in_p"), check(cuturi, cases="zeros_in_p")
    assert (kept.drops_empty, dropped.drops_empty) == (False, True)
    assert kept.passed and dropped.passed
    assert "the gradient there is -inf" in kept.findings["empty bins of p"].text


def test_gradients_of_q_and_of_the_truncated_iteration():
    report = check(lambda p, q: (algorithm_1(p, q)[0], algorithm_1(q, p)[1]), cases="mild")
    assert report.gradient in ("log v", None) and not report.passed

    def unrolled(p, q):
        r = emdref.sinkhorn(p, q, M, LAM, max_iter=CAP, unrolled=True)
        return r.value, r.grad_unrolled.value

    report = check(unrolled, cases="mild")
    assert report.gradient == "d(<T, M>)/dp, unrolled" and report.factor == 1
    assert report.constant == "sum of p g is 0"


def test_another_function_altogether():
    report = check(lambda p, q: ((p - q) ** 2).sum())
    assert (report.value, report.variant, report.n_iter, report.passed) == (None, None, None, False)
    assert "none of paper, frogner, cuturi, caffe, mocha; nearest: " in report.findings["variant"].text
    assert "off by" in report.closest
    assert math.isnan(report.worst_error) and "no case could be compared" in str(report)


# --- readings of the value --------------------------------------------------------------------------------------------


def reading(kind):
    """One reading of the plan of Algorithm 1 after its last u, with K = exp(-lam M)."""

    def function(p, q):
        K, u = np.exp(-LAM * M), np.ones(N)
        for _ in range(CAP):
            v = q / (K.T @ u)
            u = p / (K @ v)
        T, log_u, log_v = u[:, None] * K * v, np.log(u), np.log(v)
        entropy, cost, mass = (T * np.log(T)).sum(), (T * M).sum(), T.sum()
        return {
            "<T, M>": cost,
            "<T, M> + <T, log T> / lam": cost + entropy / LAM,
            "<T, M> + <T, log T - 1> / lam": cost + (entropy - mass) / LAM,
            "<T, M> + <T, log T + 1> / lam": cost + (entropy + mass) / LAM,
            "<T, M> + KL(T | p q^T) / lam": cost + (T * np.log(T / np.outer(p, q))).sum() / LAM,
            "(<p, log u> + <q, log v>) / lam": (p @ log_u + q @ log_v) / LAM,
            "(<p, log u> + <q, log v> - |T|) / lam": (p @ log_u + q @ log_v - mass) / LAM,
            "(<p, log u/p> + <q, log v/q>) / lam": (p @ np.log(u / p) + q @ np.log(v / q)) / LAM,
            "(<p, log u> + <q, log v>) / lam with K = exp(-lam M - 1)": (p @ (log_u + 1) + q @ log_v) / LAM,
            fits.CONCAVE: cost - entropy / LAM,
        }[kind]

    return function


@pytest.mark.parametrize("kind", fits.KINDS)
def test_readings_of_the_value(kind):
    report = check(reading(kind), cases="mild")
    assert (report.value, report.value_factor, report.n_iter, report.refreshes_v) == (kind, 1, CAP, False)
    assert report.passed == (kind != fits.CONCAVE), str(report)
    assert report.worst_error < 1e-13


def test_a_plan_is_compared_entry_by_entry():
    """Transposed it has the same value where M is symmetric, and so has any mean of the two."""

    def plan(p, q):
        u = np.ones(N)
        for _ in range(CAP):
            u = p / (K @ (q / (K.T @ u)))
        return u[:, None] * K * (q / (K.T @ u))

    K = np.exp(-LAM * M - 1)
    assert check(plan, cases="mild").findings["plan"] == (True, "rows are p's bins, columns q's")
    turned = check(lambda p, q: plan(p, q).T, cases="mild")
    assert "transposed" in turned.findings["plan"].text and not turned.passed
    both = check(lambda p, q: (plan(p, q) + plan(p, q).T) / 2, cases="mild")
    assert "entries are off by" in both.findings["plan"].text and not both.passed


def test_a_value_near_another_is_not_taken_for_float32():
    """Where the gradient is right to float64."""

    def mine(p, q):
        value, grad = algorithm_1(p, q)
        return value * (1 + 1e-8 * np.sin(1e3 * p[0])), grad

    report = check(mine, cases="mild")
    assert report.precision == "float64" and "precision" not in report.findings
    assert not report.passed
    assert report.findings["value"].text.startswith("<T, M>, but off by ")


@pytest.mark.parametrize("kind", [fits.COST, "<T, M> + KL(T | p q^T) / lam"])
def test_a_divergence_without_bias(kind):
    value = reading(kind)
    report = check(lambda p, q: value(p, q) - (value(p, p) + value(q, q)) / 2, cases="mild")
    assert (report.value, report.n_iter, report.variants) == ("debiased " + kind, CAP, ())


# --- what cannot be told, and what stops early ------------------------------------------------------------------------


def test_values_alone_do_not_tell_constants():
    report = check(lambda p, q: algorithm_1(p, q)[0])
    assert report.variants == ("paper", "frogner", "mocha") and report.variant is None and report.passed
    gradient = check(lambda p, q: algorithm_1(p, q)[1])
    assert (gradient.variant, gradient.n_iter, gradient.refreshes_v) == ("paper", CAP, None)


def test_a_converged_iteration_says_so():
    report = check(looped(cap=400, lam=0.5), lam=0.5, max_iter=400, cases="easy")
    assert report.passed, str(report)
    assert (report.n_iter, report.told_apart, report.first, report.refreshes_v) == (400, False, None, None)
    assert "it has converged" in report.findings["iterations"].text
    assert "not told apart" in report.findings["updates"].text


def test_an_early_stop_is_found():
    def stopping(p, q, tol=1e-6):
        K, u = np.exp(-LAM * M), np.ones(N)
        for count in range(1, 301):
            v = q / (K.T @ u)
            u = p / (K @ v)
            if count % 10 == 0 and abs(v * (K.T @ u) - q).sum() < tol:
                break
        stopped.append(count)
        return (u[:, None] * K * v * M).sum()

    stopped = []
    report = check(stopping, max_iter=300, cases="easy")
    assert report.stops_early and report.n_iter == tuple(stopped[1:6]) and len(set(report.n_iter)) > 1
    assert report.passed, str(report)
    assert "stops early" in report.findings["iterations"].text


@pytest.mark.parametrize("name", ["ot.sinkhorn", "ot.sinkhorn2", "log domain"])
def test_pot(name):
    """Its plan after the last u, and a stop that is looked for every ten iterations, counted from 0."""
    ot = pytest.importorskip("ot")
    options = {"numItermax": 100, "warn": False}

    def mine(p, q):
        if name == "ot.sinkhorn2":
            return ot.sinkhorn2(p, q, M, 1 / LAM, **options)
        return ot.sinkhorn(p, q, M, 1 / LAM, method="sinkhorn_log" if name == "log domain" else "sinkhorn", **options)

    report = check(mine, max_iter=100, cases="mild")
    assert report.passed and report.value == "<T, M>", str(report)
    assert all(n % 10 == 1 or n == 100 for n in report.n_iter)
    capped = check(lambda p, q: ot.sinkhorn(p, q, M, 1 / LAM, numItermax=CAP, stopThr=0, warn=False), cases="easy")
    assert (capped.n_iter, capped.refreshes_v, capped.first) == (CAP, False, "v")
    taken = check(lambda p, q: ot.sinkhorn(p, q, M, LAM, numItermax=CAP, stopThr=0, warn=False), lam=3.0, cases="easy")
    assert taken.lam_found == pytest.approx(1 / LAM, rel=1e-12) or not taken.passed


# --- where it fails ---------------------------------------------------------------------------------------------------


def test_underflow_is_shown_with_its_case():
    report = check(looped(lam=500.0), lam=500.0)
    assert not report.passed and report.failures > 0 and math.isinf(report.worst_error)
    failed = [r for r in report.results if r.problem]
    assert "opposite_ends" in {r.case.family for r in failed}
    assert all(r.status in ("nan", "underflow", "overflow") for r in failed)
    logs = check(lambda p, q: emdref.sinkhorn(p, q, M, 500.0, max_iter=CAP, domain="log").value, lam=500.0)
    assert logs.passed, str(logs)


def test_all_pairs_fail():
    report = check(lambda p, q: math.nan)
    assert not report.passed and report.variant is None and report.failures == len(report.results)
    assert "cannot be told" in report.findings["ordinary pairs"].text and "NaN" in str(report)


def test_an_exception_is_the_failure_of_its_case():
    def picky(p, q):
        if (p == 0).any():
            raise ArithmeticError("no mass\nand more")
        return algorithm_1(p, q)

    report = check(picky)
    assert report.variant == "paper" and report.worst.problem == "ArithmeticError: no mass"
    assert {r.case.family for r in report.results if r.problem} == {
        "zeros_in_p",
        "apart",
        "opposite_ends",
        "spread",
    } - {family for family in ("spread",) if not any(r.problem for r in report.results if r.case.family == family)}
    assert 0 < report.failures < len(report.results) and not report.grades["hard"]["passed"]


def test_snippets_run_and_cases_come_again():
    for space, n in ((CHAIN, N), (M[:4, :4], 4), (emdref.Chain(40), 40)):
        report = emdref.check_sinkhorn(lambda p, q: math.nan, space, LAM, CAP)
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            exec(report.snippet, {"function": lambda p, q: math.nan, "space": space})  # as its reader would run it
        assert [line.split(":")[0] for line in shown.getvalue().splitlines()][:2] == ["yours", "emdref"]
        for result in report.results:
            names = {"np": np, "emdref": emdref}
            exec(result.case.code(), names)
            np.testing.assert_array_equal(names["p"], result.case.p)
            np.testing.assert_array_equal(names["q"], result.case.q)
            assert abs(result.case.p.sum() - 1) + abs(result.case.q.sum() - 1) < 1e-14 * n


def test_small_spaces_and_own_pairs():
    for n in (1, 2):
        space = emdref.Chain(n)
        cost = space.distance_matrix()

        def mine(p, q, cost=cost):
            r = emdref.sinkhorn(p, q, cost, LAM, max_iter=CAP)
            return r.value, r.grad

        assert check(mine, space=space).passed
    p, q = np.full(N, 0.1), np.eye(N)[3]
    report = check(algorithm_1, cases=[(p, q), "mild"])
    assert report.grades["own"]["cases"] == 1 and report.passed


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"function": 3}, TypeError, "function must be callable, not int"),
        ({"lam": 0.0}, ValueError, "lam = 0.0 must be finite and > 0"),
        ({"lam": math.nan}, ValueError, "lam"),
        ({"max_iter": 0}, ValueError, "max_iter"),
        ({"space": M[:3]}, ValueError, "cost has shape"),
        ({"space": M + np.eye(N)}, ValueError, "lies on the diagonal"),
        ({"variant": "papers"}, ValueError, "variant='papers' is not one of paper"),
        ({"variant": "overrelaxed"}, ValueError, "is emdref's own: what is published is paper"),
        ({"cases": "hardest"}, ValueError, "cases names 'hardest', which is neither of easy"),
        ({"cases": []}, ValueError, "cases is empty"),
        ({"cases": [(np.ones(N), 2 * np.ones(N))]}, ValueError, "apart"),
        ({"cases": ["mild", (np.ones(N), -np.ones(N))]}, ValueError, r"cases\[1\], \(p, q\): q\[0\] = -1.0"),
        ({"cases": [3]}, TypeError, r"cases\[0\] must be the name"),
        ({"dtype": "float16"}, TypeError, "float16"),
        ({"tol": -1}, ValueError, "tol"),
        ({"framework": "numpi"}, ValueError, "framework="),
        ({"function": lambda p, q: np.zeros(3)}, TypeError, "function gave no answer"),
        ({"function": lambda p, q: (p, q, p)}, TypeError, "function gave no answer"),
        ({"function": lambda p, q: {"loss": 1}}, TypeError, "function gave no answer"),
    ],
)
def test_what_is_refused(change, error, message):
    options = {"function": algorithm_1, **change}
    with pytest.raises(error, match=message) as caught:
        check(**options)
    assert len(str(caught.value)) <= 300
