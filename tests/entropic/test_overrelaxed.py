"""Overrelaxation finds the optimum of the plain iteration, sooner, and never fails where that succeeds."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import emdref
from emdref.entropic.failures import FAILED
from emdref.entropic.formats import find
from emdref.entropic.gibbs import Linear, Log, Rounded
from emdref.entropic.relaxation import LARGEST, Relaxation
from emdref.kernels.compile import threads

WAYS = [(k, d) for k in ("dense", "space") for d in ("linear", "log")]
CHAIN = emdref.Chain(gaps=[0.5, 1.0, 0.0, 2.0, 0.3])
TREE = emdref.Tree([3, 0, 0, -1, 3, 4, 4, 4, 6], [1, 0.5, 2, 0, 0.7, 0, 1.5, 1, 0.2], bins=[1, 2, 5, 8, 7, 4])


def histograms(rng, shape, spread=1.0, empty=0.0):
    x = np.exp(spread * rng.normal(size=shape)) * (rng.random(shape) >= empty)
    x[..., 0] += 0.1
    return x / x.sum(-1, keepdims=True)


def run(p, q, space, lam, variant="overrelaxed", **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # caps and failures are looked at by status
        return emdref.sinkhorn(p, q, space, lam, variant=variant, **kwargs)


@pytest.mark.parametrize(("kernel", "domain"), WAYS)
@pytest.mark.parametrize("space", [CHAIN, TREE])
def test_same_optimum_as_the_plain_iteration(space, kernel, domain):
    rng = np.random.default_rng(1)
    p, q = histograms(rng, 6, empty=0.3), histograms(rng, 6, empty=0.3)
    how = {"tol": 1e-14, "max_iter": 200_000, "kernel": kernel, "domain": domain}
    got, want = run(p, q, space, 8.0, **how), run(p, q, space, 8.0, "paper", **how)
    assert got.status == want.status == "converged"
    assert_allclose(got.value, want.value, rtol=1e-10)
    assert_allclose(got.objective, want.objective, rtol=1e-12)
    kept = p > 0
    assert_array_equal(got.log_u == -np.inf, ~kept)
    difference = got.log_u[kept] - want.log_u[kept]  # u is determined up to a factor
    assert_allclose(difference, difference[0], atol=1e-9)


@pytest.mark.parametrize("lam", [0.3, 5.0, 60.0])
def test_objective_lies_in_the_proven_interval(lam):
    rng = np.random.default_rng(2)
    p, q = histograms(rng, 6), histograms(rng, 6)
    got = run(p, q, TREE, lam, tol=1e-13, max_iter=100_000, domain="log")
    lower, upper = emdref.certify_sinkhorn(p, q, TREE, lam)
    assert got.status == "converged"
    # a marginal error of 1e-13 changes the objective by that times the potentials, at most some diameters
    slack = 1e-13 * 20 + 1e-14 * abs(upper)
    assert lower - slack <= got.objective <= upper + slack


def test_at_most_a_third_of_the_plain_iterations_on_the_wordnet_tree():
    tree, rng = emdref.wordnet_tree(), np.random.default_rng(0)
    p, q = histograms(rng, (2, 1000), 4.0), histograms(rng, (2, 1000), 4.0)
    how = {"tol": 1e-6, "max_iter": 20_000, "domain": "log"}
    got, want = run(p, q, tree, 30.0, **how), run(p, q, tree, 30.0, "paper", **how)
    assert (got.status == "converged").all()
    assert (3 * got.n_iter <= want.n_iter).all()  # measured: a sixth and a tenth


def small_case(seed):
    rng = np.random.default_rng([seed, 5])
    n = int(rng.integers(1, 12))
    costs = rng.choice([0, 0.5, 1, 3], n) * np.where(rng.random(n) < 0.5, 1, rng.random(n))
    parents = [-1, *(int(rng.integers(0, k)) for k in range(1, n + 1))]
    tree = emdref.Tree(parents, [0, *costs], bins=list(range(1, n + 1)))
    space = tree if seed % 2 else emdref.Chain(gaps=costs[1:])
    p, q = (histograms(rng, n, rng.choice([0.5, 2, 6]), rng.choice([0, 0.6])) for _ in range(2))
    return space, p, q, float(10 ** rng.uniform(-2, 3))


@pytest.mark.parametrize("seeds", [range(20), pytest.param(range(20, 100), marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("domain", ["linear", "log"])
def test_converges_wherever_plain_does(dtype, domain, seeds):
    converged = 0
    for seed in seeds:
        space, p, q, lam = small_case(seed)
        how = {"dtype": dtype, "domain": domain, "tol": "auto"}
        plain = run(p, q, space, lam, "paper", max_iter=400, **how)
        got = run(p, q, space, lam, max_iter=400, **how)
        assert got.converged or not plain.converged, (seed, plain.n_iter, got.status)
        assert got.status not in FAILED or plain.status in FAILED, (seed, plain.status, got.status)
        converged += bool(plain.converged)
    assert converged > len(seeds) / 2


@pytest.mark.parametrize("domain", ["linear", "log"])
def test_starts_with_plain_steps(domain):
    rng = np.random.default_rng(3)
    p, q = histograms(rng, (2, 6), empty=0.3), histograms(rng, (2, 6), empty=0.3)
    got, want = (run(p, q, TREE, 3.0, v, max_iter=11, domain=domain) for v in ("overrelaxed", "paper"))
    rtol = 0 if domain == "linear" else 1e-14  # here each product is rounded to logarithms, there only the last
    np.testing.assert_allclose(got.log_u, want.log_u, rtol=rtol)
    np.testing.assert_allclose(got.value, want.value, rtol=rtol)


@pytest.mark.parametrize("domain", ["linear", "log"])
def test_rows_do_not_depend_on_batch_or_threads(domain):
    tree, rng = emdref.wordnet_tree(), np.random.default_rng(2)
    p, q = histograms(rng, (70, 1000)), histograms(rng, (70, 1000))
    how = {"max_iter": 60, "domain": domain, "tol": 1e-5}
    with threads.at_most(1):
        whole, part, alone = (run(p[a], q[a], tree, 2.0, **how) for a in (slice(70), slice(33, 36), 34))
    with threads.at_most(2):
        split = run(p, q, tree, 2.0, **how)
    for field in ("value", "objective", "grad", "log_v", "marginal_error", "n_iter"):
        assert_array_equal(getattr(whole, field), getattr(split, field))
        assert_array_equal(getattr(whole, field)[33:36], getattr(part, field))
        assert_array_equal(getattr(whole, field)[34], getattr(alone, field))


@pytest.mark.parametrize("domain", ["linear", "log"])
@pytest.mark.parametrize("tol", [0.0, 1e-9])
def test_checkpoints_are_the_shorter_runs(domain, tol):
    rng = np.random.default_rng(8)
    p, q = histograms(rng, (4, 6)), histograms(rng, (4, 6))
    q[1] = np.eye(6)[2]  # converges at once
    whole = run(p, q, CHAIN, 6.0, max_iter=90, tol=tol, domain=domain, checkpoints=(7, 25, 60))
    for k, point in whole.checkpoints.items():
        short = run(p, q, CHAIN, 6.0, max_iter=k, tol=tol, domain=domain)
        for field in ("value", "log_u", "log_v", "marginal_error", "n_iter", "status"):
            assert_array_equal(getattr(point, field), getattr(short, field))


@pytest.mark.parametrize("k", [1, 15, 40, 200])
def test_marginal_error_is_that_of_the_plan(k):
    rng = np.random.default_rng(4)
    p, q = histograms(rng, 6), histograms(rng, 6)
    got = run(p, q, CHAIN, 9.0, max_iter=k, domain="log")
    plan = np.exp(got.log_u[:, None] - 9.0 * CHAIN.distance_matrix() - 1 + got.log_v)
    error = max(abs(plan.sum(1) - p).sum(), abs(plan.sum(0) - q).sum())
    assert_allclose(got.marginal_error, error, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-9])
def test_converged_means_that_the_plan_has_both_marginals(tol):
    rng = np.random.default_rng(5)
    got = run(histograms(rng, (20, 6), 2.0), histograms(rng, (20, 6), 2.0), CHAIN, 7.0, max_iter=5000, tol=tol)
    assert got.converged.all()
    assert (got.marginal_error <= tol).all()


def test_warm_start_at_the_optimum_stops_at_once():
    rng = np.random.default_rng(6)
    p, q = histograms(rng, 6), histograms(rng, 6)
    first = run(p, q, TREE, 5.0, tol=1e-12, max_iter=10_000)
    again = run(p, q, TREE, 5.0, tol=1e-11, max_iter=10_000, init=(first.log_u, first.log_v))
    assert first.n_iter > 10
    assert again.n_iter == 1


def test_no_bin_lowers_the_dual_value():
    rng = np.random.default_rng(7)
    step = rng.normal(size=(1000, 5)) * 10.0 ** rng.integers(-3, 3, (1000, 5))  # log of wanted over present mass
    for excess in (0.0, 0.3, 0.9, LARGEST - 1):
        taken = Log.relax(np.zeros_like(step), step, np.full(5, excess))
        gain = taken + np.exp(-step) - np.exp(taken - step)  # of the dual value, over the bin's mass
        assert (gain >= -1e-14 * (1 + abs(taken) + np.exp(-step))).all()
        assert (np.abs(taken) >= np.abs(step)).all()
        assert_allclose(np.where(step < 0.1, taken, 0), np.where(step < 0.1, (1 + excess) * step, 0), atol=0.1)


def test_relaxed_steps_in_both_domains():
    old, new = np.array([[0.0], [0.0], [2.0], [3.0]]), np.array([[0.0], [1.0], [2.5], [1.0]])
    with np.errstate(all="ignore"):
        linear = Linear.relax(old, new, np.array([0.8]))
        log = Log.relax(np.log(old), np.log(new), np.array([0.8]))
    assert_allclose(linear[:, 0], [0, 1, 2.5 * 1.25**0.8, 3.0**-0.8], rtol=1e-15)
    assert_allclose(np.exp(log), linear, rtol=1e-14)


def sor_rate(w, eta):
    """Spectral radius of successive overrelaxation where the plain iteration's is eta."""
    inside = w * w * eta - 4 * (w - 1)
    return ((w * np.sqrt(eta) + np.sqrt(inside)) / 2) ** 2 if inside > 0 else w - 1


@pytest.mark.parametrize("eta", [0.1, 0.9, 0.99, 0.9995])
def test_exponent_finds_the_best_one(eta):
    relaxation, rows, defect = Relaxation(1, LARGEST), np.array([0]), np.ones(1)
    with np.errstate(all="ignore"):
        for it in range(1, 400):
            defect = defect * sor_rate(1 + relaxation.excess[0], eta)
            relaxation.watch(rows, it, defect)
    # from the best exponent on, 2 - w is raised by half and found again in turn
    distance = (2 - relaxation.w[0]) / (2 - min(2 / (1 + np.sqrt(1 - eta)), LARGEST))
    assert 0.99 <= distance <= 1.51


def test_a_defect_that_does_not_fall_brings_ever_longer_plain_spans():
    relaxation, rows, rests = Relaxation(1, LARGEST), np.array([0]), []
    with np.errstate(all="ignore"):
        for it in range(1, 1000):
            relaxation.watch(rows, it, np.array([0.9 ** min(it, 60)]))
            rests.append(bool(relaxation.resting[0]))
    switches = np.flatnonzero(np.diff(rests)) + 1
    lengths = np.diff(switches)[::2]  # rest, relaxed, rest, ...
    assert_array_equal(lengths[1:], 2 * lengths[:-1])
    assert len(lengths) > 3


@pytest.mark.parametrize("form", ["bfloat16", "float16"])
def test_relaxed_steps_are_stored_in_the_format(form):
    p, q = np.random.default_rng(9).dirichlet(np.ones(6), 2)
    got, plain = (run(p, q, CHAIN, 1.0, v, max_iter=60, dtype=form, kernel="dense") for v in ("overrelaxed", "paper"))
    assert got.marginal_error <= max(plain.marginal_error, 8 * find(form).eps)
    step = Rounded(find(form)).relax(*np.float32([[[0.3]], [[0.2]]]), np.array([0.7]))
    assert step == find(form).stored(step)
    assert_allclose(step, 0.2 * (0.2 / 0.3) ** 0.7, rtol=4 * find(form).eps)


def test_no_unrolled_derivatives():
    p, q = np.random.default_rng(9).dirichlet(np.ones(6), 2)
    with pytest.raises(ValueError, match='plain iterations, not variant="overrelaxed": use variant="paper"'):
        run(p, q, CHAIN, 1.0, unrolled=True)
