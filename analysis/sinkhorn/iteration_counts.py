"""How many iterations Sinkhorn's potentials take by plain and by accelerated iterations."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import emdref

METHODS = ("plain", "overrelaxed", "plain doubling", "overrelaxed doubling")
_COARSE = 1e-2  # marginal error, relative, at which a stage of `doubling` ends
_SMOOTH = 5.0  # lam times the largest distance at its first stage, or less


def iterations(
    space: Any,
    name: str,
    p: NDArray[np.float64],
    q: NDArray[np.float64],
    lams: Iterable[float],
    *,
    methods: Sequence[str] = METHODS,
    tol: float = 1e-6,
    max_iter: int = 100_000,
) -> list[dict[str, Any]]:
    """A row for each pair of rows of p and q, lam and method: iterations and seconds until the marginal error is `tol`.

    ``plain`` is variant ``paper`` of `emdref.sinkhorn`, ``overrelaxed`` the variant of that name; with ``doubling``,
    lam is doubled up to its value, each stage from the potentials of the last (Schmitzer 2019, arXiv 1610.06519).
    All in float64 and the log domain, one pair at a time; `tol` is relative to the pair's total.

    Examples
    --------
    >>> import numpy as np, emdref
    >>> table = iterations(emdref.Chain(3), "chain", np.array([[0.6, 0.3, 0.1]]), np.array([[0.2, 0.2, 0.6]]), [20.0])
    >>> [row["method"] for row in table], {row["status"] for row in table}
    (['plain', 'overrelaxed', 'plain doubling', 'overrelaxed doubling'], {'converged'})
    """
    unknown = set(methods) - set(METHODS)
    if unknown:
        raise ValueError(f"methods holds {min(unknown)!r}, which is not one of {', '.join(METHODS)}")
    return [
        {"method": method, "lam": float(lam), "space": name, "pair": k}
        | _run(method, space, p[k], q[k], lam, tol, max_iter)
        for lam in lams
        for k in range(len(p))
        for method in methods
    ]


def _run(method: str, space: Any, p: Any, q: Any, lam: float, tol: float, max_iter: int) -> dict[str, Any]:
    began = time.perf_counter()
    reach = lam * space.diameter / _SMOOTH
    stages = math.ceil(math.log2(max(1.0, reach))) if method.endswith("doubling") else 0
    variant = "overrelaxed" if method.startswith("overrelaxed") else "paper"
    result, spent = _doubling(space, p, q, lam, variant, stages, tol * float(p.sum()), max_iter)
    seconds = time.perf_counter() - began
    return {
        "iterations": spent,
        "seconds": seconds,
        "marginal_error": float(result.marginal_error),
        "status": result.status,
    }


def _doubling(
    space: Any, p: Any, q: Any, lam: float, variant: str, stages: int, goal: float, max_iter: int
) -> tuple[Any, int]:
    """The last stage's result and the iterations of all, `max_iter` at most; `stages` come before the last."""
    init, spent = None, 0
    for k in range(stages, -1, -1):
        aim = max(goal, _COARSE * float(p.sum())) if k else goal
        cap = max_iter - spent - k  # at least one iteration is left to each later stage
        result = emdref.sinkhorn(
            p, q, space, lam / 2**k, max_iter=cap, tol=aim, variant=variant, init=init, domain="log"
        )
        spent += int(result.n_iter)
        init = (2 * result.log_u, 2 * result.log_v)
    return result, spent
