"""Bins on a ring: hues, phases, directions, hours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, getcontext, localcontext
from fractions import Fraction
from functools import cached_property, partial
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emdref.arguments import validation
from emdref.arguments.casts import frozen, narrowed
from emdref.spaces import reading
from emdref.spaces.chain import Chain
from emdref.spaces.gapped import Gapped
from emdref.spaces.rooted import read_only
from emdref.spaces.space import Edges, Kernel, Number, Space

_SMALLEST, _LARGEST = 2.0**-200, 2.0**200  # costs with which no product of the kernels leaves the range
_DIGITS = 60  # of a flow that is irrational, beyond those that its power needs
_STEPS = 400  # of Newton's method and of halving, at most
_NOTHING = -3000  # the order of magnitude of a flow, in the units of the masses, that counts as 0
_EXACT = 1000  # up to which powers are not too long for whole numbers


class Circle(Gapped):
    r"""Bins on a ring, the last one beside the first: hues, hours, directions, phases.

    .. math:: \mathrm{EMD}^\rho(p, q) = \min_c \sum_{i=0}^{N-1} M_i \, |\phi_i - c|^\rho, \qquad
       \phi_i = \sum_{k=0}^{i} (p_k - q_k)

    Edge i joins bin i and bin i+1, the last edge bin N-1 and bin 0; M_i is its cost (Rabin, Delon and Gousseau 2009).
    ``phi_(N-1)`` counts as 0, so that what totals differ by stays at the last bin.  The flow is ``phi_i - c`` at the c
    of least cost, at the middle of them if there are several.

    Parameters
    ----------
    n : int
        Number of bins; every gap is 1.
    gaps : (N,) array-like
        Costs between consecutive bins, finite and >= 0, the last from bin N-1 back to bin 0.
    positions : (N,) array-like
        Coordinates of the bins, ascending, along a ring of circumference `period`.
    period : float
        2 pi by default; larger than the span of the positions.

    Attributes
    ----------
    gaps : (N,) float64, read-only
        Costs between consecutive bins, the last from bin N-1 back to bin 0.
    bin_labels : (N,) array, read-only
        Names of the bins, which labels of pandas must be: the positions if they were given, else 0 to N-1.
    n_bins, n_nodes : int
        Both N.
    diameter : float
        The largest distance between two bins.
    edges : Edges
        All edges, in the order of `emdref.flow`.

    Raises
    ------
    TypeError, ValueError
        None or several of `n`, `gaps` and `positions`; a gap that is negative or not finite; positions that do not
        ascend or do not fit into the period.  The message names the argument, the entry and its value.

    Notes
    -----
    Second derivatives, plans, sums along edges (Sinkhorn multiplies by the matrix) and GPUs are not offered.  Exact
    rationals exist for rho = 1 and 2; for others c is irrational.

    Examples
    --------
    >>> import emdref
    >>> emdref.emd([1.0, 0, 0, 0, 0], [0, 0, 0, 0, 1.0], emdref.Circle(5))
    np.float64(1.0)
    >>> emdref.flow([1.0, 0, 0, 0], [0, 0, 0.5, 0.5], emdref.Circle(4))
    array([ 0.25,  0.25, -0.25, -0.75])
    """

    _period: float | None

    def __init__(
        self,
        n: int | None = None,
        *,
        gaps: ArrayLike | None = None,
        positions: ArrayLike | None = None,
        period: float | None = None,
    ) -> None:
        if (n is not None) + (gaps is not None) + (positions is not None) != 1:
            raise ValueError("Circle needs exactly one of n, gaps and positions")
        if period is not None and positions is None:
            raise ValueError("period is the circumference for positions: leave it out, gaps say how long the ring is")
        circumference, places = None, None
        if n is not None:
            costs = np.broadcast_to(1.0, validation.count(n, "n"))  # one number, however many gaps
        elif gaps is not None:
            costs = read_only(reading.checked_costs(gaps, "gaps"))
            if len(costs) == 0:
                raise ValueError("gaps is empty: a space has at least one bin")
        else:
            places = read_only(reading.floats(positions, "positions"))
            circumference = validation.positive(2 * math.pi if period is None else period, "period")
            costs = read_only(_gaps_around(places, circumference))
        self._set(gaps=costs, _positions=places, _period=circumference)

    @property
    def n_bins(self) -> int:
        """Number of bins N, the length of a histogram."""
        return len(self.gaps)

    @property
    def edges(self) -> Edges:
        """From each bin to the next, and from the last to the first."""
        bins = np.arange(self.n_bins)
        return Edges(bins, np.roll(bins, -1), self.gaps)

    def misreadings(self) -> Iterator[tuple[str, Space]]:
        """A chain, for whoever forgets that the last bin is beside the first; and gaps that nobody looks at."""
        if self.n_bins > 1:
            yield "as on a chain, which does not close", Chain(gaps=np.array(self.gaps[:-1]))
            yield "with all costs 1", Circle(self.n_bins)

    # --- distances ----------------------------------------------------------------------------------------------------

    @cached_property
    def _distances(self) -> NDArray[np.float64]:
        """The shorter of the two ways."""
        n = self.n_bins
        matrix = np.stack([self.distances_from(i) for i in range(n)]) if n > 1 else np.zeros((1, 1))
        return read_only(np.minimum(matrix, matrix.T))  # sums on the way there and back round alike

    def distances_from(self, index: int) -> NDArray[np.float64]:
        """Distances from one bin to all bins, (N,)."""
        onward = np.roll(self.gaps, -index)
        out = np.zeros(self.n_bins)
        with np.errstate(over="ignore"):
            out[1:] = np.minimum(np.cumsum(onward[:-1]), np.cumsum(onward[::-1])[:-1][::-1])
        return np.roll(out, index)

    @cached_property
    def diameter(self) -> float:
        """The largest distance between two bins: of each bin and of those opposite to it."""
        n = self.n_bins
        with np.errstate(over="ignore"):
            at = np.concatenate([[0.0], np.cumsum(np.concatenate([self.gaps, self.gaps]))])
        around = at[n]
        if not np.isfinite(at[-1]):  # the sum of all gaps is beyond the range, a distance need not be
            return float(max(self.distances_from(i).max() for i in range(n)))
        opposite = np.searchsorted(at, at[:n] + around / 2)
        far = [at[np.clip(opposite - k, np.arange(n), np.arange(n) + n)] - at[:n] for k in (0, 1)]
        return float(max(np.minimum(x, around - x).max() for x in far))

    # --- the flow in exact numbers ------------------------------------------------------------------------------------

    def is_rational(self, rho: float) -> bool:
        """Whether c is: it solves a linear equation."""
        return rho in (1, 2) or not np.any(self.gaps)

    def exact_flow(self, net: Sequence[Number], cost: Sequence[Number], rho: float) -> list[Number]:
        """phi - c; for a rho other than 1 and 2, where c is irrational, to 60 digits, signs right for integer rho."""
        phi = [*list(accumulate(net))[:-1], 0]
        edges = [(f, c) for f, c in zip(phi, cost, strict=True) if c]
        if not edges:
            return phi
        if rho == 1:
            c = _median(edges)
        elif rho == 2:
            c = Fraction(sum(f * m for f, m in edges)) / Fraction(sum(m for _, m in edges))
        else:
            near, beyond = _minimiser(edges, rho)
            return [(f - near) - beyond for f in phi]
        return [f - c for f in phi]

    def exact_slopes(self, flow: Sequence[Number], cost: Sequence[Number], rho: Number) -> list[Number]:
        """cost times slope; edges without flow share the slope with which all sum to 0 round the ring.

        So it is at rho = 1, and just above it, where a flow that counts as 0 may have any slope.
        """
        slopes = super().exact_slopes(flow, cost, rho)
        if rho >= 2:
            return slopes
        tied = sum(c for f, c in zip(flow, cost, strict=True) if not f)
        left = -sum(slopes)
        shared = (Fraction(left) / Fraction(tied) if rho == 1 else left / tied) if tied else 0
        return [s if f else shared * c for s, f, c in zip(slopes, flow, cost, strict=True)]

    def exact_ranges(self, flow: Sequence[Number], cost: Sequence[Number]) -> tuple[list[Number], list[Number]]:
        """Edges without flow, of weight T in all, have slopes that make up for the sum S of the others.

        Those beyond bin k, of weight A, then sum to between max(-A, -S - (T - A)) and min(A, -S + (T - A)).
        """
        fixed = [c * ((f > 0) - (f < 0)) for f, c in zip(flow, cost, strict=True)]
        free = [0 if f else c for f, c in zip(flow, cost, strict=True)]
        total, rest = sum(fixed), sum(free)
        settled, open_ = self.exact_node_potentials(fixed), self.exact_node_potentials(free)
        low = [s + max(-a, -total - (rest - a)) for s, a in zip(settled, open_, strict=True)]
        high = [s + min(a, -total + (rest - a)) for s, a in zip(settled, open_, strict=True)]
        return low, high

    # --- kernels ------------------------------------------------------------------------------------------------------

    def kernel(self, rho: float, dtype: np.dtype[Any], accuracy: str, shares: bool) -> Kernel | None:
        """A row at a time, see emdref.kernels.tiles.circle."""
        from emdref.kernels.tiles import circle  # here, as in `flow_kernel`: making a space need not wait for it

        cost, step = self.repeated_gaps
        if accuracy == "native":
            return Kernel(circle.emd_circle, (self.n_bins, frozen(narrowed(cost, dtype)), step), 15 * self.n_bins)
        if not self._fits(rho):
            return None
        return Kernel(circle.emd_circle2, (self.n_bins, cost, step, shares), 30 * self.n_bins)

    def flow_kernel(self, rho: float, dtype: np.dtype[Any], accuracy: str, shares: bool) -> Kernel | None:
        """Flows of rows, and which of them are open; compensated, none where C's pow is all there is for powers."""
        from emdref.kernels.tiles import circle

        if accuracy == "native":
            cost, step = self.repeated_gaps
            return Kernel(circle.flow_circle, (self.n_bins, frozen(narrowed(cost, dtype)), step), 15 * self.n_bins)
        if rho not in (1, 2, 3, 4) or not self._fits(rho):
            return None
        return Kernel(circle.flow_circle2, (self.n_bins, *self.repeated_gaps, shares), 25 * self.n_bins)

    def _fits(self, rho: float) -> bool:
        least, most = self.cost_range
        return rho <= 100 and least >= _SMALLEST and most <= _LARGEST

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Circle, **self._arguments()), ()

    def _arguments(self) -> dict[str, Any]:
        return super()._arguments() | ({} if self._period is None else {"period": self._period})


def _gaps_around(positions: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    """Gaps between positions, and from the last round to the first."""
    gaps = reading.gaps_of(positions)
    first, last = (Fraction(x) for x in (positions[0], positions[-1]))
    left = Fraction(period) - (last - first)
    if left <= 0:
        raise ValueError(
            f"period = {period} is not larger than the span of the positions, {float(last - first)}: the last bin "
            "would lie on or beyond the first; give the circumference of the ring"
        )
    return np.append(gaps, float(left))


def _median(edges: list[tuple[Number, Number]]) -> Number:
    """The midpoint of the interval of weighted medians."""
    edges = sorted(edges)
    total, below = sum(m for _, m in edges), 0
    for k, (f, m) in enumerate(edges):
        below += m
        if 2 * below >= total:
            other = edges[k + 1][0] if 2 * below == total else f
            return f if other == f else Fraction(f + other) / 2
    raise AssertionError("weights sum to their total")


def _minimiser(edges: list[tuple[Number, Number]], rho: float) -> tuple[Number, Fraction]:
    """c as the phi next to it and what c lies beyond that."""
    values = sorted({f for f, _ in edges})
    power = int(rho) if rho == int(rho) else rho
    digits = _DIGITS + math.ceil(math.log10(rho)) + 10
    with localcontext(Context(prec=digits, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])):
        first, last = 0, len(values) - 1
        while first < last:  # the last value at which there is still more above than below
            k = (first + last + 1) // 2
            sign = _sign(edges, values[k], power)
            if sign == 0:
                return values[k], Fraction(0)
            first, last = (k, last) if sign > 0 else (first, k - 1)
        a, b = values[first], values[min(first + 1, len(values) - 1)]
        if a == b:
            return a, Fraction(0)
        middle = Fraction(a + b) / 2
        sign = _sign(edges, middle, power)
        if sign == 0:
            return a, middle - a
        near, reach = (a, middle - a) if sign < 0 else (b, middle - b)
        beyond = _beyond(edges, near, _decimal(reach), power)
        return near, Fraction(beyond) if beyond.adjusted() > _NOTHING else Fraction(0)


def _sign(edges: list[tuple[Number, Number]], c: Number, rho: Number) -> int:
    """Of sum M sgn(phi - c) |phi - c|^(rho-1): exactly for an integer rho, else with the context's digits."""
    if isinstance(rho, int) and rho <= _EXACT:
        g = sum(m * (f - c) * abs(f - c) ** (rho - 2) for f, m in edges if f != c)
        return (g > 0) - (g < 0)
    weight: dict[Number, Number] = {}
    for f, m in edges:
        weight[abs(f - c)] = weight.get(abs(f - c), 0) + (m if f > c else -m)  # opposites cancel exactly
    most = max((d for d, m in weight.items() if m), default=0)
    apart = ((Fraction(d) / Fraction(most), m) for d, m in weight.items() if d and m)
    g = sum((_decimal(m) * _decimal(d) ** (Decimal(rho) - 1) for d, m in apart), Decimal(0))
    return (g > 0) - (g < 0)


def _beyond(edges: list[tuple[Number, Number]], near: Number, reach: Decimal, rho: Number) -> Decimal:
    """The t between 0 and `reach` with balance at near + t, to the context's digits, relatively.

    By Newton's method for t^(rho-1) if rho < 2, for roots of order rho - 1 of the sums of powers else: equations that
    are nearly straight whatever rho is.
    """
    r, sign = Decimal(rho) - 1, 1 if reach > 0 else -1
    weight: dict[Number, Number] = {}
    for f, m in edges:
        weight[f - near] = weight.get(f - near, 0) + m
    apart = [(sign * _decimal(d), _decimal(m)) for d, m in weight.items()]
    low, high = Decimal(0), abs(reach)
    t, digits = high / 2, Context(prec=_DIGITS).prec
    for _ in range(_STEPS):
        most = max(abs(d - t) for d, _ in apart)
        above, steep_above = _pull([(d - t, m) for d, m in apart if d > t], most, r)
        below, steep_below = _pull([(t - d, m) for d, m in apart if d < t], most, r)
        g = above - below
        if abs(g) <= (above + below).scaleb(3 - getcontext().prec):  # no digit of it is left
            break
        low, high = (t, high) if g > 0 else (low, t)
        if r < 1:
            straight = 1 + g * most / ((steep_above + steep_below) * t)
            after = t * straight ** (1 / r) if straight > 0 else low
        else:
            a, b = above ** (1 / r), below ** (1 / r)
            slope = (a * steep_above / above if above else 0) + (b * steep_below / below if below else 0)
            after = t + most * (a - b) / slope
        if not low < after < high:
            after = ((low**r + high**r) / 2) ** (1 / r) if r < 1 else (low + high) / 2 if low else high / 1024
        if abs(after - t) <= after.scaleb(-digits):
            return sign * after
        t = after
    return sign * t


def _pull(apart: list[tuple[Decimal, Decimal]], most: Decimal, r: Decimal) -> tuple[Decimal, Decimal]:
    """sum M d^r and sum M d^(r-1) for distances d in units of the largest."""
    pulls = [(m * (d / most) ** r, d / most) for d, m in apart]
    return sum((x for x, _ in pulls), Decimal(0)), sum((x / d for x, d in pulls), Decimal(0))


def _decimal(x: Number) -> Decimal:
    x = Fraction(x)
    return Decimal(x.numerator) / Decimal(x.denominator)
