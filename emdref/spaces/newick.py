"""Newick trees: a tokenizer and one loop with an explicit stack, so that depth is no limit."""

import gzip
import math
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

from emdref.arguments import messages
from emdref.arguments.messages import cut, shown

_LONGEST = 4096  # characters of a path
_QUOTES = "a name with a blank or an apostrophe stands in single quotes, and has the apostrophe twice: 'Foo''s bat'"
_PATH = " (a str is text: for a file, give its pathlib.Path)"
_OTHERS = {
    "#nexus": "NEXUS, not Newick: give what follows '=' in a line of its trees block, or write the tree as Newick",
    "<": "XML, not Newick: write the tree as Newick, with Bio.Phylo.convert for example",
    "{": "JSON, not Newick: write the tree as Newick",
    "pk\x03\x04": "a zip archive: unpack it first",
    "bzh": "packed by bzip2: unpack it first",
    "\xef\xbb\xbf": "UTF-8 read in another encoding: give the file's path, or its text read as utf-8",
    "\xff\xfe": "UTF-16 read in another encoding: read the file as utf-16",
    "\xfe\xff": "UTF-16 read in another encoding: read the file as utf-16",
}
_TOKEN = re.compile(
    r"""\s+ | \[[^\]]*\]                       # blanks and comments
      | (?P<mark>[(),:;])
      | '(?P<quoted>(?:[^']|'')*)'             # a quote inside is doubled
      | (?P<bare>[^\s()\[\]':;,]+)""",
    re.VERBOSE,
)


def read(source: "str | os.PathLike[str]") -> str:
    """The text itself for a str, the file's content (unpacked if gzip made it) for a path."""
    if isinstance(source, str):
        if len(source) <= _LONGEST and os.path.isfile(source):
            raise ValueError(f"source names a file, and a str is Newick text: give pathlib.Path({shown(source, 200)})")
        return source
    if not isinstance(source, os.PathLike):
        raise TypeError(f"source must be Newick text (str) or a path, not {messages.type_name(source)}")
    path = Path(source)
    name = str(path) if len(str(path)) <= 120 else f"...{str(path)[-117:]}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None
    try:
        packed = content.startswith(b"\x1f\x8b")
        return (gzip.decompress(content) if packed else content).decode()
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start} is 0x{error.object[error.start]:02x}"
        raise ValueError(f"{name} is not UTF-8 text ({wrong}): save it as UTF-8, or unpack it first") from None
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{name} cannot be unpacked by gzip ({cut(str(error), 100)})") from None


def parse(text: str, in_file: bool) -> "tuple[list[int], list[float], list[str], list[int]]":
    """Parents (-1 at the root), costs, labels and the tips in the order of the text, which may come from a file."""
    text = text.removeprefix("\ufeff")
    reader, start = _Reader(), text[:100].lstrip().lower()
    try:
        for kind, value, at in _tokens(text):
            reader.take(kind, value, at)
        return reader.finish(len(text))
    except ValueError as error:
        other = next((what for mark, what in _OTHERS.items() if start.startswith(mark)), None)
        if other:
            raise ValueError(f"the text is {other}") from None
        if "\0" in start:
            raise ValueError("the text holds NUL characters: read it as utf-16, or unpack it first") from None
        if in_file or ";" in text or start.startswith(("(", "[")):
            raise
        raise ValueError(f"{error}{_PATH}") from None


def _tokens(text: str) -> "Iterator[tuple[str, str, int]]":
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            hint = {"'": _QUOTES, "[": "no ] closes it", "]": "no [ opens it"}[text[at]]
            raise ValueError(f"Newick: cannot read {text[at : at + 20]!r} at character {at}: {hint}")
        if match["mark"]:
            yield match["mark"], "", at
        elif match["quoted"] is not None:
            yield "name", match["quoted"].replace("''", "'"), at
        elif match["bare"]:
            yield "name", match["bare"], at
        at = match.end()


class _Reader:
    """The tree read so far; `node` is the one that a name or a length would belong to."""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.length: list[float | None] = []
        self.label: list[str] = []
        self.inner: list[bool] = []
        self.stack: list[int] = []
        self.node = self._new(-1)
        self.before, self.ended = "(", False

    def _new(self, parent: int) -> int:
        self.parent.append(parent)
        self.length.append(None)
        self.label.append("")
        self.inner.append(False)
        return len(self.parent) - 1

    def take(self, kind: str, value: str, at: int) -> None:
        if self.ended:
            raise ValueError(f"Newick: something follows the final ';' at character {at}; give one tree at a time")
        if kind == "(":
            self._expect(self.before in ("(", ","), kind, at)
            self.inner[self.node] = True
            self.stack.append(self.node)
            self.node = self._new(self.node)
        elif kind in (",", ")"):
            self._expect(bool(self.stack) and self.before != ":", kind, at)
            self.node = self._new(self.stack[-1]) if kind == "," else self.stack.pop()
        elif kind == "name" and self.before == ":":
            self._take_length(value, at)
            kind = "length"
        elif kind == "name":
            self._expect(self.before in ("(", ",", ")"), f"name {shown(value)}", at)
            self.label[self.node] = value
        elif kind == ":":
            self._expect(self.before not in (":", "length"), kind, at)
        else:
            self._expect(not self.stack and self.before != ":", kind, at)
            self.ended = True
        self.before = kind

    def _expect(self, allowed: bool, what: str, at: int) -> None:
        if not allowed:
            unclosed = what == ";" and self.stack
            hint = "a parenthesis is open" if unclosed else "check the commas, colons and parentheses before it"
            hint = _QUOTES if self.before == "name" and what.startswith("name") else hint
            raise ValueError(f"Newick: unexpected {what} at character {at}: {hint}")

    def _take_length(self, value: str, at: int) -> None:
        try:
            length = self.length[self.node] = float(value.replace("_", "?"))  # Python would read 1_0 as 10
        except ValueError:
            raise ValueError(f"Newick: branch length {shown(value)} at character {at} is not a number") from None
        if self.stack and not 0 <= length < math.inf:  # the root's is ignored
            raise ValueError(f"Newick: branch length {shown(value)} at character {at} is not finite and >= 0")

    def finish(self, end: int) -> "tuple[list[int], list[float], list[str], list[int]]":
        if not self.ended:
            raise ValueError(f"Newick: the text ends at character {end} without a ';'")
        tips = [v for v, inner in enumerate(self.inner) if not inner]
        return self.parent, [0.0, *self._costs()], self.label, tips

    def _costs(self) -> "list[float]":
        """Costs of all nodes but the root."""
        missing = [v for v, x in enumerate(self.length) if x is None and v > 0]
        if len(missing) == len(self.length) - 1:
            return [1.0] * len(missing)
        if missing:
            warnings.warn(
                f"Newick: {len(missing)} of {len(self.length) - 1} branches have no length and cost 0, the first is "
                f"that of node {missing[0]} ({shown(self.label[missing[0]])})",
                UserWarning,
                stacklevel=5,
            )
        return [0.0 if x is None else x for x in self.length[1:]]
