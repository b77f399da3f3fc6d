"""EMD^rho by its closed form on the CPU: values, derivatives, flows, plans and all pairs, from rows that are valid.

It may import `emdref.exact`, which settles what floats cannot hold, and what lies below that.  Gibbs kernels and
Sinkhorn are in `emdref.entropic`.
"""
