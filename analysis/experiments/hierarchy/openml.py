"""The hundred plants from OpenML, for users with internet: three ARFF files, one for each kind of feature.

Their classes are taken to be the species' names, or their numbers 1 to 100 in the order of the names (see
`analysis.experiments.hierarchy.species`), and the rows of a species to be the same leaves in the same order in all
files; a species that has one row less in one of them, as textures are said to lack one, repeats its last there.

The fetch has never been run against the site.  The address and the sets' numbers were written down without access to
it; names and checksums are compared, so that no other file is taken for these.
"""

from __future__ import annotations

import hashlib
import json
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray
from scipy.io import arff

from analysis.experiments.hierarchy.species import SPECIES, parents

NAME = "openml"  # as the value of --data
SITE = "https://www.openml.org/api/v1/json/data"
SETS = {"one-hundred-plants-margin": 1491, "one-hundred-plants-shape": 1492, "one-hundred-plants-texture": 1493}
PATIENCE = 60.0  # seconds without an answer
Array = NDArray[Any]


def fetch(folder: Path) -> Path:
    """The .npz file of all three, in the folder; fetched unless it is there.

    Raises
    ------
    RuntimeError
        In one line, if the site cannot be reached or sends something else.
    """
    path = folder / "plants100-openml.npz"
    if not path.exists():
        try:
            x, y = together([parse(_download(name, number), name) for name, number in SETS.items()])
        except (URLError, TimeoutError, OSError, ValueError, KeyError) as error:
            raise RuntimeError(
                f"--data {NAME}: the data cannot be fetched from {SITE} ({error}); give a file with --data FILE"
            ) from None
        parent, names = parents()
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, X=x, y=y + len(parent) - len(SPECIES), parent=parent, node=np.array(names))
        part.replace(path)
    return path


def parse(text: str, name: str) -> tuple[Array, Array]:
    """Features and species' numbers from 0 of an ARFF file, its last attribute being the class.

    Raises
    ------
    ValueError
        If it is no such file.
    """
    try:
        rows, meta = arff.loadarff(StringIO(text))
    except (arff.ArffError, NotImplementedError, ValueError, StopIteration, IndexError) as error:
        raise ValueError(f"{name} is no ARFF file as expected: {error}") from None
    columns = meta.names()
    numeric = [c for c in columns[:-1] if meta[c][0] == "numeric"]
    if not numeric or len(numeric) != len(columns) - 1:
        raise ValueError(f"{name} has attributes {', '.join(columns)}: numbers and a class at the end are expected")
    x = np.stack([rows[c] for c in numeric], axis=1)
    if not np.isfinite(x).all():
        raise ValueError(f"{name} has {np.count_nonzero(~np.isfinite(x))} missing features")
    return x, np.array([_species(value, name) for value in rows[columns[-1]]])


def together(files: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """The features of all files side by side, species after species.

    Raises
    ------
    ValueError
        If the files have too different numbers of rows of a species.
    """
    rows, classes = [], []
    for each, name in enumerate(SPECIES):
        own = [x[y == each] for x, y in files]
        most = max(map(len, own))
        if not most or min(map(len, own)) < most - 1:
            raise ValueError(f"{name} has {', '.join(str(len(some)) for some in own)} rows in the files")
        rows.append(np.hstack([some[np.minimum(np.arange(most), len(some) - 1)] for some in own]))
        classes += [each] * most
    return np.vstack(rows).astype(np.float32), np.array(classes)


def _species(value: Any, name: str) -> int:
    text = value.decode() if isinstance(value, bytes) else f"{value:g}"
    text = text.strip("'\" ").replace("_", " ")
    known = [each.casefold() for each in SPECIES]
    if text.isdecimal() and 1 <= int(text) <= len(SPECIES):
        return int(text) - 1
    if text.casefold() in known:
        return known.index(text.casefold())
    raise ValueError(f"{name} has a class {text!r} that is none of the {len(SPECIES)} species")


def _download(name: str, number: int) -> str:
    about = json.loads(_get(f"{SITE}/{number}"))["data_set_description"]
    if about["name"] != name:
        raise ValueError(f"data set {number} is {about['name']}, not {name}")
    found = _get(about["url"])
    if hashlib.md5(found, usedforsecurity=False).hexdigest() != about["md5_checksum"]:
        raise ValueError(f"{name} did not arrive whole: its checksum differs")
    return found.decode()


def _get(address: str) -> bytes:
    with urlopen(address.replace("http://", "https://", 1), timeout=PATIENCE) as answer:
        return answer.read()
