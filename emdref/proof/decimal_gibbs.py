"""Sinkhorn's kernel K = exp(-lam M - 1) in Decimals: a matrix, or sums along a tree that need none.

Shares no code with the kernels of `emdref.kernels`.  Every number is a sum or a product of numbers >= 0, so that none
cancels: with the context's d digits the relative error is at most (lam max(M) + 12 V + 100) 10**(1-d), V being the
number of nodes (of rows, for a matrix), because no result is more than 12 V + 100 roundings away from the exponentials.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from emdref.spaces.rooted import RootedTree
from emdref.spaces.space import Metric

ZERO, ONE = Decimal(0), Decimal(1)
REACH = 1e15  # logarithms beyond this would need exponents near the end of a Decimal's range
Numbers = Sequence[Decimal]


class Kernel(Protocol):
    """Products with K and with M; u and v hold numbers >= 0, one a bin."""

    def times(self, v: Numbers) -> list[Decimal]:
        """K v."""

    def transposed(self, u: Numbers) -> list[Decimal]:
        """K^T u."""

    def cost(self, u: Numbers, v: Numbers) -> Decimal:
        """<T, M> of the plan T = diag(u) K diag(v)."""

    def product_cost(self, u: Numbers, v: Numbers) -> Decimal:
        """<T, M> of the plan T = u v^T."""


def kernel(where: Metric, lam: Decimal) -> Kernel:
    """The one for a space or a matrix, in the current context."""
    return MatrixKernel(where, lam) if where.rooted is None else SpaceKernel(where.rooted, lam)


class MatrixKernel:
    """N x N Decimals."""

    def __init__(self, where: Metric, lam: Decimal) -> None:
        cost = where.exact_distances()
        distances = {c: decimal(c) for row in cost for c in row}
        known = {c: (-lam * d - 1).exp() for c, d in distances.items()}
        self._k = _objects([[known[c] for c in row] for row in cost])
        self._m = _objects([[distances[c] for c in row] for row in cost])

    def times(self, v: Numbers) -> list[Decimal]:
        return list(self._k @ _objects(v))

    def transposed(self, u: Numbers) -> list[Decimal]:
        return list(self._k.T @ _objects(u))

    def cost(self, u: Numbers, v: Numbers) -> Decimal:
        return _objects(u) @ ((self._k * self._m) @ _objects(v))

    def product_cost(self, u: Numbers, v: Numbers) -> Decimal:
        return _objects(u) @ (self._m @ _objects(v))


def decimal(x: float | Fraction) -> Decimal:
    """An exact number in the digits of the current context."""
    return Decimal(x) if isinstance(x, float) else Decimal(x.numerator) / Decimal(x.denominator)


def _objects(numbers: Any) -> Any:
    return np.array(numbers, object)


class SpaceKernel:
    """Sums below and outside of each node, as `emdref.kernels.entropic.products` describes them; O(V) Decimals."""

    def __init__(self, tree: RootedTree, lam: Decimal) -> None:
        cost = tree.cost_between(1, tree.n_bins - 1).tolist()  # no mass crosses the other edges
        self._parent, self._bins = tree.parent.tolist(), tree.bin_node.tolist()
        known = {c: (-lam * Decimal(c)).exp() for c in set(cost)}
        self._a = [known[c] for c in cost]
        self._one = [ONE] * len(cost)
        self._cost = [Decimal(c) for c in cost]
        self._k0 = Decimal(-1).exp()

    def times(self, v: Numbers) -> list[Decimal]:
        below, outside = self._sums(v, self._a)
        return [self._k0 * (below[n] + self._a[n] * outside[n]) for n in self._bins]

    transposed = times  # K is symmetric

    def cost(self, u: Numbers, v: Numbers) -> Decimal:
        return self._k0 * self._crossing(u, v, self._a)

    def product_cost(self, u: Numbers, v: Numbers) -> Decimal:
        return self._crossing(u, v, self._one)

    def _crossing(self, u: Numbers, v: Numbers, a: Numbers) -> Decimal:
        """Sum over edges of cost times the mass that crosses, where each edge on its way multiplies it by a."""
        su, ou = self._sums(u, a)
        sv, ov = self._sums(v, a)
        edges = range(1, len(a))
        return sum((self._cost[c] * a[c] * (su[c] * ov[c] + sv[c] * ou[c]) for c in edges), ZERO)

    def _sums(self, x: Numbers, a: Numbers) -> tuple[list[Decimal], list[Decimal]]:
        """By node: the sum at it of what lies below, and the sum at its parent of what does not."""
        own = [ZERO] * len(a)
        for node, mass in zip(self._bins, x, strict=True):
            own[node] = mass
        below = own.copy()
        for c in range(len(a) - 1, 0, -1):
            below[self._parent[c]] += a[c] * below[c]
        outside = self._siblings([s * t for s, t in zip(a, below, strict=True)])
        for c in range(1, len(a)):
            above = self._parent[c]
            outside[c] += own[above] + a[above] * outside[above]
        return below, outside

    def _siblings(self, x: Numbers) -> list[Decimal]:
        """For each node the sum of x over its siblings: prefix and suffix sums, nothing is subtracted."""
        parent, out, run = self._parent, [ZERO] * len(x), ZERO
        for c in range(2, len(x)):
            run = run + x[c - 1] if parent[c] == parent[c - 1] else ZERO
            out[c] = run
        run = ZERO
        for c in range(len(x) - 2, 0, -1):
            run = run + x[c + 1] if parent[c] == parent[c + 1] else ZERO
            out[c] += run
        return out
