"""scikit-bio's trees, by what their nodes have; scikit-bio is not imported."""

import math
from typing import Any

from emdref.arguments.messages import shown, type_name
from emdref.spaces import reading
from emdref.spaces.files.parts import Negatives, Parts, branch_costs


def parts(root: Any, negatives: Negatives) -> Parts:
    """Nodes in preorder, tips as bins; by a stack, so that depth is no limit."""
    parent: list[int] = []
    label: list[Any] = []
    length: list[float | None] = []
    tips, seen = [], set()
    stack = [(root, -1)]
    while stack:
        node, above = stack.pop()
        v = len(parent)
        for attribute in ("children", "name", "length"):
            if not hasattr(node, attribute):
                which = "node" if v == 0 else f"node {v}, a child of node {above} ({shown(label[above], 40)}),"
                raise TypeError(
                    f"{which} must be a scikit-bio TreeNode, not {type_name(node)}, which has no {attribute}: "
                    "write trees of other libraries as Newick and give Tree.from_newick the text"
                )
        if id(node) in seen:
            raise ValueError(f"node {shown(node.name, 40)} is there twice, below itself or below two nodes: no tree")
        seen.add(id(node))
        parent.append(above)
        label.append("" if node.name is None else node.name)
        length.append(None if v == 0 else _length(node.length, v, label[v], negatives))
        if not len(node.children):
            tips.append(v)
        stack.extend((child, v) for child in reversed(node.children))
    costs, notes = branch_costs(length, label, "node")
    return Parts(parent, costs, tips, label, (*notes, *negatives.notes))


def _length(value: Any, node: int, label: object, negatives: Negatives) -> float | None:
    if value is None or (type(value) is float and 0 <= value < math.inf):
        return value
    who = f"node {node} ({shown(label, 40)})"
    reading.check_number(value, f"the length of {who}")
    length = float(value)
    if 0 <= length < math.inf:
        return length
    if negatives.let(length, who):
        return 0.0
    way = f"; {negatives.WAY}" if -math.inf < length < 0 else ""
    raise ValueError(f"the length of {who} is {length}, not finite and >= 0{way}")
