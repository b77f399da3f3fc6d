"""Value, gradient and flow against exact rationals: every function x dtype x space x accuracy."""

import itertools
import warnings
from fractions import Fraction

import numpy as np
import pytest

import cases
import emdref
import oracles
from cases import DTYPES, FAMILIES, GAUGES, SPACES, assert_within, assert_within_ulps, eps
from emdref import casebook
from emdref.kernels.compile import threads

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_family = pytest.mark.parametrize("family", FAMILIES)
each_space = pytest.mark.parametrize("name", SPACES)
each_gauge = pytest.mark.parametrize("gauge", GAUGES)
each_rho = pytest.mark.parametrize("rho", [1, 2, 3, 4])
each_accuracy = pytest.mark.parametrize("accuracy", ["compensated", "native"])


def signs(x):
    return [oracles.sign(v) for v in (x.tolist() if isinstance(x, np.ndarray) else x)]


# --- compensated ------------------------------------------------------------------------------------------------------


@each_dtype
@each_family
@pytest.mark.parametrize("name", cases.ALL_SPACES)
def test_flow_has_every_sign_right_and_is_within_an_ulp(name, family, dtype):
    space, p, q = cases.case(name, family, dtype)
    got, exact = emdref.flow(p, q, space), cases.exact_flow(p, q, space)
    assert got.dtype == dtype
    assert signs(got) == signs(exact)
    assert_within_ulps(got, exact)


@each_dtype
@each_family
@each_space
def test_value_is_within_an_ulp(name, family, dtype):
    space, p, q = cases.case(name, family, dtype)
    for rho in (1, 2, 3, 4):
        got = emdref.emd(p, q, space, rho)
        assert got.dtype == dtype
        assert_within_ulps(got, [cases.exact_emd(p, q, space, rho)])


@each_dtype
@pytest.mark.parametrize("family", ["peaked_softmax", "block_permuted", "spread", "one_ulp", "integers"])
@each_space
@each_gauge
def test_gradient_is_within_8_eps_of_the_largest_raw_entry(gauge, name, family, dtype):
    space, p, q = cases.case(name, family, dtype)
    for rho in (1, 2, 3, 4):
        got = emdref.emd_grad(p, q, space, rho, gauge=gauge)
        assert got.dtype == dtype
        bound = 8 * eps(dtype) * cases.grad_unit(p, q, space, rho, gauge)
        assert_within(got, cases.exact_grad(p, q, space, rho, gauge), bound)


@each_dtype
@each_space
@pytest.mark.parametrize("gauge", ["raw", "zero_sum", "scaled"])  # 1 / |p| is beyond the range
def test_gradient_at_subnormal_masses(gauge, name, dtype):
    space, p, q = cases.case(name, "subnormals", dtype)
    for rho in (1, 2):
        got, exact = emdref.emd_grad(p, q, space, rho, gauge=gauge), cases.exact_grad(p, q, space, rho, gauge)
        assert_within(got, exact, 8 * eps(dtype) * cases.grad_unit(p, q, space, rho, gauge))


@each_dtype
@pytest.mark.parametrize("family", ["peaked_softmax", "spread"])
@pytest.mark.parametrize("rho", [1, 2])
def test_wordnet(rho, family, dtype):
    space, p, q = cases.case("wordnet", family, dtype)
    value, grad = emdref.emd_value_and_grad(p, q, space, rho)
    assert_within_ulps(value, [cases.exact_emd(p, q, space, rho)])
    bound = 8 * eps(dtype) * cases.grad_unit(p, q, space, rho, "zero_sum")
    assert_within(grad, cases.exact_grad(p, q, space, rho, "zero_sum"), bound)


@each_dtype
@each_accuracy
@each_gauge
@pytest.mark.parametrize("rho", [1, 2, 2.5])
def test_one_pass_gives_what_two_calls_give(rho, gauge, accuracy, dtype):
    space, p, q = cases.case("random_tree", "flat_softmax", dtype)
    value, grad = emdref.emd_value_and_grad(p, q, space, rho, gauge=gauge, accuracy=accuracy)
    assert value == emdref.emd(p, q, space, rho, accuracy=accuracy)
    np.testing.assert_array_equal(grad, emdref.emd_grad(p, q, space, rho, gauge=gauge, accuracy=accuracy))


HARD = [[1, 2.0**-60, -1], [1, 2.0**-60, 2.0**-120, -1, -(2.0**-60)]]


def one_after_another(n):
    return emdref.Chain(n + 1)


def side_by_side(n):
    """n leaves below one node, the last bin at the root above it."""
    return emdref.Tree([-1, 0] + n * [1], bins=[*range(2, n + 2), 0])


@each_dtype
@pytest.mark.parametrize("difference", HARD)
@pytest.mark.parametrize("mass", ["raise", "normalize"])
@pytest.mark.parametrize("shape", [one_after_another, side_by_side])
def test_sums_that_two_limbs_cannot_hold(shape, mass, difference, dtype):
    """In every order, and closed by a last bin that makes totals equal."""
    d = np.array([[*d, -min(difference, key=abs)] for d in itertools.permutations(difference)], dtype)
    p, q, space = np.maximum(d, 0), np.maximum(-d, 0), shape(len(difference))
    got, raw = emdref.flow(p, q, space, mass=mass), emdref.emd_grad(p, q, space, gauge="raw", mass=mass)
    for i in range(len(d)):
        assert_within_ulps(got[i], cases.exact_flow(p[i], q[i], space, mass == "normalize"))
        assert raw[i].tolist() == cases.exact_grad(p[i], q[i], space, 1, "raw", mass == "normalize")


@pytest.mark.parametrize("rho", [1, 2, 3, 4])
def test_a_flow_that_two_limbs_hold_to_a_few_digits(rho):
    """Its sign is plain, its value is not, and no other edge costs anything."""
    a, b = np.random.default_rng(8).uniform(1, 2, (2, 50))
    d = np.stack([0 * a + 1, a * 2.0**-60, b * 2.0**-110, 0 * a - 1, -a * 2.0**-60, -b * 2.0**-110], axis=1)
    p, q = np.maximum(d, 0), np.maximum(-d, 0)
    tree = emdref.Tree([-1, 0] + 5 * [1], [0, 1] + 5 * [0], bins=[2, 3, 4, 5, 6, 0])
    value, grad = emdref.emd_value_and_grad(p, q, tree, rho, gauge="raw")
    for i in range(50):
        exact = Fraction(b[i] * 2.0**-110)
        assert_within_ulps(value[i], [exact**rho])
        assert_within_ulps(grad[i, :1], [rho * exact ** (rho - 1)])


@pytest.mark.parametrize("difference", HARD)
def test_plain_float64_sums_fail_on_them(difference):
    rows = list(itertools.permutations(difference))
    assert any(signs(np.cumsum(d)) != signs(itertools.accumulate(map(Fraction, d))) for d in rows)


@each_dtype
@pytest.mark.parametrize("sigma", [1, 4, 8])
def test_flows_between_permuted_blocks_are_exactly_zero(sigma, dtype):
    p = cases.softmax(np.random.default_rng(sigma), (20, 300), dtype, sigma)
    got = emdref.flow(p, p[:, casebook.rotated_blocks(300)], emdref.Chain(300))
    assert not got[:, 2::3].any()


@each_dtype
@pytest.mark.parametrize("rho", [1.5, 2.5, 7.3])
@each_space
def test_real_rho(name, rho, dtype):
    """5 ulps: two calls of pow at up to 2 ulps each in the C library, and one last rounding."""
    space, p, q = cases.case(name, "flat_softmax", dtype)
    pair = cases.exact_pair(p, q)
    value, grad = emdref.emd_value_and_grad(p, q, space, rho, gauge="raw")
    assert_within_ulps(value, [oracles.emd_real(*pair, cases.edges(space), rho)], 5)
    exact = oracles.raw_grad_real(*pair, cases.edges(space), rho)
    assert_within(grad, exact, 8 * eps(dtype) * max(map(abs, exact)))


@each_dtype
@pytest.mark.parametrize("rho", [1.0000001, 50.0, 1e6])
def test_extreme_rho(rho, dtype):
    """|phi| <= 1, so nothing overflows; 5 ulps as above."""
    chain, p, q = cases.case("chain", "one_hot_target", dtype)
    value = emdref.emd(p, q, chain, rho)
    assert_within_ulps(value, [oracles.emd_real(*cases.exact_pair(p, q), cases.edges(chain), rho)], 5)


@pytest.mark.parametrize("rho", [1.0000001, 1.001])
def test_slopes_of_flows_further_apart_than_the_range(rho):
    """Just above rho = 1 a flow of 1e-200 has nearly the slope of one of 1e200."""
    p, q, chain = [1e-200, 1e200, 0.0], [0.0, 0.0, 1e200], emdref.Chain(3)
    exact = oracles.raw_grad_real(*cases.exact_pair(p, q), cases.edges(chain), rho)
    assert_within(emdref.emd_grad(p, q, chain, rho, gauge="raw"), exact, 8 * eps(np.float64) * max(exact))


@pytest.mark.parametrize("rho", [1e20, 1e300, 1.7e308])
def test_any_finite_rho(rho):
    chain = emdref.Chain(2)
    assert emdref.emd([0.5, 0.5], [0, 1.0], chain, rho) == 0
    value, grad = emdref.emd_value_and_grad([1.0, 0], [0, 1.0], chain, rho, gauge="raw")
    assert (value, grad.tolist()) == (1, [rho, 0])
    with pytest.warns(RuntimeWarning, match="beyond the range"):
        assert emdref.emd([2.0, 0], [0, 2.0], chain, rho) == np.inf


# --- mass -------------------------------------------------------------------------------------------------------------


@each_dtype
@each_space
@each_rho
def test_normalize_computes_with_p_and_q_over_their_totals(rho, name, dtype):
    space, p, _ = cases.case(name, "flat_softmax", dtype)
    p, q = 3 * p, cases.case(name, "peaked_softmax", dtype)[1] / 7
    options = {"mass": "normalize"}
    exact = cases.exact_flow(p, q, space, normalize=True)
    flow, value = emdref.flow(p, q, space, **options), emdref.emd(p, q, space, rho, **options)
    grad = emdref.emd_grad(p, q, space, rho, **options)
    assert signs(flow) == signs(exact)
    assert_within_ulps(flow, exact)
    assert_within_ulps(value, [cases.exact_emd(p, q, space, rho, normalize=True)])
    bound = 8 * eps(dtype) * cases.grad_unit(p, q, space, rho, "zero_sum", True)
    assert_within(grad, cases.exact_grad(p, q, space, rho, "zero_sum", True), bound)


@each_dtype
@each_space
@each_rho
def test_ignore_leaves_the_difference_at_the_root(rho, name, dtype):
    space, p, q = cases.case(name, "integers", dtype)
    p = p + np.arange(len(p), dtype=dtype)
    assert_within_ulps(emdref.flow(p, q, space, mass="ignore"), cases.exact_flow(p, q, space))
    assert_within_ulps(emdref.emd(p, q, space, rho, mass="ignore"), [cases.exact_emd(p, q, space, rho)])
    bound = 8 * eps(dtype) * cases.grad_unit(p, q, space, rho, "raw")
    grad = emdref.emd_grad(p, q, space, rho, gauge="raw", mass="ignore")
    assert_within(grad, cases.exact_grad(p, q, space, rho, "raw"), bound)


@each_dtype
@pytest.mark.parametrize("mass", ["raise", "normalize", "ignore"])
def test_gauge_normalized_is_the_derivative_at_the_p_given(mass, dtype):
    space, p, q = cases.case("random_tree", "flat_softmax", dtype)
    p, q = p / 5, q / 5
    got = emdref.emd_grad(p, q, space, 2, gauge="normalized", mass=mass)
    bound = 8 * eps(dtype) * cases.grad_unit(p, q, space, 2, "normalized")
    assert_within(got, cases.exact_grad(p, q, space, 2, "normalized"), bound)


@each_dtype
@pytest.mark.parametrize("factor", [1, 2, 0.125, 3])
def test_proportional_histograms_are_at_distance_zero(factor, dtype):
    """Times 3 is exact for integers alone, a power of two for any float."""
    x = np.random.default_rng(1).integers(1, 2**20, 50).astype(dtype)
    for p in (x, cases.softmax(np.random.default_rng(2), 50, dtype, 8.0)) if factor != 3 else (x,):
        value, grad = emdref.emd_value_and_grad(p, p * dtype(factor), emdref.Chain(50), mass="normalize")
        assert value == 0 and not grad.any()
        assert not emdref.flow(p, p * dtype(factor), emdref.Chain(50), mass="normalize").any()


@pytest.mark.parametrize("factor", [3, 7, 97])
def test_normalized_flows_between_blocks_in_proportion_are_exactly_zero(factor):
    """Each two bins of q hold `factor` times those of p; the quotients of single bins are no floats."""
    q = np.random.default_rng(factor).integers(1, 2**20, (20, 8, 2))
    q[..., 1] += -q.sum(-1) % factor
    total = q.sum(-1) // factor
    p = np.stack([total // 2, total - total // 2], axis=-1)
    got = emdref.flow(p.reshape(20, 16), q.reshape(20, 16), emdref.Chain(16), mass="normalize")
    assert not got[:, 1::2].any()


@pytest.mark.parametrize("total", [1 + 2.0**-52, 3])
def test_signs_of_normalized_flows_at_the_bottom_of_the_range(total):
    """x/1 and y/total differ by less than a smallest subnormal, where arithmetic itself is inexact."""
    y, one = np.arange(1, 200), np.ones(199)
    p = np.stack([np.rint(y / total) * np.finfo(float).smallest_subnormal, one], axis=1)
    q = np.stack([y * np.finfo(float).smallest_subnormal, total * one], axis=1)
    raw = emdref.emd_grad(p, q, emdref.Chain(2), gauge="raw", mass="normalize")
    exact = [cases.exact_flow(a, b, emdref.Chain(2), normalize=True)[0] for a, b in zip(p, q, strict=True)]
    assert signs(raw[:, 0]) == signs(exact)


def test_a_total_whose_last_mass_is_subnormal():
    """q's total is 2 + 5e-324, which no scaling by a power of two may round to 2: the flows are not exactly 0."""
    p, q = np.array([1.0, 1.0, 0.0]), np.array([1.0, 1.0, np.finfo(float).smallest_subnormal])
    raw = emdref.emd_grad(p, q, emdref.Chain(3), gauge="raw", mass="normalize")
    assert raw.tolist() == cases.exact_grad(p, q, emdref.Chain(3), 1, "raw", True) == [2, 1, 0]


@each_dtype
@pytest.mark.parametrize("sigma", [1, 2, 4, 8])
def test_a_softmax_in_its_own_dtype_passes_the_mass_check(sigma, dtype):
    p, q = cases.softmax(np.random.default_rng(sigma), (2, 200, 1000), dtype, sigma)
    assert np.isfinite(emdref.emd(p, q, emdref.Chain(1000), accuracy="native")).all()


# --- native -----------------------------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "subnormals"])  # errors relative to the range's end
@each_space
def test_native_within_its_error_bound(name, family, dtype):
    """A flow errs by at most N eps S with S = sum |p - q|, since bins are subtracted before they are summed; the value
    by rho S**(rho-1) sum(M) times that, and N more roundings of the terms: 4 N eps in all, with some room.  The same
    holds of slopes, with rho**2."""
    space, p, q = cases.case(name, family, dtype)
    n, total = Fraction(space.n_nodes), sum(abs(a - b) for a, b in zip(*cases.exact_pair(p, q), strict=True))
    cost, unit = sum(c for c, _ in cases.edges(space).values()), 4 * n * eps(dtype)
    assert_within(emdref.flow(p, q, space, accuracy="native"), cases.exact_flow(p, q, space), unit * total)
    for rho in (1, 2, 3, 4):
        value, grad = emdref.emd_value_and_grad(p, q, space, rho, gauge="raw", accuracy="native")
        assert value.dtype == grad.dtype == dtype
        assert_within(value, [cases.exact_emd(p, q, space, rho)], unit * rho * cost * total**rho)
        if rho > 1:
            exact = cases.exact_grad(p, q, space, rho, "raw")
            assert_within(grad, exact, unit * rho**2 * cost * total ** (rho - 1))


@each_dtype
@each_gauge
@pytest.mark.parametrize("rho", [1, 2, 3, 4, 2.5])
def test_native_gauges(rho, gauge, dtype):
    """Sums of small integers are exact; gauge, normaliser and pow round: 64 eps max |r| leaves room for N terms."""
    p, q = cases.histograms("integers", 16, dtype)
    tree = emdref.Tree([-1] + [v // 2 for v in range(16)], bins=np.arange(16))
    got = emdref.emd_grad(p, q, tree, rho, gauge=gauge, accuracy="native")
    r = oracles.raw_grad_real(*cases.exact_pair(p, q, gauge == "normalized"), cases.edges(tree), rho)
    exact = oracles.gauged(r, oracles.fractions(p), gauge)
    unit = max(map(abs, r)) * {"scaled": 16, "normalized": 1 / Fraction(float(p.sum()))}.get(gauge, 1)
    assert_within(got, exact, 64 * eps(dtype) * unit)


@each_dtype
def test_native_rounds_costs_to_the_dtype_and_compensated_does_not(dtype):
    cost = 1 + 2.0**-40
    p, q, space = np.array([1, 0], dtype), np.array([0, 1], dtype), emdref.Chain(gaps=[cost])
    assert emdref.emd(p, q, space, accuracy="native") == dtype(cost)
    many = np.array([2.0**30, 0], np.float64)
    assert emdref.emd(many, many[::-1], space) == 2.0**30 * cost


@each_dtype
def test_native_normalize(dtype):
    space, p, q = cases.case("random_tree", "flat_softmax", dtype)
    got = emdref.emd(3 * p, q / 7, space, 2, mass="normalize", accuracy="native")
    np.testing.assert_allclose(got, emdref.emd(p, q, space, 2), rtol=4 * len(p) * np.finfo(dtype).eps)  # N additions


# --- the ends of the range --------------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("name", ["chain", "random_tree"])
def test_masses_near_the_largest_float(name, dtype):
    space, p, q = cases.case(name, "flat_softmax", dtype)
    top = np.finfo(dtype).max / dtype(1000)
    value, grad = emdref.emd_value_and_grad(p * top, q * top, space)
    assert_within_ulps(value, [cases.exact_emd(p * top, q * top, space, 1)])
    unit = cases.grad_unit(p * top, q * top, space, 1, "zero_sum")
    assert_within(grad, cases.exact_grad(p * top, q * top, space, 1, "zero_sum"), 8 * eps(dtype) * unit)


@pytest.mark.parametrize("rho", [1, 2, 1.5])
@pytest.mark.parametrize("call", [emdref.emd, emdref.emd_grad])
def test_totals_beyond_the_largest_float_are_no_obstacle(call, rho):
    p, chain = np.array([0.5, 0.5, 0, 0]), emdref.Chain(4)
    top = np.finfo(float).max
    got = call(p * 2 * top, p[::-1] * 2 * top, chain, rho, mass="normalize")
    np.testing.assert_allclose(got, call(p, p[::-1], chain, rho), rtol=8 * np.finfo(float).eps)  # 8 eps max |r|


def test_flows_beyond_the_largest_float_still_give_a_finite_value():
    p, space = np.array([1e308, 1e308, 0, 0]), emdref.Chain(gaps=[1e-10] * 3)
    assert_within_ulps(emdref.emd(p, p[::-1], space), [cases.exact_emd(p, p[::-1], space, 1)])


@each_dtype
@pytest.mark.parametrize(
    ("call", "rho"),
    [
        *itertools.product([emdref.emd, emdref.emd_value_and_grad], [1, 2, 3, 4, 1.5, 1e6]),
        *itertools.product([emdref.emd_grad], [2, 3, 4, 1e6]),
    ],
)
def test_a_result_beyond_the_range_is_inf_with_one_warning(call, rho, dtype):
    big, space = np.array([[np.finfo(dtype).max, 0], [1, 0]], dtype), emdref.Chain(gaps=[4.0])
    with pytest.warns(RuntimeWarning, match=f"beyond the range of {np.dtype(dtype)}") as caught:
        got = call(big, big[:, ::-1], space, rho)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.ravel(got[0])[0] == np.inf
    assert np.isfinite(np.ravel(got[-1])[-1])


@pytest.mark.parametrize("rho", [3, 4, 3.5])
def test_an_exact_zero_beside_gradients_beyond_the_range(rho):
    with pytest.warns(RuntimeWarning, match="2 entries of the gradient"):
        grad = emdref.emd_grad([0, 0, 1.7e308], [1.7e308, 0, 0], emdref.Chain(3), rho)
    assert grad.tolist() == [-np.inf, 0, np.inf]
    with pytest.warns(RuntimeWarning, match="product"):
        product = emdref.emd_hvp([0, 0, 1.7e308], [1.7e308, 0, 0], emdref.Chain(3), [1.0, 0, -1], rho)
    assert product.tolist() == [np.inf, 0, -np.inf]


@pytest.mark.parametrize("rho", [1, 2, 3])
def test_what_cancels_exactly_is_0_beside_gradients_beyond_float32(rho):
    """Rounding in float64, a tiny part of the cost, was beyond float32."""
    rng = np.random.default_rng(rho)
    p, q = np.zeros((2, 60, 10), np.float32)
    p[:, :3], q[:, 8:] = rng.random((60, 3)), rng.random((60, 2))
    for _ in range(10):
        space = emdref.Chain(gaps=[0, 0, *(rng.random(6) * 10 ** rng.uniform(230, 249, 6)), 0])
        with pytest.warns(RuntimeWarning, match="beyond the range of float32"):
            found = emdref.emd_grad(p, q, space, rho, gauge="normalized", mass="normalize")
        assert not found[:, :3].any()
        assert np.isneginf(found[:, 8:]).all()


def test_a_flow_beyond_the_range_is_inf_with_one_warning():
    big = np.array([1e308, 1e308, 0, 0])
    with pytest.warns(RuntimeWarning, match="flow are beyond the range of float64") as caught:
        assert emdref.flow(big, big[::-1], emdref.Chain(4)).tolist() == [1e308, np.inf, 1e308]
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_finite_gradient_of_an_infinite_value_does_not_warn():
    big = np.array([1e308, 0, 0])
    assert emdref.emd_grad(big, big[::-1], emdref.Chain(3)).tolist() == [1, 0, -1]


@pytest.mark.parametrize("rho", [1, 2, 4, 2.5])
def test_value_of_cheap_edges_beside_an_unused_costly_one(rho):
    """The costs are 2**2000 apart, further than any scaling by the largest one can hold."""
    space = emdref.Chain(gaps=[2.0**-1000, 2.0**1000])
    value, grad = emdref.emd_value_and_grad([1, 0, 1], [0, 1, 1], space, rho, gauge="raw")
    assert value == 2.0**-1000
    assert grad.tolist() == [rho * 2.0**-1000, 0, 0]


@pytest.mark.parametrize(
    ("mass", "cost", "rho"),
    [(2.0**700, 2.0**-1000, 1.5), (2.0**-500, 2.0**1000, 2.5), (0.4, 2.0**1000, 1e3), (3.0, 2.0**-1000, 1e3)],
)
def test_powers_beyond_the_range_times_costs_that_bring_them_back(mass, cost, rho):
    space = emdref.Chain(gaps=[cost])
    exact = oracles.power(Fraction(mass), rho) * Fraction(cost)
    assert_within_ulps(emdref.emd([mass, 0], [0, mass], space, rho), [exact], 5)


# --- rows, shapes, dtypes ---------------------------------------------------------------------------------------------


def everything(p, q, space, accuracy):
    value, grad = emdref.emd_value_and_grad(p, q, space, 2, accuracy=accuracy)
    return np.concatenate([value[:, None], grad, emdref.flow(p, q, space, accuracy=accuracy)], axis=1)


@each_dtype
@each_accuracy
@pytest.mark.parametrize("name", ["chain", "random_tree"])
def test_a_row_does_not_depend_on_its_batch(name, accuracy, dtype):
    space, rng = cases.space(name), np.random.default_rng(3)
    p, q = cases.softmax(rng, (2, 70, space.n_bins), dtype, 4.0)
    whole, order = everything(p, q, space, accuracy), rng.permutation(70)
    np.testing.assert_array_equal(everything(p[order], q[order], space, accuracy), whole[order])
    np.testing.assert_array_equal(everything(p[11:12], q[11:12], space, accuracy), whole[11:12])
    np.testing.assert_array_equal(everything(p[:33], q[:33], space, accuracy), whole[:33])


@each_dtype
@each_accuracy
@pytest.mark.parametrize("name", ["chain", "random_tree"])
def test_a_row_does_not_depend_on_threads(name, accuracy, dtype, monkeypatch):
    space, rng = cases.space(name), np.random.default_rng(4)
    p, q = cases.softmax(rng, (2, 70, space.n_bins), dtype, 4.0)
    monkeypatch.setattr(threads, "_SERIAL_WORK", 1)
    monkeypatch.setenv("EMDREF_NUM_THREADS", "3")
    assert threads.thread_count(70, 1000) == 3
    three = everything(p, q, space, accuracy)
    with threads.at_most(1):
        np.testing.assert_array_equal(everything(p, q, space, accuracy), three)
    with threads.at_most(7):
        np.testing.assert_array_equal(everything(p, q, space, accuracy), three)


@each_accuracy
def test_leading_axes_broadcast(accuracy):
    space, rng = cases.space("random_tree"), np.random.default_rng(5)
    p, q = cases.softmax(rng, (3, 1, space.n_bins), np.float64), cases.softmax(rng, (4, space.n_bins), np.float64)
    value, grad = emdref.emd_value_and_grad(p, q, space, accuracy=accuracy)
    flow = emdref.flow(p, q, space, accuracy=accuracy)
    assert (value.shape, grad.shape, flow.shape) == ((3, 4), (3, 4, space.n_bins), (3, 4, space.n_nodes))
    for i, j in np.ndindex(3, 4):
        assert value[i, j] == emdref.emd(p[i, 0], q[j], space, accuracy=accuracy)
        np.testing.assert_array_equal(flow[i, j], emdref.flow(p[i, 0], q[j], space, accuracy=accuracy))


@each_dtype
@each_accuracy
def test_memory_layout_does_not_matter(accuracy, dtype):
    space, rng = cases.space("chain"), np.random.default_rng(6)
    p, q = cases.softmax(rng, (2, 8, space.n_bins), dtype)
    expected = everything(p, q, space, accuracy)
    wide = np.repeat(p, 2, axis=-1)[:, ::2]
    other = np.asfortranarray(q).astype(np.dtype(dtype).newbyteorder())
    got = everything(wide, other, space, accuracy)
    assert got.dtype == dtype and got.dtype.isnative
    np.testing.assert_array_equal(got, expected)


@each_accuracy
def test_inputs_are_left_alone(accuracy):
    space, p, q = cases.case("random_tree", "flat_softmax", np.float64)
    p, q = p.copy(), q.copy()
    before = p.copy(), q.copy()
    everything(p[None], q[None], space, accuracy)
    assert p.flags.writeable and q.flags.writeable
    np.testing.assert_array_equal([p, q], before)


@each_accuracy
@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int64, np.uint64])
def test_integers_count_as_float64(kind, accuracy):
    p, q = np.array([3, 0, 1], kind), np.array([0, 4, 0], kind)
    value, grad = emdref.emd_value_and_grad(p, q, emdref.Chain(3), accuracy=accuracy)
    assert (value, value.dtype, grad.dtype) == (4.0, np.float64, np.float64)
    assert emdref.flow(p, q, emdref.Chain(3), accuracy=accuracy).dtype == np.float64


@each_dtype
@each_accuracy
def test_one_pair_gives_scalars_and_a_batch_gives_arrays(accuracy, dtype):
    p, chain = np.array([0.25, 0.75], dtype), emdref.Chain(2)
    assert isinstance(emdref.emd(p, p, chain, accuracy=accuracy), dtype)
    assert emdref.emd(p[None], p, chain, accuracy=accuracy).shape == (1,)
    assert emdref.emd_grad(p, p, chain, accuracy=accuracy).shape == (2,)
    assert emdref.flow(p, p, chain, accuracy=accuracy).shape == (1,)


@each_accuracy
def test_an_empty_batch_gives_empty_results(accuracy):
    none, chain = np.empty((0, 3)), emdref.Chain(3)
    value, grad = emdref.emd_value_and_grad(none, none, chain, accuracy=accuracy)
    assert (value.shape, grad.shape) == ((0,), (0, 3))
    assert emdref.flow(none, none, chain, accuracy=accuracy).shape == (0, 2)


@each_accuracy
@pytest.mark.parametrize("space", [emdref.Chain(1), emdref.Tree([-1]), emdref.Tree([-1, 0])])
def test_one_bin_is_at_distance_zero(space, accuracy):
    value, grad = emdref.emd_value_and_grad([2.0], [2.0], space, accuracy=accuracy)
    assert value == 0 and grad.tolist() == [0]
    assert not emdref.flow([2.0], [2.0], space, accuracy=accuracy).any()


@each_dtype
@each_accuracy
def test_a_kink_contributes_nothing(accuracy, dtype):
    p, q = np.array([1, 1, 0, 1, 0], dtype), np.array([1, 0, 1, 0, 1], dtype)
    assert emdref.emd_grad(p, q, emdref.Chain(5), gauge="raw", accuracy=accuracy).tolist() == [2, 2, 1, 1, 0]


def test_no_warning_on_ordinary_input():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        emdref.emd_value_and_grad([0.5, 0.5], [1.0, 0.0], emdref.Chain(2), 2)
