"""Exact rationals from the floats' own values: chain and tree EMD^rho for integer rho, one pair at a time.

This is the reference that the kernels are tested against, and what redoes a row that two limbs cannot hold.  It shares
no code with the kernels: floats become Python integers over a common power of two, and the tree is walked leaf by leaf.
Mass policies do not apply: totals may differ, the difference rests at the root (``normalize=True`` divides both first).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from math import lcm
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from emdref.spaces import Space

__all__ = ["emd", "flow", "grad"]


def emd(p: Any, q: Any, space: Space, rho: int = 1, *, normalize: bool = False) -> Fraction:
    """Exact value of sum_e M_e |phi_e|^rho; Eqs. (5), (10), (13) of arXiv 1611.07573.

    Parameters
    ----------
    p, q : (N,) sequences of floats, integers or Fractions, >= 0
    space : Chain or Tree
    rho : int >= 1
    normalize : bool
        Use p / |p| and q / |q|.

    Returns
    -------
    Fraction
        In units of cost times mass^rho.

    Raises
    ------
    TypeError, ValueError
        A non-integer rho, a wrong length, a negative or non-finite entry.

    Examples
    --------
    >>> import emdref
    >>> emdref.exact.emd([0.5, 0.5], [0.25, 0.75], emdref.Chain(2))
    Fraction(1, 4)
    """
    row = _Row(p, q, space, normalize)
    total = sum(c * abs(f) ** row.check(rho) for c, f in zip(row.cost, row.phi, strict=True))
    return total * row.cost_unit * row.phi_unit**rho


def flow(p: Any, q: Any, space: Space, *, normalize: bool = False) -> list[Fraction]:
    """Exact phi_e: N-1 numbers on a chain, V on a tree in its own node order (0 at the root); Eqs. (6), (14)."""
    row = _Row(p, q, space, normalize)
    return [f * row.phi_unit for f in row.phi]


def grad(
    p: Any, q: Any, space: Space, rho: int = 1, *, gauge: str = "zero_sum", normalize: bool = False
) -> list[Fraction]:
    """Exact gradient with respect to p in any gauge; Eqs. (9), (11), (15), and Eqs. (4), (6) of the ICML paper.

    ``normalized`` is the derivative of EMD(p/|p|, q/|q|) with respect to p.  At a kink (rho = 1, phi = 0) the edge
    contributes 0.
    """
    row = _Row(p, q, space, normalize or gauge == "normalized")
    raw = [r * row.cost_unit * row.phi_unit ** (row.check(rho) - 1) for r in row.raw(rho)]
    n = len(raw)
    if gauge == "raw":
        return raw
    if gauge in ("zero_sum", "scaled"):
        mean = sum(raw) / n
        return [(r - mean) * (n if gauge == "scaled" else 1) for r in raw]
    if gauge == "normalized":
        mass, masses = sum(row.p) * row.mass_unit, [x * row.mass_unit for x in row.p]
        mean = sum(m * r for m, r in zip(masses, raw, strict=True)) / mass
        return [(r - mean) / mass for r in raw]
    raise ValueError(f"gauge={gauge!r} is not one of zero_sum, raw, scaled, normalized")


class _Row:
    """One pair in integers: every flow is phi[e] * phi_unit, every cost cost[e] * cost_unit."""

    def __init__(self, p: Any, q: Any, space: Space, normalize: bool) -> None:
        both, self.mass_unit = _integers([*_numbers(p, "p", space.n_bins), *_numbers(q, "q", space.n_bins)])
        self.p, self.q = both[: space.n_bins], both[space.n_bins :]
        self.phi_unit = self.mass_unit
        d = [a - b for a, b in zip(self.p, self.q, strict=True)]
        if normalize:
            a, b = sum(self.p), sum(self.q)
            if not a or not b:
                raise ValueError(f"{'q' if a else 'p'} is all zeros and cannot be normalised")
            d = [x * b - y * a for x, y in zip(self.p, self.q, strict=True)]
            self.phi_unit = Fraction(1, a * b)
        self.walk = _Path(space) if hasattr(space, "gaps") else _Branches(space)
        self.cost, self.cost_unit = _integers(self.walk.costs)
        self.phi = self.walk.below(d)

    def raw(self, rho: int) -> list[int]:
        """r per bin in units of cost_unit * phi_unit**(rho - 1)."""
        return self.walk.above(
            [rho * c * ((f > 0) - (f < 0)) * abs(f) ** (rho - 1) for c, f in zip(self.cost, self.phi, strict=True)]
        )

    @staticmethod
    def check(rho: int) -> int:
        if int(rho) != rho:
            raise TypeError(f"rho = {rho}: exact values exist for integer rho only")
        if rho < 1:
            raise ValueError(f"rho = {rho} must be >= 1")
        return int(rho)


class _Path:
    """A chain: prefix sums down, suffix sums back."""

    def __init__(self, space: Any) -> None:
        self.costs = space.gaps

    def below(self, d: list[int]) -> list[int]:
        return list(accumulate(d))[:-1]

    def above(self, slopes: list[int]) -> list[int]:
        return list(accumulate(reversed(slopes), initial=0))[::-1]


class _Branches:
    """A tree: leaves are stripped one by one, then put back in the opposite order."""

    def __init__(self, space: Any) -> None:
        self.costs, self.bins, self.parent = space.cost, space.bins.tolist(), space.parent.tolist()
        waiting = [0] * len(self.parent)
        for u in self.parent:
            waiting[u] += u >= 0
        self.strip = [v for v, children in enumerate(waiting) if children == 0]
        for v in self.strip:
            u = self.parent[v]
            if u >= 0:
                waiting[u] -= 1
                if waiting[u] == 0:
                    self.strip.append(u)

    def below(self, d: list[int]) -> list[int]:
        phi = [0] * len(self.parent)
        for v, x in zip(self.bins, d, strict=True):
            phi[v] = x
        for v in self.strip[:-1]:
            phi[self.parent[v]] += phi[v]
        phi[self.strip[-1]] = 0  # what is left at the root crosses no edge
        return phi

    def above(self, slopes: list[int]) -> list[int]:
        r = [0] * len(self.parent)
        for v in reversed(self.strip[:-1]):
            r[v] = r[self.parent[v]] + slopes[v]
        return [r[v] for v in self.bins]


def _numbers(x: Any, name: str, size: int) -> Sequence[Any]:
    values = x if isinstance(x, (list, tuple)) else np.asarray(x)
    if np.ndim(values) != 1 or len(values) != size:
        raise ValueError(f"{name} has shape {np.shape(values)}, expected one histogram of the space's {size} bins")
    values = values if isinstance(values, (list, tuple)) else values.tolist()
    for k, value in enumerate(values):
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name}[{k}] = {value}: a histogram holds finite mass >= 0")
    return values


def _integers(values: Sequence[Any]) -> tuple[list[int], Fraction]:
    """Integers n and a unit with values == n * unit exactly."""
    ratios = [(int(x), 1) if isinstance(x, np.integer) else x.as_integer_ratio() for x in values]
    unit = lcm(*{d for _, d in ratios}) if ratios else 1
    return [n * (unit // d) for n, d in ratios], Fraction(1, unit)
