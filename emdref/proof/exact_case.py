"""Cases for tests of somebody else's code: a pair of histograms, its exact answers, and assertions that explain.

The pytest plugin in `emdref_pytest` hands them out, one a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref import casebook
from emdref.arguments import gauges, messages, validation
from emdref.casebook import Grade
from emdref.closed_form import exact_rows
from emdref.exact.rounding import error, nearest
from emdref.proof import calling, check
from emdref.proof.report import Case
from emdref.spaces import Chain, Space, Tree, wordnet_tree
from emdref.spaces.space import check_space

SPACES: dict[str, Callable[[], Space]] = {
    "chain": lambda: Chain(20),
    "tree": lambda: Tree.from_newick("((a:1,b:0.5,(c:2,d:1):0.25):1,((e:1,f:1,g:3):0.5,h:0.75):2,(i:1,j:1.5):0);"),
    "wordnet": wordnet_tree,
}


class EMDCase:
    """One pair of histograms on a space, and the exact EMD^rho between them.

    Attributes
    ----------
    p, q : (N,) arrays
        Of equal total exactly; copies that may be changed.
    space : Space
    rho : float
    dtype : dtype
    grade, family, seed
        Where `emdref.casebook` has them from.
    exact_value : Fraction
        The value, to 70 digits at least where it is irrational.
    value : floating
        The same, rounded to `dtype`.

    Examples
    --------
    >>> from emdref.proof import exact_case
    >>> case = next(exact_case.cases(grade="easy"))
    >>> str(case), case.exact_value
    ('chain-easy-integers-0', Fraction(63, 1))
    >>> import numpy as np
    >>> case.check_value(np.abs(np.cumsum(case.p - case.q)).sum())
    """

    def __init__(self, name: str, case: Case, space: Space, rho: float) -> None:
        self._name, self._case = name, case
        self.p, self.q = case.p.copy(), case.q.copy()
        self.space, self.rho, self.dtype = space, rho, case.p.dtype
        self.grade, self.family, self.seed = case.grade, case.family, case.number

    def fresh(self) -> EMDCase:
        """The same with p and q that nobody has changed."""
        return EMDCase(self._name, self._case, self.space, self.rho)

    def __str__(self) -> str:
        return f"{self._name}-{self.grade}-{self.family}-{self.seed}"

    __repr__ = __str__

    @cached_property
    def exact_value(self) -> Fraction:
        return Fraction(self._numbers(None)[0])

    @property
    def value(self) -> np.floating[Any]:
        return self.dtype.type(nearest(self.exact_value))

    def exact_grad(self, gauge: gauges.Gauge = "zero_sum") -> list[Fraction]:
        """The gradient with respect to p in a gauge of `emdref.emd_grad`."""
        gauges.code(gauge)
        return [Fraction(x) for x in self._numbers(gauge)[1]]

    def grad(self, gauge: gauges.Gauge = "zero_sum") -> NDArray[Any]:
        """The same, rounded to `dtype`."""
        return np.array([nearest(x) for x in self.exact_grad(gauge)]).astype(self.dtype)

    def check_value(self, value: Any, ulp: float | None = None) -> None:
        """AssertionError if a value is off by more than `ulp` units in the last place of the exact one.

        By default 4 + 4 sqrt(V) for a space of V nodes, as in `emdref.check`: what plain arithmetic in a good order
        keeps to on easy and ordinary cases.
        """
        __tracebackhide__ = True
        got, most = calling.leave(value), self._allowed(ulp)
        if got.size != 1:
            raise AssertionError(f"{self}: the value has shape {messages.written(got.shape)}, expected one number")
        off = self._error(got.reshape(()).item(), self.exact_value)
        if not off <= most:
            raise AssertionError(
                f"{self}: the value is {got.item()!r}, exactly {nearest(self.exact_value)!r}: "
                f"{off:.3g} ulp off, up to {most:.3g} pass\n{self._shown()}"
            )

    def check_grad(self, grad: Any, gauge: gauges.Gauge = "zero_sum", ulp: float | None = None) -> None:
        """The same for a gradient with respect to p, in units in the last place of its largest exact entry."""
        __tracebackhide__ = True
        got, right, most = calling.leave(grad).reshape(-1), self.exact_grad(gauge), self._allowed(ulp)
        if len(got) != len(right):
            raise AssertionError(f"{self}: the gradient has {len(got)} entries, expected {len(right)}")
        unit = max(map(abs, right))
        off = [self._error(x, y, unit) for x, y in zip(got.tolist(), right, strict=True)]
        k = max(range(len(off)), key=lambda i: off[i] if off[i] == off[i] else np.inf)
        if not off[k] <= most:
            raise AssertionError(
                f"{self}: the gradient ({gauge}) is {got[k].item()!r} at bin {k}, exactly {nearest(right[k])!r}: "
                f"{off[k]:.3g} ulp of the largest entry off, up to {most:.3g} pass\n{self._shown()}"
            )

    def _error(self, got: float, right: Fraction, unit: Fraction | None = None) -> float:
        kind = self.dtype.type
        return float(error(got, right, kind) if unit is None else error(got, right, kind, unit))

    def _allowed(self, ulp: float | None) -> float:
        return 4 + 4 * self.space.n_nodes**0.5 if ulp is None else validation.weight(ulp, "ulp")

    def _numbers(self, gauge: str | None) -> Any:
        normalize = gauge == "normalized"
        return exact_rows.numbers(self._case.p, self._case.q, self.space, self.rho, normalize, gauge)

    def _shown(self) -> str:
        return f"rho = {self.rho:g} on {self.space}\n{self._case.code()}"


def cases(
    grade: Any = None, space: Any = "chain", rho: float = 1, dtype: Any = np.float64, family: Any = None
) -> Iterator[EMDCase]:
    """Cases of these grades and families (all of them by default) on these spaces.

    Parameters
    ----------
    grade, family : str or sequence of str, optional
        Of `emdref.casebook`: ``easy``, ``ordinary``, ``hard``, ``hostile``; ``softmax``, ``one_ulp``...
    space : str, Space, or a sequence of them
        ``chain`` (20 bins), ``tree`` (10 bins), ``wordnet`` (1000), or spaces of your own.
    rho : float from 1 to 1000
    dtype : float32 or float64
    """
    grades = check.GRADES if grade is None else _several(grade, "grade")
    for name in grades:
        validation.option(name, "grade", Grade)
    families = None if family is None else _several(family, "family")
    for name in families or ():
        if name not in casebook.FAMILIES:
            raise ValueError(f"family={messages.shown(name)} is not one of {', '.join(casebook.FAMILIES)}")
    power, kind = check.exponent(rho), validation.float_dtype(dtype).type
    for one in _several(space, "space"):
        where = one
        if isinstance(one, str):
            if one not in SPACES:
                raise ValueError(f"space={messages.shown(one)} is not one of {', '.join(SPACES)}: give a Space")
            where = SPACES[one]()
        check_space(where)
        name = one if isinstance(one, str) else type(one).__name__.lower()
        for case in check.chosen(families or grades, where, kind, power):
            if case.grade in grades:
                yield EMDCase(name, case, where, power)


def _several(x: Any, name: str) -> list[Any]:
    items = [x] if isinstance(x, (str, Space)) else x
    if not isinstance(items, Iterable):
        raise TypeError(f"{name}={messages.shown(x)} must be one {name} or several")
    items = list(items)
    if not items:
        raise ValueError(f"{name} is empty: leave it out for all")
    return items
