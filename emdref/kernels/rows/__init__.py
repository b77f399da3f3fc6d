"""One row at a time: values and gradients looked at closely, Hessians, normalising layers; `loops` is called by Python.

May import `emdref.kernels.arithmetic`.
"""
