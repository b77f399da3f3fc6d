"""Small calls, which take longer to look at than to compute: one pair, sixteen rows, and one pair of a large space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import emdref
from analysis.engine.cells import Rows
from analysis.peers import wrappers
from analysis.peers.emd_batches import flows, sums_above
from analysis.timing import own_process
from analysis.timing.duels import Call, Entrant, Judge, duel, near
from analysis.timing.emd_growth import tree_of
from analysis.timing.emd_speed import OWN, histograms
from analysis.timing.measuring import Truth

FUNCTION, ALONE = f"{__name__}:compute", f"{__name__}:compute_alone"
BINS, ROWS = 10, 16
PAIR = "emd, one pair"
LISTS, INTEGERS = f"{PAIR}, lists", f"{PAIR}, integers"
BOTH, GRAD, FLOW, PRODUCT = "emd_value_and_grad", "emd_grad", "flow", "emd_hvp"
LINE, SCIPY = "np.abs(np.cumsum(p - q)).sum()", "scipy.stats.wasserstein_distance"
NUMPY = "the same in NumPy"
SINGLE = "one pair, a node"
SHAPES = {"chain": 10_000, "WordNet": 10_000, "path": 10_000, "balanced": 100_000}  # nodes


def compute(**parameters: Any) -> Rows:
    """Rows of small calls, measured in a process of its own."""
    return own_process.call(f"{__name__}:measure", **parameters)


def compute_alone(**parameters: Any) -> Rows:
    """Rows of single pairs on large spaces, measured in a process of its own."""
    return own_process.call(f"{__name__}:measure_alone", **parameters)


def measure(seconds: float, seed: int) -> Rows:
    """Calls with 10 bins beside NumPy and SciPy, by their default options."""
    chain, rng = emdref.Chain(BINS), np.random.default_rng(seed)
    (p,), (q,) = (histograms(rng, 1, BINS, np.float64) for _ in "pq")
    whole_p, whole_q = (rng.multinomial(100, np.full(BINS, 1 / BINS)) for _ in "pq")
    found: Rows = []
    for task, a, b, rivals in (
        (PAIR, p, q, (LINE, SCIPY)),
        (LISTS, whole_p.tolist(), whole_q.tolist(), (LINE,)),
        (INTEGERS, whole_p, whole_q, (LINE,)),
    ):
        entrants = [Entrant(OWN, OWN, lambda a=a, b=b: Call(lambda: emdref.emd(a, b, chain)))]
        entrants += [_line(name, np.asarray(a), np.asarray(b)) for name in rivals]
        judge = _values(np.array([a], float), np.array([b], float), chain)
        found += duel(_common(task, chain, 1), entrants, judge, seconds)
    p, q, v = (*(histograms(rng, ROWS, BINS, np.float64) for _ in "pq"), rng.standard_normal((ROWS, BINS)))
    for task, own, rival, judge in _batches(p, q, v, chain):
        entrants = [Entrant(OWN, OWN, lambda own=own: Call(own)), Entrant(NUMPY, "numpy", lambda f=rival: Call(f))]
        found += duel(_common(task, chain, ROWS), entrants, judge, seconds)
    return found


def _common(task: str, space: Any, rows: int, kind: str = "chain", dtype: str = "float64") -> dict[str, Any]:
    return {"space": kind, "bins": space.n_bins, "nodes": space.n_nodes, "rows": rows, "dtype": dtype, "task": task}


def _line(name: str, p: Any, q: Any) -> Entrant:
    """A line that gives one pair's value; SciPy's normalises."""
    if name == LINE:
        return Entrant(name, "numpy", lambda: Call(lambda: np.abs(np.cumsum(p - q)).sum()))
    total, distance = p.sum(), wrappers.scipy_distance(np.arange(float(BINS)))
    return Entrant(name, "scipy", lambda: Call(lambda: distance(p, q), lambda value: (value * total,)))


def _values(p: Any, q: Any, space: Any) -> Judge:
    truth = Truth(p, q, space, 1, np.arange(len(p)))
    return lambda found: truth.disagreement(np.atleast_1d(found[0]), None, False)


def _centred(grad: Any) -> Any:
    return grad - grad.mean(axis=1, keepdims=True)


def _batches(p: Any, q: Any, v: Any, chain: Any) -> Iterator[tuple[str, Callable[[], Any], Callable[[], Any], Judge]]:
    """Task, emdref's call, NumPy's, and what judges both; rho = 2 where there is a rho."""

    def both() -> Any:
        phi = flows(p - q)
        return np.einsum("ij,ij->i", phi, phi), _centred(sums_above(phi + phi))

    def grad() -> Any:
        return _centred(sums_above(2 * flows(p - q)))

    def flow() -> Any:
        return flows(p - q)

    def product() -> Any:
        return _centred(sums_above(2 * flows(_centred(v))))

    truth = Truth(p, q, chain, 2, np.arange(len(p)))
    for_value, for_grad = truth.tolerances(first=True)
    unit = truth.FACTOR * truth.eps
    for_product = unit * 2 * chain.diameter * np.abs(v).sum(axis=1, keepdims=True)  # whose flows are sums of v
    judge = near((truth.value, truth.grad), (for_value, for_grad[:, None]))
    yield BOTH, lambda: emdref.emd_value_and_grad(p, q, chain, 2), both, judge
    yield GRAD, lambda: emdref.emd_grad(p, q, chain, 2), grad, near((truth.grad,), (for_grad[:, None],))
    signed = emdref.flow(p, q, chain)
    yield FLOW, lambda: emdref.flow(p, q, chain), flow, near((signed,), (unit * truth.phi.max(axis=1, keepdims=True),))
    yield PRODUCT, lambda: emdref.emd_hvp(p, q, chain, v, 2), product, near((product(),), (for_product,))


def measure_alone(shapes: list[str], dtypes: list[str], seconds: float, seed: int) -> Rows:
    """Value and gradient of EMD^2 of one pair beside sixteen, a pair and node; what differs is the batch alone."""
    found: Rows = []
    for kind in shapes:
        space = emdref.Chain(SHAPES[kind]) if kind == "chain" else tree_of(kind, SHAPES[kind])
        for dtype in dtypes:
            rng = np.random.default_rng(seed)
            p, q = (histograms(rng, ROWS, space.n_bins, dtype) for _ in "pq")
            truth = Truth(p, q, space, 2, np.arange(ROWS))
            for accuracy in ("native", "compensated"):
                entrants = [_rows_of(space, p[:count], q[:count], accuracy) for count in (1, ROWS)]
                judge = lambda answer, truth=truth: truth.disagreement(*answer, True, slice(len(answer[0])))  # noqa: E731
                found += duel(_common(f"{SINGLE}, {accuracy}", space, 1, kind, dtype), entrants, judge, seconds)
    return found


def _rows_of(space: Any, p: Any, q: Any, accuracy: str) -> Entrant:
    name = f"batch of {len(p)}"
    call = lambda: emdref.emd_value_and_grad(p, q, space, 2, accuracy=accuracy)  # noqa: E731
    return Entrant(name, OWN, lambda: Call(call, rows=len(p)))
