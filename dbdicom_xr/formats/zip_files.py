"""DICOM files inside zip files, taken out one by one under names of this package's own.

Names in a zip file are only shown, never used as places, so that none can lead anywhere.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
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
        The zip file is damaged, or cannot be read.
    """
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise BadMember(f"cannot be read: {error.strerror or error}") from error
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
    with _reading():
        source = archive.open(info)
    with source:
        with _reading():
            data = source.read(132)
        if data[:4] in _STARTS:
            raise BadMember("a zip file inside a zip file; unpack it first")
        if data[128:] != b"DICM" and data[:2] not in _BARE_STARTS:
            raise BadMember("not a DICOM file (no DICM prefix)")
        with open(target, "xb") as file:
            while data:
                file.write(data)
                with _reading():
                    data = source.read(_CHUNK)


@contextmanager
def _reading() -> Iterator[None]:
    """Make an error of reading one of the file in the zip file, not of the disk written to."""
    try:
        yield
    except RuntimeError as error:  # what zipfile raises for a password, or a method it lacks
        raise BadMember(str(error)) from error
    except Exception as error:  # each method of compression raises errors of its own
        raise BadMember(f"it is damaged: {error}") from error
