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
FLOOR = 1e-2  # under KL in each bin; of 1e-6, 1e-4, 1e-3 and 1e-2 the one with which KL trains best
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
    maps = nn.Sequential(nn.Unflatten(1, (1, SAMPLES)), nn.Conv1d(1, FILTERS, WIDTH), nn.Tanh(), nn.Flatten())
    return nn.Sequential(maps, nn.Linear(FILTERS * (SAMPLES - WIDTH + 1), BINS), Square())


def handed(p: Tensor) -> Tensor:
    """p / |p|, whose gradient goes back to p as it is: the papers' way, without the derivative of the division."""
    return (p / p.sum(dim=-1, keepdim=True)).detach() + (p - p.detach())


def mse(p: Tensor, q: Tensor) -> Tensor:
    """Summed over bins and averaged over clips, as the others are."""
    return (p - q).square().sum(dim=-1).mean()


def kl(p: Tensor, q: Tensor) -> Tensor:
    """Of q from p / |p|, where `FLOOR` has been added to p: squared outputs come to 0, where KL has no bound.

    Without it KL, as a measure of how to train, would be ruined by the square alone.
    """
    p = p + FLOOR
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
        emd = emd_loss(handed(p), q, CHAIN, rho, gauge=gauge, normalize=None)
        return emd if share == 1 else share * emd + (1 - share) * mse(p, q)

    return loss


def _sd(p: Tensor, q: Tensor) -> Tensor:
    return sinkhorn_loss(handed(p), q, CHAIN, LAM, max_iter=CAP, normalize=None)


def _layer(p: Tensor, q: Tensor) -> Tensor:
    """EMD^2 with the derivative of the division, as a framework would take it: not in the papers."""
    return emd_loss(p, q, CHAIN, 2, normalize="l1")


LOSSES: dict[str, Loss] = {
    "MSE": mse,
    "KL": kl,
    "EMD normalized": _emd(1, "normalized"),
    "EMD zero-sum": _emd(1, "zero_sum"),
    "EMD normalized + MSE": _emd(1, "normalized", 0.9),
    "EMD zero-sum + MSE": _emd(1, "zero_sum", 0.9),
    "EMD2": _emd(2, "zero_sum"),
    "SD": _sd,
    "EMD2 layer": _layer,
}


def gradient_sums(loss: str, p: Tensor, q: Tensor) -> dict[str, float]:
    """Of each clip's gradient at the output, over bins: the mean of the sums, and their root mean square."""
    p = p.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(len(p) * LOSSES[loss](p, q), p)
    sums = gradient.sum(dim=1).double()
    return {"gradient_sum": float(sums.mean()), "gradient_sum_rms": float(sums.square().mean().sqrt())}
