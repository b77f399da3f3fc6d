"""EMD and Sinkhorn losses for PyTorch (extra ``torch``): the numbers of `emdref`, differentiable by autograd.

`emd_loss` with `EMDLoss`, `sinkhorn_loss` with `SinkhornLoss`, and `EMDMetric`, a mean over many batches.

Tensors lie on the CPU, or on an NVIDIA GPU with the extra ``cuda``.  ``torch.compile`` takes the losses as they are,
without a break in the graph, and keeps their spaces alive.  torch.func's ``grad``, ``vmap`` and ``jacrev`` work, but
not within what is compiled; forward mode (``jvp``, ``jacfwd``) is not there.  Compilers of torch before 2.13 may
refuse; uncompiled, 2.9 works as well.
"""

from __future__ import annotations

import inspect
import itertools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import numpy as np

try:
    import torch
    from torch import Tensor, nn
    from torch.autograd import forward_ad
except ImportError as error:
    raise ImportError(f"emdref.torch needs the extra torch ({error}): pip install 'emdref[torch]'") from error

from emdref.arguments import containers, validation
from emdref.arguments.gauges import Gauge
from emdref.arguments.messages import type_name, written
from emdref.arguments.validation import Accuracy, Mass, Normalize, Reduction
from emdref.closed_form import batches, prepared
from emdref.entropic import inputs
from emdref.entropic.iteration import takes_space
from emdref.functions.emd import emd_cost_grad, emd_value_and_grad
from emdref.functions.hessian import emd_hvp
from emdref.functions.sinkhorn import Domain, Kernel, sinkhorn, variant_of
from emdref.spaces.matrix import Matrix
from emdref.spaces.space import Kept, Space

__all__ = ["EMDLoss", "EMDMetric", "SinkhornLoss", "emd_loss", "sinkhorn_loss"]

_HALVES = (torch.float16, torch.bfloat16)
_FLOATS = (*_HALVES, torch.float32, torch.float64)
_NUMPY: dict[torch.dtype, np.dtype[Any]] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
_PLAIN = frozenset({Tensor, nn.Parameter})
_MOST_READY = 64  # options of one space: somebody who goes through many rho keeps the last of them
_compiled: dict[int, Space] = {}  # what operators call by number: digests in compiled graphs, which keep them,
_living: weakref.WeakValueDictionary[int, Space] = weakref.WeakValueDictionary()  # else counted as they come
_numbers: Kept[int] = Kept()
_count = itertools.count(-1, -1)


def emd_loss(
    logits_or_p: Tensor,
    q: Tensor,
    space: Space,
    rho: float = 2,
    *,
    gauge: Gauge = "zero_sum",
    normalize: Normalize | None = "softmax",
    reduction: Reduction = "mean",
    mass: Mass | None = None,
    accuracy: Accuracy = "compensated",
    dim: int = -1,
    ignore_index: int | None = None,
    weight: Tensor | None = None,
    cost: Tensor | None = None,
) -> Tensor:
    r"""Earth Mover's Distance between a network's output and the targets, as a loss for PyTorch.

    .. math:: \mathrm{EMD}^\rho(p, q) = \sum_e M_e \, |\phi_e|^\rho

    phi_e is the mass of p - q below edge e: arXiv 1611.07573, Eqs. (10) and (13).  The way back is the closed-form
    gradient (Eqs. 11 and 15).  Back from there goes its derivative, the product with the Hessian (Eq. 12), without a
    matrix.  There is no third derivative.

    Parameters
    ----------
    logits_or_p : (..., N) tensor
        What the network puts out.  It is computed in float32 or float64; float16 and bfloat16, also those of autocast,
        become float32 first.
    q : (..., N) tensor of histograms, or (...) tensor of integers
        Targets of the same dtype, broadcast together with `logits_or_p`; integers are classes, as bins.  To histograms
        that require grad flows minus the gradient of p, see Notes.  Histograms stored in float16 or bfloat16 rarely
        have the total that p has: give float32 ones, or ``mass="normalize"``.
    space : Space
        Where the N bins are.
    rho : float >= 1
        The exponent.  The paper trains with 2.
    gauge : {"zero_sum", "raw", "normalized", "scaled"}
        As in `emdref.emd_grad`.
    normalize : {"softmax", "l1", "square"} or None
        How p is made of the output: ``exp(x) / sum(exp(x))``, ``x / sum(x)`` or ``x^2 / sum(x^2)``.  None: it is p
        itself.
    reduction : {"mean", "sum", "none"}
        Over the rows.
    mass : {"raise", "normalize", "ignore"}, optional
        As in `emdref.emd`.  None is ``raise``, but ``ignore`` for gauge ``raw`` without a layer, which varies each p_k
        by itself and so leaves the histograms of equal mass.
    accuracy : {"compensated", "native"}
        As in `emdref.emd`; ``native`` is the faster.
    dim : int
        The axis of `logits_or_p` that holds the bins, and of histograms q likewise; 1 for logits (B, N, H, W) with
        classes (B, H, W).
    ignore_index : int, optional
        A class, -100 say, that stands for none, as in ``torch.nn.CrossEntropyLoss``.  Its rows are 0 and count neither
        in the sum nor in the mean, which is NaN where none is left.  Exactly 0 flows back, whatever they hold.  By
        default no row is passed over.
    weight : (N,) tensor of the dtype computed in, >= 0, optional
        Weights of the classes, as in ``torch.nn.CrossEntropyLoss``: each row counts by that of its class, and ``mean``
        divides by the sum of these.
    cost : tensor, optional
        Costs instead of the space's own for this call, in the order of `emdref.flow`: (N-1,) gaps of a chain, (V,) of
        a tree's nodes, (N,) gaps of a circle; finite and >= 0.  To costs that require grad flows ``|phi_e|^rho``, see
        `emdref.emd_cost_grad`; that has no derivative here itself.

    Returns
    -------
    Tensor of the dtype computed in
        (...) for ``none``, else a scalar; in units of cost times mass^rho.

    Raises
    ------
    TypeError, ValueError
        As `emdref.emd_value_and_grad`, and for an unknown option, classes that do not fit, `ignore_index` or `weight`
        beside histograms, or a q that requires grad in gauge ``normalized``.  NaN in p behind ``l1`` or ``square``
        comes of a row whose sum is 0 or beyond the dtype.

    Notes
    -----
    *Which gauge is a derivative.*  Gauges differ by a constant in each row, and derivatives of all three layers take
    constants to 0.  So behind a layer ``raw``, ``zero_sum`` and ``normalized`` hand the network one and the same
    gradient, the plain derivative of the loss.  Only ``scaled``, N times as much, is none.  Without a layer ``raw``
    alone is the derivative with respect to each p_k by itself.  ``zero_sum`` is its projection onto the steps that
    conserve mass, and ``scaled`` N times that.  ``normalized`` is the derivative of ``EMD(p / |p|, q)``, which is that
    of the loss with ``mass="normalize"``.

    *The gradient of q.*  phi is that of p - q, so that q's gradient is minus that of p in the same gauge, and so are
    second derivatives.  It is the derivative wherever p's is: behind a layer that makes q of what is trained and takes
    constants to 0, as all three here do, or in gauge ``raw``.  ``normalized`` belongs to p alone and is refused.

    *As the papers train.*  They normalise p and hand the gradient at ``p / |p|`` to the output as it is, without the
    derivative of the layer: ``normalize=None, mass="normalize"``.  There gauges matter.

    Examples
    --------
    >>> import emdref, torch
    >>> from emdref.torch import emd_loss
    >>> logits = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    >>> loss = emd_loss(logits, torch.tensor([2]), emdref.Chain(3))
    >>> loss.backward()
    >>> print(f"{loss.item():.4f}", logits.grad.numpy().round(4))
    0.5556 [[ 0.2963  0.0741 -0.3704]]
    """
    given = rho, gauge, normalize, reduction, mass, accuracy
    plain = not torch.compiler.is_compiling() and weight is None and cost is None and ignore_index is None
    plain = plain and type(dim) is int and dim == -1
    if plain and (loss := _at_once(logits_or_p, q, space, given)) is not None:
        return loss
    value, counts = _emd_rows(
        logits_or_p, q, space, rho, gauge, normalize, reduction, mass, accuracy, dim, ignore_index, weight, cost
    )
    loss = _reduced(value, counts, reduction)
    if plain:
        _make_ready(logits_or_p, space, given)
    return loss


def _emd_rows(
    x: Any, q: Any, space: Any, rho: Any, gauge: Any, normalize: Any, reduction: Any, mass: Any, accuracy: Any,
    dim: Any, ignore_index: Any, weight: Any, cost: Any,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """EMD^rho of each row, and how much each counts, None for all alike."""
    space, *options = _emd_options(space, rho, gauge, normalize, reduction, mass, accuracy, dim, ignore_index, weight)
    p, target, counts = _histograms(x, q, normalize, dim, ignore_index, weight)
    if cost is not None:
        _check_beside(cost, "cost", p)
    if torch.compiler.is_compiling():
        value, _ = _emd(p, target, cost, _number(space), *options)
    else:
        value, _ = _EMD.apply(p, target, cost, space, *options)
    return value, counts


def sinkhorn_loss(
    logits_or_p: Tensor,
    q: Tensor,
    space_or_cost: Space | Tensor,
    lam: float = 3.0,
    *,
    max_iter: int = 100,
    tol: float | Literal["auto"] = 0.0,
    variant: str = "paper",
    kernel: Literal["auto", "dense", "space"] = "auto",
    domain: Literal["linear", "log"] = "linear",
    normalize: Normalize | None = "softmax",
    reduction: Reduction = "mean",
    dim: int = -1,
    ignore_index: int | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Sinkhorn distance between a network's output and the targets, as frameworks train with it.

    .. math:: \text{value} = \langle T, M \rangle, \qquad \text{gradient} = \frac{1}{\lambda} \log u

    These are the value and the gradient of `emdref.sinkhorn`, where T and u are explained.  The gradient is the
    published one of the variant, ``log u / lam`` or that without its mean, whatever the value is.  It is no exact
    derivative of a truncated iteration and has no derivative here itself.

    Parameters
    ----------
    logits_or_p, q, normalize, reduction, dim, ignore_index, weight
        As in `emd_loss`, but that q is constant: SD is not symmetric, and nothing flows back to it.
    space_or_cost : Space, or (N, N) tensor
        Distances between bins.
    lam, max_iter, tol, variant, kernel, domain
        As in `emdref.sinkhorn`; 3 and 100 are the paper's (arXiv 1611.07573, Sec. 5).

    Returns
    -------
    Tensor of the dtype computed in
        (...) for ``none``, else a scalar; in units of cost times mass.

    Raises
    ------
    TypeError, ValueError
        As `emdref.sinkhorn` and `emd_loss`, and for a q that requires grad.

    Warns
    -----
    RuntimeWarning
        As `emdref.sinkhorn`; the loss of a row that failed is what it came to, NaN or inf included.

    Notes
    -----
    Where p is 0, log u is -inf.  Behind a layer this is multiplied with p, or with its root, and counts as the 0 that
    the product tends to.  Without a layer it goes back as it is.

    Examples
    --------
    >>> import emdref, torch
    >>> from emdref.torch import sinkhorn_loss
    >>> logits = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    >>> sinkhorn_loss(logits, torch.tensor([2]), emdref.Chain(3)).backward()
    >>> print(logits.grad.numpy().round(4))
    [[ 0.3333  0.     -0.3333]]
    """
    cost, space, *options = _sinkhorn_options(
        space_or_cost, lam, max_iter, tol, variant, kernel, domain, normalize, reduction, dim, ignore_index, weight
    )
    if isinstance(q, Tensor):
        _check_no_grad(q.requires_grad, "q")
    p, target, counts = _histograms(logits_or_p, q, normalize, dim, ignore_index, weight)
    if torch.compiler.is_compiling():
        value, _ = _sinkhorn(p, target, cost, 0 if space is None else _number(space), *options)
    elif _is_watched() or not (_is_plain(logits_or_p) and _is_plain(q)):
        value, _ = _Sinkhorn.apply(p, target, cost, space, *options)
    else:
        records = p.requires_grad and torch.is_grad_enabled()
        known = _iterated(records, p, target, space if cost is None else _array(cost), *options)
        how: Reduction = reduction if counts is None else "none"
        if records:
            value = _Known.apply(p, None, known, how, partial(_Final.apply, p))
        else:
            value = _quickly_reduced(known[0], how)
        if counts is None:
            return value
    return _reduced(value, counts, reduction)


class _Loss(nn.Module):
    """A loss with its space and its options, which are checked as a call checks them."""

    _of: Any
    space: Any

    def __init__(self, check: Any, space: Any, strengths: tuple[float, ...], options: dict[str, Any]) -> None:
        super().__init__()
        given = inspect.signature(self._of).bind(None, None, space, *strengths, **options)
        given.apply_defaults()
        check(*given.args[2:], **given.kwargs)
        weight = options.pop("weight", None)
        self.strengths, self.options = strengths, options
        self.register_buffer("weight", None if weight is None else weight.clone())
        if isinstance(space, Tensor):
            costs = inputs.matrix(space.numpy(force=True))  # a copy in float64
            self.register_buffer("space", torch.as_tensor(costs, device=space.device))
        else:
            self.space = space

    def forward(self, logits_or_p: Tensor, q: Tensor) -> Tensor:
        """The loss of a batch."""
        weight = self._buffers["weight"]
        return self._of(logits_or_p, q, self.space, *self.strengths, **self.options, weight=weight)

    def extra_repr(self) -> str:
        """What a network's print shows."""
        options = [f"{name}={value!r}" for name, value in self.options.items()]
        options += [] if self.weight is None else [f"weight of shape {tuple(self.weight.shape)}"]
        where = f"costs of shape {tuple(self.space.shape)}" if isinstance(self.space, Tensor) else repr(self.space)
        return ", ".join([where, *map(str, self.strengths), *options])

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move the module, or cast it, of which costs know nothing: in half precision they would be others."""
        before = self.space
        super()._apply(fn, recurse)
        if isinstance(before, Tensor) and self.space.dtype != before.dtype:
            self.space = before.to(self.space.device)
        return self


class EMDLoss(_Loss):
    r"""`emd_loss` as a module: ``EMDLoss(space, rho, **options)(logits_or_p, q)``.

    .. math:: \mathrm{EMD}^\rho(p, q) = \sum_e M_e \, |\phi_e|^\rho

    What is no space or no option is refused as soon as the module is made, with the error of a call.

    Parameters
    ----------
    space, rho, options
        As in `emd_loss`, all but `cost`, which goes with the call.  ``weight`` becomes a buffer, which moves and is
        cast with the module and is in its ``state_dict``.

    Examples
    --------
    >>> import emdref
    >>> from emdref.torch import EMDLoss
    >>> EMDLoss(emdref.Chain(3), 2, normalize="square")
    EMDLoss(Chain(3 bins), 2, normalize='square')
    """

    _of = staticmethod(emd_loss)

    def __init__(self, space: Space, *strengths: float, **options: Any) -> None:
        if "cost" in options:
            raise TypeError(
                "cost goes with each call, so that what is learned stays in the graph: loss(x, q, cost=cost)"
            )
        super().__init__(_emd_options, space, strengths, options)

    def forward(self, logits_or_p: Tensor, q: Tensor, cost: Tensor | None = None) -> Tensor:
        """The loss of a batch; at other costs than the space's, if some are given."""
        weight = self._buffers["weight"]
        return emd_loss(logits_or_p, q, self.space, *self.strengths, **self.options, weight=weight, cost=cost)


class SinkhornLoss(_Loss):
    r"""`sinkhorn_loss` as a module: ``SinkhornLoss(space_or_cost, lam, **options)(logits_or_p, q)``.

    .. math:: \text{value} = \langle T, M \rangle, \qquad \text{gradient} = \frac{1}{\lambda} \log u

    What is no space, no matrix of costs or no option is refused as soon as the module is made, with the error of a
    call.  A matrix is kept as the buffer ``space``, a copy in float64: it moves with the module to another device, it
    is in the ``state_dict``, and it stays float64 where the module is cast (``half()``, ``to(torch.float32)``).

    Parameters
    ----------
    space_or_cost, lam, options
        As in `sinkhorn_loss`.

    Examples
    --------
    >>> import emdref, torch
    >>> from emdref.torch import SinkhornLoss
    >>> loss = SinkhornLoss(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 10.0).half()
    >>> loss, list(loss.state_dict()), loss.space.dtype
    (SinkhornLoss(costs of shape (2, 2), 10.0), ['space'], torch.float64)
    """

    _of = staticmethod(sinkhorn_loss)

    def __init__(self, space_or_cost: Space | Tensor, *strengths: float, **options: Any) -> None:
        super().__init__(_sinkhorn_options, space_or_cost, strengths, options)


class EMDMetric:
    r"""Mean of `emd_loss` over all rows of many batches: update, compute, reset.

    .. math:: \frac{\sum_i w_i \, \mathrm{EMD}^\rho(p_i, q_i)}{\sum_i w_i}

    w_i is the weight of row i's class, 1 by default.  It is called as the metrics of ``torchmetrics`` are, and needs no
    more than torch.

    Parameters
    ----------
    space, rho, options
        As in `EMDLoss`, with rho = 1 by default and without ``reduction``.

    Attributes
    ----------
    sums : tensor of two float64
        The sum of the values, and the number of rows or the sum of their weights.
        ``torch.distributed.all_reduce(metric.sums)`` merges processes.
    loss : EMDLoss
        What computes the values; it takes a weight to another device.

    Examples
    --------
    >>> import emdref, torch
    >>> from emdref.torch import EMDMetric
    >>> metric = EMDMetric(emdref.Chain(3), normalize=None)
    >>> for q in ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]):
    ...     metric.update(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([q]))
    >>> metric.compute()
    tensor(0.8333, dtype=torch.float64)
    """

    sums: Tensor

    def __init__(self, space: Space, rho: float = 1, **options: Any) -> None:
        if "reduction" in options:
            raise TypeError("a metric is a mean over all batches: leave out reduction, or use emd_loss")
        self.loss = EMDLoss(space, rho, **options)
        self.reset()

    def update(self, logits_or_p: Tensor, q: Tensor) -> None:
        """Count the rows of a batch."""
        with torch.no_grad():
            given = inspect.signature(emd_loss).bind(
                logits_or_p, q, self.loss.space, *self.loss.strengths, **self.loss.options, weight=self.loss.weight
            )
            given.apply_defaults()
            value, counts = _emd_rows(*given.arguments.values())
            value, counts = value.double(), torch.ones_like(value) if counts is None else counts
            sums = torch.stack([(value * counts).sum(), counts.double().sum()])
            self.sums = self.sums.to(sums.device) + sums

    def compute(self) -> Tensor:
        """The mean so far, NaN before the first row."""
        return self.sums[0] / self.sums[1]

    def reset(self) -> None:
        """Begin again."""
        self.sums = torch.zeros(2, dtype=torch.float64)


# --- arrays in and out ------------------------------------------------------------------------------------------------


@contextmanager
def _naming(layer: str | None) -> Iterator[None]:
    """Errors of p that say where it comes from."""
    try:
        yield
    except ValueError as error:
        if layer is None or not str(error).startswith("p["):
            raise
        raise ValueError(f"{error}; p is normalize={layer!r} of logits_or_p: look at that row there") from None


def _array(x: Tensor) -> Any:
    return x.detach() if x.is_cuda else x.numpy(force=True)


def _target(p: Tensor, q: Tensor) -> Tensor:
    """q as histograms, also where it holds classes."""
    if q.is_floating_point():
        return q
    n_bins = p.shape[-1]
    wrong = (q < 0) | (q >= n_bins)
    if wrong.any():
        at = tuple(wrong.nonzero()[0].tolist())
        place = written(list(at)) if at else ""
        raise ValueError(f"q{place} = {int(q[at])} is no class: for {n_bins} bins, 0 to {n_bins - 1}")
    return nn.functional.one_hot(q, n_bins).to(p.dtype)


# --- for autograd and torch.func --------------------------------------------------------------------------------------


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # few ask for the derivative of the gradient
    p, q, cost, *ctx.problem = inputs
    if ctx.needs_input_grad[1] and ctx.problem[2] == "normalized":
        raise ValueError("q requires grad, and gauge='normalized' belongs to p: give gauge='zero_sum', or q.detach()")
    ctx.save_for_backward(p, q, cost, output[1])


def _back(product: Any, powers: Any, ctx: Any, of_value: Tensor | None, of_gradient: Tensor | None) -> tuple[Any, ...]:
    """The gradient kept is an output, so that what is made of it here can be differentiated through it once more."""
    p, q, cost, gradient = ctx.saved_tensors
    back = by_cost = None
    if of_value is not None:
        back = of_value.unsqueeze(-1) * gradient
        if ctx.needs_input_grad[2]:
            each = of_value.unsqueeze(-1) * powers(p, q, cost, *ctx.problem)
            by_cost = each.reshape(-1, each.shape[-1]).sum(0).to(cost.dtype)
    if of_gradient is not None:
        if ctx.needs_input_grad[2]:
            _back_no_cost()
        bent = product(p, q, of_gradient, cost, *ctx.problem)
        back = bent if back is None else back + bent
    by_q = -back if ctx.needs_input_grad[1] and back is not None else None
    return back, by_q, by_cost, *(None for _ in ctx.problem)


def _back_no_cost(*_: Any) -> Any:
    raise NotImplementedError(
        "emd_loss has no second derivative by costs: give cost.detach() where a gradient is differentiated"
    )


def _keep_gradient(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    _check_no_grad(ctx.needs_input_grad[1], "q")
    ctx.others = len(inputs) - 1
    ctx.save_for_backward(output[1])


def _back_once(ctx: Any, of_value: Tensor | None, of_gradient: Tensor | None) -> tuple[Any, ...]:
    if of_gradient is not None:
        _back_no_second()
    (gradient,) = ctx.saved_tensors
    return None if of_value is None else of_value.unsqueeze(-1) * gradient, *(None for _ in range(ctx.others))


def _back_no_second() -> Any:
    raise NotImplementedError(
        "sinkhorn_loss has no second derivative: use emd_loss (emdref.sinkhorn(unrolled=True) has the exact first)"
    )


def _back_no_more(ctx: Any, of_product: Tensor) -> Any:
    raise NotImplementedError("emd_loss has no third derivative; for the Hessian's product with v use functional.vhp")


def _over_another_axis(operator: Any, n_rows: int, info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
    """Let torch.func.vmap put its axis before all others: rows are rows."""
    if any(at is not None for at in in_dims[n_rows:]):
        raise NotImplementedError(
            "torch.func.vmap goes over logits_or_p and q alone: give one matrix of costs, or one vector"
        )
    rows = [
        x.expand(info.batch_size, *x.shape) if at is None else x.movedim(at, 0)
        for x, at in zip(args[:n_rows], in_dims[:n_rows], strict=True)
    ]
    result = operator(*rows, *args[n_rows:])
    return result, (0, 0) if isinstance(result, tuple) else 0


class _EMD(torch.autograd.Function):
    """The operator for spaces as they are, which it keeps; torch.func sees through this, and not through operators."""

    forward = staticmethod(lambda p, q, cost, space, *options: _emd(p, q, cost, _temporary(space), *options))
    setup_context = staticmethod(_keep)
    backward = staticmethod(lambda *args: _back(_Product.apply, _Powers.apply, *args))
    vmap = staticmethod(lambda *args: _over_another_axis(_EMD.apply, 2, *args))


class _Product(torch.autograd.Function):
    forward = staticmethod(lambda p, q, v, cost, space, *options: _emd_hvp(p, q, v, cost, _temporary(space), *options))
    setup_context = staticmethod(lambda ctx, inputs, output: None)
    backward = staticmethod(_back_no_more)
    vmap = staticmethod(lambda *args: _over_another_axis(_Product.apply, 3, *args))


class _Powers(torch.autograd.Function):
    forward = staticmethod(lambda p, q, cost, space, *options: _emd_cost_grad(p, q, cost, _temporary(space), *options))
    setup_context = staticmethod(lambda ctx, inputs, output: None)
    backward = staticmethod(_back_no_cost)
    vmap = staticmethod(lambda *args: _over_another_axis(_Powers.apply, 2, *args))


class _Sinkhorn(torch.autograd.Function):
    forward = staticmethod(lambda p, q, cost, space, *options: _sinkhorn(p, q, cost, _temporary(space), *options))
    setup_context, backward = staticmethod(_keep_gradient), staticmethod(_back_once)
    vmap = staticmethod(lambda *args: _over_another_axis(_Sinkhorn.apply, 2, *args))


# --- plain tensors, without the operator ------------------------------------------------------------------------------


class _Ready(NamedTuple):
    """What a call needs beside its tensors."""

    rows: prepared.Prepared
    layer: Callable[[Tensor], Tensor]
    reduction: Reduction
    options: tuple[Any, ...]  # of `_EMD`, behind the space


_ready: Kept[dict[tuple[Any, ...], _Ready]] = Kept()  # by options that a call has gone through with


def _make_ready(x: Tensor, space: Space, given: tuple[Any, ...]) -> None:
    """Keep these options for `_at_once`, if they are such as it takes."""
    rho, gauge, normalize, reduction, mass, accuracy = given
    if x.dtype not in _NUMPY or {type(option) for option in given[1:]} - {str, type(None)}:
        return
    known = _ready.of(space, dict)
    key = (x.dtype, *given)
    if key in known:
        return
    mass = batches.loss_mass(space, gauge, normalize, reduction, mass, accuracy)
    rows = prepared.find(space, _NUMPY[x.dtype], rho, mass, accuracy, gauge)
    if rows is None:
        return
    if len(known) >= _MOST_READY:
        known.clear()
    options = float(rho), gauge, mass, accuracy, normalize
    known[key] = _Ready(rows, _LAYERS[normalize], reduction, options)


def _at_once(x: Any, q: Any, space: Any, given: tuple[Any, ...]) -> Tensor | None:
    """The loss of plain tensors, bit for bit; None where the general way says what is wrong, or does more."""
    if not (_is_plain(x) and _is_plain(q)) or q.requires_grad or _is_watched():
        return None
    key = (x.dtype, *given)
    try:
        one, layer, reduction, options = _ready.known(space)[key]  # type: ignore[index]
    except (KeyError, TypeError):  # options that are new, or no keys; no space
        return None
    if x.shape[-1:] != one.line:
        return None
    p = layer(x)
    known = _filled(one, p, q, p.requires_grad and torch.is_grad_enabled())
    if known is None:
        return None
    if known[1] is None:
        return _quickly_reduced(known[0], reduction)
    return _Known.apply(p, q, known, reduction, partial(_again, space, options))


def _is_plain(x: Any) -> bool:
    """Whether this is a tensor of the CPU's whose entries lie one behind the other, and nobody's wrapper."""
    usual = type(x) in _PLAIN and x.is_cpu and x.layout is torch.strided and not x.is_nested and x.is_contiguous()
    return usual and not torch._C._functorch.is_functorch_wrapped_tensor(x)


def _is_watched() -> bool:
    """Whether there is somebody who looks at what torch does, or makes something else of it."""
    return bool(
        torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
        or torch._C._get_tracing_state()
        or torch.is_autocast_enabled("cpu")
        or forward_ad._current_level >= 0
    )


def _filled(one: prepared.Prepared, p: Tensor, q: Tensor, with_grad: bool) -> tuple[Tensor, Tensor | None] | None:
    """Values, and gradients if asked, by the kernel alone; None where it is not for these rows, or does not settle."""
    shape, (bins,) = p.shape, one.line
    target = q if q.dtype is p.dtype else _one_hot(q, p)
    if target is None or target.shape != shape or target.numel() == 0:
        return None
    a, b = p.numpy(force=True), target.numpy(force=True)
    if not (a.flags.aligned and b.flags.aligned):
        return None
    if len(shape) != 2:
        a, b = a.reshape(-1, bins), b.reshape(-1, bins)
    value, grad = np.empty(len(a), one.dtype), np.empty(a.shape, one.dtype) if with_grad else None
    if not one.fill(a, b, value, grad):
        return None
    values, gradient = torch.from_numpy(value), None if grad is None else torch.from_numpy(grad)
    if len(shape) == 2:
        return values, gradient
    return values.view(shape[:-1]), None if gradient is None else gradient.view(shape)


def _one_hot(q: Tensor, p: Tensor) -> Tensor | None:
    """Histograms of int64 classes that there are."""
    if q.dtype is not torch.int64 or q.shape != p.shape[:-1]:
        return None
    try:
        return p.new_zeros(p.shape).scatter_(-1, q.unsqueeze(-1), 1)
    except RuntimeError:  # no class
        return None


# what makes a Function work under torch.func, which nobody uses here, takes time
class _Known(getattr(torch.autograd.function, "_SingleLevelFunction", torch.autograd.Function)):  # type: ignore[misc]
    """The loss of rows whose values and gradients are known; `again` makes gradients that can be differentiated."""

    @staticmethod
    def forward(
        ctx: Any, p: Tensor, q: Tensor | None, known: tuple[Tensor, Tensor], reduction: Reduction, again: Any
    ) -> Tensor:
        values, gradient = known
        ctx.save_for_backward(gradient, *(() if q is None else (p, q)))
        ctx.problem = reduction, again, _as_tensor(values.numel(), values.dtype)
        return _quickly_reduced(values, reduction)

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor) -> tuple[Any, ...]:
        gradient, *given = ctx.saved_tensors
        reduction, again, count = ctx.problem
        if torch.is_grad_enabled():
            gradient = again(gradient, *given)
        if reduction == "mean":
            of_loss = of_loss / count
        elif reduction == "none":
            of_loss = of_loss.unsqueeze(-1)
        return of_loss * gradient, None, None, None, None


def _again(space: Space, options: tuple[Any, ...], _: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """The gradient as what p and q make of it."""
    return _EMD.apply(p, q, None, space, *options)[1]


class _Final(torch.autograd.Function):
    """A gradient that has no derivative."""

    generate_vmap_rule = True
    forward = staticmethod(lambda p, gradient: gradient.view_as(gradient))
    setup_context = staticmethod(lambda ctx, inputs, output: None)
    backward = staticmethod(lambda ctx, of_gradient: _back_no_second())


def _quickly_reduced(values: Tensor, reduction: Reduction) -> Tensor:
    """What torch.mean does, but that it makes a tensor of the number each time."""
    if reduction == "mean":
        return torch.sum(values).div_(_as_tensor(values.numel(), values.dtype))
    return _REDUCED[reduction](values)


@lru_cache(maxsize=64)
def _as_tensor(count: int, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # whose tensors would be of no use to others
        return torch.tensor(count, dtype=dtype)


# --- operators, which take tensors, numbers and texts alone -----------------------------------------------------------


_LIBRARY = torch.library.Library("emdref", "FRAGMENT")


def _operator(function: Callable[..., Any]) -> Any:
    """An operator of the function's name; torch.library.custom_op would look at each call's results."""
    name = function.__name__[1:]
    _LIBRARY.define(name + torch.library.infer_schema(function, mutates_args=()), tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, torch.compiler.disable(function), "CompositeExplicitAutograd")
    return getattr(torch.ops.emdref, name).default


@_operator
def _emd(
    p: Tensor, q: Tensor, cost: Tensor | None, space: int, rho: float, gauge: str, mass: str, accuracy: str,
    layer: str | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """EMD^rho of each row, and its gradient."""
    where = _called(space, cost)
    if cost is None and p.dtype in _NUMPY and _is_plain(p) and _is_plain(q):
        one = prepared.find(where, _NUMPY[p.dtype], rho, mass, accuracy, gauge)
        known = None if one is None or p.shape[-1:] != one.line else _filled(one, p, q, True)
        if known is not None:
            return known
    options: Any = {"gauge": gauge, "mass": mass, "accuracy": accuracy}
    with _naming(layer):
        value, gradient = emd_value_and_grad(_array(p), _array(_target(p, q)), where, rho, **options)
    return torch.as_tensor(value), torch.as_tensor(gradient)


@_operator
def _emd_hvp(
    p: Tensor, q: Tensor, v: Tensor, cost: Tensor | None, space: int, rho: float, gauge: str, mass: str, accuracy: str,
    layer: str | None,
) -> Tensor:  # fmt: skip
    """Each row's Hessian times v."""
    options: Any = {"gauge": gauge, "mass": mass, "accuracy": accuracy}
    return torch.as_tensor(emd_hvp(_array(p), _array(_target(p, q)), _called(space, cost), _array(v), rho, **options))


@_operator
def _emd_cost_grad(
    p: Tensor, q: Tensor, cost: Tensor, space: int, rho: float, gauge: str, mass: str, accuracy: str, layer: str | None
) -> Tensor:
    """Each row's derivative by the costs."""
    options: Any = {"mass": mass, "accuracy": accuracy}
    return torch.as_tensor(emd_cost_grad(_array(p), _array(_target(p, q)), _called(space, cost), rho, **options))


@_operator
def _sinkhorn(
    p: Tensor, q: Tensor, cost: Tensor | None, space: int, lam: float, max_iter: int, tol: float | None, variant: str,
    kernel: str, domain: str, layer: str | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The Sinkhorn distance of each row, and the variant's gradient, which behind a layer empty bins have none of."""
    where = _called(space) if cost is None else _array(cost)
    return _iterated(True, p, q, where, lam, max_iter, tol, variant, kernel, domain, layer)


def _iterated(
    with_grad: bool, p: Tensor, q: Tensor, where: Any, lam: float, max_iter: int, tol: float | None, variant: Any,
    kernel: Any, domain: Any, layer: str | None,
) -> Any:  # fmt: skip
    """Values and gradients, None if nobody wants these."""
    until: Any = "auto" if tol is None else tol
    options: Any = {"max_iter": max_iter, "tol": until, "variant": variant, "kernel": kernel, "domain": domain}
    with _naming(layer):
        result = sinkhorn(_array(p), _array(_target(p, q)), where, lam, **options)
    value = torch.as_tensor(result.value)
    if not with_grad:
        return value, None
    gradient = torch.as_tensor(result.grad)
    if layer:
        infinite = gradient == -torch.inf
        if gradient.is_cuda or infinite.any():
            gradient = gradient.masked_fill((p == 0) & infinite, 0.0)
    return value, gradient


def _fake_rows(p: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    return p.new_empty(p.shape[:-1]), _fake_lines(p)


def _fake_lines(p: Tensor, *others: Any) -> Tensor:
    return torch.empty_like(p, memory_format=torch.contiguous_format)


def _fake_costs(p: Tensor, q: Tensor, cost: Tensor, *others: Any) -> Tensor:
    return p.new_empty((*p.shape[:-1], cost.shape[0]))


for _op, _fake, _backward, _setup, _n_rows in (
    (_emd, _fake_rows, partial(_back, _emd_hvp, _emd_cost_grad), _keep, 2),
    (_emd_hvp, _fake_lines, _back_no_more, None, 3),
    (_emd_cost_grad, _fake_costs, _back_no_cost, None, 2),
    (_sinkhorn, _fake_rows, _back_once, _keep_gradient, 2),
):
    torch.library.register_fake(_op, _fake, lib=_LIBRARY)
    torch.library.register_autograd(_op, _backward, setup_context=_setup, lib=_LIBRARY)
    torch.library.register_vmap(_op, partial(_over_another_axis, _op, _n_rows), lib=_LIBRARY)


@torch.compiler.assume_constant_result
def _number(space: Space) -> int:
    """What stands for a space in a graph: a digest, so that a graph that comes from elsewhere finds it or nothing."""
    number = int(space.digest[:14], 16)
    _compiled[number] = space
    return number


def _temporary(space: Space | None) -> int:
    """What stands for a space as long as somebody else keeps it."""
    if space is None:
        return 0
    number = _numbers.of(space, lambda: next(_count))
    if number not in _living:
        _living[number] = space
    return number


def _called(number: int, cost: Tensor | None = None) -> Space:
    """The space of that number, at other costs if some are given."""
    space = _compiled.get(number) or _living.get(number)
    if space is None:
        raise RuntimeError("this graph's space is not known here: compile the loss in the process that runs it")
    return space if cost is None else space.with_costs(cost.numpy(force=True))


# --- checked and made ready -------------------------------------------------------------------------------------------


def _emd_options(
    space: Any, rho: Any, gauge: Any, normalize: Any, reduction: Any, mass: Any, accuracy: Any, dim: Any,
    ignore_index: Any, weight: Any, cost: Any = None,
) -> tuple[Any, ...]:  # fmt: skip
    """What `_EMD` takes beside p and q, checked; a graph's numbers are checked as it runs."""
    _check_constant(rho, "rho")
    given = space, gauge, normalize, reduction, mass, accuracy, dim, ignore_index
    mass = (torch.compiler.is_compiling() and _mass_in_graph(*given)) or _mass(*given)
    if weight is not None:
        _check_weight(weight)
    rho = float(rho) if torch.compiler.is_compiling() else validation.exponent(rho)
    return space, rho, gauge, mass, accuracy, normalize


def _mass(
    space: Any, gauge: Any, normalize: Any, reduction: Any, mass: Any, accuracy: Any, dim: Any, ignore_index: Any
) -> str:
    """What `mass` means, where options are sound."""
    mass = batches.loss_mass(space, gauge, normalize, reduction, mass, accuracy)
    _check_rows(dim, ignore_index)
    return mass


@torch.compiler.assume_constant_result
def _mass_in_graph(*given: Any) -> str:
    """`_mass` as a constant, for a graph would look at all that it looks at whenever it runs; empty if it refuses."""
    try:
        return _mass(*given)
    except (TypeError, ValueError):
        return ""


def _sinkhorn_options(
    space_or_cost: Any, lam: Any, max_iter: Any, tol: Any, variant: Any, kernel: Any, domain: Any, normalize: Any,
    reduction: Any, dim: Any, ignore_index: Any, weight: Any,
) -> tuple[Any, ...]:  # fmt: skip
    """What `_Sinkhorn` takes beside p and q, the costs first, likewise."""
    validation.layers(normalize, reduction)
    _check_rows(dim, ignore_index)
    if weight is not None:
        _check_weight(weight)
    _check_constant(lam, "lam")
    _check_constant(tol, "tol")
    space, cost = _where(space_or_cost)
    variant_of(variant)
    validation.option(kernel, "kernel", Kernel)
    validation.option(domain, "domain", Domain)
    if not (kernel == "dense" or _offers(space, kernel)):
        takes_space(_MATRIX if space is None else space, kernel)  # which says why
    max_iter = validation.count(max_iter, "max_iter")
    in_graph, auto = torch.compiler.is_compiling(), isinstance(tol, str) and tol == "auto"
    lam = float(lam) if in_graph else validation.positive(lam, "lam")
    until = None if auto else float(tol) if in_graph else validation.weight(tol, "tol")
    return cost, space, lam, max_iter, until, variant, kernel, domain, normalize


@torch.compiler.assume_constant_result
def _offers(space: Space | None, kernel: Kernel) -> bool:
    """Whether a space has what `kernel` asks for; a constant, for tracing would meet the lock of a cached property."""
    try:
        takes_space(_MATRIX if space is None else space, kernel)
    except TypeError:
        return False
    return True


def _check_rows(dim: Any, ignore_index: Any) -> None:
    """Refuse what says nothing of rows, whichever they are."""
    validation.integer(dim, "dim")
    if ignore_index is not None and not -(2**63) <= validation.integer(ignore_index, "ignore_index") < 2**63:
        raise ValueError(f"ignore_index = {written(ignore_index)} is beyond int64, and so is no class")


def _check_weight(weight: Any) -> None:
    """Refuse what are no weights, of whichever classes."""
    _check_tensor(weight, "weight")
    _check_no_grad(weight.requires_grad, "weight")
    if not weight.is_floating_point():
        raise TypeError(f"weight is {_kind(weight)}: give a float for each class")
    if torch.compiler.is_compiling():
        torch._assert_async(((weight >= 0) & weight.isfinite()).all(), "weight must be finite and >= 0")
    else:
        wrong = ~((weight >= 0) & weight.isfinite())
        if wrong.any():
            at = tuple(wrong.nonzero()[0].tolist())
            raise ValueError(f"weight{written(list(at))} = {weight[at].item()} must be finite and >= 0")


def _histograms(
    x: Tensor, q: Tensor, normalize: Normalize | None, dim: int, ignore_index: int | None, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """p and q in one dtype and shape, where classes stay classes, and how much each row counts, None for all alike."""
    for given, name in ((x, "logits_or_p"), (q, "q")):
        _check_tensor(given, name)
    if x.device != q.device:
        raise RuntimeError(f"logits_or_p is on {x.device} and q on {q.device}: give q.to({str(x.device)!r})")
    if x.dtype not in _FLOATS or x.ndim == 0:
        raise TypeError(f"logits_or_p is {_kind(x)}: give float32 or float64 (halves become float32) of shape (..., N)")
    x = x.float() if x.dtype.itemsize == 2 else x
    x, q = (x, q) if dim == -1 else _bins_last(x, q, dim)
    target, counts = _converted(q, x), None
    if ignore_index is not None or weight is not None:
        x, target, counts = _counted(x, target, ignore_index, weight)
    p = _LAYERS[normalize](x)
    if target.is_floating_point() and (torch.compiler.is_compiling() or target.shape != p.shape):
        p, target = torch.broadcast_tensors(p, target)
    return p, target, counts


def _bins_last(x: Tensor, q: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The bins' axis of the output, and of histograms, behind all others."""
    if not -x.ndim <= dim < x.ndim:
        raise ValueError(f"dim = {written(dim)} is no axis of logits_or_p {_shape(x)}: from {-x.ndim} to {x.ndim - 1}")
    from_last = int(dim) - x.ndim if dim >= 0 else int(dim)
    x = x.movedim(from_last, -1)
    if q.is_floating_point() or q.ndim >= x.ndim:
        if q.ndim < -from_last:
            raise ValueError(
                f"q {_shape(q)} has no axis of bins where dim = {dim} is: give histograms as logits_or_p is"
            )
        q = q.movedim(from_last, -1)
    return x, q


def _counted(
    x: Tensor, target: Tensor, ignore_index: int | None, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Output and classes, in rows that are passed over of no consequence, and how much each row counts."""
    n_bins = x.shape[-1]
    name, way_out = ("weight", "of each") if ignore_index is None else ("ignore_index", "of those that count")
    if target.is_floating_point():
        raise ValueError(
            f'{name} is for classes, and q holds histograms: give reduction="none" and take a mean {way_out}'
        )
    if weight is None:
        counts = torch.ones_like(target, dtype=x.dtype)
    else:
        weight = weight.float() if weight.dtype in _HALVES else weight
        _check_beside(weight, "weight", x)
        if weight.dtype != x.dtype or weight.shape != (n_bins,):
            raise ValueError(f"weight is {_kind(weight)}: give one of {x.dtype} for each of the {n_bins} classes")
        counts = weight[target.clamp(0, n_bins - 1)]
    if ignore_index is not None:
        ignored = target == ignore_index
        target, counts = target.masked_fill(ignored, 0), counts.masked_fill(ignored, 0)
        x = torch.where(ignored.unsqueeze(-1), torch.full_like(x, 1 / n_bins), x)  # what any layer takes
    return x, target, counts


def _reduced(value: Tensor, counts: Tensor | None, reduction: Reduction) -> Tensor:
    if counts is None:
        return _REDUCED[reduction](value)
    value = value * counts
    return value.sum() / counts.sum() if reduction == "mean" else _REDUCED[reduction](value)


def _check_beside(x: Any, name: str, p: Tensor) -> None:
    """Refuse what is no dense tensor of one axis where p is."""
    _check_tensor(x, name)
    if x.device != p.device:
        raise RuntimeError(f"{name} is on {x.device} and p on {p.device}: give {name}.to({str(p.device)!r})")
    if x.dtype in _HALVES or x.is_complex() or x.ndim != 1:
        raise TypeError(f"{name} is {_kind(x)}: give one row of float64 or float32")


def _check_tensor(x: Any, name: str, holds: str = "") -> None:
    if not isinstance(x, Tensor):
        containers.refuse_masked(x, name)
        array = next((f"{name}.{to}()" for to in ("toarray", "to_numpy") if hasattr(x, to)), name)
        raise TypeError(f"{name} must be a torch tensor{holds}, not {type_name(x)}: give torch.as_tensor({array})")
    if x.is_nested:
        raise TypeError(f"{name} is a nested tensor, and rows have one length: give torch.stack({name}.unbind())")
    if x.layout != torch.strided:
        raise TypeError(f"{name} is a sparse tensor ({x.layout}): give {name}.to_dense()")
    if x.device.type not in ("cpu", "cuda"):
        raise RuntimeError(f"{name} is on {x.device}, and this computes on the CPU and on CUDA: give {name}.cpu()")
    if torch.compiler.is_compiling() and _has_tangent(x):  # an operator would drop it
        raise NotImplementedError(f"{name} has a tangent, and there is no forward mode: use grad or jacrev, not jvp")


def _has_tangent(x: Tensor) -> bool:
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(x).tangent is not None


def _check_no_grad(required: bool, name: str) -> None:
    if required:
        raise ValueError(f"{name} requires grad, and nothing flows back to it: give {name}.detach()")


def _kind(x: Tensor) -> str:
    return f"{x.dtype} of shape {_shape(x)}"


def _shape(x: Tensor) -> str:
    return written(tuple(x.shape))


def _converted(q: Tensor, x: Tensor) -> Tensor:
    """q as int64 classes for the rows of x, or as histograms of its dtype that can be broadcast with it."""
    if q.is_complex():
        raise TypeError(f"q is {_kind(q)}: give histograms as floats, or classes as integers")
    if not q.is_floating_point():
        if q.shape == x.shape[:-1]:
            return q.long()
        if q.ndim < x.ndim:
            raise ValueError(
                f"q holds classes in shape {_shape(q)}, the output's rows are {written(tuple(x.shape[:-1]))}"
            )
        q = q.to(x.dtype)
    q = q.float() if q.dtype.itemsize == 2 else q
    if q.dtype != x.dtype:
        raise TypeError(f"p is {x.dtype} and q is {q.dtype}: give both the same dtype, e.g. q.to({x.dtype})")
    sizes = zip(x.shape[-2::-1], q.shape[-2::-1], strict=False)
    if q.shape[-1:] != x.shape[-1:] or any(a != b and 1 not in (a, b) for a, b in sizes):
        raise ValueError(f"p {_shape(x)} and q {_shape(q)} cannot be broadcast together, or differ in bins")
    return q


def _check_constant(x: Any, name: str) -> None:
    if isinstance(x, Tensor):
        raise TypeError(f"{name} must be a number, not a tensor, since nothing flows back to it: give {name}.item()")


def _where(space_or_cost: Any) -> tuple[Space | None, Tensor | None]:
    """The space, or the matrix of costs."""
    if isinstance(space_or_cost, Space):
        return space_or_cost, None
    _check_tensor(space_or_cost, "space_or_cost", " of costs, or a Space")
    _check_no_grad(space_or_cost.requires_grad, "space_or_cost")
    if space_or_cost.dtype in _HALVES:
        raise TypeError(f"space_or_cost is {_kind(space_or_cost)}: give costs as float64, float32 or integers")
    return None, space_or_cost


def _l1(x: Tensor) -> Tensor:
    return x / x.sum(dim=-1, keepdim=True)


_LAYERS: dict[str | None, Callable[[Tensor], Tensor]] = {
    "softmax": partial(torch.softmax, dim=-1),
    "l1": _l1,
    "square": lambda x: _l1(x * x),
    None: lambda x: x,
}
_MATRIX = Matrix(np.zeros((1, 1)))  # stands for any: it offers what they offer
_REDUCED: dict[str, Callable[[Tensor], Tensor]] = {"mean": torch.mean, "sum": torch.sum, "none": lambda values: values}
