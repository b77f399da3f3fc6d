"""What `emdref.check` found: to print, and to assert on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar, get_args

from numpy.typing import NDArray

from emdref.casebook import Grade
from emdref.spaces.space import Space

if TYPE_CHECKING:
    from emdref.proof.diagnosis import GradientFit, ValueFit

_SHORT = 16  # arrays up to this length are written out


class Finding(NamedTuple):
    """One thing that a check found.

    Attributes
    ----------
    ok : bool or None
        Whether it is right; None where it is neither right nor wrong, or cannot be told.
    text : str
        What was found, in words.
    """

    ok: bool | None
    text: str


@dataclass(frozen=True, eq=False)
class Case:
    """One pair of histograms, and where it comes from: a family of `emdref.casebook` and a seed, or the caller.

    Attributes
    ----------
    family, grade : str
        The family and how hard it is; ``own`` is the grade of the caller's pairs.
    number : int
        The seed, or the place among the caller's pairs.
    p, q : (N,) arrays
        The pair.
    """

    family: str
    grade: str
    number: int
    p: NDArray[Any]
    q: NDArray[Any]

    def code(self) -> str:
        """Python that makes the pair again."""
        if len(self.p) <= _SHORT:
            return f"p, q = np.array([{self.p.tolist()},\n                 {self.q.tolist()}], {self.p.dtype.name!r})"
        if self.grade == "own":
            return f"p, q = cases[{self.number}]"
        return f'p, q = emdref.casebook.pair("{self.family}", {len(self.p)}, {self.p.dtype.name!r}, seed={self.number})'

    def __str__(self) -> str:
        return f"{self.family}, {'pair' if self.grade == 'own' else 'seed'} {self.number}"


@dataclass(frozen=True, eq=False)
class Result:
    """How one case of `emdref.check` went.

    Attributes
    ----------
    case : Case
        The pair.
    value_ulp, grad_ulp : float or None
        The errors of value and gradient in ulp, None for what was not returned.
    wrong_signs, lost_zeros : int
        As in `emdref.Report`, for this case.
    problem : str
        Why there was no answer, if so.
    worst : float
        The larger error, inf where there was no answer.
    """

    case: Case
    value_ulp: float | None = None
    grad_ulp: float | None = None
    wrong_signs: int = 0
    lost_zeros: int = 0
    problem: str = ""

    @property
    def worst(self) -> float:
        return math.inf if self.problem else max(x for x in (self.value_ulp, self.grad_ulp) if x is not None)


class Outcome(Protocol):
    """How one case went."""

    @property
    def case(self) -> Case: ...

    @property
    def worst(self) -> float: ...


_Outcome = TypeVar("_Outcome", bound=Outcome)


class Graded(Generic[_Outcome]):
    """What reports have in common: findings in words, and results case by case, summed up by grade."""

    findings: dict[str, Finding]
    results: list[_Outcome]

    @property
    def worst(self) -> _Outcome:
        """The case with the largest error."""
        return max(self.results, key=lambda r: r.worst)

    @property
    def worst_case(self) -> Case:
        return self.worst.case

    @property
    def grades(self) -> dict[str, dict[str, Any]]:
        """Per grade: number of cases, largest errors, cases without an answer and more, and whether all is well."""
        return {grade: self._grade(some) for grade in (*get_args(Grade), "own") if (some := self._of(grade))}

    def _of(self, grade: str) -> list[_Outcome]:
        return [r for r in self.results if r.case.grade == grade]

    def _grade(self, results: list[_Outcome]) -> dict[str, Any]:
        raise NotImplementedError

    def _nothing_is_wrong(self) -> bool:
        return all(f.ok is not False for f in self.findings.values())

    def _found(self) -> list[str]:
        """A line a finding."""
        marks = {True: "ok", False: "WRONG", None: "-"}
        return [f"{name:19s} {marks[f.ok]:6s} {f.text}" for name, f in self.findings.items()]


def largest(results: list[Any], name: str) -> float | None:
    """The largest of the numbers of that name that are known."""
    return max((x for r in results if (x := getattr(r, name)) is not None), default=None)


@dataclass(eq=False)
class Report(Graded[Result]):
    r"""What `emdref.check` found: ``print`` it to read it, or assert on its attributes.

    .. math:: \text{error in ulp} = \frac{|\text{got} - \text{exact}|}{\operatorname{ulp}(\text{exact})}

    is the measure of all errors, with exact numbers from rationals and one ulp the distance to the next float.

    Attributes
    ----------
    passed : bool
        Nothing below is wrong: no finding, no case that failed or is off by more than `tol`, no wrong sign.
    worst_ulp : float
        The largest error of a value, in ulp of the exact one, or of a gradient's entry, in ulp of the largest entry of
        the raw gradient (times N for gauge ``scaled``, over ``|p|`` for ``normalized``); inf for NaN and failures.
    worst_case : Case
        Where that was.
    snippet : str
        Python that shows the worst case again.
    wrong_signs : int
        Neighbouring bins k, k+1 between which the gradient falls where it should rise, or the like, by more than
        rounding, over all cases: on a chain at rho = 1, these are wrong signs of phi_k.
    lost_zeros : int
        Those of them that should be 0: where phi_k = 0 at rho = 1, another subgradient than the least, or noise.
    formula, rho_applied, value_factor
        What the values are, and what factor they have: None if nothing known fits.  For instance
        ``sum of M |phi|^2``, rho ``inside`` the sum; ``(sum of M |phi|)^2``, ``outside``; ``W_2^2``, to
        ``distances``.  rho_applied is "" at rho = 1.
    gauge, factor
        What the gradients are: a gauge of `emdref.emd_grad` or "raw, rooted at the first bin", "of another constant";
        times a factor.  None if nothing known fits.
    forgets_last_bin, subtracts_first : bool or None
        Mistakes of that name; None if this space cannot show them.
    unnormalised : str
        What becomes of p and q of total 3: "as given", "normalised", "other", "not finite", "fails: ...".
    findings : dict of Finding
        All this in words, each with ok = True, False or None (neither).
    results : list of Result
        Case by case.
    grades : dict
        The results summed up by grade: number of cases, largest errors, wrong signs, failures, and whether all is well.
    """

    space: Space
    rho: float
    dtype: str
    called_with: str
    tol: float
    asked_gauge: str | None
    measured_gauge: str
    value_fit: ValueFit | None
    gradient_fit: GradientFit | None
    forgets_last_bin: bool | None = None
    subtracts_first: bool | None = None
    unnormalised: str = ""
    findings: dict[str, Finding] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)

    # --- to assert on -------------------------------------------------------------------------------------------------

    @property
    def passed(self) -> bool:
        good = all(r.worst <= self.tol and not r.wrong_signs for r in self.results)
        return good and self._nothing_is_wrong()

    @property
    def worst_ulp(self) -> float:
        return self.worst.worst

    @property
    def wrong_signs(self) -> int:
        return sum(r.wrong_signs for r in self.results)

    @property
    def lost_zeros(self) -> int:
        return sum(r.lost_zeros for r in self.results)

    @property
    def formula(self) -> str | None:
        return self.value_fit and " ".join(filter(None, (self.value_fit.formula, self.value_fit.variant)))

    @property
    def rho_applied(self) -> str | None:
        return self.value_fit and self.value_fit.rho_applied

    @property
    def value_factor(self) -> float | None:
        return self.value_fit and self.value_fit.factor

    @property
    def gauge(self) -> str | None:
        return self.gradient_fit and self.gradient_fit.gauge

    @property
    def factor(self) -> float | None:
        return self.gradient_fit and self.gradient_fit.factor

    def _grade(self, results: list[Result]) -> dict[str, Any]:
        return {
            "cases": len(results),
            "value_ulp": largest(results, "value_ulp"),
            "grad_ulp": largest(results, "grad_ulp"),
            "wrong_signs": sum(r.wrong_signs for r in results),
            "lost_zeros": sum(r.lost_zeros for r in results),
            "failures": sum(bool(r.problem) for r in results),
            "passed": all(r.worst <= self.tol and not r.wrong_signs for r in results),
        }

    # --- to read ------------------------------------------------------------------------------------------------------

    @property
    def snippet(self) -> str:
        """Python that shows the worst case again, with `function` and, if it is long, `space` as they were given."""
        options = f"space, {self.rho:g}, mass='ignore'" if self.rho != 1 else "space, mass='ignore'"
        lines = ["import emdref, numpy as np", code_of(self.space), self.worst_case.code()]
        lines += ["print('yours:', function(p, q))", f"print('value:', emdref.emd(p, q, {options}))"]
        if self.worst.grad_ulp is not None or self.gradient_fit:
            lines.append(f"print('gradient:', emdref.emd_grad(p, q, {options}, gauge={self.measured_gauge!r}))")
        return "\n".join(lines)

    def __str__(self) -> str:
        head = f"{'PASSED' if self.passed else 'NOT PASSED'}: EMD^{self.rho:g} on {self.space}, {self.dtype}, "
        lines = [f"{head}called with {self.called_with}", ""]
        lines += self._found()
        lines += ["", f"{'grade':10s} cases  value, ulp  gradient, ulp  wrong signs (should be 0)  failures"]
        for grade, row in self.grades.items():
            cells = f"{row['cases']:5d}  {_ulps(row['value_ulp']):>10s}  {_ulps(row['grad_ulp']):>13s}"
            signs = f"{row['wrong_signs']:11d} {'(' + str(row['lost_zeros']) + ')':13s}"
            lines.append(f"{grade:10s} {cells}  {signs}  {row['failures']:8d}")
        worst = self.worst
        lines += [
            "",
            f"worst: {worst.problem or _ulps(worst.worst) + ' ulp'} in {worst.case} (up to {self.tol:.3g} pass)",
        ]
        return "\n".join([*lines, *("    " + line for line in self.snippet.splitlines())])


def _ulps(x: float | None) -> str:
    return "" if x is None else f"{x:.2f}" if x < 100 else f"{x:.2g}"


def code_of(space: Space) -> str:
    """Python that makes the space again, if it is short."""
    code = space.as_code()
    return f"# space: the {space} that was checked" if code is None else f"space = {code}"
