"""Spaces and histograms that the tests share: named, seeded, and with their exact rationals at hand."""

import functools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import strategies as st

import emdref
import oracles
from emdref import casebook

DTYPES = [np.float32, np.float64]
# begins a program that is to be interrupted: what a shell starts in the background ignores Ctrl-C, its children too
HEED_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
GAUGES = ["raw", "zero_sum", "scaled", "normalized"]


def refused(call, error, *words):
    """The call is an error, in a message that is short and holds all words."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert len(message) <= 300, message
    for word in words:
        assert word in message, message


# --- spaces -----------------------------------------------------------------------------------------------------------


def costs(rng, size):
    """Uneven costs over three decades."""
    return 10 ** rng.uniform(-2, 1, size)


def chain(rng):
    return emdref.Chain(gaps=costs(rng, 24))


def star(rng):
    return emdref.Tree([-1] + 20 * [0], costs(rng, 21))


def path(rng):
    """A path of 30 nodes, rooted at an end, with a bin at every second node."""
    return emdref.Tree(np.arange(30) - 1, costs(rng, 30), bins=rng.permutation(30)[:15])


def caterpillar(rng):
    """A spine of even nodes, each with one odd leaf."""
    return emdref.Tree([-1] + [v - 1 if v % 2 else v - 2 for v in range(1, 30)], costs(rng, 30))


def random_tree(rng, size=35):
    """A tree whose node numbers tell nothing about its shape."""
    parent = [-1, *(rng.integers(v) for v in range(1, size))]
    return relabelled(emdref.Tree(parent, costs(rng, size)), rng.permutation(size))


def inner_bins(rng):
    """Bins on inner nodes and on the root, in shuffled order."""
    tree = random_tree(rng, 25)
    return emdref.Tree(tree.parent, tree.cost, bins=rng.permutation(25)[:18])


def zero_edges(rng):
    tree = random_tree(rng)
    return emdref.Tree(tree.parent, tree.cost * rng.integers(0, 2, 35))


def wordnet(rng):
    return emdref.wordnet_tree()


def large(name, n, unit=1.0):
    """A space of about n bins; costs of 24 bits, so that exact sums stay short, times a unit."""
    rng = np.random.default_rng([n, *name.encode()])
    if name == "chain":
        return emdref.Chain(gaps=unit * costs(rng, n - 1).astype(np.float32))
    parents = {
        "path": np.arange(n) - 1,
        "star": np.append(-1, np.zeros(n, int)),
        "caterpillar": np.append(-1, [v - 1 if v % 2 else v - 2 for v in range(1, 2 * n)]),
        "random": np.append(-1, (rng.random(2 * n - 1) * np.arange(1, 2 * n)).astype(int)),
    }
    parent = parents[name]
    return emdref.Tree(
        parent, unit * costs(rng, len(parent)).astype(np.float32), np.arange(n) if name == "path" else None
    )


SPACES = {f.__name__: f for f in (chain, star, path, caterpillar, random_tree, inner_bins, zero_edges)}
ALL_SPACES = {**SPACES, "wordnet": wordnet}


@functools.cache
def space(name):
    return ALL_SPACES[name](np.random.default_rng(list(name.encode())))


@functools.cache
def edges(space):
    """The space as the oracle sees it."""
    if isinstance(space, emdref.Chain):
        return oracles.chain_edges(space.gaps)
    return oracles.tree_edges(space.parent.tolist(), space.cost, space.bins.tolist())


def relabelled(tree, number):
    """The same tree with node v called number[v]; bins keep their order."""
    old = np.argsort(number)
    parent = np.append(number, -1)[tree.parent[old]]  # the root's -1 picks the last entry
    return emdref.Tree(parent, tree.cost[old], bins=number[tree.bins])


# --- histograms -------------------------------------------------------------------------------------------------------


def softmax(rng, shape, dtype, sigma=2.0):
    return casebook.normalized(casebook.lognormal(rng, shape, sigma), dtype)


def flat_softmax(rng, n, dtype):
    return softmax(rng, n, dtype, 1.0), softmax(rng, n, dtype, 1.0)


def peaked_softmax(rng, n, dtype):
    return softmax(rng, n, dtype, 8.0), softmax(rng, n, dtype, 4.0)


def one_hot_target(rng, n, dtype):
    return softmax(rng, n, dtype), (np.arange(n) == rng.integers(n)).astype(dtype)


def one_ulp(rng, n, dtype):
    """Every entry off by one, up and down in turn: unlike casebook's, the totals differ."""
    p = softmax(rng, n, dtype)
    return p, np.nextafter(p, dtype(0), where=np.arange(n) % 2 == 0, out=np.nextafter(p, dtype(1)))


FAMILIES = {
    f.__name__: f
    for f in (
        flat_softmax,
        peaked_softmax,
        one_hot_target,
        casebook.block_permuted,
        casebook.local_moves,
        casebook.cancelling,
        casebook.spread,
        one_ulp,
        casebook.integers,
        casebook.subnormals,
    )
}
HOSTILE = {**FAMILIES, "near_overflow": casebook.near_overflow}  # powers of near_overflow leave the range


def histograms(family, n, dtype, seed=0):
    return HOSTILE[family](np.random.default_rng([seed, n]), n, dtype)


@functools.cache
def case(name, family, dtype):
    """(space, p, q) of a named space and family."""
    where = space(name)
    return where, *histograms(family, where.n_bins, dtype)


# --- what is exact and how close to it --------------------------------------------------------------------------------


def exact_pair(p, q, normalize=False):
    p, q = oracles.fractions(p), oracles.fractions(q)
    return (oracles.normalized(p), oracles.normalized(q)) if normalize else (p, q)


def exact_flow(p, q, where, normalize=False):
    """Flows in the order of emdref.flow: gaps of a chain; nodes of a tree, 0 at the root."""
    phi = oracles.flow(*exact_pair(p, q, normalize), edges(where))
    return [phi.get(e, Fraction(0)) for e in range(len(phi) + isinstance(where, emdref.Tree))]


def exact_emd(p, q, where, rho, normalize=False):
    return oracles.emd(*exact_pair(p, q, normalize), edges(where), rho)


@functools.lru_cache
def raw_grad(p, q, where, rho):
    return oracles.raw_grad(p, q, edges(where), rho)


def exact_grad(p, q, where, rho, gauge, normalize=False):
    r = raw_grad(*map(tuple, exact_pair(p, q, normalize or gauge == "normalized")), where, rho)
    return oracles.gauged(r, oracles.fractions(p), gauge)


@functools.lru_cache
def raw_hess(p, q, where, rho):
    return oracles.raw_hess(p, q, edges(where), rho)


def exact_hess(p, q, where, rho, gauge, normalize=False):
    a, b = map(tuple, exact_pair(p, q, normalize or gauge == "normalized"))
    real = rho != int(rho)
    r = oracles.raw_grad_real(a, b, edges(where), rho) if real else raw_grad(a, b, where, rho)
    return oracles.gauged_hess(raw_hess(a, b, where, rho), r, oracles.fractions(p), gauge)


def hess_unit(p, q, where, rho, gauge, normalize=False):
    """max |H|, in which a Hessian's errors are counted, and what a gauge makes of it."""
    a, b = map(tuple, exact_pair(p, q, normalize or gauge == "normalized"))
    top = max(map(max, raw_hess(a, b, where, rho)))
    if gauge == "normalized":
        mean = sum(x * y for x, y in zip(a, raw_grad(a, b, where, rho), strict=True))
        return (top + 2 * max(abs(x - mean) for x in raw_grad(a, b, where, rho))) / sum(oracles.fractions(p)) ** 2
    return top * (len(a) ** 2 if gauge == "scaled" else 1)


def grad_unit(p, q, where, rho, gauge, normalize=False):
    """max |r|, in which a gradient's errors are counted; times N for ``scaled``, over |p| for ``normalized``."""
    r = raw_grad(*map(tuple, exact_pair(p, q, normalize or gauge == "normalized")), where, rho)
    return max(map(abs, r)) * {"scaled": len(r), "normalized": 1 / sum(oracles.fractions(p))}.get(gauge, 1)


def ulp(x, dtype):
    """Distance between the floats of `dtype` around the rational x."""
    return Fraction(float(np.spacing(abs(dtype(float(x))))))


def assert_within_ulps(got, exact, ulps=1):
    got, dtype = np.atleast_1d(got), got.dtype.type
    for i, (x, y) in enumerate(zip(got.tolist(), exact, strict=True)):
        assert abs(Fraction(x) - y) <= ulps * ulp(y, dtype), f"entry {i}: {x!r}, exactly {float(y)!r}"


def assert_within(got, exact, bound):
    """Each entry within the rational `bound`, and a smallest subnormal more for the last rounding."""
    bound = Fraction(bound) + ulp(0, got.dtype.type)
    for i, (x, y) in enumerate(zip(np.atleast_1d(got).tolist(), exact, strict=True)):
        assert abs(Fraction(x) - y) <= bound, f"entry {i}: {x!r}, exactly {float(y)!r}, bound {float(bound):.3g}"


def eps(dtype):
    return Fraction(float(np.finfo(dtype).eps))


# --- drawn cases ------------------------------------------------------------------------------------------------------


def masses(n):
    """n masses from 2**-20 to 10, or 0, as floats."""
    return st.lists(st.integers(0, 10 * 2**20).map(lambda i: i / 2**20), min_size=n, max_size=n).filter(any)


@st.composite
def trees(draw, max_nodes=10):
    """Any small tree: shuffled numbers, any bins, costs from 0 to 4."""
    size = draw(st.integers(2, max_nodes))
    parent = [-1, *(draw(st.integers(0, v - 1)) for v in range(1, size))]
    cost = draw(st.lists(st.integers(0, 64).map(lambda i: i / 16), min_size=size, max_size=size))
    bins = draw(st.lists(st.integers(0, size - 1), min_size=1, unique=True))
    return relabelled(emdref.Tree(parent, cost, bins=bins), np.array(draw(st.permutations(range(size)))))


@st.composite
def chains(draw, max_bins=10):
    return emdref.Chain(gaps=draw(st.lists(st.integers(0, 64).map(lambda i: i / 16), max_size=max_bins - 1)))


@st.composite
def pairs(draw, spaces=None):
    """(space, p, q) with totals that may differ."""
    where = draw(spaces if spaces is not None else st.one_of(trees(), chains()))
    return where, draw(masses(where.n_bins)), draw(masses(where.n_bins))


@st.composite
def balanced_pairs(draw, spaces=None):
    """(space, p, q) with equal totals: q is p in another order."""
    where = draw(spaces if spaces is not None else st.one_of(trees(), chains()))
    p = draw(masses(where.n_bins))
    return where, p, draw(st.permutations(p))
