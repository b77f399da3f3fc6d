"""Convex functions that are changed in place, against their values on a grid."""

import random

import pytest

from emdref.exact import convex

SIZE = 60


class Grid:
    """Values at 0, 1, ..., as definitions have them."""

    def __init__(self):
        self.at = [0] * SIZE

    def bend(self, rises):
        self.at = [f + sum(r * max(0, s - x) for x, r in rises.items()) for s, f in enumerate(self.at)]

    def tilt(self, slope):
        self.at = [f + slope * s for s, f in enumerate(self.at)]

    def put_in(self, slope, length):
        """Infimal convolution with slope * t for t from 0 to length."""
        self.at = [min(self.at[s - t] + slope * t for t in range(min(s, length) + 1)) for s in range(SIZE)]


@pytest.fixture(params=[(2, 0), (3, 2), (64, 8)], ids=["one by one", "both", "at once"])
def small_blocks(request, monkeypatch):
    for name, number in zip(("_BLOCK", "_FEW"), request.param, strict=True):
        monkeypatch.setattr(convex, name, number)


@pytest.mark.parametrize("seed", range(8))
def test_steps_are_right_and_taken_back(seed, small_blocks):
    rng = random.Random(seed)
    function, grid, back = convex.Convex(), Grid(), []
    for _ in range(25):
        before = function.first, list(function.stretches()), function.last
        step = rng.randrange(4)
        if step == 0:
            rises = {rng.randrange(12): rng.randrange(1, 4) for _ in range(rng.randrange(1, 5))}
            function.bend(rises), grid.bend(rises)
            undo = function.bend, {x: -r for x, r in rises.items()}
        elif step == 1:
            slope = rng.randrange(-5, 3)
            function.first += slope
            grid.tilt(slope)
            undo = (lambda by: setattr(function, "first", function.first - by)), slope
        elif step == 2:
            lengths = {function.last - rng.randrange(1, 12): rng.randrange(1, 3) for _ in range(rng.randrange(1, 4))}
            function.put_in(lengths)
            for slope, length in lengths.items():
                grid.put_in(slope, length)
            undo = function.put_in, {slope: -length for slope, length in lengths.items()}
        else:
            top = function.last - rng.randrange(-1, 8)
            undo = function.restore, function.cut(top)
            grid.put_in(top, SIZE)
        back.append((before, *undo))
        slopes = [b - a for a, b in zip(grid.at, grid.at[1:], strict=False)]
        assert [function.slope_before(x) for x in range(1, SIZE)] == slopes
        assert function.first <= slopes[0] and len(function) == len(list(function.stretches()))
        for slope in range(min(slopes) - 1, function.last + 1):
            start, end = function.stretch(slope)
            assert start >= SIZE or slopes[:start] == [s for s in slopes if s < slope]
            assert end is None or start >= SIZE or slopes[start:end] == [s for s in slopes if s == slope]
            assert (end is None) == (slope == function.last)
    for before, undo, what in reversed(back):
        undo(what)
        assert (function.first, list(function.stretches()), function.last) == before
    assert (function.first, len(function)) == (0, 0)
