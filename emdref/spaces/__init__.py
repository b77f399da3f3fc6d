"""The spaces that histograms live on, and what a space must offer (`emdref.spaces.space`).

A new space is a module here, and a kernel if it is to be fast.  It may import `emdref.arguments` and `emdref.kernels`.
"""
