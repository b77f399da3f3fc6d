"""The four gauges of a gradient: one raw derivative r, four conventions for its constant and scale.

Each is ``(r - offset) * factor``:

============  ====================  ==========  =====================================================
gauge         offset                factor      source
============  ====================  ==========  =====================================================
``raw``       0                     1           the partial derivative alone
``zero_sum``  mean(r)               1           arXiv 1611.07573, Eqs. (9), (11), (15)
``scaled``    mean(r)               N           ICML 2016 workshop, Eq. (6): N times Eq. (9)
``normalized``  <p, r> / |p|        1 / |p|     ICML 2016 workshop, Eq. (4): through p / |p|
============  ====================  ==========  =====================================================
"""

from typing import Literal, get_args

Gauge = Literal["zero_sum", "raw", "scaled", "normalized"]
RAW, ZERO_SUM, SCALED, NORMALIZED = 0, 1, 2, 3
CODES = {"raw": RAW, "zero_sum": ZERO_SUM, "scaled": SCALED, "normalized": NORMALIZED}


def code(gauge: str) -> int:
    """The kernels' number for a gauge's name."""
    if not isinstance(gauge, str) or gauge not in CODES:
        raise ValueError(f"gauge={gauge!r} is not one of {', '.join(get_args(Gauge))}")
    return CODES[gauge]


def name(code: "int | None") -> "str | None":
    """The gauge's name for a kernel's number, None for None."""
    return next((gauge for gauge, number in CODES.items() if number == code), None)
