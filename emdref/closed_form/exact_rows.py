"""What two limbs cannot hold, done again without them.

Where a flow cancels more than two limbs hold, `flows` adds it up exactly, compiled; what follows from flows is then
computed in two limbs as ever.  Where that leaves the range of floats, or its rounding open, all of it is done in
Python: rationals for rho in {1, 2, 3, 4}, else decimals of 50 digits, and as many more as rho has, since rounding a
flow counts rho times in its power.  That is slow, a row at a time.

`emdref.fallback.counting` tells how many rows came here.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import casts, gauges
from emdref.exact import definitions, rounding
from emdref.kernels.compile.threads import over_rows
from emdref.spaces.rooted import RootedTree

_DIGITS = 50


def flows(
    p: NDArray[Any], q: NDArray[Any], tree: RootedTree, weight: NDArray[np.float64], normalize: bool
) -> NDArray[Any]:
    """Flows of float64 rows in exact arithmetic, (rows, 3, V): two limbs, and a bound of their error, for each node in
    the kernels' order; 0 on edges of weight 0."""
    from emdref.kernels.trees import kulisch  # here, because few rows need it

    paths = tree.heavy_paths
    order = kulisch.Order(paths.up, paths.level, tree.column, paths.order)
    given = np.empty((len(p), 3, tree.n_nodes))
    rows = casts.frozen(p), casts.frozen(q), given
    over_rows(kulisch.flows, rows, (order, casts.frozen(weight), normalize), work=200 * tree.n_nodes)
    return given


def beyond(results: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows that leave the range: there what should cancel exactly may come out as inf as well."""
    return ~np.isfinite(results).all(axis=tuple(range(1, results.ndim)))


@contextlib.contextmanager
def _arithmetic(row: definitions.Row, rho: float, *, scaled: bool = True) -> Iterator[tuple[definitions.Row, Any]]:
    """The pair, and rho, in integers where rho allows it, else in Decimals (see definitions.Row.decimal)."""
    if rho in (1, 2, 3, 4):
        yield row, int(rho)
        return
    digits = _DIGITS + math.ceil(math.log10(rho))
    with localcontext(Context(prec=digits, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])):  # beyond even that: 0 or inf
        yield row.decimal(scaled=scaled), Decimal(rho)


def numbers(
    p: Any, q: Any, space: Any, rho: float, normalize: bool, gauge: str | None
) -> tuple[Fraction | Decimal, list[Any] | None]:
    """Value, and gradient in that gauge (None for none): rationals, or decimals of 50 digits."""
    pair = definitions.Row(p, q, space, normalize, rho)
    with _arithmetic(pair, rho, scaled=False) as (row, power):
        value = definitions.value(row, power) * row.cost_unit * row.phi_unit**power
    if gauge is None:
        return value, None
    with _arithmetic(pair, rho) as (row, power):
        return value, _times(*definitions.gradient(row, power, gauge))


def fill(wanted: Any, value: Any, grad: Any, gauge: int | None, shares: bool, left: NDArray[np.int64]) -> None:
    """Rows of these numbers, of what emdref.closed_form.escalation wants, in rationals."""
    for i in left.tolist():
        p, q = casts.widened(wanted.rows.p[i]), casts.widened(wanted.rows.q[i])
        number, line = emd(p, q, wanted.space, wanted.rho, shares, gauges.name(gauge))
        put(value, i, np.float64(number))
        put(grad, i, np.array(line))


def put(result: NDArray[Any] | None, at: Any, numbers: Any) -> None:
    """Write results in the caller's dtype."""
    if result is not None:
        result[at] = casts.narrowed(numbers, result.dtype)


def emd(p: Any, q: Any, space: Any, rho: float, normalize: bool, gauge: str | None) -> tuple[float, list[float] | None]:
    """Value and gradient rounded to float64, inf beyond its range."""
    value, grad = numbers(p, q, space, rho, normalize, gauge)
    return rounding.nearest(value), None if grad is None else list(map(rounding.nearest, grad))


def kink(p: Any, q: Any, space: Any, normalize: bool, gauge: str) -> int | None:
    """The first edge where the second derivative is infinite for 1 < rho < 2, or None."""
    return definitions.Row(p, q, space, normalize).kink(gauge)


def hess(p: Any, q: Any, space: Any, rho: float, normalize: bool, gauge: str) -> list[list[float]]:
    """Hessian of a pair without kinks, rounded to float64."""
    pair = definitions.Row(p, q, space, normalize)
    with _arithmetic(pair, rho, scaled=gauge != "raw") as (row, power):
        matrix = definitions.Hessian(row, power, gauge)
        return [_floats(matrix.line(k), matrix.unit) for k in range(space.n_bins)]


def hvp(p: Any, q: Any, space: Any, v: Any, rho: float, normalize: bool, gauge: str) -> list[float]:
    """The product of that Hessian with v, rounded to float64."""
    pair = definitions.Row(p, q, space, normalize)
    vector, unit = definitions.integers(v.tolist())
    with _arithmetic(pair, rho) as (row, power):
        matrix = definitions.Hessian(row, power, gauge)
        own: Any = definitions.as_decimal(unit) if isinstance(power, Decimal) else unit
        return _floats(matrix.times(vector), matrix.unit * own)


def layer_vjp(x: NDArray[Any], g: NDArray[Any], squares: bool) -> list[float]:
    """The product of a layer's Jacobian, l1's or that of squares (emdref.kernels.rows.layers), rounded to float64."""
    a, unit = definitions.integers(x.tolist())
    b, other = definitions.integers(g.tolist())
    w, slopes = ([k * k for k in a], [2 * k for k in a]) if squares else (a, [1] * len(a))
    total, inner = sum(w), definitions.dot(w, b)
    return _floats([(total * y - inner) * f for y, f in zip(b, slopes, strict=True)], other / (unit * total**2))


def _floats(numbers: list[Any], unit: Any) -> list[float]:
    return list(map(rounding.nearest, _times(numbers, unit)))


def _times(numbers: list[Any], unit: Any) -> list[Any]:
    """Zeros stay zeros, though the unit may be beyond a Decimal's range."""
    return [x * unit if x else Fraction(0) for x in numbers]
