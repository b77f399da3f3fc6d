"""A user's code, which `mypy --strict` accepts: what emdref's annotations promise, and py.typed with them.

Run by .ci/run, beside the library in this folder and beside the installed wheel; where a type is wrong on purpose,
`type: ignore` names the error, and --strict refuses one that is not needed.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import emdref

_Wanted = TypeVar("_Wanted")


def _is(kind: type[_Wanted], x: _Wanted) -> _Wanted:
    """For mypy alone: x is of that kind."""
    return x


class Star(emdref.Space):
    """A space of one's own: the last bin in the middle of the others, the n-th of which is n away."""

    n_bins = 4

    @property
    def edges(self) -> emdref.Edges:
        return emdref.Edges(np.arange(3), np.full(3, 3), np.arange(1.0, 4.0))

    def edge_name(self, edge: int) -> str:
        return f"ray {edge}"


class Pair(emdref.Space):
    """As short as docs/howto/space.md has it."""

    n_bins = 2
    edges = emdref.Edges(np.array([0]), np.array([1]), np.array([3.0]))


def spaces() -> list[emdref.Space]:
    ring, tree = emdref.Circle(positions=[0.0, 1.0, 2.0, 3.0], period=4.0), emdref.Tree([-1, 0, 0, 1, 1, 2, 2])
    _is(float, tree.diameter)
    pets = emdref.Tree.from_edges([("cat", "animal", 1.0), ("dog", "animal", 2.0)], bins=["dog", "cat"])
    _is(emdref.Tree, pets.restrict(["cat"]))
    _is(emdref.Circle, ring.restrict([0.0, 2.0]))
    pets.align(["cat", "dog"])
    emdref.Chain("4")  # type: ignore[arg-type]
    return [emdref.Chain(4), emdref.Chain(gaps=[1.0, 2.0, 3.0]), ring, tree, Star(), emdref.wordnet_tree(cost="unit")]


def distances(p: NDArray[np.float64], q: NDArray[np.float64], space: emdref.Space) -> NDArray[np.float64]:
    value: np.float64 = emdref.emd(p, q, space, 2, mass="normalize", accuracy="native")
    gradient: NDArray[np.float64] = emdref.emd_grad(p, q, space, gauge="scaled")
    both = emdref.emd_value_and_grad([1, 0, 0, 0], [0, 0, 0, 1], space, out=(None, gradient))
    emdref.emd_hvp(p, q, space, gradient), emdref.emd_hess(p, q, space), emdref.flow(p, q, space)
    costs: NDArray[np.float64] = emdref.emd_cost_grad(p, q, space, 2, mass="ignore")
    emdref.emd(p, q, space, mass="renormalize")  # type: ignore[arg-type]
    emdref.emd_grad(p, q, space, gauge="none")  # type: ignore[arg-type]
    emdref.emd(p, q, "chain")  # type: ignore[arg-type]
    print(value, costs, both[0], emdref.losses.mse(p, q)[1], emdref.normalize.softmax.vjp(p, q))
    matrix = emdref.pairwise(np.stack([p, q]), space, mass="ignore")
    return _is(np.ndarray, matrix)


def proofs(p: NDArray[np.float64], q: NDArray[np.float64], space: emdref.Space) -> bool:
    certificate = emdref.certify(p, q, space)
    _is(float, certificate.lower), _is(bool, certificate.verify()), _is(Fraction, certificate.excess)
    lower, upper = emdref.certify_sinkhorn(p, q, space, 3.0)
    exact = _is(Fraction, emdref.exact.emd([Fraction(1, 2), 1], [0.5, 1], space, 2))
    return certificate.verify() and lower <= upper and exact >= 0


def entropic(p: NDArray[np.float32], q: NDArray[np.float32], space: emdref.Space) -> emdref.SinkhornResult:
    early = emdref.sinkhorn(p, q, space.distance_matrix(np.float32), lam=3.0, tol="auto", domain="log", kernel="dense")
    result = emdref.sinkhorn(p, q, space, 3.0, variant="frogner", checkpoints=(1, 10), dtype="bfloat16")
    emdref.sinkhorn(p, q, space, 3.0, domain="decimal")  # type: ignore[arg-type]
    return result.checkpoints.get(1, early)


def implementation(mine: Callable[[NDArray[Any], NDArray[Any]], float], space: emdref.Space) -> str:
    report = emdref.check(mine, space, rho=2, gauge="raw", cases="easy")
    p, q = emdref.casebook.pair("softmax", space.n_bins, seed=1)
    with emdref.fallback.counting() as count:
        emdref.emd(p, q, space)
    asked = emdref.check_sinkhorn(mine, space.distance_matrix(), 3.0, 100, variant="caffe", cases="easy")
    assert _is(float, asked.worst_error) >= 0 and asked.variant in (None, "caffe")
    return f"{report.passed} {_is(float, report.worst_ulp):.1f} {report.findings['value'].text} {count.exact}"
