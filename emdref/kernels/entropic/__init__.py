"""Products with the kernel of Sinkhorn along a tree, and its iteration.  May import `emdref.kernels.arithmetic`."""
