"""The published networks and losses: from a minute of chest excursion to the spectrum of the nasal airflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import emdref
from analysis.experiments.breathing.spectra import BINS, SAMPLES
from emdref.torch import emd_loss, sinkhorn_loss

HIDDEN, FILTERS, WIDTH = 64, 16, 11
AT_ONCE = 10  # neighbours that are filtered together; divides the 590 places
FLOOR = 1e-2  # under KL in each bin: calibration.py chose it, which sees no other loss
LAM, CAP = 3.0, 100  # arXiv 1611.07573, Sec. 5
CHAIN = emdref.Chain(BINS)
Loss = Callable[[Tensor, Tensor], Tensor]


class Square(nn.Module):
    """Squared outputs, so that none is negative (ICML 2016, Sec. 2.3; arXiv 1611.07573, Sec. 5.2)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x


def perceptron() -> nn.Module:
    """Two layers (ICML 2016, Sec. 3); the paper does not say how wide the first is."""
    return nn.Sequential(nn.Linear(SAMPLES, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, BINS), Square())


def filters() -> nn.Module:
    """16 temporal filters of width 11, tanh, a fully connected layer (arXiv 1611.07573, Sec. 5.2)."""
    return nn.Sequential(Filters(), Square())


class Filters(nn.Module):
    """What `torch.nn.Conv1d`, tanh and `torch.nn.Linear` compute, in a quarter of the time on a CPU.

    The maps are flattened with the filters last, so the columns of ``full.weight`` are in that order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv1d(1, FILTERS, WIDTH)
        self.full = nn.Linear(FILTERS * (SAMPLES - WIDTH + 1), BINS)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.filters.weight[:, 0].t()
        return _Filters.apply(x, weight, self.filters.bias, self.full.weight, self.full.bias)


class _Filters(torch.autograd.Function):
    """Strides of `AT_ONCE` places make one row: a product with a banded matrix instead of a convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, full: Tensor, last: Tensor) -> Tensor:
        rows = x.unfold(1, WIDTH - 1 + AT_ONCE, AT_ONCE).reshape(-1, WIDTH - 1 + AT_ONCE)
        band = x.new_zeros(WIDTH - 1 + AT_ONCE, AT_ONCE * FILTERS)
        _bands(band).copy_(weight[:, None])
        twice = torch.addmm(bias.repeat(AT_ONCE), rows, band).mul_(2)
        maps = twice.sigmoid_().mul_(2).sub_(1).view(len(x), -1)  # tanh z = 2 / (1 + exp -2z) - 1, five times as fast
        ctx.save_for_backward(rows, maps, full)
        return (full @ maps.t()).t().contiguous() + last

    @staticmethod
    def backward(ctx: Any, *above: Any) -> Any:
        rows, maps, full = ctx.saved_tensors
        back = torch.ops.aten.tanh_backward(above[0] @ full, maps).view(len(rows), -1)
        weight = _bands(rows.t() @ back).sum(dim=1)
        return None, weight, back.sum(dim=0).view(AT_ONCE, -1).sum(dim=0), above[0].t() @ maps, above[0].sum(dim=0)


def _bands(matrix: Tensor) -> Tensor:
    """Of (WIDTH - 1 + AT_ONCE, AT_ONCE * FILTERS) the entries that are filters: (WIDTH, AT_ONCE, FILTERS)."""
    row = AT_ONCE * FILTERS
    return matrix.as_strided((WIDTH, AT_ONCE, FILTERS), (row, row + FILTERS, 1))


def handed(p: Tensor) -> Tensor:
    """p / |p|, whose gradient goes back to p as it is: the papers' way, without the derivative of the division."""
    return (p / p.sum(dim=-1, keepdim=True)).detach() + (p - p.detach())


def mse(p: Tensor, q: Tensor) -> Tensor:
    """Summed over bins and averaged over clips, as the others are."""
    return (p - q).square().sum(dim=-1).mean()


def kl(p: Tensor, q: Tensor, floor: float = FLOOR) -> Tensor:
    """Of q from p / |p|, where `floor` has been added to p: squared outputs come to 0, where KL has no bound.

    Without it KL, as a measure of how to train, would be ruined by the square alone.
    """
    p = p + floor
    return nn.functional.kl_div(torch.log(p / p.sum(dim=-1, keepdim=True)), q, reduction="batchmean")


class _Cumulative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p: Tensor, q: Tensor) -> Tensor:
        flow = torch.cumsum(p / p.sum(dim=-1, keepdim=True) - q, dim=-1)
        ctx.save_for_backward(flow)
        return flow.abs().sum(dim=-1).mean()

    @staticmethod
    def backward(ctx: Any, *above: Any) -> Any:
        sign = torch.sign(ctx.saved_tensors[0])
        raw = sign.flip(-1).cumsum(-1).flip(-1)
        return above[0] / len(sign) * (raw - raw.mean(dim=-1, keepdim=True)), None


def cumulative(p: Tensor, q: Tensor) -> Tensor:
    """EMD and its zero-sum gradient by cumulative sums of tensors, as ICML 2016, Sec. 2.3, computes them.

    >>> p, q = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.0, 0.5, 0.5]])
    >>> p.requires_grad_()
    tensor([[0.5000, 0.5000, 0.0000]], requires_grad=True)
    >>> loss = cumulative(p, q)
    >>> loss.backward()
    >>> loss.item(), p.grad.tolist()
    (1.0, [[1.0, 0.0, -1.0]])
    """
    return _Cumulative.apply(p, q)


def _emd(rho: float, gauge: str, share: float = 1.0) -> Loss:
    def loss(p: Tensor, q: Tensor) -> Tensor:
        emd = emd_loss(handed(p), q, CHAIN, rho, gauge=gauge, normalize=None, accuracy="native")
        return emd if share == 1 else share * emd + (1 - share) * mse(p, q)

    return loss


def _sd(variant: str) -> Loss:
    def loss(p: Tensor, q: Tensor) -> Tensor:
        return sinkhorn_loss(handed(p), q, CHAIN, LAM, max_iter=CAP, variant=variant, normalize=None)

    return loss


LOSSES: dict[str, Loss] = {
    "MSE": mse,
    "KL": kl,
    "EMD normalized": _emd(1, "normalized"),  # ICML 2016, Eq. 4: gEMD
    "EMD zero-sum": _emd(1, "zero_sum"),  # arXiv 1611.07573, Eq. 9
    "EMD scaled": _emd(1, "scaled"),  # ICML 2016, Eq. 6: gEMD_L1, 30 times as large
    "EMD normalized + MSE": _emd(1, "normalized", 0.9),  # ICML 2016, Sec. 2.3
    "EMD scaled + MSE": _emd(1, "scaled", 0.9),
    "EMD2": _emd(2, "zero_sum"),
    "SD": _sd("paper"),  # log u / lambda as it comes, with an arbitrary constant
    "SD centred": _sd("frogner"),
}


def gradient_sums(loss: Loss, p: Tensor, q: Tensor) -> dict[str, float]:
    """Of each clip's gradient at the output, over bins: the mean of the sums, and their root mean square."""
    p = p.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(len(p) * loss(p, q), p)
    sums = gradient.sum(dim=1).double()
    return {"gradient_sum": float(sums.mean()), "gradient_sum_rms": float(sums.square().mean().sqrt())}
