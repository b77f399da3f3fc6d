"""Trees from files, read by what they hold and not by their suffix; a caption and a key for any space."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zlib
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order

import emdref
from analysis.inputs.tree_formats import archives, node_link, tables

ACCEPTED = (
    "Newick, lines `parent child [cost]`, lines `name parent_index [cost]`, node-link JSON, an .npz with the array "
    "`parent`, each also gzipped"
)
NEWICK = re.compile(r"\s*(\[[^\]]*\]\s*)*\(")  # comments, then a parenthesis
ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the second if it holds nothing
LONGEST = 600  # characters of a message


def read(path: str | os.PathLike[str]) -> emdref.Tree:
    """Tree of a file, gzipped or not; what it holds decides, not its name.

    Parameters
    ----------
    path : str or path-like
        One of these; text is UTF-8.

        - *Newick*, one tree: text that begins with ``(``, comments aside, or whose only ``;`` ends it.  See
          `emdref.Tree.from_newick`; bins are the tips.
        - *Edges*, ``parent child [cost]`` a line, or in the order that a first line ``child,parent,cost`` gives; and
          *names with indices*, ``name parent_index [cost]`` a line.  See `analysis.inputs.tree_formats.tables.read`.
        - *Node-link JSON*, text that begins with ``{``.  See `analysis.inputs.tree_formats.node_link.read`.
        - *NumPy archives*, ``.npz``.  See `analysis.inputs.tree_formats.archives.read`.

    Returns
    -------
    emdref.Tree
        With the file's names as labels, unit costs where it has none, and a bin at each leaf, in the file's order.  A
        class that stands at an inner node is no bin; only an archive can name others, in its array ``bins``.

    Raises
    ------
    OSError
        If the file is missing, a folder, or not to be read.
    ValueError
        Naming the file, the line or entry, what was found and what is accepted.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "pets.txt")
    ...     _ = path.write_text("child,parent,cost\\ncat,pet,1\\ndog,pet,2\\n")
    ...     tree = read(path)
    >>> list(tree.bin_labels), tree.diameter
    (['cat', 'dog'], 3.0)
    """
    try:
        return _tree(_content(Path(path)))
    except OSError as error:
        raise type(error)(f"{path}: the tree cannot be read ({error.strerror}); accepted: {ACCEPTED}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {_cut(str(error))}") from None


def _content(path: Path) -> bytes:
    """The file's bytes, unpacked."""
    data = path.read_bytes()
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"the gzipped file is cut off or damaged ({error}): fetch or pack it again") from None


def _tree(data: bytes) -> emdref.Tree:
    if data.startswith(ZIP):
        return archives.read(data)
    text = _text(data)
    if not text.strip():
        raise ValueError(f"the file is empty; accepted: {ACCEPTED}")
    if text.lstrip()[:6].lower() == "#nexus":
        raise ValueError(f"line 1: this is NEXUS; write the tree as Newick. Accepted: {ACCEPTED}")
    if NEWICK.match(text) or (text.count(";") == 1 and text.rstrip().endswith(";")):
        return _newick(text)
    if text.lstrip()[0] in "{[":
        return node_link.read(text)
    return tables.read(text)


def _text(data: bytes) -> str:
    place, what = data.find(b"\0"), "a null byte"
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place, what = error.start, f"byte {data[error.start]:#04x}"
    if place >= 0:
        line = data.count(b"\n", 0, place) + 1
        raise ValueError(f"line {line}: this is not UTF-8 text ({what} at byte {place}); accepted: {ACCEPTED}")
    return text


def _newick(text: str) -> emdref.Tree:
    try:
        return emdref.Tree.from_newick(text)
    except ValueError as error:
        at = re.search(r" at character (\d+)", str(error))
        line = text.count("\n", 0, int(at[1])) + 1 if at else 1
        raise ValueError(f"line {line}: {error} (read as Newick for its first or last character)") from None


def _cut(message: str) -> str:
    half = LONGEST // 2
    return message if len(message) <= LONGEST else f"{message[:half]} ... {message[-half:]}"


def describe(space: emdref.Chain | emdref.Tree) -> str:
    """A caption: bins, nodes, the deepest node, and distances between bins that are not 0.

    Examples
    --------
    >>> describe(emdref.Tree.from_newick("((a:1,b:2):0.5,c:3);"))
    '3 bins, 5 nodes, depth 2, distances 3 to 5.5'
    >>> describe(emdref.Chain(5))
    '5 bins, 5 nodes, depth 4, distances 1 to 4'
    """
    tree = space.to_tree() if isinstance(space, emdref.Chain) else space
    depth, nearest = _depth_and_nearest(tree)
    span = f"distances {nearest:.6g} to {tree.diameter:.6g}" if nearest < np.inf else "all distances 0"
    return f"{tree.n_bins} bins, {tree.n_nodes} nodes, depth {depth}, {span}"


def _depth_and_nearest(tree: emdref.Tree) -> tuple[int, float]:
    """Edges between the root and the deepest node; the smallest distance > 0 between bins, inf without one."""
    parent, cost = tree.parent.tolist(), tree.cost.tolist()
    near = np.full(tree.n_nodes, np.inf)
    near[tree.bins] = 0.0
    near, nearest, order = near.tolist(), np.inf, _root_first(tree)
    for v in order[:0:-1]:  # children before parents
        up, above = near[v] + cost[v], near[parent[v]]
        nearest = min(nearest, up + above) if up + above > 0 else nearest
        near[parent[v]] = min(up, above)
    depth = [0] * tree.n_nodes
    for v in order[1:]:
        depth[v] = depth[parent[v]] + 1
    return max(depth), nearest


def _root_first(tree: emdref.Tree) -> list[int]:
    root, child = int(np.argmin(tree.parent)), np.flatnonzero(tree.parent >= 0)
    shape = (tree.n_nodes, tree.n_nodes)
    graph = coo_array((np.ones(len(child), np.int8), (tree.parent[child], child)), shape=shape).tocsr()
    return breadth_first_order(graph, root, return_predecessors=False).tolist()


def digest(space: emdref.Chain | emdref.Tree) -> str:
    """16 hexadecimal digits, the same for the same space and names on every machine.

    They are the begin of the SHA-256 of the kind, then of the gaps of a chain, of parents, costs and bins of a tree, as
    little-endian 64-bit words, and of the names of its bins, a zero byte before each.

    Examples
    --------
    >>> digest(emdref.Chain(5)) == digest(emdref.Chain(gaps=[1, 1, 1, 1])) != digest(emdref.Chain(6))
    True
    """
    arrays = [space.gaps] if isinstance(space, emdref.Chain) else [space.parent, space.cost, space.bins]
    total = hashlib.sha256(f"{type(space).__name__} {[len(array) for array in arrays]}".encode())
    for array in arrays:
        total.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    if isinstance(space, emdref.Tree):
        total.update("".join(f"\0{label}" for label in space.bin_labels).encode())
    return total.hexdigest()[:16]
