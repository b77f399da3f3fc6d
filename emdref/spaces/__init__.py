"""The spaces that histograms live on, and what a space must offer (`emdref.spaces.space`).

A new space is a module here, and a kernel if it is to be fast.  It may import `emdref.arguments` and `emdref.kernels`.
"""

from emdref.spaces.chain import Chain
from emdref.spaces.circle import Circle
from emdref.spaces.space import Edges, Kernel, Space
from emdref.spaces.tree import Tree
from emdref.spaces.wordnet import wordnet_tree

__all__ = ["Chain", "Circle", "Edges", "Kernel", "Space", "Tree", "wordnet_tree"]
