"""Numbers: error-free transformations, vectors of rows, what an edge contributes, semirings, long integers.

May import `emdref.kernels.compile` alone.
"""
