"""Frames that are stored as tiles of one larger image.

A tile has a place in its image, and the image a layout of its own, by which it is decoded. What is
decoded is kept until another image is wanted, so that tiles that are read one after the other cost
one decoding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.pixels.layout import PixelLayout

__all__ = ["TiledImages", "image_of_tile"]

Array = npt.NDArray[Any]


def image_of_tile(layout: PixelLayout, frame: int) -> tuple[int, PixelLayout, slice, slice]:
    """Return what to decode for a tile, and where the tile lies in it.

    Parameters
    ----------
    layout : PixelLayout
        Of a frame that is a tile.
    frame : int
        Number of the tile, from 0, row by row.

    Returns
    -------
    number : int
        Of the stored image, as `layout.frame_span` counts.
    image : PixelLayout
        Its layout: that of the whole, or of one row of tiles where that is read alone.
    rows, columns : slice
        Of the tile in it.

    Examples
    --------
    >>> layout = PixelLayout(rows=64, columns=64, image_rows=384, image_columns=384)
    >>> number, image, rows, columns = image_of_tile(layout, 8)
    >>> number, image.frame_shape, rows, columns
    (1, (64, 384), slice(0, 64, None), slice(128, 192, None))
    """
    down, across = divmod(frame, layout.image_columns // layout.columns)
    columns = slice(across * layout.columns, (across + 1) * layout.columns)
    image = _image(layout)
    if image.rows == layout.rows:
        return down, image, slice(0, layout.rows), columns
    return 0, image, slice(down * layout.rows, (down + 1) * layout.rows), columns


@lru_cache(maxsize=64)
def _image(layout: PixelLayout) -> PixelLayout:
    planar = layout.samples_per_pixel > 1 and layout.planar_configuration == 1
    # The bytes of a row of tiles follow each other, unless compressed or in colour planes.
    alone = not layout.is_encapsulated and not planar
    rows = layout.rows if alone else layout.image_rows
    return replace(layout, rows=rows, columns=layout.image_columns, image_rows=0, image_columns=0)


class TiledImages:
    """Reads frames, and keeps the image that holds the last tile.

    Parameters
    ----------
    read : callable
        Given file, number of the image in it and layout, returns its stored values, which need to
        be valid until it is called again only.
    """

    def __init__(self, read: Callable[[int, int, PixelLayout], Array]) -> None:
        self._read = read
        self._kept: tuple[int, int, PixelLayout] | None = None
        self._image: Array = np.empty(0)

    def frame(self, file: int, frame: int, layout: PixelLayout) -> Array:
        """Return the stored values of a frame; valid until the next call."""
        if not layout.is_tile:
            self._kept = None
            return self._read(file, frame, layout)
        layout.check()
        number, image, rows, columns = image_of_tile(layout, frame)
        if self._kept != (file, number, image):
            self._kept = None  # what was read before is not valid any more, also if this fails
            self._image = self._read(file, number, image)
            self._kept = (file, number, image)
        return self._image[rows, columns]
