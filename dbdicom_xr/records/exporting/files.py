"""Files of an export: all of them take their places together, or none does.

They are written into a folder of their own in that of the export, which no scan looks into, and get
their names when all are on the disk. What is there already waits in that folder until then. An
export that was killed leaves the folder behind; the next one takes it away.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from dbdicom_xr.errors import DbdicomError, InvalidValue, SaveFailed
from dbdicom_xr.formats.zarr_store import put_back_former
from dbdicom_xr.index.files import TEMPORARY_SUFFIX, is_temporary, version_of
from dbdicom_xr.index.scan import FOLDER_NAME
from dbdicom_xr.staging.durable import copy_or_link, copy_rights, sync_files, sync_folders
from dbdicom_xr.staging.lease import Process, has_ended, this_process

__all__ = ["NewFiles", "new_files"]

_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}

# A file system that keeps times to 2 s (FAT) must still tell the new file from the old.
_TICK: Final = 2_000_000_000

# What an export of another machine left is known by its silence only; the writing of one file
# may take long, and a computer may sleep.
_SILENT_SECONDS: Final = 86_400.0
# From making the folder to saying whose it is.
_SETTLE_SECONDS: Final = 5.0
_ATTEMPTS: Final = 5
_LONGEST: Final = 200  # characters of a path in a message


@dataclass
class _Entry:
    """A file of the export, or one that it takes away."""

    path: str
    temporary: str
    backup: str
    old: os.stat_result | None  # what is there already
    new: os.stat_result | None = None
    gone: bool = False  # it is taken away


class NewFiles:
    """The files of an export under way. Made by :func:`new_files`.

    Parameters
    ----------
    folder : str
        In which they are written, until they take their places.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._entries: dict[str, _Entry] = {}
        self._made: list[str] = []
        self._count = 0
        self.keeps = False  # what could not be put back

    def new(self, path: str) -> str:
        """Return the name under which to write what will be at a path."""
        entry = self._entries[path] = _Entry(path, self._name(), self._name(), _status(path))
        return entry.temporary

    def remove(self, path: str) -> None:
        """Take away what is at a path, if anything is, when the others take their places."""
        old = _status(path)
        if old is not None:
            self._entries[path] = _Entry(path, "", self._name(), old, gone=True)

    def leave_out(self, *paths: str) -> None:
        """Forget files that could not be made; what is there stays."""
        for path in paths:
            entry = self._entries.pop(path, None)
            if entry is not None and entry.temporary:
                with suppress(FileNotFoundError):
                    os.unlink(entry.temporary)

    def _name(self) -> str:
        self._count += 1
        return os.path.join(self.folder, f".{self._count:016x}{TEMPORARY_SUFFIX}")

    def _take_places(self) -> None:
        """Give all files their names, or none."""
        written = [entry for entry in self._entries.values() if not entry.gone]
        for entry, status in zip(
            written, sync_files([entry.temporary for entry in written]), strict=True
        ):
            entry.new = status
            if entry.old is not None:
                copy_rights(entry.old, entry.path, status, entry.temporary)
                if version_of(status) == version_of(entry.old):
                    times = status.st_atime_ns, status.st_mtime_ns + _TICK
                    os.utime(entry.temporary, ns=times)
        folders = {os.path.dirname(entry.path) or os.curdir for entry in self._entries.values()}
        try:
            for folder in sorted(folders):
                self._made += _make(folder)
            for entry in self._entries.values():
                if entry.old is not None:
                    copy_or_link(entry.path, entry.backup)
            for entry in self._entries.values():
                _put(entry)
            sync_folders(folders)
        except BaseException as error:
            self._put_back(error)
            raise

    def _put_back(self, error: BaseException) -> None:
        """Make everything what it was."""
        left = []
        for entry in reversed(self._entries.values()):
            try:
                _restore(entry)
            except OSError:
                left.append(f"{entry.path} (what was there is in {entry.backup})")
        for folder in reversed(self._made):
            with suppress(OSError):
                os.rmdir(folder)
        if left:
            self.keeps = True
            # Without its note, no other export takes the folder away.
            with suppress(OSError):
                os.unlink(_note(self.folder))
            raise SaveFailed(
                f"{_in_words(error)}. Not everything could be put back: {', '.join(left)}."
            ) from error

    def _target(self, name: str) -> str:
        """Return where a file goes that is written under this name."""
        for entry in self._entries.values():
            if name in (entry.temporary, entry.backup):
                return entry.path
        return os.path.dirname(self.folder) if name.startswith(self.folder) else name


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _put(entry: _Entry) -> None:
    now = _status(entry.path)
    if (now is None) != (entry.old is None) or (
        now is not None and entry.old is not None and version_of(now) != version_of(entry.old)
    ):
        reason = "another program changed it meanwhile"
        raise OSError(errno.ESTALE, reason, entry.path)
    if entry.gone:
        os.unlink(entry.path)
    elif entry.old is not None:
        os.replace(entry.temporary, entry.path)
    else:
        try:
            os.link(entry.temporary, entry.path)  # overwrites nothing
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.rename(entry.temporary, entry.path)


def _restore(entry: _Entry) -> None:
    now = _status(entry.path)
    if entry.gone:
        if now is None:
            os.replace(entry.backup, entry.path)
    elif now is not None and entry.new is not None and os.path.samestat(now, entry.new):
        if entry.old is None:
            os.unlink(entry.path)
        else:
            os.replace(entry.backup, entry.path)


def _make(folder: str) -> list[str]:
    """Make a folder and those above it, and return which were made, the uppermost first."""
    missing: list[str] = []
    while folder and not os.path.isdir(folder):
        missing.insert(0, folder)
        folder = os.path.dirname(folder)
    made: list[str] = []
    try:
        for one in missing:
            try:
                os.mkdir(one)
                made.append(one)
            except FileExistsError:  # another export made it meanwhile
                if not os.path.isdir(one):
                    raise
    except OSError as error:
        for one in reversed(made):
            with suppress(OSError):
                os.rmdir(one)
        raise SaveFailed(
            f"The folder {_shown(missing[-1])} cannot be made ({error.strerror or error}); nothing "
            "was written. Give a folder that can be written to."
        ) from error
    return made


@contextmanager
def new_files(folder: str) -> Iterator[NewFiles]:
    """Write files so that all of them are there when the block ends, or none where it fails.

    Parameters
    ----------
    folder : str
        In which, or below which, they will be. Made if missing.

    Raises
    ------
    InvalidValue
        The folder is that in which a database keeps its index, or below it.
    SaveFailed
        The disk is full, the folder may not be written to...; everything is as it was.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with new_files(folder) as files, open(files.new(f"{folder}/a.txt"), "w") as file:
    ...     _ = file.write("text")
    >>> os.listdir(folder)
    ['a.txt']
    """
    folder = folder or os.curdir
    if FOLDER_NAME in os.path.realpath(folder).split(os.sep):
        raise InvalidValue(
            f"{folder} is in a folder {FOLDER_NAME}, where a database keeps its index. Nothing was "
            "written; give another folder."
        )
    made = _make(folder)
    try:
        try:
            _remove_left_behind(folder)
            files = NewFiles(_own_folder(folder))
        except OSError as error:
            raise SaveFailed(
                f"{folder} cannot be written to ({error.strerror or error}); nothing was written. "
                "Give another folder."
            ) from error
        try:
            yield files
            files._take_places()
        except OSError as error:
            if isinstance(error, DbdicomError):
                raise
            at = files._target(str(error.filename or folder))
            raise SaveFailed(f"{at}: {_in_words(error)}. Nothing was written.") from error
        finally:
            if not files.keeps:
                _remove(files.folder)
    finally:
        for one in reversed(made):
            with suppress(OSError):  # there is something in it
                os.rmdir(one)


def _shown(path: str) -> str:
    return path if len(path) <= _LONGEST else f"{path[:_LONGEST]}... ({len(path):,} characters)"


def _in_words(error: BaseException) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (reason or type(error).__name__).rstrip(".")


# -- the folder in which files are written ---------------------------------------------------------


def _note(own: str) -> str:
    """Return the file that says whose a folder is; no scan looks at it."""
    return os.path.join(own, f".{0:016x}{TEMPORARY_SUFFIX}")


def _own_folder(folder: str) -> str:
    text = json.dumps(this_process())
    for _ in range(_ATTEMPTS):
        own = os.path.join(folder, f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
        os.mkdir(own)
        try:
            with open(_note(own), "x", encoding="utf-8") as file:
                file.write(text)
        except FileNotFoundError as error:  # another export took it for one that was left behind
            gone = error
        except BaseException:
            _remove(own)
            raise
        else:
            return own
    raise gone


def _remove(own: str) -> None:
    """Take a folder away, its note last: where that fails, another export goes on.

    A store of zarr that waits in it while its place is empty gets it again.
    """
    try:
        put_back_former(own)
    except OSError:
        return
    for entry in os.scandir(own):
        if entry.path != _note(own):
            with suppress(OSError):
                os.unlink(entry.path)
    shutil.rmtree(own, ignore_errors=True)


def _remove_left_behind(folder: str) -> None:
    """Take away what exports left that were killed."""
    with os.scandir(folder) as entries:
        found = [
            entry.path
            for entry in entries
            if is_temporary(entry.name) and entry.is_dir(follow_symlinks=False)
        ]
    for own in found:
        with suppress(OSError):
            if _is_left_behind(own):
                _remove(own)


def _is_left_behind(own: str) -> bool:
    paths = [os.path.join(own, name) for name in os.listdir(own)]
    silent = time.time() - max(os.lstat(path).st_mtime for path in (own, *paths))
    try:
        with open(_note(own), encoding="utf-8") as file:
            ended = has_ended(Process(*json.load(file)))
    except (OSError, ValueError, TypeError):
        # Killed before it could say whose it is; else it keeps what could not be put back.
        return set(paths) <= {_note(own)} and silent >= _SETTLE_SECONDS
    return ended if ended is not None else silent > _SILENT_SECONDS
