"""The rows of the index as others see them, and their checksums.

A bit that flips on a disk must show up as damage, never as another value, so that every row
carries a checksum of all that it says, its own keys included.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeVar

from dbdicom_xr.errors import IndexDamaged
from dbdicom_xr.index.blocks import SeriesKey

__all__ = [
    "FileRow",
    "SeriesRow",
    "batched",
    "checksum",
    "from_stored",
    "join",
    "seal",
    "storable",
    "to_stored",
    "uid_hash",
    "unseal",
]

T = TypeVar("T")


class SeriesRow(NamedTuple):
    """What the tree shows of a series."""

    id: int
    key: SeriesKey
    study_date: str
    study_time: str
    study_description: str
    series_number: int | None
    series_description: str
    modality: str
    instances: int
    frames: int
    bytes: int


class FileRow(NamedTuple):
    """A file of the folder, as it was when it was read."""

    id: int
    path: str  # relative to the folder, with "/"
    size: int
    mtime: int
    series: int | None
    note: str | None


def uid_hash(uid: str) -> int:
    """Return a signed 64-bit hash by which instances are looked up."""
    digest = blake2b(uid.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def to_stored(name: str) -> str | bytes:
    """Return a file name as SQLite can hold it; not every name is Unicode."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def from_stored(name: str | bytes) -> str:
    """Return the file name that ``to_stored`` stored."""
    return name if isinstance(name, str) else os.fsdecode(name)


def storable(text: str) -> str:
    r"""Return a text that SQLite can hold; what is not Unicode is written as an escape.

    Examples
    --------
    >>> storable("a\udce4")
    'a\\udce4'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def join(folder: str | bytes, name: str | bytes) -> str:
    """Return the path of a file from what is stored of it."""
    folder, name = from_stored(folder), from_stored(name)
    return f"{folder}/{name}" if folder else name


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items, ``size`` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def checksum(*values: object) -> int:
    """Return a checksum of what a row says.

    Examples
    --------
    >>> checksum(1, "a", None) == checksum(1, "a", "None")
    False
    """
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))


def seal(data: bytes, *context: object) -> bytes:
    """Return data with a checksum that also covers where they belong.

    Examples
    --------
    >>> unseal(seal(b"data", 7), 7)
    b'data'
    """
    return zlib.crc32(data, checksum(*context)).to_bytes(4, "little") + data


def unseal(sealed: object, *context: object) -> bytes:
    """Return the data that ``seal`` sealed.

    Raises
    ------
    IndexDamaged
        They are not, or do not belong here.
    """
    if isinstance(sealed, bytes) and len(sealed) >= 4:
        data = sealed[4:]
        if zlib.crc32(data, checksum(*context)) == int.from_bytes(sealed[:4], "little"):
            return data
    raise IndexDamaged("the index holds damaged values")
