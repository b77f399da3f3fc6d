"""Without a CUDA target Numba's kernels for GPUs cannot even be imported: no doctests are looked for in them."""

import importlib.util

_NEED_CUDA = ["emdref/kernels/cuda/*", "tests/kernel_table.py", "tests/launches.py"]
collect_ignore_glob = [] if importlib.util.find_spec("numba.cuda") else _NEED_CUDA
