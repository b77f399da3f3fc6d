"""The packaged tables are what their scripts make, and the scripts follow the rule."""

import importlib.util
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from analysis.sources import real_labels, wordnet

ROOT = Path(__file__).parents[2]
TREE = ROOT / "emdref" / "spaces" / "data" / "wordnet.tsv"
LABEL_SETS = ROOT / "analysis" / "data" / "real_labels.csv"

# dog: pet has fewer classes than animal, but as many if goldfish, two ways below pet, were counted twice.
# teapot: a tie.  Excalibur: an instance.  ghost: above no class.
NOUNS = """\
  1 WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved.
00000001 03 n 01 entity 0 001 ~ 00000002 n 0000 | all there is
00000002 03 n 01 living_thing 0 002 @ 00000001 n 0000 ~ 00000003 n 0000 | what lives
00000003 03 n 02 animal 0 animate_being 0 001 @ 00000002 n 0000 | what moves
00000004 03 n 01 pet 0 001 @ 00000001 n 0000 | what is loved | or @ least fed
00000005 03 n 01 vessel 0 001 @ 00000001 n 0000 | what holds
00000006 03 n 01 kitchenware 0 001 @ 00000001 n 0000 | what cooks
00000007 03 n 01 sword 0 001 @ 00000001 n 0000 | what cuts
00000008 03 n 01 aquarium_fish 0 001 @ 00000004 n 0000 | what swims
00000009 03 n 01 ghost 0 001 @ 00000001 n 0000 | what haunts
00000010 05 n 01 cat 0 001 @ 00000003 n 0000 | it meows
00000011 05 n 01 dog 0 003 @ 00000003 n 0000 #m 00000009 n 0000 @ 00000004 n 0000 | it barks
00000012 05 n 01 wolf 0 001 @ 00000003 n 0000 | it howls
00000013 05 n 01 goldfish 0 002 @ 00000004 n 0000 @ 00000008 n 0000 | it is silent
00000014 06 n 01 teapot 0 002 @ 00000006 n 0000 @ 00000005 n 0000 | it whistles
00000015 06 n 01 Excalibur 0 001 @i 00000007 n 0000 | it rings
"""
CLASSES = ["n00000010", "n00000011", "n00000012", "n00000013", "n00000014", "n00000015"]


# -- the sources, where they are at hand ------------------------------------------------------------------------------


def source(variable, fallback, get):
    """The path a variable names, which must then exist, or else the usual place, or a skip that says how to get it."""
    if variable in os.environ:
        path = Path(os.environ[variable])
        assert path.exists(), f"{variable}={path} does not exist"
        return path
    if fallback is None or not fallback.exists():
        pytest.skip(f"{get}, or set {variable}")
    return fallback


@pytest.fixture
def data_noun():
    return source("EMDREF_WORDNET", Path("/usr/share/wordnet/data.noun"), "needs apt-get install wordnet-base")


@pytest.fixture
def timm_info():
    spec = importlib.util.find_spec("timm")  # found, not imported: that would need torch
    folder = spec and Path(spec.submodule_search_locations[0]) / "data" / "_info"
    return source("EMDREF_TIMM_INFO", folder, "needs pip install --no-deps timm")


def test_packaged_tree_is_what_the_script_makes(data_noun, timm_info, tmp_path):
    rows, counts = wordnet.build(data_noun, timm_info / "imagenet_synsets.txt", 1000)
    wordnet.write(rows, tmp_path / "tree")
    assert counts == (1860, 75, 1843, 1374)
    assert (tmp_path / "tree").read_bytes() == TREE.read_bytes()


def test_leaves_are_the_classes_in_order(timm_info, tree):
    assert leaves(tree) == (timm_info / "imagenet_synsets.txt").read_text("ascii").split()


def test_packaged_licence_is_wordnets(data_noun):
    header = [line[2:] for line in data_noun.read_text("ascii").splitlines() if line.startswith("  ")]
    text = [line.partition(" ")[2].rstrip() for line in header]
    assert (TREE.parent / "WORDNET_LICENSE").read_text("ascii").splitlines() == text


def test_packaged_label_sets_are_what_the_script_makes(timm_info, tmp_path):
    rows = real_labels.build(timm_info / "imagenet_real_labels.json", 1000, 50_000)
    real_labels.write(rows, tmp_path / "sets")
    assert (tmp_path / "sets").read_bytes() == LABEL_SETS.read_bytes()


# -- the packaged tables, without the library and without the sources -------------------------------------------------


@pytest.fixture(scope="module")
def tree():
    """wnid → (parent, hops) of the packaged table, in its order."""
    header, *rows = (line.split("\t") for line in TREE.read_text("utf-8").splitlines())
    assert header == ["wnid", "parent", "hops", "label"]
    return {wnid: (parent, int(hops)) for wnid, parent, hops, label in rows if label}


def leaves(tree):
    inner = {parent for parent, _ in tree.values()}
    return [wnid for wnid in tree if wnid not in inner]


def distance_counts(tree):
    """How often each distance stands between two leaves, by SciPy's search for shortest paths from each."""
    number = {wnid: k for k, wnid in enumerate(tree)}
    edges = [(number[wnid], number[parent], cost) for wnid, (parent, cost) in tree.items() if parent]
    child, parent, cost = zip(*edges, strict=True)
    ends = [number[wnid] for wnid in leaves(tree)]
    graph = csr_array((cost, (child, parent)), (len(tree), len(tree)))
    far = dijkstra(graph, directed=False, indices=ends)[:, ends]
    return Counter(dict(zip(*(x.tolist() for x in np.unique(far, return_counts=True)), strict=True)))


def cut_sum(tree):
    """Sum of all distances between leaves, edge by edge: each is crossed by the pairs that it parts, both ways."""
    below = Counter()
    for wnid in leaves(tree):
        while wnid:
            below[wnid] += 1
            wnid = tree[wnid][0]
    return sum(2 * cost * below[v] * (1000 - below[v]) for v, (_, cost) in tree.items())


def test_tree_shape(tree):
    assert (len(tree), len(leaves(tree))) == (1374, 1000)
    assert (leaves(tree)[0], leaves(tree)[-1]) == ("n01440764", "n15075141")
    assert list(tree) == sorted(tree)
    assert [item for item in tree.items() if item[1][0] == ""] == [("n00001740", ("", 0))]
    assert 1 not in Counter(parent for parent, _ in tree.values() if parent).values()


def test_tree_edges(tree):
    assert Counter(cost for parent, cost in tree.values() if parent) == {1: 1033, 2: 250, 3: 60, 4: 23, 5: 6, 7: 1}


def test_tree_distances(tree):
    counts = distance_counts(tree)
    assert (counts.pop(0), min(counts), max(counts)) == (1000, 2, 26)
    # The mean is over all 10^6 ordered pairs, a leaf with itself included: 13.118376.
    assert sum(distance * n for distance, n in counts.items()) == cut_sum(tree) == 13_118_376


def test_tree_distances_with_unit_cost(tree):
    counts = distance_counts({wnid: (parent, 1 if parent else 0) for wnid, (parent, _) in tree.items()})
    assert (counts.pop(0), min(counts), max(counts)) == (1000, 2, 20)


def test_label_sets():
    header, *rows = (line.split(",") for line in LABEL_SETS.read_text("utf-8").splitlines())
    sets = [(tuple(map(int, labels.split())), int(images)) for labels, images in rows]
    assert header == ["labels", "images"]
    assert sets == sorted(sets, key=lambda item: (-item[1], item[0]))
    assert all(len(labels) > 1 and labels == tuple(sorted({*labels} & {*range(1000)})) for labels, _ in sets)
    assert (len(dict(sets)), len(sets), sum(images for _, images in sets)) == (4255, 4255, 7443)


# -- the rule and the errors, on small files --------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path):
    """Write the two sources, or variants of them; returns their paths."""

    def paths(nouns=NOUNS, classes=CLASSES):
        (tmp_path / "data.noun").write_text(nouns, "ascii")
        (tmp_path / "synsets").write_text("".join(wnid + "\n" for wnid in classes), "ascii")
        return tmp_path / "data.noun", tmp_path / "synsets"

    return paths


def test_rule(write):
    rows, counts = wordnet.build(*write())
    assert counts == (14, 3, 13, 9)  # kitchenware is pruned; living thing, vessel, sword, aquarium fish contracted
    assert rows == [
        ("n00000001", "", 0, "entity"),
        ("n00000003", "n00000001", 2, "animal, animate being"),
        ("n00000004", "n00000001", 1, "pet"),
        ("n00000010", "n00000003", 1, "cat"),
        ("n00000011", "n00000004", 1, "dog"),
        ("n00000012", "n00000003", 1, "wolf"),
        ("n00000013", "n00000004", 2, "goldfish"),
        ("n00000014", "n00000001", 2, "teapot"),
        ("n00000015", "n00000001", 2, "Excalibur"),
    ]


def test_tie_goes_to_the_smallest_offset():
    synsets = {"n1": (), "n2": ("n1",), "n3": ("n1",), "n4": ("n3", "n2")}
    nouns = {wnid: wordnet.Synset((), frozenset(above)) for wnid, above in synsets.items()}
    assert wordnet.choose_parents(["n4"], nouns)["n4"] == "n2"


def test_classes_and_the_root_stay_although_they_have_one_child(write):
    rows, _ = wordnet.build(*write(classes=["n00000003", "n00000012"]))
    assert [row[:3] for row in rows] == [
        ("n00000001", "", 0),
        ("n00000003", "n00000001", 2),
        ("n00000012", "n00000003", 1),
    ]


def test_number_of_lemmas_is_hexadecimal():
    lemmas = [f"w{k}" for k in range(16)]
    line = f"00000002 03 n 10 {' 0 '.join(lemmas)} 0 001 @ 00000001 n 0000 | many words"
    assert wordnet.parse(line) == ("n00000002", (tuple(lemmas), {"n00000001"}))


def test_written_table(tmp_path):
    wordnet.write([wordnet.Row("n1", "", 0, "entity"), wordnet.Row("n2", "n1", 3, "a b, c")], tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"wnid\tparent\thops\tlabel\nn1\t\t0\tentity\nn2\tn1\t3\ta b, c\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0 001 @ 00000004", "0 002 @ 00000004", r"data\.noun, line 9: not a noun of WordNet: '00000008 03 n 01 aqu"),
        ("05 n 01 cat", "05 v 01 cat", r"line 11: not a noun of WordNet.*take data\.noun"),
        (" | it meows", "", r"line 11: not a noun of WordNet"),
        ("n 01 cat", "n zz cat", r"line 11: not a noun of WordNet"),
        ("  1 WordNet 3.0", "  1 WordNet 3.1", r"no line of its header names WordNet 3\.0"),
        ("@ 00000003 n 0000 | it howls", "@ 00000099 n 0000 | it howls", "n00000099, a hypernym of n00000012, is miss"),
        ("001 ~ 00000002", "001 @ 00000002", r"the hypernyms above n0000000[123] run in a circle"),
        ("001 @ 00000001 n 0000 | what cuts", "000 | what cuts", "end in 2 roots, n00000001, n00000007"),
    ],
)
def test_bad_nouns(write, old, new, message):
    assert NOUNS.count(old) == 1
    with pytest.raises(ValueError, match=message):
        wordnet.build(*write(nouns=NOUNS.replace(old, new)))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["n00000010", "n00000077"], r"synsets, line 2: 'n00000077' is not a synset of data\.noun; take timm"),
        (["n00000011", "n00000010"], "line 2: n00000010 is not above the line before"),
        (["n00000010", "n00000010"], "line 2: n00000010 is not above the line before"),
        (["n00000010"], "synsets: 1 classes, expected 2"),
    ],
)
def test_bad_classes(write, classes, message):
    with pytest.raises(ValueError, match=message):
        wordnet.build(*write(classes=classes), n_classes=2)


def test_no_classes(write):
    with pytest.raises(ValueError, match="0 classes, expected at least one"):
        wordnet.build(*write(classes=[]))


def test_command_writes_nothing_on_bad_input(write, tmp_path, capsys):
    with pytest.raises(SystemExit):
        wordnet.main([*map(str, write()), "--out", str(tmp_path / "out")])
    assert "6 classes, expected 1000" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_label_sets_of_two_or_more_are_counted(tmp_path):
    (tmp_path / "in").write_text("[[], [3], [9, 10], [7, 3], [10, 3], [10, 3, 7], [3, 7]]", "ascii")
    real_labels.write(real_labels.build(tmp_path / "in", 11, 7), tmp_path / "out")
    assert (tmp_path / "out").read_text("ascii") == "labels,images\n3 7,2\n3 7 10,1\n3 10,1\n9 10,1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[1], [2]", "in: not JSON: .*take timm"),
        ('{"1": 2}', "in: no list, expected a list of 3 images"),
        ("[[1], [2]]", "in: 2 images, expected a list of 3 images"),
        ("[[1], [2], 3]", "in, image 3: 3 is not a list of distinct classes 0..9"),
        ("[[1], [10], [3]]", r"image 2: \[10\] is not a list"),
        ("[[1, 1], [2], [3]]", r"image 1: \[1, 1\] is not a list"),
        ("[[true], [2], [3]]", r"image 1: \[True\] is not a list"),
    ],
)
def test_bad_label_sets(tmp_path, text, message):
    (tmp_path / "in").write_text(text, "ascii")
    with pytest.raises(ValueError, match=message):
        real_labels.build(tmp_path / "in", 10, 3)


def test_label_command_writes_nothing_on_bad_input(tmp_path, capsys):
    (tmp_path / "in").write_text(json.dumps([[1, 2]]), "ascii")
    with pytest.raises(SystemExit):
        real_labels.main([str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    assert "1 images, expected a list of 50000 images" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
