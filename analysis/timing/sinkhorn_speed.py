"""Sinkhorn on the WordNet tree: emdref's O(V) kernel beside the dense product and other people's solvers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import emdref
from analysis.engine.cells import Rows
from analysis.peers.emd_batches import Peer, Prepared, load_jax
from analysis.timing import own_process
from analysis.timing.emd_speed import FAILURES, LONG, OWN, entry, failure, histograms, one_thread, told
from analysis.timing.measuring import Stopwatch, race, spent, stopwatch, worked

FUNCTION = f"{__name__}:compute"
CAP = 20  # iterations of a solve
ITERATION, SOLVE = "Sinkhorn iteration", f"Sinkhorn, {CAP} iterations"
FEW = 4  # rows that must agree
LAMBDA = 5.0  # over the largest distance: solvers have converged after 20 iterations, as good as
SPACE = "emdref space kernel"
Tree = emdref.Tree


def compute(**parameters: Any) -> Rows:
    """Rows of a sheet, measured in a process of its own."""
    return own_process.call(f"{__name__}:measure", **parameters)


def measure(task: str, rows: list[int], dtype: str, seconds: float, seed: int) -> Rows:
    """Every batch size of the sheet."""
    tree, found = emdref.wordnet_tree(), []
    for count in rows:
        rng = np.random.default_rng([seed, count])
        p, q = (histograms(rng, count, tree.n_bins, dtype) for _ in "pq")
        found += contest(tree, p, q, task, tuple(solvers()), seconds)
    return found


def contest(tree: Tree, p: Any, q: Any, task: str, rivals: tuple[Peer, ...], seconds: float) -> Rows:
    """A row for each solver: times of those that agree, a note for the others."""
    common = {
        "part": "contest", "space": "tree", "bins": p.shape[1], "nodes": tree.n_nodes, "rows": len(p),
        "dtype": p.dtype.name, "task": task,
    }  # fmt: skip
    truth = Truth(tree, p[:FEW], q[:FEW])
    entries = [_admit(common, tree, (p, q), peer, truth) for peer in rivals if task in peer.tasks]
    with one_thread():
        times = race({row["implementation"]: watch for row, watch in entries if watch}, seconds)
    return [told(row, times, len(p), SPACE) for row, _ in entries]


class Truth:
    """The transport cost <T, M> after so many iterations, in float64, and how far from it an answer may be.

    Rounding: 8 eps (lambda max(M) + sqrt(N)) of the cost.  Solvers differ in which marginal their last half step
    satisfies, and in how fast they converge: where a plan's marginals miss p and q by d in l1, the cost may be off by d
    times the largest distance, for the answer as for the truth.
    """

    def __init__(self, tree: Tree, p: Any, q: Any) -> None:
        p, q = (x / x.sum(axis=1, keepdims=True) for x in (p.astype(np.float64), q.astype(np.float64)))
        self.result = emdref.sinkhorn(p, q, tree, LAMBDA / tree.diameter, max_iter=CAP)
        self.eps = 8 * float(np.finfo(np.float64).eps) * (LAMBDA + np.sqrt(tree.n_bins))
        self.diameter = tree.diameter

    def disagreement(self, value: Any, defect: Any, dtype: Any) -> tuple[float, float]:
        """The largest error over its tolerance, and the largest tolerance relative to the value."""
        right, own = (x[: len(value)] for x in (self.result.value, self.result.marginal_error))
        eps = self.eps * float(np.finfo(dtype).eps / np.finfo(np.float64).eps)
        allowed = eps * right + self.diameter * (np.asarray(defect, float) + own)
        error = np.abs(np.asarray(value, float) - right) / allowed
        return float(np.nan_to_num(error, nan=np.inf).max()), float((allowed / right).max())


def _admit(common: dict[str, Any], tree: Tree, pair: Any, peer: Peer, truth: Truth) -> tuple[Any, Stopwatch | None]:
    row = entry(common, peer)
    try:
        return _tried(row, peer.make(tree, pair[0].dtype.type, row["task"]), pair, peer, truth)
    except FAILURES as error:
        return row | {"note": failure(error)}, None


def _tried(row: Any, prepared: Prepared, pair: Any, peer: Peer, truth: Truth) -> tuple[Any, Stopwatch | None]:
    count, few = len(pair[0]), 1 if peer.by_pair else FEW
    args = prepared.enter(*(x[:few] for x in pair))
    answer = prepared.leave(prepared.call(CAP, *args))
    row["disagreement"], row["tolerance"] = truth.disagreement(*answer, pair[0].dtype)
    if not row["disagreement"] <= 1:
        return row | {"note": f"disagrees: {row['disagreement']:.3g} times the tolerance away, not timed"}, None
    if row["task"] == ITERATION:
        return row | {"timed_rows": count}, _slope(prepared.call, *prepared.enter(*pair))
    each = worked(lambda: prepared.call(CAP, *args)) / len(pair[0][:few])
    if each * count > LONG and row["kind"] != OWN:
        count = max(1, int(LONG / 5 / each))
        row["note"] = f"timed on {count} of the rows"
    every = prepared.enter(*(x[:count] for x in pair))
    return row | {"timed_rows": count}, stopwatch(lambda: prepared.call(CAP, *every))


def _slope(run: Callable[..., Any], *args: Any) -> Stopwatch:
    """Seconds by which one more iteration lengthens a call."""
    run(1, *args)
    more = int(np.clip(0.3 / (spent(lambda: run(4, *args)) / 4), 2, 50))
    return lambda: (spent(lambda: run(1 + more, *args)) - spent(lambda: run(1, *args))) / more


# --- who takes part ---------------------------------------------------------------------------------------------------


def solvers() -> Iterator[Peer]:
    """emdref's kernels, the plain loop that frameworks run, and other libraries."""
    yield Peer(SPACE, OWN, _own(kernel="space"), tasks=(ITERATION, SOLVE))
    yield Peer("emdref space kernel, log domain", OWN, _own(kernel="space", domain="log"), tasks=(ITERATION, SOLVE))
    yield Peer("emdref dense kernel", OWN, _own(kernel="dense"), tasks=(ITERATION, SOLVE))
    yield Peer("dense product, BLAS", "numpy", _loop, tasks=(ITERATION, SOLVE))
    yield Peer("POT sinkhorn", "POT", _pot("sinkhorn"), tasks=(SOLVE,), by_pair=True)
    yield Peer("POT sinkhorn_log", "POT", _pot("sinkhorn_log"), tasks=(SOLVE,), by_pair=True)
    yield Peer("OTT Sinkhorn", "ott-jax", _ott(lse_mode=False), tasks=(SOLVE,))
    yield Peer("OTT Sinkhorn, log domain", "ott-jax", _ott(lse_mode=True), tasks=(SOLVE,))
    yield Peer("GeomLoss, log domain", "geomloss", _geomloss, tasks=(SOLVE,), by_pair=True)


def _own(**how: Any) -> Callable[..., Prepared]:
    def make(tree: Tree, dtype: Any, task: str) -> Prepared:
        lam = LAMBDA / tree.diameter
        return Prepared(
            lambda cap, p, q: emdref.sinkhorn(p, q, tree, lam, max_iter=cap, **how),
            leave=lambda result: (result.value, result.marginal_error),
        )

    return make


def _loop(tree: Tree, dtype: Any, task: str) -> Prepared:
    """Alg. 1, the batch as columns, one product by the matrix for each half step."""
    cost = tree.distance_matrix()
    kernel = np.exp(-LAMBDA / tree.diameter * cost).astype(dtype)
    weighted = (kernel * cost).astype(dtype)

    def run(cap: int, p: Any, q: Any) -> tuple[Any, Any, Any, Any]:
        u = np.ones_like(p)
        for _ in range(cap):
            v = q / (kernel.T @ u)
            u = p / (kernel @ v)
        return (u * (weighted @ v)).sum(axis=0), u, v, q

    def leave(answer: Any) -> tuple[Any, Any]:
        value, u, v, q = answer
        return value, np.abs(v * (kernel.T @ u) - q).sum(axis=0)

    return Prepared(run, lambda p, q: (p.T.copy(), q.T.copy()), leave)


def _defect(plan: Any, p: Any, q: Any) -> float:
    """The larger of the two marginals' defects in l1."""
    return max(float(np.abs(plan.sum(1) - p).sum()), float(np.abs(plan.sum(0) - q).sum()))


def _by_pair(solve: Callable[[int, Any, Any], Any], cost: Any) -> Prepared:
    """Plans, a pair at a time; their costs are part of the answer, as everybody wants them."""

    def run(cap: int, p: Any, q: Any) -> list[Any]:
        answers = []
        for a, b in zip(p, q, strict=True):
            plan = np.asarray(solve(cap, a, b))
            answers.append(((plan * cost).sum(), _defect(plan, a, b)))
        return answers

    return Prepared(run, leave=lambda answers: tuple(map(np.array, zip(*answers, strict=True))))


def _pot(method: str) -> Callable[..., Prepared]:
    def make(tree: Tree, dtype: Any, task: str) -> Prepared:
        import ot

        cost = tree.distance_matrix(dtype)
        options = {"reg": tree.diameter / LAMBDA, "method": method, "stopThr": 0, "warn": False}
        return _by_pair(lambda cap, p, q: ot.sinkhorn(p, q, cost, numItermax=cap, **options), cost)

    return make


def _ott(**mode: Any) -> Callable[..., Prepared]:
    def make(tree: Tree, dtype: Any, task: str) -> Prepared:
        jax = load_jax()
        from ott.geometry.geometry import Geometry
        from ott.solvers import linear

        cost = tree.distance_matrix(dtype)
        geometry = Geometry(jax.numpy.asarray(cost), epsilon=tree.diameter / LAMBDA, relative_epsilon=None)
        how = {"threshold": -1.0, "max_iterations": CAP, "min_iterations": CAP, **mode}

        def solve(p: Any, q: Any) -> Any:
            found = linear.solve(geometry, p, q, **how)
            return found.f, found.g

        batch = jax.jit(jax.vmap(solve))

        def leave(answer: Any) -> tuple[Any, Any]:
            f, g, p, q = map(np.asarray, answer)
            plans = np.exp((f[:, :, None] + g[:, None, :] - cost) * (LAMBDA / tree.diameter))
            return (plans * cost).sum((1, 2)), [_defect(*row) for row in zip(plans, p, q, strict=True)]

        return Prepared(
            lambda cap, p, q: (*jax.block_until_ready(batch(p, q)), p, q),
            lambda *rows: tuple(map(jax.numpy.asarray, rows)),
            leave,
        )

    return make


def _geomloss(tree: Tree, dtype: Any, task: str) -> Prepared:
    import torch
    from geomloss import ot

    cost = tree.distance_matrix(dtype)
    tensor, reg = torch.from_numpy(cost), tree.diameter / LAMBDA

    def solve(cap: int, p: Any, q: Any) -> Any:
        return ot.solve(tensor, a=torch.from_numpy(p), b=torch.from_numpy(q), reg=reg, max_iter=cap).plan

    return _by_pair(solve, cost)
