"""Bringing a save that was interrupted to one of its two ends: all files as before, or all new.

Each function looks at what is there instead of believing how far the save got, so it may itself
be interrupted and run again. Other programs may have changed, moved or removed files meanwhile:
then what would otherwise be lost is kept, if need be as a file too many, and a note says so.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from dbdicom_xr.errors import DbdicomError, Locked, SaveFailed
from dbdicom_xr.index.connection import SqliteFile
from dbdicom_xr.staging.durable import (
    Version,
    back_up,
    copy_or_link,
    keep,
    look,
    put_new,
    remove,
    sync_folders,
)
from dbdicom_xr.staging.plan import (
    Check,
    Entry,
    Plan,
    absent,
    forget,
    load,
    root_of,
    set_state,
    settle,
    state_of,
    writing,
)
from dbdicom_xr.staging.together import together

__all__ = [
    "Commit",
    "Recovery",
    "clean_up",
    "in_words",
    "pending",
    "put_back",
    "recover",
    "some_of",
]

# To give the room of a file back takes the disk 0.1 to 1 ms, in which a processor has 0.05 to do.
_REMOVERS: Final = 8
_FILES_EACH: Final = 64

Commit = Callable[[sqlite3.Connection, Any], None]
"""What a save changes in the file of the journal, together with its own end."""


class Recovery(NamedTuple):
    """What became of a save that had been interrupted."""

    completed: bool
    """Whether it was completed; else all files are as they were before it."""
    paths: list[str]
    """The files that it names."""
    notes: list[str]
    """What other programs did to them meanwhile, and which files were kept because of it."""

    def __str__(self) -> str:
        files = f"{len(self.paths)} file{'s' * (len(self.paths) != 1)}"
        if self.completed:
            text = f"A save of {files} that was interrupted has been completed."
        else:
            text = (
                f"A save of {files} that was interrupted has been undone: all files are as they "
                "were before, and the changes still staged."
            )
        return " ".join([text, *self.notes])


def pending(file: SqliteFile) -> bool:
    """Tell whether a save has left something to complete, to undo, or to clean up."""
    return bool(file.query("SELECT EXISTS(SELECT 1 FROM save)")[0][0])


def recover(
    file: SqliteFile,
    commit: Commit,
    *,
    root: str | None = None,
    before_commit: Callable[[], None] | None = None,
    check: Check | None = None,
) -> Recovery | None:
    """Complete or undo a save that was interrupted; the lease must be held.

    Parameters
    ----------
    file : SqliteFile
        With the journal.
    commit, before_commit, check
        As given to :func:`~dbdicom_xr.staging.journal.save_files`.
    root : str, optional
        The folder of the database, by default the one in which the folder of `file` is.

    Returns
    -------
    Recovery or None
        None where nothing had been interrupted.

    Raises
    ------
    SaveFailed
        Files cannot be reached or put back. The journal stays, for the next time.
    """
    result = None
    place = root_of(file, root)
    for plan in load(file, place, check):
        if plan.state in ("done", "saved"):
            completed, (notes, left) = True, clean_up(file, plan)
            if plan.state == "saved" and not notes:  # it was told as complete already
                continue
        else:
            completed, notes, left = _complete_or_put_back(file, plan, commit, before_commit)
        if left and not completed:
            raise SaveFailed(
                "A save was interrupted, and not all files could be put back: "
                f"{some_of(left)}. Opening the database again will try again."
            )
        if left:
            with contextlib.suppress(OSError, DbdicomError):
                set_state(file, plan, "saved")
        result = Recovery(completed, [entry.path for entry in plan.entries], notes)
    return result


def _complete_or_put_back(
    file: SqliteFile, plan: Plan, commit: Commit, before_commit: Callable[[], None] | None
) -> tuple[bool, list[str], list[str]]:
    reasons = []
    if plan.state == "switching" and absent(file, plan) is None:
        try:
            if all(_can_complete(entry) for entry in plan.entries):
                _complete_all(file, plan, commit, before_commit)
                return True, *clean_up(file, plan)
        except Locked:
            raise
        except Exception as error:
            if state_of(file, plan) == "done":
                return True, *clean_up(file, plan)
            reasons.append(f"It could not be completed: {in_words(error)}.")
    notes, left = put_back(file, plan)
    return False, reasons + notes, left


def _complete_all(
    file: SqliteFile, plan: Plan, commit: Commit, before_commit: Callable[[], None] | None
) -> None:
    for entry in plan.entries:
        _complete(entry)
    sync_folders(plan.touched)
    if before_commit is not None:
        before_commit()
    with writing(file, plan) as connection:
        commit(connection, plan.payload)
        set_state(file, plan, "done", connection)
    settle(file)


def _can_complete(entry: Entry) -> bool:
    now, hidden = look(entry.path), look(entry.hidden)
    whole = hidden is not None and hidden == entry.new
    if entry.action == "move folder":
        return (now is None) != (look(entry.source) is None)
    if entry.action == "delete":
        return now is None or now == entry.old or look(entry.backup) is not None
    if now is not None and now == entry.new:
        return True
    if entry.action == "replace":
        return whole and (now == entry.old or (_nothing(now) and look(entry.backup) == entry.old))
    return whole and _nothing(now)


def _nothing(now: Version | None) -> bool:
    # Where there are no second names, `put_new` makes an empty file first.
    return now is None or now[0] == 0


def _complete(entry: Entry) -> None:
    now = look(entry.path)
    if entry.action == "move folder":
        if now is None:
            os.rename(entry.source, entry.path)
    elif entry.action == "delete":
        if now is not None and look(entry.backup) is None:
            os.rename(entry.path, entry.backup)
    elif now == entry.new:
        return
    elif now is None:
        put_new(entry.hidden, entry.path)
    else:
        if entry.action == "replace" and look(entry.backup) is None:
            back_up(entry.path, entry.backup)
        # Over the original, which has a second name, or over the empty file that `put_new` makes.
        os.replace(entry.hidden, entry.path)


def clean_up(file: SqliteFile, plan: Plan) -> tuple[list[str], list[str]]:
    """Remove what a save that is complete no longer needs.

    Returns
    -------
    notes, left : list of str
        What was found, and what could not be removed; then the journal stays.
    """
    notes: list[str] = []
    left = _unreachable(file, plan)
    if not left:
        removers = min(_REMOVERS, len(plan.entries) // _FILES_EACH + 1)
        shares = [plan.entries[first::removers] for first in range(removers)]
        for found, failed in together([partial(_clean_all, share) for share in shares]):
            notes += found
            left += failed
    if not left:
        try:
            sync_folders(plan.touched)
            forget(file, plan)
        except (OSError, DbdicomError) as error:
            left.append(in_words(error))
    return notes, left


def _clean_all(entries: Sequence[Entry]) -> tuple[list[str], list[str]]:
    notes: list[str] = []
    left = []
    for entry in entries:
        try:
            _clean(entry, notes)
        except OSError as error:
            left.append(f"{entry.path}: {in_words(error)}")
    return notes, left


def _clean(entry: Entry, notes: list[str]) -> None:
    if entry.action == "move folder":
        return
    if entry.action == "delete":
        _drop_backup(entry, look(entry.backup), notes)
        return
    there = look(entry.path) is not None
    if entry.action == "replace":
        backup = look(entry.backup)
        if backup is not None and not there:
            name = keep(entry.backup, entry.path)
            notes.append(f"{entry.path} has been removed since; its original was kept as {name}.")
        else:
            _drop_backup(entry, backup, notes)
    elif entry.action == "move" and there:
        remove(entry.source)
    elif entry.action == "move" and look(entry.source) is not None:
        notes.append(f"{entry.path} has been removed since; {entry.source} was kept.")
    remove(entry.hidden)


def _drop_backup(entry: Entry, backup: Version | None, notes: list[str]) -> None:
    if backup is None or backup == entry.old:
        remove(entry.backup)
        return
    # A program that had the original open has written to it.
    name = keep(entry.backup, entry.path)
    notes.append(f"{entry.path} was changed by another program meanwhile; that is in {name}.")


def put_back(file: SqliteFile, plan: Plan) -> tuple[list[str], list[str]]:
    """Make all files what they were before a save.

    Returns
    -------
    notes, left : list of str
        What was found, and what could not be put back; then the journal stays.

    Raises
    ------
    Locked
        Another process has completed or undone this save.
    """
    notes: list[str] = []
    left = _unreachable(file, plan)
    if left:
        return notes, left
    marked = _mark(file, plan)

    def each(step: Callable[[Entry, list[str]], None]) -> None:
        for entry in reversed(plan.entries):
            try:
                step(entry, notes)
            except OSError as error:
                left.append(f"{entry.path}: {in_words(error)}")

    # First what makes it impossible to go forward; it may also be what fills the disk.
    each(_drop_hidden)
    marked = marked or _mark(file, plan)
    each(_restore)
    for folder in reversed(plan.folders):
        with contextlib.suppress(OSError):  # not made yet, or in use by others
            os.rmdir(folder)
    if not left:
        try:
            sync_folders(plan.touched)
        except OSError as error:
            left.append(in_words(error))
    if not left:
        # All files are as before; a journal that stays finds nothing more to do.
        with contextlib.suppress(DbdicomError):
            forget(file, plan)
    return notes, left


def _unreachable(file: SqliteFile, plan: Plan) -> list[str]:
    folder = absent(file, plan)
    return [] if folder is None else [f"{folder} is empty or not there (connect its disk)"]


def _mark(file: SqliteFile, plan: Plan) -> bool:
    """Write down that the save is being undone, so that nobody completes it half way back."""
    try:
        set_state(file, plan, "undoing")
    except Locked:
        raise
    except (OSError, DbdicomError):
        return False  # a full disk must not keep the files from being put back
    return True


def _drop_hidden(entry: Entry, notes: list[str]) -> None:
    if look(entry.hidden) is None:
        return
    begun = entry.new is not None  # before that, only the temporary file was ours
    now = look(entry.path)
    if entry.action == "replace":
        if begun and now is None and look(entry.backup) is None:
            name = keep(entry.hidden, entry.path)
            notes.append(f"{entry.path} was removed by another program; {name} is its new content.")
            return
    elif begun and now is not None and _nothing(now) and entry.new != now:
        remove(entry.path)  # the empty file that `put_new` makes
    if entry.action == "move" and look(entry.source) is None:
        copy_or_link(entry.hidden, entry.source)
    remove(entry.hidden)


def _restore(entry: Entry, notes: list[str]) -> None:
    if entry.action == "move folder":
        if look(entry.source) is None and look(entry.path) is not None:
            os.rename(entry.path, entry.source)
        return
    if entry.new is None and entry.action != "delete":
        return  # it was not touched
    now = look(entry.path)
    ours = now is not None and now == entry.new
    if entry.action in ("create", "move"):
        if not ours:
            return
        if entry.action == "move" and look(entry.source) is None:
            copy_or_link(entry.path, entry.source)
        remove(entry.path)
        return
    backup = look(entry.backup)
    if backup is None:
        if ours:
            notes.append(f"The original of {entry.path} was removed by another program.")
        elif now is None and entry.old is not None:
            notes.append(f"{entry.path} was removed by another program.")
    elif now is None:
        put_new(entry.backup, entry.path)
    elif ours or (_nothing(now) and backup[0]):
        os.replace(entry.backup, entry.path)
    elif os.path.samestat(os.lstat(entry.backup), os.lstat(entry.path)) or now == backup:
        remove(entry.backup)  # a second name of the original, which had not been replaced yet
    else:
        name = keep(entry.backup, entry.path)
        notes.append(
            f"{entry.path} was changed by another program meanwhile; its original is {name}."
        )


def some_of(reasons: Sequence[str]) -> str:
    """Return the first of many reasons, and how many there are more."""
    more = f"; and {len(reasons) - 3:,} more" if len(reasons) > 3 else ""
    return "; ".join(reasons[:3]) + more


def in_words(error: BaseException) -> str:
    """Return the reason of an error as a person would say it."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return reason or type(error).__name__
