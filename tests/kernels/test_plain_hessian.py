"""Second derivatives in two limbs as plain Python, against rationals, and what is handed to the exact fallback."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

import oracles
import plain
from plain import total

emdref = plain.original()
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

INF = math.inf
TINY = 2.0**-900


def kernels():
    return emdref.kernels.rows.hessian_two_limbs


def cost_between(space, gauge):
    return space.rooted.cost_between(1, space.n_bins - (gauge > 0))


def second(space, p, q, rho, normalize, gauge, v=None):
    layout, n = space.rooted, space.n_bins
    unsafe, infinite = np.full(len(p), -1), np.full(len(p), -1)
    shared = (layout.parent, cost_between(space, gauge), layout.bin_node), (float(rho), normalize, gauge)
    out = np.full((len(p), n, n) if v is None else (len(p), n), np.nan)
    if v is None:
        emdref.kernels.rows.loops.hess_twolimb(p, q, out, unsafe, infinite, np.empty((len(p), 0, 0)), *shared)
    else:
        emdref.kernels.rows.loops.hvp_twolimb(p, q, v, out, unsafe, infinite, np.empty((len(p), 0, 0)), *shared)
    return out, unsafe, infinite


def exact_hess(p, q, edges, rho, gauge, normalize):
    """The matrix and what its errors are counted in."""
    a, b = plain.exactly(p), plain.exactly(q)
    if normalize:
        a, b = oracles.normalized(a), oracles.normalized(b)
    raw = oracles.raw_grad if rho == int(rho) else oracles.raw_grad_real
    r = raw(a, b, edges, rho) if gauge == "normalized" else [Fraction(0)] * len(a)
    some = {e: (cost, under) for e, (cost, under) in edges.items() if gauge == "raw" or len(under) < len(a)}
    h = oracles.raw_hess(a, b, some, rho)  # what moves all bins alike has no second derivative but a raw one
    unit = max(map(max, h)) + 2 * max(map(abs, r))
    unit *= {"scaled": len(a) ** 2, "normalized": 1 / sum(plain.exactly(p)) ** 2}.get(gauge, 1)
    return oracles.gauged_hess(h, r, plain.exactly(p), gauge), unit


def rows(space, edges, rho):
    p, q = plain.pairs(space.n_bins)
    if 1 < rho < 2:  # no flow of 0
        return p[:1], q[:1]
    return p[:4], q[:4]


CASES = [(1, 3), (2, 0), (2, 1), (2, 3), (3, 2), (3, 3), (4, 0), (1.5, 1), (2.5, 3), (7.25, 0), (1.5, 3), (1, 1)]


@pytest.mark.parametrize(("rho", "gauge"), CASES)
def test_hessian_and_product(rho, gauge):
    integer = rho in (1, 2, 3, 4)
    for space, edges in list(plain.spaces(emdref))[:: 1 if (rho, gauge) in ((2, 1), (3, 2)) else 2]:
        p, q = rows(space, edges, rho)
        v = np.arange(p.size).reshape(p.shape) % 5 - 1.7
        matrix, unsafe, infinite = second(space, p, q, rho, gauge == 3, gauge)
        product, unsafe2, infinite2 = second(space, p, q, rho, gauge == 3, gauge, v)
        assert not infinite.any() and not infinite2.any()
        for i in range(len(p)):
            exact, unit = exact_hess(p[i], q[i], edges, rho, plain.GAUGES[gauge], gauge == 3)
            slack = unit / 2 ** (92 if integer else 49)
            if i != 2:  # a flow of 0 has no second derivative to be precise about
                assert not unsafe2[i] and (gauge == 0 or not unsafe[i])
            for x, y in zip(matrix[i].ravel().tolist(), itertools.chain(*exact), strict=True):
                assert unsafe[i] or abs(Fraction(x) - y) <= plain.ulp(y) / 2 + slack
            for x, line in zip(product[i].tolist(), exact, strict=True):
                y = sum(a * Fraction(b) for a, b in zip(line, v[i].tolist(), strict=True))
                assert unsafe2[i] or abs(Fraction(x) - y) <= plain.ulp(y) / 2 + 9 * slack


def test_which_rows_are_safe():
    """Raw entries are relative to themselves, all others to the largest; kinks of rho = 1 and 2 do no harm."""
    chain = emdref.Chain(gaps=[1.0, 2.0, 1.0])
    p, q = np.array([[1.0, 2, 1, 4], [1.0, 2, 1, 4]]), np.array([[2.0, 2, 1, 3], [2.0, 1, 1, 4]])
    for rho, gauge in itertools.product((1, 2, 3), range(4)):
        for v in (None, p):
            _, unsafe, infinite = second(chain, p, q, rho, gauge == 3, gauge, v)
            assert unsafe.tolist() == [False, False] and infinite.tolist() == [0, 0]


def test_an_infinite_curvature_is_named_and_not_called_unsafe():
    chain = emdref.Chain(gaps=[1, 0, 1, 1])  # nodes from the root: bins 4, 3, 2, 1, 0
    p, q = np.array([[1, 0, 0.5, 0, 1.0]] * 2), np.array([[1.0, 0, 0, 0.5, 1], [2, 0, 0.5, 0, 0]])
    for v in (None, p):
        out, unsafe, infinite = second(chain, p, q, 1.5, False, 1, v)
        assert infinite.tolist() == [1, 0] and unsafe.tolist() == [False, False]
        assert np.isnan(out[0]).all() and np.isfinite(out[1]).all()


def test_signs_that_are_not_certain_are_handed_on():
    d = np.array([1, 2.0**-60, 2.0**-120, -1, -(2.0**-60), -(2.0**-120)])
    p, q = np.maximum(d, 0)[None], np.maximum(-d, 0)[None]
    for rho, unsafe in ((3, True), (1.5, True), (2, False)):
        for v in (None, np.ones_like(p)):
            _, again, infinite = second(emdref.Chain(6), p, q, rho, False, 1, v)
            assert again[0] == unsafe and infinite[0] == 0
    assert second(emdref.Chain(6), p, q, 2, True, 3)[1][0]  # the gradient is part of it


def test_what_is_not_computed_is_zero():
    """Neither an edge nor a factor comes with a row that is unsafe or infinite."""
    chain, n = emdref.Chain(6), 6
    layout, d = chain.rooted, np.array([1, 2.0**-60, 2.0**-120, -1, -(2.0**-60), -(2.0**-120)])
    for difference, rho, outcome in (
        (d, 3.0, (False, 0, 0, 0, 0)),
        (np.array([2.0**-400, 0, 0, 0, 0, -(2.0**-400)]), 5.0, (False, 0, 0, 0, 0)),
        (np.array([1.0, -1, 0, 0, 1, -1]), 1.5, (True, 2, 0, 0, 0)),
    ):
        p, q = np.maximum(difference, 0), np.maximum(-difference, 0)
        scratch = [np.full(n, np.nan) for _ in range(5)], [np.full((2, n), np.nan) for _ in range(3)]
        arguments = (layout.parent, layout.cost, layout.bin_node), (rho, False, 1), False
        of_nodes, bent = scratch
        assert emdref.kernels.rows.loops._second(p, q, *arguments, of_nodes[:3], of_nodes[3:], bent) == outcome


def test_a_product_is_relative_to_the_largest_entry():
    """A curvature of 2**-910 is nothing beside one of 1, but an entry of the raw matrix of its own."""
    chain = emdref.Chain(gaps=[1.0, 2.0**-910])
    p, q = np.array([[1.0, 0, 0]]), np.array([[0, 0, 1.0]])
    assert second(chain, p, q, 3, False, 0)[1][0] == True  # noqa: E712
    assert second(chain, p, q, 3, False, 0, p)[1][0] == False  # noqa: E712
    assert second(chain, p, q, 3, False, 1)[1][0] == False  # noqa: E712


def test_powers_beyond_the_range_are_handed_on():
    p, q = np.array([[1.0, 0, 0]]), np.array([[0, 0, 1.0]])
    chain = emdref.Chain(3)
    for scale, rho, unsafe in (
        (2.0**-400, 5.0, True),
        (2.0**-280, 5.0, False),
        (1.0, 2.0**53, True),
        (2.0**-400, 3.0, False),
    ):
        assert second(chain, p * scale, q * scale, rho, False, 1)[1][0] == unsafe
    assert second(chain, p * 2.0**-990, q * 2.0**-990, 2.5, False, 1)[1][0] == False  # noqa: E712
    assert second(chain, p * 0 + 1, q * 0 + 1, 2.5, False, 1)[1][0] == False  # noqa: E712


def test_far_scales():
    gaps = np.array([1.0, 0.75, 3])
    p, q = np.array([[1.0, 2, 3, 1]]), np.array([[2.0, 2, 0.5, 2.5]])
    v = np.array([[1.0, -1, 2, 0.5]])
    for rho, gauge in itertools.product((1, 2, 3), (0, 1, 2, 3)):
        for direction in (None, v):
            base, _, _ = second(emdref.Chain(gaps=gaps), p, q, rho, gauge == 3, gauge, direction)
            for flow, cost in ((-250, 100), (200, -400), (-30, 900)):
                space = emdref.Chain(gaps=np.ldexp(gaps, cost))
                way = None if direction is None else np.ldexp(direction, 31)
                got, unsafe, _ = second(space, np.ldexp(p, flow), np.ldexp(q, flow), rho, gauge == 3, gauge, way)
                up = -2 * flow if gauge == 3 else (rho - 2) * flow if rho != 1 else 0
                assert not unsafe[0] and (got == np.ldexp(base, up + cost + (0 if way is None else 31))).all()


# --- parts ------------------------------------------------------------------------------------------------------------


def test_units():
    h, l, cost = np.array([9.0, 0.5, -0.75]), np.array([0, 1e-17, 2e-17]), np.array([99.0, 3, 1.5])
    assert kernels().units(h, l, cost, 3.0) == (0.75, -2e-17, 2)
    assert kernels().units(h * np.nan, l, cost, 2.0) == (1.0, 0.0, 2)
    assert kernels().units(h, l, cost[[0, 2, 1]], 2.0) == (1.0, 0.0, 2)
    assert kernels().units(h, l, np.array([99.0, 0, 0.2]), 2.0) == (1.0, 0.0, -2)
    assert kernels().units(h, l, cost * [1, 0, 0], 2.0) == (0.0, 0.0, 0)


def bent(h, l, err, cost, rho):
    h, l, err, cost = (np.array([9.0, *np.atleast_1d(x)]) for x in (h, l, err, cost))
    uh, ul, m = kernels().units(h, l, cost, float(rho))
    c = np.full((2, len(h)), np.nan)
    return *kernels().bends(h, l, err, cost, float(rho), uh, ul, m, c), c


@pytest.mark.parametrize("rho", [1, 2, 3, 4, 1.5, 2.5])
def test_bends_in_units(rho):
    """rho (rho-1) M |phi|**(rho-2) in units of u**(rho-2) 2**m, where u is the largest flow or a power of two above."""
    h, l, cost = [0.75, -0.3, 0.6], [1e-17, 2e-17, 0], [1.0, 3.0, 0.0]
    worst, all_, c = bent(h, l, [0, 0, 0], cost, rho)
    assert worst == all_ == 0 and c[:, 0].tolist() == [0, 0] and c[:, 3].tolist() == [0, 0]
    u = total(1) if rho in (1, 2, 3, 4) else total(0.75, 1e-17)
    for v in (0, 1):
        x = abs(total(h[v], l[v])) / u
        power = x ** (rho - 2) if rho in (2, 3, 4) else oracles.power(x, rho - 2) if rho != 1 else 0
        exact = Fraction(rho) * Fraction(rho - 1) * total(cost[v]) / 4 * power
        assert abs(total(*c[:, v + 1]) - exact) <= exact / 2 ** (97 if rho in (2, 3, 4) else 50)


def test_no_flow_no_curvature_but_at_rho_2():
    assert bent([0.5, 0.0], [0, 0], [0, 0], [1, 1], 3)[2][0].tolist() == [0, 1.5, 0]
    assert bent([0.5, 0.0], [0, 0], [0, 0], [1, 1], 2)[2][0].tolist() == [0, 1, 1]
    assert not bent([0.5, 0.25], [0, 0], [0, 0], [1, 1], 1)[2].any()


@pytest.mark.parametrize("rho", [3, 4, 1.5, 2.5, 2])
def test_errors_of_flows_become_errors_of_bends(rho):
    for at in (0, 1):
        err = [0.0, 0.0]
        err[at] = 2.0**-30
        worst, all_, c = bent([0.75, -0.5], [0, 0], err, [1.0, 3.0], rho)
        first = abs(rho - 2) * 2.0**-30 / [0.75, 0.5][at]
        assert math.isclose(worst, first, rel_tol=1e-6) and math.isclose(all_, c[0, at + 1] * first, rel_tol=1e-6)
    worst, all_, c = bent([0.75, -0.5], [0, 0], [2.0**-30, 2.0**-30], [1.0, 3.0], rho)
    assert math.isclose(worst, abs(rho - 2) * 2.0**-29, rel_tol=1e-6)
    assert math.isclose(all_, abs(rho - 2) * 2.0**-30 * (c[0, 1] / 0.75 + c[0, 2] / 0.5), rel_tol=1e-6)
    assert bent([0.75, -0.5], [0, 0], [2.0**-30, 0], [1.0, 3.0], rho)[0] == bent([0.75], [0], [2.0**-30], [1.0], rho)[0]
    large = bent([0.5], [0], [0.25], [1.0], rho)[0]
    assert math.isclose(large, abs(rho - 2) * 0.5 * math.exp(abs(rho - 2)), rel_tol=1e-12)


def test_curvatures_too_small_for_two_limbs():
    """A cost, a flow in units, or the product of both: no entry is precise, and a sum is off by _TINY rho**2 at most
    but where a power could be anything."""
    off = TINY * 9
    assert bent([1, 0.5], [0, 0], [0, 0], [1, 2.0**-910], 3)[:2] == (INF, 2 * off)
    assert bent([1, 2.0**-910], [0, 0], [0, 0], [1, 1], 3)[:2] == (INF, 2 * off)
    assert bent([1, 2.0**-890], [0, 0], [0, 0], [1, 1], 3)[:2] == (0, 0)
    assert bent([1, 2.0**-460], [0, 0], [0, 0], [1, 2.0**-460], 3)[:2] == (INF, off)
    assert bent([1, 2.0**-460], [0, 0], [0, 0], [1, 2.0**-460], 4)[:2] == (INF, TINY * 16)
    assert bent([1, 2.0**-910], [0, 0], [0, 0], [1, 1], 2.5)[:2] == (INF, INF)
    assert bent([1, 2.0**-880], [0, 0], [0, 0], [1, 1], 2.5)[:2] == (0, 0)
    assert bent([1, 0.5], [0, 0], [0, 0], [1, 2.0**-910], 2.5)[:2] == (INF, 2 * TINY * 2.5 * 2.5)
    assert bent([1, 0.5], [0, 0], [0, 0], [1, 2.0**-910], 1.5)[:2][0] == INF
    assert bent([1, 0.5], [0, 0], [0, 0], [1, 2.0**-910], 1.5)[:2][1] == INF
    assert bent([1, 0.5], [0, 0], [0, 0], [1, 2.0**-910], 2)[:2] == (INF, 2 * TINY * 4)
    assert bent([1, 0.5], [0, 0], [0, 0], [1, 2.0**-899], 2)[:2] == (0, 0)


def test_weights():
    w = np.full((2, 3), np.nan)
    kernels().weights(np.array([9.0, 9, 9]), False, 1.0, 0.0, 0, w)
    assert all(abs(total(*w[:, k]) - Fraction(1, 3)) < Fraction(1, 2**100) for k in range(3))
    kernels().weights(np.array([9.0, 3, 0]), True, 0.75, 2.0**-60, 4, w)
    mass = total(0.75, 2.0**-60) * 16
    assert all(abs(total(*w[:, k]) - Fraction(x) / mass) < Fraction(1, 2**98) for k, x in enumerate((9, 3, 0)))


def test_centred_slope():
    rh, rl, node = np.array([9.0, 1.0, -2.0]), np.array([9.0, 2.0**-60, 2.0**-59]), np.array([2, 1])
    w, g = np.array([[0.25, 0.5], [2.0**-60, 0]]), np.full((2, 2), np.nan)
    kernels().centred_slope(rh, rl, node, w, 3.0, 2.0**-55, 5, g)
    r = [total(-2, 2.0**-59), total(1, 2.0**-60)]
    mean = r[0] * total(0.25, 2.0**-60) + r[1] / 2
    for k in (0, 1):
        exact = (r[k] - mean) * total(3, 2.0**-55) * 32
        assert abs(total(*g[:, k]) - exact) <= abs(exact) / 2**98


def trusted(reach, g=0.0, worst=0.0, all_=0.0, relative=False, bins=(1, 2)):
    """Reach: curvatures above two bins side by side."""
    c = np.array([[9.0, *reach], [0.0] * (len(reach) + 1)])
    gradient = np.array([[0.0] * len(bins), [0.0] * len(bins)])
    gradient[0, -1] = g
    scratch = np.full(len(reach) + 1, np.nan)
    parent = np.zeros(len(reach) + 1, int)
    return bool(kernels().trustworthy(c, gradient, parent, np.array(bins), worst, all_, relative, scratch))


def test_trust():
    u = 2.0**-56
    assert (
        trusted([4.0, 1.0], all_=4 * u) and trusted([1.0, 4.0], all_=4 * u) and not trusted([4.0, 1.0], all_=4.01 * u)
    )
    assert trusted([1.0, 1.0], g=-4.0, all_=4 * u) and trusted([1.0, 1.0], g=4.0, all_=4 * u)
    assert trusted([1.0, 1.0], worst=1.0) and not trusted([1.0, 1.0], worst=1.01 * u, relative=True)
    assert trusted([1.0, 1.0], worst=u, relative=True)
    assert trusted([TINY, 0.0]) and not trusted([TINY / 2, 0.0]) and not trusted([INF, 1.0])
    assert trusted([0.0, 0.0]) and not trusted([0.0, 0.0], worst=u)
    assert not trusted([math.nan, 1.0]) and not trusted([1.0, 1.0], g=INF) and not trusted([1.0, 1.0], all_=math.nan)
    assert not trusted([1.0, INF, 1.0], bins=(1, 3))
    c, scratch = np.array([[9.0, 1.0, 2.0], [0, 0, 0]]), np.full(3, np.nan)
    kernels().trustworthy(c, np.zeros((2, 1)), np.array([0, 0, 1]), np.array([2]), 0.0, 0.0, False, scratch)
    assert scratch.tolist() == [0, 1, 3]


def test_the_gradients_own_error_counts_in_gauge_normalized():
    """Flows that carry an error: its share of the gradient is compared with the whole."""
    p = np.array([[1.0, 2.0**-60, 2.0**-118, 1.0]])
    q = np.array([[0.5, 0.5, 0.5, 0.5 + 2.0**-60]])
    for rho in (2, 3):
        _, unsafe, _ = second(emdref.Chain(4), p, q, rho, True, 3)
        assert not unsafe[0]
    tiny = np.array([[1.0, 2.0**-30, 0, 1.0]])
    near = np.array([[1.0, 2.0**-30 * (1 - 2.0**-40), 0, 1.0 + 2.0**-50]])
    chain = emdref.Chain(gaps=[0, 1.0, 1.0])
    exact = emdref.exact.hess(tiny[0], near[0], chain, 3, gauge="normalized")
    out, unsafe, _ = second(chain, tiny, near, 3, True, 3)
    unit = max(abs(x) for line in exact for x in line)
    assert unsafe[0] or plain.close(out[0].ravel(), itertools.chain(*exact), unit / 2**50)


def test_public_results_have_the_fallback_behind_them():
    d = np.array([1, 2.0**-60, 2.0**-120, -1, -(2.0**-60), -(2.0**-120)])
    p, q, chain = np.maximum(d, 0), np.maximum(-d, 0), emdref.Chain(6)
    got, exact = emdref.emd_hess(p, q, chain, 3, gauge="raw"), emdref.exact.hess(p, q, chain, 3, gauge="raw")
    for x, y in zip(got.ravel().tolist(), itertools.chain(*exact), strict=True):
        assert abs(Fraction(x) - y) <= plain.ulp(y)
    with emdref.fallback.counting() as count:
        p, q = plain.pairs(5)
        for rho in (1, 2, 3):
            emdref.emd_hvp(p[:2], q[:2], emdref.Chain(gaps=plain.GAPS), p[:2], rho, mass="normalize")
    assert (count.rows, count.exact) == (6, 0)
