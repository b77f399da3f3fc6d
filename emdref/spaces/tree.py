"""Rooted trees, from parents, edges, graphs, files, clusterings and points, and back."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emdref.arguments import validation
from emdref.arguments.casts import frozen, narrowed
from emdref.arguments.messages import shown
from emdref.kernels.tiles import one_limb, plain, single, two_limbs
from emdref.spaces import reading
from emdref.spaces.rooted import (
    MANY,
    RootedTree,
    fits_two_limbs,
    read_only,
    tree_diameter,
    tree_distances,
    tree_distances_from,
)
from emdref.spaces.space import SHORT, Edges, Immutable, Kernel, Space
from emdref.spaces.subtree import spanned

if TYPE_CHECKING:
    from emdref.spaces.dendrogram import Method
    from emdref.spaces.files.parts import Negative, Parts


class Tree(Immutable, Space):
    r"""A rooted tree with a bin at some of its nodes: classes, taxa, words.

    .. math:: \mathrm{EMD}^\rho(p, q) = \sum_v M_v \, |\phi_v|^\rho, \qquad
       \phi_v = \sum_{k \text{ at or under } v} (p_k - q_k)

    M_v is the cost of the edge from node v to its parent, and phi_v the mass of p - q at the bins at or under v:
    Section 4, Eqs. (13) and (14), of arXiv 1611.07573.

    Parameters
    ----------
    parent : (V,) array-like of integers
        Parent of each node, in any order.  The one root has -1 or its own index.
    cost : (V,) array-like, optional
        Cost M of the edge from each node to its parent, finite and >= 0; 1 by default.  The root's entry is ignored.
    bins : (N,) array-like of integers, optional
        Node of each bin, each node at most once; by default the leaves in ascending order.  An internal node stands
        for a leaf linked to it at no cost.
    labels : sequence of V hashables, optional
        Names of the nodes; their numbers by default.

    Attributes
    ----------
    parent, cost, labels : (V,) arrays, read-only
        In the caller's own node order.  The root has parent -1 and cost 0.
    bins : (N,) array, read-only
        The node of each bin.
    bin_labels : (N,) array, read-only
        The labels of these nodes, which labels of pandas must be.
    n_bins, n_nodes : int
        N and V.
    diameter : float
        The largest distance between two bins.
    edges : Edges
        All edges, in the order of `emdref.flow`.
    root : int
        The node without a parent.

    Raises
    ------
    TypeError, ValueError
        Cycles, no root or several, a parent out of range, a negative or non-finite cost, a bin out of range or given
        twice.  The message names the argument, the node and the value.

    Examples
    --------
    >>> import emdref
    >>> emdref.Tree([-1, 0, 0, 1, 1]).bins
    array([2, 3, 4])
    """

    parent: NDArray[np.int64]
    cost: NDArray[np.float64]
    bins: NDArray[np.int64]
    labels: NDArray[np.object_]
    rooted: RootedTree

    def __init__(
        self,
        parent: ArrayLike,
        cost: ArrayLike | None = None,
        bins: ArrayLike | None = None,
        labels: Sequence[Hashable] | None = None,
    ) -> None:
        labels = None if labels is None else list(validation.iterable(labels, "labels"))
        self._build(parent, cost, bins, labels, reading.by_number(labels))

    def _build(self, parent: Any, cost: Any, bins: Any, labels: Any, words: reading.Words) -> None:
        parents, root = reading.parents_of(parent, words)
        costs = reading.edge_costs_of(cost, parents, root, words)
        order, position = reading.breadth_first(parents, root, words)
        nodes = reading.bin_nodes(bins, parents, words)
        above = np.concatenate([[0], position[parents[order[1:]]]])
        self._set(
            parent=read_only(parents),
            cost=read_only(costs),
            bins=read_only(nodes),
            labels=read_only(reading.labels_of(labels, len(parents))),
            rooted=RootedTree(above, costs[order], position[nodes], order),
        )

    @property
    def n_bins(self) -> int:
        """Number of bins N, the length of a histogram."""
        return len(self.bins)

    @property
    def n_nodes(self) -> int:
        """Number of nodes V."""
        return len(self.parent)

    @property
    def edges(self) -> Edges:
        """From each node to its parent, in the tree's own order; the root's stands for none."""
        nodes = np.arange(self.n_nodes)
        return Edges(nodes, np.where(self.parent < 0, nodes, self.parent), self.cost)

    @property
    def bin_nodes(self) -> NDArray[np.int64]:
        """The node of each bin."""
        return self.bins

    @property
    def root(self) -> int:
        """The node without a parent."""
        return int(self.rooted.order[0])

    def kernel(self, rho: float, dtype: np.dtype[Any], accuracy: str, shares: bool) -> Kernel | None:
        """Tiles of rows, see emdref.kernels.tiles."""
        tree, nodes, large = self.rooted, self.n_nodes, self.n_nodes >= MANY
        if accuracy == "native":
            cost = tree.crossed_cost(shares)
            weight, cost = narrowed(cost * (tree.bins_below / self.n_bins), dtype), narrowed(cost, dtype)
            native = tree.parent, frozen(cost), frozen(weight), tree.bin_node, tree.empty, tree.inner
            row = Kernel(single.emd_tree, native, nodes) if large else None
            total = narrowed(np.float64(tree.total_cost), dtype)
            return Kernel(plain.emd_tree, (*native, total), nodes, row)
        if shares or not fits_two_limbs(rho, *tree.cost_range):
            return None
        below = frozen(tree.bins_below.astype(np.float64))
        shape = tree.parent, tree.cost, below, tree.exempt, tree.bin_node, tree.empty, tree.inner, tree.total_cost
        row = Kernel(single.emd_tree2, shape, 3 * nodes) if large else None
        if dtype == np.float32:
            return Kernel(one_limb.emd_tree1, (shape, float(tree.depth), tree.last_digit), 3 * nodes, row)
        return Kernel(two_limbs.emd_tree2, shape, 3 * nodes, row)

    diameter = cached_property(tree_diameter)
    distances_from = tree_distances_from
    _all_distances = tree_distances

    def edge_name(self, edge: int) -> str:
        """By the node below, and its label if it has one."""
        return f"the edge above node {self._node_name(edge)}"

    def _node_name(self, node: int) -> str:
        return str(node) if self._unnamed(node) else f"{node} ({shown(self.labels[node])})"

    def _unnamed(self, node: int) -> bool:
        """Whether the label is the number that nodes without labels have."""
        return isinstance(self.labels[node], int) and self.labels[node] == node

    def as_code(self) -> str | None:
        """Parents, costs and bins, if they are few."""
        if self.n_nodes > SHORT:
            return None
        return f"emdref.Tree({self.parent.tolist()}, {self.cost.tolist()}, bins={self.bins.tolist()})"

    def with_costs(self, cost: Any) -> Space:
        """The same tree at other costs, an entry a node; the root's is ignored.

        Examples
        --------
        >>> import emdref
        >>> emdref.Tree([-1, 0, 0]).with_costs([0, 1.5, 2])
        Tree(2 bins, 3 nodes, costs 1.5 to 2)
        """
        seen = self.rooted
        costs = reading.edge_costs_of(cost, self.parent, self.root, reading.Words("", self._node_name, ""))
        other = Tree.__new__(Tree)
        rooted = RootedTree(seen.parent, costs[seen.order], seen.bin_node, seen.order)
        other._set(parent=self.parent, cost=read_only(costs), bins=self.bins, labels=self.labels, rooted=rooted)
        return other

    def misreadings(self) -> Iterator[tuple[str, Space]]:
        """Costs that nobody looks at."""
        yield "with all costs 1", Tree(self.parent, bins=self.bins)

    def check(self) -> None:
        """Nothing is left to be looked at."""

    @property
    def bin_labels(self) -> NDArray[np.object_]:
        """Labels of the bins' nodes, in the order of the bins."""
        return read_only(self.labels[self.bins])

    def restrict(self, names: Iterable[Hashable]) -> Tree:
        """The subtree that some bins span: the root, these bins, and the nodes where ways between them meet.

        Other nodes go.  An edge that stands for several costs their sum, rounded once.  So no distance between the
        bins, or from them to the root, changes by more than that.

        Parameters
        ----------
        names : hashables
            Labels of bins, whose order the new tree's bins have.

        Returns
        -------
        Tree
            Nodes that stay keep their order and labels.

        Raises
        ------
        TypeError
            No sequence of hashables.
        ValueError
            Names that are unknown, twice, of another type than the labels (1 and "1") or that two bins share; a sum of
            costs beyond float64.

        Examples
        --------
        >>> import emdref
        >>> tree = emdref.Tree.from_newick("(((a:1,b:2):0.5,c:3):1,d:1)root;")
        >>> small = tree.restrict(["c", "a"])
        >>> small.cost.tolist(), small.distance_matrix()[0, 1]
        ([0.0, 1.0, 1.5, 3.0], np.float64(4.5))
        """
        bins = self.bins[self._find(names)].tolist()
        try:
            kept = spanned(self.parent, self.cost, bins)
        except OverflowError:
            raise ValueError(
                "costs of edges that would become one have a sum beyond float64: scale the costs"
            ) from None
        place = {v: k for k, v in enumerate(kept.nodes)}
        return Tree(kept.parent, kept.cost, [place[v] for v in bins], self.labels[kept.nodes].tolist())

    def _names(self) -> tuple[Sequence[Any], Sequence[Any]]:
        return self.bin_labels.tolist(), self.labels.tolist()

    @classmethod
    def from_edges(cls, edges: Iterable[tuple[Any, ...]], bins: Iterable[Hashable] | None = None) -> Tree:
        """Tree of (child, parent, cost) triples, or of (child, parent) pairs.

        Parameters
        ----------
        edges : iterable of tuples
            Ids of child and parent, any hashables, and the cost of the edge between them, 1 by default.
        bins : iterable of ids, or "all", optional
            The nodes that hold bins; by default the leaves.

        Returns
        -------
        Tree
            Nodes are numbered as they first appear, and the ids become the labels.

        Raises
        ------
        TypeError, ValueError
            What is no edge or no tree, naming the edge or the node: a second parent, a cycle, several roots.

        Examples
        --------
        >>> import emdref
        >>> tree = emdref.Tree.from_edges([("cat", "animal", 1.0), ("dog", "animal", 2.0)])
        >>> list(tree.bin_labels), tree.distance_matrix()[0, 1]
        (['cat', 'dog'], np.float64(3.0))
        """
        number: dict[Hashable, int] = {}
        above: dict[int, tuple[int, Any]] = {}
        for at, edge in enumerate(validation.iterable(edges, "edges")):
            if not isinstance(edge, (tuple, list, np.ndarray)) or len(edge) not in (2, 3):
                raise ValueError(f"edges[{at}] = {shown(edge)} is not a (child, parent, cost) triple")
            for k in (0, 1):
                reading.check_hashable(edge[k], f"edges[{at}][{k}]")
            child = number.setdefault(edge[0], len(number))
            parent = number.setdefault(edge[1], len(number))
            if child in above:
                name, first, second = (shown(x, 50) for x in (edge[0], list(number)[above[child][0]], edge[1]))
                if above[child][0] == parent:
                    raise ValueError(f"edges[{at}]: node {name} has its parent {second} twice: give each edge once")
                raise ValueError(
                    f"edges[{at}]: node {name} has a second parent {second}, and the first is {first}: a tree's node "
                    "has one, so keep one edge of each child, as docs/howto/trees.md shows"
                )
            above[child] = (parent, edge[2] if len(edge) == 3 else 1.0)
        if not number:
            raise ValueError("edges is empty: give at least one (child, parent, cost) triple")
        entries = [above.get(v, (-1, 0.0)) for v in range(len(number))]
        return cls._named("edges have", [p for p, _ in entries], [c for _, c in entries], list(number), bins)

    @classmethod
    def _named(cls, subject: str, parent: list[int], cost: list[Any], ids: list[Hashable], bins: Any) -> Tree:
        """Tree of numbered nodes whose ids are the labels; messages know nodes by their ids alone."""
        for x, c in zip(ids, cost, strict=True):
            reading.check_number(c, f"cost[{shown(x)}]")
        tree = cls.__new__(cls)
        words = reading.Words(subject, lambda v: shown(ids[v]), "have no parent")
        tree._build(parent, cost, reading.named_bins(bins, ids, words), ids, words)
        return tree

    @classmethod
    def from_networkx(
        cls, graph: Any, root: Hashable, weight: str = "cost", bins: Iterable[Hashable] | None = None
    ) -> Tree:
        """Tree of a networkx graph, directed or not, hung from a root.

        Parameters
        ----------
        graph : networkx.Graph or networkx.DiGraph
            A tree.
        root : hashable
            The node that it hangs from.
        weight : str
            The edge attribute that holds the cost.  If no edge has it every cost is 1; if only some have it that is an
            error.
        bins : iterable of nodes, or "all", optional
            The nodes that hold bins; by default the leaves.

        Returns
        -------
        Tree
            Nodes are numbered as in ``graph.nodes``, and their names become the labels.

        Raises
        ------
        TypeError, ValueError
            What is no graph of networkx or no tree, naming the node or edge; a root or bins that are not there.

        Examples
        --------
        >>> import emdref, networkx
        >>> graph = networkx.Graph([("pet", "cat"), ("pet", "dog")])
        >>> emdref.Tree.from_networkx(graph, root="pet")
        Tree(2 bins, 3 nodes, costs 1, labels 'cat', 'dog')
        """
        from emdref.spaces import graphs  # here, because few need it

        return cls._named("graph has", *graphs.read(graph, root, weight), bins)

    @classmethod
    def from_newick(
        cls,
        source: str | os.PathLike[str],
        *,
        bins: Sequence[Hashable] | None = None,
        index: int | str | None = None,
        negative: Negative = "raise",
    ) -> Tree:
        """Tree of Newick or NEXUS, from a text or from a file.

        A str is the text itself.  A path, as ``pathlib.Path(...)`` makes one, is a file in UTF-8, which may be
        compressed by gzip.

        Labels are the names as written, quotes removed and underscores kept; "" where there is none.  Support values
        that stand in the place of inner names are labels too.  Comments, in brackets that may be nested, are skipped:
        rooting marks, annotations of BEAST and NHX.  A byte-order mark at the start is skipped as well.

        Branch lengths are the costs.  If no branch has one every cost is 1.  If only some lack one those cost 0, as
        UniFrac's implementations count them, and a UserWarning says how many.  A length at the root is ignored.

        Of NEXUS the blocks TREES are read.  TRANSLATE names the tips, or else TAXLABELS those that are numbers; inner
        labels, which may be support values that look like tokens, stay as written.

        Parameters
        ----------
        source : str or path-like
            Text, or the path of a file.
        bins : sequence of labels, or "all", optional
            The nodes that hold bins, by name; by default the tips in the order they stand in the text.
        index : int or str, optional
            Which of several trees, from 0, or from -1 at the end; in NEXUS also a tree's name.
        negative : {"raise", "zero"}
            Neighbour joining gives negative lengths, which no cost can be: an error, or 0 and a UserWarning that says
            how many there were and the most negative.

        Returns
        -------
        Tree

        Raises
        ------
        ValueError
            Text that is not Newick, naming the character and what to do; several trees and no `index`, or one out of
            range; a negative length; a str that names an existing file; a file that is not UTF-8.
        OSError
            A file that cannot be read.

        Examples
        --------
        >>> import emdref
        >>> tree = emdref.Tree.from_newick("((a:1,b:2):0.5,c:3);")
        >>> list(tree.bin_labels), tree.distance_matrix()[0, 2]
        (['a', 'b', 'c'], np.float64(4.5))
        >>> emdref.Tree.from_newick("(a:1,b:2)r; (a:3,b:4)r;", index=1, bins=["r", "b"]).diameter
        4.0
        """
        from emdref.spaces.files import newick  # here, because few need it
        from emdref.spaces.files.parts import Negatives

        negatives = Negatives(negative)
        parts = newick.parse(newick.read(source), not isinstance(source, str), index, negatives)
        return cls._of_parts(parts, bins)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        bins: Sequence[Hashable] | None = None,
        index: int | str | None = None,
        negative: Negative = "raise",
    ) -> Tree:
        """Tree of a file of any kind that is known here, gzipped or not.

        What the file holds decides, not its name.  Text is UTF-8.

        - *Newick* and *NEXUS*: see `from_newick`.
        - *Edges*, ``parent child [cost]`` a line, apart by tabs, commas or blanks, or in the order that a first line
          ``child,parent,cost`` gives.  Lines that begin with ``#`` are skipped.
        - *Names with indices*, ``name parent_index [cost]`` a line; the index counts lines from 0, -1 is no parent.
          Several lines with -1 are joined under a new root, the last node, called "root".
        - *JSON*: node-link data of a directed graph, as ``networkx.node_link_data`` gives it, with costs in ``cost`` or
          ``weight``; or nested nodes with ``name`` (or ``id``) and ``children``, and costs in ``cost``, ``weight``,
          ``length`` or ``branch_length``.
        - *NumPy archives* (.npz): ``parent``, and ``cost``, ``bins`` and ``labels`` (or ``node``) if there are such, as
          `Tree` takes them.  Nothing is unpickled.

        Labels are the file's names, costs 1 where it has none, bins the leaves in the file's order.

        Parameters
        ----------
        path : str or path-like
            The file.
        bins, index, negative
            As in `from_newick`; `index` for Newick and NEXUS alone.

        Returns
        -------
        Tree

        Raises
        ------
        OSError
            A file that is missing or cannot be read.
        ValueError
            Naming the file, the line or entry, what was found and the way out; other formats by their names.

        Examples
        --------
        >>> import emdref, tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "pets.txt")
        ...     _ = path.write_text("child,parent,cost\\ncat,pet,1\\ndog,pet,2\\n")
        ...     tree = emdref.Tree.from_file(path)
        >>> list(tree.bin_labels), tree.diameter
        (['cat', 'dog'], 3.0)
        """
        from emdref.spaces.files import reader  # here, because few need it
        from emdref.spaces.files.parts import Negatives

        parts = reader.read(path, index, Negatives(negative))
        return cls._of_parts(parts, bins, lambda error: reader.told(path, error))

    @classmethod
    def from_skbio(cls, node: Any, *, bins: Sequence[Hashable] | None = None, negative: Negative = "raise") -> Tree:
        """Tree of a scikit-bio ``TreeNode``, the root.

        Bins are its tips, costs the lengths, labels the names.  Nodes are numbered in preorder, so that tips stand in
        the order of ``node.tips()``.  A name that is None becomes "".  If no node has a length every cost is 1.  If
        only some lack one those cost 0, and a UserWarning says how many.  A length of `node` itself is ignored.

        Parameters
        ----------
        node : skbio.TreeNode
            Or whatever has its attributes ``children``, ``name`` and ``length``; scikit-bio is not imported.
        bins, negative
            As in `from_newick`.

        Returns
        -------
        Tree

        Raises
        ------
        TypeError
            No such node.
        ValueError
            A length that is negative or not finite, naming the node; a node that is there twice.

        Examples
        --------
        >>> import emdref
        >>> from types import SimpleNamespace as Node  # in place of skbio.TreeNode
        >>> tips = [Node(name="a", length=1.0, children=[]), Node(name="b", length=2.5, children=[])]
        >>> emdref.Tree.from_skbio(Node(name=None, length=None, children=tips))
        Tree(2 bins, 3 nodes, costs 1 to 2.5, labels 'a', 'b')
        """
        from emdref.spaces import skbio  # here, because few need it
        from emdref.spaces.files.parts import Negatives

        return cls._of_parts(skbio.parts(node, Negatives(negative)), bins)

    @classmethod
    def _of_parts(cls, parts: Parts, bins: Any, told: Callable[[Exception], Exception] | None = None) -> Tree:
        """Tree of what a file says; `told` makes another error of what is wrong with it."""
        labels = range(len(parts.parent)) if parts.labels is None else parts.labels
        nodes = reading.named_bins(bins, labels, reading.by_number(parts.labels))
        try:
            tree = cls(parts.parent, parts.cost, parts.bins if nodes is None else nodes, parts.labels)
        except (TypeError, ValueError) as error:
            raise (told(error) if told else error) from None
        for note in parts.notes:
            warnings.warn(note, UserWarning, stacklevel=3)
        return tree

    def to_newick(self) -> str:
        """The tree as Newick text: nodes, costs and labels.

        `from_newick` reads the same tree from it.

        Children stand in ascending order of their numbers, costs as ``repr`` writes them, so that they are read back
        bit for bit.  Labels are written as text, in single quotes unless they hold letters, digits and ``-.+|/`` alone,
        for many readers take a bare underscore for a blank; None and "" are no name.  A label that is the node's own
        number, which nodes have that were given none, is written if the node is a tip or a bin.

        Which nodes hold bins is not written: `from_newick` puts bins at the tips in the order of the text, or where
        its ``bins=`` says, ``bins=[str(x) for x in tree.bin_labels]`` for example.

        Examples
        --------
        >>> import emdref
        >>> tree = emdref.Tree([-1, 0, 0], [0, 0.1, 2], labels=["root", "Homo_sapiens", "it's"])
        >>> tree.to_newick()
        "('Homo_sapiens':0.1,'it''s':2.0)root;"
        >>> emdref.Tree([-1, 0, 0, 1, 1]).to_newick()
        '((3:1.0,4:1.0):1.0,2:1.0);'
        """
        from emdref.spaces.files import newick_text

        shown_number = np.bincount(self.parent[self.parent >= 0], minlength=self.n_nodes) == 0
        shown_number[self.bins] = True
        names = [None if self._unnamed(v) and not shown_number[v] else x for v, x in enumerate(self.labels)]
        return newick_text.write(self.parent, self.cost, names)

    def to_networkx(self) -> Any:
        """The tree as a ``networkx.DiGraph``.

        Edges lead from parent to child and have the attribute ``cost``.  Nodes are the labels, in the tree's own order,
        if these differ from one another and None is not among them; else numbers, with the attribute ``label``.  A node
        with a bin has its index as the attribute ``bin``.

        ``Tree.from_networkx(graph, tree.labels[tree.root])`` (``tree.root`` if nodes are numbers) gives the same nodes,
        costs and labels; bins at the leaves in their order, or where its ``bins=`` says.

        Raises
        ------
        ImportError
            If networkx is not installed.

        Examples
        --------
        >>> import emdref
        >>> graph = emdref.Tree([-1, 0, 0], [0, 1.5, 2], labels=["pet", "cat", "dog"]).to_networkx()
        >>> list(graph.edges(data="cost")), list(graph.nodes(data="bin"))
        ([('pet', 'cat', 1.5), ('pet', 'dog', 2.0)], [('pet', None), ('cat', 0), ('dog', 1)])
        """
        from emdref.spaces import graphs  # here, because few need it

        return graphs.written(self.parent, self.cost, self.bins, self.labels)

    @classmethod
    def from_linkage(cls, Z: ArrayLike, labels: Iterable[Hashable] | None = None) -> Tree:
        r"""Tree of a hierarchical clustering, such as SciPy makes.

        .. math:: M_v = \frac{h_{\mathrm{parent}(v)} - h_v}{2}

        is the cost of the edge above node v, where h is the height of a merge, and 0 for an observation.  Distances are
        thus the cophenetic ones: the heights at which bins merge.

        Parameters
        ----------
        Z : (n-1, 4) array-like
            The linkage matrix, as `scipy.cluster.hierarchy.linkage` gives it: row i merges clusters Z[i, 0] and Z[i, 1]
            into cluster n + i, at height Z[i, 2].
        labels : n hashables, optional
            Names of the observations; by default their numbers.

        Returns
        -------
        Tree
            Of 2n-1 nodes.  Bins are the observations 0 to n-1; node n + i is merge i, the last one the root.  With
            `labels` the merges have the label "".

        Raises
        ------
        TypeError, ValueError
            What is no linkage, naming the row; heights that decrease, as those of centroid and median linkage do,
            naming the merge and by how much.

        Examples
        --------
        >>> import emdref
        >>> from scipy.cluster.hierarchy import linkage
        >>> tree = emdref.Tree.from_linkage(linkage([[0.0], [1.0], [5.0]], "average"), ["a", "b", "c"])
        >>> tree.distance_matrix()
        array([[0. , 1. , 4.5],
               [1. , 0. , 4.5],
               [4.5, 4.5, 0. ]])
        """
        from emdref.spaces import dendrogram  # here, because few need it

        return cls._clustered(*dendrogram.of_linkage(Z), labels)

    @classmethod
    def from_points(cls, X: ArrayLike, method: Method = "average", labels: Iterable[Hashable] | None = None) -> Tree:
        """Tree over points of an embedding, by hierarchical clustering.

        Its distances approximate the Euclidean ones.  It is `from_linkage` of SciPy's linkage of the points.  No tree
        has the distances of points in general, and none of these promises how far they are off.  Measured numbers are
        in docs/howto/trees.md.

        Parameters
        ----------
        X : (n, d) array-like
            Coordinates, one point a row.
        method : {"average", "single", "complete", "weighted"}
            Which distance between two clusters is the height at which they merge.  ``average``: the mean over pairs, so
            that distances on the tree are right in the mean.  ``single``: the least, so that no distance on the tree,
            and no EMD (rho = 1), is larger than between the points.  ``complete``: the largest, so that none is
            smaller.  ``weighted``: the mean of the means.
        labels : n hashables, optional
            Names of the points; by default their numbers.

        Returns
        -------
        Tree
            Of 2n-1 nodes, whose bins are the points in their order.

        Raises
        ------
        TypeError, ValueError
            Coordinates that are not finite, naming the point; an unknown method.

        Notes
        -----
        Takes ``O(n^2)`` time and ``8 n^2 / 2`` bytes.

        Examples
        --------
        How far the distances are off, as ratios to the Euclidean ones:

        >>> import emdref, numpy as np
        >>> from scipy.spatial.distance import pdist, squareform
        >>> X = np.random.default_rng(0).normal(size=(300, 2))
        >>> ratio = squareform(emdref.Tree.from_points(X).distance_matrix()) / pdist(X)
        >>> [round(float(x), 2) for x in np.quantile(ratio, [0, 0.5, 1])]
        [0.38, 1.02, 13.64]
        """
        from emdref.spaces import dendrogram

        return cls._clustered(*dendrogram.of_points(X, method), labels)

    @classmethod
    def _clustered(cls, parent: NDArray[np.int64], cost: NDArray[np.float64], labels: Any) -> Tree:
        """Tree whose first half are the bins."""
        n = len(parent) // 2 + 1
        if labels is not None:
            labels = list(validation.iterable(labels, "labels"))
            if len(labels) != n:
                raise ValueError(f"labels has {len(labels)} entries for {n} observations: give one for each")
            labels += [""] * (n - 1)
        return cls(parent, cost, np.arange(n), labels)

    def _content(self) -> tuple[NDArray[Any], ...]:
        return self.parent, self.cost, self.bins, self.labels

    def __reduce__(self) -> tuple[Any, ...]:
        return Tree, (np.array(self.parent), np.array(self.cost), np.array(self.bins), list(self.labels))

    def __repr__(self) -> str:
        said = [f"{self.n_bins} bins", f"{self.n_nodes} nodes"]
        costs = self.rooted.cost[1:]
        if len(costs):
            least, most = f"{costs.min():.3g}", f"{costs.max():.3g}"
            said.append(f"costs {least}" if least == most else f"costs {least} to {most}")
        first = [shown(self.labels[v], 12) for v in self.bins[:2] if not self._unnamed(v)]
        if first:
            said.append(f"labels {', '.join(first)}" + ", ..." * (self.n_bins > 2))
        return f"Tree({', '.join(said)})"
