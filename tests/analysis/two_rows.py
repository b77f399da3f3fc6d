"""Two rows of a table, which a process of its own prints; see test_gpu_analysis.py."""

import numpy as np


def two_rows(n):
    print("a greeting")
    yield {"n": n}
    yield {"n": np.float32(n + 1.5)}
