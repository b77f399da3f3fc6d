"""Whole calls of `emdref.sinkhorn` on the WordNet tree beside as many dense iterations, and what a call costs besides.

The dense loop is the iteration alone: its set-up, its value and its gradient are not counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import emdref
from analysis.engine.cells import Rows
from analysis.timing import own_process
from analysis.timing.duels import Call, Entrant, Judge, duel, near
from analysis.timing.emd_speed import OWN, histograms, one_thread, told
from analysis.timing.measuring import race, spent
from analysis.timing.sinkhorn_speed import FEW, LAMBDA

FUNCTION, REST = f"{__name__}:compute", f"{__name__}:compute_rest"
CAPS = (10, 100, 1000)
CAP = CAPS[0]
DENSE = "dense iterations, BLAS"
LONG = 0.5  # seconds of dense iterations, beyond which some are timed
READ = ("value", "grad")
EVERY = (*READ, "objective", "log_u", "log_v", "n_iter", "marginal_error", "status", "converged", "failed_at",
         "failed_bin", "lost_entries")  # fmt: skip
FIXED, ITERATION = "fixed cost", "one iteration"
READS = SOME, ALL = "value and gradient read", "every field read"
STOPS = (5, CAP)
STOPPING = f"checkpoints at {STOPS[0]} and {STOPS[1]}"
PAPER, OTHERS = "paper", ("frogner", "cuturi", "caffe", "mocha", STOPPING)


def compute(**parameters: Any) -> Rows:
    """Rows of calls beside dense iterations, measured in a process of its own."""
    return own_process.call(f"{__name__}:measure", **parameters)


def compute_rest(**parameters: Any) -> Rows:
    """Rows of what a call costs besides its iterations, measured in a process of its own."""
    return own_process.call(f"{__name__}:measure_rest", **parameters)


def task_of(cap: int) -> str:
    """A call of so many iterations."""
    return f"sinkhorn, {cap} iterations"


def rest_of(domain: str, variant: str = PAPER, read: str = SOME) -> str:
    """What a call costs besides its iterations."""
    return f"sinkhorn, {domain} domain, {variant}, {read}"


def measure(rows: list[int], caps: list[int], dtype: str, seconds: float, seed: int) -> Rows:
    """A duel a batch size and cap; a batch of 1 is a pair without an axis for the batch."""
    tree, found = emdref.wordnet_tree(), []
    for count in rows:
        p, q = _pairs(tree, count, dtype, seed)
        for cap in caps:
            entrants = [
                Entrant(OWN, OWN, lambda cap=cap, p=p, q=q: _own(tree, p, q, cap)),
                Entrant(DENSE, "numpy", lambda cap=cap, p=p, q=q: dense(tree, p, q, cap)),
            ]
            found += duel(_common(tree, count, dtype, task_of(cap)), entrants, _judge(tree, p, q, cap), seconds)
    return found


def _pairs(tree: Any, count: int, dtype: str, seed: int) -> tuple[Any, ...]:
    rng = np.random.default_rng([seed, count])
    pairs = tuple(histograms(rng, count, tree.n_bins, dtype) for _ in "pq")
    return tuple(x[0] for x in pairs) if count == 1 else pairs


def _common(tree: Any, rows: int, dtype: str, task: str) -> dict[str, Any]:
    return {"space": "tree", "bins": tree.n_bins, "nodes": tree.n_nodes, "rows": rows, "dtype": dtype, "task": task}


def _own(tree: Any, p: Any, q: Any, cap: int) -> Call:
    def call() -> Any:
        result = emdref.sinkhorn(p, q, tree, LAMBDA / tree.diameter, max_iter=cap)
        return result.value, result.grad

    return Call(call)


def dense(tree: Any, p: Any, q: Any, cap: int) -> Call:
    """Alg. 1, the batch as columns, one product by the matrix for each half step."""
    cost, lam = tree.distance_matrix(), LAMBDA / tree.diameter
    kernel = np.exp(-lam * cost - 1).astype(p.dtype)
    pair, few = (p.T.copy(), q.T.copy()), tuple(x[_few(p)].T.copy() for x in (p, q))

    def run(count: int, a: Any, b: Any) -> Any:
        u = np.ones_like(a)
        for _ in range(count):
            v = b / (kernel.T @ u)
            u = a / (kernel @ v)
        return u

    def read(u: Any) -> tuple[Any, Any]:
        u = u.astype(np.float64)
        v = few[1] / (kernel.T @ u)
        return (u * ((kernel * cost) @ v)).sum(axis=0), np.log(u).T / lam

    run(1, *pair)
    some = max(CAP, int(LONG / spent(lambda: run(3, *pair)) * 3))
    note = f"timed on {some} of the iterations" if some < cap else ""
    some = min(some, cap)
    return Call(lambda: run(cap, *few), read, lambda: run(some, *pair), some / cap, note)


def _few(p: Any) -> Any:
    """The rows that are judged."""
    return slice(None if p.ndim == 1 else FEW)


def _judge(tree: Any, p: Any, q: Any, cap: int) -> Judge:
    """Of some rows, in float64."""
    few = _few(p)
    p64, q64 = (x / x.sum(axis=-1, keepdims=True) for x in (y[few].astype(np.float64) for y in (p, q)))
    lam, eps = LAMBDA / tree.diameter, tolerance(tree, p.dtype)
    right = emdref.sinkhorn(p64, q64, tree, lam, max_iter=cap, domain="log")
    judge = near((right.value, right.grad), (eps * right.value, eps / lam))
    return lambda found: judge(tuple(x[few] if np.ndim(x) else x for x in found))


def tolerance(space: Any, dtype: Any) -> float:
    """How far a value, relatively, and log u may be off.

    A product with K errs by 8 eps (lambda max(M) + sqrt(N)), relatively, and so does u.  An iteration has two halves
    and forgets by more than a half what the ones before erred by: four times that for log u, twice that for the value,
    which has u and v.
    """
    return 8 * 8 * float(np.finfo(dtype).eps) * (LAMBDA + np.sqrt(space.n_bins))


# --- what a call costs besides its iterations -------------------------------------------------------------------------


def measure_rest(
    rows: list[int], domain: str, dtype: str, variants: list[str], reads: list[str], seconds: float, seed: int
) -> Rows:
    """Of `CAP` iterations, for each batch size, variant and way of reading."""
    tree, found = emdref.wordnet_tree(), []
    for count in rows:
        p, q = _pairs(tree, count, dtype, seed)
        common = {"part": FIXED, "kind": OWN} | _common(tree, count, dtype, "")
        for variant, read in itertools.product(variants, reads):
            how: dict[str, Any] = {"checkpoints": STOPS} if variant == STOPPING else {"variant": variant}
            call = _reading(tree, p, q, EVERY if read == ALL else READ, domain=domain, **how)
            found += _rest(common | {"task": rest_of(domain, variant, read)}, call, seconds)
    return found


def _reading(tree: Any, p: Any, q: Any, fields: tuple[str, ...], **how: Any) -> Callable[[int], Any]:
    """A call of so many iterations, whose fields are read, at checkpoints too."""
    lam = LAMBDA / tree.diameter

    def call(cap: int) -> None:
        result = emdref.sinkhorn(p, q, tree, lam, max_iter=cap, **how)
        for one in (result, *result.checkpoints.values()):
            for field in fields:
                getattr(one, field)

    return call


def _rest(common: dict[str, Any], call: Callable[[int], Any], seconds: float) -> Rows:
    """The time of `CAP` iterations less that of `CAP` more of them, and that over one iteration's.

    An iteration's time is by how much a longer call is longer.
    """
    with one_thread():
        call(CAP)
        each = max(spent(lambda: call(2 * CAP)) - spent(lambda: call(CAP)), 1e-6) / CAP
        more = int(np.clip(0.1 / each, 50, 500))
        times = race({str(cap): lambda cap=cap: spent(lambda: call(cap)) for cap in (CAP, CAP + more)}, seconds)
    short, long = times.values()
    step = max(float(np.median(long - short)) / more, 1e-9)
    found = {f"{OWN}, {ITERATION}": (long - short) / more, f"{OWN}, {FIXED}": short - CAP * step, "": np.array(step)}
    common |= {"timed_rows": common["rows"]}
    return [told(common | {"implementation": name}, found, common["rows"], "") for name in list(found)[:2]]
