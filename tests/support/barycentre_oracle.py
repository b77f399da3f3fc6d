"""Barycentres for rho = 1 by linear programming, what histograms cost, and drawn cases."""

from fractions import Fraction

import numpy as np
import scipy.optimize
from hypothesis import strategies as st

import cases
import emdref
import oracles

# claws about a node, one of which costs next to nothing: where all meet, though no histogram need have mass there
MEETING = emdref.Tree([-1] + 4 * [0], [0, 1, 1, 1, 2.0**-6])


def cost(b, P, space, weights):
    """sum_k w_k EMD(b, P_k), exactly."""
    edges = cases.edges(space)
    return sum(
        Fraction(w) * oracles.emd(oracles.fractions(b), oracles.fractions(p), edges, 1)
        for w, p in zip(weights, P, strict=True)
    )


def program(P, space, weights):
    """The least cost, by HiGHS: b >= 0 of the histograms' total, and |B_e - P_ke| <= t_ke."""
    P, edges = np.asarray(P, float), list(cases.edges(space).values())
    count, n = P.shape
    below = np.array([[k in under for k in range(n)] for _, under in edges], float).reshape(len(edges), n)
    t = np.eye(count * len(edges))
    sums = np.tile(below, (count, 1)), (P @ below.T).ravel()
    prices = [float(w * c) for w in weights for c, _ in edges]
    found = scipy.optimize.linprog(
        np.concatenate([np.zeros(n), prices]),
        np.block([[sums[0], -t], [-sums[0], -t]]),
        np.concatenate([sums[1], -sums[1]]),
        np.concatenate([np.ones(n), np.zeros(len(t))])[None],
        [P[0].sum()],
    )
    assert found.status == 0
    return found.fun


@st.composite
def several(draw, spaces):
    """A space, histograms of whole masses and one total, and weights, some of them 0."""
    space, count, total = draw(spaces), draw(st.integers(1, 5)), draw(st.integers(1, 12))
    cuts = st.lists(st.integers(0, total), min_size=space.n_bins - 1, max_size=space.n_bins - 1)
    P = [np.diff([0, *sorted(draw(cuts)), total]).tolist() for _ in range(count)]
    weights = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count).filter(any))
    return space, P, weights
