"""A tree in depth-first order, the child with the largest subtree last.

Read backwards, the order has children before parents and a node's largest child first, so that one pass needs one
running sum for every light edge (to a child that is not the largest) between a node and the root: at most
1 + log2(nodes) of them, however deep the tree.  The paths along largest children make lowest common ancestors as cheap.
"""

import numpy as np

from emdref.kernels.arithmetic.floats import two_sum
from emdref.kernels.compile.jit import loop, row


@loop
def depth_first(parent, label, level, head):
    """By breadth-first position: place in the order, light edges above, and the top of the path of largest children."""
    size = np.ones(len(parent), np.int64)
    largest = np.zeros(len(parent), np.int64)  # 0, the root, is nobody's child
    for v in range(len(parent) - 1, 0, -1):
        size[parent[v]] += size[v]
    for v in range(1, len(parent)):
        u = parent[v]
        if largest[u] == 0 or size[v] > size[largest[u]]:
            largest[u] = v
    following = np.ones(len(parent), np.int64)  # where a node's next light child goes
    label[0], level[0], head[0] = 0, 0, 0
    for v in range(1, len(parent)):
        u = parent[v]
        if v == largest[u]:
            label[v], level[v], head[v] = label[u] + size[u] - size[v], level[u], head[u]
        else:
            label[v], level[v], head[v] = following[u], level[u] + 1, v
            following[u] += size[v]
        following[v] = label[v] + 1


@loop
def depths(up, cost, depth):
    """The limbs of each node's distance from the root, and a bound on what they lost of any of them."""
    worst = 0.0
    err = np.zeros(len(up))
    depth[0] = 0.0
    for v in range(1, len(up)):
        u = up[v]
        s, e = two_sum(depth[u, 0], cost[v])
        t, lost = two_sum(depth[u, 1], e)
        depth[v, 0], depth[v, 1] = two_sum(s, t)
        err[v] = err[u] + abs(lost)
        worst = max(worst, err[v])
    return worst


@row
def meeting(u, v, path):
    """The lowest common ancestor of two places in the order; path[v] = (top of v's path, that node's parent)."""
    while path[u, 0] != path[v, 0]:
        if path[u, 0] > path[v, 0]:  # then that path hangs below the other one or beside it
            u = path[u, 1]
        else:
            v = path[v, 1]
    return min(u, v)
