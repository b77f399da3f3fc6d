"""What must not change, or change in a known way, when space and histograms are rewritten."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cases
import emdref
from emdref import exact

rhos = st.integers(1, 4)
random_state = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def value_and_grad(p, q, space, rho, gauge="zero_sum"):
    """Bitwise what a user gets, totals may differ."""
    value, grad = emdref.emd_value_and_grad(p, q, space, rho, gauge=gauge, mass="ignore")
    return value, grad.tolist()


def exactly(p, q, space, rho, gauge="zero_sum"):
    return exact.emd(p, q, space, rho), exact.grad(p, q, space, rho, gauge=gauge)


@given(cases.pairs(cases.chains()), rhos)
def test_a_chain_is_its_tree(case, rho):
    chain, p, q = case
    tree = chain.to_tree()
    assert value_and_grad(p, q, chain, rho) == value_and_grad(p, q, tree, rho)
    assert exactly(p, q, chain, rho) == exactly(p, q, tree, rho)
    np.testing.assert_array_equal(chain.distance_matrix(), tree.distance_matrix())
    flow, below = emdref.flow(p, q, chain, mass="ignore"), emdref.flow(p, q, tree, mass="ignore")
    assert [*flow.tolist(), 0] == below.tolist()


@given(cases.balanced_pairs(cases.chains()), rhos)
def test_a_chain_read_backwards(case, rho):
    chain, p, q = case
    back = emdref.Chain(gaps=chain.gaps[::-1])
    value, grad = exactly(p, q, chain, rho)
    assert exactly(p[::-1], q[::-1], back, rho) == (value, grad[::-1])
    flow = emdref.flow(p, q, chain)
    np.testing.assert_array_equal(emdref.flow(p[::-1], q[::-1], back), -flow[::-1])


@given(cases.pairs(cases.trees()), rhos, random_state)
def test_the_numbers_of_nodes_do_not_matter(case, rho, rng):
    tree, p, q = case
    number = rng.permutation(tree.n_nodes)
    other = cases.relabelled(tree, number)
    assert exactly(p, q, other, rho, "raw") == exactly(p, q, tree, rho, "raw")
    np.testing.assert_array_equal(
        emdref.flow(p, q, other, mass="ignore")[number], emdref.flow(p, q, tree, mass="ignore")
    )


@given(cases.pairs(cases.trees()), rhos, random_state)
def test_the_order_of_bins_does_not_matter(case, rho, rng):
    tree, p, q = case
    order = rng.permutation(tree.n_bins)
    other = emdref.Tree(tree.parent, tree.cost, bins=tree.bins[order])
    value, grad = exactly(p, q, tree, rho)
    moved = exactly([p[k] for k in order], [q[k] for k in order], other, rho)
    assert moved == (value, [grad[k] for k in order])
    np.testing.assert_array_equal(other.distance_matrix(), tree.distance_matrix()[np.ix_(order, order)])


@given(cases.pairs(cases.trees()), rhos, st.data())
def test_a_bin_inside_is_a_leaf_linked_at_no_cost(case, rho, data):
    tree, p, q = case
    k = data.draw(st.integers(0, tree.n_bins - 1))
    bins = tree.bins.copy()
    bins[k] = tree.n_nodes
    other = emdref.Tree([*tree.parent, tree.bins[k]], [*tree.cost, 0], bins=bins)
    assert value_and_grad(p, q, other, rho, "raw") == value_and_grad(p, q, tree, rho, "raw")
    assert exactly(p, q, other, rho, "raw") == exactly(p, q, tree, rho, "raw")


@given(cases.pairs(cases.trees()), st.data())
def test_a_node_in_the_middle_of_an_edge_splits_its_cost(case, data):
    """For every rho: the same flow passes both halves."""
    tree, p, q = case
    v = data.draw(st.sampled_from([v for v in range(tree.n_nodes) if tree.parent[v] >= 0]))
    parent, cost, middle = tree.parent.tolist(), tree.cost.tolist(), tree.n_nodes
    parent, cost = [*parent, parent[v]], [*cost, cost[v] / 4]
    parent[v], cost[v] = middle, 3 * cost[v] / 4
    other = emdref.Tree(parent, cost, bins=tree.bins)
    for rho in (1, 2, 3):
        assert exactly(p, q, other, rho) == exactly(p, q, tree, rho)


def rerooted(tree, root):
    """The same tree hung from another node: the edges on the way to the old root turn round."""
    parent, cost = tree.parent.tolist(), tree.cost.tolist()
    above, price, v = -1, 0.0, root
    while v >= 0:
        parent[v], cost[v], above, price, v = above, price, v, cost[v], parent[v]
    return emdref.Tree(parent, cost, bins=tree.bins)


@given(cases.balanced_pairs(cases.trees()), rhos, st.data())
def test_the_root_moves_raw_gradients_by_a_constant_alone(case, rho, data):
    tree, p, q = case
    other = rerooted(tree, data.draw(st.integers(0, tree.n_nodes - 1)))
    np.testing.assert_array_equal(other.distance_matrix(), tree.distance_matrix())
    assert exactly(p, q, other, rho) == exactly(p, q, tree, rho)
    raw, moved = (exact.grad(p, q, space, rho, gauge="raw") for space in (tree, other))
    assert len({a - b for a, b in zip(raw, moved, strict=True)}) == 1


@pytest.mark.parametrize("gauge", cases.GAUGES)
@given(case=cases.pairs(), rho=rhos)
def test_twice_the_costs_is_twice_the_value(gauge, case, rho):
    """To the bit: a power of two rounds nothing."""
    space, p, q = case
    twice = (
        emdref.Chain(gaps=2 * space.gaps)
        if isinstance(space, emdref.Chain)
        else emdref.Tree(space.parent, 2 * space.cost, bins=space.bins)
    )
    value, grad = value_and_grad(p, q, space, rho, gauge)
    assert value_and_grad(p, q, twice, rho, gauge) == (2 * value, [2 * g for g in grad])


@given(cases.pairs(), rhos)
def test_twice_the_mass_is_two_to_the_rho_times_the_value(case, rho):
    space, p, q = case
    value, grad = value_and_grad(p, q, space, rho, "raw")
    doubled = value_and_grad([2 * x for x in p], [2 * x for x in q], space, rho, "raw")
    assert doubled == (2**rho * value, [2 ** (rho - 1) * g for g in grad])


@given(cases.pairs(), rhos)
def test_swapping_p_and_q_keeps_the_value_and_turns_the_gradient(case, rho):
    space, p, q = case
    value, grad = value_and_grad(p, q, space, rho)
    assert value_and_grad(q, p, space, rho) == (value, [-g for g in grad])
    assert exactly(q, p, space, rho)[1] == [-g for g in exactly(p, q, space, rho)[1]]


@given(cases.pairs(), rhos, st.integers(0, 2**20))
def test_the_same_mass_added_to_both_changes_nothing(case, rho, extra):
    space, p, q = case
    more = [x + extra for x in p], [x + extra for x in q]
    assert value_and_grad(*more, space, rho) == value_and_grad(p, q, space, rho)


@given(cases.pairs())
def test_zero_exactly_between_equal_histograms(case):
    space, p, _ = case
    assert value_and_grad(p, p, space, 1) == (0, [0] * len(p))
    assert value_and_grad(p, p, space, 2, "scaled") == (0, [0] * len(p))
