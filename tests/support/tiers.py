"""Which tests are quick: those not marked `slow`, and of tests with many parameters a part that meets all their pairs.

Most faults show for one value of a parameter or for two together. So a test with many cases keeps, in the quick tier,
cases until each pair of its parameters' values has been met, and each combination of those that say what is tested;
the others are marked slow. Which are kept does not depend on the process, the machine or the folder.
"""

import heapq
import itertools
import zlib
from collections import defaultdict

import pytest

WHAT = {  # parameters that say what is tested, not how much of it
    *("call", "domain", "dtype", "function", "kernel", "name", "real", "shape", "space", "variant"),
}
MANY = 8  # cases of a test; fewer are all kept
WHOLE = ("test_plain_", "test_bad_input", "test_messages")  # files of which all is kept: what faults face first


def is_slow(item):
    return item.get_closest_marker("slow") is not None


def place(item, name=None):
    """File and function of a test, whatever its parameters."""
    return item.parent.nodeid, name or item.name.partition("[")[0]


def what(item):
    """... and those of its parameters that say what is tested."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    return place(item), frozenset((key, repr(value)) for key, value in given.items() if key in WHAT)


def thin(items):
    """Mark as slow what meets no pair of values, and no combination of what is tested, that others do not meet."""
    cases = defaultdict(list)
    for item in items:
        if hasattr(item, "callspec") and not is_slow(item) and not _is_whole(item):
            cases[place(item)].append(item)
    for many in cases.values():
        if len(many) > MANY:
            _thin(many)


def _is_whole(item):
    return any(x in item.nodeid.partition("::")[0] for x in WHOLE)


def _thin(many):
    """Again and again the case that meets most that none has met is kept; of equals, the first by chance."""
    items = sorted(many, key=_draw)
    meets = [*map(_meets, items)]
    waiting = [(-len(new), i) for i, new in enumerate(meets)]
    heapq.heapify(waiting)
    met = set()
    while waiting:
        promised, i = heapq.heappop(waiting)  # what it met when it was last looked at: no fewer than today
        new = len(meets[i] - met)
        if new and new == -promised:
            met |= meets[i]
        elif new:
            heapq.heappush(waiting, (-new, i))
        else:
            items[i].add_marker(pytest.mark.slow)


def _draw(item):
    """A number by chance, as if all tests lay in one folder: a file that moves keeps its quick cases."""
    file, _, test = item.nodeid.partition("::")
    return zlib.crc32(f"tests/{file.rpartition('/')[2]}::{test}".encode())


def _meets(item):
    given = [(name, _same(value)) for name, value in sorted(item.callspec.params.items())]
    return {*itertools.combinations(given, 2), frozenset(x for x in given if x[0] in WHAT), *given}


def _same(value):
    """Equal for values that are the same, whatever they are."""
    try:
        hash(value)
    except TypeError:
        return id(value)
    return type(value), value
