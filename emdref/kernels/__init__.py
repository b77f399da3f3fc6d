"""Row formulas compiled by Numba, and the loops that map them onto threads.

``floats`` and ``edges`` hold the arithmetic, ``native``, ``twolimb`` and ``entropic`` the traversals of one row,
``cpu`` the loops over rows.  Nothing here validates: that is done once, in the public functions above.
"""
