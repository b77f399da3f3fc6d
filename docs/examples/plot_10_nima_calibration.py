"""
Calibrating a score with a distribution behind it
=================================================

A model predicts how people will rate a photograph, from 1 to 10: how do you correct it, if it is too sure of itself and
too kind?  NIMA (Talebi and Milanfar 2018, `arXiv 1709.05424 <https://arxiv.org/abs/1709.05424>`_) predicts the whole
distribution of ratings, trains with the root of EMD² / 10, and reports the mean.

Here three numbers are fitted behind a finished model by minimising EMD² with exact gradients.  Raters and model are
*simulated*.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

import emdref

# %%
# Each of 300 photographs has 50 ratings around a merit of its own.  The model knows the merit roughly, adds almost a
# point, and gives a narrow distribution.

rng, rating, chain = np.random.default_rng(0), np.arange(1, 11), emdref.Chain(10)
merit = rng.normal(5.3, 1.2, 300)
votes = np.clip(np.rint(merit[:, None] + rng.normal(0, 1.5, (300, 50))), 1, 10).astype(int)
rated = np.array([np.bincount(row, minlength=11)[1:] for row in votes]) / 50
believed = 1.2 * merit - 0.2 + rng.normal(0, 0.4, 300)
logits = -(((rating - believed[:, None]) / 0.8) ** 2) / 2
learn, test = slice(0, 150), slice(150, 300)

# %%
# The correction multiplies the logits by one number and adds a parabola in the rating to them.  A constant would not
# change the softmax, so that the parabola has two numbers.

ramp = np.stack([(rating - 5.5) / 4.5, ((rating - 5.5) / 4.5) ** 2])


def corrected(numbers, rows):
    return numbers[0] * logits[rows] + numbers[1:] @ ramp


def loss(numbers):
    z = corrected(numbers, learn)
    p = emdref.normalize.softmax(z)
    value, slope = emdref.emd_value_and_grad(p, rated[learn], chain, rho=2)
    slope = emdref.normalize.softmax.vjp(z, slope) / len(z)
    return value.mean(), np.array([(slope * logits[learn]).sum(), *(ramp @ slope.sum(axis=0))])


fit = minimize(loss, [1.0, 0.0, 0.0], jac=True, method="BFGS")
assert fit.success

# %%
# On the photographs that were not used for fitting, both the distributions and the mean scores come nearer to the
# ratings.

before, after = (emdref.normalize.softmax(corrected(x, test)) for x in (np.eye(3)[0], fit.x))
square = [emdref.emd(p, rated[test], chain, rho=2).mean() for p in (before, after)]
off = [abs((p - rated[test]) @ rating).mean() for p in (before, after)]
assert square[1] < square[0] / 2 and off[1] < off[0]

plt.style.use("tableau-colorblind10")
figure = plt.figure(figsize=(4.8, 6.8), layout="constrained")
top, low = figure.subplots(2, 1, height_ratios=[1.6, 1])
shown = np.argmin(abs(merit[test] - 6))
low.bar(rating, rated[test][shown], color="0.75", label="ratings")
for p, marker, name, value in ((before, "o", "before", off[0]), (after, "s", "after", off[1])):
    label = f"{name}: off by {value:.2f}"
    top.plot(rated[test] @ rating, p @ rating, marker, markersize=4, alpha=0.7, label=label)
    low.plot(rating, p[shown], marker + "-", markersize=4, label=name)
top.plot([1, 10], [1, 10], color="0.5", linewidth=1)
top.set(xlabel="mean of the ratings", ylabel="mean of the prediction")
top.set(title="mean scores of 150 photographs", xlim=(1.5, 9.5), ylim=(1.5, 9.9))
top.legend()
low.set(xlabel="rating", ylabel="share", xticks=rating, title="one of them")
low.legend()
plt.show()
