"""Recordings of sleep laboratories, WFDB (.hea) or EDF (.edf, .bdf), as clips: extra ``records``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import resample_poly

from analysis.breathing.spectra import RATE, SAMPLES, Array, Clips, clips

CHEST = ("Resp (chest)", "Resp (abdominal)")  # as PhysioNet's slpdb names them, the first that a record has
NOSE = ("Resp (nasal)",)
FLAT = 0.02  # of the record's median deviation: less than this in a clip is a sensor that is off


class Signal(NamedTuple):
    """One channel of a record."""

    values: Array
    rate: float  # samples a second


def read(folder: Path, chest: Sequence[str] = CHEST, nose: Sequence[str] = NOSE) -> Clips:
    """All clips of a folder's records, each record a subject; what is flat or has gaps is left out.

    RuntimeError if there is no record, a channel is missing, or fewer than five records have usable clips.
    """
    found = []
    for number, (path, channels) in enumerate(_records(folder)):
        both = [_minutes(_channel(channels, names, path, role)) for role, names in (("chest", chest), ("nose", nose))]
        count = min(map(len, both))
        kept = np.logical_and(*(_alive(signal[:count]) for signal in both))
        found.append((*(signal[:count][kept] for signal in both), np.full(kept.sum(), number)))
    if sum(len(part[0]) > 0 for part in found) < 5:
        raise RuntimeError(f"--records {folder}: at least 5 records with usable minutes are needed, to split subjects")
    return clips(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _records(folder: Path) -> Iterator[tuple[Path, dict[str, Signal]]]:
    readers = {".hea": _wfdb, ".edf": _edf, ".bdf": _edf}
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in readers)
    if not paths:
        raise RuntimeError(f"--records {folder}: no WFDB header (.hea) and no EDF file (.edf, .bdf) is there")
    for path in paths:
        yield path, readers[path.suffix.lower()](path)


def _wfdb(path: Path) -> dict[str, Signal]:
    import wfdb

    record = wfdb.rdrecord(str(path.with_suffix("")))
    return {name: Signal(record.p_signal[:, k], record.fs) for k, name in enumerate(record.sig_name)}


def _edf(path: Path) -> dict[str, Signal]:
    import pyedflib

    with pyedflib.EdfReader(str(path)) as file:
        names = file.getSignalLabels()
        return {name: Signal(file.readSignal(k), file.getSampleFrequency(k)) for k, name in enumerate(names)}


def _channel(channels: dict[str, Signal], names: Sequence[str], path: Path, role: str) -> Signal:
    for name in names:
        for there, signal in channels.items():
            if there.strip().lower() == name.lower():
                return signal
    raise RuntimeError(
        f"{path}: it has no channel {' or '.join(map(repr, names))} but {', '.join(map(repr, channels))}; "
        f"name the {role}'s with --{role}"
    )


def _minutes(signal: Signal) -> Array:
    """At `RATE` samples a second, cut: (clips, SAMPLES); gaps stay gaps."""
    ratio = Fraction(RATE / signal.rate).limit_denominator(10_000)
    gap = ~np.isfinite(signal.values)
    even = resample_poly(np.where(gap, 0.0, signal.values), ratio.numerator, ratio.denominator, padtype="line")
    lost = np.unique((np.flatnonzero(gap) * RATE / signal.rate).astype(int) // SAMPLES)
    whole = even[: len(even) // SAMPLES * SAMPLES].reshape(-1, SAMPLES)
    whole[lost[lost < len(whole)]] = np.nan
    return whole


def _alive(minutes: Array) -> Array:
    """Which clips have no gap and are not flat."""
    spread = minutes.std(axis=1)
    usual = np.nanmedian(spread) if np.isfinite(spread).any() else 0.0
    return np.isfinite(spread) & (spread > FLAT * usual)
