"""Compiled formulas, and the loops that map them onto rows and threads.

From the bottom: `compile` makes machine code and deals work to threads; `arithmetic` holds numbers, vectors, edges;
above it `rows` works on one row at a time, `tiles` on as many as a vector has lanes, `trees` on shapes and pairs of
rows, `entropic` on Sinkhorn; `cuda` maps the same formulas onto GPUs.  Nothing outside of `emdref.kernels` is imported,
and arguments are valid: the public functions have seen to that.
"""
