"""Runs cells that are not in the store yet, stores each as it finishes, and shows how far it is."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

from tqdm import tqdm

from analysis.cells import Cell
from analysis.store import Store
from analysis.workers import Outcome, Threads, Workers


class Progress:
    """A bar in seconds of work, with the rate of cells and an estimate of the time left."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        layout = "{desc:18s} {percentage:3.0f}%|{bar}| {elapsed} elapsed, about {remaining} left{postfix}"
        self._bar = tqdm(total=sum(cell.weight for cell in cells), bar_format=layout)
        self._done, self._count = 0, len(cells)

    def title(self, name: str) -> None:
        self._bar.set_description_str(name)

    def expect(self, cells: Sequence[Cell]) -> None:
        """More work than was known at first."""
        self._bar.total += sum(cell.weight for cell in cells)
        self._count += len(cells)

    def advance(self, cell: Cell) -> None:
        self._done += 1
        rate = self._done / max(self._bar.format_dict["elapsed"], 1e-9)
        self._bar.set_postfix_str(f"cell {self._done} of {self._count}, {rate:.2g} cells/s", refresh=False)
        self._bar.update(min(cell.weight, self._bar.total - self._bar.n))

    def close(self) -> None:
        self._bar.close()


def missing(cells: Iterable[Cell], store: Store) -> list[Cell]:
    """The cells that are not in the store, each once, the dearest first."""
    unique = {cell.key(): cell for cell in cells}
    return sorted((cell for cell in unique.values() if store.get(cell) is None), key=lambda cell: -cell.weight)


def fill(cells: Iterable[Cell], store: Store, workers: Workers, progress: Progress) -> list[Outcome]:
    """Compute and store what is missing; the outcomes that are errors.

    An error in one cell does not stop the others.
    """
    failed = []
    for outcome in _outcomes(missing(cells, store), store, workers, progress):
        if outcome.error is None:
            store.put(outcome.cell, outcome.rows, outcome.seconds)
        else:
            if repr(outcome.error) not in {repr(other.error) for other in failed}:  # once is enough
                tqdm.write("".join(traceback.format_exception(outcome.error)), file=sys.stderr)
            failed.append(outcome)
        progress.advance(outcome.cell)
    return failed


def _outcomes(todo: list[Cell], store: Store, workers: Workers, progress: Progress) -> Iterator[Outcome]:
    def wanted(cell: Cell) -> bool:
        if store.get(cell) is None:
            return True
        progress.advance(cell)  # another process has finished it meanwhile
        return False

    yield from workers.outcomes((cell for cell in todo if not cell.alone), wanted)
    with closing(Threads(1)) as one:  # timings: here, with nothing beside them
        yield from one.outcomes((cell for cell in todo if cell.alone), wanted)
