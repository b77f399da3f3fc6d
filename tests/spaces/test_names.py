"""Bins by their names: columns put in the order of bins, subtrees that bins span, bins by label."""

import itertools
import re
from fractions import Fraction
from functools import partial

import networkx
import numpy as np
import pandas as pd
import pytest

import cases
import emdref
from cases import refused

TREE = emdref.Tree.from_newick("(((a:1,b:2):0.5,c:3)inner:1,d:1)root;")
CHAIN = emdref.Chain(positions=[0, 1, 4.5, 9])
CIRCLE = emdref.Circle(positions=[0, 1, 4.5, 9], period=12)
MANY = emdref.Tree([-1] + 40 * [0], labels=["hub", *(f"b{k}" for k in range(40))])


# --- align ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        list,
        tuple,
        iter,
        np.array,
        pd.Index,
        pd.Series,
        dict.fromkeys,
        lambda x: np.array(x, object),
        pd.CategoricalIndex,
        lambda x: pd.array(x, dtype="string"),
    ],
)
def test_align_puts_columns_in_the_order_of_the_bins(kind):
    names = ["d", "b", "a", "c"]
    order = TREE.align(kind(names))
    assert order.dtype == np.int64 and [names[k] for k in order] == list(TREE.bin_labels)


def test_aligned_columns_are_the_table_reindexed():
    table = pd.DataFrame(np.arange(8.0).reshape(2, 4), columns=["d", "b", "a", "c"])
    expected = table.reindex(columns=TREE.bin_labels).to_numpy()
    np.testing.assert_array_equal(table.to_numpy()[:, TREE.align(table.columns)], expected)


@pytest.mark.parametrize("space", [CHAIN, CIRCLE, CHAIN.to_tree(), cases.space("inner_bins")], ids=repr)
def test_align_by_positions_and_by_numbers_of_nodes(space):
    order = np.random.default_rng(3).permutation(space.n_bins)
    np.testing.assert_array_equal(order[space.align(space.bin_labels[order])], np.arange(space.n_bins))


def test_align_of_a_space_of_ones_own():
    class Pair(emdref.Space):
        n_bins = 2
        edges = emdref.Edges(np.array([0]), np.array([1]), np.array([3.0]))

    class Named(Pair):
        bin_labels = ("left", (1, 2))

    assert Named().align([(1, 2), "left"]).tolist() == [1, 0]
    refused(lambda: Pair().align([0, 1]), ValueError, "Pair(2 bins) names no bins: define bin_labels")
    refused(lambda: Named().align(["left"]), ValueError, "1 missing ((1, 2)): add columns of zeros")


FAULTS = [
    (["a", "b", "c", "d", "e"], ["1 unknown ('e'): drop what is unknown"]),
    (["a", "b", "c"], ["1 missing ('d'): cut the space with restrict(names), or add columns of zeros"]),
    (["a", "b", "c", "d", "a", "a", "b"], ["2 given twice ('a', 'b'): sum or drop"]),
    (["a", "x", "x", "b"], ["1 unknown ('x'), 2 missing ('c', 'd'), 1 given twice ('x'): drop"]),
    (["a", "b", "c", "d", "inner"], ["1 unknown ('inner')", "give the tree a bin at node 'inner' too"]),
    (["a", "b", "c", "d", 7, None], ["2 unknown (7, None)"]),
    (["a", "b", "c", float("nan")], ["1 unknown (nan), 1 missing ('d')"]),
    (["a", "b", "c", pd.NA], ["1 unknown (<NA>), 1 missing ('d')"]),
    ([b"a", b"b", b"c", b"d"], ["names holds bytes", "named by str", "[x.decode() for x in names]"]),
    ([], ["names is empty"]),
]


@pytest.mark.parametrize(("names", "words"), FAULTS, ids=repr)
def test_names_that_do_not_fit_are_listed(names, words):
    refused(lambda: TREE.align(names), ValueError, *words)


def test_the_first_ten_are_listed_and_all_are_counted():
    few = [f"b{k}" for k in range(28, 40)]
    refused(lambda: MANY.align(few), ValueError, "28 missing ('b0', 'b1',", "'b8', 'b9', ...)")
    strange = [f"x{k}" for k in range(11)]
    refused(lambda: MANY.align(few + strange), ValueError, "11 unknown ('x0',", "'x9', ...), 28 missing ('b0',")
    long = [f"{k:04} {100 * 'long'}" for k in range(12)]
    refused(
        lambda: MANY.align([*long, *long, *few]), ValueError, "12 unknown ('0000", "28 missing (", "12 given twice ("
    )


def test_a_message_of_everything_at_once_is_short():
    long = [f"{{{k}}} {100 * 'long'}" for k in range(30_000)]
    tree = emdref.Tree([-1] + 29_999 * [0], bins=np.arange(1, 20_000), labels=long)
    refused(
        lambda: tree.align(2 * long[15_000:]), ValueError, "10000 unknown (", "14999 missing (", "15000 given twice ("
    )


def test_no_message_is_longer_than_300():
    """Lists that use the room up to the last character, whatever names are long."""
    tree = emdref.Tree([-1] + 6 * [0], labels=["", *(f"bin {k}" * (1 + 7 * (k % 2)) for k in range(6))])
    for strange, twice, width in itertools.product(range(1, 12), range(6), (1, 5, 7, 9, 30)):
        names = [f"{k:0{width}}" for k in range(strange)]
        names += 2 * names[:twice] + tree.bin_labels[:4].tolist()
        refused(partial(tree.align, names), ValueError, f"{strange} unknown (", "2 missing (")


@pytest.mark.parametrize(
    ("labels", "names", "way"),
    [
        ("12", [1, 2], "names holds int, such as 1, and the bins are named by str, such as '1': give map(str, names)"),
        ("12", np.int64([2, 1]), "map(str, names)"),
        ("12", [1.0, 2.0], "give [str(int(x)) for x in names]"),
        ("12", ["1", 2], "names holds int, such as 2"),
        ([1, 2], ["1", "2"], "names holds str, such as '1', and the bins are named by int, such as 1: give map(int, "),
        ([0.5, 2], ["0.5", "2.0"], "map(float, names)"),
        ([(1, 2), (2, 3)], ["(1, 2)", "(2, 3)"], "2 unknown ('(1, 2)', '(2, 3)'), 2 missing ((1, 2), (2, 3))"),
    ],
)
@pytest.mark.parametrize("function", ["align", "restrict"])
def test_names_of_another_type_are_told_as_such(labels, names, way, function):
    tree = emdref.Tree([2, 2, -1], labels=[*labels, "root"])
    refused(lambda: getattr(tree, function)(names), ValueError, way.partition(", 2 missing")[0])


def test_truth_values_are_no_numbers():
    """Python has True == 1, so that a mask would be taken for names."""
    chain, mask = emdref.Chain(positions=[0, 1]), np.array([True, False])
    refused(lambda: chain.restrict(mask[:1]), ValueError, "1 unknown (True): a mask", "give bin_labels[mask]")
    refused(lambda: chain.align(mask), ValueError, "2 unknown (True, False): a mask")
    truths = emdref.Tree([-1, 0, 0], labels=["", True, False])
    assert truths.align(mask[::-1]).tolist() == [1, 0]
    refused(lambda: truths.restrict([1]), ValueError, "1 unknown (1): drop")


def test_names_in_arrays_of_numpy():
    days, text = np.array(["2020-01-01", "2020-01-02"], "M8[ns]"), np.array(["root", "1", "2"])
    assert emdref.Tree([-1, 0, 0], labels=["", *days]).align(days[::-1]).tolist() == [1, 0]
    tree = emdref.Tree([-1, 0, 0], labels=text)
    assert repr(tree) == "Tree(2 bins, 3 nodes, costs 1, labels '1', '2')"
    refused(lambda: tree.align(["1", "x"]), ValueError, "1 unknown ('x'), 1 missing ('2')")
    refused(lambda: tree.align([1, 2]), ValueError, "such as '1': give map(str, names)")


def test_bins_that_share_a_name_are_refused():
    tree = emdref.Tree.from_newick("((a,b),(a,),);")
    refused(lambda: tree.align(["a", "b", "a", "", ""]), ValueError, "bins 0 and 2 have one name, 'a'", "labels that")
    refused(lambda: tree.restrict(["b", "a"]), ValueError, "bins 0 and 2 have one name, 'a'")
    refused(lambda: tree.restrict([""]), ValueError, "bins 3 and 4 have one name, ''")
    assert tree.restrict(["b"]).n_bins == 1
    ties = emdref.Chain(positions=[0, 1, 1])
    refused(lambda: ties.align([0, 1, 1]), ValueError, "bins 1 and 2 have one name, 1.0")


@pytest.mark.parametrize("function", ["align", "restrict"])
@pytest.mark.parametrize("space", [TREE, CHAIN, CIRCLE], ids=repr)
def test_what_is_no_list_of_names(space, function):
    call = getattr(space, function)
    refused(lambda: call("abcd"), TypeError, "names is 'abcd', one name: give a list")
    refused(lambda: call({"a", "b"}), TypeError, "names is a set, which has no order")
    refused(lambda: call(None), TypeError, "names=None must be a sequence")
    refused(lambda: call(np.float64(3)), TypeError, "names=")
    refused(lambda: call([["a"], ["b"]]), TypeError, "names[0] = ['a'] is not hashable")
    refused(lambda: call([]), ValueError, "names is empty")


@pytest.mark.parametrize("space", [emdref.Chain(3), emdref.Chain(gaps=[1, 2]), emdref.Circle(3)], ids=repr)
def test_bins_without_positions_have_no_names(space):
    way = f"has no names: give the bins positions, {type(space).__name__}(positions=names)"
    for call in (space.align, space.restrict):
        refused(lambda call=call: call([0, 1, 2]), ValueError, way)


# --- restrict ---------------------------------------------------------------------------------------------------------


def ways_up(tree):
    """Of each bin: its node, those above it up to the root, by label, and the exact distance to each."""
    ways = []
    for v in tree.bins.tolist():
        way, far = {}, Fraction(0)
        while v >= 0:
            way[tree.labels[v]] = far
            far, v = far + Fraction(tree.cost[v]), tree.parent[v]
        ways.append(way)
    return ways


def exact_distances(tree):
    """Between bins, and from each to the root, in rationals."""
    ways = ways_up(tree)
    between = [[min(far + b[v] for v, far in a.items() if v in b) for b in ways] for a in ways]
    return between, [max(way.values()) for way in ways]


@pytest.mark.parametrize("name", [name for name in cases.SPACES if name not in ("chain", "wordnet")])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_restricted_tree_keeps_all_distances(name, share):
    """Each edge of the new tree is a sum rounded once, by half an ulp, so each distance is within eps/2 of before."""
    tree, rng = cases.space(name), np.random.default_rng(7)
    some = rng.permutation(tree.n_bins)[: max(1, int(share * tree.n_bins))]
    got = tree.restrict(tree.bin_labels[some])
    assert list(got.bin_labels) == list(tree.bin_labels[some])
    (before, above), (after, up) = exact_distances(tree), exact_distances(got)
    half = Fraction(1, 2**53)
    for i, a in enumerate(some):
        assert abs(up[i] - above[a]) <= half * above[a]
        assert all(abs(after[i][j] - before[a][b]) <= half * before[a][b] for j, b in enumerate(some))
    assert got.labels[got.root] == tree.labels[tree.root]
    assert set(got.labels) <= set(tree.labels)
    order = [list(tree.labels).index(x) for x in got.labels]
    assert order == sorted(order)
    children = np.bincount(got.parent[got.parent >= 0], minlength=got.n_nodes)
    unary = set(np.flatnonzero(children < 2).tolist())
    assert unary <= {*got.bins.tolist(), got.root}


def test_restrict_sums_once():
    """Ten tenths, and a cost that would swallow what is added to it one by one."""
    costs = [0, *10 * [0.1], 2.0**53, 1.0, 1.0]
    tree = emdref.Tree([-1, *range(10), 0, 11, 12], costs)
    assert tree.restrict([13, 10]).cost.tolist() == [0, 1.0, 2.0**53 + 2]


def test_restrict_of_inner_bins_and_of_the_root():
    tree = emdref.Tree([-1, 0, 1, 2, 2], [0, 1, 2, 4, 8], bins=[4, 0, 2, 1])
    got = tree.restrict([2, 4])
    assert (got.parent.tolist(), got.cost.tolist(), got.bins.tolist()) == ([-1, 0, 1], [0, 3, 8], [1, 2])
    assert list(got.labels) == [0, 2, 4]
    alone = tree.restrict([0])
    assert (alone.n_nodes, alone.n_bins) == (1, 1)
    assert emdref.emd([1.0, 0], [0, 1.0], tree.restrict([4, 0])) == 11


def test_restrict_of_everything_contracts_what_is_unary_alone():
    got = emdref.Tree([-1, 0, 1, 2, 2], [0, 1, 2, 4, 8]).restrict([3, 4])
    assert list(got.labels) == [0, 2, 3, 4] and got.cost.tolist() == [0, 3, 4, 8]


def test_sums_beyond_the_range_are_refused():
    tree = emdref.Tree([-1, 0, 1], [0, 1e308, 1e308])
    refused(lambda: tree.restrict([2]), ValueError, "a sum beyond float64", "scale the costs")


def test_restrict_of_a_deep_tree():
    tree = emdref.Chain(100_000).to_tree()
    got = tree.restrict([99_998, 5])
    assert got.cost.tolist() == [99_993, 1, 0] and got.bins.tolist() == [1, 0]


def test_restricted_values_are_those_of_the_whole():
    """Costs are multiples of 1/8, so that every sum is exact."""
    tree, names = emdref.Tree.from_newick("(((a:1,b:.5):.25,c:3):1,((d:2,e:.125):2):.5)r;"), ["e", "a", "c"]
    p, q = np.array([0.25, 0.25, 0.5]), np.array([0.5, 0.25, 0.25])
    whole = np.zeros((2, 5))
    whole[:, [list(tree.bin_labels).index(x) for x in names]] = p, q
    for rho in (1, 2):
        assert emdref.emd(p, q, tree.restrict(names), rho) == emdref.emd(*whole, tree, rho)


@pytest.mark.parametrize("space", [CHAIN, CIRCLE], ids=repr)
def test_restricted_rows_and_rings_keep_all_distances(space):
    got = space.restrict([1, 9.0])
    assert type(got) is type(space) and got.bin_labels.tolist() == [1, 9]
    np.testing.assert_array_equal(got.distance_matrix(), space.distance_matrix()[[1, 3]][:, [1, 3]])
    refused(
        lambda: space.restrict([0, 9, 4.5]), ValueError, "names[2] = 4.5 comes after 9.0", "in the order of the bins"
    )
    refused(lambda: space.restrict([0, 0]), ValueError, "1 given twice (0): give each name once")
    refused(lambda: space.restrict([0, 2]), ValueError, "1 unknown (2)")


def test_a_restricted_ring_keeps_its_period():
    assert CIRCLE.restrict([1, 4.5]).gaps.tolist() == [3.5, 8.5]
    assert CIRCLE.restrict([4.5]).gaps.tolist() == [12]
    assert emdref.Circle(positions=[0, 1, 3]).restrict([0, 3]).gaps.tolist() == [3, 2 * np.pi - 3]


# --- bins by label ----------------------------------------------------------------------------------------------------

EDGES = [("cat", "pet", 1.0), ("dog", "pet", 2.0), ("pet", "thing", 4.0)]
GRAPH = networkx.DiGraph()
GRAPH.add_weighted_edges_from([(b, a, c) for a, b, c in EDGES], weight="cost")


@pytest.mark.parametrize(
    "made",
    [
        lambda **bins: emdref.Tree.from_edges(EDGES, **bins),
        lambda **bins: emdref.Tree.from_networkx(GRAPH, "thing", **bins),
    ],
    ids=["edges", "networkx"],
)
def test_bins_by_label(made):
    assert set(made().bin_labels) == set(made(bins=None).bin_labels) == {"cat", "dog"}
    assert list(made(bins=["thing", "cat"]).bin_labels) == ["thing", "cat"]
    assert made(bins=np.array(["thing", "cat"])).distance_matrix()[0, 1] == 5
    tree = made(bins="all")
    assert list(tree.bin_labels) == list(tree.labels) and tree.n_bins == 4
    refused(lambda: made(bins="cat"), TypeError, "bins = 'cat' is one str", '"all" for all nodes')
    refused(lambda: made(bins=["all"]), ValueError, "bins: 1 unknown ('all')")
    refused(lambda: made(bins=["cat", "cat"]), ValueError, "1 given twice ('cat')", "at most one bin")
    refused(lambda: made(bins=[0, 1]), ValueError, "2 unknown (0, 1)")
    refused(lambda: made(bins=[]), ValueError, "bins is empty")
    refused(lambda: made(bins=3), TypeError, "bins=3 must be a sequence")


def test_a_node_named_all_is_one_node():
    assert list(emdref.Tree.from_edges([("all", "root"), ("b", "root")], bins=["all"]).bin_labels) == ["all"]


def test_numbers_as_ids_are_not_text():
    refused(
        lambda: emdref.Tree.from_edges([(1, 0), (2, 0)], bins=["1"]), ValueError, "bins holds str", "map(int, bins)"
    )


def test_a_second_parent_is_refused_with_the_way_out():
    edges = [("cat", "pet"), ("cat", "hunter")]
    message = re.escape("node 'cat' has a second parent 'hunter', and the first is 'pet'") + ".*keep one edge"
    with pytest.raises(ValueError, match=message):
        emdref.Tree.from_edges(edges)
    long = [(99 * "a", 99 * letter) for letter in "bc"]
    refused(lambda: emdref.Tree.from_edges(long), ValueError, "has a second parent", "as docs/howto/trees.md shows")


def test_an_edge_that_is_there_twice_is_told_as_such():
    edges = [("a", "r", 1), ("b", "r", 2), ("a", "r", 1)]
    refused(lambda: emdref.Tree.from_edges(edges), ValueError, "edges[2]: node 'a' has its parent 'r' twice: give each")
