"""Derivatives by the costs: exact rationals, differences of exact values, supergradients where edges close a circle."""

from fractions import Fraction

import numpy as np
import pytest

import cases
import emdref
from cases import DTYPES, FAMILIES, assert_within_ulps
from emdref import exact

RING = emdref.Circle(gaps=[0.5, 1.0, 2.0, 0.25, 0.75])
P, Q = [0.25, 0.125, 0.5, 0.0, 0.125], [0.0, 0.5, 0.125, 0.25, 0.125]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", cases.SPACES)
def test_powers_of_exact_flows(name, dtype):
    for family in FAMILIES:
        space, p, q = cases.case(name, family, dtype)
        phi = cases.exact_flow(p, q, space)
        np.testing.assert_array_equal(emdref.emd_cost_grad(p, q, space), np.abs(emdref.flow(p, q, space)))
        for rho in (1, 2, 3, 4):
            want = [abs(f) ** rho for f in phi]
            assert exact.cost_grad(p, q, space, rho) == want
            got = emdref.emd_cost_grad(p, q, space, rho)
            assert got.dtype == dtype and got.shape == np.shape(want)
            assert_within_ulps(got, want, 1 if dtype == np.float32 else 2 * rho - 1)
        phi = np.abs(np.array(phi, float))
        tolerance = 5 * float(cases.eps(dtype))
        np.testing.assert_allclose(
            emdref.emd_cost_grad(p, q, space, 2.5), phi**2 * phi**0.5, rtol=tolerance, atol=1e-44
        )


@pytest.mark.parametrize("rho", [1, 2, 3])
@pytest.mark.parametrize("mass", ["ignore", "normalize"])
def test_a_trees_value_is_linear_in_its_costs(rho, mass):
    """The difference quotient is exact, for a step of any length."""
    parent, bins = [2, 2, -1, 0, 0, 1, 1, 5], [3, 4, 6, 7, 5]
    cost = [Fraction(x) for x in (1, 2, 0, 0, 3, 0.5, 0.25, 8)]
    p, q = [Fraction(x) for x in P], [Fraction(3 * x) if mass == "normalize" else Fraction(x) for x in Q]

    def value(costs):
        return exact.emd(p, q, emdref.Tree(parent, [float(c) for c in costs], bins), rho, mass=mass)

    got = exact.cost_grad(p, q, emdref.Tree(parent, [float(c) for c in cost], bins), rho, mass=mass)
    for e in (0, 1, 3, 4, 5, 6, 7):
        for t in (Fraction(1, 2), Fraction(16)):
            moved = [c + t * (k == e) for k, c in enumerate(cost)]
            assert (value(moved) - value(cost)) / t == got[e]
    assert got[2] == 0
    assert sum(c * g for c, g in zip(cost, got, strict=True)) == value(cost)


@pytest.mark.parametrize("rho", [1, 2])
def test_a_circles_is_a_supergradient(rho):
    gaps = [Fraction(g) for g in RING.gaps.tolist()]
    got, value = exact.cost_grad(P, Q, RING, rho), exact.emd(P, Q, RING, rho)
    assert sum(g * c for g, c in zip(gaps, got, strict=True)) == value
    np.testing.assert_allclose(emdref.emd_cost_grad(P, Q, RING, rho), np.array(got, float), rtol=4e-16)
    for k in range(200):
        other = np.random.default_rng(k).integers(0, 64, 5) / 16
        assert exact.emd(P, Q, emdref.Circle(gaps=other), rho) <= sum(
            Fraction(m) * c for m, c in zip(other.tolist(), got, strict=True)
        )
    for e in range(5):  # and the derivative, up to what is of second order in the step, or 0 at rho = 1
        t = Fraction(1, 2**20)
        up, down = ([float(g + s * t * (k == e)) for k, g in enumerate(gaps)] for s in (1, -1))
        slope = (exact.emd(P, Q, emdref.Circle(gaps=up), rho) - exact.emd(P, Q, emdref.Circle(gaps=down), rho)) / t / 2
        assert abs(slope - got[e]) <= (t if rho == 2 else 0)


def test_a_tied_circle_takes_the_middle_flow():
    """Half the mass may go either way round: each edge's share is the middle of what it may have."""
    assert emdref.emd_cost_grad([1.0, 0, 0, 0], [0, 0, 1.0, 0], emdref.Circle(4)).tolist() == [0.5] * 4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("space", [emdref.Chain(5), RING], ids=["chain", "circle"])
def test_batches_and_accuracies(space, dtype):
    p, q = np.array([[P], [Q]], dtype), np.array([Q, P, P], dtype)
    got = emdref.emd_cost_grad(p, q, space, 3)
    assert got.shape == (2, 3, len(space.edges.cost)) and not got[0, 1].any() and got[0, 0].any()
    np.testing.assert_array_equal(got[1, 2], emdref.emd_cost_grad(Q, P, space, 3).astype(dtype))
    native = emdref.emd_cost_grad(p, q, space, 3, accuracy="native")
    assert native.dtype == dtype
    np.testing.assert_allclose(native, got, rtol=64 * float(cases.eps(dtype)), atol=64 * float(cases.eps(dtype)))
    assert emdref.emd_cost_grad(np.empty((0, 5), dtype), q[0], space).shape == (0, len(space.edges.cost))


def test_what_is_beyond_the_range_is_inf_with_one_warning():
    with pytest.warns(RuntimeWarning, match="1 entries of the derivative by costs are beyond .* float64") as caught:
        got = emdref.emd_cost_grad([[1e200, 0.0], [1.0, 0.0]], [[0.0, 1e200], [0.0, 1.0]], emdref.Chain(2), 2)
    assert got.tolist() == [[np.inf], [1.0]]
    assert len(caught) == 1 and caught[0].filename == __file__
    with pytest.raises(ValueError, match='beyond float32; use accuracy="compensated"'):
        emdref.emd_cost_grad(*np.eye(2, dtype=np.float32), emdref.Chain(2), 1e300, accuracy="native")
