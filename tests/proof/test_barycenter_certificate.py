"""Certificates of barycentres: tight at the best, true anywhere, and spoilt by any change."""

import dataclasses
import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cases
import emdref
import oracles
from barycentre_oracle import MEETING, cost, program, several
from emdref import exact
from emdref.exact.rounding import nearest, up
from emdref.proof import barycenter_certificate

FIELDS = [f.name for f in dataclasses.fields(emdref.BarycenterCertificate)]
TREE = emdref.Tree([3, 3, 4, 4, -1], [0.1, 0.7, 0.25, 1.5, 9.0], bins=[0, 1, 2, 4])  # a bin at the root
P = [[0.3, 0.2, 0.5, 0.0], [0.1, 0.4, 0.25, 0.25], [0.0, 0.0, 0.5, 0.5]]


@given(several(st.one_of(cases.trees(), cases.chains())), st.data())
def test_the_best_is_proven_and_another_is_bounded(case, data):
    space, P, weights = case
    best = exact.barycenter(P, space, weights=weights)
    proof = emdref.certify_barycenter(best, P, space, weights=weights)
    assert proof.optimal and proof.verify() and proof.lower <= proof.upper
    assert Fraction(proof.lower) <= cost(best, P, space, weights) <= Fraction(proof.upper)
    other = data.draw(st.permutations(P[0]))
    found = emdref.certify_barycenter(other, P, space, weights=weights)
    value = cost(other, P, space, weights)
    assert found.verify() and found.lower == proof.lower
    assert found.value == pytest.approx(float(value), rel=1e-15) and Fraction(found.upper) >= value
    assert found.optimal == (value == cost(best, P, space, weights))


@pytest.mark.parametrize(("name", "dtype"), [*itertools.product(cases.SPACES, cases.DTYPES), ("wordnet", np.float32)])
def test_rounded_barycentres_are_best_up_to_rounding(name, dtype):
    """Rounding moves eps / 2 of the mass, at most by the depth D of the tree; so far the total may be off as well."""
    space, eps = cases.space(name), float(np.finfo(dtype).eps)
    histograms = cases.softmax(np.random.default_rng(1), (4, space.n_bins), dtype)
    b = emdref.barycenter(histograms, space, weights=range(4))
    proof = emdref.certify_barycenter(b, histograms, space, weights=range(4))
    depth = float(max(oracles.depth(k, cases.edges(space)) for k in range(space.n_bins)))
    assert 0 <= proof.gap <= 6 * eps * depth * 1.001 + 2 * np.spacing(proof.value)
    assert proof.verify()


def test_the_bound_is_that_of_a_linear_program():
    rng = np.random.default_rng(2)
    for space in (TREE, MEETING, emdref.Chain(4)):
        histograms, weights = cases.softmax(rng, (4, 4), float), rng.random(4)
        found = emdref.certify_barycenter(np.full(4, 0.25), histograms, space, weights=weights)
        value = cost(np.full(4, 0.25), histograms, space, weights)
        assert (found.value, found.upper) == (nearest(value), up(value))
        assert found.lower == pytest.approx(program(histograms, space, weights), rel=1e-9)
        assert found.gap > 1e-3 and not found.optimal


def test_the_stored_potential_is_a_proof_by_itself():
    """Costs and weights of few bits are floats: its bound, from the definitions alone."""
    tree = emdref.Tree([3, 3, 4, 4, -1], [0.5, 1, 0.25, 1.5, 0], bins=[0, 1, 2, 4])
    found = emdref.certify_barycenter([0.25, 0.25, 0.25, 0.25], P, tree, weights=[1, 1, 2])
    f = [Fraction(x) for x in found.potential.tolist()]
    bound = min(f[v] for v in tree.bins)
    for v, (c, under) in oracles.tree_edges(tree.parent.tolist(), tree.cost, tree.bins.tolist()).items():
        sums, slope = [sum(Fraction(p[k]) for k in under) for p in P], f[v] - f[tree.parent[v]]
        assert abs(slope) <= 4 * c
        bound += min(sum(w * c * abs(x - y) for w, y in zip((1, 1, 2), sums, strict=True)) - slope * x for x in sums)
    assert 0 <= bound - Fraction(found.lower) <= Fraction(float(np.spacing(found.lower)))


@pytest.mark.parametrize("field", FIELDS)
def test_any_change_spoils_it(field):
    proof = emdref.certify_barycenter(P[0], P, TREE, weights=[1, 2, 1.5])
    assert proof.verify()
    value = getattr(proof, field)
    changes = {
        "space": lambda x: [emdref.Tree(x.parent, [0.1, 0.7, 0.25, 1.25, 0], x.bins), emdref.Circle(4), None],
        "b": lambda x: [x[::-1], x[:3], (-x[0], *x[1:]), None],
        "P": lambda x: [x[:2], x[::-1], tuple(y[:3] for y in x), ()],
        "weights": lambda x: [x[::-1], x[:2], (Fraction(0),) * 3, None],
        "digest": lambda x: ["", None],
        "optimal": lambda x: [not x, None],
        "potential": lambda x: [x + 1, x[:-1], x * (1 + 2.0**-52), None],
    }
    for other in changes.get(field, lambda x: [np.nextafter(x, 0), np.nextafter(x, np.inf), np.nan, None])(value):
        assert not dataclasses.replace(proof, **{field: other}).verify(), other


@pytest.mark.parametrize(("factor", "holds"), [(0, True), (0.5, True), (1, True), (4, False)])
def test_no_potential_is_trusted(factor, holds, monkeypatch):
    """A smaller one proves less, a steeper one nothing."""
    best = emdref.certify_barycenter(P[0], P, TREE)
    assert best.potential.any()

    class Other(barycenter_certificate.Minimiser):
        def __init__(self, *args):
            super().__init__(*args)
            self.level = [Fraction(factor) * level for level in self.level]

    monkeypatch.setattr(barycenter_certificate, "Minimiser", Other)
    proof = barycenter_certificate._Proof(best.b, best.P, best.weights, TREE)
    assert proof.holds() == holds
    if holds:
        assert (proof.consequences()["lower"] < best.lower) == (factor < 1)


def test_no_flow_is_trusted():
    class Leaking(emdref.Chain):
        def exact_flow(self, net, cost, rho):
            return [f - (f > 0) for f in super().exact_flow(net, cost, rho)]

    assert emdref.certify_barycenter(P[0], P, emdref.Chain(4)).verify()
    assert not emdref.certify_barycenter(P[0], P, Leaking(4)).verify()


def test_fields_are_what_was_given():
    proof = emdref.certify_barycenter(
        [1, 3, 0, 0], np.array(P, np.float32), TREE, weights=[0.5, 0, 1], mass="normalize"
    )
    assert proof.b == (Fraction(1, 4), Fraction(3, 4), 0, 0)
    assert proof.weights == (Fraction(1, 2), 0, 1)
    assert [sum(p) for p in proof.P] == [1, 1, 1]
    assert proof.potential.shape == (5,) and proof.potential[4] == 0
    assert proof.verify()


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, r"P\[0\] has total 1 and b 1\.5", lambda: emdref.certify_barycenter([0.5, 0.5, 0.5, 0], P, TREE)),
        (ValueError, r"b has shape \(3,\)", lambda: emdref.certify_barycenter([0.5, 0.5, 0], P, TREE)),
        (ValueError, "b is all zeros", lambda: emdref.certify_barycenter([0, 0, 0, 0], P, TREE)),
        (ValueError, r"b\[0\] = -1", lambda: emdref.certify_barycenter([-1, 1, 1, 0], P, TREE)),
        (ValueError, r"P has shape \(4,\)", lambda: emdref.certify_barycenter(P[0], P[0], TREE)),
        (TypeError, "certify_barycenter needs sums", lambda: emdref.certify_barycenter(P[0], P, emdref.Circle(4))),
        (TypeError, "space must be a Space", lambda: emdref.certify_barycenter(P[0], P, None)),
    ],
)
def test_one_sentence_says_what_is_wrong(error, message, call):
    with pytest.raises(error, match=message) as caught:
        call()
    assert len(str(caught.value)) <= 300
