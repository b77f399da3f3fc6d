"""Without a CUDA target Numba's kernels for GPUs cannot even be imported: no doctests are looked for in them."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("numba.cuda") else ["emdref/kernels/cuda/*"]
