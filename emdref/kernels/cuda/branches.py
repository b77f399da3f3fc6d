"""A tree dealt to the threads of a block, which work on several rows at once: one row a lane.

Thread t works on row t % lanes of the block's and on every (threads / lanes)-th node, so that what stands side by side
in memory belongs to neighbouring threads.  An array of c elements of a semiring has a plane of c * lanes floats for
each part, node by node, rows innermost.  A parent adds up what its leaves and children send in a fixed order, that of
the CPU's kernels: how many threads and rows a block has changes no result.

Nothing here waits for other threads; see `emdref.kernels.cuda.entropic` for who waits where.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from emdref.kernels.arithmetic.lanes import peek
from emdref.kernels.compile.jit import row
from emdref.kernels.trees import metric


class Crew(NamedTuple):
    """A thread's part in its block."""

    lane: Any  # its row among the block's
    group: Any  # the first node it works on, the next being `groups` further
    lanes: Any
    groups: Any


class Packed(NamedTuple):
    """A tree as kernels get it: what `packed`, `factored` and `counts` make."""

    index: Any
    factors: Any
    levels: int
    nodes: int
    leaves: int
    bins: int


class Tree(NamedTuple):
    """A tree on the device; what points into arrays of rows is multiplied by `lanes`.

    Of products: inner nodes, leaves apart (see `Twigs`).  Of costs: all nodes, and no leaves.
    """

    levels: Any
    nodes: Any
    leaves: Any
    bins: Any
    level: Any  # where levels begin, and end
    child: Any  # where a node's children begin, and end
    leaf: Any  # where its leaves begin, and end
    above: Any  # the parent
    own: Any  # the node's own bin, -1 for none
    home: Any  # by bin, in the order of `Twigs`: its node, that of its parent at a leaf
    order: Any  # the caller's numbers of the bins
    factors: Any  # k0, then a and b by node, a and b by leaf: a plane for each part


@row
def tree_of(given):
    """The parts of a `Packed`."""
    index, factors, levels, nodes, leaves, bins = given
    child = levels + 1
    leaf = child + nodes + 1
    above = leaf + nodes + 1
    own = above + nodes
    home = own + nodes
    order = home + bins
    return Tree(
        levels,
        nodes,
        leaves,
        bins,
        index[:child],
        index[child:leaf],
        index[leaf:above],
        index[above:own],
        index[own:home],
        index[home:order],
        index[order:],
        factors,
    )


class Steps(NamedTuple):
    """What `steps` compiles."""

    load: Any  # an element of an array
    store: Any
    factor: Any  # an element of `Tree.factors`
    gather: Any
    rise: Any
    sink: Any
    reach: Any
    beside: Any
    spread: Any


def steps(ring):
    """What one thread does at its nodes and bins, over a semiring."""
    elements = _elements(ring)
    return Steps(*elements, *_through(ring, *elements), *_around(ring, *elements))


def _elements(ring):
    """How a thread reads and writes elements."""
    take, give = ring.take, ring.give

    @row
    def load(x, i, plane):
        return take(x, np.uint64(i), np.uint64(plane))

    @row
    def store(x, i, plane, value):
        give(x, np.uint64(i), np.uint64(plane), value)

    @row
    def factor(tree, i):
        return load(tree.factors, i, 1 + 2 * (tree.nodes + tree.leaves))

    return load, store, factor


def _through(ring, load, store, factor):
    """A thread's part in products: up the tree, down again, and out at the bins."""
    null, plus, times = ring.null, ring.plus, ring.times

    @row
    def gather(tree, me, x, s):
        """s = what an inner node has of its own bin and of its leaves."""
        u, plane, leaf_a = me.group, tree.bins * me.lanes, 1 + 2 * tree.nodes
        while u < tree.nodes:
            own, j, stop = peek(tree.own, u), peek(tree.leaf, u), peek(tree.leaf, u + 1)
            total = null(tree.factors.dtype.type(0))
            if own >= 0:
                total = load(x, own + me.lane, plane)
            while j < stop:
                total = plus(total, times(factor(tree, leaf_a + j), load(x, j * me.lanes + me.lane, plane)))
                j += 1
            store(s, u * me.lanes + me.lane, tree.nodes * me.lanes, total)
            u += me.groups

    @row
    def rise(tree, me, level, s):
        """The nodes of one level add their children's sums, the last child's first."""
        u, stop, plane = peek(tree.level, level) + me.group, peek(tree.level, level + 1), tree.nodes * me.lanes
        while u < stop:
            first, c = peek(tree.child, u), peek(tree.child, u + 1) - 1
            if c >= first:
                total = load(s, u * me.lanes + me.lane, plane)
                while c >= first:
                    total = plus(total, times(factor(tree, 1 + c), load(s, c * me.lanes + me.lane, plane)))
                    c -= 1
                store(s, u * me.lanes + me.lane, plane, total)
            u += me.groups

    @row
    def sink(tree, me, level, s, r):
        """R = b S + a R of the parent, at the nodes of one level; R = S at the root."""
        v, stop, plane = peek(tree.level, level) + me.group, peek(tree.level, level + 1), tree.nodes * me.lanes
        while v < stop:
            i = v * me.lanes + me.lane
            total = load(s, i, plane)
            if level > 0:
                a, b = factor(tree, 1 + v), factor(tree, 1 + tree.nodes + v)
                total = plus(times(b, total), times(a, load(r, peek(tree.above, v) + me.lane, plane)))
            store(r, i, plane, total)
            v += me.groups

    @row
    def reach(tree, me, j, x, r):
        """k0 K x at bin j."""
        above, k0 = load(r, peek(tree.home, j) + me.lane, tree.nodes * me.lanes), factor(tree, 0)
        if j >= tree.leaves:
            return times(k0, above)
        a, b = factor(tree, 1 + 2 * tree.nodes + j), factor(tree, 1 + 2 * tree.nodes + tree.leaves + j)
        return times(k0, plus(times(b, load(x, j * me.lanes + me.lane, tree.bins * me.lanes)), times(a, above)))

    return gather, rise, sink, reach


def _around(ring, load, store, factor):
    """A thread's part in sums of what is not below a node."""
    null, plus, times = ring.null, ring.plus, ring.times

    @row
    def beside(tree, me, s, o):
        """o[c] = sum of a s over c's siblings, by prefix and suffix sums; all children of a parent by one thread."""
        u, plane = me.group, tree.nodes * me.lanes
        if me.group == 0:
            store(o, me.lane, plane, null(tree.factors.dtype.type(0)))
        while u < tree.nodes:
            first, stop = peek(tree.child, u), peek(tree.child, u + 1)
            run, c = null(tree.factors.dtype.type(0)), first
            while c < stop:
                i = c * me.lanes + me.lane
                store(o, i, plane, run)
                run = plus(run, times(factor(tree, 1 + c), load(s, i, plane)))
                c += 1
            run, c = null(tree.factors.dtype.type(0)), stop - 1
            while c >= first:
                i = c * me.lanes + me.lane
                store(o, i, plane, plus(load(o, i, plane), run))
                run = plus(run, times(factor(tree, 1 + c), load(s, i, plane)))
                c -= 1
            u += me.groups

    @row
    def spread(tree, me, level, own, o):
        """o[c] of one level, so far from its siblings alone, from all bins that are not below c."""
        c, stop, plane = peek(tree.level, level) + me.group, peek(tree.level, level + 1), tree.nodes * me.lanes
        while c < stop:
            i, u = c * me.lanes + me.lane, peek(tree.above, c)
            total = plus(load(o, i, plane), load(own, u + me.lane, plane))
            a = factor(tree, 1 + u // me.lanes)
            store(o, i, plane, plus(total, times(a, load(o, u + me.lane, plane))))
            c += me.groups

    return beside, spread


# --- on the host ------------------------------------------------------------------------------------------------------


def counts(parent: Any, leaf_parent: Any, bins: int) -> tuple[int, int, int, int]:
    """Levels, nodes, leaves and bins of a tree whose nodes stand in breadth-first order."""
    return len(levels(parent)) - 1, len(parent), len(leaf_parent), bins


def packed(parent: Any, leaf_parent: Any, own: Any, order: Any, lanes: int) -> Any:
    """Everything but factors: breadth-first nodes, their leaves, and the nodes of the bins that stand at none."""
    nodes, leaves = len(parent), len(leaf_parent)
    here = np.full(nodes, -1)
    here[own] = lanes * np.arange(leaves, leaves + len(own))
    parts = (
        levels(parent),
        1 + np.searchsorted(parent[1:], np.arange(nodes + 1)),
        np.searchsorted(leaf_parent, np.arange(nodes + 1)),
        lanes * parent,
        here,
        lanes * np.concatenate([leaf_parent, own]),
        order,
    )
    return np.concatenate(parts).astype(np.int32 if lanes * (nodes + len(order)) < 2**31 else np.int64)


def factored(*factors: Any) -> Any:
    """Arrays of (elements, parts) as planes, a plane a part."""
    return np.ascontiguousarray(np.concatenate(factors).T).ravel()


def levels(parent: Any) -> Any:
    """Where each level of breadth-first nodes begins, and the last one ends."""
    depth = np.empty(len(parent))
    metric.distances(0, parent, np.concatenate([[0.0], np.ones(len(parent) - 1)]), depth)
    return np.searchsorted(depth, np.arange(depth[-1] + 2))
