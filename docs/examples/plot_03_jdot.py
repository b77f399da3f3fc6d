"""
Joint-cost transport: labels for a shifted sample
=================================================

How do you label a new sample whose measurements have shifted, if only the old sample has labels?  JDOT (Courty et al.
2017, `arXiv 1705.08848 <https://arxiv.org/abs/1705.08848>`_, Eq. 5) tries labellings, and keeps the one whose pairs
(feature, label) are nearest to the old ones.  Near means the *joint cost*: the distance of two features, and a price
for changing the label.

Both samples are *simulated*: lengths of females and males at two sites, longer by 3 at the second.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linear_sum_assignment

import emdref

rng, n, price = np.random.default_rng(0), 24, 4.0
sex = np.repeat([0, 1], n // 2)
old = rng.normal(np.where(sex == 0, 10.0, 14.0), 0.8)
new = rng.normal(np.where(sex == 0, 13.0, 17.0), 0.8)  # whose sex nobody knows
assert np.array_equal(old > 12, sex)  # a limit of 12 suits the old sample,
assert np.all(new > 12)  # and calls all of the new one male

# %%
# Lengths lie on a line.  Lengths with labels lie on two lines that are joined at every length, which is no tree.  The
# tree below joins them in *one* place, in the middle.  No way on it is shorter than the joint cost, and within a label
# both are the same.  So its EMD is an upper bound, in closed form.

lengths = np.concatenate([old, new])
middle = (lengths.min() + lengths.max()) / 2
places = np.sort(np.append(lengths, middle))
inner, m = np.searchsorted(places, middle), len(places)
step = np.sign(inner - np.arange(m))  # towards the middle
parent = np.concatenate([np.arange(m) + step, m + np.arange(m) + step])
cost = np.tile(np.abs(places - places[np.arange(m) + step]), 2)
parent[m + inner], cost[m + inner] = inner, price  # where a label can change
tree = emdref.Tree(parent, cost, bins=range(2 * m))

length, label = np.tile(places, 2), np.repeat([0, 1], m)
joint, same = abs(length[:, None] - length), label[:, None] == label
joint[~same] += price
assert np.all(tree.distance_matrix() > joint - 1e-12)
assert np.allclose(tree.distance_matrix()[same], joint[same])

# %%
# A label is guessed by a limit of length, and every limit between two lengths is tried.


def histogram(x, label):
    bins = np.searchsorted(places, x) + m * label
    return np.bincount(bins, minlength=2 * m) / n


limits = (np.sort(new)[1:] + np.sort(new)[:-1]) / 2
guesses = np.array([new > limit for limit in limits]).astype(int)
candidates = [histogram(new, guess) for guess in guesses]
bound = emdref.emd(histogram(old, sex), candidates, tree)

# %%
# With equal weights, the joint cost itself is a problem of assignment, which SciPy solves in cubic time.

exact = []
for guess in guesses:
    joint = abs(old[:, None] - new) + price * (sex[:, None] != guess)
    exact.append(joint[linear_sum_assignment(joint)].mean())
best = int(np.argmin(bound))
assert np.all(bound > np.array(exact) - 1e-12)
assert best == np.argmin(exact)
assert np.isclose(bound[best], exact[best])  # the bound is exact where it matters,
assert np.any(bound > np.array(exact) + 0.1)  # if not everywhere,
assert np.array_equal(guesses[best], sex)  # and the labels are right

# %%
# Above, lines are the plan for the best labels.  Below is the distance of every labelling.  The bound and the joint
# cost choose the same one, and its labels are all right.  Far from it the bound is too large.

plt.style.use("tableau-colorblind10")
figure, (top, low) = plt.subplots(2, 1, figsize=(4.8, 5.4), layout="constrained", sharex=True)
top.axvline(12, color="0.6", linestyle=":", label="limit of old")
plan = emdref.plan(histogram(old, sex), histogram(new, guesses[best]), tree).tocoo()
for i, j in zip(plan.row, plan.col, strict=True):
    top.plot([places[i % m], places[j % m]], [1, 0], color="0.6", linewidth=1)
for x, label, y in ((old, sex, 1), (new, guesses[best], 0)):
    for value, name, marker in ((0, "female", "o"), (1, "male", "s")):
        some = x[label == value]
        top.plot(some, np.full(len(some), y), marker, color=f"C{value}", label=name if y else None)
top.set(title="the best labels and their plan", yticks=[0, 1], ylim=(-0.2, 1.55))
top.set_yticklabels(["new sample", "old sample"])
top.legend(loc="upper center", ncols=3)
low.step(limits, bound, where="mid", label="tree, closed form")
low.step(limits, exact, where="mid", linestyle="--", label="joint cost, assignment")
low.plot(limits[best], bound[best], "ko", label="the best labels")
low.set_title("the distance is least at the right labels")
low.set(xlabel="length (above), limit of length (below)", ylabel="distance from the old sample")
low.set_ylim(0, None)
low.legend(loc="lower left")
plt.show()
