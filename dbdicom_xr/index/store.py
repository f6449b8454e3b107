"""The index of a folder: one SQLite file, headers as columns.

Per series and tag one row (see ``columns``), where the pixels of each instance lie, and which file
of which version each instance came from. The index is a cache of the folder: a damaged one is made
anew, so it is kept consistent against crashes (every change is one transaction), not against loss.

File numbers are never used twice. An array remembers its pixels by file number, so a file whose
content changed gets a new number and old arrays notice; one that was only re-read keeps its own.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import IndexDamaged
from dbdicom_xr.index.blocks import PLACE, SeriesKey
from dbdicom_xr.index.columns import Column, Key

__all__ = ["FORMAT", "FileRow", "SeriesRow", "Store", "uid_hash"]

FORMAT: Final = 1
"""Version of the tables below; an index of another version is rebuilt."""

_APPLICATION: Final = 0x44584442
INSTANCE: Final = 0
FRAME: Final = 1

_TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE folder(id INTEGER PRIMARY KEY, path UNIQUE);
CREATE TABLE file(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    folder INTEGER NOT NULL,
    name NOT NULL,
    size INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    series INTEGER,          -- NULL: not in the tree, the note says why
    uid INTEGER,             -- hash of the SOPInstanceUID
    note TEXT,
    UNIQUE(folder, name)
);
CREATE INDEX file_uid ON file(uid);
CREATE TABLE retired(id INTEGER PRIMARY KEY, path);
CREATE TABLE series(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    patient_id TEXT NOT NULL,
    patient_name TEXT NOT NULL,
    study_uid TEXT NOT NULL,
    series_uid TEXT NOT NULL,
    study_date TEXT, study_time TEXT, study_description TEXT,
    series_number INTEGER, series_description TEXT, modality TEXT,
    instances INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    UNIQUE(patient_id, patient_name, study_uid, series_uid)
);
CREATE TABLE place(series INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE header(
    series INTEGER NOT NULL,
    scope INTEGER NOT NULL,  -- 0: a row per instance, 1: a row per frame
    tag INTEGER NOT NULL,
    creator TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY(series, scope, tag, creator)
);
"""


class SeriesRow(NamedTuple):
    """What the tree shows of a series."""

    id: int
    key: SeriesKey
    study_date: str
    study_time: str
    study_description: str
    series_number: int | None
    series_description: str
    modality: str
    instances: int
    frames: int
    bytes: int


class FileRow(NamedTuple):
    """A file of the folder, as it was when it was read."""

    id: int
    path: str  # relative to the folder, with "/"
    size: int
    mtime: int
    series: int | None
    note: str | None


def uid_hash(uid: str) -> int:
    """Return a signed 64-bit hash by which instances are looked up."""
    return int.from_bytes(
        blake2b(uid.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little", signed=True
    )


def to_stored(name: str) -> str | bytes:
    """Return a file name as SQLite can hold it; not every name is Unicode."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def from_stored(name: str | bytes) -> str:
    """Return the file name that ``to_stored`` stored."""
    return name if isinstance(name, str) else os.fsdecode(name)


T = TypeVar("T")


class Store:
    """An open index file.

    Parameters
    ----------
    path : Path
        The index file; made where it is missing.
    writable : bool
        Whether changes are allowed.

    Raises
    ------
    IndexDamaged
        It is not an index, or of another version.
    """

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        self.path = path
        self.writable = writable
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = -1
        self._depth = 0
        with self._lock:
            fresh = not path.exists() or path.stat().st_size == 0
            if fresh:
                self._create()
            self._check()
            self.identity: str = str(self.meta("identity"))

    def __repr__(self) -> str:
        return f"<Store {self.path}>"

    # -- the connection ----------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        # A connection must not cross a fork (sqlite.org/howtocorrupt.html, 2.6).
        if self._connection is None or self._process != os.getpid():
            uri = f"{self.path.absolute().as_uri()}?mode={'rw' if self.writable else 'ro'}"
            connection = sqlite3.connect(
                uri, uri=True, timeout=60, check_same_thread=False, isolation_level=None
            )
            connection.execute(
                "PRAGMA journal_mode=DELETE" if self.writable else "PRAGMA query_only=1"
            )
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA temp_store=MEMORY")
            self._connection, self._process = connection, os.getpid()
            self._depth = 0
        return self._connection

    def _create(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        connection = sqlite3.connect(temporary, isolation_level=None)
        try:
            connection.execute("PRAGMA page_size=8192")
            connection.executescript(
                f"PRAGMA application_id={_APPLICATION}; PRAGMA user_version={FORMAT};"
                f"BEGIN; {_TABLES} COMMIT;"
            )
            connection.execute("INSERT INTO meta VALUES('identity', ?)", [uuid.uuid4().hex])
        finally:
            connection.close()
        os.replace(temporary, self.path)

    def _check(self) -> None:
        try:
            application = self.query("PRAGMA application_id")[0][0]
            version = self.query("PRAGMA user_version")[0][0]
            if application != _APPLICATION:
                raise IndexDamaged(f"{self.path} is not an index of dbdicom_xr")
            if version != FORMAT:
                raise IndexDamaged(
                    f"{self.path} is an index of version {version}; this dbdicom_xr writes version {FORMAT}"
                )
            if self.meta("identity") is None:
                raise IndexDamaged(f"{self.path} is incomplete")
            self.query("SELECT count(*) FROM series")
        except IndexDamaged:
            self.close()
            raise

    def query(self, sql: str, arguments: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of a query; no statement stays open."""
        with self._lock:
            try:
                return self._connect().execute(sql, arguments).fetchall()
            except sqlite3.OperationalError as error:
                if "locked" in str(error) or "busy" in str(error):
                    raise
                raise IndexDamaged(f"{self.path} cannot be read: {error}") from error
            except sqlite3.DatabaseError as error:
                raise IndexDamaged(f"{self.path} is damaged: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Make all changes inside one commit, or none."""
        with self._lock:
            connection = self._connect()
            if self._depth == 0:
                connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield connection
            except BaseException:
                self._depth -= 1
                if self._depth == 0 and connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def meta(self, key: str) -> Any:
        """Return a value of the index as a whole."""
        rows = self.query("SELECT value FROM meta WHERE key=?", [key])
        return rows[0][0] if rows else None

    def generation(self) -> int:
        """Return a number that grows with every change, of any process."""
        return int(self.meta("generation") or 0)

    # -- reading -----------------------------------------------------------------------------

    def series(self) -> list[SeriesRow]:
        """Return all series, without their headers."""
        rows = self.query(
            "SELECT id, patient_id, patient_name, study_uid, series_uid, study_date, study_time,"
            " study_description, series_number, series_description, modality, instances, frames,"
            " bytes FROM series"
        )
        return [SeriesRow(row[0], SeriesKey(*row[1:5]), *row[5:]) for row in rows]

    def places(self, series: int) -> npt.NDArray[np.void]:
        """Return where the pixels of each instance are, shape (instances,), dtype ``PLACE``."""
        rows = self.query("SELECT data FROM place WHERE series=?", [series])
        if not rows:
            raise IndexDamaged(f"{self.path} has lost the instances of series {series}")
        data = rows[0][0]
        payload = zlib.decompress(data[4:])
        if zlib.crc32(payload) != int.from_bytes(data[:4], "little"):
            raise IndexDamaged(f"{self.path} holds damaged pixel places")
        return np.frombuffer(payload, PLACE)

    def keys(self, series: int, scope: int = INSTANCE) -> list[Key]:
        """Return the attributes that occur in a series."""
        rows = self.query(
            "SELECT tag, creator FROM header WHERE series=? AND scope=? ORDER BY tag, creator",
            [series, scope],
        )
        return [Key(*row) for row in rows]

    def column(self, series: int, key: Key, scope: int = INSTANCE) -> Column | None:
        """Return one attribute of a series, None where no instance has it."""
        rows = self.query(
            "SELECT data FROM header WHERE series=? AND scope=? AND tag=? AND creator=?",
            [series, scope, key.tag, key.creator],
        )
        return Column.unpack(key, rows[0][0]) if rows else None

    def columns(self, series: int, scope: int = INSTANCE) -> dict[Key, Column]:
        """Return all attributes of a series."""
        rows = self.query(
            "SELECT tag, creator, data FROM header WHERE series=? AND scope=? ORDER BY tag, creator",
            [series, scope],
        )
        return {
            Key(tag, creator): Column.unpack(Key(tag, creator), data) for tag, creator, data in rows
        }

    def creators(self, series: int, tag: int) -> list[str]:
        """Return the private creators under which an element number occurs."""
        rows = self.query(
            "SELECT DISTINCT creator FROM header WHERE series=? AND tag=?", [series, tag]
        )
        return [row[0] for row in rows]

    def files(self, numbers: Iterable[int] | None = None) -> dict[int, FileRow]:
        """Return files by number, or all."""
        sql = (
            "SELECT file.id, folder.path, name, size, mtime, series, note FROM file"
            " JOIN folder ON folder.id = file.folder"
        )
        if numbers is None:
            rows = self.query(sql)
        else:
            rows = []
            for part in _chunks(sorted({int(n) for n in numbers}), 500):
                if part[-1] - part[0] == len(part) - 1:
                    rows += self.query(f"{sql} WHERE file.id BETWEEN ? AND ?", [part[0], part[-1]])
                else:
                    marks = ",".join("?" * len(part))
                    rows += self.query(f"{sql} WHERE file.id IN ({marks})", part)
        return {row[0]: FileRow(row[0], _join(row[1], row[2]), *row[3:]) for row in rows}

    def problems(self) -> list[FileRow]:
        """Return the files about which there is something to say."""
        rows = self.query(
            "SELECT file.id, folder.path, name, size, mtime, series, note FROM file"
            " JOIN folder ON folder.id = file.folder WHERE note IS NOT NULL"
        )
        found = [FileRow(row[0], _join(row[1], row[2]), *row[3:]) for row in rows]
        return sorted(found, key=lambda row: row.path)

    def retired_path(self, number: int) -> str | None:
        """Return the path of a file that has changed or gone."""
        rows = self.query("SELECT path FROM retired WHERE id=?", [number])
        return from_stored(rows[0][0]) if rows else None

    def series_of_uid(self, uid: str) -> list[tuple[int, int]]:
        """Return (file, series) of the instances whose UID has the same hash."""
        return self.query(
            "SELECT id, series FROM file WHERE uid=? AND series IS NOT NULL", [uid_hash(uid)]
        )


def _join(folder: str | bytes, name: str | bytes) -> str:
    folder, name = from_stored(folder), from_stored(name)
    return f"{folder}/{name}" if folder else name


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
