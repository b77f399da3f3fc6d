"""Formats of tensor cores: rounding bit by bit, and the iteration against the same steps by ml_dtypes."""

import re
import warnings
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import emdref
import format_oracle
from emdref.entropic.formats import FORMATS, find, significant

VARIANTS = ("paper", "frogner", "cuturi", "caffe", "mocha")
NARROW = ("bfloat16", "float16")
CHAIN = emdref.Chain(gaps=[0.5, 1.0, 0.0, 2.0, 0.3])
P, Q = np.array([0.5, 0.25, 0.25]), np.array([0.125, 0.375, 0.5])
UNIT = emdref.Chain(3)


def every_exponent(rng, size):
    """Random float32 bit patterns: numbers of every size, infinities and NaN."""
    return rng.integers(0, 2**32, size, dtype=np.uint32).view(np.float32)


def ties(bits):
    """Each number of `bits` significant bits, the midpoint above it, and that midpoint's neighbours."""
    drop = 24 - bits
    exact = (np.arange(2 ** (32 - drop), dtype=np.uint64) << drop).astype(np.uint32)[:: 1 if bits == 8 else 37]
    near = exact[:, None] + (np.array([0, -1, 0, 1]) + np.array([0, 1, 1, 1]) * 2 ** (drop - 1)).astype(np.uint32)
    return near.ravel().view(np.float32)


def same(a, b):
    """Bit for bit, any NaN for any other."""
    both = np.isnan(a) & np.isnan(b)
    assert_array_equal(np.where(both, 0, a.view(np.uint32)), np.where(both, 0, b.view(np.uint32)))


def histograms(rng, shape, empty=0.0):
    x = np.exp(rng.normal(size=shape)) * (rng.random(shape) >= empty)
    x[..., 0] += 0.1
    return x / x.sum(-1, keepdims=True)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast", "ignore:invalid value encountered in cast")
@pytest.mark.parametrize("x", [ties(8), every_exponent(np.random.default_rng(0), 2**20)], ids=["ties", "random"])
def test_bfloat16_is_ml_dtypes(x):
    same(significant(x, 8), x.astype(ml_dtypes.bfloat16).astype(np.float32))


def exactly(x, bits):
    """The nearest number of so many significant bits and float32's exponents, by rationals; ties to the even one."""
    if not np.isfinite(x) or x == 0:
        return x
    size = abs(Fraction(float(x)))
    power = max(int(np.frexp(abs(float(x)))[1]) - 1, -126)
    spacing = Fraction(2) ** (power - bits + 1)
    near = round(size / spacing) * spacing  # Python rounds halves of a Fraction to even
    far = Fraction(2) ** 128
    return np.copysign(np.float32(np.inf if near >= far else float(near)), x)


@pytest.mark.parametrize("bits", [8, 11])
def test_significant_bits_by_rationals(bits):
    rng = np.random.default_rng(1)
    edges = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        2.0**-149,
        2.0**-137,
        3 * 2.0**-138,
        2.0**-126,
        3.4028235e38,
        -3.402e38,
    ]
    x = np.concatenate([np.array(edges, np.float32), rng.choice(ties(bits), 3000), every_exponent(rng, 3000)])
    same(significant(x, bits), np.array([exactly(y, bits) for y in x], np.float32))


@pytest.mark.parametrize("name", FORMATS)
def test_eps_and_max_are_the_formats(name):
    form = FORMATS[name]
    one = np.float32(1)
    assert form.rounded(np.array([one + form.eps], np.float32)) == one + np.float32(form.eps)
    assert form.rounded(np.array([one + form.eps / 4], np.float32)) == one
    assert form.stored(np.array([form.max], np.float32)) == form.max
    if form.narrow:
        with np.errstate(over="ignore"):
            info = ml_dtypes.finfo(format_oracle.TYPES[name])
        assert (form.eps, form.max) == (float(info.eps), float(info.max))


def test_float16_overflows_and_underflows_gradually():
    x = np.array([65519.99, 65520, 1e9, 2.0**-24, 2.0**-25, 1.5 * 2.0**-24, np.nan], np.float32)
    assert_array_equal(FORMATS["float16"].rounded(x), [65504, np.inf, np.inf, 2.0**-24, 0, 2.0**-23, np.nan])


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("bfloat16", "bfloat16"),
        (ml_dtypes.bfloat16, "bfloat16"),
        (np.dtype(ml_dtypes.bfloat16), "bfloat16"),
        ("float16", "float16"),
        (np.float16, "float16"),
        (np.dtype(">f2"), "float16"),
        ("tf32", "tf32"),
    ],
)
def test_names_and_dtype_objects(given, name):
    assert find(given) is FORMATS[name]
    a, b = (emdref.sinkhorn(P, Q, UNIT, 2.0, kernel="dense", dtype=d) for d in (given, name))
    assert_array_equal(a.grad, b.grad)
    assert a.value.dtype == np.float32


@pytest.mark.parametrize("given", [None, np.float32, "float64", "bf16", ml_dtypes.float8_e5m2, object, 3.0])
def test_what_is_no_format(given):
    assert find(given) is None


@pytest.mark.parametrize("empty", [0.0, 0.4])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("iterations", [1, 5])
def test_every_variant_step_by_step(iterations, name, variant, empty):
    rng, cost = np.random.default_rng(3), CHAIN.distance_matrix()
    p, q = histograms(rng, (40, 6), empty), histograms(rng, (40, 6), empty)
    determined = 0
    got = emdref.sinkhorn(p, q, cost, 1.7, max_iter=iterations, variant=variant, dtype=name)
    for i in range(len(p)):
        try:
            want = format_oracle.sinkhorn(variant, name, p[i], q[i], cost, 1.7, iterations)
        except format_oracle.Undetermined:
            continue
        determined += 1
        for field, x in want.items():
            # tf32 stores in float32: 5 iterations of some 10 roundings each; what is narrower is determined
            tolerance = 100 * 2.0**-24 if name == "tf32" else 0
            assert_allclose(
                getattr(got, field)[i], x, rtol=tolerance, atol=30 * tolerance if tolerance else 0, err_msg=field
            )
    assert determined >= 10


@pytest.mark.parametrize("name", NARROW)
def test_results_are_numbers_of_the_format(name):
    rng = np.random.default_rng(4)
    p, q = histograms(rng, (5, 6)), histograms(rng, (5, 6))
    got = emdref.sinkhorn(p, q, CHAIN, 2.3, max_iter=7, kernel="dense", dtype=name, variant="caffe", checkpoints=(2,))
    for result in (got, got.checkpoints[2]):
        for field in ("value", "objective", "grad", "log_u", "log_v", "marginal_error"):
            x = getattr(result, field)
            assert x.dtype == np.float32
            assert_array_equal(x, x.astype(format_oracle.TYPES[name]).astype(np.float32), err_msg=field)


@pytest.mark.parametrize("name", FORMATS)
def test_errors_are_of_the_formats_size(name):
    rng = np.random.default_rng(5)
    p, q = histograms(rng, (20, 6)), histograms(rng, (20, 6))
    got = emdref.sinkhorn(p, q, CHAIN, 1.0, max_iter=20, kernel="dense", dtype=name)
    want = emdref.sinkhorn(p, q, CHAIN, 1.0, max_iter=20)
    off = np.abs(got.value / want.value - 1).max()
    eps = FORMATS[name].eps
    assert eps / 64 < off < 8 * eps  # it is this format that was used, and nothing worse happened


def test_tf32_is_between_float32_and_bfloat16():
    rng = np.random.default_rng(6)
    p, q = histograms(rng, (20, 6)), histograms(rng, (20, 6))
    want = emdref.sinkhorn(p, q, CHAIN, 1.0, max_iter=20)
    error = {
        d: np.abs(emdref.sinkhorn(p, q, CHAIN, 1.0, max_iter=20, kernel="dense", dtype=d).grad - want.grad).max()
        for d in ("float32", "tf32", "bfloat16")
    }
    assert 20 * error["float32"] < error["tf32"] < error["bfloat16"] / 3


@pytest.mark.parametrize("name", FORMATS)
def test_automatic_tolerance_takes_the_formats_eps(name):
    rng = np.random.default_rng(7)
    p, q = histograms(rng, (5, 6)), histograms(rng, (5, 6))
    got = emdref.sinkhorn(p, q, CHAIN, 1.0, max_iter=500, tol="auto", kernel="dense", dtype=name)
    assert got.converged.all()
    assert (got.marginal_error <= 2 * FORMATS[name].eps).all()  # less than 4 eps sqrt(6)
    strict = emdref.sinkhorn(p, q, CHAIN, 1.0, max_iter=500, tol="auto")
    assert (got.n_iter < strict.n_iter).all()


@pytest.mark.parametrize("name", NARROW)
def test_warm_start_goes_on_where_it_stopped(name):
    how = {"kernel": "dense", "dtype": name}
    first = emdref.sinkhorn(P, Q, UNIT, 1.0, max_iter=3, **how)
    second = emdref.sinkhorn(P, Q, UNIT, 1.0, max_iter=3, init=(first.log_u, first.log_v), **how)
    # log u is stored with an error of eps / 2 |log u|, |log u| < 4
    whole = emdref.sinkhorn(P, Q, UNIT, 1.0, max_iter=6, **how)
    assert_allclose(second.value, whole.value, rtol=4 * FORMATS[name].eps)


def test_a_matrix_needs_no_kernel_named():
    how = {"dtype": "bfloat16", "max_iter": 5}
    a = emdref.sinkhorn(P, Q, UNIT.distance_matrix(), 1.0, **how)
    b = emdref.sinkhorn(P, Q, UNIT, 1.0, kernel="dense", **how)
    assert_array_equal(a.log_v, b.log_v)


def test_totals_are_compared_before_they_are_rounded():
    q = np.full(1000, 1e-3)
    p = np.roll(np.linspace(0, 2e-3, 1000), 1)
    got = emdref.sinkhorn(p, q, emdref.Chain(1000), 0.01, max_iter=2, kernel="dense", dtype="bfloat16")
    assert got.marginal_error.dtype == np.float32
    with pytest.raises(ValueError, match=r"p has total 1\.0001"):  # 1e-4 is far below bfloat16's eps
        emdref.sinkhorn(p * 1.0001, q, emdref.Chain(1000), 0.01, kernel="dense", dtype="bfloat16")
    x = (p * 1.00001).astype(np.float32)
    emdref.sinkhorn(x, q, emdref.Chain(1000), 0.01, max_iter=1, kernel="dense", dtype="tf32")  # as float32 softmaxes


def test_mass_rounded_to_nothing_is_an_empty_bin():
    p = np.array([1e-9, 0.5, 0.5 - 1e-9])
    got = emdref.sinkhorn(p, Q, UNIT, 1.0, kernel="dense", dtype="float16")
    assert got.status == "iteration_limit"
    assert got.log_u[0] == -np.inf
    want = emdref.sinkhorn([0, 0.5, 0.5], Q, UNIT, 1.0, kernel="dense", dtype="float16")
    assert got.value == want.value


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        ('dtype="bfloat16" emulates dense products and kernel="auto".*give kernel="dense"', {"kernel": "auto"}),
        ('kernel="space" would take the space\'s sums: give kernel="dense"', {"kernel": "space"}),
        ('dtype="bfloat16" is emulated with domain="linear" only', {"domain": "log"}),
        ('domain="linear" only', {"domain": "log", "kernel": "space"}),
        ("has no derivatives.*unrolled=True needs float32 or float64", {"unrolled": True}),
        ("largest distance, 65505.0, is beyond float16; scale", {"dtype": "float16", "gaps": [65504.0, 1]}),
        ("largest distance, 3.4e\\+38, is beyond bfloat16; scale", {"gaps": [3.4e38, 0]}),
        (r"p\[0\] = 70000.0 is beyond float16", {"dtype": "float16", "p": [7e4, 0, 0], "q": [0, 7e4, 0]}),
        (r"p\[0\] = 3.4e\+38 is beyond bfloat16", {"p": [3.4e38, 0, 0], "q": [0, 3.4e38, 0]}),
        (r"p\[0\] = 1e\+300 is beyond tf32", {"dtype": "tf32", "p": [1e300, 0, 0], "q": [0, 1e300, 0]}),
        (
            r"q\[:\] is all zeros in float16, which rounds its entries to 0: scale p and q up",
            {"dtype": "float16", "p": [6e-8, 0, 0], "q": [2e-8, 2e-8, 2e-8]},
        ),
        (r"p\[1\] = -1.0: a histogram holds no negative mass", {"p": [1, -1, 1]}),
        (r"p has shape \(2,\), its last axis must be", {"p": [1, 1]}),
        ("p has total 1 and q 2", {"q": 2 * Q}),
    ],
)
def test_bad_input(match, arguments):
    call = {"p": P, "q": Q, "kernel": "dense", "dtype": "bfloat16"} | arguments
    space = emdref.Chain(gaps=call.pop("gaps", [1, 1]))
    with pytest.raises(ValueError, match=match):
        emdref.sinkhorn(call.pop("p"), call.pop("q"), space, 1.0, **call)


@pytest.mark.parametrize("name", FORMATS)
def test_rounding_has_no_derivatives(name):
    with pytest.raises(ValueError, match="unrolled=True needs float32 or float64"):
        emdref.sinkhorn([1, 0], [0, 1], emdref.Chain(2), 1.0, kernel="dense", dtype=name, unrolled=True)


@pytest.mark.parametrize("given", ["bf16", ml_dtypes.float8_e5m2, np.longdouble])
def test_other_formats_are_refused(given):
    want = 'must be float32 or float64, or with kernel="dense" bfloat16, float16 or tf32'
    with pytest.raises(TypeError, match=re.escape(want)):
        emdref.sinkhorn(P, Q, UNIT, 1.0, dtype=given)


def test_distances_at_the_edge_of_float16_are_taken():
    got = emdref.sinkhorn(P, P, emdref.Chain(gaps=[65504.0, 0.0]), 1e-3, max_iter=1, kernel="dense", dtype="float16")
    assert np.isfinite(got.value)


def test_the_shape_of_a_batch_is_kept():
    rng = np.random.default_rng(0)
    p, q = histograms(rng, (2, 1, 6)), histograms(rng, (3, 6)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = emdref.sinkhorn(p, q, CHAIN, 1.0, max_iter=3, kernel="dense", dtype="float16")
    assert got.value.shape == (2, 3)
    assert got.grad.shape == (2, 3, 6)
    one = emdref.sinkhorn(p[1, 0], q[2], CHAIN, 1.0, max_iter=3, kernel="dense", dtype="float16")
    assert_allclose(got.value[1, 2], one.value, rtol=2.0**-10)
