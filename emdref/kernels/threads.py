"""Dealing rows or columns to CPU threads in contiguous blocks.

The threads are Python's own: the kernels release the GIL, and unlike Numba's thread pool these may be used from any
number of callers at once.  They stay, for starting a thread takes longer than most calls.
"""

import contextlib
import contextvars
import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise

_SERIAL_WORK = 300_000  # nanoseconds, about, below which to give work away costs more than it saves
_BLOCK = 100_000_000  # nanoseconds, about, after which somebody who pressed Ctrl-C is listened to
_PATIENCE = 400_000_000  # nanoseconds that may pass until then
_COLUMNS = 64  # that kernels work on side by side, the most of any
_MOST_THREADS = 1024
_limit = contextvars.ContextVar("emdref_threads", default=0)


@contextlib.contextmanager
def at_most(count: int):
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
    return max(1, min(wanted, rows, work // _SERIAL_WORK + 1))


def _from_environment() -> int:
    text = os.environ.get("EMDREF_NUM_THREADS", "")
    if not text:
        return 0
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"EMDREF_NUM_THREADS={text!r} must be an integer >= 1, or unset to use all processors")
    return int(text)


def over_rows(kernel, batched, shared=(), *, work=0):
    """Call ``kernel(*batched, *shared)`` with the batched arrays cut into blocks of rows, dealt to threads.

    `work` is about how many nanoseconds a row takes.
    """
    rows = len(batched[0])
    _deal(rows, work, 1, lambda a, b: kernel(*(x[a:b] for x in batched), *shared))


def over_columns(kernel, columns, args, *, work=0):
    """Call ``kernel(first, last, *args)`` for blocks of columns, dealt to threads."""
    _deal(columns, work, _COLUMNS, lambda a, b: kernel(a, b, *args))


def alone(kernel, *args, work=0):
    """kernel(*args), which takes about `work` nanoseconds, and can be interrupted if that is long."""
    results = []
    _deal(1, work, 1, lambda a, b: results.append(kernel(*args)))
    return results[0]


def _deal(size, work, least, call):
    """call(first, last) for blocks of `least` or more, so short that Ctrl-C is answered between two of them.

    The last thread's blocks are the caller's own.  Where one block alone takes long, all are others': the caller waits,
    which Ctrl-C ends at once, and blocks under way come to their end by themselves.
    """
    count = thread_count(size, size * work)
    step = max(least, _BLOCK // max(int(work), 1))
    stop = threading.Event()

    def several(first, last):
        for at in range(first, last, step):
            if stop.is_set():
                return
            call(at, min(at + step, last))

    *others, own = _blocks(size, count)
    long = work * min(step, size) > _PATIENCE
    waiting = [_workers().submit(several, *block) for block in (*others, *([own] * long))]
    try:
        if not long:
            several(*own)
        for future in waiting:
            future.result()
    except BaseException:
        stop.set()
        for future in waiting:
            future.cancel()
        if not long:
            wait(waiting)
        raise


@functools.cache
def _workers():
    """Threads that wait for work, as many as were ever needed at once; they are started one by one."""
    return ThreadPoolExecutor(_MOST_THREADS, "emdref")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)  # threads do not survive a fork


def _blocks(size, count):
    edges = [size * i // count for i in range(count + 1)]
    return list(pairwise(edges))
