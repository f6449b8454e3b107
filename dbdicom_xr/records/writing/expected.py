"""Writes of this process that are computed later, perhaps by others."""

from __future__ import annotations

import math
import os
import threading
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dbdicom_xr.emit.plan import MANIFEST
from dbdicom_xr.errors import DbdicomError, DicomWarning, Locked
from dbdicom_xr.records.current import levels_to_user

if TYPE_CHECKING:
    from dbdicom_xr.records.levels import Series

__all__ = ["adopt_computed", "adopt_finished", "expect", "expected", "forget"]

# While another process changes the database, how often to try again.
_AGAIN_SECONDS: Final = 1.0


@dataclass
class _Write:
    """A write that is not in the database yet."""

    series: Series
    refused: float = -math.inf  # when the database was looked at, and they could not come in
    told: bool = False  # to the user


_expected: dict[str, dict[str, _Write]] = {}  # by folder of the database, then of the write
_lock = threading.Lock()


def expect(series: Series, folder: str) -> None:
    """Take the images of a write in as soon as they are all there."""
    _keep(folder, _Write(series))


def _keep(folder: str, write: _Write) -> None:
    with _lock:
        _expected.setdefault(write.series.database.path_on_disk, {})[folder] = write


def expected(root: str) -> list[str]:
    """Return the folders of the writes that are expected for a database."""
    with _lock:
        return list(_expected.get(root, ()))


def forget(folder: str) -> None:
    """Expect no more of a write."""
    with _lock:
        for root, waiting in list(_expected.items()):
            waiting.pop(folder, None)
            if not waiting:
                del _expected[root]


def adopt_finished(root: str, finished: str | None = None) -> None:
    """Take in what workers have finished for a database meanwhile; cheap where nothing is.

    Parameters
    ----------
    root : str
        Folder of the database.
    finished : str, optional
        Folder of the write that the caller has just finished: why it could not be taken in is an
        error. Of others it is a warning, since the caller only looks at the database.
    """
    waiting = _expected.get(root)
    if not waiting:
        return
    for folder, write in list(waiting.items()):
        if not os.path.exists(os.path.join(folder, MANIFEST)):
            continue
        mine = folder == finished
        if not mine and time.monotonic() - write.refused < _AGAIN_SECONDS:
            continue
        with _lock:
            if waiting.pop(folder, None) is None:
                continue  # another thread is at it
        try:
            _adopt(folder, write)
        except DbdicomError as error:
            told, write.told = write.told, True
            if mine:
                raise
            write.refused = time.monotonic()
            if not told:
                warnings.warn(
                    f"An array that was written to {root} is not in it: "
                    + " ".join([str(error), *getattr(error, "__notes__", [])]),
                    DicomWarning,
                    stacklevel=levels_to_user(),
                )


def adopt_computed(series: Series, folder: str) -> None:
    """Take in what the caller has computed; it stays expected where that has to wait for long."""
    _adopt(folder, _Write(series))


def _adopt(folder: str, write: _Write) -> None:
    """Take the images of a write in; those that only have to wait stay expected."""
    from dbdicom_xr.records.writing.adopting import adopt, give_up, let_go

    database = write.series.database
    try:
        adopt(database, folder, write.series)
    except BaseException as error:
        if isinstance(error, Locked) or database._staging.in_batch:
            error.add_note("The images that were computed come in when that has ended.")
            _keep(folder, write)
        else:
            give_up(folder)
            let_go(database)
        raise


def _forget_all() -> None:
    global _lock
    _lock = threading.Lock()
    _expected.clear()


if hasattr(os, "register_at_fork"):  # what a process expects, those that it forks do not
    os.register_at_fork(after_in_child=_forget_all)
