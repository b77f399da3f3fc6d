"""The public functions of histograms on a space: arguments are looked at, then the CPU or a GPU computes.

Every module holds what users call, with its documentation.  It may import everything below: `emdref.gpu`, where a GPU
computes, `emdref.closed_form` and `emdref.entropic`, where the CPU does, and what these stand on.
"""
