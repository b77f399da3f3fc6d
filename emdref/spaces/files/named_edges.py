"""A tree out of named edges, each checked where it stands in the file."""

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.arguments.messages import shown
from emdref.spaces.files.parts import Negatives, Parts


class Edge(NamedTuple):
    """An edge as a file gives it, and where."""

    child: Hashable
    parent: Hashable
    cost: float
    place: str


def quote(value: object) -> str:
    """A name or number as a message shows it."""
    return shown(value, 40)


def number(text: str, place: str, negatives: Negatives) -> float:
    """The cost that a column holds."""
    try:
        value = float(text.replace("_", "?"))  # Python would read 1_0 as 10
    except ValueError:
        value = math.nan
    return cost(value, place, negatives, text)


def cost(value: object, place: str, negatives: Negatives, text: "str | None" = None) -> float:
    """A cost as a float, finite and >= 0; `text` is what the file has, if not the value itself."""
    try:
        given = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    except OverflowError:
        given = math.inf
    if 0 <= given < math.inf:
        return given
    if negatives.let(given, place):
        return 0.0
    way = f"; {negatives.WAY}" if -math.inf < given < 0 else ""
    raise ValueError(
        f"{place}: cost {quote(value if text is None else text)} is not a finite number >= 0, such as 1 or 2.5e-3{way}"
    )


def parts(edges: "Iterable[Edge]", negatives: Negatives, nodes: "Sequence[Hashable]" = (), hint: str = "") -> Parts:
    """Tree of these edges, numbered as in `nodes`, further ones as they first appear; the leaves are the bins.

    `nodes` are names that are known before any edge; `hint` is said after a second parent and after several roots: how
    a file is misread.  Two parents, a cycle and several roots are refused by the nodes' names and where they stand.
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
        some = ", ".join(f"{shown(names[v], 20)} ({places[v]})" for v in roots[:2])
        raise ValueError(
            f"{len(roots)} nodes have no parent, first {some}: a tree has one root, so add edges from a new root{hint}"
        )
    return Parts(parent, [above[x].cost if x in above else 0.0 for x in names], None, names, negatives.notes)


def _second_parent(edge: Edge, first: Edge) -> str:
    return (
        f"{edge.place}: node {shown(edge.child, 24)} has the parent {shown(edge.parent, 24)} here and "
        f"{shown(first.parent, 24)} at {first.place}: a node has one parent, given once"
    )


def refuse_cycle(parent: NDArray[np.int64], names: "Sequence[Hashable]", places: "Sequence[str]") -> None:
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
