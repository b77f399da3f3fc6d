"""From rationals and decimals to the floats around them: nearest, below, above, and how far those are apart."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np


def nearest(x: Fraction | Decimal | int) -> float:
    """The nearest float64, inf beyond its range."""
    if isinstance(x, Decimal):
        return float(x)
    try:
        return x.numerator / x.denominator
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def rounded(x: Fraction, dtype: Any) -> float:
    """The nearest number of that dtype, once converted to it: for float32 no tie that rounding to float64 made."""
    y = nearest(x)
    if np.dtype(dtype) == np.float32 and math.isfinite(y) and y != x and math.frexp(y)[0] * 2**53 % 2 == 0:
        return math.nextafter(y, math.inf if y < x else -math.inf)  # to odd: no float32, and none between two
    return y


def down(x: Fraction | Decimal | int) -> float:
    """The largest float64 <= x."""
    y = nearest(x)
    return math.nextafter(y, -math.inf) if y > x else y


def up(x: Fraction | Decimal | int) -> float:
    """The least float64 >= x."""
    y = nearest(x)
    return math.nextafter(y, math.inf) if y < x else y


def error(got: Any, exact: Fraction, dtype: Any, unit: Fraction | None = None) -> float:
    """|got - exact| in ulp of `unit`, or of the exact number; inf for NaN, and for inf where it does not belong."""
    if not np.isfinite(got):
        beyond = abs(exact) > Fraction(float(np.finfo(dtype).max))
        return 0.0 if beyond and (got > 0) == (exact > 0) and not np.isnan(got) else math.inf
    return nearest(abs(Fraction(float(got)) - exact) / ulp(exact if unit is None else unit, dtype))


def ulp(x: Fraction, dtype: Any) -> Fraction:
    """The distance between the floats of that dtype around x, of the largest ones beyond the range."""
    info, x = np.finfo(dtype), abs(x)
    least, most = int(info.minexp), int(info.maxexp) - 1
    exponent = x.numerator.bit_length() - x.denominator.bit_length() if x else least
    exponent -= x < Fraction(2) ** exponent
    return Fraction(2) ** (min(max(exponent, least), most) - int(info.nmant))
