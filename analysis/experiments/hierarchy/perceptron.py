"""What is trained, whatever the loss: a perceptron with one hidden layer, its optimizers and the length of a run.

Which loss it is trained with is nothing to this module, so that what is calibrated with it cannot see one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

WIDTH = 128  # hidden units
BATCH, MOMENTUM, DECAY = 512, 0.9, 1e-4  # arXiv 1611.07573, Sec. 5.3
EPOCHS = 60  # after which training curves are flat, for every number of samples
SGD, ADAM = "SGD", "Adam"  # the paper's, with momentum, and one that scales its steps: the gradients of losses differ
AT = (0.01, 0.02, 0.04, 0.08, 0.15, 0.25, 0.4, 0.6, 0.9)  # of a run: where it is measured, besides its two ends


def network(features: int, classes: int, width: int = WIDTH) -> Any:
    """With batch normalisation behind the ReLU, as in the paper's network."""
    from torch import nn

    hidden = (nn.Linear(features, width), nn.ReLU(), nn.BatchNorm1d(width))
    return nn.Sequential(*hidden, nn.Linear(width, classes))


def optimizer(name: str, rate: float, model: Any) -> Any:
    """All parameters in one kernel a step."""
    import torch

    if name == SGD:
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=MOMENTUM, weight_decay=DECAY, fused=True)
    return torch.optim.Adam(model.parameters(), lr=rate, weight_decay=DECAY, fused=True)


def measured(steps: int) -> list[int]:
    """Steps of measurements, dense at first; the last two tell whether a run still moves."""
    return sorted({0, steps, *(round(steps * share) for share in AT)})


def some(samples: int, most: int) -> Any:
    """Places of at most so many samples, evenly spread: what training accuracy is measured on."""
    return np.unique(np.linspace(0, samples - 1, min(samples, most)).round().astype(int))
