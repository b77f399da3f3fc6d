"""The trees of a NEXUS text: where each stands, its name, and the names that TRANSLATE gives to tips.

Maddison, Swofford and Maddison 1997, "NEXUS: an extensible file format for systematic information".
"""

import re
from typing import NamedTuple

from emdref.arguments.messages import cut, shown
from emdref.spaces.files import lexer

_WORD = re.compile(r"\s*([^\s;=*']+)\s*")
_TREE = re.compile(rf"\s*(?:u?tree)(?=[\s*'])\s*\*?\s*(?:{lexer.QUOTED}|([^\s=;']+))\s*=", re.IGNORECASE)
_WORDS = re.compile(rf"{lexer.QUOTED}|([^\s;']+)")
_TRANSLATED = re.compile(rf"{lexer.QUOTED}|([^\s,;']+)|(,)")


class Entry(NamedTuple):
    """A tree in a text: from where to where, what it is called, what its tips are called."""

    start: int
    end: int
    closed: bool = True
    name: "str | None" = None
    names: "dict[str, str] | None" = None


def is_nexus(text: str) -> bool:
    """Whether a text without comments begins as NEXUS does."""
    return text[:1000].lstrip()[:6].lower() == "#nexus"


def trees(text: str) -> "list[Entry]":
    """The trees of all blocks called TREES, in their order."""
    block = ""
    names: dict[str, str] = {}
    taxa: list[list[str]] = []
    entries: list[Entry] = []
    blocks: list[str] = []
    for start, end, closed in lexer.statements(text, text.index("#") + 6):
        first = _WORD.match(text, start, end)
        word = first[1].lower() if first else ""
        if word == "begin" and first:
            second = _WORD.match(text, first.end(), end)
            block, names = second[1].lower() if second else "", {}
            blocks.append(block)
        elif word in ("end", "endblock"):
            block = ""
        elif word == "taxlabels" and first:
            taxa.append([lexer.unquoted(x[1], x[2]) for x in _WORDS.finditer(text, first.end(), end)])
        elif block == "trees" and not closed:
            raise ValueError(f"NEXUS: the text ends at {lexer.place(text, len(text))} without a ';' in its TREES block")
        elif block == "trees" and word == "translate" and first:
            names = _translated(text, first.end(), end)
        elif block == "trees" and word in ("tree", "utree"):
            entries.append(_entry(text, start, end, names or _numbers(taxa)))
    if not entries:
        held = cut(", ".join(blocks), 100) or "none"
        raise ValueError(f"NEXUS: there is no tree in a TREES block (blocks: {held}): give a file that holds one")
    return entries


def _numbers(taxa: "list[list[str]]") -> "dict[str, str]":
    """Names by number, which trees may use that no TRANSLATE is for; none if it is not clear whose numbers they are."""
    if len(taxa) != 1:
        return {}
    return {str(k): name for k, name in enumerate(taxa[0], 1) if str(k) not in taxa[0]}


def _entry(text: str, start: int, end: int, names: "dict[str, str]") -> Entry:
    head = _TREE.match(text, start, end)
    if head is None:
        begin = start + len(text[start:end]) - len(text[start:end].lstrip())
        given = shown(text[begin : min(end, begin + 40)])
        raise ValueError(f"NEXUS: {given} at {lexer.place(text, begin)} does not begin like 'tree NAME = (...);'")
    return Entry(head.end(), end, True, lexer.unquoted(head[1], head[2]), names)


def _translated(text: str, start: int, end: int) -> "dict[str, str]":
    names: dict[str, str] = {}
    pair: list[str] = []
    for found in _TRANSLATED.finditer(text, start, end):
        if not found[3]:
            pair.append(lexer.unquoted(found[1], found[2]))
        if found[3] or len(pair) > 2:
            _add(pair, names, text, found.start())
            pair = []
    if pair:
        _add(pair, names, text, end - 1)
    return names


def _add(pair: "list[str]", names: "dict[str, str]", text: str, at: int) -> None:
    if len(pair) != 2:
        raise ValueError(
            f"NEXUS: TRANSLATE has {shown(pair)} before {lexer.place(text, at)}: give pairs of a token and a name, a "
            "comma between pairs, quotes around a name with a blank"
        )
    if pair[0] in names:
        raise ValueError(
            f"NEXUS: TRANSLATE gives {shown(pair[0])} two names before {lexer.place(text, at)}: a token has one"
        )
    names[pair[0]] = pair[1]
