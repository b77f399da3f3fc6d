"""
A Wasserstein embedding that is exact
=====================================

Can histograms become vectors whose ordinary distance *is* the Earth Mover's Distance, so that any search tree or map
can use them?  Courty, Flamary and Ducoffe (2018, `arXiv 1710.07457 <https://arxiv.org/abs/1710.07457>`_) train a
network to find such vectors for pictures, approximately.

On chains and trees there is nothing to learn: write down, for each edge, its cost times the mass below it.  The
absolute differences of two such vectors add up to the EMD (Eqs. 5 and 13 of `arXiv 1611.07573
<https://arxiv.org/abs/1611.07573>`_).  This example needs scikit-learn and pillow.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from scipy.spatial import KDTree
from sklearn.datasets import load_sample_image

import emdref

# %%
# The histograms are those of brightness, in 32 steps, of 160 tiles of a photograph (by `danielbuechele
# <https://www.flickr.com/photos/danielbuechele/>`_, `CC BY 2.0 <https://creativecommons.org/licenses/by/2.0/>`_).
# ``emdref.flow`` gives the mass below each edge, counted from some histogram that is the same for all.

photo = load_sample_image("china.jpg").mean(axis=-1)
tiles = photo[:400, :640].reshape(10, 40, 16, 40).swapaxes(1, 2).reshape(160, 40, 40)
grey = np.array([np.histogram(tile, 32, (0, 256))[0] for tile in tiles]) / 40**2
chain = emdref.Chain(32)
vectors = chain.gaps * emdref.flow(grey, np.eye(32)[-1], chain)  # shape (160, 31)

# %%
# A search tree that knows nothing of transport finds, for each tile, the tile that EMD calls nearest.

emd = emdref.pairwise(grey, chain)
_, nearest = KDTree(vectors).query(vectors, k=2, p=1)  # p=1: sums of absolute differences
least = (emd + np.diag(np.full(160, np.inf))).min(axis=1)
assert np.allclose(emd[np.arange(160), nearest[:, 1]], least)
assert np.allclose(abs(vectors[:, None] - vectors).sum(axis=-1), emd)

tree = emdref.wordnet_tree()  # and so it is on a tree, with histograms over 1000 classes
some = np.random.default_rng(0).dirichlet(np.full(1000, 0.1), size=10)
ways = tree.cost * emdref.flow(some, some[0], tree)
assert np.allclose(abs(ways[:, None] - ways).sum(axis=-1), emdref.pairwise(some, tree))

# %%
# Square roots of such distances are even Euclidean (Schoenberg 1938, `doi 10.1090/S0002-9947-1938-1501980-0
# <https://doi.org/10.1090/S0002-9947-1938-1501980-0>`_), so that classical scaling draws a map without negative
# eigenvalues.  It puts dark tiles on the left and bright ones on the right.

centre = np.eye(160) - 1 / 160
strength, axes_of_map = np.linalg.eigh(-centre @ emd @ centre / 2)
assert strength[0] > -1e-12 * strength[-1]
x, y = (axes_of_map[:, -k] * np.sqrt(strength[-k]) for k in (1, 2))
brightness = tiles.mean(axis=(1, 2))
x *= np.sign(np.corrcoef(x, brightness)[0, 1])
assert np.corrcoef(x, brightness)[0, 1] > 0.9

plt.style.use("tableau-colorblind10")
figure = plt.figure(figsize=(4.8, 6.4), layout="constrained")
top, low = figure.subplots(2, 1, height_ratios=[1, 1.7])
one, other = np.argmin(x), np.argmin(y)
top.fill_between(range(31), vectors[one], vectors[other], step="mid", color="0.85")
for k, name in ((one, "a dark tile"), (other, "a tile in between")):
    top.plot(vectors[k], drawstyle="steps-mid", label=name)
top.legend(loc="lower right")
top.set(title=f"the area between two vectors is their EMD, {emd[one, other]:.1f}")
top.set(xlabel="edge, from dark to bright", ylabel="mass below the edge")
low.plot(x, y, ".", color="0.7")
shown = []
for k in range(160):
    if all(np.hypot(x[k] - x[i], 2 * (y[k] - y[i])) > 0.4 for i in shown):  # it hides no other
        shown.append(k)
        small = OffsetImage(tiles[k], zoom=0.4, cmap="gray", norm=plt.Normalize(0, 255))
        low.add_artist(AnnotationBbox(small, (x[k], y[k]), pad=0.1))
low.set(title="a map of the tiles by √EMD", xlabel="first axis", ylabel="second axis")
plt.show()
