"""How the array of a series is cut into blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from dbdicom_xr.arrays.reader import FrameReader
from dbdicom_xr.errors import InvalidValue

__all__ = ["as_data", "preferred_chunks"]

_MIB: Final = 1 << 20


def as_data(reader: FrameReader, chunks: Any, dims: tuple[str, ...], pixels_first: bool) -> Any:
    """Return a reader as a dask array, or for ``chunks=None`` as xarray reads without dask.

    Parameters
    ----------
    reader : FrameReader
    chunks : "auto", int, tuple, dict or None
        As in :meth:`Series.array`.
    dims : tuple of str
        The names of its dimensions.
    pixels_first : bool

    Raises
    ------
    InvalidValue
        It cannot be cut that way.
    """
    if chunks is None:
        from dbdicom_xr.arrays.lazy import lazy

        return lazy(reader)
    import dask.array as da

    wanted = _sizes(reader, chunks, dims, pixels_first)
    try:
        sizes = da.core.normalize_chunks(  # type: ignore[no-untyped-call]
            wanted, reader.shape, dtype=reader.dtype
        )
        if any(size <= 0 for dim in sizes for size in dim) and reader.size:
            raise ValueError("a block has at least one element along each dimension")
    except (ValueError, TypeError, ZeroDivisionError, NotImplementedError) as error:
        shape = dict(zip(dims, reader.shape, strict=True))
        raise InvalidValue(
            f"chunks is {chunks!r}, which does not cut an array of {shape} into blocks: {error}. "
            "Use 'auto', a number of images, a dict by dimension, or None to read without dask."
        ) from error
    return da.from_array(  # type: ignore[no-untyped-call]
        reader,
        chunks=sizes,
        asarray=False,
        meta=np.empty((0,) * reader.ndim, reader.dtype),
        name=None,
    )


def _sizes(reader: FrameReader, chunks: Any, dims: tuple[str, ...], pixels_first: bool) -> Any:
    if isinstance(chunks, Mapping):
        unknown = set(chunks) - set(dims)
        if unknown:
            raise InvalidValue(f"chunks= names {sorted(unknown)}; the dimensions are {dims}.")
        auto = preferred_chunks(reader, pixels_first)
        return tuple(chunks.get(dim, size) for dim, size in zip(dims, auto, strict=True))
    if isinstance(chunks, (int, np.integer)) and not isinstance(chunks, bool) and chunks > 0:
        # Of frames, not of pixels: a part of an image costs as much as the image.
        pixel_dims = ("x", "y", "channel")
        return tuple(
            size if dim in pixel_dims else int(chunks)
            for dim, size in zip(dims, reader.shape, strict=True)
        )
    if isinstance(chunks, str) and chunks == "auto":
        return preferred_chunks(reader, pixels_first)
    return chunks


def preferred_chunks(reader: FrameReader, pixels_first: bool) -> tuple[int, ...]:
    """Return the size of blocks along each dimension: whole images, of 32 to 128 MiB together."""
    pixels = reader._pixel_shape
    frame = int(np.prod(pixels)) * reader.dtype.itemsize
    total = frame * int(np.prod(reader.files.shape, dtype=np.int64))
    # A task costs about 4 ms on a cluster, so blocks grow with the array; but whole images.
    target = min(max(total // 256, 32 * _MIB), 128 * _MIB)
    if any(layout.is_encapsulated for layout in reader.layouts):
        target //= 8  # decoding takes several times as long as reading: room for all processors
    sizes = []
    room = max(1, target // frame)
    # The last dimensions vary fastest: time curves stay in one block where they fit.
    for size in reversed(reader.files.shape):
        take = max(1, min(size, room))
        if 1 < take < size:
            take = -(-size // -(-size // take))  # blocks of nearly equal size
        sizes.append(take)
        room //= take
    grid = tuple(reversed(sizes))
    if pixels_first:
        return (*pixels[:2], *grid, *pixels[2:])
    return (*grid, *pixels)
