"""Barycentres in integers: for rho = 2 the weighted mean, for rho = 1 on a rooted tree an exact minimiser.

With B_v the mass of b at or below node v and P_kv that of histogram k, what is to be minimised for rho = 1 is

    sum_v own_v(B_v),   own_v(x) = M_v sum_k w_k |x - P_kv|,

over the sums of histograms: B_v is at least the sum of the children's B where there is a bin, just that sum where there
is none, and the total at the root.  Where the weighted medians of each node's P_kv are such sums, they are best edge by
edge; so it is on a chain, for one rule of medians makes them grow along it.  Else messages go up the tree: the least
cost below a node as a function of its B is convex and piecewise linear.  Where branches meet, their stretches are put
one behind the other by slope (infimal convolution); a bin adds a stretch of slope 0 without end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate
from math import lcm
from typing import Any, Literal

import numpy as np

from emdref.arguments import containers, validation
from emdref.arguments.messages import written
from emdref.exact import definitions
from emdref.exact.convex import Convex
from emdref.exact.rounding import nearest
from emdref.spaces.rooted import RootedTree
from emdref.spaces.space import Metric, Space, rooted

Totals = Literal["raise", "normalize"]
_INSTEAD = "rho = 2 works on any space; for rho = 1 solve a linear program, as ot.lp.barycenter does"


class Histograms:
    """Histograms and their weights as integers over common units; what has no weight is left out."""

    def __init__(self, rows: Sequence[Sequence[Any]], weights: Sequence[Any], normalize: bool) -> None:
        size = len(rows[0])
        numbers, self.unit = definitions.integers([x for row in rows for x in row])
        whole = [numbers[i : i + size] for i in range(0, len(numbers), size)]
        self.totals = [sum(row) for row in whole]
        if normalize:
            unit = lcm(*self.totals)
            whole = [[x * (unit // total) for x in row] for row, total in zip(whole, self.totals, strict=True)]
            self.unit = Fraction(1, unit)
        given, self.weight_unit = definitions.integers(weights)
        self.rows = [row for row, w in zip(whole, given, strict=True) if w]
        self.weights = [w for w in given if w]

    def check_totals(self, dtype: Any, name: Callable[[int], str] = "P[{}]".format) -> None:
        """Refuse totals that differ by more than rounding in a dtype explains."""
        i, j = (self.totals.index(end(self.totals)) for end in (min, max))
        tolerance = Fraction(validation.mass_tolerance(dtype, len(self.rows[0])))
        if self.totals[j] - self.totals[i] > tolerance * self.totals[j]:
            low, high = (nearest(self.totals[k] * self.unit) for k in (i, j))
            raise ValueError(
                f"{name(i)} has total {low:.17g} and {name(j)} {high:.17g} (rounding explains {float(tolerance):.2g} "
                f'of it); pass mass="normalize", or normalise them yourself'
            )

    def mean(self) -> list[Fraction]:
        """The weighted mean: the minimiser for rho = 2."""
        unit = self.unit / sum(self.weights)
        return [definitions.dot(self.weights, column) * unit for column in zip(*self.rows, strict=True)]

    def minimiser(self, tree: RootedTree | None) -> list[Fraction]:
        """The minimiser for rho = 1, or for rho = 2 without a tree."""
        return self.mean() if tree is None else [m * self.unit for m in Minimiser(self, tree).masses]


def tree_for(rho: float, space: Metric, function: str) -> RootedTree | None:
    """What a barycentre for that exponent needs: a rooted tree for 1, nothing for 2; or the refusal."""
    if rho == 2:
        return None
    if rho != 1:
        raise ValueError(
            f"rho = {written(rho)}: {function} has a closed form for rho = 1 and 2 alone; for others minimise the "
            "weighted sum of emd by the gradients of emd_value_and_grad"
        )
    return rooted(space, function, "sums along a rooted tree for rho = 1", _INSTEAD)


def weights_of(weights: Any, histograms: Any, count: int) -> Sequence[Any]:
    """`count` numbers >= 0, not all 0; equal ones if none are given."""
    if weights is None:
        return [1] * count
    containers.check_row_labels(histograms, weights)
    row = containers.row(weights, "weights")
    shape = np.shape(row if isinstance(row, (list, tuple)) else validation.read(row, "weights"))
    if shape != (count,):
        raise ValueError(f"weights has shape {written(shape)}, expected one weight for each of {count} histograms")
    found = definitions.numbers(weights, "weights", count)
    for k, w in enumerate(found):
        if isinstance(w, (bool, np.bool_)):
            raise TypeError(f"weights[{k}] = {w}: a weight is a number; leave out the histograms that do not count")
        if w < 0:
            raise ValueError(f"weights[{k}] = {written(w)}: a weight must be >= 0")
    if not any(found):
        raise ValueError("weights are all zeros: give some histogram a weight > 0")
    return found


def check_shape(shape: tuple[int, ...], size: int, batches: bool = True) -> None:
    """Refuse what is not histograms in rows."""
    if shape[-1:] != (size,) or len(shape) < 2 or (len(shape) > 2 and not batches) or not shape[-2]:
        lead = "..., " if batches else ""
        raise ValueError(
            f"P has shape {written(shape)}, it must be ({lead}K, {size}): K >= 1 histograms of the space's bins"
        )


def histogram(x: Any, name: str, size: int) -> Sequence[Any]:
    """`size` numbers >= 0 with exact values, not all 0."""
    found = definitions.histogram(x, name, size)
    if not any(found):
        raise ValueError(f"{name} is all zeros: some mass is needed")
    return found


def read(histograms: Any, weights: Any, space: Space, mass: str) -> tuple[list[Sequence[Any]], Sequence[Any], Any]:
    """K rows of numbers with exact values, their weights, and the dtype in which their totals are to agree."""
    validation.option(mass, "mass", Totals)
    containers.check_labels({"P": histograms}, space)
    size, rows = space.n_bins, containers.plain(histograms, "P")
    listed = isinstance(rows, (list, tuple))  # whose rows are looked at one by one
    rows = rows if listed else validation.read(rows, "P")
    check_shape((len(rows), *np.shape(rows[0] if rows else ())) if listed else np.shape(rows), size, False)
    found = [histogram(row, f"P[{k}]", size) for k, row in enumerate(rows)]
    single = any(getattr(row, "dtype", None) == np.float32 for row in rows)
    return found, weights_of(weights, histograms, len(found)), np.float32 if single else np.float64


# --- rho = 1 ----------------------------------------------------------------------------------------------------------


class Minimiser:
    """A histogram of least cost for rho = 1, and what proves it.

    Attributes
    ----------
    masses : by bin, in the unit of the histograms
    level : by node in the order of RootedTree, in `cost_unit` times the unit of the weights
        A slope of the least cost below as a function of the mass below.  At bins with mass it is 0, at others at most
        0; and a node's lies below its parent's by a slope of its `own` cost.
    """

    def __init__(self, histograms: Histograms, tree: RootedTree) -> None:
        self._weights, self._weight = histograms.weights, sum(histograms.weights)
        self._parent, bins = tree.parent.tolist(), tree.bin_node.tolist()
        self._cost, self.cost_unit = definitions.integers(tree.cost.tolist())
        self._bins = set(bins)
        self._points = self._below(histograms.rows, bins)
        sums = [self._median(points) for points in self._points]
        self.level, left = [0] * len(sums), self._left(sums)
        if any(x and (x < 0 or v not in self._bins) for v, x in enumerate(left)):
            left = self._left(self._by_messages(sums[0]))
        self.masses = [left[v] for v in bins]

    def _below(self, rows: Sequence[Sequence[int]], bins: Sequence[int]) -> list[list[tuple[int, int]]]:
        """By node, P_kv ascending with their weights; nothing where no bins are below."""
        sums: list[Any] = [None] * len(self._parent)
        for v, column in zip(bins, zip(*rows, strict=True), strict=True):
            sums[v] = column
        for v in range(len(sums) - 1, -1, -1):
            own, u = sums[v], self._parent[v]
            if own is None:
                sums[v] = []
                continue
            if v:
                sums[u] = own if sums[u] is None else [a + b for a, b in zip(sums[u], own, strict=True)]
            weight: dict[int, int] = {}
            for x, w in zip(own, self._weights, strict=True):
                weight[x] = weight.get(x, 0) + w
            sums[v] = sorted(weight.items())
        return sums

    def _median(self, points: list[tuple[int, int]]) -> int:
        """The lower weighted median; 0 where no bins are below."""
        so_far = accumulate(2 * w for _, w in points)
        return next((x for (x, _), twice in zip(points, so_far, strict=True) if twice >= self._weight), 0)

    def _left(self, sums: list[int]) -> list[int]:
        """By node, what it has itself."""
        left = list(sums)
        for v in range(1, len(left)):
            left[self._parent[v]] -= sums[v]
        return left

    def _by_messages(self, total: int) -> list[int]:
        """By node, the mass below of a histogram of that total; messages go upwards, then masses downwards.

        A node takes its longest child's message and changes it; on the way down that is taken back.
        """
        size = len(self._parent)
        children: list[list[int]] = [[] for _ in range(size)]  # of those with bins below
        message: list[Any] = [None] * size
        gone: list[list[tuple[int, int]]] = [[]] * size
        for v in [v for v in range(size - 1, -1, -1) if self._points[v]]:
            children[v].sort(key=lambda c: -len(message[c]))
            message[v] = message[children[v][0]] if children[v] else Convex()
            ends = [message[c].last for c in children[v]] + [0] * (v in self._bins)
            gone[v] = message[v].cut(min(ends))
            self._join(message[v], [message[c] for c in children[v][1:]], 1)
            self._add_own(message[v], v, 1)
            if v:
                children[self._parent[v]].append(v)
        sums = [total] + [0] * (size - 1)
        for v in range(size):
            x, levels = sums[v], []
            if x:
                self._add_own(message[v], v, -1)
                levels.append(message[v].slope_before(x))
                self._join(message[v], [message[c] for c in children[v][1:]], -1)
                message[v].restore(gone[v])
                stretches = [(c, *message[c].stretch(levels[0])) for c in sorted(children[v])]
                rest = x - sum(start for _, start, _ in stretches)
                for c, start, end in stretches:
                    stays = v in self._bins and levels[0] == 0
                    more = 0 if stays else rest if end is None else min(rest, end - start)
                    sums[c], rest = start + more, rest - more
            if v:
                levels.append(self.level[self._parent[v]] - self._own_slope(v, x))
            self.level[v] = max(levels)
        return sums

    def _join(self, message: Convex, others: list[Convex], sign: int) -> None:
        """The least sum of functions of parts that x is split into; or take that back."""
        top, length = message.last, dict[int, int]()
        for other in others:
            for slope, part in other.stretches():
                if slope >= top:
                    break
                length[slope] = length.get(slope, 0) + part
        if length:
            message.put_in({slope: sign * part for slope, part in length.items()})

    def _add_own(self, message: Convex, v: int, sign: int) -> None:
        """Add the cost of the edge above a node, or take that back."""
        cost = sign * self._cost[v]
        if cost:
            message.first -= cost * self._weight
            message.bend({x: 2 * cost * w for x, w in self._points[v]})

    def _own_slope(self, v: int, x: int) -> int:
        """The slope of the cost of the edge above a node between x and x + 1."""
        if not self._points[v]:
            return 0
        below = sum(w for y, w in self._points[v] if y <= x)
        return self._cost[v] * (2 * below - self._weight)
