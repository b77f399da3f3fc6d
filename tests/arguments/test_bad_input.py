"""Bad input is refused before anything is computed, by a message that names the argument, the place and the amount."""

import gzip
import re
from fractions import Fraction

import networkx
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import emdref
from emdref import exact

CHAIN = emdref.Chain(3)
GOOD = [0.25, 0.25, 0.5]


def hvp(p, q, space, *rho, **options):
    dtype = np.asarray(p).dtype
    v = np.ones(space.n_bins if isinstance(space, emdref.Chain) else 3, dtype if dtype.kind == "f" else np.float64)
    return emdref.emd_hvp(p, q, space, v, *rho, **options)


CALLS = [emdref.emd, emdref.emd_grad, emdref.emd_value_and_grad, emdref.emd_hess, hvp, emdref.flow]
CALLS += [emdref.emd_cost_grad]
each_call = pytest.mark.parametrize("call", CALLS)


def refuses(error, message):
    """pytest.raises for a message given word for word, `...` standing for anything."""
    return pytest.raises(error, match=".*".join(map(re.escape, message.split("..."))))


# --- histograms -------------------------------------------------------------------------------------------------------


@each_call
@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([], "p has shape (0,), its last axis must be the space's 3 bins"),
        (1.0, "p has shape (), its last axis must be the space's 3 bins"),
        ([0.5, 0.5], "p has shape (2,), its last axis must be the space's 3 bins"),
        (np.ones((3, 2)), "p has shape (3, 2), its last axis must be the space's 3 bins"),
        ([0.5, np.nan, 0.5], "p[1] = nan: ...finite"),
        ([0.5, 0.5, np.inf], "p[2] = inf: ...finite"),
        ([1.25, -0.25, 0], "p[1] = -0.25: ...negative"),
        ([0.25, -np.inf, 0], "p[1] = -inf: "),
        ([GOOD, [0.5, 0.75, -0.25]], "p[1, 2] = -0.25: ...negative"),
        ([[GOOD], [[0, 0, 0]]], "p[1, 0, :] is all zeros"),
        ([0, 0, 0], "p[:] is all zeros"),
    ],
)
def test_a_histogram_that_is_none(call, p, message):
    for dtype in (np.float32, np.float64):
        with refuses(ValueError, message):
            call(np.array(p, dtype), np.array(GOOD, dtype), CHAIN)


@each_call
@pytest.mark.parametrize("mass", ["raise", "normalize", "ignore"])
def test_q_is_checked_like_p_under_every_mass_policy(call, mass):
    with refuses(ValueError, "q[1, 0] = -1.0: "):
        call(GOOD, [GOOD, [-1.0, 1, 1]], CHAIN, mass=mass)
    with refuses(ValueError, "q[:] is all zeros"):
        call(GOOD, [0.0, 0, 0], CHAIN, mass=mass)


@pytest.mark.parametrize("function", [emdref.emd, emdref.emd_grad, emdref.emd_value_and_grad])
@pytest.mark.parametrize("accuracy", ["native", "compensated"])
@pytest.mark.parametrize("rho", [1, 2, 4, 1.5, 7.25])
@pytest.mark.parametrize("gap", [1.0, 1e-200])
def test_whatever_kernel_computes_it_the_input_is_looked_at(function, accuracy, rho, gap):
    """Powers and costs choose the kernel."""
    space = emdref.Chain(gaps=[gap, 1.0])
    for bad, message in (
        ([0.5, np.nan, 0.5], "p[1] = nan: "),
        ([0.5, -0.5, 1.0], "p[1] = -0.5: "),
        ([0.0, 0.0, 0.0], "p[:] is all zeros"),
        ([0.5, 0.5, 0.5], "p has total 1.5 and q 1, +0.5 apart"),
    ):
        with refuses(ValueError, message):
            function(np.array(bad), np.array([0.5, 0.25, 0.25]), space, rho, accuracy=accuracy)


@each_call
def test_leading_axes_that_do_not_fit(call):
    with refuses(ValueError, "p (4, 3) and q (2, 3) cannot be broadcast together"):
        call(np.ones((4, 3)), np.ones((2, 3)), CHAIN)


@each_call
@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (np.float16, "float16"),
        (np.complex128, "complex128"),
        (object, "object"),
        (bool, "bool"),
        ("<U3", "<U3"),
        ("M8[s]", "datetime64[s]"),
        pytest.param(
            np.longdouble,
            "",
            marks=pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is double here"),
        ),
    ],
)
def test_other_dtypes(call, dtype, name):
    with refuses(TypeError, f"p has dtype ...{name}...float32 or float64"):
        call(np.array([1, 0, 1]).astype(dtype), GOOD, CHAIN)


@each_call
def test_two_dtypes(call):
    with refuses(TypeError, "p is float32 and q is float64: ...q.astype(p.dtype)"):
        call(np.float32(GOOD), np.float64(GOOD), CHAIN)


@each_call
@pytest.mark.parametrize("big", [np.int64(2**53), np.uint64(2**63), np.int64(-(2**63))])
def test_integers_that_float64_would_round(call, big):
    with refuses((TypeError, ValueError), "p holds an integer of 2**53 or more"):
        call(np.array([big, 0, 0], type(big)), GOOD, CHAIN)


# --- totals -----------------------------------------------------------------------------------------------------------


@each_call
@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([0.25, 0.25, 0.25], "p has total 0.75 and q 1, -0.25 apart"),
        ([GOOD, GOOD, [0.5, 0.5, 0.5]], "row 2: p has total 1.5 and q 1, +0.5 apart"),
        ([[GOOD, GOOD], [GOOD, [1.0, 1.0, 1.0]]], "row (1, 1): p has total 3 and q 1, +2 apart"),
        ([0.25, 0.25, 0.5 + 2**-40], "+9.09e-13 apart (rounding explains 6.2e-15)"),
    ],
)
def test_totals_that_differ(call, p, message):
    with refuses(ValueError, message + '...mass="normalize"'):
        call(p, GOOD, CHAIN)


@each_call
def test_totals_that_overflow_are_compared_all_the_same(call):
    big = np.array([1e308, 1e308, 0])
    with refuses(ValueError, "apart"):
        call(big, 0.75 * big, CHAIN)
    with refuses(ValueError, "apart"):
        call([big, GOOD], [big, [0.5, 0.5, 0.5]], CHAIN)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_totals_may_differ_by_rounding_and_no_more(dtype):
    """16 eps sqrt(N), relative to the larger: N = 64 makes that 128 eps."""
    p, chain = np.full(64, 1 / 64, dtype), emdref.Chain(64)
    q, far = p.copy(), p.copy()
    q[0] += dtype(120 * np.finfo(dtype).eps)
    far[0] += dtype(140 * np.finfo(dtype).eps)
    assert emdref.emd(p, q, chain) > 0
    with refuses(ValueError, "apart"):
        emdref.emd(p, far, chain)


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS[:5])
@pytest.mark.parametrize(
    ("rho", "error", "message"),
    [
        (0.5, ValueError, "rho = 0.5 must be finite and >= 1"),
        (0, ValueError, "rho = 0.0 must be"),
        (-1, ValueError, "rho = -1.0 must be"),
        (np.inf, ValueError, "rho = inf must be"),
        (np.nan, ValueError, "rho = nan must be"),
        ("2", TypeError, "rho must be a real number, not str"),
        (None, TypeError, "rho must be a real number, not NoneType"),
        (True, TypeError, "rho must be a real number, not bool"),
        (2j, TypeError, "rho must be a real number, not complex"),
        ([1, 2], TypeError, "rho must be a real number, not list"),
        pytest.param(10**400, ValueError, "rho", id="beyond-float"),
    ],
)
def test_rho(call, rho, error, message):
    with refuses(error, message):
        call(GOOD, GOOD, CHAIN, rho)


@each_call
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"mass": "clip"}, "mass='clip' is not one of raise, normalize, ignore"),
        ({"mass": None}, "mass=None is not one of raise, normalize, ignore"),
        ({"mass": np.array(["raise", "ignore"])}, "mass=array(...) is not one of raise, normalize, ignore"),
        ({"mass": pd.NA}, "mass=<NA> is not one of raise, normalize, ignore"),
        ({"accuracy": "fast"}, "accuracy='fast' is not one of compensated, native"),
        ({"device": "tpu"}, "device='tpu' is not one of"),
    ],
)
def test_unknown_options(call, option, message):
    with refuses(ValueError, message):
        call(GOOD, GOOD, CHAIN, **option)


@pytest.mark.parametrize("call", CALLS[1:5])
@pytest.mark.parametrize("gauge", ["centered", None, 1, ["raw"]])
def test_unknown_gauge(call, gauge):
    with refuses(ValueError, f"gauge={gauge!r} is not one of zero_sum, raw, scaled, normalized"):
        call(GOOD, GOOD, CHAIN, gauge=gauge)


@each_call
@pytest.mark.parametrize("space", [np.ones((3, 3)), 3, None, emdref.Chain])
def test_no_space(call, space):
    with refuses(TypeError, "space must be a Space, such as a Chain or a Tree, not "):
        call(GOOD, GOOD, space)


class OnDevice:
    __cuda_array_interface__ = None


@each_call
def test_input_on_a_gpu_is_not_moved_silently(call):
    with refuses(RuntimeError, "GPU"):
        call(OnDevice(), GOOD, CHAIN)


@pytest.mark.parametrize("value", ["many", "1.5", "0x2"])
def test_thread_count_in_the_environment(monkeypatch, value):
    monkeypatch.setenv("EMDREF_NUM_THREADS", value)
    with refuses(ValueError, f"EMDREF_NUM_THREADS...{value}"):
        emdref.emd(GOOD, GOOD, CHAIN)


def test_an_empty_thread_count_means_none(monkeypatch):
    monkeypatch.setenv("EMDREF_NUM_THREADS", "")
    assert emdref.emd(GOOD, GOOD, CHAIN) == 0


# --- chains -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "exactly one of n, gaps and positions"),
        ({"n": 3, "gaps": [1, 1]}, ValueError, "exactly one of n, gaps and positions"),
        ({"n": 0}, ValueError, "n = 0 must be >= 1"),
        ({"n": -2}, ValueError, "n = -2 must be >= 1"),
        ({"n": 2.0}, TypeError, "n must be an integer, not float"),
        ({"n": True}, TypeError, "n must be an integer, not bool"),
        ({"gaps": [1, -2.5]}, ValueError, "gaps[1] = -2.5: a cost must be finite and >= 0"),
        ({"gaps": [np.nan]}, ValueError, "gaps[0] = nan: "),
        ({"gaps": [1, 1, np.inf]}, ValueError, "gaps[2] = inf: "),
        ({"gaps": [[1, 2]]}, ValueError, "gaps must be one-dimensional, not of shape (1, 2)"),
        ({"gaps": 1.0}, ValueError, "gaps must be one-dimensional, not of shape ()"),
        ({"gaps": ["1"]}, TypeError, "gaps must hold real numbers...<U1"),
        ({"gaps": [1j]}, TypeError, "gaps must hold real numbers...complex128"),
        ({"gaps": [2**60]}, ValueError, "gaps holds an integer beyond 2**53"),
        ({"positions": []}, ValueError, "positions is empty"),
        ({"positions": [0, 2, 1]}, ValueError, "positions[2] = 1.0 comes after 2.0: sort"),
        ({"positions": [0, np.nan]}, ValueError, "positions[1] = nan is not finite"),
        ({"positions": [-1e308, 1e308]}, ValueError, "[0] = inf"),
    ],
)
def test_chains(arguments, error, message):
    with refuses(error, message):
        emdref.Chain(**arguments)


# --- trees ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([],), ValueError, "parent is empty"),
        (([[-1, 0]],), ValueError, "parent must be one-dimensional, not of shape (1, 2)"),
        (([-1.0, 0],), TypeError, "parent must hold integers, not float64"),
        (([None, 0],), TypeError, "parent must hold integers, not object"),
        (([-1, 5],), ValueError, "parent[1] = 5 is out of range: nodes are 0 to 1"),
        (([-1, -2],), ValueError, "parent[1] = -2 is out of range"),
        (([1, 2, 0],), ValueError, "parent has no root"),
        (([-1, 0, -1],), ValueError, "parent has 2 roots (nodes 0 and 2)"),
        (([-1, 0, 2],), ValueError, "parent has 2 roots (nodes 0 and 2)"),
        (([-1, 3, 1, 2],), ValueError, "parent has a cycle through node "),
        (([-1, 2, 1, 1, 3],), ValueError, "parent has a cycle through node "),
        (([-1, 0], [0, -1]), ValueError, "cost[1] = -1.0: a cost must be finite and >= 0"),
        (([-1, 0], [0, np.nan]), ValueError, "cost[1] = nan: "),
        (([-1, 0], [0, np.inf]), ValueError, "cost[1] = inf: "),
        (([-1, 0], [1]), ValueError, "cost has 1 entries for 2 nodes"),
        (([-1, 0], [0, "a"]), TypeError, "cost must hold real numbers"),
        (([-1, 0], None, []), ValueError, "bins is empty"),
        (([-1, 0], None, [2]), ValueError, "bins[0] = 2 is out of range: nodes are 0 to 1"),
        (([-1, 0], None, [1, -1]), ValueError, "bins[1] = -1 is out of range"),
        (([-1, 0, 0], None, [1, 2, 1]), ValueError, "bins[0] and bins[2] are both node 1"),
        (([-1, 0], None, [1.0]), TypeError, "bins must hold integers, not float64"),
        (([-1, 0], None, None, ["a"]), ValueError, "labels has 1 entries for 2 nodes"),
        (([-1, 0], None, None, 5), TypeError, "labels=5 must be a sequence"),
        (([-1, 0], None, None, ["a", ["b"]]), TypeError, "labels[1] = ['b'] is not hashable: give text, a number or"),
        (([-1, 0], None, None, np.ma.array([1, 2], mask=[0, 1])), TypeError, "labels[1] = masked is not hashable"),
    ],
)
def test_trees(arguments, error, message):
    with refuses(error, message):
        emdref.Tree(*arguments)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([], "edges is empty"),
        ([("a",)], "edges[0] = ('a',) is not a (child, parent, cost) triple"),
        (["ab"], "edges[0] = 'ab' is not a (child, parent, cost) triple"),
        ([("a", "b", 1), 7], "edges[1] = 7 is not a (child, parent, cost) triple"),
        ([("a", "b", 1), ("a", "c", 1)], "edges[1]: node 'a' has a second parent 'c'"),
        ([("a", "b", 1), ("c", "d", 1)], "edges have 2 roots (nodes 'b' and 'd')"),
        ([("a", "b", 1), ("c", "c", 1)], "edges have 2 roots (nodes 'b' and 'c')...its own parent"),
        ([("a", "b", 1), ("b", "a", 1)], "edges have no root: one node must have no parent, and from node 'a' "),
        ([("r", 5, 1), (8, 9, 1), (9, 8, 1)], "edges have a cycle through node 8: it never reaches the root 5"),
        ([("a", "b", -1)], "cost['a'] = -1.0: a cost must be finite and >= 0"),
        ([("a", "b", 1), (7, "b", np.nan)], "cost[7] = nan: a cost must be finite and >= 0"),
        ([("a", "b", 2**60)], "cost['a'] = 1152921504606846976 is an integer of 2**53 or more"),
        ([{0: "a", 1: "b"}], "edges[0] = {0: 'a', 1: 'b'} is not a (child, parent, cost) triple"),
    ],
)
def test_edges(edges, message):
    with refuses(ValueError, message):
        emdref.Tree.from_edges(edges)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (None, "edges=None must be a sequence"),
        ([("a", "r"), (["b"], "r")], "edges[1][0] = ['b'] is not hashable: give text, a number or a tuple of them"),
        ([("a", {"r"})], "edges[0][1] = {'r'} is not hashable"),
        ([(("a", []), "r")], "edges[0][0] = ('a', []) is not hashable"),
    ],
)
def test_edges_that_are_none(edges, message):
    with refuses(TypeError, message):
        emdref.Tree.from_edges(edges)


@pytest.mark.parametrize("cost", ["1", None, True, np.True_, 1j, [1]])
def test_costs_of_edges_that_are_no_numbers(cost):
    with refuses(TypeError, "cost['a'] = ...: a cost must be a real number"):
        emdref.Tree.from_edges([("b", "r", 1), ("a", "r", cost)])
    with refuses(TypeError, "cost['a'] = ...: a cost must be a real number"):
        emdref.Tree.from_networkx(networkx.Graph([("r", "a", {"cost": cost})]), "r")


def test_a_root_may_be_its_own_parent():
    assert emdref.Tree.from_edges([("r", "r", 1), ("a", "r", 2)]).cost.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([-1, 0, -1],), "parent has 2 roots (nodes 0 ('x') and 2 ('z'))"),
        (([-1, 2, 1],), "parent has a cycle through node 2 ('z'): it never reaches the root 0 ('x')"),
        (([-1, 0, 0], [0, 1, -1]), "cost[2 ('z')] = -1.0: "),
        (([-1, 0, 0], None, [1, 1]), "bins[0] and bins[1] are both node 1 ('y')"),
    ],
)
def test_trees_name_the_labels(arguments, message):
    with refuses(ValueError, message):
        emdref.Tree(*arguments, labels=["x", "y", "z"])


@pytest.mark.parametrize(
    ("graph", "root", "message"),
    [
        (networkx.path_graph(3), 7, "root=7 is not a node of the graph"),
        (networkx.cycle_graph(3), 0, "graph has 3 nodes and 3 edges"),
        (networkx.Graph([(0, 1), (2, 3), (3, 4), (4, 2)]), 0, "node 2 cannot be reached from root=0"),
        (networkx.MultiGraph([(0, 1)]), 0, "graph is a multigraph"),
        (networkx.Graph([(0, 1, {"cost": 2}), (1, 2)]), 0, "edge (1, 2) has no attribute 'cost'"),
        (networkx.Graph([(0, 1, {"cost": -2})]), 0, "cost[1] = -2.0: "),
        (networkx.Graph([("a", "b", {"cost": -2})]), "a", "cost['b'] = -2.0: "),
    ],
)
def test_networkx_graphs(graph, root, message):
    with refuses(ValueError, message):
        emdref.Tree.from_networkx(graph, root)


@pytest.mark.parametrize(
    ("graph", "root", "message"),
    [
        ([("a", "r")], "r", "graph must be a networkx graph, not list"),
        (networkx.path_graph(2), [0], "root = [0] is not hashable"),
    ],
)
def test_what_is_no_networkx_graph(graph, root, message):
    with refuses(TypeError, message):
        emdref.Tree.from_networkx(graph, root)
    with refuses(TypeError, "weight = ['cost'] is not hashable"):
        emdref.Tree.from_networkx(graph, 0, weight=["cost"])


def test_options_of_check_and_casebook():
    with refuses(ValueError, "family=['easy'] is not one of integers, "):
        emdref.casebook.pair(["easy"], 3)
    with refuses(TypeError, "cases=7 must be a sequence"):
        emdref.check(lambda p, q: 0.0, CHAIN, cases=7)
    with refuses(ValueError, "framework=array(...) is not one of None, numpy, "):
        emdref.check(emdref.emd, CHAIN, framework=np.array(["numpy", "jax"]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Newick: the text ends at character 0 without a ';'"),
        ("(a,b)", "Newick: the text ends at character 5 without a ';'"),
        ("(a,b;", "Newick: unexpected ; at character 4: a parenthesis is open"),
        ("(a,b));", "Newick: unexpected ) at character 5"),
        ("a,b;", "Newick: unexpected , at character 1"),
        ("(a,b)(c);", "Newick: unexpected ( at character 5"),
        ("(a b,c);", "Newick: unexpected name 'b' at character 3"),
        ("(a:,b:1);", "Newick: unexpected , at character 3"),
        ("(a::1,b:1);", "Newick: unexpected : at character 3"),
        ("(a:1:2,b:1);", "Newick: unexpected : at character 4"),
        ("(a:1,b:2)r:;", "Newick: unexpected ; at character 11: check the commas, colons"),
        ('("a b":1,c:2);', "Newick: unexpected name 'b\"' at character 4: ...stands in single quotes"),
        ("C:\\trees\\one.tre", "Newick: branch length ...(a str is text: for a file, give its pathlib.Path)"),
        ("http://example.org/one.tre", "Newick: branch length ...(a str is text: for a file, give its pathlib.Path)"),
        ("tree (1).tre", "Newick: unexpected ( at character 5: ...(a str is text: for a file, give its pathlib.Path)"),
        ("(a:1 x,b:1);", "Newick: unexpected name 'x' at character 5"),
        ("(a:one,b:1);", "Newick: branch length 'one' at character 3 is not a number"),
        ("(a:1_0,b:1);", "Newick: branch length '1_0' at character 3 is not a number"),
        ("(a:-1,b:1);", "Newick: branch length '-1' at character 3 is not finite and >= 0"),
        ("((a:1,b:2):nan,b:1);", "Newick: branch length 'nan' at character 11 is not finite and >= 0"),
        ("(a:1,b:1e999);", "Newick: branch length '1e999' at character 7 is not finite and >= 0"),
        ("(a,b);(c,d);", "Newick: something follows the final ';' at character 6"),
        ("(a,'b);", "Newick: cannot read ...'b);...at character 3"),
        ("(a,b[);", "Newick: cannot read '[);' at character 4: no ] closes it"),
        ("(a,b]);", "Newick: cannot read ']);' at character 4: no [ opens it"),
        ("(Foo's:1,b:1);", "Newick: cannot read ...at character 4: ...has the apostrophe twice: 'Foo''s bat'"),
        ("('Foo's':1,b:1);", "Newick: unexpected name 's' at character 6: ...apostrophe twice"),
        ("(Foo's:1,d's:1);", "Newick: unexpected name 's:1,d' at character 4: ...apostrophe twice"),
        (
            "nowhere.tre",
            "Newick: the text ends at character 11 without a ';' (a str is text: for a file, give its pathlib",
        ),
        ("\n #nexus\n", "NEXUS: there is no tree in a TREES block (blocks: none)"),
        ("\ufeff#NEXUS\nBegin trees;", "NEXUS: there is no tree in a TREES block (blocks: trees)"),
        ("<?xml version='1.0'?><phyloxml/>", "the text is XML"),
        ('{"nodes": []}', "the text is JSON"),
        ("\xef\xbb\xbf(a,b);", "the text is UTF-8 read in another encoding"),
        ("\xff\xfe(\0a\0,\0b\0)\0;\0", "the text is UTF-16 read in another encoding"),
    ],
)
def test_newick(text, message):
    with refuses(ValueError, message):
        emdref.Tree.from_newick(text)


@pytest.mark.parametrize("source", [b"(a,b);", None, 3])
def test_newick_source(source):
    with refuses(TypeError, "source must be Newick text (str) or a path, not "):
        emdref.Tree.from_newick(source)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("(a,b);".encode("utf-16"), ValueError, "tree.nwk is not UTF-8 text (byte 0 is 0xff): save it as UTF-8"),
        (b"(\xe4,b);", ValueError, "tree.nwk is not UTF-8 text (byte 1 is 0xe4)"),
        (gzip.compress(b"(a,b);", mtime=0)[:-9], ValueError, "tree.nwk cannot be unpacked by gzip"),
        (b"", ValueError, "Newick: the text ends at character 0 without a ';'"),
        (b"tree", ValueError, "Newick: the text ends at character 4 without a ';'"),
        (b"PK\x03\x04...", ValueError, "the text is a zip archive: unpack it first"),
        (b"BZh91AY", ValueError, "the text is packed by bzip2: unpack it first"),
        (b"\xfd7zXZ", ValueError, "tree.nwk is not UTF-8 text (byte 0 is 0xfd): save it as UTF-8, or unpack it first"),
        ("(a,b);".encode("utf-16-le"), ValueError, "the text holds NUL characters: read it as utf-16, or unpack it"),
        (None, FileNotFoundError, "tree.nwk"),
    ],
)
def test_newick_files(content, error, message, tmp_path):
    path = tmp_path / "tree.nwk"
    if content is not None:
        path.write_bytes(content)
    with refuses(error, message) as refused:
        emdref.Tree.from_newick(path)
    assert "a str is text" not in str(refused.value)
    with refuses(IsADirectoryError, "Is a directory"):
        emdref.Tree.from_newick(tmp_path)


def test_wordnet_option():
    with refuses(ValueError, "cost=array(...) is not one of hops, unit"):
        emdref.wordnet_tree(cost=np.array(["hops", "unit"]))
    with refuses(ValueError, "cost='depth' is not one of hops, unit"):
        emdref.wordnet_tree("depth")


# --- exact ------------------------------------------------------------------------------------------------------------


def exact_hvp(p, q, space, *rho, **options):
    return exact.hvp(p, q, space, [1] * (space.n_bins if isinstance(space, emdref.Chain) else 3), *rho, **options)


EXACT = [exact.emd, exact.flow, exact.grad, exact.hess, exact_hvp]


@pytest.mark.parametrize("call", EXACT)
@pytest.mark.parametrize(
    ("p", "error", "message"),
    [
        ([1, 2], ValueError, "p has shape (2,), expected one entry for each of the space's 3 bins"),
        ([[1, 2, 3]], ValueError, "p has shape (1, 3), expected"),
        (1.0, ValueError, "p has shape (), expected"),
        ([1, -0.5, 0], ValueError, "p[1] = -0.5: "),
        ([1, 0, Fraction(-1, 2)], ValueError, "p[2] = -1/2: "),
        ([np.nan, 0, 0], ValueError, "p[0] = nan: "),
        (np.array([0, np.inf, 0]), ValueError, "p[1] = inf: "),
        (["1", 0, 0], TypeError, "p[0] = '1'"),
        ([0, 1j, 0], TypeError, "p[1] = 1j"),
    ],
)
def test_exact_histograms(call, p, error, message):
    with refuses(error, message):
        call(p, GOOD, CHAIN)


@pytest.mark.parametrize("call", [exact.emd, exact.grad, exact.hess, exact_hvp])
@pytest.mark.parametrize("space", [CHAIN, emdref.Chain(1)])
@pytest.mark.parametrize(
    ("rho", "error", "message"),
    [
        (1.5, TypeError, "rho = 1.5: exact values exist for integer rho only"),
        (0, ValueError, "rho = 0 must be from 1 to 1000"),
        (10**300, ValueError, "must be from 1 to 1000"),
        (np.nan, (TypeError, ValueError), "rho = nan"),
        (np.inf, (TypeError, ValueError), "rho = inf"),
        ("2", TypeError, "rho"),
    ],
)
def test_exact_rho(call, rho, error, message, space):
    x = [1.0] * space.n_bins
    with refuses(error, message):
        call(x, x, space, rho)


@pytest.mark.parametrize("call", EXACT)
def test_exact_without_a_space(call):
    with refuses(TypeError, "space must be a Space, such as a Chain or a Tree, not int"):
        call(GOOD, GOOD, 3)


@pytest.mark.parametrize("call", EXACT)
def test_exact_normalisation_of_nothing(call):
    with refuses(ValueError, "q is all zeros"):
        call(GOOD, [0, 0, 0], CHAIN, mass="normalize")


@pytest.mark.parametrize("call", EXACT[2:])
def test_exact_gauge(call):
    with refuses(ValueError, "gauge='centered' is not one of zero_sum, raw, scaled, normalized"):
        call(GOOD, GOOD, CHAIN, gauge="centered")


@pytest.mark.parametrize(
    ("v", "error", "message"),
    [
        ([1, 2], ValueError, "v has shape (2,)"),
        ([1, np.nan, 0], ValueError, "v[1] = nan"),
        (["1", 0, 0], TypeError, "v[0] = '1'"),
        (None, ValueError, "v has shape ()"),
    ],
)
def test_exact_direction(v, error, message):
    with refuses(error, message):
        exact.hvp(GOOD, GOOD, CHAIN, v)


@pytest.mark.parametrize(
    ("v", "error", "message"),
    [
        ([1.0, 2.0], ValueError, "v has shape (2,), its last axis must be the space's 3 bins"),
        (1.0, ValueError, "v has shape ()"),
        ([1.0, np.nan, 0], ValueError, "v[1] = nan is not finite"),
        ([[GOOD], [[0, -np.inf, 1]]], ValueError, "v[1, 0, 1] = -inf is not finite"),
        (np.ones(3, np.float32), TypeError, "p is float64 and v is float32: ...v.astype(p.dtype)"),
        (["1", "2", "3"], TypeError, "v has dtype <U1"),
        (None, TypeError, "v is None"),
        (np.ones((2, 3)), ValueError, "p (5, 3) and q (3,) and v (2, 3) cannot be broadcast together"),
    ],
)
def test_directions(v, error, message):
    p = np.tile(GOOD, (5, 1)) if np.shape(v) == (2, 3) else GOOD
    with refuses(error, message):
        emdref.emd_hvp(p, GOOD, CHAIN, v)


def test_an_overflowing_row_does_not_hide_another():
    p, q = np.array([[1e308, 1e308], [1e-310, 1e-310]]), np.array([[1e308, 1e308], [1e-310, 2e-310]])
    with refuses(ValueError, "row 1: p has total"):
        emdref.emd(p, q, emdref.Chain(2))
    q[0, 1] = 1e307
    with refuses(ValueError, "these are 2**-64 of totals that overflow"):
        emdref.emd(p, q, emdref.Chain(2))


def test_a_hessian_beyond_memory_names_the_way_out():
    n = 10**6
    with refuses(MemoryError, "1 x 1000000 x 1000000 numbers need 7451 GiB...emd_hvp"):
        emdref.emd_hess(np.ones(n), np.ones(n), emdref.Chain(n))


def test_native_normalisation_refuses_totals_beyond_the_dtype():
    p = np.array([[1, 1], [3e38, 3e38]], np.float32)
    with refuses(ValueError, "row 1: the total of p is beyond float32"):
        emdref.emd(p, p, emdref.Chain(2), mass="normalize", accuracy="native")


BARE = [call for call in CALLS if call is not hvp]
MASKED = np.ma.array([0.25, 0.75, 7.0], mask=[0, 0, 1])
MASKS = "has masked entries, for which no number stands: fill them, or leave them out"


@pytest.mark.parametrize("masked", [MASKED, [0.25, 0.75, np.ma.masked], tuple(MASKED)], ids=["array", "list", "tuple"])
@pytest.mark.parametrize("call", [*BARE, exact.emd, exact.flow, exact.grad, exact.hess, emdref.certify, emdref.plan])
def test_masked_entries(call, masked):
    with refuses(TypeError, f"p {MASKS}"):
        call(masked, GOOD, CHAIN)
    with refuses(TypeError, f"q {MASKS}"):
        call(GOOD, masked, CHAIN)
    call(np.ma.array(GOOD), GOOD, CHAIN)


COST = np.abs(np.subtract.outer(np.arange(3.0), np.arange(3.0)))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("p", lambda x: emdref.emd([x, x], GOOD, CHAIN)),
        ("p", lambda x: emdref.emd([[x.tolist(), x]], GOOD, CHAIN)),
        ("q", lambda x: emdref.emd(GOOD, x, CHAIN)),
        ("v", lambda x: emdref.emd_hvp(GOOD, GOOD, CHAIN, x)),
        ("v", lambda x: exact.hvp(GOOD, GOOD, CHAIN, x)),
        ("out", lambda x: emdref.emd_grad(GOOD, GOOD, CHAIN, out=x.copy())),
        ("X", lambda x: emdref.pairwise([x, x], CHAIN)),
        ("Y", lambda x: emdref.pairwise([GOOD], CHAIN, Y=np.ma.stack([x, x]))),
        ("p", lambda x: emdref.losses.mse(x, GOOD)),
        ("q", lambda x: emdref.losses.kl(GOOD, x)),
        ("p", lambda x: emdref.losses.emd_mse(x, GOOD, CHAIN)),
        ("x", lambda x: emdref.normalize.softmax(x)),
        ("g", lambda x: emdref.normalize.l1.vjp(GOOD, x)),
        ("gaps", lambda x: emdref.Chain(gaps=x)),
        ("gaps", lambda x: emdref.Chain(gaps=list(x))),
        ("positions", lambda x: emdref.Chain(positions=x)),
        ("parent", lambda x: emdref.Tree(np.ma.array([-1, 0, 0], mask=x.mask))),
        ("cost", lambda x: emdref.Tree([-1, 0, 0], x)),
        ("bins", lambda x: emdref.Tree([-1, 0, 0, 0], bins=np.ma.array([1, 2, 3], mask=x.mask))),
        ("cost", lambda x: emdref.Tree.from_edges([("a", "r", x[2])])),
        ("p", lambda x: emdref.sinkhorn(x, GOOD, CHAIN, 1.0)),
        ("p", lambda x: emdref.sinkhorn(x, GOOD, CHAIN, 1.0, dtype=np.float32)),
        ("p", lambda x: emdref.sinkhorn(x, GOOD, CHAIN, 1.0, kernel="dense", dtype="bfloat16")),
        ("cost", lambda x: emdref.sinkhorn(GOOD, GOOD, np.ma.array(COST, mask=[x.mask] * 3), 1.0)),
        ("init's log_u", lambda x: emdref.sinkhorn(GOOD, GOOD, CHAIN, 1.0, init=(x, GOOD))),
        ("init's log_v", lambda x: emdref.sinkhorn(GOOD, GOOD, CHAIN, 1.0, init=(GOOD, x))),
        ("q", lambda x: emdref.certify_sinkhorn(GOOD, x, CHAIN, 1.0)),
        ("init's log_v", lambda x: emdref.certify_sinkhorn(GOOD, GOOD, CHAIN, 1.0, max_iter=0, init=(GOOD, x))),
        ("cases[0][1]", lambda x: emdref.check(lambda p, q: 0.0, CHAIN, cases=[(GOOD, x)])),
        ("what it returned", lambda x: emdref.check(lambda p, q: MASKED, CHAIN)),
        ("cases[0][0]", lambda x: emdref.check_sinkhorn(lambda p, q: 0.0, CHAIN, 1.0, 5, cases=[(x, GOOD)])),
    ],
)
def test_masked_entries_anywhere(name, call):
    with refuses(TypeError, f"{name} has masked entries"):
        call(MASKED)


@pytest.mark.parametrize(
    ("p", "q", "way_out"),
    [
        (np.float32(GOOD), GOOD, 'np.asarray(q, "float32")'),
        (np.float32(GOOD), tuple(GOOD), 'np.asarray(q, "float32")'),
        (np.float32(GOOD), pd.Series(GOOD), "q.astype(p.dtype)"),
        (np.float32([GOOD]), pd.DataFrame([GOOD]), 'np.asarray(q, "float32")'),
        (GOOD, np.float32(GOOD), "q.astype(p.dtype) with p = np.asarray(p)"),
        (pd.Series(GOOD, dtype="f4"), GOOD, 'np.asarray(q, "float32")'),
        (scipy.sparse.csr_array([np.float32(GOOD)]), [GOOD], 'np.asarray(q, "float32")'),
        ([GOOD], scipy.sparse.csr_array([np.float32(GOOD)]), "q.astype(p.dtype) with p = np.asarray(p)"),
    ],
)
@pytest.mark.parametrize("call", [*BARE, lambda p, q, space: emdref.losses.mse(p, q)])
def test_an_advice_on_dtypes_works_on_what_was_given(call, p, q, way_out):
    with refuses(TypeError, f"p is ... and q is ...: give both the same dtype, e.g. {way_out}"):
        call(p, q, CHAIN)
    advice, _, first = way_out.partition(" with p = ")
    p = eval(first) if first else p
    call(p, eval(advice), CHAIN)


@each_call
def test_numpys_error_state_does_not_matter(call):
    p = np.full(3, 5e-324)
    with np.errstate(all="raise"):
        call(p, p, CHAIN)


@each_call
def test_options_that_are_arrays(call):
    with refuses(ValueError, "device=array"):
        call(GOOD, GOOD, CHAIN, device=np.array(["cpu", "cuda"]))
    if call is not emdref.flow:
        with refuses(TypeError, "rho must be a real number, not list"):
            call(GOOD, GOOD, CHAIN, [[1], [2, 3]])


@pytest.mark.parametrize("loss", [emdref.losses.mse, emdref.losses.kl, emdref.losses.cross_entropy])
def test_ragged_lists(loss):
    with refuses(ValueError, "p is not a rectangular array"):
        loss([[1.0], [1.0, 2.0]], [1.0])
    with refuses(ValueError, "p is not a sequence of numbers"):
        exact.emd([[1.0], [1.0, 2.0], 1], GOOD, CHAIN)
