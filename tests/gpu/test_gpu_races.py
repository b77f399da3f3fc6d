"""No kernel has a data race, meets a barrier unevenly, or reads shared memory that nobody wrote; in the simulator."""

import numpy as np
import pytest
import races

import emdref
from gpu_support import SIMULATED

if SIMULATED:
    from emdref.kernels.cuda.target import cuda, kernel

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not SIMULATED, reason="the simulator's threads can be listened to, a device's cannot"),
    pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning"),
]
RNG = np.random.default_rng(0)
SPACES = {
    "tree": emdref.Tree([-1, 0, 0, 1, 1, 2, 2, 6], bins=[0, 3, 4, 5, 7]),
    "wide": emdref.Tree([-1, *(int(RNG.integers(max(0, v - 40), v)) for v in range(1, 150))]),
    "chain": emdref.Chain(5),
    "segments": emdref.Chain(70),
}


def rows(space, count=5):
    x = RNG.random((count, space.n_bins)) + 0.1
    return x / x.sum(axis=1, keepdims=True)


def listened(function, *args, **options):
    """What a call on a device gives, shared memory being full of NaN at first, and that nothing was wrong with it."""
    with races.watched(poison=True) as found:
        result = function(*args, device="cuda", **options)
    assert found.accesses > 0 and not found.races and not found.uneven
    return result


@pytest.mark.parametrize("accuracy", ["native", "compensated"])
@pytest.mark.parametrize("name", SPACES)
def test_value_gradient_and_flow(name, accuracy):
    space = SPACES[name]
    p, q = rows(space), rows(space)
    for gauge in ("zero_sum", "normalized"):
        args = emdref.emd_value_and_grad, p, q, space, 2
        for here, there in zip(
            listened(*args, gauge=gauge, accuracy=accuracy), args[0](*args[1:], gauge=gauge), strict=True
        ):
            np.testing.assert_allclose(here, there, rtol=1e-11, atol=1e-13)
    for mass in ("raise", "normalize"):
        there = emdref.flow(p, q, space, mass=mass)
        np.testing.assert_allclose(listened(emdref.flow, p, q, space, mass=mass, accuracy=accuracy), there, atol=1e-14)


@pytest.mark.parametrize("accuracy", ["native", "compensated"])
@pytest.mark.parametrize("rho", [2, 3])
@pytest.mark.parametrize("name", ["tree", "segments"])
def test_second_derivatives(name, rho, accuracy):
    space = SPACES[name]
    p, q, v = rows(space, 3), rows(space, 3), rows(space, 3)
    there = emdref.emd_hvp(p, q, space, v, rho)
    np.testing.assert_allclose(
        listened(emdref.emd_hvp, p, q, space, v, rho, accuracy=accuracy), there, rtol=1e-9, atol=1e-12
    )
    if space.n_bins < 10:
        there = emdref.emd_hess(p, q, space, rho)
        np.testing.assert_allclose(listened(emdref.emd_hess, p, q, space, rho, accuracy=accuracy), there, atol=1e-12)


def test_a_missing_barrier_is_heard():
    @kernel
    def turned(x, apart):
        t = cuda.shared.array(0, x.dtype)
        t[cuda.threadIdx.x] = x[cuda.threadIdx.x]
        if apart:
            cuda.syncthreads()
        x[cuda.threadIdx.x] = t[3 - cuda.threadIdx.x]

    for apart in (True, False):
        with races.watched() as found:
            turned[1, 4, 0, 32](cuda.to_device(np.arange(4.0)), apart)
        assert found.races == (set() if apart else {("turned", "shared")})


def test_blocks_that_write_where_others_read_are_heard():
    @kernel
    def passed_on(x):
        x[cuda.blockIdx.x] = x[cuda.blockIdx.x + 1]

    with races.watched() as found:
        passed_on[2, 1](cuda.to_device(np.arange(3.0)))
    assert found.races == {("passed_on", "global")}


def test_threads_that_skip_a_barrier_are_heard():
    @kernel
    def uneven(x):
        if cuda.threadIdx.x == 0:
            cuda.syncthreads()

    with races.watched() as found:
        uneven[1, 2](cuda.to_device(np.zeros(1)))
    assert found.uneven == {("uneven", (1, 0))}
