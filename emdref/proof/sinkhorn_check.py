"""`emdref.check_sinkhorn`: somebody else's Sinkhorn on graded cases, and a report of which variant it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from emdref import casebook
from emdref.arguments import containers, messages, validation
from emdref.casebook import Grade, Pair, Rng
from emdref.entropic import inputs
from emdref.entropic.iteration import iterate
from emdref.entropic.variants import VARIANTS, Variant
from emdref.functions.sinkhorn import variant_of
from emdref.proof import alternation_fits as fits
from emdref.proof import calling
from emdref.proof.alternation_fits import CONCAVE, COST, OBJECTIVE, Fit, Found, Pairs, Search
from emdref.proof.calling import Answer, Ask, Convention
from emdref.proof.report import Finding
from emdref.proof.sinkhorn_report import SinkhornCase, SinkhornOutcome, SinkhornReport
from emdref.spaces.space import Metric, Space

PUBLISHED = tuple(name for name, switches in VARIANTS.items() if switches.relaxation == 1)
_BINS, _STEP = 8, 1e-3  # of a derivative by differences: how many bins are looked at, relative steps
_ALIKE_SLOPES = {"float32": 1e-2, "float64": 1e-6}  # far above rounding, far below what tells two gradients apart
_GRADES = get_args(Grade)


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
    """Run an implementation of the Sinkhorn distance on graded cases, and tell which variant it is and where it fails.

    It alternates v = q / (K^T u) and u = p / (K v), K = exp(-lam M) times a constant.  What it starts with, how often
    it really does so, with which lam, and what value and gradient are read off is told from its answers on softmax
    pairs, which are compared with every half step of that sequence.

    Parameters
    ----------
    function : callable
        ``function(p, q)`` for one pair of total 1, with its own M, lam and iterations inside, giving the value, the
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
        Grades (``easy``, ``ordinary``, ``hard``, ``hostile``) or families (of `emdref.proof.sinkhorn_check.pair`), or
        pairs (p, q) of your own; by default all grades.
    tol : float, optional
        Relative error, of the value or of u, up to which a case passes: by default 4 eps (4 + 4 sqrt(N) + lam max(M))
        sqrt(2 max_iter + 2), what plain arithmetic keeps to.
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
    A constant factor of u_0 or of K moves no plan.  That of u_0 shows in the constant of an uncentred log u, that of K
    in nothing that a loop returns which starts with v: `shift` is then None.  Where the iteration has converged, the
    number of iterations and whether v is refreshed cannot be told either, and the report says so.

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
    chosen = list(_chosen(cases, where, space_or_cost, kind))
    convention = calling.find(function, probes.pairs(probes.dense)[:2], framework, plans=True)
    ask = calling.asker(function, convention)
    with np.errstate(all="ignore"):
        report = _Examination(ask, search, probes, variant).report(convention, float(allowed))
        _measure(ask, report, chosen)
    return report


# --- cases ------------------------------------------------------------------------------------------------------------


def _of_total_1(p: NDArray[Any], q: NDArray[Any]) -> Pair:
    dtype = p.dtype.type
    return casebook.normalized(p, dtype), casebook.normalized(q, dtype)


def mild(rng: Rng, n: int, dtype: Any, sigma: float = 1.0) -> Pair:
    """Two softmaxes of logits with spread 1."""
    return casebook.normalized(casebook.lognormal(rng, n, sigma), dtype), casebook.normalized(
        casebook.lognormal(rng, n, sigma), dtype
    )


def counts(rng: Rng, n: int, dtype: Any) -> Pair:
    """Whole numbers from 1 to 5 over their sum."""
    return _of_total_1(rng.integers(1, 5, n).astype(dtype), rng.integers(1, 5, n).astype(dtype))


def softmax(rng: Rng, n: int, dtype: Any) -> Pair:
    """A softmax of logits with spread 2, and the same moved on by some bins."""
    return casebook.softmax(rng, n, dtype)


def peaked(rng: Rng, n: int, dtype: Any) -> Pair:
    """Logits with spread 8: a few bins hold most of the mass."""
    return casebook.peaked(rng, n, dtype)


def one_hot(rng: Rng, n: int, dtype: Any) -> Pair:
    """A softmax against one bin."""
    return softmax(rng, n, dtype)[0], _spike(int(rng.integers(n)), n, dtype)


def zeros_in_q(rng: Rng, n: int, dtype: Any) -> Pair:
    """Every other bin of q is empty."""
    p, q = softmax(rng, n, dtype)
    q[1::2] = 0
    return _of_total_1(p, q)


def zeros_in_p(rng: Rng, n: int, dtype: Any) -> Pair:
    """Every other bin of p is empty."""
    q, p = zeros_in_q(rng, n, dtype)
    return p, q


def apart(rng: Rng, n: int, dtype: Any) -> Pair:
    """p on the first half of the bins, q on the others."""
    p, q = mild(rng, n, dtype)
    if n > 1:
        p[n // 2 :], q[: n // 2] = 0, 0
    return _of_total_1(p, q)


def spread(rng: Rng, n: int, dtype: Any) -> Pair:
    """Powers of 2**-20 from 1 to 2**-120, over their sum."""
    return _of_total_1(*casebook.spread(rng, n, dtype))


def opposite_ends(rng: Rng, n: int, dtype: Any) -> Pair:
    """All of p in the first bin, all of q in the last."""
    return _spike(0, n, dtype), _spike(n - 1, n, dtype)


def tiny_masses(rng: Rng, n: int, dtype: Any) -> Pair:
    """A third of the bins holds some 2**40 times the smallest normal number, which a few divisions do not lose."""
    p, q = mild(rng, n, dtype)
    for x in (p, q):
        x[1 + int(rng.integers(2)) :: 3] = np.ldexp(np.finfo(dtype).tiny, 40) * dtype(rng.integers(1, 8))
    return _of_total_1(p, q)


def _spike(k: int, n: int, dtype: Any) -> NDArray[Any]:
    x = np.zeros(n, dtype)
    x[k] = 1
    return x


FAMILIES: dict[str, casebook.Family] = {
    draw.__name__: casebook.Family(grade, draw)  # type: ignore[arg-type]  # mypy takes the keys below for any str
    for grade, draws in {
        "easy": (mild, counts),
        "ordinary": (softmax, peaked, one_hot),
        "hard": (zeros_in_q, zeros_in_p, apart, spread),
        "hostile": (opposite_ends, tiny_masses),
    }.items()
    for draw in draws
}


def pair(family: str, n: int, dtype: DTypeLike = np.float64, seed: int = 0) -> Pair:
    """A pair of histograms of total 1 from one of the families that `emdref.check_sinkhorn` asks about.

    ``mild``, ``counts`` (easy); ``softmax``, ``peaked``, ``one_hot`` (ordinary); ``zeros_in_q``, ``zeros_in_p``,
    ``apart``, ``spread`` (hard); ``opposite_ends``, ``tiny_masses`` (hostile).
    """
    if family not in FAMILIES:
        raise ValueError(f"family={messages.shown(family)} is not one of {', '.join(FAMILIES)}")
    return FAMILIES[family].draw(np.random.default_rng([seed, n]), n, validation.float_dtype(dtype).type)


def _chosen(cases: Any, where: Metric, space_or_cost: Any, dtype: Any) -> Iterator[SinkhornCase]:
    """The cases that `cases` names."""
    wanted = [cases] if isinstance(cases, str) else validation.iterable(_GRADES if cases is None else cases, "cases")
    if not (wanted := list(wanted)):
        raise ValueError("cases is empty: name grades, families, or give pairs (p, q)")
    for number, item in enumerate(wanted):
        if not isinstance(item, str):
            yield _own(item, number, where, space_or_cost, dtype)
            continue
        families = [name for name, family in FAMILIES.items() if item in (name, family.grade)]
        if not families:
            known = ", ".join((*_GRADES, *FAMILIES))
            raise ValueError(f"cases names {messages.shown(item)}, which is neither of {known}")
        for name in families:
            for seed in range(1 if name == "opposite_ends" or where.n_bins > 512 else 2):
                yield SinkhornCase(name, FAMILIES[name].grade, seed, *pair(name, where.n_bins, dtype, seed))


def _own(item: Any, number: int, where: Metric, space_or_cost: Any, dtype: Any) -> SinkhornCase:
    """A pair of the caller's."""
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise TypeError(f"cases[{number}] must be the name of a grade or family, or a pair (p, q)")
    given = {f"cases[{number}][{k}]": containers.row(x, f"cases[{number}][{k}]") for k, x in enumerate(item)}
    containers.check_labels(given, space_or_cost)
    p, q = given.values()
    try:
        rows = inputs.rows(p, q, where, dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(f"cases[{number}], (p, q): {messages.cut(str(error), 280)}") from None
    if rows.shape:
        raise ValueError(f"cases[{number}] is a batch of shape {messages.written(rows.shape)}: give one pair at a time")
    return SinkhornCase("your own", "own", number, rows.p[0], rows.q[0])


# --- what it computes -------------------------------------------------------------------------------------------------


class _Probes:
    """Pairs to tell variants apart by."""

    def __init__(self, n: int, dtype: Any) -> None:
        count = 5 if n <= 512 else 3
        # q is no permutation of p, for then log p/q, what u is where lam is large, would be centred by itself
        self.dense = self._of(lambda rng: mild(rng, n, dtype, 2.0), n, range(201, 201 + count))
        self.gapped = self._of(lambda rng: zeros_in_p(rng, n, dtype), n, range(301, 303))
        self.dtype = dtype

    @staticmethod
    def _of(draw: Callable[[Rng], Pair], n: int, seeds: range) -> Pairs:
        drawn = [draw(np.random.default_rng([seed, n])) for seed in seeds]
        p, q = (np.array(x, float) for x in zip(*drawn, strict=True))
        return Pairs(p, q)

    def pairs(self, pairs: Pairs) -> list[Pair]:
        """One by one, in the dtype asked for, which holds them."""
        return [(p.astype(self.dtype), q.astype(self.dtype)) for p, q in zip(pairs.p, pairs.q, strict=True)]


def _numbers(answer: Answer, where: Metric) -> tuple[float | None, NDArray[Any] | None]:
    """Value and gradient in float64; a plan has the value <T, M>."""
    value = None if answer.value is None else float(answer.value)
    if answer.plan is not None:
        value = float((answer.plan.astype(float) * where.distance_matrix()).sum())
    return value, None if answer.grad is None else answer.grad.astype(float)


class _Examination:
    """One function; questions about it, and a report that answers them."""

    def __init__(self, ask: Ask, search: Search, probes: _Probes, asked: str | None) -> None:
        self.ask, self.search, self.probes, self.asked = ask, search, probes, asked
        self.answers = [ask(p, q) for p, q in probes.pairs(probes.dense)]
        good = [a for a in self.answers if isinstance(a, Answer)]
        numbers = [_numbers(a, search.where) for a in good] if len(good) == len(self.answers) else []
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
        numbers = [_numbers(a, self.search.where) for a in answers if isinstance(a, Answer)]
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
            x, size = _evaluated(self.search, fit, self.probes.gapped, drops)
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
        x = _evaluated(self.search, one, rows, False)[0].reshape(len(bins), -1)
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


# --- errors -----------------------------------------------------------------------------------------------------------


def _evaluated(search: Search, fit: Fit, pairs: Pairs, drops: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values of a fit's kind and the size of their terms, after its half steps."""
    lam, h = search.lam * fit.setting.lam_factor, int(fit.half_steps[0])
    (state,) = fits.states(search.where, lam, pairs, fit.setting.first, [h], drops)
    return _of_kind(fit, state, pairs, lam)


def _of_kind(fit: Fit, state: fits.State, pairs: Pairs, lam: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values of a fit's kind and the size of their terms."""
    x, size = fits.values(state, pairs, lam)
    kind = fits.KINDS.index(fit.what)
    return x[kind], size[kind]


def _measure(ask: Ask, report: SinkhornReport, cases: list[SinkhornCase]) -> None:
    """All cases, against the variant that was told."""
    pairs = Pairs(*(np.array([getattr(c, name) for c in cases], float) for name in ("p", "q")))
    right, alike = _right(report, pairs), _alike(report, cases)
    for k, case in enumerate(cases):
        answer = ask(case.p, case.q)
        status = str(alike.status[k])
        if isinstance(answer, str):
            report.results.append(SinkhornOutcome(case, problem=answer, status=status))
            continue
        value, grad = _numbers(answer, report.where)
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


def _alike(report: SinkhornReport, cases: list[SinkhornCase]) -> _Reference:
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
            _, size = _evaluated_sizes(report, cases)
            reference.values.append((np.asarray(known[report.value_fit.what], float), size))
        if report.gradient_fit and report.gradient_fit.what == "log u":
            logs = result.log_u if first == "v" else result.log_v
            reference.logs.append(np.asarray(logs, float).T)
    return reference


def _evaluated_sizes(report: SinkhornReport, cases: list[SinkhornCase]) -> tuple[NDArray[Any], NDArray[Any]]:
    fit = report.value_fit
    assert fit is not None
    pairs = Pairs(*(np.array([getattr(c, name) for c in cases], float) for name in ("p", "q")))
    search = Search(report.where, report.lam, report.max_iter, pairs, None, None, pairs.p.dtype.type)
    return _evaluated(search, fit, pairs, bool(report.drops_empty))
