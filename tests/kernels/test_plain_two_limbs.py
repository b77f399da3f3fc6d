"""Two-limb kernels as plain Python: limbs, bounds and what is handed to the exact fallback, against rationals."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

import oracles
import plain
from plain import total

emdref = plain.original()
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

INF = math.inf
TINY = 2.0**-900


def twolimb():
    return emdref.kernels.rows.two_limbs


def limbs(nodes):
    return np.full(nodes, np.nan), np.full(nodes, np.nan), np.full(nodes, np.nan)


# --- flows ------------------------------------------------------------------------------------------------------------


def exact_flow(p, q, edges, normalize=False):
    a, b = plain.exactly(p), plain.exactly(q)
    if normalize:
        a, b = oracles.normalized(a), oracles.normalized(b)
    return oracles.flow(a, b, edges)


def at_nodes(space, phi):
    """The oracle's flows by position, None at the root."""
    return [phi.get(e) for e in space.rooted.order.tolist()]


@pytest.mark.parametrize("normalize", [False, True])
def test_limbs_are_within_their_bound_and_the_bound_is_small(normalize):
    for space, edges in plain.spaces(emdref):
        layout, (p, q) = space.rooted, plain.pairs(space.n_bins)
        flow = twolimb().flow_normalized if normalize else twolimb().flow
        for i in range(len(p)):
            h, l, err = limbs(space.n_nodes)
            flow(p[i], q[i], layout.parent, layout.bin_node, h, l, err)
            exact = at_nodes(space, exact_flow(p[i], q[i], edges, normalize))
            for v in range(1, space.n_nodes):
                assert abs(total(h[v], l[v]) - exact[v]) <= Fraction(err[v]) * Fraction(101, 100)
                assert err[v] <= 2.0 ** (-92 if normalize else -100) * max(p[i].max(), 1)
            if i == 2 or (i == 1 and not normalize):  # nothing is lost
                assert not err[1:].any()


def one_edge(p, q, normalize=False):
    """Limbs and bound of the one edge above all bins but the last; in a star, so that a node takes them all."""
    n = len(p)
    parent, node = np.array([0, 0, *(n - 1) * [1]]), np.array([*range(2, n + 1), 0])
    h, l, err = limbs(n + 1)
    (twolimb().flow_normalized if normalize else twolimb().flow)(
        np.array(p, float), np.array(q, float), parent, node, h, l, err
    )
    return h[1], l[1], err[1]


def test_a_third_limb_is_dropped_and_bounded():
    for a, b in itertools.permutations([1.0, 2.0**-60, 2.0**-120], 2):
        c = next(x for x in (1.0, 2.0**-60, 2.0**-120) if x not in (a, b))
        h, l, err = one_edge([a, b, c, 0], [0, 0, 0, 1])
        assert total(h, l) == 1 + Fraction(1, 2**60) and err == 2.0**-120
    h, l, err = one_edge([2.0**-120, 0, 0, 1], [0, 1.0, 2.0**-60, 0])
    assert total(h, l) == -1 - Fraction(1, 2**60) and err == 2.0**-120


def test_bounds_add_up_along_the_way():
    """On a path: what is lost at one node reaches the last edge, and counts there once."""
    parent, node = np.array([0, 0, 1, 2]), np.array([3, 2, 1, 0])
    h, l, err = limbs(4)
    p, q = np.array([2.0**-120, 2.0**-60, 1.0, 0]), np.array([0, 0, 0, 1.0])
    twolimb().flow(p, q, parent, node, h, l, err)
    assert (h.tolist()[1:], l.tolist()[1:]) == ([1.0, 2.0**-60, 2.0**-120], [2.0**-60, 2.0**-120, 0.0])
    assert err.tolist()[1:] == [2.0**-120, 0, 0]
    p[:] = [2.0**-120, 1.0, 2.0**-60, 0]
    q[:] = [0, 0, 2.0**-120 * 1.5, 1]
    twolimb().flow(p, q, parent, node, h, l, err)
    assert abs(total(h[1], l[1]) - (1 + Fraction(1, 2**60) - Fraction(1, 2**121))) <= Fraction(err[1])
    assert err[1] <= 2.0**-118


def test_the_two_paths_of_a_lift_lose_separately():
    """A child hands both limbs on, and its own bound: parts of 2**-120, 2**-122 and 2**-121 on the way."""
    parent = np.array([0, 0, 1, 1])
    h, l = np.array([0.0, 1.0, 2.0**-60, 2.0**-119]), np.array([0.0, 0.0, 2.0**-122, 2.0**-180])
    err = np.array([0.0, 2.0**-130, 2.0**-131, 2.0**-132])
    twolimb()._lift(parent, h, l, err)
    lost = 1 + Fraction(1, 2**60) + Fraction(1, 2**119) + Fraction(1, 2**122) + Fraction(1, 2**180) - total(h[1], l[1])
    known = Fraction(2.0**-130 + 2.0**-131 + 2.0**-132)
    assert (
        abs(lost) + known
        <= Fraction(err[1]) * Fraction(101, 100)
        <= 2 * abs(lost) + Fraction(1, 2**119) + Fraction(1, 2**121) + known
    )


def test_top_exponent():
    for x, e in (([0.0, 0.0], 0), ([0.5, -1.0, 0.75], 1), ([-3.0, 1.0], 2), ([0.1, 0.0], -3), ([2.0**-1074], -1073)):
        assert twolimb().top_exponent(np.array(x)) == e


def test_mass_in_two_limbs():
    for x in ([0.1, 0.2, 0.7], [3.0, 1e-17, 5.0], [2.0**60, 1.0, 2.0**-40], [2.0**900, 2.0**899], [1e-300, 3e-300]):
        h, l, err, e = twolimb().mass2(np.array(x))
        exact = total(*x) / Fraction(2) ** e
        assert 0.5 <= h < 1 and h + l == h and abs(total(h, l) - exact) <= Fraction(err) and err <= 2.0**-100
    assert twolimb().mass2(np.array([0.75, 0.25, 0.5])) == (0.75, 0.0, 0.0, 1)
    assert twolimb().mass2(np.array([1.0, 2.0**-60, 2.0**-120])) == (0.5, 2.0**-61, 2.0**-121, 1)
    assert twolimb().mass2(np.array([2.0**-120, 2.0**-60, 1.0]))[2] == 2.0**-121


def test_mass_says_what_scaling_lost():
    """2**-1070 beside 2**20 is below the subnormal range once scaled."""
    h, l, err, e = twolimb().mass2(np.array([2.0**20, 2.0**-1060]))
    assert (h, l, e) == (0.5, 0.0, 21) and 2.0**-1081 < err < 2.0**-1070
    assert twolimb().mass2(np.array([2.0**20, 2.0**-1040]))[2] < 2.0**-1050  # held as a subnormal
    assert twolimb().mass2(np.array([2.0, 3 * 2.0**-1074]))[2] > 0  # rounded up, to 4


def test_masses_that_scaling_rounds_up_have_a_bound():
    parent, node = np.array([0, 0, 0]), np.array([1, 2, 0])
    tiny, whole = np.array([3 * 2.0**-1074, 1.0, 1.0]), np.array([0, 1.0, 1.0])
    for p, q in ((tiny, whole), (whole, tiny)):
        h, l, err = limbs(3)
        twolimb().flow_normalized(p, q, parent, node, h, l, err)
        assert err[1] >= 2e-323


def test_losses_of_totals_count_four_times(monkeypatch):
    """(1 + x) / (1 + y) for small x and y, twice over, on the stretched mass and on the flow."""
    monkeypatch.setattr(twolimb(), "_RATIO_ERROR", 0.0)
    lost, less = np.array([1.0, 2.0**-60, 2.0**-120, 3]), np.array([2.0, 2.0**-60, 2.0**-119, 1])
    parent, node = np.array([0, 0, 0]), np.array([1, 2, 2, 0])
    for p, q in itertools.product((lost, less), repeat=2):
        if p is not q:
            (h, l, err), mass = limbs(3), twolimb().mass2(p)
            twolimb().flow_normalized(p, q, parent, node, h, l, err)
            loss = 4 * (mass[2] + twolimb().mass2(q)[2])
            y = math.ldexp(q[0], -twolimb().mass2(q)[3])
            assert loss > 0 and math.isclose(err[1], loss * y / mass[0] + loss * abs(h[1]))


def test_a_bound_is_there_only_where_something_is_lost():
    """An exact ratio loses nothing, however small the mass; an empty bin has nothing to lose."""
    parent, node = np.array([0, 0, 0]), np.array([1, 2, 0])
    h, l, err = limbs(3)
    twolimb().flow_normalized(np.array([0, 1, 2.0**-1000]), np.array([2.0**-1000, 1, 0]), parent, node, h, l, err)
    assert not err[1:].any()
    twolimb().flow_normalized(np.array([0, 1, 2.0]), np.array([0, 1.0, 1.0]), parent, node, h, l, err)
    assert err[1] == 0 and err[2] > 0
    for a, b in itertools.permutations([[1.0, 2.0], [1.0, 3.0], [1.0, 2 + 2.0**-51], [2.0**-60, 3.0]], 2):
        one, other = np.array([*a, 0]), np.array([*b, 0])
        twolimb().flow_normalized(one, other, parent, node, h, l, err)
        assert err[1] > 0 and err[2] > 0
    twolimb().flow_normalized(np.array([2.0**-60, 1, 2.0]), np.array([0, 1.0, 2.0]), parent, node, h, l, err)
    assert err[2] > 0
    twolimb().flow_normalized(np.array([0, 1.0, 2.0]), np.array([2.0**-60, 1, 2.0]), parent, node, h, l, err)
    assert err[2] > 0


def test_sums_at_and_below_every_node():
    """The root's included."""
    h, l, err = np.array([1.0, 2, 4, 8]), np.array([1.0, 2, 4, 8]) * 2.0**-60, np.zeros(4)
    twolimb()._lift(np.array([0, 0, 1, 2]), h, l, err)
    assert h.tolist() == [15, 14, 12, 8] and l.tolist() == [15 * 2.0**-60, 14 * 2.0**-60, 12 * 2.0**-60, 8 * 2.0**-60]


def test_equal_rows_normalise_to_no_flow_at_all():
    assert one_edge([0.1, 0.3, 0.7], [0.1, 0.3, 0.7], True) == (0.0, 0.0, 0.0)
    assert one_edge([0.1, 0.3, 0.7], [0.1, 0.3, 0.8], True)[0] != 0


def test_equal_rows_normalise_to_no_flow_even_where_totals_lose_something():
    lost = [1.0, 2.0**-60, 2.0**-120, 3.0]
    assert one_edge(lost, lost, True) == (0.0, 0.0, 0.0)


def test_equal_limbs_of_totals_of_which_one_lost_something():
    """The ratio of (4 + 2**-60 + 2**-120, 2**-120 dropped) to 4 + 2**-60 is 1 but for what was dropped."""
    lost, whole = [1.0, 2.0**-60, 2.0**-120, 3.0], [3.0, 2.0**-60, 0.0, 1.0]
    for p, q in ((lost, whole), (whole, lost)):
        h, l, err = one_edge(p, q, True)
        a, b = (oracles.normalized(plain.exactly(x)) for x in (p, q))
        assert 0 < abs(total(h, l) - sum(a[:3]) + sum(b[:3])) <= Fraction(err)
        assert err < 2.0**-96


def test_normalising_by_a_power_of_two_loses_nothing():
    a, b = [0.1, 0.3, 0.7], [0.6, 1.4, 0.2]
    assert total(*a) * 2 == total(*b)
    h, l, err = one_edge(a, b, True)
    assert abs(total(h, l) - total(*a[:2]) / total(*a) + total(*b[:2]) / total(*b)) <= Fraction(1, 2**102) and err == 0
    p = [0.25, 0.5, 0.25]
    assert one_edge(p, [1.0, 0.5, 0.5], True) == (0.0, 0.0, 0.0)
    assert one_edge(p, [2.0, 1.5, 0.5], True) == (-0.125, 0.0, 0.0)


def test_a_ratio_that_is_not_a_power_of_two_has_a_bound():
    """About 2**-98 of the stretched mass and of the flow; either total alone may have lost something."""
    h, l, err = one_edge([1.0, 2.0, 1.0], [1.0, 1.0, 1.0], True)
    assert abs(total(h, l) - Fraction(1, 12)) <= Fraction(err) and 2.0**-99 < err < 2.0**-96
    lost = [1.0, 2.0**-60, 2.0**-120, 3.0]
    for p, q in ((lost, [2.0, 0, 0, 2.0]), ([2.0, 0, 0, 2.0], lost)):
        h, l, err = one_edge(p, q, True)
        a, b = (oracles.normalized(plain.exactly(x)) for x in (p, q))
        assert abs(total(h, l) - sum(a[:3]) + sum(b[:3])) <= Fraction(err) and 2.0**-100 < err < 2.0**-96


def test_masses_below_the_range_of_a_scaled_row_have_a_bound():
    for p, q in (([2.0**20, 2.0**-1060, 2.0**20], [2.0**20] * 2 + [2.0**-1060]), ([2.0**-1060, 2.0**20, 1], [1, 1, 1])):
        for a, b in ((p, q), (q, p)):
            h, l, err = one_edge(a, b, True)
            x, y = (oracles.normalized(plain.exactly(v)) for v in (a, b))
            assert abs(total(h, l) - sum(x[:2]) + sum(y[:2])) <= Fraction(err) * Fraction(101, 100)
    parent, node = np.array([0, 0, 0]), np.array([1, 2, 0])
    for a, b in (([2.0**-1060, 1, 2.0**20], [0, 1, 1.0]), ([0, 1, 1.0], [2.0**-1060, 1, 2.0**20])):
        h, l, err = limbs(3)
        twolimb().flow_normalized(np.array(a), np.array(b), parent, node, h, l, err)
        assert h[1] == 0 and 2.0**-1074 < err[1] < 2.0**-1060  # all of it was lost
    for tiny, bounded in ((2.0**-950, True), (2.0**-850, False)):
        h, l, err = limbs(3)
        twolimb().flow_normalized(np.array([0, 2.0, 1]), np.array([tiny, 2, 2]), parent, node, h, l, err)
        assert (err[1] > 2.0**-101 * tiny) or not bounded
        assert err[1] >= 2.0**-1073 and err[1] < tiny * 2.0**-90


def test_a_product_that_underflows_has_a_bound():
    """2**-98 of 2**-1042 is nothing, and yet the product may be off by a subnormal or two."""
    h, l, err = limbs(3)
    p, q = np.array([0, 2.0, 1]), np.array([2.0**-1040, 2, 2])
    twolimb().flow_normalized(p, q, np.array([0, 0, 0]), np.array([1, 2, 0]), h, l, err)
    assert 1.5e-323 <= err[1] <= 6e-323
    assert 0 <= err[2] < 2.0**-90


def test_an_uncertain_sign_at_the_root_does_not_matter():
    """It has no edge: only what is left over stands there."""
    h, l, err = np.array([1.0, 4.0]), np.zeros(2), np.array([3.0, 1.0])
    assert emdref.kernels.rows.two_limbs.settle(h, l, err, np.ones(2)) is True and h.tolist() == [1, 4]


def test_settle():
    """h = 2 err is not certain; one float more is.  What weighs nothing flows nowhere and is always certain."""

    def settled(h, l, err, weight=1.0):
        arrays = np.array([0.0, h]), np.array([0.0, l]), np.array([INF, err])
        safe = twolimb().settle(*arrays, np.array([0.0, weight]))
        return safe, *(float(x[1]) for x in arrays)

    assert settled(2.0, 0.0, 1.0) == (False, 2.0, 0.0, 1.0)
    assert settled(-2.0, 0.0, 1.0)[0] is False
    assert settled(2.0, 0.0, 1 - 2.0**-53)[0] and settled(-2.0, 0.0, 1 - 2.0**-53)[0]
    assert settled(1.0, 1.0, 0.9) == (True, 2.0, 0.0, 0.9)
    assert settled(1.0, -1.0, 0.0) == (True, 0.0, 0.0, 0.0)
    assert settled(1.0, -1.0, 1e-300)[0] is False
    assert settled(1.0, 1e-20, 0.0) == (True, 1.0, 1e-20, 0.0)
    assert settled(INF, 0.0, 0.0)[0] is False and settled(math.nan, 0.0, 0.0)[0] is False
    assert settled(INF, 1.0, INF, 0.0) == (True, 0.0, 0.0, 0.0)
    arrays = np.array([0.0, 2.0, 2.0]), np.zeros(3), np.array([0, 1.0, 0.0])
    assert twolimb().settle(*arrays, np.ones(3)) is False
    assert twolimb().settle(np.array([0.0, 2, 2]), np.zeros(3), np.array([0, 0, 1.0]), np.ones(3)) is False


def test_a_flow_rounds_alone_within_a_part_of_its_ulp():
    u = 2.0**-56
    for h, err, alone in ((1.0, u, True), (-1.0, u, True), (1.0, u * (1 + 2.0**-52), False), (0.0, 0.0, True)):
        assert twolimb().rounds_alone(np.array([0.0, h]), np.array([INF, err])) is alone
    assert twolimb().rounds_alone(np.array([0.0, 1, 1]), np.array([0, 1e-9, 0])) is False
    assert twolimb().rounds_alone(np.array([0.0, 1, 1]), np.array([0, 0, 1e-9])) is False


def flows(p, q, space, normalize=False, weight=None):
    layout = space.rooted
    phi, unsafe = np.full((len(p), space.n_nodes), np.nan), np.zeros(len(p), bool)
    weight = np.ones(space.n_nodes) if weight is None else weight
    emdref.kernels.rows.loops.flow_twolimb(p, q, phi, unsafe, layout.parent, weight, layout.bin_node, normalize)
    return phi, unsafe


def test_flows_of_a_batch():
    for space, edges in plain.spaces(emdref):
        p, q = plain.pairs(space.n_bins)
        for normalize in (False, True):
            phi, unsafe = flows(
                p, q, space, normalize, space.rooted.edges_between(0, space.n_bins - normalize).astype(float)
            )
            assert not unsafe.any()
            for i in range(len(p)):
                exact = at_nodes(space, exact_flow(p[i], q[i], edges, normalize))
                assert plain.close(phi[i, 1:], exact[1:], 0) or all(
                    abs(Fraction(x) - y) <= plain.ulp(y) / 2
                    for x, y in zip(phi[i, 1:].tolist(), exact[1:], strict=True)
                )


HARD = [[1, 2.0**-60, -1], [1, 2.0**-60, 2.0**-120, -1, -(2.0**-60)]]


def test_rows_that_two_limbs_cannot_hold_are_handed_on_alone():
    d = np.array([[0.5, 0.25, 0.25, -0.5, -0.5], HARD[1], [1, 2.0**-60, 0, -1, -(2.0**-60)]])
    p, q = np.maximum(d, 0), np.maximum(-d, 0)
    chain = emdref.Chain(6)
    last = np.zeros((3, 1))
    phi, unsafe = flows(np.hstack([p, last]), np.hstack([q, last]), chain)
    assert unsafe.tolist() == [False, True, False] and phi[2, ::-1].tolist()[:3] == [1, 1, 1]
    phi, unsafe = flows(np.hstack([p, last]), np.hstack([q, last]), chain, weight=np.array([0.0, 0, 0, 0, 1, 1]))
    assert not unsafe[:2].any() and phi[0].tolist() == [0, 0, 0, 0, 0.75, 0.5]


def test_a_certain_sign_is_not_enough_for_a_flow():
    """1 + 2**-60 + 2**-114 - 1: the last term is lost, which moves the rest by 2**-54."""
    tree = emdref.Tree([-1, 0, 1, 1, 1, 1], bins=[2, 3, 4, 5, 0])
    phi, unsafe = flows(np.array([[1.0, 2.0**-60, 2.0**-114, 0, 0]]), np.array([[0, 0, 0, 1.0, 0]]), tree)
    assert unsafe[0] and phi[0, 1] == 2.0**-60


def test_a_flow_that_may_round_wrongly_is_handed_on():
    """1 and 2**-53 are a tie; what is dropped decides."""
    p, q = np.array([[1.0, 2.0**-53, 2.0**-130, 0]]), np.array([[0, 0, 0, 1.0]])
    exact = emdref.exact.flow(p[0], q[0], emdref.Chain(4))
    got = emdref.flow(p, q, emdref.Chain(4), mass="ignore")[0]
    assert [abs(Fraction(x) - y) <= plain.ulp(y) for x, y in zip(got.tolist(), exact, strict=True)] == [True] * 3
    assert flows(np.array([[1.0, 2.0**-50, 2.0**-110, 0]]), q, emdref.Chain(4))[1][0] == False  # noqa: E712


# --- values and gradients ---------------------------------------------------------------------------------------------


def test_units():
    h, l, cost = (
        np.array([9.0, 0.5, -0.75, 4.0, 0.6]),
        np.array([9.0, 1e-17, 3e-17, 1e-17, 0]),
        np.array([99, 1.5, 3, 0, 1.0]),
    )
    assert twolimb().units(h, l, cost) == (0.75, -3e-17, 2)
    assert twolimb().units(-h, -l, cost) == (0.75, -3e-17, 2)
    assert twolimb().units(h[:2], l[:2], cost[:2]) == (0.5, 1e-17, 1)
    assert twolimb().units(np.array([1.0, 0, 2]), np.zeros(3), np.array([1.0, 8, 0])) == (0.0, 0.0, 0)
    assert twolimb().units(np.array([1.0, 0, 2]), np.zeros(3), np.array([1.0, 8, 0.25])) == (2.0, 0.0, -1)
    assert twolimb().units(np.array([0, 9.0, 0.5]), np.zeros(3), np.array([0, 0, 1.0])) == (0.5, 0.0, 1)
    assert twolimb().units(np.array([0, 3.0, 2]), np.zeros(3), np.array([0, 1.0, 4]))[::2] == (3.0, 3)


def test_unit_powers():
    assert twolimb().unit_power(0.75, 1e-17, 2.0, 2.0) == (1.0, 0.0, 0)
    assert twolimb().unit_power(3.0, 1e-17, 3.0, 2.0) == (1.0, 0.0, 4)
    h, l, e = twolimb().unit_power(3.0, 1e-17, 2.5, 1.5)
    exact = oracles.power(total(3.0, 1e-17), 1.5)
    assert 0.5 <= h < 1 and abs(total(h, l) * 2**e - exact) < exact / 2**50
    assert twolimb().unit_power(3.0, 0.0, 2.5, 0.0) == (0.5, 0.0, 1)


def test_the_range_of_unit_powers():
    t = twolimb()
    assert t.power_in_range(1e-300, 3.0, 3.0) and t.power_in_range(1e300, 4.0, 4.0) and t.power_in_range(0.1, 1.0, 1.0)
    assert not t.power_in_range(2.0**-400, 2.5, 2.5) and not t.power_in_range(2.0**-360, 2.5, 2.5)
    assert t.power_in_range(2.0**-359, 2.5, 2.5) and t.power_in_range(2.0**400, 2.5, 2.5)
    assert not t.power_in_range(np.float64(2.0**500), 2.5, 2.5)
    assert not t.power_in_range(1.0, 2.0**53, 2.0**53) and t.power_in_range(1.0, 2.0**53 - 1, 2.0**53 - 1)
    assert [t.is_small_integer(x) for x in (0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)] == [
        False,
        True,
        False,
        True,
        True,
        True,
        False,
    ]


def test_flows_in_units():
    assert twolimb().in_units(3.0, 2.0**-60, 5, 17.0, 0.0, 2.0) == (3 / 32, 2.0**-65)
    for x, u in itertools.product([(3.0, 1e-17), (2.0**-600, 2.0**-660)], [(17.0, 1e-16), (2.0**600 / 3, 2.0**540)]):
        h, l = twolimb().in_units(*x, 5, *u, 2.5)
        exact = total(*x) / total(*u)
        if exact > 2.0**-900:
            assert abs(total(h, l) - exact) <= exact / 2**100


def emd(space, p, q, rho, normalize, gauge, gradient=True):
    layout, most = space.rooted, space.n_bins - normalize
    value, unsafe = np.full(len(p), np.nan), np.zeros(len(p), bool)
    grad = np.full(p.shape if gradient else (0, p.shape[1]), np.nan)
    cost = space.rooted.cost_between(0, most)
    shared = (layout.parent, cost, layout.bin_node), (float(rho), normalize, gauge)
    emdref.kernels.rows.loops.emd_twolimb(p, q, value, grad, unsafe, np.empty((len(p), 0, 0)), *shared)
    return value, grad, unsafe


GRID = [(0, False), (0, True), (1, False), (2, False), (3, True)]  # gauge, normalize


@pytest.mark.parametrize("rho", plain.RHOS)
def test_value_and_gradient(rho):
    """Within half an ulp and a bit, and within an ulp of max |r|, with no help of the fallback."""
    integer = rho in (1, 2, 3, 4)
    for space, edges in list(plain.spaces(emdref))[:: 1 if rho in (1, 3) else 2]:
        p, q = plain.pairs(space.n_bins)
        for gauge, normalize in GRID:
            value, grad, unsafe = emd(space, p, q, rho, normalize, gauge)
            assert not unsafe.any()
            for i in range(len(p)):
                exact = plain.truth(p[i], q[i], edges, rho, plain.GAUGES[gauge], normalize)
                top = max(map(abs, plain.truth(p[i], q[i], edges, rho, "raw", normalize)[1]))
                top *= {2: len(p[i]), 3: 1 / total(*p[i])}.get(gauge, 1)
                slack = Fraction(1, 2**10) if integer else 4
                assert abs(Fraction(float(value[i])) - exact[0]) <= plain.ulp(exact[0]) * (Fraction(1, 2) + slack)
                for x, y in zip(grad[i].tolist(), exact[1], strict=True):
                    assert abs(Fraction(x) - y) <= plain.ulp(y) / 2 + top / 2 ** (90 if integer else 50)


def test_far_scales():
    """Units keep products in the range: flows of 2**-500 and 2**300, costs of 2**-400 and 2**400, fourth powers."""
    gaps = np.array([1.0, 0.75, 3])
    p, q = np.array([[1.0, 2, 3, 1]]), np.array([[2.0, 2, 0.5, 2.5]])
    for rho, gauge in itertools.product((1, 3, 2.5), (0, 1, 2, 3)):
        value, grad, _ = emd(emdref.Chain(gaps=gaps), p, q, rho, gauge == 3, gauge)
        for flow, cost in ((-250, 100), (200, -400), (-30, 900)):
            space = emdref.Chain(gaps=np.ldexp(gaps, cost))
            other = emd(space, np.ldexp(p, flow), np.ldexp(q, flow), rho, gauge == 3, gauge)
            up = 0 if gauge == 3 else flow
            if rho != 2.5 or gauge == 3:
                assert other[0] == np.ldexp(value, int(rho * up) + cost)
                assert (other[1] == np.ldexp(grad, int((rho - 1) * up) + cost - (flow if gauge == 3 else 0))).all()
            else:
                assert np.allclose(other[0], value * 2.0 ** (rho * up) * 2.0**cost, rtol=1e-13)
                assert np.allclose(other[1], grad * 2.0 ** ((rho - 1) * up) * 2.0**cost, rtol=1e-13)
            assert not other[2].any()


def test_a_batch_of_one():
    space, _ = next(plain.spaces(emdref))
    p, q = plain.pairs(space.n_bins)
    one, all_ = emd(space, p[:1], q[:1], 2, False, 1), emd(space, p, q, 2, False, 1)
    assert one[0][0] == all_[0][0] and np.array_equal(one[1][0], all_[1][0])


def test_no_gradient_unless_asked():
    space, _ = next(plain.spaces(emdref))
    p, q = plain.pairs(space.n_bins)
    value, _, unsafe = emd(space, p, q, 2, False, 1, gradient=False)
    assert np.array_equal(value, emd(space, p, q, 2, False, 1)[0]) and not unsafe.any()


def test_where_nothing_flows_all_is_zero():
    space = emdref.Chain(gaps=[0, 1])
    p, q = np.array([[1.0, 2, 3], [1, 2, 3]]), np.array([[2.0, 1, 3], [1, 2, 3]])
    value, grad, unsafe = emd(space, p, q, 2.5, False, 1)
    assert not value.any() and not grad.any() and not unsafe.any()
    assert not emd(space, p, q, 1, False, 1, gradient=False)[0].any()
    value, grad, unsafe = emd(space, p[:1], q[:1], 2.5, False, 1)  # a batch of one
    assert not value.any() and not grad.any() and not unsafe.any()


def test_rows_out_of_range_are_handed_on():
    chain, p, q = emdref.Chain(2), np.array([[1.0, 0]]), np.array([[0, 1.0]])
    for scale, rho, unsafe in (
        (2.0**-400, 2.5, True),
        (2.0**-300, 2.5, False),
        (2.0**-700, 1.3, True),
        (2.0**700, 1.1, False),
    ):
        assert emd(chain, p * scale, q * scale, rho, False, 1)[2][0] == unsafe
    assert emd(chain, p, q, 2.0**53, False, 1)[2][0]


def descended(h, l, err, cost, rho, parent=(0, 0, 1), unit=None):
    h, l, err, cost = (np.array(x, float) for x in (h, l, err, cost))
    uh, ul, m = twolimb().units(h, l, cost)
    rh, rl = np.full(len(h), np.nan), np.full(len(h), np.nan)
    return *twolimb().descend(h, l, err, cost, np.array(parent), float(rho), uh, ul, m, rh, rl), rh, rl


@pytest.mark.parametrize("rho", plain.RHOS)
def test_errors_of_flows_become_errors_of_results(rho):
    """To first order rho err / |phi| of each power, at most a hair more; relative ones so large are squared out."""
    for h, at in (([0, 0.75, -0.9375], 1), ([0, 0.75, -0.9375], 2)):
        err = np.zeros(3)
        err[at] = 2.0**-30
        cost = [0, 1.0, 0.5]
        _, _, value_err, r_err, _, _ = descended(h, [0, 0, 0], err, cost, rho)
        u = 1.0 if rho in (1, 2, 3, 4) else 0.9375
        x, w = abs(h[at]) / u, cost[at]
        first = w * x**rho * rho * err[at] / abs(h[at])
        slope = first * rho / x if rho != 1 else 0.0  # of rho x**(rho-1), relative error rho again, generously
        assert first <= value_err * 2 <= 2 * first * (1 + 1e-6) or math.isclose(value_err * 2, first, rel_tol=1e-6)
        assert math.isclose(r_err * 2, slope, rel_tol=1e-6) or math.isclose(r_err, slope, rel_tol=1e-6)
    large = descended([0, 0.75, 0.9375], [0, 0, 0], [0, 0.3, 0], [0, 1.0, 0.5], rho)
    small = descended([0, 0.75, 0.9375], [0, 0, 0], [0, 0.3 * 2.0**-30, 0], [0, 1.0, 0.5], rho)
    assert math.isclose(large[2], small[2] * 2.0**30 * math.exp(2 * rho * 0.4), rel_tol=1e-6)
    both = descended([0, 0.75, 0.9375], [0, 0, 0], [0, 2.0**-30, 2.0**-30], [0, 1.0, 0.5], rho)
    apart = [
        descended([0, 0.75, 0.9375], [0, 0, 0], e, [0, 1.0, 0.5], rho) for e in ([0, 2.0**-30, 0], [0, 0, 2.0**-30])
    ]
    assert math.isclose(both[2], apart[0][2] + apart[1][2]) and math.isclose(both[3], apart[0][3] + apart[1][3])


def test_a_flow_too_small_for_its_power_says_so():
    for rho in (1.001, 1.5, 2.5):
        _, _, value_err, r_err, _, _ = descended([0, 1.0, 2.0**-910], [0] * 3, [0] * 3, [0, 1, 1], rho)
        assert math.isclose(value_err, r_err * 2.0**-900)
        assert rho * 2.0 ** (-910 * (rho - 1)) <= r_err <= rho * 2.0 ** (-899 * (rho - 1))
    assert descended([0, 1.0, 2.0**-890], [0] * 3, [0] * 3, [0, 1, 1], 1.5)[3] == 0
    assert descended([0, 1.0, 2.0**-910], [0] * 3, [0] * 3, [0, 1, 1], 2)[3] == 0
    assert descended([0, 1.0, 2.0**-910], [0] * 3, [0] * 3, [0, 1, 0], 1.5)[3] == 0


def test_edges_without_flow_or_cost_hand_on_what_is_above():
    *_, rh, rl = descended([0, 1.0, 0, -2], [0] * 4, [0] * 4, [0, 1, 1, 0], 2, (0, 0, 1, 2))
    assert rh[0] == rl[0] == 0 and rh[1] > 0 and rh[1] == rh[2] == rh[3]


def test_trust():
    t, top = twolimb().trustworthy, 2.0**-56
    r = np.array([0.0, -4.0, 1.0])
    assert t(1.0, top, r, 4 * top) and t(TINY, 0.0, r, 0.0)
    assert not t(1.0, top * 1.01, r, 0.0) and not t(1.0, 0.0, r, 4.01 * top)
    assert not t(TINY / 2, 0.0, r, 0.0) and not t(math.nan, 0.0, r, 0.0) and not t(1.0, 0.0, r, math.nan)
    assert t(1.0, 0.0, r / 16, 0.25 * top) and not t(1.0, 0.0, r / 16, 0.26 * top)
    assert t(1.0, 0.0, np.array([0.0, 1, 4]), 4 * top) and t(1.0, 0.0, np.array([4.0, 1, 0]), 4 * top)


def test_a_row_is_handed_on_if_its_value_or_its_gradient_may_be_off():
    """What a third limb holds counts in a short sum, not in a long one."""
    p, q = np.array([[1.0, 2.0**-60, 2.0**-118, 0]]), np.array([[0, 1.0, 0, 2.0**-60]])
    assert emd(emdref.Chain(4), p, q, 1, False, 0)[2][0] == False  # noqa: E712
    space = emdref.Chain(gaps=[0, 0, 1])
    exact = emdref.exact.emd(p[0], q[0], space)
    value, _, unsafe = emd(space, p, q, 1, False, 0)
    assert unsafe[0] or abs(Fraction(float(value[0])) - exact) <= plain.ulp(exact)


# --- sums over bins ---------------------------------------------------------------------------------------------------


def test_means_dots_and_scaling():
    t = twolimb()
    rh, rl, node = (
        np.array([9.0, 1.0, -1.0, 2.0**-30]),
        np.array([9.0, 2.0**-60, 2.0**-58, 2.0**-90]),
        np.array([3, 1, 2]),
    )
    exact = total(*rh[1:], *rl[1:])
    assert abs(total(*t.mean_at_bins(rh, rl, node)) - exact / 3) < exact / 2**100
    p = np.array([0.25, 3.0, 0.5])
    mean = sum(Fraction(float(x)) * total(rh[v], rl[v]) for x, v in zip(p, node, strict=True)) / total(3.75, 2.0**-60)
    got = t.mean_under(np.ldexp(p, 7), 3.75, 2.0**-60, 7, rh, rl, node)
    assert abs(total(*got) - mean) < abs(mean) / 2**98
    a, b = np.array([[1.0, -1.0], [2.0**-60, 2.0**-61]]), np.array([[3.0, 3.0], [2.0**-58, 2.0**-57]])
    exact = sum(total(*x) * total(*y) for x, y in zip(a.T, b.T, strict=True))
    assert abs(total(*t.dot(a, b)) - exact) < Fraction(1, 2**100)
    x = np.full((2, 3), np.nan)
    assert t.scaled(np.array([3.0, -5, 0]), x) == 3 and x.tolist() == [[0.375, -0.625, 0], [0, 0, 0]]


def test_gather_rounds_once():
    rh, rl, node, grad = np.array([9.0, 1.0]), np.array([9.0, 2.0**-60]), np.array([1, 1]), np.full(2, np.nan)
    twolimb().gather(rh, rl, node, 1.0, 2.0**-61, 3.0, 2.0**-60, 4, grad)
    assert grad.tolist() == [math.ldexp(float(Fraction(1, 2**61) * total(3.0, 2.0**-60)), 4)] * 2
    twolimb().gather(rh, rl, node, 0.5, 0.0, 1.0, 0.0, 0, grad)
    assert grad.tolist() == [0.5] * 2


# --- public functions with the exact fallback behind them -------------------------------------------------------------


@pytest.mark.parametrize("difference", HARD)
@pytest.mark.parametrize("mass", ["raise", "normalize"])
def test_every_sign_is_right_in_the_end(mass, difference):
    rest = -min(difference, key=abs)
    d = np.array([[*x, rest] for x in list(itertools.permutations(difference))[::5]])
    p, q, n = np.maximum(d, 0), np.maximum(-d, 0), d.shape[1]
    for space in (emdref.Chain(n), emdref.Tree([-1, 0] + (n - 1) * [1], bins=[*range(2, n + 1), 0])):
        got = emdref.flow(p, q, space, mass=mass)
        for i in range(len(d)):
            exact = emdref.exact.flow(p[i], q[i], space, mass="normalize" if mass == "normalize" else "ignore")
            assert [oracles.sign(float(x)) for x in got[i]] == [oracles.sign(x) for x in exact]


def test_ordinary_rows_need_no_fallback():
    p, q = plain.pairs(5)
    q *= p.sum(1, keepdims=True) / q.sum(1, keepdims=True)
    with emdref.fallback.counting() as count:
        for gauge, rho in itertools.product(plain.GAUGES, plain.RHOS):
            emdref.emd_value_and_grad(p, q, emdref.Chain(gaps=plain.GAPS), rho, gauge=gauge, mass="ignore")
    assert count.exact == 0 and count.rows > 0


def test_a_flow_far_below_the_largest_keeps_its_slope():
    """At rho = 1, though it is 0 in units of the largest flow."""
    p, q = [2.0**-1000, 2.0**500, 0.0], [0.0, 0.0, 2.0**500]
    grad = emdref.emd_grad(p, q, emdref.Chain(3), gauge="raw", mass="ignore")
    assert grad.tolist() == [2, 1, 0]
    p, q = [2.0**-1000, 0.0, 2.0**500], [0.0, 2.0**500, 2.0**-1000]
    assert emdref.emd_grad(p, q, emdref.Chain(3), gauge="raw", mass="ignore").tolist() == [0, -1, 0]
