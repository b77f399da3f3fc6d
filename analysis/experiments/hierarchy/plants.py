"""Features of leaves with the tree of their species, for learning from few samples of each: a file's or OpenML's."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdref import Tree

LEAST = 5  # samples of a class: one to train on, one to choose by, three to test on
WANTED = "X (samples, features), y (samples,) the nodes of their species, parent (nodes,) with -1 at the root"
Array = NDArray[Any]


def load(path: Path) -> tuple[Array, Array, Tree]:
    """Features float32, classes as the tree's bins, and the tree, of an .npz file; nothing in it is unpickled.

    Raises
    ------
    RuntimeError
        In one line, what is wrong with the file.
    """
    x, y, parent = _arrays(path)
    if x.ndim != 2 or x.dtype.kind not in "fiu" or not x.size:
        raise _bad(path, "X", x, "numbers, (samples, features), are wanted")
    if not np.isfinite(x).all():
        raise _bad(path, "X", x, f"{np.count_nonzero(~np.isfinite(x))} of its entries are not finite: leave them out")
    if parent.ndim != 1 or parent.dtype.kind not in "iu":
        raise _bad(path, "parent", parent, "an integer for each node, -1 at the root, is wanted")
    try:
        tree = Tree(parent)
    except (TypeError, ValueError) as error:
        raise _bad(path, "parent", parent, f"it is no tree: {error}") from None
    if y.shape != x.shape[:1] or y.dtype.kind not in "iu":
        raise _bad(path, "y", y, f"the node of each of the {len(x)} samples of X, an integer, is wanted")
    return x.astype(np.float32), _bins(path, y, tree), tree


def digest(path: Path) -> str:
    """Of the file's bytes: runs on another file are other runs."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RuntimeError(
            f"--data {path}: the file cannot be read ({error.strerror}); give an .npz with {WANTED}"
        ) from None


def _arrays(path: Path) -> list[Array]:
    try:
        with path.open("rb") as content:
            file = np.load(content, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("it is a single array")
            missing = [name for name in ("X", "y", "parent") if name not in file]
            if missing:
                raise ValueError(f"it has no array {missing[0]} but {', '.join(file) or 'none'}")
            return [_array(path, file, name) for name in ("X", "y", "parent")]
    except OSError as error:
        raise RuntimeError(
            f"--data {path}: the file cannot be read ({error.strerror or error}); an .npz has {WANTED}"
        ) from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RuntimeError(f"--data {path}: this is no .npz as wanted ({_brief(error)}); it has {WANTED}") from None


def _array(path: Path, file: Any, name: str) -> Array:
    try:
        return file[name]
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise RuntimeError(f"--data {path}: array {name} cannot be read ({_brief(error)}); wanted: {WANTED}") from None


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "it holds Python objects, which are never unpickled" if "pickle" in text else text


def _bins(path: Path, y: Array, tree: Tree) -> Array:
    bins = np.full(tree.n_nodes, -1)
    bins[tree.bins] = np.arange(tree.n_bins)
    within = (y >= 0) & (y < tree.n_nodes)
    wrong = np.flatnonzero(~within | (bins[np.where(within, y, 0)] < 0))
    if wrong.size:
        at = wrong[0]
        raise _bad(
            path, "y", y, f"y[{at}] = {y[at]} is none of the {tree.n_bins} leaves of parent's {tree.n_nodes} nodes"
        )
    found = bins[y]
    count = np.bincount(found, minlength=tree.n_bins)
    if count.min() < LEAST:
        leaf = tree.bins[count.argmin()]
        raise _bad(path, "y", y, f"leaf {leaf} has {count.min()} samples: each needs {LEAST} or more")
    return found


def _bad(path: Path, name: str, array: Array, what: str) -> RuntimeError:
    return RuntimeError(f"--data {path}: {name} of shape {array.shape} and dtype {array.dtype}: {what}")
