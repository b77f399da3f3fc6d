"""Other people's solvers, and duality, which needs none."""

from fractions import Fraction

import networkx
import numpy as np
import ot
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import cases
import emdref
from emdref import exact

KINDS = ["chain", "star", "random_tree", "inner_bins", "zero_edges"]


@pytest.mark.parametrize("name", KINDS)
def test_linear_programming(name):
    """Whole masses: the optimal vertex is whole as well, so that HiGHS' tolerance of 1e-7 decides nothing."""
    space = cases.space(name)
    n, (p, q) = space.n_bins, cases.histograms("integers", space.n_bins, np.float64)
    marginals = np.vstack([np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))])
    plan = scipy.optimize.linprog(space.distance_matrix().ravel(), A_eq=marginals, b_eq=np.concatenate([p, q]))
    assert plan.status == 0
    np.testing.assert_allclose(emdref.emd(p, q, space), plan.fun, rtol=n**2 * np.finfo(float).eps)  # n**2 terms


@given(cases.trees(), st.data())
def test_network_simplex(tree, data):
    """In integers: exactly equal."""
    p = data.draw(st.lists(st.integers(0, 20), min_size=tree.n_bins, max_size=tree.n_bins).filter(any))
    q = data.draw(st.permutations(p))
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(tree.n_nodes), demand=0)
    for node, a, b in zip(tree.bins, p, q, strict=True):
        graph.nodes[node]["demand"] = b - a
    for child, parent in enumerate(tree.parent):
        if parent >= 0:
            networkx.add_path(graph, [child, parent, child], weight=int(16 * tree.cost[child]))
    assert 16 * emdref.emd(p, q, tree) == networkx.network_simplex(graph)[0]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("family", ["flat_softmax", "peaked_softmax", "one_hot_target"])
def test_pot(name, family):
    """POT sums N**2 products, and moves a total of 1 over at most the diameter."""
    space, p, q = cases.case(name, family, np.float64)
    bound = len(p) ** 2 * np.finfo(float).eps * space.diameter
    np.testing.assert_allclose(emdref.emd(p, q, space), ot.emd2(p, q, space.distance_matrix()), rtol=0, atol=bound)


@pytest.mark.parametrize("family", ["flat_softmax", "peaked_softmax", "one_hot_target"])
def test_scipy_wasserstein_distance(family):
    """SciPy subtracts two cumulated sums: N roundings of at most 1, over all the gaps."""
    rng = np.random.default_rng(7)
    positions, (p, q) = np.sort(rng.normal(size=60)), cases.histograms(family, 60, np.float64)
    expected = scipy.stats.wasserstein_distance(positions, positions, p, q)
    bound = 4 * 60 * np.finfo(float).eps * np.ptp(positions)
    np.testing.assert_allclose(emdref.emd(p, q, emdref.Chain(positions=positions)), expected, rtol=0, atol=bound)


@pytest.mark.parametrize("rho", [1, 2, 3, 4, 1.5, 7.3])
def test_scipy_distance_of_cumulated_sums(rho):
    """Its rho-th power; N roundings, rho times each."""
    stats = pytest.importorskip("scipy.stats._stats_py")
    chain, p, q = cases.case("chain", "flat_softmax", np.float64)
    positions = np.concatenate([[0], np.cumsum(chain.gaps)])
    expected = stats._cdf_distance(rho, positions, positions, p, q) ** rho
    rtol = 64 * rho * len(p) * np.finfo(float).eps
    np.testing.assert_allclose(emdref.emd(p, q, emdref.Chain(positions=positions), rho), expected, rtol=rtol)


# --- duality ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gauge", ["raw", "zero_sum"])
@given(case=cases.balanced_pairs(), rho=st.integers(1, 4))
def test_the_gradient_certifies_the_value_exactly(gauge, case, rho):
    """<grad, p - q> = rho EMD^rho: each edge contributes its slope times its flow."""
    space, p, q = case
    grad = exact.grad(p, q, space, rho, gauge=gauge)
    dual = sum(g * (Fraction(a) - Fraction(b)) for g, a, b in zip(grad, p, q, strict=True))
    assert dual == rho * exact.emd(p, q, space, rho)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("family", ["peaked_softmax", "one_hot_target", "block_permuted"])
@pytest.mark.parametrize("name", cases.ALL_SPACES)
@pytest.mark.parametrize("rho", [1, 2, 2.5])
def test_the_gradient_certifies_the_value(rho, name, family, dtype):
    """8 eps max|r| in each entry of grad, on a total of at most 2, and as much again for totals that differ by eps."""
    space, p, q = cases.case(name, family, dtype)
    value, grad = emdref.emd_value_and_grad(p, q, space, rho)
    dual = grad.astype(float) @ (p.astype(float) - q)
    bound = 32 * np.finfo(dtype).eps * max(abs(emdref.emd_grad(p, q, space, rho, gauge="raw"))) * p.sum()
    np.testing.assert_allclose(dual, rho * value, rtol=0, atol=bound)


@given(data=st.data())
def test_potentials_are_one_lipschitz(data):
    """|g_i - g_j| <= M_ij at rho = 1, with <g, p - q> = EMD above: weak duality proves the value optimal."""
    space, p, q = data.draw(cases.balanced_pairs())
    g = np.array(exact.grad(p, q, space))
    assert (abs(np.subtract.outer(g, g)) <= space.distance_matrix()).all()


@given(data=st.data())
def test_subgradient_inequality(data):
    """Kinks included; costs and flows are short dyadic numbers, so the gradient in floats is exact."""
    space, p, q = data.draw(cases.balanced_pairs())
    other = data.draw(st.permutations(p))
    g = [Fraction(float(x)) for x in emdref.emd_grad(p, q, space, gauge="raw")]
    line = sum(x * (Fraction(b) - Fraction(a)) for x, a, b in zip(g, p, other, strict=True))
    assert exact.emd(other, q, space) >= exact.emd(p, q, space) + line
