"""The compiled tile kernels: guarantees on hostile rows, refusals, memory layouts, results in the caller's arrays."""

import itertools
import re
import tracemalloc
import warnings
from fractions import Fraction

import hostile
import numpy as np
import pytest

import cases
import emdref
import plain
from emdref import exact
from emdref.arguments import casts, validation
from emdref.closed_form import batches, escalation
from emdref.kernels.arithmetic import lanes
from emdref.kernels.compile import jit, threads
from emdref.kernels.tiles import inspection

DTYPES = cases.DTYPES
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_accuracy = pytest.mark.parametrize("accuracy", ["compensated", "native"])


def both(p, q, space, rho=2, **options):
    return emdref.emd_value_and_grad(p, q, space, rho, **{"mass": "ignore", **options})


def same(a, b):
    """Bit for bit."""
    return all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True)
    )


# --- two limbs on hostile rows ----------------------------------------------------------------------------------------


@pytest.fixture
def paths(monkeypatch):
    """How many rows were looked at more closely, in a list of one number."""
    count = [0]

    def counted(work, left, exactly=False):
        count[0] += 0 if exactly else len(left)
        return carefully(work, left, exactly)

    carefully = escalation._carefully
    monkeypatch.setattr(escalation, "_carefully", counted)
    return count


def drawn_space(rng, n):
    if rng.random() < 0.5:
        return emdref.Chain(gaps=hostile.costs(rng, n)[1:])
    return emdref.Tree(*hostile.tree(rng, max(n, 2)))


def assert_guarantees(p, q, space, rho, gauge):
    """Each row's value within 1 ulp and gradient within 8 eps max|r|, inf only where the dtype ends."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[0-9]+ entries of the", RuntimeWarning)
        value, grad = both(p, q, space, rho, gauge=gauge)
    eps, top = cases.eps(p.dtype), Fraction(float(np.finfo(p.dtype).max)) * (1 - Fraction(1, 2**23))
    for a, b, x, line in zip(p.tolist(), q.tolist(), value, grad, strict=True):
        number, raw = exact.emd(a, b, space, rho), exact.grad(a, b, space, rho, gauge="raw")
        bound = 8 * eps * max(map(abs, raw)) * (len(a) if gauge == "scaled" else 1)
        assert number >= top or abs(Fraction(float(x)) - number) <= cases.ulp(number, p.dtype.type)
        for y, z in zip(line.tolist(), exact.grad(a, b, space, rho, gauge=gauge), strict=True):
            assert abs(z) + bound >= top or abs(Fraction(y) - z) <= bound + cases.ulp(0, p.dtype.type)


@pytest.mark.parametrize("family", hostile.FAMILIES)
def test_guarantees_on_hostile_rows(family):
    rng = np.random.default_rng([1, *family.encode()])
    for _ in range(24):
        space, dtype = drawn_space(rng, int(np.exp(rng.uniform(0, 4.5)))), DTYPES[rng.integers(2)]
        p, q = hostile.batch(rng, family, space.n_bins, dtype, 3)
        assert_guarantees(p, q, space, int(rng.integers(1, 5)), ["raw", "zero_sum", "scaled"][rng.integers(3)])


@pytest.mark.parametrize("family", hostile.FAMILIES)
def test_every_sign_is_right(family):
    """Where costs are whole numbers, so are the raw derivatives at rho = 1: one wrong sign is seen."""
    rng = np.random.default_rng([2, *family.encode()])
    for n, dtype in itertools.product((2, 17, 150), DTYPES):
        gaps = rng.integers(0, 4, n - 1).astype(float)
        tree = emdref.Tree(np.append(-1, rng.integers(0, np.arange(1, n))), np.append(0, gaps))
        for space in (emdref.Chain(gaps=gaps), tree):
            p, q = hostile.batch(rng, family, space.n_bins, dtype, 9)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "[0-9]+ entries of the value", RuntimeWarning)
                grad = both(p, q, space, 1, gauge="raw")[1]
            for a, b, line in zip(p, q, grad, strict=True):
                assert line.tolist() == exact.grad(a.tolist(), b.tolist(), space, 1, gauge="raw")


@pytest.mark.parametrize("depth", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_deep_paths(depth):
    """A path of trees and a chain, with exact zeros halfway and bits lost on the way."""
    rng = np.random.default_rng(depth)
    p, q = hostile.moved(rng, depth, np.float64)
    for space in (emdref.Chain(depth), emdref.Tree(np.arange(depth) - 1, bins=np.arange(depth))):
        grad = emdref.emd_grad(p, q, space, gauge="raw", mass="ignore")
        assert grad.tolist() == exact.grad(p.tolist(), q.tolist(), space, gauge="raw")


def test_which_way_rows_take(paths):
    """Ordinary rows are settled by the tiles, kinks amid lost bits by a closer look, the rest by integers."""
    rng = np.random.default_rng(0)
    p, q = cases.softmax(rng, (2, 50, 300), np.float32)
    with emdref.fallback.counting() as count:
        for rho in (1, 2, 3, 4):
            both(p, q, emdref.Chain(300), rho)
            both(p, q, emdref.Tree(np.append(-1, np.zeros(300, int))), rho)
    assert (paths[0], count.rows, count.exact) == (0, 400, 0)
    p, q = hostile.batch(rng, "moved", 300, np.float64, 50)
    with emdref.fallback.counting() as count:
        both(p, q, emdref.Chain(300), 1)
    assert 5 < paths[0] < 50 and count.exact <= paths[0]
    paths[0] = 0
    with emdref.fallback.counting() as count:
        both([1, 2.0**-60, 2.0**-120, 0, 0, 0], [0, 0, 0, 1, 2.0**-60, 2.0**-120], emdref.Chain(6), 1)
    assert (paths[0], count.exact) == (1, 1)


@each_dtype
def test_a_flow_of_the_smallest_number_beside_the_largest(dtype):
    """Its slope at rho = 1 is as large as any other's."""
    info = np.finfo(dtype)
    p, q = np.array([info.smallest_subnormal, info.max, 0], dtype), np.array([0, 0, info.max], dtype)
    for space in (emdref.Chain(3), emdref.Chain(3).to_tree()):
        assert emdref.emd_grad(p, q, space, gauge="raw", mass="ignore").tolist() == [2, 1, 0]


# --- what is refused --------------------------------------------------------------------------------------------------


def refusal(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except ValueError as error:
        return str(error)
    return None


def carefully(p, q, bins):
    """What the slow checks say, before any kernel."""
    validation.check_masses(validation.batch(p, q, bins), batches.WAY_OUT)


def assert_same_refusal(p, q, spaces, *, refused=None):
    expected = refusal(carefully, p, q, spaces[0].n_bins)
    assert refused is None or (expected is not None) == refused
    for space, accuracy in itertools.product(spaces, ("compensated", "native")):
        assert refusal(emdref.emd, p, q, space, accuracy=accuracy) == expected
    return expected


def two_spaces(n):
    return emdref.Chain(n), emdref.Tree(np.append(-1, np.zeros(n, int)))


@each_dtype
@pytest.mark.parametrize("rows", [3, 11, 19])
def test_a_bad_row_is_found_wherever_it_is(rows, dtype):
    """In the first tile, in those after it, in what is left of one."""
    good = np.ones((rows, 3), dtype)
    for k, bad in itertools.product(range(rows), (np.nan, 2.0)):
        x = good.copy()
        x[k, 1] = bad
        for pair in ((x, good), (good, x)):
            assert re.search(rf"\b{k}\b", assert_same_refusal(*pair, two_spaces(3), refused=True))


@each_dtype
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1.0, -1e-45, -0.0])
def test_a_bad_entry_is_found_wherever_it_is(bad, dtype):
    """In blocks of columns, at their borders, in what is left of one; in p as in q."""
    for n in (1, 5, 33, 2100):
        spaces = two_spaces(n)
        for k in {0, n // 2, n - 1, *(x for x in (15, 16, 31, 32, 1023, 1024, 1055, 2047, 2048, 2079) if x < n)}:
            x = np.ones((3, n), dtype)
            x[1, k] = bad
            x[0, k] = x[1, k] if bad == 0 and n > 1 else 1
            y = np.where(x == 0, dtype(0), dtype(1)) if bad == 0 else np.ones((3, n), dtype)
            refused = n == 1 if bad == 0 else True
            for pair in ((x, y), (y, x)):
                assert_same_refusal(*pair, spaces, refused=refused)


@each_dtype
def test_empty_rows_and_rows_by_name(dtype):
    """Named by the user's own leading axes, though they were broadcast."""
    p, q = np.ones((2, 1, 40), dtype), np.ones((3, 40), dtype)
    q[2] = 0
    assert assert_same_refusal(p, q, two_spaces(40)).startswith("q[2, :] is all zeros")
    p, q = np.ones((2, 1, 40), dtype), np.ones((3, 40), dtype)
    p[1, 0, 39] = np.nan
    assert assert_same_refusal(p, q, two_spaces(40)).startswith("p[1, 0, 39] = nan")
    q[1, 7] = 3
    message = assert_same_refusal(np.ones((2, 1, 40), dtype), q, two_spaces(40))
    assert message.startswith("row (0, 1): p has total 40 and q 42")


@each_dtype
@pytest.mark.parametrize("n", [1, 2, 3, 15, 16, 17, 31, 64, 1000, 1024, 1025, 5000, 100_000])
def test_totals_that_hardly_differ(n, dtype):
    """Rows that pass are those that the slow checks accept, whatever their tails' sums in the dtype would round to."""
    rng, spaces, eps = np.random.default_rng(n), two_spaces(n), float(np.finfo(dtype).eps)
    tolerance, refused = validation.mass_tolerance(dtype, n), 0
    for tail, apart in itertools.product((0.0, 0.49 * eps, 0.26 * eps, 1.0), (0.4, 0.6, 0.97, 0.999, 1.001, 1.03, 1.2)):
        p = np.full(n, tail, dtype)
        p[rng.integers(n)] = 1
        q = rng.permutation(p)
        k = int(np.argmax(q))
        q[k] += dtype(apart * tolerance * p.sum(dtype=float))
        for pair in ((p, q), (q, p)):
            refused += assert_same_refusal(*pair, spaces[: 2 if n < 50_000 else 1]) is not None
    assert refused > 4


@each_dtype
def test_a_million_bins_whose_tails_vanish_in_sums_of_the_dtype(dtype):
    n, eps = 10**6, float(np.finfo(dtype).eps)
    p, q = np.full(n, 0.49 * eps, dtype), np.zeros(n, dtype)
    p[0] = 1
    q[0] = p.sum(dtype=float)
    assert_same_refusal(p, q, [emdref.Chain(n)], refused=False)
    q[0] *= dtype(1 + 2 * validation.mass_tolerance(dtype, n))
    assert_same_refusal(p, q, [emdref.Chain(n)], refused=True)


# --- lanes ------------------------------------------------------------------------------------------------------------


@jit.loop
def _all(x, y, z, out):
    a, b, c = lanes.load_row(x, 0), lanes.load_row(y, 0), lanes.load_row(z, 0)
    lanes.store(out, 0, lanes.sgn(a))
    lanes.store(out, 1, lanes.lesser(a, b))
    lanes.store(out, 2, lanes.greater(a, b))
    lanes.store(out, 3, lanes.if_positive(a, b))
    lanes.store(out, 4, a * y[0] - (c + abs(a)) / b)


@jit.loop
def _error(x, y, z, out):
    a, b = lanes.load_row(x, 0), lanes.load_row(y, 0)
    lanes.store(out, 0, lanes.product_error(a, b, a * b))


MEANING = plain.original().kernels.arithmetic.lanes


@each_dtype
@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_compiled_lanes_do_what_plain_ones_mean(dtype):
    rng, n = np.random.default_rng(0), 64 // np.dtype(dtype).itemsize
    odd = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 1e-45, 3], dtype)
    for _ in range(200):
        mixed = np.where(rng.random((3, n)) < 0.4, rng.choice(odd, (3, n)), rng.standard_normal((3, n)))
        x, y, z = mixed.astype(dtype)
        out = np.zeros(5 * n, dtype)
        _all(x, y, z, out)
        expected = [MEANING.sgn(x), MEANING.lesser(x, y), MEANING.greater(x, y), MEANING.if_positive(x, y)]
        expected += [x * y[0] - (z + abs(x)) / y]
        np.testing.assert_array_equal(out.reshape(5, n), np.array(expected, dtype))
        assert (np.signbit(out[:n]) == np.signbit(expected[0]))[~np.isnan(x)].all()


@jit.loop
def _folded(x, out):
    out[0], out[1] = lanes.total(lanes.load_row(x, 0)), lanes.least(lanes.load_row(x, 0))


@each_dtype
def test_compiled_folds_do_what_plain_ones_mean(dtype):
    rng, out = np.random.default_rng(0), np.zeros(2, dtype)
    for _ in range(100):
        x = rng.lognormal(0, 5, 64 // np.dtype(dtype).itemsize).astype(dtype)
        _folded(x, out)
        assert out.tolist() == [MEANING.total(x), MEANING.least(x)]


def test_compiled_product_errors_are_exact():
    rng, out = np.random.default_rng(0), np.zeros(8)
    for _ in range(100):
        x, y = rng.lognormal(0, 30, (2, 8)) * rng.choice([-1, 1], 8)
        _error(x, y, x, out)
        assert out.tolist() == MEANING.product_error(x, y, x * y).tolist()


@jit.loop
def _apart(x, d, out):
    lanes.store(out, 0, lanes.rounds_apart(lanes.load_row(x, 0), lanes.load_row(d, 0)))


def test_compiled_roundings_are_those_of_plain_ones():
    """Near the middle of two float32, at the ends of the range, where there is no number."""
    rng, out = np.random.default_rng(0), np.zeros(8)
    for _ in range(100):
        x = rng.lognormal(0, 20, 8).astype(np.float32).astype(float) * (1 + 2.0**-24) * rng.choice([1, -1, 0], 8)
        x[:3] = rng.choice([np.inf, np.nan, 3.5e38, 1e-45, 2.0**-150, 3.4028235677973366e38], 3)
        d = np.nan_to_num(np.abs(x), posinf=1) * rng.choice([0, 2.0**-53, 2.0**-50], 8)
        _apart(x, d, out)
        np.testing.assert_array_equal(out, MEANING.rounds_apart(x, d))
        assert (out[3:][d[3:] == 0] == 0).all()


@jit.loop
def _columns_of(x, at, step, rows, columns, out):
    lanes.columns_of(x, at, step, rows, columns, out)


@jit.loop
def _into_columns(block, out, at, step, rows, columns, skipped):
    lanes.into_columns(block, out, at, step, rows, columns, skipped)


@jit.loop
def _difference(x, at, step, y, start, pace, rows, columns, out):
    lanes.difference(x, at, step, y, start, pace, rows, columns, out)


@pytest.mark.parametrize(("source", "target"), [("f4", "f4"), ("f8", "f8"), ("f4", "f8")])
def test_compiled_turns_do_what_plain_ones_mean(source, target):
    n, rng = 64 // np.dtype(target).itemsize, np.random.default_rng(0)
    x, y = rng.random((2, n * 40)).astype(source)
    for rows, columns in itertools.product((1, 2, 3, n // 2 + 1, n - 1, n), repeat=2):
        at, step = int(rng.integers(9)), int(rng.integers(columns, 30))
        found, meant = (np.full(n * n, -7, target) for _ in range(2))
        _columns_of(x, at, step, rows, columns, found)
        MEANING.columns_of(x, at, step, rows, columns, meant)
        assert (found == meant).all()
        there, back = np.full(len(x), -7, source), np.full(len(x), -7, source)
        _into_columns(found, there, at, step, rows, columns, 3)
        MEANING.into_columns(meant, back, at, step, rows, columns, 3)
        assert (there == back).all() and (there != -7).sum() == rows * columns
        _difference(x, at, step, y, at + 1, 0, rows, columns, found)
        MEANING.difference(x, at, step, y, at + 1, 0, rows, columns, meant)
        assert (found == meant).all()


# --- memory layouts, batches, threads ---------------------------------------------------------------------------------


def misaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    view = raw[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def windows(x):
    """Rows that overlap in memory."""
    return np.lib.stride_tricks.sliding_window_view(np.ravel(x), x.shape[-1])[: len(x)]


LAYOUTS = {
    "fortran": np.asfortranarray,
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "later columns": lambda x: np.pad(x, ((0, 0), (3, 0)))[:, 3:],
    "every second column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "rows reversed": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "columns reversed": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "misaligned": misaligned,
    "one row for all": lambda x: np.broadcast_to(x[0], x.shape),
    "windows": windows,
    "read-only": casts.frozen,
}


@each_accuracy
@each_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_change_nothing(layout, dtype, accuracy):
    rng = np.random.default_rng(0)
    for rows, n in ((1, 1), (3, 1), (1, 40), (19, 40)):
        p, q = rng.random((2, rows, n)).astype(dtype)
        for space in two_spaces(n):
            a, b = LAYOUTS[layout](p), LAYOUTS[layout](q)
            expected = both(np.ascontiguousarray(a), np.ascontiguousarray(b), space, accuracy=accuracy)
            assert expected[0].dtype.isnative
            assert same(both(a, b, space, accuracy=accuracy), expected)
            assert same(both(a, b.copy(), space, accuracy=accuracy), expected)
            assert same(both(a.copy(), b, space, accuracy=accuracy), expected)


@each_accuracy
@each_dtype
def test_leading_axes_are_broadcast(dtype, accuracy):
    rng = np.random.default_rng(0)
    p, q = rng.random((4, 1, 3, 30)).astype(dtype), rng.random((5, 1, 30)).astype(dtype)
    for space in two_spaces(30):
        a, b = (np.broadcast_to(x, (4, 5, 3, 30)).copy() for x in (p, q))
        assert same(both(p, q, space, accuracy=accuracy), both(a, b, space, accuracy=accuracy))
        for lead in ((0,), (3, 0), (0, 2)):
            value, grad = both(np.ones((*lead, 30), dtype), q[0, 0], space, accuracy=accuracy)
            assert value.shape == lead and grad.shape == (*lead, 30) and value.dtype == grad.dtype == dtype


@each_accuracy
@each_dtype
@pytest.mark.parametrize(("mass", "gauge"), [("ignore", "scaled"), ("normalize", "normalized")])
def test_neither_batch_nor_place_nor_threads_count(mass, gauge, dtype, accuracy, monkeypatch):
    monkeypatch.setattr(threads, "_SERIAL_WORK", 1)
    rng = np.random.default_rng(0)
    p, q = rng.random((2, 37, 50)).astype(dtype)
    options = {"accuracy": accuracy, "mass": mass, "gauge": gauge}
    for space, rho in itertools.product(two_spaces(50), (1, 2, 2.5)):
        singly = [both(*pq, space, rho, **options) for pq in zip(p, q, strict=True)]
        alone = [np.stack(x) for x in zip(*singly, strict=True)]
        for count in (1, 2, 3):
            with threads.at_most(count):
                assert same(both(p, q, space, rho, **options), alone)
            monkeypatch.setenv("EMDREF_NUM_THREADS", str(count))
            assert same(both(p, q, space, rho, **options), alone)
        for part in (slice(3, 21), slice(None, None, -1)):
            assert same(both(p[part], q[part], space, rho, **options), [x[part] for x in alone])


@pytest.mark.parametrize("rho", [1, 2, 3, 4])
def test_a_row_beside_one_that_needs_two_limbs(rho):
    """What one limb gives are the bits of two."""
    p, q = np.random.default_rng(rho).random((2, 32, 200)).astype(np.float32)
    wide = p.copy()
    wide[::8, 0] = 1e-30
    for space in (*two_spaces(200), emdref.Chain(gaps=np.linspace(0, 1, 199)).to_tree()):
        one, two = both(p, q, space, rho), both(wide, q, space, rho)
        other = np.arange(32) % 8 > 0
        assert same([x[other] for x in one], [x[other] for x in two])


# --- out= -------------------------------------------------------------------------------------------------------------


@each_accuracy
@each_dtype
def test_results_go_where_they_are_asked_to(dtype, accuracy):
    rng = np.random.default_rng(0)
    p, q = rng.random((2, 3, 7, 20)).astype(dtype)
    for space in two_spaces(20):
        value, grad = both(p, q, space, accuracy=accuracy)
        named = {"mass": "ignore", "accuracy": accuracy}
        for make in (np.empty, lambda shape, dtype: np.empty(shape[::-1], dtype).T):
            a, b = make((3, 7), dtype), make((3, 7, 20), dtype)
            assert emdref.emd(p, q, space, 2, out=a, **named) is a and (a == value).all()
            assert emdref.emd_grad(p, q, space, 2, out=b, **named) is b and (b == grad).all()
            a, b = make((3, 7), dtype), make((3, 7, 20), dtype)
            both_out = both(p, q, space, accuracy=accuracy, out=(a, b))
            assert both_out[0] is a and both_out[1] is b and (a == value).all() and (b == grad).all()
            b[...] = 0
            number, line = both(p, q, space, accuracy=accuracy, out=(None, b))
            assert line is b and (b == grad).all() and (number == value).all()
        for gauge in cases.GAUGES:
            wide = np.full((3, 7, 41), np.nan, dtype)
            got = emdref.emd_grad(p, q, space, 2, gauge=gauge, out=wide[..., 1::2], **named)
            assert same([np.array(got)], [emdref.emd_grad(p, q, space, 2, gauge=gauge, **named)])
            assert np.isnan(wide[..., ::2]).all()


@each_dtype
def test_one_pair_fills_an_array_without_axes(dtype):
    p, q, space = np.array([1, 0], dtype), np.array([0.5, 0.5], dtype), emdref.Chain(2)
    out, line = np.empty((), dtype), np.empty(2, dtype)
    assert emdref.emd(p, q, space, out=out) is out and out == 0.5
    value, grad = emdref.emd_value_and_grad(p, q, space, 2, out=(out, line))
    assert value is out and grad is line and out == 0.25 and line.tolist() == [0.5, -0.5]


@each_accuracy
@each_dtype
def test_results_may_replace_what_was_given(dtype, accuracy):
    """Also where the input lies backwards or turned, and is looked at twice since its totals differ by rounding."""
    rng, n = np.random.default_rng(0), 24
    x, y = (cases.softmax(rng, (n, n), dtype) for _ in range(2))
    y *= dtype(1 + 0.7 * validation.mass_tolerance(dtype, n))
    for space in two_spaces(n):
        for turned in (lambda x: x, lambda x: x[::-1], lambda x: x[::2].repeat(2, 0)[::-1], np.transpose):
            memory = x.copy() if turned is not np.transpose else x.T.copy()
            p = turned(memory)
            expected = emdref.emd_grad(p.copy(), y, space, 2, accuracy=accuracy)
            out = memory if np.shares_memory(p, memory) else p
            assert emdref.emd_grad(p, y, space, 2, accuracy=accuracy, out=out) is out
            assert same([out], [expected])
        p, q = x.copy(), y.copy()
        expected = emdref.emd_value_and_grad(x, y, space, 2, accuracy=accuracy)
        value, grad = emdref.emd_value_and_grad(p, q, space, 2, accuracy=accuracy, out=(p[:, 0], q))
        assert same([value.copy(), grad], expected)
        table = np.empty((n, n + 1), dtype)  # value and gradient side by side
        emdref.emd_value_and_grad(x, y, space, 2, accuracy=accuracy, out=(table[:, 0], table[:, 1:]))
        assert same([table[:, 0].copy(), table[:, 1:].copy()], expected)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("kind", [np.matrix, np.ma.MaskedArray, np.recarray, np.memmap])
def test_other_kinds_of_arrays_are_filled_too(kind, tmp_path):
    """A matrix stays two-dimensional whatever its shape is said to be, and the kernels want rows end to end."""
    p, q, space = np.array([[1.0, 0], [0, 1], [1, 1]]), np.array([[0.0, 1], [0, 1], [2, 0]]), emdref.Chain(2)
    out = np.memmap(tmp_path / "out", float, "w+", shape=(3, 2)) if kind is np.memmap else np.zeros((3, 2)).view(kind)
    assert emdref.emd_grad(p, q, space, out=out) is out
    assert np.asarray(out).tolist() == [[0.5, -0.5], [0, 0], [-0.5, 0.5]]


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.empty(3, np.float32), TypeError, "NAME has dtype float32, the result float64"),
        (np.empty(3, ">f8"), TypeError, "NAME has dtype >f8, the result float64"),
        (np.empty(3, int), TypeError, "NAME has dtype int64, the result float64"),
        (np.empty(4), ValueError, r"NAME has shape \(4,\), the result \(3,\)"),
        (np.empty((3, 1)), ValueError, r"NAME has shape \(3, 1\), the result \(3,\)"),
        (np.empty(()), ValueError, r"NAME has shape \(\), the result \(3,\)"),
        (casts.frozen(np.empty(3)), ValueError, "NAME is read-only"),
        ([0.0, 0.0, 0.0], TypeError, "NAME must be a NumPy array, not list"),
    ],
)
def test_an_array_that_does_not_fit_is_named(out, error, message):
    p, q, space = np.ones((3, 2)), np.ones((3, 2)), emdref.Chain(2)
    with pytest.raises(error, match=message.replace("NAME", "out")):
        emdref.emd(p, q, space, out=out)
    with pytest.raises(error, match=re.sub("NAME", r"out\\[0\\]", message)):
        emdref.emd_value_and_grad(p, q, space, out=(out, None))
    line = np.empty((3, 2))
    with pytest.raises(ValueError, match=r"out\[1\] has shape \(3, 2, 1\), the result \(3, 2\)"):
        emdref.emd_value_and_grad(p, q, space, out=(None, line[..., None]))
    with pytest.raises(ValueError, match=r"out\[0\] and out\[1\] share memory"):
        emdref.emd_value_and_grad(p, q, space, out=(line[:, 1], line))
    for bad in ([None, line], (line,), line):
        with pytest.raises(TypeError, match=r"out must be a pair \(value, gradient\)"):
            emdref.emd_value_and_grad(p, q, space, out=bad)


@pytest.mark.parametrize("mass", ["ignore", "normalize"])
@each_accuracy
@each_dtype
def test_what_is_beyond_the_range_is_said_once(dtype, accuracy, mass):
    """By emdref, at the caller, and not by NumPy."""
    tiny = np.finfo(dtype).smallest_subnormal
    p, q = np.array([tiny, 0], dtype), np.array([0, tiny], dtype)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        emdref.emd_grad(p, q, emdref.Chain(2), 2, gauge="normalized", mass=mass, accuracy=accuracy)
        emdref.emd(p / tiny, q / tiny, emdref.Chain(gaps=[1e300]), 2, mass=mass, accuracy=accuracy)
    assert [w.filename for w in caught] == [__file__] * (2 if dtype == np.float32 else 1)
    assert all("beyond the range" in str(w.message) for w in caught)


@each_accuracy
@each_dtype
def test_a_gradient_beyond_the_range_is_noticed(dtype, accuracy):
    """Though the value is not, and the row is not the first of its tile."""
    p, q = np.array([[0, 1], [0.9, 0.1]], dtype), np.array([[0, 1], [0, 1]], dtype)
    chain = emdref.Chain(gaps=[0.95 * float(np.finfo(dtype).max)])
    for space in (chain, chain.to_tree()):
        with pytest.warns(RuntimeWarning, match="1 entries of the gradient are beyond the range .* the first in row 1"):
            value, grad = both(p, q, space, gauge="raw", accuracy=accuracy)
        assert np.isfinite(value).all() and grad.tolist() == [[0, 0], [np.inf, 0]]


# --- memory -----------------------------------------------------------------------------------------------------------


@each_accuracy
@each_dtype
def test_a_long_chain_needs_no_memory_of_its_length(dtype, accuracy):
    """Neither the space nor a value does; a gradient needs itself alone."""
    small, n = emdref.Chain(10), 2 * 10**6
    ones = np.ones(10, dtype)
    emdref.emd_value_and_grad(ones, ones, small, 2, accuracy=accuracy)
    p, q = np.ones(n, dtype), np.ones(n, dtype)
    q[0], q[-1], grad = 0, 2, np.empty(n, dtype)
    tracemalloc.start()
    try:
        space = emdref.Chain(n)
        value = emdref.emd(p, q, space, 2, accuracy=accuracy)
        emdref.emd_grad(p, q, space, 2, accuracy=accuracy, out=grad)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < n / 4
    assert value == n - 1
    off = grad - (np.arange(n - 1.0, -n, -2.0))  # less their mean, which plain additions give within n eps mean|r|
    eps, size = float(np.finfo(dtype).eps), n - 1.0
    assert np.ptp(off) <= 2 * eps * size
    assert abs(off).max() <= eps * size * (1 if accuracy == "compensated" else n)


def test_the_first_look_takes_so_many_columns_that_a_tile_of_them_stays_in_cache():
    assert inspection.COLUMNS % 32 == 0
