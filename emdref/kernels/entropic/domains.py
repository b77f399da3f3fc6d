"""What a scaling is in either domain, number by number: itself, or its logarithm."""

import math
from typing import Any, NamedTuple

from emdref.kernels.arithmetic import semirings
from emdref.kernels.arithmetic.lanes import product
from emdref.kernels.compile.jit import row


class Domain(NamedTuple):
    """Operations on single numbers; those on arrays are in emdref.entropic.gibbs."""

    enter: Any  # from a plain number
    from_log: Any
    to_log: Any
    divide: Any  # x / d, and 0 where x is 0 whatever d is
    mass: Any  # x y as a plain number
    vanished: Any  # is 0
    sound: Any  # above 0 and finite


@row
def _itself(x):
    return x


@row
def _exp(x):
    return type(x)(math.exp(x))


@row
def _log(x):
    return type(x)(-math.inf) if x == type(x)(0) else type(x)(math.log(x))


@row
def _over_log(x, d):
    return x if x == type(x)(-math.inf) else x - d


@row
def _mass_log(x, y):
    return type(x)(math.exp(x + y))


@row
def _vanished_log(x):
    return x == type(x)(-math.inf)


@row
def _sound_log(x):
    return (x > type(x)(-math.inf)) & (x < type(x)(math.inf))


_plain = semirings.LINEAR
LINEAR = Domain(_itself, _exp, _log, _plain.over, product, _plain.vanished, _plain.sound)
LOG = Domain(_log, _itself, _itself, _over_log, _mass_log, _vanished_log, _sound_log)
