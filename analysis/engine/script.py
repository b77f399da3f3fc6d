"""What a figure script is made of, and how one is run: compute, write the CSV, read it back, assert, draw."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

import emdref
from analysis import catalogue
from analysis.engine import claims, pages, provenance, reproduction, style
from analysis.engine.cells import ROOT, Cell
from analysis.engine.claims import Claim, Judged
from analysis.engine.reproduction import Comparison, Kinds
from analysis.engine.run_cells import Progress, fill, missing
from analysis.engine.store import Store
from analysis.engine.workers import Cluster, Outcome, Threads, Workers

FIGURES = ROOT / "figures"
HISTORY = "_history"  # of a script that has a line for each release


@dataclass(frozen=True)
class Options:
    """What the command line sets."""

    out: Path = Path("figures")
    toy: bool = False
    seed: int = 0
    jobs: int = 2
    redraw: bool = False
    check: bool = False  # compare, and write nothing
    accept: bool = False  # timings too
    quick: bool = False  # what takes minutes and is measured otherwise may be left to `all`
    named: tuple[str, ...] = ()  # scripts asked for by name: what they lack is an error
    parquet: bool = False
    store: Path | None = None
    scheduler: str = ""
    tree: Path | None = None
    chain: int = 0
    circle: int = 0
    records: Path | None = None  # of sleepers, instead of the simulated cohort
    chest: str = ""  # channels of records
    nose: str = ""
    data: Path | None = None  # features, classes and their tree
    axes: dict[str, list[Any]] = field(default_factory=dict)  # of a sweep

    def where(self) -> Path:
        """The store of finished cells."""
        return self.store or self.out / "sweep.sqlite"

    def committed(self, name: str) -> Path | None:
        """The table that a script's is compared with: the one it would replace, else the project's own if alike."""
        own, papers = (folder / f"{name}.csv" for folder in (self.out, FIGURES))
        other = (
            self.toy or self.seed or self.tree or self.chain or self.circle or self.records or self.data or self.axes
        )
        return own if own.exists() else papers if papers.exists() and not other else None


class Script(Protocol):
    """A module that `analysis.catalogue` names; its docstring is the help text."""

    __doc__: str
    DTYPES: tuple[str, ...]
    KINDS: Kinds  # of every column
    CAPTIONS: Mapping[str, str]  # two sentences for each sheet, by the end of its name; or captions(table)
    # optional: KEY, columns by which rows are compared where a run may have fewer; PNG, whether bitmaps are written as
    # well; reduce(table), what is kept of the rows; tables(table), what else is written as CSV and HTML, by the ends of
    # the names; record(), what else belongs into the record; join(table, options), the table with what other scripts
    # have measured; told(table), what of the record follows from the table; absent(options), why it cannot run here,
    # or ""; then(table, options), cells that depend on the rows of the first; history(table, record, old),
    # NAME_history.csv with a line for this run, and what it claims beside older lines

    def cells(self, options: Options) -> list[Cell]:
        """The work, cut into cells whose rows are put together in this order."""

    def check(self, table: pd.DataFrame) -> None:
        """Raise AssertionError if what must hold does not."""

    def claims(self, table: pd.DataFrame) -> list[Claim]:
        """What the papers say beside what the table says."""

    def draw(self, table: pd.DataFrame) -> Figure | dict[str, Figure]:
        """The figure, from the table alone; or several by the ends of their names."""


class Result(NamedTuple):
    """What a script ends with."""

    claims: list[Judged]
    beside: str  # how its table compares with the committed one, "" if it was only drawn


class Report(Script, Protocol):
    """A script that measures a device by itself instead of in cells: its rows are written as they come."""

    REFRESHED: tuple[str, ...]  # scripts whose tables take up what it has measured

    def absent(self, options: Options) -> str:
        """Why it cannot run here, or ""."""

    def measure(self, options: Options) -> Iterator[pd.DataFrame]:
        """All rows so far, again and again."""

    def failures(self, table: pd.DataFrame) -> list[str]:
        """What went wrong, although the rest was measured."""


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


def run(scripts: dict[str, Script], options: Options) -> tuple[dict[str, Result], list[str]]:
    """Run scripts one after the other under one progress bar: what each found by name, and what failed."""
    if options.redraw:
        there = {name: script for name, script in scripts.items() if not _lacks_report(name, script, options)}
        return {name: _finish(name, script, options, _read(name, options)) for name, script in there.items()}, []
    _need(options)
    measured = {name: script for name, script in scripts.items() if hasattr(script, "measure")}
    scripts = _able({name: script for name, script in scripts.items() if name not in measured}, options)
    found, errors = reports(measured, options)
    if not scripts:
        return found, errors
    with ExitStack() as stack:
        if options.check:
            kept = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "cells.sqlite"
            options = replace(options, store=options.store or kept)
        else:
            prepare(options.out)
        work = {name: script.cells(options) for name, script in scripts.items()}
        store = stack.enter_context(closing(Store(options.where())))
        workers = stack.enter_context(closing(_workers(options)))
        todo = missing([cell for cells in work.values() for cell in cells], store)
        _announce(work, todo, options, workers)
        progress = stack.enter_context(closing(Progress(todo, workers)))
        more, failed = _run(scripts, options, work, store, workers, progress)
    return found | more, errors + failed


def _able(scripts: dict[str, Script], options: Options) -> dict[str, Script]:
    """Those that have what they need; what others lack is said, once for all that lack the same."""
    reasons = {name: _absent(script, options) for name, script in scripts.items()}
    for reason in dict.fromkeys(filter(None, reasons.values())):
        lacking = [name for name, own in reasons.items() if own == reason]
        if set(lacking) & set(options.named):
            raise RuntimeError(f"{', '.join(lacking)}: {reason}")
        print(f"{', '.join(lacking)}: nothing is computed: {reason}")
    return {name: script for name, script in scripts.items() if not reasons[name]}


def _absent(script: Script, options: Options) -> str:
    return getattr(script, "absent", lambda _: "")(options)


def _run(
    scripts: dict[str, Script],
    options: Options,
    work: dict[str, list[Cell]],
    store: Store,
    workers: Workers,
    progress: Progress,
) -> tuple[dict[str, Result], list[str]]:
    found: dict[str, Result] = {}
    errors = []
    for name, script in scripts.items():
        progress.title(name)
        cells, failed = work[name], fill(work[name], store, workers, progress)
        if not failed and hasattr(script, "then"):
            more = script.then(_rows(cells, store), options)
            progress.expect(missing(more, store))
            cells, failed = [*cells, *more], fill(more, store, workers, progress)
        if failed:
            errors.append(f"{name}: {_failures(failed, len(cells))}")
            continue
        try:
            found[name] = _finish(name, script, options, _table(script, cells, store, options))
        except RuntimeError as error:  # other figures may still be drawn
            errors.append(str(error))
    return found, errors


def reports(scripts: dict[str, Report], options: Options) -> tuple[dict[str, Result], list[str]]:
    """Run the reports for which there is a device: what they found by name, and what failed."""
    found: dict[str, Result] = {}
    errors = []
    for name, script in scripts.items():
        reason = script.absent(options) or _kept(name, options)
        if reason:
            print(f"{name}: nothing is measured: {reason}")
            continue
        prepare(options.out)
        for table in script.measure(options):
            text = _csv(table)
            _write(options.out / f"{name}.csv", text)
            record = _record(name, script, options, _parsed(text)) | {"unfinished": True}
            _write(options.out / f"{name}.json", _json(record))
        found[name] = _finish(name, script, replace(options, accept=True), text)
        errors += [f"{name}: {failure}" for failure in script.failures(table)]
        for other in script.REFRESHED:
            _refresh(other, options)
    return found, errors


def _kept(name: str, options: Options) -> str:
    """Why a device is not measured although there is one, or ""."""
    if options.check:
        return "--check compares no timings"
    finished = options.out / f"{name}.csv"
    if not finished.exists() or options.accept or "unfinished" in _old_record(finished.with_suffix("")):
        return ""
    return f"{finished} holds a report; --accept measures again"


def _refresh(name: str, options: Options) -> None:
    """Draw another script's table again, if it is there."""
    if (options.out / f"{name}.csv").exists():
        script = import_module(catalogue.module(name))
        _finish(name, script, replace(options, redraw=True), _read(name, options))


def _lacks_report(name: str, script: Script, options: Options) -> bool:
    """Say so of a table that was never made, and cannot be: there need not be one."""
    if (options.out / f"{name}.csv").exists() or not (hasattr(script, "measure") or _absent(script, options)):
        return False
    reason = "no device has been measured" if hasattr(script, "measure") else _absent(script, options)
    print(f"{name}: nothing is drawn: {options.out / name}.csv does not exist, {reason}")
    return True


def _need(options: Options) -> None:
    if options.parquet:
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise RuntimeError(
                f"--parquet needs the extra: python3 -m pip install --editable '.[parquet]' ({error})"
            ) from None


def _workers(options: Options) -> Workers:
    return Cluster(options.scheduler) if options.scheduler else Threads(options.jobs)


def _announce(work: dict[str, list[Cell]], todo: list[Cell], options: Options, workers: Workers) -> None:
    """What there is to do and what is done already."""
    count = len({cell.key() for cells in work.values() for cell in cells})
    text = f"{count} cells, {count - len(todo)} of them in {options.where()}; "
    tqdm.write(text + workers.describe(sum(cell.weight for cell in todo)), file=sys.stderr)


def _failures(failed: list[Outcome], count: int) -> str:
    first = failed[0]
    return (
        f"{len(failed)} of {count} cells failed, the first {first.cell.text()}: {first.error!r}; what is finished is "
        "stored, the same command tries the rest again"
    )


def _table(script: Script, cells: list[Cell], store: Store, options: Options) -> str:
    """The CSV of the cells' rows."""
    table = getattr(script, "reduce", lambda rows: rows)(_rows(cells, store))
    return _csv(_joined(script, table, options))


def _rows(cells: list[Cell], store: Store) -> pd.DataFrame:
    """In the cells' order."""
    return pd.DataFrame([row for cell in cells for row in json.loads(store.get(cell) or "[]")])


def _joined(script: Script, table: pd.DataFrame, options: Options) -> pd.DataFrame:
    return getattr(script, "join", lambda rows, _: rows)(table, options)


def _parsed(text: str) -> pd.DataFrame:
    return pd.read_csv(StringIO(text), keep_default_na=False, na_values=[""])


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, float_format="%.9g", lineterminator="\n")


def _read(name: str, options: Options) -> str:
    path = options.out / f"{name}.csv"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RuntimeError(f"{path} does not exist: run without --redraw first") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RuntimeError(f"{path} cannot be read ({error}): run without --redraw") from None


def _finish(name: str, script: Script, options: Options, text: str) -> Result:
    """From the CSV's text alone: check, compare, draw, and only then write."""
    try:
        table = _parsed(text)
        if options.redraw and hasattr(script, "join"):
            text = _csv(_joined(script, table, options))
            table = _parsed(text)
        script.check(table)
        tables, said = getattr(script, "tables", lambda rows: {})(table), script.claims(table)
        record = _redrawn(name, script, options, table) if options.redraw else _record(name, script, options, table)
        if hasattr(script, "history"):
            tables[HISTORY], more = script.history(table, record, _history(name, options))
            said += more
        found = claims.judge(said)
        record["claims"] = claims.record(found)
        beside = Comparison("") if options.redraw else _beside(name, script, options, table)
        due = _due(name, options, beside)
        if not due:
            return Result(found, f"{beside.words}; --accept writes them" if beside.timed else beside.words)
        sheets = _sheets(script, table)
        record["captions"] = _captions(script, table, sheets)
    except AssertionError as error:
        raise RuntimeError(f"{name}: a check failed, nothing is written: {error}") from error
    except (AttributeError, KeyError, IndexError, ValueError) as error:
        if not options.redraw:
            raise
        raise RuntimeError(f"{name}.csv is not a table of this script ({error!r}): run without --redraw") from error
    try:
        _save(name, script, options, text, {"": table} | tables, record, sheets)
    except OSError as error:
        for part in options.out.glob(f".{name}*.{os.getpid()}*"):
            part.unlink()
        raise RuntimeError(
            f"--out {options.out}: {name} cannot be written there ({error.strerror}); what is computed is kept in "
            f"{options.where()}: make room, or choose another folder and give that file with --store"
        ) from None
    return Result(found, beside.words and f"{beside.words}; files are written: {due}")


def _beside(name: str, script: Script, options: Options, table: pd.DataFrame) -> Comparison:
    """The table compared with the committed one; with --check, a table that moved is an error."""
    path = options.committed(name)
    if path is None:
        return Comparison("there is no committed table to compare with")
    try:
        old = _parsed(path.read_text(encoding="utf-8"))
        found = reproduction.compare(table, old, script.KINDS, getattr(script, "KEY", ()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = Comparison(f"{path} is not a table of this script ({error!r:.100})", moved=True)
    if options.check and found.moved:
        raise RuntimeError(f"{name}: {found.words}")
    return found


def _due(name: str, options: Options, beside: Comparison) -> str:
    """Why files are to be written, or ""."""
    stem = options.out / name
    record = _old_record(stem)
    reasons = {
        "they are drawn again": options.redraw,
        "some were not there": not all(
            stem.with_suffix(end).exists() for end in (".csv", *[".parquet"] * options.parquet)
        ),
        "the table moved": beside.moved,
        "timings are accepted": beside.timed and options.accept,
        "the report is complete": "unfinished" in record,
        "the script changed": record.get("code") != provenance.digest(name),
        "another seed or size": (record.get("seed"), record.get("toy")) != (options.seed, options.toy),
    }
    return "" if options.check else next((reason for reason, holds in reasons.items() if holds), "")


def _save(
    name: str,
    script: Script,
    options: Options,
    text: str,
    tables: dict[str, pd.DataFrame],
    record: dict[str, Any],
    sheets: dict[str, Figure],
) -> None:
    """Pictures and tables, by the ends of their names, each at once and whole."""
    for suffix, figure in sheets.items():
        with style.context():
            style.save(figure, options.out / f"{name}{suffix}", png=getattr(script, "PNG", False) and not options.toy)
    stem, table = options.out / name, tables.pop("")
    if options.parquet:
        _replace(stem.with_suffix(".parquet"), lambda part: table.to_parquet(part, index=False))
    for suffix, extra in tables.items():
        _write(options.out / f"{name}{suffix}.csv", _csv(extra))
        if suffix != HISTORY:
            _write(options.out / f"{name}{suffix}.html", pages.table(f"{name}{suffix}", extra))
    if not options.redraw or hasattr(script, "join"):
        _write(stem.with_suffix(".csv"), text)
    _write(stem.with_suffix(".json"), _json(record))


def _history(name: str, options: Options) -> pd.DataFrame | None:
    """The lines of former runs: those beside the table, else the project's own."""
    own, project = (folder / f"{name}_history.csv" for folder in (options.out, FIGURES))
    path = own if own.exists() or options.toy else project
    return _parsed(path.read_text(encoding="utf-8")) if path.exists() else None


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def _told(script: Script, table: pd.DataFrame) -> dict[str, Any]:
    return getattr(script, "told", lambda rows: {})(table)


def _redrawn(name: str, script: Script, options: Options, table: pd.DataFrame) -> dict[str, Any]:
    own = {"script": name, "code": provenance.digest(name), "dtypes": script.DTYPES}
    return _old_record(options.out / name) | own | _told(script, table)


def _old_record(stem: Path) -> dict[str, Any]:
    """How the table was made that is drawn again; only its claims are worded anew."""
    try:
        return dict(json.loads(stem.with_suffix(".json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {"script": stem.name, "made": "unknown: drawn again from a table without its record"}


def _sheets(script: Script, table: pd.DataFrame) -> dict[str, Figure]:
    """The script's figures by the end of their names."""
    with style.context():
        drawn = script.draw(table)
    return drawn if isinstance(drawn, dict) else {"": drawn}


def _captions(script: Script, table: pd.DataFrame, sheets: dict[str, Figure]) -> dict[str, str]:
    """Two sentences for each sheet, by the end of its name."""
    found = script.captions(table) if hasattr(script, "captions") else script.CAPTIONS
    must(set(sheets) <= set(found), f"a sheet has no caption: {sorted(set(sheets) - set(found))}")
    return {suffix: found[suffix] for suffix in sheets}


def _record(name: str, script: Script, options: Options, table: pd.DataFrame) -> dict[str, Any]:
    """How a figure was made."""
    return {
        "script": name,
        "code": provenance.digest(name),
        "toy": options.toy,
        "seed": options.seed,
        "dtypes": script.DTYPES,
        "device": f"CPU {platform.machine()}",
        "python": platform.python_version(),
        "versions": {p: version(p) for p in ("numpy", "numba", "scipy", "pandas", "matplotlib")},
        "emdref": emdref.__version__,
        **getattr(script, "record", dict)(),
        **_told(script, table),
    }


def _write(path: Path, text: str) -> None:
    _replace(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Replace a file as a whole, so that an interrupted run leaves the old one."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    write(part)
    part.replace(path)
