"""`emdref.check`: somebody else's implementation on graded cases, and a report of what it gets wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from emdref import casebook
from emdref.arguments import containers, gauges, messages, validation
from emdref.casebook import FAMILIES, ROUND, Grade
from emdref.closed_form import exact_rows
from emdref.exact.rounding import error, ulp
from emdref.proof import calling
from emdref.proof.calling import Answer, Ask, Convention
from emdref.proof.diagnosis import Examiner, Probes, emd_name, is_finite
from emdref.proof.report import Case, Finding, Report, Result
from emdref.spaces.space import Space, check_space

GRADES = get_args(Grade)
_Where = tuple[NDArray[Any], NDArray[Any], Space, float]  # a pair, and what is asked about it
_LARGEST_RHO = 1000  # beyond it, exact powers have too many digits


def check(
    function: Callable[..., Any],
    space: Space,
    *,
    rho: float = 1,
    gauge: gauges.Gauge | None = None,
    dtype: DTypeLike = np.float64,
    cases: Any = None,
    tol: float | None = None,
    framework: str | None = None,
) -> Report:
    r"""Run an implementation of EMD on graded cases, and tell how wrong it is and what it really computes.

    .. math:: \mathrm{EMD}^\rho(p, q) = \sum_e M_e \, |\phi_e|^\rho

    is what its answers are compared with, in exact numbers: see `emdref.emd`.

    Parameters
    ----------
    function : callable
        ``function(p, q)`` for one pair, giving the value, the gradient with respect to p, or the tuple of both.  It is
        called with NumPy arrays.  If that fails it is called with those of torch, JAX or CuPy, whichever is imported.
        Each is tried in shape (N,), then in (1, N).  A torch value that records its graph is differentiated by
        autograd.
    space : Space
        The space that it is meant for.
    rho : float from 1 to 1000
        The exponent that it is meant to have.
    gauge : {"zero_sum", "raw", "scaled", "normalized"}, optional
        The gauge that its gradient is meant to have (see `emdref.emd_grad`); by default whichever it has.
    dtype : float32 or float64
        Of the arrays it is called with; float32 is tried as well if this is float64.
    cases : str or sequence, optional
        Grades (``easy``, ``ordinary``, ``hard``, ``hostile``) or families of `emdref.casebook`, by name, or pairs
        (p, q) of your own; by default all grades.
    tol : float, optional
        How many ulp a result may be off to pass; ``4 + 4 sqrt(V)`` by default, which plain arithmetic in a good order
        keeps to on easy and ordinary cases.
    framework : {"numpy", "torch", "jax", "cupy"}, optional
        Call it with these arrays only.

    Returns
    -------
    Report
        ``print`` it to read it; assert on its ``passed``, ``worst_ulp``, ``wrong_signs``, ``gauge``, ``factor``...

    Raises
    ------
    TypeError, ValueError
        A function that gives no answer at all, however it is called (the message says what each way gave); bad options.

    Examples
    --------
    >>> import numpy as np, emdref
    >>> def mine(p, q):
    ...     return np.abs(np.cumsum(p) - np.cumsum(q)).sum()
    >>> report = emdref.check(mine, emdref.Chain(10))
    >>> report.passed, report.subtracts_first, report.worst_case.family
    (False, False, 'one_ulp')
    """
    if not callable(function):
        raise TypeError(f"function must be callable, not {messages.type_name(function)}")
    check_space(space)
    power, kind = exponent(rho), validation.float_dtype(dtype).type
    if gauge is not None:
        gauges.code(gauge)
    allowed = 4 + 4 * np.sqrt(space.n_nodes) if tol is None else validation.weight(tol, "tol")
    probes = Probes(space.n_bins, kind)
    convention = calling.find(function, [probes.sparse[0], probes.dense[0]], framework)
    examiner = Examiner(calling.asker(function, convention), space, power, probes)
    report = _began(examiner, convention, gauge, float(allowed))
    report.results += [_measured(examiner.ask, case, report) for case in chosen(cases, space, kind, power)]
    _look_for_mistakes(examiner, report)
    return report


def exponent(rho: object) -> float:
    """rho as a float whose exact powers can be taken."""
    power = validation.exponent(rho)
    if power > _LARGEST_RHO:
        raise ValueError(f"rho = {power} must be from 1 to {_LARGEST_RHO}")
    return power


def _began(examiner: Examiner, convention: Convention, gauge: str | None, tol: float) -> Report:
    """A report that says what the function computes."""
    found = examiner.gradient.gauge if examiner.gradient else ""
    return Report(
        space=examiner.space,
        rho=examiner.rho,
        dtype=np.dtype(examiner.probes.dtype).name,
        called_with=str(convention),
        tol=tol,
        asked_gauge=gauge,
        measured_gauge=gauge or (found if found in gauges.CODES else "zero_sum"),
        value_fit=examiner.value,
        gradient_fit=examiner.gradient,
    )


# --- cases ------------------------------------------------------------------------------------------------------------


def chosen(cases: Any, space: Space, dtype: Any, rho: float) -> Iterator[Case]:
    """The cases that `cases` names."""
    n = space.n_bins
    wanted = (
        [cases] if isinstance(cases, str) else list(validation.iterable(GRADES if cases is None else cases, "cases"))
    )
    if not wanted:
        raise ValueError("cases is empty: name grades, families, or give pairs (p, q)")
    known = FAMILIES | (ROUND if space.has_cycles else {})
    seeds = 4 if n <= 64 else 2 if n <= 4096 else 1
    for number, item in enumerate(wanted):
        if not isinstance(item, str):
            yield _own(item, number, space, dtype)
            continue
        families = [name for name, family in known.items() if item in (name, family.grade)]
        if not families:
            raise ValueError(f"cases names {messages.shown(item)}, which is neither of {', '.join((*GRADES, *known))}")
        for family in families:
            if rho != 1 and family == "near_overflow":
                continue  # powers of it leave the range
            for seed in range(seeds):
                p, q = casebook.pair(family, n, dtype, seed)
                if p.any():
                    yield Case(family, known[family].grade, seed, p, q)


def _own(item: Any, number: int, space: Space, dtype: Any) -> Case:
    """A pair of the caller's."""
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise TypeError(f"cases[{number}] must be the name of a grade or family, or a pair (p, q)")
    pair = {f"cases[{number}][{k}]": containers.row(x, f"cases[{number}][{k}]") for k, x in enumerate(item)}
    containers.check_labels(pair, space)
    p, q = (validation.converted(x, name, dtype) for name, x in pair.items())
    rows = validation.batch(p, q, space.n_bins)
    if rows.shape:
        raise ValueError(f"cases[{number}] is a batch of shape {messages.written(rows.shape)}: give one pair at a time")
    return Case("your own", "own", number, rows.p[0], rows.q[0])


# --- errors -----------------------------------------------------------------------------------------------------------


def _measured(ask: Ask, case: Case, report: Report) -> Result:
    """One case, against exact numbers."""
    answer = ask(case.p, case.q)
    if isinstance(answer, str):
        return Result(case, problem=answer)
    dtype = case.p.dtype.type
    where: _Where = (case.p, case.q, report.space, report.rho)
    value_ulp = grad_ulp = None
    wrong = lost = 0
    if answer.value is not None:
        exact, _ = exact_rows.numbers(*where, False, None)
        value_ulp = error(answer.value, Fraction(exact), dtype)
    if answer.grad is not None:
        grad_ulp, wrong, lost = _gradient_errors(answer.grad, where, report, dtype)
    problem = "" if is_finite(answer) or math.inf not in (value_ulp, grad_ulp) else "NaN or inf"
    return Result(case, value_ulp, grad_ulp, wrong, lost, problem)


def _gradient_errors(got: NDArray[Any], where: _Where, report: Report, dtype: Any) -> tuple[float, int, int]:
    """The largest error in ulp of the largest |r|, and how many neighbours stand in the wrong order."""
    gauge = report.measured_gauge
    normalize = gauge == "normalized"
    _, exact = exact_rows.numbers(*where, normalize, gauge)
    _, raw = exact_rows.numbers(*where, normalize, "raw")
    assert exact is not None and raw is not None
    total = sum(map(Fraction, where[0].tolist()), Fraction(0))
    scale = {"scaled": Fraction(len(got)), "normalized": 1 / total}.get(gauge, Fraction(1))
    right = [Fraction(x) for x in exact]
    unit = max(abs(Fraction(x)) for x in raw) * scale
    worst = max(error(x, y, dtype, unit) for x, y in zip(got, right, strict=True))
    return worst, *_wrong_order(got, right, 32 * ulp(unit, dtype))


def _wrong_order(got: NDArray[Any], right: Sequence[Fraction], slack: Fraction) -> tuple[int, int]:
    """Neighbours whose difference has another sign than it should, by more than rounding; those that should be 0."""
    if not np.isfinite(got).all():
        return 0, 0  # counted as a failure
    numbers = [Fraction(float(x)) for x in got]
    wrong = lost = 0
    for k in range(len(numbers) - 1):
        mine, other = numbers[k] - numbers[k + 1], right[k] - right[k + 1]
        bad = (mine > 0) - (mine < 0) != (other > 0) - (other < 0) and abs(mine - other) > slack
        wrong, lost = wrong + bad, lost + (bad and other == 0)
    return wrong, lost


# --- findings ---------------------------------------------------------------------------------------------------------


def _look_for_mistakes(examiner: Examiner, report: Report) -> None:
    """Everything that is told in words."""
    report.forgets_last_bin = examiner.forgets_last_bin()
    report.subtracts_first = examiner.subtracts_first()
    report.unnormalised = examiner.totals(3, 3)
    tried = (examiner.ask(*pair) for pair in (examiner.probes.sparse[0], examiner.probes.dense[0]))
    first = next((answer for answer in tried if isinstance(answer, Answer)), Answer(None, None))
    if first.value is not None:
        report.findings["value"] = _value_finding(report)
    if first.grad is not None:
        report.findings["gradient"] = _gradient_finding(report)
    report.findings["last bin"] = _MISTAKES["last bin"][report.forgets_last_bin]
    report.findings["subtraction"] = _MISTAKES["subtraction"][report.subtracts_first]
    report.findings["totals of 3"] = _totals_finding(report)
    report.findings["totals 3 and 1"] = Finding(None, _TOTALS.get(text := examiner.totals(3, 1), text))
    report.findings["p = q"] = _equality_finding(examiner)
    if report.dtype == "float64":
        report.findings["float32"] = _float32_finding(examiner, report)
    if first.changed_input:
        report.findings["input"] = Finding(False, "the function changes its arguments")


_MISTAKES: dict[str, dict[bool | None, Finding]] = {
    "last bin": {
        True: Finding(False, "what happens at the last bin is forgotten"),
        False: Finding(True, "counted"),
        None: Finding(None, "cannot be told"),
    },
    "subtraction": {
        True: Finding(True, "p - q is accumulated"),
        False: Finding(False, "p and q are accumulated apart, as in cumsum(p) - cumsum(q): small flows are lost"),
        None: Finding(None, "cannot be told"),
    },
}
_TOTALS = {
    "as given": "used as given, the difference is left at the root",
    "normalised": "normalised silently",
    "other": "neither the result for the masses as given nor that for normalised ones",
    "not finite": "NaN or inf",
    "": "cannot be told",
}


def _totals_finding(report: Report) -> Finding:
    found = report.unnormalised
    if found.startswith("fails"):
        return Finding(None, found)
    wanted = {"as given", "normalised"} if report.gauge == "normalized" and not report.formula else {"as given"}
    return Finding(found in wanted if found else None, "used as given" if found == "as given" else _TOTALS[found])


def _value_finding(report: Report) -> Finding:
    fit = report.value_fit
    if fit is None:
        return Finding(False if report.space.diameter else None, "no formula that is known here")
    asked = fit.formula == emd_name(report.rho) and not fit.variant
    where = f"; rho {'to ' if fit.rho_applied == 'distances' else ''}{fit.rho_applied}" if fit.rho_applied else ""
    return Finding(asked and fit.factor == 1, _factor(fit.factor, report) + str(report.formula) + where)


def _gradient_finding(report: Report) -> Finding:
    fit = report.gradient_fit
    if fit is None:
        return Finding(False if report.space.diameter else None, "of no formula that is known here")
    right = fit.formula == emd_name(report.rho) and fit.factor == 1
    right &= fit.gauge == report.asked_gauge if report.asked_gauge else fit.gauge in gauges.CODES
    asked = f"; {report.asked_gauge} was asked for" if report.asked_gauge not in (None, fit.gauge) else ""
    return Finding(right, f"{_factor(fit.factor, report)}that of {fit.formula}, {fit.gauge}{asked}")


def _factor(factor: float, report: Report) -> str:
    """A factor with its likely meaning."""
    n, rho = report.space.n_bins, report.rho
    named = {"N": n, "1/N": 1 / n, "-N": -n, "-1/N": -1 / n, "rho": rho, "1/rho": 1 / rho, "1/2": 0.5}
    named["N^(-1/rho)"] = n ** (-1 / rho)
    named |= {"N - 1": n - 1.0, "1/(N - 1)": 1 / (n - 1)} if n > 2 else {}
    if report.space.diameter:
        named["1/diameter"] = 1 / report.space.diameter
    meaning = next((f" ({name})" for name, x in named.items() if abs(x) != 1 and abs(factor / x - 1) < 1e-3), "")
    return "" if factor == 1 else f"{factor:.4g}{meaning} times "


def _equality_finding(examiner: Examiner) -> Finding:
    """p = q, where every edge has a kink at rho = 1."""
    p, _ = examiner.probes.dense[0]
    answer = examiner.ask(p, p)
    if isinstance(answer, str):
        return Finding(False, f"fails: {answer}")
    if not is_finite(answer):
        return Finding(False, "NaN or inf")
    if answer.value:
        return Finding(False, f"the value is {float(answer.value):.3g}, not 0")
    if answer.grad is not None and answer.grad.any():
        return Finding(None, "the gradient is a subgradient other than 0")
    return Finding(True, "0")


def _float32_finding(examiner: Examiner, report: Report) -> Finding:
    """What the function does with float32 arrays."""
    p, q = casebook.pair("softmax", report.space.n_bins, np.float32)
    result = _measured(examiner.ask, Case("softmax", "ordinary", 0, p, q), report)
    if result.problem:
        return Finding(False, f"fails: {result.problem}")
    answer = examiner.ask(p, q)
    kinds = ", ".join(sorted({np.asarray(x).dtype.name for x in answer[:2] if x is not None}))
    if any(finding.ok is False for name, finding in report.findings.items() if name in ("value", "gradient")):
        return Finding(None, f"gives {kinds}")
    return Finding(result.worst <= report.tol, f"gives {kinds}, {result.worst:.2g} ulp off on a softmax pair")
