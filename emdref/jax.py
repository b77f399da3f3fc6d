"""The EMD loss for JAX (extra ``jax``): the numbers of `emdref`, computed on the host, differentiable twice backwards.

`emd_loss` works under ``jit``, ``vmap`` and ``grad``, and ``jacrev(jacrev(...))`` gives Hessians; forward mode (``jvp``,
and with it ``jax.hessian``) is not there.  float64 needs ``jax.config.update("jax_enable_x64", True)``.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from emdref import inputs
from emdref.emd import emd_value_and_grad
from emdref.gauges import Gauge
from emdref.hessian import emd_hvp
from emdref.inputs import Accuracy, Mass, Normalize, Reduction
from emdref.spaces import Space

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
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
) -> jax.Array:
    """EMD^rho between a network's output and the targets: `emdref.torch.emd_loss` for JAX, with the same arguments.

    Bad input that can only be seen once numbers are there is refused from within JAX's callback, as an error of JAX's
    that quotes emdref's.

    Examples
    --------
    >>> import emdref, jax
    >>> from emdref.jax import emd_loss
    >>> loss = lambda logits: emd_loss(logits, jax.numpy.array([2]), emdref.Chain(3))
    >>> print(jax.grad(loss)(jax.numpy.zeros((1, 3))).round(4))
    [[ 0.3704  0.1481 -0.5185]]
    """
    p, target = _histograms(jnp.asarray(logits_or_p), jnp.asarray(q), normalize)
    options = (("gauge", gauge), ("mass", mass), ("accuracy", accuracy))
    value, _ = _emd(_Problem(space, float(rho), options), p, jax.lax.stop_gradient(target))
    inputs.option(reduction, "reduction", Reduction)
    return value if reduction == "none" else value.mean() if reduction == "mean" else value.sum()


def _histograms(x: jax.Array, q: jax.Array, normalize: Normalize | None) -> tuple[jax.Array, jax.Array]:
    """p and q in one dtype and shape."""
    x = x.astype(jnp.float32) if x.dtype in _HALVES else x
    if jnp.issubdtype(q.dtype, jnp.floating):
        q = q.astype(jnp.float32) if q.dtype in _HALVES else q
    elif q.shape == x.shape[:-1]:
        q = jax.nn.one_hot(q, x.shape[-1], dtype=x.dtype)
    elif q.ndim < x.ndim:
        raise ValueError(f"q holds classes in shape {q.shape}, and the output's rows are {x.shape[:-1]}")
    else:
        q = q.astype(x.dtype)
    if normalize is not None:
        inputs.option(normalize, "normalize", Normalize)
        x = _LAYERS[normalize](x)
    p, q = jnp.broadcast_arrays(x, q)
    return p, q


def _l1(x: jax.Array) -> jax.Array:
    return x / x.sum(axis=-1, keepdims=True)


_HALVES = (jnp.float16, jnp.bfloat16)
_LAYERS = {"softmax": partial(jax.nn.softmax, axis=-1), "l1": _l1, "square": lambda x: _l1(x * x)}


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _emd(problem: _Problem, p: jax.Array, q: jax.Array) -> tuple[jax.Array, jax.Array]:
    """EMD^rho of each row and its gradient."""
    shapes = jax.ShapeDtypeStruct(p.shape[:-1], p.dtype), jax.ShapeDtypeStruct(p.shape, p.dtype)
    return jax.pure_callback(partial(_computed, problem), shapes, p, q, vmap_method="broadcast_all")


def _computed(problem: _Problem, p: Any, q: Any) -> Any:
    options: Any = dict(problem.options)
    return emd_value_and_grad(np.asarray(p), np.asarray(q), problem.space, problem.rho, **options)


def _keep(problem: _Problem, p: Any, q: Any) -> Any:
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
    return back, jnp.zeros_like(q)


def _product(problem: _Problem, p: Any, q: Any, v: Any) -> Any:
    options: Any = dict(problem.options)
    return emd_hvp(np.asarray(p), np.asarray(q), problem.space, np.asarray(v), problem.rho, **options)


_emd.defvjp(_keep, _back, symbolic_zeros=True)
