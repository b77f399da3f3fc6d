"""Newick and NEXUS as other programs write them, several trees, negative lengths; trees as text and for networkx.

The texts are made up; each has traits of files that other projects test with: BEAST, MrBayes, PAUP, PHYLIP, RAxML, NHX.
"""

import sys
import warnings

import networkx
import newick
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import cases
import emdref

Tree = emdref.Tree


def distances(tree):
    return tree.distance_matrix().tolist()


# --- texts of other programs ------------------------------------------------------------------------------------------

WILD = {  # text: labels in the order of the text, costs
    "(a:1e-5,b:.5,c:-0,d:2.E+1)r:9;": (["r", "a", "b", "c", "d"], [0, 1e-5, 0.5, 0, 20]),
    "(a:1,b:2)90:3;": (["90", "a", "b"], [0, 1, 2]),  # support
    "((a:1,b:2)0.97:1,c:3)'1.0';": (["1.0", "0.97", "a", "b", "c"], [0, 1, 1, 2, 3]),
    "((a:1,b:2):1[97],c:3);": (["", "", "a", "b", "c"], [0, 1, 1, 2, 3]),  # RAxML
    "[&R] (a[&rate=1,x={1,2}]:1,b:[&rate=.5]2)[&h=3];": (["", "a", "b"], [0, 1, 2]),  # BEAST
    "(a:1[&&NHX:S=human:E=1.1],b:2[&&NHX:S=it's])r[&&NHX:D=Y];": (["r", "a", "b"], [0, 1, 2]),
    "(a[one [two [three]] (;,':]:1,b:2[[]]);": (["", "a", "b"], [0, 1, 2]),
    "('it''s [no] comment; (1)':1,under_score:2);": (["", "it's [no] comment; (1)", "under_score"], [0, 1, 2]),
    "('':1,'''':2,'a''''b':3);": (["", "", "'", "a''b"], [0, 1, 2, 3]),
    "\ufeff\n(\n a\t:\n1 ,\r\n b : 2\n)\n;\n\n": (["", "a", "b"], [0, 1, 2]),
    '(k|x.1-2/3+4:1,é#*&^%$@!~`"<>?{}=\\:2);': (["", "k|x.1-2/3+4", 'é#*&^%$@!~`"<>?{}=\\'], [0, 1, 2]),
    "(,(:2,a:3):1,:0);": (["", "", "", "", "a", ""], [0, 0, 1, 2, 3, 0]),
    "((((a:1):2):3):4)r;": (["r", "", "", "", "a"], [0, 4, 3, 2, 1]),
    "(x#1:1,y#1:2)#1;": (["#1", "x#1", "y#1"], [0, 1, 2]),
}


@pytest.mark.parametrize("text", WILD)
def test_texts_in_the_wild(text):
    labels, costs = WILD[text]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Newick: 1 of 5 branches")
        tree = Tree.from_newick(text)
    assert (list(tree.labels), tree.cost.tolist()) == (labels, costs)
    assert tree.bins.tolist() == sorted(set(range(len(labels))) - set(tree.parent.tolist()))


REFUSED = {
    "(a:1,b:1_000);": "branch length '1_000' at character 7 is not a number",
    "(a:1,b:2):nan-;": "branch length 'nan-' at character 10 is not a number",
    "(a:1,b:0x1p3);": "branch length '0x1p3' at character 7 is not a number",
    "(a:1,b:'2');": "unexpected name '2' at character 7: check the commas, colons",
    "(a:1,b:NaN);": "branch length 'NaN' at character 7 is not finite and >= 0: node 2 ('b')",
    "(a:1,b:-inf);": "branch length '-inf' at character 7 is not finite and >= 0: node 2 ('b')",
    "(a:1,\nb:0.1{0});": "branch length '0.1{0}' at character 8 (line 2) is not a number",
    "(a:1,b::0.9);": "unexpected : at character 7",
    "(a:1,b:2)x[y[z];": "cannot read '[y[z];' at character 10: no ] closes it",
    "(a:1,b:2)]x;": "cannot read ']x;' at character 9: no [ opens it",
    "('Bob\\'s',b);": "the apostrophe twice",
    "((a,(b)x#H1)c,(x#H1,d)e)r;": "'#H1' stands twice, once with nodes below it: this is a network",
    "3\n(a,b);(c,d);(e,f);": "'3' stands before the first parenthesis, a count as PHYLIP and PAML write it: take",
    "  5  1\n\n(a,b);": "'5  1' stands before the first parenthesis",
}


@pytest.mark.parametrize("text", REFUSED)
def test_texts_refused_in_words(text):
    with pytest.raises(ValueError, match=r"^Newick: ") as caught:
        Tree.from_newick(text)
    assert REFUSED[text] in str(caught.value) and len(str(caught.value)) <= 300


# --- several trees ----------------------------------------------------------------------------------------------------

SEVERAL = "(a:1,b:2);\n[(x;y)] ('c;d':3,e:4);(f:5,g:6)h;\n"


@pytest.mark.parametrize("index", [0, 1, 2, -1, -3, np.int8(1)])
def test_index_chooses_a_tree(index):
    tips = [["a", "b"], ["c;d", "e"], ["f", "g"]]
    assert list(Tree.from_newick(SEVERAL, index=index).bin_labels) == tips[index]


def test_several_trees_without_an_index():
    way = r"^Newick: something follows .* at character 19 \(line 2\): the text holds 3 trees, choose one by index="
    with pytest.raises(ValueError, match=way):
        Tree.from_newick(SEVERAL)
    for index in (3, -4, 10**30):
        with pytest.raises(ValueError, match=rf"index={index} is out of range: the text holds 3 trees, 0 to 2"):
            Tree.from_newick(SEVERAL, index=index)
    for index in (True, 1.0, [0]):
        with pytest.raises(TypeError, match="must be an integer, or the name of a tree in NEXUS"):
            Tree.from_newick(SEVERAL, index=index)
    with pytest.raises(ValueError, match="index='a' names no tree"):
        Tree.from_newick(SEVERAL, index="a")
    assert Tree.from_newick("(a,b);", index=0).n_bins == 2


@pytest.mark.parametrize("index", [None, 0, 1])
def test_a_last_tree_that_is_cut_off_is_no_tree_less(index):
    with pytest.raises(ValueError, match=r"something follows the final ';' at character \d+: it has no ';'"):
        Tree.from_newick("(a,b);(c,d);(e", index=index)
    with pytest.raises(ValueError, match=r"at character 6: it has no ';' of its own"):
        Tree.from_newick("(a,b);(c", index=index)


def test_only_the_tree_that_is_asked_for_is_read():
    text = "(a:oops,b);(c:1,d:-2);(e:1,f:2);"
    assert Tree.from_newick(text, index=2).diameter == 3
    with pytest.raises(ValueError, match=r"'oops' at character 3"):
        Tree.from_newick(text, index=0)
    with pytest.raises(ValueError, match=r"'-2' at character 18"):
        Tree.from_newick(text, index=1)


# --- negative lengths -------------------------------------------------------------------------------------------------


def test_negative_lengths():
    text = "((a:1,b:-0.25)ab:-1e-3,c:2,d:-0)r:-7;"
    with pytest.raises(
        ValueError, match=r"'-0.25' at character 8 is not finite and >= 0: node 3 \('b'\); negative=\"zero\""
    ):
        Tree.from_newick(text)
    with pytest.warns(
        UserWarning, match=r"2 costs are negative and count as 0, the most negative is -0.25 of node 3 \('b'\)"
    ) as w:
        tree = Tree.from_newick(text, negative="zero")
    assert w[0].filename == __file__ and len(w) == 1
    assert tree.cost.tolist() == [0, 0, 1, 0, 2, 0]
    with pytest.warns(UserWarning, match=r"^1 cost is negative and counts as 0"):
        Tree.from_newick("(a:1,b:-2);", negative="zero")
    assert Tree.from_newick("(a:1,b:2):-1;", negative="zero").diameter == 3  # nothing to warn of
    for value in ("Zero", None, True):
        with pytest.raises(ValueError, match=r"negative=.* is not one of raise, zero"):
            Tree.from_newick("(a:1,b:2);", negative=value)


# --- NEXUS ------------------------------------------------------------------------------------------------------------

NEXUS = """#nexus [a comment [in a comment]]
BEGIN Taxa; Dimensions ntax=3; TaxLabels A_1 'B''s b' "C"; END;
begin characters; title 'begin trees; tree no = (x,y);'; matrix A AC[G]T B ; endblock;
Begin Trees;
  Title x;  Link Taxa = y;
  Translate
    1 A_1, 2
    'B''s b' , [no]
    t3 C;
  tree one = [&R] [&W 1/3] (1:1,(2:2,t3:3)2:4)1:5;
  TREE * 'two; 2' = [&U] (t3,(1,2),4);
END;
begin trees; UTree three=(1:1,t3:1.5); end
"""


def test_nexus():
    tree = Tree.from_newick(NEXUS, index="one")
    assert list(tree.labels) == ["1", "A_1", "2", "B's b", "C"]  # inner ones are as written
    assert distances(tree) == [[0, 7, 8], [7, 0, 5], [8, 5, 0]]
    assert list(Tree.from_newick(NEXUS, index=1).bin_labels) == ["C", "A_1", "B's b", "4"]
    assert Tree.from_newick(NEXUS, index="two; 2").diameter == 3
    assert list(Tree.from_newick(NEXUS, index=-1).bin_labels) == ["A_1", "t3"]  # each block has its own table
    with pytest.raises(ValueError, match=r"^NEXUS: the text holds 3 trees, choose one by index=, from 0 to 2"):
        Tree.from_newick(NEXUS)
    with pytest.raises(ValueError, match="index='four' names no tree: the text holds 3 trees, 0 to 2"):
        Tree.from_newick(NEXUS, index="four")


TAXA = "#NEXUS begin taxa; dimensions ntax=3; taxlabels 'a b' {} c_d; end;"


def test_nexus_numbers_taxa():
    trees = " begin trees; tree x=(1,(2,3)2,b); end;"
    assert list(Tree.from_newick(TAXA.format("b") + trees).labels) == ["", "a b", "2", "b", "c_d", "b"]
    assert list(Tree.from_newick(TAXA.format("1") + trees).bin_labels) == ["1", "1", "c_d", "b"]  # a name, not a number
    two = TAXA.format("b") + TAXA.format("e")[6:] + trees
    assert list(Tree.from_newick(two).bin_labels) == ["1", "2", "3", "b"]  # whose numbers they are is not said
    named = TAXA.format("b") + " begin trees; translate 1 x; tree x=(1,2);"
    assert list(Tree.from_newick(named).bin_labels) == ["x", "2"]


BAD_NEXUS = {
    "#NEXUS": "there is no tree in a TREES block (blocks: none)",
    "#NEXUS begin data; matrix a b; end;": "there is no tree in a TREES block (blocks: data)",
    "#NEXUS\nbegin trees;\n(a,b);\nend;": "there is no tree in a TREES block",
    "#NEXUS\nbegin trees;\ntree (a,b);\nend;": "'tree (a,b);' at character 20 (line 3) does not begin like 'tree NAME",
    "#NEXUS begin trees; tree a=(b,c)": "the text ends at character 32 without a ';' in its TREES block",
    "#NEXUS begin trees; tree a=(b,c; end;": "Newick: unexpected ; at character 31: a parenthesis is open",
    "#NEXUS begin trees; translate 1 a b, 2 c; tree a=(b,c);": "TRANSLATE has ['1', 'a', 'b'] before character 34",
    "#NEXUS begin trees; translate 1 a, 1 b; tree a=(1,c);": "TRANSLATE gives '1' two names before character 38",
    "#NEXUS begin trees; tree a=(b,c); tree a=(d,e);": "the text holds 2 trees",
}


@pytest.mark.parametrize("text", BAD_NEXUS)
def test_nexus_refused_in_words(text):
    with pytest.raises(ValueError, match=r"^(NEXUS|Newick): ") as caught:
        Tree.from_newick(text)
    assert BAD_NEXUS[text] in str(caught.value) and len(str(caught.value)) <= 300


def test_trees_of_one_name_are_told_apart_by_numbers():
    text = "#NEXUS begin trees; tree a=(b,c); tree a=(d,e); end;"
    with pytest.raises(ValueError, match="index='a' names 2 trees, of which the first is 0: the text holds 2 trees"):
        Tree.from_newick(text, index="a")
    assert list(Tree.from_newick(text, index=1).bin_labels) == ["d", "e"]


# --- bins by label ----------------------------------------------------------------------------------------------------


def test_bins_by_label():
    text = "((a:1,b:2)ab:4,c:8)r;"
    tree = Tree.from_newick(text, bins=["r", "c", "ab"])
    assert list(tree.bin_labels) == ["r", "c", "ab"]
    assert distances(tree) == [[0, 8, 4], [8, 0, 12], [4, 12, 0]]
    assert list(Tree.from_newick(text, bins="all").bin_labels) == ["r", "ab", "a", "b", "c"]
    with pytest.raises(ValueError, match="bins: 1 unknown"):
        Tree.from_newick(text, bins=["a", "x"])


# --- as text ----------------------------------------------------------------------------------------------------------


def below(tree, v=None):
    """A tree as nested tuples, children in ascending order."""
    v = tree.root if v is None else v
    name = "" if tree.labels[v] is None else str(tree.labels[v])
    return name, float(tree.cost[v]).hex(), [below(tree, int(u)) for u in np.flatnonzero(tree.parent == v)]


NAMES = st.one_of(st.text(max_size=6), st.text("'[]();:, \n_\ufeff#é", max_size=6), st.none(), st.just(("a", 1.5)))


@settings(max_examples=25)
@given(cases.trees(), st.data())
@example(Tree([-1], labels=["\ufeff#nexus"]), None)
@example(Tree([-1], labels=["{"]), None)
@example(Tree([-1], labels=[None]), None)
def test_what_is_written_is_read_back(tree, data):
    if data is not None:
        labels = data.draw(st.lists(NAMES, min_size=tree.n_nodes, max_size=tree.n_nodes))
        costs = data.draw(st.lists(st.floats(0, allow_infinity=False), min_size=tree.n_nodes, max_size=tree.n_nodes))
        tree = Tree(tree.parent, costs, labels=labels)
    text = tree.to_newick()
    back = Tree.from_newick(text)
    assert below(back) == below(tree)
    assert back.to_newick() == text


def test_written_text_as_another_parser_reads_it():
    tree = Tree([-1, 0, 0, 1, 1], [0, 0.1, 1e-300, 3, 0], labels=["r", "it's", "x_y", "a b", "z:(1)"])
    (root,) = newick.loads(tree.to_newick())
    found = [(node.unquoted_name, node.length) for node in root.walk()]
    assert found == [("r", 0.0), ("it's", 0.1), ("a b", 3.0), ("z:(1)", 0.0), ("x_y", 1e-300)]


def test_which_names_are_written():
    assert Tree([-1, 0, 0, 1, 1]).to_newick() == "((3:1.0,4:1.0):1.0,2:1.0);"
    assert Tree([-1, 0, 0, 1, 1], bins=[1, 4]).to_newick() == "((3:1.0,4:1.0)1:1.0,2:1.0);"
    assert Tree([-1, 0], labels=[None, ""]).to_newick() == "(:1.0);"
    assert Tree([-1, 0], labels=[7, 2.5]).to_newick() == "(2.5:1.0)7;"
    assert Tree([1, -1], labels=["x y", "a-b"]).to_newick() == "('x y':1.0)a-b;"
    assert Tree([1, -1], labels=["x_y", "é|2.5"]).to_newick() == "('x_y':1.0)é|2.5;"  # others read a bare _ as a blank
    tree = Tree([-1, 0, 0, 1, 1], bins=[4, 1], labels=list("rabcd"))
    back = Tree.from_newick(tree.to_newick(), bins=[str(x) for x in tree.bin_labels])
    assert (list(back.bin_labels), distances(back)) == (["d", "a"], distances(tree))


def test_text_of_any_depth():
    depth = 5_000
    text = Tree(np.arange(depth) - 1).to_newick()
    assert text.startswith("(" * (depth - 1) + f"{depth - 1}:1.0)") and Tree.from_newick(text).n_nodes == depth


# --- for networkx -----------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(cases.trees())
def test_networkx_gives_the_tree_back(tree):
    graph = tree.to_networkx()
    assert networkx.is_arborescence(graph)
    assert [v for v, data in graph.nodes(data=True) if "bin" in data] == sorted(tree.bins.tolist())
    assert [graph.nodes[v]["bin"] for v in tree.bins.tolist()] == list(range(tree.n_bins))
    back = Tree.from_networkx(graph, tree.root)
    assert np.array_equal(back.parent, tree.parent) and np.array_equal(back.cost, tree.cost)
    assert list(back.labels) == list(tree.labels)


def test_nodes_for_networkx():
    graph = Tree([2, 2, -1], [1, 2, 0], labels=["a", "b", "r"]).to_networkx()
    assert list(graph.nodes(data="bin")) == [("a", 0), ("b", 1), ("r", None)]
    assert list(graph.edges(data="cost")) == [("r", "a", 1.0), ("r", "b", 2.0)]
    for labels in (["a", "a", "r"], ["a", None, "r"], [1, True, 0]):
        graph = Tree([2, 2, -1], labels=labels).to_networkx()
        assert list(graph.nodes(data="label")) == list(enumerate(labels))
    assert list(Tree([-1]).to_networkx()) == [0]


def test_networkx_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(
        ImportError, match=r"to_networkx needs networkx, which is not installed: pip install networkx, or"
    ):
        Tree([-1, 0]).to_networkx()
