"""emdref.exact and the definitions under it against the oracle, in all kinds of numbers, Decimals among them."""

import itertools
from decimal import Context, Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

import oracles
import plain

emdref = plain.original()

HALF, THIRD = Fraction(1, 2), Fraction(1, 3)


def pairs(n):
    """With kinks, unequal totals, thirds and zeros."""
    p, q = plain.pairs(n)
    yield p[0].tolist(), q[0].tolist()
    yield p[2].tolist(), q[2].tolist()
    yield [THIRD, 0, HALF, 2, 0][:n], [0, THIRD, Fraction(1, 7), 0.25, 1][:n]


def exact_pair(p, q, normalize):
    a, b = oracles.fractions(p), oracles.fractions(q)
    return (oracles.normalized(a), oracles.normalized(b)) if normalize else (a, b)


@pytest.mark.parametrize("normalize", [False, True])
def test_flow_value_and_gradient(normalize):
    for space, edges in plain.spaces(emdref):
        for p, q in pairs(space.n_bins):
            a, b = exact_pair(p, q, normalize)
            flow = emdref.exact.flow(p, q, space, mass="normalize" if normalize else "ignore")
            phi = oracles.flow(a, b, edges)
            assert len(flow) == (len(phi) if isinstance(space, emdref.Chain) else space.n_nodes)
            assert all(f == phi.get(e, 0) and type(f) is Fraction for e, f in enumerate(flow))
            for rho in (1, 2, 3, 5):
                assert emdref.exact.emd(p, q, space, rho, mass="normalize" if normalize else "ignore") == oracles.emd(
                    a, b, edges, rho
                )
                for gauge in plain.GAUGES:
                    c, d = exact_pair(p, q, normalize or gauge == "normalized")
                    exact = oracles.gauged(oracles.raw_grad(c, d, edges, rho), oracles.fractions(p), gauge)
                    assert (
                        emdref.exact.grad(p, q, space, rho, gauge=gauge, mass="normalize" if normalize else "ignore")
                        == exact
                    )


def test_hessian_and_product():
    for space, edges in list(plain.spaces(emdref))[:4]:
        for (p, q), rho, gauge in itertools.product(list(pairs(space.n_bins))[1:], (1, 2, 3), plain.GAUGES):
            for normalize in (False, True):
                a, b = exact_pair(p, q, normalize or gauge == "normalized")
                r, h = oracles.raw_grad(a, b, edges, rho), oracles.raw_hess(a, b, edges, rho)
                exact = oracles.gauged_hess(h, r, oracles.fractions(p), gauge)
                assert (
                    emdref.exact.hess(p, q, space, rho, gauge=gauge, mass="normalize" if normalize else "ignore")
                    == exact
                )
                v = [THIRD, -2, 0.5, 0, 1][: len(p)]
                times = [sum(x * y for x, y in zip(line, oracles.fractions(v), strict=True)) for line in exact]
                assert (
                    emdref.exact.hvp(p, q, space, v, rho, gauge=gauge, mass="normalize" if normalize else "ignore")
                    == times
                )


def test_defaults():
    chain, p, q = emdref.Chain(3), [1, 0, 0], [0, 0, 1]
    assert emdref.exact.emd(p, q, chain) == 2 and emdref.exact.grad(p, q, chain) == [1, 0, -1]
    assert emdref.exact.hess(p, q, chain) == emdref.exact.hess(p, q, chain, 2, gauge="zero_sum", mass="ignore")
    assert emdref.exact.hvp(p, q, chain, p) == [line[0] for line in emdref.exact.hess(p, q, chain)]
    p, q = [2, 0, 0], [0, 0, 1]
    assert emdref.exact.flow(p, q, chain) == [2, 2] and emdref.exact.emd(p, q, chain) == 4
    assert emdref.exact.grad(p, q, chain, 2, gauge="raw") == [8, 4, 0]
    assert emdref.exact.hess(p, q, chain, 3, gauge="raw")[0][0] == 24
    assert emdref.exact.hvp(p, q, chain, [1, 0, 0], 3, gauge="raw")[0] == 24


def test_options_are_keywords_and_arguments_may_be():
    chain, p, q, v = emdref.Chain(2), [1, 0], [0, 1], {"v": [1, 0]}
    for function, more in (("emd", {}), ("flow", {}), ("grad", {}), ("hess", {}), ("hvp", v)):
        call, rho = getattr(emdref.exact, function), {"rho": 2}
        assert call(p=p, q=q, space=chain, **more, **rho) == call(p, q, chain, *more.values(), *rho.values())
        with pytest.raises(TypeError, match="positional"):
            call(p, q, chain, *more.values(), *rho.values(), "raw")


@pytest.mark.parametrize("rho", [2.0, np.float64(2), np.int64(2), Fraction(2), np.float32(2)])
def test_any_integer_is_a_rho(rho):
    assert emdref.exact.emd([1, 0], [0, 0.5], emdref.Chain(2), rho) == 1
    assert all(type(x) is Fraction for x in emdref.exact.grad([1, 0], [0, 0.5], emdref.Chain(2), rho))


@pytest.mark.parametrize("rho", ["2", None, 2.5, -2.5, float("nan"), float("inf"), -float("inf"), [2], 1j])
def test_other_rhos_are_refused(rho):
    with pytest.raises(TypeError, match="integer rho"):
        emdref.exact.emd([1], [1], emdref.Chain(1), rho)


@pytest.mark.parametrize("rho", [0, -1, 1001, 2000.0, 10**30])
def test_rhos_out_of_range_are_refused(rho):
    with pytest.raises(ValueError, match="from 1 to 1000"):
        emdref.exact.emd([1], [1], emdref.Chain(1), rho)


def test_the_largest_rho():
    assert emdref.exact.emd([2, 0], [0, 0], emdref.Chain(2), 1000) == 2**1000


@pytest.mark.parametrize("function", ["grad", "hess"])
def test_an_unknown_gauge_is_refused(function):
    with pytest.raises(ValueError, match="gauge="):
        getattr(emdref.exact, function)([1, 0], [0, 1], emdref.Chain(2), gauge="mean")
    with pytest.raises(ValueError, match="gauge="):
        emdref.exact.hvp([1, 0], [0, 1], emdref.Chain(2), [1, 1], gauge="mean")


BAD = [  # p, the error, its words; against a chain of two bins
    ([1, -1], ValueError, r"p\[1\] = -1: a histogram holds"),
    ([-0.5, 1], ValueError, r"p\[0\] = -0.5"),
    ([1], ValueError, r"p has shape \(1,\), expected one entry for each of the space's 2 bins"),
    ([[1, 0]], ValueError, "p has shape"),
    ([[1], [1, 2]], ValueError, "p is not a sequence"),
    ([1, "1"], TypeError, r"p\[1\] = '1' is not a real number"),
    ([1j, 0], TypeError, r"p\[0\]"),
    ([1, float("nan")], ValueError, r"p\[1\] = nan: only finite"),
    ([1, float("inf")], ValueError, "only finite"),
    (np.array([1, np.inf]), ValueError, r"p\[1\] = inf: only finite"),
    ([1, -float("inf")], ValueError, "only finite"),
    ("ab", ValueError, "p has shape"),
]


@pytest.mark.parametrize(("p", "error", "words"), BAD)
def test_bad_histograms_are_refused(p, error, words):
    chain = emdref.Chain(2)
    with pytest.raises(error, match=words):
        emdref.exact.emd(p, [1, 0], chain)
    with pytest.raises(error, match=words.replace("p", "q", 1) if words.startswith("p") else words):
        emdref.exact.emd([1, 0], p, chain)


def test_a_direction_may_be_negative_but_is_checked():
    chain = emdref.Chain(2)
    assert emdref.exact.hvp([1, 0], [0, 1], chain, np.array([-1, 0]), gauge="raw") == [-2, 0]
    with pytest.raises(ValueError, match="v has shape"):
        emdref.exact.hvp([1, 0], [0, 1], chain, [1, 2, 3])


def test_rows_without_mass_cannot_be_normalised():
    chain = emdref.Chain(2)
    for p, q, name in (([0, 0], [1, 0], "p"), ([1, 0], [0, 0], "q")):
        with pytest.raises(ValueError, match=f"^{name} is all zeros"):
            emdref.exact.emd(p, q, chain, mass="normalize")
        assert emdref.exact.emd(p, q, chain) == 1
    with pytest.raises(ValueError, match=r"^p is all zeros"):
        emdref.exact.flow([0, 0], [0, 0], chain, mass="normalize")


def test_a_space_is_a_space():
    with pytest.raises(TypeError, match="space must be a Space, such as a Chain or a Tree, not list"):
        emdref.exact.emd([1], [1], [1])


def test_kinds_of_numbers():
    chain = emdref.Chain(2)
    for one, kind in itertools.product((1, 1.0, True, Fraction(1)), (list, tuple)):
        assert emdref.exact.emd(kind([one, 0]), kind([0, one]), chain) == 1
    for dtype in (np.int64, np.float32, np.uint8, np.float64):
        x = np.array([1, 0], dtype)
        assert emdref.exact.emd(x, x[::-1], chain) == 1 and emdref.exact.emd(list(x), list(x[::-1]), chain) == 1
    assert emdref.exact.emd(np.array([2**60 + 1, 0]), [2**60, 0], chain) == 1
    assert emdref.exact.emd(np.array([THIRD, 0], object), [0, 0], chain) == THIRD
    assert emdref.exact.emd([np.int64(2**60 + 1), 0], [2**60, 0], chain) == 1


def test_integers_over_a_common_unit():
    integers = emdref.exact.definitions.integers
    assert integers([0.5, THIRD, 2]) == ([3, 2, 12], Fraction(1, 6))
    assert integers([]) == ([], 1) and integers([np.int64(3)]) == ([3], 1)
    assert all(type(x) is int for x in integers([np.int64(3), np.float64(0.5)])[0])
    numbers = emdref.exact.definitions.Row([0.5, 2], [THIRD, 1], emdref.Chain(gaps=[0.25]), False)
    assert (numbers.p, numbers.phi, numbers.cost) == ([3, 12], [1], [1])
    assert (numbers.mass_unit, numbers.phi_unit, numbers.cost_unit) == (Fraction(1, 6), Fraction(1, 6), Fraction(1, 4))
    numbers = emdref.exact.definitions.Row([1, 2], [2, 2], emdref.Chain(2), True)
    assert (numbers.phi, numbers.phi_unit, numbers.mass_unit) == ([-2], Fraction(1, 12), 1)


def test_edges_that_second_derivatives_depend_on():
    tree = emdref.Tree([-1, 0, 1, 1, 1, 4, 1], [9, 1, 1, 0, 1, 1, 1], bins=[2, 3, 5])  # 1 above all, 6 above none
    row = emdref.exact.definitions.Row([1, 0, 1], [1, 0, 1], tree, False)
    assert row.counts("raw") == [False, True, True, False, True, True, False]
    assert row.counts("zero_sum") == [False, False, True, False, True, True, False] == row.counts("normalized")
    assert (row.kink("raw"), row.kink("zero_sum")) == (1, 2)
    row = emdref.exact.definitions.Row([1, 0, 1], [0, 0, 0], tree, False)
    assert row.kink("raw") is None
    row = emdref.exact.definitions.Row([1, 0, 1], [0, 0, 1], tree, False)
    assert row.kink("raw") == 4
    bends = emdref.exact.definitions.curvatures
    assert bends(row, 2, "raw") == [0, 2, 2, 0, 2, 2, 0] and bends(row, 2, "scaled") == [0, 0, 2, 0, 2, 2, 0]
    assert bends(row, 3, "raw") == [0, 6, 6, 0, 0, 0, 0] and bends(row, 1, "raw") == [0] * 7
    assert bends(emdref.exact.definitions.Row([3, 0, 1], [0, 0, 0], tree, False), 4, "raw")[1:3] == [12 * 16, 12 * 9]


DIGITS = Context(prec=60, traps=[])


@pytest.mark.parametrize("scaled", [False, True])
def test_decimals_say_the_same(scaled):
    """Value, gradient and Hessian of real rho, and integer ones of which the exact answer is known."""
    for (space, edges), rho in itertools.product(list(plain.spaces(emdref))[:3], (2, 3, 2.5)):
        p, q = (x[0].tolist() for x in plain.pairs(space.n_bins))
        a, b = exact_pair(p, q, False)
        with localcontext(DIGITS):
            row = emdref.exact.definitions.Row(p, q, space, False).decimal(scaled=scaled)
            top = max(abs(x) for x in row.phi)
            assert (top == 1) == scaled and all(type(x) is Decimal for x in [*row.phi, *row.p, *row.cost])
            power = Decimal(rho)
            value = emdref.exact.definitions.value(row, power) * row.cost_unit * row.phi_unit**power
            near(value, oracles.emd_real(a, b, edges, rho))
            for gauge in plain.GAUGES[:3]:
                numbers, unit = emdref.exact.definitions.gradient(row, power, gauge)
                exact = oracles.gauged(oracles.raw_grad_real(a, b, edges, rho), a, gauge)
                for x, y in zip(numbers, exact, strict=True):
                    near(x * unit, y, max(map(abs, exact)))
                h = oracles.raw_hess(a, b, edges, rho)
                exact = oracles.gauged_hess(h, a, a, gauge)
                matrix = emdref.exact.definitions.Hessian(row, power, gauge)
                for k, line in enumerate(exact):
                    for x, y in zip(matrix.line(k), line, strict=True):
                        near(x * matrix.unit, y, max(map(abs, line)))


@pytest.mark.parametrize("rho", [3, 2.5])
def test_decimals_in_gauge_normalized(rho):
    for space, edges in list(plain.spaces(emdref))[:2]:
        p, q = (x[0].tolist() for x in plain.pairs(space.n_bins))
        (a, b), given = exact_pair(p, q, True), oracles.fractions(p)
        with localcontext(DIGITS):
            row = emdref.exact.definitions.Row(p, q, space, True).decimal(scaled=True)
            r, h = oracles.raw_grad_real(a, b, edges, rho), oracles.raw_hess(a, b, edges, rho)
            numbers, unit = emdref.exact.definitions.gradient(row, Decimal(rho), "normalized")
            for x, y in zip(numbers, oracles.gauged(r, given, "normalized"), strict=True):
                near(x * unit, y, 1)
            matrix = emdref.exact.definitions.Hessian(row, Decimal(rho), "normalized")
            exact = oracles.gauged_hess(h, r, given, "normalized")
            v = [Decimal(k - 1) for k in range(len(p))]
            times = matrix.times(v)
            for k, line in enumerate(exact):
                for x, y in zip(matrix.line(k), line, strict=True):
                    near(x * matrix.unit, y, max(map(abs, line)))
                near(times[k] * matrix.unit, sum(y * (i - 1) for i, y in enumerate(line)), max(map(abs, line)))


def near(x, exact, unit=0):
    assert abs(Fraction(x) - exact) <= max(abs(exact), unit) / 10**45


def test_decimals_of_a_row_in_which_nothing_flows():
    with localcontext(DIGITS):
        row = emdref.exact.definitions.Row([1, 2], [1, 2], emdref.Chain(2), False).decimal(scaled=True)
        assert row.phi == [0] and row.phi_unit == 1
        one = emdref.exact.definitions.Row([THIRD], [2], emdref.Chain(1), False).decimal(scaled=True)
        assert one.phi == [] and one.phi_unit == 1


def test_far_below_the_largest_flow_decimals_count_as_nothing_only_if_scaled():
    p, q = [1.0, 0, 0, 2.0**-1000], [0, 1.0, 2.0**-1000, 0]
    with localcontext(Context(prec=50, Emax=1000, Emin=-1000, traps=[])):
        row = emdref.exact.definitions.Row(p, q, emdref.Chain(4), False)
        scaled, plainly = row.decimal(scaled=True), row.decimal(scaled=False)
        assert scaled.phi[0] == 1 and plainly.phi[2] * plainly.phi_unit == scaled.phi[2] * scaled.phi_unit != 0
        assert plainly.phi[0] == 1 and plainly.phi_unit == 1 and scaled.phi_unit == 1


def test_a_hessian_is_symmetric_to_the_last_digit():
    """Also in Decimals, which round: both borders are added to one another first."""
    p, q = (x[0].tolist() for x in plain.pairs(5))
    with localcontext(Context(prec=20, traps=[])):
        row = emdref.exact.definitions.Row(p, q, emdref.Chain(gaps=plain.GAPS), True).decimal(scaled=True)
        for gauge in plain.GAUGES:
            matrix = emdref.exact.definitions.Hessian(row, Decimal("2.7"), gauge)
            lines = [matrix.line(k) for k in range(5)]
            assert all(lines[j][k] == lines[k][j] for j in range(5) for k in range(5))


def test_whether_decimals_are_scaled_is_said_by_name():
    with pytest.raises(TypeError, match="positional"):
        emdref.exact.definitions.Row([1, 2], [1, 2], emdref.Chain(2), False).decimal(True)


def test_lists_of_different_lengths_are_not_cut_short():
    f = emdref.exact.definitions
    for name in ("cost", "phi"):
        row = f.Row([1, 2, 4], [4, 1, 2], emdref.Chain(3), False)
        setattr(row, name, getattr(row, name)[:1])
        for function in (f.value, f.slopes):
            with pytest.raises(ValueError, match="zip"):
                function(row, 2)
        with pytest.raises(ValueError, match="zip"):
            f.curvatures(row, 3, "raw")
    with pytest.raises(ValueError, match="zip"):
        row.kink("raw")
    row = f.Row([1, 2, 4], [4, 1, 2], emdref.Chain(3), False)
    row.cost = row.cost[:1]
    with pytest.raises(ValueError, match="zip"):
        row.counts("raw")
    tree = emdref.Tree([-1, 0, 0, 0])
    row, pair = f.Row([1, 2, 4], [4, 1, 2], tree, False), [1, 2]
    matrix = f.Hessian(row, 2, "zero_sum")
    for call in (row.below, matrix.times, lambda x: f.dot(x, [1, 2, 3])):
        with pytest.raises(ValueError, match="zip"):
            call(pair)
    matrix._border = pair
    with pytest.raises(ValueError, match="zip"):
        matrix.line(0)
    matrix._bends = pair
    with pytest.raises(ValueError, match="zip"):
        matrix.times([1, 2, 3])


def test_histograms_are_checked_by_name():
    assert emdref.exact.definitions.histogram([0, 1], "x", 2) == [0, 1]
    assert emdref.exact.definitions.numbers([-1, 2.5], "x", 2) == [-1, 2.5]
    assert emdref.exact.definitions.as_decimal(Fraction(1, 8)) == Decimal("0.125")


def test_gauge_and_normalize_are_named():
    shared = [1, 0], [0, 1], emdref.Chain(2)
    exact = emdref.exact
    calls = [
        (exact.emd, (1, True)),
        (exact.flow, (1, True)),
        (exact.grad, (1, "raw", True)),
        (exact.hess, (2, "raw", True)),
        (exact.hvp, ([1, 0], 2, "raw", True)),
    ]
    for call, extra in calls:
        with pytest.raises(TypeError, match="positional"):
            call(*shared, *extra)


def test_a_fraction_below_zero_is_no_exponent():
    for rho in (-0.5, 0.5, 1.5, 2.5):
        with pytest.raises((ValueError, TypeError), match="rho"):
            emdref.exact.emd([1, 0], [0, 1], emdref.Chain(2), rho)
