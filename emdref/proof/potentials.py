"""Potentials for `certify_sinkhorn`: they are only numbers and prove nothing by themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from emdref.arguments.validation import Batch
from emdref.entropic import newton
from emdref.entropic.failures import FAILED
from emdref.entropic.iteration import iterate, plan_for
from emdref.entropic.results import SinkhornResult
from emdref.entropic.variants import VARIANTS
from emdref.proof.decimal_gibbs import REACH
from emdref.spaces.space import Metric

_LINEAR = 300.0  # lam max(M) up to which plain float64 does not underflow
_SMOOTH = 10.0  # lam max(M) from which lam is doubled
_LOOSE = 1e-6  # marginal error, relative to the total, at which it is
_PLAIN = 100  # iterations after which Newton's method takes over
_FINE = 1e-14  # relative marginal error that it aims at in the end


def find(rows: Batch, where: Metric, lam: Any, max_iter: int, init: Any) -> tuple[Any, int, str]:
    """log v or None, iterations, and how they ended."""
    if max_iter == 0:
        return None if init is None else init[1], 0, "given"
    reach = float(lam) * where.diameter
    if reach > REACH:
        return None, 0, "overflow"
    for domain in ("linear", "log") if reach <= _LINEAR else ("log",):
        result, spent = _doubling(_unit(rows), where, lam, domain, init, max_iter)
        if result.status not in FAILED:
            break
    lost = result.status in FAILED or not np.isfinite(result.log_v[rows.q[0] > 0]).all()
    return None if lost else result.log_v, spent, result.status


def _doubling(
    rows: Batch, where: Metric, lam: Any, domain: str, init: Any, max_iter: int
) -> tuple[SinkhornResult, int]:
    """Potentials with lam doubled up to its value, unless they start from `init`, and the iterations spent."""
    reach = float(lam) * where.diameter
    doublings = math.ceil(math.log2(max(1.0, reach / _SMOOTH))) if init is None else 0
    spent = 0
    for k in range(doublings, -1, -1):
        cap = (max_iter - spent) // (2 * k) if k else max_iter - spent
        if cap:
            result, n = _stage(rows, where, np.ldexp(lam, -k), domain, init, cap, k == 0)
            spent += n
            if result.status in FAILED:
                break
            init = 2 * result.log_u, 2 * result.log_v
    return result, spent


def _stage(
    rows: Batch, where: Metric, lam: Any, domain: str, init: Any, cap: int, last: bool
) -> tuple[SinkhornResult, int]:
    """Sinkhorn's iteration, Newton's method if that was too slow, then the iteration again."""
    total, variant = rows.p.sum(), VARIANTS["paper"]
    tol = "auto" if last else _LOOSE * total
    plain = cap if cap <= 2 * _PLAIN else _PLAIN
    result = iterate(rows, where, lam, variant, "auto", domain, tol, init, plain)[plain]
    spent = int(result.n_iter)
    if result.status in (*FAILED, "converged") or plain == cap:
        return result, spent
    plan = plan_for(where, "auto", "log", np.float64, lam, variant.shift)
    with np.errstate(all="ignore"):
        goal = (_FINE if last else _LOOSE) * total
        log_u, log_v, n = newton.improve(plan, rows.p[0], rows.q[0], result.log_v, goal, cap - spent - _PLAIN)
    spent += n
    rest = max(1, min(cap - spent, _PLAIN))
    result = iterate(rows, where, lam, variant, "auto", domain, tol, (log_u, log_v), rest)[rest]
    return result, spent + int(result.n_iter)


def _unit(rows: Batch) -> Batch:
    """The pair times a power of two that brings it near 1: log v changes by a constant, sums stay within the range."""
    scale = -int(np.frexp(rows.p.max())[1])
    return rows._replace(p=np.ldexp(rows.p, scale), q=np.ldexp(rows.q, scale))
