"""
Support vector machines with a kernel of EMD
============================================

Does a classifier of pictures profit from a distance that knows which pixels are neighbours?  Cuturi (2013,
`arXiv 1306.0895 <https://arxiv.org/abs/1306.0895>`_) trained support vector machines on digits with the kernel
exp(−d/t), where d is a transport distance between pictures.

Here d is the EMD on a tree of pixels, a sum of absolute differences, for which this kernel is always positive
definite.  Its rival is the Gaussian kernel, which compares pixel by pixel.  This example needs scikit-learn.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import emdref

# %%
# In the tree each row of pixels is a chain, and the middle column joins the rows.  A way along a row is as long as in
# the picture; ways between rows may be longer.  All 1797 × 1797 distances take a moment, for the tree has 64 nodes.

row, column = np.divmod(np.arange(64), 8)
parent = np.arange(64) + np.where(column == 4, 8 * np.sign(4 - row), np.sign(4 - column))
tree = emdref.Tree(parent, bins=range(64))

pixels, digit = load_digits(return_X_y=True)
shifted = np.zeros((1797, 8, 8))
shifted[:, :, 1:] = pixels.reshape(-1, 8, 8)[:, :, :-1]  # one pixel to the right
pictures = pixels / pixels.sum(axis=1, keepdims=True)
shifted = shifted.reshape(-1, 64) / shifted.sum(axis=(1, 2))[:, None]
distances = {
    "EMD on a tree": [emdref.pairwise(pictures, tree, Y=other) for other in (pictures, shifted)],
    "Gaussian": [cdist(pictures, other, "sqeuclidean") for other in (pictures, shifted)],
}

# %%
# Machines learn from a few digits of each kind, as they are, and are tested on all others, once as they are and once
# shifted.  The width t is the median distance between the training digits; means of five draws.

counts, draws, rng = [2, 4, 8, 16], 5, np.random.default_rng(0)
wrong = {name: np.zeros((2, draws, len(counts))) for name in distances}
for draw, k in np.ndindex(draws, len(counts)):
    shuffled = rng.permutation(1797)
    train = np.concatenate([shuffled[digit[shuffled] == d][: counts[k]] for d in range(10)])
    test = np.setdiff1d(np.arange(1797), train)
    for name, both in distances.items():
        among = both[0][np.ix_(train, train)]
        width = np.median(among)
        kernel = np.exp(-among / width)
        assert np.linalg.eigvalsh(kernel)[0] > 0  # positive definite
        machine = SVC(kernel="precomputed", C=100).fit(kernel, digit[train])
        for moved, d in enumerate(both):
            answer = machine.predict(np.exp(-d[np.ix_(train, test)].T / width))
            wrong[name][moved, draw, k] = 100 * np.mean(answer != digit[test])

# %%
# On digits as they are, the Gaussian kernel makes fewer errors.  A shift by one pixel to the right turns the order
# round: then the machine that knows how far pixels are apart makes fewer.

emd, gaussian = (wrong[name].mean(axis=1) for name in distances)
assert np.all(gaussian[0] < emd[0]) and np.all(emd[1] < gaussian[1])

plt.style.use("tableau-colorblind10")
figure, axes = plt.subplots(1, 2, figsize=(4.8, 3.4), layout="constrained", sharey=True)
axes[0].set_title("digits as they are")
axes[1].set_title("shifted by a pixel")
for moved, axis in enumerate(axes):
    for (name, errors), marker in zip(wrong.items(), "os", strict=True):
        (line,) = axis.plot(counts, errors[moved].mean(axis=0), marker=marker, label=name)
        axis.plot(counts, errors[moved].T, ".", color=line.get_color(), alpha=0.4)
    axis.set(xlabel="training digits of a kind", xscale="log")
    axis.set_xticks([], minor=True)
    axis.set_xticks(counts, counts)
axes[0].set(ylabel="errors (%)", ylim=(0, None))
axes[0].legend()
plt.show()
