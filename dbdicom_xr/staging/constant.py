"""Images of which all pixels have one value: they take no room before they are saved.

Such an image is an instance from nothing with a private element that holds its stored value. How
the value is to be read is said by the same attributes as in any image.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import LayoutError
from dbdicom_xr.index.blocks import PLACE
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.values import Kind
from dbdicom_xr.staging.element import Encoded
from dbdicom_xr.staging.patch import Patch

__all__ = ["CONSTANT", "CONSTANT_FILE", "places_of_new", "with_pixels"]

CONSTANT: Final = Key(0x00990002, "DBDICOM_XR")
"""The private element (SL) with the stored value of all pixels; never written into a file."""

CONSTANT_FILE: Final = -2
"""Stands for the number of a file where there is none, but pixels of one value."""

_PIXEL_DATA: Final = Key(0x7FE00010)
_ROWS, _COLUMNS, _BITS, _SAMPLES = (
    Key(tag) for tag in (0x00280010, 0x00280011, 0x00280100, 0x00280002)
)
_NOTHING: Final = np.zeros(1, PLACE)
_NOTHING["file"] = _NOTHING["offset"] = -1
_NOTHING["frames"] = 1


def places_of_new(patch: Patch | None, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.void]:
    """Return where the pixels of instances from nothing lie, shape (instances,)."""
    places = np.repeat(_NOTHING, len(rows))
    column = None if patch is None else patch.columns.get(CONSTANT)
    if column is not None:
        constant = column.present()[rows]
        places["file"][constant] = CONSTANT_FILE
        places["offset"][constant] = 0
        places["element"][constant] = 0x10
    return places


def with_pixels(edits: Mapping[Key, Encoded | None]) -> Mapping[Key, Encoded | None]:
    """Return the elements of a new instance as they are written: with PixelData, if it has any.

    Raises
    ------
    LayoutError
        Its layout cannot hold the value.
    """
    value = edits.get(CONSTANT)
    if value is None:
        return edits
    rows, columns, bits, samples = (_number(edits, key) for key in (_ROWS, _COLUMNS, _BITS,
                                                                    _SAMPLES))  # fmt: skip
    stored = int.from_bytes(value.value, "little", signed=True)
    if bits not in (8, 16) or not -(1 << (bits - 1)) <= stored < 1 << bits:
        raise LayoutError(
            f"BitsAllocated is {bits}, in which the pixels, all of the stored value {stored}, "
            "cannot be written. Set it to 16."
        )
    # OW in any case up to 16 bits: PS3.5 8.1.2 and A.2.
    result = {key: each for key, each in edits.items() if key != CONSTANT}
    result[_PIXEL_DATA] = Encoded(Kind("OW"), _pixels(stored, bits // 8, rows * columns * samples))
    return result


def _number(edits: Mapping[Key, Encoded | None], key: Key) -> int:
    value = edits.get(key)
    return 1 if value is None else int.from_bytes(value.value[:2], "little")


@lru_cache(maxsize=1)  # the images of a series are mostly all the same
def _pixels(stored: int, size: int, count: int) -> bytes:
    data = (stored % (1 << (8 * size))).to_bytes(size, "little") * count
    return data + bytes(len(data) % 2)
