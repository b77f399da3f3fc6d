"""Bins on a ring against trying out, linear programs, other solvers, symmetry, and the chain."""

import pickle
import warnings
from fractions import Fraction

import hostile
import numpy as np
import ot
import pytest
import scipy.sparse
from scipy.optimize import linprog

import emdref
import oracles
from cases import DTYPES, GAUGES, assert_within, assert_within_ulps, eps, exact_pair
from emdref import fallback
from emdref.closed_form import exact_rows

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def opposite(rng, n, dtype):
    """Mass on one side, wanted on the other: the median is an interval."""
    p, q = np.zeros(n), np.zeros(n)
    p[0] = q[n // 2] = 1
    return p, q


def tied(rng, n, dtype):
    return rng.integers(0, 3, n) + 0.0, rng.integers(0, 3, n) + 0.0


FAMILIES = {**hostile.FAMILIES, "opposite": opposite, "tied": tied}


def gaps_of(kind, rng, n):
    return {
        "unit": np.ones(n),
        "some zero": rng.integers(0, 3, n).astype(float),
        "none": np.zeros(n),
        "tenths": np.resize([0.1, 0.2, 0.3], n),  # of which sums nearly reach a half
        "far": 10.0 ** rng.uniform(-300, 300, n),
        "full": rng.random(n),
    }[kind]


def drawn(family, kind, n, dtype):
    rng = np.random.default_rng([n, *family.encode(), *kind.encode()])
    with np.errstate(under="ignore"):
        p, q = (np.asarray(x).astype(dtype) for x in FAMILIES[family](rng, n, dtype))
    p[-1] += not p.any()
    q[0] += not q.any()
    return p, q, emdref.Circle(gaps=gaps_of(kind, rng, n))


def truth(p, q, circle, rho, normalize=False):
    return oracles.ring(*exact_pair(p, q, normalize), circle.gaps, rho)


def in_range(got, exact):
    """Results beyond the range are inf, the others are asked for digits."""
    top = Fraction(float(np.finfo(got.dtype).max))
    keep = [i for i, x in enumerate(exact) if abs(x) <= top]
    return got[keep], [exact[i] for i in keep]


CASES = [
    *[("tied", kind, n) for kind, n in (("unit", 2), ("some zero", 5), ("tenths", 9), ("none", 4))],
    *[("opposite", kind, n) for kind, n in (("unit", 8), ("tenths", 6), ("full", 7))],
    *[("wide", "full", 12), ("moved", "tenths", 9), ("barely", "unit", 9), ("terms", "some zero", 14)],
    *[("apart", "full", 5), ("tiny", "unit", 6), ("near_the_top", "full", 3), ("far", "unit", 5), ("wide", "far", 6)],
    *[("rounded", "tenths", 40), ("one_hot", "unit", 1), ("one_hot", "full", 30), ("far", "none", 3)],
]


@each_dtype
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("family", "kind", "n"), CASES)
@pytest.mark.filterwarnings("ignore:.*beyond the range")
def test_values_gradients_and_flows_against_trying(family, kind, n, normalize, dtype):
    p, q, circle = drawn(family, kind, n, dtype)
    mass = "normalize" if normalize else "ignore"
    for rho in (1, 2):
        exact, flows, r = truth(p, q, circle, rho, normalize)
        value, grad = emdref.emd_value_and_grad(p, q, circle, rho, gauge="raw", mass=mass)
        assert_within_ulps(*in_range(np.atleast_1d(value), [exact]))
        assert_within(*in_range(grad, r), 8 * eps(dtype) * max(map(abs, r)))
        if rho == 1 or n < 10:
            got = emdref.flow(p, q, circle, rho, mass=mass)
            assert_within_ulps(*in_range(got, flows))
            small = Fraction(float(np.finfo(dtype).smallest_subnormal))
            assert all(
                np.sign(x) == oracles.sign(f) for x, f in zip(got, flows, strict=True) if abs(f) >= small or not f
            )


@each_dtype
@pytest.mark.parametrize("gauge", GAUGES)
@pytest.mark.parametrize("rho", [1, 2])
def test_gauges(rho, gauge, dtype):
    p, q, circle = drawn("tied", "tenths", 7, dtype)
    _, _, r = truth(p, q, circle, rho, gauge == "normalized")
    unit = max(map(abs, r)) * {"scaled": 7, "normalized": 1 / sum(oracles.fractions(p))}.get(gauge, 1)
    exact = oracles.gauged(r, oracles.fractions(p), gauge)
    assert_within(emdref.emd_grad(p, q, circle, rho, gauge=gauge, mass="ignore"), exact, 8 * eps(dtype) * unit)
    assert emdref.exact.grad(p, q, circle, rho, gauge=gauge) == exact


@pytest.mark.parametrize("rho", [1, 2])
@pytest.mark.parametrize(("family", "kind", "n"), [("tied", "some zero", 6), ("opposite", "unit", 8)])
def test_exact_rationals(family, kind, n, rho):
    p, q, circle = drawn(family, kind, n, np.float64)
    exact = truth(p, q, circle, rho)
    got = emdref.exact.emd(p, q, circle, rho), emdref.exact.flow(p, q, circle, rho)
    assert (*got, emdref.exact.grad(p, q, circle, rho, gauge="raw")) == exact


@pytest.mark.parametrize("call", ["emd", "flow", "grad"])
def test_exact_rationals_of_other_powers_are_refused(call):
    with pytest.raises(ValueError, match=r"rho = 3: on Circle flows are irrational"):
        getattr(emdref.exact, call)([1, 0, 0], [0, 1, 0], emdref.Circle(3), 3)


@pytest.mark.parametrize("rho", [1.0000001, 1.01, 1.1, 1.5, 2.5, 3, 4, 7.3, 50, 100, 1e20])
def test_other_powers_balance_around_the_ring(rho):
    """Sums of slopes are 0, to what pow of the C library leaves of them; the value is the flow's."""
    p, q, circle = (
        np.array([0.5, 0.25, 0.125, 0.125]),
        np.array([0.1, 0.2, 0.3, 0.4]),
        emdref.Circle(gaps=[1, 0.5, 2, 1.5]),
    )
    value, grad = emdref.emd_value_and_grad(p, q, circle, rho, gauge="raw")
    exact, r = exact_rows.numbers(p, q, circle, rho, False, "raw")
    assert_within(grad, map(Fraction, r), 8 * eps(np.float64) * Fraction(max(map(abs, r))))
    assert_within_ulps(np.atleast_1d(value), [Fraction(exact)], 5)
    flow = emdref.flow(p, q, circle, rho)
    np.testing.assert_allclose(np.diff(flow), (p - q)[1:], rtol=1e-14, atol=1e-16)
    if 1.01 < rho <= 100:
        slopes = circle.gaps * np.sign(flow) * np.abs(flow / np.abs(flow).max()) ** (rho - 1)
        assert abs(slopes.sum()) <= 8 * rho * np.finfo(float).eps * np.abs(slopes).sum()


@pytest.mark.parametrize("rho", [1.01, 1.5, 3, 20, 100])
@pytest.mark.parametrize("kind", ["unit", "full", "some zero", "spread"])
def test_slopes_of_other_powers_against_decimals(kind, rho):
    """Also where c lies next to a flow, for one edge has most of the weight."""
    rng = np.random.default_rng(5)
    p, q = rng.random((2, 12))
    circle = emdref.Circle(gaps=2.0 ** rng.uniform(-90, 90, 12) if kind == "spread" else gaps_of(kind, rng, 12))
    for normalize in (False, True):
        grad = emdref.emd_grad(p, q, circle, rho, gauge="raw", mass="normalize" if normalize else "ignore")
        _, r = exact_rows.numbers(p, q, circle, rho, normalize, "raw")
        assert_within(grad, map(Fraction, r), 100 * eps(np.float64) * Fraction(max(map(abs, r))))


# --- other solvers ----------------------------------------------------------------------------------------------------


def least_cost(p, q, gaps):
    """The flow of least cost by a linear program over both directions of every edge."""
    n = len(p)
    keeps = np.eye(n) - np.roll(np.eye(n), 1, axis=0)  # what leaves a bin less what comes in
    return linprog(np.concatenate([gaps, gaps]), A_eq=np.hstack([keeps, -keeps]), b_eq=p - q, method="highs").fun


@pytest.mark.parametrize("n", [1, 2, 3, 10, 33])
def test_a_linear_program(n):
    rng = np.random.default_rng(n)
    p, q = rng.dirichlet(np.ones(n), 2)
    circle = emdref.Circle(gaps=rng.random(n))
    assert emdref.emd(p, q, circle) == pytest.approx(least_cost(p, q, circle.gaps), abs=1e-8)


def test_wasserstein_circle_of_pot():
    rng = np.random.default_rng(3)
    places = np.sort(rng.random(20))
    p, q = rng.dirichlet(np.ones(20), 2)
    other = ot.wasserstein_circle(places, places, p, q, p=1)
    assert emdref.emd(p, q, emdref.Circle(positions=places, period=1)) == pytest.approx(
        float(np.ravel(other)[0]), rel=1e-6
    )


@pytest.mark.parametrize("rho", [1, 2, 3, 1.5])
def test_a_chain_where_nothing_crosses_an_edge(rho):
    """The last edge costs so much that c is 0; what a chain gives is its flow."""
    rng = np.random.default_rng(1)
    p, gaps = rng.integers(0, 9, 10) + 0.0, rng.random(9)
    q = rng.permutation(p)
    value, grad = emdref.emd_value_and_grad(p, q, emdref.Circle(gaps=[*gaps, 2.0**190]), rho)
    if rho == 1:
        assert emdref.flow(p, q, emdref.Circle(gaps=[*gaps, 2.0**190]), rho)[-1] == 0
    expected = emdref.emd_value_and_grad(p, q, emdref.Chain(gaps=gaps), rho)
    far = 1e-12 if rho < 3 else 1e-9
    np.testing.assert_allclose(value, expected[0], rtol=far)
    if rho != 1:  # there edges without flow have other subgradients
        np.testing.assert_allclose(grad, expected[1], rtol=0, atol=far * np.abs(expected[1]).max())


# --- symmetry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [1, 2])
def test_rotation_reflection_and_exchange(rho):
    """Exact: masses are integers and costs short."""
    rng = np.random.default_rng(rho)
    for n in (2, 5, 8):
        p, gaps = rng.integers(0, 4, n), rng.integers(1, 5, n)
        q = rng.permutation(p)
        flow, grad = (f(p, q, emdref.Circle(gaps=gaps), rho) for f in (emdref.exact.flow, emdref.exact.grad))
        turned = emdref.Circle(gaps=np.roll(gaps, 1))
        assert emdref.exact.flow(np.roll(p, 1), np.roll(q, 1), turned, rho) == [flow[-1], *flow[:-1]]
        assert emdref.exact.grad(np.roll(p, 1), np.roll(q, 1), turned, rho) == [grad[-1], *grad[:-1]]
        mirrored = emdref.Circle(gaps=[*gaps[:-1][::-1], gaps[-1]])
        assert emdref.exact.flow(p[::-1], q[::-1], mirrored, rho) == [-f for f in (*flow[:-1][::-1], flow[-1])]
        assert emdref.exact.grad(p[::-1], q[::-1], mirrored, rho) == grad[::-1]
        assert emdref.exact.flow(q, p, emdref.Circle(gaps=gaps), rho) == [-f for f in flow]
        assert emdref.exact.grad(q, p, emdref.Circle(gaps=gaps), rho) == [-g for g in grad]


def test_the_gradient_is_the_derivative():
    """At rho = 2 differences are exact: the value is a quadratic form."""
    p, q, circle = [3, 1, 1, 2], [1, 1, 3, 2], emdref.Circle(gaps=[1, 2, 0.5, 1])
    grad = emdref.exact.grad(p, q, circle, 2, gauge="raw")
    for k in range(4):
        up, down = ([x + (i == k) * s for i, x in enumerate(p)] for s in (Fraction(1, 8), Fraction(-1, 8)))
        step = (emdref.exact.emd(up, q, circle, 2) - emdref.exact.emd(down, q, circle, 2)) * 4
        assert step == grad[k]


# --- selection --------------------------------------------------------------------------------------------------------

ORDERS = {
    "sorted": lambda k, n: k,
    "reversed": lambda k, n: n - k,
    "constant": lambda k, n: 0 * k + 3,
    "two values": lambda k, n: k % 2,
    "organ pipe": lambda k, n: np.minimum(k, n - k),
    "valley": lambda k, n: np.maximum(k, n - k),
    "from both ends": lambda k, n: np.where(k % 2 == 0, k // 2, n - k // 2),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("n", [199, 201, 4097, 20_000])
def test_the_median_of_any_order(n, order):
    """Whole numbers, of which float64 holds all sums; 20,000 bins in bad orders once took n^2 steps."""
    k = np.arange(n)
    phi = np.append(ORDERS[order](k, n)[:-1], 0).astype(float)
    net = np.diff(phi, prepend=0)
    gaps = np.where(k == n // 3, n - 1, 1)  # which alone has half of the weight
    c = np.sort(np.repeat(phi, gaps))[n - 2 : n + 1]  # n - 1 edges and n - 1 others
    p, q = np.maximum(net, 0), np.maximum(-net, 0)
    assert emdref.emd(p, q, emdref.Circle(gaps=gaps), mass="ignore") == (gaps * abs(phi - c[0])).sum()
    middle = np.median(phi)
    assert emdref.emd(p, q, emdref.Circle(n), mass="ignore") == abs(phi - middle).sum()


def test_a_million_bins():
    n = 10**6
    p, q = np.zeros((2, n))
    p[0] = q[n // 4] = 1
    value, grad = emdref.emd_value_and_grad(p, q, emdref.Circle(n))
    assert value == n // 4
    assert grad[0] - grad[n // 4] == n // 4
    assert np.flatnonzero(emdref.flow(p, q, emdref.Circle(n))).tolist() == list(range(n // 4))


def test_sums_that_two_limbs_cannot_hold_come_from_rationals():
    p = np.resize([1, 0, 2.0**-60, 0, 2.0**-130, 0], 12)
    with fallback.counting() as count:
        value = emdref.emd(p, np.roll(p, 1), emdref.Circle(12))
    assert count.exact == 1
    assert_within_ulps(np.atleast_1d(value), [truth(p, np.roll(p, 1), emdref.Circle(12), 1)[0]])


# --- proofs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "kind", "n"), [("tied", "some zero", 6), ("opposite", "unit", 6), ("wide", "full", 5)]
)
def test_certificates(family, kind, n):
    p, q, circle = drawn(family, kind, n, np.float64)
    proof = emdref.certify(p, q, circle, mass="ignore")
    exact, flows, _ = truth(p, q, circle, 1)
    assert proof.verify()
    assert Fraction(proof.lower) <= exact <= Fraction(proof.upper)
    assert proof.sign.tolist() == list(map(oracles.sign, flows))
    for name in ("value", "lower", "upper", "flow", "sign", "grad_lower", "grad_upper", "potential", "excess"):
        good = getattr(proof, name)
        setattr(proof, name, good + 1)
        assert not proof.verify(), name
        setattr(proof, name, good)
    for name, bad in (("at_kink", ~proof.at_kink), ("digest", ""), ("space", emdref.Circle(gaps=circle.gaps + 1))):
        good = getattr(proof, name)
        setattr(proof, name, bad)
        assert not proof.verify(), name
        setattr(proof, name, good)
    assert proof.verify()


@pytest.mark.parametrize("case", range(6))
def test_intervals_of_subgradients_against_linear_programs(case):
    """f_k over all potentials with f = 0 at the last bin that change by at most a gap and whose value is the EMD."""
    rng = np.random.default_rng(case)
    n = 4
    p, gaps = rng.integers(0, 3, n), rng.integers(0, 3, n)
    p[0] += 1
    q = rng.permutation(p)
    proof = emdref.certify(p, q, emdref.Circle(gaps=gaps))
    steps = np.eye(n) - np.roll(np.eye(n), 1, axis=1)  # f_i - f_(i+1)
    given = {
        "A_ub": np.vstack([steps, -steps]),
        "b_ub": np.concatenate([gaps, gaps]),
        "A_eq": np.vstack([p - q, np.eye(n)[-1]]),
        "b_eq": [proof.value, 0],
        "bounds": (None, None),
    }
    for k in range(n):
        ends = [sign * linprog(sign * np.eye(n)[k], **given).fun for sign in (1, -1)]
        np.testing.assert_allclose((proof.grad_lower[k], proof.grad_upper[k]), ends, atol=1e-7)


def ring_emd(p, q, closes=True, apart=False, centre=np.median):
    phi = np.cumsum(p) - np.cumsum(q) if apart else np.cumsum(p - q)
    phi = phi[:-1] if not closes else np.append(phi[:-1], 0)
    return np.abs(phi - (centre(phi) if closes else 0)).sum()


def test_check_tells_right_from_wrong():
    circle = emdref.Circle(9)
    options = {"cases": ["easy"]}
    assert emdref.check(ring_emd, circle, **options).passed
    wrong = emdref.check(lambda p, q: ring_emd(p, q, closes=False), circle, **options)
    assert not wrong.passed
    assert "chain" in str(wrong)
    assert not emdref.check(
        lambda p, q: np.abs(np.cumsum(p - q) - np.cumsum(p - q).mean()).sum(), circle, **options
    ).passed
    assert not emdref.check(lambda p, q: ring_emd(p, q, apart=True), circle, cases=["hostile"]).passed
    assert emdref.check(lambda p, q: emdref.emd_value_and_grad(p, q, circle), circle, **options).passed


# --- Sinkhorn, pairs, sparse rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"domain": "log"}, {"variant": "cuturi"}, {"dtype": "bfloat16"}], ids=str)
def test_sinkhorn_multiplies_by_the_matrix(options):
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(6), 2)
    circle = emdref.Circle(gaps=rng.random(6))
    by_space = emdref.sinkhorn(p, q, circle, 5, **options)
    by_matrix = emdref.sinkhorn(p, q, circle.distance_matrix(), 5, **options)
    np.testing.assert_allclose(by_space.value, by_matrix.value, rtol=1e-13)


def test_sinkhorn_is_certified():
    proof = emdref.certify_sinkhorn([0.5, 0.25, 0.25], [0.25, 0.25, 0.5], emdref.Circle(3), 5)
    assert proof.verify()


def test_the_matrix_holds_the_shorter_way():
    circle = emdref.Circle(gaps=[1, 2, 0.5, 4])
    around = [0, 1, 3, 3.5]
    shorter = [[min(abs(a - b), 7.5 - abs(a - b)) for b in around] for a in around]
    np.testing.assert_array_equal(circle.distance_matrix(), shorter)
    assert circle.diameter == np.max(shorter)


@pytest.mark.parametrize("accuracy", ["compensated", "native"])
@pytest.mark.parametrize("mass", ["raise", "normalize", "ignore"])
def test_all_pairs(mass, accuracy):
    X = np.random.default_rng(0).dirichlet(np.ones(5), 4)
    circle = emdref.Circle(gaps=[1, 2, 3, 4, 0])
    expected = emdref.emd(X[:, None], X, circle, mass=mass, accuracy=accuracy)
    options = {"mass": mass, "accuracy": accuracy}
    np.testing.assert_allclose(emdref.pairwise(X, circle, **options), expected, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(emdref.pairwise(X, circle, Y=X[:2], **options), expected[:, :2], rtol=1e-14, atol=1e-15)
    sparse = emdref.pairwise(scipy.sparse.csr_array(X), circle, **options)
    np.testing.assert_allclose(sparse, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("accuracy", ["compensated", "native"])
def test_shapes_sparse_rows_and_places_for_results(accuracy):
    rng = np.random.default_rng(2)
    p, q = rng.dirichlet(np.ones(6), (2, 3)), rng.dirichlet(np.ones(6), 3)
    circle, options = emdref.Circle(6), {"accuracy": accuracy}
    value, grad = emdref.emd_value_and_grad(p, q, circle, **options)
    assert value.shape == (2, 3)
    for i in np.ndindex(2, 3):
        assert value[i] == emdref.emd(p[i], q[i[1]], circle, **options)
        np.testing.assert_array_equal(grad[i], emdref.emd_grad(p[i], q[i[1]], circle, **options))
    rows = scipy.sparse.csr_array(p[0])
    np.testing.assert_array_equal(emdref.emd(rows, q, circle, **options), value[0])
    out = np.empty((2, 3))
    assert emdref.emd(p, q, circle, out=out, **options) is out
    np.testing.assert_array_equal(out, value)
    assert emdref.flow(p, q, circle, **options).shape == (2, 3, 6)
    assert emdref.emd(p[:0], q, circle, **options).shape == (0, 3)


@each_dtype
def test_native_is_near(dtype):
    p, q, circle = drawn("tied", "tenths", 9, dtype)
    for rho in (1, 2, 3, 1.5):
        got = emdref.emd_value_and_grad(p, q, circle, rho, accuracy="native", mass="ignore")
        best = emdref.emd_value_and_grad(p, q, circle, rho, mass="ignore")
        assert got[0].dtype == got[1].dtype == dtype
        np.testing.assert_allclose(got[0], best[0], rtol=100 * np.finfo(dtype).eps)


@each_dtype
def test_native_flows_are_in_the_rows_dtype_and_near(dtype):
    rng = np.random.default_rng(7)
    for n in (1, 2, 7, 300):
        circle = emdref.Circle(gaps=rng.random(n))
        p, q = (x.astype(dtype) for x in rng.random((2, 3, n)))
        for rho, mass in ((1, "ignore"), (2, "normalize"), (3, "ignore")):
            got = emdref.flow(p, q, circle, rho, mass=mass, accuracy="native")
            right = emdref.flow(p, q, circle, rho, mass=mass)
            size = np.abs(np.cumsum(p - q, axis=1)).max() + 1
            assert got.dtype == dtype
            assert np.abs(got - right).max() <= 16 * n * np.finfo(dtype).eps * size


def test_totals_that_differ():
    circle = emdref.Circle(3)
    with pytest.raises(ValueError, match="mass"):
        emdref.emd([1.0, 0, 0], [0, 2.0, 0], circle)
    assert (
        emdref.emd([1.0, 0, 0], [0, 2.0, 0], circle, mass="ignore") == 2
    )  # one goes on to bin 1, one comes from bin 2
    assert emdref.emd([1.0, 0, 0], [0, 2.0, 0], circle, mass="normalize") == 1


# --- what a circle is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({}, ValueError, "exactly one"),
        ({"n": 3, "gaps": [1.0]}, ValueError, "exactly one"),
        ({"n": 0}, ValueError, "n"),
        ({"gaps": []}, ValueError, "gaps is empty"),
        ({"gaps": [1.0, -1.0]}, ValueError, r"gaps\[1\]"),
        ({"gaps": [1.0, np.nan]}, ValueError, r"gaps\[1\]"),
        ({"gaps": [[1.0]]}, ValueError, "gaps"),
        ({"positions": [0.0, 2.0, 1.0]}, ValueError, "positions"),
        ({"positions": [0.0, 7.0]}, ValueError, "period = 6.28.* is not larger than the span"),
        ({"positions": [0.0, 1.0], "period": 1}, ValueError, "not larger than the span"),
        ({"positions": [0.0, 1.0], "period": -1}, ValueError, "period"),
        ({"n": 3, "period": 1}, ValueError, "period"),
    ],
)
def test_bad_circles(given, error, words):
    with pytest.raises(error, match=words):
        emdref.Circle(**given)


def test_positions_and_the_period():
    circle = emdref.Circle(positions=[0, 1, 3], period=4.5)
    assert circle.gaps.tolist() == [1, 2, 1.5]
    assert circle.bin_labels.tolist() == [0, 1, 3]
    assert emdref.Circle(positions=[1.0]).gaps[0] == 2 * np.pi
    for one in (circle, emdref.Circle(4), emdref.Circle(gaps=[1.0, 2.0])):
        again = pickle.loads(pickle.dumps(one))
        assert again.gaps.tolist() == one.gaps.tolist()
        assert again.digest == one.digest


UNIFORM = np.full(3, 1 / 3)
REFUSED = {
    "emd_hess": lambda s: emdref.emd_hess(UNIFORM, UNIFORM, s, 2),
    "emd_hvp": lambda s: emdref.emd_hvp(UNIFORM, UNIFORM, s, UNIFORM, 2),
    "exact.hess": lambda s: emdref.exact.hess(UNIFORM, UNIFORM, s),
    "plan": lambda s: emdref.plan(UNIFORM, UNIFORM, s),
    'kernel="space"': lambda s: emdref.sinkhorn(UNIFORM, UNIFORM, s, 1, kernel="space"),
}


@pytest.mark.parametrize("call", REFUSED)
def test_what_is_not_offered_is_refused_in_one_way(call):
    with pytest.raises(TypeError, match=rf"{call}.* needs .*, which Circle does not offer, but .*: "):
        REFUSED[call](emdref.Circle(3))


def test_ordinary_rows_raise_no_warning_and_need_no_rationals():
    p, q = np.random.default_rng(0).dirichlet(np.ones(50), (2, 20))
    circle = emdref.Circle(50)
    with warnings.catch_warnings(), fallback.counting() as count:
        warnings.simplefilter("error")
        for rho in (1, 2, 3):
            emdref.emd_value_and_grad(p, q, circle, rho)
        emdref.flow(p, q, circle)
    assert count.exact == 0
