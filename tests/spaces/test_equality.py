"""When two spaces are equal, and how they are shown."""

import copy
import gc
import pickle
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest

import emdref
from emdref.spaces.space import Kept

PARENT, LABELS = [-1, 0, 0, 1, 1], ["r", "x", "c", "a", "b"]
SAME = {  # each line makes equal spaces
    "chain": [emdref.Chain(3), emdref.Chain(gaps=[1, 1]), emdref.Chain(gaps=np.float32([1, 1]))],
    "positions": [emdref.Chain(positions=[0, 1, 2]), emdref.Chain(positions=[-0.0, 1.0, 2])],
    "gaps": [emdref.Chain(gaps=[1, 2]), emdref.Chain(gaps=(1.0, 2.0))],
    "one bin": [emdref.Chain(1), emdref.Chain(gaps=[])],
    "circle": [emdref.Circle(3), emdref.Circle(gaps=[1, 1, 1])],
    "hues": [emdref.Circle(positions=[0, 1, 2], period=3), emdref.Circle(positions=(0, 1, 2), period=3.0)],
    "hours": [emdref.Circle(positions=[0, 1, 2], period=4)],
    "tree": [emdref.Tree(PARENT), emdref.Tree([0, 0, 0, 1, 1], [np.nan, 1, 1, 1, 1], bins=[2, 3, 4])],
    "labels": [emdref.Tree(PARENT, labels=LABELS), emdref.Tree(np.array(PARENT), labels=np.array(LABELS))],
    "cost": [emdref.Tree(PARENT, [0, 1, 1, 1, 2])],
    "bins": [emdref.Tree(PARENT, bins=[2, 4, 3]), emdref.Tree(PARENT, bins=(2, 4, 3))],
    "text": [emdref.Tree(PARENT, labels=list("01234"))],
}
LABELLED = emdref.Tree.from_newick("((a:1,b:2)x:0.5,c:3)r;")


def test_spaces_of_equal_content_are_equal():
    for spaces in SAME.values():
        for a, b in product(spaces, spaces):
            assert a == b and hash(a) == hash(b) and len({a, b}) == 1
            assert not (a != b)  # noqa: SIM202 - which Python derives from ==


def test_hashes_follow_costs():
    assert len({hash(emdref.Tree([-1, 0, 0], [0, 1, c])) for c in range(100)}) > 90


def test_spaces_of_unlike_content_are_not():
    for a, b in combinations([spaces[0] for spaces in SAME.values()], 2):
        assert a != b and len({a, b}) == 2, (a, b)
    assert emdref.Chain(2) != emdref.Chain(gaps=[1]).to_tree()
    assert emdref.Chain(3) != "Chain(3 bins)" and emdref.Chain(3) != None  # noqa: E711
    assert emdref.Tree([-1, 0], labels=[pd.NA, 1]) != emdref.Tree([-1, 0], labels=[2, 1])


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda space: pickle.loads(pickle.dumps(space))])
def test_copies_and_pickles_are_equal(again):
    for space in [x for spaces in SAME.values() for x in spaces]:
        hash(space)
        other = again(space)
        assert other == space and hash(other) == hash(space) and {space: 1}[other] == 1


def test_a_space_of_ones_own_is_equal_to_itself_alone():
    class Pair(emdref.Space):
        n_bins = 2
        edges = emdref.Edges(np.array([0]), np.array([1]), np.array([3.0]))

    space = Pair()
    assert space == space and space != Pair() and {space: 1}[space] == 1


def test_what_is_kept_for_a_space_is_for_that_very_one():
    """The arrays of two equal spaces may differ in length, and one may outlive the other."""
    kept, first, second = Kept(), emdref.Chain(3), emdref.Chain(gaps=[1, 1])
    assert first == second and len(first.repeated_gaps[0]) != len(second.repeated_gaps[0])
    a, b = kept.of(first, list), kept.of(second, list)
    assert a is not b and kept.of(first, list) is a and kept.of(second, list) is b
    del first
    gc.collect()
    assert kept.of(second, list) is b and len(kept._kept) == 1


@pytest.mark.parametrize(
    ("space", "text"),
    [
        (LABELLED, "Tree(3 bins, 5 nodes, costs 0.5 to 3, labels 'a', 'b', ...)"),
        (LABELLED.restrict(["c", "a"]), "Tree(2 bins, 3 nodes, costs 1.5 to 3, labels 'c', 'a')"),
        (emdref.Tree(PARENT), "Tree(3 bins, 5 nodes, costs 1)"),
        (emdref.Tree([-1]), "Tree(1 bins, 1 nodes)"),
        (emdref.Tree([-1], labels=["only"]), "Tree(1 bins, 1 nodes, labels 'only')"),
        (emdref.wordnet_tree(), "Tree(1000 bins, 1374 nodes, costs 1 to 7, labels 'n01440764', 'n01443537', ...)"),
        (emdref.Chain(gaps=[1, 2]), "Chain(3 bins)"),
        (emdref.Circle(4), "Circle(4 bins)"),
    ],
)
def test_repr_says_how_large_a_space_is_and_shows_names(space, text):
    assert repr(space) == text


def test_repr_of_long_names_and_costs_is_short():
    tree = emdref.Tree(
        [-1] + 99_999 * [0], np.geomspace(1.2345e-300, 9.8765e300, 10**5), labels=[(k, "x" * 999) for k in range(10**5)]
    )
    assert len(repr(tree)) <= 110
