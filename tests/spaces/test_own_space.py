"""Spaces of one's own: what they must say, what they are given for it, and what stays refused."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse

import emdref
import oracles
from cases import assert_within, assert_within_ulps, eps


class Star(emdref.Space):
    """Three arms of two bins each, joined at a hub without a bin: the required parts alone."""

    n_bins = 6
    # the hub is node 6; from each arm's inner bin to it, from each outer bin to the inner one, some the other way
    edges = emdref.Edges(
        np.array([0, 2, 6, 1, 2, 5]), np.array([6, 6, 4, 0, 3, 4]), np.array([1.0, 2.0, 0.5, 0.1, 3.0, 0.7])
    )


class Ring(emdref.Space):
    """Edges that close a ring, and so what does not follow from the masses alone, from the circle."""

    def __init__(self, gaps):
        self.gaps = np.array(gaps, float)
        self.circle = emdref.Circle(gaps=gaps)

    @property
    def n_bins(self):
        return len(self.gaps)

    @property
    def edges(self):
        bins = np.arange(self.n_bins)
        return emdref.Edges(bins, (bins + 1) % self.n_bins, self.gaps)

    def exact_flow(self, net, cost, rho):
        return self.circle.exact_flow(net, cost, rho)

    def exact_slopes(self, flow, cost, rho):
        return self.circle.exact_slopes(flow, cost, rho)

    def exact_ranges(self, flow, cost):
        return self.circle.exact_ranges(flow, cost)

    def exact_node_potentials(self, steps):
        return self.circle.exact_node_potentials(steps)


STAR = Star()
TREE = emdref.Tree([6, 0, 6, 2, 6, 4, -1], [1.0, 0.1, 2.0, 3.0, 0.5, 0.7, 0], bins=range(6))
TURNS = [1, 1, -1, 1, -1, 1]  # of the star's edges: 1 up towards the tree's root
CHILDREN = [0, 2, 4, 1, 3, 5]  # the nodes below them
P, Q = np.random.default_rng(0).integers(1, 9, (2, 6)).astype(float)
Q = np.sort(P)[[3, 0, 5, 1, 2, 4]]
EDGES = oracles.tree_edges(TREE.parent.tolist(), TREE.cost, TREE.bins.tolist())


def rooted_at_the_last_bin(r):
    """Raw derivatives differ by a constant: the star's are 0 at its last bin."""
    return [x - r[-1] for x in r]


@pytest.mark.parametrize("accuracy", ["compensated", "native"])
@pytest.mark.parametrize("rho", [1, 2, 3, 1.5])
def test_a_star_without_kernels_is_the_tree(rho, accuracy):
    options = {"accuracy": accuracy}
    value, grad = emdref.emd_value_and_grad(P, Q, STAR, rho, **options)
    expected = emdref.emd_value_and_grad(P, Q, TREE, rho, **options)
    np.testing.assert_allclose(value, expected[0], rtol=1e-14)
    np.testing.assert_allclose(grad, expected[1], rtol=0, atol=1e-14 * np.abs(expected[1]).max())
    flow = emdref.flow(P, Q, STAR, rho, **options)
    np.testing.assert_allclose(flow, emdref.flow(P, Q, TREE, **options)[CHILDREN] * TURNS, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gauge", ["raw", "zero_sum", "scaled", "normalized"])
@pytest.mark.parametrize("rho", [1, 2, 3])
def test_a_star_against_rationals(rho, gauge, dtype):
    p, q = (np.sqrt(x).astype(dtype) for x in (P, Q))
    a, b = oracles.fractions(p), oracles.fractions(q)
    value = emdref.emd(p, q, STAR, rho)
    assert_within_ulps(np.atleast_1d(value), [oracles.emd(a, b, EDGES, rho)])
    at = tuple(map(oracles.normalized, (a, b))) if gauge == "normalized" else (a, b)
    r = rooted_at_the_last_bin(oracles.raw_grad(*at, EDGES, rho))
    unit = max(map(abs, r)) * {"scaled": 6, "normalized": 1 / sum(a)}.get(gauge, 1)
    exact = oracles.gauged(r, a, gauge)
    assert_within(emdref.emd_grad(p, q, STAR, rho, gauge=gauge), exact, 8 * eps(dtype) * unit)
    assert emdref.exact.grad(a, b, STAR, rho, gauge=gauge) == exact
    assert emdref.exact.emd(a, b, STAR, rho) == oracles.emd(a, b, EDGES, rho)


def test_a_rooted_view_brings_what_stands_on_it():
    class Rooted(emdref.Space):
        n_bins, edges, rooted, bin_nodes, root = 6, TREE.edges, TREE.rooted, TREE.bins, TREE.root

    own, X, p, q = Rooted(), scipy.sparse.csr_array([P, Q]), P / P.sum(), Q / Q.sum()
    for call in (
        lambda s: emdref.emd_hess(P, Q, s),
        lambda s: emdref.emd_hvp(P, Q, s, P),
        lambda s: emdref.plan(P, Q, s).toarray(),
        lambda s: emdref.sinkhorn(p, q, s, 2, kernel="space").value,
        lambda s: emdref.emd(X, P, s),
        lambda s: emdref.pairwise(X, s),
        lambda s: emdref.flow(P, Q, s),
    ):
        np.testing.assert_array_equal(call(own), call(TREE))


def test_a_ring_is_the_circle():
    circle = emdref.Circle(gaps=[1, 2, 0, 0.5, 1, 3])
    ring = Ring(circle.gaps)
    for rho in (1, 2, 1.5):
        for got, expected in (
            *zip(emdref.emd_value_and_grad(P, Q, ring, rho), emdref.emd_value_and_grad(P, Q, circle, rho), strict=True),
            (emdref.flow(P, Q, ring, rho), emdref.flow(P, Q, circle, rho)),
        ):
            np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(ring.distance_matrix(), circle.distance_matrix())
    assert emdref.exact.flow(P, Q, ring, 2) == emdref.exact.flow(P, Q, circle, 2)
    proof, other = emdref.certify(P, Q, ring), emdref.certify(P, Q, circle)
    assert proof.verify()
    assert (proof.grad_lower == other.grad_lower).all()
    assert (proof.grad_upper == other.grad_upper).all()


def test_certificates():
    proof = emdref.certify(P, Q, STAR)
    assert proof.verify()
    assert proof.value == emdref.emd(P, Q, TREE)
    proof.flow = proof.flow + 1
    assert not proof.verify()


def test_a_wrong_flow_proves_nothing():
    class Wrong(Ring):
        def exact_flow(self, net, cost, rho):
            return [f + 1 for f in super().exact_flow(net, cost, rho)]

    assert not emdref.certify(P, Q, Wrong([1, 2, 3, 1, 1, 1])).verify()


def test_distances_and_sinkhorn():
    far = [[float(oracles.distance(i, j, EDGES)) for j in range(6)] for i in range(6)]
    np.testing.assert_array_equal(STAR.distance_matrix(), far)
    p, q = P / P.sum(), Q / Q.sum()
    np.testing.assert_array_equal(emdref.sinkhorn(p, q, STAR, 2).value, emdref.sinkhorn(p, q, np.array(far), 2).value)
    assert emdref.certify_sinkhorn(p, q, STAR, 2).verify()


def test_all_pairs_and_sparse_rows():
    X = np.array([P, Q])
    expected = emdref.pairwise(X, TREE)
    np.testing.assert_allclose(emdref.pairwise(X, STAR), expected, rtol=1e-15)
    np.testing.assert_allclose(emdref.pairwise(scipy.sparse.csr_array(X), STAR, mass="ignore"), expected, rtol=1e-15)
    assert emdref.emd(X[:, None], X, STAR).shape == (2, 2)
    np.testing.assert_allclose(emdref.emd(scipy.sparse.csr_array(X), P, STAR), expected[:, 0], rtol=1e-15)


def test_check():
    assert emdref.check(lambda p, q: emdref.emd_value_and_grad(p, q, STAR), STAR, cases=["easy"]).passed
    assert not emdref.check(lambda p, q: np.abs(p - q).sum(), STAR, cases=["easy"]).passed


def test_losses_of_torch():
    torch = pytest.importorskip("torch")
    from emdref.torch import emd_loss

    p = torch.tensor(P, requires_grad=True)
    emd_loss(p, torch.tensor(Q), STAR, 2, normalize=None).backward()
    np.testing.assert_array_equal(p.grad.numpy(), emdref.emd_grad(P, Q, STAR, 2))


# --- what is refused --------------------------------------------------------------------------------------------------

REFUSED = {
    "emd_hess": lambda s: emdref.emd_hess(P, Q, s, 2),
    "emd_hvp": lambda s: emdref.emd_hvp(P, Q, s, P, 2),
    "exact.hess": lambda s: emdref.exact.hess(P, Q, s),
    "exact.hvp": lambda s: emdref.exact.hvp(P, Q, s, P),
    "plan": lambda s: emdref.plan(P, Q, s),
    'kernel="space"': lambda s: emdref.sinkhorn(P / P.sum(), Q / Q.sum(), s, 1, kernel="space"),
}


@pytest.mark.parametrize("space", [STAR, Ring([1, 1, 1, 1, 1, 1])], ids=["Star", "Ring"])
@pytest.mark.parametrize("call", REFUSED)
def test_what_is_not_offered_is_refused_in_one_way(call, space):
    words = rf"{call}.* needs .*, which {type(space).__name__} does not offer, but spaces that are rooted trees do: "
    with pytest.raises(TypeError, match=words):
        REFUSED[call](space)


def made(tail, head, cost, **more):
    edges = emdref.Edges(np.array(tail), np.array(head), np.array(cost, float))
    return type("Own", (emdref.Space,), {"n_bins": 3, "edges": edges, **more})


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (made([0, 1], [1, 2], [1, -1]), ValueError, "Own: the cost of edge 1 is -1"),
        (made([0, 1], [1, 2], [np.nan, 1]), ValueError, "Own: the cost of edge 0 is nan"),
        (made([0, 1], [1, 2], [1, np.inf]), ValueError, "Own: the cost of edge 1 is inf"),
        (made([0], [1], [1]), ValueError, "Own: no edges lead from node 0"),
        (made([0, 1], [1, 2], [1]), ValueError, "2 tails, 2 heads and 1 costs"),
        (made([0, 1], [1, 2], [1, 1], bin_nodes=np.array([0, 1, 1])), ValueError, "bin_nodes must name 3 different"),
        (made([0, 1], [1, 2], [1, 1], bin_nodes=np.array([0, 1])), ValueError, "bin_nodes must name 3 different"),
        (made([0, 1, 2], [1, 2, 0], [1, 1, 1]), TypeError, "close a circle, so that it must define exact_flow"),
        (type("Half", (emdref.Space,), {"n_bins": 3}), TypeError, "Half is not a space yet, it lacks edges"),
        (type("Empty", (emdref.Space,), {}), TypeError, "Empty is not a space yet, it lacks edges, n_bins"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_is_no_space_is_refused_when_it_is_made(given, error, words):
    with pytest.raises(error, match=words):
        given()


def test_an_edge_from_a_node_to_itself_is_none():
    space = made([0, 1, 1], [1, 1, 2], [1, 5, 2])()
    assert emdref.flow([1.0, 0, 0], [0, 0, 1.0], space).tolist() == [1, 0, 1]
    assert emdref.exact.emd([1, 0, 0], [0, 0, 1], space) == Fraction(3)
    assert emdref.certify([1.0, 0, 0], [0, 0, 1.0], space).verify()
