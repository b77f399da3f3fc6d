"""Exact EMD of a tile, as many rows as a vector has lanes: in plain arithmetic and in two limbs, a module a space.

May import `emdref.kernels.arithmetic`.
"""
