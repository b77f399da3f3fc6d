"""Where a row of Sinkhorn's iteration first failed, against the same iteration traced row by row."""

import functools
import warnings

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import emdref
import format_oracle

FAILED = ("nan", "overflow", "underflow")
DTYPES = {
    "float64": np.float64,
    "float32": np.float32,
    "tf32": np.float32,
    "bfloat16": ml_dtypes.bfloat16,
    "float16": np.float16,
}
CHAIN = emdref.Chain(gaps=[0.5, 1.0, 0.2, 2.0, 0.3])
FIELDS = ("status", "failed_at", "failed_bin", "n_iter")
quiet = pytest.mark.filterwarnings("ignore:[0-9]+ of [0-9]+ rows failed")


def trace(p, q, space, lam, iterations, name):
    """Iteration and bin of the first failure of one pair, (0, -1) if there is none, by the paper's variant."""
    dtype = DTYPES[name]
    operand = format_oracle.tf32 if name == "tf32" else lambda x: x
    p, q, m = (np.asarray(x).astype(np.float64).astype(dtype) for x in (p, q, space.distance_matrix()))
    single = np.float64 if dtype is np.float64 else np.float32
    with np.errstate(all="ignore"):
        k = np.exp(-single(lam) * m.astype(single) - single(1)).astype(dtype)
        scaling, factors = np.ones(len(p), dtype), operand(k).astype(single)
        for it in range(1, iterations + 1):
            for mass in (q, p):  # v from u, then u from v
                d = (factors @ operand(scaling).astype(single)).astype(dtype)
                scaling = np.where(mass == 0, 0, (mass / d).astype(single)).astype(dtype)
                for j in range(len(mass)):
                    if mass[j] > 0 and not 0 < scaling[j] < np.inf:
                        return it, j
    return 0, -1


def histograms(rng, shape, sigma=1.0):
    x = np.exp(sigma * rng.normal(size=shape))
    return x / x.sum(-1, keepdims=True)


def run(p, q, space, lam, **how):
    return emdref.sinkhorn(p, q, space, lam, **({"kernel": "dense"} | how))


def where(result):
    return result.status, int(result.failed_at), int(result.failed_bin)


@quiet
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_denominator_of_zero(dtype):
    far = emdref.Chain(gaps=[1.0, 1.0, 3000.0, 1.0])
    p, q = np.full(5, 0.2), np.array([0.5, 0.5, 0, 0, 0])
    got = run(p, q, far, 1.0, max_iter=5, dtype=dtype)
    assert where(got) == ("nan", 1, 3)  # K v is 0 beyond the gap
    assert got.lost_entries == 12 / 25
    assert trace(p, q, far, 1.0, 5, dtype) == (1, 3)


@quiet
@pytest.mark.parametrize("kernel", ["dense", "space"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_denominator_of_zero_by_either_kernel(dtype, kernel):
    far = emdref.Chain(gaps=[1.0, 1.0, 3000.0, 1.0])
    p, q = np.full((2, 5), 0.2), np.array([[0.5, 0.5, 0, 0, 0], [0, 0, 0, 0.5, 0.5]])
    got = run(p, q, far, 1.0, max_iter=5, dtype=dtype, kernel=kernel)
    assert (got.failed_at.tolist(), got.failed_bin.tolist()) == ([1, 1], [3, 0])
    assert got.lost_entries == (12 if kernel == "dense" else 2) / 25  # the space kernel knows of the farthest pair


@quiet
@pytest.mark.parametrize("kernel", ["dense", "space"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_log_domain_fails_where_lambda_times_cost_overflows(dtype, kernel):
    big = float(np.finfo(dtype).max) / 2
    p, q = np.array([[0.25, 0.75, 0], [0.5, 0.5, 0]]), np.array([[0.25, 0.5, 0.25], [0.5, 0.5, 0]])
    got = run(p, q, emdref.Chain(gaps=[1.0, 8.0]), big, max_iter=3, dtype=dtype, domain="log", kernel=kernel)
    assert got.status[0] in FAILED
    assert (got.failed_at[0], got.failed_bin[0]) == (2, 2)  # bin 2 gets mass from afar only: K^T u is 0 there
    assert (got.failed_at[1], got.failed_bin[1]) == (0, -1)


@quiet
@pytest.mark.parametrize(
    ("dtype", "mass"),
    [("float32", 3e38), ("tf32", 3e38), ("bfloat16", 3e38), ("float16", 6e4), ("float64", 1.5e308)],
)
def test_a_scaling_that_overflows(dtype, mass):
    p = mass * np.array([[0, 0, 0.25, 0, 0, 0], [0, 1e-3, 0, 0, 0, 0]])
    got = run(p, p, CHAIN, 1.0, max_iter=4, dtype=dtype, init=(np.full(6, -3.0), np.zeros(6)))
    assert got.status[0] in FAILED  # v = q / (K u) is 0.25 exp(3 + 1) times the mass
    assert (got.failed_at.tolist(), got.failed_bin.tolist()) == ([1, 0], [2, -1])
    assert got.status[1] == "iteration_limit"


@quiet
@pytest.mark.parametrize(
    ("dtype", "tiny", "start"),
    [
        ("float32", 1e-40, -14),
        ("tf32", 1e-40, -14),
        ("bfloat16", 1e-39, -14),
        ("float16", 1e-7, -6),
        ("float64", 1e-320, -14),
    ],
)
def test_mass_lost_because_a_scaling_underflowed(dtype, tiny, start):
    p, q = np.array([[0.5, tiny, 0.5 - tiny], [0.5, 0.25, 0.25]]), np.array([[0.25, 0.5, 0.25]] * 2)
    init = np.full(3, float(start)), np.zeros(3)  # v is large, and u[1] = tiny / (K v) below the smallest number
    got = run(p, q, emdref.Chain(3), 1.0, max_iter=1, dtype=dtype, init=init)
    assert got.status.tolist() == ["underflow", "iteration_limit"]
    assert (got.failed_at.tolist(), got.failed_bin.tolist()) == ([1, 0], [1, -1])


@quiet
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_failure_in_v_comes_before_one_in_u(dtype):
    p, q = np.array([1.0, 0, 0]), np.array([0.5, 0, 0.5])
    far = emdref.Chain(gaps=[1.0, 3000.0])
    last = run(p, q, far, 1.0, max_iter=1, dtype=dtype)
    assert where(last)[1:] == (-1, 2)  # u[2] is 0 by right, and only the refreshed v divides by (K^T u)[2] = 0
    assert last.status in FAILED
    assert where(run(p, q, far, 1.0, max_iter=2, dtype=dtype))[1:] == (2, 2)


@quiet
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_only_the_evaluation_shows_has_no_iteration(dtype):
    p, q = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    got = run(p, q, emdref.Chain(gaps=[3000.0]), 1.0, max_iter=3, dtype=dtype)
    assert where(got) == ("underflow", -1, -1)  # no plan on the diagonal has these marginals
    assert got.lost_entries == 0.5


@quiet
def test_a_value_beyond_the_dtype_has_no_iteration():
    p = np.array([1e36, 1e35], np.float32)
    assert where(run(p, p[::-1], emdref.Chain(gaps=[1e5]), 5e-5, max_iter=5)) == ("overflow", -1, -1)


@quiet
def test_a_later_iteration_is_named():
    p, q = np.array([1e-30, 1e-3, 1 - 1e-3], np.float32), np.array([0.5, 0.4, 0.1], np.float32)
    space = emdref.Chain(gaps=[4.0, 4.0])
    got = run(p / p.sum(), q, space, 8.0, max_iter=1000)
    want = trace(p / p.sum(), q, space, 8.0, 1000, "float32")
    assert where(got) == ("underflow", *want)
    assert want[0] > 1
    before = run(p / p.sum(), q, space, 8.0, max_iter=want[0] - 1)
    assert before.failed_at <= 0
    assert where(emdref.sinkhorn(p / p.sum(), q, space, 8.0, max_iter=1000)) == ("underflow", *want)


@quiet
def test_a_row_fails_after_others_have_stopped():
    late, q = np.array([1e-30, 1e-3, 1 - 1e-3], np.float32), np.array([0.5, 0.4, 0.1], np.float32)
    p, q = np.array([q, late / late.sum(), q]), np.array([[0, 1, 0], q, [1, 0, 0]], np.float32)
    space = emdref.Chain(gaps=[4.0, 4.0])
    got = run(p, q, space, 8.0, max_iter=400, tol=1e-5)
    at, at_bin = trace(p[1], q[1], space, 8.0, 400, "float32")
    assert got.status.tolist() == ["converged", "underflow", "converged"]
    assert got.n_iter[0] < at and got.n_iter[2] < at
    assert (got.failed_at.tolist(), got.failed_bin.tolist()) == ([0, at, 0], [-1, at_bin, -1])


@functools.cache
def batch(dtype, lam):
    """Rows of which some fail: spread, with far and tiny masses, and harmless ones."""
    rng = np.random.default_rng(int(lam))
    p, q = histograms(rng, (40, 6), 4.0), histograms(rng, (40, 6), 4.0)
    p[::8] = q[::8]
    p[3::8] = np.eye(6)[0]
    q[5::8, 0], q[5::8, 1:] = 1.0, 0
    return p, q, run(p, q, CHAIN, lam, max_iter=12, dtype=dtype, checkpoints=(1, 2, 3, 5, 8))


@quiet
@pytest.mark.parametrize("lam", [4.0, 16.0, 64.0, 400.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_row_of_a_batch_is_the_trace_of_that_row(dtype, lam):
    p, q, got = batch(dtype, lam)
    first = [trace(*row, CHAIN, lam, 12, dtype) for row in zip(p, q, strict=True)]
    for k, point in (*got.checkpoints.items(), (12, got)):
        for i in range(len(p)):
            status, at, at_bin = point.status[i], point.failed_at[i], point.failed_bin[i]
            want = first[i] if first[i][0] <= k else (0, -1)
            if status not in FAILED:
                assert (at, at_bin) == (0, -1)
            elif want[0]:
                assert (at, at_bin) == want
            else:
                assert at == -1


@quiet
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_batches_hold_failures_of_every_kind(dtype):
    seen = [batch(dtype, lam)[2] for lam in (4.0, 16.0, 64.0, 400.0)]
    failed = [np.isin(r.status, FAILED) for r in seen]
    assert any(0 < f.sum() < len(f) for f in failed)
    assert any((r.failed_at > 0).any() for r in seen)
    assert any((r.failed_at == -1).any() for r in seen)


@quiet
@pytest.mark.parametrize("variant", ["paper", "cuturi", "caffe"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_shorter_runs_agree_with_checkpoints(dtype, variant):
    rng = np.random.default_rng(2)
    p, q = histograms(rng, (12, 6), 6.0), histograms(rng, (12, 6), 6.0)
    q[4] = np.eye(6)[5]
    how = {"dtype": dtype, "variant": variant, "tol": 1e-2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not every row reaches tol
        whole = run(p, q, CHAIN, 9.0, max_iter=30, checkpoints=(1, 2, 4, 7, 11, 30), **how)
        for k, point in whole.checkpoints.items():
            short = run(p, q, CHAIN, 9.0, max_iter=k, **how)
            for field in FIELDS:
                assert_array_equal(getattr(point, field), getattr(short, field), err_msg=f"{field} at {k}")
            assert point.lost_entries == short.lost_entries


@quiet
def test_a_scaling_that_recovers_is_no_failure():
    rng = np.random.default_rng(0)
    p, q = histograms(rng, (2000, 6), 4.0), histograms(rng, (2000, 6), 4.0)
    got = run(p, q, CHAIN, 4.0, max_iter=60, dtype="float16", checkpoints=(1, 2, 3, 4, 5))
    lost = [point.failed_at > 0 for point in got.checkpoints.values()]
    back = np.logical_or.reduce(lost) & ~np.isin(got.status, FAILED)
    assert back.any()
    assert not got.failed_at[back].any() and (got.failed_bin[back] == -1).all()


@quiet
@pytest.mark.parametrize("dtype", DTYPES)
def test_lost_entries_are_those_of_the_matrix(dtype):
    lam, form = 40.0, DTYPES[dtype]
    single = np.float64 if form is np.float64 else np.float32
    with np.errstate(under="ignore"):
        k = np.exp(-single(lam) * emdref.Chain(30).distance_matrix().astype(single) - single(1)).astype(form)
    one = np.full(30, 1 / 30)
    got = run(one, one, emdref.Chain(30), lam, max_iter=1, dtype=dtype)
    assert got.lost_entries == np.mean(k == 0) > 0
    assert run(one, one, emdref.Chain(30), 0.1, max_iter=1, dtype=dtype).lost_entries == 0


@pytest.mark.parametrize("kernel", ["dense", "space"])
def test_lost_entries_are_none_in_the_log_domain(kernel):
    one = np.full(30, 1 / 30)
    got = run(one, one, emdref.Chain(30), 1e3, max_iter=1, domain="log", kernel=kernel)
    assert got.lost_entries == 0 and isinstance(got.lost_entries, float)


def test_no_failure_is_zero_and_minus_one():
    one = run([0.5, 0.5], [0.25, 0.75], emdref.Chain(2), 1.0)
    assert (one.failed_at, one.failed_bin) == (0, -1)
    rows = run(np.full((2, 3, 2), 0.5), [0.25, 0.75], emdref.Chain(2), 1.0)
    assert rows.failed_at.shape == rows.failed_bin.shape == (2, 3)
    assert not rows.failed_at.any() and (rows.failed_bin == -1).all()


FAR = emdref.Chain(gaps=[1.0, 1.0, 3000.0, 1.0])
EVEN, LEFT, BOTH = np.full(5, 0.2), np.array([0.5, 0.5, 0, 0, 0]), np.array([0.2, 0.2, 0.1, 0.25, 0.25])


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_warning_names_kinds_row_iteration_and_bin(dtype):
    q = np.array([EVEN, EVEN, LEFT, BOTH, LEFT, EVEN])
    text = (
        r"^3 of 6 rows failed \(2 nan, 1 underflow\), the first row 2 with status 'nan' in iteration 1 at bin 3: "
        'do not trust their values, use domain="log", float64 or a smaller lam$'
    )
    with pytest.warns(RuntimeWarning, match=text) as log:
        got = run(EVEN, q, FAR, 1.0, max_iter=4, dtype=dtype)
    assert len(log) == 1
    assert got.failed_at.tolist() == [0, 0, 1, -1, 1, 0]


@pytest.mark.parametrize(
    ("q", "text"),
    [
        ([LEFT], "^1 of 1 rows failed, the first row 0 with status 'nan' in iteration 1 at bin 3: "),
        (LEFT, "^1 of 1 rows failed, the first with status 'nan' in iteration 1 at bin 3: "),
        (BOTH, "^1 of 1 rows failed, the first with status 'underflow' after the last iteration: "),
        ([[EVEN], [LEFT]], r"^1 of 2 rows failed, the first row \(1, 0\) with status 'nan' in iteration 1 at bin 3: "),
        ([BOTH, BOTH], r"^2 of 2 rows failed \(2 underflow\), the first row 0 with status 'underflow' after the last"),
    ],
)
def test_the_warning_by_shape(q, text):
    with pytest.warns(RuntimeWarning, match=text):
        run(EVEN, np.array(q), FAR, 1.0, max_iter=4)


@quiet
def test_rows_that_stopped_keep_what_was_known_of_them():
    q = np.array([EVEN, LEFT, BOTH])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = run(EVEN, q, FAR, 1.0, max_iter=20, tol=1e-6)
    assert got.status.tolist() == ["converged", "nan", "underflow"]
    assert got.failed_at.tolist() == [0, 1, -1]
    assert got.n_iter[0] < 20 and (got.n_iter[1:] == 20).all()
