"""Second derivatives: exact ones against definitions and differences, the kernels' against the exact ones."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import cases
import emdref
import oracles
from cases import DTYPES, FAMILIES, GAUGES, SPACES, assert_within, assert_within_ulps, eps
from emdref import exact
from emdref.kernels.compile import threads

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_space = pytest.mark.parametrize("name", SPACES)
each_gauge = pytest.mark.parametrize("gauge", GAUGES)
each_accuracy = pytest.mark.parametrize("accuracy", ["compensated", "native"])
rhos = st.integers(1, 4)
gauges = st.sampled_from(GAUGES)
FAMILIES_IN_RANGE = [f for f in FAMILIES if f != "subnormals"]


def first_column(p, q, space, rho, **options):
    return emdref.emd_hvp(p, q, space, np.eye(space.n_bins)[0], rho, **options)


# --- exact ------------------------------------------------------------------------------------------------------------


@given(cases.pairs(), rhos, gauges, st.booleans())
def test_exact_hessian_is_the_definition(case, rho, gauge, normalize):
    space, p, q = case
    got = exact.hess(p, q, space, rho, gauge=gauge, mass="normalize" if normalize else "ignore")
    assert got == cases.exact_hess(p, q, space, rho, gauge, normalize)


@given(cases.pairs(), rhos, gauges, st.booleans(), st.data())
def test_exact_product_is_the_matrix_times_the_vector(case, rho, gauge, normalize, data):
    space, p, q = case
    v = data.draw(st.lists(st.floats(-8, 8), min_size=len(p), max_size=len(p)))
    matrix = exact.hess(p, q, space, rho, gauge=gauge, mass="normalize" if normalize else "ignore")
    expected = [sum(h * Fraction(x) for h, x in zip(line, v, strict=True)) for line in matrix]
    assert exact.hvp(p, q, space, v, rho, gauge=gauge, mass="normalize" if normalize else "ignore") == expected


def unit(j, n):
    return [Fraction(i == j) for i in range(n)]


@given(cases.pairs(), st.integers(2, 4), st.data())
def test_raw_hessian_is_the_second_difference_of_the_value(case, rho, data):
    """EMD^rho is a polynomial of degree rho <= 4 where no flow changes sign; the five-point rule is exact on it."""
    space, p, q = case
    p, q = cases.exact_pair(p, q)
    flow = cases.exact_flow(p, q, space)
    turned = [f for f, bins in zip(flow, cases.exact_flow([1] * len(p), [0] * len(p), space), strict=True) if bins]
    assume(rho == 2 or all(turned))  # |phi|**3 and phi**3 differ at a kink
    assume(rho != 2 or turned)
    step = min([abs(f) for f in turned if f] or [Fraction(1)]) / 8
    j, k = (data.draw(st.integers(0, len(p) - 1)) for _ in range(2))

    def value(x):
        return oracles.emd(x, q, cases.edges(space), rho)

    def slope(x):
        return oracles.slope_along(value, x, unit(j, len(p)), step)

    expected = oracles.slope_along(slope, p, unit(k, len(p)), step)
    assume(rho == 2 or step > 0)
    assert exact.hess(p, q, space, rho, gauge="raw")[j][k] == expected


@given(cases.pairs(), rhos, st.data())
def test_normalized_hessian_is_the_derivative_of_the_normalized_gradient(case, rho, data):
    """In rationals, by differences of step 2**-100, whose own error is of order 2**-400."""
    space, p, q = case
    p, q = cases.exact_pair(p, q)
    p = [x + Fraction(1, 1000) for x in p]
    balanced = cases.exact_flow(p, q, space, normalize=True)
    below = cases.exact_flow([1] * len(p), [0] * len(p), space)
    assume(all(f or b in (0, len(p)) for f, b in zip(balanced, below, strict=True)))
    j, k = (data.draw(st.integers(0, len(p) - 1)) for _ in range(2))

    def slope(x):
        return exact.grad(x, q, space, rho, gauge="normalized")[j]

    expected = oracles.slope_along(slope, p, unit(k, len(p)), Fraction(1, 2**100))
    assert abs(exact.hess(p, q, space, rho, gauge="normalized")[j][k] - expected) < Fraction(1, 2**200)


@given(cases.pairs(), rhos)
def test_normalized_hessian_takes_p_to_minus_the_gradient(case, rho):
    """Euler: the gradient of a function that does not change with |p| is homogeneous of degree -1."""
    space, p, q = case
    gradient = exact.grad(p, q, space, rho, gauge="normalized")
    assert exact.hvp(p, q, space, p, rho, gauge="normalized") == [-g for g in gradient]


@given(cases.pairs(), rhos, st.sampled_from(["zero_sum", "scaled"]))
def test_lines_sum_to_zero(case, rho, gauge):
    space, p, q = case
    assert not any(sum(line) for line in exact.hess(p, q, space, rho, gauge=gauge))


def test_equation_12_as_printed():
    """With 1-based bins k, l and the Heaviside step H(n >= 0); the chain's gaps are its M_i."""
    chain, n = emdref.Chain(gaps=[1.0, 0.5, 3.0, 2.0]), 5
    printed = [
        [2 * sum(m * (n * (i >= k) - i) * (n * (i >= l) - i) for i, m in enumerate(chain.gaps, 1)) for l in range(1, 6)]
        for k in range(1, 6)
    ]
    assert emdref.emd_hess([1.0, 2, 0, 3, 1], [2.0, 1, 1, 2, 1], chain, gauge="scaled").tolist() == printed


# --- compensated ------------------------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("family", FAMILIES_IN_RANGE)
@each_space
def test_raw_entries_are_within_an_ulp(name, family, dtype):
    space, p, q = cases.case(name, family, dtype)
    for rho in (1, 2, 3, 4):
        got = emdref.emd_hess(p, q, space, rho, gauge="raw")
        assert got.dtype == dtype
        for line, expected in zip(got, cases.exact_hess(p, q, space, rho, "raw"), strict=True):
            assert_within_ulps(line, expected)


@each_dtype
@each_space
@pytest.mark.parametrize("rho", [2, 3, 4])
def test_raw_entries_at_subnormal_masses(rho, name, dtype):
    space, p, q = cases.case(name, "subnormals", dtype)
    got = emdref.emd_hess(p, q, space, rho, gauge="raw")
    for line, expected in zip(got, cases.exact_hess(p, q, space, rho, "raw"), strict=True):
        assert_within_ulps(line, expected)


@each_dtype
@pytest.mark.parametrize("family", ["flat_softmax", "peaked_softmax", "block_permuted", "spread", "integers"])
@each_space
@pytest.mark.parametrize("gauge", ["zero_sum", "scaled", "normalized"])
def test_entries_are_within_8_eps_of_the_largest(gauge, name, family, dtype):
    space, p, q = cases.case(name, family, dtype)
    for rho in (1, 2, 3, 4):
        got = emdref.emd_hess(p, q, space, rho, gauge=gauge)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, got.T)
        bound = 8 * eps(dtype) * cases.hess_unit(p, q, space, rho, gauge)
        for line, expected in zip(got, exact.hess(p, q, space, rho, gauge=gauge), strict=True):
            assert_within(line, expected, bound)


@each_dtype
@pytest.mark.parametrize("family", ["flat_softmax", "peaked_softmax", "block_permuted", "spread", "integers"])
@each_space
@each_gauge
def test_products_are_within_8_eps(gauge, name, family, dtype):
    space, p, q = cases.case(name, family, dtype)
    v = directions(dtype, space.n_bins)
    for rho in (1, 2, 3, 4):
        got = emdref.emd_hvp(p, q, space, v, rho, gauge=gauge)
        assert got.dtype == dtype
        unit = 8 * eps(dtype) * cases.hess_unit(p, q, space, rho, gauge)
        for x, line in zip(v, got, strict=True):
            expected = exact.hvp(p, q, space, x, rho, gauge=gauge)
            assert_within(line, expected, unit * sum(map(abs, oracles.fractions(x))))


def directions(dtype, n):
    """Ordinary, constant, one bin, and numbers that nearly cancel."""
    rng = np.random.default_rng(n)
    plain = rng.standard_normal(n)
    near = np.where(np.arange(n) % 2, 1, -1) * (1 + 2.0**-20 * rng.standard_normal(n))
    return np.stack([plain, np.ones(n), np.eye(n)[n // 2], near]).astype(dtype)


@each_dtype
@pytest.mark.parametrize("mass", ["normalize", "ignore"])
@each_gauge
@each_space
def test_mass_policies(name, gauge, mass, dtype):
    space, p, _ = cases.case(name, "flat_softmax", dtype)
    p, q = 3 * p, cases.case(name, "peaked_softmax", dtype)[1]
    normalize = mass == "normalize"
    for rho in (2, 3):
        got = emdref.emd_hess(p, q, space, rho, gauge=gauge, mass=mass)
        bound = 8 * eps(dtype) * cases.hess_unit(p, q, space, rho, gauge, normalize)
        expected = exact.hess(p, q, space, rho, gauge=gauge, mass="normalize" if normalize else "ignore")
        for line, exactly in zip(got, expected, strict=True):
            assert_within(line, exactly, bound)


@each_dtype
@each_gauge
@pytest.mark.parametrize("rho", [1.5, 2.5, 7.3])
@pytest.mark.parametrize("name", ["chain", "star", "inner_bins"])
def test_real_rho(name, rho, gauge, dtype):
    """8 eps of the largest raw entry, and the 2 ulp of the C library's pow more."""
    space, p, q = cases.case(name, "flat_softmax", dtype)
    normalize = gauge == "normalized"
    expected = cases.exact_hess(p, q, space, rho, gauge)
    top = max(map(max, cases.raw_hess(*map(tuple, cases.exact_pair(p, q, normalize)), space, rho)))
    scale = space.n_bins**2 if gauge == "scaled" else 1
    bound = 12 * eps(dtype) * max(top * scale, max(abs(x) for line in expected for x in line))
    got = emdref.emd_hess(p, q, space, rho, gauge=gauge)
    v = directions(dtype, space.n_bins)[0]
    product = emdref.emd_hvp(p, q, space, v, rho, gauge=gauge)
    for k, line in enumerate(expected):
        assert_within(got[k], line, bound)
        exactly = sum(h * Fraction(float(x)) for h, x in zip(line, v, strict=True))
        assert_within(product[k : k + 1], [exactly], bound * sum(map(abs, oracles.fractions(v))))


@given(cases.pairs(), rhos, gauges, st.sampled_from(["normalize", "ignore"]), st.data())
def test_drawn_cases(case, rho, gauge, mass, data):
    space, p, q = case
    v = data.draw(st.lists(st.floats(-8, 8), min_size=len(p), max_size=len(p)))
    normalize = mass == "normalize"
    bound = 8 * eps(np.float64) * cases.hess_unit(p, q, space, rho, gauge, normalize)
    got = emdref.emd_hess(p, q, space, rho, gauge=gauge, mass=mass)
    for line, expected in zip(
        got, exact.hess(p, q, space, rho, gauge=gauge, mass="normalize" if normalize else "ignore"), strict=True
    ):
        assert_within(line, expected, bound)
    product = emdref.emd_hvp(p, q, space, v, rho, gauge=gauge, mass=mass)
    expected = exact.hvp(p, q, space, v, rho, gauge=gauge, mass="normalize" if normalize else "ignore")
    assert_within(product, expected, bound * sum(map(abs, oracles.fractions(v))))


@each_dtype
def test_wordnet(dtype):
    space, p, q = cases.case("wordnet", "peaked_softmax", dtype)
    got = emdref.emd_hess(p, q, space, 3)
    bound = 8 * eps(dtype) * Fraction(float(emdref.emd_hess(p, q, space, 3, gauge="raw").max()))
    for k in range(0, 1000, 97):
        assert_within(got[k], exact.hvp(p, q, space, np.arange(1000) == k, 3), bound)  # a line, without the others


# --- where the second derivative is infinite, or 0 --------------------------------------------------------------------


@each_accuracy
@each_gauge
def test_at_rho_1_only_the_normalizer_curves(gauge, accuracy):
    space, p, q = cases.case("random_tree", "flat_softmax", np.float64)
    hess = emdref.emd_hess(p, q, space, 1, gauge=gauge, accuracy=accuracy)
    product = emdref.emd_hvp(p, q, space, p, 1, gauge=gauge, accuracy=accuracy)
    assert hess.any() == product.any() == (gauge == "normalized")


@each_accuracy
@each_gauge
@pytest.mark.parametrize("call", [emdref.emd_hess, first_column])
@pytest.mark.parametrize(
    ("space", "edge"),
    [
        (emdref.Chain(4), r"gap 1 \(after bin 1\)"),
        (emdref.Tree([-1, 0, 0, 1, 1, 2, 2]), "the edge above node [12]"),
        (emdref.Tree.from_newick("((a,b)left,(c,d)right)root;"), r"the edge above node \d \('(left|right)'\)"),
        (
            emdref.Tree.from_edges([(40, 4), (41, 4), (50, 5), (51, 5), (4, 9), (5, 9)]),
            r"the edge above node (1 \(4\)|4 \(5\))",
        ),
    ],
)
def test_infinite_curvature_is_refused_by_row_and_edge(space, edge, call, gauge, accuracy):
    p, q = np.array([[4, 1, 0, 3], [3, 1, 0, 4]]), np.array([[1, 0, 3, 4], [0, 4, 3, 1]])
    more = {"gauge": gauge, "accuracy": accuracy}
    with pytest.raises(ValueError, match=f"row 1: phi is 0 on {edge}.*1.5 is infinite.*rho >= 2"):
        call(p, q, space, 1.5, **more)
    assert np.isfinite(emdref.emd_hess(p, q, space, 2, **more)).all()
    assert np.isfinite(emdref.emd_hess(p[0], q[0], space, 1.5, **more)).all()


def test_a_sum_that_two_limbs_cannot_hold_decides_what_is_infinite():
    """Both rows' flows are beyond two limbs after the third bin; one of them is exactly 0."""
    p = np.array([[1, 2.0**-60, 2.0**-120, 0, 0], [1, 2.0**-60, 0, 0, 2.0**-120]])
    q = np.array([[0, 0, 0, 1, 2.0**-60], [0, 0, 0, 1 + 0.0, 2.0**-60]])
    chain = emdref.Chain(5)
    got = emdref.emd_hess(p[0], q[0], chain, 1.5, mass="ignore")
    assert np.isfinite(got).all()
    with pytest.raises(ValueError, match="gap"):
        emdref.emd_hess([1, 2.0**-60, 2.0**-120, 0, 0, 1], [0, 0, 2.0**-120, 1, 2.0**-60, 1], emdref.Chain(6), 1.5)


@each_accuracy
@pytest.mark.parametrize("gauge", ["zero_sum", "scaled", "normalized"])
def test_edges_that_no_entry_depends_on_may_carry_nothing(gauge, accuracy):
    """One without cost, one without bins, one above all bins; the last carries exactly what the totals differ by."""
    plain = emdref.Tree([-1, 0, 0])
    tree = emdref.Tree([-1, 0, 1, 1, 1, 2, 4], [0, 5, 1, 1, 7, 0, 0], bins=[5, 3])
    p, q = [0.75, 0.25], [0.25, 0.75]
    for rho in (1.5, 2, 3):
        options = {"rho": rho, "gauge": gauge, "accuracy": accuracy}
        np.testing.assert_array_equal(emdref.emd_hess(p, q, tree, **options), emdref.emd_hess(p, q, plain, **options))
    raw = emdref.emd_hess(p, q, tree, 2, gauge="raw", accuracy=accuracy)
    np.testing.assert_array_equal(raw, emdref.emd_hess(p, q, plain, 2, gauge="raw") + 10)
    with pytest.raises(ValueError, match="edge above node 1"):
        emdref.emd_hess(p, q, tree, 1.5, gauge="raw", accuracy=accuracy)


@pytest.mark.parametrize("mass", ["normalize", "ignore"])
@pytest.mark.parametrize("call", [emdref.emd, emdref.emd_grad, emdref.emd_hess])
def test_an_edge_above_all_bins_does_not_need_the_fallback(call, mass):
    tree, rng = emdref.Tree([-1, 0, 1, 1, 1]), np.random.default_rng(1)
    p, q = rng.dirichlet(np.ones(3), (2, 100))
    with emdref.fallback.counting() as count:
        call(p, q, tree, mass=mass)
    assert (count.rows, count.exact) == (100, 0)


# --- native -----------------------------------------------------------------------------------------------------------


@each_dtype
@each_gauge
@pytest.mark.parametrize("rho", [1, 2, 3, 4, 2.5])
@pytest.mark.parametrize("name", ["chain", "star", "inner_bins"])
def test_native(name, rho, gauge, dtype):
    """Sums of N terms on the way up and down, and pow: 16 N eps of the largest raw entry."""
    space, p, q = cases.case(name, "flat_softmax", dtype)
    options = {"rho": rho, "gauge": gauge}
    got = emdref.emd_hess(p, q, space, accuracy="native", **options)
    product = emdref.emd_hvp(p, q, space, v := directions(dtype, space.n_bins)[0], accuracy="native", **options)
    assert got.dtype == product.dtype == dtype
    wide, narrow = (emdref.emd_hess(*(x.astype(float) for x in (p, q)), space, mass="ignore", **o)
                    for o in (options, {**options, "gauge": "raw"}))  # fmt: skip
    top = 16 * space.n_nodes * np.finfo(dtype).eps * max(abs(wide).max(), abs(narrow).max() * (
        space.n_bins**2 if gauge == "scaled" else 1))  # fmt: skip
    np.testing.assert_allclose(got, wide, rtol=0, atol=top)
    np.testing.assert_allclose(product, wide @ v.astype(float), rtol=0, atol=top * abs(v).sum())


# --- rows, shapes, the range ------------------------------------------------------------------------------------------


@each_dtype
@each_accuracy
@pytest.mark.parametrize("name", ["chain", "random_tree"])
def test_a_row_depends_neither_on_its_batch_nor_on_threads(name, accuracy, dtype, monkeypatch):
    space, rng = cases.space(name), np.random.default_rng(3)
    p, q = cases.softmax(rng, (2, 30, space.n_bins), dtype, 4.0)
    v = rng.standard_normal(p.shape).astype(dtype)

    def both(i):
        hess = emdref.emd_hess(p[i], q[i], space, 3, accuracy=accuracy)
        return np.concatenate([hess, emdref.emd_hvp(p[i], q[i], space, v[i], 3, accuracy=accuracy)[..., None]], -1)

    whole = both(slice(None))
    monkeypatch.setattr(threads, "_SERIAL_WORK", 1)
    with threads.at_most(3):
        np.testing.assert_array_equal(both(slice(None)), whole)
        np.testing.assert_array_equal(both(slice(4, 9)), whole[4:9])
    np.testing.assert_array_equal(both(17), whole[17])


@each_accuracy
def test_leading_axes_broadcast(accuracy):
    space, rng = cases.space("star"), np.random.default_rng(5)
    n = space.n_bins
    p, q = cases.softmax(rng, (3, 1, n), np.float32), cases.softmax(rng, (4, n), np.float32)
    v = rng.standard_normal((2, 1, 1, n)).astype(np.float32)
    hess = emdref.emd_hess(p, q, space, accuracy=accuracy)
    product = emdref.emd_hvp(p, q, space, v, 3, accuracy=accuracy)
    assert (hess.shape, hess.dtype) == ((3, 4, n, n), np.float32)
    assert (product.shape, product.dtype) == ((2, 3, 4, n), np.float32)
    for i, j, k in itertools.product(range(2), range(3), range(4)):
        one = emdref.emd_hvp(p[j, 0], q[k], space, v[i, 0, 0], 3, accuracy=accuracy)
        np.testing.assert_array_equal(product[i, j, k], one)


@each_accuracy
def test_integers_and_empty_batches(accuracy):
    chain = emdref.Chain(3)
    assert emdref.emd_hess([1, 0, 2], [0, 3, 0], chain, accuracy=accuracy).dtype == np.float64
    assert emdref.emd_hvp([1, 0, 2], [0, 3, 0], chain, [1, -1, 0], accuracy=accuracy).dtype == np.float64
    none = np.empty((0, 3), np.float32)
    assert emdref.emd_hess(none, none, chain, accuracy=accuracy).shape == (0, 3, 3)
    assert emdref.emd_hvp(none, none, chain, none, accuracy=accuracy).shape == (0, 3)


@each_accuracy
@pytest.mark.parametrize("space", [emdref.Chain(1), emdref.Tree([-1]), emdref.Tree([-1, 0])])
def test_one_bin_does_not_curve(space, accuracy):
    for rho in (1, 1.5, 2):
        assert emdref.emd_hess([2.0], [2.0], space, rho, accuracy=accuracy).tolist() == [[0]]
        assert emdref.emd_hvp([2.0], [2.0], space, [3.0], rho, accuracy=accuracy).tolist() == [0]


@each_dtype
@pytest.mark.parametrize("gauge", ["raw", "zero_sum", "normalized"])
@pytest.mark.parametrize("exponent", [-100, 0, 100])
@pytest.mark.parametrize("rho", [2, 3, 4])
def test_far_from_one(rho, exponent, gauge, dtype):
    """Masses, costs and directions times powers of two, which changes exponents alone."""
    tree, p, q = cases.case("random_tree", "flat_softmax", np.float64)
    v, shift = np.sin(np.arange(len(p))), Fraction(2) ** exponent
    far = emdref.Tree(tree.parent, tree.cost * 2.0 ** (3 * exponent), bins=tree.bins)
    scale = shift**3 * (shift ** (rho - 2) if gauge != "normalized" else 1 / shift**2)
    near = emdref.emd_hvp(p, q, tree, v, rho, gauge=gauge)
    got = emdref.emd_hvp(p * float(shift), q * float(shift), far, v / float(shift), rho, gauge=gauge)
    assert [Fraction(x) for x in got] == [Fraction(x) * scale / shift for x in near]


@pytest.mark.parametrize("call", [emdref.emd_hess, first_column])
@pytest.mark.parametrize("rho", [2, 3, 2.5])
def test_a_result_beyond_the_range_is_inf_with_one_warning(rho, call):
    big, chain = np.array([[1e308, 0], [1, 0]]), emdref.Chain(gaps=[1e308])
    with pytest.warns(RuntimeWarning, match="beyond the range of float64") as caught:
        got = call(big, big[:, ::-1], chain, rho, gauge="raw")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.isinf(got[0].flat[0])


@pytest.mark.parametrize(("rho", "tiny"), [(1.0000001, 1e-300), (1.5, 1e-300), (1.5, 5e-324), (1.999, 5e-324)])
def test_curvature_at_tiny_flows(rho, tiny):
    chain, p, q = emdref.Chain(3), [tiny, 1.0, 0.0], [0.0, 0.5, 0.5]
    expected = cases.exact_hess(p, q, chain, rho, "raw")
    got = emdref.emd_hess(p, q, chain, rho, gauge="raw", mass="ignore")
    for line, exactly in zip(got, expected, strict=True):
        assert_within_ulps(line, exactly, 5)


# --- regressions ------------------------------------------------------------------------------------------------------

STAR = emdref.Tree([-1, 0, 0, 0])


@pytest.mark.parametrize("gauge", ["raw", "zero_sum", "normalized"])
@pytest.mark.parametrize("rho", [2.5, 3.0000000000000004, 2.0000000000000004, 1.5])
def test_a_flow_too_small_for_its_quotient_with_the_largest(rho, gauge):
    """Once 5e-324 / 3 was 0 and its power NaN; for rho just above 2 its power is nearly 1."""
    p, q, v = [3, 5e-324, 0], [0, 1e-323, 3.0], [1.0, -2.0, 0.5]
    expected = cases.exact_hess(p, q, STAR, rho, gauge)
    top = max(abs(x) for line in expected for x in line)
    got = emdref.emd_hess(p, q, STAR, rho, gauge=gauge)
    np.testing.assert_array_equal(got, got.T)
    for line, exactly in zip(got, expected, strict=True):
        assert_within(line, exactly, 12 * eps(np.float64) * top)
    product = emdref.emd_hvp(p, q, STAR, v, rho, gauge=gauge)
    exactly = [sum(h * Fraction(x) for h, x in zip(line, v, strict=True)) for line in expected]
    assert_within(product, exactly, 12 * eps(np.float64) * top * 4)


@pytest.mark.parametrize("call", [emdref.emd_hess, first_column, emdref.emd_grad])
@pytest.mark.parametrize("gauge", ["raw", "zero_sum"])
@pytest.mark.parametrize("rho", [1e17, 1e19, 1e300])
def test_powers_beyond_even_a_decimals_range(rho, gauge, call):
    p, q, chain = [10.0, 1, 0], [0.0, 1, 10], emdref.Chain(3)
    with pytest.warns(RuntimeWarning, match="and are inf;") as caught:
        got = call(p, q, chain, rho, gauge=gauge)
    assert len(caught) == 1
    assert not np.isnan(got).any()
    if call is emdref.emd_hess:
        np.testing.assert_array_equal(got, got.T)


def test_exact_zeros_beside_what_is_beyond_the_range():
    with pytest.warns(RuntimeWarning, match="Hessian are beyond"):
        got = emdref.emd_hess([10.0, 1, 0], [0.0, 1, 10], emdref.Chain(3), 1e19, gauge="raw")
    assert got.tolist() == [[np.inf, np.inf, 0], [np.inf, np.inf, 0], [0, 0, 0]]


def test_a_subnormal_flow_beside_a_small_one():
    """Their quotient is 2.4e-17, and its tenth root as good as any."""
    tree = emdref.Tree([-1, 0, 1], bins=[1, 2])
    p, q = [2.877364947617595e-296, 2.015624212560561e-296], [4.66942696713708e-298, 4.8462948905067855e-296]
    got = emdref.emd_hess(p, q, tree, 2.1, gauge="raw", mass="ignore")
    for line, exactly in zip(got, cases.exact_hess(p, q, tree, 2.1, "raw"), strict=True):
        assert_within_ulps(line, exactly, 5)


@pytest.mark.parametrize("exponent", [28, 33, 40, 52])
def test_large_rho(exponent):
    """A flow's last limb counts rho times in its power; 5 ulps as for smaller rho."""
    rho, chain = 2.0**exponent, emdref.Chain(3)
    for k in range(1, 6):
        p = np.array([1 - k / rho, 1e-17, 1.0])
        q = np.array([0.0, 0.0, 1.0])
        got = emdref.emd(p, q, chain, rho, mass="ignore")
        assert_within_ulps(got, [oracles.emd_real(*cases.exact_pair(p, q), cases.edges(chain), rho)], 5)


def test_a_fallback_row_of_real_rho_is_symmetric():
    got = emdref.emd_hess([1, 1e-300], [1, 0.0], emdref.Chain(2), 1.5, gauge="normalized", mass="ignore")
    np.testing.assert_array_equal(got, got.T)


def test_an_edge_above_all_bins_does_not_drown_a_fallback_row():
    p, q = [5e-324, 3, 1], [0, 1, 3.5]
    above = emdref.Tree([-1, 0, 1, 1, 1], [0, 1e300, 1, 1, 1])
    expected = emdref.emd_hess(p, q, STAR, 1.5, mass="ignore")
    np.testing.assert_allclose(emdref.emd_hess(p, q, above, 1.5, mass="ignore"), expected, rtol=1e-15)


@pytest.mark.parametrize("call", [emdref.emd, emdref.emd_grad, emdref.emd_hess, first_column])
def test_native_does_not_count_what_costs_nothing(call):
    """|phi|**2 overflows on the edges that cost nothing."""
    p, q = [1e200, 1, 2], [1e199, 2, 1]
    tree, options = emdref.Tree([-1, 0, 0, 0], [0, 0, 1, 1]), {"mass": "ignore"}
    native = call(p, q, tree, 2, accuracy="native", **options)
    np.testing.assert_allclose(native, call(p, q, tree, 2, **options), rtol=1e-15)


@pytest.mark.parametrize("call", [emdref.emd_grad, emdref.emd_hess, emdref.emd_value_and_grad])
def test_native_totals_in_gauge_normalized(call):
    p = np.float32([3e38, 1.5e38, 0])
    with pytest.raises(ValueError, match="total of p is beyond float32"):
        call(p, p[::-1], emdref.Chain(3), 2, gauge="normalized", accuracy="native")
    small = np.float32([1e-17, 0.5e-17, 0])
    got = emdref.emd_hess(small, small[::-1], emdref.Chain(3), 3, gauge="normalized", accuracy="native")
    expected = emdref.emd_hess(small, small[::-1], emdref.Chain(3), 3, gauge="normalized")
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_native_needs_a_rho_that_the_dtype_holds():
    p, q, chain = np.float32([1, 0]), np.float32([0, 1]), emdref.Chain(2)
    with pytest.raises(ValueError, match=r"rho = 1e\+39: it is beyond float32"):
        emdref.emd_grad(p, q, chain, 1e39, accuracy="native")
    with pytest.raises(ValueError, match=r"rho = 1e\+20: rho \(rho - 1\) is beyond float32"):
        emdref.emd_hess(p, q, chain, 1e20, accuracy="native")


def test_a_native_result_that_is_nan_says_so():
    p, q = np.array([1e200, 1, 2.0]), np.array([1e199, 2.0, 1])
    with pytest.warns(RuntimeWarning, match="inf or NaN"):
        got = emdref.emd_grad(p, q, emdref.Chain(3), 3, accuracy="native", mass="ignore")
    assert np.isnan(got).any()
