"""What spaces have in common whose bins stand one after the other, with a gap between two of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from emdref.spaces import reading
from emdref.spaces.rooted import positive_range, read_only, repeated
from emdref.spaces.space import SHORT, Immutable, Number, Space

_Kind = TypeVar("_Kind", bound="Gapped")


class Gapped(Immutable, Space):
    """Bins in order, and the costs of going from one to the next."""

    gaps: NDArray[np.float64]
    _positions: NDArray[np.float64] | None

    @property
    def n_nodes(self) -> int:
        """Number of nodes V, which are the bins."""
        return self.n_bins

    @property
    def bin_labels(self) -> NDArray[Any]:
        """Names of the bins: their positions if these were given, else their numbers."""
        return read_only(np.arange(self.n_bins)) if self._positions is None else self._positions

    @cached_property
    def repeated_gaps(self) -> tuple[NDArray[np.float64], int]:
        """Gaps as the kernels read them, entry number k times a step: all the same, or one each."""
        return repeated(self.gaps)

    @cached_property
    def cost_range(self) -> tuple[float, float]:
        """The smallest and the largest gap > 0; 1 if there is none."""
        return positive_range(self.repeated_gaps[0])

    def restrict(self: _Kind, names: Iterable[Hashable]) -> _Kind:
        """The space of some of the bins alone, at the distances that they have.

        The last of them is its root.

        Parameters
        ----------
        names : hashables
            Positions of bins, in the order of the bins.

        Returns
        -------
        Space of the same type
            Made of these positions, and of the same period.

        Raises
        ------
        TypeError
            No sequence of hashables.
        ValueError
            Names that are unknown, twice or not in the order of the bins; a space that was not made of positions.

        Examples
        --------
        >>> import emdref
        >>> emdref.Chain(positions=[0, 1, 4, 9]).restrict([0, 4, 9]).gaps
        array([4., 5.])
        """
        places = np.array(self._find(names))
        back = np.flatnonzero(np.diff(places) < 0)
        if len(back):
            k = int(back[0])
            first, second = self.bin_labels[places[k : k + 2]]
            raise ValueError(
                f"names[{k + 1}] = {second} comes after {first}, and its bin before: give names in the order of the "
                "bins, for nothing is reordered silently"
            )
        return type(self)(**self._arguments() | {"positions": self.bin_labels[places]})

    def _names(self) -> tuple[Sequence[Any], Sequence[Any]]:
        if self._positions is None:
            raise ValueError(f"{self!r} has no names: give the bins positions, {type(self).__name__}(positions=names)")
        return self._positions.tolist(), ()

    def edge_name(self, edge: int) -> str:
        """By the gap and the bin before it."""
        return f"gap {edge} (after bin {edge})"

    def as_code(self) -> str | None:
        """By the number of bins where gaps are 1, else by the gaps if they are few."""
        name = f"emdref.{type(self).__name__}"
        if (self.gaps == 1).all():
            return f"{name}({self.n_bins})"
        return f"{name}(gaps={self.gaps.tolist()})" if self.n_bins <= SHORT else None

    def exact_node_potentials(self, steps: Sequence[Number]) -> list[Number]:
        """Sums from each bin to the last; an edge that closes a ring repeats what they say."""
        return list(accumulate(reversed(steps[: self.n_bins - 1]), initial=0))[::-1]

    def with_costs(self, cost: Any) -> Space:
        """The same bins with other gaps."""
        costs = reading.checked_costs(cost, "cost")
        if len(costs) != len(self.gaps):
            raise ValueError(f"cost has {len(costs)} entries for {len(self.gaps)} gaps: give one for each")
        return type(self)(**{"gaps": costs})

    def check(self) -> None:
        """Nothing is left to be looked at: whoever makes one has done so."""

    def _content(self) -> tuple[NDArray[Any] | None, ...]:
        return self.gaps, self._positions

    def _arguments(self) -> dict[str, Any]:
        """What makes the space again."""
        if self._positions is not None:
            return {"positions": np.array(self._positions)}
        if self.gaps.strides == (0,):
            return {"n": self.n_bins}
        return {"gaps": np.array(self.gaps)}
