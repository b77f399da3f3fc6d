"""Without a CUDA target what is for GPUs cannot even be imported: no doctests are looked for in it."""

import importlib.util

_FOR_GPUS = [
    *("emdref/kernels/cuda/*", "emdref/gpu.py", "emdref/device_*.py", "emdref/frameworks.py"),
    *("tests/kernel_table.py", "tests/launches.py"),
]
collect_ignore_glob = [] if importlib.util.find_spec("numba.cuda") else _FOR_GPUS
