"""The frames behind the images of an array, and what they agree in, image by image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.geometry.planes import Floats, Planes
from dbdicom_xr.index.lazily import lazily
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.slices import planes_of

if TYPE_CHECKING:
    from dbdicom_xr.records.reading.sources import Sources

__all__ = ["SourceFrames"]


@dataclass
class SourceFrames:
    """The frames behind the images that have any, image by image."""

    sources: Sources

    def __post_init__(self) -> None:
        lengths = np.diff(self.sources.starts)
        self.filled = np.flatnonzero(lengths > 0)  # the images that are no gaps
        self.starts = np.asarray(self.sources.starts[:-1], np.intp)[self.filled]
        self.cell_of = np.repeat(np.arange(len(self.filled)), lengths[self.filled])

    def of_tables(self, read: Callable[[Table, npt.NDArray[Any]], npt.NDArray[Any]]) -> Any:
        """Return what a function of a table and rows says of each frame."""
        parts, order = [], []
        for number, table in enumerate(self.sources.tables):
            at = np.flatnonzero(self.sources.table_of == number)
            if len(at):
                parts.append(read(table, self.sources.rows[at]))
                order.append(at)
        joined = np.concatenate(parts)
        result = np.empty_like(joined)
        result[np.concatenate(order)] = joined
        return result

    def numbers(self, keyword: str, width: int) -> Floats:
        """Return an attribute of each frame, shape (frames, width); NaN where it has none."""
        return np.asarray(self.of_tables(lambda table, rows: _numbers(table, rows, keyword, width)))

    @lazily
    def planes(self) -> Planes:
        """The planes of the frames."""
        stacked = self.of_tables(lambda table, rows: _stacked(planes_of(table, rows)))
        return Planes(stacked[:, :3], stacked[:, 3:9], stacked[:, 9:11], stacked[:, 11])

    def low(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the smallest value of the frames of each image."""
        return np.asarray(np.minimum.reduceat(values, self.starts))

    def high(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the largest value of the frames of each image."""
        return np.asarray(np.maximum.reduceat(values, self.starts))

    def spread(self, values: Floats) -> Floats:
        """Return how far the frames of each image are apart, 0 where none has a value."""
        unknown = np.isnan(values)
        some = self.high(unknown) & ~self.low(unknown)
        apart = self.high(values) - self.low(values)
        apart = np.where(some, np.inf, np.where(np.isnan(apart), 0.0, apart))
        return np.asarray(apart.max(axis=1) if values.ndim > 1 else apart)


def _stacked(planes: Planes) -> Floats:
    return np.column_stack([planes.position, planes.orientation, planes.pixel_spacing, planes.step])


def _numbers(table: Table, rows: npt.NDArray[Any], keyword: str, width: int) -> Floats:
    values = parse_name(keyword).values(table)
    if values is None:
        return np.full((len(rows), width), np.nan)
    pool = np.full((len(values.distinct) + 1, width), np.nan)
    for number, value in enumerate(values.distinct):
        parts = value if isinstance(value, list) else [value]
        if len(parts) == width and all(isinstance(part, (int, float)) for part in parts):
            pool[number] = parts
    return np.asarray(pool[values.codes[rows]])
