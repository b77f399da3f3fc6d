"""Sinkhorn on a GPU beside the CPU and beside an explicit plan in extended precision."""

import contextlib
import ctypes
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import races
from numpy.testing import assert_allclose, assert_array_equal

import emdref
import sinkhorn_oracle
from array_kinds import Array
from gpu_support import SIMULATED, sized

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning", "ignore:[0-9]+ of [0-9]+ rows"),
]

VARIANTS = ("paper", "frogner", "cuturi", "caffe", "mocha")
DTYPES = [np.float32, np.float64]
LINES = ("grad", "log_u", "log_v")
NUMBERS = ("value", "objective", "marginal_error", *LINES)
MARKS = ("n_iter", "status", "converged", "failed_at", "failed_bin")
HARD = emdref.Tree(
    [3, 0, 0, -1, 3, 4, 4, 4, 6, 8], [1, 0.5, 2, 0, 0.7, 0, 1.5, 1, 0.2, 0.4], bins=[1, 2, 5, 3, 7, 4, 9]
)
SPACES = {
    "a bin at the root, unary nodes, an edge of cost 0": HARD,
    "chain": emdref.Chain(gaps=[0.5, 1.0, 0.0, 2.0, 0.3, 0.1]),
    "star": emdref.Tree([-1] + [0] * 7, np.linspace(0, 2, 8)),
    "one bin": emdref.Chain(1),
}
each_way = pytest.mark.parametrize(
    ("kernel", "domain"), [(k, d) for k in ("space", "dense") for d in ("linear", "log")]
)
each_domain = pytest.mark.parametrize("domain", ["linear", "log"])
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture(autouse=True)
def _threads_take_turns():
    """The simulator's threads wait for each other all the time."""
    before = sys.getswitchinterval()
    if SIMULATED:
        sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


def histograms(seed, n_bins, rows=3, dtype=np.float64, empty=0.3):
    rng = np.random.default_rng(seed)
    x = np.exp(rng.normal(size=(rows, n_bins))) * (rng.random((rows, n_bins)) >= empty)
    x[..., 0] += 0.1
    return (x / x.sum(-1, keepdims=True)).astype(dtype)


def pair(space, dtype=np.float64, rows=3):
    return histograms(1, space.n_bins, rows, dtype), histograms(2, space.n_bins, rows, dtype)


def on_device(*args, **options):
    return emdref.sinkhorn(*args, device="cuda", **options)


def assert_like(got, want, rtol, atol):
    """Numbers within the tolerance, everything else the same."""
    for name in NUMBERS:
        a, b = getattr(got, name), getattr(want, name)
        assert (a.dtype, a.shape) == (b.dtype, b.shape), name
        assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=name)
    for name in MARKS:
        assert_array_equal(getattr(got, name), getattr(want, name), err_msg=name)
        assert np.asarray(getattr(got, name)).dtype == np.asarray(getattr(want, name)).dtype, name
    assert got.lost_entries == want.lost_entries


@each_way
@each_dtype
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_kernel_domain_and_dtype(variant, kernel, domain, dtype):
    p, q = pair(HARD, dtype)
    how = {"max_iter": 3, "variant": variant, "kernel": kernel, "domain": domain}
    got = on_device(p, q, HARD, 1.7, **how)
    # 3 iterations of two products of 7 terms and two divisions, some 60 roundings, times 4 for exp and log
    tolerance = 256 * np.finfo(dtype).eps
    assert_like(got, emdref.sinkhorn(p, q, HARD, 1.7, **how), tolerance, tolerance)
    for i in range(len(p)):
        want = sinkhorn_oracle.sinkhorn(variant, p[i], q[i], HARD.distance_matrix(), 1.7, 3)
        for name in NUMBERS:
            expected = np.asarray(want[name]).astype(float)
            assert_allclose(getattr(got, name)[i], expected, rtol=tolerance, atol=tolerance, err_msg=name)


def test_numbers_come_back_in_the_kind_that_was_moved_there():
    p, q = pair(HARD)
    got, want = on_device(Array(p), Array(q), HARD, 1.7, max_iter=1), on_device(p, q, HARD, 1.7, max_iter=1)
    for name in NUMBERS:
        assert type(getattr(got, name)) is Array
        assert_array_equal(getattr(got, name).array, getattr(want, name))
    assert_array_equal(got.n_iter, want.n_iter)


@each_way
@pytest.mark.parametrize("name", SPACES)
def test_every_space(name, kernel, domain):
    space = SPACES[name]
    p, q = pair(space)
    how = {"max_iter": 2, "kernel": kernel, "domain": domain}
    assert_like(on_device(p, q, space, 2.5, **how), emdref.sinkhorn(p, q, space, 2.5, **how), 5e-14, 5e-14)


@each_dtype
@pytest.mark.parametrize("kernel", ["space", "dense"])
def test_a_cost_matrix_and_a_pair_alone(kernel, dtype):
    p, q = (x[0] for x in pair(HARD, dtype))
    where = HARD if kernel == "space" else HARD.distance_matrix()
    got, want = on_device(p, q, where, 2.0, max_iter=2), emdref.sinkhorn(p, q, where, 2.0, max_iter=2)
    assert_like(got, want, 256 * np.finfo(dtype).eps, 256 * np.finfo(dtype).eps)
    assert isinstance(got.status, str)


@each_dtype
def test_the_space_kernel_repeats_the_cpus_scalings(dtype):
    """In the linear domain u and v are the CPU's, so that their logarithms differ by the logarithm's rounding alone."""
    p, q = pair(HARD, dtype)
    how = {"max_iter": sized(100, 6), "variant": "caffe"}  # whose v is not refreshed
    got, want = on_device(p, q, HARD, 30.0, **how), emdref.sinkhorn(p, q, HARD, 30.0, **how)
    for name in ("log_u", "log_v"):
        a, b = getattr(got, name), getattr(want, name)
        assert_array_equal(np.isfinite(a), np.isfinite(b))
        assert_allclose(a, b, rtol=3 * np.finfo(dtype).eps, atol=2 * np.finfo(dtype).eps)


# --- rows, launches ---------------------------------------------------------------------------------------------------


def bits(result, row=slice(None)):
    return [np.asarray(getattr(result, name))[row].tobytes() for name in NUMBERS]


@each_domain
@pytest.mark.parametrize("shared", [True, False])
def test_bits_depend_on_no_launch_and_no_other_row(domain, shared, monkeypatch):
    from emdref.gpu import gibbs
    from emdref.kernels.cuda.target import Limits

    p, q = pair(HARD)
    how = {"domain": domain, "max_iter": 2, "tol": 1e-300}
    want = on_device(p, q, HARD, 3.0, **how)
    monkeypatch.setattr(gibbs, "limits", lambda number: Limits(48 * 1024 if shared else 0, 1, 1024))
    for lanes, threads in ((1, 32), (2, 64), (4, 96)) if not SIMULATED else ((1, 2), (2, 2), (4, 8)):
        monkeypatch.setattr(gibbs, "_LANES", lanes)
        monkeypatch.setattr(gibbs, "_THREADS", threads)
        assert bits(on_device(p, q, HARD, 3.0, **how)) == bits(want)
    assert bits(on_device(p[1:2], q[1:2], HARD, 3.0, **how), 0) == bits(want, 1)


@each_way
def test_a_run_in_several_launches_is_the_same(kernel, domain, monkeypatch):
    from emdref.gpu import entropic

    p, q = pair(HARD)
    how = {"kernel": kernel, "domain": domain, "max_iter": 3}
    want = on_device(p, q, HARD, 3.0, **how)
    monkeypatch.setattr(entropic, "_BLOCK", 1)
    got = on_device(p, q, HARD, 3.0, checkpoints=(1, 2), **how)
    assert bits(got) == bits(want)
    assert_like(got.checkpoints[2], emdref.sinkhorn(p, q, HARD, 3.0, **(how | {"max_iter": 2})), 5e-14, 5e-14)


@each_way
@pytest.mark.parametrize("tol", [1e-3, "auto"])
def test_rows_retire(kernel, domain, tol):
    p, q = pair(HARD)
    p[0] = q[0]
    q[1] = np.eye(7)[2]  # exact after one iteration
    how = {"kernel": kernel, "domain": domain, "tol": tol, "max_iter": 6, "checkpoints": (2,)}
    got, want = on_device(p, q, HARD, 0.8, **how), emdref.sinkhorn(p, q, HARD, 0.8, **how)
    assert_like(got, want, 5e-14, 5e-14)
    assert_like(got.checkpoints[2], want.checkpoints[2], 5e-14, 5e-14)
    assert want.n_iter[1] == 1
    assert len(set(want.n_iter.tolist())) > 1 or tol == "auto"


@pytest.mark.parametrize("variant", ["paper", "cuturi"])
def test_a_warm_start_goes_on(variant):
    p, q = pair(HARD)
    first = on_device(p, q, HARD, 2.0, max_iter=1, variant=variant)
    init = first.log_u, first.log_v
    got = on_device(p, q, HARD, 2.0, max_iter=2, variant=variant, init=init)
    assert_like(got, emdref.sinkhorn(p, q, HARD, 2.0, max_iter=2, variant=variant, init=init), 5e-14, 5e-14)


@pytest.mark.skipif(not SIMULATED, reason="the simulator's threads can be listened to, a device's cannot")
@each_way
@pytest.mark.parametrize("tol", [0.0, 1e-300])
def test_threads_keep_out_of_each_others_way(kernel, domain, tol):
    """No races, no barrier that some do not meet, and nothing read of shared memory that nobody wrote."""
    p, q = pair(HARD)
    how = {"kernel": kernel, "domain": domain, "tol": tol, "max_iter": 2}
    with races.watched(poison=True) as found:
        got = on_device(p, q, HARD, 2.0, **how)
    assert found.accesses > 0
    assert (found.races, found.uneven) == (set(), set())
    assert_like(got, emdref.sinkhorn(p, q, HARD, 2.0, **how), 5e-14, 5e-14)


class _CuPy:
    """As much of CuPy as products need, on the simulator's memory, which is the host's."""

    def __init__(self):
        self.products = 0
        here = contextlib.nullcontext
        self.cuda = SimpleNamespace(
            Device=lambda number: here(),
            Stream=SimpleNamespace(null=here()),
            UnownedMemory=lambda pointer, size, owner, number: (pointer, size),
            MemoryPointer=lambda memory, offset: memory,
        )

    @staticmethod
    def ndarray(shape, dtype, place):
        pointer, size = place
        return np.frombuffer((ctypes.c_char * size).from_address(pointer), dtype).reshape(shape)

    def matmul(self, a, b, out):
        self.products += 1
        np.matmul(a, b, out=out)


@pytest.mark.skipif(not SIMULATED, reason="stands in for CuPy in the simulator, whose memory is the host's")
@each_dtype
def test_products_by_cupy(dtype, monkeypatch):
    from emdref.gpu import gibbs

    cupy = _CuPy()
    monkeypatch.setattr(gibbs, "cupy", lambda: cupy)
    p, q = pair(HARD, dtype)
    cost = HARD.distance_matrix()
    got, want = on_device(p, q, cost, 2.0, max_iter=3), emdref.sinkhorn(p, q, cost, 2.0, max_iter=3)
    assert_like(got, want, 64 * np.finfo(dtype).eps, 64 * np.finfo(dtype).eps)
    assert cupy.products == 1 + 3 * 2 + 2  # K u_0, three iterations, K v and the moments at the end


# --- failures ---------------------------------------------------------------------------------------------------------

FAR = emdref.Chain(gaps=[1.0, 1.0, 3000.0, 1.0])
APART = np.full((2, 5), 0.2), np.array([[0.5, 0.5, 0, 0, 0], [0, 0, 0, 0.5, 0.5]])


def failing(p, q, space, lam, **how):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        got = on_device(p, q, space, lam, **how)
    with warnings.catch_warnings(record=True) as expected:
        warnings.simplefilter("always")
        want = emdref.sinkhorn(p, q, space, lam, **how)
    for name in MARKS:
        assert_array_equal(getattr(got, name), getattr(want, name), err_msg=name)
    texts = [[str(w.message) for w in x if "rows" in str(w.message)] for x in (said, expected)]
    assert texts[0] == texts[1]
    return got, texts[0]


@each_dtype
@pytest.mark.parametrize("kernel", ["space", "dense"])
def test_a_mass_divided_by_0(kernel, dtype):
    p, q = (x.astype(dtype) for x in APART)
    got, said = failing(p, q, FAR, 1.0, kernel=kernel, max_iter=3)
    assert got.failed_at.tolist() == [1, 1]
    assert got.failed_bin.tolist() == [3, 0]
    assert len(said) == 1


@pytest.mark.parametrize("kernel", ["space", "dense"])
@pytest.mark.parametrize(("start", "status"), [(-700.0, "nan"), (300.0, "underflow"), (709.0, "nan")])
def test_scalings_beyond_the_dtype(kernel, start, status):
    """A start that under- or overflows in one row leaves the other alone, which fails after the last iteration."""
    space = emdref.Chain(gaps=[300.0, 300.0, 80.0])
    p, q = np.array([[1e-200, 0.5, 0.25, 0.25]] * 2), np.array([[1e-200, 0.25, 0.5, 0.25]] * 2)
    init = np.stack([np.full(4, start), np.zeros(4)]), np.zeros((2, 4))
    got, _ = failing(p, q, space, 1.2, kernel=kernel, max_iter=3, init=init)
    assert got.status.tolist() == [status, "underflow"]
    assert got.failed_at.tolist() == [1, -1]


@pytest.mark.parametrize("kernel", ["space", "dense"])
def test_a_failure_in_a_later_iteration(kernel):
    p, q = np.array([1e-300, 1.0]), np.array([0.5, 0.5])
    got, _ = failing(p, q, emdref.Chain(2), 600.0, kernel=kernel, max_iter=3, init=([700, -700], [0, 0]))
    assert (got.status, int(got.failed_at), int(got.failed_bin)) == ("underflow", 3, 0)


@pytest.mark.parametrize("domain", ["linear", "log"])
def test_a_value_beyond_the_dtype(domain):
    p, q = (np.array(x, np.float32) for x in ([0.3, 0.7], [0.6, 0.4]))
    got, _ = failing(p * 1e38, q * 1e38, emdref.Chain(gaps=[30.0]), 1e-3, domain=domain, max_iter=2)
    assert got.status == "overflow"


def test_the_log_domain_does_not_fail_there():
    got, said = failing(*APART, FAR, 1.0, domain="log", max_iter=2)
    assert not said
    assert set(got.status) == {"iteration_limit"}


def test_a_cap_is_warned_of_if_a_tolerance_was_asked_for():
    p, q = pair(HARD)
    assert "did not reach tol=1e-09" in failing(p, q, HARD, 5.0, max_iter=1, tol=1e-9)[1][0]


# --- what is refused, and arrays that lie on a device -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"unrolled": True}, "unrolled=True"),
        ({"variant": "overrelaxed"}, 'variant="overrelaxed"'),
        ({"kernel": "dense", "dtype": "bfloat16"}, 'dtype="bfloat16"'),
    ],
)
def test_what_the_cpu_alone_computes(options, name):
    p, q = pair(HARD)
    with pytest.raises(ValueError, match=f"^{name} is computed on the CPU alone: .*device=None"):
        on_device(p, q, HARD, 2.0, **options)


def there(*arrays):
    from emdref.kernels.cuda.target import cuda

    return [cuda.to_device(np.ascontiguousarray(x)) for x in arrays]


def here(result):
    return {name: getattr(result, name).copy_to_host() for name in NUMBERS}


@pytest.mark.parametrize("dtype", [None, np.float32])
def test_device_arrays_come_back_as_such(dtype):
    p, q = pair(HARD)
    how = {"max_iter": 2, "dtype": dtype, "variant": "cuturi"}
    got, want = emdref.sinkhorn(*there(p, q), HARD, 2.0, **how), on_device(p, q, HARD, 2.0, **how)
    assert {type(getattr(got, name)) for name in (*NUMBERS, "n_iter")} == {type(there(p)[0])}
    for name, x in here(got).items():
        assert_array_equal(x, getattr(want, name), err_msg=name)
    assert_array_equal(got.status, want.status)
    again = emdref.sinkhorn(*there(p, q), HARD, 2.0, init=(got.log_u, got.log_v), **how)
    start = [getattr(want, name) for name in ("log_u", "log_v")]
    assert_allclose(here(again)["log_u"], on_device(p, q, HARD, 2.0, init=start, **how).log_u, rtol=1e-6)


def test_bad_rows_on_a_device_are_refused_as_on_the_host():
    p, q = pair(HARD)
    for at, value in (((1, 2), -0.5), ((2, 0), np.nan), ((0, 1), 7.0), ((1, slice(None)), 0.0)):
        bad = p.copy()
        bad[at] = value
        with pytest.raises(ValueError, match=r"p") as want:
            emdref.sinkhorn(bad, q, HARD, 2.0)
        with pytest.raises(ValueError, match=r"p") as got:
            emdref.sinkhorn(*there(bad, q), HARD, 2.0)
        assert str(got.value) == str(want.value)


def test_bad_potentials_on_a_device_are_refused():
    p, q = pair(HARD)
    bad, short = np.zeros((3, 7)), np.zeros((2, 7))
    bad[1, 1] = np.inf
    for init, match in ((there(p, bad), "log_v must be finite or -inf"), (there(short, short), "log_u has shape")):
        with pytest.raises(ValueError, match=match):
            emdref.sinkhorn(*there(p, q), HARD, 2.0, init=tuple(init))


def test_no_rows():
    empty = np.empty((0, 7))
    for kernel in ("space", "dense"):
        assert on_device(empty, empty, HARD, 2.0, kernel=kernel, max_iter=2).grad.shape == (0, 7)
