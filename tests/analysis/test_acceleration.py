"""The measurement of accelerated Sinkhorn iterations, at toy size."""

import numpy as np
import pytest

import emdref
from analysis.sinkhorn import iteration_counts

CHAIN = emdref.Chain(gaps=[0.5, 1.0, 0.0, 2.0, 0.3])


def test_measured_iterations_of_the_methods():
    p, q = np.random.default_rng(0).dirichlet(np.ones(6), (2, 2))
    table = iteration_counts.iterations(CHAIN, "chain", p, q, [1.0, 30.0], tol=1e-8)
    assert [(r["lam"], r["pair"], r["method"]) for r in table] == [
        (lam, k, m) for lam in (1.0, 30.0) for k in (0, 1) for m in iteration_counts.METHODS
    ]
    assert {r["status"] for r in table} == {"converged"}
    assert all(r["marginal_error"] <= 1e-8 and r["seconds"] > 0 and r["space"] == "chain" for r in table)
    plain = emdref.sinkhorn(p[1], q[1], CHAIN, 30.0, max_iter=100_000, tol=1e-8, domain="log")
    assert table[12]["iterations"] == plain.n_iter
    with pytest.raises(ValueError, match="methods holds 'newton'"):
        iteration_counts.iterations(CHAIN, "chain", p, q, [1.0], methods=["newton"])
