"""Weighted UniFrac of the samples of a count table: EMD^rho on a phylogeny, by the names of its tips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emdref.arguments import casts, containers, libraries, naming, validation
from emdref.arguments.messages import shown, type_name, written
from emdref.arguments.validation import Accuracy
from emdref.functions.pairwise import of_all_pairs
from emdref.spaces import Space, Tree
from emdref.spaces.space import rooted


class _Table(NamedTuple):
    """Counts with a row a sample, and the names of rows and columns as far as they have any."""

    counts: Any
    samples: Sequence[Any] | None = None
    taxa: Sequence[Any] | None = None
    turned: bool = False  # whether whoever gave it sees samples in columns

    def cell(self, sample: int, taxon: int | None = None) -> str:
        """How a message calls an entry, or all entries of a sample."""
        row = sample if self.samples is None else shown(self.samples[sample], 40)
        column = ":" if taxon is None else taxon if self.taxa is None else shown(self.taxa[taxon], 40)
        return f"table[{column}, {row}]" if self.turned else f"table[{row}, {column}]"


def unifrac(
    table: ArrayLike,
    tree: Space,
    *,
    normalized: bool = False,
    rho: float = 1,
    accuracy: Accuracy = "compensated",
    progress: bool = False,
) -> Any:
    r"""Weighted UniFrac between all samples of a count table, or its relatives with another exponent.

    .. math:: u = \sum_e M_e \, |P_e - Q_e|^\rho, \qquad
       u_{\text{normalized}} = \frac{u}{\sum_k d_k \, (p_k + q_k)}

    p and q are the counts of two samples divided by their totals.  P_e and Q_e are what of them is at the tips below
    branch e, M_e is the length of e, and d_k is the distance of tip k from the root.

    For rho = 1 this is the weighted UniFrac of Lozupone et al. (2007): the Earth Mover's Distance on the tree, Eq. (13)
    of arXiv 1611.07573.  Only for rho = 1 it can be normalised, and is then between 0 and 1.  Other powers rho are the
    phylogenetic Kantorovich-Rubinstein metrics of Evans and Matsen (2012), without the root 1/rho that they take in the
    end.  At rho = 2 they are the squared distances of double principal coordinate analysis (DPCoA) on the square roots
    of the tips' distances (Pavoine et al. 2004).

    Unweighted UniFrac is no EMD and not offered.  Which published implementation computes what is told in
    docs/understand/unifrac.md.

    Parameters
    ----------
    table : (n, N) table of counts or abundances >= 0, a row a sample
        A pandas DataFrame meets the tree by name.  Its columns are names of tips, in any order.  They need not be all
        of them, for the tree is cut down to them by ``tree.restrict(table.columns)``.  A table of the package
        biom-format, which has taxa in rows, meets the tree by name as well.  An array, a scipy.sparse matrix, or a
        DataFrame whose columns only count, has the tree's bins as columns, in their order.  Float32 or float64;
        integers below 2**53 count as float64.
    tree : Tree
        Rooted as it is given.  A length at the root itself is not counted.
    normalized : bool
        Divide by the largest value that samples with tips so far from the root can have.
    rho : float
        Finite and >= 1; 1 if `normalized`, as no source defines another.
    accuracy : {"compensated", "native"}
        As in `pairwise`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    (n, n) array of the counts' dtype (float64 of integers), symmetric, 0 on the diagonal
        In the unit of the branches' lengths; normalised, without unit and at most 1.

        Compensated, u is within 1 ulp of the exact number for the counts and lengths as they are.  Normalised, the
        relative error is within 3 eps: u and the distances of both samples from the root have 2^-52 each, their sum and
        the quotient half of that (float32 is rounded from float64 at the end).  Where a table's names cut the tree
        down, branches that become one are rounded once.  That adds 2^-53 to u, and 2^-52 to what is normalised.

        Two samples that have all their counts at the root, or at no distance from it, are at distance 0, also
        normalised, where the quotient is 0 / 0.

    Raises
    ------
    TypeError, ValueError
        A sample without counts, a count that is negative or not finite, with the names of sample and taxon; columns
        that are unknown to the tree, or there twice; another number of columns than bins; normalised with rho other
        than 1; a `tree` without a root.

    Warns
    -----
    RuntimeWarning
        Once, if an entry is beyond the dtype's range (it is inf then).

    References
    ----------
    Lozupone, Hamady, Kelley, Knight, Appl. Environ. Microbiol. 73, 1576 (2007); Evans, Matsen, J. R. Stat. Soc. B 74,
    569 (2012); Pavoine, Dufour, Chessel, J. Theor. Biol. 228, 523 (2004).

    Examples
    --------
    >>> import emdref
    >>> tree = emdref.Tree.from_newick("((a:1,b:2):0.5,c:3);")
    >>> emdref.unifrac([[3, 1, 0], [0, 0, 8]], tree)
    array([[0.  , 4.75],
           [4.75, 0.  ]])
    >>> import pandas
    >>> table = pandas.DataFrame({"c": [0, 8, 4], "a": [3, 0, 4]}, index=["s1", "s2", "s3"])
    >>> emdref.unifrac(table, tree, normalized=True)
    array([[0.        , 1.        , 0.6       ],
           [1.        , 0.        , 0.42857143],
           [0.6       , 0.42857143, 0.        ]])
    """
    rho = validation.exponent(rho)
    if validation.switch(normalized, "normalized") and rho != 1:
        raise ValueError(f"normalized=True is defined for rho=1 alone, not rho={rho:g}: give normalized=False")
    if not isinstance(tree, Space):
        raise TypeError(f"tree must be an emdref.Tree, not {type_name(tree)}: {_ways_to_a_tree(tree)}")
    rooted(tree, "unifrac", "a root", "emdref.pairwise works on any space")
    given = _read(table)
    if given.taxa is not None:
        tree = _restricted(tree, given)
    counts = _checked(given, tree)
    options: Any = {"rho": rho, "mass": "normalize", "accuracy": accuracy, "progress": progress}
    distances = _normalized(counts, tree, options) if normalized else of_all_pairs(counts, tree, **options)
    return libraries.taken(distances, libraries.home({"table": table}))


def _ways_to_a_tree(tree: Any) -> str:
    if isinstance(tree, str):
        return "Tree.from_newick reads Newick text, and a file that is named by a pathlib.Path"
    return "Tree.from_newick, from_edges, from_networkx and from_skbio make one"


# --- input ------------------------------------------------------------------------------------------------------------


def _read(table: Any) -> _Table:
    """What was given, a row a sample."""
    if hasattr(table, "matrix_data") and callable(getattr(table, "ids", None)):  # biom-format: taxa in rows
        samples, taxa = (np.asarray(table.ids(axis=axis)).tolist() for axis in ("sample", "observation"))
        return _Table(table.matrix_data.T, samples, taxa, turned=True)
    if containers.is_frame(table):
        return _Table(_numbers(table), containers.names_of(table.index), containers.names_of(table.columns))
    if hasattr(table, "columns") or hasattr(table, "column_names"):  # polars, pyarrow
        raise TypeError(f"table is a {type_name(table)}, whose names of columns are not read: give table.to_pandas()")
    return _Table(table if containers.is_sparse(table) else validation.histogram(table, "table"))


def _numbers(frame: Any) -> NDArray[Any]:
    """Entries of a DataFrame, all of whose columns hold numbers."""
    for name, dtype in zip(frame.columns, frame.dtypes, strict=True):
        if getattr(dtype, "kind", "O") not in "iuf":
            raise TypeError(f"table[{shown(name, 40)}] has dtype {written(dtype)}: give numbers, or drop this column")
    return validation.histogram(frame, "table")


def _restricted(tree: Any, table: _Table) -> Space:
    """The tree that the columns span."""
    if not hasattr(tree, "restrict"):
        raise TypeError(f"table has names and tree={shown(tree)} has none: give table.to_numpy() in the bins' order")
    labels, names = tree.bin_labels.tolist(), naming.listed(table.taxa, _columns(table))
    known = set(labels)
    if table.samples and known.isdisjoint(names) and known.issuperset(table.samples):
        raise ValueError("table has the tree's tips in its rows, and samples belong there: give table.T")
    among = naming.Sought("bin", str, "sum or drop what is given twice", nodes=getattr(tree, "labels", ()))
    naming.find(names, labels, _columns(table), among)
    return tree.restrict(names)


def _columns(table: _Table) -> str:
    return 'table.ids(axis="observation")' if table.turned else "table.columns"


def _checked(table: _Table, tree: Space) -> Any:
    """The counts, which are >= 0 and finite, and some in each sample."""
    counts, shape = table.counts, table.counts.shape
    if len(shape) != 2:
        raise ValueError(f"table has shape {written(shape)}, it must have two axes: a row a sample, a column a tip")
    if shape[1] != tree.n_bins:
        way_out = "table.T has them" if shape[0] == tree.n_bins else "tree.restrict(names) keeps those of these names"
        raise ValueError(
            f"table has {shape[1]} columns and the tree {tree.n_bins} bins: {way_out}, and a DataFrame with named "
            "columns meets the tree by name"
        )
    if containers.is_sparse(counts):
        row, column, data = containers.coordinates(counts, "table")
        data = validation.histogram(data, "table")
        total = np.bincount(row, data != 0, shape[0])
    else:
        row, column = np.indices(shape, sparse=True)
        data, total = counts, counts.any(axis=1)
    bad = ~((data >= 0) & (data < np.inf))
    if bad.any():
        i, k = (int(np.broadcast_to(x, bad.shape)[bad][0]) for x in (row, column))
        raise ValueError(f"{table.cell(i, k)} = {data[bad][0]}: a count is finite and >= 0")
    if not total.all():
        raise ValueError(f"{table.cell(int(np.argmin(total)))}, a sample, has no counts: leave it out")
    return counts


# --- normalised -------------------------------------------------------------------------------------------------------


def _normalized(counts: Any, tree: Space, options: Any) -> NDArray[Any]:
    """Divided by the samples' distances from the root, which are EMDs as well: to a sample that is there as a whole.

    Costs are taken in units of a power of two, so that nothing can overflow, nor be lost unless its range is 2^1900.
    """
    view = rooted(tree, "unifrac", "a root", "")
    bins = view.bin_node.tolist()
    root = bins.index(0) if 0 in bins else len(bins)
    extended = _with_root(counts, root)
    parent = np.where(np.arange(view.n_nodes) == 0, -1, view.parent)
    least, most = (math.frexp(x)[1] for x in view.cost_range)
    cost = np.ldexp(view.cost, -max((least + most) // 2, most - 900))
    distances = of_all_pairs(extended, Tree(parent, cost, bins if root < len(bins) else [*bins, 0]), **options)
    value, depth = distances[:-1, :-1], distances[:-1, -1]
    both = depth[:, None] + depth
    quotient = np.divide(value, both, out=np.zeros_like(value), where=both > 0)
    dtype = counts.dtype if counts.dtype == np.float32 else np.float64
    return casts.narrowed(np.minimum(quotient, 1.0), dtype)


def _with_root(counts: Any, root: int) -> Any:
    """The counts in float64 and, after them, a sample that is all in the root's bin, which may be a new one."""
    n, width = counts.shape
    shape = n + 1, max(width, root + 1)
    if containers.is_sparse(counts):
        from scipy import sparse  # who has a sparse matrix has imported it

        row, column, data = containers.coordinates(counts, "table")
        data = np.append(data.astype(np.float64), 1.0)
        return sparse.coo_array((data, (np.append(row, n), np.append(column, root))), shape)
    out = np.zeros(shape)
    out[:n, :width] = counts
    out[n, root] = 1.0
    return out
