"""Products with exp(-lam M) along a tree as plain Python, against the dense definition in extended precision."""

import copy
import math

import numpy as np
import pytest

import plain

emdref = plain.original()
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

INF = math.inf
LAM = 0.7


def entropic():
    return emdref.kernels.entropic.products


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
    layout = emdref.Tree(parent, cost, bins).rooted
    a = np.exp(-LAM * layout.cost)
    a[0] = 0
    kernel = np.exp(-np.longdouble(LAM) * distances(shape) - np.longdouble(shift))
    return layout, a, 1 - a * a, math.exp(-shift), kernel


def factors(x, log):
    """x as the kernels take factors."""
    x = np.atleast_1d(x)
    if not log:
        return x[:, None]
    out = np.full((len(x), 2), np.nan)
    entropic().log_factors(np.log(x), out)
    return out


def tree(log, layout, a, b, k0):
    """As the kernels take it."""
    return emdref.entropic.gibbs.outline(layout).of(*(factors(c, log) for c in (k0, a, b)), layout.cost)


def product(x, log, first, last, layout, a, b, k0):
    """From histograms to histograms, as plain numbers."""
    out = np.full_like(x, np.nan)
    kernel, x = (entropic().log_product, np.log(x)) if log else (entropic().linear_product, x)
    kernel(first, last, x, out, tree(log, layout, a, b, k0).twigs)
    return np.exp(out) if log else out


def moments(x, log, first, last, layout, a, k0):
    out = np.full_like(x, np.nan)
    kernel, x = (entropic().log_moments, np.log(x)) if log else (entropic().linear_moments, x)
    constants = (factors(c, log) for c in (k0, a, layout.cost))
    kernel(first, last, x, out, *constants, layout.parent, layout.bin_node)
    return np.exp(out) if log else out


def cost(u, v, log, first, last, layout, a, b, k0):
    out = np.full(u.shape[1], np.nan)
    kernel = entropic().log_cost if log else entropic().linear_cost
    if log:
        u, v = np.log(u), np.log(v)
    kernel(first, last, u, v, out, *tree(log, layout, a, b, k0)[:2])
    return out


def every(x, y, log, last, layout, a, b, k0):
    """Results of all three kernels."""
    return (
        product(x, log, 0, last, layout, a, b, k0),
        moments(x, log, 0, last, layout, a, k0),
        cost(x, y, log, 0, last, layout, a, b, k0),
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
    layout, a, b, k0, kernel = setting(shape, 0.5)
    u, v = vectors(len(layout.bin_node), 3, 1), vectors(len(layout.bin_node), 3, 2)
    got = cost(u, v, log, 0, 3, layout, a, b, k0)
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
    layout = emdref.Chain(gaps=[2.0, 0.0, 3.0]).rooted
    a = np.exp(-LAM * layout.cost)
    a[0] = 0
    m = np.abs(np.subtract.outer(*[np.cumsum([0.0, 2, 0, 3])] * 2))
    got = moments(np.eye(4), log, 0, 4, layout, a, 1.0)
    np.testing.assert_allclose(got, np.exp(-LAM * m) * m, rtol=1e-14)


@each_domain
def test_mass_at_the_root_crosses_the_first_edge(log):
    layout = emdref.Chain(gaps=[2.0, 3.0]).rooted
    a = np.exp(-LAM * layout.cost)
    a[0] = 0
    m = np.array([[0.0, 2, 5], [2, 0, 3], [5, 3, 0]])
    u, v = vectors(3, 2, 6), vectors(3, 2, 7)
    exact = (u * ((np.exp(-LAM * m) * m) @ v)).sum(0)
    np.testing.assert_allclose(cost(u, v, log, 0, 2, layout, a, 1 - a * a, 1.0), exact, rtol=1e-14)


@each_domain
@pytest.mark.parametrize("shape", plain.SHAPES)
def test_the_root_has_no_edge(shape, log):
    """Whatever stands where its factor, its 1 - a^2 and its cost would."""
    layout, a, b, k0, _ = setting(shape, 1)
    u, v = vectors(len(layout.bin_node), 3, 8), vectors(len(layout.bin_node), 3, 9)
    before = every(u, v, log, 3, layout, a, b, k0)
    dear = copy.copy(layout)
    dear.cost = np.where(np.arange(len(a)) == 0, 9.0, layout.cost)
    a[0], b[0] = 0.5, 7.0
    after = every(u, v, log, 3, dear, a, b, k0)
    assert all(np.array_equal(*both) for both in zip(before, after, strict=True))


@each_domain
def test_columns_are_dealt_in_tiles(log):
    """A part of the columns, in more tiles than one, the last of them short: nothing else is touched."""
    layout, a, b, k0, kernel = setting("stem", 1)
    x = vectors(4, 22, 3)
    inside = np.zeros(22, bool)
    inside[1:20] = True
    got = product(x, log, 1, 20, layout, a, b, k0)
    assert np.isnan(got[:, ~inside]).all()
    np.testing.assert_allclose(got[:, inside], (kernel @ x).astype(float)[:, inside], rtol=1e-14)
    got = moments(x, log, 1, 20, layout, a, k0)
    assert np.isnan(got[:, ~inside]).all()
    exact = ((kernel * distances("stem")) @ x).astype(float)
    np.testing.assert_allclose(got[:, inside], exact[:, inside], rtol=1e-14)
    got = cost(x, x, log, 1, 20, layout, a, b, k0)
    assert np.isnan(got[~inside]).all()
    exact = (x * ((kernel * distances("stem")) @ x)).sum(0).astype(float)
    np.testing.assert_allclose(got[inside], exact[inside], rtol=1e-14)


@each_domain
@pytest.mark.parametrize("shape", plain.SHAPES)
def test_scratch_memory_is_not_read_before_it_is_written(shape, log, monkeypatch):
    """With all of it NaN at first, and no more of it than vectors of one tile, whatever the batch."""
    sizes = set()

    def nan(lanes, dtype):
        sizes.add(lanes)
        return np.full(lanes * (64 // np.dtype(dtype).itemsize), np.nan, dtype)

    layout, a, b, k0, _ = setting(shape, 1)
    x = vectors(len(layout.bin_node), 11, 5)
    before = every(x, x, log, 11, layout, a, b, k0)
    monkeypatch.setattr(entropic(), "scratch", nan)
    after = every(x, x, log, 11, layout, a, b, k0)
    assert all(np.array_equal(*both) for both in zip(before, after, strict=True))
    assert max(sizes) == 6 * len(layout.parent) * (2 if log else 1)  # of moments


@each_domain
def test_both_domains_keep_float32(log):
    tree = emdref.Tree(*plain.SHAPES["tree"])
    p, q = (x.astype(np.float32) for x in np.random.default_rng(1).dirichlet(np.ones(5), 2))
    options = {"domain": "log" if log else "linear", "max_iter": 5}
    got, wide = (emdref.sinkhorn(p, q, tree, LAM, dtype=d, **options) for d in (np.float32, np.float64))
    assert got.value.dtype == np.float32 and abs(got.value - wide.value) < 1e-5
