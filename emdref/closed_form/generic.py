"""Rows on any space: from its kernels if it has some, else one by one from the definitions, slow and right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref import fallback
from emdref.arguments import casts
from emdref.arguments.validation import Batch
from emdref.closed_form import batches
from emdref.exact import definitions, rounding
from emdref.kernels.compile.threads import over_columns
from emdref.spaces.space import Space


def natively(rows: Batch, space: Space, how: tuple[Any, ...], value: NDArray[Any], grad: NDArray[Any] | None) -> None:
    """Value, and gradient if wanted, in plain arithmetic of the rows' dtype; `how` is what a kernel is told."""
    rho, share, factor, *_ = how
    real = rows.p.dtype.type
    cost = [real(c) for c in space.edges.cost.tolist()]
    with np.errstate(all="ignore"):
        for i, (p, q) in enumerate(zip(rows.p, rows.q, strict=True)):
            flow = space.exact_flow(list(p - q), cost, float(rho))
            value[i] = sum((c * abs(f) ** rho for c, f in zip(cost, flow, strict=True)), real(0))
            if grad is not None:
                r = np.array(space.exact_potentials(space.exact_slopes(flow, cost, rho)), real)
                grad[i] = factor * (r - r.mean() if share else r)


def flows(rows: Batch, space: Space, rho: float, shares: bool, accuracy: str) -> NDArray[Any]:
    """Flows, an entry an edge."""
    return _native_flows(rows, space, rho, shares) if accuracy == "native" else _flows(rows, space, rho, shares)


def _native_flows(rows: Batch, space: Space, rho: float, shares: bool) -> NDArray[Any]:
    """In plain arithmetic of the rows' dtype."""
    p, q = rows.p, rows.q
    if shares:
        p, q = (casts.frozen(x / x.sum(axis=1, keepdims=True)) for x in (p, q))
    made, _ = _by_kernel(Batch(p, q, rows.shape), space, batches.native_exponent(rho, p.dtype), shares, "native")
    if made is not None:
        return made
    cost = [p.dtype.type(c) for c in space.edges.cost.tolist()]
    flow = [[float(f) for f in space.exact_flow(list(d), cost, rho)] for d in p - q]
    return np.array(flow, p.dtype).reshape(len(p), len(cost))


def _flows(rows: Batch, space: Space, rho: float, shares: bool) -> NDArray[Any]:
    """By the space's kernel, and from the definition what that leaves open."""
    p, q = batches.as_float64(rows)
    made, unsafe = _by_kernel(Batch(p, q, rows.shape), space, rho, shares, "compensated")
    flow = np.zeros((len(p), len(space.edges.cost))) if made is None else made
    left = np.flatnonzero(unsafe)
    fallback.count(len(p), len(left))
    for i in left.tolist():
        row = definitions.Row(p[i], q[i], space, shares, rho)
        flow[i] = [rounding.nearest(f * row.phi_unit) for f in row.phi]
    return casts.narrowed(flow, rows.p.dtype)


def _by_kernel(
    rows: Batch, space: Space, rho: Any, shares: bool, accuracy: str
) -> tuple[NDArray[Any] | None, NDArray[np.bool_]]:
    """Flows by the space's kernel, None if it has none, and which rows are open."""
    p, q = rows.p, rows.q
    kernel, unsafe = space.flow_kernel(float(rho), p.dtype, accuracy, shares), np.ones(len(p), bool)
    if kernel is None:
        return None, unsafe
    real = p.dtype.type
    flow, how = np.empty((len(p), len(space.edges.cost)), p.dtype), (rho, real(0), real(1), np.inf, True, -1.0)
    given = *batches.flat(p), *batches.flat(q)
    over_columns(kernel.loop, len(p), (given, (flow, unsafe), kernel.shape, how), work=kernel.work)
    return flow, unsafe
