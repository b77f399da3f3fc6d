"""What a figure script is made of, and how one is run: compute, write the CSV, read it back, assert, draw."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

import emdref
from analysis import style
from emdref.kernels import threads


@dataclass(frozen=True)
class Options:
    """What the command line sets."""

    out: Path = Path("figures")
    toy: bool = False
    seed: int = 0
    jobs: int = 2
    redraw: bool = False


@dataclass(frozen=True)
class Cell:
    """One independent piece of work: rows of the table, and its rough cost in seconds for the progress bar."""

    compute: Callable[[], list[dict[str, Any]]]
    weight: float = 0.1


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper beside what was found here."""

    source: str
    claimed: str
    found: str
    holds: bool


class Script(Protocol):
    """A module of `analysis.scripts`; its docstring is the help text."""

    __doc__: str
    DTYPES: tuple[str, ...]

    def cells(self, options: Options) -> list[Cell]:
        """The work, cut into cells whose rows are put together in this order."""

    def check(self, table: pd.DataFrame) -> None:
        """Raise AssertionError if what must hold does not."""

    def claims(self, table: pd.DataFrame) -> list[Claim]:
        """What the papers say beside what the table says."""

    def draw(self, table: pd.DataFrame) -> Figure:
        """The figure, from the table alone."""


def must(condition: object, message: str) -> None:
    """An assertion that python -O does not remove."""
    if not condition:
        raise AssertionError(message)


def prepare(folder: Path) -> None:
    """Refuse a folder that cannot be written to, before anything is computed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RuntimeError(
            f"--out {folder}: figures cannot be written there ({error.strerror}); choose another"
        ) from None


def run(scripts: dict[str, Script], options: Options) -> dict[str, list[Claim]]:
    """Run scripts one after the other under one progress bar; the claims of each, by name."""
    if options.redraw:
        return {name: _finish(name, script, options, _read(name, options)) for name, script in scripts.items()}
    prepare(options.out)
    work = {name: script.cells(options) for name, script in scripts.items()}
    total = sum(cell.weight for cells in work.values() for cell in cells)
    tqdm.write(f"about {total / options.jobs:.0f} s of work with {options.jobs} at once", file=sys.stderr)
    layout = "{desc:18s} {percentage:3.0f}%|{bar}| {elapsed} elapsed, about {remaining} left"
    found = {}
    with tqdm(total=total, bar_format=layout) as bar:
        for name, script in scripts.items():
            bar.set_description_str(name)
            table = pd.DataFrame(_compute(work[name], options.jobs, bar))
            text = table.to_csv(index=False, float_format="%.9g", lineterminator="\n")
            found[name] = _finish(name, script, options, text)
    return found


def _compute(cells: list[Cell], jobs: int, bar: tqdm) -> Iterable[dict[str, Any]]:
    """Rows of all cells in the cells' order; the dearest are started first."""

    def alone(cell: Cell) -> list[dict[str, Any]]:
        with threads.at_most(1):
            return cell.compute()

    order = sorted(range(len(cells)), key=lambda i: -cells[i].weight)
    rows: dict[int, list[dict[str, Any]]] = {}
    pool = ThreadPoolExecutor(jobs)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[0-9]+ of [0-9]+ rows", RuntimeWarning)  # failures are studied: see status
        warnings.filterwarnings("ignore", "[0-9]+ entries of the", RuntimeWarning)  # so is what leaves the range
        futures = {pool.submit(alone, cells[i]): i for i in order}
        try:
            for future in as_completed(futures):
                rows[futures[future]] = future.result()
                bar.update(min(cells[futures[future]].weight, bar.total - bar.n))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after an interrupt, do not wait for what still runs
    return [row for i in range(len(cells)) for row in rows[i]]


def _read(name: str, options: Options) -> str:
    path = options.out / f"{name}.csv"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RuntimeError(f"{path} does not exist: run without --redraw first") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RuntimeError(f"{path} cannot be read ({error}): run without --redraw") from None


def _finish(name: str, script: Script, options: Options, text: str) -> list[Claim]:
    """From the CSV's text alone: check, draw, and only then write."""
    try:
        table = pd.read_csv(StringIO(text), keep_default_na=False, na_values=[""])
        script.check(table)
        claims = script.claims(table)
        with style.context():
            figure = script.draw(table)
    except AssertionError as error:
        raise RuntimeError(f"{name}: a check failed, nothing is written: {error}") from error
    except (AttributeError, KeyError, IndexError, ValueError) as error:
        if not options.redraw:
            raise
        raise RuntimeError(f"{name}.csv is not a table of this script ({error!r}): run without --redraw") from error
    stem = options.out / name
    with style.context():
        style.save(figure, stem, png=getattr(script, "PNG", False))
    if not options.redraw:
        _write(stem.with_suffix(".csv"), text)
        _write(
            stem.with_suffix(".json"),
            json.dumps(_record(name, script, options, claims), indent=1, ensure_ascii=False) + "\n",
        )
    return claims


def _record(name: str, script: Script, options: Options, claims: list[Claim]) -> dict[str, Any]:
    """How a figure was made."""
    return {
        "script": name,
        "toy": options.toy,
        "seed": options.seed,
        "dtypes": script.DTYPES,
        "device": f"CPU {platform.machine()}",
        "python": platform.python_version(),
        "versions": {p: version(p) for p in ("numpy", "numba", "scipy", "pandas", "matplotlib")},
        "emdref": emdref.__version__,
        "claims": [asdict(claim) for claim in claims],
    }


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole, so that an interrupted run leaves the old one."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8", newline="\n")
    part.replace(path)


def random(options: Options, *key: int) -> np.random.Generator:
    """A generator of its own for each cell, so that order and number of cells do not matter."""
    return np.random.default_rng([options.seed, *key])
