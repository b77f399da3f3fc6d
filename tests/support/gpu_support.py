"""What tests marked `gpu` need: a device, Numba's simulator in its stead, or a reason why they are left out.

    @pytest.mark.gpu                          runs on a device, and in the simulator for its logic
    @pytest.mark.gpu(hardware="bits of pow")  runs on a device alone, for that reason

The simulator runs a Python thread for each of a device's: `sized` picks what it can do.  It is switched on before
Python starts, by ``NUMBA_ENABLE_CUDASIM=1 NUMBA_DISABLE_JIT=1``.
"""

import functools
import importlib.util

import numba
import pytest

SIMULATED = bool(numba.config.ENABLE_CUDASIM)
SIMULATOR = (  # which needs no GPU
    "with the extra test-gpu, NUMBA_ENABLE_CUDASIM=1 NUMBA_DISABLE_JIT=1 python -m pytest -m gpu tests simulates one"
)

needs_simulator = pytest.mark.skipif(
    SIMULATED or importlib.util.find_spec("numba_cuda") is None,
    reason="needs a simulator, which the extra test-gpu brings, and not within itself",
)


def sized(on_device, simulated):
    """The one or the other, by where kernels run."""
    return simulated if SIMULATED else on_device


@functools.cache
def missing():
    """Why no kernel can run, on a device or simulated, or ""."""
    if SIMULATED and not numba.config.DISABLE_JIT:
        return "Numba's CUDA simulator runs formulas as plain Python: set NUMBA_DISABLE_JIT=1 too"
    if SIMULATED and importlib.util.find_spec("numba_cuda") is None:
        return "Numba's own simulator lacks streams, numba-cuda's has them: pip install --editable '.[test-gpu]'"
    try:
        from emdref.kernels.cuda.target import trouble
    except ImportError as error:
        return f"numba-cuda is not installed ({error})"
    reason = trouble()
    if reason and importlib.util.find_spec("numba_cuda") is None:
        return f"numba-cuda is not installed, and {reason}"
    return reason


def reason_against(item):
    """Why a test cannot run here, and what it needs, or ""; conftest.py leaves it out then."""
    marker = item.get_closest_marker("gpu")
    if not marker:
        return ""
    if SIMULATED and not missing():
        return "for GPUs alone: they look at what the simulator has not" if "hardware" in marker.kwargs else ""
    return f"for GPUs: {missing()}; {SIMULATOR}" if missing() else ""
