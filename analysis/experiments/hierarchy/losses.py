"""The losses of arXiv 1611.07573, Sec. 5.3, on logits and classes, and mixtures in other proportions.

All stand behind a softmax, whose derivative takes a constant in the gradient to 0: SD's variants ``paper`` (log u / λ)
and ``frogner`` (that without its mean) hand the network one and the same gradient, which a test shows.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from emdref import Tree
from emdref.torch import EMDLoss, SinkhornLoss

LAM, CAP = 3.0, 100  # Sec. 5
TOL = 1e-5  # one-hot targets force the plan, and Sinkhorn stands still after an iteration: no need for the other 99
Loss = Callable[[Tensor, Tensor], Tensor]


def losses(tree: Tree) -> dict[str, Loss]:
    """By name, as the paper names them: SD+CE is its 1:3, and EMD2+CE its 1:1."""
    ce, emd, emd2 = nn.CrossEntropyLoss(), EMDLoss(tree, 1, accuracy="native"), EMDLoss(tree, 2, accuracy="native")
    sd = SinkhornLoss(tree, LAM, max_iter=CAP, tol=TOL)
    return {
        "CE": ce,
        "EMD2": emd2,
        "EMD2+CE": lambda x, y: emd2(x, y) + ce(x, y),
        "0.1 EMD2+CE": lambda x, y: 0.1 * emd2(x, y) + ce(x, y),
        "10 EMD2+CE": lambda x, y: 10 * emd2(x, y) + ce(x, y),
        "SD+CE": lambda x, y: sd(x, y) + 3 * ce(x, y),
        "SD+CE 1:1": lambda x, y: sd(x, y) + ce(x, y),
        "EMD": emd,
        "SD": sd,
    }
