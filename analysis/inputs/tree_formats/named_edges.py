"""A tree out of named edges, each checked where it stands in the file."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

import emdref

SHOWN = 40  # characters of a name that a message repeats


class Edge(NamedTuple):
    """An edge as a file gives it, and where."""

    child: Hashable
    parent: Hashable
    cost: float
    place: str


def quote(value: object) -> str:
    """A name or number as a message shows it, cut to `SHOWN` characters.

    Examples
    --------
    >>> quote("cat"), len(quote("x" * 1000)) < 50
    ("'cat'", True)
    """
    if isinstance(value, str) and len(value) > SHOWN:
        return f"{value[:SHOWN]!r}..."
    shown = repr(value)
    return shown if len(shown) <= SHOWN + 2 else f"{shown[:SHOWN]}..."


def number(text: str, place: str) -> float:
    """The cost that a column holds.

    Examples
    --------
    >>> number("2.5e-1", "line 3")
    0.25
    """
    try:
        value = float(text.replace("_", "?"))  # Python would read 1_0 as 10
    except ValueError:
        value = math.nan
    return cost(value, place, text)


def cost(value: object, place: str, text: str | None = None) -> float:
    """A cost as a float; `text` is what the file has, if not the value itself.

    Raises
    ------
    ValueError
        If it is not a finite number >= 0.

    Examples
    --------
    >>> cost(2, "links[3]")
    2.0
    """
    try:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= float(value) < math.inf
    except OverflowError:
        fits = False
    if not fits:
        shown = quote(value if text is None else text)
        raise ValueError(f"{place}: cost {shown} is not a finite number >= 0, such as 1 or 2.5e-3")
    return float(value)


def tree(edges: Iterable[Edge], nodes: Sequence[Hashable] = (), hint: str = "") -> emdref.Tree:
    """Tree of these edges, numbered as in `nodes`, further ones as they first appear; the leaves are the bins.

    Parameters
    ----------
    edges : iterable of Edge
    nodes : sequence of hashables, optional
        Names that are known before any edge.
    hint : str, optional
        Said after a second parent and after several roots: how a file is misread.

    Raises
    ------
    ValueError
        Two parents, a cycle, several roots: the nodes' names and where they stand.

    Examples
    --------
    >>> pets = tree([Edge("cat", "pet", 1.0, "line 1"), Edge("dog", "pet", 2.0, "line 2")])
    >>> list(pets.bin_labels), pets.diameter
    (['cat', 'dog'], 3.0)
    """
    numbers = {name: v for v, name in enumerate(nodes)}
    places = [f"nodes[{v}]" for v in range(len(numbers))]
    above: dict[Hashable, Edge] = {}
    for edge in edges:
        for name in (edge.child, edge.parent):
            if numbers.setdefault(name, len(numbers)) == len(places):
                places.append(edge.place)
        if above.setdefault(edge.child, edge) is not edge:
            raise ValueError(_second_parent(edge, above[edge.child]) + hint)
        places[numbers[edge.child]] = edge.place
    names = list(numbers)
    parent = np.array([numbers[above[name].parent] if name in above else -1 for name in names])
    refuse_cycle(parent, names, places)
    roots = np.flatnonzero(parent < 0)
    if len(roots) > 1:
        some = ", ".join(f"{quote(names[v])} ({places[v]})" for v in roots[:3])
        raise ValueError(
            f"{len(roots)} nodes have no parent, first {some}: a tree has one root, so add an edge from one new root "
            f"to each{hint}"
        )
    return emdref.Tree(parent, [above[name].cost if name in above else 0.0 for name in names], labels=names)


def _second_parent(edge: Edge, first: Edge) -> str:
    return (
        f"{edge.place}: node {quote(edge.child)} has the parent {quote(edge.parent)} here and {quote(first.parent)} at "
        f"{first.place}: a node has one parent, given once"
    )


def refuse_cycle(parent: np.ndarray, names: Sequence[Hashable], places: Sequence[str]) -> None:
    """Raise a ValueError that names a node which is its own ancestor; parents of -1 end a walk."""
    jump = np.where(parent < 0, np.arange(len(parent)), parent)
    for _ in range(len(parent).bit_length()):  # squaring: after these jumps all are at a root or on a cycle
        jump = jump[jump]
    stray = np.flatnonzero(parent[jump] >= 0)
    if len(stray):
        v = int(jump[stray].min())
        raise ValueError(
            f"{places[v]}: node {quote(names[v])} is its own ancestor (its parent is {quote(names[parent[v]])}, and so "
            "on in a circle): take one of these edges out"
        )
