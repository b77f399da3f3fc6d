"""Any input at all: a documented exception that names an argument, or a right answer; never anything else."""

import re
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cases
import emdref
import oracles
from emdref import exact, losses, normalize

MORE = settings(max_examples=5 * settings.default.max_examples)
ARGUMENTS = re.compile(
    r"\b(p|q|v|x|g|rho|gauge|mass|accuracy|device|space|w_emd|w_mse|lam|max_iter|tol|cost|parent|bins|labels|n|gaps|"
    r"positions|Chain|Newick|edges|phi|variant|kernel|domain|checkpoints|init|dtype|space_or_cost|unrolled)\b"
)
FAR = [0.0, -0.0, 5e-324, 1e-45, 2.2e-308, 2.0**-60, 0.5, 1.0, 3.0, 2.0**53, 3.4e38, 1.7e308, -1.0, np.nan, np.inf]
KINDS = ["f4", "f8", ">f4", ">f8", "f2", "g", "i1", "u2", ">i4", "i8", "u8", "?", "c8", "O", "U3", "S2", "M8[s]"]


def converted(values, shape, dtype):
    dtype = np.dtype(dtype)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NaN has no integer, 3e38 no half
        return np.array([0.0] * len(values) if dtype.kind == "M" else values, float).reshape(shape).astype(dtype)


@st.composite
def arrays(draw, n=3):
    """Any dtype, byte order, shape, stride and content."""
    lead = draw(st.sampled_from([(), (2,), (2, 1), (0,), (3, 1, 2)]))
    shape = draw(st.sampled_from([(*lead, n)] * 4 + [(*lead, n + 1), (n, *lead), lead]))
    size = int(np.prod(shape))
    values = draw(st.lists(st.sampled_from(FAR), min_size=size, max_size=size))
    return draw(layouts(converted(values, shape, draw(st.sampled_from(KINDS)))))


@st.composite
def pairs(draw, n=3):
    """p and q, more often than not valid and, as permutations of each other, of equal totals."""
    if draw(st.integers(0, 3)) == 0:
        return draw(arrays(n)), draw(arrays(n))
    dtype, rows = draw(st.sampled_from(["f4", "f8", ">f8", "f8", "i4"])), draw(st.integers(1, 2))
    good = [x for x in FAR if 0 <= x <= (3.4e38 if dtype == "f4" else 1.7e308)]
    if dtype == "i4":
        good = [0.0, 1.0, 3.0, 2.0**30]
    values = [draw(st.lists(st.sampled_from(good), min_size=n, max_size=n)) for _ in range(rows)]
    turned = [draw(st.permutations(x)) for x in values]
    shape = (rows, n) if rows > 1 or draw(st.booleans()) else (n,)
    return tuple(draw(layouts(converted(np.ravel(x), shape, dtype))) for x in (values, turned))


@st.composite
def layouts(draw, array):
    """The same numbers in another memory layout, or as lists."""
    how = draw(st.sampled_from(["as is", "fortran", "strided", "reversed", "read-only", "list", "tiled"]))
    if how == "fortran":
        return np.asfortranarray(array)
    if how == "strided" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if how == "reversed" and array.ndim:
        return np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    if how == "read-only":
        array.flags.writeable = False
    if how == "list":
        return array.tolist()
    return np.broadcast_to(array, (2, *array.shape)) if how == "tiled" else array


SPACES = st.sampled_from(
    [
        emdref.Chain(3),
        emdref.Chain(gaps=[0.0, 1e300]),
        emdref.Chain(gaps=[1e-300, 1.0]),
        emdref.Tree([-1, 0, 0, 0]),
        emdref.Tree([-1, 0, 1, 1, 0], [0, 5, 0, 2, 1]),
        emdref.Tree([-1, 0, 0, 1], bins=[0, 1, 2]),
        emdref.Chain(3),
        *[emdref.Chain(1), None, np.ones((3, 3)), emdref.Chain],
    ]
)
RHOS = st.sampled_from(
    [1, 2, 3, 4, 1, 2, 3, 1.5, 2.5, 1e300, np.float32(2), 0.5, -1, np.nan, np.inf, "2", None, True, 10**400]
)
OPTIONS = {
    "mass": st.sampled_from(["raise", "raise", "normalize", "normalize", "ignore", "ignore", "clip"]),
    "accuracy": st.sampled_from(["compensated", "compensated", "native", "native", "fast"]),
    "device": st.sampled_from([None, None, None, "cpu", "cpu", "cuda"]),
    "gauge": st.sampled_from([*cases.GAUGES, *cases.GAUGES, "none"]),
}


def options(*names):
    return st.fixed_dictionaries({}, optional={name: OPTIONS[name] for name in names})


def check_refusal(error):
    assert type(error) in (TypeError, ValueError, RuntimeError), repr(error)
    assert ARGUMENTS.search(str(error)), f"{type(error).__name__} names no argument: {error}"


def outcome(call, *arguments, **named):
    """The result, or None after a refusal that says what was wrong."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call(*arguments, **named)
        except Exception as error:
            check_refusal(error)
            return None
    assert len(caught) <= 1
    for warning in caught:
        assert issubclass(warning.category, RuntimeWarning)
        assert "beyond the range" in str(warning.message), warning.message
        assert warning.filename == __file__
    return result


def rows(p, q, lead):
    """The pairs one by one."""
    p, q = np.asarray(p), np.asarray(q)
    n = p.shape[-1]
    both = [np.broadcast_to(x, (*lead, n)).reshape(-1, n) for x in (p, q)]
    return zip(*both, strict=True)


def dtype_of(p):
    dtype = np.asarray(p).dtype
    return np.dtype(float) if dtype.kind in "iu" else dtype.newbyteorder("=")


# --- EMD --------------------------------------------------------------------------------------------------------------


@MORE
@given(pairs(), SPACES, RHOS, options("mass", "accuracy", "device"))
@example(([1.7e308, 1.7e308, 0.0], [0.0, 1.7e308, 1.7e308]), emdref.Chain(3), 1, {})
def test_emd(pair, space, rho, named):
    p, q = pair
    value = outcome(emdref.emd, p, q, space, rho, **named)
    if value is None:
        return
    assert value.dtype == dtype_of(p)
    if rho not in (1, 2, 3, 4) or named.get("accuracy") == "native":
        return
    rho = int(rho)
    for (a, b), got in zip(rows(p, q, np.shape(value)), np.ravel(value), strict=True):
        exactly = exact.emd(
            a.tolist(), b.tolist(), space, rho, mass="normalize" if named.get("mass") == "normalize" else "ignore"
        )
        assert_rounded(got, exactly, 1)


def assert_rounded(got, exactly, ulps, more=Fraction(0)):
    """Within so many ulps and that much more, or inf where the dtype ends."""
    top = Fraction(float(np.finfo(got.dtype).max))
    if np.isinf(got):
        assert got * oracles.sign(exactly) > 0
        assert abs(exactly) + more > top * (1 - Fraction(1, 2**23))
        return
    near = min(abs(exactly), top * 3 / 4)  # of the same binade as the top, and rounding to no inf
    bound = ulps * Fraction(float(np.spacing(got.dtype.type(float(near))))) + more
    assert abs(Fraction(float(got)) - exactly) <= bound, (float(got), float(near))


@MORE
@given(pairs(), SPACES, RHOS, options("mass", "accuracy", "device", "gauge"))
def test_gradient(pair, space, rho, named):
    p, q = pair
    grad = outcome(emdref.emd_grad, p, q, space, rho, **named)
    if grad is None:
        return
    assert grad.dtype == dtype_of(p)
    if rho not in (1, 2, 3, 4) or named.get("accuracy") == "native":
        return
    rho, gauge, normalize_both = int(rho), named.get("gauge", "zero_sum"), named.get("mass") == "normalize"
    for (a, b), got in zip(rows(p, q, grad.shape[:-1]), grad.reshape(-1, grad.shape[-1]), strict=True):
        a, b = a.tolist(), b.tolist()
        expected = exact.grad(a, b, space, rho, gauge=gauge, mass="normalize" if normalize_both else "ignore")
        bound = 8 * cases.eps(grad.dtype) * cases.grad_unit(a, b, space, rho, gauge, normalize_both)
        for x, y in zip(got, expected, strict=True):
            assert_rounded(x, y, 1, bound)


@MORE
@given(pairs(), SPACES, options("mass", "accuracy", "device"))
def test_flow(pair, space, named):
    p, q = pair
    flow = outcome(emdref.flow, p, q, space, **named)
    if flow is None or named.get("accuracy") == "native":
        return
    assert flow.dtype == dtype_of(p)
    for (a, b), got in zip(rows(p, q, flow.shape[:-1]), flow.reshape(-1, flow.shape[-1]), strict=True):
        expected = exact.flow(
            a.tolist(), b.tolist(), space, mass="normalize" if named.get("mass") == "normalize" else "ignore"
        )
        for x, y in zip(got, expected, strict=True):
            assert_rounded(x, y, 1)
            assert oracles.sign(float(x)) == oracles.sign(y) or abs(y) < Fraction(float(np.finfo(flow.dtype).tiny))


@MORE
@given(pairs(), SPACES, RHOS, options("mass", "accuracy", "device", "gauge"))
def test_hessian(pair, space, rho, named):
    p, q = pair
    hess = outcome(emdref.emd_hess, p, q, space, rho, **named)
    if hess is None:
        return
    assert hess.dtype == dtype_of(p)
    if rho not in (1, 2, 3, 4) or named.get("accuracy") == "native":
        return
    n, rho, gauge, normalize_both = (
        hess.shape[-1],
        int(rho),
        named.get("gauge", "zero_sum"),
        named.get("mass") == "normalize",
    )
    for (a, b), got in zip(rows(p, q, hess.shape[:-2]), hess.reshape(-1, n, n), strict=True):
        np.testing.assert_array_equal(got, got.T)
        a, b = a.tolist(), b.tolist()
        expected = exact.hess(a, b, space, rho, gauge=gauge, mass="normalize" if normalize_both else "ignore")
        more = 8 * cases.eps(hess.dtype) * cases.hess_unit(a, b, space, rho, gauge, normalize_both)
        for x, y in zip(got.ravel(), [y for line in expected for y in line], strict=True):
            assert_rounded(x, y, 1, more if gauge != "raw" else 0)


@MORE
@given(pairs(), SPACES, arrays(), RHOS, options("mass", "accuracy", "device", "gauge"), st.booleans())
def test_hessian_times_vector(pair, space, v, rho, named, plain):
    p, q = pair
    if plain:
        v = np.sin(np.arange(3) + 1).astype(dtype_of(p) if dtype_of(p).kind == "f" else float)
    product = outcome(emdref.emd_hvp, p, q, space, v, rho, **named)
    if product is None or rho not in (1, 2, 3, 4) or named.get("accuracy") == "native":
        return
    rho, gauge, normalize_both = int(rho), named.get("gauge", "zero_sum"), named.get("mass") == "normalize"
    n, lead = product.shape[-1], product.shape[:-1]
    directions = np.broadcast_to(v, product.shape).reshape(-1, n)
    for (a, b), x, got in zip(rows(p, q, lead), directions, product.reshape(-1, n), strict=True):
        a, b, x = a.tolist(), b.tolist(), x.tolist()
        expected = exact.hvp(a, b, space, x, rho, gauge=gauge, mass="normalize" if normalize_both else "ignore")
        unit = 8 * cases.eps(product.dtype) * cases.hess_unit(a, b, space, rho, gauge, normalize_both)
        for y, exactly in zip(got, expected, strict=True):
            assert_rounded(y, exactly, 1, unit * sum(map(abs, oracles.fractions(x))))


# --- layers and losses ------------------------------------------------------------------------------------------------


@MORE
@given(st.sampled_from([normalize.l1, normalize.softmax, normalize.square]), pairs())
def test_layers(layer, pair):
    x, g = pair
    p = outcome(layer, x)
    if p is None:
        assert outcome(layer.vjp, x, g) is None
        return
    assert p.shape == np.shape(x)
    assert p.dtype == dtype_of(x)
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(-1, dtype=float), 1, rtol=0, atol=4 * np.finfo(p.dtype).eps)
    outcome(layer.vjp, x, g)


@MORE
@given(st.sampled_from([losses.mse, losses.kl, losses.cross_entropy]), pairs(), options("mass"))
def test_losses(loss, pair, named):
    p, q = pair
    both = outcome(loss, p, q, **(named if loss is not losses.mse else {}))
    if both is not None:
        value, grad = both
        assert value.dtype == grad.dtype == dtype_of(p)
        assert not np.isnan(value).any()
        assert not np.isnan(grad).any()


@MORE
@given(pairs(), SPACES, RHOS, options("mass", "accuracy", "device", "gauge"), st.sampled_from(FAR))
def test_emd_mse(pair, space, rho, named, weight):
    p, q = pair
    both = outcome(losses.emd_mse, p, q, space, rho, w_mse=weight, **named)
    if both is not None and named.get("accuracy") != "native":
        assert not np.isnan(both[0]).any()


# --- spaces -----------------------------------------------------------------------------------------------------------


@MORE
@given(
    hnp.arrays(st.sampled_from([np.int8, np.int64, np.uint8]), st.integers(0, 6), elements=st.integers(0, 6)),
    st.one_of(st.none(), arrays(4)),
    st.one_of(st.none(), st.lists(st.integers(-2, 6), max_size=4)),
)
def test_trees(parent, cost, bins):
    if parent.dtype.kind == "i":
        parent = parent - 1
    tree = outcome(emdref.Tree, parent, cost, bins)
    if tree is not None:
        above, root = tree.parent, int(np.flatnonzero(tree.parent == -1)[0])
        for v in range(tree.n_nodes):
            steps = 0
            while v != root:
                v, steps = above[v], steps + 1
                assert steps < tree.n_nodes
        assert emdref.flow(np.ones(tree.n_bins), np.ones(tree.n_bins), tree).shape == (tree.n_nodes,)


@MORE
@given(st.text("(),:;'[]ab 1.e-_\n", max_size=20), st.booleans())
@example("((a:1,b:2):0.5,c:3)", True)
def test_newick(text, closed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a missing length
        tree = outcome(emdref.Tree.from_newick, text + ";" * closed)
    if tree is not None:
        assert tree.n_bins >= 1
        assert (tree.cost >= 0).all()


@MORE
@given(st.sampled_from(["n", "gaps", "positions"]), st.one_of(arrays(3), st.integers(-2, 5), st.none(), st.text()))
def test_chains(name, value):
    chain = outcome(emdref.Chain, **{name: value})
    if chain is not None:
        assert chain.n_bins == len(chain.gaps) + 1
        assert (chain.gaps >= 0).all()


# --- Sinkhorn ---------------------------------------------------------------------------------------------------------

MATRICES = st.sampled_from([emdref.Chain(3).distance_matrix(), np.ones((3, 3)), np.zeros((2, 3)), -np.eye(3), "no"])
SINKHORN = {
    "max_iter": st.sampled_from([1, 5, 0, -1, 2.5, None]),
    "tol": st.sampled_from([0.0, 1e-3, "auto", -1.0, np.nan, "none"]),
    "variant": st.sampled_from(["paper", "frogner", "cuturi", "caffe", "mocha", "other", 1]),
    "kernel": st.sampled_from(["auto", "dense", "space", "other"]),
    "domain": st.sampled_from(["linear", "log", "other"]),
    "checkpoints": st.sampled_from([None, (1,), (3, 2), (7,), (0,), "a", 4]),
    "dtype": st.sampled_from([None, np.float32, "f8", np.float16, "nonsense"]),
    "unrolled": st.sampled_from([False, True, True, 1, "yes"]),
}


@MORE
@given(
    pairs(), st.one_of(SPACES, MATRICES), st.sampled_from([0.5, 10, 1e4, 0, -1, np.nan, np.inf, "3"]),
    st.fixed_dictionaries({}, optional=SINKHORN),
)  # fmt: skip
def test_sinkhorn(pair, space, lam, named):
    p, q = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows that failed: that is what the status is for
        try:
            result = emdref.sinkhorn(p, q, space, lam, **named)
        except Exception as error:
            check_refusal(error)
            return
    assert set(np.ravel(result.status)) <= {"nan", "overflow", "underflow", "converged", "iteration_limit"}
    good = np.isin(result.status, ["converged", "iteration_limit"])
    assert np.isfinite(result.value[good] if np.ndim(good) else result.value if good else 0).all()
    for slopes in result.grad_unrolled or ():
        assert slopes.shape == result.grad.shape and slopes.dtype == result.grad.dtype


def test_the_search_for_argument_names_can_fail():
    assert not ARGUMENTS.search("tuple index out of range")
    with pytest.raises(AssertionError):
        outcome(lambda: int("seven"))
