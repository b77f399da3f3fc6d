"""What Newick and NEXUS have in common: comments, quotes, statements that end with a semicolon."""

import re
from collections.abc import Iterator

QUOTED = r"'([^']*(?:''[^']*)*)'"  # a quote inside is doubled
BARE = r"[^\s()\[\]':;,]+"
_QUOTED_OR_BRACKET = re.compile(rf"{QUOTED}|[\[\]]")
_BRACKET = re.compile(r"[\[\]]")
_QUOTED_OR_END = re.compile(rf"{QUOTED}|;")


def place(text: str, at: int) -> str:
    """A character as a message names it."""
    line = text.count("\n", 0, at) + 1
    return f"character {at}" + (f" (line {line})" if line > 1 else "")


def without_comments(text: str) -> str:
    """Blanks in the place of comments, which may be nested."""
    parts, kept, at = [], 0, 0
    while found := _QUOTED_OR_BRACKET.search(text, at):
        at = found.end()
        if found[0] == "]":
            raise _unread(text, found.start(), "no [ opens it")
        if found[0] == "[":
            at = _closed(text, found.start())
            parts += [text[kept : found.start()], " " * (at - found.start())]
            kept = at
    return "".join([*parts, text[kept:]])


def _closed(text: str, start: int) -> int:
    """Where a comment that begins at `start` ends."""
    depth = 0
    for bracket in _BRACKET.finditer(text, start):
        depth += 1 if bracket[0] == "[" else -1
        if depth == 0:
            return bracket.end()
    raise _unread(text, start, "no ] closes it")


def _unread(text: str, at: int, why: str) -> ValueError:
    return ValueError(f"Newick: cannot read {text[at : at + 20]!r} at {place(text, at)}: {why}")


def statements(text: str, start: int = 0) -> "Iterator[tuple[int, int, bool]]":
    """Begin and end of each statement, its semicolon included if the last column says so; the last may lack one."""
    for found in _QUOTED_OR_END.finditer(text, start):
        if found[0] == ";":
            yield start, found.end(), True
            start = found.end()
    if text[start:].strip():
        yield start, len(text), False


def unquoted(quoted: "str | None", bare: "str | None") -> str:
    """The name that one of two groups holds."""
    return quoted.replace("''", "'") if quoted is not None else bare or ""
