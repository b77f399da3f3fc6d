"""The Sinkhorn distance as a loss beside the exact EMD: values, gradients and iterations, cell by cell.

Scripts of several folders share the cells defined here.  Imports `inputs` and `engine`.
"""
