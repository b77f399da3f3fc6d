"""Regenerates every figure and table of the papers into ``figures/``: ``python -m analysis``.

Scripts, one a figure, are in `figures`, `studies` and `benchmarks`; `report` makes the page of all that they left.
What they share lies below, and imports downwards only: `experiments` and `gpu`; `timing` and `sinkhorn`; `inputs` and
`peers`; `engine`.
"""

import os

# Cells run side by side on threads of their own; a BLAS with threads inside would fight them, and not repeat its sums.
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
