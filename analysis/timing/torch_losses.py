"""The losses for PyTorch beside what a user would write by hand: softmax, cumsum, products with a matrix."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import emdref
from analysis.engine.cells import Rows
from analysis.peers import wrappers
from analysis.timing import own_process, sinkhorn_calls
from analysis.timing.duels import Call, Entrant, Judge, duel, near
from analysis.timing.emd_speed import OWN
from analysis.timing.measuring import Truth
from analysis.timing.sinkhorn_speed import LAMBDA

FUNCTION = f"{__name__}:compute"
SMALL, LARGE = (64, 30), (128, 1000)
FORWARD, BACKWARD = "forward", "forward and backward"
EMD, SINKHORN, COMPILED = "EMDLoss", "SinkhornLoss", "EMDLoss, compiled"
CUMSUM, INCIDENCE, LOOP, EMPTY = (
    "softmax and cumsum in torch", "incidence product in torch", "dense loop in torch", "an empty operator, compiled",
)  # fmt: skip
CAP = 10  # iterations
ACCURACIES = ("native", "compensated")
Loss = Callable[[Any, Any], Any]


class Batch(NamedTuple):
    """Logits and targets, and the space they are on."""

    kind: str
    space: Any
    x: Any
    q: Any

    def common(self, task: str) -> dict[str, Any]:
        """The beginning of a row."""
        rows, bins = self.x.shape
        return {
            "space": self.kind, "bins": bins, "nodes": self.space.n_nodes, "rows": rows, "dtype": self.x.dtype.name,
            "task": task,
        }  # fmt: skip

    def histograms(self) -> tuple[Any, Any]:
        """p and q in float64."""
        p = np.exp(self.x.astype(np.float64))
        return p / p.sum(axis=1, keepdims=True), self.q.astype(np.float64)


def compute(**parameters: Any) -> Rows:
    """Rows of a sheet, measured in a process of its own."""
    return own_process.call(f"{__name__}:measure", **parameters)


def task_of(name: str, way: str, accuracy: str = "") -> str:
    """What is timed."""
    return ", ".join(filter(None, (name, accuracy, way)))


def measure(names: list[str], kinds: list[str], dtypes: list[str], seconds: float, seed: int) -> Rows:
    """Each of the losses named on chains and on the WordNet tree, either way."""
    found: Rows = []
    for name, kind, dtype in itertools.product(names, kinds, dtypes):
        for shape in (LARGE,) if kind == "tree" else (SMALL,) if name == COMPILED else (SMALL, LARGE):
            batch = batch_of(kind, shape, dtype, seed)
            for accuracy in ("",) if name == SINKHORN else ACCURACIES:
                judge = _sinkhorn_judge(batch) if name == SINKHORN else _emd_judge(batch)
                for way in (FORWARD, BACKWARD):
                    _forget(name)
                    entrants = [
                        Entrant(OWN, OWN, lambda n=name, b=batch, a=accuracy, w=way: _step(_own(n, b, a), b, w)),
                        _rival(name, batch, accuracy, way),
                    ]
                    found += duel(batch.common(task_of(name, way, accuracy)), entrants, judge, seconds)
    return found


def batch_of(kind: str, shape: tuple[int, int], dtype: str, seed: int) -> Batch:
    """Logits of spread 2, and targets uniform on the simplex."""
    rng = np.random.default_rng([seed, *shape])
    space = emdref.wordnet_tree() if kind == "tree" else emdref.Chain(shape[1])
    q = rng.standard_exponential(shape)
    return Batch(
        kind, space, (2 * rng.standard_normal(shape)).astype(dtype), (q / q.sum(1, keepdims=True)).astype(dtype)
    )


def _step(loss: Loss, batch: Batch, way: str) -> Call:
    """A step of training with that loss, or its value alone."""
    import torch

    torch.set_num_threads(1)
    x, q = torch.tensor(batch.x, requires_grad=way == BACKWARD), torch.tensor(batch.q)

    def forward() -> Any:
        return loss(x, q)

    def both() -> Any:
        x.grad = None
        value = loss(x, q)
        value.backward()
        return value, x.grad

    if way == FORWARD:
        return Call(forward, lambda value: (value.numpy(),))
    return Call(both, lambda answer: (answer[0].detach().numpy(), answer[1].numpy()))


# --- who takes part ---------------------------------------------------------------------------------------------------


def _own(name: str, batch: Batch, accuracy: str) -> Loss:
    from emdref.torch import EMDLoss, SinkhornLoss

    if name == SINKHORN:
        return SinkhornLoss(batch.space, LAMBDA / batch.space.diameter, max_iter=CAP)
    loss = EMDLoss(batch.space, 2, accuracy=accuracy)
    return loss if name == EMD else _compiled(loss)


def _compiled(function: Loss) -> Loss:
    import torch

    return torch.compile(function, dynamic=False)


def _forget(name: str) -> None:
    """What was compiled before: PyTorch runs a function as it is that has been compiled for too many objects."""
    with contextlib.suppress(ImportError):
        if name == COMPILED:
            import torch

            torch.compiler.reset()


def _rival(name: str, batch: Batch, accuracy: str, way: str) -> Entrant:
    if name == COMPILED:
        return Entrant(EMPTY, "torch", lambda: _nothing(_own(EMD, batch, accuracy), batch, way))
    hand = _loop if name == SINKHORN else _cumsum if batch.kind == "chain" else _incidence
    named = LOOP if name == SINKHORN else CUMSUM if batch.kind == "chain" else INCIDENCE
    return Entrant(named, "torch", lambda: _step(hand(batch.space, batch.x.dtype), batch, way))


def _cumsum(chain: emdref.Chain, dtype: Any) -> Loss:
    import torch

    def loss(x: Any, q: Any) -> Any:
        return torch.cumsum(torch.softmax(x, 1) - q, 1)[:, :-1].square().sum(1).mean()

    return loss


def _incidence(tree: emdref.Tree, dtype: Any) -> Loss:
    import torch

    below, cost = wrappers.incidence(tree, dtype)
    edges = np.flatnonzero(np.diff(below.indptr) * cost)
    above, costs = torch.from_numpy(np.ascontiguousarray(below[edges].toarray().T)), torch.from_numpy(cost[edges])

    def loss(x: Any, q: Any) -> Any:
        return (((torch.softmax(x, 1) - q) @ above).square() @ costs).mean()

    return loss


def _loop(space: Any, dtype: Any) -> Loss:
    """Alg. 1 by the matrix, whose gradient is log u / lambda, as frameworks have it."""
    import torch

    lam = LAMBDA / space.diameter
    cost = torch.from_numpy(space.distance_matrix(dtype))
    kernel = torch.exp(-lam * cost - 1)
    weighted = kernel * cost

    class Loop(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, p: Any, q: Any) -> Any:
            u = torch.ones_like(p)
            for _ in range(CAP):
                v = q / (u @ kernel)
                u = p / (v @ kernel)
            v = q / (u @ kernel)
            ctx.save_for_backward(u)
            return (u * (v @ weighted)).sum(1)

        @staticmethod
        def backward(ctx: Any, of_value: Any) -> Any:
            (u,) = ctx.saved_tensors
            return of_value[:, None] * torch.log(u) / lam, None

    return lambda x, q: Loop.apply(torch.softmax(x, 1), q).mean()


def _nothing(loss: Loss, batch: Batch, way: str) -> Call:
    """The compiled loss, whose operator does nothing: what remains is PyTorch's.  The loss itself stands for it before.

    In the graph that torch.compile takes of the loss, each operator of emdref is replaced by one of the same signature
    and the same results' shapes, which leaves them unwritten.
    """
    import torch

    whole = _step(loss, batch, way)
    graphs: list[Any] = []

    def keep(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    x, q = torch.tensor(batch.x, requires_grad=way == BACKWARD), torch.tensor(batch.q)
    torch.compile(loss, dynamic=False, backend=keep)(x, q)
    (graph,) = graphs
    operators = [node for node in graph.graph.nodes if str(node.target).startswith("emdref.")]
    if not operators:
        raise RuntimeError("the compiled loss calls no operator of emdref")
    for node in operators:
        node.target = _empty(node.target, node.meta["example_value"])
    graph.recompile()
    first, *_ = (node.name for node in graph.graph.nodes if node.op == "placeholder")
    swapped = first.lower().startswith("l_q_")  # by the name of the argument
    inner = _compiled(graph)

    def empty(x: Any, q: Any) -> Any:
        return inner(*((q, x) if swapped else (x, q)))[0]

    return Call(whole.call, whole.read, _step(empty, batch, way).call)


_kept: list[Any] = []  # libraries, whose operators last as long as they do


def _empty(operator: Any, example: Any) -> Any:
    """An operator of the same signature that makes results like those and leaves them as they are."""
    import torch

    overload = operator if hasattr(operator, "_schema") else operator.default
    unique = f"{overload._schema.name.partition('::')[2]}_{len(_kept)}"
    library = torch.library.Library("emdref_empty", "FRAGMENT")
    _kept.append(library)
    library.define(f"{unique}({str(overload._schema).partition('(')[2]}")

    single = isinstance(example, torch.Tensor)
    shapes = [(tuple(x.shape), x.dtype) for x in ((example,) if single else example)]

    def results(p: Any, *others: Any) -> Any:
        found = tuple(p.new_empty(shape, dtype=dtype) for shape, dtype in shapes)
        return found[0] if single else found

    def keep(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*(() if single else output[1:]))
        ctx.count = len(inputs) - 1

    def back(ctx: Any, of_value: Any, *others: Any) -> Any:
        gradient, *_ = ctx.saved_tensors
        of_value = of_value.reshape(of_value.shape + (1,) * (gradient.ndim - of_value.ndim))
        return of_value * gradient, *(None for _ in range(ctx.count))

    full = f"emdref_empty::{unique}"
    library.impl(unique, results, "CPU")
    torch.library.register_fake(full, results, lib=library)
    torch.library.register_autograd(full, back, setup_context=keep, lib=library)
    return getattr(torch.ops.emdref_empty, unique).default


# --- who is right -----------------------------------------------------------------------------------------------------


def _through_softmax(p: Any, grad: Any) -> Any:
    """The gradient by the logits, of the mean over the rows."""
    return p * (grad - (p * grad).sum(axis=1, keepdims=True)) / len(p)


def _judged(value: Any, grad: Any, p: Any, for_value: Any, for_grad: Any, unit: float) -> Judge:
    """A mean of values, and its gradient p (g - <p, g>), where g is off by `for_grad` and p by so many units."""
    for_logits = 2 * p * (for_grad + unit * np.abs(grad).max(axis=1, keepdims=True)) / len(p)
    parts = (value.mean(), for_value.mean()), (_through_softmax(p, grad), for_logits)
    return lambda found: near(*zip(*parts[: len(found)], strict=True))(found)


def _emd_judge(batch: Batch) -> Judge:
    p, q = batch.histograms()
    truth = Truth(p.astype(batch.x.dtype), q.astype(batch.x.dtype), batch.space, 2, np.arange(len(p)))
    for_value, for_grad = truth.tolerances(first=False)
    return _judged(truth.value, truth.grad, p, for_value, for_grad[:, None], truth.FACTOR * truth.eps)


def _sinkhorn_judge(batch: Batch) -> Judge:
    p, q = batch.histograms()
    lam = LAMBDA / batch.space.diameter
    right = emdref.sinkhorn(p, q / q.sum(axis=1, keepdims=True), batch.space, lam, max_iter=CAP, domain="log")
    eps = sinkhorn_calls.tolerance(batch.space, batch.x.dtype)
    return _judged(right.value, right.grad, p, eps * right.value, eps / lam, eps)
