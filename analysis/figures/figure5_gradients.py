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
from analysis.engine.claims import Claim, Exact
from analysis.engine.reproduction import Rounding, exact, relative, sums
from analysis.engine.script import Options, must
from analysis.sinkhorn.gradient_shapes import angle, gaussian, grad_mse, reach, roughness

DTYPES = ("float64",)
FIGURE, SECTION = "arXiv 1611.07573, Fig. 5", "arXiv 1611.07573, Sec. 3.3"
N = 50
WHOLE = 0.95  # of the bins: the whole space
LAMBDAS = (0.5, 1.0, 10.0)
SPIKES = {8: 0.2, 17: 0.15, 29: 0.3, 36: 0.2, 43: 0.15}
LOOKS = {  # wide and pale, narrow and dark: lines that coincide are told apart
    "MSE": {"color": style.ORANGE},
    "EMD": {"color": style.SKY, "linewidth": 4, "alpha": 0.6},
    "EMD2": {"color": style.RED},
    "SD 0.5": {"color": style.ORANGE, "linestyle": ":"},
    "SD 1": {"color": style.GREEN, "linestyle": "--"},
    "SD 10": {"color": style.BLACK, "linewidth": 1.0},
}
CAPTIONS = {
    "": "A smooth p and a spiky q on a chain of 50 bins, and the gradients that move p towards q: of MSE, of EMD and "
    "EMD², and of the Sinkhorn distance at three lambdas (Cuturi's iteration, 2013, with the centred gradient of "
    "Frogner and others, 2015), run until it converged. MSE pushes bin by bin, the others push everywhere, and at "
    "lambda = 10 SD lies on EMD.",
    "_exchanged": "The gradients of EMD and of the Sinkhorn distance from p to q, and from q to p with its sign "
    "changed; what is between them is shaded. EMD is symmetric, SD the less so the smaller lambda.",
}
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
    """Fig. 5 and Sec. 3.3, and what Sec. 3.2 and 4 say of gradients on a chain."""
    makers = (_smooth, _holistic, _smoother, _asymmetric, _towards_emd, _norms, _equation12, _chain_as_tree)
    return [make(table) for make in makers]


def _smooth(table: pd.DataFrame) -> Claim:
    rough = {loss: roughness(g) for loss, g in _gradients(table).items()}
    return Claim(
        FIGURE,
        "the MSE gradient is not smooth, those of EMD and EMD² are",
        "total variation over range, 1 for a monotone gradient: MSE's more than twice the larger of the other two",
        Exact(rough["MSE"] > 2 * max(rough["EMD"], rough["EMD2"])),
        ", ".join(f"{rough[loss]:.2f} {_label(loss)}" for loss in ("MSE", "EMD", "EMD2")),
    )


def _holistic(table: pd.DataFrame) -> Claim:
    wide = {loss: reach(g) for loss, g in _gradients(table).items()}
    return Claim(
        FIGURE,
        "the MSE gradient does not affect the whole output space, those of EMD, EMD² and SD do",
        "share of bins whose entry is over 1% of the largest: at least 95% for all but MSE",
        Exact(wide["MSE"] < WHOLE <= min(share for loss, share in wide.items() if loss != "MSE")),
        ", ".join(f"{share:.0%} {_label(loss)}" for loss, share in wide.items()),
    )


def _smoother(table: pd.DataFrame) -> Claim:
    grads = _gradients(table)
    bends = {loss: float(abs(np.diff(grads[loss], 2)).max() / np.ptp(grads[loss])) for loss in ("EMD", "EMD2")}
    return Claim(
        SECTION,
        "the regularization effect induced by EMD² results in a smoother gradient",
        "largest second difference over range, EMD² against EMD",
        Exact(bends["EMD2"] < bends["EMD"]),
        f"{bends['EMD']:.3f} EMD, {bends['EMD2']:.3f} EMD²",
    )


def _asymmetric(table: pd.DataFrame) -> Claim:
    asymmetry = _asymmetry(table)
    ordered = [asymmetry[f"SD {lam:g}"] for lam in LAMBDAS]
    return Claim(
        FIGURE,
        "the regularized SD gradients are asymmetric",
        "|g(p, q) + g(q, p)| / |g(p, q)|: over 1% for every SD, the more the smaller lambda, and 0 for EMD",
        Exact(min(ordered) > 0.01 and ordered == sorted(ordered, reverse=True) and asymmetry["EMD"] < 1e-6),
        ", ".join(f"{x:.3f} {_label(loss)}" for loss, x in asymmetry.items()),
        sheet="_exchanged",
    )


def _towards_emd(table: pd.DataFrame) -> Claim:
    grads = _gradients(table)
    angles = [float(angle(grads[f"SD {lam:g}"], grads["EMD"])) for lam in LAMBDAS]
    return Claim(
        FIGURE,
        "SD at lambda = 10 approximates EMD well, and larger lambda resemble it more",
        "angle to the gradient of EMD: it falls with lambda, below 5° at lambda = 10",
        Exact(angles == sorted(angles, reverse=True) and angles[-1] < 5),
        ", ".join(f"{degrees:.1f}° at {lam:g}" for degrees, lam in zip(angles, LAMBDAS, strict=True)),
    )


def _pair(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """p and q, of equal totals to the last bit that counts."""
    rows = table[table.loss == "MSE"]
    return rows.p.to_numpy() / rows.p.sum(), rows.q.to_numpy() / rows.q.sum()


def _norms(table: pd.DataFrame) -> Claim:
    p, q = _pair(table)
    half = 0.5 * (p + q)
    change = {
        rho: abs(emdref.emd_grad(half / half.sum(), q, emdref.Chain(N), rho) - 0.5 ** (rho - 1) * whole).max()
        / abs(whole).max()
        for rho in (1, 2)
        for whole in [emdref.emd_grad(p, q, emdref.Chain(N), rho)]
    }
    return Claim(
        FIGURE,
        "EMD² has l2 behavior, while EMD behaves like l1",
        "the gradients half way between p and q: EMD's as before, EMD²'s half as large",
        Exact(max(change.values()) < 1e-9),
        f"They are, within {change[1]:.1g} for EMD and {change[2]:.1g} for EMD² of the largest entry",
    )


def _equation12(table: pd.DataFrame) -> Claim:
    steps = np.array([[N * (i >= k) - (i + 1) for i in range(N - 1)] for k in range(N)], float)
    printed = 2 * steps @ steps.T
    ratio = printed / np.where(printed == 0, np.nan, emdref.emd_hess(*_pair(table), emdref.Chain(N), rho=2))
    return Claim(
        "arXiv 1611.07573, Sec. 3.2",
        "Eq. 12 is the second derivative of EMD²",
        "Eq. 12 as printed over the derivative of Eq. 11, at every pair of bins",
        Exact(bool(np.nanmax(abs(ratio - 1)) < 1e-6)),
        f"Everywhere {np.nanmedian(ratio):.0f} times as large, which is N²: Eq. 12 differentiates along N times e_k",
    )


def _chain_as_tree(table: pd.DataFrame) -> Claim:
    chain = emdref.Chain(N)
    slopes = emdref.exact.grad
    same = [slopes(*_pair(table), chain, rho) == slopes(*_pair(table), chain.to_tree(), rho) for rho in (1, 2)]
    return Claim(
        "arXiv 1611.07573, Sec. 4",
        "the formulation on trees is compatible with that on chains, which are a sub-class of trees",
        "the gradients of EMD and EMD² on the chain and on the same chain as a tree, as rationals",
        Exact(all(same)),
        f"{sum(same)} of 2 are the same",
    )


def draw(table: pd.DataFrame):
    """The paper's panels below the pair; then, on a sheet of its own, what becomes of them with p and q exchanged."""
    return {"": _draw_gradients(table), "_exchanged": _draw_exchanged(table)}


def _label(loss: str) -> str:
    return loss.replace("EMD2", "EMD²").replace("SD ", "SD, λ = ")


def _draw_gradients(table: pd.DataFrame):
    heights = {"height_ratios": [0.7, 0.8, 1, 1]}
    fig, axes = style.figure(5.6, 4, 1, sharex=True, gridspec_kw=heights)
    pair = table[table.loss == "MSE"]
    axes[0].bar(pair.bin, pair.q, color=style.GREY, width=0.8, label="q")
    axes[0].plot(pair.bin, pair.p, color=style.BLACK, label="p")
    axes[0].set(ylabel="mass")
    panels = (("MSE",), ("EMD", "EMD2"), ("EMD", *(f"SD {lam:g}" for lam in LAMBDAS)))
    grads = _gradients(table)
    for axis, letter, losses in zip(axes[1:], "abc", panels, strict=True):
        for loss in losses:
            scale = 1.0 if letter == "c" else abs(grads[loss]).max()
            axis.plot(grads[loss] / scale, label=_label(loss).removeprefix("SD, "), **LOOKS[loss])
        axis.axhline(0, color=style.BLACK, linewidth=0.5)
        axis.set_ylabel("gradient (cost)" if letter == "c" else "gradient\n/ largest entry")
        style.letter(axis, letter, "SD" if letter == "c" else "")
    for axis in axes:
        axis.legend(loc="lower right", bbox_to_anchor=(1.0, 0.97), ncols=4, columnspacing=0.8, handlelength=1.4)
    axes[-1].set_xlabel("bin")
    return fig


def _draw_exchanged(table: pd.DataFrame):
    """What each gradient adds up to with that of the exchanged pair: 0 where the loss is symmetric."""
    shown = ("EMD", *(f"SD {lam:g}" for lam in reversed(LAMBDAS)))
    fig, axes = style.figure(5.2, len(shown), 1, sharex=True, sharey=True)
    there, back = _gradients(table), _gradients(table, "gradient_swapped")
    for axis, letter, loss in zip(axes, "abcd", shown, strict=True):
        axis.fill_between(np.arange(N), there[loss], -back[loss], color=style.RED, alpha=0.3, linewidth=0)
        axis.plot(there[loss], color=style.SKY, linewidth=3, label="from p to q")
        axis.plot(-back[loss], "--", color=style.BLACK, linewidth=1, label="from q to p, sign changed")
        style.letter(axis, letter, _label(loss))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    axes[-1].set_xlabel("bin")
    fig.supylabel("gradient (cost)", fontsize=8)
    return fig
