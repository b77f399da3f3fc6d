"""Captions and keys of spaces: against networkx, and against bytes written down."""

import doctest
import hashlib
import struct
from itertools import combinations

import networkx as nx
import numpy as np
import pytest

import emdref
from analysis.inputs import trees


def some_tree(seed, size):
    """Edges to parents with numbers of a few binary digits, some of them 0."""
    rng = np.random.default_rng(seed)
    parent = [-1, *(int(rng.integers(v)) for v in range(1, size))]
    return parent, np.where(rng.random(size) < 0.3, 0.0, rng.integers(1, 64, size) / 8).tolist()


@pytest.mark.parametrize("seed", range(20))
def test_describe_as_all_pairs_say(seed):
    parent, cost = some_tree(seed, 12)
    graph = nx.Graph()
    graph.add_weighted_edges_from([(p, v, c) for v, (p, c) in enumerate(zip(parent, cost, strict=True)) if p >= 0])
    leaves = sorted(set(range(12)) - set(parent))
    paths = dict(nx.all_pairs_dijkstra_path_length(graph))
    apart = [d for a, b in combinations(leaves, 2) if (d := paths[a][b]) > 0]
    depth = max(nx.single_source_shortest_path_length(graph, 0).values())
    text = trees.describe(emdref.Tree(parent, cost))
    assert text == f"{len(leaves)} bins, 12 nodes, depth {depth}, distances {min(apart):.6g} to {max(apart):.6g}"


def test_describe_without_a_distance():
    assert trees.describe(emdref.Chain(1)) == "1 bins, 1 nodes, depth 0, all distances 0"
    assert trees.describe(emdref.Chain(gaps=[0.0, 0.0])) == "3 bins, 3 nodes, depth 2, all distances 0"
    assert trees.describe(emdref.Chain(gaps=[2.0, 0.0, 0.5])) == "4 bins, 4 nodes, depth 3, distances 0.5 to 2.5"


def test_digest_of_content_alone():
    parent, cost = [-1, 0, 0, 1, 1], [0.0, 1.0, 1.0, 2.0, 0.5]
    base = trees.digest(emdref.Tree(parent, cost))
    named = emdref.Tree(parent, cost, labels=["r", "a", "b", "c", "d"])
    content = b"Tree [5, 5, 3]" + struct.pack("<5q5d3q", *parent, *cost, 2, 3, 4) + b"\0b\0c\0d"
    assert trees.digest(named) == hashlib.sha256(content).hexdigest()[:16]
    assert base == trees.digest(emdref.Tree(np.array(parent, np.int8), cost, bins=[2, 3, 4]))
    others = [
        named,
        emdref.Tree(parent),
        emdref.Tree(parent, cost, bins=[3, 2, 4]),
        emdref.Tree(parent, cost, bins=[2, 3]),
        emdref.Tree([-1, 0, 0, 2, 2], cost),
        emdref.Chain(gaps=[1.0, 2.0]),
        emdref.Chain(gaps=[1.0, 2.0]).to_tree(),
        emdref.Chain(3),
        emdref.Chain(gaps=np.nextafter([1.0, 1.0], 2)),
    ]
    assert len({base, *map(trees.digest, others)}) == 1 + len(others)


def test_examples():
    result = doctest.testmod(trees)
    assert result.failed == 0 and result.attempted > 0
