"""Numbers that the traversals of `emdref.kernels.entropic.products` add, multiply and divide: plain ones, and scaled
ones.

A scaled number is a pair (m, e) of floats of one dtype, m 2^(64 e) with e an integer and m between 2^-32 and 2^32, or
(0, -inf): it neither under- nor overflows, and a sum or product of two costs a few multiplications and comparisons, no
exponential.  A power of two changes no digit of m.  Where one number's e is larger by 2 the other is less than 2^-64
of it and leaves no trace in their sum.  Nothing is negative.

An array's row holds the elements of one node, a lane a histogram: all mantissas, then all exponents, so that both
kinds are worked on in strides of one.
"""

import math
from typing import Any, NamedTuple

from emdref.kernels.arithmetic.lanes import product
from emdref.kernels.compile.jit import row

_BASE, _SHRINK = 2.0**64, 2.0**-64
_LOW, _HIGH = 2.0**-32, 2.0**32
_LOG_BASE = 64 * math.log(2.0)
_LOG_HIGH = 44.359375  # 12 bits, so that its products with exponents below 2^12 are exact in float32 too
_LOG_LOW = 0.0020445558364998027  # the rest


class Semiring(NamedTuple):
    """The operations, on elements as `load` gives them."""

    parts: int  # floats an element
    lanes: Any  # how many elements a node's row has
    load: Any  # one of them
    store: Any
    factor: Any  # an element of an array (nodes, parts)
    entered: Any  # from what the caller's arrays hold
    left: Any  # to that
    plain: Any  # to a plain number
    null: Any  # 0 in the dtype of a float
    plus: Any
    times: Any
    over: Any  # x / y, 0 where x is 0 whatever y is
    vanished: Any  # is 0
    sound: Any  # above 0 and finite


# --- plain numbers ----------------------------------------------------------------------------------------------------


@row
def _lanes1(x):
    return len(x)


@row
def _load1(x, i, lanes):
    return x[i]


@row
def _store1(x, i, lanes, value):
    x[i] = value


@row
def _factor1(a, v):
    return a[v, 0]


@row
def _itself(x):
    return x


@row
def _null1(x):
    return type(x)(0)


@row
def _plus1(x, y):
    return x + y


@row
def _times1(x, y):
    return product(x, y)


@row
def _over1(x, y):
    z = x / y  # at once, and chosen afterwards: a branch would keep the loop over lanes from becoming vectors
    return x if x == type(x)(0) else z


@row
def _vanished1(x):
    return x == type(x)(0)


@row
def _sound1(x):
    return (x > type(x)(0)) & (x < type(x)(math.inf))


# --- scaled numbers ---------------------------------------------------------------------------------------------------


@row
def _lanes2(x):
    return len(x) // 2


@row
def _load2(x, i, lanes):
    return x[i], x[i + lanes]


@row
def _store2(x, i, lanes, value):
    x[i] = value[0]
    x[i + lanes] = value[1]


@row
def _factor2(a, v):
    return a[v, 0], a[v, 1]


@row
def _lowered(m, e):
    number = type(m)
    high = m > number(_HIGH)
    return m * number(_SHRINK) if high else m, e + number(1) if high else e


@row
def _raised(m, e):
    number = type(m)
    low = m < number(_LOW)
    return m * number(_BASE) if low else m, e - number(1) if low else e


@row
def _entered2(x):
    """exp(x); the exponent's share of x is taken off in two parts, so that no digit of the rest is lost."""
    number = type(x)
    if x == number(-math.inf):
        return number(0), x
    if not x < number(math.inf):
        return x, x
    e = number(math.floor(x / number(_LOG_BASE) + number(0.5)))
    return number(math.exp((x - product(e, number(_LOG_HIGH))) - product(e, number(_LOG_LOW)))), e


@row
def _left2(x):
    """Its logarithm."""
    m, e = x
    number = type(m)
    if m == number(0):
        return number(-math.inf)
    return product(e, number(_LOG_HIGH)) + (number(math.log(m)) + product(e, number(_LOG_LOW)))


@row
def _plain2(x):
    m, e = x
    number = type(m)
    while e > number(0) and m < number(math.inf):
        m, e = m * number(_BASE), e - number(1)
    while e < number(0) and m > number(0):
        m, e = m * number(_SHRINK), e + number(1)
    return m


@row
def _null2(x):
    return type(x)(0), type(x)(-math.inf)


@row
def _plus2(x, y):
    number = type(x[0])
    zero, one, shrink = number(0), number(1), number(_SHRINK)
    d = x[1] - y[1]
    f = one if d >= zero else (shrink if d == -one else zero)
    g = one if d <= zero else (shrink if d == one else zero)
    return _lowered(product(x[0], f) + product(y[0], g), x[1] if d >= zero else y[1])


@row
def _times2(x, y):
    return _lowered(*_raised(x[0] * y[0], x[1] + y[1]))


@row
def _over2(x, y):
    m, e = _lowered(*_raised(x[0] / y[0], x[1] - y[1]))
    empty = x[0] == type(m)(0)
    return x[0] if empty else m, x[1] if empty else e


@row
def _vanished2(x):
    return x[0] == type(x[0])(0)


@row
def _sound2(x):
    return _sound1(x[0])


LINEAR = Semiring(
    1,
    _lanes1,
    _load1,
    _store1,
    _factor1,
    _itself,
    _itself,
    _itself,
    _null1,
    _plus1,
    _times1,
    _over1,
    _vanished1,
    _sound1,
)
SCALED = Semiring(
    2,
    _lanes2,
    _load2,
    _store2,
    _factor2,
    _entered2,
    _left2,
    _plain2,
    _null2,
    _plus2,
    _times2,
    _over2,
    _vanished2,
    _sound2,
)
