"""Saving any number of files as one act: all of them or none, whatever happens meanwhile.

New files are written beside the old ones under names that nobody looks at, and made durable;
only then do they take their places, while the originals wait under a second name. A journal in
an SQLite file says how far this got, so that another process can complete or undo it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from dbdicom_xr.errors import DbdicomError, DicomWarning, Locked, SaveFailed
from dbdicom_xr.index.connection import SqliteFile
from dbdicom_xr.index.files import version_of
from dbdicom_xr.staging import plan as plans
from dbdicom_xr.staging.durable import (
    Version,
    back_up,
    copy_or_link,
    copy_rights,
    look,
    put_new,
    remove,
    sync_files,
    sync_folders,
    temporary_names,
)
from dbdicom_xr.staging.plan import Check, Entry, Plan, Step
from dbdicom_xr.staging.recovery import (
    Commit,
    Recovery,
    clean_up,
    in_words,
    pending,
    put_back,
    recover,
    some_of,
)
from dbdicom_xr.staging.together import together

__all__ = [
    "TABLES",
    "Commit",
    "Recovery",
    "Step",
    "pending",
    "recover",
    "save_files",
]

TABLES: Final = plans.TABLES

# A file system that keeps times to 2 s (FAT) must still tell the new file from the old.
_TICK: Final = 2_000_000_000

# While files take their places, how often to look whether another process has taken over, in
# seconds. It can only have where this one was suspended, which shows as time that has gone by.
_LOOK_SECONDS: Final = 1.0

# Of the 110 us that a new file takes, the interpreter has 30; a third thread finds nothing to do.
_WRITERS: Final = 2
_FILES_EACH: Final = 64

_DELETED: Final = (-1, -1)

_OF_FILES: Final = ("replace", "create", "move")


def save_files(
    file: SqliteFile,
    steps: Sequence[Step],
    write: Callable[[int, str], None],
    commit: Commit,
    *,
    payload: Any = None,
    root: str | None = None,
    meanwhile: Callable[[Sequence[str]], None] | None = None,
    before_commit: Callable[[], None] | None = None,
    progress: Callable[[int], None] | None = None,
    check: Check | None = None,
) -> list[Version]:
    """Replace, create, delete and move files, all of them or none; the lease must be held.

    Parameters
    ----------
    file : SqliteFile
        Holds the journal, with the tables of this module.
    steps : sequence of Step
        What becomes of which file, no file twice. A file that is created or moved overwrites
        none; folders that are missing are made. A folder that is moved stays on its disk, and
        nothing but this save changes what is in it.
    write : callable
        ``write(i, path)`` writes the new content of ``steps[i]`` to `path`; called for what is
        replaced or created, where there are many files by several threads.
    commit : callable
        ``commit(connection, payload)`` makes changes in `file` that are true if and only if the
        save is; :func:`recover` calls it in place of a process that is gone.
    payload : Any
        Given to `commit`; anything that JSON can hold.
    root : str, optional
        The folder of the database, by default the one in which the folder of `file` is.
    meanwhile : callable, optional
        ``meanwhile(paths)`` is called while the disk writes, with the places at which the results
        of `steps` stand for now ("" for what is deleted); it may read them.
    before_commit : callable, optional
        Called when all files have taken their places.
    progress : callable, optional
        Called with the number of files written so far.
    check : callable, optional
        ``check(connection)`` is called inside each transaction, and raises ``Locked`` where the
        lease has been lost: :meth:`~dbdicom_xr.staging.lease.Lease.check`.

    Returns
    -------
    list of (int, int)
        Size and time of change, in nanoseconds, of each file; (-1, -1) for deleted ones, and for
        folders.

    Raises
    ------
    SaveFailed
        The disk is full, a file may not be written, was changed by another program... All files
        are as they were before.
    Locked
        Another process took over while this one was suspended.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> class Example(SqliteFile):
    ...     tables = "CREATE TABLE meta(key TEXT PRIMARY KEY, value);" + TABLES
    ...     format, application = 1, 7
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Example(Path(folder) / "state" / "example.sqlite")
    ...     target = Path(folder) / "new" / "a"
    ...     write = lambda number, path: Path(path).write_text("content")
    ...     versions = save_files(
    ...         file, [Step("create", str(target))], write, lambda connection, payload: None
    ...     )
    ...     print(target.read_text(), versions[0][0], pending(file))
    ...     file.close()
    content 7 False
    """
    place = plans.root_of(file, root)
    _finish_earlier(file, place, check)
    saving = _Saving(file, Plan(payload, place, check=check))
    plan = saving.plan
    try:
        saving.prepare(steps)
        plans.store(file, plan)
        saving.stored = True
        saving.write_all(write, progress)
        saving.make_durable(meanwhile)
        saving.check()
        plans.set_state(file, plan, "switching")
        saving.switch_all()
        if before_commit is not None:
            before_commit()
        saving.committing = True
        with plans.writing(file, plan) as connection:
            commit(connection, payload)
            plans.set_state(file, plan, "done", connection)
        plans.settle(file)
    except BaseException as error:
        saving.give_up(error)
    notes, left = clean_up(file, plan)
    if left:
        # For the next opening, or the next save: a viewer on Windows may hold an original.
        with contextlib.suppress(OSError, DbdicomError):
            plans.set_state(file, plan, "saved")
    for note in notes:
        warnings.warn(note, DicomWarning, stacklevel=2)
    return [_DELETED if entry.new is None else entry.new for entry in plan.entries]


def _finish_earlier(file: SqliteFile, root: str, check: Check | None) -> None:
    """Undo what an earlier save of this process could not; that it was told to be undone."""
    for plan in plans.load(file, root, check):
        if plan.state in ("done", "saved"):
            for note in clean_up(file, plan)[0]:
                warnings.warn(note, DicomWarning, stacklevel=3)
            continue
        _, left = put_back(file, plan)
        if left:
            raise SaveFailed(
                f"An earlier save is not undone yet: {some_of(left)}. Nothing was saved now."
            )


class _Changed(OSError):
    """A file is not the one that the plan was made for."""

    def __init__(self) -> None:
        super().__init__(errno.ESTALE, "it was changed by another program since it was read")


class _Saving:
    """A save under way: its plan, and where it is in it."""

    def __init__(self, file: SqliteFile, plan: Plan) -> None:
        self.file = file
        self.plan = plan
        self.stored = False
        self.committing = False
        self._at = ""  # the file that an error is about
        self._in_write = False
        self._failure: BaseException | None = None  # of the first that failed to write
        self._rights: list[os.stat_result | None] = []

    def prepare(self, steps: Sequence[Step]) -> None:
        """Look at what is there, and give everything its names."""
        real: dict[str, str] = {}
        seen: set[str] = set()
        made: set[str] = set()
        names = temporary_names()
        for step in steps:
            self._at = step.path
            head, name = os.path.split(step.path)
            folder = real.get(head)
            if folder is None:
                folder = real[head] = os.path.realpath(head)
                made |= _missing_folders(folder)
            path = os.path.join(folder, name)
            status = None
            if step.action in ("create", "move", "move folder"):
                _require_nothing(path)
            else:
                status = os.lstat(path)
                if stat.S_ISLNK(status.st_mode):
                    # The file behind a link is what is replaced, the link is what is deleted.
                    path = os.path.realpath(path) if step.action == "replace" else path
                    folder, status = os.path.dirname(path), os.stat(path)
                if not stat.S_ISREG(status.st_mode):
                    raise OSError(errno.EINVAL, "it is not a file")
                if step.version is not None and version_of(status) != step.version:
                    raise _Changed()
            if path in seen:
                raise OSError(errno.EEXIST, "two changes would go to this one file")
            seen.add(path)
            self._rights.append(status)
            self.plan.entries.append(
                Entry(
                    step.action, path, step.source,
                    os.path.join(folder, next(names)), os.path.join(folder, next(names)),
                    None if status is None else version_of(status),
                )
            )  # fmt: skip
        self._at = ""
        self.plan.folders = sorted(made, key=lambda folder: (folder.count(os.sep), folder))

    def write_all(
        self, write: Callable[[int, str], None], progress: Callable[[int], None] | None
    ) -> None:
        """Write all new content beside the old."""
        for number, folder in enumerate(list(self.plan.folders)):
            self._at = folder
            try:
                os.mkdir(folder)
            except FileExistsError:
                if not os.path.isdir(folder):
                    raise
                plans.drop_folder(self.file, self.plan, number)
                self.plan.folders.remove(folder)
        self._at = ""
        count = len(self.plan.entries)
        writers = min(_WRITERS, count // _FILES_EACH + 1)
        written: list[int] = []

        def write_share(first: int) -> None:
            try:
                for number in range(first, count, writers):
                    if self._failure is not None:
                        return
                    self._write_one(number, write)
                    written.append(number)
                    if progress is not None and not first:  # only the first is in this thread
                        progress(len(written))
            except BaseException as error:  # Ctrl-C too: the others end as soon as they can
                self._failure = self._failure or error

        together([partial(write_share, first) for first in range(writers)])
        if self._failure is not None:
            raise self._failure
        if progress is not None and writers > 1:
            progress(count)

    def _write_one(self, number: int, write: Callable[[int, str], None]) -> None:
        """Write one new content beside the old."""
        entry, rights = self.plan.entries[number], self._rights[number]
        in_write = False
        try:
            if entry.action == "move":
                copy_or_link(entry.source, entry.hidden)
            elif entry.action in ("replace", "create"):
                in_write = True
                write(number, entry.hidden)
                in_write = False
            if rights is not None and entry.action == "replace":
                new = os.stat(entry.hidden)
                copy_rights(rights, entry.path, new, entry.hidden)
                if version_of(new) == entry.old:
                    # The two must be told apart by their version, here and by the index.
                    os.utime(entry.hidden, ns=(new.st_atime_ns, new.st_mtime_ns + _TICK))
        except BaseException as error:
            if self._failure is None:
                self._failure, self._at, self._in_write = error, entry.path, in_write
            raise
        finally:
            if self._failure is not None and entry.action in ("replace", "create"):
                # Ctrl-C pressed again may have ended the wait for this thread, and all the rest.
                remove(entry.hidden)

    def make_durable(self, meanwhile: Callable[[Sequence[str]], None] | None) -> None:
        """Wait until what was written is on the disk; from here on its versions are known."""
        entries = [entry for entry in self.plan.entries if entry.action in _OF_FILES]
        folders = [entry.source for entry in self.plan.entries if entry.action == "move folder"]
        inside = [one.path for folder in folders for one in os.scandir(folder)]
        found: list[os.stat_result] = []

        def read() -> None:
            if meanwhile is not None:
                meanwhile([_where(entry) for entry in self.plan.entries])

        def sync() -> None:
            found.extend(sync_files([*(entry.hidden for entry in entries), *inside]))

        together([read, sync])
        for entry, status in zip(entries, found[: len(entries)], strict=True):
            entry.new = version_of(status)
        sync_folders([*self.plan.touched, *folders])

    def check(self) -> None:
        """Make sure that nobody changed the originals while the new files were written."""
        for entry in self.plan.entries:
            self._at = entry.path
            if entry.old is None:
                _require_nothing(entry.path)
            elif look(entry.path) != entry.old:
                raise _Changed()
        self._at = ""

    def switch_all(self) -> None:
        """Put all new files in their places."""
        looked = time.time()
        for entry in self.plan.entries:
            if abs(time.time() - looked) >= _LOOK_SECONDS:
                looked = time.time()
                if plans.state_of(self.file, self.plan) != "switching":
                    raise Locked(plans.taken_over(self.file.path))
            self._at = entry.path
            if entry.action == "move folder":
                os.rename(entry.source, entry.path)
                continue
            if entry.action in ("create", "move"):
                put_new(entry.hidden, entry.path)
                continue
            if entry.action == "delete":
                os.rename(entry.path, entry.backup)
                there = False
            else:
                there = back_up(entry.path, entry.backup)
            if look(entry.backup) != entry.old:
                raise _Changed()
            if there:
                os.replace(entry.hidden, entry.path)
            elif entry.action == "replace":
                put_new(entry.hidden, entry.path)
        self._at = ""
        sync_folders(self.plan.touched)

    def give_up(self, error: BaseException) -> None:
        """Put everything back and say why; return only if the save had been completed after all."""
        try:
            state = plans.state_of(self.file, self.plan)
        except DbdicomError as unknown:
            if self.committing:
                raise SaveFailed(
                    f"{in_words(unknown)}. The new files are written, but whether that is in "
                    f"{self.file.path} cannot be read. Opening the database again will complete "
                    "the save, or undo it."
                ) from error
            state = self.plan.state
        if state == "done":
            if isinstance(error, Exception):
                return
            raise error
        if state is None and self.stored:
            raise Locked(plans.taken_over(self.file.path)) from error
        self._failure = self._failure or error
        notes, left = ([], []) if state is None else put_back(self.file, self.plan)
        ours = isinstance(error, DbdicomError) and self._in_write
        if isinstance(error, Exception) and left:
            raise SaveFailed(
                f"{self._reason(error)} Not everything could be put back: {some_of(left)}. "
                "Opening the database again will undo the save, or complete it."
            ) from error
        if isinstance(error, OSError) and not ours:
            raise SaveFailed(
                " ".join(
                    [
                        self._reason(error),
                        "All files are as they were before, and the changes are still staged.",
                        *notes,
                    ]
                )
            ) from error
        for note in [*notes, *left]:
            error.add_note(note)
        raise error

    def _reason(self, error: BaseException) -> str:
        reason = in_words(error).rstrip(".")
        # Errors of what is only known by its number, as in fsync, name no file.
        at = self._at or getattr(error, "filename", None) or self.plan.root
        return f"{reason}." if str(at) in reason else f"{at}: {reason}."


def _where(entry: Entry) -> str:
    """Return where the result of an entry stands before it takes its place."""
    if entry.action == "move folder":
        return entry.source
    return "" if entry.action == "delete" else entry.hidden


def _missing_folders(folder: str) -> set[str]:
    missing = set()
    while not os.path.isdir(folder):
        missing.add(folder)
        folder = os.path.dirname(folder)
    return missing


def _require_nothing(path: str) -> None:
    if look(path) is not None:
        raise FileExistsError(errno.EEXIST, "there is another file of this name already")
