"""Hessians of rows, and their products with a direction: what `emdref.emd_hess` and `emdref.emd_hvp` give."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref import fallback
from emdref.arguments import casts, gauges, validation
from emdref.arguments.validation import Batch
from emdref.closed_form import batches, exact_rows
from emdref.kernels.compile.threads import over_rows
from emdref.kernels.rows import loops
from emdref.spaces.rooted import RootedTree
from emdref.spaces.space import Space, rooted

_BLOCK = 2**20  # entries of results, or of flows, that are done again at a time


def second(
    rows: Batch, space: Space, rho: float, mass: str, accuracy: str, gauge: int, numbers: "NDArray[Any] | None" = None
) -> NDArray[Any]:
    """Run one of two kernels on the rows, products if these have a direction, and do exactly what it cannot.

    `numbers` are those of the rows in the batch, if they are not all.
    """
    native, twolimb = (
        (loops.hess_native, loops.hess_twolimb) if rows.v is None else (loops.hvp_native, loops.hvp_twolimb)
    )
    normalize = mass == "normalize" or gauge == gauges.NORMALIZED
    tree = tree_of(space, rows)
    dtype, cost = rows.p.dtype, relevant_cost(tree, gauge)
    n = space.n_bins
    direction, shape = ((), (n, n)) if rows.v is None else ((rows.v,), (n,))
    out, infinite = _room((len(rows.p), *shape), dtype), np.zeros(len(rows.p), np.int64)
    if accuracy == "native":
        cost, rho = casts.narrowed(cost, dtype), batches.native_exponent(rho, dtype, curvature=True)
        batched = (rows.p, rows.q, *direction, out, infinite)
        shared = (tree.parent, cost, tree.bin_node), (rho, normalize, gauge)
        over_rows(native, batched, shared, work=20 * out[:1].size + 4 * tree.n_nodes)
        if infinite.any():
            _refuse_infinite(rows, space, tree.order[infinite], infinite > 0, rho, numbers)
        return out
    p, q = batches.as_float64(rows)
    unsafe, nodes = np.zeros(len(p), bool), (tree.parent, cost, tree.bin_node)

    def compute(batched: Sequence[NDArray[Any]], flows: NDArray[Any], code: int) -> None:
        work = 30 * out[:1].size + 100 * tree.n_nodes
        over_rows(twolimb, (*batched, flows), (nodes, (rho, code, gauge)), work=work)

    batched = (p, q, *map(casts.widened, direction), out, unsafe, infinite)
    compute(batched, np.empty((len(p), 0, 0)), int(normalize))
    if not (unsafe.any() or infinite.any() or not np.isfinite(out).all()):
        fallback.count(len(unsafe), 0)
        return out
    again = np.flatnonzero(unsafe | (exact_rows.beyond(out) & (infinite == 0)))
    fallback.count(len(unsafe), len(again))
    step = max(1, _BLOCK // max(tree.n_nodes, out[:1].size))
    for some in (again[at : at + step] for at in range(0, len(again), step)):
        block = [np.ascontiguousarray(x[some]) for x in batched]
        block[:-3] = map(casts.frozen, block[:-3])
        compute(block, exact_rows.flows(block[0], block[1], tree, cost, normalize), loops.GIVEN)
        out[some], unsafe[some], infinite[some] = block[-3:]
    again = np.flatnonzero(unsafe | (exact_rows.beyond(out) & (infinite == 0)))
    edges, name = tree.order[infinite], gauges.name(gauge)
    assert name is not None
    if 1 < rho < 2:
        for i in again:
            edge = exact_rows.kink(p[i], q[i], space, normalize, name)
            infinite[i], edges[i] = edge is not None, edge or 0
    _refuse_infinite(rows, space, edges, infinite > 0, rho, numbers)
    for i in again:
        row = (p[i], q[i], space, *(v[i] for v in direction), rho, normalize, name)
        with np.errstate(over="ignore", under="ignore"):
            out[i] = exact_rows.hvp(*row) if direction else exact_rows.hess(*row)
    return out


def _room(shape: "tuple[int, ...]", dtype: Any) -> NDArray[Any]:
    try:
        return np.empty(shape, dtype)
    except MemoryError:
        size = np.prod(shape, dtype=float) * np.dtype(dtype).itemsize / 2**30
        raise MemoryError(
            f"{' x '.join(map(str, shape))} numbers need {size:.0f} GiB: give fewer rows of p at a time, or use emd_hvp"
        ) from None


def tree_of(space: Space, rows: Any) -> RootedTree:
    """The space as second derivatives need it, or the refusal."""
    name = "emd_hess" if rows.v is None else "emd_hvp"
    return rooted(space, name, "second derivatives", "emd_grad works on any space")


def relevant_cost(tree: RootedTree, gauge: int) -> NDArray[np.float64]:
    """Costs by position, 0 on edges that no second derivative depends on: no bins below, or (but raw) all of them."""
    return tree.cost_between(1, tree.n_bins if gauge == gauges.RAW else tree.n_bins - 1)


def _refuse_infinite(
    rows: Batch,
    space: Space,
    edges: NDArray[np.int64],
    infinite: NDArray[np.bool_],
    rho: float,
    numbers: "NDArray[Any] | None",
) -> None:
    if infinite.any():
        i = int(np.argmax(infinite))
        edge = space.edge_name(int(edges[i]))
        i = i if numbers is None else int(numbers[i])
        raise ValueError(
            f"{validation.row_name(i, rows.shape, ': ')}phi is 0 on {edge}, where the second "
            f"derivative of |phi|**{rho} is infinite: use rho = 1 or rho >= 2, or move some mass across that edge"
        )
