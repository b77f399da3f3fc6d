"""Formulas compiled by Numba, and the loops that map them onto rows and threads.

``floats``, ``edges`` and ``semirings`` hold the arithmetic of a number or an edge.  ``lanes`` puts rows side by side in
vectors, for which ``simd`` has the instructions.  ``tiles`` and ``tiles2`` are exact EMD of such tiles in plain and in
two-limb arithmetic, ``glance`` their first look at the input; ``twolimb`` looks closer at single rows, ``native``,
``hessian``, ``hessian2`` and ``layers`` hold what else is done to one, ``cpu`` their loops.  ``entropic`` and
``alternation`` are Sinkhorn's; ``allpairs``, ``induced``, ``outline``, ``digits`` and ``matching`` serve pairwise
distances, sparse rows and plans.  Input is validated in the public functions above.
"""
