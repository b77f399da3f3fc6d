"""Certificates: right, tight, and spoilt by any change."""

import dataclasses
import itertools
import math
from fractions import Fraction

import certify_run
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cases
import emdref
import oracles
from emdref import exact
from emdref.exact.rounding import down, nearest, up

FIELDS = [f.name for f in dataclasses.fields(emdref.Certificate)]
TREE = emdref.Tree([3, 3, 4, 4, -1], [0.1, 0.7, 0.25, 1.5, 9.0], bins=[0, 1, 2, 4])  # a bin at the root
PAIRS = {
    "chain": ([0.3, 0.2, 0.5, 0.0], [0.1, 0.4, 0.25, 0.25], emdref.Chain(gaps=[0.1, 0.7, 0.3])),
    "tree": ([0.3, 0.2, 0.5, 0.0], [0.1, 0.4, 0.25, 0.25], TREE),
    "far": ([1, 2.0**-600, 0, 0], [0, 0, 1, 2.0**-600], emdref.Chain(4)),
}


@pytest.fixture(params=PAIRS)
def certificate(request):
    return emdref.certify(*PAIRS[request.param], mass="ignore")


# --- right ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize(
    ("name", "family"), [*itertools.product(cases.SPACES, cases.HOSTILE), ("wordnet", "peaked_softmax")]
)
def test_a_certificate_against_rationals(name, family, dtype):
    space, p, q = cases.case(name, family, dtype)
    found = emdref.certify(p, q, space, mass="ignore")
    certify_run.compare(found, p, q, space)
    assert found.verify()


@given(cases.pairs())
def test_drawn_pairs(case):
    space, p, q = case
    found = emdref.certify(p, q, space, mass="ignore")
    certify_run.compare(found, p, q, space)
    assert found.verify()


@given(cases.pairs())
def test_normalised_totals_are_exact(case):
    space, p, q = case
    found = emdref.certify(p, q, space, mass="normalize")
    assert sum(found.p) == sum(found.q) == 1
    assert found.excess == 0
    value = exact.emd(p, q, space, mass="normalize")
    assert (found.lower, found.value, found.upper) == (down(value), nearest(value), up(value))
    assert found.verify()


@given(st.data())
def test_the_fields_alone_are_a_proof(data):
    """Costs and flows of few bits are floats: what is stored satisfies weak duality with equality, exactly."""
    space, p, q = data.draw(cases.balanced_pairs(cases.trees()))
    found = emdref.certify(p, q, space)
    f = [Fraction(x) for x in found.potential.tolist()]
    for v, (u, cost) in enumerate(zip(space.parent.tolist(), space.cost.tolist(), strict=True)):
        assert abs(f[v] - f[u]) <= Fraction(cost) if u >= 0 else f[v] == 0
    dual = sum(f[v] * (Fraction(a) - Fraction(b)) for v, a, b in zip(space.bins.tolist(), p, q, strict=True))
    assert found.lower == found.upper == dual == sum(space.cost * abs(found.flow))


@given(st.data())
def test_every_subgradient_lies_in_the_interval_and_the_ends_are_reached(data):
    """Ends of the interval are derivatives along a bin's own axis, from below and above: quotients of exact values."""
    space, p, q = data.draw(cases.pairs())
    found = emdref.certify(p, q, space, mass="ignore")
    step = Fraction(1, 2**30)  # smaller than any flow that is not 0
    for k in range(space.n_bins):
        up_to, down_to = ([x + (j == k) * s for j, x in enumerate(map(Fraction, p))] for s in (step, -step))
        here, edges = oracles.fractions(p), cases.edges(space)
        other = oracles.fractions(q)
        centre = oracles.emd(here, other, edges, 1)
        assert found.grad_upper[k] == (oracles.emd(up_to, other, edges, 1) - centre) / step
        assert found.grad_lower[k] == (centre - oracles.emd(down_to, other, edges, 1)) / step


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("name", cases.SPACES)
def test_the_kernels_agree(name, dtype):
    """Where a float32 or float64 row was rounded once, it lies within its ulp of the certificate."""
    space, p, q = cases.case(name, "peaked_softmax", dtype)
    found = emdref.certify(p, q, space)
    assert abs(emdref.emd(p, q, space) - found.value) <= np.spacing(dtype(found.value))
    np.testing.assert_array_equal(np.sign(emdref.flow(p, q, space)), found.sign)
    grad = emdref.emd_grad(p, q, space, gauge="raw")
    slack = 8 * np.finfo(dtype).eps * abs(grad).max()
    assert ((found.grad_lower - slack <= grad) & (grad <= found.grad_upper + slack)).all()


def test_one_bin():
    found = emdref.certify([2.0], [2.0], emdref.Chain(1))
    assert (found.lower, found.value, found.upper) == (0, 0, 0)
    assert found.flow.shape == (0,)
    assert found.verify()


def test_beyond_the_range_the_bounds_stay_true():
    found = emdref.certify([1e308, 0], [0, 1e308], emdref.Chain(gaps=[4.0]))
    assert (found.lower, found.value, found.upper) == (np.finfo(float).max, np.inf, np.inf)
    assert found.verify()


def test_the_excess_is_left_at_the_root():
    found = emdref.certify([3.0, 1.0], [1.0, 1.0], emdref.Chain(2), mass="ignore")
    assert found.excess == 2
    assert found.value == 2


def test_an_edge_above_the_bins():
    """A unary root: nothing flows there if totals are equal, and what is in excess does."""
    tree = emdref.Tree([-1, 0, 1, 1])
    assert emdref.certify([1.0, 0], [0, 1.0], tree).sign.tolist() == [0, 0, 1, -1]
    assert emdref.certify([1.0, 0], [0, 1.0], tree).at_kink.tolist() == [False, True, False, False]
    assert emdref.certify([2.0, 0], [0, 1.0], tree, mass="ignore").sign.tolist() == [0, 1, 1, -1]


# --- spoilt -----------------------------------------------------------------------------------------------------------


def spoilt(name, x):
    """Other contents for a field, each wrong in one place or as a whole."""
    if isinstance(x, float):
        return [
            math.nextafter(x, math.inf),
            math.nextafter(x, -math.inf),
            -x or 1.0,
            math.nan,
            math.inf,
            None,
            "x",
            [x],
        ]
    if isinstance(x, Fraction):
        return [x + Fraction(1, 10**400), -x or Fraction(1), None]
    if name == "digest":
        return [x[::-1], x[:-1], "", None, 0]
    if name == "space":
        return [*other_spaces(x), None, x.distance_matrix()]
    if name in ("p", "q"):
        changed = [(*x[:k], x[k] + Fraction(1, 10**400), *x[k + 1 :]) for k in range(len(x))]
        return [*changed, x[::-1], x[:-1], (*x, Fraction(0)), tuple(-m for m in x), None, 3, ("a",) * len(x)]
    one = [np.array(x) for _ in x]
    for k, y in enumerate(one):
        y[k] = {"b": not y[k], "i": (y[k] + 2) % 3 - 1, "f": np.nextafter(y[k], 9)}[y.dtype.kind]
    return [*one, x[:-1], np.append(x, x[-1:]), x[None], None, "x"]


def other_spaces(space):
    """The same space with one cost changed in its last bit, with one bin more, and as another kind."""
    if isinstance(space, emdref.Chain):
        for k in range(len(space.gaps)):
            gaps = np.array(space.gaps)
            gaps[k] = np.nextafter(gaps[k], 9)
            yield emdref.Chain(gaps=gaps)
        yield emdref.Chain(gaps=[*space.gaps, 1.0])
        yield space.to_tree()
        return
    for v in np.flatnonzero(space.parent >= 0):
        cost = np.array(space.cost)
        cost[v] = np.nextafter(cost[v], 9)
        yield emdref.Tree(space.parent, cost, bins=space.bins)
    yield emdref.Tree(space.parent, space.cost, bins=space.bins[::-1])
    yield emdref.Tree(space.parent, space.cost)


@pytest.mark.parametrize("name", FIELDS)
def test_any_change_of_a_field_is_found(name, certificate):
    for other in spoilt(name, getattr(certificate, name)):
        changed = dataclasses.replace(certificate, **{name: other})
        assert changed.verify() is False, (name, other)
    assert certificate.verify() is True


def test_a_change_in_place_is_found(certificate):
    certificate.flow[0] += 1
    assert not certificate.verify()


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "q", "space", "options", "error", "message"),
    [
        ([[0.5, 0.5]], [0.5, 0.5], emdref.Chain(2), {}, ValueError, r"batch of shape \(1,\): .* one pair at a time"),
        ([0.5, 0.25], [0.5, 0.5], emdref.Chain(2), {}, ValueError, "p has total 0.75 and q 1"),
        ([0.5, -0.5], [0.5, 0.5], emdref.Chain(2), {}, ValueError, r"p\[1\] = -0.5: .*negative"),
        ([0.5, np.nan], [0.5, 0.5], emdref.Chain(2), {}, ValueError, r"p\[1\] = nan"),
        ([0.0, 0.0], [0.5, 0.5], emdref.Chain(2), {}, ValueError, "all zeros"),
        ([1.0], [0.5, 0.5], emdref.Chain(2), {}, ValueError, r"p has shape \(1,\)"),
        ([1.0, 0.0], [0.5, 0.5], [[0, 1], [1, 0]], {}, TypeError, "space must be a Space, such as a Chain or a Tree"),
        ([1.0, 0.0], [0.5, 0.5], emdref.Chain(2), {"mass": "clip"}, ValueError, "mass='clip' is not one of"),
    ],
)
def test_bad_input(p, q, space, options, error, message):
    with pytest.raises(error, match=message):
        emdref.certify(p, q, space, **options)


@pytest.mark.parametrize("count", [2, pytest.param(8, marks=pytest.mark.slow)], ids=["two a cell", "eight a cell"])
def test_a_sample_of_the_long_run(count):
    report = certify_run.run(cases_per_cell=count, seed=1)
    assert report.violations.sum() == 0
    assert report.cases.sum() > 60 * count
    assert report.width_max.max() <= 1


def test_the_committed_run_has_a_million_cases_and_no_violation():
    table = certify_run.committed()
    assert table.cases.sum() >= 10**6
    assert table.violations.sum() == 0
    assert table.width_max.max() <= 1
