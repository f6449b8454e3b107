"""What is staged of one database: its present state, changing it, and many changes as one."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dbdicom_xr.errors import DatabaseChanged, DbdicomError, DicomWarning, Locked
from dbdicom_xr.staging import journal
from dbdicom_xr.staging.file import Layer, StagingFile
from dbdicom_xr.staging.lease import Lease, in_task

__all__ = ["Staging", "staging_of"]

# Room for the changes of a batch between two commits, in the number of a state.
_BATCH = 1 << 32
# From its beginning, how long a batch lets other threads wait. Its block may itself wait for one of
# them, and never end.
_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.1  # how often they look whether that is over

Flush = Callable[[], None]


def staging_of(path: Path) -> Staging:
    """Return what is staged in a file: one object for all that use it in this process."""
    key = os.path.realpath(path)
    with _stagings_lock:
        found = _stagings.get(key)
        if found is None:
            found = _stagings[key] = Staging(path)
    found.look_whether_replaced()
    return found


class Staging:
    """What is staged of one database; made by :func:`staging_of`.

    Parameters
    ----------
    path : Path
        Of its file, which is made with the first change.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changing = threading.RLock()
        self._depth = 0  # of the blocks of the thread that holds it
        self._file: StagingFile | None = None
        self._lease: Lease | None = None
        self._lock = threading.RLock()
        self._known: tuple[int, Layer] = (0, Layer())
        self._inode: tuple[int, int] | None = None
        self._batches = 0
        self._keepers = 0
        self._pending: Layer | None = None  # in a batch
        self._collector: int | None = None  # the thread of the batch
        self._began: float | None = None  # a batch whose block may wait for other threads
        self._changes = 0  # of the batch
        self._flushes: list[Flush] = []  # of those who have noted changes for the batch
        self.seen = 0
        """Another number after each change that this process made: to be compared, quickly."""

    @property
    def file(self) -> StagingFile | None:
        """The file, None while nothing has been staged."""
        with self._lock:
            there = _holds_something(self.path)
            if self._file is not None and not there:
                if self._known[1].unsaved:
                    warnings.warn(
                        f"{self.path} has been removed, and with it the changes that were staged. "
                        "If the folder was only moved, they are at its new place.",
                        DicomWarning,
                        stacklevel=2,
                    )
                self._drop()  # with the folder, say: changes would go to a file without a name
            if self._file is None and there:
                self._open(writable=os.access(self.path, os.W_OK))
            return self._file

    def _open(self, *, writable: bool) -> StagingFile:
        if self._file is not None:
            self._file.close()
        self._file = StagingFile(self.path, writable=writable)
        self._inode = _inode_of(self.path)
        return self._file

    def _drop(self) -> None:
        """Forget a file that is not there any more."""
        self.give()
        if self._file is not None:
            self._file.close()
        self._file = self._inode = None
        self.reload()

    def look_whether_replaced(self) -> None:
        """Read another file from now on, if another one has been put in its place."""
        with self._lock:
            if self._pending is None and self._file is not None:
                replaced = _inode_of(self.path) != self._inode
                if replaced:
                    self._drop()

    def generation(self) -> int:
        """Return a number that grows with every change, of any process."""
        with self._lock:
            file = self.file
            stored = 0 if file is None else file.generation()
            return stored * _BATCH + self._changes

    def layer(self) -> Layer:
        """Return what is staged."""
        with self._lock:
            if self._pending is not None:
                return self._pending
            file = self.file
            if file is None:
                return Layer()
            if file.generation() != self._known[0]:
                self._known = file.load()
            return self._known[1]

    def known(self) -> Layer:
        """Return what was staged when this process last looked; takes no lock, opens no file."""
        return self._known[1] if self._pending is None else self._pending

    def saving(self) -> bool:
        """Return whether some process is saving files, or was killed while it did."""
        file = self.file
        return file is not None and journal.pending(file)

    def left_behind(self) -> bool:
        """Return whether a process that was killed may have left something to clear away."""
        file = self.file
        return file is not None and (journal.pending(file) or file.waiting())

    # -- changing ----------------------------------------------------------------------------

    @property
    @contextmanager
    def changing(self) -> Iterator[None]:
        """A block in which one thread makes a change, saves, restores or recovers; or its batch.

        Its lock is taken before all others. A task on a worker lets other processes change the
        database when its outermost block ends: what it staged is on the disk, and the program that
        gave it the task is the one to save it.

        Raises
        ------
        Locked
            Another thread is in a batch, and has been for long.
        """
        lock = self._changing  # a process that is forked inside has another one
        self._wait_for(lock)
        try:
            self._depth += 1
            try:
                yield
            finally:
                self._depth = max(self._depth - 1, 0)
                if self._depth == 0:
                    self._give_if_brief()
        finally:
            lock.release()

    def _wait_for(self, lock: threading.RLock) -> None:
        if lock.acquire(blocking=False):
            return
        while True:
            began = self._began
            if began is not None and time.monotonic() - began > _PATIENCE_SECONDS:
                raise Locked(
                    f"Another thread has been inside `with database.batch()` of {self.path} for "
                    f"{time.monotonic() - began:.0f} seconds, and nothing else can be changed "
                    "until that block has ended. If it waits for this thread, make the change in "
                    "the thread that has opened the block, or outside of it."
                )
            if lock.acquire(timeout=_LOOK_SECONDS):
                return

    def _give_if_brief(self) -> None:
        with self._lock:
            if self._lease is not None and self._lease.brief and self._pending is None:
                self.give()

    def take(self, *, wait: bool = True) -> StagingFile:
        """Become the one that changes the database, and return the file.

        Parameters
        ----------
        wait : bool
            Whether to wait where a task on a worker is making a change.

        Raises
        ------
        Locked
            Another process changes it.
        StagingNotWritable
            The file cannot be written.
        """
        with self._lock:
            file = self.file
            if file is None or not file.writable:
                file = self._open(writable=True)
            if not self.taken:  # but perhaps by the process that this one was forked from
                lease = Lease(file, brief=in_task())
                lease.acquire(wait=wait)
                self._lease = lease
            return file

    @property
    def taken(self) -> bool:
        """Whether this process is the one that changes the database."""
        return self._lease is not None and self._lease.held

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Stay the one that changes the database through a long job, whatever ends meanwhile.

        Not in a task on a worker, beside which others do their part of the same job.
        """
        if in_task():
            yield
            return
        with self._lock:
            self._keepers += 1
        try:
            yield
        finally:
            with self._lock:
                self._keepers = max(self._keepers - 1, 0)

    def give(self) -> None:
        """Let others change the database, unless a long job is under way."""
        with self._lock:
            if self._keepers:
                return
            if self._lease is not None:
                self._lease.release()
            self._lease = None

    def check(self, connection: sqlite3.Connection) -> None:
        """Raise ``Locked`` if another process has taken over while this one was suspended."""
        if self._lease is None:
            raise Locked(f"This process does not hold the lease of {self.path}.")
        self._lease.check(connection)

    def replace(self, new: Layer) -> None:
        """Make another state the present one, durably unless in a batch.

        The caller has called ``take``, and made the new state from the present one.
        """
        with self._lock:
            if self._pending is not None:
                self._pending = new
                self._changes += 1
                self.seen += 1
            else:
                self._commit(new)

    def _commit(self, new: Layer) -> None:
        file = self.take()
        old = self.layer() if self._pending is None else self._known[1]
        if new is old:
            return
        with file.transaction() as connection:
            self.check(connection)
            if file.generation() != self._known[0]:
                raise DatabaseChanged(f"What is staged in {self.path} was changed meanwhile.")
            generation = file.commit(connection, old, new)
        self._known = (generation, new)
        self.seen += 1

    @property
    def in_batch(self) -> bool:
        """Whether this thread collects changes."""
        return self._pending is not None and self._collector == threading.get_ident()

    @property
    def batch_of_another(self) -> bool:
        """Whether another thread collects changes, for whose end those of this one wait."""
        return self._pending is not None and self._collector != threading.get_ident()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Collect changes, and make them one at the end, or none where an error ends the block.

        It belongs to its thread. Changes of others wait for its end, but not for ever; what they
        read is what has been collected so far.
        """
        with self.changing:
            with self._lock:
                if self._batches == 0:
                    self.take()
                    self._collector = threading.get_ident()
                    self._pending = self.layer()
                    # Inside a change there is no code but ours, which waits for nobody.
                    self._began = time.monotonic() if self._depth == 1 else None
                self._batches += 1
            try:
                yield
                self.flush()
                with self._lock:
                    if self._batches == 1 and self._pending is not None:
                        self._commit(self._pending)
            finally:
                self._leave_batch()

    def _leave_batch(self) -> None:
        with self._lock:
            # A process that was forked inside the batch has no part in it.
            self._batches = max(self._batches - 1, 0)
            if self._batches:
                return
            self._pending = self._collector = self._began = None
            # Never a number that stood for another state: the batch may have been given up.
            self._changes += 1
            self.seen += 1
            flushes, self._flushes = self._flushes, []
        for flush in flushes:  # outside that lock: they take another one, which comes before it
            flush()  # what was noted is forgotten

    def note(self, flush: Flush) -> None:
        """Have a function called before anything else is done in the batch, and at its end.

        It makes changes that were noted part of the batch, or forgets them if there is none.
        """
        if flush not in self._flushes:
            self._flushes.append(flush)

    def flush(self, but: Flush | None = None) -> None:
        """Make what was noted part of the batch."""
        for flush in self._flushes:
            if flush != but:
                flush()

    def require_no_batch(self, what: str) -> None:
        """Raise an error inside a batch, for what cannot be part of one.

        The batch of another thread is waited for.
        """
        if self.in_batch:
            raise DbdicomError(
                f"{what} cannot stand inside `with database.batch()`, whose changes are not made "
                "until it ends; put it behind the block."
            )
        if self.batch_of_another:
            with self.changing:
                pass

    def reload(self) -> None:
        """Forget what is known of the file, which was changed without ``replace``."""
        with self._lock:
            self._known = (-1, Layer())
            self.seen += 1

    def close(self) -> None:
        """Close the file and let others change the database; the next use opens it again."""
        with self._lock:
            if self._pending is not None:
                return  # another object of this process is in a batch
            self.give()
            if self._file is not None:
                self._file.close()

    def _after_fork(self) -> None:
        self._changing = threading.RLock()
        self._lock = threading.RLock()
        self._depth = 0
        self._batches = self._keepers = 0
        self._pending = self._collector = self._began = None
        self._changes += 1
        self.seen += 1


def _holds_something(path: Path) -> bool:
    """Return whether a file is there; on a full disk one can be made, and stays empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _inode_of(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


_stagings: weakref.WeakValueDictionary[str, Staging] = weakref.WeakValueDictionary()
_stagings_lock = threading.Lock()


def _after_fork() -> None:
    global _stagings_lock
    _stagings_lock = threading.Lock()
    for staging in list(_stagings.values()):
        staging._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
