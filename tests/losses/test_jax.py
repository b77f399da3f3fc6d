"""The loss for JAX beside exact rationals, JAX's own checks, and NumPy's bits."""

import os
import re
import subprocess
import sys
import types
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

jax = pytest.importorskip("jax", reason="the loss for JAX needs the extra jax: pip install 'emdref[jax]'")

import jax.numpy as jnp  # noqa: E402
import page_code  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

import array_kinds  # noqa: E402
import cases  # noqa: E402
import emdref  # noqa: E402
from emdref import exact  # noqa: E402
from emdref.arguments import libraries  # noqa: E402
from emdref.jax import emd_loss  # noqa: E402

CHAIN = emdref.Chain(gaps=[0.5, 1.0, 2.0, 0.3])
TREE = emdref.Tree([-1, 0, 0, 1, 1, 2, 2, 2], [0, 0.5, 2.0, 1.0, 0.7, 0.2, 1.5, 0.4])
each_space = pytest.mark.parametrize("space", [CHAIN, TREE], ids=["chain", "tree"])
each_layer = pytest.mark.parametrize("layer", ["softmax", "l1", "square"])

rng = np.random.default_rng(0)
X = rng.uniform(0.1, 1.1, (3, 5))
P, Q = (rng.dirichlet(np.ones(5), 3) for _ in range(2))
MIX = rng.normal(size=(5, 5))
tree_loss = partial(emd_loss, space=TREE)


@pytest.fixture(autouse=True)
def float64():
    """JAX rounds to float32 unless it is told otherwise."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@each_space
@each_layer
@pytest.mark.parametrize("gauge", ["raw", "zero_sum", "normalized"])
@pytest.mark.parametrize("rho", [2, 2.5, 3])
def test_plain_derivatives_behind_a_layer(space, layer, gauge, rho):
    check_grads(lambda x: emd_loss(x, Q, space, rho, gauge=gauge, normalize=layer), (X,), order=2, modes=["rev"])


@each_space
def test_plain_derivatives_without_a_layer(space):
    check_grads(lambda p: emd_loss(p, Q, space, 3, gauge="raw", normalize=None), (P,), order=2, modes=["rev"])
    through = partial(emd_loss, q=Q, space=space, gauge="normalized", normalize=None, mass="normalize")
    check_grads(through, (X,), order=2, modes=["rev"])


@each_space
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gauge", cases.GAUGES)
@pytest.mark.parametrize("rho", [1, 2, 3])
def test_values_and_gradients(space, dtype, gauge, rho):
    p, q = P.astype(dtype), Q.astype(dtype)
    loss = partial(emd_loss, q=q, space=space, rho=rho, gauge=gauge, normalize=None)
    values, grads = loss(p, reduction="none"), jax.grad(partial(loss, reduction="sum"))(p)
    assert values.dtype == grads.dtype == dtype
    for a, b, value, grad in zip(p, q, np.asarray(values), np.asarray(grads), strict=True):
        cases.assert_within_ulps(value, [cases.exact_emd(a, b, space, rho)])
        unit = cases.grad_unit(a, b, space, rho, gauge)
        cases.assert_within(grad, cases.exact_grad(a, b, space, rho, gauge), 8 * cases.eps(dtype) * unit)


@each_space
def test_the_bits_of_numpy_under_every_transformation(space):
    value, grad = emdref.emd_value_and_grad(P, Q, space, 3)
    loss = partial(emd_loss, space=space, rho=3, normalize=None)
    assert np.array_equal(loss(P, Q, reduction="none"), value)
    assert np.array_equal(jax.jit(partial(loss, reduction="none"))(P, Q), value)
    assert np.array_equal(jax.vmap(loss)(P, Q), value)
    assert np.array_equal(jax.jit(jax.vmap(jax.grad(loss)))(P, Q), grad)
    assert np.array_equal(jax.vmap(loss, in_axes=(1, None), out_axes=0)(P.T, Q[0]), emdref.emd(P, Q[:1], space, 3))


@each_space
def test_hessians(space):
    loss = lambda p: emd_loss(p, Q[0], space, 3, gauge="raw", normalize=None)  # noqa: E731
    for hessian in (jax.jacrev(jax.jacrev(loss)), jax.jit(jax.jacrev(jax.grad(loss)))):
        want = np.array(cases.exact_hess(P[0], Q[0], space, 3, "raw"), float)
        np.testing.assert_allclose(hessian(P[0]), want, rtol=1e-14, atol=1e-14)


@each_layer
def test_layers(layer):
    p = getattr(emdref.normalize, layer)(X)
    np.testing.assert_allclose(
        emd_loss(X, Q, TREE, normalize=layer, reduction="none"), emdref.emd(p, Q, TREE, 2), rtol=1e-13
    )
    want = getattr(emdref.normalize, layer).vjp(X, emdref.emd_grad(p, Q, TREE, 2))
    got = jax.grad(lambda x: emd_loss(x, Q, TREE, normalize=layer, reduction="sum"))(X)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)


def test_classes_and_integer_histograms():
    classes = jnp.array([4, 0, 2])
    one_hot = np.eye(5)[np.array(classes)]
    for q in (classes, classes.astype(np.uint8), one_hot.astype(int)):
        assert emd_loss(X, q, TREE) == emd_loss(X, one_hot, TREE)
        got, want = (jax.grad(emd_loss)(X, y, TREE) for y in (q, one_hot))
        assert np.array_equal(got, want)
        assert np.array_equal(jax.vmap(lambda x, y: emd_loss(x, y, TREE))(X, q), emd_loss(X, q, TREE, reduction="none"))


def shared(p, q, *, w, target=lambda q: q, loss=tree_loss):
    """The loss where p and q are made of the same weights."""
    return loss(p @ w, target(jax.nn.softmax(q @ w)))


normalized = partial(tree_loss, gauge="normalized")  # which is p's, so that nothing flows to q


@pytest.mark.parametrize(
    "derivative",
    [
        lambda: jax.grad(normalized, 1)(X, Q),
        lambda: jax.grad(normalized, (0, 1))(X, Q),
        lambda: jax.jit(jax.value_and_grad(normalized, 1))(X, Q),
        lambda: jax.grad(jax.jit(normalized), 1)(X, Q),
        lambda: jax.vmap(jax.grad(normalized, 1))(X, Q),
        lambda: jax.grad(lambda q: jax.vmap(normalized)(X, q).sum())(Q),
        lambda: jax.jacrev(normalized, 1)(X, Q),
        lambda: jax.jacfwd(normalized, 1)(X, Q),
        lambda: jax.jvp(partial(normalized, X), (Q,), (Q,)),
        lambda: jax.jvp(jax.jit(partial(normalized, X)), (Q,), (Q,)),
        lambda: jax.linearize(partial(normalized, X), Q),
        lambda: jax.vjp(normalized, X, Q),
        lambda: jax.grad(jax.checkpoint(normalized), 1)(X, Q),
        lambda: jax.grad(lambda q: jax.lax.map(lambda pq: normalized(*pq), (X, q)).sum())(Q),
        lambda: jax.grad(lambda q: jax.lax.cond(q.sum() > 0, lambda: normalized(X, q), lambda: 0.0))(Q),
        lambda: jax.grad(lambda q: jax.grad(normalized)(X, q).sum())(Q),
        lambda: jax.jvp(lambda q: jax.grad(normalized)(X, q), (Q,), (Q,)),
        lambda: jax.grad(lambda w: shared(X, Q, w=w, loss=normalized))(MIX),
        lambda: jax.jit(jax.grad(lambda w: jax.vmap(partial(shared, w=w, loss=normalized))(X, Q).sum()))(MIX),
        lambda: jax.grad(lambda q: normalized(X, q, normalize="l1", reduction="sum"))(Q[:1]),
        lambda: jax.grad(lambda q: normalized(X.astype(np.float32), q))(jnp.eye(5, dtype=jnp.bfloat16)[:3]),
    ],
)
def test_nothing_flows_to_targets_in_the_gauge_of_p(derivative):
    with pytest.raises(
        ValueError, match=r"q is differentiated in gauge='normalized', .*: give jax.lax.stop_gradient\(q\)"
    ):
        derivative()


@each_space
@pytest.mark.parametrize("rho", [1, 2, 3])
def test_targets_and_costs_have_derivatives(space, rho):
    cost = near(space)
    both = lambda x, y: emd_loss(x, jax.nn.softmax(y), space, rho)  # noqa: E731
    check_grads(both, (X[:1], P[:1]), order=2, modes=["rev"])
    free = partial(emd_loss, space=space, rho=rho, gauge="raw", mass="ignore", reduction="none")
    check_grads(lambda x, q, cost: free(x, q, cost=cost), (X[:1], Q[:1], cost), order=1, modes=["rev"])
    other = space.with_costs(cost)
    values, back = jax.vjp(lambda p, q, cost: free(p, q, cost=cost, normalize=None), P, Q, cost)
    of_p, of_q, of_cost = back(jnp.array([1.0, 2.0, 4.0]))
    want = np.zeros(len(cost))
    for i, (a, b) in enumerate(zip(P, Q, strict=True)):
        cases.assert_within_ulps(np.asarray(values[i]), [exact.emd(a, b, other, rho)])
        slopes = [-(2**i) * g for g in exact.grad(a, b, other, rho, gauge="raw")]
        cases.assert_within(np.asarray(of_q[i]), slopes, 8 * cases.eps(np.float64) * max(map(abs, slopes)))
        want += 2**i * np.array(exact.cost_grad(a, b, other, rho), float)
    np.testing.assert_array_equal(of_q, -of_p)
    np.testing.assert_allclose(of_cost, want, rtol=16 * np.finfo(float).eps)


def near(space):
    """Other costs than the space's."""
    return space.edges.cost + np.linspace(0.1, 0.5, len(space.edges.cost))


def test_costs_and_targets_under_every_transformation():
    cost = near(TREE)
    loss = lambda x, q, cost: emd_loss(x, q, TREE, 3, normalize=None, cost=cost, reduction="sum")  # noqa: E731
    grads = jax.grad(loss, (0, 1, 2))
    want = grads(P, Q, cost)
    by_row = jax.vmap(grads, (0, 0, None))
    for each in (by_row, jax.jit(by_row), jax.vmap(jax.jit(grads), (0, 0, None))):
        got = each(P, Q, cost)
        for a, b in zip((*got[:2], got[2].sum(0)), want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)
    several = np.stack([cost, 2 * cost, cost[::-1]])
    value = np.array([emdref.emd(P, Q, TREE.with_costs(c), 3) for c in several])
    rows = jax.vmap(loss, (0, 0, None))
    np.testing.assert_array_equal(jax.vmap(rows, (None, None, 0))(P, Q, several), value)
    np.testing.assert_array_equal(
        jax.jit(jax.vmap(jax.vmap(loss, (None, None, 0)), (0, 0, None)))(P, Q, several), value.T
    )
    np.testing.assert_array_equal(jax.vmap(loss)(P, Q, several), value.diagonal())
    np.testing.assert_array_equal(jax.vmap(jax.grad(loss, 2))(P, Q, several)[1], grads(P[1], Q[1], several[1])[2])
    np.testing.assert_array_equal(
        jax.vmap(jax.vmap(loss, (None, 0, None)), (0, None, None))(P, Q, cost)[1, 2], loss(P[1], Q[2], cost)
    )
    _, scanned = jax.lax.scan(lambda c, pq: (c, jax.grad(loss, 1)(*pq, c)), cost, (P, Q))
    np.testing.assert_allclose(scanned, want[1], rtol=1e-14)
    for of in (0, 2):
        with pytest.raises(NotImplementedError, match="no second derivative by costs"):
            jax.grad(lambda c, of=of: (jax.grad(loss, of)(P, Q, c) ** 2).sum())(cost)
    again = jax.grad(lambda p: (jax.grad(loss)(p, Q, cost) ** 2).sum())(P)
    other = partial(emd_loss, q=Q, space=TREE.with_costs(cost), rho=3, normalize=None, reduction="sum")
    np.testing.assert_array_equal(again, jax.grad(lambda p: (jax.grad(other)(p) ** 2).sum())(P))


def test_classes_and_histograms_under_every_axis_of_vmap():
    classes, weight = np.array([4, 0, 2]), np.array([2.0, 0.25, 3.0, 1.0, 0.5])
    loss = jax.grad(lambda x, q: emd_loss(x, q, TREE, reduction="sum"))
    p = emdref.normalize.softmax(X)
    for q, histograms in ((classes, np.eye(5)[classes]), (Q, Q)):
        want = emdref.normalize.softmax.vjp(X[:, None], emdref.emd_grad(p[:, None], histograms, TREE, 2))
        nested = jax.vmap(jax.vmap(loss, (None, 0)), (0, None))
        for got in (jax.jit(nested)(X, q), jax.vmap(jax.jit(jax.vmap(loss, (None, 0))), (0, None))(X, q)):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(jax.vmap(loss, (1, 0))(X.T, q), want[range(3), range(3)], rtol=1e-12, atol=1e-15)
        _, scanned = jax.lax.scan(lambda n, xq: (n, jax.jit(loss)(*xq)), 0, (X, q))
        np.testing.assert_allclose(scanned, want[range(3), range(3)], rtol=1e-12, atol=1e-15)
    masked = jax.vmap(lambda x, k: emd_loss(x, k, TREE, ignore_index=4, weight=weight, reduction="none"))(X, classes)
    want = emdref.emd(p, np.eye(5)[classes], TREE, 2) * weight[classes] * (classes != 4)
    np.testing.assert_allclose(masked, want, rtol=1e-12)


@each_layer
@pytest.mark.parametrize("compiled", [lambda f: f, jax.jit])
def test_rows_that_are_passed_over(layer, compiled):
    """As if they were not there, whatever they hold; the gradient is exactly 0."""
    x, classes, weight = X.copy(), jnp.array([1, -100, 4]), np.array([2.0, 0.25, 3.0, 1.0, 0.5])
    x[1], keep = np.nan, np.array([0, 2])
    options = {"normalize": layer, "weight": weight, "space": TREE}
    value, grad = compiled(jax.value_and_grad(partial(emd_loss, q=classes, ignore_index=-100, **options)))(x)
    other, want = jax.value_and_grad(partial(emd_loss, q=classes[keep], **options))(X[keep])
    np.testing.assert_allclose(value, other, rtol=1e-15)
    np.testing.assert_allclose(grad[keep], want, rtol=1e-14, atol=1e-17)
    assert not grad[1].any()
    rows = emd_loss(X, jnp.array([1, 0, 4]), TREE, normalize=layer, reduction="none")
    np.testing.assert_allclose(value, (0.25 * rows[0] + 0.5 * rows[2]) / 0.75, rtol=1e-14)
    assert jnp.isnan(emd_loss(X, jnp.full(3, 2, np.uint8), TREE, ignore_index=2, normalize=layer))


def test_an_axis_of_bins():
    x, q, classes = rng.uniform(size=(2, 3, 5)), rng.dirichlet(np.ones(5), (2, 3)), np.arange(6).reshape(2, 3) % 5
    for axis in (0, 1, -2, 2):
        for target, there in ((q, np.moveaxis(q, -1, axis)), (classes, classes)):
            got = emd_loss(np.moveaxis(x, -1, axis), there, TREE, axis=axis, reduction="none")
            np.testing.assert_array_equal(got, emd_loss(x, target, TREE, reduction="none"))


@pytest.mark.parametrize(
    "derivative",
    [
        lambda: jax.grad(lambda p, q: tree_loss(p, jax.lax.stop_gradient(q)), (0, 1))(X, Q)[0],
        lambda: jax.jit(jax.value_and_grad(tree_loss))(X, Q)[1],
        lambda: jax.grad(jax.checkpoint(jax.jit(tree_loss)))(X, Q),
        lambda: jax.grad(lambda p: jax.lax.map(lambda pq: tree_loss(*pq), (p, Q)).sum())(X) / 3,
        lambda: jax.grad(lambda p: jax.lax.scan(lambda q, a: (q[1:] + q[:1], tree_loss(a, q[0])), [*Q], p)[1].mean())(
            X
        ),
        lambda: jax.grad(tree_loss)(X, jax.nn.softmax(jnp.log(Q))),
    ],
)
def test_constant_targets_stand_in_no_ones_way(derivative):
    """Also where p is differentiated beside them, within whatever JAX makes of the loss."""
    np.testing.assert_allclose(derivative(), jax.grad(tree_loss)(X, Q), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("compiled", [lambda f: f, jax.jit])
@pytest.mark.parametrize("target", [jax.lax.stop_gradient, lambda q: jax.nn.one_hot(q.argmax(-1), 5, dtype=q.dtype)])
def test_targets_of_the_weights_may_be_held(compiled, target):
    held = target(jax.nn.softmax(Q @ MIX))
    got = jax.grad(compiled(lambda w: shared(X, Q, w=w, target=target)))(MIX)
    np.testing.assert_allclose(got, jax.grad(lambda w: tree_loss(X @ w, held))(MIX), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("p_shape", "q_shape"), [((), ()), ((0,), (0,)), ((2, 3), (3,)), ((), (4,)), ((2, 1), (3,))])
def test_leading_axes(p_shape, q_shape):
    x, q = rng.uniform(size=(*p_shape, 5)), rng.dirichlet(np.ones(5), q_shape)
    values = emd_loss(x, q, TREE, reduction="none")
    p = emdref.normalize.softmax(x)
    np.testing.assert_allclose(values, emdref.emd(p, q, TREE, 2), rtol=1e-13)
    assert jax.grad(lambda x: emd_loss(x, q, TREE, reduction="sum"))(x).shape == x.shape


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_halves_become_float32(dtype):
    x, q = jnp.asarray(X, dtype), jnp.array([0, 1, 2])
    value, grad = jax.value_and_grad(emd_loss)(x, q, TREE)
    assert (value.dtype, grad.dtype) == (jnp.float32, dtype)
    assert value == emd_loss(x.astype(jnp.float32), q, TREE) == emd_loss(x, jnp.eye(5, dtype=dtype)[:3], TREE)


def test_float32_without_x64():
    """In a process of its own: JAX 0.10 stays at float64 once an error has left a graph."""
    code = """
import emdref, jax, numpy
from emdref.jax import emd_loss
value, grad = jax.value_and_grad(emd_loss)(jax.numpy.zeros((1, 3)), numpy.eye(3)[:1], emdref.Chain(3))
print(value.dtype, grad.dtype)"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout == "float32 float32\n", run.stderr


@pytest.mark.parametrize(
    ("error", "words", "given"),
    [
        (ValueError, "its last axis must be the space's 4 bins", {"space": emdref.Chain(4)}),
        (TypeError, "space must be a Space, such as a Chain or a Tree, not int", {"space": 5}),
        (ValueError, "rho = 0.5 must be finite and >= 1", {"rho": 0.5}),
        (ValueError, "gauge='centred' is not one of", {"gauge": "centred"}),
        (ValueError, "mass='keep' is not one of", {"mass": "keep"}),
        (ValueError, "mass='' is not one of", {"mass": ""}),
        (ValueError, "accuracy='exact' is not one of", {"accuracy": "exact"}),
        (ValueError, "normalize='sigmoid' is not one of", {"normalize": "sigmoid"}),
        (ValueError, "reduction='max' is not one of", {"reduction": "max"}),
        (TypeError, "logits_or_p is int64", {"logits_or_p": np.ones((3, 5), int)}),
        (TypeError, r"logits_or_p is float64 of shape \(\)", {"logits_or_p": 1.0}),
        (TypeError, "q is complex128", {"q": Q + 0j}),
        (TypeError, "p is float64 and q is float32", {"q": Q.astype(np.float32)}),
        (ValueError, r"p \(3, 5\) and q \(3, 1\) cannot be broadcast", {"q": Q[:, :1]}),
        (ValueError, r"p \(3, 5\) and q \(2, 5\) cannot be broadcast", {"q": Q[:2]}),
        (ValueError, r"p \(1, 1, .*\.\.\. and q \(3, 5\)", {"logits_or_p": np.zeros((1,) * 60 + (4,))}),
        (ValueError, r"q holds classes in shape \(2,\)", {"q": np.array([0, 1])}),
        (TypeError, "logits_or_p is float8_e4m3fn", {"logits_or_p": jnp.asarray(X, jnp.float8_e4m3fn)}),
        (ValueError, r"axis = 2 is none of logits_or_p \(3, 5\): from -2 to 1", {"axis": 2}),
        (ValueError, r"q \(3,\) has no axis of bins where axis = 0 is", {"q": Q[:, 0], "axis": 0}),
        (TypeError, "axis must be an integer, not float", {"axis": 1.0}),
        (TypeError, "ignore_index must be an integer, not str", {"q": np.array([0, 1, 2]), "ignore_index": "none"}),
        (ValueError, "ignore_index is for classes, and q holds histograms", {"ignore_index": 0}),
        (ValueError, "weight is for classes, and q holds histograms", {"weight": np.ones(5)}),
        (ValueError, r"weight is float64 of shape \(4,\)", {"q": np.array([0, 1, 2]), "weight": np.ones(4)}),
        (ValueError, r"weight\[0\] = -1.0 must be", {"q": np.array([0, 1, 2]), "weight": -np.ones(5)}),
        (ValueError, r"cost has shape \(5,\): give one for each of the 4 edges", {"cost": np.ones(5)}),
        (TypeError, "cost is int64", {"cost": np.ones(4, int)}),
        (Exception, r"cost\[0\] = -1.0: a cost must be finite", {"cost": -np.ones(4)}),
        (TypeError, "logits_or_p has dtype object", {"logits_or_p": None}),
        (TypeError, "q has dtype <U5000", {"q": "x" * 5000}),
        (ValueError, "q is not a rectangular array of numbers", {"q": [[1.0], [1.0, 2.0]]}),
        (TypeError, "q is a list of sparse rows", {"q": [scipy.sparse.coo_array(row) for row in Q]}),
        (Exception, r"q\[1\] = 4294967297 is no class", {"q": np.array([0, 2**32 + 1, 2])}),
        (Exception, r"q\[1\] = -1 is no class: for 5 bins, 0 to 4", {"q": np.array([0, -1, 2])}),
        (Exception, r"q\[2\] = 5 is no class", {"q": np.array([0, 1, 5])}),
        (Exception, r"p\[1, 0\] = nan", {"logits_or_p": X * np.array([[1], [np.nan], [1]])}),
        (Exception, "row 0: p has total", {"logits_or_p": 2 * Q, "normalize": None}),
    ],
)
def test_bad_input(error, words, given, capfd):
    with pytest.raises(error, match=words):
        emd_loss(**{"logits_or_p": X, "q": Q, "space": CHAIN, **given}).block_until_ready()
    capfd.readouterr()  # where JAX writes the callback's traceback


@pytest.mark.parametrize("wide", [2**40, 2**32 + 1, -(2**32)])
def test_classes_do_not_wrap_around_where_jax_has_int32_alone(wide):
    jax.config.update("jax_enable_x64", False)
    with pytest.raises(ValueError, match=f"q holds {wide}, beyond int32"):
        emd_loss(X.astype(np.float32), np.array([0, wide, 2]), CHAIN)


def test_sparse_rows_are_made_dense():
    assert emd_loss(scipy.sparse.csr_array(X), scipy.sparse.csr_matrix(Q), TREE) == emd_loss(X, Q, TREE)


def test_labels_and_masks_are_looked_at():
    p = pd.Series(P[0], [0.0, 1.0, 3.0, 4.0, 7.0])
    named = emdref.Chain(positions=p.index)
    assert emd_loss(p, Q[0], named) == emd_loss(P[0], Q[0], named)
    with pytest.raises(ValueError, match=r"the labels of logits_or_p\.index are not space\.bin_labels"):
        emd_loss(p[::-1], Q[0], named)
    with pytest.raises(ValueError, match=r"the labels of q\.index are not space\.bin_labels"):
        emd_loss(P[0], p[::-1], named)
    with pytest.raises(ValueError, match=r"the labels of q\.index are not space\.bin_labels"):
        emd_loss(X, p[::-1], named)  # one histogram for all rows
    classes = pd.Series([0, 4, 1], ["one", "two", "three"])  # these are the rows' names
    assert emd_loss(X, classes, named) == emd_loss(X, classes.to_numpy(), named)
    for given, name in (
        ((np.ma.array(P, mask=np.eye(3, 5, dtype=bool)), Q), "logits_or_p"),
        ((P, np.ma.array(Q, mask=np.eye(3, 5, dtype=bool))), "q"),
    ):
        with pytest.raises(TypeError, match=f"{name} has masked entries"):
            emd_loss(*given, CHAIN)


@pytest.mark.parametrize("rho", [1, 2])
def test_a_circle(rho):
    """Values and gradients are those of NumPy, bit for bit."""
    circle = emdref.Circle(gaps=[0.5, 1.0, 2.0, 0.3, 0.7])
    value, grad = emdref.emd_value_and_grad(P, Q, circle, rho)
    loss = partial(emd_loss, q=Q, space=circle, rho=rho, normalize=None)
    np.testing.assert_array_equal(jax.jit(partial(loss, reduction="none"))(P), value)
    np.testing.assert_array_equal(jax.grad(partial(loss, reduction="sum"))(P), grad)


# --- arrays in and out of all other functions -------------------------------------------------------------------------

BOTH = jnp.asarray(P, jnp.float32), jnp.asarray(Q, jnp.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("wide", [True, False])
def test_arrays_come_back_from_every_function(dtype, wide):
    jax.config.update("jax_enable_x64", wide)
    if wide or dtype == np.float32:
        array_kinds.assert_same_everywhere(jnp.asarray, type(BOTH[0]), dtype, CHAIN)


def test_without_float64_nothing_is_rounded_to_float32():
    p = jnp.asarray(P)
    jax.config.update("jax_enable_x64", False)
    for x in (p, jnp.asarray([1, 0, 0, 2, 3])):
        with pytest.raises(TypeError, match=r"^the result is float64, of which jax\.numpy makes float32: .*enable_x64"):
            emdref.emd(x, x, CHAIN)


def test_memory_is_shared():
    p = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(64), 100))
    assert libraries.as_numpy(p, "p").ctypes.data == p.unsafe_buffer_pointer()
    chain, numpys = emdref.Chain(64), np.asarray(p)
    assert np.array_equal(emdref.emd_grad(p, p[::-1], chain), emdref.emd_grad(numpys, numpys[::-1], chain))


def refused(call, words):
    with pytest.raises((TypeError, ValueError, RuntimeError), match=words):
        call()


def test_arrays_that_are_no_histograms():
    p, q = BOTH
    for transform in (jax.jit, jax.grad, jax.vmap):
        for call in (emdref.emd, emdref.exact.emd, lambda p, q, space: emdref.losses.mse(p, q)[0]):
            refused(lambda: transform(lambda p: call(p, p, CHAIN))(p), r"^p is traced by JAX, .* use emdref\.jax")  # noqa: B023
    refused(lambda: emdref.emd(p.astype(jnp.bfloat16), q, CHAIN), "^p has dtype bfloat16: give float32 or float64")
    refused(lambda: emdref.emd(p, jax.random.key(0), CHAIN), r"^q \(PRNGKeyArray.* cannot be read")
    refused(
        lambda: emdref.emd(p, np.asarray(q), CHAIN),
        r"^p is an array of jax\.numpy and q of numpy .*jax\.numpy\.asarray",
    )
    refused(lambda: emdref.emd_grad(p, q, CHAIN, out=jnp.zeros_like(p)), "^out (is read-only|.*cannot be written to)")
    gone = p + 0
    gone.delete()
    refused(lambda: emdref.emd(gone, q, CHAIN), "^p lies nowhere: .*deleted")


DEVICES = """\
import jax, numpy as np, emdref
from jax.sharding import Mesh, NamedSharding, PartitionSpec
chain, one = emdref.Chain(3), jax.numpy.full((2, 3), 0.25)
two = jax.device_put(one, jax.devices()[1])
assert emdref.emd(two, two, chain).devices() == {jax.devices()[1]}
both = NamedSharding(Mesh(np.array(jax.devices()), "x"), PartitionSpec("x"))
for p, q in ((two, one), (jax.device_put(one, both), one)):
    try:
        emdref.emd(p, q, chain)
    except (TypeError, RuntimeError) as error:
        print(error)
"""


def test_arrays_on_several_devices():
    flags = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    ran = subprocess.run([sys.executable, "-c", DEVICES], env=flags, capture_output=True, text=True, check=True)
    apart, spread = ran.stdout.splitlines()
    assert re.fullmatch("p lies on .*1.* and q on .*0.*: give both on one device", apart)
    assert re.fullmatch(r"p is a JAX array on .*, where nothing here computes: give jax\.device_put\(p, .*\)", spread)


def test_an_array_on_a_gpu_is_told_how_to_come_back(monkeypatch):
    monkeypatch.setattr(type(BOTH[0]), "devices", lambda x: [types.SimpleNamespace(platform="gpu")])
    refused(lambda: emdref.emd(*BOTH, CHAIN), r"^p is a JAX array on .*: give jax\.device_put\(p, jax\.devices\(")


# --- on pages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", page_code.pages("jax"))
def test_the_pages_code_prints_what_they_say(page):
    jax.config.update("jax_enable_x64", False)  # as readers have it
    page_code.run(page, "jax")
