"""What the header says of frames that are tiles of one image.

The index tells tiles by their size: Rows and Columns with a value per frame are those of tiles,
and the instance keeps those of the whole image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import PixelError
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.store import FRAME
from dbdicom_xr.index.table import Table

__all__ = ["image_sizes", "refuse_mosaics"]

_ROWS: Final = Key(0x00280010)
_COLUMNS: Final = Key(0x00280011)
_IMAGE_TYPE: Final = Key(0x00080008)
# Words of ImageType by which Siemens and United Imaging tell many slices in one image.
_MOSAICS: Final = frozenset(("MOSAIC", "VFRAME"))


def image_sizes(table: Table, rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the sizes of the images of which frames are tiles.

    Parameters
    ----------
    table : Table
    rows : ndarray of int
        The frames.

    Returns
    -------
    ndarray of int64, shape (rows, 2)
        Rows and columns; 0 for frames that are images of their own.
    """
    sizes = np.zeros((len(rows), 2), np.int64)
    for axis, key in enumerate((_ROWS, _COLUMNS)):
        tile, image = table.column(key, FRAME), table.column(key)
        if tile is not None and image is not None:
            pool = np.array([*(v if isinstance(v, int) else 0 for v in image.decoded()), 0])
            whole = pool[image.codes_of(table.instance_of[rows])]
            sizes[:, axis] = np.where(tile.codes_of(rows) >= 0, whole, 0)
    return sizes


def refuse_mosaics(table: Table, rows: npt.NDArray[Any], describe: Callable[[int], str]) -> None:
    """Raise where frames are whole mosaics, since the scan could not tell their tiles apart.

    Parameters
    ----------
    table : Table
    rows : ndarray of int
        The frames.
    describe : callable
        Names the file of a row.

    Raises
    ------
    PixelError
        With the reason that the scan noted.
    """
    values = table.values(_IMAGE_TYPE)
    if values is None:
        return
    mosaic = [isinstance(v, list) and not _MOSAICS.isdisjoint(v) for v in values.distinct]
    found = np.array([*mosaic, False])[values.codes[rows]]
    if not found.any():
        return
    tile = table.column(_ROWS, FRAME)
    if tile is not None:
        found &= tile.codes_of(rows) < 0
    if found.any():
        row = int(rows[np.flatnonzero(found)[0]])
        note = table.file(int(table.instance_of[row])).note
        raise PixelError(
            f"{int(found.sum())} of {len(rows)} images, such as {describe(row)}, are mosaics, "
            f"which hold many slices as tiles of one image; {note or 'they have several frames'}. "
            "instance.dataset().pixel_array gives the tiled image."
        )
