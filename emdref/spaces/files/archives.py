"""Trees from NumPy archives (.npz)."""

import io

import numpy as np

from emdref.arguments.messages import cut
from emdref.spaces.files import contents
from emdref.spaces.files.parts import Negatives, Parts

LABELS = ("labels", "node")
READ = ("parent", "cost", "bins", *LABELS)


def read(data: bytes, negatives: Negatives) -> Parts:
    """The arrays ``parent`` and, if there are such, ``cost``, ``bins`` and ``labels`` (or else ``node``).

    They mean what they mean in `emdref.Tree`: parents by index, -1 at the root.  Other arrays are not read, and nothing
    is unpickled.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            held, packed = file.files, set(file.zip.namelist())
            wanted = [name for name in READ if f"{name}.npy" in packed]
            size = sum(file.zip.getinfo(f"{name}.npy").file_size for name in wanted)
            if size > contents.MOST:
                raise ValueError(f"its arrays unpack to {size} bytes, more than {contents.MOST}")
            arrays = {name: file[name] for name in wanted}
    except Exception as error:  # zipfile, zlib and NumPy have a dozen kinds for a damaged archive
        text = f"this .npz cannot be read ({cut(str(error), 90)}): write it anew with numpy.savez, without objects"
        raise ValueError(text) from None
    if "parent" not in arrays:
        shown = ", ".join(held[:8]) + ", ..." * (len(held) > 8)
        if held and not any(f"{name}.npy" in packed for name in held):
            raise ValueError(
                f"this is a zip archive (it holds {cut(shown, 80)}): unpack it and give the tree's own file"
            )
        raise ValueError(
            f"this .npz holds no array 'parent' (it holds {cut(shown, 80) or 'nothing'}): name that of the tree so"
        )
    parent = arrays["parent"]
    if parent.ndim != 1:
        raise ValueError(f"parent must be one-dimensional, not of shape {parent.shape}")
    labels = next((arrays[name] for name in LABELS if name in arrays), None)
    if labels is not None and np.ndim(labels) != 1:
        raise ValueError(f"labels must be one-dimensional, not of shape {np.shape(labels)}")
    cost = arrays.get("cost")
    if cost is not None and cost.dtype.kind in "if" and parent.dtype.kind in "iu" and cost.shape == parent.shape:
        edge = (parent >= 0) & (parent != np.arange(len(parent)))  # the root's cost is ignored
        for v in np.flatnonzero(edge & (cost < 0)):
            if negatives.let(float(cost[v]), f"node {v}"):
                cost[v] = 0
    return Parts(
        arrays["parent"], cost, arrays.get("bins"), None if labels is None else labels.tolist(), negatives.notes
    )
