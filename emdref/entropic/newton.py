"""Newton's method for Sinkhorn's potentials where its iteration is slow; needs products with K only, no plan.

With u = p / (K v) the dual value is a concave function of log v.  Its derivative is q - c, c being the plan's column
sums, and its negated second derivative diag(c) (I - A B), where A and B take averages with the plan's columns and rows
as weights.  Conjugate gradients solve with it in the inner product of c.

A constant added to log v changes nothing: I - A B maps constants to 0 and everything to vectors of mean 0 in that
product.  Rounding leaves a mean all the same, about eps of the mass, which no step removes.  Close to the solution,
where the gradient is small, conjugate gradients would divide it by a curvature that is rounding alone: it is taken out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emdref.entropic.gibbs import Log, Plan, Product

Vector = NDArray[np.float64]

_STEPS = 60
_INNER = 200  # conjugate gradients' steps
_FLAT = 1e-14  # curvature, relative, that is no more than rounding
_NEAR = 1e3  # times the tolerance: only so close to it does a defect that does not fall mean that rounding is reached
_SLACK = 1e-13  # by which rounding may lower the dual value, relative


class _Point:
    """What is known at one log v, every vector in the log domain but `columns`."""

    def __init__(self, plan: Plan, p: Vector, q: Vector, log_v: Vector) -> None:
        self.plan, self.log_v, self.kept = plan, log_v, q > 0
        self.log_kv = plan.times(log_v[:, None])[:, 0]
        self.log_u = np.log(p) - self.log_kv
        self.log_ktu = plan.transposed(self.log_u[:, None])[:, 0]
        self.columns = np.exp(log_v + self.log_ktu)
        self.defect = np.abs(q - self.columns).sum()
        self.gradient = self._centred(q / np.where(self.kept, self.columns, 1) - 1)  # over the columns
        self.value = (p * np.where(p > 0, self.log_u, 0)).sum() + (q * np.where(self.kept, log_v, 0)).sum()

    def times(self, x: Vector) -> Vector:
        """(I - A B) x."""
        rows = _averages(self.plan.times, self.log_v, x, self.log_kv)
        rows[self.log_u == -np.inf] = 0
        return self._centred(x - _averages(self.plan.transposed, self.log_u, rows, self.log_ktu))

    def _centred(self, x: Vector) -> Vector:
        """x less its mean, and 0 in bins without mass."""
        x = np.where(self.kept, x, 0)
        return np.where(self.kept, x - (self.columns * x).sum() / self.columns.sum(), 0)

    def dot(self, x: Vector, y: Vector) -> float:
        return float((self.columns * x * y).sum())


def _averages(product: Product, *vectors: Vector) -> Vector:
    return Log.averages(product, *(x[:, None] for x in vectors))[:, 0]


def _direction(at: _Point, limit: int) -> tuple[Vector, int]:
    """Newton's step by conjugate gradients, and how many products it took."""
    x, rest = np.zeros_like(at.gradient), at.gradient
    search, size = rest, at.dot(rest, rest)
    enough = 1e-4 * size * min(1.0, at.defect / at.columns.sum())
    used = 0
    while used < min(_INNER, limit):
        used += 1
        image = at.times(search)
        bend = at.dot(search, image)
        if not bend > _FLAT * at.dot(search, search):
            break
        x = x + size / bend * search
        rest = rest - size / bend * image
        before, size = size, at.dot(rest, rest)
        if size <= enough:
            break
        search = rest + size / before * search
    return x, used


def improve(plan: Plan, p: Vector, q: Vector, log_v: Vector, tol: float, limit: int) -> tuple[Vector, Vector, int]:
    """log u and log v with a smaller defect, down to `tol` if `limit` pairs of products suffice, and the pairs used.

    A step changes no logarithm by more than 1 and must not lower the dual value.
    """
    best = here = _Point(plan, p, q, np.where(q > 0, log_v, -np.inf))
    used, stalled = 1, 0
    for _ in range(_STEPS):
        if best.defect <= tol or used >= limit or stalled == 2:
            break
        step, inner = _direction(here, limit - used)
        there, tried = _advance(here, p, q, step)
        used += inner + tried
        if there is here:
            break
        here = there
        stalled = 0 if here.defect < best.defect or here.defect > _NEAR * tol else stalled + 1
        best = here if here.defect < best.defect else best
    return best.log_u, best.log_v, used


def _advance(at: _Point, p: Vector, q: Vector, step: Vector) -> tuple[_Point, int]:
    """A point along the step, or the same if none raises the dual value, and how many pairs of products it took."""
    if not step.any():
        return at, 0
    length = 1 / max(1.0, np.abs(step).max())
    for k in range(1, 8):
        there = _Point(at.plan, p, q, at.log_v + length * step)
        if there.value >= at.value - _SLACK * abs(at.value):
            return there, k
        length /= 4
    return at, k
