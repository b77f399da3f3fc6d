"""The WordNet tree over the 1000 ILSVRC2012 classes, packaged as a table."""

import csv
from importlib.resources import files
from typing import Literal

from emdref.arguments import validation
from emdref.spaces import Tree

Cost = Literal["hops", "unit"]


def wordnet_tree(cost: Cost = "hops") -> Tree:
    r"""The WordNet hierarchy of ImageNet's 1000 classes: 1374 nodes, a bin for each ILSVRC2012 class.

    .. math:: \mathrm{EMD}^\rho(p, q) = \sum_v M_v \, |\phi_v|^\rho

    is then the papers' distance between two predictions of ImageNet classes; see `Tree`.

    Section 2.3 of arXiv 1611.07573 gives 1000 leaves, 1374 nodes, unit edges, largest distance 26 and smallest 2, and
    no recipe.  This reconstruction meets all of them with ``cost="hops"``: WordNet 3.0 hypernyms, of several the most
    specific, unary nodes contracted.  Bins are the classes in ILSVRC order (sorted wnid, n01440764 to n15075141);
    ``labels`` are the wnids.

    Parameters
    ----------
    cost : {"hops", "unit"}
        Each edge costs the number of original links it stands for (diameter 26), or 1 (diameter 20).

    Returns
    -------
    Tree

    Raises
    ------
    ValueError
        Any other `cost`.

    Examples
    --------
    >>> import emdref
    >>> tree = emdref.wordnet_tree()
    >>> tree.n_nodes, tree.n_bins, tree.diameter
    (1374, 1000, 26.0)
    """
    validation.option(cost, "cost", Cost)
    rows = wordnet_rows()
    number = {row["wnid"]: v for v, row in enumerate(rows)}
    return Tree(
        [number.get(row["parent"], -1) for row in rows],
        [float(row["hops"]) for row in rows] if cost == "hops" else None,
        labels=list(number),
    )


def wordnet_rows() -> "list[dict[str, str]]":
    """The packaged table: wnid, parent, hops and label of each node, sorted by wnid."""
    text = files("emdref.spaces").joinpath("data/wordnet.tsv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))
