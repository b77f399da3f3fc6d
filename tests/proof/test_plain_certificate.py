"""Certificates, small and run as plain Python: each field against the oracle, and each spoilt in turn."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

import oracles
import plain

emdref = plain.original()

TREE = emdref.Tree([3, 3, 4, 4, -1], [0.1, 0.7, 0.25, 1.5, 9.0], bins=[0, 1, 2, 4])
PAIRS = [
    ([0.3, 0.2, 0.5, 0.0], [0.1, 0.4, 0.25, 0.25], emdref.Chain(gaps=[0.1, 0.7, 0.3])),
    ([0.5, 0.5, 0.25, 0.0], [0.5, 0.25, 0.25, 0.5], TREE),
    ([2.0, 1.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.5], TREE),
]


def test_fields_against_the_oracle():
    for space, edges in plain.spaces(emdref):
        p, q = plain.pairs(space.n_bins)
        for a, b in zip(p, q, strict=True):
            check(emdref.certify(a, b, space, mass="ignore"), plain.exactly(a), plain.exactly(b), edges)
            normalized = emdref.certify(a, b, space, mass="normalize")
            check(normalized, *(oracles.normalized(plain.exactly(x)) for x in (a, b)), edges)


def check(found, a, b, edges):
    assert found.p == tuple(a) and found.q == tuple(b)
    value, phi = oracles.emd(a, b, edges, 1), oracles.flow(a, b, edges)
    assert found.lower <= value <= found.upper <= np.nextafter(found.lower, np.inf)
    assert found.value == float(value)
    assert found.excess == sum(a) - sum(b)
    count = len(found.p) - 1 if isinstance(found.space, emdref.Chain) else found.space.n_nodes
    assert found.flow.shape == found.sign.shape == found.at_kink.shape == (count,)
    for e in range(count):
        f = phi.get(e, 0)
        assert found.flow[e] == float(f)
        assert found.sign[e] == (f > 0) - (f < 0)
        assert found.at_kink[e] == (e in phi and f == 0)
    assert (found.grad_lower <= found.grad_upper).all()
    assert found.verify() is True


def test_what_follows_on_a_chain():
    found = emdref.certify([0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.5, 0.0], emdref.Chain(gaps=[1, 2, 4]))
    assert found.value == found.lower == found.upper == 1.25
    assert found.grad_lower.tolist() == [-1, -2, -4, 0]
    assert found.grad_upper.tolist() == [7, 6, 4, 0]
    assert found.potential.tolist() == [3, 2, 0, 0]
    assert (found.flow.dtype, found.sign.dtype, found.at_kink.dtype) == (np.float64, np.int8, np.bool_)


def test_what_follows_on_a_tree():
    found = emdref.certify([1.0, 0, 0], [0, 0, 1.0], emdref.Tree([1, 4, 4, 4, -1], [1, 2, 4, 8, 9], bins=[0, 2, 3]))
    assert found.sign.tolist() == [1, 1, 0, -1, 0]
    assert found.at_kink.tolist() == [False, False, True, False, False]
    assert found.potential.tolist() == [3, 2, 0, -8, 0]
    assert (found.grad_lower.tolist(), found.grad_upper.tolist()) == ([3, -4, -8], [3, 4, -8])


def test_other_inputs_have_another_digest():
    p, q, space = PAIRS[0]
    same = emdref.certify(p, q, space).digest
    assert same == emdref.certify(p, q, emdref.Chain(gaps=[0.1, 0.7, 0.3])).digest
    assert len({same, emdref.certify(q, p, space).digest, emdref.certify(p, q, space.to_tree()).digest}) == 3


def spoilt(name, x):
    if isinstance(x, float):
        return [np.nextafter(x, np.inf), np.nextafter(x, -np.inf), None, [x]]
    if isinstance(x, Fraction):
        return [x + Fraction(1, 10**400), None]
    if name == "digest":
        return [x[::-1], None]
    if name == "space":
        return [emdref.Chain(4), None]
    if name in ("p", "q"):
        return [x[::-1] if x != x[::-1] else x[1:], x[:-1], None, ("a",) * len(x)]
    one = np.array(x)
    one[0] = {"b": not one[0], "i": (one[0] + 2) % 3 - 1, "f": np.nextafter(one[0], 9)}[one.dtype.kind]
    return [one, x[:-1], None]


@pytest.mark.parametrize("pair", range(len(PAIRS)))
def test_any_change_is_found(pair):
    p, q, space = PAIRS[pair]
    certificate = emdref.certify(p, q, space, mass="ignore")
    for field in dataclasses.fields(certificate):
        for other in spoilt(field.name, getattr(certificate, field.name)):
            assert dataclasses.replace(certificate, **{field.name: other}).verify() is False, field.name


def broken(proof, **attributes):
    for name, x in attributes.items():
        setattr(proof, name, x)
    return proof


def test_what_is_checked_is_the_proof_not_where_it_comes_from():
    """Flows that lose mass, potentials that are too steep, not tight or not 0 at the root: each is seen by itself."""

    def proof():
        one = Fraction(1)
        return emdref.proof.certificate._Proof((one, 0 * one, 0 * one), (0 * one, 0 * one, one), emdref.Chain(3))

    good = proof()
    assert good.holds() is True
    half = [f / 2 for f in good.potential]
    assert not broken(proof(), flow=[f / 2 for f in good.flow], potential=half).holds()  # not conserved, yet equal
    assert not broken(proof(), potential=half).holds()  # not tight
    assert not broken(proof(), potential=[2, 0, 0]).holds()  # equal in value, but 2 along a gap of 1
    assert not broken(proof(), potential=[f + 1 for f in good.potential]).holds()


def test_conservation_and_slope_alone():
    def proof():
        zero, one = Fraction(0), Fraction(1)
        return emdref.proof.certificate._Proof((one, zero, zero), (zero, zero, one), emdref.Chain(3))

    first, second = proof().flow
    assert proof()._conserves_mass() and proof()._is_lipschitz()
    assert not broken(proof(), flow=[first + 1, second])._conserves_mass()  # the root has what it should
    assert not broken(proof(), flow=[first + 1, second + 1])._conserves_mass()
    assert not broken(proof(), potential=[2, 2, 0])._is_lipschitz()
    assert not broken(proof(), potential=[3, 1, 0])._is_lipschitz()


def test_masses_stay_as_they_are_unless_normalised():
    for mass, total in (("raise", 2), ("ignore", 2), ("normalize", 1)):
        assert sum(emdref.certify([2.0, 0.0], [0.5, 1.5], emdref.Chain(2), mass=mass).p) == total


def test_certificates_are_compared_by_identity():
    found = emdref.certify(*PAIRS[0])
    assert found != dataclasses.replace(found)


def test_bad_input():
    with pytest.raises(ValueError, match=r"p and q are a batch of shape \(1,\): certify takes one pair at a time"):
        emdref.certify([[0.5, 0.5]], [0.5, 0.5], emdref.Chain(2))
    with pytest.raises(TypeError, match="positional"):
        emdref.certify([0.5, 0.5], [0.5, 0.5], emdref.Chain(2), "raise")
