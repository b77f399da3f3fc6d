"""`emdref.check_sinkhorn`: somebody else's Sinkhorn on graded cases, and a report of which variant it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from emdref.arguments import messages, validation
from emdref.casebook import Pair, Rng
from emdref.entropic import inputs
from emdref.entropic.variants import VARIANTS, Variant
from emdref.functions.sinkhorn import variant_of
from emdref.proof import alternation_fits as fits
from emdref.proof import calling, sinkhorn_pairs
from emdref.proof.alternation_fits import CONCAVE, COST, OBJECTIVE, Fit, Found, Pairs, Search
from emdref.proof.calling import Answer, Ask, Convention
from emdref.proof.report import Finding
from emdref.proof.sinkhorn_errors import as_numbers, evaluated, measure
from emdref.proof.sinkhorn_report import SinkhornReport
from emdref.spaces.space import Space

PUBLISHED = tuple(name for name, switches in VARIANTS.items() if switches.relaxation == 1)
_BINS, _STEP = 8, 1e-3  # of a derivative by differences: how many bins are looked at, relative steps
_ALIKE_SLOPES = {"float32": 1e-2, "float64": 1e-6}  # far above rounding, far below what tells two gradients apart


def check_sinkhorn(
    function: Callable[..., Any],
    space_or_cost: Space | ArrayLike,
    lam: float,
    max_iter: int,
    *,
    variant: str | None = None,
    dtype: DTypeLike = np.float64,
    cases: Any = None,
    tol: float | None = None,
    framework: str | None = None,
) -> SinkhornReport:
    r"""Run an implementation of the Sinkhorn distance on graded cases, and tell which variant it is and where it fails.

    .. math:: v \leftarrow \frac{q}{K^T u}, \qquad u \leftarrow \frac{p}{K v}, \qquad K = c \, e^{-\lambda M}

    It alternates these two steps, for some constant c.  What it starts with, how often it really alternates, with which
    lam, and what value and gradient are read off is told from its answers on softmax pairs.  These are compared with
    every half step of that sequence.

    Parameters
    ----------
    function : callable
        ``function(p, q)`` for one pair of total 1, with its own M, lam and iterations inside.  It gives the value, the
        gradient with respect to p, the tuple of both, or the (N, N) transport plan.  It is called as `emdref.check`
        calls: with NumPy arrays, else with those of torch (values are differentiated by autograd), JAX or CuPy,
        whichever is imported; each of shape (N,), then (1, N).
    space_or_cost : Space or (N, N) array
        The costs that it is meant for, as `emdref.sinkhorn` takes them.
    lam : float > 0
        The inverse strength of the entropy that it is meant to have: 1 / reg in POT, 1 / epsilon in OTT.
    max_iter : int >= 1
        The iterations that it is meant to do: pairs of updates.
    variant : str, optional
        The variant of `emdref.sinkhorn` that it is meant to be; by default any.
    dtype : float32 or float64
        Of the arrays it is called with.
    cases : str or sequence, optional
        Grades (``easy``, ``ordinary``, ``hard``, ``hostile``) or families (of `emdref.proof.sinkhorn_pairs.pair`), or
        pairs (p, q) of your own; by default all grades.
    tol : float, optional
        Relative error, of the value or of u, up to which a case passes.  By default it is what plain arithmetic keeps
        to, ``4 eps (4 + 4 sqrt(N) + lam max(M)) sqrt(2 max_iter + 2)``.
    framework : {"numpy", "torch", "jax", "cupy"}, optional
        Call it with these arrays only.

    Returns
    -------
    SinkhornReport
        ``print`` it to read it; assert on its ``passed``, ``variant``, ``n_iter``, ``value``, ``centred``,
        ``worst_error``...

    Raises
    ------
    TypeError, ValueError
        A function that gives no answer at all, however it is called (the message says what each way gave); bad options;
        lam, max_iter and costs as in `emdref.sinkhorn`.

    Notes
    -----
    A constant factor of u_0 or of K moves no plan.  That of u_0 shows in the constant of an uncentred log u.  That of K
    shows in nothing that a loop returns which starts with v: ``shift`` is then None.  Where the iteration has
    converged, the number of iterations and whether v is refreshed cannot be told either, and the report says so.

    Candidates are right to float64's rounding; one is taken to be what the function computes if it is off by no more
    than `tol` allows and no other is nearer by a factor of 8.

    Examples
    --------
    >>> import numpy as np, emdref
    >>> M = emdref.Chain(8).distance_matrix()
    >>> def mine(p, q, lam=2.0):
    ...     K, u = np.exp(-lam * M - 1), np.ones(8)
    ...     for _ in range(9):
    ...         v = q / (K.T @ u)
    ...         u = p / (K @ v)
    ...     return (u * ((K * M) @ v)).sum(), np.log(u) / lam
    >>> report = emdref.check_sinkhorn(mine, M, lam=2.0, max_iter=10)
    >>> report.passed, report.value, report.n_iter, report.refreshes_v, report.start
    (False, '<T, M>', 9, False, 'ones')
    >>> print(report.findings["iterations"].text)
    9, not 10
    """
    if not callable(function):
        raise TypeError(f"function must be callable, not {messages.type_name(function)}")
    where, kind = inputs.metric(space_or_cost), validation.float_dtype(dtype).type
    number = float(inputs.strength(lam, np.dtype(kind)))
    max_iter = validation.count(max_iter, "max_iter")
    if variant is not None and variant_of(variant).relaxation > 1:
        raise ValueError(f"variant={variant!r} is emdref's own: what is published is {', '.join(PUBLISHED)}")
    probes = _Probes(where.n_bins, kind)
    search = Search(where, number, max_iter, probes.dense, None, None, kind)
    allowed = search.bound() if tol is None else validation.weight(tol, "tol")
    chosen = list(sinkhorn_pairs.chosen(cases, where, space_or_cost, kind))
    convention = calling.find(function, probes.pairs(probes.dense)[:2], framework, plans=True)
    ask = calling.asker(function, convention)
    with np.errstate(all="ignore"):
        report = _Examination(ask, search, probes, variant).report(convention, float(allowed))
        measure(ask, report, chosen)
    return report


# --- what it computes -------------------------------------------------------------------------------------------------


class _Probes:
    """Pairs to tell variants apart by."""

    def __init__(self, n: int, dtype: Any) -> None:
        count = 5 if n <= 512 else 3
        # q is no permutation of p, for then log p/q, what u is where lam is large, would be centred by itself
        self.dense = self._of(lambda rng: sinkhorn_pairs.mild(rng, n, dtype, 2.0), n, range(201, 201 + count))
        self.gapped = self._of(lambda rng: sinkhorn_pairs.zeros_in_p(rng, n, dtype), n, range(301, 303))
        self.dtype = dtype

    @staticmethod
    def _of(draw: Callable[[Rng], Pair], n: int, seeds: range) -> Pairs:
        drawn = [draw(np.random.default_rng([seed, n])) for seed in seeds]
        p, q = (np.array(x, float) for x in zip(*drawn, strict=True))
        return Pairs(p, q)

    def pairs(self, pairs: Pairs) -> list[Pair]:
        """One by one, in the dtype asked for, which holds them."""
        return [(p.astype(self.dtype), q.astype(self.dtype)) for p, q in zip(pairs.p, pairs.q, strict=True)]


class _Examination:
    """One function; questions about it, and a report that answers them."""

    def __init__(self, ask: Ask, search: Search, probes: _Probes, asked: str | None) -> None:
        self.ask, self.search, self.probes, self.asked = ask, search, probes, asked
        self.answers = [ask(p, q) for p, q in probes.pairs(probes.dense)]
        good = [a for a in self.answers if isinstance(a, Answer)]
        numbers = [as_numbers(a, search.where) for a in good] if len(good) == len(self.answers) else []
        known = [n for n in numbers if all(x is None or np.isfinite(x).all() for x in n)]
        self.failed = len(known) < len(self.answers)
        if not self.failed:
            value, grad = zip(*known, strict=True)
            search.value = None if None in value else np.array(value, float)
            search.grad = None if any(x is None for x in grad) else np.array(grad, float)
        self.returns_plan = any(a.plan is not None for a in good)
        self.changes = any(a.changed_input for a in good)

    def report(self, convention: Convention, tol: float) -> SinkhornReport:
        """All that can be told."""
        search = self.search
        report = SinkhornReport(
            where=search.where,
            lam=search.lam,
            max_iter=search.max_iter,
            dtype=np.dtype(search.dtype).name,
            called_with=str(convention),
            asked=self.asked,
            tol=tol,
            eps=float(np.finfo(search.dtype).eps),
        )
        if self.failed:
            why = next((a for a in self.answers if isinstance(a, str)), "NaN or inf")
            report.findings["ordinary pairs"] = Finding(False, f"{why}: what it computes cannot be told")
            return report
        found = fits.identify(search)
        if search.grad is not None and found.gradient is None:
            found = replace(found, gradient=self._unrolled(found))
        report.value_fit, report.gradient_fit = found.value, found.gradient
        self._tell(report, found)
        return report

    def _tell(self, report: SinkhornReport, found: Found) -> None:
        fit = found.value or found.gradient
        if found.closest and not found.value:
            off = f"{found.closest.misfit:.2g}"
            report.closest = f"{found.closest.what} {_after(found.closest)}, off by {off}"
        if self.search.value is not None:
            report.findings["value"] = self._value(report, found.float32)
        if self.search.grad is not None:
            report.findings["gradient"] = self._gradient(report)
        if found.value and self.returns_plan and not found.value.what.startswith(fits.DEBIASED):
            report.findings["plan"] = self._plan(found.value)
        if fit is None:
            near = f"; nearest: {report.closest}" if report.closest else ""
            report.findings["variant"] = Finding(False, f"none of {', '.join(PUBLISHED)}{near}")
            return
        self._constant(report)
        self._order(report, fit)
        self._iterations(report, fit)
        factor = fit.setting.lam_factor
        text = f"{self.search.lam:g}" if factor == 1 else f"{self.search.lam * factor:.6g}, {fit.setting.lam_name}"
        report.findings["lam"] = Finding(factor == 1, text)
        report.precision = "float32" if found.float32 else np.dtype(self.search.dtype).name
        if found.float32:
            report.findings["precision"] = Finding(
                False, "float32 inside, where float64 was given, or something added as small as its rounding"
            )
        self._empty_bins(report, fit)
        report.variants = tuple(name for name in PUBLISHED if self._is(report, VARIANTS[name]))
        report.findings["variant"] = self._variant(report)
        if self.changes:
            report.findings["input"] = Finding(False, "the function changes its arguments")

    # --- in words -----------------------------------------------------------------------------------------------------

    def _value(self, report: SinkhornReport, float32: bool) -> Finding:
        fit = report.value_fit
        if fit is None:
            return Finding(False, "none that is known here")
        note = " of the plan returned" if self.returns_plan else ""
        also = (
            sorted({kind for first, kind, _ in fit.alike if kind != fit.what}, key=fits.KINDS.index)
            if (not fit.what.startswith(fits.DEBIASED))
            else []
        )
        note += f" (or {also[0]}: not told apart here)" if also else ""
        right = fit.factor == 1 and fit.what != CONCAVE and (fit.what in (COST, OBJECTIVE) or None)
        note += ", the entropy with the wrong sign" if fit.what == CONCAVE else ""
        if fit.misfit > self.search.bound() and not float32:
            right, note = False, f"{note}, but off by {fit.misfit:.2g}, where the gradient is right to {report.dtype}"
        return Finding(right, self._times(fit.factor) + fit.what + note)

    def _gradient(self, report: SinkhornReport) -> Finding:
        fit = report.gradient_fit
        if fit is None:
            return Finding(False, "of nothing that is known here")
        right = fit.factor == 1 and (fit.what == "log u" or None)
        right = False if fit.what.startswith("log v") else right
        over = "" if fit.what.endswith("unrolled") else ", over lam"
        return Finding(right, self._times(fit.factor) + fit.what + over)

    def _plan(self, fit: Fit) -> Finding:
        """Whether the plans are those whose values they have: transposed they have the same where M is symmetric."""
        lam, cost, wanted = (
            self.search.lam * fit.setting.lam_factor,
            self.search.where.distance_matrix(),
            fit.half_steps,
        )
        steps = {s.half_steps: s for s in self._states(fit)}
        limit = max(self.search.bound(np.float32 if fit.misfit > self.search.bound() else None), 8 * fit.misfit)
        off, turned = 0.0, 0.0
        for k, (h, answer) in enumerate(zip(wanted.tolist(), self.answers, strict=True)):
            assert isinstance(answer, Answer) and answer.plan is not None
            right = np.exp(steps[h].log_u[:, k, None] + steps[h].log_v[:, k] - lam * cost)
            got = answer.plan.astype(float) / fit.factor
            off, turned = (
                max(x, float(np.abs(y - right).max() / right.max())) for x, y in ((off, got), (turned, got.T))
            )
        if off <= limit:
            return Finding(True, "rows are p's bins, columns q's")
        if turned <= limit:
            return Finding(False, "transposed: rows are q's bins, columns p's")
        return Finding(False, f"not the one that has this value: entries are off by {off:.2g} of the largest")

    def _times(self, factor: float) -> str:
        """A factor with its likely meaning."""
        n, lam, where = self.search.where.n_bins, self.search.lam, self.search.where
        named = {"N": n, "1/N": 1 / n, "1/N^2": n**-2.0, "lam": lam, "1/lam": 1 / lam, "2": 2.0, "1/2": 0.5}
        named |= {"max(M)": where.diameter, "1/max(M)": 1 / where.diameter} if where.diameter else {}
        signed = {**named, **{f"-{name}": -x for name, x in named.items()}}
        meaning = next((f" ({name})" for name, x in signed.items() if x != 1 and abs(factor / x - 1) < 1e-4), "")
        return "" if factor == 1 else f"{factor:.4g}{meaning} times "

    def _constant(self, report: SinkhornReport) -> None:
        """Which constant the gradient has."""
        fit, grad = report.gradient_fit, self.search.grad
        if fit is None or grad is None:
            return
        lam, n, p = self.search.lam * fit.setting.lam_factor, self.search.where.n_bins, self.probes.dense.p
        scaled = grad * (1.0 if fit.what.endswith("unrolled") else lam) / fit.factor
        largest = max(1.0, float(np.abs(scaled).max()))
        slack = (
            8 * max(fit.misfit, self.search.floor(np.float32 if fit.misfit > self.search.bound() else None)) * largest
        )

        def holds(x: Any) -> bool:
            return bool((np.abs(x) <= slack).all())

        rules = {"centred": scaled.mean(axis=1), "sum of p g is 0": (p * scaled).sum(axis=1) / p.sum(axis=1)}
        rules |= {"0 at the first bin": scaled[:, 0], "0 at the last bin": scaled[:, -1]}
        if fit.what == "log u":
            offset = np.array([(g - b).mean() for g, b in zip(scaled, self._base(fit), strict=True)])
            sign = 1 if fit.setting.first == "v" else -1  # of what starts, u or v
            ends = {"ones": 0.0, "inverse": -sign * math.log(n), "count": sign * math.log(n)}
            for shift in (0, 1) if fit.setting.first == "u" else (0,):
                for start, constant in ends.items():
                    if holds(offset - constant - shift) and report.start is None:
                        report.start, report.shift = start, shift if fit.setting.first == "u" else None
        report.constant = next((name for name, x in rules.items() if holds(x)), "another")
        report.centred = report.constant == "centred"
        if report.centred and n > 1:
            report.start = report.shift = None
        if report.start:
            report.constant = "as the start gives it"
        report.findings["gradient's constant"] = Finding(None, self._start(report))

    def _start(self, report: SinkhornReport) -> str:
        what = "u" if report.gradient_fit is None or report.gradient_fit.setting.first == "v" else "v"
        starts = {"ones": "1", "inverse": "1/N", "count": "N"}
        return f"that of {what}_0 = {starts[report.start]}" if report.start else str(report.constant)

    def _base(self, fit: Fit) -> NDArray[np.float64]:
        """log u after the fit's half steps, (B, N)."""
        found = {s.half_steps: s.log_u for s in self._states(fit)}
        return np.array([found[h][:, k] for k, h in enumerate(fit.half_steps.tolist())])

    def _states(self, fit: Fit) -> Iterator[fits.State]:
        """What the fit's half steps lead to on the dense pairs."""
        lam, wanted = self.search.lam * fit.setting.lam_factor, sorted(set(fit.half_steps.tolist()))
        return fits.states(self.search.where, lam, self.probes.dense, fit.setting.first, wanted)

    def _order(self, report: SinkhornReport, fit: Fit) -> None:
        """What comes first, what last, and what that leaves open."""
        firsts = {first for first, kind, _ in fit.alike if kind == fit.what} or {fit.setting.first}
        report.first = fit.setting.first if len(firsts) == 1 else None
        if report.first is None:
            report.findings["updates"] = Finding(None, "v or u first: not told apart at this lam and cap")
        else:
            report.findings["updates"] = Finding(
                None if report.first == "u" else True,
                f"{report.first} first, then {'u' if report.first == 'v' else 'v'}",
            )
        if report.value_fit is not None and not report.value_fit.stops:
            kept = {h % 2 for h in self._half_steps(report, fit)}
            report.refreshes_v = bool(kept.pop()) if len(kept) == 1 else None
        told = {
            True: "refreshed after the last iteration",
            False: "as the last iteration left it",
            None: "refreshed or not: not told apart" if report.value_fit else "cannot be told from a gradient",
        }
        report.findings["u" if report.first == "u" else "v"] = Finding(None, told[report.refreshes_v])
        if report.shift is None:
            report.findings["shift of K"] = Finding(None, "cannot be told: it changes neither plan nor u")
        else:
            report.findings["shift of K"] = Finding(None, f"K = exp(-lam M{' - 1' if report.shift else ''})")

    def _half_steps(self, report: SinkhornReport, fit: Fit) -> set[int]:
        """Half steps that value and gradient allow."""
        first, both = fit.setting.first, [f for f in (report.value_fit, report.gradient_fit) if f and not f.stops]
        allowed = [
            {h for a, kind, h in f.alike if (a, kind) == (first, f.what)} or set(f.half_steps.tolist()) for f in both
        ]
        return set.intersection(*allowed) or allowed[0]

    def _iterations(self, report: SinkhornReport, fit: Fit) -> None:
        """How many, and whether that is certain."""
        asked = self.search.max_iter
        if fit.stops:
            report.n_iter = tuple(int(h) // 2 for h in fit.half_steps)
            some = f"from {min(report.n_iter)} to {max(report.n_iter)}"
            right = None if max(report.n_iter) <= asked else False
            report.findings["iterations"] = Finding(right, f"stops early, after {some} of {asked} on ordinary pairs")
            report.told_apart = True
            return
        half_steps = self._half_steps(report, fit)
        of_u = fit is report.gradient_fit and fit.setting.first == "u"
        counts = sorted({(h + of_u) // 2 for h in half_steps})
        report.told_apart = len(counts) == 1
        report.n_iter = asked if asked in counts else min(counts, key=lambda k: abs(k - asked))
        if asked not in counts:
            some = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            report.findings["iterations"] = Finding(False, f"{some}, not {asked}")
        elif len(counts) > 1:
            text = (
                f"{asked} fit, as do {counts[0]} or more: it has converged"
                if counts[-1] > asked + 1
                else (f"{counts[0]} to {counts[-1]} fit, not told apart")
            )
            report.findings["iterations"] = Finding(True, text)
        else:
            report.findings["iterations"] = Finding(True, f"{asked}")

    def _empty_bins(self, report: SinkhornReport, fit: Fit) -> None:
        """What becomes of bins without mass in p."""
        answers = [self.ask(p, q) for p, q in self.probes.pairs(self.probes.gapped)]
        problem = next((a for a in answers if isinstance(a, str)), "")
        if problem:
            report.findings["empty bins of p"] = Finding(False, f"fails: {problem}")
            return
        numbers = [as_numbers(a, self.search.where) for a in answers if isinstance(a, Answer)]
        values = [v for v, _ in numbers if v is not None]
        report.drops_empty = self._drops(report, values) if values else None
        dropped = {True: "dropped at the start; ", False: "kept; ", None: ""}[report.drops_empty]
        entries = [g[p == 0] for (_, g), p in zip(numbers, self.probes.gapped.p, strict=True) if g is not None]
        what = _described(np.concatenate(entries)) if entries else ""
        inside = [g[p > 0] for (_, g), p in zip(numbers, self.probes.gapped.p, strict=True) if g is not None]
        bad = "NaN" in what or not np.isfinite(np.concatenate([*inside, values])).all()
        spoilt = "; numbers elsewhere are lost as well" if bad and "NaN" not in what else ""
        if dropped or what:
            text = (dropped + (f"the gradient there is {what}" if what else "")).removesuffix("; ") + spoilt
            report.findings["empty bins of p"] = Finding(False if bad else None, text)

    def _drops(self, report: SinkhornReport, values: list[float]) -> bool | None:
        """Whether empty bins were gone before the first update, which a truncated loop remembers."""
        fit = report.value_fit
        if fit is None or fit.stops or fit.what not in fits.KINDS or not np.isfinite(values).all():
            return None
        off = []
        for drops in (False, True):
            x, size = evaluated(self.search.where, self.search.lam, fit, self.probes.gapped, drops)
            off.append(float((np.abs(np.array(values) / fit.factor - x) / size).max()))
        kept, dropped = off
        limit = max(self.search.bound(), 8 * fit.misfit)
        if min(off) > limit or max(off) <= 8 * max(min(off), self.search.floor()):
            return None
        return dropped < kept

    # --- variants -----------------------------------------------------------------------------------------------------

    def _is(self, report: SinkhornReport, switches: Variant) -> bool:
        """Whether nothing that was told speaks against a published variant."""
        value, gradient = report.value_fit, report.gradient_fit
        if (self.search.value is not None and not value) or (self.search.grad is not None and not gradient):
            return False
        wanted = COST if switches.value == "cost" else OBJECTIVE
        kinds = {kind for first, kind, _ in value.alike if first == "v"} | {value.what} if value else {wanted}
        if wanted not in kinds or any(f and (f.factor != 1 or f.setting.lam_factor != 1) for f in (value, gradient)):
            return False
        if report.first == "u" or report.refreshes_v not in (None, switches.refreshes_v):
            return False
        if report.drops_empty not in (None, switches.drops_empty):
            return False
        if gradient is None:
            return True
        constant = report.centred if switches.centred else report.start == switches.start
        return gradient.what == "log u" and (bool(constant) or self.search.where.n_bins == 1)

    def _variant(self, report: SinkhornReport) -> Finding:
        names = report.variants
        if names:
            right = self.asked is None or self.asked in names
            told = (
                names[0]
                if len(names) == 1
                else f"{', '.join(names[:-1])} or {names[-1]}: they differ in what was not told"
            )
            return Finding(right, told if right else f"{told}; {self.asked} was asked for")
        near = min(PUBLISHED, key=lambda name: len(self._differences(report, VARIANTS[name])))
        apart = ", ".join(self._differences(report, VARIANTS[near]))
        text = f"none of {', '.join(PUBLISHED)}; nearest {near}, but for {apart or 'the factor'}"
        return Finding(False if self.asked else None, text)

    def _differences(self, report: SinkhornReport, switches: Variant) -> list[str]:
        value, gradient = report.value_fit, report.gradient_fit
        apart = []
        if self.search.value is not None:
            wanted = COST if switches.value == "cost" else OBJECTIVE
            apart += ["the value"] if value is None or value.what != wanted or value.factor != 1 else []
        if self.search.grad is not None:
            right = gradient is not None and gradient.what == "log u" and gradient.factor == 1
            apart += [] if right else ["the gradient"]
            constant = report.centred if switches.centred else report.start == switches.start
            apart += ["its constant"] if right and not constant else []
        apart += ["what is updated first"] if report.first == "u" else []
        apart += ["when v is refreshed"] if report.refreshes_v not in (None, switches.refreshes_v) else []
        apart += ["empty bins"] if report.drops_empty not in (None, switches.drops_empty) else []
        return apart + (["lam"] if report.lam_found not in (None, report.lam) else [])

    # --- gradients of the truncated iteration -------------------------------------------------------------------------

    def _unrolled(self, found: Found) -> Fit | None:
        """Whether the gradients are the derivatives of the truncated values, as autograd gives them: by differences."""
        search, value = self.search, found.value
        if value is None or value.what not in fits.KINDS or search.grad is None:
            return None
        n, pairs = search.where.n_bins, self.probes.dense
        bins = np.unique(np.linspace(0, n - 1, min(n, _BINS)).astype(int))
        right = np.array(
            [self._slopes(value, p, q, k, bins) for k, (p, q) in enumerate(zip(pairs.p, pairs.q, strict=True))]
        )
        a, b = (x - x.mean(axis=1, keepdims=True) for x in (search.grad[:, bins], right))
        slope = float((a * b).sum() / (b * b).sum())
        tol = _ALIKE_SLOPES[np.dtype(search.dtype).name if value.misfit <= search.bound() else "float32"]
        factor = 1.0 if abs(slope - 1) <= tol else slope
        off = float(np.abs(a - factor * b).max() / (abs(factor) * np.abs(right).max()))
        name = f"d({value.what})/dp, unrolled"
        return Fit(value.setting, name, factor, value.half_steps, off, frozenset()) if off <= tol else None

    def _slopes(self, value: Fit, p: NDArray[Any], q: NDArray[Any], k: int, bins: NDArray[Any]) -> NDArray[Any]:
        """Of the k-th pair: central differences of fourth order with respect to some bins, each varied by itself."""
        steps = np.array([-2, -1, 1, 2])
        moved = np.repeat(p[None], len(bins) * len(steps), axis=0).reshape(len(bins), len(steps), -1)
        moved[np.arange(len(bins)), :, bins] *= 1 + _STEP * steps
        rows = Pairs(moved.reshape(-1, len(p)), np.broadcast_to(q, (moved.shape[0] * moved.shape[1], len(q))))
        one = replace(value, half_steps=value.half_steps[k : k + 1])
        x = evaluated(self.search.where, self.search.lam, one, rows, False)[0].reshape(len(bins), -1)
        return value.factor * (x @ np.array([1, -8, 8, -1]) / 12) / (_STEP * p[bins])


def _after(fit: Fit) -> str:
    """Where a candidate stands, in words."""
    steps, first = sorted(set(fit.half_steps.tolist())), fit.setting.first
    some = f"{steps[0] / 2:g}" if len(steps) == 1 else f"{steps[0] / 2:g} to {steps[-1] / 2:g}"
    return f"after {some} iterations, {first} first" + (
        f", lam = {fit.setting.lam_name}" if fit.setting.lam_name else ""
    )


def _described(x: NDArray[Any]) -> str:
    """Entries of a gradient where there is no mass, "" for none."""
    if not x.size:
        return ""
    tests = {"NaN": np.isnan(x), "-inf": x == -np.inf, "inf": x == np.inf, "0": x == 0, "finite": np.isfinite(x)}
    in_part = "NaN in part" if tests["NaN"].any() else "mixed"
    return next((name for name, holds in tests.items() if holds.all()), in_part)
