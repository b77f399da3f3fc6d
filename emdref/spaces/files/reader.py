"""A tree out of a file: what it holds decides how it is read, not its name."""

import os
from typing import Any

from emdref.arguments.messages import cut, type_name
from emdref.spaces.files import archives, contents, json_trees, lexer, newick, tables
from emdref.spaces.files.parts import Negatives, Parts

ACCEPTED = "Newick, NEXUS, lines `parent child [cost]`, lines `name parent_index [cost]`, JSON or an .npz"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the second if it holds nothing
_LONGEST = 300  # characters of a message


def read(path: "str | os.PathLike[str]", index: Any, negatives: Negatives) -> Parts:
    """The parts of a file's tree; a ValueError begins with the file's name."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a str or a path, not {type_name(path)}")
    try:
        data = contents.read(path)
    except OSError as error:
        if not str(path).lstrip().startswith(("(", "#NEXUS")):
            raise
        what = f"{error.strerror}; text goes to Tree.from_newick"
        raise OSError(error.errno, what, error.filename) from None
    try:
        if data.startswith(_ZIP):
            return _alone(archives.read(data, negatives), index, "an .npz")
    except ValueError as error:
        raise told(path, error) from None
    text = contents.text(data, path).removeprefix("\ufeff")
    try:
        return _parts(text, index, negatives)
    except ValueError as error:
        raise told(path, error) from None


def told(path: "str | os.PathLike[str]", error: Exception) -> ValueError:
    """An error with the file's name before it."""
    return ValueError(cut(f"{contents.called(path)}: {error}", _LONGEST))


def _parts(text: str, index: Any, negatives: Negatives) -> Parts:
    start = text[:1000].lstrip() or text.lstrip()
    if not start:
        raise ValueError(f"the file is empty: give {ACCEPTED}")
    if _is_newick(text, start):
        return newick.parse(text, True, index, negatives)
    if start[0] in "{[":
        return _alone(json_trees.read(text, negatives), index, "JSON")
    other = contents.other(start)
    if other:
        raise ValueError(f"this is {other}")
    if "\0" in text:
        at = text.index("\0")
        raise ValueError(f"a null character stands at {lexer.place(text, at)}: give {ACCEPTED}")
    return _alone(tables.read(text, negatives), index, "a table")


def _is_newick(text: str, start: str) -> bool:
    """Whether a parenthesis or #NEXUS comes first, comments aside, or the only semicolon last."""
    if start[0] == "[":
        try:
            start = lexer.without_comments(text).lstrip()
        except ValueError:
            return False
    if start.startswith("(") or start[:6].lower() == "#nexus":
        return True
    return bool(newick.COUNTED.match(start)) or (text.count(";") == 1 and text.rstrip().endswith(";"))


def _alone(parts: Parts, index: Any, kind: str) -> Parts:
    if index is not None:
        raise ValueError(f"index= chooses among trees of Newick and NEXUS, and this is {kind}, which holds one tree")
    return parts
