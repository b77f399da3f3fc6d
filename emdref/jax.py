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
from emdref.functions.emd import emd_cost_grad, emd_value_and_grad
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
    axis: int = -1,
    ignore_index: int | None = None,
    weight: jax.Array | None = None,
    cost: jax.Array | None = None,
) -> jax.Array:
    r"""Earth Mover's Distance between a network's output and the targets, as a loss for JAX.

    .. math:: \mathrm{EMD}^\rho(p, q) = \sum_e M_e \, |\phi_e|^\rho

    It is `emdref.torch.emd_loss` for JAX, with the same arguments.

    Parameters
    ----------
    axis : int
        The axis of the bins, which is called ``dim`` there.
    logits_or_p, q, space, rho, gauge, normalize, reduction, mass, accuracy, ignore_index, weight, cost
        As in `emdref.torch.emd_loss`, with arrays of JAX.

    Returns
    -------
    JAX array of the dtype computed in
        (...) for ``none``, else a scalar; in units of cost times mass^rho.

    Raises
    ------
    TypeError, ValueError
        As `emdref.torch.emd_loss`.  Bad input that can only be seen once numbers are there is refused from within JAX's
        callback, as an error of JAX's that quotes emdref's; a weight that is wrong makes the loss NaN then.

    Notes
    -----
    Minus p's gradient flows to a q that is differentiated, and ``|phi_e|^rho``, once, to a `cost` that is.  In gauge
    ``normalized``, which belongs to p, a differentiated q is a ValueError: give ``jax.lax.stop_gradient(q)``.
    ``vmap`` takes an axis of any of p, q and `cost`.

    What is computed is computed on the host: ``jit`` gathers sharded arrays for it, under ``pmap`` each device has its
    own rows, and derivatives under ``shard_map`` are refused by JAX.

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
    x, y = _bins_last(x, y, validation.integer(axis, "axis"))
    containers.check_labels({"logits_or_p": logits_or_p} if _are_classes(y, x) else given, space)
    p, target, counts = _histograms(x, y, normalize, ignore_index, weight)
    if p.shape[-1] != space.n_bins:
        raise ValueError(f"p has shape {written(p.shape)}, its last axis must be the space's {space.n_bins} bins")
    costs = None if cost is None else _costs(cost, space)
    value, _ = _emd(_Problem(space, validation.exponent(rho), options), p, target, costs)
    if counts is not None:
        value = value * counts
        return value.sum() / counts.sum() if reduction == "mean" else value.sum() if reduction == "sum" else value
    return value if reduction == "none" else value.mean() if reduction == "mean" else value.sum()


def _bins_last(x: jax.Array, q: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """The bins' axis of the output, and of histograms, behind all others."""
    if axis == -1 or x.ndim == 0:
        return x, q
    if not -x.ndim <= axis < x.ndim:
        shape = written(x.shape)
        raise ValueError(f"axis = {written(axis)} is none of logits_or_p {shape}: from {-x.ndim} to {x.ndim - 1}")
    from_last = axis - x.ndim if axis >= 0 else axis
    x = jnp.moveaxis(x, from_last, -1)
    if jnp.issubdtype(q.dtype, jnp.inexact) or q.ndim >= x.ndim:
        if q.ndim < -from_last:
            shape = written(q.shape)
            raise ValueError(f"q {shape} has no axis of bins where axis = {axis} is: give histograms as logits_or_p is")
        q = jnp.moveaxis(q, from_last, -1)
    return x, q


def _costs(cost: Any, space: Space) -> jax.Array:
    cost, own = _array(cost, "cost"), space.edges.cost.shape
    if not jnp.issubdtype(cost.dtype, jnp.floating) or cost.dtype in _HALVES:
        raise TypeError(f"cost is {cost.dtype}: give float64 or float32")
    if cost.shape != own:
        raise ValueError(
            f"cost has shape {written(cost.shape)}: give one for each of the {own[0]} edges of emdref.flow"
        )
    return cost


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


def _histograms(
    x: jax.Array, q: jax.Array, normalize: Normalize | None, ignore_index: Any, weight: Any
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """p and q in one dtype and shape, where classes stay classes, and how much each row counts, None for all alike."""
    if x.dtype not in _FLOATS or x.ndim == 0:
        raise TypeError(
            f"logits_or_p is {x.dtype} of shape {written(x.shape)}: give float32 or float64 of shape (..., N)"
        )
    x = x.astype(jnp.float32) if x.dtype in _HALVES else x
    target, counts = _converted(q, x), None
    if ignore_index is not None or weight is not None:
        x, target, counts = _counted(x, target, ignore_index, weight)
    p = x if normalize is None else _LAYERS[normalize](x)
    p, target = jnp.broadcast_arrays(p, target) if jnp.issubdtype(target.dtype, jnp.floating) else (p, target)
    return p, target, counts


def _counted(x: jax.Array, target: jax.Array, ignore_index: Any, weight: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Output and classes, in rows that are passed over of no consequence, and how much each row counts."""
    n_bins = x.shape[-1]
    name, way_out = ("weight", "of each") if ignore_index is None else ("ignore_index", "of those that count")
    if jnp.issubdtype(target.dtype, jnp.floating):
        raise ValueError(
            f'{name} is for classes, and q holds histograms: give reduction="none" and take a mean {way_out}'
        )
    counts = jnp.ones(target.shape, x.dtype)
    if weight is not None:
        weight = _array(weight, "weight")
        if weight.dtype != x.dtype or weight.shape != (n_bins,):
            shape = f"{weight.dtype} of shape {written(weight.shape)}"
            raise ValueError(f"weight is {shape}: give one of {x.dtype} for each of the {n_bins} classes")
        wrong = ~((weight >= 0) & jnp.isfinite(weight))
        if not isinstance(wrong, jax.core.Tracer) and wrong.any():
            at = int(wrong.argmax())
            raise ValueError(f"weight[{at}] = {weight[at]} must be finite and >= 0")
        weight = jax.lax.stop_gradient(jnp.where(wrong, jnp.nan, weight))
        counts = weight[jnp.clip(target, 0, n_bins - 1)]
    if ignore_index is not None:
        number, held = validation.integer(ignore_index, "ignore_index"), jnp.iinfo(target.dtype)
        ignored = target == number if held.min <= number <= held.max else jnp.zeros(target.shape, bool)
        target, counts = jnp.where(ignored, 0, target), jnp.where(ignored, 0, counts)
        x = jnp.where(ignored[..., None], 1 / n_bins, x)  # what any layer takes
    return x, target, counts


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
def _emd(problem: _Problem, p: jax.Array, q: jax.Array, cost: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """EMD^rho of each row and its gradient."""
    shapes = jax.ShapeDtypeStruct(p.shape[:-1], p.dtype), jax.ShapeDtypeStruct(p.shape, p.dtype)
    return _on_host(_value_and_grad, shapes, problem, cost, p, q)


def _on_host(compute: Any, shapes: Any, problem: _Problem, cost: jax.Array | None, *rows: jax.Array) -> Any:
    """compute(problem, *rows) by emdref; with costs given, for each of those that vmap makes of them."""
    if cost is None:
        return jax.pure_callback(partial(compute, problem), shapes, *rows, vmap_method="broadcast_all")
    return jax.pure_callback(partial(_at_costs, compute, problem), shapes, cost, *rows, vmap_method="expand_dims")


def _at_costs(compute: Any, problem: _Problem, cost: Any, *rows: Any) -> Any:
    """Axes that vmap put before the costs are as many before the rows, of length 1 where it does not go over them."""
    cost, rows = np.asarray(cost), tuple(map(np.asarray, rows))
    axes = cost.ndim - 1
    lead = np.broadcast_shapes(*(x.shape[:axes] for x in (cost, *rows)))
    rows = tuple(np.broadcast_to(x, lead + x.shape[axes:]) for x in rows)
    if cost.size == cost.shape[-1]:
        return compute(problem._replace(space=problem.space.with_costs(cost.reshape(-1))), *rows)
    cost = np.broadcast_to(cost, lead + cost.shape[-1:])
    each = [
        compute(problem._replace(space=problem.space.with_costs(cost[at])), *(x[at] for x in rows))
        for at in np.ndindex(lead)
    ]
    return jax.tree.map(lambda *parts: np.stack(parts).reshape(lead + np.shape(parts[0])), *each)


def _value_and_grad(problem: _Problem, p: Any, q: Any) -> Any:
    options: Any = dict(problem.options)
    return emd_value_and_grad(np.asarray(p), _target(p, q), problem.space, problem.rho, **options)


def _product(problem: _Problem, p: Any, q: Any, v: Any) -> Any:
    options: Any = dict(problem.options)
    return emd_hvp(np.asarray(p), _target(p, q), problem.space, np.asarray(v), problem.rho, **options)


def _powers(problem: _Problem, p: Any, q: Any) -> Any:
    options: Any = {name: value for name, value in problem.options if name != "gauge"}
    return emd_cost_grad(np.asarray(p), _target(p, q), problem.space, problem.rho, **options)


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


def _keep(problem: _Problem, p: Any, q: Any, cost: Any) -> Any:
    """What is differentiated beside p is marked by a tuple, which has no leaves."""
    if q.perturbed and dict(problem.options)["gauge"] == "normalized":
        raise ValueError("q is differentiated in gauge='normalized', which is p's: give jax.lax.stop_gradient(q)")
    marks = () if q.perturbed else None, () if cost is not None and cost.perturbed else None
    p, q, cost = p.value, q.value, None if cost is None else cost.value
    both = _emd(problem, p, q, cost)
    return both, (p, q, cost, both[1], marks)  # the gradient as an output, so that JAX can differentiate it


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _by_costs(problem: _Problem, p: jax.Array, q: jax.Array, cost: jax.Array) -> jax.Array:
    """Each row's derivative by the costs, which has none itself."""
    return _on_host(_powers, jax.ShapeDtypeStruct((*p.shape[:-1], *cost.shape), p.dtype), problem, cost, p, q)


def _no_second(*_: Any) -> Any:
    raise NotImplementedError(
        "emd_loss has no second derivative by costs: give jax.lax.stop_gradient(cost) if gradients are differentiated"
    )


_by_costs.defvjp(_no_second, _no_second)


def _back(problem: _Problem, kept: Any, of: Any) -> Any:
    p, q, cost, gradient, (of_q, of_cost) = kept
    of_value, of_gradient = of
    back, by_cost = jnp.zeros_like(p), None
    if not isinstance(of_value, SymbolicZero):
        back += of_value[..., None] * gradient
        if of_cost is not None:
            each = of_value[..., None] * _by_costs(problem, p, q, cost)
            by_cost = each.reshape(-1, *cost.shape).sum(0).astype(cost.dtype)
    if not isinstance(of_gradient, SymbolicZero):
        if of_cost is not None:
            _no_second()
        back += _on_host(_product, jax.ShapeDtypeStruct(p.shape, p.dtype), problem, cost, p, q, of_gradient)
    return back, None if of_q is None else -back, by_cost


_emd.defvjp(_keep, _back, symbolic_zeros=True)
