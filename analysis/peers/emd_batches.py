"""Who else computes EMD and EMD^2 of batches, on which spaces, and how its answer is read.

Costs, incidence matrices, trees and compiled functions are made before anything is timed; so are the copies that a
package needs of the histograms (JAX arrays, whole numbers for scikit-bio).  Gradients are each package's own, with
respect to p and not centred.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import emdref
from analysis.peers import wrappers

VALUE, BOTH = "EMD value", "EMD^2 value and gradient"
RHO = {VALUE: 1, BOTH: 2}
Space = emdref.Chain | emdref.Tree


class Prepared(NamedTuple):
    """A function of a batch, and what happens before and after it, outside the timing."""

    call: Callable[..., Any]  # of what `enter` made of p and q, (rows, N) each
    enter: Callable[[Any, Any], tuple[Any, ...]] = lambda p, q: (p, q)
    leave: Callable[[Any], tuple[Any, Any]] = lambda answer: answer if isinstance(answer, tuple) else (answer, None)


class Peer(NamedTuple):
    """An implementation; `make(space, dtype, task)` raises ImportError where its package is missing."""

    name: str
    package: str
    make: Callable[[Space, Any, str], Prepared]
    spaces: tuple[str, ...] = ("chain", "tree")
    tasks: tuple[str, ...] = (VALUE, BOTH)
    first: bool = True  # subtracts before it sums
    most: float = np.inf  # bins
    why: str = ""  # not more
    by_pair: bool = False  # a loop in Python over the rows


def _arrays(push: Callable, pull: Callable, cost: Any, task: str) -> Prepared:
    """EMD by flows = push(p - q), gradient by pull(slopes)."""

    def value(p: Any, q: Any) -> Any:
        phi = push(p - q)
        return np.abs(phi).sum(axis=1) if cost is None else np.abs(phi) @ cost

    def both(p: Any, q: Any) -> Any:
        phi = push(p - q)
        slope = phi if cost is None else phi * cost
        return np.einsum("ij,ij->i", slope, phi), pull(slope + slope)

    return Prepared(value if task == VALUE else both)


def _gaps(chain: emdref.Chain, dtype: Any) -> Any:
    """None if all are 1 and need no product."""
    return None if (chain.gaps == 1).all() else chain.gaps.astype(dtype)


def flows(d: Any) -> Any:
    """NumPy's flows on a chain, d = p - q."""
    return np.cumsum(d, axis=1)[:, :-1]


def sums_above(slope: Any) -> Any:
    """NumPy's raw gradient on a chain, of the slope of each edge."""
    grad = np.zeros((len(slope), slope.shape[1] + 1), slope.dtype)
    np.cumsum(slope[:, ::-1], axis=1, out=grad[:, -2::-1])
    return grad


def _cumsum(chain: emdref.Chain, dtype: Any, task: str) -> Prepared:
    return _arrays(flows, sums_above, _gaps(chain, dtype), task)


def _dense(space: Space, dtype: Any, task: str) -> Prepared:
    matrix, cost = wrappers.incidence(space, dtype)
    edges = np.flatnonzero(np.diff(matrix.indptr) * cost)
    below = matrix[edges].toarray()
    above = np.ascontiguousarray(below.T)
    return _arrays(lambda d: d @ above, lambda slope: slope @ below, cost[edges], task)


def _sparse(space: Space, dtype: Any, task: str) -> Prepared:
    below, cost = wrappers.incidence(space, dtype)
    above = below.T.tocsr()
    return _arrays(lambda d: (below @ d.T).T, lambda slope: (above @ slope.T).T, cost, task)


def _torch(push: Callable, cost: Any, task: str) -> Prepared:
    import torch

    torch.set_num_threads(1)

    def value(p: Any, q: Any) -> Any:
        with torch.no_grad():
            phi = push(p - q).abs()
            return phi.sum(1) if cost is None else phi @ cost

    def both(p: Any, q: Any) -> Any:
        p = p.detach().requires_grad_(True)
        phi = push(p - q)
        each = (phi * phi if cost is None else phi * phi * cost).sum(1)
        each.sum().backward()
        return each.detach(), p.grad

    return Prepared(
        value if task == VALUE else both,
        lambda *rows: tuple(map(torch.from_numpy, rows)),
        lambda answer: tuple(x.numpy() for x in answer) if isinstance(answer, tuple) else (answer.numpy(), None),
    )


def _torch_cumsum(chain: emdref.Chain, dtype: Any, task: str) -> Prepared:
    import torch

    gaps = _gaps(chain, dtype)
    return _torch(lambda d: torch.cumsum(d, 1)[:, :-1], None if gaps is None else torch.from_numpy(gaps), task)


def _torch_sparse(space: Space, dtype: Any, task: str) -> Prepared:
    import torch

    matrix, cost = wrappers.incidence(space, dtype)
    place = torch.from_numpy(np.stack(matrix.nonzero()).astype(np.int64))
    values = torch.from_numpy(matrix.data)
    below = torch.sparse_coo_tensor(place, values, matrix.shape, check_invariants=False).coalesce()
    return _torch(lambda d: torch.sparse.mm(below, d.T).T, torch.from_numpy(cost), task)


def _by_pair(pair: wrappers.Pair) -> Prepared:
    return Prepared(lambda p, q: np.array([pair(a, b) for a, b in zip(p, q, strict=True)]))


def _positions(chain: emdref.Chain) -> Any:
    return np.concatenate([[0.0], np.cumsum(chain.gaps)])


def _scipy(chain: emdref.Chain, dtype: Any, task: str) -> Prepared:
    return _by_pair(wrappers.scipy_distance(_positions(chain)))


def _pot(name: str, **options: Any) -> Callable[..., Prepared]:
    return lambda chain, dtype, task: _by_pair(wrappers.pot(name, _positions(chain), **options))


def _pot_batch(chain: emdref.Chain, dtype: Any, task: str) -> Prepared:
    """wasserstein_1d takes a batch as columns, positions too."""
    import ot

    def enter(p: Any, q: Any) -> tuple[Any, ...]:
        bins = np.repeat(_positions(chain)[:, None], len(p), axis=1)
        return bins, p.T.copy(), q.T.copy()

    return Prepared(lambda bins, p, q: ot.wasserstein_1d(bins, bins, p, q, p=1, require_sort=False), enter)


def _pot_plan(space: Space, dtype: Any, task: str) -> Prepared:
    return _by_pair(wrappers.pot_plan(space.distance_matrix()))


def _unifrac(tree: emdref.Tree, dtype: Any, task: str) -> Prepared:
    pair = wrappers.unifrac(tree.to_newick(), [str(name) for name in tree.bin_labels], validate=False)

    def enter(p: Any, q: Any) -> tuple[Any, Any]:
        return tuple(np.rint(x * 2.0**60).astype(np.int64) for x in (p, q))

    return _by_pair(pair)._replace(enter=enter)


def load_jax() -> Any:
    """JAX on one thread; its settings are read when it is first imported."""
    os.environ.setdefault("NPROC", "1")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


def _ott(chain: emdref.Chain, dtype: Any, task: str) -> Prepared:
    jax = load_jax()
    from ott.geometry import costs, pointcloud
    from ott.solvers import linear

    def one(bins: Any, p: Any, q: Any) -> Any:
        cloud = pointcloud.PointCloud(bins, bins, cost_fn=costs.PNormP(1.0))
        return linear.solve_univariate(cloud, p, q).ot_costs[0]

    bins = jax.numpy.asarray(_positions(chain), dtype)[:, None]
    solve = jax.jit(jax.vmap(one, in_axes=(None, 0, 0)))
    return Prepared(
        lambda p, q: solve(bins, p, q).block_until_ready(),
        lambda *rows: tuple(map(jax.numpy.asarray, rows)),
        lambda answer: (np.asarray(answer), None),
    )


CHAIN, TREE, ONLY = ("chain",), ("tree",), (VALUE,)
PEERS = (
    Peer("NumPy cumsum", "numpy", _cumsum, CHAIN),
    Peer("PyTorch cumsum", "torch", _torch_cumsum, CHAIN),
    Peer("dense incidence, BLAS", "numpy", _dense, most=2500, why="its matrix has 2 N^2 entries or more"),
    Peer("scipy.sparse incidence", "scipy", _sparse, TREE, most=10**5, why="its matrix is built in minutes"),
    Peer("PyTorch sparse incidence", "torch", _torch_sparse, TREE, most=10**5, why="its matrix is built in minutes"),
    Peer("scipy.stats.wasserstein_distance", "scipy", _scipy, CHAIN, ONLY, first=False, by_pair=True),
    Peer("POT emd2_1d", "POT", _pot("emd2_1d", metric="euclidean"), CHAIN, ONLY, first=False, by_pair=True),
    Peer("POT wasserstein_1d", "POT", _pot_batch, CHAIN, ONLY, first=False),
    Peer("OTT univariate", "ott-jax", _ott, CHAIN, ONLY, first=False, most=10**5, why="it sorts 4 N numbers a row"),
    Peer("POT emd2", "POT", _pot_plan, tasks=ONLY, first=False, most=1500, why="it takes minutes", by_pair=True),
    Peer(
        "scikit-bio weighted_unifrac", "scikit-bio", _unifrac, TREE, ONLY, False, 10**4,
        "reading its tree takes minutes", by_pair=True,
    ),
)  # fmt: skip
