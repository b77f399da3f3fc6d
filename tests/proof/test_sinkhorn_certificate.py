"""Intervals around the entropic optimum against closed forms, an explicit matrix in 70 digits, POT, and theory."""

import dataclasses
import math
from decimal import Context, Decimal, FloatOperation, Inexact, localcontext
from fractions import Fraction

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import cases
import emdref
import oracles
import sinkhorn_oracle
from emdref.entropic import gibbs, newton
from emdref.proof import decimal_gibbs, potentials
from emdref.spaces.matrix import Matrix

LAMBDAS = [1e-3, 0.1, 1.0, 30.0, 1e3, 1e4]
SMALL = {
    "chain": emdref.Chain(gaps=[0.5, 1.0, 0.0, 2.0, 0.3]),
    "tree": emdref.Tree([3, 0, 0, -1, 3, 4, 4, 4, 6], [1, 0.5, 2, 0, 0.7, 0, 1.5, 1, 0.2], bins=[1, 2, 5, 8, 7, 4]),
}


def distances(space):
    """Exact distances: the costs of the edges that have one of two bins below, not both."""
    edges = list(cases.edges(space).values())
    bins = range(space.n_bins)
    return [[sum((c for c, under in edges if (i in under) != (j in under)), Fraction(0)) for j in bins] for i in bins]


def truth(p, q, cost, lam):
    """The optimum of the pair with q scaled to p's total."""
    p, q = oracles.fractions(p), oracles.fractions(q)
    return sinkhorn_oracle.entropic_optimum(p, [x * sum(p) / sum(q) for x in q], cost, lam)


def pair(seed, n=6, dtype=np.float64, empty=0.0):
    rng = np.random.default_rng(seed)
    x = np.exp(rng.normal(size=(2, n))) * (rng.random((2, n)) >= empty)
    x[:, 0] += 0.1
    return (x / x.sum(1, keepdims=True)).astype(dtype)


def assert_encloses(c, value):
    assert c.status == "proven"
    assert Fraction(c.lower) <= value <= Fraction(c.upper)
    assert Fraction(c.dual_value) <= value


def relative(c):
    return c.gap / max(abs(c.lower), abs(c.upper))


# --- independent truth ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lam", LAMBDAS)
@pytest.mark.parametrize("total", [1.0, 3.0, 1e-6])
@pytest.mark.parametrize("gap", [0.0, 0.01, 1.0])
def test_two_bins_in_closed_form(lam, total, gap):
    p, q = total * np.array([0.75, 0.25]), total * np.array([0.125, 0.875])
    want = sinkhorn_oracle.two_bins(*map(oracles.fractions, (p, q)), Fraction(gap), lam)
    for where in (emdref.Chain(gaps=[gap]), np.array([[0, gap], [gap, 0]])):
        c = emdref.certify_sinkhorn(p, q, where, lam)
        assert_encloses(c, want)
        assert relative(c) < 1e-11  # lam M eps of the potentials' logarithms, times log(1/defect)


@pytest.mark.parametrize("lam", [1e-3, 0.5, 4.0, 20.0])
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("empty", [0.0, 0.5])
def test_small_spaces_against_an_explicit_matrix(name, lam, empty):
    p, q = pair(3, empty=empty)
    want = truth(p, q, distances(SMALL[name]), lam)
    c = emdref.certify_sinkhorn(p, q, SMALL[name], lam)
    assert_encloses(c, want)
    assert c.solver_status == "converged"
    assert relative(c) < 1e-12
    dense = emdref.certify_sinkhorn(p, q, SMALL[name].distance_matrix(), lam)
    assert max(c.lower, dense.lower) <= min(c.upper, dense.upper) + 1e-14 / lam  # the matrix has rounded distances
    assert relative(dense) < 1e-12


@pytest.mark.parametrize("name", cases.SPACES)
@pytest.mark.parametrize("family", ["flat_softmax", "peaked_softmax", "block_permuted", "integers", "local_moves"])
def test_spaces_of_all_shapes(name, family):
    space, p, q = cases.case(name, family, np.float64)
    want = truth(p, q, distances(space), 0.125)
    c = emdref.certify_sinkhorn(p, q, space, 0.125)
    assert_encloses(c, want)
    assert relative(c) < 1e-13


def test_a_cost_matrix_of_no_tree():
    points = np.random.default_rng(5).random((7, 2))
    cost = np.hypot(*(points[:, None] - points).T)
    cost = np.maximum(cost, cost.T)
    p, q = pair(8, 7, empty=0.3)
    c = emdref.certify_sinkhorn(p, q, cost, 9.0)
    assert_encloses(c, truth(p, q, [oracles.fractions(line) for line in cost], 9.0))
    assert relative(c) < 1e-12
    assert c.emd is None
    assert c.transport_cost[0] <= emdref.sinkhorn(p, q, cost, 9.0, max_iter=5000).value + 1e-9


@pytest.mark.parametrize(
    ("name", "lam"), [*((name, lam) for name in cases.SPACES for lam in LAMBDAS), ("wordnet", 0.1), ("wordnet", 1e3)]
)
def test_one_hot_target_forces_the_plan(name, lam):
    space = cases.space(name)
    p, q = cases.histograms("one_hot_target", space.n_bins, np.float32)
    p = p.astype(np.float64)
    p[0] += 1 - p.sum()
    k, edges = int(np.argmax(q)), list(cases.edges(space).values())
    assert sum(oracles.fractions(p)) == 1
    with localcontext(Context(prec=60)):
        logs = sum(Decimal(x) * Decimal(x).ln() for x in p.tolist() if x) / Decimal(lam)
    to_k = [sum((c for c, under in edges if (i in under) != (k in under)), Fraction(0)) for i in range(space.n_bins)]
    want = Fraction(logs) + sum(a * d for a, d in zip(oracles.fractions(p), to_k, strict=True))
    c = emdref.certify_sinkhorn(p, q.astype(np.float64), space, lam)
    assert_encloses(c, want)
    assert c.gap <= 2 * np.spacing(abs(c.upper))
    assert c.entropy_bound == 0


@pytest.mark.parametrize("lam", [0.3, 5.0])
def test_against_pot(lam):
    p, q = pair(17)
    cost = SMALL["tree"].distance_matrix()
    plan = ot.bregman.sinkhorn_log(p, q, cost, 1 / lam, numItermax=100_000, stopThr=1e-14)
    lower, upper = emdref.certify_sinkhorn(p, q, SMALL["tree"], lam)
    value = (plan * cost).sum() + (plan * np.log(plan)).sum() / lam
    assert lower - 1e-12 <= value <= upper + 1e-12


@pytest.mark.parametrize("lam", [0.1, 3.0])
def test_wordnet_converges_to_the_objective(lam):
    tree = emdref.wordnet_tree()
    p, q = pair(2, 1000)
    c = emdref.certify_sinkhorn(p, q, tree, lam)
    assert relative(c) < 1e-11
    run = emdref.sinkhorn(p, q, tree, lam, domain="log", max_iter=1, init=c.potentials)
    assert_allclose(run.objective, c.lower, rtol=1e-11)
    assert c.transport_cost[0] <= run.value + 1e-11 and run.value <= c.transport_cost[1] + 1e-11


# --- potentials prove something however bad they are ------------------------------------------------------------------


@pytest.mark.parametrize("spread", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("seed", range(4))
def test_any_potentials_bound_the_optimum(spread, seed):
    p, q = pair(seed, empty=0.3)
    cost, lam = distances(SMALL["tree"]), 2.0
    want = truth(p, q, cost, lam)
    log = spread * np.random.default_rng(seed).normal(size=(2, 6))
    for where in (SMALL["tree"], SMALL["tree"].distance_matrix()):
        c = emdref.certify_sinkhorn(p, q, where, lam, max_iter=0, init=tuple(log))
        assert_encloses(c, want)
        assert want <= Fraction(c.primal_value)
        assert c.solver_status == "given"
        assert c.dual_value < c.primal_value


def test_more_iterations_never_leave_the_interval_and_narrow_it():
    p, q = pair(4)
    runs = [emdref.certify_sinkhorn(p, q, SMALL["chain"], 15.0, max_iter=k) for k in (1, 5, 25, 200, 10_000)]
    widths = [c.primal_value - c.dual_value for c in runs]
    assert widths == sorted(widths, reverse=True)
    assert all(a.lower <= runs[-1].upper and runs[-1].lower <= a.upper for a in runs)
    assert all(c.n_iter <= k for c, k in zip(runs, (1, 5, 25, 200, 10_000), strict=True))


def test_the_plan_is_altschulers():
    p, q = pair(6)
    log_v = np.random.default_rng(1).normal(size=6)
    kernel = np.exp(-2.0 * SMALL["tree"].distance_matrix() - 1)
    plan = kernel * np.exp(log_v)
    plan *= (p / plan.sum(1))[:, None]
    assert_allclose(
        (c := emdref.certify_sinkhorn(p, q, SMALL["tree"], 2.0, max_iter=0, init=(log_v, log_v))).marginal_error,
        abs(plan.sum(0) - q).sum(),
        rtol=1e-12,
    )
    plan *= np.minimum(1, q / plan.sum(0))
    e, f = p - plan.sum(1), q - plan.sum(0)
    plan += np.outer(e, f) / e.sum()
    cost = (plan * SMALL["tree"].distance_matrix()).sum()
    assert_allclose(c.transport_cost, cost, rtol=1e-12)
    assert cost + (plan * np.log(plan)).sum() / 2.0 <= c.primal_value


@pytest.mark.parametrize("lam", [50.0, 1e3, 1e4])
@pytest.mark.parametrize("name", cases.SPACES)
def test_converges_where_the_iteration_alone_does_not(name, lam):
    space, p, q = cases.case(name, "flat_softmax", np.float64)
    c = emdref.certify_sinkhorn(p, q, space, lam)
    assert c.solver_status == "converged"
    assert c.primal_value - c.dual_value < 1e-10 * abs(c.lower)  # 2e-3 on the path after 10 000 iterations alone
    assert emdref.sinkhorn(p, q, space, lam, max_iter=1000, domain="log").marginal_error > 1e-13


def nearly_apart(way):
    """A pair with an empty bin each, where Sinkhorn's iteration is slow, as `newton.improve` takes it."""
    space, p, q = cases.case("path", "flat_softmax", np.float64)
    p, q = (x * (np.arange(15) != k) for x, k in ((p, 3), (q, 5)))
    cost = space.distance_matrix()
    plan = way(space, np.float64, 3.0, 1) if way is gibbs.SpaceLog else way(cost, 3.0, 1)
    return plan, p / p.sum(), q / q.sum(), space, np.exp(-3.0 * cost - 1)


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize("way", [gibbs.SpaceLog, gibbs.DenseLog])
def test_newtons_steps_reach_a_tolerance_within_their_limit(way):
    plan, p, q, space, kernel = nearly_apart(way)
    start = emdref.sinkhorn(p, q, space, 3.0, domain="log", max_iter=50)
    assert start.marginal_error > 1e-9
    log_u, log_v, used = newton.improve(plan, p, q, start.log_v, 1e-12, 2000)
    _, rough, few = newton.improve(plan, p, q, start.log_v, 1e-12, 20)
    u, v = np.exp(log_u), np.exp(log_v)
    logs = sum(np.abs(x[np.isfinite(x)]).max() for x in (log_u, log_v, np.log(kernel)))
    rounding = 2 * logs * np.finfo(float).eps  # each half an ulp of its logarithm off, here and in the plan
    assert_allclose(u * (kernel @ v), p, rtol=rounding)
    assert abs(v * (kernel @ u) - q).sum() < 1e-12 + rounding
    assert few < 28 < used < 2000 and not np.array_equal(rough, log_v)
    assert (log_u[3], log_v[5]) == (-np.inf, -np.inf)


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize("way", [gibbs.SpaceLog, gibbs.DenseLog])
def test_newtons_step_has_no_part_that_is_rounding_alone(way):
    """Close to the solution it only undoes what was added: conjugate gradients' steps grow toward what they seek."""
    plan, p, q, space, _ = nearly_apart(way)
    start = emdref.sinkhorn(p, q, space, 3.0, domain="log", max_iter=50)
    _, log_v, _ = newton.improve(plan, p, q, start.log_v, 1e-12, 2000)
    for added in np.random.default_rng(0).normal(scale=1e-9, size=(20, 15)):
        at = newton._Point(plan, p, q, log_v + added)
        step, _ = newton._direction(at, 200)
        assert at.dot(step, step) < 1.001 * at.dot(added, added)
        assert newton._Point(plan, p, q, at.log_v + step).defect < 1e-12 < at.defect


def test_a_limit_on_products_is_kept():
    space, p, q = cases.case("path", "flat_softmax", np.float64)
    for most in (1, 2, 150, 201, 500, 3000):
        assert emdref.certify_sinkhorn(p, q, space, 1e4, max_iter=most).n_iter <= most


def test_a_constant_in_log_v_does_not_matter():
    p, q = pair(6)
    log_v = np.arange(6.0)
    a, b = (
        emdref.certify_sinkhorn(p, q, SMALL["tree"], 2.0, max_iter=0, init=(log_v, log_v + x)) for x in (0.0, 2.0**20)
    )
    assert tuple(a) == tuple(b)


def test_without_potentials_entropies_bound():
    p, q = pair(7)
    for lam in LAMBDAS:
        c = emdref.certify_sinkhorn(p, q, SMALL["chain"], lam, max_iter=0)
        best = emdref.certify_sinkhorn(p, q, SMALL["chain"], lam)
        assert (c.dual_value, c.primal_value, c.potentials) == (-math.inf, math.inf, None)
        assert c.lower <= best.upper and best.lower <= c.upper
        assert c.gap <= c.entropy_bound * (1 + 1e-12) + 2 * np.spacing(abs(c.upper))
        assert c.verify()


@pytest.mark.parametrize("lam", [1e20, 1e300])
def test_what_no_exponential_can_hold_is_proven_by_entropies(lam):
    p, q = pair(7)
    c = emdref.certify_sinkhorn(p, q, SMALL["chain"], lam)
    assert (c.status, c.solver_status, c.potentials) == ("proven", "overflow", None)
    assert Fraction(c.lower) <= c.emd and c.gap <= 2 * np.spacing(c.upper)


def test_the_gap_to_emd_is_that_of_theory():
    p, q = pair(9, empty=0.2)
    for lam in LAMBDAS:
        c = emdref.certify_sinkhorn(p, q, SMALL["tree"], lam)
        least = min(-sum(x * math.log(x) for x in y if x) for y in (p, q)) / lam
        assert_allclose(c.entropy_bound, least, rtol=1e-13)
        assert c.emd <= Fraction(c.transport_cost[1])
        assert Fraction(c.transport_cost[0]) - c.emd <= least * 1.0001


# --- totals, dtypes, ranges -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_totals_that_differ_by_rounding_are_scaled_exactly(dtype):
    x = np.random.default_rng(11).random((2, 6)).astype(dtype)
    p, q = x / x.sum(1, keepdims=True)
    q[0] = np.nextafter(q[0], dtype(1))
    c = emdref.certify_sinkhorn(p, q, SMALL["tree"], 2.0)
    assert c.q_scale == sum(oracles.fractions(p)) / sum(oracles.fractions(q)) != 1
    assert_encloses(c, truth(p, q, distances(SMALL["tree"]), 2.0))
    assert c.emd == emdref.exact.emd(p, [Fraction(float(y)) * c.q_scale for y in q], SMALL["tree"])
    assert relative(c) < 1e-12 and c.verify()
    assert emdref.certify_sinkhorn(p, p[::-1], SMALL["tree"], 2.0).q_scale == 1


def test_one_bin_and_equal_histograms():
    c = emdref.certify_sinkhorn([3], [3], emdref.Chain(1), 2.0)
    assert_encloses(c, Fraction(3 * Decimal(3).ln() / 2))
    assert c.gap <= 2 * np.spacing(c.upper)
    p, _ = pair(1)
    c = emdref.certify_sinkhorn(p, p, SMALL["chain"], 0.5)
    assert_encloses(c, truth(p, p, distances(SMALL["chain"]), 0.5))
    assert c.emd == 0


def test_bins_without_distance_need_no_iteration():
    p, q = pair(12)
    space = emdref.Chain(gaps=np.zeros(5))
    product = sum(x * math.log(x) for x in np.outer(p, q).ravel())
    lower, upper = emdref.certify_sinkhorn(p, q, space, 0.5)
    assert_allclose([lower, upper], 2 * product, rtol=1e-14)


@pytest.mark.parametrize("family", ["cancelling", "spread", "one_ulp", "subnormals", "near_overflow"])
@pytest.mark.parametrize("lam", [1e-2, 1e2])
def test_hostile_masses(family, lam):
    space = cases.space("random_tree")
    p, q = cases.histograms(family, space.n_bins, np.float64)
    c = emdref.certify_sinkhorn(p, q, space, lam, max_iter=2000)
    assert c.lower <= c.upper and c.solver_status in ("converged", "iteration_limit")
    if family == "near_overflow":  # m log m / lam is beyond float64, and so is EMD
        assert c.status == "overflow"
        assert c.upper == math.inf or c.lower == -math.inf
    else:
        assert c.status == "proven" and relative(c) < 1e-2
        assert c.verify()


def test_an_optimum_beyond_float64_has_a_status_and_true_bounds():
    c = emdref.certify_sinkhorn([0.5, 0.5], [0.25, 0.75], emdref.Chain(2), 1e-310)
    assert (c.status, c.lower, c.gap) == ("overflow", -math.inf, math.inf)
    assert c.upper == -np.finfo(np.float64).max
    c = emdref.certify_sinkhorn(
        [0.5, 0.5], [0.25, 0.75], emdref.Chain(2), 1e-310, max_iter=0, init=np.zeros((2, 2)).tolist()
    )
    assert (c.status, c.lower, c.gap) == ("overflow", -math.inf, math.inf)
    assert c.transport_cost[0] <= 0.5 <= c.transport_cost[1]  # each bin sends half its mass across
    c = emdref.certify_sinkhorn([1e300, 0], [0, 1e300], emdref.Chain(gaps=[1e300]), 1.0)
    assert (c.status, c.lower, c.upper) == ("overflow", np.finfo(np.float64).max, math.inf)


def test_dust_beside_one_bin_counts():
    p = [1.0, 1e-70]
    c = emdref.certify_sinkhorn(p, p[::-1], emdref.Chain(2), 1.0)
    with localcontext(Context(prec=200)):
        share = Decimal(p[1]) / (1 + Decimal(p[1]))
        want = (1 + Decimal(p[1])) * -(share * share.ln() + (1 - share) * (1 - share).ln())
    assert Fraction(want) <= Fraction(c.entropy_bound) <= Fraction(want) + Fraction(1, 10**27)
    assert_encloses(c, sinkhorn_oracle.two_bins(*map(oracles.fractions, (p, p[::-1])), Fraction(1), 1.0))


def test_a_failing_solver_leaves_what_needs_no_potentials(monkeypatch):
    def failing(rows, *args):
        result = emdref.sinkhorn(rows.p[0], rows.q[0], SMALL["chain"], 1.0)
        return {args[-1]: dataclasses.replace(result, status="nan")}

    monkeypatch.setattr(potentials, "iterate", failing)
    p, q = pair(7)
    c = emdref.certify_sinkhorn(p, q, SMALL["chain"], 1.0)
    assert (c.status, c.solver_status, c.potentials, c.primal_value) == ("proven", "nan", None, math.inf)


def test_the_callers_decimal_context_does_not_matter():
    p, q = pair(1)
    want = emdref.certify_sinkhorn(p, q, SMALL["tree"], 3.0)
    with localcontext(Context(prec=3, traps=[FloatOperation, Inexact])):
        got = emdref.certify_sinkhorn(p, q, SMALL["tree"], 3.0)
        assert tuple(got) == tuple(want) and got.gap == want.gap and got.verify()


def test_kernel_errors_are_below_the_stated_bound():
    for name in ("star", "path", "zero_edges"):
        space = cases.space(name)
        x = [Decimal(y) for y in cases.histograms("spread", space.n_bins, np.float64)[0].tolist()]
        results = []
        for digits in (30, 90):
            with localcontext(Context(prec=digits)):
                k = decimal_gibbs.kernel(space, Decimal("7.3"))
                results.append([*k.times(x), k.cost(x, x[::-1]), k.product_cost(x, x[::-1])])
        bound = (Decimal(7.3 * space.diameter) + 12 * space.n_nodes + 100).scaleb(-29)
        assert all(abs(a - b) <= bound * b for a, b in zip(*results, strict=True))
        assert any(a != b for a, b in zip(*results, strict=True))


def test_a_matrix_need_not_be_symmetric_to_the_last_bit():
    cost = np.array([[0, 1.0, 2.0], [1.5, 0, 1.0], [2.5, 3.0, 0]])
    k, x, y = (
        decimal_gibbs.MatrixKernel(Matrix(cost), Decimal(2)),
        [Decimal(i) for i in (1, 2, 5)],
        [Decimal(i) for i in (3, 1, 4)],
    )
    kernel, u, v = np.exp(-2 * cost - 1), np.array([1.0, 2, 5]), np.array([3.0, 1, 4])
    assert_allclose(np.array(k.times(x), float), kernel @ u, rtol=1e-15)
    assert_allclose(np.array(k.transposed(x), float), kernel.T @ u, rtol=1e-15)
    assert_allclose(float(k.cost(x, y)), u @ (kernel * cost) @ v, rtol=1e-15)
    assert_allclose(float(k.product_cost(x, y)), u @ cost @ v, rtol=1e-15)


@settings(max_examples=25, deadline=None)
@given(cases.balanced_pairs(), st.sampled_from([1e-3, 0.02, 0.1]))
def test_drawn_pairs(drawn, lam):
    space, p, q = drawn
    c = emdref.certify_sinkhorn(p, q, space, lam)
    assert_encloses(c, truth(p, q, distances(space), lam))
    assert c.primal_value - c.dual_value <= 1e-11 * (abs(c.lower) + sum(p) / lam)
    assert c.verify()


@settings(max_examples=25, deadline=None)
@given(cases.balanced_pairs(), st.floats(1e-3, 1e5), st.integers(0, 40), st.integers(0, 2**32))
def test_drawn_potentials(drawn, lam, max_iter, seed):
    space, p, q = drawn
    log = np.random.default_rng(seed).normal(size=(2, len(p))) * 10
    rough = emdref.certify_sinkhorn(p, q, space, lam, max_iter=max_iter, init=tuple(log))
    dense = emdref.certify_sinkhorn(p, q, space.distance_matrix(), lam, max_iter=max_iter, init=tuple(log))
    best = emdref.certify_sinkhorn(p, q, space, lam, max_iter=300)
    for c in (rough, dense):
        assert c.status == "proven"
        assert c.lower <= best.upper and best.lower <= c.upper


# --- whatever is wrong is noticed -------------------------------------------------------------------------------------


TAMPERED = {
    "lower": lambda c: math.nextafter(c.lower, math.inf),
    "upper": lambda c: math.nextafter(c.upper, -math.inf),
    "status": lambda c: "overflow",
    "dual_value": lambda c: math.nextafter(c.dual_value, math.inf),
    "primal_value": lambda c: math.nextafter(c.primal_value, -math.inf),
    "transport_cost": lambda c: (c.transport_cost[0], math.nextafter(c.transport_cost[1], 0)),
    "emd": lambda c: c.emd + Fraction(1, 2**200),
    "entropy_bound": lambda c: math.nextafter(c.entropy_bound, 0),
    "marginal_error": lambda c: 0.0,
    "potentials": lambda c: (c.potentials[0], c.potentials[1] + np.arange(6)),
    "q_scale": lambda c: c.q_scale + Fraction(1, 2**200),
    "p": lambda c: c.p[::-1],
    "q": lambda c: c.q * 2,
    "space": lambda c: emdref.Chain(6),
    "lam": lambda c: math.nextafter(c.lam, 0),
}


@pytest.mark.parametrize("field", TAMPERED)
def test_verify_sees_every_tampered_field(field):
    p, q = pair(1)
    c = emdref.certify_sinkhorn(p, q, SMALL["chain"], 3.0)
    assert c.verify()
    assert not dataclasses.replace(c, **{field: TAMPERED[field](c)}).verify()


def test_tampering_covers_all_fields_but_notes():
    names = {f.name for f in dataclasses.fields(emdref.SinkhornCertificate)}
    assert names - set(TAMPERED) == {"n_iter", "solver_status"}


@pytest.mark.parametrize("k", range(2))
def test_verify_sees_tampered_scalings(k):
    p, q = pair(1)
    c = emdref.certify_sinkhorn(p, q, SMALL["chain"], 3.0)
    other = [x.copy() for x in c.potentials]
    other[k][2] += 1e-9
    assert not dataclasses.replace(c, potentials=tuple(other)).verify()
    assert not dataclasses.replace(c, potentials=None).verify()


@pytest.mark.parametrize("factor", ["0.1", "30"])
def test_a_broken_plan_contradicts_the_theory(monkeypatch, factor):
    honest = decimal_gibbs.SpaceKernel.cost
    monkeypatch.setattr(decimal_gibbs.SpaceKernel, "cost", lambda *args: honest(*args) * Decimal(factor))
    p, q = pair(1)
    with pytest.raises(RuntimeError, match=r"the feasible plan costs .* a bug in emdref"):
        emdref.certify_sinkhorn(p, q, SMALL["chain"], 30.0)


def test_a_broken_kernel_contradicts_itself(monkeypatch):
    honest = decimal_gibbs.SpaceKernel.times
    monkeypatch.setattr(decimal_gibbs.SpaceKernel, "transposed", lambda *args: [x / 9 for x in honest(*args)])
    p, q = pair(1)
    with pytest.raises(RuntimeError, match=r"the lower bound .* exceeds the upper bound .* a bug in emdref"):
        emdref.certify_sinkhorn(p, q, SMALL["chain"], 3.0)


P = np.full(3, 1 / 3)
C = emdref.Chain(3)


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (ValueError, "lam = 0.0 must be finite and > 0", {"lam": 0}),
        (ValueError, "lam = nan must be", {"lam": np.nan}),
        (TypeError, "lam must be a real number, not list", {"lam": [1.0]}),
        (ValueError, "max_iter = -1 must be >= 0", {"max_iter": -1}),
        (TypeError, "max_iter must be an integer, not float", {"max_iter": 2.0}),
        (ValueError, "p has total 2 and q 1", {"p": 2 * P}),
        (ValueError, r"p and q have leading axes \(2,\): one pair at a time", {"p": np.stack([P, P])}),
        (ValueError, r"p\[1\] = -1.0: a histogram holds no negative mass", {"p": [1, -1.0, 1]}),
        (ValueError, r"q\[0\] = nan", {"q": [np.nan, 1, 0]}),
        (ValueError, r"q\[:\] is all zeros", {"q": np.zeros(3)}),
        (ValueError, "the space's 4 bins", {"space": emdref.Chain(4)}),
        (ValueError, r"cost\[0, 1\] = -1.0 must be finite", {"space": -C.distance_matrix()}),
        (ValueError, r"cost has shape \(2, 3\)", {"space": np.ones((2, 3))}),
        (ValueError, "space: the largest distance is beyond float64", {"space": emdref.Chain(gaps=[1e308, 1e308])}),
        (ValueError, "init must be a pair", {"init": np.zeros(3)}),
        (ValueError, r"log_v has shape \(2,\)", {"init": (np.zeros(3), np.zeros(2))}),
        (ValueError, "log_u must be finite or -inf", {"init": (np.full(3, np.nan), np.zeros(3))}),
        (ValueError, "log_v must be finite or -inf", {"init": (np.zeros(3), np.full(3, np.inf)), "max_iter": 0}),
        (ValueError, r"log_u\[2\] = -inf where p\[2\] = 0.3", {"init": (np.array([0, 0, -np.inf]), np.zeros(3))}),
        (ValueError, r"log_v\[1\] = -inf where q\[1\] = 0.3", {"init": (np.zeros(3), [0, -np.inf, 0])}),
        (TypeError, "init's log_u must hold real numbers", {"init": (None, None)}),
    ],
)
def test_bad_input(error, match, arguments):
    call = {"p": P, "q": P, "space": C, "lam": 1.0} | arguments
    with pytest.raises(error, match=match):
        emdref.certify_sinkhorn(**call)


def test_stored_arrays_are_copies():
    p, q = pair(1)
    c = emdref.certify_sinkhorn(p, q, SMALL["chain"], 3.0)
    p[0] = 7
    assert c.verify()
    assert_array_equal(c.q, q)
    with pytest.raises(ValueError, match="read-only"):
        c.p[0] = 7
