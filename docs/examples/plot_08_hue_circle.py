"""
Hues of two pictures on a circle
================================

How far apart are the colours of two photographs?  A hue is an angle, and a histogram of hues has no first bin: between
red at 359° and red at 1° lie two degrees.

Rabin, Delon and Gousseau (2009, `arXiv 0906.5499 <https://arxiv.org/abs/0906.5499>`_) give the EMD on a circle.  On a
chain the answer depends on where the ring is cut, here by a factor of more than four.  This example needs scikit-learn
and pillow.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import rgb_to_hsv
from sklearn.datasets import load_sample_image

import emdref

# %%
# Each pixel votes for its hue, as strongly as it is colourful (saturation times value), in 36 bins of 10°.  The
# photographs are by `danielbuechele <https://www.flickr.com/photos/danielbuechele/>`_ and `vultilion
# <https://www.flickr.com/photos/vultilion/>`_, both `CC BY 2.0 <https://creativecommons.org/licenses/by/2.0/>`_.

names = "china.jpg", "flower.jpg"
pictures = [load_sample_image(name)[::2, ::2] for name in names]


def hues(picture):
    hue, saturation, value = np.moveaxis(rgb_to_hsv(picture / 255), -1, 0)
    votes = np.histogram(hue, 36, (0, 1), weights=saturation * value)[0]
    return votes / votes.sum()


p, q = (hues(picture) for picture in pictures)

# %%
# The ring is cut before each bin in turn.  No cut changes the distance on the circle, and no chain is shorter.

circle = emdref.Circle(gaps=np.full(36, 10.0))  # degrees
chain = emdref.Chain(gaps=np.full(35, 10.0))
cuts = [(np.roll(p, -cut), np.roll(q, -cut)) for cut in range(36)]
around = np.array([emdref.emd(*pair, circle) for pair in cuts])
along = np.array([emdref.emd(*pair, chain) for pair in cuts])
assert np.allclose(around, around[0]) and np.all(along > around - 1e-9)
assert along.max() > 4 * around[0]

# %%
# The area of a wedge is the share of its hues.

plt.style.use("tableau-colorblind10")
figure = plt.figure(figsize=(4.8, 6.4), layout="constrained")
figure.get_layout_engine().set(wspace=0.15)
grid = figure.add_gridspec(3, 2, height_ratios=[1, 1.5, 1.3])
angle = np.deg2rad(10 * np.arange(36) + 5)
colours = plt.get_cmap("hsv")(angle / (2 * np.pi))  # each wedge in its hue
for k, (picture, histogram, name) in enumerate(zip(pictures, (p, q), names, strict=True)):
    photo = figure.add_subplot(grid[0, k])
    photo.imshow(picture)
    photo.axis("off")
    photo.set_title(name)
    ring = figure.add_subplot(grid[1, k], projection="polar")
    ring.bar(angle, np.sqrt(histogram), width=np.deg2rad(10), color=colours)
    ring.set(yticks=[], xticks=np.deg2rad([0, 90, 180, 270]))
low = figure.add_subplot(grid[2, :])
low.plot(10 * np.arange(36), along, drawstyle="steps-mid", label="chain")
low.plot(10 * np.arange(36), around, "--", label="circle")
low.set_title(f"{around[0]:.0f}° apart on the circle, {along.min():.0f}° to {along.max():.0f}° on chains")
low.set(xlabel="hue at which the ring is cut (°)", ylabel="EMD (°)")
low.set(ylim=(0, None), xticks=range(0, 361, 90))
low.legend(loc="upper right")
plt.show()
