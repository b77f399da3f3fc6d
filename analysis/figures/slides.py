"""Slides: EMD of shifted spikes (5, 25, 50), and the smoothness of EMD against MSE gradients.

Two unit spikes on a chain of unit gaps, 0 to 60 bins apart, the three printed distances among them; and the gradients
that move a bump to a place 25 bins away, with the noise of an untrained prediction on it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import emdref
from analysis.engine import style
from analysis.engine.cells import Cell, Rows
from analysis.engine.claims import Claim
from analysis.engine.reproduction import Rounding, exact, relative, sums
from analysis.engine.script import Options, must
from analysis.sinkhorn.gradient_shapes import gaussian, grad_mse, mse, reach, roughness

DTYPES = ("float64",)
PRINTED = (5, 25, 50)
N, PLACE, SHIFT = 101, 25, 25
_WHY = "p and q are quotients of exp, whose last bits are the libm's"
KINDS = exact("kind", "shift", "loss", "bin")
KINDS |= relative("p", lambda table: sums(N), _WHY) | relative("q", lambda table: sums(N), _WHY)
KINDS["amount"] = Rounding(lambda table: sums(N) * table.amount.abs().max(), _WHY)


def cells(options: Options) -> list[Cell]:
    """The spikes, and the gradients."""
    return [Cell(f"{__name__}:spikes"), Cell(f"{__name__}:gradients", {"seed": options.seed})]


def spikes() -> Rows:
    """EMD and MSE of two unit spikes against their distance."""
    chain, spikes = emdref.Chain(N), np.eye(N)
    rows = []
    for shift in range(61):
        p, q = spikes[PLACE], spikes[PLACE + shift]
        rows.append({"kind": "value", "shift": shift, "loss": "EMD", "amount": emdref.emd(p, q, chain)})
        rows.append({"kind": "value", "shift": shift, "loss": "MSE", "amount": mse(p, q)})
    return rows


def gradients(seed: int) -> Rows:
    """Gradients from a noisy bump to a smooth one."""
    chain = emdref.Chain(N)
    noisy = gaussian(N, PLACE, 5.0) * np.exp(0.5 * np.random.default_rng(seed).normal(size=N)) + 1e-3
    p, q = noisy / noisy.sum(), gaussian(N, PLACE + SHIFT, 5.0)
    kinds = {
        "MSE": grad_mse(p, q),
        "EMD": emdref.emd_grad(p, q, chain),
        "EMD2": emdref.emd_grad(p, q, chain, rho=2),
    }
    return [
        {"kind": "gradient", "shift": SHIFT, "loss": loss, "bin": k, "p": p[k], "q": q[k], "amount": grad[k]}
        for loss, grad in kinds.items()
        for k in range(N)
    ]


def _value(table: pd.DataFrame, loss: str) -> pd.Series:
    return table[(table.kind == "value") & (table.loss == loss)].set_index("shift").amount


def _gradient(table: pd.DataFrame, loss: str) -> np.ndarray:
    return table[(table.kind == "gradient") & (table.loss == loss)].amount.to_numpy()


def check(table: pd.DataFrame) -> None:
    """The distance of two spikes is their shift; gradients conserve mass."""
    must((_value(table, "EMD") == _value(table, "EMD").index).all(), "the EMD of two unit spikes is not their shift")
    for loss in ("EMD", "EMD2"):
        grad = _gradient(table, loss)
        must(abs(grad.sum()) < 1e-6 * abs(grad).sum(), f"the gradient of {loss} does not sum to 0")


def claims(table: pd.DataFrame) -> list[Claim]:
    """Printed distances, and smoothness."""
    found = [_value(table, "EMD")[s] for s in PRINTED]
    flat = _value(table, "MSE")[list(PRINTED)]
    rough = {loss: roughness(_gradient(table, loss)) for loss in ("MSE", "EMD", "EMD2")}
    wide = {loss: reach(_gradient(table, loss)) for loss in ("MSE", "EMD", "EMD2")}
    return [
        Claim("slides", "EMD of shifted spikes: 5, 25, 50", ", ".join(f"{x:g}" for x in found), found == [5, 25, 50]),
        Claim(
            "slides",
            "(implied) MSE cannot tell the three shifts apart",
            f"MSE = {', '.join(f'{x:.4g}' for x in flat)}",
            flat.nunique() == 1,
        ),
        Claim(
            "slides",
            "the gradient of EMD is smoother than that of MSE",
            "total variation over range (1 is monotone): "
            + ", ".join(f"{loss} {x:.2f}" for loss, x in rough.items())
            + "; bins that get a push (over 1% of the largest): "
            + ", ".join(f"{loss} {x:.0%}" for loss, x in wide.items()),
            rough["EMD"] < rough["MSE"] and rough["EMD2"] < rough["MSE"],
        ),
    ]


def draw(table: pd.DataFrame):
    """Values over the shift; histograms; gradients."""
    fig, (left, middle, right) = style.figure(2.2, 1, 3)
    emd, mse_values = _value(table, "EMD"), _value(table, "MSE")
    left.plot(emd.index, emd, color=style.BLUE, label="EMD")
    left.plot(emd.index, mse_values * 1000, color=style.ORANGE, linestyle="--", label="MSE × 1000")
    left.plot(PRINTED, emd[list(PRINTED)], "o", color=style.BLUE, markersize=4)
    for s in PRINTED:
        left.annotate(f"{emd[s]:g}", (s, emd[s]), (-4, 5), textcoords="offset points", ha="right", fontsize=7)
    left.set(xlabel="shift of the spike (bins)", ylabel="loss (bins × mass)", ylim=(0, 62))
    left.legend(loc="upper left")
    style.letter(left, "a", "two unit spikes")
    rows = table[(table.kind == "gradient") & (table.loss == "MSE")]
    middle.fill_between(rows.bin, rows.q, color=style.GREY, alpha=0.4, linewidth=0, label="target q")
    middle.plot(rows.bin, rows.p, color=style.SKY, label="prediction p")
    middle.set(xlabel="bin", ylabel="mass")
    middle.legend(loc="upper right")
    style.letter(middle, "b", "a noisy prediction")
    for loss, colour, line in (("MSE", style.ORANGE, "--"), ("EMD", style.BLUE, "-"), ("EMD2", style.RED, "-.")):
        grad = _gradient(table, loss)
        right.plot(grad / abs(grad).max(), line, color=colour, label=loss.replace("2", "²"))
    right.set(xlabel="bin", ylabel="gradient / largest entry")
    right.legend(loc="best")
    style.letter(right, "c", "its gradients")
    return fig
