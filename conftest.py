"""What is for GPUs, PyTorch or JAX cannot be imported without them: no doctests are looked for in it then."""

import importlib.util

_FOR_GPUS = [
    *("emdref/kernels/cuda/*", "emdref/gpu.py", "emdref/device_*.py", "emdref/frameworks.py"),
    *("tests/kernel_table.py", "tests/launches.py"),
]
_NEEDED = {"numba.cuda": _FOR_GPUS, "torch": ["emdref/torch.py"], "jax": ["emdref/jax.py"]}
collect_ignore_glob = [
    pattern for module, patterns in _NEEDED.items() if not importlib.util.find_spec(module) for pattern in patterns
]
