"""Exact rationals from the floats' own values: EMD^rho for integer rho, one pair at a time, and barycentres.

This is the reference that the kernels are tested against, and what redoes a row that two limbs cannot hold.  It shares
no code with the kernels: floats become Python integers over a common power of two, and a space says what flows.
Totals may differ unless `mass` says otherwise: the difference rests at the root.
"""

from __future__ import annotations

import warnings
from fractions import Fraction
from math import inf
from numbers import Real
from typing import Any

import numpy as np

from emdref.arguments import containers, gauges, validation
from emdref.arguments.messages import type_name, written
from emdref.arguments.validation import Mass
from emdref.exact import barycentres, definitions
from emdref.exact.barycentres import Totals
from emdref.spaces.space import Space, check_space, rooted

_LARGEST = 1000

__all__ = ["barycenter", "cost_grad", "emd", "flow", "grad", "hess", "hvp"]


def emd(
    p: Any, q: Any, space: Space, rho: int = 1, *, mass: Mass = "ignore", normalize: bool | None = None
) -> Fraction:
    r"""Exact Earth Mover's Distance of one pair, as a rational number.

    .. math:: \mathrm{EMD}^\rho(p, q) = \sum_e M_e \, |\phi_e|^\rho

    phi_e is the mass of p - q below edge e: Eqs. (5), (10) and (13) of arXiv 1611.07573.

    Parameters
    ----------
    p, q : (N,) sequences of floats, integers or Fractions, or sparse matrices of one row, >= 0
        One pair of histograms.
    space : Space
        Where the bins are, as in `emdref.emd`.
    rho : int from 1 to 1000
        The exponent.  On a circle 1 or 2: for others flows are irrational.
    mass : {"ignore", "normalize", "raise"}
        What totals that differ mean.  ``ignore``: the difference stays at the root.  ``normalize``: ``p / |p|`` and
        ``q / |q|`` are used, for every pair.  ``raise``: a ValueError, if rounding does not explain it.
    normalize : bool
        The old word for ``mass="normalize"``, deprecated.

    Returns
    -------
    Fraction
        In units of cost times mass^rho.

    Raises
    ------
    TypeError, ValueError
        A non-integer rho, a wrong length, a negative or non-finite entry, an all-zero histogram to be normalised.

    Examples
    --------
    >>> import emdref
    >>> emdref.exact.emd([0.5, 0.5], [0.25, 0.75], emdref.Chain(2))
    Fraction(1, 4)
    """
    rho = _exponent(rho, space)
    row = _row(p, q, space, rho, _policy(mass, normalize))
    return definitions.value(row, rho) * row.cost_unit * row.phi_unit**rho


def flow(
    p: Any, q: Any, space: Space, rho: int = 1, *, mass: Mass = "ignore", normalize: bool | None = None
) -> list[Fraction]:
    r"""Exact flow on each edge, as `emdref.flow` rounds it.

    .. math:: \phi_e = \sum_{k \text{ below } e} (p_k - q_k)

    Eqs. (6) and (14) of arXiv 1611.07573.  On a space whose edges close a circle it is the flow of least cost for that
    rho.

    Parameters
    ----------
    p, q, space, rho, mass, normalize
        As in `emdref.exact.emd`.

    Returns
    -------
    list of Fraction
        An entry an edge, in the order of `emdref.flow`.

    Examples
    --------
    >>> import emdref
    >>> emdref.exact.flow([1, 0, 0], [0, 1, 2], emdref.Chain(3), mass="normalize")
    [Fraction(1, 1), Fraction(2, 3)]
    """
    row = _row(p, q, space, _exponent(rho, space), _policy(mass, normalize))
    return [f * row.phi_unit for f in row.phi]


def cost_grad(p: Any, q: Any, space: Space, rho: int = 1, *, mass: Mass = "ignore") -> list[Fraction]:
    r"""Exact derivative with respect to the cost of each edge, as `emdref.emd_cost_grad` rounds it.

    .. math:: \frac{\partial \, \mathrm{EMD}^\rho}{\partial M_e} = |\phi_e|^\rho

    Parameters
    ----------
    p, q, space, rho, mass
        As in `emdref.exact.emd`.

    Returns
    -------
    list of Fraction
        An entry an edge, in the order of `emdref.flow`.

    Examples
    --------
    >>> import emdref
    >>> emdref.exact.cost_grad([1, 0, 0], [0, 1, 2], emdref.Chain(3), rho=2, mass="normalize")
    [Fraction(1, 1), Fraction(4, 9)]
    """
    rho = _exponent(rho, space)
    row = _row(p, q, space, rho, _policy(mass, None))
    return [abs(f) ** rho * row.phi_unit**rho for f in row.phi]


def grad(
    p: Any,
    q: Any,
    space: Space,
    rho: int = 1,
    *,
    gauge: str = "zero_sum",
    mass: Mass = "ignore",
    normalize: bool | None = None,
) -> list[Fraction]:
    r"""Exact gradient with respect to p in any gauge, as `emdref.emd_grad` rounds it.

    .. math:: r_k = \rho \sum_{e \text{ above } k} M_e \, \operatorname{sgn}(\phi_e) \, |\phi_e|^{\rho - 1}

    Eqs. (9), (11) and (15) of arXiv 1611.07573, and Eqs. (4) and (6) of the ICML 2016 workshop paper.  The gauge
    ``normalized`` is the derivative of ``EMD(p/|p|, q/|q|)`` with respect to p.  At a kink (rho = 1, phi = 0) the edge
    contributes 0.

    Parameters
    ----------
    gauge : {"zero_sum", "raw", "scaled", "normalized"}
        As in `emdref.emd_grad`.
    p, q, space, rho, mass, normalize
        As in `emdref.exact.emd`.

    Returns
    -------
    list of Fraction
        N numbers, an entry a bin.

    Examples
    --------
    >>> import emdref
    >>> emdref.exact.grad([0.5, 0.5, 0], [0, 0.5, 0.5], emdref.Chain(3), rho=2, gauge="raw")
    [Fraction(2, 1), Fraction(1, 1), Fraction(0, 1)]
    """
    gauges.code(gauge)
    rho = _exponent(rho, space)
    row = _row(p, q, space, rho, _policy(mass, normalize), gauge)
    numbers, unit = definitions.gradient(row, rho, gauge)
    return [x * unit for x in numbers]


def hess(
    p: Any,
    q: Any,
    space: Space,
    rho: int = 2,
    *,
    gauge: str = "zero_sum",
    mass: Mass = "ignore",
    normalize: bool | None = None,
) -> list[list[Fraction]]:
    r"""Exact Hessian with respect to p in any gauge, as `emdref.emd_hess` rounds it.

    .. math:: H = \rho \, (\rho - 1) \sum_e M_e \, |\phi_e|^{\rho - 2} \, a_e a_e^T

    a_e is 1 at the bins below edge e and 0 elsewhere; Eq. (12) of arXiv 1611.07573.  Where phi = 0,
    ``|phi|^(rho-2)`` is 1 for rho = 2 and 0 for rho > 2.  At rho = 1 the raw Hessian is 0, kinks included.

    Parameters
    ----------
    gauge : {"zero_sum", "raw", "scaled", "normalized"}
        As in `emdref.emd_hess`.
    p, q, space, rho, mass, normalize
        As in `emdref.exact.emd`; the space is a rooted tree, as chains are.

    Returns
    -------
    list of lists of Fraction
        N lists of N numbers.

    Examples
    --------
    >>> import emdref
    >>> emdref.exact.hess([1, 0, 0], [0, 0, 1], emdref.Chain(3), gauge="raw")[0]
    [Fraction(4, 1), Fraction(2, 1), Fraction(0, 1)]
    """
    matrix = _hessian("exact.hess", p, q, space, rho, gauge, _policy(mass, normalize))
    return [[x * matrix.unit for x in matrix.line(k)] for k in range(space.n_bins)]


def hvp(
    p: Any,
    q: Any,
    space: Space,
    v: Any,
    rho: int = 2,
    *,
    gauge: str = "zero_sum",
    mass: Mass = "ignore",
    normalize: bool | None = None,
) -> list[Fraction]:
    r"""Exact product of the Hessian with a vector, in O(V).

    .. math:: H v = \rho \, (\rho - 1) \sum_e M_e \, |\phi_e|^{\rho - 2} \, (a_e^T v) \, a_e

    Parameters
    ----------
    v : N numbers of any sign
        The vector.
    p, q, space, rho, gauge, mass, normalize
        As in `emdref.exact.hess`.

    Returns
    -------
    list of Fraction
        N numbers, an entry a bin.

    Examples
    --------
    >>> import emdref
    >>> emdref.exact.hvp([1, 0, 0], [0, 0, 1], emdref.Chain(3), [1, -1, 0], gauge="raw")
    [Fraction(2, 1), Fraction(0, 1), Fraction(0, 1)]
    """
    matrix = _hessian("exact.hvp", p, q, space, rho, gauge, _policy(mass, normalize))
    containers.check_labels({"v": v}, space)
    vector, unit = definitions.integers(definitions.numbers(v, "v", space.n_bins))
    unit *= matrix.unit
    return [x * unit for x in matrix.times(vector)]


def barycenter(P: Any, space: Space, rho: int = 1, *, weights: Any = None, mass: Totals = "raise") -> list[Fraction]:
    r"""Exact barycentre, as `emdref.barycenter` rounds it, for rho = 1 and 2.

    .. math:: \min_{b \ge 0} \sum_k w_k \, \mathrm{EMD}^\rho(b, P_k)

    Parameters
    ----------
    P, space, rho, weights, mass
        As in `emdref.barycenter`, for one barycentre: K histograms of floats, integers or Fractions.

    Returns
    -------
    list of Fraction
        N masses, an entry a bin.

    Examples
    --------
    >>> import emdref
    >>> emdref.exact.barycenter([[1, 0, 0], [0, 1, 0], [0, 0, 1]], emdref.Chain(3), rho=2)
    [Fraction(1, 3), Fraction(1, 3), Fraction(1, 3)]
    """
    check_space(space)
    tree = barycentres.tree_for(validation.exponent(rho), space, "exact.barycenter")
    rows, share, dtype = barycentres.read(P, weights, space, mass)
    histograms = barycentres.Histograms(rows, share, mass == "normalize")
    if mass == "raise":
        histograms.check_totals(dtype)
    return histograms.minimiser(tree)


def _hessian(function: str, p: Any, q: Any, space: Space, rho: int, gauge: str, mass: str) -> definitions.Hessian:
    gauges.code(gauge)
    check_space(space)
    rooted(space, function, "second derivatives", "exact.grad works on any space")
    rho = _exponent(rho, space)
    return definitions.Hessian(_row(p, q, space, rho, mass, gauge), rho, gauge)


def _policy(mass: str, normalize: bool | None) -> str:
    """What `mass` says, or the old word for it."""
    if normalize is not None:
        if mass != "ignore":
            raise TypeError("normalize and mass are given: leave out normalize, the old word for mass='normalize'")
        warnings.warn('normalize is deprecated: give mass="normalize" for True', DeprecationWarning, stacklevel=3)
        mass = "normalize" if validation.switch(normalize, "normalize") else "ignore"
    validation.option(mass, "mass", Mass)
    return mass


def _row(p: Any, q: Any, space: Space, rho: int, mass: str, gauge: str = "") -> definitions.Row:
    """The pair, as `mass` or the gauge says."""
    row = definitions.Row(p, q, space, mass == "normalize" or gauge == "normalized", rho)
    if mass == "raise":
        definitions.check_totals(row)
    return row


def _exponent(rho: Any, space: Space) -> int:
    real = isinstance(rho, (Real, np.integer, np.floating)) and not isinstance(rho, bool)
    if not real or rho != rho or rho in (inf, -inf) or int(rho) != rho:
        raise TypeError(f"rho = {written(rho)}: exact values exist for integer rho only")
    if not 1 <= rho <= _LARGEST:
        raise ValueError(f"rho = {written(rho)} must be from 1 to {_LARGEST}: larger powers have too many digits")
    check_space(space)
    if not space.is_rational(int(rho)):
        raise ValueError(
            f"rho = {int(rho)}: on {type_name(space)} flows are irrational for this rho; give rho = 1 or 2, or use "
            "emd, emd_grad and flow"
        )
    return int(rho)
