"""EMD and Sinkhorn losses for PyTorch (extra ``torch``): the numbers of `emdref`, as differentiable operators.

`emd_loss` with `EMDLoss`, and `sinkhorn_loss` with `SinkhornLoss`.  Tensors lie on the CPU, or on an NVIDIA GPU with the
extra ``cuda``.  ``torch.compile`` takes the losses as they are, without a break in the graph.
"""

from __future__ import annotations

import hashlib
import weakref
from typing import Any, Literal

import torch
from torch import Tensor, nn

from emdref import inputs
from emdref.emd import emd_value_and_grad
from emdref.gauges import Gauge
from emdref.hessian import emd_hvp
from emdref.inputs import Accuracy, Mass, Normalize, Reduction
from emdref.sinkhorn import sinkhorn
from emdref.spaces import Space

__all__ = ["EMDLoss", "SinkhornLoss", "emd_loss", "sinkhorn_loss"]

_HALVES = (torch.float16, torch.bfloat16)
_numbers: weakref.WeakKeyDictionary[Space, int] = weakref.WeakKeyDictionary()
_contents: dict[bytes, int] = {}
_spaces: list[Space] = []


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
    """EMD^rho between a network's output and the targets, sum_e M_e |phi_e|^rho (arXiv 1611.07573, Eqs. 10, 13).

    The way back is the closed-form gradient (Eqs. 11, 15), and back from there its derivative, the product with the
    Hessian (Eq. 12), without a matrix.  There is no third derivative.

    Parameters
    ----------
    logits_or_p : (..., N) tensor
        What the network puts out.  float32 and float64 are computed in; float16 and bfloat16, also those of autocast,
        become float32 first.
    q : (..., N) tensor of histograms, or (...) tensor of integers
        Targets of the same dtype, broadcast together with `logits_or_p`; integers are classes, as bins.  Constants:
        nothing flows back to them.
    space : Chain or Tree
        Of N bins.
    rho : float >= 1
        The paper trains with 2.
    gauge : {"zero_sum", "raw", "normalized", "scaled"}
        As in `emdref.emd_grad`.
    normalize : {"softmax", "l1", "square"} or None
        How p is made of the output: exp(x) / sum(exp(x)), x / sum(x) or x^2 / sum(x^2); None: it is p itself.
    reduction : {"mean", "sum", "none"}
        Over the rows.
    mass : {"raise", "normalize", "ignore"}
        As in `emdref.emd`.
    accuracy : {"compensated", "native"}
        As in `emdref.emd`; ``native`` is the faster.

    Returns
    -------
    Tensor of the dtype computed in: (...) for ``none``, else a scalar.  Unit: cost times mass^rho.

    Raises
    ------
    TypeError, ValueError
        As `emdref.emd_value_and_grad`, and for an unknown option, classes that do not fit, or a q that requires grad.
        NaN in p behind ``l1`` or ``square`` comes of a row whose sum is 0 or beyond the dtype.

    Notes
    -----
    *Which gauge is a derivative.*  Gauges differ by a constant in each row, and the derivatives of all three layers take
    constants to 0: behind a layer ``raw``, ``zero_sum`` and ``normalized`` hand the network one and the same gradient,
    the plain derivative of the loss, and only ``scaled``, N times as much, is none.  Without a layer ``raw`` alone is
    the derivative with respect to each p_k by itself; ``zero_sum`` is its projection onto the steps that conserve mass,
    ``scaled`` N times that, and ``normalized`` the derivative of EMD(p / |p|, q), which is that of the loss with
    ``mass="normalize"``.

    *As the papers train:* they normalise p and hand the gradient at p / |p| to the output as it is, without the
    derivative of the layer: ``normalize=None, mass="normalize"``.  There gauges matter.

    Examples
    --------
    >>> import emdref, torch
    >>> from emdref.torch import emd_loss
    >>> logits = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    >>> loss = emd_loss(logits, torch.tensor([2]), emdref.Chain(3))
    >>> loss.backward()
    >>> print(f"{loss.item():.4f}", logits.grad.numpy().round(4))
    0.5556 [[ 0.3704  0.1481 -0.5185]]
    """
    p, target = _histograms(logits_or_p, q, normalize)
    loss = _emd if torch.compiler.is_compiling() else _EMD.apply
    value, _ = loss(p, target, _number(space), float(rho), gauge, mass, accuracy)
    return _reduced(value, reduction)


def sinkhorn_loss(
    logits_or_p: Tensor,
    q: Tensor,
    space_or_cost: Space | Tensor,
    lam: float = 3.0,
    *,
    max_iter: int = 100,
    tol: float = 0.0,
    variant: str = "paper",
    kernel: Literal["auto", "dense", "space"] = "auto",
    domain: Literal["linear", "log"] = "linear",
    normalize: Normalize | None = "softmax",
    reduction: Reduction = "mean",
) -> Tensor:
    """Sinkhorn distance as frameworks train with it: the value and the gradient of `emdref.sinkhorn`.

    The gradient is the published one of the variant, log u / lam or that without its mean, whatever the value is; it
    is no exact derivative of a truncated iteration and has no derivative here itself.

    Parameters
    ----------
    logits_or_p, q, normalize, reduction
        As in `emd_loss`.
    space_or_cost : Chain, Tree, or (N, N) tensor
        Distances between bins.
    lam, max_iter, tol, variant, kernel, domain
        As in `emdref.sinkhorn`; 3 and 100 are the paper's (arXiv 1611.07573, Sec. 5).

    Returns
    -------
    Tensor of the dtype computed in: (...) for ``none``, else a scalar.  Unit: cost times mass.

    Raises
    ------
    TypeError, ValueError
        As `emdref.sinkhorn` and `emd_loss`.

    Warns
    -----
    RuntimeWarning
        As `emdref.sinkhorn`; the loss of a row that failed is what it came to, NaN or inf included.

    Notes
    -----
    Where p is 0, log u is -inf.  Behind a layer that has been multiplied with p, or with its root, and counts as the 0
    that it tends to; without one it goes back as it is.

    Examples
    --------
    >>> import emdref, torch
    >>> from emdref.torch import sinkhorn_loss
    >>> logits = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    >>> sinkhorn_loss(logits, torch.tensor([2]), emdref.Chain(3)).backward()
    >>> print(logits.grad.numpy().round(4))
    [[ 0.3333  0.     -0.3333]]
    """
    p, target = _histograms(logits_or_p, q, normalize)
    options = (float(lam), max_iter, float(tol), variant, kernel, domain, normalize is not None)
    where: Any = (None, _number(space_or_cost)) if isinstance(space_or_cost, Space) else (space_or_cost.to(p.dtype), -1)
    loss = _sinkhorn if torch.compiler.is_compiling() else _Sinkhorn.apply
    value, _ = loss(p, target, *where, *options)
    return _reduced(value, reduction)


class _Loss(nn.Module):
    """A loss with its options."""

    _of: Any

    def __init__(self, space: Space, *strengths: float, **options: Any) -> None:
        super().__init__()
        self.space, self.strengths, self.options = space, strengths, options

    def forward(self, logits_or_p: Tensor, q: Tensor) -> Tensor:
        """The loss of a batch."""
        return self._of(logits_or_p, q, self.space, *self.strengths, **self.options)

    def extra_repr(self) -> str:
        """What a network's print shows."""
        options = [f"{name}={value!r}" for name, value in self.options.items()]
        return ", ".join([repr(self.space), *map(str, self.strengths), *options])


class EMDLoss(_Loss):
    """`emd_loss` as a module: ``EMDLoss(space, rho, **options)(logits_or_p, q)``.

    Examples
    --------
    >>> import emdref
    >>> from emdref.torch import EMDLoss
    >>> EMDLoss(emdref.Chain(3), 2, normalize="square")
    EMDLoss(Chain(3 bins), 2, normalize='square')
    """

    _of = staticmethod(emd_loss)


class SinkhornLoss(_Loss):
    """`sinkhorn_loss` as a module: ``SinkhornLoss(space_or_cost, lam, **options)(logits_or_p, q)``."""

    _of = staticmethod(sinkhorn_loss)


@torch.compiler.assume_constant_result
def _number(space: Space) -> int:
    """What stands for a space in an operator, which takes numbers and tensors alone; equal spaces share one."""
    if space not in _numbers:
        layout = space._layout
        content = hashlib.sha256(type(space).__name__.encode())
        for part in (layout.parent, layout.bin_node, layout.cost):
            content.update(part.tobytes())
        number = _contents.setdefault(content.digest(), len(_spaces))
        if number == len(_spaces):
            _spaces.append(space)
        _numbers[space] = number
    return _numbers[space]


def _array(x: Tensor) -> Any:
    return x.detach() if x.is_cuda else x.detach().numpy()


@torch.library.custom_op("emdref::emd", mutates_args=())
def _emd(p: Tensor, q: Tensor, space: int, rho: float, gauge: str, mass: str, accuracy: str) -> tuple[Tensor, Tensor]:
    """EMD^rho of each row, and its gradient."""
    options: Any = {"gauge": gauge, "mass": mass, "accuracy": accuracy}
    value, gradient = emd_value_and_grad(_array(p), _array(q), _spaces[space], rho, **options)
    return torch.as_tensor(value), torch.as_tensor(gradient)


@torch.library.custom_op("emdref::emd_hvp", mutates_args=())
def _hvp(p: Tensor, q: Tensor, v: Tensor, space: int, rho: float, gauge: str, mass: str, accuracy: str) -> Tensor:
    """Each row's Hessian times v."""
    options: Any = {"gauge": gauge, "mass": mass, "accuracy": accuracy}
    return torch.as_tensor(emd_hvp(_array(p), _array(q), _spaces[space], _array(v), rho, **options))


@torch.library.custom_op("emdref::sinkhorn", mutates_args=())
def _sinkhorn(
    p: Tensor,
    q: Tensor,
    cost: Tensor | None,
    space: int,
    lam: float,
    max_iter: int,
    tol: float,
    variant: str,
    kernel: str,
    domain: str,
    behind: bool,
) -> tuple[Tensor, Tensor]:
    """The Sinkhorn distance of each row, and the variant's gradient; `behind` a layer empty bins have none."""
    where = _spaces[space] if cost is None else _array(cost)
    options: Any = {"max_iter": max_iter, "tol": tol, "variant": variant, "kernel": kernel, "domain": domain}
    result = sinkhorn(_array(p), _array(q), where, lam, **options)
    value, gradient = torch.as_tensor(result.value), torch.as_tensor(result.grad)
    return value, gradient.masked_fill((p == 0) & (gradient == -torch.inf), 0.0) if behind else gradient


@_emd.register_fake
@_sinkhorn.register_fake
def _(p: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    return p.new_empty(p.shape[:-1]), torch.empty_like(p, memory_format=torch.contiguous_format)


@_hvp.register_fake
def _(p: Tensor, *others: Any) -> Tensor:
    return torch.empty_like(p, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # few ask for the derivative of the gradient
    p, q, *ctx.options = inputs
    ctx.save_for_backward(p, q, output[1])


def _back(ctx: Any, of_value: Tensor | None, of_gradient: Tensor | None) -> tuple[Any, ...]:
    """The gradient kept is an output, so that what is made of it here can be differentiated through it once more."""
    p, q, gradient = ctx.saved_tensors
    back = None if of_value is None else of_value.unsqueeze(-1) * gradient
    if of_gradient is not None:
        product = _hvp(p, q, of_gradient, *ctx.options)
        back = product if back is None else back + product
    return back, None, *(None for _ in ctx.options)


def _back_once(ctx: Any, of_value: Tensor | None, of_gradient: Tensor | None) -> tuple[Any, ...]:
    back = None if of_value is None else of_value.unsqueeze(-1) * ctx.saved_tensors[2]
    if of_gradient is not None:
        raise NotImplementedError(
            "sinkhorn_loss has no second derivative: use emd_loss, or emdref.sinkhorn(unrolled=True) for the exact first"
        )
    return back, None, *(None for _ in ctx.options)


_emd.register_autograd(_back, setup_context=_keep)
_sinkhorn.register_autograd(_back_once, setup_context=_keep)


class _EMD(torch.autograd.Function):
    """The operator again for torch.func, which does not see through operators."""

    generate_vmap_rule = True
    setup_context, backward = staticmethod(_keep), staticmethod(_back)
    forward = staticmethod(lambda *args: _emd(*args))


class _Sinkhorn(torch.autograd.Function):
    generate_vmap_rule = True
    setup_context, backward = staticmethod(_keep), staticmethod(_back_once)
    forward = staticmethod(lambda *args: _sinkhorn(*args))


def _over_another_axis(info: Any, in_dims: tuple[int | None, ...], operator: Any, *args: Any) -> tuple[Any, Any]:
    """Let torch.func.vmap put its axis before all others: rows are rows."""
    front = []
    for x, at in zip(args, in_dims, strict=True):
        rows = isinstance(x, Tensor) and len(front) < (3 if operator is _hvp else 2)
        front.append(x.movedim(at, 0) if at is not None else x.expand(info.batch_size, *x.shape) if rows else x)
    return operator(*front), 0 if operator is _hvp else (0, 0)


for _operator in (_emd, _hvp, _sinkhorn):
    _operator.register_vmap(
        lambda info, dims, *args, operator=_operator: _over_another_axis(info, dims, operator, *args)
    )


def _histograms(x: Tensor, q: Tensor, normalize: Normalize | None) -> tuple[Tensor, Tensor]:
    """p and q in one dtype and shape."""
    if q.requires_grad:
        raise ValueError("q requires grad, and nothing flows back to targets: give q.detach()")
    x = x.float() if x.dtype in _HALVES else x
    if q.is_floating_point():
        q = q.float() if q.dtype in _HALVES else q
    elif q.shape == x.shape[:-1]:
        q = nn.functional.one_hot(q.long(), x.shape[-1]).to(x.dtype)
    elif q.ndim < x.ndim:
        raise ValueError(f"q holds classes in shape {tuple(q.shape)}, and the output's rows are {tuple(x.shape[:-1])}")
    else:
        q = q.to(x.dtype)
    if normalize is not None:
        inputs.option(normalize, "normalize", Normalize)
        x = _LAYERS[normalize](x)
    p, q = torch.broadcast_tensors(x, q)
    return p, q


def _l1(x: Tensor) -> Tensor:
    return x / x.sum(dim=-1, keepdim=True)


_LAYERS = {"softmax": lambda x: torch.softmax(x, dim=-1), "l1": _l1, "square": lambda x: _l1(x * x)}


def _reduced(values: Tensor, reduction: Reduction) -> Tensor:
    inputs.option(reduction, "reduction", Reduction)
    return values if reduction == "none" else values.mean() if reduction == "mean" else values.sum()
