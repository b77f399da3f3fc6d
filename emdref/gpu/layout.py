"""A space's arrays on a GPU, and how launches are cut up for it; this module comes after emdref.gpu.call."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import casts
from emdref.kernels.cuda import branches, chain, first_look, plain, tree, two_limbs
from emdref.kernels.cuda.target import SIMULATED, limits
from emdref.kernels.tiles import two_limb_sums
from emdref.spaces.rooted import RootedTree, repeated
from emdref.spaces.space import Space, as_rooted

Array = NDArray[Any]


class Tuning(NamedTuple):
    """Sizes of launches; results do not depend on them but where it says so."""

    threads: int  # a block; twice as many in two limbs, of whose rows fewer fit a multiprocessor
    mates: int  # neighbours that read a row together
    lanes: int  # rows a block, at most
    members: int  # threads that scan a long row; in plain arithmetic its last digits depend on them
    columns: int  # bins a segment in two limbs
    scratch: int  # bytes at most, if rows can be done in parts


# three blocks of 72 registers a thread fit a multiprocessor of 65536
TUNING = Tuning(8, 4, 4, 3, chain.COLUMNS, 2**20) if SIMULATED else Tuning(256, 32, 8, 256, chain.COLUMNS, 2**28)


class Cut(NamedTuple):
    """How a tree's or a short chain's rows go to blocks."""

    lanes: int
    stride: int
    threads: int
    shared: int  # bytes
    scratch: int  # numbers of global memory a block, if it does not fit shared memory


def arithmetic(accuracy: str) -> Any:
    """The module of numbers that an accuracy stands for."""
    return plain if accuracy == "native" else two_limbs


def cut(call: Any, rows: int, numbers: int, extra: int, itemsize: int, threads: int) -> Cut:
    """For so many numbers a row in scratch, and `extra` more of which there are as many as threads at least."""
    device = limits(call.number)
    width = _power_of_two(-(-rows // device.processors))
    tried = [x for x in (8, 4, 2, 1) if x <= min(width, TUNING.lanes)]
    cuts = [_cut(lanes, numbers, extra, itemsize, threads) for lanes in tried]
    for share, least in ((2, 8), (1, 1)):  # two blocks at a time, if they are not too narrow
        for one in cuts:
            if one.lanes >= least and one.shared <= device.shared // share:
                return one
    one = cuts[0]
    return Cut(one.lanes, one.lanes, one.threads, 0, one.shared // one.stride * one.lanes // itemsize)


def _cut(lanes: int, numbers: int, extra: int, itemsize: int, threads: int) -> Cut:
    stride = lanes + 1 if lanes > 1 else 1  # odd, so that neither rows nor nodes fall on the same banks
    size = numbers + max(extra, first_look.SIZE * TUNING.mates, threads // lanes)
    return Cut(lanes, stride, threads, size * stride * itemsize, 0)


def _power_of_two(n: int) -> int:
    return 1 << max(0, (n - 1).bit_length())


def tree_extra(nodes: int, arith: Any) -> int:
    """Numbers a row that the sums over blocks of edges take."""
    return -(-nodes // two_limb_sums.EDGES) * arith.SIZE


def tree_shape(call: Any, space: Space, dtype: Any, accuracy: str, normalize: bool) -> tree.Shape:
    """A tree's arrays; nothing flows on an edge above all bins if totals are equal by construction."""
    real = np.dtype(dtype) if accuracy == "native" else np.dtype(np.float64)

    def make() -> tuple[Array, ...]:
        nodes = as_rooted(space)
        cost = nodes.crossed_cost(normalize)
        if accuracy == "native":
            weight = casts.narrowed(cost * (nodes.bins_below / nodes.n_bins), dtype)
            cost, exempt = casts.narrowed(cost, dtype), np.zeros(len(cost), dtype)
        else:
            weight, exempt = nodes.bins_below.astype(np.float64), nodes.exempt
        return nodes.parent, cost, weight, exempt, nodes.bin_node, nodes.empty, *_levels(nodes)

    return tree.Shape(*call.constant(space, f"tree {accuracy} {real} {normalize}", make))


def _levels(nodes: RootedTree) -> tuple[Array, ...]:
    """Where depths start among all nodes, the inner nodes, where depths start among them, and their children."""
    parent, inner = nodes.parent, nodes.inner
    levels = branches.levels(parent)
    children = np.stack([np.searchsorted(parent[1:], inner) + 1, np.searchsorted(parent[1:], inner, "right")], axis=1)
    return levels, inner, np.searchsorted(inner, levels[:-1] if len(levels) > 2 else levels), children.reshape(-1)


def gaps(call: Any, space: Space, between: Array, dtype: Any, accuracy: str) -> chain.Gaps:
    """The gaps between bins that stand in a row, and segments."""
    length = chain.SEGMENT if accuracy == "native" else TUNING.columns
    dtype = dtype if accuracy == "native" else np.float64
    cost, step = repeated(between)
    cost = call.constant(space, f"gaps {np.dtype(dtype)}", lambda: casts.narrowed(cost, dtype))
    return chain.Gaps(space.n_bins, -(-space.n_bins // length), length, cost, step)


def nodes(call: Any, space: Space) -> tuple[Any, Any]:
    """Parents, and the bins' nodes, in the kernels' order."""
    return call.constant(space, "nodes", lambda: (as_rooted(space).parent, as_rooted(space).bin_node))


def places(call: Any, space: Space) -> Any:
    """The position of the node of each number in `emdref.flow`."""
    return call.constant(space, "places", lambda: as_rooted(space).flow_places)
