"""How good a network's answers are: the first one, all of them together, and how bad the wrong ones are.

The holistic error is the mean EMD^rho between prediction and class.  The paper does not say with which rho Figure 7(c)
is drawn, so both are measured: ``emd`` (rho = 1) and ``emd2`` (rho = 2).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from emdref import Tree
from emdref.torch import emd_loss

MEASURES = ("top1", "emd", "emd2", "severity")


class Outcomes:
    """What is measured on samples of known classes; distances and errors are in edges of the tree.

    Examples
    --------
    >>> import emdref, torch
    >>> from analysis.experiments.hierarchy.outcomes import Outcomes
    >>> outcomes = Outcomes(emdref.Tree([-1, 0, 0, 1, 1]))
    >>> outcomes(torch.tensor([[9.0, 0.0, 0.0], [9.0, 0.0, 0.0]]), torch.tensor([0, 2]))["severity"]
    3.0
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.distance = _distance(tree)

    def __call__(self, logits: Tensor, classes: Tensor) -> dict[str, float]:
        """Share of right answers, mean EMD and EMD^2 of the prediction, mean distance of wrong answers.

        The last is NaN where none is wrong, all are where a logit is no number.
        """
        if not torch.isfinite(logits).all():
            return dict.fromkeys(MEASURES, float("nan"))
        answers = logits.argmax(dim=1)
        wrong = answers != classes
        missed = self.distance[answers[wrong].cpu(), classes[wrong].cpu()]
        return {
            "top1": share(logits, classes),
            "emd": float(emd_loss(logits, classes, self.tree, 1)),
            "emd2": float(emd_loss(logits, classes, self.tree, 2)),
            "severity": float(missed.mean()),
        }


@lru_cache(maxsize=1)
def _distance(tree: Tree) -> Tensor:
    return torch.tensor(tree.distance_matrix())


def share(logits: Tensor, classes: Tensor) -> float:
    """Of right answers."""
    return float((logits.argmax(dim=1) == classes).double().mean())
