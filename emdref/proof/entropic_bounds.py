"""Bounds of the entropic optimum from whatever potentials there are, in Decimals and rounded outward."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from emdref import exact
from emdref.arguments.validation import Batch
from emdref.exact import definitions
from emdref.exact.rounding import down, up
from emdref.proof.decimal_gibbs import REACH, ZERO, Kernel, Numbers, kernel
from emdref.spaces.space import Metric

if TYPE_CHECKING:
    from emdref.spaces.space import Space

_DIGITS = 60  # and as many more as lam max(M), the potentials and the number of nodes have
_SHRINK = Decimal("1e-25")  # by which scalings stay below what the marginals allow, so that defects are > 0
_MARGIN = Decimal("1e-28")  # see _Estimate


@dataclass(frozen=True)
class _Estimate:
    """A number known to within _MARGIN * size; size adds up what relative errors of its terms are multiplied by."""

    value: Decimal
    size: Decimal

    @classmethod
    def logs(cls, masses: Iterable[Decimal], logs: Iterable[Decimal]) -> _Estimate:
        """Sum of masses times logarithms; a relative error d of a number moves its logarithm by d."""
        terms = [(m, x) for m, x in zip(masses, logs, strict=True) if m]
        return cls(sum((m * x for m, x in terms), ZERO), sum((m * (1 + abs(x)) for m, x in terms), ZERO))

    @classmethod
    def of(cls, number: Decimal) -> _Estimate:
        """A number itself, or a sum of numbers >= 0."""
        return cls(number, abs(number))

    def __add__(self, other: _Estimate) -> _Estimate:
        return _Estimate(self.value + other.value, self.size + other.size)

    def __sub__(self, other: _Estimate) -> _Estimate:
        return _Estimate(self.value - other.value, self.size + other.size)

    def __truediv__(self, x: Decimal) -> _Estimate:
        return _Estimate(self.value / x, self.size / x)

    @property
    def lower(self) -> float:
        return down(self.value - _MARGIN * self.size)

    @property
    def upper(self) -> float:
        return up(self.value + _MARGIN * self.size)


@dataclass(frozen=True)
class _Pair:
    """p and the scaled q in Decimals, with equal totals."""

    p: list[Decimal]
    q: list[Decimal]
    total: Decimal
    emd: Fraction | None
    q_scale: Fraction

    @classmethod
    def of(cls, p: list[float], q: list[float], where: Metric) -> _Pair:
        (a, unit_p), (b, unit_q) = definitions.integers(p), definitions.integers(q)
        total, scale = sum(a) * unit_p, sum(a) * unit_p / (sum(b) * unit_q)
        scaled = [Fraction(x) * scale for x in q]
        return cls(
            p=[definitions.as_decimal(Fraction(x)) for x in p],
            q=[definitions.as_decimal(x) for x in scaled],
            total=definitions.as_decimal(total),
            emd=exact.emd(p, scaled, cast("Space", where)) if where.has_edges else None,
            q_scale=scale,
        )


def prove(rows: Batch, where: Metric, lam: Any, log_v: Any) -> dict[str, Any]:
    """Fields of the certificate that follow from the question and log v."""
    p, q = rows.p[0].tolist(), rows.q[0].tolist()
    reach = float(lam) * where.diameter
    if log_v is not None:
        log_v = np.where(rows.q[0] > 0, log_v, -np.inf)
        reach += np.abs(log_v[rows.q[0] > 0]).max()
    usable = log_v is not None and reach <= REACH
    size = 12 * where.size + 100 + int(min(reach, REACH))
    with localcontext(Context(prec=_DIGITS + len(str(size)), Emax=MAX_EMAX, Emin=MIN_EMIN)):
        strength = Decimal(float(lam))
        pair = _Pair.of(p, q, where)
        factors = kernel(where, strength if usable else ZERO)
        known = _without_potentials(pair, factors, strength)
        found = _with_potentials(pair, factors, strength, log_v) if usable else _NOTHING
    lower, upper = max(known["lower"], found["dual_value"]), min(known.pop("upper"), found["primal_value"])
    status = "proven" if math.isfinite(lower) and math.isfinite(upper) else "overflow"
    return known | found | {
        "lower": lower, "upper": upper, "status": status, "emd": pair.emd, "q_scale": pair.q_scale
    }  # fmt: skip


_NOTHING = {
    "dual_value": -math.inf,
    "primal_value": math.inf,
    "transport_cost": (0.0, math.inf),
    "marginal_error": math.inf,
    "potentials": None,
}


def _without_potentials(pair: _Pair, factors: Kernel, lam: Decimal) -> dict[str, Any]:
    """Bounds by EMD and entropies alone; K is not used."""
    emd = _Estimate.of(ZERO if pair.emd is None else definitions.as_decimal(pair.emd))
    m = _mass_log_mass([pair.total])
    h_p, h_q = _entropy(pair.p, pair.total), _entropy(pair.q, pair.total)
    spread = _Estimate.of(factors.product_cost(pair.p, pair.q) / pair.total)
    upper = min((spread + (m - h_p - h_q) / lam).upper, math.inf)
    if pair.emd is not None:
        upper = min(upper, *((emd + (m - h) / lam).upper for h in (h_p, h_q)))
    return {
        "lower": (emd + (m - h_p - h_q) / lam).lower,
        "upper": upper,
        "entropy_bound": min((h_p / lam).upper, (h_q / lam).upper),
    }


def _with_potentials(pair: _Pair, factors: Kernel, lam: Decimal, log_v: NDArray[np.float64]) -> dict[str, Any]:
    """Bounds by the dual value and by the plan rounded to the marginals."""
    logs = [Decimal(x) if b else ZERO for x, b in zip(log_v.tolist(), pair.q, strict=True)]
    v = [x.exp() if b else ZERO for x, b in zip(logs, pair.q, strict=True)]
    u = [a / s if a else ZERO for a, s in zip(pair.p, factors.times(v), strict=True)]
    log_u, ktu = _logs(u), factors.transposed(u)
    columns = [x * s for x, s in zip(v, ktu, strict=True)]
    dual = _Estimate.logs(pair.p, log_u) + _Estimate.logs(pair.q, logs) - _Estimate.of(_total(columns))
    defect = _total(abs(c - b) for c, b in zip(columns, pair.q, strict=True))
    primal, cost = _feasible(pair, factors, lam, u, log_u, v, ktu)
    return {
        "dual_value": (dual / lam).lower,
        "primal_value": primal.upper,
        "transport_cost": (cost.lower, cost.upper),
        "marginal_error": _Estimate(defect, pair.total).upper,
        "potentials": (_floats(log_u, pair.p), _floats(logs, pair.q)),
    }


def _feasible(
    pair: _Pair, factors: Kernel, lam: Decimal, u: Numbers, log_u: Numbers, v: Numbers, ktu: Numbers
) -> tuple[_Estimate, _Estimate]:
    """Objective (at most) and transport cost of the plan rounded to the marginals."""
    v = [min(x, b / s) * (1 - _SHRINK) if b else ZERO for x, b, s in zip(v, pair.q, ktu, strict=True)]
    rows = [x * s for x, s in zip(u, factors.times(v), strict=True)]
    columns = [x * s for x, s in zip(v, ktu, strict=True)]
    e = [a - r for a, r in zip(pair.p, rows, strict=True)]
    f = [b - c for b, c in zip(pair.q, columns, strict=True)]
    inside, left = _total(rows), _total(e)
    cost_b = _Estimate.of(factors.product_cost(e, f) / left)
    a = _Estimate.logs(rows, log_u) + _Estimate.logs(columns, _logs(v)) - _Estimate.of(inside)
    b = _mass_log_mass(e) + _mass_log_mass(f) - _mass_log_mass([left])
    mixing = _entropy([inside, left], pair.total)
    return (a + b + mixing) / lam + cost_b, _Estimate.of(factors.cost(u, v)) + cost_b


def _mass_log_mass(x: Numbers) -> _Estimate:
    return _Estimate.logs(x, _logs(x))


def _entropy(x: Numbers, total: Decimal) -> _Estimate:
    """Sum of x log(total / x); 0 exactly if one bin has all."""
    shares = [a for a in x if a]
    if len(shares) == 1:
        return _Estimate(ZERO, ZERO)
    return _Estimate.logs(shares, [(total / a).ln() for a in shares])


def _logs(x: Numbers) -> list[Decimal]:
    """Natural logarithms, 0 in place of -inf."""
    return [a.ln() if a else ZERO for a in x]


def _total(x: Iterable[Decimal]) -> Decimal:
    return sum(x, ZERO)


def _floats(logs: Numbers, masses: Numbers) -> NDArray[np.float64]:
    array = np.array([float(x) if m else -math.inf for x, m in zip(logs, masses, strict=True)])
    array.setflags(write=False)
    return array
