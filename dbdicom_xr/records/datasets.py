"""Instances as data sets of pydicom, with what is staged of them."""

from __future__ import annotations

import io
import os
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from dbdicom_xr.errors import DatabaseChanged, StaleArray
from dbdicom_xr.index.files import version_of
from dbdicom_xr.index.roots import is_remote, remote_folder
from dbdicom_xr.index.table import Table
from dbdicom_xr.staging.constant import with_pixels
from dbdicom_xr.staging.patch import Role
from dbdicom_xr.staging.splice import create, splice
from dbdicom_xr.staging.view import View

if TYPE_CHECKING:
    import pydicom

__all__ = ["dataset_of"]


def dataset_of(view: View, table: Table, row: int) -> pydicom.FileDataset:
    """Return an instance as pydicom reads it.

    Parameters
    ----------
    view : View
    table : Table
        Of its series.
    row : int
        Of the instance in it.

    Raises
    ------
    StaleArray
        Its file has changed or vanished since it was indexed.
    """
    import pydicom as reader

    patch, patch_row = view.origin(table.series.id, row)
    if is_remote(table.root):
        file = table.file(row)
        dataset = reader.dcmread(io.BytesIO(*remote_folder(table.root).whole([file])), force=True)
        dataset.filename = f"{table.root}/{file.path}"
        return dataset
    path = "" if int(table.places["file"][row]) < 0 else _unchanged_file(view, table, row)
    if patch is None or (not patch.columns and patch.key.role != Role.NEW):
        return reader.dcmread(path, force=True)
    edits = next(patch.edits(np.array([patch_row])))
    with tempfile.TemporaryDirectory(prefix="dbdicom_xr-") as folder:
        target = os.path.join(folder, "edited.dcm")
        if patch.key.role == Role.NEW:
            create(target, with_pixels(edits))
        else:
            splice(path, target, edits)
        dataset = reader.dcmread(target, force=True)
    dataset.filename = path or None
    return dataset


def _unchanged_file(view: View, table: Table, row: int) -> str:
    """Return the file of an instance, provided that it is still the one that was indexed."""
    file = table.file(row)
    path = f"{table.root}/{file.path}"
    try:
        if version_of(os.stat(path)) == (file.size, file.mtime):
            return path
        stale = StaleArray(f"{path} has changed since it was indexed; database.scan() reads it.")
    except OSError as error:
        stale = StaleArray(f"{path} cannot be read any more: {error.strerror}")
    # A save that is under way has put its file in place, and not yet in the index.
    if view.base.wait_for_save() or view.generation() != view.number:
        raise DatabaseChanged(f"{table.root} was saved meanwhile; repeat the call.") from stale
    raise stale
