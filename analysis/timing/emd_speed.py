"""EMD and EMD^2 of batches, emdref beside everybody else and beside the memory's bandwidth, in one process.

Every cell is a process of its own: a sheet of problems on one kind of space, in one dtype, for one task.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import emdref
from analysis.engine.cells import Rows
from analysis.peers import wrappers
from analysis.peers.emd_batches import BOTH, PEERS, RHO, VALUE, Peer, Prepared, Space
from analysis.timing import own_process
from analysis.timing.measuring import Stopwatch, Truth, race, spread, stopwatch, worked
from analysis.timing.sinkhorn_growth import space_of

FUNCTION = f"{__name__}:compute"
OWN, NATIVE, COMPENSATED = "emdref", "emdref native", "emdref compensated"
LONG, OWN_LONG = 0.6, 3.0  # seconds: who needs more for a batch is timed on a part of it; emdref is not timed
TRIED = 32  # rows of the first call, by which time and memory of the others are judged
ARRAYS = 12  # of the batch's size that a contest may hold at once
FAILURES = (
    ImportError, ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip
_ARRAYS = {VALUE: 2, BOTH: 3}  # of the batch's size that must be read or written
FRESH, REUSED = "np.subtract, fresh output", "np.subtract, out="


class Problem(NamedTuple):
    """A batch of pairs on a space; `traffic` of its rows are the bytes that must be read and written at least."""

    kind: str
    space: Space
    p: Any
    q: Any
    task: str

    def row(self, **found: Any) -> dict[str, Any]:
        """A row of the table."""
        rows, bins = self.p.shape
        return {
            "part": "contest", "space": self.kind, "bins": bins, "nodes": self.space.n_nodes, "rows": rows,
            "dtype": self.p.dtype.name, "task": self.task, "traffic": _ARRAYS[self.task] * self.p.nbytes,
        } | found  # fmt: skip


def compute(**parameters: Any) -> Rows:
    """Rows of a sheet, measured in a process of its own."""
    return own_process.call(f"{__name__}:measure", **parameters)


def measure(kind: str, sizes: list[list[int]], dtype: str, task: str, seconds: float, seed: int) -> Rows:
    """Every size of the sheet, (bins, rows) each."""
    rows: Rows = []
    for bins, batch in sizes:
        rng = np.random.default_rng([seed, bins, batch])
        needed, there = ARRAYS * bins * batch * np.dtype(dtype).itemsize, free_bytes()
        if there is not None and needed > there:
            rows.append(_too_large(kind, bins, batch, dtype, task, needed, there))
            continue
        p, q = (histograms(rng, batch, bins, dtype) for _ in "pq")
        rows += contest(Problem(kind, where(kind, bins, rng), p, q, task), PEERS, seconds)
    return rows


def _too_large(kind: str, bins: int, rows: int, dtype: str, task: str, needed: int, there: int) -> dict[str, Any]:
    note = f"skipped: needs about {needed / 1e9:.1f} GB, {there / 1e9:.1f} GB are free"
    common = {"part": "contest", "space": kind, "bins": bins, "rows": rows, "dtype": dtype, "task": task}
    return common | {"implementation": "all", "kind": OWN, "note": note}


def where(kind: str, bins: int, rng: np.random.Generator) -> Space:
    """A chain of unit gaps, the WordNet tree for its number of bins, a random binary tree for others."""
    if kind == "chain":
        return emdref.Chain(bins)
    wordnet = emdref.wordnet_tree()
    return wordnet if bins == wordnet.n_bins else space_of("tree", bins, rng)


def histograms(rng: np.random.Generator, rows: int, bins: int, dtype: Any) -> Any:
    """Uniform on the simplex."""
    x = rng.standard_exponential((rows, bins), np.dtype(dtype).type)
    x /= x.sum(axis=1, keepdims=True)
    return x


def free_bytes() -> int | None:
    """Memory that may still be used; None where Linux is not there."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), None)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """emdref, BLAS and OpenMP on the caller's thread; see `threads_told`."""
    from emdref.kernels.compile import threads

    with contextlib.ExitStack() as stack:
        stack.enter_context(threads.at_most(1))
        with contextlib.suppress(ImportError):
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(1))
        yield


def threads_told() -> str:
    """How everybody was kept to one thread."""
    found = wrappers.version_of("threadpoolctl")
    if found:
        return f"1: set by threadpoolctl {found} for BLAS and OpenMP, by torch.set_num_threads and JAX's settings"
    return (
        "1: by environment variables for BLAS and OpenMP (threadpoolctl is not installed), by PyTorch's and JAX's own"
    )


# --- one problem ------------------------------------------------------------------------------------------------------


def contest(problem: Problem, rivals: tuple[Peer, ...], seconds: float) -> Rows:
    """A row for each implementation: times of those that agree, a note for the others."""
    count = min(len(problem.p), TRIED, max(1, 2**21 // problem.space.n_nodes))
    at = np.unique(np.linspace(0, len(problem.p) - 1, count).astype(np.int64))
    truth = Truth(problem.p, problem.q, problem.space, RHO[problem.task], at)
    with one_thread():
        entries = [_admit(problem, peer, truth) for peer in (*own(), *rivals) if _takes_part(peer, problem)]
    limits = _limits(problem)
    with one_thread():  # now that every package is loaded
        times = race({row["implementation"]: watch for row, watch in [*entries, *limits] if watch}, seconds)
    return [told(row, times, len(problem.p), NATIVE) for row, _ in [*entries, *limits]]


def _takes_part(peer: Peer, problem: Problem) -> bool:
    return problem.kind in peer.spaces and problem.task in peer.tasks


def told(row: dict[str, Any], times: dict[str, Any], batch: int, against: str) -> dict[str, Any]:
    """The row with its times, for all rows of the batch, and how they compare to another's in the same turns."""
    found = times.get(row["implementation"])
    if found is None:
        return row
    found = found * (batch / row["timed_rows"])
    row = row | dict(zip(("seconds", "low", "high"), spread(found), strict=True)) | {"repeats": len(found)}
    if "traffic" in row:
        row["gb_per_s"] = row["traffic"] / row["seconds"] / 1e9
    if against in times:
        row |= dict(zip(("ratio", "ratio_low", "ratio_high"), spread(found / times[against]), strict=True))
    return row


Entry = tuple[dict[str, Any], "Stopwatch | None"]


def _admit(problem: Problem, peer: Peer, truth: Truth) -> Entry:
    """Its row, and its stopwatch if it is there, agrees, and is not too slow."""
    row = entry(problem.row(), peer)
    if problem.p.shape[1] > peer.most:
        return row | {"note": f"skipped: more than {peer.most:g} bins, {peer.why}"}, None
    try:
        prepared = peer.make(problem.space, problem.p.dtype.type, problem.task)
        return _tried(row, problem, peer, prepared, truth)
    except FAILURES as error:
        return row | {"note": failure(error, peer.package)}, None


def entry(common: dict[str, Any], peer: Any) -> dict[str, Any]:
    """The row of a participant, before it is tried."""
    kind = OWN if peer.package == OWN else "peer"
    return common | {"implementation": peer.name, "kind": kind, "version": wrappers.version_of(peer.package)}


def failure(error: BaseException, package: str = "") -> str:
    """What the table says of a participant that is missing or breaks; emdref itself cannot be missing."""
    if isinstance(error, ImportError) and package != OWN:
        return wrappers.missing(error)
    return f"failed: {type(error).__name__}: {str(error).strip()[:200]}"


def _tried(row: dict[str, Any], problem: Problem, peer: Peer, prepared: Prepared, truth: Truth) -> Entry:
    """Few rows tell whether all may be computed; both the few and what is timed must agree."""
    count, each = len(problem.p), 0.0
    for few in (1, len(truth.at)) if peer.by_pair else (len(truth.at),):
        if few * each > LONG:
            break
        args = prepared.enter(problem.p[truth.at[:few]], problem.q[truth.at[:few]])
        row = _judged(row, prepared.call(*args), np.arange(few), prepared, peer, truth)
        if "note" in row:
            return row, None
        each = worked(lambda args=args: prepared.call(*args)) / few
    if each * count > (OWN_LONG if row["kind"] == OWN else LONG):
        if each > LONG or row["kind"] == OWN:
            return row | {"note": f"skipped: about {each * count:.2g} s a call"}, None
        count = max(1, int(LONG / 3 / each))
    args = prepared.enter(problem.p[:count], problem.q[:count])
    row = _judged(row, prepared.call(*args), truth.at, prepared, peer, truth)
    if "note" in row:
        return row, None
    told = {"note": f"timed on {count} of the rows"} if count < len(problem.p) else {}
    return row | {"timed_rows": count} | told, stopwatch(lambda: prepared.call(*args))


def _judged(row: dict[str, Any], answer: Any, at: Any, prepared: Prepared, peer: Peer, truth: Truth) -> dict[str, Any]:
    """With the worst disagreement so far; `at` says where in the answer the rows of the truth stand, if there."""
    value, grad = prepared.leave(answer)
    there = np.flatnonzero(at < len(value))
    found = truth.disagreement(value[at[there]], None if grad is None else grad[at[there]], peer.first, there)
    row = row | {
        "tolerance": truth.tolerance(peer.first),
        "disagreement": max(found, row.get("disagreement", 0.0)),
    }
    return row if found <= 1 else row | {"note": f"disagrees: {found:.3g} times the tolerance away, not timed"}


# --- emdref itself ----------------------------------------------------------------------------------------------------


def own() -> Iterator[Peer]:
    """emdref's ways to the same numbers, as users call it (gauge zero_sum), judged like all others."""
    yield Peer(NATIVE, OWN, _public("native"))
    yield Peer(COMPENSATED, OWN, _public("compensated"))
    for accuracy in ("native", "compensated"):
        yield Peer(f"emdref {accuracy}, unchecked", OWN, _unchecked(accuracy), tasks=(BOTH,))
        if "out" in inspect.signature(emdref.emd_value_and_grad).parameters:
            yield Peer(f"emdref {accuracy}, out=", OWN, _into(accuracy), tasks=(BOTH,))


def _public(accuracy: str) -> Callable[..., Prepared]:
    def make(space: Space, dtype: Any, task: str) -> Prepared:
        function = emdref.emd if task == VALUE else emdref.emd_value_and_grad
        return Prepared(lambda p, q: function(p, q, space, RHO[task], accuracy=accuracy))

    return make


def _into(accuracy: str) -> Callable[..., Prepared]:
    def make(space: Space, dtype: Any, task: str) -> Prepared:
        def enter(p: Any, q: Any) -> tuple[Any, ...]:
            return p, q, (np.empty(len(p), p.dtype), np.empty_like(p))

        def call(p: Any, q: Any, out: Any) -> Any:
            return emdref.emd_value_and_grad(p, q, space, RHO[task], accuracy=accuracy, out=out)

        return Prepared(call, enter)

    return make


def _unchecked(accuracy: str) -> Callable[..., Prepared]:
    """The same kernel on rows that were validated before: what checking costs is the difference."""

    def make(space: Space, dtype: Any, task: str) -> Prepared:
        from emdref.arguments import gauges
        from emdref.closed_form import batches, escalation

        code = gauges.code("zero_sum")

        def enter(p: Any, q: Any) -> tuple[Any, ...]:
            return (batches.checked(p, q, space, "raise", accuracy, gauge=code),)

        return Prepared(lambda rows: escalation.value_and_grad(rows, space, RHO[task], "raise", accuracy, code), enter)

    return make


# --- the machine ------------------------------------------------------------------------------------------------------


def _limits(problem: Problem) -> list[Entry]:
    """The memory's bandwidth on the same arrays, in the same turns: no kernel can read and write them faster.

    Value and gradient read two arrays and write one, as a subtraction does; a value alone reads two.
    """
    p, q, out = problem.p, problem.q, np.empty_like(problem.p)
    flat = p.ravel(), q.ravel()
    calls: dict[str, tuple[int, Callable[[], Any]]] = {
        FRESH: (3, lambda: np.subtract(p, q)),
        REUSED: (3, lambda: np.subtract(p, q, out=out)),
        "np.copyto": (2, lambda: np.copyto(out, p)),
        "np.vdot": (2, lambda: np.vdot(*flat)),
    }
    return [
        (
            problem.row(implementation=name, kind="limit", timed_rows=len(p), traffic=count * p.nbytes),
            stopwatch(call),
        )
        for name, (count, call) in calls.items()
    ]
