"""Trees from node-link JSON, the form of networkx's ``node_link_data``."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from typing import Any

import emdref
from analysis.inputs.tree_formats import named_edges
from analysis.inputs.tree_formats.named_edges import quote

COSTS = ("cost", "weight")
FORM = '{"directed": true, "nodes": [{"id": ...}, ...], "links": [{"source": PARENT, "target": CHILD}, ...]}'


def read(text: str) -> emdref.Tree:
    """Tree of a directed graph whose edges, in ``links`` or ``edges``, lead from parent to child.

    Nodes are numbered as in ``nodes`` and labelled by their ids; the leaves are the bins.  The cost of an edge is its
    attribute ``cost``, else ``weight``; if no edge has one every cost is 1.

    Raises
    ------
    ValueError
        Naming the entry of ``nodes`` or of the edges.

    Examples
    --------
    >>> tree = read('{"nodes": [{"id": 0}, {"id": 1}, {"id": 2}], "links": [{"source": 2, "target": 0}, '
    ...             '{"source": 2, "target": 1}]}')
    >>> list(tree.bin_labels), tree.diameter
    ([0, 1], 2.0)
    """
    data = _load(text)
    key = next((key for key in ("links", "edges") if isinstance(data, dict) and key in data), None)
    if key is None or not isinstance(data[key], list) or not isinstance(data.get("nodes"), list):
        raise ValueError(f"this JSON is not node-link data: give {FORM}")
    if data.get("directed") is False:
        raise ValueError(
            'the graph is not directed, so that its root is unknown: make it a DiGraph, "directed": true, with edges '
            "from parent to child"
        )
    names = _names(data["nodes"])
    if not names:
        raise ValueError("nodes is empty: a tree has at least one node")
    return named_edges.tree(_edges(data[key], key, set(names)), names)


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"line {error.lineno}, column {error.colno}: this is not JSON ({error.msg}); give {FORM}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this JSON cannot be read ({error}); give {FORM}") from None


def _names(nodes: list) -> list[Hashable]:
    names: dict[Hashable, int] = {}
    for at, node in enumerate(nodes):
        if not isinstance(node, dict) or "id" not in node:
            raise ValueError(f'nodes[{at}] = {quote(node)} has no "id": give {FORM}')
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


def _edges(links: list, key: str, names: set) -> Iterator[named_edges.Edge]:
    costs = next((c for c in COSTS if any(isinstance(link, dict) and c in link for link in links)), None)
    for at, link in enumerate(links):
        place = f"{key}[{at}]"
        if not isinstance(link, dict) or not {"source", "target"} <= link.keys():
            raise ValueError(f'{place} = {quote(link)} has no "source" and "target": give {FORM}')
        parent, child = (_name(link[end], place) for end in ("source", "target"))
        for name in (parent, child):
            if name not in names:
                raise ValueError(f"{place}: {quote(name)} is not the id of a node: add it to nodes")
        if costs and costs not in link:
            raise ValueError(f"{place} has no {costs!r} and other edges do: give all edges one, or none")
        yield named_edges.Edge(child, parent, named_edges.cost(link[costs], place) if costs else 1.0, place)
