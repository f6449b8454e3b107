"""Whether a path looks like DICOM, at the cost of a few small reads."""

from __future__ import annotations

import os
from itertools import islice
from typing import Any, Final

from dbdicom_xr.index.files import open_for_reading, pread
from dbdicom_xr.index.scan import FOLDER_NAME
from dbdicom_xr.records.location import INDEX_NAME

__all__ = ["is_dicom"]

_SUFFIXES: Final = (".dcm", ".ima")
# What stands in every zarr store.
_ZARR: Final = frozenset((".zgroup", ".zarray", ".zmetadata", ".zattrs", "zarr.json"))
_MOST_ENTRIES: Final = 64
_MOST_FILES: Final = 8
_DEEPEST: Final = 6


def is_dicom(path: Any) -> bool:
    """Return whether a path looks like a DICOM file, or a folder with DICOM files in it.

    A file does by its first bytes (PS3.10 7.1), or where it has none by its suffix. A folder does
    by its index, a DICOMDIR, or the first files below it. Of what looks like zarr nothing is
    claimed.

    Examples
    --------
    >>> import tempfile
    >>> from dbdicom_xr.testing import make_series
    >>> folder = tempfile.mkdtemp()
    >>> is_dicom(folder)
    False
    >>> files = make_series(folder).files
    >>> is_dicom(folder), is_dicom(files[0])
    (True, True)
    """
    try:
        text = os.fsdecode(path)
        if "://" in text or not os.path.exists(text):
            return text.lower().endswith(_SUFFIXES)
        if os.path.isdir(text):
            return not text.rstrip("/\\").endswith(".zarr") and _holds_dicom(text)
        return _is_dicom_file(text)
    except (TypeError, ValueError, OSError):
        return False


def _is_dicom_file(path: str) -> bool:
    if not os.path.isfile(path):
        return False
    fd = open_for_reading(path)
    try:
        head = pread(fd, 132, 0)
    finally:
        os.close(fd)
    if head[128:132] == b"DICM":
        return True
    other = head.startswith((b"CDF", b"\x89HDF", b"PK", b"\x1f\x8b", b"GRIB"))
    return path.lower().endswith(_SUFFIXES) and not other


def _holds_dicom(folder: str) -> bool:
    if os.path.exists(f"{folder}/{FOLDER_NAME}/{INDEX_NAME}"):
        return True
    looked = 0
    for _ in range(_DEEPEST):
        with os.scandir(folder) as found:
            entries = sorted(islice(found, _MOST_ENTRIES), key=lambda entry: entry.name)
        names = {entry.name for entry in entries}
        if names & _ZARR:
            return False
        if "DICOMDIR" in names:
            return True
        below = None
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                below = below or (None if entry.name.endswith(".zarr") else entry.path)
            elif looked < _MOST_FILES:
                looked += 1
                if _is_dicom_file(entry.path):
                    return True
        if below is None:
            return False
        folder = below
    return False
