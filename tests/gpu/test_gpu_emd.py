"""EMD on a GPU beside the CPU and exact rationals: in two limbs the CPU's own bits, in plain arithmetic within bounds.

In the simulator, for the logic alone, spaces are small; what depends on a device's arithmetic or on sizes is marked.
"""

import itertools
from fractions import Fraction

import hostile
import numpy as np
import pytest

import cases
import emdref
import oracles
import plain
from gpu_support import sized

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")]

DTYPES = [np.float32, np.float64]
GAUGES = ["raw", "zero_sum", "scaled", "normalized"]
SMALL = [1, 2, 3, 4]
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_rho = pytest.mark.parametrize("rho", [*SMALL, 1.5, 2.5])
each_accuracy = pytest.mark.parametrize("accuracy", ["compensated", "native"])


def spaces():
    """{name: (space, edges as the oracle sees them)}."""
    small = dict(zip(("chain", *plain.SHAPES), plain.spaces(emdref), strict=True))
    more = sized((*cases.SPACES, "wordnet"), ())
    return small | {f"{name}, larger": (cases.space(name), cases.edges(cases.space(name))) for name in more}


SPACES = spaces()
each_space = pytest.mark.parametrize("name", SPACES)


def rows(space, dtype):
    """Pairs that hold what is hard: cancellation, zeros, kinks, wide ranges; sorts of totals."""
    if space.n_bins <= 5:
        return plain.pairs(space.n_bins, dtype)
    rng = np.random.default_rng(space.n_bins)
    made = [hostile.pair(rng, hostile.FAMILIES[f], space.n_bins, dtype) for f in ("wide", "moved", "barely", "terms")]
    return tuple(np.stack(x) for x in zip(*made, strict=True))


def same_bits(cpu, gpu):
    assert type(gpu) is type(cpu)
    for a, b in zip(cpu, gpu, strict=True) if isinstance(cpu, tuple) else [(cpu, gpu)]:
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes(), (a, b)


def same(function, *args, **options):
    """The function gives the same bits on both."""
    same_bits(function(*args, **options), function(*args, device="cuda", **options))


# --- two limbs: bit for bit -------------------------------------------------------------------------------------------


@each_space
@each_dtype
@pytest.mark.parametrize("rho", SMALL)
def test_value_and_gradient_are_the_cpus(rho, dtype, name):
    space = SPACES[name][0]
    p, q = rows(space, dtype)
    for gauge in sized(GAUGES, GAUGES[rho % 2 :: 2]):
        same(emdref.emd_value_and_grad, p, q, space, rho, gauge=gauge, mass="ignore")


@each_space
@each_dtype
def test_value_gradient_and_flow_alone_are_the_cpus(dtype, name):
    space = SPACES[name][0]
    p, q = rows(space, dtype)
    same(emdref.emd, p, q, space, 2, mass="ignore")
    same(emdref.emd_grad, p, q, space, mass="ignore")
    same(emdref.flow, p, q, space, mass="ignore")
    same(emdref.emd_cost_grad, p, q, space, 1 if dtype == np.float32 else 3, mass="ignore")


@each_space
@each_dtype
@pytest.mark.parametrize("gauge", ["zero_sum", "normalized"])
def test_normalized_rows_are_the_cpus(gauge, dtype, name):
    space = SPACES[name][0]
    p, q = rows(space, dtype)
    same(emdref.emd_value_and_grad, p, q, space, 2, gauge=gauge, mass="normalize")
    same(emdref.flow, p, q, space, mass="normalize")


@pytest.mark.parametrize("name", ["chain", "inner"])
def test_a_space_of_ones_own_needs_no_more_than_the_rooted_view(name):
    space = SPACES[name][0]

    class Own(emdref.Space):
        n_bins, edges, rooted = space.n_bins, space.edges, space.rooted
        bin_nodes, root = space.bin_nodes, space.root

    own = Own()
    p, q = rows(space, np.float64)
    for function in (emdref.emd_value_and_grad, emdref.flow, emdref.emd_hess):
        for accuracy in ("compensated", "native"):
            options = {"mass": "ignore", "accuracy": accuracy, "device": "cuda"}
            same_bits(function(p, q, space, **options), function(p, q, own, **options))


OUT_OF_RANGE = pytest.mark.gpu(hardware="what overflows, at which plain Python raises,")


@each_dtype
@pytest.mark.filterwarnings("ignore:.*beyond the range")
@pytest.mark.parametrize(
    "family",
    [pytest.param(x, marks=OUT_OF_RANGE if x in ("near_the_top", "far") else ()) for x in hostile.FAMILIES],
)
def test_hostile_rows_are_the_cpus(family, dtype):
    rng = np.random.default_rng([5, *family.encode()])
    for size in sized((2, 9, 33, 130), (2, 7)):
        parent, cost, bins = hostile.tree(rng, size)
        for space in (emdref.Chain(gaps=hostile.costs(rng, size)), emdref.Tree(parent, cost, bins)):
            p, q = hostile.batch(rng, family, space.n_bins, dtype, sized(9, 2))
            same(emdref.emd_value_and_grad, p, q, space, mass="ignore", gauge="raw")
            same(emdref.flow, p, q, space, mass="ignore")


def test_every_sign_is_right_where_two_limbs_are_not_enough():
    """And what the kernels do not settle is counted as done again."""
    for difference in ([1, 2.0**-60, -1], [1, 2.0**-60, 2.0**-120, -1, -(2.0**-60)]):
        d = np.array([[*x, -min(difference, key=abs)] for x in itertools.permutations(difference)][:: sized(1, 17)])
        space = emdref.Chain(d.shape[1])
        p, q = np.maximum(d, 0), np.maximum(-d, 0)
        with emdref.fallback.counting() as count:
            got = emdref.flow(p, q, space, device="cuda")
        for a, b, line in zip(p, q, got, strict=True):
            assert np.sign(line).tolist() == [oracles.sign(x) for x in cases.exact_flow(a, b, space)]
        assert count.rows == len(p)
        same(emdref.emd_value_and_grad, p, q, space)


def test_rows_that_are_done_again_are_counted():
    p, q = np.array([[1, 2.0**-60, 2.0**-120, 0, 0, 0]] * 3), np.array([[0, 0, 0, 1, 2.0**-60, 2.0**-120]] * 3)
    p[1], q[1] = [1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]
    for device in (None, "cuda"):
        with emdref.fallback.counting() as count:
            emdref.emd(p, q, emdref.Chain(6), device=device)
        assert (count.rows, count.exact) == (3, 2), device


# --- any power, plain arithmetic: within bounds -----------------------------------------------------------------------


def check(got, exact, bound):
    for x, y in zip(np.atleast_1d(got).tolist(), exact, strict=True):
        assert abs(Fraction(x) - y) <= bound, (x, float(y))


def tolerance(space, dtype, rho):
    """eps for each sum on the way to the root and back, each power and each factor."""
    depth = len(space.parent) if isinstance(space, emdref.Tree) else space.n_bins
    return float(np.finfo(dtype).eps) * (8 * depth + 16 * rho + 16)


@pytest.mark.parametrize("name", sized(tuple(SPACES), ("chain", "tree")))
@each_dtype
@each_rho
@each_accuracy
def test_value_and_gradient_are_near_the_exact_ones(accuracy, rho, dtype, name):
    if accuracy == "compensated" and rho in SMALL:
        pytest.skip("the CPU's bits, tested above")
    if name == "wordnet, larger":
        pytest.skip("its rationals take too long")
    (space, edges), gauge = SPACES[name], GAUGES[int(2 * rho) % 4]
    p, q = rows(space, dtype)
    value, grad = emdref.emd_value_and_grad(
        p, q, space, rho, gauge=gauge, mass="ignore", accuracy=accuracy, device="cuda"
    )
    for a, b, x, line in zip(p, q, value, grad, strict=True):
        number, exact = plain.truth(a, b, edges, rho, gauge, False)
        if gauge == "normalized":
            exact = plain.truth(a, b, edges, rho, gauge, True)[1]
        top = max(map(abs, plain.truth(a, b, edges, rho, "raw", gauge == "normalized")[1]))
        unit = top * {"scaled": len(a), "normalized": 1 / Fraction(float(a.sum(dtype=float)))}.get(gauge, 1)
        moved = sum(abs(f) for f in oracles.flow(plain.exactly(a), plain.exactly(b), edges).values())
        scale = Fraction(tolerance(space, dtype, rho)) * (1 + plain.total(*a, *b) / moved if moved else 1)
        check(x, [number], scale * number + plain.ulp(0, dtype))
        check(line, exact, scale * unit * 2 + plain.ulp(0, dtype))


@each_space
@each_dtype
@each_accuracy
def test_flow_is_near_the_exact_one(accuracy, dtype, name):
    space = SPACES[name][0]
    p, q = rows(space, dtype)
    got = emdref.flow(p, q, space, mass="ignore", accuracy=accuracy, device="cuda")
    for a, b, line in zip(p, q, got, strict=True):
        check(line, cases.exact_flow(a, b, space), Fraction(tolerance(space, dtype, 1)) * plain.total(*a, *b))


# --- second derivatives -----------------------------------------------------------------------------------------------


@each_dtype
@each_accuracy
@pytest.mark.parametrize("rho", [1, 2, 3, 2.5])
@pytest.mark.parametrize("name", ["chain", "tree", "inner"])
def test_second_derivatives_are_near_the_cpus(name, rho, accuracy, dtype):
    space = SPACES[name][0]
    p, q = (x[:3] for x in rows(space, dtype))
    bound = 64 * np.finfo(dtype).eps
    for gauge, mass in (("zero_sum", "ignore"), ("raw", "normalize"), ("normalized", "normalize")):
        options = {"gauge": gauge, "mass": mass, "accuracy": accuracy}
        for function, extra in ((emdref.emd_hess, ()), (emdref.emd_hvp, (q,))):
            cpu, gpu = (function(p, q, space, *extra, rho, device=d, **options) for d in (None, "cuda"))
            assert (gpu.dtype, gpu.shape) == (cpu.dtype, cpu.shape)
            for a, b in zip(cpu, gpu, strict=True):
                assert np.abs(a - b).max() <= bound * np.abs(a).max()


def test_infinite_curvature_is_refused_as_on_the_cpu():
    alike(emdref.emd_hess, [[0.5, 0.5, 0], [0.25, 0.5, 0.25]], [[0.5, 0, 0.5], [0.5, 0.25, 0.25]], emdref.Chain(3), 1.5)


# --- edge cases -------------------------------------------------------------------------------------------------------


@each_dtype
@each_accuracy
@pytest.mark.parametrize(
    "space",
    [
        emdref.Chain(1),
        emdref.Chain(2),
        emdref.Tree([-1]),
        emdref.Tree([-1, 0]),
        emdref.Tree([-1, 0, 1, 2], bins=[0]),
        emdref.Tree([-1, 0, 1, 2], bins=[2, 0, 3]),
        emdref.Tree([-1, 0, 0, 1], cost=[0, 0, 0, 0]),
        emdref.Tree([1, 2, 3, -1], cost=[0.5, 0, 2, 0], bins=[3, 0]),
        emdref.Chain(gaps=[0, 0, 0]),
    ],
    ids=lambda space: f"{type(space).__name__} of {space.n_bins} of {space.n_nodes}",
)
def test_edge_cases(space, accuracy, dtype):
    p, q = np.arange(1.0, 1 + 2 * space.n_bins, dtype=dtype).reshape(2, -1)[:, ::-1]
    for rho, gauge in ((1, "zero_sum"), (2, "scaled")):
        same(emdref.emd_value_and_grad, p, q, space, rho, gauge=gauge, mass="ignore", accuracy=accuracy)
    same(emdref.flow, p, q, space, mass="ignore", accuracy=accuracy)


@each_dtype
@pytest.mark.parametrize("name", ["chain", "tree"])
def test_leading_axes_broadcasting_and_strides(name, dtype):
    space = SPACES[name][0]
    p, q = rows(space, dtype)
    n = space.n_bins
    for a, b in (
        (p[0], q[0]),
        (p, q[2]),
        (p[0], q),
        (p[:4].reshape(2, 2, n), q[:2]),
        (np.asfortranarray(p), q[::-1]),
        (p[:0], q[:0]),
        (p[:0], q[0]),
        (np.repeat(p, 2, axis=1)[:, ::2], q),
    ):
        same(emdref.emd_value_and_grad, a, b, space, 2, mass="ignore")
        same(emdref.flow, a, b, space, mass="ignore")


@pytest.mark.parametrize("name", ["chain", "tree"])
def test_integers_and_lists(name):
    space = SPACES[name][0]
    n = space.n_bins
    same(emdref.emd, [3, *[0] * (n - 1)], [*[0] * (n - 1), 3], space, 2)
    same(emdref.emd_grad, np.arange(n), np.arange(n)[::-1].copy(), space)


@each_accuracy
@pytest.mark.parametrize("name", ["chain", "tree"])
def test_a_row_is_the_same_wherever_it_stands(name, accuracy):
    space = SPACES[name][0]
    p, q = rows(space, np.float32)
    order = np.random.default_rng(1).integers(0, len(p), sized(1000, 11))
    alone = [emdref.emd_value_and_grad(a, b, space, 2.5, mass="ignore", accuracy=accuracy, device="cuda")
             for a, b in zip(p, q, strict=True)]  # fmt: skip
    value, grad = emdref.emd_value_and_grad(
        p[order], q[order], space, 2.5, mass="ignore", accuracy=accuracy, device="cuda"
    )
    for i, k in enumerate(order):
        assert value[i] == alone[k][0]
        assert grad[i].tobytes() == alone[k][1].tobytes()


@pytest.mark.gpu(hardware="many bins")
@each_dtype
@pytest.mark.parametrize("n", [31, 32, 33, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025, 4097, 100_001])
def test_sizes_around_bounds(n, dtype):
    rng = np.random.default_rng(n)
    for space in (emdref.Chain(n), emdref.Chain(gaps=rng.random(n - 1)), emdref.Chain(n).to_tree()):
        if n > 5000 and isinstance(space, emdref.Tree):
            continue
        p, q = cases.softmax(rng, (3, n), dtype), cases.softmax(rng, (3, n), dtype)
        same(emdref.emd_value_and_grad, p, q, space, 2)
        same(emdref.flow, p, q, space)


@pytest.mark.gpu(hardware="many rows")
@pytest.mark.parametrize("rows", [1, 31, 33, 1000, 70_000])
def test_many_rows(rows):
    rng = np.random.default_rng(rows)
    for space in (emdref.Chain(20), SPACES["tree"][0]):
        p, q = (cases.softmax(rng, (rows, space.n_bins), np.float32) for _ in "pq")
        same(emdref.emd_value_and_grad, p, q, space, 2)


# --- bad input --------------------------------------------------------------------------------------------------------


def alike(function, *args, **options):
    """The same error, word for word."""
    with pytest.raises(Exception) as cpu:  # noqa: PT011 (whatever it is)
        function(*args, **options)
    with pytest.raises(type(cpu.value)) as gpu:
        function(*args, device="cuda", **options)
    assert str(gpu.value) == str(cpu.value)


GOOD = [0.25, 0.25, 0.5]
BAD = [
    [],
    1.0,
    [0.5, 0.5],
    np.ones((3, 2)),
    [0.5, np.nan, 0.5],
    [0.5, 0.5, np.inf],
    [1.25, -0.25, 0],
    [GOOD, [0.5, 0.75, -0.25]],
    [[GOOD], [[0, 0, 0]]],
    [GOOD, GOOD, [0.5, 0.5, 0.5]],
    [0.25, 0.25, 0.5 + 2**-40],
    np.ones((4, 3), np.float16),
    np.array(["a", "b", "c"]),
]


@each_accuracy
@pytest.mark.parametrize("p", BAD, ids=range(len(BAD)))
def test_errors_are_the_cpus_word_for_word(p, accuracy):
    p = np.asarray(p)
    for space in (emdref.Chain(3), emdref.Chain(3).to_tree()):
        for function in sized((emdref.emd, emdref.emd_grad, emdref.flow), (emdref.emd,)):
            alike(function, p, np.array(GOOD), space, accuracy=accuracy)
            alike(function, np.array(GOOD), p, space, accuracy=accuracy)


@pytest.mark.parametrize("rho", [0.5, np.nan, np.inf, "2"])
def test_bad_powers_are_refused_as_on_the_cpu(rho):
    alike(emdref.emd, GOOD, GOOD, emdref.Chain(3), rho)


@OUT_OF_RANGE
def test_results_beyond_the_dtype_are_inf_with_the_cpus_warning():
    p, q, space = [1e200, 0, 0], [0, 0, 1e200], emdref.Chain(3)
    said = []
    for device in (None, "cuda"):
        with pytest.warns(RuntimeWarning) as warned:
            assert emdref.emd(p, q, space, 2, device=device) == np.inf
        said.append([str(w.message) for w in warned])
    assert said[0] == said[1]
