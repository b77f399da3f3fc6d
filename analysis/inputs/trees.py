"""A caption and a key for a space, whatever it was made of."""

from __future__ import annotations

import hashlib

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order

import emdref


def describe(space: emdref.Chain | emdref.Tree) -> str:
    """A caption: bins, nodes, the deepest node, and distances between bins that are not 0.

    Examples
    --------
    >>> describe(emdref.Tree.from_newick("((a:1,b:2):0.5,c:3);"))
    '3 bins, 5 nodes, depth 2, distances 3 to 5.5'
    >>> describe(emdref.Chain(5))
    '5 bins, 5 nodes, depth 4, distances 1 to 4'
    """
    tree = space.to_tree() if isinstance(space, emdref.Chain) else space
    depth, nearest = _depth_and_nearest(tree)
    span = f"distances {nearest:.6g} to {tree.diameter:.6g}" if nearest < np.inf else "all distances 0"
    return f"{tree.n_bins} bins, {tree.n_nodes} nodes, depth {depth}, {span}"


def _depth_and_nearest(tree: emdref.Tree) -> tuple[int, float]:
    """Edges between the root and the deepest node; the smallest distance > 0 between bins, inf without one."""
    parent, cost = tree.parent.tolist(), tree.cost.tolist()
    near = np.full(tree.n_nodes, np.inf)
    near[tree.bins] = 0.0
    near, nearest, order = near.tolist(), np.inf, _root_first(tree)
    for v in order[:0:-1]:  # children before parents
        up, above = near[v] + cost[v], near[parent[v]]
        nearest = min(nearest, up + above) if up + above > 0 else nearest
        near[parent[v]] = min(up, above)
    depth = [0] * tree.n_nodes
    for v in order[1:]:
        depth[v] = depth[parent[v]] + 1
    return max(depth), nearest


def _root_first(tree: emdref.Tree) -> list[int]:
    root, child = int(np.argmin(tree.parent)), np.flatnonzero(tree.parent >= 0)
    shape = (tree.n_nodes, tree.n_nodes)
    graph = coo_array((np.ones(len(child), np.int8), (tree.parent[child], child)), shape=shape).tocsr()
    return breadth_first_order(graph, root, return_predecessors=False).tolist()


def digest(space: emdref.Chain | emdref.Tree) -> str:
    """16 hexadecimal digits, the same for the same space and names on every machine.

    They are the begin of the SHA-256 of the kind, then of the gaps of a chain, of parents, costs and bins of a tree, as
    little-endian 64-bit words, and of the names of its bins, a zero byte before each.

    Examples
    --------
    >>> digest(emdref.Chain(5)) == digest(emdref.Chain(gaps=[1, 1, 1, 1])) != digest(emdref.Chain(6))
    True
    """
    arrays = [space.gaps] if isinstance(space, emdref.Chain) else [space.parent, space.cost, space.bins]
    total = hashlib.sha256(f"{type(space).__name__} {[len(array) for array in arrays]}".encode())
    for array in arrays:
        total.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    if isinstance(space, emdref.Tree):
        total.update("".join(f"\0{label}" for label in space.bin_labels).encode())
    return total.hexdigest()[:16]
