"""Figure 5: gradients of MSE, of EMD and EMD^2, and of the Sinkhorn distance, from a smooth p to a spiky q.

The Sinkhorn distance is run in the log domain until its marginals agree, so that what is seen is the regularisation and
neither the iteration cap nor rounding.  "Asymmetric" is measured by exchanging p and q: an exact EMD gradient changes
its sign and nothing else, a regularised one does not.  Smoothness and reach are those of
`analysis.sinkhorn.gradient_shapes`.
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
from analysis.sinkhorn.gradient_shapes import angle, gaussian, grad_mse, reach, roughness

DTYPES = ("float64",)
N = 50
LAMBDAS = (0.5, 1.0, 10.0)
SPIKES = {8: 0.2, 17: 0.15, 29: 0.3, 36: 0.2, 43: 0.15}
COLOURS = {"MSE": style.ORANGE, "EMD": style.BLUE, "EMD2": style.RED}
COLOURS |= {"SD 0.5": style.SKY, "SD 1": style.GREEN, "SD 10": style.PURPLE}
SETTLED = 1e-9  # marginal error
CAP = 100_000
_WHY = "exp and log are the libm's, and each iteration rounds two sums over all bins"
KINDS = exact("loss", "bin")
KINDS |= relative("p", lambda table: sums(N), _WHY) | relative("q", lambda table: sums(N), _WHY)
KINDS |= dict.fromkeys(
    ("gradient", "gradient_swapped"), Rounding(lambda table: sums(N, 2 * CAP) * (1 / min(LAMBDAS) + N), _WHY)
)


def cells(options: Options) -> list[Cell]:
    """One cell a loss."""
    cap = 100 if options.toy else CAP
    losses = [{"loss": loss} for loss in ("MSE", "EMD", "EMD2")]
    losses += [{"loss": f"SD {lam:g}", "lam": lam, "cap": cap} for lam in LAMBDAS]
    return [Cell(f"{__name__}:compute", loss, 1.0 if "lam" in loss else 0.1) for loss in losses]


def _gradient_of(loss: str, lam: float, cap: int):
    """The gradient with respect to its first argument."""
    chain = emdref.Chain(N)
    if loss == "MSE":
        return grad_mse
    if loss in ("EMD", "EMD2"):
        return lambda p, q: emdref.emd_grad(p, q, chain, 2 if loss == "EMD2" else 1)
    how = {"max_iter": cap, "tol": SETTLED, "variant": "frogner", "domain": "log"}
    return lambda p, q: emdref.sinkhorn(p, q, chain, lam, **how).grad


def compute(loss: str, lam: float = 0.0, cap: int = 0) -> Rows:
    """One row a bin."""
    p = gaussian(N, 24, 7.0)
    q = np.zeros(N)
    q[list(SPIKES)] = list(SPIKES.values())
    q = 0.98 * q + 0.02 / N  # some mass everywhere: log v exists in every bin, so that p and q can be exchanged
    p, q = p / p.sum(), q / q.sum()
    gradient = _gradient_of(loss, lam, cap)
    grad, swapped = gradient(p, q), gradient(q, p)
    return [
        {"loss": loss, "bin": k, "p": p[k], "q": q[k], "gradient": grad[k], "gradient_swapped": swapped[k]}
        for k in range(N)
    ]


def _gradients(table: pd.DataFrame, column: str = "gradient") -> dict[str, np.ndarray]:
    return {loss: rows[column].to_numpy() for loss, rows in table.groupby("loss", sort=False)}


def _asymmetry(table: pd.DataFrame) -> dict[str, float]:
    """|g(p, q) + g(q, p)| / |g(p, q)| in the Euclidean norm."""
    there, back = _gradients(table), _gradients(table, "gradient_swapped")
    return {loss: float(np.linalg.norm(there[loss] + back[loss]) / np.linalg.norm(there[loss])) for loss in there}


def check(table: pd.DataFrame) -> None:
    """Gradients sum to 0 (but MSE's does only as p and q have equal mass); exact ones are antisymmetric."""
    asymmetry = _asymmetry(table)
    for loss, grad in _gradients(table).items():
        must(abs(grad.sum()) < 1e-6 * abs(grad).sum(), f"the gradient of {loss} does not sum to 0")
    for loss in ("MSE", "EMD", "EMD2"):
        must(asymmetry[loss] < 1e-6, f"the gradient of {loss} is not antisymmetric")


def claims(table: pd.DataFrame) -> list[Claim]:
    """Sec. 3.3 and the caption."""
    grads, asymmetry = _gradients(table), _asymmetry(table)
    rough, wide = ({loss: f(g) for loss, g in grads.items()} for f in (roughness, reach))
    angles = {lam: float(angle(grads[f"SD {lam:g}"], grads["EMD"])) for lam in LAMBDAS}
    bends = {loss: float(abs(np.diff(grads[loss], 2)).max() / np.ptp(grads[loss])) for loss in ("EMD", "EMD2")}
    source = "arXiv 1611.07573, Sec. 3.3 and Fig. 5"
    return [
        Claim(
            source,
            "the MSE gradient is not smooth, those of EMD and EMD^2 are",
            "total variation over range: " + ", ".join(f"{k} {rough[k]:.2f}" for k in ("MSE", "EMD", "EMD2")),
            rough["MSE"] > 2 * max(rough["EMD"], rough["EMD2"]),
        ),
        Claim(
            source,
            "the MSE gradient is not holistic, those of EMD, EMD^2 and SD affect the whole space",
            "bins over 1% of the largest entry: " + ", ".join(f"{k} {x:.0%}" for k, x in wide.items()),
            wide["MSE"] < min(x for k, x in wide.items() if k != "MSE"),
        ),
        Claim(
            source,
            "EMD^2 has the smoother gradient of the two",
            f"largest bend over range: EMD {bends['EMD']:.3f}, EMD2 {bends['EMD2']:.3f}",
            bends["EMD2"] < bends["EMD"],
        ),
        Claim(
            source,
            "SD at small lambda is asymmetric",
            "change when p and q are exchanged, relative: " + ", ".join(f"{k} {x:.3f}" for k, x in asymmetry.items()),
            asymmetry["SD 0.5"] > asymmetry["SD 1"] > asymmetry["SD 10"] > asymmetry["EMD"],
        ),
        Claim(
            source,
            "SD approaches EMD with lambda; lambda = 10 approximates it well",
            "angle to the gradient of EMD: " + ", ".join(f"{a:.1f}° at {lam:g}" for lam, a in angles.items()),
            angles[0.5] > angles[1.0] > angles[10.0] and angles[10.0] < 5,
        ),
    ]


def draw(table: pd.DataFrame):
    """The pair on top, three panels of gradients below it."""
    fig, axes = style.figure(5.2, 4, 1, sharex=True, gridspec_kw={"height_ratios": [0.8, 1, 1, 1]})
    pair = table[table.loss == "MSE"]
    axes[0].bar(pair.bin, pair.q, color=style.GREY, width=0.8, label="q")
    axes[0].plot(pair.bin, pair.p, color=style.BLACK, label="p")
    axes[0].set_ylabel("mass")
    axes[0].legend(loc="upper right", ncols=2)
    panels = (("MSE",), ("EMD", "EMD2"), tuple(f"SD {lam:g}" for lam in LAMBDAS))
    lines = ("-", "--", ":")
    grads = _gradients(table)
    for axis, letter, losses in zip(axes[1:], "abc", panels, strict=True):
        for loss, line in zip(losses, lines, strict=False):
            label = loss.replace("EMD2", "EMD²").replace("SD ", "SD, λ = ")
            axis.plot(grads[loss] / abs(grads[loss]).max(), line, color=COLOURS[loss], label=label)
        if letter == "c":
            axis.plot(grads["EMD"] / abs(grads["EMD"]).max(), color=style.GREY, linewidth=0.8, label="EMD")
        axis.axhline(0, color=style.BLACK, linewidth=0.5)
        axis.set_ylabel("gradient\n/ largest entry")
        axis.legend(loc="upper left", ncols=2)
        axis.set_ylim(-1.15, 2.1 if letter == "c" else 1.6)
        axis.set_title(f"({letter})", loc="left")
    axes[-1].set_xlabel("bin")
    return fig
