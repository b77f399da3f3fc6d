"""Scaled numbers as plain Python, against exact rationals and extended precision."""

import itertools
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import plain

emdref = plain.original()
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

INF = math.inf
ONES = [1.0, 1.5, 1 / 3, 2.0**-32, 2.0**32, 0.9 * 2.0**-31, 1.1 * 2.0**31]
POWERS = [0, 1, -2, 30]
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def ring():
    return emdref.kernels.arithmetic.semirings.SCALED


def numbers(dtype):
    return [(dtype(m), dtype(e)) for m, e in itertools.product(ONES, POWERS)]


def value(x):
    return Fraction(float(x[0])) * Fraction(2) ** (64 * int(x[1])) if x[0] else Fraction(0)


def normal(x, dtype):
    return all(type(part) is dtype for part in x) and 2.0**-32 <= x[0] <= 2.0**32 and x[1] == int(x[1])


@each_dtype
@pytest.mark.parametrize("name", ["plus", "times", "over"])
def test_operations_round_once(name, dtype):
    exact = {"plus": lambda x, y: x + y, "times": lambda x, y: x * y, "over": lambda x, y: x / y}[name]
    eps = Fraction(float(np.finfo(dtype).eps))
    for x, y in itertools.product(numbers(dtype), repeat=2):
        got, want = getattr(ring(), name)(x, y), exact(value(x), value(y))
        assert normal(got, dtype)
        assert abs(value(got) - want) <= want * (eps / 2 + Fraction(2) ** -63)  # the second where a term was dropped


@each_dtype
def test_zero(dtype):
    zero = ring().null(dtype(3))
    assert zero == (0, -INF) and ring().vanished(zero) and not ring().sound(zero)
    assert ring().plus(zero, zero) == ring().over(zero, zero) == ring().times(zero, zero) == zero
    assert ring().left(zero) == -INF and ring().entered(dtype(-INF)) == zero and ring().plain(zero) == 0
    for x in numbers(dtype):
        assert ring().plus(x, zero) == ring().plus(zero, x) == x
        assert ring().times(x, zero) == ring().times(zero, x) == ring().over(zero, x) == zero
        infinite = ring().over(x, zero)
        assert not ring().sound(infinite) and ring().left(infinite) == INF and ring().plain(infinite) == INF


@each_dtype
def test_what_is_not_a_number_stays_so(dtype):
    for x in (dtype("nan"), dtype("inf")):
        assert not ring().sound(ring().entered(x))
        np.testing.assert_equal(ring().left(ring().entered(x)), x)


@each_dtype
@pytest.mark.parametrize("scale", [1e-3, 1, 30, 700, 1e5])
def test_logarithms_enter_and_leave(scale, dtype):
    """Entering errs by an ulp of the mantissa's logarithm, and leaving by one of the whole."""
    eps = np.finfo(dtype).eps
    for x in (dtype(scale) * np.random.default_rng(3).uniform(-1, 1, 50).astype(dtype)).astype(dtype):
        m, e = ring().entered(x)
        assert normal((m, e), dtype)
        log = Decimal(float(m)).ln() + 64 * Decimal(2).ln() * int(e)
        assert abs(float(log - Decimal(float(x)))) <= eps * (
            2 + min(abs(x), 24)
        )  # the mantissa's logarithm is rounded, at most 22.2
        assert abs(ring().left((m, e)) - x) <= max(2 * eps, eps * abs(x))


def plainly(mantissa, exponent):
    return ring().plain((np.float64(mantissa), np.float64(exponent)))


def test_plain_values():
    assert plainly(0.75, 2.0) == 0.75 * 2.0**128 and plainly(0.75, -2.0) == 0.75 * 2.0**-128
    assert plainly(1.0, 16.0) == INF and plainly(1.0, -17.0) == 0 and plainly(1.0, 1e9) == INF
    assert plainly(2.0**30, -17.0) == 2.0**-1058 and plainly(2.0**20, -16.0) == 2.0**-1004


def test_mantissas_of_as_many_rows_as_there_are_lanes_lie_before_their_exponents():
    memory = np.arange(32.0)
    mantissas, exponents = ring().load(memory, 1)
    assert mantissas.tolist() == list(range(16, 24)) and exponents.tolist() == list(range(24, 32))
    ring().store(memory, 0, (mantissas + 100, exponents))
    assert memory[:16].tolist() == [*range(116, 124), *range(24, 32)]
