"""The definitions, one pair at a time, in any arithmetic that Python has: integers, Fractions, Decimals.

Shares no code with the kernels.  A `Row` holds one pair as integers over common units; the functions below it take
that, or the same numbers as Decimals, and return numbers in units that the caller multiplies in at the end, so that
rationals cost no more than the integers in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from math import inf, lcm
from numbers import Rational
from typing import Any

import numpy as np

from emdref.arguments import containers, devices, libraries, validation
from emdref.arguments.messages import shown, written
from emdref.spaces.space import Space, check_space

_REAL: tuple[type[Any], ...] = (Rational, float, np.integer, np.floating)


class Row:
    """One pair of histograms on a space.

    Attributes
    ----------
    phi, cost, p : lists
        Flows in units of `phi_unit`, costs of `cost_unit`, masses of p of `mass_unit`; flows are those for exponent
        `rho`, on which they depend where edges close a circle.
    """

    def __init__(self, p: Any, q: Any, space: Space, normalize: bool, rho: float = 1) -> None:
        check_space(space)
        containers.check_labels({"p": p, "q": q}, space)
        n = space.n_bins
        both, self.mass_unit = integers([*histogram(p, "p", n), *histogram(q, "q", n)])
        libraries.home({"p": p, "q": q})
        self.p, self.q = both[:n], both[n:]
        q = self.q
        self.phi_unit = self.mass_unit
        d = [a - b for a, b in zip(self.p, q, strict=True)]
        if normalize:
            a, b = sum(self.p), sum(q)
            if not a or not b:
                raise ValueError(f"{'q' if a else 'p'} is all zeros and cannot be normalised")
            d = [x * b - y * a for x, y in zip(self.p, q, strict=True)]
            self.phi_unit = Fraction(1, a * b)
        self.space = space
        self.cost, self.cost_unit = integers(space.edges.cost.tolist())
        self.phi = space.exact_flow(d, self.cost, rho)

    def decimal(self, *, scaled: bool) -> Row:
        """The same numbers in Decimals of the current context, flows in units of the largest if `scaled`.

        Scaled, no power overflows, but what is far below the largest counts as 0; not scaled, each power is right.
        """
        other: Any = object.__new__(Row)
        other.space = self.space
        other.cost = [as_decimal(c * self.cost_unit) for c in self.cost]
        other.p = [as_decimal(m * self.mass_unit) for m in self.p]
        other.cost_unit = other.mass_unit = Decimal(1)
        unit = (max(map(abs, self.phi), default=0) if scaled else 0) or 1 / self.phi_unit
        other.phi = [as_decimal(Fraction(f) / unit) for f in self.phi]
        other.phi_unit = as_decimal(unit * self.phi_unit)
        return other

    def below(self, x: Sequence[Any]) -> list[Any]:
        """Sums of bins below each edge, on a rooted tree."""
        return self.space.exact_flow(x, self.cost, 1)

    def above(self, steps: Sequence[Any]) -> list[Any]:
        """Sums over the edges above each bin."""
        return self.space.exact_potentials(steps)

    def counts(self, gauge: str) -> list[bool]:
        """Whether second derivatives depend on an edge: it costs something and has bins below it, but, except in gauge
        ``raw``, not all of them, since it moves them alike."""
        n = len(self.p)
        return [
            bool(c and under and (under < n or gauge == "raw"))
            for c, under in zip(self.cost, self.below([1] * n), strict=True)
        ]

    def kink(self, gauge: str) -> int | None:
        """The first edge with phi = 0 that second derivatives depend on, if there is one."""
        return next(
            (e for e, (f, on) in enumerate(zip(self.phi, self.counts(gauge), strict=True)) if on and not f), None
        )


def check_totals(row: Row) -> None:
    """Refuse totals that differ by more than rounding in float64 explains."""
    a, b = sum(row.p), sum(row.q)
    if abs(a - b) > Fraction(validation.mass_tolerance(np.float64, len(row.p))) * max(a, b):
        total_p, total_q = (float(x * row.mass_unit) for x in (a, b))
        raise ValueError(f'p has total {total_p:.17g} and q {total_q:.17g}: pass mass="normalize" or mass="ignore"')


def value(row: Row, rho: Any) -> Any:
    """sum_e M_e |phi_e|**rho in cost_unit * phi_unit**rho; Eqs. (5), (10), (13)."""
    return sum((c * abs(f) ** rho for c, f in zip(row.cost, row.phi, strict=True) if c and f), 0 * rho)


def slopes(row: Row, rho: Any) -> list[Any]:
    """Raw derivative with respect to each bin, in cost_unit * phi_unit**(rho-1); Eqs. (11) and (15)."""
    return row.above(row.space.exact_slopes(row.phi, row.cost, rho))


def gradient(row: Row, rho: Any, gauge: str) -> tuple[list[Any], Any]:
    """Gradient as (numbers, unit); see emdref.arguments.gauges."""
    r, unit = slopes(row, rho), row.cost_unit * row.phi_unit ** (rho - 1)
    if gauge == "raw":
        return r, unit
    w = weights(row, gauge)
    total, w_r = sum(w), dot(w, r)
    return [total * x - w_r for x in r], unit / total * _factor(row, gauge)


def weights(row: Row, gauge: str) -> list[Any]:
    """What a gauge takes means with: p in ``normalized``, else 1 for every bin."""
    return row.p if gauge == "normalized" else [1] * len(row.p)


def _factor(row: Row, gauge: str) -> Any:
    """By what a gauge multiplies each differentiation."""
    if gauge == "normalized":
        return 1 / (sum(row.p) * row.mass_unit)
    return len(row.p) if gauge == "scaled" else 1


def curvatures(row: Row, rho: Any, gauge: str) -> list[Any]:
    """rho (rho-1) M_e |phi_e|**(rho-2) in cost_unit * phi_unit**(rho-2), for a row without kinks; 0 where nothing
    depends on it."""
    bend, zero = rho * (rho - 1), 0 * rho
    edges = zip(row.cost, row.phi, row.counts(gauge), strict=True)
    if rho == 2:
        return [bend * c if on else zero for c, _, on in edges]
    return [bend * c * abs(f) ** (rho - 2) if bend and f and on else zero for c, f, on in edges]


class Hessian:
    """The second derivative of a row without kinks in a gauge, Eq. (12): entries are `unit` times what is returned.

    With H raw, weights w of sum W and g the gradient at p/|p| in gauge ``normalized``, else 0, W**2 times the second
    derivative is W**2 H - b 1^T - 1 b^T + t 1 1^T with the border b = W (H w + W g) and the corner t = w^T H w.
    """

    def __init__(self, row: Row, rho: Any, gauge: str) -> None:
        self._row, self._raw = row, gauge == "raw"
        self._bends, self.unit = curvatures(row, rho, gauge), row.cost_unit * row.phi_unit ** (rho - 2)
        if self._raw:
            return
        w = weights(row, gauge)
        g = [0] * len(w)
        if gauge == "normalized":  # H in the unit of g
            finer: Any = 1 / row.phi_unit
            finer = int(finer) if isinstance(finer, Fraction) else finer  # whole, for integers
            self._bends = [b * finer for b in self._bends]
            self.unit = self.unit * row.phi_unit
            r = slopes(row, rho)
            w_r = dot(w, r)
            g = [sum(w) * x - w_r for x in r]
        self._total = sum(w)
        by_w = self._times(w)
        self._corner = dot(w, by_w)
        self._border = [self._total * (a + b) for a, b in zip(by_w, g, strict=True)]
        self.unit = self.unit * _factor(row, gauge) ** 2 / self._total**2

    def _times(self, x: Sequence[Any]) -> list[Any]:
        """H x in O(V): sums below, sums above."""
        return self._row.above([b * t if t else t for b, t in zip(self._bends, self._row.below(x), strict=True)])

    def line(self, k: int) -> list[Any]:
        """Row k of the matrix."""
        n = len(self._row.p)
        raw = self._times([int(j == k) for j in range(n)])
        if self._raw:
            return raw
        square, own = self._total**2, self._border[k]  # own + b, not one after the other: symmetric to the last digit
        return [square * h - (own + b) + self._corner for h, b in zip(raw, self._border, strict=True)]

    def times(self, v: Sequence[Any]) -> list[Any]:
        """Its product with a vector."""
        raw = self._times(v)
        if self._raw:
            return raw
        square, s = self._total**2, sum(v)
        rest = self._corner * s - dot(self._border, v)
        return [square * h - b * s + rest for h, b in zip(raw, self._border, strict=True)]


def dot(a: Iterable[Any], b: Iterable[Any]) -> Any:
    """<a, b>."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def histogram(x: Any, name: str, size: int) -> Sequence[Any]:
    """`size` numbers >= 0 with exact values."""
    values = numbers(x, name, size)
    for k, number in enumerate(values):
        if number < 0:
            raise ValueError(f"{name}[{k}] = {written(number)}: a histogram holds finite mass >= 0")
    return values


def numbers(x: Any, name: str, size: int) -> Sequence[Any]:
    """`size` finite numbers with exact values: floats, integers, Fractions."""
    devices.on_host(x, name)
    x = containers.row(x, name)
    try:
        values: Any = x if isinstance(x, (list, tuple)) else libraries.as_numpy(x, name)
        shape = np.shape(values)
    except ValueError:
        raise ValueError(f"{name} is not a sequence of numbers") from None
    if shape != (size,):
        raise ValueError(f"{name} has shape {written(shape)}, expected one entry for each of the space's {size} bins")
    found: Sequence[Any] = values if isinstance(values, (list, tuple)) else values.tolist()
    for k, number in enumerate(found):
        if not isinstance(number, _REAL):
            raise TypeError(f"{name}[{k}] = {shown(number)} is not a real number: give floats, integers or Fractions")
        if not -inf < number < inf:
            raise ValueError(f"{name}[{k}] = {written(number)}: only finite numbers have an exact value")
    return found


def integers(values: Sequence[Any]) -> tuple[list[int], Fraction]:
    """Integers n and a unit with values == n * unit exactly."""
    ratios = [(int(x), 1) if isinstance(x, np.integer) else x.as_integer_ratio() for x in values]
    unit = lcm(*{d for _, d in ratios}) if ratios else 1
    return [n * (unit // d) for n, d in ratios], Fraction(1, unit)


def as_decimal(x: Fraction) -> Decimal:
    """A rational in the digits of the current context."""
    return Decimal(x.numerator) / Decimal(x.denominator)
