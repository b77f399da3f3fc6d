"""What two limbs cannot hold, done again without them: rationals for rho in {1, 2, 3, 4}, else 50 decimal digits.

One row at a time and slow; ordinary data hardly ever comes here.
"""

from __future__ import annotations

import math
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

from emdref import exact

_DIGITS = Context(prec=50, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])  # beyond even that range: 0 or inf


def emd(p: Any, q: Any, space: Any, rho: float, normalize: bool, gauge: str | None) -> tuple[float, list[float] | None]:
    """Value, and gradient in that gauge (None for none), rounded to float64, inf beyond its range."""
    if rho in (1, 2, 3, 4):
        value = exact.emd(p, q, space, int(rho), normalize=normalize)
        grad = exact.grad(p, q, space, int(rho), gauge=gauge, normalize=normalize) if gauge else None
        return _float(value), [_float(g) for g in grad] if gauge else None
    with localcontext(_DIGITS):
        return _real_exponent(exact.Row(p, q, space, normalize), Decimal(rho), gauge)


def flow(p: Any, q: Any, space: Any, normalize: bool) -> list[float]:
    """Flows rounded to float64, in the order of emdref.flow."""
    return [_float(f) for f in exact.flow(p, q, space, normalize=normalize)]


def _real_exponent(row: exact.Row, rho: Decimal, gauge: str | None) -> tuple[float, list[float] | None]:
    phi = [_decimal(f * row.phi_unit) for f in row.phi]
    cost = [_decimal(c * row.cost_unit) for c in row.cost]
    value = sum((c * abs(f) ** rho for c, f in zip(cost, phi, strict=True) if c and f), Decimal(0))
    if gauge is None:
        return float(value), None
    slopes = [
        rho * c * (abs(f) ** (rho - 1)).copy_sign(f) if c and f else Decimal(0) for c, f in zip(cost, phi, strict=True)
    ]
    masses = [_decimal(m * row.mass_unit) for m in row.p]
    grad = exact.in_gauge([Decimal(r) for r in row.above(slopes)], masses, gauge)
    return float(value), [float(g) for g in grad]


def _decimal(x: Fraction) -> Decimal:
    return Decimal(x.numerator) / Decimal(x.denominator)


def _float(x: Fraction) -> float:
    """The nearest float64, inf beyond its range."""
    try:
        return x.numerator / x.denominator
    except OverflowError:
        return math.inf if x > 0 else -math.inf
