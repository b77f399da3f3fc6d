"""Convex, piecewise linear functions of x >= 0 in integers, changed in place, and back again.

A function is its first slope and pairs, (length of a stretch, rise of the slope after it); the last stretch has no end.
To add |x - a| is to put in a rise at a; the infimal convolution with another function puts in its stretches where their
slopes belong.  Neither moves another pair, so that pairs in blocks, with the sums of each, make both short, and as no
length and no rise is 0, what is taken back leaves the function as it was.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate, chain, pairwise

_BLOCK = 64  # pairs, up to twice as many
_FEW = 8  # times as many pairs make it worth to change one after the other


class Convex:
    """A function, at first 0 everywhere."""

    def __init__(self) -> None:
        self.first = 0  # slope
        self._lengths: list[list[int]] = []
        self._rises: list[list[int]] = []
        self._length: list[int] = []  # of each block
        self._rise: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._lengths))

    @property
    def last(self) -> int:
        """The slope in the end."""
        return self.first + sum(self._rise)

    def stretches(self) -> Iterator[tuple[int, int]]:
        """Slope and length of each stretch but the last."""
        slope = self.first
        for lengths, rises in zip(self._lengths, self._rises, strict=True):
            for length, rise in zip(lengths, rises, strict=True):
                yield slope, length
                slope += rise

    def slope_before(self, x: int) -> int:
        """On the left of x > 0."""
        b, x = _find(bisect_left, self._length, x)
        slope = self.first + sum(self._rise[:b])
        if b < len(self._length):
            i, _ = _find(bisect_left, self._lengths[b], x)
            slope += sum(self._rises[b][:i])
        return slope

    def stretch(self, slope: int) -> tuple[int, int | None]:
        """From where to where it has that slope, None for no end; twice where it grows larger, if it does nowhere."""
        if slope < self.first:
            return 0, 0
        b, left = _find(bisect_right, self._rise, slope - self.first)
        start = sum(self._length[:b])
        if b == len(self._rise):
            return start, None if left == 0 else start
        lengths, slopes = self._lengths[b], list(accumulate(self._rises[b], initial=0))
        i = bisect_left(slopes, left)
        start += sum(lengths[:i])
        return start, start + lengths[i] if slopes[i] == left else start

    def bend(self, rises: dict[int, int]) -> None:
        """Add the sum of rise * max(0, s - x) as a function of s, for each x >= 0; negative rises take that back."""
        self.first += rises.get(0, 0)
        if len(rises) * _FEW < len(self):
            for x, rise in rises.items():
                if x:
                    self._bend(x, rise)
            return
        at = dict(zip(accumulate(chain(*self._lengths)), chain(*self._rises), strict=True))
        for x, rise in rises.items():
            at[x] = at.get(x, 0) + rise
        at.pop(0, None)
        ends = sorted(x for x in at if at[x])
        self._fill([b - a for a, b in pairwise([0, *ends])], [at[x] for x in ends])

    def put_in(self, lengths: dict[int, int]) -> None:
        """Put in stretches, by slope, below the last slope; negative lengths take them out."""
        if len(lengths) * _FEW < len(self):
            for slope, length in lengths.items():
                self._put_in(slope, length)
            return
        last, all_ = self.last, dict(self.stretches())
        for slope, length in lengths.items():
            all_[slope] = all_.get(slope, 0) + length
        slopes = [*sorted(slope for slope in all_ if all_[slope]), last]
        self.first = slopes[0]
        self._fill([all_[slope] for slope in slopes[:-1]], [b - a for a, b in pairwise(slopes)])

    def _fill(self, lengths: list[int], rises: list[int]) -> None:
        """Put in all pairs anew."""
        starts = range(0, len(lengths), _BLOCK)
        self._lengths, self._rises = ([x[i : i + _BLOCK] for i in starts] for x in (lengths, rises))
        self._length, self._rise = ([sum(x) for x in blocks] for blocks in (self._lengths, self._rises))

    def _bend(self, x: int, rise: int) -> None:
        b, left = _find(bisect_left, self._length, x)
        if b == len(self._length):
            self._add(left, rise)
            return
        lengths, rises = self._lengths[b], self._rises[b]
        i, left = _find(bisect_left, lengths, left)
        self._rise[b] += rise
        if left < lengths[i]:
            lengths[i] -= left
            lengths.insert(i, left)
            rises.insert(i, rise)
            self._split(b)
            return
        rises[i] += rise
        if not rises[i]:  # one stretch with the next
            rises.pop(i)
            length = lengths.pop(i)
            if i < len(lengths):
                lengths[i] += length
            else:
                self._length[b] -= length
                if b + 1 < len(self._length):
                    self._lengths[b + 1][0] += length
                    self._length[b + 1] += length
            self._drop(b)

    def _put_in(self, slope: int, length: int) -> None:
        if slope < self.first:
            self._add(length, self.first - slope, first=True)
            self.first = slope
            return
        b, left = _find(bisect_right, self._rise, slope - self.first)
        lengths, rises = self._lengths[b], self._rises[b]
        slopes = list(accumulate(rises, initial=0))
        i = bisect_right(slopes, left) - 1
        self._length[b] += length
        if slopes[i] < left:
            rises[i] = left - slopes[i]
            rises.insert(i + 1, slopes[i + 1] - left)
            lengths.insert(i + 1, length)
            self._split(b)
            return
        lengths[i] += length
        if not lengths[i]:  # one rise with that before
            lengths.pop(i)
            rise = rises.pop(i)
            if i:
                rises[i - 1] += rise
            else:
                self._rise[b] -= rise
                if b:
                    self._rises[b - 1][-1] += rise
                    self._rise[b - 1] += rise
                else:
                    self.first += rise
            self._drop(b)

    def cut(self, top: int) -> list[tuple[int, int]]:
        """Let no slope be larger; what `restore` needs to take that back."""
        gone, slope = [], self.last
        while self._rises and slope > top:
            rise = min(self._rises[-1][-1], slope - top)
            slope -= rise
            self._rise[-1] -= rise
            self._rises[-1][-1] -= rise
            length = 0
            if not self._rises[-1][-1]:
                self._rises[-1].pop()
                length = self._lengths[-1].pop()
                self._length[-1] -= length
                self._drop(len(self._rises) - 1)
            gone.append((length, rise))
        if slope > top:
            gone.append((-1, slope - top))
            self.first = top
        return gone

    def restore(self, gone: list[tuple[int, int]]) -> None:
        """Take a `cut` back."""
        for length, rise in reversed(gone):
            if length > 0:
                self._add(length, rise)
            elif length < 0:
                self.first += rise
            else:
                self._rises[-1][-1] += rise
                self._rise[-1] += rise

    def _add(self, length: int, rise: int, *, first: bool = False) -> None:
        """A pair after all others, or before them."""
        if not self._lengths:
            self._new(0, [length], [rise])
            return
        b = 0 if first else len(self._lengths) - 1
        at = 0 if first else len(self._lengths[b])
        self._lengths[b].insert(at, length)
        self._rises[b].insert(at, rise)
        self._length[b] += length
        self._rise[b] += rise
        self._split(b)

    def _new(self, b: int, lengths: list[int], rises: list[int]) -> None:
        self._lengths.insert(b, lengths)
        self._rises.insert(b, rises)
        self._length.insert(b, sum(lengths))
        self._rise.insert(b, sum(rises))

    def _split(self, b: int) -> None:
        """No block grows too long."""
        if len(self._lengths[b]) > 2 * _BLOCK:
            lengths, rises = self._lengths[b][_BLOCK:], self._rises[b][_BLOCK:]
            del self._lengths[b][_BLOCK:], self._rises[b][_BLOCK:]
            self._length[b] -= sum(lengths)
            self._rise[b] -= sum(rises)
            self._new(b + 1, lengths, rises)

    def _drop(self, b: int) -> None:
        """No block is empty."""
        if not self._lengths[b]:
            del self._lengths[b], self._rises[b], self._length[b], self._rise[b]


def _find(bisect: object, parts: list[int], at: int) -> tuple[int, int]:
    """In which part a place is, and how far from its start; the number of parts, if beyond all."""
    ends = list(accumulate(parts))
    i: int = bisect(ends, at)  # type: ignore[operator]  # bisect_left or bisect_right
    return i, at - (ends[i - 1] if i else 0)
