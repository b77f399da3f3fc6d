"""One row of a large space, which has loops of its own: the bits of the same row in a tile."""

import itertools

import hostile
import numpy as np
import pytest

import emdref
from emdref.kernels.tiles import single
from emdref.spaces.rooted import MANY

RNG = np.random.default_rng(11)
BRANCHES = np.append(-1, (np.arange(1, 600) - RNG.integers(1, 60, 599)).clip(0))
SPACES = {
    "chain": emdref.Chain(2500),
    "gaps": emdref.Chain(gaps=RNG.integers(0, 4, 1300) / 8),
    "tree": emdref.Tree(BRANCHES, RNG.integers(0, 9, 600) / 7, bins=RNG.permutation(600)[:351]),
    "path": emdref.Chain(MANY).to_tree(),
}


def both(p, q, space, rho, **options):
    return emdref.emd_value_and_grad(p, q, space, rho, mass="ignore", **options)


def assert_alone_as_in_a_tile(p, q, space, rho, **options):
    value, grad = both(p, q, space, rho, **options)
    for rows in (0, slice(1, 2), slice(1, 3)):
        number, line = both(p[rows], q[rows], space, rho, **options)
        assert number.tobytes() == value[rows].tobytes() and line.tobytes() == grad[rows].tobytes()
        assert (
            emdref.emd(p[rows], q[rows], space, rho, mass="ignore", accuracy=options["accuracy"]).tobytes()
            == number.tobytes()
        )


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("accuracy", ["compensated", "native"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bits_of_a_tile(dtype, accuracy, space):
    for family, rho in itertools.product(("ordinary", "wide", "moved", "tiny"), (1, 2, 3, 2.5)):
        if family == "ordinary":
            p, q = RNG.random((2, 3, SPACES[space].n_bins)).astype(dtype)
        else:
            p, q = hostile.batch(RNG, family, SPACES[space].n_bins, dtype, 3)
        if rho == 2.5 and accuracy == "compensated":
            continue  # no tiles either
        if family == "ordinary" or (rho < 3 and accuracy == "native"):
            gauge = ["raw", "zero_sum", "scaled"][RNG.integers(3)]
            assert_alone_as_in_a_tile(p, q, SPACES[space], rho, accuracy=accuracy, gauge=gauge)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_chain_of_which_not_all_slopes_are_kept(dtype):
    for bins in (single._FAR, 2 * single._FAR + 777):
        p, q = RNG.random((2, 3, bins)).astype(dtype)
        assert_alone_as_in_a_tile(p, q, emdref.Chain(bins), 2, accuracy="compensated")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("space", ["gaps", "tree"])
def test_what_costs_nothing_counts_nothing(space, dtype):
    """Also where its power overflows; and what overflows elsewhere is said."""
    space = SPACES[space]
    p, q = np.ones((2, 3, space.n_bins), dtype)
    free = emdref.Chain(gaps=np.append(0, np.ones(space.n_bins - 2)))
    p[:, 0], q[:, 1] = (float(np.finfo(dtype).max) ** 0.75,) * 2
    assert_alone_as_in_a_tile(p, q, free, 2, accuracy="native", gauge="raw")
    assert both(p[0], q[0], free, 2, accuracy="native")[0] < np.inf
    with pytest.warns(RuntimeWarning, match="1 entries of the value are beyond"):
        emdref.emd(p[0], q[0], emdref.Chain(space.n_bins), 2, mass="ignore", accuracy="native")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e-9])
def test_a_bad_entry_is_found_wherever_it_is(bad):
    for name, space in SPACES.items():
        for at in (0, 255, space.n_bins - 1):
            p = np.ones(space.n_bins)
            p[at] = bad
            with pytest.raises(ValueError, match=rf"^q\[{at}\] = {bad}"):
                emdref.emd(np.ones(space.n_bins), p, space)
        totals = np.ones(space.n_bins)
        totals[-1] = 1.5
        with pytest.raises(ValueError, match=r"^p has total"):
            emdref.emd(np.ones(space.n_bins), totals, space)
        assert emdref.emd(totals, totals, space) == 0, name
