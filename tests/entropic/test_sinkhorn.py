"""Sinkhorn against an explicit plan in extended precision, POT, and the theory of the entropic optimum."""

import itertools
import re
import warnings

import numpy as np
import ot
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from scipy.stats import entropy

import emdref
import sinkhorn_oracle
from emdref.kernels.compile import threads

VARIANTS = ("paper", "frogner", "cuturi", "caffe", "mocha")
WAYS = [(k, d) for k in ("dense", "space") for d in ("linear", "log")]
SPACES = {
    "chain": emdref.Chain(gaps=[0.5, 1.0, 0.0, 2.0, 0.3]),
    "tree": emdref.Tree([3, 0, 0, -1, 3, 4, 4, 4, 6], [1, 0.5, 2, 0, 0.7, 0, 1.5, 1, 0.2], bins=[1, 2, 5, 8, 7, 4]),
}


def histograms(rng, shape, dtype=np.float64, empty=0.0):
    x = np.exp(rng.normal(size=shape)) * (rng.random(shape) >= empty)
    x[..., 0] += 0.1
    return (x / x.sum(-1, keepdims=True)).astype(dtype)


def pair(seed, n=6, **kwargs):
    rng = np.random.default_rng(seed)
    return histograms(rng, n, **kwargs), histograms(rng, n, **kwargs)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("kernel", "domain"), WAYS)
@pytest.mark.parametrize("empty", [0.0, 0.5])
def test_every_variant_kernel_and_domain_is_the_definition(name, variant, kernel, domain, empty):
    space = SPACES[name]
    p, q = pair(7, empty=empty)
    got = emdref.sinkhorn(p, q, space, 1.7, max_iter=9, variant=variant, kernel=kernel, domain=domain)
    want = sinkhorn_oracle.sinkhorn(variant, p, q, space.distance_matrix(), 1.7, 9)
    for field in ("value", "objective", "grad", "log_u", "log_v", "marginal_error"):
        # 9 iterations of two products of 6 terms and two divisions: some 200 roundings
        assert_allclose(getattr(got, field), want[field].astype(float), rtol=4e-14, atol=4e-14, err_msg=field)
    assert got.status == "iteration_limit"
    assert got.n_iter == 9


@pytest.mark.parametrize(("kernel", "domain"), WAYS)
def test_float32_in_float32_out(kernel, domain):
    p, q = pair(3, dtype=np.float32)
    got = emdref.sinkhorn(p, q, SPACES["tree"], 2.0, max_iter=20, kernel=kernel, domain=domain)
    want = sinkhorn_oracle.sinkhorn("paper", p, q, SPACES["tree"].distance_matrix(), 2.0, 20)
    assert {got.value.dtype, got.grad.dtype, got.log_u.dtype, got.marginal_error.dtype} == {np.dtype(np.float32)}
    assert_allclose(got.value, float(want["value"]), rtol=1e-5)
    assert_allclose(got.grad, want["grad"].astype(float), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lam", [0.1, 3.0, 10.0])
def test_tree_kernel_is_the_dense_product_entry_by_entry(dtype, lam):
    tree, rng = emdref.wordnet_tree(), np.random.default_rng(0)
    from emdref.entropic.gibbs import SpaceLinear, SpaceLog

    x = np.ascontiguousarray(histograms(rng, (3, tree.n_bins), dtype).T)
    want = np.exp(-lam * tree.distance_matrix() - 1) @ x.astype(np.float64)
    got = SpaceLinear(tree, dtype, dtype(lam), 1).times(x)
    # exp is off by lam M / 2 eps where its argument was rounded, sums of non-negative terms by eps a level
    eps = np.finfo(dtype).eps
    assert_allclose(got, want, rtol=(40 + 4 * lam) * eps)
    with np.errstate(divide="ignore"):
        logs = SpaceLog(tree, dtype, dtype(lam), 1).times(np.log(x))
    assert_allclose(logs, np.log(want), atol=(40 + 30 * lam) * eps)


def wordnet_nodes():
    """A thousand nodes of the WordNet tree, inner ones included."""
    tree = emdref.wordnet_tree()
    return emdref.Tree(tree.parent, tree.cost, bins=np.random.default_rng(3).permutation(tree.n_nodes)[:1000])


LAMBDAS = [1e-3, 1.0, 1e3, 1e4]
MAKE = [*(lambda s=s: s for s in SPACES.values()), lambda: emdref.Chain(300)]
LARGE = [pytest.param(wordnet_nodes, lam, marks=pytest.mark.slow if lam in (1.0, 1e3) else ()) for lam in LAMBDAS]


@pytest.mark.parametrize(("make", "lam"), [*itertools.product(MAKE, LAMBDAS), *LARGE])
def test_log_domain_against_dense_logsumexp(make, lam):
    space, rng = make(), np.random.default_rng(11)
    p, q = histograms(rng, space.n_bins), histograms(rng, space.n_bins)
    log_k, log_u = -lam * space.distance_matrix() - 1, np.zeros(space.n_bins)
    for k in range(4):  # K is symmetric
        log_v = np.log(q) - logsumexp(log_k + log_u, axis=1)
        if k < 3:
            log_u = np.log(p) - logsumexp(log_k + log_v, axis=1)
    cost = (np.exp(log_u[:, None] + log_k + log_v) * space.distance_matrix()).sum()
    size = max(1, abs(log_u).max(), abs(log_v).max())
    for kernel in ("space", "dense"):
        got = emdref.sinkhorn(p, q, space, lam, max_iter=3, kernel=kernel, domain="log")
        assert_allclose(got.log_u, log_u, rtol=0, atol=1e-13 * size)  # 2e-14 at most, after six sums along a long chain
        assert_allclose(got.log_v, log_v, rtol=0, atol=1e-13 * size)
        assert_allclose(got.value, cost, rtol=1e-12 * size)


@pytest.mark.parametrize("lam", [1e-3, 1.0, 1e3, 1e4])
def test_agreement_lasts_over_many_iterations(lam):
    for space in SPACES.values():
        p, q = pair(11)
        a, b = (emdref.sinkhorn(p, q, space, lam, max_iter=30, kernel=k, domain="log") for k in ("space", "dense"))
        size = max(1, abs(b.log_u).max(), abs(b.log_v).max())
        assert_allclose(a.log_u, b.log_u, rtol=0, atol=1e-13 * size)
        assert_allclose(a.value, b.value, rtol=1e-12 * size)


def test_dense_against_pot_under_the_same_cap():
    tree = SPACES["tree"]
    p, q = pair(5)
    plan, log = ot.bregman.sinkhorn_log(
        p, q, tree.distance_matrix(), 1 / 2.5, numItermax=20, stopThr=0, log=True, warn=False
    )
    got = emdref.sinkhorn(p, q, tree, 2.5, max_iter=20, kernel="dense", variant="caffe")
    cost = got.objective - (plan * np.log(plan)).sum() / 2.5  # POT updates u last and keeps v, as Caffe does
    assert_allclose(cost, (plan * tree.distance_matrix()).sum(), rtol=1e-12)
    assert_allclose(got.log_u - got.log_u.mean(), log["log_u"] - log["log_u"].mean(), atol=1e-12)


@pytest.mark.parametrize("domain", ["linear", "log"])
def test_rows_do_not_depend_on_batch_or_threads(domain):
    tree, rng = emdref.wordnet_tree(), np.random.default_rng(2)
    p, q = histograms(rng, (70, 1000)), histograms(rng, (70, 1000))
    with threads.at_most(1):
        whole = emdref.sinkhorn(p, q, tree, 2.0, max_iter=4, domain=domain)
        part = emdref.sinkhorn(p[33:36], q[33:36], tree, 2.0, max_iter=4, domain=domain)
        one = emdref.sinkhorn(p[34], q[34], tree, 2.0, max_iter=4, domain=domain)
    with threads.at_most(2):
        split = emdref.sinkhorn(p, q, tree, 2.0, max_iter=4, domain=domain)
    for field in ("value", "objective", "grad", "log_v", "marginal_error"):
        assert_array_equal(getattr(whole, field), getattr(split, field))
        assert_array_equal(getattr(whole, field)[33:36], getattr(part, field))
        assert_array_equal(getattr(whole, field)[34], getattr(one, field))


def test_checkpoints_are_the_shorter_runs():
    p, q = pair(1)
    run = emdref.sinkhorn(p, q, SPACES["chain"], 3.0, max_iter=50, checkpoints=(50, 5, 10))
    assert list(run.checkpoints) == [5, 10, 50]
    for k, point in run.checkpoints.items():
        short = emdref.sinkhorn(p, q, SPACES["chain"], 3.0, max_iter=k)
        assert point.value == short.value
        assert_array_equal(point.grad, short.grad)
        assert point.n_iter == k


@pytest.mark.parametrize("domain", ["linear", "log"])
@pytest.mark.parametrize("variant", ["paper", "caffe"])
def test_checkpoints_stay_what_they_were_while_other_rows_go_on(domain, variant):
    rng = np.random.default_rng(8)
    p, q = histograms(rng, (3, 6)), histograms(rng, (3, 6))
    q[1] = np.eye(6)[2]  # converges at once
    how = {"variant": variant, "domain": domain, "tol": 1e-12}
    run = emdref.sinkhorn(p, q, SPACES["chain"], 1.0, max_iter=400, checkpoints=(3, 6), **how)
    assert run.n_iter[1] == 1
    for k, point in run.checkpoints.items():
        with pytest.warns(RuntimeWarning, match="did not reach tol"):
            short = emdref.sinkhorn(p, q, SPACES["chain"], 1.0, max_iter=k, **how)
        assert_array_equal(point.log_u, short.log_u)
        assert_array_equal(point.log_v, short.log_v)


@pytest.mark.parametrize("domain", ["linear", "log"])
def test_warm_start_goes_on_where_it_stopped(domain):
    p, q = pair(1)
    first = emdref.sinkhorn(p, q, SPACES["tree"], 3.0, max_iter=5, domain=domain)
    second = emdref.sinkhorn(p, q, SPACES["tree"], 3.0, max_iter=5, domain=domain, init=(first.log_u, first.log_v))
    whole = emdref.sinkhorn(p, q, SPACES["tree"], 3.0, max_iter=10, domain=domain)
    assert_allclose(second.log_u, whole.log_u, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kernel", "domain"), WAYS)
def test_automatic_tolerance_is_reached(dtype, kernel, domain):
    rng = np.random.default_rng(4)
    p, q = histograms(rng, (5, 6), dtype), histograms(rng, (5, 6), dtype)
    got = emdref.sinkhorn(p, q, SPACES["tree"], 1.0, max_iter=5000, tol="auto", kernel=kernel, domain=domain)
    assert got.converged.all()
    assert (got.n_iter < 5000).all()
    assert len(set(got.n_iter)) > 1  # rows stop by themselves


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("lam", [1e-3, 0.5, 50.0, 1e3, 1e4])
def test_at_convergence_the_gap_to_emd_is_bounded_by_the_entropy(lam, name):
    p, q = pair(9)
    space = SPACES[name]
    got = emdref.sinkhorn(p, q, space, lam, max_iter=20_000, tol=1e-11, domain="log", variant="overrelaxed")
    assert got.status == "converged"
    gap, slack = got.value - emdref.emd(p, q, space), got.marginal_error * space.diameter  # of moving the defect
    assert -slack <= gap <= min(entropy(p), entropy(q)) / lam + slack


def test_gradient_is_that_of_the_objective():
    p, q = pair(13)
    rng, h = np.random.default_rng(0), 1e-6
    direction = rng.normal(size=6)
    direction -= direction.mean()

    def objective(x):
        return emdref.sinkhorn(x, q, SPACES["tree"], 2.0, max_iter=20_000, tol=1e-15, domain="log")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 1e-15 is out of reach: run on to the cap
        slope = (objective(p + h * direction).objective - objective(p - h * direction).objective) / (2 * h)
        grad = objective(p).grad
    # rounding 1e-16 / h = 1e-10, third derivatives of order 1 / p^2 times h^2 less
    assert_allclose(grad @ direction, slope, rtol=1e-8)


def test_one_hot_target_is_exact_after_one_iteration():
    tree, p = emdref.wordnet_tree(), histograms(np.random.default_rng(0), 1000)
    q = np.eye(1000)[17]
    got = emdref.sinkhorn(p, q, tree, 3.0, max_iter=1)
    assert_allclose(got.value, emdref.emd(p, q, tree), rtol=1e-13)


def test_cost_matrix_equals_its_space():
    p, q = pair(21)
    space = SPACES["chain"]
    a = emdref.sinkhorn(p, q, space.distance_matrix(), 2.0)
    b = emdref.sinkhorn(p, q, space, 2.0, kernel="dense")
    assert a.value == b.value


def test_a_failing_row_is_flagged_and_leaves_the_others_alone():
    tree, rng = emdref.wordnet_tree(), np.random.default_rng(0)
    p, q = histograms(rng, (3, 1000), np.float32), histograms(rng, (3, 1000), np.float32)
    q[1] = np.eye(1000, dtype=np.float32)[5]  # K underflows in its column: far bins divide by 0
    q[0], q[2] = p[0], p[2]  # the diagonal of K is enough for these
    with pytest.warns(
        RuntimeWarning, match=r"1 of 3 rows failed, the first row 1 with status 'nan'.*domain=\"log\""
    ) as log:
        got = emdref.sinkhorn(p, q, tree, 50.0, max_iter=5)
    assert len(log) == 1
    assert got.status.tolist() == ["iteration_limit", "nan", "iteration_limit"]
    alone = emdref.sinkhorn(p[[0, 2]], q[[0, 2]], tree, 50.0, max_iter=5)
    assert_array_equal(got.value[[0, 2]], alone.value)


def test_status_underflow_when_the_kernel_lost_what_the_plan_needs():
    tree, rng = emdref.wordnet_tree(), np.random.default_rng(0)
    p, q = histograms(rng, 1000, np.float32), histograms(rng, 1000, np.float32)
    with pytest.warns(RuntimeWarning, match="'underflow'"):
        got = emdref.sinkhorn(p, q, tree, 100.0, max_iter=2, kernel="dense")
    assert (
        got.status == "underflow"
    )  # exp(-100 M) is 0 off the diagonal, and no plan on the diagonal has these marginals
    assert got.marginal_error > 0.1


def test_status_overflow():
    p = np.array([1e36, 1e35], np.float32)
    with pytest.warns(RuntimeWarning, match="'overflow'"):
        got = emdref.sinkhorn(p, p[::-1], emdref.Chain(gaps=[1e5]), 5e-5, max_iter=5)
    assert got.status == "overflow"
    assert got.value == np.inf  # some 9e40, beyond float32


def test_status_overflow_where_lam_is_all_but_zero():
    with pytest.warns(RuntimeWarning, match="'overflow'"):
        got = emdref.sinkhorn([4.0, 4.0], [2.0, 6.0], emdref.Chain(2), 1e-308, max_iter=1)
    assert got.status == "overflow" and np.isinf(got.objective) and np.isfinite(got.value)


def test_log_domain_never_fails_where_linear_does():
    tree, rng = emdref.wordnet_tree(), np.random.default_rng(0)
    p, q = histograms(rng, (2, 1000)), histograms(rng, (2, 1000))
    got = emdref.sinkhorn(p, q, tree, 1e3, max_iter=5, domain="log")
    assert got.status.tolist() == ["iteration_limit"] * 2
    assert np.isfinite(got.value).all()


def test_iteration_cap_warns_only_if_a_tolerance_was_asked_for():
    p, q = pair(2)
    assert emdref.sinkhorn(p, q, SPACES["tree"], 5.0, max_iter=1).converged is np.False_
    with pytest.warns(RuntimeWarning, match="1 of 1 rows did not reach tol=1e-12 in max_iter iterations"):
        emdref.sinkhorn(p, q, SPACES["tree"], 5.0, max_iter=1, tol=1e-12)


def test_dtype_argument_converts_first():
    p, q = pair(2)
    got = emdref.sinkhorn(p, q, SPACES["tree"], 1.0, dtype=np.float32)
    want = emdref.sinkhorn(p.astype(np.float32), q.astype(np.float32), SPACES["tree"], 1.0)
    assert got.value.dtype == np.float32
    assert got.value == want.value


def test_leading_axes_are_broadcast():
    rng = np.random.default_rng(0)
    p, q = histograms(rng, (2, 1, 6)), histograms(rng, (3, 6))
    got = emdref.sinkhorn(p, q, SPACES["tree"], 1.0, max_iter=3)
    one = emdref.sinkhorn(p[1, 0], q[2], SPACES["tree"], 1.0, max_iter=3)
    assert got.value.shape == (2, 3)
    assert got.grad.shape == (2, 3, 6)
    assert got.value[1, 2] == one.value
    assert isinstance(one.status, str)


P = np.full(3, 1 / 3)
C = emdref.Chain(3)
ASYMMETRIC = np.array([[0, 1, 2], [1, 0, 1], [2.5, 1, 0]])


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (ValueError, "lam = 0.0 must be finite and > 0", {"lam": 0}),
        (ValueError, "lam = -1.0 must be", {"lam": -1}),
        (ValueError, "lam = nan must be", {"lam": np.nan}),
        (TypeError, "lam must be a real number, not str", {"lam": "3"}),
        (ValueError, "max_iter = 0 must be >= 1", {"max_iter": 0}),
        (TypeError, "max_iter must be an integer, not float", {"max_iter": 2.0}),
        (ValueError, "tol = -1.0 must be", {"tol": -1.0}),
        (TypeError, "tol='tight' must be a number", {"tol": "tight"}),
        (ValueError, "variant='torch' is not one of paper, frogner", {"variant": "torch"}),
        (ValueError, "kernel='sparse' is not one of auto, dense, space", {"kernel": "sparse"}),
        (ValueError, "domain='exp' is not one of linear, log", {"domain": "exp"}),
        (ValueError, "checkpoints holds 200, beyond max_iter = 100", {"checkpoints": (200,)}),
        (ValueError, "checkpoints = 0 must be >= 1", {"checkpoints": (0,)}),
        (RuntimeError, "device='cuda'", {"device": "cuda"}),
        (TypeError, "must be float32 or float64", {"dtype": np.int32}),
        (ValueError, "init must be a pair", {"init": np.zeros(3)}),
        (ValueError, r"log_v has shape \(2,\), expected \(3,\)", {"init": (np.zeros(3), np.zeros(2))}),
        (ValueError, "log_u must be finite or -inf", {"init": (np.full(3, np.nan), np.zeros(3))}),
        (
            ValueError,
            r"cost\[0, 2\] = 2.0 differs from its mirror image cost\[2, 0\] = 2.5 by 0.5, where rounding explains "
            r"8.5e-15: cost must be symmetric; .*\(cost \+ cost.T\) / 2",
            {"space_or_cost": ASYMMETRIC},
        ),
        (
            ValueError,
            r"cost\[1, 1\] = 1.0 lies on the diagonal",
            {"space_or_cost": np.ones((3, 3)) - np.diag([1, 0, 1])},
        ),
        (ValueError, r"cost\[0, 1\] = -1.0 must be finite", {"space_or_cost": -C.distance_matrix()}),
        (ValueError, r"cost has shape \(2, 3\)", {"space_or_cost": np.ones((2, 3))}),
        (
            TypeError,
            'kernel="space" needs sums along edges, which a cost',
            {"space_or_cost": C.distance_matrix(), "kernel": "space"},
        ),
        (
            ValueError,
            r"p has shape \(3,\), its last axis must be the space's 4 bins",
            {"space_or_cost": emdref.Chain(4)},
        ),
        (ValueError, r"p\[1\] = -1.0: a histogram holds no negative mass", {"p": [1, -1.0, 1]}),
        (ValueError, r"q\[0\] = nan", {"q": [np.nan, 1, 0]}),
        (ValueError, "p has total 2 and q 1", {"p": 2 * P}),
        (ValueError, r"p\[:\] is all zeros", {"p": np.zeros(3)}),
        (TypeError, "p is float32 and q is float64", {"p": P.astype(np.float32)}),
    ],
)
def test_bad_input(error, match, arguments):
    call = {"p": P, "q": P, "space_or_cost": C, "lam": 1.0} | arguments
    with pytest.raises(error, match=match):
        emdref.sinkhorn(**call)


POINTS = np.random.default_rng(3).normal(size=(40, 7))


def by_products(x):
    """Squared distances as many libraries compute them: |x|^2 + |y|^2 - 2 x y, one after the other."""
    norms = (x * x).sum(1)
    m = np.maximum((-2 * x @ x.T + norms[:, None]) + norms, 0)
    np.fill_diagonal(m, 0)
    return m


def path_lengths(gaps):
    """Sums of gaps from each end."""
    return np.stack([np.concatenate([np.cumsum(gaps[:k][::-1])[::-1], [0], np.cumsum(gaps[k:])]) for k in range(1000)])


NOT_QUITE_SYMMETRIC = {
    **{name: ot.dist(POINTS, metric=name) for name in ("sqeuclidean", "euclidean")},
    "jensenshannon": ot.dist(abs(POINTS), metric="jensenshannon"),
    "float32": ot.dist(POINTS.astype("f4"), metric="euclidean"),
    "products": by_products(3 + POINTS),
    "roots": np.sqrt(by_products(np.repeat(POINTS, 2, 0) + 1e-7 * np.tile(POINTS, (2, 1)))),
    "roots in float32": np.sqrt(by_products(3 + POINTS.astype("f4"))),
    "another byte order": ot.dist(POINTS.astype("f4")).astype(">f4"),
    "huge": np.ldexp(ot.dist(POINTS), 1016),
    "paths": path_lengths(np.random.default_rng(0).random(999)),
}


@pytest.mark.parametrize("name", ["products", "roots", "roots in float32", "paths"])
def test_rounding_does_make_costs_asymmetric(name):
    assert (NOT_QUITE_SYMMETRIC[name] != NOT_QUITE_SYMMETRIC[name].T).any()


@pytest.mark.parametrize("cost", NOT_QUITE_SYMMETRIC.values(), ids=NOT_QUITE_SYMMETRIC)
def test_costs_are_symmetric_but_for_rounding(cost):
    p, q = pair(0, len(cost))
    lam, given = 4 / cost.astype(float).max(), cost.copy()
    got = [emdref.sinkhorn(p, q, m, lam, max_iter=3) for m in (cost, cost.T.copy(), np.maximum(cost, cost.T))]
    for other in got[1:]:
        assert_array_equal(other.grad, got[0].grad)
        assert other.value == got[0].value
    assert_array_equal(cost, given)


def test_certificates_of_costs_that_are_symmetric_but_for_rounding():
    cost, (p, q) = by_products(POINTS[:6] + 3), pair(0)
    assert (cost != cost.T).any()
    c = emdref.certify_sinkhorn(p, q, cost, 0.1)
    assert tuple(c) == tuple(emdref.certify_sinkhorn(p, q, cost.T, 0.1))
    assert c.verify()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize(("i", "j"), [(3, 4), (29, 0)])
def test_what_rounding_does_not_explain(dtype, size, i, j):
    cost, p = (emdref.Chain(30).distance_matrix() * size).astype(dtype), np.full(30, 1 / 30)
    limit = 16 * np.finfo(dtype).eps * np.sqrt(30) * 29**2 / (2 * (i - j) ** 2)  # of the entry, relative
    cost[i, j] *= 1 + limit / 2
    emdref.sinkhorn(p, p, cost, 1 / size, max_iter=1)
    cost[i, j] *= 1 + limit
    with pytest.raises(ValueError, match=r"cost\[\d+, \d+\] = .* where rounding explains .* give np\.maximum"):
        emdref.sinkhorn(p, p, cost, 1 / size, max_iter=1)


def test_integers_are_not_rounded():
    cost = 10**15 * np.abs(np.subtract.outer(np.arange(3), np.arange(3)))
    cost[0, 2] += 1
    with pytest.raises(ValueError, match=r"cost\[0, 2\] = .* by 1, where rounding explains 0"):
        emdref.sinkhorn(P, P, cost, 1e-15)
    emdref.sinkhorn(P, P, cost.astype(float), 1e-15)


@pytest.mark.parametrize("metric", ["cosine", "correlation", "sqeuclidean", "euclidean"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_what_rounding_leaves_on_the_diagonal_is_refused_with_the_way_out(metric, dtype):
    x = POINTS.astype(dtype)
    cost, (p, q) = ot.dist(x, x.copy(), metric=metric), pair(0, len(POINTS))
    with pytest.raises(ValueError, match=r"must be 0; rounding explains.*np\.fill_diagonal\(cost, 0"):
        emdref.sinkhorn(p, q, cost, 1.0)
    np.fill_diagonal(cost, 0)
    emdref.sinkhorn(p, q, cost, 1.0)
    cost[2, 5] = -np.finfo(dtype).eps
    with pytest.raises(ValueError, match=r"cost\[2, 5\] = -.* >= 0; rounding explains.* give np\.maximum\(cost, 0\)"):
        emdref.sinkhorn(p, q, cost, 1.0)


@pytest.mark.parametrize("variant", ["paper", "frogner"])
def test_underflowed_scaling_is_not_called_converged(variant):
    p, q = np.array([1e-30, 1e-3, 1 - 1e-3], np.float32), np.array([0.5, 0.4, 0.1], np.float32)
    how = {"variant": variant, "tol": 1e-3, "max_iter": 1000}
    with pytest.warns(RuntimeWarning, match="1 of 1 rows failed, the first with status 'underflow'"):
        got = emdref.sinkhorn(p / p.sum(), q, emdref.Chain(gaps=[4.0, 4.0]), 8.0, **how)
    assert got.status == "underflow"  # the marginals agree, but u is 0 where p is 1e-30, and log u / lam no gradient


@pytest.mark.parametrize("lam", [1e-50, 1e300])
def test_lambda_beyond_float32_is_refused(lam):
    with pytest.raises(ValueError, match=re.escape(f"lam = {lam} is beyond float32")):
        emdref.sinkhorn(P, P, C, lam, dtype=np.float32)


def test_cuturi_drops_empty_bins_from_a_warm_start_too():
    p, q, zero = np.array([0, 0.5, 0.5]), np.array([0.5, 0.4, 0.1]), np.zeros(3)
    a = emdref.sinkhorn(p, q, C, 1.0, variant="cuturi", max_iter=1, init=(zero, zero))
    b = emdref.sinkhorn(p, q, C, 1.0, variant="cuturi", max_iter=1)
    assert_allclose(a.value, b.value, rtol=1e-14)  # a constant in log u_0 changes nothing


def test_cost_by_edges_does_not_overflow_before_the_plan_does():
    p, q = np.array([9e3, 1e3]), np.array([1e3, 9e3])
    assert_allclose(emdref.sinkhorn(p, q, emdref.Chain(2), 80.0, dtype=np.float32).value, 8000, rtol=1e-5)


def test_float32_softmaxes_pass_when_converted_to_float64():
    x = np.exp(np.random.default_rng(0).normal(size=(2, 1000))).astype(np.float32)
    p, q = x / x.sum(1, keepdims=True)
    assert emdref.sinkhorn(p, q, emdref.wordnet_tree(), 1.0, max_iter=2, dtype=np.float64).value.dtype == np.float64


def test_lost_entries_count_relative_to_the_total():
    p, q = np.array([0.2, 0.3, 0.5]) * 1e-4, np.array([0.5, 0.4, 0.1]) * 1e-4
    with pytest.warns(RuntimeWarning, match="underflow"):
        assert emdref.sinkhorn(p, q, emdref.Chain(gaps=[1e3, 1e3]), 1.0, max_iter=3).status == "underflow"


def test_zero_over_zero_is_no_failure():
    one = np.array([1.0, 0, 0])
    got = emdref.sinkhorn(one, one, C, 1e4)
    assert (got.value, got.marginal_error, got.status) == (0, 0, "iteration_limit")


def test_a_run_ends_once_every_row_has_settled():
    got = emdref.sinkhorn(P, P, C, 1.0, max_iter=10**9, tol=1e-3, checkpoints=np.array([1, 10**8]))
    assert got.n_iter < 10
    assert got.checkpoints[10**8].value == got.value


@pytest.mark.parametrize(("kernel", "domain"), WAYS)
def test_an_empty_batch_gives_empty_results(kernel, domain):
    got = emdref.sinkhorn(np.zeros((0, 3)), P, C, 1.0, max_iter=2, kernel=kernel, domain=domain)
    assert got.value.shape == (0,)
    assert got.grad.shape == (0, 3)


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (TypeError, "checkpoints=10 must be a sequence", {"checkpoints": 10}),
        (ValueError, "checkpoints = 0 must be >= 1", {"checkpoints": np.array([0])}),
        (TypeError, "checkpoints must be an integer, not list", {"checkpoints": [[1], [2, 3]]}),
        (TypeError, "checkpoints must be an integer, not timedelta64", {"checkpoints": np.ones(1, "m8[s]")}),
        (ValueError, r"checkpoints holds 10{56}\.\.\., beyond max_iter", {"checkpoints": [10**400]}),
        (TypeError, "tol=None must be a number", {"tol": None}),
        (TypeError, "tol=1j must be a number", {"tol": 1j}),
        (TypeError, "tol=array", {"tol": np.ones(2)}),
        (TypeError, "dtype='foo' must be float32 or float64", {"dtype": "foo"}),
        (ValueError, r"p\[0\] = 1e\+300 is beyond float32", {"p": [1e300, 1, 1], "dtype": np.float32}),
        (ValueError, "cost is not a rectangular array", {"space_or_cost": [[0, 1], [1]]}),
        (ValueError, "p is not a rectangular array", {"p": [[1, 2], [1]]}),
        (TypeError, "init's log_u must hold real numbers", {"init": (None, None)}),
        (
            ValueError,
            r"cost holds an integer of 2\*\*53 or more",
            {"space_or_cost": 2**53 * (1 - np.eye(3, dtype=int))},
        ),
        (TypeError, "not float16", {"space_or_cost": C.distance_matrix().astype(np.float16)}),
        (ValueError, "largest distance, inf, is beyond float64", {"space_or_cost": emdref.Chain(gaps=[1e308, 1e308])}),
    ],
)
def test_more_bad_input(error, match, arguments):
    call = {"p": P, "q": P, "space_or_cost": C, "lam": 1.0} | arguments
    with pytest.raises(error, match=match):
        emdref.sinkhorn(**call)


# --- what a tolerance and a dtype can tell ----------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["paper", "cuturi", "caffe", "overrelaxed"])
@pytest.mark.parametrize("kernel", ["space", "dense"])
@pytest.mark.filterwarnings("ignore:.*(unresolved|did not reach):RuntimeWarning")
def test_nothing_converges_to_less_than_a_plan(variant, kernel):
    """4 eps (sqrt(N) + lam max(M)) was more than the total: met after one iteration, with a marginal error of 0.98."""
    rng = np.random.default_rng(0)
    for dtype, lam, n in ((np.float32, 3000.0, 200), (np.float32, 100.0, 200), (np.float64, 1e15, 4)):
        p = rng.dirichlet(np.ones(n)).astype(dtype)
        how = {"domain": "log", "tol": "auto", "variant": variant, "kernel": kernel, "max_iter": 40}
        got = emdref.sinkhorn(p, p[::-1].copy(), emdref.Chain(n), lam, **how)
        assert got.status != "converged" or got.marginal_error <= 1e-3
        assert got.n_iter > 1


def test_a_tolerance_that_any_plan_meets_is_refused():
    p = np.array([[0.5, 0.5, 0.0], [5e-7, 5e-7, 0.0]])
    with pytest.raises(ValueError, match=r"tol = 0\.001 is not below row 1's total, 1e-06"):
        emdref.sinkhorn(p, p[:, ::-1], emdref.Chain(3), 3.0, tol=1e-3)
    assert emdref.sinkhorn(p[0], p[0, ::-1], emdref.Chain(3), 3.0, tol=1e-3).converged


@pytest.mark.parametrize("kernel", ["space", "dense"])
@pytest.mark.parametrize("lam", [1.0, 100.0, 130.0, 400.0, 3000.0])
@pytest.mark.filterwarnings("ignore:.*unresolved:RuntimeWarning")
def test_what_logarithms_cannot_resolve_says_so(kernel, lam):
    """One mass, one way: the value is the distance, but for rounding by 5/2 eps (max|log u| + max|log v|)."""
    n = 1000 if kernel == "space" else 300  # the matrix takes long
    space, bins = emdref.Chain(n), np.eye(n, dtype=np.float32)
    for i, j in ((0, n - 1), (3, n * 7 // 9), (n - 2, 1), (200, 203)):
        got = emdref.sinkhorn(bins[i], bins[j], space, lam, domain="log", kernel=kernel, max_iter=3)
        reach = float(abs(got.log_u[i]) + abs(got.log_v[j]))
        assert (got.status == "unresolved") == (reach * np.finfo(np.float32).eps > 2.0**-6)
        if got.status != "unresolved":
            assert abs(got.value - abs(i - j)) <= 2.5 * 2.0**-6 * abs(i - j)
        exact = emdref.sinkhorn(bins[i], bins[j], space, lam, domain="log", kernel=kernel, max_iter=3, dtype=np.float64)
        assert exact.status == "iteration_limit"
        assert abs(exact.value - abs(i - j)) <= 1e-8 * abs(i - j)


def test_unresolved_rows_are_named():
    bins = np.eye(1000, dtype=np.float32)
    with pytest.warns(RuntimeWarning, match="1 of 2 rows are unresolved, the first row 1.*float64 or a smaller lam"):
        got = emdref.sinkhorn(bins[[5, 0]], bins[[6, 999]], emdref.Chain(1000), 3000.0, domain="log", tol="auto")
    assert got.status.tolist() == ["converged", "unresolved"]
    assert got.converged.tolist() == [True, False]
