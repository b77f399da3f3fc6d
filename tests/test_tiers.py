"""What `slow` leaves out has a quicker test that looks at the same."""

WHAT = {  # parameters that say what is tested, not how much of it
    *("call", "domain", "dtype", "family", "function", "kernel", "name", "real", "shape", "space", "variant"),
}


def is_slow(item):
    return item.get_closest_marker("slow") is not None


def place(item, name=None):
    """File and function of a test, whatever its parameters."""
    return item.parent.nodeid, name or item.name.partition("[")[0]


def what(item):
    """... and those of its parameters that say what is tested."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    return place(item), frozenset((key, repr(value)) for key, value in given.items() if key in WHAT)


def test_a_slow_test_has_a_quick_one(collected):
    """The same with other parameters, or the one that the marker names."""
    quick = {place(item) for item in collected if not is_slow(item)}
    slow = {place(item, item.get_closest_marker("slow").kwargs.get("instead")) for item in collected if is_slow(item)}
    assert slow - quick == set()


def test_nothing_is_tested_slowly_alone(collected):
    """Each combination of function, dtype, space and the like that a slow test meets a quick one meets as well."""
    quick = {what(item) for item in collected if not is_slow(item)}
    slow = {
        what(item) for item in collected if is_slow(item) and "instead" not in item.get_closest_marker("slow").kwargs
    }
    assert slow - quick == set()
