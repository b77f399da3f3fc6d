"""What a file says of a tree, and what becomes of its negative costs."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal, NamedTuple

from emdref.arguments import validation
from emdref.arguments.messages import shown

Negative = Literal["raise", "zero"]


class Parts(NamedTuple):
    """The arguments of `emdref.Tree`, and what is to be warned of."""

    parent: Any
    cost: Any
    bins: Any
    labels: "Sequence[Hashable] | None"
    notes: "tuple[str, ...]" = ()


class Negatives:
    """Negative costs: none is let through, or all count as 0 and are told of at the end."""

    WAY = 'negative="zero" makes it 0'

    def __init__(self, negative: object) -> None:
        validation.option(negative, "negative", Negative)
        self._zero = negative == "zero"
        self._count, self._least, self._where = 0, 0.0, ""

    def let(self, value: float, where: str) -> bool:
        """Whether a value counts as 0: a finite one < 0, if that was asked for."""
        if not (self._zero and -float("inf") < value < 0):
            return False
        self._count += 1
        if value < self._least:
            self._least, self._where = value, where
        return True

    @property
    def notes(self) -> "tuple[str, ...]":
        """A sentence if there were some."""
        if not self._count:
            return ()
        few = "1 cost is negative and counts" if self._count == 1 else f"{self._count} costs are negative and count"
        return (f"{few} as 0, the most negative is {self._least!r} of {self._where}",)


def branch_costs(
    lengths: "Sequence[float | None]", labels: "Sequence[object]", of: str
) -> "tuple[list[float], tuple[str, ...]]":
    """Costs of all nodes, the root first: 1 if no branch has a length, else 0 for those without, and a note on them."""
    missing = [v for v, x in enumerate(lengths) if x is None and v > 0]
    if len(missing) == len(lengths) - 1:
        return [1.0] * len(lengths), ()
    note = (
        f"{of}: {len(missing)} of {len(lengths) - 1} branches have no length and cost 0, the first is "
        f"that of node {missing[0]} ({shown(labels[missing[0]])})"
        if missing
        else ""
    )
    return [x or 0.0 for x in lengths], (note,) if note else ()
