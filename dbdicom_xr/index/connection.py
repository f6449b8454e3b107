"""SQLite files: made, opened, locked, by threads, forked processes and others; the index is one."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

from dbdicom_xr.errors import IndexBusy, IndexDamaged, IndexNotWritable

__all__ = ["APPLICATION", "FORMAT", "IndexFile", "SqliteFile", "remove_index"]

FORMAT: Final = 4
"""Version of the tables below; an index of another version is rebuilt."""

APPLICATION: Final = 0x44584442
"""What the header of the file calls it; tells an index from other SQLite files."""

WAIT_SECONDS: Final = 60.0

SAVE_SECONDS: Final = 30.0
"""How long to wait for the end of a save; 5,000 files take 3 s to their places."""

# What SQLite says where the file itself is sound.
_NOT_WRITTEN: Final = (
    "disk is full",
    "disk I/O error",
    "readonly database",
    "unable to open database file",
)

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
    sum INTEGER NOT NULL,    -- of the row, with the path of the folder for its number
    UNIQUE(folder, name)
);
CREATE INDEX file_uid ON file(uid);
CREATE TABLE retired(id INTEGER PRIMARY KEY, path, uid INTEGER, size INTEGER, mtime INTEGER);
CREATE INDEX retired_uid ON retired(uid);
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
    sum INTEGER NOT NULL,
    UNIQUE(patient_id, patient_name, study_uid, series_uid)
);
CREATE TABLE place(
    series INTEGER PRIMARY KEY,
    places BLOB NOT NULL,
    keys BLOB NOT NULL       -- which rows of header belong to the series
);
CREATE TABLE header(
    series INTEGER NOT NULL,
    scope INTEGER NOT NULL,  -- 0: a row per instance, 1: a row per frame
    tag INTEGER NOT NULL,
    creator TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY(series, scope, tag, creator)
);
"""


class SqliteFile:
    """An open SQLite file, usable from any thread, and in a process that was forked.

    Parameters
    ----------
    path : Path
        The file; made where it is missing.
    writable : bool
        Whether changes are allowed.
    """

    tables: ClassVar[str]
    format: ClassVar[int]
    application: ClassVar[int]
    synchronous: ClassVar[str] = "NORMAL"
    noun: ClassVar[str] = "index"

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        self.path = path
        self.writable = writable
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        _files.add(self)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"

    def _open(self) -> None:
        if self.path.is_dir():
            raise IndexNotWritable(
                f"{self.path} is a folder, where the index file should be; remove it, or pass "
                "index= with another place"
            )
        with self._lock, self._errors():
            if self.writable and (not self.path.exists() or self.path.stat().st_size == 0):
                self._create()
            application = self.query("PRAGMA application_id")[0][0]
            if self.writable and application == 0 and self.path.stat().st_size == 0:
                # That reading rolled back what a process that was killed had begun to make.
                self.close()
                self._create()
                application = self.query("PRAGMA application_id")[0][0]
            version = self.query("PRAGMA user_version")[0][0]
            if application != self.application:
                raise IndexDamaged(f"{self.path} is not an {self.noun} of dbdicom_xr")
            if version != self.format:
                raise IndexDamaged(
                    f"{self.path} is an {self.noun} of version {version}; "
                    f"this dbdicom_xr writes version {self.format}"
                )
            identity = self.meta("identity")
            if not isinstance(identity, str):
                raise IndexDamaged(f"{self.path} is incomplete")
            self.identity: str = identity
            """Of the index file as it was made; another one after it was made anew."""

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            uri = f"{self.path.absolute().as_uri()}?mode={'rw' if self.writable else 'ro'}"
            connection = sqlite3.connect(
                uri, uri=True, timeout=WAIT_SECONDS, check_same_thread=False, isolation_level=None
            )
            # A rollback journal, since network file systems lack what WAL needs.
            connection.execute(
                "PRAGMA journal_mode=DELETE" if self.writable else "PRAGMA query_only=1"
            )
            connection.execute(f"PRAGMA synchronous={self.synchronous}")
            connection.execute("PRAGMA temp_store=MEMORY")
            connection.execute("PRAGMA cell_size_check=1")
            self._connection = connection
        return self._connection

    def _create(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise IndexNotWritable(
                f"{self.path.parent} cannot be made: {error.strerror or error}; pass index= with "
                "a place that can be written to"
            ) from error
        connection = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA page_size=8192")
            connection.execute("BEGIN EXCLUSIVE")  # two processes may come to the same idea
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in self.tables.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={self.application}")
                connection.execute(f"PRAGMA user_version={self.format}")
                connection.execute("INSERT INTO meta VALUES('identity', ?)", [uuid.uuid4().hex])
            connection.execute("COMMIT")
        finally:
            connection.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Say what errors of SQLite mean here."""
        try:
            yield
        except sqlite3.Error as error:
            text = str(error)
            if isinstance(error, sqlite3.OperationalError):
                if "locked" in text or "busy" in text:
                    raise IndexBusy(
                        f"Another process has kept {self.path} locked for {WAIT_SECONDS:.0f} "
                        "seconds. Is it scanning the same folder? Try again, or pass index= with "
                        "another place."
                    ) from error
                # Of a quota, of a limit on the size of files, of the disk itself, or of a folder in
                # which no journal can be made; what was committed before is still there.
                if any(words in text for words in _NOT_WRITTEN) or not self._may_be_written():
                    raise IndexNotWritable(
                        f"{self.path} cannot be written: {text}; pass index= with a place that "
                        "can be written to"
                    ) from error
            raise IndexDamaged(f"{self.path} is damaged: {text}") from error
        except UnicodeDecodeError as error:  # what SQLite quotes of a damaged file
            raise IndexDamaged(f"{self.path} is damaged: {error}") from error
        except IndexDamaged as error:
            if str(self.path) in str(error):
                raise
            raise IndexDamaged(f"{self.path} is damaged: {error}") from error

    def _may_be_written(self) -> bool:
        return self.writable and self.path.exists() and os.access(self.path, os.W_OK)

    def query(self, sql: str, arguments: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of a query; no statement stays open."""
        with self._lock, self._errors():
            return self._connect().execute(sql, arguments).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Make all changes inside one commit, or none.

        Raises
        ------
        IndexBusy
            Another process writes and does not finish.
        """
        with self._lock, self._errors():
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def discard(self) -> None:
        """Close and remove the file, so that the next ``Store`` of this path makes it anew."""
        self.close()
        remove_index(self.path)

    def meta(self, key: str) -> Any:
        """Return a value of the index as a whole."""
        rows = self.query("SELECT value FROM meta WHERE key=?", [key])
        return rows[0][0] if rows else None

    def generation(self) -> int:
        """Return a number that grows with every change, of any process."""
        return self._number("generation")

    def _number(self, key: str) -> int:
        value = self.meta(key)
        if value is None:
            return 0
        if not isinstance(value, int):
            raise IndexDamaged(f"{self.path} is damaged: {key} is {value!r}")
        return value


class IndexFile(SqliteFile):
    """An open index file; :class:`~dbdicom_xr.index.store.Store` knows what its tables mean."""

    tables = _TABLES
    format = FORMAT
    application = APPLICATION

    def saving(self) -> bool:
        """Return whether files are being put in their places that are not in the index yet."""
        return self.meta("saving") is not None

    def set_saving(self, saving: bool) -> None:
        """Tell all who read that files are being put in their places, or that all are there."""
        if saving == self.saving():
            return
        with self.transaction() as connection:
            if saving:
                connection.execute("INSERT OR REPLACE INTO meta VALUES('saving', 1)")
            else:
                connection.execute("DELETE FROM meta WHERE key='saving'")

    def wait_for_save(self) -> bool:
        """Wait until the files of a save are in their places and in the index.

        Returns
        -------
        bool
            Whether there was a save, which has ended. A process that was killed in the middle of
            one is not waited for longer than ``SAVE_SECONDS``.
        """
        until = time.monotonic() + SAVE_SECONDS
        waited = False
        while self.saving():
            if time.monotonic() > until:
                return False
            waited = True
            time.sleep(0.01)
        return waited


def remove_index(path: Path) -> None:
    """Remove an index file, so that it can be made anew.

    Raises
    ------
    IndexNotWritable
        It cannot be removed.
    """
    try:
        for name in (path, Path(f"{path}-journal")):
            name.unlink(missing_ok=True)
    except OSError as error:
        raise IndexNotWritable(
            f"{path} is damaged and cannot be removed: {error.strerror or error}"
        ) from error


_files: weakref.WeakSet[SqliteFile] = weakref.WeakSet()
_held: list[SqliteFile] = []


def _before_fork() -> None:
    # No transaction may be open, or the child would roll it back (sqlite.org/howtocorrupt.html).
    for file in list(_files):
        file._lock.acquire()
        _held.append(file)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop()._lock.release()


def _after_fork_in_child() -> None:
    for file in _held:
        file._lock = threading.RLock()
        file.close()  # a connection must not cross a fork; the child makes its own
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
