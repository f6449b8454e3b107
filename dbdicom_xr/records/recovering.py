"""Ending what a save has left behind: one that was interrupted, or one that failed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from dbdicom_xr.errors import DbdicomError, IndexNotWritable, Locked, StagingNotWritable
from dbdicom_xr.index.scan import refresh
from dbdicom_xr.staging.file import StagingFile
from dbdicom_xr.staging.journal import recover

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database

__all__ = ["bring_up_to_date", "catch_up", "recover_save"]


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
