"""What reading files yields: per series a block of columns, and what is wrong with some files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.columns import Column, Key

__all__ = ["FRAGMENTS", "PLACE", "Block", "Findings", "SeriesKey"]

PLACE: Final = np.dtype(
    [
        ("file", "<i8"),  # number of the file in the index
        ("offset", "<i8"),  # of the pixel data; -1 without
        ("length", "<i8"),  # of native pixel data; -1 where encapsulated
        ("frames", "<i4"),
        ("element", "u1"),  # 0x10 PixelData, 0x08 FloatPixelData, 0x09 DoubleFloatPixelData
        ("deflated", "u1"),
        ("bytes", "u1"),  # whether the VR is OB, which big endian does not swap
    ]
)
"""What the index knows of the pixels of an instance."""

FRAGMENTS: Final = Key(0xFFFEE000)
"""The column of the fragments of encapsulated pixel data: int64 pairs (offset, length)."""


class SeriesKey(NamedTuple):
    """What makes instances one series."""

    patient_id: str
    patient_name: str
    study_uid: str
    series_uid: str


@dataclass(slots=True)
class Block:
    """Some instances of one series, in columns."""

    key: SeriesKey
    columns: dict[Key, Column]
    frames: dict[Key, Column]  # only attributes that differ from the instance's; rows are frames
    places: npt.NDArray[np.void]
    uids: list[str]

    def __len__(self) -> int:
        return len(self.uids)


@dataclass(slots=True)
class Findings:
    """What reading a list of files showed; files are known by their position in the list."""

    blocks: list[Block] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)  # not in any block
    notes: dict[int, str] = field(default_factory=dict)  # in a block, but something is wrong
    versions: dict[int, tuple[int, int]] = field(default_factory=dict)  # size, mtime_ns
