"""All pairs of rows: the same floats as emd's, pair by pair, whatever the blocks, the threads and the data."""

import importlib
import re
import warnings

import llvmlite.binding
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import float64
from tile_code import compiled, needs_jit

import cases
import emdref
from analysis.timing.own_process import growth_bytes
from emdref import exact
from emdref.kernels.compile import threads
from emdref.kernels.trees import all_pairs

RHOS = [1, 2, 3, 4, 2.5]
SPACES = {
    **{name: (lambda name=name: cases.space(name)) for name in cases.SPACES},
    "wordnet": emdref.wordnet_tree,
    "two chunks": lambda: cases.large("random", 300),  # more nodes than a chunk has
    "long path": lambda: cases.large("path", 700),
    "free edges": lambda: emdref.Chain(gaps=[0, 1, 0, 0, 2, 0]),
}


def softmax_rows(space, n, dtype=np.float64, seed=0, sigma=2.0):
    return cases.softmax(np.random.default_rng([seed, n]), (n, space.n_bins), dtype, sigma)


def one_by_one(X, Y, space, rho, **options):
    return emdref.emd(X[:, None], Y[None], space, rho, **options)


def assert_same(got, expected):
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def assert_mirrored(got, X, space, rho, **options):
    """Above the diagonal emd's own floats, below it the same, on it zeros."""
    i, j = np.triu_indices(len(X), 1)
    assert_same(got[i, j], emdref.emd(X[i], X[j], space, rho, **options))
    assert_same(got, got.T.copy())
    assert not got.diagonal().any()


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("name", SPACES)
def test_every_entry_is_emds(name, rho, dtype):
    space = SPACES[name]()
    X, Y = softmax_rows(space, 9, dtype), softmax_rows(space, 5, dtype, sigma=5.0)
    X[4] = X[2]  # the same histogram twice
    Y[1] = X[0]
    assert_same(emdref.pairwise(X, space, Y=Y, rho=rho), one_by_one(X, Y, space, rho))
    assert_mirrored(emdref.pairwise(X, space, rho=rho), X, space, rho)


@pytest.mark.parametrize("mass", ["normalize", "ignore"])
@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("name", ["chain", "inner_bins", "two chunks"])
def test_totals_that_differ(name, rho, mass):
    space = SPACES[name]()
    X = softmax_rows(space, 8) * np.logspace(-3, 3, 8)[:, None]
    X[5] = 2 * X[4]
    assert_same(emdref.pairwise(X, space, Y=X[:3], rho=rho, mass=mass), one_by_one(X, X[:3], space, rho, mass=mass))
    assert_mirrored(emdref.pairwise(X, space, rho=rho, mass=mass), X, space, rho, mass=mass)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("rho", [1, 2, 3, 4])
@pytest.mark.parametrize("families", [list(cases.FAMILIES), list(cases.HOSTILE)], ids=["families", "hostile"])
def test_hostile_rows(families, rho, dtype):
    """Near and far from each other, integers, subnormals: every pair is emd's, and within an ulp of the rational."""
    space = cases.large("random", 60, 2.0**-60 if "near_overflow" in families else 1.0)
    X = np.concatenate([cases.histograms(f, space.n_bins, dtype, s) for f in families for s in (0, 1)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # powers of near_overflow leave the range
        D = emdref.pairwise(X, space, rho=rho, mass="ignore")
        assert_mirrored(D, X, space, rho, mass="ignore")
    for i, j in [(0, 1), (2, 3), (4, 17), (8, 9), (20, 30)]:
        if np.isfinite(D[i, j]):
            cases.assert_within_ulps(D[i, j], [exact.emd(X[i], X[j], space, rho)])


def test_roundings_that_two_limbs_leave_open_are_settled_exactly():
    """Values at, and 2**-120 beside, the midpoint of two floats."""
    space, tiny, half = emdref.Chain(5), 2.0**-120, 2.0**-53
    p = np.array([1.0, half, 0, 0, 0])
    X = np.array([p, p + np.array([0, 0, tiny, 0, 0]), [1, 0, 0, half, tiny], [0, 0, 0, 0, 1]])
    D = emdref.pairwise(X, space, mass="ignore")
    assert_mirrored(D, X, space, 1, mass="ignore")
    for i, j in np.ndindex(4, 4):
        assert D[i, j] == float(exact.emd(X[i], X[j], space))


@pytest.mark.parametrize("rho", [1, 2, 3, 4])
@pytest.mark.parametrize("small", [2.0**-30, 2.0**-46, 2.0**-49])
def test_small_flows_beside_large_ones_count_with_their_sign(small, rho):
    """Below a slice, at its edge, in the next: up and down in turn, next to a flow of 1/16."""
    p = np.full(12, 1 / 8)
    q = p + small * np.array([1, -2, 2, -2, 3, -4, 2, 0, 0, 0, 0, 0])
    X = np.array([p, q, q, p])
    X[2:, 10:] += [1 / 16, -1 / 16]
    for space in (emdref.Chain(12), emdref.Chain(gaps=np.linspace(1, 2, 11))):
        D = emdref.pairwise(X, space, rho=rho)
        assert_mirrored(D, X, space, rho)
        assert D[0, 2] == float(exact.emd(X[0], X[2], space, rho))


def test_ordinary_rows_need_no_second_look():
    """Not one of 2,016 pairs in 64 goes through emd by itself, for each exponent that has a loop of its own."""
    space = emdref.wordnet_tree()
    X = softmax_rows(space, 64)
    for rho in (1, 2, 3, 4):
        with emdref.fallback.counting() as count:
            emdref.pairwise(X, space, rho=rho)
        assert count.rows <= 2016 // 64


@given(where=st.one_of(cases.trees(), cases.chains()), data=st.data(), rho=st.sampled_from([1, 2, 3, 4]))
def test_any_small_space(where, data, rho):
    X = np.array(data.draw(st.lists(cases.masses(where.n_bins), min_size=1, max_size=5)))
    D = emdref.pairwise(X, where, rho=rho, mass="ignore")
    for i, j in np.ndindex(D.shape):
        cases.assert_within_ulps(D[i, j], [exact.emd(X[i], X[j], where, rho)])
    assert_mirrored(D, X, where, rho, mass="ignore")


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("rho", RHOS)
def test_native_is_float64_arithmetic(rho, dtype):
    """Errors of a few eps of the masses (N = 1000, 8 levels: 64 eps for all of them), rounded to the dtype."""
    space = emdref.wordnet_tree()
    X = softmax_rows(space, 6, dtype)
    for mass in ("raise", "normalize"):
        native = emdref.pairwise(X, space, Y=X[:4], rho=rho, mass=mass, accuracy="native")
        right = emdref.pairwise(X, space, Y=X[:4], rho=rho, mass=mass)
        unit = emdref.emd(X, np.eye(1000, dtype=dtype)[:1], space, rho)[:, None]  # the size of the masses' own sums
        assert native.dtype == dtype
        assert (abs(native - right) <= np.finfo(dtype).eps * right + 64 * np.finfo(float).eps * unit).all()


@pytest.mark.parametrize("accuracy", ["compensated", "native"])
@pytest.mark.parametrize("rho", [1, 2, 4])
def test_blocks_and_threads_change_nothing(rho, accuracy, monkeypatch):
    space = cases.large("random", 200)
    X = softmax_rows(space, 40)
    expected = emdref.pairwise(X, space, rho=rho, accuracy=accuracy)
    monkeypatch.setattr(threads, "_SERIAL_WORK", 1)
    for side in (1, 7, 39):
        monkeypatch.setattr(importlib.import_module("emdref.functions.pairwise"), "_side", lambda *_, side=side: side)
        for count in (1, 5):
            with threads.at_most(count):
                assert_same(emdref.pairwise(X, space, rho=rho, accuracy=accuracy), expected)


def test_no_rows_and_one_bin():
    chain = emdref.Chain(3)
    none, three = np.empty((0, 3)), np.full((3, 3), 1 / 3)
    assert emdref.pairwise(none, chain).shape == (0, 0)
    assert emdref.pairwise(none, chain, Y=three).shape == (0, 3)
    assert emdref.pairwise(three, chain, Y=none, accuracy="native").shape == (3, 0)
    assert_same(emdref.pairwise(np.ones((2, 1)), emdref.Chain(1)), np.zeros((2, 2)))
    assert_same(emdref.pairwise([[1, 2, 3]], chain), np.zeros((1, 1)))


def test_what_is_beyond_the_range_is_inf_and_said_once():
    X = np.array([[1e30, 0], [0, 1e30], [5e29, 5e29]], np.float32)
    with pytest.warns(RuntimeWarning, match=r"beyond the range of float32, the first inf at \[0, 1\]") as said:
        D = emdref.pairwise(X, emdref.Chain(2), rho=2)
    assert len(said) == 1 and said[0].filename == __file__
    assert np.isinf(D[0, 1]) and D[0, 0] == 0


def test_progress_counts_pairs(capsys):
    X = softmax_rows(emdref.Chain(5), 30)
    silent = emdref.pairwise(X, emdref.Chain(5))
    assert capsys.readouterr().err == ""
    for rho in (1, 1.5):
        loud = emdref.pairwise(X, emdref.Chain(5), rho=rho, progress=True)
        assert "435/435" in capsys.readouterr().err
        assert rho != 1 or np.array_equal(loud, silent)


@pytest.mark.parametrize(
    ("X", "options", "error", "message"),
    [
        ([0.5, 0.5, 0], {}, ValueError, r"X has shape \(3,\), it must be \(rows, 3\)"),
        ([[0.5, 0.5]], {}, ValueError, r"X has shape \(1, 2\), it must be \(rows, 3\)"),
        ([[1.0, 0, 0]], {"Y": [[1.0, 0]]}, ValueError, r"Y has shape \(1, 2\), it must be"),
        ([[1.0, 0, 0], [1, -2, 0]], {}, ValueError, r"X\[1, 1\] = -2.0: a histogram holds no negative mass"),
        ([[1.0, 0, 0]], {"Y": [[1, np.nan, 0]]}, ValueError, r"Y\[0, 1\] = nan: a histogram holds finite mass"),
        ([[1.0, 0, 0], [0, 0, 0]], {}, ValueError, r"X\[1, :\] is all zeros"),
        (
            [[1.0, 0, 0], [0, 1, 0], [2, 0, 0]],
            {},
            ValueError,
            r"X\[2\] has total 2 and X\[0\] 1, \+1 apart .*normalize",
        ),
        ([[1.0, 0, 0]], {"Y": [[1.0, 0, 0], [0, 0, 3]]}, ValueError, r"X\[0\] has total 1 and Y\[1\] 3, -2 apart"),
        ([[1e308] * 3, [1.0, 0, 0]], {}, ValueError, r"these are 2\*\*-64 of totals, which overflow"),
        (np.ones((1, 3), np.float32), {"Y": np.ones((1, 3))}, TypeError, "X is float32 and Y is float64"),
        (np.ones((1, 3), np.float16), {}, TypeError, "X has dtype float16"),
        ([[1.0, 0, 0]], {"rho": 0.5}, ValueError, "rho = 0.5 must be finite and >= 1"),
        ([[1.0, 0, 0]], {"mass": "equal"}, ValueError, "mass='equal' is not one of"),
        ([[1.0, 0, 0]], {"accuracy": "fast"}, ValueError, "accuracy='fast' is not one of"),
        ([[1.0, 0, 0]], {"progress": 1}, TypeError, "progress must be True or False"),
        ([[1e308] * 3], {"mass": "normalize", "accuracy": "native"}, ValueError, r"total of X\[0\] is beyond float64"),
    ],
)
def test_refuses(X, options, error, message):
    with pytest.raises(error, match=message):
        emdref.pairwise(X, emdref.Chain(3), **options)


def test_refuses_what_is_no_space():
    with pytest.raises(TypeError, match="space must be a Space, such as a Chain or a Tree, not list"):
        emdref.pairwise([[1.0]], [1, 2])


def test_memory_is_that_of_blocks():
    """Sums at all nodes of all rows would take 128 MB; the checks' masks take 12, blocks and the space 8 or so."""
    space = cases.large("random", 20_000)
    X = softmax_rows(space, 200)[:, : space.n_bins]
    emdref.pairwise(X[:2], space)
    with threads.at_most(1):
        grown = growth_bytes(lambda: emdref.pairwise(X, space))
    assert grown is None or grown < 40e6


ARRAY = float64[::1]
needs_llvm_15 = pytest.mark.skipif(
    llvmlite.binding.llvm_version_info < (15,),
    reason="Numba before 0.61 does not vectorise these loops",
)


@needs_jit
@pytest.mark.parametrize(  # compiled once more for this: quickly the longer one of two that are alike
    ("loop", "signature"),
    [
        pytest.param(
            all_pairs._cut_1, (*[ARRAY] * 4, *[float64] * 3, *[ARRAY] * 3), marks=[needs_llvm_15, pytest.mark.slow]
        ),
        pytest.param(all_pairs._cut_2, (*[ARRAY] * 4, *[float64] * 3, *[ARRAY] * 4), marks=needs_llvm_15),
        (all_pairs._add_sums, (ARRAY,) * 4),
        (all_pairs._meet_plain, (float64, ARRAY, float64, float64, ARRAY)),
        pytest.param(all_pairs._meet_1, (*[float64] * 2, *[ARRAY] * 4), marks=pytest.mark.slow),
        pytest.param(all_pairs._meet_2, (*[float64] * 3, *[ARRAY] * 6), marks=needs_llvm_15),
        pytest.param(
            all_pairs._meet_3, (*[float64] * 2, *[ARRAY] * 2, *[float64] * 2, *[ARRAY] * 2), marks=pytest.mark.slow
        ),
        (all_pairs._meet_4, (*[float64] * 2, *[ARRAY] * 2, *[float64] * 2, *[ARRAY] * 2)),
        (all_pairs._fold_2, (ARRAY,) * 5),
    ],
)
def test_loops_over_columns_are_vectorised(loop, signature):
    code = compiled(loop, signature)[0]
    assert re.search(r"f(add|sub) <\d+ x double>", code)
    assert not re.search(r"\bfast\b|contract|reassoc", code)


@needs_jit
def test_the_same_search_finds_no_vectors_in_a_recurrence():
    def running(x):
        for k in range(1, len(x)):
            x[k] += x[k - 1]

    assert not re.search(r"f(add|sub) <\d+ x double>", compiled(running, (ARRAY,))[0])
