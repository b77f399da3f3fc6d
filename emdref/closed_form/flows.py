"""Flows of rows on every edge, in the rows' dtype: what `emdref.flow` gives."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref import fallback
from emdref.arguments import validation
from emdref.arguments.validation import Batch
from emdref.closed_form import batches, exact_rows
from emdref.kernels.compile.threads import over_rows
from emdref.kernels.rows import loops
from emdref.spaces.space import Chain, Space


def flows(rows: Batch, space: Space, mass: str, accuracy: str) -> NDArray[Any]:
    """phi of each row, an entry an edge in the order of `emdref.flow`."""
    layout, normalize = space._layout, mass == "normalize"
    position = np.empty(space.n_nodes, np.int64)  # of each node in the kernels' order
    position[layout.order] = np.arange(space.n_nodes)
    edges = slice(-1) if isinstance(space, Chain) else slice(None)  # the root comes last on a chain and has no edge
    work = space.n_nodes
    if accuracy == "native":
        phi = np.empty((len(rows.p), work), rows.p.dtype)
        over_rows(loops.flow_native, (rows.p, rows.q, phi), (layout.parent, layout.bin_node, normalize), work=4 * work)
    else:
        phi = np.empty((len(rows.p), work))
        p64, q64 = batches.as_float64(rows)
        unsafe, most = np.zeros(len(phi), bool), space.n_bins - normalize  # bins below an edge on which anything flows
        weight = validation.frozen(space._edges_between(0, most).astype(np.float64))
        shared = (layout.parent, weight, layout.bin_node, normalize)
        over_rows(loops.flow_twolimb, (p64, q64, phi, unsafe), shared, work=30 * work)
        again = fallback.counted(unsafe)
        if len(again):
            phi[again] = exact_rows.flows(p64[again], q64[again], space, weight, normalize)[:, 0]
        phi = batches.narrowed(phi, rows.p.dtype)
    phi[:, 0] = 0  # what is left at the root crosses no edge
    result = np.empty((len(phi), len(position[edges])), phi.dtype)
    over_rows(_take, (phi, result), (position[edges],), work=10 * work)
    return result


def _take(x, out, columns):
    np.take(x, columns, 1, out, "clip")  # unless an index that is out of range is put right, out is buffered
