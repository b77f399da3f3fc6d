"""
Ratings in an order
===================

Which of two wrong predictions is worse, if classes have an order?  A patient rates a treatment *good*.  Two models give
that rating the same probability.  One spreads the rest over its neighbours, the other over the far end of the scale.

Cross-entropy sees the probability of the true class and nothing else.  EMD² also sees how far off the rest is: it
adds up, over the steps of the scale, their length times the square of the mass that must take them.  Hou, Yu and
Samaras (2016, `arXiv 1611.05916 <https://arxiv.org/abs/1611.05916>`_) train with it to tell ages from faces.
"""

import matplotlib.pyplot as plt
import numpy as np

import emdref

# %%
# Steps between ratings need not be equal.  Here *poor* and *fair* are twice as far apart as other neighbours.

ratings = ["bad", "poor", "fair", "good", "great"]
scale = emdref.Chain(gaps=[1.0, 2.0, 1.0, 1.0])
truth = np.array([0.0, 0.0, 0.0, 1.0, 0.0])
predictions = {
    "near": np.array([0.02, 0.03, 0.25, 0.55, 0.15]),
    "far": np.array([0.25, 0.15, 0.03, 0.55, 0.02]),
}

# %%
# A network that ends in a softmax moves its logits against the gradient.  Cross-entropy pushes a wrong rating down by
# its probability, wherever it stands.  EMD² pushes *bad* down harder than that, and even lifts *fair* and *great* a
# little in the second model, for mass there would be nearer to the truth than it is now.

plt.style.use("tableau-colorblind10")
figure = plt.figure(figsize=(4.8, 5.2), layout="constrained")
axes = figure.subplots(2, 2, sharex=True, sharey="row")
value, push = {}, {}
for (name, p), (above, below) in zip(predictions.items(), axes.T, strict=True):
    entropy, by_entropy = emdref.losses.cross_entropy(p, truth)
    square, by_square = emdref.emd_value_and_grad(p, truth, scale, rho=2)
    value[name] = entropy, square
    logits = np.log(p)
    push[name] = [-emdref.normalize.softmax.vjp(logits, g) for g in (by_entropy, by_square)]
    assert np.allclose(push[name][0], truth - p)
    above.bar(ratings, p, color=["0.6", "0.6", "0.6", "C0", "0.6"])
    above.set_title(f"{name} misses\nCE {entropy:.2f}, EMD² {square:.2f}")
    below.bar(np.arange(5) - 0.2, push[name][0], width=0.4, label="CE")
    below.bar(np.arange(5) + 0.2, push[name][1], width=0.4, label="EMD²")
    below.axhline(0, color="black", linewidth=0.8)
    below.tick_params(axis="x", rotation=60)
axes[0, 0].set_ylabel("probability")
axes[1, 0].set_ylabel("push on the logit")
axes[1, 0].legend(loc="lower right")
assert np.isclose(value["near"][0], value["far"][0])
assert value["near"][1] < value["far"][1] / 4
entropy, square = push["far"]
assert square[0] < entropy[0] and entropy[2] < 0 < square[2] and entropy[4] < 0 < square[4]
plt.show()
