"""What callers give and get: arrays and options looked at, named in messages, and results in the shape they expect.

Nothing here knows a space or a formula.  It may import `emdref.kernels` alone.
"""
