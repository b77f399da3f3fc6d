"""Dealing rows or columns to CPU threads in contiguous blocks.

The threads are Python's own: the kernels release the GIL, and unlike Numba's thread pool these may be used from any
number of callers at once.  They stay, for starting a thread takes longer than most calls.

Python answers Ctrl-C between two steps of its main thread, and a kernel is one step.  Blocks are therefore short, and
the next ones shorter if one took longer than was thought; what cannot be cut runs in another thread while the caller
waits, for a wait can be interrupted.
"""

import contextlib
import contextvars
import functools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, TypeVar

_Result = TypeVar("_Result")

_SERIAL_WORK = 300_000  # nanoseconds, about, below which to give work away costs more than it saves
_BLOCK = 25_000_000  # nanoseconds, about, after which somebody who pressed Ctrl-C is listened to
_PATIENCE = 300_000_000  # nanoseconds that may pass until then
_COLUMNS = 64  # that kernels work on side by side, the most of any
_MOST_THREADS = 1024
_limit: contextvars.ContextVar[int] = contextvars.ContextVar("emdref_threads", default=0)
_LIMIT = "EMDREF_NUM_THREADS"
_variables: Any = getattr(os.environ, "_data", os.environ)  # past encodings, which take half a microsecond a look
_seen: set[Any] = set()  # texts that are numbers
_encoded: Any = _LIMIT if _variables is os.environ else os.environ.encodekey(_LIMIT)


@contextlib.contextmanager
def at_most(count: int) -> Iterator[None]:
    """Use at most `count` threads within this context (the caller's thread alone)."""
    token = _limit.set(count)
    try:
        yield
    finally:
        _limit.reset(token)


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count(rows: int, work: int) -> int:
    """How many threads so much work on so many rows gets."""
    wanted = _limit.get() or _from_environment() or processors()
    return max(1, min(wanted, rows, work // _SERIAL_WORK + 1, _MOST_THREADS))


def most_alone(work: float) -> int:
    """How many rows of so many nanoseconds each, about, are never dealt out, and are soon over."""
    return (_SERIAL_WORK - 1) // max(1, int(work))


def check_limit() -> None:
    """What dealing such rows out would say: that the limit in the environment is no number."""
    text = _variables.get(_encoded)
    if text and text not in _seen and not _limit.get():
        _from_environment()
        _seen.add(text)


def _from_environment() -> int:
    text = os.environ.get(_LIMIT, "")
    if not text:
        return 0
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"{_LIMIT}={text!r} must be an integer >= 1, or unset to use all processors")
    return int(text)


def over_rows(
    kernel: Callable[..., object], batched: Sequence[Any], shared: Iterable[Any] = (), *, work: float = 0
) -> None:
    """Call ``kernel(*batched, *shared)`` with the batched arrays cut into blocks of rows, dealt to threads.

    `work` is about how many nanoseconds a row takes.
    """
    rows = len(batched[0])
    if 0 < rows <= most_alone(work):
        check_limit()
        kernel(*batched, *shared)
        return
    _deal(rows, work, 1, lambda a, b: kernel(*(x[a:b] for x in batched), *shared))


def over_columns(kernel: Callable[..., object], columns: int, args: Iterable[Any], *, work: float = 0) -> None:
    """Call ``kernel(first, last, *args)`` for blocks of columns, dealt to threads."""
    _deal(columns, work, _COLUMNS, lambda a, b: kernel(a, b, *args))


def alone(function: Callable[..., _Result], *args: Any, work: float, **options: Any) -> _Result:
    """function(*args, **options), which takes about `work` nanoseconds, without the GIL, and may be interrupted."""
    if not lasts(work, 1):
        return function(*args, **options)
    call = functools.partial(function, *args, **options)
    future = _workers().submit(contextvars.copy_context().run, call)
    _wait([future])
    return future.result()


def lasts(work: float, columns: int) -> bool:
    """Whether columns of so many nanoseconds each, about, are left to others, who finish them though interrupted."""
    return min(columns, _COLUMNS) * work > _PATIENCE


def repeats(work: float) -> int:
    """How often columns of so many nanoseconds each are gone through between two looks for Ctrl-C."""
    return max(1, int(_BLOCK // (_COLUMNS * work)))


def _deal(size: int, work: float, least: int, call: Callable[[int, int], object]) -> None:
    """call(first, last) for blocks of `least` or more, so short that Ctrl-C is answered between two of them.

    The last thread's blocks are the caller's own, unless one block takes long.  After an interrupt those under way then
    come to their end by themselves; others are waited for.
    """
    each = max(1, int(work))
    count = thread_count(size, size * each)
    step = max(least, _BLOCK // each)
    long = lasts(each, min(step, size))
    if count == 1 and 0 < size <= step and not long:
        call(0, size)
        return
    stop = threading.Event()

    def several(at: int, last: int) -> None:
        size = step
        try:
            while at < last and not stop.is_set():
                begun = time.perf_counter_ns()
                call(at, min(at + size, last))
                took = time.perf_counter_ns() - begun
                at += size
                if took > 2 * _BLOCK:
                    size = max(least, size * _BLOCK // took)
        except BaseException:
            stop.set()
            raise

    blocks = _blocks(size, count)
    waiting: list[Future[Any]] = []
    own = [] if long else [blocks.pop()]
    try:
        waiting.extend(_workers().submit(several, *block) for block in blocks)
        for block in own:
            several(*block)
        _wait(waiting)
    except BaseException:
        stop.set()
        if own:
            wait(waiting)
        raise
    for future in waiting:
        future.result()


def _wait(futures: Iterable[Future[Any]]) -> None:
    while wait(futures, _PATIENCE * 1e-9).not_done:  # a wait without an end cannot be interrupted on Windows
        pass


class _Workers:
    """Threads that wait for work, as many as were ever needed at once.

    Unlike those of a ThreadPoolExecutor they are daemons: nobody who leaves Python waits for what was interrupted.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()
        self._idle = threading.Semaphore(0)

    def submit(self, function: Callable[..., _Result], *args: Any) -> Future[_Result]:
        """Have function(*args) called by a thread that is idle, or by a new one."""
        future: Future[_Result] = Future()
        if not self._idle.acquire(blocking=False):
            threading.Thread(target=self._work, name="emdref", daemon=True).start()
        self._tasks.put((future, function, args))
        return future

    def _work(self) -> None:
        while True:
            future, function, args = self._tasks.get()
            try:
                future.set_result(function(*args))
            except BaseException as error:  # the caller's to raise
                future.set_exception(error)
            del future, function, args  # a thread that waits keeps nothing alive
            self._idle.release()


@functools.cache
def _workers() -> _Workers:
    return _Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)  # threads do not survive a fork


def _blocks(size: int, count: int) -> list[tuple[int, int]]:
    edges = [size * i // count for i in range(count + 1)]
    return list(pairwise(edges))
