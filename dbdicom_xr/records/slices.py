"""Slice locations from the geometry, for images that do not tell them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.geometry.planes import positions_along_normal
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.store import FRAME
from dbdicom_xr.index.table import Table, Values

__all__ = ["orientations", "slice_locations", "with_slice_locations"]

_LOCATION: Final = Key(0x00201041)
_POSITION: Final = Key(0x00200032)
_ORIENTATION: Final = Key(0x00200037)


def with_slice_locations(
    table: Table, values: Values | None, rows: npt.NDArray[Any]
) -> Values | None:
    """Return SliceLocation of frames, worked out for all of them where some have none of their own.

    Parameters
    ----------
    table : Table
    values : Values or None
        What the header says.
    rows : ndarray of int
        The frames that matter.
    """
    if values is not None and not _of_the_object(table):
        filled = np.array([value is not None for value in values.distinct] + [False])
        if filled[values.codes[rows]].all():
            return values
    derived = slice_locations(table, rows)
    if derived is None:
        return values
    unique, codes = np.unique(derived, return_inverse=True)
    all_codes = np.full(len(table), -1, np.int32)
    all_codes[rows] = codes
    return Values(unique.tolist(), all_codes)


def _of_the_object(table: Table) -> bool:
    """Return whether SliceLocation stands beside several frames, and so cannot be that of each."""
    return not table.is_classic and table.column(_LOCATION, FRAME) is None


def slice_locations(table: Table, rows: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
    """Return the position of each frame along the normal of its plane, in mm.

    Parameters
    ----------
    table : Table
    rows : ndarray of int
        The frames.

    Returns
    -------
    ndarray of float64, shape (rows,), or None
        None where a frame lacks ImagePositionPatient or ImageOrientationPatient, or where the
        planes are not parallel.
    """
    position, orientation = _vectors(table, rows, _POSITION, 3), orientations(table, rows)
    if position is None or orientation is None:
        return None
    return positions_along_normal(position, orientation)


def orientations(table: Table, rows: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
    """Return ImageOrientationPatient of each frame, shape (rows, 6); None where no frame has it."""
    return _vectors(table, rows, _ORIENTATION, 6)


def _vectors(
    table: Table, rows: npt.NDArray[Any], key: Key, width: int
) -> npt.NDArray[np.float64] | None:
    column = table.values(key)
    if column is None:
        return None
    pool = np.full((len(column.distinct) + 1, width), np.nan)
    for i, value in enumerate(column.distinct):
        if isinstance(value, list) and len(value) == width and None not in value:
            pool[i] = value
    return np.asarray(pool[column.codes[rows]])
