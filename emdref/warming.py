"""Compiling everything beforehand, as images and clusters need it: small calls of every public function.

A group holds all calls that compile one kernel, for all dtypes, so that no two processes write its index at a time.
"""

import os
import pkgutil
import signal
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numba
import numpy as np

import emdref
from emdref import kernels
from emdref.arguments.validation import Accuracy
from emdref.kernels.compile import jit
from emdref.kernels.compile.threads import processors
from emdref.spaces.rooted import MANY

_CHAIN, _TREE, _CIRCLE = emdref.Chain(4), emdref.Tree([-1, 0, 0, 1, 1, 2, 2]), emdref.Circle(4)
_LONG = emdref.Chain(MANY)
_EXACTLY = [[1, 2.0**-60, 2.0**-120, 0]], [[0, 1, 2.0**-60, 2.0**-120]]  # what two limbs cannot hold
_ACCURACIES: tuple[Accuracy, ...] = "compensated", "native"


def _pairs() -> Iterator[tuple[Any, Any]]:
    for dtype in (np.float32, np.float64):
        p = np.array([[1, 2, 3, 2], [5, 1, 1, 1]], dtype)
        yield p, p[:, ::-1]


def _values(space: Any) -> None:
    for p, q in _pairs():
        for accuracy in _ACCURACIES:
            emdref.emd_value_and_grad(p, q, space, accuracy=accuracy)


def _single(space: Any) -> None:
    """One row of a space that is large enough for loops of its own."""
    for dtype in (np.float32, np.float64):
        p = np.ones(space.n_bins, dtype)
        for accuracy in _ACCURACIES:
            emdref.emd(p, p, space, accuracy=accuracy)


def _round() -> None:
    _values(_CIRCLE)
    for p, q in _pairs():
        for accuracy in _ACCURACIES:
            emdref.flow(p, q, _CIRCLE, accuracy=accuracy)
        emdref.emd_grad(p, q, _CIRCLE, gauge="normalized")


def _closely() -> None:
    emdref.emd_value_and_grad(*_EXACTLY, _CHAIN)
    for p, q in _pairs():
        for accuracy in _ACCURACIES:
            emdref.emd_cost_grad(p, q, _CHAIN, accuracy=accuracy)


def _second() -> None:
    for p, q in _pairs():
        for accuracy in _ACCURACIES:
            emdref.emd_hess(p, q, _CHAIN, accuracy=accuracy)
            emdref.emd_hvp(p, q, _CHAIN, p, accuracy=accuracy)


def _pairwise() -> None:
    for p, _ in _pairs():
        emdref.pairwise(p, _TREE, rho=2, mass="normalize")


def _sparse() -> None:
    from scipy.sparse import csr_array

    for p, q in _pairs():
        emdref.emd(csr_array(p), csr_array(q), _TREE, mass="normalize")
        emdref.pairwise(csr_array(p), _TREE)


def _one_pair() -> None:
    emdref.plan([1, 0, 0, 1], [0, 1, 1, 0], _TREE)
    _TREE.distance_matrix()


def _layers() -> None:
    x = [1.0, 2.0]
    emdref.normalize.l1.vjp(x, emdref.normalize.l1(x))
    emdref.losses.mse(x, x)
    emdref.losses.kl(x, x)


def _sinkhorn(domain: Any) -> None:
    for p, q in _pairs():
        emdref.sinkhorn(p, q, _TREE, 1.0, max_iter=1, domain=domain, unrolled=True)
        emdref.sinkhorn(p, q, _TREE, 1.0, max_iter=1, domain=domain)


GROUPS: dict[str, Callable[[], None]] = {  # what takes long first
    "sinkhorn, log domain": lambda: _sinkhorn("log"),
    "sinkhorn, linear domain": lambda: _sinkhorn("linear"),
    "emd on circles": _round,
    "second derivatives": _second,
    "emd on chains": lambda: _values(_CHAIN),
    "one row of a chain": lambda: _single(_LONG),
    "pairwise": _pairwise,
    "emd on trees": lambda: _values(_TREE),
    "one row of a tree": lambda: _single(_LONG.to_tree()),
    "sparse rows": _sparse,
    "plan and distances": _one_pair,
    "layers and losses": _layers,
    "flows and hard rows": _closely,
}


def loops() -> dict[str, Any]:
    """Every kernel that Python calls, by module and name."""
    found: dict[str, Any] = {}
    package = f"{kernels.__name__}."
    for module in pkgutil.walk_packages(kernels.__path__, package):
        if not module.ispkg and not module.name.startswith(f"{package}cuda."):
            content, name = vars(import_module(module.name)), module.name.removeprefix(package)
            found |= {f"{name}.{x.__name__}": x for x in content.values() if _is_loop(x, module.name)}
    return found


def _is_loop(x: Any, module: str) -> bool:
    options = getattr(x, "targetoptions", {"no_cpython_wrapper": True})
    return not options.get("no_cpython_wrapper") and x.py_func.__module__ == module


def compiled() -> int:
    """How many specialisations of them this process has compiled and put on disk."""
    return sum(sum(x.stats.cache_misses.values()) for x in loops().values())


def place() -> Path:
    """Where compiled code goes, or an error that says why it goes nowhere."""
    if numba.config.DISABLE_JIT:
        raise ValueError("NUMBA_DISABLE_JIT is set, so that nothing is compiled: unset it")
    folder, chosen = jit.cache_folder(), os.environ.get("EMDREF_CACHE_DIR", "")
    if chosen.lower() == "off":
        raise ValueError("EMDREF_CACHE_DIR=off keeps no compiled code: unset it, or let it name a folder")
    if folder is None or not os.access(folder, os.W_OK):
        what = f"the folder EMDREF_CACHE_DIR={chosen}" if chosen else "the user's cache folder"
        raise ValueError(f"{what} cannot be written to, or is another user's: let EMDREF_CACHE_DIR name one of yours")
    return folder


def warm() -> int:
    """Compile what is not on disk, with a progress bar; returns how many specialisations were not."""
    from tqdm import tqdm

    count = min(processors(), len(GROUPS))
    with (
        ProcessPoolExecutor(count, get_context("spawn"), _begin) as pool,
        tqdm(total=len(GROUPS), desc="compiling", unit="group") as bar,
    ):
        total = 0
        try:
            with _no_interrupts():  # which the processes inherit, and allow when they have begun
                work = [pool.submit(_run, name) for name in GROUPS]
            for future in as_completed(work):
                total += future.result()
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return total


def _begin() -> None:
    """In each process: Ctrl-C ends it without a word, also one that came while it was starting."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Ctrl-C waits, where the system has masks of signals."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(name: str) -> int:
    before = compiled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # toys need not converge
        GROUPS[name]()
    return compiled() - before
