"""Trees as graphs of networkx, there and back."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from numpy.typing import NDArray

from emdref.arguments.messages import shown, type_name
from emdref.spaces import reading


def read(graph: Any, root: Hashable, weight: str) -> tuple[list[int], list[Any], list[Hashable]]:
    """Parents and costs of the nodes, and the nodes' names, in the order of ``graph.nodes``."""
    for x, name in ((root, "root"), (weight, "weight")):
        reading.check_hashable(x, name)
    if not hasattr(graph, "nodes"):
        raise TypeError(f"graph must be a networkx graph, not {type_name(graph)}")
    number = {node: v for v, node in enumerate(graph.nodes)}
    if root not in number:
        raise ValueError(f"root={shown(root)} is not a node of the graph")
    if graph.is_multigraph():
        raise ValueError("graph is a multigraph: a tree has one edge between two nodes")
    if graph.number_of_edges() != len(number) - 1:
        raise ValueError(
            f"graph has {len(number)} nodes and {graph.number_of_edges()} edges: a tree has one edge fewer than nodes"
        )
    missing = [(a, b) for a, b, data in graph.edges(data=True) if weight not in data]
    if missing and len(missing) < graph.number_of_edges():
        raise ValueError(
            f"edge {shown(missing[0])} has no attribute {shown(weight)} and others do: give all edges one or none"
        )
    undirected = graph.to_undirected(as_view=True) if graph.is_directed() else graph
    parent, cost = [-2] * len(number), [0.0] * len(number)
    parent[number[root]] = -1
    queue = [root]
    for node in queue:
        for other, data in undirected.adj[node].items():
            if parent[number[other]] == -2:
                parent[number[other]] = number[node]
                cost[number[other]] = data.get(weight, 1.0)
                queue.append(other)
    if len(queue) < len(number):
        lost = next(node for node, v in number.items() if parent[v] == -2)
        raise ValueError(f"node {shown(lost)} cannot be reached from root={shown(root)}: the graph is no tree")
    return parent, cost, list(number)


def written(parent: NDArray[Any], cost: NDArray[Any], bins: NDArray[Any], labels: NDArray[Any]) -> Any:
    """A ``networkx.DiGraph``, whose nodes are the labels where these tell nodes apart."""
    try:
        import networkx
    except ImportError:
        raise ImportError(
            "to_networkx needs networkx, which is not installed: pip install networkx, or use parent, cost, labels"
        ) from None

    names = list(labels)
    named = len(set(names)) == len(names) and None not in names
    graph, nodes = networkx.DiGraph(), names if named else list(range(len(names)))
    graph.add_nodes_from(nodes if named else ((v, {"label": x}) for v, x in enumerate(names)))
    for k, v in enumerate(bins.tolist()):
        graph.nodes[nodes[v]]["bin"] = k
    edges = zip(nodes, parent.tolist(), cost.tolist(), strict=True)
    graph.add_edges_from((nodes[p], x, {"cost": c}) for x, p, c in edges if p >= 0)
    return graph
