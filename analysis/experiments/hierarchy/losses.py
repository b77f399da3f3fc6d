"""The losses of arXiv 1611.07573, Sec. 5.3, on logits and classes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from emdref import Tree
from emdref.torch import EMDLoss, SinkhornLoss

LAM, CAP = 3.0, 100  # Sec. 5
TOL = 1e-5  # one-hot targets force the plan, and Sinkhorn stands still after an iteration: no need for the other 99
Loss = Callable[[Tensor, Tensor], Tensor]


def losses(tree: Tree) -> dict[str, Loss]:
    """By name, as the paper names and weighs them."""
    ce, emd, emd2 = nn.CrossEntropyLoss(), EMDLoss(tree, 1, accuracy="native"), EMDLoss(tree, 2, accuracy="native")
    sd = SinkhornLoss(tree, LAM, max_iter=CAP, tol=TOL)
    return {
        "CE": ce,
        "EMD2": emd2,
        "EMD2+CE": lambda x, y: emd2(x, y) + ce(x, y),
        "SD+CE": lambda x, y: sd(x, y) + 3 * ce(x, y),
        "EMD": emd,
        "SD": sd,
    }
