"""Transport plans against rationals, duality, linear programming and POT's network simplex."""

import re
from fractions import Fraction

import numpy as np
import ot
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import cases
import emdref
import oracles
from emdref import exact

TREE = emdref.Tree([-1, 0, 0, 1, 1], [0, 1, 2, 0.5, 0.25])  # bins at nodes 2, 3, 4
MASSES = ["raise", "normalize", "ignore"]


def as_tree(space):
    """(parent, bins) of any space, the root's parent being -1."""
    tree = space.to_tree() if isinstance(space, emdref.Chain) else space
    return tree.parent.tolist(), tree.bins.tolist()


def entries(plan):
    """{(i, j): Fraction}."""
    triples = plan.tocoo()
    return {
        (int(i), int(j)): Fraction(float(x))
        for i, j, x in zip(triples.row, triples.col, triples.data.astype(float), strict=True)
    }


def sums(plan, n, axis):
    out = [Fraction(0)] * n
    for key, x in plan.items():
        out[key[axis]] += x
    return out


def cost(plan, space):
    return sum((x * oracles.distance(i, j, cases.edges(space)) for (i, j), x in plan.items() if i != j), Fraction(0))


def is_nearest(x, exactly):
    """No neighbour of the float x is nearer."""
    with np.errstate(over="ignore"):
        neighbours = np.nextafter(x, x.dtype.type([0, np.inf]))
    error = abs(Fraction(float(x)) - exactly)
    return all(error <= abs(Fraction(float(y)) - exactly) for y in neighbours if y < np.inf)


def check_form(plan, n, dtype):
    assert isinstance(plan, sparse.csr_array) and plan.shape == (n, n) and plan.dtype == dtype
    assert plan.nnz <= 2 * n - 1
    assert (plan.data > 0).all() and np.isfinite(plan.data).all()
    keys = plan.tocoo().row.astype(np.int64) * n + plan.tocoo().col
    assert (np.diff(keys) > 0).all()  # sorted, without duplicates
    assert plan.has_canonical_format


def check(p, q, space, mass="ignore"):
    """Everything that is promised, for one pair of float arrays."""
    plan, n, eps = emdref.plan(p, q, space, mass=mass), space.n_bins, cases.eps(p.dtype)
    check_form(plan, n, p.dtype)
    a, b = cases.exact_pair(p, q, mass == "normalize")
    truth, left = oracles.plan(a, b, *as_tree(space))
    got = entries(plan)
    if mass == "normalize":
        tiny = cases.ulp(0, p.dtype.type)
        assert got.keys() <= truth.keys()
        assert all(abs(got.get(k, 0) - x) <= cases.ulp(x, p.dtype.type) for k, x in truth.items())
        assert all(x < tiny for k, x in truth.items() if k not in got)
    else:
        tiny = 0
        assert got.keys() == truth.keys()
        assert all(is_nearest(x, truth[i, j]) for i, j, x in zip(*sparse.find(plan), strict=True))
        eps /= 2
    rest = [left.get(k, 0) for k in range(n)]
    for axis, whole, unmatched in ((0, a, [max(x, 0) for x in rest]), (1, b, [max(-x, 0) for x in rest])):
        for x, y, z in zip(sums(got, n, axis), whole, unmatched, strict=True):
            assert abs(x - (y - z)) <= eps * (y - z) + n * tiny
    assert sum(rest) == sum(a) - sum(b) and min(map(abs, left.values()), default=1) > 0
    way = sum(abs(x) * oracles.depth(k, cases.edges(space)) for k, x in left.items())
    value = oracles.emd(a, b, cases.edges(space), 1)
    far = max(oracles.depth(k, cases.edges(space)) for k in range(n))
    assert cost(truth, space) + way == value
    assert abs(cost(got, space) + way - value) <= eps * value + 4 * n * tiny * far
    return plan


# --- right ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("family", cases.HOSTILE)
@pytest.mark.parametrize("name", cases.SPACES)
@pytest.mark.parametrize("mass", ["ignore", "normalize"])
def test_each_entry_is_an_exact_plan_s_rounded(name, family, dtype, mass):
    space, p, q = cases.case(name, family, dtype)
    check(p, q, space, mass)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("mass", MASSES)
@given(case=cases.pairs(), data=st.data())
def test_drawn_pairs(dtype, mass, case, data):
    space, p, q = case
    if mass == "raise":
        q = data.draw(st.permutations(p))
    check(np.array(p, dtype), np.array(q, dtype), space, mass)


@given(st.one_of(cases.trees(), cases.chains()), st.data())
def test_any_floats_at_all(space, data):
    numbers = st.lists(st.floats(0, 1.5e308), min_size=space.n_bins, max_size=space.n_bins).filter(any)
    p, q = data.draw(numbers), data.draw(numbers)
    check(np.array(p), np.array(q), space, data.draw(st.sampled_from(["ignore", "normalize"])))


@given(cases.balanced_pairs())
def test_complementary_slackness(case):
    """Mass goes where certify's potential falls by the whole distance, and that potential is feasible."""
    space, p, q = case
    certificate = emdref.certify(p, q, space)
    plan = entries(emdref.plan(p, q, space))
    f = oracles.fractions(certificate.potential)  # costs are sixteenths: exact
    f = f if isinstance(space, emdref.Chain) else [f[v] for v in space.bins]
    for i in range(space.n_bins):
        for j in range(space.n_bins):
            distance = oracles.distance(i, j, cases.edges(space))
            assert f[i] - f[j] <= distance
            assert (i, j) not in plan or f[i] - f[j] == distance
    assert cost(plan, space) == exact.emd(p, q, space)  # of few binary digits: exact
    assert certificate.lower <= cost(plan, space) <= certificate.upper
    assert sums(plan, len(p), 0) == oracles.fractions(p) and sums(plan, len(p), 1) == oracles.fractions(q)


@given(cases.balanced_pairs())
def test_linear_programming(case):
    space, p, q = case
    n, distances = space.n_bins, space.distance_matrix()
    marginals = np.vstack([np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))])
    best = scipy.optimize.linprog(distances.ravel(), A_eq=marginals, b_eq=np.concatenate([p, q]))
    assert best.status == 0
    found = (emdref.plan(p, q, space) * distances).sum()
    assert abs(found - best.fun) <= 1e-7 * (1 + found)  # HiGHS' own tolerance


@pytest.mark.parametrize("name", [*cases.SPACES, "wordnet"])
@pytest.mark.parametrize("family", ["flat_softmax", "peaked_softmax", "one_hot_target"])
def test_pot(name, family):
    space, p, q = cases.case(name, family, np.float64)
    distances, plan = space.distance_matrix(), emdref.plan(p, q, space)
    bound = len(p) ** 2 * np.finfo(float).eps * space.diameter  # POT sums N**2 products
    np.testing.assert_allclose((plan * distances).sum(), ot.emd2(p, q, distances), rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("family", ["flat_softmax", "peaked_softmax", "one_hot_target", "cancelling"])
def test_the_wordnet_tree(family, dtype):
    space, p, q = cases.case("wordnet", family, dtype)
    plan, eps = emdref.plan(p, q, space, mass="ignore"), np.finfo(dtype).eps
    check_form(plan, 1000, dtype)
    excess = abs(sum(oracles.fractions(p)) - sum(oracles.fractions(q)))
    wide, distances = plan.astype(np.float64), space.distance_matrix()
    assert abs(wide.sum(1) - p).sum() <= float(excess) + eps * p.sum(dtype=float)
    assert abs(wide.sum(0) - q).sum() <= float(excess) + eps * q.sum(dtype=float)
    value = float(exact.emd(p, q, space))
    assert abs((wide * distances).sum() - value) <= eps * value + 13 * float(excess)  # 13: from a leaf to the root


@pytest.mark.parametrize("dtype", cases.DTYPES)
@given(cases.pairs())
def test_the_other_way_round_is_the_transpose(dtype, case):
    space, p, q = case
    p, q = np.array(p, dtype), np.array(q, dtype)
    for mass in ("ignore", "normalize"):
        there, back = emdref.plan(p, q, space, mass=mass), emdref.plan(q, p, space, mass=mass)
        assert entries(there) == {(j, i): x for (i, j), x in entries(back).items()}


@given(cases.pairs(cases.chains()))
def test_a_chain_is_a_tree(case):
    chain, p, q = case
    assert entries(emdref.plan(p, q, chain, mass="ignore")) == entries(
        emdref.plan(p, q, chain.to_tree(), mass="ignore")
    )


def test_a_power_of_two_makes_no_difference():
    space, p, q = cases.case("random_tree", "peaked_softmax", np.float64)
    once = emdref.plan(p, q, space)
    for shift in (-600, 900):
        again = emdref.plan(np.ldexp(p, shift), np.ldexp(q, shift), space)
        np.testing.assert_array_equal(np.ldexp(once.toarray(), shift), again.toarray())


# --- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_rows_are_sources_and_columns_targets(dtype):
    plan = emdref.plan(dtype([1, 0, 0]), dtype([0, 0.25, 0.75]), emdref.Chain(3))
    np.testing.assert_array_equal(plan.toarray(), [[0, 0.25, 0.75], [0, 0, 0], [0, 0, 0]])
    assert plan.dtype == dtype


def test_what_can_stay_stays_and_equal_histograms_move_nothing():
    p = [0.5, 0.0, 0.5]
    plan = emdref.plan(p, p, TREE)
    assert entries(plan) == {(0, 0): Fraction(1, 2), (2, 2): Fraction(1, 2)}


def test_the_oldest_come_first_on_a_chain():
    plan = emdref.plan([1, 1, 0, 0], [0, 0, 1, 1], emdref.Chain(4))
    assert entries(plan) == {(0, 2): 1, (1, 3): 1}


def test_integers_count_as_float64():
    plan = emdref.plan([3, 0, 1], [1, 2, 1], emdref.Chain(3))
    assert plan.dtype == np.float64 and entries(plan) == {(0, 0): 1, (0, 1): 2, (2, 2): 1}


@pytest.mark.parametrize(("p", "q"), [(0.7, 0.7), (0.7, np.nextafter(0.7, 1))])
def test_one_bin(p, q):
    assert entries(emdref.plan([p], [q], emdref.Chain(1))) == {(0, 0): Fraction(p)}
    assert entries(emdref.plan([p], [q], emdref.Tree([-1, 0], bins=[1]))) == {(0, 0): Fraction(p)}


def test_bins_on_inner_nodes_free_edges_and_only_children():
    space = emdref.Tree([-1, 0, 1, 2, 2], [0, 0, 3, 0, 1], bins=[0, 2, 4, 3])
    plan = check(np.array([1.0, 0, 2, 0]), np.array([0, 1.0, 0, 2]), space)
    assert entries(plan) == {(2, 3): 1, (2, 1): 1, (0, 3): 1}


@pytest.mark.parametrize("tiny", [2.0**-60, 1e-300, 5e-324])
def test_cancellation_leaves_no_crumbs(tiny):
    space = emdref.Chain(4)
    plan = check(np.array([1, tiny, 0, 0]), np.array([0, 0, 1, tiny]), space)
    assert entries(plan) == {(0, 2): 1, (1, 3): Fraction(tiny)}
    plan = check(np.array([1, tiny, 0, 0]), np.array([0, 0, tiny, 1]), space)
    assert entries(plan) == {(0, 2): Fraction(tiny), (0, 3): 1, (1, 3): Fraction(tiny)}  # 1 - tiny, rounded


def test_remainders_do_not_drift():
    """A tenth ten times is less than 1: repeated subtraction would leave 1.1e-16, and a wrong last entry."""
    n = 10
    p, q = np.append(1.0, np.zeros(n)), np.append(0.0, np.full(n, 0.1))
    q[-1] = float(1 - 9 * Fraction(0.1))
    assert sum(oracles.fractions(q)) == 1
    plan = check(p, q, emdref.Chain(n + 1), "raise")
    np.testing.assert_array_equal(plan.toarray()[0], q)


def test_the_whole_range_of_floats():
    p = np.array([1.7e308, 5e-324, 0.0, 1.0, 0.0])
    check(p, p[[4, 2, 1, 0, 3]].copy(), emdref.Chain(5), "raise")
    top = np.finfo(np.float32).max
    check(np.float32([top, 1e-45, 0, top]), np.float32([0, top, top, 1e-45]), emdref.Chain(4), "raise")


def test_quotients_below_the_range_are_no_entries():
    for p in (np.array([1e300, 1e-300]), np.float32([1e30, 1e-30])):
        assert entries(check(p, p[::-1].copy(), emdref.Chain(2), "normalize")) == {(0, 1): 1}


# --- unequal totals ---------------------------------------------------------------------------------------------------


def test_the_excess_stays_and_is_named():
    space = emdref.Chain(3)
    plan = emdref.plan([2, 3, 0], [0, 0, 4], space, mass="ignore")
    assert entries(plan) == {(0, 2): 2, (1, 2): 2}
    way = emdref.emd([2, 3, 0], [0, 0, 4], space, mass="ignore") - (plan * space.distance_matrix()).sum()
    assert way == 1  # one unit from bin 1 to the root, bin 2
    back = emdref.plan([0, 0, 4], [2, 3, 0], space, mass="ignore")
    assert entries(back) == {(2, 0): 2, (2, 1): 2}


def test_totals_that_differ_by_rounding():
    space, (p, q) = cases.space("wordnet"), cases.histograms("flat_softmax", 1000, np.float32)
    assert sum(oracles.fractions(p)) != sum(oracles.fractions(q))
    raised, ignored = (emdref.plan(p, q, space, mass=mass) for mass in ("raise", "ignore"))
    assert (raised != ignored).nnz == 0
    normalized = emdref.plan(p, q, space, mass="normalize").astype(np.float64)
    for axis, x in ((1, p), (0, q)):
        share = x / x.sum(dtype=np.float64)
        np.testing.assert_allclose(normalized.sum(axis), share, rtol=2 * np.finfo(np.float32).eps)


# --- bad input --------------------------------------------------------------------------------------------------------


def refuses(error, message):
    return pytest.raises(error, match=re.escape(message))


GOOD = [0.25, 0.25, 0.5]


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([0.5, 0.5], "p has shape (2,), its last axis must be the space's 3 bins"),
        ([0.5, np.nan, 0.5], "p[1] = nan: a histogram holds finite mass"),
        ([1.25, -0.25, 0], "p[1] = -0.25: a histogram holds no negative mass"),
        ([0, 0, 0], "p[:] is all zeros"),
        ([0.25, 0.25, 0.25], "p has total 0.75 and q 1, -0.25 apart"),
    ],
)
def test_a_histogram_that_is_none(p, message):
    for dtype in cases.DTYPES:
        with refuses(ValueError, message):
            emdref.plan(np.array(p, dtype), np.array(GOOD, dtype), TREE)


@pytest.mark.parametrize(("p", "shape"), [([GOOD], "(1,)"), ([GOOD, GOOD], "(2,)"), ([[GOOD] * 3], "(1, 3)")])
def test_a_batch_is_told_to_come_one_by_one(p, shape):
    message = f"p and q are a batch of shape {shape}: plan takes one pair at a time, as in ["
    with refuses(ValueError, message):
        emdref.plan(p, GOOD, TREE)
    with refuses(ValueError, message):
        emdref.plan(GOOD, p, TREE)


def test_the_way_out_of_a_batch_works():
    p, q = np.array([GOOD, GOOD[::-1]]), np.array(GOOD)
    with pytest.raises(ValueError, match="one pair at a time") as refusal:
        emdref.plan(p, q, TREE)
    plans = eval(
        str(refusal.value).partition(" as in ")[2], {"emdref": emdref, "np": np, "p": p, "q": q, "space": TREE}
    )
    assert [entries(x) for x in plans] == [entries(emdref.plan(x, q, TREE)) for x in p]


def test_wrong_types_and_options():
    with refuses(TypeError, "p has dtype float16"):
        emdref.plan(np.array(GOOD, np.float16), GOOD, TREE)
    with refuses(TypeError, "p is float32 and q is float64"):
        emdref.plan(np.array(GOOD, np.float32), GOOD, TREE)
    with refuses(TypeError, "space must be a Space, such as a Chain or a Tree, not ndarray"):
        emdref.plan(GOOD, GOOD, np.zeros((3, 3)))
    with refuses(ValueError, "mass='scale' is not one of raise, normalize, ignore"):
        emdref.plan(GOOD, GOOD, TREE, mass="scale")
    with pytest.raises(TypeError, match="positional"):
        emdref.plan(GOOD, GOOD, TREE, "ignore")


def test_input_is_left_alone():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.25, 0.75])
    plan = emdref.plan(p, q, TREE)
    plan.data[:] = 7
    np.testing.assert_array_equal(p, [0.5, 0.5, 0.0])
    np.testing.assert_array_equal(q, [0.0, 0.25, 0.75])


# --- large ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [10**5, pytest.param(10**6, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["path", "star", "caterpillar", "random", "chain"])
def test_a_million_nodes(name, nodes):
    n = nodes if name in ("path", "star", "chain") else nodes // 2
    space, rng = cases.large(name, n), np.random.default_rng(5)
    n = space.n_bins
    p = rng.integers(0, 2**20, n).astype(np.float64)
    q = rng.permutation(p)
    plan = emdref.plan(p, q, space)
    check_form(plan, n, np.float64)
    np.testing.assert_array_equal(plan.sum(axis=1), p)  # whole numbers: exact
    np.testing.assert_array_equal(plan.sum(axis=0), q)
    if name == "star":
        triples, above = plan.tocoo(), space.cost[space.bins]
        found = ((above[triples.row] + above[triples.col]) * triples.data)[triples.row != triples.col].sum()
    elif name in ("path", "chain"):
        gaps = space.gaps[::-1] if name == "chain" else space.cost[1:]
        at = np.append(0.0, np.cumsum(gaps))
        at, triples = at[::-1] if name == "chain" else at, plan.tocoo()
        found = (abs(at[triples.row] - at[triples.col]) * triples.data).sum()
    else:
        return
    np.testing.assert_allclose(found, emdref.emd(p, q, space), rtol=1e-9)


def test_every_run_gives_the_same():
    space, p, q = cases.case("wordnet", "peaked_softmax", np.float64)
    first, again = (emdref.plan(p, q, space) for _ in range(2))
    for name in ("data", "indices", "indptr"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
