"""Certificates: a value, a flow and a potential that prove each other, and what follows from them, enclosed in floats.

For masses p, q and any potential f with f = 0 at the root and |f_child - f_parent| <= M_e on every edge, no flow that
takes p to q costs less than sum f (p - q) (weak duality; the excess of p over q is left at the root).  A flow that
conserves mass at every node and costs just that is therefore optimal, and nobody needs to trust the program that found
it: `Certificate.verify` checks these four statements in rationals.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emdref.arguments.validation import Mass
from emdref.closed_form import batches
from emdref.exact import definitions
from emdref.exact.rounding import down, nearest, up
from emdref.spaces.space import Space


@dataclass(eq=False)
class Certificate:
    r"""What `certify` returns: the answer for one pair at rho = 1, and its proof.

    .. math:: \sum_v f_v \, (p - q)_v \; \le \; \mathrm{EMD}(p, q) \; \le \; \sum_e M_e \, |\phi_e|

    holds for every flow phi that conserves mass and every potential f that changes by at most M_e along each edge.
    Where both sides are equal, each proves the other.

    Floats are float64 whatever the dtype of p and q was.  ``nearest`` means the float64 next to the exact number, inf
    beyond the range.  `flow`, `sign` and `at_kink` are in the order of `emdref.flow`; a place that stands for no edge,
    as a tree's root, has 0, 0 and False.

    Attributes
    ----------
    space : Space
        The space that was asked about.
    p, q : tuples of N Fractions
        The masses that the certificate is about: the floats' own values, divided by their totals if ``normalize`` was
        asked for.
    value : float
        EMD, nearest; in units of cost times mass.
    lower, upper : float
        The largest float64 <= EMD and the least >= EMD: the same one, or neighbours.
    flow : float64 array
        phi_e, nearest; in units of mass.
    sign : int8 array
        The sign of phi_e, exact.
    at_kink : bool array
        Whether phi_e = 0, exactly: there EMD has no derivative with respect to phi_e unless the edge is free.
    grad_lower, grad_upper : (N,) float64 arrays
        For each bin the interval of the subdifferential in gauge ``raw``, rounded outward, in units of cost.  It is the
        sum over the edges above of ``M_e sign(phi_e)``, at kinks of -M_e to M_e, as far as slopes sum to 0 round a
        circle.
    potential : float64 array
        The dual solution f, nearest, for each node ((V,) on a tree, else mostly (N,)): 0 at the root, and
        ``f_child = f_parent + M_e sign(phi_e)``.  At the bins it is the gradient of `emdref.emd_grad` in gauge ``raw``.
    excess : Fraction
        Total of p less total of q, exact: what is left at the root.
    digest : str
        SHA-256 of space, p and q to the last bit, since the floats above may hold for inputs next to them as well.
    """

    space: Space
    p: tuple[Fraction, ...]
    q: tuple[Fraction, ...]
    value: float
    lower: float
    upper: float
    flow: NDArray[np.float64]
    sign: NDArray[np.int8]
    at_kink: NDArray[np.bool_]
    grad_lower: NDArray[np.float64]
    grad_upper: NDArray[np.float64]
    potential: NDArray[np.float64]
    excess: Fraction
    digest: str

    def verify(self) -> bool:
        r"""Whether the proof holds and every field says what it proves.

        .. math:: \sum_e M_e \, |\phi_e| = \sum_v f_v \, (p - q)_v

        Flow and potential are rebuilt from space, p and q as rationals.  Then it is checked that mass is conserved at
        every node, that the potential changes by at most M_e on every edge and is 0 at the root, and that these two
        sums are equal; and that all the other fields are what follows, to the last bit.

        Returns
        -------
        bool
            False as well where a field has been changed.

        Examples
        --------
        >>> import emdref
        >>> certificate = emdref.certify([1.0, 0.0], [0.5, 0.5], emdref.Chain(2))
        >>> certificate.verify()
        True
        >>> certificate.upper = 0.75
        >>> certificate.verify()
        False
        """
        try:
            proof = _Proof(self.p, self.q, self.space)
            return proof.holds() and all(same(getattr(self, name), x) for name, x in proof.consequences().items())
        except (TypeError, ValueError, AttributeError):  # a field that is not even of its kind
            return False


def certify(p: ArrayLike, q: ArrayLike, space: Space, *, mass: Mass = "raise") -> Certificate:
    r"""Earth Mover's Distance of one pair at rho = 1 with a proof that anybody can check.

    .. math:: \mathrm{EMD}(p, q) = \sum_e M_e \, |\phi_e|
       = \max_f \sum_v f_v \, (p - q)_v

    The first sum is Eqs. (5) and (13) of arXiv 1611.07573.  The second is Kantorovich's dual, over all potentials f of
    the nodes that change by at most M_e along each edge.  The certificate holds a flow and a potential that make both
    equal, and everything around them exactly rounded.

    Parameters
    ----------
    p, q : (N,) arrays, both float32 or both float64 (integers below 2**53 count as float64)
        Histograms, >= 0.
    space : Space
        Any space.
    mass : {"raise", "normalize", "ignore"}
        As in `emdref.emd`; ``normalize`` divides by the exact totals.

    Returns
    -------
    Certificate
        Its ``verify()`` checks the proof.

    Raises
    ------
    TypeError, ValueError
        As `emdref.emd`, and for a batch: one pair at a time.

    Examples
    --------
    >>> import emdref
    >>> space = emdref.Chain(gaps=[0.1, 0.7, 1.0])
    >>> certificate = emdref.certify([0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.5, 0.0], space)
    >>> certificate.lower, certificate.upper
    (0.37499999999999994, 0.375)
    >>> certificate.sign, certificate.at_kink
    (array([1, 1, 0], dtype=int8), array([False, False,  True]))
    >>> certificate.grad_lower, certificate.grad_upper
    (array([-0.2, -0.3, -1. ,  0. ]), array([1.8, 1.7, 1. , 0. ]))
    """
    rows = batches.one(p, q, space, mass, "certify")
    a, b = (_fractions(x, mass == "normalize") for (x,) in (rows.p, rows.q))
    return Certificate(space, a, b, **_Proof(a, b, space).consequences())


def _fractions(x: NDArray[Any], normalize: bool) -> tuple[Fraction, ...]:
    exact = [Fraction(m) for m in x.tolist()]
    total = sum(exact) if normalize else 1
    return tuple(m / total for m in exact)


class _Proof:
    """Flow and potential of a pair as rationals, by edge and by node.

    Where they come from is of no account: `holds` checks them.
    """

    def __init__(self, p: Sequence[Fraction], q: Sequence[Fraction], space: Space) -> None:
        edges = space.edges
        self.digest = _digest(p, q, space)
        self.tail, self.head, self.root = edges.tail.tolist(), edges.head.tolist(), space.root
        self.bins, self.cost = np.asarray(space.bin_nodes).tolist(), [Fraction(c) for c in edges.cost.tolist()]
        row = definitions.Row(p, q, space, False)
        unit = row.cost_unit
        self.flow = [Fraction(f * row.phi_unit) for f in row.phi]
        slopes = space.exact_slopes(row.phi, row.cost, 1)
        self.potential = [Fraction(f * unit) for f in space.exact_node_potentials(slopes)]
        self.ranges = [[f * unit for f in end] for end in space.exact_ranges(row.phi, row.cost)]
        self.net = [Fraction(0)] * len(self.potential)  # what each node sends out
        for v, a, b in zip(self.bins, p, q, strict=True):
            self.net[v] = Fraction(a) - Fraction(b)

    def holds(self) -> bool:
        """A feasible flow and a feasible potential of equal value: both are optimal."""
        return self._conserves_mass() and self._is_lipschitz() and self._value() == self._dual()

    def _conserves_mass(self) -> bool:
        """At every node: what it has and what comes in goes out; at the root the excess is left."""
        left = list(self.net)
        for a, b, f in zip(self.tail, self.head, self.flow, strict=True):
            left[a] -= f
            left[b] += f
        left[self.root] -= self.excess
        return not any(left)

    def _is_lipschitz(self) -> bool:
        f = self.potential
        steps = zip(self.tail, self.head, self.cost, strict=True)
        return f[self.root] == 0 and all(abs(f[a] - f[b]) <= c for a, b, c in steps)

    def _value(self) -> Fraction:
        return definitions.dot(self.cost, map(abs, self.flow))

    def _dual(self) -> Fraction:
        return definitions.dot(self.potential, self.net)

    @property
    def excess(self) -> Fraction:
        return sum(self.net, Fraction(0))

    def consequences(self) -> dict[str, Any]:
        """The fields of a certificate."""
        value = self._value()
        sign = [(f > 0) - (f < 0) for f in self.flow]
        kinks = [s == 0 and a != b for s, a, b in zip(sign, self.tail, self.head, strict=True)]
        low, high = self.ranges
        return {
            "value": nearest(value),
            "lower": down(value),
            "upper": up(value),
            "flow": np.array(list(map(nearest, self.flow)), np.float64),
            "sign": np.array(sign, np.int8),
            "at_kink": np.array(kinks, np.bool_),
            "grad_lower": np.array(list(map(down, low))),
            "grad_upper": np.array(list(map(up, high))),
            "potential": np.array(list(map(nearest, self.potential))),
            "excess": self.excess,
            "digest": self.digest,
        }


def _digest(p: Sequence[Fraction], q: Sequence[Fraction], space: Space) -> str:
    masses = [[str(Fraction(m)) for m in x] for x in (p, q)]
    return hashlib.sha256(repr((space.digest, masses)).encode()).hexdigest()


def same(stored: Any, expected: Any) -> bool:
    """Whether a field holds just these numbers."""
    return np.shape(stored) == np.shape(expected) and bool(np.all(np.asarray(stored) == np.asarray(expected)))
