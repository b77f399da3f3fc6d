"""
Word mover's distance on WordNet
================================

Which of two sentences says nearly the same as a third, if they share no word?  The *word mover's distance* (Kusner et
al. 2015, `PMLR 37:957 <https://proceedings.mlr.press/v37/kusnerb15.html>`_) gives each word an equal share of its
sentence, and asks how far the shares must travel to become those of the other sentence.

Kusner's distances are those of trained word vectors.  Here they are steps in WordNet's tree of nouns, where the
cheapest way is known in closed form.
"""

import matplotlib.pyplot as plt
import numpy as np

import emdref

# %%
# emdref brings the tree of the 1000 ImageNet classes, whose nodes are called by their numbers in WordNet 3.0.  A noun
# may stand for a class, like *tabby*, or for a group of classes, like *cat*.  So every node is a bin here.

NUMBERS = {
    "tabby": "n02123045", "robin": "n01558993", "grand piano": "n03452741",
    "cat": "n02121620", "jay": "n01580077", "goldfinch": "n01531178", "organ": "n03854065",
    "pizza": "n07873807", "bagel": "n07693725", "espresso": "n07920052", "dining table": "n03201208",
}  # fmt: skip
wordnet = emdref.wordnet_tree()
nodes = range(wordnet.n_nodes)
every_noun = emdref.Tree(wordnet.parent, wordnet.cost, bins=nodes, labels=wordnet.labels)
tree = every_noun.restrict(list(NUMBERS.values()))  # a bin for each noun, in this order
words = list(NUMBERS)

sentence = ["tabby", "robin", "grand piano"]  # "A tabby watches a robin from the grand piano."
others = [
    ["cat", "jay", "goldfinch", "organ"],  # "On the organ, a cat hears a jay and a goldfinch."
    ["pizza", "bagel", "espresso", "dining table"],  # "Pizza, bagel and espresso are on the dining table."
]


def shares(nouns):
    return np.array([nouns.count(word) / len(nouns) for word in words])


# %%
# The plan says which share of which word goes where.  A line is as wide as what it carries, and the number on it counts
# the steps.  Counting words in common cannot tell the two sentences apart: there are none.

plt.style.use("tableau-colorblind10")
figure, axes = plt.subplots(2, 1, figsize=(4.8, 5.6), layout="constrained")
steps, found = tree.distance_matrix(), []
for axis, other in zip(axes, others, strict=True):
    p, q = shares(sentence), shares(other)
    distance, plan = emdref.emd(p, q, tree), emdref.plan(p, q, tree).tocoo()
    assert not set(sentence) & set(other)
    cost = (plan.data * steps[plan.row, plan.col]).sum()
    assert np.isclose(cost, distance)  # of the plan, and by the closed form
    left = dict(zip(sentence, np.linspace(1, 0, len(sentence)), strict=True))
    right = dict(zip(other, np.linspace(1, 0, len(other)), strict=True))
    for k, (i, j, mass) in enumerate(zip(plan.row, plan.col, plan.data, strict=True)):
        y, z = left[words[i]], right[words[j]]
        x = 0.2 if i != plan.row[k - 1] else 0.35  # where the number stands
        axis.plot([0, 1], [y, z], color="C0", linewidth=24 * mass, alpha=0.6)
        box = {"facecolor": "white", "linewidth": 0, "pad": 1}
        axis.text(x, y + x * (z - y), f"{steps[i, j]:g}", ha="center", va="center", bbox=box)
    for names, x, side in ((left, -0.05, "right"), (right, 1.05, "left")):
        for word, y in names.items():
            axis.text(x, y, word, ha=side, va="center")
    axis.set(xlim=(-0.45, 1.5), ylim=(-0.15, 1.15), title=f"{distance:.1f} steps apart in WordNet")
    axis.axis("off")
    found.append(distance)
assert found[0] < found[1] / 2  # animals and instruments are less than half as far
plt.show()
