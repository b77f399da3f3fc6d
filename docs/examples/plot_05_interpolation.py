"""
Between two histograms
======================

What lies halfway between two histograms?  It depends on the distance.  Let the mass of an optimal plan stop after a
share t of its way, and it moves as a whole: this is the displacement interpolation of McCann (1997,
`doi 10.1006/aima.1997.1634 <https://doi.org/10.1006/aima.1997.1634>`_).

Or ask for the histogram whose EMD² to both ends, weighted by 1 − t and t, is least.  EMD² squares the mass that
crosses each edge, and not its way.  So it is the mixture of both: one fades while the other appears.
"""

import matplotlib.pyplot as plt
import numpy as np

import emdref

bins = np.arange(240)
chain = emdref.Chain(240)
p = np.maximum(30 - abs(bins - 45), 0.0)
q = np.maximum(15 - abs(bins - 195), 0.0)
p, q = p / p.sum(), q / q.sum()
times = np.array([0, 0.25, 0.5, 0.75, 1])

# %%
# An entry of the plan goes from bin ``row`` to bin ``col``.  On its way it is split between the two nearest bins, such
# that its centre is right.

plan = emdref.plan(p, q, chain).tocoo()


def moved(t):
    place = (1 - t) * plan.row + t * plan.col
    before = np.minimum(np.floor(place).astype(int), 238)
    share = place - before
    near = np.bincount(before, plan.data * (1 - share), 240)
    return near + np.bincount(before + 1, plan.data * share, 240)


on_the_way = np.array([moved(t) for t in times])
means = [emdref.barycenter([p, q], chain, rho=2, weights=[1 - t, t]) for t in times]
mixed = np.array(means)
assert np.allclose(mixed, [(1 - t) * p + t * q for t in times])

# %%
# EMD itself does not care: at each time, both are a share t of the distance away from p.  EMD² does: halfway, the sum
# of its values to both ends is smaller for the mixture.

for path in (on_the_way, mixed):
    away = emdref.emd(p, path, chain, mass="normalize")
    assert np.allclose(away, times * emdref.emd(p, q, chain))
    assert np.allclose(path[[0, -1]], [p, q])
halfway = np.array([on_the_way[2], mixed[2]])
squares = [emdref.emd(end, halfway, chain, rho=2, mass="normalize") for end in (p, q)]
of_moved, of_mixed = np.sum(squares, axis=0)
assert of_mixed < of_moved
middle = slice(80, 160)  # where neither p nor q has anything
assert on_the_way[2, middle].sum() > 0.99 and mixed[2, middle].sum() == 0

plt.style.use("tableau-colorblind10")
figure = plt.figure(figsize=(4.8, 4.6), layout="constrained")
axes = figure.subplots(2, 1, sharex=True, sharey=True)
titles = "along the plan", "mean of EMD²: the mixture"
colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(times)))
for axis, path, title in zip(axes, (on_the_way, mixed), titles, strict=True):
    for t, row, colour in zip(times, path, colours, strict=True):
        drawn = row.reshape(-1, 4).sum(axis=1)  # four bins as one
        axis.fill_between(bins[::4] + 1.5, drawn, color=colour, alpha=0.35, linewidth=0)
        axis.plot(bins[::4] + 1.5, drawn, color=colour, label=f"t = {t:g}")
    axis.set(title=title, ylabel="mass in 4 bins")
axes[1].set_xlabel("bin")
axes[1].legend(loc="upper center")
plt.show()
