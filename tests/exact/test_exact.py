"""emdref.exact against the oracle, and both against the definition of a derivative, all in rationals."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import cases
import emdref
import oracles

rhos = st.integers(1, 4)
gauges = st.sampled_from(cases.GAUGES)


@given(cases.pairs(), st.booleans())
def test_flow_is_the_oracles(case, normalize):
    space, p, q = case
    assert emdref.exact.flow(p, q, space, mass="normalize" if normalize else "ignore") == cases.exact_flow(
        p, q, space, normalize
    )


@given(cases.pairs(), rhos, st.booleans())
def test_value_is_the_oracles(case, rho, normalize):
    space, p, q = case
    assert emdref.exact.emd(p, q, space, rho, mass="normalize" if normalize else "ignore") == cases.exact_emd(
        p, q, space, rho, normalize
    )


@given(cases.pairs(), rhos, gauges, st.booleans())
def test_gradient_is_the_oracles(case, rho, gauge, normalize):
    space, p, q = case
    got = emdref.exact.grad(p, q, space, rho, gauge=gauge, mass="normalize" if normalize else "ignore")
    assert got == cases.exact_grad(p, q, space, rho, gauge, normalize)


def smooth_step(p, q, space, d):
    """A step along d that turns no flow's sign, small enough for four points of the five-point rule; p is kept > 0."""
    flow, turn = cases.exact_flow(p, q, space), cases.exact_flow(d, [0] * len(d), space)
    assume(all(f != 0 or t == 0 for f, t in zip(flow, turn, strict=True)))
    bounds = [abs(a / b) for a, b in zip([*flow, *p], [*turn, *d], strict=True) if b != 0]
    assume(bounds and min(bounds) > 0)
    return min(bounds) / 2


def two_bins(data, n):
    assume(n > 1)
    return data.draw(st.lists(st.integers(0, n - 1), min_size=2, max_size=2, unique=True))


@pytest.mark.parametrize("gradient", [cases.exact_grad, emdref.exact.grad])
@given(data=st.data(), rho=rhos)
def test_gradient_is_the_derivative_where_mass_moves_between_two_bins(gradient, data, rho):
    """EMD^rho is a polynomial of degree rho <= 4 between kinks, on which the five-point rule is exact."""
    space, p, q = data.draw(cases.pairs())
    j, k = two_bins(data, len(p))
    p, q = cases.exact_pair(p, q)
    d = [(i == j) - (i == k) for i in range(len(p))]
    step = smooth_step(p, q, space, d)
    slope = oracles.slope_along(lambda x: emdref.exact.emd(x, q, space, rho), p, d, step)
    assert slope == oracles.slope_along(lambda x: oracles.emd(x, q, cases.edges(space), rho), p, d, step)
    for gauge in ("raw", "zero_sum"):
        r = gradient(p, q, space, rho, gauge=gauge)
        assert r[j] - r[k] == slope


@given(data=st.data(), rho=rhos)
def test_raw_gradient_is_the_partial_derivative(data, rho):
    space, p, q = data.draw(cases.pairs())
    p, q = cases.exact_pair(p, q)
    k = data.draw(st.integers(0, len(p) - 1))
    d = [int(i == k) for i in range(len(p))]
    step = smooth_step(p, q, space, d)
    slope = oracles.slope_along(lambda x: emdref.exact.emd(x, q, space, rho), p, d, step)
    assert emdref.exact.grad(p, q, space, rho, gauge="raw")[k] == slope


@given(data=st.data(), rho=rhos)
def test_normalized_gradient_is_the_derivative_through_the_normaliser(data, rho):
    """d/dt of EMD(p/|p|, q/|q|) with p = p + t e_k is the slope of EMD along (e_k - p/|p|) / |p|."""
    space, p, q = data.draw(cases.pairs())
    mass, (a, b) = sum(map(Fraction, p)), cases.exact_pair(p, q, normalize=True)
    k = data.draw(st.integers(0, len(p) - 1))
    d = [((i == k) - x) / mass for i, x in enumerate(a)]
    step = smooth_step(a, b, space, d)
    slope = oracles.slope_along(lambda x: emdref.exact.emd(x, b, space, rho), a, d, step)
    assert emdref.exact.grad(p, q, space, rho, gauge="normalized")[k] == slope


@given(cases.pairs(), rhos)
def test_normalized_gradient_is_orthogonal_to_p(case, rho):
    """Euler: EMD(p/|p|, .) does not change with the length of p."""
    space, p, q = case
    g = emdref.exact.grad(p, q, space, rho, gauge="normalized")
    assert sum(Fraction(a) * b for a, b in zip(p, g, strict=True)) == 0


@given(cases.pairs(), rhos)
def test_zero_sum_and_scaled_gradients_conserve_mass(case, rho):
    space, p, q = case
    zero_sum, scaled = (emdref.exact.grad(p, q, space, rho, gauge=g) for g in ("zero_sum", "scaled"))
    assert sum(zero_sum) == 0
    assert scaled == [len(p) * g for g in zero_sum]


def test_floats_are_taken_at_their_own_value():
    value = emdref.exact.emd([0.1, 0.2], [0.2, 0.1], emdref.Chain(2))
    assert value == Fraction(0.2) - Fraction(0.1) and isinstance(value, Fraction)
    tenth = np.float32(0.1)
    assert emdref.exact.emd([tenth, 0], np.array([0, tenth]), emdref.Chain(2)) == Fraction(float(tenth))


def test_fractions_and_integers_are_welcome():
    third = Fraction(1, 3)
    assert emdref.exact.emd([third, 0], [0, third], emdref.Chain(2), 2) == Fraction(1, 9)
    assert emdref.exact.emd(np.array([2**60, 0]), np.array([0, 2**60]), emdref.Chain(2), 3) == 2**180
    assert emdref.exact.grad(np.array([third, 0 * third]), [0, third], emdref.Chain(2), 2) == [third, -third]


@pytest.mark.parametrize("rho", [2.0, np.float64(2), np.int64(2)])
def test_an_integer_rho_of_any_type_keeps_results_exact(rho):
    p, q, chain = [0.1, 0.9], [0.3, 0.7], emdref.Chain(2)
    assert emdref.exact.emd(p, q, chain, rho) == emdref.exact.emd(p, q, chain, 2)
    assert emdref.exact.grad(p, q, chain, rho) == emdref.exact.grad(p, q, chain, 2)
    assert all(type(x) is Fraction for x in [emdref.exact.emd(p, q, chain, rho), *emdref.exact.grad(p, q, chain, rho)])


@pytest.mark.parametrize("call", [emdref.exact.emd, emdref.exact.flow, emdref.exact.grad])
def test_a_space_of_one_bin(call):
    assert call([2], [1], emdref.Chain(1)) in (0, [], [0])


def test_a_deep_tree_needs_no_recursion():
    tree = emdref.Tree(np.arange(5000) - 1, bins=[0, 4999])
    assert emdref.exact.emd([1, 0], [0, 1], tree) == 4999
