"""From rationals and decimals to the float64 nearest to them, below them, above them."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction


def nearest(x: Fraction | Decimal | int) -> float:
    """The nearest float64, inf beyond its range."""
    if isinstance(x, Decimal):
        return float(x)
    try:
        return x.numerator / x.denominator
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def down(x: Fraction | Decimal | int) -> float:
    """The largest float64 <= x."""
    y = nearest(x)
    return math.nextafter(y, -math.inf) if y > x else y


def up(x: Fraction | Decimal | int) -> float:
    """The least float64 >= x."""
    y = nearest(x)
    return math.nextafter(y, math.inf) if y < x else y
