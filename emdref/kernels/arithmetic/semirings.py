"""Numbers that the traversals of `emdref.kernels.entropic.products` add, multiply and divide: plain ones, and scaled
ones; one by one, or a vector of them side by side (see emdref.kernels.arithmetic.lanes).

A scaled number is a pair (m, e) of floats of one dtype, m 2^(64 e) with e an integer and m between 2^-32 and 2^32, or
(0, -inf): it neither under- nor overflows, and a sum or product of two costs a few multiplications and comparisons, no
exponential.  A power of two changes no digit of m.  Where one number's e is larger by 2 the other is less than 2^-64
of it and leaves no trace in their sum.  Nothing is negative.

Scratch memory holds the elements of as many rows as a vector has lanes: of a scaled one all mantissas, then all
exponents.
"""

import math
from typing import Any, NamedTuple

from emdref.kernels.arithmetic import lanes
from emdref.kernels.arithmetic.lanes import choose, fill, least, number, product
from emdref.kernels.compile.jit import inline, row

_BASE, _SHRINK = 2.0**64, 2.0**-64
_LOW, _HIGH = 2.0**-32, 2.0**32
_MOST = 17  # steps by 2^64 from the smallest number of float64 to 2^-32
_LOG_BASE = 64 * math.log(2.0)
LOG_HIGH = 44.359375  # 12 bits, so that its products with exponents below 2^12 are exact in float32 too
LOG_LOW = 0.0020445558364998027  # the rest


class Semiring(NamedTuple):
    """The operations, on elements as `load` gives them."""

    parts: int  # floats an element
    load: Any  # elements number v of scratch memory, a row a lane
    store: Any
    factor: Any  # an element of an array (nodes, parts)
    take: Any  # one row's element, whose parts are so many entries apart
    give: Any  # and another in its place
    spread: Any  # the same element in all lanes
    entered: Any  # from what the caller's arrays hold
    left: Any  # to that
    taken: Any  # from plain numbers >= 0
    plain: Any  # to a plain number
    null: Any  # 0 in the dtype of a float
    plus: Any
    times: Any
    over: Any  # x / y, 0 where x is 0 whatever y is
    vanished: Any  # is 0
    sound: Any  # above 0 and finite
    reach: Any  # no less than the size of its logarithm, if that may be too large for its digits


# --- plain numbers ----------------------------------------------------------------------------------------------------


@inline
def _load1(x, v):
    return lanes.load(x, v)


@inline
def _store1(x, v, value):
    lanes.store(x, v, value)


@inline
def _factor1(a, v):
    return a[v, 0]


@inline
def _take1(x, i, plane):
    return x[i]


@inline
def _give1(x, i, plane, value):
    x[i] = value


@inline
def _spread1(x):
    return fill(x)


@inline
def _itself(x):
    return x


@inline
def _null1(x):
    return number(0.0, x)


@inline
def _plus1(x, y):
    return x + y


@inline
def _times1(x, y):
    return product(x, y)


@inline
def _over1(x, y):
    return choose(x == number(0.0, x), x, x / y)


@inline
def _vanished1(x):
    return x == number(0.0, x)


@inline
def _sound1(x):
    return (x > number(0.0, x)) & (x < number(math.inf, x))


@inline
def _reach1(x):
    return number(0.0, x)


# --- scaled numbers ---------------------------------------------------------------------------------------------------


@inline
def _load2(x, v):
    return lanes.load(x, 2 * v), lanes.load(x, 2 * v + 1)


@inline
def _store2(x, v, value):
    lanes.store(x, 2 * v, value[0])
    lanes.store(x, 2 * v + 1, value[1])


@inline
def _factor2(a, v):
    return a[v, 0], a[v, 1]


@inline
def _take2(x, i, plane):
    return x[i], x[i + plane]


@inline
def _give2(x, i, plane, value):
    x[i] = value[0]
    x[i + plane] = value[1]


@inline
def _spread2(x):
    return fill(x[0]), fill(x[1])


@inline
def _lowered(m, e):
    high = m > number(_HIGH, m)
    return choose(high, m * number(_SHRINK, m), m), choose(high, e + number(1.0, e), e)


@inline
def _raised(m, e):
    low = m < number(_LOW, m)
    return choose(low, m * number(_BASE, m), m), choose(low, e - number(1.0, e), e)


@row
def _entered2(x):
    """exp(x); the exponent's share of x is taken off in two parts, so that no digit of the rest is lost."""
    kind = type(x)
    if x == kind(-math.inf):
        return kind(0), x
    if not x < kind(math.inf):
        return x, x
    e = kind(math.floor(x / kind(_LOG_BASE) + kind(0.5)))
    return kind(math.exp((x - product(e, kind(LOG_HIGH))) - product(e, kind(LOG_LOW)))), e


@row
def _left2(x):
    """Its logarithm."""
    m, e = x
    kind = type(m)
    if m == kind(0):
        return kind(-math.inf)
    return product(e, kind(LOG_HIGH)) + (kind(math.log(m)) + product(e, kind(LOG_LOW)))


@row
def _taken2(x):
    """Lanes of plain numbers, exactly."""
    zero, one = number(0.0, x), number(1.0, x)
    m, e = x, x * zero
    steps = 0
    while steps < _MOST and least(choose(m == zero, one, m)) < number(_LOW, x):
        m, e = _raised(m, e)
        steps += 1
    steps = 0
    while steps < _MOST and least(-m) < -number(_HIGH, x):
        m, e = _lowered(m, e)
        steps += 1
    return m, choose(m == zero, number(-math.inf, x), e)


@inline
def _up(m, e, factor, steps):
    beyond = e >= number(steps, e)
    return choose(beyond, m * factor, m), choose(beyond, e - number(steps, e), e)


@inline
def _down(m, e, factor, steps):
    below = e <= -number(steps, e)
    return choose(below, m * factor, m), choose(below, e + number(steps, e), e)


@inline
def _plain2(x):
    """By powers of 2^64 that fall, so that what is lost below the range is rounded once; inf where a power is."""
    m, e = x
    base, shrink = number(_BASE, m), number(_SHRINK, m)
    base4, shrink2 = (base * base) * (base * base), shrink * shrink
    shrink4 = shrink2 * shrink2
    m, e = _up(*_up(m, e, base4 * base4, 8.0), base4 * base4, 8.0)
    m, e = _up(*_up(*_up(*_up(m, e, base4, 4.0), base, 1.0), base, 1.0), base, 1.0)
    m, e = _down(*_down(m, e, (shrink4 * shrink4) * (shrink4 * shrink4), 16.0), shrink4 * shrink4, 8.0)
    return _down(*_down(*_down(m, e, shrink4, 4.0), shrink2, 2.0), shrink, 1.0)[0]


@inline
def _null2(x):
    return number(0.0, x), number(-math.inf, x)


@inline
def _plus2(x, y):
    zero, one, shrink = number(0.0, x[0]), number(1.0, x[0]), number(_SHRINK, x[0])
    d = x[1] - y[1]
    f = choose(d >= zero, one, choose(d == -one, shrink, zero))
    g = choose(d <= zero, one, choose(d == one, shrink, zero))
    return _lowered(product(x[0], f) + product(y[0], g), choose(d >= zero, x[1], y[1]))


@inline
def _times2(x, y):
    return _lowered(*_raised(x[0] * y[0], x[1] + y[1]))


@inline
def _over2(x, y):
    m, e = _lowered(*_raised(x[0] / y[0], x[1] - y[1]))
    empty = x[0] == number(0.0, x[0])
    return choose(empty, x[0], m), choose(empty, x[1], e)


@inline
def _vanished2(x):
    return _vanished1(x[0])


@inline
def _sound2(x):
    return _sound1(x[0])


@inline
def _reach2(x):
    return (abs(x[1]) + number(1.0, x[1])) * number(45.0, x[1])


LINEAR = Semiring(
    1, _load1, _store1, _factor1, _take1, _give1, _spread1, _itself, _itself, _itself, _itself, _null1, _plus1, _times1,
    _over1, _vanished1, _sound1, _reach1,
)  # fmt: skip
SCALED = Semiring(
    2, _load2, _store2, _factor2, _take2, _give2, _spread2, _entered2, _left2, _taken2, _plain2, _null2, _plus2,
    _times2, _over2, _vanished2, _sound2, _reach2,
)  # fmt: skip
