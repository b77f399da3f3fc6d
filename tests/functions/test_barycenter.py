"""Barycentres against brute force, linear programs, POT, medians and means in rationals."""

import itertools
import math
import re
from fractions import Fraction

import numpy as np
import ot
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import cases
import emdref
import oracles
from barycentre_oracle import MEETING, cost, program, several
from emdref import exact

CHAIN, TREE = emdref.Chain(gaps=[1, 0.25, 3]), emdref.Tree([-1, 0, 0, 1, 1, 2, 2], [0, 1, 2, 0.5, 0.25, 1, 1])


def is_nearest(x, exactly):
    """No neighbour of the float x is nearer."""
    error = abs(Fraction(float(x)) - exactly)
    return all(error <= abs(Fraction(float(np.nextafter(x, x.dtype.type(to)))) - exactly) for to in (-1, np.inf))


def medians(P, weights):
    """The barycentre on a chain from its definition, in rationals."""
    sums = [list(itertools.accumulate(map(Fraction, map(float, p)))) for p in P]
    whole = sum(map(Fraction, weights))
    at = [
        next(
            x
            for x in sorted(column)
            if 2 * sum(Fraction(w) for w, y in zip(weights, column, strict=True) if y <= x) >= whole
        )
        for column in zip(*sums, strict=True)
    ]
    return [b - a for a, b in itertools.pairwise([Fraction(0), *at])]


# --- right ------------------------------------------------------------------------------------------------------------


def test_deep_trees():
    """A spine with a branch at each node, where messages are long: proven best."""
    n = 150
    spine = np.append(-1, [v - 1 if v % 2 else v - 2 for v in range(1, 2 * n)])
    rng = np.random.default_rng(9)
    for bins in (None, rng.permutation(2 * n)[:200]):
        tree = emdref.Tree(spine, rng.random(2 * n), bins)
        P = cases.softmax(rng, (4, tree.n_bins), float)
        b = exact.barycenter(P, tree, weights=[3, 1, 1, 2], mass="normalize")
        assert emdref.certify_barycenter(b, P, tree, weights=[3, 1, 1, 2], mass="normalize").optimal


@given(several(st.one_of(cases.trees(), cases.chains())))
def test_a_linear_program_finds_nothing_better(case):
    space, P, weights = case
    b = exact.barycenter(P, space, weights=weights)
    assert min(b) >= 0 and sum(b) == sum(P[0])
    value = cost(b, P, space, weights)
    assert float(value) == pytest.approx(program(P, space, weights), rel=1e-9, abs=1e-9)
    assert emdref.barycenter(P, space, weights=weights).tolist() == list(map(float, b))


@pytest.mark.parametrize("space", [CHAIN, TREE, MEETING, cases.space("inner_bins")], ids=str)
def test_real_masses_and_uneven_costs(space):
    rng = np.random.default_rng(1)
    for count in (2, 3, 7):
        P, weights = cases.softmax(rng, (count, space.n_bins), float, 3.0), rng.random(count)
        b = emdref.barycenter(P, space, weights=weights)
        assert (b >= 0).all() and b.sum() == pytest.approx(1, abs=1e-14)
        assert float(cost(b, P, space, weights)) == pytest.approx(program(P, space, weights), rel=1e-9)


def test_brute_force():
    """All histograms of 4 units: ends of a linear program with whole sides are whole."""
    rng = np.random.default_rng(2)
    for _ in range(12):
        tree = emdref.Tree(
            [-1, *(int(rng.integers(v)) for v in range(1, 6))], rng.integers(0, 4, 6), rng.permutation(6)[:4]
        )
        P, weights = rng.multinomial(4, np.full(4, 0.25), 3).tolist(), rng.integers(1, 4, 3).tolist()
        every = (np.diff([-1, *c, 7]) - 1 for c in itertools.combinations(range(7), 3))
        least = min(cost(b.tolist(), P, tree, weights) for b in every)
        assert cost(exact.barycenter(P, tree, weights=weights), P, tree, weights) == least


@pytest.mark.parametrize("space", [CHAIN, TREE], ids=str)
def test_pot_finds_nothing_better(space):
    rng = np.random.default_rng(3)
    P, weights, M = cases.softmax(rng, (3, space.n_bins), float), np.array([0.5, 0.25, 0.25]), space.distance_matrix()
    b = ot.lp.barycenter(np.ascontiguousarray(P.T), M, weights)
    ours, theirs = (
        sum(w * ot.emd2(x, p, M) for w, p in zip(weights, P, strict=True))
        for x in (emdref.barycenter(P, space, weights=weights), b / b.sum())
    )
    assert ours == pytest.approx(theirs, rel=1e-8)


def test_where_no_histogram_has_mass():
    """Medians are 0 on every edge, which is no histogram; costs to the middle are 1 + 1/64 each, to each other 2."""
    b = emdref.barycenter(np.eye(4)[:3], MEETING)
    assert b.tolist() == [0, 0, 0, 1]
    dear = emdref.Tree(MEETING.parent, [0, 1, 1, 1, 2])
    assert emdref.barycenter(np.eye(4)[:3], dear).tolist() == [1, 0, 0, 0]  # the first of three that cost the same


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("family", cases.HOSTILE)
@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [0.1, 0.2, 0.3, 2.0**-60]], ids=["even", "odd"])
def test_on_a_chain_medians_of_cumulative_sums_rounded_once(family, dtype, weights):
    p, q = cases.histograms(family, 9, dtype)
    P = np.array([p, q, p[::-1], np.roll(p, 2)])
    gaps = np.random.default_rng(4).random(8)
    for space in (emdref.Chain(9), emdref.Chain(gaps=gaps), emdref.Chain(gaps=gaps).to_tree()):
        b = emdref.barycenter(P, space, weights=weights)
        assert b.dtype == dtype and all(map(is_nearest, b, medians(P, weights)))


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("family", cases.HOSTILE)
def test_means_rounded_once(family, dtype):
    p, q = cases.histograms(family, 9, dtype)
    P, weights = np.array([p, q, p[::-1]]), np.array([0.1, 3, 2.0**-40])
    exactly = [oracles.fractions(x) for x in (*P, weights)]
    for space in (
        emdref.Chain(9),
        emdref.Circle(9),
        cases.relabelled(emdref.Tree([-1] + 9 * [0]), np.arange(10)[::-1]),
    ):
        b = emdref.barycenter(P, space, 2, weights=weights)
        mean = [
            sum(w * x for w, x in zip(exactly[-1], column, strict=True)) / sum(exactly[-1])
            for column in zip(*exactly[:-1], strict=True)
        ]
        assert b.dtype == dtype and all(map(is_nearest, b, mean))


class Star(emdref.Space):
    """Edges alone, some of which point away from the root."""

    n_bins = 4
    edges = emdref.Edges(np.array([0, 4, 2, 3]), np.array([4, 1, 4, 2]), np.array([1.0, 2.0, 0.5, 0.25]))


@pytest.mark.parametrize("space", [CHAIN, TREE, emdref.Circle(gaps=[1, 2, 0, 0.5]), Star()], ids=str)
def test_at_the_mean_the_derivative_of_squares_is_zero(space):
    P = np.random.default_rng(5).multinomial(16, np.full(space.n_bins, 1 / space.n_bins), 3).tolist()
    b = exact.barycenter(P, space, 2, weights=[1, 2, 3])
    slopes = [exact.grad(b, p, space, 2) for p in P]
    assert all(a + 2 * b + 3 * c == 0 for a, b, c in zip(*slopes, strict=True))


@pytest.mark.parametrize(("more", "expected"), [(0, 1), (2.0**-52, 1 + 2.0**-23), (-(2.0**-52), 1)])
def test_float32_is_rounded_once(more, expected):
    """The mean lies halfway between two float32, or beside that by less than float64 can tell."""
    P = np.array([[1], [1 + 2.0**-23]], np.float32)
    assert emdref.barycenter(P, emdref.Chain(1), 2, weights=[1, 1 + more]) == expected


# --- what does not matter ---------------------------------------------------------------------------------------------


@given(several(st.one_of(cases.trees(), cases.chains())), st.randoms(use_true_random=False))
def test_order_scale_and_repetition_of_histograms(case, random):
    space, P, weights = case
    b = exact.barycenter(P, space, weights=weights)
    order = random.sample(range(len(P)), len(P))
    assert exact.barycenter([P[k] for k in order], space, weights=[weights[k] / 8 for k in order]) == b
    assert exact.barycenter([p for p, w in zip(P, weights, strict=True) for _ in range(w)], space) == b
    scaled = [[x * (k + 3) for x in p] for k, p in enumerate(P)]
    shares = exact.barycenter(scaled, space, weights=weights, mass="normalize")
    assert [x * sum(P[0]) for x in shares] == b
    assert exact.barycenter(P[:1], space) == P[0]


@given(several(cases.trees()), st.data())
def test_numbers_of_bins(case, data):
    """Bins in another order give the same masses at the same nodes."""
    tree, P, weights = case
    order = data.draw(st.permutations(range(tree.n_bins)))
    other = emdref.Tree(tree.parent, tree.cost, tree.bins[order])
    b = exact.barycenter([[p[k] for k in order] for p in P], other, weights=weights)
    assert b == [exact.barycenter(P, tree, weights=weights)[k] for k in order]


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("space", [CHAIN, TREE], ids=str)
@pytest.mark.parametrize("rho", [1, 2.0])
def test_layouts_and_batches(space, dtype, rho):
    n = space.n_bins
    batch = cases.softmax(np.random.default_rng(6), (2, 3, 5, n), dtype)
    b = emdref.barycenter(batch, space, rho, weights=range(5))
    assert b.shape == (2, 3, n) and b.dtype == dtype
    P = batch[1, 2].copy()
    P.flags.writeable = False
    mixed = [
        scipy.sparse.csr_array(P),
        scipy.sparse.coo_matrix(P),
        np.asfortranarray(P),
        P.astype(P.dtype.newbyteorder()),
    ]
    for form in (
        P,
        np.repeat(P, 2, 1)[:, ::2],
        *mixed,
        pd.DataFrame(P, columns=space.bin_labels),
    ):
        for weights in (range(5), np.arange(5, dtype=np.int8), pd.Series(range(5)), [Fraction(k, 7) for k in range(5)]):
            one = emdref.barycenter(form, space, rho, weights=weights)
            assert one.dtype == dtype
            np.testing.assert_array_equal(one, b[1, 2])
    assert emdref.barycenter(P.tolist(), space, rho, mass="normalize").dtype == float
    assert emdref.barycenter(batch[:0], space, rho).shape == (0, 3, n)


def test_totals_that_rounding_explains_stay():
    tree = cases.space("random_tree")
    for dtype, space in itertools.product(cases.DTYPES, (emdref.Chain(200), tree)):
        P = cases.softmax(np.random.default_rng(7), (6, space.n_bins), dtype)
        totals = [sum(oracles.fractions(p)) for p in P]
        assert len(set(totals)) > 1
        assert sum(exact.barycenter(P, space)) == sorted(totals)[2]
        assert sum(exact.barycenter(P, space, 2)) == sum(totals) / 6


def test_small_and_deep():
    for space in (emdref.Chain(1), emdref.Tree([-1]), emdref.Tree([-1, 0, 1])):
        assert emdref.barycenter([[2.0], [2.0], [2.0]], space).tolist() == [2.0]
        assert emdref.barycenter([[1], [3]], space, mass="normalize").tolist() == [1.0]
    n = 6_000  # no recursion; a path of nodes is a chain
    P = np.random.default_rng(8).multinomial(n, np.full(n, 1 / n), 3)
    path = emdref.Tree(np.arange(n) - 1, bins=np.arange(n)[::-1])
    chain = emdref.barycenter(P, emdref.Chain(n))
    np.testing.assert_array_equal(emdref.barycenter(P, path), chain)
    np.testing.assert_array_equal(np.cumsum(chain), np.sort(np.cumsum(P, 1), 0)[1])


def test_what_is_beyond_the_dtype_is_infinite_with_a_warning():
    top = np.finfo(np.float32).max
    P = np.kron(np.eye(3), [1, 1]) @ np.eye(6, 7)
    tree = emdref.Tree([-1] + 7 * [0], [0] + 6 * [1] + [0])
    assert emdref.barycenter(P, tree).tolist() == [0] * 6 + [2]
    with pytest.warns(RuntimeWarning, match="1 entries of the barycentre are beyond the range of float32"):
        b = emdref.barycenter((P * top).astype(np.float32), tree)
    assert b[-1] == np.inf


# --- refused ----------------------------------------------------------------------------------------------------------

GOOD = np.full((2, 4), 0.25)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "space must be a Space", lambda: emdref.barycenter(GOOD, 4)),
        (TypeError, "P has dtype float16: give float32", lambda: emdref.barycenter(GOOD.astype("f2"), CHAIN)),
        (ValueError, r"P has shape \(4,\), it must be \(\.\.\., K, 4\)", lambda: emdref.barycenter(GOOD[0], CHAIN)),
        (ValueError, r"P has shape \(0, 4\), it must be", lambda: emdref.barycenter(GOOD[:0], CHAIN)),
        (ValueError, r"P has shape \(2, 3\), it must be", lambda: emdref.barycenter(GOOD[:, :3], CHAIN)),
        (ValueError, r"P has shape \(1, 2, 4\), it must be \(K, 4\)", lambda: exact.barycenter(GOOD[None], CHAIN)),
        (ValueError, r"P\[1, 2\] = -1.0", lambda: emdref.barycenter([[1.0, 1, 1, 1], [1, 2, -1, 1]], CHAIN)),
        (ValueError, r"P\[1, 2\] = nan", lambda: emdref.barycenter([[1.0, 1, 1, 1], [1, 2, np.nan, 1]], CHAIN)),
        (ValueError, r"P\[1, :\] is all zeros", lambda: emdref.barycenter([[1, 1, 1, 1], [0, 0, 0, 0]], CHAIN)),
        (ValueError, r"P has shape \(0, 0\), it must be \(K, 4\)", lambda: exact.barycenter([], CHAIN)),
        (ValueError, r"P has shape \(\), it must be", lambda: exact.barycenter(3, CHAIN)),
        (ValueError, r"P\[1\] has shape \(3,\), expected", lambda: exact.barycenter([[1, 1, 1, 1], [1, 1, 2]], CHAIN)),
        (ValueError, r"P\[1\] is all zeros", lambda: exact.barycenter([[1, 1, 1, 1], [0, 0, 0, 0]], CHAIN)),
        (
            ValueError,
            r'P\[1, 0\] has total 1 and P\[1, 1\] 1\.25 \(rounding explains 7.1e-15 of it\); pass mass="normalize"',
            lambda: emdref.barycenter([GOOD, GOOD * [[1], [1.25]]], CHAIN),
        ),
        (ValueError, r"P\[0\] has total 1 and P\[1\] 1\.25", lambda: exact.barycenter(GOOD * [[1], [1.25]], CHAIN)),
        (
            ValueError,
            "mass='ignore' is not one of raise, normalize",
            lambda: emdref.barycenter(GOOD, CHAIN, mass="ignore"),
        ),
        (
            ValueError,
            r"rho = 3.0: barycenter has a closed form for rho = 1 and 2",
            lambda: emdref.barycenter(GOOD, CHAIN, 3),
        ),
        (ValueError, "rho = 0.5 must be finite and >= 1", lambda: emdref.barycenter(GOOD, CHAIN, 0.5)),
        (
            TypeError,
            "which Circle does not offer, .* linear program",
            lambda: emdref.barycenter(GOOD, emdref.Circle(4)),
        ),
        (
            ValueError,
            r"weights has shape \(3,\), expected one weight for each of 2",
            lambda: emdref.barycenter(GOOD, CHAIN, weights=[1, 1, 1]),
        ),
        (ValueError, r"weights has shape \(\), expected", lambda: emdref.barycenter(GOOD, CHAIN, weights=1.0)),
        (
            ValueError,
            r"weights\[1\] = -1: a weight must be >= 0",
            lambda: emdref.barycenter(GOOD, CHAIN, weights=[1, -1]),
        ),
        (ValueError, r"weights\[0\] = nan", lambda: emdref.barycenter(GOOD, CHAIN, weights=[np.nan, 1])),
        (ValueError, "weights are all zeros", lambda: emdref.barycenter(GOOD, CHAIN, weights=[0, 0])),
        (
            TypeError,
            r"weights\[0\] = 'a' is not a real number",
            lambda: emdref.barycenter(GOOD, CHAIN, weights=["a", 1]),
        ),
        (
            TypeError,
            r"weights\[0\] = True: a weight is a number; leave out",
            lambda: emdref.barycenter(GOOD, CHAIN, weights=[True, False]),
        ),
        (TypeError, "masked", lambda: emdref.barycenter(GOOD, CHAIN, weights=np.ma.array([1, 2], mask=[0, 1]))),
    ],
    ids=itertools.count(),
)
def test_one_sentence_says_what_is_wrong(error, message, call):
    with pytest.raises(error, match=message) as caught:
        call()
    assert len(str(caught.value)) <= 300 and "\n" not in str(caught.value)


def test_weights_have_the_rows_labels():
    P, weights = (
        pd.DataFrame(GOOD * [[1, 0, 2, 1], [0, 2, 1, 1]], ["x", "y"], CHAIN.bin_labels),
        pd.Series({"x": 1, "y": 2}),
    )
    expected = emdref.barycenter(P.to_numpy(), CHAIN, weights=[1, 2])
    np.testing.assert_array_equal(emdref.barycenter(P, CHAIN, weights=weights), expected)
    np.testing.assert_array_equal(emdref.barycenter(P.to_numpy(), CHAIN, weights=weights), expected)
    with pytest.raises(
        ValueError, match=re.escape("the labels of weights.index are not P.index: 'y' stands where 'x'")
    ):
        emdref.barycenter(P, CHAIN, weights=weights[::-1])
    assert math.isclose(emdref.barycenter(P, CHAIN, weights=weights[::-1].reindex(P.index)).sum(), 1)
