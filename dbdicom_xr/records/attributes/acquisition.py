"""How an image was acquired, where each vendor keeps it: when each slice, and which way the phase.

The standard has the time of each frame (PS3.3 C.7.6.16.2.2), and not which way the phase was
encoded.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.vendors.columns import first_number, private
from dbdicom_xr.records.attributes.vendors.csa import _reader

__all__ = ["phase_bandwidth", "phase_is_positive", "slice_times"]

Ints = npt.NDArray[np.intp]

_CSA: Final = Key(0x00290010, "SIEMENS CSA HEADER")


def phase_is_positive(table: Table, row: int) -> bool | None:
    """Return whether the phase was encoded from the first row or column on; None if unknown."""
    found = _of_csa(table, row, "PhaseEncodingDirectionPositive")
    if not found:
        values = private(table, "SIEMENS MR SDI 02", 0x0021111C, "SIEMENS")
        found = [] if values is None else [values.of(row)]
    number = first_number(found)
    return None if number is None else number > 0


def phase_bandwidth(table: Table, row: int) -> float | None:
    """Return the bandwidth per pixel along the phase of an echo-planar image, Hz."""
    for creator, tag in (("SIEMENS MR HEADER", 0x00191028), ("SIEMENS MR SDI 02", 0x00211153)):
        values = private(table, creator, tag, "SIEMENS")
        if values is not None and (number := first_number(values.of(row))) is not None:
            return number
    return None


def slice_times(table: Table, rows: Ints) -> list[float | None]:
    """Return when each slice of a volume was acquired, s from any origin; None if unknown.

    Parameters
    ----------
    table : Table
    rows : ndarray of int
        The frames of one volume.
    """
    if parse_name("MRAcquisitionType").value(table, int(rows[0])) != "2D":
        return [None] * len(rows)
    mosaic = _of_csa(table, int(rows[0]), "MosaicRefAcqTimes")
    numbers = table.frame_numbers[rows] - 1
    if len(mosaic) >= len(rows) and len(rows) == table.places["frames"][table.instance_of[rows[0]]]:
        times = [first_number(mosaic[number]) for number in numbers.tolist()]
        return [None if time is None else time / 1000 for time in times]
    values = parse_name("AcquisitionTime").values(table)
    if values is None:
        return [None] * len(rows)
    return [_seconds(values.of(row)) for row in rows.tolist()]


def _of_csa(table: Table, row: int, name: str) -> list[Any]:
    if _CSA not in table.keys:
        return []
    try:
        found = _reader().read(table.value(_CSA, row))["tags"].get(name, {})
    except Exception:  # nibabel raises whatever comes of damaged bytes
        return []
    return list(found.get("items", []))


def _seconds(time: Any) -> float | None:
    """Return a TM value in seconds after midnight (PS3.5 6.2)."""
    text = str(time or "").strip()
    try:
        return int(text[:2]) * 3600 + int(text[2:4]) * 60 + float(text[4:])
    except ValueError:
        return None
