"""A sparse optimal transport plan between two histograms on a chain or a tree, for rho = 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from emdref.arguments import casts
from emdref.arguments.validation import Batch, Mass
from emdref.closed_form import batches
from emdref.kernels.compile.threads import alone
from emdref.kernels.trees import matching
from emdref.spaces.space import Space, rooted

if TYPE_CHECKING:
    from scipy import sparse

_WORK = 300  # nanoseconds that a node takes, about


def plan(p: ArrayLike, q: ArrayLike, space: Space, *, mass: Mass = "raise") -> sparse.csr_array:
    r"""Optimal transport plan of one pair for rho = 1: who sends how much mass to whom.

    .. math:: \min_{T \ge 0} \sum_{ij} T_{ij} M_{ij} \quad \text{with} \quad
       \sum_j T_{ij} = p_i, \quad \sum_i T_{ij} = q_j

    T[i, j] is the mass that goes from bin i of p to bin j of q, and M holds the distances between bins.  This is
    Kantorovich's problem; Eqs. (5) and (13) of arXiv 1611.07573 give its value.

    The plan has at most 2N - 1 entries.  What can stay stays: ``T[k, k] = min(p_k, q_k)``.  From the leaves up, each
    node then matches what is left of supply and demand below it, the oldest first.  On a chain that means in the order
    of the bins.  There are other optimal plans; this one is the same in every run.  It takes ``O(V)`` time and memory,
    without the matrix M.

    Parameters
    ----------
    p, q : (N,) arrays, both float32 or both float64 (integers below 2**53 count as float64)
        Histograms, >= 0: what there is, and where it shall be.
    space : Space
        One that is a rooted tree, as chains are.
    mass : {"raise", "normalize", "ignore"}
        As in `emdref.emd`.

    Returns
    -------
    (N, N) scipy.sparse.csr_array of the inputs' dtype
        In units of mass, whatever kind the inputs are of.  Column indices are sorted, there are no duplicates, and no
        zeros are stored; ``T.tocoo()`` gives triples.

        Bins are matched in exact integers, so that each entry is that of an exact plan rounded to the nearest float.
        Hence row k sums to p_k within ``eps p_k / 2`` and column k to q_k within ``eps q_k / 2``, and ``sum(T * M)`` is
        relatively within ``eps / 2`` of the exact EMD, before your own sums round.  With ``mass="normalize"`` entries
        are quotients: they are within 1 ulp, the sums within eps, and what is below the range of floats is left out.

        If the totals differ, by rounding or because of ``mass="ignore"``, the excess stays where it is.  The rows (if p
        has more) or columns (if q has) of some bins then sum to less, by ``p - T.sum(axis=1)`` or
        ``q - T.sum(axis=0)``.  It is what is left over at the root, on a chain in the last bins that have any.  The EMD
        counts its way to the root, which ``emdref.emd(p, q, space, mass="ignore") - (T * M).sum()`` tells.

    Raises
    ------
    TypeError, ValueError
        As `emdref.emd`, and for a batch: one pair at a time.

    Examples
    --------
    >>> import emdref
    >>> T = emdref.plan([0.5, 0.5, 0.0], [0.25, 0.0, 0.75], emdref.Chain(3))
    >>> T.toarray()
    array([[0.25, 0.  , 0.25],
           [0.  , 0.  , 0.5 ],
           [0.  , 0.  , 0.  ]])
    >>> (T * emdref.Chain(3).distance_matrix()).sum(), emdref.emd([0.5, 0.5, 0.0], [0.25, 0.0, 0.75], emdref.Chain(3))
    (np.float64(1.0), np.float64(1.0))
    """
    rows = batches.one(p, q, space, mass, "plan")
    return _matched(rows, space, mass == "normalize")


def _matched(rows: Batch, space: Space, normalize: bool) -> Any:
    from scipy import sparse  # here, because SciPy takes long to import and few need it

    tree = rooted(space, "plan", "matching along a tree", "emd and flow work on any space")
    dtype, n = rows.p.dtype, space.n_bins
    index = np.int32 if max(space.n_nodes, 2 * n) <= np.iinfo(np.int32).max else np.int64
    row, col, amount = np.empty(2 * n - 1, index), np.empty(2 * n - 1, index), np.empty(2 * n - 1)
    p, q = (x[0] for x in batches.as_float64(rows))
    bits = np.finfo(dtype).nmant + 1
    args = p, q, tree.parent, tree.bin_node, normalize, bits, row, col, amount
    count = alone(matching.plan, *args, work=_WORK * space.n_nodes)
    row, col, amount = row[:count], col[:count], casts.narrowed(amount[:count], dtype)
    if normalize:  # quotients may be below the range
        some = amount > 0
        row, col, amount = row[some], col[some], amount[some]
    return sparse.coo_array((amount, (row, col)), (n, n)).tocsr()
