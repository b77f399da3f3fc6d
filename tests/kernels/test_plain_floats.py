"""Two-limb arithmetic and edge formulas as plain Python, against rationals."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

import oracles
import plain
from plain import total

emdref = plain.original()
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

FLOATS = [0.0, 1.0, -1.0, 0.1, -3.7, 1 + 2.0**-52, 1 - 2.0**-53, -1 + 2.0**-53, 2.0**-60, -(2.0**-120), 1e16 / 3, -7e-9]
PAIRS = list(itertools.product(FLOATS, FLOATS))
MANY = (np.random.default_rng(0).integers(2**52, 2**53, 2000) / 2.0**52).tolist()
LIMBS = [(1.0, 2.0**-54), (-1.0, 1e-17), (3.7, -(2.0**-53)), (1e9 / 3, 1e-8), (7e-9, 2.0**-81), (1.0, 2.0**-70)]


def is_normal(h, l):
    return h + l == h


def test_limbs():
    assert emdref.kernels.arithmetic.floats.limbs(3).shape == (2, 3)


def test_two_sum_is_exact():
    for a, b in PAIRS:
        s, e = emdref.kernels.arithmetic.floats.two_sum(a, b)
        assert s == a + b and total(s, e) == total(a, b)


def test_quick_two_sum_is_exact_for_ordered_terms():
    for a, b in PAIRS:
        if abs(a) >= abs(b) or a == 0:
            s, e = emdref.kernels.arithmetic.floats.quick_two_sum(a, b)
            assert s == a + b and total(s, e) == total(a, b)


def test_the_error_of_a_product_is_exact_whatever_the_order():
    """As scalars and as lanes; Dekker's halves have 26 bits, so that no product of two of them rounds."""
    error = emdref.kernels.arithmetic.lanes.product_error
    for a, b in [*PAIRS, *itertools.pairwise(MANY)]:
        exact = Fraction(a) * Fraction(b) - Fraction(a * b)
        assert Fraction(float(error(a, b, a * b))) == Fraction(float(error(b, a, b * a))) == exact
    a, b = np.array(MANY[:8]), np.array(MANY[8:16])
    assert error(a, b, a * b).tolist() == [error(x, y, x * y) for x, y in zip(a, b, strict=True)]


def test_two_prod_is_exact():
    for a, b in [*PAIRS, *itertools.pairwise(MANY)]:
        p, e = emdref.kernels.arithmetic.floats.two_prod(a, b)
        assert p == a * b and total(p, e) == Fraction(a) * Fraction(b)


@pytest.mark.parametrize(
    ("name", "exactly"), [("add2", lambda a, b: a + b), ("mul2", lambda a, b: a * b), ("div2", lambda a, b: a / b)]
)
def test_two_limb_arithmetic(name, exactly):
    """Sums that cancel included: errors are relative to the result."""
    for a, b in itertools.product([*LIMBS, (0.0, 0.0)], LIMBS):
        h, l = getattr(emdref.kernels.arithmetic.floats, name)(*a, *b)
        exact = exactly(total(*a), total(*b))
        assert is_normal(h, l)
        assert abs(total(h, l) - exact) <= abs(exact) / 2**103


def test_division_has_three_digits():
    """The third is seen where the first two come out small: (1 + 2**-52) / (1 - 2**-53) and the like."""
    for a, b in itertools.product(FLOATS, FLOATS):
        if b != 0 and a != 0:
            h, l = emdref.kernels.arithmetic.floats.div2(a, a * 2.0**-54, b, b * 2.0**-55)
            exact = total(a, a * 2.0**-54) / total(b, b * 2.0**-55)
            assert abs(total(h, l) - exact) <= abs(exact) / 2**104


def test_scale2():
    assert emdref.kernels.arithmetic.floats.scale2(3.0, 2.0**-60, -5) == (3.0 / 32, 2.0**-65)


# --- edges ------------------------------------------------------------------------------------------------------------

DTYPES = [np.float32, np.float64]
PHIS = [0.0, 0.3, -0.3, 2.5, -2.5, 1.0]


def near(got, exact, dtype, eps=8):
    assert type(got) is dtype, type(got)
    assert abs(float(got) - float(exact)) <= eps * float(np.finfo(dtype).eps) * abs(float(exact))


@pytest.mark.parametrize("dtype", DTYPES)
def test_power_slope_and_bend(dtype):
    """In phi's dtype: power, rho sgn(phi) |phi|**(rho-1) and rho (rho-1) |phi|**(rho-2) where that is finite."""
    edges = emdref.kernels.arithmetic.edges
    for rho, x in itertools.product(plain.RHOS, map(dtype, PHIS)):
        exact, r = Fraction(float(abs(x))), Fraction(rho)
        near(edges.power(x, dtype(rho)), oracles.power(exact, rho), dtype)
        slope = 0 if x == 0 else r * oracles.power(exact, rho - 1) * oracles.sign(float(x))
        near(dtype(edges.slope(x, dtype(rho), dtype(1))), slope, dtype)  # a Python float from math, plain
        infinite = x == 0 and rho == 1.5
        assert edges.is_infinite(x, dtype(rho)) == infinite
        if not infinite:
            bend = 0 if rho == 1 else r * (r - 1) * oracles.power(exact, rho - 2)
            near(edges.bend(x, dtype(rho), dtype(1)), bend, dtype)


def test_small_integer_powers_are_products():
    """pow may be an ulp off; a product of one rounding is not."""
    x = -(1 + 2.0**-52)
    assert emdref.kernels.arithmetic.edges.power(x, 3.0) == abs(x) * abs(x) * abs(x)
    assert emdref.kernels.arithmetic.edges.power(0.1, 3.0) == (0.1 * 0.1) * 0.1
    for k in range(1, 200):
        y = k / 7
        assert emdref.kernels.arithmetic.edges.power(y, 4.0) == (y * y) * (y * y)
        assert emdref.kernels.arithmetic.edges.power(y, 3.0) == y * y * y
    many = np.random.default_rng(1).random(20_000).tolist()  # pow(x, 2) misses the nearest number about once in 1000
    assert all(emdref.kernels.arithmetic.edges.power(x, 2.0) == x * x for x in many)


def test_powers_in_two_limbs():
    """Integer powers to 100 bits; others to libm's error, and moved by the second limb as they must be."""
    for (h, l), rho in itertools.product([(0.3, 1e-17), (2.5, -1e-16), (0.99, 2.0**-54)], [0, *plain.RHOS]):
        y = emdref.kernels.arithmetic.edges.power2(h, l, float(rho))
        exact = total(h, l) ** rho if rho == int(rho) else oracles.power(total(h, l), rho)
        assert rho != 1 or y == (h, l)
        bits = 98 if rho == int(rho) and rho < 5 else 50
        assert is_normal(*y) and abs(total(*y) - exact) <= exact / 2**bits
        if bits == 50:
            moved = total(*y) - total(*emdref.kernels.arithmetic.edges.power2(h, 0.0, rho))
            assert math.isclose(moved, rho * l / h * float(exact), rel_tol=1e-9)


def test_bends_in_two_limbs():
    for (h, l), rho in itertools.product([(0.3, 1e-17), (2.5, -1e-16)], [2, 3, 4, 2 + 2.0**-40]):
        y = emdref.kernels.arithmetic.edges.bend2(h, l, float(rho))
        r = Fraction(rho)
        exact = r * (r - 1) * (total(h, l) ** (rho - 2) if rho in (2, 3, 4) else oracles.power(total(h, l), rho - 2))
        bits = 97 if rho in (2, 3, 4) else 50
        assert is_normal(*y) and abs(total(*y) - exact) <= exact / 2**bits


def test_the_factor_of_a_bend_has_two_limbs():
    """rho (rho - 1) of a long rho does not fit one; at h = 1 no power hides that."""
    rho = 3 + 2.0**-51
    got = emdref.kernels.arithmetic.edges.bend2(1.0, 0.0, rho)
    assert abs(total(*got) - Fraction(rho) * Fraction(rho - 1)) <= Fraction(1, 2**98)
