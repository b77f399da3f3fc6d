"""How hard the simulated features are, fixed before any loss is compared.

``python -m analysis.experiments.hierarchy.calibration`` says what it rests on.
The noise is a quantity of the data: that at which cross entropy, at the best of its rates, names about a quarter of the
test samples where there are the fewest to train on (the paper's AlexNet on 50 thousand images is near that).  This
module trains with cross entropy alone and imports, directly or not, none of the modules that know another loss, which
a test asserts; what it found is `brownian.NOISE`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.experiments.hierarchy import brownian
from analysis.experiments.hierarchy.perceptron import ADAM, BATCH, EPOCHS, SGD, network, optimizer
from emdref import Tree, wordnet_tree

FEW = 4  # samples of each class: 50 thousand of 1280 thousand are 4% too
AIM, WITHIN = 0.25, (0.2, 0.3)  # of CE's answers to test samples are right
NOISES = (2.6, 2.8, 3.0, 3.2)
SETTINGS = ((SGD, 0.1), (SGD, 0.3), (ADAM, 0.003))
SEEDS = (100, 101)  # none of those with which losses are compared
TESTING = 4


def top1(tree: Tree, noise: float, setting: tuple[str, float], seed: int, epochs: int = EPOCHS) -> float:
    """Share of right answers to test samples of a network trained with cross entropy."""
    import torch
    from torch import nn

    from analysis.experiments.training.loop import Task, cosine, train

    training, _, testing = brownian.parts(tree, FEW, 1, TESTING, seed, noise)
    torch.manual_seed(seed)
    model = network(training.x.shape[1], tree.n_bins)
    x, y = (torch.tensor(some) for some in testing)

    def measure(model: Any) -> dict[str, float]:
        return {"top1": float((model(x).argmax(dim=1) == y).double().mean())}

    batch = min(BATCH, len(training.y))
    steps = epochs * (len(training.y) // batch)
    inputs, targets = (torch.tensor(some) for some in training)
    loss, way = nn.CrossEntropyLoss(), cosine(setting[1], steps)
    task = Task(model, optimizer(*setting, model), inputs, targets, loss, measure, batch, steps, {steps}, seed, way)
    return float(train(task, None, "calibration")[-1].get("top1", np.nan))


def calibrated() -> float:
    """The noise at which the line through the shares found crosses the aim; prints what it rests on."""
    tree = wordnet_tree()
    found = []
    for noise in NOISES:
        shares = {s: np.mean([top1(tree, noise, s, seed) for seed in SEEDS]) for s in SETTINGS}
        best = max(shares, key=lambda setting: shares[setting])
        found.append(shares[best])
        print(f"noise {noise:g}: CE's top-1 {found[-1]:.1%} with {best[0]} {best[1]:g}", flush=True)
    return float(np.interp(-AIM, -np.array(found), NOISES))


if __name__ == "__main__":
    print(f"noise {calibrated():.2f} for {AIM:.0%}")
