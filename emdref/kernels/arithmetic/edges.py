"""What one edge contributes: |phi|**rho to the value, its derivative rho sgn(phi) |phi|**(rho-1) to the gradient, and
the derivative of that, rho (rho-1) |phi|**(rho-2), to the Hessian.

Eqs. (10), (11), (12), (13) and (15) of arXiv 1611.07573, before the factor M_e.  At a kink (rho = 1, phi = 0) the first
derivative is 0, the subgradient of least absolute value, and so is the second; for 1 < rho < 2 the second is infinite
at phi = 0, which `is_infinite` tells.
"""

import math

from emdref.kernels.arithmetic.floats import mul2, times2, two_prod, two_sum
from emdref.kernels.arithmetic.lanes import product, sgn
from emdref.kernels.compile.jit import inline, row


@inline
def power(phi, rho):
    """|phi|**rho in the arithmetic of phi's own dtype."""
    x = abs(phi)
    if rho == 1:
        return x
    if rho == 2:
        return x * x
    if rho == 3:
        return x * x * x
    if rho == 4:
        return (x * x) * (x * x)
    return _real_power(x, rho)


@row
def _real_power(x, rho):
    """Apart, so that the other powers stay small enough for the compiler to inline."""
    return x**rho


@inline
def slope(phi, rho, one):
    """Derivative of power; `one` is 1 in phi's dtype, since a literal would promote float32."""
    if rho == 1:
        return sgn(phi)
    if rho == 2:
        return phi + phi
    return rho * power(phi, rho - one) * sgn(phi)


@inline
def edge2(h, l, w, rho):
    """Limbs of w |phi|**rho and of w times its derivative for rho in {1, 2, 3, 4}, by multiplications alone.

    phi = h + l and both results are unevaluated sums, the low limb a few ulp of the high one at most.
    """
    ph, pl = two_prod(w, h)
    pl = pl + product(w, l)
    if rho == 1.0:
        return abs(ph), product(pl, sgn(h)), product(w, sgn(h)), l - l
    if rho == 2.0:
        th, tl = times2(ph, pl, h, l)
        return th, tl, ph + ph, pl + pl
    qh, ql = times2(ph, pl, h, l)
    if rho == 3.0:
        sign = sgn(h)
        th, tl = times2(qh, ql, abs(h), product(l, sign))
        sh, sl = two_prod(sign * 3.0, qh)
        return th, tl, sh, sl + product(sign * 3.0, ql)
    rh, rl = times2(qh, ql, h, l)
    th, tl = times2(rh, rl, h, l)
    return th, tl, rh * 4.0, rl * 4.0


@row
def bend(phi, rho, one):
    """Derivative of slope where that is finite."""
    if rho == 1:
        return phi - phi
    if rho == 2:
        return one + one
    return rho * (rho - one) * power(phi, rho - one - one)


@row
def is_infinite(phi, rho):
    """True where there is no second derivative."""
    return phi == 0 and 1 < rho < 2


@row
def bend2(h, l, rho):
    """bend of h + l > 0 in two limbs; rho - 1 and rho - 2 are exact for rho below 2**53."""
    if rho == 2.0:
        return 2.0, 0.0
    ph, pl = power2(h, l, rho - 2.0)
    fh, fl = two_prod(rho, rho - 1.0)
    return mul2(ph, pl, fh, fl)


@row
def power2(h, l, rho):
    """(h + l)**rho for h > 0 in two limbs; for rho outside {0, 1, 2, 3, 4} one libm pow, corrected for l.

    (1 + l/h)**rho = 1 + expm1(rho log1p(l/h)), where log1p(l/h) is l/h to 53 bits; rho l/h is below 1 for rho < 2**53.
    """
    if rho == 0.0:
        return 1.0, 0.0
    if rho == 1.0:
        return h, l
    if rho == 2.0 or rho == 3.0 or rho == 4.0:
        sh, sl = mul2(h, l, h, l)
        if rho == 2.0:
            return sh, sl
        if rho == 3.0:
            return mul2(sh, sl, h, l)
        return mul2(sh, sl, sh, sl)
    y = h**rho
    return two_sum(y, product(y, math.expm1(rho * (l / h))))
