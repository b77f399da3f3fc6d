"""Shapes and pairs: orders of nodes, distances, exact flows, all pairs of rows, subtrees that bins span, plans.

May import `emdref.kernels.arithmetic`, and `emdref.kernels.rows` for scratch memory.
"""
