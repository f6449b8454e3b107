"""``da.dicom``: what belongs to an array that was read from DICOM."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dbdicom_xr.errors import NotInDatabase
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.database import Database, reopened
from dbdicom_xr.records.header import Header
from dbdicom_xr.records.tree import Node

__all__ = ["DicomAccessor"]


@xr.register_dataarray_accessor("dicom")  # type: ignore[no-untyped-call]
class DicomAccessor:
    """The DICOM side of a ``DataArray``.

    Examples
    --------
    >>> import dbdicom_xr as db, tempfile
    >>> from dbdicom_xr.testing import make_dce
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_dce(folder)
    >>> array, header = db.database(folder).series()[0].array("SliceLocation")
    >>> corner = (array * 2).isel(SliceLocation=0)
    >>> corner.dicom.header[0] == header[0, 0]
    True
    """

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    @property
    def header(self) -> Header:
        """The frames of the array, found by its ``SOPInstanceUID`` and ``frame`` coordinates.

        Raises
        ------
        NotInDatabase
            The array does not tell which frames it was made from, or they are not there any more.
        """
        array = self._array
        missing = [name for name in ("SOPInstanceUID", "frame") if name not in array.coords]
        if missing:
            raise NotInDatabase(
                f"This array has no coordinate {' and no '.join(missing)}, which tells its frames. "
                "A mean, maximum or other reduction removes it, since no single frame is its "
                "source: keep the header that series.array() gave, and select from it."
            )
        uids = array.coords["SOPInstanceUID"]
        numbers = array.coords["frame"].broadcast_like(uids).transpose(*uids.dims)
        opened = self._database()
        node, table = self._series(opened, uids)
        rows = np.full(uids.size, -1, np.int64)
        for cell, (uid, number) in enumerate(
            zip(uids.to_numpy().ravel(), numbers.to_numpy().ravel(), strict=True)
        ):
            if not isinstance(uid, str) or not uid:  # a gap, also one that reindex or pad made
                continue
            row = table.row_of.get(str(uid))
            if row is None or not 1 <= int(number) <= int(table.places["frames"][row]):
                raise NotInDatabase(f"The frame {number} of {uid} is not in {opened!r} any more.")
            rows[cell] = table.first_frames[row] + int(number) - 1
        dims = tuple(map(str, uids.dims))
        coords = {
            str(name): (tuple(map(str, coord.dims)), coord.to_numpy())
            for name, coord in array.coords.items()
            if set(coord.dims) <= set(uids.dims)
        }
        return Header.of_frames(opened, node.key, table, rows.reshape(uids.shape), dims, coords)

    def _database(self) -> Database:
        folder, index = (self._array.attrs.get(name) for name in ("database", "index"))
        if not folder or not index:
            raise NotInDatabase(
                "This array does not tell the folder it was read from: its attributes 'database' "
                "and 'index' are missing. xr.set_options(keep_attrs=True) keeps them through "
                "arithmetic."
            )
        return reopened(str(folder), str(index))

    def _series(self, opened: Database, uids: xr.DataArray) -> tuple[Node, Table]:
        flat = uids.to_numpy().ravel()
        first = next((uid for uid in flat if isinstance(uid, str) and uid), None)
        if first is None:
            raise NotInDatabase("This array holds no frames, only gaps.")
        found = opened._find(first)
        if found is not None:
            return found[0], found[1]
        raise NotInDatabase(f"The instance {first} of this array is not in {opened!r} any more.")
