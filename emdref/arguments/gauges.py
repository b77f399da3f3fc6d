"""The four gauges of a derivative: one raw gradient r and raw Hessian H, four conventions for constants and scale.

With a vector w, J = I - w 1^T, and a factor f, the gradient is f J^T r = f (r - <w, r>) and the Hessian
f^2 (J^T H J - g 1^T - 1 g^T), where g = J^T r in gauge ``normalized`` and 0 elsewhere:

==============  =======  =======  ===============================================================================
gauge           w        f        source
==============  =======  =======  ===============================================================================
``raw``         0        1        the partial derivatives alone
``zero_sum``    1 / N    1        arXiv 1611.07573, Eqs. (9), (11), (15)
``scaled``      1 / N    N        ICML 2016 workshop, Eq. (6): N times Eq. (9); Eq. (12): N^2 times its derivative
``normalized``  p / |p|  1 / |p|  ICML 2016 workshop, Eq. (4): derivatives through p / |p|
==============  =======  =======  ===============================================================================
"""

from typing import Literal, get_args

from emdref.arguments.messages import shown
from emdref.kernels.rows.gauges import NORMALIZED, RAW, SCALED, ZERO_SUM

__all__ = ["CODES", "NORMALIZED", "RAW", "SCALED", "ZERO_SUM", "Gauge", "code", "name"]

Gauge = Literal["zero_sum", "raw", "scaled", "normalized"]
CODES: dict[str, int] = {"raw": RAW, "zero_sum": ZERO_SUM, "scaled": SCALED, "normalized": NORMALIZED}


def code(gauge: str) -> int:
    """The kernels' number for a gauge's name."""
    if not isinstance(gauge, str) or gauge not in CODES:
        raise ValueError(f"gauge={shown(gauge)} is not one of {', '.join(get_args(Gauge))}")
    return CODES[gauge]


def name(code: "int | None") -> "str | None":
    """The gauge's name for a kernel's number, None for None."""
    return next((gauge for gauge, number in CODES.items() if number == code), None)
