"""A process beside each thread: training holds Python's interpreter too long for several runs to share one."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from tqdm import tqdm

_own = threading.local()
_numbers = itertools.count(1)


def apart(function: Callable[..., Any], **parameters: Any) -> Any:
    """``function(**parameters)`` in this thread's own process, which lives on for the next call."""
    if not hasattr(_own, "process"):
        spawn = multiprocessing.get_context("spawn")  # a fork would inherit locks that other threads hold
        tqdm.get_lock()
        _own.process = ProcessPoolExecutor(1, spawn, _begin, (next(_numbers),))
    return _own.process.submit(function, **parameters).result()


def _begin(number: int) -> None:
    global place
    place = number
    import torch

    torch.set_num_threads(1)


place = 0  # of this process's progress bar, below that of the whole
