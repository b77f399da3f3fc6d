"""The guarantees of compensated kernels on hostile families, small and large: every sign, 1 ulp, 8 eps."""

import itertools

import campaign
import numpy as np
import pytest

import cases
import emdref
import oracles
from cases import assert_within, assert_within_ulps, eps
from emdref import exact

SHAPES = ["chain", "path", "star", "caterpillar", "random"]
MEDIUM = itertools.product(SHAPES, cases.HOSTILE, cases.DTYPES, [400])
AT_LENGTH = [
    ("chain", "peaked_softmax", np.float64),
    ("path", "block_permuted", np.float32),
    ("star", "cancelling", np.float64),
    ("caterpillar", "one_ulp", np.float32),
    ("random", "near_overflow", np.float64),
    ("chain", "subnormals", np.float32),
]
LARGE = [*((*x, 3000) for x in AT_LENGTH), *(pytest.param(*x, 100_000, marks=pytest.mark.slow) for x in AT_LENGTH)]


@pytest.mark.parametrize(("shape", "family", "dtype", "n"), [*MEDIUM, *LARGE])
def test_guarantees(shape, family, dtype, n):
    space = cases.large(shape, n, 2.0**-40 if family == "near_overflow" else 1.0)
    p, q = cases.histograms(family, space.n_bins, dtype)
    options = {"mass": "ignore"}
    flow, exactly = emdref.flow(p, q, space, **options), exact.flow(p, q, space)
    assert [oracles.sign(x) for x in flow.tolist()] == [oracles.sign(x) for x in exactly]
    assert_within_ulps(flow, exactly)
    value, grad = emdref.emd_value_and_grad(p, q, space, gauge="raw", **options)
    assert_within_ulps(value, [exact.emd(p, q, space)])
    raw = exact.grad(p, q, space, gauge="raw")
    assert_within(grad, raw, 8 * eps(dtype) * max(map(abs, raw)))
    if family != "near_overflow" and n < 1000:
        assert_second_order(p, q, space, dtype)


def assert_second_order(p, q, space, dtype):
    """EMD^2 and EMD^3, and a product with the Hessian of the latter."""
    value, grad = emdref.emd_value_and_grad(p, q, space, 2, mass="ignore")
    assert_within_ulps(value, [exact.emd(p, q, space, 2)])
    unit = max(map(abs, exact.grad(p, q, space, 2, gauge="raw")))
    assert_within(grad, exact.grad(p, q, space, 2), 8 * eps(dtype) * unit)
    v = (np.arange(len(p)) % 7 - 3).astype(dtype)
    curved = np.argmax(emdref.emd_hvp(p, q, space, np.ones_like(p), 3, gauge="raw", mass="ignore"))
    top = exact.hvp(p, q, space, np.arange(len(p)) == curved, 3, gauge="raw")[curved]  # one entry of H, and a large one
    bound = 8 * eps(dtype) * top * sum(map(abs, v.astype(int).tolist()))
    assert_within(emdref.emd_hvp(p, q, space, v, 3, mass="ignore"), exact.hvp(p, q, space, v, 3), bound)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("sigma", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["chain", "wordnet"])
def test_ordinary_data_needs_no_fallback(name, sigma, dtype):
    """Value, gradient and product of 64 softmax pairs of 1000 bins, and of one-hot targets."""
    space = emdref.Chain(1000) if name == "chain" else emdref.wordnet_tree()
    p, q = cases.softmax(np.random.default_rng(sigma), (2, 64, 1000), dtype, float(sigma))
    with emdref.fallback.counting() as count:
        for target in (q, np.eye(1000, dtype=dtype)[:64]):
            emdref.emd_value_and_grad(p, target, space)
            emdref.emd_value_and_grad(p, target, space, 2)
            emdref.emd_hvp(p, target, space, p, 2)
    assert (count.rows, count.exact) == (64 * 6, 0)


def test_the_fallback_is_taken_row_by_row():
    p = np.tile([0.25, 0.5, 0.25, 0, 0, 0], (5, 1))
    q = p[:, ::-1].copy()
    p[3], q[3] = [1, 2.0**-60, 2.0**-120, 0, 0, 0], [0, 0, 0, 1, 2.0**-60, 2.0**-120]
    with emdref.fallback.counting() as count:
        emdref.flow(p, q, emdref.Chain(6))
    assert (count.rows, count.exact) == (5, 1)


@pytest.mark.parametrize("count", [20, pytest.param(60, marks=pytest.mark.slow)])
def test_the_campaign_measures_what_it_says(count):
    """Its first cases; ulps and parts of bounds are at most 1."""
    measured = list(itertools.islice(campaign.run(1, 0), count))
    assert len({m["function"] for m in measured}) > 5
    assert all(m["worst"] <= 1 and m["wrong_signs"] == 0 for m in measured)
