"""
EMD pooling: which words of an answer match
===========================================

How can a teacher see why one short answer got a better mark than another?  Kumar et al. (2017,
`doi 10.24963/ijcai.2017/284 <https://doi.org/10.24963/ijcai.2017/284>`_) grade an answer by the transport plan between
its words and those of a model answer, and show the plan as a heat map.

Their words are states of a trained network.  Ours are nouns in WordNet's tree, so that the plan is exact and its
distances are steps that anyone can count.
"""

import matplotlib.pyplot as plt
import numpy as np

import emdref

# %%
# The question is: *which instruments have strings?*  The four words of the model answer weigh a quarter each,
# the three words of a student's a third each.

NUMBERS = {
    "violin": "n04536866", "cello": "n02992211", "harp": "n03495258", "acoustic guitar": "n02676566",
    "banjo": "n02787622", "electric guitar": "n03272010",
    "trombone": "n04487394", "espresso": "n07920052", "bagel": "n07693725",
}  # fmt: skip
words, tree = list(NUMBERS), emdref.wordnet_tree().restrict(list(NUMBERS.values()))
model = ["violin", "cello", "harp", "acoustic guitar"]
answers = {
    "a good answer": ["violin", "banjo", "electric guitar"],
    "a poor answer": ["trombone", "espresso", "bagel"],
}


def shares(nouns):
    return np.array([nouns.count(word) / len(nouns) for word in words])


# %%
# A dark cell carries much mass.  The number in it is how many steps apart the two words are.  What can stay stays:
# *violin* meets *violin* at no cost.  Both plans move everything there is, so that the colours alone do not tell the
# answers apart.  The distance does.

plt.style.use("tableau-colorblind10")
figure, axes = plt.subplots(2, 1, figsize=(4.8, 6.2), layout="constrained")
steps, distance = tree.distance_matrix(), {}
rows = [words.index(word) for word in model]
for axis, (name, answer) in zip(axes, answers.items(), strict=True):
    columns = [words.index(word) for word in answer]
    plan = emdref.plan(shares(model), shares(answer), tree).toarray()
    distance[name] = emdref.emd(shares(model), shares(answer), tree)
    assert np.isclose(plan.sum(), 1)
    assert np.isclose((plan * steps).sum(), distance[name])
    part, apart = plan[np.ix_(rows, columns)], steps[np.ix_(rows, columns)]
    image = axis.imshow(part, cmap="Blues", vmin=0, vmax=1 / 4, aspect="auto")
    for i, j in np.ndindex(part.shape):
        colour = "white" if part[i, j] > 0.15 else "black"
        axis.text(j, i, f"{apart[i, j]:g}", ha="center", va="center", color=colour)
    axis.set_yticks(range(4), model)
    axis.set_xticks(range(3), [word.replace(" ", "\n") for word in answer])
    axis.set_title(f"{name}: {distance[name]:.3g} steps")
figure.colorbar(image, ax=axes, label="mass from row to column", shrink=0.5)
violin = words.index("violin")
assert emdref.plan(shares(model), shares(answers["a good answer"]), tree)[violin, violin] == 1 / 4
assert distance["a good answer"] < distance["a poor answer"]
plt.show()
