"""Bytes at an offset of a file, on every operating system, or of a file that is elsewhere.

``os.pread`` where there is one; else (Windows) seek and read under a lock, since the two calls
share the position of the descriptor. Files that are not of this computer stand for themselves:
``Bytes`` is what they have in common.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable
from typing import Final, Protocol

__all__ = [
    "TEMPORARY_SUFFIX",
    "Bytes",
    "Opened",
    "Version",
    "is_temporary",
    "open_for_reading",
    "pread",
    "version_of",
]

Version = tuple[int, int]
"""Size, and a number that changes with the file: time of change, or a hash of its ETag."""


class Bytes(Protocol):
    """A file that is not of this computer, as far as it is here."""

    def read(self, count: int, offset: int) -> bytes:
        """Return bytes; fewer where the file ends."""
        ...

    def some(self, count: int, offset: int, least: int) -> bytes:
        """Return what is there of these bytes; fewer than ``least`` only where the file ends."""
        ...

    def expect(self, places: Iterable[tuple[int, int]]) -> None:
        """Tell offset and length of what will be read, so that all can be fetched at once."""
        ...


Opened = int | Bytes
"""An open file: the descriptor of one of this computer, or the bytes of another."""

TEMPORARY_SUFFIX: Final = ".dbdicom_xr"
"""How the names of files end that are being written; no scan looks at them."""

_TEMPORARY: Final = re.compile(r"\.[0-9a-f]{16}" + re.escape(TEMPORARY_SUFFIX))

_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
# A named pipe that stands in a folder must not block the scan: opening it for reading without
# this flag waits for a writer, for ever.
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)

_seek_lock = threading.Lock()

_LARGEST = (1 << 63) - 1  # of the integers of SQLite


def is_temporary(name: str) -> bool:
    """Tell whether a file of this name is one that is being written, or was when all stopped.

    Examples
    --------
    >>> is_temporary(".0123456789abcdef.dbdicom_xr"), is_temporary(".dbdicom_xr")
    (True, False)
    """
    return _TEMPORARY.fullmatch(name) is not None


def version_of(status: os.stat_result) -> Version:
    """Return size and modification time, in nanoseconds, by which a changed file is known.

    Times beyond the years 1678 to 2262, which damaged disks and archives bring along, are those
    of the nearest end.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     os.utime(file.name, ns=(0, 7000))
    ...     version_of(os.stat(file.name))
    (0, 7000)
    """
    return status.st_size, max(-_LARGEST, min(status.st_mtime_ns, _LARGEST))


def open_for_reading(path: str | os.PathLike[str]) -> int:
    """Return a descriptor of the file; the caller closes it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     name = os.path.join(folder, "a")
    ...     with open(name, "wb") as file:
    ...         _ = file.write(b"012345")
    ...     fd = open_for_reading(name)
    ...     print(pread(fd, 2, 3))
    ...     os.close(fd)
    b'34'
    """
    return os.open(path, os.O_RDONLY | _BINARY | _NONBLOCK)


def _seek_and_read(fd: int, count: int, offset: int) -> bytes:
    with _seek_lock:
        os.lseek(fd, offset, os.SEEK_SET)
        parts = []
        while count > 0 and (part := os.read(fd, count)):
            parts.append(part)
            count -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _positioned_read(fd: int, count: int, offset: int) -> bytes:
    data = os.pread(fd, count, offset)
    if len(data) == count or not data:
        return data
    # A network file system may return less than asked for before the end of the file.
    parts = [data]
    got = len(data)
    while got < count and (part := os.pread(fd, count - got, offset + got)):
        parts.append(part)
        got += len(part)
    return b"".join(parts) if len(parts) > 1 else data


_read_descriptor = _positioned_read if hasattr(os, "pread") else _seek_and_read


def pread(file: Opened, count: int, offset: int) -> bytes:
    """Return bytes of an open file; fewer where it ends."""
    if isinstance(file, int):
        return _read_descriptor(file, count, offset)
    return file.read(count, offset)
