"""Tiles of rows as plain Python, where lanes are NumPy rows, against rationals."""

import itertools

import hostile
import numpy as np
import pytest

import oracles
import plain

emdref = plain.original()
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

GRID = [
    ("raw", "ignore"),
    ("raw", "normalize"),
    ("zero_sum", "ignore"),
    ("scaled", "ignore"),
    ("normalized", "normalize"),
]
SMALL = [1, 2, 3, 4]


@pytest.fixture
def one_by_one(monkeypatch):
    """Every space has loops for single rows, which large ones have, and parts of the way are short."""
    for module in (emdref.spaces.chain, emdref.spaces.tree):
        monkeypatch.setattr(module, "MANY", 1)
    single, inspection = emdref.kernels.tiles.single, emdref.kernels.tiles.inspection
    for module, name, size in ((single, "_BLOCK", 64), (inspection, "COLUMNS", 64), (single, "_FAR", 128)):
        monkeypatch.setattr(module, name, size)
    return single


def both(space, p, q, rho, gauge="zero_sum", mass="ignore", accuracy="compensated"):
    return emdref.emd_value_and_grad(p, q, space, rho, gauge=gauge, mass=mass, accuracy=accuracy)


# --- plain arithmetic -------------------------------------------------------------------------------------------------


def check_native(space, edges, rho, dtype, tolerance):
    p, q = plain.pairs(space.n_bins, dtype)
    for gauge, mass in GRID:
        value, grad = both(space, p, q, rho, gauge, mass, "native")
        assert value.dtype == grad.dtype == dtype
        for i in range(len(p)):
            number, line = plain.truth(p[i], q[i], edges, rho, gauge, mass == "normalize")
            raw = plain.truth(p[i], q[i], edges, rho, "raw", mass == "normalize")[1]
            scale = {"scaled": len(p[i]), "normalized": 1 / float(p[i].sum())}.get(gauge, 1)
            assert abs(float(value[i]) - float(number)) <= tolerance * float(number)
            bound = tolerance * scale * float(max(map(abs, raw)))
            assert plain.close(grad[i], line, bound), (rho, gauge, mass, i)


@pytest.mark.parametrize("rho", plain.RHOS)
def test_native_value_and_gradient(rho):
    for space, edges in list(plain.spaces(emdref))[:: 1 if rho in (1, 2) else 2]:
        check_native(space, edges, rho, np.float64, 1e-12)


def test_native_value_and_gradient_in_float32():
    for space, edges in list(plain.spaces(emdref))[:2]:
        for rho in (1, 2, 2.5):
            check_native(space, edges, rho, np.float32, 1e-4)


def test_native_subtraction_comes_first():
    """cumsum(p) - cumsum(q) loses the 2**-60."""
    for dtype, small in ((np.float64, 2.0**-60), (np.float32, 2.0**-30)):
        for space in (emdref.Chain(3), emdref.Chain(3).to_tree()):
            p, q = np.array([1, small, 0], dtype), np.array([1, 0, small], dtype)
            assert emdref.emd(p, q, space, accuracy="native") == small


@pytest.mark.parametrize("rows", ["one", "tiles"])
@pytest.mark.parametrize("accuracy", ["native", "compensated"])
def test_what_costs_nothing_counts_nothing(accuracy, rows, request):
    """Also where its power overflows."""
    if rows == "one":
        request.getfixturevalue("one_by_one")
    chain = emdref.Chain(gaps=[0, 1])
    for space in (chain, chain.to_tree()):
        for rho in (2, 3):  # the power, and the slope as well
            value, grad = both(space, [1e200, 0, 1], [0, 1e200, 1], rho, accuracy=accuracy)
            assert value == 0 and not grad.any()


# --- two limbs --------------------------------------------------------------------------------------------------------


def check_compensated(space, edges, p, q, rho, gauge="zero_sum"):
    value, grad = both(space, p, q, rho, gauge)
    eps = oracles.Fraction(float(np.finfo(p.dtype).eps))
    for i in range(len(p)):
        number, line = plain.truth(p[i], q[i], edges, rho, gauge, False)
        raw = plain.truth(p[i], q[i], edges, rho, "raw", False)[1]
        assert abs(oracles.Fraction(float(value[i])) - number) <= plain.ulp(number, p.dtype.type)
        bound = 8 * eps * max(map(abs, raw)) * (len(p[i]) if gauge == "scaled" else 1) + plain.ulp(0, p.dtype.type)
        assert plain.close(grad[i], line, bound), (rho, gauge, i)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rho", SMALL)
def test_value_and_gradient(rho, dtype):
    for space, edges in plain.spaces(emdref):
        for gauge in ("raw", "zero_sum", "scaled"):
            check_compensated(space, edges, *plain.pairs(space.n_bins, dtype), rho, gauge)


@pytest.mark.parametrize("family", sorted({*hostile.FAMILIES} - {"near_the_top", "far"}))
def test_hostile_rows(family):
    rng = np.random.default_rng([3, *family.encode()])
    for n, rho, dtype in itertools.product((2, 9, 30), (1, 2, 4), (np.float32, np.float64)):
        gaps = rng.integers(1, 4, n - 1).astype(float)
        space, edges = emdref.Chain(gaps=gaps), oracles.chain_edges(gaps)
        p, q = hostile.batch(rng, family, n, dtype, 3)
        if family == "tiny" and rho > 1:
            continue  # beyond the range
        check_compensated(space, edges, p, q, rho, "raw")


@pytest.mark.parametrize("seed", range(6))
def test_every_sign_is_right(seed):
    """Where costs are whole numbers, so are the raw derivatives at rho = 1: one wrong sign is seen."""
    rng = np.random.default_rng(seed)
    for family in ("wide", "moved", "barely", "terms", "apart"):
        parent, _, bins = hostile.tree(rng, int(rng.integers(2, 40)))
        cost = rng.integers(0, 4, len(parent)).astype(float)
        space = emdref.Tree(parent, cost, bins)
        edges = oracles.tree_edges(space.parent, space.cost, space.bins)
        p, q = hostile.batch(rng, family, space.n_bins, np.float64, 9)
        _, grad = both(space, p, q, 1, "raw")
        for a, b, line in zip(p, q, grad, strict=True):
            assert line.tolist() == plain.truth(a, b, edges, 1, "raw", False)[1], family


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ordinary_rows_are_settled_at_once(dtype, monkeypatch):
    """Nobody looks at them again: neither at what was given nor at what two limbs may have lost."""

    def refuse(*_):
        raise AssertionError("looked at again")

    monkeypatch.setitem(emdref.closed_form.escalation.__dict__, "_block_carefully", refuse)
    monkeypatch.setattr(emdref.closed_form.batches.Unseen, "verify", refuse)
    rng = np.random.default_rng(0)
    p = rng.random((9, 20)) + 0.5
    p, q = ((x / x.sum(axis=1, keepdims=True)).astype(dtype) for x in (p, rng.permuted(p, axis=1)))
    equal = rng.permuted(p, axis=1)
    for space, accuracy in itertools.product(spaces_of(20), ("compensated", "native")):
        for rho, gauge in zip(SMALL, itertools.cycle(("raw", "scaled"))):
            for a, b in ((p, q), (p, p), (p, equal), (p * dtype(2.0**-90), q * dtype(2.0**-90))):
                both(space, a, b, rho, gauge, "raise", accuracy)


# --- tiles, blocks and scratch ----------------------------------------------------------------------------------------


def spaces_of(n):
    chain = emdref.Chain(gaps=np.arange(1, n) % 4)
    yield chain
    yield chain.to_tree()
    yield emdref.Tree(np.append(-1, np.arange(2 * n - 1) // 2), np.arange(2 * n) % 3, np.arange(n)[::-1] * 2)


@pytest.mark.parametrize("accuracy", ["native", "compensated"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_knows_nothing_of_its_tile(dtype, accuracy):
    """Whole tiles and what is left over, of rows and of columns."""
    rng = np.random.default_rng(0)
    for n, rows in ((1, 3), (7, 8), (8, 9), (17, 11)):
        p, q = rng.random((2, rows, n)).astype(dtype)
        for space, rho in itertools.product(spaces_of(n), (1, 3)):
            value, grad = both(space, p, q, rho, accuracy=accuracy)
            for i in range(rows):
                number, line = both(space, p[i], q[i], rho, accuracy=accuracy)
                assert number == value[i] and np.array_equal(line, grad[i])


@pytest.mark.parametrize("accuracy", ["native", "compensated"])
def test_blocks_of_columns_change_nothing(accuracy, monkeypatch):
    """Of the chain's kernels, which keep phi before each block."""
    rng = np.random.default_rng(0)
    p, q = rng.random((2, 9, 70))
    space = emdref.Chain(gaps=rng.integers(0, 4, 69))
    whole = [both(space, p, q, rho, accuracy=accuracy) for rho in (1, 2, 3)]
    for columns in (16, 32, 64):
        monkeypatch.setattr(emdref.kernels.tiles.inspection, "COLUMNS", columns)
        cut = [both(space, p, q, rho, accuracy=accuracy) for rho in (1, 2, 3)]
        assert all(np.array_equal(x, y) for a, b in zip(whole, cut, strict=True) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("accuracy", ["native", "compensated"])
def test_no_gradient_unless_asked(accuracy):
    p, q = plain.pairs(5)
    for space in spaces_of(5):
        value = emdref.emd(p, q, space, 2, mass="ignore", accuracy=accuracy)
        assert np.array_equal(value, both(space, p, q, 2, accuracy=accuracy)[0])


@pytest.mark.parametrize("accuracy", ["native", "compensated"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_single_row_has_the_bits_of_its_tile(dtype, accuracy, one_by_one):
    rng = np.random.default_rng(0)
    for n, family in itertools.product((1, 64, 150), ("plain", "moved")):
        p, q = rng.random((2, 3, n)).astype(dtype) if family == "plain" else hostile.batch(rng, family, n, dtype, 3)
        for space, rho, gauge in zip(spaces_of(n), (1, 2, 4), ("raw", "zero_sum", "scaled"), strict=True):
            value, grad = both(space, p, q, rho, gauge, accuracy=accuracy)
            for i in range(3):
                number, line = both(space, p[i], q[i], rho, gauge, accuracy=accuracy)
                assert number.tobytes() == value[i].tobytes() and line.tobytes() == grad[i].tobytes(), (n, family)
            assert np.array_equal(emdref.emd(p[:2], q[:2], space, rho, mass="ignore", accuracy=accuracy), value[:2])


@pytest.mark.parametrize("accuracy", ["native", "compensated"])
def test_a_bad_entry_of_a_single_row_is_found(accuracy, one_by_one):
    q = np.ones(130)
    for space, at in itertools.product(spaces_of(130), (0, 70, 129)):
        for bad in (np.nan, -1.0, 2.0):
            p = np.ones(130)
            p[at] = bad
            with pytest.raises(ValueError, match=rf"^p\[{at}\]|^p has total"):
                emdref.emd(p, q, space, accuracy=accuracy)


@pytest.mark.parametrize("accuracy", ["native", "compensated"])
@pytest.mark.parametrize("rows", [11, 1])
def test_scratch_memory_is_not_read_before_it_is_written(accuracy, rows, one_by_one, monkeypatch):
    """With all of it NaN at first."""
    p, q = np.random.default_rng(0).random((2, rows, 75))
    spaces = list(spaces_of(75))
    before = [both(space, p, q, 2, accuracy=accuracy) for space in spaces]
    scratch, asked = emdref.kernels.arithmetic.lanes.scratch, []

    def nan(lanes, dtype):
        asked.append(scratch(lanes, dtype))
        asked[-1][:] = np.nan
        return asked[-1]

    for kernels in (emdref.kernels.tiles.plain, emdref.kernels.tiles.two_limbs, one_by_one):
        monkeypatch.setattr(kernels, "scratch", nan)
    after = [both(space, p, q, 2, accuracy=accuracy) for space in spaces]
    assert all(np.array_equal(x, y) for a, b in zip(before, after, strict=True) for x, y in zip(a, b, strict=True))
    assert asked and all(x.ctypes.data % 64 == 0 for x in asked)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gradient_beyond_the_range_is_noticed(dtype):
    """Though the value is not, and the row is not the first of its tile."""
    p, q = np.array([[0, 1], [0.9, 0.1]], dtype), np.array([[0, 1], [0, 1]], dtype)
    chain = emdref.Chain(gaps=[0.95 * float(np.finfo(dtype).max)])
    for space in (chain, chain.to_tree()):
        with pytest.warns(RuntimeWarning, match="1 entries of the gradient are beyond the range .* the first in row 1"):
            value, grad = both(space, p, q, 2, "raw", accuracy="native")
        assert np.isfinite(value).all() and grad.tolist() == [[0, 0], [np.inf, 0]]


# --- what two limbs may lose ------------------------------------------------------------------------------------------


def lost_bits(p, q):
    """What plain additions to a low limb lose on the way along a chain, and the bound of it."""
    loss, h, l = oracles.Fraction(0), 0.0, 0.0
    two_sum, exactly = emdref.kernels.arithmetic.floats.two_sum, plain.total
    for x, y in zip(p.astype(float).tolist(), q.astype(float).tolist(), strict=True):
        xh, xl = two_sum(x, -y)
        h, e = two_sum(h, xh)
        s = xl + e
        loss += abs(exactly(xl, e) - exactly(s))
        before, l = l, l + s
        loss += abs(exactly(before, s) - exactly(l))
    return loss


def bound_of(p, q):
    looks = emdref.kernels.tiles.inspection.new_sums(p)
    emdref.kernels.tiles.inspection.clear(looks)
    emdref.kernels.tiles.inspection.look(p, 0, q, 0, len(p), 0, looks, True)
    digits = 53 if p.itemsize == 8 else 24
    return emdref.kernels.tiles.two_limbs._most_lost(looks, 0, digits, 2.0 * len(p))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bound_of_lost_bits_is_one(dtype):
    """And 0 for most rows in which nothing is lost."""
    rng, lossy, tight = np.random.default_rng(1), 0, 0
    for family, n in itertools.product(hostile.FAMILIES, (1, 2, 5, 33, 100)):
        for _ in range(4):
            p, q = hostile.pair(rng, family, n, dtype)
            loss, bound = lost_bits(p, q), bound_of(p, q)
            assert loss <= bound if np.isfinite(bound) else loss >= 0, (family, n)
            lossy += loss > 0
            tight += bound == 0
    assert tight > 60 and (lossy > 10 or dtype == np.float32)


def test_the_bound_is_0_up_to_the_last_digit_that_fits():
    """Two bins, 4 entries: the low limb is at most 2**-50 T, and has 53 digits from the last one of the smallest."""
    lost = emdref.kernels.tiles.two_limbs._most_lost
    for digits, margin in ((53, 1.0), (24, 2.0**29)):
        looks = np.zeros((6, 1))
        looks[0, 0], looks[2, 0] = 1.0, 0.5
        looks[5, 0] = np.nextafter(2.0**-50 / margin, 1)
        assert lost(looks, 0, digits, 4.0) == 0
        looks[5, 0] = 2.0**-50 / margin
        assert lost(looks, 0, digits, 4.0) == 2.0 ** (4 - 50 - 53)
        looks[:4:2, 0] = 0.5, 1.0  # the larger total, whichever it is
        assert lost(looks, 0, digits, 4.0) == 2.0 ** (4 - 50 - 53)


SAFE = {
    "value": 1.0,
    "lost": 2.0**-80,
    "total": 1.0,
    "least": 2.0**-70,
    "most": 1.0,
    "rho": 3.0,
    "costs": 1.0,
    "edges": 4.0,
}


@pytest.mark.parametrize(
    ("change", "unsafe"),
    [
        ({}, False),
        ({"least": 2.0**-79}, True),  # a sign
        ({"least": np.nextafter(2.0**-79, 1)}, False),
        ({"least": 0.0}, True),  # a kink amid lost bits
        ({"least": 0.0, "lost": 0.0}, False),
        ({"lost": 2.0**-58, "least": 1.0, "rho": 1.0}, False),  # the value
        ({"lost": 2.0**-57, "least": 1.0, "rho": 1.0}, True),
        ({"lost": 2.0**-58, "least": 1.0}, True),  # the gradient
        ({"lost": 2.0**-61, "least": 1.0}, True),  # 6 of it are more than 2**-57 / 4
        ({"lost": 2.0**-62, "least": 1.0}, False),
        ({"costs": 2.0**30}, True),
        ({"most": 2.0**30}, True),
        ({"most": 2.0**30, "rho": 2.0}, False),
        ({"value": 2.0**-901, "lost": 0.0}, True),
        ({"value": 2.0**901, "lost": 0.0}, True),
        ({"total": 2.0**-901, "lost": 0.0}, True),
        ({"total": 2.0**901, "lost": 0.0}, True),
        ({"value": np.nan, "lost": 0.0}, True),
        ({"value": 0.0, "total": 0.0, "most": 0.0, "least": np.inf}, False),  # nothing flows where it costs
        ({"value": 0.0, "total": 1.0, "most": 0.0, "lost": 0.0}, False),
        ({"value": 0.0, "most": 1e-300, "lost": 0.0}, True),
        ({"lost": np.inf}, True),
        ({"lost": np.inf, "total": 0.0}, True),
    ],
)
def test_what_is_unsafe(change, unsafe):
    assert emdref.kernels.tiles.two_limb_sums.unsafe(*{**SAFE, **change}.values()) == unsafe


@pytest.mark.parametrize("rho", SMALL)
def test_an_edge_in_two_limbs(rho):
    """Of either sign, in lanes as in scalars; 0 at 0."""
    rng, edge2 = np.random.default_rng(rho), emdref.kernels.arithmetic.edges.edge2
    h = rng.lognormal(0, 5, 8) * rng.choice([-1, 1], 8)
    l, w = np.spacing(h) * rng.uniform(-0.5, 0.5, 8), rng.lognormal(0, 5)
    results = edge2(h, l, w, float(rho))
    for i in range(8):
        assert [x[i] for x in results] == list(edge2(h[i], l[i], w, float(rho)))
        phi, cost = plain.total(h[i], l[i]), oracles.Fraction(w)
        value, slope = cost * abs(phi) ** rho, rho * cost * abs(phi) ** (rho - 1) * oracles.sign(phi)
        assert abs(plain.total(results[0][i], results[1][i]) - value) <= value / 2**99
        assert abs(plain.total(results[2][i], results[3][i]) - slope) <= abs(slope) / 2**99
    zero = np.zeros(8)
    assert not np.any(edge2(zero, zero, w, float(rho)))


def test_the_mean_and_the_factor_have_two_limbs():
    sums2 = emdref.kernels.tiles.two_limb_sums
    sums = [None, None, *np.array([[1.0, -3.0], [2.0**-60, 1e-17]])]
    h, l = sums2.mean(sums, 3.0)
    for i in range(2):
        exact = plain.total(sums[2][i], sums[3][i]) / 3
        assert abs(plain.total(h[i], l[i]) - exact) <= abs(exact) / 2**103
    assert not np.any(sums2.mean(sums, 0.0))
    third, rest = h[0], l[0]
    assert sums2.gradient(third, rest, 3.0) == 1.0
    assert sums2.gradient(np.float64(1.0), np.float64(2.0**-53 + 2.0**-80), 5.0) == 5 + 2.0**-50


# --- the first look ---------------------------------------------------------------------------------------------------


def passes(p, q, tolerance=np.inf):
    """By the first look, as the kernels take it: so many columns at a time."""
    glance = emdref.kernels.tiles.inspection
    looks = glance.new_sums(p)
    glance.clear(looks)
    for start in range(0, len(p), glance.COLUMNS):
        glance.look(p, start, q, start, min(glance.COLUMNS, len(p) - start), 0, looks, True)
    positive = [float(x) for x in (*p, *q) if x > 0]
    assert looks[5, 0] == min(positive, default=np.inf)
    return not glance.doubtful(looks, 0, tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_first_look_finds_what_is_wrong_wherever_it_is(dtype, monkeypatch):
    monkeypatch.setattr(emdref.kernels.tiles.inspection, "COLUMNS", 64)
    for n in (1, 3, 16, 33, 70):
        fine = np.ones(n, dtype)
        assert passes(fine, fine) and passes(np.where(np.arange(n) == n - 1, fine, dtype(-0.0)), fine)
        assert not passes(0 * fine, fine) and not passes(fine, 0 * fine)
        for bad, k in itertools.product((np.nan, np.inf, -np.inf, -1e-45, -1), range(n)):
            wrong = fine.copy()
            wrong[k] = bad if dtype == np.float32 else bad * (1e-270 if bad == -1e-45 else 1)
            assert not passes(wrong, fine) and not passes(fine, wrong)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 31, 100, 1000])
def test_no_row_passes_the_first_look_that_the_second_refuses(n, dtype):
    """One entry and tails of tiny ones, whose sums in the dtype round as badly as they can."""
    rng, inputs = np.random.default_rng(n), emdref.arguments.validation
    tolerance, eps = inputs.mass_tolerance(dtype, n), float(np.finfo(dtype).eps)
    refused = 0
    for tail, apart in itertools.product((0.0, 0.25, 0.49, 0.51, 1.0), (0.0, 0.3, 0.55, 0.9, 0.99, 1.01, 1.5)):
        p = np.full(n, tail * eps, dtype)
        p[rng.integers(n)] = 1
        q = (p[::-1] * (1 + apart * tolerance)).astype(dtype)
        totals = plain.total(*p), plain.total(*q)
        good = abs(totals[0] - totals[1]) <= oracles.Fraction(tolerance) * max(totals)
        refused += not good
        assert good or not passes(p, q, tolerance)
        assert apart > 0.4 or passes(p, q, tolerance)
        assert passes(p, p[::-1], tolerance)
    assert refused >= 5


# --- lanes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), [("f4", "f4"), ("f8", "f8"), ("f4", "f8")])
def test_rows_into_lanes_and_back(source, target):
    lanes, rng = emdref.kernels.arithmetic.lanes, np.random.default_rng(0)
    n = 64 // np.dtype(target).itemsize
    x, y = rng.random((2, n * 40)).astype(source)
    for rows, columns in itertools.product(range(1, n + 1), range(1, n + 1)):
        at, step = int(rng.integers(9)), int(rng.integers(columns, 30))
        out = np.full(n * n, -7, target)
        lanes.columns_of(x, at, step, rows, columns, out)
        block = out.reshape(n, n)[:columns]
        for j, w in itertools.product(range(columns), range(n)):
            assert block[j, w] == x[at + min(w, rows - 1) * step + j]  # without a row, the last one's
        assert (out[n * columns :] == -7).all()
        back = np.full(len(x), -7, source)
        lanes.into_columns(out, back, at, step, rows, columns, 3)
        written = np.add.outer(at + step * np.arange(rows), np.arange(columns))
        assert (back[written] == x[written]).all() and (np.delete(back, written.ravel()) == -7).all()
        lanes.difference(x, at, step, y, at + 1, 0, rows, columns, out)
        a, b = x.astype(target), y.astype(target)
        for j, w in itertools.product(range(columns), range(n)):
            assert out[j * n + w] == a[at + min(w, rows - 1) * step + j] - b[at + 1 + j]
