"""Trees of hierarchical clusterings: SciPy's linkage matrices, and points that are clustered here."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import validation
from emdref.arguments.messages import written
from emdref.spaces import reading

Method = Literal["average", "single", "complete", "weighted"]
Nodes = tuple[NDArray[np.int64], NDArray[np.float64]]  # parents and costs


def of_linkage(linkage: Any) -> Nodes:
    """Observations 0 to n-1, then the merges; an edge costs half of what heights differ by, so that ways are heights.

    Source: the linkage matrix of scipy.cluster.hierarchy, row i (a, b, height, size) merging a and b into n + i.
    """
    merges = _merges(linkage)
    n = len(merges) + 1
    parts, heights = merges[:, :2].astype(np.int64), np.concatenate([np.zeros(n), merges[:, 2]])
    parent = np.full(2 * n - 1, -1)
    parent[parts] = np.arange(n, 2 * n - 1)[:, None]
    cost = np.zeros(2 * n - 1)
    cost[:-1] = (heights[parent[:-1]] - heights[:-1]) / 2
    down = np.flatnonzero(cost < 0)
    if len(down):
        v = int(down[np.argmin(parent[down])])
        i, j = parent[v] - n, v - n
        raise ValueError(
            f"Z[{i}] merges at height {heights[n + i]} what Z[{j}] merged at {heights[v]}, {-2 * cost[v]} higher: "
            "heights must not decrease, as those of centroid and median linkage do; take average, single, complete or "
            "ward"
        )
    return parent, cost


def of_points(points: Any, method: Any) -> Nodes:
    """The clustering of rows of coordinates by their Euclidean distances."""
    validation.option(method, "method", Method)
    x = _rows(points, "X")
    if x.size == 0:
        raise ValueError(f"X has shape {written(x.shape)}: give at least one point with one coordinate")
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        i, k = bad[0]
        raise ValueError(f"X[{i}, {k}] = {x[i, k]} is not finite")
    if len(x) == 1:
        return np.array([-1]), np.zeros(1)
    from scipy.cluster.hierarchy import linkage  # here, because few need it

    _, exponent = np.frexp(np.abs(x).max())  # squares of what is at most 1 stay in the range
    merges = linkage(np.ldexp(x, -exponent), method)
    with np.errstate(over="ignore"):
        merges[:, 2] = np.ldexp(merges[:, 2], exponent)
    if np.isinf(merges[-1, 2]):
        raise ValueError("X has points whose distance is beyond float64: scale X")
    return of_linkage(merges)


def _rows(values: Any, name: str) -> NDArray[np.float64]:
    array = validation.read(values, name)
    if array.ndim != 2:
        raise ValueError(f"{name} must have two axes, rows and columns, not the shape {written(array.shape)}")
    return reading.floats(array.reshape(-1), name).reshape(array.shape)


def _merges(linkage: Any) -> NDArray[np.float64]:
    """A linkage matrix each of whose rows joins two clusters that are there and in no other."""
    merges = _rows(linkage, "Z")
    if merges.shape[1] != 4 or len(merges) == 0:
        raise ValueError(
            f"Z has shape {written(merges.shape)}: a linkage of n observations has n-1 rows of 4 numbers, as "
            "scipy.cluster.hierarchy.linkage gives (Tree.from_points takes coordinates)"
        )
    n = len(merges) + 1
    bad = np.flatnonzero(~(np.isfinite(merges[:, 2]) & (merges[:, 2] >= 0)))
    if len(bad):
        raise ValueError(f"Z[{bad[0]}, 2] = {merges[bad[0], 2]}: a height must be finite and >= 0")
    there = np.arange(n, 2 * n - 1)[:, None]
    with np.errstate(invalid="ignore"):
        strange = np.argwhere(~((merges[:, :2] >= 0) & (merges[:, :2] < there) & (merges[:, :2] % 1 == 0)))
    if len(strange):
        i, k = strange[0]
        raise ValueError(f"Z[{i}, {k}] = {merges[i, k]} is no cluster that is there then: they are 0 to {n + i - 1}")
    parts = merges[:, :2].astype(np.int64)
    number, count = np.unique(parts, return_counts=True)
    again = np.flatnonzero(count > 1)
    if len(again):
        twice = number[again[0]]
        i, j = np.argwhere(parts == twice)[:2, 0]
        raise ValueError(f"Z[{i}] and Z[{j}] both merge cluster {twice}: each is merged once")
    sizes = [1] * n
    for i, (a, b) in enumerate(parts.tolist()):
        sizes.append(sizes[a] + sizes[b])
        if merges[i, 3] != sizes[-1]:
            raise ValueError(
                f"Z[{i}, 3] = {merges[i, 3]:g}, but clusters {a} and {b} have {sizes[-1]} observations: give Z as "
                "scipy.cluster.hierarchy.linkage made it"
            )
    return merges
