"""Exact rationals from the floats' own values: chain and tree EMD^rho for integer rho, one pair at a time.

This is the reference that the kernels are tested against, and what redoes a row that two limbs cannot hold.  It shares
no code with the kernels: floats become Python integers over a common power of two, and the tree is walked leaf by leaf.
Mass policies do not apply: totals may differ, the difference rests at the root (``normalize=True`` divides both first).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate
from math import inf, lcm
from numbers import Rational, Real
from typing import Any

import numpy as np

from emdref import gauges
from emdref.spaces import Chain, Space

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
        A non-integer rho, a wrong length, a negative or non-finite entry, an all-zero histogram to be normalised.

    Examples
    --------
    >>> import emdref
    >>> emdref.exact.emd([0.5, 0.5], [0.25, 0.75], emdref.Chain(2))
    Fraction(1, 4)
    """
    rho, row = _exponent(rho), Row(p, q, space, normalize)
    total = sum(c * abs(f) ** rho for c, f in zip(row.cost, row.phi, strict=True))
    return total * row.cost_unit * row.phi_unit**rho


def flow(p: Any, q: Any, space: Space, *, normalize: bool = False) -> list[Fraction]:
    """Exact phi_e: N-1 numbers on a chain, V on a tree in its own node order (0 at the root); Eqs. (6), (14)."""
    row = Row(p, q, space, normalize)
    return [f * row.phi_unit for f in row.phi]


def grad(
    p: Any, q: Any, space: Space, rho: int = 1, *, gauge: str = "zero_sum", normalize: bool = False
) -> list[Fraction]:
    """Exact gradient with respect to p in any gauge; Eqs. (9), (11), (15), and Eqs. (4), (6) of the ICML paper.

    ``normalized`` is the derivative of EMD(p/|p|, q/|q|) with respect to p.  At a kink (rho = 1, phi = 0) the edge
    contributes 0.
    """
    gauges.code(gauge)
    rho, row = _exponent(rho), Row(p, q, space, normalize or gauge == "normalized")
    slopes = [rho * c * ((f > 0) - (f < 0)) * abs(f) ** (rho - 1) for c, f in zip(row.cost, row.phi, strict=True)]
    unit = row.cost_unit * row.phi_unit ** (rho - 1)
    return in_gauge([r * unit for r in row.above(slopes)], [x * row.mass_unit for x in row.p], gauge)


def in_gauge(raw: list[Any], masses: list[Any], gauge: str) -> list[Any]:
    """A raw gradient in one of the gauges (see emdref.gauges), in any arithmetic."""
    if gauge == "raw":
        return raw
    if gauge in ("zero_sum", "scaled"):
        mean = sum(raw) / len(raw)
        return [(r - mean) * (len(raw) if gauge == "scaled" else 1) for r in raw]
    total = sum(masses)
    mean = sum(m * r for m, r in zip(masses, raw, strict=True)) / total
    return [(r - mean) / total for r in raw]


class Row:
    """One pair in integers: flows are phi * phi_unit, costs cost * cost_unit, masses p * mass_unit."""

    def __init__(self, p: Any, q: Any, space: Space, normalize: bool) -> None:
        if not isinstance(space, Space):
            raise TypeError(f"space must be a Chain or a Tree, not {type(space).__name__}")
        both, self.mass_unit = _integers([*_numbers(p, "p", space.n_bins), *_numbers(q, "q", space.n_bins)])
        self.p, q = both[: space.n_bins], both[space.n_bins :]
        self.phi_unit = self.mass_unit
        d = [a - b for a, b in zip(self.p, q, strict=True)]
        if normalize:
            a, b = sum(self.p), sum(q)
            if not a or not b:
                raise ValueError(f"{'q' if a else 'p'} is all zeros and cannot be normalised")
            d = [x * b - y * a for x, y in zip(self.p, q, strict=True)]
            self.phi_unit = Fraction(1, a * b)
        costs, below, self.above = _chain(space) if isinstance(space, Chain) else _tree(space)
        self.cost, self.cost_unit = _integers(costs)
        self.phi = below(d)


def _chain(space: Chain) -> tuple[Sequence[float], Callable, Callable]:
    """Costs, sums of bins below each edge, sums of edges above each bin: prefix and suffix sums."""

    def below(d: list) -> list:
        return list(accumulate(d))[:-1]

    def above(slopes: list) -> list:
        return list(accumulate(reversed(slopes), initial=0))[::-1]

    return space.gaps, below, above


def _tree(space: Any) -> tuple[Sequence[float], Callable, Callable]:
    """The same on a tree: leaves are stripped one by one, then put back in the opposite order."""
    parent, bins = space.parent.tolist(), space.bins.tolist()
    waiting = [0] * len(parent)
    for u in parent:
        waiting[u] += u >= 0
    strip = [v for v, children in enumerate(waiting) if children == 0]
    for v in strip:  # grows as it is walked
        u = parent[v]
        if u >= 0:
            waiting[u] -= 1
            if waiting[u] == 0:
                strip.append(u)

    def below(d: list) -> list:
        phi = [0] * len(parent)
        for v, x in zip(bins, d, strict=True):
            phi[v] = x
        for v in strip[:-1]:
            phi[parent[v]] += phi[v]
        phi[strip[-1]] = 0  # what is left at the root crosses no edge
        return phi

    def above(slopes: list) -> list:
        r = [0] * len(parent)
        for v in reversed(strip[:-1]):
            r[v] = r[parent[v]] + slopes[v]
        return [r[v] for v in bins]

    return space.cost, below, above


def _exponent(rho: Any) -> int:
    if not isinstance(rho, (Real, np.integer, np.floating)) or rho != rho or rho in (inf, -inf) or int(rho) != rho:
        raise TypeError(f"rho = {rho}: exact values exist for integer rho only")
    if rho < 1:
        raise ValueError(f"rho = {rho} must be >= 1")
    return int(rho)


def _numbers(x: Any, name: str, size: int) -> Sequence[Any]:
    values = x if isinstance(x, (list, tuple)) else np.asarray(x)
    if np.ndim(values) != 1 or len(values) != size:
        raise ValueError(f"{name} has shape {np.shape(values)}, expected one histogram of the space's {size} bins")
    values = values if isinstance(values, (list, tuple)) else values.tolist()
    for k, value in enumerate(values):
        if not isinstance(value, (Rational, float, np.integer, np.floating)):
            raise TypeError(f"{name}[{k}] = {value!r} is not a real number: give floats, integers or Fractions")
        if not 0 <= value < inf:
            raise ValueError(f"{name}[{k}] = {value}: a histogram holds finite mass >= 0")
    return values


def _integers(values: Sequence[Any]) -> tuple[list[int], Fraction]:
    """Integers n and a unit with values == n * unit exactly."""
    ratios = [(int(x), 1) if isinstance(x, np.integer) else x.as_integer_ratio() for x in values]
    unit = lcm(*{d for _, d in ratios}) if ratios else 1
    return [n * (unit // d) for n, d in ratios], Fraction(1, unit)
