"""The part of a tree that some of its nodes span."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Spanned(NamedTuple):
    """Nodes that stay, ascending, and how they hang together."""

    nodes: list[int]
    parent: list[int]  # of each that stays, its place among them; -1 at the root
    cost: list[float]


def spanned(parents: NDArray[np.int64], costs: NDArray[np.float64], wanted: list[int]) -> Spanned:
    """The root, nodes that are wanted, and nodes where ways from these to the root meet.

    The nodes between two of them become one edge, whose cost is the sum of theirs, rounded once.

    Raises
    ------
    OverflowError
        A sum beyond float64.
    """
    parent, cost = parents.tolist(), costs.tolist()
    below = bytearray(len(parent))  # 1 or 2: how many ways come up through the node, 2 for more
    for v in wanted:
        while v >= 0:
            below[v] = min(below[v] + 1, 2)
            if below[v] == 2:
                break
            v = parent[v]
    stays = bytearray(x == 2 for x in below)
    for v in (*wanted, parent.index(-1)):
        stays[v] = 1
    nodes = [v for v, there in enumerate(stays) if there]
    number = {v: k for k, v in enumerate(nodes)}
    above, sums = [], []
    for v in nodes:
        way = []
        while (up := parent[v]) >= 0:
            way.append(cost[v])
            v = up
            if stays[v]:
                break
        above.append(number[up] if up >= 0 else -1)
        sums.append(math.fsum(way))
    return Spanned(nodes, above, sums)
