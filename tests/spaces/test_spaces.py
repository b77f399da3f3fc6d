"""Chains and trees: every way to make one, distances against networkx, immutability, size."""

import copy
import gzip
import pickle
from pathlib import Path

import networkx
import newick
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cases
import emdref


def same(a, b):
    """Equal in all that a user can see."""
    names = ["gaps"] if isinstance(a, emdref.Chain) else ["parent", "cost", "bins", "labels"]
    return type(a) is type(b) and all(np.array_equal(getattr(a, x), getattr(b, x)) for x in names)


def as_graph(tree):
    graph = networkx.Graph()
    graph.add_nodes_from(range(tree.n_nodes))
    graph.add_weighted_edges_from(
        [(v, u, c) for v, (u, c) in enumerate(zip(tree.parent, tree.cost, strict=True)) if u >= 0], weight="cost"
    )
    return graph


def graph_distances(graph, nodes):
    lengths = dict(networkx.all_pairs_dijkstra_path_length(graph, weight="cost"))
    return [[lengths[a][b] for b in nodes] for a in nodes]


# --- chains -----------------------------------------------------------------------------------------------------------


def test_chain_of_n_bins_has_unit_gaps():
    chain = emdref.Chain(4)
    assert (chain.n_bins, chain.n_nodes, chain.diameter) == (4, 4, 3)
    assert chain.gaps.tolist() == [1, 1, 1] and chain.gaps.dtype == np.float64


@pytest.mark.parametrize("positions", [[0, 1, 4, 4], np.float32([-1, 0, 3, 3]), (2.0, 3.0, 6.0, 6.0)])
def test_gaps_are_differences_of_positions(positions):
    assert same(emdref.Chain(positions=positions), emdref.Chain(gaps=[1, 3, 0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f8"])
def test_distances_of_a_chain(dtype):
    x = np.array([0, 0.5, 2, 2, 7])
    matrix = emdref.Chain(positions=x).distance_matrix(dtype)
    assert matrix.dtype == dtype
    np.testing.assert_array_equal(matrix, abs(x[:, None] - x))


def test_a_chain_as_a_tree_has_its_last_bin_at_the_root():
    tree = emdref.Chain(gaps=[2, 5]).to_tree()
    assert (tree.parent.tolist(), tree.cost.tolist(), tree.bins.tolist()) == ([1, 2, -1], [2, 5, 0], [0, 1, 2])


# --- trees ------------------------------------------------------------------------------------------------------------


def test_defaults_are_unit_costs_leaves_and_numbers_as_labels():
    tree = emdref.Tree([1, 4, 4, 1, -1])
    assert tree.cost.tolist() == [1, 1, 1, 1, 0]
    assert tree.bins.tolist() == [0, 2, 3] and list(tree.bin_labels) == [0, 2, 3]
    assert (tree.n_bins, tree.n_nodes, tree.diameter) == (3, 5, 3)


def test_the_root_may_point_at_itself_and_its_cost_is_ignored():
    tree = emdref.Tree([1, 1, 1], [2, np.nan, 3])
    assert same(tree, emdref.Tree([1, -1, 1], [2, 0, 3]))
    assert tree.parent.tolist() == [1, -1, 1] and tree.cost.tolist() == [2, 0, 3]


def test_labels_stay_with_their_nodes():
    tree = emdref.Tree([2, 2, -1], labels=["a", ("b", 1), None], bins=[1, 0])
    assert list(tree.labels) == ["a", ("b", 1), None]
    assert list(tree.bin_labels) == [("b", 1), "a"]


@given(cases.trees())
def test_distances_of_a_tree(tree):
    """Costs are multiples of 1/16, so every sum is exact."""
    np.testing.assert_array_equal(tree.distance_matrix(), graph_distances(as_graph(tree), tree.bins))
    assert tree.diameter == tree.distance_matrix().max()


@pytest.mark.parametrize("name", [n for n in cases.SPACES if n != "chain"])
def test_distances_of_uneven_costs(name):
    """Both sum V costs along the path, in some order: V eps."""
    tree = cases.space(name)
    expected = graph_distances(as_graph(tree), tree.bins)
    np.testing.assert_allclose(tree.distance_matrix(), expected, rtol=tree.n_nodes * np.finfo(float).eps)
    assert tree.distance_matrix(np.float32).dtype == np.float32
    np.testing.assert_array_equal(tree.distance_matrix(), tree.distance_matrix().T)


def test_from_edges():
    tree = emdref.Tree.from_edges([("cat", "animal", 2), ("animal", "thing", 1.5), ("stone", "thing")])
    assert list(tree.labels) == ["cat", "animal", "thing", "stone"]
    assert list(tree.bin_labels) == ["cat", "stone"]
    assert tree.distance_matrix()[0, 1] == 4.5


@given(cases.trees(), st.data())
def test_from_edges_takes_any_order(tree, data):
    edges = [(v, u, c) for v, (u, c) in enumerate(zip(tree.parent, tree.cost, strict=True)) if u >= 0]
    got = emdref.Tree.from_edges(data.draw(st.permutations(edges)))
    at = {label: v for v, label in enumerate(got.labels)}
    where = emdref.Tree(got.parent, got.cost, bins=[at[v] for v in tree.bins])
    np.testing.assert_array_equal(where.distance_matrix(), tree.distance_matrix())


@given(cases.trees(), st.data())
def test_from_networkx_from_any_root(tree, data):
    graph = as_graph(tree)
    got = emdref.Tree.from_networkx(graph, data.draw(st.sampled_from(list(graph))))
    np.testing.assert_array_equal(got.distance_matrix(), graph_distances(graph, got.bin_labels))
    assert list(got.labels) == list(graph.nodes)


def test_from_networkx_directed_named_weight_or_none():
    graph = networkx.DiGraph([("root", "a"), ("a", "b"), ("c", "root")])
    assert emdref.Tree.from_networkx(graph, "root").distance_matrix().tolist() == [[0, 3], [3, 0]]
    networkx.set_edge_attributes(graph, 2.5, "length")
    assert emdref.Tree.from_networkx(graph, "root", weight="length").diameter == 7.5


# --- Newick -----------------------------------------------------------------------------------------------------------


def newick_node(tree, v):
    children = [newick_node(tree, u) for u in range(tree.n_nodes) if tree.parent[u] == v]
    return newick.Node(name=f"n{v}", length=str(tree.cost[v]), descendants=children)


def up(node):
    """The way from a node to the root: {node's name: distance}."""
    way, far = {}, 0.0
    while node is not None:
        way[node.unquoted_name] = far
        far, node = far + node.length, node.ancestor
    return way


@given(cases.trees())
def test_newick_as_another_parser_reads_it(tree):
    text = newick.dumps([newick_node(tree, int(np.flatnonzero(tree.parent < 0)[0]))])
    got, leaves = emdref.Tree.from_newick(text), newick.loads(text)[0].get_leaves()
    assert list(got.bin_labels) == [leaf.unquoted_name for leaf in leaves]
    ways = [up(leaf) for leaf in leaves]
    expected = [[min(a[v] + b[v] for v in a.keys() & b.keys()) for b in ways] for a in ways]
    np.testing.assert_array_equal(got.distance_matrix(), expected)


@pytest.mark.parametrize(
    ("text", "tips"),
    [
        ("(a,b);", ["a", "b"]),
        ("(b,(d,a)x,c)root;", ["b", "d", "a", "c"]),
        (" ( a :1 ,\n b:2 ) : 9 ; ", ["a", "b"]),
        ("('it''s (a) tip; yes':1,under_score:2);", ["it's (a) tip; yes", "under_score"]),
        ("(a[a comment, with (marks);]:1,[one more]b:2e-1)[&R];", ["a", "b"]),
        ("(,(,));", ["", "", ""]),
        ("((((lonely))));", ["lonely"]),
        ("one;", ["one"]),
        (";", [""]),
        ("('',é);", ["", "é"]),
    ],
)
def test_newick_tips_in_the_order_of_the_text(text, tips):
    assert list(emdref.Tree.from_newick(text).bin_labels) == tips


def test_newick_lengths():
    tree = emdref.Tree.from_newick("((a:1,b:2.5e0)ab:0,c:+.5):7;")
    assert tree.distance_matrix().tolist() == [[0, 3.5, 1.5], [3.5, 0, 3], [1.5, 3, 0]]
    assert emdref.Tree.from_newick("((a,b),c);").diameter == 3


def test_newick_lengths_that_are_missing_cost_nothing():
    with pytest.warns(UserWarning, match=r"1 of 4 branches have no length and cost 0.*node 1 \('ab'\)") as caught:
        tree = emdref.Tree.from_newick("((a:1,b:2)ab,c:3);")
    assert tree.diameter == 5
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["tree.nwk", "tree.nwk.gz"])
def test_a_str_is_text_and_a_path_is_a_file(name, tmp_path):
    text, path = "(ä:1,b:2);", tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    assert same(emdref.Tree.from_newick(path), emdref.Tree.from_newick(text))
    with pytest.raises(ValueError, match=r"source names a file, and a str is Newick text: give pathlib\.Path\("):
        emdref.Tree.from_newick(str(path))


@pytest.mark.parametrize("packed", [False, True])
def test_a_byte_order_mark_is_no_part_of_a_tree(packed, tmp_path):
    text, path = "\ufeff(ä:1,b:2);", tmp_path / "tree"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert same(emdref.Tree.from_newick(path), emdref.Tree.from_newick("(ä:1,b:2);"))
    assert same(emdref.Tree.from_newick(text), emdref.Tree.from_newick("(ä:1,b:2);"))


def test_newick_of_any_depth():
    depth = 20_000
    tree = emdref.Tree.from_newick("(" * depth + "a" + ",b)" * depth + ";")
    assert (tree.n_bins, tree.diameter) == (depth + 1, depth + 1)


# --- immutable, copied, pickled ---------------------------------------------------------------------------------------

KINDS = ["chain", "random_tree", "wordnet"]


@pytest.mark.parametrize("name", KINDS)
def test_nothing_can_be_set(name):
    space = cases.space(name)
    for attribute in ("cost", "gaps", "n_bins", "anything"):
        with pytest.raises(AttributeError, match=f"immutable.*{attribute}"):
            setattr(space, attribute, 1)
    with pytest.raises(AttributeError, match="immutable"):
        del space.n_bins


@pytest.mark.parametrize(
    ("name", "attributes"),
    [("chain", ["gaps"]), ("random_tree", ["parent", "cost", "bins", "labels", "bin_labels"])],
)
def test_arrays_are_read_only(name, attributes):
    for attribute in attributes:
        with pytest.raises(ValueError, match="read-only"):
            getattr(cases.space(name), attribute)[0] = 0


def test_the_callers_arrays_stay_the_callers():
    parent, cost, bins, labels = np.array([0, 0, 0]), np.array([5.0, 1, 2]), np.array([2, 1]), ["r", "a", "b"]
    tree = emdref.Tree(parent, cost, bins, labels)
    before = tree.distance_matrix()
    parent[:], cost[:], bins[:], labels[:] = 0, 9, 0, "xyz"
    np.testing.assert_array_equal(tree.distance_matrix(), before)
    assert list(tree.labels) == ["r", "a", "b"] and tree.bins.tolist() == [2, 1]
    gaps = np.array([1.0, 2.0])
    chain = emdref.Chain(gaps=gaps)
    gaps[:] = 0
    assert chain.gaps.tolist() == [1, 2]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda space: pickle.loads(pickle.dumps(space))])
def test_copies_and_pickles(name, again):
    space = cases.space(name)
    other = again(space)
    assert same(other, space) and repr(other) == repr(space)
    p, q = cases.histograms("flat_softmax", space.n_bins, np.float64)
    np.testing.assert_array_equal(emdref.emd_grad(p, q, other), emdref.emd_grad(p, q, space))
    with pytest.raises(AttributeError, match="immutable"):
        other.cost = 1


def test_repr_names_the_size():
    assert repr(emdref.Chain(3)) == "Chain(3 bins)"
    assert repr(emdref.wordnet_tree()).startswith("Tree(1000 bins, 1374 nodes, ")


# --- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["chain", "tree"])
def test_a_million_nodes_in_a_row(kind):
    n = 10**6
    space = emdref.Chain(n) if kind == "chain" else emdref.Tree(np.arange(n) - 1, bins=np.arange(n)[::-1])
    p, q = np.zeros((2, n))
    p[0] = q[-1] = 1
    value, grad = emdref.emd_value_and_grad(p, q, space, gauge="raw")
    assert (value, space.diameter) == (n - 1, n - 1)
    np.testing.assert_array_equal(grad, np.arange(n)[::-1])


def test_a_star_of_a_hundred_thousand_leaves():
    n = 10**5
    star = emdref.Tree(np.append(np.zeros(n, int), 0)[::-1])
    p, q = np.zeros((2, n))
    p[::2], q[1::2] = 1, 1
    assert emdref.emd(p, q, star) == n


# --- WordNet ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cost", "diameter"), [("hops", 26), ("unit", 20)])
def test_wordnet_numbers(cost, diameter):
    tree = emdref.wordnet_tree(cost)
    matrix = tree.distance_matrix()
    assert (tree.n_nodes, tree.n_bins, tree.diameter, matrix.max()) == (1374, 1000, diameter, diameter)
    assert matrix[~np.eye(1000, dtype=bool)].min() == 2
    assert (tree.bin_labels[0], tree.bin_labels[-1]) == ("n01440764", "n15075141")
    assert list(tree.bin_labels) == sorted(tree.bin_labels)
    assert tree.labels[tree.parent < 0].tolist() == ["n00001740"]


def test_wordnet_hops():
    tree = emdref.wordnet_tree()
    assert round(tree.distance_matrix().mean(), 6) == 13.118376
    hops, count = np.unique(tree.cost[tree.parent >= 0], return_counts=True)
    assert dict(zip(hops.tolist(), count.tolist(), strict=True)) == {1: 1033, 2: 250, 3: 60, 4: 23, 5: 6, 7: 1}


def test_wordnet_has_no_unary_node():
    tree = emdref.wordnet_tree()
    children = np.bincount(tree.parent[tree.parent >= 0], minlength=tree.n_nodes)
    assert set(children[tree.bins]) == {0} and 1 not in children


def test_wordnet_is_packaged():
    assert (Path(emdref.__file__).parent / "spaces" / "data" / "wordnet.tsv").is_file()


@pytest.mark.parametrize(
    "space",
    [
        emdref.Chain(positions=[0.0, 1.0, 5.0, 7.0]),
        emdref.Circle(4),
        emdref.Tree([4, 4, 5, 5, 5, -1, 4], [1, 2, 3, 4, 5, 0, 6], bins=[3, 0, 6, 1]),
    ],
    ids=lambda space: type(space).__name__,
)
def test_other_costs(space):
    """As if the space had been made with them; what is known of the first is not the second's."""
    cost = np.arange(len(space.edges.cost)) ** 2 / 8
    before = space.distance_matrix()
    other = space.with_costs(cost.tolist())
    if isinstance(space, emdref.Tree):
        cost[5] = 0
        made = emdref.Tree(space.parent, cost, bins=space.bins)
        assert other.labels.tolist() == space.labels.tolist()
    else:
        made = type(space)(gaps=cost)
    assert type(other) is type(space)
    np.testing.assert_array_equal(other.edges.cost, cost)
    np.testing.assert_array_equal(other.distance_matrix(), made.distance_matrix())
    np.testing.assert_array_equal(space.distance_matrix(), before)
    p, q = [0.5, 0.25, 0, 0.25], [0, 0.5, 0.375, 0.125]
    for rho in (1, 2, 3):
        for a, b in zip(*(emdref.emd_value_and_grad(p, q, s, rho) for s in (other, made)), strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"cost has 2 entries for"):
        space.with_costs([1, 2])
    with pytest.raises(ValueError, match=r"cost\[1\] = -1.0: a cost must be finite"):
        space.with_costs(np.where(np.arange(len(cost)) == 1, -1.0, cost))
