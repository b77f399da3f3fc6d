"""Kernels for NVIDIA GPUs: which thread does what, scratch memory, nothing else; formulas are those of emdref.kernels.

Nothing outside this package imports `numba.cuda`, and nothing imports this package before a GPU is asked for.
"""
