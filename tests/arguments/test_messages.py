"""No message of the library is longer than 300 characters, whatever a caller gives."""

import warnings

import networkx
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import emdref
from emdref import exact, losses, normalize

LONG = "x" * 5000
P, Q = [0.25, 0.25, 0.5], [0.5, 0.25, 0.25]
CHAIN, NAMED = emdref.Chain(3), emdref.Tree([-1, 0, 0, 0], labels=[LONG + str(k) for k in range(4)])
PAIR = {"p": P, "q": Q, "space": CHAIN}
LONG_TYPE = type(LONG, (), {"__repr__": lambda self: LONG, "__str__": lambda self: LONG})
NO_REPR = type("Mute", (), {"__repr__": lambda self: 1 / 0})


def odd_values():
    """What callers should not give, at length."""
    fields = np.dtype([(f"{LONG[:40]}{k}", "f8") for k in range(200)])
    long_labels = [LONG + "a", LONG + "b", LONG + "c"]
    return [
        LONG, 10**5000, -(10**5000), LONG_TYPE(), NO_REPR(), LONG_TYPE, [LONG] * 3, (LONG, LONG), {LONG: LONG}, {LONG},
        [[LONG] * 3] * 100, [[1.0], [1.0, 2.0]], list(range(3000)), np.zeros((1,) * 60), np.full(3, LONG),
        np.zeros(3, fields), np.full(1000, np.nan), np.array([1e308, -1e308, 1e308]), np.full((2, 3), -1e-300),
        [1.0, np.ma.masked, 3], scipy.sparse.csr_array(-np.ones((2, 3))), scipy.sparse.coo_array(np.ones(7)),
        pd.Series(P, long_labels), pd.DataFrame([P, P], columns=long_labels), pd.Series(np.ones(9), range(9, 0, -1)),
        pd.Series(P, [LONG] * 3), [pd.Series(P, long_labels)] * 3, pd.Series(P, [pd.NA, None, LONG]), None,
        LONG.encode(),
    ]  # fmt: skip


def cases():
    """Functions with arguments that they take."""
    cost = np.abs(np.subtract.outer(np.arange(3.0), np.arange(3.0)))
    options = {"rho": 2, "mass": "raise", "accuracy": "native", "device": None}
    for f in (emdref.emd, emdref.emd_grad, emdref.emd_value_and_grad):
        yield f, {**PAIR, **options, "out": None}
    yield emdref.emd_cost_grad, {**PAIR, **options}
    yield emdref.emd_hess, {**PAIR, **options, "gauge": "raw"}
    yield emdref.emd_hvp, {**PAIR, **options, "v": P, "gauge": "raw"}
    yield emdref.flow, {**PAIR, "mass": "raise", "accuracy": "native", "device": None}
    yield emdref.pairwise, {"X": [P], "space": CHAIN, "Y": [Q], "rho": 1, "mass": "raise", "progress": False}
    for f in (emdref.certify, emdref.plan):
        yield f, {**PAIR, "mass": "raise"}
    several = {"P": [P, Q], "space": CHAIN, "weights": [1.0, 2.0], "mass": "raise"}
    for f in (emdref.barycenter, exact.barycenter):
        yield f, {**several, "rho": 1}
    yield emdref.certify_barycenter, {**several, "b": P}
    for f in (exact.emd, exact.cost_grad, exact.grad, exact.hess):
        yield f, {**PAIR, "rho": 1}
    yield exact.hvp, {**PAIR, "v": P, "gauge": "raw"}
    for f in (emdref.emd, exact.emd, emdref.pairwise):
        yield f, {"X": [P], "space": NAMED} if f is emdref.pairwise else {**PAIR, "space": NAMED}
    yield losses.mse, {"p": P, "q": Q}
    yield losses.kl, {"p": P, "q": Q, "mass": "raise"}
    yield losses.emd_mse, {**PAIR, "w_emd": 1.0, "gauge": "raw"}
    yield normalize.l1, {"x": P}
    yield normalize.square.vjp, {"x": P, "g": Q}
    sinkhorn = {"lam": 1.0, "max_iter": 5, "tol": 0.0, "variant": "paper", "kernel": "dense", "domain": "log"}
    more = {"init": (P, P), "checkpoints": None, "unrolled": False, "dtype": None, "device": None}
    yield emdref.sinkhorn, {"p": P, "q": Q, "space_or_cost": cost, **sinkhorn, **more}
    yield emdref.certify_sinkhorn, {**PAIR, "lam": 1.0, "max_iter": 5, "init": (P, P)}
    right, cases = (lambda p, q: emdref.emd(p, q, CHAIN)), [(P, Q)]
    yield emdref.check, {"function": right, "space": CHAIN, "rho": 1, "gauge": None, "cases": cases}
    yield (
        emdref.check,
        {"function": lambda p, q: 0.0, "space": CHAIN, "tol": 1.0, "dtype": float, "framework": None},
    )
    yield emdref.casebook.pair, {"family": "integers", "n": 4, "dtype": float, "seed": 0}
    yield emdref.Chain, {"n": 3}
    yield emdref.Chain, {"gaps": [1, 2]}
    yield emdref.Chain, {"positions": [1, 2]}
    yield emdref.Tree, {"parent": [-1, 0, 0], "cost": [1, 1, 1], "bins": [1, 2], "labels": [LONG, "b", "c"]}
    yield emdref.Tree.from_edges, {"edges": [("a", "r", 1.0)]}
    yield emdref.Tree.from_newick, {"source": "(a,b);", "bins": ["a"], "index": 0, "negative": "zero"}
    yield emdref.Tree.from_file, {"path": "none", "bins": ["a"], "index": 0, "negative": "zero"}
    yield emdref.Tree.from_networkx, {"graph": networkx.path_graph(3), "root": 0, "weight": "cost"}
    yield emdref.wordnet_tree, {"cost": "hops"}
    yield CHAIN.distance_matrix, {"dtype": float}


def assert_short(call, *args, **kwargs):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        said = []
        try:
            call(*args, **kwargs)
        except Exception as error:
            said.append(str(error))
    said += [str(w.message) for w in warned]
    assert all(len(text) <= 300 for text in said), said


@pytest.mark.parametrize(("call", "arguments"), list(cases()), ids=lambda x: getattr(x, "__name__", ""))
def test_arguments(call, arguments):
    for name in arguments:
        for value in odd_values():
            if name != "max_iter" or not isinstance(value, int):  # one would run for ever
                assert_short(call, **{**arguments, name: value})


NAMES = [LONG + "a", LONG + "b", LONG + "c", LONG + "d"]


@pytest.mark.parametrize(
    "edges",
    [
        [(LONG,)],
        [(NAMES[0], NAMES[1], -1)],
        [(NAMES[0], NAMES[1], LONG)],
        [(NAMES[0], NAMES[1], 10**5000)],
        [(NAMES[0], NAMES[1]), (NAMES[0], NAMES[2])],
        [(NAMES[0], NAMES[1]), (NAMES[2], NAMES[3])],
        [(NAMES[0], NAMES[1]), (NAMES[1], NAMES[0])],
        [(NAMES[0], NAMES[1]), (NAMES[2], NAMES[3]), (NAMES[3], NAMES[2])],
        [(NAMES[0], NAMES[1]), (NAMES[2], NAMES[2])],
    ],
)
def test_edges_of_long_names(edges):
    assert_short(emdref.Tree.from_edges, edges)
    graph = networkx.Graph()
    graph.add_edges_from((e[0], e[1], {LONG: e[2]} if len(e) == 3 else {}) for e in edges if len(e) > 1)
    for root in (*NAMES, LONG):
        assert_short(emdref.Tree.from_networkx, graph, root, LONG)


@pytest.mark.parametrize("parent", [[-1, -1, 0], [1, 0, 0], [-1, 2, 1], [-1, 9, 0], [-1, 0, 0]])
def test_trees_of_long_labels(parent):
    for cost, bins in ((None, None), ([0, -1, 1], None), (None, [1, 1]), (None, [7])):
        assert_short(emdref.Tree, parent, cost, bins, NAMES[:3])


def test_second_derivatives_at_kinks_of_long_labels():
    assert_short(emdref.emd_hess, P, P, NAMED, 1.5)


@pytest.mark.parametrize(
    "text",
    [
        LONG,
        f"({LONG}",
        f"({LONG} {LONG},b);",
        f"({LONG}'s:1,{LONG},d's:1);",
        f"(a'{LONG});",
        f"(a[{LONG});",
        f"(a:{LONG},b:1);",
        f"(a:-{'9' * 5000},b:1);",
        f"(a,b){LONG}({LONG});",
        f"(a,b);{LONG}",
        f"(({LONG},b:1)c:2);",
        f"#NEXUS {LONG}",
        f"#NEXUS begin trees; tree {LONG}",
        f"#NEXUS begin trees; tree {LONG}=(a,b); tree b=(c,d);",
        f"#NEXUS begin trees; translate {LONG} {LONG} {LONG}; tree a=(b,c);",
        f"#NEXUS begin trees; translate {LONG} a, {LONG} b; tree a=(b,c);",
        f"#NEXUS begin {LONG};",
        f"(({LONG})x#H1,x#H1);",
        f"({LONG}:-1,b:-2);",
        f"{'9' * 5000} (a,b);",
        "/" + "é" * 5000,
        "(a\0,b",
        "\0",
        "\udcff",
    ],
)
def test_newick(text):
    assert_short(emdref.Tree.from_newick, text)
