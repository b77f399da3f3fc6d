"""How far answers of a Sinkhorn implementation are from what they should be, case by case."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import validation
from emdref.entropic.iteration import iterate
from emdref.entropic.variants import Variant
from emdref.proof import alternation_fits as fits
from emdref.proof.alternation_fits import COST, OBJECTIVE, Fit, Pairs
from emdref.proof.calling import Answer, Ask
from emdref.proof.sinkhorn_report import SinkhornCase, SinkhornOutcome, SinkhornReport
from emdref.spaces.space import Metric


def as_numbers(answer: Answer, where: Metric) -> tuple[float | None, NDArray[Any] | None]:
    """Value and gradient in float64; a plan has the value <T, M>."""
    value = None if answer.value is None else float(answer.value)
    if answer.plan is not None:
        value = float((answer.plan.astype(float) * where.distance_matrix()).sum())
    return value, None if answer.grad is None else answer.grad.astype(float)


def evaluated(where: Metric, lam: float, fit: Fit, pairs: Pairs, drops: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values of a fit's kind and the size of their terms, after its half steps."""
    lam *= fit.setting.lam_factor
    (state,) = fits.states(where, lam, pairs, fit.setting.first, [int(fit.half_steps[0])], drops)
    return _of_kind(fit, state, pairs, lam)


def _of_kind(fit: Fit, state: fits.State, pairs: Pairs, lam: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values of a fit's kind and the size of their terms."""
    x, size = fits.values(state, pairs, lam)
    kind = fits.KINDS.index(fit.what)
    return x[kind], size[kind]


def measure(ask: Ask, report: SinkhornReport, cases: list[SinkhornCase]) -> None:
    """All cases, against the variant that was told."""
    pairs = Pairs(*(np.array([getattr(c, name) for c in cases], float) for name in ("p", "q")))
    right, alike = _right(report, pairs), _alike(report, cases, pairs)
    for k, case in enumerate(cases):
        answer = ask(case.p, case.q)
        status = str(alike.status[k])
        if isinstance(answer, str):
            report.results.append(SinkhornOutcome(case, problem=answer, status=status))
            continue
        value, grad = as_numbers(answer, report.where)
        inside = None if grad is None else grad[case.p > 0]
        lost = [x for x in (value, inside) if x is not None and not np.isfinite(x).all()]
        problem = ("NaN" if any(np.isnan(x).any() for x in lost) else "inf") if lost else ""
        errors = {} if problem else right.errors(k, value, grad, case) | alike.errors(k, value, grad, case)
        report.results.append(SinkhornOutcome(case, problem=problem, status=status, **errors))


class _Reference:
    """What the answers should be, by half step: values with the size of their terms, and log u (N, cases)."""

    def __init__(self, suffix: str, report: SinkhornReport, status: Any = ()) -> None:
        self.suffix, self.report, self.status = suffix, report, status
        self.values: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self.logs: list[NDArray[Any]] = []  # (N, cases)

    def errors(self, k: int, value: float | None, grad: NDArray[Any] | None, case: SinkhornCase) -> dict[str, float]:
        """Relative error of the value and of exp(lam times the gradient), those of them that are known."""
        found, fit, gradient = {}, self.report.value_fit, self.report.gradient_fit
        if value is not None and fit and self.values:
            off = min(abs(value / fit.factor - x[k]) / max(size[k], np.finfo(float).tiny) for x, size in self.values)
            if np.isfinite(off):
                found["value" + self.suffix] = float(off)
        if grad is not None and gradient and self.logs:
            off = min(self._gradient(grad / gradient.factor, logs[:, k], case.p > 0) for logs in self.logs)
            if np.isfinite(off):
                found["grad" + self.suffix] = float(off)
        return found

    def _gradient(self, grad: NDArray[Any], log_u: NDArray[Any], there: NDArray[Any]) -> float:
        """The largest difference where there is mass, up to the constant."""
        gradient = self.report.gradient_fit
        assert gradient is not None
        a, b = grad[there] * self.report.lam * gradient.setting.lam_factor, log_u[there]
        if self.report.constant != "as the start gives it" or self.report.drops_empty is not False:
            a, b = a - a.mean(), b - b.mean()
        else:
            n, sign = self.report.where.n_bins, 1 if gradient.setting.first == "v" else -1
            start = {"ones": 0.0, "inverse": -math.log(n), "count": math.log(n)}[self.report.start or "ones"]
            b = b + sign * start + (self.report.shift or 0)
        return float(np.abs(a - b).max() / max(1.0, np.abs(log_u[there]).max()))


def _right(report: SinkhornReport, pairs: Pairs) -> _Reference:
    """In float64 logarithms; a loop that stops early is measured at the half step that fits a case best."""
    reference = _Reference("", report)
    for fit in (report.value_fit, report.gradient_fit):
        if fit is None or fit.what.endswith("unrolled") or fit.what.startswith(fits.DEBIASED):
            continue
        lam = report.lam * fit.setting.lam_factor
        steps = range(1, 2 * report.max_iter + 3) if fit.stops else [int(fit.half_steps[0])]
        both = (False, True) if fit.stops and report.drops_empty is None else (bool(report.drops_empty),)
        for state in (
            s for drops in both for s in fits.states(report.where, lam, pairs, fit.setting.first, steps, drops)
        ):
            if fit is report.value_fit:
                reference.values.append(_of_kind(fit, state, pairs, lam))
            else:
                reference.logs.append(fits.bases(state, pairs)[fits.BASES.index(fit.what)])
    return reference


def _alike(report: SinkhornReport, cases: list[SinkhornCase], pairs: Pairs) -> _Reference:
    """By emdref's own loop in the same dtype and the linear domain, where it is one of those that loop can run."""
    fit = report.value_fit or report.gradient_fit
    steps = int(fit.half_steps[0]) if fit and not fit.stops else 2 * report.max_iter + 1
    if report.value_fit is None:
        steps |= 1
    first = fit.setting.first if fit else "v"
    switches = Variant(0 if report.shift == 0 else 1, "ones", bool(report.drops_empty), bool(steps % 2), "cost", False)
    p, q = (np.array([getattr(c, name) for c in cases]) for name in ("p", "q"))
    given = (p, q) if first == "v" else (q, p)
    rows = validation.batch(*given, report.where.n_bins)
    lam = p.dtype.type(report.lam * (fit.setting.lam_factor if fit else 1.0))
    kernel = "dense" if report.where.n_bins <= 2000 else "auto"
    count = max(1, steps // 2)
    result = iterate(rows, report.where, lam, switches, kernel, "linear", 0.0, None, count)[count]
    reference = _Reference("_alike", report, result.status)
    known = {COST: result.value, OBJECTIVE: result.objective}
    if fit and not fit.stops:
        if report.value_fit and report.value_fit.what in known:
            _, size = evaluated(report.where, report.lam, report.value_fit, pairs, bool(report.drops_empty))
            reference.values.append((np.asarray(known[report.value_fit.what], float), size))
        if report.gradient_fit and report.gradient_fit.what == "log u":
            logs = result.log_u if first == "v" else result.log_v
            reference.logs.append(np.asarray(logs, float).T)
    return reference
