"""Normalising layers and losses in two limbs as plain Python, against rationals and decimals."""

import itertools
import math
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import pytest

import plain
from plain import total

emdref = plain.original()
pytestmark = pytest.mark.filterwarnings("ignore:.*(encountered in|beyond the range).*:RuntimeWarning")

DIGITS = Context(prec=60)
INF = math.inf


def layers():
    return emdref.kernels.rows.layers


def exp(x):
    x = Fraction(x)
    return Fraction(DIGITS.exp(DIGITS.divide(Decimal(x.numerator), Decimal(x.denominator))))


def log(x):
    return Fraction(DIGITS.ln(DIGITS.divide(Decimal(x.numerator), Decimal(x.denominator))))


def l1(x):
    mass = sum(x)
    return [v / mass for v in x], [1 / mass for _ in x]


def softmax(x):
    y = [exp(v - max(x)) for v in x]
    return [v / sum(y) for v in y], [v / sum(y) for v in y]


def square(x):
    mass = sum(v * v for v in x)
    return [v * v / mass for v in x], [2 * v / mass for v in x]


LAYERS = {"l1": l1, "softmax": softmax, "square": square}
ROWS = [[1.0, 3.0, 0.25], [0.1, 0.7, 1e-3], [5.0, 0.0, 2.0], [1e-9, 1.0, 3e9], [300.0, 1.0, 2.5], [700.0, 300.0, 0.5]]
WIDE = [[2.0**800, 2.0**700, 2.0**-100], [2.0**-800, 3 * 2.0**-810, 2.0**-900], [2.0**600, 2.0**-600, 1.0]]


def within(x, exact, ulps, floor=0):
    assert abs(Fraction(float(x)) - exact) <= ulps * plain.ulp(exact) + Fraction(floor), (x, float(exact))


@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_their_products(name):
    layer, g = getattr(emdref.normalize, name), [1.0, -2.0, 0.7]
    rows = ROWS + (WIDE if name != "softmax" else [[-1.0, -2, -3], [-1000, -1, 0], [0.1, 0.1 + 1e-16, -0.3]])
    for row in rows:
        p, f = LAYERS[name](plain.exactly(row))
        for x, y in zip(layer(row).tolist(), p, strict=True):
            within(x, y, 0.51 if name != "softmax" else 2)
        dot = sum(a * Fraction(b) for a, b in zip(p, g, strict=True))
        for x, a, b in zip(layer.vjp(row, g).tolist(), g, f, strict=True):
            exact = (Fraction(a) - dot) * b
            within(x, exact, 0.51 if name != "softmax" else 2, b / 2 ** (97 if name != "softmax" else 50))


def test_products_of_a_far_scale():
    for name, k in itertools.product(LAYERS, (-600, 700)):
        layer, g = getattr(emdref.normalize, name), np.array([1.0, -2.0, 0.7])
        base, x = layer.vjp([1.0, 3, 0.25], g), [1.0, 3, 0.25]
        assert np.array_equal(layer.vjp(x, np.ldexp(g, k)), np.ldexp(base, k))


def test_square_takes_either_sign():
    assert emdref.normalize.square([-1.0, 1.0, 0]).tolist() == [0.5, 0.5, 0]
    assert emdref.normalize.square.vjp([-1.0, 1.0, 0], [1.0, 0, 0]).tolist() == [-0.5, -0.5, 0]


def test_a_batch_is_done_row_by_row():
    for name in LAYERS:
        layer, x = getattr(emdref.normalize, name), np.array(ROWS)
        assert np.array_equal(layer(x), [layer(r) for r in ROWS])
        assert np.array_equal(layer.vjp(x, x[::-1]), [layer.vjp(r, s) for r, s in zip(ROWS, ROWS[::-1], strict=True)])


def test_exponentials_in_two_limbs():
    """h to libm's error, l exactly what the second limb of the argument makes; below -1500 nothing is left."""
    for h, l in ((0.0, 0.0), (-1e-3, 1e-20), (-10.0, 4e-16), (-699.0, 3e-14), (-701.0, -3e-14), (-1400.0, 1e-14)):
        y, z, e = layers()._exponential(h, l)
        exact = exp(total(h, l)) / Fraction(2) ** e
        assert 0.25 <= y <= 1 and y + z == y
        assert abs(total(y, z) - exact) <= exact / 2**50
        y0, z0, e0 = layers()._exponential(h, 0.0)
        assert e0 == e and math.isclose(total(y, z) - total(y0, z0), float(exact) * l, rel_tol=1e-3, abs_tol=1e-40)
    assert layers()._exponential(-1501.0, 0.0) == (0.0, 0.0, 0)
    assert layers()._exponential(-700.0, 0.0)[2] < -1000 and layers()._exponential(-1500.0, 0.0) == (0.0, 0.0, 0)


def test_one_exponential_where_it_is_normal_and_a_square_below():
    for h in (-10.0, -300.3, -699.5):
        assert layers()._exponential(h, 0.0) == (math.frexp(math.exp(h))[0], 0.0, math.frexp(math.exp(h))[1])
    for h in (-700.0, -705.3):
        m, e = math.frexp(math.exp(h / 2))
        assert layers()._exponential(h, 0.0) == (m * m, 0.0, 2 * e)


def test_softmax_of_one_bin():
    assert emdref.normalize.softmax([3.0]).tolist() == [1.0]


def test_probabilities_at_the_edge_of_the_range_are_gradual():
    p = emdref.normalize.softmax([0.0, -740.0, -745.0, -760.0])
    assert p[0] == 1 and 0 < p[2] < p[1] < 1e-300 and p[3] == 0
    g = emdref.normalize.softmax.vjp([0.0, -1000.0], [0.0, 2.0**1000])
    exact = exp(Fraction(-1000)) * 2**1000
    assert abs(Fraction(float(g[1])) - exact) < exact / 2**50


# --- losses -----------------------------------------------------------------------------------------------------------


PAIRS = [
    ([0.1, 0.7, 0.3, 0.2], [0.25, 0.5, 0.125, 0.125]),
    ([1.0, 2.0**-60, 3.0, 0], [1.0, 2.0**-61, 3.0 + 2.0**-51, 0.5]),
    ([1.0, 2.0, 3.0, 0], [1.0, 2.0, 3.0, 0]),
    ([2.0**500, 1.0, 0, 0], [2.0**499, 0, 2.0, 0]),
    ([2.0**-530, 2.0**-535, 0, 0], [2.0**-531, 0, 2.0**-540, 0]),
]


def test_mean_squared_errors_of_differences_that_do_not_fit_one_float():
    rng = np.random.default_rng(3)
    p, q = rng.lognormal(0, 9, (2, 60, 3))
    p[-20:], q[-20:] = np.ldexp(p[-20:], -560), np.ldexp(q[-20:], -560)  # and squares that are subnormal
    value, grad = emdref.losses.mse(p, q)
    for i in range(60):
        d = [a - b for a, b in zip(plain.exactly(p[i]), plain.exactly(q[i]), strict=True)]
        within(value[i], sum(x * x for x in d) / 3, 0.5001)
        for x, y in zip(grad[i].tolist(), d, strict=True):
            within(x, 2 * y / 3, 0.5001)


def test_a_mean_of_squares_whose_sum_leaves_the_range():
    value, _ = emdref.losses.mse([1.25 * 2.0**511] * 4, [0.0, 0, 0, 1])
    assert value > 2.0**1021 and np.isfinite(value)
    assert emdref.losses.mse([2.0**300, 2.0**-300], [2.0**300, 0.0])[0] == 2.0**-601


def test_mean_squared_error():
    for p, q in PAIRS:
        value, grad = emdref.losses.mse(p, q)
        d = [a - b for a, b in zip(plain.exactly(p), plain.exactly(q), strict=True)]
        within(value, sum(x * x for x in d) / 4, 0.51)
        for x, y in zip(grad.tolist(), d, strict=True):
            within(x, y / 2, 0.51)
    p, q = np.array(PAIRS).transpose(1, 0, 2)
    value, grad = emdref.losses.mse(p, q)
    assert value.tolist() == [emdref.losses.mse(a, b)[0] for a, b in zip(p, q, strict=True)]
    assert np.array_equal(grad, [emdref.losses.mse(a, b)[1] for a, b in zip(p, q, strict=True)])
    third = emdref.losses.mse([1.0, 0.1, 0.2], [0.3, 0.3, 0.6])[0]
    d = [a - b for a, b in zip(plain.exactly([1.0, 0.1, 0.2]), plain.exactly([0.3, 0.3, 0.6]), strict=True)]
    within(third, sum(x * x for x in d) / 3, 0.51)


DIVERGENCES = [
    ([0.1, 0.7, 0.3], [0.25, 0.5, 0.125]),
    ([0.25, 0.5, 0.25], [0.25 + 2.0**-40, 0.5 - 2.0**-41, 0.25]),
    ([3.0, 1e-200, 5.0], [1e-100, 1e-300, 0.0]),
    ([2.0**900, 2.0**890, 1.0], [2.0**900, 2.0**880, 0.0]),
    ([0.0, 1.0, 1.0], [0.0, 0.3, 2.0]),
    ([1.0, 0.5, 2.0], [0.5, 0.25, 1.0]),
    ([2.0, 4.0, 8.0], [0.0, 4.0, 1e-20]),
    ([1.0 + 2.0**-30, 1.0, 0], [3.0, 1e-9, 0]),
]


@pytest.mark.parametrize("normalize", [False, True])
def test_divergence_and_cross_entropy(normalize):
    for p, q in DIVERGENCES:
        a, b = plain.exactly(p), plain.exactly(q)
        if normalize:
            a, b = l1(a)[0], l1(b)[0]
        for loss, against_itself in ((emdref.losses.kl, True), (emdref.losses.cross_entropy, False)):
            value, grad = loss(p, q, mass="normalize" if normalize else "ignore")
            logs = [log((y if against_itself else 1) / x) if y else 0 for x, y in zip(a, b, strict=True)]
            terms = [y * t for y, t in zip(b, logs, strict=True)]
            bound = sum(map(abs, terms)) * 4 / 2**52 + (Fraction(1, 2**100) if normalize else 0)
            assert abs(Fraction(float(value)) - sum(terms)) <= bound
            for x, y, s in zip(a, b, grad.tolist(), strict=True):
                assert y or math.copysign(1, s) == 1  # 0, not -0
                within(s, -y / x if y else 0, 0.51)


def test_divergence_of_what_is_not_there():
    for loss in (emdref.losses.kl, emdref.losses.cross_entropy):
        value, grad = loss([0.0, 1.0, 1.0], [0.5, 0.0, 1.5])
        assert value == INF and grad.tolist() == [-INF, 0, -1.5]
        value, grad = loss([[0.0, 1.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]])
        assert np.isfinite(value).all() and grad.tolist() == [[0, -1], [-1, -1]]
        assert value[0] == 0


def test_logarithms_near_one_keep_their_digits():
    """log((h + l) 2**e) of 1 + 2**-70, which one limb calls 1."""
    for h, l, e in (
        (1.0, 2.0**-70, 0),
        (0.5, -(2.0**-60), 1),
        (0.75, 0.0, 0),
        (0.5, 0.0, 2),
        (0.999, 1e-20, 1),
        (0.6, 0, 0),
    ):
        exact = log(total(h, l) * Fraction(2) ** e)
        assert abs(Fraction(float(layers()._log(h, l, e))) - exact) <= abs(exact) / 2**51
    for h, e in ((0.5, -300), (0.9, 500), (0.5, 0), (0.75, 2)):
        exact = log(total(h) * Fraction(2) ** e)
        assert abs(Fraction(float(layers()._log(h, 0.0, e))) - exact) <= abs(exact) / 2**51


def test_weighted_sums_by_their_largest_term():
    for q, logs in (
        ([0.5, 0.25, 0], [1.0, -3.0, 9.0]),
        ([2.0**900, 1.0, 0], [2.0**-40, 700.0, 0]),
        ([1e-300, 1e-308], [1e-8, 3.0]),
    ):
        h, l, e = layers()._weighted_sum(np.array(q), np.array(logs))
        exact = sum(total(a) * total(b) for a, b in zip(q, logs, strict=True)) / Fraction(2) ** e
        assert abs(total(h, l) - exact) <= Fraction(len(q), 2**53) * max(1, abs(exact)) and abs(h) <= len(q)
    assert layers()._weighted_sum(np.array([0.0, 2.0]), np.array([5.0, 0.0])) == (0.0, 0.0, 0)
    assert layers()._weighted_sum(np.array([2.0**-40, 2.0**-50]), np.array([1.0, 1.0]))[2] == -38
    assert layers()._weighted_sum(np.array([2.0**-50, 2.0**-40]), np.array([1.0, 1.0]))[2] == -38


def test_quotients():
    for a, b, s in ((3.0, 7.0, (0.75, 2.0**-60)), (2.0**900, 2.0**-900, (0.5, 0.0)), (0.0, 3.0, (0.5, 1e-18))):
        h, l, e = layers()._quotient(a, b, *s, 5)
        exact = total(a) / total(b) * total(*s) * 32
        assert abs(total(h, l) * Fraction(2) ** e - exact) <= exact / 2**97


def test_squares_at_both_ends_of_the_range():
    """Their mean is in the range though a square is not; and masses that nearly cancel set no scale."""
    for p, q, mean in (
        ([2.0**512, 0, 0, 0], [0.0] * 4, 2.0**1022),
        ([2.0**600, 1], [2.0**600, 0], 0.5),
        ([2.0**-530, 2.0**-531], [0, 0], None),
    ):
        exact = sum((total(a) - total(b)) ** 2 for a, b in zip(p, q, strict=True)) / len(p)
        value = layers()._mse(np.array(p), np.array(q), np.empty(len(p)))
        assert value == float(exact) and mean in (None, value)


def test_gradients_of_squares_are_rounded_once():
    rng = np.random.default_rng(5)
    for _ in range(100):
        p, q, grad = rng.random(3), rng.random(3) * 2.0**-7, np.empty(3)
        layers()._mse(p, q, grad)
        assert grad.tolist() == [float(2 * (total(a) - total(b)) / 3) for a, b in zip(p, q, strict=True)]


def test_exponentials_as_they_come():
    for h in (-1.5, -0.25, -30.0):
        assert layers()._exponential(h, 0.0) == (
            *np.array([math.frexp(math.exp(h))[0], 0.0]),
            math.frexp(math.exp(h))[1],
        )


def test_one_bin_has_all():
    p, f, exponent = np.full((2, 1), np.nan), np.full((2, 1), np.nan), np.zeros(1, int)
    layers()._softmax(np.array([3.0]), p, f, exponent)
    assert p.ravel().tolist() == [1, 0]


def test_a_divergence_of_unnormalised_masses():
    p, q, grad = np.array([0.5, 0.25, 1.0]), np.array([0.25, 0.5, 0.0]), np.empty(3)
    value = layers()._divergence(p, q, True, False, grad)
    assert abs(value - 0.25 * math.log(2)) <= 2**-54
    assert grad.tolist() == [-0.5, -2, 0] and math.copysign(1, grad[2]) == 1
