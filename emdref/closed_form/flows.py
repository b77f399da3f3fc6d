"""Flows of rows on every edge, in the rows' dtype, and their powers: what `emdref.flow` and `emd_cost_grad` give."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref import fallback
from emdref.arguments import casts
from emdref.arguments.validation import Batch
from emdref.closed_form import batches, exact_rows, generic
from emdref.kernels.compile.threads import over_rows
from emdref.kernels.rows import loops
from emdref.spaces.rooted import RootedTree
from emdref.spaces.space import Space


def flows(rows: Batch, space: Space, rho: float, mass: str, accuracy: str) -> NDArray[Any]:
    """phi of each row, an entry an edge in the order of `emdref.flow`."""
    tree, shares = space.rooted, mass == "normalize"
    if tree is None:
        return generic.flows(rows, space, rho, shares, accuracy)
    phi = (_native if accuracy == "native" else _compensated)(rows, tree, shares)
    phi[:, 0] = 0  # what is left at the root crosses no edge
    result = np.empty((len(phi), len(tree.flow_places)), phi.dtype)
    over_rows(_take, (phi, result), (tree.flow_places,), work=10 * tree.n_nodes)
    return result


def powers(rows: Batch, space: Space, rho: float, mass: str, accuracy: str) -> NDArray[Any]:
    """|phi|**rho of each row likewise; compensated, the power is that of phi in float64."""
    dtype = rows.p.dtype
    wide = rows if accuracy == "native" else Batch(*batches.as_float64(rows), rows.shape)
    exponent = batches.native_exponent(rho, dtype) if accuracy == "native" else rho
    phi = flows(wide, space, rho, mass, accuracy)
    over_rows(loops.raise_flows, (phi,), (exponent,), work=5 * phi.shape[1])
    return casts.narrowed(phi, dtype)


def _native(rows: Batch, tree: RootedTree, shares: bool) -> NDArray[Any]:
    """By position of the node below."""
    phi = np.empty((len(rows.p), tree.n_nodes), rows.p.dtype)
    shared = (tree.parent, tree.bin_node, shares)
    over_rows(loops.flow_native, (rows.p, rows.q, phi), shared, work=4 * tree.n_nodes)
    return phi


def _compensated(rows: Batch, tree: RootedTree, shares: bool) -> NDArray[Any]:
    """Flows by position in two limbs, and exactly where these do not settle a row."""
    p, q = batches.as_float64(rows)
    phi, unsafe = np.empty((len(p), tree.n_nodes)), np.zeros(len(p), bool)
    weight = tree.crossed[shares]
    shared = (tree.parent, weight, tree.bin_node, shares)
    over_rows(loops.flow_twolimb, (p, q, phi, unsafe), shared, work=30 * tree.n_nodes)
    again = np.flatnonzero(unsafe)
    fallback.count(len(unsafe), len(again))
    if len(again):
        phi[again] = exact_rows.flows(p[again], q[again], tree, weight, shares)[:, 0]
    return casts.narrowed(phi, rows.p.dtype)


def _take(x: NDArray[Any], out: NDArray[Any], columns: NDArray[np.int64]) -> None:
    x.take(columns, 1, out, "clip")  # unless an index that is out of range is put right, out is buffered
