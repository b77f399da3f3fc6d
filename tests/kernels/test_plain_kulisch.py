"""Flows in long accumulators beside exact rationals, run as plain Python."""

from fractions import Fraction

import numpy as np
import pytest

import plain

original = plain.original()


def mantissas(rng, n, least, most):
    """Full significands at exponents from `least` to `most`, below which floats end."""
    return np.ldexp(rng.integers(2**52, 2**53, n).astype(float), rng.integers(least, most, n))


KINDS = {
    "softmaxes": lambda rng, n: np.exp(200 * rng.standard_normal(n) - 700),
    "all of float64's range": lambda rng, n: mantissas(rng, n, -1120, 940),
    "subnormal": lambda rng, n: mantissas(rng, n, -1126, -1100),
    "few integers": lambda rng, n: rng.integers(0, 3, n).astype(float),
    "one bit": lambda rng, n: np.ldexp(1.0, rng.integers(-1074, 1000, n)),
}


def drawn(rng, emdref):
    n = int(rng.integers(1, 30))
    if rng.random() < 0.3:
        return emdref.Chain(n)
    parent = [-1, *(int(rng.integers(max(0, v - 5), v)) for v in range(1, n))]
    return emdref.Tree(parent, bins=rng.permutation(n)[: rng.integers(1, n + 1)])


def check(rng, kind, normalize, emdref):
    """Limbs, bounds and signs of one pair are right."""
    space = drawn(rng, emdref)
    p, q = (np.maximum(KINDS[kind](rng, space.n_bins), 5e-324) for _ in range(2))
    check_pair(p, rng.permutation(p) if rng.random() < 0.3 else q, space, normalize, emdref)


def check_pair(p, q, space, normalize, emdref):
    (h, l, err), *_ = emdref.closed_form.exact_rows.flows(
        p[None], q[None], space.rooted, np.ones(space.n_nodes), normalize
    )
    assert (h[0], l[0], err[0]) == (0, 0, 0)  # the root has no edge
    row = emdref.exact.definitions.Row(p, q, space, normalize)
    for position, edge in enumerate(space.rooted.order.tolist()[1:], 1):
        phi, found = row.phi[edge] * row.phi_unit, h[position]
        if abs(phi) > Fraction(np.finfo(float).max):
            assert abs(found) >= np.finfo(float).max
            continue
        assert abs(Fraction(found) + Fraction(l[position]) - phi) <= Fraction(err[position])
        assert (found > 0, found < 0) == (phi > 0, phi < 0)
        assert err[position] <= 2.0**-95 * abs(found) + 1e-322


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_limbs_are_those_of_exact_flows(kind, normalize):
    rng = np.random.default_rng(len(kind))
    for _ in range(15):
        check(rng, kind, normalize, original)


def test_edges_of_no_weight_carry_nothing():
    space, weight = original.Chain(4), np.array([1.0, 0.0, 1.0, 1.0])
    given = original.closed_form.exact_rows.flows(
        np.array([[1.0, 1, 0, 0]]), np.array([[0.0, 0, 1, 1]]), space.rooted, weight, False
    )
    assert given[0, 0].tolist() == [0, 0, 2, 1]  # from the last bin on


@pytest.mark.parametrize("tail", [2.0**-62, 2.0**-31, 3 * 2.0**-62, 0.0])
def test_totals_whose_high_limb_is_1(tail):
    p, q = np.array([1.0, tail, 0.5 * tail]), np.array([tail, 1.0, 0.5 * tail])
    for other in (q, np.array([0.0, 0.0, 1.0]), 3 * q):
        check_pair(p, other, original.Chain(3), True, original)
