"""The losses that the papers compare EMD with, and its mix with the mean squared error (ICML 2016 workshop, Sec. 2.3).

Each takes predictions p and targets q, batched like `emdref.emd`, and returns (value, gradient with respect to p) as
arrays of the same kind.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emdref.arguments import casts, containers, devices, gauges, validation
from emdref.arguments.gauges import Gauge
from emdref.arguments.validation import Accuracy, Batch, Mass
from emdref.closed_form import batches
from emdref.closed_form.escalation import value_and_grad
from emdref.kernels.compile.threads import over_rows
from emdref.kernels.rows import layers
from emdref.spaces.space import Space

_ZEROS = "p is 0, or nearly so, where q is not"
_WORK = {layers.mse: 60, layers.divergence: 150}  # nanoseconds a bin

__all__ = ["cross_entropy", "emd_mse", "kl", "mse"]


def mse(p: ArrayLike, q: ArrayLike) -> "tuple[Any, Any]":
    r"""Mean squared error and its gradient.

    .. math:: \mathrm{MSE}(p, q) = \frac{1}{N} \sum_k (p_k - q_k)^2, \qquad
       \frac{\partial \, \mathrm{MSE}}{\partial p_k} = \frac{2}{N} (p_k - q_k)

    Parameters
    ----------
    p, q : (..., N) arrays, both float32 or both float64 (integers below 2**53 count as float64)
        Histograms as in `emdref.emd`, also sparse or of pandas, with the same labels; their totals may differ.

    Returns
    -------
    value : (...) array, or a scalar for one pair
        In units of mass^2.
    gradient : (..., N) array
        In units of mass.  Both are of the inputs' dtype and within 1 ulp of the exact ones.  What is beyond the dtype
        is inf, with one RuntimeWarning.

    Raises
    ------
    TypeError, ValueError
        Other dtypes, shapes that do not fit, NaN, inf, negative mass, an all-zero histogram.

    Examples
    --------
    >>> import emdref
    >>> emdref.losses.mse([1.0, 0.0], [0.5, 0.5])
    (np.float64(0.25), array([ 0.5, -0.5]))
    """
    containers.check_labels({"p": p, "q": q})
    rows = validation.batch(p, q, None)
    return _finished(rows, *_computed(layers.mse, rows.p, rows.q, ()))


def kl(p: ArrayLike, q: ArrayLike, *, mass: Mass = "raise") -> "tuple[Any, Any]":
    r"""Kullback-Leibler divergence of the target from the prediction, and its gradient.

    .. math:: \mathrm{KL}(q \,\|\, p) = \sum_k q_k \log \frac{q_k}{p_k}, \qquad
       \frac{\partial \, \mathrm{KL}}{\partial p_k} = -\frac{q_k}{p_k}

    Terms with q_k = 0 are 0, and so is their gradient, also at p_k = 0.  Where p_k = 0 < q_k the value is inf and the
    gradient -inf, with one RuntimeWarning.

    Parameters
    ----------
    p, q : (..., N) arrays
        As in `mse`.
    mass : {"raise", "normalize", "ignore"}
        As in `emdref.emd`; with ``normalize`` the gradient is with respect to ``p / |p|``.

    Returns
    -------
    value : (...) array, or a scalar for one pair
        In units of mass times nats.  Within ``4 eps sum_k |q_k log(q_k / p_k)|`` of the exact one, and 2^-100 more with
        ``normalize``.
    gradient : (..., N) array
        Without unit, within 1 ulp.  Both are of the inputs' dtype.

    Raises
    ------
    TypeError, ValueError
        As `mse`, and for totals that differ unless `mass` allows it.

    Examples
    --------
    >>> import emdref
    >>> emdref.losses.kl([0.25, 0.75, 0.0], [1.0, 0.0, 0.0])
    (np.float64(1.3862943611198906), array([-4.,  0.,  0.]))
    """
    return _finished(*_divergence(p, q, mass, True), advice=_ZEROS)


def cross_entropy(p: ArrayLike, q: ArrayLike, *, mass: Mass = "raise") -> "tuple[Any, Any]":
    r"""Cross entropy and its gradient: `kl` plus the target's own entropy.

    .. math:: \mathrm{CE}(p, q) = -\sum_k q_k \log p_k, \qquad
       \frac{\partial \, \mathrm{CE}}{\partial p_k} = -\frac{q_k}{p_k}

    Terms with q_k = 0 are 0, as in `kl`.

    Parameters
    ----------
    p, q, mass
        As in `kl`.

    Returns
    -------
    value, gradient
        As `kl` returns them; the value is within ``4 eps sum_k |q_k log p_k|``, and 2^-100 more with ``normalize``.

    Raises
    ------
    TypeError, ValueError
        As `kl`.

    Examples
    --------
    >>> import emdref
    >>> emdref.losses.cross_entropy([0.5, 0.5], [1.0, 0.0])
    (np.float64(0.6931471805599453), array([-2.,  0.]))
    """
    return _finished(*_divergence(p, q, mass, False), advice=_ZEROS)


def emd_mse(
    p: ArrayLike,
    q: ArrayLike,
    space: Space,
    rho: float = 1,
    *,
    w_emd: float = 0.9,
    w_mse: float = 0.1,
    gauge: Gauge = "zero_sum",
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
    device: "Literal['cpu'] | None" = None,
) -> "tuple[Any, Any]":
    r"""Weighted sum of EMD and the mean squared error, and its gradient.

    .. math:: L(p, q) = w_{\mathrm{emd}} \, \mathrm{EMD}^\rho(p, q) + w_{\mathrm{mse}} \, \mathrm{MSE}(p, q)

    0.9 and 0.1 are the weights of the ICML 2016 workshop paper.  There EMD is taken between ``p / |p|`` and
    ``q / |q|``, and the squared error between p and q, so that their absolute size counts.  ``mass="normalize"`` does
    this, and with ``gauge="normalized"`` the gradient is the loss's own derivative.

    Parameters
    ----------
    w_emd, w_mse : float
        Weights, finite and >= 0.
    p, q, space, rho, gauge, mass, accuracy
        As in `emdref.emd_grad`; `gauge` is that of the EMD part.
    device : None or "cpu"
        This is computed on the CPU alone.

    Returns
    -------
    value, gradient
        As `emdref.emd_value_and_grad` and `mse` return them, weighted and added in float64, rounded to the inputs'
        dtype.

    Raises
    ------
    TypeError, ValueError
        As `emdref.emd_grad`, and for a weight that is negative or not finite.

    Examples
    --------
    >>> import emdref
    >>> value, gradient = emdref.losses.emd_mse([1.0, 0.0], [0.5, 0.5], emdref.Chain(2))
    >>> print(f"{value:.3f}", gradient)
    0.475 [ 0.5 -0.5]
    """
    weights = [validation.weight(w, name) for w, name in ((w_emd, "w_emd"), (w_mse, "w_mse"))]
    code, rho = gauges.code(gauge), validation.exponent(rho)
    devices.stay(device)
    rows = batches.checked(p, q, space, mass, accuracy, gauge=code)
    wide = Batch(*batches.as_float64(rows), rows.shape)
    emd = value_and_grad(rows if accuracy == "native" else wide, space, rho, mass, accuracy, code)
    squares = _computed(layers.mse, rows.p, rows.q, ())
    value, grad = (_mixed(weights, both) for both in zip(emd, squares, strict=True))
    return _finished(rows, value, grad)


def _mixed(weights: "list[float]", parts: "tuple[NDArray[Any], ...]") -> NDArray[np.float64]:
    """Sum of weights times parts; what has no weight does not count, not even where it is inf."""
    mixed = np.zeros(parts[0].shape)
    with np.errstate(over="ignore", under="ignore"):
        for weight, part in zip(weights, parts, strict=True):
            if weight > 0:
                mixed += weight * part.astype(np.float64, copy=False)
    return mixed


def _divergence(p: Any, q: Any, mass: str, against_itself: bool) -> "tuple[Batch, Any, Any]":
    validation.option(mass, "mass", Mass)
    containers.check_labels({"p": p, "q": q})
    rows = validation.batch(p, q, None)
    if mass == "raise":
        validation.check_masses(rows, batches.WAY_OUT)
    return rows, *_computed(layers.divergence, rows.p, rows.q, (against_itself, mass == "normalize"))


def _computed(
    loop: Any, p: NDArray[Any], q: NDArray[Any], options: tuple[Any, ...]
) -> "tuple[NDArray[Any], NDArray[Any]]":
    value, grad = np.empty(len(p)), np.empty(p.shape)
    over_rows(loop, (casts.widened(p), casts.widened(q), value, grad), options, work=_WORK[loop] * p.shape[1])
    return value, grad


def _finished(
    rows: Batch, value: NDArray[np.float64], grad: NDArray[np.float64], advice: str = "scale them down"
) -> "tuple[Any, Any]":
    value, grad = casts.narrowed(value, rows.p.dtype), casts.narrowed(grad, rows.p.dtype)
    batches.warn_beyond(rows, stacklevel=4, advice=advice, value=value, gradient=grad)
    return rows.as_rows(value), rows.as_rows(grad)
