"""Derivatives of the truncated iteration against differences in 100 digits, and what they must satisfy exactly."""

import functools
import tracemalloc
import warnings
from decimal import Decimal

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_sinkhorn import SPACES, VARIANTS, WAYS, C, P, histograms, pair

import emdref
import sinkhorn_oracle
from emdref.kernels.compile import threads

CAPS = (1, 2, 9)
FIELDS = ("value", "objective")
EPS = np.finfo(float).eps


def run(p, q, space, lam, k, **options):
    return emdref.sinkhorn(p, q, space, lam, max_iter=k, unrolled=True, **options)


@functools.cache
def case(variant, name, dtype, empty, lam, k):
    """A pair and its true derivatives."""
    p, q = pair(7, dtype=dtype, empty=empty)
    return p, q, sinkhorn_oracle.derivatives(variant, p, q, SPACES[name].distance_matrix(), dtype(lam), k)


def assert_true(got, exact, tolerance):
    """Within the tolerance times the largest entry (or 1); what the oracle cannot say is -inf, or 0 where dropped."""
    for field in FIELDS:
        there, found = np.array([x is not None for x in exact[field]]), getattr(got, field)
        want = np.array([float(x) for x in exact[field] if x is not None])
        scale = max(1, abs(want).max())
        assert_allclose(found[there] / scale, want / scale, rtol=0, atol=tolerance, err_msg=field)
        assert np.isin(found[~there], (0, -np.inf)).all()


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("empty", [0.0, 0.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_variant_kernel_and_domain_against_differences(name, variant, empty, dtype):
    for k in CAPS:
        p, q, exact = case(variant, name, dtype, empty, 1.7, k)
        for kernel, domain in WAYS:
            got = run(p, q, SPACES[name], 1.7, k, variant=variant, kernel=kernel, domain=domain).grad_unrolled
            assert {x.dtype for x in got} == {np.dtype(dtype)}
            # 9 iterations there and back, two products of 6 terms and two divisions each, at most 1 / min(p) apart
            assert_true(got, exact, 200 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("kernel", ["dense", "space"])
@pytest.mark.parametrize("lam", [1e-2, 1.0, 1e2, 1e3])
def test_log_domain_at_any_lambda(name, kernel, lam):
    for variant in ("paper", "caffe"):
        for k in (2, 40):
            p, q, exact = case(variant, name, np.float64, 0.0, lam, k)
            got = run(p, q, SPACES[name], lam, k, variant=variant, kernel=kernel, domain="log").grad_unrolled
            # a logarithm of size lam max(M), rounded, is a factor off by as many eps
            assert_true(got, exact, 40 * EPS * (1 + lam * SPACES[name].diameter))


@pytest.mark.parametrize("kernel", ["dense", "space"])
@pytest.mark.parametrize("lam", [30.0, 100.0])
def test_bins_without_mass_at_large_lambda(kernel, lam):
    """Where p is 0 factors of 1e40 between iterations must not blow up what rounding left: it is taken away."""
    for name in SPACES:
        p, q, exact = case("paper", name, np.float64, 0.5, lam, 40)
        got = run(p, q, SPACES[name], lam, 40, kernel=kernel, domain="log").grad_unrolled
        assert_true(got, exact, 40 * EPS * (1 + lam * SPACES[name].diameter))


def test_a_derivative_beyond_the_dtype_is_infinite_with_the_right_sign():
    p, q = np.array([0.5, 0.5, 0, 0]), np.array([0.25, 0, 0.5, 0.25])
    space = emdref.Chain(gaps=[1.0, 2.0, 0.5])
    exact = sinkhorn_oracle.derivatives("paper", p, q, space.distance_matrix(), 800.0, 1, digits=600)["value"]
    got = run(p, q, space, 800.0, 1, domain="log").grad_unrolled.value
    assert min(exact) < Decimal("-1e308")
    for x, y in zip(got, exact, strict=True):
        assert x == (np.inf if y > 0 else -np.inf) if abs(y) > 1e308 else abs(x - float(y)) < 1e-10


def test_totals_other_than_one_and_a_warm_start():
    p, q = (3 * x for x in pair(5))
    log_u = np.linspace(-1, 2, 6)
    space = SPACES["tree"]
    exact = sinkhorn_oracle.derivatives("caffe", p, q, space.distance_matrix(), 2.0, 3, start=np.exp(log_u))
    for domain in ("linear", "log"):
        got = run(p, q, space, 2.0, 3, variant="caffe", domain=domain, init=(log_u, np.zeros(6)))
        assert_true(got.grad_unrolled, exact, 200 * EPS)


def test_a_tiny_mass():
    """Nothing is divided by it: each entry is as right as the others."""
    p, q = pair(7)
    p[:] = [p[0] + p[2], p[1], 1e-300, *p[3:]]
    exact = sinkhorn_oracle.derivatives("paper", p, q, SPACES["tree"].distance_matrix(), 1.7, 3, digits=500)
    assert exact["objective"][2] < -300
    for kernel, domain in WAYS:
        got = run(p, q, SPACES["tree"], 1.7, 3, kernel=kernel, domain=domain).grad_unrolled
        for field in FIELDS:
            want = [float(x) for x in exact[field]]
            assert_allclose(getattr(got, field), want, rtol=1e-12, atol=2000 * EPS)  # 690 / 1.7 is the largest log


@pytest.mark.parametrize("domain", ["linear", "log"])
def test_space_and_dense_kernel_agree_on_wordnet(domain):
    tree, rng = emdref.wordnet_tree(), np.random.default_rng(0)
    p, q = histograms(rng, 1000, empty=0.2), histograms(rng, 1000, empty=0.2)
    a, b = (run(p, q, tree, 3.0, 2, domain=domain, kernel=kernel).grad_unrolled for kernel in ("space", "dense"))
    for field in FIELDS:
        x, y = getattr(a, field), getattr(b, field)
        assert_array_equal(np.isfinite(x), (p > 0) | (field == "value"))
        assert_allclose(x[np.isfinite(x)], y[np.isfinite(x)], rtol=0, atol=1e-12 * abs(x[np.isfinite(x)]).max())


@pytest.mark.parametrize("domain", ["linear", "log"])
@pytest.mark.parametrize("variant", ["cuturi", "caffe"])
def test_rows_do_not_depend_on_batch_or_threads(variant, domain):
    tree, rng = emdref.wordnet_tree(), np.random.default_rng(2)
    p, q, how = (
        histograms(rng, (40, 1000), empty=0.1),
        histograms(rng, (40, 1000)),
        {"variant": variant, "domain": domain},
    )
    with threads.at_most(1):
        whole, part, one = (run(p[i], q[i], tree, 2.0, 4, **how) for i in (slice(None), slice(33, 36), 34))
    with threads.at_most(2):
        split = run(p, q, tree, 2.0, 4, **how)
    for field in FIELDS:
        w, x, y, z = (getattr(r.grad_unrolled, field) for r in (one, whole, part, split))
        assert_array_equal(x, z)
        assert_array_equal(x[33:36], y)
        assert_array_equal(y[1], w)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("kernel", "domain"), WAYS)
def test_along_p_itself(variant, kernel, domain):
    """A factor of p moves no plan if v is refreshed, in `caffe` the plan with it: Euler's theorem at any cap."""
    p, q = (2 * x for x in pair(3))
    for k in (1, 4, 20):
        got = run(p, q, SPACES["tree"], 3.0, k, variant=variant, kernel=kernel, domain=domain)
        along = got.objective + 2 / 3.0 if variant == "caffe" else 0
        for x in got.grad_unrolled:
            assert_allclose(p @ x, along, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_objective_tends_to_the_scaling(variant):
    """To log u / lam less its mean under p; in `caffe` the mean is objective / total + 1 / lam instead of 0."""
    p, q = pair(13)
    got = run(p, q, SPACES["tree"], 2.0, 1000, variant=variant, domain="log")
    want = got.log_u / 2 - p @ got.log_u / 2 + (variant == "caffe") * (got.objective + 1 / 2)
    assert_allclose(got.grad_unrolled.objective, want, atol=1e-13)
    early = run(p, q, SPACES["tree"], 2.0, 2, variant=variant, domain="log")
    assert abs(early.grad_unrolled.objective - want).max() > 1e-3  # what the cap costs


def test_the_value_tends_to_another_gradient():
    """That of the converged <T, M>, by differences along steps that conserve mass, is not log u / lam."""
    p, q = pair(13)
    step, h = np.random.default_rng(0).normal(size=6), 1e-5
    step -= step.mean()
    there, back = (
        emdref.sinkhorn(p + d * step, q, SPACES["tree"], 2.0, max_iter=1000, domain="log").value for d in (h, -h)
    )
    got = run(p, q, SPACES["tree"], 2.0, 1000, domain="log")
    assert_allclose(got.grad_unrolled.value @ step, (there - back) / (2 * h), rtol=1e-7)  # h^2 over min(p)^2
    assert abs((got.grad_unrolled.value - got.grad) @ step) > 0.1 * abs(got.grad @ step)


@pytest.mark.parametrize("variant", ["paper", "cuturi", "caffe"])
@pytest.mark.parametrize("domain", ["linear", "log"])
def test_rows_that_stop_by_themselves(variant, domain):
    rng = np.random.default_rng(4)
    p, q = histograms(rng, (6, 6), empty=0.2), histograms(rng, (6, 6))
    how = {"variant": variant, "domain": domain}
    got = run(p, q, SPACES["tree"], 1.0, 500, tol=1e-9, **how)
    assert len(set(got.n_iter)) > 3
    for i, k in enumerate(got.n_iter):
        alone = run(p[i], q[i], SPACES["tree"], 1.0, int(k), **how)
        for field in FIELDS:
            assert_array_equal(getattr(got.grad_unrolled, field)[i], getattr(alone.grad_unrolled, field))


@pytest.mark.parametrize("tol", [0.0, 1e-6])
def test_checkpoints_are_the_shorter_runs(tol):
    rng = np.random.default_rng(1)
    p, q = histograms(rng, (3, 6)), histograms(rng, (3, 6))
    q[1] = np.eye(6)[2]  # converges at once
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not yet converged
        whole = run(p, q, SPACES["chain"], 3.0, 50, checkpoints=(1, 7, 31, 50), tol=tol)
        for k, point in whole.checkpoints.items():
            short = run(p, q, SPACES["chain"], 3.0, k, tol=tol)
            for x, y in zip(point.grad_unrolled, short.grad_unrolled, strict=True):
                assert_array_equal(x, y)


@pytest.mark.parametrize("domain", ["linear", "log"])
def test_memory_grows_with_the_square_root_of_the_iterations(domain):
    n, k = 200, 400
    rng = np.random.default_rng(0)
    p, q, chain = histograms(rng, n), histograms(rng, n), emdref.Chain(gaps=np.full(n - 1, 0.1))
    run(p, q, chain, 0.5, 2, domain=domain)
    tracemalloc.start()
    try:
        run(p, q, chain, 0.5, k, domain=domain, checkpoints=(150, 250))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 2 sqrt(2 k) kept or done again, a few dozen at work, where u and v of each iteration would be 800
    assert peak < 250 * 8 * n


def test_a_far_cap_costs_nothing():
    got = run(P, P, C, 1.0, 10**9, tol=1e-3)
    assert got.n_iter < 10
    assert_array_equal(got.grad_unrolled.value, run(P, P, C, 1.0, int(got.n_iter)).grad_unrolled.value)


def test_shapes():
    rng = np.random.default_rng(0)
    p, q = histograms(rng, (2, 1, 6)), histograms(rng, (3, 6))
    got = run(p, q, SPACES["tree"], 1.0, 3)
    one = run(p[1, 0], q[2], SPACES["tree"], 1.0, 3)
    assert type(got.grad_unrolled)._fields == FIELDS
    assert got.grad_unrolled.value.shape == got.grad_unrolled.objective.shape == (2, 3, 6)
    assert_array_equal(got.grad_unrolled.objective[1, 2], one.grad_unrolled.objective)


@pytest.mark.parametrize(("kernel", "domain"), WAYS)
@pytest.mark.parametrize("variant", ["paper", "caffe"])
def test_an_empty_batch_gives_empty_derivatives(variant, kernel, domain):
    got = run(np.zeros((0, 3)), P, C, 1.0, 4, kernel=kernel, domain=domain, variant=variant, checkpoints=(2,))
    assert got.grad_unrolled.value.shape == got.checkpoints[2].grad_unrolled.objective.shape == (0, 3)


@pytest.mark.parametrize("kernel", ["dense", "space"])
def test_one_bin(kernel):
    for variant in VARIANTS:
        got = run([2.0], [2.0], emdref.Chain(1), 1.0, 3, kernel=kernel, variant=variant).grad_unrolled
        assert_allclose(got, [[np.log(2) + 1]] * 2 if variant == "caffe" else [[0], [0]], atol=1e-15)


def test_where_p_is_zero():
    p, q = np.array([0, 0.5, 0.5]), np.array([0.5, 0.25, 0.25])
    for variant in VARIANTS:
        got = run(p, q, C, 1.0, 3, variant=variant).grad_unrolled
        value, objective = got.value[0], got.objective[0]
        if variant == "cuturi":  # the bin has left the problem
            assert (value, objective) == (0, 0)
        else:
            assert objective == -np.inf
            assert value == -np.inf if variant == "caffe" else np.isfinite(value)


def test_a_failing_row_leaves_the_others_alone():
    tree, rng = emdref.wordnet_tree(), np.random.default_rng(0)
    p, q = histograms(rng, (3, 1000), np.float32), histograms(rng, (3, 1000), np.float32)
    q[1] = np.eye(1000, dtype=np.float32)[5]
    q[0], q[2] = p[0], p[2]
    with pytest.warns(RuntimeWarning, match="1 of 3 rows failed"):
        got = run(p, q, tree, 50.0, 5)
    alone = run(p[[0, 2]], q[[0, 2]], tree, 50.0, 5)
    for x, y in zip(got.grad_unrolled, alone.grad_unrolled, strict=True):
        assert_array_equal(x[[0, 2]], y)


def test_not_asked_for():
    got = emdref.sinkhorn(P, P, C, 1.0, max_iter=3, checkpoints=(1,))
    assert got.grad_unrolled is None and got.checkpoints[1].grad_unrolled is None
    assert run(P, P, C, 1.0, 3).value == got.value


@pytest.mark.parametrize("value", [1, 0, "yes", None, np.ones(3)])
def test_unrolled_must_be_a_truth_value(value):
    with pytest.raises(TypeError, match="unrolled must be True or False, not"):
        emdref.sinkhorn(P, P, C, 1.0, unrolled=value)
