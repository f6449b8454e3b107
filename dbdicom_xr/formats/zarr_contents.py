"""Whether a zarr store holds nothing but what was exported into it, so that it may be replaced."""

from __future__ import annotations

import json
import os
from typing import Any, Final

__all__ = ["FILES_FORMAT", "arrays_in", "foreign_entry"]

FILES_FORMAT: Final = "dbdicom_xr files 1"
"""The mark in the group of the DICOM files of each series."""
_ANY_FORMAT: Final = FILES_FORMAT.rpartition(" ")[0]
_META: Final = "zarr.json"
_GROUPS: Final = ("header", "files")
_LITTER: Final = {".DS_Store"}  # what a Mac leaves in folders that were looked at


def arrays_in(folder: str) -> list[str]:
    """Return the names of the arrays of a series, as in ``header/value``.

    Parameters
    ----------
    folder : str
        The group of the series.
    """
    result = []
    for group in ("", *_GROUPS):
        with os.scandir(os.path.join(folder, group)) as entries:
            found = [f"{group}/{entry.name}".lstrip("/") for entry in entries if entry.is_dir()]
        result += sorted(set(found) - set(_GROUPS))
    return result


def foreign_entry(folder: str) -> str | None:
    """Return the path of something in a store that was not exported into it; None if there is none.

    That is the folder itself where no export is in it.

    Examples
    --------
    >>> import tempfile, zarr
    >>> store = tempfile.mkdtemp()
    >>> _ = zarr.open_group(store, mode="w").create_array("mine", shape=3, dtype="u1")
    >>> os.path.relpath(foreign_entry(store), store)
    'mine'
    """
    said = _said(folder)
    if said.get("node_type") != "group":
        return folder
    mark = _said(os.path.join(folder, "files")).get("attributes", {})
    if str(mark.get("format", "")).startswith(_ANY_FORMAT):
        return _foreign_in_series(folder, set(mark.get("arrays", ())))
    below = [name for name in _names(folder) if name != _META]
    for name in below:
        path = os.path.join(folder, name)
        if os.path.islink(path):
            return path
        if (found := foreign_entry(path)) is not None:
            return found
    return None if below else folder


def _said(folder: str) -> dict[str, Any]:
    try:
        with open(os.path.join(folder, _META), encoding="utf-8") as file:
            said = json.load(file)
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _names(folder: str) -> list[str]:
    return sorted(set(os.listdir(folder)) - _LITTER) if os.path.isdir(folder) else []


def _foreign_in_series(folder: str, arrays: set[str]) -> str | None:
    for group in ("", *_GROUPS):
        for name in _names(os.path.join(folder, group)):
            path = os.path.join(folder, group, name)
            inside = f"{group}/{name}".lstrip("/")
            if os.path.islink(path):
                return path
            if name == _META or inside in _GROUPS:
                continue
            if inside not in arrays:
                return path
            if (found := _foreign_in_array(path)) is not None:
                return found
    return None


def _foreign_in_array(folder: str) -> str | None:
    """Return what is no chunk: these have numbers as names, below "c"."""
    for here, names, files in os.walk(folder):
        for name in sorted({*names, *files} - _LITTER):
            known = name in (_META, "c") if here == folder else name.isdecimal()
            if not known:
                return os.path.join(here, name)
    return None
