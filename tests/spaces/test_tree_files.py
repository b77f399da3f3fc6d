"""Trees from files: every format against an independent reader, and what a user reads when a file is no tree."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import tracemalloc
import zipfile
from itertools import combinations

import networkx as nx
import newick
import numpy as np
import pytest

import emdref
from emdref.spaces.files import contents

PETS = [("pet", "cat", 1.0), ("pet", "dog", 2.5), ("thing", "pet", 0.25), ("thing", "fish bowl", 4.0)]
UNITS = [(parent, child, 1.0) for parent, child, _ in PETS]


def graph_of(edges):
    graph = nx.DiGraph()
    graph.add_weighted_edges_from(edges, weight="cost")
    return graph


def some_edges(seed, size=40):
    """Edges of a random tree whose nodes have shuffled names and costs of a few binary digits, one of them 0."""
    rng = np.random.default_rng(seed)
    names = [f"n{k}" for k in rng.permutation(size)]
    costs = [*(rng.integers(1, 64, size - 2) / 8).tolist(), 0.0]
    edges = [(names[int(rng.integers(v))], names[v], cost) for v, cost in zip(range(1, size), costs, strict=True)]
    return [edges[k] for k in rng.permutation(len(edges))]


def between_leaves(graph):
    """Distances between leaves by name, as networkx finds them."""
    leaves = [v for v in graph if graph.out_degree(v) == 0]
    paths = dict(nx.all_pairs_dijkstra_path_length(graph.to_undirected(), weight="cost"))
    return {frozenset(pair): paths[pair[0]][pair[1]] for pair in combinations(leaves, 2)}


def between_bins(tree):
    matrix, names = tree.distance_matrix(), tree.bin_labels
    return {frozenset((names[i], names[j])): matrix[i, j] for i, j in combinations(range(tree.n_bins), 2)}


def as_newick(graph, node=None):
    node = next(v for v in graph if graph.in_degree(v) == 0) if node is None else node
    above = next(iter(graph.pred[node].values()), {}).get("cost")
    below = [as_newick(graph, child) for child in graph[node]]
    return newick.Node(name=f"'{node}'", length=None if above is None else str(above), descendants=below)


def as_npz(graph):
    at = {name: v for v, name in enumerate(graph)}
    above = [next(iter(graph.pred[name].items()), None) for name in graph]
    file = io.BytesIO()
    np.savez(
        file,
        parent=[-1 if edge is None else at[edge[0]] for edge in above],
        cost=[0.0 if edge is None else edge[1]["cost"] for edge in above],
        node=list(graph),
        X=np.zeros(3),
    )
    return file.getvalue()


def as_indices(graph):
    at = {name: v for v, name in enumerate(graph)}
    above = {child: (at[parent], data["cost"]) for parent, child, data in graph.edges(data=True)}
    return "".join(f"{name}\t{above.get(name, (-1, 0))[0]}\t{above.get(name, (-1, 0))[1]}\n" for name in graph)


def as_json(graph, edges):
    return json.dumps(nx.node_link_data(graph, edges=edges))


FORMATS = {
    "newick": lambda graph: newick.dumps([as_newick(graph)]).encode(),
    "tabs": lambda graph: "".join(f"{p}\t{c}\t{d['cost']}\n" for p, c, d in graph.edges(data=True)).encode(),
    "commas": lambda graph: "".join(f'"{p}", {c} ,{d["cost"]}\r\n' for p, c, d in graph.edges(data=True)).encode(),
    "header": lambda graph: (
        "cost,Child,PARENT\n" + "".join(f"{d['cost']},{c},{p}\n" for p, c, d in graph.edges(data=True))
    ).encode("utf-8-sig"),
    "indices": lambda graph: as_indices(graph).encode(),
    "links": lambda graph: as_json(graph, "links").encode(),
    "edges": lambda graph: as_json(graph, "edges").encode(),
    "npz": as_npz,
}
TABLES = ("tabs", "commas", "header", "indices")


def written(tmp_path, content, name="a.dat"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(tmp_path, content):
    return emdref.Tree.from_file(written(tmp_path, content))


def refused(tmp_path, content):
    """The message, which is short and names the file."""
    with pytest.raises(ValueError, match=r"a\.dat:? ") as caught:
        read(tmp_path, content)
    assert type(caught.value) is ValueError
    assert len(str(caught.value)) <= 300 and "\n" not in str(caught.value)
    return str(caught.value)


# --- every format -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("edges", [PETS, some_edges(1), some_edges(2)], ids=["pets", "random 1", "random 2"])
def test_what_is_written_is_read(form, pack, edges, tmp_path):
    graph = graph_of(edges)
    tree = read(tmp_path, pack(FORMATS[form](graph)))
    assert between_bins(tree) == between_leaves(graph)
    assert set(tree.labels) == set(graph) and tree.n_nodes == len(graph)


@pytest.mark.parametrize("suffix", ["nwk", "gz", "npz", "json", "csv", "txt", "tree", ""])
@pytest.mark.parametrize("form", FORMATS)
def test_the_suffix_decides_nothing(form, suffix, tmp_path):
    content = FORMATS[form](graph_of(PETS))
    tree = emdref.Tree.from_file(str(written(tmp_path, content, f"file.{suffix}")))
    assert between_bins(tree) == between_leaves(graph_of(PETS))


def test_newick_as_another_parser_reads_it(tmp_path):
    text = "[a comment] ((a:1,'b c':2)ab:0.5,\n c_d:3,(e:1)f:1e-1)root:7;\n"
    tree, other = read(tmp_path, text), newick.loads(text)[0]
    assert list(tree.bin_labels) == [leaf.unquoted_name for leaf in other.get_leaves()]
    assert tree.distance_matrix()[0].tolist() == [0, 3, 4.5, 2.6]
    assert read(tmp_path, "a;").n_bins == 1


def test_unit_costs_where_none_are_given_and_comments_are_skipped(tmp_path):
    lines = "# parent child\n\npet cat\r\n  # more\npet\tdog\n\nthing pet\nthing fish"
    graph = nx.parse_edgelist(lines.split("\n"), create_using=nx.DiGraph)
    nx.set_edge_attributes(graph, 1.0, "cost")
    tree = read(tmp_path, lines.replace("\t", "   "))
    assert between_bins(tree) == between_leaves(graph)
    assert list(tree.bin_labels) == ["cat", "dog", "fish"]


def test_bins_are_the_leaves_in_the_order_of_the_lines(tmp_path):
    tree = read(tmp_path, "a z\nroot a\nroot y\na x\n")
    assert list(tree.bin_labels) == ["z", "y", "x"]
    assert list(read(tmp_path, "parent,child\nb,a\nc,b").bin_labels) == ["a"]
    assert list(read(tmp_path, "child,parent\nb,a\nc,b").bin_labels) == ["c"]


def test_json_numbers_nodes_as_it_lists_them(tmp_path):
    graph = nx.DiGraph()
    graph.add_nodes_from([3, "x", (1, 2), 0])
    graph.add_edges_from([(0, (1, 2)), (0, "x"), (0, 3)])
    tree = read(tmp_path, as_json(graph, "edges"))
    assert list(tree.labels) == list(nx.node_link_graph(json.loads(as_json(graph, "edges")), edges="edges").nodes)
    assert list(tree.bin_labels) == [3, "x", (1, 2)] and tree.diameter == 2


@pytest.mark.parametrize(("attributes", "diameter"), [("weight", 7), ("cost", 7), ("length", 2)])
def test_json_costs(attributes, diameter, tmp_path):
    graph = nx.DiGraph()
    graph.add_weighted_edges_from([("r", "a", 3), ("r", "b", 4)], weight=attributes)
    assert read(tmp_path, as_json(graph, "links")).diameter == diameter


def test_several_roots_of_indices_get_one_above(tmp_path):
    tree = read(tmp_path, "animal -1\nplant -1\ncat 0\n\n# plants\noak 1\nfungus -1\n")
    assert list(tree.labels) == ["animal", "plant", "cat", "oak", "fungus", "root"]
    assert between_bins(tree) == {
        frozenset(("cat", "oak")): 4,
        frozenset(("cat", "fungus")): 3,
        frozenset(("oak", "fungus")): 3,
    }
    assert read(tmp_path, "animal,-1,0.5\nplant,-1,8\ncat,0,1\n").diameter == 9.5


@pytest.mark.parametrize("text", ["0 -1\n1 0\n2 0\n", "2 -1\n0 2\n1 2\n", "a -1\n0 0\n"])
def test_numbers_with_a_minus_one_are_read_only_if_both_ways_agree(text, tmp_path):
    if text.startswith("2"):
        message = refused(tmp_path, text)
        assert "line 1: -1 in a table of numbers" in message and "`child,parent`" in message
        assert read(tmp_path, "child parent\n" + text[5:]).n_bins == 2
    else:
        assert read(tmp_path, text).n_bins == text.count("\n") - 1


def test_numbers_without_a_minus_one_are_names(tmp_path):
    assert list(read(tmp_path, "0 1\n0 2\n2 7\n").bin_labels) == ["1", "7"]


def test_npz_means_what_a_tree_means(tmp_path):
    file = io.BytesIO()
    np.savez_compressed(file, parent=np.array([1, 1, 0], np.int32), bins=[2, 0], labels=[7, 8, 9])
    tree = read(tmp_path, file.getvalue())
    assert (tree.bins.tolist(), list(tree.bin_labels), tree.diameter) == ([2, 0], [9, 7], 1)


def test_the_cost_of_the_root_is_no_cost(tmp_path):
    file = io.BytesIO()
    np.savez(file, parent=[-1, 0, 0], cost=[-7.0, 1, 2])
    assert emdref.Tree.from_file(written(tmp_path, file.getvalue()), negative="zero").diameter == 3
    np.savez(file := io.BytesIO(), parent=[0, 0, 0], cost=[-7, 1, 2])
    assert read(tmp_path, file.getvalue()).diameter == 3


def test_newick_without_some_lengths_warns_as_ever(tmp_path):
    with pytest.warns(UserWarning, match="1 of 2 branches have no length"):
        assert read(tmp_path, "(a:1,b);").diameter == 1


# --- nested JSON, bins by label, negative costs, sizes ----------------------------------------------------------------


def nested(graph, name, length):
    node = {"name": name, "value": 7, "children": [nested(graph, child, length) for child in graph[name]]}
    above = next(iter(graph.pred[name].values()), None)
    return node if above is None else node | {length: above["cost"]}


@pytest.mark.parametrize("length", ["cost", "weight", "length", "branch_length", "value_of_d3"])
@pytest.mark.parametrize("seed", [3, 4])
def test_nested_json(length, seed, tmp_path):
    graph = graph_of(some_edges(seed))
    root = next(v for v in graph if graph.in_degree(v) == 0)
    text = json.dumps(nested(graph, root, length), indent=1)
    if length == "value_of_d3":
        nx.set_edge_attributes(graph, 1.0, "cost")
    tree = read(tmp_path, text)
    assert between_bins(tree) == between_leaves(graph)
    assert list(tree.labels) == list(nx.dfs_preorder_nodes(graph, root))


def test_nested_json_of_networkx(tmp_path):
    graph = nx.DiGraph([(0, 5), (0, 7), (5, 2)])
    tree = read(tmp_path, json.dumps(nx.tree_data(graph, 0)))
    assert (list(tree.labels), tree.parent.tolist()) == ([0, 5, 2, 7], [-1, 0, 1, 0])
    assert list(read(tmp_path, '{"name": "r", "children": [{"children": null}, {"name": "a"}]}').labels) == [
        "r",
        "",
        "a",
    ]
    assert read(tmp_path, '{"id": "r", "children": []}').n_bins == 1


@pytest.mark.parametrize("form", FORMATS)
def test_bins_by_label(form, tmp_path):
    content = FORMATS[form](graph_of(PETS))
    tree = emdref.Tree.from_file(written(tmp_path, content), bins=["thing", "dog", "pet"])
    assert list(tree.bin_labels) == ["thing", "dog", "pet"]
    assert tree.distance_matrix().tolist() == [[0, 2.75, 0.25], [2.75, 0, 2.5], [0.25, 2.5, 0]]
    with pytest.raises(ValueError, match=r"bins: 1 unknown \('cow'\)"):
        emdref.Tree.from_file(written(tmp_path, content), bins=["cow", "dog"])


@pytest.mark.parametrize("form", FORMATS)
def test_negative_costs(form, tmp_path):
    edges = [(a, b, -cost if cost > 1 else cost) for a, b, cost in PETS]
    path = written(tmp_path, FORMATS[form](graph_of(edges)))
    with pytest.raises(ValueError, match=r"-2\.5|-4\.0"):
        emdref.Tree.from_file(path)
    with pytest.warns(
        UserWarning, match=r"^2 costs are negative and count as 0, the most negative is -4.0 of "
    ) as caught:
        tree = emdref.Tree.from_file(path, negative="zero")
    assert caught[0].filename == __file__
    assert between_bins(tree) == between_leaves(graph_of([(a, b, max(cost, 0.0)) for a, b, cost in edges]))


def test_index_is_for_texts_that_hold_several_trees(tmp_path):
    text = "(a:1,b:2);\n(c:3,d:4);"
    assert list(emdref.Tree.from_file(written(tmp_path, text), index=1).bin_labels) == ["c", "d"]
    nexus = f"#NEXUS\nbegin trees; translate c x, d y; tree one = {text.split()[0]} tree two = {text.split()[1]} end;"
    assert list(emdref.Tree.from_file(written(tmp_path, gzip.compress(nexus.encode())), index="two").bin_labels) == [
        "x",
        "y",
    ]
    for form in ("tabs", "links", "npz"):
        with pytest.raises(ValueError, match="index= chooses among trees of Newick and NEXUS, and this is"):
            emdref.Tree.from_file(written(tmp_path, FORMATS[form](graph_of(PETS))), index=0)


def test_text_of_a_tree_is_a_file_of_it(tmp_path):
    tree = emdref.Tree.from_edges([(b, a, cost) for a, b, cost in PETS])
    assert between_bins(read(tmp_path, tree.to_newick())) == between_bins(tree)


def test_files_that_unpack_to_more_than_memory_should_hold_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(contents, "MOST", 5000)
    assert read(tmp_path, "(" * 100 + ")" * 100 + ";").n_nodes == 101
    bomb = gzip.compress(b"(" * 10**7)
    tracemalloc.start()
    assert "a.dat holds more than 5000 bytes: cut the tree down" in refused(tmp_path, bomb)
    assert tracemalloc.get_traced_memory()[1] < 10**6  # it was never unpacked
    tracemalloc.stop()
    assert "a.dat holds more than 5000 bytes: cut the tree down" in refused(tmp_path, b" " * 5001)
    file = io.BytesIO()
    np.savez_compressed(file, parent=np.zeros(10**5, np.int64))
    assert "this .npz cannot be read (its arrays unpack to 800128 bytes, more than 5000)" in refused(
        tmp_path, file.getvalue()
    )


def test_an_archive_that_claims_more_than_it_holds(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        header = np.lib.format.magic(1, 0) + b"\x76\0" + b"{'descr': '<i8', 'fortran_order': False, 'shape': (1%s,)}"
        archive.writestr("parent.npy", (header % (b"0" * 15)).ljust(127) + b"\n" + bytes(8))
    assert "this .npz cannot be read (" in refused(tmp_path, file.getvalue())
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr("data/tree.nwk", "(a,b);")
    assert "this is a zip archive (it holds data/tree.nwk): unpack it" in refused(tmp_path, file.getvalue())


# --- what is refused --------------------------------------------------------------------------------------------------

HEADER = "name the columns"
LINES = {
    "": "the file is empty: give Newick, NEXUS, lines",
    " \n\n": "the file is empty: give Newick, NEXUS, lines",
    "# only this\n": "every line is blank or a comment",
    "parent child\n": "no edge follows",
    "word\n": "line 1: 'word' has 1 column: give two or three",
    "\na b c d\n": "line 2: 'a b c d' has 4 columns: give two or three",
    "a b\n\na c 1\n": "line 3: 'a c 1' has 3 of the 2 columns of line 1",
    "a b 1\na c\n": "line 2: 'a c' has 2 of the 3 columns of line 1",
    "a,b\nc d\n": "line 2: 'c d' has 1 of the 2 columns of line 1",
    "a,b,1\na,c,\n": "line 2: column 3 is empty",
    "child,parent\nroot,\na,root\n": "line 2: column 2 is empty: fill it in (a root needs no line)",
    "a b one\n": "line 1: cost 'one' is not a finite number >= 0",
    "a b 1_0\n": "line 1: cost '1_0' is not a finite number >= 0",
    "a b 1\na c -1e-3\n": "line 2: cost '-1e-3' is not a finite number >= 0",
    "a b 1\na c nan\n": "line 2: cost 'nan' is not a finite number >= 0",
    "a b 1\na c 1e999\n": "line 2: cost '1e999' is not a finite number >= 0",
    "a\tb\t1,5\n": "line 1: cost '1,5' is not",
    "from,to,length\na,b,1\n": "line 1: cost 'length' is not",
    "child,parent,length\na,b,1\n": "line 1: the columns are 'child', 'parent', 'length': name two or three of them",
    "child,parent,child\na,b,1\n": "line 1: the columns are 'child', 'parent', 'child'",
    "a b # note\n": "line 1: 'a b # note' has 4 columns",
    "a b\na c\n# no\nd b\n": "line 4: node 'b' has the parent 'd' here and 'a' at line 1",
    "a b\na b\n": "line 2: node 'b' has the parent 'a' here and 'a' at line 1",
    "cat pet\ndog pet\n": "unless a first line says `child,parent,cost`",
    "r a\nb c\nc d\nd b\n": "line 2: node 'c' is its own ancestor (its parent is 'b', and so on",
    "a b\nb a\n": "is its own ancestor",
    "r a\na r\n": "is its own ancestor",
    "a a\n": "line 1: node 'a' is its own ancestor",
    "r a\ns b\nt c\nu d\n": "4 nodes have no parent, first 'r' (line 1), 's' (line 2): a tree has one root",
    "from to\nr a\n": "unless a first line says",
    'a,"b\na,c\n': "line 1: 'a,\"b' is not a line of CSV",
    "a -1\nb 0\nc 3\n": "line 3: '3' is no index from -1 to 2",
    "a -1\nb -2\n": "line 2: '-2' is no index from -1 to 1",
    "a -1\nb a\n": "line 2: 'a' is no index from -1 to 1",
    "a -1\nb 1_0\n": "line 2: '1_0' is no index",
    "a -1\nb " + "9" * 5000: "line 2: '99999",
    "a -1\nb 2\nc 1\n": "line 2: node 'b' is its own ancestor (its parent is 'c'",
    "a -1\nb 1\n": "line 2: node 'b' is its own ancestor",
    "a -1 1\nb 0 x\n": "line 2: cost 'x' is not",
    "x" * 300_000: "line 1: '" + "x" * 36 + "... has 1 column",
    "a b\na " + "x" * 300_000 + "\nb " + "x" * 300_000: "line 3: node '" + "x" * 20 + "... has the parent 'b' here",
    'a,"' + "x" * 300_000 + '"': "line 1: 'a,\"xxxx",
    "#NEXUS\nbegin trees;\n": "NEXUS: there is no tree in a TREES block (blocks: trees)",
    "((a,b),c": "Newick: the text ends at character 8 without a ';'",
    "(a,\nb))\n;": "Newick: unexpected ) at character 6 (line 2)",
    "(a,b);\n(c,d);": "at character 7 (line 2): the text holds 2 trees, choose one by index=, from 0 to 1",
    "(a:1,\nb:-2);": "Newick: branch length '-2' at character 8 (line 2) is not finite and >= 0: node 2 ('b')",
    "(a:1," + "x" * 300_000 + ":y);": "Newick: branch length 'y' at character 300006 is not a number",
    "(a:1,b:" + "y" * 300_000 + ");": "Newick: branch length 'yyyy",
}


@pytest.mark.parametrize("text", LINES, ids=[repr(text[:20]) for text in LINES])
def test_refused_lines(text, tmp_path):
    assert LINES[text] in refused(tmp_path, text)


def links(*edges, nodes="abc", **more):
    data = {"nodes": [{"id": name} for name in nodes], "links": list(edges), **more}
    return json.dumps(data)


AB, AC = {"source": "a", "target": "b"}, {"source": "a", "target": "c"}
JSON = {
    "{": "line 1, column 2: this is not JSON",
    '{"nodes": [],\n "links": [}': "line 2, column 12: this is not JSON",
    "[" * 100_000: "this JSON is nested more deeply than Python reads: write the tree as Newick",
    '{"children": [{}, {}]}': 'no node has a "name" or "id"',
    '{"name": "r", "children": [3]}': "a child of node 0 ('r') is 3, no object",
    '{"name": "r", "children": [{"name": "a", "children": {}}]}': "\"children\" of node 1 ('a') is {}, no list",
    '{"name": "r", "children": [{"name": "a", "cost": 1}, {"name": "b"}]}': "node 2 ('b') has no 'cost' and others do",
    '{"name": "r", "children": [{"name": "a", "cost": null}]}': "node 1 ('a'): cost None is not a finite number",
    '{"name": {}, "children": []}': "node 0: {} cannot be an id",
    '{"id": ' + "[" * 700 + "]" * 700 + ', "children": []}': "this JSON is nested more deeply than Python reads",
    '{"name": 1, "children": [' * 5000: "this JSON is nested more deeply than Python reads",
    "[1, 2]": "this JSON is neither node-link data, {",
    '{"nodes": 3, "links": []}': "this JSON is neither node-link data",
    '{"nodes": [], "links": {}}': "this JSON is neither node-link data",
    links(nodes=""): "nodes is empty",
    links(AB, AC, directed=False): "the graph is not directed",
    links(AB, nodes="abb"): "nodes[2]: the id 'b' is that of nodes[1] too",
    '{"nodes": ["a"], "links": []}': "nodes[0] = 'a' has no \"id\"",
    '{"nodes": [{"id": {}}], "links": []}': "nodes[0]: {} cannot be an id",
    links(AB, {"source": "a"}): "links[1] = {'source': 'a'} has no \"source\" and \"target\"",
    links(AB, 3): 'links[1] = 3 has no "source" and "target"',
    links(AB, {"source": "a", "target": 2}): "links[1]: 2 is not the id of a node",
    links(AB): "2 nodes have no parent, first 'a' (nodes[0]), 'c' (nodes[2])",
    links(AB, AC, {"source": "c", "target": "b"}): "links[2]: node 'b' has the parent 'c' here and 'a' at links[0]",
    links(AB, AC, {"source": "b", "target": "a"}): "is its own ancestor",
    links(AB | {"cost": 1}, AC): "links[1] has no 'cost' and other edges do",
    links(AB | {"cost": -1}, AC | {"cost": 1}): "links[0]: cost -1 is not a finite number >= 0",
    links(AB | {"cost": "1"}, AC | {"cost": 1}): "links[0]: cost '1' is not a finite number",
    links(AB | {"cost": True}, AC | {"cost": 1}): "links[0]: cost True is not a finite number",
    links(AB | {"cost": 10**400}, AC | {"cost": 1}): "links[0]: cost 1000000",
    links(AB | {"cost": float("nan")}, AC | {"cost": 1}): "links[0]: cost nan is not a finite number",
    links(AB, AC).replace('"b"', "9" * 5000): "this JSON cannot be read",
}


@pytest.mark.parametrize("text", JSON, ids=[text[:30] for text in JSON])
def test_refused_json(text, tmp_path):
    assert JSON[text] in refused(tmp_path, text)


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


NPZ = [
    (npz(), "holds no array 'parent' (it holds nothing)"),
    (npz(tree=[-1], X=[1]), "holds no array 'parent' (it holds tree, X)"),
    (npz(parent=[-1.0, 0.0]), "parent must hold integers, not float64"),
    (npz(parent=[-1, 0, 7]), "parent[2] = 7 is out of range"),
    (npz(parent=[-1, 2, 1]), "parent has a cycle"),
    (npz(parent=[-1, -1]), "parent has 2 roots"),
    (npz(parent=3), "parent must be one-dimensional, not of shape ()"),
    (npz(parent=["a", "b"], cost=[0, -1]), "parent must hold integers, not <U1"),
    (npz(parent=[-1, 0], cost=["0", "-1"]), "cost must hold real numbers"),
    (npz(parent=[-1, 0], cost=[0, -2.0]), "cost[1] = -2.0"),
    (npz(parent=[-1, 0], labels=[1]), "labels has 1 entries for 2 nodes"),
    (npz(parent=[-1, 0], node=[[1], [2]]), "labels must be one-dimensional, not of shape (2, 1)"),
    (npz(parent=np.array([None, 0])), "this .npz cannot be read"),
    (npz(parent=[-1, 0])[:-30], "this .npz cannot be read"),
    (b"PK\x03\x04" + bytes(100), "this .npz cannot be read"),
]


@pytest.mark.parametrize(("content", "message"), NPZ, ids=[message for _, message in NPZ])
def test_refused_archives(content, message, tmp_path):
    assert message in refused(tmp_path, content)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


BYTES = [
    (b"a b\na \xff\n", "a.dat is not UTF-8 text (byte 6 on line 2 is 0xff): save it as UTF-8, or unpack it first"),
    (b"a b\na \0\n", "a.dat: a null character stands at character 6 (line 2): give Newick"),
    (
        "a b\n".encode("utf-16"),
        "is not UTF-8 text (byte 0 is 0xff): save it as UTF-8, or unpack it first; it looks like UTF",
    ),
    (np.random.default_rng(0).bytes(1000), "is not UTF-8 text"),
    (lzma.compress(b"(a,b);"), "it looks like what xz packs"),
    (bz2.compress(b"(a,b);"), "it looks like what bzip2 packs"),
    (pickle.dumps([-1, 0, 0]), "it looks like a pickle, which is never read"),
    (npy([-1, 0, 0]), "it looks like one NumPy array (numpy.savez writes"),
    (b"<phyloxml/>", "this is XML, not Newick: write the tree as Newick, with Bio.Phylo.convert"),
    (gzip.compress(b"(a,b);")[:-9], "a.dat cannot be unpacked by gzip"),
    (gzip.compress(b"(a,b);")[:5], "a.dat cannot be unpacked by gzip"),
    (gzip.compress(b"(a,b);")[:-8] + bytes(8), "a.dat cannot be unpacked by gzip"),
    (gzip.compress(b"(a,b);")[:10] + b"\xff" * 20, "a.dat cannot be unpacked by gzip"),
    (gzip.compress(b""), "the file is empty"),
]


@pytest.mark.parametrize(("content", "message"), BYTES, ids=range(len(BYTES)))
def test_refused_bytes(content, message, tmp_path):
    assert message in refused(tmp_path, content)


def tree_or_message(path):
    try:
        return emdref.Tree.from_file(path), ""
    except ValueError as error:
        return None, str(error)


@pytest.mark.parametrize("form", FORMATS)
def test_every_cut_of_a_file_is_read_or_refused(form, tmp_path):
    """A cut table can be a smaller tree; all else that is cut is refused, and nothing ends in another exception."""
    whole = FORMATS[form](graph_of(UNITS))
    for packed, step in ((whole, 1 + len(whole) // 100), (gzip.compress(whole), 3)):
        for end in range(0, len(packed.rstrip()), step):
            path = written(tmp_path, packed[:end])
            tree, message = tree_or_message(path)
            assert path.name in message or (packed is whole and form in TABLES and tree.n_nodes <= 5)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: .*none\.nwk"):
        emdref.Tree.from_file(tmp_path / "none.nwk")
    with pytest.raises(OSError, match=r"Is a directory|Permission denied"):
        emdref.Tree.from_file(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"No such file or directory; text goes to Tree.from_newick: '\(a,b\);'"
    ):
        emdref.Tree.from_file("(a,b);")
    with pytest.raises(TypeError, match="path must be a str or a path, not bytes"):
        emdref.Tree.from_file(b"a.nwk")
    with pytest.raises(ValueError, match="is no path: it holds a null character"):
        emdref.Tree.from_file("a\0.nwk")
