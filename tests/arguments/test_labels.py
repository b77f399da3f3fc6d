"""Labels of pandas are the names of the bins, in their order, or an error that shows the way out."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

import emdref
from emdref import exact, losses, normalize

CHAIN = emdref.Chain(positions=[1, 2, 5])
TREE = emdref.Tree.from_newick("(a:1,b:2,c:3);")
P, Q = pd.Series({1: 3.0, 5: 2.0, 2: 1.0}), pd.Series({5: 3.0, 1: 2.0, 2: 1.0})
COST = pd.DataFrame(CHAIN.distance_matrix(), [1, 2, 5], [1, 2, 5])
PLAIN = np.array([2.0, 1.0, 3.0])


def hvp(p, q, space):
    return emdref.emd_hvp(p, q, space, PLAIN)


CALLS = {
    "emd": emdref.emd,
    "emd_grad": emdref.emd_grad,
    "emd_value_and_grad": emdref.emd_value_and_grad,
    "emd_hess": emdref.emd_hess,
    "emd_hvp": hvp,
    "flow": emdref.flow,
    "emd_cost_grad": emdref.emd_cost_grad,
    "normalize": lambda p, q, space: emdref.emd(p, q, space, mass="normalize"),
    "certify": lambda p, q, space: emdref.certify(p, q, space).value,
    "plan": lambda p, q, space: emdref.plan(p, q, space).toarray(),
    "exact.emd": exact.emd,
    "exact.flow": exact.flow,
    "exact.cost_grad": exact.cost_grad,
    "exact.grad": exact.grad,
    "exact.hess": exact.hess,
    "exact.hvp": lambda p, q, space: exact.hvp(p, q, space, PLAIN),
    "sinkhorn": lambda p, q, space: emdref.sinkhorn(p, q, space, 1.0).value,
    "sinkhorn of a dtype": lambda p, q, space: emdref.sinkhorn(p, q, space, 1.0, dtype=np.float32).value,
    "sinkhorn of a format": lambda p, q, space: emdref.sinkhorn(p, q, space, 1.0, kernel="dense", dtype="tf32").value,
    "certify_sinkhorn": lambda p, q, space: tuple(emdref.certify_sinkhorn(p, q, space, 1.0)),
    "emd_mse": losses.emd_mse,
    "pairwise": lambda p, q, space: emdref.pairwise([p], space, Y=[q]),
    "barycenter": lambda p, q, space: emdref.barycenter([p, q], space),
    "exact.barycenter": lambda p, q, space: exact.barycenter([p, q], space),
    "certify_barycenter": lambda p, q, space: emdref.certify_barycenter(p, [p, q], space).value,
    "check": lambda p, q, space: emdref.check(lambda *pair: 0.0, space, cases=[(p, q)]).results[0].value_ulp,
    "check_sinkhorn": lambda p, q, space: (
        emdref.check_sinkhorn(lambda *pair: np.nan, space, 1.0, 5, cases=[(p, q)]).results[0].case.p
    ),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def same(a, b):
    """Equality of results of any shape."""
    return all(map(np.array_equal, a, b)) if isinstance(a, tuple) else np.array_equal(a, b)


@each_call
def test_labels_are_compared_with_names(call):
    with pytest.raises(
        ValueError, match=r"the labels of (p|p\[0\]|[XP]\[0\]|cases\[0\]\[0\])\.index are not space\.bin_"
    ):
        call(P, Q, CHAIN)
    p, q = (x.reindex(CHAIN.bin_labels, fill_value=0) for x in (P, Q))
    expected = call(p.to_numpy(), q.to_numpy(), CHAIN)
    assert same(call(p, q, CHAIN), expected)
    assert same(call(p, q, CHAIN.to_tree()), call(p.to_numpy(), q.to_numpy(), CHAIN.to_tree()))
    with pytest.raises(ValueError, match=r"\.reindex\(names, fill_value=0\) with names = space\.bin_labels"):
        call(p, Q, CHAIN)
    for names in ([1, 2, 4], ["1", "2", "5"], [1, 2, 5.5], pd.date_range("2000", periods=3), [(1, 2), (2, 3), (3, 4)]):
        with pytest.raises(ValueError, match="the labels of"):
            call(pd.Series(p.to_numpy(), names), q, CHAIN)


@each_call
def test_a_default_range_is_positional(call):
    p, q = pd.Series([3.0, 1.0, 2.0]), pd.Series([2.0, 1.0, 3.0])
    for space in (CHAIN, TREE, emdref.Chain(3)):
        assert same(call(p, q, space), call(p.to_numpy(), q.to_numpy(), space))
    for start, step in ((1, 1), (0, 2)):
        with pytest.raises(ValueError, match="the labels of"):
            call(p.set_axis(pd.RangeIndex(start, start + 3 * step, step)), q, CHAIN)


@pytest.mark.parametrize("space", [emdref.Chain(3), emdref.Chain(gaps=[1, 2])])
def test_a_chain_without_names_has_numbers(space):
    counts = pd.Series([1.0, 2.0, 3.0], pd.Index([0, 1, 2]))
    assert emdref.emd(counts, PLAIN, space) == emdref.emd(counts.to_numpy(), PLAIN, space)
    for labels in (["a", "b", "c"], [1, 2, 3], [2, 1, 0]):
        with pytest.raises(ValueError, match=r"p\.reindex\(.*p\.to_numpy\(\) if it has their order"):
            emdref.emd(counts.set_axis(labels), PLAIN, space)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["b", "a", "c"], "'b' stands where 'a' belongs"),
        (["a", "b"], "'c' missing; give"),
        (["a", "b", "c", "d"], "'d' unknown; give"),
        (["x", "y", "z"], "'a', 'b' and 1 more missing, 'x', 'y' and 1 more unknown"),
        (["a", "b", "b", "c"], r"there are 4 for 3; give sums of what has one label, then X\.reindex"),
        (pd.Index(["a", "b", pd.NA], dtype=object), "'c' missing, <NA> unknown"),
        (["a", "b", np.nan], "'c' missing, nan unknown"),
        ([0, 1, 2.0], "'a', 'b' and 1 more missing, 0.0, 1.0 and 1 more unknown"),
    ],
)
def test_columns(columns, message):
    table = pd.DataFrame(np.ones((2, len(columns))), columns=columns)
    with pytest.raises(ValueError, match=f"the labels of X.columns are not space.bin_labels: .*{message}"):
        emdref.pairwise(table, TREE)
    with pytest.raises(ValueError, match=r"the labels of p\.columns"):
        emdref.emd(table, np.ones((2, 3)), TREE)
    with pytest.raises(ValueError, match=r"the labels of Y\.columns"):
        emdref.pairwise(np.ones((2, 3)), TREE, Y=table)


@pytest.mark.parametrize(
    ("columns", "way"),
    [([1, 2, 3], "int, such as 1, and those are str, such as '1'; give map(str, X.columns)"), ([b"1"], "x.decode()")],
)
def test_labels_of_another_type_are_not_reindexed_to_zeros(columns, way):
    tree, table = emdref.Tree.from_newick("(1,2,3);"), pd.DataFrame(np.ones((2, len(columns))), columns=columns)
    with pytest.raises(ValueError, match=r"^the labels of X\.columns are not space\.bin_labels: ") as caught:
        emdref.pairwise(table, tree)
    assert way in str(caught.value) and "reindex" not in str(caught.value)
    table.columns = pd.Index([f"{k}" for k in (1, 2, 3)][: len(columns)])
    assert emdref.pairwise(table, tree.restrict(table.columns)).tolist() == [[0, 0], [0, 0]]


def test_a_tree_of_more_bins_than_a_table_has_may_be_cut():
    table = pd.DataFrame(np.ones((2, 2)), columns=["c", "a"])
    with pytest.raises(ValueError, match=r"missing; give .*, or space\.restrict\(X\.columns\)$") as caught:
        emdref.pairwise(table, TREE)
    assert len(str(caught.value)) <= 300
    assert emdref.pairwise(table, TREE.restrict(table.columns)).tolist() == [[0, 0], [0, 0]]
    for labels, space in ((["c", "x"], TREE), ([1, 2], CHAIN)):
        with pytest.raises(ValueError, match=r"if it has their order$"):
            emdref.pairwise(table.set_axis(labels, axis=1), space)


@pytest.mark.parametrize("dtype", ["Int64", "UInt8", "Float64", "Float32"])
def test_numbers_of_pandas_own_types(dtype):
    """NumPy takes a table of them for objects."""
    table = pd.DataFrame([[1, 2, 3], [3, 1, 2]], columns=list("abc"), dtype=dtype)
    plain = table.to_numpy(np.float32 if dtype == "Float32" else float)
    for function in (emdref.pairwise, emdref.barycenter, emdref.unifrac):
        got, expected = function(table, TREE), function(plain, TREE)
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == plain.dtype
    table.iloc[1, 2] = pd.NA
    with pytest.raises(ValueError, match=r"X\[1, 2\] = nan: a histogram holds finite mass"):
        emdref.pairwise(table, TREE)


def test_integers_of_pandas_that_float64_would_round():
    with pytest.raises(TypeError, match=r"X holds an integer of 2\*\*53 or more"):
        emdref.pairwise(pd.DataFrame([[2**53, 0, 1]], columns=list("abc"), dtype="Int64"), TREE)


def test_the_way_out_works():
    table = pd.DataFrame([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]], ["site 1", "site 2"], ["c", "a", "b"])
    ordered = table.reindex(columns=TREE.bin_labels, fill_value=0)
    expected = emdref.pairwise(table.to_numpy()[:, [1, 2, 0]], TREE)
    np.testing.assert_array_equal(emdref.pairwise(ordered, TREE), expected)
    row = ordered.loc["site 2"]
    assert emdref.emd(row, ordered.loc["site 1"], TREE) == expected[0, 1]


def test_names_that_are_not_unique_are_not_reindexed():
    twins = emdref.Chain(positions=[1, 1, 2])
    assert emdref.emd(pd.Series(PLAIN, [1, 1, 2]), PLAIN, twins) == 0
    with pytest.raises(ValueError, match=r"give p\.to_numpy\(\) if"):
        emdref.emd(pd.Series(PLAIN[:2], [1, 2]), PLAIN, twins)


@pytest.mark.parametrize(
    ("first", "second", "call"),
    [
        *[("p", "q", f) for f in (losses.mse, losses.kl, losses.cross_entropy)],
        ("x", "g", normalize.l1.vjp),
        ("p", "q", lambda p, q: emdref.sinkhorn(p, q, COST.to_numpy(), 1.0).value),
        ("p", "q", lambda p, q: emdref.certify_sinkhorn(p, q, COST.to_numpy(), 1.0).lower),
    ],
)
def test_without_a_space_labels_must_be_the_same(first, second, call):
    with pytest.raises(
        ValueError, match=rf"the labels of {second}\.index are not {first}\.index: 5 stands where 1 bel"
    ):
        call(P, Q)
    expected = call(P.to_numpy(), PLAIN)
    for p, q in ((P, PLAIN), (P, pd.Series(PLAIN, P.index)), (P, pd.Series(PLAIN)), (P.to_numpy(), pd.Series(PLAIN))):
        assert same(call(p, q), expected)


def test_a_cost_matrix_has_names_too():
    p, q = (x.reindex(COST.columns) for x in (P, Q))
    expected = emdref.sinkhorn(p.to_numpy(), q.to_numpy(), COST.to_numpy(), 1.0).value
    assert emdref.sinkhorn(p, q, COST, 1.0).value == expected
    assert emdref.sinkhorn(p.to_numpy(), q.to_numpy(), COST, 1.0).value == expected
    with pytest.raises(ValueError, match=r"the labels of p\.index are not cost\.columns"):
        emdref.sinkhorn(P, q, COST, 1.0)
    with pytest.raises(ValueError, match=r"cost's index is not its columns: give cost\.loc\[names, names\]"):
        emdref.sinkhorn(p, q, COST.loc[[2, 1, 5]], 1.0)


@pytest.mark.parametrize("named", ["index", "columns"])
def test_either_axis_of_a_cost_matrix_has_the_names(named):
    cost = pd.DataFrame(COST.to_numpy(), **{named: [1, 2, 5]})
    for call in (emdref.sinkhorn, emdref.certify_sinkhorn):
        call(P.reindex([1, 2, 5]), PLAIN, cost, 1.0)
        with pytest.raises(ValueError, match=rf"the labels of p\.index are not cost\.{named}"):
            call(P, PLAIN, cost, 1.0)


@pytest.mark.parametrize("call", [emdref.sinkhorn, emdref.certify_sinkhorn])
def test_potentials_have_labels(call):
    zeros = pd.Series(np.zeros(3), [1, 2, 5])
    call(PLAIN, PLAIN, CHAIN, 1.0, init=(zeros, zeros))
    with pytest.raises(ValueError, match=r"the labels of init\[1\]\.index are not space\.bin_labels"):
        call(PLAIN, PLAIN, CHAIN, 1.0, init=(zeros, zeros[::-1]))


def test_directions_have_labels():
    for call in (emdref.emd_hvp, exact.hvp):
        with pytest.raises(ValueError, match=r"the labels of v\.index"):
            call(PLAIN, PLAIN, CHAIN, P)
        call(PLAIN, PLAIN, CHAIN, P.reindex(CHAIN.bin_labels))


def test_sparse_rows_beside_labels():
    sparse = pytest.importorskip("scipy.sparse").csr_array([PLAIN])
    with pytest.raises(ValueError, match=r"the labels of q\.index"):
        emdref.emd(sparse, Q, CHAIN)


@pytest.mark.parametrize("space", [CHAIN, emdref.Chain(3), TREE], ids=["positions", "numbers", "tree"])
def test_names_are_kept(space):
    for other in (pickle.loads(pickle.dumps(space)), copy.deepcopy(space)):
        np.testing.assert_array_equal(other.bin_labels, space.bin_labels)
    with pytest.raises(ValueError, match="read-only"):
        space.bin_labels[0] = 7
    expected = {"Chain": [0, 1, 2], "Tree": ["a", "b", "c"]}[type(space).__name__]
    assert space.bin_labels.tolist() == ([1, 2, 5] if space is CHAIN else expected)


def test_the_positions_are_the_callers_no_longer():
    positions = np.array([1.0, 2.0, 5.0])
    space = emdref.Chain(positions=positions)
    positions[0] = 0
    assert space.bin_labels[0] == 1
