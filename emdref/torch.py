"""EMD and Sinkhorn losses for PyTorch (extra ``torch``), with the closed-form gradient and its derivative.

``emd_loss`` and ``EMDLoss``, ``sinkhorn_loss`` and ``SinkhornLoss``.  Tensors may lie on the CPU or on a CUDA device
(extra ``cuda``).  Numbers are those of `emdref.emd_value_and_grad`, `emdref.emd_hvp` and `emdref.sinkhorn`.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any, Literal

import torch
from torch import Tensor, nn

from emdref.emd import emd_value_and_grad
from emdref.hessian import emd_hvp

from emdref.gauges import Gauge
from emdref.inputs import Accuracy, Mass
from emdref.spaces import Space

Normalize = Literal["softmax", "l1", "square"]
Reduction = Literal["mean", "sum", "none"]

_HALVES = (torch.float16, torch.bfloat16)
_numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_spaces: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_count = itertools.count()


@torch.compiler.assume_constant_result
def _number(space: Space) -> int:
    """What stands for a space where an operator takes numbers and tensors alone."""
    if space not in _numbers:
        _numbers[space] = next(_count)
        _spaces[_numbers[space]] = space
    return _numbers[space]


def _array(x: Tensor) -> Any:
    return x.detach() if x.is_cuda else x.detach().numpy()


def _tensors(*results: Any) -> tuple[Tensor, ...]:
    return tuple(torch.as_tensor(x) for x in results)


@torch.library.custom_op("emdref::emd", mutates_args=())
def _emd(
    p: Tensor, q: Tensor, space: int, rho: float, gauge: str, mass: str, accuracy: str
) -> tuple[Tensor, Tensor]:
    """EMD^rho of each row and its gradient, in one pass."""
    both = emd_value_and_grad(
        _array(p), _array(q), _spaces[space], rho, gauge=gauge, mass=mass, accuracy=accuracy
    )
    return _tensors(*both)


@_emd.register_fake
def _(p: Tensor, q: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    return p.new_empty(p.shape[:-1]), torch.empty_like(p)


@torch.library.custom_op("emdref::emd_hvp", mutates_args=())
def _hvp(
    p: Tensor, q: Tensor, v: Tensor, space: int, rho: float, gauge: str, mass: str, accuracy: str
) -> Tensor:
    """Each row's Hessian times v."""
    product = emd_hvp(
        _array(p), _array(q), _spaces[space], _array(v), rho, gauge=gauge, mass=mass, accuracy=accuracy
    )
    return torch.as_tensor(product)


@_hvp.register_fake
def _(p: Tensor, *others: Any) -> Tensor:
    return torch.empty_like(p)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # most never ask for the derivative of the gradient
    p, q, *ctx.options = inputs
    ctx.save_for_backward(p, q, output[1])


def _backward(ctx: Any, of_value: Tensor | None, of_gradient: Tensor | None) -> tuple[Any, ...]:
    """The gradient is an output, so that what it is multiplied with here can be differentiated once more."""
    p, q, gradient = ctx.saved_tensors
    back = None
    if of_value is not None:
        back = of_value.unsqueeze(-1) * gradient
    if of_gradient is not None:
        product = _hvp(p, q, of_gradient.contiguous(), *ctx.options)
        back = product if back is None else back + product
    return back, None, *(None for _ in ctx.options)


_emd.register_autograd(_backward, setup_context=_keep)



def emd_loss(
    logits_or_p: Tensor,
    q: Tensor,
    space: Space,
    rho: float = 2,
    *,
    gauge: Gauge = "zero_sum",
    normalize: Normalize | None = "softmax",
    reduction: Reduction = "mean",
    mass: Mass = "raise",
    accuracy: Accuracy = "compensated",
) -> Tensor:
    """EMD^rho."""
    p, target = _histograms(logits_or_p, q, normalize)
    value, _ = _emd(p, target, _number(space), float(rho), gauge, mass, accuracy)
    return _reduced(value, reduction)


def _histograms(x: Tensor, q: Tensor, normalize: Normalize | None) -> tuple[Tensor, Tensor]:
    if x.dtype in _HALVES:
        x = x.float()
    if not q.is_floating_point():
        q = torch.nn.functional.one_hot(q, x.shape[-1]).to(x.dtype)
    return (_LAYERS[normalize](x) if normalize else x), q.float() if q.dtype in _HALVES else q


def _l1(x: Tensor) -> Tensor:
    return x / x.sum(dim=-1, keepdim=True)


_LAYERS = {"softmax": lambda x: torch.softmax(x, dim=-1), "l1": _l1, "square": lambda x: _l1(x * x)}


def _reduced(values: Tensor, reduction: Reduction) -> Tensor:
    return {"mean": torch.mean, "sum": torch.sum, "none": lambda x: x}[reduction](values)
