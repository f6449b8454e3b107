"""A reader of frames as xarray reads without dask: nothing is read before the values are used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

from dbdicom_xr.arrays.reader import FrameReader

__all__ = ["LazyFrames", "lazy"]


class LazyFrames(BackendArray):
    """Frames of files, indexed in all the ways that xarray knows.

    It holds no open file, pickles to a reference, and may be read by several threads at once, as
    the reader may. Frames that are picked out one by one are read without those between them.

    Parameters
    ----------
    reader : FrameReader
    """

    def __init__(self, reader: FrameReader) -> None:
        self.reader = reader
        self.shape = reader.shape
        self.dtype = reader.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Return a block.

        Parameters
        ----------
        key : ExplicitIndexer
            Of points (vectorised) the smallest outer product that holds them is read.
        """
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._outer
        )

    def _outer(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        """Return what numbers, slices and 1D arrays of numbers select, each along its dimension."""
        reader = self.reader
        depth = reader.files.ndim
        first = 2 if reader.pixels_first else 0
        chosen: list[Any] = list(key)
        after: list[Any] = []  # what is left to do with the pixels that were read
        for axis, part in enumerate(key):
            if isinstance(part, np.ndarray):
                if first <= axis < first + depth:
                    reader = _taken(reader, axis - first, part)
                    chosen[axis] = slice(None)
                    after.append(slice(None))
                else:
                    low = int(part.min(initial=self.shape[axis]))
                    chosen[axis] = slice(low, int(part.max(initial=low - 1)) + 1)
                    after.append(part - low)
            elif isinstance(part, slice):
                after.append(slice(None))
        block = np.asarray(reader[tuple(chosen)])
        for axis, part in enumerate(after):
            if isinstance(part, np.ndarray):
                block = block.take(part, axis)
        return block

    def __dask_tokenize__(self) -> Any:
        return ("dbdicom_xr.LazyFrames", self.reader.__dask_tokenize__())


def _taken(reader: FrameReader, axis: int, wanted: npt.NDArray[Any]) -> FrameReader:
    """Return a reader of some of the frames along a dimension of the grid."""
    return replace(
        reader,
        rows=reader.rows.take(wanted, axis),
        files=reader.files.take(wanted, axis),
        frames=reader.frames.take(wanted, axis),
        kinds=reader.kinds.take(wanted, axis),
    )


def lazy(reader: FrameReader) -> Any:
    """Return a reader as the data of an xarray variable; selections wait until values are used."""
    return indexing.LazilyIndexedArray(LazyFrames(reader))
