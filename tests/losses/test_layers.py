"""Normalising layers and the other losses, against rationals and 60-digit decimals."""

from decimal import Context, Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

import cases
import emdref
from cases import DTYPES, assert_within, assert_within_ulps, eps
from emdref import losses, normalize
from oracles import fractions

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
LAYERS = [normalize.l1, normalize.softmax, normalize.square]
each_layer = pytest.mark.parametrize("layer", LAYERS, ids=repr)
each_policy = pytest.mark.parametrize("mass", ["raise", "normalize", "ignore"])


# --- layers: the definitions ------------------------------------------------------------------------------------------


def decimal(x):
    return Decimal(x.numerator) / Decimal(x.denominator)


def in_decimals(function, *rows):
    """function of rows of Fractions as 60-digit Decimals, the result as Fractions."""
    with localcontext(Context(prec=60, Emin=-(10**9), Emax=10**9)):
        return [Fraction(y) for y in function(*([decimal(v) for v in x] for x in rows))]


def exponentials(z):
    return [(v - max(z)).exp() for v in z]


def exactly(layer, x):
    x = fractions(x)
    if layer is normalize.softmax:
        y = in_decimals(exponentials, x)
    else:
        y = [v * v for v in x] if layer is normalize.square else x
    return [v / sum(y) for v in y]


def factors(layer, x):
    """f in dp_j/dx_k = (delta_jk - p_j) f_k."""
    if layer is normalize.softmax:
        return exactly(layer, x)
    x = fractions(x)
    if layer is normalize.l1:
        return [1 / sum(x)] * len(x)
    return [2 * v / sum(w * w for w in x) for v in x]


def exact_vjp(layer, x, g):
    p, g = exactly(layer, x), fractions(g)
    mean = sum(a * b for a, b in zip(p, g, strict=True))
    return [(b - mean) * f for b, f in zip(g, factors(layer, x), strict=True)]


def given_x(layer, rng, n, dtype, scale=1.0):
    x = scale * rng.standard_normal(n) * 10 ** rng.uniform(-3, 1, n)
    return (abs(x) if layer is normalize.l1 else x).astype(dtype)


@each_dtype
@each_layer
@pytest.mark.parametrize("seed", range(5))
def test_layer(layer, seed, dtype):
    """softmax in float64: 2 ulp, of which the C library's exp may take one."""
    x = given_x(layer, np.random.default_rng(seed), 200, dtype)
    p = layer(x)
    assert p.dtype == dtype
    assert_within_ulps(p, exactly(layer, x), 2 if layer is normalize.softmax and dtype == np.float64 else 1)


@each_dtype
@each_layer
@pytest.mark.parametrize("seed", range(5))
def test_vector_jacobian_product(layer, seed, dtype):
    rng = np.random.default_rng(seed)
    x, g = given_x(layer, rng, 100, dtype), rng.standard_normal(100).astype(dtype)
    got = layer.vjp(x, g)
    assert got.dtype == dtype
    top = 8 * eps(dtype) * max(map(abs, fractions(g)))
    for y, expected, f in zip(got, exact_vjp(layer, x, g), factors(layer, x), strict=True):
        assert_within(y[None], [expected], top * abs(f))


@each_layer
@given(data=st.data())
def test_vector_jacobian_product_is_the_derivative(layer, data):
    """Central differences of <p(x), g> with step 2**-17 in exact or 60-digit arithmetic: an error of about 2**-34."""
    low = Fraction(1, 2**10) if layer is not normalize.softmax else -4
    numbers = st.fractions(low, 4, max_denominator=2**10)
    x = data.draw(st.lists(numbers, min_size=2, max_size=6))
    g = data.draw(st.lists(st.fractions(-1, 1, max_denominator=64), min_size=len(x), max_size=len(x)))
    k, step = data.draw(st.integers(0, len(x) - 1)), Fraction(1, 2**17)
    low, high = ([v + s * (i == k) for i, v in enumerate(x)] for s in (-step, step))
    ends = [sum(a * b for a, b in zip(exactly(layer, y), g, strict=True)) for y in (high, low)]
    expected = (ends[0] - ends[1]) / (2 * step)
    x64, g64 = np.array([float(v) for v in x]), np.array([float(v) for v in g])
    size = 1 / float(min(x)) ** 3 if layer is not normalize.softmax else 1
    assert abs(layer.vjp(x64, g64)[k] - float(expected)) < 2.0**-30 * size


@each_layer
def test_a_constant_gradient_moves_nothing(layer):
    x = given_x(layer, np.random.default_rng(1), 50, np.float64)
    scale = max(map(abs, factors(layer, x)))
    assert abs(layer.vjp(x, np.full(50, 3.0))).max() <= 24 * np.finfo(float).eps * scale  # 8 eps max|g| f


@each_dtype
@pytest.mark.parametrize("rho", [1, 2, 3])
@pytest.mark.parametrize("gauge", ["raw", "zero_sum"])
def test_l1_and_the_gradient_there_make_gauge_normalized(gauge, rho, dtype):
    """To 32 eps: p / |p| is rounded on the way, and 16 eps of max |r| in each gradient."""
    space, x, q = cases.case("random_tree", "flat_softmax", dtype)
    x = 3 * x
    inner = emdref.emd_grad(normalize.l1(x), q, space, rho, gauge=gauge)
    whole = emdref.emd_grad(x, q, space, rho, gauge="normalized", mass="ignore")
    unit = float(cases.grad_unit(x, q, space, rho, "normalized"))
    np.testing.assert_allclose(normalize.l1.vjp(x, inner), whole, rtol=0, atol=32 * np.finfo(dtype).eps * unit)


@each_dtype
@each_layer
def test_layers_at_the_ends_of_the_range(layer, dtype):
    top, tiny = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    for x in ([top, top, top / 4, 0], [tiny, 2 * tiny, 0, 5 * tiny], [top, tiny, 0, 1]):
        x = np.array(x, dtype)
        got, expected = layer(x), exactly(layer, np.minimum(x, 1e5) if layer is normalize.softmax else x)
        if layer is normalize.softmax and x.max() == top:
            expected = [Fraction(int(v == top), int((x == top).sum())) for v in x]
        assert_within_ulps(got, expected, 2)


@each_dtype
def test_square_of_either_sign_and_softmax_of_any_offset(dtype):
    x = np.array([3, -1, 0.5, -2], dtype)
    np.testing.assert_array_equal(normalize.square(x), normalize.square(-x))
    np.testing.assert_array_equal(normalize.softmax(x), normalize.softmax(x + dtype(1024)))
    assert normalize.softmax(np.array([0, -1e4], dtype)).tolist() == [1, 0]


@each_dtype
@each_layer
def test_layers_take_batches(layer, dtype):
    rng = np.random.default_rng(7)
    x = given_x(layer, rng, (2, 3, 9), dtype)
    g = rng.standard_normal((3, 9)).astype(dtype)
    p, back = layer(x), layer.vjp(x, g)
    assert (p.shape, back.shape, p.dtype, back.dtype) == ((2, 3, 9), (2, 3, 9), dtype, dtype)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_array_equal(p[i, j], layer(x[i, j]))
        np.testing.assert_array_equal(back[i, j], layer.vjp(x[i, j], g[j]))
    assert layer.vjp(x[0, 0], g).shape == (3, 9)
    assert layer(np.empty((0, 4), dtype)).shape == (0, 4)


@each_layer
def test_a_layers_result_passes_the_check_of_totals(layer):
    rng = np.random.default_rng(2)
    for dtype in DTYPES:
        p, q = (layer(given_x(layer, rng, (50, 1000), dtype)) for _ in range(2))
        assert np.isfinite(emdref.emd(p, q, emdref.Chain(1000), accuracy="native")).all()


def test_integers_count_as_float64_in_layers():
    assert normalize.l1([1, 3]).tolist() == [0.25, 0.75]
    assert normalize.square(np.array([1, -3], np.int8)).tolist() == [0.1, 0.9]
    assert normalize.softmax([5, 5]).dtype == np.float64


@each_layer
def test_refused_layer_input(layer):
    for x, error, message in [
        ([1, np.nan], ValueError, r"x\[1\] = nan"),
        ([[1.0, 2], [np.inf, 1]], ValueError, r"x\[1, 0\] = inf"),
        ([], ValueError, r"x has shape \(0,\)"),
        (1.0, ValueError, r"x has shape \(\)"),
        (np.float16([1, 2]), TypeError, "x has dtype float16"),
        (["a"], TypeError, "x has dtype <U1"),
    ]:
        with pytest.raises(error, match=message):
            layer(x)
        with pytest.raises(error, match=message):
            layer.vjp(x, [1.0, 1.0])
    for g, error, message in [
        ([1.0], ValueError, r"g has shape \(1,\), its last axis must be x's 2 bins"),
        ([1.0, np.nan], ValueError, r"g\[1\] = nan"),
        (np.float32([1, 2]), TypeError, "x is float64 and g is float32"),
        (np.ones((3, 2)), ValueError, r"x \(4, 2\) and g \(3, 2\) cannot be broadcast"),
    ]:
        with pytest.raises(error, match=message):
            layer.vjp(np.ones((4, 2)), g)


def test_what_single_layers_refuse():
    with pytest.raises(ValueError, match=r"x\[1\] = -1.0: a histogram holds no negative mass"):
        normalize.l1([1, -1.0])
    for layer in (normalize.l1, normalize.square):
        with pytest.raises(ValueError, match=r"x\[1, :\] is all zeros"):
            layer([[1.0, 0], [0, 0]])


def test_a_product_beyond_the_range_is_inf_with_one_warning():
    with pytest.warns(RuntimeWarning, match="gradient are beyond the range of float64") as caught:
        got = normalize.l1.vjp([5e-324, 0], [1.0, -1])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert got.tolist() == [0, -np.inf]


# --- losses -----------------------------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("family", cases.FAMILIES)
def test_mse(family, dtype):
    p, q = cases.histograms(family, 60, dtype)
    value, grad = losses.mse(p, q)
    d = [a - b for a, b in zip(fractions(p), fractions(q), strict=True)]
    assert value.dtype == grad.dtype == dtype
    assert_within_ulps(value, [sum(x * x for x in d) / 60])
    assert_within_ulps(grad, [2 * x / 60 for x in d])


def terms(p, q, loss):
    """q log(q/p) or -q log p, in decimals."""

    def each(p, q):
        return [
            b * ((b / a) if loss is losses.kl else 1 / a).ln() if b else Decimal(0) for a, b in zip(p, q, strict=True)
        ]

    return in_decimals(each, p, q)


@each_dtype
@each_policy
@pytest.mark.parametrize("loss", [losses.kl, losses.cross_entropy])
@pytest.mark.parametrize("family", ["flat_softmax", "peaked_softmax", "one_hot_target", "one_ulp"])
def test_kl_and_cross_entropy(family, loss, mass, dtype):
    p, q = cases.histograms(family, 60, dtype)
    a, b = fractions(p), fractions(q)
    if mass == "normalize":
        a, b = ([x / sum(y) for x in y] for y in (a, b))
    each = terms(a, b, loss)
    value, grad = loss(p, q, mass=mass)
    assert value.dtype == grad.dtype == dtype
    assert_within(value, [sum(each)], 4 * eps(dtype) * sum(map(abs, each)))
    assert_within_ulps(grad, [-y / x for x, y in zip(a, b, strict=True)])


@pytest.mark.parametrize("step", [1e-3, 1e-6, 1e-12])
def test_kl_of_near_histograms(step):
    """The terms nearly cancel; the log of a ratio near 1 has a small relative error all the same."""
    rng = np.random.default_rng(3)
    q = rng.dirichlet(np.ones(40))
    p = normalize.l1(q * (1 + step * rng.standard_normal(40)))
    each = terms(fractions(p), fractions(q), losses.kl)
    assert_within(losses.kl(p, q)[0], [sum(each)], 4 * eps(np.float64) * sum(map(abs, each)))
    assert losses.kl(p, q)[0] >= 0 or abs(losses.kl(p, q)[0]) <= 4 * 2.0**-52 * float(sum(map(abs, each)))


@each_dtype
def test_zeros_are_stable(dtype):
    p, q = np.array([0, 0.5, 0.5, 0], dtype), np.array([0, 0.5, 0, 0.5], dtype)
    for loss, own in ((losses.kl, 0.0), (losses.cross_entropy, 0.5 * np.log(2))):
        value, grad = loss(p, p)
        np.testing.assert_allclose(value, 2 * own, rtol=np.finfo(dtype).eps)
        assert grad.tolist() == [0, -1, -1, 0]
        with pytest.warns(RuntimeWarning, match="beyond the range") as caught:
            value, grad = loss(p, q)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert value == np.inf
        assert grad.tolist() == [0, -1, 0, -np.inf]


def test_divergences_at_the_ends_of_the_range():
    top, tiny = 1e308, 5e-324
    p, q = np.array([top, tiny]), np.array([tiny, top])
    with pytest.warns(RuntimeWarning, match="value"):
        value, grad = losses.kl(p, q)
    assert value == np.inf
    assert grad[1] == -np.inf
    value, _ = losses.cross_entropy([tiny, 1.0], [tiny, 1.0])
    np.testing.assert_allclose(value, -tiny * np.log(tiny), atol=tiny)
    with pytest.warns(RuntimeWarning, match="gradient"):
        value, _ = losses.cross_entropy([tiny, 1.0], [1.0, 0])
    np.testing.assert_allclose(value, 1074 * np.log(2), rtol=1e-15)


def test_scipy_and_numpy_agree():
    p, q = cases.histograms("peaked_softmax", 80, np.float64)
    np.testing.assert_allclose(losses.kl(p, q)[0], scipy.special.rel_entr(q, p).sum(), rtol=1e-13)
    np.testing.assert_allclose(losses.mse(p, q)[0], np.mean((p - q) ** 2), rtol=1e-13)
    np.testing.assert_allclose(losses.cross_entropy(p, q)[0], -(q @ np.log(p)), rtol=1e-13)


@each_dtype
@each_policy
@pytest.mark.parametrize("gauge", cases.GAUGES)
@pytest.mark.parametrize("rho", [1, 2])
def test_emd_mse_is_its_two_parts(rho, gauge, mass, dtype):
    space, p, q = cases.case("random_tree", "flat_softmax", dtype)
    options = {"gauge": gauge, "mass": mass}
    for weights in ((0.9, 0.1), (0.25, 2.0)):
        names = {} if weights == (0.9, 0.1) else {"w_emd": weights[0], "w_mse": weights[1]}
        got = losses.emd_mse(p, q, space, rho, **options, **names)
        parts = zip(emdref.emd_value_and_grad(p, q, space, rho, **options), losses.mse(p, q), strict=True)
        for x, (a, b) in zip(got, parts, strict=True):
            assert x.dtype == dtype
            expected = weights[0] * a.astype(float) + weights[1] * b.astype(float)
            scale = abs(weights[0] * a).max() + abs(weights[1] * b).max()
            np.testing.assert_allclose(x, expected, rtol=0, atol=2 * np.finfo(dtype).eps * scale)


def test_emd_mse_of_the_workshop_paper_is_a_plain_derivative():
    """EMD between p/|p| and q/|q| and MSE between p and q: the gradient is that of the whole, by differences."""
    space, p, q = cases.case("chain", "flat_softmax", np.float64)
    p, q, d = 3 * p, 2 * q, np.sin(np.arange(len(p)))
    options = {"rho": 2, "mass": "normalize"}
    ends = [losses.emd_mse(p + s * d * p.min(), q, space, **options)[0] for s in (1e-3, -1e-3)]
    slope = losses.emd_mse(p, q, space, gauge="normalized", **options)[1] @ d * p.min()
    np.testing.assert_allclose((ends[0] - ends[1]) / 2e-3, slope, rtol=1e-6)


def test_a_weight_of_zero_counts_for_nothing():
    p, q = np.array([1e308, 0]), np.array([0, 1e308])
    chain = emdref.Chain(gaps=[100.0])
    with pytest.warns(RuntimeWarning, match="value") as caught:
        assert losses.emd_mse(p, q, chain)[0] == np.inf
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.isfinite(losses.emd_mse(p / 1e200, q / 1e200, chain, w_mse=0)[0])


@pytest.mark.parametrize("loss", [losses.mse, losses.kl, losses.cross_entropy])
def test_losses_take_batches(loss):
    p, q = cases.softmax(np.random.default_rng(1), (2, 4, 10), np.float32)
    value, grad = loss(p[:, None], q)
    assert (value.shape, grad.shape, value.dtype) == ((4, 4), (4, 4, 10), np.float32)
    one = loss(p[1], q[2])
    assert value[1, 2] == one[0]
    np.testing.assert_array_equal(grad[1, 2], one[1])
    assert isinstance(one[0], np.float32)


@pytest.mark.parametrize("loss", [losses.mse, losses.kl, losses.cross_entropy])
@pytest.mark.parametrize(
    ("p", "q", "error", "message"),
    [
        ([0.5, 0.5], [1.0, 0, 0], ValueError, r"q has shape \(3,\), its last axis must be p's 2 bins"),
        ([], [], ValueError, r"p has shape \(0,\): its last axis holds the bins"),
        (1.0, 1.0, ValueError, r"p has shape \(\)"),
        ([1.5, -0.5], [0.5, 0.5], ValueError, r"p\[1\] = -0.5"),
        ([0.5, 0.5], [np.nan, 0.5], ValueError, r"q\[0\] = nan"),
        ([0.5, 0.5], [0.0, 0], ValueError, r"q\[:\] is all zeros"),
        (np.float32([1, 0]), [1.0, 0], TypeError, "p is float32 and q is float64"),
        ([True, False], [1.0, 0], TypeError, "p has dtype bool"),
    ],
)
def test_refused_loss_input(loss, p, q, error, message):
    with pytest.raises(error, match=message):
        loss(p, q)


def test_refused_options_of_losses():
    p, q, chain = [0.5, 0.5], [1.0, 1.0], emdref.Chain(2)
    for loss in (losses.kl, losses.cross_entropy):
        with pytest.raises(ValueError, match=r'p has total 1 and q 2.*mass="normalize"'):
            loss(p, q)
        with pytest.raises(ValueError, match="mass='clip' is not one of"):
            loss(p, p, mass="clip")
    for options, message in [
        ({"w_emd": -1}, "w_emd = -1.0 must be finite and >= 0"),
        ({"w_mse": np.nan}, "w_mse = nan must be"),
        ({"gauge": "x"}, "gauge='x' is not one of"),
        ({"rho": 0.5}, "rho = 0.5 must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            losses.emd_mse(p, p, chain, **options)
    with pytest.raises(ValueError, match="p has total 1 and q 2"):
        losses.emd_mse(p, q, chain)


# --- numbers far apart ------------------------------------------------------------------------------------------------


def test_gradients_of_mse_far_apart():
    with pytest.warns(RuntimeWarning, match="value"):
        _, grad = losses.mse([1e308, 1e-30], [0, 1e-20])
    assert_within_ulps(grad, [Fraction(1e308), Fraction(1e-30) - Fraction(1e-20)])


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (normalize.square, [1.0, 1.5e-323]),
        (normalize.square, [1e-200, 1e-300]),
        (normalize.softmax, [0.0, -742.0]),
        (normalize.softmax, [0.0, -800.0]),
        (normalize.l1, [1.2, 2.5e-323]),
    ],
)
def test_products_with_subnormal_factors(layer, x):
    got, expected = layer.vjp(x, [1e200, 0.0]), exact_vjp(layer, x, [1e200, 0.0])
    for y, true, f in zip(got, expected, factors(layer, x), strict=True):
        assert_within(y[None], [true], 8 * eps(np.float64) * Fraction(1e200) * abs(f))
    assert_within_ulps(layer(x), exactly(layer, x))


@pytest.mark.parametrize(
    ("p", "q", "mass"),
    [
        ([1.0, 2, 3], [1, 2, 3.000000000000001], "normalize"),
        ([1, 1e-17], [1, 0.0], "normalize"),
        ([1e200, 1e-30], [1.0, 1.0], "normalize"),
        ([3.0, 3.0], [1.1, 1.1], "normalize"),
        ([1e300, 1e-20], [1e300, 2e-20], "ignore"),
        ([5e-324, 1.0], [1e-323, 1.0], "ignore"),
    ],
)
@pytest.mark.parametrize("loss", [losses.kl, losses.cross_entropy])
def test_divergences_of_masses_far_apart_or_nearly_in_proportion(loss, p, q, mass):
    a, b = fractions(p), fractions(q)
    if mass == "normalize":
        a, b = ([x / sum(y) for x in y] for y in (a, b))
    each = terms(a, b, loss)
    value, grad = loss(p, q, mass=mass)
    more = Fraction(1, 2**100) if mass == "normalize" else 0
    assert_within(value, [sum(each)], 4 * eps(np.float64) * sum(map(abs, each)) + more)
    assert_within_ulps(grad, [-y / x for x, y in zip(a, b, strict=True)])


@pytest.mark.parametrize("layer", [normalize.l1, normalize.square], ids=repr)
@pytest.mark.parametrize(("dtype", "x", "g"), [(np.float32, 1e-38, 3e38), (np.float64, 1e-308, 1.5e308)])
def test_products_that_are_0_stay_0(layer, dtype, x, g):
    """Rounding of <p, g>, a tiny part of g, divided by a tiny total, was beyond the dtype."""
    with np.errstate(under="ignore"):
        masses = (x * np.random.default_rng(0).uniform(0.5, 2, (40, 7))).astype(dtype)
    assert not layer.vjp(masses, np.full(7, g, dtype)).any()
    some = np.array([g, g, g, g, g, g, g / 2], dtype)
    with pytest.warns(RuntimeWarning, match="beyond the range"):
        found = layer.vjp(masses[0], some)
    for y, exact in zip(found, exact_vjp(layer, masses[0], some), strict=True):
        assert (y > 0) == (exact > 0) and (np.isinf(y) or abs(exact) < float(np.finfo(dtype).max))
