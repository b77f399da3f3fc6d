"""Second derivatives of the Earth Mover's Distance on rooted trees and chains: the Hessian, its products in O(V)."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from emdref.arguments import devices, gauges, validation
from emdref.arguments.devices import Device
from emdref.arguments.gauges import Gauge
from emdref.arguments.validation import Accuracy, Mass
from emdref.closed_form import batches, prepared
from emdref.closed_form.second_derivatives import second
from emdref.functions.dispatch import on_gpu
from emdref.spaces.space import Space


def emd_hess(
    p: ArrayLike,
    q: ArrayLike,
    space: Space,
    rho: float = 2,
    *,
    gauge: Gauge = "zero_sum",
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
    device: Device | None = None,
) -> Any:
    r"""Hessian of the Earth Mover's Distance with respect to p.

    .. math:: H = \rho \, (\rho - 1) \sum_e M_e \, |\phi_e|^{\rho - 2} \, a_e a_e^T

    is the raw Hessian, where a_e is 1 at the bins below edge e and 0 elsewhere.  With ``P = I - 1 1^T / N`` the four
    gauges are:

    ``raw``
        ``H``.
    ``zero_sum``
        ``P H P``, the Jacobian of the gradient in that gauge along steps that conserve mass.
    ``scaled``
        ``N^2 P H P``, Eq. (12) of arXiv 1611.07573 as printed.
    ``normalized``
        ``(J^T H J - g 1^T - 1 g^T) / |p|^2`` with ``J = I - p 1^T / |p|``.  H and the gradient ``g = r - <p, r> / |p|``
        are taken at ``p / |p|`` and ``q / |q|``.  It is the second derivative of ``EMD(p/|p|, q/|q|)`` with respect to
        the p given, whatever `mass` is.  It is not 0 at rho = 1.

    At rho = 1 H is 0, kinks included.  Where phi_e = 0, ``|phi_e|^(rho-2)`` is 1 at rho = 2 and 0 above.  For
    1 < rho < 2 it is infinite, which is an error unless no entry depends on it: on an edge that costs nothing, that has
    no bins below it, or, except in gauge ``raw``, that has all of them below it.

    Parameters
    ----------
    p, q, space, rho, gauge, mass, accuracy, device
        As in `emdref.emd_grad`, except that rho is 2 by default.

    Returns
    -------
    (..., N, N) array of the inputs' dtype
        Symmetric to the last bit, in units of cost times mass^(rho-2).

        Compensated and for rho in {1, 2, 3, 4}, each entry in gauge ``raw`` is within 1 ulp of the exact one.  In the
        other gauges it is within ``8 eps max|H|`` (times N^2 for ``scaled``; for ``normalized`` within
        ``8 eps (max|H| + 2 max|g|) / |p|^2``), where H leaves out the edges that no entry depends on.  Another rho adds
        the errors of the C library's pow and exp (``raw``: 2.1 ulp were the most in a million entries).  What is beyond
        the dtype is inf, with one RuntimeWarning.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `emdref.emd_grad`, and for 1 < rho < 2 where phi_e = 0, naming the row and the edge.

    Examples
    --------
    >>> import emdref
    >>> emdref.emd_hess([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(3), gauge="raw")
    array([[4., 2., 0.],
           [2., 2., 0.],
           [0., 0., 0.]])
    """
    code, rho = gauges.code(gauge), validation.exponent(rho)
    place = devices.find(device, p=p, q=q)
    if place:
        return on_gpu("second", place, p, q, None, space, rho, mass, accuracy, code)
    rows = prepared.checked(p, q, space, mass, accuracy, gauge=code)
    hess = second(rows, space, rho, mass, accuracy, code)
    batches.warn_beyond(rows, Hessian=hess)
    return rows.as_rows(hess)


def emd_hvp(
    p: ArrayLike,
    q: ArrayLike,
    space: Space,
    v: ArrayLike,
    rho: float = 2,
    *,
    gauge: Gauge = "zero_sum",
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
    device: Device | None = None,
) -> Any:
    r"""Product of the Hessian with a vector, in O(V) and without the matrix.

    .. math:: H v = \rho \, (\rho - 1) \sum_e M_e \, |\phi_e|^{\rho - 2} \, (a_e^T v) \, a_e

    H, its gauges and a_e are those of `emd_hess`.  The entries of v below each edge are summed on the way up,
    multiplied by the edge's factor, and summed again on the way down.

    Parameters
    ----------
    v : (..., N) array of finite numbers of any sign, in the dtype of p and q
        Broadcast together with p and q.
    p, q, space, rho, gauge, mass, accuracy, device
        As in `emd_hess`.

    Returns
    -------
    (..., N) array of the inputs' dtype
        In units of cost times mass^(rho-2) times those of v.  Compensated and for rho in {1, 2, 3, 4}, each entry is
        within ``8 eps |v|_1 max|H|``, with the factors that `emd_hess` names.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `emd_hess`, and for a v of another dtype, a wrong shape, NaN or inf.

    Examples
    --------
    >>> import emdref
    >>> emdref.emd_hvp([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], emdref.Chain(3), [1.0, -1.0, 0.0], gauge="raw")
    array([2., 0., 0.])
    """
    code, rho = gauges.code(gauge), validation.exponent(rho)
    if v is None:
        raise TypeError("v is None: give the vector that the Hessian is multiplied with")
    place = devices.find(device, p=p, q=q, v=v)
    if place:
        return on_gpu("second", place, p, q, v, space, rho, mass, accuracy, code)
    rows = prepared.checked(p, q, space, mass, accuracy, v, code)
    product = second(rows, space, rho, mass, accuracy, code)
    batches.warn_beyond(rows, product=product)
    return rows.as_rows(product)
