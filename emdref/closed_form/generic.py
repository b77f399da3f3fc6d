"""Rows on a space without kernels, one by one from the definitions: slow, and right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref.arguments.validation import Batch
from emdref.spaces.space import Space


def natively(
    rows: Batch, space: Space, rho: Any, centred: bool, factor: int, value: NDArray[Any], grad: NDArray[Any] | None
) -> None:
    """Value, and gradient if wanted, in plain arithmetic of the rows' dtype."""
    real = rows.p.dtype.type
    cost = [real(c) for c in space.edges.cost.tolist()]
    with np.errstate(all="ignore"):
        for i, (p, q) in enumerate(zip(rows.p, rows.q, strict=True)):
            flow = space.exact_flow(list(p - q), cost, float(rho))
            value[i] = sum((c * abs(f) ** rho for c, f in zip(cost, flow, strict=True)), real(0))
            if grad is not None:
                r = np.array(space.exact_potentials(space.exact_slopes(flow, cost, rho)), real)
                grad[i] = real(factor) * (r - r.mean() if centred else r)


def flows(rows: Batch, space: Space, rho: float) -> NDArray[Any]:
    """Flows in plain arithmetic of the rows' dtype."""
    cost = [rows.p.dtype.type(c) for c in space.edges.cost.tolist()]
    return np.array([space.exact_flow(list(d), cost, rho) for d in rows.p - rows.q], rows.p.dtype)
