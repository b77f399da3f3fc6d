"""Sinkhorn written out with an explicit plan in extended precision.  Imports nothing of emdref.

Each variant is spelled out from its source instead of being switched, so that a switch set wrongly is seen.
"""

from decimal import Context, Decimal, localcontext
from fractions import Fraction

import numpy as np


def _loop(p, q, kernel, u, iterations):
    for _ in range(iterations):
        v = _divide(q, kernel.T @ u)
        u = _divide(p, kernel @ v)
    return u, v


def _divide(x, d):
    return np.where(x == 0, 0, x / np.where(x == 0, 1, d))


def _outcome(u, v, kernel, cost, lam, p, q):
    plan = u[:, None] * kernel * v[None, :]
    with np.errstate(divide="ignore"):
        log_plan = np.where(plan > 0, np.log(np.where(plan > 0, plan, 1)), 0)
        log_u, log_v = np.log(u), np.log(v)
    transport = (plan * cost).sum()
    return {
        "cost": transport,
        "objective": transport + (plan * log_plan).sum() / lam,
        "log_u": log_u,
        "log_v": log_v,
        "marginal_error": max(abs(plan.sum(1) - p).sum(), abs(plan.sum(0) - q).sum()),
    }


def sinkhorn(variant, p, q, cost, lam, iterations):
    """Value, objective, gradient, log u, log v and marginal error of one pair."""
    p, q, cost = (np.asarray(x, np.longdouble) for x in (p, q, cost))
    lam, n = np.longdouble(lam), len(p)
    if variant in ("paper", "frogner", "caffe"):
        kernel, u = np.exp(-lam * cost - 1), np.ones(n, np.longdouble)
    elif variant == "mocha":
        kernel, u = np.exp(-lam * cost), np.full(n, np.longdouble(1) / n)
    elif variant == "cuturi":  # the slides' x is 1/u: ones(length(r)) / length(r) after r = r(I)
        kernel, u = np.exp(-lam * cost), np.where(p > 0, np.longdouble((p > 0).sum()), 0)
    u, v_before = _loop(p, q, kernel, u, iterations)
    v = v_before if variant == "caffe" else _divide(q, kernel.T @ u)
    out = _outcome(u, v, kernel, cost, lam, p, q)
    out["value"] = out["objective" if variant == "caffe" else "cost"]
    out["grad"] = out["log_u"] / lam
    if variant in ("frogner", "caffe"):
        out["grad"] = out["grad"] - out["grad"][p > 0].mean()
    return out


def derivatives(variant, p, q, cost, lam, iterations, start=None, digits=100):
    """d value / dp and d objective / dp of the truncated iteration by differences in 100 digits, u_0 (`start`) held.

    Central ones where p > 0, right to 20 digits at least; one-sided where p is 0, and None for the objective, whose
    slope is -inf there, and for a bin that `cuturi` drops.
    """
    with localcontext(Context(prec=digits)):
        p, q, *cost = ([Decimal(float(x)) for x in line] for line in (p, q, *cost))
        lam = Decimal(float(lam))
        exponents = [[-lam * c - (variant in ("paper", "frogner", "caffe")) for c in line] for line in cost]
        kernel = [[x.exp() for x in line] for line in exponents]
        if start is None:
            start = [x > 0 or variant != "cuturi" for x in p]  # a factor changes no plan
        start = [*map(Decimal, start)]

        def at(k, step):
            there = [x + step * (i == k) for i, x in enumerate(p)]
            return np.array(_truncated(there, q, (kernel, exponents), cost, lam, start, iterations, variant == "caffe"))

        slopes = []
        for k, x in enumerate(p):
            step = x * Decimal("1e-50") if x else Decimal(10) ** (-2 * digits // 3)
            slope = (at(k, step) - at(k, -step if x else 0)) / (2 * step if x else step)
            slopes.append(slope if x else [None if variant in ("cuturi", "caffe") else slope[0], None])
    value, objective = zip(*slopes, strict=True)
    return {"value": objective if variant == "caffe" else value, "objective": objective}


def _truncated(p, q, kernel, cost, lam, u, iterations, caffe):
    """<T, M> and <T, M> + <T, log T> / lam as Decimals; the kernel is given with its logarithm."""
    kernel, exponents = kernel
    for it in range(iterations + 1):
        sums = [_dot(u, column) for column in zip(*kernel, strict=True)]
        if it < iterations or not caffe:
            v = [b and b / s for b, s in zip(q, sums, strict=True)]
        if it < iterations:
            u = [a and a / _dot(line, v) for a, line in zip(p, kernel, strict=True)]
    plan = [[x * k * y for k, y in zip(line, v, strict=True)] for x, line in zip(u, kernel, strict=True)]
    transport = sum(_dot(line, costs) for line, costs in zip(plan, cost, strict=True))
    log_u, log_v = ([x and Decimal(x).ln() for x in y] for y in (u, v))
    logs = [[a + k + b for k, b in zip(line, log_v, strict=True)] for a, line in zip(log_u, exponents, strict=True)]
    entropy = sum(t * x for line in zip(plan, logs, strict=True) for t, x in zip(*line, strict=True) if t)
    return transport, transport + entropy / lam


def entropic_optimum(p, q, cost, lam, sweeps=4000):
    """Minimum of <T, M> + <T, log T> / lam in 70 digits, by Sinkhorn with an explicit matrix until columns are right.

    p, q and cost are Fractions (nested lists), lam a float; None if that many sweeps are not enough.
    """
    with localcontext(Context(prec=70)):
        rows, columns = ([k for k, x in enumerate(y) if x] for y in (p, q))
        p, q = [_decimal(p[i]) for i in rows], [_decimal(q[j]) for j in columns]
        cost, lam = [[_decimal(cost[i][j]) for j in columns] for i in rows], Decimal(lam)
        kernel = [[(-lam * c).exp() for c in line] for line in cost]
        v = [Decimal(1)] * len(q)
        for _ in range(sweeps):
            u = [a / _dot(line, v) for a, line in zip(p, kernel, strict=True)]
            sums = [_dot(u, column) for column in zip(*kernel, strict=True)]
            if sum(abs(b - y * s) for b, y, s in zip(q, v, sums, strict=True)) < sum(p) * Decimal("1e-25"):
                return _objective(
                    [[x * k * y for k, y in zip(line, v, strict=True)] for x, line in zip(u, kernel, strict=True)],
                    cost,
                    lam,
                )
            v = [b / s for b, s in zip(q, sums, strict=True)]
    return None


def two_bins(p, q, distance, lam):
    """The same for two bins: one entry t is free, t (t + p_1 - q_0) = exp(2 lam M) (p_0 - t) (q_0 - t)."""
    with localcontext(Context(prec=150)):
        (a, b), (c, _), w, lam = map(_decimal, p), map(_decimal, q), _decimal(distance), Decimal(lam)
        ratio = (2 * lam * w).exp()
        half = ratio * (a + c) + b - c
        t = 2 * ratio * a * c / (half + (half * half - 4 * (ratio - 1) * ratio * a * c).sqrt())
        return _objective([[t, a - t], [c - t, b - c + t]], [[0, w], [w, 0]], lam)


def _objective(plan, cost, lam):
    entries = [
        (t, c) for line, costs in zip(plan, cost, strict=True) for t, c in zip(line, costs, strict=True) if t > 0
    ]
    return Fraction(sum(t * c + t * t.ln() / lam for t, c in entries))


def _dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def _decimal(x):
    return Decimal(x.numerator) / Decimal(x.denominator)
