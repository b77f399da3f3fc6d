"""Distances along a tree from one node to all others, by sums of costs alone (no cancellation)."""

import numpy as np

from emdref.kernels.compile.jit import loop, row


@row
def _distances(position, parent, cost, out):
    for v in range(len(out)):
        out[v] = -1.0
    out[position] = 0.0
    v = position
    while v > 0:
        out[parent[v]] = out[v] + cost[v]
        v = parent[v]
    for v in range(1, len(out)):
        if out[v] < 0:
            out[v] = out[parent[v]] + cost[v]


@loop
def distances(position, parent, cost, out):
    """out[v] = distance from node `position` to node v."""
    _distances(position, parent, cost, out)


@loop
def distances_between(bins, parent, cost, out):
    """out[i, j] = distance between bins i and j, the sum of the smaller index's walk taken for both."""
    reach = np.empty(len(parent))
    for i in range(len(bins)):
        _distances(bins[i], parent, cost, reach)
        for j in range(i, len(bins)):
            out[i, j] = reach[bins[j]]
            out[j, i] = out[i, j]


@loop
def bins_below(bins, parent, out):
    """out[v] = number of bins at or below node v."""
    out[:] = 0
    for k in range(len(bins)):
        out[bins[k]] += 1
    for v in range(len(out) - 1, 0, -1):
        out[parent[v]] += out[v]
