"""A tree as Newick text."""

import re
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

_PLAIN = re.compile(r"(?:[^\W_]|[-.+|/])+")  # what no reader takes for anything else: many read a bare _ as a blank


def write(parent: NDArray[np.int64], cost: NDArray[np.float64], names: "Sequence[Hashable]") -> str:
    """Text of a tree: children in ascending order, costs as repr writes them, no name for None and ""."""
    size = len(parent)
    order = np.argsort(parent, kind="stable")
    start = np.searchsorted(parent[order], np.arange(-1, size + 1)).tolist()
    below = order.tolist()
    above, costs = parent.tolist(), cost.tolist()
    parts: list[str] = []
    todo: list[int | str] = [below[0]]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            parts.append(item)
            continue
        tail = name(names[item]) + (f":{costs[item]!r}" if above[item] >= 0 else "")
        children = below[start[item + 1] : start[item + 2]]
        if not children:
            parts.append(tail)
            continue
        parts.append("(")
        todo.append(f"){tail}")
        todo.append(children[-1])
        for child in children[-2::-1]:
            todo += (",", child)
    return "".join([*parts, ";"])


def name(label: Hashable) -> str:
    """A label as Newick writes it, in quotes if it is not plain."""
    text = "" if label is None else str(label)
    return text if not text or _PLAIN.fullmatch(text) else "'" + text.replace("'", "''") + "'"
