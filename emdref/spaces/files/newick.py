"""Newick trees: one loop over names, lengths and marks with an explicit stack, so that depth is no limit.

The grammar is Olsen's (1990, phylipweb.github.io/phylip/newick_doc.html): names in single quotes hold anything, and
comments in brackets may be nested.  Underscores stay as they are.
"""

import math
import operator
import os
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from emdref.arguments import messages
from emdref.arguments.messages import shown
from emdref.spaces.files import contents, lexer, nexus
from emdref.spaces.files.nexus import Entry
from emdref.spaces.files.parts import Negatives, Parts, branch_costs

_LONGEST = 4096  # characters of a path
_QUOTES = "a name with a blank or an apostrophe stands in single quotes, and has the apostrophe twice: 'Foo''s bat'"
_PATH = " (a str is text: for a file, give its pathlib.Path)"
_JSON = "JSON, not Newick: give the file's path to Tree.from_file"
# a name, a length, the mark that ends them; or else a character where none of it stands
_ITEM = re.compile(rf"\s*(?:(?:{lexer.QUOTED}|({lexer.BARE}))\s*)?(?::\s*({lexer.BARE})\s*)?([(),;])|(.)", re.DOTALL)
_TOKEN = re.compile(rf"\s+|(?P<mark>[(),:;])|{lexer.QUOTED.replace('(', '(?P<quoted>', 1)}|(?P<bare>{lexer.BARE})")
COUNTED = re.compile(r"\s*([0-9]+(?:\s+[0-9]+)?)\s*\(")  # as PHYLIP and PAML begin a file of trees
_HYBRID = re.compile(r"#(?:H|LGT|R)[0-9]+$")


def read(source: "str | os.PathLike[str]") -> str:
    """The text itself for a str, the file's content (unpacked if gzip made it) for a path."""
    if isinstance(source, str):
        if len(source) <= _LONGEST and os.path.isfile(source):
            raise ValueError(f"source names a file, and a str is Newick text: give pathlib.Path({shown(source, 200)})")
        return source
    if not isinstance(source, os.PathLike):
        raise TypeError(f"source must be Newick text (str) or a path, not {messages.type_name(source)}")
    return contents.text(contents.read(source), source)


def parse(text: str, in_file: bool, index: Any, negatives: Negatives) -> Parts:
    """One tree of a Newick or NEXUS text, which may come from a file; bins are the tips in the order of the text."""
    text = text.removeprefix("\ufeff")
    start = text[:100].lstrip()
    try:
        clean = lexer.without_comments(text) if "[" in text or "]" in text else text
        if nexus.is_nexus(clean):
            return _tree(clean, _chosen(nexus.trees(clean), index, "NEXUS"), negatives)
        return _tree(clean, _newick(clean, index), negatives)
    except ValueError as error:
        other = _JSON if start.startswith("{") else contents.other(start)
        if other:
            raise ValueError(f"the text is {other}") from None
        if "\0" in start:
            raise ValueError("the text holds NUL characters: read it as utf-16, or unpack it first") from None
        if in_file or ";" in text or start.startswith(("(", "[")):
            raise
        raise ValueError(f"{error}{_PATH}") from None


def _newick(text: str, index: Any) -> Entry:
    counted = COUNTED.match(text)
    if counted:
        raise ValueError(
            f"Newick: {shown(counted[1])} stands before the first parenthesis, a count as PHYLIP and PAML write it: "
            "take it out"
        )
    entries = [Entry(*statement) for statement in lexer.statements(text)]
    if len(entries) > 1 and (index is None or not entries[-1].closed):
        after = entries[0].end
        at = after + len(text[after:]) - len(text[after:].lstrip())
        closed = sum(entry.closed for entry in entries)
        what = f"the text holds {closed} trees, choose one by index=, from 0 to {closed - 1}"
        if not entries[-1].closed:
            at, what = (at, "it has no ';' of its own") if closed == 1 else (entries[-1].start, "it has no ';'")
        raise ValueError(f"Newick: something follows the final ';' at {lexer.place(text, at)}: {what}")
    return _chosen(entries or [Entry(0, len(text), False)], index, "Newick")


def _chosen(entries: "list[Entry]", index: Any, kind: str) -> Entry:
    """The tree that `index` names."""
    size = len(entries)
    there = f"the text holds {size} tree{'s' * (size > 1)}, 0 to {size - 1}"
    if index is None:
        if size > 1:
            raise ValueError(f"{kind}: the text holds {size} trees, choose one by index=, from 0 to {size - 1}")
        return entries[0]
    if isinstance(index, str):
        found = [k for k, entry in enumerate(entries) if entry.name == index]
        if len(found) != 1:
            what = f"names {len(found)} trees, of which the first is {found[0]}" if found else "names no tree"
            raise ValueError(f"index={shown(index)} {what}: {there}")
        return entries[found[0]]
    try:
        if isinstance(index, bool):
            raise TypeError
        place = operator.index(index)
    except TypeError:
        raise TypeError(f"index={shown(index)} must be an integer, or the name of a tree in NEXUS") from None
    if not -size <= place < size:
        raise ValueError(f"index={shown(index)} is out of range: {there}")
    return entries[place]


def _tree(text: str, entry: Entry, negatives: Negatives) -> Parts:
    """The tree of an entry; `node` is the one that the next name and length belong to."""
    parent, label = [-1], [""]
    length: list[float | None] = [None]
    stack: list[int] = []
    node, before, at = 0, "(", entry.start
    for item in _ITEM.finditer(text, entry.start, entry.end):
        quoted, bare, size, mark, _ = item.groups()
        if mark == "(":
            if before == ")" or bare or size or quoted is not None:
                break
            stack.append(node)
        else:
            if not mark or (mark == ";") == bool(stack):
                break
            if bare:
                label[node] = bare
            elif quoted:
                label[node] = quoted.replace("''", "'")
            if size:
                length[node] = _length(text, size, item.start(3), node, label[node], negatives)
        at, before = item.end(), mark
        if mark == ")":
            node = stack.pop()
        elif mark != ";":
            node = len(parent)
            parent.append(stack[-1])
            length.append(None)
            label.append("")
    if before != ";" or at < entry.end:
        _refuse(text, at, entry.end, before, len(stack))
    _refuse_network(parent, label)
    names = entry.names or {}
    above = set(parent)
    tips = [v for v in range(len(parent)) if v not in above]
    for v in tips if names else []:
        label[v] = names.get(label[v], label[v])
    costs, missing = branch_costs(length, label, "Newick")
    return Parts(parent, costs, tips, label, (*missing, *negatives.notes))


def _length(text: str, size: str, at: int, node: int, label: str, negatives: Negatives) -> float:
    try:
        value = float(size.replace("_", "?"))  # Python would read 1_0 as 10
    except ValueError:
        raise ValueError(
            f"Newick: branch length {shown(size)} at {lexer.place(text, at)} is not a number, such as 0.1 or 1e-3"
        ) from None
    if 0 <= value < math.inf:
        return value
    who = f"node {node} ({shown(label, 40)})"
    if node == 0 or negatives.let(value, who):  # the root's is ignored
        return 0.0
    way = f": {who}; {negatives.WAY}" if -math.inf < value < 0 else f": {who}"
    raise ValueError(f"Newick: branch length {shown(size)} at {lexer.place(text, at)} is not finite and >= 0{way}")


def _refuse(text: str, at: int, end: int, before: str, depth: int) -> NoReturn:
    """Say which token cannot stand where it does; what was read before `at` ended with `before`."""
    for kind, value, here in _tokens(text, at, end):
        what, taken = (f"name {shown(value)}" if kind == "name" else kind), kind
        if kind == "name" and before == ":" and text[here] != "'":
            _length(text, value, here, 0, "", Negatives("zero"))
            allowed, taken = True, "length"
        elif kind == "name":
            allowed = before in ("(", ",", ")")
        elif kind == "(":
            allowed, depth = before in ("(", ","), depth + 1
        elif kind == ":":
            allowed = before not in (":", "length")
        else:
            allowed, depth = before != ":" and (kind == ";") == (depth == 0), depth - (kind == ")")
        if not allowed:
            unclosed = kind == ";" and depth > 0
            hint = "a parenthesis is open" if unclosed else "check the commas, colons and parentheses before it"
            hint = _QUOTES if before == kind == "name" else hint
            raise ValueError(f"Newick: unexpected {what} at {lexer.place(text, here)}: {hint}")
        before = taken
    raise ValueError(f"Newick: the text ends at {lexer.place(text, end)} without a ';'")


def _tokens(text: str, at: int, end: int) -> "Iterator[tuple[str, str, int]]":
    while at < end:
        found = _TOKEN.match(text, at, end)
        if found is None:
            hint = {"'": _QUOTES, "[": "no ] closes it", "]": "no [ opens it"}[text[at]]
            raise ValueError(f"Newick: cannot read {text[at : at + 20]!r} at {lexer.place(text, at)}: {hint}")
        if found["mark"]:
            yield found["mark"], "", at
        elif found["quoted"] is not None or found["bare"]:
            yield "name", lexer.unquoted(found["quoted"], found["bare"]), at
        at = found.end()


def _refuse_network(parent: "list[int]", label: "list[str]") -> None:
    """Extended Newick (Cardona, Rossello, Valiente 2008) writes a node of two parents twice, once with its children."""
    found = ((v, _HYBRID.search(name)) for v, name in enumerate(label) if "#" in name)
    tags = [(v, tag[0]) for v, tag in found if tag]
    above = set(parent) if tags else set()
    inner = {tag for v, tag in tags if v in above}
    for v, tag in tags:
        if v not in above and tag in inner:
            raise ValueError(
                f"Newick: {shown(tag)} stands twice, once with nodes below it: this is a network, in which a node has "
                "two parents; take one of the two out"
            )
