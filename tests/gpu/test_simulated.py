"""A small part of the tests marked `gpu`, in the simulator: so that plain pytest covers the kernels' logic as well."""

import os
import re
import subprocess
import sys
from pathlib import Path

from gpu_support import needs_simulator

HERE = Path(__file__).parent
SAMPLE = [
    "test_gpu_support.py",
    "test_gpu_emd.py::test_value_and_gradient_are_the_cpus[2-float32-chain]",
    "test_gpu_emd.py::test_value_and_gradient_are_the_cpus[1-float64-tree]",
    "test_gpu_emd.py::test_value_and_gradient_are_near_the_exact_ones[native-2.5-float32-tree]",
    "test_gpu_emd.py::test_every_sign_is_right_where_two_limbs_are_not_enough",
    "test_gpu_emd.py::test_second_derivatives_are_near_the_cpus[inner-3-compensated-float32]",
    "test_gpu_emd.py::test_edge_cases",
    "test_gpu_emd.py::test_a_space_of_ones_own_needs_no_more_than_the_rooted_view",
]


@needs_simulator
def test_a_sample_passes_in_the_simulator():
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, *(str(HERE / name) for name in SAMPLE)],
        cwd=HERE.parents[1],
        env=clean | {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(re.search(r"(\d+) passed", run.stdout).group(1)) >= len(SAMPLE)
