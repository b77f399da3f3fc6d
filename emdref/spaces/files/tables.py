"""Trees from lines of text: a list of edges, or names with the index of the parent's line."""

import csv
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from emdref.spaces.files import named_edges
from emdref.spaces.files.named_edges import quote
from emdref.spaces.files.parts import Negatives, Parts

COLUMNS = ("parent", "child", "cost")
ORDER = "; lines go `parent child [cost]` unless a first line says `child,parent,cost`"
ROOT = "root"


class Row(NamedTuple):
    """The columns of a line; `place` is what a message calls it."""

    place: str
    fields: list[str]


def read(text: str, negatives: Negatives) -> Parts:
    """Tree of a table of two or three columns, apart by tabs, commas or blanks (the first line decides, in this order).

    Blank lines and lines that begin with ``#`` are skipped; with tabs or commas a name may be quoted as in CSV.

    - *Edges*: ``parent child`` or ``parent child cost``; a first line that holds ``parent`` and ``child``, and maybe
      ``cost``, names the columns and so their order.
    - *Names and indices*: ``name index`` or ``name index cost``, the index counting the lines that are not skipped from
      0, and -1 having no parent.  A table without a header whose second column holds -1 somewhere is one of these.  If
      several lines hold -1 they are joined under one new root, the last node, by edges of their own cost.

    The leaves are the bins, in the order of the lines; costs are 1 where no line has one.
    """
    rows = _rows(text)
    header = [field.lower() for field in rows[0].fields]
    if {"parent", "child"} <= set(header):
        return _edges(rows[1:], _checked(header, rows[0].place), negatives)
    if any(row.fields[1] == "-1" for row in rows):
        return _indices(rows, negatives)
    return _edges(rows, list(COLUMNS[: len(header)]), negatives)


def _rows(text: str) -> "list[Row]":
    """Rows of as many columns as the first, which has two or three."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    kept = [(at, line) for at, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")]
    if not kept:
        raise ValueError("every line is blank or a comment: a tree has at least one line `parent child`")
    separator = next((mark for mark in "\t," if mark in kept[0][1].strip()), None)
    rows = [Row(f"line {at}", _split(line, separator, at)) for at, line in kept]
    width = len(rows[0].fields)
    if width not in (2, 3):
        raise ValueError(
            f"{rows[0].place}: {quote(kept[0][1].strip())} has {width} column{'s' * (width > 1)}: give two or three, "
            "`parent child [cost]`, apart by blanks, tabs or commas"
        )
    for row in rows:
        if len(row.fields) != width:
            raise ValueError(
                f"{row.place}: {quote(' '.join(row.fields))} has {len(row.fields)} of the {width} columns of "
                f"{rows[0].place}: give all lines the same "
                "(quote a name with a separator in it, and give every edge a cost or none)"
            )
        if not all(row.fields):
            raise ValueError(
                f"{row.place}: column {row.fields.index('') + 1} is empty: fill it in (a root needs no line)"
            )
    return rows


def _split(line: str, separator: "str | None", at: int) -> "list[str]":
    if separator is None:
        return line.split()
    if '"' not in line:  # for speed alone
        return [field.strip() for field in line.split(separator)]
    try:
        fields = next(csv.reader([line.strip()], delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ValueError(f"line {at}: {quote(line)} is not a line of CSV ({error}): check the quotes") from None
    return [field.strip() for field in fields]


def _checked(header: "list[str]", place: str) -> "list[str]":
    if len(set(header)) < len(header) or not set(header) <= set(COLUMNS):
        raise ValueError(
            f"{place}: the columns are {', '.join(map(quote, header))}: name two or three of them, parent, child and "
            "maybe cost, each once, and take out others"
        )
    return header


def _edges(rows: "list[Row]", columns: "list[str]", negatives: Negatives) -> Parts:
    if not rows:
        raise ValueError("the first line names the columns and no edge follows: a tree has at least one")
    parent, child = columns.index("parent"), columns.index("child")
    costs = _costs(rows, columns.index("cost") if "cost" in columns else None, negatives)
    edges = (
        named_edges.Edge(row.fields[child], row.fields[parent], cost, row.place)
        for row, cost in zip(rows, costs, strict=True)
    )
    return named_edges.parts(edges, negatives, hint=ORDER)


def _costs(rows: "list[Row]", column: "int | None", negatives: Negatives) -> "Iterator[float]":
    for row in rows:
        yield 1.0 if column is None else named_edges.number(row.fields[column], row.place, negatives)


def _indices(rows: "list[Row]", negatives: Negatives) -> Parts:
    names, places = [row.fields[0] for row in rows], [row.place for row in rows]
    _refuse_numbers(names, next(row.place for row in rows if row.fields[1] == "-1"))
    parent = np.array([_index(row, len(rows)) for row in rows])
    costs = list(_costs(rows, 2 if len(rows[0].fields) == 3 else None, negatives))
    named_edges.refuse_cycle(parent, names, places)
    roots = np.flatnonzero(parent < 0)
    if len(roots) > 1:
        parent[roots] = len(rows)
        parent, costs, names = np.append(parent, -1), [*costs, 0.0], [*names, ROOT]
    return Parts(parent, costs, None, names, negatives.notes)


def _refuse_numbers(names: "list[str]", place: str) -> None:
    """A table of numbers with a -1 can be either kind, unless each name is its own index."""
    if all(name.isdecimal() for name in names) and names != [str(v) for v in range(len(names))]:
        raise ValueError(
            f"{place}: -1 in a table of numbers can be a node or mean that there is no parent: name the columns in a "
            "first line `child,parent`, and leave out the line of the root"
        )


def _index(row: Row, size: int) -> int:
    text = row.fields[1]
    try:
        index = int(text.replace("_", "?")) if len(text) < 20 else size
    except ValueError:
        index = size
    if not -1 <= index < size:
        raise ValueError(
            f"{row.place}: {quote(text)} is no index from -1 to {size - 1}; the second column of another line is -1, "
            "so that it is read as the parent's index (a first line `parent,child` would make it a name)"
        )
    return index
