"""Where cells are computed: threads of this process, or a Dask cluster."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, NamedTuple, Protocol

from tqdm import tqdm

from analysis.engine import cells
from analysis.engine.cells import Cell

PATIENCE = 10.0  # seconds until a scheduler that does not answer is not there


class Outcome(NamedTuple):
    """What became of a cell: its rows as JSON and the seconds it took, or the error that it raised."""

    cell: Cell
    rows: str | None
    seconds: float
    error: BaseException | None = None


class Workers(Protocol):
    """Something that computes cells side by side."""

    def at_once(self) -> int:
        """How many cells are computed side by side."""

    def describe(self, seconds: float) -> str:
        """How long so much work of one thread may take here."""

    def outcomes(self, work: Iterable[Cell], wanted: Callable[[Cell], bool]) -> Iterator[Outcome]:
        """Outcomes as they come; a cell that is no longer wanted when its turn comes is left out."""

    def close(self) -> None:
        """Begin nothing more, and do not wait for what still runs."""


def timed(function: str, parameters: dict[str, Any], code: str) -> tuple[str, float]:
    """Rows of a cell and the seconds they took."""
    start = time.perf_counter()
    return cells.compute(function, parameters, code), time.perf_counter() - start


class Threads:
    """Up to `jobs` cells at once in this process; the kernels, BLAS and NumPy's loops release the interpreter."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._pool = ThreadPoolExecutor(jobs)

    def at_once(self) -> int:
        return self.jobs

    def describe(self, seconds: float) -> str:
        return f"about {seconds / self.jobs:.0f} s of work with {self.jobs} at once"

    def outcomes(self, work: Iterable[Cell], wanted: Callable[[Cell], bool]) -> Iterator[Outcome]:
        running: dict[Future, Cell] = {}
        for cell in (cell for cell in work if wanted(cell)):
            running[self._pool.submit(timed, cell.function, cell.parameters, cells.code(cell.function))] = cell
            if len(running) == self.jobs:
                yield from _finished(running)
        while running:
            yield from _finished(running)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _finished(running: dict[Future, Cell]) -> Iterator[Outcome]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        yield _outcome(future.result, running.pop(future))


def _outcome(result: Callable[[], tuple[str, float]], cell: Cell) -> Outcome:
    try:
        return Outcome(cell, *result())
    except Exception as error:
        return Outcome(cell, None, 0.0, error)


class Cluster:
    """The workers of a Dask scheduler, which must have the same clone and the same packages.

    A cell whose worker dies is given to another; Dask gives up on a cell that has killed several workers.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
            from threadpoolctl import threadpool_limits  # noqa: F401  (the workers need it)
        except ImportError as error:
            raise RuntimeError(
                f"--scheduler needs the extra: python3 -m pip install --editable '.[dask]' ({error})"
            ) from None
        try:
            self._client = Client(address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise RuntimeError(
                f"--scheduler {address}: no Dask scheduler answers there ({error}); start one with 'dask scheduler'"
            ) from None
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what is wrong is said here
        self.address = address
        self._looked, self._waiting, self._seen = 0.0, False, 1

    def at_once(self) -> int:
        return self._seen

    def describe(self, seconds: float) -> str:
        threads = self._threads()
        if threads == 0:
            self._waiting = True
            return self._appeal()
        return f"about {seconds / threads:.0f} s of work on {self.address} with {threads} worker threads"

    def outcomes(self, work: Iterable[Cell], wanted: Callable[[Cell], bool]) -> Iterator[Outcome]:
        from distributed import as_completed

        futures = {
            self._client.submit(
                on_worker, cell.function, cell.parameters, cells.code(cell.function), key=cell.key(), pure=False
            ): cell
            for cell in work
            if wanted(cell)
        }
        ready = as_completed(futures, loop=self._client.loop)
        while futures:
            for future in ready.next_batch(block=False) or self._rest():
                outcome = _outcome(partial(self._result, future), futures[future])
                if future.cancelled():  # which only a scheduler that is gone does
                    raise RuntimeError(
                        f"--scheduler {self.address}: the connection is lost; what is finished is stored, the same "
                        "command goes on from there once a scheduler answers"
                    )
                yield outcome
                del futures[future]
                future.release()

    def _result(self, future: Any) -> tuple[str, float]:
        """What the future holds; if the worker that had it is gone, another computes it again."""
        while True:
            try:
                return future.result(timeout=10)
            except asyncio.TimeoutError:  # Python 3.10 has several
                if future.status == "error":  # the cell's own
                    raise
                self._rest()

    def _rest(self) -> list[Any]:
        """Nothing for a moment; say so once when no worker is left."""
        time.sleep(0.05)
        if time.monotonic() > self._looked + 2:
            self._looked, waiting = time.monotonic(), self._threads() == 0
            if waiting and not self._waiting:
                tqdm.write(self._appeal(), file=sys.stderr)
            self._waiting = waiting
        return []

    def _threads(self) -> int:
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        found = sum(worker["nthreads"] for worker in workers)
        self._seen = max(found, 1)
        return found

    def _appeal(self) -> str:
        return f"waiting for a worker: start one with 'dask worker {self.address}'"

    def close(self) -> None:
        self._client.close(timeout=0.5)


def on_worker(function: str, parameters: dict[str, Any], code: str) -> tuple[str, float]:
    """`timed` where a BLAS may have been loaded before this package could ask it for one thread."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)  # for good: cells of other threads may be running
    return timed(function, parameters, code)
