"""Tests marked `gpu` are run or left out with the reason, never passed unseen."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpu_support
from gpu_support import SIMULATED, needs_simulator, reason_against, sized

pytest.importorskip("numba.cuda", reason="numba-cuda is not installed")
from emdref.kernels.cuda.target import cuda, kernel, launch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@kernel
def double(x):
    i = cuda.grid(1)
    if i < len(x):
        x[i] += x[i]


@pytest.mark.gpu
def test_a_kernel_runs():
    x = np.arange(sized(1000, 7), dtype=np.float32)
    on_device = cuda.to_device(x)
    launch(double, 2, sized(512, 4), 0, 0, on_device)
    assert (on_device.copy_to_host() == 2 * x).all()


@pytest.mark.gpu(hardware="a processor's clock")
def test_hardware_is_not_simulated():
    assert not SIMULATED


def outcomes(**environment):
    """pytest's summary of the two tests above, in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-m", "gpu"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    run = subprocess.run(command, cwd=ROOT, env=clean | environment, capture_output=True, text=True, timeout=120)
    return run.returncode, run.stdout + run.stderr


@needs_simulator
def test_simulated_tests_run_and_others_say_why_not():
    code, text = outcomes(NUMBA_ENABLE_CUDASIM="1", NUMBA_DISABLE_JIT="1")
    assert code == 0, text
    assert "1 passed" in text
    assert "1 tests left out, for GPUs alone: they look at what the simulator has not" in text


@pytest.mark.skipif(SIMULATED, reason="a simulator within the simulator")
def test_half_a_simulator_is_none():
    code, text = outcomes(NUMBA_ENABLE_CUDASIM="1")
    assert code == pytest.ExitCode.NO_TESTS_COLLECTED, text
    assert "2 tests left out, for GPUs: " in text and "set NUMBA_DISABLE_JIT=1 too" in text


@pytest.mark.skipif(SIMULATED, reason="the simulator hides devices")
def test_a_hidden_device_is_a_reason():
    """Whatever is missing on this machine, with no device to be seen nothing passes."""
    code, text = outcomes(CUDA_VISIBLE_DEVICES="-1")
    assert code == pytest.ExitCode.NO_TESTS_COLLECTED, text
    assert "2 tests left out" in text and gpu_support.SIMULATOR in text
    assert any(reason in text for reason in ("numba-cuda is not installed", "NVIDIA driver", "no NVIDIA GPU"))


def test_reasons(monkeypatch, request):
    item = request.node
    assert not reason_against(item)
    item.add_marker(pytest.mark.gpu(hardware="speed"))
    monkeypatch.setattr(gpu_support, "missing", lambda: "none here")
    monkeypatch.setattr(gpu_support, "SIMULATED", False)
    assert reason_against(item).startswith(f"for GPUs: none here; {gpu_support.SIMULATOR}")
    monkeypatch.setattr(gpu_support, "missing", lambda: "")
    assert not reason_against(item)
    monkeypatch.setattr(gpu_support, "SIMULATED", True)
    assert reason_against(item).startswith("for GPUs alone")


@pytest.mark.skipif(SIMULATED, reason="the simulator needs no CUDA target")
@pytest.mark.parametrize(
    "what",
    [
        ["emdref", *sorted(str(x) for pattern in ("gpu_*", "ptx", "dev*") for x in HERE.glob(f"test_{pattern}.py"))],
        pytest.param(["emdref", "tests"], marks=pytest.mark.slow),
    ],
    ids=["what is for GPUs", "all"],
)
def test_all_is_collected_without_a_cuda_target(what):
    """As with a Numba that no longer brings one of its own."""
    code = "import sys; sys.modules['numba.cuda'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "-q", "--collect-only", "-p", "no:cacheprovider", *what]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr
