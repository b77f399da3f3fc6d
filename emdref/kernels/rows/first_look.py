"""What a first look at a row tells from its totals and its least entry."""

import math

from emdref.kernels.compile.jit import row


@row
def fails(p_total, q_total, least, half):
    """True where a row does not pass, from its totals, its least entry and half the tolerance."""
    zero = type(least)(0)
    top = max(p_total, q_total)
    fine = least >= zero and p_total > zero and q_total > zero and top < type(least)(math.inf)
    return not (fine and abs(p_total - q_total) <= half * top)
