"""Barycentres: the histogram whose weighted distances from given ones have the least sum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emdref.arguments import casts, containers, devices, libraries, validation
from emdref.arguments.validation import Batch
from emdref.closed_form import batches
from emdref.exact import barycentres
from emdref.exact.barycentres import Totals
from emdref.exact.rounding import rounded
from emdref.spaces.space import Space, check_space


def barycenter(
    P: ArrayLike, space: Space, rho: float = 1, *, weights: ArrayLike | None = None, mass: Totals = "raise"
) -> Any:
    r"""Barycentre: the histogram that is nearest to several, for rho = 1 and 2.

    .. math:: \min_{b \ge 0} \sum_k w_k \, \mathrm{EMD}^\rho(b, P_k)
       = \min_{b \ge 0} \sum_k w_k \sum_e M_e \, |B_e - P_{ke}|^\rho

    B_e and P_ke are the masses of b and of P_k below edge e: Eqs. (5), (10) and (13) of arXiv 1611.07573.

    rho = 2
        The weighted mean of the histograms, on any space.  This is *not* their W_2 barycentre: W_2 squares distances,
        EMD^2 squares flows (see `emd`).  Halfway between two spikes W_2 has a spike in the middle, this has both.
    rho = 1
        A W_1 barycentre, on spaces that are rooted trees.  On a chain each B_e is the lower weighted median of the
        P_ke: the least of them with half of the weight at or below it.  The same holds on any tree where these medians
        are the sums of a histogram.  Elsewhere b is found by messages up the tree (see Notes), just as exactly.  Where
        edges close a circle it is a linear program, and refused.

    Parameters
    ----------
    P : (..., K, N) array, float32 or float64 (integers below 2**53 count as float64)
        K histograms, >= 0.  Every entry of the leading axes has a barycentre of its own.  A scipy.sparse matrix or a
        table of pandas holds K rows.
    space : Space
        For rho = 1 a rooted tree, as chains are.
    rho : float
        1 or 2.
    weights : (K,) sequence of numbers, optional
        Finite and >= 0, not all 0; equal by default.  Only their ratios matter, those of the floats' own values.
    mass : {"raise", "normalize"}
        What to do if totals differ by more than rounding (see `emd`).  ``raise`` is an error.  ``normalize`` uses
        ``P_k / |P_k|``, exactly, for every histogram, with integers about K times as long.  What rounding explains
        stays: the total of b is the weighted mean of the totals for rho = 2, their lower weighted median for rho = 1.

    Returns
    -------
    (..., N) array of P's dtype
        An exact minimiser in units of mass, each entry rounded once, to the nearest number of the dtype.

    Raises
    ------
    TypeError, ValueError
        As `emd`; another rho, which has no closed form; rho = 1 on a space that is no rooted tree; weights that are
        negative, not finite, all 0, or not one a histogram.

    Warns
    -----
    RuntimeWarning
        Once, if an entry is beyond the dtype's range (it is inf then): sums of masses may be, at rho = 1 on a tree.

    Notes
    -----
    *Why the mean.*  ``EMD^2(b, P_k) = Q(b - P_k)`` for a quadratic form Q >= 0: flows on a tree are linear in b - P_k.
    Round a circle ``Q(d)`` is the least over c of ``sum_e M_e (phi_e(d) - c)^2``, a form in d again, and >= 0.  For the
    mean m, ``sum_k w_k Q(b - P_k) = sum_k w_k Q(b - m) + sum_k w_k Q(m - P_k)``, and the first sum is least at b = m.

    *Why messages.*  What is cheapest at and below a node is a convex, piecewise linear function of the mass B there.
    Where branches meet, the stretches of theirs follow each other by slope (infimal convolution).  A bin adds one of
    slope 0 without end, as any mass may stay.  The edge above adds ``sum_k w_k M |B - P_k|``.  Back down, each node
    splits its mass as the slopes say.  All of it is done in integers.

    *Ties.*  For rho = 1 there may be many minimisers.  Which is returned does not depend on the order of the
    histograms.  Lower medians keep mass near the root, on a chain near its last bin, so that a chain turned round can
    have another barycentre.  Mass that messages could put in several places at one cost stays at the node if a bin is
    there, else the first children, in the order of their numbers, take what they can.

    *Time.*  Medians take ``O(K log K)`` steps a node, about a microsecond each, in whole numbers as long as the range
    of the masses asks.  Messages hold up to one stretch for each mass > 0 below, fewer where costs and weights are
    small whole numbers.  Each is made from the longest of the children's, so that depth alone costs little.  20
    histograms on `wordnet_tree` take half a second, 5 on a spine of 10,000 nodes with a leaf at each five seconds.

    `emdref.certify_barycenter` proves how far any histogram is from the best for rho = 1, and
    `emdref.exact.barycenter` gives rationals.

    Examples
    --------
    >>> import emdref
    >>> P = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.25, 0.75]]
    >>> emdref.barycenter(P, emdref.Chain(3))
    array([0., 1., 0.])
    >>> emdref.barycenter(P, emdref.Chain(3), rho=2, weights=[1, 1, 2])
    array([0.25 , 0.375, 0.375])
    """
    rho = validation.exponent(rho)
    devices.stay(None, P=P, weights=weights)
    validation.option(mass, "mass", Totals)
    check_space(space)
    tree = barycentres.tree_for(rho, space, "barycenter")
    containers.check_labels({"P": P}, space)
    batch = validation.histogram(P, "P")
    barycentres.check_shape(batch.shape, space.n_bins)
    validation.check_histograms(batch, "P")
    (*lead, count, bins), dtype = batch.shape, batch.dtype
    share = barycentres.weights_of(weights, P, count)
    result = np.empty((*lead, bins), dtype)
    for at in np.ndindex(*lead):
        some = barycentres.Histograms(batch[at].tolist(), share, mass == "normalize")
        if mass == "raise":
            some.check_totals(dtype, f"P[{''.join(f'{i}, ' for i in at)}{{}}]".format)
        best = [rounded(x, dtype) for x in some.minimiser(tree)]
        result[at] = casts.narrowed(np.array(best), dtype)
    rows = result.reshape(-1, bins)
    batches.warn_beyond(Batch(rows, rows, tuple(lead)), barycentre=rows)
    return libraries.taken(result, libraries.home({"P": P}))
