"""Layers that turn a network's output into a histogram of total 1, with their vector-Jacobian products.

``p = emdref.normalize.softmax(x)``, and ``emdref.normalize.softmax.vjp(x, g)`` takes a gradient g with respect to p to
one with respect to x.  A constant in g makes no difference to any of them, so that gauges ``raw`` and ``zero_sum`` of
`emdref.emd_grad` give the same; gauge ``scaled`` gives N times as much, and ``normalized`` holds l1's product already.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emdref.arguments import casts, containers, libraries, validation
from emdref.closed_form import batches, exact_rows
from emdref.kernels.compile.threads import over_rows
from emdref.kernels.rows import layers

__all__ = ["Layer", "l1", "softmax", "square"]


class Layer:
    """A normalising layer: call it for p, and its `vjp` for the way back.

    ``l1``, ``softmax`` and ``square`` of this module are such layers.  Values are computed in two float64 limbs
    whatever the input's dtype, and rounded to that.

    Parameters
    ----------
    x : (..., N) array or sparse rows of float32 or float64 (integers below 2**53 count as float64)
        Finite numbers; >= 0 for ``l1``; not all of a row 0 for ``l1`` and ``square``.

    Returns
    -------
    (..., N) array of x's kind and dtype
        Its total is 1 but for the rounding of its entries.  ``l1`` and ``square`` are within 1 ulp of the exact
        quotient; ``softmax`` adds the error of the C library's exp (2 ulp in all for float64, 1 for float32).

    Raises
    ------
    TypeError, ValueError
        Another dtype, no bins, NaN, inf, a negative entry or an all-zero row where that is refused, naming the entry.

    Examples
    --------
    >>> import emdref
    >>> emdref.normalize.l1([1.0, 3.0])
    array([0.25, 0.75])
    """

    def __init__(self, name: str, kind: int, formula: str) -> None:
        self.__name__, self._kind = name, kind
        self.__doc__ = f"{formula}\n\nA `Layer`: see there for dtypes, accuracy and errors, and ``{name}.vjp``."

    def __repr__(self) -> str:
        return f"emdref.normalize.{self.__name__}"

    def __call__(self, x: ArrayLike) -> Any:
        array, rows = self._rows(x)
        out = np.empty(rows.shape)
        over_rows(layers.forward, (casts.widened(rows), out), (self._kind,), work=60 * rows.shape[1])
        return libraries.taken(casts.narrowed(out, array.dtype).reshape(array.shape), libraries.home({"x": x}))

    def vjp(self, x: ArrayLike, g: ArrayLike) -> Any:
        r"""Vector-Jacobian product: from a gradient with respect to p to one with respect to x.

        .. math:: \left( g^T \frac{\partial p}{\partial x} \right)_k = \sum_j g_j \frac{\partial p_j}{\partial x_k}

        It is the gradient with respect to x of a loss whose gradient with respect to ``p = layer(x)`` is g.

        Parameters
        ----------
        x : (..., N) array
            What the layer was called with.
        g : (..., N) array of the same dtype, finite, of any sign
            Broadcast together with x.

        Returns
        -------
        (..., N) array of the inputs' dtype
            Each entry is within ``8 eps max|g|`` times its factor: ``1 / |x|`` for ``l1``, ``p`` for ``softmax``,
            ``2 |x| / sum(x**2)`` for ``square``.  What is beyond the dtype is inf, with one RuntimeWarning.

        Examples
        --------
        >>> import emdref
        >>> emdref.normalize.l1.vjp([1.0, 3.0], [1.0, 0.0])
        array([ 0.1875, -0.0625])
        """
        containers.check_labels({"x": x, "g": g})
        array, _ = self._rows(x)
        direction = validation.histogram(g, "g")
        n_bins, arrays, home = array.shape[-1], {"x": array, "g": direction}, libraries.home({"x": x, "g": g})
        validation.same_dtype(arrays, {"x": x, "g": g})
        shape = (*validation.leading_axes(arrays, n_bins, "x's"), n_bins)
        validation.check_finite(direction, "g")
        both = [casts.widened(validation.rows_of(a, shape)) for a in (array, direction)]
        out = np.empty(both[0].shape)
        over_rows(layers.backward, (*both, out), (self._kind,), work=120 * n_bins)
        if self._kind != layers.SOFTMAX:  # whose products are at most 2 max|g|
            for i in np.flatnonzero(exact_rows.beyond(casts.narrowed(out, array.dtype))):
                out[i] = exact_rows.layer_vjp(both[0][i], both[1][i], squares=self._kind == layers.SQUARE)
        result = casts.narrowed(out, array.dtype).reshape(shape)
        rows = validation.Batch(both[0], both[1], shape[:-1])
        batches.warn_beyond(rows, advice="scale g down", gradient=result.reshape(both[0].shape))
        return libraries.taken(result, home)

    def _rows(self, x: ArrayLike) -> "tuple[NDArray[Any], NDArray[Any]]":
        array = validation.histogram(x, "x")
        validation.some_bins(array, "x")
        _CHECKS[self._kind](array, "x")
        return array, validation.rows_of(array, array.shape)


def _check_squares(x: NDArray[Any], name: str) -> None:
    validation.check_finite(x, name)
    validation.check_some_mass(x, name)


_CHECKS = {
    layers.L1: validation.check_histograms,
    layers.SOFTMAX: validation.check_finite,
    layers.SQUARE: _check_squares,
}

_L1 = r"""Each number over the total, for numbers >= 0 (arXiv 1611.07573, Section 2.1).

.. math:: p_k = \frac{x_k}{\sum_j x_j}"""
_SOFTMAX = r"""Exponentials over their total (arXiv 1611.07573, Section 2.1).

.. math:: p_k = \frac{e^{x_k}}{\sum_j e^{x_j}}"""
_SQUARE = r"""Squares over their total: squared outputs (ICML 2016 workshop, Section 2.3), then l1.

.. math:: p_k = \frac{x_k^2}{\sum_j x_j^2}"""

l1 = Layer("l1", layers.L1, _L1)
softmax = Layer("softmax", layers.SOFTMAX, _SOFTMAX)
square = Layer("square", layers.SQUARE, _SQUARE)
