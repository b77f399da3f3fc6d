"""Sinkhorn's iterations along a tree as plain Python, many in a call, against a matrix and against one at a time."""

import itertools

import numpy as np
import pytest

import plain

emdref = plain.original()
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*encountered in:RuntimeWarning",
    "ignore:.*rows failed:RuntimeWarning",
    "ignore:.*did not reach tol:RuntimeWarning",
)
each_domain = pytest.mark.parametrize("domain", ["linear", "log"])
FIELDS = ["value", "objective", "log_u", "log_v", "n_iter", "marginal_error", "status", "failed_at", "failed_bin"]


def pairs(n, rows=5):
    rng = np.random.default_rng(n)
    p, q = rng.dirichlet(np.ones(n), (2, rows))
    p[1, 0] = q[2, 1] = 0
    return p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)


def results(p, q, space, lam, domain, **options):
    return emdref.sinkhorn(p, q, space, lam, domain=domain, **options)


def step_by_step(p, q, space, lam, domain, monkeypatch, **options):
    """With a call of the kernel for each iteration, and products and divisions apart."""
    with monkeypatch.context() as m:
        m.setattr(emdref.entropic.iteration, "_by_tiles", lambda *_: False)
        return results(p, q, space, lam, domain, **options)


def same(a, b, fields=FIELDS, **close):
    for name in fields:
        x, y = getattr(a, name), getattr(b, name)
        if close and np.asarray(x).dtype.kind == "f":
            np.testing.assert_allclose(x, y, err_msg=name, **close)
        else:
            np.testing.assert_array_equal(x, y, err_msg=name)


@each_domain
@pytest.mark.parametrize("shape", [*plain.SHAPES, "chain"])
def test_blocks_are_the_iteration(shape, domain, monkeypatch):
    space = emdref.Chain(gaps=plain.GAPS) if shape == "chain" else emdref.Tree(*plain.SHAPES[shape])
    p, q = pairs(space.n_bins)
    options = {"max_iter": 7, "checkpoints": (1, 4)}
    got = results(p, q, space, 2.0, domain, **options)
    want = step_by_step(p, q, space, 2.0, domain, monkeypatch, **options)
    for a, b in itertools.chain([(got, want)], [(got.checkpoints[k], want.checkpoints[k]) for k in (1, 4)]):
        same(a, b, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("lam", [200.0, 800.0, 3000.0])
def test_failures_are_remembered_as_step_by_step(lam, monkeypatch):
    """Masses divided by 0, scalings lost and infinite, with iteration and bin, beside rows that do not fail."""
    space = emdref.Tree(*plain.SHAPES["tree"])
    p, q = pairs(5, 12)
    p[3], q[3] = np.eye(5)[[0, 4]]
    p[4], q[4] = p[4] * 1e-300, q[4] * 1e-300
    q[5] = p[5]
    got = results(p, q, space, lam, "linear", max_iter=40)
    want = step_by_step(p, q, space, lam, "linear", monkeypatch, max_iter=40)
    assert len(set(want.failed_at.tolist())) > 1
    same(got, want)


@each_domain
def test_rows_retire_one_by_one(domain, monkeypatch):
    space = emdref.Tree(*plain.SHAPES["tree"])
    p, q = pairs(5, 9)
    options = {"max_iter": 60, "tol": 1e-7, "checkpoints": (8,)}
    got = results(p, q, space, 1.5, domain, **options)
    want = step_by_step(p, q, space, 1.5, domain, monkeypatch, **options)
    assert len(set(got.n_iter.tolist())) > 2
    same(got, want, rtol=1e-12, atol=1e-13)
    alone = results(p[4], q[4], space, 1.5, domain, **options)
    assert alone.n_iter == got.n_iter[4] and np.array_equal(alone.log_u, got.log_u[4])


@each_domain
def test_neither_tiles_nor_blocks_nor_checkpoints_show(domain, monkeypatch):
    space = emdref.Tree(*plain.SHAPES["inner"])
    p, q = pairs(4, 11)
    whole = results(p, q, space, 1.0, domain, max_iter=6)
    cut = results(p, q, space, 1.0, domain, max_iter=6, checkpoints=(1, 2, 5))
    some = results(p[3:7], q[3:7], space, 1.0, domain, max_iter=6)
    monkeypatch.setattr(emdref.kernels.compile.threads, "_BLOCK", 1)
    small = results(p, q, space, 1.0, domain, max_iter=6)
    same(whole, cut), same(whole, small)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(whole, name)[3:7], getattr(some, name), err_msg=name)


@each_domain
@pytest.mark.parametrize("variant", ["paper", "cuturi", "caffe"])
def test_memory_is_not_read_before_it_is_written(domain, variant, monkeypatch):
    """With all of it NaN at first: that of tiles, and what blocks of iterations leave for the next."""
    space = emdref.Tree(*plain.SHAPES["inner"])
    p, q = pairs(4, 5)
    options = {"max_iter": 9, "tol": 1e-3, "checkpoints": (2,), "variant": variant}
    whole = results(p, q, space, 1.0, domain, **options)
    count = 0

    def nan(lanes, dtype):
        nonlocal count
        count += 1
        return np.full(lanes * (64 // np.dtype(dtype).itemsize), np.nan, dtype)

    for module in (emdref.kernels.entropic.products, emdref.kernels.entropic.alternation):
        monkeypatch.setattr(module, "scratch", nan)
    monkeypatch.setattr(emdref.entropic.tiles, "_room", lambda size, dtype: np.full(size, np.nan, dtype))
    monkeypatch.setattr(emdref.kernels.compile.threads, "_BLOCK", 1)
    again = results(p, q, space, 1.0, domain, **options)
    same(whole, again), same(whole.checkpoints[2], again.checkpoints[2])
    assert count


@pytest.mark.parametrize("lam", [1e-3, 1.0, 1e4])
def test_the_log_domain_is_the_matrix_in_extended_precision(lam):
    parent, cost, bins = plain.SHAPES["tree"]
    space = emdref.Tree(parent, cost, bins)
    p, q = pairs(5, 3)
    log_k = -np.longdouble(lam) * space.distance_matrix() - 1
    log_u = np.zeros((3, 5), np.longdouble)
    for _ in range(4):
        log_v = np.log(np.longdouble(q)) - np.logaddexp.reduce(log_k + log_u[:, None, :], axis=2)
        log_u = np.log(np.longdouble(p)) - np.logaddexp.reduce(log_k + log_v[:, None, :], axis=2)
    got = results(p, q, space, lam, "log", max_iter=4, variant="caffe")
    scale = np.finfo(float).eps * (8 + 8 * lam * space.diameter)
    np.testing.assert_allclose(got.log_u, log_u.astype(float), rtol=0, atol=scale)
    np.testing.assert_allclose(got.log_v, log_v.astype(float), rtol=0, atol=scale)
