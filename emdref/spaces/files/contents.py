"""The bytes of a file, unpacked, and its text; what other formats begin with."""

import gzip
import io
import os
import zlib
from pathlib import Path

from emdref.arguments.messages import cut

MOST = 2**30  # bytes of a file, unpacked: no tree that fits into memory is longer
OTHERS = {
    "<": "XML, not Newick: write the tree as Newick, with Bio.Phylo.convert for example",
    "pk\x03\x04": "a zip archive: unpack it first",
    "bzh": "packed by bzip2: unpack it first",
    "\x93numpy": "a single NumPy array: write parent, cost and labels into one .npz with numpy.savez",
    "\x89hdf": "HDF5: write the tree as Newick, or parent and cost into an .npz with numpy.savez",
    "\x80\x04": "a pickle, which is never read: write the tree as Newick",
    "%pdf": "a PDF: write the tree as Newick",
    "\xfd7zxz": "packed by xz: unpack it first",
    "(\xb5/\xfd": "packed by zstd: unpack it first",
    "\xef\xbb\xbf": "UTF-8 read in another encoding: give the file's path, or its text read as utf-8",
    "\xff\xfe": "UTF-16 read in another encoding: read the file as utf-16",
    "\xfe\xff": "UTF-16 read in another encoding: read the file as utf-16",
}


def other(start: str) -> "str | None":
    """Which other format begins so, and the way out."""
    start = start.lower()
    return next((what for mark, what in OTHERS.items() if start.startswith(mark)), None)


def called(path: "str | os.PathLike[str]") -> str:
    """A path as messages show it: its end, if it is long."""
    name = str(path)
    return name if len(name) <= 90 else f"...{name[-87:]}"


def read(path: "str | os.PathLike[str]") -> bytes:
    """What a file holds, unpacked if gzip made it; the ValueError begins with the file's name."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST + 1)
    except OSError as error:
        raise OSError(error.errno, error.strerror, called(path)) from None
    except ValueError:  # a null character in the name
        raise ValueError(f"{called(path)!r} is no path: it holds a null character") from None
    try:
        if data.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
                data = packed.read(MOST + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{called(path)} cannot be unpacked by gzip ({cut(str(error), 100)}): fetch or pack it again"
        ) from None
    if len(data) > MOST:
        raise ValueError(f"{called(path)} holds more than {MOST} bytes: cut the tree down before it is read")
    return data


def text(data: bytes, path: "str | os.PathLike[str]") -> str:
    """Bytes as text; the ValueError begins with the file's name."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        wrong = f"byte {error.start}{f' on line {line}' if line > 1 else ''} is 0x{data[error.start]:02x}"
        way = other(data[:8].decode("latin-1")) or "save it as UTF-8, or unpack it first"
        raise ValueError(f"{called(path)} is not UTF-8 text ({wrong}): {way}") from None
