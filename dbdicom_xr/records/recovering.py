"""Ending what a save has left behind: one that was interrupted, or one that failed."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dbdicom_xr.errors import DbdicomError, IndexNotWritable, Locked, StagingNotWritable
from dbdicom_xr.index.scan import FOLDER_NAME, STAGED_NAME, refresh
from dbdicom_xr.staging.file import StagingFile
from dbdicom_xr.staging.journal import recover

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database

__all__ = [
    "STAGED_FOLDER", "bring_up_to_date", "catch_up", "recover_save", "tidy", "tidy_left_behind",
]  # fmt: skip

STAGED_FOLDER: Final = f"{FOLDER_NAME}/{STAGED_NAME}"
"""Where images that were written stand until they are saved, in the folder of a database."""


def recover_save(database: Database) -> str | None:
    """Complete or undo a save that was interrupted, and return what was done.

    Nothing is done where another process is at it.
    """
    staging = database._staging
    with staging.changing:
        taken = staging.taken
        if not (staging.left_behind() or database._store.saving()):
            return None  # another thread has been at it
        try:
            file = staging.take(wait=False)
        except (Locked, StagingNotWritable):
            return None
        try:
            return _recover(database, file)
        finally:
            staging.reload()
            if not taken:
                staging.give()


def _recover(database: Database, file: StagingFile) -> str | None:
    saving = database._staging.saving()
    done = recover(
        file,
        file.adopt_from_journal,
        root=database.path_on_disk,
        check=database._staging.check,
        before_commit=lambda: bring_up_to_date(database),
    )
    with file.transaction() as connection:
        file.forget_waiting(connection)
    if saving:
        bring_up_to_date(database)
    with suppress(IndexNotWritable):
        database._store.set_saving(False)
    return None if done is None else str(done)


def catch_up(database: Database) -> None:
    """Bring the index up to date after a save that failed, which may have changed it.

    What cannot be written on a full disk is written later, or by the next opening.
    """
    staging = database._staging
    with suppress(OSError, DbdicomError):
        refresh(database._store, database.path_on_disk)
        if not staging.saving():
            database._store.set_saving(False)
            if (file := staging.file) is not None:
                with file.transaction() as connection:
                    staging.check(connection)
                    file.forget_waiting(connection)
        database._behind = False


def bring_up_to_date(database: Database) -> None:
    """Read what is new in the folder."""
    refresh(database._store, database.path_on_disk)
    database._look_again()


def tidy(database: Database) -> None:
    """Remove folders of written images that have gone to their places, by the writer."""
    folder = f"{database.path_on_disk}/{STAGED_FOLDER}"
    _remove_empty(folder)
    if _is_elsewhere(database):
        with suppress(OSError):  # there is something in it
            os.rmdir(folder)  # nothing else of ours is in the user's folder
            os.rmdir(os.path.dirname(folder))


def tidy_left_behind(database: Database) -> None:
    """Do what :func:`tidy` does where a save was ended before it could, if there is no writer."""
    folder = f"{database.path_on_disk}/{STAGED_FOLDER}"
    # Images come into such a folder with it, so that an empty one is nobody's.
    _remove_empty(folder)
    with suppress(OSError):
        if not _is_elsewhere(database) or os.listdir(folder):
            return
        staging = database._staging
        with staging.changing, suppress(Locked, StagingNotWritable):
            taken = staging.taken
            staging.take(wait=False)
            try:
                tidy(database)
            finally:
                if not taken:
                    staging.give()


def _remove_empty(folder: str) -> None:
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                with suppress(OSError):  # there is something in it
                    os.rmdir(entry.path)


def _is_elsewhere(database: Database) -> bool:
    """Return whether the index is not in the user's folder."""
    own = os.path.join(database.path_on_disk, FOLDER_NAME)
    return os.path.dirname(os.path.realpath(database._index)) != os.path.realpath(own)
