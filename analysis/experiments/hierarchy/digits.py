"""Scikit-learn's handwritten digits, 8 x 8 pixels, and a tree of them by shape: small real data that need no download.

The tree is ours: digits with a closed loop (one: 0, 6, 9; two: 8) and without (of straight strokes: 1, 4, 7; of bows:
2, 3, 5).  Every leaf has depth 3, so that distances are 2, 4 and 6 edges.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref import Tree

SHAPES = {"no loop": {"strokes": (1, 4, 7), "bows": (2, 3, 5)}, "loops": {"one": (0, 6, 9), "two": (8,)}}


def installed() -> bool:
    """Whether scikit-learn is."""
    return find_spec("sklearn") is not None


def load() -> tuple[NDArray[Any], NDArray[Any], Tree]:
    """Features float32, classes as the tree's bins, and the tree."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x.astype(np.float32), y.astype(int), tree()


def tree() -> Tree:
    """Its bins are the digits in order."""
    parent = [-1] + [0] * len(SHAPES)
    leaves = {}
    for above, kinds in enumerate(SHAPES.values(), 1):
        for digits in kinds.values():
            parent.append(above)
            leaves |= dict.fromkeys(digits, len(parent) - 1)
    return Tree([*parent, *(leaves[digit] for digit in range(10))])
