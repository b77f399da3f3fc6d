"""The formats of records: WFDB (.hea) and EDF (.edf, .bdf), one channel at a time; extra ``records``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis.experiments.breathing.spectra import Array

PART = 1 << 20  # frames of a WFDB record read at once, with all channels: a whole night's need not be in memory


class Header(NamedTuple):
    """What a record says of itself."""

    names: tuple[str, ...]  # of its channels
    rates: tuple[float, ...]  # samples a second
    pieces: frozenset[str] = frozenset()  # records of the folder that it is put together from


class Signal(NamedTuple):
    """One channel of a record; gaps are NaN."""

    values: Array
    rate: float  # samples a second


class Format(NamedTuple):
    """How to read a kind of file."""

    title: str
    package: str
    header: Callable[[Path], Header]
    signal: Callable[[Path, int], Signal]


def header(path: Path) -> Header:
    """Of a record, without its samples."""
    with _reading(path):
        return FORMATS[path.suffix.lower()].header(path)


def signal(path: Path, channel: int) -> Signal:
    """A whole channel, counted from 0."""
    with _reading(path):
        return FORMATS[path.suffix.lower()].signal(path, channel)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Any error of the libraries as one that names the file and the way out."""
    kind = FORMATS[path.suffix.lower()]
    if find_spec(kind.package) is None:
        raise RuntimeError(
            f"--records: {path} is {kind.title}: to read it install the extra: "
            "python3 -m pip install --editable '.[records]'"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those libraries' use of others: importing wfdb warns with pandas 3.1
            yield
    except MemoryError:
        raise
    except Exception as error:  # wfdb raises many kinds, Exception itself among them
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RuntimeError(
            f"--records: {path} cannot be read as {kind.title} ({reason}): fetch it again, or take it out of the folder"
        ) from error


def _wfdb_header(path: Path) -> Header:
    import wfdb

    head = wfdb.rdheader(_stem(path), rd_segments=True)
    whole = isinstance(head, wfdb.Record)
    first = head if whole else _first(head)
    rates = tuple(head.fs * samples for samples in first.samps_per_frame or ())
    return Header(tuple(first.sig_name or ()), rates, frozenset(() if whole else head.seg_name))


def _wfdb_signal(path: Path, channel: int) -> Signal:
    import wfdb

    head = wfdb.rdheader(_stem(path), rd_segments=True)
    return _joined(path, head, channel) if isinstance(head, wfdb.MultiRecord) else _whole(head, _stem(path), channel)


def _first(head: Any) -> Any:
    """A segment that has all channels: where segments differ in them, the first only lists them."""
    return next(segment for segment in head.segments if segment is not None)


def _joined(path: Path, head: Any, channel: int) -> Signal:
    """Segments one after the other, with gaps where there is none or it lacks the channel."""
    name, parts = _first(head).sig_name[channel], []
    for title, length, segment in zip(head.seg_name, head.seg_len, head.segments, strict=True):
        lacks = segment is None or not length or name not in segment.sig_name
        number = channel if head.layout == "fixed" or lacks else segment.sig_name.index(name)
        parts.append(length if lacks else _whole(segment, str(path.with_name(title)), number))
    rates = {part.rate for part in parts if isinstance(part, Signal)}
    if len(rates) != 1:
        raise ValueError(f"channel {name!r} has the rates {sorted(rates)} in its segments")
    rate = rates.pop()
    gaps = (None if isinstance(part, Signal) else np.full(round(part * rate / head.fs), np.nan) for part in parts)
    values = [part.values if gap is None else gap for part, gap in zip(parts, gaps, strict=True)]
    return Signal(np.concatenate(values), rate)


def _whole(head: Any, stem: str, channel: int) -> Signal:
    length = head.sig_len
    starts = range(0, length, PART) if length else [0]
    parts = [_part(stem, channel, start, min(start + PART, length) if length else None) for start in starts]
    return Signal(np.concatenate([part.values for part in parts]), parts[0].rate)


def _part(stem: str, channel: int, start: int, stop: int | None) -> Signal:
    """At the channel's own rate, which may be a multiple of the record's."""
    import wfdb

    part = wfdb.rdrecord(stem, sampfrom=start, sampto=stop, channels=[channel], smooth_frames=False)
    return Signal(np.asarray(part.e_p_signal[0], float), part.fs * part.samps_per_frame[0])


def _stem(path: Path) -> str:
    return str(path.with_suffix(""))


def _edf_header(path: Path) -> Header:
    with _edf(path) as file:
        return Header(tuple(file.getSignalLabels()), tuple(file.getSampleFrequencies()))


def _edf_signal(path: Path, channel: int) -> Signal:
    with _edf(path) as file:
        return Signal(file.readSignal(channel), file.getSampleFrequency(channel))


def _edf(path: Path) -> Any:
    import pyedflib

    return pyedflib.EdfReader(str(path), annotations_mode=pyedflib.DO_NOT_READ_ANNOTATIONS)


FORMATS = {
    ".hea": Format("a WFDB record", "wfdb", _wfdb_header, _wfdb_signal),
    ".edf": Format("an EDF file", "pyedflib", _edf_header, _edf_signal),
    ".bdf": Format("a BDF file", "pyedflib", _edf_header, _edf_signal),
}
