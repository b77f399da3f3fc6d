"""Sparse rows: the same floats as those of dense rows, at a cost that follows the bins with mass."""

import importlib

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import cases
import emdref
import plain
from emdref import exact

RHOS = [1, 2, 3, 4]
SPACES = {
    **{name: (lambda name=name: cases.space(name)) for name in cases.SPACES},
    "wordnet": emdref.wordnet_tree,
    "unit chain": lambda: emdref.Chain(500),
    "random": lambda: cases.large("random", 300),
    "path": lambda: cases.large("path", 700),
    "all bins": lambda: emdref.Tree([-1, 0, 0, 1, 1, 4], [0, 1, 2, 3, 4, 5], bins=range(6)),
}
FORMATS = [scipy.sparse.csr_array, scipy.sparse.csc_array, scipy.sparse.coo_array, scipy.sparse.csr_matrix]
WEIGHTS = importlib.import_module("emdref.functions.pairwise")  # the function has the module's name in the package


def rows(space, n, k, dtype=np.float64, seed=0):
    """n histograms with mass in up to k bins."""
    rng = np.random.default_rng([seed, n, k])
    order = rng.random((n, space.n_bins)).argsort(axis=1)
    mass = np.where(order < k, cases.casebook.lognormal(rng, (n, space.n_bins), 2.0), 0)
    return cases.casebook.normalized(mass, dtype)


def assert_same(got, expected):
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("name", SPACES)
def test_every_value_is_that_of_dense_rows(name, rho, dtype):
    space = SPACES[name]()
    P, Q = rows(space, 12, 7, dtype), rows(space, 12, 3, dtype, seed=1)
    Q[5] = P[5]
    for make in FORMATS:
        assert_same(emdref.emd(make(P), make(Q), space, rho), emdref.emd(P, Q, space, rho))
    for mass in ("normalize", "ignore"):
        p, q = (P * dtype(1.7)).astype(dtype), scipy.sparse.csr_array(Q)
        expected = emdref.emd(p, Q, space, rho, mass=mass)
        assert_same(emdref.emd(scipy.sparse.csr_array(p), q, space, rho, mass=mass), expected)


@pytest.mark.parametrize("name", ["chain", "random", "path"])
def test_other_exponents_and_native_are_close(name):
    """Another rho: a pow of 2 ulp at most on either side.  Native: two limbs, not checked, against the same checked."""
    space = SPACES[name]()
    P, Q = rows(space, 12, 7), rows(space, 12, 3, seed=1)
    sparse = scipy.sparse.csr_array(P), scipy.sparse.csr_array(Q)
    np.testing.assert_array_max_ulp(emdref.emd(*sparse, space, 2.5), emdref.emd(P, Q, space, 2.5), 4)
    for mass in ("raise", "normalize"):
        native = emdref.emd(*sparse, space, 2, mass=mass, accuracy="native")
        np.testing.assert_array_max_ulp(native, emdref.emd(P, Q, space, 2, mass=mass), 1)


@pytest.mark.parametrize("span", [0.0, 1e9], ids=["pair by pair", "on the span"])
@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("name", SPACES)
def test_pairwise_by_either_way(name, rho, dtype, span, monkeypatch):
    monkeypatch.setattr(WEIGHTS, "_PAIR_TIP", span)
    space = SPACES[name]()
    X, Y = rows(space, 20, 6, dtype), rows(space, 5, 4, dtype, seed=1)
    X[3], Y[1] = X[7], X[0]
    sparse = scipy.sparse.csr_array(X), scipy.sparse.csr_array(Y)
    for mass in ("raise", "normalize"):
        assert_same(
            emdref.pairwise(sparse[0], space, rho=rho, mass=mass), emdref.pairwise(X, space, rho=rho, mass=mass)
        )
        expected = emdref.pairwise(X, space, Y=Y, rho=rho, mass=mass)
        assert_same(emdref.pairwise(sparse[0], space, Y=sparse[1], rho=rho, mass=mass), expected)
        native = emdref.pairwise(sparse[0], space, Y=Y, rho=rho, mass=mass, accuracy="native")
        np.testing.assert_allclose(native, expected, rtol=1e-6, atol=1e-13)


def test_pairwise_blocks_change_nothing(monkeypatch):
    space = SPACES["random"]()
    X = rows(space, 40, 6)
    expected = emdref.pairwise(X, space)
    for side in (1, 7, 39):
        monkeypatch.setattr(WEIGHTS, "_sparse_side", lambda *_, side=side: side)
        assert_same(emdref.pairwise(scipy.sparse.csr_array(X), space), expected)
        assert_same(emdref.pairwise(scipy.sparse.csr_array(X), space, Y=X), expected)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("family", cases.HOSTILE)
@pytest.mark.parametrize("name", ["chain", "random"])
@pytest.mark.filterwarnings("ignore:.*beyond the range:RuntimeWarning")  # powers of near_overflow
def test_hostile_rows(name, family, rho, dtype):
    space = cases.large(name, 60, 2.0**-60 if family == "near_overflow" else 1.0)
    p, q = (np.where(np.arange(60) % 3 > 0, x[:60], 0) for x in cases.histograms(family, 60, dtype))
    p, q = (np.pad(x, (0, space.n_bins - 60)) if space.n_bins > 60 else x[: space.n_bins] for x in (p, q))
    got = emdref.emd(scipy.sparse.csr_array(p[None]), scipy.sparse.csr_array(q[None]), space, rho, mass="ignore")
    assert_same(got, emdref.emd(p[None], q[None], space, rho, mass="ignore"))


def test_distances_of_which_two_limbs_lose_digits():
    """A deep path whose prefix sums lose the small cost between the bins, and tell that they do."""
    cost = np.r_[0, 1e17, np.pi * 1e-17 * np.ones(40), 1e-40]
    tree = emdref.Tree(np.arange(len(cost)) - 1, cost, bins=[40, 41, 42])
    assert tree.rooted.depths[1] > 0
    p, q = [[1.0, 0, 0]], [[0, 0, 1.0]]
    for rho in RHOS:
        value = emdref.emd(scipy.sparse.csr_array(p), q, tree, rho)
        cases.assert_within_ulps(value, [exact.emd(p[0], q[0], tree, rho)])
        assert emdref.pairwise(scipy.sparse.csr_array(p), tree, Y=q, rho=rho)[0, 0] == value[0]


@given(where=st.one_of(cases.trees(), cases.chains()), data=st.data(), rho=st.sampled_from(RHOS))
def test_any_small_space(where, data, rho):
    p, q = (data.draw(cases.masses(where.n_bins)) for _ in "pq")
    got = emdref.emd(scipy.sparse.coo_array([p]), scipy.sparse.coo_array([q]), where, rho, mass="ignore")
    cases.assert_within_ulps(got, [exact.emd(p, q, where, rho)])
    assert got[0] == emdref.emd(p, q, where, rho, mass="ignore")


# --- cost -------------------------------------------------------------------------------------------------------------


class Counting(np.ndarray):
    """Counts how often it is read."""

    reads = 0

    def __getitem__(self, index):
        type(self).reads += 1
        return super().__getitem__(index)


def reads(space, k):
    """How often the plain kernel looks anything up in the space for one pair of k bins each."""
    library = plain.original()
    rng = np.random.default_rng(k)
    bins = [np.sort(rng.choice(space.n_bins, k, replace=False)) for _ in "pq"]
    p, q = (scipy.sparse.csr_array((np.full(k, 1 / k), (np.zeros(k, int), b)), (1, space.n_bins)) for b in bins)
    outline, (depth, lost) = space.rooted.heavy_paths, space.rooted.depths
    space._set(_outline=outline._replace(path=outline.path.view(Counting)), _depths=(depth.view(Counting), lost))
    Counting.reads = 0
    library.emd(p, q, space, accuracy="native")
    space._set(_outline=outline, _depths=(depth, lost))
    return Counting.reads


@pytest.mark.parametrize("shape", ["path", "caterpillar", "random", "chain", "star"])
def test_the_cost_follows_the_bins_with_mass(shape):
    """Ten times the tree: at most as many look-ups more as its logarithm; ten times the bins: at most ten and some."""
    library = plain.original()

    def at(n):
        space = cases.large(shape, n)
        if shape == "chain":
            return library.Chain(gaps=space.gaps)
        return library.Tree(space.parent, space.cost, space.bins)

    small, large = at(1_000), at(10_000)
    few, same, more = reads(small, 10), reads(large, 10), reads(large, 100)
    assert few <= 20 * (8 + 8 * np.log2(2_000))
    assert same <= 20 * (8 + 8 * np.log2(20_000))
    assert more <= 15 * same


def test_a_path_of_a_million_nodes():
    tree = emdref.Tree(np.arange(10**6) - 1, bins=[10, 999_000, 999_999])
    p, q = scipy.sparse.csr_array([[0, 1.0, 0]]), scipy.sparse.csr_array([[0, 0, 1.0]])
    assert emdref.emd(p, q, tree) == 999
    assert emdref.emd(p, scipy.sparse.csr_array([[1.0, 0, 0]]), tree, 2) == 998_990
    assert tree.rooted.heavy_paths.level.max() == 0


@pytest.mark.parametrize("shape", ["path", "caterpillar", "random", "star"])
def test_the_outline_is_the_tree_in_another_order(shape):
    tree = cases.large(shape, 200)
    up, cost, place, level, path, order = tree.rooted.heavy_paths
    parent, costs = tree.rooted.parent, tree.rooted.cost
    np.testing.assert_array_equal(np.sort(order), np.arange(tree.n_nodes))
    np.testing.assert_array_equal(order[up], parent[order])
    np.testing.assert_array_equal(cost, costs[order])
    np.testing.assert_array_equal(order[place], tree.rooted.bin_node)
    assert (up[1:] < np.arange(1, tree.n_nodes)).all() and level.max() <= np.log2(tree.n_nodes)
    np.testing.assert_array_equal(level - level[up], path[:, 0] != path[up, 0])
    np.testing.assert_array_equal(path[:, 1], up[path[:, 0]])


# --- input ------------------------------------------------------------------------------------------------------------


def test_shapes():
    chain = emdref.Chain(3)
    two, one = scipy.sparse.csr_array([[1.0, 0, 0], [0, 1, 0]]), scipy.sparse.csr_array([[0, 0, 1.0]])
    assert_same(emdref.emd(two, one, chain), np.array([2.0, 1]))
    assert_same(emdref.emd(one, two, chain), np.array([2.0, 1]))
    assert_same(emdref.emd(two, [0, 0, 1.0], chain), np.array([2.0, 1]))
    assert_same(emdref.emd([0, 0, 1.0], two, chain), np.array([2.0, 1]))
    assert_same(emdref.emd(scipy.sparse.csr_array((0, 3)), one, chain), np.empty(0))
    assert emdref.pairwise(scipy.sparse.csr_array((0, 3)), chain, Y=two).shape == (0, 2)
    assert emdref.pairwise(scipy.sparse.csr_array((0, 3)), chain).shape == (0, 0)


def test_integers_explicit_zeros_and_any_format():
    chain = emdref.Chain(3)
    p = scipy.sparse.coo_array(([1, 0, 1], ([0, 0, 0], [0, 1, 2])), (1, 3))
    assert p.nnz == 3
    for form in ("csr", "csc", "coo", "lil", "dok", "bsr", "dia"):
        assert_same(emdref.emd(p.asformat(form), [[0, 2, 0]], chain), np.array([2.0]))


def test_functions_with_dense_results_take_sparse_rows():
    space = cases.space("random_tree")
    P, Q = rows(space, 4, 5), rows(space, 4, 3, seed=1)
    p, q = scipy.sparse.csc_array(P), scipy.sparse.csr_array(Q)
    assert_same(emdref.flow(p, q, space), emdref.flow(P, Q, space))
    assert_same(emdref.emd_grad(p, q, space), emdref.emd_grad(P, Q, space))
    assert_same(emdref.emd_hess(p, q, space), emdref.emd_hess(P, Q, space))
    assert_same(emdref.emd_hvp(p, q, space, p), emdref.emd_hvp(P, Q, space, P))
    for got, expected in zip(
        emdref.emd_value_and_grad(p, Q, space), emdref.emd_value_and_grad(P, Q, space), strict=True
    ):
        assert_same(got, expected)


FUNCTIONS = {
    "mse": lambda p, q: emdref.losses.mse(p, q)[1],
    "kl": lambda p, q: emdref.losses.kl(p, q)[1],
    "cross_entropy": lambda p, q: emdref.losses.cross_entropy(p, q)[1],
    "emd_mse": lambda p, q: emdref.losses.emd_mse(p, q, emdref.Chain(3))[1],
    "l1": lambda p, q: emdref.normalize.l1(p),
    "softmax.vjp": lambda p, q: emdref.normalize.softmax.vjp(p, q),
    "sinkhorn": lambda p, q: emdref.sinkhorn(p, q, emdref.Chain(3), 1.0).grad,
    "a dtype": lambda p, q: emdref.sinkhorn(p, q, emdref.Chain(3), 1.0, dtype=np.float32).grad,
    "a format": lambda p, q: emdref.sinkhorn(p, q, emdref.Chain(3), 1.0, kernel="dense", dtype="bfloat16").grad,
    "a matrix": lambda p, q: emdref.sinkhorn(p, q, emdref.Chain(3).distance_matrix(), 1.0).grad,
    "emd": lambda p, q: emdref.emd(p, q, emdref.Chain(3)),
    "flow": lambda p, q: emdref.flow(p, q, emdref.Chain(3)),
    "emd_cost_grad": lambda p, q: emdref.emd_cost_grad(p, q, emdref.Chain(3), 2),
}


def on_three(p, q):
    """A right answer, for which nobody looks for what else it could be."""
    return emdref.emd(p, q, emdref.Chain(3))


ONE = {
    "exact.emd": lambda p, q: exact.emd(p, q, emdref.Chain(3)),
    "exact.grad": lambda p, q: exact.grad(p, q, emdref.Chain(3)),
    "exact.hvp": lambda p, q: exact.hvp(p, q, emdref.Chain(3), p),
    "plan": lambda p, q: emdref.plan(p, q, emdref.Chain(3)).toarray(),
    "certify": lambda p, q: emdref.certify(p, q, emdref.Chain(3)).lower,
    "certify_sinkhorn": lambda p, q: emdref.certify_sinkhorn(p, q, emdref.Chain(3), 1.0).lower,
    "check": lambda p, q: emdref.check(on_three, emdref.Chain(3), cases=[(p, q)]).results[0].case.p,
    "check_sinkhorn": lambda p, q: (
        emdref.check_sinkhorn(lambda *pair: np.nan, emdref.Chain(3), 1.0, 5, cases=[(p, q)]).results[0].case.p
    ),
}
P, Q = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]), np.array([[0.25, 0.25, 0.5], [0.5, 0.25, 0.25]])
MAKERS = [*FORMATS, scipy.sparse.dok_array, scipy.sparse.lil_matrix]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("call", FUNCTIONS.values(), ids=FUNCTIONS)
def test_every_function_of_histograms_takes_sparse_rows(call, make):
    for p, q in ((make(P), make(Q)), (make(P), Q), (P, make(Q)), (make(P), Q[0]), (P[0], make(Q))):
        dense = [x.toarray() if scipy.sparse.issparse(x) else x for x in (p, q)]
        for got, expected in zip(call(p, q), call(*dense), strict=True):
            assert_same(got, expected)
    for p, q in ((make(P * np.nan), Q), (P, make(Q * np.nan))):
        with pytest.raises(ValueError, match="nan"):
            call(*(p, q) if call is not FUNCTIONS["l1"] else (make(P * np.nan), Q))


def of_scipy(make, *arguments):
    """What SciPy before 1.15 does not make of one axis or three."""
    try:
        return make(*arguments)
    except (ValueError, IndexError):
        if scipy.__version__.startswith(("1.13", "1.14")):
            pytest.skip(f"SciPy {scipy.__version__} makes no such sparse array")
        raise


@pytest.mark.parametrize("make", [scipy.sparse.coo_array, scipy.sparse.csr_array])
@pytest.mark.parametrize("call", [*FUNCTIONS.values(), *ONE.values()], ids=[*FUNCTIONS, *ONE])
def test_a_sparse_row_of_one_axis_is_one_histogram(call, make):
    of_scipy(make, P[0])
    for p, q in ((make(P[0]), make(Q[0])), (make(P[0]), Q[0]), (P[0], make(Q[0]))):
        assert np.array_equal(call(p, q), call(P[0], Q[0]))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("call", ONE.values(), ids=ONE)
def test_a_sparse_matrix_of_one_row_is_one_histogram(call, make):
    for p, q in ((make(P[:1]), make(Q[:1])), (make(P[:1]), Q[0]), (P[0], make(Q[:1]))):
        assert np.array_equal(call(p, q), call(P[0], Q[0]))
    with pytest.raises(ValueError, match=r"one pair at a time|p has shape"):
        call(make(P), make(Q))


def test_a_certificate_of_sparse_rows_verifies():
    assert emdref.certify_sinkhorn(scipy.sparse.csr_array(P[:1]), Q[0], emdref.Chain(3), 1.0).verify()


@pytest.mark.parametrize("max_iter", [0, 5])
def test_potentials_may_be_sparse(max_iter):
    log = [0.0, 0.5, 0.0]
    calls = [
        emdref.certify_sinkhorn(P[0], Q[0], emdref.Chain(3), 1.0, max_iter=max_iter, init=(x, x))
        for x in (log, scipy.sparse.coo_array(log))
    ]
    assert tuple(calls[0]) == tuple(calls[1])
    assert calls[1].verify()


@pytest.mark.parametrize("make", [scipy.sparse.coo_array, lambda row: scipy.sparse.csr_matrix([row])])
def test_a_list_of_sparse_rows_is_no_matrix(make):
    rows, space = [make(row) for row in P], emdref.Chain(3)
    for call in (
        lambda: emdref.emd(rows, Q, space),
        lambda: emdref.emd_grad(P, tuple(make(row) for row in Q), space),
        lambda: emdref.sinkhorn(rows, Q, space, 1.0),
        lambda: emdref.pairwise(rows, space),
        lambda: emdref.losses.mse(rows, Q),
        lambda: emdref.normalize.softmax(rows),
        lambda: emdref.exact.emd(rows[:1], Q[0], space),
    ):
        with pytest.raises(TypeError, match=r"[pqxX] is a list of sparse rows: give scipy\.sparse\.vstack\([pqxX]\)"):
            call()
    stacked = of_scipy(scipy.sparse.vstack, rows)
    np.testing.assert_array_equal(emdref.emd(stacked, Q, space), emdref.emd(P, Q, space))


def test_a_cost_matrix_is_not_sparse():
    cost = scipy.sparse.csr_array(emdref.Chain(3).distance_matrix())
    for call in (emdref.sinkhorn, emdref.certify_sinkhorn):
        with pytest.raises(TypeError, match=r"cost is sparse: give cost\.toarray\(\), if what it leaves out costs 0"):
            call(P[0], Q[0], cost, 1.0)


TWICE = scipy.sparse.coo_array(([0.5, 0.25, 1.0], ([0, 0, 1], [2, 2, 0])), (2, 3))
GOOD = scipy.sparse.csr_array([[1.0, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize(
    ("p", "error", "message"),
    [
        (TWICE, ValueError, r"p\[0, 2\] is there twice, as 0.5 and 0.25: call p.sum_duplicates\(\) first"),
        (scipy.sparse.csr_array([[1.0, 0, 0], [0, -2, 3]]), ValueError, r"p\[1, 1\] = -2.0: a histogram holds no neg"),
        (scipy.sparse.csr_array([[1.0, 0, 0], [0, np.nan, 0]]), ValueError, r"p\[1, 1\] = nan: a histogram holds fin"),
        (scipy.sparse.csr_array([[1.0, 0, 0], [0, 0, 0]]), ValueError, r"p\[1, :\] is all zeros: some mass is needed"),
        (scipy.sparse.csr_array([[1.0, 0, 0], [0, 0, 2]]), ValueError, r"row 1: p has total 2 and q 1, \+1 apart"),
        (scipy.sparse.csr_array([[1.0, 0], [0, 1]]), ValueError, r"p has shape \(2, 2\), its last axis must be the"),
        (scipy.sparse.csr_array(np.eye(3)), ValueError, r"p \(3, 3\) and q \(2, 3\) cannot be broadcast together"),
        (GOOD.astype(np.float32), TypeError, "p is float32 and q is float64"),
        (GOOD.astype(bool), TypeError, "p has dtype bool"),
        (GOOD.astype(complex), TypeError, "p has dtype complex128"),
        (scipy.sparse.coo_array(([1.0, 2], [[0, 0]]), (3,)), ValueError, r"p\[0\] is there twice, as 1.0 and 2.0"),
        ([1.0, -1, 0], ValueError, r"p\[1\] = -1.0: a histogram holds no negative mass"),
        (np.ones((2, 2, 3)), ValueError, r"p has shape \(2, 2, 3\): beside sparse rows, give \(N,\) or \(rows, N\)"),
        (scipy.sparse.csr_array([[1e308, 1e308, 0]]), ValueError, "these are 2.*of totals, which overflow"),
    ],
)
def test_refuses(p, error, message):
    with pytest.raises(error, match=message):
        emdref.emd(p, GOOD, emdref.Chain(3))


def test_refuses_more_than_two_axes():
    deep = of_scipy(scipy.sparse.coo_array, np.ones((2, 2, 3)))
    with pytest.raises(ValueError, match=r"p has shape \(2, 2, 3\): sparse histograms are one row"):
        emdref.emd(deep, GOOD, emdref.Chain(3))


@pytest.mark.parametrize("call", [emdref.emd_grad, emdref.flow, emdref.pairwise, FUNCTIONS["mse"]])
def test_no_function_sums_entries_in_one_place(call):
    arguments = {emdref.pairwise: (TWICE, emdref.Chain(3)), FUNCTIONS["mse"]: (TWICE, GOOD)}
    with pytest.raises(ValueError, match=r"\[0, 2\] is there twice"):
        call(*arguments.get(call, (TWICE, GOOD, emdref.Chain(3))))


def test_pairwise_names_the_rows_whose_totals_differ():
    with pytest.raises(ValueError, match=r"X\[1\] has total 2 and X\[0\] 1, \+1 apart"):
        emdref.pairwise(scipy.sparse.csr_array([[1.0, 0, 0], [0, 0, 2]]), emdref.Chain(3))
    with pytest.raises(TypeError, match="X is float64 and Y is float32"):
        emdref.pairwise(GOOD, emdref.Chain(3), Y=GOOD.astype(np.float32))
    with pytest.raises(ValueError, match=r"Y has shape \(3,\), it must be \(rows, 3\)"):
        emdref.pairwise(GOOD, emdref.Chain(3), Y=[1.0, 0, 0])


# --- peers ------------------------------------------------------------------------------------------------------------


def test_it_is_weighted_unifrac():
    skbio = pytest.importorskip("skbio", reason="needs the extra peers")
    tree = cases.large("random", 50)
    newick = _newick(tree)
    X = rows(tree, 6, 20)
    counts = np.rint(X * 1000).astype(int)
    names = [f"t{v}" for v in tree.bins]
    phylogeny = skbio.TreeNode.read([newick])
    theirs = skbio.diversity.beta_diversity(
        "weighted_unifrac", counts, list(map(str, range(6))), tree=phylogeny, taxa=names, validate=False
    )
    mine = emdref.pairwise(scipy.sparse.csr_array(counts), tree, mass="normalize")
    np.testing.assert_allclose(mine, theirs.data, rtol=1e-12)


def _newick(tree):
    text = [f"t{v}" for v in range(tree.n_nodes)]
    children = [[] for _ in text]
    for v in reversed(tree.rooted.order.tolist()):  # children before parents
        inner = f"({','.join(children[v])})" if children[v] else ""
        text[v] = f"{inner}t{v}:{float(tree.cost[v])!r}"
        if tree.parent[v] >= 0:
            children[tree.parent[v]].append(text[v])
    return text[tree.rooted.order[0]] + ";"
