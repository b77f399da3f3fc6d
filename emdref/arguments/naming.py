"""Names that callers give, found among the names that a space has; what is unknown, missing or twice is listed."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from emdref.arguments.messages import cut, shown, type_name

Names = list[Any]
_TRUTH = (bool, np.bool_)  # equal to 1 and 0, which are other names
_LISTED = 10  # names of a kind that a message lists
_ROOM = 280  # characters of a message with a list
_LEAST, _MOST = 12, 24  # characters of a name in one
_READINGS: dict[str, Callable[[Any], Hashable]] = {
    "map(str, {})": str,
    "map(int, {})": int,
    "map(float, {})": float,
    "[x.decode() for x in {}]": lambda x: x.decode(),
    "[str(int(x)) for x in {}]": lambda x: str(int(x)),
}


def listed(names: Any, argument: str) -> Names:
    """Names as a list: hashable, in an order, at least one."""
    if isinstance(names, (str, bytes)):
        raise TypeError(f"{argument} is {shown(names)}, one name: give a list of names")
    if isinstance(names, (set, frozenset)):
        raise TypeError(f"{argument} is a set, which has no order: give a list of names")
    dates = getattr(getattr(names, "dtype", None), "kind", "") in ("M", "m")  # of which tolist makes integers
    try:
        values = names.tolist() if hasattr(names, "tolist") and not dates else list(names)
    except TypeError:
        values = None
    if not isinstance(values, list):
        raise TypeError(f"{argument}={shown(names)} must be a sequence")
    if not values:
        raise ValueError(f"{argument} is empty: give at least one name")
    for k, x in enumerate(values):
        try:
            hash(x)
        except TypeError:
            raise TypeError(
                f"{argument}[{k}] = {shown(x)} is not hashable, so that it is no name: give text or a number"
            ) from None
    return values


class Sought(NamedTuple):
    """What names are looked for among, and the ways out that messages show."""

    what: str  # what has the labels: a bin, a node
    place: Callable[[int], str]  # how a message calls the one at a place
    twice: str  # what to do with names that are given twice
    missing: str = ""  # what to do about labels that nobody names; without it they need not be named
    nodes: Sequence[Any] = ()  # labels of all nodes, those without a bin as well


def find(names: Names, labels: Sequence[Any], argument: str, among: Sought) -> list[int]:
    """The place of each name among labels."""
    what = among.what
    place: dict[Any, int] = {}
    again: dict[Any, int] = {}
    for k, x in enumerate(labels):
        if place.setdefault(x, k) != k:
            again.setdefault(x, k)
    if again:
        asked = again if among.missing else (x for x in names if x in again)
        for x in asked:
            raise ValueError(
                f"{what}s {among.place(place[x])} and {among.place(again[x])} have one name, {shown(x)}, so that "
                f"{argument} cannot tell them apart: make the space with labels that differ"
            )
    unknown = [x for x in names if x not in place or (isinstance(x, _TRUTH) != isinstance(labels[place[x]], _TRUTH))]
    way = other_type(unknown, labels, argument)
    if way:
        raise ValueError(
            f"{argument} holds {type_name(unknown[0])}, such as {shown(unknown[0], 40)}, and the {what}s are named by "
            f"{type_name(labels[0])}, such as {shown(labels[0], 40)}: give {cut(way)}"
        )
    given: dict[Any, None] = {}
    twice: dict[Any, None] = {}
    for x in names:
        (twice if x in given else given)[x] = None
    missing = [x for x in labels if x not in given] if among.missing else []
    faults = {
        "unknown": (list(dict.fromkeys(unknown)), _way_out(unknown, among.nodes)),
        "missing": (missing, among.missing),
        "given twice": (list(twice), among.twice),
    }
    if unknown or missing or twice:
        raise ValueError(_told({kind: fault for kind, fault in faults.items() if fault[0]}, argument))
    return [place[x] for x in names]


def _way_out(unknown: Names, nodes: Sequence[Any]) -> str:
    """What to do about unknown names, some of which may be nodes that have no bin."""
    if unknown and all(isinstance(x, _TRUTH) for x in unknown):
        return "a mask takes names out of bin_labels: give bin_labels[mask]"
    known = set(nodes)
    empty = [x for x in unknown if x in known]
    if not empty:
        return "drop what is unknown"
    return f"drop what is unknown, or give the tree a bin at node {shown(empty[0], 24)} too"


def _told(faults: dict[str, tuple[Names, str]], argument: str) -> str:
    """Kinds of faults, each with its first names and how many there are, and the ways out."""
    ways = "; ".join(way for _, way in faults.values())
    counts = {kind: f"{len(x)} {kind}" for kind, (x, _) in faults.items()}
    room = _ROOM - len(argument) - len(ways) - sum(map(len, counts.values()))
    lists: dict[str, str] = {}
    for k, kind in enumerate(sorted(faults, key=lambda kind: len(faults[kind][0]))):
        lists[kind] = few(faults[kind][0], room // (len(faults) - k))  # what one list leaves the next may use
        room -= len(lists[kind])
    return f"{argument}: {', '.join(f'{counts[kind]} ({lists[kind]})' for kind in faults)}: {ways}"


def few(names: Sequence[Any], room: int) -> str:
    """The first ten of some names, cut or fewer if there is no room."""
    first, text = names[:_LISTED], ""
    for most in range(_MOST, _LEAST - 1, -4):
        text = ", ".join(shown(x, most) for x in first)
        if len(text) <= room - 5:
            break
    while len(text) > room - 5 and len(first) > 1:
        first = first[:-1]
        text = ", ".join(shown(x, _LEAST) for x in first)
    return text + (", ..." if len(first) < len(names) else "")


def other_type(unknown: Sequence[Any], labels: Sequence[Any], argument: str) -> str:
    """How to read names that are unknown for being of another type than the labels, as 1 and "1"; else ""."""
    given, own = {type(x) for x in unknown}, {type(x) for x in labels}
    if len(given) != 1 or given & own or (given | own) & set(_TRUTH):
        return ""
    known = set(labels)
    found = {way: sum(_reads(reading, x, known) for x in unknown) for way, reading in _READINGS.items()}
    way = max(found, key=lambda way: found[way])
    return way.format(argument) if found[way] else ""


def _reads(reading: Callable[[Any], Hashable], name: Any, known: set[Any]) -> bool:
    try:
        return reading(name) in known
    except Exception:  # of whoever made the name: it cannot be read so
        return False
