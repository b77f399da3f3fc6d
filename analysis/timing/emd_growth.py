"""Time and memory of EMD^2 with its gradient against size, depth and batch, each in a process of its own."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import emdref
from analysis.engine.cells import Rows
from analysis.timing import own_process
from analysis.timing.emd_speed import free_bytes, histograms, one_thread
from analysis.timing.measuring import spent, spread

FUNCTION = f"{__name__}:compute"
SPACES = ("chain", "path", "star", "balanced", "WordNet")
VALUE, BOTH = "EMD^2 value", "EMD^2 value and gradient"
LONG = 1.0  # seconds: a call that is measured once
ARRAYS = 16  # of the batch's or the space's size in float64 that one measurement may hold at once


def compute(**parameters: Any) -> Rows:
    """Rows of one space and batch, measured in a process of its own."""
    return own_process.call(f"{__name__}:measure", **parameters)


def measure(space: str, nodes: int, rows: int, dtype: str, ways: list[list[str]], seed: int) -> Rows:
    """Seconds and bytes of a call, and the most bytes that the whole process has held, for each (task, accuracy)."""
    row = {"part": "growth", "space": space, "nodes": nodes, "rows": rows, "dtype": dtype, "kind": "emdref"}
    found = [row | {"task": task, "implementation": f"emdref {accuracy}"} for task, accuracy in ways]
    there, needed = free_bytes(), _needed(nodes, rows, dtype)
    if there is not None and needed > there:
        note = f"skipped: needs about {needed / 1e9:.1f} GB, {there / 1e9:.1f} GB are free"
        return [each | {"note": note} for each in found]
    for task, accuracy in ways:
        _compile(space, dtype, task, accuracy)
    where = _space(space, nodes)
    rng = np.random.default_rng(seed)
    p, q = (histograms(rng, rows, where.n_bins, dtype) for _ in "pq")
    size = {"bins": where.n_bins, "nodes": where.n_nodes, "depth": depth(where)}
    with one_thread():
        times = [_measured(_call(task, accuracy, p, q, where)) for task, accuracy in ways]
    return [each | size | time for each, time in zip(found, times, strict=True)]


def _space(name: str, nodes: int) -> emdref.Chain | emdref.Tree:
    return emdref.Chain(nodes) if name == "chain" else tree_of(name, nodes)


def _call(task: str, accuracy: str, p: Any, q: Any, where: Any) -> Callable[[], Any]:
    function = emdref.emd_value_and_grad if task == BOTH else emdref.emd
    return lambda: function(p, q, where, 2, accuracy=accuracy)


def _needed(nodes: int, rows: int, dtype: str) -> float:
    return ARRAYS * nodes * (8 + rows * np.dtype(dtype).itemsize / 2)


def _compile(space: str, dtype: str, task: str, accuracy: str) -> None:
    """The kernels, for both the few rows and the many that they may treat apart."""
    where = _space(space, 3)
    for rows in (1, 64):
        p = np.full((rows, where.n_bins), 1 / where.n_bins, dtype)
        _call(task, accuracy, p, p, where)()


def _measured(run: Callable[[], Any]) -> dict[str, Any]:
    times: list[float] = []
    peak = peak_bytes()
    size = own_process.growth_bytes(lambda: times.append(spent(run)))
    if times[0] < LONG:
        first = spent(run)
        times = [first, *(spent(run) for _ in range(int(np.clip(0.3 / first, 2, 20))))]
    middle, low, high = spread(times)
    peak = max(peak, peak_bytes())
    return {"seconds": middle, "low": low, "high": high, "repeats": len(times), "bytes": size, "peak": peak}


def peak_bytes() -> int:
    """The most that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# --- spaces of any size -----------------------------------------------------------------------------------------------


def tree_of(name: str, nodes: int) -> emdref.Tree:
    """A tree of that shape with about so many nodes, unit costs.

    ``path``: every node a bin; ``star``: leaves under one root; ``balanced``: binary; ``WordNet``: copies of the
    WordNet tree under one root, at least one.
    """
    if name == "path":
        return emdref.Tree(np.arange(nodes) - 1, bins=np.arange(nodes))
    if name == "star":
        return emdref.Tree(np.concatenate([[-1], np.zeros(nodes - 1, np.int64)]))
    if name == "balanced":
        return emdref.Tree(np.concatenate([[-1], (np.arange(1, nodes) - 1) // 2]))
    return _wordnets(max(1, nodes // emdref.wordnet_tree().n_nodes))


def _wordnets(copies: int) -> emdref.Tree:
    one = emdref.wordnet_tree()
    shift = 1 + one.n_nodes * np.arange(copies)[:, None]
    parent = np.where(one.parent < 0, 0, one.parent + shift)
    cost = np.where(one.parent < 0, 1.0, one.cost)
    return emdref.Tree(np.concatenate([[-1], parent.ravel()]), np.concatenate([[0.0], np.tile(cost, copies)]))


def depth(space: emdref.Chain | emdref.Tree) -> int:
    """Edges between the root and the deepest node."""
    if isinstance(space, emdref.Chain):
        return space.n_bins - 1
    root = int(np.argmin(space.parent))
    above, steps = np.where(space.parent < 0, root, space.parent), (space.parent >= 0).astype(np.int64)
    while (above != root).any():  # each leads twice as far up as before
        steps, above = steps + steps[above], above[above]
    return int(steps.max())
