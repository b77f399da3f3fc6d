"""Sinkhorn written out with an explicit plan in extended precision.  Imports nothing of emdref.

Each variant is spelled out from its source instead of being switched, so that a switch set wrongly is seen.
"""

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
