"""Number formats of tensor cores, emulated in float32 arrays that hold only what the format can represent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Format:
    """A format narrower than float32; `dtype`, `eps` and `max` are named as in `numpy.finfo`."""

    dtype: str
    bits: int  # significant bits of a normal number
    max: float  # the largest number that can be stored
    narrow: bool = True  # arrays are stored in it, not only the operands of a product

    @property
    def eps(self) -> float:
        """From 1 to the next larger number."""
        return 2.0 ** (1 - self.bits)

    def rounded(self, x: Array) -> Array:
        """float32 numbers rounded to the format: operands of a product."""
        return _half(x) if self.dtype == "float16" else significant(x, self.bits)

    def stored(self, x: Array) -> Array:
        """float32 numbers as an array of them is stored."""
        return self.rounded(x) if self.narrow else x


FORMATS = {
    f.dtype: f
    for f in (
        Format("bfloat16", 8, (2.0 - 2.0**-7) * 2.0**127),
        Format("float16", 11, 65504.0),
        Format("tf32", 11, (2.0 - 2.0**-23) * 2.0**127, narrow=False),
    )
}


def find(dtype: Any) -> Format | None:
    """The format that a name or a dtype object stands for, None if it stands for none of them.

    >>> find("tf32").eps == find(np.float16).eps == 2.0**-10
    True
    >>> find(np.float32) is find(None) is None
    True
    """
    if isinstance(dtype, str) and dtype in FORMATS:
        return FORMATS[dtype]
    try:
        return FORMATS.get(np.dtype(dtype).name)
    except Exception:  # TypeError, or what the repr of whatever was given raises
        return None


def limits(dtype: Any) -> Any:
    """`eps`, `max` and `dtype` of a format or of a NumPy dtype."""
    return dtype if isinstance(dtype, Format) else np.finfo(dtype)


def significant(x: Array, bits: int) -> Array:
    """float32 numbers rounded to `bits` significant bits, ties to even, with float32's exponents.

    Subnormals keep as many bits less as they are below the smallest normal number; what rounds beyond the largest
    number becomes inf; infinities and NaN stay.

    >>> significant(np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, 3.4e38], np.float32), 8)
    array([1.      , 1.015625,      inf], dtype=float32)
    """
    drop = 24 - bits
    raw = np.asarray(x, np.float32).view(np.uint32)
    carried = raw + (raw >> drop & 1) + ((1 << drop - 1) - 1)
    return np.where(np.isnan(x), x, (carried & (0xFFFFFFFF << drop & 0xFFFFFFFF)).view(np.float32))


def _half(x: Array) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        return x.astype(np.float16).astype(np.float32)
