"""Records that were sent to a process that cannot find what they name: each use of them says so.

While something is unpickled nothing may raise. ``dask.distributed`` takes that for a broken
connection, starts the worker again, sends the same once more, and the client waits for ever.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from dbdicom_xr.errors import DbdicomError
from dbdicom_xr.interact import Voice
from dbdicom_xr.records.database import Database, reopened
from dbdicom_xr.records.pending import Queue, Renamed

__all__ = ["UnseenDatabase", "unpickled"]


def unpickled(root: str, index: str) -> Database:
    """Return the database that a record was pickled with."""
    try:
        return reopened(root, index)
    except (DbdicomError, OSError):
        return UnseenDatabase(root, index)


class UnseenDatabase(Database):
    """A database that this process does not see; it is looked for again at each use.

    Parameters
    ----------
    root, index : str
        As in :func:`~dbdicom_xr.records.database.reopened`.
    error : DbdicomError, optional
        What is wrong, where looking again does not help.
    """

    __slots__ = ("_error",)

    def __init__(self, root: str, index: str, error: DbdicomError | None = None) -> None:
        self._root = root
        self._index = Path(index)
        self._error = error
        self._scratch = None
        self._own_voice = Voice()
        self._queue, self._renamed = Queue(), Renamed()

    def _fail(self) -> NoReturn:
        if self._error is not None:
            raise self._error
        reopened(self._root, str(self._index))  # which says what is wrong, in this task
        raise DbdicomError(
            f"{self._root} was not there when this record came to this process, and is by now: "
            "repeat the call."
        )

    def _generation(self) -> int:
        self._fail()

    def _view(self) -> Any:
        self._fail()

    @property
    def _store(self) -> Any:
        self._fail()

    @_store.setter
    def _store(self, store: Any) -> None:
        self._fail()

    @property
    def _staging(self) -> Any:
        self._fail()

    @_staging.setter
    def _staging(self, staging: Any) -> None:
        self._fail()

    def __repr__(self) -> str:
        return f"<database {self._root}, which is not there for this process>"
