"""Other people's implementations, each wrapped once: for accuracy, for `emdref.check` and for speed.

A wrapper imports its package only when it is asked for, so that one that is missing is an ImportError for the caller to
report, and prepares whatever does not depend on the histograms (positions, incidence matrices, trees).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from typing import Any

import numpy as np
from scipy import sparse

import emdref

INSTALL = "pip install 'emdref[peers]'"
Pair = Callable[[Any, Any], Any]  # one pair of histograms to a value


def missing(error: ImportError | PackageNotFoundError) -> str:
    """What a table says of a package that cannot be imported."""
    return f"not installed: {INSTALL} ({error})"


def version_of(package: str) -> str:
    """The installed version, or nothing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


# --- one pair at a time -----------------------------------------------------------------------------------------------


def cumsum_of_difference(p: Any, q: Any) -> Any:
    """NumPy's sum of |phi|, unit gaps, p - q first."""
    return np.abs(np.cumsum(p - q)[:-1]).sum()


def difference_of_cumsums(p: Any, q: Any) -> Any:
    """NumPy's sum of |phi|, unit gaps, p and q apart."""
    return np.abs(np.cumsum(p) - np.cumsum(q)).sum()


def scipy_distance(positions: Any) -> Pair:
    """SciPy's wasserstein_distance, which normalises."""
    from scipy.stats import wasserstein_distance

    return lambda p, q: wasserstein_distance(positions, positions, p, q)


def pot(name: str, positions: Any, **options: Any) -> Pair:
    """POT's one-dimensional distance of that name."""
    import ot

    return lambda p, q: getattr(ot, name)(positions, positions, p, q, **options)


def pot_torch(name: str, size: int, **options: Any) -> Pair:
    """The same on torch tensors, with a gradient with respect to p."""
    import ot
    import torch

    bins = torch.arange(size, dtype=torch.float64)
    return lambda p, q: getattr(ot, name)(bins, bins, p.requires_grad_(True), q, **options)


def pot_plan(cost: Any) -> Pair:
    """POT's network simplex, with any cost matrix."""
    import ot

    return lambda p, q: ot.emd2(p, q, cost)


def nima() -> Pair:
    """Talebi and Milanfar (2018): the r-th root of the mean of |CDF difference|^r, r = 2, batched."""
    import torch

    def loss(p: Any, q: Any) -> Any:
        difference = torch.cumsum(q, dim=1) - torch.cumsum(p.requires_grad_(True), dim=1)
        return torch.sqrt(torch.mean(torch.abs(difference) ** 2, dim=1)).mean()

    return loss


def pot_sinkhorn(cost: Any, lam: float, method: str = "sinkhorn", **options: Any) -> Pair:
    """POT's transport plan by ot.sinkhorn."""
    import ot

    return lambda p, q: ot.sinkhorn(p, q, cost, 1 / lam, method=method, warn=False, **options)


def ott_sinkhorn(cost: Any, lam: float, max_iter: int, **options: Any) -> Pair:
    """OTT's value and potential f, in float64; scale_cost goes to its geometry, all else to its solver."""
    import jax
    from ott.geometry.geometry import Geometry
    from ott.problems.linear.linear_problem import LinearProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn

    jax.config.update("jax_enable_x64", True)
    scale = {key: options.pop(key) for key in ("scale_cost",) if key in options}
    solver = Sinkhorn(max_iterations=max_iter, **options)

    def both(p: Any, q: Any) -> Any:
        out = solver(LinearProblem(Geometry(cost_matrix=jax.numpy.asarray(cost), epsilon=1 / lam, **scale), a=p, b=q))
        return out.reg_ot_cost, out.f

    return jax.jit(both)


def geomloss_sinkhorn(positions: Any, lam: float, **options: Any) -> Pair:
    """GeomLoss' SamplesLoss("sinkhorn") of points on a line, blur = 1 / lam; a value that autograd differentiates."""
    import torch
    from geomloss import SamplesLoss

    loss = SamplesLoss("sinkhorn", p=1, blur=1 / lam, backend="tensorized", **options)
    x = torch.as_tensor(positions, dtype=torch.float64)[:, None]
    return lambda p, q: loss(p, x, q, x)


def unifrac(newick: str, taxa: Sequence[str], **options: Any) -> Pair:
    """scikit-bio's weighted UniFrac of counts; it cuts fractions off."""
    import skbio
    from skbio.diversity.beta import weighted_unifrac

    tree, names = skbio.TreeNode.read(StringIO(newick), format="newick"), list(taxa)
    return lambda p, q: weighted_unifrac(p, q, taxa=names, tree=tree, **options)


def as_counts(*rows: Any) -> list[Any]:
    """Histograms as whole numbers up to 2^52, the largest a float64 can tell apart."""
    top = max(x.max() for x in rows)
    return [np.floor(x.astype(np.float64) / top * 2**52).astype(np.int64) for x in rows]


def refusal_is_nan(distance: Pair) -> Pair:
    """POT refuses totals that differ by rounding if they are large."""

    def value(p: Any, q: Any) -> float:
        try:
            return distance(p, q)
        except AssertionError:
            return math.nan

    return value


# --- incidence --------------------------------------------------------------------------------------------------------


def incidence(space: emdref.Chain | emdref.Tree, dtype: Any) -> tuple[sparse.csr_array, Any]:
    """(edges, bins), 1 where a bin is below an edge; and the edges' costs."""
    tree = space.to_tree() if isinstance(space, emdref.Chain) else space
    at, bins, edges, columns = np.array(tree.bins), np.arange(tree.n_bins), [], []
    while len(at):
        inner = tree.parent[at] >= 0
        at, bins = at[inner], bins[inner]
        edges.append(at)
        columns.append(bins)
        at = tree.parent[at]
    place = np.concatenate(edges), np.concatenate(columns)
    shape = (tree.n_nodes, tree.n_bins)
    return sparse.csr_array((np.ones(len(place[0]), dtype), place), shape=shape), tree.cost.astype(dtype)
