"""Steps on files that survive a loss of power, and never overwrite what they were not meant to.

Nothing here knows of a database or a journal.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import platform
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from dbdicom_xr.index.files import TEMPORARY_SUFFIX, version_of

__all__ = [
    "Version",
    "back_up",
    "copy_or_link",
    "copy_rights",
    "keep",
    "look",
    "put_new",
    "remove",
    "sync_files",
    "sync_folders",
    "temporary_beside",
    "temporary_names",
]

Version = tuple[int, int]

# What systems and file systems say that have no second names for a file (FAT, some network
# drives), or not for this one (of another owner, with fs.protected_hardlinks).
_NO_LINKS: Final = {
    getattr(errno, name)
    for name in ("EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EINVAL")
    if hasattr(errno, name)
}
# And those where a folder cannot be synchronised, since it needs no such call.
_NO_FOLDER_SYNC: Final = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS}

# Measured on ext4 (virtual disk), per file of 140 kB: fsync of each 0.2 ms, on a busy disk 1,
# since each waits for a flush; the whole file system at once less than 0.08. They part at four.
_MANY_FILES: Final = 8


def temporary_beside(path: str) -> str:
    """Return a path that is not in use, in the folder of a file."""
    return os.path.join(os.path.dirname(path), next(temporary_names()))


def temporary_names() -> Iterator[str]:
    """Return names for temporary files that are not in use."""
    for number in itertools.count(secrets.randbits(64)):  # asked for once: it is a system call
        yield f".{number % 2**64:016x}{TEMPORARY_SUFFIX}"


def look(path: str) -> Version | None:
    """Return the version of a file, None if it does not exist; other errors are raised."""
    try:
        return version_of(os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        pass
    try:
        return version_of(os.lstat(path))  # a link that leads nowhere is there too
    except (FileNotFoundError, NotADirectoryError):
        return None


def back_up(path: str, backup: str) -> bool:
    """Give a file a second name, else another name; return whether the first one is still there."""
    try:
        os.link(path, backup)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        return True
    os.rename(path, backup)
    return False


def put_new(temporary: str, path: str) -> None:
    """Give a file its name where no other has it.

    Raises
    ------
    FileExistsError
        Another file has that name.
    """
    if os.name == "nt":
        os.rename(temporary, path)  # overwrites nothing there
        return
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        os.unlink(temporary)
        return
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    os.replace(temporary, path)


def remove(path: str) -> None:
    """Remove a file, if it is there."""
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError:
        if os.name != "nt":
            raise
        os.chmod(path, stat.S_IWRITE)  # Windows removes no file that is marked read-only
        os.unlink(path)


def keep(hidden: str, path: str) -> str:
    """Give a hidden file a name that is seen, beside another file, and return it."""
    name = f"{path}.{secrets.token_hex(4)}.kept"
    os.rename(hidden, name)
    return name


def copy_rights(status: os.stat_result, path: str, new: os.stat_result, temporary: str) -> None:
    """Give a new file the mode, owner and access list of the one that it will replace."""
    if (new.st_uid, new.st_gid) != (status.st_uid, status.st_gid):
        with contextlib.suppress(OSError):
            os.chown(temporary, status.st_uid, status.st_gid)
    # After the owner, which takes special bits away.
    if stat.S_IMODE(new.st_mode) != stat.S_IMODE(status.st_mode):
        os.chmod(temporary, stat.S_IMODE(status.st_mode))
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # not every file system has them
            for name in os.listxattr(path):
                if name.startswith(("user.", "system.posix_acl_")):
                    os.setxattr(temporary, name, os.getxattr(path, name))


def copy_or_link(source: str, temporary: str) -> None:
    """Give a file a second name, else copy it."""
    try:
        os.link(source, temporary)
    except OSError as error:
        if error.errno not in {*_NO_LINKS, errno.EXDEV}:
            raise
        shutil.copyfile(source, temporary)


def sync_files(paths: Sequence[str]) -> list[os.stat_result]:
    """Wait until files are on the disk, and return their status then."""
    if len(paths) >= _MANY_FILES:
        folders = _one_per_disk({os.path.dirname(path) for path in paths})
        synced = [_sync_disk(folder) for folder in folders]
        if all(synced):
            return [os.stat(path) for path in paths]
    found = []
    # Windows synchronises only what may be written to.
    flags = (os.O_RDWR | getattr(os, "O_BINARY", 0)) if os.name == "nt" else os.O_RDONLY
    for path in paths:
        file = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
        try:
            os.fsync(file)
            found.append(os.fstat(file))
        finally:
            os.close(file)
    return found


def sync_folders(folders: Iterable[str]) -> None:
    """Wait until the names in folders are on the disk."""
    if os.name == "nt":
        return
    for folder in sorted(set(folders)):
        try:
            file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            os.fsync(file)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(file)


def _one_per_disk(folders: set[str]) -> list[str]:
    return list({os.stat(folder).st_dev: folder for folder in sorted(folders)}.values())


def _sync_disk(folder: str) -> bool:
    """Make the system write all that it still holds for one file system.

    Returns
    -------
    bool
        Whether that can be relied upon: a system that has no such call, does not report errors by
        it (Linux before 5.8), or reports one now, wants each file to be asked for.
    """
    syncfs: Any = getattr(_libc, "syncfs", None)
    if syncfs is None:
        return False
    file = os.open(folder, os.O_RDONLY)
    try:
        return syncfs(file) == 0 and _REPORTS_ERRORS
    finally:
        os.close(file)


def _release() -> tuple[int, ...]:
    numbers = re.match(r"(\d+)\.(\d+)", platform.release())
    return (0, 0) if numbers is None else tuple(int(part) for part in numbers.groups())


_REPORTS_ERRORS: Final = sys.platform == "linux" and _release() >= (5, 8)


_libc: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
