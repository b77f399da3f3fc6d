"""Arrays of other libraries in and out: a small one that speaks DLPack; torch and JAX are in tests/losses."""

import array_api_compat
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import array_kinds
import emdref
from array_kinds import Array, Words
from emdref.arguments import libraries

CHAIN = emdref.Chain(gaps=[0.5, 1.0, 2.0, 0.3])
P, Q = array_kinds.batch(np.float64)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@each_dtype
def test_every_function_gives_the_same_kind_back_and_numpys_bits(dtype):
    array_kinds.assert_same_everywhere(Array, Array, dtype, CHAIN)


@each_dtype
def test_what_nobody_makes_comes_back_as_numpys(dtype):
    p, q = array_kinds.batch(dtype)
    found = emdref.emd_grad(Words(p), Words(q), CHAIN)
    assert type(found) is np.ndarray
    assert np.array_equal(found, emdref.emd_grad(p, q, CHAIN))
    assert emdref.exact.emd(Words(p[0]), q[0], CHAIN) == emdref.exact.emd(p[0], q[0], CHAIN)


def test_a_barycentre_s_exact_twin_its_certificate_and_weights_take_what_speaks_dlpack():
    histograms, weights = Words(P), [1.0, 2.0, 4.0]
    expected = emdref.exact.barycenter(P, CHAIN, weights=weights)
    assert emdref.exact.barycenter(histograms, CHAIN, weights=Words(np.array(weights))) == expected
    assert emdref.certify_barycenter(expected, histograms, CHAIN, weights=Words(np.array(weights))).verify()
    np.testing.assert_array_equal(
        emdref.barycenter(P, CHAIN, weights=Words(np.array(weights))), emdref.barycenter(P, CHAIN, weights=weights)
    )


def test_the_way_back_is_the_library_of_the_type_if_the_array_does_not_say(monkeypatch):
    home = type("Own", (Words,), {"__module__": "library.inside"})
    monkeypatch.setitem(libraries.sys.modules, "library", array_kinds.library)
    assert type(emdref.emd(home(P), home(Q), CHAIN)) is Array


def test_memory_is_looked_at_and_not_copied():
    assert np.shares_memory(libraries.as_numpy(Array(P), "p"), P)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x[::-1],
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, 1)[:, ::2],
        lambda x: x[:0],
        lambda x: np.broadcast_to(x[0], x.shape).copy()[:1],
        lambda x: (x * 64).astype(np.int16),
        lambda x: (x * 64).astype(np.uint8),
    ],
)
def test_layouts_and_integers(make):
    p, q = make(P), make(Q)
    assert np.array_equal(emdref.emd(Array(p), Array(q), CHAIN).array, emdref.emd(p, q, CHAIN))


def test_results_lie_where_the_inputs_do():
    there = [Array(x, "there") for x in (P, Q)]
    assert emdref.emd(*there, CHAIN).device == "there"
    with pytest.raises(TypeError, match=r"^p lies on there and q on here: give both on one device$"):
        emdref.emd(there[0], Array(Q), CHAIN)


@pytest.mark.parametrize("normalized", [False, True])
def test_unifrac(normalized):
    tree = emdref.Tree([-1, 0, 0, 1, 1, 2, 2, 0], [0, 0.5, 1, 2, 3, 1, 0.5, 1])
    found = emdref.unifrac(Array(P), tree, normalized=normalized)
    assert type(found) is Array
    assert np.array_equal(found.array, emdref.unifrac(P, tree, normalized=normalized))


# --- what does not go together ----------------------------------------------------------------------------------------

PARTNERS = [
    (Q, r"q of numpy \(ndarray\): give both as one kind, e\.g\. library\.asarray\(q\)$"),
    (pd.DataFrame(Q), r"q of pandas \(DataFrame\).*library\.asarray\(q\.to_numpy\(\)\)$"),
    (scipy.sparse.csr_array(Q), r"q of scipy \(csr_array\).*library\.asarray\(q\.toarray\(\)\)$"),
    (Words(Q), r"q of array_kinds \(Words\).*library\.from_dlpack\(q\)$"),
]


@pytest.mark.parametrize(("q", "words"), PARTNERS, ids=[type(q).__name__ for q, _ in PARTNERS])
def test_no_array_is_taken_from_one_library_to_another(q, words):
    with pytest.raises(TypeError, match=f"^p is an array of library and {words}"):
        emdref.emd(Array(P), q, CHAIN)
    with pytest.raises(TypeError, match=r"^q is an array of library and p of"):
        emdref.emd(q, Array(P), CHAIN)


@pytest.mark.parametrize(
    ("names", "call"),
    [
        ("pq", lambda a, b: emdref.emd_value_and_grad(a, b, CHAIN)),
        ("pq", lambda a, b: emdref.flow(a, b, CHAIN, mass="normalize")),
        ("pv", lambda a, b: emdref.emd_hvp(a, a, CHAIN, b)),
        ("XY", lambda a, b: emdref.pairwise(a, CHAIN, Y=b)),
        ("pq", lambda a, b: emdref.losses.mse(a, b)),
        ("xg", lambda a, b: emdref.normalize.l1.vjp(a, b)),
        ("pq", lambda a, b: emdref.sinkhorn(a, b, CHAIN, 3.0, dtype=np.float32)),
        ("pq", lambda a, b: emdref.sinkhorn(a, a, CHAIN, 3.0, init=(a, b))),
        ("pq", lambda a, b: emdref.exact.emd(Array(a.array[0]), b[0], CHAIN)),
        ("pq", lambda a, b: emdref.plan(Array(a.array[0]), b[0], CHAIN)),
        ("pq", lambda a, b: emdref.certify(Array(a.array[0]), b[0], CHAIN)),
        ("pq", lambda a, b: emdref.certify_sinkhorn(Array(a.array[0]), b[0], CHAIN, 3.0)),
    ],
)
def test_every_function_names_the_two(names, call):
    first, second = names if names != "pq" else ("p", "(q|init's log_v)")
    with pytest.raises(TypeError, match=rf"^{first} is an array of library and {second} of numpy"):
        call(Array(P), Q)


def test_lists_and_costs_go_with_any_library():
    assert type(emdref.emd(Array(P), Q.tolist(), CHAIN)) is Array
    assert type(emdref.emd(tuple(map(tuple, P)), Array(Q), CHAIN)) is Array
    cost = CHAIN.distance_matrix()
    given = emdref.sinkhorn(Array(P), Array(Q), cost, 3.0), emdref.sinkhorn(P, Q, Array(cost), 3.0)
    assert [type(r.value) for r in given] == [Array, np.ndarray]
    assert np.array_equal(given[0].value.array, given[1].value)
    assert np.array_equal(emdref.Chain(gaps=Array(np.array(CHAIN.gaps))).gaps, CHAIN.gaps)


def test_a_float64_that_a_library_does_not_hold_is_not_rounded(monkeypatch):
    monkeypatch.setattr(array_kinds.library, "from_dlpack", lambda x: Array(x.astype(np.float32)))
    with pytest.raises(TypeError, match=r"^the result is float64, of which library makes float32: give float32, or"):
        emdref.emd(Array(P), Array(Q), CHAIN)
    assert emdref.emd(*map(Array, array_kinds.batch(np.float32)), CHAIN).dtype == np.float32


@pytest.mark.parametrize(
    ("dtype", "words"),
    [(np.float16, "p has dtype float16"), (bool, "p has dtype bool"), (complex, "p has dtype complex128")],
)
def test_dtypes(dtype, words):
    with pytest.raises(TypeError, match=words):
        emdref.emd(Array(P.astype(dtype)), Array(Q), CHAIN)


def test_an_array_that_cannot_be_read():
    class Broken(Words):
        dtype = "float7"

        def __dlpack__(self, **options):
            raise BufferError("elsewhere\nand more")

    for call in (emdref.emd, emdref.exact.emd):
        with pytest.raises(TypeError, match=r"^p \(Broken, float7\) cannot be read \(elsewhere\): give a dense array"):
            call(Broken(P[0]), Q[0], CHAIN)


# --- the caller's own array -------------------------------------------------------------------------------------------

told = np.from_dlpack(Words(np.empty(1))).flags.writeable
can_be_written_to = pytest.mark.skipif(not told, reason="NumPy 2.0 is not told by DLPack what may be written to")


@can_be_written_to
def test_results_go_into_an_array_of_the_inputs_kind_or_of_numpys():
    expected = emdref.emd_grad(P, Q, CHAIN)
    for memory in (np.empty_like(P), np.full((3, 10), 7.0)[:, ::2]):
        out = Array(memory)
        assert emdref.emd_grad(Array(P), Array(Q), CHAIN, out=out) is out
        assert np.array_equal(memory, expected)
        memory[:] = 0
        assert emdref.emd_grad(Array(P), Array(Q), CHAIN, out=memory) is memory
        assert np.array_equal(memory, expected)
    both = Array(P.copy())
    emdref.emd_grad(both, Array(Q), CHAIN, out=both)
    assert np.array_equal(both.array, expected)


@can_be_written_to
def test_arrays_that_results_cannot_go_to():
    read_only = np.empty(3)
    read_only.flags.writeable = False
    for out, error, words in (
        (Array(read_only), (TypeError, ValueError), "^out (is read-only|.*cannot be written to .*readonly)"),
        (Array(np.empty(3, np.float32)), TypeError, "^out has dtype float32, the result float64"),
        (Array(np.empty(4)), ValueError, r"^out has shape \(4,\), the result \(3,\)"),
        (Words(np.empty(3)), TypeError, "^out must be a NumPy array, not Words, or one of the inputs' kind"),
    ):
        with pytest.raises(error, match=words):
            emdref.emd(Array(P), Array(Q), CHAIN, out=out)
    with pytest.raises(TypeError, match=r"^out must be a NumPy array, not Array"):
        emdref.emd(P, Q, CHAIN, out=Array(np.empty(3)))
    memory = np.empty(20)
    pair = Array(memory[:3]), Array(memory[2:17].reshape(3, 5))
    with pytest.raises(ValueError, match=r"^out\[0\] and out\[1\] share memory"):
        emdref.emd_value_and_grad(Array(P), Array(Q), CHAIN, out=pair)


def test_namespaces_are_told_apart_by_array_api_compat(monkeypatch):
    monkeypatch.setattr(array_api_compat, "array_namespace", lambda *x, **options: array_kinds.library)
    assert type(emdref.emd(Words(P), Words(Q), CHAIN)) is Array
