"""Graded pairs of histograms, from whole numbers to what breaks plain arithmetic, the same ones on every machine.

The two totals of a pair are equal exactly, so that it does not matter where a program puts a difference.  Pairs are
made of integers, a table and divisions; no exponential of the C library is involved.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from emdref.arguments import validation
from emdref.arguments.messages import shown

Grade = Literal["easy", "ordinary", "hard", "hostile"]
Pair = tuple[NDArray[Any], NDArray[Any]]
Rng = np.random.Generator
_STEPS = 1024  # to an octave
_OCTAVE = np.round(2.0 ** (np.arange(_STEPS) / _STEPS) * 2**22) / 2**22  # few bits: a last bit of pow does not count


class Family(NamedTuple):
    """One kind of pair.

    Attributes
    ----------
    grade : {"easy", "ordinary", "hard", "hostile"}
        How hard it is.
    draw : callable
        ``draw(rng, n, dtype)`` gives a pair (p, q) of n bins, with a NumPy generator.
    """

    grade: Grade
    draw: Callable[[Rng, int, Any], Pair]


def lognormal(rng: Rng, shape: Any, sigma: float) -> NDArray[np.float64]:
    """Numbers ``exp(sigma z)`` for standard normal z, in steps of ``2**(1/1024)``."""
    steps = np.rint(_STEPS * sigma / np.log(2) * rng.standard_normal(shape)).astype(np.int64)
    return np.ldexp(_OCTAVE[steps % _STEPS], steps // _STEPS)


def normalized(weights: NDArray[np.float64], dtype: Any) -> NDArray[Any]:
    """Rows divided by their totals, as a softmax layer returns them in that dtype."""
    weights = weights.astype(dtype)
    total = np.cumsum(weights, axis=-1, dtype=np.float64)[..., -1:]  # one by one: in the same order everywhere
    return weights / total.astype(dtype)


def softmax(rng: Rng, n: int, dtype: Any, sigma: float = 2.0) -> Pair:
    """A softmax of logits with spread sigma, and the same masses moved on by some bins, cyclically.

    A permutation would now and then keep the first or last bins together, and make a flow of exactly 0.
    """
    p = normalized(lognormal(rng, n, sigma), dtype)
    return p, np.roll(p, int(rng.integers(1, max(n, 2))))


def peaked(rng: Rng, n: int, dtype: Any) -> Pair:
    """A softmax pair of logits with spread 8: a few bins hold most of the mass."""
    return softmax(rng, n, dtype, 8.0)


def one_hot(rng: Rng, n: int, dtype: Any) -> Pair:
    """A softmax against one bin that holds its total; what rounding leaves of that is in the bins that follow."""
    p = normalized(lognormal(rng, n, 2.0), dtype)
    q, k, left = np.zeros_like(p), int(rng.integers(n)), sum(map(Fraction, p.tolist()))
    while left and not q.all():
        part = dtype(float(left))
        part = part if Fraction(float(part)) <= left else np.nextafter(part, dtype(0))
        q[k % n] += part
        left -= Fraction(float(part))
        k += 1
    return (p, q) if not left else (p, rng.permutation(p))


def integers(rng: Rng, n: int, dtype: Any) -> Pair:
    """Whole numbers from 0 to 4."""
    x = (rng.integers(0, 4, n) + (np.arange(n) == 0)).astype(dtype)
    return x, rng.permutation(x)


def local_moves(rng: Rng, n: int, dtype: Any) -> Pair:
    """q is p with short dyadic masses moved to the next bin, by a third of the bins."""
    p = np.ldexp(rng.integers(2**10, 2**16, n).astype(dtype), -20)
    moved = np.where(rng.random(n) < 1 / 3, np.ldexp(rng.integers(1, 2**9, n).astype(dtype), -20), 0).astype(dtype)
    return p, p - moved + np.roll(moved, 1)


def rotated_blocks(n: int, width: int = 3) -> NDArray[np.int64]:
    """An order of n bins that takes the first of each block of `width` to the block's end."""
    return np.concatenate([np.roll(range(a, min(a + width, n)), -1) for a in range(0, n, width)])


def block_permuted(rng: Rng, n: int, dtype: Any) -> Pair:
    """q is p with each block of three bins rotated: on a chain, flows between blocks are exactly 0.

    Plain sums leave noise there: (a - b) + (b - c) + (c - a) rounds; a block reversed, (a - c) + 0 + (c - a), does not.
    """
    p = normalized(lognormal(rng, n, 4.0), dtype)
    return p, p[rotated_blocks(n)]


def one_ulp(rng: Rng, n: int, dtype: Any) -> Pair:
    """q is p but for one ulp, which goes from one bin to another of the same binade, wherever two can be paired."""
    p = normalized(lognormal(rng, n, 2.0), dtype)
    q, one = p.copy(), dtype(1)
    order = np.argsort(p, kind="stable")
    for i, j in zip(order[::2], order[1::2], strict=False):
        up, down = np.nextafter(p[i], one), np.nextafter(p[j], dtype(0))
        if up - p[i] == p[j] - down:
            q[i], q[j] = up, down
    return p, q


def spread(rng: Rng, n: int, dtype: Any) -> Pair:
    """Powers of 2**-20 from 1 to 2**-120, p and q the same ones in another order."""
    x = np.ldexp(1.0, -20 * rng.integers(0, 7, n)).astype(dtype)
    return x, rng.permutation(x)


def cancelling(rng: Rng, n: int, dtype: Any) -> Pair:
    """(1, 2**-60, 2**-120, -1, -2**-60, -2**-120) again and again, in places drawn at random (n >= 6)."""
    d = np.zeros(n, dtype)
    places = rng.permutation(n)[: n // 6 * 6].reshape(6, -1)
    for where, x in zip(places, [1, 2.0**-60, 2.0**-120, -1, -(2.0**-60), -(2.0**-120)], strict=True):
        d[where] = x
    return np.maximum(d, 0), np.maximum(-d, 0) + dtype(0)  # no -0.0


def subnormals(rng: Rng, n: int, dtype: Any) -> Pair:
    """Whole multiples of the smallest subnormal number."""
    p, q = integers(rng, n, dtype)
    return p * np.finfo(dtype).smallest_subnormal, q * np.finfo(dtype).smallest_subnormal


def near_overflow(rng: Rng, n: int, dtype: Any) -> Pair:
    """Totals of half the dtype's largest number."""
    p = normalized(lognormal(rng, n, 2.0), dtype) * (np.finfo(dtype).max / dtype(2))
    return p, rng.permutation(p)


FAMILIES: dict[str, Family] = {
    draw.__name__: Family(grade, draw)  # type: ignore[arg-type]  # mypy takes the keys below for any str
    for grade, draws in {
        "easy": (integers, local_moves),
        "ordinary": (softmax, peaked, one_hot),
        "hard": (block_permuted, one_ulp, spread),
        "hostile": (cancelling, subnormals, near_overflow),
    }.items()
    for draw in draws
}


def opposite_clusters(rng: Rng, n: int, dtype: Any) -> Pair:
    """Whole numbers, p's about one bin and q's as far from it as they can be: the two ways round cost the same."""
    width, at = max(1, n // 8), int(rng.integers(n))
    p = np.zeros(n, dtype)
    np.add.at(p, (at + rng.integers(0, width, 4 * width)) % n, dtype(1))
    return p, np.roll(p, n // 2)


def tied_flows(rng: Rng, n: int, dtype: Any) -> Pair:
    """Masses of 1 that go to the next bin or stay: there are two flows, and many of each."""
    moved = rng.integers(0, 2, n).astype(dtype)
    rest = 1 - moved
    return moved + rest, np.roll(moved, 1) + rest


ROUND: dict[str, Family] = {draw.__name__: Family("hard", draw) for draw in (opposite_clusters, tied_flows)}


def pair(family: str, n: int, dtype: DTypeLike = np.float64, seed: int = 0) -> Pair:
    """A graded pair of histograms, the same one on every machine.

    Parameters
    ----------
    family : str
        What kind of pair it is:

        - easy: ``integers``, ``local_moves``;
        - ordinary: ``softmax``, ``peaked``, ``one_hot``;
        - hard: ``block_permuted``, ``one_ulp``, ``spread``;
        - hostile: ``cancelling``, ``subnormals``, ``near_overflow``;
        - hard where edges close a circle: ``opposite_clusters``, ``tied_flows``.
    n : int >= 1
        Number of bins.
    dtype : float32 or float64
        Of both arrays.
    seed : int >= 0
        Which pair of the family.

    Returns
    -------
    p, q : (n,) arrays of `dtype`
        Of exactly equal totals.  Both are zero where a family needs more bins (``cancelling``: six).

    Raises
    ------
    TypeError, ValueError
        An unknown family, n < 1, another dtype, a negative seed.

    Examples
    --------
    >>> import emdref
    >>> emdref.casebook.pair("integers", 5)
    (array([3., 1., 3., 2., 1.]), array([3., 1., 2., 1., 3.]))
    """
    families = FAMILIES | ROUND
    if not isinstance(family, str) or family not in families:
        raise ValueError(f"family={shown(family)} is not one of {', '.join(families)}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed={shown(seed)} must be an integer >= 0")
    size = validation.count(n, "n")
    return families[family].draw(np.random.default_rng([seed, size]), size, validation.float_dtype(dtype).type)
