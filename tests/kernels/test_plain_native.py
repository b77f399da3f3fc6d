"""One row's kernels in plain arithmetic, run as plain Python on small spaces, against rationals; distances."""

import itertools
import types
from fractions import Fraction

import numpy as np
import pytest

import oracles
import plain

emdref = plain.original()
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")


def batch(space, dtype=np.float64):
    return *plain.pairs(space.n_bins, dtype), space.rooted


def test_flow():
    for space, edges in plain.spaces(emdref):
        p, q, layout = batch(space)
        for normalize in (False, True):
            phi = np.full((len(p), space.n_nodes), np.nan)
            emdref.kernels.rows.loops.flow_native(p, q, phi, layout.parent, layout.bin_node, normalize)
            for i in range(len(p)):
                a, b = plain.exactly(p[i]), plain.exactly(q[i])
                if normalize:
                    a, b = oracles.normalized(a), oracles.normalized(b)
                exact = oracles.flow(a, b, edges)
                got = dict(zip(layout.order.tolist(), phi[i].tolist(), strict=True))
                assert all(abs(got[e] - exact[e]) <= 1e-14 * sum(a) for e in exact)


def test_subtraction_comes_first():
    """cumsum(p) - cumsum(q) loses the 2**-60."""
    for dtype, small in ((np.float64, 2.0**-60), (np.float32, 2.0**-30)):
        p, q = np.array([[1, small, 0]], dtype), np.array([[1, 0, small]], dtype)
        layout, phi = emdref.Chain(3).rooted, np.full((1, 3), np.nan, dtype)
        emdref.kernels.rows.loops.flow_native(p, q, phi, layout.parent, layout.bin_node, False)
        assert phi[0].tolist() == [0, small, 0]


@pytest.mark.parametrize("rho", plain.RHOS)
def test_slopes_down_from_the_root(rho):
    for space, edges in plain.spaces(emdref):
        p, q, layout = batch(space)
        for i in range(len(p)):
            phi, r = np.full(space.n_nodes, np.nan), np.full(space.n_nodes, np.nan)
            emdref.kernels.rows.native.flow(p[i], q[i], layout.parent, layout.bin_node, phi)
            emdref.kernels.rows.native.descend(phi, layout.cost, layout.parent, float(rho), r)
            exact = plain.truth(p[i], q[i], edges, rho, "raw", False)[1]
            assert plain.close(r[layout.bin_node], exact, 1e-12 * float(max(map(abs, exact))))


def test_what_costs_nothing_has_no_slope():
    """Also where its power overflows."""
    r = np.full(3, np.nan)
    emdref.kernels.rows.native.descend(np.array([0, 1e300, 1.0]), np.array([0, 0.0, 3]), np.array([0, 0, 1]), 4.0, r)
    assert r.tolist() == [0, 0, 12]


def test_sums_at_and_below_every_node():
    """The root's included."""
    t = np.array([1.0, 2, 4, 8, 16])
    emdref.kernels.rows.native.lift(np.array([0, 0, 0, 1, 3]), t)
    assert t.tolist() == [31, 26, 4, 24, 16]


def test_masses_of_a_row():
    """p's total, 1 if it is not asked for."""
    p, q = np.array([1.0, 3.0]), np.array([4.0, 4.0])
    for normalize, mass, a, b in ((False, 1.0, p, q), (True, 4.0, p / 4, q / 8)):
        x, y = np.full(2, np.nan), np.full(2, np.nan)
        assert emdref.kernels.rows.loops._native_masses(p, q, normalize, x, y) == mass
        assert np.array_equal(x, a) and np.array_equal(y, b)


def test_scratch_memory_is_not_read_before_it_is_written(monkeypatch):
    """With all of it NaN at first."""
    nan = types.SimpleNamespace(
        empty=lambda shape, dtype=float: np.full(shape, -99 if dtype is np.int64 else np.nan, dtype)
    )
    nan.int64 = np.int64
    space, _ = list(plain.spaces(emdref))[3]
    p, q, _ = batch(space)
    before = [second(space, p, q, 2, False, 1), second(space, p, q, 2, True, 3, p)]
    monkeypatch.setattr(emdref.kernels.rows.loops, "np", nan)
    after = [second(space, p, q, 2, False, 1), second(space, p, q, 2, True, 3, p)]
    assert all(np.array_equal(x, y) for a, b in zip(before, after, strict=True) for x, y in zip(a, b, strict=True))


# --- second derivatives -----------------------------------------------------------------------------------------------


def second(space, p, q, rho, normalize, gauge, v=None, dtype=np.float64):
    layout, n = space.rooted, space.n_bins
    infinite = np.full(len(p), -1)
    shared = (layout.parent, layout.cost.astype(dtype), layout.bin_node), (dtype(rho), normalize, gauge)
    out = np.full((len(p), n, n) if v is None else (len(p), n), np.nan, dtype)
    if v is None:
        emdref.kernels.rows.loops.hess_native(p, q, out, infinite, *shared)
    else:
        emdref.kernels.rows.loops.hvp_native(p, q, v, out, infinite, *shared)
    return out, infinite


def smooth(space, edges, rho):
    """Pairs without a flow of 0 where the second derivative is infinite there."""
    p, q, _ = batch(space)
    if 1 < rho < 2:
        fine = [all(oracles.flow(*map(plain.exactly, pq), edges).values()) for pq in zip(p, q, strict=True)]
        normalized = [
            all(oracles.flow(*(oracles.normalized(plain.exactly(x)) for x in pq), edges).values())
            for pq in zip(p, q, strict=True)
        ]
        keep = np.array(fine) & np.array(normalized)
        p, q = p[keep], q[keep]
    return p, q


def exact_hess(p, q, edges, rho, gauge, normalize):
    a, b = plain.exactly(p), plain.exactly(q)
    if normalize:
        a, b = oracles.normalized(a), oracles.normalized(b)
    raw = oracles.raw_grad if rho == int(rho) else oracles.raw_grad_real
    r = raw(a, b, edges, rho)
    h = oracles.raw_hess(a, b, edges, rho)
    return oracles.gauged_hess(h, r, plain.exactly(p), gauge), float(max(map(max, h)) + 2 * max(map(abs, r)))


HESSIANS = [(1, 3), (2, 0), (2, 1), (2, 3), (3, 2), (3, 3), (1.5, 1), (2.5, 3), (2.5, 0)]  # rho, gauge


@pytest.mark.parametrize(("rho", "gauge"), HESSIANS)
def test_hessian_and_product(rho, gauge):
    for space, edges in list(plain.spaces(emdref))[:: 1 if (rho, gauge) == (2, 1) else 2]:
        p, q = smooth(space, edges, rho)
        p, q = p[:3], q[:3]
        v = np.arange(p.size).reshape(p.shape) % 5 - 2.0
        normalize = gauge == 3
        matrix, edge = second(space, p, q, rho, normalize, gauge)
        product, again = second(space, p, q, rho, normalize, gauge, v)
        assert not edge.any() and not again.any()
        for i in range(len(p)):
            exact, scale = exact_hess(p[i], q[i], edges, rho, plain.GAUGES[gauge], normalize)
            scale *= {2: len(p[i]) ** 2, 3: p[i].sum() ** -2}.get(gauge, 1)
            assert plain.close(matrix[i].ravel(), itertools.chain(*exact), 1e-12 * scale)
            times = [sum(x * Fraction(y) for x, y in zip(row, v[i], strict=True)) for row in exact]
            assert plain.close(product[i], times, 1e-12 * scale * np.abs(v[i]).sum())


def test_the_root_has_no_edge():
    """Whatever stands where its flow and its cost would."""
    native, hessian = emdref.kernels.rows.native, emdref.kernels.rows.hessian
    phi, cost, r = np.array([0.0, 2.0, 0.0]), np.array([7.0, 1.0, 3.0]), np.full(3, np.nan)
    native.descend(np.array([5.0, 2.0, -1.0]), cost, [0, 0, 1], 2.0, r)
    assert r.tolist() == [0, 4, -2]
    assert hessian.infinite_edge(phi, cost, 1.5) == 2
    hessian.bends(np.array([5.0, 2.0, -1.0]), cost, 2.0, 1.0, r)
    assert r.tolist() == [0, 2, 6]


def test_an_infinite_curvature_is_named():
    """The first edge in the kernels' order that costs something, whatever else is 0; rho = 1 and 2 have none."""
    space = emdref.Chain(gaps=[1, 0, 1, 1])  # nodes from the root: bins 4, 3, 2, 1, 0
    p, q = np.array([[1, 0, 0.5, 0, 1.0]]), np.array([[1.0, 0, 0, 0.5, 1]])
    v = np.ones_like(p)
    for rho, edge in ((1.5, 1), (1, 0), (2, 0), (1.999, 1), (3, 0)):
        for direction in (None, v):
            out, named = second(space, p, q, rho, False, 1, direction)
            assert named[0] == edge and np.isnan(out).any() == (edge > 0)
    p = np.array([[1, 0, 0.5, 0.25, 1.0]])  # only bin 0's edge and the free one after bin 1 are still
    assert second(space, p, q, 1.5, False, 1)[1][0] == 4
    assert second(emdref.Chain(gaps=[0, 1, 1, 1]), p, np.array([[1.0, 0.1, 0, 0.5, 1]]), 1.5, False, 1)[1][0] == 0


def test_a_curvature_beyond_the_range_on_a_free_edge_counts_nothing():
    space = emdref.Chain(gaps=[0, 1])
    p, q = np.array([[1e200, 2, 1]]), np.array([[1e190, 1, 1e200]])
    assert np.isfinite(second(emdref.Chain(gaps=[0, 0]), p, q, 4, False, 0)[0]).all()
    assert np.isfinite(second(space, p[:, ::-1] * 0 + 1, q * 0 + 2, 4, False, 0)[0]).all()


def test_curvature_keeps_float32():
    space, edges = list(plain.spaces(emdref))[1]
    p, q = plain.pairs(space.n_bins, np.float32)
    matrix, _ = second(space, p, q, 3, False, 1, dtype=np.float32)
    exact, scale = exact_hess(p[0], q[0], edges, 3, "zero_sum", False)
    assert matrix.dtype == np.float32 and plain.close(matrix[0].ravel(), itertools.chain(*exact), 1e-5 * scale)


# --- distances --------------------------------------------------------------------------------------------------------


def walked(parent, cost, start):
    """Costs from a node to each of its ancestors."""
    reach, v = {start: 0.0}, start
    while parent[v] != -1:
        reach[parent[v]] = reach[v] + cost[v]
        v = parent[v]
    return reach


@pytest.mark.parametrize("shape", plain.SHAPES)
def test_distances(shape):
    """By the lowest common ancestor, in costs whose sums are exact."""
    parent, cost, bins = plain.SHAPES[shape]
    cost = np.round(np.array(cost) * 16) / 16
    space = emdref.Tree(parent, cost, bins)
    layout, n = space.rooted, len(parent)
    ups = [walked(parent, cost, v) for v in range(n)]
    exact = np.array([[min(a[x] + b[x] for x in a.keys() & b.keys()) for b in ups] for a in ups])
    out = np.full((len(bins), len(bins)), np.nan)
    emdref.kernels.trees.metric.distances_between(layout.bin_node, layout.parent, layout.cost, out)
    assert np.array_equal(out, exact[np.ix_(bins, bins)])
    for v in range(n):
        row = np.full(n, np.nan)
        emdref.kernels.trees.metric.distances(v, layout.parent, layout.cost, row)
        assert np.array_equal(row, exact[np.ix_([layout.order[v]], layout.order)][0])


def test_bins_below():
    for parent, cost, bins in plain.SHAPES.values():
        layout = emdref.Tree(parent, cost, bins).rooted
        count = np.full(len(parent), -7)
        emdref.kernels.trees.metric.bins_below(layout.bin_node, layout.parent, count)
        exact = oracles.below(parent, bins)
        assert count.tolist() == [len(exact[v]) for v in layout.order]
