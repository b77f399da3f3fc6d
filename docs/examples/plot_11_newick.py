"""
Your own tree in Newick
=======================

Where does a classifier put its probability on a hierarchy of your own, and what does each mistake cost?  Write the
hierarchy in Newick, the format that programs for phylogenies share: brackets hold the children of a node, and a colon
comes before the length of the branch above it.

The EMD is the sum, over all branches, of the length times the probability that must cross it (Eq. 13 of `arXiv
1611.07573 <https://arxiv.org/abs/1611.07573>`_).  The picture shows both.
"""

import matplotlib.pyplot as plt
import numpy as np

import emdref

# %%
# A relationship of apes, with branch lengths in millions of years, rounded for this example.  The answer is *gorilla*.

tree = emdref.Tree.from_newick("((((chimpanzee:2,bonobo:2):4,human:6):2,gorilla:8):8,orangutan:16);")
probability = {"chimpanzee": 0.3, "bonobo": 0.1, "human": 0.0, "gorilla": 0.45, "orangutan": 0.15}
p = np.array([probability[name] for name in tree.bin_labels])
q = (tree.bin_labels == "gorilla").astype(float)

# %%
# ``flow`` gives, for each node, how much of p − q is below it.  If that is positive, as much goes up the branch above
# the node; if negative, it comes down.  ``certify`` proves the value in exact arithmetic.

value, flow = emdref.emd(p, q, tree), emdref.flow(p, q, tree)
assert np.isclose((tree.cost * abs(flow)).sum(), value)
proof = emdref.certify(p, q, tree)
assert proof.verify() and proof.lower <= value <= proof.upper

# %%
# A node is drawn in the middle of its children, and as far to the right as it is from the root.  Wide branches carry
# much, and the number on a branch is its part of the sum.

children = [np.flatnonzero(tree.parent == node) for node in range(tree.n_nodes)]
x, y = np.zeros(tree.n_nodes), np.zeros(tree.n_nodes)
y[tree.bins] = np.arange(tree.n_bins)[::-1]
inner = [node for node in range(tree.n_nodes) if len(children[node])]
for node in range(1, tree.n_nodes):  # Newick's order: parents before children
    x[node] = x[tree.parent[node]] + tree.cost[node]
for node in inner[::-1]:
    y[node] = y[children[node]].mean()

plt.style.use("tableau-colorblind10")
plt.rcParams["lines.solid_capstyle"] = "butt"
figure, axis = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
for node in inner:
    axis.plot([x[node]] * 2, [y[children[node]].min(), y[children[node]].max()], color="0.6")
for node in range(1, tree.n_nodes):
    start, mass = x[tree.parent[node]], abs(flow[node])
    colour = "C0" if flow[node] > 0 else "C1"
    axis.plot([start, x[node]], [y[node]] * 2, color="0.6")
    axis.plot([start, x[node]], [y[node]] * 2, color=colour, linewidth=20 * mass)
    if mass:
        above = y[node] + 0.08 + 0.25 * mass
        axis.text((start + x[node]) / 2, above, f"{tree.cost[node] * mass:.2g}", ha="center")
for node, name, share in zip(tree.bins, tree.bin_labels, p, strict=True):
    axis.text(x[node] + 0.4, y[node], f"{name} {share:g}", va="center")
for colour, label in (("C0", "goes up"), ("C1", "comes down")):
    axis.plot([], [], color=colour, linewidth=6, label=label)
axis.legend(loc="upper left")
axis.set(title=f"EMD from the answer: {value:.3g} million years", xlim=(-0.5, 24), ylim=(-0.6, 4.6))
axis.set(xlabel="length from the root", yticks=[], xticks=[0, 8, 16])
axis.spines[["left", "top", "right"]].set_visible(False)
plt.show()
