"""DICOM files inside zip files, taken out one by one under names of this package's own.

Names in a zip file are only shown, never used as places, so that none can lead anywhere.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from typing import Final

__all__ = ["ENCRYPTED", "BadMember", "extract", "is_zip", "members"]

ENCRYPTED: Final = "it is encrypted; unpack it with its password first"
_STARTS: Final = (b"PK\3\4", b"PK\5\6")
_BARE_STARTS: Final = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")
_CHUNK: Final = 1 << 20
_IS_ENCRYPTED: Final = 0x1


class BadMember(Exception):
    """A file cannot be taken out of a zip file; the text says why."""


def is_zip(path: str) -> bool:
    """Return whether a file is a zip file, by its first bytes.

    Raises
    ------
    OSError
    """
    with open(path, "rb") as file:
        return file.read(4) in _STARTS


def members(path: str) -> Iterator[tuple[zipfile.ZipFile, zipfile.ZipInfo]]:
    """Yield the files in a zip file.

    Raises
    ------
    BadMember
        The zip file is damaged.
    OSError
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise BadMember(f"the zip file is damaged: {error}") from error
    with archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield archive, info


def extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: str) -> None:
    """Write a DICOM file in a zip file to another place, never more bytes than it announces.

    What does not begin as a DICOM file is not unpacked any further.

    Raises
    ------
    BadMember
        It is none, damaged, or encrypted.
    OSError
        From writing.
    """
    if info.flag_bits & _IS_ENCRYPTED:
        raise BadMember(ENCRYPTED)
    try:
        with archive.open(info) as source:
            start = source.read(132)
            if start[:4] in _STARTS:
                raise BadMember("a zip file inside a zip file; unpack it first")
            if start[128:] != b"DICM" and start[:2] not in _BARE_STARTS:
                raise BadMember("not a DICOM file (no DICM prefix)")
            with open(target, "xb") as file:
                file.write(start)
                while data := source.read(_CHUNK):
                    file.write(data)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise BadMember(f"it is damaged: {error}") from error
    except RuntimeError as error:  # what zipfile raises for a password
        raise BadMember(str(error)) from error
