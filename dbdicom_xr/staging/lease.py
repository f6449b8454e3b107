"""Who may change a database: one process at a time, known by a row that it keeps fresh.

Locks of network file systems are not trusted. The row says who holds the lease, and a thread of
that process renews its time. A process of the same machine that is gone is known by its number
and the time at which it started; any other by a time that has grown old.

A program keeps the lease until what it has staged is saved or restored. A task on a worker takes it
for one change at a time, since nobody could end it there; whoever meets such a lease waits for it.
"""

from __future__ import annotations

import atexit
import getpass
import os
import random
import socket
import sqlite3
import sys
import threading
import time
import uuid
import weakref
from pathlib import Path
from typing import Any, Final, NamedTuple

from dbdicom_xr.errors import DbdicomError, Locked
from dbdicom_xr.index.connection import SqliteFile
from dbdicom_xr.index.seen import worker_address

__all__ = [
    "BEAT_SECONDS",
    "ENDED_SECONDS",
    "TABLES",
    "Holder",
    "Lease",
    "Process",
    "has_ended",
    "in_task",
    "this_process",
]

TABLES: Final = """
CREATE TABLE lease(
    one INTEGER PRIMARY KEY CHECK(one = 1),
    token TEXT NOT NULL,     -- of this taking; another one each time
    host TEXT NOT NULL,
    user TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started TEXT NOT NULL,   -- of the process, since numbers of processes are used again
    machine TEXT NOT NULL,   -- and boot: where the clock is the same
    numbering TEXT NOT NULL, -- where the number of the process means the same
    since REAL NOT NULL,
    beat REAL NOT NULL
);
"""

BEAT_SECONDS: Final = 10.0
"""How often a holder says that it is there."""

ENDED_SECONDS: Final = 60.0
"""A holder elsewhere that has been silent for longer has ended."""

_WATCH_SECONDS = 1.5 * BEAT_SECONDS

# For a task to end its change; longer than it takes to notice that its machine is not there.
_PATIENCE_SECONDS = 1.5 * ENDED_SECONDS
# Of a task, for a program that may be about to save.
_PATIENCE_OF_TASKS_SECONDS = 3.0
_BRIEF: Final = "brief-"  # how the token of a lease begins that is taken for one change

_COLUMNS: Final = "token, host, user, pid, started, machine, numbering, since, beat"


class Holder(NamedTuple):
    """Who holds the lease of a database."""

    user: str
    host: str
    pid: int
    since: float
    """Seconds since 1970, by the clock of that host."""

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.since))
        return f"{self.user} on {self.host} (process {self.pid}, since {since})"


class Process(NamedTuple):
    """A process, told from others that had its number before."""

    numbering: str
    """Where the number means the same: a machine since it was started, or a container."""
    pid: int
    started: str


def this_process() -> Process:
    """Return what names this process."""
    return Process(_identity()[1], os.getpid(), _own_start())


def has_ended(process: Process) -> bool | None:
    """Return whether a process has ended, None where that cannot be known from here.

    Examples
    --------
    >>> has_ended(this_process())
    False
    """
    if process.numbering != _identity()[1]:
        return None
    started = _started(process.pid)
    return None if started is None else started != process.started


def in_task() -> bool:
    """Return whether this is a task that another program gave to a worker, or to its own child.

    Examples
    --------
    >>> in_task()
    False
    """
    processes = sys.modules.get("multiprocessing.process")  # which a child has loaded
    child = processes is not None and processes.parent_process() is not None
    return child or worker_address() is not None


class _Row(NamedTuple):
    token: str
    host: str
    user: str
    pid: int
    started: str
    machine: str
    numbering: str
    since: float
    beat: float

    @property
    def holder(self) -> Holder:
        return Holder(self.user, self.host, self.pid, self.since)

    @property
    def brief(self) -> bool:
        """Whether it is given back after one change."""
        return self.token.startswith(_BRIEF)


class _InUse(Exception):
    def __init__(self, row: _Row) -> None:
        super().__init__(row)
        self.row = row


class Lease:
    """The right to change a database, shared by all objects of this process that use one file.

    Parameters
    ----------
    file : SqliteFile
        With the tables of this module.
    brief : bool
        Whether it is given back after one change, so that others wait for it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> class Example(SqliteFile):
    ...     tables = "CREATE TABLE meta(key TEXT PRIMARY KEY, value);" + TABLES
    ...     format, application = 1, 7
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Example(Path(folder) / "example.sqlite")
    ...     lease = Lease(file)
    ...     lease.acquire()
    ...     print(lease.held, lease.holder().pid == os.getpid())
    ...     lease.release()
    ...     print(lease.held, lease.holder())
    ...     file.close()
    True True
    False None
    """

    def __init__(self, file: SqliteFile, *, brief: bool = False) -> None:
        self._file = file
        self.brief = brief
        self._holding: _Holding | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lease, as far as is known without looking."""
        return self._holding is not None and self._holding.valid

    def acquire(self, *, wait: bool = True) -> None:
        """Take the lease, or share the one that this process has; not inside a transaction.

        Parameters
        ----------
        wait : bool
            Whether to wait for one that is soon given back.

        Raises
        ------
        Locked
            Another process has it. The message names it, and the way out.
        """
        if self.held:
            return
        suspect = self._free_or_suspect(wait=wait)
        if suspect is not None:
            # Silent for long by a clock that is not ours, which may be wrong: it is watched for
            # longer than it takes to say something.
            until = time.monotonic() + _WATCH_SECONDS
            while time.monotonic() < until:
                time.sleep(min(1.0, _WATCH_SECONDS / 5))
                if _read(self._file) != suspect:
                    break
            try:
                still = self._share_or_take(suspect)
            except _InUse as other:
                still = other.row
            if still is not None:
                raise Locked(_refusal(still, self._file.path))

    def _free_or_suspect(self, *, wait: bool) -> _Row | None:
        """Take the lease as soon as no task has it, or return the row that has to be watched."""
        start = time.monotonic()
        while True:
            try:
                return self._share_or_take(None)
            except _InUse as other:
                row = other.row
                patience = 0.0
                if wait and row.brief:
                    patience = _PATIENCE_SECONDS
                elif wait and self.brief:
                    patience = _PATIENCE_OF_TASKS_SECONDS
                until = start + patience
                if time.monotonic() >= until:
                    raise Locked(_refusal(row, self._file.path)) from None
            while _is_still(_read(self._file), row) and time.monotonic() < until:
                time.sleep(random.uniform(0.001, 0.02))  # many may wait: not all at once

    def _share_or_take(self, watched: _Row | None) -> _Row | None:
        path = os.path.realpath(self._file.path)
        with _registry_lock:
            holding = _holdings.get(path)
            if holding is None or not holding.valid:
                taken = _take(self._file, watched, brief=self.brief)
                if isinstance(taken, _Row):
                    return taken
                holding = _holdings[path] = _Holding(taken, self._file, path)
                holding.start()
            holding.share(self)
            self._holding = holding
        return None

    def release(self) -> None:
        """Give the lease back; others of this process that share it keep it."""
        holding, self._holding = self._holding, None
        if holding is None:
            return
        with _registry_lock:
            holding.leases.discard(self)
            others = list(holding.leases)
            if others:
                holding.file = others[0]._file  # ours may be closed from now on
            elif holding.valid:
                holding.end()

    def check(self, connection: sqlite3.Connection) -> None:
        """Make sure, inside a transaction that writes, that the lease is still ours.

        Raises
        ------
        Locked
            It is not: this process was suspended, or cut off, and another one took over.
        """
        holding = self._holding
        row = _row_of(connection.execute(f"SELECT {_COLUMNS} FROM lease").fetchall())
        if holding is not None and holding.valid and row and row.token == holding.token:
            return
        if holding is None or holding.pid != os.getpid():
            raise Locked(f"This process does not hold the lease of {self._file.path}.")
        holding.lost.set()
        other = f"{row.holder} has taken over" if row else "another process had taken over"
        raise Locked(
            f"{other}, because this process had not been heard of for {ENDED_SECONDS:.0f} seconds. "
            "This change has not been made; what was staged before is still there. Open the "
            "database again to go on."
        )

    def holder(self) -> Holder | None:
        """Return who has the lease, which may be this process; None if nobody has."""
        row = _read(self._file)
        return None if row is None or _ended(row) else row.holder


class _Holding:
    """The lease that this process has of one file, and the thread that keeps it fresh."""

    def __init__(self, token: str, file: SqliteFile, path: str) -> None:
        self.token = token
        self.file = file
        self.path = path
        self.pid = os.getpid()
        self.lost = threading.Event()
        # Weak, so that a database that is dropped without being closed ends its lease.
        self.leases: weakref.WeakSet[Lease] = weakref.WeakSet()
        self._stopped = False
        self._wake = threading.Event()

    @property
    def valid(self) -> bool:
        # A process that was forked inherits the object, not the lease.
        return not (self._stopped or self.lost.is_set()) and self.pid == os.getpid()

    def start(self) -> None:
        threading.Thread(target=self._run, name="dbdicom_xr lease", daemon=True).start()

    def share(self, lease: Lease) -> None:
        self.leases.add(lease)
        # Not more than this: the collector may run while locks are held.
        weakref.finalize(lease, self._wake.set).atexit = False

    def _run(self) -> None:
        while not self.lost.is_set():
            self._wake.wait(BEAT_SECONDS)
            self._wake.clear()
            with _registry_lock:
                if not self.leases and not self._stopped:
                    self.end()
                if self._stopped:
                    return
                file = self.file
            self._beat(file)

    def _beat(self, file: SqliteFile) -> None:
        try:
            with SqliteFile.transaction(file) as connection:
                sql = "UPDATE lease SET beat=? WHERE token=?"
                if not connection.execute(sql, [time.time(), self.token]).rowcount:
                    self.lost.set()
        except (DbdicomError, OSError, sqlite3.Error):
            return  # the disk may come back; whether the lease is still ours, each change checks
        finally:
            if self._stopped or self.file is not file:
                file.close()  # it was closed meanwhile, and this has opened it again

    def end(self) -> None:
        self._stopped = True
        self._wake.set()
        if _holdings.get(self.path) is self:
            del _holdings[self.path]
        try:
            with SqliteFile.transaction(self.file) as connection:
                connection.execute("DELETE FROM lease WHERE token=?", [self.token])
        except (DbdicomError, OSError, sqlite3.Error):
            return  # nobody renews it any more


def _take(file: SqliteFile, watched: _Row | None, *, brief: bool) -> str | _Row:
    """Take the lease and return its token, or return the row that has to be watched first."""
    token = (_BRIEF if brief else "") + uuid.uuid4().hex
    machine, numbering = _identity()
    # Not `file.transaction()`: a kind of file may check the lease there.
    with SqliteFile.transaction(file) as connection:
        row = _row_of(connection.execute(f"SELECT {_COLUMNS} FROM lease").fetchall())
        if row is not None and row != watched and not _left_by_us(row):
            if not _ended(row):
                raise _InUse(row)
            if row.machine != machine:
                return row
        now = time.time()
        connection.execute(
            f"INSERT OR REPLACE INTO lease(one, {_COLUMNS}) VALUES(1, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [token, socket.gethostname(), _user(), os.getpid(), _own_start(),
             machine, numbering, now, now],
        )  # fmt: skip
    return token


def _left_by_us(row: _Row) -> bool:
    """Tell whether this process gave the lease back, but could not remove the row."""
    this = (row.numbering, row.pid, row.started) == (_identity()[1], os.getpid(), _own_start())
    return this and all(held.token != row.token for held in _holdings.values())


def _refusal(row: _Row, path: Path) -> str:
    if row.brief:
        way_out = (
            f"It is a task on a worker, which gives the database back by itself, but has not done "
            f"so for {time.time() - row.since:.0f} seconds. Try again later"
        )
    elif in_task():
        way_out = (
            "A task on a worker can change it only while no program has changes of it in hand: "
            "save() or restore() them there before the tasks begin, or return the result from the "
            "task and write it there"
        )
    elif row.numbering == _identity()[1]:
        way_out = "Close it there, or end that process"
    else:
        way_out = (
            f"Close it there, or wait; it ends by itself {ENDED_SECONDS:.0f} seconds after that "
            "process has ended"
        )
    return f"{row.holder} is changing this database. {way_out}. (The lease is kept in {path})"


def _read(file: SqliteFile) -> _Row | None:
    return _row_of(file.query(f"SELECT {_COLUMNS} FROM lease"))


def _row_of(rows: list[Any]) -> _Row | None:
    return _Row(*rows[0]) if rows else None


def _is_still(row: _Row | None, before: _Row) -> bool:
    return row is not None and row.token == before.token and not _ended(row)


def _ended(row: _Row) -> bool:
    if row.numbering == _identity()[1]:
        started = _started(row.pid)
        if started is not None:
            return started != row.started
    # Older, or of a time to come: then one of the clocks is wrong, and only watching helps.
    return abs(time.time() - row.beat) > ENDED_SECONDS


def _identity() -> tuple[str, str]:
    """Return what names this machine since it was started, and its numbering of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = os.readlink("/proc/self/ns/pid")  # containers count processes by themselves
    except OSError:
        # Two machines may have one name, so their network cards count too.
        boot, space = f"{uuid.getnode():x}", "-"
    return boot, f"{socket.gethostname()} {boot} {space}"


def _started(pid: int) -> str | None:
    """Return when a process started, "ended" if it is not there, None if that is not known."""
    if os.name != "posix":  # elsewhere os.kill ends the process
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "ended"
    except (PermissionError, OverflowError):
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    # "state" and "starttime" of proc(5); a zombie does nothing any more.
    return "ended" if fields[0] in (b"Z", b"X") else fields[19].decode("ascii")


def _own_start() -> str:
    return _started(os.getpid()) or ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # no name in this container
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"


_registry_lock = threading.RLock()
_holdings: dict[str, _Holding] = {}


@atexit.register
def _end_all() -> None:
    with _registry_lock:
        for holding in list(_holdings.values()):
            if holding.valid:
                holding.end()


def _forget() -> None:
    global _registry_lock
    _registry_lock = threading.RLock()
    _holdings.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
