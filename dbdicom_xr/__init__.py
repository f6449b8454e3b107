"""A DICOM folder as a labelled, lazy, writable array store.

>>> import dbdicom_xr as db
>>> database = db.database(folder)  # doctest: +SKIP
>>> array, header = database.series()[0].array(["SliceLocation", "FlipAngle"])  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from dbdicom_xr._version import __version__
from dbdicom_xr.pixels.guard import import_gdcm

import_gdcm()  # before anything imports pydicom

if TYPE_CHECKING:
    from dbdicom_xr.formats.npy import load_npy
    from dbdicom_xr.interact import (
        FrontEnd,
        NotebookFrontEnd,
        ScriptedFrontEnd,
        TerminalFrontEnd,
        set_front_end,
        set_log_file,
    )
    from dbdicom_xr.records.attributes.lookup import register_attribute
    from dbdicom_xr.records.database import Database
    from dbdicom_xr.records.editing.combine import copy_to, group, merge, move_to
    from dbdicom_xr.records.importing.from_zarr import from_zarr
    from dbdicom_xr.records.instance import Frame, Instance
    from dbdicom_xr.records.levels import Patient, Series, Study
    from dbdicom_xr.records.opening import database
    from dbdicom_xr.records.reading.header import Header
    from dbdicom_xr.records.writing.from_nothing import full, ones, series, zeros

__all__ = [
    "Database",
    "Frame",
    "FrontEnd",
    "Header",
    "Instance",
    "NotebookFrontEnd",
    "Patient",
    "ScriptedFrontEnd",
    "Series",
    "Study",
    "TerminalFrontEnd",
    "__version__",
    "copy_to",
    "database",
    "from_zarr",
    "full",
    "group",
    "load_npy",
    "merge",
    "move_to",
    "ones",
    "register_attribute",
    "series",
    "set_front_end",
    "set_log_file",
    "zeros",
]

# Loaded when first used: the processes that scan a folder need none of it, and start in a third
# of the time.
_HOMES = {
    "Database": "records.database",
    "Frame": "records.instance",
    "FrontEnd": "interact",
    "Header": "records.reading.header",
    "Instance": "records.instance",
    "NotebookFrontEnd": "interact",
    "Patient": "records.levels",
    "ScriptedFrontEnd": "interact",
    "Series": "records.levels",
    "Study": "records.levels",
    "TerminalFrontEnd": "interact",
    "copy_to": "records.editing.combine",
    "database": "records.opening",
    "from_zarr": "records.importing.from_zarr",
    "full": "records.writing.from_nothing",
    "group": "records.editing.combine",
    "load_npy": "formats.npy",
    "merge": "records.editing.combine",
    "move_to": "records.editing.combine",
    "ones": "records.writing.from_nothing",
    "register_attribute": "records.attributes.lookup",
    "series": "records.writing.from_nothing",
    "set_front_end": "interact",
    "set_log_file": "interact",
    "to_datatree": "xarray_plugin.datatree",  # for record.to_datatree
    "zeros": "records.writing.from_nothing",
}
# Registers `.dicom` of arrays, Datasets and trees.
_ACCESSORS = "dbdicom_xr.xarray_plugin.dataset_accessor"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dbdicom_xr' has no attribute {name!r}")
    if name in ("database", "from_zarr") or _HOMES[name] == "records.writing.from_nothing":
        importlib.import_module(_ACCESSORS)
    return getattr(importlib.import_module(f"dbdicom_xr.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _register(*, always: bool = False) -> None:
    """Make `array.dicom` known, where xarray is at work.

    Processes that get records or arrays from others never call `database`.
    """
    if always or "xarray" in sys.modules:
        importlib.import_module(_ACCESSORS)


_register()
