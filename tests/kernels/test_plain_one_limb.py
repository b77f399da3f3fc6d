"""float32 tiles in one limb as plain Python: the bits of two limbs, near the places where rounding changes as well."""

import functools
import itertools
from fractions import Fraction

import hostile
import numpy as np
import pytest

import oracles
import plain

emdref = plain.original()
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
FLOAT = np.dtype(np.float32)


def both(space, p, q, rho, gauge="zero_sum"):
    return emdref.emd_value_and_grad(p, q, space, rho, gauge=gauge, mass="ignore")


def bits(results):
    return [x.tobytes() for x in results]


def never(*_):
    raise AssertionError("two limbs were asked")


@pytest.fixture
def in_two_limbs(monkeypatch):
    """A function that calls another with the way by one limb shut."""

    def call(function, *arguments):
        with monkeypatch.context() as patch:
            for tile in ("chain_tile", "tree_tile"):
                patch.setattr(emdref.kernels.tiles.one_limb, tile, lambda *_: False)
            return function(*arguments)

    return call


@pytest.fixture
def alone(monkeypatch):
    """Two limbs must not be needed."""
    for tile in ("chain_tile", "tree_tile"):
        monkeypatch.setattr(emdref.kernels.tiles.two_limbs, tile, never)


def spaces_of(n):
    gaps = np.random.default_rng(n).random(n - 1) * (np.arange(1, n) % 5)
    yield emdref.Chain(gaps=gaps)
    yield emdref.Chain(n).to_tree()
    yield emdref.Tree(np.append(-1, np.arange(2 * n - 1) // 3), np.arange(2 * n) % 3 / 8, np.arange(n)[::-1] * 2)


@pytest.mark.filterwarnings("ignore:[0-9]+ entries of the:RuntimeWarning")
@pytest.mark.parametrize("family", hostile.FAMILIES)
def test_the_bits_are_those_of_two_limbs(family, in_two_limbs):
    rng = np.random.default_rng([3, *family.encode()])
    for n, rho in ((2, 1), (7, 2), (19, 3), (30, 4)):
        p, q = hostile.batch(rng, family, n, np.float32, 3)
        for space, gauge in zip(spaces_of(n), ("zero_sum", "scaled", "raw"), strict=True):
            found = both(space, p, q, rho, gauge)
            assert bits(found) == bits(in_two_limbs(both, space, p, q, rho, gauge)), (n, gauge)


def test_blocks_of_columns_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    p, q = rng.random((2, 3, 40), np.float32)
    space = emdref.Chain(gaps=rng.random(39))
    whole = bits(both(space, p, q, 2))
    monkeypatch.setattr(emdref.kernels.tiles.inspection, "COLUMNS", 16)
    assert bits(both(space, p, q, 2)) == whole


# --- where rounding changes -------------------------------------------------------------------------------------------


def next_tie(x):
    """Halfway between two float32, near a number."""
    a = np.float32(x)
    return (Fraction(float(a)) + Fraction(float(np.nextafter(a, np.float32(np.inf))))) / 2


def near_a_tie(rng, n, of):
    """Gaps of a chain with which `of` of all mass going from the first bin to the last is all but halfway.

    It is a function of Fractions that is linear in the first of them.
    """
    gaps = rng.random(n - 1) * 2.0 ** -rng.integers(0, 7, n - 1)
    gaps[0] = 0
    rest = of(plain.exactly(gaps))
    weight = of([Fraction(1), *plain.exactly(gaps)[1:]]) - rest
    tie = next_tie(rest + weight)
    ulp = Fraction(2) ** -52 * abs(tie)
    gaps[0] = float((tie + int(rng.integers(-5, 6)) * ulp / 2 - rest) / weight)
    return gaps


def entry(gaps):
    """The first entry of the gradient at rho = 1: r less its mean."""
    n = len(gaps) + 1
    return sum(c * Fraction(n - k, n) for k, c in enumerate(gaps, 1))


@pytest.mark.parametrize(("of", "result"), [(sum, 0), (entry, 1)], ids=["value", "gradient"])
@pytest.mark.parametrize("kind", ["chain", "tree"])
def test_results_that_are_all_but_halfway(kind, of, result):
    """One limb errs by more than what they are away."""
    rng, n = np.random.default_rng(7), 30
    p, q = np.eye(n, dtype=np.float32)[[0, n - 1]]
    for _ in range(25):
        gaps = near_a_tie(rng, n, of)
        space = emdref.Chain(gaps=gaps)
        found = np.ravel(both(space if kind == "chain" else space.to_tree(), p, q, 1)[result])[0]
        assert found == np.float32(float(of(plain.exactly(gaps))))


def tile(space, p, q, rho):
    """One limb's tile of one row with all that it needs: whether it is settled, value, gradient."""
    one, row = emdref.kernels.tiles.one_limb, emdref.kernels.tiles.two_limbs
    shape = space.kernel(rho, FLOAT, "compensated", False).shape
    value, grad, flags = np.zeros(1, np.float32), np.zeros(len(p), np.float32), np.zeros((2, 1), bool)
    given, results = (p, 0, q, 0), (value, grad, *flags)
    how = float(rho), float(len(p)), 1.0, float(np.finfo(FLOAT).max), False, -1.0
    if isinstance(space, emdref.Chain):
        memory = one.chain_memory(p, len(p))
        one._prepare(0, len(p), shape[0], memory[1], memory[2])
        settled = one.chain_tile(0, 1, memory, given, results, *shape, how)
    else:
        settled = one.tree_tile(0, 1, row.tree_memory(p, space.n_nodes, grad), given, results, *shape, how)
    return settled, value[0], grad


@pytest.mark.parametrize("rho", [1, 2, 3, 4])
def test_what_is_settled_is_right(rho):
    """Against rationals; most rows are."""
    rng, count = np.random.default_rng(rho), [0, 0]
    for n in (2, 9, 24):
        gaps = rng.random(n - 1)
        for space, _ in itertools.product((emdref.Chain(gaps=gaps), emdref.Chain(gaps=gaps).to_tree()), range(4)):
            p, q = rng.standard_exponential((2, n), np.float32)
            settled, value, grad = tile(space, p, q, rho)
            number, line = plain.truth(p, q, oracles.chain_edges(gaps.tolist()), rho, "zero_sum", False)
            count[settled] += 1
            if settled:
                assert value == np.float32(float(number))
                assert grad.tolist() == np.array(line, float).astype(np.float32).tolist()
    assert count[1] > 3 * count[0]


def holds(*entries):
    looks = np.zeros((6, 1))
    looks[5] = np.inf
    looks[0], looks[2], looks[5] = entries
    return emdref.kernels.tiles.one_limb._holds(looks, 1)


def test_when_one_limb_holds_all_flows():
    assert holds(2.0**28, 1.0, 1.0) and holds(1.0, 2.0**28, 1.0) and holds(0.0, 0.0, np.inf)
    assert not holds(2.0**28 + 1, 1.0, 1.0) and not holds(1.0, 2.0**28 + 1, 1.0)
    assert not holds(np.nan, 1.0, 1.0) and not holds(1.0, np.inf, 1.0)


def test_a_digit_that_one_limb_has_no_room_for():
    """p - q = (1, 2**-60, -1): the middle flow is more than 1."""
    p, q = np.array([1, 2.0**-60, 0], np.float32), np.array([0, 0, 1], np.float32)
    chain = emdref.Chain(gaps=[1, 2.0**-30])
    for space in (chain, chain.to_tree()):
        assert not tile(space, p, q, 2)[0]
    p, q = np.array([1, 2.0**-60, 0, 0], np.float32), np.array([0, 0, 1, 2.0**-60], np.float32)
    assert both(emdref.Chain(4), p, q, 1, "raw")[1].tolist() == [3, 2, 1, 0]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("kind", ["chain", "tree"])
def test_sums_without_a_lost_digit_need_no_bound(kind):
    """Zeros of the gradient, and numbers halfway between two float32."""
    chain = emdref.Chain(3)
    space = chain if kind == "chain" else chain.to_tree()
    for rho, slope in ((1, 1), (2, 2)):
        value, grad = both(space, np.array([1, 0, 0], np.float32), np.array([0, 0, 1], np.float32), rho)
        assert value == 2 and grad.tolist() == [slope, 0, -slope]
    p, q = np.array([1, 2.0**-24, 0], np.float32), np.array([0, 0, 1], np.float32)
    assert both(space, p, q, 1)[0] == 2 and both(space, p + p, q, 1)[0] == 4


def test_exact_rows_are_told_from_others():
    """The mean of r may be no float64, and sums may be too long."""
    one = emdref.kernels.tiles.one_limb
    looks, error, how = np.full((6, 8), 2.0**24), np.ones(8), (2.0, 3.0, 1.0, 1.0, False, -1.0)
    ask = functools.partial(one._unless_exact, rows=3, out=np.zeros(24), looks=looks, how=how)
    sums = np.array([3.0, 1.0, 6.0, 3.0, 3.0, 3.0, 3.0, 3.0])
    assert ask(error, sums, np.full(8, 2.0**48), unit=1.0).tolist() == [0, 1, 0, 1, 1, 1, 1, 1]
    assert ask(error, sums, np.full(8, 2.0**48 + 1), unit=1.0).tolist() == [1] * 8
    assert ask(error, sums, np.full(8, 2.0**48), unit=0.5).tolist() == [1] * 8


@pytest.mark.usefixtures("alone")
def test_ordinary_rows_need_one_limb():
    rng = np.random.default_rng(1)
    p, q = rng.random((2, 8, 30), np.float32)
    for space, rho in itertools.product(spaces_of(30), (1, 2)):
        assert np.isfinite(both(space, p, q, rho)[0]).all()


# --- what a space says of itself --------------------------------------------------------------------------------------


def test_the_last_digit_of_costs():
    last_digit = emdref.spaces.rooted.last_digit
    assert last_digit(np.array([6.0, 0, 12])) == 1
    assert last_digit(np.array([1.5, 2.25])) == 0.25
    assert last_digit(np.array([1.0, 1 + 2.0**-52, 0])) == 2.0**-52
    assert last_digit(np.zeros(2)) == last_digit(np.zeros(0)) == 1
    assert last_digit(np.array([3 * 2.0**-400])) == 2.0**-400


def test_the_depth_of_a_tree():
    rng = np.random.default_rng(0)
    assert emdref.Tree([-1]).rooted.depth == 0 and emdref.Chain(70).rooted.depth == 69
    for n in (2, 3, 40, 200):
        parent = np.append(-1, rng.integers(np.maximum(0, np.arange(n - 1) - 3), np.arange(1, n)))
        depth = [0]
        for v in range(1, n):
            depth.append(depth[parent[v]] + 1)
        assert emdref.Tree(parent).rooted.depth == max(depth)
