"""Slides: EMD of shifted spikes (5, 25, 50), and the smoothness of EMD against MSE.

Two unit spikes on a chain of unit gaps, 0 to 60 bins apart, the three printed distances among them; the gradients that
move a bump to a place 25 bins away, with the noise of an untrained prediction on it; and the way back by gradient
descent, from the smooth bump to the noisy one as a label, in steps of one length for all losses (the slides' p_{n+1} =
p_n - gamma grad L / |grad L|), each followed by the nearest histogram.  slides_descent.csv has all steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

import emdref
from analysis.engine import style
from analysis.engine.cells import Cell, Rows
from analysis.engine.claims import Claim, Exact
from analysis.engine.reproduction import Rounding, exact, relative, sums
from analysis.engine.script import Options, must
from analysis.sinkhorn.gradient_shapes import gaussian, grad_mse, mse, reach, roughness

DTYPES = ("float64",)
PRINTED = (5, 25, 50)
N, PLACE, SHIFT = 101, 25, 25
FRAMES, LENGTH = (0, 5, 10, 20, 40), 0.01  # steps of the descent that are shown, and the length of each
LOOKS = {
    "EMD": {"color": style.BLUE},
    "EMD2": {"color": style.RED, "linestyle": "-."},
    "MSE": {"color": style.ORANGE, "linestyle": "--"},
}
CAPTIONS = {
    "": "The slides' three pairs of spikes, 5, 25 and 50 bins apart, with the EMD and the MSE of each. EMD is the "
    "distance, MSE the same for all three.",
    "_gradients": "A noisy prediction and a smooth label 25 bins away, and the gradients of EMD, EMD² and MSE with "
    "respect to the prediction. MSE's carries the noise and vanishes between the bumps, the others push everywhere.",
    "_descent": "Frames of a gradient descent from a smooth prediction to a noisy label (grey), in steps of equal "
    "length by EMD, EMD² and MSE. MSE takes on the noise at once and arrives first, EMD and EMD² stay smooth on their "
    "way.",
}
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


def descent(table: pd.DataFrame) -> pd.DataFrame:
    """From the smooth bump to the noisy one: a row a loss, step and bin."""
    rows = table[(table.kind == "gradient") & (table.loss == "MSE")]
    p, q = rows.q.to_numpy() / rows.q.sum(), rows.p.to_numpy() / rows.p.sum()
    frames = np.array([_frames(p, q, gradient) for gradient in _losses(q).values()])
    losses, steps, bins = np.indices(frames.shape).reshape(3, -1)
    names = np.array(list(_losses(q)))[losses]
    return pd.DataFrame({"loss": names, "step": steps, "bin": bins, "label": q[bins], "prediction": frames.ravel()})


def _losses(q: np.ndarray) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Gradients with respect to a prediction, by the loss."""
    chain = emdref.Chain(N)
    return {
        "EMD": lambda p: emdref.emd_grad(p, q, chain),
        "EMD2": lambda p: emdref.emd_grad(p, q, chain, rho=2),
        "MSE": lambda p: grad_mse(p, q),
    }


def _frames(p: np.ndarray, q: np.ndarray, gradient: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
    frames = [p]
    for _ in range(FRAMES[-1]):
        slope = gradient(frames[-1])
        frames.append(_nearest_histogram(frames[-1] - LENGTH * slope / np.linalg.norm(slope)))
    return frames


def _nearest_histogram(x: np.ndarray) -> np.ndarray:
    """The histogram of unit mass at the least Euclidean distance: all bins are lowered by the same, to 0 at least."""
    largest_first = np.sort(x)[::-1]
    excess = (np.cumsum(largest_first) - 1) / np.arange(1, len(x) + 1)
    above = np.maximum(x - excess[np.flatnonzero(largest_first > excess)[-1]], 0)
    return above / above.sum()


def tables(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The frames that are drawn."""
    frames = descent(table)
    return {"_descent": frames[frames.step.isin(FRAMES)]}


def claims(table: pd.DataFrame) -> list[Claim]:
    """Printed distances, smoothness, and the sums of the ICML paper's two gradients."""
    return [_distances(table), _blind(table), _smoother(table), _smoother_descent(table), _leaks(table), _keeps(table)]


def _distances(table: pd.DataFrame) -> Claim:
    found = [_value(table, "EMD")[s] for s in PRINTED]
    return Claim(
        "slides",
        "the EMD of shifted spikes is 5, 25 and 50",
        "the EMD of two unit spikes that many bins apart",
        Exact(found == list(PRINTED)),
        ", ".join(f"{x:g}" for x in found),
    )


def _blind(table: pd.DataFrame) -> Claim:
    flat = _value(table, "MSE")[list(PRINTED)]
    return Claim(
        "slides",
        "(implied) MSE cannot tell the three shifts apart",
        "the MSE of the same spikes",
        Exact(flat.nunique() == 1),
        ", ".join(f"{x:.4g}" for x in flat),
    )


def _smoother(table: pd.DataFrame) -> Claim:
    rough, wide = ({loss: f(_gradient(table, loss)) for loss in LOOKS} for f in (roughness, reach))
    return Claim(
        "slides",
        "the gradient of EMD is smoother than that of MSE",
        "total variation over range (1 is monotone) of the gradient from the noisy bump to the smooth one",
        Exact(max(rough["EMD"], rough["EMD2"]) < rough["MSE"]),
        ", ".join(f"{rough[loss]:.2f} {_label(loss)}" for loss in LOOKS)
        + "; bins that get over 1% of the largest push: "
        + ", ".join(f"{wide[loss]:.0%} {_label(loss)}" for loss in LOOKS),
        sheet="_gradients",
    )


def _smoother_descent(table: pd.DataFrame) -> Claim:
    frames = descent(table)
    frames = frames[frames.step.isin(FRAMES[1:])]
    rough = frames.groupby(["loss", "step"]).prediction.agg(lambda p: roughness(p.to_numpy())).unstack()
    listed = "; ".join(f"{_label(loss)} " + ", ".join(f"{x:.2f}" for x in rough.loc[loss]) for loss in LOOKS)
    return Claim(
        "slides",
        "MSE vs EMD: smoothness (as we read the two pictures: descending the EMD keeps a prediction smoother)",
        f"total variation over range of the prediction after {', '.join(map(str, FRAMES[1:]))} steps, smooth bump to "
        "noisy label, at every one of them",
        Exact(bool((rough.loc[["EMD", "EMD2"]] < rough.loc["MSE"]).all(axis=None))),
        f"{listed}; MSE has arrived by then, the others have not",
        sheet="_descent",
    )


def _sums(table: pd.DataFrame, gauge: str) -> float:
    """Of the gradient from the noisy bump to the smooth one, as a rational."""
    rows = table[(table.kind == "gradient") & (table.loss == "EMD")]
    p, q = rows.p.to_numpy() / rows.p.sum(), rows.q.to_numpy() / rows.q.sum()
    return float(sum(emdref.exact.grad(p, q, emdref.Chain(N), gauge=gauge)))


def _leaks(table: pd.DataFrame) -> Claim:
    total = _sums(table, "normalized")
    return Claim(
        "ICML 2016, Sec. 2.2",
        "the gradient of Eq. 4 disobeys the law of dirt conservation: its sum is not 0",
        "the sum of its terms from the noisy bump to the smooth one, as rationals",
        Exact(total != 0),
        f"{total:.4g}",
        sheet="_gradients",
    )


def _keeps(table: pd.DataFrame) -> Claim:
    total = _sums(table, "scaled")
    return Claim(
        "ICML 2016, Sec. 2.2",
        "the gradient of Eq. 6 sums to 0",
        "the sum of its terms from the noisy bump to the smooth one, as rationals",
        Exact(total == 0),
        f"{total:.4g}",
        sheet="_gradients",
    )


def draw(table: pd.DataFrame):
    """The spikes; gradients; frames of a descent."""
    return {"": _draw_spikes(table), "_gradients": _draw_gradients(table), "_descent": _draw_descent(table)}


def _label(loss: str) -> str:
    return loss.replace("2", "²")


def _draw_spikes(table: pd.DataFrame):
    """The slides' three pairs, each under its EMD."""
    fig, axes = style.figure(3.4, 3, 1, sharex=True, sharey=True)
    emd, flat = _value(table, "EMD"), _value(table, "MSE")
    for axis, letter, shift in zip(axes, "abc", PRINTED, strict=True):
        axis.bar([PLACE], [1], width=1.6, color=style.SKY, label="p")
        axis.bar([PLACE + shift], [1], width=1.6, color=style.GREY, label="q")
        arrow = {"arrowstyle": "-|>", "color": style.BLACK, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", (PLACE + shift, 1.15), (PLACE, 1.15), arrowprops=arrow)
        style.letter(axis, letter, f"EMD {emd[shift]:g}, MSE {flat[shift]:.4f}")
        axis.set(ylim=(0, 1.3), xlim=(0, N - 1), yticks=[0, 1], ylabel="mass")
    axes[0].legend(loc="upper right", ncols=2)
    axes[-1].set_xlabel("bin")
    return fig


def _draw_gradients(table: pd.DataFrame):
    fig, (top, low) = style.figure(3.6, 2, 1, sharex=True)
    rows = table[(table.kind == "gradient") & (table.loss == "MSE")]
    top.fill_between(rows.bin, rows.q, color=style.GREY, alpha=0.4, linewidth=0, label="label q")
    top.plot(rows.bin, rows.p, color=style.SKY, label="prediction p")
    top.set(ylabel="mass")
    top.legend(loc="upper right")
    style.letter(top, "a", "a noisy prediction")
    for loss, look in LOOKS.items():
        grad = _gradient(table, loss)
        low.plot(grad / abs(grad).max(), label=_label(loss), **look)
    low.axhline(0, color=style.BLACK, linewidth=0.5)
    low.set(xlabel="bin", ylabel="gradient / largest entry", ylim=(-0.9, 1.45))
    low.legend(loc="upper right", ncols=3)
    style.letter(low, "b", "its gradients")
    return fig


def _draw_descent(table: pd.DataFrame):
    """Frames, a row a step and a column a loss."""
    frames = descent(table)
    fig, axes = style.figure(5.0, len(FRAMES), len(LOOKS), sharex=True, sharey=True)
    for row, step in zip(axes, FRAMES, strict=True):
        for axis, (loss, look) in zip(row, LOOKS.items(), strict=True):
            shown = frames[(frames.loss == loss) & (frames.step == step)]
            axis.fill_between(shown.bin, shown.label, color=style.GREY, alpha=0.4, linewidth=0, label="label")
            axis.plot(shown.bin, shown.prediction, color=look["color"], linewidth=1.0)
            axis.set(xticks=[0, 50, 100], yticks=[0, 0.05, 0.1])
        row[0].set_ylabel(f"step {step}")
    for axis, loss in zip(axes[0], LOOKS, strict=True):
        axis.set_title(_label(loss))
    for axis in axes[-1]:
        axis.set_xlabel("bin")
    return fig
