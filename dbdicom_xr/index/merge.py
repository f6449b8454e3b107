"""Rows of one series from several sources, merged into one order.

The rows of a series stand in the order of InstanceNumber, then UID, so that the index of a folder
does not depend on the names of its files or on the order in which they were read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import IndexDamaged
from dbdicom_xr.index.blocks import PLACE
from dbdicom_xr.index.columns import Column, Key, concatenate
from dbdicom_xr.index.rows import storable
from dbdicom_xr.index.values import instance_uid

__all__ = [
    "SOP_INSTANCE_UID",
    "Part",
    "instance_numbers",
    "instance_uids",
    "merge",
    "rows_of_frames",
    "summary",
]

INSTANCE_NUMBER: Final = Key(0x00200013)
SOP_INSTANCE_UID: Final = Key(0x00080018)


@dataclass(slots=True)
class Part:
    """Rows of one series."""

    columns: dict[Key, Column]
    frames: dict[Key, Column]
    places: npt.NDArray[np.void]
    uids: list[str]

    def take(self, rows: npt.NDArray[np.intp]) -> Part:
        """Return these rows, in this order."""
        frame_rows = np.empty(0, np.intp)
        if self.frames:
            frame_rows = rows_of_frames(self.places["frames"], rows)
        return Part(
            _taken(self.columns, rows),
            _taken(self.frames, frame_rows),
            self.places[rows],
            [self.uids[i] for i in rows.tolist()],
        )


def rows_of_frames(counts: npt.NDArray[Any], rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return the rows of the frames of instances.

    Parameters
    ----------
    counts : ndarray of int
        Number of frames of each instance.
    rows : ndarray of int
        The instances.

    Examples
    --------
    >>> rows_of_frames(np.array([2, 1, 3]), np.array([2, 0]))
    array([3, 4, 5, 0, 1])
    """
    counts = counts.astype(np.intp)
    starts = np.cumsum(counts) - counts
    taken = counts[rows]
    first = np.cumsum(taken) - taken
    return np.asarray(np.repeat(starts[rows] - first, taken) + np.arange(int(taken.sum())))


def _taken(columns: dict[Key, Column], rows: npt.NDArray[np.intp]) -> dict[Key, Column]:
    taken = {key: column.take(rows) for key, column in columns.items()}
    return {
        key: column
        for key, column in taken.items()
        if column.codes is None or bool((column.codes >= 0).any())
    }


def instance_numbers(columns: dict[Key, Column], rows: int) -> npt.NDArray[np.float64]:
    """Return InstanceNumber, shape (rows,); infinity where there is none."""
    column = columns.get(INSTANCE_NUMBER)
    if column is None:
        return np.full(rows, np.inf)
    numbers = [
        float(value) if isinstance(value, int) and abs(value) < 1 << 63 else np.inf
        for value in column.decoded()
    ]
    return np.array([*numbers, np.inf])[column.codes_of()]


def instance_uids(column: Column | None, rows: int) -> list[str]:
    """Return the SOPInstanceUIDs of a column; "" where there is none."""
    if column is None:
        return [""] * rows
    pool = [instance_uid(raw) if isinstance(raw, bytes) else "" for raw in column.values]
    pool.append("")
    return [pool[code] for code in column.codes_of().tolist()]


def merge(parts: Sequence[Part]) -> Part:
    """Return the rows of all parts as one, in the order of the index.

    Raises
    ------
    IndexDamaged
        An instance comes twice.
    """
    merged = parts[0] if len(parts) == 1 else _below_each_other(parts)
    unique, uid_order = np.unique(np.array(merged.uids, dtype=np.str_), return_inverse=True)
    if len(unique) != len(merged.uids):
        raise IndexDamaged("the index holds an instance twice")
    rows = np.lexsort((uid_order, instance_numbers(merged.columns, len(merged.uids))))
    if bool((rows == np.arange(len(rows))).all()):
        return merged
    return merged.take(rows)


def _below_each_other(parts: Sequence[Part]) -> Part:
    counts = [len(part.uids) for part in parts]
    frame_counts = [int(part.places["frames"].sum()) for part in parts]
    columns = {
        key: concatenate(key, [part.columns.get(key) for part in parts], counts)
        for key in dict.fromkeys(key for part in parts for key in part.columns)
    }
    frames = {
        key: concatenate(key, [part.frames.get(key) for part in parts], frame_counts)
        for key in dict.fromkeys(key for part in parts for key in part.frames)
    }
    places = np.concatenate([part.places for part in parts]).astype(PLACE)
    return Part(columns, frames, places, [uid for part in parts for uid in part.uids])


_SUMMARY: Final = (
    (0x00080020, str), (0x00080030, str), (0x00081030, str),
    (0x00200011, int), (0x0008103E, str), (0x00080060, str),
)  # fmt: skip


def summary(columns: dict[Key, Column]) -> list[Any]:
    """Return what the tree shows of a series: the value of the first instance that has one.

    Returns
    -------
    list
        StudyDate, StudyTime, StudyDescription, SeriesNumber, SeriesDescription, Modality.
    """
    result: list[Any] = []
    for tag, kind in _SUMMARY:
        column = columns.get(Key(tag))
        decoded = column.decoded() if column is not None else []
        value = next((v for v in decoded if v is not None), None)
        if isinstance(value, list):
            value = "\\".join(str(part) for part in value)
        if kind is int:
            small = isinstance(value, int) and abs(value) < 1 << 63  # SQLite holds no more
            result.append(value if small else None)
        else:
            result.append("" if value is None else storable(str(value)))
    return result
