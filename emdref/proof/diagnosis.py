"""What a function computes, told from its answers: which formula, gauge and factor, and the usual mistakes.

Every question is put on probes whose right answer is known and on which the suspected mistake gives another one; where
no such probe exists on the space, the answer is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref import casebook
from emdref.exact.definitions import integers
from emdref.functions.emd import emd, emd_grad
from emdref.proof.calling import Answer, Ask
from emdref.spaces.space import Space

Array = NDArray[Any]
Value = Callable[[Array, Array], float]
Formula = Callable[[Array, Array, Space], float]
Slopes = Callable[[Array, Array, Space], Array]  # its gradient
Mask = Callable[[Array], Array]


class ValueFit(NamedTuple):
    """What a function's values are: `factor` times a formula on the space or on what a mistake leaves of it."""

    formula: str
    rho_applied: str  # "inside" the sum, "outside", "inside, then its root", to "distances"; "" for exponent 1
    variant: str  # "" for the space as it is
    factor: float
    compute: Value  # factor included


class GradientFit(NamedTuple):
    """What its gradients are: `factor` times the gradient of a formula in a gauge."""

    formula: str
    gauge: str
    factor: float
    compute: Callable[[Array, Array], Array]  # factor included, up to a constant


@dataclass
class Probes:
    """Pairs of n bins to ask about."""

    n: int
    dtype: Any

    @cached_property
    def sparse(self) -> list[tuple[Array, Array]]:
        """Whole multiples of 2**-10 of total 1, on at most ten bins spread over the space."""
        n = self.n
        ends = {0, 1, n - 2, n - 1} & set(range(n))  # the bins that off-by-one mistakes are about
        places = np.array(sorted({*ends, *np.linspace(0, n - 1, 6).astype(int)}))
        rng = np.random.default_rng([n, 10])
        return [(self._masses(rng, places), self._masses(rng, places)) for _ in range(5)]

    def _masses(self, rng: np.random.Generator, places: NDArray[np.int64]) -> Array:
        x = np.zeros(self.n, self.dtype)
        cuts = np.sort(rng.choice(np.arange(1, 1024), len(places) - 1, replace=False))
        x[places] = np.diff(cuts, prepend=0, append=1024) / 1024
        return x

    @cached_property
    def dense(self) -> list[tuple[Array, Array]]:
        """Softmax pairs: no flow is 0 but by chance."""
        return [casebook.pair("softmax", self.n, self.dtype, seed) for seed in (101, 102, 103)]


@dataclass
class Examiner:
    """One function on one space; `ask` calls it."""

    ask: Ask
    space: Space
    rho: float
    probes: Probes

    @property
    def tol(self) -> float:
        """Relative: far above rounding, far below what tells two formulas apart."""
        return 1e-3 if self.probes.dtype == np.float32 else 1e-6

    @property
    def exponents(self) -> list[float]:
        """What is asked for, then what is often computed instead."""
        return [self.rho, *(x for x in (1.0, 2.0) if x != self.rho)]

    def _answers(self, pairs: list[tuple[Array, Array]]) -> list[Answer]:
        """All answers, none if a call failed or gave no finite numbers."""
        given = [self.ask(p, q) for p, q in pairs]
        good = [a for a in given if isinstance(a, Answer) and is_finite(a)]
        return good if len(good) == len(given) else []

    # --- value --------------------------------------------------------------------------------------------------------

    @cached_property
    def value(self) -> ValueFit | None:
        """The formula that fits all values, with factor 1 if there is one; None if none does."""
        values = [a.value for a in self._answers(self.probes.sparse)]
        if not values or values[0] is None:
            return None
        fits = []
        for variant, space, masked in self._variants():
            for name, applied, formula in _formulas(self.exponents):

                def compute(p: Array, q: Array, f: Formula = formula, s: Space = space, m: Mask = masked) -> float:
                    return f(m(p), m(q), s)

                expected = [compute(p, q) for p, q in self.probes.sparse]
                factor = _common_factor(np.array(values, float), np.array(expected), self.tol)
                if factor is not None:
                    scaled = factor if abs(factor - 1) > self.tol else 1.0
                    fits.append(ValueFit(name, applied, variant, scaled, _scaled(compute, scaled)))
                    if scaled == 1:
                        return fits[-1]
        return fits[0] if fits else None

    def _variants(self) -> Iterator[tuple[str, Space, Mask]]:
        """The space and the masses as they are, then what is left of them after a usual mistake."""
        n = self.space.n_bins
        yield "", self.space, _as_it_is
        if n < 2:
            return
        for name, space in self.space.misreadings():
            yield name, space, _as_it_is
        yield "without the last bin", self.space, lambda x: np.where(np.arange(n) < n - 1, x, 0)
        yield "without the first bin", self.space, lambda x: np.where(np.arange(n) > 0, x, 0)

    # --- gradient -----------------------------------------------------------------------------------------------------

    @cached_property
    def gradient(self) -> GradientFit | None:
        """The formula, gauge and factor that fit all gradients; None if none does."""
        answers = self._answers(self.probes.dense)
        grads = [a.grad for a in answers if a.grad is not None]
        if not grads or len(grads) < len(answers) or self.space.n_bins < 2:
            return None
        for name, formula in _gradients(self.exponents):

            def compute(p: Array, q: Array, f: Slopes = formula) -> Array:
                return f(p, q, self.space)

            right = [compute(p, q) for p, q in self.probes.dense]
            slopes = [_slope(g.astype(float), r, self.tol) for g, r in zip(grads, right, strict=True)]
            factors = [x for x in slopes if x is not None]
            if len(factors) == len(slopes) and np.ptp(factors) <= self.tol * abs(factors[0]):
                gauge, factor = self._gauge(grads, right, factors[0])
                return GradientFit(name, gauge, factor, _scaled(compute, factors[0]))
        return None

    def _gauge(self, grads: list[Array], right: list[Array], factor: float) -> tuple[str, float]:
        """Which constant the gradients have: the gauge's name, and the factor in that gauge."""
        n, factor = self.space.n_bins, factor if abs(factor - 1) > self.tol else 1.0
        constants: dict[str, list[float]] = {
            "zero_sum": [-r.mean() for r in right],
            "raw": [0.0 for _ in right],
            "normalized": [-(p / p.sum(dtype=float)) @ r for (p, _), r in zip(self.probes.dense, right, strict=True)],
            "raw, rooted at the first bin": [-r[0] for r in right],
            "raw, rooted at the last bin": [-r[-1] for r in right],
        }
        for name, offsets in constants.items():
            errors = [
                abs(g / factor - r - c).max() / abs(r).max() for g, r, c in zip(grads, right, offsets, strict=True)
            ]
            if max(errors) <= self.tol:
                scaled = name == "zero_sum" and abs(factor / n - 1) <= self.tol
                return ("scaled", 1.0) if scaled else (name, factor)
        return "of another constant", factor

    # --- usual mistakes -----------------------------------------------------------------------------------------------

    def forgets_last_bin(self) -> bool | None:
        """Whether a mass that goes from the last bin to the one before it is not seen."""
        n = self.space.n_bins
        distance = self.space.distances_from(n - 1)[n - 2] if n > 1 else 0
        if self.value:
            return self.value.variant in ("without the last gap", "without the last bin")
        if distance == 0:
            return None
        p, q = np.zeros((2, n), self.probes.dtype)
        p[n - 2] = q[n - 1] = 1
        answer = self.ask(p, q)
        if not isinstance(answer, Answer) or not is_finite(answer):
            return None
        if answer.value is not None:
            return bool(abs(answer.value) <= self.tol * distance)
        assert answer.grad is not None
        grad = answer.grad.astype(float)
        return bool(abs(grad[n - 2] - grad[n - 1]) <= self.tol * np.ptp(grad)) if np.ptp(grad) else None

    def subtracts_first(self) -> bool | None:
        """False if p and q are accumulated one by one, so that a mass of 1 in the same bin drowns a small one."""
        told = False
        for p, q in self._drowning():
            if _survives_apart(p, q, self.space):
                continue
            near = self._is_near(self.ask(p, q), p, q)
            if not near:
                return near
            told = True
        return True if told else None

    def _drowning(self) -> Iterator[tuple[Array, Array]]:
        """Mass 1 at one bin of both, and a small one that goes from a second bin to a third."""
        n = self.space.n_bins
        if n < 3:
            return
        small, rng = np.finfo(self.probes.dtype).eps / 8, np.random.default_rng([n, 11])
        triples: list[Any] = [(0, n - 2, n - 1), (n - 1, 0, 1), *(rng.choice(n, 3, replace=False) for _ in range(20))]
        for large, start, end in triples:
            p, q = np.zeros((2, n), self.probes.dtype)
            p[large] = q[large] = 1
            p[start], q[end] = small, small
            yield p, q

    def _is_near(self, answer: Answer | str, p: Array, q: Array) -> bool | None:
        """Within a quarter of what its formula gives, which rounding cannot explain; None if that is not known."""
        if not isinstance(answer, Answer):
            return None
        if self.value and answer.value is not None:
            if self.value.rho_applied == "distances" or not np.isfinite(answer.value):
                return None  # distances: known to a solver's tolerance only
            right = self.value.compute(p, q)
            return bool(abs(float(answer.value) - right) <= abs(right) / 4)
        if self.gradient and answer.grad is not None and is_finite(answer):
            slopes, got = self.gradient.compute(p, q), answer.grad.astype(float)
            return bool(abs(got - got.mean() - slopes + slopes.mean()).max() <= np.ptp(slopes) / 4)
        return None

    def totals(self, scale_p: float, scale_q: float) -> str:
        """What becomes of totals other than 1: "as given", "normalised", "fails: ...", "not finite", "other" or ""."""
        one = self.probes.sparse[0] if self.value else self.probes.dense[0]
        p, q = (x * self.probes.dtype(s) for x, s in zip(one, (scale_p, scale_q), strict=True))
        answer = self.ask(p, q)
        if isinstance(answer, str):
            return f"fails: {answer}"
        if not is_finite(answer):
            return "not finite"
        if not (self.value or self.gradient):
            return ""
        for text, pair in (("as given", (p, q)), ("normalised", one)):
            if self.value and answer.value is not None:
                right = self.value.compute(*pair)
                if abs(float(answer.value) - right) <= self.tol * abs(right):
                    return text
            elif self.gradient and answer.grad is not None:
                slope = _slope(answer.grad.astype(float), self.gradient.compute(*pair), self.tol)
                if slope is not None and any(
                    abs(slope * s - 1) <= self.tol for s in {1.0, text == "as given" or scale_p}
                ):
                    return text  # normalised: with or without the factor 1 / |p| of the chain rule
        return "other"


# --- formulas, by emdref's own functions ------------------------------------------------------------------------------


def emd_name(rho: float) -> str:
    """What findings call EMD^rho."""
    return "sum of M |phi|" if rho == 1 else f"sum of M |phi|^{rho:g}"


def _formulas(exponents: list[float]) -> Iterator[tuple[str, str, Formula]]:
    for e in exponents:
        yield from _formulas_of(e)


def _formulas_of(e: float) -> Iterator[tuple[str, str, Formula]]:
    if e == 1:
        yield emd_name(e), "", lambda p, q, s: _emd(p, q, s, 1.0)
        return
    yield emd_name(e), "inside", lambda p, q, s: _emd(p, q, s, e)
    yield f"({emd_name(1)})^{e:g}", "outside", lambda p, q, s: _emd(p, q, s, 1.0) ** e
    root = f"({emd_name(e)})^(1/{e:g})"
    yield root, "inside, then its root", lambda p, q, s: _emd(p, q, s, e) ** (1 / e)
    yield f"W_{e:g}^{e:g}", "distances", lambda p, q, s: _transport(p, q, s, e)
    yield f"W_{e:g}", "distances", lambda p, q, s: _transport(p, q, s, e) ** (1 / e)


def _gradients(exponents: list[float]) -> Iterator[tuple[str, Slopes]]:
    for e in exponents:
        yield from _gradients_of(e)


def _gradients_of(e: float) -> Iterator[tuple[str, Slopes]]:
    yield emd_name(e), lambda p, q, s: _raw(p, q, s, e)
    if e != 1:
        outside = f"({emd_name(1)})^{e:g}"
        yield outside, lambda p, q, s: e * _emd(p, q, s, 1.0) ** (e - 1) * _raw(p, q, s, 1.0)
        root = f"({emd_name(e)})^(1/{e:g})"
        yield root, lambda p, q, s: _root_grad(p, q, s, e)


def _emd(p: Array, q: Array, space: Space, rho: float) -> float:
    if not (p.any() and q.any()):  # a mask has left nothing
        return 0.0
    return float(emd(p.astype(float), q.astype(float), space, rho, mass="ignore"))


def _raw(p: Array, q: Array, space: Space, rho: float) -> NDArray[np.float64]:
    return emd_grad(p.astype(float), q.astype(float), space, rho, gauge="raw", mass="ignore")


def _root_grad(p: Array, q: Array, space: Space, rho: float) -> NDArray[np.float64]:
    value = _emd(p, q, space, rho)
    return (value ** (1 / rho - 1) / rho if value else 0.0) * _raw(p, q, space, rho)


def _transport(p: Array, q: Array, space: Space, power: float) -> float:
    """W_power^power, distances to that power, by linear programming on the few bins with mass; NaN if that fails."""
    from scipy.optimize import linprog  # here, because SciPy takes long to import

    a, b = np.flatnonzero(p), np.flatnonzero(q)
    if len(a) * len(b) > 400 or p.sum(dtype=float) != q.sum(dtype=float):
        return np.nan
    costs = np.array([space.distances_from(i)[b] for i in a.tolist()]) ** power
    scale = costs.max() or 1.0
    sums = np.vstack([np.kron(np.eye(len(a)), np.ones(len(b))), np.kron(np.ones(len(a)), np.eye(len(b)))])
    result = linprog(costs.ravel() / scale, A_eq=sums, b_eq=np.concatenate([p[a], q[b]]).astype(float))
    return float(result.fun) * scale if result.status == 0 else np.nan


def _survives_apart(p: Array, q: Array, space: Space) -> bool:
    """Whether accumulating p and q apart towards the root, in their dtype, finds the sums of p - q all the same."""
    apart = [np.array(space.sums_beyond(list(x))) for x in (p, q)]
    both, unit = integers([*p.tolist(), *q.tolist()])
    right = space.sums_beyond([a - b for a, b in zip(both[: len(p)], both[len(p) :], strict=True)])
    return np.allclose(apart[0] - apart[1], [float(x * unit) for x in right], rtol=0.25, atol=0)


# --- fitting ----------------------------------------------------------------------------------------------------------


def is_finite(answer: Answer) -> bool:
    """Whether all its numbers are."""
    return all(x is None or bool(np.isfinite(x).all()) for x in (answer.value, answer.grad))


def _common_factor(got: NDArray[np.float64], expected: NDArray[np.float64], tol: float) -> float | None:
    """The number by which all of `expected` must be multiplied to give `got`, None if there is none."""
    if not expected.all() or not np.isfinite(expected).all():
        return None
    ratios = got / expected
    middle = float(np.median(ratios))
    return middle if middle and (abs(ratios / middle - 1) <= tol).all() else None


def _slope(got: Array, right: Array, tol: float) -> float | None:
    """The factor between two gradients up to a constant each, None if they are not multiples."""
    a, b = got - got.mean(), right - right.mean()
    if not b.any():
        return None
    factor = float(a @ b / (b @ b))
    return factor if factor and abs(a - factor * b).max() <= tol * abs(factor) * abs(b).max() else None


def _scaled(compute: Callable[..., Any], factor: float) -> Callable[..., Any]:
    return lambda p, q: factor * compute(p, q)


def _as_it_is(x: Array) -> Array:
    return x
