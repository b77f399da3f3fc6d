"""Trees out of what other libraries hold: linkage matrices, points, nodes of scikit-bio."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.optimize import linprog
from scipy.spatial.distance import pdist, squareform

import emdref
from cases import refused

EPS = np.finfo(float).eps
POINTS = np.random.default_rng(3).normal(size=(60, 3))


# --- linkage matrices -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["single", "complete", "average", "weighted", "ward"])
@pytest.mark.parametrize("points", [POINTS, np.eye(20), np.round(POINTS)], ids=["any", "equidistant", "ties"])
def test_distances_are_cophenetic(method, points):
    """A way has at most 2 d edges, each of which is rounded once, and so is each sum: all within 4 d eps."""
    merges = linkage(points, method)
    tree = emdref.Tree.from_linkage(merges)
    got, expected = squareform(tree.distance_matrix()), cophenet(merges)
    np.testing.assert_allclose(got, expected, rtol=0, atol=4 * len(points) * EPS * expected.max())
    assert (tree.bins == np.arange(len(points))).all() and tree.n_nodes == 2 * len(points) - 1
    assert tree.root == tree.n_nodes - 1 and (np.bincount(tree.parent[tree.parent >= 0])[len(points) :] == 2).all()


def test_a_linkage_as_it_is_written():
    merges = [[0, 2, 1.0, 2], [1, 3, 4.0, 3]]
    tree = emdref.Tree.from_linkage(merges, "abc")
    assert tree.parent.tolist() == [3, 4, 3, 4, -1] and tree.cost.tolist() == [0.5, 2, 0.5, 1.5, 0]
    assert list(tree.labels) == ["a", "b", "c", "", ""] and tree.align(["c", "b", "a"]).tolist() == [2, 1, 0]
    assert list(emdref.Tree.from_linkage(merges).labels) == [0, 1, 2, 3, 4]
    for kind in (np.float32, np.int64):
        assert emdref.Tree.from_linkage(np.array(merges, kind)) == emdref.Tree.from_linkage(merges)


def test_a_linkage_of_any_depth():
    n = 20_000
    merges = np.column_stack(
        [np.append(0, np.arange(n, 2 * n - 2)), np.arange(1, n), np.arange(1, n), np.arange(2, n + 1)]
    )
    tree = emdref.Tree.from_linkage(merges)
    assert tree.cost[:3].tolist() == [0.5, 0.5, 1] and (tree.cost[n:-1] == 0.5).all()


@pytest.mark.parametrize("method", ["centroid", "median"])
def test_heights_that_decrease_are_refused(method):
    """Three points of an equilateral triangle: the third is nearer to the middle of two than these to each other."""
    merges = linkage([[0, 0], [1, 0], [0.5, 0.75**0.5]], method)
    lower = float(merges[0, 2] - merges[1, 2])
    message = f"Z[1] merges at height {merges[1, 2]} what Z[0] merged at {merges[0, 2]}, {lower} higher"
    refused(lambda: emdref.Tree.from_linkage(merges), ValueError, message, "centroid and median", "take average")


GOOD = np.array([[0, 1, 1.0, 2], [2, 3, 2.0, 2], [4, 5, 3.0, 4]])


def changed(i, k, value):
    merges = GOOD.copy()
    merges[i, k] = value
    return merges


@pytest.mark.parametrize(
    ("merges", "error", "words"),
    [
        (changed(1, 2, np.nan), ValueError, "Z[1, 2] = nan: a height must be finite and >= 0"),
        (changed(0, 2, -1), ValueError, "Z[0, 2] = -1.0: a height"),
        (changed(2, 2, np.inf), ValueError, "Z[2, 2] = inf: a height"),
        (changed(0, 1, 4), ValueError, "Z[0, 1] = 4.0 is no cluster that is there then: they are 0 to 3"),
        (changed(1, 0, -2), ValueError, "Z[1, 0] = -2.0 is no cluster"),
        (changed(1, 0, 0.5), ValueError, "Z[1, 0] = 0.5 is no cluster"),
        (changed(1, 0, np.nan), ValueError, "Z[1, 0] = nan is no cluster"),
        (changed(1, 0, np.inf), ValueError, "Z[1, 0] = inf is no cluster"),
        (changed(1, 0, 0), ValueError, "Z[0] and Z[1] both merge cluster 0"),
        (changed(2, 1, 4), ValueError, "Z[2] and Z[2] both merge cluster 4"),
        (changed(1, 3, 3), ValueError, "Z[1, 3] = 3, but clusters 2 and 3 have 2 observations"),
        (changed(1, 2, 4.0), ValueError, "Z[2] merges at height 3.0 what Z[1] merged at 4.0, 1.0 higher"),
        (GOOD[:, :3], ValueError, "Z has shape (3, 3): a linkage of n observations has n-1 rows of 4 numbers"),
        (GOOD[:0], ValueError, "Z has shape (0, 4)"),
        (GOOD[0], ValueError, "Z must have two axes, rows and columns, not the shape (4,)"),
        (GOOD.astype(str), TypeError, "Z must hold real numbers"),
        (GOOD.astype(complex), TypeError, "Z must hold real numbers"),
        (None, TypeError, "Z must hold real numbers"),
    ],
)
def test_what_is_no_linkage_is_refused(merges, error, words):
    if merges is None:
        merges = np.array([[None] * 4])
    refused(lambda: emdref.Tree.from_linkage(merges), error, words)


def test_labels_of_observations_are_counted():
    refused(lambda: emdref.Tree.from_linkage(GOOD, ["a", "b"]), ValueError, "labels has 2 entries for 4 observations")
    refused(lambda: emdref.Tree.from_linkage(GOOD, 3), TypeError, "labels=3 must be a sequence")
    refused(lambda: emdref.Tree.from_linkage(GOOD, [[], 1, 2, 3]), TypeError, "labels[0] = []")


# --- points -----------------------------------------------------------------------------------------------------------


def euclidean_emd(p, q, distances):
    """The linear program over all plans."""
    n = len(p)
    rows = np.kron(np.eye(n), np.ones(n))
    columns = np.kron(np.ones(n), np.eye(n))
    return linprog(distances.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([p, q])).fun


def test_a_tree_over_points_is_right_in_the_mean_or_on_one_side():
    few, distances = POINTS[:12], pdist(POINTS[:12])
    p, q = np.random.default_rng(5).dirichlet(np.ones(12), 2)
    exact = euclidean_emd(p, q, squareform(distances))
    slack = 100 * EPS
    trees = {method: emdref.Tree.from_points(few, method) for method in ("average", "single", "complete", "weighted")}
    on_tree = {method: squareform(tree.distance_matrix()) for method, tree in trees.items()}
    np.testing.assert_allclose(on_tree["average"].mean(), distances.mean(), rtol=slack)
    assert (on_tree["single"] <= distances * (1 + slack)).all()
    assert (on_tree["complete"] >= distances * (1 - slack)).all()
    values = {method: emdref.emd(p, q, tree, mass="normalize") for method, tree in trees.items()}
    assert values["single"] <= exact * (1 + 1e-9) and values["complete"] >= exact * (1 - 1e-9)  # HiGHS: 1e-9 or better
    for method, tree in trees.items():
        np.testing.assert_allclose(on_tree[method], cophenet(linkage(few, method)), rtol=slack)
        assert tree == emdref.Tree.from_points(few.tolist(), method=method)
    assert len({tuple(x) for x in on_tree.values()}) == 4


@pytest.mark.parametrize("unit", [2.0**-600, 1.0, 2.0**600])
def test_points_of_any_unit(unit):
    """A power of two, so that nothing is rounded; squares alone would leave the range."""
    tree = emdref.Tree.from_points(POINTS * unit)
    np.testing.assert_array_equal(tree.cost, emdref.Tree.from_points(POINTS).cost * unit)


def test_one_point_equal_points_and_names():
    assert emdref.Tree.from_points([[1.0, 2.0]], labels=["only"]).n_bins == 1
    assert emdref.Tree.from_points(np.zeros((3, 2))).diameter == 0
    tree = emdref.Tree.from_points(np.float32([[0], [3], [1]]), labels=["a", "b", "c"])
    assert list(tree.bin_labels) == ["a", "b", "c"] and tree.distance_matrix()[0].tolist() == [0, 2.5, 1]


@pytest.mark.parametrize(
    ("points", "options", "error", "words"),
    [
        ([[1.0], [np.nan]], {}, ValueError, "X[1, 0] = nan is not finite"),
        ([1.0, 2.0], {}, ValueError, "X must have two axes"),
        (np.zeros((0, 3)), {}, ValueError, "X has shape (0, 3): give at least one point"),
        (np.zeros((3, 0)), {}, ValueError, "X has shape (3, 0)"),
        ([["a"], ["b"]], {}, TypeError, "X must hold real numbers"),
        ([[1.0], [2.0]], {"method": "centroid"}, ValueError, "method='centroid' is not one of average, single"),
        ([[1.0], [2.0]], {"method": None}, ValueError, "method=None is not one of"),
        ([[1.0], [2.0]], {"labels": ["a"]}, ValueError, "labels has 1 entries for 2 observations"),
        ([[-1.7e308], [1.7e308]], {}, ValueError, "X has points whose distance is beyond float64"),
    ],
)
def test_what_are_no_points_is_refused(points, options, error, words):
    refused(lambda: emdref.Tree.from_points(points, **options), error, words)


# --- scikit-bio -------------------------------------------------------------------------------------------------------


def node(name=None, length=None, *children):
    """What emdref asks of skbio.TreeNode."""
    return SimpleNamespace(name=name, length=length, children=list(children))


def test_a_tree_of_scikit_bio_is_that_of_its_newick():
    root = node("r", 9.0, node("x", 0.5, node("a", 1), node("b", np.float64(2))), node(None, 3.25, node("c", 0.0)))
    assert emdref.Tree.from_skbio(root) == emdref.Tree.from_newick("((a:1,b:2)x:0.5,(c:0):3.25)r;")
    assert list(emdref.Tree.from_skbio(root, bins=["r", "b"]).bin_labels) == ["r", "b"]


def test_lengths_of_scikit_bio_that_are_missing():
    assert emdref.Tree.from_skbio(node("r", 2.0, node("a"), node("b"))).cost.tolist() == [0, 1, 1]
    with pytest.warns(
        UserWarning, match=re.escape("2 of 3 branches have no length and cost 0, the first is that of")
    ) as w:
        tree = emdref.Tree.from_skbio(node("r", None, node("a", 2.0), node("b"), node("c")))
    assert tree.cost.tolist() == [0, 2, 0, 0] and w[0].filename == __file__


def test_negative_lengths_of_scikit_bio():
    root = node("r", -7.0, node("a", -0.25), node("b", 1.0))
    refused(lambda: emdref.Tree.from_skbio(root), ValueError, "node 1 ('a') is -0.25, not finite", 'negative="zero"')
    with pytest.warns(UserWarning, match="1 cost is negative and counts as 0, the most negative is -0.25 of node 1"):
        assert emdref.Tree.from_skbio(root, negative="zero").cost.tolist() == [0, 0, 1]
    refused(
        lambda: emdref.Tree.from_skbio(root, negative="abs"), ValueError, "negative='abs' is not one of raise, zero"
    )


def test_a_tree_of_scikit_bio_of_any_depth():
    root = tip = node("root", None)
    for _ in range(20_000):
        tip.children.append(node("", 0.5))
        tip = tip.children[0]
    tip.children.append(node("tip", 1.0))
    tree = emdref.Tree.from_skbio(root)
    assert tree.n_nodes == 20_002 and list(tree.bin_labels) == ["tip"] and tree.cost.sum() == 10_001


TWICE = node("twice", 1.0)


@pytest.mark.parametrize(
    ("root", "error", "words"),
    [
        ("((a,b));", TypeError, "node must be a scikit-bio TreeNode, not str, which has no children"),
        (node("r", None, "a"), TypeError, "node 1, a child of node 0 ('r'), must be a scikit-bio TreeNode, not str"),
        (node("r", None, node("a", "1")), TypeError, "the length of node 1 ('a') = '1': a cost must be a real number"),
        (node("r", None, node("a", np.nan)), ValueError, "the length of node 1 ('a') is nan, not finite and >= 0"),
        (node("r", None, TWICE, TWICE), ValueError, "node 'twice' is there twice"),
        (node("r", None, node(["a"], 1.0)), TypeError, "labels[1] = ['a'] is not hashable"),
    ],
)
def test_what_is_no_tree_of_scikit_bio_is_refused(root, error, words):
    refused(lambda: emdref.Tree.from_skbio(root), error, words)


def test_a_node_below_itself_is_refused():
    root = node("r", None)
    root.children.append(root)
    refused(lambda: emdref.Tree.from_skbio(root), ValueError, "node 'r' is there twice, below itself")
