"""Sinkhorn on the CPU: products with the kernel exp(-lam M), the iteration, its derivatives, and Newton steps.

It may import `emdref.spaces` and what lies below; nothing of `emdref.closed_form`.
"""
