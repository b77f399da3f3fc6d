"""Exact integers in digits against Python's own, and plans on small spaces, run as plain Python."""

import math
from fractions import Fraction

import numpy as np
import pytest

import oracles
import plain

emdref = plain.original()
digits, matching = emdref.kernels.arithmetic.digits, emdref.kernels.trees.matching

INTEGERS = [0, 1, 2, 5, 2**30, 2**31 - 1, 2**31, 2**52 + 1, 2**62 - 1, 2**62, 2**93 - 1, 3**50, 2**93 + 2**40, 7**44]
FLOATS = [
    1.0,
    3.0,
    0.1,
    5e-324,
    2.0**-1022,
    1.7e308,
    2.0**-31,
    2.0**31,
    1e-300,
    math.pi,
    2.0**62 + 2.0**20,
    1 - 2.0**-53,
]


def table(*integers, size=8):
    return np.array([[(x >> (31 * i)) % 2**31 for i in range(size)] for x in integers], np.int32)


def integers(x):
    return [sum(int(d) << (31 * i) for i, d in enumerate(row)) for row in x]


# --- digits -----------------------------------------------------------------------------------------------------------


def test_integers_of_floats():
    for x in FLOATS:
        m, e = digits.as_integer(x)
        assert m < 2**53 and int(m) * Fraction(2) ** int(e) == Fraction(x)
    assert [digits.length(m) for m in (1, 2, 3, 2**31 - 1, 2**53 - 1, 2**53)] == [1, 2, 2, 31, 53, 54]


def test_spans_are_tight():
    for x in FLOATS:
        low, high = digits.span(np.array([0.0, x]), 5000, -5000)
        assert (Fraction(x) / Fraction(2) ** int(low)).denominator == 1
        assert (Fraction(x) / Fraction(2) ** int(low + 1)).denominator == 2
        assert Fraction(2) ** int(high - 1) <= Fraction(x) < Fraction(2) ** int(high)
    assert digits.span(np.array([4.0, 0.0, 12.0]), 5000, -5000) == (2, 4)
    assert digits.span(np.array([4.0, 12.0]), -3, 9) == (-3, 9)
    assert digits.span(np.zeros(2), 1, 2) == (1, 2)


def test_sizes():
    assert [digits.needed(bits) for bits in (0, 1, 30, 31, 32, 62, 63)] == [0, 1, 1, 1, 2, 2, 3]
    x = table(*INTEGERS)
    rows = range(1, len(x))
    assert [digits.bit_length(x, k) for k in rows] == [INTEGERS[k].bit_length() for k in rows]
    assert [digits.top(x, k) for k in rows] == [(INTEGERS[k].bit_length() - 1) // 31 for k in rows]
    assert digits.top(x, 0) == -1
    full = table(2**248 - 1, 2**248 - 1)
    digits.clear(full, 1)
    assert integers(full) == [2**248 - 1, 0]


@pytest.mark.parametrize("factor", [1, 2**31 - 1, 2**31, 2**62 - 1, 3**40])
def test_multiples_are_added(factor):
    for mass in [0.0, 1.0, 3.0, 0.75, 2.0**31, 2.0**62 - 2.0**10, 2.0**30 * (2**53 - 1), 2.0**53 - 1, math.pi, 12.0]:
        low = digits.span(np.array([mass]), 3, 0)[0]
        for start in (0, 1, 2**31 - 1, 2**155 - 1):
            x, factors = table(5, start), table(0, factor, 7, size=5)
            digits.add_multiple(mass, low, factors, 1, x, 1)
            assert integers(x) == [5, start + Fraction(mass) / Fraction(2) ** int(low) * factor]


def test_a_multiple_needs_no_more_digits_than_it_has():
    for mass, size in ((2.0**31 - 1, 1), (2.0**62 - 2.0**9, 2), (float(2**31), 2), (2.0**53 - 1, 2), (2.0**62, 3)):
        x = np.zeros((1, size), np.int32)
        digits.add_multiple(mass, 0, table(1), 0, x, 0)
        assert integers(x) == [int(mass)]


def test_comparisons_and_differences():
    for a in INTEGERS:
        for b in INTEGERS:
            x = table(a, 3, b)
            assert digits.compare(x, 0, 2) == (a > b) - (a < b)
            if a >= b:
                digits.subtract(x, 0, 2)
                assert integers(x) == [a - b, 3, b]


@pytest.mark.parametrize(("bits", "dtype"), [(53, np.float64), (24, np.float32)])
@pytest.mark.parametrize("unit", [-100, 7])
def test_rounding(bits, dtype, unit):
    """Around every kind of tie, and wherever the leading digit begins."""
    heads = [2 ** (bits - 1), 2 ** (bits - 1) + 1, 2**bits - 1, 2**bits - 2]
    for length in [*range(bits - 8, bits + 65), 118]:
        shift = max(length - bits, 0)
        tails = {0, 1, 2**shift // 2 - 1, 2**shift // 2, 2**shift // 2 + 1, 2**shift - 1}
        for x in {((head << shift) + tail) >> max(bits - length, 0) for head in heads for tail in tails if tail >= 0}:
            got = digits.nearest(table(1, x), 1, bits, unit)
            assert got == float(dtype(got))
            exactly = x * Fraction(2) ** unit
            below, above = np.nextafter(dtype(got), dtype([0, np.inf])).astype(float)
            error = abs(Fraction(got) - exactly)
            others = [abs(Fraction(y) - exactly) for y in (below, above)]
            assert error <= min(others)
            if error and error == min(others):
                assert Fraction(got) / Fraction(2 * float(np.spacing(dtype(below)))) % 1 == 0  # even


def test_rounding_looks_at_every_digit():
    for place in range(5 * 31):
        x = (1 << 200) + (1 << 147)  # a tie
        assert digits.nearest(table(x), 0, 53, 0) == 2.0**200
        if place < 147:
            assert digits.nearest(table(x + (1 << place)), 0, 53, 0) == 2.0**200 + 2.0**148


def test_rounding_below_the_normal_range():
    for x in (1, 3, 2**30 + 1, 2**52 - 1):
        assert digits.nearest(table(x), 0, 53, -1074) == x * 5e-324
        assert digits.nearest(table(x % 2**23), 0, 24, -149) == float(np.float32(x % 2**23 * 2.0**-149))


def test_limbs():
    for x in [*INTEGERS[1:], 2**247 - 1, 2**155 + 1, 2**124 + 2**31 - 1]:
        for size in (8, digits.needed(x.bit_length())):
            h, l, e = digits.as_limbs(table(0, x, size=size), 1)
            assert 1 <= h <= 2**31 and h + l == h
            exactly = x / Fraction(2) ** e
            assert abs(Fraction(h) + Fraction(l) - exactly) <= exactly * Fraction(2) ** -100


# --- plans ------------------------------------------------------------------------------------------------------------


def tree_of(space):
    tree = space.to_tree() if isinstance(space, emdref.Chain) else space
    return tree.parent.tolist(), tree.bins.tolist()


def check(space, edges, p, q, mass, dtype):
    plan = emdref.plan(p, q, space, mass=mass)
    a, b = plain.exactly(p), plain.exactly(q)
    if mass == "normalize":
        a, b = oracles.normalized(a), oracles.normalized(b)
    truth, left = oracles.plan(a, b, *tree_of(space))
    triples = plan.tocoo()
    got = dict(zip(zip(triples.row.tolist(), triples.col.tolist(), strict=True), triples.data, strict=True))
    assert plan.dtype == dtype and got.keys() == truth.keys()
    half = Fraction(1, 2 if mass == "ignore" else 1)
    for key, x in truth.items():
        assert abs(Fraction(float(got[key])) - x) <= half * plain.ulp(got[key], dtype)
    way = sum(abs(x) * oracles.depth(k, edges) for k, x in left.items())
    cost = sum(x * oracles.distance(i, j, edges) for (i, j), x in truth.items())
    assert cost + way == oracles.emd(a, b, edges, 1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("mass", ["ignore", "normalize"])
def test_plans(mass, dtype):
    for space, edges in plain.spaces(emdref):
        for p, q in zip(*plain.pairs(space.n_bins, dtype), strict=True):
            check(space, edges, p, q, mass, dtype)
            check(space, edges, q, p, mass, dtype)


def test_a_plan_of_many_digits():
    p, q = np.array([1.0, 2.0**-200, 3 * 2.0**-400, 0]), np.array([2.0**-400, 0, 3.0, 5 * 2.0**-200])
    space = emdref.Tree(*plain.SHAPES["inner"])
    check(space, oracles.tree_edges(*plain.SHAPES["inner"]), p, q, "ignore", np.float64)
    for scale in (1.0, 2.0**-100, 2.0**100):
        check(space, oracles.tree_edges(*plain.SHAPES["inner"]), scale * p, q, "normalize", np.float64)


def test_equal_totals_are_divided_by_alone():
    """Twos and threes over a total of 8: exact, whatever the quotient of two longer integers would round to."""
    plan = emdref.plan([2.0, 6.0, 0.0], [3.0, 3.0, 2.0], emdref.Chain(3), mass="normalize")
    np.testing.assert_array_equal(plan.toarray(), [[0.25, 0, 0], [0.125, 0.375, 0.25], [0, 0, 0]])


def test_units_above_one():
    plan = emdref.plan([4.0, 8.0], [8.0, 12.0], emdref.Chain(2), mass="normalize")
    np.testing.assert_array_equal(plan.toarray(), [[1 / 3, 0], [1 / 15, 0.6]])


def test_quotients_below_the_range_are_left_out():
    for p in (np.array([1e300, 1e-300]), np.float32([1e30, 1e-30])):
        plan = emdref.plan(p, p[::-1], emdref.Chain(2), mass="normalize")
        assert plan.nnz == 1 and plan[0, 1] == 1


def test_one_pair_at_a_time():
    with pytest.raises(ValueError, match=r"p and q are a batch of shape \(1,\): plan takes one pair at a time"):
        emdref.plan([[1.0, 0.0]], [0.0, 1.0], emdref.Chain(2))
