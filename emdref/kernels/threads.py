"""Dealing rows or columns to CPU threads in contiguous blocks.

The threads are Python's own: the kernels release the GIL, and unlike Numba's thread pool these may be used from any
number of callers at once.
"""

import contextlib
import contextvars
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

_SERIAL_WORK = 200_000  # row elements below which starting threads costs more than it saves
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
    """Call ``kernel(*batched, *shared)`` with the batched arrays cut into blocks of rows, a block per thread."""
    rows = len(batched[0])
    count = thread_count(rows, rows * work)
    if count == 1:
        return kernel(*batched, *shared)
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda ab: kernel(*(x[ab[0] : ab[1]] for x in batched), *shared), _blocks(rows, count)))
    return None


def over_columns(kernel, columns, args, *, work=0):
    """Call ``kernel(first, last, *args)`` for blocks of columns, a block per thread."""
    count = thread_count(columns, columns * work)
    if count == 1:
        return kernel(0, columns, *args)
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda ab: kernel(*ab, *args), _blocks(columns, count)))
    return None


def _blocks(size, count):
    edges = [size * i // count for i in range(count + 1)]
    return list(pairwise(edges))
