"""Trees from NumPy archives (.npz)."""

from __future__ import annotations

import io

import numpy as np

import emdref

LABELS = ("labels", "node")
READ = ("parent", "cost", "bins", *LABELS)


def read(data: bytes) -> emdref.Tree:
    """Tree of the arrays ``parent`` and, if there are such, ``cost``, ``bins`` and ``labels`` (or else ``node``).

    They mean what they mean in `emdref.Tree`: parents by index, -1 at the root.  Other arrays are not read, and nothing
    is unpickled.

    Raises
    ------
    ValueError
        Naming the array, the entry and its value.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> np.savez(file, parent=[-1, 0, 0], node=["pet", "cat", "dog"])
    >>> list(read(file.getvalue()).bin_labels)
    ['cat', 'dog']
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            held, arrays = file.files, {name: file[name] for name in READ if name in file.files}
    except Exception as error:  # zipfile, zlib and NumPy have a dozen kinds for a damaged archive
        text = f"this .npz cannot be read ({error}): write it anew with numpy.savez, without arrays of objects"
        raise ValueError(text) from None
    if "parent" not in arrays:
        shown = ", ".join(held[:8]) + ", ..." * (len(held) > 8)
        raise ValueError(f"this .npz holds no array 'parent' (it holds {shown or 'nothing'}): name that of the tree so")
    labels = next((arrays[name] for name in LABELS if name in arrays), None)
    if labels is not None and np.ndim(labels) != 1:
        raise ValueError(f"labels must be one-dimensional, not of shape {np.shape(labels)}")
    try:
        names = None if labels is None else labels.tolist()
        return emdref.Tree(arrays["parent"], arrays.get("cost"), bins=arrays.get("bins"), labels=names)
    except TypeError as error:
        raise ValueError(str(error)) from None
