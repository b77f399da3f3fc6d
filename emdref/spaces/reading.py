"""Costs, positions, parents and labels as callers give them: read, checked, refused with the entry and its value."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import naming, validation
from emdref.arguments.messages import shown, written


class Words(NamedTuple):
    """How messages about a tree speak."""

    subject: str  # of "has 2 roots"
    node: "Callable[[int], str]"  # what the caller calls a node
    to_be_root: str  # what one node must do


def by_number(labels: "Sequence[Hashable] | None") -> Words:
    """Nodes by their numbers, with their labels where they have some."""
    return Words(
        "parent has",
        lambda v: f"{v} ({shown(labels[v], 40)})" if labels and v < len(labels) else f"{v}",
        "have parent -1 or its own index",
    )


def floats(values: Any, name: str) -> NDArray[np.float64]:
    array = validation.read(values, name)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold real numbers that float64 can hold, not {written(array.dtype)}")
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, not of shape {written(array.shape)}")
    if validation.rounds_in_float64(array):
        raise ValueError(f"{name} holds an integer beyond 2**53, which float64 would round; give floats")
    return array.astype(np.float64)


def check_hashable(value: Any, name: str) -> None:
    try:
        hash(value)
    except TypeError:
        raise TypeError(f"{name} = {shown(value)} is not hashable: give text, a number or a tuple of them") from None


def check_number(value: Any, name: str) -> None:
    """Refuse what, among numbers, would make an array of something else; arrays without axes are looked at later."""
    number = isinstance(value, (float, int, np.floating, np.integer)) and not isinstance(value, bool)
    if not number and (isinstance(value, np.generic) or getattr(value, "shape", None) != ()):
        raise TypeError(f"{name} = {shown(value)}: a cost must be a real number")
    if isinstance(value, (int, np.integer)) and abs(value) >= 2**53:
        raise ValueError(f"{name} = {written(value)} is an integer of 2**53 or more, which float64 would round")


def checked_costs(values: Any, name: str, node: "Callable[[int], str]" = str) -> NDArray[np.float64]:
    costs = floats(values, name)
    bad = np.flatnonzero(~(np.isfinite(costs) & (costs >= 0)))
    if len(bad):
        raise ValueError(f"{name}[{node(int(bad[0]))}] = {costs[bad[0]]}: a cost must be finite and >= 0")
    return costs + 0.0  # -0.0 becomes 0.0


def gaps_of(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(positions) == 0:
        raise ValueError("positions is empty: a space has at least one bin")
    bad = np.flatnonzero(~np.isfinite(positions))
    if len(bad):
        raise ValueError(f"positions[{bad[0]}] = {positions[bad[0]]} is not finite")
    with np.errstate(over="ignore"):
        gaps = np.diff(positions)
    down = np.flatnonzero(gaps < 0)
    if len(down):
        k = down[0]
        raise ValueError(
            f"positions[{k + 1}] = {positions[k + 1]} comes after {positions[k]}: "
            "sort the positions (and the bins with them)"
        )
    return checked_costs(gaps, "gap between positions")


def integers(values: Any, name: str) -> NDArray[np.int64]:
    array = validation.read(values, name)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, not of shape {written(array.shape)}")
    if array.size == 0:
        raise ValueError(f"{name} is empty: a space has at least one node and one bin")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, not {written(array.dtype)}")
    if array.dtype == np.uint64 and array.max() >= 2**63:
        raise ValueError(f"{name}[{array.argmax()}] = {array.max()} is out of range")
    return array.astype(np.int64)


def parents_of(values: Any, words: Words) -> tuple[NDArray[np.int64], int]:
    parent = integers(values, "parent")
    size = len(parent)
    outside = np.flatnonzero((parent < -1) | (parent >= size))
    if len(outside):
        v = outside[0]
        raise ValueError(f"parent[{v}] = {parent[v]} is out of range: nodes are 0 to {size - 1}, the root has -1")
    roots = np.flatnonzero((parent == -1) | (parent == np.arange(size)))
    if len(roots) == 0:
        node = words.node(_in_cycle(parent, 0))
        raise ValueError(
            f"{words.subject} no root: one node must {words.to_be_root}, and from node {node} parents lead back to it"
        )
    if len(roots) > 1:
        first, second = map(words.node, roots[:2].tolist())
        note = ", and one that is its own parent counts" if (parent[roots] >= 0).any() else ""
        raise ValueError(
            f"{words.subject} {len(roots)} roots (nodes {first} and {second}): exactly one is allowed{note}"
        )
    parent[roots[0]] = -1
    return parent, int(roots[0])


def edge_costs_of(cost: Any, parent: NDArray[np.int64], root: int, words: Words) -> NDArray[np.float64]:
    if cost is None:
        costs = np.ones(len(parent))
    else:
        costs = floats(cost, "cost")
        if len(costs) != len(parent):
            raise ValueError(
                f"cost has {len(costs)} entries for {len(parent)} nodes: give one for each (the root's is ignored)"
            )
    costs[root] = 0.0
    return checked_costs(costs, "cost", words.node)


def breadth_first(parent: NDArray[np.int64], root: int, words: Words) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The nodes in breadth-first order, children in ascending order, and each node's position in it."""
    size = len(parent)
    by_parent = np.argsort(parent, kind="stable")[1:].tolist()  # without the root, whose parent is -1
    start = np.searchsorted(np.sort(parent)[1:], np.arange(size + 1)).tolist()
    order = [root]
    for v in order:  # grows as it is walked
        order.extend(by_parent[start[v] : start[v + 1]])
    position = np.full(size, -1)
    position[order] = np.arange(len(order))
    if len(order) < size:
        stray = _in_cycle(parent, int(np.flatnonzero(position < 0)[0]))
        raise ValueError(
            f"{words.subject} a cycle through node {words.node(stray)}: it never reaches the root {words.node(root)}"
        )
    return np.array(order), position


def _in_cycle(parent: NDArray[np.int64], node: int) -> int:
    """A node of the cycle into which the parents lead from a node that no root is above."""
    for _ in range(len(parent)):
        node = int(parent[node])
    return node


def bin_nodes(bins: Any, parent: NDArray[np.int64], words: Words) -> NDArray[np.int64]:
    if bins is None:
        leaf = np.ones(len(parent), bool)
        leaf[parent[parent >= 0]] = False
        return np.flatnonzero(leaf)
    nodes = integers(bins, "bins")
    outside = np.flatnonzero((nodes < 0) | (nodes >= len(parent)))
    if len(outside):
        k = outside[0]
        raise ValueError(f"bins[{k}] = {nodes[k]} is out of range: nodes are 0 to {len(parent) - 1}")
    values, counts = np.unique(nodes, return_counts=True)
    if counts.max() > 1:
        twice = values[counts > 1][0]
        where = np.flatnonzero(nodes == twice)
        node = words.node(int(twice))
        raise ValueError(f"bins[{where[0]}] and bins[{where[1]}] are both node {node}: a node holds at most one bin")
    return nodes


def named_bins(bins: Any, labels: "Sequence[Hashable]", words: Words) -> "list[int] | None":
    """The node of each bin from its label, all nodes for "all"; None for None, which leaves it to whoever makes a tree.

    `words` are the tree's, whose nodes `labels` name.
    """
    if bins is None:
        return None
    if isinstance(bins, str) and bins == "all":
        return list(range(len(labels)))
    if isinstance(bins, str):
        raise TypeError(f'bins = {shown(bins)} is one str: give a list of labels, or "all" for all nodes')
    among = naming.Sought("node", words.node, "a node holds at most one bin, so give it once")
    return naming.find(naming.listed(bins, "bins"), labels, "bins", among)


def labels_of(labels: Any, size: int) -> NDArray[np.object_]:
    names = range(size) if labels is None else labels
    if len(names) != size:
        raise ValueError(f"labels has {len(names)} entries for {size} nodes")
    try:
        set(names)
    except TypeError:
        for v, x in enumerate(names):
            check_hashable(x, f"labels[{v}]")
        raise
    return np.fromiter(names, object, size)
