"""Finished cells in an SQLite file: what a killed sweep has done is not done again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import uuid
from pathlib import Path

from analysis.engine.cells import Cell

APPLICATION_ID = 0x656D6472  # "emdr", in the header of every store
VERSION = 1  # of the layout below
LONGEST = 200  # characters of SQLite's messages
_REFUSALS = (sqlite3.Error, UnicodeDecodeError)  # the second where a message quotes bytes that are no text
_WAY_OUT = "give another with --store FILE, or delete this one to compute everything again"
_SCHEMA = """
CREATE TABLE cells (
    key TEXT PRIMARY KEY,  -- digest of call and code version
    call TEXT NOT NULL,
    rows TEXT NOT NULL,    -- JSON
    digest TEXT NOT NULL,  -- of the rows, against a damaged disk
    seconds REAL NOT NULL
)
"""


class StoreError(RuntimeError):
    """A file that is no store, or cannot be used as one; it has been left as it was."""


class Store:
    """Rows of finished cells, each written and synchronised to disk at once.

    Any number of processes may use one store: a cell's first result stays.  Used by one thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not path.exists():
                _create(path)
            _examine(path)
            if not os.access(path, os.W_OK):  # SQLite would notice at the first cell
                raise PermissionError("it is write-protected")
            self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("BEGIN IMMEDIATE")  # a store that cannot be written to is found now
            self._connection.execute("ROLLBACK")
        except (OSError, *_REFUSALS) as error:
            raise StoreError(f"the store {path} cannot be used ({_brief(error)}); {_WAY_OUT}") from None

    def close(self) -> None:
        self._connection.close()

    def get(self, cell: Cell) -> str | None:
        """The rows of a finished cell as JSON, None if it is not finished."""
        with self._errors(_WAY_OUT):
            found = self._connection.execute("SELECT rows, digest FROM cells WHERE key = ?", (cell.key(),)).fetchone()
        if found is None:
            return None
        rows, digest = found
        if not isinstance(rows, str) or _digest(rows) != digest:
            raise StoreError(
                f"the store {self.path} is damaged (the rows of {cell.text()} are not those written); {_WAY_OUT}"
            )
        return rows

    def put(self, cell: Cell, rows: str, seconds: float) -> None:
        """Keep a finished cell; of two results the first stays."""
        with self._errors("what it holds is kept: make room or give another with --store FILE"):
            self._connection.execute(
                "INSERT OR IGNORE INTO cells VALUES (?, ?, ?, ?, ?)",
                (cell.key(), cell.text(), rows, _digest(rows), seconds),
            )

    @contextlib.contextmanager
    def _errors(self, way_out: str):
        try:
            yield
        except _REFUSALS as error:
            raise StoreError(f"the store {self.path} failed ({_brief(error)}); {way_out}") from None


def _brief(error: Exception) -> str:
    """In one line; SQLite quotes the damaged text."""
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _digest(rows: str) -> str:
    return hashlib.sha256(rows.encode()).hexdigest()


def _create(path: Path) -> None:
    """An empty store under its own name at once and whole, however many processes begin, and wherever one is killed."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        connection = sqlite3.connect(part, isolation_level=None)
        connection.execute(_SCHEMA)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("PRAGMA journal_mode = WAL")  # last, so that the header above is in the file itself
        connection.close()
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(part, path)
    finally:
        part.unlink(missing_ok=True)


def _examine(path: Path) -> None:
    """Refuse what is not a sound store of this version, without writing to it."""
    with path.open("rb") as file:
        header = file.read(100)
    if header[:16] != b"SQLite format 3\0":
        raise StoreError(f"{path} is not a store of sweeps but some other file: give another with --store FILE")
    application, version = (int.from_bytes(header[at : at + 4], "big") for at in (68, 60))
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is an SQLite file of another program: give another with --store FILE")
    if version != VERSION:
        raise StoreError(
            f"{path} has layout {version}, this program knows {VERSION}: use the emdref that wrote it, or give another "
            "with --store FILE"
        )
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=60)
    try:
        # not quick_check, which would let a damaged index hand out another cell's rows
        verdict = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
        connection.execute("SELECT key, call, rows, digest, seconds FROM cells LIMIT 0")
    finally:
        connection.close()
    if verdict != ["ok"]:
        raise StoreError(
            f"{path} is damaged ({verdict[0].splitlines()[-1]}): restore it, or delete it to compute everything again"
        )
