"""Where kernels.rows.two_limbs must own up to an error, and where it must not."""

import numpy as np
import pytest

import plain

emdref = plain.original()
LAYOUT = emdref.Chain(3).rooted


def twolimb():
    return emdref.kernels.rows.two_limbs


def errors(p, q):
    """Bounds at the bins of a chain, whose last bin is the root."""
    h, l, err = np.zeros(3), np.zeros(3), np.zeros(3)
    twolimb().flow_normalized(np.array(p), np.array(q), LAYOUT.parent, LAYOUT.bin_node, h, l, err)
    return err[LAYOUT.bin_node]


@pytest.mark.parametrize(
    ("p", "q"),
    [
        ([0.0, 3.0, 0.0], [2.0, 0.0, 0.0]),  # totals of which either is the larger, in the first limb
        ([0.0, 2.0, 0.0], [3.0, 0.0, 0.0]),
        ([2.0**-60, 1.0, 0.0], [1.0, 0.0, 0.0]),  # in the second
        ([0.0, 1.0, 0.0], [1.0, 2.0**-60, 0.0]),
        ([2.0**-60, 1.0, 2.0**-200], [1.0, 2.0**-60, 0.0]),  # in neither: one total lost something
        ([2.0**-60, 1.0, 0.0], [1.0, 2.0**-60, 2.0**-200]),
    ],
)
def test_totals_that_differ_cost_an_error(p, q):
    assert errors(p, q)[0] > 2.0**-101


def test_equal_totals_cost_none():
    assert not errors([1.0, 2.0**-950, 0.0], [2.0**-950, 1.0, 0.0]).any()
    assert not errors([1.0, 0.5, 0.0], [0.0, 0.5, 1.0]).any()


def test_scaling_that_rounds_up_is_owned_up_to():
    for tiny in (1.5 * 2.0**-73, 1.25 * 2.0**-73):  # scaled by 2**-1001, half or a quarter of a unit is lost
        x = np.array([2.0**1000, tiny])
        assert twolimb().mass2(x)[2] > 0
        y = np.array([2.0**1000, 0.0])
        for p, q in ((x, y), (y, x)):
            assert errors([p[1], p[0], 0.0], [q[1], q[0], 0.0])[0] > 0


def test_rows_are_the_same_if_every_mass_is():
    p = np.array([0.5, 0.25])
    assert twolimb()._same(p, p.copy()) is True
    assert twolimb()._same(p, np.array([0.5, 0.75])) is False


def test_errors_are_measured_by_the_largest_slope():
    assert twolimb().trustworthy(1.0, 0.0, np.array([0.0, -1.0]), 2.0**-57)
    assert not twolimb().trustworthy(1.0, 0.0, np.array([0.0, -0.25]), 2.0**-57)


def test_a_power_beyond_the_range_counts_nothing_on_a_free_edge():
    h, zero, r = np.array([0.0, 2.0**600, 1.0]), np.zeros(3), np.empty((2, 3))
    found = twolimb().descend(h, zero, zero, np.array([0.0, 0.0, 1.0]), np.array([-1, 0, 1]), 3.0, 1.0, 0.0, 1, *r)
    assert np.isfinite(found).all() and r[0, 1] == 0 < r[0, 2]


def test_the_first_of_equal_flows_is_the_unit():
    h, l = np.array([0.0, 1.0, -1.0]), np.array([0.0, 2.0**-60, 2.0**-55])
    assert twolimb().units(h, l, np.array([0.0, 1.0, 1.0])) == (1.0, 2.0**-60, 1)
