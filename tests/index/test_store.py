"""The index file: damage is noticed, other versions are refused, and many may use it at once."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dbdicom_xr.errors import DbdicomError, IndexBusy, IndexDamaged, IndexNotWritable
from dbdicom_xr.index import connection
from dbdicom_xr.index.columns import Column, Key, concatenate
from dbdicom_xr.index.elements import External
from dbdicom_xr.index.store import FRAME, INSTANCE, Store
from dbdicom_xr.index.values import Kind
from tests.data import ROOT
from tests.index.made import content, dataset, fill, fresh, index, update, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    fill(place, 5)
    for i in range(3):
        made = dataset(i, 2)
        made.private_block(0x0019, "VENDOR", create=True).add_new(0x0C, "LO", f"{i}")
        made.Rows = made.Columns = 1
        made.BitsAllocated = 8
        made.NumberOfFrames = 2
        made.add_new(0x7FE00010, "OB", b"\1\2")
        item = Dataset()
        item.FrameContentSequence = Sequence([dataset(EchoTime=i)])
        made.PerFrameFunctionalGroupsSequence = Sequence([item, Dataset()])
        write(place / "sub" / f"{i}", made)
    (place / "text").write_text("text")
    return place


# -- columns as bytes ----------------------------------------------------------------------------


def column(values: list[Any], codes: list[int] | None, rows: int, kinds: int = 1) -> Column:
    made = [Kind("LO"), Kind("UN", True, True, b"ISO_IR 100" * 20, 1)][:kinds]
    kind_of = [i % kinds for i in range(len(values))]
    import numpy as np

    array = None if codes is None else np.array(codes, np.int32)
    return Column(Key(0x00100010, "X"), made, values, kind_of, array, rows)


COLUMNS = {
    "constant": column([b"abc"], None, 1000),
    "all different": column([b"%d" % i for i in range(300)], [*range(300)], 300),
    "two": column([b"a", b"b"], [0, 1, 1, 0], 4),
    "absent": column([b"a"], [0, -1, -1], 3),
    "nothing": column([], [-1, -1], 2),
    "no rows": column([], [], 0),
    "external": column([External(2**40, 2**33), b"x"], [0, 1, 0], 3),
    "kinds": column([b"a", b"a", b""], [0, 1, 2, -1], 4, kinds=2),
    "many": column([b"%d" % i for i in range(70_000)], [*reversed(range(70_000))], 70_000),
    "256": column([b"%d" % i for i in range(256)], [*range(255), 255, 0], 257),
    "long": column([b"x" * 100_000], None, 1),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_come_back_from_bytes(name: str) -> None:
    made = COLUMNS[name]
    again = Column.unpack(made.key, made.pack())
    assert (again.values, again.kinds, again.kind_of) == (made.values, made.kinds, made.kind_of)
    assert (again.codes is None) == (made.codes is None)
    assert again.codes_of().tolist() == made.codes_of().tolist()
    assert again.rows == made.rows


def test_concatenated_columns() -> None:
    a, b = column([b"a", b"b"], [0, 1], 2), column([b"b", b"c"], [1, 0, -1], 3, kinds=2)
    joined = concatenate(a.key, [a, None, b, a], [2, 2, 3, 2])
    raws = [None if code < 0 else joined.values[code] for code in joined.codes_of()]
    assert raws == [b"a", b"b", None, None, b"c", b"b", None, b"a", b"b"]
    same = column([b"a"], None, 5)
    assert concatenate(same.key, [same, same], [5, 5]).codes is None
    assert len(concatenate(same.key, [same, same], [5, 5]).pack()) < 60


# -- what is no index, and what is none any more ---------------------------------------------------


def test_made_where_missing_and_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "index.sqlite"
    first = Store(path)
    assert Store(path).identity == first.identity
    first.discard()
    assert not path.exists()
    assert Store(path).identity != first.identity


@pytest.mark.parametrize("empty", [True, False])
def test_an_empty_file_becomes_an_index(tmp_path: Path, folder: Path, empty: bool) -> None:
    path = tmp_path / "index.sqlite"
    path.touch()
    if not empty:
        Path(f"{path}-journal").write_bytes(b"left over" * 100)
    assert content(index(folder, path)) == fresh(folder)


_KILLED = """
import os, sqlite3, sys
made = sqlite3.connect(sys.argv[1], isolation_level=None)
for pragma in ("page_size=8192", "cache_size=1", "cache_spill=1"):
    made.execute("PRAGMA " + pragma)
made.execute("BEGIN EXCLUSIVE")
made.execute("CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID")
for number in range(200):
    made.execute("INSERT INTO meta VALUES(?, ?)", [number, "x" * 2000])
os._exit(0)
"""


def test_what_a_killed_process_began_is_completed(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "index.sqlite"
    subprocess.run([sys.executable, "-c", _KILLED, path], check=True)
    assert path.stat().st_size > 0
    assert Path(f"{path}-journal").exists()
    assert content(index(folder, path)) == fresh(folder)


def test_another_version(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    Store(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version=99")
    raw.close()
    with pytest.raises(IndexDamaged, match=r"index of version 99; this dbdicom_xr writes version"):
        Store(path)


def test_an_index_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE mine(a)")
    raw.close()
    with pytest.raises(IndexDamaged, match="is not an index of dbdicom_xr"):
        Store(path)
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT count(*) FROM mine").fetchone() == (0,)
    raw.close()


def test_not_even_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    path.write_bytes(b"hello" * 1000)
    with pytest.raises(IndexDamaged, match=r"index\.sqlite"):
        Store(path)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").mkdir()
    with pytest.raises(IndexNotWritable, match="is a folder"):
        Store(tmp_path / "index.sqlite")


def test_a_file_where_its_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(IndexNotWritable, match=r"index="):
        Store(tmp_path / "a" / "index.sqlite")


def test_for_reading_only(folder: Path) -> None:
    store = index(folder)
    reader = Store(store.path, writable=False)
    assert content(reader) == content(store)
    with pytest.raises(IndexNotWritable), reader.transaction() as transaction:
        transaction.execute("DELETE FROM file")
    with pytest.raises(DbdicomError):
        Store(folder / "missing.sqlite", writable=False)


def read_all(path: Path) -> dict[str, Any]:
    store = Store(path)
    try:
        return content(store, numbers=True)
    finally:
        store.close()


@pytest.mark.filterwarnings("ignore::dbdicom_xr.errors.UndecodableValue")
def test_flipped_bytes_never_give_other_values(tmp_path: Path, folder: Path) -> None:
    store = index(folder)
    store.close()
    right = read_all(store.path)
    good = store.path.read_bytes()
    # Most of the file is zeros between rows; what is written is hit more often.
    written = [i for i, byte in enumerate(good) if byte]
    generator = random.Random(1)
    path = tmp_path / "damaged.sqlite"
    noticed = 0
    for round_ in range(600):
        raw = bytearray(good)
        for _ in range(generator.choice([1, 1, 3])):
            at = generator.choice(written) if round_ % 4 else generator.randrange(len(raw))
            raw[at] ^= generator.choice([1 << generator.randrange(8), 0xFF])
        path.write_bytes(raw)
        try:
            found = read_all(path)
        except IndexDamaged:
            noticed += 1
        else:
            assert found == right, round_
    assert noticed > 300


def test_cut_off_anywhere(tmp_path: Path, folder: Path) -> None:
    store = index(folder)
    store.close()
    right = read_all(store.path)
    good = store.path.read_bytes()
    path = tmp_path / "damaged.sqlite"
    for length in [*range(1, len(good), 1777), *range(8192, len(good), 8192)]:
        path.write_bytes(good[:length])
        with pytest.raises(IndexDamaged):
            assert read_all(path) != right


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM series WHERE id=1", "DELETE FROM file WHERE name='IM001.dcm'",
        "DELETE FROM header WHERE tag=1048608 AND series=2", "DELETE FROM place",
        "DELETE FROM folder WHERE path='sub'", "UPDATE file SET name='IM009.dcm' WHERE id=2",
        "UPDATE file SET mtime=mtime+1 WHERE id=2", "UPDATE file SET series=2 WHERE id=2",
        "UPDATE folder SET path='bus' WHERE path='sub'",
        "UPDATE series SET patient_name='Somebody'", "UPDATE series SET instances=4 WHERE id=1",
        "UPDATE header SET tag=1048609 WHERE tag=1048608 AND series=1",
        "UPDATE header SET scope=1 WHERE tag=1048608 AND series=1",
        "UPDATE header SET data=(SELECT data FROM header WHERE tag=1048592 LIMIT 1)"
        " WHERE tag=1048608",
        "UPDATE header SET series=7-series", "UPDATE header SET data='text'",
        "UPDATE place SET places=(SELECT places FROM place WHERE series=1)",
        "UPDATE place SET keys=(SELECT keys FROM place WHERE series=1)",
        "UPDATE meta SET value='x' WHERE key='generation'",
        "DROP TABLE place", "DELETE FROM meta WHERE key='file_sum'",
    ],
)  # fmt: skip
def test_rows_that_were_tampered_with(folder: Path, statement: str) -> None:
    store = index(folder)
    store.close()
    with sqlite3.connect(store.path) as raw:
        raw.execute(statement)
    raw.close()
    with pytest.raises(IndexDamaged, match="sqlite"):
        read_all(store.path), Store(store.path).generation()


def test_a_damaged_index_is_not_sealed_by_a_refresh(folder: Path) -> None:
    store = index(folder)
    with sqlite3.connect(store.path) as raw:
        raw.execute("UPDATE file SET name='IM009.dcm' WHERE id=2")
    raw.close()
    with pytest.raises(IndexDamaged):
        update(store, folder)


# -- several at once -------------------------------------------------------------------------------


def test_threads_read_while_one_refreshes(folder: Path) -> None:
    store = index(folder)
    errors: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                for series in store.series():
                    # A series may go between two questions, but what is there is whole.
                    for scope in (INSTANCE, FRAME):
                        for values in store.columns(series.id, scope).values():
                            values.decoded()
                store.files()
                store.problems()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for i in range(15):
        write(folder / f"new{i}", dataset(100 + i))
        update(store, folder)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert content(store) == fresh(folder)


def test_readers_of_other_processes_do_not_stop_a_commit(folder: Path) -> None:
    store = index(folder)
    reader = Store(store.path, writable=False)
    for i in range(5):
        before = reader.generation()
        write(folder / f"new{i}", dataset(100 + i))
        update(store, folder)
        assert reader.generation() > before
        assert content(reader) == content(store)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork_both_can_read_and_write(folder: Path) -> None:
    store = index(folder)
    write(folder / "child", dataset(101))
    child = os.fork()
    if child == 0:
        try:
            update(store, folder)
            ok = content(store) == fresh(folder)
        except BaseException:
            ok = False
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert "child" in {row.path for row in store.files().values()}
    write(folder / "parent", dataset(102))
    update(store, folder)
    assert content(store) == fresh(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_writes(folder: Path) -> None:
    store = index(folder)
    stop = threading.Event()

    def work() -> None:
        i = 0
        while not stop.is_set():
            i += 1
            write(folder / f"{i % 5}", dataset(100 + i))
            update(store, folder)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(10):
            time.sleep(0.01)
            child = os.fork()
            if child == 0:
                ok = False
                try:
                    ok = len(store.series()) == 2
                finally:
                    os._exit(0 if ok else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()
    update(store, folder)
    assert content(store) == fresh(folder)


FIRST_SCAN = """
import sys
from pathlib import Path
from dbdicom_xr.index.scan import refresh
from dbdicom_xr.index.store import Store
sys.stdin.readline()
store = Store(Path(sys.argv[2]))
refresh(store, sys.argv[1])
print(sum(series.instances for series in store.series()), store.identity)
"""


def test_two_processes_make_the_same_index_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    fill(folder, 300)
    path = tmp_path / "index.sqlite"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_SCAN, str(folder), str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for _ in range(3)
    ]  # fmt: skip
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("\n")
        run.stdin.flush()
    answers = [run.communicate(timeout=60)[0].split() for run in runs]
    assert {tuple(answer) for answer in answers} == {("300", Store(path).identity)}
    assert content(Store(path)) == fresh(folder)


def test_an_index_locked_by_another_is_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = index(folder)
    other = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    threading.Timer(0.3, lambda: other.execute("ROLLBACK")).start()
    assert len(store.series()) == 2

    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(connection, "WAIT_SECONDS", 0.2)
    store.close()
    write(folder / "new", dataset(9))
    with pytest.raises(IndexBusy, match=r"Another process has kept .*sqlite locked"):
        store.series()
    with pytest.raises(IndexBusy):
        Store(store.path)
    other.execute("ROLLBACK")
    other.execute("BEGIN")
    other.execute("SELECT * FROM series").fetchone()
    with pytest.raises(IndexBusy):
        update(store, folder)
    other.execute("ROLLBACK")
    other.close()
    update(store, folder)
    assert content(store) == fresh(folder)


def test_a_full_disk_says_so(folder: Path) -> None:
    store = index(folder)
    store.query(f"PRAGMA max_page_count={store.path.stat().st_size // 8192}")
    fill(folder / "more", 300)
    with pytest.raises(IndexNotWritable, match="full"):
        update(store, folder)
    assert len(store.series()) == 2
    store.close()
    update(store, folder)
    assert content(store) == fresh(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_quota_says_so_and_the_index_stays(folder: Path) -> None:
    import resource

    store = index(folder)
    identity = store.identity
    fill(folder / "more", 300)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    caught = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (store.path.stat().st_size + 4096, limits[1]))
        with pytest.raises(IndexNotWritable, match="index="):
            update(store, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, caught)
    store.close()
    assert store.identity == identity
    update(store, folder)
    assert content(store) == fresh(folder)


def test_an_index_that_vanishes_is_noticed(folder: Path) -> None:
    store = index(folder)
    store.close()
    store.path.unlink()
    with pytest.raises(DbdicomError):
        store.series()


def test_a_moved_folder_keeps_its_index(tmp_path: Path, folder: Path) -> None:
    store = index(folder)
    store.close()
    before = content(Store(store.path), numbers=True)
    shutil.copytree(folder, tmp_path / "moved", copy_function=shutil.copy2)
    assert not update(store, tmp_path / "moved").changed
    assert content(store, numbers=True) == before
