"""The EMD loss for JAX (extra ``jax``): the numbers of `emdref`, computed on the host, with two reverse derivatives.

`emd_loss` works under ``jit``, ``vmap`` and ``grad``, and ``jacrev(jacrev(...))`` gives Hessians; forward mode
(``jvp``, and with it ``jax.hessian``) is not there.  float64 needs ``jax.config.update("jax_enable_x64", True)``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

try:
    import jax
    import jax.numpy as jnp
    from jax.custom_derivatives import SymbolicZero
except ImportError as error:
    raise ImportError(f"emdref.jax needs the extra jax ({error}): pip install 'emdref[jax]'") from error

from emdref.arguments import containers, validation
from emdref.arguments.gauges import Gauge
from emdref.arguments.messages import written
from emdref.arguments.validation import Accuracy, Mass, Normalize, Reduction
from emdref.closed_form import batches
from emdref.functions.emd import emd_value_and_grad
from emdref.functions.hessian import emd_hvp
from emdref.spaces.space import Space

__all__ = ["emd_loss"]


class _Problem(NamedTuple):
    space: Space
    rho: float
    options: tuple[tuple[str, str], ...]


def emd_loss(
    logits_or_p: jax.Array,
    q: jax.Array,
    space: Space,
    rho: float = 2,
    *,
    gauge: Gauge = "zero_sum",
    normalize: Normalize | None = "softmax",
    reduction: Reduction = "mean",
    mass: Mass | None = None,
    accuracy: Accuracy = "compensated",
) -> jax.Array:
    """EMD^rho between a network's output and the targets: `emdref.torch.emd_loss` for JAX, with the same arguments.

    Bad input that can only be seen once numbers are there is refused from within JAX's callback, as an error of JAX's
    that quotes emdref's.

    Nothing flows back to q.  Where it is differentiated, by itself or because it is made of the same weights as p, that
    is a ValueError: give ``jax.lax.stop_gradient(q)``.

    Examples
    --------
    >>> import emdref, jax, numpy
    >>> from emdref.jax import emd_loss
    >>> loss = lambda logits: emd_loss(logits, jax.numpy.array([2]), emdref.Chain(3))
    >>> print(numpy.asarray(jax.grad(loss)(jax.numpy.zeros((1, 3)))).round(4))
    [[ 0.2963  0.0741 -0.3704]]
    """
    settled = batches.loss_mass(space, gauge, normalize, reduction, mass, accuracy)
    options = (("gauge", gauge), ("mass", settled), ("accuracy", accuracy))
    given = {"logits_or_p": logits_or_p, "q": q}
    x, y = (_array(z, name) for name, z in given.items())
    containers.check_labels({"logits_or_p": logits_or_p} if _are_classes(y, x) else given, space)
    p, target = _histograms(x, y, normalize)
    if p.shape[-1] != space.n_bins:
        raise ValueError(f"p has shape {written(p.shape)}, its last axis must be the space's {space.n_bins} bins")
    value, _ = _emd(_Problem(space, validation.exponent(rho), options), p, target)
    return value if reduction == "none" else value.mean() if reduction == "mean" else value.sum()


def _array(x: Any, name: str) -> jax.Array:
    """What was given as an array of JAX, whose integers may be narrower and would wrap around."""
    if isinstance(x, jax.Array):
        return x
    array = validation.read(x, name)
    if array.dtype.kind in "OSUMm":
        raise TypeError(f"{name} has dtype {written(array.dtype)}: give floats, or classes as integers")
    result = jnp.asarray(array)
    if array.dtype.kind in "iu":
        held = jnp.iinfo(result.dtype)
        beyond = (array < held.min) | (array > held.max)
        if beyond.any():
            raise ValueError(f"{name} holds {array[beyond][0]}, beyond {result.dtype}: is it a class?")
    return result


def _are_classes(q: jax.Array, x: jax.Array) -> bool:
    """Whether q holds a class for each row of x."""
    return not jnp.issubdtype(q.dtype, jnp.inexact) and q.shape == x.shape[:-1]


def _histograms(x: jax.Array, q: jax.Array, normalize: Normalize | None) -> tuple[jax.Array, jax.Array]:
    """p and q in one dtype and shape; classes stay classes."""
    if x.dtype not in _FLOATS or x.ndim == 0:
        raise TypeError(
            f"logits_or_p is {x.dtype} of shape {written(x.shape)}: give float32 or float64 of shape (..., N)"
        )
    x = x.astype(jnp.float32) if x.dtype in _HALVES else x
    target = _converted(q, x)
    p = x if normalize is None else _LAYERS[normalize](x)
    return tuple(jnp.broadcast_arrays(p, target)) if jnp.issubdtype(target.dtype, jnp.floating) else (p, target)


def _converted(q: jax.Array, x: jax.Array) -> jax.Array:
    """q as classes for the rows of x, or as histograms of its dtype that can be broadcast with it."""
    if jnp.iscomplexobj(q):
        raise TypeError(f"q is {q.dtype}: give histograms as floats, or classes as integers")
    if not jnp.issubdtype(q.dtype, jnp.floating):
        if _are_classes(q, x):
            return q
        if q.ndim < x.ndim:
            raise ValueError(
                f"q holds classes in shape {written(q.shape)}, and the output's rows are {written(x.shape[:-1])}"
            )
        q = q.astype(x.dtype)
    q = q.astype(jnp.float32) if q.dtype in _HALVES else q
    if q.dtype != x.dtype:
        raise TypeError(f"p is {x.dtype} and q is {q.dtype}: give both the same dtype, e.g. q.astype({x.dtype})")
    sizes = zip(x.shape[-2::-1], q.shape[-2::-1], strict=False)
    if q.shape[-1:] != x.shape[-1:] or any(a != b and 1 not in (a, b) for a, b in sizes):
        shapes = f"p {written(x.shape)} and q {written(q.shape)}"
        raise ValueError(f"{shapes} cannot be broadcast together, or differ in bins")
    return q


def _l1(x: jax.Array) -> jax.Array:
    return x / x.sum(axis=-1, keepdims=True)


_HALVES = (jnp.float16, jnp.bfloat16)
_FLOATS = (*_HALVES, jnp.float32, jnp.float64)
_LAYERS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "softmax": partial(jax.nn.softmax, axis=-1),
    "l1": _l1,
    "square": lambda x: _l1(x * x),
}


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _emd(problem: _Problem, p: jax.Array, q: jax.Array) -> tuple[jax.Array, jax.Array]:
    """EMD^rho of each row and its gradient."""
    shapes = jax.ShapeDtypeStruct(p.shape[:-1], p.dtype), jax.ShapeDtypeStruct(p.shape, p.dtype)
    return jax.pure_callback(partial(_computed, problem), shapes, p, q, vmap_method="broadcast_all")


def _computed(problem: _Problem, p: Any, q: Any) -> Any:
    options: Any = dict(problem.options)
    return emd_value_and_grad(np.asarray(p), _target(p, q), problem.space, problem.rho, **options)


def _target(p: Any, q: Any) -> Any:
    """q as histograms, also where it holds classes."""
    q, n_bins = np.asarray(q), np.shape(p)[-1]
    if q.dtype.kind == "f":
        return q
    wrong = (q < 0) | (q >= n_bins)
    if wrong.any():
        at = tuple(map(int, np.argwhere(wrong)[0]))
        place = written(list(at)) if at else ""
        raise ValueError(f"q{place} = {int(q[at])} is no class: for {n_bins} bins, 0 to {n_bins - 1}")
    return (q[..., None] == np.arange(n_bins)).astype(p.dtype)


def _keep(problem: _Problem, p: Any, q: Any) -> Any:
    if q.perturbed:
        raise ValueError("q is differentiated, and nothing flows back to it: give jax.lax.stop_gradient(q)")
    p, q = p.value, q.value
    both = _emd(problem, p, q)
    return both, (p, q, both[1])  # the gradient as this function's output, so that JAX can differentiate it


def _back(problem: _Problem, kept: Any, of: Any) -> Any:
    p, q, gradient = kept
    of_value, of_gradient = of
    back = jnp.zeros_like(p)
    if not isinstance(of_value, SymbolicZero):
        back += of_value[..., None] * gradient
    if not isinstance(of_gradient, SymbolicZero):
        product = partial(_product, problem)
        back += jax.pure_callback(product, p, p, q, of_gradient, vmap_method="broadcast_all")
    return back, None


def _product(problem: _Problem, p: Any, q: Any, v: Any) -> Any:
    options: Any = dict(problem.options)
    return emd_hvp(np.asarray(p), _target(p, q), problem.space, np.asarray(v), problem.rho, **options)


_emd.defvjp(_keep, _back, symbolic_zeros=True)
