"""The bytes of a file, unpacked, and its text; what other formats begin with."""

import gzip
import io
import os
import zlib
from pathlib import Path

from emdref.arguments.messages import cut

MOST = 2**30  # bytes of a file, unpacked: no tree that fits into memory is longer
OTHERS = {  # texts
    "<": "XML, not Newick: write the tree as Newick, with Bio.Phylo.convert for example",
    "pk\x03\x04": "a zip archive: unpack it first",
    "bzh": "packed by bzip2: unpack it first",
    "%pdf": "a PDF, not Newick: write the tree as Newick",
    "\xef\xbb\xbf": "UTF-8 read in another encoding: give the file's path, or its text read as utf-8",
    "\xff\xfe": "UTF-16 read in another encoding: read the file as utf-16",
    "\xfe\xff": "UTF-16 read in another encoding: read the file as utf-16",
}
_BINARY = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"BZh": "what bzip2 packs",
    b"\xfd7zXZ": "what xz packs",
    b"\x28\xb5\x2f\xfd": "what zstd packs",
    b"\x93NUMPY": "one NumPy array (numpy.savez writes parent, cost and labels together)",
    b"\x89HDF": "HDF5",
    b"\x80": "a pickle, which is never read",
}


def other(start: str) -> "str | None":
    """Which other format begins so, and the way out."""
    start = start.lower()
    return next((what for mark, what in OTHERS.items() if start.startswith(mark)), None)


def called(path: "str | os.PathLike[str]") -> str:
    """A path as messages show it: its end, if it is long."""
    name = str(path)
    return name if len(name) <= 80 else f"...{name[-77:]}"


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
        kind = next((f"; it looks like {kind}" for mark, kind in _BINARY.items() if data.startswith(mark)), "")
        raise ValueError(
            f"{called(path)} is not UTF-8 text ({wrong}): save it as UTF-8, or unpack it first{kind}"
        ) from None
