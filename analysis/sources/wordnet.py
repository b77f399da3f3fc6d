"""Build the packaged WordNet tree from WordNet 3.0's nouns and the 1000 classes of ILSVRC2012.

    python -m analysis.sources.wordnet DATA_NOUN IMAGENET_SYNSETS [--out emdref/spaces/data/wordnet.tsv]

The paper gives the tree's size and its extreme distances, but no recipe. The rule here meets all of its numbers; it
is a reconstruction, not the authors' own choice made public. Sources: ``data.noun`` of Debian's package
``wordnet-base``, and ``timm/data/_info/imagenet_synsets.txt`` of ``timm`` on PyPI.
"""

import argparse
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ILSVRC_CLASSES = 1000
OUT = Path(__file__).parents[2] / "emdref" / "spaces" / "data" / "wordnet.tsv"
HEADER = ("wnid", "parent", "hops", "label")
GET_NOUNS = "take data.noun of WordNet 3.0, from Debian's package wordnet-base"
GET_CLASSES = "take timm/data/_info/imagenet_synsets.txt, from timm on PyPI"


class Synset(NamedTuple):
    """A line of data.noun, cut to what the tree needs."""

    lemmas: tuple
    hypernyms: frozenset


class Row(NamedTuple):
    """A node of the tree; the root has parent "" and hops 0."""

    wnid: str
    parent: str
    hops: int
    label: str


class Counts(NamedTuple):
    """Number of synsets after each step of the rule."""

    ancestors: int  # the classes and all that is above them, by every hypernym
    several: int  # of those, with several hypernyms
    pruned: int  # left when each keeps one hypernym
    nodes: int  # left when those with one child are contracted


def parse(line):
    """Read one synset of data.noun: ``(wnid, Synset)``; any failure is a ValueError."""
    offset, _, kind, n_lemmas, *rest = line[: line.index(" | ")].split(" ")
    if not re.fullmatch(r"\d{8}", offset) or kind != "n":
        raise ValueError
    end = 2 * int(n_lemmas, 16)  # w_cnt is the format's one hexadecimal count
    lemmas, n_pointers, pointers = rest[:end:2], rest[end : end + 1], rest[end + 1 :]
    if n_pointers != [f"{len(pointers) // 4:03d}"] or len(pointers) % 4:
        raise ValueError
    links = zip(pointers[::4], pointers[1::4], strict=True)
    return "n" + offset, Synset(tuple(lemmas), frozenset("n" + to for link, to in links if link in ("@", "@i")))


def read_nouns(path):
    """Read data.noun.

    Parameters
    ----------
    path : path-like
        WordNet 3.0's data.noun: a licence, each line of it begun by two spaces, then a line a synset.

    Returns
    -------
    dict
        wnid ("n" and the eight digits of the offset) → Synset.

    Raises
    ------
    ValueError
        If a line is not a synset, the licence is not that of WordNet 3.0 (in another version the same offset is
        another synset), or a hypernym is not in the file.
    """
    nouns, version = {}, False
    # Latin-1 decodes whatever the file is, so that a wrong one is reported by its line.
    for number, line in enumerate(Path(path).read_text("latin-1").split("\n"), 1):
        if line.startswith("  "):
            version = version or "WordNet 3.0 " in line
        elif line:
            try:
                wnid, synset = parse(line)
            except ValueError:
                raise ValueError(f"{path}, line {number}: not a noun of WordNet: {line[:40]!r}; {GET_NOUNS}") from None
            nouns[wnid] = synset
    if not version:
        raise ValueError(f"{path}: no line of its header names WordNet 3.0; {GET_NOUNS}")
    for wnid, synset in nouns.items():
        missing = [above for above in sorted(synset.hypernyms) if above not in nouns]
        if missing:
            raise ValueError(f"{path}: {missing[0]}, a hypernym of {wnid}, is missing: file cut short; {GET_NOUNS}")
    return nouns


def read_classes(path, nouns, n_classes=None):
    """Read the wnids of the classes, one a line in ascending order.

    Parameters
    ----------
    path : path-like
    nouns : mapping
        What each class must be in.
    n_classes : int, optional
        How many there must be.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If a line is not in `nouns` or not above the line before it, or the number of lines is not `n_classes`.
    """
    classes = Path(path).read_text("latin-1").splitlines()
    for number, wnid in enumerate(classes, 1):
        if wnid not in nouns:
            raise ValueError(f"{path}, line {number}: {wnid[:40]!r} is not a synset of data.noun; {GET_CLASSES}")
        # The table is sorted by wnid, so this alone makes its order of leaves the order of the classes.
        if number > 1 and wnid <= classes[number - 2]:
            raise ValueError(f"{path}, line {number}: {wnid} is not above the line before; sort, each class once")
    if not classes or n_classes not in (None, len(classes)):
        raise ValueError(f"{path}: {len(classes)} classes, expected {n_classes or 'at least one'}; {GET_CLASSES}")
    return classes


def climb(wnid, nouns):
    """Return the set of all synsets above `wnid`, itself included."""
    seen, todo = {wnid}, [wnid]
    while todo:
        new = nouns[todo.pop()].hypernyms - seen
        seen |= new
        todo.extend(new)
    return seen


def choose_parents(classes, nouns):
    """Keep one hypernym of each synset: the one with the fewest classes under it, ties to the smallest offset."""
    below = Counter(above for wnid in classes for above in climb(wnid, nouns))
    return {wnid: min(nouns[wnid].hypernyms, key=lambda h: (below[h], h), default="") for wnid in below}


def prune(parent, classes):
    """Keep the nodes that the classes still reach, and see that they are one tree."""
    kept = {"": None}
    for wnid in classes:
        path = set()
        while wnid not in kept and wnid not in path:
            path.add(wnid)
            wnid = parent[wnid]
        if wnid in path:
            raise ValueError(f"data.noun: the hypernyms above {wnid} run in a circle; {GET_NOUNS}")
        kept.update((node, parent[node]) for node in path)
    del kept[""]
    roots = sorted(wnid for wnid, up in kept.items() if up == "")
    if len(roots) != 1:
        raise ValueError(f"data.noun: the classes end in {len(roots)} roots, {', '.join(roots)}; {GET_NOUNS}")
    return kept


def contract(parent, classes):
    """Take out each node with one child, but no class and not the root: wnid → (parent, original links)."""
    n_children = Counter(parent.values())
    nodes = {wnid for wnid in parent if n_children[wnid] != 1 or parent[wnid] == ""} | set(classes)
    edges = {}
    for wnid in nodes:
        up, hops = parent[wnid], 1
        while up and up not in nodes:
            up, hops = parent[up], hops + 1
        edges[wnid] = (up, hops if up else 0)
    return edges


def build(data_noun, synsets, n_classes=None):
    """Build the tree's table.

    Parameters
    ----------
    data_noun : path-like
        data.noun of WordNet 3.0.
    synsets : path-like
        The classes' wnids, one a line in ascending order.
    n_classes : int, optional
        How many classes there must be.

    Returns
    -------
    rows : list of Row
        Sorted by wnid.
    counts : Counts

    Raises
    ------
    ValueError
        If a file is not what it should be, or its links make no tree.
    """
    nouns = read_nouns(data_noun)
    classes = read_classes(synsets, nouns, n_classes)
    parent = choose_parents(classes, nouns)
    pruned = prune(parent, classes)
    edges = contract(pruned, classes)
    several = sum(len(nouns[wnid].hypernyms) > 1 for wnid in parent)
    labels = {wnid: ", ".join(nouns[wnid].lemmas).replace("_", " ") for wnid in edges}
    rows = [Row(wnid, *edges[wnid], labels[wnid]) for wnid in sorted(edges)]
    return rows, Counts(len(parent), several, len(pruned), len(rows))


def write(rows, path):
    """Write the rows as tab-separated text under a line of column names."""
    lines = ("\t".join(map(str, row)) + "\n" for row in [HEADER, *rows])
    Path(path).write_text("".join(lines), "utf-8", newline="\n")


def main(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m analysis.sources.wordnet", description=__doc__.split("\n")[0])
    parser.add_argument("data_noun", help="data.noun of WordNet 3.0")
    parser.add_argument("imagenet_synsets", help="the 1000 wnids of ILSVRC2012, one a line")
    parser.add_argument("--out", default=OUT, help="the table (default: the packaged one)")
    args = parser.parse_args(argv)
    try:
        rows, counts = build(args.data_noun, args.imagenet_synsets, ILSVRC_CLASSES)
        write(rows, args.out)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f"{args.out}: {counts}")


if __name__ == "__main__":
    main()
