"""Trees from JSON: node-link data, as networkx writes a graph, and nodes with their children inside."""

import json
from collections.abc import Hashable, Iterator
from typing import Any

from emdref.arguments.messages import cut
from emdref.spaces.files import named_edges
from emdref.spaces.files.named_edges import quote
from emdref.spaces.files.parts import Negatives, Parts

COSTS = ("cost", "weight")  # of an edge
COSTS_OF_NODES = (*COSTS, "length", "branch_length")  # of a node, for the edge above it
NAMES = ("name", "id")
LINKS = '{"nodes": [{"id": ...}], "links": [{"source": PARENT, "target": CHILD}]}'
NESTED = '{"name": ..., "children": [...]}'


def read(text: str, negatives: Negatives) -> Parts:
    """Tree of a directed graph whose edges, in ``links`` or ``edges``, lead from parent to child, or of nested nodes.

    *Node-link data*: nodes are numbered as in ``nodes`` and labelled by their ids.  The cost of an edge is its
    attribute ``cost``, else ``weight``.  *Nested nodes*, objects with the list ``children``: numbered parents first, as
    they stand in the text, and labelled by ``name``, else ``id``, else "".  The cost of the edge above a node is its
    ``cost``, ``weight``, ``length`` or ``branch_length``, the first that any node has.

    The leaves are the bins.  If no edge has a cost every cost is 1; if some have none that is an error.
    """
    try:
        return _parts(_load(text), negatives)
    except RecursionError:
        raise ValueError("this JSON is nested more deeply than Python reads: write the tree as Newick") from None


def _parts(data: Any, negatives: Negatives) -> Parts:
    held = data if isinstance(data, dict) else {}
    key = next((key for key in ("links", "edges") if key in held), None)
    if key is not None and isinstance(held[key], list) and isinstance(held.get("nodes"), list):
        return _linked(held, key, negatives)
    if key is None and isinstance(held.get("children"), list):
        return _nested(held, negatives)
    raise ValueError(f"this JSON is neither node-link data, {LINKS}, nor nested nodes, {NESTED}: write it as one")


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"line {error.lineno}, column {error.colno}: this is not JSON ({error.msg}): give {LINKS}"
        ) from None
    except ValueError as error:
        raise ValueError(f"this JSON cannot be read ({cut(str(error), 80)}): give {LINKS}") from None


# --- node-link data ---------------------------------------------------------------------------------------------------


def _linked(data: "dict[str, Any]", key: str, negatives: Negatives) -> Parts:
    if data.get("directed") is False:
        raise ValueError(
            'the graph is not directed, so that its root is unknown: make it a DiGraph, "directed": true, with edges '
            "from parent to child"
        )
    names = _names(data["nodes"])
    if not names:
        raise ValueError("nodes is empty: a tree has at least one node")
    return named_edges.parts(_edges(data[key], key, set(names), negatives), negatives, names)


def _names(nodes: "list[Any]") -> "list[Hashable]":
    names: dict[Hashable, int] = {}
    for at, node in enumerate(nodes):
        if not isinstance(node, dict) or "id" not in node:
            raise ValueError(f'nodes[{at}] = {quote(node)} has no "id": give {LINKS}')
        name = _name(node["id"], f"nodes[{at}]")
        if name in names:
            raise ValueError(f"nodes[{at}]: the id {quote(name)} is that of nodes[{names[name]}] too: ids are unique")
        names[name] = at
    return list(names)


def _name(value: Any, place: str) -> Hashable:
    """An id as networkx reads it: lists stand for tuples."""
    if isinstance(value, dict):
        raise ValueError(f"{place}: {quote(value)} cannot be an id: give a text or a number")
    return tuple(_name(item, place) for item in value) if isinstance(value, list) else value


def _edges(links: "list[Any]", key: str, names: "set[Hashable]", negatives: Negatives) -> "Iterator[named_edges.Edge]":
    costs = _key(links, COSTS)
    for at, link in enumerate(links):
        place = f"{key}[{at}]"
        if not isinstance(link, dict) or not {"source", "target"} <= link.keys():
            raise ValueError(f'{place} = {quote(link)} has no "source" and "target": give {LINKS}')
        parent, child = (_name(link[end], place) for end in ("source", "target"))
        for name in (parent, child):
            if name not in names:
                raise ValueError(f"{place}: {quote(name)} is not the id of a node: add it to nodes")
        if costs and costs not in link:
            raise ValueError(f"{place} has no {costs!r} and other edges do: give all edges one, or none")
        cost = named_edges.cost(link[costs], place, negatives) if costs else 1.0
        yield named_edges.Edge(child, parent, cost, place)


def _key(objects: "list[Any]", keys: "tuple[str, ...]") -> "str | None":
    """The first of some keys that any object has."""
    return next((key for key in keys if any(isinstance(held, dict) and key in held for held in objects)), None)


# --- nested nodes -----------------------------------------------------------------------------------------------------


def _nested(root: "dict[str, Any]", negatives: Negatives) -> Parts:
    parent: list[int] = []
    nodes: list[dict[str, Any]] = []
    todo: list[tuple[int, Any]] = [(-1, root)]
    while todo:
        above, node = todo.pop()
        if not isinstance(node, dict):
            raise ValueError(f"a child of {_called(nodes, above)} is {quote(node)}, no object: give {NESTED}")
        below = node.get("children")
        if not isinstance(below, (list, type(None))):
            raise ValueError(f'"children" of {_called([*nodes, node], -1)} is {quote(below)}, no list: give {NESTED}')
        todo += [(len(nodes), child) for child in reversed(below or [])]
        parent.append(above)
        nodes.append(node)
    if not any(key in node for node in nodes for key in NAMES):
        raise ValueError(f'no node has a "name" or "id", so that bins would have none: give {NESTED}')
    names = [_name(next((node[key] for key in NAMES if key in node), ""), f"node {v}") for v, node in enumerate(nodes)]
    key = _key(nodes[1:], COSTS_OF_NODES)
    costs = [1.0] * len(nodes)
    for v, node in enumerate(nodes[1:] if key else [], 1):
        if key not in node:
            raise ValueError(f"{_called(nodes, v)} has no {key!r} and others do: give all nodes one, or none")
        costs[v] = named_edges.cost(node[key], _called(nodes, v), negatives)
    return Parts(parent, costs, None, names, negatives.notes)


def _called(nodes: "list[dict[str, Any]]", v: int) -> str:
    name = next((nodes[v][key] for key in NAMES if key in nodes[v]), "")
    return f"node {v % len(nodes)} ({quote(name)})"
