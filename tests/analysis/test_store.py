"""The store of finished cells: what is kept, and what is refused and left untouched."""

import os
import sqlite3
import threading

import pytest

from analysis.engine import store as stores
from analysis.engine.cells import Cell
from analysis.engine.store import Store, StoreError

CELL = Cell("analysis.figures.slides:spikes", {"lam": 0.1})
OTHER = Cell("analysis.figures.slides:spikes", {"lam": 0.2})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sweep.sqlite"


def filled(path):
    store = Store(path)
    store.put(CELL, '[{"x": 1.5}]', 0.1)
    store.close()
    return path


def untouched(path, match):
    """The store is refused, and its bytes stay what they were."""
    before = path.read_bytes()
    with pytest.raises(StoreError, match=match) as refusal:
        Store(path)
    assert str(path) in str(refusal.value)
    assert path.read_bytes() == before


def test_what_is_put_is_there_for_the_next_process(path):
    store = Store(filled(path))
    assert store.get(CELL) == '[{"x": 1.5}]'
    assert store.get(OTHER) is None
    store.close()


def test_every_commit_is_synchronised(path):
    store = Store(path)
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    store.close()


def test_the_first_result_stays(path):
    one, two = Store(path), Store(path)
    one.put(CELL, "[1]", 0.1)
    two.put(CELL, "[2]", 0.1)
    assert one.get(CELL) == two.get(CELL) == "[1]"
    one.close()
    two.close()


def test_parameters_and_code_make_the_key(monkeypatch):
    same = Cell(CELL.function, dict(CELL.parameters), weight=9.0)
    assert CELL.key() == same.key() != OTHER.key()
    before = CELL.key()
    monkeypatch.setattr("analysis.engine.cells.code", lambda function: "another version")
    assert CELL.key() != before


@pytest.mark.parametrize("content", [b"", b"not a store", b"SQLite format 2\0" + bytes(100)])
def test_a_foreign_file_is_refused(path, content):
    path.write_bytes(content)
    untouched(path, "is not a store of sweeps")


def test_a_store_of_another_program_is_refused(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE cells (key TEXT)")
    connection.close()
    untouched(path, "SQLite file of another program")


def test_a_newer_store_is_refused(path):
    connection = sqlite3.connect(filled(path))
    connection.execute(f"PRAGMA user_version = {stores.VERSION + 1}")
    connection.close()
    untouched(path, f"has layout {stores.VERSION + 1}, this program knows {stores.VERSION}")


@pytest.mark.parametrize("keep", [100, 2000, 5000])
def test_a_truncated_store_is_refused(path, keep):
    content = filled(path).read_bytes()
    path.write_bytes(content[:keep])
    untouched(path, "damaged|cannot be used")


def test_a_store_with_a_torn_page_is_refused(path):
    content = bytearray(filled(path).read_bytes())
    content[4096:4200] = b"\xff" * 104  # the head of the first page after the schema's
    path.write_bytes(content)
    untouched(path, "damaged|cannot be used")


def test_a_store_whose_index_was_damaged_is_refused(path):
    store = Store(filled(path))
    store.put(OTHER, '[{"x": 2.5}]', 0.1)
    store.close()
    content = bytearray(path.read_bytes())
    second = content.index(OTHER.key().encode(), 8192)  # in the index, page 3; the row's number follows, for 1 nothing
    assert content[second + 64] == 2
    content[second + 64] = 3  # another cell's rows
    path.write_bytes(content)
    untouched(path, "damaged")


def test_rows_that_were_changed_are_not_used(path):
    content = filled(path).read_bytes()
    path.write_bytes(content.replace(b'"x": 1.5', b'"x": 2.5'))
    store = Store(path)
    with pytest.raises(
        StoreError, match=r"damaged \(the rows of analysis\.figures\.slides:spikes.*; give another with"
    ):
        store.get(CELL)
    store.close()


def test_rows_that_are_no_text_are_not_used(path):
    connection = sqlite3.connect(filled(path))
    connection.execute("UPDATE cells SET rows = CAST(rows AS BLOB)")
    connection.commit()
    connection.close()
    store = Store(path)
    with pytest.raises(StoreError, match=r"damaged.*give another with --store FILE"):
        store.get(CELL)
    store.close()


def test_rows_with_a_byte_that_is_no_text_are_not_quoted_at_length(path):
    store = Store(path)
    store.put(CELL, "[" + " " * 5000 + "1]", 0.1)
    store.close()
    path.write_bytes(path.read_bytes().replace(b"[" + b" " * 50, b"\xff" * 51))
    store = Store(path)
    with pytest.raises(StoreError, match=r"failed.*give another with --store FILE") as refusal:
        store.get(CELL)
    assert len(str(refusal.value)) < 500
    store.close()


@pytest.mark.parametrize(
    ("old", "new"), [(b"CREATE TABLE cells", b"CREATE T\xffBLE cells"), (b"rows TEXT", b"rows\nTEX{")]
)
def test_a_damaged_schema_is_refused_in_one_line(path, old, new):
    path.write_bytes(filled(path).read_bytes().replace(old, new))
    untouched(path, r"\Athe store [^\n]*cannot be used [^\n]*give another with --store FILE[^\n]*\Z")


def test_a_store_without_its_table_is_refused(path):
    connection = sqlite3.connect(filled(path))
    connection.execute("DROP TABLE cells")
    connection.close()
    untouched(path, r"no such table: cells.*--store FILE")


def test_a_write_protected_store_is_refused_at_once(path):
    filled(path).chmod(0o444)
    if os.access(path, os.W_OK):
        pytest.skip("this user may write to any file")
    untouched(path, r"write-protected.*--store FILE")


def test_a_folder_in_the_way_is_named(tmp_path):
    with pytest.raises(StoreError, match="--store FILE"):
        Store(tmp_path)


def test_a_locked_store_says_so(path, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: connect(*args, **kwargs | {"timeout": 0.05}))
    other = connect(filled(path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        Store(path)
    other.close()


def test_a_store_is_born_once_however_many_begin(path):
    begin, errors = threading.Barrier(8), []

    def run(number):
        try:
            begin.wait()
            store = Store(path)
            store.put(Cell("analysis.figures.slides:spikes", {"number": number}), f"[{number}]", 0.1)
            store.close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    store = Store(path)
    assert [store.get(Cell("analysis.figures.slides:spikes", {"number": n})) for n in range(8)] == [
        f"[{n}]" for n in range(8)
    ]
    store.close()
    assert {file.name for file in path.parent.iterdir()} <= {path.name, f"{path.name}-wal", f"{path.name}-shm"}
