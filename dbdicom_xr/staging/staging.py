"""What is staged of one database: its present state, changing it, and many changes as one."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dbdicom_xr.errors import DbdicomError
from dbdicom_xr.staging import journal
from dbdicom_xr.staging.file import Layer, StagingFile
from dbdicom_xr.staging.lease import Lease

__all__ = ["Staging"]

# Room for the changes of a batch between two commits, in the number of a state.
_BATCH = 1 << 32


class Staging:
    """What is staged of one database.

    Parameters
    ----------
    path : Path
        Of its file, which is made with the first change.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: StagingFile | None = None
        self._lease: Lease | None = None
        self._lock = threading.RLock()
        self._known: tuple[int, Layer] = (0, Layer())
        self._batches = 0
        self._pending: Layer | None = None  # in a batch
        self._changes = 0  # of the batch

    @property
    def file(self) -> StagingFile | None:
        """The file, None while nothing has been staged."""
        with self._lock:
            if self._file is None and os.path.exists(self.path):
                self._file = StagingFile(self.path, writable=os.access(self.path, os.W_OK))
            return self._file

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

    def saving(self) -> bool:
        """Return whether some process is saving files, or was killed while it did."""
        file = self.file
        return file is not None and journal.pending(file)

    # -- changing ----------------------------------------------------------------------------

    def take(self) -> StagingFile:
        """Become the one that changes the database, and return the file.

        Raises
        ------
        Locked
            Another process changes it.
        StagingNotWritable
            The file cannot be written.
        """
        with self._lock:
            if self._file is None or not self._file.writable:
                if self._file is not None:
                    self._file.close()
                self._file = StagingFile(self.path)
            if self._lease is None:
                lease = Lease(self._file)
                lease.acquire()
                self._lease = lease
            elif not self._lease.held:  # of the process that this one was forked from
                self._lease.acquire()
            return self._file

    def give(self) -> None:
        """Let others change the database."""
        with self._lock:
            if self._lease is not None:
                self._lease.release()
            self._lease = None

    def check(self, connection: sqlite3.Connection) -> None:
        """Raise ``Locked`` if another process has taken over while this one was suspended."""
        assert self._lease is not None
        self._lease.check(connection)

    def replace(self, new: Layer) -> None:
        """Make another state the present one, durably unless in a batch.

        The caller has called ``take``, and made the new state from the present one.
        """
        with self._lock:
            if self._pending is not None:
                self._pending = new
                self._changes += 1
            else:
                self._commit(new)

    def _commit(self, new: Layer) -> None:
        file = self.take()
        old = self.layer() if self._pending is None else self._known[1]
        if new is old:
            return
        with file.transaction() as connection:
            self.check(connection)
            generation = file.commit(connection, old, new)
        self._known = (generation, new)

    @property
    def in_batch(self) -> bool:
        """Whether changes are collected."""
        return self._pending is not None

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Collect changes, and make them one at the end, or none where an error ends the block."""
        with self._lock:
            if self._batches == 0:
                self.take()
                self._pending = self.layer()
            self._batches += 1
        try:
            yield
        except BaseException:
            with self._lock:
                self._batches -= 1
                if self._batches == 0:
                    self._end_batch()
            raise
        with self._lock:
            self._batches -= 1
            if self._batches == 0:
                pending = self._pending
                try:
                    if pending is not None:
                        self._commit(pending)
                finally:
                    self._end_batch()

    def _end_batch(self) -> None:
        self._pending = None
        # Never a number that stood for another state: the batch may have been given up.
        self._changes += 1

    def require_no_batch(self, what: str) -> None:
        """Raise an error inside a batch, for what cannot be part of one."""
        if self._pending is not None:
            raise DbdicomError(
                f"{what} cannot stand inside `with database.batch()`, whose changes are not made "
                "until it ends; put it behind the block."
            )

    def reload(self) -> None:
        """Forget what is known of the file, which was changed without ``replace``."""
        with self._lock:
            self._known = (-1, Layer())

    def close(self) -> None:
        """Close the file and let others change the database; the next use opens it again."""
        with self._lock:
            self.give()
            if self._file is not None:
                self._file.close()
