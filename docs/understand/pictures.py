"""The pictures of docs/understand, drawn while the site is built: each function draws one, from emdref's numbers."""

import matplotlib.pyplot as plt
import numpy as np

import emdref
from analysis.engine.style import BLUE, GREEN, GREY, ORANGE, RED

plt.rcParams.update(
    {
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "legend.fontsize": 8,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
)
WIDTH = 3.6  # inches: a phone's width, so that letters keep their size there
ARROW = {"arrowstyle": "-|>", "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0}
P, Q = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])  # of the page on gauges
STEP = 0.04
BEFORE, AFTER = np.array([1, 4, 1, 0, 1, 3, 0, 0]) / 10, np.array([0, 3, 3, 0, 0, 2, 2, 0]) / 10


def chain():
    """Two histograms, and the mass that crosses each gap."""
    p, q = np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.1, 0.2, 0.2, 0.5])
    space = emdref.Chain(4)
    phi = emdref.flow(p, q, space)
    _, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 3.2), sharex=True)
    k = np.arange(4)
    above.bar(k - 0.18, p, 0.34, color=BLUE, label="p, the earth")
    above.bar(k + 0.18, q, 0.34, color=ORANGE, label="q, where it should lie")
    above.set(ylabel="mass in a bin", ylim=(0, 0.75))
    above.legend(loc="upper center", ncols=2, columnspacing=1, handlelength=1)
    below.bar(k[:3] + 0.5, phi, 0.5, color=GREEN)
    for gap, x in zip(k[:3] + 0.5, phi, strict=True):
        below.text(gap, x, f"{x:.1f}", ha="center", va="bottom")
    below.set(ylabel="mass across a gap", xlabel="bin", xticks=k, ylim=(0, 0.65))
    below.set_title(f"EMD = {' + '.join(f'{x:.1f}' for x in phi)} = {emdref.emd(p, q, space):.1f}", loc="left")


def tree():
    """The paper's Figure 1: what flows over each branch."""
    space = emdref.Tree([-1, 0, 0, 0, 1, 1])
    f, y = [0.2, 0.4, 0.2, 0.2], [0.0, 0.5, 0.5, 0.0]
    phi = emdref.flow(f, y, space)
    place = {0: (2.5, 2), 1: (0.5, 1), 4: (0, 0), 5: (1, 0), 2: (2.5, 1), 3: (4, 1)}
    _, axes = plt.subplots(figsize=(WIDTH, 2.6))
    for node, parent in enumerate(space.parent[1:], 1):
        (x, low), (to, high) = place[node], place[parent]
        up = phi[node] > 0
        axes.annotate(
            "",
            (to, high) if up else (x, low),
            (x, low) if up else (to, high),
            arrowprops=ARROW | {"color": GREEN, "linewidth": 1 + 8 * abs(phi[node]), "shrinkA": 7, "shrinkB": 7},
        )
        axes.text((x + to) / 2 + 0.12, (low + high) / 2, f"{abs(phi[node]):.1f}", ha="left", va="center")
    for node, (x, height) in place.items():
        axes.plot(x, height, "o", markersize=9, color="white", markeredgecolor=GREY)
        if node in space.bins:
            bin_ = list(space.bins).index(node)
            axes.text(x, height - 0.22, f"p {f[bin_]:.1f}\nq {y[bin_]:.1f}", ha="center", va="top", linespacing=1.3)
    axes.set(xlim=(-0.5, 4.6), ylim=(-0.85, 2.2))
    axes.set_title(f"EMD = {emdref.emd(f, y, space):.1f}, the sum over the branches", loc="left")
    axes.axis("off")


def powers():
    """EMD and EMD² while p passes q, and their slopes."""
    t = np.linspace(-0.5, 0.5, 201)
    p, q, space = np.stack([0.5 + t, 0.5 - t], axis=-1), np.array([0.5, 0.5]), emdref.Chain(2)
    _, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.3))
    for rho, colour, name in ((1, BLUE, "ρ = 1"), (2, RED, "ρ = 2")):
        panels[0].plot(t, emdref.emd(p, q, space, rho), color=colour, label=name)
        slope = emdref.emd_grad(p, q, space, rho, gauge="raw")[:, 0]
        for side in (t < -1e-9, t > 1e-9) if rho == 1 else (slice(None),):
            panels[1].plot(t[side], slope[side], color=colour)
    panels[1].plot([0, 0], [-1, 1], ":", color=BLUE)
    panels[1].plot(0, 0, "o", color=BLUE, markersize=5)
    panels[0].set(title="EMD and EMD²", ylim=(0, 0.5))
    panels[1].set(title="their slopes")
    for axes in panels:
        axes.set(xlabel="mass that must move", xticks=[-0.5, 0, 0.5])
    panels[0].legend(loc="upper center", handlelength=1)


def gauges():
    """One step against the gradient in each gauge."""
    space, k = emdref.Chain(4), np.arange(4)
    _, panels = plt.subplots(2, 2, figsize=(WIDTH, 4.0), sharex=True, sharey=True)
    for axes, gauge in zip(panels.flat, ("raw", "zero_sum", "scaled", "normalized"), strict=True):
        after = P - STEP * emdref.emd_grad(P, Q, space, gauge=gauge)
        axes.bar(k, P, 0.7, color="#B9D4E8")
        axes.hlines(Q, k - 0.35, k + 0.35, color=ORANGE, linewidth=2)
        for x, start, end in zip(k, P, after, strict=True):
            if abs(end - start) > 1e-9:
                axes.annotate("", (x, end), (x, start), arrowprops=ARROW | {"color": BLUE, "mutation_scale": 8})
            else:
                axes.plot(x, start, "o", color=BLUE, markersize=3)
        axes.set_title(f"{gauge}\ntotal 1 becomes {after.sum():.2f}", loc="left")
        axes.set(xticks=k)
    for axes in panels[1]:
        axes.set_xlabel("bin")
    for axes in panels[:, 0]:
        axes.set_ylabel("mass")


def roots():
    """The same chain, rooted at either end."""
    rooted = {"root at bin 3": emdref.Chain(4), "root at bin 0": emdref.Tree([-1, 0, 1, 2], bins=[0, 1, 2, 3])}
    _, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.3), sharey=True)
    for axes, gauge in zip(panels, ("raw", "zero_sum"), strict=True):
        for (name, space), (look, colour) in zip(rooted.items(), (("o-", BLUE), ("s--", RED)), strict=True):
            axes.plot(range(4), emdref.emd_grad(P, Q, space, gauge=gauge), look, color=colour, label=name, markersize=4)
        axes.axhline(0, color=GREY, linewidth=0.7)
        axes.set_title(gauge, loc="left")
        axes.set(xlabel="bin", xticks=range(4))
    panels[0].set_ylabel("entry of the gradient")
    panels[1].legend(loc="lower left", handlelength=1.5, borderpad=0)


def plans():
    """What Sinkhorn moves for three λ, beside an optimal plan."""
    p, q = BEFORE, AFTER
    space = emdref.Chain(8)
    moved = {}
    for lam in (0.3, 1.0, 10.0):
        r = emdref.sinkhorn(p, q, space, lam, max_iter=3000, domain="log")
        moved[f"λ = {lam:g}"] = np.exp(r.log_u[:, None] + r.log_v - lam * space.distance_matrix() - 1), r.value
    moved["EMD"] = emdref.plan(p, q, space).toarray(), emdref.emd(p, q, space)
    _, panels = plt.subplots(2, 2, figsize=(WIDTH, 3.9), sharex=True, sharey=True)
    for axes, (name, (plan, value)) in zip(panels.flat, moved.items(), strict=True):
        axes.imshow(np.sqrt(plan), cmap="Blues")
        axes.set_title(f"{name}: {value:.3f}", loc="left")
        axes.set(xticks=range(8), yticks=range(8))
    for axes in panels[1]:
        axes.set_xlabel("to bin")
    for axes in panels[:, 0]:
        axes.set_ylabel("from bin")
