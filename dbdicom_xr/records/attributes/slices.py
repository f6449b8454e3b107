"""Where frames lie in space, as their headers say: planes, and locations worked out from them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.geometry.planes import Floats, Planes, positions_along_normal
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.store import FRAME
from dbdicom_xr.index.table import Table, Values

__all__ = ["orientations", "planes_of", "slice_locations", "with_slice_locations"]

_LOCATION: Final = Key(0x00201041)
_POSITION: Final = Key(0x00200032)
_ORIENTATION: Final = Key(0x00200037)
_PIXEL_SPACING: Final = Key(0x00280030)
# How far the next slice would be, where there is only one: the better answer first.
_STEPS: Final = (Key(0x00180088), Key(0x00180050))  # SpacingBetweenSlices, SliceThickness
_OFFSETS: Final = Key(0x3004000C)  # GridFrameOffsetVector


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


def planes_of(table: Table, rows: npt.NDArray[Any]) -> Planes:
    """Return the planes of frames as their headers say, NaN where they do not.

    Parameters
    ----------
    table : Table
    rows : ndarray of int
        The frames.
    """
    step = np.full(len(rows), np.nan)
    for key in reversed(_STEPS):
        found = _numbers(table, rows, key, 1)[:, 0]
        size = np.abs(found)  # some write it with a sign
        step = np.where((size > 0) & np.isfinite(size), size, step)
    position = _numbers(table, rows, _POSITION, 3)
    if table.column(_OFFSETS) is not None and table.column(_POSITION, FRAME) is None:
        # The position is that of the first frame, and offsets tell the others (PS3.3 C.8.8.3.2).
        position = np.where(table.frame_numbers[rows][:, None] == 1, position, np.nan)
    return Planes(
        position,
        _numbers(table, rows, _ORIENTATION, 6),
        _numbers(table, rows, _PIXEL_SPACING, 2),
        step,
    )


def _numbers(table: Table, rows: npt.NDArray[Any], key: Key, width: int) -> Floats:
    found = _vectors(table, rows, key, width)
    return np.full((len(rows), width), np.nan) if found is None else found


def _vectors(table: Table, rows: npt.NDArray[Any], key: Key, width: int) -> Floats | None:
    column = table.values(key)
    if column is None:
        return None
    pool = np.full((len(column.distinct) + 1, width), np.nan)
    for i, value in enumerate(column.distinct):
        parts = value if isinstance(value, list) else [value]
        if len(parts) == width and all(isinstance(part, (int, float)) for part in parts):
            pool[i] = parts
    return np.asarray(pool[column.codes[rows]])
