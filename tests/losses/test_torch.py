"""The losses for PyTorch beside exact rationals, an explicit Sinkhorn, and autograd's own checks."""

import contextlib
import copy
import gc
import io
import multiprocessing
import pickle
import re
import subprocess
import sys
import threading
import warnings
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

torch = pytest.importorskip("torch", reason="the losses for PyTorch need the extra torch: pip install 'emdref[torch]'")

import page_code  # noqa: E402
from torch.autograd import gradcheck, gradgradcheck  # noqa: E402
from torch.autograd.gradcheck import GradcheckError  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

import array_kinds  # noqa: E402
import cases  # noqa: E402
import emdref  # noqa: E402
import emdref.torch as module  # noqa: E402
import sinkhorn_oracle  # noqa: E402
from emdref import exact  # noqa: E402
from emdref.arguments import libraries  # noqa: E402
from emdref.kernels.compile import threads  # noqa: E402
from emdref.torch import EMDLoss, EMDMetric, SinkhornLoss, emd_loss, sinkhorn_loss  # noqa: E402

CHAIN = emdref.Chain(gaps=[0.5, 1.0, 2.0, 0.3])
TREE = emdref.Tree([-1, 0, 0, 1, 1, 2, 2, 2], [0, 0.5, 2.0, 1.0, 0.7, 0.2, 1.5, 0.4])
SPACES = {"chain": CHAIN, "tree": TREE}
LAYERS = ("softmax", "l1", "square")
VARIANTS = ("paper", "frogner", "cuturi", "caffe", "mocha")
each_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
each_layer = pytest.mark.parametrize("layer", LAYERS)
each_loss = pytest.mark.parametrize("loss", [emd_loss, sinkhorn_loss])
compiled = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def outputs(*shape, dtype=torch.float64, seed=0):
    """What a network could put out: positive, so that every layer takes it."""
    return torch.rand(*shape, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).add(0.1).to(dtype)


def histograms(*shape, dtype=torch.float64, seed=1):
    x = outputs(*shape, seed=seed)
    return (x / x.sum(-1, keepdim=True)).to(dtype)


def recorded(x):
    return x.clone().requires_grad_()


X, Q = outputs(3), histograms(3)


def gradient(loss, x=X):
    x = recorded(x)
    return torch.autograd.grad(loss(x), x)[0]


# --- autograd's checks ------------------------------------------------------------------------------------------------


@each_space
@each_layer
@pytest.mark.parametrize("gauge", ["raw", "zero_sum", "normalized"])
@pytest.mark.parametrize("rho", [1, 2, 2.5, 3])
def test_plain_derivatives_behind_a_layer(space, layer, gauge, rho):
    loss = partial(emd_loss, q=Q, space=space, rho=rho, gauge=gauge, normalize=layer)
    assert gradcheck(loss, recorded(X))
    assert gradgradcheck(loss, recorded(X))


@each_space
@pytest.mark.parametrize("rho", [1, 2, 2.5, 3])
def test_raw_is_the_derivative_without_a_layer(space, rho):
    loss = partial(emd_loss, q=Q, space=space, rho=rho, gauge="raw", normalize=None, reduction="sum")
    p = histograms(3, seed=5)
    assert gradcheck(loss, recorded(p))
    assert gradgradcheck(loss, recorded(p))


@each_space
@pytest.mark.parametrize("rho", [1, 2, 3])
def test_normalized_is_the_derivative_through_the_total_without_a_layer(space, rho):
    loss = partial(emd_loss, q=Q, space=space, rho=rho, gauge="normalized", normalize=None, mass="normalize")
    assert gradcheck(loss, recorded(X))
    assert gradgradcheck(loss, recorded(X))


@each_space
def test_scaled_is_n_times_the_derivative(space):
    zero_sum, scaled = (
        gradient(lambda x, gauge=gauge: emd_loss(x, Q, space, gauge=gauge)) for gauge in ("zero_sum", "scaled")
    )
    torch.testing.assert_close(scaled, 5 * zero_sum, rtol=1e-14, atol=1e-16)
    with pytest.raises(GradcheckError):
        gradcheck(partial(emd_loss, q=Q, space=space, gauge="scaled"), recorded(X))


@each_space
@pytest.mark.parametrize("gauge", cases.GAUGES)
def test_double_backward_is_the_product_with_the_hessian(space, gauge):
    p, q, v = histograms(seed=5), histograms(), outputs(seed=9)
    v = v - v.mean() if gauge in ("zero_sum", "scaled") else v  # along steps that conserve mass
    p = recorded(p)
    (g,) = torch.autograd.grad(emd_loss(p, q, space, 3, gauge=gauge, normalize=None), p, create_graph=True)
    (got,) = torch.autograd.grad(g, p, v)
    hess = cases.exact_hess(p.tolist(), q.tolist(), space, 3, gauge)
    want = [sum(float(h) * x for h, x in zip(row, v.tolist(), strict=True)) for row in hess]
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)


def test_a_gradient_penalty():
    x = recorded(X)
    (g,) = torch.autograd.grad(emd_loss(x, Q, TREE), x, create_graph=True)
    (penalty,) = torch.autograd.grad((g**2).sum(), x)
    hessian = torch.autograd.functional.hessian(lambda y: emd_loss(y, Q, TREE), X)
    torch.testing.assert_close(penalty, 2 * torch.einsum("abij,ij->ab", hessian, g.detach()))


def test_batches_of_gradients():
    loss = partial(emd_loss, q=Q, space=TREE, rho=3)
    assert gradgradcheck(loss, recorded(X), check_batched_grad=True)
    hessians = [torch.autograd.functional.hessian(loss, X, vectorize=each) for each in (True, False)]
    torch.testing.assert_close(*hessians)
    jacobians = [
        torch.autograd.functional.jacobian(lambda x: sinkhorn_loss(x, Q, TREE, reduction="none"), X, vectorize=each)
        for each in (True, False)
    ]
    torch.testing.assert_close(*jacobians)


def test_no_third_derivative():
    x = recorded(X)
    (g,) = torch.autograd.grad(emd_loss(x, Q, TREE, 3), x, create_graph=True)
    (h,) = torch.autograd.grad((g**2).sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="no third derivative"):
        h.sum().backward()


def test_no_second_derivative_of_sinkhorn():
    x = recorded(X)
    (g,) = torch.autograd.grad(sinkhorn_loss(x, Q, TREE), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative: use emd_loss"):
        g.sum().backward()


# --- beside exact rationals -------------------------------------------------------------------------------------------


@each_space
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gauge", cases.GAUGES)
@pytest.mark.parametrize("rho", [1, 2, 3])
def test_values_and_gradients_without_a_layer(space, dtype, gauge, rho):
    p, q = recorded(histograms(3, dtype=dtype, seed=5)), histograms(3, dtype=dtype)
    values = emd_loss(p, q, space, rho, gauge=gauge, normalize=None, reduction="none")
    values.sum().backward()
    assert values.dtype == p.grad.dtype == dtype
    for a, b, value, grad in zip(p.tolist(), q.tolist(), values.detach().numpy(), p.grad.numpy(), strict=True):
        cases.assert_within_ulps(value, [cases.exact_emd(a, b, space, rho)])
        unit = cases.grad_unit(a, b, space, rho, gauge)
        cases.assert_within(grad, cases.exact_grad(a, b, space, rho, gauge), 8 * cases.eps(grad.dtype) * unit)


@each_space
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_behind_l1(space, dtype):
    x, q = recorded(outputs(3, dtype=dtype)), histograms(3, dtype=dtype)
    values = emd_loss(x, q, space, normalize="l1", reduction="none")
    values.sum().backward()
    tolerance = 32 * float(torch.finfo(dtype).eps)  # a sum of five, a quotient, and the same on the way back
    for a, b, value, grad in zip(x.tolist(), q.tolist(), values.tolist(), x.grad.tolist(), strict=True):
        assert value == pytest.approx(float(cases.exact_emd(a, b, space, 2, normalize=True)), rel=tolerance)
        want = [float(r) for r in cases.exact_grad(a, b, space, 2, "normalized")]
        np.testing.assert_allclose(grad, want, rtol=0, atol=tolerance * max(map(abs, want)))


@each_space
def test_values_and_gradients_behind_softmax(space):
    x = recorded(X)
    values = emd_loss(x, Q, space, 3, reduction="none")
    values.sum().backward()
    for logits, b, value, grad in zip(X.numpy(), Q.tolist(), values.tolist(), x.grad, strict=True):
        p = np.exp(logits) / np.exp(logits).sum()
        assert value == pytest.approx(float(cases.exact_emd(p, b, space, 3)), rel=1e-14)
        r = np.array([float(s) for s in cases.exact_grad(p, b, space, 3, "raw")])
        np.testing.assert_allclose(grad, p * (r - p @ r), rtol=0, atol=1e-15)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("where", ["space", "costs"])
def test_every_variant_of_sinkhorn(variant, where):
    p, q = recorded(histograms(2, seed=5)), histograms(2)
    cost = TREE.distance_matrix()
    place = TREE if where == "space" else torch.tensor(cost)
    values = sinkhorn_loss(p, q, place, 2.0, max_iter=5, variant=variant, normalize=None, reduction="none")
    values.sum().backward()
    for i in range(2):
        want = sinkhorn_oracle.sinkhorn(variant, p[i].tolist(), q[i].tolist(), cost, 2.0, 5)
        assert values[i].item() == pytest.approx(float(want["value"]), rel=1e-13)
        np.testing.assert_allclose(p.grad[i], want["grad"].astype(float), rtol=1e-13, atol=1e-13)
    result = emdref.sinkhorn(p.detach().numpy(), q.numpy(), TREE, 2.0, max_iter=5, variant=variant)
    if where == "space":
        assert np.array_equal(values.detach(), result.value)
        assert np.array_equal(p.grad, result.grad)


@each_layer
@pytest.mark.parametrize("variant", VARIANTS)
def test_sinkhorn_behind_a_layer(layer, variant):
    """The layer's product with the published gradient at p."""
    options = {"max_iter": 5, "variant": variant}
    got = gradient(lambda x: sinkhorn_loss(x, Q, TREE, 2.0, normalize=layer, reduction="sum", **options))
    at = getattr(emdref.normalize, layer)
    result = emdref.sinkhorn(at(X.numpy()), Q.numpy(), TREE, 2.0, **options)
    np.testing.assert_allclose(got, at.vjp(X.numpy(), result.grad), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("layer", "empty"), [("softmax", -torch.inf), ("l1", 0.0), ("square", 0.0)])
def test_empty_bins_have_finite_sinkhorn_gradients(variant, layer, empty):
    x = X.clone()
    x[0, 1] = x[2, 3] = empty
    got = gradient(lambda x: sinkhorn_loss(x, Q, CHAIN, variant=variant, normalize=layer), x)
    assert got.isfinite().all()
    assert got.abs().max() > 0


def test_sinkhorns_other_options():
    values = [
        sinkhorn_loss(X, Q, TREE, max_iter=500, **options)
        for options in ({"domain": "log"}, {"kernel": "dense"}, {"tol": "auto"}, {"variant": "overrelaxed"})
    ]
    for value in values[1:]:
        torch.testing.assert_close(value, values[0])


# --- what may be given ------------------------------------------------------------------------------------------------


@each_loss
def test_classes_are_one_hot_targets(loss):
    classes = torch.tensor([4, 0, 2])
    one_hot = torch.nn.functional.one_hot(classes, 5)
    for q in (classes, classes.int(), classes.to(torch.uint8), one_hot, one_hot.bool()):
        assert torch.equal(loss(X, q, TREE), loss(X, one_hot.double(), TREE))
        assert torch.equal(
            gradient(lambda x, q=q: loss(x, q, TREE)), gradient(lambda x: loss(x, one_hot.double(), TREE))
        )


@each_loss
@pytest.mark.parametrize(("p_shape", "q_shape"), [((), ()), ((0,), (0,)), ((2, 3), (3,)), ((), (4,)), ((2, 1), (3,))])
def test_leading_axes(loss, p_shape, q_shape):
    x, q = outputs(*p_shape), histograms(*q_shape)
    got = loss(x, q, TREE, reduction="none")
    lead = np.broadcast_shapes(p_shape, q_shape)
    assert tuple(got.shape) == lead
    rows, targets = (np.broadcast_to(y, (*lead, 5)).reshape(-1, 5) for y in (x, q))
    for i, value in enumerate(got.reshape(-1)):
        assert value == loss(torch.tensor(rows[i]), torch.tensor(targets[i]), TREE)
    assert gradient(lambda x: loss(x, q, TREE, reduction="sum"), x).shape == x.shape


def test_a_histogram_as_long_as_the_batch():
    x, q = outputs(5), histograms()
    got = torch.func.vmap(lambda y: emd_loss(y, q, TREE, reduction="none"))(torch.stack([x, x + 1]))
    assert torch.equal(got[0], torch.stack([emd_loss(row, q, TREE) for row in x]))


@each_loss
def test_a_class_for_each_of_several_axes(loss):
    x, q = outputs(2, 3), torch.tensor([[0, 1, 2], [4, 3, 2]])
    assert torch.equal(loss(x, q, CHAIN, reduction="none")[1], loss(x[1], q[1], CHAIN, reduction="none"))
    assert loss(x[0, 0], torch.tensor(2), CHAIN) == loss(x[:1, 0], torch.tensor([2]), CHAIN)


@each_loss
def test_strides_do_not_matter(loss):
    x, q = outputs(4), histograms(4)
    for a, b in ((x.T.contiguous().T, q.T.contiguous().T), (x.repeat(1, 2)[:, :5], q.repeat(2, 1)[::2].roll(0))):
        expected = loss(a.contiguous(), b.contiguous(), TREE, reduction="none")
        assert torch.equal(loss(a, b, TREE, reduction="none"), expected)
        assert torch.equal(
            gradient(lambda y, b=b: loss(y.T, b, TREE), a.T), gradient(lambda y, b=b: loss(y, b, TREE), a).T
        )


@each_loss
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_reductions(loss, reduction):
    each = torch.stack([loss(x, q, TREE) for x, q in zip(X, Q, strict=True)])
    expected = {"mean": each.mean(), "sum": each.sum(), "none": each}[reduction]
    torch.testing.assert_close(loss(X, Q, TREE, reduction=reduction), expected, rtol=1e-15, atol=0)


@each_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_become_float32(loss, dtype):
    x = recorded(outputs(3, dtype=dtype))
    value = loss(x, torch.tensor([0, 1, 2]), TREE)
    value.backward()
    assert value.dtype == torch.float32
    assert x.grad.dtype == dtype and x.grad.isfinite().all()
    assert value == loss(x.detach().float(), torch.tensor([0, 1, 2]), TREE)
    assert value == loss(x.detach(), torch.eye(5, dtype=dtype)[:3], TREE)


@each_loss
@each_layer
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast(loss, layer, dtype):
    network = torch.nn.Linear(5, 5, bias=False)
    torch.nn.init.constant_(network.weight, 0.5)
    with torch.autocast("cpu", dtype=dtype):
        out = network(X.float())
        value = loss(out, Q.float(), TREE, normalize=layer)
    value.backward()
    assert (out.dtype, value.dtype) == (dtype, torch.float32)
    assert value == loss(out.detach().float(), Q.float(), TREE, normalize=layer)
    assert network.weight.grad.dtype == torch.float32 and network.weight.grad.isfinite().all()


def test_a_large_float32_softmax_counts_as_a_histogram():
    tree = emdref.wordnet_tree()
    x = 10 * torch.randn(64, 1000, generator=torch.Generator().manual_seed(0))
    assert emd_loss(x, torch.arange(64), tree).isfinite()


def test_logits_that_are_masked_out():
    x = X.clone()
    x[:, 2] = -torch.inf
    grad = gradient(lambda x: emd_loss(x, Q, CHAIN), x)
    assert grad.isfinite().all() and not grad[:, 2].any()


@each_loss
def test_nothing_recorded(loss):
    with torch.no_grad():
        plain = loss(recorded(X), Q, TREE)
    with torch.inference_mode():
        inferred = loss(X.clone(), Q.clone(), TREE)
    assert plain == inferred == loss(X, Q, TREE)
    assert not plain.requires_grad


# --- targets and costs that are trained, rows that do not count -------------------------------------------------------


RING = emdref.Circle(gaps=[0.5, 1.0, 2.0, 0.3, 0.9])
THREE = {**SPACES, "circle": RING}
CLASSES, W = torch.tensor([1, -100, 4]), torch.tensor([2.0, 0.25, 3.0, 1.0, 0.5]).double()
each_of_three = pytest.mark.parametrize("space", THREE.values(), ids=THREE)


def near(space):
    """Other costs for which no circle has two medians."""
    return torch.tensor(space.edges.cost) + torch.linspace(0.1, 0.5, len(space.edges.cost)).double()


@each_of_three
@pytest.mark.parametrize("rho", [1, 2, 3])
def test_targets_and_costs_have_derivatives(space, rho):
    def both(x, y):
        return emd_loss(x, torch.softmax(y, -1), space, rho)

    assert gradcheck(both, (recorded(X[:1]), recorded(outputs(1, seed=7))))
    assert gradcheck(
        lambda x, q, cost: emd_loss(x, q, space, rho, gauge="raw", mass="ignore", cost=cost),
        (recorded(X[:1]), recorded(Q[:1]), recorded(near(space))),
    )
    if space is not RING:
        assert gradgradcheck(both, (recorded(X[:1]), recorded(outputs(1, seed=7))))
        plain = partial(emd_loss, space=space, rho=rho, gauge="raw", normalize=None)
        assert gradgradcheck(plain, (recorded(histograms(1, seed=5)), recorded(Q[:1])))


@each_of_three
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_targets_and_costs_beside_exact_rationals(space, dtype):
    p, q = recorded(histograms(3, dtype=dtype, seed=5)), recorded(histograms(3, dtype=dtype))
    cost = recorded(near(space).float())
    other = space.with_costs(cost.detach().numpy())
    values = emd_loss(p, q, space, 2, gauge="raw", normalize=None, reduction="none", cost=cost)
    values.backward(torch.tensor([1.0, 2.0, 4.0], dtype=dtype))
    want = np.zeros(len(cost))
    for i, (a, b) in enumerate(zip(p.tolist(), q.tolist(), strict=True)):
        cases.assert_within_ulps(values[i].detach().numpy(), [exact.emd(a, b, other, 2)])
        want += 2**i * np.array(exact.cost_grad(a, b, other, 2), float)
        slopes = [-(2**i) * g for g in exact.grad(a, b, other, 2, gauge="raw")]
        bound = 8 * cases.eps(q.grad.numpy().dtype) * max(map(abs, slopes))
        cases.assert_within(q.grad[i].numpy(), slopes, bound)
    assert (q.grad.dtype, cost.grad.dtype) == (dtype, torch.float32)
    assert torch.equal(q.grad, -p.grad)
    eps = float(torch.finfo(torch.float32 if dtype == torch.float32 else torch.float64).eps)
    np.testing.assert_allclose(cost.grad, want, rtol=16 * eps + float(torch.finfo(torch.float32).eps))


def test_a_target_for_many_rows_gathers_their_gradients():
    q = recorded(Q[0])
    emd_loss(X, q, TREE, reduction="sum").backward()
    each = [recorded(Q[0]) for _ in X]
    for x, y in zip(X, each, strict=True):
        emd_loss(x, y, TREE).backward()
    torch.testing.assert_close(q.grad, sum(y.grad for y in each), rtol=1e-14, atol=1e-16)


def test_costs_have_one_derivative():
    x, cost = recorded(X), recorded(near(TREE))
    for at in (x, cost):
        (g,) = torch.autograd.grad(emd_loss(x, Q, TREE, cost=cost), at, create_graph=True)
        with pytest.raises(NotImplementedError, match=r"no second derivative by costs: give cost.detach\(\)"):
            (g**2).sum().backward()
    (g,) = torch.autograd.grad(emd_loss(x, Q, TREE, cost=cost.detach()), x, create_graph=True)
    (g**2).sum().backward()
    y, other = recorded(X), TREE.with_costs(near(TREE).numpy())
    (g,) = torch.autograd.grad(emd_loss(y, Q, other), y, create_graph=True)
    (g**2).sum().backward()
    assert torch.equal(x.grad, y.grad)


def test_a_tree_is_learnt():
    """Costs of which three distances are asked: what a step along the gradient brings is what its length says."""
    weight, ends = torch.zeros(8, dtype=torch.float64), torch.eye(5, dtype=torch.float64)
    loss = EMDLoss(TREE, 1, normalize=None, reduction="none")
    weight.requires_grad_()
    adam = torch.optim.Adam([weight], lr=0.2)
    for _ in range(150):
        cost = torch.nn.functional.softplus(weight)
        error = (loss(ends[[0, 0, 2]], ends[[1, 2, 4]], cost=cost) - torch.tensor([3.0, 4.0, 0.5])).square().sum()
        adam.zero_grad(), error.backward(), adam.step()
    learnt = TREE.with_costs(torch.nn.functional.softplus(weight.detach()).numpy()).distance_matrix()
    np.testing.assert_allclose([learnt[0, 1], learnt[0, 2], learnt[2, 4]], [3, 4, 0.5], atol=1e-3)


@each_loss
@each_layer
def test_rows_that_are_passed_over(loss, layer):
    """As if they were not there, whatever they hold; the gradient is exactly 0."""
    x = X.clone()
    x[1] = torch.nan
    keep = CLASSES >= 0
    for reduction in ("mean", "sum"):
        got, want = recorded(x), recorded(X[keep])
        options = {"normalize": layer, "reduction": reduction, "weight": W}
        one = loss(got, CLASSES, TREE, ignore_index=-100, **options)
        other = loss(want, CLASSES[keep], TREE, **options)
        one.backward()
        other.backward()
        torch.testing.assert_close(one, other, rtol=1e-15, atol=0)
        torch.testing.assert_close(got.grad[keep], want.grad, rtol=1e-14, atol=1e-17)
        assert not got.grad[1].any()
    each = loss(x, CLASSES, TREE, ignore_index=-100, normalize=layer, reduction="none")
    assert torch.equal(each[keep], loss(X[keep], CLASSES[keep], TREE, normalize=layer, reduction="none"))
    assert each[1] == 0
    none = torch.full((3,), 2)
    assert loss(X, none, TREE, ignore_index=2, normalize=layer).isnan()
    assert loss(X, none, TREE, ignore_index=2, normalize=layer, reduction="sum") == 0


def test_rows_that_are_passed_over_without_a_layer_and_twice_differentiated():
    p = recorded(torch.softmax(X, -1))
    (g,) = torch.autograd.grad(emd_loss(p, CLASSES, TREE, 1.5, normalize=None, ignore_index=-100), p, create_graph=True)
    (g**2).sum().backward()
    assert not p.grad[1].any() and p.grad[0].any()


@each_loss
def test_weights_are_those_of_cross_entropy(loss):
    """By torch's own reductions of a loss that is one number a row: the same weights, sums and means."""
    classes = torch.tensor([0, 2, 2, 4, 1, -100])
    x = outputs(6)
    rows = loss(x, classes.clamp(0), TREE, reduction="none")
    log_p = torch.zeros(6, 5, dtype=torch.float64)
    log_p[torch.arange(6), classes.clamp(0)] = -rows
    for reduction in ("mean", "sum", "none"):
        want = torch.nn.functional.nll_loss(log_p, classes, W, ignore_index=-100, reduction=reduction)
        got = loss(x, classes, TREE, weight=W, ignore_index=-100, reduction=reduction)
        torch.testing.assert_close(got, want, rtol=1e-15, atol=0)


@each_loss
def test_an_axis_of_bins(loss):
    x, q, classes = outputs(2, 3, 4), histograms(2, 3, 4), torch.arange(24).reshape(2, 3, 4) % 5
    for dim in (0, 1, -2, 3, -1):
        for target, there in ((q, q.movedim(-1, dim)), (classes, classes), (q[0, 0, 0], q[0, 0, 0])):
            if target.ndim == 1 and dim not in (3, -1):
                continue
            options = {"reduction": "none", "normalize": "l1"}
            assert torch.equal(
                loss(x.movedim(-1, dim), there, TREE, dim=dim, **options), loss(x, target, TREE, **options)
            )
    grad = gradient(lambda y: loss(y, classes, TREE, dim=1), x.movedim(-1, 1))
    assert torch.equal(grad.movedim(1, -1), gradient(lambda y: loss(y, classes, TREE), x))


def test_a_metric_over_batches():
    metric = EMDMetric(TREE, weight=W, ignore_index=-100, dim=1)
    assert metric.compute().isnan()
    x, classes = outputs(6, 2).float(), torch.tensor([[0, 2], [2, 4], [1, -100], [3, 3], [4, -100], [-100, 0]])
    metric.loss.float()
    for rows in ([0, 1], [2], [3, 4, 5]):
        metric.update(x[rows].movedim(-1, 1).requires_grad_(), classes[rows])
    want = emd_loss(x.double(), classes, TREE, 1, weight=W, ignore_index=-100)
    torch.testing.assert_close(metric.compute(), want, rtol=1e-6, atol=0)
    assert metric.sums.dtype == torch.float64 and not metric.sums.requires_grad
    other = pickle.loads(pickle.dumps(metric))
    other.sums += metric.sums  # what all_reduce does
    assert other.compute() == metric.compute()
    metric.reset()
    assert metric.compute().isnan()
    with pytest.raises(TypeError, match="leave out reduction"):
        EMDMetric(TREE, reduction="sum")


# --- what is refused --------------------------------------------------------------------------------------------------


SPARSE = scipy.sparse.csr_array(Q.numpy())
HOLE, DEBT = X * torch.tensor([[1.0], [torch.nan], [1.0]]), X - torch.eye(5)[0]
REFUSED = [
    (TypeError, "logits_or_p must be a torch tensor, not ndarray", {"logits_or_p": X.numpy()}),
    (TypeError, "q must be a torch tensor, not list", {"q": [0, 1, 2]}),
    (TypeError, r"q must be .*, not csr_array: give torch.as_tensor\(q.toarray\(\)\)", {"q": SPARSE}),
    (TypeError, r"q must be .*, not Series: give torch.as_tensor\(q.to_numpy\(\)\)", {"q": pd.Series([0, 1, 2])}),
    (TypeError, "q has masked entries", {"q": np.ma.array(Q.numpy(), mask=np.eye(3, 5))}),
    (TypeError, "q must be a torch tensor, not x{37}[.]{3}:", {"q": type("x" * 5000, (), {})()}),
    (ValueError, r"p \(1, 1, .*\.\.\. and q \(3, 5\)", {"logits_or_p": torch.zeros((1,) * 60 + (4,)).double()}),
    (TypeError, "logits_or_p is torch.int64 of shape", {"logits_or_p": torch.ones(3, 5, dtype=torch.int64)}),
    (TypeError, "logits_or_p is torch.complex128", {"logits_or_p": X.to(torch.complex128)}),
    (TypeError, r"logits_or_p is torch.float64 of shape \(\)", {"logits_or_p": X[0, 0]}),
    (TypeError, "q is torch.complex128", {"q": Q.to(torch.complex128)}),
    (TypeError, r"p is torch.float64 and q is torch.float32: .* q.to\(torch.float64\)", {"q": Q.float()}),
    (TypeError, r"q is a sparse tensor .*: give q.to_dense\(\)", {"q": Q.to_sparse()}),
    (RuntimeError, r"q is on meta, .* q.cpu\(\)", {"q": Q.to("meta")}),
    (RuntimeError, r"logits_or_p is on meta, .* the CPU and on CUDA", {"logits_or_p": X.to("meta")}),
    (ValueError, r"dim = 2 is no axis of logits_or_p \(3, 5\): from -2 to 1", {"dim": 2}),
    (ValueError, r"q \(3,\) has no axis of bins where dim = 0 is", {"q": Q[:, 0], "dim": 0}),
    (TypeError, "dim must be an integer, not float", {"dim": -1.0}),
    (TypeError, "dim must be an integer, not NoneType", {"dim": None}),
    (TypeError, "ignore_index must be an integer, not bool", {"ignore_index": True}),
    (ValueError, "ignore_index = 1180591620717411303424 is beyond int64", {"ignore_index": 2**70}),
    (ValueError, "ignore_index is for classes, and q holds histograms", {"ignore_index": 0}),
    (ValueError, "weight is for classes, and q holds histograms", {"weight": torch.ones(5).double()}),
    (TypeError, "weight must be a torch tensor, not list", {"weight": [1.0] * 5}),
    (TypeError, "weight is torch.int64 of shape", {"weight": torch.ones(5, dtype=torch.int64)}),
    (ValueError, r"weight requires grad.* weight.detach\(\)", {"weight": torch.ones(5).requires_grad_()}),
    (ValueError, r"weight\[1\] = -1.0 must be finite and >= 0", {"weight": torch.tensor([1.0, -1.0])}),
    (ValueError, r"weight\[0\] = nan must be finite", {"weight": torch.tensor([torch.nan, 1.0])}),
    (ValueError, r"weight is .*float64 of shape \(4,\): give one of torch.float64 for each of the 5 classes",
     {"q": torch.tensor([0, 1, 2]), "weight": torch.ones(4).double()}),
    (ValueError, "weight is torch.float32 .*: give one of torch.float64",
     {"q": torch.tensor([0, 1, 2]), "weight": torch.ones(5)}),
    (TypeError, r"weight is torch.float64 of shape \(1, 5\)",
     {"q": torch.tensor([0, 1, 2]), "weight": torch.ones(1, 5).double()}),
    (RuntimeError, "weight is on meta", {"q": torch.tensor([0, 1, 2]), "weight": torch.ones(5).to("meta")}),
    (ValueError, r"p \(3, 5\) and q \(3, 4\) cannot be broadcast", {"q": Q[:, :4]}),
    (ValueError, r"p \(3, 5\) and q \(3, 1\) cannot be broadcast", {"q": Q[:, :1]}),
    (ValueError, r"p \(3, 5\) and q \(2, 5\) cannot be broadcast", {"q": Q[:2]}),
    (ValueError, r"q holds classes in shape \(2,\), the output's rows are \(3,\)", {"q": torch.tensor([0, 1])}),
    (ValueError, r"q\[1\] = -1 is no class: for 5 bins, 0 to 4", {"q": torch.tensor([0, -1, 2])}),
    (ValueError, r"q\[2\] = 5 is no class", {"q": torch.tensor([0, 1, 5])}),
    (ValueError, "= 7 is no class", {"logits_or_p": X[0], "q": torch.tensor(7)}),
    (ValueError, r"p\[1, 0\] = nan.*normalize='softmax' of logits_or_p", {"logits_or_p": HOLE}),
    (ValueError, r"p\[0, 0\] = nan.*normalize='l1'", {"logits_or_p": 0 * X, "normalize": "l1"}),
    (ValueError, r"p\[0, 0\] = nan.*normalize='square'", {"logits_or_p": 0 * X, "normalize": "square"}),
    (ValueError, r"p\[1, 0\] = -.*no negative mass.*normalize='l1'", {"logits_or_p": DEBT, "normalize": "l1"}),
    (ValueError, "row 0: p has total .* and q ", {"logits_or_p": 2 * Q, "normalize": None}),
    (ValueError, r"q\[0, 0\] = -1", {"q": -torch.ones_like(Q)}),
    (ValueError, "normalize='sigmoid' is not one of softmax, l1, square", {"normalize": "sigmoid"}),
    (ValueError, "reduction='max' is not one of mean, sum, none", {"reduction": "max"}),
]  # fmt: skip


@each_loss
@pytest.mark.parametrize(("error", "words", "given"), REFUSED, ids=[words for _, words, _ in REFUSED])
def test_bad_input(loss, error, words, given):
    with pytest.raises(error, match=words) as refused:
        loss(**{"logits_or_p": X, "q": Q, **given}, **{"space" if loss is emd_loss else "space_or_cost": CHAIN})
    assert len(str(refused.value)) <= 300


@pytest.mark.parametrize(
    ("error", "words", "cost"),
    [
        (ValueError, "cost has 5 entries for 4 gaps: give one for each", torch.ones(5)),
        (ValueError, r"cost\[2\] = -1.0: a cost must be finite and >= 0", torch.tensor([1.0, 0.0, -1.0, 1.0])),
        (ValueError, r"cost\[0\] = nan", torch.full((4,), torch.nan)),
        (TypeError, "cost must be a torch tensor, not ndarray", np.ones(4)),
        (TypeError, "cost is torch.float16", torch.ones(4).half()),
        (TypeError, r"cost is torch.float32 of shape \(1, 4\)", torch.ones(1, 4)),
        (RuntimeError, "cost is on meta", torch.ones(4).to("meta")),
    ],
)
def test_bad_costs(error, words, cost):
    with pytest.raises(error, match=words) as refused:
        emd_loss(X, Q, CHAIN, cost=cost)
    assert len(str(refused.value)) <= 300


def test_costs_of_what_takes_no_others():
    class Pair(emdref.Space):
        n_bins = 2
        edges = emdref.Edges(np.array([0]), np.array([1]), np.array([3.0]))

    with pytest.raises(TypeError, match="cannot take other costs: define with_costs"):
        emd_loss(X[:, :2], Q[:, :2], Pair(), cost=torch.ones(1))
    with pytest.raises(TypeError, match="cost goes with each call"):
        EMDLoss(CHAIN, cost=torch.ones(4))
    named = emdref.Tree([-1, 0, 0, 1], labels=["r", "a", "b", "c"])
    with pytest.raises(ValueError, match=r"cost\[3 \('c'\)\] = -2.0"):
        emd_loss(X[:, :2], torch.tensor([0, 1, 0]), named, cost=torch.tensor([-1.0, 0.0, 0.0, -2.0]))


@each_loss
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors(loss, layout):
    nested = torch.nested.nested_tensor(list(Q), layout=layout)
    with pytest.raises(TypeError, match=r"q is a nested tensor.*give torch\.stack\(q\.unbind\(\)\)"):
        loss(X, nested, TREE)
    assert torch.equal(torch.stack(nested.unbind()), Q)


def test_bins_must_be_the_spaces():
    with pytest.raises(ValueError, match="its last axis must be the space's 4 bins"):
        emd_loss(X, Q, emdref.Chain(4))


LAYERS_OR_REDUCTIONS = [
    (ValueError, "normalize='sigmoid' is not one of", {"normalize": "sigmoid"}),
    (ValueError, r"normalize=\['l1'\] is not one of", {"normalize": ["l1"]}),
    (ValueError, "reduction='max' is not one of", {"reduction": "max"}),
    (ValueError, "reduction=None is not one of", {"reduction": None}),
]


def refused_alike(error, words, function, module, options):
    """A call and a module's construction raise the same."""
    with pytest.raises(error, match=words) as called:
        function(X, Q, **options)
    with pytest.raises(error, match=words) as made:
        module(**options)
    assert str(called.value) == str(made.value)


@pytest.mark.parametrize(
    ("error", "words", "given"),
    [
        *LAYERS_OR_REDUCTIONS,
        (TypeError, "space must be a Space, such as a Chain or a Tree, not int", {"space": 5}),
        (TypeError, "space must be a Space, such as a Chain or a Tree, not type", {"space": emdref.Chain}),
        (TypeError, "space must be a Space, such as a Chain or a Tree, not Tensor", {"space": torch.zeros(5, 5)}),
        (ValueError, "rho = 0.5 must be finite and >= 1", {"rho": 0.5}),
        (ValueError, "rho = nan must be finite and >= 1", {"rho": float("nan")}),
        (ValueError, "rho = inf must be finite and >= 1", {"rho": float("inf")}),
        (TypeError, "rho must be a real number", {"rho": "2"}),
        (TypeError, r"rho must be a number, not a tensor.* rho.item\(\)", {"rho": torch.tensor(2.0)}),
        (ValueError, "gauge='centred' is not one of", {"gauge": "centred"}),
        (ValueError, "gauge=None is not one of", {"gauge": None}),
        (ValueError, "mass='keep' is not one of", {"mass": "keep"}),
        (ValueError, "mass='' is not one of", {"mass": ""}),
        (ValueError, "accuracy='exact' is not one of", {"accuracy": "exact"}),
    ],
)
def test_bad_options_of_emd(error, words, given):
    refused_alike(error, words, emd_loss, EMDLoss, {"space": CHAIN, **given})


COST = torch.tensor(CHAIN.distance_matrix())


@pytest.mark.parametrize(
    ("error", "words", "given"),
    [
        *LAYERS_OR_REDUCTIONS,
        (TypeError, "space_or_cost must be a torch tensor of costs, or a Space, not int", {"space_or_cost": 5}),
        (TypeError, "space_or_cost must be a torch tensor of costs, or a Space, not ndarray",
         {"space_or_cost": np.zeros((5, 5))}),
        (ValueError, "space_or_cost requires grad", {"space_or_cost": torch.zeros(5, 5, requires_grad=True)}),
        (TypeError, "space_or_cost is a sparse tensor", {"space_or_cost": COST.to_sparse()}),
        (RuntimeError, "space_or_cost is on meta", {"space_or_cost": COST.to("meta")}),
        (TypeError, "space_or_cost is torch.float16 .*: give costs as float64", {"space_or_cost": COST.half()}),
        (TypeError, "space_or_cost is torch.bfloat16 .*: give costs as float64", {"space_or_cost": COST.bfloat16()}),
        (TypeError, "integer matrix, not bool", {"space_or_cost": COST > 0}),
        (ValueError, r"cost has shape \(4, 5\), expected \(N, N\)", {"space_or_cost": COST[:4]}),
        (ValueError, r"cost\[0, 1\] = -0.5 must be finite and >= 0", {"space_or_cost": -COST}),
        (ValueError, r"cost\[0, 0\] = 1.0 lies on the diagonal", {"space_or_cost": COST + 1}),
        (ValueError, "cost must be symmetric", {"space_or_cost": 1 - torch.eye(5).roll(1, 0) - torch.eye(5)}),
        (TypeError, 'kernel="space" needs sums along edges', {"space_or_cost": COST, "kernel": "space"}),
        (ValueError, "lam = 0.0 must be finite and > 0", {"lam": 0}),
        (TypeError, "lam must be a number, not a tensor", {"lam": torch.tensor(3.0)}),
        (ValueError, "lam = inf must be finite and > 0", {"lam": float("inf")}),
        (ValueError, "max_iter = 0 must be >= 1", {"max_iter": 0}),
        (TypeError, "max_iter must be an integer", {"max_iter": 5.0}),
        (ValueError, "tol = -1.0 must be finite and >= 0", {"tol": -1}),
        (TypeError, "tol must be a real number", {"tol": "soon"}),
        (TypeError, "tol must be a real number", {"tol": None}),
        (TypeError, "tol must be a number, not a tensor", {"tol": torch.tensor(0.1)}),
        (ValueError, "variant='torch' is not one of", {"variant": "torch"}),
        (ValueError, "kernel='fast' is not one of", {"kernel": "fast"}),
        (ValueError, "domain='real' is not one of", {"domain": "real"}),
    ],
)  # fmt: skip
def test_bad_options_of_sinkhorn(error, words, given):
    refused_alike(error, words, sinkhorn_loss, SinkhornLoss, {"space_or_cost": CHAIN, **given})


def test_infinite_curvature_names_the_edge():
    p = recorded(Q)
    (g,) = torch.autograd.grad(emd_loss(p, Q, CHAIN, 1.5, normalize=None), p, create_graph=True)
    with pytest.raises(ValueError, match="phi is 0 on"):
        g.sum().backward()


def test_a_row_that_sinkhorn_fails_on_warns():
    x, q = recorded(torch.eye(2, dtype=torch.float32)), torch.eye(2, dtype=torch.float32).flip(0)
    with pytest.warns(RuntimeWarning, match="do not trust their values"):
        sinkhorn_loss(x, q, emdref.Chain(gaps=[1.0]), 200.0, normalize=None, reduction="none")


# --- plain tensors, which bypass the operator -------------------------------------------------------------------------


OPTIONS = [
    {},
    {"rho": 1, "accuracy": "native", "reduction": "sum"},
    {"rho": 2.5, "normalize": "l1", "reduction": "none"},
    {"rho": 3.0, "normalize": "square", "gauge": "scaled", "accuracy": "native"},
    {"gauge": "raw", "normalize": None, "reduction": "none"},
    {"gauge": "normalized", "mass": "normalize"},
    {"mass": "ignore", "normalize": None, "accuracy": "native"},
]


def outcome(loss, x, q):
    """A loss, its gradient and a second derivative, up to the first error; and the warnings, with their places."""
    found = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found.append(loss(x, q))
            x = recorded(x.detach())
            value = loss(x, q)
            weight = torch.linspace(0.3, 1.7, value.numel(), dtype=value.dtype).reshape(value.shape)
            found += [value, *torch.autograd.grad(value, x, weight, retain_graph=True)]
            found += torch.autograd.grad(value, x, weight, create_graph=True)
            found += torch.autograd.grad(found[-1], x, torch.ones_like(x).cumsum(-1))
        except Exception as error:
            found += [type(error), str(error)]
    return found, {(w.category, str(w.message), w.filename) for w in said}


def same_both_ways(monkeypatch, loss, *given):
    """What comes of a call is the same by the operator, and as often as one likes without."""
    with monkeypatch.context() as patched:
        patched.setattr(module, "_is_watched", lambda: True)
        expected = outcome(loss, *given)
    for _ in range(2):  # of which the first may go the general way
        got = outcome(loss, *given)
        assert got[1] == expected[1]
        for a, b in zip(got[0], expected[0], strict=True):
            if isinstance(a, torch.Tensor):
                torch.testing.assert_close(a.detach(), b.detach(), rtol=0, atol=0, equal_nan=True)
            else:
                assert a == b
    return expected[0]


@pytest.mark.parametrize(
    ("options", "dtype"), list(zip(OPTIONS, 4 * (torch.float32, torch.float64), strict=False)), ids=str
)
def test_plain_tensors_get_the_same_bits_by_a_shorter_way(monkeypatch, options, dtype):
    settled = []
    monkeypatch.setattr(
        module, "_filled", lambda *args, fill=module._filled: settled.append(fill(*args)) or settled[-1]
    )
    x, q = outputs(7, dtype=dtype), histograms(7, dtype=dtype)
    x = x if options.get("normalize", "") is not None else x / x.sum(-1, keepdim=True)
    for space in THREE.values():
        loss = EMDLoss(space, **options)
        for target in (q, torch.arange(7) % 5):
            same_both_ways(monkeypatch, loss, x, target)
    if "normalized" not in options.values():
        assert any(known is not None for known in settled)


def test_shapes_and_memory_of_plain_tensors(monkeypatch):
    losses = EMDLoss(TREE, 2), SinkhornLoss(TREE, 2.0, max_iter=3, reduction="none")
    x, q = outputs(2, 3), histograms(2, 3)
    raw = bytearray(8 * 15 + 1)
    astray = torch.frombuffer(raw, dtype=torch.float64, count=15, offset=1).reshape(3, 5).copy_(Q)
    for given in (
        (x, q), (x[0, 0], q[0, 0]), (x[0, 0], torch.tensor(3)), (x, torch.arange(6).reshape(2, 3) % 5),
        (x[:0], q[:0]), (x, q[0]), (x[0], q), (x.transpose(0, 1), q.transpose(0, 1)), (X, torch._neg_view(-Q)),
        (X, astray), (X, torch.nn.Parameter(Q, requires_grad=False)), (X.float(), Q.float()), (X.T.contiguous().T, Q),
    ):  # fmt: skip
        for loss in losses:
            same_both_ways(monkeypatch, loss, *given)


@each_loss
@pytest.mark.parametrize(
    ("words", "given"), [(words, given) for _, words, given in REFUSED], ids=[words for _, words, _ in REFUSED]
)
def test_bad_input_is_refused_by_a_shorter_way_too(monkeypatch, loss, words, given):
    """After a call that was sound."""
    options = {"space" if loss is emd_loss else "space_or_cost": CHAIN}
    loss(X, Q, **options), loss(X, torch.tensor([0, 1, 2]), **options)
    given = {"logits_or_p": X, "q": Q, **given}
    call = partial(loss, **options, **{name: x for name, x in given.items() if name not in ("logits_or_p", "q")})
    assert re.search(words, same_both_ways(monkeypatch, call, given["logits_or_p"], given["q"])[-1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_beyond_the_dtype_is_said_by_a_shorter_way_too(monkeypatch, dtype):
    top = float(torch.finfo(dtype).max)
    steep = emdref.Chain(gaps=[1.0, min(top * 4, 1e300), 1.0, 1.0])
    for accuracy in ("compensated", "native"):
        p, q = torch.eye(5, dtype=dtype)[:3], torch.eye(5, dtype=dtype)[2:]
        loss = EMDLoss(steep, 4, accuracy=accuracy, normalize=None, reduction="none")
        same_both_ways(monkeypatch, loss, 1e9 * p, 1e9 * q)
    same_both_ways(monkeypatch, SinkhornLoss(steep, 200.0, normalize=None), p, q)


def test_what_is_changed_between_two_calls_counts(monkeypatch):
    loss = EMDLoss(CHAIN, 2)
    changes = [
        lambda: loss.options.update(reduction="sum"),
        lambda: loss.options.update(gauge="raw", accuracy="native"),
        lambda: setattr(loss, "space", TREE),
        lambda: setattr(loss, "strengths", (3,)),
        lambda: setattr(loss, "strengths", (True,)),
        lambda: setattr(loss, "strengths", (3.0,)),
        lambda: loss.options.update(gauge=["raw"]),
        lambda: loss.options.update(gauge="zero_sum", mass="keep"),
        lambda: loss.options.update(mass="ignore", dim=True),
        lambda: loss.options.update(dim=-1, ignore_index=2),
        lambda: loss.options.update(ignore_index=None, normalize="l2"),
        lambda: loss.options.update(normalize=None),
        lambda: setattr(loss, "space", emdref.Chain(4)),
        lambda: setattr(loss, "space", 5),
    ]
    found = [same_both_ways(monkeypatch, loss, X, Q)]
    for change in changes:
        change()
        found.append(same_both_ways(monkeypatch, loss, X, Q))
    assert [isinstance(x[0], type) for x in found] == [k in (5, 7, 8, 9, 10, 11, 13, 14) for k in range(15)]


def test_a_graph_of_plain_tensors_is_as_any_other():
    """Kept it serves twice, else once; nothing that it saved may change; hooks, checkpoints and scales."""
    x, loss = recorded(X), EMDLoss(TREE, 3)
    loss(x, Q)
    value = loss(x, Q)
    assert type(value.grad_fn).__name__ == "_KnownBackward"
    value.backward(retain_graph=True)
    once = x.grad.clone()
    value.backward()
    assert torch.equal(x.grad, 2 * once)
    with pytest.raises(RuntimeError, match="second time"):
        value.backward()
    for change in (lambda p, q: p.mul_(2), lambda p, q: q.mul_(2)):
        p, q = recorded(histograms(3, seed=5)) * 1, Q.clone()
        value = emd_loss(p, q, TREE, 3, normalize=None)
        with torch.no_grad():
            change(p, q)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            value.backward()
    seen = []
    x.register_hook(seen.append)
    torch.utils.checkpoint.checkpoint(lambda y: 0.5 * loss(y, Q), x, use_reentrant=False).backward()
    torch.testing.assert_close(seen, [0.5 * once], rtol=1e-15, atol=0)


@pytest.mark.parametrize("q", [histograms(11), torch.arange(11) % 5], ids=["histograms", "classes"])
def test_what_is_kept_serves_in_other_modes(q):
    """As many rows as no other test has, at first without autograd; backward where other devices are the default."""
    x, loss = outputs(11), EMDLoss(TREE, 3)
    with torch.inference_mode():
        assert loss(x, q) == loss(x, q)
    leaf = recorded(x)
    (g,) = torch.autograd.grad(loss(leaf, q), leaf, recorded(torch.tensor(1.0).double()), create_graph=True)
    (g**2).sum().backward()
    value = loss(x.requires_grad_(), q)
    with torch.device("meta"):
        value.backward()
        assert loss(x, q).device.type == "cpu"
    assert torch.equal(x.grad, g)


@each_loss
def test_who_looks_at_operators_sees_one(loss):
    class Look(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    expected, seen = [loss(X, Q, TREE) for _ in range(2)], []
    with Look():
        value = loss(X, Q, TREE)
    assert value == expected[1] and f"emdref.{loss.__name__.removesuffix('_loss')}.default" in seen


@each_loss
def test_wrappers_that_outlive_their_transform(loss):
    kept = []
    torch.func.grad(lambda x: kept.append(x) or x.sum())(X)
    assert loss(kept[0], Q, TREE) == loss(X, Q, TREE)


# --- torch.compile ----------------------------------------------------------------------------------------------------


@compiled
def test_a_space_that_no_call_has_met_yet_can_be_compiled():
    """Until Python 3.12 what a space computes once is behind a lock, which cannot be traced."""
    x, q = torch.zeros(2, 4), torch.tensor([1, 3])
    space = emdref.Chain(4)
    graph = torch.compile(lambda x: sinkhorn_loss(x, q, space, 2.0), fullgraph=True, backend="aot_eager")
    assert torch.equal(graph(x), sinkhorn_loss(x, q, emdref.Chain(4), 2.0))


@compiled
@each_loss
def test_a_graph_without_a_break_gives_the_same_bits(loss):
    torch._dynamo.reset()
    graph = torch.compile(
        lambda x, q: loss(x, q, TREE, normalize=None, reduction="none"), fullgraph=True, backend="aot_eager"
    )
    p, again = recorded(Q.roll(1, 0)), recorded(Q.roll(1, 0))
    one, other = graph(p, Q), loss(again, Q, TREE, normalize=None, reduction="none")
    one.sum().backward()
    other.sum().backward()
    assert torch.equal(one, other)
    assert torch.equal(p.grad, again.grad)


@compiled
@pytest.mark.parametrize(
    "make",
    [
        lambda: EMDLoss(TREE, 3, normalize="square"),
        lambda: SinkhornLoss(TREE, 0.5, max_iter=9999, tol="auto"),
        lambda: SinkhornLoss(torch.tensor(TREE.distance_matrix()), 2.0),
    ],
)
@pytest.mark.parametrize("classes", [True, False])
def test_modules_in_a_graph(make, classes):
    torch._dynamo.reset()
    network = torch.nn.Sequential(torch.nn.Linear(5, 5), torch.nn.Softplus()).double()
    loss, q = make(), torch.tensor([0, 1, 2]) if classes else Q
    graph = torch.compile(lambda x, q: loss(network(x), q), fullgraph=True, backend="aot_eager")
    graph(X, q).backward()
    got = network[0].weight.grad.clone()
    network.zero_grad()
    loss(network(X), q).backward()
    torch.testing.assert_close(got, network[0].weight.grad, rtol=1e-14, atol=1e-15)


@compiled
def test_options_in_a_graph():
    torch._dynamo.reset()
    modules = EMDLoss(TREE, weight=W, ignore_index=-100), SinkhornLoss(TREE, weight=W, ignore_index=-100, max_iter=5)
    calls = [
        (lambda x, y, cost: emd_loss(x, torch.softmax(y, -1), TREE, 3, cost=cost, dim=1), (X, Q, near(TREE))),
        *((lambda x, loss=loss: loss(x, CLASSES), (X,)) for loss in modules),
    ]
    for call, given in calls:
        plain, graph = ([recorded(x) for x in given] for _ in range(2))
        one, other = call(*plain), torch.compile(call, fullgraph=True, backend="aot_eager")(*graph)
        one.backward()
        other.backward()
        torch.testing.assert_close(one, other, rtol=1e-15, atol=0)
        for a, b in zip(plain, graph, strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-14, atol=1e-17)
    wrong = torch.compile(lambda w: emd_loss(X, CLASSES.abs() % 5, TREE, weight=w), fullgraph=True, backend="aot_eager")
    with pytest.raises(RuntimeError, match="weight must be finite and >= 0"):
        wrong(-W)


@compiled
def test_one_graph_for_batches_of_every_size():
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    graph = torch.compile(lambda x, q: emd_loss(x, q, TREE), fullgraph=True, dynamic=True, backend=counter)
    for rows in (3, 7, 12):
        x, q = outputs(rows), histograms(rows)
        torch.testing.assert_close(graph(x, q), emd_loss(x, q, TREE), rtol=1e-15, atol=0)
    assert counter.frame_count == 1


@compiled
def test_a_graph_follows_its_space_and_keeps_it():
    torch._dynamo.reset()
    graph = torch.compile(emd_loss, fullgraph=True, backend="aot_eager")
    for space in (CHAIN, TREE, emdref.Chain(5)):
        torch.testing.assert_close(graph(X, Q, space), emd_loss(X, Q, space), rtol=1e-15, atol=0)
    loss = EMDLoss(emdref.Chain(gaps=[7.0, 5.0, 3.0, 1.0]))
    kept, expected = torch.compile(loss, fullgraph=True, backend="aot_eager"), loss(X, Q)
    torch.testing.assert_close(kept(X, Q), expected, rtol=1e-15, atol=0)
    loss.space = CHAIN
    torch.testing.assert_close(kept(X, Q), emd_loss(X, Q, CHAIN), rtol=1e-15, atol=0)


@compiled
def test_errors_in_a_graph_are_as_plain():
    torch._dynamo.reset()
    graph = torch.compile(lambda x, q: emd_loss(x, q, TREE), fullgraph=True, backend="aot_eager")
    with pytest.raises(ValueError, match=r"q\[1\] = 5 is no class"):
        graph(X, torch.tensor([0, 5, 1]))
    with pytest.raises(ValueError, match=r"p\[0, 0\] = nan"):
        graph(X * torch.nan, torch.tensor([0, 4, 1]))
    with pytest.raises(RuntimeError, match="compile the loss in the process that runs it"):
        torch.ops.emdref.emd(Q, Q, None, 1, 2.0, "raw", "raise", "native", None)


@compiled
def test_a_space_that_nobody_compiled_is_let_go():
    space = emdref.Chain(gaps=[2.0, 2.0, 3.0, 4.0])
    alive = weakref.ref(space)
    x = recorded(X)
    value = emd_loss(x, Q, space)
    del space
    gc.collect()
    assert alive() is not None
    value.backward()
    del value
    gc.collect()
    assert alive() is None


def test_a_space_is_known_however_long_its_equal_lives():
    first, second = emdref.Chain(gaps=[2.0, 7.0]), emdref.Chain(gaps=[2.0, 7.0])
    numbers = [module._temporary(space) for space in (first, second, second)]
    assert first == second and numbers[0] != numbers[1] == numbers[2]
    del first
    gc.collect()
    assert module._called(numbers[1]) is second


@compiled
def test_operators_are_what_torch_expects():
    number = module._temporary(TREE)
    p, q = histograms(3, seed=5), Q
    emd = (number, 3.0, "zero_sum", "raise", "compensated", "softmax")
    sinkhorn = (2.0, 5, 0.0, "paper", "auto", "linear", "softmax")
    cost = torch.tensor(TREE.distance_matrix())
    for target in (q, torch.tensor([0, 1, 2])):
        costs = near(TREE) if target is q else None
        torch.library.opcheck(torch.ops.emdref.emd.default, (recorded(p), target, costs, *emd))
        torch.library.opcheck(torch.ops.emdref.emd_hvp.default, (p, target, X, costs, *emd))
        for where in ((None, number), (cost, 0)):
            torch.library.opcheck(
                torch.ops.emdref.sinkhorn.default,
                (recorded(p), target, *where, *sinkhorn),
                test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),  # it has one derivative
            )
    torch.library.opcheck(torch.ops.emdref.emd_cost_grad.default, (p, q, near(TREE), *emd))
    torch.library.opcheck(torch.ops.emdref.emd.default, (recorded(p), recorded(q), None, *emd))


# --- torch.func, threads, copies --------------------------------------------------------------------------------------


@each_loss
@pytest.mark.parametrize("q", [Q, torch.tensor([0, 1, 4])], ids=["histograms", "classes"])
def test_torch_func(loss, q):
    each = torch.func.vmap(torch.func.grad(lambda x, y: loss(x, y, TREE)))(X, q)
    torch.testing.assert_close(each, gradient(lambda x: loss(x, q, TREE, reduction="sum")), rtol=1e-14, atol=1e-16)
    jacobian = torch.func.jacrev(lambda x: loss(x, q, TREE, reduction="none"))(X)
    torch.testing.assert_close(jacobian.sum(0), each, rtol=1e-14, atol=1e-16)
    columns = torch.func.vmap(lambda x: loss(x, q[0], TREE), in_dims=1)(X.T.contiguous())
    assert torch.equal(columns, loss(X, q[:1].expand(3, *q.shape[1:]), TREE, reduction="none"))
    targets = torch.func.vmap(lambda y: loss(X[0], y, TREE))(q)
    assert torch.equal(targets, loss(X[:1].expand(3, 5), q, TREE, reduction="none"))


def test_hessians_by_torch_func():
    loss = partial(emd_loss, q=Q[0], space=TREE, rho=3)
    hessian = torch.func.jacrev(torch.func.jacrev(loss))(X[0])
    torch.testing.assert_close(hessian, torch.autograd.functional.hessian(loss, X[0]))
    many = torch.func.vmap(torch.func.jacrev(torch.func.jacrev(loss)))(X)
    torch.testing.assert_close(many[0], hessian)


def test_targets_and_costs_by_torch_func():
    def loss(x, y, cost):
        return emd_loss(x, torch.softmax(y, -1), TREE, 3, cost=cost, reduction="sum")

    given = [recorded(x) for x in (X, Q, near(TREE))]
    loss(*given).backward()
    whole = torch.func.grad(loss, (0, 1, 2))(X, Q, near(TREE))
    rows = torch.func.vmap(torch.func.grad(loss, (0, 1, 2)), (0, 0, None))(X, Q, near(TREE))
    for got in (whole, (*rows[:2], rows[2].sum(0)), torch.func.jacrev(loss, (0, 1, 2))(X, Q, near(TREE))):
        for a, b in zip(got, given, strict=True):
            torch.testing.assert_close(a, b.grad, rtol=1e-13, atol=1e-16)
    twice = torch.func.jacrev(torch.func.jacrev(lambda y: emd_loss(X[0], torch.softmax(y, -1), TREE, 3)))(Q[0])
    torch.testing.assert_close(
        twice, torch.autograd.functional.hessian(lambda y: emd_loss(X[0], torch.softmax(y, -1), TREE, 3), Q[0])
    )
    each = torch.func.vmap(lambda x, k: emd_loss(x, k, TREE, ignore_index=-100, weight=W, reduction="none"))
    assert torch.equal(each(X, CLASSES), emd_loss(X, CLASSES, TREE, ignore_index=-100, weight=W, reduction="none"))
    with pytest.raises(NotImplementedError, match="one vector"):
        torch.func.vmap(lambda cost: emd_loss(X, Q, TREE, cost=cost))(near(TREE)[None])


@pytest.mark.parametrize(
    "derivative",
    [
        lambda loss: loss(X, recorded(Q)),
        lambda loss: torch.func.grad(loss, argnums=1)(X, Q),
        lambda loss: torch.func.grad(loss, argnums=(0, 1))(X, Q),
        lambda loss: torch.func.jacrev(loss, argnums=1)(X, Q),
        lambda loss: torch.func.vmap(torch.func.grad(loss, argnums=1))(X, Q),
        lambda loss: torch.func.grad(lambda q: torch.func.vmap(loss)(X, q).sum())(Q),
        lambda loss: torch.func.grad(lambda q: torch.func.vmap(partial(loss, X[0]))(q).sum())(Q),
        lambda loss: torch.func.grad(lambda q: torch.func.grad(loss)(X, q).sum())(Q),
        lambda loss: torch.func.grad(lambda q: torch.func.vmap(torch.func.grad(loss))(X, q).sum())(Q),
        lambda loss: torch.func.vmap(loss)(X, recorded(Q)),
        lambda loss: torch.func.vmap(torch.func.vmap(loss))(X[None], recorded(Q)[None]),
    ],
)
@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (sinkhorn_loss, r"q requires grad, and nothing flows back to it: give q.detach\(\)"),
        (partial(emd_loss, gauge="normalized"), "q requires grad, and gauge='normalized' belongs to p"),
    ],
    ids=["sinkhorn", "normalized"],
)
def test_nothing_flows_to_targets(loss, words, derivative):
    """Nor to those that vmap hides: SD is not symmetric, nor is the gauge that belongs to p."""
    with pytest.raises(ValueError, match=words):
        derivative(lambda p, q: loss(p, q, TREE))


@compiled
@each_loss
@pytest.mark.parametrize(
    "of", [lambda loss: (lambda x: loss(x, Q), X), lambda loss: (lambda q: loss(X, q), Q)], ids=["p", "q"]
)
def test_there_is_no_forward_mode(loss, of):
    """Neither in a graph, whose operators would hand on zeros."""
    torch._dynamo.reset()
    function, at = of(partial(loss, **{"space" if loss is emd_loss else "space_or_cost": TREE}))
    for mode in (torch.func.jacfwd(function), lambda x: torch.func.jvp(function, (x,), (x,))):
        for call in (mode, torch.compile(mode, backend="aot_eager")):
            with pytest.raises(NotImplementedError, match="forward mode"):
                call(at)


def test_costs_cannot_be_an_axis_of_vmap():
    costs = torch.tensor(TREE.distance_matrix()).expand(2, 5, 5)
    with pytest.raises(NotImplementedError, match="one matrix of costs"):
        torch.func.vmap(lambda cost: sinkhorn_loss(X, Q, cost))(costs)


def test_threads():
    x, q = outputs(64), histograms(64)
    spaces = [emdref.Chain(gaps=[1.0, 2.0, 3.0, k + 1.0]) for k in range(2)]
    expected = [gradient(lambda x, s=s: emd_loss(x, q, s), x) for s in spaces]
    wrong = []

    def work(space, right):
        for _ in range(50):
            got = gradient(lambda x: emd_loss(x, q, space), x)
            wrong.extend([] if torch.equal(got, right) else [space])

    threads = [threading.Thread(target=work, args=pair) for pair in zip(spaces, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


MODULES = [
    EMDLoss(TREE, 3, gauge="raw", normalize="l1", accuracy="native"),
    SinkhornLoss(CHAIN, 2.0, max_iter=7, variant="caffe"),
    SinkhornLoss(COST, max_iter=7),
    EMDLoss(TREE, dim=-1, weight=W),
]


@pytest.mark.parametrize("loss", MODULES, ids=lambda loss: type(loss).__name__)
def test_copies_of_modules(loss):
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), copy.copy(loss).to("cpu")):
        q = Q if loss.weight is None else torch.tensor([0, 1, 4])
        assert other(X, q) == loss(X, q)
        assert repr(other) == repr(loss)
        assert other.state_dict().keys() == loss.state_dict().keys()
    assert not list(loss.parameters())


class Rows(torch.utils.data.Dataset):
    """Rows whose losses are computed where they are asked for."""

    def __len__(self):
        return 6

    def __getitem__(self, k):
        with threads.at_most(2):
            return emd_loss(outputs(8, seed=k), histograms(8, seed=k + 1), TREE, 2).repeat(2)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python from 3.12 on where there are threads
@pytest.mark.filterwarnings("ignore:os.fork.*JAX is multithreaded:RuntimeWarning")  # where a test has imported JAX
def test_workers_of_a_data_loader_compute(monkeypatch):
    """Forked from a process that has computed with threads itself."""
    monkeypatch.setattr(threads, "_SERIAL_WORK", 1)
    expected = [Rows()[k].tolist() for k in range(6)]
    loader = torch.utils.data.DataLoader(Rows(), batch_size=2, num_workers=2, multiprocessing_context="fork")
    assert [row for batch in loader for row in batch.tolist()] == expected


@pytest.mark.parametrize("given", [COST, COST.float(), COST.mul(10).long()], ids=lambda cost: str(cost.dtype))
def test_costs_are_a_buffer_in_float64(given):
    loss = SinkhornLoss(given, max_iter=7)
    assert loss(X, Q) == sinkhorn_loss(X, Q, given, max_iter=7)
    assert [(name, x.dtype) for name, x in loss.state_dict().items()] == [("space", torch.float64)]
    assert not EMDLoss(CHAIN).state_dict() and not SinkhornLoss(CHAIN).state_dict()
    for cast in ("half", "bfloat16", "float", "double"):
        network = getattr(torch.nn.Sequential(torch.nn.Linear(5, 5), copy.deepcopy(loss)), cast)()
        assert torch.equal(network[1].space, loss.space) and network[1](X, Q) == loss(X, Q)
    there = copy.deepcopy(loss).to("meta", torch.float16)
    assert (there.space.device.type, there.space.dtype) == ("meta", torch.float64)
    assert there.space.shape == (5, 5)


def test_costs_are_saved_and_loaded():
    loss, other = SinkhornLoss(COST), SinkhornLoss(2 * COST)
    kept = 2 * COST
    assert loss(X, Q) != other(X, Q)
    saved = io.BytesIO()
    torch.save(loss.state_dict(), saved)
    saved.seek(0)
    other.load_state_dict(torch.load(saved, weights_only=True))
    assert loss(X, Q) == other(X, Q) == torch.func.functional_call(SinkhornLoss(kept), {"space": COST}, (X, Q))
    mine = COST.clone()
    SinkhornLoss(mine).load_state_dict({"space": kept})
    assert torch.equal(mine, COST)  # nobody's own tensor is written to
    empty = copy.deepcopy(loss).to("meta").to_empty(device="cpu")
    empty.load_state_dict(loss.state_dict())
    assert empty(X, Q) == loss(X, Q)
    other.load_state_dict({"space": COST.roll(1, 0)})
    with pytest.raises(ValueError, match=r"cost\[0, 0\] = .* must be 0"):
        other(X, Q)


def test_modules_say_what_they_do():
    loss = MODULES[0]
    assert loss(X, Q) == emd_loss(X, Q, TREE, 3, gauge="raw", normalize="l1", accuracy="native")
    assert repr(loss) == f"EMDLoss({TREE!r}, 3, gauge='raw', normalize='l1', accuracy='native')"
    assert repr(MODULES[2]) == "SinkhornLoss(costs of shape (5, 5), max_iter=7)"
    assert EMDLoss(CHAIN, rho=3)(X, Q) == emd_loss(X, Q, CHAIN, 3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'normalise'"):
        EMDLoss(CHAIN, normalise="l1")


# --- on a GPU, and on pages ------------------------------------------------------------------------------------------


@pytest.mark.gpu(hardware="torch's memory")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [True, False])
def test_cuda_tensors(dtype, classes):
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    p, q = histograms(64, dtype=dtype, seed=5), torch.arange(64) % 5 if classes else histograms(64, dtype=dtype)
    for layer, loss in ((None, partial(emd_loss, rho=2)), ("softmax", emd_loss), ("softmax", sinkhorn_loss)):
        there, here = recorded(p.cuda()), recorded(p)
        one, other = loss(there, q.cuda(), TREE, normalize=layer), loss(here, q, TREE, normalize=layer)
        one.backward()
        other.backward()
        assert one.is_cuda and there.grad.is_cuda
        torch.testing.assert_close(one.cpu(), other)
        torch.testing.assert_close(there.grad.cpu(), here.grad)
    values = [emd_loss(x, y, TREE, normalize=None, reduction="none") for x, y in ((p.cuda(), q.cuda()), (p, q))]
    assert torch.equal(values[0].cpu(), values[1])
    with pytest.raises(RuntimeError, match="logits_or_p is on cuda:0 and q on cpu"):
        emd_loss(p.cuda(), q, TREE)
    there, here = recorded(near(TREE).cuda()), recorded(near(TREE))
    for cost, x, y in ((there, p.cuda(), q.cuda()), (here, p, q)):
        emd_loss(x, y, TREE, 3, cost=cost).backward()
    torch.testing.assert_close(there.grad.cpu(), here.grad, rtol=64 * float(torch.finfo(dtype).eps), atol=0)
    x = recorded(p.cuda())
    (g,) = torch.autograd.grad(emd_loss(x, q.cuda(), TREE), x, create_graph=True)
    y = recorded(p)
    (h,) = torch.autograd.grad(emd_loss(y, q, TREE), y, create_graph=True)
    torch.testing.assert_close(torch.autograd.grad((g**2).sum(), x)[0].cpu(), torch.autograd.grad((h**2).sum(), y)[0])


def test_the_readmes_training_falls():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    code = re.search(r"## Train with it\n.*?```python\n(.*?)```", readme, re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    printed = io.StringIO()
    torch.manual_seed(0)
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(action="error"):
        exec(compile(code, "README.md", "exec"), {})
    losses = [float(line.split()[-1]) for line in printed.getvalue().splitlines()]
    assert len(losses) >= 3 and losses[-1] < losses[0] / 5
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize(("page", "library"), [(x, y) for y in ("torch", "sklearn") for x in page_code.pages(y)])
def test_the_pages_code_prints_what_they_say(page, library):
    """That for scikit-learn too, which takes as long to import."""
    pytest.importorskip(library)
    page_code.run(page, library)


# --- other spaces -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [1, 2, 3])
def test_a_circle(rho):
    """Gradients are those of NumPy, bit for bit, behind each layer autograd's; there are no second derivatives."""
    circle = emdref.Circle(gaps=[0.5, 1.0, 2.0, 0.3, 0.7])
    p = histograms(3, seed=2)
    value, grad = emdref.emd_value_and_grad(p.numpy(), Q.numpy(), circle, rho)
    x = recorded(p)
    loss = EMDLoss(circle, rho, normalize=None, reduction="none")(x, Q)
    np.testing.assert_array_equal(loss.detach().numpy(), value)
    np.testing.assert_array_equal(torch.autograd.grad(loss.sum(), x)[0].numpy(), grad)
    for layer in LAYERS:
        assert gradcheck(partial(emd_loss, q=Q, space=circle, rho=rho, gauge="raw", normalize=layer), recorded(X))


# --- the check of other people's loops --------------------------------------------------------------------------------


def test_a_sinkhorn_loop_under_autograd_is_recognised():
    """Its value, half steps and the derivative of the truncated iteration; a plan, without a graph."""
    space, lam, cap = emdref.Chain(8), 2.0, 6
    cost = torch.as_tensor(space.distance_matrix())

    def plan(p, q):
        kernel, u = torch.exp(-lam * cost), torch.ones_like(p)
        for _ in range(cap):
            v = q / (kernel.T @ u)
            u = p / (kernel @ v)
        return u[:, None] * kernel * v

    report = emdref.check_sinkhorn(lambda p, q: (plan(p, q) * cost).sum(), space, lam, cap, framework="torch")
    assert report.passed, str(report)
    assert (report.value, report.gradient, report.factor) == ("<T, M>", "d(<T, M>)/dp, unrolled", 1)
    assert (report.n_iter, report.first, report.refreshes_v) == (cap, "v", False)
    with torch.no_grad():
        report = emdref.check_sinkhorn(plan, space, lam, cap, framework="torch")
    assert report.passed and (report.value, report.gradient, report.n_iter) == ("<T, M>", None, cap)


# --- tensors in and out of all other functions ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tensors_come_back_from_every_function(dtype):
    array_kinds.assert_same_everywhere(torch.from_numpy, torch.Tensor, dtype, CHAIN)


def test_tensors_as_they_lie():
    p, q = histograms(3), histograms(3, seed=2)
    expected = emdref.emd(p.numpy(), q.numpy(), CHAIN)
    signs = torch._neg_view(-p)
    assert signs.is_neg()  # its memory holds -p
    parameter = torch.nn.Parameter(p, requires_grad=False)
    for x in (p.T.contiguous().T, torch.repeat_interleave(p, 2, 1)[:, ::2], signs, parameter):
        assert np.array_equal(emdref.emd(x, q, CHAIN).numpy(), expected)
    with torch.device("meta"):  # a default, which arrays that exist have nothing to do with
        assert emdref.emd(p, q, CHAIN).device.type == "cpu"
    assert emdref.emd(torch.tensor([1, 0, 0, 0, 0], dtype=torch.uint8), [0, 0, 0, 0, 1], CHAIN).dtype == torch.float64
    assert np.shares_memory(libraries.as_numpy(p, "p"), p.numpy())


def test_results_go_into_tensors():
    p, q = histograms(3), histograms(3, seed=2)
    value, gradient = emdref.emd_value_and_grad(p, q, CHAIN)
    outs = torch.empty(3, dtype=torch.float64), torch.empty(3, 10, dtype=torch.float64)[:, ::2]
    assert all(a is b for a, b in zip(emdref.emd_value_and_grad(p, q, CHAIN, out=outs), outs, strict=True))
    assert torch.equal(outs[0], value)
    assert torch.equal(outs[1], gradient)
    with pytest.raises(TypeError, match=r"^out \(Tensor, torch\.float64\) cannot be written to \(.*requires grad"):
        emdref.emd(p, q, CHAIN, out=recorded(value))


TENSORS = [
    (
        lambda x: recorded(x),
        RuntimeError,
        r"p requires grad .*: use the losses of emdref\.torch, or give p\.detach\(\)",
    ),
    (lambda x: x.to("meta"), RuntimeError, "p is a torch tensor on the device 'meta', .*: give a tensor that holds"),
    (lambda x: x.bfloat16(), TypeError, r"p \(Tensor, torch\.bfloat16\) cannot be read .* float32 or float64"),
    (lambda x: x.half(), TypeError, "p has dtype float16: give float32 or float64"),
    (lambda x: x > 0, TypeError, "p has dtype bool"),
    (lambda x: x.to(torch.complex64), TypeError, "p has dtype complex64"),
    (lambda x: x.to_sparse(), TypeError, r"p \(Tensor, torch\.float64\) cannot be read .*to_dense.*dense array"),
    (lambda x: torch.nested.as_nested_tensor([x, x], layout=torch.jagged), TypeError, "p .* cannot be read"),
    (lambda x: torch.full((5,), 2**53), TypeError, "p holds an integer of 2.*53 or more"),
    (lambda x: -x, ValueError, r"p\[0, 0\] = -"),
]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(("change", "error", "words"), TENSORS, ids=[words for _, _, words in TENSORS])
def test_tensors_that_are_no_histograms(change, error, words):
    p = change(histograms(3))
    for call in (emdref.emd, emdref.emd_hess, lambda p, q, space: emdref.losses.mse(p, q)):
        with pytest.raises(error, match=f"^{words}"):
            call(p, histograms(3), CHAIN)


@pytest.mark.parametrize("name", ["rho", "lam"])
def test_numbers_that_require_grad_are_refused(name):
    number = torch.tensor(2.0, requires_grad=True)
    with pytest.raises(RuntimeError, match=rf"^{name} requires grad, and nothing flows back to it: give {name}.item"):
        (emdref.emd_cost_grad if name == "rho" else emdref.sinkhorn)(
            torch.eye(5)[0], torch.eye(5)[1], emdref.Chain(5), number
        )


def test_tensors_of_other_functions_under_transforms():
    p = histograms(3)
    with pytest.raises(TypeError, match=r"^p .* cannot be read .*within torch\.func the losses of emdref\.torch"):
        torch.func.vmap(lambda x: emdref.emd(x, x, CHAIN))(p)
    with pytest.raises(RuntimeError, match=r"^p requires grad .*emdref\.torch"):
        torch.func.grad(lambda x: emdref.emd(x, x, CHAIN))(p[0])


def test_tensors_go_with_lists_and_no_other_arrays():
    p, q = histograms(3), histograms(3, seed=2)
    assert torch.equal(emdref.emd(p, q.tolist(), CHAIN), emdref.emd(p, q, CHAIN))
    with pytest.raises(TypeError, match=r"^p is an array of torch and q of numpy .*e\.g\. torch\.asarray\(q\)$"):
        emdref.emd(p, q.numpy(), CHAIN)


def test_tensors_import_no_other_library():
    text = (
        "import sys, torch, emdref; p = torch.full((2, 3), 0.25); emdref.emd_grad(p, p, emdref.Chain(3));"
        "emdref.pairwise(p, emdref.Chain(3)); print(*sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "array_api_compat"} <= set(told)
    assert not {"jax", "cupy", "dask", "numba.cuda", "array_api_compat.torch"} & set(told)
