"""Time and memory of one Sinkhorn call, measured in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import emdref
from analysis.engine.cells import Rows
from analysis.inputs.histogram_pairs import softmax
from analysis.timing import own_process

FUNCTION = f"{__name__}:compute"
LONG = 3.0  # seconds: a call that is measured once, others twice


def compute(**parameters) -> Rows:
    """One row, measured in a process of its own."""
    return [own_process.call(f"{__name__}:measure", **parameters)]


def measure(space: str, n: int, kernel: str, domain: str, dtype: str, rows: int, seed: int) -> dict:
    """Seconds an iteration and pair, and bytes, of this process."""
    from emdref.kernels.compile import threads

    rng = np.random.default_rng(seed)
    where = space_of(space, n, rng)
    p, q = (softmax(2.0 * rng.normal(size=(rows, n))).astype(dtype) for _ in "pq")
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    how = {"kernel": kernel, "domain": domain}

    def run(steps: int) -> None:
        emdref.sinkhorn(p, q, where, 20 / where.diameter, max_iter=steps, **how)

    with threads.at_most(1):
        small = np.full((1, 2), 0.5, dtype)
        emdref.sinkhorn(small, small, emdref.Chain(2), 1.0, max_iter=1, **how)  # compiles
        size = own_process.growth_bytes(lambda: run(1))
        seconds = _slope(run) / rows
    return {
        "space": space, "bins": n, "nodes": where.n_nodes, "kernel": kernel, "domain": domain, "dtype": dtype,
        "rows": rows, "seconds": seconds, "bytes": size,
    }  # fmt: skip


def _slope(run: Callable[[int], None]) -> float:
    """Seconds by which one more iteration lengthens a call; the iterations take as long as the rest of the call."""
    rest = _spent(run, 1)
    guess = max((_spent(run, 3) - rest) / 2, rest / 100)
    steps = int(np.clip(np.ceil(max(rest, 0.3) / guess), 2, 100))
    repeats = range(1 if rest > LONG else 2)
    longer, shorter = (min(_spent(run, count) for _ in repeats) for count in (1 + steps, 1))
    return (longer - shorter) / steps


def _spent(run: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    run(count)
    return time.perf_counter() - start


def space_of(name: str, n: int, rng: np.random.Generator) -> emdref.Chain | emdref.Tree:
    """A chain, or a binary tree grown by splitting random leaves, with costs between 1 and 2."""
    if name == "chain":
        return emdref.Chain(gaps=1 + rng.random(n - 1))
    parent, leaves = np.full(2 * n - 1, -1), [0]
    for node in range(1, 2 * n - 1, 2):
        at = int(rng.integers(len(leaves)))
        parent[node : node + 2] = leaves[at]
        leaves[at] = node
        leaves.append(node + 1)
    return emdref.Tree(parent, 1 + rng.random(2 * n - 1))
