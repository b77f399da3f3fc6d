"""What `slow` leaves out has a quicker test that looks at the same."""

import itertools
from types import SimpleNamespace

from tiers import is_slow, place, thin, what


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


FILE = SimpleNamespace(nodeid="test_file.py")


class Case:
    """What `thin` asks of a test."""

    def __init__(self, **indices):
        self.callspec, self.marks = self, []
        self.params = indices
        self.parent, self.name, self.nodeid = FILE, "test_it", f"test_file.py::test_it[{indices}]"

    def get_closest_marker(self, name):
        return next(iter(self.marks), None)

    def add_marker(self, mark):
        self.marks.append(mark)


def test_all_pairs_and_all_combinations_of_what_is_tested_are_met_quickly():
    axes = {"dtype": 2, "family": 5, "gauge": 4, "rho": 6}
    cases = [Case(**dict(zip(axes, x, strict=True))) for x in itertools.product(*map(range, axes.values()))]
    thin(cases)
    quick = [case.params for case in cases if not is_slow(case)]
    for a, b in itertools.combinations(axes, 2):
        assert {(case[a], case[b]) for case in quick} == set(itertools.product(range(axes[a]), range(axes[b])))
    assert 6 * 5 <= len(quick) < len(cases) / 3  # pairs of family and rho


def test_few_cases_are_all_kept():
    cases = [Case(gauge=a, rho=b, mass=c) for a in range(2) for b in range(2) for c in range(2)]
    thin(cases)
    assert not any(map(is_slow, cases))
