"""Kernels are launched with the types for which test_ptx.py compiles them, and no others."""

import numpy as np
import pytest

pytest.importorskip("numba.cuda", reason="numba-cuda is not installed")

import cases
import emdref
import kernel_table
import launches
import plain
from gpu_support import SIMULATED

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not SIMULATED, reason="launches are listened to in the simulator"),
    pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning"),
]
EMD = [x for x in kernel_table.KERNELS if x.split(".")[0] in ("chain", "chain_near", "tree", "rows")]
SPACES = dict(zip(("chain", *plain.SHAPES), (x for x, _ in plain.spaces(emdref)), strict=True))


def evaluate(space, dtype):
    p, q = (x[:2] for x in plain.pairs(space.n_bins, dtype))
    for accuracy in ("native", "compensated"):
        for rho, mass in ((2, "ignore"), (2.5, "ignore"), (2, "normalize")):
            options = {"mass": mass, "accuracy": accuracy, "device": "cuda"}
            emdref.emd_value_and_grad(p, q, space, rho, **options)
            emdref.emd_hvp(p, q, space, q, rho, **options)
            emdref.flow(p, q, space, **options)
        emdref.emd_hess(p, q, space, 2, **options)
        emdref.emd_grad(p, q, space, 1, **options | {"gauge": "normalized"})


def unexpected(seen):
    """Launches that are not in the table, as text."""
    known = kernel_table.signatures()
    return [f"{name}{types}" for name, used in seen.items() for types in used - known.get(name, set())]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["chain", "tree"])
@pytest.mark.parametrize("shared", [48 * 1024, 8])
def test_evaluation(shared, name, dtype, monkeypatch):
    """With as little shared memory as makes all go through the device's own."""
    from emdref.gpu import call, layout

    less = layout.limits()._replace(shared=shared)
    monkeypatch.setattr(layout, "limits", lambda *_: less)
    with launches.recorded(call) as seen:
        evaluate(SPACES[name], dtype)
    assert seen
    assert unexpected(seen) == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("domain", ["linear", "log"])
@pytest.mark.parametrize("kernel", ["space", "dense"])
def test_sinkhorn(kernel, domain, dtype):
    from emdref.gpu import call

    space = SPACES["tree"]
    p, q = cases.softmax(np.random.default_rng(3), (2, 2, space.n_bins), dtype)
    with launches.recorded(call) as seen:
        emdref.sinkhorn(p, q, space, 2.0, max_iter=2, kernel=kernel, domain=domain, device="cuda")
    assert seen
    assert unexpected(seen) == []
