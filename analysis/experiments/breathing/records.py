"""Recordings of sleep laboratories, a folder of WFDB (.hea) or EDF (.edf, .bdf) records, as clips: extra ``records``.

Both channels of a record are brought to 10 samples a second and cut into minutes, counted from the record's start, so
that chest and nose stay aligned.  A minute is left out if in either channel a sample is missing, the sensor is off, or
it sits at the end of its range for too long.  Units do not matter: clips are standardised, spectra are histograms.

Records are one subject's if their names are equal but for one letter after digits: slp01a and slp01b are parts of one
night.  Records in sub-folders are not read.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import resample_poly

from analysis.experiments.breathing.formats import FORMATS, Header, Signal, header, signal
from analysis.experiments.breathing.spectra import RATE, SAMPLES, SECONDS, Array, Clips, clips

CHEST = ("Resp (chest)", "Resp (abdominal)", "Resp (abdomen)")  # as in PhysioNet's slpdb: the first that a record has
NOSE = ("Resp (nasal)",)
SUBJECTS = 5  # at least: some to train on, some to choose by, some to test on
SLOWEST = 2  # samples a second: of 33 breaths per minute two samples each are not enough
FLAT = 0.02  # of the deviation in the record's livelier minutes (their 90% quantile): a sensor that is off
RAIL = 0.25  # of a minute at the record's least or largest value: a sensor at the end of its range
FAULTS = ("with gaps", "flat", "saturated")

Say = Callable[[str], None]


def _aloud(line: str) -> None:
    print(line, file=sys.stderr)


class Record(NamedTuple):
    """Where the two channels of a record are."""

    path: Path
    subject: str
    chest: int
    nose: int


class Minutes(NamedTuple):
    """A channel, cut."""

    values: Array  # (minutes, SAMPLES)
    faults: Array  # (FAULTS, minutes), bool


def read(folder: Path, chest: str = "", nose: str = "", say: Say | None = None) -> Clips:
    """All usable minutes of a folder's records; subjects are numbered in the order of their names.

    Parameters
    ----------
    folder : Path
        Of records; those without both channels are left out, which is said.
    chest, nose : str
        Names of the channels, in any case; "" stands for those of slpdb, `CHEST` and `NOSE`.
    say : callable, optional
        Takes a line on what is left out; by default it goes to stderr.

    Raises
    ------
    RuntimeError
        If there are no records, one cannot be read, the library for them is not installed, or fewer than five subjects
        have both channels or usable minutes.
    """
    say = say or _aloud
    found, left, total = [], Counter(), 0
    records = check(folder, chest, nose, say)
    subjects = sorted({record.subject for record in records})
    for record in records:
        both, faults = _both(record)
        usable = ~faults.any(axis=0)
        found.append((both[0][usable], both[1][usable], np.full(usable.sum(), subjects.index(record.subject))))
        left.update(FAULTS[first] for first in faults.argmax(axis=0)[~usable])
        total += len(usable)
    parts = [np.concatenate(part) for part in zip(*found, strict=True)]
    words = ", ".join(f"{left[fault]} {fault}" for fault in FAULTS)
    if left.total():
        say(f"--records {folder}: {left.total()} of {total} minutes are left out: {words}")
    _enough(folder, len(np.unique(parts[2])), f"of {total} minutes, {words}")
    return clips(*parts)


def check(folder: Path, chest: str = "", nose: str = "", say: Say | None = None) -> list[Record]:
    """The records that `read` would read, from their headers alone; refuses and says the same."""
    say = say or _aloud
    wanted = [(chest,) if chest else CHEST, (nose,) if nose else NOSE]
    headers = {path: header(path) for path in _paths(folder)}
    pieces = frozenset().union(*(head.pieces for head in headers.values()))
    records, reasons = [], []
    for path, head in headers.items():
        if path.suffix == ".hea" and path.stem in pieces:
            continue
        try:
            records.append(Record(path, subject(path.stem), *_channels(head, wanted)))
        except LookupError as error:
            reasons.append(f"{path.name} ({error.args[0]})")
    _enough(folder, len({r.subject for r in records}), _there(reasons, headers.values()))
    if reasons:
        say(f"--records {folder}: left out: {', '.join(reasons)}")
    return records


def fingerprint(folder: Path) -> str:
    """Of the names and contents of a folder's files: stored results hold for the same recordings only."""
    _must_be_folder(folder)
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        there = path.stat()
        digest.update(f"{path.name}\0{there.st_size}\0{_digest(path, there.st_size, there.st_mtime_ns)}\0".encode())
    return digest.hexdigest()[:16]


def subject(stem: str) -> str:
    """Whose a record is, by its name: slp01a and slp01b are one person's, patient_a and patient_b are two.

    >>> subject("slp01a"), subject("SLP01B"), subject("slp67x"), subject("patient_a")
    ('slp01', 'slp01', 'slp67', 'patient_a')
    """
    return re.sub(r"(?<=\d)[a-z]$", "", stem.lower())


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, changed: int) -> str:
    """Of a file's contents, not read again while its size and time of change are the same."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _must_be_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise RuntimeError(f"--records {folder}: it is not a folder; name one that holds WFDB or EDF records")


def _paths(folder: Path) -> list[Path]:
    _must_be_folder(folder)
    paths = _records(folder)
    if not paths:
        below = sorted(path.name for path in folder.iterdir() if path.is_dir() and _records(path))
        hint = f"; name a sub-folder instead, such as {folder / below[0]}" if below else ""
        raise RuntimeError(f"--records {folder}: no WFDB header (.hea) and no EDF file (.edf, .bdf) is there{hint}")
    return paths


def _records(folder: Path) -> list[Path]:
    paths = (path for path in folder.iterdir() if path.suffix.lower() in FORMATS and not path.name.startswith("."))
    return sorted(path for path in paths if path.is_file())


def _channels(head: Header, wanted: Sequence[Sequence[str]]) -> list[int]:
    """Where chest and nose are; LookupError says why not."""
    both = [_channel(head.names, names) for names in wanted]
    if both[0] == both[1]:
        raise LookupError(f"{head.names[both[0]]!r} cannot be both chest and nose")
    for channel in both:
        if head.rates[channel] < SLOWEST:
            raise LookupError(f"{head.names[channel]!r} has fewer than {SLOWEST} samples a second")
    return both


def _channel(there: Sequence[str], wanted: Sequence[str]) -> int:
    """The first of some names that is there; case counts only where it tells channels apart."""
    for name in wanted:
        same = [k for k, each in enumerate(there) if each.strip() == name.strip()]
        same = same or [k for k, each in enumerate(there) if each.strip().lower() == name.strip().lower()]
        if len(same) > 1:
            raise LookupError(f"{len(same)} channels are named {name!r}")
        if same:
            return same[0]
    raise LookupError(f"no channel {' or '.join(map(repr, wanted))}")


def _there(reasons: Sequence[str], headers: Iterable[Header]) -> str:
    names = sorted({name.strip() for head in headers for name in head.names})
    left = f"left out: {', '.join(reasons)}; " if reasons else ""
    return f"{left}the channels there are: {', '.join(map(repr, names))}; name them with --chest and --nose"


def _enough(folder: Path, subjects: int, words: str) -> None:
    if subjects < SUBJECTS:
        raise RuntimeError(
            f"--records {folder}: {subjects} subjects can be used, at least {SUBJECTS} are needed to be split: {words}"
        )


def _both(record: Record) -> tuple[list[Array], Array]:
    """Chest and nose, (minutes, SAMPLES) each, as long as the shorter, and the faults of either."""
    chest, nose = (_minutes(signal(record.path, channel)) for channel in (record.chest, record.nose))
    count = min(len(chest.values), len(nose.values))
    return [part.values[:count] for part in (chest, nose)], chest.faults[:, :count] | nose.faults[:, :count]


def _minutes(channel: Signal) -> Minutes:
    """At `RATE` samples a second, cut, with what is wrong with each minute."""
    count = int(len(channel.values) / channel.rate / SECONDS + 1e-9)
    if count == 0:
        return Minutes(np.zeros((0, SAMPLES)), np.zeros((len(FAULTS), 0), bool))
    edges = np.ceil(np.arange(count + 1) * SECONDS * channel.rate - 1e-6).astype(int)
    values, starts = channel.values[: edges[-1]], edges[:-1]
    gap = ~np.isfinite(values)
    filled = _filled(values, gap)
    even = _resampled(filled, channel.rate)[: count * SAMPLES].reshape(count, SAMPLES)
    gaps = np.logical_or.reduceat(gap, starts)
    rails = (filled == filled.min()) | (filled == filled.max())
    saturated = np.add.reduceat(rails, starts, dtype=int) > RAIL * np.diff(edges)
    still = np.maximum.reduceat(filled, starts) == np.minimum.reduceat(filled, starts)
    return Minutes(even, np.array([gaps, _flat(even, still | gaps), saturated]))


def _filled(values: Array, gap: Array) -> Array:
    """Gaps bridged by lines: a jump would ring into the neighbouring minutes."""
    if gap.all():
        return np.zeros(len(values))
    return values if not gap.any() else np.where(gap, np.interp(np.arange(len(gap)), *_known(values, gap)), values)


def _known(values: Array, gap: Array) -> tuple[Array, Array]:
    return np.flatnonzero(~gap), values[~gap]


def _resampled(values: Array, rate: float) -> Array:
    ratio = Fraction(RATE / rate).limit_denominator(100_000)  # off by 0.3 s after 8 h at most
    level = np.median(values)  # of which the filter would leave a ripple
    return level + resample_poly(
        values - level, ratio.numerator, ratio.denominator, window=("kaiser", 10.0), padtype="line"
    )


def _flat(minutes: Array, still: Array) -> Array:
    """Which minutes hardly move, beside those that are known not to."""
    spread = minutes.std(axis=1)
    usual = 0.0 if still.all() else np.quantile(spread[~still], 0.9)
    return still | (spread <= FLAT * usual)
