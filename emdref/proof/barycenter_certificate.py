"""How far a histogram is from the best barycentre for rho = 1, with a proof.

Of edge e let S_e(b) be the mass of b that flows along it if all goes to the root, and own_e(x) = sum_k w_k M_e |x -
S_e(P_k)|, so that sum_k w_k EMD(b, P_k) = sum_e own_e(S_e(b)).  For a potential f of the nodes, 0 at the root, with
differences g_e from the head to the tail of each edge, sum_e g_e S_e(b) = sum f b.  Hence every b >= 0 of total T costs

    sum_e own_e(S_e(b)) >= T min_bins f + sum_e min_x (own_e(x) - g_e x),

the last of which is finite if |g_e| <= M_e sum_k w_k.  Where f comes from does not matter.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emdref.arguments import containers
from emdref.exact import barycentres, definitions
from emdref.exact.barycentres import Histograms, Minimiser, Totals
from emdref.exact.rounding import down, nearest, up
from emdref.proof.certificate import same
from emdref.spaces.rooted import RootedTree
from emdref.spaces.space import Space, check_space, rooted


@dataclass(eq=False)
class BarycenterCertificate:
    r"""What `certify_barycenter` returns: what a histogram costs, and what no histogram of its total can undercut.

    .. math:: \text{lower} \le \min_{b'} \sum_k w_k \, \mathrm{EMD}(b', P_k)
       \le \sum_k w_k \, \mathrm{EMD}(b, P_k) \le \text{upper}

    Attributes
    ----------
    space : Space
        The space that was asked about.
    b : tuple of N Fractions
        The histogram that was asked about.
    P : tuple of K tuples of N Fractions
        The histograms that it shall be near.  All masses are the floats' own values, divided by their totals if
        ``mass="normalize"`` was asked for.
    weights : tuple of K Fractions
        The weights of these.
    value : float
        ``sum_k w_k EMD(b, P_k)``, nearest; in units of weight times cost times mass.
    upper : float
        The least float64 >= that sum.
    lower : float
        A float64 that no histogram of b's total falls below, rounded downward.
    optimal : bool
        Whether the exact bounds are equal: b is a minimiser.  Floats that were rounded seldom are.
    potential : float64 array
        The dual solution f by node, nearest; 0 at the root, in units of weight times cost.
    digest : str
        SHA-256 of space, b, P and weights to the last bit.
    """

    space: Space
    b: tuple[Fraction, ...]
    P: tuple[tuple[Fraction, ...], ...]
    weights: tuple[Fraction, ...]
    value: float
    lower: float
    upper: float
    optimal: bool
    potential: NDArray[np.float64]
    digest: str

    @property
    def gap(self) -> float:
        """upper - lower, rounded up: b is at most so far from the best."""
        finite = math.isfinite(self.upper) and math.isfinite(self.lower)
        return up(Fraction(self.upper) - Fraction(self.lower)) if finite else math.inf

    def verify(self) -> bool:
        """Whether the proof holds and every field says what it proves, to the last bit.

        Flows and potential are rebuilt as rationals.  Then it is checked that the flows conserve mass at every node,
        and that the potential is 0 at the root and changes by at most ``M_e sum_k w_k`` along every edge.

        Returns
        -------
        bool
            False as well where a field has been changed.

        Examples
        --------
        >>> import emdref
        >>> proof = emdref.certify_barycenter([0, 1, 0], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], emdref.Chain(3))
        >>> proof.verify()
        True
        >>> proof.lower = 2.5
        >>> proof.verify()
        False
        """
        try:
            proof = _Proof(self.b, self.P, self.weights, self.space)
            return proof.holds() and all(same(getattr(self, name), x) for name, x in proof.consequences().items())
        except (TypeError, ValueError, AttributeError, IndexError):  # a field that is not even of its kind
            return False


def certify_barycenter(
    b: ArrayLike, P: ArrayLike, space: Space, *, weights: ArrayLike | None = None, mass: Totals = "raise"
) -> BarycenterCertificate:
    r"""Prove how far a histogram, whoever found it, is from the best barycentre at rho = 1.

    .. math:: \min_{b'} \sum_k w_k \, \mathrm{EMD}(b', P_k)

    is enclosed, over all histograms b' of b's total.

    Parameters
    ----------
    b : (N,) sequence of floats, integers or Fractions, >= 0
        Its total must be that of the P_k, up to rounding.
    P : (K, N) array, or K sequences like b
        The histograms that it shall be near.
    space : Space
        One that is a rooted tree, as chains are.
    weights, mass
        As in `emdref.barycenter`; ``normalize`` divides b as well by its total.

    Returns
    -------
    BarycenterCertificate
        ``lower`` and ``upper`` enclose what the best histogram of b's total costs, and ``upper`` what b does; its
        ``verify()`` checks the proof.

    Raises
    ------
    TypeError, ValueError
        As `emdref.barycenter`.

    Examples
    --------
    >>> import emdref
    >>> P, chain = [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.25, 0.75, 0.0]], emdref.Chain(3)
    >>> best = emdref.certify_barycenter(emdref.barycenter(P, chain), P, chain)
    >>> best.lower, best.upper, best.optimal
    (1.0, 1.0, True)
    >>> mean = emdref.certify_barycenter(emdref.barycenter(P, chain, rho=2), P, chain)
    >>> round(mean.gap, 6), mean.optimal
    (0.166667, False)
    """
    check_space(space)
    _tree(space)
    rows, share, dtype = barycentres.read(P, weights, space, mass)
    containers.check_labels({"b": b}, space)
    own = barycentres.histogram(b, "b", space.n_bins)
    both = Histograms([*rows, own], [*share, 0], mass == "normalize")
    if mass == "raise":
        dtype = np.float32 if getattr(b, "dtype", None) == np.float32 else dtype
        both.check_totals(dtype, lambda k: f"P[{k}]" if k < len(rows) else "b")
    histograms = tuple(tuple(_fractions(x, mass == "normalize")) for x in (*rows, own))
    fields = histograms[-1], histograms[:-1], _fractions(share, False)
    return BarycenterCertificate(space, *fields, **_Proof(*fields, space).consequences())


def _fractions(x: Sequence[Any], normalize: bool) -> tuple[Fraction, ...]:
    exact = [Fraction(*m.as_integer_ratio()) for m in x]
    total = sum(exact) if normalize else 1
    return tuple(m / total for m in exact)


def _tree(space: Space) -> RootedTree:
    return rooted(space, "certify_barycenter", "sums along a rooted tree", "certify works on any space, for a pair")


class _Proof:
    """Flows of all histograms to the root and a potential, in integers over common units."""

    def __init__(
        self, b: Sequence[Fraction], P: Sequence[Sequence[Fraction]], weights: Sequence[Fraction], space: Space
    ) -> None:
        said = repr((space.digest, [[str(Fraction(m)) for m in x] for x in (b, weights, *P)]))
        self.digest = hashlib.sha256(said.encode()).hexdigest()
        edges, n = space.edges, space.n_bins
        self.tail, self.head, self.root = edges.tail.tolist(), edges.head.tolist(), space.root
        self.bins = np.asarray(space.bin_nodes).tolist()
        masses, unit = definitions.integers([m for x in (b, *P) for m in x])
        self.masses = [masses[i : i + n] for i in range(0, len(masses), n)]
        self.cost, cost_unit = definitions.integers(edges.cost.tolist())
        self.weights, weight_unit = definitions.integers(weights)
        self.flows = [space.exact_flow(x, self.cost, 1) for x in self.masses]
        self.slope_unit = cost_unit * weight_unit
        self.unit = self.slope_unit * unit
        self.potential = self._potential(P, weights, _tree(space), space.n_nodes)

    def _potential(
        self, P: Sequence[Sequence[Fraction]], weights: Sequence[Fraction], tree: RootedTree, size: int
    ) -> list[Fraction]:
        """By node, from the levels of a minimiser; any other would do."""
        histograms = Histograms(P, weights, False)
        best = Minimiser(histograms, tree)
        unit = best.cost_unit * histograms.weight_unit / self.slope_unit
        potential = [Fraction(0)] * size
        for v, level in zip(tree.order.tolist(), best.level, strict=True):
            potential[v] = (best.level[0] - level) * unit
        return potential

    def holds(self) -> bool:
        """Histograms, weights, flows and potential are what they must be for the bounds to be bounds."""
        whole = len(self.masses) == len(self.weights) + 1 and all(len(x) == len(self.bins) for x in self.masses)
        positive = min(map(min, self.masses)) >= 0 and min(self.weights) >= 0 and sum(self.weights) > 0
        return whole and positive and self._conserves_mass() and self._is_lipschitz()

    def _conserves_mass(self) -> bool:
        """At every node what it has and what comes in goes out, but at the root, where all ends."""
        for masses, flow in zip(self.masses, self.flows, strict=True):
            left = [0] * len(self.potential)
            for v, m in zip(self.bins, masses, strict=True):
                left[v] = m
            left[self.root] -= sum(masses)
            for a, b, f in zip(self.tail, self.head, flow, strict=True):
                left[a] -= f
                left[b] += f
            if any(left):
                return False
        return True

    def _is_lipschitz(self) -> bool:
        f, most = self.potential, sum(self.weights)
        steps = zip(self.tail, self.head, self.cost, strict=True)
        return f[self.root] == 0 and all(abs(f[a] - f[b]) <= c * most for a, b, c in steps)

    def _value(self) -> Fraction:
        own, *others = self.flows
        costs = (definitions.dot(self.cost, (abs(x - y) for x, y in zip(own, f, strict=True))) for f in others)
        return definitions.dot(self.weights, costs) * self.unit

    def _lower(self) -> Fraction:
        """The bound at the top of this module."""
        f, least = self.potential, sum(self.masses[0]) * min(self.potential[v] for v in self.bins)
        for a, b, cost, *own in zip(self.tail, self.head, self.cost, *self.flows[1:], strict=True):
            least += self._least(own, cost, f[a] - f[b])
        return Fraction(least) * self.unit

    def _least(self, own: Sequence[int], cost: int, slope: Fraction) -> Any:
        """The least of cost sum w |x - own| - slope x: where its slope turns from < 0 to >= 0."""
        points = sorted(zip(own, self.weights, strict=True))
        so_far, most = accumulate(w for _, w in points), sum(self.weights)
        x = next(x for (x, _), w in zip(points, so_far, strict=True) if cost * (2 * w - most) >= slope)
        return cost * sum(w * abs(x - y) for y, w in points) - slope * x

    def consequences(self) -> dict[str, Any]:
        """The fields of a certificate."""
        value, lower = self._value(), self._lower()
        return {
            "value": nearest(value),
            "lower": down(lower),
            "upper": up(value),
            "optimal": value == lower,
            "potential": np.array([nearest(f * self.slope_unit) for f in self.potential]),
            "digest": self.digest,
        }
