"""Products with exp(-lam M) along a tree as plain Python, against the dense definition in extended precision."""

import itertools
import math
import types

import numpy as np
import pytest

import plain

emdref = plain.original()
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

INF = math.inf
LAM = 0.7


def entropic():
    return emdref.kernels.entropic


def distances(shape):
    """By walking up to the lowest common ancestor."""
    parent, cost, bins = plain.SHAPES[shape]
    up = []
    for v in bins:
        reach = {v: 0.0}
        while parent[v] != -1:
            reach[parent[v]] = reach[v] + cost[v]
            v = parent[v]
        up.append(reach)
    return np.array([[min(a[x] + b[x] for x in a.keys() & b.keys()) for b in up] for a in up])


def vectors(n, rows, seed):
    """Positive numbers over six decades, and some zeros."""
    rng = np.random.default_rng([n, rows, seed])
    x = 10 ** rng.uniform(-6, 0, (n, rows))
    x[0, ::3] = 0
    return x


def setting(shape, shift):
    parent, cost, bins = plain.SHAPES[shape]
    layout = emdref.Tree(parent, cost, bins)._layout
    a = np.exp(-LAM * layout.cost)
    a[0] = 0
    kernel = np.exp(-np.longdouble(LAM) * distances(shape) - np.longdouble(shift))
    return layout, a, 1 - a * a, math.exp(-shift), kernel


def applied(name, x, log, first, last, layout, a, c, k0):
    """A kernel from histograms to histograms, its last constants `a` and `c`, on plain numbers."""
    out = np.full_like(x, np.nan)
    kernel, zero = getattr(entropic(), f"{'log' if log else 'linear'}_{name}"), -INF if log else 0.0
    if log:
        x, k0, a, c = np.log(x), math.log(k0), np.log(a), np.log(c)
    kernel(first, last, x, out, x.dtype.type(zero), k0, a, c, layout.parent, layout.bin_node)
    return np.exp(out) if log else out


def product(x, log, first, last, layout, a, b, k0):
    return applied("product", x, log, first, last, layout, a, b, k0)


def moments(x, log, first, last, layout, a, k0):
    return applied("moments", x, log, first, last, layout, a, layout.cost, k0)


def cost(u, v, log, first, last, layout, a, k0):
    out = np.full(u.shape[1], np.nan)
    kernel, zero = (entropic().log_cost, -INF) if log else (entropic().linear_cost, 0.0)
    if log:
        u, v, k0, a = np.log(u), np.log(v), math.log(k0), np.log(a)
    kernel(first, last, u, v, out, zero, k0, a, layout.cost, layout.parent, layout.bin_node)
    return out


def every(x, y, log, last, layout, a, b, k0):
    """Results of all three kernels."""
    return (
        product(x, log, 0, last, layout, a, b, k0),
        moments(x, log, 0, last, layout, a, k0),
        cost(x, y, log, 0, last, layout, a, k0),
    )


each_domain = pytest.mark.parametrize("log", [False, True])


@each_domain
@pytest.mark.parametrize("shape", plain.SHAPES)
def test_product_is_the_dense_one(shape, log):
    layout, a, b, k0, kernel = setting(shape, 1)
    x = vectors(len(layout.bin_node), 3, 0)
    got = product(x, log, 0, 3, layout, a, b, k0)
    np.testing.assert_allclose(got, (kernel @ x).astype(float), rtol=1e-14)


@each_domain
@pytest.mark.parametrize("shape", plain.SHAPES)
def test_cost_is_the_dense_one(shape, log):
    layout, a, _, k0, kernel = setting(shape, 0.5)
    u, v = vectors(len(layout.bin_node), 3, 1), vectors(len(layout.bin_node), 3, 2)
    got = cost(u, v, log, 0, 3, layout, a, k0)
    exact = (u * ((kernel * distances(shape)) @ v)).sum(0)
    np.testing.assert_allclose(got, exact.astype(float), rtol=1e-14)


@each_domain
@pytest.mark.parametrize("shape", plain.SHAPES)
def test_moments_are_the_dense_product_entry_by_entry(shape, log):
    layout, a, _, k0, kernel = setting(shape, 1)
    x = vectors(len(layout.bin_node), 3, 10)
    exact = (kernel * distances(shape)) @ x
    np.testing.assert_allclose(moments(x, log, 0, 3, layout, a, k0), exact.astype(float), rtol=1e-14)


@each_domain
def test_moments_of_one_bin_are_its_row_of_the_matrix(log):
    """Distances that no sum of others could hide, 0 from the bin to itself, on a chain with bins at the root."""
    layout = emdref.Chain(gaps=[2.0, 0.0, 3.0])._layout
    a = np.exp(-LAM * layout.cost)
    a[0] = 0
    m = np.abs(np.subtract.outer(*[np.cumsum([0.0, 2, 0, 3])] * 2))
    got = moments(np.eye(4), log, 0, 4, layout, a, 1.0)
    np.testing.assert_allclose(got, np.exp(-LAM * m) * m, rtol=1e-14)


@each_domain
def test_mass_at_the_root_crosses_the_first_edge(log):
    layout = emdref.Chain(gaps=[2.0, 3.0])._layout
    a = np.exp(-LAM * layout.cost)
    a[0] = 0
    m = np.array([[0.0, 2, 5], [2, 0, 3], [5, 3, 0]])
    u, v = vectors(3, 2, 6), vectors(3, 2, 7)
    exact = (u * ((np.exp(-LAM * m) * m) @ v)).sum(0)
    np.testing.assert_allclose(cost(u, v, log, 0, 2, layout, a, 1.0), exact, rtol=1e-14)


@each_domain
@pytest.mark.parametrize("shape", plain.SHAPES)
def test_the_root_has_no_edge(shape, log):
    """Whatever stands where its factor, its 1 - a^2 and its cost would."""
    layout, a, b, k0, _ = setting(shape, 1)
    u, v = vectors(len(layout.bin_node), 3, 8), vectors(len(layout.bin_node), 3, 9)
    before = every(u, v, log, 3, layout, a, b, k0)
    dear = layout._replace(cost=np.where(np.arange(len(a)) == 0, 9.0, layout.cost))
    a[0], b[0] = 0.5, 7.0
    after = every(u, v, log, 3, dear, a, b, k0)
    assert all(np.array_equal(*both) for both in zip(before, after, strict=True))


@each_domain
def test_columns_are_dealt_in_tiles(log, monkeypatch):
    """A part of the columns, in more tiles than one, the last of them short: nothing else is touched."""
    monkeypatch.setattr(entropic(), "_TILE", 2)
    layout, a, b, k0, kernel = setting("stem", 1)
    x = vectors(4, 8, 3)
    got = product(x, log, 1, 6, layout, a, b, k0)
    assert np.isnan(got[:, [0, 6, 7]]).all()
    np.testing.assert_allclose(got[:, 1:6], (kernel @ x).astype(float)[:, 1:6], rtol=1e-14)
    got = moments(x, log, 1, 6, layout, a, k0)
    assert np.isnan(got[:, [0, 6, 7]]).all()
    exact = ((kernel * distances("stem")) @ x).astype(float)
    np.testing.assert_allclose(got[:, 1:6], exact[:, 1:6], rtol=1e-14)
    got = cost(x, x, log, 1, 6, layout, a, k0)
    assert np.isnan(got[[0, 6, 7]]).all()
    exact = (x * ((kernel * distances("stem")) @ x)).sum(0).astype(float)
    np.testing.assert_allclose(got[1:6], exact[1:6], rtol=1e-14)


@each_domain
@pytest.mark.parametrize("shape", plain.SHAPES)
def test_scratch_memory_is_not_read_before_it_is_written(shape, log, monkeypatch):
    """With all of it NaN at first."""
    nan = types.SimpleNamespace(empty=lambda shape, dtype: np.full(shape, np.nan, dtype))
    layout, a, b, k0, _ = setting(shape, 1)
    x = vectors(len(layout.bin_node), 3, 5)
    before = every(x, x, log, 3, layout, a, b, k0)
    monkeypatch.setattr(entropic(), "np", nan)
    after = every(x, x, log, 3, layout, a, b, k0)
    assert all(np.array_equal(*both) for both in zip(before, after, strict=True))


def test_a_tile_holds_few_rows():
    """Scratch memory is a tile's: 32 rows of nodes, whatever the batch."""
    seen = []
    layout, a, b, k0, _ = setting("star", 0)
    kernel = entropic()._linear_product
    try:
        entropic()._linear_product = lambda *args: (seen.append(args[-1].shape), kernel(*args))
        product(vectors(3, 70, 4), False, 0, 70, layout, a, b, k0)
    finally:
        entropic()._linear_product = kernel
    assert seen == [(4, 32), (4, 32), (4, 6)]


def test_logaddexp():
    f = entropic().logaddexp
    for x, y in itertools.product([0.0, -1.0, -44.9, -30.0, 3.0, 700.0], repeat=2):
        exact = float(np.logaddexp(np.longdouble(x), np.longdouble(y)))
        assert abs(f(x, y) - exact) <= 4e-16 * max(abs(exact), 1e-300) or exact == f(x, y)
    assert f(-INF, -INF) == -INF and f(-INF, 2.0) == 2.0 and f(2.0, -INF) == 2.0
    assert f(0.0, -44.0) == math.exp(-44.0) and f(-44.0, 0.0) == math.exp(-44.0)
    assert f(0.0, -45.0) > 0 and f(0.0, -46.0) == 0.0


@each_domain
def test_both_domains_keep_float32(log):
    tree = emdref.Tree(*plain.SHAPES["tree"])
    p, q = (x.astype(np.float32) for x in np.random.default_rng(1).dirichlet(np.ones(5), 2))
    options = {"domain": "log" if log else "linear", "max_iter": 5}
    got, wide = (emdref.sinkhorn(p, q, tree, LAM, dtype=d, **options) for d in (np.float32, np.float64))
    assert got.value.dtype == np.float32 and abs(got.value - wide.value) < 1e-5
