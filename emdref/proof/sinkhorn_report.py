"""What `emdref.check_sinkhorn` found: to print, and to assert on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from emdref.proof.alternation_fits import Fit
from emdref.proof.report import Case, Finding, Graded, code_of, largest
from emdref.spaces.matrix import Matrix
from emdref.spaces.space import Metric, Space

_SHORT = 8  # cost matrices of up to so many bins are written out


@dataclass(frozen=True, eq=False)
class SinkhornCase(Case):
    """One pair of histograms, of a family of `emdref.proof.sinkhorn_pairs` and a seed, or the caller's."""

    def code(self) -> str:
        """Python that makes the pair again."""
        code = super().code().replace("emdref.casebook.pair", "pair")
        return f"from emdref.proof.sinkhorn_pairs import pair\n{code}" if "pair(" in code else code


@dataclass(frozen=True, eq=False)
class SinkhornOutcome:
    """How one case of `emdref.check_sinkhorn` went.

    Attributes
    ----------
    case : Case
        The pair.
    value, grad : float or None
        Relative errors against the float64 logarithmic alternation, None for what was not returned or is not known.
    value_alike, grad_alike : float or None
        The same against emdref's own loop in the same dtype and the linear domain.
    problem : str
        What failed, if so.
    status : str
        The status of emdref's own loop.
    worst : float
        The larger of ``value`` and ``grad``, inf for what failed.
    """

    case: Case
    value: float | None = None
    grad: float | None = None
    value_alike: float | None = None
    grad_alike: float | None = None
    problem: str = ""
    status: str = ""

    @property
    def worst(self) -> float:
        return math.inf if self.problem else max((x for x in (self.value, self.grad) if x is not None), default=0.0)


@dataclass(eq=False)
class SinkhornReport(Graded[SinkhornOutcome]):
    r"""What `emdref.check_sinkhorn` found: ``print`` it to read it, or assert on its attributes.

    .. math:: \text{relative error} = \frac{|\text{got} - \text{expected}|}{|\text{expected}|}

    is the measure of values.  For gradients it is the error of log u, over the largest ``|log u|`` if that exceeds 1.

    Attributes
    ----------
    passed : bool
        It computes something known here, with the lam and the iterations asked for, and no case failed or is off by
        more than `tol`; with ``variant=`` given, it is that one.
    variant : str or None
        The published variant of `emdref.sinkhorn` that it is, if one alone fits.
    variants : tuple of str
        All that fit.
    first : {"v", "u"} or None
        Which scaling each iteration updates first; None where that cannot be told.
    refreshes_v : bool or None
        Whether the scaling updated first is renewed once more after the last iteration.
    start : {"ones", "count", "inverse"} or None
        u_0 = 1, N or 1/N, told by the constant of an uncentred gradient.
    shift : int or None
        1 for ``K = exp(-lam M - 1)``, 0 for ``exp(-lam M)``: only a loop that starts with u shows it.
    drops_empty : bool or None
        Whether bins with p = 0 have left the problem before the first iteration.
    value, value_factor
        What its values are, ``<T, M>`` for instance, and the factor before it.
    gradient, factor
        What its gradients are, ``log u`` over lam for instance, and the factor before it.
    centred : bool or None
        Whether the gradient's mean is 0.
    constant : str or None
        Which constant the gradient has: "centred", "as the start gives it"...
    n_iter : int, tuple of int, or None
        Iterations that it really does; one a probe where it stops early.  None: cannot be told.
    stops_early : bool
        Whether it stops before the iterations are done.
    told_apart : bool
        Whether `n_iter` is the only number that fits; False where the iteration has converged before.
    lam_found : float or None
        The lam that its plans have.
    precision : str or None
        The dtype whose rounding its numbers show: float32 where float64 was asked for.
    tol : float
        Relative errors up to which a case passes.
    worst_error : float
        The largest relative error against float64 logarithms (of a value, or of log u), inf for what failed, NaN where
        nothing could be compared.
    worst_case : Case
        Where that was.
    failures : int
        How many cases failed.
    snippet : str
        Python that shows the worst case again.
    closest : str
        What is nearest, and how far off, where no known value fits.
    findings : dict of Finding
        All this in words, each with ok = True, False or None (neither).
    results : list of SinkhornOutcome
        Case by case.
    grades : dict
        The results summed up by grade: number of cases, largest errors, failures, and whether all is well.
    """

    where: Metric
    lam: float
    max_iter: int
    dtype: str
    called_with: str
    asked: str | None
    tol: float
    eps: float
    value_fit: Fit | None = None
    gradient_fit: Fit | None = None
    variants: tuple[str, ...] = ()
    first: Literal["v", "u"] | None = None
    refreshes_v: bool | None = None
    start: str | None = None
    shift: int | None = None
    drops_empty: bool | None = None
    constant: str | None = None
    centred: bool | None = None
    n_iter: int | tuple[int, ...] | None = None
    told_apart: bool = False
    precision: str | None = None
    closest: str = ""
    findings: dict[str, Finding] = field(default_factory=dict)
    results: list[SinkhornOutcome] = field(default_factory=list)

    # --- to assert on -------------------------------------------------------------------------------------------------

    @property
    def passed(self) -> bool:
        return all(r.worst <= self.tol for r in self.results) and self._nothing_is_wrong()

    @property
    def variant(self) -> str | None:
        return self.variants[0] if len(self.variants) == 1 else None

    @property
    def value(self) -> str | None:
        return self.value_fit.what if self.value_fit else None

    @property
    def value_factor(self) -> float | None:
        return self.value_fit.factor if self.value_fit else None

    @property
    def gradient(self) -> str | None:
        return self.gradient_fit.what if self.gradient_fit else None

    @property
    def factor(self) -> float | None:
        return self.gradient_fit.factor if self.gradient_fit else None

    @property
    def lam_found(self) -> float | None:
        fit = self.value_fit or self.gradient_fit
        return self.lam * fit.setting.lam_factor if fit else None

    @property
    def stops_early(self) -> bool:
        return isinstance(self.n_iter, tuple)

    @property
    def worst_error(self) -> float:
        compared = any(r.problem or r.value is not None or r.grad is not None for r in self.results)
        return self.worst.worst if compared else math.nan

    @property
    def worst_ulp(self) -> float:
        """The same in units of eps."""
        return self.worst_error / self.eps

    @property
    def failures(self) -> int:
        return sum(bool(r.problem) for r in self.results)

    def _grade(self, results: list[SinkhornOutcome]) -> dict[str, Any]:
        errors = {name: largest(results, name) for name in ("value", "grad", "value_alike", "grad_alike")}
        failures = sum(bool(r.problem) for r in results)
        return {
            "cases": len(results),
            **errors,
            "failures": failures,
            "passed": all(r.worst <= self.tol for r in results),
        }

    # --- to read ------------------------------------------------------------------------------------------------------

    @property
    def snippet(self) -> str:
        """Python that shows the worst case again, with `function` and, if it is long, `space` as they were given."""
        name = self.variant or self.asked or (self.variants[0] if self.variants else "paper")
        call = f"emdref.sinkhorn(p, q, space, {self.lam!r}, max_iter={self.max_iter}, variant={name!r}"
        lines = ["import emdref, numpy as np", _code(self.where), self.worst_case.code()]
        lines += ["print('yours:', function(p, q))", f"r = {call})", "print('emdref:', r.value, r.grad, r.status)"]
        lines += [f"r = {call}, domain='log', dtype='float64')", "print('in logarithms:', r.value, r.grad, r.status)"]
        return "\n".join(lines)

    def __str__(self) -> str:
        verdict = "PASSED" if self.passed else "NOT PASSED"
        where = self.where if isinstance(self.where, Space) else f"a cost matrix of {self.where.n_bins} bins"
        head = f"{verdict}: Sinkhorn, lam = {self.lam:g}, {self.max_iter} iterations, on {where}, {self.dtype}, "
        lines = [f"{head}called with {self.called_with}", ""]
        lines += self._found()
        lines += ["", f"{'':10s} {'':5s}  {'off float64 logarithms':^24s}  {'off emdref in ' + self.dtype:^24s}"]
        lines += [f"{'grade':10s} cases  {'value':>12s}{'gradient':>12s}  {'value':>12s}{'gradient':>12s}  failures"]
        for grade, row in self.grades.items():
            cells = "".join(f"{_shown(row[name]):>12s}" for name in ("value", "grad"))
            alike = "".join(f"{_shown(row[name]):>12s}" for name in ("value_alike", "grad_alike"))
            lines.append(f"{grade:10s} {row['cases']:5d}  {cells}  {alike}  {row['failures']:8d}")
        if math.isnan(self.worst_error):
            return "\n".join([*lines, "", "no case could be compared: nothing that is known here gives its numbers"])
        worst = self.worst
        off = (
            f"{worst.problem}{worst.status and f' (emdref: {worst.status})'}" if worst.problem else _shown(worst.worst)
        )
        lines += ["", f"worst: {off} in {worst.case} (up to {self.tol:.2g} passes)"]
        return "\n".join([*lines, *("    " + line for line in self.snippet.splitlines())])


def _shown(x: float | None) -> str:
    return "" if x is None else f"{x:.2g}"


def _code(where: Metric) -> str:
    """Python that makes the space or the matrix again, if it is short."""
    if isinstance(where, Space):
        return code_of(where)
    assert isinstance(where, Matrix)
    if where.n_bins > _SHORT:
        return "# space: the cost matrix that was checked"
    return f"space = np.array({where.cost.tolist()})"
