"""Runs cells that are not in the store yet, stores each as it finishes, and shows how far it is."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

from tqdm import tqdm

from analysis.engine.cells import Cell
from analysis.engine.store import Store
from analysis.engine.workers import Outcome, Threads, Workers


class Progress:
    """A bar in seconds of work, with the rate of cells and an estimate of the time left.

    A cell's weight is a guess. What cells of one function took, over what was guessed, corrects the guess for the rest;
    at first the guess counts for a tenth of all that function's work, so that one slow cell (the first compiles) does
    not make days of minutes.
    """

    def __init__(self, cells: Sequence[Cell], workers: Workers) -> None:
        layout = "{desc:18s} {percentage:3.0f}%|{bar}| {elapsed} elapsed{postfix}"
        self._workers, self._left = workers, {cell.key(): cell for cell in cells}
        self._guessed: dict[str, float] = {}  # by function: seconds guessed of finished cells, and seconds taken
        self._taken: dict[str, float] = {}
        self._done, self._count = 0, len(cells)
        self._bar = tqdm(total=sum(cell.weight for cell in cells), bar_format=layout)

    def title(self, name: str) -> None:
        self._bar.set_description_str(name)

    def expect(self, cells: Sequence[Cell]) -> None:
        """More work than was known at first."""
        self._bar.total += sum(cell.weight for cell in cells)
        self._count += len(cells)
        self._left |= {cell.key(): cell for cell in cells}

    def advance(self, cell: Cell, seconds: float = 0.0) -> None:
        """A cell is finished; it took so many seconds, or 0 if another process had done it."""
        self._done += 1
        self._left.pop(cell.key(), None)
        if seconds:
            self._guessed[cell.function] = self._guessed.get(cell.function, 0.0) + cell.weight
            self._taken[cell.function] = self._taken.get(cell.function, 0.0) + seconds
        left = self.seconds_left()
        about = f"about {tqdm.format_interval(left)} left, " if left else ""
        self._bar.set_postfix_str(f"{about}cell {self._done} of {self._count}", refresh=False)
        self._bar.update(min(cell.weight, self._bar.total - self._bar.n))

    def seconds_left(self) -> float:
        """What is left of the work; 0 if there is none, or nothing is known of it yet."""
        if not self._taken:
            return 0.0
        weight: dict[tuple[str, bool], float] = {}
        for cell in self._left.values():
            weight[cell.function, cell.alone] = weight.get((cell.function, cell.alone), 0.0) + cell.weight
        return sum(
            left * self._correction(function, left) / (1 if alone else self._workers.at_once())
            for (function, alone), left in weight.items()
        )

    def _correction(self, function: str, left: float) -> float:
        guessed, taken = self._guessed.get(function, 0.0), self._taken.get(function, 0.0)
        trust = 0.1 * (guessed + left)
        return (taken + trust) / (guessed + trust) if trust else 1.0

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
        progress.advance(outcome.cell, outcome.seconds)
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
